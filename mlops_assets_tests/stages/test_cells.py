"""What texts become, what is told of those that do not, and that nothing is rounded or guessed."""

from datetime import date
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.contract.model import FileFormat
from mlops_assets.stages.cells import castable, read, typed
from mlops_assets_tests.stages.build import at, column, judged, told


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int64", "007", 7),
        ("int64", "+5", 5),
        ("int64", "-0", 0),
        ("int64", "-9223372036854775808", -(2**63)),
        ("int64", "0000000000000000000000001", 1),
        ("float64", ".5", 0.5),
        ("float64", "5.", 5.0),
        ("float64", "+1e3", 1000.0),
        ("float64", "1e-320", 1e-320),
        ("float64", "0.0e-999", 0.0),
        ("boolean", "TRUE", True),
        ("boolean", "0", False),
        ("date", "2024-02-29", date(2024, 2, 29)),
        ("timestamp", "2024-01-05", at("2024-01-05")),
        ("timestamp", "2024-01-05 10:30", at("2024-01-05T10:30")),
        ("timestamp", "2024-01-05T10:30:15.5Z", at("2024-01-05T10:30:15.500000")),
        ("string", "007", "007"),
        ("string", " Nan ", " Nan "),
        ("string", "NA", None),
        ("int64", "", None),
    ],
)
def test_what_is_read(kind: str, text: str, value: object) -> None:
    assert judged(kind, text) == ([value], [])


@pytest.mark.parametrize(
    ("kind", "text", "sentence"),
    [
        ("int64", "0x10", "x: '0x10' is not a whole number"),
        ("int64", "1.0", "x: '1.0' is not a whole number"),
        (
            "int64",
            " 1",
            "x: ' 1' is not a whole number; format: {strip: true} takes the blanks around it away",
        ),
        ("int64", "1\n", r"x: '1\n' is not a whole number"),
        ("int64", "٣", "x: '٣' is not a whole number"),
        ("int64", "9223372036854775808", "x: '9223372036854775808' does not fit in 64 bits"),
        ("float64", "1e999", "x: '1e999' is not a number that can be kept exactly enough"),
        ("float64", "1e-999", "x: '1e-999' is not a number that can be kept exactly enough"),
        ("float64", "NaN", "x: 'NaN' is not a number; where it means no value, name it in 'missing'"),
        ("float64", "inf", "x: 'inf' is not a number"),
        ("float64", "0x1p3", "x: '0x1p3' is not a number"),
        ("float64", "$3", "x: '$3' is not a number"),
        ("boolean", "yes", "x: 'yes' is not true or false; declare a string with the two 'values'"),
        ("date", "2023-02-29", "x: '2023-02-29' is not a date (YYYY-MM-DD)"),
        ("date", "2024/0105", "x: '2024/0105' is not a date (YYYY-MM-DD)"),
        ("timestamp", "2024-01-05T24:00", "x: '2024-01-05T24:00' is not a time (YYYY-MM-DDTHH:MM:SS)"),
        ("int64", "y" * 60, f"x: '{'y' * 39}…' is not a whole number"),
        ("int64", "\x1b[31m", r"x: '\x1b[31m' is not a whole number"),
    ],
)
def test_what_is_not(kind: str, text: str, sentence: str) -> None:
    assert told(kind, text) == sentence


def test_a_bad_time_does_not_spoil_the_good_ones() -> None:
    values, sentences = judged("timestamp", "2024-01-05T10:00:00", "2024-02-30", "2024-01-06T00:00:60")
    assert values == [at("2024-01-05T10:00"), None, None]
    assert len(sentences) == 2


@pytest.mark.parametrize(
    ("kind", "pattern", "text", "value"),
    [
        ("date", "%d.%m.%Y", "05.01.2024", date(2024, 1, 5)),
        ("date", "%d.%m.%Y", "5.1.2024", date(2024, 1, 5)),
        ("date", "%d.%m.%y", "05.01.24", date(2024, 1, 5)),
        ("date", "%Y-%m", "2024-03", date(2024, 3, 1)),
        ("timestamp", "%Y-%m-%dT%H:%M:%SZ", "2024-01-05T10:00:00Z", at("2024-01-05T10:00")),
        ("timestamp", "%Y-%m-%dT%H:%M:%S%z", "2024-01-05T10:00:00+02:00", at("2024-01-05T08:00")),
        ("timestamp", "%d %b %Y %I:%M %p", "05 Jan 2024 01:30 PM", at("2024-01-05T13:30")),
    ],
)
def test_formats(kind: str, pattern: str, text: str, value: object) -> None:
    assert judged(kind, text, format=pattern) == ([value], [])


