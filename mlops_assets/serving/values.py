"""Rows of the past as Arrow tables and as plain values that SQLite keeps without loss.

What belongs here: the way there and back. What does not: the file (``past``).
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.model import Contract
from mlops_assets.serving.past import Held, Layout, Row
from mlops_assets.stages.cells import TYPES
from mlops_assets.stages.online import MOMENT, counting
from mlops_assets.stages.rows import one_chunk

_NO_NUMBER = "NaN"  # SQLite keeps no such number, and a null would be something else


def to_rows(contract: Contract, layout: Layout, online: pa.Table, since: int | None) -> Iterator[Row]:
    """The rows of a batch's table that can count and happened from ``since`` on, as ``Writer.put`` takes them."""
    kept = counting(contract, online)
    if since is not None:
        late = pc.greater_equal(one_chunk(online[MOMENT]).cast(pa.int64()), since)
        kept &= pc.fill_null(late, False).to_numpy(zero_copy_only=False)
    places = pa.array(kept.nonzero()[0], pa.int64())
    rows = online.take(places)
    columns = [plain(one_chunk(rows[name]).cast(TYPES[kind])) for name, kind in layout.columns.items()]  # type: ignore[index]
    return zip(places.to_pylist(), one_chunk(rows[MOMENT]).cast(pa.int64()).to_pylist(), *columns, strict=True)


def described(batch: str, version: str, since: int | None, online: pa.Table) -> Held:
    """What a file says of a batch whose table this is."""
    ends = pc.min_max(one_chunk(online[MOMENT]).cast(pa.int64()))
    return Held(batch, version, since, 0, ends["min"].as_py(), ends["max"].as_py())


def to_table(layout: Layout, rows: Sequence[Row]) -> pa.Table:
    """Rows that were looked up as the columns that windows need."""
    columns = list(zip(*rows, strict=True)) or [()] * len(layout.columns)
    return pa.table(
        {name: _typed(values, kind) for (name, kind), values in zip(layout.columns.items(), columns, strict=True)}
    )


def plain(column: pa.Array) -> list[Any]:
    """A column's values as SQLite keeps them: days and microseconds for times, 0 and 1 for truths."""
    kind = column.type
    if pa.types.is_date(kind):
        column = column.cast(pa.int32())
    elif pa.types.is_timestamp(kind):
        column = column.cast(pa.int64())
    elif pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    values: list[Any] = column.to_pylist()
    if pa.types.is_floating(kind) and pc.any(pc.is_nan(column)).as_py():
        values = [_NO_NUMBER if value is not None and math.isnan(value) else value for value in values]
    return values


def _typed(values: Sequence[Any], word: str) -> pa.Array:
    kind = TYPES[word]  # type: ignore[index]
    if pa.types.is_date(kind):
        return pa.array(values, pa.int32()).cast(kind)
    if pa.types.is_timestamp(kind):
        return pa.array(values, pa.int64()).cast(kind)
    if pa.types.is_boolean(kind):
        return pa.array(values, pa.int8()).cast(kind)
    if pa.types.is_floating(kind) and _NO_NUMBER in values:
        values = [math.nan if value == _NO_NUMBER else value for value in values]
    return pa.array(values, kind)
