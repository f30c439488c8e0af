"""Expressions: what they compute, where they have no value, and what is said about a wrong one."""

from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pytest

from mlops_assets.contract.expression import ExpressionError, parse

TABLE = pa.table(
    {
        "delay": [20, None, 3],
        "fee": [1.5, 0.0, None],
        "town": pa.array(["Rome", None, "Oslo"]).dictionary_encode(),
        "paid": [True, False, None],
        "Total Charges": [10.0, 20.0, 30.0],
        "day": [date(2013, 1, 1), date(2013, 2, 1), None],
        "at": pa.array([datetime(2013, 1, 1, 5), None, datetime(2013, 1, 2)], pa.timestamp("us", "UTC")),  # noqa: DTZ001
    }
)
TYPES = {
    "delay": "int64",
    "fee": "float64",
    "town": "string",
    "paid": "boolean",
    "Total Charges": "float64",
    "day": "date",
    "at": "timestamp",
}


@pytest.mark.parametrize(
    ("text", "kind", "values"),
    [
        ("delay", "number", [20, None, 3]),
        ("delay > 15", "boolean", [True, None, False]),
        ("15 < delay <= 20", "boolean", [True, None, False]),
        ("delay > fee * 2", "boolean", [True, None, None]),
        ("-delay + 1", "number", [-19.0, None, -2.0]),
        ("delay / fee", "number", [20 / 1.5, None, None]),
        ("`Total Charges` / fee", "number", [10 / 1.5, None, None]),
        ("town == 'Rome'", "boolean", [True, None, False]),
        ("town in ('Rome', 'Paris')", "boolean", [True, None, False]),
        ("town not in ('Rome')", "boolean", [False, None, True]),
        ("delay in (3, 4.5)", "boolean", [False, None, True]),
        ("town is null", "boolean", [False, True, False]),
        ("town is not null and delay < 5", "boolean", [False, False, True]),
        ("paid and delay > 15", "boolean", [True, False, False]),
        ("not paid or delay > 15", "boolean", [True, True, None]),
        ("paid == true", "boolean", [True, False, None]),
        ("day >= '2013-02-01'", "boolean", [False, True, None]),
        ("day in ('2013-01-01')", "boolean", [True, False, None]),
        ("'2013-01-01T12:00' > at", "boolean", [True, None, False]),
        ("at == '2013-01-01T06:00+01:00'", "boolean", [True, None, False]),
        ("town == 'a `b` c' or\n town == 'Oslo'", "boolean", [False, None, True]),
    ],
)
def test_values(text: str, kind: str, values: list[Any]) -> None:
    expression = parse(text)
    assert expression.kind(TYPES) == kind
    assert expression.evaluate(TABLE).to_pylist() == values
    assert isinstance(expression.evaluate(TABLE), pa.Array)


def test_columns_in_the_order_of_their_first_appearance() -> None:
    assert parse("fee > 1 and delay > fee and `Total Charges` is null").columns == ("fee", "delay", "Total Charges")
    assert (parse("`Total Charges`").column(), parse("fee + 1").column()) == ("Total Charges", None)


def test_equal_texts_are_equal_expressions() -> None:
    assert parse("fee > 1") == parse("fee > 1") != parse("fee > 2")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("delay = 1", "'delay = 1' cannot be read; write '==' to compare."),
        (
            "delay > 1 AND fee > 1",
            "'delay > 1 AND fee > 1' cannot be read; write and, or, not, in, is in small letters.",
        ),
        ("delay >", "'delay >' cannot be read; is something missing at its end?"),
        ("delay > 1)", "\"delay > 1)\" cannot be read at letter 10: unmatched ')'.".replace('"', "'")),
        ("1 > 2", "'1 > 2' names no column; it would be the same for every row."),
        ("", "'' cannot be read; is something missing at its end?"),
        ("delay is 3", "'delay is 3': 'is' goes with null only; write '==' to compare."),
        ("delay == null", "'delay == null': nothing equals null; write 'is null' or 'is not null'."),
        ("delay in (fee)", "'delay in (fee)': 'in' needs a list of numbers or texts, like in ('a', 'b')."),
        (
            "delay > 99999999999999999999",
            ("'delay > 99999999999999999999': 99999999999999999999 is larger than any whole number in a table."),
        ),
        (
            "__import__(delay)",
            (
                "'__import__(delay)': '__import__(delay)' is not part of the language (columns, numbers, "
                "texts, + - * /, comparisons, and, or, not, in (..), is null); compute it in features.py or in "
                "the data."
            ),
        ),
        ("x" * 2001, "An expression has at most 2000 letters, this one has 2001."),
    ],
)
def test_what_is_no_expression(text: str, sentence: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert caught.value.sentences == (sentence,)


@pytest.mark.parametrize(
    "text",
    [
        "delay.real > 1",
        "delay[0]",
        "delay ** 2",
        "[d for d in delay]",
        "delay if fee else 1",
        "(lambda: delay)()",
        "f'{delay}'",
        "delay // 2",
        "b'x' == delay",
        "~delay",
    ],
)
def test_python_is_not_the_language(text: str) -> None:
    with pytest.raises(ExpressionError, match="is not part of the language"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("delai > 1", "'delai > 1': there is no column 'delai'; did you mean 'delay'?"),
        ("town + 1", "'town + 1': 'town' is a text; '+' needs a number."),
        ("-town", "'-town': 'town' is a text; a sign needs a number."),
        ("delay and paid", "'delay and paid': 'delay' is a number; 'and' needs a truth value."),
        ("paid or fee", "'paid or fee': 'fee' is a number; 'or' needs a truth value."),
        ("not delay", "'not delay': 'delay' is a number; 'not' needs a truth value."),
        ("delay > 'x'", "\"delay > 'x'\": 'delay' is a number and 'x' is a text; compare like with like."),
        ("day > at", "'day > at': 'day' is a date and 'at' is a time; compare like with like."),
        ("paid > true", "'paid > true': a truth value has no order; compare it with == or !=."),
        ("day > 'soon'", "\"day > 'soon'\": 'soon' is no date; write it like '2013-01-31'."),
        ("day > town", "'day > town': 'town' is a text; only a written date, like '2013-01-31', fits a date."),
        ("delay + null", "'delay + null': null stands alone; write 'is null' or 'is not null'."),
    ],
)
def test_operands_that_do_not_fit(text: str, sentence: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text).kind(TYPES)
    assert caught.value.sentences == (sentence,)


def test_a_long_list_of_columns_is_not_read_out() -> None:
    with pytest.raises(ExpressionError) as caught:
        parse("zzz > 1").kind({f"column_{n}": "int64" for n in range(30)})
    assert caught.value.sentences == ("'zzz > 1': there is no column 'zzz'.",)
