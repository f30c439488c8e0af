"""Columns and functions as features, answers, and what functions may not do."""

import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlops_assets.contract.model import Evaluation, Feature, Target
from mlops_assets.errors import ContractError
from mlops_assets.stages.features import build_features
from mlops_assets.stages.made import Made
from mlops_assets_tests.stages.build import at, contract

CLEANED = pa.table(
    {
        "id": pa.array([1, 2, 3]),
        "day": pa.array([date(2024, 1, 5), date(2024, 1, 6), date(2024, 1, 7)]),
        "shop": pa.array(["north", "south", None]),
        "price": pa.array([1.5, None, 7.0]),
        "paid": pa.array([2, 0, None]),
        "open": pa.array([True, None, False]),
        "at": pa.array([at("2024-01-05T10:00"), None, at("2024-01-07")], pa.timestamp("us")),
    }
)


def computed(name: str, kind: Any = "numeric") -> Feature:
    return Feature(name, kind, computed=True, line=31)


def built(folder: Path, code: str, *features: Feature, **more: Any) -> Made:
    (folder / "features.py").write_text(code)
    return build_features(contract(folder=folder, features=features, **more), CLEANED)


def refusal(folder: Path, code: str, *features: Feature) -> str:
    with pytest.raises(ContractError) as caught:
        built(folder, code, *features)
    return str(caught.value).replace(str(folder), "shop")


def test_columns_become_features() -> None:
    features = (
        Feature("id", "numeric"),
        Feature("open", "numeric"),
        Feature("price", "numeric"),
        Feature("shop", "categorical"),
        Feature("paid", "categorical"),
    )
    made = build_features(contract(features=features), CLEANED)
    assert made.value.schema == pa.schema(
        [(name, pa.float64()) for name in ("id", "open", "price")]
        + [("shop", pa.string()), ("paid", pa.string()), ("target", pa.bool_())]
    )
    assert made.value.to_pylist()[:2] == [
        {"id": 1.0, "open": 1.0, "price": 1.5, "shop": "north", "paid": "2", "target": True},
        {"id": 2.0, "open": None, "price": None, "shop": "south", "paid": "0", "target": False},
    ]
    assert made.facts == {
        "rows": 3,
        "answered": 2,
        "missing": {"id": 0, "open": 1, "price": 1, "shop": 1, "paid": 1},
        "constant": [],
        "positive": 1,
    }


def test_groups_that_are_no_features_follow() -> None:
    made = build_features(contract(evaluation=Evaluation(groups=("shop", "id", "open"))), CLEANED)
    assert made.value.column_names == ["price", "shop", "target", "group:id", "group:open"]
    assert made.value["group:id"].to_pylist() == ["1", "2", "3"]
    assert made.value["group:open"].to_pylist() == ["true", None, "false"]


@pytest.mark.parametrize(
    ("target", "kind", "answers", "positive"),
    [
        (Target("t", "shop", "binary", positive="north"), "string", ["north", "south", None], 1),
        (Target("t", "paid", "binary", positive=2), "int64", [2, 0, None], 1),
        (Target("t", "price / paid", "regression"), "double", [0.75, None, None], None),
        (Target("t", "paid", "regression"), "double", [2.0, 0.0, None], None),
        (Target("t", "shop", "multiclass"), "string", ["north", "south", None], None),
    ],
)
def test_answers_have_the_type_of_their_expression(
    target: Target, kind: str, answers: list[Any], positive: int | None
) -> None:
    made = build_features(contract(target=target), CLEANED)
    assert str(made.value["target"].type) == kind
    assert made.value["target"].to_pylist() == answers
    assert made.facts.get("positive") == positive


CODE = """
import pandas as pd

LOG = []

def weekday(day: pd.Series) -> pd.Series:
    assert day.dtype.kind == "M"
    return day.dt.dayofweek

def double(weekday, price):
    LOG.append((str(weekday.dtype), str(price.dtype)))
    return weekday * 2 + price

def spent(id, paid):
    assert id.dtype == "int64" and paid.dtype == "float64"
    return paid

def size(shop):
    assert shop.dtype == object
    return shop.str.len().map({5: "five"})

def hour(at):
    return at.dt.hour

def greedy(price):
    price[:] = 0
    return price

def known(shop):
    return shop.notna()

def level(shop):
    return shop.astype("category")
"""


