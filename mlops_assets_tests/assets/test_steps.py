"""Dagster's runs: of one partition, of a range, of checks alone, and on another branch than main."""

from collections import Counter
from pathlib import Path

import dagster as dg
import pytest

from mlops_assets.assets.dagster_private import latest_check
from mlops_assets.assets.staleness import UP_TO_DATE
from mlops_assets_tests.assets.shop import BATCH, DAYS, GATES, NEWEST, RELEASE, Shop, edited
from mlops_assets_tests.datasets import deliver_days, write_contract

RAW = dg.AssetKey(["visits", "raw", "visits"])
EVALUATION = dg.DagsterEventType.ASSET_CHECK_EVALUATION


def other_delimiter(lines: list[str]) -> list[str]:
    return [line.replace(",", ";") for line in lines]


def materialized(shop: Shop, result: dg.ExecuteInProcessResult) -> Counter[tuple[str, str | None]]:
    """What Dagster's log says a run materialized."""
    with shop.instance() as instance:
        events = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    keys = [(event.get_dagster_event().asset_key, event.get_dagster_event().partition) for event in events]
    return Counter(("/".join(key.path[1:]), partition) for key, partition in keys if key)


def evaluated(shop: Shop, result: dg.ExecuteInProcessResult) -> dict[tuple[str, str, str | None], bool]:
    """The verdicts of a run in Dagster's log."""
    with shop.instance() as instance:
        events = instance.all_logs(result.run_id, of_type=EVALUATION)
    found = [event.get_dagster_event().asset_check_evaluation_data for event in events]
    return {("/".join(each.asset_key.path[1:]), each.check_name, each.partition): each.passed for each in found}


def reasons(result: dg.ExecuteInProcessResult) -> str:
    (event,) = [event for event in result.all_events if event.is_step_failure]
    return str(event.step_failure_data.error_display_string)


