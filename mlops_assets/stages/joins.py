"""How rows of a source are brought to the rows of the spine: exact and as-of, never more rows out than in.

What belongs here: finding for each row of the spine the one row of the source that it meets. What does not: which
columns are brought and how the result is ordered (``clean``).
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mlops_assets.contract.model import Contract, Join
from mlops_assets.errors import ContractError
from mlops_assets.stages.rows import Codes, Ints, codes, combine, one_chunk

_MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class Met:
    """For each row of the spine the row of the source it meets, -1 where none, shape (n,).

    ``ambiguous`` rows could meet several rows and therefore meet none.
    """

    places: Ints
    ambiguous: int

    @property
    def matched(self) -> int:
        """How many rows meet one."""
        return int((self.places >= 0).sum())


def meet(contract: Contract, join: Join, spine: pa.Table, theirs: pa.Table) -> Met:
    """Which row of ``theirs`` each row of the spine meets.

    A null in a column of ``on`` meets nothing. With ``as_of``, the newest row with the same values in ``on`` that was
    known by then, ``known_after`` seconds after its own time, and that is by its own time at most ``tolerance`` seconds
    older.

    Raises:
        ContractError: the columns to compare are of different types.
    """
    ours = spine.num_rows
    known = np.ones(ours + theirs.num_rows, dtype=bool)
    parts: list[Codes] = []
    for left, right in join.on:
        both = _both(contract, join, spine[left], theirs[right])
        known &= both.is_valid().to_numpy(zero_copy_only=False)
        parts.append(codes(both))
    numbers = combine(parts, len(known))
    if join.as_of:
        times = _both(contract, join, spine[join.as_of[0]], theirs[join.as_of[1]]).cast(pa.timestamp("us"))
        known &= times.is_valid().to_numpy(zero_copy_only=False)
        moments = times.cast(pa.int64()).fill_null(0).to_numpy()
        return _as_of(numbers, moments, known, ours, join)
    return _exact(numbers, known, ours)


def brought(column: pa.ChunkedArray, met: Met) -> pa.Array:
    """The source's column for each row of the spine, null where it meets none."""
    places = pa.array(met.places, mask=met.places < 0)
    return one_chunk(column).take(places)


def _both(contract: Contract, join: Join, left: pa.ChunkedArray, right: pa.ChunkedArray) -> pa.Array:
    if left.type != right.type:
        raise ContractError(
            f"{contract.file}:{join.line}: the join of {join.source!r} compares {left.type} with {right.type}; "
            f"declare both columns with one type."
        )
    return pa.concat_arrays([one_chunk(left), one_chunk(right)])


def _exact(numbers: Ints, known: np.ndarray, ours: int) -> Met:
    _, dense = np.unique(numbers, return_inverse=True)
    size = int(dense.max(initial=-1)) + 1
    theirs = np.flatnonzero(known[ours:])
    keys = dense[ours:][theirs]
    times_met = np.bincount(keys, minlength=size)
    place = np.full(size, -1, dtype=np.int64)
    place[keys] = theirs
    place[times_met > 1] = -1
    found = np.where(known[:ours], place[dense[:ours]], -1)
    ambiguous = int((known[:ours] & (times_met[dense[:ours]] > 1)).sum())
    return Met(found, ambiguous)


def _as_of(numbers: Ints, moments: Ints, known: np.ndarray, ours: int, join: Join) -> Met:
    counts = moments.copy()
    counts[ours:] += round(join.known_after * _MICRO)
    distinct, ranked = np.unique(counts, return_inverse=True)
    position = combine([_dense(numbers), Codes(ranked.astype(np.int64), max(1, len(distinct)))], len(numbers))
    theirs = np.flatnonzero(known[ours:])
    theirs = theirs[np.argsort(position[ours:][theirs], kind="stable")]
    ordered = position[ours:][theirs]
    if not len(theirs):
        return Met(np.full(ours, -1, dtype=np.int64), 0)
    at = np.searchsorted(ordered, position[:ours], side="right") - 1
    candidate = theirs[np.maximum(at, 0)]
    age = moments[:ours] - moments[ours:][candidate]
    met = known[:ours] & (at >= 0) & (numbers[:ours] == numbers[ours:][candidate])
    if join.tolerance is not None:
        met &= age <= round(join.tolerance * _MICRO)
    twin = np.zeros(len(ordered), dtype=bool)
    twin[1:] = ordered[1:] == ordered[:-1]
    several = met & twin[np.maximum(at, 0)]
    return Met(np.where(met & ~several, candidate, -1), int(several.sum()))


def _dense(numbers: Ints) -> Codes:
    distinct, dense = np.unique(numbers, return_inverse=True)
    return Codes(dense.astype(np.int64), max(1, len(distinct)))
