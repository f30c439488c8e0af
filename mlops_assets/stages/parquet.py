"""Reading Parquet: every declared column in the type that was delivered, every row with its number, counted from 1.

What belongs here: opening the file, whether its bytes are those that were written, and types that can never become the
declared one. What does not: values that do not fit (``cells``), the file's account of itself (``footer``).

Arrow alone notices no changed byte. So page checksums are verified where the file has them, and where it has not, the
values are at least compared with the statistics that the file keeps of them.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlops_assets.contract.model import ColumnType, Contract, Source
from mlops_assets.errors import DeliveryError
from mlops_assets.stages.cells import castable
from mlops_assets.stages.delivery import (
    LINE,
    PROBLEM,
    TEXT,
    Delivery,
    FileRows,
    check_columns,
    read_bytes,
    refuse_foreign,
)
from mlops_assets.stages.footer import Chunk, chunks, encrypted

_MOST_CELLS = 1 << 30
"""Values that are read from one file: a file of a few bytes can say a thousand million times the same."""
_WRITTEN_AS: Mapping[ColumnType, str] = {
    "string": "text, which keeps every digit",
    "int64": "whole numbers of 64 bits or fewer",
    "float64": "floating-point or whole numbers",
    "boolean": "booleans",
    "date": "dates",
    "timestamp": "timestamps",
}
"""What a type can be read from."""
_INT64 = 8
_FLOATS = {4: "<f", 8: "<d"}
_DAYS = (-719_162, 2_932_896)
"""The first and the last day that dates have, in days from 1970: year 1 to year 9999."""
_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


def read_parquet(contract: Contract, source: Source, delivery: Delivery) -> FileRows:
    """The rows of a Parquet file.

    Raises:
        DeliveryError: the file is damaged or no Parquet file, its bytes cannot be verified though the contract asks for
            that, or a column's type can never be the declared one.
    """
    data = read_bytes(delivery)
    refuse_foreign(delivery, source, data)
    wanted = list(source.columns)
    try:
        if encrypted(data):
            raise DeliveryError(
                f"{delivery.name} is encrypted, and nobody has given a key for it. Ask for it without encryption; the "
                f"way it comes can be protected instead."
            )
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        extra = check_columns(contract, source, delivery, file.schema_arrow.names)
        _check_types(contract, source, delivery, file.schema_arrow)
        _check_size(delivery, file.metadata.num_rows, len(wanted))
        known = [chunk for chunk in chunks(data) if chunk.column in source.columns]
        unverified = list(dict.fromkeys(chunk.column for chunk in known if not chunk.checksum))
        _require_checksums(contract, source, delivery, unverified)
        read = file.read(columns=wanted, use_threads=False).select(wanted)
        read.validate(full=True)
        _check_statistics(delivery, known, read)
    # What Arrow cannot make sense of is damage as well: a flipped byte may speak of integers of 96 bits.
    except (pa.ArrowException, OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise DeliveryError(
            f"{delivery.name} is damaged or no Parquet file: {first.rstrip('.')}. Ask for it again."
        ) from None
    rows = read.num_rows
    table = pa.table(
        {name: _plain(read[name]) for name in wanted}
        | {
            LINE: pa.array(np.arange(1, rows + 1)),
            TEXT: pa.nulls(rows, pa.string()),
            PROBLEM: pa.nulls(rows, pa.string()),
        }
    )
    _check_years(delivery, table, wanted)
    return FileRows(
        table,
        {
            "rows": rows,
            "bytes": len(data),
            "blank_lines": 0,
            "unsplit": 0,
            "final_newline": True,
            "cut_off_line": None,
            "extra_columns": extra,
            "unverified_columns": unverified,
        },
    )


def _check_size(delivery: Delivery, rows: int, columns: int) -> None:
    if rows * columns > _MOST_CELLS:
        raise DeliveryError(
            f"{delivery.name} has {rows:,} rows of {columns:,} declared columns, {rows * columns:,} values, and at "
            f"most {_MOST_CELLS:,} are read from one file. Ask for it in parts."
        )


def _require_checksums(contract: Contract, source: Source, delivery: Delivery, unverified: list[str]) -> None:
    if source.format.checksums == "required" and unverified:
        raise DeliveryError(
            f"{delivery.name}: {len(unverified)} of {len(source.columns)} columns have no page checksums, which "
            f"{contract.file}:{source.line} requires. Have it written with them (pyarrow: write_page_checksum=True), "
            f"or set format: {{checksums: optional}}."
        )


def _check_statistics(delivery: Delivery, known: Sequence[Chunk], read: pa.Table) -> None:
    """Compare the values of each row group with the smallest, the largest and the number of nulls that it speaks of."""
    starts: dict[int, int] = {}
    for chunk in known:
        start = starts.setdefault(chunk.group, 0)
        starts[chunk.group + 1] = start + chunk.rows
        if _disagree(_plain(read[chunk.column].slice(start, chunk.rows)), chunk):
            raise DeliveryError(
                f"{delivery.name}: the values of the column {chunk.column!r} in rows {start + 1:,} to "
                f"{start + chunk.rows:,} are not those that the file's own statistics tell of, so that it is damaged. "
                f"Ask for it again."
            )


def _disagree(values: pa.ChunkedArray, chunk: Chunk) -> bool:
    if chunk.nulls is not None and chunk.nulls != values.null_count:
        return True
    if chunk.least is None or chunk.most is None or values.null_count == len(values):
        return False
    kind, size = values.type, len(chunk.least)
    low: Any
    high: Any
    if pa.types.is_string(kind):
        values, low, high = values.cast(pa.binary()), chunk.least, chunk.most
    elif pa.types.is_floating(kind) and size in _FLOATS:
        low, high = (struct.unpack(_FLOATS[size], bound)[0] for bound in (chunk.least, chunk.most))
    elif pa.types.is_integer(kind) or pa.types.is_date32(kind) or (pa.types.is_timestamp(kind) and size == _INT64):
        signed = not pa.types.is_unsigned_integer(kind)
        whole = values.cast(pa.int32()) if pa.types.is_date32(kind) else values
        values = whole.cast(pa.int64() if signed else pa.uint64())
        low, high = (int.from_bytes(bound, "little", signed=signed) for bound in (chunk.least, chunk.most))
    else:
        return False
    found = pc.min_max(values)
    return bool(found["min"].as_py() < low or found["max"].as_py() > high)


def _check_years(delivery: Delivery, table: pa.Table, names: list[str]) -> None:
    """Refuse days that no calendar has: nobody could be shown them."""
    for name in names:
        kind = table.schema.field(name).type
        if not pa.types.is_date(kind) and not pa.types.is_timestamp(kind):
            continue
        unit = 1 if pa.types.is_date32(kind) else _DAY["ms" if pa.types.is_date64(kind) else kind.unit]
        whole = table[name].cast(pa.int32() if pa.types.is_date32(kind) else pa.int64())
        least, most = _DAYS[0] * unit, (_DAYS[1] + 1) * unit - 1
        strange = pc.or_(pc.less(whole, max(least, -(2**63))), pc.greater(whole, min(most, 2**63 - 1)))
        if pc.any(strange).as_py():
            row = pc.index(pc.fill_null(strange, False), True).as_py() + 1
            raise DeliveryError(
                f"{delivery.name} row {row:,}: the column {name!r} holds a {'date' if unit == 1 else 'time'} outside "
                f"the years 1 to 9999, so that the file is damaged, or its unit is wrong. Ask for it again."
            )


def _check_types(contract: Contract, source: Source, delivery: Delivery, schema: pa.Schema) -> None:
    wrong = [
        f"{delivery.name}: the column {name!r} holds {schema.field(name).type}, which cannot become {column.type}, as "
        f"{contract.file}:{column.line} declares it. Have it written as {_WRITTEN_AS[column.type]}."
        for name, column in source.columns.items()
        if not castable(_plain_type(schema.field(name).type), column.type)
    ]
    if wrong:
        raise DeliveryError(*wrong)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """The type without its encoding: dictionaries and the several kinds of text are one."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.string() if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) else kind


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(_plain_type(column.type))
