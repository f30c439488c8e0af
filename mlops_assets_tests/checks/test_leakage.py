"""Features that know too much: made from the outcome, from later rows, or by chance; and those that do not."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_assets.checks.leakage import Leak, leaks, outcomes
from mlops_assets.contract.model import Contract, Evaluation, EventTime, Feature, Join, Target, Window, Windows
from mlops_assets.dbtproject.shape import SqlProject
from mlops_assets.stages.features import build_features
from mlops_assets.stages.windows import needed
from mlops_assets_tests.stages.build import column, contract, source

START = datetime(2024, 1, 5)  # noqa: DTZ001
EXCLUDED = frozenset({"excluded"})
TRIPS = source(
    column("id", "int64"),
    column("car", "string"),
    column("at", "timestamp"),
    column("km", "float64"),
    column("tip", "float64", roles=EXCLUDED),
    column("paid", "float64"),
    name="trips",
    event_time=EventTime(("at",)),
)
PAID = Window("car_paid", ("car",), "mean", over=3600.0, known_after=60.0, of="paid")
BEFORE = Window("car_trips", ("car",), "count", over=7200.0, known_after=0.0)


def rules(folder: Path, *features: Feature, **more: Any) -> Contract:
    settings: dict[str, Any] = {"target": Target("dear", "paid > 10", "binary"), "features": features}
    settings |= {"evaluation": Evaluation()} | more
    return contract(TRIPS, folder=folder, **settings)


def trips(rows: int = 40, *, of_one_moment: int = 2) -> pa.Table:
    """Trips of three cars, every minute some."""
    lot = np.random.default_rng(5)
    times = [START + timedelta(minutes=place // of_one_moment) for place in range(rows)]
    return pa.table(
        {
            "id": pa.array(range(rows), pa.int64()),
            "car": pa.array([f"car{place % 3}" for place in range(rows)], pa.string()),
            "at": pa.array(times, pa.timestamp("us")),
            "km": pa.array(lot.uniform(1, 50, rows)),
            "tip": pa.array([None if place % 4 == 0 else float(place % 5) for place in range(rows)], pa.float64()),
            "paid": pa.array(lot.uniform(1, 20, rows)),
        }
    )


def found(folder: Path, code: str, *features: Feature, rows: pa.Table | None = None, **more: Any) -> list[Leak]:
    (folder / "features.py").write_text(code)
    table = trips() if rows is None else rows
    made = rules(folder, *features, **more)
    history = trips(30).select(needed(made)) if made.windows.each else None
    return leaks(made, table, build_features(made, table, history).value, history)


def told(each: Leak) -> tuple[str, str, int, int, tuple[str, ...]]:
    return each.feature.name, each.why, each.changed, each.rows, each.columns


def computed(name: str, kind: Any = "numeric") -> Feature:
    return Feature(name, kind, computed=True, line=3)


def windowed(*windows: Window) -> list[Feature]:
    return [Feature(each.name, "numeric", window=True) for each in windows]


def test_what_is_made_of_its_own_row_is_no_leak(tmp_path: Path) -> None:
    code = """
def pace(km, car):
    return (km / 3).round(1).where(car != "car1")

def fleet(car, pace):
    return car.str.upper().where(pace > 2)
"""
    features = (Feature("km", "numeric"), computed("pace"), computed("fleet", "categorical"))
    assert found(tmp_path, code, *features) == []


def test_windows_may_look_at_outcomes_of_the_past(tmp_path: Path) -> None:
    code = "def dearer(car_paid, km):\n    return km / car_paid\n"
    features = (*windowed(PAID, BEFORE), computed("dearer"))
    for time in (None, "at"):
        windows = Windows((PAID, BEFORE), 1, time)
        assert found(tmp_path, code, *features, windows=windows) == []
        # every row of one moment, where nothing of the batch is past
        assert found(tmp_path, code, *features, windows=windows, rows=trips(of_one_moment=99)) == []


def test_a_function_that_asks_for_an_outcome_behind_the_contracts_back(tmp_path: Path) -> None:
    code = """
def haste(km):
    return km

