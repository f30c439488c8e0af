"""Small steps on Arrow arrays that reading values takes again and again.

What belongs here: what Arrow has no function of its own for. What does not: what any value means.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.stages.rows import Truths


def where(values: pa.Array, kept: pa.Array) -> pa.Array:
    """The values, null where ``kept`` is false or null."""
    return pc.if_else(pc.fill_null(kept, False), values, pa.scalar(None, values.type))


def truths(found: pa.Array) -> Truths:
    """A boolean array as numpy's, false where it is null."""
    return np.array(pc.fill_null(found, False).to_numpy(zero_copy_only=False), dtype=bool)


def each(values: pa.Array, kind: pa.DataType, read: Callable[[Any], Any]) -> pa.Array:
    """Each value by a Python function; null where there is none or the function raises ``ValueError``."""

    def one(value: Any) -> Any:
        if value is None:
            return None
        try:
            return read(value)
        except (ValueError, OverflowError):
            return None

    return pa.array([one(value) for value in values.to_pylist()], kind)
