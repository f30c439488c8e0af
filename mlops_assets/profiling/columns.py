"""What the delivered texts of one column look like: type, missing values, ends, common values, pattern.

What belongs here: guesses about one column, each from all of its values. What does not: files (``files``), and what a
draft makes of the guesses (``contract``, ``suite``).

A guess is only made when every value speaks for it, by the same strict reading that a run does: a type that this
module names is one that ``cells.typed`` reads every value as.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.model import Column, ColumnType, FileFormat
from mlops_assets.stages.cells import typed
from mlops_assets.stages.rows import encode

FEW = 20
"""As many different values as a person would list."""

_ABSENT = ("NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "-", "?", ".", "#N/A")
_LEADING_ZERO = r"\A[+-]?0[0-9]"
_DAYS = ("%Y-%m-%d", "%d-%m-%Y", "%m-%d-%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d.%m.%Y")
_CLOCKS = (" %H:%M:%S", " %H:%M", "T%H:%M:%S", "T%H:%M:%SZ", "T%H:%M")
_TRIED = 50
_SHAPES = 3
_SPECIAL = ".^$*+?{}[]\\|()"
_LETTERS = (("[0-9]", str.isdecimal), ("[A-Z]", str.isupper), ("[a-z]", str.islower))


@dataclass(frozen=True, slots=True)
class Seen:
    """A column as it was delivered in ``rows`` rows, ``missing`` of them without a value.

    ``words`` are texts besides the empty one that mean no value, ``format`` the ``strptime`` pattern of a date or time,
    ``formats`` every pattern that reads all values: more than one means that nobody can tell. ``low`` and ``high`` are
    the ends of numbers and (as ISO text) times; ``common`` the most frequent values with their rows, all of them when
    ``distinct`` is at most ``FEW``. ``pattern`` matches every text.
    """

    name: str
    type: ColumnType
    rows: int
    missing: int = 0
    words: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    low: Any = None
    high: Any = None
    common: tuple[tuple[Any, int], ...] = ()
    distinct: int = 0
    pattern: str | None = None

    @property
    def format(self) -> str | None:
        """The pattern of its dates or times; None where they are written as ISO says, or are none."""
        return self.formats[0] if self.formats else None

    @property
    def unique(self) -> bool:
        """Whether no value comes twice and none is missing."""
        return self.rows > 0 and self.missing == 0 and self.distinct == self.rows


def look(name: str, delivered: pa.ChunkedArray | pa.Array, decimal: str = ".", missing: tuple[str, ...] = ()) -> Seen:
    """What a column looks like; values that came with a type keep the nearest that a contract knows.

    ``missing`` are texts that mean no value in the whole file. What looks like one in a column of texts is a text: NA
    may be Namibia.
    """
    if not pa.types.is_string(delivered.type):
        return _measured(Column(name, declared(delivered.type)), delivered)
    distinct, _ = encode(delivered)
    texts = distinct.drop_null()
    absent = pc.or_(
        pc.is_in(texts, value_set=pa.array(_ABSENT)), pc.equal(pc.utf8_trim_whitespace(texts), pa.scalar(""))
    )
    rest = texts.filter(pc.invert(absent))
    kind, formats = _type_of(name, rest, decimal) if len(rest) else ("string", ())
    words = tuple(sorted(text for text in texts.filter(absent).to_pylist() if text != ""))
    if kind == "string":
        words = tuple(word for word in words if word in missing)
    return _measured(Column(name, kind, format=formats[0] if formats else None), delivered, decimal, words, formats)


def declared(given: pa.DataType) -> ColumnType:
    """The contract's type that is nearest to an Arrow type."""
    for kind, fits in (
        ("int64", pa.types.is_integer),
        ("float64", pa.types.is_floating),
        ("boolean", pa.types.is_boolean),
        ("date", pa.types.is_date),
        ("timestamp", pa.types.is_timestamp),
    ):
        if fits(given):
            return kind  # type: ignore[return-value]
    return "string"


