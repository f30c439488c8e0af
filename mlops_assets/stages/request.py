"""Features of rows that somebody asks for one by one, made as those of a batch are.

What belongs here: what a request must say, reading it into the columns of ``cleaned``, and which rows may be worked on
together without seeing each other. What does not: the features (``features``), where the past comes from
(``mlops_assets.serving``), what a column's rules are (``schemas``).

pandera judges a request, as it judges every table between our stages, but loading it takes a second and asking it
longer than all the rest. So a row is first looked at with plain comparisons that let through nothing that pandera would
refuse; whatever does not pass them goes to pandera, which alone decides and finds the words.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from numbers import Integral, Real
from typing import Any

import numpy as np
import pyarrow as pa

from mlops_assets.contract.calendar import Calendar
from mlops_assets.contract.model import Column, ColumnType, Contract, EventTime
from mlops_assets.contract.rules import allowed_values, native
from mlops_assets.contract.yamlnodes import suggest
from mlops_assets.errors import UserError
from mlops_assets.stages.cells import TYPES
from mlops_assets.stages.features import build_features
from mlops_assets.stages.moments import moments
from mlops_assets.stages.online import moments_of
from mlops_assets.stages.rows import Ints, one_chunk
from mlops_assets.stages.schemas import breaches, columns_of_request, schema_of_request, tells_batch

LookUp = Callable[[pa.Table], pa.Table]
"""The rows of the past that windows may look back at for some rows; more of them change nothing."""

_MOST = 20
_EXACT = 2**53
_INT = range(-(2**63), 2**63)
_WORDS: Mapping[ColumnType, str] = {
    "string": "a text",
    "int64": "a whole number",
    "float64": "a number",
    "boolean": "true or false",
    "date": "a date like 2013-01-31",
    "timestamp": "a time like 2013-01-31T05:15:00Z",
}


class RequestError(UserError):
    """A request does not say what it must; sentences name rows, from 1, and columns, and never a value."""


class Reader:
    """Reads requests for one contract, as many as come; what follows from the contract is worked out once."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._asked = columns_of_request(contract)
        self._keeps = {name: _plainly(rules) for name, rules in self._asked.items()}
        self._known = {name: TYPES[column.type] for name, column in contract.cleaned_columns().items()}

    def read(self, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
        """The rows of a request with all columns of ``cleaned``; those that nobody can send are null.

        A row names each of ``columns_of_request``, with None where a value is missing; times are ISO texts or Python's
        own, in UTC unless they say otherwise. Other columns of ``cleaned`` are passed over: nothing is made of them.

        Raises:
            RequestError: a column is missing or unknown, a value is of another type or breaks a rule of the contract.
        """
        problems: list[str] = []
        for number, row in enumerate(rows, 1):
            strange = [name for name in row if name not in self._known]
            problems += [
                f"Row {number}: there is no column {name!r}{suggest(str(name), self._asked)}" for name in strange
            ]
            lacking = [name for name in self._asked if name not in row]
            problems += [f"Row {number} lacks {name!r}; send null where it is not known." for name in lacking]
        _raise(problems)
        values = {name: [_read(row[name], rules) for row in rows] for name, rules in self._asked.items()}
        for name, found in values.items():
            problems += [
                f"Row {number}: {name!r} is not {_WORDS[self._asked[name].type]}."
                for number, value in enumerate(found, 1)
                if value is _UNREADABLE
            ]
        _raise(problems)
        columns = {name: pa.array(found, self._known[name]) for name, found in values.items()}
        if not all(all(map(keeps, values[name])) for name, keeps in self._keeps.items()):
            _raise(_judged(self._contract, pa.table(columns)))
        return _whole(self._known, columns, len(rows))


def as_request(contract: Contract, cleaned: pa.Table) -> pa.Table:
    """Cleaned rows as ``Reader`` would read them: without what nobody knows who asks."""
    known = {name: TYPES[column.type] for name, column in contract.cleaned_columns().items()}
    return _whole(known, {name: cleaned[name] for name in columns_of_request(contract)}, cleaned.num_rows)


def features_of(contract: Contract, request: pa.Table, look_up: LookUp) -> pa.Table:
    """The features of each row of a request, in order, as ``build_features`` makes them, without the answer.

    ``look_up`` is asked for the past only where there are windows. Rows do not see each other: what happened stands in
    the past, and who asks for two rows is told of each what would be told of it alone.
    """
    names = [feature.name for feature in contract.features]
    if not contract.windows.each:
        return build_features(contract, request).value.select(names)
    if request.num_rows <= 1:
        return build_features(contract, request, look_up(request)).value.select(names)
    found, order = [], []
    for places in rounds(contract, request):
        part = request.take(pa.array(places))
        found.append(build_features(contract, part, look_up(part)).value.select(names))
        order.append(places)
    back = np.argsort(np.concatenate(order), kind="stable")
    return pa.concat_tables(found).take(pa.array(back))


def rounds(contract: Contract, request: pa.Table) -> Iterator[Ints]:
    """Places of rows that may be worked on together: of one batch, none of them in the past of another, shape (n,)."""
    entities = {window.by for window in contract.windows.each}
    columns = {name: request[name].to_pylist() for by in entities for name in by}
    times = one_chunk(moments_of(contract, request)).cast(pa.int64()).fill_null(0).to_numpy()
    batches = batches_of(contract, request)
    last: dict[Any, tuple[int, int]] = {}
    chosen: dict[tuple[int, str | None], list[int]] = {}
    # Rows of the same moment never count for each other; in the order of time they come together.
    for place in np.argsort(times, kind="stable").tolist():
        moment = int(times[place])
        keys = [(by, tuple(columns[name][place] for name in by)) for by in entities]
        met = [last[key] for key in keys if key in last]
        turn = max((before + (moment != then) for before, then in met), default=0)
        last.update(dict.fromkeys(keys, (turn, moment)))
        chosen.setdefault((turn, batches[place]), []).append(place)
    yield from (np.array(places, dtype=np.int64) for places in chosen.values())


def batches_of(contract: Contract, request: pa.Table) -> list[str | None]:
    """The batch that each row would belong to; None where batches are not told by time."""
    names = tells_batch(contract)
    event_time = contract.sources[contract.spine].event_time
    if not names or event_time is None:
        return [None] * request.num_rows
    parts = dict(zip(event_time.columns, event_time.parts, strict=False))
    told = moments(EventTime(names, tuple(parts[name] for name in names if name in parts)), request)
    calendar = Calendar(contract.partitions.cadence)
    return [None if moment is None else calendar.key(moment) for moment in told.to_pylist()]


def _whole(known: Mapping[str, pa.DataType], told: Mapping[str, Any], rows: int) -> pa.Table:
    return pa.table({name: told[name] if name in told else pa.nulls(rows, kind) for name, kind in known.items()})


_UNREADABLE = object()


def _read(value: Any, column: Column) -> Any:  # noqa: PLR0911 - one return for each type
    """A value as Python's own of the column's type; ``_UNREADABLE`` when it is none."""
    if value is None:
        return None
    truth = isinstance(value, bool | np.bool_)
    match column.type:
        case "string":
            return value if isinstance(value, str) else _UNREADABLE
        case "boolean":
            return bool(value) if truth else _UNREADABLE
        case "int64":
            whole = isinstance(value, Integral) or (
                isinstance(value, float) and abs(value) < _EXACT and value.is_integer()
            )
            return int(value) if whole and not truth and int(value) in _INT else _UNREADABLE
        case "float64":
            return _float(value) if isinstance(value, Real) and not truth else _UNREADABLE
        case "date":
            return _date(value)
        case _:
            return _moment(value)


def _float(value: Any) -> Any:
    try:
        return float(value)
    except OverflowError:
        return _UNREADABLE


def _date(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            return _UNREADABLE
    return value if isinstance(value, date) and not isinstance(value, datetime) else _UNREADABLE


def _moment(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return _UNREADABLE
    if not isinstance(value, datetime):
        return _UNREADABLE
    return value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)


def _plainly(column: Column) -> Callable[[Any], bool]:
    """Whether a value surely keeps the column's rules; what does not is for pandera to say."""
    low = None if column.minimum is None else native(column, column.minimum)
    high = None if column.maximum is None else native(column, column.maximum)
    allowed = set(allowed_values(column))
    matches = re.compile(column.pattern).fullmatch if column.pattern is not None else None

    def keeps(value: Any) -> bool:
        if value is None:
            return column.nullable
        if isinstance(value, float) and not math.isfinite(value):
            return False
        if (low is not None and value < low) or (high is not None and value > high):
            return False
        return (not allowed or value in allowed) and (matches is None or matches(value) is not None)

    return keeps


def _judged(contract: Contract, table: pa.Table) -> list[str]:
    """What pandera says of a request, in sentences."""
    found: list[str] = []
    schema = schema_of_request(contract)
    # Column by column: pandera puts what failed of several into one table, which not all types survive.
    for name in table.column_names:
        for breach in breaches(schema.select_columns([name]), table.select([name])):
            where = ["The request"] if breach.rows is None else [f"Row {place + 1}" for place in breach.rows.tolist()]
            found += [f"{each}: {breach.column!r} {breach.words}." for each in where]
    return found


def _raise(problems: Sequence[str]) -> None:
    if problems:
        more = [f"There are {len(problems) - _MOST} more problems."] if len(problems) > _MOST else []
        raise RequestError(*problems[:_MOST], *more)
