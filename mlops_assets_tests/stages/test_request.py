"""What a request must say, what is said of one that does not, and who sees whom in one."""

import math
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.contract.model import Contract, Evaluation, EventTime, Feature, Join, Partitions, Window, Windows
from mlops_assets.stages.request import Reader, RequestError, as_request, batches_of, features_of, rounds
from mlops_assets.stages.schemas import breaches, columns_of_request, schema_of_request
from mlops_assets_tests.stages.build import at, column, contract, source

TRIPS = source(
    column("id", "int64", nullable=False),
    column("day", "date", nullable=False),
    column("at", "timestamp"),
    column("car", "string", pattern="[a-z]+[0-9]"),
    column("seats", "int64", minimum=1, maximum=9),
    column("price", "float64", nullable=False, minimum=0.5),
    column("share", "float64", values=(0.0, 0.25)),
    column("kind", "string", values=("van", "bus")),
    column("new", "boolean", nullable=False),
    column("paid", "float64", roles=frozenset({"excluded"})),
    name="trips",
)
ASKED = ("day", "at", "car", "seats", "price", "share", "kind", "new")
SEEN = Window("seen", by=("car",), take="count", over=99.0, known_after=0.0)
BY_KIND = Window("by_kind", by=("kind",), take="sum", of="paid", over=99.0, known_after=0.0)
GOOD: dict[str, Any] = {
    "day": "2024-01-05",
    "at": "2024-01-05T10:00:00Z",
    "car": "ab1",
    "seats": 4,
    "price": 2,
    "share": None,
    "kind": "van",
    "new": True,
}


def rules(*windows: Window, **more: Any) -> Contract:
    features = tuple(Feature(name, "numeric", uses=(name,)) for name in ASKED)
    windows = windows or (SEEN,)
    asked = tuple(Feature(each.name, "numeric", window=True, uses=(*each.by, "at")) for each in windows)
    settings_: dict[str, Any] = {
        "features": (*features, *asked),
        "windows": Windows(windows, 1, "at"),
        "evaluation": Evaluation(),
    }
    return contract(TRIPS, **(settings_ | more))


def told(row: dict[str, Any]) -> list[str]:
    with pytest.raises(RequestError) as caught:
        Reader(rules()).read([row])
    return list(caught.value.sentences)


def test_a_request_becomes_a_row_of_cleaned() -> None:
    table = Reader(rules()).read([GOOD, GOOD | {"share": 0, "seats": 4.0, "at": None, "paid": "an outcome", "id": 1}])
    assert table.schema == pa.schema(
        [
            ("id", pa.int64()), ("day", pa.date32()), ("at", pa.timestamp("us")), ("car", pa.string()),
            ("seats", pa.int64()), ("price", pa.float64()), ("share", pa.float64()), ("kind", pa.string()),
            ("new", pa.bool_()), ("paid", pa.float64()),
        ]
    )  # fmt: skip
    one = {"id": None, "day": date(2024, 1, 5), "at": at("2024-01-05T10:00"), "car": "ab1", "seats": 4, "price": 2.0}
    one |= {"share": None, "kind": "van", "new": True, "paid": None}
    assert table.to_pylist() == [one, one | {"share": 0.0, "at": None}]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"car": 7}, "Row 1: 'car' is not a text."),
        ({"car": "x"}, "Row 1: 'car' does not match the pattern [a-z]+[0-9]."),
        ({"seats": 4.5}, "Row 1: 'seats' is not a whole number."),
        ({"seats": True}, "Row 1: 'seats' is not a whole number."),
        ({"seats": 2**63}, "Row 1: 'seats' is not a whole number."),
        ({"seats": 1e300}, "Row 1: 'seats' is not a whole number."),
        ({"seats": 10}, "Row 1: 'seats' is above the maximum 9."),
        ({"price": "2"}, "Row 1: 'price' is not a number."),
        ({"price": 10**400}, "Row 1: 'price' is not a number."),
        ({"price": None}, "Row 1: 'price' has no value."),
        ({"price": 0.25}, "Row 1: 'price' is below the minimum 0.5."),
        ({"price": math.inf}, "Row 1: 'price' is not finite."),
        ({"share": 0.3}, "Row 1: 'share' is not one of 0.0, 0.25."),
        ({"kind": "car"}, "Row 1: 'kind' is not one of van, bus."),
        ({"new": 1}, "Row 1: 'new' is not true or false."),
        ({"day": "5 January"}, "Row 1: 'day' is not a date like 2013-01-31."),
        ({"day": datetime(2024, 1, 5, tzinfo=UTC)}, "Row 1: 'day' is not a date like 2013-01-31."),
        ({"day": None}, "Row 1: 'day' has no value."),
        ({"at": date(2024, 1, 5)}, "Row 1: 'at' is not a time like 2013-01-31T05:15:00Z."),
        ({"at": "noon"}, "Row 1: 'at' is not a time like 2013-01-31T05:15:00Z."),
        ({"kindd": "van"}, "Row 1: there is no column 'kindd'; did you mean 'kind'?"),
    ],
)
def test_what_a_request_may_not_say(changed: dict[str, Any], sentence: str) -> None:
    assert told(GOOD | changed) == [sentence]


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(RequestError) as caught:
        Reader(rules()).read([GOOD, {"price": 1}, GOOD | {"x": 1}])
    assert caught.value.sentences == (
        *(f"Row 2 lacks {name!r}; send null where it is not known." for name in ASKED if name != "price"),
        "Row 3: there is no column 'x'; known are 'at', 'car', 'day', 'kind', 'new', 'price', 'seats', 'share'.",
    )
    with pytest.raises(RequestError) as caught:
        Reader(rules()).read([GOOD | {"seats": 0}] * 30)
    assert len(caught.value.sentences) == 21
    assert caught.value.sentences[-1] == "There are 10 more problems."


