"""Writing to a local directory so that a crash, a kill or a full disk never leaves half a file under a final name.

What belongs here: whole-file writes (temporary file, every byte, fsync, rename, fsync of the directory), the locks
under which a head moves, and ``append``, for what may get lost or stand there in part. What does not: what the files
mean, or how an encoder's bytes are taken (``sink``).

Everything that changes the disk goes through ``os.open``, ``os.write``, ``os.fsync``, ``os.replace``, ``os.link``,
``os.mkdir`` and ``os.unlink``: a test kills the process at each of them.
"""

import errno
import fcntl
import hashlib
import os
import stat
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, RLock
from typing import BinaryIO, NoReturn, TypeVar

from mlops_assets.errors import StoreError
from mlops_assets.store.backend import Content, Written
from mlops_assets.store.sink import Sink

STRIPES = 64
TIMEOUT = 30.0
"""Seconds to wait for another process that moves a head; a move takes milliseconds."""

_SMALL, _CHUNK = 1 << 14, 1 << 20

_TURNS = 20
"""How often somebody else may be quicker: each of those who start at once is so at most once for each folder."""

_Done = TypeVar("_Done")

_SHARED = stat.S_ISGID | stat.S_IWGRP
"""A folder with these bits belongs to a group: what is made in it is the group's to write, whatever the umask says."""

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space and run it again",
    errno.EDQUOT: "the disk quota is used up; free some space and run it again",
    errno.EACCES: "this account may not write there; ask for the right, or choose another store",
    errno.EPERM: "this account may not write there; ask for the right, or choose another store",
    errno.EROFS: "that disk is mounted read-only; choose another store",
    errno.ENAMETOOLONG: "the path is too long; use a store nearer to the root, or shorter names",
    errno.ENOTDIR: "a file stands where a folder is needed: one asset's name is another's asset and batch; rename one",
    errno.EISDIR: "a folder stands where a file is needed: one asset's name is another's asset and batch; rename one",
    errno.EFBIG: "the file is larger than this disk or this account's limit (ulimit -f) allows; raise the limit",
    errno.EIO: "the disk reports an error; look after the disk, and keep another copy of the store",
    errno.ESTALE: "the network folder was replaced or is gone; mount it again",
    errno.EMFILE: "this process has too many files open; raise the limit (ulimit -n)",
    errno.ENOLCK: "that file system has no locks; keep the store on a local disk or in an object store",
    errno.EOPNOTSUPP: "that file system lacks locks or links; keep the store on a local disk or in an object store",
}

_UNREADABLE = {
    errno.EACCES: "this account may not read it; ask for the right",
    errno.EPERM: "this account may not read it; ask for the right",
    errno.ENAMETOOLONG: "the path is too long; use a store nearer to the root, or shorter names",
    errno.ELOOP: "it is a link that leads to itself; remove the link",
    errno.EIO: "the disk reports an error; look after the disk, and copy the file from another copy of the store",
    errno.ESTALE: "the network folder was replaced or is gone; mount it again",
    errno.EMFILE: "this process has too many files open; raise the limit (ulimit -n)",
}


@contextmanager
def sentences(path: Path) -> Iterator[None]:
    """Turn what a disk can refuse into a sentence; anything else is a bug and passes through."""
    try:
        yield
    except OSError as trouble:
        reason = _REASONS.get(trouble.errno or 0)
        if reason is None:
            raise
        raise StoreError(f"{path} could not be written: {reason}. What was published before stands.") from trouble


def unreadable(path: str | Path, trouble: OSError) -> NoReturn:
    """Raise the sentence for what a disk refuses to a reader; anything else is a bug and passes through."""
    reason = _UNREADABLE.get(trouble.errno or 0)
    if reason is None:
        raise trouble
    raise StoreError(f"{path} could not be read: {reason}.") from trouble


def sync_directory(path: Path) -> None:
    """Make the directory's entries survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Create a directory and its parents, each made durable in its own parent."""
    if path.is_dir():
        return
    make_directory(path.parent)
    mode = _in_folder(path.parent, path.parent.stat).st_mode
    if mode & _SHARED == _SHARED:
        _make_shared(path, stat.S_IMODE(mode))
    else:
        with suppress(FileExistsError):
            os.mkdir(path)  # noqa: PTH102 - the kill test hooks os
    sync_directory(path.parent)


def _make_shared(path: Path, mode: int) -> None:
    """Create a directory that nobody sees before the group may write in it."""
    temporary = _temporary(path.parent)
    _in_folder(path.parent, lambda: os.mkdir(temporary))  # noqa: PTH102
    try:
        temporary.chmod(mode)
        os.replace(temporary, path)  # noqa: PTH105 - takes the place of an empty directory, and of nothing else
    except OSError:
        temporary.rmdir()
        if not path.is_dir():
            raise


