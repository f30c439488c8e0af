"""Numbers that say how good predictions are, and how sure one may be of them.

What belongs here: metrics, intervals, curves and bins over plain numpy arrays, for binary, multiclass and regression
tasks. What does not: models, tables, contracts, or the decision whether a number is good enough.

Sums are numpy's own, never BLAS, whose last digit depends on the number of threads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mlops_assets.contract.model import Task

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Truths: TypeAlias = NDArray[np.bool_]
Interval: TypeAlias = tuple[float, float]

PAIR = 2
"""Values without which nothing can be said of their spread."""
STARTED = 0.005
"""The recall from which a precision is drawn."""
Z95 = 1.959963984540054
NAN = float("nan")
TINY = float(np.finfo(np.float64).eps)
"""Probabilities are kept this far from 0 and 1 before a logarithm is taken, as scikit-learn does."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's name for people, whether more is ``better``, and what it says in a few words."""

    label: str
    higher: bool
    meaning: str


METRICS: Mapping[Task, Mapping[str, Metric]] = {
    "binary": {
        "roc_auc": Metric(
            "ROC AUC", True, "how often a positive row is ranked above a negative one; guessing gets 0.5"
        ),
        "average_precision": Metric(
            "Average precision", True, "precision averaged over recall; guessing gets the base rate"
        ),
        "log_loss": Metric("Log loss", False, "how surprised the probabilities are by the answers"),
        "brier": Metric("Brier score", False, "mean squared distance of the probability from the answer"),
        "accuracy": Metric("Accuracy", True, "share of right decisions at the threshold"),
        "f1": Metric("F1", True, "harmonic mean of precision and recall at the threshold"),
    },
    "multiclass": {
        "log_loss": Metric("Log loss", False, "how surprised the probabilities are by the answers"),
        "accuracy": Metric("Accuracy", True, "share of rows whose most probable class is the right one"),
        "balanced_accuracy": Metric("Balanced accuracy", True, "share found of each class, averaged over the classes"),
    },
    "regression": {
        "rmse": Metric("RMSE", False, "root of the mean squared error, in the target's unit; large errors weigh more"),
        "mae": Metric("MAE", False, "mean absolute error, in the target's unit"),
        "r2": Metric("R²", True, "share of the test rows' variance that is explained; the mean gets 0"),
    },
}
"""Every metric of each task, in the order in which they are shown."""


class Measure(Protocol):
    """Metrics of one model on fixed rows, under any weights."""

    def __call__(self, weights: Floats) -> list[float]:
        """The metrics in ``METRICS`` order when row *i* counts ``weights[i]`` times; nan where undefined."""


class Binary:
    """Metrics of scores for a binary answer. Sorting and logarithms are done once, not once a resample."""

    def __init__(self, answers: Truths, scores: Floats, threshold: float) -> None:
        """``answers`` and ``scores``: shape (n,); a row is called positive when its score reaches ``threshold``."""
        self._order = np.argsort(-scores, kind="stable")
        ranked = scores[self._order]
        self._ends = np.flatnonzero(np.append(np.diff(ranked) != 0, True)) if ranked.size else np.empty(0, np.int64)
        self._tied = self._ends.size != ranked.size
        self._positive = answers[self._order].astype(np.float64)
        probability = np.clip(scores, TINY, 1 - TINY)
        self._loss = -np.log(np.where(answers, probability, 1 - probability))
        self._square = (scores - answers) ** 2
        called = scores >= threshold
        self._right = (called == answers).astype(np.float64)
        self._found = (called & answers).astype(np.float64)
        self._named = called.astype(np.float64) + answers

    def __call__(self, weights: Floats) -> list[float]:
        """See ``Measure``."""
        ranked = weights[self._order]
        positive = np.cumsum(ranked * self._positive)
        every = np.cumsum(ranked)
        if self._tied:
            positive, every = positive[self._ends], every[self._ends]
        total = float(every[-1]) if every.size else 0.0
        positives = float(positive[-1]) if positive.size else 0.0
        negatives = total - positives
        area = precision = NAN
        if positives:
            step = np.diff(positive, prepend=0.0)
            with np.errstate(invalid="ignore"):
                precision = float(np.nansum(step * positive / every)) / positives
            if negatives:
                against = np.diff(every - positive, prepend=0.0)
                area = float((against * (positive - step / 2)).sum()) / (positives * negatives)
        if not total:
            return [NAN] * 6
        named = float((weights * self._named).sum())
        return [
            area,
            precision,
            float((weights * self._loss).sum()) / total,
            float((weights * self._square).sum()) / total,
            float((weights * self._right).sum()) / total,
            2 * float((weights * self._found).sum()) / named if named else 0.0,
        ]


