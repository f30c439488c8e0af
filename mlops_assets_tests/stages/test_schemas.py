"""Schemas of the tables between our stages follow the contract, and say what a table does against them."""

from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas
import pyarrow as pa
import pytest
from pandera.errors import SchemaErrors

from mlops_assets.contract.load import load_contract
from mlops_assets.contract.model import Admission, Contract, Feature, Join, Target, Window, Windows
from mlops_assets.stages.clean import clean
from mlops_assets.stages.features import build_features
from mlops_assets.stages.schemas import breaches, schema_of_features, schema_of_request, schema_of_splits
from mlops_assets_tests.stages.build import ROWS, column, contract, csv_text, sifted, source

FLIGHTS = Path(__file__).parents[2] / "data" / "flights"
FEATURES = (
    Feature("price", "numeric", uses=("price",)),
    Feature("shop", "categorical", uses=("shop",)),
    Feature("weekday", "numeric", computed=True, uses=("day",)),
)


def told(schema: Any, table: pa.Table) -> list[tuple[str, str, list[int] | None]]:
    return [
        (each.column, each.words, each.rows.tolist() if each.rows is not None else None)
        for each in breaches(schema, table)
    ]


def shop(**more: Any) -> Contract:
    return contract(**({"features": FEATURES} | more))


def table(**changed: Any) -> pa.Table:
    """A feature table of three rows."""
    columns = {
        "price": pa.array([1.5, None, 7.0]),
        "shop": pa.array(["north", "south", "west"]),
        "weekday": pa.array([4.0, 5.0, None]),
        "target": pa.array([True, False, None]),
    }
    return pa.table(columns | changed)


def test_a_table_that_keeps_to_it() -> None:
    assert told(schema_of_features(shop()), table()) == []
    assert told(schema_of_splits(), pa.table({"bucket": pa.array([0, 9_999], pa.int16())})) == []


@pytest.mark.parametrize(
    ("changed", "breach"),
    [
        ({"price": pa.array([-1.0, 2.0, -3.0])}, ("price", "is below the minimum 0", [0, 2])),
        ({"price": pa.array([1.0, float("inf"), float("nan")])}, ("price", "is not finite", [1, 2])),
        ({"price": pa.array([1, 2, 3])}, ("price", "holds int64 instead of double", None)),
        ({"shop": pa.array(["north", "x", None])}, ("shop", "is not one of north, south, west", [1])),
        ({"shop": pa.array(["north", None, None])}, ("shop", "has no value", [1, 2])),
        ({"weekday": pa.array(["a", "b", "c"])}, ("weekday", "holds string instead of double", None)),
        ({"target": pa.array([1, 0, 1])}, ("target", "holds int64 instead of bool", None)),
        ({"more": pa.array([1, 2, 3])}, ("more", "should not be there", None)),
    ],
)
def test_what_a_column_does_against_it(changed: dict[str, Any], breach: tuple[str, str, list[int] | None]) -> None:
    assert breach in told(schema_of_features(shop()), table(**changed))
    if breach[2] is None:
        assert told(schema_of_features(shop()), table(**changed)) == [breach]


def test_a_column_that_is_not_there_is_told_once() -> None:
    assert told(schema_of_features(shop()), table().drop(["shop"])) == [("shop", "is not there", None)]


def test_columns_are_told_in_their_order() -> None:
    wrong = table(price=pa.array([-1.0, 1.0, 1.0]), weekday=pa.array([1, 2, 3]), shop=pa.array(["x", "y", "z"]))
    assert [breach.column for breach in breaches(schema_of_features(shop()), wrong)] == ["price", "shop", "weekday"]


def test_what_somebody_let_in_is_no_breach(tmp_path: Path) -> None:
    said = (Admission("sales", "price: is below the minimum", "ann@example.org", "A voucher.", {"id": "4"}),)
    (tmp_path / "features.py").write_text("def weekday(day):\n    return day.dt.dayofweek\n")
    rules = shop(admitted=said, folder=tmp_path)
    account = {"sales": sifted(tmp_path, csv_text(*ROWS, "4,2024-01-08,north,-5,1"), rules=rules)}
    made = build_features(rules, clean(rules, {"sales": account["sales"].accepted}, account).value)
    assert min(price for price in made.value["price"].to_pylist() if price is not None) == -5
    assert told(schema_of_features(rules), made.value) == []
    assert told(schema_of_features(shop(folder=tmp_path)), made.value) == [("price", "is below the minimum 0", [3])]


