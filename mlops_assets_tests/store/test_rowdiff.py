"""Rows compared, against a model that does it in plain Python, one cell at a time."""

import json
import math
import struct
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.store.digest import column_digest
from mlops_assets.store.rowdiff import HIDDEN, compare, plain, texts

NAN = math.nan

BEFORE = pa.table(
    {
        "flight": [1, 2, 3, 4],
        "carrier": ["AA", "AA", "UA", "DL"],
        "delay": [1.5, None, NAN, -0.0],
        "note": ["a", "b", None, ""],
    }
)
AFTER = pa.table(
    {
        "flight": [4, 3, 2, 5],
        "carrier": ["DL", "UA", "AA", "AA"],
        "delay": [0.0, NAN, None, 2.5],
        "note": ["", "c", "b", "new"],
    }
)


def test_rows_meet_by_their_key() -> None:
    found = compare(BEFORE, AFTER, ["flight", "carrier"])
    diff = found.diff
    assert (diff.key, diff.why, diff.rows_before, diff.rows_after) == (("flight", "carrier"), "", 4, 4)
    assert (diff.added, diff.removed, diff.changed) == (1, 1, 2)
    assert diff.cells == {"delay": 1, "note": 1}
    assert diff.sample == {
        "added": [{"flight": 5, "carrier": "AA", "delay": 2.5, "note": "new"}],
        "removed": [{"flight": 1, "carrier": "AA", "delay": 1.5, "note": "a"}],
        "changed": [
            {"key": {"flight": 4, "carrier": "DL"}, "cells": {"delay": {"before": -0.0, "after": 0.0}}},
            {"key": {"flight": 3, "carrier": "UA"}, "cells": {"note": {"before": None, "after": "c"}}},
        ],
    }
    assert found.table().to_pylist() == [
        {"change": "removed", "flight": "1", "carrier": "AA", "column": None, "before": None, "after": None},
        {"change": "added", "flight": "5", "carrier": "AA", "column": None, "before": None, "after": None},
        {"change": "changed", "flight": "4", "carrier": "DL", "column": "delay", "before": "-0", "after": "0"},
        {"change": "changed", "flight": "3", "carrier": "UA", "column": "note", "before": None, "after": "c"},
    ]
    assert json.loads(json.dumps(diff.to_dict(), allow_nan=False))["cells"] == {"delay": 1, "note": 1}
    assert not diff.same


def test_equal_tables_do_not_differ() -> None:
    for key in (["flight"], []):
        found = compare(BEFORE, BEFORE, key)
        assert found.diff.same
        assert found.table().num_rows == 0
        assert found.table().column_names[0] == "change"


@pytest.mark.parametrize(
    ("before", "after", "key", "why"),
    [
        (BEFORE, AFTER, [], "no key is known"),
        (BEFORE, AFTER, ["fligth"], "the key column fligth is not on both sides"),
        (BEFORE, AFTER.drop(["flight"]), ["flight"], "the key column flight is not on both sides"),
        (BEFORE, AFTER, ["carrier"], "2 rows before share their key (carrier) with another"),
        (BEFORE, AFTER, ["note"], "1 row before without a value in the key column note"),
        (BEFORE, pa.table({"flight": ["1"]}), ["flight"], "the key column flight changed its type"),
    ],
)
def test_without_a_usable_key_rows_are_compared_whole(
    before: pa.Table, after: pa.Table, key: list[str], why: str
) -> None:
    diff = compare(before, after, key).diff
    assert (diff.key, diff.why, diff.changed) == ((), why, None)


def test_whole_rows_are_counted_as_often_as_they_occur() -> None:
    before = pa.table({"a": [1, 1, 1, 2, None], "b": ["x", "x", "x", "y", None]})
    after = pa.table({"a": [1, 2, 2, None, None], "b": ["x", "y", "y", None, ""]})
    found = compare(before, after)
    assert (found.diff.removed, found.diff.added) == (2, 2)
    assert found.diff.sample["removed"] == [{"a": 1, "b": "x"}, {"a": 1, "b": "x"}]
    assert found.table().to_pylist() == [
        {"change": "removed", "a": "1", "b": "x", "column": None, "before": None, "after": None},
        {"change": "removed", "a": "1", "b": "x", "column": None, "before": None, "after": None},
        {"change": "added", "a": "2", "b": "y", "column": None, "before": None, "after": None},
        {"change": "added", "a": None, "b": "", "column": None, "before": None, "after": None},
    ]


