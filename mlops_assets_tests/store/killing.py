"""Dying before a chosen operation on files, in a forked child.

What belongs here: counting what a process does to the disk, and killing it there. What does not: what a store must look
like afterwards.

Seen are all calls of Python that change a directory or a file: creating opens (``os.open``, ``open``, ``pathlib``),
``os.write``, rename, link, unlink, mkdir, rmdir, utime, chmod, truncate; asked for ``every`` one, also fsync and lockf.
Libraries that write by themselves (Delta's, obstore's) are not seen.
"""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlops_assets_tests.store import test_crash

_CHANGES = {
    "os.rename": "rename",
    "os.link": "link",
    "os.remove": "unlink",
    "os.mkdir": "mkdir",
    "os.rmdir": "rmdir",
    "os.utime": "utime",
    "os.chmod": "chmod",
    "os.truncate": "truncate",
    "os.symlink": "symlink",
}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def die_before(  # noqa: C901 - one counter, and all that counts
    root: Path, number: int, *, every: bool = False, log: Callable[[str], object] | None = None
) -> None:
    """From here on, this process is killed before its ``number``-th change of files (in the middle of a write).

    Opens count below ``root`` only. A ``number`` of 0 never comes. There is no way back: for forked children only.
    """
    count = 0
    lock = threading.Lock()
    top = str(root)
    real_write, real_fsync = os.write, os.fsync

    def tick(name: str, first: Callable[[], object] | None = None) -> None:
        nonlocal count
        with lock:
            count += 1
            last = count == number
        if log:
            log(name)
        if last:
            if first:
                first()
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, str | os.PathLike) and flags & _WRITING and os.fspath(path).startswith(top):
                tick("open")
        elif event in _CHANGES:
            tick(_CHANGES[event])
        elif event == "fcntl.lockf" and every:
            tick("lockf")

    def write(descriptor: int, data: Any) -> int:
        tick("write", lambda: real_write(descriptor, bytes(data)[: len(data) // 2]))
        return real_write(descriptor, data)

    def fsync(descriptor: int) -> None:
        tick("fsync")
        real_fsync(descriptor)

    os.write = write
    if every:
        os.fsync = fsync  # type: ignore[assignment]
    sys.addaudithook(audit)


def in_child(work: Callable[[], object]) -> int:
    """Fork, run, and give the exit code (negative: the signal); what goes wrong is shown."""

    def told() -> None:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            raise

    return test_crash.in_child(told)


def operations(root: Path, work: Callable[[], object], *, every: bool = False) -> list[str]:
    """What some work, done in a child, does to files, in order."""
    read, write = os.pipe()

    def child() -> None:
        names: list[str] = []
        die_before(root, 0, every=every, log=names.append)
        work()
        with os.fdopen(write, "w") as pipe:
            pipe.write(" ".join(names))

    code = in_child(child)
    os.close(write)
    with os.fdopen(read) as pipe:
        found = pipe.read().split()
    assert code == 0
    return found
