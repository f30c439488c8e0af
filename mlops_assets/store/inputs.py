"""Which recorded inputs of a set of versions are not among the versions beside them.

What belongs here: comparing the inputs in manifests with what a snapshot shows, and remembering what was read. What
does not: what follows from a difference (a tag names it, and is made).

Reading 60,000 manifests takes a second. So the inputs of what was tagged last are kept in ``cache/inputs/<dataset>``.
Of manifests that are new since, many are looked for in the notes of those who published them (``notes``), and the rest
is read. The file holds nothing that the manifests do not say: it may be deleted, is not copied to remotes, and one that
is damaged or of another format is made again.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from mlops_assets.errors import CorruptError, NotStoredError
from mlops_assets.store.bulk import uncollected
from mlops_assets.store.digest import bytes_digest
from mlops_assets.store.heads import Leaf
from mlops_assets.store.names import segment
from mlops_assets.store.notes import Named, noted
from mlops_assets.store.records import FROM_ANOTHER, manifest_path

if TYPE_CHECKING:
    from mlops_assets.store.store import Store

FORMAT = 1

SHARE = 50
"""The file is written again when one in so many of its manifests is new: before, reading those anew costs less."""

Snapshot = Mapping[str, Mapping[str, Leaf]]
"""Leaves by asset and batch."""


@dataclass
class _Known:
    """The inputs of manifests; ``of`` gives the places in ``named`` by manifest id. In a file each stands once."""

    named: list[Named] = field(default_factory=list)
    of: dict[str, list[int]] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The file: a digest, then columns, which parse faster than records."""
        sizes = [len(places) for places in self.of.values()]
        body = orjson.dumps(
            {
                "format": FORMAT,
                "assets": [name for name, _, _ in self.named],
                "partitions": [partition for _, partition, _ in self.named],
                "versions": [version for _, _, version in self.named],
                "manifests": list(self.of),
                "sizes": sizes,
                "places": [place for places in self.of.values() for place in places],
            }
        )
        return bytes_digest(body).encode() + b"\n" + body

    @classmethod
    def decode(cls, data: bytes) -> "_Known":
        """The inverse; nothing is known from a file that is damaged or of another format."""
        digest, _, body = data.partition(b"\n")
        if bytes_digest(body).encode() != digest:
            return cls()
        record = orjson.loads(body)
        if record["format"] != FORMAT:
            return cls()
        known = cls(list(zip(record["assets"], record["partitions"], record["versions"], strict=True)))
        start, places = 0, record["places"]
        for manifest, size in zip(record["manifests"], record["sizes"], strict=True):
            known.of[manifest] = places[start : start + size]
            start += size
        return known

    def only(self, manifests: Iterable[str]) -> "_Known":
        """What is known of some manifests alone."""
        kept = _Known()
        kept.add({manifest: [self.named[place] for place in self.of[manifest]] for manifest in manifests})
        return kept

    def add(self, inputs: Mapping[str, Iterable[Named]]) -> None:
        """Take over what more manifests say; what was known before is not searched for the same inputs."""
        start = len(self.named)
        places: dict[Named, int] = {}
        for manifest, items in inputs.items():
            self.of[manifest] = [start + places.setdefault(item, len(places)) for item in items]
        self.named += places


@uncollected()
def differing(store: "Store", dataset: str, snapshot: Snapshot) -> tuple[Mapping[str, Any], ...]:
    """Each recorded input of a snapshot's versions that is not what the snapshot shows of that asset and partition.

    One record for an input: ``input``, ``partition``, the versions ``recorded`` and ``tagged`` (None: absent), and
    ``used_by``, the partitions by asset of the versions that were made from it. Versions are compared, not the records
    that led to them; inputs that belong to another dataset are not looked at.
    """
    known = _inputs_of(store, dataset, snapshot)
    assets = {asset for asset, _, _ in known.named}
    tagged = {asset: snapshot.get(asset, {}) for asset in assets if asset.partition("/")[0] == dataset}
    stale = {
        place
        for place, (asset, partition, version) in enumerate(known.named)
        if asset in tagged and _version(tagged[asset].get(partition)) != version
    }
    if not stale:
        return ()
    used: dict[Named, dict[str, list[str]]] = {}
    for asset, leaves in snapshot.items():
        for batch, leaf in leaves.items():
            for place in known.of[leaf.manifest]:
                if place in stale:
                    used.setdefault(known.named[place], {}).setdefault(asset, []).append(batch)
    found = []
    for (asset, partition, version), users in used.items():
        shown = _version(tagged[asset].get(partition))
        record = {"input": asset, "partition": partition, "recorded": version, "tagged": shown}
        found.append({**record, "used_by": users})
    return tuple(sorted(found, key=lambda item: (item["input"], item["partition"], item["recorded"] or "")))


def cache_path(dataset: str) -> str:
    """Where it is remembered which inputs a dataset's tagged manifests name."""
    return f"cache/inputs/{segment(dataset)}"


def _version(leaf: Leaf | None) -> str | None:
    return leaf.version if leaf else None


def _inputs_of(store: "Store", dataset: str, snapshot: Snapshot) -> _Known:
    path = cache_path(dataset)
    try:
        known = _Known.decode(store.backend.read(path))
    except FileNotFoundError:
        known = _Known()
    new = [
        (asset, batch, leaf.manifest)
        for asset, leaves in snapshot.items()
        for batch, leaf in leaves.items()
        if leaf.manifest not in known.of
    ]
    if new:
        known_before = bool(known.of)
        inputs = noted(store.backend, dataset, [id_ for _, _, id_ in new])
        known.add(inputs | dict(_read(store, [item for item in new if item[2] not in inputs])))
        if len(new) * SHARE > len(known.of):
            if known_before:
                known = known.only(leaf.manifest for leaves in snapshot.values() for leaf in leaves.values())
            store.backend.write(path, known.encode())
    return known


def _read(store: "Store", new: list[tuple[str, str, str]]) -> Iterator[tuple[str, list[Named]]]:
    paths = [manifest_path(asset, batch, id_) for asset, batch, id_ in new]
    for (asset, batch, id_), path, data in zip(new, paths, store.backend.read_many(paths), strict=True):
        if data is None:
            raise NotStoredError(f"{asset}[{batch}] has no manifest {id_} in {store}; fetch it from a remote first.")
        if bytes_digest(data) != id_:
            raise CorruptError(f"The manifest {store.where(path)} is damaged; {FROM_ANOTHER}.")
        # not Manifest.from_dict: of 60,000 records only this field is wanted
        yield id_, [(item["asset"], item["partition"], item["version"]) for item in orjson.loads(data)["inputs"]]