def test_numbers_of_numpy_and_times_of_other_zones() -> None:
    east = datetime(2024, 1, 5, 12, tzinfo=timezone(timedelta(hours=2)))
    table = Reader(rules()).read(
        [GOOD | {"seats": np.int64(3), "price": np.float32(0.5), "new": np.bool_(False), "at": east}]
    )
    found = table.select(["seats", "price", "new", "at"]).to_pylist()[0]
    assert found == {"seats": 3, "price": 0.5, "new": False, "at": at("2024-01-05T10:00")}


def refused(rows: list[dict[str, Any]]) -> set[str]:
    """What is said against some rows."""
    try:
        Reader(rules()).read(rows)
    except RequestError as error:
        return set(error.sentences)
    return set()


VALUES: dict[str, Any] = {
    "day": st.sampled_from([None, "2024-01-05", date(1, 1, 1)]),
    "at": st.sampled_from([None, at("2024-01-05"), "9999-12-31T23:59:59.999999"]),
    "car": st.one_of(st.none(), st.text(max_size=3), st.sampled_from(["a1", "a1\n", "ß1", "a¹"])),
    "seats": st.one_of(st.none(), st.integers(-1, 11), st.sampled_from([9.0, 2**63 - 1])),
    "price": st.one_of(st.none(), st.floats(), st.sampled_from([0.5, 0.49999999999999994, 2])),
    "share": st.one_of(st.none(), st.sampled_from([0.0, -0.0, 0.25, 0.1, math.nan])),
    "kind": st.sampled_from([None, "van", "bus", "Van", ""]),
    "new": st.sampled_from([None, True, False]),
}


@settings(max_examples=60, deadline=None)
@given(changes=st.lists(st.fixed_dictionaries({}, optional=VALUES), min_size=1, max_size=2))
def test_what_is_let_through_is_what_pandera_lets_through(changes: list[dict[str, Any]]) -> None:
    rows = [GOOD | change for change in changes]
    known = columns_of_request(rules())
    typed: dict[str, Any] = {
        "date": lambda value: date.fromisoformat(value) if isinstance(value, str) else value,
        "timestamp": lambda value: datetime.fromisoformat(value) if isinstance(value, str) else value,
        "int64": lambda value: None if value is None else int(value),
        "float64": lambda value: None if value is None else float(value),
    }
    plain = {name: [typed.get(each.type, lambda v: v)(row[name]) for row in rows] for name, each in known.items()}
    schema = schema_of_request(rules())
    table = pa.table(
        {name: pa.array(plain[name], schema.columns[name].dtype.type.pyarrow_dtype) for name in schema.columns}
    )
    wrong = [
        breach
        for name in table.column_names
        for breach in breaches(schema.select_columns([name]), table.select([name]))
    ]
    words = {
        f"Row {row + 1}: {breach.column!r} {breach.words}."
        for breach in wrong
        for row in (breach.rows.tolist() if breach.rows is not None else ())
    }
    assert refused(rows) == words


def test_what_nobody_can_send_is_not_there() -> None:
    cleaned = Reader(rules()).read([GOOD]).set_column(9, "paid", pa.array([5.0])).set_column(0, "id", pa.array([1]))
    asked = as_request(rules(), cleaned)
    assert asked.schema == cleaned.schema
    assert asked.to_pylist() == Reader(rules()).read([GOOD]).to_pylist()


def test_joined_columns_come_with_the_request() -> None:
    prices = source(column("car", "string"), column("fee", "float64", nullable=False), name="prices", kind="reference")
    joined = contract(
        TRIPS,
        prices,
        joins=(Join("prices", (("car", "car"),), {"toll": "fee"}),),
        features=(Feature("toll", "numeric", uses=("toll",)),),
    )
    assert Reader(joined).read([{"toll": 2.5}])["toll"].to_pylist() == [2.5]
    assert Reader(joined).read([{"toll": None}])["toll"].to_pylist() == [None]


