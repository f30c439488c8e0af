"""What differs between the rows of two tables: by key where they have one, else as a bag of whole rows.

What belongs here: comparing two pyarrow tables, exactly and without a loop over rows. What does not: which tables, and
what their key is (``diff``).

Cells are equal as the digests of the store see them: null differs from NaN, NaN equals NaN, -0.0 differs from 0.0,
floats are compared bit by bit. A column whose type changed is compared by value where both types can be cast to one
without loss, and named where they cannot. Beside the two tables, memory holds one column's worth of numbers at a time
and a bit for each compared cell.
"""

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mlops_assets.wording import counted

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Ints = npt.NDArray[np.int64]
    Truths = npt.NDArray[np.bool_]

HIDDEN = "(hidden)"
"""What is shown instead of the values of a sensitive column."""

_ROOM = 2**62
_LINES = 1 << 16
_OURS = frozenset({"asset", "batch", "change", "column", "before", "after"})
_WIDE = re.compile(r"\blarge_(?=string|binary|list<)")


@dataclass(frozen=True)
class RowDiff:
    """How many rows and cells differ, with examples.

    With a ``key``: ``changed`` counts rows of one key with a cell that differs, ``cells`` differing cells by column.
    Without one, ``why`` says why, ``added`` and ``removed`` count whole rows (a changed row is one of each), and
    ``changed`` is None. Only columns on both sides are compared: ``columns_added``, ``columns_removed``, ``retyped``
    (types before and after) and, of these, ``incomparable`` name the rest. ``sample`` holds the first few ``added`` and
    ``removed`` rows, and ``changed`` rows as their ``key`` and ``cells`` with ``before`` and ``after``, as plain JSON.
    """

    key: tuple[str, ...]
    why: str
    rows_before: int
    rows_after: int
    added: int
    removed: int
    changed: int | None
    cells: Mapping[str, int] = field(default_factory=dict)
    columns_added: tuple[str, ...] = ()
    columns_removed: tuple[str, ...] = ()
    retyped: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    incomparable: tuple[str, ...] = ()
    sample: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    @property
    def same(self) -> bool:
        """Whether no compared row or cell differs."""
        return not (self.added or self.removed or self.changed)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "key": list(self.key),
            "why_no_key": self.why or None,
            "rows_before": self.rows_before,
            "rows_after": self.rows_after,
            "added": self.added,
            "removed": self.removed,
            "changed": self.changed,
            "cells": dict(self.cells),
            "columns_added": list(self.columns_added),
            "columns_removed": list(self.columns_removed),
            "retyped": {name: list(types) for name, types in self.retyped.items()},
            "incomparable": list(self.incomparable),
            "sample": {kind: [dict(row) for row in rows] for kind, rows in self.sample.items()},
        }


def compare(
    before: "pa.Table",
    after: "pa.Table",
    key: Sequence[str] = (),
    *,
    hide: Collection[str] = (),
    sample: int = 10,
    why: str = "no key is known",
) -> "Comparison":
    """Compare two tables by the columns of ``key``, or as bags of rows where that is no key of both.

    ``hide`` names columns whose values are shown as ``(hidden)``; ``sample`` bounds the examples of each kind. ``why``
    is what is said when ``key`` is empty.
    """
    return Comparison(before, after, tuple(key), hide=frozenset(hide), sample=sample, why=why)


