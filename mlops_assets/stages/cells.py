"""Cells: from what was delivered to the declared type.

What belongs here: the strict reading of one column's values. What does not: the rules of a column, and the words about
what cannot be read (``rules``, ``readings``), dates and times (``times``), rows (``sift``).

Nothing is rounded, cut or guessed: ``0x10`` is no number, ``1e999`` none that can be kept, 30 February no date. A text
has no control characters but tabs and line ends, unless the column's own rules say what may stand in it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.model import Column, ColumnType, FileFormat
from mlops_assets.stages import times
from mlops_assets.stages.arrays import each, truths, where
from mlops_assets.stages.delivery import BLANKS, LONGEST
from mlops_assets.stages.rows import Truths
from mlops_assets.stages.times import Doubt, in_utc, read_dates, read_times, said_zone

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
_MOST_DIGITS = 19
_SPELLED = "is written in several ways in this batch; where leading zeros tell keys apart, declare a string"
_INT = range(-(2**63), 2**63)
_CONTROLS = "[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]"
"""Of Unicode's control characters all but NUL, which no rule lets in, tab, LF, CR and NEL."""


@dataclass(frozen=True, slots=True)
class Read:
    """Values in the declared type, null where there is none or it could not be read; ``unreadable`` says which.

    ``doubts`` are about those of the unreadable that could be read, but not surely rightly.
    """

    values: pa.Array
    unreadable: Truths
    doubts: tuple[Doubt, ...] = ()


def read(column: Column, file_format: FileFormat, distinct: pa.Array) -> Read:
    """The distinct delivered values of a batch in the declared type."""
    if file_format.strip and pa.types.is_string(distinct.type):
        distinct = pc.utf8_trim(distinct, characters=BLANKS)
    delivered = _without_missing(column, file_format, distinct)
    doubts: list[Doubt] = []
    if pa.types.is_string(distinct.type):
        values = _FROM_TEXT[column.type](delivered, column, file_format)
        local = ~said_zone(delivered) if column.zone and column.format is None else np.ones(len(values), dtype=bool)
        doubts += _DOUBTS.get(column.type, _none)(column, delivered, values)
    else:
        values = _from_type(column, delivered)
        local = np.full(len(values), pa.types.is_timestamp(distinct.type) and distinct.type.tz is None)
    if column.zone:
        values, unsure = in_utc(values, column.zone, local)
        doubts += unsure
    for doubt in doubts:
        values = where(values, pa.array(~doubt.broken))
    return Read(values, truths(pc.and_(pc.is_valid(delivered), pc.is_null(values))), tuple(doubts))


def typed(column: Column, file_format: FileFormat, distinct: pa.Array) -> tuple[pa.Array, Truths]:
    """Delivered values in the declared type, null where missing or unreadable; and which are unreadable."""
    found = read(column, file_format, distinct)
    return found.values, found.unreadable


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
    return where(distinct, pc.invert(absent)) if pc.any(absent).as_py() else distinct


# ---- texts


def _none(_column: Column, _texts: pa.Array, _values: pa.Array) -> Iterator[Doubt]:
    """No doubts."""
    yield from ()


def _odd_texts(column: Column, texts: pa.Array, _values: pa.Array) -> Iterator[Doubt]:
    """Texts that are no values of a table: too long, or with letters that nobody can see."""
    if pc.any(pc.greater(pc.binary_length(texts), LONGEST)).as_py():
        long = truths(pc.greater(pc.utf8_length(texts), LONGEST))
        if long.any():
            yield Doubt(f"is longer than {LONGEST:,} characters", long)
    if column.pattern is not None or column.values:
        return
    odd = truths(pc.match_substring_regex(texts, _CONTROLS))
    if odd.any():
        seen = (re.search(_CONTROLS, text) for text in texts.filter(pa.array(odd)).to_pylist())
        hints = tuple(f"; its letter {one.start() + 1:,} is U+{ord(one[0]):04X}" for one in seen if one)
        yield Doubt("holds a control character", odd, hints)


def _strings(texts: pa.Array, _column: Column, _format: FileFormat) -> pa.Array:
    return where(texts, pc.invert(pc.match_substring(texts, "\0")))


def _whole(texts: pa.Array, column: Column, _format: FileFormat) -> pa.Array:
    texts = _without_groups(texts, column)
    plain = pc.match_substring_regex(texts, r"\A[+-]?[0-9]{1,18}\z")
    values = where(pc.utf8_ltrim(texts, characters="+"), plain).cast(pa.int64())
    long = pc.and_not(pc.match_substring_regex(texts, r"\A[+-]?[0-9]{19,}\z"), plain)
    if not pc.any(long).as_py():
        return values
    return pc.coalesce(values, each(where(texts, long), pa.int64(), _integer))


def _integer(text: str) -> int | None:
    # A number so long that Python will not read it fits in 64 bits only when it is mostly zeros.
    sign, digits = text[:1].strip("0123456789"), text.lstrip("+-").lstrip("0")
    return _kept(int(sign + (digits or "0")), _INT) if len(digits) <= _MOST_DIGITS else None


