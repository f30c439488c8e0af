"""Rows as whole numbers: telling equal rows apart from different ones, and putting rows in order, without hashing.

What belongs here: coding columns and combining codes, exact for every input. What does not: what a duplicate or a key
means (``sift``), how rows of two tables meet (``joins``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]
Truths = npt.NDArray[np.bool_]

_ROOM = 2**62


@dataclass(frozen=True, slots=True)
class Codes:
    """One code below ``size`` for each row, shape (n,); two rows have the same code when their values are the same."""

    of: Ints
    size: int


def one_chunk(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """The column as one array."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def encode(column: pa.ChunkedArray | pa.Array) -> tuple[pa.Array, Ints]:
    """The distinct values of a column, null being one of them, and for each row the place of its own, shape (n,)."""
    coded = one_chunk(column).dictionary_encode("encode")
    return coded.dictionary, coded.indices.to_numpy().astype(np.int64, copy=False)


def codes(column: pa.ChunkedArray | pa.Array) -> Codes:
    """Codes by value; a null is a value of its own."""
    distinct, places = encode(column)
    return Codes(places, max(1, len(distinct)))


def ranks(column: pa.ChunkedArray | pa.Array) -> Codes:
    """Codes in the order of the values, nulls last; texts are ordered by code points."""
    distinct, places = encode(column)
    order = pc.sort_indices(distinct).to_numpy().astype(np.int64, copy=False)
    rank = np.empty(len(distinct), dtype=np.int64)
    rank[order] = np.arange(len(distinct))
    return Codes(rank[places], max(1, len(distinct)))


def combine(parts: Sequence[Codes], rows: int) -> Ints:
    """One number for each row, equal where all parts are equal, ordered as the parts are, the first counting most."""
    found = np.zeros(rows, dtype=np.int64)
    size = 1
    for part in parts:
        if size * part.size > _ROOM:
            # Distinct numbers so far are at most as many as rows, so that the next product fits again.
            distinct, found = np.unique(found, return_inverse=True)
            found, size = found.astype(np.int64, copy=False), len(distinct)
        found = found * part.size + part.of
        size *= part.size
    return found


def repeated(numbers: Ints) -> Truths:
    """Which rows share their number with another row, shape (n,)."""
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    same = ordered[1:] == ordered[:-1]
    found = np.zeros(len(numbers), dtype=bool)
    if same.any():
        found[order[1:][same]] = True
        found[order[:-1][same]] = True
    return found


def again(numbers: Ints) -> Truths:
    """Which rows have the number of an earlier row, shape (n,)."""
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    found = np.zeros(len(numbers), dtype=bool)
    found[order[1:][ordered[1:] == ordered[:-1]]] = True
    return found
