"""Sums of many stretches of one column of numbers, each as if it were added up exactly and rounded once.

What belongs here: exact sums. What does not: which rows belong to a stretch (``windows``).

Sums by differences of running totals lose digits, and lose them by what else stands in the column. Here each number is
spread over whole numbers of 32 bits at fixed places ("small superaccumulator", R. M. Neal, Fast exact summation using
small and large superaccumulators, 2015), whose running totals are exact: the same rows give the same bits, in whatever
order and beside whatever other rows.
"""

import numpy as np
import numpy.typing as npt

from mlops_assets.stages.rows import Ints

Floats = npt.NDArray[np.float64]

_BITS = 32
_MASK = 2**_BITS - 1
_FRACTION = 53
_LOWEST = -36 * _BITS
"""The place of the lowest bit of all, a multiple of ``_BITS`` below that of the smallest number's mantissa."""
_MOST_ROWS = 2**29


def stretch_sums(values: Floats, starts: Ints, ends: Ints) -> Floats:
    """The sum of ``values[start:end]`` for each pair, shape (pairs,), rounded to nearest, ties to even.

    The values are finite. A sum beyond the largest number is infinite; of nothing it is 0.
    """
    if len(values) > _MOST_ROWS:
        raise ValueError(f"{len(values)} values are more than fit into exact running totals")
    digits, lowest = _digits(values, starts, ends)
    negative = digits[-1] != 0  # the digit above all others holds nothing but the sign
    carry = negative.astype(np.int64)
    for number in range(len(digits)):
        flipped = np.where(negative, digits[number] ^ _MASK, digits[number]) + carry
        np.right_shift(flipped, _BITS, out=carry)
        np.bitwise_and(flipped, _MASK, out=digits[number])
    sums = _rounded(digits, lowest)
    return np.where(negative, -sums, sums)


def _digits(values: Floats, starts: Ints, ends: Ints) -> tuple[Ints, int]:
    """Each sum in two's complement, digits of 32 bits, lowest first, shape (digits, pairs); and the lowest's place."""
    fraction, exponent = np.frexp(values)
    whole = (fraction * 2.0**_FRACTION).astype(np.int64)
    place = exponent.astype(np.int64) - _FRACTION - _LOWEST
    limb, shift = np.divmod(place, _BITS)
    low, high = (whole & _MASK) << shift, (whole >> _BITS) << shift
    parts = (low & _MASK, (low >> _BITS) + (high & _MASK), high >> _BITS)
    first = int(limb.min(initial=_MASK, where=whole != 0))
    last = int(limb.max(initial=0, where=whole != 0)) + len(parts)
    if first > last:  # nothing but zeros
        return np.zeros((1, len(starts)), dtype=np.int64), 0
    digits = np.empty((last - first + 1, len(starts)), dtype=np.int64)
    carry = np.zeros(len(starts), dtype=np.int64)
    total = np.zeros(len(values) + 1, dtype=np.int64)
    for number in range(first, last + 1):
        here = np.zeros(len(values), dtype=np.int64)
        for above, part in enumerate(parts):
            np.add(here, part, out=here, where=limb == number - above)
        np.cumsum(here, out=total[1:])
        found = total[ends] - total[starts] + carry
        np.right_shift(found, _BITS, out=carry)
        np.bitwise_and(found, _MASK, out=digits[number - first])
    return digits, first * _BITS + _LOWEST


def _rounded(digits: Ints, lowest: int) -> Floats:
    """Sums that are not negative as floating-point numbers."""
    pairs = np.arange(digits.shape[1])
    padded = np.concatenate([np.zeros((2, len(pairs)), dtype=np.int64), digits]).astype(np.uint64)
    top = len(padded) - 1 - np.argmax(padded[::-1] != 0, axis=0)
    top[(padded == 0).all(axis=0)] = 2
    below = np.logical_or.accumulate(padded != 0, axis=0)[np.maximum(top - 3, 0), pairs] & (top > 2)  # noqa: PLR2004
    first, second, third = (padded[top - n, pairs] for n in range(3))
    spare = (_BITS - np.frexp(first.astype(np.float64))[1]).astype(np.uint64)
    rest = np.uint64(_BITS) - spare
    mantissa = (((first << np.uint64(_BITS)) | second) << spare) | (third >> rest)
    # What is cut off only matters by being there: 64 bits are rounded to 53, and ties are told apart by the last one.
    mantissa |= ((third & ((np.uint64(1) << rest) - np.uint64(1))) != 0) | below
    exponent = lowest + _BITS * (top - 2 - 1) - spare.astype(np.int64)
    with np.errstate(over="ignore"):
        found: Floats = np.ldexp(mantissa.astype(np.float64), exponent)
    return found
