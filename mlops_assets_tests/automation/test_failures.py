"""Failed runs are written down once, in words, and those who want to know are told; the runs are real ones."""

import json
import os
import shutil
import sys
import textwrap
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mlops_assets.automation import failures, records
from mlops_assets.automation.failures import PAUSES, call_hooks, note, overlooked, sensors
from mlops_assets.automation.processes import this_process
from mlops_assets.automation.records import KEPT, is_written, kept_in, read, write
from mlops_assets.automation.tags import CLAIM, PROCESS
from mlops_assets.contract.load import load_contract
from mlops_assets.contract.model import Alerts, Contract
from mlops_assets_tests.assets.shop import BATCH, DAYS, Shop, edited

STATUS = dg.DagsterRunStatus
JOB = dg.GraphDefinition(name="empty").to_job()


def contracts_of(shop: Shop, alerts: Alerts | None = None) -> dict[str, Contract]:
    found = load_contract(shop.folder)
    if alerts:
        found = replace(found, automation=replace(found.automation, alerts=alerts))
    return {found.name: found}


def written(shop: Shop) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in kept_in(shop.home)]


def latest(instance: dg.DagsterInstance) -> dg.RunRecord:
    return instance.get_run_records(limit=1)[0]


def noted(shop: Shop, alerts: Alerts | None = None) -> dict[str, Any]:
    """The record of the newest run, which failed."""
    with shop.instance() as instance:
        found = note(instance, latest(instance), contracts_of(shop, alerts), shop.home)
    assert found is not None
    assert written(shop)[-1] == found
    return found


def other_delimiter(lines: list[str]) -> list[str]:
    return [line.replace(",", ";") for line in lines]


