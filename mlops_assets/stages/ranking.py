"""How well one feature alone ranks the answers.

What belongs here: that one number, between 0.5 (it says nothing) and 1 (it says all). What does not: from where on it
is too good to be true (``leakage``).

For classes it is the area under the ROC curve, which is the share of pairs of a positive and a negative row that the
feature puts in the right order, ties being half right (Mann & Whitney 1947; Hanley & McNeil 1982). Of several classes
it is the mean over each against the rest. For numbers it is (1 + |rho|) / 2 with Spearman's rank correlation rho.

A number is tried as it stands, upwards and downwards, missing values first and last. It is also tried as a category is:
by the answers of rows of the same category (or in the same of ``_RANGES`` ranges), learnt from one half of the rows and
tried on the other, both ways. So a code, or a range in the middle, tells on itself; and an identity that no other row
has does not, since what is learnt of it is of no use to the other half.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mlops_assets.contract.model import FeatureKind, Target
from mlops_assets.stages.coded import Coded, coded, halves
from mlops_assets.stages.rows import Ints, encode, one_chunk

Floats = npt.NDArray[np.float64]

LEAST = 30
"""Rows of a class below which nothing is said, and half the numbers: between 30 and 30 rows of which nothing tells one
from another, an area of 0.88 is five standard errors from 0.5."""
_RANGES = 64
_LOT = 1


@dataclass(frozen=True)
class Answers:
    """What is ranked: the places of the ``rows`` that count, shape (n,), the ``half`` of each, and ``values``, (n, k).

    A column of values is 1 for rows of one class and 0 for others, or the ranks of numbers. ``area`` says from the rows
    and the sum of values of each group, in order, and the sum of all squares, how well the order of the groups is that
    of the values: from 0 (the other way round) to 1. ``scale`` is what people call it.
    """

    rows: Ints
    half: Ints
    values: Floats
    area: Callable[[Floats, Floats, float], float]
    scale: str

    @cached_property
    def squares(self) -> Floats:
        """The sum of the squares of each column of values by half, shape (2, k)."""
        return np.stack([(self.values[self.half == half] ** 2).sum(axis=0) for half in (0, 1)])

    def sums(self, feature: Coded) -> Floats:
        """Rows, then the sum of each column of values, by half and code of the feature; shape (2, size, 1 + k)."""
        group = self.half * feature.size + feature.of[self.rows]
        columns: list[Floats] = [np.bincount(group, minlength=2 * feature.size).astype(np.float64)]
        columns.extend(np.bincount(group, each, 2 * feature.size).astype(np.float64) for each in self.values.T)
        return np.stack(columns, axis=-1).reshape(2, feature.size, -1)


def answers_of(target: Target, column: pa.ChunkedArray | pa.Array) -> Answers | None:
    """The answers of a batch; None where they are too few, or too much the same, to be ranked."""
    values = one_chunk(column)
    rows = np.flatnonzero(values.is_valid().to_numpy(zero_copy_only=False))
    half, known = halves(len(values), _LOT)[rows], values.drop_null()
    if target.task == "regression":
        ranks = _ranks(known)
        if len(rows) < 2 * LEAST or ranks.std() == 0:
            return None
        return Answers(rows, half, ranks[:, None], _correlated, "(1 + rank correlation) / 2")
    distinct, places = encode(known)
    classes = distinct.to_pylist()
    if target.task == "binary":
        places = np.array([_same(each, target.positive) for each in classes] or [False])[places].astype(np.int64)
        classes = [False, True]
    sizes = np.bincount(places, minlength=len(classes))
    enough = np.flatnonzero((sizes >= LEAST) & (len(rows) - sizes >= LEAST))
    if not len(enough):
        return None
    judged = enough[-1:] if target.task == "binary" else enough
    scale = "area under the ROC curve" + ("" if target.task == "binary" else ", each class against the rest")
    return Answers(rows, half, (places[:, None] == judged).astype(np.float64), _area, scale)


def strength(feature: Coded, kind: FeatureKind, answers: Answers) -> float:
    """How well a feature alone ranks the answers, from 0.5 to 1."""
    sums = answers.sums(feature)
    if kind == "categorical":
        return _learnt(sums, answers)
    whole = sums.sum(axis=0)
    orders = [whole] if not whole[-1, 0] else [whole, np.roll(whole, 1, axis=0)]
    return max(*(_in_order(order, answers) for order in orders), _learnt(_ranged(sums), answers))


def _in_order(sums: Floats, answers: Answers) -> float:
    """The mean over the columns of values, upwards or downwards, whichever is better."""
    squares = answers.squares.sum(axis=0)
    areas = [answers.area(sums[:, 0], column, squared) for column, squared in zip(sums[:, 1:].T, squares, strict=True)]
    return float(np.mean([max(area, 1 - area) for area in areas]))


def _learnt(sums: Floats, answers: Answers) -> float:
    """The same for groups in the order of what the other half of the rows says of them."""
    areas = []
    for half, squares in enumerate(answers.squares):
        tried, learnt = sums[half], sums[1 - half]
        for column, squared in enumerate(squares, 1):
            usual = learnt[:, column].sum() / max(1.0, learnt[:, 0].sum())
            # One more row of the usual answer: what few rows say counts less, and what none says is the usual.
            _, place = np.unique((learnt[:, column] + usual) / (learnt[:, 0] + 1), return_inverse=True)
            rows, sums_of = (np.bincount(place, tried[:, each]).astype(np.float64) for each in (0, column))
            areas.append(answers.area(rows, sums_of, squared))
    return max(0.5, float(np.mean(areas)))


def _ranged(sums: Floats) -> Floats:
    """The codes of a number put together to at most ``_RANGES`` ranges of about as many rows, and the missing ones."""
    known, missing = sums[:, :-1], sums[:, -1:]
    rows = known[:, :, 0].sum(axis=0)
    if len(rows) <= _RANGES:
        return sums
    before = np.cumsum(rows) - rows
    starts = np.searchsorted(before, np.linspace(0, rows.sum(), _RANGES, endpoint=False))
    starts = np.unique(np.minimum(starts, len(rows) - 1))
    return np.concatenate([np.add.reduceat(known, starts, axis=1), missing], axis=1)


def _area(rows: Floats, positive: Floats, _: float) -> float:
    """The area under the ROC curve of groups in order; 0.5 where there is only one class."""
    negative = rows - positive
    pairs = positive.sum() * negative.sum()
    below = np.cumsum(negative) - negative / 2
    return float((positive * below).sum() / pairs) if pairs else 0.5


def _correlated(rows: Floats, ranks: Floats, squares: float) -> float:
    """(1 + rho) / 2 of groups in order; rho is Pearson's correlation of ranks, which is Spearman's."""
    count = rows.sum()
    own = np.cumsum(rows) - rows / 2 - count / 2
    spread = (rows * own**2).sum() * (squares - ranks.sum() ** 2 / max(1.0, count))
    return float((1 + (own * ranks).sum() / np.sqrt(spread)) / 2) if spread > 0 else 0.5


def _ranks(values: pa.Array) -> Floats:
    """The mean rank of each number among all, shape (n,)."""
    numbers = coded(values)
    counts = numbers.counts[:-1]
    return (np.cumsum(counts) - counts / 2)[numbers.of] if len(values) else np.empty(0)


def _same(value: object, positive: object) -> bool:
    """Whether a value is the positive class; 1 is not true."""
    return isinstance(value, bool) == isinstance(positive, bool) and value == positive


__all__ = ["LEAST", "Answers", "answers_of", "strength"]
