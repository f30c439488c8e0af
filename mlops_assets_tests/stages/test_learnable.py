"""What keeps rows from being learnt from, each fault in a sentence; and features that look like a mistake."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_assets.contract.model import Feature, Task
from mlops_assets.errors import RefusedError
from mlops_assets.stages import learnable
from mlops_assets.stages.learnable import odd_features, unusual
from mlops_assets.stages.train import fit, score
from mlops_assets_tests.stages.learn import FOREST, LINEAR, PRIOR, TREES, answered, contract, rows

ALL = (PRIOR, LINEAR, TREES, FOREST)
TYPES: dict[Task, pa.DataType] = {"binary": pa.bool_(), "multiclass": pa.string(), "regression": pa.float64()}
ONE: dict[Task, Any] = {"binary": True, "multiclass": "many", "regression": 1.5}
OTHER: dict[Task, Any] = {"binary": False, "multiclass": "few", "regression": 2.5}


def refused(table: pa.Table, task: Task = "binary") -> tuple[str, ...]:
    with pytest.raises(RefusedError) as caught:
        fit(contract(task), table, ALL)
    return caught.value.sentences


def with_column(name: str, values: pa.Array) -> pa.Table:
    table = rows(gaps=False)
    return table.set_column(table.column_names.index(name), name, values)


@pytest.mark.parametrize("task", TYPES)
@pytest.mark.parametrize("gap", [0, 2])
def test_answers_that_are_all_the_same(task: Task, gap: int) -> None:
    given = [None if gap and n % gap else ONE[task] for n in range(600)]
    (said,) = refused(answered(rows(task), given, TYPES[task]), task)
    assert said == (
        f"All {300 if gap else 600} training rows of shop that have an answer have the same one for 'bought': there is "
        "nothing to tell apart. Take more batches, or mend the target in /data/sales/dataset.yaml."
    )


@pytest.mark.parametrize("task", TYPES)
def test_no_answer_at_all(task: Task) -> None:
    (said,) = refused(answered(rows(task), [None] * 600, TYPES[task]), task)
    assert said.startswith("None of the 600 training rows of shop has an answer for 'bought' (paid > 1)")


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_a_class_of_one_row_is_told(task: Task) -> None:
    bundle = fit(contract(task), answered(rows(task), [OTHER[task], *[ONE[task]] * 599], TYPES[task]), ALL)
    assert unusual(bundle["training"]) == ("Of 2 classes 1 has a single training row each.",)


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), 1e308, -1e39])
def test_numbers_that_no_model_can_compute_with(value: float) -> None:
    (said,) = refused(with_column("size", pa.array([value] * 7 + [1.0] * 593)))
    assert said == (
        "The feature 'size' holds numbers beyond 1e+30 in 7 of 600 training rows, and no model can compute with them. "
        "Set 'minimum' and 'maximum' for the column, or mend the function that makes it."
    )
    answers = [value, *range(599)]
    if np.isfinite(value):
        (said,) = refused(answered(rows("regression"), answers, pa.float64()), "regression")
        assert said.startswith("The target 'bought' holds numbers beyond 1e+30 in 1 of 600 training rows")


@pytest.mark.parametrize(
    "values",
    [[-0.0, 0.0] * 300, [5e-324, 1.0] * 300, [1e30, -1e30] * 300, [None, 1.0] * 300, [float("nan"), 1.0] * 300],
)
def test_odd_numbers_that_are_numbers(values: list[float | None]) -> None:
    table = with_column("size", pa.array(values, pa.float64()))
    bundle = fit(contract(), table, ALL)
    for name in bundle["models"]:
        assert np.isfinite(score(bundle, name, table)).all()


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("size", pa.nulls(600, pa.float64()), "Feature “size” has no value in any training row: every model ignores"),
        ("shop", pa.nulls(600, pa.string()), "Feature “shop” has no value in any training row: every model ignores"),
        ("size", pa.array([2.0] * 600), "Feature “size” has one value only in the training rows"),
        ("shop", pa.array(["a", None] * 300), "Feature “shop” has one value only in the training rows"),
        ("shop", pa.array([f"c{n}" for n in range(600)]), "Feature “shop” has a category of its own in nearly every"),
    ],
)
def test_a_feature_that_says_nothing_is_told(name: str, values: pa.Array, sentence: str) -> None:
    table = with_column(name, values)
    bundle = fit(contract(), table, ALL)
    (said,) = unusual(bundle["training"])
    assert said.startswith(sentence)
    for model in bundle["models"]:
        assert np.isfinite(score(bundle, model, table)).all()


def test_few_rows_and_shared_categories_are_no_surprise() -> None:
    shop = Feature("shop", "categorical")
    few = pa.chunked_array([[f"c{n}" for n in range(49)]])
    assert odd_features({shop: few})["unique"] == []
    assert odd_features({shop: pa.chunked_array([[f"c{n}" for n in range(50)]])})["unique"] == ["shop"]
    assert odd_features({shop: pa.chunked_array([[f"c{n // 2}" for n in range(100)]])})["unique"] == []
    assert odd_features({Feature("size", "numeric"): pa.chunked_array([[*range(100)]])})["unique"] == []


def test_a_model_too_large_for_the_memory_is_refused_before_it_is_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    table = with_column("shop", pa.array([f"c{n}" for n in range(600)]))
    classes = answered(table, [f"t{n % 50}" for n in range(600)], pa.string())
    monkeypatch.setattr(learnable, "MOST_BYTES", 5 << 20)
    (said,) = refused(classes, "multiclass")
    assert said == (
        "/data/sales/dataset.yaml:21: model 'linear' would have 30,150 coefficients and need about 0 GiB: feature "
        "'shop' has 600 categories, target 'bought' 50 classes. Leave the feature out, put rare categories together in "
        "features.py, or leave the model out."
    )
    fit(contract(), table, ALL)  # with one answer a row it is small enough


@pytest.mark.slow
def test_as_many_categories_as_people_are_fitted() -> None:
    names = 88_496
    table = rows(n=100_000, gaps=False)
    table = table.set_column(3, "shop", pa.array([f"c{n % names}" for n in range(100_000)]))
    bundle = fit(contract(), table, (LINEAR,))
    assert len(bundle["categories"]["shop"]) == names
    assert np.isfinite(score(bundle, "linear", table)).all()