def test_columns_that_came_went_or_changed_their_type() -> None:
    before = pa.table(
        {
            "id": pa.array([1, 2, 3], pa.int32()),
            "gone": [1, 2, 3],
            "wide": pa.array([1, 2, 3], pa.int32()),
            "day": pa.array([date(2024, 1, 1)] * 3),
            "text": ["1", "2", "3"],
            "money": pa.array([Decimal("0.1")] * 3, pa.decimal128(5, 2)),
        }
    )
    after = pa.table(
        {
            "id": [1, 2, 3],
            "wide": [1, 2, 2**40],
            "day": pa.array([datetime(2024, 1, 1), datetime(2024, 1, 1, 1), None], pa.timestamp("us")),  # noqa: DTZ001
            "text": [1, 2, 3],
            "money": [0.1, 0.1, 0.1],
            "new": [None, None, None],
        }
    )
    diff = compare(before, after, ["id"]).diff
    assert (diff.columns_added, diff.columns_removed) == (("new",), ("gone",))
    assert diff.retyped == {
        "id": ("int32", "int64"),
        "wide": ("int32", "int64"),
        "day": ("date32[day]", "timestamp[us]"),
        "text": ("string", "int64"),
        "money": ("decimal128(5, 2)", "double"),
    }
    assert diff.incomparable == ("text", "money")
    assert diff.cells == {"wide": 1, "day": 2}
    assert diff.changed == 2


def test_a_cast_that_would_lose_something_is_not_made() -> None:
    before = pa.table({"id": [1], "x": [2**53 + 1]})
    after = pa.table({"id": [1], "x": [float(2**53)]})
    assert compare(before, after, ["id"]).diff.incomparable == ("x",)
    assert compare(before, pa.table({"id": [1], "x": [3.0]}), ["id"]).diff.incomparable == ("x",)
    small = pa.table({"id": [1], "x": [3]})
    assert compare(small, pa.table({"id": [1], "x": [3.0]}), ["id"]).diff.same


def test_offsets_and_dictionaries_are_no_change_of_type() -> None:
    before = pa.table({"id": [1, 2], "x": pa.array(["a", "b"]).dictionary_encode(), "y": pa.array(["a", "b"])})
    after = pa.table({"id": [1, 2], "x": ["a", "c"], "y": pa.array(["a", "b"], pa.large_string())})
    diff = compare(before, after, ["id"]).diff
    assert (diff.retyped, diff.cells) == ({}, {"x": 1})


def test_sensitive_columns_are_counted_and_not_shown() -> None:
    found = compare(BEFORE, AFTER, ["flight", "carrier"], hide=["note", "flight"])
    assert found.diff.cells == {"delay": 1, "note": 1}
    assert found.diff.sample["added"] == [{"flight": HIDDEN, "carrier": "AA", "delay": 2.5, "note": HIDDEN}]
    assert found.diff.sample["changed"][1] == {
        "key": {"flight": HIDDEN, "carrier": "UA"},
        "cells": {"note": {"before": HIDDEN, "after": HIDDEN}},
    }
    assert found.table().to_pylist()[-1] == {
        "change": "changed", "flight": HIDDEN, "carrier": "UA", "column": "note", "before": HIDDEN, "after": HIDDEN
    }  # fmt: skip
    assert set(compare(BEFORE, AFTER, hide=["note"]).table()["note"].to_pylist()) == {HIDDEN}


def test_key_columns_never_hide_ours() -> None:
    before, after = (pa.table({"batch": [1], "column": ["a"], "key_batch": [3], "v": [v]}) for v in (1, 2))
    found = compare(before, after, ["batch", "column"]).table()
    assert found.column_names == ["change", "key_batch", "key_column", "column", "before", "after"]


def test_tables_without_rows_or_columns() -> None:
    empty = BEFORE.slice(0, 0)
    for key in (["flight"], []):
        assert (compare(empty, BEFORE, key).diff.added, compare(BEFORE, empty, key).diff.removed) == (4, 4)
        assert compare(empty, empty, key).diff.same
    other = pa.table({"z": [1, 2, 3]})
    diff = compare(BEFORE, other, []).diff
    assert (diff.columns_added, diff.columns_removed) == (("z",), ("flight", "carrier", "delay", "note"))
    assert (diff.rows_before, diff.rows_after, diff.added, diff.removed) == (4, 3, 0, 1)


def test_a_sample_is_a_sample_and_lines_are_all() -> None:
    before = pa.table({"id": range(1000), "x": [0] * 1000})
    after = pa.table({"id": range(500, 1500), "x": [1] * 1000})
    found = compare(before, after, ["id"], sample=3)
    assert (found.diff.added, found.diff.removed, found.diff.changed) == (500, 500, 500)
    assert [len(rows) for rows in found.diff.sample.values()] == [3, 3, 3]
    assert found.table().num_rows == 1500


def test_text_of_cells_that_have_no_cast() -> None:
    column = pa.chunked_array([pa.array([[1, None], [], None])])
    assert texts(column).to_pylist() == ["[1, null]", "[]", None]
    assert texts(pa.chunked_array([pa.array([b"\xff\x00", b"", None])])).to_pylist() == ["ff00", "", None]
    assert texts(pa.chunked_array([], pa.string())).to_pylist() == []
    values = [NAN, math.inf, -math.inf, 1.5, datetime(2024, 1, 1, tzinfo=UTC), b"\x01", {"a": [Decimal("1.0")]}, True]
    assert [plain(value) for value in values] == [
        "nan", "inf", "-inf", 1.5, "2024-01-01T00:00:00+00:00", "01", {"a": ["1.0"]}, True
    ]  # fmt: skip


