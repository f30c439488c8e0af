"""Whole columns are written exactly as value by value."""

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.stages.delivery import shown
from mlops_assets.stages.texts import json_objects, json_texts, shown_texts

VALUES: list[list[Any]] = [
    [
        "",
        "plain",
        "it's",
        'a "quote"',
        "back\\slash",
        "a\nb\x00\x7f",
        "é ✓\u2028",
        "x" * 40,
        "x" * 41,
        None,
        "'\"",
        "~ &'",
    ],
    [0, -5, 2**63 - 1, None],
    [1.0, 1e300, -0.0, float("nan"), float("inf"), 0.1, None],
    [True, False, None],
    [date(2024, 1, 5), None],
    [datetime.fromisoformat("2024-01-05T10:30"), None],
    [Decimal("1.50"), None],
    [None, None],
]


def as_written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


@pytest.mark.parametrize("values", VALUES)
def test_every_type_is_written_as_python_writes_it(values: list[Any]) -> None:
    array = pa.array(values)
    assert shown_texts(array).to_pylist() == [shown(value) for value in array.to_pylist()]
    assert json_texts(array).to_pylist() == [as_written(value) for value in array.to_pylist()]


@given(st.lists(st.none() | st.text() | st.text(" -~", max_size=45)))
def test_every_text_is_written_as_python_writes_it(texts: list[str | None]) -> None:
    array = pa.array(texts, pa.string())
    assert shown_texts(array).to_pylist() == [shown(text) for text in texts]
    assert json_texts(array).to_pylist() == [as_written(text) for text in texts]


def test_hidden_values_stay_hidden() -> None:
    assert shown_texts(pa.array(["secret", None]), hidden=True).to_pylist() == ["a value", "a value"]


@given(st.lists(st.tuples(st.none() | st.text(max_size=5), st.none() | st.integers(-9, 9)), min_size=1))
def test_rows_are_json_objects(rows: list[tuple[str | None, int | None]]) -> None:
    names = ['a "name"', "ü"]
    columns = {
        name: json_texts(pa.array([row[place] for row in rows], kind))
        for place, (name, kind) in enumerate(zip(names, (pa.string(), pa.int64()), strict=True))
    }
    assert json_objects(columns).to_pylist() == [as_written(dict(zip(names, row, strict=True))) for row in rows]
