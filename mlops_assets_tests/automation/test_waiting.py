"""What is said of runs that wait or go on, from databases of real runs; Dagster itself only makes them."""

import fcntl
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from mlops_assets.automation.processes import parsed, this_process
from mlops_assets.automation.tags import DATASET, PROCESS
from mlops_assets.automation.waiting import waiting
from mlops_assets.home import Home
from mlops_assets_tests.assets.shop import Shop
from mlops_assets_tests.automation.dying import begun, going_on, kill, slow_shop

STATUS = dg.DagsterRunStatus
JOB = dg.GraphDefinition(name="empty").to_job()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A home in which Dagster is made and nothing ran."""
    made = Shop.in_folder(tmp_path_factory.mktemp("template"))
    with made.entered():
        made.home.initialise_dagster()
    return made


@pytest.fixture
def shop(template: Shop, tmp_path: Path) -> Shop:
    return template.copy(tmp_path / "shop")


def runs(shop: Shop, status: str, ago: float, count: int = 1, tags: Mapping[str, str] | None = None) -> list[str]:
    """Runs that came into a status some seconds ago, as the daemon and its workers leave them; their ids."""
    before = datetime.now(UTC) - timedelta(seconds=ago)
    with shop.instance() as instance:
        ids = [instance.create_run_for_job(JOB, tags={DATASET: "visits", **(tags or {})}).run_id for _ in range(count)]
    started = before.timestamp() if status in ("STARTED", "CANCELING") else None
    with closing(sqlite3.connect(shop.home.dagster / "runs.db")) as connection, connection:
        connection.executemany(
            "UPDATE runs SET status = ?, create_timestamp = ?, start_time = ? WHERE run_id = ?",
            [(status, f"{before:%Y-%m-%d %H:%M:%S.%f}", started, run_id) for run_id in ids],
        )
    return ids


@contextmanager
def daemon(shop: Shop) -> Iterator[None]:
    """Somebody who holds the lock of who runs the daemon."""
    with (shop.home.dagster / ".daemon.lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def beats(shop: Shop, ago: float) -> None:
    """A daemon of somebody else whose heart has beaten so many seconds ago."""
    when = datetime.now(UTC) - timedelta(seconds=ago)
    with closing(sqlite3.connect(shop.home.dagster / "runs.db")) as connection, connection:
        connection.execute(
            "INSERT INTO daemon_heartbeats (daemon_type, daemon_id, timestamp) VALUES ('SENSOR', 'x', ?)",
            (f"{when:%Y-%m-%d %H:%M:%S.%f}",),
        )


def test_of_a_home_without_runs_nothing_is_said(shop: Shop, tmp_path: Path) -> None:
    assert waiting(shop.home) == []
    assert waiting(Home(root=tmp_path / "none", data=tmp_path)) == []
    runs(shop, "SUCCESS", 10)
    runs(shop, "FAILURE", 10)
    assert waiting(shop.home) == []


def test_a_queue_that_nobody_empties_is_told(shop: Shop) -> None:
    (run_id,) = runs(shop, "QUEUED", 300, tags={"dagster/partition": "2024-01-01"})
    (said,) = waiting(shop.home)
    assert said == (
        f"Run {run_id[:8]} (visits: empty [2024-01-01]) is queued, for 5 min by now: nothing takes it from the queue "
        f"while no daemon runs: start `mlops-assets dev`."
    )


def test_many_are_one_sentence(shop: Shop) -> None:
    ids = runs(shop, "QUEUED", 50, 7)
    (said,) = waiting(shop.home)
    named = ", ".join(run_id[:8] for run_id in ids[:5])
    assert said.startswith(f"7 runs, {named}, 2 more, are queued, for 5")
    assert re.search(r" s by now: nothing takes them from the queue while no daemon runs", said)


def test_a_queue_that_the_daemon_is_about_to_empty_is_told(shop: Shop) -> None:
    runs(shop, "QUEUED", 5)
    with daemon(shop):
        (said,) = waiting(shop.home)
    assert re.search(r"is queued, for \d+ s by now: the daemon takes it from the queue within some seconds\.$", said)


def test_a_queue_that_the_daemon_does_not_empty_is_told(shop: Shop) -> None:
    runs(shop, "QUEUED", 60)
    with daemon(shop):
        (said,) = waiting(shop.home)
    assert "the daemon has not taken it yet: see what it says" in said


def test_as_many_as_may_are_going_on(shop: Shop) -> None:
    runs(shop, "STARTED", 600, 4, tags={PROCESS: this_process()})
    runs(shop, "QUEUED", 60)
    with daemon(shop):
        queued, going = waiting(shop.home)
    assert "4 others are going on, and no more than 4 may at once (`concurrency` in dagster.yaml)" in queued
    assert going.startswith("4 runs, ")
    assert going.endswith(", are going on, for 10 min by now.")
    configuration = shop.home.dagster / "dagster.yaml"
    configuration.write_text(configuration.read_text().replace("max_concurrent_runs: 4", "max_concurrent_runs: -1"))
    with daemon(shop):
        assert "the daemon has not taken it yet" in waiting(shop.home)[0]


@pytest.mark.parametrize(("ago", "runs_one"), [(10, True), (300, False)])
def test_a_daemon_of_somebody_else_is_known_by_its_heart(shop: Shop, ago: float, runs_one: bool) -> None:
    runs(shop, "QUEUED", 5)
    beats(shop, ago)
    (said,) = waiting(shop.home)
    assert ("within some seconds" in said) is runs_one


def test_looking_does_not_keep_a_daemon_from_starting(shop: Shop) -> None:
    runs(shop, "QUEUED", 5)
    with daemon(shop):
        pass
    waiting(shop.home)
    with (shop.home.dagster / ".daemon.lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("runs_one", [True, False])
def test_a_run_whose_process_is_dead_is_told(
    shop: Shop,
    dead: str,
    runs_one: bool,
) -> None:
    (run_id,) = runs(shop, "STARTED", 60, tags={PROCESS: dead})
    process = parsed(dead)
    assert process is not None
    begins = f"Run {run_id[:8]} (visits: empty) stands as going on, and its process {process.pid} is dead: "
    if runs_one:
        with daemon(shop):
            assert waiting(shop.home) == [f"{begins}the daemon reports it as failed within some seconds."]
    else:
        (said,) = waiting(shop.home)
        ends = "the next `mlops-assets run` that has something to do, or `mlops-assets dev`, reports it as failed."
        assert said == f"{begins}{ends}"


def test_a_run_that_nobody_has_signed_is_told_after_a_while(shop: Shop) -> None:
    runs(shop, "STARTING", 5)
    assert re.search(r"is going on, for \d+ s by now\.$", waiting(shop.home)[0])
    (late,) = runs(shop, "STARTING", 170)
    assert waiting(shop.home)[0] == (
        f"Run {late[:8]} (visits: empty) was launched 3 min ago and its process has not begun its work: one that never "
        f"does is reported as failed as soon as `mlops-assets dev` runs."
    )


def test_a_retry_does_not_bear_the_death_of_the_run_that_it_retries(shop: Shop, dead: str) -> None:
    with shop.instance() as instance:
        parent = instance.create_run_for_job(JOB, status=STATUS.FAILURE, tags={PROCESS: dead})
        instance.create_run_for_job(
            JOB, status=STATUS.STARTED, tags={PROCESS: dead}, parent_run_id=parent.run_id, root_run_id=parent.run_id
        )
    (said,) = waiting(shop.home)
    assert "is going on, for" in said


def test_a_real_run_is_told_while_it_goes_on_and_when_it_was_killed(tmp_path: Path) -> None:
    shop = slow_shop(tmp_path)
    process = begun(shop)
    try:
        (said,) = waiting(shop.home)
        with shop.instance() as instance:
            run_id = going_on(instance).run_id
        about = f"Run {run_id[:8]} (visits: cleaned, features, quarantine, raw/visits, splits [2024-01-01])"
        assert said.startswith(f"{about} is going on, for ")
    finally:
        kill(process)
    (said,) = waiting(shop.home)
    assert said.startswith(f"{about} stands as going on, and its process {process.pid} is dead: the next ")


def test_a_run_that_started_in_the_future_is_told_without_a_negative_age(shop: Shop) -> None:
    runs(shop, "STARTED", -3600, tags={PROCESS: this_process()})
    assert waiting(shop.home)[0].endswith("is going on, for 0 s by now.")


# Homes that cannot be read.


def test_of_a_home_with_other_databases_nothing_is_said(shop: Shop) -> None:
    runs(shop, "QUEUED", 60)
    (shop.home.dagster / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    assert waiting(shop.home) == []


@pytest.mark.parametrize("content", [b"", b"no database" * 1000])
def test_a_damaged_database_is_told(shop: Shop, content: bytes) -> None:
    for path in shop.home.dagster.glob("runs.db*"):
        path.unlink()
    (shop.home.dagster / "runs.db").write_bytes(content)
    (said,) = waiting(shop.home)
    assert said.startswith("What runs are queued or going on cannot be told: ")


def test_it_imports_no_dagster_and_writes_nothing(shop: Shop) -> None:
    runs(shop, "QUEUED", 60)
    before = {path: path.read_bytes() for path in shop.home.dagster.rglob("*.db")}
    code = """
import sys
from mlops_assets.automation.waiting import waiting
from mlops_assets.home import Home
print(len(waiting(Home.from_environment())), "dagster" in sys.modules, "sqlalchemy" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=shop.environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1 False False\n"
    assert {path: path.read_bytes() for path in shop.home.dagster.rglob("*.db")} == before
