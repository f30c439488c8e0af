"""Each behaviour of Dagster that is relied on and not promised, on a real instance with our storages."""

import asyncio
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy
from dagster._core.loader import LoadingContextForTest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionResolvedStatus
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from mlops_assets.assets.dagster_private import (
    EventLog,
    RunLog,
    Target,
    is_local,
    kept_engine,
    latest_check,
    latest_materializations,
    latest_storage_ids,
    log_partition,
    log_verdicts,
    one_transaction,
    served,
    workspace_of,
)
from mlops_assets.home import Home

MONTHS = dg.MonthlyPartitionsDefinition(start_date="2013-01", end_date="2014-01", fmt="%Y-%m")
RAW, CLEANED = dg.AssetKey(["shop", "raw"]), dg.AssetKey(["shop", "cleaned"])
CHECK = dg.AssetCheckKey(CLEANED, "not_empty")
QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DAGSTER_HOME", raising=False)
        home = Home(root=folder / "home", data=folder / "data")
        for name in home.environment():
            patch.setenv(name, home.environment()[name])
        home.initialise_dagster()
    return home.dagster


@pytest.fixture
def instance(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    folder = tmp_path / "dagster"
    shutil.copytree(template, folder)
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    with dg.DagsterInstance.from_config(str(folder)) as opened:
        yield opened


def materialization(key: dg.AssetKey, partition: str, version: str) -> dg.AssetMaterialization:
    tags = {
        "dagster/data_version": version,
        "dagster/data_version_is_user_provided": "true",
        "dagster/code_version": "1",
    }
    return dg.AssetMaterialization(key, partition=partition, tags=tags, metadata={"rows": 3})


def verdict(partition: str, passed: bool) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=CLEANED, check_name="not_empty", passed=passed, partition=partition, blocking=True
    )