class Multiclass:
    """Metrics of class probabilities."""

    def __init__(self, answers: Ints, probabilities: Floats) -> None:
        """``answers``: shape (n,), class codes; ``probabilities``: shape (n, classes)."""
        self._answers = answers
        given = probabilities[np.arange(answers.size), answers]
        self._loss = -np.log(np.clip(given, TINY, 1.0))
        self._right = (probabilities.argmax(axis=1) == answers).astype(np.float64)

    def __call__(self, weights: Floats) -> list[float]:
        """See ``Measure``."""
        total = float(weights.sum())
        if not total:
            return [NAN] * 3
        seen = np.bincount(self._answers, weights)
        found = np.bincount(self._answers, weights * self._right)
        return [
            float((weights * self._loss).sum()) / total,
            float((weights * self._right).sum()) / total,
            float((found[seen > 0] / seen[seen > 0]).mean()),
        ]


class Regression:
    """Metrics of predicted numbers."""

    def __init__(self, answers: Floats, predictions: Floats) -> None:
        """``answers`` and ``predictions``: shape (n,), in the target's unit."""
        self._answers = answers
        self._error = np.abs(predictions - answers)
        self._square = self._error**2

    def __call__(self, weights: Floats) -> list[float]:
        """See ``Measure``."""
        total = float(weights.sum())
        if not total:
            return [NAN] * 3
        square = float((weights * self._square).sum())
        mean = float((weights * self._answers).sum()) / total
        spread = float((weights * (self._answers - mean) ** 2).sum())
        r2 = 1 - square / spread if spread else NAN
        return [sqrt(square / total), float((weights * self._error).sum()) / total, r2]


def resampled(measures: Sequence[Measure], rows: int, resamples: int, seed: int) -> Floats:
    """Metrics of every model on bootstrap resamples of the rows; all models see the same resamples.

    Returns shape (resamples, models, metrics); differences between models along the second axis are paired.
    """
    generator = np.random.default_rng([seed, 1])
    found = []
    for _ in range(resamples):
        weights = np.bincount(generator.integers(0, rows, rows), minlength=rows).astype(np.float64)
        found.append([measure(weights) for measure in measures])
    return np.array(found, dtype=np.float64).reshape(resamples, len(measures), -1)


def middle(values: Floats) -> Interval:
    """The 95 % interval of resampled ``values`` (shape (resamples,)); nan when fewer than two are defined."""
    kept = values[np.isfinite(values)]
    if kept.size < PAIR:
        return (NAN, NAN)
    low, high = np.quantile(kept, [0.025, 0.975])
    return float(low), float(high)


def wilson(successes: float, n: float) -> Interval:
    """Wilson's 95 % interval of a share; (nan, nan) when ``n`` is 0."""
    if not n:
        return (NAN, NAN)
    share, z2 = successes / n, Z95 * Z95
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    reach = Z95 * sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # the bounds of 0 of n and n of n are exactly 0 and 1; rounding would leave a hair
    return (0.0 if successes == 0 else centre - reach, 1.0 if successes == n else centre + reach)


def mean_interval(values: Floats) -> tuple[float, float, float]:
    """Mean and its normal 95 % interval; the interval is nan for fewer than two values."""
    if not values.size:
        return NAN, NAN, NAN
    mean = float(values.mean())
    if values.size < PAIR:
        return mean, NAN, NAN
    reach = Z95 * float(values.std(ddof=1)) / sqrt(values.size)
    return mean, mean - reach, mean + reach


