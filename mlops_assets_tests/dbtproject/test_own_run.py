"""dbt's own run in this process: what compiled SQL alone is not enough for, batch after batch, and unit tests."""

import os
from pathlib import Path

import pyarrow as pa
import pytest

from mlops_assets.contract.load import load_contract
from mlops_assets.contract.model import Contract
from mlops_assets.dbtproject.database import Database, Run
from mlops_assets.dbtproject.own_run import OwnRun, unit_tests
from mlops_assets.errors import RefusedError
from mlops_assets.stages.cells import TYPES
from mlops_assets_tests.datasets import write_contract, write_sql

VISITS: list[dict[str, object]] = [
    {"visit": "v1", "shop": "north", "minutes": 700.0, "pages": 0, "paid": 0.0},
    {"visit": "v2", "shop": "south", "minutes": 3.0, "pages": 2000, "paid": 7.5},
    {"visit": "v3", "shop": "west", "minutes": None, "pages": 5, "paid": None},
]
SHOPS: list[dict[str, object]] = [{"shop": "north", "size": 120.0}, {"shop": "south", "size": 80.5}]


def tables(contract: Contract, visits: list[dict[str, object]], shops: list[dict[str, object]]) -> dict[str, pa.Table]:
    rows = {"visits": visits, "shops": shops}
    return {
        name: pa.table(
            {
                key: pa.array([row.get(key) for row in rows[name]], TYPES[column.type])
                for key, column in source.columns.items()
            }
        )
        for name, source in contract.sources.items()
    }  # fmt: skip


def written(folder: Path, **changes: str) -> Contract:
    dataset = write_contract(folder)
    write_sql(dataset, **changes)
    return load_contract(dataset)


@pytest.fixture(scope="module")
def visits(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    return written(tmp_path_factory.mktemp("data"))


def answers(run: Run, batches: list[dict[str, pa.Table]]) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for batch in batches:
        run.lay(batch)
        cleaned = run.cleaned().sort_by("visit")
        tests = {
            each.test.name: (each.n, each.failures, each.status, each.rows if each.test.shown else ())
            for each in run.judge(cleaned)
        }
        found.append((cleaned.to_pylist(), cleaned.schema, tests))
    run.close()
    return found


def test_dbt_gives_what_its_compiled_sql_gives(visits: Contract) -> None:
    assert visits.sql is not None
    batches = [tables(visits, VISITS, SHOPS), tables(visits, VISITS[1:], SHOPS[:1]), tables(visits, [], SHOPS)]
    before = dict(os.environ)
    found = answers(OwnRun(visits.sql), batches)
    assert found == answers(Database(visits.sql), batches)
    assert dict(os.environ) == before
    assert found[0][2] == {
        "long_visits_see_pages": (3, 1, "fail", ({"visit": "v1", "shop": "north", "minutes": 700.0, "pages": 0},)),
        "unique_shops_known_shop": (2, 0, "pass", ()),
        "pages_are_few": (3, 1, "warn", ({"value_field": 2000, "n_records": 1},)),
    }


def test_dbt_runs_what_is_more_than_its_sql(tmp_path: Path) -> None:
    changes = {
        "{+materialized: view}": "{+materialized: incremental}",
        "select shop, {{": "{% if execute %}{% set most = run_query('select max(size) from raw.shops').columns[0][0] %}"
        "{% endif %}select shop, {{",
        "measured('size') }} as": "measured('size') }} / {{ most or 1 }} as",
    }
    contract = written(tmp_path, **changes)
    assert contract.sql is not None
    assert contract.sql.own_run == "shops_known is incremental"
    assert contract.sql.unresolved == ()
    run = OwnRun(contract.sql)
    for shops, sizes in ((SHOPS, [1.0, 80.5 / 120, None]), (SHOPS[1:], [None, 1.0, None])):
        run.lay(tables(contract, VISITS, shops))
        cleaned = run.cleaned().sort_by("visit")
        assert cleaned["size"].to_pylist() == sizes
        found = {each.test.name: each for each in run.judge(cleaned)}
        assert found["long_visits_see_pages"].rows == ({"visit": "v1", "shop": "north", "minutes": 700.0, "pages": 0},)
    run.close()


def test_where_a_column_is_sensitive_dbt_shows_no_rows(visits: Contract) -> None:
    assert visits.sql is not None
    run = OwnRun(visits.sql, {"shop"})
    run.lay(tables(visits, VISITS, SHOPS))
    found = {each.test.name: each for each in run.judge(run.cleaned())}
    assert (found["long_visits_see_pages"].failures, found["long_visits_see_pages"].rows) == (1, ())
    run.close()


@pytest.mark.slow
def test_what_dbt_cannot_run_is_told_with_its_file(tmp_path: Path) -> None:
    contract = written(tmp_path, **{"+materialized: view": "+materialized: incremental", "{{ column }} * 1.0": "width"})
    assert contract.sql is not None
    run = OwnRun(contract.sql)
    run.lay(tables(contract, VISITS, SHOPS))
    with pytest.raises(RefusedError, match=r"models/shops_known.sql:1: dbt says: .*\"width\" not found") as caught:
        run.cleaned()
    assert caught.value.sentences[0].startswith(str(tmp_path))
    run.close()


def test_unit_tests_need_no_data(visits: Contract) -> None:
    assert visits.sql is not None
    (found,) = unit_tests(visits.sql.folder, visits.sources.values())
    assert (found.name, found.model, found.passed, found.difference) == (
        "a_visit_without_a_shop_stays", "cleaned", True, "",
    )  # fmt: skip


@pytest.mark.slow
def test_a_unit_test_that_fails_shows_the_difference(tmp_path: Path) -> None:
    contract = written(tmp_path, **{"left join": "inner join"})
    assert contract.sql is not None
    (found,) = unit_tests(contract.sql.folder, contract.sources.values())
    assert not found.passed
    assert "v2" in found.difference
    assert "\x1b" not in found.difference


@pytest.mark.slow
def test_unit_tests_of_a_broken_project_are_told_so(visits: Contract, tmp_path: Path) -> None:
    dataset = write_contract(tmp_path)
    project = write_sql(dataset, **{"shops_known.size\n": "shops_known.width\n"})
    (found,) = unit_tests(project, visits.sources.values())
    assert '"width"' in found.difference
    project = write_sql(dataset, **{"{{ column }} * 1.0": "width"})
    with pytest.raises(RefusedError, match=r"models/shops_known.sql:1: dbt says: .*\"width\""):
        unit_tests(project, visits.sources.values())
