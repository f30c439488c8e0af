"""A column as whole numbers and counts, which is all that checks of its distribution need.

What belongs here: coding, and the fixed lots by which rows are put into halves. What does not: any statistic or rule.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.stages.rows import Ints, encode

_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


@dataclass(frozen=True, slots=True)
class Coded:
    """A column: its distinct ``values`` and for each row the place ``of`` its own, ``len(values)`` where it is missing.

    Numbers are in ascending order, texts in that of their first row.
    """

    values: pa.Array
    of: Ints

    @property
    def size(self) -> int:
        """How many codes there can be, the one of missing values included."""
        return len(self.values) + 1

    @property
    def rows(self) -> int:
        """How many rows."""
        return len(self.of)

    @property
    def counts(self) -> Ints:
        """Rows of each code, shape (size,)."""
        return np.bincount(self.of, minlength=self.size)


def coded(column: pa.ChunkedArray | pa.Array) -> Coded:
    """A column of numbers or texts."""
    if pa.types.is_floating(column.type):
        column = pc.add(column, 0.0)  # there is a negative 0 too, which is the same
    distinct, places = encode(column)
    known = len(distinct) - distinct.null_count
    if pa.types.is_floating(distinct.type):
        order = pc.sort_indices(distinct).to_numpy()[:known]
    else:
        order = np.flatnonzero(distinct.is_valid().to_numpy(zero_copy_only=False))
    code = np.full(len(distinct), known, dtype=np.int64)
    code[order] = np.arange(known)
    return Coded(distinct.take(pa.array(order)), code[places])


@lru_cache(maxsize=16)
def halves(rows: int, lot: int) -> Ints:
    """A 0 or a 1 for each row by the hash of its place and the number of the lot, shape (rows,); not to be changed.

    The hash is the finalizer of SplitMix64 (Steele, Lea & Flood 2014): neighbours, which are alike, part at random.
    """
    hashes = (np.arange(rows, dtype=np.uint64) + np.uint64(lot << 40)) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in zip((30, 27), _MIX, strict=True):
        hashes = (hashes ^ (hashes >> np.uint64(shift))) * factor
    found = (hashes >> np.uint64(63)).astype(np.int64)
    found.flags.writeable = False
    return found
