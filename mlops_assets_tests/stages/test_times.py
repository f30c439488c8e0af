"""Dates and times that read in two ways, time zones, and hours that were twice or never."""

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.contract.model import FileFormat
from mlops_assets.stages.cells import read
from mlops_assets.stages.times import swapped
from mlops_assets_tests.stages.build import at, column, judged, told

EUROPEAN = {"format": "%d/%m/%Y"}


def values(kind: str, *texts: str, **rules: Any) -> list[Any]:
    """What is read of texts."""
    found: list[Any] = read(column("x", kind, **rules), FileFormat(), pa.array(texts)).values.to_pylist()
    return found


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("05/01/2024", "; it reads as 2024-01-05 (%d/%m/%Y) or as 2024-05-01 (%m/%d/%Y): say which with 'format'"),
        ("05.05.2024", "; it reads as 2024-05-05 (%d.%m.%Y) or as 2024-05-05 (%m.%d.%Y): say which with 'format'"),
        ("13/01/2024", '; it reads as 2024-01-13 (%d/%m/%Y): set format: "%d/%m/%Y"'),
        ("01-13-2024", '; it reads as 2024-01-13 (%m-%d-%Y): set format: "%m-%d-%Y"'),
        ("2024/1/5", "; it reads as 2024-01-05 (%Y/%m/%d) or as 2024-05-01 (%Y/%d/%m): say which with 'format'"),
        ("20240131", '; it reads as 2024-01-31 (%Y%m%d): set format: "%Y%m%d"'),
        ("31/31/2024", ""),
        ("05/01.2024", ""),
    ],
)
def test_a_date_without_a_format_is_refused_with_every_reading(text: str, hint: str) -> None:
    assert told("date", text) == f"x: {text!r} is not a date (YYYY-MM-DD){hint}"


def test_a_time_without_a_format_is_refused_with_every_reading() -> None:
    assert told("timestamp", "05.01.2024 10:30") == (
        "x: '05.01.2024 10:30' is not a time (YYYY-MM-DDTHH:MM:SS); it reads as 2024-01-05 (%d.%m.%Y %H:%M) or as "
        "2024-05-01 (%m.%d.%Y %H:%M): say which with 'format'"
    )
    assert told("timestamp", "2024-01-05 10:30:00.5-05:00").endswith('set format: "%Y-%m-%d %H:%M:%S.%f%z"')


def test_a_format_that_reads_a_hinted_text_does() -> None:
    assert values("timestamp", "2024-01-05 10:30:00.5-05:00", format="%Y-%m-%d %H:%M:%S.%f%z") == [
        at("2024-01-05T15:30:00.500000")
    ]


def test_hints_of_a_sensitive_column_name_formats_only() -> None:
    hidden = frozenset({"sensitive"})
    assert told("date", "05/01/2024", roles=hidden) == (
        "x: a value is not a date (YYYY-MM-DD); it reads as %d/%m/%Y or as %m/%d/%Y: say which with 'format'"
    )
    assert told("float64", "1,25", roles=hidden) == (
        "x: a value is not a number; it could be read with format: {decimal: ','}"
    )
    sentences = judged("date", "05/02/2024", "01/13/2024", "02/14/2024", roles=hidden, **EUROPEAN)[1]
    assert not any("2024" in sentence for sentence in sentences)


def test_two_dates_in_the_other_order_cast_doubt_on_all_that_read_both_ways() -> None:
    found, sentences = judged("date", "05/02/2024", "31/01/2024", "03/03/2024", "01/13/2024", "02/14/2024", **EUROPEAN)
    assert found == [None, date(2024, 1, 31), date(2024, 3, 3), None, None]
    assert sentences[0] == (
        "x: '05/02/2024' may be another day: others of the batch can only be %m/%d/%Y; it reads as 2024-02-05 "
        "(%d/%m/%Y) or as 2024-05-02 (%m/%d/%Y)"
    )


def test_one_slip_of_a_digit_casts_no_doubt() -> None:
    assert judged("date", "05/02/2024", "01/13/2024", **EUROPEAN)[0] == [date(2024, 2, 5), None]


