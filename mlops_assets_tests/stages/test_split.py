"""Buckets that never move."""

from datetime import date
from pathlib import Path

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.contract.model import Split
from mlops_assets.stages.split import BUCKETS, assign_buckets
from mlops_assets_tests.stages.build import at, column, contract, source

TABLE = pa.table(
    {
        "id": pa.array(range(1, 5001)),
        "day": pa.array([date(2024, 1, 1 + n % 28) for n in range(5000)]),
        "shop": pa.array([f"s{n % 7}" for n in range(5000)]),
    }
)


def buckets(table: pa.Table, split: Split | None = None, key: tuple[str, ...] = ("id",)) -> list[int]:
    rules = contract(source(key=key), split=split or Split("hash"))
    found: list[int] = assign_buckets(rules, table).value["bucket"].to_pylist()
    return found


def test_buckets_never_change() -> None:
    """These numbers are part of every split ever recorded; a change moves rows between train and test."""
    assert buckets(TABLE.slice(0, 6)) == [7887, 8408, 5679, 5709, 3831, 6935]
    assert buckets(TABLE.slice(0, 3), key=("id", "shop")) == [4211, 4095, 2914]
    assert buckets(TABLE.slice(0, 3), key=("day",)) == [1858, 4285, 1310]


def test_a_row_keeps_its_bucket_whatever_else_arrives() -> None:
    whole = buckets(TABLE)
    assert buckets(TABLE.slice(2500)) == whole[2500:]
    assert buckets(TABLE.take(list(range(4999, -1, -1)))) == whole[::-1]


def test_buckets_fill_their_range_evenly() -> None:
    made = assign_buckets(contract(), TABLE)
    assert made.value.schema == pa.schema([("bucket", pa.int16())])
    assert made.facts["units"] == made.facts["rows"] == 5000
    assert sum(made.facts["tenths"]) == 5000
    assert all(400 < count < 600 for count in made.facts["tenths"])
    assert made.facts["by"] == ["id"]
    found = made.value["bucket"].to_pylist()
    assert 0 <= min(found) < 20
    assert BUCKETS - 20 < max(found) < BUCKETS


def test_a_group_is_never_torn_apart() -> None:
    by_shop = buckets(TABLE, Split("hash", group=("shop",)))
    assert len(set(zip(TABLE["shop"].to_pylist(), by_shop, strict=True))) == 7


def test_another_salt_is_another_split() -> None:
    assert buckets(TABLE.slice(0, 50)) != buckets(TABLE.slice(0, 50), Split("hash", salt="other"))


def test_columns_count_by_their_place() -> None:
    table = pa.table({"a": ["x", "y"], "b": ["y", "x"]})
    rules = contract(source(column("a", "string"), column("b", "string"), key=("a", "b")))
    assert len(set(assign_buckets(rules, table).value["bucket"].to_pylist())) == 2


@given(
    st.lists(
        st.tuples(
            st.text(max_size=3) | st.none(), st.integers(-(2**63), 2**63 - 1) | st.none(), st.booleans() | st.none()
        ),
        min_size=1,
    )
)
def test_equal_rows_have_equal_buckets_in_any_company(rows: list[tuple[str | None, int | None, bool | None]]) -> None:
    rules = contract(source(column("t", "string"), column("n", "int64"), column("b", "boolean"), key=("t", "n", "b")))
    schema = pa.schema([("t", pa.string()), ("n", pa.int64()), ("b", pa.bool_())])
    table = pa.table(
        [pa.array(part, field.type) for part, field in zip(zip(*rows, strict=True), schema, strict=True)], schema
    )
    together = assign_buckets(rules, table).value["bucket"].to_pylist()
    alone = [assign_buckets(rules, table.slice(n, 1)).value["bucket"][0].as_py() for n in range(len(rows))]
    assert together == alone


def test_times_and_nothing_at_all(tmp_path: Path) -> None:
    del tmp_path
    rules = contract(source(column("at", "timestamp"), key=("at",)))
    table = pa.table({"at": pa.array([at("2024-01-01"), None], pa.timestamp("us"))})
    assert len(set(assign_buckets(rules, table).value["bucket"].to_pylist())) == 2
    assert assign_buckets(rules, table.slice(0, 0)).facts == {"rows": 0, "by": ["at"], "units": 0, "tenths": [0] * 10}
