"""Event times of rows, and the batches they belong to."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
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


@pytest.mark.parametrize(
    ("times", "batch"),
    [
        (("2024-07-05T00:00", "2024-07-05T23:59"), "2024-07-05"),
        (("2024-03-31T00:00", "2024-03-31T01:59", "2024-03-31T03:00", "2024-03-31T23:59"), "2024-03-31"),
        (("2024-10-27T00:00", "2024-10-27T00:30Z", "2024-10-27T01:30Z", "2024-10-27T23:59"), "2024-10-27"),
    ],
)
def test_batches_are_days_of_the_declared_zone(times: tuple[str, ...], batch: str) -> None:
    """On a summer's day, and on the days on which the clocks are put forward and back."""
    sold = source(
        column("id", "int64"), column("day", "timestamp", zone="Europe/Berlin"), event_time=EventTime(("day",))
    )
    raw = pa.table({"id": [str(n) for n in range(len(times))], "day": list(times)})
    found = raw_moments(sold, raw)
    places, keys = batch_of(Calendar("daily", "2024-01-01"), found)
    assert ([*keys], set(places.tolist())) == ([batch], {0})
    local = [datetime.fromisoformat(each) if "Z" not in each else in_berlin(each.removesuffix("Z")) for each in times]
    assert found.to_pylist() == local


def in_berlin(text: str) -> datetime:
    """A moment of UTC as Berlin's clocks showed it."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).astimezone(ZoneInfo("Europe/Berlin")).replace(tzinfo=None)