@pytest.mark.parametrize(
    ("pattern", "other"),
    [("%d/%m/%Y", "%m/%d/%Y"), ("%m.%d.%y %H", "%d.%m.%y %H"), ("%Y-%m-%d", None), ("%d %b %Y", None), ("%Y-%j", None)],
)
def test_which_formats_are_confused(pattern: str, other: str | None) -> None:
    assert swapped(pattern) == other


def test_times_without_a_zone_among_others_that_say_utc() -> None:
    found, sentences = judged("timestamp", "2024-01-05T10:00:00Z", "2024-01-05T11:00:00", "x")
    assert found == [at("2024-01-05T10:00"), None, None]
    assert sentences[0] == (
        "x: '2024-01-05T11:00:00' says no time zone, where other times of the batch do; ask for one, or set 'zone'"
    )
    assert values("timestamp", "2024-01-05T11:00:00", "2024-01-06") == [at("2024-01-05T11:00"), at("2024-01-06")]


def test_local_times_become_utc() -> None:
    assert values("timestamp", "2024-01-05T10:00", "2024-07-05T10:00", "2024-07-05T10:00Z", zone="Europe/Berlin") == [
        at("2024-01-05T09:00"),
        at("2024-07-05T08:00"),
        at("2024-07-05T10:00"),
    ]
    assert values("timestamp", "05.01.2024 10:00", zone="Asia/Kolkata", format="%d.%m.%Y %H:%M") == [
        at("2024-01-05T04:30")
    ]


def test_hours_that_never_were_and_hours_that_were_twice() -> None:
    texts = ("2024-03-31T02:30:00", "2024-10-27T02:30:00", "2024-10-27T03:00:00")
    found, sentences = judged("timestamp", *texts, zone="Europe/Berlin")
    assert found == [None, None, at("2024-10-27T02:00")]
    assert sentences == [
        "x: '2024-03-31T02:30:00' never was in Europe/Berlin: the clocks were put forward",
        (
            "x: '2024-10-27T02:30:00' was twice in Europe/Berlin: the clocks were put back; it is 2024-10-27T00:30:00Z "
            "or 2024-10-27T01:30:00Z"
        ),
    ]
    hidden = judged("timestamp", texts[1], zone="Europe/Berlin", roles=frozenset({"sensitive"}))[1]
    assert hidden == ["x: a value was twice in Europe/Berlin: the clocks were put back"]


@given(st.datetimes(at("1980-01-01"), at("2030-01-01")), st.sampled_from(["Europe/Berlin", "America/New_York", "UTC"]))
def test_zones_agree_with_python(moment: datetime, zone: str) -> None:
    """Python tells the two readings of a local time by ``fold``; they are the same moment unless there is doubt."""
    moment = moment.replace(microsecond=0)
    first, second = (moment.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC) for fold in (0, 1))
    wanted = first.replace(tzinfo=None) if first == second else None
    assert values("timestamp", moment.isoformat(), zone=zone) == [wanted]


def test_delivered_times_without_a_zone_are_local_too() -> None:
    naive = pa.array([at("2024-07-05T10:00")], pa.timestamp("ms"))
    zoned = naive.cast(pa.timestamp("ms", "UTC"))
    table = column("x", "timestamp", zone="Europe/Berlin")
    assert read(table, FileFormat("parquet"), naive).values.to_pylist() == [at("2024-07-05T08:00")]
    assert read(table, FileFormat("parquet"), zoned).values.to_pylist() == [at("2024-07-05T10:00")]


def test_a_time_of_day_is_not_cut_off_a_date() -> None:
    found, sentences = judged("date", "2024-01-05 00:00", "2024-01-05 10:30", format="%Y-%m-%d %H:%M")
    assert found == [date(2024, 1, 5), None]
    assert sentences == ["x: '2024-01-05 10:30' has a time of day, which a date cannot keep; declare a timestamp"]


# ---- numbers


