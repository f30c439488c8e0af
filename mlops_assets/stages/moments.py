"""When a row happened, and which batch it therefore belongs to.

What belongs here: a source's event time as one array, from typed columns or from a raw table. What does not: keys and
windows (``contract.calendar``), what a row of another batch means (``checks``).
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.calendar import Calendar
from mlops_assets.contract.model import EventTime, Source
from mlops_assets.errors import UserError
from mlops_assets.stages.cells import typed
from mlops_assets.stages.rows import Ints, encode, one_chunk

_UNITS = {"yearly": "year", "monthly": "month", "weekly": "week", "daily": "day", "hourly": "hour"}
_KIND = pa.timestamp("us")


def moments(event_time: EventTime, table: pa.Table) -> pa.Array:
    """The event time of each row of typed columns, timestamp[us]; null where there is no such moment."""
    if not event_time.parts:
        return one_chunk(table[event_time.columns[0]]).cast(_KIND)
    parts = dict(zip(event_time.parts, (one_chunk(table[name]) for name in event_time.columns), strict=True))
    rows = table.num_rows
    known = np.ones(rows, dtype=bool)
    numbers: dict[str, Ints] = {}
    for part, (low, high) in {"year": (1, 9999), "month": (1, 12), "day": (1, 31), "hour": (0, 23)}.items():
        column = parts.get(part, pa.nulls(rows, pa.int64()).fill_null(low))
        values = column.fill_null(-1).to_numpy()
        inside = (values >= low) & (values <= high)
        known &= inside
        numbers[part] = np.where(inside, values, low)
    months = (numbers["year"] - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (numbers["month"] - 1)
    days = months.astype("datetime64[D]") + (numbers["day"] - 1)
    known &= days.astype("datetime64[M]") == months  # there is no 30 February
    hours = days.astype("datetime64[h]") + numbers["hour"]
    return pa.array(hours.astype("datetime64[us]"), _KIND, mask=~known)


def raw_moments(source: Source, raw: pa.Table) -> pa.Array:
    """The event time of each row of a raw table, timestamp[us]; null where there is none that can be read.

    Where the contract says the ``zone`` of the times they are times of that zone, as a supplier's days are.
    """
    if source.event_time is None:
        return pa.nulls(raw.num_rows, _KIND)
    read = {}
    for name in source.event_time.columns:
        distinct, places = encode(raw[name])
        values, _ = typed(source.columns[name], source.format, distinct)
        zone = source.columns[name].zone
        if zone:
            values = pc.local_timestamp(values.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us", zone)))
        read[name] = values.take(pa.array(places))
    return moments(source.event_time, pa.table(read))


def batch_of(calendar: Calendar, times: pa.Array) -> tuple[Ints, Sequence[str]]:
    """For each row the place of its batch's key among ``keys``, -1 where it has none in the calendar; and the keys.

    The keys are in the order of time.
    """
    starts = pc.floor_temporal(times, unit=_UNITS[calendar.cadence], week_starts_monday=True)
    distinct, places = encode(starts)
    found: dict[int, str] = {}
    for place, start in enumerate(distinct.to_pylist()):
        if start is None:
            continue
        key = calendar.key(start)
        try:
            calendar.check(key)
        except UserError:
            continue
        found[place] = key
    keys = calendar.sort(set(found.values()))
    renumbered = np.array(
        [keys.index(found[place]) if place in found else -1 for place in range(len(distinct))] or [-1]
    )
    return renumbered[places] if len(places) else places, keys