def definitions(
    refused: Sequence[str] = (), seen: Callable[[dg.AssetExecutionContext, str], None] | None = None
) -> dg.Definitions:
    """Two stages of one dataset in one step, of which the second refuses some batches."""

    @dg.multi_asset(
        name="shop",
        specs=[
            dg.AssetSpec(RAW, partitions_def=MONTHS, skippable=True),
            dg.AssetSpec(CLEANED, partitions_def=MONTHS, skippable=True, deps=[RAW]),
        ],
        check_specs=[dg.AssetCheckSpec("not_empty", asset=CLEANED, partitions_def=MONTHS, blocking=True)],
        can_subset=True,
        partitions_def=MONTHS,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def shop(context: dg.AssetExecutionContext) -> Iterator[Any]:
        for partition in context.partition_keys:
            log_partition(context, materialization(RAW, partition, f"raw {partition}"), [])
            if partition in refused:
                log_partition(context, None, [verdict(partition, passed=False)])
            else:
                published = materialization(CLEANED, partition, f"cleaned {partition}")
                log_partition(context, published, [verdict(partition, passed=True)])
            if seen:
                seen(context, partition)
        if set(refused) & set(context.partition_keys):
            raise dg.Failure("refused: one of the batches", allow_retries=False)
        return
        yield

    return dg.Definitions(assets=[shop])


def run(instance: dg.DagsterInstance, first: str, last: str | None = None, **shape: Any) -> dg.ExecuteInProcessResult:
    job = definitions(**shape).resolve_implicit_global_asset_job_def()
    if last is None:
        chosen: dict[str, Any] = {"partition_key": first}
    else:
        chosen = {"tags": {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}}
    return job.execute_in_process(instance=instance, raise_on_error=False, run_config=QUIET, **chosen)


def statuses(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, set[str]]:
    """The partitions the UI shows green, red and running."""
    value = get_and_update_asset_status_cache_value(instance, key, MONTHS)
    assert value is not None
    return {
        "green": set(value.deserialize_materialized_partition_subsets(MONTHS).get_partition_keys()),
        "red": set(value.deserialize_failed_partition_subsets(MONTHS).get_partition_keys()),
        "running": set(value.deserialize_in_progress_partition_subsets(MONTHS).get_partition_keys()),
    }


def version(instance: dg.DagsterInstance, key: dg.AssetKey, partition: str) -> str | None:
    record = instance.get_latest_data_version_record(key, partition_key=partition)
    assert record is not None
    assert record.asset_materialization is not None
    return (record.asset_materialization.tags or {}).get("dagster/data_version")


def checked(instance: dg.DagsterInstance) -> dict[str, set[str]]:
    """The partitions whose check the UI and automation take for passed and for failed."""
    subsets = instance.event_log_storage.get_asset_check_state([(CHECK, MONTHS)])[CHECK].subsets
    kinds = {"passed": AssetCheckExecutionResolvedStatus.SUCCEEDED, "failed": AssetCheckExecutionResolvedStatus.FAILED}
    return {
        word: set(subsets[kind].subset_value.get_partition_keys()) if subsets.get(kind) else set()
        for word, kind in kinds.items()
    }


def is_current(instance: dg.DagsterInstance, partition: str) -> bool:
    """Whether the UI shows the newest verdict beside the newest materialization."""
    record = latest_check(instance, CHECK, partition)
    assert record is not None
    return asyncio.run(record.targets_latest_materialization(LoadingContextForTest(instance)))


def status(instance: dg.DagsterInstance, partition: str) -> str:
    record = latest_check(instance, CHECK, partition)
    return "none" if record is None else record.status.value


def test_the_home_names_our_storages(instance: dg.DagsterInstance) -> None:
    assert isinstance(instance.event_log_storage, EventLog)
    assert isinstance(instance.run_storage, RunLog)
    assert type(instance.schedule_storage).__name__ == "ScheduleLog"


def test_one_partition_in_one_run(instance: dg.DagsterInstance) -> None:
    result = run(instance, "2013-03")

    assert result.success
    assert statuses(instance, CLEANED) == {"green": {"2013-03"}, "red": set(), "running": set()}
    assert version(instance, CLEANED, "2013-03") == "cleaned 2013-03"
    assert (status(instance, "2013-03"), status(instance, "2013-04")) == ("SUCCEEDED", "none")
    assert is_current(instance, "2013-03")
    assert checked(instance) == {"passed": {"2013-03"}, "failed": set()}
    record = latest_check(instance, CHECK, "2013-03")
    assert record is not None
    assert record.evaluation is not None
    assert record.evaluation.target_materialization_data == Target(
        storage_id=latest_storage_ids(instance, CLEANED, ["2013-03"])["2013-03"],
        run_id=result.run_id,
        timestamp=latest_materializations(instance, CLEANED, ["2013-03"])["2013-03"].timestamp,
    )
    assert [m.partition for m in result.asset_materializations_for_node("shop")] == ["2013-03", "2013-03"]


def test_a_range_in_one_run_gives_every_partition_its_own_version_and_verdict(instance: dg.DagsterInstance) -> None:
    result = run(instance, "2013-02", "2013-05")

    months = {"2013-02", "2013-03", "2013-04", "2013-05"}
    assert result.success
    assert statuses(instance, RAW)["green"] == statuses(instance, CLEANED)["green"] == months
    assert {month: version(instance, CLEANED, month) for month in months} == {m: f"cleaned {m}" for m in months}
    assert {(status(instance, month), is_current(instance, month)) for month in months} == {("SUCCEEDED", True)}
    assert checked(instance) == {"passed": months, "failed": set()}
    # One row for each partition: the verdict replaced the planned one.
    assert len(instance.event_log_storage.get_asset_check_execution_history(CHECK, limit=100)) == len(months)
    assert set(latest_materializations(instance, CLEANED, [*sorted(months), "2013-12"])) == months


def test_a_refused_partition_is_red_and_only_a_new_materialization_clears_it(instance: dg.DagsterInstance) -> None:
    result = run(instance, "2013-01", "2013-03", refused=["2013-02"])

    assert not result.success
    assert instance.get_run_by_id(result.run_id).status == dg.DagsterRunStatus.FAILURE  # type: ignore[union-attr]
    assert statuses(instance, CLEANED) == {"green": {"2013-01", "2013-03"}, "red": {"2013-02"}, "running": set()}
    assert statuses(instance, RAW)["red"] == set()
    assert [status(instance, m) for m in ("2013-01", "2013-02", "2013-03")] == ["SUCCEEDED", "FAILED", "SUCCEEDED"]
    assert checked(instance) == {"passed": {"2013-01", "2013-03"}, "failed": {"2013-02"}}

    assert run(instance, "2013-02").success
    assert statuses(instance, CLEANED)["red"] == set()
    assert (status(instance, "2013-02"), is_current(instance, "2013-02")) == ("SUCCEEDED", True)
    assert checked(instance)["failed"] == set()


def test_a_refusal_after_a_good_version_keeps_the_good_one_and_shows_red(instance: dg.DagsterInstance) -> None:
    run(instance, "2013-02")
    good = latest_storage_ids(instance, CLEANED, ["2013-02"])

    run(instance, "2013-02", refused=["2013-02"])

    assert latest_storage_ids(instance, CLEANED, ["2013-02"]) == good
    assert statuses(instance, CLEANED)["red"] == {"2013-02"}
    assert (status(instance, "2013-02"), is_current(instance, "2013-02")) == ("FAILED", True)
    assert checked(instance) == {"passed": set(), "failed": {"2013-02"}}


def test_partitions_are_running_until_their_materialization_is_logged(instance: dg.DagsterInstance) -> None:
    seen: dict[str, dict[str, set[str]]] = {}

    def look(context: dg.AssetExecutionContext, partition: str) -> None:
        seen[partition] = statuses(context.instance, CLEANED)

    run(instance, "2013-01", "2013-03", seen=look)

    assert seen["2013-01"] == {"green": {"2013-01"}, "red": set(), "running": {"2013-02", "2013-03"}}
    assert seen["2013-03"]["running"] == set()


def test_verdicts_logged_before_the_materialization_do_not_count(instance: dg.DagsterInstance) -> None:
    """Why ``log_partition`` exists: if this fails, the order no longer matters and it can go."""

    @dg.multi_asset(
        name="shop",
        specs=[dg.AssetSpec(CLEANED, partitions_def=MONTHS, skippable=True)],
        check_specs=[dg.AssetCheckSpec("not_empty", asset=CLEANED, partitions_def=MONTHS)],
        can_subset=True,
        partitions_def=MONTHS,
    )
    def shop(context: dg.AssetExecutionContext) -> Iterator[Any]:
        context.log_event(verdict(context.partition_key, passed=True))
        context.log_event(materialization(CLEANED, context.partition_key, "newer"))
        return
        yield

    job = dg.Definitions(assets=[shop]).resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(instance=instance, partition_key="2013-02", run_config=QUIET).success
    assert checked(instance) == {"passed": set(), "failed": set()}


def test_automation_sees_what_was_logged(instance: dg.DagsterInstance) -> None:
    anywhere = dg.AutomationCondition.eager().without(dg.AutomationCondition.in_latest_time_window())

    @dg.asset(
        key=["shop", "features"],
        deps=[CLEANED],
        partitions_def=MONTHS,
        automation_condition=anywhere & dg.AutomationCondition.all_deps_blocking_checks_passed(),
    )
    def features() -> None: ...

    defs = dg.Definitions.merge(definitions(), dg.Definitions(assets=[features]))
    before = dg.evaluate_automation_conditions(defs=defs, instance=instance)
    run(instance, "2013-01", "2013-03")
    run(instance, "2013-02", refused=["2013-02"])
    asked = dg.evaluate_automation_conditions(defs=defs, instance=instance, cursor=before.cursor)

    assert asked.get_requested_partitions(features.key) == {"2013-01", "2013-03"}


def test_a_transaction_is_written_at_once_or_not_at_all(instance: dg.DagsterInstance) -> None:
    with one_transaction(instance), one_transaction(instance):
        instance.report_runless_asset_event(materialization(RAW, "2013-01", "a"))
        # Another connection, hence another thread, sees nothing yet; this one sees what it wrote.
        assert in_a_thread(lambda: latest_storage_ids(instance, RAW, ["2013-01"])) == {}
        assert set(latest_storage_ids(instance, RAW, ["2013-01"])) == {"2013-01"}
    assert set(latest_storage_ids(instance, RAW, ["2013-01"])) == {"2013-01"}

    def log_and_fail() -> None:
        with one_transaction(instance):
            instance.report_runless_asset_event(materialization(RAW, "2013-02", "b"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        log_and_fail()
    assert latest_storage_ids(instance, RAW, ["2013-01", "2013-02"]).keys() == {"2013-01"}
    assert latest_storage_ids(instance, RAW, []) == {}


def in_a_thread(work: Callable[[], Any]) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def test_a_run_can_be_watched_while_it_writes(instance: dg.DagsterInstance) -> None:
    watched = instance.create_run_for_job(definitions().resolve_implicit_global_asset_job_def())
    messages: list[str] = []
    storage = instance.event_log_storage
    storage.watch(watched.run_id, None, lambda event, _: messages.append(event.message))
    with one_transaction(instance):
        instance.report_engine_event("first", watched)
        instance.report_engine_event("second", watched)
    deadline = time.monotonic() + 10
    while "second" not in messages and time.monotonic() < deadline:
        time.sleep(0.05)
    storage.dispose()

    assert messages[-2:] == ["first", "second"]


def test_an_engine_is_kept_and_belongs_to_one_process(tmp_path: Path) -> None:
    from mlops_assets.assets.dagster_private import _engine_of

    url = f"sqlite:///{tmp_path}/a.db"
    assert kept_engine(url) is kept_engine(url)
    assert _engine_of(url, 1) is not kept_engine(url)


def test_an_unpartitioned_materialization_is_found_too(instance: dg.DagsterInstance) -> None:
    key = dg.AssetKey(["shop", "reference"])
    assert latest_materializations(instance, key, None) == {}
    instance.report_runless_asset_event(dg.AssetMaterialization(key))
    instance.report_runless_asset_event(dg.AssetMaterialization(key))

    newest = instance.fetch_materializations(key, limit=1).records[0].storage_id
    assert latest_materializations(instance, key, None)[None].storage_id == newest


@pytest.mark.parametrize("read_only", [True, False])
def test_a_web_server_may_change_something_unless_it_only_shows(
    instance: dg.DagsterInstance, tmp_path: Path, *, read_only: bool
) -> None:
    file = tmp_path / "workspace.yaml"
    file.write_text("load_from: []")
    with workspace_of(file, read_only=read_only) as context:
        assert context.instance.root_directory == instance.root_directory
        permissions = context.create_request_context().permissions
        assert permissions["launch_pipeline_execution"].enabled is not read_only
        assert any(each.enabled for each in permissions.values()) is not read_only


# Whose runs are known to be of this machine, and who launched them; a real code server answers in `test_killed`.


def test_runs_in_a_file_are_of_this_machine(instance: dg.DagsterInstance) -> None:
    assert is_local(instance)
    with dg.DagsterInstance.ephemeral() as elsewhere:
        assert not is_local(elsewhere)


@pytest.mark.parametrize(
    ("launched", "found"),
    [
        ("{}", None),
        ('{"host": "user-code.example.org", "port": 4000}', None),
        ('{"host": "localhost", "port": 9}', False),
        ('{"host": "localhost", "socket": "/nowhere/code.sock"}', False),
    ],
)
def test_a_code_server_that_is_gone_counts_no_run(
    instance: dg.DagsterInstance, launched: str, found: bool | None
) -> None:
    job = dg.GraphDefinition(name="empty").to_job()
    assert served(instance.create_run_for_job(job, tags={".dagster/grpc_info": launched})) is found


def test_verdicts_outside_of_runs_judge_the_newest_version_and_the_last_counts(instance: dg.DagsterInstance) -> None:
    run(instance, "2013-01", "2013-03")
    outside = instance.event_log_storage.get_asset_check_execution_history
    for passed in (False, True, False):
        assert log_verdicts(instance, [verdict("2013-02", passed=passed), verdict("2013-07", passed=passed)]) == [
            True,
            False,
        ]
        assert status(instance, "2013-02") == ("SUCCEEDED" if passed else "FAILED")
        assert is_current(instance, "2013-02")
    assert checked(instance) == {"passed": {"2013-01", "2013-03"}, "failed": {"2013-02"}}
    # Dagster's table has room for one of them, and one of the run; its log of events keeps all.
    assert len([each for each in outside(CHECK, limit=100) if each.partition == "2013-02"]) == 2
    assert len(instance.all_logs("", of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)) == 3

    run(instance, "2013-02")
    assert checked(instance) == {"passed": {"2013-01", "2013-02", "2013-03"}, "failed": set()}


SQLITE = "{module: dagster._core.storage.sqlite_storage, class: DagsterSqliteStorage, config: {base_dir: FOLDER}}"


@pytest.mark.parametrize(
    "configuration", ["", "storage: {sqlite: {base_dir: FOLDER}}", f"storage: {{custom: {SQLITE}}}"]
)
def test_somebody_elses_storage_takes_a_second_verdict_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configuration: str
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    text = f"telemetry: {{enabled: false}}\n{configuration.replace('FOLDER', str(tmp_path))}\n"
    (tmp_path / "dagster.yaml").write_text(text)
    with dg.DagsterInstance.from_config(str(tmp_path)) as theirs:
        assert not isinstance(theirs.event_log_storage, EventLog)
        theirs.report_runless_asset_event(materialization(CLEANED, "2013-02", "a"))
        for passed in (True, False):
            assert log_verdicts(theirs, [verdict("2013-02", passed=passed)]) == [True]
            assert status(theirs, "2013-02") == ("SUCCEEDED" if passed else "FAILED")


def test_dagster_refuses_a_second_verdict_outside_of_runs(instance: dg.DagsterInstance) -> None:
    """Why ``log_verdicts`` makes room: if this fails, it need not any more."""
    instance.report_runless_asset_event(verdict("2013-02", passed=True))
    with pytest.raises(sqlalchemy.exc.IntegrityError):
        instance.report_runless_asset_event(verdict("2013-02", passed=False))
