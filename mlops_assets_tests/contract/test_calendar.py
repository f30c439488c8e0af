"""Keys of every cadence: order, windows, ranges, and what is said about a key that is none."""

from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.contract.calendar import TIME_CADENCES, Calendar
from mlops_assets.contract.model import Cadence
from mlops_assets.errors import UserError

MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("cadence", "key", "start", "end"),
    [
        ("yearly", "2013", "2013-01-01T00", "2014-01-01T00"),
        ("monthly", "2013-12", "2013-12-01T00", "2014-01-01T00"),
        ("weekly", "2013-03-04", "2013-03-04T00", "2013-03-11T00"),
        ("daily", "2012-02-29", "2012-02-29T00", "2012-03-01T00"),
        ("hourly", "2013-12-31T23", "2013-12-31T23", "2014-01-01T00"),
    ],
)
def test_a_key_is_a_half_open_window(cadence: Cadence, key: str, start: str, end: str) -> None:
    calendar = Calendar(cadence)
    assert calendar.window(key) == (datetime.fromisoformat(start), datetime.fromisoformat(end))
    assert calendar.format is not None
    assert datetime.strptime(key, calendar.format) == calendar.window(key)[0]  # noqa: DTZ007


@given(cadence=st.sampled_from(TIME_CADENCES), moment=MOMENTS, n=st.integers(-500, 500))
def test_keys_windows_and_shifts_agree(cadence: Cadence, moment: datetime, n: int) -> None:
    calendar = Calendar(cadence)
    key = calendar.key(moment)
    calendar.check(key)
    first, after = calendar.window(key)
    assert first <= moment < after
    assert calendar.key(after) == calendar.shift(key, 1)
    other = calendar.shift(key, n)
    assert other is not None
    assert calendar.shift(other, -n) == key
    low, high = calendar.sort([key, other])
    assert len(calendar.between(low, high)) == abs(n) + 1
    assert calendar.ranges(calendar.between(low, high)) == [(low, high)]


def test_a_date_has_a_key_too() -> None:
    assert Calendar("monthly").key(date(2013, 3, 9)) == "2013-03"
    assert Calendar("weekly").key(date(2013, 3, 10)) == "2013-03-04"
    assert Calendar("none").key(date(2013, 3, 9)) == "all"


def test_keys_start_at_the_start_and_stop_at_the_end() -> None:
    calendar = Calendar("monthly", "2013-01", "2013-12")
    assert calendar.keys("2013-03") == ["2013-01", "2013-02", "2013-03"]
    assert calendar.keys("2014-05")[-1] == "2013-12"
    assert calendar.between("2012-11", "2013-02") == ["2013-01", "2013-02"]
    assert calendar.between("2013-04", "2013-03") == []
    assert calendar.shift("2013-01", -1) is None
    assert calendar.shift("2013-12", 1) is None


def test_ranges_are_the_longest_runs() -> None:
    calendar = Calendar("monthly")
    keys = ["2014-01", "2013-12", "2013-11", "2013-12", "2013-02"]
    assert calendar.ranges(keys) == [("2013-02", "2013-02"), ("2013-11", "2014-01")]
    assert calendar.ranges([]) == []


def test_a_dataset_without_batches_has_the_one_called_all() -> None:
    calendar = Calendar("none")
    assert calendar.keys("all") == ["all"]
    assert calendar.ranges(["all"]) == [("all", "all")]
    assert (calendar.shift("all", 0), calendar.shift("all", 1)) == ("all", None)
    assert (calendar.format, calendar.offset) == (None, 0)


def test_names_are_ordered_as_text_and_stand_alone() -> None:
    calendar = Calendar("named")
    assert calendar.sort(["b", "a"]) == ["a", "b"]
    assert calendar.ranges(["north", "south", "north"]) == [("north", "north"), ("south", "south")]
    assert calendar.between("north", "north") == ["north"]
    assert calendar.shift("north", 1) is None


