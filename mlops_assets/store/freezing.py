"""Freezing: one picture of all heads of a branch, as trees, though others move them meanwhile.

What belongs here: reading heads until nothing moved while they were read, and the trees of what was seen. What does
not: what the trees are for (a branch's base in ``merging``, a tag in ``snapshots``), reading a folder (``listing``).

Every head is looked at, then the place is asked what may have moved since, and that is read again, until a round shows
what was known. All of it stood there when that round began:

* Where the place says when files were changed, a folder that was changed before the first look, and not since, holds
  what it held; a head moves by a file that comes into its folder. In other folders, a file with the mark of the first
  look holds what it held (see ``listing``). "Before" is by the clock of the place, which is asked first; what is not
  surely older counts as changed.
* Elsewhere, a file that is older than the first look by far holds what it held.
* Whatever else is there was read before that round, and in it, and had the same bytes: every move has bytes of its own.
"""

import time
from collections.abc import Collection, Iterator, Mapping
from typing import Protocol

from mlops_assets.errors import ConflictError
from mlops_assets.store.backend import Mark
from mlops_assets.store.bulk import uncollected
from mlops_assets.store.columns import Columns
from mlops_assets.store.heads import Head, read_head
from mlops_assets.store.listing import look, settled
from mlops_assets.store.names import segment, text
from mlops_assets.store.store import Store

PATIENCE = 60.0
"""Seconds to wait for a moment in which nothing moves; a round takes as long as listing the heads."""

_SKEW = 900.0
"""Seconds by which the clock of an object store may be behind ours; a request to one that is further off is refused.
What moved since then is read a second time."""

_Names = dict[str, Collection[str]]
"""Names of files by folder."""


@uncollected()
def freeze(store: Store, branch: str, dataset: str | None = None) -> dict[str, str]:
    """Write the trees of what a branch shows at one moment; the tree ids by asset.

    ``dataset`` is the first part of the assets' names (None: all assets), also of those that appear meanwhile. Assets
    without a batch are left out. Heads that move meanwhile are read again until nothing moved between two
    looks. Raises ``NotStoredError`` for an unknown branch, ``ConflictError`` when there is no such moment in a minute.
    """
    base = store.branch(branch).base
    own = _picture(store, branch, dataset)
    trees: dict[str, str] = {}
    for asset in sorted({*base, *own}):
        if dataset is not None and asset.partition("/")[0] != dataset:
            continue
        leaves = store.leaves_of(Columns.of(Head, own.get(asset, {})), base.get(asset))
        if leaves:
            trees[asset] = store.write_tree(asset, leaves)
    return trees


def _picture(store: Store, branch: str, dataset: str | None) -> dict[str, Mapping[str, Head]]:
    """The branch's own heads at one moment, by asset and the names of files."""
    deadline = time.monotonic() + PATIENCE
    top = f"heads/{segment(branch)}"
    start = top if dataset is None else f"{top}/{segment(dataset)}"
    afar = store.backend.touched(start) is None
    watch: _Watch = _Dated(store, start) if afar else _Marked(store, start)
    seen: dict[str, Mapping[str, Head]] = {}
    read: dict[str, bytes] = {}
    for folder in watch.folders():
        if folder == top:
            continue
        found = look(store, branch, _asset(top, folder))
        seen[folder] = found.heads
        read |= {f"{folder}/{name}": data for name, data in found.data.items()}
        watch.looked(folder, found.marks)
    while True:
        there, again = watch.again(seen)
        data_of = dict(zip(again, store.backend.read_many(again), strict=True))
        # what was taken from the index has no bytes yet, and takes a round more
        moved = {
            path: data
            for path, data in data_of.items()
            if data is None or data != read.get(path) or not _is_in(seen, path)
        }
        if not moved and all(seen.get(folder, {}).keys() == set(names) for folder, names in there.items()):
            return {_asset(top, folder): heads for folder, heads in seen.items() if heads}
        if time.monotonic() > deadline:
            raise ConflictError(
                f"The heads of branch {branch} did not stand still for a moment in {PATIENCE:g} s; "
                "wait until the runs on it have ended, then do this again."
            )
        now: dict[str, dict[str, Head]] = {}
        for folder, names in there.items():
            heads = dict(seen.get(folder, {}).items())
            now[folder] = {name: heads[name] for name in names if name in heads}
        for path, data in moved.items():
            folder, _, name = path.rpartition("/")
            if data is None:
                now[folder].pop(name, None)
            else:
                now[folder][name] = read_head(data, store.where(path), _asset(top, folder), text(name))
                read[path] = data
        seen |= now


