"""Every door leads through the same step: the command, ``dagster``, and the UI with its daemon publish the same."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from mlops_assets_tests.datasets import deliver_days, write_contract
from mlops_assets_tests.doors import Project, Shown, Versions, Web

DEFINITIONS = "mlops_assets.definitions"
NAME = "visits"
REFERENCE = ("raw/shops",)
BATCH = ("raw/visits", "quarantine", "cleaned", "splits", "features")
RELEASE = ("split_report", "candidate_model", "evaluation_report", "trained_model")
DAYS = ("2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04")
NEWEST, REFUSED = DAYS[-1], DAYS[1]
RANGE = {"dagster/asset_partition_range_start": DAYS[0], "dagster/asset_partition_range_end": NEWEST}

BATCH_KEYS = {f"{NAME}/{stage}": set(DAYS) for stage in BATCH}
EVERYTHING = {f"{NAME}/raw/shops": {"all"}, **BATCH_KEYS, **{f"{NAME}/{stage}": {NEWEST} for stage in RELEASE}}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A dataset whose releases pass, and a home that nothing was made in."""
    folder = write_contract(tmp_path / "data", NAME)
    # So few rows cannot show more than that the trees beat no model at all.
    text = (folder / "dataset.yaml").read_text()
    assert "0.999}}" in text
    (folder / "dataset.yaml").write_text(text.replace("0.999}}", "0.999}, beat: [prior], agreement: 0.5}"))
    deliver_days(folder, range(len(DAYS)), rows=100)
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


@pytest.mark.slow
def test_a_range_and_then_every_stage_of_a_partition_in_one_run(project: Project, expected: Versions) -> None:
    done = project.materialize(NAME, [*REFERENCE, *BATCH], "--partition-range", f"{DAYS[0]}...{DAYS[-2]}")
    assert done.code == 0, done.text
    done = project.dagster("asset", "materialize", "-m", DEFINITIONS, "--select", "*", "--partition", NEWEST)
    assert done.code == 0, done.text
    assert "skipped" not in done.text.lower()
    assert project.heads() == expected
    assert project.told() == expected


def test_dagster_validates_the_definitions(project: Project) -> None:
    done = project.dagster("definitions", "validate", "-m", DEFINITIONS)
    assert done.code == 0, done.text
    assert "All code locations passed validation" in done.text


def test_a_range_without_its_reference_is_refused_with_a_sentence(project: Project) -> None:
    done = project.materialize(NAME, BATCH, "--partition-range", f"{DAYS[0]}...{NEWEST}")
    assert done.code == 1
    assert f"{NAME}/cleaned [{NEWEST}] stands on {NAME}/raw/shops, of which no version was ever accepted." in done.text
    assert {asset for asset in project.heads() if project.heads()[asset]} == {
        f"{NAME}/raw/visits",
        f"{NAME}/quarantine",
    }


def test_a_bare_dagster_publishes_what_the_command_publishes(project: Project, tmp_path: Path) -> None:
    other = Project.at(tmp_path / "command", project.home.data)
    done = other.command("run", NAME, "--partition", NEWEST)
    assert done.code == 0, done.text
    done = project.materialize(NAME, [*REFERENCE, *BATCH], "--partition-range", f"{NEWEST}...{NEWEST}")
    assert done.code == 0, done.text
    assert set(project.heads()) == {f"{NAME}/raw/shops", *BATCH_KEYS}
    assert project.heads() == project.told() == other.heads() == other.told()
    # of a range, too, Dagster must know which batch a verdict is about
    assert project.verdict(f"{NAME}/quarantine", "conservation", NEWEST) == "SUCCEEDED"
    assert project.verdict(f"{NAME}/raw/shops", "readable", None) == "SUCCEEDED"


def test_no_step_below_is_skipped_on_another_branch(project: Project) -> None:
    other = Project.at(project.home.root, project.home.data, "experiment")
    done = other.materialize(NAME, [*REFERENCE, *BATCH], "--partition", NEWEST)
    assert done.code == 0, done.text
    assert {asset for asset, versions in other.heads().items() if versions} == {f"{NAME}/raw/shops", *BATCH_KEYS}
    assert not any(other.told().values())
    assert not any(project.heads().values())


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
    for days, stages in ((list(DAYS), BATCH), ([NEWEST], RELEASE)):
        for stage, shown in web.shown(NAME, stages, days).items():
            assert shown.good(days), (stage, shown)
            assert (shown.materialized, shown.failed) == (len(days), 0)
            assert shown.version == expected[f"{NAME}/{stage}"]


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
    file = project.home.data / NAME / "landing" / f"visits_{REFUSED}.csv"
    delivered = file.read_text()
    file.write_text(delivered.replace(",", ";"))

    run = web.launch(NAME, BATCH, {"dagster/partition": REFUSED})
    assert run.status == "FAILURE"
    assert f"{NAME}/raw/visits [{REFUSED}] was refused by the check readable" in run.sentences
    red = web.shown(NAME, BATCH, DAYS)
    for stage, shown in red.items():
        assert shown.status == {day: "FAILED" if day == REFUSED else "MATERIALIZED" for day in DAYS}, stage
        assert shown.version == before[stage].version
        assert "SUCCEEDED" not in {check[REFUSED] for check in shown.checks.values()}
    assert red["raw/visits"].checks["readable"][REFUSED] == "FAILED"
    assert others(red) == others(before)
    assert project.heads() == heads
    assert web.backfill(NAME, BATCH, [REFUSED]) == "COMPLETED_FAILED"

    file.write_text(delivered)
    assert web.backfill(NAME, BATCH, [REFUSED]) == "COMPLETED_SUCCESS"
    assert web.shown(NAME, BATCH, DAYS) == before
    assert project.heads() == heads == project.told()


def others(shown: Mapping[str, Shown]) -> object:
    """What is shown of the days that nothing happened to."""
    return {
        (stage, day): (
            each.status[day],
            each.stale[day],
            each.version[day],
            [check[day] for check in each.checks.values()],
        )
        for stage, each in shown.items()
        for day in DAYS
        if day != REFUSED
    }
