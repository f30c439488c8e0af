"""Cells: from what was delivered to the declared type, and what the contract says against a value.

What belongs here: the strict reading of one column's distinct values, and the rules of one column. What does not: rows
(``sift``), columns together.

A column is judged by its distinct values, of which there are few: a thousand rows of the same mistake cost one. Nothing
is rounded, cut or guessed: ``0x10`` is no number, ``1e999`` none that can be kept, 30 February no date.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.model import Column, ColumnType, FileFormat
from mlops_assets.stages.delivery import shown
from mlops_assets.stages.rows import Truths

TYPES: Mapping[ColumnType, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
}
"""The types of ``cleaned``. Times have no zone: they are UTC where the delivery said an offset, else as written."""

_EXACT = 2**53
_LISTED = 8
_INT = range(-(2**63), 2**63)
_WORDS: Mapping[ColumnType, str] = {
    "string": "is not text",
    "int64": "is not a whole number",
    "float64": "is not a number",
    "boolean": "is not true or false",
    "date": "is not a date (YYYY-MM-DD)",
    "timestamp": "is not a time (YYYY-MM-DDTHH:MM:SS)",
}
_SIMPLE_FORMAT = re.compile(r"(?:[^%]|%[YmdHMS])*")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a value: ``label`` names column and rule only, ``sentence`` the value too."""

    label: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Judged:
    """Distinct values of a column in the declared type, null where there is none or it could not be read.

    ``unreadable`` says which could not be read, shape (distinct,); ``faults`` what is wrong, by place.
    """

    values: pa.Array
    unreadable: Truths
    faults: Mapping[int, tuple[Fault, ...]]


def judge(column: Column, file_format: FileFormat, distinct: pa.Array) -> Judged:
    """Read and judge the distinct delivered values of a column; null among them is a value that was not delivered."""
    values, unreadable = typed(column, file_format, distinct)
    hidden = "sensitive" in column.roles
    faults: dict[int, tuple[Fault, ...]] = {}
    for place in np.flatnonzero(unreadable).tolist():
        value = distinct[place].as_py()
        faults[place] = (_fault(column, _unreadable(column, value), value, hidden=hidden),)
    for broken, phrase, label in _rules(column, values, unreadable):
        for place in np.flatnonzero(broken).tolist():
            value = None if phrase == _NO_VALUE else distinct[place].as_py()
            faults[place] = (*faults.get(place, ()), _fault(column, phrase, value, label=label, hidden=hidden))
    return Judged(values, unreadable, faults)


def typed(column: Column, file_format: FileFormat, distinct: pa.Array) -> tuple[pa.Array, Truths]:
    """Delivered values in the declared type, null where missing or unreadable; and which are unreadable."""
    delivered = _without_missing(column, file_format, distinct)
    if pa.types.is_string(distinct.type):
        values = _FROM_TEXT[column.type](delivered, column, file_format)
    else:
        values = _from_type(column, delivered)
    unreadable = pc.and_(pc.is_valid(delivered), pc.is_null(values)).to_numpy(zero_copy_only=False)
    return values, unreadable


def castable(delivered: pa.DataType, declared: ColumnType) -> bool:
    """Whether values of a delivered Arrow type may become the declared type, each value being asked on its own."""
    if pa.types.is_null(delivered) or pa.types.is_string(delivered):
        return True
    match declared:
        case "int64" | "float64":
            return bool(pa.types.is_integer(delivered) or pa.types.is_floating(delivered))
        case "boolean":
            return bool(pa.types.is_boolean(delivered))
        case "date" | "timestamp":
            return bool(pa.types.is_date(delivered) or pa.types.is_timestamp(delivered))
        case _:
            return False


def _without_missing(column: Column, file_format: FileFormat, distinct: pa.Array) -> pa.Array:
    """Delivered values, null where they mean "no value"; numbers are compared as they would be written."""
    words = {*file_format.missing, *column.missing}
    if "NaN" in words:
        words.add("nan")
    if not words or pa.types.is_null(distinct.type) or pa.types.is_temporal(distinct.type):
        return distinct
    absent = pc.is_in(distinct.cast(pa.string()), value_set=pa.array(sorted(words), pa.string()))
    return _where(distinct, pc.invert(absent)) if pc.any(absent).as_py() else distinct


# ---- texts


def _strings(texts: pa.Array, _column: Column, _format: FileFormat) -> pa.Array:
    return _where(texts, pc.invert(pc.match_substring(texts, "\0")))