@pytest.mark.parametrize("cadence", ["none", "named"])
def test_what_has_no_time_has_no_window(cadence: Cadence) -> None:
    with pytest.raises(ValueError, match="has no window of time"):
        Calendar(cadence).window("all")


def test_a_name_does_not_follow_from_a_time() -> None:
    with pytest.raises(ValueError, match="named batches do not follow"):
        Calendar("named").key(date(2013, 1, 1))


@pytest.mark.parametrize(
    ("cadence", "key", "sentence"),
    [
        ("monthly", "2013-3", "'2013-3' is not a month; write it like 2013-03."),
        ("monthly", "2013-13", "'2013-13' does not exist in the calendar; write it like 2013-03."),
        ("daily", "2013-02-29", "'2013-02-29' does not exist in the calendar; write it like 2013-03-09."),
        ("yearly", "9999", "'9999' is too far in the future; years go up to 9998."),
        ("yearly", "٢٠١٣", "'٢٠١٣' is not a year; write it like 2013."),
        ("weekly", "2013-03-09", "'2013-03-09' is a Saturday; a week is called by its Monday: 2013-03-04."),
        ("hourly", "2013-03-09T24", "'2013-03-09T24' does not exist in the calendar; write it like 2013-03-09T05."),
        ("none", "2013", "'2013' is no batch: the dataset is not partitioned, its one batch is 'all'."),
        ("named", "", "A batch's name is empty; give it one."),
        ("named", "a\nb", "'a\\nb' holds a control character; a batch's name is plain text."),
        ("named", "e\u0301", "'e\u0301' is not in Unicode's composed form (NFC); write an accented letter as one."),
        ("named", "x" * 181, "'xxxxxxxxxxxxxxxxxxxx...' is longer than 180 bytes; shorten the batch's name."),
        (
            "named",
            "__HIVE_DEFAULT_PARTITION__",
            "'__HIVE_DEFAULT_PARTITION__' means 'no partition' to table readers; call the batch something else.",
        ),
    ],
)
def test_a_text_that_is_no_key(cadence: Cadence, key: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        Calendar(cadence).check(key)
    assert caught.value.sentences == (sentence,)


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("2012-12", "'2012-12' is before the first batch, '2013-01' (partitions: start)."),
        ("2014-01", "'2014-01' is after the last batch, '2013-12' (partitions: end)."),
    ],
)
def test_a_key_outside_start_and_end(key: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        Calendar("monthly", "2013-01", "2013-12").check(key)
    assert caught.value.sentences == (sentence,)


def test_names_cannot_be_counted() -> None:
    sentence = "Named batches cannot be counted from one to another; name each one that is meant."
    with pytest.raises(UserError) as caught:
        Calendar("named").keys("a")
    assert caught.value.sentences == (sentence,)
    with pytest.raises(UserError) as caught:
        Calendar("named").between("a", "b")
    assert caught.value.sentences == (sentence,)


@given(st.sampled_from(TIME_CADENCES), MOMENTS, st.integers(0, 5), st.integers(0, 5))
def test_the_keys_around_one_are_its_shifts_that_there_are(
    cadence: Cadence, moment: datetime, before: int, after: int
) -> None:
    key = Calendar(cadence).key(moment)
    cut = Calendar(cadence, Calendar(cadence).shift(key, -2), Calendar(cadence).shift(key, 3))
    for calendar in (Calendar(cadence), cut):
        shifts = [calendar.shift(key, n) for n in range(-before, after + 1)]
        assert calendar.around(key, before, after) == [each for each in shifts if each is not None]


def test_names_and_all_have_nothing_around_them() -> None:
    assert Calendar("named").around("spring", 2, 2) == ["spring"]
    assert Calendar("none").around("all", 2, 2) == ["all"]
    assert Calendar("daily", "2024-01-01").around("all", 2, 2) == ["all"]  # a reference of a dataset with batches
