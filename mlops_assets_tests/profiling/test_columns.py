"""Guesses about one column: only what every value speaks for, and what two readings leave open."""

import re
from typing import Any

import pyarrow as pa
import pytest

from mlops_assets.profiling.columns import Seen, look, pattern_of
from mlops_assets.profiling.slack import band, counts, how_sure


def seen(*values: Any, decimal: str = ".", missing: tuple[str, ...] = ()) -> Seen:
    return look("x", pa.array(values), decimal, missing)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (("1", "-20", "+3"), "int64"),
        (("1", "2.5"), "float64"),
        (("1e3", ".5"), "float64"),
        (("007", "123"), "string"),
        (("01", "2.5"), "float64"),
        (("true", "FALSE"), "boolean"),
        (("0", "1"), "int64"),
        (("2024-01-31", "2024-02-01"), "date"),
        (("2024-01-31T10:00:00Z", "2024-02-01T00:00:00Z"), "timestamp"),
        (("2024-02-30", "2024-02-01"), "string"),
        (("Yes", "No"), "string"),
        (("1", "two"), "string"),
    ],
)
def test_the_narrowest_type_that_reads_every_value(values: tuple[str, ...], kind: str) -> None:
    assert seen(*values).type == kind


def test_formats_of_dates_are_tried_and_doubts_are_kept() -> None:
    sure = seen("31-01-2024", "05-02-2024")
    assert (sure.type, sure.format, sure.formats) == ("date", "%d-%m-%Y", ("%d-%m-%Y",))
    assert (sure.low, sure.high) == ("2024-01-31", "2024-02-05")
    assert seen("01/02/2024", "03/04/2024").formats == ("%d/%m/%Y", "%m/%d/%Y")
    assert seen("31.12.2024 23:59").format == "%d.%m.%Y %H:%M"
    assert seen("2024-01-31").format is None


def test_a_decimal_comma_is_tried_where_it_is_asked_for() -> None:
    assert seen("1,5", "2").type == "string"
    found = seen("1,5", "2", decimal=",")
    assert (found.type, found.low, found.high) == ("float64", 1.5, 2.0)


def test_words_for_no_value_are_found_in_numbers_and_left_alone_in_texts() -> None:
    numbers = seen("1", "NA", "", " ", None, "3")
    assert (numbers.type, numbers.missing, numbers.words, numbers.distinct) == ("int64", 4, (" ", "NA"), 2)
    assert seen("NA", "DE", "").missing == 1
    assert seen("NA", "DE", "", missing=("NA",)).missing == 2
    nothing = seen("", None, "NA")
    assert (nothing.type, nothing.distinct, nothing.missing) == ("string", 1, 2)


def test_values_are_counted_as_what_they_mean() -> None:
    found = seen("1.0", "1.00", "2", "1")
    assert (found.type, found.common, found.distinct) == ("float64", ((1.0, 3), (2.0, 1)), 2)
    assert not found.unique
    assert seen("a", "b").unique
    assert not seen("a", None).unique


def test_values_that_came_with_a_type_keep_it() -> None:
    assert look("x", pa.array([1, 2, None])).type == "int64"
    assert look("x", pa.array([1, 2, None])).missing == 1
    assert look("x", pa.array([True])).type == "boolean"


@pytest.mark.parametrize(
    ("texts", "pattern"),
    [
        (["7590-VHVEG", "5575-GNVDE"], "[0-9]{4}-[A-Z]{5}"),
        (["a1", "b22", "c333"], "[a-z][0-9]{1,3}"),
        (["A.b", "C+d"], r"[A-Z]\+[a-z]|[A-Z]\.[a-z]"),
        (["a", "1", "A", "a1"], None),
        (["é1"], "é[0-9]"),
    ],
)
def test_a_pattern_matches_every_text_or_there_is_none(texts: list[str], pattern: str | None) -> None:
    found = pattern_of(texts)
    assert found == pattern
    assert found is None or all(re.fullmatch(found, text) for text in texts)


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0, 17, (0, 22)),
        (0.22, 1.0, (0.0, 1.2)),
        (-21.0, 1301.0, (-400.0, 1700.0)),
        (-5.0, -2.0, (-5.8, -1.2)),
        (7, 7, (6, 8)),
    ],
)
def test_bands_have_room_and_keep_the_sign(low: float, high: float, wanted: tuple[float, float]) -> None:
    down, up = band(low, high)
    assert (down, up) == pytest.approx(wanted)
    assert down < low or down == 0
    assert up > high or up == 0
    assert isinstance(low, int) == isinstance(down, int)


def test_counts_and_words() -> None:
    assert counts(24951, 29425) == (10000, 60000)
    assert counts(1, 1) == (0, 2)
    assert [how_sure(rows) for rows in (5, 100, 1000)] == ["a guess", "fair", "sure"]
    assert [how_sure(5000, batches) for batches in (1, 3, 6)] == ["a guess", "fair", "sure"]
