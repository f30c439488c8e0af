"""Heads on their way to another store: forward, refused, and in time where both sides move.

What belongs here: histories that parted, what stands in the way of a branch, and others who move heads meanwhile. What
does not: what comes along, and what is left by a death on the way (``test_transfer``).
"""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.errors import ConflictError, RefusedError
from mlops_assets.store import Store
from mlops_assets.store.branching import create_branch, protect
from mlops_assets.store.changes import abandon, apply, open_changes
from mlops_assets.store.merging import merge, plan_merge, revert
from mlops_assets.store.refs import view
from mlops_assets.store.transfer import clone, fetch, pull, push
from mlops_assets.store.verify import verify
from mlops_assets_tests.store.copies import CLEANED, DAYS, RAW, commit, contents, copied, sound, stocked
from mlops_assets_tests.store.test_crash import in_child

FIRST = DAYS[0]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return stocked(tmp_path / "store")


# --- histories that parted -------------------------------------------------------------------------------------------


def test_parted_heads_are_refused_until_they_are_merged(twins: tuple[Store, Store], folder: Path) -> None:
    one, two = twins
    commit(one, CLEANED, FIRST, "one")
    commit(two, CLEANED, FIRST, "two")
    commit(one, CLEANED, DAYS[1], "only one")
    push(one, "origin", ["main"])
    before = {store: (contents(store), contents(Store.open(folder))) for store in (two,)}
    with pytest.raises(
        ConflictError,
        match=r"1 head of the branch main moved both here and at origin \(.*\): shop/cleaned\[2024-01-01\]. "
        r"Nothing was moved. Bring both together with: mlops-assets fetch origin && mlops-assets merge origin/main",
    ):
        push(two, "origin", ["main"])
    assert before[two] == (contents(two), contents(Store.open(folder)))
    heads = sound(two)
    with pytest.raises(ConflictError, match=r"No head was moved here. .* with: mlops-assets merge origin/main$"):
        pull(two, "origin", ["main"])
    assert sound(two) == heads, "not the other head either"
    # what arrived can be looked at and merged; then both are one history
    assert view(two, "origin/main").leaves(CLEANED) == one.leaves("main", CLEANED)
    merge(two, "origin/main", "main", "ours")
    report = push(two, "origin", ["main"])
    assert {(move.asset, move.batch) for move in report.heads} == {(CLEANED, FIRST), (CLEANED, DAYS[1])}
    assert copied(report)["moves"] == 3
    pull(one, "origin", ["main"])
    assert sound_values(one) == sound_values(two)
    assert one.leaves("main", CLEANED) == two.leaves("main", CLEANED)
    # the merge is known over there as one change, and done
    assert open_changes(one) == []
    assert len(one.backend.children("changes")[1]) == 2


def sound_values(store: Store) -> dict[str, Any]:
    return {
        batch: store.get(store.manifest(CLEANED, batch, head.manifest), verify=True)
        for batch, head in store.heads("main", CLEANED).items()
    }


def test_ten_of_many_are_named(twins: tuple[Store, Store]) -> None:
    one, two = twins
    for store in twins:
        for number in range(12):
            commit(store, "shop/many", f"{number:02}", store is one)
    push(one, "origin", ["main"])
    with pytest.raises(ConflictError, match=r"12 heads .* shop/many\[00\], .*shop/many\[09\] and 2 more\. "):
        push(two, "origin", ["main"])


def test_two_branches_of_one_name(twins: tuple[Store, Store]) -> None:
    one, two = twins
    create_branch(one, "next", "main")
    push(one, "origin", ["next"])
    commit(two, CLEANED, FIRST, "two")
    create_branch(two, "next", "main")
    sentence = (
        r"The branch next in store at .*remote starts from another state than the branch next in store at .*twin: they "
        r"are two branches of one name. Go on under another name: mlops-assets branch NEW_NAME --from next"
    )
    with pytest.raises(ConflictError, match=sentence):
        push(two, "origin", ["next"])
    with pytest.raises(ConflictError, match=r"The branch next in store at .*twin starts from another state"):
        pull(two, "origin", ["next"])
    assert view(two, "origin/next").leaves(CLEANED) == one.leaves("next", CLEANED)


