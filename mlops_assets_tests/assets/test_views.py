"""The file of the past follows what is published, whoever moves heads and whoever dies meanwhile."""

import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.assets.views import erase, path_of
from mlops_assets.home import Home
from mlops_assets.serving.past import Held, NoPastError, Past, Row, Writer, layout_of
from mlops_assets.store.files import Locks
from mlops_assets.store.store import Store
from mlops_assets_tests.assets.shop import Shop
from mlops_assets_tests.serving.lookback import (
    DAYS,
    NEWEST,
    build,
    deliver,
    features,
    requests,
    trained_on,
    view_of,
    write_lookback,
)

KEPT = DAYS[2:]
"""What rows of the newest two days look back at, over three days."""


@pytest.fixture
def shop(visited: Shop, tmp_path: Path) -> Shop:
    """A copy, to change at will."""
    return visited.copy(tmp_path / "shop")


def rows(shop: Shop) -> dict[str, list[Any]]:
    """Everything that the file holds, by batch."""
    with sqlite3.connect(path_of(shop.home, shop.name)) as connection:
        found: dict[str, list[Any]] = {}
        for row in connection.execute("SELECT * FROM past ORDER BY _batch, _place"):
            found.setdefault(row[0], []).append(row[1:])
    return found


def versions(shop: Shop) -> dict[str, str]:
    return {batch: held.version for batch, held in view_of(shop).held().items()}


def published(shop: Shop) -> dict[str, str]:
    heads = Store.open(shop.home.store).heads(shop.home.branch, "visits/online")
    return {batch: heads[batch].version for batch in KEPT}


def behind(shop: Shop) -> list[str]:
    return view_of(shop).behind(Store.open(shop.home.store).heads(shop.home.branch, "visits/online"))


def test_the_file_holds_what_the_newest_two_batches_look_back_at(visited: Shop) -> None:
    assert versions(visited) == published(visited)
    assert sorted(rows(visited)) == list(KEPT)
    past = Past(path_of(visited.home, "visits"), layout_of(visited.graph().contract))
    kept = past.kept()
    assert kept.first == DAYS[5]
    assert kept.moment is not None
    # 60 hours before the first row of the newest two days, and not a moment more
    oldest = min(row[1] for each in rows(visited).values() for row in each)
    assert kept.moment - 60 * 3_600_000_000 <= oldest < kept.moment - 58 * 3_600_000_000


def test_what_is_told_of_each_batch(visited: Shop, tmp_path: Path) -> None:
    deliver(write_lookback(tmp_path / "data"))
    outcomes = build(Shop.in_folder(tmp_path))
    told = {day: outcomes["online", day].preview["links"] for day in DAYS}
    # of the first days, which will be too old when all are made, nothing is written
    assert [told[day]["rows_upserted"] for day in DAYS[:2]] == [0, 0]
    assert told[NEWEST] == {
        "online_file": str(path_of(Shop.in_folder(tmp_path).home, "visits")),
        "rows_upserted": view_of(visited).held()[NEWEST].rows,
        "rows_superseded": 0,
        "newest_moment": told[NEWEST]["newest_moment"],
    }
    assert told[NEWEST]["newest_moment"].startswith(f"{NEWEST}T")
    assert rows(Shop.in_folder(tmp_path)) == rows(visited)


def test_of_hidden_columns_no_moment_is_told(tmp_path: Path) -> None:
    deliver(
        write_lookback(tmp_path / "data", **{"      who: string\n": "      who: {type: string, role: sensitive}\n"})
    )
    outcomes = build(Shop.in_folder(tmp_path), DAYS[-1:])
    assert "newest_moment" not in outcomes["online", NEWEST].preview["links"]


def test_a_late_correction_replaces_its_batch_and_nothing_else(shop: Shop) -> None:
    before = rows(shop)
    deliver(shop.folder, [4], seed=5)
    told = build(shop)["online", DAYS[4]].preview["links"]
    after = rows(shop)
    assert {day for day in KEPT if before[day] != after[day]} == {DAYS[4]}
    assert (told["rows_superseded"], told["rows_upserted"]) == (len(before[DAYS[4]]), len(after[DAYS[4]]))
    assert versions(shop) == published(shop)
    assert behind(shop) == []


def test_a_correction_of_a_batch_that_is_too_old_writes_nothing(shop: Shop) -> None:
    before = path_of(shop.home, "visits").read_bytes()
    deliver(shop.folder, [0], seed=5)
    assert build(shop)["online", DAYS[0]].preview["links"]["rows_upserted"] == 0
    assert path_of(shop.home, "visits").read_bytes() == before


def test_bringing_it_in_step_twice_changes_nothing(shop: Shop) -> None:
    before = rows(shop)
    brought = view_of(shop).bring()
    assert (brought.upserted, brought.superseded, brought.forgotten, brought.laid) == (0, 0, 0, ())
    assert rows(shop) == before


