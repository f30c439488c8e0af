"""Many moves under one intent: made, skipped, left open, finished, given up."""

from pathlib import Path

import pytest

from mlops_assets.errors import ConflictError, CorruptError, NotStoredError, RefusedError, StoreError
from mlops_assets.store import Leaf, Store
from mlops_assets.store.backend import Content
from mlops_assets.store.branching import protect
from mlops_assets.store.changes import Step, abandon, apply, made, open_changes, read_change, resume

ASSET = "shop/raw"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def leaf(number: int) -> Leaf:
    return Leaf(f"b3:{number:064x}", f"b3:{number:064x}", ".", "json", 1, "0" * 64, number)


def show(store: Store, batch: str, to: Leaf | None) -> None:
    store.move("main", ASSET, batch, to, store.head("main", ASSET, batch))


def step(store: Store, batch: str, to: Leaf | None) -> Step:
    return Step.of(ASSET, batch, store.head("main", ASSET, batch), to, note="x")


def shown(store: Store) -> dict[str, int | None]:
    return {batch: head.rows for batch, head in store.heads("main", ASSET).items()}


def interrupted(store: Store, steps: list[Step], after: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """Begin a change whose place refuses after some moves; its id."""
    real = store.backend.swap
    count = 0

    def full(path: str, data: bytes, seen: bytes | None) -> bool:
        nonlocal count
        count += 1
        if count > after:
            raise StoreError("The disk is full.")
        return real(path, data, seen)

    with monkeypatch.context() as patch:
        patch.setattr(store.backend, "swap", full)
        with pytest.raises(StoreError, match="The disk is full"):
            apply(store, "main", "restore", steps, "why", "ann", source="tag v1")
    (change,) = open_changes(store, "main")
    return change.id


def test_all_moves_of_a_change_say_so(store: Store) -> None:
    show(store, "a", leaf(1))
    show(store, "b", leaf(1))
    steps = [step(store, "a", leaf(2)), step(store, "b", None), step(store, "c", leaf(3))]
    change = apply(store, "main", "restore", steps, "why", "ann", source="tag v1")
    assert shown(store) == {"a": 2, "c": 3}
    assert (change.finished, change.moved, change.skipped) == (True, 3, ())
    assert read_change(store, change.id) == change
    assert read_change(store, change.id[:16]) == change
    assert resume(store, change.id) == change, "finished once"
    assert open_changes(store) == []
    for item in steps:
        move = made(store, change, item)
        assert move is not None
        assert (move.message, move.who) == ("why", "ann")
        assert move.origin == {"change": change.id, "verb": "restore", "note": "x"}
    assert str(change) == f"restore {change.id} on branch main (3 steps, ann, {change.when})"
    assert apply(store, "main", "restore", []).moved == 0
    assert len(store.backend.children("changes")[1]) == 2, "what has no step writes nothing"


def test_a_step_to_what_is_shown_is_recorded_only_on_demand(store: Store) -> None:
    show(store, "a", leaf(1))
    head = store.head("main", ASSET, "a")
    apply(store, "main", "merge", [Step.of(ASSET, "a", head, leaf(1))])
    assert len(store.moves("main", ASSET, "a")) == 1
    change = apply(store, "main", "merge", [Step.of(ASSET, "a", head, leaf(1), record=True)])
    newest = store.moves("main", ASSET, "a")[0]
    assert (newest.from_manifest, newest.to_manifest) == (leaf(1).manifest, leaf(1).manifest)
    assert newest.origin["change"] == change.id


def test_what_moved_meanwhile_is_left_and_told_after_all_others(store: Store) -> None:
    for batch in "abc":
        show(store, batch, leaf(1))
    steps = [step(store, batch, leaf(2)) for batch in "abc"]
    show(store, "a", leaf(7))
    show(store, "b", leaf(2))
    change = apply(store, "main", "merge", steps)
    assert shown(store) == {"a": 7, "b": 2, "c": 2}
    ((asset, batch, sentence),) = change.skipped
    assert (asset, batch) == (ASSET, "a")
    assert "shop/raw[a] on branch main has moved since it was read" in sentence
    assert change.moved == 2
    assert read_change(store, change.id) == change


def test_an_open_change_stands_in_the_way_until_it_is_finished(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for batch in "abcd":
        show(store, batch, leaf(1))
    steps = [step(store, batch, leaf(2)) for batch in "abcd"]
    id_ = interrupted(store, steps, 2, monkeypatch)
    assert shown(store) == {"a": 2, "b": 2, "c": 1, "d": 1}
    with pytest.raises(ConflictError) as refusal:
        apply(store, "main", "merge", [step(store, "d", leaf(5))])
    assert f"The restore {id_} on branch main (4 steps, ann, " in str(refusal.value)
    assert f"finish it with: mlops-assets merge --continue {id_}   or give it up with: " in str(refusal.value)
    assert f"mlops-assets merge --abandon {id_}" in str(refusal.value)
    # meanwhile one is moved on from, one is moved otherwise
    show(store, "b", leaf(8))
    show(store, "c", leaf(9))
    change = resume(store, id_[:17])
    assert shown(store) == {"a": 2, "b": 8, "c": 9, "d": 2}
    assert [item.batch for item in change.skipped] == ["c"]
    assert change.moved == 3
    assert open_changes(store) == []


def test_a_step_that_was_undone_by_others_is_not_made_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before and after the step and another's deletion, there is no head: only the records tell."""
    id_ = interrupted(store, [step(store, "a", leaf(2)), step(store, "b", leaf(2))], 1, monkeypatch)
    show(store, "a", None)
    change = resume(store, id_)
    assert (shown(store), change.moved) == ({"b": 2}, 2)


def test_a_change_can_be_given_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for batch in "ab":
        show(store, batch, leaf(1))
    id_ = interrupted(store, [step(store, batch, leaf(2)) for batch in "ab"], 1, monkeypatch)
    change = abandon(store, id_, "bob")
    assert (change.abandoned, change.moved, shown(store)) == (True, 1, {"a": 2, "b": 1})
    assert change.skipped == (("shop/raw", "b", "shop/raw[b] was not done: bob gave the change up."),)
    assert read_change(store, id_) == change
    with pytest.raises(ConflictError, match=f"is finished; take it back with: mlops-assets revert {id_}"):
        abandon(store, id_)
    assert resume(store, id_) == change
    apply(store, "main", "merge", [step(store, "b", leaf(3))])


def test_two_who_finish_at_once_agree(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for batch in "ab":
        show(store, batch, leaf(1))
    id_ = interrupted(store, [step(store, batch, leaf(2)) for batch in "ab"], 1, monkeypatch)
    real = store.backend.create
    other = Store.open(store.root)

    def beaten(path: str, content: Content) -> bool:
        if path.endswith(".done"):
            resume(other, id_)
        return real(path, content)

    monkeypatch.setattr(store.backend, "create", beaten)
    assert resume(store, id_) == read_change(other, id_)
    assert len(store.moves("main", ASSET, "b")) == 2


def test_a_protected_branch_takes_merges_only(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    show(store, "a", leaf(1))
    protect(store, "main")
    steps = [step(store, "a", leaf(2))]
    with pytest.raises(RefusedError, match=r"main is protected: it moves by merges only. .* mean it: --protected"):
        apply(store, "main", "restore", steps)
    assert store.backend.children("changes") == ([], []), "nothing was begun"
    assert apply(store, "main", "restore", steps, protected=True).moved == 1
    assert apply(store, "main", "merge", [step(store, "a", leaf(3))]).moved == 1
    # a merge that was begun before the branch asked for more
    real = store.backend.swap
    with monkeypatch.context() as patch:
        patch.setattr(store.backend, "swap", lambda *_: (_ for _ in ()).throw(StoreError("The disk is full.")))
        with pytest.raises(StoreError, match="full"):
            apply(store, "main", "merge", [step(store, "a", leaf(4))])
    assert store.backend.swap == real
    (change,) = open_changes(store)
    protect(store, "main", ["audit"])
    with pytest.raises(RefusedError, match=f"asks for audit since the merge {change.id} was begun; give it up with"):
        resume(store, change.id)


def test_unknown_ambiguous_and_damaged_changes(store: Store) -> None:
    show(store, "a", leaf(1))
    first = apply(store, "main", "merge", [step(store, "a", leaf(2))])
    second = apply(store, "main", "merge", [step(store, "a", leaf(3))])
    with pytest.raises(NotStoredError, match="There is no change 'x' in store at"):
        read_change(store, "x")
    with pytest.raises(NotStoredError, match="There is no change ''"):
        read_change(store, "")
    with pytest.raises(StoreError, match=r"'20' could be 2 changes: .*give more of it"):
        read_change(store, "20")
    path = store.root / f"changes/{first.id}.json"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"merge"', b'"marge"'))
    with pytest.raises(CorruptError, match=f"changes/{first.id}.json is damaged"):
        read_change(store, first.id)
    path.write_bytes(whole[:50])
    with pytest.raises(CorruptError, match="is not as the store writes it; copy it from another copy of the store"):
        read_change(store, first.id)
    path.write_bytes(whole.replace(b'"format":1', b'"format":9'))
    with pytest.raises(StoreError, match=r"is written in format 9, and this mlops_assets reads up to 1"):
        read_change(store, first.id)
    (store.root / f"changes/{second.id}.done").write_bytes(b'{"format":1}')
    with pytest.raises(CorruptError, match=r"The end .* of a change is not as the store writes it"):
        read_change(store, second.id)


def test_an_object_store_is_asked_for_many_at_once() -> None:
    store = Store.open("memory://test-changes")
    steps = [Step.of(ASSET, f"{number}", None, leaf(number)) for number in range(40)]
    assert apply(store, "main", "merge", steps).moved == 40
    assert len(store.heads("main", ASSET)) == 40
