"""Metrics against scikit-learn's, intervals against known values, and the corners where nothing is defined."""

from math import isnan, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.stages.metrics import (
    METRICS,
    Binary,
    Floats,
    Multiclass,
    Regression,
    auc_interval,
    bins,
    mean_interval,
    middle,
    precision_curve,
    resampled,
    roc_curve,
    thin,
    threshold_for,
    wilson,
)

CHANCE = np.random.default_rng(3)
ONCE = np.ones(400)
ANSWERS = CHANCE.random(400) < 0.3
TIED: Floats = np.round(np.clip(CHANCE.normal(0.3 + 0.2 * ANSWERS, 0.2), 0, 1), 1).astype(np.float64)
"""Scores on a grid of eleven values: most of them are tied."""
WEIGHTS = CHANCE.integers(0, 4, 400).astype(float)


def binary(scores: Any, weights: Any = ONCE, threshold: float = 0.5) -> dict[str, float]:
    return dict(zip(METRICS["binary"], Binary(ANSWERS, scores, threshold)(weights), strict=True))


@pytest.mark.parametrize("weights", [ONCE, WEIGHTS])
@pytest.mark.parametrize("scores", [TIED, CHANCE.random(400), np.full(400, 0.25), ANSWERS.astype(float)])
def test_binary_metrics_are_scikit_learns(scores: Any, weights: Any) -> None:
    from sklearn import metrics

    found, called = binary(scores, weights), scores >= 0.5
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(ANSWERS, scores, sample_weight=weights))
    assert found["average_precision"] == pytest.approx(
        metrics.average_precision_score(ANSWERS, scores, sample_weight=weights)
    )
    assert found["log_loss"] == pytest.approx(metrics.log_loss(ANSWERS, scores, sample_weight=weights))
    assert found["brier"] == pytest.approx(metrics.brier_score_loss(ANSWERS, scores, sample_weight=weights))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(ANSWERS, called, sample_weight=weights))
    assert found["f1"] == pytest.approx(metrics.f1_score(ANSWERS, called, sample_weight=weights, zero_division=0))


def test_multiclass_metrics_are_scikit_learns() -> None:
    from sklearn import metrics

    truth = CHANCE.integers(0, 3, 400)
    said = CHANCE.dirichlet([1, 1, 1], 400)
    found = Multiclass(truth, said)(WEIGHTS)
    given_ = said.argmax(axis=1)
    assert found == pytest.approx(
        [
            metrics.log_loss(truth, said, sample_weight=WEIGHTS),
            metrics.accuracy_score(truth, given_, sample_weight=WEIGHTS),
            metrics.balanced_accuracy_score(truth, given_, sample_weight=WEIGHTS),
        ]
    )


def test_regression_metrics_are_scikit_learns() -> None:
    from sklearn import metrics

    truth, said = CHANCE.normal(size=400), CHANCE.normal(size=400)
    assert Regression(truth, said)(WEIGHTS) == pytest.approx(
        [
            metrics.root_mean_squared_error(truth, said, sample_weight=WEIGHTS),
            metrics.mean_absolute_error(truth, said, sample_weight=WEIGHTS),
            metrics.r2_score(truth, said, sample_weight=WEIGHTS),
        ]
    )


def test_what_is_not_defined_is_nan() -> None:
    alone = Binary(np.ones(5, bool), np.linspace(0, 1, 5), 0.5)(np.ones(5))
    assert isnan(alone[0])
    assert alone[1] == 1
    none = Binary(np.zeros(5, bool), np.linspace(0, 1, 5), 0.5)(np.ones(5))
    assert isnan(none[0])
    assert isnan(none[1])
    assert all(isnan(one) for one in Binary(ANSWERS, TIED, 0.5)(np.zeros(400)))
    assert all(isnan(one) for one in Multiclass(np.zeros(2, int), np.ones((2, 1)))(np.zeros(2)))
    assert all(isnan(one) for one in Regression(np.ones(2), np.ones(2))(np.zeros(2)))
    assert isnan(Regression(np.ones(3), np.ones(3))(np.ones(3))[2])