@pytest.mark.parametrize("text", ["2024-02-30", "2024-01-05x", "2024-01-05 10", "2024-00-05"])
def test_a_text_in_another_format_is_unreadable(text: str) -> None:
    assert told("date", text, format="%Y-%m-%d") == f"x: {text!r} is not written as %Y-%m-%d"


@given(st.dates(min_value=date(1, 1, 1)))
def test_formats_agree_with_python(day: date) -> None:
    text = f"{day.day:02}/{day.month:02}/{day.year:04}"
    assert judged("date", text, format="%d/%m/%Y") == ([day], [])


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_read_exactly(number: float) -> None:
    assert judged("float64", repr(number))[0] == [number]


def test_a_decimal_comma() -> None:
    form = FileFormat(delimiter=";", decimal=",")
    values, unreadable = typed(column("x", "float64"), form, pa.array(["1,5", "1.5", "1,2,3"]))
    assert values.to_pylist() == [1.5, None, None]
    assert unreadable.tolist() == [False, True, True]


def test_missing_words_of_one_column() -> None:
    assert judged("int64", "-", "NA", "5", missing=("-",)) == ([None, None, 5], [])


def test_which_types_may_become_which() -> None:
    assert castable(pa.int8(), "float64")
    assert castable(pa.string(), "date")
    assert castable(pa.null(), "boolean")
    assert not castable(pa.int64(), "string")
    assert not castable(pa.bool_(), "int64")
    assert not castable(pa.decimal128(5, 2), "float64")


@pytest.mark.parametrize("letter", ["\x01", "\x07", "\x0b", "\x0c", "\x1a", "\x1b", "\x1f", "\x7f", "\x80", "\x9b"])
def test_a_control_character_is_no_part_of_a_text(letter: str) -> None:
    assert told("string", f"ab{letter}c") == (
        f"x: {f'ab{letter}c'!r} holds a control character; its letter 3 is U+{ord(letter):04X}"
    )
    assert told("string", f"ab{letter}c", roles=frozenset({"sensitive"})) == "x: a value holds a control character"


def test_what_may_stand_in_a_text_is_said_by_its_own_rules() -> None:
    for text in ("a\tb", "a\r\nb", "\x85", "\u200d", "\ufeff"):
        assert judged("string", text) == ([text], [])
    assert judged("string", "\x1b[31m", pattern="(?s).*") == (["\x1b[31m"], [])
    assert judged("string", "\x1b", values=("\x1b", "a")) == (["\x1b"], [])
    assert told("string", "a\0b", pattern="(?s).*") == r"x: 'a\x00b' holds a NUL character"


def test_a_text_has_a_million_letters_at_most() -> None:
    assert judged("string", "é" * 1_000_000)[1] == []
    assert told("string", "é" * 1_000_001) == f"x: '{'é' * 39}…' is longer than 1,000,000 characters"


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("string", " north\t", "north"),
        ("string", "  ", None),
        ("int64", " 7 ", 7),
        ("float64", "\u00a01.5", 1.5),
        ("boolean", "true ", True),
        ("date", " 2024-01-05", date(2024, 1, 5)),
        ("string", " NA ", None),
        ("string", "a b", "a b"),
    ],
)
def test_blanks_around_a_value_where_they_mean_nothing(kind: Any, text: str, value: object) -> None:
    stripped = FileFormat(missing=("", "NA"), strip=True)
    assert read(column("x", kind), stripped, pa.array([text])).values.to_pylist() == [value]
    bare = read(column("x", kind), FileFormat(missing=("", "NA")), pa.array([text]))
    assert bare.values[0].as_py() == (text if kind == "string" else None)


def test_blanks_are_told_where_they_keep_a_value_from_being_read() -> None:
    advice = "; format: {strip: true} takes the blanks around it away"
    assert told("float64", " 1.5") == f"x: ' 1.5' is not a number{advice}"
    assert told("boolean", "true ") == f"x: 'true ' is not true or false{advice}"
    assert told("float64", " ") == "x: ' ' is not a number; where it means no value, name it in 'missing'"
