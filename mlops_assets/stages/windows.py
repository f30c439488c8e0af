"""Features from the past of a row's entity, as far as it was known when the row happened (``model.Window``).

What belongs here: which rows count for a row, and what is taken of them. What does not: which batches are looked back
at (``assets``), the other features (``features``), adding up (``exactsums``).

A value depends on the rows that count and on nothing else, to the last bit: one row alone and a whole batch give the
same, and so do tables in any order. The past is searched by sorted numbers, so that a batch costs little more than
sorting it.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.expression import parse
from mlops_assets.contract.model import Contract, EventTime, Window
from mlops_assets.stages.exactsums import Floats, stretch_sums
from mlops_assets.stages.moments import moments
from mlops_assets.stages.rows import Ints, Truths, codes, combine, one_chunk

_MICRO = 1_000_000


def needed(contract: Contract) -> list[str]:
    """The columns of ``cleaned`` that the rows of the past must have, in its order; none where there is no window."""
    names = {name for window in contract.windows.each for name in (*window.by, *_of(window))}
    if contract.windows.each:
        names |= {*_event_time(contract).columns}
    return [name for name in contract.cleaned_columns() if name in names]


def windowed(contract: Contract, cleaned: pa.Table, history: pa.Table) -> dict[str, pa.Array]:
    """The value of each window for each row of ``cleaned``, in order; float64, shape (rows,), null where there is none.

    ``history`` has the columns ``needed`` and the rows of earlier batches, in any order; rows of ``cleaned`` are past
    of each other as well. A column of an expression that ``cleaned`` lacks is missing in its rows: who asks for a
    prediction knows no outcomes.
    """
    if not contract.windows.each:
        return {}
    past = _Past(contract, cleaned, history)
    return {window.name: _value(window, past.stretches(window)) for window in contract.windows.each}


@dataclass(frozen=True, slots=True)
class _Stretches:
    """What counts for whom: values that count, and for each row where its own lie among them.

    ``values`` are in the order of entity and moment, those of one moment from ``first`` of each on; ``starts`` and
    ``ends`` are half-open, one pair for each entity and moment that is asked for, and ``pair`` gives the row's. Rows
    that are not ``asked`` have no past that could be looked up.
    """

    values: Floats
    first: Ints
    starts: Ints
    ends: Ints
    pair: Ints
    asked: Truths


class _Past:
    """The rows of a batch, which come first, and of its history, as numbers."""

    def __init__(self, contract: Contract, cleaned: pa.Table, history: pa.Table) -> None:
        own = _own(cleaned, history, needed(contract))
        near = _near(contract, own, history.select(own.column_names))
        self._table = pa.concat_tables([own, near]).combine_chunks()
        self._rows = cleaned.num_rows
        times = moments(_event_time(contract), self._table)
        self._timed = times.is_valid().to_numpy(zero_copy_only=False)
        numbers = times.cast(pa.int64()).fill_null(0).to_numpy()
        self._moments, self._rank = (each.astype(np.int64) for each in np.unique(numbers, return_inverse=True))
        self._entities: dict[tuple[str, ...], tuple[Ints, Truths]] = {}
        self._values: dict[str, tuple[Floats, Truths]] = {}

    def stretches(self, window: Window) -> _Stretches:
        """What counts of the past for each row of the batch."""
        entity, named = self._entity(window.by)
        values, there = self._value(window.of)
        before, until = self._bounds(window)
        # a number for each entity and moment, in the order of both
        width = len(self._moments) + 1
        numbers = entity * width + self._rank
        counted = np.flatnonzero(named & self._timed & there)
        counted = counted[np.argsort(numbers[counted], kind="stable")]
        ordered = numbers[counted]
        asked = (named & self._timed)[: self._rows]
        pairs, pair = np.unique(numbers[: self._rows][asked], return_inverse=True)
        base, rank = pairs - pairs % width, pairs % width
        return _Stretches(
            values[counted],
            np.searchsorted(ordered, ordered).astype(np.int64),
            np.searchsorted(ordered, base + before[rank]).astype(np.int64),
            np.searchsorted(ordered, base + until[rank]).astype(np.int64),
            pair.astype(np.int64),
            asked,
        )

    def _bounds(self, window: Window) -> tuple[Ints, Ints]:
        """For each moment the ranks from which on, and up to which, rows count for what happens then."""
        lag, over = round(window.known_after * _MICRO), round(window.over * _MICRO)
        before = np.searchsorted(self._moments, self._moments - lag - over, side="right")
        until = np.searchsorted(self._moments, self._moments - lag, side="right" if lag else "left")
        return before.astype(np.int64), until.astype(np.int64)

    def _entity(self, by: tuple[str, ...]) -> tuple[Ints, Truths]:
        """A number below the number of rows for each row's entity, and which rows have one."""
        if by not in self._entities:
            columns = [self._table[name] for name in by]
            numbers = combine([codes(column) for column in columns], self._table.num_rows)
            named = np.ones(self._table.num_rows, dtype=bool)
            for column in columns:
                named &= one_chunk(column).is_valid().to_numpy(zero_copy_only=False)
            if len(by) > 1:
                numbers = np.unique(numbers, return_inverse=True)[1].astype(np.int64)
            self._entities[by] = numbers, named
        return self._entities[by]

    def _value(self, of: str | None) -> tuple[Floats, Truths]:
        """What is taken, and which rows have it."""
        key = of or ""
        if key not in self._values:
            rows = self._table.num_rows
            if of is None:
                self._values[key] = np.zeros(rows), np.ones(rows, dtype=bool)
            else:
                found = one_chunk(parse(of).evaluate(self._table))
                if pa.types.is_boolean(found.type):
                    found = found.cast(pa.int8())
                numbers = found.cast(pa.float64(), safe=False)
                there = pc.is_finite(numbers).fill_null(False).to_numpy(zero_copy_only=False)
                # adding 0 makes 0 of a negative one, so that the least of both has one sign
                self._values[key] = numbers.fill_null(0.0).to_numpy() + 0.0, there
        return self._values[key]