def test_resamples_are_paired_and_repeat() -> None:
    model = Binary(ANSWERS, TIED, 0.5)
    drawn = resampled([model, model], 400, 30, seed=0)
    assert drawn.shape == (30, 2, 6)
    np.testing.assert_array_equal(drawn[:, 0], drawn[:, 1])
    np.testing.assert_array_equal(drawn, resampled([model, model], 400, 30, seed=0))
    assert len(np.unique(drawn[:, 0, 0])) > 20


def test_an_interval_leaves_out_what_is_not_defined() -> None:
    assert middle(np.array([1.0, nan, 2.0, 3.0])) == pytest.approx((1.05, 2.95))
    assert all(isnan(edge) for edge in middle(np.array([1.0, nan])))


def test_wilson_keeps_within_zero_and_one() -> None:
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(0, 10)[0] == 0
    assert wilson(10, 10)[1] == 1
    assert all(isnan(edge) for edge in wilson(0, 0))


def test_the_mean_of_little_has_no_interval() -> None:
    assert mean_interval(np.array([1.0, 2.0, 3.0]))[0] == 2
    assert mean_interval(np.array([1.0, 2.0, 3.0]))[1:] == pytest.approx((0.8684, 3.1316), abs=1e-4)
    assert mean_interval(np.array([4.0]))[0] == 4
    assert isnan(mean_interval(np.array([4.0]))[1])
    assert isnan(mean_interval(np.empty(0))[0])


def test_delongs_interval_agrees_with_the_bootstrap() -> None:
    area, low, high = auc_interval(ANSWERS, TIED)
    drawn = resampled([Binary(ANSWERS, TIED, 0.5)], 400, 400, seed=1)[:, 0, 0]
    assert area == pytest.approx(binary(TIED)["roc_auc"])
    assert (low, high) == pytest.approx(middle(drawn), abs=0.01)


def test_delongs_interval_needs_two_of_each() -> None:
    assert all(isnan(one) for one in auc_interval(np.array([True, True]), np.array([0.1, 0.2])))
    area, low, _ = auc_interval(np.array([True, False, False]), np.array([0.9, 0.2, 0.1]))
    assert area == 1
    assert isnan(low)


def test_curves_start_and_end_where_they_should_and_are_thin() -> None:
    false, true = roc_curve(ANSWERS, CHANCE.random(400), points=50)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert len(false) <= 50
    assert (np.diff(false) >= 0).all()
    recall, precision = precision_curve(ANSWERS, TIED)
    assert recall[-1] == 1
    assert precision[-1] == pytest.approx(ANSWERS.mean())
    assert not roc_curve(np.ones(3, bool), np.arange(3.0))[0].size
    assert not precision_curve(np.zeros(3, bool), np.arange(3.0))[0].size
    assert not roc_curve(np.empty(0, bool), np.empty(0))[0].size


def test_thin_keeps_both_ends() -> None:
    kept = thin(np.linspace(0, 1, 1000), 10)
    assert kept[0] == 0
    assert kept[-1] == 999
    assert len(kept) == 10


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(1, 12))
def test_equal_values_share_a_bin(values: list[int], count: int) -> None:
    numbers = np.array(values, float)
    places = bins(numbers, count)
    assert places.min() == 0
    assert len(np.unique(places)) == places.max() + 1 <= count
    for value in set(values):
        assert len(set(places[numbers == value])) == 1
    order = np.argsort(numbers, kind="stable")
    assert (np.diff(places[order]) >= 0).all()


def test_bins_hold_equally_many() -> None:
    assert np.bincount(bins(CHANCE.random(1000))).tolist() == [100] * 10
    assert not bins(np.empty(0)).size


@settings(max_examples=60)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.floats(0, 1))
def test_no_other_threshold_comes_nearer_to_the_share(values: list[int], share: float) -> None:
    scores = np.array(values, float)
    reached = (scores >= threshold_for(scores, share)).mean()
    possible = [(scores >= edge).mean() for edge in [*scores, np.inf]]
    assert abs(reached - share) == pytest.approx(min(abs(one - share) for one in possible))


def test_a_constant_score_calls_nobody_when_most_are_negative() -> None:
    assert threshold_for(np.full(10, 0.2), 0.2) > 0.2
    assert threshold_for(np.full(10, 0.7), 0.7) == 0.7