def test_joined_columns_may_be_missing_and_have_their_own_rules() -> None:
    theirs = source(
        column("name", "string", nullable=False), column("size", "int64", nullable=False, maximum=9), name="s"
    )
    join = Join("s", (("shop", "name"),), {"room": "size"})
    rules = contract(source(), theirs, joins=(join,), features=(Feature("room", "numeric", uses=("room",)),))
    empty = {"target": pa.nulls(3, pa.bool_()), "group:shop": pa.nulls(3, pa.string())}
    assert told(schema_of_features(rules), pa.table({"room": pa.array([1.0, None, 10.0]), **empty})) == [
        ("room", "is above the maximum 9", [2])
    ]


@pytest.mark.parametrize(
    ("kind", "as_kind", "good", "bad"),
    [
        ("int64", "categorical", pa.array(["1", "2"]), pa.array(["1", "3"])),
        ("int64", "numeric", pa.array([1.0, 2.0]), pa.array([1.0, 3.0])),
        ("float64", "numeric", pa.array([1.0, 2.0]), pa.array([1.0, 3.0])),
        ("boolean", "numeric", pa.array([1.0, 0.0]), None),
        ("boolean", "categorical", pa.array(["true", "false"]), None),
    ],
)
def test_values_as_features_hold_them(kind: str, as_kind: Any, good: pa.Array, bad: pa.Array | None) -> None:
    values = () if kind == "boolean" else (1, 2)
    rules = contract(
        source(column("x", kind, values=values), column("y", "string")),
        features=(Feature("x", as_kind, uses=("x",)),),
        target=Target("t", "y", "multiclass"),
        evaluation=contract().evaluation.__class__(),
    )
    answers = pa.array(["a", "b"])
    assert told(schema_of_features(rules), pa.table({"x": good, "target": answers})) == []
    if bad is not None:
        assert told(schema_of_features(rules), pa.table({"x": bad, "target": answers})) == [
            ("x", "is not one of 1, 2", [1])
        ]


def test_a_request_has_the_columns_that_features_are_made_from() -> None:
    schema = schema_of_request(shop())
    assert isinstance(schema, pandera.pandas.DataFrameSchema)
    assert list(schema.columns) == ["day", "shop", "price"]
    good = pa.table(
        {
            "day": pa.array([0], pa.date32()),
            "shop": pa.array(["north"]),
            "price": pa.array([None], pa.float64()),
        }
    )
    assert told(schema, good) == []
    assert told(schema, good.drop(["day"])) == [("day", "is not there", None)]
    assert told(schema, good.set_column(1, "shop", pa.array(["x"]))) == [
        ("shop", "is not one of north, south, west", [0])
    ]
    frame = good.to_pandas(types_mapper=pd.ArrowDtype)
    assert schema.validate(frame).equals(frame)
    with pytest.raises(SchemaErrors):
        schema.validate(frame.assign(paid=1), lazy=True)


def test_a_window_is_a_number_or_nothing_and_a_count_never_below_zero() -> None:
    windows = (Window("visits", ("shop",), "count", 1, 0), Window("paid_before", ("shop",), "sum", 1, 0, "paid"))
    features = tuple(Feature(each.name, "numeric", window=True, uses=("shop", "day")) for each in windows)
    rules = contract(windows=Windows(windows), features=features)
    schema = schema_of_features(rules)
    answers = {"target": pa.array([True, False]), "group:shop": pa.array(["north", None])}
    good = {"visits": pa.array([0.0, None]), "paid_before": pa.array([-1.5, None])}
    assert told(schema, pa.table(good | answers)) == []
    bad = {"visits": pa.array([-1.0, None]), "paid_before": pa.array([float("inf"), None])}
    assert told(schema, pa.table(bad | answers)) == [
        ("visits", "is below the minimum 0", [0]),
        ("paid_before", "is not finite", [0]),
    ]
    assert set(schema_of_request(rules).columns) == {"shop", "day"}


def test_the_flights_ask_for_nothing_that_is_known_only_afterwards() -> None:
    rules = load_contract(FLIGHTS)
    asked = set(schema_of_request(rules).columns)
    assert {"carrier", "distance", "temp", "built"} <= asked
    late = {name for name, each in rules.cleaned_columns().items() if "excluded" in each.roles}
    assert late
    assert not asked & late
    assert schema_of_request(rules).columns["distance"].nullable is False
    assert schema_of_request(rules).columns["temp"].nullable is True
