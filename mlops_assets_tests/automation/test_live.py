"""New data with the real daemon, web server and runs, which are killed: nothing is lost, nothing is done twice."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mlops_assets_tests.automation.live import Flights, Running, story

pytestmark = pytest.mark.slow


def final(flights: Flights) -> dict[str, dict[str, str]]:
    """The data versions under the heads, but for releases: those of months that were the newest once are history."""
    return {
        asset: {batch: version for batch, version in heads.items() if "model" not in asset and "report" not in asset}
        for asset, heads in flights.heads().items()
    }


def test_three_months_arrive_while_daemon_and_workers_are_killed(tmp_path: Path) -> None:
    calm = Flights.made_in(tmp_path / "calm")

    def brought_up_to_date(step: str) -> None:
        summary = calm.run()
        assert bool(summary.refused) == (step == "the second month, broken"), step

    story(calm, brought_up_to_date)
    flights = Flights.made_in(tmp_path / "shaken")
    with Running.of(flights) as running:
        store = running.store

        def there(stage: str, batch: str) -> Callable[[], bool]:
            before = store.head("main", f"flights/{stage}", batch)
            return lambda: store.head("main", f"flights/{stage}", batch) != before

        def shaken(step: str) -> None:
            if step == "the first month":
                running.kill_daemon("when files were entered and no run asked for", running.entries)
            elif step == "the second month, mended":
                entered = len(running.entries())
                running.kill_worker(
                    "when its run had just begun",
                    lambda: (
                        len(running.entries()) > entered and any("mlops/process" in run.tags for run in running.runs())
                    ),
                )
                running.kill_worker("between a batch's first stage and its last", there("raw/flights", "2013-02"))
            elif step == "the third month":
                running.kill_daemon("while a run is at work", there("raw/flights", "2013-03"))
                running.kill_worker(
                    "when the candidate stands and its evaluation does not", there("candidate_model", "2013-03")
                )
            elif step == "the first month, written over":
                running.kill_everything("a moment after the file was written over")
            running.wait_until_settled()

        story(flights, shaken)
        assert len(running.killed) >= 6, running.killed
    assert final(flights) == final(calm)
    names = [name for name, _ in running.entries()]
    assert sorted(running.entries()) == sorted(set(running.entries()))
    assert names.count("landing/flights_2013-02.csv") == 2
    assert names.count("landing/flights_2013-01.csv") == 2
    assert "landing/again-flights_2013-03.csv" not in names
    assert flights.called("verify").code == 0