def _decimal(texts: pa.Array, column: Column, file_format: FileFormat) -> pa.Array:
    texts = _without_groups(texts, column, file_format.decimal)
    point = re.escape(file_format.decimal)
    plain = pc.match_substring_regex(texts, rf"\A[+-]?([0-9]+({point}[0-9]*)?|{point}[0-9]+)([eE][+-]?[0-9]+)?\z")
    if file_format.decimal != ".":
        texts = pc.replace_substring(texts, file_format.decimal, ".")
    texts = where(texts, plain)
    values = texts.cast(pa.float64())
    # 1e-999 is not nothing: a text with a digit that counts must not become 0.
    lost = pc.and_(pc.equal(values, 0.0), pc.match_substring_regex(texts, r"\A[+-]?[0.]*[1-9]"))
    return where(values, pc.and_not(pc.is_finite(values), lost))


def _without_groups(texts: pa.Array, column: Column, point: str = "") -> pa.Array:
    """Numbers without the sign between groups of three digits, where the contract names one and they are right."""
    if column.thousands is None:
        return texts
    signs = "[ \u00a0\u202f]" if column.thousands == " " else re.escape(column.thousands)
    rest = rf"({re.escape(point)}[0-9]*)?" if point else ""
    grouped = pc.match_substring_regex(texts, rf"\A[+-]?[0-9]{{1,3}}({signs}[0-9]{{3}})+{rest}\z")
    return pc.if_else(pc.fill_null(grouped, False), pc.replace_substring_regex(texts, signs, ""), texts)


def _spellings(column: Column, texts: pa.Array, values: pa.Array) -> Iterator[Doubt]:
    """Keys that are one number in several spellings: nobody knows whether ``007`` and ``7`` are the same thing."""
    if "key" not in column.roles or "time" in column.roles:
        return
    odd = where(values, pc.match_substring_regex(texts, r"\A(\+|-?0[0-9]|-0)"))
    if odd.null_count == len(odd):
        return
    shared = pc.value_counts(where(values, pc.is_in(values, value_set=odd.drop_null())).drop_null())
    several = shared.field("values").filter(pc.greater(shared.field("counts"), 1))
    if len(several):
        yield Doubt(_SPELLED, truths(pc.and_(pc.is_valid(values), pc.is_in(values, value_set=several))))


def _truths(texts: pa.Array, _column: Column, _format: FileFormat) -> pa.Array:
    lower = pc.utf8_lower(texts)
    yes = pc.is_in(lower, value_set=pa.array(["true", "1"]))
    return where(yes, pc.is_in(lower, value_set=pa.array(["true", "false", "1", "0"])))


def _dates(texts: pa.Array, column: Column, _format: FileFormat) -> pa.Array:
    return read_dates(texts, column)


def _times(texts: pa.Array, column: Column, _format: FileFormat) -> pa.Array:
    return read_times(texts, column)


_FROM_TEXT: Mapping[ColumnType, Callable[[pa.Array, Column, FileFormat], pa.Array]] = {
    "string": _strings,
    "int64": _whole,
    "float64": _decimal,
    "boolean": _truths,
    "date": _dates,
    "timestamp": _times,
}
_DOUBTS: Mapping[ColumnType, Callable[[Column, pa.Array, pa.Array], Iterator[Doubt]]] = {
    "string": _odd_texts,
    "int64": _spellings,
    "date": times.doubts,
    "timestamp": times.doubts,
}


# ---- delivered types


def _from_type(column: Column, values: pa.Array) -> pa.Array:
    """Values of a delivered type (see ``castable``) in the declared one, null where they would have to be changed."""
    wanted, given = TYPES[column.type], values.type
    if pa.types.is_null(given) or given == wanted:
        return where(values, pc.is_finite(values)) if pa.types.is_floating(given) else values.cast(wanted)
    if pa.types.is_floating(given):
        wide = values.cast(pa.float64())
        wide = where(wide, pc.is_finite(wide))
        if column.type == "float64":
            return wide
        kept = pc.and_(pc.equal(wide, pc.round(wide)), pc.less_equal(pc.abs(wide), float(_EXACT)))
        return where(wide, kept).cast(wanted)
    if pa.types.is_integer(given):
        kept = range(-_EXACT, _EXACT + 1) if column.type == "float64" else _INT
        return each(values, wanted, lambda number: _kept(number, kept))
    if pa.types.is_timestamp(given):
        naive = values.cast(pa.timestamp(given.unit))
        micro = naive.cast(pa.timestamp("us"), safe=False)
        kept = pc.equal(micro.cast(naive.type, safe=False), naive)
        if column.type == "date":
            kept = pc.and_(kept, pc.equal(pc.floor_temporal(micro, unit="day"), micro))
        return where(micro, kept).cast(wanted)
    return values.cast(wanted)


def _kept(number: int, room: range) -> int | None:
    return number if number in room else None
