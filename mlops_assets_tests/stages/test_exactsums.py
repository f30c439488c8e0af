"""Sums of stretches against Python's own exact sum."""

import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.stages.exactsums import stretch_sums

NUMBERS = st.lists(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300), max_size=40)
PLACES = st.lists(st.tuples(st.integers(0, 80), st.integers(0, 80)), min_size=1, max_size=10)


def sums(values: list[float], pairs: list[tuple[int, int]]) -> list[float]:
    starts, ends = (np.array(each, dtype=np.int64) for each in zip(*pairs, strict=True))
    found: list[float] = stretch_sums(np.array(values, dtype=np.float64), starts, ends).tolist()
    return found


@given(NUMBERS, PLACES, st.randoms(use_true_random=False))
def test_each_sum_is_exact_and_rounded_once(numbers: list[float], places: list[tuple[int, int]], chance: Any) -> None:
    values = numbers + [-number for number in numbers[::2]]  # so that much cancels out
    chance.shuffle(values)
    pairs = [tuple(sorted(min(place, len(values)) for place in pair)) for pair in places]
    assert sums(values, pairs) == [math.fsum(values[first:last]) for first, last in pairs]  # type: ignore[arg-type]


def test_what_a_running_total_would_lose() -> None:
    values = [1e16, 1.0, -1e16, 0.1, 5e-324, 1e300, -1e300]
    assert sums(values, [(0, 3), (1, 2), (3, 4), (3, 7), (4, 5), (2, 2)]) == [1.0, 1.0, 0.1, 0.1, 5e-324, 0.0]


def test_ties_are_rounded_to_even_and_told_apart_by_the_last_bit_of_all() -> None:
    half = 2.0**-53
    assert sums([1.0, half], [(0, 2)]) == [1.0]
    assert sums([1.0, half, 5e-324], [(0, 3)]) == [1.0 + 2 * half]
    assert sums([-1.0, -half, -5e-324], [(0, 3)]) == [-1.0 - 2 * half]
    assert sums([1.0, half, 2.0**-63, 2.0**-80], [(0, 4)]) == [1.0 + 2 * half]
    assert sums([1.0 + 2 * half, half], [(0, 2)]) == [1.0 + 4 * half]


def test_nothing_and_zeros_and_too_much() -> None:
    assert sums([], [(0, 0)]) == [0.0]
    assert sums([0.0, -0.0], [(0, 2), (1, 1)]) == [0.0, 0.0]
    assert math.copysign(1, sums([-0.0], [(0, 1)])[0]) == 1
    assert sums([1.7e308] * 2, [(0, 1), (0, 2)]) == [1.7e308, math.inf]