def _type_of(name: str, texts: pa.Array, decimal: str) -> tuple[ColumnType, tuple[str, ...]]:
    """The narrowest type that reads every text, and for dates and times the formats that do."""
    zeros = pc.any(pc.match_substring_regex(texts, _LEADING_ZERO)).as_py()
    words = set(texts.slice(0, _TRIED).to_pylist())
    plain: tuple[ColumnType, ...] = ("int64",) if not zeros else ()
    if {word.lower() for word in words} <= {"true", "false"}:
        plain = ("boolean",)
    for kind in (*plain, "float64", "date", "timestamp"):
        if kind == "float64" and zeros and _all(texts, r"\A[+-]?[0-9]+\z"):
            continue  # 007 is a name
        if _reads(name, kind, texts, None, decimal):
            return kind, ()
    for kind, formats in (("date", _DAYS), ("timestamp", [day + clock for day in _DAYS for clock in _CLOCKS])):
        found = tuple(each for each in formats if _reads(name, kind, texts, each, decimal))
        if found:
            return kind, found
    return "string", ()


def _all(texts: pa.Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(texts, pattern)).as_py())


def _reads(name: str, kind: Any, texts: pa.Array, pattern: str | None, decimal: str) -> bool:
    column = Column(name, kind, format=pattern)
    file_format = FileFormat(decimal=decimal, missing=())
    tried = texts.slice(0, _TRIED)
    return not any(typed(column, file_format, some)[1].any() for some in (tried, texts) if len(some))


def _measured(
    column: Column,
    delivered: pa.ChunkedArray | pa.Array,
    decimal: str = ".",
    words: tuple[str, ...] = (),
    formats: tuple[str, ...] = (),
) -> Seen:
    distinct, places = encode(delivered)
    missing = ("", *words) if pa.types.is_string(delivered.type) else ()
    values, unreadable = typed(column, FileFormat(decimal=decimal, missing=missing), distinct)
    rows = np.bincount(places, minlength=len(distinct))
    present = pc.is_valid(values).to_numpy(zero_copy_only=False) & ~unreadable
    # two texts may be the same value
    counts: Counter[Any] = Counter()
    for value, count in zip(values.filter(pa.array(present)).to_pylist(), rows[present].tolist(), strict=True):
        counts[value.isoformat() if hasattr(value, "isoformat") else value] += count
    kind = column.type
    ordered = kind in ("int64", "float64", "date", "timestamp") and bool(counts)
    return Seen(
        column.name,
        kind,
        rows=len(places),
        missing=int(rows[~present].sum()),
        words=words,
        formats=formats,
        low=min(counts) if ordered else None,
        high=max(counts) if ordered else None,
        common=tuple(counts.most_common(FEW)),
        distinct=len(counts),
        pattern=pattern_of(list(counts)) if kind == "string" and counts else None,
    )


def pattern_of(texts: Sequence[str]) -> str | None:
    """A regular expression for texts that are built alike, or None; it matches every one of them in full."""
    shapes: dict[tuple[str, ...], list[list[int]]] = {}
    for text in texts:
        parts = list(_shape(text))
        shapes.setdefault(tuple(kind for kind, _ in parts), []).append([length for _, length in parts])
        if len(shapes) > _SHAPES or len(parts) > FEW:
            return None
    found = "|".join(_written(kinds, lengths) for kinds, lengths in sorted(shapes.items()))
    return found if all(re.fullmatch(found, text) for text in texts) else None


def _shape(text: str) -> Iterator[tuple[str, int]]:
    """Runs of digits, capitals and small letters, and every other letter as itself."""

    def kind(letter: str) -> str:
        own = f"\\{letter}" if letter in _SPECIAL else letter
        return next((word for word, fits in _LETTERS if letter.isascii() and fits(letter)), own)

    for word, run in groupby(text, key=kind):
        yield word, len(list(run))


def _written(kinds: Sequence[str], lengths: Sequence[Sequence[int]]) -> str:
    said = []
    for place, word in enumerate(kinds):
        low, high = min(each[place] for each in lengths), max(each[place] for each in lengths)
        times = "" if low == high == 1 else f"{{{low}}}" if low == high else f"{{{low},{high}}}"
        said.append(word + times)
    return "".join(said)
