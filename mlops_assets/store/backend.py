"""Where a store's files stand: the few operations that the store needs of a disk or an object store.

What belongs here: the contract between the store and the place it lives at, and choosing the place from its name. What
does not: what the files mean; how a local directory (``local``) or an object store (``objects``) does it.

Paths are relative, with ``/`` between segments that ``names.segment`` made: none starts with ``.`` or holds ``..``.
Names that start with ``.`` are a backend's own (temporary files) and are never listed.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from mlops_assets.errors import StoreError


class Written(NamedTuple):
    """What reached the place: ``size`` in bytes, ``sha256`` as 64 hex digits."""

    size: int
    sha256: str


class Entry(NamedTuple):
    """One file: ``size`` in bytes, ``modified`` in seconds since 1970 by the clock of the place."""

    path: str
    size: int
    modified: float


class Mark(NamedTuple):
    """What a place says of a file without opening it: when it was changed (nanoseconds, by its clock), number, size."""

    changed: int
    number: int
    size: int


Content = bytes | Callable[[BinaryIO], object]
"""A file's bytes, or a function that writes them to the file it is given."""


class Staged(Protocol):
    """A complete, durable file that does not have its name yet."""

    @property
    def written(self) -> Written:
        """Its size and sha256."""

    def replace(self) -> None:
        """Take the name, in place of whatever had it."""


class Backend(Protocol):
    """A place for a store. Whatever is written is whole and durable when the call returns, or is not there.

    All of them raise ``StoreError``, one sentence, for what a disk or server refuses (full, forbidden, unreachable).
    """

    url: str
    """The place's name for people, without secrets: an absolute path, or ``s3://bucket/prefix`` and the like."""

    def read(self, path: str) -> bytes:
        """A file's bytes; raises ``FileNotFoundError``."""

    def read_many(self, paths: Sequence[str]) -> Iterator[bytes | None]:
        """The bytes of many small files, in the order asked for, None where there is none; concurrent if that helps."""

    def stream(self, path: str) -> Iterator[bytes]:
        """A file's bytes in pieces, for files of any size; raises ``FileNotFoundError`` at the first one."""

    def stat(self, path: str) -> Entry | None:
        """Size and age, or None when there is no such file."""

    def create(self, path: str, content: Content) -> bool:
        """Write a file unless one is there already; whether it was written. Exactly one of many callers gets True."""

    def write(self, path: str, content: Content) -> Written:
        """Write a file, in place of whatever had its name."""

    def append(self, path: str, data: bytes) -> int | None:
        """Add to the end of a file, which is made if there is none, and give its size then; for what may get lost.

        Not durable, not surely whole, and no error: None where the place refused, or has no files that grow. What
        several append at once stands one after the other, but for network file systems.
        """

    def swap(self, path: str, data: bytes, seen: bytes | None) -> bool:
        """Write ``data`` if the file's bytes are ``seen`` (None: no file); whether that was so.

        ``data`` must differ from all that was ever written under ``path``, so that an answer lost on the way can be
        told from a refusal.
        """

    def stage(self, path: str, content: Content) -> AbstractContextManager[Staged]:
        """Write a file beside its name; the block gives it its name, or it vanishes."""

    def touch(self, path: str) -> bool:
        """Make a file young again, so that gc spares it; False when it is gone. Its name is durable afterwards."""

    def rename(self, path: str, to: str) -> bool:
        """Give a file another name, in place of whatever had that; False when it is gone."""

    def delete(self, path: str) -> None:
        """Remove a file; one that is gone already is no error."""

    def entries(self, folder: str) -> Iterator[Entry]:
        """Every file under a folder ("" for all), however deep, in no order."""

    def children(self, folder: str) -> tuple[list[str], list[str]]:
        """The names of the folders and of the files in a folder, each sorted; both empty when there is none."""

    def folders(self, folder: str) -> tuple[list[str], bool]:
        """The names of the folders in a folder, sorted, and whether there are files in it too."""

    def touched(self, folder: str) -> int | None:
        """When a file last came into a folder or went: nanoseconds since 1970, by the clock of ``clock``.

        A file that took the place of another came. 0 when there is no such folder, None where the place does not know.
        """

    def stamps(self, folder: str) -> list[tuple[str, int]] | None:
        """Each folder in a folder, with a number that is another one after a file came into it, or went.

        The number is the time of that, in nanoseconds since 1970, so that two changes within the grain of the clock
        look like one. None where the place keeps no such numbers.
        """

    def marks(self, folder: str) -> dict[str, Mark | None] | None:
        """Each file in a folder by name, with a mark that is another one once it was replaced; see ``listing``.

        None for a file whose mark would say nothing (a link), and None for all where the place has no marks.
        """

    def clock(self) -> int | None:
        """The time by which ``marks`` and ``touched`` are made, now; None where nothing may be written."""

    def litter(self) -> Iterator[Entry]:
        """What killed writers left: files that have no name of the store. ``delete`` takes their paths."""

    def hold(self, key: str) -> AbstractContextManager[None]:
        """Keep others from the same key for the block, where the place has locks; ``swap`` decides either way."""

    def settle(self) -> None:
        """Return when every block under ``hold`` that began before has ended, in this process and in others.

        Where the place has no locks: after longer than such a block takes.
        """

    def local(self, path: str, written: Written) -> Path:
        """A local file with the bytes of ``path``; raises ``FileNotFoundError``.

        A file in the place itself where that is a directory (its content is not looked at). Otherwise a copy, kept
        under ``written.sha256`` and verified on arrival: ``CorruptError`` when the bytes are others.
        """

    def forget(self, path: str, written: Written) -> None:
        """Remove the copy that ``local`` may have kept outside of the place."""

    def fingerprint(self, path: str) -> Written:
        """Size and sha256 of the bytes that are there now; raises ``FileNotFoundError``."""


def backend_at(place: str | Path) -> Backend:
    """The backend for a folder, or for a URL: ``s3://``, ``gs://``, ``az://`` (``abfs://``), ``memory://``, ``file://``.

    Credentials come from the environment, never from the URL. Raises ``StoreError`` for any other scheme.
    """
    from mlops_assets.store.local import LocalBackend

    name = str(place)
    scheme, separator, rest = name.partition("://")
    if not separator:
        return LocalBackend(Path(place))
    if scheme == "file":
        return LocalBackend(Path(rest))
    if scheme in {"s3", "gs", "az", "abfs", "memory"}:
        from mlops_assets.store.objects import ObjectBackend

        return ObjectBackend(name)
    raise StoreError(f"{name} is no place for a store: give a folder, or a URL that starts with s3://, gs:// or az://.")
