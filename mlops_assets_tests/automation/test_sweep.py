"""The net below all events: what was missed is asked for, and the UI hears what is not up to date."""

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from mlops_assets.assets.dagster_private import latest_check, latest_materializations
from mlops_assets.assets.unreported import all_marked, mark
from mlops_assets.automation import verdicts
from mlops_assets.automation.memory import kept_in, place
from mlops_assets.automation.sweep import Swept, sensors, tick
from mlops_assets.automation.tags import CLAIM, DATASET
from mlops_assets.home import Home
from mlops_assets_tests.assets.shop import BATCH, DAYS, NEWEST, RELEASE, Shop, edited
from mlops_assets_tests.automation.clockwork import Clockwork, asked, let_time_pass, stages
from mlops_assets_tests.datasets import deliver_named, write_contract

EVERYTHING = 1 + len(BATCH) * len(DAYS) + len(RELEASE)
ALL_CURRENT = f"All {EVERYTHING} versions are current."
ITS_RELEASE = "What is left is the newest release, which is asked for as the contract says."


@pytest.fixture
def works(shop: Shop) -> Iterator[Clockwork]:
    """What was built, with its Dagster home open."""
    with Clockwork.of(shop) as found:
        yield found


def sweep(works: Clockwork, cursor: str | None = None, after: float = 60.0) -> Swept:
    works.now += after
    return tick(works.shop.graph(), works.shop.home, works.instance, cursor, works.now)


def take_in(shop: Shop) -> None:
    """Enter what lies in the landing folder, as the sensor for new data does before it asks for anything."""
    shop.plan().landing.take_in("somebody")


def shorter(shop: Shop, *days: str) -> None:
    for day in days:
        edited(shop.landing(day), lambda lines: lines[:-1])


def key(stage: str) -> dg.AssetKey:
    return dg.AssetKey(["visits", *stage.split("/")])


def verdict(works: Clockwork, stage: str, batch: str | None) -> dg.AssetCheckEvaluation | None:
    """What Dagster holds of ``up_to_date``; asserts that it is about the version that Dagster holds for newest."""
    record = latest_check(works.instance, dg.AssetCheckKey(key(stage), "up_to_date"), batch)
    if record is None or record.evaluation is None:
        return None
    only = None if batch is None else [batch]
    newest = latest_materializations(works.instance, key(stage), only)[batch]
    assert record.evaluation.target_materialization_data == newest
    return record.evaluation


def passed(works: Clockwork, stage: str, batch: str | None = NEWEST) -> bool | None:
    found = verdict(works, stage, batch)
    return None if found is None else found.passed


def told(works: Clockwork) -> int:
    """How many verdicts of ``up_to_date`` Dagster was told outside of runs."""
    return len(works.instance.all_logs("", of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION))


# What is asked for.


def test_what_is_current_is_looked_at_once(works: Clockwork) -> None:
    let_time_pass(works.shop)
    first = sweep(works)
    assert (first.requests, first.said) == ([], ALL_CURRENT)
    again = sweep(works, first.cursor)
    assert again.requests == []
    assert again.said.startswith(f"{ALL_CURRENT} Nothing has changed since ")
    assert again.cursor == first.cursor
    assert sweep(works, first.cursor, after=4000).said == ALL_CURRENT


def test_a_file_that_was_taken_away_is_a_change(works: Clockwork) -> None:
    let_time_pass(works.shop)
    before = sweep(works).cursor
    works.shop.landing(DAYS[1]).unlink()
    let_time_pass(works.shop)
    assert " Nothing has changed since " not in sweep(works, before).said


@pytest.mark.parametrize("lost", [None, "", "{", "[]", '{"seen": 1}'])
def test_a_lost_cursor_costs_a_look(works: Clockwork, lost: str | None) -> None:
    assert sweep(works, lost).said == ALL_CURRENT


def test_another_setting_is_found_and_asked_for_in_one_run(works: Clockwork) -> None:
    before = sweep(works).cursor
    works.shop.change("maximum: 600", "maximum: 601")
    found = sweep(works, before)
    (request,) = found.requests
    assert (asked([request]), stages(request)) == ([f"{DAYS[0]}..{NEWEST}"], list(BATCH))
    assert request.tags[CLAIM].startswith("sweep:")
    assert request.tags[DATASET] == "visits"
    days = f"{DAYS[0]}..{NEWEST}"
    assert found.said == (
        f"12 stale, 12 waiting, 1 current. raw/visits [{days}]: Its setting source.columns.minutes.maximum changed: "
        f"600 -> 601. quarantine, cleaned [{days}]: Its setting columns.visits.minutes.maximum changed: 600 -> 601. "
        f"splits, features [{days}]: It stands on visits/raw/visits [{DAYS[0]}], which is stale. And 1 more reason "
        "(mlops-assets status visits). Asked for 1 run."
    )
    assert works.do(found.requests) == [True]
    assert sweep(works, found.cursor).said == ALL_CURRENT