@pytest.mark.parametrize("lost", [True, False])
def test_it_can_be_made_again_at_any_time(shop: Shop, lost: bool) -> None:
    before = rows(shop)
    if lost:
        path_of(shop.home, "visits").unlink()
        assert behind(shop) == list(KEPT)
    else:
        with sqlite3.connect(path_of(shop.home, "visits")) as connection:
            connection.execute("UPDATE past SET who = 'somebody else'")
    brought = view_of(shop).bring(rebuild=not lost)
    assert brought.laid == KEPT
    assert rows(shop) == before


def test_heads_that_something_else_moved_are_noticed(shop: Shop) -> None:
    first, before = versions(shop), rows(shop)
    deliver(shop.folder, [6], seed=5)
    build(shop, DAYS[6:])
    assert shop.called("rollback", "visits/online", "--partition", NEWEST).code == 0
    assert behind(shop) == [NEWEST]
    assert view_of(shop).bring().laid == (NEWEST,)
    assert (versions(shop), rows(shop)) == (first, before)


def test_the_next_run_catches_up(shop: Shop) -> None:
    before = rows(shop)
    path_of(shop.home, "visits").unlink()
    summary = shop.run(releases=())
    assert not [outcome for outcome in summary.outcomes if outcome.failed]
    assert rows(shop) == before
    path_of(shop.home, "visits").unlink()
    told = f"was behind what is published ({', '.join(KEPT)}), and is in step again."
    assert told in " ".join(shop.run(releases=()).notes)
    assert rows(shop) == before


def test_when_the_newest_batch_is_taken_back_what_was_forgotten_comes_back(shop: Shop) -> None:
    """Rows that are too old for the newest two days are not for the two days before them."""
    fewer = shop.copy(shop.home.root.parent.parent / "fewer")
    view = view_of(fewer)
    held = view.held()
    for day in DAYS[5:]:
        (fewer.home.root / "store" / "heads" / "main" / "visits" / "online" / day).unlink()
    brought = view.bring()
    found = rows(fewer)
    assert sorted(found) == list(DAYS[:5])
    assert len(found[DAYS[2]]) > held[DAYS[2]].rows
    assert set(brought.laid) == set(DAYS[:3])
    assert view.bring(rebuild=True).rows == brought.rows
    assert rows(fewer) == found


def test_each_branch_has_a_file_of_its_own(shop: Shop) -> None:
    before = rows(shop)
    assert shop.called("branch", "dev").code == 0
    dev = Shop(Home(shop.home.root, shop.home.data, "dev"), "visits")
    deliver(shop.folder, [6], seed=5)
    build(dev, DAYS[6:])
    assert path_of(dev.home, "visits") != path_of(shop.home, "visits")
    assert behind(dev) == []
    assert rows(dev)[NEWEST] != before[NEWEST]
    assert rows(shop) == before


def test_windows_of_other_columns_change_the_file_once_all_its_batches_are_made_again(shop: Shop) -> None:
    before, old, asked = rows(shop), features(shop), requests(shop, NEWEST)
    answers = old.of(asked)
    shop.change("newest: {by: [who], take: last, of: paid", "newest: {by: [who], take: last, of: minutes")
    brought = view_of(shop).bring()
    assert (brought.unlike, brought.rows) == (KEPT, 0)
    assert behind(shop) == list(KEPT)
    with pytest.raises(NoPastError, match="was made for other windows"):
        features(shop).of(asked)
    assert "stays as it is until 2024-01-03, " in " ".join(shop.run(batches=DAYS[:1]).notes)
    build(shop, DAYS[:6])
    assert behind(shop) == list(KEPT)
    # who serves what was released before goes on until then
    assert rows(shop) == before
    assert old.of(asked).equals(answers)
    build(shop, DAYS[6:])
    assert behind(shop) == []
    assert versions(shop) == published(shop)
    assert features(shop).of(asked).equals(trained_on(shop, NEWEST))


def test_a_window_of_another_entity_needs_the_file_made_anew(shop: Shop) -> None:
    shop.change("spent: {by: [who]", "spent: {by: [who, regular]")
    assert behind(shop) == list(KEPT)
    assert view_of(shop).bring().laid == KEPT
    assert behind(shop) == []


def test_how_far_back_windows_look_changes_features_and_nothing_that_is_looked_up(shop: Shop) -> None:
    shop.change("over: 60h", "over: 48h")
    plan = shop.plan()
    standing = {name: plan.standing(plan.graph.stages[name], NEWEST).state for name in ("features", "online")}
    assert standing == {"features": "stale", "online": "current"}
    # what is looked back at less far is forgotten, and comes back
    before = view_of(shop).held()[DAYS[2]].rows
    shortened = view_of(shop).bring()
    assert shortened.forgotten > 0
    shop.change("over: 48h", "over: 60h")
    assert view_of(shop).bring().held[DAYS[2]].rows == before