def test_functions_get_series_and_may_use_features_before_them(tmp_path: Path) -> None:
    numbers = ("weekday", "double", "spent", "hour", "greedy", "known")
    made = built(tmp_path, CODE, *map(computed, numbers), Feature("price", "numeric"),
                 computed("size", "categorical"), computed("level", "categorical"))  # fmt: skip
    assert made.value.select([*numbers, "price", "size", "level"]).to_pydict() == {
        "weekday": [4.0, 5.0, 6.0],
        "double": [9.5, None, 19.0],
        "spent": [2.0, 0.0, None],
        "hour": [10.0, None, 0.0],
        "greedy": [0.0, 0.0, 0.0],
        "known": [1.0, 1.0, 0.0],
        "price": [1.5, None, 7.0],
        "size": ["five", "five", None],
        "level": ["north", "south", None],
    }
    assert made.facts["constant"] == ["greedy", "size"]


def test_whole_numbers_with_gaps_are_categories(tmp_path: Path) -> None:
    made = built(tmp_path, "def spent(paid):\n    return paid\n", computed("spent", "categorical"))
    assert made.value["spent"].to_pylist() == ["2", "0", None]


def test_an_edit_within_the_same_second_is_seen(tmp_path: Path) -> None:
    for number in (1, 2):
        made = built(tmp_path, f"def f(id):\n    return id * {number}\n", computed("f"))
        os.utime(tmp_path / "features.py", (0, 0))
        assert made.value["f"][0].as_py() == number
    assert not list(tmp_path.rglob("*.pyc"))


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (
            "",
            (
                "shop/dataset.yaml:31: the feature 'f' should be a function of that name in shop/features.py, and "
                "there is none."
            ),
        ),
        (
            "\ndef f(nothing):\n    return 1\n",
            "shop/features.py:2: 'f' takes 'nothing', which is no column of cleaned and no feature before it.",
        ),
        (
            "def f(id):\n    return 3\n",
            "shop/features.py:1: 'f' returned int; it should return a pandas Series with one value for each row.",
        ),
        (
            "def f(id):\n    return id[:2]\n",
            "shop/features.py:1: 'f' returned 2 values for 3 rows; it should keep every row where it is.",
        ),
        (
            "def f(id):\n    return id[::-1]\n",
            "shop/features.py:1: 'f' returned its values in another order; it should keep every row where it is.",
        ),
        (
            "def f(shop):\n    return shop\n",
            "shop/features.py: the numeric feature 'f' holds string; it should hold numbers.",
        ),
    ],
)
def test_what_a_function_may_not_do(tmp_path: Path, code: str, told: str) -> None:
    assert refusal(tmp_path, code, computed("f")) == told


def test_values_of_several_types(tmp_path: Path) -> None:
    told = refusal(tmp_path, "def f(id):\n    return id.astype(object).where(id > 1, 'x')\n", computed("f"))
    assert told.startswith("shop/features.py:1: 'f' returned values of several types:")


def test_decimals_are_no_categories(tmp_path: Path) -> None:
    told = refusal(tmp_path, "def f(price):\n    return price\n", computed("f", "categorical"))
    assert told == (
        "shop/features.py: the categorical feature 'f' holds double; it should hold texts or whole numbers."
    )


def test_a_column_that_is_no_number(tmp_path: Path) -> None:
    assert "the numeric feature 'shop' holds string; it should hold numbers." in refusal(
        tmp_path, "", Feature("shop", "numeric", line=9)
    )


def test_a_mistake_in_the_function_itself_keeps_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        built(tmp_path, "def f(id):\n    return 1 / 0\n", computed("f"))


def test_endless_numbers_are_left_for_the_audit(tmp_path: Path) -> None:
    made = built(tmp_path, "def f(paid):\n    return 1 / paid\n", computed("f"))
    assert made.value["f"].to_pylist() == [0.5, float("inf"), None]


def test_an_empty_batch(tmp_path: Path) -> None:
    (tmp_path / "features.py").write_text(CODE)
    rules = contract(folder=tmp_path, features=(computed("weekday"), Feature("shop", "categorical")))
    made = build_features(rules, CLEANED.slice(0, 0))
    assert made.value.num_rows == 0
    assert made.facts["positive"] == 0
    assert str(made.value.schema.field("weekday").type) == "double"


def test_the_rooms_of_a_batch_import_no_pandas() -> None:
    code = (
        "import sys; from mlops_assets.stages import clean, features, ingest, sift, split; "
        "from mlops_assets.checks import batch; print('pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
