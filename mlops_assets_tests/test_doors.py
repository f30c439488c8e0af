"""Every door leads through the same step: the command, ``dagster``, and the UI with its daemon publish the same."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_assets_tests.datasets import deliver_days, write_contract
from mlops_assets_tests.doors import Project, Shown, Versions, Web

NAME = "visits"
REFERENCE = ("raw/shops",)
BATCH = ("raw/visits", "quarantine", "cleaned", "splits", "features")
RELEASE = ("candidate_model", "evaluation_report", "trained_model")
DAYS = ("2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04")
NEWEST = DAYS[-1]
RANGE = {"dagster/asset_partition_range_start": DAYS[0], "dagster/asset_partition_range_end": NEWEST}

BATCH_KEYS = {f"{NAME}/{stage}": set(DAYS) for stage in BATCH}
EVERYTHING = {f"{NAME}/raw/shops": {"all"}, **BATCH_KEYS, **{f"{NAME}/{stage}": {NEWEST} for stage in RELEASE}}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A dataset whose releases pass, and a home that nothing was made in."""
    # So few rows cannot show more than that the trees beat no model at all.
    gates = {"roc_auc: 0.999}": "roc_auc: 0.999}, beat: [prior], agreement: 0.5"}
    deliver_days(write_contract(tmp_path / "data", NAME, **gates), range(len(DAYS)), rows=100)
    return Project.at(tmp_path / "home", tmp_path / "data")


@pytest.fixture
def expected(project: Project, tmp_path: Path) -> Versions:
    """What ``mlops-assets run`` publishes in a home of its own, and tells Dagster."""
    other = Project.at(tmp_path / "command", project.home.data)
    done = other.command("run", NAME)
    assert done.code == 0, done.text
    assert {asset: set(versions) for asset, versions in other.heads().items()} == EVERYTHING
    assert other.told() == other.heads()
    return other.heads()


@pytest.fixture
def web(project: Project) -> Iterator[Web]:
    with project.served() as served:
        yield served


def test_a_bare_dagster_publishes_what_the_command_publishes(project: Project, expected: Versions) -> None:
    done = project.materialize(NAME, [*REFERENCE, *BATCH], "--partition-range", f"{DAYS[0]}...{DAYS[-2]}")
    assert done.code == 0, done.text
    done = project.dagster(
        "asset", "materialize", "-m", "mlops_assets.definitions", "--select", "*", "--partition", NEWEST
    )
    assert done.code == 0, done.text
    assert "skipped" not in done.text.lower()
    assert project.heads() == expected
    assert project.told() == expected


def test_dagster_validates_the_definitions(project: Project) -> None:
    done = project.dagster("definitions", "validate", "-m", "mlops_assets.definitions")
    assert done.code == 0, done.text
    assert "All code locations passed validation" in done.text


def test_a_range_without_its_reference_is_refused_with_a_sentence(project: Project) -> None:
    done = project.materialize(NAME, BATCH, "--partition-range", f"{DAYS[0]}...{NEWEST}")
    assert done.code == 1
    assert f"{NAME}/cleaned [{NEWEST}] stands on {NAME}/raw/shops, of which no version was ever accepted." in done.text
    assert {asset for asset in project.heads() if project.heads()[asset]} == {f"{NAME}/raw/visits", f"{NAME}/quarantine"}


def test_on_another_branch_nothing_is_skipped_without_a_word(project: Project) -> None:
    other = Project.at(project.home.root, project.home.data, "experiment")
    for day in DAYS[:2]:
        done = other.dagster("asset", "materialize", "-m", "mlops_assets.definitions", "--select", "*", "--partition", day)
        print(done.text[-3000:])
        print(other.heads())


