"""Manifests and trees in their place: written once, found again, never changed.

What belongs here: the immutable records' paths, writing and reading. What does not: what they say (``manifest``,
``trees``), the values they speak of (``blobs``), the heads that lead to them (``store``).
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from mlops_assets.errors import CorruptError, NotStoredError, StoreError
from mlops_assets.store import trees
from mlops_assets.store.backend import Backend
from mlops_assets.store.bulk import uncollected
from mlops_assets.store.columns import Columns
from mlops_assets.store.digest import bytes_digest, parse_json
from mlops_assets.store.formats import FROM_ANOTHER
from mlops_assets.store.heads import Leaf, Move
from mlops_assets.store.manifest import Manifest
from mlops_assets.store.names import asset_path, segment, version_name

_REMEMBERED = 64
"""Trees that a store keeps in memory."""


class Records:
    """The immutable records of a store at ``backend``."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._trees: dict[str, Columns[Leaf]] = {}

    def __str__(self) -> str:
        return f"store at {self.backend.url}"

    @property
    def root(self) -> Path:
        """The folder of a store on a local disk; raises ``StoreError`` for one in an object store."""
        if "://" in self.backend.url:
            raise StoreError(f"The {self} is not on this disk, where this is done; clone it to a folder first.")
        return Path(self.backend.url)

    def record(self, manifest: Manifest) -> str:
        """Write a manifest, once; its id. One that is there already becomes young again, so that gc spares it."""
        self.write_once(manifest_path(manifest.asset, manifest.batch, manifest.id), manifest.encoded)
        return manifest.id

    def manifest(self, asset: str, batch: str, id: str) -> Manifest:  # noqa: A002 - the word of the design
        """A recorded manifest; raises ``NotStoredError``, or ``CorruptError`` when the file is not what was written."""
        path = manifest_path(asset, batch, id)
        try:
            data = self.backend.read(path)
        except FileNotFoundError:
            raise NotStoredError(f"{asset}[{batch}] has no manifest {id} in {self}.") from None
        return read_manifest(data, id, self.where(path))

    def read_manifests(self, wanted: Iterable[tuple[str, str, str]]) -> Iterator[Manifest | None]:
        """The manifests of each (asset, batch, id) in the order asked for, read all at once; None for one that is lost.

        Raises ``CorruptError`` for a damaged one.
        """
        wanted = list(wanted)
        paths = [manifest_path(*each) for each in wanted]
        for (_, _, id_), path, data in zip(wanted, paths, self.backend.read_many(paths), strict=True):
            yield None if data is None else read_manifest(data, id_, self.where(path))

    def manifests(self, asset: str, batch: str, recipe: str | None = None, *, but: str = "") -> list[Manifest]:
        """Every manifest of a batch, accepted or not, newest first; with ``recipe`` those made by it alone.

        ``but`` is the id of one that is not looked at. Raises ``CorruptError`` for a damaged one.
        """
        sought = b"" if recipe is None else recipe.encode()
        found = [
            (id_, read_manifest(data, id_, self.where(path)))
            for id_, path, data in self._records(asset, batch, but)
            # taking a record to pieces costs ten times what reading it does
            if sought in data or bytes_digest(data) != id_
        ]
        chosen = [(made.when, id_, made) for id_, made in found if recipe is None or made.recipe == recipe]
        return [made for *_, made in sorted(chosen, key=lambda each: each[:2], reverse=True)]

    @uncollected()
    def write_tree(self, asset: str, leaves: Mapping[str, Leaf]) -> str:
        """Write a tree, once; its id."""
        columns = Columns.of(Leaf, leaves)
        data = trees.encode(asset, columns)
        id_ = bytes_digest(data)
        self.write_once(tree_path(id_), data)
        self._remember(id_, columns)
        return id_

    def tree(self, id: str) -> Columns[Leaf]:  # noqa: A002 - the word of the design
        """The leaves of a tree by batch, not to be changed; raises ``CorruptError`` when it is lost or damaged."""
        found = self._trees.get(id)
        return self._remember(id, self._tree(id)) if found is None else found

    def where(self, path: str) -> str:
        """A path for people."""
        return f"{self.backend.url}/{path}"

    def _remember(self, id_: str, leaves: Columns[Leaf]) -> Columns[Leaf]:
        # of many trees, those that were met first are forgotten
        for old in list(self._trees)[: -_REMEMBERED + 1]:
            self._trees.pop(old, None)
        self._trees[id_] = leaves
        return leaves

    @uncollected()
    def _tree(self, id_: str) -> Columns[Leaf]:
        path = tree_path(id_)
        try:
            data = self.backend.read(path)
        except FileNotFoundError:
            raise CorruptError(f"The tree {self.where(path)} is lost; {FROM_ANOTHER}.") from None
        return trees.decode(data, id_, f"The tree {self.where(path)}")[1]

    def write_once(self, path: str, data: bytes) -> None:
        """Write a record that never changes; one that is there is made young again, or whole where it is damaged."""
        if self.backend.create(path, data):
            return
        with self.backend.hold(path):
            try:
                sound = self.backend.read(path) == data and self.backend.touch(path)
            except FileNotFoundError:
                sound = False
            if not sound:
                self.backend.write(path, data)

    def _records(self, asset: str, batch: str, but: str = "") -> Iterator[tuple[str, str, bytes]]:
        folder = f"meta/{asset_path(asset)}/{segment(batch)}"
        names = [name for name in self.backend.children(folder)[1] if name.startswith("b3-") and name.endswith(".json")]
        names = [name for name in names if record_id(name) != but]
        paths = [f"{folder}/{name}" for name in names]
        for name, path, data in zip(names, paths, self.backend.read_many(paths), strict=True):
            if data is not None:
                yield record_id(name), path, data


def manifest_path(asset: str, batch: str, id_: str) -> str:
    """Where a manifest stands."""
    return f"meta/{asset_path(asset)}/{segment(batch)}/{version_name(id_)}.json"


def tree_path(id_: str) -> str:
    """Where a tree stands."""
    return f"trees/{version_name(id_)}.json"


def record_id(name: str) -> str:
    """The id in the file name of a manifest, tree or move."""
    return name.removesuffix(".json").replace("-", ":", 1)


def read_manifest(data: bytes, id_: str, where: str) -> Manifest:
    """The manifest of a file; raises ``CorruptError`` when the bytes are not those that ``id_`` names."""
    if bytes_digest(data) != id_:
        raise CorruptError(f"The manifest {where} is damaged; {FROM_ANOTHER}.")
    return Manifest.from_dict(parse_json(data), f"The manifest {where}")


def read_move(data: bytes | None, id_: str, where: str) -> Move:
    """The move of a file; raises ``CorruptError`` when there is none (None), or not the one that ``id_`` names."""
    if data is None or bytes_digest(data) != id_:
        trouble = "lost" if data is None else "damaged"
        raise CorruptError(f"The record {where} of a move is {trouble}; {FROM_ANOTHER}.")
    return Move.decode(data, where)
