"""Which feature rows a release is fitted to and tested on.

What belongs here: from the roles of batches and the buckets of rows to one table. What does not: the roles themselves
(``roles``), reading from anywhere, fitting.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.model import Contract
from mlops_assets.errors import RefusedError
from mlops_assets.stages.roles import bucket_ranges

Phase = Literal["fit", "test", "all"]

_PARTS: Mapping[Phase, tuple[str, ...]] = {
    "fit": ("train", "validation"),
    "test": ("test",),
    "all": ("train", "validation", "embargo", "test"),
}


def rows_for(
    contract: Contract,
    found: Mapping[str, Sequence[str]],
    phase: Phase,
    sort: Callable[[Iterable[str]], list[str]],
    read: Callable[[str], tuple[pa.Table, pa.ChunkedArray]],
) -> pa.Table:
    """The rows of a phase, batch after batch: ``fit`` a candidate, ``test`` it, or refit on ``all``.

    ``found`` are the batches of each role, ``sort`` the calendar's order, ``read`` a batch's features and buckets. Each
    batch counts once, whatever roles it has: when rows are split by hash their buckets decide.

    Raises:
        RefusedError: features and buckets of a batch do not belong together.
    """
    batches = sort({batch for part in _PARTS[phase] for batch in found[part]})
    return pa.concat_tables([_chosen(contract, batch, phase, *read(batch)) for batch in batches]).combine_chunks()


def part_of(contract: Contract, part: str, features: pa.Table, buckets: pa.ChunkedArray) -> pa.Table:
    """The rows of one part, ``train``, ``validation`` or ``test``, when rows are split by hash."""
    low, high = bucket_ranges(contract)[part]
    return features.filter(pc.and_(pc.greater_equal(buckets, low), pc.less(buckets, high)))


def _chosen(contract: Contract, batch: str, phase: Phase, features: pa.Table, buckets: pa.ChunkedArray) -> pa.Table:
    if len(buckets) != features.num_rows:
        raise RefusedError(
            f"splits [{batch}] has {len(buckets)} rows and features [{batch}] {features.num_rows}: they stand on "
            f"different versions of cleaned [{batch}]. Bring batch {batch} up to date."
        )
    if contract.split.by == "time" or phase == "all":
        return features
    ranges = bucket_ranges(contract)
    low = min(ranges[part][0] for part in _PARTS[phase])
    high = max(ranges[part][1] for part in _PARTS[phase])
    return features.filter(pc.and_(pc.greater_equal(buckets, low), pc.less(buckets, high)))