class Comparison:
    """Two tables and where they differ: ``diff`` in numbers, ``lines`` difference by difference."""

    def __init__(
        self,
        before: "pa.Table",
        after: "pa.Table",
        key: tuple[str, ...],
        *,
        hide: frozenset[str],
        sample: int,
        why: str,
    ) -> None:
        from mlops_assets.store.values import canonical_table

        self._hide = hide
        self._most = sample
        self._before, self._after, self._shape = _aligned(canonical_table(before), canonical_table(after))
        self._compared = [name for name in self._before.column_names if name not in self._shape.incomparable]
        self._masks: dict[str, npt.NDArray[np.uint8]] = {}
        self._cells: dict[str, int] = {}
        coded, self.why = self._coded_key(key, why)
        self.key = key if coded else ()
        if coded:
            self._by_key(*coded)
        else:
            self._by_row()

    @cached_property
    def diff(self) -> RowDiff:
        """The differences in numbers, with a sample."""
        return RowDiff(
            key=self.key,
            why=self.why,
            rows_before=self._before.num_rows,
            rows_after=self._after.num_rows,
            added=len(self._added),
            removed=len(self._removed),
            changed=int(self._changed.sum()) if self.key else None,
            cells={name: count for name, count in self._cells.items() if count},
            columns_added=self._shape.added,
            columns_removed=self._shape.removed,
            retyped=self._shape.retyped,
            incomparable=self._shape.incomparable,
            sample={
                "added": self._rows(self._after, self._added[: self._most]),
                "removed": self._rows(self._before, self._removed[: self._most]),
                "changed": self._changes(self._most),
            },
        )

    def lines(self) -> "Iterator[pa.Table]":
        """Every difference as a line of text columns, some thousands at a time.

        ``change`` (``added``, ``removed``, ``changed``), the columns of the key (all compared columns where there is no
        key), then ``column``, ``before`` and ``after`` of a changed cell. A key column with one of these names, or
        called ``asset`` or ``batch``, has ``key_`` before it.
        """
        for change, table, rows in (("removed", self._before, self._removed), ("added", self._after, self._added)):
            for part in _parts(rows):
                yield self._table(change, table, part, None)
        for name, count in self._cells.items():
            if count:
                for part in _parts(self._at(name)):
                    yield self._table("changed", self._after, self._in_after[part], (name, self._in_before[part]))

    def table(self) -> "pa.Table":
        """All ``lines`` in one table."""
        import pyarrow as pa

        return pa.concat_tables([self._empty(), *self.lines()])

    # --- comparing -----------------------------------------------------------------------------------------------

    def _coded_key(self, key: tuple[str, ...], why: str) -> tuple["tuple[Ints, Ints, int] | None", str]:
        """Numbers for the keys before and after, or why there are none."""
        import numpy as np

        if not key:
            return None, why
        named = ", ".join(key)
        for name in key:
            if name not in self._before.column_names:
                return None, f"the key column {name} is not on both sides"
            if name in self._shape.incomparable:
                return None, f"the key column {name} changed its type"
        for side, table in (("before", self._before), ("after", self._after)):
            nulls = {name: table.column(name).null_count for name in key}
            if empty := [name for name, count in nulls.items() if count]:
                return None, f"{counted(nulls[empty[0]], 'row')} {side} without a value in the key column {empty[0]}"
        of_before, of_after, size = self._codes(key)
        for side, codes in (("before", of_before), ("after", of_after)):
            counts = np.bincount(codes, minlength=size)
            if shared := int(counts[counts > 1].sum()):
                return None, f"{shared} rows {side} share their key ({named}) with another"
        return (of_before, of_after, size), ""

    def _codes(self, names: Sequence[str]) -> "tuple[Ints, Ints, int]":
        """A number below the last one for each row, the same where the rows agree in the columns, on either side."""
        import numpy as np
        import pyarrow as pa

        rows = self._before.num_rows
        found, size = np.zeros(rows + self._after.num_rows, np.int64), 1
        for name in names:
            column = pa.chunked_array(self._before.column(name).chunks + self._after.column(name).chunks)
            found, size = _combined(found, size, *_coded(column))
        found, size = _dense(found)
        return found[:rows], found[rows:], size

    def _by_key(self, before: "Ints", after: "Ints", size: int) -> None:
        import numpy as np

        place = np.full(size, -1, np.int64)
        place[before] = np.arange(len(before))
        met = place[after]
        self._in_after = np.flatnonzero(met >= 0)
        self._in_before = met[self._in_after]
        self._added = np.flatnonzero(met < 0)
        gone = np.ones(len(before), bool)
        gone[self._in_before] = False
        self._removed = np.flatnonzero(gone)
        aligned = len(before) == len(after) and bool((met == np.arange(len(met))).all())
        self._changed = np.zeros(len(self._in_after), bool)
        for name in self._compared:
            if name in self.key:
                continue
            old, new = self._before.column(name), self._after.column(name)
            if not aligned:
                old, new = old.take(_array(self._in_before)), new.take(_array(self._in_after))
            mask = _differing(old, new)
            self._cells[name] = int(mask.sum())
            if self._cells[name]:
                self._changed |= mask
                self._masks[name] = np.packbits(mask)

    def _by_row(self) -> None:
        import numpy as np

        before, after, size = self._codes(self._compared)
        if not self._compared:
            # rows without a cell differ in their number alone
            before, after, size = np.zeros(len(before), np.int64), np.zeros(len(after), np.int64), 1
        in_before, in_after = np.bincount(before, minlength=size), np.bincount(after, minlength=size)
        self._added = np.flatnonzero(_occurrence(after) >= in_before[after])
        self._removed = np.flatnonzero(_occurrence(before) >= in_after[before])
        self._in_before = self._in_after = np.zeros(0, np.int64)
        self._changed = np.zeros(0, bool)

    # --- showing -------------------------------------------------------------------------------------------------

    def _at(self, name: str) -> "Ints":
        """Which of the rows on both sides differ in a column."""
        import numpy as np

        return np.flatnonzero(np.unpackbits(self._masks[name], count=len(self._in_after)))

    def _rows(self, table: "pa.Table", rows: "Ints") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = [
            {name: HIDDEN if name in self._hide else plain(value) for name, value in row.items()}
            for row in table.take(_array(rows)).to_pylist()
        ]
        return found

    def _changes(self, most: int) -> list[dict[str, Any]]:
        import numpy as np

        found = []
        masks = {name: np.unpackbits(mask, count=len(self._in_after)) for name, mask in self._masks.items()}
        for place in np.flatnonzero(self._changed)[:most].tolist():
            old, new = int(self._in_before[place]), int(self._in_after[place])
            cells = {
                name: {"before": self._shown(self._before, name, old), "after": self._shown(self._after, name, new)}
                for name, mask in masks.items()
                if mask[place]
            }
            found.append({"key": {name: self._shown(self._after, name, new) for name in self.key}, "cells": cells})
        return found

    def _shown(self, table: "pa.Table", name: str, row: int) -> Any:
        return HIDDEN if name in self._hide else plain(table.column(name)[row].as_py())

    def _table(self, change: str, table: "pa.Table", rows: "Ints", cell: "tuple[str, Ints] | None") -> "pa.Table":
        import pyarrow as pa

        count = len(rows)
        columns = {"change": pa.repeat(pa.scalar(change), count)}
        for name in self.key or self._compared:
            columns[_out(name)] = self._texts(table, name, rows)
        if cell:
            name, old = cell
            columns["column"] = pa.repeat(pa.scalar(name), count)
            columns["before"] = self._texts(self._before, name, old)
            columns["after"] = self._texts(self._after, name, rows)
        else:
            columns |= dict.fromkeys(("column", "before", "after"), pa.nulls(count, pa.string()))
        return pa.table(columns)

    def _empty(self) -> "pa.Table":
        import numpy as np

        return self._table("", self._after, np.zeros(0, np.int64), None)

    def _texts(self, table: "pa.Table", name: str, rows: "Ints") -> "pa.Array":
        import pyarrow as pa

        if name in self._hide:
            return pa.repeat(pa.scalar(HIDDEN), len(rows))
        return texts(table.column(name).take(_array(rows)))


