"""What happens at set times: which schedules there are, and what comes of the jobs that they start."""

import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mlops_assets.assets.graph import Graph
from mlops_assets.assets.steps import assets_of
from mlops_assets.automation.schedules import VERIFY, sample_job, schedules, verify_job
from mlops_assets.contract.load import load_contracts
from mlops_assets.store.store import Store
from mlops_assets_tests.assets.shop import FEATURES, GATES, HASTE, QUIET, RELEASE, Shop
from mlops_assets_tests.datasets import deliver_days, write_contract
from mlops_assets_tests.doors import wait

SAMPLE = "automation: {sample: {share: 0.5, by: [visit]}}\n"

NOON = datetime(2026, 1, 4, 12, tzinfo=UTC)

# A feature that tells who computes it, and never comes to an end.
ENDLESS = '''\
"""What a visit tells."""

import os
import time
from pathlib import Path


def haste(minutes, pages):
    """Pages a minute, some day."""
    Path(__file__).with_name("busy").write_text(f"{os.getpid()} {os.getppid()}")
    time.sleep(600)
    return pages / (minutes + 1)
'''


def found(tmp_path: Path, branch: str = "main", **sections: str) -> tuple[set[str], dict[str, tuple[Any, bool]]]:
    """The jobs, and for each schedule its times and whether it runs by itself, of datasets with these sections."""
    for name, section in sections.items():
        contract = write_contract(tmp_path / "data", name) / "dataset.yaml"
        contract.write_text(contract.read_text() + section)
    shop = Shop.in_folder(tmp_path, branch)
    jobs, made = schedules(load_contracts(shop.home.data), shop.home)
    assert {schedule.execution_timezone for schedule in made} <= {"UTC"}
    running = dg.DefaultScheduleStatus.RUNNING
    return {job.name for job in jobs}, {
        each.name: (each.cron_schedule, each.default_status == running) for each in made
    }


def test_the_store_is_verified_weekly_unless_something_else_is_said(tmp_path: Path) -> None:
    assert found(tmp_path, one="", two="") == ({VERIFY}, {"verify_store_schedule": ("0 3 * * 0", True)})


def test_one_store_is_verified_whenever_one_of_its_datasets_asks(tmp_path: Path) -> None:
    _, made = found(
        tmp_path,
        one='automation: {verify: "0 4 * * *"}\n',
        two="",
        three="automation: {verify: off}\n",
        four='automation: {enabled: false, verify: "0 5 * * *"}\n',
    )
    assert made == {"verify_store_schedule": (["0 3 * * 0", "0 4 * * *"], True)}


def test_it_is_not_verified_where_nobody_asks(tmp_path: Path) -> None:
    assert found(tmp_path, one="automation: {verify: off}\n") == (set(), {})


def test_what_is_not_automated_has_schedules_that_somebody_may_turn_on(tmp_path: Path) -> None:
    text = 'automation: {enabled: false, sample: {}, releases: {when: schedule, cron: "0 6 * * 1"}}\n'
    jobs, made = found(tmp_path, one=text)
    assert jobs == {VERIFY, "one_sample"}
    assert made == {
        "verify_store_schedule": ("0 3 * * 0", False),
        "one_sample_schedule": ("0 2 * * *", False),
        "one_release_schedule": ("0 6 * * 1", False),
    }


def test_another_branch_has_schedules_for_its_releases_only(tmp_path: Path) -> None:
    text = 'automation: {sample: {}, releases: {when: schedule, cron: "0 6 * * 1"}}\n'
    assert found(tmp_path, "dev", one=text) == (set(), {"one_release_schedule": ("0 6 * * 1", True)})


def test_a_run_that_is_going_on_is_not_started_again(tmp_path: Path) -> None:
    write_contract(tmp_path / "data")
    home = Shop.in_folder(tmp_path).home
    jobs, (schedule,) = schedules(load_contracts(home.data), home)
    with (
        dg.instance_for_test() as instance,
        dg.build_schedule_context(instance, scheduled_execution_time=NOON) as context,
    ):
        assert [type(each) for each in schedule.evaluate_tick(context).run_requests or []] == [dg.RunRequest]
        run = instance.create_run_for_job(jobs[0], status=dg.DagsterRunStatus.STARTED)
        tick = schedule.evaluate_tick(context)
        assert (tick.run_requests, tick.skip_message) == ([], f"The run {run.run_id} is still going on.")


# ---- verification


def verified(shop: Shop) -> dg.ExecuteInProcessResult:
    with shop.instance() as instance:
        return verify_job(shop.home).execute_in_process(instance=instance, raise_on_error=False, run_config=QUIET)


def failure(result: dg.ExecuteInProcessResult) -> tuple[str, dict[str, Any]]:
    """The sentences and the metadata that the run's one step failed with."""
    (event,) = result.get_step_failure_events()
    told = event.step_failure_data.user_failure_data
    assert told is not None
    return str(told.description), {name: value.value for name, value in told.metadata.items()}


def test_a_sound_store(built: Shop) -> None:
    result = verified(built)
    assert result.success
    (output,) = [event.step_output_data for event in result.all_events if event.is_successful_output]
    told: dict[str, Any] = {name: value.value for name, value in output.metadata.items()}
    assert told["problems"] == 0
    assert told["files"] > 50
    assert told["bytes"] > 10_000
    assert told["report"]["sound"] is True
    assert result.dagster_run.tags["dagster/max_retries"] == "0"


