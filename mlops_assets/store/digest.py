"""What makes two values the same version: digests of tables, JSON, bytes and fitted estimators.

What belongs here: pure functions from a value to ``b3:`` and 64 hex digits of BLAKE3. What does not: files, or the
encodings in which values are stored; bytes of parquet or skops differ between releases and never define a version.

A table's digest covers row and column order, names, types, and values: null differs from NaN, -0.0 from 0.0, int32
from int64, one timestamp unit or zone from another. It does not cover what readers cannot rely on: chunks, slices,
padding, what lies under a null, the payload of a NaN, 32- or 64-bit offsets, dictionary encoding, nullability, or
schema metadata. How values are hashed is fixed by ``_TABLE``; any change to it needs a new name there.
"""

import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from mlops_assets.errors import StoreError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_TABLE = "mlops_assets.table.1"
_ESTIMATOR = "mlops_assets.estimator.1"

_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"), check_circular=True
).encode


def bytes_digest(data: bytes | bytearray | memoryview) -> str:
    """``b3:`` and the BLAKE3 of the bytes, as ``b3sum`` prints it."""
    return "b3:" + blake3(data).hexdigest()


def canonical_json(value: Any) -> bytes:
    """The one JSON text (UTF-8, sorted keys, no spaces) of a plain value; tuples become lists.

    Raises ``StoreError`` for what JSON cannot say (NaN, infinities, dates, numpy scalars) or would change in silence
    (keys that are no text).
    """
    _check_keys(value, "the value")
    try:
        return _encode(value).encode()
    except (TypeError, ValueError, RecursionError) as trouble:
        sentence = f"A value cannot be written as JSON: {trouble}. Give plain text, numbers, lists and dicts."
        raise StoreError(sentence) from trouble


def _check_keys(value: Any, where: str) -> None:
    # json.dumps writes {1: ...} and {"1": ...} alike
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise StoreError(f"A value cannot be written as JSON: the key {key!r} is not text, in {where}.")
            if isinstance(item, dict | list | tuple):
                _check_keys(item, key)
    elif isinstance(value, list | tuple):
        for item in value:
            if isinstance(item, dict | list | tuple):
                _check_keys(item, where)


def parse_json(data: bytes) -> Any:
    """The value of a JSON text; raises ``ValueError``."""
    return json.loads(data)


_SEAL = b',"~crc32":"'


def sealed_json(record: Mapping[str, Any]) -> bytes:
    """``canonical_json`` of an object, with a checksum as its last field: for records whose names are no digests."""
    data = canonical_json(record)
    return b'%b%b%08x"}' % (data[:-1], _SEAL, zlib.crc32(data))


def unsealed(data: bytes) -> bytes:
    """The JSON text that was sealed; one without a seal as it is. Raises ``ValueError`` when bytes have changed."""
    body, seal, sum_ = data[:-21], data[-21:-10], data[-10:]
    if seal != _SEAL:
        return data
    body += b"}"
    if sum_ != b'%08x"}' % zlib.crc32(body):
        raise ValueError("the checksum is another")
    return body


def json_digest(value: Any) -> str:
    """The digest of a plain value: of its canonical JSON text. Raises ``StoreError`` as ``canonical_json`` does."""
    return bytes_digest(canonical_json(value))


@dataclass(frozen=True, slots=True)
class TableDigest:
    """A table's ``version`` and the digest of each column by name, so that "which columns changed" is free."""

    version: str
    columns: Mapping[str, str]

    def __str__(self) -> str:
        return self.version


def table_digest(table: "pa.Table") -> TableDigest:
    """The digest of a pyarrow table; see the module for what it covers.

    Raises ``StoreError`` for two columns of one name and for types without a canonical form (unions, extensions).
    """
    columns: dict[str, str] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if name in columns:
            raise StoreError(f"A table has two columns named {name!r}; rename one.")
        columns[name] = column_digest(column, name)
    content = {"is": _TABLE, "rows": table.num_rows, "columns": list(columns.items())}
    return TableDigest(bytes_digest(canonical_json(content)), columns)


def column_digest(column: "pa.ChunkedArray", name: str = "") -> str:
    """The digest of one column; ``name`` is for the error and not part of it."""
    node = _Node(column.type, name)
    for chunk in column.chunks:
        node.update(chunk)
    return "b3:" + node.digest().hex()


