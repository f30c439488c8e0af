"""``cleaned`` by a dataset's own SQL: what its result must be, its order, and the accounts of the batch."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from mlops_assets.contract.model import Contract, Join
from mlops_assets.dbtproject.shape import Model, SqlProject
from mlops_assets.errors import RefusedError
from mlops_assets.stages.clean import clean
from mlops_assets.stages.made import Made
from mlops_assets.stages.sift import Sifted
from mlops_assets.stages.transform import begin, transform
from mlops_assets_tests.stages.build import column, contract, csv_text, sifted, source

SHOPS = source(column("shop", "string"), column("size", "float64"), name="shops", key=("shop",), event_time=None)
JOIN = Join("shops", (("shop", "shop"),), {"size": "size"})
JOINED = """
select sales.*, shops.size
from "batch"."raw"."sales" as sales left join "batch"."raw"."shops" as shops on sales.shop = shops.shop
"""
DAYS = ("3,2024-01-07,west,7,1", "2,2024-01-06,south,,0", "1,2024-01-06,north,1.50,2", "2,2024-01-06,south,,0")


def rules(sql: str) -> Contract:
    model = Model("cleaned", "models/cleaned.sql", '"batch"."main"."cleaned"', "main", "view", sql)
    project = SqlProject(Path("data/shop/dbt"), "key", (model,), (), ("sales", "shops"), {}, {})
    return replace(contract(source(), SHOPS, joins=(JOIN,)), sql=project)


def delivered(folder: Path, by: Contract) -> dict[str, Sifted]:
    shops = csv_text("north,120", "west,80.5", header="shop,size")
    return {"sales": sifted(folder, csv_text(*DAYS), rules=by), "shops": sifted(folder, shops, SHOPS, by)}


def made(folder: Path, sql: str = JOINED) -> tuple[Made, Made]:
    """What the joins of the contract make, and what SQL makes."""
    by = rules(sql)
    found = delivered(folder, by)
    accepted = {name: each.accepted for name, each in found.items()}
    run = begin(by)
    run.lay(accepted)
    return clean(by, accepted, found), transform(by, run, accepted, found)


def test_sql_makes_what_the_joins_make_with_the_same_account(tmp_path: Path) -> None:
    joined, transformed = made(tmp_path)
    assert transformed.value.equals(joined.value)
    assert transformed.facts == joined.facts
    assert transformed.sentences == joined.sentences
    assert [row["id"] for row in transformed.value.to_pylist()] == [1, 2, 3]  # by day, then key
    assert transformed.facts["joins"] == [
        {"source": "shops", "kind": "left", "rows": 3, "matched": 2, "ambiguous": 0}
    ]  # fmt: skip


def test_columns_may_come_in_another_order(tmp_path: Path) -> None:
    joined, transformed = made(tmp_path, f"from ({JOINED}) select size, * exclude (size) order by id desc")
    assert transformed.value.equals(joined.value)


def test_rows_that_sql_leaves_out_are_seen(tmp_path: Path) -> None:
    _, transformed = made(tmp_path, f"{JOINED} where price is not null")
    assert (transformed.facts["rows_in"], transformed.facts["rows"]) == (3, 2)


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("select * exclude (paid) from ({})", r"it lacks paid \(int64\)"),
        ("select *, 1 as more from ({})", "the contract does not know its more"),
        ("select * replace (paid::integer as paid) from ({})", "paid is int32 instead of int64"),
        ("select * replace (day::timestamp as day) from ({})", r"day is timestamp\[us\] instead of date32\[day\]"),
    ],
)
def test_other_columns_than_the_contract_says_are_refused(tmp_path: Path, sql: str, told: str) -> None:
    text = rf"data/shop/dbt/models/cleaned.sql:1: cleaned is not what the contract says: {told}\."
    with pytest.raises(RefusedError, match=text):
        made(tmp_path, sql.format(JOINED))


def test_an_empty_batch_has_its_columns(tmp_path: Path) -> None:
    by = rules(JOINED)
    accepted = {name: each.accepted.slice(0, 0) for name, each in delivered(tmp_path, by).items()}
    run = begin(by)
    run.lay(accepted)
    found = transform(by, run, accepted, {}).value
    assert found.num_rows == 0
    assert found.schema.field("size").type == pa.float64()