# --- who sees whom --------------------------------------------------------------------------------------------------


def asked(*rows: tuple[str | None, int | None], **more: Any) -> pa.Table:
    """Rows of a car and a minute of the fifth of January."""
    times = [None if minute is None else f"2024-01-05T10:{minute:02}:00" for _, minute in rows]
    return Reader(rules()).read(
        [GOOD | {"car": car, "at": time} | more for (car, _), time in zip(rows, times, strict=True)]
    )


def together(table: pa.Table, of: Contract | None = None) -> list[list[int]]:
    return sorted(sorted(places.tolist()) for places in rounds(of or rules(), table))


def test_rows_of_one_entity_take_turns_unless_they_happen_at_once() -> None:
    assert together(asked(("a1", 0), ("b1", 1), ("c1", 2))) == [[0, 1, 2]]
    assert together(asked(("a1", 5), ("a1", 5), ("b1", 2))) == [[0, 1, 2]]
    assert together(asked(("a1", 5), ("a1", 6), ("b1", 7))) == [[0, 2], [1]]
    assert together(asked(("a1", 6), ("a1", 5), ("a1", 6), ("a1", 7))) == [[0, 2], [1], [3]]
    assert together(asked()) == []


def test_of_several_entities_each_keeps_rows_apart() -> None:
    table = asked(("a1", 0), ("b1", 1), ("c1", 1), kind="van")
    assert together(table, rules(SEEN, BY_KIND)) == [[0], [1, 2]]


def test_rows_of_different_batches_take_turns() -> None:
    days = [GOOD | {"day": f"2024-0{month}-05", "car": car} for month, car in ((1, "a1"), (2, "b1"), (1, "c1"))]
    table = Reader(rules()).read(days)
    assert batches_of(rules(), table) == ["2024-01", "2024-02", "2024-01"]
    assert together(table) == [[0, 2], [1]]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([None, "a1", "b1"]), st.one_of(st.none(), st.integers(0, 3))), max_size=9))
def test_nobody_in_a_round_is_in_the_past_of_another(rows: list[tuple[str | None, int | None]]) -> None:
    found = list(rounds(rules(), asked(*rows)))
    assert sorted(place for places in found for place in places.tolist()) == list(range(len(rows)))
    for places in found:
        met: dict[str, int | None] = {}
        for place in places.tolist():
            car, minute = rows[place]
            if car is not None and minute is not None:
                assert met.setdefault(car, minute) == minute


PARTS: Any = ("year", "month", "day", "hour")


@pytest.mark.parametrize(
    ("event_time", "cadence", "names", "batch"),
    [
        (EventTime(("day",)), "monthly", ("day",), "2024-01"),
        (EventTime(("day",)), "weekly", ("day",), "2024-01-01"),
        (EventTime(("day",)), "named", (), None),
        (EventTime(("day",)), "none", (), None),
        (None, "monthly", (), None),
        (EventTime(("y", "m", "d", "h"), PARTS), "monthly", ("y", "m"), "2024-01"),
        (EventTime(("h", "d", "m", "y"), ("hour", "day", "month", "year")), "daily", ("d", "m", "y"), "2024-01-05"),
        (EventTime(("y", "m", "d", "h"), PARTS), "hourly", ("y", "m", "d", "h"), "2024-01-05T07"),
        (EventTime(("y", "m"), ("year", "month")), "yearly", ("y",), "2024"),
    ],
)  # fmt: skip
def test_what_tells_the_batch_of_a_row(
    event_time: EventTime | None, cadence: Any, names: tuple[str, ...], batch: str | None
) -> None:
    numbers = [column(name, "int64") for name in ("y", "m", "d", "h")]
    spine = source(
        column("id", "int64"), column("day", "date"), column("at", "timestamp"), column("car", "string"), *numbers
    )
    spine = source(*spine.columns.values(), event_time=event_time)
    of = contract(
        spine,
        partitions=Partitions(cadence, "2024-01"),
        features=(Feature("seen", "numeric", window=True, uses=("car", "at")),),
        windows=Windows((SEEN,), 0, "at"),
    )
    assert set(columns_of_request(of)) == {"car", "at", *names}
    row: dict[str, Any] = {"car": "a1", "at": None, "day": "2024-01-05", "y": 2024, "m": 1, "d": 5, "h": 7}
    assert batches_of(of, Reader(of).read([row])) == [batch]


def test_features_of_rows_without_windows(tmp_path: Path) -> None:
    (tmp_path / "features.py").write_text("def double(price):\n    return price * 2\n")
    of = contract(
        TRIPS,
        folder=tmp_path,
        features=(Feature("double", "numeric", computed=True, uses=("price",)),),
        evaluation=Evaluation(),
    )
    found = features_of(
        of, Reader(of).read([{"price": 1.5}, {"price": 2}]), lambda _: pytest.fail("no past is asked for")
    )
    assert found.to_pydict() == {"double": [3.0, 4.0]}