class _Node:
    """The running hash of one array, over all chunks, and of the arrays nested in it.

    Nulls are hashed as their positions: free where there are none, and no bits need shifting where chunks meet.
    """

    def __init__(self, type_: "pa.DataType", column: str) -> None:
        from pyarrow import types

        self.rows = 0
        self.nulls = 0
        self.null_hash = blake3()
        self.hashes = [blake3()]
        self.children: list[_Node] = []
        self.feed: Callable[[pa.Array, np.ndarray | None], None] = self._fixed
        self.plain: Callable[[pa.Array], pa.Array] | None = None

        self.plain, type_ = _plain_form(type_)
        self.type = type_
        self.tag = str(type_)
        if _is_text(type_):
            self.tag, self.feed = _text_tag(type_), self._text
            self.hashes.append(blake3())
        elif _is_list(type_):
            self.children = [_Node(type_.value_type, column)]
            self.tag, self.feed = "list", self._list
        elif types.is_fixed_size_list(type_):
            self.children = [_Node(type_.value_type, column)]
            self.tag, self.feed = f"list[{type_.list_size}]", self._nested
        elif types.is_struct(type_):
            fields = [type_.field(i) for i in range(type_.num_fields)]
            self.children = [_Node(field.type, column) for field in fields]
            self.tag, self.feed = canonical_json(["struct", *(field.name for field in fields)]).decode(), self._struct
        elif types.is_null(type_):
            self.feed = self._nothing
        elif types.is_boolean(type_):
            self.feed = self._boolean
        elif not (types.is_primitive(type_) or types.is_decimal(type_) or types.is_fixed_size_binary(type_)):
            raise StoreError(
                f"Column {column!r} has the type {type_}, which has no canonical form; cast it to a plain type first."
            )
        self.float_width = type_.bit_width // 8 if types.is_floating(type_) else 0

    def update(self, array: "pa.Array") -> None:
        """Hash one more chunk."""
        import numpy as np
        import pyarrow.compute as pc

        if self.plain:
            array = self.plain(array)
        if not len(array):
            return
        nulls = None
        if array.null_count and self.feed != self._nothing:
            places = pc.indices_nonzero(array.is_null())
            # to_numpy() imports pandas, if it is there: 0.2 s
            nulls = np.frombuffer(places.buffers()[1], np.uint64, len(places), places.offset * 8)
            self.nulls += len(nulls)
            self.null_hash.update(_memory((nulls + self.rows).astype("<u8", copy=False)))
        self.feed(array, nulls)
        self.rows += len(array)

    def digest(self) -> bytes:
        """32 bytes."""
        whole = blake3(canonical_json([self.tag, self.rows, self.nulls]))
        whole.update(self.null_hash.digest())
        for part in self.hashes:
            whole.update(part.digest())
        for child in self.children:
            whole.update(child.digest())
        return whole.digest()

    def _nothing(self, _array: "pa.Array", _nulls: "np.ndarray | None") -> None:
        """All is said by the number of rows."""

    def _boolean(self, array: "pa.Array", nulls: "np.ndarray | None") -> None:
        import pyarrow as pa

        self._fixed(array.cast(pa.uint8()), nulls)

    def _fixed(self, array: "pa.Array", nulls: "np.ndarray | None") -> None:
        import numpy as np

        width = array.type.bit_width // 8
        if not width:
            return
        rows = len(array)
        raw = np.frombuffer(array.buffers()[1], np.uint8, rows * width, array.offset * width)
        word = f"<u{width}" if width in {1, 2, 4, 8} else None
        values = raw.view(word) if word else raw.reshape(rows, width)
        if nulls is not None and values[nulls].any():
            values = values.copy()
            values[nulls] = 0
        if self.float_width:
            numbers = values.view(f"<f{width}")
            # min() carries a NaN through, at memory speed and without a mask
            if np.isnan(numbers.min()):
                # signs and payloads of NaN differ between machines for the same computation
                numbers = numbers.copy()
                numbers[np.isnan(numbers)] = np.nan
                values = numbers
        self.hashes[0].update(_memory(values))

    def _text(self, array: "pa.Array", nulls: "np.ndarray | None") -> None:
        import pyarrow.compute as pc

        offsets = _offsets(array)
        lengths = offsets[1:] - offsets[:-1]
        if nulls is not None and lengths[nulls].any():
            array = pc.fill_null(array, "" if self.tag == "string" else b"")
            offsets = _offsets(array)
            lengths = offsets[1:] - offsets[:-1]
        self.hashes[0].update(_memory(lengths.astype("<i8", copy=False)))
        first, last = int(offsets[0]), int(offsets[-1])
        if last > first:
            self.hashes[1].update(memoryview(array.buffers()[2])[first:last])

    def _list(self, array: "pa.Array", nulls: "np.ndarray | None") -> None:
        if hasattr(array, "sizes"):
            # list views; pyarrow 25 casts them to lists that are broken
            lengths = array.sizes.to_numpy().astype("<i8")
        else:
            offsets = _offsets(array)
            lengths = (offsets[1:] - offsets[:-1]).astype("<i8", copy=False)
        if nulls is not None:
            lengths[nulls] = 0
        self.hashes[0].update(_memory(lengths))
        # flatten() leaves out what lies under null lists and outside the slice
        self.children[0].update(array.flatten())

    def _nested(self, array: "pa.Array", _nulls: "np.ndarray | None") -> None:
        self.children[0].update(array.flatten())

    def _struct(self, array: "pa.Array", _nulls: "np.ndarray | None") -> None:
        # flatten() makes the fields null where the struct is
        for child, field in zip(self.children, array.flatten(), strict=True):
            child.update(field)