def _whole(texts: pa.Array, _column: Column, _format: FileFormat) -> pa.Array:
    plain = pc.match_substring_regex(texts, r"\A[+-]?[0-9]{1,18}\z")
    values = _where(pc.utf8_ltrim(texts, characters="+"), plain).cast(pa.int64())
    long = pc.and_not(pc.match_substring_regex(texts, r"\A[+-]?[0-9]{19,}\z"), plain)
    if not pc.any(long).as_py():
        return values
    return pc.coalesce(values, _each(_where(texts, long), pa.int64(), lambda text: _kept(int(text), _INT)))


def _decimal(texts: pa.Array, _column: Column, file_format: FileFormat) -> pa.Array:
    point = re.escape(file_format.decimal)
    plain = pc.match_substring_regex(texts, rf"\A[+-]?([0-9]+({point}[0-9]*)?|{point}[0-9]+)([eE][+-]?[0-9]+)?\z")
    if file_format.decimal != ".":
        texts = pc.replace_substring(texts, file_format.decimal, ".")
    texts = _where(texts, plain)
    values = texts.cast(pa.float64())
    # 1e-999 is not nothing: a text with a digit that counts must not become 0.
    lost = pc.and_(pc.equal(values, 0.0), pc.match_substring_regex(texts, r"\A[+-]?[0.]*[1-9]"))
    return _where(values, pc.and_not(pc.is_finite(values), lost))


def _truths(texts: pa.Array, _column: Column, _format: FileFormat) -> pa.Array:
    lower = pc.utf8_lower(texts)
    yes = pc.is_in(lower, value_set=pa.array(["true", "1"]))
    return _where(yes, pc.is_in(lower, value_set=pa.array(["true", "false", "1", "0"])))


def _dates(texts: pa.Array, column: Column, file_format: FileFormat) -> pa.Array:
    if column.format:
        return _times(texts, column, file_format).cast(pa.date32(), safe=False)
    plain = pc.match_substring_regex(texts, r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\z")
    return _each(_where(texts, plain), pa.date32(), date.fromisoformat)


def _times(texts: pa.Array, column: Column, _format: FileFormat) -> pa.Array:
    kind = pa.timestamp("us")
    pattern = column.format
    if pattern is None:
        plain = pc.match_substring_regex(
            texts, r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|\+00:00)?)?\z"
        )
        naive = pc.replace_substring_regex(_where(texts, plain), r"(Z|\+00:00)$", "")
        try:
            return naive.cast(kind)
        except pa.ArrowInvalid:
            return _each(naive, kind, datetime.fromisoformat)

    def read(text: str) -> datetime:
        moment = datetime.strptime(text, pattern)  # noqa: DTZ007
        return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)

    if not (_SIMPLE_FORMAT.fullmatch(pattern) and all(part in pattern for part in ("%Y", "%m", "%d"))):
        return _each(texts, kind, read)
    quick = pc.strptime(texts, format=pattern, unit="s", error_is_null=True)
    # Arrow reads 30 February as 2 March; what it cannot write back the same is read again, strictly.
    same = pc.fill_null(pc.equal(pc.strftime(quick, format=pattern), texts), False)
    values = _where(quick, same).cast(kind)
    if pc.all(pc.or_(same, pc.is_null(texts))).as_py() in (True, None):
        return values
    return pc.coalesce(values, _each(_where(texts, pc.invert(same)), kind, read))


_FROM_TEXT: Mapping[ColumnType, Callable[[pa.Array, Column, FileFormat], pa.Array]] = {
    "string": _strings,
    "int64": _whole,
    "float64": _decimal,
    "boolean": _truths,
    "date": _dates,
    "timestamp": _times,
}


# ---- delivered types


def _from_type(column: Column, values: pa.Array) -> pa.Array:
    """Values of a delivered type (see ``castable``) in the declared one, null where they would have to be changed."""
    wanted, given = TYPES[column.type], values.type
    if pa.types.is_null(given) or given == wanted:
        return _where(values, pc.is_finite(values)) if pa.types.is_floating(given) else values.cast(wanted)
    if pa.types.is_floating(given):
        wide = values.cast(pa.float64())
        wide = _where(wide, pc.is_finite(wide))
        if column.type == "float64":
            return wide
        kept = pc.and_(pc.equal(wide, pc.round(wide)), pc.less_equal(pc.abs(wide), float(_EXACT)))
        return _where(wide, kept).cast(wanted)
    if pa.types.is_integer(given):
        kept = range(-_EXACT, _EXACT + 1) if column.type == "float64" else _INT
        return _each(values, wanted, lambda number: _kept(number, kept))
    if pa.types.is_timestamp(given):
        naive = values.cast(pa.timestamp(given.unit))
        micro = naive.cast(pa.timestamp("us"), safe=False)
        kept = pc.equal(micro.cast(naive.type, safe=False), naive)
        if column.type == "date":
            kept = pc.and_(kept, pc.equal(pc.floor_temporal(micro, unit="day"), micro))
        return _where(micro, kept).cast(wanted)
    return values.cast(wanted)


