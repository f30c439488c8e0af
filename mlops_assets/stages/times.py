"""Dates and times: from texts to days and moments, exactly as a format says, or as ISO 8601 where there is none.

What belongs here: reading them strictly, time zones, and readings that the rest of a batch casts doubt on. What does
not: other types (``cells``), when a row happened (``moments``), words for people about unreadable texts (``readings``).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.model import Column
from mlops_assets.stages.arrays import each, truths, where
from mlops_assets.stages.rows import Truths

MOMENT = pa.timestamp("us")
_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_799_999_999
"""Microseconds since 1970 of the first and the last moment of the years 1 to 9999."""
_SIMPLE_FORMAT = re.compile(r"(?:[^%]|%[YmdHMS])*")
_ZONED = r"(Z|\+00:00)\z"
_FEW = 2
"""So many different dates that fit only the other order of day and month show that the order is not what was declared;
one may be a slip of a digit."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Values that can be read and still are not surely what they seem: which, and why.

    ``phrase`` goes on after a value. ``hints``, one for each of them, say the possible readings.
    """

    phrase: str
    broken: Truths
    hints: tuple[str, ...] = ()


def read_dates(texts: pa.Array, column: Column) -> pa.Array:
    """Days, date32; null where there is none. A time of day that is not midnight is no date."""
    if column.format:
        moments = read_times(texts, column)
        return where(moments, pc.equal(pc.floor_temporal(moments, unit="day"), moments)).cast(pa.date32())
    plain = pc.match_substring_regex(texts, r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\z")
    return each(where(texts, plain), pa.date32(), date.fromisoformat)


def read_times(texts: pa.Array, column: Column) -> pa.Array:
    """Moments, timestamp[us], in UTC where the text says an offset, else as written; null where there is none."""
    pattern = column.format
    if pattern is None:
        plain = pc.match_substring_regex(
            texts, r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|\+00:00)?)?\z"
        )
        naive = pc.replace_substring_regex(where(texts, plain), _ZONED, "")
        try:
            return naive.cast(MOMENT)
        except pa.ArrowInvalid:
            return each(naive, MOMENT, datetime.fromisoformat)

    def read(text: str) -> datetime:
        moment = datetime.strptime(text, pattern)  # noqa: DTZ007
        return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)

    if not (_SIMPLE_FORMAT.fullmatch(pattern) and all(part in pattern for part in ("%Y", "%m", "%d"))):
        return each(texts, MOMENT, read)
    quick = pc.strptime(texts, format=pattern, unit="s", error_is_null=True)
    # Arrow reads 30 February as 2 March; what it cannot write back the same is read again, strictly.
    same = pc.fill_null(pc.equal(pc.strftime(quick, format=pattern), texts), False)
    values = where(quick, same).cast(MOMENT)
    if pc.all(pc.or_(same, pc.is_null(texts))).as_py() in (True, None):
        return values
    return pc.coalesce(values, each(where(texts, pc.invert(same)), MOMENT, read))


def in_utc(values: pa.Array, zone: str, local: Truths) -> tuple[pa.Array, list[Doubt]]:
    """Moments of which the ``local`` ones are times of a zone, all in UTC; and those that were twice there or never."""
    early, late = (
        pc.assume_timezone(values, zone, ambiguous=which, nonexistent=which).cast(MOMENT)
        for which in ("earliest", "latest")
    )
    apart = pc.fill_null(pc.subtract(late, early).cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    micros = early.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    outside = local & ((micros < _FIRST) | (micros > _LAST))
    # Arrow puts a time that never was just before or just after the hour that was left out.
    never, twice = local & (apart == 1), local & (apart > 1)
    doubts = [Doubt("is outside of the years 1 to 9999 in UTC", outside)] if outside.any() else []
    if never.any():
        doubts.append(Doubt(f"never was in {zone}: the clocks were put forward", never))
    if twice.any():
        first, second = (each_of.filter(pa.array(twice)).to_pylist() for each_of in (early, late))
        hints = tuple(f"; it is {a.isoformat()}Z or {b.isoformat()}Z" for a, b in zip(first, second, strict=True))
        doubts.append(Doubt(f"was twice in {zone}: the clocks were put back", twice, hints))
    return pc.if_else(pa.array(local), early, values), doubts


def said_zone(texts: pa.Array) -> Truths:
    """Which ISO texts say that they are UTC."""
    return truths(pc.match_substring_regex(texts, _ZONED))


def doubts(column: Column, texts: pa.Array, values: pa.Array) -> Iterator[Doubt]:
    """Readings of one column that other texts of the same batch make doubtful."""
    if column.format is None:
        if column.type == "timestamp" and column.zone is None:
            zoned, read = said_zone(texts), values.is_valid().to_numpy(zero_copy_only=False)
            naive = read & ~zoned
            if (read & zoned).any() and naive.any():
                yield Doubt("says no time zone, where other times of the batch do; ask for one, or set 'zone'", naive)
        return
    if column.type == "date" and any(part in column.format for part in ("%H", "%I")):
        late = truths(pc.and_(pc.is_null(values), pc.is_valid(read_times(texts, column))))
        if late.any():
            yield Doubt("has a time of day, which a date cannot keep; declare a timestamp", late)
    other = swapped(column.format)
    if other is None:
        return
    unread = where(texts, pc.is_null(values))
    if len(unread) == unread.null_count or len(_readable(unread, other)) < _FEW:
        return
    # Day and month are one number, or the day is no month: only one reading.
    two = truths(pc.and_(pc.less_equal(pc.day(values), 12), pc.not_equal(pc.day(values), pc.month(values))))
    if two.any():
        days = values.filter(pa.array(two)).to_pylist()
        hints = tuple(f"; it reads as {day:%Y-%m-%d} ({column.format}) or as {day:%Y-%d-%m} ({other})" for day in days)
        yield Doubt(f"may be another day: others of the batch can only be {other}", two, hints)


def swapped(pattern: str) -> str | None:
    """A format with day and month the other way round; None where nobody confuses them (the year stands first)."""
    places = [pattern.find(part) for part in ("%d", "%m")]
    years = [pattern.find(part) for part in ("%Y", "%y") if part in pattern]
    if min(places) < 0 or not years or min(years) < min(places):
        return None
    return pattern.replace("%d", "\0").replace("%m", "%d").replace("\0", "%m")


def _readable(texts: pa.Array, pattern: str) -> list[str]:
    """Those of the texts that a format reads; a few are enough."""
    found: list[str] = []
    for text in texts.drop_null().to_pylist():
        try:
            datetime.strptime(text, pattern)  # noqa: DTZ007
        except ValueError:
            continue
        found.append(text)
        if len(found) == _FEW:
            break
    return found
