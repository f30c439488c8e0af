"""The SQL of the dataset that comes with the project: as the contract's joins, as dbt runs it, and its unit tests."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlops_assets.contract.load import load_contract
from mlops_assets.contract.model import Contract
from mlops_assets.dbtproject.own_run import OwnRun, unit_tests
from mlops_assets.stages.clean import clean
from mlops_assets.stages.ingest import Delivery, read_source
from mlops_assets.stages.sift import Sifted, sift
from mlops_assets.stages.transform import begin, transform

FOLDER = Path(__file__).parents[2] / "data" / "flights"
MONTHS = ("2013-01", "2013-11")  # in November the clocks are set back


@pytest.fixture(scope="module")
def contract() -> Contract:
    found = load_contract(FOLDER)
    assert found.sql is not None
    assert found.sql.own_run == ""
    return found


@pytest.fixture(scope="module")
def months(contract: Contract, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Sifted]]:
    spec = importlib.util.spec_from_file_location("flights_supplier", FOLDER / "supplier.py")
    assert spec is not None
    assert spec.loader is not None
    supplier = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(supplier)
    landing = tmp_path_factory.mktemp("landing")
    supplier.deliver(landing, MONTHS[-1])

    def accepted(name: str, batch: str) -> Sifted:
        source = contract.sources[name]
        file = landing / source.files.rpartition("/")[2].replace("{batch}", batch)
        return sift(contract, source, read_source(contract, source, [Delivery(file.name, file)], batch).value, batch)

    planes = accepted("planes", "all")
    return [{"flights": accepted("flights", m), "weather": accepted("weather", m), "planes": planes} for m in MONTHS]


def accepted(sifted: Mapping[str, Sifted]) -> dict[str, pa.Table]:
    return {name: each.accepted for name, each in sifted.items()}


def told(run: Any, cleaned: pa.Table) -> dict[str, tuple[object, ...]]:
    return {each.test.name: (each.n, each.failures, each.status, each.rows) for each in run.judge(cleaned)}


def test_cleaned_is_what_the_joins_of_the_contract_make_and_what_dbt_runs(
    contract: Contract, months: list[dict[str, Sifted]]
) -> None:
    assert contract.sql is not None
    ours, theirs = begin(contract), OwnRun(contract.sql)
    for sifted in months:
        rows = accepted(sifted)
        wanted = clean(contract, rows, sifted)
        for run in (ours, theirs):
            run.lay(rows)
            made = transform(contract, run, rows, sifted)
            assert made.value.equals(wanted.value)
            assert made.facts == wanted.facts
        assert wanted.value.num_rows > 27000
        assert told(ours, wanted.value) == told(theirs, wanted.value)
        assert all(found[1] == 0 for found in told(ours, wanted.value).values())
        # what every test should find: rows twice, and one that another plane flew
        wrong = pa.concat_tables([wanted.value.slice(0, 5), wanted.value.slice(2, 2000)])
        place = wrong.schema.get_field_index("built")
        wrong = wrong.set_column(place, "built", pa.array([2020] * 4 + [None] * (wrong.num_rows - 4), pa.int64()))
        found = told(ours, wrong)
        assert found["every_flight_comes_once"][2] == "fail"
        assert found["built_after_its_flight"][:3] == (2005, 4, "warn")
    ours.close()
    theirs.close()


def test_every_column_is_known_to_come_from_a_delivered_one(contract: Contract) -> None:
    assert contract.sql is not None
    expected = {
        name: ((contract.spine, name),) for name in contract.sources[contract.spine].columns
    } | {
        name: ((join.source, column),) for join in contract.joins for name, column in join.columns.items()
    }  # fmt: skip
    assert contract.sql.lineage == expected


def test_the_unit_tests_of_the_flights(contract: Contract) -> None:
    assert contract.sql is not None
    found = unit_tests(contract.sql.folder, contract.sources.values())
    assert {each.name: each.difference for each in found} == {
        "a_flight_without_weather_and_plane_stays": "",
        "weather_is_of_the_airport_and_the_hour_in_utc": "",
        "the_year_of_the_plane_is_not_that_of_the_flight": "",
    }
    assert all(each.passed for each in found)
