"""Features that look back at earlier batches, when an earlier batch changes while nobody asks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_assets.automation import sweep
from mlops_assets_tests.assets.shop import edited
from mlops_assets_tests.assets.test_windows import FIRST, FOURTH, SECOND, THIRD, states, written
from mlops_assets_tests.automation.clockwork import Clockwork, asked, stages
from mlops_assets_tests.automation.test_conditions import Daemon


@pytest.fixture
def works(tmp_path: Path) -> Iterator[Clockwork]:
    """Four days of which each looks back at two, made and told."""
    shop = written(tmp_path, range(4))
    assert not shop.run(releases=()).failed
    with Clockwork.of(shop) as found:
        yield found


def changed(works: Clockwork, day: str) -> None:
    edited(works.shop.landing(day), lambda lines: lines[:-5])


def test_dagster_asks_for_what_changed_and_the_sweep_for_what_looks_back_at_it(works: Clockwork) -> None:
    daemon = Daemon(works.shop, works.instance)
    assert daemon.asked() == {}
    changed(works, FIRST)
    works.shop.run(batches=[FIRST], stages=["raw/visits", "quarantine", "cleaned"])
    assert daemon.asked() == {"splits": [FIRST], "features": [FIRST], "online": [FIRST]}
    works.shop.run(batches=[FIRST])
    assert daemon.asked() == {}
    assert states(works.shop) == {FIRST: "current", SECOND: "stale", THIRD: "stale", FOURTH: "current"}
    found = sweep.tick(works.shop.graph(), works.shop.home, works.instance, None, works.now)
    assert [(asked([each]), stages(each)) for each in found.requests] == [([f"{SECOND}..{THIRD}"], ["features"])]
    told = f"features [{SECOND}..{THIRD}]: Its input visits/cleaned [{FIRST}] changed: b3:"
    assert told in found.said


def test_the_sweep_repairs_an_earlier_batch_and_what_looks_back_at_it_in_two_ticks(works: Clockwork) -> None:
    changed(works, FIRST)
    works.shop.plan().landing.take_in("somebody")
    first = sweep.tick(works.shop.graph(), works.shop.home, works.instance, None, works.now)
    assert asked(first.requests) == [FIRST]
    assert works.do(first.requests) == [True]
    second = sweep.tick(works.shop.graph(), works.shop.home, works.instance, first.cursor, works.now + 60)
    assert [(asked([each]), stages(each)) for each in second.requests] == [([f"{SECOND}..{THIRD}"], ["features"])]
    assert works.do(second.requests) == [True]
    third = sweep.tick(works.shop.graph(), works.shop.home, works.instance, second.cursor, works.now + 120)
    assert third.requests == []
    assert set(states(works.shop).values()) == {"current"}


def test_a_new_delivery_of_an_earlier_batch_is_taken_in_before_what_looks_back_at_it(works: Clockwork) -> None:
    changed(works, SECOND)
    requests, _ = works.settled()
    assert asked(requests) == [SECOND]
    assert works.do(requests) == [True]
    assert states(works.shop) == {FIRST: "current", SECOND: "current", THIRD: "stale", FOURTH: "stale"}
    found = sweep.tick(works.shop.graph(), works.shop.home, works.instance, None, works.now)
    assert asked(found.requests) == [f"{THIRD}..{FOURTH}"]
    assert works.do(found.requests) == [True]
    assert set(states(works.shop).values()) == {"current"}
