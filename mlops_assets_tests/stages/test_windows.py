"""Features from the past against looking at every row; what may not change them."""

import math
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.contract.model import Contract, Evaluation, EventTime, Feature, Target, Window, Windows
from mlops_assets.stages.features import build_features
from mlops_assets.stages.windows import needed, windowed
from mlops_assets_tests.stages.build import column, contract, source

START = datetime(2024, 1, 5)  # noqa: DTZ001
MINUTE = 60.0
TAKES: tuple[Any, ...] = ("count", "sum", "mean", "minimum", "maximum", "last")
Row = tuple[str | None, int | None, int | None, float | None]
"""A car, its colour, the minute, what was paid."""

TRIPS = source(
    column("id", "int64"),
    column("car", "string"),
    column("colour", "int64"),
    column("at", "timestamp"),
    column("paid", "float64"),
    column("day", "date"),
    name="trips",
)


def rules(*windows: Window, time: str | None = "at") -> Contract:
    return contract(TRIPS, windows=Windows(windows, 1, time))


def window(take: Any = "mean", over: float = 5, known_after: float = 2, **more: Any) -> Window:
    """A window of minutes over what a car's trips paid."""
    settings: dict[str, Any] = {"by": ("car",), "of": "paid"} | more
    return Window("x", take=take, over=over * MINUTE, known_after=known_after * MINUTE, **settings)


def table(rows: Sequence[Row]) -> pa.Table:
    times = [None if minute is None else START + timedelta(minutes=minute) for _, _, minute, _ in rows]
    return pa.table(
        {
            "id": pa.array(range(len(rows)), pa.int64()),
            "car": pa.array([car for car, _, _, _ in rows], pa.string()),
            "colour": pa.array([colour for _, colour, _, _ in rows], pa.int64()),
            "at": pa.array(times, pa.timestamp("us")),
            "paid": pa.array([paid for _, _, _, paid in rows], pa.float64(), from_pandas=False),
            "day": pa.array([date(2024, 1, 5)] * len(rows), pa.date32()),
        }
    )


def values(of: Window, rows: Sequence[Row], past: Sequence[Row] = ()) -> list[float | None]:
    found: list[float | None] = windowed(rules(of), table(rows), table(past))["x"].to_pylist()
    return found


def plainly(of: Window, rows: Sequence[Row], past: Sequence[Row] = ()) -> list[float | None]:
    """The same by looking at every row for every row."""
    return [one(of, row, [*past, *rows]) for row in rows]


def one(of: Window, row: Row, rows: Sequence[Row]) -> float | None:
    now = row[2]
    if now is None or any(value is None for value in entity(of, row)):
        return None
    counted: list[tuple[int, float]] = []
    for other in rows:
        then, paid = other[2], other[3] if of.of else 0.0
        if then is None or paid is None or not math.isfinite(paid) or entity(of, other) != entity(of, row):
            continue
        known = then * MINUTE + of.known_after
        if then < now and now * MINUTE - of.over < known <= now * MINUTE:
            counted.append((then, paid))
    paid_then = [paid for _, paid in counted]
    newest = [paid for then, paid in counted if then == max(counted)[0]]
    if of.take == "count":
        return float(len(counted))
    if not counted:
        return None
    return {
        "sum": lambda: math.fsum(paid_then),
        "mean": lambda: math.fsum(paid_then) / len(counted),
        "minimum": lambda: min(paid_then),
        "maximum": lambda: max(paid_then),
        "last": lambda: math.fsum(newest) / len(newest),
    }[of.take]()


def entity(of: Window, row: Row) -> tuple[Any, ...]:
    return tuple({"car": row[0], "colour": row[1]}[name] for name in of.by)


PAID = st.none() | st.floats(-1e6, 1e6) | st.sampled_from([0.1, 1e16, -1e16, math.nan, math.inf])
ROWS = st.lists(
    st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from([1, 2, None]), st.none() | st.integers(0, 12), PAID),
    max_size=25,
)
WINDOWS = st.builds(
    window,
    st.sampled_from(TAKES),
    st.integers(1, 8),
    st.integers(0, 6),
    by=st.sampled_from([("car",), ("colour",), ("car", "colour")]),
)


@settings(deadline=None)
@given(ROWS, ROWS, WINDOWS)
def test_values_agree_with_looking_at_every_row(rows: list[Row], past: list[Row], of: Window) -> None:
    assert values(of, rows, past) == plainly(of, rows, past)


@settings(deadline=None)
@given(ROWS, ROWS, WINDOWS)
def test_what_comes_later_or_is_not_known_yet_never_changes_a_value(
    rows: list[Row], more: list[Row], of: Window
) -> None:
    """Take away, for one row after another, all that nobody knew when it happened."""
    before = values(of, rows, more)
    for place, row in enumerate(rows):
        if row[2] is None:
            continue
        now = row[2]
        known = [
            other
            for other in [*rows[:place], *rows[place + 1 :], *more]
            if other[2] is None or (other[2] < now and other[2] * MINUTE + of.known_after <= now * MINUTE)
        ]
        assert values(of, [row], known) == [before[place]]


