"""Features that look back at earlier batches: exact inputs, what makes them stale, and what Dagster hears of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from mlops_assets.assets.publish import Outcome, Session
from mlops_assets.assets.reasons import Explanation, Reason
from mlops_assets.assets.staleness import Staleness
from mlops_assets.assets.survey import survey
from mlops_assets.definitions import build_definitions
from mlops_assets.store.store import Store
from mlops_assets_tests.assets.shop import GATES, Shop, edited
from mlops_assets_tests.datasets import deliver_days, write_contract
from mlops_assets_tests.doors import wait

DAYS = tuple(f"2024-01-0{day}" for day in range(1, 6))
FIRST, SECOND, THIRD, FOURTH, FIFTH = DAYS
LISTED = "features: {numeric: [minutes, pages, size], categorical: [shop]}\n"
WINDOWS = """\
features:
  numeric: [minutes, pages, size]
  windows:
    look_back: 2
    each:
      paid_before: {by: [shop], take: mean, of: paid, over: 2d, known_after: 1d}
      visits_before: {by: [shop], take: count, of: pages, over: 1d, known_after: 1d}
  categorical: [shop]
"""


def written(folder: Path, days: Sequence[int] = range(5), **changes: str) -> Shop:
    """The visits with windows over two days, delivered and not made."""
    dataset = write_contract(folder / "data", **GATES, **{LISTED: WINDOWS}, **changes)
    deliver_days(dataset, days, rows=30)
    return Shop.in_folder(folder)


def batch_stages(shop: Shop) -> list[str]:
    return [stage.name for stage in shop.graph().of_scope("batch")]


def brought(session: Session, batches: Sequence[str], *stages: str) -> dict[tuple[str, str], Outcome]:
    """Bring stages of batches up to date in the order of a run; all of them when none is named."""
    session.run(session.graph.stages["raw/shops"], "all")
    chosen = [stage for stage in session.graph.of_scope("batch") if not stages or stage.name in stages]
    return {(stage.name, batch): session.run(stage, batch) for batch in batches for stage in chosen}


@pytest.fixture
def days(tmp_path: Path) -> Shop:
    """Five days with their features, made without Dagster."""
    shop = written(tmp_path / "shop")
    assert not any(outcome.failed for outcome in brought(shop.session(), DAYS).values())
    return shop


def shorter(shop: Shop, day: str) -> None:
    edited(shop.landing(day), lambda lines: lines[:-5])


def broken(shop: Shop, day: str) -> str:
    return edited(shop.landing(day), lambda lines: [lines[0].replace("visit,", "wisit,"), *lines[1:]])


def inputs(shop: Shop, batch: str) -> list[tuple[str, str, str | None]]:
    return [(item.asset, item.partition, item.version) for item in shop.manifest("features", batch).inputs]


def states(shop: Shop, stage: str = "features") -> dict[str, str]:
    plan = shop.plan()
    return {day: plan.standing(plan.graph.stages[stage], day).state for day in plan.batches}


def explained(shop: Shop, batch: str) -> Explanation:
    return Staleness(shop.plan()).explain(shop.graph().stages["features"], batch)


def versions(shop: Shop) -> Mapping[str, str]:
    return {day: head.version for day, head in shop.plan().heads("features").items()}


def value(shop: Shop, batch: str) -> Any:
    return Store.open(shop.home.store).get(shop.manifest("features", batch))


# Exact inputs.


def test_a_batch_stands_on_its_own_and_on_so_many_before_it(days: Shop) -> None:
    cleaned = days.heads()["visits/cleaned"]
    assert inputs(days, FIFTH) == [("visits/cleaned", day, cleaned[day]) for day in (FIFTH, THIRD, FOURTH)]
    assert inputs(days, SECOND) == [("visits/cleaned", day, cleaned[day]) for day in (SECOND, FIRST)]
    assert inputs(days, FIRST) == [("visits/cleaned", FIRST, cleaned[FIRST])]


def test_the_past_is_what_the_earlier_batches_hold(days: Shop) -> None:
    store = Store.open(days.home.store)
    paid: dict[tuple[str, str], list[float]] = {}
    for day in DAYS:
        table = store.get(days.manifest("cleaned", day))
        for row in table.select(["shop", "paid"]).to_pylist():
            paid.setdefault((day, row["shop"]), []).append(row["paid"])
    for row in value(days, FOURTH).to_pylist():
        before = [*paid[SECOND, row["shop"]], *paid[THIRD, row["shop"]]]
        assert row["paid_before"] == pytest.approx(sum(before) / len(before))
        assert row["visits_before"] == len(paid[THIRD, row["shop"]])
    assert value(days, FIRST)["paid_before"].null_count == 30
    assert days.manifest("features", FIRST).facts["no_past"] == {"paid_before": 1.0, "visits_before": 1.0}
    assert days.manifest("features", THIRD).facts["no_past"] == {"paid_before": 0.0, "visits_before": 0.0}


def test_a_batch_that_was_never_delivered_is_absent_and_makes_its_successors_stale_when_it_comes(
    tmp_path: Path,
) -> None:
    shop = written(tmp_path / "shop", (0, 2))
    assert not any(outcome.failed for outcome in brought(shop.session(), (FIRST, THIRD)).values())
    assert inputs(shop, THIRD)[1:] == [
        ("visits/cleaned", FIRST, shop.manifest("cleaned", FIRST).version),
        ("visits/cleaned", SECOND, None),
    ]
    assert set(value(shop, THIRD)["visits_before"].to_pylist()) == {0.0}
    assert states(shop) == {FIRST: "current", THIRD: "current"}
    assert explained(shop, THIRD).state == "current"
    assert shop.plan().notes(shop.graph().stages["features"], THIRD) == []
    deliver_days(shop.folder, range(3), rows=30)
    brought(shop.session(), [SECOND])
    found = explained(shop, THIRD)
    version = shop.manifest("cleaned", SECOND).version
    assert found.reasons == (Reason("input", "visits/cleaned", SECOND, before=None, after=version),)
    assert found.sentences[0].startswith(f"Its input visits/cleaned [{SECOND}] changed: absent -> b3:")
    brought(shop.session(), [THIRD])
    assert 0.0 not in value(shop, THIRD)["visits_before"].to_pylist()


def test_without_windows_nothing_is_looked_back_at(tmp_path: Path) -> None:
    shop = Shop.in_folder(tmp_path)
    deliver_days(write_contract(shop.home.data), range(2), rows=20)
    brought(shop.session(), DAYS[:2])
    assert [place for _, place, _ in inputs(shop, SECOND)] == [SECOND]
    assert "windows" not in shop.graph().stages["features"].settings


# What makes them stale.


def test_an_earlier_batch_that_moved_makes_those_stale_that_look_back_at_it(days: Shop) -> None:
    old = days.manifest("cleaned", SECOND).version
    shorter(days, SECOND)
    waiting = explained(days, THIRD)
    assert (waiting.state, waiting.above[0].sentence) == (
        "waiting",
        f"It stands on visits/raw/visits [{SECOND}], which is stale.",
    )
    brought(days.session(), [SECOND])
    current = dict.fromkeys(DAYS, "current")
    assert states(days) == current | {THIRD: "stale", FOURTH: "stale"}
    assert states(days, "cleaned") == current
    found = explained(days, FOURTH)
    new = days.manifest("cleaned", SECOND).version
    assert found.reasons == (Reason("input", "visits/cleaned", SECOND, before=old, after=new),)
    group = survey(days.plan()).groups[0]
    assert (group.stages, group.batches, group.alike) == (("features",), (THIRD, FOURTH), True)


def test_what_one_process_said_of_later_batches_is_void_when_an_earlier_one_moves(days: Shop) -> None:
    shorter(days, SECOND)
    session = days.session()
    features = session.graph.stages["features"]
    assert [session.plan.standing(features, day).state for day in DAYS] == ["current"] * 5
    brought(session, [SECOND])
    assert [session.plan.standing(features, day).state for day in DAYS] == [
        "current", "current", "stale", "stale", "current",
    ]  # fmt: skip
    done = brought(session, [THIRD, FOURTH], "features")
    assert [outcome.status for outcome in done.values()] == ["computed", "computed"]
    assert set(states(days).values()) == {"current"}


def test_the_command_repairs_all_in_one_run_and_makes_what_a_fresh_home_makes(tmp_path: Path) -> None:
    shop = written(tmp_path / "shop")
    assert not shop.run(releases=()).failed
    before = versions(shop)
    shorter(shop, SECOND)
    done = shop.run(releases=())
    assert not done.failed
    assert done.runs == 1
    made = {(each.stage, each.batch): each.status for each in done.outcomes}
    assert [made["features", day] for day in (SECOND, THIRD, FOURTH)] == ["computed"] * 3
    assert not [place for place in made if place[1] in (FIRST, FIFTH)]
    assert shop.plan().standing(shop.graph().stages["features"], FIFTH).state == "current"
    assert {day for day in DAYS if versions(shop)[day] != before[day]} == {SECOND, THIRD, FOURTH}
    assert shop.run(releases=()).runs == 0
    fresh = written(tmp_path / "fresh")
    shorter(fresh, SECOND)
    brought(fresh.session(), DAYS)
    assert versions(fresh) == versions(shop)


def test_an_earlier_batch_alone_leaves_the_others_to_be_asked_for(tmp_path: Path) -> None:
    shop = written(tmp_path / "shop", range(3))
    shop.run(releases=())
    shorter(shop, FIRST)
    assert {each.batch for each in shop.run(batches=[FIRST]).outcomes} == {FIRST}
    assert states(shop) == {FIRST: "current", SECOND: "stale", THIRD: "stale"}
    assert {each.stage for each in shop.run(releases=()).outcomes} == {"features"}
    assert set(states(shop).values()) == {"current"}


def test_a_change_of_code_is_told_of_many_batches_from_few_manifests(tmp_path: Path) -> None:
    shop = written(tmp_path / "shop", range(12))
    brought(shop.session(), shop.plan().batches, "raw/visits", "cleaned", "features")
    shop.change("known_after: 1d", "known_after: 2d")
    shop.change("look_back: 2", "look_back: 3")
    plan = shop.plan()
    staleness = Staleness(plan)
    found = [staleness.explain(plan.graph.stages["features"], batch) for batch in plan.batches]
    settings = {each.name for one in found for each in one.reasons if each.kind == "setting"}
    assert settings == {
        "windows.each[name=paid_before].known_after",
        "windows.each[name=visits_before].known_after",
        "windows.look_back",
    }
    assert staleness.read == 3  # one of the first day, one of the second, one of all that have two before them
    assert all(each.kind == "setting" for one in found for each in one.reasons if one.batch > "2024-01-04")


# Earlier batches that were refused.


def test_of_a_refused_earlier_batch_the_last_good_version_counts(days: Shop) -> None:
    good = days.manifest("cleaned", SECOND).version
    broken(days, SECOND)
    done = brought(days.session(), (SECOND, THIRD))
    assert done["raw/visits", SECOND].status == "refused"
    assert done["features", THIRD].status == "reused"
    assert ("visits/cleaned", SECOND, good) in inputs(days, THIRD)
    (note,) = days.plan().notes(days.graph().stages["features"], THIRD)
    assert note.startswith("Stands on the last good version b3:")
    assert f"of visits/raw/visits [{SECOND}]; a newer one was refused" in note


def test_an_earlier_batch_that_was_never_accepted_is_absent_and_said(tmp_path: Path) -> None:
    shop = written(tmp_path / "shop", range(3))
    whole = broken(shop, SECOND)
    done = brought(shop.session(), DAYS[:3])
    assert done["features", SECOND].status == "stopped"
    third = done["features", THIRD]
    assert third.status == "computed"
    assert third.sentences[0].startswith(
        f"Knows nothing of visits/cleaned [{SECOND}], of which no version was ever accepted: "
    )
    assert inputs(shop, THIRD)[-1] == ("visits/cleaned", SECOND, None)
    assert explained(shop, THIRD).state == "current"
    # a release would stand on features that know less than they should: the batch itself keeps it back
    plan = shop.plan()
    assert [(stage.name, batch) for stage, batch, _ in plan.held_up(THIRD)] == [("raw/visits", SECOND)]
    shop.landing(SECOND).write_text(whole)
    brought(shop.session(), [SECOND])
    assert states(shop) == {FIRST: "current", SECOND: "current", THIRD: "stale"}
    brought(shop.session(), [THIRD])
    assert states(shop) == dict.fromkeys(DAYS[:3], "current")


def test_an_earlier_batch_of_another_shape_is_asked_for_first(days: Shop) -> None:
    days.change("pages: {type: int64, minimum: 0}", "pages: {type: float64, minimum: 0}")
    session = days.session()
    done = brought(session, [SECOND], "raw/visits", "cleaned")
    assert not any(outcome.failed for outcome in done.values())
    outcome = session.run(session.graph.stages["features"], SECOND)
    assert outcome.status == "refused"
    assert outcome.sentences[0] == (
        f"visits/features [{SECOND}] looks back at visits/cleaned [{FIRST}], which was made when 'pages' was not there "
        f"or of another type; bring batch {FIRST} up to date first."
    )
    assert not any(outcome.failed for outcome in brought(days.session(), DAYS).values())


# What Dagster hears.


def test_dagster_maps_a_batch_to_its_own(days: Shop) -> None:
    with days.entered():
        graph = build_definitions(days.home).resolve_asset_graph()
    cleaned, features = (dg.AssetKey(["visits", stage]) for stage in ("cleaned", "features"))
    assert graph.get(features).parent_keys == {cleaned}
    assert graph.get_partition_mapping(features, cleaned) == dg.TimeWindowPartitionMapping()


def test_dagster_calls_features_stale_only_for_what_they_hold_of_their_own_batch(tmp_path: Path) -> None:
    shop = written(tmp_path / "shop", range(4))
    assert not shop.run(releases=()).failed

    def stale() -> dict[str, StaleStatus]:
        with shop.instance() as instance:
            graph = build_definitions(shop.home).resolve_asset_graph()
            resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
            return {day: resolver.get_status(dg.AssetKey(["visits", "features"]), day) for day in DAYS[:4]}

    fresh = dict.fromkeys(DAYS[:4], StaleStatus.FRESH)
    assert stale() == fresh
    shorter(shop, THIRD)
    shop.run(batches=[THIRD], stages=["raw/visits", "quarantine", "cleaned"])
    assert stale() == fresh | {THIRD: StaleStatus.STALE}
    shop.run(releases=())
    assert stale() == fresh


@pytest.mark.slow
def test_a_backfill_from_the_ui_takes_its_batches_in_one_run_and_the_rest_is_found(tmp_path: Path) -> None:
    shop = written(tmp_path / "shop", range(4))
    stages = batch_stages(shop)
    with shop.served() as web:
        assert web.launch(shop.name, ["raw/shops"], {}).status == "SUCCESS"
        # the days after the last one were not delivered, and Dagster must not ask for what would look back at it
        assert web.backfill(shop.name, stages, DAYS[:4]) == "COMPLETED_SUCCESS"
        assert web.shown(shop.name, ["features"], DAYS[:4])["features"].good(DAYS[:4])
        assert set(states(shop).values()) == {"current"}
        shorter(shop, SECOND)
        assert web.backfill(shop.name, stages, [SECOND]) == "COMPLETED_SUCCESS"
        wait(lambda: set(states(shop).values()) == {"current"}, 200, "what looks back at the second day")


def test_dagster_is_told_of_every_input_and_that_later_batches_are_not_up_to_date(tmp_path: Path) -> None:
    shop = written(tmp_path / "shop", range(3))
    assert shop.materialize(["raw/shops"]).success
    assert shop.materialize(batch_stages(shop), FIRST, THIRD).success
    assert shop.told()["visits/features"] == versions(shop)
    with shop.instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["visits", "features"]))
    assert event is not None
    assert event.asset_materialization is not None
    shown = event.asset_materialization.metadata["inputs"].value
    cleaned = shop.heads()["visits/cleaned"]
    assert shown == "\n".join(f"- visits/cleaned [{day}] `{cleaned[day]}`" for day in (THIRD, FIRST, SECOND))
    shorter(shop, FIRST)
    assert shop.materialize(["raw/visits", "cleaned"], FIRST).success
    assert shop.judge("features", "up_to_date", THIRD).success
    assert shop.verdict("visits/features", "up_to_date", THIRD) == "FAILED"


def test_a_run_over_a_range_takes_the_batches_in_order(tmp_path: Path) -> None:
    shop = written(tmp_path / "shop", range(4))
    assert shop.materialize(["raw/shops"]).success
    assert shop.materialize(batch_stages(shop), FIRST, FOURTH).success
    assert set(states(shop).values()) == {"current"}
    cleaned = shop.heads()["visits/cleaned"]
    assert inputs(shop, FOURTH)[1:] == [("visits/cleaned", day, cleaned[day]) for day in (SECOND, THIRD)]
