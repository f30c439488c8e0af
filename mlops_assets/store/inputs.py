"""Which recorded inputs of a set of versions are not among the versions beside them.

What belongs here: comparing the inputs in manifests with what a snapshot shows, and remembering what was read. What
does not: what follows from a difference (a tag names it, and is made).

Reading 60,000 manifests takes a second. So the inputs of what was tagged last are kept in ``cache/inputs/<dataset>``.
Of manifests that are new since, many are looked for in the notes of those who published them (``notes``), and the rest
is read. The file is a derived one (see ``cache``).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, chain, count
from typing import TYPE_CHECKING, Any

import orjson

from mlops_assets.errors import CorruptError, NotStoredError
from mlops_assets.store.bulk import uncollected
from mlops_assets.store.cache import joined, keep, kept, parted
from mlops_assets.store.columns import Columns
from mlops_assets.store.digest import bytes_digest
from mlops_assets.store.formats import FROM_ANOTHER
from mlops_assets.store.heads import Leaf
from mlops_assets.store.names import segment
from mlops_assets.store.notes import Fields, noted
from mlops_assets.store.records import manifest_path

if TYPE_CHECKING:
    from mlops_assets.store.store import Store

FORMAT = 2

SHARE = 50
"""The file is written again when one in so many of its manifests is new: before, reading those anew costs less."""

Named = tuple[str, str, str | None]
"""Asset, partition and version of an input; the version of one that was absent is None."""

Snapshot = Mapping[str, Columns[Leaf]]
"""Leaves by batch, of each asset."""


@dataclass
class _Known:
    """The inputs of manifests. ``named`` holds each input once; those of the manifest with number ``of[id]`` stand at
    ``places[ends[number] : ends[number + 1]]`` of it.
    """

    named: list[Named] = field(default_factory=list)
    of: dict[str, int] = field(default_factory=dict)
    ends: list[int] = field(default_factory=lambda: [0])
    places: list[int] = field(default_factory=list)

    def encode(self) -> bytes:
        """The file's body: columns, which parse faster than records."""
        assets, partitions, versions = zip(*self.named, strict=True) if self.named else ((), (), ())
        return orjson.dumps(
            {
                "format": FORMAT,
                "assets": joined(assets),
                "partitions": joined(partitions),
                "versions": joined([version or "" for version in versions]),
                "manifests": joined(self.of),
                "ends": self.ends,
                "places": self.places,
            }
        )

    @classmethod
    def decode(cls, body: memoryview) -> "_Known":
        """The inverse; nothing is known from a file of another format."""
        record = orjson.loads(body)
        if record["format"] != FORMAT:
            return cls()
        versions = (version or None for version in parted(record["versions"]))
        named = list(zip(parted(record["assets"]), parted(record["partitions"]), versions, strict=True))
        manifests = parted(record["manifests"])
        return cls(named, dict(zip(manifests, range(len(manifests)), strict=True)), record["ends"], record["places"])

    def inputs(self, manifest: str) -> list[int]:
        """The places in ``named`` of what a manifest was made from."""
        number = self.of[manifest]
        return self.places[self.ends[number] : self.ends[number + 1]]

    def only(self, manifests: Iterable[str]) -> "_Known":
        """What is known of some manifests alone."""
        some = _Known()
        some.add({id_: [part for place in self.inputs(id_) for part in self.named[place]] for id_ in manifests})
        return some

    def add(self, inputs: Mapping[str, Fields]) -> None:
        """Take over what more manifests say; what was known before is not searched for the same inputs."""
        parts = chain.from_iterable(inputs.values())
        named: list[Named] = list(zip(parts, parts, parts, strict=True))
        new = dict(zip(dict.fromkeys(named), count(len(self.named))))
        self.of.update(zip(inputs, count(len(self.of))))
        self.ends += accumulate((len(fields) // 3 for fields in inputs.values()), initial=self.ends.pop())
        self.places += map(new.__getitem__, named)
        self.named += new


@uncollected()
def differing(store: "Store", dataset: str, snapshot: Snapshot) -> tuple[Mapping[str, Any], ...]:
    """Each recorded input of a snapshot's versions that is not what the snapshot shows of that asset and partition.

    One record for an input: ``input``, ``partition``, the versions ``recorded`` and ``tagged`` (None: absent), and
    ``used_by``, the partitions by asset of the versions that were made from it. Versions are compared, not the records
    that led to them; inputs that belong to another dataset are not looked at.
    """
    known = _inputs_of(store, dataset, snapshot)
    tagged: dict[str, dict[str, str]] = {
        asset: leaves.by_name("version") if (leaves := snapshot.get(asset)) else {}
        for asset in {asset for asset, _, _ in known.named}
        if asset.partition("/")[0] == dataset
    }
    stale = {
        place
        for place, (asset, partition, version) in enumerate(known.named)
        if asset in tagged and tagged[asset].get(partition) != version
    }
    if not stale:
        return ()
    used: dict[Named, dict[str, list[str]]] = {}
    for asset, leaves in snapshot.items():
        for batch, manifest in zip(leaves.names, leaves.column("manifest"), strict=True):
            for place in known.inputs(manifest):
                if place in stale:
                    used.setdefault(known.named[place], {}).setdefault(asset, []).append(batch)
    found = []
    for (asset, partition, version), users in used.items():
        shown = tagged[asset].get(partition)
        record = {"input": asset, "partition": partition, "recorded": version, "tagged": shown}
        found.append({**record, "used_by": users})
    return tuple(sorted(found, key=lambda item: (item["input"], item["partition"], item["recorded"] or "")))


def cache_path(dataset: str) -> str:
    """Where it is remembered which inputs a dataset's tagged manifests name."""
    return f"cache/inputs/{segment(dataset)}"


def _inputs_of(store: "Store", dataset: str, snapshot: Snapshot) -> _Known:
    path = cache_path(dataset)
    body = kept(store.backend, path)
    known = _Known() if body is None else _Known.decode(body)
    new = [
        (asset, batch, manifest)
        for asset, leaves in snapshot.items()
        if not known.of.keys() >= set(leaves.column("manifest"))
        for batch, manifest in zip(leaves.names, leaves.column("manifest"), strict=True)
        if manifest not in known.of
    ]
    if new:
        known_before = bool(known.of)
        inputs = noted(store.backend, dataset, [id_ for _, _, id_ in new])
        known.add(inputs | dict(_read(store, [item for item in new if item[2] not in inputs])))
        if len(new) * SHARE > len(known.of):
            if known_before:
                known = known.only(manifest for leaves in snapshot.values() for manifest in leaves.column("manifest"))
            keep(store.backend, path, known.encode())
    return known


def _read(store: "Store", new: list[tuple[str, str, str]]) -> Iterator[tuple[str, Fields]]:
    paths = [manifest_path(asset, batch, id_) for asset, batch, id_ in new]
    for (asset, batch, id_), path, data in zip(new, paths, store.backend.read_many(paths), strict=True):
        if data is None:
            raise NotStoredError(f"{asset}[{batch}] has no manifest {id_} in {store}; fetch it from a remote first.")
        if bytes_digest(data) != id_:
            raise CorruptError(f"The manifest {store.where(path)} is damaged; {FROM_ANOTHER}.")
        # not Manifest.from_dict: of 60,000 records only this field is wanted
        yield id_, [item[name] for item in orjson.loads(data)["inputs"] for name in ("asset", "partition", "version")]