def plain(value: Any) -> Any:
    """A cell's Python value as plain JSON: what JSON cannot say becomes text."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, date | time | bytes):
        return value.hex() if isinstance(value, bytes) else value.isoformat()
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def texts(column: "pa.ChunkedArray") -> "pa.Array":
    """The cells of a column as text, nulls staying nulls; bytes in hex, nested values as JSON."""
    import json

    import pyarrow as pa
    from pyarrow import types

    type_ = column.type
    if types.is_nested(type_):
        cells = (
            None if value is None else json.dumps(plain(value), ensure_ascii=False) for value in column.to_pylist()
        )
        return pa.array(cells, pa.string())
    if _is_bytes(type_):
        return pa.array((None if value is None else value.hex() for value in column.to_pylist()), pa.string())
    found = column.cast(pa.string())
    return found.combine_chunks() if found.num_chunks != 1 else found.chunk(0)


def same_type(one: str, other: str) -> bool:
    """Whether two names of Arrow types mean the same values: 32- or 64-bit offsets do not count."""
    return one == other or _WIDE.sub("", one) == _WIDE.sub("", other)


# --- columns on both sides -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Shape:
    added: tuple[str, ...]
    removed: tuple[str, ...]
    retyped: Mapping[str, tuple[str, str]]
    incomparable: tuple[str, ...]


def _aligned(before: "pa.Table", after: "pa.Table") -> "tuple[pa.Table, pa.Table, _Shape]":
    """The columns of both tables, in types that compare."""
    import pyarrow as pa

    common = [name for name in before.column_names if name in set(after.column_names)]
    retyped = {}
    incomparable = []
    pairs = {}
    for name in common:
        old, new = before.column(name), after.column(name)
        if old.type != new.type:
            if not same_type(str(old.type), str(new.type)):
                retyped[name] = (str(old.type), str(new.type))
            met = _met(old, new)
            if met is None:
                incomparable.append(name)
            else:
                old, new = met
        pairs[name] = old, new
    shape = _Shape(
        tuple(name for name in after.column_names if name not in pairs),
        tuple(name for name in before.column_names if name not in pairs),
        retyped,
        tuple(incomparable),
    )
    names = list(pairs)
    if not names:
        # made of no columns, a table would have no rows
        return before.select([]), after.select([]), shape
    return (
        pa.table([old for old, _ in pairs.values()], names),
        pa.table([new for _, new in pairs.values()], names),
        shape,
    )


def _met(old: "pa.ChunkedArray", new: "pa.ChunkedArray") -> "tuple[pa.ChunkedArray, pa.ChunkedArray] | None":
    """Two columns in one type that loses nothing of either, or None."""
    import pyarrow as pa

    type_ = _common(old.type, new.type)
    if type_ is None:
        return None
    try:
        return old.cast(type_), new.cast(type_)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _common(old: "pa.DataType", new: "pa.DataType") -> "pa.DataType | None":
    import pyarrow as pa
    from pyarrow import types

    for one, other in ((old, new), (new, old)):
        if types.is_date(one) and types.is_timestamp(other) and other.tz is None:
            return other
        # a decimal as a float is another number, and the cast does not say so
        if types.is_decimal(one) and types.is_floating(other):
            return None
    try:
        merged = pa.unify_schemas(
            [pa.schema([("cell", old)]), pa.schema([("cell", new)])], promote_options="permissive"
        )
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return None
    return merged.field("cell").type


# --- cells -----------------------------------------------------------------------------------------------------------


def _differing(old: "pa.ChunkedArray", new: "pa.ChunkedArray") -> "Truths":
    """Where two columns of one length and type differ."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import types

    type_ = old.type
    if types.is_null(type_):
        return np.zeros(len(old), bool)
    if types.is_floating(type_):
        old, new = _bits(old), _bits(new)
    elif not (types.is_primitive(type_) or types.is_decimal(type_) or _is_text(type_)):
        codes, _ = _coded(pa.chunked_array(old.chunks + new.chunks, type_))
        differs: Truths = codes[: len(old)] != codes[len(old) :]
        return differs
    found = pc.not_equal(old, new)
    if old.null_count or new.null_count:
        found = pc.fill_null(found, False)
        found = pc.or_(found, pc.xor(old.is_null(), new.is_null()))
    return np.asarray(found, bool)


