"""Tags: the record that keeps what every asset of a dataset showed at one moment, and what it was made with.

What belongs here: the record, its JSON, reading and listing. What does not: making one (``snapshots``), or how people
name one among branches and times (``refs``).

``FORMAT`` follows the rule of ``manifest``.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_assets.errors import CorruptError, NotStoredError
from mlops_assets.store.digest import parse_json, sealed_json, unsealed
from mlops_assets.store.formats import check_format
from mlops_assets.store.names import segment, text
from mlops_assets.store.trees import Summary

if TYPE_CHECKING:
    from mlops_assets.store.store import Store

FORMAT = 1


@dataclass(frozen=True)
class Tag:
    """A snapshot of ``dataset`` on ``branch``: ``assets`` says of each asset which tree it showed, in a line.

    ``git`` is ``{"commit", "dirty"}`` of the project that made the tag, ``environment`` the digest of its environment,
    ``configuration`` plain JSON that the caller gave. ``differing`` names each recorded input of a tagged version that
    is not the tagged one: ``input``, ``partition``, the ``recorded`` and the ``tagged`` version (None: absent), and
    ``used_by``, the batches by asset that stand on it. ``who`` and ``when`` are records, never part of a version.
    """

    name: str
    dataset: str
    branch: str
    assets: Mapping[str, Summary]
    git: Mapping[str, Any] = field(default_factory=dict)
    environment: str = ""
    configuration: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""
    who: str = ""
    when: str = ""
    differing: tuple[Mapping[str, Any], ...] = ()

    @property
    def trees(self) -> dict[str, str]:
        """The tree id of each asset."""
        return {asset: summary.tree for asset, summary in self.assets.items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            **asdict(self),
            "assets": {asset: summary._asdict() for asset, summary in sorted(self.assets.items())},
            "differing": [dict(item) for item in self.differing],
        }

    def encode(self) -> bytes:
        """The tag's file."""
        return sealed_json({"format": FORMAT, **self.to_dict()})

    @classmethod
    def decode(cls, data: bytes, where: str) -> "Tag":
        """The tag of a file; ``where`` names it in errors. Raises ``StoreError`` or ``CorruptError``."""
        try:
            record = dict(parse_json(unsealed(data)))
            check_format(record.pop("format"), FORMAT, where)
            record["assets"] = {asset: Summary(**summary) for asset, summary in record["assets"].items()}
            record["differing"] = tuple(record["differing"])
            return cls(**{name: record[name] for name in cls.__dataclass_fields__})
        except (ValueError, TypeError, KeyError, AttributeError) as trouble:
            raise CorruptError(f"{where} is not a tag as the store writes it; copy it from another copy.") from trouble


def tag_path(name: str) -> str:
    """Where a tag stands."""
    return f"tags/{segment(name)}.json"


def read_tag(store: "Store", name: str) -> Tag:
    """A tag; raises ``NotStoredError`` when there is none of that name."""
    path = tag_path(name)
    try:
        return Tag.decode(store.backend.read(path), store.where(path))
    except FileNotFoundError:
        known = ", ".join(tag_names(store)) or "none"
        raise NotStoredError(
            f"There is no tag {name!r} in {store}; there is: {known}. See them with: mlops-assets tags"
        ) from None


def tag_names(store: "Store") -> list[str]:
    """The names of all tags, sorted."""
    names = store.backend.children("tags")[1]
    return sorted(text(name.removesuffix(".json")) for name in names if name.endswith(".json"))


def tags(store: "Store", dataset: str | None = None) -> list[Tag]:
    """All tags, or those of a dataset, newest first."""
    names = tag_names(store)
    paths = [tag_path(name) for name in names]
    found = [
        Tag.decode(data, store.where(path))
        for path, data in zip(paths, store.backend.read_many(paths), strict=True)
        if data is not None
    ]
    chosen = [tag for tag in found if dataset is None or tag.dataset == dataset]
    return sorted(chosen, key=lambda tag: (tag.when, tag.name), reverse=True)
