"""What happens to runs of a real daemon when their process, or everything, is killed; and to those that fail."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mlops_assets.assets.dagster_private import served
from mlops_assets.automation.processes import parsed
from mlops_assets.automation.tags import PROCESS
from mlops_assets.ui import keeper
from mlops_assets_tests.assets.shop import Shop
from mlops_assets_tests.automation.dying import DAY, slow_shop
from mlops_assets_tests.doors import wait
from mlops_assets_tests.ui.test_server import LAUNCH, Ui, params, runs, ui

STAGES = ("raw/visits", "quarantine", "cleaned", "splits", "features")
STATUS = dg.DagsterRunStatus


def launch(here: Ui, mark: str) -> str:
    """Launch the batch stages of the day as the UI's button does; the run's id."""
    asking = params(mark)
    chosen: Any = asking["params"]
    chosen["selector"]["assetSelection"] = [{"path": ["visits", *stage.split("/")]} for stage in STAGES]
    chosen["executionMetadata"]["tags"].append({"key": "dagster/partition", "value": DAY})
    launched = here.web.ask(LAUNCH, **asking)["launchPipelineExecution"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    return str(launched["run"]["runId"])


def worker_of(shop: Shop, run_id: str) -> int:
    """The process that signed the run."""

    def look() -> int | None:
        (run,) = [run for run in runs(shop) if run.run_id == run_id]
        found = parsed(run.tags.get(PROCESS, ""))
        return int(found.pid) if found else None

    return wait(look, 120, "the signature")


def retry_of(shop: Shop, run_id: str) -> dg.DagsterRun | None:
    """The run that took another's place, once it is over."""
    return next((run for run in runs(shop) if run.parent_run_id == run_id and run.is_finished), None)


def failures_of(shop: Shop) -> dict[str, dict[str, Any]]:
    """The records of failed runs by run."""
    found = [json.loads(path.read_text()) for path in sorted(shop.home.failures.glob("*.json"))]
    return {record["run"]: record for record in found}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """One day whose features wait, and whose shops are made; nothing happens by itself."""
    made = slow_shop(tmp_path, **{"evaluation:": "automation: {enabled: false}\nevaluation:"})
    assert made.materialize(["raw/shops"]).success
    return made


@pytest.mark.slow
def test_a_killed_worker_is_retried_once_and_a_power_cut_leaves_no_run_going_on(shop: Shop, tmp_path: Path) -> None:
    with ui(shop) as here:
        first = launch(here, "first")
        wait((tmp_path / "reached").exists, 120, "the features")
        worker = worker_of(shop, first)
        before = shop.heads()["visits/cleaned"]
        with shop.instance() as instance:
            run = instance.get_run_by_id(first)
            assert run is not None
            assert served(run) is True
        os.kill(worker, signal.SIGKILL)
        (tmp_path / "slow").unlink()
        again = wait(lambda: retry_of(shop, first), 180, "the retry")
        assert served(again) is False, "it is over"
        assert again.status is STATUS.SUCCESS
        assert again.tags["dagster/retry_number"] == "1"
        assert shop.heads()["visits/cleaned"] == before
        with shop.instance() as instance:
            events = instance.all_logs(again.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
            shown: dict[str, Any] = {}
            for event in events:
                made = event.get_dagster_event().step_materialization_data.materialization
                shown[made.asset_key.path[-1]] = made.metadata["status"].value
        assert shown["cleaned"] == "reused"
        assert shown["features"] == "computed"
        record = wait(lambda: failures_of(shop).get(first), 60, "the record")
        assert record["cause"] == "killed", record
        assert record["retried"]

        # Everything at once, as by a power cut.
        (tmp_path / "reached").unlink()
        (tmp_path / "slow").touch()
        (shop.folder / "features.py").write_text((shop.folder / "features.py").read_text().replace("+ 1", "+ 2"))
        second = launch(here, "second")
        wait((tmp_path / "reached").exists, 120, "the features once more")
        worker_of(shop, second)
        group = here.group
        os.kill(here.process.pid, signal.SIGKILL)
        os.killpg(group, signal.SIGKILL)
        assert keeper.gone(group, 30)
    assert [run.run_id for run in runs(shop) if run.status is STATUS.STARTED] == [second]
    (tmp_path / "slow").unlink()

    with ui(shop) as here:
        wait(
            lambda: not any(run.status is STATUS.STARTED and run.run_id == second for run in runs(shop)),
            90,
            "the janitor",
        )
        record = wait(lambda: failures_of(shop).get(second), 60, "the record")
        assert record["cause"] == "killed"
        again = wait(lambda: retry_of(shop, second), 180, "the retry")
        assert again.status is STATUS.SUCCESS
    assert all(run.is_finished for run in runs(shop))


@pytest.mark.slow
def test_a_refusal_is_not_retried(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "slow").unlink()
    shop.landing(DAY).write_text("nonsense\n1\n")
    with ui(shop) as here:
        refused = launch(here, "refused")
        record = wait(lambda: failures_of(shop).get(refused), 180, "the record")
        assert record["cause"] == "refused"
        assert not record["retried"]
        assert record["refusals"][0]["stage"] == "raw/visits"
        assert record["refusals"][0]["checks"]
        assert "Traceback" not in here.said, here.said
    assert [run.run_id for run in runs(shop) if run.tags.get("mark") == "refused"] == [refused]


@pytest.mark.slow
def test_what_the_end_of_the_ui_interrupts_is_written_down_by_the_next(shop: Shop, tmp_path: Path) -> None:
    with ui(shop) as here:
        stopped = launch(here, "stopped")
        wait((tmp_path / "reached").exists, 120, "the features")
        os.kill(here.process.pid, signal.SIGINT)
        assert here.process.wait(60) == 0
    (tmp_path / "slow").unlink()
    with ui(shop):
        record = wait(lambda: failures_of(shop).get(stopped), 60, "the record")
        again = wait(lambda: retry_of(shop, stopped), 120, "the retry")
    assert (record["cause"], record["retried"]) == ("interrupted", True)
    assert again.status is STATUS.SUCCESS