@pytest.fixture(scope="module")
def refusing(built: Shop, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop whose newest run was refused: of two days, one is written with another delimiter."""
    made = built.copy(tmp_path_factory.mktemp("refusing") / "shop")
    edited(made.landing(DAYS[1]), other_delimiter)
    assert not made.materialize(BATCH, DAYS[0], DAYS[1]).success
    return made


@pytest.fixture
def refused(refusing: Shop, tmp_path: Path) -> Shop:
    return refusing.copy(tmp_path / "copy")


@pytest.fixture
def empty(shop: Shop) -> Iterator[dg.DagsterInstance]:
    with shop.instance() as instance:
        yield instance


def test_a_refusal_names_the_checks_and_is_the_data_s_fault(refused: Shop) -> None:
    found = noted(refused)
    assert found["cause"] == "refused"
    assert (
        found["title"]
        == "visits: cleaned, features, quarantine, raw/visits, splits [2024-01-01..2024-01-02] was refused"
    )
    assert (found["datasets"], found["first_batch"], found["last_batch"]) == (["visits"], DAYS[0], DAYS[1])
    checks = [(each["stage"], each["batch"], each["checks"]) for each in found["refusals"] if each["checks"]]
    assert checks == [("raw/visits", DAYS[1], ["readable"])]
    text = found["text"].splitlines()
    assert text[0].startswith(f"{found['title']} (")
    assert text[1].startswith(f"- visits/raw/visits [{DAYS[1]}] was refused by the check readable: ")
    assert f"Refused by: raw/visits [{DAYS[1]}]: readable" in text
    assert text[-1] == (
        "What to do: Mend what is delivered, or the rules in dataset.yaml if they are wrong; then "
        "`mlops-assets run visits`."
    )
    assert not found["retried"]


def test_no_value_of_a_row_is_written_down(refused: Shop) -> None:
    value = refused.landing(DAYS[1]).read_text().splitlines()[1].split(";")[0]
    with refused.instance() as instance:
        run_id = latest(instance).dagster_run.run_id
        (event,) = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
        assert "landing/visits_2024-01-02.csv" in str(event.event_log_entry.get_dagster_event())
    noted(refused)
    (path,) = kept_in(refused.home)
    assert value not in path.read_text()


def test_code_that_fails_is_a_crash_and_says_where(shop: Shop) -> None:
    body = (shop.folder / "features.py").read_text()
    (shop.folder / "features.py").write_text(body.replace("return pages", "pages['Jane Doe']\n    return pages"))
    assert not shop.materialize(["features"], DAYS[0]).success
    found = noted(shop)
    assert found["cause"] == "crashed"
    (sentence,) = found["sentences"]
    assert sentence.startswith("The code failed with KeyError in ")
    assert found["next"].startswith("The run's log has the traceback")
    # The file is for who may see everything here; what is sent on is not.
    assert "Jane Doe" in found["detail"]
    assert "Jane Doe" not in found["text"]


def test_what_a_person_can_mend_is_neither(shop: Shop) -> None:
    shop.change("bootstrap: 20", "bootstrap: 21")
    shutil.rmtree(shop.home.reports)
    shop.home.reports.write_text("a file where a folder is needed")
    assert not shop.materialize(["evaluation_report"], DAYS[3]).success
    found = noted(shop)
    assert found["cause"] == "unable", found
    (sentence,) = found["sentences"]
    assert str(shop.home.reports) in sentence
    assert "Traceback" not in found["text"]


def test_a_process_that_was_killed_is_told_with_its_sentence(
    empty: dg.DagsterInstance,
    shop: Shop,
    dead: str,
) -> None:
    tags = {PROCESS: dead, CLAIM: "arrivals:17", "mlops/dataset": "visits"}
    run = empty.create_run_for_job(JOB, status=STATUS.STARTED, tags=tags)
    _, janitor = sensors(contracts_of(shop), shop.home)
    skipped = janitor.evaluate_tick(dg.build_sensor_context(instance=empty)).skip_message
    assert skipped is not None
    assert skipped.splitlines()[0].startswith(f"Run {run.run_id[:8]} (visits: empty) was reported as failed: ")
    assert skipped.splitlines()[1] == f"The failure of run {run.run_id[:8]} (visits: empty) was written down."
    (found,) = written(shop)
    assert found["cause"] == "killed"
    assert found["claim"] == "arrivals:17"
    assert "is gone without a word" in found["sentences"][0]
    again = janitor.evaluate_tick(dg.build_sensor_context(instance=empty)).skip_message
    assert again == "Every run that is going on has a living process."


# The sensor.


def tick(sensor: dg.SensorDefinition, instance: dg.DagsterInstance, cursor: str | None) -> tuple[str | None, list[str]]:
    """One tick; the next cursor, and the errors that were told to runs."""
    result = sensor.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=cursor))
    return result.cursor, [str(each.error) for each in result.dagster_run_reactions or () if each.error]


def test_every_failed_run_is_written_down_once(shop: Shop) -> None:
    failing, _ = sensors(contracts_of(shop), shop.home)
    with shop.instance() as instance:
        cursor, _ = tick(failing, instance, None)
    edited(shop.landing(DAYS[1]), other_delimiter)
    shop.materialize(["raw/visits"], DAYS[1])
    shop.materialize(["raw/visits"], DAYS[1])
    with shop.instance() as instance:
        after, errors = tick(failing, instance, cursor)
        assert errors == []
        before = {path: path.stat().st_mtime_ns for path in kept_in(shop.home)}
        assert len(before) == 2
        # The cursor was lost: the same runs once more.
        tick(failing, instance, cursor)
        tick(failing, instance, after)
        assert overlooked(instance, contracts_of(shop), shop.home, datetime.now(UTC), None) == []
    assert {path: path.stat().st_mtime_ns for path in kept_in(shop.home)} == before
    assert [path for path in shop.home.failures.iterdir() if path not in before] == []


def test_a_record_that_could_not_be_written_is_written_later(refused: Shop) -> None:
    failing, janitor = sensors(contracts_of(refused), refused.home)
    refused.home.failures.write_text("a file where a folder is needed")
    with refused.instance() as instance:
        run = latest(instance).dagster_run
        cursor = json.dumps({"__class__": "RunStatusSensorCursor", "record_id": 0, "update_timestamp": None})
        _, errors = tick(failing, instance, cursor)
        assert "FileExistsError" in errors[0] or "NotADirectoryError" in errors[0]
        refused.home.failures.unlink()
        janitor.evaluate_tick(dg.build_sensor_context(instance=instance))
    assert [record["run"] for record in written(refused)] == [run.run_id]


def test_runs_of_others_are_not_ours(empty: dg.DagsterInstance, shop: Shop) -> None:
    run = empty.create_run_for_job(JOB, status=STATUS.STARTED, tags={PROCESS: this_process()})
    empty.report_run_failed(run, "It was not ours.")
    assert overlooked(empty, contracts_of(shop), shop.home, datetime.now(UTC), None) == []
    ours = dg.Definitions(jobs=[JOB]).get_repository_def()
    assert len(overlooked(empty, contracts_of(shop), shop.home, datetime.now(UTC), ours)) == 1
    assert written(shop)[0]["sentences"] == ["It was not ours."]


def test_what_failed_long_ago_is_not_written_down_now(refused: Shop) -> None:
    with refused.instance() as instance:
        later = datetime.now(UTC) + timedelta(hours=2)
        assert overlooked(instance, contracts_of(refused), refused.home, later, None) == []


def test_an_alerting_sensor_is_there_only_when_somebody_wants_it(shop: Shop) -> None:
    names = [sensor.name for sensor in sensors(contracts_of(shop), shop.home)]
    assert names == ["failures", "janitor"]
    found = sensors(contracts_of(shop, Alerts(command=("true",))), shop.home)
    assert [sensor.name for sensor in found] == ["failures", "janitor", "alerts"]
    assert all(sensor.default_status is dg.DefaultSensorStatus.RUNNING for sensor in found)


# The files.


def record(number: int) -> dict[str, Any]:
    when = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
    return {"format": 1, "run": f"run{number}", "time": when.isoformat(), "alerts": []}


def test_the_newest_are_kept(shop: Shop) -> None:
    for number in range(KEPT + 3):
        assert write(shop.home, record(number))
    kept = kept_in(shop.home)
    assert [path.name for path in kept] == [records.name_of(record(number)) for number in range(3, KEPT + 3)]
    assert not write(shop.home, record(0)), "older than all that are kept"
    assert kept_in(shop.home) == kept


def test_many_who_write_the_same_write_it_once(shop: Shop) -> None:
    ready, wrote = threading.Barrier(8), []

    def writes() -> None:
        ready.wait()
        wrote.append(write(shop.home, record(1)))

    threads = [threading.Thread(target=writes) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wrote) == [False] * 7 + [True]
    assert [path.name for path in shop.home.failures.iterdir()] == [records.name_of(record(1))]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}', "\xff"])
def test_a_record_that_is_damaged_or_newer_is_passed_over(shop: Shop, text: str) -> None:
    write(shop.home, record(1))
    (path,) = kept_in(shop.home)
    path.write_bytes(text.encode("latin-1"))
    assert read(path) is None
    assert is_written(shop.home, "run1")
    assert call_hooks(contracts_of(shop, Alerts(command=("true",))), shop.home) == []


# Hooks.


def program(folder: Path, body: str) -> tuple[str, ...]:
    (folder / "told.py").write_text(textwrap.dedent(body))
    return (sys.executable, str(folder / "told.py"))


TELLS = """
    import json, sys, pathlib
    record = json.load(sys.stdin)
    with pathlib.Path("told.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\\n")
    sys.exit(pathlib.Path("refuse").exists())
"""


def told(shop: Shop) -> list[dict[str, Any]]:
    path = shop.folder / "told.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def states(found: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    return [(alert["hook"], alert["state"], alert["calls"]) for alert in found["alerts"]]


def test_a_hook_is_called_once_with_what_may_be_sent_on(refused: Shop, tmp_path: Path) -> None:
    alerts = Alerts(command=program(tmp_path, TELLS))
    found = noted(refused, alerts)
    assert states(found) == [("command", "waiting", 0)]
    (_, _, sensor) = sensors(contracts_of(refused, alerts), refused.home)
    for _ in range(2):
        sensor.evaluate_tick(dg.build_sensor_context())
    (sent,) = told(refused)
    assert sent == {name: value for name, value in found.items() if name not in ("alerts", "detail")}
    assert states(written(refused)[0]) == [("command", "told", 1)]


def test_a_hook_that_fails_blocks_no_other_and_is_tried_again_for_some_time(
    refused: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERTS_URL", "http://127.0.0.1:9/s3cret")
    monkeypatch.setenv("no_proxy", "*")
    alerts = Alerts(command=program(tmp_path, TELLS), webhook="ALERTS_URL")
    contracts = contracts_of(refused, alerts)
    noted(refused, alerts)
    (refused.folder / "refuse").touch()
    first = call_hooks(contracts, refused.home)
    assert [said.partition(" failed ")[2][:18] for said in first] == ["and is tried again"] * 2
    assert call_hooks(contracts, refused.home) == [], "not before the pause is over"
    (refused.folder / "refuse").unlink()
    for tries in range(2, len(PAUSES) + 2):
        elapse(refused)
        call_hooks(contracts, refused.home)
        found = written(refused)[0]
        assert states(found)[0] == ("command", "told", 2)
        assert states(found)[1] == ("webhook", "given up" if tries > len(PAUSES) else "waiting", tries)
    elapse(refused)
    assert call_hooks(contracts, refused.home) == []
    problem = found["alerts"][1]["problem"]
    assert problem == "The webhook that ALERTS_URL names cannot be reached: Connection refused."
    assert len(told(refused)) == 2


def elapse(shop: Shop) -> None:
    """Make every pause be over."""
    for path in kept_in(shop.home):
        found = json.loads(path.read_text())
        for alert in found["alerts"]:
            alert["next"] -= max(PAUSES)
        path.write_text(json.dumps(found))


def test_a_disk_that_takes_no_more_lets_nobody_be_told_again_and_again(refused: Shop, tmp_path: Path) -> None:
    alerts = Alerts(command=program(tmp_path, TELLS))
    noted(refused, alerts)
    (path,) = kept_in(refused.home)
    taken = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    taken.mkdir()  # where the file would be written
    with pytest.raises(IsADirectoryError):
        call_hooks(contracts_of(refused, alerts), refused.home)
    assert told(refused) == []
    taken.rmdir()
    call_hooks(contracts_of(refused, alerts), refused.home)
    assert len(told(refused)) == 1


def test_a_hook_that_is_no_longer_wanted_is_dropped(refused: Shop, tmp_path: Path) -> None:
    noted(refused, Alerts(command=program(tmp_path, TELLS)))
    (said,) = call_hooks(contracts_of(refused), refused.home)
    assert said.endswith("is no longer wanted.")
    assert call_hooks(contracts_of(refused), refused.home) == []
    assert told(refused) == []


def test_a_tick_ends_in_time_however_many_wait(refused: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_BUDGET", 0.2)
    alerts = Alerts(command=program(tmp_path, f"import time; time.sleep(0.3){textwrap.dedent(TELLS)}"))
    for number in range(3):
        waiting = {"dataset": "visits", "hook": "command", "state": "waiting", "calls": 0, "next": 0.0, "problem": None}
        write(refused.home, record(number) | {"alerts": [waiting]})
    for count in range(1, 4):
        said = call_hooks(contracts_of(refused, alerts), refused.home)
        assert [sent["run"] for sent in told(refused)] == [f"run{number}" for number in range(count)]
        assert said[1:] == (["More hooks are waiting; the next tick goes on with them."] if count < 3 else [])


def test_no_secret_is_written_down(shop: Shop, monkeypatch: pytest.MonkeyPatch, empty: dg.DagsterInstance) -> None:
    monkeypatch.setenv("ALERTS_URL", "https://hooks.example.org/T0/s3cret")
    run = empty.create_run_for_job(JOB, status=STATUS.STARTED, tags={"mlops/dataset": "visits"})
    empty.report_run_failed(run, "https://hooks.example.org/T0/s3cret was asked, /T0/s3cret that is.")
    found = noted(shop, Alerts(webhook="ALERTS_URL"))
    assert found["sentences"] == ["*** was asked, *** that is."]
    for path in shop.home.failures.iterdir():
        assert "s3cret" not in path.read_text()
