"""Freezing: one picture of all heads of a branch, as trees, though others move them meanwhile.

What belongs here: reading heads until nothing moved while they were read, and the trees of what was seen. What does
not: what the trees are for (a branch's base in ``merging``, a tag in ``snapshots``).
"""

import time
from collections.abc import Collection, Iterator

from mlops_assets.errors import ConflictError
from mlops_assets.store.bulk import uncollected
from mlops_assets.store.heads import Leaf
from mlops_assets.store.listing import Seen, look
from mlops_assets.store.names import asset_path, segment, text
from mlops_assets.store.store import Store

PATIENCE = 60.0
"""Seconds to wait for a moment in which nothing moves; a round takes as long as listing the heads."""

_SKEW, _SKEW_AFAR = 60.0, 900.0
"""Seconds by which the clock of a disk (or its server) and of an object store may be behind ours; a request to an
object store that is further off is refused. What moved since then is read a second time."""


@uncollected()
def freeze(store: Store, branch: str, assets: Collection[str] | None = None) -> dict[str, str]:
    """Write the trees of what a branch shows at one moment; the tree ids by asset (None: all assets).

    Assets without a batch are left out. Heads that move meanwhile are read again until nothing moved between two
    looks. Raises ``NotStoredError`` for an unknown branch, ``ConflictError`` when there is no such moment in a minute.
    """
    base = store.branch(branch).base
    own = _picture(store, branch, assets)
    trees: dict[str, str] = {}
    for asset in sorted({*base, *own} if assets is None else {*assets} & {*base, *own}):
        leaves = dict(store.tree(base[asset])) if asset in base else {}
        for batch, leaf in own.get(asset, {}).items():
            if leaf:
                leaves[batch] = leaf
            else:
                leaves.pop(batch, None)
        if leaves:
            trees[asset] = store.write_tree(asset, leaves)
    return trees


def _picture(store: Store, branch: str, assets: Collection[str] | None) -> dict[str, dict[str, Leaf | None]]:
    """What the branch's own heads show at one moment, by asset and batch; None for one that was taken away.

    In the last round, what is older than the first look has not moved since, and what is younger was read twice and
    showed the same: every move has bytes of its own. So all of it stood there when that round began. What is young and
    was taken from the index, without its bytes, takes a round more.
    """
    started = time.time()
    deadline = time.monotonic() + PATIENCE
    young = started - (_SKEW_AFAR if "://" in store.backend.url else _SKEW)
    top = f"heads/{segment(branch)}"
    of = {f"{top}/{asset_path(asset)}": asset for asset in (_assets(store, top) if assets is None else assets)}
    seen = {f"{folder}/{name}": head for folder in of for name, head in look(store, branch, of[folder]).items()}
    while True:
        there: set[str] = set()
        again: list[str] = []
        for entry in (entry for folder in ([top] if assets is None else of) for entry in store.backend.entries(folder)):
            if assets is not None and entry.path.rpartition("/")[0] not in of:
                continue  # an asset whose name continues this one's
            there.add(entry.path)
            if entry.modified >= young or entry.path not in seen:
                again.append(entry.path)
        found = dict(zip(again, store.backend.read_many(again), strict=True))
        moved = {path: data for path, data in found.items() if path not in seen or data != seen[path].data}
        if there == seen.keys() and not moved:
            return _leaves(top, seen)
        if time.monotonic() > deadline:
            raise ConflictError(
                f"The heads of branch {branch} did not stand still for a moment in {PATIENCE:g} s; "
                "wait until the runs on it have ended, then do this again."
            )
        for path, data in moved.items():
            if data is None:
                there.discard(path)
            else:
                seen[path] = _decoded(store, top, path, data)
        seen = {path: head for path, head in seen.items() if path in there}


def _assets(store: Store, top: str) -> Iterator[str]:
    """What may be an asset of a branch: every folder under its heads."""
    waiting = [f"{top}/{name}" for name in store.backend.children(top)[0]]
    while waiting:
        folder = waiting.pop()
        yield _asset(top, folder)
        waiting += [f"{folder}/{name}" for name in store.backend.children(folder)[0]]


def _asset(top: str, folder: str) -> str:
    return "/".join(text(part) for part in folder[len(top) + 1 :].split("/"))


def _decoded(store: Store, top: str, path: str, data: bytes) -> Seen:
    folder, _, name = path.rpartition("/")
    return Seen(store.read_leaf(data, path, _asset(top, folder), text(name)), data)


def _leaves(top: str, seen: dict[str, Seen]) -> dict[str, dict[str, Leaf | None]]:
    leaves: dict[str, dict[str, Leaf | None]] = {}
    for path, head in seen.items():
        folder, _, name = path.rpartition("/")
        leaves.setdefault(folder, {})[text(name)] = head.leaf
    return {_asset(top, folder): found for folder, found in leaves.items()}
