"""Batch keys and the time they stand for.

What belongs here: which keys a cadence has, their order, their windows, their distance. What does not: Dagster's
partition definitions (``assets``), which batches were delivered (``store``), and today's date: nothing here reads a
clock. Times are naive: they are labels of batches, and the zone is the dataset's own affair.

Every key of a time cadence has a whole number (its ordinal); order, distance and ranges are sums on it.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache

from mlops_assets.contract.model import Cadence, Partitions
from mlops_assets.errors import UserError

ALL = "all"
TIME_CADENCES: tuple[Cadence, ...] = ("hourly", "daily", "weekly", "monthly", "yearly")

# cadence -> (strptime pattern, shape of a key, how a person calls one batch, an example)
_SHAPES: dict[str, tuple[str, re.Pattern[str], str, str]] = {
    "yearly": ("%Y", re.compile(r"([0-9]{4})"), "year", "2013"),
    "monthly": ("%Y-%m", re.compile(r"([0-9]{4})-([0-9]{2})"), "month", "2013-03"),
    "weekly": ("%Y-%m-%d", re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})"), "week", "2013-03-04"),
    "daily": ("%Y-%m-%d", re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})"), "day", "2013-03-09"),
    "hourly": ("%Y-%m-%dT%H", re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2})"), "hour", "2013-03-09T05"),
}
# How many batches a release may look back over, by cadence: far more than anybody has, few enough for Dagster to list.
_OFFSETS: dict[str, int] = {"yearly": 100, "monthly": 600, "weekly": 2600, "daily": 36500, "hourly": 1000000}
_LONGEST_NAME = 180  # bytes; a name becomes a path segment


class KeyRefusedError(UserError):
    """A text that is no key of this calendar."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """The batches of one dataset. ``start`` and ``end`` are the first and the last key, both included.

    Cadence ``none`` has the one key ``all``. Cadence ``named`` has any names, ordered as text; nobody can list them
    from here, nor count from one to the next.
    """

    cadence: Cadence
    start: str | None = None
    end: str | None = None

    @classmethod
    def of(cls, partitions: Partitions) -> "Calendar":
        """The calendar that a contract's partitions describe."""
        return cls(partitions.cadence, partitions.start, partitions.end)

    @property
    def timed(self) -> bool:
        """Whether the keys are windows of time."""
        return self.cadence in _SHAPES

    @property
    def format(self) -> str | None:
        """The ``strptime`` pattern of a key, or None where keys are no times."""
        return _SHAPES[self.cadence][0] if self.timed else None

    @property
    def offset(self) -> int:
        """How many batches back a release's window opens; 0 where there is no window."""
        return _OFFSETS.get(self.cadence, 0)

    def key(self, moment: date) -> str:
        """The key of the batch that holds ``moment`` (a date or datetime, read as it stands, without zones)."""
        if self.cadence == "none":
            return ALL
        if not self.timed:
            raise ValueError("named batches do not follow from a time")
        return self._text(self._ordinal_of(moment))

    def window(self, key: str) -> tuple[datetime, datetime]:
        """First moment of the batch, and first moment after it. Raises KeyRefusedError for a text that is no key."""
        if not self.timed:
            raise ValueError(f"a batch of cadence {self.cadence!r} has no window of time")
        ordinal = self._ordinal(key)
        return self._begin(ordinal), self._begin(ordinal + 1)

    def check(self, key: str) -> None:
        """Raise KeyRefusedError, with what to write instead, unless ``key`` is a key between start and end."""
        if self.cadence == "none":
            if key != ALL:
                raise KeyRefusedError(f"{key!r} is no batch: the dataset is not partitioned, its one batch is 'all'.")
        elif self.cadence == "named":
            _check_name(key)
        else:
            ordinal = self._ordinal(key)
            if self.start is not None and ordinal < self._ordinal(self.start):
                raise KeyRefusedError(f"{key!r} is before the first batch, {self.start!r} (partitions: start).")
            if self.end is not None and ordinal > self._ordinal(self.end):
                raise KeyRefusedError(f"{key!r} is after the last batch, {self.end!r} (partitions: end).")

    def keys(self, through: str) -> list[str]:
        """Every key from the start up to and with ``through``, never beyond the end."""
        if self.cadence == "none":
            self.check(through)
            return [ALL]
        if self.start is None:
            raise self._countless()
        return self.between(self.start, through)

    def between(self, first: str, last: str) -> list[str]:
        """Every key from ``first`` to ``last``, both included, cut at start and end; empty when the order is wrong."""
        if self.cadence == "none" or (self.cadence == "named" and first == last):
            self.check(first)
            self.check(last)
            return [first]
        if not self.timed:
            raise self._countless()
        low, high = self._ordinal(first), self._ordinal(last)
        if self.start is not None:
            low = max(low, self._ordinal(self.start))
        if self.end is not None:
            high = min(high, self._ordinal(self.end))
        return [self._text(ordinal) for ordinal in range(low, high + 1)]

    def shift(self, key: str, n: int) -> str | None:
        """The key ``n`` batches later, earlier when negative; None outside start and end, or without an order."""
        if not self.timed:
            self.check(key)
            return key if n == 0 else None
        ordinal = self._ordinal(key) + n
        if self.start is not None and ordinal < self._ordinal(self.start):
            return None
        if self.end is not None and ordinal > self._ordinal(self.end):
            return None
        return self._text(ordinal)

    def around(self, key: str, before: int = 0, after: int = 0) -> list[str]:
        """The keys of so many batches before and after this one and its own, cut at start and end, in order.

        Names and ``all`` have none beside them.
        """
        if not self.timed or key == ALL or before == after == 0:
            return [key]
        ordinal = self._ordinal(key)
        low, high = ordinal - before, ordinal + after
        if self.start is not None:
            low = max(low, self._ordinal(self.start))
        if self.end is not None:
            high = min(high, self._ordinal(self.end))
        return [_text(self.cadence, number) for number in range(low, high + 1)]

    def sort(self, keys: Iterable[str]) -> list[str]:
        """The keys in the order of time, or as text where they are names."""
        return sorted(keys, key=self._ordinal) if self.timed else sorted(keys)

    def ranges(self, keys: Iterable[str]) -> list[tuple[str, str]]:
        """The longest runs of neighbouring batches as (first, last), in order; names stand alone."""
        if not self.timed:
            return [(key, key) for key in sorted(set(keys))]
        runs: list[tuple[int, int]] = []
        for ordinal in sorted({self._ordinal(key) for key in keys}):
            if runs and runs[-1][1] + 1 == ordinal:
                runs[-1] = (runs[-1][0], ordinal)
            else:
                runs.append((ordinal, ordinal))
        return [(self._text(first), self._text(last)) for first, last in runs]

    def _countless(self) -> KeyRefusedError:
        return KeyRefusedError("Named batches cannot be counted from one to another; name each one that is meant.")

    def _ordinal(self, key: str) -> int:
        """The whole number of a key; raises KeyRefusedError with an example of how to write one."""
        _, shape, noun, example = _SHAPES[self.cadence]
        found = shape.fullmatch(key)
        if found is None:
            raise KeyRefusedError(f"{key!r} is not a {noun}; write it like {example}.")
        parts = [int(part) for part in found.groups()]
        year, month, day, hour = parts + [1, 1, 1, 0][len(parts) :]
        try:
            moment = datetime(year, month, day, hour)  # noqa: DTZ001
        except ValueError:
            raise KeyRefusedError(f"{key!r} does not exist in the calendar; write it like {example}.") from None
        if moment.year == date.max.year:  # its window would end after the last moment that Python can say
            raise KeyRefusedError(f"{key!r} is too far in the future; years go up to {date.max.year - 1}.")
        if self.cadence == "weekly" and moment.weekday() != 0:
            monday = self._text(self._ordinal_of(moment))
            raise KeyRefusedError(f"{key!r} is a {moment:%A}; a week is called by its Monday: {monday}.")
        return self._ordinal_of(moment)

    def _ordinal_of(self, moment: date) -> int:
        match self.cadence:
            case "yearly":
                return moment.year
            case "monthly":
                return moment.year * 12 + moment.month - 1
            case "weekly":
                return (moment.toordinal() - 1) // 7  # day 1 of the calendar was a Monday
            case "daily":
                return moment.toordinal()
            case _:
                return moment.toordinal() * 24 + (moment.hour if isinstance(moment, datetime) else 0)

    def _begin(self, ordinal: int) -> datetime:
        match self.cadence:
            case "yearly":
                return datetime(ordinal, 1, 1)  # noqa: DTZ001
            case "monthly":
                return datetime(ordinal // 12, ordinal % 12 + 1, 1)  # noqa: DTZ001
            case "weekly":
                return datetime.fromordinal(ordinal * 7 + 1)
            case "daily":
                return datetime.fromordinal(ordinal)
            case _:
                return datetime.fromordinal(ordinal // 24) + timedelta(hours=ordinal % 24)

    def _text(self, ordinal: int) -> str:
        moment = self._begin(ordinal)
        match self.cadence:
            case "yearly":
                return f"{moment.year:04}"
            case "monthly":
                return f"{moment.year:04}-{moment.month:02}"
            case "hourly":
                return f"{moment.year:04}-{moment.month:02}-{moment.day:02}T{moment.hour:02}"
            case _:
                return f"{moment.year:04}-{moment.month:02}-{moment.day:02}"


@lru_cache(maxsize=1024)
def _text(cadence: Cadence, ordinal: int) -> str:
    """A key by its number, remembered: who looks back from one batch after another asks for most of them again."""
    return Calendar(cadence)._text(ordinal)


def _check_name(name: str) -> None:
    """Refuse a batch's name that could not be a path segment on every system."""
    if not name:
        raise KeyRefusedError("A batch's name is empty; give it one.")
    if any(unicodedata.category(letter).startswith("C") for letter in name):
        raise KeyRefusedError(f"{name!r} holds a control character; a batch's name is plain text.")
    if unicodedata.normalize("NFC", name) != name:
        raise KeyRefusedError(f"{name!r} is not in Unicode's composed form (NFC); write an accented letter as one.")
    if len(name.encode()) > _LONGEST_NAME:
        raise KeyRefusedError(f"{name[:20] + '...'!r} is longer than {_LONGEST_NAME} bytes; shorten the batch's name.")
    if name.startswith("__HIVE_DEFAULT"):
        raise KeyRefusedError(f"{name!r} means 'no partition' to table readers; call the batch something else.")
