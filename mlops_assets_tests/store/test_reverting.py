"""Taking moves back: whole changes, single heads, on plain, started and protected branches."""

import time
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.errors import ConflictError, CorruptError, NotStoredError, RefusedError, StoreError
from mlops_assets.store import Store
from mlops_assets.store.branching import create_branch, protect
from mlops_assets.store.changes import Change, abandon, open_changes
from mlops_assets.store.merging import merge
from mlops_assets.store.reverting import revert

ASSET = "shop/cleaned"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def commit(store: Store, branch: str, **values: object) -> None:
    for batch, value in values.items():
        store.commit(branch, ASSET, batch, "json", value)


def shown(store: Store, branch: str = "main") -> dict[str, Any]:
    leaves = store.leaves(branch, ASSET)
    return {batch: store.get(store.manifest(ASSET, batch, leaf.manifest)) for batch, leaf in leaves.items()}


def merged(store: Store) -> Change:
    """Let main (a=1 b=1) take a=2 c=2 and the loss of b from dev."""
    commit(store, "main", a=1, b=1)
    create_branch(store, "dev")
    commit(store, "dev", a=2, c=2)
    store.move("dev", ASSET, "b", None, store.head("dev", ASSET, "b"))
    change = merge(store, "dev", "main").change
    assert change is not None
    assert shown(store) == {"a": 2, "c": 2}
    return change


def test_a_change_is_taken_back_and_that_too(store: Store) -> None:
    change = merged(store)
    back = revert(store, "main", change.id[:17], message="no good", who="ann")
    assert shown(store) == {"a": 1, "b": 1}
    assert (back.verb, back.source, back.moved, back.message) == ("revert", f"merge {change.id}", 3, "no good")
    move = store.moves("main", ASSET, "c")[0]
    assert move.to_manifest == ""
    assert move.origin["reverts"] == store.moves("main", ASSET, "c")[1].id
    revert(store, "main", back.id)
    assert shown(store) == {"a": 2, "c": 2}
    assert len(store.moves("main", ASSET, "a")) == 4, "nothing is deleted"


def test_heads_that_moved_since_are_refused_or_left(store: Store) -> None:
    change = merged(store)
    store.commit("main", ASSET, "a", "json", 7, who="bob")
    when = store.moves("main", ASSET, "a")[0].when
    with pytest.raises(ConflictError) as refusal:
        revert(store, "main", change.id)
    assert refusal.value.sentences == (
        f"{ASSET}[a] has moved since the merge {change.id}: bob moved it at {when}.",
        "Nothing was reverted. Revert those moves first, or leave these heads as they are: --only-unmoved",
    )
    assert shown(store) == {"a": 7, "c": 2}
    assert revert(store, "main", change.id, only_unmoved=True).moved == 2
    assert shown(store) == {"a": 7, "b": 1}
    with pytest.raises(NotStoredError, match=r"nothing to take back of merge .* on branch main: no head stands where"):
        revert(store, "main", change.id, only_unmoved=True)


def test_the_newest_move_of_one_head(store: Store) -> None:
    commit(store, "main", a=1)
    commit(store, "main", a=2)
    revert(store, "main", f"{ASSET}[a]")
    assert shown(store) == {"a": 1}
    commit(store, "main", **{"b[1]": 1})
    revert(store, "main", (ASSET, "b[1]"))
    assert shown(store) == {"a": 1}, "the first move of a head is taken back by taking the head away"
    create_branch(store, "dev")
    with pytest.raises(
        NotStoredError, match=r"\[a\] has not moved on branch dev since it was started from branch main,"
    ):
        revert(store, "dev", (ASSET, "a"))
    with pytest.raises(NotStoredError, match=r"\[z\] has not moved on branch main, so there is nothing to revert"):
        revert(store, "main", (ASSET, "z"))
    commit(store, "dev", a=5)
    revert(store, "dev", (ASSET, "a"))
    assert shown(store, "dev") == {"a": 1}, "what the branch was started from shows again"
    store.move("dev", ASSET, "a", None, store.head("dev", ASSET, "a"))
    revert(store, "dev", (ASSET, "a"))
    assert shown(store, "dev") == {"a": 1}


def test_what_cannot_be_reverted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    change = merged(store)
    with pytest.raises(NotStoredError, match="There is no change 'x1' in store at"):
        revert(store, "main", "x1")
    with pytest.raises(StoreError, match=rf"moved the branch main, not dev; revert it there: .* {change.id} --on main"):
        revert(store, "dev", change.id)
    with pytest.raises(NotStoredError, match="There is no branch 'nobody'"):
        revert(store, "nobody", change.id)
    with monkeypatch.context() as patch:
        patch.setattr(store.backend, "swap", lambda *_: (_ for _ in ()).throw(StoreError("The disk is full.")))
        with pytest.raises(StoreError, match="full"):
            revert(store, "main", change.id)
    (left,) = open_changes(store)
    with pytest.raises(ConflictError, match=f"The revert {left.id} on branch main .* is not finished"):
        revert(store, "main", change.id)
    abandon(store, left.id)
    protect(store, "main")
    with pytest.raises(RefusedError, match=r"main is protected: it moves by merges only\. If it has to go back, say"):
        revert(store, "main", change.id)
    # what was there before has lost its file
    first = store.moves("main", ASSET, "a")[-1]
    manifest = store.manifest(ASSET, "a", first.to_manifest)
    assert manifest.blob is not None
    (store.root / manifest.blob.path).unlink()
    with pytest.raises(CorruptError, match="has lost its file"):
        revert(store, "main", change.id, protected=True)
    store.put(ASSET, "a", "json", 1)
    assert revert(store, "main", change.id, protected=True).moved == 3


def test_a_head_that_kept_ours_has_nothing_to_take_back(store: Store) -> None:
    commit(store, "main", a=1, b=1)
    create_branch(store, "dev")
    commit(store, "main", a=2)
    commit(store, "dev", a=3, b=3)
    change = merge(store, "dev", "main", "ours").change
    assert change is not None
    assert revert(store, "main", change.id).moved == 1
    assert shown(store) == {"a": 2, "b": 1}


def test_a_long_history_is_not_read(store: Store) -> None:
    commit(store, "main", a=0)
    first = store.leaf(store.heads("main", ASSET)["a"])
    commit(store, "main", a=1)
    second = store.leaf(store.heads("main", ASSET)["a"])
    for number in range(60):
        store.move("main", ASSET, "a", (first, second)[number % 2], store.head("main", ASSET, "a"))
    read: list[str] = []
    real = store.backend.read

    def counted(path: str) -> bytes:
        read.append(path)
        return real(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.backend, "read", counted)
        started = time.process_time()
        revert(store, "main", (ASSET, "a"))
    assert sum(path.startswith("moves/") for path in read) < 6
    assert time.process_time() - started < 1
