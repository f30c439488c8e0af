"""What is said against values: of what cannot be read, and by the column's rules as pandera runs them."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.contract.model import Column, FileFormat
from mlops_assets.contract.rules import rules_of
from mlops_assets.errors import RefusedError
from mlops_assets.stages.rules import checks, judge
from mlops_assets_tests.stages.build import at, column, judged, told

FORMAT = FileFormat()


@pytest.mark.parametrize(
    ("kind", "text", "rules", "sentence"),
    [
        ("int64", "", {"nullable": False}, "x: has no value"),
        ("int64", "-1", {"minimum": 0}, "x: '-1' is below the minimum 0"),
        ("float64", "2.5", {"maximum": 2}, "x: '2.5' is above the maximum 2"),
        ("date", "2023-12-31", {"minimum": "2024-01-01"}, "x: '2023-12-31' is below the minimum 2024-01-01"),
        (
            "timestamp",
            "2025-01-01",
            {"maximum": "2024-12-31T12:00"},
            "x: '2025-01-01' is above the maximum 2024-12-31T12:00",
        ),
        ("string", "c", {"values": ("a", "b")}, "x: 'c' is not one of a, b"),
        ("int64", "3", {"values": (1, 2)}, "x: '3' is not one of 1, 2"),
        ("date", "2024-01-02", {"values": ("2024-01-01",)}, "x: '2024-01-02' is not one of 2024-01-01"),
        ("string", "AB1\n", {"pattern": "[A-Z0-9]+"}, r"x: 'AB1\n' does not match the pattern [A-Z0-9]+"),
        ("string", "z", {"values": tuple("abcdefghi")}, "x: 'z' is not one of the 9 declared values"),
    ],
)
def test_rules(kind: str, text: str, rules: dict[str, Any], sentence: str) -> None:
    assert told(kind, text, **rules) == sentence


def test_limits_are_inclusive_and_missing_values_break_no_rule() -> None:
    assert judged("int64", "0", "9", "", minimum=0, maximum=9, values=(0, 9)) == ([0, 9, None], [])


def test_every_broken_rule_is_told() -> None:
    assert judged("string", "abc", values=("x",), pattern="[0-9]+")[1] == [
        "x: 'abc' is not one of x",
        "x: 'abc' does not match the pattern [0-9]+",
    ]


def test_labels_hold_no_values() -> None:
    found = judge("f:1", column("x", "int64", minimum=5), FORMAT, pa.array(["3", "y"]))
    assert [finding.label for finding in found.findings] == [
        "x: is not a whole number",
        "x: is below the minimum",
    ]


def test_a_sensitive_value_is_not_shown() -> None:
    assert told("int64", "secret", roles=frozenset({"sensitive"})) == "x: a value is not a whole number"
    assert told("string", "s", pattern="t", roles=frozenset({"sensitive"})) == "x: a value does not match the pattern t"


# ---- exactly the rules


def broken(table: Column, values: pa.Array) -> dict[str, list[int]]:
    """The places of the values that break each rule."""
    found = judge("dataset.yaml:7", table, FileFormat(missing=()), values)
    assert not found.unreadable.any()
    return {finding.label: np.flatnonzero(finding.broken).tolist() for finding in found.findings}


def by_hand(table: Column, values: list[Any], native: Callable[[Any], Any]) -> dict[str, list[int]]:
    """The same in plain Python."""
    allowed = [native(each) for each in table.values]
    tests: dict[str, Callable[[Any], bool]] = {
        "not_null": lambda value: value is None,
        "minimum": lambda value: value is not None and value < native(table.minimum),
        "maximum": lambda value: value is not None and value > native(table.maximum),
        "values": lambda value: value is not None and value not in allowed,
        "pattern": lambda value: value is not None and not re.fullmatch(str(table.pattern), value),
    }
    found = {rule.label: [n for n, v in enumerate(values) if tests[rule.kind](v)] for rule in rules_of(table)}
    return {label: places for label, places in found.items() if places}


def declared(kind: str, value: Any) -> st.SearchStrategy[Column]:
    """Columns with any of the rules that a type may have."""
    maybe = st.none() | value
    text = kind == "string"
    return st.builds(
        Column,
        st.just("x"),
        st.just(kind),
        nullable=st.booleans(),
        minimum=st.none() if text else maybe,
        maximum=st.none() if text else maybe,
        values=st.lists(value, max_size=3, unique=True).map(tuple),
        pattern=st.sampled_from([None, "a|ab", "(?=a).*", "[0-9]+", "^é"]) if text else st.none(),
    )


INTS = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)
FLOATS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-3, 3).map(float)
TEXTS = st.text("abé1\n", max_size=3)
DATES = st.dates(date(1900, 1, 1), date(2100, 1, 1))
TIMES = st.datetimes(at("1900-01-01"), at("2100-01-01"))
TYPES: list[tuple[str, pa.DataType, st.SearchStrategy[Any], Callable[[Any], Any], Callable[[Any], Any]]] = [
    ("int64", pa.int64(), INTS, int, int),
    ("float64", pa.float64(), FLOATS, float, float),
    ("string", pa.string(), TEXTS, str, str),
    ("date", pa.date32(), DATES, date.isoformat, date.fromisoformat),
    ("timestamp", pa.timestamp("us"), TIMES, datetime.isoformat, datetime.fromisoformat),
]


@given(st.data())
def test_pandera_breaks_exactly_what_breaks_a_rule(data: st.DataObject) -> None:
    kind, arrow, values, written, native = data.draw(st.sampled_from(TYPES))
    table = data.draw(declared(kind, values.map(written)))
    found = data.draw(st.lists(st.none() | values, max_size=6, unique=True))
    assert broken(table, pa.array(found, arrow)) == by_hand(table, found, native)


def test_unreadable_values_break_no_rule() -> None:
    assert judged("int64", "x", None, "5", nullable=False, minimum=6) == (
        [None, None, 5],
        ["x: 'x' is not a whole number", "x: has no value", "x: '5' is below the minimum 6"],
    )


@pytest.mark.parametrize(
    ("kind", "value", "sentence"),
    [
        ("float64", 2**53 + 1, "x: '9007199254740993' cannot be kept exactly"),
        ("int64", 1.5, "x: '1.5' is not a whole number"),
        ("date", at("2024-01-05T10:00"), "x: '2024-01-05 10:00:00' is not a date (YYYY-MM-DD)"),
        ("string", "a\0b", r"x: 'a\x00b' holds a NUL character"),
    ],
)
def test_delivered_types_that_do_not_fit(kind: str, value: Any, sentence: str) -> None:
    assert told(kind, value) == sentence


def test_a_number_of_more_bits_than_64_with_a_sign() -> None:
    found = judge("f:1", column("x", "int64"), FORMAT, pa.array([2**63, 5], pa.uint64()))
    assert [(finding.phrase, finding.broken.tolist()) for finding in found.findings] == [
        ("cannot be kept exactly", [True, False])
    ]


def test_a_rule_that_cannot_be_applied_refuses_the_batch() -> None:
    table = column("x", "int64", minimum=2**70, line=12)
    with pytest.raises(RefusedError) as error:
        judge("data/shop/dataset.yaml:12", table, FORMAT, pa.array(["secret1", "5"]))
    (sentence,) = error.value.sentences
    assert sentence == (
        "data/shop/dataset.yaml:12: the column 'x' cannot be asked whether a value is below the minimum "
        "1180591620717411303424 (OverflowError)."
    )


@pytest.mark.parametrize("variable", ["PANDERA_VALIDATION_ENABLED=False", "PANDERA_VALIDATION_DEPTH=SCHEMA_ONLY"])
def test_no_variable_of_the_environment_switches_rules_off(variable: str) -> None:
    code = "from mlops_assets_tests.stages.build import told; print(told('int64', '3', minimum=5))"
    done = subprocess.run(["env", variable, sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "x: '3' is below the minimum 5\n"


def test_checks_carry_the_words() -> None:
    table = column("x", "string", nullable=False, values=("a",), pattern="[a-z]")
    assert [(check.title, check.error) for check in checks(table)] == [
        ("x: is not one of the declared values", "is not one of a"),
        ("x: does not match the pattern", "does not match the pattern [a-z]"),
    ]


def test_a_pattern_means_the_same_of_values_that_come_twice() -> None:
    import pandas as pd

    series = pd.Series(["ab", "b", "ab", "a"], index=[5, 6, 7, 8])
    for distinct in (True, False):
        check = checks(column("x", "string", pattern="a|ab"), distinct=distinct)[0]
        assert check(series).check_output.to_dict() == {5: True, 6: False, 7: True, 8: True}


def test_a_change_of_words_is_a_change_of_nothing_else() -> None:
    table = column("x", "int64", minimum=1)
    assert broken(table, pa.array([0])) == broken(replace(table, description="other"), pa.array([0]))
