"""How values become files and files values again, for each kind the store knows.

What belongs here: the encodings. What does not: where the files stand, and who may read them.

=========  =========  ===============================================================================================
kind       file       content
=========  =========  ===============================================================================================
table      .parquet   zstd, dictionary, page checksums; a pyarrow Table
json       .json      canonical JSON; plain values
bytes      .bin       as given
estimator  .skops     skops; fitted scikit-learn estimators, alone or in dicts, lists and tuples of plain values
=========  =========  ===============================================================================================

skops files name the types to be built. They are loaded only when each of those is one that skops trusts or in
``TRUSTED``, a list that stands here and is never read from a file: a stored model cannot run code.
"""

import base64
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from mlops_assets.errors import CorruptError, StoreError
from mlops_assets.store.backend import Content
from mlops_assets.store.digest import (
    bytes_digest,
    canonical_json,
    column_digest,
    estimator_digest,
    json_digest,
    parse_json,
    table_digest,
)
from mlops_assets.store.manifest import Kind

if TYPE_CHECKING:
    import pyarrow as pa

TRUSTED = (
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)
"""Types beyond those skops itself trusts (numpy arrays, scikit-learn's public estimators). Plain holders of arrays."""

_SAMPLE = 10_000
_DISTINCT = 0.95
"""Share of a sample's values that are distinct from which a column's dictionary would outgrow what parquet allows."""

_THREADED = 16 << 20
"""Bytes of parquet from which reading with several threads is worth waking them."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A value ready to be written: its identity, and ``content`` that writes it."""

    version: str
    content: Content
    rows: int | None = None
    schema: tuple[tuple[str, str], ...] = ()
    columns: dict[str, str] = field(default_factory=dict)


def prepare(kind: Kind, value: Any) -> Prepared:
    """Digest a value and say how it is written; nothing is encoded yet where that costs.

    Raises ``TypeError`` when the value is not of its kind and ``StoreError`` when it cannot be stored.
    """
    if kind == "table":
        return _prepare_table(value)
    if kind == "json":
        text = canonical_json(value)
        return Prepared(bytes_digest(text), text)
    if kind == "bytes":
        if not isinstance(value, bytes):
            raise TypeError(f"a value of kind 'bytes' must be bytes, not {type(value).__name__}")
        return Prepared(bytes_digest(value), value)
    if kind == "estimator":
        return Prepared(estimator_digest(value), _skops_writer(value))
    raise ValueError(f"unknown kind {kind!r}")


def digest(kind: Kind, value: Any) -> str:
    """The version of a value."""
    if kind == "table":
        return table_digest(value).version
    if kind == "json":
        return json_digest(value)
    if kind == "bytes":
        return bytes_digest(value)
    return estimator_digest(value)


def decode(kind: Kind, path: Path, columns: Sequence[str] | None = None) -> Any:
    """Read a value back; of a table, ``columns`` in the order asked for, reading no others from the disk.

    Raises ``CorruptError`` when the file is not what its name says, and ``FileNotFoundError``.
    """
    if kind == "table":
        return _read_table(path, columns)
    data = path.read_bytes()
    if kind == "bytes":
        return data
    if kind == "json":
        try:
            return parse_json(data)
        except ValueError as trouble:
            raise CorruptError(f"{path} is damaged: {trouble}.") from trouble
    return _load_skops(path, data)


def wrong_columns(table: "pa.Table", expected: dict[str, str]) -> list[str]:
    """Names of the table's columns whose content is not what ``expected`` (digests by name) says."""
    return [name for name in table.column_names if column_digest(table.column(name), name) != expected.get(name)]


def canonical_table(table: "pa.Table") -> "pa.Table":
    """The table as it is stored: one form for what the digest calls equal, so that a version has one look when read.

    Dictionaries are decoded, 64-bit offsets and views of text and bytes become 32-bit ones where the data fits, and
    metadata and nullability are dropped.
    """
    import pyarrow as pa

    arrays = []
    fields = []
    for original, column in zip(table.schema, table.columns, strict=True):
        type_ = _stored_type(column)
        arrays.append(column if column.type == type_ else column.cast(type_))
        fields.append(pa.field(original.name, type_))
    if not arrays:
        return table.replace_schema_metadata(None)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _stored_type(column: "pa.ChunkedArray") -> "pa.DataType":
    import pyarrow as pa
    from pyarrow import types

    type_ = column.type
    if types.is_dictionary(type_):
        type_ = type_.value_type
    small = column.nbytes < 1 << 30
    if types.is_string_view(type_) or types.is_large_string(type_):
        return pa.string() if small else pa.large_string()
    if types.is_binary_view(type_) or types.is_large_binary(type_):
        return pa.binary() if small else pa.large_binary()
    return type_