class _Watch(Protocol):
    """Knows which heads may have moved since they were looked at."""

    def folders(self) -> Iterator[str]:
        """The folder to start at, and all under it; each is looked at before the next one is asked for."""

    def looked(self, folder: str, marks: Mapping[str, Mark | None] | None) -> None:
        """Take note of a look."""

    def again(self, seen: Mapping[str, Collection[str]]) -> tuple[_Names, list[str]]:
        """The files that are there now, in folders where something may have moved, and paths of those to be read."""


class _Marked:
    """In a place that marks files and folders by its clock."""

    def __init__(self, store: Store, start: str) -> None:
        self._backend = store.backend
        self._start = start
        self._clock = store.backend.clock()
        self._touched: dict[str, int | None] = {}
        self._marks: dict[str, Mapping[str, Mark | None]] = {}

    def folders(self) -> Iterator[str]:
        """See ``_Watch``: a folder's time is taken before anything in it is looked at."""
        for folder in self._under([self._start]):
            self._touched[folder] = self._backend.touched(folder)
            yield folder

    def looked(self, folder: str, marks: Mapping[str, Mark | None] | None) -> None:
        """See ``_Watch``."""
        self._marks[folder] = marks or {}

    def again(self, seen: Mapping[str, Collection[str]]) -> tuple[_Names, list[str]]:
        """See ``_Watch``."""
        del seen
        there: _Names = {}
        again: list[str] = []
        for folder in self._moving():
            marks = self._backend.marks(folder) or {}
            there[folder] = marks.keys()
            known = self._marks.get(folder, {})
            again += [
                f"{folder}/{name}"
                for name, mark in marks.items()
                if mark is None or mark != known.get(name) or not self._settled(mark.changed)
            ]
        return there, again

    def _moving(self) -> Iterator[str]:
        """Folders that are not surely as they were, and new ones."""
        for folder, before in list(self._touched.items()):
            if before is not None and self._settled(before) and self._backend.touched(folder) == before:
                continue
            yield folder
            for new in self._under([below for below in self._below(folder) if below not in self._touched]):
                self._touched[new] = self._backend.touched(new)
                yield new

    def _under(self, waiting: list[str]) -> Iterator[str]:
        """Folders and all that are in them; what is in one is listed after it was yielded."""
        while waiting:
            folder = waiting.pop()
            yield folder
            waiting += self._below(folder)

    def _below(self, folder: str) -> list[str]:
        return [f"{folder}/{name}" for name in self._backend.folders(folder)[0]]

    def _settled(self, changed: int) -> bool:
        return self._clock is not None and settled(changed, self._clock)


class _Dated:
    """In a place that says of each file alone when it was written, by a clock that is not ours."""

    def __init__(self, store: Store, start: str) -> None:
        self._backend = store.backend
        self._start = start
        self._young = time.time() - _SKEW

    def folders(self) -> Iterator[str]:
        """See ``_Watch``."""
        waiting = [self._start]
        while waiting:
            folder = waiting.pop()
            yield folder
            waiting += [f"{folder}/{name}" for name in self._backend.folders(folder)[0]]

    def looked(self, folder: str, marks: Mapping[str, Mark | None] | None) -> None:
        """See ``_Watch``; there is nothing to note."""

    def again(self, seen: Mapping[str, Collection[str]]) -> tuple[_Names, list[str]]:
        """See ``_Watch``."""
        there: dict[str, list[str]] = {folder: [] for folder in seen}
        again: list[str] = []
        for entry in self._backend.entries(self._start):
            folder, _, name = entry.path.rpartition("/")
            there.setdefault(folder, []).append(name)
            if entry.modified >= self._young or name not in seen.get(folder, ()):
                again.append(entry.path)
        return dict(there), again


def _is_in(seen: Mapping[str, Collection[str]], path: str) -> bool:
    folder, _, name = path.rpartition("/")
    return name in seen.get(folder, ())


def _asset(top: str, folder: str) -> str:
    return "/".join(text(part) for part in folder[len(top) + 1 :].split("/"))