def _kept(number: int, room: range) -> int | None:
    return number if number in room else None


# ---- rules

_NO_VALUE = "has no value"


def _rules(column: Column, values: pa.Array, unreadable: Truths) -> Iterator[tuple[Truths, str, str]]:
    """For each rule that some value breaks: which values, how the sentence says it, and its label."""
    if not column.nullable and values.null_count:
        absent = pc.is_null(values).to_numpy(zero_copy_only=False) & ~unreadable
        yield absent, _NO_VALUE, _NO_VALUE
    if column.minimum is not None:
        broken = pc.less(values, _bound(column, column.minimum))
        yield _truth(broken), f"is below the minimum {column.minimum}", "is below the minimum"
    if column.maximum is not None:
        broken = pc.greater(values, _bound(column, column.maximum))
        yield _truth(broken), f"is above the maximum {column.maximum}", "is above the maximum"
    if column.values:
        allowed = pa.array([_native(column, value) for value in column.values], TYPES[column.type])
        broken = pc.and_(pc.is_valid(values), pc.invert(pc.is_in(values, value_set=allowed)))
        few = len(column.values) <= _LISTED
        told = ", ".join(map(str, column.values)) if few else f"the {len(column.values)} declared values"
        yield _truth(broken), f"is not one of {told}", "is not one of the declared values"
    if column.pattern is not None:
        matches = re.compile(column.pattern).fullmatch
        broken = np.array([text is not None and matches(text) is None for text in values.to_pylist()], dtype=bool)
        yield broken, f"does not match the pattern {column.pattern}", "does not match the pattern"


def _bound(column: Column, value: Any) -> pa.Scalar:
    if column.type in ("int64", "float64"):
        return pa.scalar(value)
    return pa.scalar(_native(column, value), TYPES[column.type])


def _native(column: Column, value: Any) -> Any:
    """A value of the contract as Python's own of the column's type; dates stand there as ISO text."""
    if column.type == "date":
        return datetime.fromisoformat(str(value)).date()
    if column.type == "timestamp":
        moment = datetime.fromisoformat(str(value))
        return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    return value


def _unreadable(column: Column, value: Any) -> str:
    """How a sentence says that a value is not of the declared type."""
    if column.type == "string":
        return "holds a NUL character"
    if column.format:
        return f"is not written as {column.format}"
    if column.type == "int64" and isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]+", value):
        return "does not fit in 64 bits"
    if column.type == "float64" and isinstance(value, str) and re.fullmatch(r"[+-]?[0-9.,]+([eE][+-]?[0-9]+)?", value):
        return "is not a number that can be kept exactly enough"
    if isinstance(value, int) and not isinstance(value, bool):
        return "cannot be kept exactly"
    return _WORDS[column.type]


def _fault(column: Column, phrase: str, value: Any, *, label: str | None = None, hidden: bool) -> Fault:
    subject = "" if phrase == _NO_VALUE else f"{shown(value, hidden=hidden)} "
    return Fault(f"{column.name}: {label or phrase}", f"{column.name}: {subject}{phrase}")


# ---- arrays


def _where(values: pa.Array, kept: pa.Array) -> pa.Array:
    """The values, null where ``kept`` is false or null."""
    return pc.if_else(pc.fill_null(kept, False), values, pa.scalar(None, values.type))


def _truth(broken: pa.Array) -> Truths:
    return np.asarray(pc.fill_null(broken, False).to_numpy(zero_copy_only=False), dtype=bool)


def _each(values: pa.Array, kind: pa.DataType, read: Callable[[Any], Any]) -> pa.Array:
    """Each value by a Python function; null where there is none or the function raises ``ValueError``."""

    def one(value: Any) -> Any:
        if value is None:
            return None
        try:
            return read(value)
        except (ValueError, OverflowError):
            return None

    return pa.array([one(value) for value in values.to_pylist()], kind)