def test_only_the_stages_that_are_due_are_asked_for(works: Clockwork) -> None:
    code = works.shop.folder / "features.py"
    code.write_text(code.read_text().replace("minutes + 1", "minutes + 2"))
    found = sweep(works)
    assert [stages(request) for request in found.requests] == [["features"]]
    assert works.do(found.requests) == [True]
    left = sweep(works, found.cursor)
    assert left.requests == []
    assert left.said.startswith(
        f"4 stale, 21 current. split_report, evaluation_report, trained_model [{NEWEST}]: Its input visits/features "
        f"[{DAYS[0]}]"
    )
    assert left.said.endswith(f" Nothing was asked for. {ITS_RELEASE}")


def test_a_delivery_that_everybody_missed(works: Clockwork) -> None:
    before = sweep(works).cursor
    shorter(works.shop, DAYS[1])
    # what only lies there may still be growing, and is no delivery before it was entered
    assert sweep(works, before).requests == []
    take_in(works.shop)
    found = sweep(works, before)
    assert asked(found.requests) == [DAYS[1]]
    works.do(found.requests)
    assert sweep(works, found.cursor).requests == []
    assert set(works.shop.stale()) == set(RELEASE)


def test_reference_tables_come_before_what_stands_on_them(works: Clockwork) -> None:
    edited(works.shop.folder / "landing" / "shops.csv", lambda lines: [*lines[:-1], "west,250\n"])
    take_in(works.shop)
    found = sweep(works)
    assert [(asked([each]), stages(each)) for each in found.requests] == [(["all"], ["raw/shops"])]
    works.do(found.requests)
    found = sweep(works, found.cursor)
    assert [(asked([each]), stages(each)) for each in found.requests] == [
        ([f"{DAYS[0]}..{NEWEST}"], ["cleaned", "splits", "features"])
    ]


def test_no_more_than_the_limit_is_asked_for_at_once(works: Clockwork) -> None:
    works.shop.contract.write_text(works.shop.contract.read_text() + "automation: {limit: 3}\n")
    works.shop.change("maximum: 600", "maximum: 601")
    found = sweep(works)
    assert asked(found.requests) == [f"{DAYS[0]}..{DAYS[2]}"]
    assert found.said.endswith("Asked for 1 run. 1 more batch asked for afterwards.")
    works.do(found.requests)
    found = sweep(works, found.cursor)
    assert asked(found.requests) == [NEWEST]


def test_it_waits_for_what_it_asked_for(works: Clockwork) -> None:
    works.shop.change("maximum: 600", "maximum: 601")
    tags = {DATASET: "visits", CLAIM: "sweep:0123456789abcdef:2024-01-01"}
    run = works.instance.add_run(dg.DagsterRun("a-job", status=dg.DagsterRunStatus.STARTED, tags=tags))
    found = sweep(works, "cursor")
    assert (found.requests, found.cursor) == ([], "cursor")
    assert found.said == f"Waits for 1 run that it asked for before, such as {run.run_id[:8]}."
    works.instance.report_run_canceled(run)
    assert len(sweep(works).requests) == 1


def test_what_others_are_making_is_left_to_them(works: Clockwork) -> None:
    works.shop.change("maximum: 600", "maximum: 601")
    works.instance.add_run(
        dg.DagsterRun(
            "a-job",
            status=dg.DagsterRunStatus.STARTED,
            asset_selection=frozenset({key("features")}),
            tags={"dagster/partition": DAYS[1]},
        )
    )
    found = sweep(works)
    assert asked(found.requests) == [DAYS[0], f"{DAYS[2]}..{NEWEST}"]
    assert found.said.endswith("Asked for 2 runs. 1 batch being made by other runs.")
    assert passed(works, "features", DAYS[0]) is False
    assert passed(works, "features", DAYS[1]) is True


def test_what_was_refused_is_not_asked_for_again(works: Clockwork) -> None:
    edited(works.shop.landing(DAYS[1]), lambda lines: [line.replace(",", ";") for line in lines])
    take_in(works.shop)
    found = sweep(works)
    assert works.do(found.requests) == [False]
    let_time_pass(works.shop)
    found = sweep(works, found.cursor)
    assert found.requests == []
    refused = f"visits/raw/visits [{DAYS[1]}] was refused by the check readable: "
    assert found.said.startswith(f"1 refused, 24 current. raw/visits [{DAYS[1]}]: {refused}")
    assert found.said.endswith(
        "Nothing was asked for. What was refused or lacks a delivery is asked for when that is mended."
    )
    assert passed(works, "raw/visits", DAYS[1]) is False
    again = sweep(works, found.cursor)
    assert again.requests == []
    assert " Nothing has changed since " in again.said


