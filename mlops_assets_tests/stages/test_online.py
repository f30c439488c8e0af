"""The table of what serving must know of the past."""

from dataclasses import replace
from datetime import date, datetime

import pyarrow as pa
import pytest

from mlops_assets.contract.model import Contract, EventTime, Window, Windows
from mlops_assets.stages.online import counting, moments_of, remember, schema_of
from mlops_assets.stages.schemas import breaches, schema_of_online
from mlops_assets_tests.stages.build import at, contract, source

CLEANED = pa.table(
    {
        "id": pa.array([1, 2, 3, 4]),
        "day": pa.array([date(2024, 1, 5), date(2024, 1, 6), None, date(2024, 1, 7)]),
        "shop": pa.array(["north", None, "south", "west"]),
        "price": pa.array([1.5, 2.0, 7.0, None]),
        "paid": pa.array([2, 0, 1, None]),
    }
)


def rules(*windows: Window, time: str | None = None) -> Contract:
    return contract(windows=Windows(windows or (PAID, SEEN), 1, time))


PAID = Window("spent", by=("shop",), take="sum", of="paid + price", over=9.0, known_after=0.0)
SEEN = Window("seen", by=("shop",), take="count", over=9.0, known_after=0.0)


def test_one_row_for_each_cleaned_row_with_its_moment_and_what_windows_need() -> None:
    made = remember(rules(), CLEANED)
    assert made.value.column_names == ["_moment", "day", "shop", "price", "paid"]
    assert made.value["_moment"].to_pylist() == [at("2024-01-05"), at("2024-01-06"), None, at("2024-01-07")]
    assert made.value.drop_columns("_moment").equals(CLEANED.drop_columns("id"))
    assert made.facts == {"rows": 4, "counting": 2, "windows": {"spent": 1, "seen": 2}}


def test_which_rows_can_count() -> None:
    online = remember(rules(), CLEANED).value
    assert counting(rules(), online).tolist() == [True, False, False, True]
    assert counting(rules(PAID), online).tolist() == [True, False, False, False]
    assert counting(rules(PAID), online.slice(0, 0)).tolist() == []


def test_the_moment_is_that_of_the_windows() -> None:
    table = CLEANED.append_column("seen", pa.array([at("2024-02-01T10:00")] * 4, pa.timestamp("us")))
    assert set(moments_of(rules(time="seen"), table).to_pylist()) == {datetime(2024, 2, 1, 10)}  # noqa: DTZ001
    parts = EventTime(("id", "paid"), ("day", "hour"))
    by_parts = replace(rules(), sources={"sales": source(event_time=parts)})
    assert moments_of(by_parts, CLEANED).to_pylist()[0] == datetime(1, 1, 1, 2)  # noqa: DTZ001


def test_its_schema_is_that_of_the_contract() -> None:
    made = remember(rules(), CLEANED).value
    assert dict(zip(made.column_names, made.schema.types, strict=True)) == dict(schema_of(rules()))
    assert breaches(schema_of_online(rules()), made) == []
    wrong = made.set_column(4, "paid", pa.array([1.0] * 4)).drop_columns("shop")
    assert [(each.column, each.words) for each in breaches(schema_of_online(rules()), wrong)] == [
        ("shop", "is not there"),
        ("paid", "holds double instead of int64"),
    ]


@pytest.mark.parametrize("rows", [0, 1])
def test_few_rows(rows: int) -> None:
    assert remember(rules(), CLEANED.slice(0, rows)).value.num_rows == rows
