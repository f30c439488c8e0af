"""Branches: where each starts, and who may move its heads.

What belongs here: the two records and their JSON. What does not: reading and moving heads (``store``), starting,
removing and merging branches (``merging``).

A branch is one file that is written once: the trees it starts from, which are also its merge base. It copies neither
data nor heads. ``main`` needs no file and starts from nothing.
"""

from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mlops_assets.errors import CorruptError
from mlops_assets.store.digest import parse_json, sealed_json, unsealed
from mlops_assets.store.formats import check_format

MAIN = "main"
SAMPLE = "sample"
"""The first part of the names of branches that hold a sample of their datasets, such as ``sample/pr-12``."""
FORMAT = 1


def is_sample(branch: str) -> bool:
    """Whether a branch of that name holds samples, and no whole data."""
    return branch.partition("/")[0] == SAMPLE


@dataclass(frozen=True)
class Branch:
    """Where a branch starts: ``base`` maps assets to tree ids; ``source`` says what that was (a branch or tag).

    ``parent`` is the branch that had shown ``base``, for merging, empty where that is not known; ``as_of`` is when, if
    that was before ``when``. What was started from a tag says nothing of other datasets than the tag's ``dataset``.
    """

    name: str
    base: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    who: str = ""
    when: str = ""
    message: str = ""
    parent: str = ""
    as_of: str = ""
    dataset: str = ""

    @property
    def since(self) -> str:
        """The moment in the parent's history at which this branch left it."""
        return min(self.as_of or self.when, self.when)

    def speaks_of(self, asset: str) -> bool:
        """Whether what it started from says of an asset what was there, and what was not."""
        return self.dataset in {"", asset.partition("/")[0]}

    def encode(self) -> bytes:
        """The branch's file."""
        return sealed_json({"format": FORMAT, **asdict(self)})

    @classmethod
    def decode(cls, data: bytes, where: str) -> "Branch":
        """The branch of a file; ``where`` names it in errors. Raises ``StoreError`` or ``CorruptError``."""
        return cls(**_fields(data, where, "branch", cls.__dataclass_fields__, "name"))


@dataclass(frozen=True)
class Protection:
    """A branch whose heads move by merges alone, and only when ``checks`` passed on what is merged.

    ``active`` is False for a branch that was protected once. ``attempt`` differs for every change of the protection.
    """

    branch: str
    active: bool
    checks: tuple[str, ...] = ()
    who: str = ""
    when: str = ""
    attempt: str = ""

    def encode(self) -> bytes:
        """The protection's file."""
        return sealed_json({"format": FORMAT, **asdict(self)})

    @classmethod
    def decode(cls, data: bytes, where: str) -> "Protection":
        """The protection of a file; ``where`` names it in errors. Raises ``StoreError`` or ``CorruptError``."""
        known = cls.__dataclass_fields__
        fields = _fields(data, where, "protection of a branch", known, "branch", "active", "checks")
        fields["checks"] = tuple(fields["checks"])
        return cls(**fields)


def _fields(data: bytes, where: str, what: str, known: Container[str], *needed: str) -> dict[str, Any]:
    try:
        record = dict(parse_json(unsealed(data)))
        number = int(record["format"])
        _ = [record[name] for name in needed]
    except (ValueError, TypeError, KeyError) as trouble:
        raise CorruptError(f"{where} is not a {what} as the store writes it; copy it from another copy.") from trouble
    check_format(number, FORMAT, where)
    return {name: value for name, value in record.items() if name in known}