def _bits(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """Floats as the numbers of their bits, all NaN alike."""
    import pyarrow as pa
    import pyarrow.compute as pc

    whole = {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[column.type.bit_width]
    chunks = []
    for chunk in column.chunks:
        if column.type == pa.float16():
            # no kernel looks into half floats; every one of them is exact as a float
            chunks.append(_bits(pa.chunked_array([chunk.cast(pa.float32())])).combine_chunks())
            continue
        wrong = pc.is_nan(chunk)
        alike = pc.if_else(wrong, pa.scalar(math.nan, chunk.type), chunk) if pc.any(wrong).as_py() else chunk
        chunks.append(alike.view(whole))
    return pa.chunked_array(chunks, pa.int32() if column.type == pa.float16() else whole)


def _coded(column: "pa.ChunkedArray") -> "tuple[Ints, int]":
    """A number below the second answer for each cell, the same for equal cells; null is a value of its own."""
    import numpy as np
    from pyarrow import types

    column = _decoded(column)
    if types.is_null(column.type):
        return np.zeros(len(column), np.int64), 1
    if types.is_struct(column.type):
        return _coded_struct(column)
    if types.is_nested(column.type):
        return _coded_list(column)
    coded = column.dictionary_encode("encode")
    size = len(coded.chunk(0).dictionary) if coded.num_chunks else 0
    # not to_numpy: it imports pandas
    parts = [np.from_dlpack(chunk.indices).astype(np.int64, copy=False) for chunk in coded.chunks]
    return (np.concatenate(parts) if parts else np.zeros(0, np.int64)), max(1, size)


def _decoded(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """A column in a form that can be told apart by its bytes; nested ones on their outside only."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import types

    type_ = column.type
    if types.is_floating(type_):
        return _bits(column)
    change: Callable[[pa.Array], pa.Array] | None = None
    if types.is_dictionary(type_):
        change, plainer = pc.dictionary_decode, type_.value_type
    elif types.is_run_end_encoded(type_):
        change, plainer = pc.run_end_decode, type_.value_type
    elif types.is_map(type_):
        plainer = pa.list_(pa.struct([("key", type_.key_type), ("value", type_.item_type)]))
    elif types.is_string_view(type_) or types.is_binary_view(type_):
        plainer = pa.large_string() if types.is_string_view(type_) else pa.large_binary()
    else:
        return column
    chunks = [change(chunk) if change else chunk.cast(plainer) for chunk in column.chunks]
    return _decoded(pa.chunked_array(chunks, plainer))


def _coded_struct(column: "pa.ChunkedArray") -> "tuple[Ints, int]":
    import pyarrow as pa

    found, size = _nulls(column), 2
    # flatten() makes the fields null where the struct is
    fields = [chunk.flatten() for chunk in column.chunks]
    for index in range(column.type.num_fields):
        inner = pa.chunked_array([chunk[index] for chunk in fields], column.type.field(index).type)
        found, size = _combined(found, size, *_coded(inner))
    return found, size


def _coded_list(column: "pa.ChunkedArray") -> "tuple[Ints, int]":
    """Lists: the numbers of their elements, taken as the bytes of a text."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    inner = pa.chunked_array([chunk.flatten() for chunk in column.chunks], column.type.value_type)
    elements, _ = _coded(inner)
    lengths = np.asarray(pc.fill_null(pc.list_value_length(column), 0)).astype(np.int64)
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths * elements.itemsize, out=offsets[1:])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(elements))]
    wholes = pa.Array.from_buffers(pa.large_binary(), len(lengths), buffers)
    return _combined(_nulls(column), 2, *_coded(pa.chunked_array([wholes])))


