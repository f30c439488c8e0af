"""Codes of rows against comparing the rows themselves."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.stages.rows import Codes, again, codes, combine, ranks, repeated

SMALL = st.integers(min_value=-2, max_value=2) | st.none()


@given(st.lists(st.tuples(SMALL, SMALL, SMALL)))
def test_combined_codes_are_equal_exactly_where_rows_are(rows: list[tuple[int | None, ...]]) -> None:
    columns = [pa.array([row[place] for row in rows], pa.int64()) for place in range(3)]
    for huge in (False, True):
        parts = [codes(each) for each in columns]
        if huge:  # more room than 64 bits have, so that numbers are made dense on the way
            parts = [Codes(part.of, 2**40) for part in parts]
        numbers = combine(parts, len(rows)).tolist()
        assert [a == b for a in numbers for b in numbers] == [a == b for a in rows for b in rows]
        assert repeated(np.array(numbers, dtype=np.int64)).tolist() == [rows.count(row) > 1 for row in rows]
        assert again(np.array(numbers, dtype=np.int64)).tolist() == [row in rows[:at] for at, row in enumerate(rows)]


@given(st.lists(st.tuples(SMALL, st.text(max_size=2))))
def test_combined_ranks_are_in_the_order_of_the_rows(rows: list[tuple[int | None, str]]) -> None:
    first = ranks(pa.array([row[0] for row in rows], pa.int64()))
    second = ranks(pa.array([row[1] for row in rows], pa.string()))
    order = np.argsort(combine([first, second], len(rows)), kind="stable").tolist()

    def key(row: tuple[int | None, str]) -> tuple[bool, int, str]:
        return row[0] is None, row[0] or 0, row[1]

    assert [rows[place] for place in order] == sorted(rows, key=key)


def test_nulls_are_equal_to_each_other_only() -> None:
    found = codes(pa.array(["", None, None, ""]))
    assert found.of.tolist() == [0, 1, 1, 0]
    assert found.size == 2


def test_nothing_has_codes_too() -> None:
    assert combine([codes(pa.array([], pa.string()))], 0).tolist() == []
    assert codes(pa.chunked_array([], pa.string())).size == 1
