"""A disk that says no, bytes that change, accounts that may not: what tests do to a store.

What belongs here: injecting, in this process or a forked one. What does not: what a store must make of it.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlops_assets.errors import UserError

NOBODY = 65534

SENTENCE, STRANGE = 3, 99
"""Exit codes of a child: refused with a sentence, and ended by an error that is none."""

_MAKING = {"os.link", "os.mkdir", "os.rename", "os.symlink"}
_CHANGING = {*_MAKING, "os.remove", "os.rmdir", "os.utime", "os.chmod", "os.truncate"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def refuse(root: Path, number: int, code: int, *, lasting: bool, making: bool) -> None:
    """From here on, a disk refuses this process its ``number``-th change of files below ``root``, with errno ``code``.

    ``lasting``: and all later ones, as a full disk does. ``making``: only what takes space counts. Of a write that is
    refused, half of the bytes were written. There is no way back: for forked children only.
    """
    count = 0
    top = str(root)
    seen = _MAKING if making else _CHANGING
    real_write, real_fsync = os.write, os.fsync

    def tick(path: object, first: Callable[[], object] | None = None) -> None:
        nonlocal count
        count += 1
        if count == number or (lasting and count > number):
            if first:
                first()
            raise OSError(code, os.strerror(code), str(path))

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, str | os.PathLike) and flags & _WRITING and os.fspath(path).startswith(top):
                tick(path)
        elif event in seen:
            path = arguments[1] if event in {"os.rename", "os.link", "os.symlink"} else arguments[0]
            if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(top):
                tick(path)

    def write(descriptor: int, data: Any) -> int:
        if descriptor > 2:
            tick(descriptor, lambda: real_write(descriptor, bytes(data)[: len(data) // 2]))
        return real_write(descriptor, data)

    def fsync(descriptor: int) -> None:
        tick(descriptor)
        real_fsync(descriptor)

    os.write = write
    os.fsync = fsync  # type: ignore[assignment]
    sys.addaudithook(audit)


def told(work: Callable[[], object]) -> tuple[int, str]:
    """Do some work in a forked child: 0, or ``SENTENCE`` and the sentences, or ``STRANGE`` and the error."""
    read, write = os.pipe()
    real_write = os.write
    child = os.fork()
    if not child:
        code, text = STRANGE, ""
        try:
            work()
            code = 0
        except UserError as trouble:
            code, text = SENTENCE, f"{trouble}"
        except BaseException as trouble:  # noqa: BLE001 - the parent is told
            text = f"{type(trouble).__name__}: {trouble}"
        finally:
            real_write(write, text.encode())
            os._exit(code)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


def as_nobody(work: Callable[[], object]) -> Callable[[], object]:
    """The work by an account without rights; the process must be root's and a child."""

    def done() -> object:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        return work()

    return done


def flipped(path: Path, masks: tuple[int, ...], step: int) -> Iterator[int]:
    """The file with one byte changed, at every ``step``-th place in turn; afterwards it is as it was."""
    data = path.read_bytes()
    for number, offset in enumerate(range(0, len(data), step)):
        changed = bytearray(data)
        changed[offset] ^= masks[number % len(masks)]
        path.write_bytes(changed)
        yield offset
    path.write_bytes(data)


@contextmanager
def small_disk(size: str) -> Iterator[Path | None]:
    """A file system of its own in memory, of a size such as ``400k``; None where this account may not mount one."""
    with tempfile.TemporaryDirectory() as name:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", name], capture_output=True, check=False
        )
        if mounted.returncode:
            yield None
            return
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "-l", name], check=True)