@pytest.mark.parametrize(
    ("kind", "text", "rules", "value"),
    [
        ("int64", "1,234,567", {"thousands": ","}, 1234567),
        ("int64", "-12.000", {"thousands": "."}, -12000),
        ("int64", "1234", {"thousands": ","}, 1234),
        ("float64", "1,234.5", {"thousands": ","}, 1234.5),
        ("float64", "1 234\u202f567", {"thousands": " "}, 1234567.0),
        ("float64", "1'234.5", {"thousands": "'"}, 1234.5),
        ("int64", "1,23,456", {"thousands": ","}, None),
        ("int64", "1234,567", {"thousands": ","}, None),
        ("int64", ",123", {"thousands": ","}, None),
        ("float64", "1,234.567,8", {"thousands": ","}, None),
        ("int64", "1,234", {}, None),
    ],
)
def test_thousands_are_read_where_they_are_declared_and_right(
    kind: str, text: str, rules: dict[str, Any], value: object
) -> None:
    assert values(kind, text, **rules) == [value]


@pytest.mark.parametrize(
    ("kind", "text", "hint"),
    [
        ("float64", "1,5", "; it is 1.5 with format: {decimal: ','}"),
        ("float64", "1,234", "; it is 1234 with thousands: ',' or it is 1.234 with format: {decimal: ','}"),
        ("float64", "1.234,5", "; it is 1234.5 with thousands: '.' and format: {decimal: ','}"),
        ("int64", "1.234", "; it is 1234 with thousands: '.'"),
        ("int64", "1.5", ""),
        ("float64", "1,2,3", ""),
    ],
)
def test_numbers_that_another_word_of_the_contract_would_read(kind: str, text: str, hint: str) -> None:
    assert told(kind, text) == f"x: {text!r} is not a {'whole ' * (kind == 'int64')}number{hint}"


def test_a_key_in_two_spellings_is_no_key() -> None:
    keys = frozenset({"key"})
    found, sentences = judged("int64", "007", "7", "8", "+9", "010", roles=keys)
    assert found == [None, None, 8, 9, 10]
    assert sentences[0] == (
        "x: '007' is written in several ways in this batch; where leading zeros tell keys apart, declare a string"
    )
    assert judged("int64", "007", "7")[0] == [7, 7]
    assert judged("int64", "01", "1", roles=keys | {"time"})[0] == [1, 1]


@pytest.mark.parametrize("kind", ["int64", "float64", "boolean", "date", "timestamp"])
@pytest.mark.parametrize("text", [" ", "\u00a0", "N/A", "null", "-", "?"])
def test_words_that_may_mean_no_value(kind: str, text: str) -> None:
    assert told(kind, text).endswith("; where it means no value, name it in 'missing'")
    assert judged(kind, text, missing=(text,)) == ([None], [])


def test_yes_and_no_are_texts() -> None:
    assert told("boolean", "Yes") == "x: 'Yes' is not true or false; declare a string with the two 'values'"


@pytest.mark.parametrize(
    ("kind", "text", "hint"),
    [
        ("date", "45296", "days as Excel does and be 2024-01-05 00:00"),
        ("date", "1704412800", "seconds since 1970 and be 2024-01-05 00:00"),
        ("timestamp", "1704449045", "seconds since 1970 and be 2024-01-05 10:04"),
        ("timestamp", "1704449045123", "milliseconds since 1970 and be 2024-01-05 10:04"),
    ],
)
def test_a_number_that_may_count_time_is_refused_with_what_it_may_be(kind: str, text: str, hint: str) -> None:
    assert told(kind, text).endswith(f"; it may count {hint}: ask for a written time")
    assert "2024" not in told(kind, text, roles=frozenset({"sensitive"})).replace("YYYY", "")


@pytest.mark.parametrize(
    ("zone", "text"),
    [("Europe/Berlin", "0001-01-01T00:30:00"), ("America/New_York", "9999-12-31T23:59:59"), ("UTC", None)],
)
def test_a_time_whose_utc_no_calendar_has(zone: str, text: str | None) -> None:
    if text is not None:
        assert told("timestamp", text, zone=zone) == f"x: '{text}' is outside of the years 1 to 9999 in UTC"
    for known in ("0001-01-02T00:00:00", "9999-12-30T00:00:00"):
        assert judged("timestamp", known, zone=zone)[1] == []