def test_a_protected_branch_takes_what_was_merged(twins: tuple[Store, Store], folder: Path) -> None:
    one, two = twins
    protect(Store.open(folder), "main", [])
    commit(one, CLEANED, FIRST, "published")
    with pytest.raises(
        RefusedError,
        match=r"The branch main in store at .*remote is protected: it moves by merges only, and "
        r"shop/cleaned\[2024-01-01\] of the branch main in store at .*/store moved otherwise. Publish on another",
    ):
        push(one, "origin", ["main"])
    create_branch(two, "next", "main")
    commit(two, CLEANED, FIRST, "published elsewhere", branch="next")
    merged = merge(two, "next", "main")
    assert len(push(two, "origin", ["main"]).heads) == 1
    assert merged.change
    revert(two, "main", merged.change.id)
    assert len(push(two, "origin", ["main"]).heads) == 1
    # the protection travels where there is none
    assert two.protection("main") is None
    pull(two, "origin", ["main"])
    assert two.protection("main")


def test_half_a_merge_is_not_sent(store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlops_assets.store.changes import Step

    step = Step.of(CLEANED, FIRST, store.head("main", CLEANED, FIRST), None)
    with monkeypatch.context() as patch:
        patch.setattr(store, "move", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        assert in_child(lambda: apply(store, "main", "merge", [step])) == -signal.SIGKILL
    (change,) = open_changes(store)
    with pytest.raises(ConflictError, match=r"The merge .* on branch main .* is not finished. .* merge --continue"):
        push(store, "origin", ["main"])
    assert not folder.exists()
    abandon(store, change.id)
    push(store, "origin", ["main"])


# --- company ---------------------------------------------------------------------------------------------------------


def run_all(*works: Callable[[], object]) -> list[int]:
    """Exit codes of processes that run at once."""
    children = []
    for work in works:
        child = os.fork()
        if not child:
            code = 1
            try:
                work()
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def test_many_push_at_once(tmp_path: Path, store: Store, folder: Path) -> None:
    """On batches of their own nobody is in the way; on the same batch one is first, the others are told."""
    push(store, "origin", ["main"])
    stores = []
    for number in range(4):
        clone(str(folder), tmp_path / f"clone{number}")
        stores.append(Store.open(tmp_path / f"clone{number}"))
        commit(stores[-1], CLEANED, f"own-{number}", number)

    def pushing(store: Store) -> Callable[[], object]:
        return lambda: push(store, "origin", ["main"])

    assert run_all(*map(pushing, stores)) == [0, 0, 0, 0]
    remote = Store.open(folder)
    assert {f"own-{number}" for number in range(4)} <= set(remote.heads("main", CLEANED))
    for number, each in enumerate(stores):
        pull(each, "origin", ["main"])
        commit(each, CLEANED, "same", number)

    def telling(store: Store) -> Callable[[], object]:
        def work() -> None:
            try:
                push(store, "origin", ["main"])
            except ConflictError as told:
                os._exit(7 if "shop/cleaned[same]" in str(told) else 8)

        return work

    codes = run_all(*map(telling, stores))
    assert sorted(codes) == [0, 7, 7, 7]
    winner = stores[codes.index(0)]
    assert sound(remote)[CLEANED, "same"] == winner.head("main", CLEANED, "same")


@pytest.mark.parametrize("other", ["forward", "parted", "behind"])
def test_a_remote_that_moves_during_a_push(
    tmp_path: Path, twins: tuple[Store, Store], folder: Path, other: str
) -> None:
    _, two = twins
    commit(two, CLEANED, FIRST, "first")
    shutil.copytree(two.root, tmp_path / "three")
    three = Store.open(tmp_path / "three")
    if other == "forward":
        commit(two, CLEANED, FIRST, "second")
    elif other == "behind":
        commit(three, CLEANED, FIRST, "third")
    else:
        commit(two, CLEANED, FIRST, "second")
        commit(three, CLEANED, FIRST, "third")

    def meanwhile(kind: str, objects: int, size: int) -> None:
        del objects, size
        if kind == "moves":
            push(three, "origin", ["main"])

    if other == "parted":
        with pytest.raises(
            ConflictError,
            match=r"shop/cleaned\[2024-01-01\] of the branch main in store at .*remote moved meanwhile, to what",
        ):
            push(two, "origin", ["main"], progress=meanwhile)
    else:
        report = push(two, "origin", ["main"], progress=meanwhile)
        assert len(report.heads) == (other == "forward")
        assert report.ahead == ([f"main: {CLEANED}[{FIRST}]"] if other == "behind" else [])
    winner = two if other == "forward" else three
    assert sound(Store.open(folder))[CLEANED, FIRST] == winner.head("main", CLEANED, FIRST)


def test_a_pull_beside_a_writer(twins: tuple[Store, Store]) -> None:
    one, two = twins
    for day in DAYS:
        commit(one, CLEANED, day, f"from elsewhere {day}")
    push(one, "origin", ["main"])

    def write() -> None:
        store = Store.open(two.root)
        for number in range(60):
            commit(store, RAW, f"n-{number % 5}", number)

    def take() -> None:
        pull(Store.open(two.root), "origin", ["main"])

    assert run_all(write, take, write) in ([0, 0, 0], [1, 0, 0], [0, 0, 1], [1, 0, 1])
    heads = sound(two)
    assert all(heads[CLEANED, day] == one.head("main", CLEANED, day) for day in DAYS)


def test_a_local_writer_who_is_faster_than_a_pull(twins: tuple[Store, Store]) -> None:
    one, two = twins
    commit(one, CLEANED, FIRST, "theirs")
    commit(one, CLEANED, DAYS[1], "theirs too")
    push(one, "origin", ["main"])

    def meanwhile(kind: str, objects: int, size: int) -> None:
        del objects, size
        head = two.head("main", CLEANED, FIRST)
        if kind == "heads" or (head and head.seq > 1):
            return
        commit(two, CLEANED, FIRST, "ours")

    with pytest.raises(ConflictError, match=r"1 head of the branch main moved both here and at origin"):
        pull(two, "origin", ["main"], progress=meanwhile)
    assert sound_values(two)[FIRST] == "ours"
    assert sound_values(two)[DAYS[1]] == {"of": DAYS[1]}, "nothing moved"


def parted(one: Store, two: Store, name: str) -> None:
    """Let both copies come to the same, or to what the other was at, each in its own way."""
    if name == "both take it away":
        for store in (one, two):
            store.move("main", CLEANED, FIRST, None, store.head("main", CLEANED, FIRST))
    elif name == "both make the same":
        for store in (one, two):
            commit(store, CLEANED, FIRST, "same")
    elif name == "one goes on from the same":
        for store in (one, two):
            commit(store, CLEANED, FIRST, "same")
        commit(two, CLEANED, FIRST, "more")
    else:
        first = one.head("main", CLEANED, FIRST)
        assert first is not None
        commit(one, CLEANED, FIRST, "other")
        one.move("main", CLEANED, FIRST, first.leaf, one.head("main", CLEANED, FIRST))
        if name == "one goes and comes back, the other goes on":
            commit(two, CLEANED, FIRST, "two")
        else:
            commit(two, CLEANED, FIRST, "two")
            two.move("main", CLEANED, FIRST, first.leaf, two.head("main", CLEANED, FIRST))


@pytest.mark.parametrize(
    "how",
    [
        "both take it away",
        "both make the same",
        "one goes on from the same",
        "one goes and comes back, the other goes on",
        "both go and come back",
    ],
)
def test_histories_that_came_to_the_same_are_joined_by_a_merge(twins: tuple[Store, Store], how: str) -> None:
    """Nothing changes, and yet a merge has something to record: else neither a pull nor a push would ever be taken."""
    one, two = twins
    parted(one, two, how)
    push(one, "origin", ["main"])
    for refused in (push, pull):
        with pytest.raises(ConflictError, match="1 head of the branch main moved both here and at origin"):
            refused(two, "origin", ["main"])
    before = sound_values(two)
    plan = plan_merge(two, "origin/main", "main")
    assert not plan.up_to_date
    assert [item.batch for item in plan.joined] == [FIRST]
    done = merge(two, "origin/main", "main")
    assert done.change is not None
    assert (done.change.moved, done.plan.fast_forwards, done.plan.conflicts) == (1, (), ())
    assert plan_merge(two, "origin/main", "main").up_to_date
    assert sound_values(two) == before
    push(two, "origin", ["main"])
    pull(one, "origin", ["main"])
    assert sound_values(one) == before
    for store in twins:
        assert not pull(store, "origin", ["main"]).heads
        assert not push(store, "origin", ["main"]).heads
        assert plan_merge(store, "origin/main", "main").up_to_date
        assert not verify(store).problems


def test_only_the_branch_itself_is_joined(twins: tuple[Store, Store]) -> None:
    one, two = twins
    create_branch(two, "dev")
    for store in twins:
        commit(store, CLEANED, FIRST, "same")
    push(one, "origin", ["main"])
    fetch(two, "origin", ["main"])
    two.move("dev", CLEANED, FIRST, two.leaves("main", CLEANED)[FIRST], two.head("dev", CLEANED, FIRST))
    assert plan_merge(two, "origin/main", "dev").up_to_date, "dev is sent nowhere that main is"
    assert plan_merge(two, "origin/main", "main", batches=[DAYS[1]]).up_to_date
    assert plan_merge(two, "origin/main", "main", assets=[RAW]).up_to_date
    assert len(plan_merge(two, "origin/main", "main", assets=[CLEANED], batches=[FIRST]).joined) == 1
