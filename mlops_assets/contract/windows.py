"""The part of a contract that describes features from the past of an entity: ``windows`` in ``features``.

What belongs here: reading that section into ``model.Windows`` and the features that follow from it, and how far back
batches must be looked at. What does not: the other features (``features``), computing a window (``stages.windows``).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil
from typing import Final

from mlops_assets.contract import yamlnodes as y
from mlops_assets.contract.calendar import TIME_CADENCES
from mlops_assets.contract.expression import ExpressionError, parse
from mlops_assets.contract.model import Cadence, Column, Feature, Source, Window, Windows
from mlops_assets.contract.tables import UNKNOWN

TAKES: Final = ("count", "sum", "mean", "minimum", "maximum", "last")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_ENTITY = ("string", "int64", "boolean")
_HOUR, _DAY = 3600, 86400
_MONTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_NOUNS: Mapping[str, str] = {"hourly": "hour", "daily": "day", "weekly": "week", "monthly": "month", "yearly": "year"}


@dataclass(frozen=True)
class Surroundings:
    """What of the rest of a contract a window may not contradict.

    ``columns`` are those of ``cleaned``, ``late`` those of them that nobody knows before the row's own event, each with
    why. ``unknown`` says how a sentence about a column that is not there goes on, ``names`` are the functions of
    ``features.py``.
    """

    columns: Mapping[str, Column]
    late: Mapping[str, str]
    unknown: Callable[[str], str]
    names: Sequence[str]
    cadence: Cadence
    spine: Source | None


def read_windows(features: y.Section, around: Surroundings) -> tuple[Windows, list[Feature]]:
    """``windows`` of the section ``features``, and a feature for each; every mistake is told to its mistakes."""
    section = features.section("windows", "windows")
    if section is None:
        return Windows(), []
    section.line = features.at("windows")
    timed = around.cadence in TIME_CADENCES
    look_back = section.get("look_back", y.integer, None)
    time = section.get("time", y.text, None)
    each = section.section("each", "windows, each", "name at least one, like {trips: {by: [car], take: count, ...}}.")
    section.finish()
    _check_time(section, time, around)
    found = [_window(name, cell, around) for name, cell in each.sections("window")] if each else []
    if each is not None and not found:
        section.wrong("'each' is empty; name at least one, like {trips: {by: [car], take: count, ...}}.", "each")
    windows = Windows(tuple(found), (1 if timed else 0) if look_back is None else look_back, time, section.line)
    _check_look_back(section, windows, around)
    moment = _moment(windows, around.spine)
    uses = {window.name: tuple(dict.fromkeys([*window.by, *moment])) for window in found}
    return windows, [
        Feature(window.name, "numeric", window=True, uses=uses[window.name], line=window.line) for window in found
    ]


def batches_back(cadence: Cadence, seconds: float) -> int:
    """How many batches before its own a row may have to look at to see ``seconds`` back: its own may just begin.

    By the shortest batches of the cadence: four weeks for a month, but 59 days for two.
    """
    lengths = {"hourly": _HOUR, "daily": _DAY, "weekly": 7 * _DAY}
    if cadence in lengths:
        return ceil(seconds / lengths[cadence])
    if cadence == "yearly":
        return ceil(seconds / (365 * _DAY))
    years, rest = divmod(seconds, sum(_MONTHS) * _DAY)
    return 12 * int(years) + next(n for n in range(13) if _shortest_months(n) * _DAY >= rest)


def _shortest_months(n: int) -> int:
    """Days of the shortest ``n`` months in a row, at most twelve."""
    ends = [0, *accumulate(_MONTHS * 2)]
    return min(ends[first + n] - ends[first] for first in range(12))


def _moment(windows: Windows, spine: Source | None) -> tuple[str, ...]:
    if windows.time is not None:
        return (windows.time,)
    return spine.event_time.columns if spine is not None and spine.event_time else ()


def _check_time(section: y.Section, time: str | None, around: Surroundings) -> None:
    if time is None:
        if "time" not in section and around.spine is not None and around.spine.event_time is None:
            section.wrong(
                f"nothing says when a row happened; name the column in 'time', or give {around.spine.name!r} an "
                f"'event_time'."
            )
        return
    column = around.columns.get(time)
    if column is None:
        if around.columns:
            section.wrong(f"there is no column {time!r}{around.unknown(time)}", "time")
    elif time in around.late:
        section.wrong(f"{time!r} {around.late[time]}; the row itself would not know its time.", "time")
    elif column.type not in ("date", "timestamp", UNKNOWN):
        section.wrong(f"'time' is a date or a timestamp, and {time!r} is {column.type}.", "time")


def _by_day(windows: Windows, around: Surroundings) -> bool:
    """Whether every moment is the first of a day."""
    event_time = around.spine.event_time if around.spine is not None else None
    if windows.time is None and event_time is not None and event_time.parts:
        return "hour" not in event_time.parts
    times = _moment(windows, around.spine)
    return len(times) == 1 and times[0] in around.columns and around.columns[times[0]].type == "date"


def _check_look_back(section: y.Section, windows: Windows, around: Surroundings) -> None:
    cadence = around.cadence
    if windows.look_back < 0:
        section.wrong(f"'look_back' is a number of batches, not {windows.look_back}.", "look_back")
        return
    if cadence not in TIME_CADENCES:
        if windows.look_back:
            what = "named batches have no order" if cadence == "named" else "the dataset is one batch"
            section.wrong(
                f"{what}, so there is none before; write look_back: 0, and only rows of the own batch are seen.",
                "look_back",
            )
        return
    for window in windows.each:
        seconds = window.over + window.known_after
        # what happened just so long ago counts no more, and of days the one before that is the last
        needed = batches_back(cadence, (ceil(seconds / _DAY) - 1) * _DAY if _by_day(windows, around) else seconds)
        if needed > windows.look_back:
            section.mistakes.add(
                section.file,
                window.line,
                f"Window {window.name!r}: 'over' and 'known_after' look {_said(seconds)} back, which from the first "
                f"moment of a {_NOUNS[cadence]} reaches into {needed} before it; write look_back: {needed}.",
            )


def _window(name: str, cell: y.Section, around: Surroundings) -> Window:
    _check_name(name, cell, around)
    by = cell.need("by", y.list_of(y.text), (), "name the columns that say whose past it is.")
    take = cell.choose("take", TAKES, "count", f"one of {y.listed(TAKES)}.")
    of = cell.get("of", y.text, None)
    over = cell.need("over", y.duration, None, "say how long the window is, like 7d.")
    known_after = cell.need(
        "known_after", y.duration, 0.0, "say how long after a row's time its values are known, or 0s for at once."
    )
    cell.finish()
    if "by" in cell and not by:
        cell.wrong("'by' is empty; name the columns that say whose past it is.", "by")
    for column in dict.fromkeys(by):
        _check_by(cell, column, by.count(column) > 1, around)
    if over == 0:
        cell.wrong("'over' is nothing; no row would ever count.", "over")
    if of is not None:
        _check_of(cell, of, around)
    elif take != "count" and "of" not in cell:
        cell.wrong(f"'of' is missing; say what the {take} is taken of, like {{of: price}}.")
    return Window(name, by, take, over or 0.0, known_after, of, cell.line)


def _check_name(name: str, cell: y.Section, around: Surroundings) -> None:
    if not _NAME.fullmatch(name):
        cell.wrong("a window's name is a letter and then letters, digits or _.")
    elif name in around.columns:
        cell.wrong("a column of that name is there already; rename the window.")
    elif name in around.names:
        cell.wrong("features.py has a function of that name; rename one of them.")
    elif name == "target":
        cell.wrong("'target' is a name of the feature table's own; rename it.")


def _check_by(cell: y.Section, name: str, twice: bool, around: Surroundings) -> None:
    column = around.columns.get(name)
    if twice:
        cell.wrong(f"'by' names {name!r} twice.", "by")
    if column is None:
        if around.columns:
            cell.wrong(f"there is no column {name!r}{around.unknown(name)}", "by")
    elif name in around.late:
        cell.wrong(f"{name!r} {around.late[name]}; a row would not know whose past it is.", "by")
    elif column.type not in (*_ENTITY, UNKNOWN):
        cell.wrong(f"'by' names {name!r}, which is a {column.type}; it takes {y.listed(_ENTITY)}.", "by")


def _check_of(cell: y.Section, of: str, around: Surroundings) -> None:
    try:
        expression = parse(of)
        if not around.columns:
            return
        for column in expression.columns:
            if column not in around.columns:
                cell.wrong(f"{of!r}: there is no column {column!r}{around.unknown(column)}", "of")
        if any(name not in around.columns or around.columns[name].type == UNKNOWN for name in expression.columns):
            return
        kind = expression.kind({name: around.columns[name].type for name in expression.columns})
    except ExpressionError as error:
        cell.wrong(error.sentences[0], "of")
        return
    if kind not in ("number", "boolean"):
        cell.wrong(f"'of' is a number or a truth value, and {of!r} is a {kind}.", "of")


def _said(seconds: float) -> str:
    """A length of time for people: ``8.5 days``."""
    for noun, length in (("day", _DAY), ("hour", _HOUR), ("minute", 60)):
        if seconds >= length:
            return f"{seconds / length:g} {noun}{'' if seconds == length else 's'}"
    return f"{seconds:g} seconds"
