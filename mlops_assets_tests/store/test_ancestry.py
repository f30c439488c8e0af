"""Walking histories: over branches, merges and branch starts, no further than needed."""

import time
from pathlib import Path

import pytest

from mlops_assets.errors import CorruptError
from mlops_assets.store import Store
from mlops_assets.store.ancestry import History, Position, common, descends, stands_on
from mlops_assets.store.branching import create_branch, remove_branch
from mlops_assets.store.merging import merge, plan_merge
from mlops_assets.store.store import move_path

A, P = "shop/cleaned", "2013-01"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def commit(store: Store, branch: str, value: object) -> Position:
    return Position(branch, store.commit(branch, A, P, "json", value).move)


def test_a_move_stands_on_those_before_it(store: Store) -> None:
    first, second, third = (commit(store, "main", value) for value in range(3))
    assert descends(store, A, P, third, first.move)
    assert descends(store, A, P, third, third.move)
    assert not descends(store, A, P, first, third.move)
    assert not descends(store, A, P, third, "b3:" + "0" * 64)
    history = History(store, A, P)
    assert common(history, third, second) == second
    assert stands_on(history, third, first)
    assert not stands_on(history, first, third)


def test_a_branch_stands_on_what_it_was_started_from(store: Store) -> None:
    commit(store, "main", 1)
    started = commit(store, "main", 2)
    create_branch(store, "dev")
    create_branch(store, "deeper", "dev")
    ahead = commit(store, "main", 3)
    mine = commit(store, "deeper", 4)
    history = History(store, A, P)
    assert list(history.before(Position("deeper", ""))) == [Position("dev", "")]
    assert common(history, ahead, mine) == started
    assert common(history, ahead, Position("dev", "")) == started
    assert descends(store, A, P, mine, started.move)
    assert stands_on(history, mine, started)


def test_a_merge_is_passed_through(store: Store) -> None:
    commit(store, "main", 1)
    create_branch(store, "dev")
    taken = commit(store, "dev", 2)
    merge(store, "dev", "main")
    merged = History(store, A, P).tip("main")
    assert descends(store, A, P, merged, taken.move)
    later = commit(store, "dev", 3)
    assert common(History(store, A, P), merged, later) == taken
    remove_branch(store, "dev")
    assert descends(store, A, P, merged, taken.move), "the records of a removed branch stay"


def test_a_branch_started_again_is_another_line(store: Store) -> None:
    base = commit(store, "main", 1)
    create_branch(store, "dev")
    old = commit(store, "dev", 2)
    remove_branch(store, "dev")
    moved = commit(store, "main", 3)
    create_branch(store, "dev")
    new = commit(store, "dev", 4)
    history = History(store, A, P)
    assert common(history, new, old) is None
    assert common(history, new, moved) == moved
    assert list(history.before(old)) == [], "what showed through the old branch is not what shows through the new one"
    assert base != moved


def test_branches_that_took_each_others_place_make_no_circle(store: Store) -> None:
    commit(store, "main", 1)
    create_branch(store, "one")
    create_branch(store, "two", "one")
    time.sleep(0.002)
    remove_branch(store, "one")
    create_branch(store, "one", "two")
    history = History(store, A, P)
    assert history.older(Position("one", "")) == Position("two", "")
    assert history.older(Position("two", "")) is None, "the branch it was started from is gone"
    commit(store, "two", 2)
    commit(store, "one", 3)
    assert common(History(store, A, P), history.tip("one"), history.tip("two")) == Position("two", "")
    assert len(plan_merge(store, "one", "two").conflicts) == 1


def test_an_unknown_origin_is_an_end_and_a_lost_link_an_error(store: Store) -> None:
    commit(store, "main", 1)
    create_branch(store, "dev")
    taken = commit(store, "dev", 2)
    merge(store, "dev", "main")
    tip = History(store, A, P).tip("main")
    store.backend.delete(move_path("dev", A, P, taken.move))
    assert descends(store, A, P, tip, taken.move), "the link itself says so"
    assert not descends(store, A, P, tip, "b3:" + "0" * 64)
    first = store.moves("main", A, P)[-1]
    store.backend.delete(move_path("main", A, P, first.id))
    with pytest.raises(CorruptError, match="of a move is lost; copy it from another copy of the store"):
        descends(store, A, P, tip, "b3:" + "0" * 64)


def test_only_what_differs_is_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two copies that parted near their tips: the rest of a long chain is left alone."""
    leaves = [store.leaf(store.commit("main", A, P, "json", value)) for value in range(2)]
    for number in range(60):
        store.move("main", A, P, leaves[number % 2], store.head("main", A, P))
    slot = store.slot("main", A, P)
    assert slot is not None
    shared = slot.move
    here = store.move("main", A, P, leaves[slot.manifest == leaves[0].manifest], store.head("main", A, P))
    assert here is not None
    backend = store.backend
    # the other copy's move: the same chain, another tip
    from mlops_assets.store.store import head_path

    store.backend.write(head_path("main", A, P), slot.encode())
    there = store.move("main", A, P, leaves[slot.manifest == leaves[0].manifest], store.head("main", A, P))
    assert there is not None
    assert here.move != there.move
    read: list[str] = []
    real = backend.read

    def counted(name: str) -> bytes:
        read.append(name)
        return real(name)

    monkeypatch.setattr(backend, "read", counted)
    assert not descends(store, A, P, ("main", here.move), there.move)
    assert common(History(store, A, P), Position("main", here.move), Position("main", there.move)) == ("main", shared)
    assert sum(name.startswith("moves/") for name in read) < 12
