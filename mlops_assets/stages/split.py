"""A bucket for every row: a salted hash of its key, or of its group, that never moves when other rows arrive.

What belongs here: the hash. What does not: which buckets or batches train, validate and test (``roles``).

The hash is part of every split ever recorded: BLAKE2b (RFC 7693) with 8 bytes of each value's canonical text, combined
by the finalizer of SplitMix64 (Steele, Lea & Flood 2014). Changing it moves rows between train and test.
"""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mlops_assets.contract.model import Contract
from mlops_assets.stages.made import Made
from mlops_assets.stages.roles import BUCKETS, bucket_ranges, roles
from mlops_assets.stages.rows import encode, one_chunk

__all__ = ["BUCKETS", "assign_buckets", "bucket_ranges", "roles"]

_Hashes = npt.NDArray[np.uint64]
_TENTHS = 10


def assign_buckets(contract: Contract, cleaned: pa.Table) -> Made:
    """The table ``bucket`` (int16, 0 to ``BUCKETS - 1``), one row for each cleaned row, in their order.

    Hashed are the columns of ``split.group``, else the spine's key, else all of the spine's columns. Facts: ``rows``,
    ``by`` (the columns), ``units`` (distinct keys or groups) and how many ``units`` each tenth of the buckets has.
    """
    spine = contract.sources[contract.spine]
    names = list(contract.split.group or spine.key or spine.columns)
    hashes = np.full(cleaned.num_rows, _seed(contract.split.salt), dtype=np.uint64)
    for name in names:
        hashes = _mixed(hashes ^ _hashes(cleaned[name], contract.split.salt))
    buckets = (hashes % np.uint64(BUCKETS)).astype(np.int16)
    distinct = np.unique(hashes)
    tenths = np.bincount(
        (distinct % np.uint64(BUCKETS) // np.uint64(BUCKETS // _TENTHS)).astype(np.int64), minlength=_TENTHS
    )
    return Made(
        pa.table({"bucket": pa.array(buckets, pa.int16())}),
        {"rows": cleaned.num_rows, "by": names, "units": len(distinct), "tenths": [int(count) for count in tenths]},
    )


def _hashes(column: pa.ChunkedArray, salt: str) -> _Hashes:
    """A hash of each value, shape (n,); each distinct value is hashed once."""
    distinct, places = encode(one_chunk(column))
    kind = str(column.type)
    start = hashlib.blake2b(f"{len(salt.encode())}:{salt}:{kind}:".encode(), digest_size=8)
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        distinct = distinct.cast(pa.int64() if pa.types.is_timestamp(column.type) else pa.int32())
    values = [_hashed(start, value) for value in distinct.to_pylist()]
    return np.array(values or [0], dtype=np.uint64)[places]


def _hashed(start: Any, value: object) -> int:
    """The hash of a value's canonical text; a null has one that no text has."""
    hasher = start.copy()
    hasher.update(b"\xff" if value is None else (value if isinstance(value, str) else repr(value)).encode())
    return int.from_bytes(hasher.digest(), "little")


def _seed(salt: str) -> int:
    return int.from_bytes(hashlib.blake2b(salt.encode(), digest_size=8).digest(), "little")


def _mixed(hashes: _Hashes) -> _Hashes:
    """SplitMix64: every bit of the input reaches every bit of the output; order of the columns counts."""
    hashes = hashes + np.uint64(0x9E3779B97F4A7C15)
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(hashes ^ (hashes >> np.uint64(31)), dtype=np.uint64)
