"""What may be wrong with values: numbers, keys, dates and times."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from mlops_assets_tests.stages.build import column
from mlops_assets_tests.stages.corpus.account import BATCH_REFUSED, PARTLY, TAKEN, Case
from mlops_assets_tests.stages.corpus.make import ALL, HEADER, ONE, ROWS, TWO, cell, delivery, every, put, table_with


def _numbers() -> Iterator[Case]:
    semicolons: dict[str, Any] = {"header": HEADER.replace(",", ";")}
    commas = [row.replace(",", ";").replace(".25", ",25") for row in ROWS]
    comma = lambda text: float(text.replace(",", "."))  # noqa: E731
    yield delivery(
        "number",
        "decimal commas, undeclared",
        BATCH_REFUSED,
        (0, 60, 0),
        "'0,25' is not a number; it is 0.25 with format: {decimal: ','}",
        body=commas,
        table=table_with(delimiter=";"),
        **semicolons,
    )
    yield delivery(
        "number",
        "decimal commas as declared",
        TAKEN,
        ALL,
        body=commas,
        table=table_with(delimiter=";", decimal=","),
        means={"price": comma},
        **semicolons,
    )
    yield delivery(
        "number",
        "a decimal point where commas are declared",
        PARTLY,
        ONE,
        "'3.25' is not a number; it is 3.25 with format: {decimal: '.'}",
        body=[*commas[:3], commas[3].replace("3,25", "3.25"), *commas[4:]],
        table=table_with(delimiter=";", decimal=","),
        means={"price": comma},
        **semicolons,
    )
    yield delivery(
        "number",
        "a decimal comma that splits the row",
        PARTLY,
        ONE,
        "line 5: the line has 7 fields where the header has 6",
        body=cell(3, price="3,25"),
    )
    yield delivery(
        "number",
        "a number that reads in two ways",
        PARTLY,
        ONE,
        "'1,234' is not a number; it is 1234 with thousands: ',' or it is 1.234 with format: {decimal: ','}",
        body=cell(3, price='"1,234"'),
    )
    grouped = table_with(column("price", "float64", thousands=","), column("paid", "int64", thousands=","))
    yield delivery(
        "number",
        "thousands as declared",
        TAKEN,
        ALL,
        body=cell(3, price='"1,234,567.5"', paid='"12,000"'),
        table=grouped,
        means={"price": lambda text: float(text.replace(",", "")), "paid": lambda text: int(text.replace(",", ""))},
    )
    yield delivery(
        "number",
        "thousands in groups of another size",
        PARTLY,
        ONE,
        "'1,23,456' is not a whole number",
        body=cell(3, paid='"1,23,456"'),
        table=grouped,
    )
    for text, words in (
        ("oops", "is not a whole number"),
        ("0x10", "is not a whole number"),
        ("1.0", "is not a whole number"),
        (" 7", "is not a whole number"),
        ("99999999999999999999", "does not fit in 64 bits"),
        ("٣", "is not a whole number"),
        ("#REF!", "is not a whole number"),
    ):
        yield delivery(
            "number",
            f"{text!r} for a whole number",
            PARTLY,
            ONE,
            f"line 5: paid: {text!r} {words}",
            body=cell(3, paid=text),
        )
    for text, words in (
        ("1e999", "kept exactly enough"),
        ("1e-999", "kept exactly enough"),
        ("NaN", "is not a number"),
        ("inf", "is not a number"),
        ("$3", "is not a number"),
        ("0x1p3", "is not a number"),
    ):
        yield delivery(
            "number", f"{text!r} for a number", PARTLY, ONE, f"line 5: price: {text!r}", words, body=cell(3, price=text)
        )


def _keys() -> Iterator[Case]:
    yield delivery("key", "keys with leading zeros keep them", TAKEN, ALL, body=cell(3, id="3"))
    whole = table_with(column("id", "int64", nullable=False, roles=frozenset({"key"})))
    yield delivery("key", "leading zeros of whole numbers, every key once", TAKEN, ALL, table=whole)
    yield delivery(
        "key",
        "007 and 7 are one number",
        PARTLY,
        TWO,
        "id: '0007' is written in several ways",
        "declare a string",
        body=put(30, "7,2024-01-03,north,1.5,1,x"),
        table=whole,
    )
    yield delivery("key", "an exact duplicate", TAKEN, (59, 0, 1), body=put(30, ROWS[10]))
    yield delivery(
        "key",
        "the same key with other values",
        PARTLY,
        TWO,
        "the same key stands on line 12 with other values",
        body=put(30, ROWS[10].replace("note", "nota")),
    )
    secret = table_with(column("note", "string", pattern="note [0-9]+", roles=frozenset({"sensitive"})))
    yield delivery(
        "key",
        "a sensitive value",
        PARTLY,
        ONE,
        "line 5: note: a value does not match the pattern",
        body=cell(3, note="4711-secret"),
        table=secret,
        never=("4711", "secret"),
    )
    yield delivery("key", "no key", PARTLY, ONE, "line 5: id: has no value", body=cell(3, id=""))
    yield delivery(
        "key",
        "a blank behind a code",
        PARTLY,
        ONE,
        "shop: 'north ' is not one of north, south, west",
        body=cell(3, shop="north "),
    )


def _times() -> Iterator[Case]:
    ambiguous = every(day=lambda n: f"{n % 12 + 1:02}/{n % 28 + 1:02}/2024")
    european = table_with(column("day", "date", nullable=False, format="%d/%m/%Y"))
    read = {"day": lambda text: datetime.strptime(text, "%d/%m/%Y").date()}  # noqa: DTZ007
    both = (
        "'05/01/2024' is not a date (YYYY-MM-DD); it reads as 2024-01-05 (%d/%m/%Y) or as 2024-05-01 (%m/%d/%Y): say "
        "which with 'format'"
    )
    yield delivery("date", "one date that reads in two ways", PARTLY, ONE, both, body=cell(3, day="05/01/2024"))
    yield delivery(
        "date",
        "one that reads in one way only",
        PARTLY,
        ONE,
        'it reads as 2024-01-15 (%d/%m/%Y): set format: "%d/%m/%Y"',
        body=cell(3, day="15/01/2024"),
    )
    yield delivery("date", "all of them, without a format", BATCH_REFUSED, (0, 60, 0), "60 of 60 rows", body=ambiguous)
    yield delivery(
        "date",
        "days first, as declared",
        TAKEN,
        ALL,
        body=every(day=lambda n: f"{n % 28 + 1:02}/01/2024"),
        table=european,
        means=read,
    )
    mixed = [
        *every(day=lambda n: f"{n % 28 + 1:02}/01/2024")[:58],
        "0058,01/29/2024,south,1,1,x",
        "0059,01/30/2024,west,1,1,y",
    ]
    yield delivery(
        "date",
        "months first in some rows, days first declared",
        BATCH_REFUSED,
        (35, 25, 0),
        "may be another day: others of the batch can only be %m/%d/%Y",
        body=mixed,
        table=european,
        means=read,
    )
    yield delivery("date", "30 February", PARTLY, ONE, "'2024-02-30' is not a date", body=cell(3, day="2024-02-30"))
    yield delivery(
        "date", "a year of two digits", PARTLY, ONE, "(%d.%m.%y)", "(%m.%d.%y)", body=cell(3, day="01.02.24")
    )
    yield delivery(
        "date", "no separators", PARTLY, ONE, "it reads as 2024-01-05 (%Y%m%d)", body=cell(3, day="20240105")
    )
    hidden = table_with(column("day", "date", nullable=False, roles=frozenset({"sensitive"})))
    yield delivery(
        "date",
        "a sensitive date in two ways",
        PARTLY,
        ONE,
        "day: a value is not a date (YYYY-MM-DD); it reads as %d/%m/%Y or as %m/%d/%Y",
        body=cell(3, day="05/01/2024"),
        table=hidden,
        never=("2024-01-05", "05/01"),
    )
    moments = table_with(column("day", "timestamp", nullable=False))
    yield delivery(
        "time",
        "UTC, and no zone in others",
        PARTLY,
        TWO,
        "says no time zone, where other times of the batch do",
        body=[
            *every(day=lambda n: f"2024-01-01T10:{n:02}:00Z")[:58],
            *every(day=lambda n: f"2024-01-01T10:{n:02}:00")[58:],
        ],
        table=moments,
    )
    yield delivery(
        "time",
        "an offset without a format",
        PARTLY,
        ONE,
        'it says an offset from UTC: set format: "%Y-%m-%dT%H:%M:%S%z"',
        body=cell(3, day="2024-01-01T10:00:00+02:00"),
        table=moments,
    )
    yield delivery(
        "time",
        "24 o'clock",
        PARTLY,
        ONE,
        "'2024-01-01T24:00' is not a time",
        body=cell(3, day="2024-01-01T24:00"),
        table=moments,
    )
    berlin = table_with(column("day", "timestamp", nullable=False, zone="Europe/Berlin"))
    local = every(day=lambda n: f"{datetime(2024, 3, 30, 20, tzinfo=UTC) + timedelta(minutes=n):%Y-%m-%dT%H:%M:%S}")
    gone = [
        *local[:3],
        local[3].replace("2024-03-30T20", "2024-03-31T02"),
        local[4].replace("2024-03-30T20", "2024-10-27T02"),
        *local[5:],
    ]
    yield delivery(
        "time",
        "local times that never were, or were twice",
        PARTLY,
        TWO,
        "'2024-03-31T02:03:00' never was in Europe/Berlin",
        "was twice in Europe/Berlin: the clocks were put back; it is 2024-10-27T00:04:00Z or 2024-10-27T01:04:00Z",
        body=gone,
        table=berlin,
        means={"day": in_berlin},
    )
    dated = table_with(column("day", "date", nullable=False, format="%Y-%m-%d %H:%M"))
    yield delivery(
        "time",
        "a time of day in a date",
        PARTLY,
        ONE,
        "day: '2024-01-05 10:30' has a time of day, which a date cannot keep",
        body=[*every(day=lambda _: "2024-01-05 00:00")[:59], "0059,2024-01-05 10:30,west,1,1,x"],
        table=dated,
        means={"day": lambda text: date.fromisoformat(text[:10])},
    )


def in_berlin(text: str) -> datetime:
    """A local time in UTC, without a zone."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC).replace(tzinfo=None)


def cases() -> Iterator[Case]:
    """All of them."""
    yield from _numbers()
    yield from _keys()
    yield from _times()