def _nulls(column: "pa.ChunkedArray") -> "Ints":
    import numpy as np

    return np.asarray(column.is_null()).astype(np.int64)


def _combined(found: "Ints", size: int, codes: "Ints", further: int) -> "tuple[Ints, int]":
    """Numbers that are equal where both numbers are."""
    if size * further > _ROOM:
        found, size = _dense(found)
    if size * further > _ROOM:
        codes, further = _dense(codes)
    return (codes if size == 1 else found * further + codes), size * further


def _dense(codes: "Ints") -> "tuple[Ints, int]":
    """The same numbers in the smallest range; hashing is several times faster than sorting here."""
    return _coded(_chunked(codes))


def _occurrence(codes: "Ints") -> "Ints":
    """For each number how many of the same came before it."""
    import numpy as np

    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(codes) else np.zeros(0, np.int64)
    lengths = np.diff(np.r_[starts, len(codes)])
    found = np.empty(len(codes), np.int64)
    found[order] = np.arange(len(codes)) - np.repeat(starts, lengths)
    return found


def _is_text(type_: "pa.DataType") -> bool:
    from pyarrow import types

    return bool(types.is_string(type_) or types.is_large_string(type_) or _is_bytes(type_))


def _is_bytes(type_: "pa.DataType") -> bool:
    from pyarrow import types

    return bool(types.is_binary(type_) or types.is_large_binary(type_) or types.is_fixed_size_binary(type_))


def _chunked(numbers: "Ints") -> "pa.ChunkedArray":
    import pyarrow as pa

    return pa.chunked_array([pa.array(numbers)])


def _array(numbers: "Ints") -> "pa.Array":
    import pyarrow as pa

    return pa.array(numbers)


def _parts(rows: "Ints") -> "Iterator[Ints]":
    for start in range(0, len(rows), _LINES):
        yield rows[start : start + _LINES]


def _out(name: str) -> str:
    while name in _OURS:
        name = f"key_{name}"
    return name
