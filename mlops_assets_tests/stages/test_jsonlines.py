"""JSON Lines as they come: whole and damaged."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mlops_assets.contract.model import FileFormat
from mlops_assets.errors import DeliveryError
from mlops_assets_tests.stages.build import column, read, sifted, source

TABLE = replace(source(), format=FileFormat("jsonl"))
ROW = {"id": 1, "day": "2024-01-05", "shop": "north", "price": 1.5, "paid": None}


def lines(*rows: object) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def test_values_are_kept_as_they_were_written(tmp_path: Path) -> None:
    made = read(
        tmp_path,
        lines('{"id": 007e0, "day": "x"}', '{"id": 1, "day": "2024-01-05", "shop": true, "price": 1.50}', ROW),
        TABLE,
    )
    assert made.value["_line"].to_pylist() == [1, 2, 3]
    assert made.value["_problem"].to_pylist() == ["the line is not JSON", None, None]
    assert made.value.slice(1).select(["id", "shop", "price", "paid"]).to_pylist() == [
        {"id": "1", "shop": "true", "price": "1.50", "paid": None},
        {"id": "1", "shop": "north", "price": "1.5", "paid": None},
    ]


def test_types_and_rules_are_the_same_as_for_csv(tmp_path: Path) -> None:
    found = sifted(tmp_path, lines(ROW, {**ROW, "id": 2, "price": -1}, {**ROW, "id": "x"}, '{"id": 1e999}'), TABLE)
    assert found.accepted.to_pylist()[0]["price"] == 1.5
    assert found.quarantined["reasons"].to_pylist() == [
        ["price: '-1' is below the minimum 0"],
        ["id: 'x' is not a whole number"],
        ["id: '1e999' is not a whole number", "day: has no value", "shop: has no value"],
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("[1]", "the line is not a JSON object"),
        ('{"id": 1, "id": 2}', "a field stands twice in the object"),
        ('{"id": [1]}', "the field 'id' holds an object or a list, not one value"),
        ('{"shop": "\\ud800"}', "a text holds half of a surrogate pair"),
        ("{'id': 1}", "the line is not JSON"),
    ],
)
def test_lines_that_are_no_row(tmp_path: Path, line: str, problem: str) -> None:
    made = read(tmp_path, lines(ROW, line), TABLE)
    assert made.value["_problem"].to_pylist() == [None, problem]
    assert made.value["_text"].to_pylist() == [None, line]


def test_a_nul_in_a_text_is_quarantined(tmp_path: Path) -> None:
    found = sifted(tmp_path, lines({**ROW, "shop": "a\0b"}), TABLE)
    assert found.quarantined["reasons"].to_pylist() == [["shop: 'a\\x00b' holds a NUL character"]]


def test_a_truncated_last_line_is_marked(tmp_path: Path) -> None:
    made = read(tmp_path, lines(ROW, "") + '{"id": 2, "da', TABLE)
    assert made.facts["files"][0]["cut_off_line"] == 3
    assert made.facts["blank_lines"] == 1
    assert read(tmp_path, lines(ROW).rstrip(), TABLE).facts["files"][0]["cut_off_line"] is None


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (lines({"id": 1, "Day": 2}), "the column 'day' of source sales is missing; did you mean 'Day'?"),
        ("id,day\n1,2\n", "none of its 2 lines is a JSON object with fields. Line 1: the line is not JSON."),
        ("{}\n", "none of its 1 lines is a JSON object with fields. Line 1: the object is empty."),
        ("", "is empty (0 bytes)"),
        ('{"id": "é"}\n'.encode("latin-1"), "line 1: the byte 0xe9 (byte 8 of the file) is not UTF-8"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, data: str | bytes, told: str) -> None:
    with pytest.raises(DeliveryError) as caught:
        read(tmp_path, data, TABLE)
    assert told in str(caught.value)


def test_an_endless_text_is_quarantined(tmp_path: Path) -> None:
    table = source(column("id", "string"), key=(), format=FileFormat("jsonl"))
    found = sifted(tmp_path, json.dumps({"id": "x" * 1_000_001}) + '\n{"id": "1"}\n', table)
    assert found.quarantined["reasons"].to_pylist() == [[f"id: '{'x' * 39}…' is longer than 1,000,000 characters"]]
