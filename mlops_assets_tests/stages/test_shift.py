"""Telling test rows from fitted ones by their features, and rows that nearly stand in both."""

import numpy as np
import pyarrow as pa
import pytest

from mlops_assets.contract.model import Feature, FeatureKind
from mlops_assets.stages import shift
from mlops_assets.stages.metrics import Floats, Ints

DRAWN = np.random.default_rng(0)
HALF = np.repeat([False, True], 1000)


def folds() -> Ints:
    return np.arange(HALF.size) % 2


def test_categories_have_the_same_number_on_both_sides_and_missing_is_none() -> None:
    one, other = pa.table({"shop": ["west", None, "north"]}), pa.table({"shop": ["south", "west", None]})
    ((fitted, test),) = shift.numbers([Feature("shop", "categorical")], one, other).values()
    np.testing.assert_array_equal(fitted, [2, np.nan, 0])
    np.testing.assert_array_equal(test, [1, 2, np.nan])


def test_a_sample_is_evenly_spaced_and_knows_its_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shift, "SAMPLE", 3)
    drawn, places, is_test = shift.sample({"x": (np.arange(5.0), np.arange(10.0, 12.0))})
    assert drawn["x"].tolist() == [0, 2, 4, 10, 11]
    assert places.tolist() == [0, 2, 4, 5, 6]
    assert is_test.tolist() == [False, False, False, True, True]


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        (DRAWN.normal(size=2000), 0.5, 0.55),
        (DRAWN.normal(size=2000) + 2 * HALF, 0.88, 0.95),
        (np.where(HALF, np.nan, 1.0), 1.0, 1.0),
        # in the middle, where no order of the values tells it
        (np.where(HALF, DRAWN.uniform(-0.1, 0.1, 2000), DRAWN.uniform(-1, 1, 2000)), 0.85, 1.0),
    ],
)
def test_how_well_one_feature_alone_tells_the_sides_apart(values: Floats, low: float, high: float) -> None:
    found = shift.alone(values, "numeric", HALF)
    assert found is not None
    assert low <= found <= high


def test_a_few_rows_tell_nothing() -> None:
    assert shift.alone(np.arange(8.0), "numeric", np.arange(8) > 3) is None
    assert shift.adversarial({"x": np.arange(80.0)}, np.arange(80) > 39, np.arange(80) % 2, 1) is None


@pytest.mark.parametrize(
    ("kind", "fitted", "test", "expected"),
    [
        ("numeric", [1.0, 2.0], [3.0, 4.0], True),  # a month
        ("numeric", [1.0, 3.0], [2.0, 4.0], False),
        ("categorical", [1.0, 3.0], [2.0, 4.0], True),  # the name of a month
        ("categorical", [1.0, 3.0], [2.0, 3.0], False),
        ("numeric", [np.nan], [1.0], False),
    ],
)
def test_sides_that_lie_apart(kind: FeatureKind, fitted: list[float], test: list[float], expected: bool) -> None:
    is_test = np.repeat([False, True], [len(fitted), len(test)])
    assert shift.apart(np.array(fitted + test), kind, is_test) is expected


def test_trees_find_what_no_feature_tells_alone() -> None:
    one, other = DRAWN.normal(size=(2, 2000))
    drawn = {"one": one, "other": np.where(HALF, one + other / 5, other)}
    found = shift.adversarial(drawn, HALF, folds(), 1)
    assert found is not None
    assert 0.85 < found["low"] < found["auc"] < found["high"] <= 1
    assert found["rows"] == 2000
    assert max(shift.alone(values, "numeric", HALF) or 1 for values in drawn.values()) < 0.65


def test_sides_of_one_kind_cannot_be_told_apart() -> None:
    values = DRAWN.normal(size=(3, 2000))
    found = shift.adversarial({str(place): each for place, each in enumerate(values)}, HALF, folds(), 1)
    assert found is not None
    assert found["low"] < 0.5 < found["high"]


def test_a_feature_without_a_value_is_no_obstacle() -> None:
    empty = np.full(2000, np.nan)
    assert shift.adversarial({"empty": empty}, HALF, folds(), 1) is None
    assert shift.adversarial({"empty": empty, "half": HALF * 1.0}, HALF, folds(), 1)["auc"] == 1  # type: ignore[index]


def test_neighbours_that_share_their_surroundings_do_not_tell_on_one_another() -> None:
    # 40 hours of 50 rows, each with a temperature of its own that never comes again
    hours = np.repeat(DRAWN.normal(size=40), 50)
    together = shift.adversarial({"temperature": hours}, HALF, shift.blocks(HALF), 1)
    parted = shift.adversarial({"temperature": hours}, HALF, folds(), 1)
    assert together is not None
    assert parted is not None
    assert parted["auc"] > 0.95
    assert together["auc"] < 0.75


def three(values: Floats) -> dict[str, Floats]:
    return {"a": values[0], "b": values[1], "c": np.floor(values[2] * 3)}


def test_copies_are_found_although_the_last_digits_differ() -> None:
    drawn = np.random.default_rng(3)
    fitted, test = three(drawn.normal(size=(3, 4000))), three(drawn.normal(size=(3, 500)))
    clean = shift.twins({name: (fitted[name], test[name]) for name in fitted})
    assert clean is not None
    assert max(clean.values()) <= 3
    copied = {
        name: (values, np.concatenate([test[name], values[:100] * (1 + 1e-7)])) for name, values in fitted.items()
    }
    found = shift.twins(copied)
    assert found is not None
    assert 100 <= found["test"] <= 103
    assert found["chance"] <= 3


def test_few_values_are_alike_by_chance() -> None:
    drawn = np.random.default_rng(3)
    pairs = {name: (np.floor(drawn.uniform(0, 3, 900)), np.floor(drawn.uniform(0, 3, 100))) for name in "abc"}
    assert shift.twins(pairs) == {"test": 100, "fitted": 900, "chance": 100}
    assert shift.twins({name: pairs[name] for name in "ab"}) is None


def test_a_missing_value_is_like_a_missing_value_and_like_no_other() -> None:
    one = {name: (np.array([np.nan, 1.0]), np.array([np.nan, 0.0])) for name in "abc"}
    found = shift.twins(one)
    assert found is not None
    assert found["test"] == 1


def test_numbers_that_are_known() -> None:
    known = shift.distinct(np.array([5, 3, 5, 1]))
    assert known.tolist() == [1, 3, 5]
    assert shift.among(np.array([0, 1, 4, 5, 9]), known).tolist() == [False, True, False, True, False]
    assert shift.among(np.array([0]), shift.distinct(np.empty(0, dtype=np.int64))).tolist() == [False]
