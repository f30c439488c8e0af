"""Open doors: states of the store for readers and tools that know nothing of it.

What belongs here: which files a tag publishes as Delta tables, and how a state looks to DVC. What does not: the formats
themselves (``delta``, ``dvc``), copies for people (``export``).
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.errors import NotStoredError, StoreError
from mlops_assets.store import dvc
from mlops_assets.store.blobs import blob_path
from mlops_assets.store.heads import Leaf
from mlops_assets.store.manifest import EXTENSIONS
from mlops_assets.store.names import asset_path, segment
from mlops_assets.store.refs import View, chosen_assets

if TYPE_CHECKING:
    from mlops_assets.store.delta import Published, TableFile
    from mlops_assets.store.store import Store


def table_folder(store: "Store", asset: str) -> Path:
    """The folder that Delta readers open for an asset; raises ``StoreError`` when the store is not on this disk."""
    return store.root / "data" / asset_path(asset)


def publish(
    store: "Store", tag: View, assets: Collection[str] | None = None, *, when: str, dry: bool = False
) -> Mapping[str, "Published"]:
    """Make a tag a version of a Delta table of each asset, over the files that are there; by asset what was done.

    ``assets`` are those named, else every asset of the tag that holds tables. ``tag`` is a view of a tag, ``when`` its
    ISO time. All tables are looked at before the first is written. Raises as ``delta.publish``, and ``StoreError`` for
    a view that is no tag, for an asset that holds no tables, and for a store that is not on this disk.
    """
    from mlops_assets.store import delta

    if tag.kind != "tag":
        raise StoreError(f"Only tags are published, since they never change; tag what {tag.name} shows first.")
    files: dict[str, list[TableFile]] = {}
    for asset in chosen_assets(tag, assets):
        leaves = tag.leaves(asset)
        if leaves and all(leaf.kind == "table" for leaf in leaves.values()):
            files[asset] = list(_table_files(store, asset, leaves))
        elif assets is not None:
            raise StoreError(f"{asset} holds no tables at {tag.name}, and Delta knows nothing else.")
    if not files:
        raise NotStoredError(f"{tag.name} holds no tables to publish.")
    name = tag.name.removeprefix("tag ")
    for dry_run in (True,) if dry else (True, False):
        done = {
            asset: delta.publish(table_folder(store, asset), found, name, when=when, dry=dry_run)
            for asset, found in files.items()
        }
    return done


def export_dvc(
    store: "Store", view: View, target: Path, name: str, *, remote: Path, assets: Collection[str] | None = None
) -> dvc.Exported:
    """Write a state as the directory ``name`` that DVC tracks in ``target``, its objects into the folder ``remote``.

    Files are called ``<asset>/<batch>.parquet`` (``.json``, ``.skops``, ``.bin``). Raises as ``dvc.export``.
    """
    return dvc.export(list(_files(store, view, chosen_assets(view, assets))), target, name, remote=remote)


def import_dvc(pointer: Path, cache: Collection[Path], target: Path) -> list[Path]:
    """Bring the files that a ``.dvc`` file names into the folder ``target``, to be taken in from there; the new ones.

    A file that is there with the same content is left alone. Raises ``StoreError``, before anything is written, when
    one is there with other content, and as ``dvc.read_pointer``.
    """
    from mlops_assets.store.files import copier, fingerprint, write_file

    found = dvc.read_pointer(pointer, list(cache))
    new = []
    for file in found:
        place = target / file.relpath
        if not place.exists():
            new.append(file)
        elif not place.is_file() or fingerprint(place) != fingerprint(file.path):
            raise StoreError(f"{place} is there already with other content than {pointer} names; move it away first.")
    for file in new:
        write_file(target / file.relpath, copier(file.path))
    return [target / file.relpath for file in new]


def _table_files(store: "Store", asset: str, leaves: Mapping[str, Leaf]) -> Iterator["TableFile"]:
    from mlops_assets.store.delta import TableFile

    root = f"data/{asset_path(asset)}/"
    read = store.read_manifests((asset, batch, leaf.manifest) for batch, leaf in leaves.items())
    for (batch, leaf), manifest in zip(leaves.items(), read, strict=True):
        if manifest is None:
            raise NotStoredError(f"{asset}[{batch}] has no manifest {leaf.manifest} in {store}.")
        path = blob_path(asset, batch, leaf.version, leaf.kind).removeprefix(root)
        yield TableFile(batch, path, leaf.size, leaf.rows or 0, manifest.schema)


def _files(store: "Store", view: View, assets: Collection[str]) -> Iterator[tuple[str, Path]]:
    for asset in assets:
        for batch, leaf in view.leaves(asset).items():
            name = f"{asset_path(asset)}/{segment(batch)}{EXTENSIONS[leaf.kind]}"
            yield name, store.path(view.manifest(asset, batch))
