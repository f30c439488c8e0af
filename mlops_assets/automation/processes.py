"""Which process does the work of a run, and whether it still lives.

What belongs here: the name of a process that is never given twice, and looking it up. What does not: what is done about
a process that is gone (``janitor``). Every run's process imports this, so it imports nothing.

A number alone names nothing: the kernel gives it again. With the machine, its boot and the moment it was started in
(clock ticks since that boot), it names one process for ever.
"""

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mlops_assets.automation.tags import PROCESS

if TYPE_CHECKING:
    import dagster as dg

_PROC = Path("/proc")

# As `man proc_pid_stat` counts them, from the first field behind the name in parentheses, which is the third.
_STATE, _STARTED = 0, 19


class Process(NamedTuple):
    """A process by everything that names it; ``started`` in clock ticks since the machine's ``boot``."""

    host: str
    boot: str
    pid: str
    started: str


def this_process() -> str:
    """This process as ``host/boot-id/pid/start-ticks``; what a system without ``/proc`` does not tell is left empty."""
    return "/".join((socket.gethostname(), _boot(), str(os.getpid()), _started(os.getpid()) or ""))


def parsed(text: str) -> Process | None:
    """What ``this_process`` wrote, taken apart; nothing when it is something else."""
    parts = text.rsplit("/", 3)
    return Process(*parts) if len(parts) == len(Process._fields) and parts[2].isdigit() else None


def is_alive(text: str) -> bool | None:
    """Whether the process that ``this_process`` named so still runs.

    ``None`` when that cannot be known: on another machine, in another container, or where the system does not tell.
    One whose number was given to another process since is dead, as is everything from before the last boot.
    """
    named = parsed(text)
    if named is None or not named.boot or not named.started:
        return None
    here, boot = socket.gethostname(), _boot()
    if named.boot != boot:
        return False if boot and named.host == here else None
    if _started(int(named.pid)) == named.started:
        return True
    # The same boot under another name: a container that has processes of its own.
    return False if named.host == here and not _hidden(int(named.pid)) else None


def rebooted(text: str) -> bool:
    """Whether this machine was started anew since the process that is named so was."""
    named = parsed(text)
    return named is not None and named.host == socket.gethostname() and named.boot != _boot()


def booted_at() -> float:
    """When this machine was started, in seconds since 1970; 0 where the system does not tell."""
    try:
        lines = (_PROC / "stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next((float(line.split()[1]) for line in lines if line.startswith("btime ")), 0.0)


def sign(instance: "dg.DagsterInstance", run: "dg.DagsterRun") -> None:
    """Write into the tags of a run that this process does its work."""
    name = this_process()
    if run.tags.get(PROCESS) != name:
        instance.add_run_tags(run.run_id, {PROCESS: name})


def _boot() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """When a running process was started; of one that has ended and is not yet collected, nothing."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(") ")[2].split()  # its own name may hold anything
    return None if fields[_STATE] in {"Z", "X"} else fields[_STARTED]


def _hidden(pid: int) -> bool:
    """Whether a process is there and is another account's, which some systems keep out of ``/proc``."""
    if (_PROC / str(pid)).exists():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return False
