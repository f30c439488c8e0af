"""An asset's own heads, all at once, without opening the files that have not changed since somebody looked.

What belongs here: looking at a folder of heads, and the index in which it is remembered what was seen. What does not:
what a branch shows beside its own heads (``store``), or one picture of many folders (``freezing``).

A head is replaced by a new file under its name. So where the place marks its files (``Backend.marks``), a file with the
mark it had when it was read holds what it held then, unless two files got the same mark: one may get the inode of
another that it replaced within the same tick of the clock. Hence what is younger than ``YOUNG`` when it is looked at is
read and not remembered (git's rule for its index): by the clock of the place, which is asked before files are read.

The index holds nothing that the heads do not say: it may be deleted, is not copied to remotes, and one that is damaged
or of another format is made again. It is written as a whole; of two writers the last one wins, and either is right.
On network file systems a look is as fresh as the attributes that the system keeps, which is seconds.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

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

_TICK, _COARSE = 100_000_000, 10_000_000
"""Nanoseconds: many ticks of a kernel's clock, and a number of which all times of coarser clocks are multiples."""

_leaf: Callable[[Sequence[Any]], Leaf] = partial(tuple.__new__, Leaf)
"""``Leaf._make`` without passing through Python: one is made for every head."""


class Look(NamedTuple):
    """A folder of heads, by the names of its files, in no order.

    ``leaves`` says what a tree would say (None: the head was taken away), ``data`` the bytes of the files that were
    read now, ``marks`` what the place said of each file before that (None where it has no marks).
    """

    leaves: dict[str, Leaf | None]
    data: dict[str, bytes]
    marks: Mapping[str, Mark | None] | None


class _Index(NamedTuple):
    """What is remembered, by the names of files; the fields of ``Mark`` compare as it does, and are made faster."""

    marks: dict[str, tuple[int, int, int]]
    leaves: dict[str, Leaf | None]


def look(store: "Store", branch: str, asset: str) -> Look:
    """A branch's own heads of an asset; raises as ``Store.read_leaf``."""
    folder = f"heads/{segment(branch)}/{asset_path(asset)}"
    marks = store.backend.marks(folder)
    if marks is None:
        return Look(*_read(store, asset, folder, store.backend.children(folder)[1]), None)
    index = _load(store, folder) if len(marks) > FEW else _Index({}, {})
    new = _new(marks, index)
    old = None
    if len(new) > max(FEW, len(marks) // SHARE) and (clock := store.backend.clock()) is not None:
        # under an older mark nothing comes any more: what is read from here on is the last that has it, or has another
        old = clock - YOUNG
    read, data = _read(store, asset, folder, new)
    if not new and len(marks) == len(index.leaves):
        return Look(index.leaves, data, marks)
    moved = set(new)
    known = {name: leaf for name, leaf in index.leaves.items() if name in marks and name not in moved}
    found = known | read
    if old is not None:
        fresh = {name: mark for name in read if (mark := marks[name]) and mark.changed < old}
        if len(fresh) > max(FEW, len(marks) // SHARE):
            kept = {name: index.marks[name] for name in known} | fresh
            # a store that may only be read is read in full every time
            with suppress(StoreError):
                store.backend.write(index_path(folder), _encode(folder, kept, found))
    return Look(found, data, marks)


def settled(changed: int, clock: int) -> bool:
    """Whether nothing that happens after ``clock`` can be marked with the time ``changed``; both in nanoseconds.

    File systems note the time of their kernel's clock, which ticks at least a hundred times a second, and cut it to
    what they can write down. A time that is no multiple of 10 ms was not cut to 10 ms, or to seconds.
    """
    return changed < clock - (_TICK if changed % _COARSE else YOUNG)


def index_path(folder: str) -> str:
    """Where it is remembered what a folder of heads showed; a digest, since assets' names continue each other."""
    return f"cache/heads/{bytes_digest(folder.encode()).removeprefix('b3:')}"


def _new(marks: Mapping[str, Mark | None], index: _Index) -> list[str]:
    known = index.marks.get
    return sorted(name for name, mark in marks.items() if mark is None or known(name) != mark)


def _read(store: "Store", asset: str, folder: str, names: list[str]) -> tuple[dict[str, Leaf | None], dict[str, bytes]]:
    paths = [f"{folder}/{name}" for name in names]
    leaves, read = {}, {}
    for name, path, data in zip(names, paths, store.backend.read_many(paths), strict=True):
        if data is not None:
            leaves[name] = store.read_leaf(data, path, asset, text(name))
            read[name] = data
    return leaves, read


def _encode(folder: str, marks: Mapping[str, tuple[int, int, int]], leaves: Mapping[str, Leaf | None]) -> bytes:
    names = sorted(marks)
    body = orjson.dumps(
        {
            "format": FORMAT,
            "folder": folder,
            "names": names,
            "marks": list(zip(*(marks[name] for name in names), strict=True)),
            "leaves": [tuple(leaf) if (leaf := leaves[name]) else None for name in names],
        }
    )
    return bytes_digest(body).encode() + b"\n" + body


def _load(store: "Store", folder: str) -> _Index:
    try:
        digest, _, body = store.backend.read(index_path(folder)).partition(b"\n")
    except (FileNotFoundError, StoreError):
        # one that this account may not read is as good as none
        return _Index({}, {})
    if bytes_digest(body).encode() != digest:
        return _Index({}, {})
    record = orjson.loads(body)
    if record["format"] != FORMAT or record["folder"] != folder:
        return _Index({}, {})
    names = record["names"]
    leaves = (_leaf(leaf) if leaf else None for leaf in record["leaves"])
    marks = zip(*record["marks"], strict=True)
    return _Index(dict(zip(names, marks, strict=True)), dict(zip(names, leaves, strict=True)))
