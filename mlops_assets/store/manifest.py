"""The immutable record of one version of one batch of one asset.

What belongs here: the record's fields, its JSON form and its identity. What does not: where it is written.

``FORMAT`` is raised when a field changes its meaning or a reader that does not know a new field would misread the
record; a new field with a default that old readers may ignore does not raise it. Readers take every older format,
ignore fields they do not know, and refuse a newer format.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from mlops_assets.errors import CorruptError
from mlops_assets.store.digest import bytes_digest, canonical_json
from mlops_assets.store.formats import check_format

FORMAT = 1

Kind = Literal["table", "json", "bytes", "estimator"]

EXTENSIONS: dict[str, str] = {"table": ".parquet", "json": ".json", "bytes": ".bin", "estimator": ".skops"}
"""How the file of a value of each kind is called."""


@dataclass(frozen=True, slots=True)
class Input:
    """One exact input. ``version`` and ``manifest`` are None for a batch that was never delivered."""

    asset: str
    partition: str
    version: str | None
    manifest: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "asset": self.asset, "partition": self.partition, "version": self.version, "manifest": self.manifest
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes in the store: ``path`` relative to its root (with ``/``), ``size`` in bytes, ``sha256`` in hex."""

    path: str
    size: int
    sha256: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"path": self.path, "size": self.size, "sha256": self.sha256}


@dataclass(frozen=True)
class Manifest:
    """What was made, of what, by whom, and what the checks said; ``id`` names it.

    ``version`` and ``blob`` are None when no value could be made. ``schema`` pairs column names with Arrow types and
    ``columns`` maps them to digests, both empty for what is no table. ``files`` describe delivered files (name, size,
    sha256, path of the blob). ``rules`` is the digest of the rules that judged, ``recipe`` the digest of all that the
    value follows from. ``when`` is an ISO time with zone. ``verdicts``, ``settings`` and ``facts`` are plain JSON and
    hold no values of rows: a manifest is never erased. ``attachments`` are blobs that can be (examples of failing rows,
    reports).
    """

    asset: str
    batch: str
    kind: Kind
    version: str | None = None
    blob: Blob | None = None
    rows: int | None = None
    schema: tuple[tuple[str, str], ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[Input, ...] = ()
    files: tuple[Mapping[str, Any], ...] = ()
    code_version: str = ""
    settings: Any = None
    seed: int | None = None
    rules: str = ""
    recipe: str = ""
    git: Mapping[str, Any] = field(default_factory=dict)
    environment: str = ""
    run_id: str = ""
    who: str = ""
    when: str = ""
    accepted: bool = False
    verdicts: tuple[Mapping[str, Any], ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    sentences: tuple[str, ...] = ()
    attachments: Mapping[str, Blob] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def key(self) -> str:
        """What a head carries of how it was made and judged: the recipe and the digest of the audit's rules."""
        return f"{self.recipe}.{self.rules}"

    @cached_property
    def encoded(self) -> bytes:
        """The record's canonical JSON: what is written, and what ``id`` is the digest of."""
        return canonical_json(self.to_dict())

    @cached_property
    def id(self) -> str:
        """``b3:`` and 64 hex digits over the canonical JSON."""
        return bytes_digest(self.encoded)

    def __str__(self) -> str:
        return f"{self.asset}[{self.batch}] {self.version or 'no value'}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; ``from_dict`` is its inverse."""
        return {
            "format": self.format,
            "asset": self.asset,
            "batch": self.batch,
            "kind": self.kind,
            "version": self.version,
            "blob": self.blob.to_dict() if self.blob else None,
            "rows": self.rows,
            "schema": [list(pair) for pair in self.schema],
            "columns": dict(self.columns),
            "inputs": [item.to_dict() for item in self.inputs],
            "files": [dict(item) for item in self.files],
            "code_version": self.code_version,
            "settings": self.settings,
            "seed": self.seed,
            "rules": self.rules,
            "recipe": self.recipe,
            "git": dict(self.git),
            "environment": self.environment,
            "run_id": self.run_id,
            "who": self.who,
            "when": self.when,
            "accepted": self.accepted,
            "verdicts": [dict(item) for item in self.verdicts],
            "facts": dict(self.facts),
            "sentences": list(self.sentences),
            "attachments": {name: blob.to_dict() for name, blob in self.attachments.items()},
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], where: str = "A manifest") -> "Manifest":
        """The manifest of a JSON object.

        Raises ``StoreError`` for a newer format, ``CorruptError`` for what is no manifest; ``where`` names it in both.
        """
        number = record.get("format")
        if isinstance(number, int):
            check_format(number, FORMAT, where)
        try:
            return cls(
                asset=record["asset"],
                batch=record["batch"],
                kind=record["kind"],
                version=record["version"],
                blob=_blob(record["blob"]) if record["blob"] else None,
                rows=record["rows"],
                schema=tuple((name, type_) for name, type_ in record["schema"]),
                columns=record["columns"],
                inputs=_inputs(record["inputs"]),
                files=tuple(record["files"]),
                code_version=record["code_version"],
                settings=record["settings"],
                seed=record["seed"],
                rules=record["rules"],
                recipe=record["recipe"],
                git=record["git"],
                environment=record["environment"],
                run_id=record["run_id"],
                who=record["who"],
                when=record["when"],
                accepted=record["accepted"],
                verdicts=tuple(record["verdicts"]),
                facts=record["facts"],
                sentences=tuple(record["sentences"]),
                attachments={name: _blob(blob) for name, blob in record["attachments"].items()},
                format=record["format"],
            )
        except (KeyError, TypeError, ValueError, AttributeError) as trouble:
            raise CorruptError(f"{where} is not a manifest ({trouble!r}); restore it from another copy.") from trouble


def _blob(record: Mapping[str, Any]) -> Blob:
    return Blob(record["path"], record["size"], record["sha256"])


def _inputs(records: Sequence[Mapping[str, Any]]) -> tuple[Input, ...]:
    return tuple(Input(item["asset"], item["partition"], item["version"], item["manifest"]) for item in records)
