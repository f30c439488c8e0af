"""Event times of rows, and the batches they belong to."""

from datetime import date, datetime

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.contract.calendar import Calendar
from mlops_assets.contract.model import Cadence, EventTime
from mlops_assets.stages.moments import batch_of, moments, raw_moments
from mlops_assets_tests.stages.build import at, column, source

PARTS = EventTime(("y", "m", "d", "h"), ("year", "month", "day", "hour"))


@given(st.datetimes(min_value=at("0001-01-01")))
def test_parts_make_the_moment(moment: datetime) -> None:
    table = pa.table({"y": [moment.year], "m": [moment.month], "d": [moment.day], "h": [moment.hour]})
    expected = moment.replace(minute=0, second=0, microsecond=0)
    assert moments(PARTS, table).to_pylist() == [expected]


def test_what_is_no_moment_is_null() -> None:
    table = pa.table(
        {
            "y": [2023, 2024, 2024, 0, None, 2024],
            "m": [2, 13, 2, 1, 1, 1],
            "d": [29, 1, 29, 1, 1, 0],
            "h": [0, 0, 24, 0, 0, 0],
        }
    )
    assert moments(PARTS, table).null_count == 6
    assert moments(EventTime(("y", "m"), ("year", "month")), table.slice(0, 1)).to_pylist() == [at("2023-02-01")]


def test_raw_texts_have_moments_where_they_can_be_read() -> None:
    table = source(column("id", "int64"), column("day", "date", format="%d.%m.%Y"))
    raw = pa.table({"day": ["05.01.2024", "31.02.2024", None, "x"]})
    assert raw_moments(table, raw).to_pylist() == [at("2024-01-05"), None, None, None]
    assert raw_moments(source(column("id", "int64")), raw).null_count == 4


@given(
    st.lists(st.dates(date(1999, 1, 1), date(2004, 1, 1)) | st.none(), max_size=20),
    st.sampled_from(["daily", "weekly", "monthly", "yearly"]),
)
def test_rows_go_to_the_batch_that_the_calendar_says(days: list[date | None], cadence: Cadence) -> None:
    start = {"yearly": "2000", "monthly": "2000-02", "weekly": "2000-02-07"}.get(cadence, "2000-02-01")
    calendar = Calendar(cadence, start)
    times = pa.array([None if day is None else at(day.isoformat()) for day in days], pa.timestamp("us"))
    places, keys = batch_of(calendar, times)
    found = [keys[place] if place >= 0 else None for place in np.asarray(places).tolist()]
    first = calendar.window(calendar.start or "")[0].date()
    assert found == [None if day is None or day < first else calendar.key(day) for day in days]
    assert list(keys) == calendar.sort(set(keys))
