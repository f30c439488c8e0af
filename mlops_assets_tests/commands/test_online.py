"""``online``: what it says of the file that serving looks up, and what it does to it."""

import json
from pathlib import Path

import pytest

from mlops_assets.assets.views import path_of
from mlops_assets_tests.assets.shop import Shop
from mlops_assets_tests.serving.lookback import DAYS, NEWEST, build, deliver


@pytest.fixture
def shop(visited: Shop, tmp_path: Path) -> Shop:
    """A copy, to change at will."""
    return visited.copy(tmp_path / "shop")


def test_what_it_stands_on(visited: Shop) -> None:
    done = visited.called("online", "visits", "--check")
    assert done.code == 0
    lines = done.text.splitlines()
    assert lines[0].startswith("visits: ")
    assert lines[0].endswith(f", in {path_of(visited.home, 'visits')}.")
    assert "rows of 5 batches, the newest of 2024-01-07 2" in lines[0]
    assert lines[5].split()[:2] == [NEWEST, str(visited.manifest("online", NEWEST).version)[:15]]
    assert lines[6:] == ["  In step with what is published on main."]


def test_behind_and_in_step_again(shop: Shop) -> None:
    path_of(shop.home, "visits").unlink()
    done = shop.called("online", "--check")
    assert done.code == 1
    assert (
        f"Behind what is published on main: {', '.join(DAYS[2:])}. Bring it in step: mlops-assets online" in done.text
    )
    assert not path_of(shop.home, "visits").exists()
    done = shop.called("online")
    assert (done.code, " written" in done.text) == (0, True)
    assert shop.called("online", "visits", "--check").code == 0


def test_for_programs(shop: Shop) -> None:
    deliver(shop.folder, [6], seed=4)
    before = json.loads(shop.called("online", "visits", "--json", "--check").text)[0]
    build(shop, DAYS[6:])
    found = json.loads(shop.called("online", "visits", "--json", "--rebuild").text)[0]
    assert (found["was_behind"], found["behind"], found["laid"]) == ([], [], list(DAYS[2:]))
    assert found["batches"][NEWEST]["version"] == shop.manifest("online", NEWEST).version
    assert found["batches"][NEWEST] != before["batches"][NEWEST]
    assert found["newest"].startswith(NEWEST)
    assert found["rows"] == sum(each["rows"] for each in found["batches"].values()) == found["upserted"]


def test_what_waits_to_be_made_again(shop: Shop) -> None:
    shop.change("take: last, of: paid", "take: last, of: minutes")
    done = shop.called("online", "visits")
    assert done.code == 1
    assert "Still behind" in done.text
    assert "mlops-assets run visits" in done.text


def test_asked_wrongly(shop: Shop, built: Shop) -> None:
    done = built.called("online", "visits")
    assert (done.code, done.text) == (1, "visits has no windows: nothing of the past is needed to answer requests.\n")
    done = shop.called("online", "visits", "--check", "--rebuild")
    assert (done.code, done.text) == (1, "--check changes nothing, and --rebuild makes all anew: give one of them.\n")
