"""An asset's own heads, all at once, without opening the files that have not changed since somebody looked.

What belongs here: looking at a folder of heads, and the index in which it is remembered what was seen. What does not:
what a branch shows beside its own heads (``store``), or one picture of many folders (``freezing``).

A head is replaced by a new file under its name. So where the place marks its files (``Backend.marks``), a file with the
mark it had when it was read holds what it held then, unless two files got the same mark: one may get the inode of
another that it replaced within the same tick of the clock. Hence what is younger than ``YOUNG`` when it is looked at is
read and not remembered (git's rule for its index): by the clock of the place, which is asked before that look.

The index holds nothing that the heads do not say: it may be deleted, is not copied to remotes, and one that is damaged
or of another format is made again. It is written as a whole; of two writers the last one wins, and either is right.
On network file systems a look is as fresh as the attributes that the system keeps, which is seconds.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import orjson

from mlops_assets.errors import StoreError
from mlops_assets.store.backend import Mark
from mlops_assets.store.digest import bytes_digest
from mlops_assets.store.heads import Leaf
from mlops_assets.store.names import asset_path, segment, text

if TYPE_CHECKING:
    from mlops_assets.store.store import Store

FORMAT = 1

FEW = 32
"""Files that are read sooner than an index is written for them."""

SHARE = 50
"""An index is written when more than one in so many of its files is new to it: writing costs as much as reading 1%."""

YOUNG = 2_000_000_000
"""Nanoseconds: longer than a tick of any clock by which a file system marks files (FAT's is two seconds)."""


class Seen(NamedTuple):
    """A head: what a tree would say (None: it was taken away), and the file's bytes if it was read now."""

    leaf: Leaf | None
    data: bytes | None


_Index = dict[str, tuple[tuple[int, int, int], Leaf | None]]
"""By the names of files: the fields of ``Mark``, which compare as it does and are made faster, and the leaf."""


def look(store: "Store", branch: str, asset: str) -> dict[str, Seen]:
    """A branch's own heads of an asset by the names of their files, sorted; raises as ``Store.read_leaf``."""
    folder = f"heads/{segment(branch)}/{asset_path(asset)}"
    marks = store.backend.marks(folder)
    if marks is None:
        return _read(store, asset, folder, store.backend.children(folder)[1])
    index = _load(store, folder) if len(marks) > FEW else {}
    new = _new(marks, index)
    settled = None
    if len(new) > max(FEW, len(marks) // SHARE) and (clock := store.backend.clock()) is not None:
        # what is older than this look by the clock of the place cannot get a second content under its mark
        settled = clock - YOUNG
        marks = store.backend.marks(folder) or {}
        new = _new(marks, index)
    read = _read(store, asset, folder, new)
    known = marks.keys() - set(new)
    found = {name: read[name] if name in read else Seen(index[name][1], None) for name in sorted({*known, *read})}
    if settled is not None:
        fresh = {name: (mark, read[name].leaf) for name in read if (mark := marks[name]) and mark.changed < settled}
        if len(fresh) > max(FEW, len(marks) // SHARE):
            # a store that may only be read is read in full every time
            with suppress(StoreError):
                store.backend.write(
                    index_path(folder), _encode(folder, {**{name: index[name] for name in sorted(known)}, **fresh})
                )
    return found


def index_path(folder: str) -> str:
    """Where it is remembered what a folder of heads showed; a digest, since assets' names continue each other."""
    return f"cache/heads/{bytes_digest(folder.encode()).removeprefix('b3:')}"


def _new(marks: dict[str, Mark | None], index: _Index) -> list[str]:
    return sorted(name for name, mark in marks.items() if mark is None or name not in index or index[name][0] != mark)


def _read(store: "Store", asset: str, folder: str, names: list[str]) -> dict[str, Seen]:
    paths = [f"{folder}/{name}" for name in names]
    return {
        name: Seen(store.read_leaf(data, path, asset, text(name)), data)
        for name, path, data in zip(names, paths, store.backend.read_many(paths), strict=True)
        if data is not None
    }


def _encode(folder: str, index: _Index) -> bytes:
    body = orjson.dumps(
        {
            "format": FORMAT,
            "folder": folder,
            "names": list(index),
            "marks": list(zip(*(mark for mark, _ in index.values()), strict=True)),
            "leaves": [tuple(leaf) if leaf else None for _, leaf in index.values()],
        }
    )
    return bytes_digest(body).encode() + b"\n" + body


def _load(store: "Store", folder: str) -> _Index:
    try:
        digest, _, body = store.backend.read(index_path(folder)).partition(b"\n")
    except (FileNotFoundError, StoreError):
        # one that this account may not read is as good as none
        return {}
    if bytes_digest(body).encode() != digest:
        return {}
    record = orjson.loads(body)
    if record["format"] != FORMAT or record["folder"] != folder:
        return {}
    marks = zip(*record["marks"], strict=True)
    leaves = (Leaf._make(leaf) if leaf else None for leaf in record["leaves"])
    return dict(zip(record["names"], zip(marks, leaves, strict=True), strict=True))
