"""The graph as Dagster loads it, so that it cannot change silently, and what loading it costs."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mlops_assets.contract.load import load_contracts
from mlops_assets.definitions import build_definitions
from mlops_assets.errors import ContractError
from mlops_assets_tests.assets.shop import DAYS, Shop
from mlops_assets_tests.datasets import write_contract

DATA = Path(__file__).parent.parent / "data"

HEAVY = ("pandas", "numpy", "pyarrow", "sklearn", "mlflow", "great_expectations", "dbt", "matplotlib")

MONTHS = {"cron": "0 0 1 * *", "format": "%Y-%m", "first": "2013-01", "last": "2013-12"}
SAME, THROUGH = "the same month", "every month up to it"
RAW_CHECKS = {"readable": True, "complete": True, "final_newline": False, "columns": False}
BATCH_CHECKS = {**RAW_CHECKS, "in_batch": True, "volume": False}
ROWS = {"flights/features": THROUGH, "flights/splits": THROUGH}

FLIGHTS: dict[str, dict[str, Any]] = {
    "flights/raw/flights": {"deps": {}, "kinds": {"parquet"}, "checks": BATCH_CHECKS},
    "flights/raw/weather": {"deps": {}, "kinds": {"parquet"}, "checks": BATCH_CHECKS},
    "flights/raw/planes": {"deps": {}, "kinds": {"parquet"}, "checks": RAW_CHECKS},
    "flights/raw/airlines": {"deps": {}, "kinds": {"parquet"}, "checks": RAW_CHECKS},
    "flights/raw/airports": {"deps": {}, "kinds": {"parquet"}, "checks": RAW_CHECKS},
    "flights/quarantine": {
        "deps": {"flights/raw/flights": SAME, "flights/raw/weather": SAME},
        "kinds": {"parquet"},
        "checks": {"conservation": True},
    },
    "flights/cleaned": {
        "deps": {"flights/raw/flights": SAME, "flights/raw/weather": SAME, "flights/raw/planes": SAME},
        "kinds": {"parquet"},
        "checks": {
            "rejected": True,
            "rejected_warn": False,
            "unique_key": True,
            "fan_out": True,
            "matches": False,
            "not_empty": True,
        },
    },
    "flights/splits": {
        "deps": {"flights/cleaned": SAME},
        "kinds": {"parquet"},
        "checks": {"aligned": True, "buckets": False},
    },
    "flights/features": {
        "deps": {"flights/cleaned": SAME},
        "kinds": {"parquet"},
        "checks": {"schema": True, "filled": False, "target": True, "classes": False},
    },
    "flights/candidate_model": {
        "deps": ROWS,
        "kinds": {"scikitlearn"},
        "checks": {"fitted": True, "converged": False},
    },
    "flights/evaluation_report": {
        "deps": {"flights/candidate_model": SAME, **ROWS},
        "kinds": {"json"},
        "checks": {"minimum": True, "maximum": True, "beats_baselines": True, "calibration": False, "groups": False},
    },
    "flights/trained_model": {
        "deps": {"flights/evaluation_report": SAME, "flights/candidate_model": SAME, **ROWS},
        "kinds": {"scikitlearn"},
        "checks": {"agreement": True},
    },
}
REFERENCES = {"flights/raw/planes", "flights/raw/airlines", "flights/raw/airports"}


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return loaded(Shop.at(tmp_path_factory.mktemp("home"), DATA), "flights")


def loaded(shop: Shop, *names: str) -> dg.Definitions:
    """The definitions of some datasets, or of all."""
    with shop.entered():
        found = load_contracts(shop.home.data)
        return build_definitions(shop.home, {name: found[name] for name in names} if names else None)


def specs(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


def mapping(dep: dg.AssetDep) -> str:
    if dep.partition_mapping is None:
        return SAME
    # Monthly: 600 months back; a larger offset reaches beyond year 1.
    assert dep.partition_mapping == dg.TimeWindowPartitionMapping(start_offset=-600)
    return THROUGH


def test_the_keys_of_flights(flights: dg.Definitions) -> None:
    assert set(specs(flights)) == set(FLIGHTS)


def test_the_specs_of_flights(flights: dg.Definitions) -> None:
    checks: dict[str, dict[str, bool]] = {}
    for each in flights.resolve_asset_graph().asset_check_keys:
        spec = flights.resolve_asset_graph().get_check_spec(each)
        checks.setdefault(spec.asset_key.to_user_string(), {})[spec.name] = spec.blocking
    found = {
        name: {
            "deps": {dep.asset_key.to_user_string(): mapping(dep) for dep in spec.deps},
            "kinds": spec.kinds,
            "checks": checks[name],
        }
        for name, spec in specs(flights).items()
    }
    assert found == FLIGHTS


def test_what_all_assets_of_flights_have_in_common(flights: dg.Definitions) -> None:
    for name, spec in specs(flights).items():
        assert spec.group_name == "flights"
        assert list(spec.owners) == ["team:punctuality"]
        assert spec.description
        assert spec.code_version
        assert spec.skippable
        assert spec.tags["stage"] == name.split("/")[1]
        expected = "reference" if name in REFERENCES else "release" if "_" in name else "batch"
        assert spec.tags["scope"] == expected


def test_the_partitions_of_flights(flights: dg.Definitions) -> None:
    for name, spec in specs(flights).items():
        if name in REFERENCES:
            assert spec.partitions_def is None
            continue
        found = spec.partitions_def
        assert isinstance(found, dg.TimeWindowPartitionsDefinition)
        shown = {
            "cron": found.cron_schedule,
            "format": found.fmt,
            "first": found.get_first_partition_key(),
            "last": found.get_last_partition_key(),
        }
        assert shown == MONTHS


def test_batch_stages_are_one_step_and_take_a_range_in_one_run(flights: dg.Definitions) -> None:
    found = {
        assets.op.name: (assets.can_subset, len(list(assets.keys)), assets.backfill_policy)
        for assets in flights.assets or ()
        if isinstance(assets, dg.AssetsDefinition)
    }
    single = dg.BackfillPolicy.single_run()
    assert found == {
        "flights_batches": (True, 6, single),
        "flights_reference": (True, 3, single),
        "flights_release": (True, 3, None),
    }


def test_the_columns_of_the_contract_are_shown(flights: dg.Definitions) -> None:
    schema = specs(flights)["flights/cleaned"].metadata["dagster/column_schema"]
    columns = {column.name: column for column in schema.columns}
    assert columns["origin"].constraints.other == ["one of EWR, JFK, LGA"]
    assert columns["distance"].type == "float"
    assert columns["distance"].description == "miles"
    assert columns["distance"].constraints.nullable is False
    assert columns["arr_delay"].tags == {"excluded": "", "target": ""}
    assert "built" in columns  # of planes, under its new name


def test_checks_have_the_partitions_of_their_assets(flights: dg.Definitions) -> None:
    graph = flights.resolve_asset_graph()
    for key in graph.asset_check_keys:
        assert graph.get_check_spec(key).partitions_def == graph.get(key.asset_key).partitions_def


def test_an_open_dataset_takes_the_batch_that_is_going_on(built: Shop) -> None:
    definitions = loaded(built, "visits")
    found = specs(definitions)["visits/cleaned"].partitions_def
    assert isinstance(found, dg.TimeWindowPartitionsDefinition)
    assert (found.get_first_partition_key(), found.end, found.end_offset) == (DAYS[0], None, 1)


def test_named_batches_have_no_window(tmp_path: Path) -> None:
    write_contract(tmp_path, cadence="named")
    definitions = loaded(Shop.at(tmp_path / "home", tmp_path))
    spec = specs(definitions)["visits/trained_model"]
    assert spec.partitions_def == dg.DynamicPartitionsDefinition(name="visits_batches")
    assert {dep.asset_key.path[-1]: dep.partition_mapping for dep in spec.deps} == {
        "evaluation_report": None,
        "candidate_model": None,
        "features": dg.AllPartitionMapping(),
        "splits": dg.AllPartitionMapping(),
    }


def test_an_unpartitioned_dataset_has_no_partitions(tmp_path: Path) -> None:
    write_contract(tmp_path, cadence="none")
    definitions = loaded(Shop.at(tmp_path / "home", tmp_path))
    assert {spec.partitions_def for spec in definitions.resolve_all_asset_specs()} == {None}
    assert {dep.partition_mapping for spec in definitions.resolve_all_asset_specs() for dep in spec.deps} == {None}


def test_a_mistake_in_a_contract_is_told_with_its_line(tmp_path: Path) -> None:
    folder = write_contract(tmp_path)
    contract = folder / "dataset.yaml"
    contract.write_text(contract.read_text().replace("cadence: daily", "cadence: dayly"))
    with pytest.raises(ContractError, match=r"dataset\.yaml:3: .*dayly.*"):
        loaded(Shop.at(tmp_path / "home", tmp_path))


def test_loading_the_definitions_imports_nothing_heavy(tmp_path: Path) -> None:
    shop = Shop.at(tmp_path / "home", DATA)
    code = f"""
import sys
from mlops_assets.definitions import defs
keys = defs.load_fn().resolve_asset_graph().get_all_asset_keys()
print(len(keys), *[name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=shop.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(len(FLIGHTS))]
