"""dbt projects compiled by dbt: what is found in them, and every mistake as a sentence with its line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.contract.load import load_contract
from mlops_assets.dbtproject.cache import request_of
from mlops_assets.dbtproject.compiling import compiled
from mlops_assets.dbtproject.shape import SqlProject
from mlops_assets.errors import ContractError, RefusedError
from mlops_assets_tests.datasets import SQL, write_contract, write_sql

CLEANED, STAGED = "models/cleaned.sql", "models/shops_known.sql"


def request(folder: Path, **changes: str) -> Mapping[str, Any]:
    """What is asked about a dataset with a dbt project."""
    dataset = write_contract(folder)
    contract = load_contract(dataset)
    write_sql(dataset, **changes)
    return request_of(contract)


@pytest.fixture(scope="module")
def visits(tmp_path_factory: pytest.TempPathFactory) -> SqlProject:
    return compiled(request(tmp_path_factory.mktemp("data")))


def test_models_in_the_order_of_their_references(visits: SqlProject) -> None:
    assert [(model.name, model.kind, model.file) for model in visits.models] == [
        ("shops_known", "view", STAGED),
        ("cleaned", "view", CLEANED),
    ]
    assert visits.models[0].sql == 'select shop, size * 1.0 as size\nfrom "batch"."raw"."shops"'
    assert visits.sources == ("shops", "visits")
    assert visits.own_run == ""


def test_lines_of_compiled_sql_are_lines_of_the_file(visits: SqlProject) -> None:
    assert visits.cleaned.lines == tuple(range(1, 8))
    (test,) = [each for each in visits.tests if each.name == "long_visits_see_pages"]
    assert test.lines == (2, 3, 4)  # the first one configures


def test_tests_with_their_severity_and_what_they_are_about(visits: SqlProject) -> None:
    assert {(each.name, each.severity, each.about_name, f"{each.file}:{each.line}") for each in visits.tests} == {
        ("long_visits_see_pages", "block", "cleaned", "tests/long_visits_see_pages.sql:1"),
        ("unique_shops_known_shop", "block", "shops_known", "models/cleaned.yml:10"),
        ("pages_are_few", "warn", "cleaned", "models/cleaned.yml:19"),
    }


def test_what_people_are_told(visits: SqlProject) -> None:
    assert visits.description == "Visits with their shops."
    assert visits.columns["size"] == "square metres"
    assert visits.lineage["size"] == (("shops", "size"),)
    assert set(visits.lineage) == {"visit", "day", "shop", "minutes", "pages", "paid", "size"}
    assert visits.unresolved == ()


def test_a_compiled_project_survives_its_plain_form(visits: SqlProject) -> None:
    assert SqlProject.from_dict(visits.to_dict(), visits.folder, visits.key) == visits


def test_what_is_no_sql_changes_no_digest(visits: SqlProject, tmp_path: Path) -> None:
    told = {"-- every visit, with": "-- each visit, with", "square metres": "sqm", "left join": "left  join"}
    found = compiled(request(tmp_path, **told))
    assert found.columns["size"] == "sqm"
    assert (found.code, found.rules) == (visits.code, visits.rules)


def test_a_macro_is_part_of_what_uses_it_and_a_test_of_the_rules(visits: SqlProject, tmp_path: Path) -> None:
    found = compiled(request(tmp_path, **{"* 1.0": "* 2.0", "minutes > 600 and": "minutes > 500 and"}))
    assert {name for name in visits.code if found.code[name] != visits.code[name]} == {"shops_known"}
    assert {name for name in visits.rules if found.rules[name] != visits.rules[name]} == {"long_visits_see_pages"}


def test_of_sensitive_columns_nothing_is_shown(tmp_path: Path) -> None:
    asked = request(tmp_path, **{"select shop, {{": "select shop as store, shop, {{"})
    found = {each.name: each.shown for each in compiled({**asked, "sensitive": ["shop", "pages"]}).tests}
    assert found["long_visits_see_pages"] == ("visit", "minutes")
    assert found["unique_shops_known_shop"] == ("n_records",)  # under another name it is a shop still
    assert found["pages_are_few"] == ("n_records",)


MISTAKES = {
    "no such column": (
        {"    shops_known.size\n": "    shops_known.width\n"},
        'cleaned.sql:4: cleaned: Binder Error: .*"width"',
    ),
    "no SQL": ({"select shop, {{": "select shop,, {{"}, "shops_known.sql:1: shops_known: Parser Error"),
    "no Jinja": ({"{{ ref('shops_known') }}": "{{ ref('shops_known') "}, r"cleaned.sql:\d+: dbt says: .*"),
    "no such model": ({"ref('shops_known')": "ref('shops')"}, "cleaned.sql:1: dbt says: .*'shops' which was not found"),
    "no such macro": (
        {"{{ measured('size')": "{{ measure('size')"},
        "shops_known.sql:1: dbt says: .*'measure' is undef",
    ),
    "no YAML": ({"      - name: visits\n": "      - name: [visits\n"}, r"cleaned.yml:\d+: dbt says: "),
    "a column too few": (
        {"visits.*,": "visits.* exclude (paid),"},
        r"cleaned.sql:1: cleaned is not what the contract says: it lacks paid \(DOUBLE\)",
    ),
    "another type": (
        {"{{ column }} * 1.0": "cast({{ column }} as integer)"},
        "cleaned.sql:1: cleaned is not what the contract says: size is INTEGER instead of DOUBLE",
    ),
    "another source": (
        {"source('raw', 'shops')": "source('raw', 'stores')", "- name: shops\nmodels": "- name: stores\nmodels"},
        "cleaned.yml:5: The contract has no source 'stores'; it has visits, shops",
    ),
    "the clock": (
        {"visits.*,": "visits.* replace (current_date as day),"},
        "cleaned.sql:1: cleaned: current_date says",
    ),
    "another database": (
        {"{{ env_var('DBT_DUCKDB_PATH', ':memory:') }}": "visits.duckdb"},
        "profiles.yml:1: The database is called 'visits'",
    ),
}


@pytest.mark.parametrize("name", list(MISTAKES))
def test_a_mistake_is_told_with_file_and_line(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changes, text = MISTAKES[name]
    monkeypatch.chdir(tmp_path)  # where dbt makes the database that a profile names
    with pytest.raises((ContractError, RefusedError), match=text) as caught:
        compiled(request(tmp_path, **changes))
    (sentence,) = caught.value.sentences
    assert sentence.startswith(str(tmp_path / "visits" / "dbt"))
    assert "\n" not in sentence
    assert {each.name for each in tmp_path.iterdir()} - {"visits.duckdb"} == {"visits"}


def test_a_project_needs_the_model_cleaned(tmp_path: Path) -> None:
    asked = request(tmp_path, **{"  - name: cleaned\n": "  - name: clean\n", "ref('cleaned')": "ref('clean')",
                                 "model: cleaned": "model: clean"})  # fmt: skip
    (Path(asked["folder"]) / CLEANED).rename(Path(asked["folder"]) / "models/clean.sql")
    with pytest.raises(ContractError, match=r"dbt_project.yml:1: The project has no model 'cleaned'"):
        compiled(asked)


OWN = {
    "hooks": ({"+materialized: view": "+post-hook: select 1"}, "shops_known has hooks"),
    "incremental": ({"+materialized: view": "+materialized: incremental"}, "shops_known is incremental"),
    "a query when it is compiled": (
        {"select shop, {{": "{% set found = run_query('select 1') %}select shop, {{"},
        "shops_known uses run_query",
    ),
    "a macro that asks": (
        {"macro measured(column) %}": "macro measured(column) %}{# no #}{% if env_var('X', '') %}0 * {% endif %}"},
        "measured uses env_var",
    ),
    "hooks of the run": ({"macro-paths: [macros]": "on-run-start: select 1"}, "runs beside the models"),
    "settings of the database": ({"threads: 1}": "threads: 1, settings: {threads: 2}}"}, "profiles.yml says settings"),
}


@pytest.mark.parametrize("name", list(OWN))
def test_what_compiled_sql_does_not_say_is_left_to_dbt(tmp_path: Path, name: str) -> None:
    changes, why = OWN[name]
    found = compiled(request(tmp_path, **changes))
    assert why in found.own_run
    assert [model.name for model in found.models] == ["shops_known", "cleaned"]
    assert len(found.tests) == len([each for each in SQL if each.startswith("tests/")]) + 2