def test_a_broken_store_fails_the_run_and_says_what_is_broken_and_what_stands_on_it(shop: Shop) -> None:
    path = next(path for path in sorted(Path(shop.home.store).rglob("*.parquet")) if "cleaned" in str(path))
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])
    result = verified(shop)
    assert not result.success
    told, metadata = failure(result)
    assert path.name in told
    assert "stands on it: visits/" in told
    assert told.endswith("See what can be mended with: mlops-assets repair")
    assert metadata["problems"] == 1


# ---- a sample


@pytest.fixture
def sampled(tmp_path: Path) -> Shop:
    """A dataset with a sample: what was delivered is taken in, and main shows nothing yet."""
    folder = write_contract(tmp_path / "data", **GATES, **HASTE)
    (folder / "features.py").write_text(FEATURES)
    (folder / "dataset.yaml").write_text((folder / "dataset.yaml").read_text() + SAMPLE)
    deliver_days(folder, range(3), rows=400)
    shop = Shop.in_folder(tmp_path)
    shop.home.initialise_dagster()
    shop.plan().landing.take_in("anna")
    return shop


def run_sample(shop: Shop) -> dg.ExecuteInProcessResult:
    (contract,) = load_contracts(shop.home.data).values()
    with shop.instance() as instance:
        return sample_job(contract, shop.home).execute_in_process(
            instance=instance, raise_on_error=False, run_config=QUIET
        )


def test_a_sample_goes_all_the_way_and_main_is_not_touched(sampled: Shop) -> None:
    assert sampled.environment["DAGSTER_HOME"] == str(sampled.home.dagster)
    result = run_sample(sampled)
    assert result.success, failure(result)
    store = Store.open(sampled.home.store)
    assert {f"visits/{stage}" for stage in RELEASE} <= set(store.assets("sample"))
    assert list(store.assets("main")) == []
    with sampled.instance() as instance:
        assert instance.all_asset_keys() == []
        assert [run.job_name for run in instance.get_runs()] == ["visits_sample"]
        entries = instance.all_logs(result.run_id)
    said = "\n".join(entry.user_message for entry in entries)
    assert re.search(r"visits/raw/visits \[2024-01-02\], (1[5-9]|2[0-4])[0-9] rows", said), said
    assert (sampled.home.root / "dagster-sample" / "dagster.yaml").exists()


def test_a_sample_that_is_refused_fails_the_run_with_the_last_that_was_said(sampled: Shop) -> None:
    sampled.change("roc_auc: 0.5}", "roc_auc: 0.998}")
    result = run_sample(sampled)
    assert not result.success
    told, _ = failure(result)
    assert told.startswith("`mlops-assets --branch sample run visits --entered` ended with exit code 1.")
    assert "0.998" in told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_running_when_the_run_is_cancelled_or_killed(sampled: Shop, number: signal.Signals) -> None:
    (sampled.folder / "features.py").write_text(ENDLESS)
    code = f"""
import dagster as dg
from pathlib import Path
from mlops_assets.assets.graph import Graph
from mlops_assets.assets.steps import assets_of
from mlops_assets.automation.schedules import sample_job
from mlops_assets.contract.load import load_contract
from mlops_assets.home import Home
home = Home.from_environment()
home.apply()
with dg.DagsterInstance.get() as instance:
    sample_job(load_contract(Path({str(sampled.folder)!r})), home).execute_in_process(instance=instance)
"""
    with (sampled.home.root / "said.txt").open("w") as said:
        process = subprocess.Popen([sys.executable, "-c", code], env=sampled.environment, stdout=said, stderr=said)
        busy = sampled.folder / "busy"
        try:
            wait(lambda: busy.exists() and busy.read_text(), 120, "the sample's run")
            worker, parent = map(int, busy.read_text().split())
            assert parent == process.pid
            process.send_signal(number)
            wait(lambda: not alive(worker), 40, "the end of the sample's run")
            assert process.wait(40) != 0
        finally:
            process.kill()
            process.wait()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"


# ---- a release


def test_a_release_is_asked_for_when_it_is_stale(shop: Shop) -> None:
    shop.contract.write_text(
        shop.contract.read_text() + 'automation: {releases: {when: schedule, cron: "0 6 * * 1"}}\n'
    )

    def tick() -> Any:
        contracts = load_contracts(shop.home.data)
        jobs, made = schedules(contracts, shop.home)
        assets = assets_of(Graph(contracts["visits"]), shop.home)
        with shop.instance() as instance:
            repository = dg.Definitions(assets=assets, jobs=jobs, schedules=made).get_repository_def()
            schedule = repository.get_schedule_def("visits_release_schedule")
            with dg.build_schedule_context(
                instance, scheduled_execution_time=NOON, repository_def=repository
            ) as context:
                return schedule.evaluate_tick(context)

    assert tick().skip_message == "The release 2024-01-04 is up to date."
    shop.change("max_iter: 5", "max_iter: 6")
    (request,) = tick().run_requests
    assert request.partition_key == "2024-01-04"
    assert {key.path[-1] for key in request.asset_selection} == set(RELEASE)
