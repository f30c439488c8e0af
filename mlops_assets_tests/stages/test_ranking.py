"""How well one feature ranks the answers: the numbers of the textbook, and what must not look like a leak."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from mlops_assets.contract.model import FeatureKind, Target
from mlops_assets.stages.coded import coded, halves
from mlops_assets.stages.ranking import LEAST, answers_of, strength

BINARY = Target("bought", "paid > 0", "binary")
MANY = Target("kind", "kind", "multiclass")
NUMBER = Target("paid", "paid", "regression")
ROWS = 2000


def alone(target: Target, answers: Any, feature: Any, kind: FeatureKind = "numeric") -> float:
    found = answers_of(target, pa.array(answers, from_pandas=True))
    assert found is not None
    values = pa.array(feature, pa.float64() if kind == "numeric" else pa.string(), from_pandas=True)
    return strength(coded(values), kind, found)


def lot(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("direction", [1, -1])
def test_it_is_the_area_under_the_curve_with_ties_either_way(direction: int) -> None:
    truth = lot(0).random(ROWS) < 0.3
    feature = np.round(truth + lot(1).normal(size=ROWS), 1)
    assert len(np.unique(feature)) < 100
    assert alone(BINARY, truth, direction * feature) == pytest.approx(roc_auc_score(truth, feature), abs=1e-12)


def test_missing_values_are_a_value_of_their_own() -> None:
    truth = np.arange(ROWS) % 2 == 0
    feature = np.where(truth, np.nan, lot(2).normal(size=ROWS))
    assert alone(BINARY, truth, feature) == 1.0
    assert alone(BINARY, truth, -feature) == 1.0
    assert alone(BINARY, truth, np.full(ROWS, np.nan)) == 0.5


@pytest.mark.parametrize("extreme", [-1e9, 1e9])
def test_missing_values_come_first_or_last(extreme: float) -> None:
    score = lot(15).normal(size=ROWS)
    truth = lot(16).random(ROWS) < 1 / (1 + np.exp(-score))
    gone = score * np.sign(extreme) > 0.8
    wanted = roc_auc_score(truth, np.where(gone, extreme, score))
    assert alone(BINARY, truth, np.where(gone, np.nan, score)) == pytest.approx(wanted, abs=1e-12)


def test_rows_without_an_answer_do_not_count() -> None:
    truth = lot(3).random(ROWS) < 0.5
    feature = truth + lot(4).normal(size=ROWS)
    answers = [bool(each) if place % 3 else None for place, each in enumerate(truth)]
    kept = np.arange(ROWS) % 3 > 0
    assert alone(BINARY, answers, feature) == pytest.approx(roc_auc_score(truth[kept], feature[kept]), abs=1e-12)


def test_a_code_or_a_range_in_the_middle_gives_itself_away() -> None:
    state = lot(5).integers(0, 7, ROWS)
    assert alone(BINARY, state == 3, state.astype(float)) == 1.0
    wide = lot(6).normal(size=ROWS)
    assert alone(BINARY, np.abs(wide) < 0.5, wide) > 0.97


def test_an_identity_that_no_other_row_has_is_no_leak() -> None:
    truth = lot(7).random(ROWS) < 0.4
    names = [f"id{place}" for place in range(ROWS)]
    assert alone(BINARY, truth, names, "categorical") == 0.5
    assert alone(BINARY, truth, lot(8).permutation(ROWS).astype(float)) < 0.56


def test_a_category_is_ranked_by_what_the_other_half_says_of_it() -> None:
    truth = lot(9).random(ROWS) < 0.4
    leaks = [f"{'yes' if each else 'no'}{place % 20}" for place, each in enumerate(truth)]
    assert alone(BINARY, truth, leaks, "categorical") == 1.0
    chance = [f"c{each}" for each in lot(10).integers(0, 50, ROWS)]
    assert alone(BINARY, truth, chance, "categorical") < 0.55
    assert alone(BINARY, truth, [None if each else "no" for each in truth], "categorical") == 1.0


def test_the_positive_class_is_the_one_that_the_contract_names() -> None:
    words = np.where(lot(11).random(ROWS) < 0.5, "Yes", "No")
    target = Target("churn", "churn", "binary", positive="Yes")
    assert alone(target, words, (words == "Yes").astype(float)) == 1.0
    assert answers_of(Target("churn", "churn", "binary", positive="Perhaps"), pa.array(words)) is None
    one = pa.array([1, 0] * 100)
    assert answers_of(Target("t", "t", "binary", positive=True), one) is None  # 1 is not true
    assert answers_of(Target("t", "t", "binary", positive=1), one) is not None


def test_several_classes_are_each_told_from_the_rest() -> None:
    kinds = lot(12).integers(0, 3, ROWS)
    text = np.array(["a", "b", "c"])[kinds]
    assert alone(MANY, text, kinds.astype(float)) == 1.0
    assert alone(MANY, text, text, "categorical") == 1.0
    assert alone(MANY, text, (kinds == 1).astype(float)) == pytest.approx((1 + 0.75 + 0.75) / 3, abs=0.02)
    rare = np.where(np.arange(ROWS) < LEAST - 1, "rare", text)
    found = answers_of(MANY, pa.array(rare))
    assert found is not None
    assert found.values.shape == (ROWS, 3)  # of a class with too few rows nothing is said


@pytest.mark.parametrize("sign", [1, -1])
def test_numbers_are_ranked_as_spearman_does(sign: int) -> None:
    paid = np.round(lot(13).exponential(size=ROWS), 1)
    feature = np.round(paid + lot(14).normal(size=ROWS))
    rho = float(spearmanr(paid, feature).statistic)
    assert alone(NUMBER, paid, sign * feature) == pytest.approx((1 + rho) / 2, abs=1e-9)
    assert alone(NUMBER, paid, np.exp(paid)) == pytest.approx(1.0)
    assert alone(NUMBER, paid, [f"{each:.1f}" for each in paid], "categorical") > 0.99
    assert alone(NUMBER, paid, [f"id{place}" for place in range(ROWS)], "categorical") == 0.5


@pytest.mark.parametrize(
    ("target", "answers"),
    [
        (BINARY, [True] * (LEAST - 1) + [False] * 500),
        (BINARY, [None] * 100),
        (BINARY, []),
        (MANY, ["a"] * 500),
        (NUMBER, [1.0, 2.0] * (LEAST - 1)),
        (NUMBER, [3.0] * 500),
    ],
)
def test_of_too_few_answers_nothing_is_said(target: Target, answers: Sequence[Any]) -> None:
    kind = pa.bool_() if target is BINARY else pa.string() if target is MANY else pa.float64()
    assert answers_of(target, pa.array(answers, kind)) is None


def test_the_halves_are_always_the_same_and_even() -> None:
    first = halves(100_000, 1)
    assert first[:20].tolist() == halves(20, 1).tolist() == [1, 0, 0, 0, 1, 0, 1, 1, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0, 1, 0]
    assert abs(first.mean() - 0.5) < 0.01
    assert abs((first == halves(100_000, 2)).mean() - 0.5) < 0.01
    assert abs((first[1:] == first[:-1]).mean() - 0.5) < 0.01