def test_rows_that_are_erased_go_with_a_file_that_waits(shop: Shop) -> None:
    shop.change("newest: {by: [who], take: last, of: paid", "newest: {by: [who], take: last, of: minutes")
    erase(shop.home, Store.open(shop.home.store), "visits")
    assert not path_of(shop.home, "visits").exists()


def test_comparing_loads_nothing_heavy(visited: Shop) -> None:
    code = f"""
import sys
from pathlib import Path
from mlops_assets.assets.graph import Graph
from mlops_assets.assets.views import View
from mlops_assets.contract.load import load_contract
from mlops_assets.home import Home
from mlops_assets.store.store import Store
home = Home(Path({str(visited.home.root)!r}), Path({str(visited.home.data)!r}))
store = Store.open(home.store)
view = View(Graph(load_contract(home.data / "visits")), store, home)
print(view.behind(store.heads("main", "visits/online")))
print([name for name in ("dagster", "pyarrow", "numpy", "pandas", "mlflow") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=Path.cwd())
    assert done.stdout == "[]\n[]\n", done.stderr


def _bring(root: Path, barrier: Any) -> None:
    shop = Shop.in_folder(root)
    view = view_of(shop)
    barrier.wait()
    for _ in range(3):
        view.bring(rebuild=True)


def test_four_processes_bring_it_in_step_at_once(shop: Shop) -> None:
    before = rows(shop)
    path_of(shop.home, "visits").unlink()
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(4)
    started = [context.Process(target=_bring, args=(shop.home.root.parent, barrier)) for _ in range(4)]
    for each in started:
        each.start()
    for each in started:
        each.join()
    assert [each.exitcode for each in started] == [0] * 4
    assert rows(shop) == before


def test_who_writes_waits_for_the_lock(shop: Shop) -> None:
    path_of(shop.home, "visits").unlink()
    writer = threading.Thread(target=view_of(shop).bring)
    with Locks(shop.home.online / "locks").hold(str(path_of(shop.home, "visits"))):
        writer.start()
        writer.join(0.5)
        assert writer.is_alive()
        assert not path_of(shop.home, "visits").exists()
    writer.join(30)
    assert behind(shop) == []


def test_a_process_that_dies_while_it_writes_leaves_what_was_there(shop: Shop) -> None:
    path = path_of(shop.home, "visits")
    before, data = rows(shop), path.read_bytes()
    deliver(shop.folder, [4], seed=5)
    build(shop)
    path.write_bytes(data)
    child = os.fork()
    if not child:
        try:
            put = Writer.put

            def die(self: Writer, held: Held, rows: Iterable[Row]) -> int:
                put(self, held, rows)
                os.kill(os.getpid(), signal.SIGKILL)
                return 0

            Writer.put = die  # type: ignore[method-assign]
            view_of(shop).bring()
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert rows(shop) == before
    assert behind(shop) == [DAYS[4]]
    assert view_of(shop).bring().laid == (DAYS[4],)
    assert behind(shop) == []


DIES = f"""
import json, sys
from pathlib import Path
from mlops_assets_tests.assets.crash import attempt
import mlops_assets.definitions, mlops_assets.assets.dagster_private
folder, run = Path(sys.argv[1]), ["run", "visits", "--partition", "{DAYS[4]}"]
print(json.dumps([
    attempt(folder, run, "/heads/main/visits/online/{DAYS[4]}", "after"),
    attempt(folder, ["online", "visits", "--check"]),
    attempt(folder, run),
    attempt(folder, ["online", "visits", "--check"]),
]))
"""


def test_a_run_that_dies_between_publishing_and_the_file_is_made_up_for_by_the_next(shop: Shop) -> None:
    shop.run(releases=())
    deliver(shop.folder, [4], seed=5)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DIES, str(shop.home.root.parent)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    said = (shop.home.root.parent / "said.txt").read_text()
    assert json.loads(done.stdout) == [-signal.SIGKILL, 1, 0, 0], (done.stderr, said)
    assert f"Behind what is published on main: {DAYS[4]}." in said
    assert versions(shop) == published(shop)


def test_erased_rows_leave_the_files_of_all_branches(shop: Shop) -> None:
    shop.called("branch", "dev")
    dev = Shop(Home(shop.home.root, shop.home.data, "dev"), "visits")
    view_of(dev).bring()
    for each in (shop, dev):
        assert [row for batch in rows(each).values() for row in batch if "p3" in row]
    done = shop.called("purge", "visits", "--where", "who=p3", "--basis", "request 7", "--yes")
    assert done.code == 0, done.text
    for each in (shop, dev):
        assert not [row for batch in rows(each).values() for row in batch if "p3" in row]
        assert behind(each) == []


def test_a_file_that_nothing_can_be_said_of_is_deleted_when_rows_are_erased(shop: Shop) -> None:
    shop.contract.write_text("nonsense: [")
    erase(shop.home, Store.open(shop.home.store), "visits")
    assert not path_of(shop.home, "visits").exists()
