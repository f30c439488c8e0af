"""Merging, batch by batch: by the base, fast-forward, conflicts, protected targets, kills, and against a model."""

import itertools
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.errors import ConflictError, CorruptError, NotStoredError, RefusedError, StoreError
from mlops_assets.store import Head, Leaf, Store
from mlops_assets.store.branching import create_branch, protect, remove_branch
from mlops_assets.store.changes import open_changes
from mlops_assets.store.digest import canonical_json
from mlops_assets.store.freezing import freeze
from mlops_assets.store.merging import MergePlan, merge, plan_merge
from mlops_assets.store.refs import tracked_path
from mlops_assets.store.remotes import add_remote
from mlops_assets.store.reverting import revert
from mlops_assets.store.snapshots import tag
from mlops_assets.store.store import head_path, now
from mlops_assets.store.tags import Tag, tag_path
from mlops_assets.store.transfer import push
from mlops_assets.store.trees import summary
from mlops_assets_tests.store.test_crash import die_at, in_child

ASSET = "shop/cleaned"
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a folder of one's own is made in it


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture
def quick() -> Iterator[Path]:
    """A folder in memory where there is one: a kill loses nothing there either, and every operation is cheap."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


def commit(store: Store, branch: str, **values: object) -> None:
    for batch, value in values.items():
        store.commit(branch, ASSET, batch, "json", value)


def take_away(store: Store, branch: str, batch: str) -> None:
    store.move(branch, ASSET, batch, None, store.head(branch, ASSET, batch))


def shown(store: Store, branch: str) -> dict[str, Any]:
    leaves = store.leaves(branch, ASSET)
    return {batch: store.get(store.manifest(ASSET, batch, leaf.manifest)) for batch, leaf in leaves.items()}


def tagged(store: Store, name: str, branch: str = "main") -> None:
    assets = {asset: summary(tree, store.tree(tree)) for asset, tree in freeze(store, branch).items()}
    when = store.branch(branch).when or "2999-01-01T00:00:00+00:00"
    store.backend.create(tag_path(name), Tag(name, "shop", branch, assets, when=when).encode())


def later() -> str:
    """A moment after which, and before which, nothing happens in the same millisecond."""
    time.sleep(0.002)
    moment = now()
    time.sleep(0.002)
    return moment


def said(plan: MergePlan) -> tuple[list[str], list[str], int]:
    return [item.batch for item in plan.fast_forwards], [item.batch for item in plan.conflicts], plan.kept


# --- the base --------------------------------------------------------------------------------------------------------


def test_each_batch_goes_by_what_both_sides_had(store: Store) -> None:
    commit(store, "main", same=1, ours=1, theirs=1, both=1, agreed=1, gone=1, ours_gone=1)
    create_branch(store, "dev")
    commit(store, "main", ours=2, both=2, agreed=3, ours_new=1, new=1)
    commit(store, "dev", theirs=2, both=3, agreed=3, theirs_new=1, new=2)
    take_away(store, "dev", "gone")
    take_away(store, "main", "ours_gone")
    plan = plan_merge(store, "dev", "main")
    assert said(plan) == (["gone", "theirs", "theirs_new"], ["both", "new"], 0)
    assert (plan.source, plan.into, plan.up_to_date) == ("branch dev", "main", False)
    back = plan_merge(store, "main", "dev")
    assert said(back) == (["ours", "ours_gone", "ours_new"], ["both", "new"], 3)
    one = plan_merge(store, "dev", "main", assets=[ASSET], batches=["theirs", "both"])
    assert said(one) == (["theirs"], ["both"], 0)
    with pytest.raises(NotStoredError, match="Neither branch dev nor branch main shows anything of 'shop/other'"):
        plan_merge(store, "dev", "main", assets=["shop/other"])
    assert str(plan.fast_forwards[0]).startswith(f"{ASSET}[gone] b3:")
    assert plan.to_dict()["conflicts"][0]["batch"] == "both"


def test_conflicts_move_nothing_until_decided(store: Store) -> None:
    commit(store, "main", a=1, b=1)
    create_branch(store, "dev")
    commit(store, "main", a=2)
    commit(store, "dev", a=3, b=3)
    with pytest.raises(ConflictError) as refusal:
        merge(store, "dev", "main")
    ours, theirs = store.head("main", ASSET, "a"), store.head("dev", ASSET, "a")
    assert ours is not None
    assert theirs is not None
    assert refusal.value.sentences == (
        "branch dev was not merged into main: 1 batch changed on both sides, and nothing was moved.",
        f"{ASSET}[a] changed on both sides: main shows {ours.version}, branch dev shows {theirs.version}.",
        "Decide with --ours (keep what main shows) or --theirs; --asset and --partition decide for some only.",
    )
    assert shown(store, "main") == {"a": 2, "b": 1}
    done = merge(store, "dev", "main", "theirs", "take it", "ann")
    assert done.change is not None
    assert shown(store, "main") == {"a": 3, "b": 3}
    move = store.moves("main", ASSET, "a")[0]
    assert (move.message, move.who) == ("take it", "ann")
    assert move.origin == {"change": done.change.id, "verb": "merge", "branch": "dev", "move": theirs.move}
    assert merge(store, "dev", "main").change is None
    assert merge(store, "main", "dev").plan.up_to_date


def test_keeping_ours_counts_as_merged(store: Store) -> None:
    commit(store, "main", a=1)
    create_branch(store, "dev")
    commit(store, "main", a=2)
    commit(store, "dev", a=3)
    merge(store, "dev", "main", "ours")
    assert shown(store, "main") == {"a": 2}
    assert said(plan_merge(store, "dev", "main")) == ([], [], 1)
    # and dev goes forward to what was decided
    assert said(plan_merge(store, "main", "dev")) == (["a"], [], 0)
    # what was declined changes again: ask again
    commit(store, "dev", a=4)
    assert said(plan_merge(store, "dev", "main")) == ([], ["a"], 0)


def test_keeping_ours_that_is_gone_counts_as_merged(store: Store) -> None:
    commit(store, "main", a=1)
    create_branch(store, "dev")
    take_away(store, "main", "a")
    commit(store, "dev", a=3)
    merge(store, "dev", "main", "ours")
    assert shown(store, "main") == {}
    assert plan_merge(store, "dev", "main").up_to_date


def test_the_base_moves_on_with_every_merge(store: Store) -> None:
    commit(store, "main", a=1)
    create_branch(store, "dev")
    for turn in range(2, 6):
        source, target = ("dev", "main") if turn % 2 else ("main", "dev")
        commit(store, source, a=turn)
        done = merge(store, source, target)
        assert done.change is not None
        assert shown(store, "main") == shown(store, "dev") == {"a": turn}
    # merged and taken back: the source has nothing new to say
    commit(store, "dev", a=9)
    done = merge(store, "dev", "main")
    assert done.change is not None
    revert(store, "main", done.change.id)
    assert shown(store, "main") == {"a": 5}
    assert said(plan_merge(store, "dev", "main")) == ([], [], 1)


def test_branches_of_a_branch_and_sisters_know_what_they_share(store: Store) -> None:
    commit(store, "main", a=1, b=1)
    create_branch(store, "dev")
    commit(store, "main", a=2)
    merge(store, "main", "dev")
    create_branch(store, "deep", "dev")
    commit(store, "deep", a=3)
    assert said(plan_merge(store, "deep", "main")) == (["a"], [], 0), "main's 2 came to deep through dev"
    create_branch(store, "sister")
    commit(store, "sister", b=5)
    assert said(plan_merge(store, "sister", "dev")) == (["b"], [], 0)
    assert said(plan_merge(store, "sister", "deep")) == (["b"], [], 1)
    remove_branch(store, "dev")
    assert said(plan_merge(store, "deep", "main")) == (["a"], [], 0), "deep was started from what main still shows"


def test_one_side_that_has_seen_the_other_wins(store: Store) -> None:
    """Both computed the same new month; then one of them went on."""
    commit(store, "main", a=1)
    create_branch(store, "dev")
    for branch in ("main", "dev"):
        store.commit(branch, ASSET, "a", "json", 2, run_id=branch)
        store.commit(branch, ASSET, "new", "json", 1, run_id=branch)
    assert plan_merge(store, "dev", "main").up_to_date, "the same versions by the same recipes"
    commit(store, "dev", a=3, new=2)
    assert said(plan_merge(store, "dev", "main")) == (["a", "new"], [], 0)
    assert said(plan_merge(store, "main", "dev")) == ([], [], 2)
    commit(store, "main", a=4)
    assert said(plan_merge(store, "dev", "main")) == (["new"], ["a"], 0)


def test_what_was_seen_before_the_last_merge_does_not_count(store: Store) -> None:
    commit(store, "main", a=1)
    create_branch(store, "dev")
    commit(store, "dev", a=9)
    commit(store, "main", a=2)
    merge(store, "main", "dev", "theirs")
    commit(store, "main", a=9)
    commit(store, "dev", a=5)
    assert said(plan_merge(store, "dev", "main")) == ([], ["a"], 0), "dev left its 9 for main's 2"


def test_what_was_taken_away_before_the_source_was_started_goes(store: Store) -> None:
    commit(store, "main", a=1, b=1, c=1)
    create_branch(store, "dev")
    for batch in "abc":
        take_away(store, "dev", batch)
    create_branch(store, "deep", "dev")
    tagged(store, "v1", "dev")
    commit(store, "main", b=2, d=1)
    assert said(plan_merge(store, "deep", "main")) == (["a", "c"], ["b"], 1)
    assert plan_merge(store, "v1", "main").up_to_date, "a tag says nothing of assets that it does not hold"


def test_a_tag_is_merged_as_its_branch_was_then(store: Store) -> None:
    commit(store, "main", a=1, b=1)
    tagged(store, "v1")
    commit(store, "main", a=2)
    assert said(plan_merge(store, "v1", "main")) == ([], [], 1), "main went on from it"
    create_branch(store, "fix", "v1")
    commit(store, "fix", b=7)
    assert said(plan_merge(store, "fix", "main")) == (["b"], [], 0)
    tagged(store, "v1.1", "fix")
    commit(store, "fix", b=8)
    assert said(plan_merge(store, "v1.1", "main")) == (["b"], [], 1)
    merge(store, "v1.1", "main")
    assert shown(store, "main") == {"a": 2, "b": 7}
    assert said(plan_merge(store, "fix", "main")) == (["b"], [], 0)
    remove_branch(store, "fix")
    assert plan_merge(store, "v1.1", "main").up_to_date


def test_a_branch_of_a_tag_knows_what_the_tag_knew(store: Store) -> None:
    """Not what was taken away from the tagged branch since, and nothing of other datasets."""
    commit(store, "main", a=1, b=1)
    store.commit("main", "other/notes", "n", "json", 1)
    create_branch(store, "dev")
    take_away(store, "main", "a")
    later()
    tag(store, "v1", "shop", "main")
    then = later()
    take_away(store, "main", "b")
    store.move("main", "other/notes", "n", None, store.head("main", "other/notes", "n"))
    later()
    for name, source in (("checked", "tag:v1"), ("then", f"main@{then}"), ("now", "main")):
        create_branch(store, name, source)
    told = {
        name: {f"{item.asset}[{item.batch}]" for item in plan_merge(store, "dev", name).fast_forwards}
        for name in ("checked", "then", "now")
    }
    assert told == {"checked": {"other/notes[n]"}, "then": set(), "now": set()}
    assert shown(store, "checked") == shown(store, "then") == {"b": 1}
    # dev still shows what main has shown before: nothing to take back
    assert {name: plan_merge(store, "dev", name).conflicts for name in told} == dict.fromkeys(told, ())
    merge(store, "dev", "checked")
    store.commit("checked", "other/notes", "n", "json", 2)
    assert not plan_merge(store, "dev", "checked").conflicts
    store.commit("dev", "other/notes", "n", "json", 3)
    assert len(plan_merge(store, "dev", "checked").conflicts) == 1
    # what main took away after the moment still has to reach who left it before
    assert said(plan_merge(store, "main", "then")) == (["n", "b"], [], 0)
    assert said(plan_merge(store, "main", "now")) == ([], [], 0)


def test_what_a_branch_shows_again_was_not_seen_by_a_branch_of_an_older_tag(store: Store) -> None:
    commit(store, "main", a=1)
    later()
    tag(store, "v1", "shop", "main")
    then = later()
    commit(store, "main", a=2)
    create_branch(store, "dev")
    commit(store, "main", a=1)
    later()
    for name, source in (("checked", "tag:v1"), ("then", f"main@{then}")):
        create_branch(store, name, source)
        assert said(plan_merge(store, "dev", name)) == (["a"], [], 0), name
    create_branch(store, "now")
    assert said(plan_merge(store, "dev", "now")) == ([], [], 1)


def test_a_remotes_branch_came_of_what_the_branch_here_came_of(tmp_path: Path, store: Store) -> None:
    commit(store, "main", a=1)
    create_branch(store, "old")
    commit(store, "main", a=2)
    create_branch(store, "dev")
    add_remote(store, "origin", str(tmp_path / "remote"))
    push(store, "origin", ["dev"])
    assert said(plan_merge(store, "dev", "old")) == (["a"], [], 0)
    assert said(plan_merge(store, "origin/dev", "old")) == (["a"], [], 0)
    remove_branch(store, "dev")
    assert said(plan_merge(store, "origin/dev", "old")) == ([], ["a"], 0), "nobody knows that old is older"


def test_a_remotes_branch_is_merged_by_its_moves(store: Store) -> None:
    commit(store, "main", a=1, b=1, c=1, d=1)
    shared = {batch: store.slot("main", ASSET, batch) for batch in "abcd"}
    # what another copy did, as a fetch brings it
    commit(store, "main", a=2, b=2, c=2)
    take_away(store, "main", "d")
    there = {batch: store.slot("main", ASSET, batch) for batch in "abcd"}
    record = {
        "format": 1,
        "branch": "main",
        "trees": freeze(store, "main"),
        "moves": {ASSET: {batch: head.move for batch, head in there.items() if head}},
        "when": "",
    }
    for batch, head in shared.items():
        assert head is not None
        store.backend.write(head_path("main", ASSET, batch), head.encode())
    store.backend.create("remotes/origin.json", canonical_json({"format": 1, "name": "origin", "url": "/x"}))
    path = tracked_path("origin", "main")
    store.backend.write(path, canonical_json(record))
    commit(store, "main", b=3, e=1)
    assert said(plan_merge(store, "origin/main", "main")) == (["a", "c", "d"], ["b"], 0)
    merge(store, "origin/main", "main", "ours")
    assert shown(store, "main") == {"a": 2, "b": 3, "c": 2, "e": 1}
    assert plan_merge(store, "origin/main", "main").up_to_date
    store.backend.write(path, canonical_json({**record, "moves": 3}))
    with pytest.raises(
        CorruptError, match="is not a remote's branch as the store writes it; mend it with: mlops-assets"
    ):
        plan_merge(store, "origin/main", "main")


def test_what_cannot_be_merged(store: Store) -> None:
    commit(store, "main", a=1)
    version = store.leaves("main", ASSET)["a"].version
    when = store.moves("main", ASSET, "a")[0].when
    with pytest.raises(StoreError, match="The branch main cannot be merged into itself; name another source or target"):
        merge(store, "main", "main")
    with pytest.raises(StoreError, match="cannot be merged into itself"):
        merge(store, ".", "main", current="main")
    with pytest.raises(NotStoredError, match="There is no branch, tag or version 'nobody'"):
        merge(store, "nobody", "main")
    with pytest.raises(NotStoredError, match="There is no branch 'nobody'"):
        merge(store, "main", "nobody")
    for source in (version, f"main@{when}"):
        with pytest.raises(StoreError, match=r"cannot be merged: a merge takes a branch, a tag or a remote's branch"):
            merge(store, source, "main")


# --- protected targets -----------------------------------------------------------------------------------------------


def judged(store: Store, branch: str, asset: str, batch: str, value: object, **checks: bool) -> Head:
    verdicts = tuple({"check": name, "passed": passed, "severity": "warn"} for name, passed in checks.items())
    return store.commit(branch, asset, batch, "json", value, verdicts=verdicts)


def test_a_protected_branch_asks_for_its_checks(store: Store) -> None:
    judged(store, "main", "shop/model", "all", 1)
    create_branch(store, "dev")
    protect(store, "main", ["audit"])
    commit(store, "dev", a=1)
    with pytest.raises(RefusedError, match=r"asks for the check audit, and no version on branch dev was judged by it"):
        merge(store, "dev", "main")
    judged(store, "dev", "shop/model", "all", 2, audit=False)
    with pytest.raises(RefusedError) as refusal:
        merge(store, "dev", "main")
    assert str(refusal.value) == (
        "shop/model[all] did not pass the check audit, which the branch main asks for; mend or run it on branch dev, "
        "then merge again."
    )
    judged(store, "dev", "shop/model", "all", 3, audit=True, drift=False)
    judged(store, "dev", "shop/model", "b", 3)
    with pytest.raises(RefusedError, match=r"shop/model\[b\] was not judged by the check audit, which the branch main"):
        merge(store, "dev", "main")
    assert shown(store, "main") == {}
    assert open_changes(store) == []
    judged(store, "dev", "shop/model", "b", 4, audit=True)
    assert len(merge(store, "dev", "main").plan.fast_forwards) == 3
    # the asset has the check, though no merged version of it was judged by it
    judged(store, "dev", "shop/model", "c", 5)
    with pytest.raises(RefusedError, match=r"shop/model\[c\] was not judged by"):
        merge(store, "dev", "main")
    store.move("dev", "shop/model", "c", None, store.head("dev", "shop/model", "c"))
    commit(store, "dev", a=2)
    assert merge(store, "dev", "main").change is not None, "what has no audit needs none, while something has it"


# --- crashes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_a_kill_at_any_operation_of_a_merge_is_finished_by_the_next(quick: Path, every: int) -> None:
    template = Store.open(quick / "template")
    for batch in "abc":
        template.move("main", ASSET, batch, versions(1), None)
    create_branch(template, "dev")
    for batch in "abc":
        template.move("dev", ASSET, batch, versions(2), template.head("dev", ASSET, batch))
    shutil.rmtree(template.root / "locks")
    opened = 0
    for number in range(1, 200, every):
        root = quick / "store"
        shutil.copytree(template.root, root)

        def work(root: Path = root, number: int = number) -> None:
            die_at(number)
            merge(Store.open(root), "dev", "main")

        code = in_child(work)
        store = Store.open(root)
        values = [leaf.rows for leaf in store.leaves("main", ASSET).values()]
        assert len(values) == 3
        assert set(values) <= {1, 2}
        if code == 0:
            assert number > 60, "the hooks saw the work"
            assert opened > 30 // every
            assert values == [2, 2, 2]
            break
        assert code == -signal.SIGKILL
        opened += bool(open_changes(store))
        done = merge(store, "dev", "main")
        assert [leaf.rows for leaf in store.leaves("main", ASSET).values()] == [2, 2, 2]
        assert not open_changes(store)
        assert not (done.resumed and done.resumed.skipped)
        for batch in "abc":
            assert len(store.moves("main", ASSET, batch)) == 2, "each moved once"
        shutil.rmtree(root)
    else:
        pytest.fail("the work never finished")


def test_an_open_merge_of_another_source_stands_in_the_way(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(store, "main", a=1, b=1)
    create_branch(store, "dev")
    create_branch(store, "other")
    commit(store, "dev", a=2, b=2)
    commit(store, "other", b=3)
    with monkeypatch.context() as patch:
        patch.setattr(store.backend, "swap", lambda *_: (_ for _ in ()).throw(StoreError("The disk is full.")))
        with pytest.raises(StoreError, match="full"):
            merge(store, "dev", "main")
    with pytest.raises(ConflictError, match=r"The merge .* on branch main .* is not finished\."):
        merge(store, "other", "main")
    commit(store, "dev", a=5)
    done = merge(store, "dev", "main")
    assert done.resumed is not None
    assert (done.resumed.moved, len(done.plan.fast_forwards)) == (2, 1)
    assert shown(store, "main") == {"a": 5, "b": 2}


# --- size ------------------------------------------------------------------------------------------------------------


def test_few_changes_among_many_heads_are_found_quickly(quick: Path) -> None:
    """An operation on a few batches does not read the others."""
    store = Store.open(quick / "store")
    leaf = store.leaf(store.commit("main", ASSET, "p", "json", 1))
    other = store.leaf(store.commit("main", ASSET, "p", "json", 2))
    for number in range(3000):
        head = Head(ASSET, f"{number:05d}", 1, "b3:0", str(number), *leaf._replace(version="", recipe=""))
        _plain(store, head)
    create_branch(store, "dev")
    for number in range(10):
        batch = f"{number:05d}"
        store.move("dev", ASSET, batch, other, store.head("dev", ASSET, batch))
    started = time.process_time()
    plan = plan_merge(store, "dev", "main")
    assert time.process_time() - started < 0.5
    assert len(plan.fast_forwards) == 10


def _plain(store: Store, head: Head) -> None:
    """Without a sync: this test is about reading."""
    path = store.root / head_path("main", head.asset, head.batch)
    path.write_bytes(head._replace(version=head.manifest).encode())


# --- the model -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Node:
    """One move of a batch: who showed what, after which nodes."""

    number: int
    branch: str
    shows: int | None
    previous: "Node | None" = None
    taken: "Node | None" = None

    def below(self) -> "set[Node]":
        found = {self}
        for older in (self.previous, self.taken):
            if older:
                found |= older.below()
        return found


class Model:
    """The same rules on a graph in memory, by brute force."""

    def __init__(self) -> None:
        self.numbers = itertools.count()
        self.tips: dict[str, dict[str, Node]] = {"main": {}}

    def move(self, branch: str, batch: str, shows: int | None, taken: Node | None = None) -> None:
        tip = self.tips[branch].get(batch)
        self.tips[branch][batch] = Node(next(self.numbers), branch, shows, tip, taken)

    def shown(self, branch: str) -> dict[str, int]:
        return {batch: tip.shows for batch, tip in self.tips[branch].items() if tip.shows is not None}

    def went_on(self, tip: Node, base: Node | None, shows: int | None) -> bool:
        node = tip.previous
        while node and node != base and (base is None or base in node.below()):
            if node.shows == shows:
                return True
            node = node.previous
        return False

    def judge(self, source: str, into: str, batch: str) -> str:
        theirs, ours = self.tips[source].get(batch), self.tips[into].get(batch)
        their, our = theirs.shows if theirs else None, ours.shows if ours else None
        if their == our or theirs is None:
            return "same"
        shared = theirs.below() & ours.below() if ours else set()
        best = [node for node in shared if not any(node != other and node in other.below() for other in shared)]
        base = max(best, key=lambda node: node.number, default=None)
        was = base.shows if base else None
        if their == was:
            return "kept"
        if our == was:
            return "fast"
        seen, ahead = self.went_on(theirs, base, our), bool(ours and self.went_on(ours, base, their))
        return "conflict" if seen == ahead else "fast" if seen else "kept"


def versions(number: int) -> Leaf:
    return Leaf(f"b3:{number:064x}", f"b3:{number:064x}", ".", "json", 1, "0" * 64, number)


BRANCHES, BATCHES = ["main", "dev", "top"], ["a", "b"]
PUBLISH = st.tuples(
    st.just("publish"), st.sampled_from(BRANCHES), st.sampled_from(BATCHES), st.sampled_from([None, 1, 2, 3])
)
START = st.tuples(st.just("start"), st.sampled_from(BRANCHES[1:]), st.sampled_from(BRANCHES))
MERGE = st.tuples(
    st.just("merge"), st.sampled_from(BRANCHES), st.sampled_from(BRANCHES), st.sampled_from(["ours", "theirs", None])
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(PUBLISH, START, MERGE, MERGE), min_size=4, max_size=24))
def test_merging_does_what_the_model_does(steps: list[tuple[Any, ...]]) -> None:
    clock = itertools.count()
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, pytest.MonkeyPatch.context() as patch:
        for module in ("store", "branching"):
            patch.setattr(f"mlops_assets.store.{module}.now", lambda: f"2026-01-01T00:00:00.{next(clock):06d}+00:00")
        store, model = Store.open(Path(folder) / "store"), Model()
        for verb, name, *more in [("publish", "main", "a", 1), ("start", "dev", "main"), *steps]:
            if verb == "start" and name not in model.tips and more[0] in model.tips:
                create_branch(store, name, more[0])
                model.tips[name] = dict(model.tips[more[0]])
            elif verb == "publish" and name in model.tips:
                _publish(store, model, name, *more)
            elif verb == "merge" and name != more[0] and {name, more[0]} <= model.tips.keys():
                _merge(store, model, name, *more)
            for branch in model.tips:
                seen = {batch: leaf.rows for batch, leaf in store.leaves(branch, ASSET).items()}
                assert seen == model.shown(branch), (verb, name, *more)


def _publish(store: Store, model: Model, branch: str, batch: str, shows: int | None) -> None:
    head = store.head(branch, ASSET, batch)
    if (head.rows if head else None) != shows:
        store.move(branch, ASSET, batch, versions(shows) if shows else None, head)
        model.move(branch, batch, shows)


def _merge(store: Store, model: Model, source: str, into: str, prefer: Any) -> None:
    verdicts = {batch: model.judge(source, into, batch) for batch in BATCHES}
    plan = plan_merge(store, source, into)
    fast, conflicts, _ = said(plan)
    assert fast == [batch for batch in BATCHES if verdicts[batch] == "fast"]
    assert conflicts == [batch for batch in BATCHES if verdicts[batch] == "conflict"]
    if conflicts and prefer is None:
        with pytest.raises(ConflictError):
            merge(store, source, into)
        return
    merge(store, source, into, prefer)
    for batch in BATCHES:
        theirs = model.tips[source].get(batch)
        ours = model.tips[into].get(batch)
        if batch in fast or batch in conflicts:
            assert theirs is not None
            keep = batch in conflicts and prefer == "ours"
            model.move(into, batch, ours.shows if keep and ours else None if keep else theirs.shows, theirs)