def _value(window: Window, found: _Stretches) -> pa.Array:
    starts, ends = found.starts, found.ends
    count = (ends - starts).astype(np.float64)
    filled = ends > starts
    with np.errstate(invalid="ignore", divide="ignore"):
        match window.take:
            case "count":
                value, filled = count, np.ones(len(count), dtype=bool)
            case "sum":
                value = stretch_sums(found.values, starts, ends)
            case "mean":
                value = stretch_sums(found.values, starts, ends) / count
            case "last":
                newest = np.append(found.first, 0)[np.where(filled, ends - 1, -1)]
                value = stretch_sums(found.values, np.where(filled, newest, ends), ends) / (ends - newest)
            case "minimum":
                value = -_greatest(-found.values, starts, ends) + 0.0
            case _:
                value = _greatest(found.values, starts, ends)
    values, known = np.zeros(len(found.asked)), np.zeros(len(found.asked), dtype=bool)
    values[found.asked], known[found.asked] = value[found.pair], filled[found.pair]
    return pa.array(values, pa.float64(), mask=~known)


def _greatest(values: Floats, starts: Ints, ends: Ints) -> Floats:
    """The greatest value of each stretch, by tables of stretches of 1, 2, 4, ... values; anything where it is empty."""
    found = np.zeros(len(starts))
    lengths = ends - starts
    levels = np.frexp(np.maximum(lengths, 1).astype(np.float64))[1] - 1
    table = values
    for level in range(int(levels.max(initial=0)) + 1):
        here = np.flatnonzero((levels == level) & (lengths > 0))
        found[here] = np.maximum(table[starts[here]], table[ends[here] - 2**level])
        table = np.maximum(table[: -(2**level)], table[2**level :])
    return found


def _own(cleaned: pa.Table, history: pa.Table, names: list[str]) -> pa.Table:
    """The batch's own rows with the columns of the past."""
    columns = {
        name: cleaned[name] if name in cleaned.column_names else pa.nulls(cleaned.num_rows, history[name].type)
        for name in names
    }
    return pa.table(columns)


def _near(contract: Contract, own: pa.Table, history: pa.Table) -> pa.Table:
    """The rows of the past without those that no window reaches from the first of the batch's own."""
    first = pc.min(moments(_event_time(contract), own))
    if not first.is_valid:
        return history.slice(0, 0)
    reach = max(round(each.known_after * _MICRO) + round(each.over * _MICRO) for each in contract.windows.each)
    times = moments(_event_time(contract), history).cast(pa.int64())
    return history.filter(pc.greater(times, first.cast(pa.int64()).as_py() - reach))


def _of(window: Window) -> tuple[str, ...]:
    return parse(window.of).columns if window.of is not None else ()


def _event_time(contract: Contract) -> EventTime:
    """When a row happened; the loader sees to it that something says so."""
    if contract.windows.time is not None:
        return EventTime((contract.windows.time,))
    return cast("EventTime", contract.sources[contract.spine].event_time)
