"""When a release is asked for by itself."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from mlops_assets.assets.graph import Graph
from mlops_assets.assets.plan import Plan
from mlops_assets.automation import releases
from mlops_assets.contract.load import load_contract
from mlops_assets.contract.model import Releases
from mlops_assets_tests.assets.shop import GATES, RELEASE, Shop
from mlops_assets_tests.automation.clockwork import Clockwork, let_time_pass, stages
from mlops_assets_tests.datasets import deliver_days, write_contract


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    shop = Shop.in_folder(tmp_path_factory.mktemp("built"))
    deliver_days(write_contract(shop.home.data, **GATES), (0, 1, 2, 3))
    shop.run(releases=())
    return shop


@pytest.fixture
def works(built: Shop, tmp_path: Path) -> Iterator[Clockwork]:
    with Clockwork.of(built.copy(tmp_path)) as found:
        yield found


def said(found: dg.RunRequest | dg.SkipReason) -> str:
    assert isinstance(found, dg.SkipReason)
    return str(found.skip_message)


def run_of(found: dg.RunRequest | dg.SkipReason) -> dg.RunRequest:
    assert isinstance(found, dg.RunRequest), found
    return found


def test_the_newest_release_is_asked_for_once_its_batches_stand(works: Clockwork) -> None:
    request = run_of(works.release())
    assert (request.partition_key, stages(request)) == ("2024-01-04", list(RELEASE))
    assert works.do([request]) == [True]
    assert said(works.release()) == "The release 2024-01-04 is up to date."


def test_without_an_accepted_batch_there_is_no_release(tmp_path: Path) -> None:
    shop = Shop.in_folder(tmp_path)
    write_contract(shop.home.data, **GATES)
    with Clockwork.of(shop) as works:
        assert said(works.release()).startswith("No batch was accepted yet")


def test_a_window_that_is_too_short_is_said_and_not_tried(tmp_path: Path) -> None:
    young = Shop.in_folder(tmp_path / "young")
    deliver_days(write_contract(young.home.data, **GATES), (0,))
    young.run(releases=())
    with Clockwork.of(young) as works:
        assert "2024-01-01" in said(works.release())


def test_a_release_waits_for_batches_that_are_being_made(works: Clockwork) -> None:
    job = works.shop.job()
    run = works.instance.create_run_for_job(
        job,
        status=dg.DagsterRunStatus.STARTED,
        tags={"dagster/partition": "2024-01-03"},
        asset_selection=frozenset({dg.AssetKey(["visits", "cleaned"])}),
    )
    assert said(works.release()) == "The release 2024-01-04 waits for 1 batch being made."
    works.instance.report_run_failed(run)
    run_of(works.release())


def test_a_release_whose_run_broke_off_is_tried_again_and_not_for_ever(
    works: Clockwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlops_assets.automation.memory.FIRST_PAUSE", 0.0)
    keys = [run_of(works.release()).run_key for _ in range(3)]
    assert len(set(keys)) == 3
    assert said(works.release()).startswith("The release 2024-01-04 was tried 3 times")


def test_a_refused_release_is_not_tried_again_and_says_why(works: Clockwork) -> None:
    works.shop.change("minimum: {roc_auc: 0.5}", "minimum: {roc_auc: 0.998}")
    assert works.do([run_of(works.release())]) == [False]
    assert "was refused by the check minimum" in said(works.release())


def test_a_batch_that_was_never_accepted_stops_releases_and_says_so(works: Clockwork) -> None:
    deliver_days(works.shop.folder, (4, 5))
    path = works.shop.landing("2024-01-05")
    path.write_text(path.read_text().replace("visit,", "wisit,"))
    works.quiet()
    assert "visits/raw/visits [2024-01-05] was delivered but never accepted" in said(works.release())


@pytest.mark.parametrize(
    ("when", "there"), [("every_batch", True), ("drift", True), ("hand", False), ("schedule", False)]
)
def test_the_sensor_is_there_when_the_policy_needs_one(built: Shop, when: str, there: bool) -> None:
    assert (releases.releases_sensor(policy(built, when), built.home) is not None) == there


def test_on_drift_a_release_is_asked_for_when_the_named_check_has_failed(works: Clockwork) -> None:
    shop = works.shop
    graph = policy(shop, "drift", "raw/visits/columns")
    works.do([run_of(works.release())])
    assert list(releases.drifted(Plan(graph, shop.plan().store, "main", entered_only=True))) == []
    deliver_days(shop.folder, (4, 5))
    path = shop.landing("2024-01-05")
    path.write_text("\n".join(f"{line},new" for line in path.read_text().splitlines()) + "\n")
    works.quiet()
    assert list(releases.drifted(Plan(graph, shop.plan().store, "main", entered_only=True))) == [
        "columns failed on raw/visits [2024-01-05], which the newest release has not seen."
    ]
    works.do([run_of(works.release())])
    assert list(releases.drifted(Plan(graph, shop.plan().store, "main", entered_only=True))) == []


def test_while_nothing_changes_the_same_is_said_without_a_look(works: Clockwork) -> None:
    shop = works.shop
    works.do([run_of(works.release())])
    let_time_pass(shop)
    first, cursor = look(works, None)
    assert (first.request, first.said) == (None, "The release 2024-01-04 is up to date.")
    again, kept = look(works, cursor)
    assert again.said.startswith("The release 2024-01-04 is up to date. Nothing has changed since ")
    assert kept == cursor
    assert look(works, cursor, after=4000)[0].said == first.said
    shop.change("minimum: {roc_auc: 0.5}", "minimum: {roc_auc: 0.51}")
    assert look(works, cursor)[0].request is not None


def test_what_is_only_so_for_a_while_is_looked_at_again(works: Clockwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlops_assets.automation.memory.FIRST_PAUSE", 10.0)
    let_time_pass(works.shop)
    request, cursor = look(works, None)
    assert request.request is not None
    waits, cursor = look(works, cursor, after=5)
    assert waits.said == "The release 2024-01-04 broke off and is tried again in 5 s."
    assert look(works, cursor, after=10)[0].request is not None


def look(works: Clockwork, cursor: str | None, after: float = 0.0) -> tuple[releases.Asked, str]:
    works.now += after
    return releases.tick(works.shop.graph(), works.shop.home, works.instance, cursor, works.now)


def policy(shop: Shop, when: str, *checks: str) -> Graph:
    contract = load_contract(shop.folder)
    chosen = replace(contract.automation, releases=Releases(when, checks=checks))  # type: ignore[arg-type]
    return Graph(replace(contract, automation=chosen))