def auc_interval(answers: Truths, scores: Floats) -> tuple[float, float, float]:
    """ROC AUC and its 95 % interval by DeLong, DeLong and Clarke-Pearson (1988); nan when a class is absent.

    With two classes that are ranked perfectly the variance is 0 and the interval a point; with fewer than two rows of
    a class the interval is nan.
    """
    positive, negative = np.sort(scores[answers]), np.sort(scores[~answers])
    if not positive.size or not negative.size:
        return NAN, NAN, NAN
    above = (np.searchsorted(negative, positive, "left") + np.searchsorted(negative, positive, "right")) / 2
    below = (np.searchsorted(positive, negative, "left") + np.searchsorted(positive, negative, "right")) / 2
    wins, losses = above / negative.size, 1 - below / positive.size
    area = float(wins.mean())
    if min(positive.size, negative.size) < PAIR:
        return area, NAN, NAN
    reach = Z95 * sqrt(float(wins.var(ddof=1)) / positive.size + float(losses.var(ddof=1)) / negative.size)
    return area, max(0.0, area - reach), min(1.0, area + reach)


def thin(values: Floats, points: int) -> Ints:
    """Indices of at most ``points`` entries of the rising ``values`` that are evenly spread over their range."""
    if values.size <= points:
        return np.arange(values.size)
    wanted = np.linspace(float(values[0]), float(values[-1]), points)
    return np.unique(np.minimum(np.searchsorted(values, wanted), values.size - 1))


def roc_curve(answers: Truths, scores: Floats, points: int = 160) -> tuple[Floats, Floats]:
    """False and true positive rate from (0, 0) to (1, 1), at most ``points``; empty when a class is absent."""
    false, true = _counts(answers, scores)
    if not false.size or not false[-1] or not true[-1]:
        return np.empty(0), np.empty(0)
    false, true = np.append(0.0, false / false[-1]), np.append(0.0, true / true[-1])
    kept = thin(false + true, points)
    return false[kept], true[kept]


def precision_curve(answers: Truths, scores: Floats, points: int = 160) -> tuple[Floats, Floats]:
    """Recall and precision, thinned to at most ``points``; empty without a positive row.

    It starts where half a percent of the positives are found: precision over a handful of rows is noise.
    """
    false, true = _counts(answers, scores)
    if not true.size or not true[-1]:
        return np.empty(0), np.empty(0)
    recall, precision = true / true[-1], true / (true + false)
    started = recall >= STARTED
    recall, precision = recall[started], precision[started]
    kept = thin(recall, points)
    return recall[kept], precision[kept]


def _counts(answers: Truths, scores: Floats) -> tuple[Floats, Floats]:
    """Negatives and positives that reach each distinct score, from the highest down."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True)) if order.size else np.empty(0, np.int64)
    true = np.cumsum(answers[order].astype(np.float64))[ends]
    return ends + 1.0 - true, true


def bins(values: Floats, count: int = 10) -> Ints:
    """The bin of each value, 0 upwards: about equally many rows in each, equal values never parted."""
    if not values.size:
        return np.empty(0, np.int64)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, count + 1)[1:-1]))
    return np.unique(np.searchsorted(edges, values, side="left"), return_inverse=True)[1].astype(np.int64)


def threshold_for(scores: Floats, share: float) -> float:
    """The score that a ``share`` of ``scores`` reaches, as nearly as ties allow.

    Among equal scores it is all or none: whichever comes nearer (a constant score with a share below one half gives a
    threshold just above it).
    """
    wanted = share * scores.size
    ranked = np.sort(scores)[::-1]
    value = float(ranked[min(max(round(wanted) - 1, 0), ranked.size - 1)])
    reach, above = float((scores >= value).sum()), float((scores > value).sum())
    return value if abs(reach - wanted) <= abs(above - wanted) else float(np.nextafter(value, np.inf))