def test_what_broke_off_is_asked_for_again_alone_after_pauses_and_not_for_ever(works: Clockwork) -> None:
    works.shop.change("maximum: 600", "maximum: 601")
    everything = f"{DAYS[0]}..{NEWEST}"
    first = sweep(works)
    assert asked(first.requests) == [everything]
    # nothing came of it
    too_soon = sweep(works, first.cursor, after=5)
    assert too_soon.requests == []
    assert f"{DAYS[0]} broke off and is tried again in 5 s." in too_soon.said
    assert "The same goes for 1 more." in too_soon.said
    second = sweep(works, too_soon.cursor, after=10)
    assert asked(second.requests) == [DAYS[0], f"{DAYS[1]}..{NEWEST}"]
    assert sweep(works, second.cursor, after=20).requests == []
    third = sweep(works, second.cursor, after=20)
    assert {request.run_key for request in third.requests}.isdisjoint(request.run_key for request in second.requests)
    # of these the second range came well
    assert works.do(third.requests[1:]) == [True]
    let_time_pass(works.shop)
    last = sweep(works, third.cursor)
    assert last.requests == []
    assert f"{DAYS[0]} was tried 3 times and broke off each time" in last.said
    assert " Nothing has changed since " in sweep(works, last.cursor).said
    # what is to be made is another thing now
    works.shop.change("maximum: 601", "maximum: 602")
    assert asked(sweep(works, last.cursor).requests) == [everything]


def test_what_waits_to_be_tried_again_counts_as_asked_for(works: Clockwork) -> None:
    works.shop.contract.write_text(works.shop.contract.read_text() + "automation: {limit: 3}\n")
    works.shop.change("maximum: 600", "maximum: 601")
    assert asked(sweep(works).requests) == [f"{DAYS[0]}..{DAYS[2]}"]
    waits = sweep(works, after=5)
    assert waits.requests == []
    assert waits.said.endswith("1 more batch asked for afterwards.")
    sweep(works)
    sweep(works)
    # three times in vain: now it is the turn of the rest
    last = sweep(works)
    assert asked(last.requests) == [NEWEST]
    assert f"{DAYS[0]} was tried 3 times" in last.said


def test_what_dagster_was_never_told_is_reported_again(works: Clockwork) -> None:
    shop = works.shop
    mark(shop.home, "main", "visits/cleaned", DAYS[2])
    found = sweep(works)
    assert [(asked([each]), stages(each)) for each in found.requests] == [([DAYS[2]], ["cleaned"])]
    assert works.do(found.requests) == [True]
    assert all_marked(shop.home, "main", "visits/cleaned") == {}
    assert sweep(works, found.cursor).said == ALL_CURRENT


def test_a_refusal_that_no_longer_holds_is_cleared(works: Clockwork) -> None:
    shop = works.shop
    mark(shop.home, "main", "visits/raw/visits", DAYS[2], "again")
    found = sweep(works)
    assert [(asked([each]), stages(each)) for each in found.requests] == [([DAYS[2]], ["raw/visits"])]


def test_named_batches_are_made_known_to_dagster(tmp_path: Path) -> None:
    shop = Shop.in_folder(tmp_path)
    deliver_named(write_contract(shop.home.data, cadence="named"), ["amber", "beryl"], rows=5)
    take_in(shop)
    with Clockwork.of(shop) as works:
        works.do(sweep(works).requests)
        graph = shop.graph()
        (sensor,) = sensors({"visits": graph.contract}, shop.home)
        with dg.build_sensor_context(instance=works.instance) as context:
            result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        assert asked(result.run_requests or []) == ["amber", "beryl"]
        (added,) = result.dynamic_partitions_requests or []
        assert (added.partitions_def_name, list(added.partition_keys)) == ("visits_batches", ["amber", "beryl"])