@settings(deadline=None)
@given(ROWS, ROWS, WINDOWS, st.randoms(use_true_random=False))
def test_one_row_alone_and_any_order_give_the_same_bits(
    rows: list[Row], past: list[Row], of: Window, chance: Any
) -> None:
    at_once = values(of, rows, past)
    for place, row in enumerate(rows):
        others = [*rows[:place], *rows[place + 1 :], *past]
        chance.shuffle(others)
        assert values(of, [row], others) == [at_once[place]]
        same = [other for other in others if entity(of, other) == entity(of, row)]
        assert values(of, [row], same) == [at_once[place]]


@pytest.mark.parametrize(
    ("known_after", "expected"),
    [(0, [0, 1, 1, 3, 3, 5]), (2, [0, 0, 0, 3, 3, 3]), (3, [0, 0, 0, 1, 1, 3])],
)
def test_rows_of_the_same_moment_never_count_each_other(known_after: int, expected: list[float]) -> None:
    rows: list[Row] = [("a", 1, minute, 1.0) for minute in (0, 1, 1, 3, 3, 4)]
    assert values(window("count", 100, known_after), rows) == expected


def test_both_ends_of_a_window() -> None:
    trips: list[Row] = [("a", 1, minute, float(minute)) for minute in range(10)]
    # known two minutes later, for five minutes: at 9 what happened from 3 to 7
    assert values(window("minimum"), trips)[9] == 3.0
    assert values(window("maximum"), trips)[9] == 7.0
    assert values(window("last"), trips)[9] == 7.0
    assert values(window("count"), trips)[9] == 5.0
    assert values(window("mean"), trips)[:4] == [None, None, 0.0, 0.5]


def test_truths_and_expressions_are_numbers() -> None:
    trips: list[Row] = [("a", 1, 0, 1.0), ("a", 1, 1, 5.0), ("a", 1, 2, None), ("a", 1, 9, 0.0)]
    assert values(window("mean", 100, of="paid > 2"), trips)[3] == 0.5
    assert values(window("sum", 100, of="paid * colour + 1"), trips)[3] == 8.0
    assert values(window("count", 100, of="paid"), trips)[3] == 2.0
    assert values(window("count", 100, of=None), trips)[3] == 3.0
    assert values(window("sum", 100, of="paid is null"), trips)[3] == 1.0


def test_who_has_no_time_or_no_name_has_no_past() -> None:
    trips: list[Row] = [("a", 1, 0, 1.0), (None, 1, 5, 1.0), ("a", 1, None, 1.0), ("b", 1, 5, 1.0)]
    assert values(window("count"), trips) == [0.0, None, None, 0.0]
    assert values(window("sum"), trips) == [None, None, None, None]


def test_a_request_lacks_the_columns_of_outcomes() -> None:
    request = table([("a", 1, 9, None)]).drop_columns(["paid"])
    past = table([("a", 1, 5, 3.0)])
    assert windowed(rules(window()), request, past)["x"].to_pylist() == [3.0]


def test_the_columns_that_the_past_must_have() -> None:
    several = rules(window(of="paid > id"), window("count", by=("colour",), of=None))
    assert needed(several) == ["id", "car", "colour", "at", "paid"]
    assert needed(rules()) == []
    event_time = contract(
        source(*TRIPS.columns.values(), event_time=EventTime(("day",))), windows=Windows((window("count", of=None),))
    )
    assert needed(event_time) == ["car", "day"]


def test_a_past_with_its_own_columns_alone_is_enough() -> None:
    of = window()
    past = table([("a", 1, 5, 3.0)]).select(needed(rules(of)))
    assert windowed(rules(of), table([("a", 1, 9, 1.0)]), past)["x"].to_pylist() == [3.0]


def test_no_row_and_no_past() -> None:
    assert values(window(), []) == []
    assert values(window("maximum"), [("a", 1, 5, 1.0)]) == [None]


def test_windows_are_features_with_their_share_of_rows_without_a_past() -> None:
    both = (window("count", 100, 0), Window("paid_before", ("car",), "last", 6000, 0, "paid"))
    of = contract(
        TRIPS,
        windows=Windows(both, 1, "at"),
        features=(Feature("x", "numeric", window=True), Feature("paid_before", "numeric", window=True)),
        target=Target("paid", "paid", "regression"),
        evaluation=Evaluation(),
    )
    rows: list[Row] = [("a", 1, 0, None), ("a", 1, 1, 7.0), ("a", 1, 2, 8.0), (None, 1, 2, 8.0)]
    made = build_features(of, table(rows), table([("b", 1, 0, 1.0)]))
    assert made.value.select(["x", "paid_before"]).to_pydict() == {
        "x": [0.0, 0.0, 1.0, None],
        "paid_before": [None, None, 7.0, None],
    }
    assert made.facts["no_past"] == {"x": 0.75, "paid_before": 0.75}
    assert build_features(of, table(rows)).value == made.value
