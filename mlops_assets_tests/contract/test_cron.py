"""Which cron expressions are read, what is said of the others, and that Dagster agrees."""

from datetime import UTC, datetime

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.contract.cron import cron
from mlops_assets.contract.yamlnodes import WrongError

LIMITS = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)]
NAMES = {3: ["jan", "Feb", "DEC"], 4: ["sun", "Mon", "SAT"]}


def read(written: str) -> str:
    return cron(yaml.ScalarNode("tag:yaml.org,2002:str", written, _mark(), _mark(), style='"'))


def _mark() -> yaml.Mark:
    return yaml.Mark("", 0, 0, 0, None, None)


def told(written: str) -> str:
    with pytest.raises(WrongError) as caught:
        read(written)
    ((_, problem),) = caught.value.problems
    return str(problem)


@pytest.mark.parametrize(
    "written",
    ["0 3 * * 0", "*/15 * * * *", "0 6,18 1-7 * mon", "5-55/10 0 29 feb *", "0 0 31 feb mon", "0 12 * JAN-MAR Mon-Fri"],
)
def test_read(written: str) -> None:
    assert read(written) == written
    assert read(f" {written.replace(' ', '   ')} ") == written


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (
            "daily",
            (
                'should be a cron expression of five fields like "0 3 * * 0" (minute, hour, day, month, weekday), not '
                "'daily'."
            ),
        ),
        ("60 3 * * 0", "is '60 3 * * 0': the minute should be 0 to 59, not 60."),
        ("0 24 * * 0", "is '0 24 * * 0': the hour should be 0 to 23, not 24."),
        ("0 0 0 * *", "is '0 0 0 * *': the day of the month should be 1 to 31, not 0."),
        ("0 0 * * 7", "is '0 0 * * 7': the day of the week should be 0 to 6, not 7."),
        ("0 0 * jam *", "is '0 0 * jam *': 'jam' is no month; did you mean 'jan'?"),
        (
            "0 0 * * ²",
            ("is '0 0 * * ²': '²' is no day of the week; known are 'fri', 'mon', 'sat', 'sun', 'thu', 'tue', 'wed'."),
        ),
        ("0 18-6 * * *", "is '0 18-6 * * *': the hour's range '18-6' ends before it begins."),
        ("*/0 * * * *", "is '*/0 * * * *': the minute's step should be 1 to 59, not 0."),
        ("5/10 * * * *", "is '5/10 * * * *': the minute has steps from 5 on; say to where, like 5-59/10."),
        ("0 0 L * *", "is '0 0 L * *': 'L' is no day of the month."),
        (
            "0 0 1,* * *",
            ("is '0 0 1,* * *': the day of the month cannot be '1,*'; write *, 5, 1-5, */10 or a list like 1,15."),
        ),
        (
            "0 0 * * 5#2",
            ("is '0 0 * * 5#2': the day of the week cannot be '5#2'; write *, 5, 1-5, */10 or a list like 1,15."),
        ),
        ("0 0 30,31 2 *", "is '0 0 30,31 2 *': the day 30 never comes in the months it names."),
        ("0 0 31 apr,jun 0-6", None),
        ("0 0 31 4,6 */1", "is '0 0 31 4,6 */1': the day 31 never comes in the months it names."),
    ],
)
def test_refused(written: str, problem: str | None) -> None:
    if problem is None:
        assert read(written) == written
    else:
        assert told(written) == problem


def field(number: int) -> st.SearchStrategy[str]:
    """A field as people and typing errors write it."""
    low, high = LIMITS[number]
    value = st.integers(low - 1, high + 1).map(str) | st.sampled_from(NAMES.get(number, ["x"]))
    part = st.just("*") | value | st.tuples(value, value).map("-".join)
    stepped = part | st.tuples(part, st.integers(0, high + 1).map(str)).map("/".join)
    return st.lists(stepped, min_size=1, max_size=3).map(",".join)


@settings(max_examples=400, deadline=None)
@given(st.tuples(*(field(number) for number in range(5))).map(" ".join))
def test_what_is_read_is_a_schedule_for_dagster_and_ticks(written: str) -> None:
    from dagster._utils.schedules import cron_string_iterator, is_valid_cron_string

    try:
        found = read(written)
    except WrongError:
        return
    assert is_valid_cron_string(found)
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    tick = next(cron_string_iterator(begin.timestamp(), found, "UTC"))
    assert (tick - begin).days <= 3 * 366  # 29 February 2028
