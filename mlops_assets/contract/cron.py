"""Cron expressions: when something happens by itself, in UTC.

What belongs here: telling whether an expression can be a schedule, and what is wrong with it. What does not: computing
its ticks, which Dagster does. Read strictly and without Dagster, whose own reader takes seconds to import: five fields
of numbers, names, ranges, steps and lists. What is accepted here Dagster accepts too, and it comes round some day.
"""

import re
from dataclasses import dataclass

import yaml

from mlops_assets.contract import yamlnodes as y

_PART = re.compile(r"(?:\*|(?P<low>\w+)(?:-(?P<high>\w+))?)(?:/(?P<step>[0-9]+))?")
_MOST_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    first: int
    last: int
    words: tuple[str, ...] = ()  # the first one means the number `first`


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    _Field("day of the week", 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)


def cron(node: yaml.Node) -> str:
    """A cron expression with single spaces; raises WrongError that says which field is wrong."""
    written = y.text(node)
    parts = written.split()
    if len(parts) != len(_FIELDS):
        wanted = 'a cron expression of five fields like "0 3 * * 0" (minute, hour, day, month, weekday)'
        raise y.WrongError((y.line_of(node), f"should be {wanted}, not {written!r}."))
    try:
        values = [_values(part, kind) for part, kind in zip(parts, _FIELDS, strict=True)]
        _check_it_comes(parts, values)
    except ValueError as trouble:
        raise y.WrongError((y.line_of(node), f"is {written!r}: {trouble}")) from None
    return " ".join(parts)


def _values(written: str, kind: _Field) -> set[int]:
    """The numbers that one field means; raises ValueError with a sentence."""
    found: set[int] = set()
    for part in written.split(","):
        match = _PART.fullmatch(part)
        if match is None or (part == "*" and part != written):
            raise ValueError(f"the {kind.name} cannot be {written!r}; write *, 5, 1-5, */10 or a list like 1,15.")
        low, high, step = match["low"], match["high"], match["step"]
        if step and low and not high:
            raise ValueError(f"the {kind.name} has steps from {low} on; say to where, like {low}-{kind.last}/{step}.")
        first = _number(low, kind) if low else kind.first
        last = _number(high, kind) if high else first if low else kind.last
        if first > last:
            raise ValueError(f"the {kind.name}'s range {part!r} ends before it begins.")
        if step and int(step) not in range(1, kind.last + 1):
            raise ValueError(f"the {kind.name}'s step should be 1 to {kind.last}, not {step}.")
        found |= set(range(first, last + 1, int(step or 1)))
    return found


def _number(word: str, kind: _Field) -> int:
    if word.lower() in kind.words:
        return kind.first + kind.words.index(word.lower())
    if not word.isdecimal() or not word.isascii():
        raise ValueError(f"{word!r} is no {kind.name}{y.suggest(word, kind.words)}")
    if int(word) not in range(kind.first, kind.last + 1):
        raise ValueError(f"the {kind.name} should be {kind.first} to {kind.last}, not {word}.")
    return int(word)


def _check_it_comes(parts: list[str], values: list[set[int]]) -> None:
    """Raise ValueError for a day that no month has; where weekdays are named they come anyway."""
    days, months, weekdays = values[2:]
    any_weekday = "*" in parts[4] and len(weekdays) == _FIELDS[4].last + 1
    if any_weekday and min(days) > max(_MOST_DAYS[month - 1] for month in months):
        raise ValueError(f"the day {min(days)} never comes in the months it names.")
