"""Runs that something other than the data keeps from their end: a disk, a database, another writer."""

import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest

from mlops_assets.automation.processes import this_process
from mlops_assets.automation.tags import DATASET, PROCESS
from mlops_assets_tests.assets.shop import BATCH, DAYS, FEATURES, Shop, edited
from mlops_assets_tests.assets.test_steps import materialized, reasons


def test_a_store_that_refuses_ends_the_step_in_a_sentence(shop: Shop) -> None:
    edited(shop.landing(DAYS[0]), lambda lines: lines[:-1])
    blob = shop.manifest("cleaned", DAYS[0]).blob
    assert blob is not None
    folder = (Path(shop.home.store) / blob.path).parent
    shutil.rmtree(folder)
    folder.write_text("a file where a folder is needed")
    before = shop.heads()
    result = shop.materialize(BATCH, DAYS[0])
    assert not result.success
    said = reasons(result)
    assert "could not be written: a file stands where a folder is needed" in said, said
    assert "What was published before stands." in said
    (event,) = [event for event in result.all_events if event.is_step_failure]
    data = event.step_failure_data.user_failure_data
    assert data is not None
    assert data.metadata["cause"].value == "unable"
    assert {asset: versions for asset, versions in shop.heads().items() if asset != "visits/raw/visits"} == {
        asset: versions for asset, versions in before.items() if asset != "visits/raw/visits"
    }


def test_the_command_says_it_in_a_sentence_too(shop: Shop) -> None:
    shop.change("bootstrap: 20", "bootstrap: 21")
    shutil.rmtree(shop.home.reports)
    shop.home.reports.write_text("a file where a folder is needed")
    done = shop.called("run", "visits")
    assert done.code == 1
    assert "Traceback" not in done.text
    assert f"- {shop.home.reports}" in done.text
    assert "could not be written: a file stands where a folder is needed" in done.text


def test_a_refusal_and_a_crash_are_both_told_by_the_command(shop: Shop) -> None:
    edited(shop.landing(DAYS[0]), lambda lines: [line.replace(",", ";") for line in lines])
    body = shop.folder / "features.py"
    body.write_text(body.read_text().replace("return pages", "pages['nobody']\n    return pages"))
    done = shop.called("run", "visits")
    assert done.code == 1
    assert f"visits/raw/visits [{DAYS[0]}] was refused by the check readable" in done.text
    assert "KeyError: 'nobody'" in done.text
    assert 'features.py", line' in done.text


@pytest.mark.parametrize("name", ["runs.db", "schedules.db"])
def test_a_database_with_two_heads_is_told(shop: Shop, name: str) -> None:
    with closing(sqlite3.connect(shop.home.dagster / name)) as connection, connection:
        connection.execute("INSERT INTO alembic_version VALUES ('000000000000')")
    shop.change("bootstrap: 20", "bootstrap: 21")
    done = shop.called("run", "visits")
    assert done.code == 1
    assert done.text.splitlines()[-1].startswith(
        f"Dagster's databases in {shop.home.dagster} cannot be used: Version table 'alembic_version' has more than one "
        f"head present. No version depends on them: "
    )


def test_a_head_that_another_process_moved_is_looked_at_again(shop: Shop) -> None:
    """While the features of a day are computed, another command takes in a newer delivery of it, to its end."""
    folder = shop.home.root.parent
    waits = f"""
    import os, pathlib, subprocess
    asked = pathlib.Path({str(folder / "asked")!r})
    if asked.exists():
        asked.unlink()
        landed = pathlib.Path({str(shop.landing(DAYS[0]))!r})
        landed.write_text("".join(landed.read_text().splitlines(keepends=True)[:-1]))
        words = [{sys.executable!r}, "-m", "mlops_assets.cli", "run", "visits", "--partition", {DAYS[0]!r}]
        subprocess.run(words, cwd={str(folder)!r}, check=True, capture_output=True)
    return"""
    (shop.folder / "features.py").write_text(FEATURES.replace("\n    return", waits))
    (folder / "asked").touch()
    result = shop.materialize(BATCH, DAYS[0])
    assert not (folder / "asked").exists()
    assert result.success, reasons(result)
    assert materialized(shop, result)["features", DAYS[0]] == 1
    cleaned, features = shop.manifest("cleaned", DAYS[0]), shop.manifest("features", DAYS[0])
    assert cleaned.rows == 99
    assert [item.version for item in features.inputs if item.asset == "visits/cleaned"] == [cleaned.version]
    assert shop.told()["visits/features"][DAYS[0]] == shop.heads()["visits/features"][DAYS[0]]


def test_who_works_has_signed_the_run(shop: Shop) -> None:
    result = shop.materialize(["splits"], DAYS[0])
    with shop.instance() as instance:
        run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags[PROCESS] == this_process()
    shop.change("bootstrap: 20", "bootstrap: 21")
    shop.called("run", "visits")
    with shop.instance() as instance:
        (run,) = instance.get_runs(limit=1)
    assert (run.tags[PROCESS], run.tags[DATASET]) == (this_process(), "visits")
    assert run.status is dg.DagsterRunStatus.SUCCESS