def _in_folder(folder: Path, work: Callable[[], _Done]) -> _Done:
    """Do something in a folder, which is made if there is none.

    Of several who make a shared one at the same moment, each takes the place of the one before while that is empty; who
    was on the way into that one finds nothing there, and goes the same way again.
    """
    for _ in range(_TURNS):
        try:
            return work()
        except FileNotFoundError:
            make_directory(folder)
    return work()


def _temporary(folder: Path) -> Path:
    return folder / f".{os.getpid()}-{os.urandom(6).hex()}.tmp"


def _share(descriptor: int, folder: Path) -> None:
    """Let a group that shares the folder write a new file too: touching a file and locking it need that right."""
    if os.stat(folder).st_mode & _SHARED == _SHARED:  # noqa: PTH116 - one call for every file written
        os.fchmod(descriptor, 0o664)


@dataclass(slots=True)
class Staged:
    """A finished, durable temporary file beside its target, not yet under its name."""

    temporary: Path
    target: Path
    written: Written

    def replace(self) -> None:
        """Take the target's name, in place of whatever had it."""
        with sentences(self.target):
            os.replace(self.temporary, self.target)  # noqa: PTH105
            sync_directory(self.target.parent)

    def create(self) -> bool:
        """Take the target's name if nobody has it; whether that was so."""
        with sentences(self.target):
            try:
                os.link(self.temporary, self.target)
            except FileExistsError:
                return False
            sync_directory(self.target.parent)
            return True


@contextmanager
def staged(path: Path, content: Content) -> Iterator[Staged]:
    """Write ``content`` beside ``path``; the block gives it its name, or it vanishes.

    Raises ``StoreError`` when the disk refuses.
    """
    temporary = _temporary(path.parent)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with sentences(path):
        descriptor = _in_folder(path.parent, lambda: os.open(temporary, flags, 0o666))
    try:
        with sentences(path):
            try:
                _share(descriptor, path.parent)
                sink = Sink(descriptor)
                try:
                    if isinstance(content, bytes):
                        sink.write(content)
                    else:
                        content(sink)  # type: ignore[arg-type]
                    written = sink.finish()
                finally:
                    sink.stop()
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        yield Staged(temporary, path, written)
    finally:
        # usually gone already; a disk that failed meanwhile keeps it, and gc sweeps what has no name
        with suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108


def write_file(path: Path, content: Content) -> Written:
    """Put ``content`` (bytes, or a function that writes to the file it gets) under ``path``, whole or not at all."""
    with staged(path, content) as file:
        file.replace()
    return file.written


def create_only(path: Path, content: Content) -> bool:
    """Put ``content`` under ``path`` unless something is there already; whether it was written."""
    with staged(path, content) as file:
        return file.create()


def append(path: str, data: bytes) -> int:
    """Add bytes at the end of a file, made if there is none, in one call of the system; its size then.

    Nothing is made durable. Raises ``OSError``; a part may stand there then.
    """
    flags = os.O_WRONLY | os.O_APPEND
    try:
        descriptor, new = os.open(path, flags), False
    except FileNotFoundError:
        make_directory(Path(path).parent)
        descriptor, new = os.open(path, flags | os.O_CREAT, 0o666), True
    try:
        if new:
            _share(descriptor, Path(path).parent)
        os.write(descriptor, data)
        return os.lseek(descriptor, 0, os.SEEK_CUR)
    finally:
        os.close(descriptor)


def fingerprint(path: Path) -> Written:
    """Size and sha256 of a file."""
    digest = hashlib.sha256()
    size = 0
    for piece in pieces(path):
        digest.update(piece)
        size += len(piece)
    return Written(size, digest.hexdigest())


def pieces(path: Path) -> Iterator[bytes]:
    """A file's bytes, some at a time."""
    with path.open("rb", buffering=0) as file:
        while block := file.read(_CHUNK):
            yield block


def copier(path: Path) -> Content:
    """The content of another file, to be written somewhere."""

    def copy(file: BinaryIO) -> None:
        file.writelines(pieces(path))

    return copy


