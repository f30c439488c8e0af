"""One delivered file: its bytes, what it turns out to be, and whether its columns are those that were promised.

What belongs here: everything that is asked of a file before its rows are looked at, whatever its format. What does not:
splitting it into rows (``delimited``, ``jsonlines``, ``parquet``).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pyarrow as pa

from mlops_assets.contract.model import Contract, Source
from mlops_assets.errors import DeliveryError

FILE, LINE, TEXT, PROBLEM = "_file", "_line", "_text", "_problem"
"""Columns that every raw table has besides the declared ones."""

_SHOWN = 40
_LISTED = 12
_MAGIC = (
    (b"\x1f\x8b", "a gzip archive", "Unpack it first."),
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "Unpack it, or save the sheet in the declared format."),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "Save the sheet in the declared format."),
    (b"%PDF", "a PDF document", "Ask for the data in the declared format."),
    (b"BZh", "a bzip2 archive", "Unpack it first."),
    (b"\xfd7zXZ", "an xz archive", "Unpack it first."),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "Unpack it first."),
    (b"SQLite format 3\0", "an SQLite database", "Export the table in the declared format."),
)
_PARQUET = b"PAR1"
_HTML = re.compile(rb"\s*<(!doctype|html|head|body|\?xml)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivered file: ``name`` as people know it, ``path`` where its bytes are read."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class FileRows:
    """The rows of one file: declared columns as delivered, then ``_line``, ``_text``, ``_problem``; facts about it."""

    table: pa.Table
    facts: Mapping[str, Any]


def read_bytes(delivery: Delivery) -> bytes:
    """All bytes of the file.

    Raises:
        DeliveryError: the file cannot be read, or is empty.
    """
    try:
        data = delivery.path.read_bytes()
    except OSError as error:
        raise DeliveryError(f"{delivery.name} cannot be read: {error.strerror or error}.") from error
    if not data.strip(b"\r\n\t \xef\xbb\xbf"):
        size = f"{len(data)} bytes, all blank" if data else "0 bytes"
        raise DeliveryError(f"{delivery.name} is empty ({size}). Ask for it again, or take it away.")
    return data


def refuse_foreign(delivery: Delivery, source: Source, data: bytes) -> None:
    """Say what a file is that is not of the declared format.

    Raises:
        DeliveryError: the first bytes belong to an archive, a document, an HTML page or another table format.
    """
    declared = source.format.kind
    for magic, what, advice in _MAGIC:
        if data.startswith(magic):
            raise DeliveryError(f"{delivery.name} is {what}, not {declared}. {advice}")
    if _HTML.match(data.removeprefix(b"\xef\xbb\xbf")):
        raise DeliveryError(
            f"{delivery.name} is an HTML or XML page, not {declared}: probably an error or a log-in page was saved "
            f"instead of the data. Fetch it again."
        )
    if declared != "parquet" and data.startswith(_PARQUET):
        raise DeliveryError(
            f"{delivery.name} is a Parquet file, and the contract says {declared}. Set format: {{kind: parquet}} for "
            f"source {source.name}."
        )


def check_columns(contract: Contract, source: Source, delivery: Delivery, found: Sequence[str]) -> list[str]:
    """The names in ``found`` that the contract does not declare.

    Raises:
        DeliveryError: a name stands twice, or a declared column is absent, one sentence each.
    """
    twice = [name for name in dict.fromkeys(found) if found.count(name) > 1]
    if twice:
        raise DeliveryError(
            *(f"{delivery.name}: the column {shown(name)} stands {found.count(name)} times." for name in twice)
        )
    extra = [name for name in found if name not in source.columns]
    absent = [name for name in source.columns if name not in found]
    if absent:
        raise DeliveryError(
            *(
                f"{delivery.name}: the column {name!r} of source {source.name} is missing{_meant(name, extra)}"
                for name in absent
            ),
            f"{contract.file}:{source.line} declares {len(source.columns)} columns, the file has {len(found)}"
            # Without one known name the first line may be a row, and its values nobody's business.
            + (
                f": {listed(found)}."
                if len(absent) < len(source.columns)
                else "; none of them is declared. Is its first line a header?"
            ),
        )
    return extra


def shown(value: object, *, hidden: bool = False) -> str:
    """A value as sentences name it: quoted, control characters escaped, at most 40 characters; "a value" if hidden."""
    if hidden:
        return "a value"
    text = value if isinstance(value, str) else str(value)
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")


def listed(names: Iterable[str]) -> str:
    """Names for a sentence: the first dozen."""
    every = list(names)
    rest = f" and {len(every) - _LISTED} more" if len(every) > _LISTED else ""
    return ", ".join(shown(name) for name in every[:_LISTED]) + rest


def _meant(name: str, extra: Sequence[str]) -> str:
    folded = {each.strip().casefold().replace(" ", "_"): each for each in extra}
    near = get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return f"; did you mean {shown(folded[near[0]])}?" if near else "."
