"""One delivered file: its bytes, what it turns out to be, and whether its columns are those that were promised.

What belongs here: everything that is asked of a file before its rows are looked at, whatever its format. What does not:
splitting it into rows (``delimited``, ``jsonlines``, ``parquet``).
"""

import re
from collections import Counter
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

LONGEST = 1_000_000
"""Characters of a field; a longer one is damage, or no value of a table."""
BLANKS = " \t\u00a0"
"""What ``strip`` takes away around column names and values."""
_ASK = "Ask for the data in the declared format."
_UNPACK = "Unpack it first."
_EXPORT = "Export the table in the declared format."
_SHOWN = 40
_LISTED = 12
_MAGIC: tuple[tuple[bytes, int, str, str], ...] = (
    (b"\x1f\x8b", 0, "a gzip archive", "Unpack it, or set format: {archive: gzip}."),
    (
        b"PK\x03\x04",
        0,
        "a zip archive or an Excel workbook",
        "Unpack it or set format: {archive: zip}; save a sheet in the declared format.",
    ),
    (b"PK\x05\x06", 0, "a zip archive without any file", "Ask for it again."),
    (b"\xd0\xcf\x11\xe0", 0, "an old Excel workbook", "Save the sheet in the declared format."),
    (b"%PDF", 0, "a PDF document", _ASK),
    (b"{\\rtf", 0, "a text document (RTF)", _ASK),
    (b"BZh", 0, "a bzip2 archive", _UNPACK),
    (b"\xfd7zXZ", 0, "an xz archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", 0, "a zstd archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", 0, "a 7-Zip archive", _UNPACK),
    (b"Rar!\x1a\x07", 0, "a RAR archive", _UNPACK),
    (b"ustar", 257, "a tar archive", _UNPACK),
    (b"SQLite format 3\0", 0, "an SQLite database", _EXPORT),
    (b"ARROW1\0\0", 0, "an Arrow or Feather file", _EXPORT),
    (b"Obj\x01", 0, "an Avro file", _EXPORT),
    (b"\x89HDF", 0, "an HDF5 file", _EXPORT),
    (b"\x80\x04\x95", 0, "a pickle of Python", _EXPORT),
    (b"\x80\x05\x95", 0, "a pickle of Python", _EXPORT),
    (b"\x89PNG", 0, "a picture", _ASK),
    (b"\xff\xd8\xff", 0, "a picture", _ASK),
    (
        b"version https://git-lfs",
        0,
        "a pointer of Git LFS",
        "Fetch the file that it stands for (git lfs pull).",
    ),
)
"""What other files begin with, or hold at a place: bytes, place, name, advice."""
_PARQUET = b"PAR1"
_JSON = re.compile(rb"\s*(\{\s*(\"|\})|\[\s*[{\]\"])")
_HTML = re.compile(
    rb"\s*<(!doctype|!--|html|head|body|title|meta|script|style|div|table|pre|p>|h1|center|svg|\?xml)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivered file: ``name`` as people know it, ``path`` where its bytes are read."""

    name: str
    path: Path


def place_word(source: Source) -> str:
    """What ``_line`` counts, as sentences name it."""
    return "row" if source.format.kind == "parquet" else "line"


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
    refuse_empty(delivery, data)
    return data


def refuse_empty(delivery: Delivery, data: bytes) -> None:
    """Refuse a file in which nothing stands.

    Raises:
        DeliveryError: there are no bytes, or only blank ones, or NULs, which a crash leaves.
    """
    if not data.strip(b"\r\n\t \xef\xbb\xbf\0"):
        what = "blank or NUL" if b"\0" in data else "blank"
        size = f"{len(data):,} bytes, all {what}" if data else "0 bytes"
        raise DeliveryError(f"{delivery.name} is empty ({size}). Ask for it again, or take it away.")


def refuse_foreign(delivery: Delivery, source: Source, data: bytes) -> None:
    """Say what a file is that is not of the declared format.

    Raises:
        DeliveryError: the first bytes belong to an archive, a document, an HTML page or another table format.
    """
    declared = source.format.kind
    for magic, place, what, advice in _MAGIC:
        if data.startswith(magic, place):
            raise DeliveryError(f"{delivery.name} is {what}, not {declared}. {advice}")
    if _HTML.match(data.removeprefix(b"\xef\xbb\xbf")):
        raise DeliveryError(
            f"{delivery.name} is an HTML or XML page, not {declared}: probably an error or a log-in page was saved "
            f"instead of the data. Fetch it again."
        )
    if declared == "csv" and _JSON.match(data):
        raise DeliveryError(
            f"{delivery.name} is JSON, not csv: probably the answer of a service was saved instead of the data. Fetch "
            f"it again, or declare what it is (format: {{kind: jsonl}} for one object a line)."
        )
    if declared != "parquet" and data.startswith(_PARQUET):
        raise DeliveryError(
            f"{delivery.name} is a Parquet file, and the contract says {declared}. Set format: {{kind: parquet}} for "
            f"source {source.name}."
        )


def require_final_newline(contract: Contract, source: Source, delivery: Delivery, data: bytes) -> None:
    """Refuse a file whose last line has no end, where the contract says so.

    Raises:
        DeliveryError: naming the last line.
    """
    if source.format.final_newline == "required" and not data.endswith((b"\n", b"\r")):
        last = data.count(b"\n" if b"\n" in data else b"\r") + 1
        raise DeliveryError(
            f"{delivery.name} line {last}: the last line has no line end, so that the file may be cut off; "
            f"{contract.file}:{source.line} requires one. Deliver the whole file."
        )


def check_columns(contract: Contract, source: Source, delivery: Delivery, found: Sequence[str]) -> list[str]:
    """The names in ``found`` that the contract does not declare.

    Raises:
        DeliveryError: a name stands twice, or a declared column is absent, one sentence each.
    """
    times = Counter(found)
    twice = [name for name, count in times.items() if count > 1]
    # Without one known name the first line may be a row, and its values nobody's business.
    known = any(name in times for name in source.columns)
    if twice and known:
        raise DeliveryError(*(_twice(delivery, name, found) for name in twice[:_LISTED]))
    if len(found) > source.format.most_columns:
        raise DeliveryError(
            f"{delivery.name} has {len(found):,} columns, and at most {source.format.most_columns:,} are read. Ask for "
            f"the {len(source.columns):,} that {contract.file}:{source.line} declares, or set format: {{most_columns: "
            f"...}} for source {source.name}."
        )
    extra = [name for name in found if name not in source.columns]
    absent = [name for name in source.columns if name not in times]
    if absent:
        raise DeliveryError(
            *(
                f"{delivery.name}: the column {name!r} of source {source.name} is missing"
                f"{_meant(name, extra, exactly=not known)}"
                for name in absent
            ),
            f"{contract.file}:{source.line} declares {len(source.columns)} columns, the file has {len(found)}"
            + (f": {listed(found)}." if known else "; none of them is declared. Is its first line a header?"),
        )
    return extra


def _twice(delivery: Delivery, name: str, found: Sequence[str]) -> str:
    places = [number for number, each in enumerate(found, start=1) if each == name]
    numbers = ", ".join(map(str, places[:_LISTED]))
    more = " and more" if len(places) > _LISTED else ""
    if not name:
        return (
            f"{delivery.name}: {len(places)} columns have no name (fields {numbers}{more}). Name them, or take them "
            f"away."
        )
    return (
        f"{delivery.name}: the column {shown(name)} stands {len(places)} times (fields {numbers}{more}), and nothing "
        f"says which is meant. Name each column once."
    )


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


def _meant(name: str, extra: Sequence[str], *, exactly: bool) -> str:
    """The name that may have been meant; ``exactly`` but for its case, where the names may be values of a row."""
    padded = next((each for each in extra if each.strip(BLANKS) == name), None)
    if padded is not None:
        return f"; it has blanks around it, {shown(padded)}: format: {{strip: true}} takes them away."
    folded = {each.strip().casefold().replace(" ", "_"): each for each in extra}
    near = get_close_matches(name.casefold(), folded, n=1, cutoff=1.0 if exactly else 0.6)
    return f"; did you mean {shown(folded[near[0]])}?" if near else "."
