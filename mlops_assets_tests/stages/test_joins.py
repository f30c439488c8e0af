"""Which row meets which, against looking at every pair."""

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.contract.model import Join
from mlops_assets.errors import ContractError
from mlops_assets.stages.joins import brought, meet
from mlops_assets_tests.stages.build import at, contract

START = at("2024-01-01")


def join(*on: tuple[str, str], **more: Any) -> Join:
    return Join("theirs", on, {"v": "v"}, line=12, **more)


def met(rule: Join, ours: pa.Table, theirs: pa.Table) -> tuple[list[Any], int]:
    found = meet(contract(), rule, ours, theirs)
    return brought(theirs["v"], found).to_pylist(), found.ambiguous


def test_rows_meet_by_every_column() -> None:
    ours = pa.table({"a": [1, 1, 2, None], "b": ["x", "y", "x", "x"]})
    theirs = pa.table({"k": [1, 2, None, 1], "b": ["y", "x", "x", "z"], "v": [10, 20, 30, 40]})
    assert met(join(("a", "k"), ("b", "b")), ours, theirs) == ([None, 10, 20, None], 0)


def test_a_row_that_could_meet_several_meets_none() -> None:
    theirs = pa.table({"k": [1, 1, 2], "v": [1, 2, 3]})
    assert met(join(("k", "k")), pa.table({"k": [1, 2, 3]}), theirs) == ([None, 3, None], 1)


def test_nothing_to_meet() -> None:
    nothing = pa.table({"k": pa.array([], pa.int64()), "v": pa.array([], pa.int64())})
    assert met(join(("k", "k")), pa.table({"k": [1, 2]}), nothing) == ([None, None], 0)
    assert met(join(("k", "k")), nothing, pa.table({"k": [1], "v": [1]})) == ([], 0)
    times = {"t": pa.array([], pa.timestamp("us"))}
    empty = nothing.append_column("t", times["t"])
    ours = pa.table({"k": [1], "t": [START]})
    assert met(join(("k", "k"), as_of=("t", "t")), ours, empty) == ([None], 0)


def test_types_that_differ() -> None:
    with pytest.raises(ContractError) as caught:
        met(join(("k", "k")), pa.table({"k": [1]}), pa.table({"k": ["1"], "v": [1]}))
    assert str(caught.value) == (
        "data/shop/dataset.yaml:12: the join of 'theirs' compares int64 with string; declare both columns with one "
        "type."
    )


def test_as_of_takes_the_newest_row_that_is_not_later() -> None:
    def at(*minutes: int | None) -> pa.Array:
        return pa.array([None if m is None else START + timedelta(minutes=m) for m in minutes], pa.timestamp("us"))

    theirs = pa.table({"k": [1, 1, 1, 2, 1], "s": at(30, 10, 20, 12, None), "v": [30, 10, 20, 12, 99]})
    ours = pa.table({"k": [1, 1, 1, 1, 2, 3, 1, None], "t": at(9, 10, 29, 90, 11, 50, None, 20)})
    rule = join(("k", "k"), as_of=("t", "s"))
    assert met(rule, ours, theirs) == ([None, 10, 20, 30, None, None, None, None], 0)
    near = join(("k", "k"), as_of=("t", "s"), tolerance=9 * 60.0)
    assert met(near, ours, theirs) == ([None, 10, 20, None, None, None, None, None], 0)


def test_as_of_takes_the_newest_row_that_was_known_and_the_tolerance_counts_from_its_own_time() -> None:
    def at(*minutes: int) -> pa.Array:
        return pa.array([START + timedelta(minutes=m) for m in minutes], pa.timestamp("us"))

    theirs = pa.table({"k": [1, 1, 1], "s": at(10, 20, 30), "v": [10, 20, 30]})
    ours = pa.table({"k": [1, 1, 1, 1, 1], "t": at(10, 24, 25, 35, 60)})
    late = join(("k", "k"), as_of=("t", "s"), known_after=5 * 60.0)
    assert met(late, ours, theirs) == ([None, 10, 20, 30, 30], 0)
    near = join(("k", "k"), as_of=("t", "s"), known_after=5 * 60.0, tolerance=5 * 60.0)
    assert met(near, ours, theirs) == ([None, None, 20, 30, None], 0)


def test_as_of_with_two_rows_of_one_moment_meets_none() -> None:
    theirs = pa.table({"k": [1, 1, 1], "t": [START, START, START - timedelta(1)], "v": [1, 2, 3]})
    ours = pa.table({"k": [1, 1], "t": [START, START - timedelta(hours=1)]})
    assert met(join(("k", "k"), as_of=("t", "t")), ours, theirs) == ([None, 3], 1)


KEYS = st.lists(st.tuples(st.integers(0, 3) | st.none(), st.integers(0, 12)), max_size=15)


@given(KEYS, KEYS, st.none() | st.integers(0, 5), st.integers(0, 4))
def test_as_of_agrees_with_looking_at_every_row(ours: Any, theirs: Any, tolerance: int | None, late: int) -> None:
    def table(rows: Any) -> pa.Table:
        times = [START + timedelta(seconds=second) for _, second in rows]
        keys = pa.array([key for key, _ in rows], pa.int64())
        return pa.table({"k": keys, "t": pa.array(times, pa.timestamp("us")), "v": pa.array(range(len(rows)))})

    expected, several = [], 0
    for key, second in ours:
        fits = [
            (when, place)
            for place, (other, when) in enumerate(theirs)
            if key is not None
            and other == key
            and when + late <= second
            and (tolerance is None or second - when <= tolerance)
        ]
        newest = [place for when, place in fits if when == max(fits)[0]]
        several += len(newest) > 1
        expected.append(newest[0] if len(newest) == 1 else None)
    rule = join(("k", "k"), as_of=("t", "t"), tolerance=tolerance, known_after=float(late))
    assert met(rule, table(ours), table(theirs)) == (expected, several)


@given(KEYS, KEYS)
def test_an_exact_join_agrees_with_looking_at_every_row(ours: Any, theirs: Any) -> None:
    def table(rows: Any) -> pa.Table:
        keys = {"k": pa.array([key for key, _ in rows], pa.int64()), "s": pa.array([s for _, s in rows], pa.int64())}
        return pa.table({**keys, "v": pa.array(range(len(rows)))})

    fits = [[place for place, other in enumerate(theirs) if row[0] is not None and other == row] for row in ours]
    expected = [each[0] if len(each) == 1 else None for each in fits]
    assert met(join(("k", "k"), ("s", "s")), table(ours), table(theirs)) == (
        expected,
        sum(len(each) > 1 for each in fits),
    )
