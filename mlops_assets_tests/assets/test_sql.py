"""A dataset whose ``cleaned`` its dbt project makes: the same versions, tests as checks, and what makes it stale.

What belongs here: the way from files to heads, checks and specs. What does not: SQL, dbt and compiling
(``dbtproject``).
"""

import subprocess
import sys
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from mlops_assets.assets.graph import Graph
from mlops_assets.checks.verdict import Verdict
from mlops_assets.contract.load import load_contract
from mlops_assets.definitions import build_definitions
from mlops_assets.store.store import Store
from mlops_assets_tests.assets.shop import BATCH, DAYS, Called, Shop, words
from mlops_assets_tests.datasets import day_rows, deliver_days, write_contract, write_rows, write_sql

TESTS = {"dbt_long_visits_see_pages": True, "dbt_unique_shops_known_shop": True, "dbt_pages_are_few": False}
STAGES = ("raw/visits", "raw/shops", "quarantine", "cleaned", "splits", "features")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Two days whose ``cleaned`` SQL made. To be read only."""
    folder = tmp_path_factory.mktemp("made")
    dataset = write_contract(folder / "data")
    write_sql(dataset)
    deliver_days(dataset, range(2))
    shop = Shop.in_folder(folder)
    done = run(shop)
    assert done.code == 0, done.text
    return shop


@pytest.fixture
def visits(made: Shop, tmp_path: Path) -> Shop:
    """A copy, to change at will."""
    return made.copy(tmp_path / "shop")


def run(shop: Shop) -> Called:
    return shop.called("run", "visits", *(word for stage in STAGES for word in ("--select", stage)))


def verdicts(shop: Shop, batch: str) -> dict[str, Verdict]:
    records = shop.manifest("cleaned", batch).verdicts
    return {record["check"]: Verdict(**record) for record in records}


def specs(shop: Shop) -> dg.AssetSpec:
    with shop.entered():
        definitions = build_definitions(shop.home)
    (found,) = [spec for spec in definitions.resolve_all_asset_specs() if spec.key.path[-1] == "cleaned"]
    return found


def edit(shop: Shop, name: str, old: str, new: str) -> None:
    file = shop.folder / "dbt" / name
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_sql_makes_the_versions_that_the_joins_make(made: Shop, tmp_path: Path) -> None:
    write_contract(tmp_path / "data")
    deliver_days(tmp_path / "data" / "visits", range(2))
    other = Shop.in_folder(tmp_path)
    run(other)
    assert other.heads() == made.heads()
    assert set(made.heads()["visits/cleaned"]) == set(DAYS[:2])


def test_every_test_is_judged_for_every_batch(made: Shop) -> None:
    found = verdicts(made, DAYS[0])
    assert [name for name in found if name.startswith("dbt_")] == list(TESTS)
    told = found["dbt_unique_shops_known_shop"]
    assert (told.passed, told.n, told.failed, told.severity) == (True, 3, 0, "block")
    assert told.details["file"] == "models/cleaned.yml:10"
    assert '"batch"."main"."shops_known"' in told.details["sql"]
    assert found["dbt_pages_are_few"].severity == "warn"
    assert found["matches"].passed  # what the contract asks of its joins is asked still


def test_a_failing_test_keeps_a_batch_from_being_published_and_shows_its_rows(visits: Shop) -> None:
    edit(visits, "tests/long_visits_see_pages.sql", "minutes > 600 and pages = 0", "visit like '%9990007'")
    write_rows(visits.landing(DAYS[0]), [f"v9990007,{DAYS[0]},north,5,3,0", f"v1,{DAYS[0]},south,5,3,0"])
    before = visits.heads()["visits/cleaned"]
    done = run(visits)
    assert done.code == 1
    text = words(done.text)
    assert f"visits/cleaned [{DAYS[0]}] was refused by the check dbt_long_visits_see_pages: " in text
    assert "finds 1 wrong in 2 rows of cleaned" in text
    assert "visit v9990007, shop north, minutes 5.0, pages 3" in text
    assert visits.heads()["visits/cleaned"] == before
    store = Store.open(visits.home.store)
    record = next(each for each in store.manifests("visits/cleaned", DAYS[0]) if not each.accepted)
    assert "v9990007" not in str(record.verdicts)  # values live where they can be erased


@pytest.mark.slow
def test_a_test_of_severity_warn_only_tells(visits: Shop) -> None:
    edit(visits, "models/cleaned.yml", "pages > 1000", "pages > 20")
    assert run(visits).code == 0
    told = verdicts(visits, DAYS[0])["dbt_pages_are_few"]
    assert not told.passed
    assert told.failed > 0


@pytest.mark.slow
def test_another_test_judges_again_what_is_not_made_again(visits: Shop) -> None:
    edit(visits, "tests/long_visits_see_pages.sql", "minutes > 600", "minutes > 599")
    before = visits.manifest("cleaned", DAYS[0])
    done = run(visits)
    assert f"audited visits/cleaned [{DAYS[0]}]" in words(done.text)
    after = visits.manifest("cleaned", DAYS[0])
    assert (after.version, after.recipe) == (before.version, before.recipe)
    assert after.rules != before.rules


def test_what_changes_no_sql_makes_nothing_stale(visits: Shop) -> None:
    assert visits.stale() & set(BATCH) == set()
    edit(visits, "models/cleaned.sql", "-- every visit, with", "-- each visit, with")
    edit(visits, "models/cleaned.yml", "square metres", "m2")
    (visits.folder / "dbt" / "README.md").write_text("About this project.")
    assert visits.stale() & set(BATCH) == set()


@pytest.mark.slow
def test_a_macro_makes_stale_what_uses_it_and_the_reason_names_the_model(visits: Shop) -> None:
    edit(visits, "macros/measured.sql", "* 1.0", "* 2.0")
    assert "cleaned" in visits.stale()
    assert "quarantine" not in visits.stale()
    done = visits.called("why-stale", f"visits/cleaned[{DAYS[0]}]")
    assert "Its setting dbt.shops_known changed" in words(done.text)
    assert run(visits).code == 0
    assert visits.manifest("cleaned", DAYS[0]).facts["rows"] == 60


def test_published_versions_are_judged_anew_when_checks_alone_are_asked_for(visits: Shop) -> None:
    session = visits.session()
    stage = session.graph.stages["cleaned"]
    found = {each.check: each for each in session.judge(stage, DAYS[0])}
    assert {name for name in found if name.startswith("dbt_")} == set(TESTS)
    assert all(found[name].passed for name in TESTS)


def test_the_graph_says_where_columns_come_from_and_what_is_asked(made: Shop) -> None:
    spec = specs(made)
    assert spec.description == "Visits with their shops."
    assert {"dbt", "duckdb", "parquet"} == spec.kinds
    assert list(spec.owners) == ["team:shop", "team:sql"]
    assert spec.tags["retail"] == ""
    assert spec.tags["stage"] == "cleaned"
    lineage = spec.metadata["dagster/column_lineage"]
    assert lineage.deps_by_column["size"] == [dg.TableColumnDep(dg.AssetKey(["visits", "raw", "shops"]), "size")]
    assert lineage.deps_by_column["paid"] == [dg.TableColumnDep(dg.AssetKey(["visits", "raw", "visits"]), "paid")]
    assert spec.metadata["columns_of_unknown_lineage"] == []
    columns = {column.name: column for column in spec.metadata["dagster/column_schema"].columns}
    assert columns["size"].description == "square metres (from shops.size)"
    assert {check.name: check.severity == "block" for check in made.graph().stages["cleaned"].checks
            if check.name.startswith("dbt_")} == TESTS  # fmt: skip


@pytest.mark.slow
def test_a_source_that_only_sql_reads_is_an_input(tmp_path: Path) -> None:
    dataset = write_contract(tmp_path, **{"joins:\n  - {source: shops, on: [shop], columns: [size], warn_below: 0.5}\n":
                                          "", "[minutes, pages, size]": "[minutes, pages]"})  # fmt: skip
    write_sql(dataset, **{"    visits.*,\n    shops_known.size\n": "    visits.*\n"})
    graph = Graph(load_contract(dataset))
    assert {upstream.stage for upstream in graph.stages["cleaned"].upstream} == {"raw/visits", "raw/shops"}


def test_a_broken_model_is_told_where_it_is_written(visits: Shop) -> None:
    edit(visits, "models/cleaned.sql", "shops_known.size\n", "shops_known.width\n")
    done = run(visits)
    assert done.code == 1
    assert f"{visits.folder}/dbt/models/cleaned.sql:4: cleaned: Binder Error" in words(done.text)
    assert "Traceback" not in done.text


@pytest.mark.slow
def test_a_batch_that_sql_cannot_compute_is_refused_without_its_values(visits: Shop) -> None:
    edit(visits, "macros/measured.sql", "{{ column }} * 1.0", "cast(shop as double)")
    done = run(visits)
    assert done.code == 1
    assert "dbt/models/cleaned.sql:1: cleaned: Conversion Error" in words(done.text)
    assert "north" not in done.text


@pytest.mark.slow
def test_what_dbt_must_run_itself_makes_the_same_versions(made: Shop, visits: Shop) -> None:
    edit(visits, "dbt_project.yml", "{+materialized: view}", "{+materialized: table, +post-hook: select 1}")
    contract = visits.graph().contract
    assert contract.sql is not None
    assert contract.sql.own_run == "shops_known has hooks"
    assert run(visits).code == 0
    assert visits.heads() == made.heads()
    assert verdicts(visits, DAYS[0]).keys() == verdicts(made, DAYS[0]).keys()
    assert visits.manifest("cleaned", DAYS[0]).settings["dbt"].keys() == {"files"}


@pytest.mark.slow
def test_the_command_runs_unit_tests(visits: Shop) -> None:
    done = visits.called("dbt", "test", "visits")
    assert done.code == 0
    assert "passed visits cleaned: a_visit_without_a_shop_stays visits: 1 unit tests, 0 failed." in words(done.text)
    edit(visits, "models/cleaned.yml", "{visit: v2, size: null}", "{visit: v2, size: 7}")
    done = visits.called("dbt", "test")
    assert done.code == 1
    assert "FAILED visits cleaned: a_visit_without_a_shop_stays" in words(done.text)


def test_a_dataset_without_dbt_has_no_unit_tests(tmp_path: Path) -> None:
    write_contract(tmp_path / "data")
    done = Shop.in_folder(tmp_path).called("dbt", "test", "visits")
    assert done.code == 1
    assert "visits has no dbt project" in done.text


def test_loading_the_code_location_imports_no_dbt(made: Shop) -> None:
    code = (
        "import sys; from mlops_assets.definitions import defs; defs.load_fn();"
        "print([name for name in ('dbt', 'dagster_dbt', 'duckdb', 'sqlglot', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=made.environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_a_day_more_is_made_by_the_sql_that_is_there(visits: Shop) -> None:
    write_rows(visits.landing(DAYS[2]), day_rows(date.fromisoformat(DAYS[2]), 40))
    assert run(visits).code == 0
    assert visits.manifest("cleaned", DAYS[2]).rows == 40