# --- against a model -------------------------------------------------------------------------------------------------

FLOATS = st.sampled_from([0.0, -0.0, 1.5, NAN, math.inf, None])
CELLS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "float": (pa.float64(), FLOATS),
    "half": (pa.float16(), FLOATS),
    "int": (pa.int16(), st.sampled_from([0, 1, -1, None])),
    "text": (pa.string(), st.sampled_from(["", "a", "b", "é", None])),
    "bytes": (pa.binary(), st.sampled_from([b"", b"\xff", None])),
    "bool": (pa.bool_(), st.sampled_from([True, False, None])),
    "null": (pa.null(), st.none()),
    "decimal": (pa.decimal128(5, 2), st.sampled_from([Decimal("1.00"), Decimal("1.01"), None])),
    "day": (pa.date32(), st.sampled_from([date(2024, 1, 1), date(2024, 1, 2), None])),
    "list": (pa.list_(pa.float64()), st.none() | st.lists(FLOATS, max_size=2)),
    "pair": (pa.list_(pa.int8(), 2), st.lists(st.sampled_from([0, 1, None]), min_size=2, max_size=2)),
    "struct": (
        pa.struct([("x", pa.float32()), ("y", pa.list_(pa.string()))]),
        st.none() | st.fixed_dictionaries({"x": FLOATS, "y": st.none() | st.lists(st.sampled_from(["", "a", None]))}),
    ),
    "map": (pa.map_(pa.string(), pa.int8()), st.none() | st.lists(st.tuples(st.just("k"), st.integers(0, 1)))),
}
"""A strategy of few values for each type, so that cells are often equal."""


def frozen(value: Any) -> Any:
    """A cell's value as the digests see it."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack("<d", value)
    if isinstance(value, list | tuple):
        return tuple(frozen(item) for item in value)
    if isinstance(value, dict):
        return tuple((name, frozen(item)) for name, item in value.items())
    return value


@st.composite
def tables(draw: st.DrawFn) -> tuple[pa.Table, pa.Table]:
    names = draw(st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=4, unique=True))
    made = []
    for _ in range(2):
        rows = draw(st.integers(0, 6))
        ids = draw(st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f", "g"]), min_size=rows, max_size=rows))
        columns = {"id": pa.chunked_array([pa.array(ids, pa.string())])}
        for name in names:
            type_, cells = CELLS[name]
            values = draw(st.lists(cells, min_size=rows, max_size=rows))
            cut = draw(st.integers(0, rows))
            # chunks that start inside a buffer
            whole = pa.array([None, *values], type_)
            columns[name] = pa.chunked_array([whole.slice(1, cut), whole.slice(1 + cut)], type_)
        made.append(pa.table(columns))
    return made[0], made[1]


@settings(max_examples=300, deadline=None)
@given(tables(), st.data())
def test_as_the_model_says(pair: tuple[pa.Table, pa.Table], data: st.DataObject) -> None:
    before, after = pair
    key = data.draw(st.sampled_from([["id"], ["id", before.column_names[1]], []]))
    rows = [[{name: frozen(cell) for name, cell in row.items()} for row in side.to_pylist()] for side in pair]
    keyed = [[tuple(row[name] for name in key) for row in side] for side in rows]
    usable = key and all(len(set(keys)) == len(keys) and (None not in sum(keys, ())) for keys in keyed)
    found = compare(before, after, key)
    diff = found.diff
    assert bool(diff.key) == bool(usable)
    if usable:
        old, new = (dict(zip(keys, side, strict=True)) for keys, side in zip(keyed, rows, strict=True))
        both = [which for which in old if which in new]
        cells = Counter(name for which in both for name in old[which] if old[which][name] != new[which][name])
        assert (diff.added, diff.removed) == (len(new) - len(both), len(old) - len(both))
        assert diff.changed == sum(old[which] != new[which] for which in both)
        assert diff.cells == cells
        assert found.table().num_rows == diff.added + diff.removed + sum(cells.values())
    else:
        bags = [Counter(tuple(row.items()) for row in side) for side in rows]
        assert diff.removed == (bags[0] - bags[1]).total()
        assert diff.added == (bags[1] - bags[0]).total()
        assert found.table().num_rows == diff.added + diff.removed
    assert json.dumps(diff.to_dict(), allow_nan=False)


@settings(max_examples=150, deadline=None)
@given(tables())
def test_cells_differ_where_digests_differ(pair: tuple[pa.Table, pa.Table]) -> None:
    rows = min(side.num_rows for side in pair)
    before, after = (
        side.slice(0, rows).set_column(0, "id", pa.chunked_array([pa.array(range(rows), pa.int64())])) for side in pair
    )
    cells = compare(before, after, ["id"]).diff.cells
    for name in before.column_names:
        assert (name in cells) == (column_digest(before[name]) != column_digest(after[name]))
