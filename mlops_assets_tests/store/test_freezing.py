"""One picture of all heads, while others move them."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mlops_assets.errors import ConflictError, NotStoredError
from mlops_assets.store import Leaf, Store
from mlops_assets.store.branching import create_branch
from mlops_assets.store.freezing import freeze


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def leaf(number: int) -> Leaf:
    return Leaf(f"b3:{number:064x}", f"b3:{number:064x}", ".", "json", 1, "0" * 64, number)


def show(store: Store, branch: str, asset: str, batch: str, to: Leaf | None) -> None:
    store.move(branch, asset, batch, to, store.head(branch, asset, batch))


def test_a_branch_is_frozen_as_its_readers_see_it(store: Store) -> None:
    show(store, "main", "shop/raw", "a", leaf(1))
    show(store, "main", "shop/raw", "b/ü", leaf(2))
    show(store, "main", "shop/raw/orders", "a", leaf(3))
    show(store, "main", "other/raw", "a", leaf(4))
    trees = freeze(store, "main")
    assert {asset: dict(store.tree(tree)) for asset, tree in trees.items()} == {
        asset: store.leaves("main", asset) for asset in store.assets("main")
    }
    assert freeze(store, "main", ["shop/raw"]) == {"shop/raw": trees["shop/raw"]}, "and nothing below it"
    assert freeze(store, "main", ["shop/none"]) == {}
    create_branch(store, "dev")
    assert freeze(store, "dev") == trees
    show(store, "dev", "shop/raw", "a", None)
    show(store, "dev", "shop/raw", "c", leaf(5))
    show(store, "dev", "other/raw", "a", None)
    frozen = freeze(store, "dev")
    assert dict(store.tree(frozen["shop/raw"])) == {"b/ü": leaf(2), "c": leaf(5)}
    assert frozen["shop/raw/orders"] == trees["shop/raw/orders"]
    assert "other/raw" not in frozen, "an asset without a batch is left out"
    with pytest.raises(NotStoredError, match="There is no branch 'nobody'"):
        freeze(store, "nobody")


def test_what_moved_while_it_was_read_is_read_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for batch in "abc":
        show(store, "main", "shop/raw", batch, leaf(1))
    real = store.backend.read_many
    calls = 0

    def moved_meanwhile(paths: Sequence[str]) -> Iterator[bytes | None]:
        nonlocal calls
        calls += 1
        found = list(real(paths))
        if calls == 1:
            show(store, "main", "shop/raw", "b", leaf(2))
            show(store, "main", "shop/raw", "d", leaf(2))
            # one that was taken out of the folder, as a removed branch's are
            store.backend.delete("heads/main/shop/raw/c")
        return iter(found)

    monkeypatch.setattr(store.backend, "read_many", moved_meanwhile)
    (tree,) = freeze(store, "main").values()
    assert dict(store.tree(tree)) == {"a": leaf(1), "b": leaf(2), "d": leaf(2)}
    assert calls >= 3


def test_what_never_stands_still_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    show(store, "main", "shop/raw", "a", leaf(0))
    real = store.backend.read_many
    number = 0

    def restless(paths: Sequence[str]) -> Iterator[bytes | None]:
        nonlocal number
        number += 1
        found = list(real(paths))
        show(store, "main", "shop/raw", "a", leaf(number))
        return iter(found)

    monkeypatch.setattr(store.backend, "read_many", restless)
    monkeypatch.setattr("mlops_assets.store.freezing.PATIENCE", 0.05)
    with pytest.raises(ConflictError, match=r"heads of branch main did not stand still .* wait until the runs on it"):
        freeze(store, "main")


def test_a_picture_under_a_writer_is_one_moment(store: Store) -> None:
    """The writer moves the first head, then the last: at any moment the first is at most one ahead."""
    batches = [f"{number:03d}" for number in range(120)]
    for batch in batches:
        show(store, "main", "shop/raw", batch, leaf(0))
    writer = os.fork()
    if not writer:
        try:
            for number in range(1, 1000):
                show(store, "main", "shop/raw", batches[0], leaf(number))
                show(store, "main", "shop/raw", batches[-1], leaf(number))
                time.sleep(0.02)
        finally:
            os._exit(0)
    try:
        seen = set()
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            leaves = store.tree(freeze(store, "main")["shop/raw"])
            first, last = leaves[batches[0]].rows, leaves[batches[-1]].rows
            assert first is not None
            assert last is not None
            assert first - last in {0, 1}
            seen.add(first)
    finally:
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
    assert len(seen) > 3