_Plain = Callable[["pa.Array"], "pa.Array"]


def _plain_form(type_: "pa.DataType") -> tuple[_Plain | None, "pa.DataType"]:
    """How arrays of a type are brought to the one form that is hashed, and the type of that form."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import types

    if types.is_dictionary(type_) or types.is_run_end_encoded(type_):
        decode: _Plain = pc.run_end_decode if types.is_run_end_encoded(type_) else _decode_dictionary
        further, inner = _plain_form(type_.value_type)
        return (decode if further is None else lambda array: further(decode(array))), inner
    plain = type_
    if types.is_map(type_):
        plain = pa.list_(pa.struct([("key", type_.key_type), ("value", type_.item_type)]))
    elif types.is_string_view(type_):
        plain = pa.large_string()
    elif types.is_binary_view(type_):
        plain = pa.large_binary()
    return (None if plain is type_ else lambda array: array.cast(plain)), plain


def _decode_dictionary(array: "pa.Array") -> "pa.Array":
    return array.dictionary_decode()


def _text_tag(type_: "pa.DataType") -> str:
    from pyarrow import types

    return "string" if types.is_string(type_) or types.is_large_string(type_) else "binary"


def _is_list(type_: "pa.DataType") -> bool:
    from pyarrow import types

    tests = (types.is_list, types.is_large_list, types.is_list_view, types.is_large_list_view)
    return any(test(type_) for test in tests)


def _is_text(type_: "pa.DataType") -> bool:
    from pyarrow import types

    return any(test(type_) for test in (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary))


def _offsets(array: "pa.Array") -> "np.ndarray":
    import numpy as np
    from pyarrow import types

    wide = types.is_large_string(array.type) or types.is_large_binary(array.type) or types.is_large_list(array.type)
    kind = np.dtype("<i8") if wide else np.dtype("<i4")
    # buffers of nested arrays come flattened in one list: the validity and the offsets are always the first two
    return np.frombuffer(array.buffers()[1], kind, len(array) + 1, array.offset * kind.itemsize)


def _memory(values: "np.ndarray") -> memoryview:
    return values.reshape(-1).view("u1").data


# Settings and marks that change how fast or how loudly a model was made, never what it predicts.
_IGNORED = frozenset({"n_jobs", "n_threads", "_n_threads", "verbose", "_sklearn_version"})


def estimator_digest(value: Any) -> str:
    """The digest of the structure of fitted estimators and plain values around them.

    Class names, parameters and fitted arrays count (by dtype, shape and logical content; structured arrays field by
    field, so that padding never counts). ``n_jobs``, ``n_threads``, ``verbose`` and scikit-learn's version mark of an
    estimator do not, nor the order of dict keys: the digest is the same over processes, threads and round trips, where
    bytes of pickle or skops are not. Raises ``StoreError`` for what has no structure to look at (local functions, open
    files) and for values that hold themselves.
    """
    return "b3:" + blake3(_ESTIMATOR.encode() + _structure(value, ())).hexdigest()


def _tagged(tag: str, parts: Iterable[bytes]) -> bytes:
    """32 bytes of a tag and its parts; parts of any length cannot run into each other."""
    whole = blake3(tag.encode())
    for part in parts:
        whole.update(len(part).to_bytes(8, "little"))
        whole.update(part)
    return whole.digest()


def _structure(value: Any, above: tuple[int, ...]) -> bytes:
    import numpy as np

    if id(value) in above:
        raise StoreError(
            f"A value of type {type(value).__qualname__} holds itself and so has no digest; take the loop out."
        )
    if isinstance(value, np.ndarray):
        return _array(value, (*above, id(value)))
    leaf: tuple[str, bytes] | None = None
    if isinstance(value, np.generic):
        leaf = "scalar", _array(np.asarray(value), above)
    elif value is None or isinstance(value, bool | int | float | complex):
        leaf = type(value).__name__, repr(value).encode()
    elif isinstance(value, str):
        leaf = "str", value.encode("utf-8", "surrogatepass")
    elif isinstance(value, bytes | bytearray):
        leaf = "bytes", bytes(value)
    elif isinstance(value, slice):
        leaf = "slice", _structure((value.start, value.stop, value.step), above)
    elif isinstance(value, np.dtype):
        leaf = "dtype", repr(value.descr if value.names else value.str).encode()
    elif isinstance(value, np.ufunc):
        leaf = "ufunc", value.__name__.encode()
    if leaf:
        return _tagged(leaf[0], [leaf[1]])
    return _holder(value, (*above, id(value)))


def _holder(value: Any, inside: tuple[int, ...]) -> bytes:
    import numpy as np

    if isinstance(value, dict):
        pairs = sorted((_structure(key, inside), _structure(item, inside)) for key, item in value.items())
        return _tagged("dict", [part for pair in pairs for part in pair])
    if isinstance(value, list | tuple):
        return _tagged("list" if isinstance(value, list) else "tuple", [_structure(item, inside) for item in value])
    if isinstance(value, set | frozenset):
        return _tagged("set", sorted(_structure(item, inside) for item in value))
    if isinstance(value, np.random.RandomState):
        return _tagged("random", [_structure(value.get_state(legacy=False), inside)])
    if isinstance(value, type) or _is_function(value):
        name = f"{value.__module__}.{value.__qualname__}"
        if "<" in name:
            raise StoreError(f"The function {name} cannot be found again by its name; move it to the top of a module.")
        return _tagged("name", [name.encode()])
    return _object(value, inside)


def _is_function(value: Any) -> bool:
    # a bound method is more than its name: it is looked into as an object
    bound = getattr(value, "__self__", None)
    return callable(value) and hasattr(value, "__qualname__") and (bound is None or isinstance(bound, ModuleType))


def _object(value: Any, inside: tuple[int, ...]) -> bytes:
    kind = type(value)
    try:
        reduced = value.__reduce_ex__(4)
    except TypeError as trouble:
        raise StoreError(
            f"A value of type {kind.__module__}.{kind.__qualname__} cannot be looked into ({trouble}); "
            "store plain values and fitted scikit-learn estimators only."
        ) from trouble
    if isinstance(reduced, str):
        return _tagged("name", [f"{kind.__module__}.{reduced}".encode()])
    made_by, arguments, *rest = reduced
    state, items, pairs = (*rest, None, None, None)[:3]
    if isinstance(state, dict):
        state = {key: item for key, item in state.items() if key not in _IGNORED}
    return _tagged(
        f"{kind.__module__}.{kind.__qualname__}",
        [
            made_by.__name__.encode(),
            # an object made by copyreg names its own class first, which the tag says already
            _structure([item for item in arguments if item is not kind], inside),
            _structure(state, inside),
            _structure(list(items) if items else None, inside),
            _structure(dict(pairs) if pairs else None, inside),
        ],
    )


def _array(array: "np.ndarray", above: tuple[int, ...]) -> bytes:
    import numpy as np

    shape = repr(array.shape).encode()
    if array.dtype.names:
        fields = [(name.encode(), _array(np.asarray(array[name]), above)) for name in array.dtype.names]
        return _tagged("record", [shape, *(part for field in fields for part in field)])
    if array.dtype.kind == "O":
        return _tagged("objects", [shape, *(_structure(item, above) for item in array.ravel().tolist())])
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    if array.dtype.kind == "f" and array.size and np.isnan(array.min()):
        array = np.where(np.isnan(array), array.dtype.type(np.nan), array)
    return _tagged("array", [array.dtype.str.encode(), shape, array.tobytes()])
