"""Heads, the only thing in the store that moves, and the records of their moves.

What belongs here: the two value objects and their JSON. What does not: files, locks, or when a move is allowed.

``FORMAT`` follows the rule of ``manifest``.
"""

from dataclasses import asdict, dataclass
from typing import Any

from mlops_assets.errors import CorruptError, StoreError
from mlops_assets.store.digest import bytes_digest, canonical_json, parse_json

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Head:
    """Which manifest readers of ``asset`` and ``batch`` see. ``attempt`` differs for every move, even back and forth.

    ``seq`` counts moves from 1. ``version`` and ``recipe`` are the manifest's, so that staleness can be told from
    heads alone. ``move`` names the record of the move that led here.
    """

    asset: str
    batch: str
    seq: int
    manifest: str
    version: str
    recipe: str
    move: str
    attempt: str

    def __str__(self) -> str:
        return f"{self.asset}[{self.batch}] #{self.seq} {self.version}"

    def encode(self) -> bytes:
        """The head's file."""
        return canonical_json(
            {
                "format": FORMAT,
                "asset": self.asset,
                "batch": self.batch,
                "seq": self.seq,
                "manifest": self.manifest,
                "version": self.version,
                "recipe": self.recipe,
                "move": self.move,
                "attempt": self.attempt,
            }
        )

    @classmethod
    def decode(cls, data: bytes, where: str) -> "Head":
        """The head of a file; ``where`` names it in errors. Raises ``StoreError`` or ``CorruptError``."""
        record = _record(data, where, "head")
        try:
            return cls(
                record["asset"],
                record["batch"],
                record["seq"],
                record["manifest"],
                record["version"],
                record["recipe"],
                record["move"],
                record["attempt"],
            )
        except KeyError as trouble:
            raise CorruptError(_broken(where, "head")) from trouble


@dataclass(frozen=True, slots=True)
class Move:
    """One move of a head: ``from_manifest`` is None for the first. ``previous`` is the ``id`` of the move before.

    ``when`` is an ISO time in UTC; it and ``who`` are records and never part of a version.
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

    @property
    def id(self) -> str:
        """The digest of the record: a chain of moves cannot be edited unseen."""
        return bytes_digest(self.encode())

    def encode(self) -> bytes:
        """The move's file."""
        record = asdict(self)
        record["from"], record["to"] = record.pop("from_manifest"), record.pop("to_manifest")
        return canonical_json({"format": FORMAT, **record})

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
    if isinstance(number, int) and number > FORMAT:
        raise StoreError(
            f"{where} is written in format {number}, and this mlops_assets reads up to {FORMAT}; "
            "install the newer mlops_assets that wrote it."
        )
    return record
