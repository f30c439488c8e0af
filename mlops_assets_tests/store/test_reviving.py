"""Going back to what only the history of moves names: still there, and spared by a gc that is at work."""

import time
from pathlib import Path

import pytest

from mlops_assets.errors import CorruptError
from mlops_assets.store import Store
from mlops_assets.store.branching import create_branch
from mlops_assets.store.garbage import Policy, gc
from mlops_assets.store.restoring import restore
from mlops_assets.store.reverting import revert
from mlops_assets.store.store import now
from mlops_assets.store.verify import verify
from mlops_assets_tests.store.tended import CLEANED, age, commit, contents, files, rows

BATCH = "2024-01"
LATER = Policy(keep_last=0, keep_moves=0, keep_refused=0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def moment() -> str:
    """A reference to main as it is now; nothing else happens in that millisecond."""
    time.sleep(0.005)
    then = now()
    time.sleep(0.005)
    return f"main@{then}"


def test_what_gc_took_is_not_shown_again(store: Store) -> None:
    commit(store, CLEANED, BATCH, rows(1))
    then = moment()
    commit(store, CLEANED, BATCH, rows(1, 2))
    age(store)
    gc(store, yes=True, policy=LATER)
    before = contents(store)
    for again in (
        lambda: create_branch(store, "old", then),
        lambda: restore(store, "main", then),
        lambda: revert(store, "main", (CLEANED, BATCH)),
    ):
        with pytest.raises(CorruptError, match="has lost its file"):
            again()
    assert store.branches() == ["main"]
    assert {path for path in contents(store) if path not in before} <= {
        path for path in files(store) if path.startswith("trees/")
    }
    assert verify(store).sound


@pytest.mark.parametrize("verb", ["branch", "restore", "revert"])
def test_what_only_history_names_is_young_before_it_is_shown_again(store: Store, verb: str) -> None:
    """A gc that looked at the pointers before takes nothing that is young."""
    first = commit(store, CLEANED, BATCH, rows(1))
    then = moment()
    commit(store, CLEANED, BATCH, rows(1, 2))
    age(store)
    if verb == "branch":
        create_branch(store, "old", then)
        (store.root / "branches/old.json").unlink()
    elif verb == "restore":
        restore(store, "main", then)
        store.move("main", CLEANED, BATCH, None, store.head("main", CLEANED, BATCH))
    else:
        revert(store, "main", (CLEANED, BATCH))
        store.move("main", CLEANED, BATCH, None, store.head("main", CLEANED, BATCH))
    taken_ = gc(Store.open(store.root), yes=True, policy=LATER)
    found = store.manifest(CLEANED, BATCH, first.manifest).blob
    assert found
    assert found.path in files(store)
    # what the head showed before that has become old
    assert taken_.kinds["values"].files == (verb != "branch")