haste = lambda km, tip, paid: km + tip.fillna(0) + paid * 0
"""
    assert [told(each) for each in found(tmp_path, code, computed("haste"))] == [
        ("haste", "outcome", 40, 40, ("tip", "paid"))
    ]
    code = code.replace(" + paid * 0", "").replace("tip.fillna(0)", "tip.fillna(0) * (km > 25)")
    (leak,) = found(tmp_path, code, computed("haste"))
    rows = trips()
    counted = sum(row["km"] > 25 and bool(row["tip"]) for row in rows.to_pylist())
    assert told(leak) == ("haste", "outcome", counted, 40, ("tip",))


def test_what_comes_after_a_leak_leaks_too(tmp_path: Path) -> None:
    code = "def a(km): ...\na = lambda km, tip: tip\ndef b(a, km):\n    return a * km\ndef c(km):\n    return km\n"
    names = [each.feature.name for each in found(tmp_path, code, computed("a"), computed("b"), computed("c"))]
    assert names == ["a", "b"]


def test_a_column_that_is_an_outcome(tmp_path: Path) -> None:
    leaked = found(tmp_path, "", Feature("tip", "numeric"), Feature("paid", "numeric"), Feature("km", "numeric"))
    assert [told(each) for each in leaked] == [
        ("tip", "outcome", 30, 40, ("tip",)),
        ("paid", "outcome", 40, 40, ("paid",)),
    ]


@pytest.mark.parametrize(
    ("what", "changed"),
    [
        ("km.groupby(car).transform('mean')", 22),
        ("km.rank(pct=True)", 21),
        ("km - km.mean()", 22),
        ("km.shift(-1)", 1),
        ("km.groupby(car).shift(-1)", 3),
    ],
)
def test_what_looks_at_rows_that_were_still_to_come(tmp_path: Path, what: str, changed: int) -> None:
    (leak,) = found(tmp_path, f"def crowd(km, car):\n    return {what}\n", computed("crowd"))
    assert told(leak) == ("crowd", "later", changed, 22, ())  # those up to the moment in the middle


def test_what_looks_at_rows_of_before_only_is_no_leak_of_the_future(tmp_path: Path) -> None:
    assert found(tmp_path, "def last(km):\n    return km.shift(1).fillna(0)\n", computed("last")) == []


def test_rows_of_one_moment_stay_together(tmp_path: Path) -> None:
    """How many trips begin in a minute is known in that minute; when all have one moment, nobody can tell."""
    code = "def crowd(km, at):\n    return km.groupby(at).transform('size')\n"
    assert found(tmp_path, code, computed("crowd"), rows=trips(of_one_moment=7)) == []
    (leak,) = found(tmp_path, code, computed("crowd"), rows=trips(of_one_moment=99))
    assert told(leak) == ("crowd", "later", 20, 20, ())


def test_an_average_of_outcomes_is_told_as_made_from_the_outcome(tmp_path: Path) -> None:
    code = "def usual(car): ...\nusual = lambda car, tip: tip.groupby(car).transform('mean')\n"
    (leak,) = found(tmp_path, code, computed("usual"))
    assert told(leak) == ("usual", "outcome", 40, 40, ("tip",))


def test_what_says_something_else_each_time(tmp_path: Path) -> None:
    code = (
        "import numpy as np\nlot = np.random.default_rng()\ndef noise(km):\n    return km + lot.normal(size=len(km))\n"
    )
    (leak,) = found(tmp_path, code, computed("noise"))
    assert told(leak) == ("noise", "itself", 40, 40, ())


def test_a_function_that_cannot_do_without(tmp_path: Path) -> None:
    code = "def whole(km): ...\nwhole = lambda km, paid: paid.astype(int)\ndef later(km):\n    return km\n"
    (leak,) = found(tmp_path, code, computed("whole"), computed("later"))
    assert (told(leak), leak.raised) == (("whole", "outcome", 40, 40, ("paid",)), "IntCastingNaNError")
    code = "def tenth(km):\n    assert len(km) == 40, 'a whole batch'\n    return km\n"
    (leak,) = found(tmp_path, code, computed("tenth"))
    assert (leak.why, leak.raised) == ("later", "AssertionError")


def test_a_window_that_was_made_from_the_future_is_found(tmp_path: Path) -> None:
    """What is stored is compared with what could be known: also where not a function but we were wrong."""
    windows = Windows((PAID,), 1, None)
    made = rules(tmp_path, *windowed(PAID), windows=windows)
    table, history = trips(), trips(30).select(needed(made))
    features = build_features(made, table, history).value
    knows = build_features(rules(tmp_path, *windowed(replace(PAID, known_after=-120.0)), windows=Windows(
        (replace(PAID, known_after=-120.0),), 1, None)), table, history).value  # fmt: skip
    assert leaks(made, table, features, history) == []
    (leak,) = leaks(made, table, knows, history)
    assert (leak.feature.name, leak.why) == ("car_paid", "later")


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_few_rows(tmp_path: Path, rows: int) -> None:
    code = "def pace(km):\n    return km / 3\n"
    windows = Windows((PAID,), 1, None)
    assert found(tmp_path, code, *windowed(PAID), computed("pace"), rows=trips(rows), windows=windows) == []


def test_without_a_time_the_first_half_of_the_rows_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "features.py").write_text("def crowd(km):\n    return km - km.mean()\n")
    settings: dict[str, Any] = {"target": Target("dear", "paid > 10", "binary"), "evaluation": Evaluation()}
    made = contract(replace(TRIPS, event_time=None), folder=tmp_path, features=(computed("crowd"),), **settings)
    (leak,) = leaks(made, trips(), build_features(made, trips()).value, None)
    assert told(leak) == ("crowd", "later", 20, 20, ())


def test_outcomes_are_excluded_or_the_targets_or_joined_by_such_or_made_of_such(tmp_path: Path) -> None:
    rates = source(column("tip", "float64"), column("rate", "float64"), name="rates", kind="reference", key=("tip",))
    cars = source(column("car", "string"), column("seats", "int64"), column("sold", "date", roles=EXCLUDED),
                  name="cars", kind="reference", key=("car",))  # fmt: skip
    made = contract(
        TRIPS,
        rates,
        cars,
        folder=tmp_path,
        target=Target("dear", "paid > 10", "binary"),
        joins=(
            Join("rates", (("tip", "tip"),), {"rate": "rate"}),
            Join("cars", (("car", "car"),), {"seats": "seats", "gone": "sold"}),
        ),
    )
    assert outcomes(made) == ("tip", "paid", "rate", "gone")
    lineage = {"km": (("trips", "km"), ("trips", "paid")), "seats": (("cars", "seats"),), "id": (("trips", "id"),)}
    sql = SqlProject(tmp_path, "", (), (), (), {}, {}, lineage=lineage)
    assert outcomes(replace(made, sql=sql)) == ("km", "tip", "paid", "rate", "gone")
