"""Showing again what only the history of moves names: is it still there, and will gc spare it.

What belongs here: looking at values before a pointer goes back to them. What does not: which values those are
(``restoring``, ``branching``), and what gc keeps (``garbage``).
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

from mlops_assets.errors import CorruptError
from mlops_assets.store.blobs import blob_path
from mlops_assets.store.formats import FROM_ANOTHER
from mlops_assets.store.heads import Leaf
from mlops_assets.store.records import manifest_path

if TYPE_CHECKING:
    from mlops_assets.store.store import Store

Past = tuple[str, str, Leaf]
"""An asset, a batch, and what it showed."""


def look_at_values(store: "Store", past: Collection[Past]) -> None:
    """Raise, as ``Store.check``, for a version that has lost its value."""
    for asset, batch, leaf in past:
        found = store.backend.stat(blob_path(asset, batch, leaf.version, leaf.kind))
        if found is None or found.size != leaf.size:
            store.check(store.manifest(asset, batch, leaf.manifest))


def keep_from_gc(store: "Store", past: Collection[Past]) -> None:
    """Make the files of versions young again, since gc takes only what is old; ``CorruptError`` for a lost one."""
    for asset, batch, leaf in past:
        for path in (blob_path(asset, batch, leaf.version, leaf.kind), manifest_path(asset, batch, leaf.manifest)):
            with store.backend.hold(path):
                if not store.backend.touch(path):
                    raise CorruptError(f"The file {store.where(path)} is lost; {FROM_ANOTHER}.")
