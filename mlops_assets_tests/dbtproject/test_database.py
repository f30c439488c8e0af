"""Compiled SQL executed over a batch's tables: relations, tests, and where it fails."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from mlops_assets.dbtproject.database import Database, difference
from mlops_assets.dbtproject.shape import DataTest, Model, SqlProject
from mlops_assets.errors import RefusedError

FOLDER = Path("data/shop/dbt")
VISITS = pa.table({"visit": ["v1", "v2", "v3"], "shop": ["north", "south", None], "paid": [1.0, 2.0, 30.0]})
SHOPS = pa.table({"shop": ["north", "south"], "size": [120.0, 80.5]})
RAW = {"visits": VISITS, "shops": SHOPS}


def model(name: str, sql: str, kind: str = "view", schema: str = "main") -> Model:
    lines = tuple(range(11, 11 + len(sql.splitlines())))
    return Model(name, f"models/{name}.sql", f'"batch"."{schema}"."{name}"', schema, kind, sql, 1, lines)  # type: ignore[arg-type]


def data_test(name: str, sql: str, **more: object) -> DataTest:
    found = DataTest(name, f"test.{name}", f"tests/{name}.sql", "block", "", '"batch"."main"."cleaned"', "cleaned", sql)
    return replace(found, **more)  # type: ignore[arg-type]


SIZES = model("sizes", 'select shop as store, size\nfrom "batch"."raw"."shops"', schema="staging")
CLEANED = model(
    "cleaned", 'select v.*, size\nfrom "batch"."raw"."visits" v left join "batch"."staging"."sizes" on shop = store'
)
SUM = model("takings", 'select sum(paid) as paid from "batch"."main"."cleaned"', "table")
EXPENSIVE = data_test(
    "expensive", 'select * from "batch"."main"."cleaned" where paid > 1', shown=("visit", "paid"), severity="warn"
)


def project(*models: Model, tests: tuple[DataTest, ...] = ()) -> SqlProject:
    return SqlProject(FOLDER, "key", models or (SIZES, CLEANED, SUM), tests, ("shops", "visits"), {}, {})


@pytest.fixture
def database() -> Iterator[Database]:
    found = Database(project(tests=(EXPENSIVE,)))
    yield found
    found.close()


def rows(table: pa.Table) -> list[tuple[object, ...]]:
    return sorted((tuple(row.values()) for row in table.to_pylist()), key=str)


def test_models_are_made_over_the_tables_of_one_batch_after_another(database: Database) -> None:
    for tables in (RAW, {"visits": VISITS.slice(1, 1), "shops": SHOPS.slice(0, 1)}, RAW):
        database.lay(tables)
        found = database.cleaned()
        sizes = dict(zip(*tables["shops"].to_pydict().values(), strict=True))
        assert rows(found) == rows(
            tables["visits"].append_column("size", pa.array([sizes.get(s.as_py()) for s in tables["visits"]["shop"]]))
        )
        assert found.schema.types == [pa.string(), pa.string(), pa.float64(), pa.float64()]


def test_tests_judge_the_table_that_they_are_given(database: Database) -> None:
    database.lay(RAW)
    cleaned = database.cleaned()
    (found,) = database.judge(cleaned)
    assert (found.n, found.failures, found.status) == (3, 2, "warn")
    assert found.rows == ({"visit": "v2", "paid": 2.0}, {"visit": "v3", "paid": 30.0})
    (found,) = database.judge(cleaned.slice(0, 1))
    assert (found.n, found.failures, found.rows) == (1, 0, ())
    assert rows(database.cleaned()) == rows(cleaned)  # the model again, not what was judged


def test_models_that_read_cleaned_read_what_is_judged() -> None:
    takings = data_test("takings", 'select paid from "batch"."main"."takings" where paid < 33', shown=("paid",))
    database = Database(project(tests=(takings,)))
    database.lay(RAW)
    assert database.judge(database.cleaned())[0].failures == 0
    database.lay({**RAW, "visits": VISITS.slice(0, 1)})
    assert database.judge(database.cleaned())[0].rows == ({"paid": 1.0},)


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({}, (2, "warn")),
        ({"severity": "block"}, (2, "fail")),
        ({"severity": "block", "limit": 1}, (1, "fail")),
        ({"severity": "block", "error_if": "> 2"}, (2, "warn")),
        ({"warn_if": "> 2"}, (2, "pass")),
        ({"severity": "block", "fail_calc": "max(paid)", "error_if": "> 29"}, (30, "fail")),
        ({"sql": 'select * from "batch"."main"."cleaned" where false', "fail_calc": "max(paid)"}, (0, "pass")),
    ],
)
def test_failures_are_counted_as_dbt_counts_them(more: dict[str, object], found: tuple[int, str]) -> None:
    database = Database(project(tests=(replace(EXPENSIVE, **more),)))  # type: ignore[arg-type]
    database.lay(RAW)
    (judged,) = database.judge(database.cleaned())
    assert (judged.failures, judged.status) == found


def refused(*models: Model) -> str:
    database = Database(project(*models))
    database.lay(RAW)
    with pytest.raises(RefusedError) as caught:
        database.cleaned()
    return str(caught.value)


def test_sql_that_fails_is_told_with_its_line() -> None:
    text = refused(model("cleaned", 'select visit,\n    nothing\nfrom "batch"."raw"."visits"'))
    assert text.startswith('data/shop/dbt/models/cleaned.sql:12: cleaned: Binder Error: Referenced column "nothing"')
    assert refused(model("cleaned", "select 1,,")).startswith("data/shop/dbt/models/cleaned.sql:11: cleaned: Parser")


def test_a_value_that_sql_stumbles_over_is_not_told() -> None:
    text = refused(model("cleaned", 'select cast(shop as integer) as x from "batch"."raw"."visits"'))
    assert text.startswith("data/shop/dbt/models/cleaned.sql:1: cleaned: Conversion Error")
    assert "north" not in text


def test_sql_sees_no_file(tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("a\n1\n")
    text = refused(model("cleaned", f"from read_csv('{tmp_path / 'more.csv'}')"))
    assert "disabled by configuration" in text


def test_a_test_that_cannot_be_computed_says_so() -> None:
    broken = data_test("broken", 'select visit from "batch"."main"."cleaned" where cast(shop as integer) > 0')
    database = Database(project(tests=(broken, EXPENSIVE)))
    database.lay(RAW)
    first, second = database.judge(database.cleaned())
    assert "tests/broken.sql:1: broken: Conversion Error" in first.trouble
    assert "north" not in first.trouble
    assert second.failures == 2


def test_differences_of_columns_are_named() -> None:
    wanted = {"visit": "VARCHAR", "size": "DOUBLE", "pages": "BIGINT"}
    assert difference(wanted, dict(reversed(wanted.items()))) == []
    assert difference(wanted, {"visit": "VARCHAR", "pages": "HUGEINT", "more": "DATE"}) == [
        "it lacks size (DOUBLE)",
        "the contract does not know its more",
        "pages is HUGEINT instead of BIGINT",
    ]
