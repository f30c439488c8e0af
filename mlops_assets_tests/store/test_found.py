"""What random histories and kills found, each in as few steps as it takes."""

import os
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.errors import NotStoredError
from mlops_assets.store import Head, Input, Manifest, Store, transfer
from mlops_assets.store.branching import create_branch, remove_branch
from mlops_assets.store.garbage import Policy, gc
from mlops_assets.store.merging import merge, plan_merge
from mlops_assets.store.remotes import add_remote
from mlops_assets.store.repair import repair
from mlops_assets.store.restoring import restore
from mlops_assets.store.store import branch_path, now
from mlops_assets.store.verify import Report, verify
from mlops_assets_tests.store.verbs import age

A, B = "shop/a", "shop/b"
NOTHING_BEYOND = Policy(keep_last=0, keep_moves=0, keep_refused=0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture
def remote(tmp_path: Path, store: Store) -> Store:
    add_remote(store, "origin", str(tmp_path / "remote"))
    return Store.open(tmp_path / "remote")


def show(store: Store, branch: str, value: Any, asset: str = A, batch: str = "1") -> Head:
    return store.commit(branch, asset, batch, "json", value)


def take_away(store: Store, branch: str, asset: str = A, batch: str = "1") -> None:
    store.move(branch, asset, batch, None, store.head(branch, asset, batch))


def shows(store: Store, branch: str, asset: str = A) -> dict[str, Any]:
    heads = store.heads(branch, asset)
    return {batch: store.get(store.manifest(asset, batch, head.manifest)) for batch, head in heads.items()}


def sound(store: Store) -> Report:
    report = verify(store)
    assert not report.problems, [problem.sentence for problem in report.problems]
    assert not report.unknown
    return report


def test_the_moves_of_an_earlier_branch_of_a_name_are_no_lost_heads(store: Store) -> None:
    show(store, "main", 1)
    create_branch(store, "dev")
    show(store, "dev", 2)
    show(store, "dev", 3)
    remove_branch(store, "dev")
    create_branch(store, "dev")
    sound(store)
    repair(store, yes=True)
    assert shows(store, "dev") == {"1": 1}


def test_a_removal_that_was_cut_off_is_no_damage_and_is_finished(store: Store) -> None:
    create_branch(store, "dev")
    show(store, "dev", 1)
    head = store.backend.read("heads/dev/shop/a/1")
    assert remove_branch(store, "dev") == 1
    with pytest.raises(NotStoredError, match="There is no branch 'dev'"):
        remove_branch(store, "dev")
    store.backend.write("heads/dev/shop/a/1", head)
    assert any("branch --delete dev" in note for note in sound(store).notes)
    assert remove_branch(store, "dev") == 1
    assert sound(store).notes == []


def test_heads_whose_branch_lost_its_file_are_damage(store: Store) -> None:
    create_branch(store, "dev")
    show(store, "dev", 1)
    store.backend.delete(branch_path("dev"))
    (problem,) = verify(Store.open(store.root)).problems
    assert "no file says what it starts from" in problem.sentence
    assert remove_branch(store, "dev") == 1
    sound(store)


def test_a_branch_comes_back_by_a_pull_where_it_was_removed(store: Store, remote: Store) -> None:
    show(store, "main", 1)
    create_branch(store, "dev")
    show(store, "dev", 2)
    transfer.push(store, "origin", ["dev"])
    remove_branch(store, "dev")
    transfer.pull(store, "origin", ["dev"])
    assert shows(store, "dev") == shows(remote, "dev") == {"1": 2}


def test_what_was_fetched_and_not_pulled_is_no_lost_head(store: Store, remote: Store) -> None:
    show(remote, "main", 1)
    show(remote, "main", 2)
    transfer.fetch(store, "origin", ["main"])
    assert any("fetched and not pulled" in note for note in sound(store).notes)
    repair(store, yes=True)
    assert shows(store, "main") == {}


def test_moves_that_came_with_a_merge_are_no_lost_heads(store: Store, remote: Store) -> None:
    show(store, "main", 1, batch="0")
    create_branch(store, "dev")
    transfer.push(store, "origin", ["main", "dev"])
    show(store, "dev", 1)
    show(store, "dev", 2)
    merge(store, "dev", "main")
    transfer.push(store, "origin", ["main"])
    sound(remote)
    repair(remote, yes=True)
    assert shows(remote, "dev") == {"0": 1}
    assert shows(remote, "main") == {"0": 1, "1": 2}


def test_values_that_gc_took_before_a_push_are_no_damage_there(store: Store, remote: Store) -> None:
    show(store, "main", 1)
    show(store, "main", 2)
    age(store.root)
    assert gc(store, yes=True, policy=NOTHING_BEYOND).files == 1
    transfer.push(store, "origin", ["main"])
    sound(remote)


def test_records_that_came_before_their_inputs_are_no_damage(store: Store) -> None:
    stored = store.put(B, "1", "json", 1)
    source = Input(A, "1", "b3:" + "0" * 64, "b3:" + "1" * 64)
    manifest = Manifest(B, "1", "json", stored.version, stored.blob, accepted=True, inputs=(source,))
    store.record(manifest)
    sound(store)
    store.publish("main", manifest, None)
    (problem,) = verify(store).problems
    assert problem.what == "manifest"


def test_what_an_interrupted_gc_set_aside_is_no_damage(store: Store) -> None:
    old, _ = show(store, "main", 1), show(store, "main", 2)
    path = store.inside(store.manifest(A, "1", old.manifest).blob)  # type: ignore[arg-type]
    store.backend.rename(path, f"trash/20260101T000000-00000000/{path}")
    sound(store)


def test_the_end_of_a_change_that_came_before_its_beginning_is_no_damage(store: Store) -> None:
    show(store, "main", 1)
    create_branch(store, "dev")
    show(store, "dev", 2)
    change = merge(store, "dev", "main").change
    assert change
    store.backend.delete(f"changes/{change.id}.json")
    sound(store)


def test_a_restore_leaves_datasets_alone_that_are_not_shown(store: Store) -> None:
    show(store, "main", 1)
    show(store, "main", 1, "other/a")
    create_branch(store, "dev")
    take_away(store, "dev", "other/a")
    show(store, "main", 2)
    restore(store, "main", "branch:dev")
    assert shows(store, "main") == {"1": 1}
    assert shows(store, "main", "other/a") == {"1": 1}


def test_a_restore_to_a_moment_leaves_datasets_alone_that_came_later(store: Store) -> None:
    show(store, "main", 1)
    moment = now()
    while now() == moment:
        os.sched_yield()
    show(store, "main", 2)
    show(store, "main", 1, "other/a")
    restore(store, "main", f"main@{moment}")
    assert shows(store, "main") == {"1": 1}
    assert shows(store, "main", "other/a") == {"1": 1}


def test_a_merge_by_way_of_a_removed_branch_keeps_what_was_taken_away(store: Store) -> None:
    show(store, "main", 1)
    show(store, "main", 1, batch="2")
    create_branch(store, "middle")
    create_branch(store, "dev", "middle")
    remove_branch(store, "middle")
    take_away(store, "dev", batch="1")
    take_away(store, "main", batch="2")
    plan = plan_merge(store, "dev", "main")
    assert [(item.batch, item.theirs) for item in plan.fast_forwards] == [("1", None)]
    merge(store, "dev", "main")
    assert shows(store, "main") == {}
