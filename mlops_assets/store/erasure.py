"""What a purge found, does and did: the records that outlive what was erased.

What belongs here: the value objects, their JSON, reading them, and what they say of a version. What does not: finding
rows (``search``), and erasing (``purge``). No record holds a key, nor anything made from one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlops_assets.errors import CorruptError, NotStoredError
from mlops_assets.store.heads import Leaf
from mlops_assets.store.manifest import Manifest
from mlops_assets.store.names import segment
from mlops_assets.store.reach import read_purges
from mlops_assets.store.store import Store


@dataclass(frozen=True)
class Replaced:
    """A version that held rows of the person: ``rows`` of them. ``replacement`` is None in a dry run.

    ``direct`` versions have the key themselves; the others are aligned with one that has.
    """

    asset: str
    batch: str
    manifest: str
    version: str
    rows: int
    of: int
    direct: bool
    replacement: Leaf | None = None


@dataclass(frozen=True)
class Erased:
    """A file that is deleted. ``content`` says that its content is refused from then on."""

    path: str
    size: int
    sha256: str
    what: str
    name: str
    content: bool


@dataclass(frozen=True)
class Derived:
    """Something that was made from erased versions and is not touched; ``shown_by`` branches and tags."""

    asset: str
    batch: str
    manifest: str
    version: str
    kind: str
    shown_by: tuple[str, ...]


@dataclass(frozen=True)
class Purge:
    """What a purge did, will do (``dry``), or has still to do (not ``done``).

    ``columns`` are the names of the key columns and ``people`` how many keys were given; the keys are nowhere.
    ``searched`` counts versions that were looked through. ``doubts`` are sentences about what could not be told,
    ``out_of_reach`` about copies that this store cannot erase.
    """

    id: str
    dataset: str
    columns: tuple[str, ...]
    people: int
    basis: str
    who: str
    when: str
    dry: bool
    done: bool = False
    searched: int = 0
    replaced: tuple[Replaced, ...] = ()
    erased: tuple[Erased, ...] = ()
    derived: tuple[Derived, ...] = ()
    doubts: tuple[str, ...] = ()
    out_of_reach: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()

    @property
    def found(self) -> bool:
        """Whether anything holds rows of the person."""
        return bool(self.replaced or self.erased)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "id": self.id,
            "dataset": self.dataset,
            "columns": list(self.columns),
            "people": self.people,
            "basis": self.basis,
            "who": self.who,
            "when": self.when,
            "dry": self.dry,
            "done": self.done,
            "searched": self.searched,
            "replaced": [
                {
                    **{name: getattr(item, name) for name in _REPLACED},
                    "replacement": item.replacement._asdict() if item.replacement else None,
                }
                for item in self.replaced
            ],
            "erased": [{name: getattr(item, name) for name in Erased.__dataclass_fields__} for item in self.erased],
            "derived": [
                {name: getattr(item, name) for name in _DERIVED} | {"shown_by": list(item.shown_by)}
                for item in self.derived
            ],
            "doubts": list(self.doubts),
            "out_of_reach": list(self.out_of_reach),
            "moved": list(self.moved),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Purge":
        """The inverse of ``to_dict``; raises ``KeyError`` or ``TypeError`` for what is none."""
        return cls(
            **{
                **{name: record[name] for name in _PURGE},
                "columns": tuple(record["columns"]),
                "replaced": tuple(
                    Replaced(
                        **{
                            **{name: item[name] for name in _REPLACED},
                            "replacement": Leaf(**item["replacement"]) if item["replacement"] else None,
                        }
                    )
                    for item in record["replaced"]
                ),
                "erased": tuple(Erased(**item) for item in record["erased"]),
                "derived": tuple(
                    Derived(**{**item, "shown_by": tuple(item["shown_by"])}) for item in record["derived"]
                ),
                "doubts": tuple(record["doubts"]),
                "out_of_reach": tuple(record["out_of_reach"]),
                "moved": tuple(record.get("moved", ())),
            }
        )


_REPLACED = ("asset", "batch", "manifest", "version", "rows", "of", "direct")
_DERIVED = ("asset", "batch", "manifest", "version", "kind")
_PURGE = ("id", "dataset", "people", "basis", "who", "when", "dry", "done", "searched")


def read_purge(store: Store, id: str) -> Purge:  # noqa: A002
    """A purge by its id; raises ``NotStoredError``."""
    known = dict(read_purges(store))
    if id not in known:
        raise NotStoredError(f"There is no purge {id!r} in {store}; there is: {', '.join(known) or 'none'}.")
    return _decoded(store, id, known[id])


def purges(store: Store) -> list[Purge]:
    """All purges, newest first."""
    found = [_decoded(store, id_, record) for id_, record in read_purges(store)]
    return sorted(found, key=lambda purge_: (purge_.when, purge_.id), reverse=True)


def replacement(store: Store, manifest: Manifest) -> Manifest | None:
    """What took the place of a version that was erased, through however many purges; None for one that was not."""
    known = {item.manifest: item for purge_ in purges(store) for item in purge_.replaced}
    found: Manifest | None = None
    id_ = manifest.id
    while (item := known.get(id_)) and item.replacement:
        found = store.manifest(item.asset, item.batch, item.replacement.manifest)
        id_ = found.id
    return found


def marks(store: Store) -> dict[str, list[str]]:
    """The manifests of what was made from versions that are gone, each with the ids of the purges."""
    found: dict[str, list[str]] = {}
    for purge_ in purges(store):
        for item in purge_.derived:
            found.setdefault(item.manifest, []).append(purge_.id)
    return found


def purge_path(id_: str) -> str:
    """Where it is written what a purge does."""
    return f"purges/{segment(id_)}.json"


def end_path(id_: str) -> str:
    """Where it is written that a purge is done."""
    return f"purges/{segment(id_)}.done"


def _decoded(store: Store, id_: str, record: Mapping[str, Any]) -> Purge:
    path = purge_path(id_)
    try:
        return Purge.from_dict(record)
    except (KeyError, TypeError) as trouble:
        raise CorruptError(f"{store.where(path)} is not the record of a purge as the store writes it.") from trouble