def read_small(path: str | Path) -> bytes:
    """A small file's bytes, in as few system calls as can be; raises ``FileNotFoundError``."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        # asked for more, os.read would take fresh memory from the system for each of many files
        data = os.read(descriptor, _SMALL)
        if len(data) < _SMALL:
            return data
        parts = [data]
        while block := os.read(descriptor, _CHUNK):
            parts.append(block)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def clock(folder: Path) -> int | None:
    """The time that the file system gives to a file written now, in nanoseconds; None where it refuses one."""
    temporary = _temporary(folder)
    try:
        make_directory(folder)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            return os.fstat(descriptor).st_ctime_ns
        finally:
            os.close(descriptor)
            os.unlink(temporary)  # noqa: PTH108
    except OSError:
        return None


class _Stripe:
    """One lock file of one store, opened once per process.

    A record lock (``lockf``) is the process's, not the descriptor's: closing *any* descriptor of the file drops it. So
    the descriptor is kept, and shared by every ``Locks`` on the same directory. Threads exclude each other by the
    mutex. Unlike ``flock``, a forked child does not keep a killed parent's lock alive.
    """

    __slots__ = ("depth", "descriptor", "mutex")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.mutex = RLock()
        self.depth = 0


_stripes: dict[tuple[int, int], _Stripe] = {}
_registry = Lock()


def _forget_holders() -> None:
    """In a forked child: the parent's threads are gone and its record locks are not ours."""
    global _registry  # noqa: PLW0603
    _registry = Lock()
    for stripe in _stripes.values():
        stripe.mutex = RLock()
        stripe.depth = 0


os.register_at_fork(after_in_child=_forget_holders)


def _stripe(path: Path) -> tuple[tuple[int, int], _Stripe]:
    with _registry:
        try:
            found = path.stat()
        except FileNotFoundError:
            pass
        else:
            if stripe := _stripes.get((found.st_dev, found.st_ino)):
                return (found.st_dev, found.st_ino), stripe
        # descriptors of stores that were deleted since (tests make many) are given back here
        for identity, old in list(_stripes.items()):
            if not old.depth and not os.fstat(old.descriptor).st_nlink:
                os.close(_stripes.pop(identity).descriptor)
        make_directory(path.parent)
        if path.parent.stat().st_mode & _SHARED == _SHARED and not path.exists():
            # nobody of the group may find it before it is the group's
            with staged(path, b"") as file:
                file.create()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        found = os.fstat(descriptor)
        identity = (found.st_dev, found.st_ino)
        return identity, _stripes.setdefault(identity, _Stripe(descriptor))


class Locks:
    """``STRIPES`` permanent lock files in a directory, each guarding the keys that fall on it.

    A lock dies with its process, whatever kills it. It is re-entrant within a thread and knows nothing of the lock
    files' content; nobody may delete them while the store is in use.
    """

    def __init__(self, folder: Path, timeout: float = TIMEOUT) -> None:
        self._folder = folder
        self._timeout = timeout

    @contextmanager
    def hold(self, key: str) -> Iterator[None]:
        """Hold the lock of ``key`` for the block; raises ``StoreError`` when somebody else keeps it too long."""
        path = self._folder / f"{zlib.crc32(key.encode()) % STRIPES:02d}"
        with sentences(path):
            stripe = self._acquire(path)
        process = os.getpid()
        try:
            yield
        finally:
            # a child forked inside the block leaves it too, but holds nothing
            if os.getpid() == process:
                stripe.depth -= 1
                if not stripe.depth:
                    fcntl.lockf(stripe.descriptor, fcntl.LOCK_UN)
                stripe.mutex.release()

    def settle(self) -> None:
        """Return when every block under ``hold`` that began before has ended: each lock was free for a moment."""
        key_of: dict[int, str] = {}
        number = 0
        while len(key_of) < STRIPES:
            key_of.setdefault(zlib.crc32(f"{number}".encode()) % STRIPES, f"{number}")
            number += 1
        for key in key_of.values():
            with self.hold(key):
                pass

    def _acquire(self, path: Path) -> _Stripe:
        deadline = time.monotonic() + self._timeout
        while True:
            identity, stripe = _stripe(path)
            if not stripe.mutex.acquire(timeout=max(0.0, deadline - time.monotonic())):
                raise self._late(path, "another thread of this process")
            if stripe.depth or (self._lock_file(path, stripe, deadline) and _is(path, identity)):
                stripe.depth += 1
                return stripe
            # the lock file was replaced under us (the folder was deleted or restored): take the new one
            fcntl.lockf(stripe.descriptor, fcntl.LOCK_UN)
            stripe.mutex.release()

    def _lock_file(self, path: Path, stripe: _Stripe, deadline: float) -> bool:
        pause = 0.0005
        try:
            while True:
                try:
                    fcntl.lockf(stripe.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except (BlockingIOError, PermissionError):
                    if time.monotonic() >= deadline:
                        raise self._late(path, "another process") from None
                else:
                    return True
                time.sleep(pause)
                pause = min(pause * 2, 0.02)
        except BaseException:
            stripe.mutex.release()
            raise

    def _late(self, path: Path, holder: str) -> StoreError:
        return StoreError(
            f"The lock {path} has been held by {holder} for {self._timeout:g} s, where a move takes milliseconds. "
            "Look for a process that hangs or is paused on this store, end it, and run this again."
        )


def _is(path: Path, identity: tuple[int, int]) -> bool:
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    return (found.st_dev, found.st_ino) == identity