def test_the_sensor_runs_by_itself_unless_the_contract_says_no(works: Clockwork) -> None:
    graph = works.shop.graph()
    (sensor,) = sensors({"visits": graph.contract}, works.shop.home)
    assert (sensor.name, sensor.minimum_interval_seconds) == ("visits_sweep", 60)
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    with dg.build_sensor_context(instance=works.instance) as context:
        result = sensor(context)
    assert isinstance(result, dg.SensorResult)
    assert result.skip_reason == dg.SkipReason(ALL_CURRENT)
    assert json.loads(str(result.cursor))["said"] == ALL_CURRENT
    works.shop.contract.write_text(works.shop.contract.read_text() + "automation: {enabled: false}\n")
    (sensor,) = sensors({"visits": works.shop.graph().contract}, works.shop.home)
    assert sensor.default_status is dg.DefaultSensorStatus.STOPPED


# What Dagster is told.


def test_a_verdict_is_told_when_it_changes_and_only_then(works: Clockwork) -> None:
    assert passed(works, "cleaned", DAYS[0]) is True  # told by the run that made it
    sweep(works)
    assert told(works) == 0
    works.shop.change("max_iter: 5", "max_iter: 6")
    sweep(works)
    assert told(works) == 3
    found = verdict(works, "candidate_model", NEWEST)
    assert found is not None
    assert (found.passed, found.severity, found.blocking) == (False, dg.AssetCheckSeverity.WARN, False)
    said = "Its setting models[name=boosted_trees].settings.max_iter changed: 5 -> 6."
    assert found.description == said
    assert found.metadata["reasons"].value == f"- {said}"
    assert passed(works, "evaluation_report") is False
    assert passed(works, "features") is True
    sweep(works)
    assert told(works) == 3
    works.shop.change("max_iter: 6", "max_iter: 5")
    sweep(works)
    assert told(works) == 6
    assert [passed(works, stage) for stage in RELEASE] == [True] * len(RELEASE)
    sweep(works)
    assert told(works) == 6


def test_other_reasons_are_told_too(works: Clockwork) -> None:
    works.shop.change("max_iter: 5", "max_iter: 6")
    sweep(works)
    works.shop.change("max_iter: 6", "max_iter: 7")
    sweep(works)
    found = verdict(works, "candidate_model", NEWEST)
    assert found is not None
    assert str(found.description).endswith("max_iter changed: 5 -> 7.")


def test_what_was_made_since_was_told_by_its_run(works: Clockwork) -> None:
    works.shop.change("max_iter: 5", "max_iter: 6")
    sweep(works)
    before = told(works)
    works.shop.run()
    assert passed(works, "trained_model") is True
    assert sweep(works).said == ALL_CURRENT
    assert told(works) == before
    assert not any(kept_in(place(works.shop.home, "visits", "up_to_date")).values())


def test_of_a_reference_table_too(works: Clockwork) -> None:
    edited(works.shop.folder / "landing" / "shops.csv", lambda lines: [*lines[:-1], "west,250\n"])
    take_in(works.shop)
    assert passed(works, "raw/shops", None) is True
    sweep(works)
    assert passed(works, "raw/shops", None) is False


def test_many_verdicts_are_told_tick_by_tick(works: Clockwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "AT_ONCE", 10)
    works.shop.change("maximum: 600", "maximum: 601")
    found = sweep(works)
    assert told(works) == 10
    assert found.said.endswith("14 verdicts of up_to_date are told in the next ticks.")
    found = sweep(works, found.cursor)
    assert told(works) == 20
    assert found.said.endswith("4 verdicts of up_to_date are told in the next ticks.")
    sweep(works, found.cursor)
    sweep(works)
    assert told(works) == 24


def test_a_lost_memory_repeats_what_was_told(works: Clockwork) -> None:
    works.shop.change("max_iter: 5", "max_iter: 6")
    sweep(works)
    place(works.shop.home, "visits", "up_to_date").unlink()
    sweep(works)
    assert told(works) == 6
    assert passed(works, "candidate_model") is False


def test_what_dagster_has_no_version_of_is_not_judged(shop: Shop) -> None:
    shop.change("max_iter: 5", "max_iter: 6")
    empty = Shop(Home(root=shop.home.root, data=shop.home.data, dagster_home=shop.home.root / "other"))
    with Clockwork.of(empty) as works:
        sweep(works)
        assert told(works) == 0
    assert not any(kept_in(place(shop.home, "visits", "up_to_date")).values())


def test_another_branch_is_told_nothing(works: Clockwork) -> None:
    from mlops_assets.store.branching import create_branch
    from mlops_assets.store.store import Store

    shop = works.shop
    create_branch(Store.open(shop.home.store), "experiment", "main")
    shop.change("max_iter: 5", "max_iter: 6")
    home = Home(root=shop.home.root, data=shop.home.data, branch="experiment")
    found = tick(shop.graph(), home, works.instance, None, works.now)
    assert found.said.startswith("2 stale, 1 waiting, 22 current.")
    assert told(works) == 0