def checks_of(shop: Shop, stages: tuple[str, ...]) -> set[tuple[str, str]]:
    return {(name, check.name) for name in stages for check in (*shop.graph().stages[name].checks, UP_TO_DATE)}


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Three days that nothing was made of, and their shops."""
    folder = tmp_path_factory.mktemp("delivered")
    deliver_days(write_contract(folder / "data", **GATES), range(3), rows=60)
    made = Shop.in_folder(folder)
    assert made.materialize(["raw/shops"]).success
    return made


@pytest.fixture
def fresh(delivered: Shop, tmp_path: Path) -> Shop:
    return delivered.copy(tmp_path)


def test_one_partition_reports_every_stage_and_every_check_once(fresh: Shop) -> None:
    result = fresh.materialize(BATCH, DAYS[0])
    assert result.success
    assert materialized(fresh, result) == Counter((stage, DAYS[0]) for stage in BATCH)
    found = evaluated(fresh, result)
    assert {(stage, check) for stage, check, _ in found} == checks_of(fresh, BATCH)
    assert {partition for _, _, partition in found} == {DAYS[0]}
    assert all(found.values())


def test_a_range_reports_every_partition_with_its_own_version(fresh: Shop) -> None:
    result = fresh.materialize(BATCH, DAYS[0], DAYS[2])
    assert result.success
    assert materialized(fresh, result) == Counter((stage, day) for stage in BATCH for day in DAYS[:3])
    found = evaluated(fresh, result)
    assert set(found) == {(*check, day) for check in checks_of(fresh, BATCH) for day in DAYS[:3]}
    assert fresh.told() == fresh.heads()
    assert len(set(fresh.heads()["visits/features"].values())) == 3


def test_everything_of_one_partition_in_one_run(fresh: Shop) -> None:
    assert fresh.materialize(BATCH, DAYS[0], DAYS[1]).success
    result = fresh.materialize(["raw/shops", *BATCH, *RELEASE], DAYS[2])
    assert result.success
    assert materialized(fresh, result) == Counter(
        [("raw/shops", None), *((stage, DAYS[2]) for stage in (*BATCH, *RELEASE))]
    )
    assert fresh.told() == fresh.heads()


@pytest.mark.parametrize("last", [None, DAYS[2]], ids=["one partition", "a range"])
def test_of_a_refused_partition_dagster_has_verdicts_alone(fresh: Shop, last: str | None) -> None:
    edited(fresh.landing(DAYS[1]), other_delimiter)
    result = fresh.materialize(BATCH, DAYS[1], last)
    assert not result.success
    assert materialized(fresh, result) == Counter((stage, last) for stage in BATCH if last)
    found = {
        (stage, check): passed for (stage, check, day), passed in evaluated(fresh, result).items() if day == DAYS[1]
    }
    assert found == {("raw/visits", "readable"): False}
    said = reasons(result)
    assert f"visits/raw/visits [{DAYS[1]}] was refused by the check readable: " in said
    assert f"landing/visits_{DAYS[1]}.csv: found 1 column with the delimiter ','" in said
    for stage in BATCH[1:]:
        assert f"visits/{stage} [{DAYS[1]}] was not tried: " in said
    with fresh.instance() as instance:
        (run,) = instance.get_runs(limit=1)
        assert run.status is dg.DagsterRunStatus.FAILURE
    assert {asset: set(versions) for asset, versions in fresh.heads().items()} == {
        "visits/raw/shops": {"all"},
        **({f"visits/{stage}": {DAYS[2]} for stage in BATCH} if last else {}),
    }


def test_two_refused_partitions_are_both_told_of(fresh: Shop) -> None:
    edited(fresh.landing(DAYS[0]), other_delimiter)
    edited(fresh.landing(DAYS[1]), lambda lines: [*lines[:-1], lines[-1][:7]])
    said = reasons(fresh.materialize(BATCH, DAYS[0], DAYS[2]))
    assert f"visits/raw/visits [{DAYS[0]}] was refused by the check readable: " in said
    assert f"visits/raw/visits [{DAYS[1]}] was refused by the check complete: " in said
    assert DAYS[2] not in said


def test_a_version_that_stands_already_is_reported_again(shop: Shop) -> None:
    before = shop.heads()
    result = shop.materialize(BATCH, DAYS[0])
    assert result.success
    assert materialized(shop, result) == Counter((stage, DAYS[0]) for stage in BATCH)
    shown = {
        event.materialization.metadata["status"].value for event in result.all_events if event.is_step_materialization
    }
    assert shown == {"reused"}
    assert shop.heads() == before


def test_a_part_of_the_stages_is_a_part_of_the_step(shop: Shop) -> None:
    result = shop.materialize(["splits"], DAYS[0])
    assert result.success
    assert materialized(shop, result) == Counter([("splits", DAYS[0])])
    assert {stage for stage, _, _ in evaluated(shop, result)} == {"splits"}


def test_a_release_that_is_refused_says_why(shop: Shop) -> None:
    shop.change("bootstrap: 20", "bootstrap: 21")
    shop.change("minimum: {roc_auc: 0.5}", "minimum: {roc_auc: 0.998}")
    before = shop.heads()
    result = shop.materialize(RELEASE, NEWEST)
    assert not result.success
    assert materialized(shop, result) == Counter([("split_report", NEWEST), ("candidate_model", NEWEST)])
    said = reasons(result)
    assert f"visits/evaluation_report [{NEWEST}] was refused by the check minimum: " in said
    assert f"visits/trained_model [{NEWEST}] was not tried: " in said
    assert evaluated(shop, result)["evaluation_report", "minimum", NEWEST] is False
    assert evaluated(shop, result)["evaluation_report", "maximum", NEWEST] is True
    assert shop.heads() == before


def test_a_version_is_up_to_date_only_when_what_it_stands_on_is(shop: Shop) -> None:
    edited(shop.landing(DAYS[1]), lambda lines: lines[:-1])
    result = shop.materialize(["splits"], DAYS[1])
    assert result.success
    assert evaluated(shop, result)["splits", "up_to_date", DAYS[1]] is False
    key = dg.AssetCheckKey(dg.AssetKey(["visits", "splits"]), "up_to_date")
    with shop.instance() as instance:
        record = latest_check(instance, key, DAYS[1])
    assert record is not None
    assert record.evaluation is not None
    assert record.evaluation.severity is dg.AssetCheckSeverity.WARN
    assert not record.evaluation.blocking
    assert record.evaluation.description == f"It stands on visits/raw/visits [{DAYS[1]}], which is stale."
    assert record.evaluation.metadata["state"].value == "waiting"
    assert record.evaluation.target_materialization_data is not None
    result = shop.materialize(BATCH, DAYS[1])
    assert {evaluated(shop, result)[stage, "up_to_date", DAYS[1]] for stage in BATCH} == {True}


# A run that selects checks alone.


@pytest.mark.parametrize(
    ("stage", "check", "partition"),
    [("raw/shops", "readable", None), ("cleaned", "rejected", DAYS[0]), ("evaluation_report", "minimum", NEWEST)],
)
def test_a_check_alone_judges_the_published_version(shop: Shop, stage: str, check: str, partition: str | None) -> None:
    before = shop.heads()
    result = shop.judge(stage, check, partition)
    assert result.success
    assert evaluated(shop, result) == {(stage, check, partition): True}
    assert materialized(shop, result) == Counter()
    assert shop.heads() == before


def test_a_check_alone_judges_anew(shop: Shop) -> None:
    shop.change("minimum: {roc_auc: 0.5}", "minimum: {roc_auc: 0.998}")
    result = shop.judge("evaluation_report", "minimum", NEWEST)
    assert not result.success
    assert evaluated(shop, result) == {("evaluation_report", "minimum", NEWEST): False}
    assert f"visits/evaluation_report [{NEWEST}]: " in reasons(result)


def test_whether_it_is_up_to_date_can_be_asked_alone(shop: Shop) -> None:
    shop.change("maximum: 600", "maximum: 601")
    result = shop.judge("cleaned", "up_to_date", DAYS[0])
    assert result.success
    assert evaluated(shop, result) == {("cleaned", "up_to_date", DAYS[0]): False}
    with shop.instance() as instance:
        (event,) = instance.all_logs(result.run_id, of_type=EVALUATION)
    said = event.get_dagster_event().asset_check_evaluation_data
    assert str(said.description) == "Its setting columns.visits.minutes.maximum changed: 600 -> 601."
    shop.change("maximum: 601", "maximum: 600")
    assert evaluated(shop, shop.judge("cleaned", "up_to_date", DAYS[0])) == {("cleaned", "up_to_date", DAYS[0]): True}


def test_a_check_of_what_was_never_published_fails(shop: Shop) -> None:
    result = shop.judge("cleaned", "rejected", "2024-01-05")
    assert not result.success
    assert "visits/cleaned [2024-01-05] has no published version to judge." in reasons(result)


# Another branch than main.


def test_another_branch_reports_observations_alone(tmp_path: Path) -> None:
    deliver_days(write_contract(tmp_path / "data", **GATES), range(3), rows=60)
    branch = Shop.in_folder(tmp_path, "experiment")
    done = branch.called("run", "visits")
    assert done.code == 0, done.text
    assert not any(branch.told().values())
    with branch.instance() as instance:
        records = instance.event_log_storage.fetch_observations(dg.AssetKey(["visits", "features"]), limit=10).records
        found = {}
        for record in records:
            assert record.event_log_entry.asset_observation is not None
            found[record.partition_key] = record.event_log_entry.asset_observation.tags["dagster/data_version"]
        assert found == branch.heads()["visits/features"]
        for run in instance.get_runs():
            assert run.status is dg.DagsterRunStatus.SUCCESS
            assert instance.get_records_for_run(run.run_id, of_type=EVALUATION).records == []
    assert branch.run().outcomes == []


def test_a_refusal_on_another_branch_fails_the_run_and_changes_no_status(tmp_path: Path) -> None:
    deliver_days(write_contract(tmp_path / "data", **GATES), range(1), rows=60)
    branch = Shop.in_folder(tmp_path, "experiment")
    edited(branch.landing(DAYS[0]), other_delimiter)
    assert branch.materialize(["raw/shops"]).success
    result = branch.materialize(BATCH, DAYS[0])
    assert not result.success
    assert evaluated(branch, result) == {}
    assert f"visits/raw/visits [{DAYS[0]}] was refused by the check readable: " in reasons(result)
