"""Runs whose process is gone are found, and none that lives is touched; the processes are real."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from mlops_assets.automation import processes
from mlops_assets.automation.janitor import GRACE, clean
from mlops_assets.automation.processes import parsed, this_process
from mlops_assets.automation.tags import CLAIM, KILLED, PROCESS
from mlops_assets_tests.assets.shop import Shop
from mlops_assets_tests.automation.dying import begun, going_on, kill, slow_shop

STATUS = dg.DagsterRunStatus
JOB = dg.GraphDefinition(name="empty").to_job()


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop whose command was killed in the middle of the features; what was slow is slow no longer."""
    folder = tmp_path_factory.mktemp("killed")
    shop = slow_shop(folder)
    kill(begun(shop))
    (folder / "slow").unlink()
    return shop


@pytest.fixture
def instance(killed: Shop, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Dagster on a copy of that home."""
    with killed.copy(tmp_path / "copy").instance() as opened:
        yield opened


@pytest.fixture
def quiet(instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """Where every run is over."""
    instance.delete_run(going_on(instance).run_id)
    return instance


def run_with(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, **tags: str) -> dg.DagsterRun:
    return instance.create_run_for_job(
        JOB, status=status, tags={key.replace("__", "/"): value for key, value in tags.items()}
    )


def now(later: float = 0.0) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=later)


def status_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def last_message(instance: dg.DagsterInstance, run: dg.DagsterRun, kind: dg.DagsterEventType) -> str:
    events = instance.get_records_for_run(run.run_id, of_type=kind).records
    return str(events[-1].event_log_entry.get_dagster_event().message)


def test_a_killed_command_is_reported_with_what_happened(instance: dg.DagsterInstance) -> None:
    run = going_on(instance)
    assert run.status is STATUS.STARTED
    process = parsed(run.tags[PROCESS])
    assert process is not None
    (said,) = clean(instance, now())
    why = (
        f"its process {process.pid} on {process.host} is gone without a word: it was killed, probably because memory "
        f"ran out, or by hand"
    )
    about = "visits: cleaned, features, quarantine, raw/visits, splits [2024-01-01]"
    assert said == f"Run {run.run_id[:8]} ({about}) was reported as failed: {why}."
    assert status_of(instance, run) is STATUS.FAILURE
    message = last_message(instance, run, dg.DagsterEventType.RUN_FAILURE)
    assert f"The run did not end by itself: {why}. It had been going on since " in message
    assert message.endswith("Run the command again to go on.")
    after = instance.get_run_by_id(run.run_id)
    assert after is not None
    assert after.tags[KILLED] == why
    assert after.tags["dagster/will_retry"] == "false"
    assert clean(instance, now()) == []


def test_a_command_that_lives_is_left_alone(tmp_path: Path) -> None:
    shop = slow_shop(tmp_path)
    process = begun(shop)
    try:
        with shop.instance() as instance:
            assert clean(instance, now(3600)) == []
            assert going_on(instance).status is STATUS.STARTED
        (tmp_path / "slow").unlink()
        assert process.wait(120) == 0
        with shop.instance() as instance:
            assert clean(instance, now(3600)) == []
            assert {run.status for run in instance.get_runs()} == {STATUS.SUCCESS}
    finally:
        process.kill()
        process.wait()


def test_the_next_command_reports_it_and_goes_on(killed: Shop, tmp_path: Path) -> None:
    shop = killed.copy(tmp_path / "copy")
    (shop.folder / "features.py").write_text((shop.folder / "features.py").read_text().replace("slow", "never"))
    done = shop.called("run", "visits")
    assert done.code == 0, done.text
    assert "Note: Run " in done.text
    assert "was reported as failed: its process " in done.text
    with shop.instance() as instance:
        assert {run.status for run in instance.get_runs()} == {STATUS.FAILURE, STATUS.SUCCESS}
    again = shop.called("run", "visits")
    assert "Note: Run" not in again.text


def test_a_command_that_has_nothing_to_do_does_not_import_dagster(shop: Shop) -> None:
    code = "import sys; from mlops_assets.cli import main; main(['run', 'visits']); print('dagster' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=shop.environment,
        cwd=shop.home.root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "False", done.stdout


def test_the_places_that_a_dead_run_held_are_free(instance: dg.DagsterInstance) -> None:
    run, log = going_on(instance), instance.event_log_storage
    log.set_concurrency_slots("writer", 1)
    assert log.claim_concurrency_slot("writer", run.run_id, "a step").is_claimed
    assert not log.claim_concurrency_slot("writer", "another", "a step").is_claimed
    clean(instance, now())
    assert log.claim_concurrency_slot("writer", "another", "a step").is_claimed


def test_what_is_being_cancelled_is_cancelled(quiet: dg.DagsterInstance, dead: str) -> None:
    run = run_with(quiet, STATUS.CANCELING, **{PROCESS: dead})
    (said,) = clean(quiet, now())
    assert "was reported as cancelled: its process " in said
    assert status_of(quiet, run) is STATUS.CANCELED


def test_of_another_machine_nothing_is_reported(quiet: dg.DagsterInstance, dead: str) -> None:
    process = parsed(dead)
    assert process is not None
    run = run_with(quiet, STATUS.STARTED, **{PROCESS: "/".join(process._replace(host="elsewhere"))})
    assert clean(quiet, now(86400)) == []
    assert status_of(quiet, run) is STATUS.STARTED


def test_a_machine_that_was_restarted_is_named(quiet: dg.DagsterInstance, dead: str) -> None:
    process = parsed(dead)
    assert process is not None
    run_with(quiet, STATUS.STARTED, **{PROCESS: "/".join(process._replace(boot="another"))})
    (said,) = clean(quiet, now())
    assert f"the machine {process.host} was restarted or lost power while its process {process.pid} was at work" in said


@pytest.mark.parametrize("status", [STATUS.SUCCESS, STATUS.FAILURE, STATUS.CANCELED])
def test_what_does_not_run_is_left_alone(quiet: dg.DagsterInstance, dead: str, status: dg.DagsterRunStatus) -> None:
    run_with(quiet, status, **{PROCESS: dead})
    assert clean(quiet, now(86400)) == []


def test_a_command_that_died_before_its_run_had_begun_is_reported(quiet: dg.DagsterInstance, dead: str) -> None:
    run = run_with(quiet, STATUS.NOT_STARTED, **{PROCESS: dead})
    unsigned = run_with(quiet, STATUS.NOT_STARTED)
    assert len(clean(quiet, now(86400))) == 1
    assert status_of(quiet, run) is STATUS.FAILURE
    assert status_of(quiet, unsigned) is STATUS.NOT_STARTED


# A run that nobody has signed yet.


def address(socket_path: Path) -> str:
    return f'{{"host": "localhost", "socket": "{socket_path}"}}'


@pytest.mark.parametrize("status", [STATUS.STARTING, STATUS.STARTED])
def test_an_unsigned_run_whose_code_server_is_gone_is_reported_after_a_while(
    quiet: dg.DagsterInstance, tmp_path: Path, status: dg.DagsterRunStatus
) -> None:
    run = run_with(quiet, status, **{".dagster/grpc_info": address(tmp_path / "gone.sock")})
    assert clean(quiet, now(-5)) == []  # launched just after the clock was read
    assert clean(quiet, now(GRACE - 5)) == []
    (said,) = clean(quiet, now(GRACE + 5))
    assert "the code server that was to start its process is gone, and the process never began its work" in said
    assert status_of(quiet, run) is STATUS.FAILURE


def test_an_unsigned_run_whose_code_server_answers_slowly_is_left_alone(quiet: dg.DagsterInstance) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        info = f'{{"host": "localhost", "port": {server.getsockname()[1]}}}'
        run = run_with(quiet, STATUS.STARTED, **{".dagster/grpc_info": info})
        assert clean(quiet, now(86400)) == []
    assert status_of(quiet, run) is STATUS.STARTED


def test_an_unsigned_run_of_a_process_that_nobody_knows_is_left_alone(quiet: dg.DagsterInstance) -> None:
    run_with(quiet, STATUS.STARTED)
    assert clean(quiet, now(86400)) == []


def test_an_unsigned_run_from_before_the_last_boot_is_reported(
    quiet: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_with(quiet, STATUS.STARTED)
    # A machine that says of itself that it was started a minute from now.
    (tmp_path / "stat").write_text(f"cpu 1 2 3\nbtime {now(60).timestamp():.0f}\n")
    monkeypatch.setattr(processes, "_PROC", tmp_path)
    (said,) = clean(quiet, now(90))
    assert "the machine was restarted or lost power before the run had begun its work" in said


def test_a_retry_that_was_just_launched_is_not_taken_for_the_run_that_it_retries(
    quiet: dg.DagsterInstance, dead: str, tmp_path: Path
) -> None:
    parent = run_with(quiet, STATUS.FAILURE, **{PROCESS: dead})
    tags = {PROCESS: dead, ".dagster/grpc_info": address(tmp_path / "gone.sock")}
    run = quiet.create_run_for_job(
        JOB, status=STATUS.STARTED, tags=tags, parent_run_id=parent.run_id, root_run_id=parent.run_id
    )
    assert clean(quiet, now(GRACE - 5)) == []
    quiet.add_run_tags(run.run_id, {PROCESS: this_process()})
    assert clean(quiet, now(86400)) == []


def test_what_comes_next_depends_on_who_asked(quiet: dg.DagsterInstance, dead: str) -> None:
    asked = run_with(quiet, STATUS.STARTED, **{PROCESS: dead, CLAIM: "arrivals:17", "dagster/max_retries": "0"})
    clean(quiet, now())
    message = last_message(quiet, asked, dg.DagsterEventType.RUN_FAILURE)
    assert message.endswith("The sensor that asked for it asks again by itself.")


def test_nothing_is_done_where_nothing_ran(tmp_path: Path) -> None:
    shop = slow_shop(tmp_path)
    shop.home.initialise_dagster()
    shutil.rmtree(shop.home.data)
    with shop.instance() as instance:
        assert clean(instance, now()) == []
