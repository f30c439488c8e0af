"""The graph as Dagster loads it, so that it cannot change silently, and what loading it costs."""

import json
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from mlops_assets.contract.load import load_contracts
from mlops_assets.definitions import build_definitions
from mlops_assets.definitions import defs as loaded_by_dagster
from mlops_assets.errors import ContractError
from mlops_assets_tests.assets.shop import DAYS, Shop
from mlops_assets_tests.datasets import write_contract

DATA = Path(__file__).parent.parent / "data"

HEAVY = ("pandas", "pandera", "numpy", "pyarrow", "sklearn", "mlflow", "great_expectations", "dbt", "matplotlib")

MONTHS = {"cron": "0 0 1 * *", "format": "%Y-%m", "first": "2013-01", "last": "2013-12"}
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
        "flights_batches": (True, 7, single),
        "flights_reference": (True, 3, single),
        "flights_release": (True, 4, None),
    }


def test_the_columns_of_the_contract_are_shown(flights: dg.Definitions) -> None:
    schema = specs(flights)["flights/cleaned"].metadata["dagster/column_schema"]
    columns = {column.name: column for column in schema.columns}
    assert columns["origin"].constraints.other == ["one of EWR, JFK, LGA"]
    assert columns["distance"].type == "float"
    assert columns["distance"].description == "miles (from flights.distance)"
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


def test_a_rule_that_is_said_twice_is_refused_with_both_places(tmp_path: Path) -> None:
    folder = write_contract(tmp_path)
    said = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "visit"}, "severity": "warning"}
    (folder / "expectations.json").write_text(json.dumps([said]))
    with pytest.raises(
        ContractError, match=r"dataset\.yaml:10.*expectations\.json:1|expectations\.json:1.*dataset\.yaml:10"
    ):
        loaded(Shop.at(tmp_path / "home", tmp_path))


@pytest.mark.parametrize(("home", "warned"), [(None, True), (".tmp_dagster_home_x", True), ("kept", False)])
def test_a_dagster_home_that_passes_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, home: str | None, *, warned: bool
) -> None:
    with Shop.at(tmp_path / "home", DATA).entered():
        if home is None:
            monkeypatch.delenv("DAGSTER_HOME")
        else:
            monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / home))
        loaded_by_dagster.load_fn()  # type: ignore[attr-defined]
    assert ("DAGSTER_HOME is not set" in caplog.text) == warned


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
    (loaded_keys, *heavy) = done.stdout.split()
    assert (int(loaded_keys) > 10, heavy) == (True, [])