@pytest.mark.slow
def test_a_single_partition_of_each_scope_at_a_time(project: Project, expected: Versions) -> None:
    done = project.materialize(NAME, REFERENCE)
    assert done.code == 0, done.text
    for day in DAYS:
        done = project.materialize(NAME, BATCH, "--partition", day)
        assert done.code == 0, done.text
    done = project.materialize(NAME, RELEASE, "--partition", NEWEST)
    assert done.code == 0, done.text
    assert project.heads() == expected
    assert project.told() == expected


@pytest.mark.slow
def test_a_backfill_and_a_release_from_the_ui(project: Project, expected: Versions, web: Web) -> None:
    run = web.launch(NAME, REFERENCE, {})
    assert run.status == "SUCCESS", run.sentences
    assert web.backfill(NAME, BATCH, DAYS) == "COMPLETED_SUCCESS"
    run = web.launch(NAME, RELEASE, {"dagster/partition": NEWEST})
    assert run.status == "SUCCESS", run.sentences

    assert project.heads() == expected
    assert project.told() == expected
    for stage, shown in web.shown(NAME, BATCH, DAYS).items():
        assert shown.status == dict.fromkeys(DAYS, "MATERIALIZED"), stage
        assert shown.stale == dict.fromkeys(DAYS, "FRESH"), stage
        assert shown.version == expected[f"{NAME}/{stage}"]
        assert set(shown.checks) and all(check == dict.fromkeys(DAYS, "SUCCEEDED") for check in shown.checks.values())
    for stage, shown in web.shown(NAME, RELEASE, [NEWEST]).items():
        assert (shown.materialized, shown.failed) == (1, 0)
        assert shown.stale == {NEWEST: "FRESH"}, stage
        assert shown.version == expected[f"{NAME}/{stage}"]
        assert set(shown.checks) and all(check == {NEWEST: "SUCCEEDED"} for check in shown.checks.values())


@pytest.mark.slow
def test_every_stage_of_a_partition_in_one_run_from_the_ui(project: Project, expected: Versions, web: Web) -> None:
    run = web.launch(NAME, [*REFERENCE, *BATCH], RANGE)
    assert run.status == "SUCCESS", run.sentences
    run = web.launch(NAME, [*REFERENCE, *BATCH, *RELEASE], {"dagster/partition": NEWEST})
    assert run.status == "SUCCESS", run.sentences
    assert run.steps == {f"{NAME}_{step}": "SUCCESS" for step in ("reference", "batches", "release")}
    assert project.heads() == expected
    assert project.told() == expected


@pytest.mark.slow
def test_a_refused_batch_is_red_and_green_once_it_is_mended(project: Project, web: Web) -> None:
    assert project.command("run", NAME).code == 0
    before, heads = web.shown(NAME, BATCH, DAYS), project.heads()
    file = project.home.data / NAME / "landing" / f"visits_{DAYS[1]}.csv"
    delivered = file.read_text()
    file.write_text(delivered.replace(",", ";"))

    assert web.backfill(NAME, BATCH, [DAYS[1]]) == "COMPLETED_FAILED"
    assert project.heads() == heads
    red = web.shown(NAME, BATCH, DAYS)
    for stage, shown in red.items():
        assert shown.status == {day: "FAILED" if day == DAYS[1] else "MATERIALIZED" for day in DAYS}, stage
        assert shown.version == before[stage].version
    print({stage: shown.checks for stage, shown in red.items()})
    assert red["raw/visits"].checks["readable"][DAYS[1]] == "FAILED"
    assert others(red) == others(before)

    file.write_text(delivered)
    assert web.backfill(NAME, BATCH, [DAYS[1]]) == "COMPLETED_SUCCESS"
    assert project.heads() == heads
    assert web.shown(NAME, BATCH, DAYS) == before


def others(shown: dict[str, Shown]) -> object:
    """What is shown of the days that nothing happened to."""
    kept = [day for day in DAYS if day != DAYS[1]]
    return {
        stage: [
            (each.status[day], each.stale[day], each.version[day], {name: check[day] for name, check in each.checks.items()})
            for day in kept
        ]
        for stage, each in shown.items()
    }
