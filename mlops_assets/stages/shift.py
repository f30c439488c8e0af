"""How other rows differ from those that a model is fitted to, by their features alone.

What belongs here: features as whole numbers, how well each of them and all of them together tell two sets of rows
apart, and rows that nearly stand in both. What does not: which rows those are (``parts``), the drift of one feature
(``stages.drift``), and whether a number is too large (``checks.parts``).

Every function takes the *fitted* rows first and the *test* rows second, and looks at no answer.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.model import Feature, FeatureKind, Target
from mlops_assets.stages.coded import coded
from mlops_assets.stages.metrics import Floats, Ints, Truths, auc_interval
from mlops_assets.stages.ranking import answers_of, strength
from mlops_assets.stages.rows import Codes, combine, encode, repeated
from mlops_assets.stages.train import SEED, evenly, steady

Pair: TypeAlias = tuple[Floats, Floats]

SAMPLE = 5_000
"""Rows of each side that are told apart: the area under the curve is then known to about one hundredth."""
LEAST = 50
"""Rows of each side below which nothing is said of how well they can be told apart."""
SEPARATE = 0.99
"""From here on a feature alone tells the sides apart: it is a function of time, or as good as one."""
CELLS = 1_000
"""Quantiles of the fitted rows by which numbers are called nearly equal: three digits of their rank."""
FEWEST = 3
"""Features below which rows that look alike say nothing."""
_BLOCKS = 20
_BITS = 20
_SETTINGS = {"max_iter": 40, "learning_rate": 0.2, "max_leaf_nodes": 15, "early_stopping": False, "random_state": SEED}


def numbers(features: Sequence[Feature], fitted: pa.Table, test: pa.Table) -> Mapping[str, Pair]:
    """Each feature of both sides as numbers, shape (n,): categories by their place among all of both, missing nan."""
    return {feature.name: _numbers(feature, fitted[feature.name], test[feature.name]) for feature in features}


def _numbers(feature: Feature, fitted: pa.ChunkedArray, test: pa.ChunkedArray) -> Pair:
    if feature.kind == "numeric":
        one, other = (column.cast(pa.float64()).to_numpy() for column in (fitted, test))
        return one, other
    known = pc.unique(pa.chunked_array([*fitted.chunks, *test.chunks], fitted.type)).drop_null().sort()
    one, other = (pc.index_in(column, known).cast(pa.float64()).to_numpy() for column in (fitted, test))
    return one, other


def sample(found: Mapping[str, Pair]) -> tuple[Mapping[str, Floats], Ints, Truths]:
    """At most ``SAMPLE`` evenly spaced rows of each side: their features, their places, and which are test rows.

    Places count through the fitted rows and then the test rows; each array has shape (n,).
    """
    fitted, test = next(iter(found.values()))
    kept = [evenly(side.size, SAMPLE) for side in (fitted, test)]
    drawn = {name: np.concatenate([pair[0][kept[0]], pair[1][kept[1]]]) for name, pair in found.items()}
    places = np.concatenate([kept[0], kept[1] + fitted.size])
    return drawn, places, np.repeat([False, True], [kept[0].size, kept[1].size])


def alone(values: Floats, kind: FeatureKind, is_test: Truths) -> float | None:
    """How well one feature tells test rows from fitted ones: 0.5 not at all, 1 always (``stages.ranking``).

    None for too few rows.
    """
    answers = answers_of(Target("test", "", "binary"), pa.array(is_test))
    return None if answers is None else strength(coded(pa.array(values, from_pandas=True)), kind, answers)


def apart(values: Floats, kind: FeatureKind, is_test: Truths) -> bool:
    """Whether all test rows have larger numbers, or smaller ones, than fitted rows; or other categories altogether.

    A month is so where time parts the sides, and so is whatever counts on.
    """
    fitted, test = (side[~np.isnan(side)] for side in (values[~is_test], values[is_test]))
    if not fitted.size or not test.size:
        return False
    if kind == "categorical":
        return not among(test.astype(np.int64), distinct(fitted.astype(np.int64))).any()
    return bool(fitted.max() < test.min() or test.max() < fitted.min())


def adversarial(drawn: Mapping[str, Floats], is_test: Truths, folds: Ints, threads: int) -> dict[str, Any] | None:
    """How well boosted trees tell test rows from fitted ones: ``auc`` and its 95 % interval; None for too few rows.

    Adversarial validation as in Pan, Pham, Dorairaj, Chen and Lee (2020). ``folds``, 0 or 1 for each row, keep rows
    together that would tell on one another: the trees are tried on the fold that they were not fitted to.
    """
    inputs = np.column_stack(list(drawn.values())) if drawn else np.empty((0, 0))
    # nothing can be binned that has no value
    inputs = inputs[:, ~np.isnan(inputs).all(axis=0)]
    sides = np.bincount(2 * folds + is_test, minlength=4)
    if sides.min() < LEAST or not inputs.shape[1]:
        return None
    from sklearn.ensemble import HistGradientBoostingClassifier

    areas = []
    with steady(threads):
        for fold in (0, 1):
            learnt = folds != fold
            trees = HistGradientBoostingClassifier(**_SETTINGS).fit(inputs[learnt], is_test[learnt])
            areas.append(auc_interval(is_test[~learnt], trees.predict_proba(inputs[~learnt])[:, 1]))
    auc, low, high = (float(np.mean(each)) for each in zip(*areas, strict=True))
    return {"auc": auc, "low": low, "high": high, "rows": int(is_test.size)}


def blocks(is_test: Truths) -> Ints:
    """A fold for each row, neighbours together, shape (n,): rows of one hour share its weather, for example.

    For sides that are parted by time. Sides that lie in the same time want folds by key or group.
    """
    folds = np.empty(is_test.size, dtype=np.int64)
    for side in (is_test, ~is_test):
        rows = int(side.sum())
        folds[side] = np.arange(rows) * _BLOCKS // max(rows, 1) % 2
    return folds


def twins(found: Mapping[str, Pair]) -> dict[str, int] | None:
    """Rows that stand nearly the same among the fitted ones: ``test`` rows, and ``fitted`` rows beside themselves.

    Two rows are nearly the same when every category is, and every number is next to the same of the ``CELLS`` quantiles
    of the fitted rows. ``chance`` counts the same of test rows whose features were shuffled one by one: so
    many rows look alike only because there are few values. None for fewer than ``FEWEST`` features.
    """
    if len(found) < FEWEST:
        return None
    fitted, test = (side.size for side in next(iter(found.values())))
    parts = [_cells(np.concatenate(pair), fitted) for pair in found.values()]
    lots = np.random.default_rng(SEED)
    mixed = [Codes(np.concatenate([part.of, lots.permutation(part.of[fitted:])]), part.size) for part in parts]
    ours, theirs, chance = np.split(combine(mixed, fitted + 2 * test), [fitted, fitted + test])
    known = distinct(ours)
    return {
        "test": int(among(theirs, known).sum()),
        "fitted": int(repeated(ours).sum()),
        "chance": int(among(chance, known).sum()),
    }


def distinct(numbers: Ints) -> Ints:
    """The different numbers in ascending order; sorting is several times faster than ``numpy.unique``, which hashes."""
    ordered = np.sort(numbers)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])] if ordered.size else ordered


def among(numbers: Ints, known: Ints) -> Truths:
    """Which of the numbers are among the ``known`` ones, which are distinct and in ascending order; shape (n,)."""
    if not known.size:
        return np.zeros(numbers.size, dtype=bool)
    nearest = known[np.minimum(np.searchsorted(known, numbers), known.size - 1)]
    return np.asarray(nearest == numbers, dtype=bool)


def _cells(values: Floats, fitted: int) -> Codes:
    """The quantile that each value is next to, and 0 for missing ones; few values are each their own.

    What differs by less than a millionth is the same value.
    """
    different, places = encode(pa.array(values, from_pandas=True))
    points = _rounded(different.to_numpy(zero_copy_only=False))
    known = np.unique(points[~np.isnan(points)])
    if known.size > CELLS:
        own = np.sort(points[places[:fitted]])
        own = own[~np.isnan(own)]
        known = np.unique(own[evenly(own.size, CELLS)])
    cells = np.searchsorted((known[1:] + known[:-1]) / 2, points) + 1
    cells = np.where(np.isnan(points), 0, cells).astype(np.int64)
    return Codes(cells[places], int(cells.max(initial=0)) + 1)


def _rounded(values: Floats) -> Floats:
    """The values with ``_BITS`` bits, which are six digits."""
    fraction, exponent = np.frexp(values)
    return np.asarray(np.ldexp(np.round(fraction * 2**_BITS), exponent - _BITS), dtype=np.float64)
