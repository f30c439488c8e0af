"""Derived files: what was found out from a store's records and is kept, so that it need not be found out again.

What belongs here: how such a file is written, and when it is believed. What does not: what is in one (``listing``,
``inputs`` and ``remembered`` know).

They stand under ``cache/`` and hold nothing that the records do not say: any of them may be deleted, none is copied to
remotes, and one that is damaged is made again. A file is written as a whole; of two writers the last one wins, and
either is right.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from mlops_assets.errors import StoreError
from mlops_assets.store.digest import bytes_digest

if TYPE_CHECKING:
    from mlops_assets.store.backend import Backend

_END = "\n"


def keep(backend: "Backend", path: str, body: bytes) -> None:
    """Write a derived file; a place that cannot be written to is left as it is."""
    with suppress(StoreError):
        backend.write(path, bytes_digest(body).encode() + b"\n" + body)


def kept(backend: "Backend", path: str) -> memoryview | None:
    """The body of a derived file; None where there is none that is whole, or that this account may read."""
    try:
        data = backend.read(path)
    except (FileNotFoundError, StoreError):
        return None
    end = data.find(b"\n")
    body = memoryview(data)[end + 1 :]
    return body if bytes_digest(body).encode() == data[: max(end, 0)] else None


def joined(strings: Iterable[str]) -> str | list[str]:
    """Many strings as one, which JSON reads several times as fast; the list itself where there would be no way back."""
    each = list(strings)
    whole = _END.join(each)
    return whole if each and whole.count(_END) == len(each) - 1 else each


def parted(strings: str | list[str]) -> list[str]:
    """The inverse of ``joined``."""
    return strings.split(_END) if isinstance(strings, str) else strings