def _check_storable(name: str, type_: "pa.DataType", nulls: int, nested: bool = False) -> None:
    """Refuse, before anything is written, what pyarrow's parquet would not give back as it was."""
    from pyarrow import types

    hint = ""
    if types.is_date64(type_):
        hint = "a date32, or a timestamp[ms] where it holds a time of day"
    elif nested and (types.is_timestamp(type_) or types.is_time32(type_)) and type_.unit == "s":
        hint = "milliseconds"
    elif types.is_fixed_size_list(type_) and (nested or nulls):
        hint = "a list of any length"
    elif types.is_struct(type_) and not type_.num_fields:
        hint = "a boolean"
    elif types.is_interval(type_) or types.is_run_end_encoded(type_):
        hint = "a plain type"
    if hint:
        raise StoreError(f"Column {name!r} holds {type_}, which parquet does not give back; cast it to {hint} first.")
    for index in range(type_.num_fields):
        _check_storable(name, type_.field(index).type, nulls, nested=True)


def _prepare_table(value: Any) -> Prepared:
    import pyarrow as pa

    if not isinstance(value, pa.Table):
        raise TypeError(f"a value of kind 'table' must be a pyarrow Table, not {type(value).__name__}")
    identity = table_digest(value)
    table = canonical_table(value)
    for name, column in zip(table.column_names, table.columns, strict=True):
        _check_storable(name, column.type, column.null_count)

    def write(file: BinaryIO) -> None:
        import pyarrow.parquet as pq

        pq.write_table(table, file, compression="zstd", use_dictionary=_repeating(table), write_page_checksum=True)

    schema = tuple((column.name, str(column.type)) for column in table.schema)
    return Prepared(identity.version, write, table.num_rows, schema, dict(identity.columns))


def _repeating(table: "pa.Table") -> bool | list[str]:
    """The columns that are worth a dictionary (True: all).

    In large tables, building one for keys and measurements, to drop it when it is full, is a quarter of the work.
    """
    import pyarrow.compute as pc
    from pyarrow import types

    if table.num_rows < 10 * _SAMPLE or any(types.is_nested(type_) for type_ in table.schema.types):
        return True
    sample = table.slice(0, _SAMPLE)
    return [
        name
        for name, column in zip(sample.column_names, sample.columns, strict=True)
        if types.is_null(column.type) or pc.count_distinct(column, mode="all").as_py() < _DISTINCT * _SAMPLE
    ]


def _read_table(path: Path, columns: Sequence[str] | None) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.parquet as pq

    threads = path.stat().st_size >= _THREADED
    try:
        # not read_table(): it would add the folder's "p=..." as a column, and needs pyarrow.dataset
        with pq.ParquetFile(path, memory_map=True, page_checksum_verification=True) as file:
            table = _seconds_again(file.read(columns=columns, use_threads=threads), file.metadata.metadata)
        # names that are no text are noticed here
        _ = table.column_names
        # parquet takes "a" for "a.b" too, and answers in the file's order
        return table if columns is None else table.select(list(columns))
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, KeyError, ValueError) as trouble:
        raise CorruptError(f"{path} is damaged: {str(trouble).splitlines()[0]}.") from trouble


def _seconds_again(table: "pa.Table", metadata: dict[bytes, bytes] | None) -> "pa.Table":
    """Parquet knows no seconds: columns written as such come back in milliseconds, and are cast to what they were."""
    import pyarrow as pa
    from pyarrow import types

    coarse = [
        index
        for index, type_ in enumerate(table.schema.types)
        if (types.is_timestamp(type_) or types.is_time32(type_)) and type_.unit == "ms"
    ]
    encoded = (metadata or {}).get(b"ARROW:schema")
    if not coarse or not encoded:
        return table
    written = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(encoded)))
    for index in coarse:
        original = written.field(table.column_names[index])
        if original.type != table.column(index).type:
            table = table.set_column(index, original.name, table.column(index).cast(original.type))
    return table


def _skops_writer(value: Any) -> Callable[[BinaryIO], object]:
    def write(file: BinaryIO) -> None:
        from skops import io
        from skops.io.exceptions import UnsupportedTypeException

        try:
            data = io.dumps(value, compression=zipfile.ZIP_DEFLATED, compresslevel=1)
        except UnsupportedTypeException as trouble:
            raise StoreError(f"A model cannot be stored: {trouble}") from trouble
        if unknown := sorted(set(io.get_untrusted_types(data=data)) - set(TRUSTED)):
            raise StoreError(
                f"A model holds {', '.join(unknown)}, which the store would not load again; "
                "use estimators and functions of scikit-learn, or have the type added to TRUSTED in store/values.py."
            )
        file.write(data)

    return write


def _load_skops(path: Path, data: bytes) -> Any:
    from skops import io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return io.loads(data, trusted=list(TRUSTED))
    except UntrustedTypesFoundException as trouble:
        sentence = f"{path} wants to build types that the store does not trust, and was not loaded: {trouble}"
        raise CorruptError(sentence) from trouble
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, TypeError, AttributeError) as trouble:
        raise CorruptError(f"{path} is damaged: {trouble}.") from trouble
