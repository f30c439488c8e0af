"""An asset's own heads, all at once, without opening the files that have not changed since somebody looked.

What belongs here: looking at a folder of heads, and the index in which it is remembered what was seen. What does not:
what a branch shows beside its own heads (``store``), or one picture of many folders (``freezing``).

A head is replaced by a new file under its name. So where the place marks its files (``Backend.marks``), a file with the
mark it had when it was read holds what it held then, unless two files got the same mark: one may get the inode of
another that it replaced within the same tick of the clock. Hence what is younger than ``YOUNG`` when it is looked at is
read and not remembered (git's rule for its index): by the clock of the place, which is asked before files are read.

The index is a derived file (see ``cache``). On network file systems a look is as fresh as the attributes that the
system keeps, which is seconds.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, NamedTuple

import orjson

from mlops_assets.store import cache
from mlops_assets.store.backend import Mark
from mlops_assets.store.columns import Columns
from mlops_assets.store.digest import bytes_digest
from mlops_assets.store.heads import Head, read_head
from mlops_assets.store.names import asset_path, segment, text

if TYPE_CHECKING:
    from mlops_assets.store.store import Store

FORMAT = 2

FEW = 32
"""Files that are read sooner than an index is written for them."""

SHARE = 50
"""An index is written when more than one in so many of its files is new to it: writing costs as much as reading 1%."""

YOUNG = 2_000_000_000
"""Nanoseconds: longer than a tick of any clock by which a file system marks files (FAT's is two seconds)."""

_TICK, _COARSE = 100_000_000, 10_000_000
"""Nanoseconds: many ticks of a kernel's clock, and a number of which all times of coarser clocks are multiples."""

_TEXTS = ("batch", "move", "attempt", "manifest", "version", "recipe", "kind", "sha256")
"""The fields of a head that are texts and differ; the asset is not written, and the others are numbers."""


class Look(NamedTuple):
    """A folder of heads, by the names of its files.

    ``heads`` are all heads, those that were taken away too, ``data`` the bytes of the files that were read now,
    ``marks`` what the place said of each file before that (None where it has no marks).
    """

    heads: Columns[Head]
    data: dict[str, bytes]
    marks: Mapping[str, Mark | None] | None


class _Index(NamedTuple):
    """What is remembered, by the names of files; the fields of ``Mark`` compare as it does, and are made faster."""

    marks: dict[str, tuple[int, int, int]]
    heads: Columns[Head]


def look(store: "Store", branch: str, asset: str) -> Look:
    """A branch's own heads of an asset; raises as ``read_head``."""
    folder = f"heads/{segment(branch)}/{asset_path(asset)}"
    marks = store.backend.marks(folder)
    if marks is None:
        read, data = _read(store, asset, folder, store.backend.children(folder)[1])
        return Look(Columns.of(Head, read), data, None)
    index = _load(store, asset, folder) if len(marks) > FEW else _Index({}, Columns.of(Head, {}))
    # as a whole first: most folders are as they were
    new = _new(marks, index) if index.marks != marks else []
    if not new and len(marks) == len(index.heads):
        return Look(index.heads, {}, marks)
    old = None
    if len(new) > max(FEW, len(marks) // SHARE) and (clock := store.backend.clock()) is not None:
        # under an older mark nothing comes any more: what is read from here on is the last that has it, or has another
        old = clock - YOUNG
    changed = set(new)
    read, data = _read(store, asset, folder, new)
    gone = [name for name in index.marks if name not in marks or (name in changed and name not in read)]
    heads = _patched(index.heads, gone, read)
    if old is not None:
        fresh = {name: mark for name in read if (mark := marks[name]) and mark.changed < old}
        if len(fresh) > max(FEW, len(marks) // SHARE):
            kept = {name: mark for name, mark in index.marks.items() if name in marks and name not in changed} | fresh
            cache.keep(store.backend, index_path(folder), _encode(folder, kept, heads))
    return Look(heads, data, marks)


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


def _read(store: "Store", asset: str, folder: str, names: list[str]) -> tuple[dict[str, Head], dict[str, bytes]]:
    paths = [f"{folder}/{name}" for name in names]
    heads, read = {}, {}
    for name, path, data in zip(names, paths, store.backend.read_many(paths), strict=True):
        if data is not None:
            heads[name] = read_head(data, store.where(path), asset, text(name))
            read[name] = data
    return heads, read


def _patched(heads: Columns[Head], gone: Collection[str], read: dict[str, Head]) -> Columns[Head]:
    if len(gone) + len(read) > max(FEW, len(heads) // SHARE):
        left = dict(heads.items())
        for name in gone:
            del left[name]
        return Columns.of(Head, left | read)
    for name in gone:
        heads.drop(name)
    for name, head in read.items():
        heads.put(name, head)
    return heads


def _encode(folder: str, marks: Mapping[str, tuple[int, int, int]], heads: Mapping[str, Head]) -> bytes:
    """Strings of a column as one, which JSON reads several times as fast as records."""
    remembered = Columns.of(Head, {name: heads[name] for name in marks})
    names, column = remembered.names, remembered.column
    return orjson.dumps(
        {
            "format": FORMAT,
            "folder": folder,
            "names": cache.joined(names),
            "marks": list(zip(*(marks[name] for name in names), strict=True)),
            **{field: cache.joined(column(field)) for field in _TEXTS},
            **{field: column(field) for field in ("seq", "size", "rows")},
        }
    )


def _load(store: "Store", asset: str, folder: str) -> _Index:
    body = cache.kept(store.backend, index_path(folder))
    record = orjson.loads(body) if body is not None else {}
    if (record.get("format"), record.get("folder")) != (FORMAT, folder):
        return _Index({}, Columns.of(Head, {}))
    names = cache.parted(record["names"])
    texts = {field: cache.parted(record[field]) for field in _TEXTS}
    columns = record | texts | {"asset": [asset] * len(names)}
    marks = zip(*record["marks"], strict=True)
    heads = Columns(Head, names, [columns[field] for field in Head._fields])
    return _Index(dict(zip(names, marks, strict=True)), heads)
