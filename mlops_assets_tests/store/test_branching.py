"""Starting, removing and protecting branches; killed anywhere, a branch is there or it is not."""

import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_assets.errors import ConflictError, NotStoredError, RefusedError, StoreError
from mlops_assets.store import Leaf, Store
from mlops_assets.store.branching import create_branch, protect, remove_branch, unprotect
from mlops_assets.store.changes import Step, apply
from mlops_assets.store.digest import canonical_json
from mlops_assets.store.freezing import freeze
from mlops_assets.store.store import protection_path
from mlops_assets.store.tags import Tag, tag_path
from mlops_assets.store.trees import summary
from mlops_assets_tests.store.test_crash import die_at, in_child

ASSET = "shop/raw"
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a folder of one's own is made in it


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture
def quick() -> Iterator[Path]:
    """A folder in memory where there is one: a kill loses nothing there either, and every operation is cheap."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


def leaf(number: int) -> Leaf:
    return Leaf(f"b3:{number:064x}", f"b3:{number:064x}", ".", "json", 1, "0" * 64, number)


def show(store: Store, branch: str, batch: str, to: Leaf | None) -> None:
    store.move(branch, ASSET, batch, to, store.head(branch, ASSET, batch))


def shown(store: Store, branch: str) -> dict[str, int | None]:
    return {batch: head.rows for batch, head in store.heads(branch, ASSET).items()}


def tagged(store: Store, name: str, branch: str = "main") -> None:
    assets = {asset: summary(tree, store.tree(tree)) for asset, tree in freeze(store, branch).items()}
    store.backend.create(tag_path(name), Tag(name, "shop", branch, assets, when="2999-01-01T00:00:00+00:00").encode())


def test_a_branch_is_one_file_and_goes_its_own_way(store: Store) -> None:
    for batch in "abc":
        show(store, "main", batch, leaf(1))
    before = {entry.path for entry in store.backend.entries("")}
    branch = create_branch(store, "dev", message="try", who="ann")
    after = {entry.path for entry in store.backend.entries("")} - before
    assert {path.partition("/")[0] for path in after} <= {"branches", "trees", "locks"}
    assert (branch.source, branch.parent, branch.who, branch.message) == ("branch main", "main", "ann", "try")
    assert store.branch("dev") == branch
    show(store, "dev", "a", leaf(2))
    show(store, "dev", "b", None)
    show(store, "main", "c", leaf(3))
    assert shown(store, "dev") == {"a": 2, "c": 1}
    assert shown(store, "main") == {"a": 1, "b": 1, "c": 3}
    deeper = create_branch(store, "team/ünal", "dev")
    assert (deeper.source, deeper.parent) == ("branch dev", "dev")
    assert shown(store, "team/ünal") == {"a": 2, "c": 1}
    assert store.branches() == ["dev", "main", "team/ünal"]
    here = create_branch(store, "here", ".", current="dev")
    assert here.base == deeper.base


def test_a_branch_of_a_tag_or_a_moment(store: Store) -> None:
    first = store.commit("main", ASSET, "a", "json", 1)
    tagged(store, "v1")
    moment = store.moves("main", ASSET, "a")[0].when
    time.sleep(0.002)
    store.commit("main", ASSET, "a", "json", 2)
    branch = create_branch(store, "fix", "v1")
    assert (branch.source, branch.parent, dict(store.leaves("fix", ASSET))) == ("tag v1", "main", {"a": first.leaf})
    old = create_branch(store, "old", f"main@{moment}")
    assert (old.parent, dict(store.leaves("old", ASSET))) == ("main", {"a": first.leaf})
    with pytest.raises(NotStoredError, match="There is no branch, tag or version 'v2'"):
        create_branch(store, "other", "v2")
    with pytest.raises(StoreError, match="is one version of one batch, and a branch starts from all heads"):
        create_branch(store, "other", first.version)
    assert store.branches() == ["fix", "main", "old"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("main", "There is a branch 'main' already; choose another name, or remove it: mlops-assets branch --delete"),
        ("dev", "There is a branch 'dev' already"),
        ("v1", "'v1' is the name of a tag, and a branch of that name could not be told from it"),
        ("a@b", "A branch cannot be called 'a@b': `@` and `:`, a `.` at the beginning and the word HEAD mean"),
        ("tag:a", "A branch cannot be called 'tag:a'"),
        (".hidden", "A branch cannot be called '.hidden'"),
        ("..", r"A branch cannot be called '\.\.'"),
        ("HEAD", "A branch cannot be called 'HEAD'"),
        ("", "A name is empty"),
        ("a\nb", "holds a control character"),
        ("x" * 200, "takes 200 bytes in a path"),
        ("origin/main", "'origin/main' would read as the branch 'main' of the remote 'origin'; choose another name"),
    ],
)
def test_names_that_a_branch_cannot_have(store: Store, name: str, said: str) -> None:
    create_branch(store, "dev")
    tagged(store, "v1")
    store.backend.create("remotes/origin.json", canonical_json({"format": 1, "name": "origin", "url": "/x"}))
    with pytest.raises(StoreError, match=said):
        create_branch(store, name)
    assert store.branches() == ["dev", "main"]


def test_a_branch_is_removed_with_its_heads_and_starts_afresh(store: Store) -> None:
    show(store, "main", "a", leaf(1))
    create_branch(store, "dev")
    other = Store.open(store.root)
    show(other, "dev", "a", leaf(2))
    show(other, "dev", "b", leaf(2))
    assert remove_branch(store, "dev") == 2
    with pytest.raises(NotStoredError, match=r"There is no branch 'dev' .* Start it with: mlops-assets branch dev"):
        store.branch("dev")
    # somebody who did not hear of it publishes after all
    show(other, "dev", "c", leaf(9))
    create_branch(store, "dev")
    assert shown(store, "dev") == {"a": 1}
    with pytest.raises(StoreError, match="The branch main cannot be removed: everything starts from it"):
        remove_branch(store, "main")
    with pytest.raises(NotStoredError, match="There is no branch 'nobody'"):
        remove_branch(store, "nobody")
    protect(store, "dev")
    with pytest.raises(RefusedError, match=r"dev is protected and cannot be removed; .* mlops-assets unprotect dev"):
        remove_branch(store, "dev")
    unprotect(store, "dev")
    assert remove_branch(store, "dev") == 0


def test_a_branch_with_an_open_change_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    show(store, "main", "a", leaf(1))
    create_branch(store, "dev")
    with monkeypatch.context() as patch:
        patch.setattr(store.backend, "swap", lambda *_: (_ for _ in ()).throw(StoreError("The disk is full.")))
        with pytest.raises(StoreError, match="full"):
            apply(store, "dev", "merge", [Step.of(ASSET, "a", store.head("dev", ASSET, "a"), leaf(2))])
    with pytest.raises(ConflictError, match=r"is not finished\. It may be running"):
        remove_branch(store, "dev")


def test_protection_is_a_record_that_one_writer_at_a_time_changes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match="The branch main is not protected"):
        unprotect(store, "main")
    with pytest.raises(NotStoredError, match="There is no branch 'nobody'"):
        protect(store, "nobody")
    protection = protect(store, "main", ["audit", "drift", "audit"], who="ann")
    assert store.protection("main") == protection
    assert (protection.checks, protection.who) == (("audit", "drift"), "ann")
    with pytest.raises(RefusedError, match="The branch main is protected: it moves by merges only"):
        store.commit("main", ASSET, "a", "json", 1)
    unprotect(store, "main")
    assert store.protection("main") is None
    store.commit("main", ASSET, "a", "json", 1)
    path = protection_path("main")
    real = store.backend.swap

    def beaten(path_: str, data: bytes, seen: bytes | None) -> bool:
        if path_ == path:
            store.backend.write(path, protection.encode())
        return real(path_, data, seen)

    monkeypatch.setattr(store.backend, "swap", beaten)
    with pytest.raises(ConflictError, match="Somebody else changed the protection of branch main at this moment"):
        protect(store, "main")


def test_a_kill_at_any_operation_leaves_a_branch_or_none(quick: Path) -> None:
    template = Store.open(quick / "template")
    for batch in "abc":
        show(template, "main", batch, leaf(1))
    create_branch(template, "dev")
    show(template, "dev", "a", leaf(5))
    show(template, "dev", "b", leaf(5))
    shutil.rmtree(template.root / "locks")
    for number in range(1, 200):
        root = quick / "store"
        shutil.copytree(template.root, root)

        def work(root: Path = root, number: int = number) -> None:
            die_at(number)
            store = Store.open(root)
            if "dev" in store.branches():
                remove_branch(store, "dev")
            create_branch(store, "dev")

        code = in_child(work)
        store = Store.open(root)
        assert shown(store, "main") == {"a": 1, "b": 1, "c": 1}
        if code == 0:
            assert number > 25, "the hooks saw the work"
            assert shown(store, "dev") == {"a": 1, "b": 1, "c": 1}
            break
        assert code == -signal.SIGKILL
        if "dev" in store.branches():
            assert shown(store, "dev") in ({"a": 5, "b": 5, "c": 1}, {"a": 1, "b": 1, "c": 1})
        else:
            # what the next one starts holds nothing of the old one
            create_branch(store, "dev")
            assert shown(store, "dev") == {"a": 1, "b": 1, "c": 1}
        shutil.rmtree(root)
    else:
        pytest.fail("the work never finished")
