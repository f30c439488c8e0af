"""Ends the processes of a UI when whoever started them is gone, for whatever reason.

What belongs here: the process that waits for that, and how a process group is ended. What does not: anything that takes
long to import, since this process lives beside the others and should cost nothing.

The keeper leads the process group that all of them are in, so that there is no moment in which one of them exists and
is not known to it. Its standard input is a pipe that only the process that started it can write to: the kernel closes
that when the process ends, also by kill -9.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

# Time to record that a run was interrupted; a native call that takes longer is not waited for.
PATIENCE = 15.0
_LOOK_EVERY = 0.1


def end(
    group: int, reap: Callable[[], object] = lambda: None, signals: Sequence[int] = (signal.SIGINT, signal.SIGKILL)
) -> bool:
    """Interrupts every process of a group as Ctrl-C would, and kills what is there after some time.

    Args:
        group: the process group; this process must not be in it.
        reap: is called again and again; collects the children of this process, which exist until that is done.
        signals: sent one after the other, while there is somebody left.

    Returns:
        Whether all of them are gone.
    """
    for number in signals:
        with suppress(ProcessLookupError):
            os.killpg(group, number)
        if gone(group, PATIENCE, reap):
            return True
    return False


def gone(group: int, seconds: float, reap: Callable[[], object] = lambda: None) -> bool:
    """Waits until no process of a group is left; whether that is so."""
    limit = time.monotonic() + seconds
    while True:
        reap()
        if not _lives(group):
            return True
        if time.monotonic() > limit:
            return False
        time.sleep(_LOOK_EVERY)


def _lives(group: int) -> bool:
    """Whether a process of the group runs. One that has ended and is not yet collected does not.

    Those whose parent is gone are collected by the first process of the machine; of a container that may never do it.
    """
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    processes = Path("/proc")
    if not (processes / "self" / "stat").exists():
        return True
    return any(_runs_in(group, process) for process in processes.glob("[0-9]*"))


def _runs_in(group: int, process: Path) -> bool:
    try:
        # Its own name may hold anything, so what follows is counted from the last parenthesis.
        state, _, of, *_ = (process / "stat").read_text(errors="replace").rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return int(of) == group and state not in {"Z", "X"}


def main() -> None:
    """Wait for the end of standard input, then end the group and remove the folder that is named."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.read(0, 1)
    group = os.getpid()
    if os.fork():
        os._exit(0)
    # The group stays as long as somebody else is in it.
    os.setpgid(0, 0)
    end(group)
    shutil.rmtree(Path(sys.argv[1]), ignore_errors=True)


if __name__ == "__main__":
    main()
