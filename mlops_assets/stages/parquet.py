"""Reading Parquet: every declared column in the type that was delivered, every row with its number, counted from 1.

What belongs here: opening the file, and types that can never become the declared one. What does not: values that do not
fit (``cells``).
"""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlops_assets.contract.model import Contract, Source
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


def read_parquet(contract: Contract, source: Source, delivery: Delivery) -> FileRows:
    """The rows of a Parquet file.

    Raises:
        DeliveryError: the file is damaged or no Parquet file, or a column's type can never be the declared one.
    """
    data = read_bytes(delivery)
    refuse_foreign(delivery, source, data)
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        names = file.schema_arrow.names
        extra = check_columns(contract, source, delivery, names)
        _check_types(contract, source, delivery, file.schema_arrow)
        read = file.read(columns=list(source.columns), use_threads=False).select(list(source.columns))
    except (pa.ArrowInvalid, OSError) as error:
        first = str(error).splitlines()[0]
        raise DeliveryError(f"{delivery.name} is damaged or no Parquet file: {first} Ask for it again.") from None
    rows = read.num_rows
    table = pa.table(
        {name: _plain(read[name]) for name in source.columns}
        | {
            LINE: pa.array(np.arange(1, rows + 1)),
            TEXT: pa.nulls(rows, pa.string()),
            PROBLEM: pa.nulls(rows, pa.string()),
        }
    )
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
        },
    )


def _check_types(contract: Contract, source: Source, delivery: Delivery, schema: pa.Schema) -> None:
    wrong = [
        f"{delivery.name}: the column {name!r} holds {schema.field(name).type}, which cannot become {column.type}, as "
        f"{contract.file}:{column.line} declares it."
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
