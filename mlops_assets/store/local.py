"""A store on a local directory: whole files, made durable one by one, and locks that die with their process.

What belongs here: the ``Backend`` of a directory. What does not: how one file is written or locked (``files``).
"""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path

from mlops_assets.store import files
from mlops_assets.store.backend import Content, Entry, Mark, Staged, Written

_mark: Callable[[tuple[int, int, int]], Mark] = partial(tuple.__new__, Mark)
"""``Mark``, without passing through Python: one is made for every head."""


class LocalBackend:
    """A directory; any number of processes and threads may use it at once."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.url = str(self.root)
        self._locks = files.Locks(self.root / "locks")

    def read(self, path: str) -> bytes:
        """See ``Backend``; what stands where a folder is expected counts as no file."""
        try:
            return files.read_small(f"{self.url}/{path}")
        except FileNotFoundError:
            raise
        except (NotADirectoryError, IsADirectoryError):
            raise FileNotFoundError(path) from None
        except OSError as trouble:
            files.unreadable(f"{self.url}/{path}", trouble)

    def read_many(self, paths: Sequence[str]) -> Iterator[bytes | None]:
        """See ``Backend``."""
        for path in paths:
            try:
                yield self.read(path)
            except FileNotFoundError:
                yield None

    def stream(self, path: str) -> Iterator[bytes]:
        """See ``Backend``."""
        try:
            yield from files.pieces(self.root / path)
        except FileNotFoundError:
            raise
        except OSError as trouble:
            files.unreadable(f"{self.url}/{path}", trouble)

    def stat(self, path: str) -> Entry | None:
        """See ``Backend``."""
        try:
            found = os.stat(f"{self.url}/{path}")  # noqa: PTH116 - asked for every file
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as trouble:
            files.unreadable(f"{self.url}/{path}", trouble)
        return Entry(path, found.st_size, found.st_mtime)

    def create(self, path: str, content: Content) -> bool:
        """See ``Backend``; a name that exists is durable afterwards too, whoever wrote it."""
        place = self.root / path
        if files.create_only(place, content):
            return True
        with files.sentences(place):
            files.sync_directory(place.parent)
        return False

    def write(self, path: str, content: Content) -> Written:
        """See ``Backend``."""
        return files.write_file(self.root / path, content)

    def append(self, path: str, data: bytes) -> int | None:
        """See ``Backend``."""
        try:
            return files.append(f"{self.url}/{path}", data)
        except OSError:
            return None

    def swap(self, path: str, data: bytes, seen: bytes | None) -> bool:
        """See ``Backend``; takes the lock of ``hold``, not a second one: two writers could wait for each other."""
        with self.hold(path):
            try:
                current: bytes | None = self.read(path)
            except FileNotFoundError:
                current = None
            if current != seen:
                return False
            self.write(path, data)
            return True

    def stage(self, path: str, content: Content) -> AbstractContextManager[Staged]:
        """See ``Backend``."""
        return files.staged(self.root / path, content)

    def touch(self, path: str) -> bool:
        """See ``Backend``."""
        place = self.root / path
        try:
            with files.sentences(place):
                os.utime(place)
                files.sync_directory(place.parent)
        except FileNotFoundError:
            return False
        return True

    def rename(self, path: str, to: str) -> bool:
        """See ``Backend``."""
        source, target = self.root / path, self.root / to
        with files.sentences(target):
            while True:
                try:
                    files.make_directory(target.parent)
                    os.replace(source, target)  # noqa: PTH105 - the kill test hooks os
                except FileNotFoundError:
                    # of two gcs, one takes empty folders away that the other has just made
                    if not source.exists():
                        return False
                else:
                    break
            for folder in (target.parent, source.parent):
                with suppress(FileNotFoundError):
                    files.sync_directory(folder)
        return True

    def delete(self, path: str) -> None:
        """See ``Backend``."""
        place = self.root / path
        with files.sentences(place), suppress(FileNotFoundError):
            os.unlink(place)  # noqa: PTH108 - the kill test hooks os
            files.sync_directory(place.parent)

    def entries(self, folder: str) -> Iterator[Entry]:
        """See ``Backend``."""
        for entry, path in self._walk(folder):
            if not entry.name.startswith(".") and (found := _seen(entry)):
                yield Entry(path, found.st_size, found.st_mtime)

    def children(self, folder: str) -> tuple[list[str], list[str]]:
        """See ``Backend``."""
        folders: list[str] = []
        names: list[str] = []
        try:
            with os.scandir(f"{self.url}/{folder}") as entries:
                for entry in entries:
                    if not entry.name.startswith("."):
                        (folders if entry.is_dir(follow_symlinks=False) else names).append(entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return [], []
        except OSError as trouble:
            files.unreadable(f"{self.url}/{folder}", trouble)
        return sorted(folders), sorted(names)

    def folders(self, folder: str) -> tuple[list[str], bool]:
        """See ``Backend``."""
        folders: list[str] = []
        files_too = False
        try:
            with os.scandir(f"{self.url}/{folder}") as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if not entry.name.startswith("."):
                            folders.append(entry.name)
                    elif not files_too:
                        files_too = not entry.name.startswith(".")
        except (FileNotFoundError, NotADirectoryError):
            return [], False
        except OSError as trouble:
            files.unreadable(f"{self.url}/{folder}", trouble)
        return sorted(folders), files_too

    def touched(self, folder: str) -> int | None:
        """See ``Backend``."""
        try:
            return os.stat(f"{self.url}/{folder}").st_mtime_ns  # noqa: PTH116 - no object for a number
        except (FileNotFoundError, NotADirectoryError):
            return 0
        except OSError as trouble:
            files.unreadable(f"{self.url}/{folder}", trouble)

    def stamps(self, folder: str) -> list[tuple[str, int]] | None:
        """See ``Backend``."""
        try:
            with os.scandir(f"{self.url}/{folder}") as entries:
                return [
                    (entry.name, entry.stat(follow_symlinks=False).st_mtime_ns)
                    for entry in entries
                    if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
                ]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as trouble:
            files.unreadable(f"{self.url}/{folder}", trouble)

    def marks(self, folder: str) -> dict[str, Mark | None] | None:
        """See ``Backend``; a file that vanishes meanwhile is not there."""
        found: dict[str, Mark | None] = {}
        try:
            # by its number: from there a file is found without walking its whole path again
            descriptor = os.open(f"{self.url}/{folder}", os.O_RDONLY | os.O_DIRECTORY)
            try:
                with os.scandir(descriptor) as entries:
                    for entry in entries:
                        name = entry.name
                        if name[0] == ".":
                            continue
                        if entry.is_file(follow_symlinks=False):
                            try:
                                seen = entry.stat(follow_symlinks=False)
                            except FileNotFoundError:
                                continue
                            found[name] = _mark((seen.st_ctime_ns, seen.st_ino, seen.st_size))
                        elif not entry.is_dir(follow_symlinks=False):
                            found[name] = None
            finally:
                os.close(descriptor)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as trouble:
            files.unreadable(f"{self.url}/{folder}", trouble)
        return found

    def clock(self) -> int | None:
        """See ``Backend``."""
        return files.clock(self.root / "cache")

    def litter(self) -> Iterator[Entry]:
        """See ``Backend``."""
        for entry, path in self._walk(""):
            if entry.name.startswith(".") and entry.name.endswith(".tmp") and (found := _seen(entry)):
                yield Entry(path, found.st_size, found.st_mtime)

    def hold(self, key: str) -> AbstractContextManager[None]:
        """See ``Backend``; raises ``StoreError`` when somebody keeps the lock for too long."""
        return self._locks.hold(key)

    def settle(self) -> None:
        """See ``Backend``; raises ``StoreError`` when somebody keeps a lock for too long."""
        self._locks.settle()

    def local(self, path: str, written: Written) -> Path:
        """See ``Backend``."""
        del written
        place = self.root / path
        if self.stat(path) is None or place.is_dir():
            raise FileNotFoundError(place)
        # a decoder would take a file that it may not open for damage
        if not os.access(place, os.R_OK):
            files.unreadable(place, PermissionError(errno.EACCES, ""))
        return place

    def forget(self, path: str, written: Written) -> None:
        """See ``Backend``; there are no copies."""

    def fingerprint(self, path: str) -> Written:
        """See ``Backend``."""
        try:
            return files.fingerprint(self.root / path)
        except FileNotFoundError:
            raise
        except OSError as trouble:
            files.unreadable(f"{self.url}/{path}", trouble)

    def _walk(self, folder: str) -> Iterator[tuple[os.DirEntry[str], str]]:
        """Every file under a folder with its path; folders that vanish meanwhile are gone."""
        waiting = [folder]
        while waiting:
            here = waiting.pop()
            prefix = f"{here}/" if here else ""
            try:
                with os.scandir(f"{self.url}/{here}") as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(prefix + entry.name)
                        else:
                            yield entry, prefix + entry.name
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as trouble:
                files.unreadable(f"{self.url}/{here}", trouble)


def _seen(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
