"""Heads, the only thing in the store that moves, the records of their moves, and what both say of a version.

What belongs here: the value objects and their JSON. What does not: files, locks, or when a move is allowed.

``FORMAT`` follows the rule of ``manifest``. Format 2 says that a batch has no version any more.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import orjson

from mlops_assets.errors import CorruptError
from mlops_assets.store.digest import bytes_digest, canonical_json, parse_json, sealed_json, unsealed
from mlops_assets.store.formats import check_format

FORMAT = 2


class Leaf(NamedTuple):
    """What heads and trees say of the version of one batch, so that questions seldom need its manifest.

    ``manifest`` and ``version`` are ids, ``recipe`` is the manifest's ``key``; ``kind``, ``size`` (bytes), ``sha256``
    and ``rows`` (None for what is no table) are those of its blob. Two leaves are equal when they are the same record.
    """

    manifest: str
    version: str
    recipe: str
    kind: str
    size: int
    sha256: str
    rows: int | None


NOTHING = Leaf("", "", "", "", 0, "", None)
"""What a head says of no version."""


class Head(NamedTuple):
    """Which manifest readers of ``asset`` and ``batch`` see. ``attempt`` differs for every move, even back and forth.

    ``seq`` counts a branch's moves from 1; it is 0, and ``move`` and ``attempt`` are empty, while a branch still shows
    what it was started from. ``move`` names the record of the move that led here. What follows ``attempt`` is a
    ``Leaf``, whose ``kind`` is empty in a head that was written before heads carried what trees need. A head that was
    taken away has an empty ``manifest``; the store shows it to nobody.
    """

    asset: str
    batch: str
    seq: int
    move: str
    attempt: str
    manifest: str
    version: str
    recipe: str
    kind: str = ""
    size: int = 0
    sha256: str = ""
    rows: int | None = None

    def __str__(self) -> str:
        return f"{self.asset}[{self.batch}] #{self.seq} {self.version or 'nothing'}"

    @property
    def leaf(self) -> Leaf:
        """What a tree says of the same version."""
        return Leaf._make(self[_LEAF:])

    def encode(self) -> bytes:
        """The head's file."""
        return sealed_json({"format": 1 if self.manifest else FORMAT, **self._asdict()})

    @classmethod
    def decode(cls, data: bytes, where: str) -> "Head":
        """The head of a file; ``where`` names it in errors. Raises ``StoreError`` or ``CorruptError``."""
        try:
            record = orjson.loads(unsealed(data))
            check_format(record["format"], FORMAT, where)
            get = record.get
            return cls(
                record["asset"],
                record["batch"],
                record["seq"],
                record["move"],
                record["attempt"],
                record["manifest"],
                record["version"],
                record["recipe"],
                get("kind", ""),
                get("size", 0),
                get("sha256", ""),
                get("rows"),
            )
        except (KeyError, TypeError, ValueError) as trouble:
            raise CorruptError(_broken(where, "head")) from trouble


_LEAF = Head._fields.index("manifest")


def read_head(data: bytes, where: str, asset: str, batch: str) -> Head:
    """The head in the file of a batch; raises as ``Head.decode``, and ``CorruptError`` for the head of another one."""
    head = Head.decode(data, where)
    if head.batch != batch or head.asset != asset:
        raise CorruptError(f"{where} is the head of {head.asset}[{head.batch}]; put it back where it was.")
    return head


@dataclass(frozen=True, slots=True)
class Move:
    """One move of a head: ``from_manifest`` is None for the first. ``previous`` is the ``id`` of the move before.

    ``to_manifest`` is empty when the head was taken away. ``when`` is an ISO time in UTC; it and ``who`` are records
    and never part of a version. ``origin`` says what a move that was not made by publishing belongs to: ``change`` (the
    id of the change), ``verb`` (merge, restore, revert, ...), for a merge also ``branch`` and ``move`` that were taken
    over.
    """

    branch: str
    asset: str
    batch: str
    seq: int
    previous: str | None
    from_manifest: str | None
    to_manifest: str
    who: str
    when: str
    message: str
    run_id: str
    attempt: str
    origin: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The digest of the record: a chain of moves cannot be edited unseen."""
        return bytes_digest(self.encode())

    def encode(self) -> bytes:
        """The move's file."""
        record = asdict(self)
        record["from"], record["to"] = record.pop("from_manifest"), record.pop("to_manifest")
        if not self.origin:
            # so that records written before there were origins keep their ids
            del record["origin"]
        return canonical_json({"format": 1 if self.to_manifest else FORMAT, **record})

    @classmethod
    def decode(cls, data: bytes, where: str) -> "Move":
        """The move of a file; ``where`` names it in errors. Raises ``StoreError`` or ``CorruptError``."""
        record = _record(data, where, "move")
        try:
            return cls(
                branch=record["branch"],
                asset=record["asset"],
                batch=record["batch"],
                seq=record["seq"],
                previous=record["previous"],
                from_manifest=record["from"],
                to_manifest=record["to"],
                who=record["who"],
                when=record["when"],
                message=record["message"],
                run_id=record["run_id"],
                attempt=record["attempt"],
                origin=record.get("origin", {}),
            )
        except KeyError as trouble:
            raise CorruptError(_broken(where, "move")) from trouble


def _broken(where: str, what: str) -> str:
    return f"{where} is not a {what} as the store writes it; restore it from another copy of the store."


def _record(data: bytes, where: str, what: str) -> dict[str, Any]:
    try:
        record = parse_json(data)
    except ValueError as trouble:
        raise CorruptError(_broken(where, what)) from trouble
    if not isinstance(record, dict):
        raise CorruptError(_broken(where, what))
    number = record.get("format")
    if isinstance(number, int):
        check_format(number, FORMAT, where)
    return record
