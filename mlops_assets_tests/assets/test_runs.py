"""Bringing a dataset up to date: what is done, what is left alone, what is refused, and what Dagster hears of it."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from mlops_assets.assets.dagster_private import latest_check
from mlops_assets.assets.runs import Asked, Runner
from mlops_assets.errors import UserError
from mlops_assets_tests.assets.shop import (
    BATCH,
    DAYS,
    GATES,
    HASTE,
    NEWEST,
    RELEASE,
    Shop,
    counts,
    edited,
)
from mlops_assets_tests.datasets import (
    deliver_days,
    deliver_months,
    deliver_named,
    deliver_whole,
    write_contract,
    write_rows,
)

Lines = list[str]
EVERYTHING = 1 + len(BATCH) * len(DAYS) + len(RELEASE)


# Reuse.


def test_a_second_run_computes_nothing(built: Shop) -> None:
    summary = built.run()
    assert summary.outcomes == []
    assert (summary.current, summary.runs, summary.failed) == (EVERYTHING, 0, False)


def test_a_home_in_another_folder_is_as_current_as_before(shop: Shop) -> None:
    assert shop.run().outcomes == []


def test_what_changes_no_value_makes_nothing_stale(shop: Shop) -> None:
    shop.change("description: Visits to a shop", "# Written by hand.\n\ndescription: Visits to one")
    shop.change("owners: [team:shop]", "owners: [team:other]")
    shop.change("start: 2024-01-01", "start: 2024-01-01, end: 2024-01-31")
    assert shop.stale() == set()


def test_comments_and_layout_of_the_features_code_make_nothing_stale(shop: Shop) -> None:
    code = shop.folder / "features.py"
    code.write_text("# About visits.\n" + code.read_text().replace('"""Pages a minute."""', "# pages a minute\n"))
    assert shop.stale() == set()


def test_a_changed_computed_feature_makes_the_features_and_what_stands_on_them(shop: Shop) -> None:
    code = shop.folder / "features.py"
    code.write_text(code.read_text().replace("minutes + 1", "minutes + 2"))
    assert shop.stale() >= {"features"}
    assert shop.stale() & {"raw/visits", "raw/shops", "quarantine", "cleaned", "splits"} == set()
    summary = shop.run()
    assert counts(summary) == {"computed": {"features", *RELEASE}}
    assert not summary.failed


@pytest.mark.parametrize(
    ("old", "new", "done"),
    [
        # A rule of a column decides which rows exist; here it refuses none, so what stands on `cleaned` is left alone.
        (
            "maximum: 600",
            "maximum: 601",
            {"computed": {"raw/visits", "quarantine", "cleaned"}, "reused": {"splits", "features"}},
        ),
        ("warn_below: 0.5", "warn_below: 0.6", {"computed": {"cleaned"}, "reused": {"splits", "features"}}),
        # Features follow a column's roles; which they are changes no row before them.
        ("[minutes, pages, size, haste]", "[minutes, size, haste]", {"computed": {"features", *RELEASE}}),
        ("max_iter: 5", "max_iter: 6", {"computed": set(RELEASE) - {"split_report"}}),
        ("bootstrap: 20", "bootstrap: 21", {"computed": {"evaluation_report", "trained_model"}}),
        ("minimum: {roc_auc: 0.5}", "minimum: {roc_auc: 0.51}", {"audited": {"evaluation_report"}}),
        ("agreement: 0.5", "agreement: 0.51", {"audited": {"trained_model"}}),
        ("agreement: 0.5}", "agreement: 0.5}\nchecks: {twins: 0.5}", {"audited": {"split_report"}}),
        ("agreement: 0.5}", "agreement: 0.5}\nlimits: {refuse: 0.2}", {"audited": {"cleaned"}}),
    ],
)  # fmt: skip
def test_a_changed_setting_makes_exactly_what_depends_on_it(
    shop: Shop, old: str, new: str, done: dict[str, set[str]]
) -> None:
    before = shop.heads()
    shop.change(old, new)
    summary = shop.run()
    found = counts(summary)
    # Whatever stands below something that was looked at again is looked at, and found to be what it was.
    below = found.pop("reused", set()) - done.get("reused", set())
    assert below <= {"splits", "features", *RELEASE}
    assert found == {status: stages for status, stages in done.items() if status != "reused"}
    assert not summary.failed
    assert shop.stale() == set()
    if "computed" not in done or "cleaned" in done["computed"]:
        assert shop.heads() == before
    assert shop.told() == shop.heads()


def test_the_same_delivery_again_changes_nothing(shop: Shop) -> None:
    deliver_days(shop.folder, range(len(DAYS)), rows=100)
    assert shop.run().outcomes == []


def test_a_changed_delivery_makes_its_batch_and_the_release(shop: Shop) -> None:
    before = shop.heads()
    edited(shop.landing(DAYS[1]), lambda lines: lines[:-5])
    summary = shop.run()
    assert not summary.failed
    assert {(outcome.stage, outcome.batch) for outcome in summary.outcomes} == {
        *((stage, DAYS[1]) for stage in BATCH),
        *((stage, NEWEST) for stage in RELEASE),
    }
    after = shop.heads()
    changed = {
        (asset, batch)
        for asset, versions in after.items()
        for batch in versions
        if versions[batch] != before[asset][batch]
    }
    # No row was refused before or after, so the table of the refused is what it was.
    assert changed == {
        *((f"visits/{stage}", DAYS[1]) for stage in BATCH if stage != "quarantine"),
        *((f"visits/{stage}", NEWEST) for stage in RELEASE),
    }
    assert shop.told() == after


def test_going_back_to_an_earlier_delivery_computes_nothing(shop: Shop) -> None:
    before = shop.heads()
    delivered = edited(shop.landing(DAYS[1]), lambda lines: lines[:-5])
    assert not shop.run().failed
    shop.landing(DAYS[1]).write_text(delivered)
    summary = shop.run()
    assert set(counts(summary)) == {"reused"}
    assert shop.heads() == before
    assert shop.told() == before


def test_a_landing_file_that_is_gone_leaves_its_batch_as_it_is(shop: Shop) -> None:
    shop.landing(DAYS[1]).unlink()
    (shop.folder / "landing" / "shops.csv").unlink()
    summary = shop.run()
    assert (summary.outcomes, summary.current, summary.failed) == ([], EVERYTHING, False)


def test_one_more_day_makes_its_batch_and_a_release(shop: Shop) -> None:
    deliver_days(shop.folder, range(5), rows=100)
    summary = shop.run()
    assert not summary.failed
    assert {(outcome.stage, outcome.batch, outcome.status) for outcome in summary.outcomes} == {
        (stage, "2024-01-05", "computed") for stage in (*BATCH, *RELEASE)
    }
    assert set(shop.heads()["visits/trained_model"]) == {NEWEST, "2024-01-05"}


def test_a_file_of_the_store_that_is_cut_off_is_made_again(shop: Shop) -> None:
    before = shop.heads()
    manifest = shop.manifest("features", DAYS[0])
    assert manifest.blob is not None
    path = Path(shop.home.store) / manifest.blob.path
    path.chmod(0o644)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    shop.change("max_iter: 5", "max_iter: 6")  # something reads it
    run = shop.materialize(BATCH, DAYS[0])
    assert run.success
    assert path.read_bytes() == whole
    assert shop.heads() == before


# Refusal.


def without_column(lines: Lines) -> Lines:
    return [line.replace("minutes,", "minutos,") if number == 0 else line for number, line in enumerate(lines)]


def other_delimiter(lines: Lines) -> Lines:
    return [line.replace(",", ";") for line in lines]


def truncated(lines: Lines) -> Lines:
    return [*lines[:-1], lines[-1][: len(lines[-1]) // 2]]


def broken_rows(lines: Lines) -> Lines:
    return [
        ",".join([*line.split(",")[:3], "25x", *line.split(",")[4:]]) if number and number % 3 == 0 else line
        for number, line in enumerate(lines)
    ]


def rows_of_another_day(lines: Lines) -> Lines:
    return [line.replace(DAYS[1], DAYS[2]) if number in (4, 5) else line for number, line in enumerate(lines)]


FILE = f"landing/visits_{DAYS[1]}.csv"
BAD = {
    "without a column": (without_column, "raw/visits", "readable", [FILE, "'minutes'", "'minutos'"]),
    "with another delimiter": (other_delimiter, "raw/visits", "readable", [FILE, "';'", "dataset.yaml:5"]),
    "cut off": (truncated, "raw/visits", "complete", [FILE, "line 101"]),
    "with broken rows": (broken_rows, "cleaned", "rejected", [FILE, "line 4", "minutes", "'25x'"]),
    "of another day": (rows_of_another_day, "raw/visits", "in_batch", [FILE, "line 5", "day", DAYS[2], DAYS[1]]),
}


@pytest.mark.parametrize("trouble", list(BAD))
def test_a_bad_day_is_refused_told_of_and_mended(shop: Shop, trouble: str) -> None:
    spoil, stage, check, told = BAD[trouble]
    before = shop.heads()
    delivered = edited(shop.landing(DAYS[1]), spoil)

    done = shop.called("run", "visits")
    assert done.code == 1
    assert f"visits/{stage} [{DAYS[1]}] was refused by the check {check}: " in done.text
    for word in told:
        assert word in done.text, word
    heads = shop.heads()
    kept = [each for each in BATCH if f"visits/{each}" in heads and each not in _published_nevertheless(stage)]
    assert {each: heads[f"visits/{each}"] for each in kept} == {each: before[f"visits/{each}"] for each in kept}
    assert _others(heads) == _others(before)
    assert {stage: heads[f"visits/{stage}"] for stage in RELEASE} == {
        stage: before[f"visits/{stage}"] for stage in RELEASE
    }

    again = shop.called("run", "visits")
    assert again.code == 1
    assert f"was refused by the check {check}: " in again.text
    for word in told:
        assert word in again.text, word
    assert shop.heads() == heads

    shop.landing(DAYS[1]).write_text(delivered)
    mended = shop.called("run", "visits")
    assert mended.code == 0, mended.text
    assert shop.heads() == before
    assert shop.told() == before
    with shop.instance() as instance:
        key = dg.AssetCheckKey(dg.AssetKey(["visits", *stage.split("/")]), check)
        record = latest_check(instance, key, DAYS[1])
        assert record is not None
        assert record.status is AssetCheckExecutionRecordStatus.SUCCEEDED
    assert shop.run().outcomes == []


def _published_nevertheless(refused: str) -> set[str]:
    """What a batch publishes although a stage of it was refused: what came in, and the refused rows."""
    return {"raw/visits", "quarantine"} if refused == "cleaned" else set()


def _others(heads: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    return {
        asset: {batch: version for batch, version in versions.items() if batch != DAYS[1]}
        for asset, versions in heads.items()
    }


def test_of_a_batch_with_broken_rows_none_is_lost(shop: Shop) -> None:
    edited(shop.landing(DAYS[1]), lambda lines: [*broken_rows(lines), lines[1], lines[2]])
    assert shop.called("run", "visits").code == 1
    raw, quarantine = shop.manifest("raw/visits", DAYS[1]), shop.manifest("quarantine", DAYS[1])
    found = quarantine.facts["sources"]["visits"]
    assert raw.rows == 102
    assert (found["raw"], found["quarantined"], found["duplicates"], found["accepted"]) == (102, 33, 2, 67)
    assert quarantine.rows == 33
    (verdict,) = (each for each in quarantine.verdicts if each["check"] == "conservation")
    assert (verdict["check"], verdict["passed"]) == ("conservation", True)


def test_downstream_of_a_refusal_stands_on_the_last_good_version_and_says_so(shop: Shop) -> None:
    edited(shop.landing(DAYS[1]), other_delimiter)
    assert shop.called("run", "visits").code == 1
    shop.change("[minutes, pages, size, haste]", "[minutes, size, haste]")
    done = shop.called("run", "visits", "--select", "features", "--partition", DAYS[1])
    assert done.code == 0, done.text
    assert f"computed visits/features [{DAYS[1]}]" in done.text
    version = shop.heads()["visits/raw/visits"][DAYS[1]]
    said = f"Stands on the last good version {version[:15]} of visits/raw/visits [{DAYS[1]}]; a newer one was refused: "
    with shop.instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["visits", "features"]))
        assert event is not None
        assert event.asset_materialization is not None
        notes = event.asset_materialization.metadata["notes"].value
    assert said in str(notes)
    again = shop.called("run", "visits", "--select", "features", "--partition", DAYS[1])
    assert again.code == 0
    assert f"Note: {said}" in again.text


def test_downstream_of_what_was_never_accepted_is_refused(shop: Shop) -> None:
    deliver_days(shop.folder, range(5), rows=100)
    edited(shop.landing("2024-01-05"), other_delimiter)
    assert shop.called("run", "visits").code == 1
    done = shop.called("run", "visits", "--select", "features", "--partition", "2024-01-05")
    assert done.code == 1
    said = "visits/features [2024-01-05] stands on visits/cleaned [2024-01-05], of which no version was ever accepted."
    assert said in done.text


def test_a_release_is_refused_while_a_batch_it_would_see_was_never_accepted(shop: Shop) -> None:
    deliver_days(shop.folder, range(6), rows=100)
    edited(shop.landing("2024-01-05"), other_delimiter)
    before = {stage: shop.heads()[f"visits/{stage}"] for stage in RELEASE}
    done = shop.called("run", "visits")
    assert done.code == 1
    assert {stage: shop.heads()[f"visits/{stage}"] for stage in RELEASE} == before
    assert "visits/raw/visits [2024-01-05] was delivered but never accepted: " in done.text
    assert "Mend the delivery, or take it out of the landing folder." in done.text
    shop.landing("2024-01-05").unlink()
    assert shop.called("run", "visits").code == 0
    assert "2024-01-06" in shop.heads()["visits/trained_model"]


def test_a_refused_day_among_good_ones_is_refused_alone(shop: Shop, tmp_path: Path) -> None:
    undisturbed = shop.copy(tmp_path / "undisturbed")
    for each in (shop, undisturbed):
        deliver_days(each.folder, range(7), rows=100)
    delivered = edited(shop.landing("2024-01-06"), lambda lines: broken_rows(other_delimiter(lines)))
    assert not undisturbed.run().failed

    summary = shop.run(releases=())
    assert summary.runs == 1  # a range
    assert {(each.batch, each.status) for each in summary.outcomes} == {
        ("2024-01-05", "computed"),
        ("2024-01-06", "refused"),
        ("2024-01-06", "stopped"),
        ("2024-01-07", "computed"),
    }
    expected = undisturbed.heads()
    for stage in BATCH:
        expected[f"visits/{stage}"].pop("2024-01-06")
    for stage in RELEASE:
        expected[f"visits/{stage}"].pop("2024-01-07")
    assert shop.heads() == expected
    assert shop.told() == expected

    shop.landing("2024-01-06").write_text(delivered)
    assert not shop.run().failed
    assert shop.heads() == undisturbed.heads()
    assert shop.told() == undisturbed.heads()


def test_a_gate_that_fails_keeps_the_release_that_was(shop: Shop) -> None:
    before = shop.heads()
    shop.change("minimum: {roc_auc: 0.5}", "minimum: {roc_auc: 0.998}")
    done = shop.called("run", "visits")
    assert done.code == 1
    assert f"visits/evaluation_report [{NEWEST}] was refused by the check minimum: " in done.text
    assert f"visits/trained_model [{NEWEST}] was not tried: " in done.text
    assert shop.heads() == before
    assert (shop.home.reports / "visits" / NEWEST / "refused-report.html").is_file()
    shop.change("minimum: {roc_auc: 0.998}", "minimum: {roc_auc: 0.5}")
    assert shop.called("run", "visits").code == 0
    assert shop.told() == before
    with shop.instance() as instance:
        key = dg.AssetCheckKey(dg.AssetKey(["visits", "evaluation_report"]), "minimum")
        record = latest_check(instance, key, NEWEST)
        assert record is not None
        assert record.status is AssetCheckExecutionRecordStatus.SUCCEEDED


def test_code_of_the_dataset_that_fails_is_told_in_full_and_publishes_nothing(shop: Shop) -> None:
    before = shop.heads()
    code = shop.folder / "features.py"
    code.write_text(code.read_text().replace("pages / (minutes + 1)", "pages / minuts"))
    done = shop.called("run", "visits", "--partition", DAYS[0])
    assert done.code == 1
    assert "minuts" in done.text
    assert "nothing to do" not in done.text
    assert shop.heads() == before


# What is asked for.


def test_only_what_is_asked_for_is_done(tmp_path: Path) -> None:
    folder = write_contract(tmp_path / "data", **GATES)
    deliver_days(folder, range(3), rows=20)
    fresh = Shop.in_folder(tmp_path)
    fresh.run(batches=(DAYS[1],), stages=("raw/visits",))
    assert fresh.heads() == {"visits/raw/visits": fresh.heads()["visits/raw/visits"]}
    assert set(fresh.heads()["visits/raw/visits"]) == {DAYS[1]}
    fresh.run(batches=(DAYS[1],))
    assert {asset: set(batches) for asset, batches in fresh.heads().items()} == {
        "visits/raw/shops": {"all"},
        **{f"visits/{stage}": {DAYS[1]} for stage in BATCH},
    }


def test_what_does_not_exist_is_refused_with_a_sentence(built: Shop) -> None:
    with built.entered():
        with pytest.raises(UserError, match="visits has no stage 'featurs'; it has: raw/visits, raw/shops, quarantine"):
            Runner(built.graph(), built.home).run(Asked(stages=frozenset({"featurs"})))
        with pytest.raises(UserError, match="'2024-13-01' does not exist in the calendar; write it like 2013-03-09"):
            Runner(built.graph(), built.home).run(Asked(batches=("2024-13-01",)))
        with pytest.raises(UserError, match="'January' is not a day"):
            Runner(built.graph(), built.home).run(Asked(releases=("January",)))


def test_the_first_batch_alone_makes_no_release_yet(tmp_path: Path) -> None:
    deliver_days(write_contract(tmp_path / "data", **GATES), range(1), rows=20)
    fresh = Shop.in_folder(tmp_path)
    done = fresh.called("run", "visits")
    assert done.code == 0, done.text
    assert f"Note: No release yet: Release {DAYS[0]} of visits has nothing to train on: " in done.text
    done = fresh.called("run", "visits", "--release", DAYS[0])
    assert done.code == 1
    assert f"- Release {DAYS[0]} of visits has nothing to train on: " in done.text
    assert set(fresh.heads()) == {"visits/raw/shops", *(f"visits/{stage}" for stage in BATCH)}


def test_dagster_hears_of_everything_again_when_its_home_is_new(shop: Shop, tmp_path: Path) -> None:
    (shop.home.root / "dagster").rename(tmp_path / "lost")
    summary = shop.run()
    assert set(counts(summary)) == {"reused"}
    assert len(summary.outcomes) == EVERYTHING
    assert shop.told() == shop.heads()
    assert shop.run().outcomes == []


# Other shapes of datasets.


def whole(folder: Path) -> object:
    return deliver_whole(write_contract(folder, cadence="none", **GATES))


def named(folder: Path) -> object:
    return deliver_named(write_contract(folder, cadence="named", **GATES), ["berlin", "köln a-b", "ulm"], rows=120)


def monthly(folder: Path) -> object:
    return deliver_months(write_contract(folder, cadence="monthly", **GATES), (1, 2, 4))


@pytest.mark.parametrize(
    ("deliver", "batches"),
    [
        (whole, ["all"]),
        (named, ["berlin", "köln a-b", "ulm"]),
        (monthly, ["2024-01", "2024-02", "2024-04"]),
    ],
)
def test_other_batches_end_to_end(tmp_path: Path, deliver: Callable[[Path], object], batches: list[str]) -> None:
    deliver(tmp_path / "data")
    fresh = Shop.in_folder(tmp_path)
    summary = fresh.run()
    assert not summary.failed, (summary.crashes, [each.sentences for each in summary.outcomes])
    assert {asset: sorted(versions) for asset, versions in fresh.heads().items()} == {
        "visits/raw/shops": ["all"],
        **{f"visits/{stage}": batches for stage in BATCH},
        **{f"visits/{stage}": batches[-1:] for stage in RELEASE},
    }
    assert fresh.told() == fresh.heads()
    assert fresh.run().outcomes == []
    spoiled = next(path for path in sorted((fresh.folder / "landing").iterdir()) if path.name.startswith("visits"))
    before, delivered = fresh.heads(), edited(spoiled, other_delimiter)
    assert fresh.called("run", "visits").code == 1
    assert fresh.heads() == before
    spoiled.write_text(delivered)
    assert fresh.called("run", "visits").code == 0
    assert fresh.told() == before


def test_two_datasets_in_one_home_leave_each_other_alone(shop: Shop) -> None:
    before = shop.heads()
    other = write_contract(shop.home.data, "orders", **HASTE, **GATES)
    (other / "features.py").write_text((shop.folder / "features.py").read_text().replace("+ 1", "+ 3"))
    deliver_days(other, range(2), rows=30)
    write_rows(other / "landing" / f"visits_{DAYS[0]}.csv", ["not a visit"])
    done = shop.called("run")
    assert done.code == 1
    assert "visits: nothing to do" in done.text
    assert {asset: versions for asset, versions in shop.heads().items() if asset.startswith("visits/")} == before


def test_the_same_versions_come_of_any_number_of_threads_in_any_folder(built: Shop, tmp_path: Path) -> None:
    """In a process of its own, because libraries take their number of threads when they are loaded."""
    shutil.copytree(built.home.data, tmp_path / "elsewhere" / "data")
    other = Shop.in_folder(tmp_path / "elsewhere")
    done = subprocess.run(
        [sys.executable, "-m", "mlops_assets.cli", "run", "visits"],
        env=other.environment | {"OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert other.heads() == built.heads()
    assert {each.count("b3:") for versions in other.heads().values() for each in versions.values()} == {1}
