"""The population stability index against the formula, what chance does to it, new categories."""

from math import log
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_assets.contract.model import FeatureKind
from mlops_assets.stages.coded import coded
from mlops_assets.stages.drift import BINS, Moved, moved, profile, stability

ROWS = 4000


def between(reference: Any, batch: Any, kind: FeatureKind = "numeric") -> Moved:
    type_ = pa.float64() if kind == "numeric" else pa.string()
    one, other = (pa.chunked_array([pa.array(each, type_, from_pandas=True)]) for each in (reference, batch))
    return moved(profile(one, kind), coded(other))


def lot(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_index_is_that_of_the_formula() -> None:
    p, q = [100.5 / 201, 100.5 / 201], [50.5 / 201, 150.5 / 201]
    wanted = sum((b - a) * log(b / a) for a, b in zip(p, q, strict=True))
    assert stability(np.array([100, 100]), np.array([50, 150])) == pytest.approx(wanted)
    assert stability(np.array([5, 0]), np.array([5, 0])) == 0.0
    assert stability(np.array([5, 0]), np.array([0, 5])) > 1.0  # and not infinite


def test_many_numbers_are_put_into_bins_of_as_many_rows() -> None:
    reference = profile(pa.chunked_array([pa.array(lot(1).normal(size=ROWS))]), "numeric")
    rows = np.bincount(reference.bins, reference.column.counts)
    assert rows.tolist() == [ROWS / BINS] * BINS + [0]
    values = np.arange(1000.0)
    found = between(values, values + 500)
    rows = np.array([0] * 5 + [100] * 4 + [600] + [0])
    assert found.index == pytest.approx(stability(np.array([100] * 10 + [0]), rows))


def test_few_numbers_are_bins_of_their_own() -> None:
    assert between([1.0] * 100, [1.0] * 100).index == 0.0
    below, above = between([1.0] * 100, [0.0] * 100).index, between([1.0] * 100, [2.0] * 100).index
    assert below == above > 5
    days = [float(each % 7) for each in range(700)]
    assert between(days, [each for each in days if each != 3.0]).index > 0.3
    assert between(days, days[::-1]).index == 0.0


def test_missing_values_are_a_bin() -> None:
    full = lot(2).normal(size=ROWS)
    holes = np.where(lot(3).random(ROWS) < 0.3, np.nan, full)
    found = between(full, holes)
    assert found.index > 1
    assert found.missing[0] == 0.0
    assert found.missing[1] == pytest.approx(0.3, abs=0.03)
    assert between(holes, holes).index == 0.0
    assert between([None] * 50, [None] * 50).index == 0.0
    assert between([None] * 50, full).index > 5


def test_rare_categories_are_one_bin_and_new_ones_are_named() -> None:
    often, rare = ["a"] * 500 + ["b"] * 480, [f"r{place}" for place in range(20)]
    found = between(often + rare, [*often, *["r1"] * 15, "new", "new", "other", None], "categorical")
    assert found.index < 0.02
    assert (dict(found.new), found.gone) == ({"new": 2, "other": 1}, 19)
    assert found.usually_new == pytest.approx(20 / 1000)
    assert between(often, ["c"] * 980, "categorical").index > 5
    assert between(often, often[::-1], "categorical") == Moved(0.0, between(often, often, "categorical").chance, (0, 0))


@pytest.mark.parametrize(("reference", "batch"), [(4000, 4000), (60, 60), (20_000, 40), (40, 20_000)])
def test_chance_alone_is_told_from_drift_with_many_rows_and_with_few(reference: int, batch: int) -> None:
    """The same distribution, 60 times: the index is never five times what halves of the reference show."""
    chances, indices = [], []
    for seed in range(60):
        chance = lot(seed)
        found = between(chance.normal(size=reference), chance.normal(size=batch))
        assert found.index <= 5 * found.chance
        chances.append(found.chance)
        indices.append(found.index)
    assert 0.3 < np.mean(indices) / np.mean(chances) < 1.2  # the largest of five lots is a little above the usual


def test_drift_is_told_from_chance() -> None:
    for rows in (200, 4000):
        found = between(lot(1).normal(size=rows), lot(2).normal(2.0, size=rows))
        assert found.index > max(0.2, 5 * found.chance)
