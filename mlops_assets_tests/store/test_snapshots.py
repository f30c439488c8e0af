"""Tags that freeze a moving dataset, branches that show it again, and the way back."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.errors import ConflictError, CorruptError, NotStoredError, PurgedError, RefusedError, StoreError
from mlops_assets.store import Head, Input, Store
from mlops_assets.store.branching import protect
from mlops_assets.store.digest import canonical_json
from mlops_assets.store.inputs import cache_path, differing
from mlops_assets.store.lock import Lock, differences, lock_text, parse_lock, read_lock
from mlops_assets.store.records import manifest_path
from mlops_assets.store.refs import view
from mlops_assets.store.restoring import plan_restore, plan_rollback, restore, rollback
from mlops_assets.store.reverting import revert
from mlops_assets.store.snapshots import Tag, checkout, delete_tag, read_tag, tag, tags
from mlops_assets.store.tags import tag_path
from mlops_assets_tests.store.test_crash import die_at, in_child

RAW, CLEANED, MODEL = "flights/raw/flights", "flights/cleaned", "flights/model"
BATCHES = ("2013-01", "2013-02", "2013-03")
GIT = {"commit": "c0ffee", "dirty": False}


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """In a folder, and in an object store (that of this process's memory)."""
    return Store.open(tmp_path / "store" if request.param == "folder" else f"memory://{os.urandom(6).hex()}")


def put(store: Store, asset: str, batch: str, value: Any, branch: str = "main", **fields: Any) -> Head:
    return store.commit(branch, asset, batch, "json", value, **fields)


def derived(store: Store, asset: str, batch: str, value: Any, *inputs: Head, **fields: Any) -> Head:
    """A version that records the exact heads it was made of."""
    exact = tuple(Input(head.asset, head.batch, head.version, head.manifest) for head in inputs)
    return put(store, asset, batch, value, inputs=exact, **fields)


def fill(store: Store, branch: str = "main") -> None:
    for number, batch in enumerate(BATCHES):
        raw = put(store, RAW, batch, [number], branch)
        derived(store, CLEANED, batch, {"rows": number}, raw, branch=branch)


def shown(store: Store, ref: str = "main", asset: str = CLEANED) -> dict[str, str]:
    return {batch: leaf.version for batch, leaf in view(store, ref).leaves(asset).items()}


@contextmanager
def saying(*kinds: type[Exception], text: str) -> Iterator[None]:
    with pytest.raises(kinds, match=text):
        yield


# --- tags ------------------------------------------------------------------------------------------------------------


def test_a_tag_freezes_all_of_a_dataset(store: Store) -> None:
    fill(store)
    put(store, "visits/cleaned", "x", 1)
    made = tag(
        store,
        "v1",
        "flights",
        "main",
        git=GIT,
        environment="e1",
        configuration={"split": (1, 2)},
        message="first",
        who="ada",
    )
    assert sorted(made.assets) == [CLEANED, RAW]
    assert made.assets[RAW].batches == 3
    assert made.assets[RAW].rows is None
    assert made.assets[RAW].size == sum(leaf.size for leaf in store.leaves("main", RAW).values())
    assert (made.git, made.environment, made.configuration) == (GIT, "e1", {"split": [1, 2]})
    assert (made.message, made.who, made.branch, made.differing) == ("first", "ada", "main", ())
    assert read_tag(store, "v1") == made
    assert Tag.decode(made.encode(), "x") == made
    before = shown(store, "v1")
    put(store, CLEANED, "2013-01", "changed")
    assert shown(store, "v1") == before != shown(store)


def test_tags_are_listed_newest_first(store: Store) -> None:
    fill(store)
    put(store, "visits/cleaned", "x", 1)
    for name, dataset in (("b", "flights"), ("a", "visits"), ("c", "flights")):
        tag(store, name, dataset, "main", message=name)
    assert sorted(found.name for found in tags(store)) == ["a", "b", "c"]
    times = [found.when for found in tags(store)]
    assert times == sorted(times, reverse=True)
    assert {found.name for found in tags(store, "flights")} == {"b", "c"}


def test_the_same_tag_again_is_the_one_that_is_there(store: Store) -> None:
    fill(store)
    first = tag(store, "v1", "flights", "main", git=GIT, environment="e1", message="first")
    data = store.backend.read(tag_path("v1"))
    assert tag(store, "v1", "flights", "main", git={}, environment="e1", message="first") == first
    with saying(ConflictError, text=r"^The tag v1 exists since .* \(by .*\) with another message; tags never change"):
        tag(store, "v1", "flights", "main", environment="e1", message="second")
    with saying(ConflictError, text="with another environment, another configuration; tags never change, choose"):
        tag(store, "v1", "flights", "main", configuration={"a": 1}, message="first")
    put(store, CLEANED, "2013-01", "changed")
    with saying(ConflictError, text="with other versions of flights/cleaned; tags never change, choose another name"):
        tag(store, "v1", "flights", "main", environment="e1", message="first")
    assert store.backend.read(tag_path("v1")) == data


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("main", "'main' is the name of a branch; choose another for the tag"),
        ("dev", "'dev' is the name of a branch; choose another for the tag"),
        ("v1@2", "'v1@2' cannot be the name of a tag: with '@', ':' or '-' in front"),
        ("b3:abc", "cannot be the name of a tag"),
        ("-v", "cannot be the name of a tag"),
        ("..", "cannot be the name of a tag"),
        (" v1", "The tag's name ' v1' starts or ends with a space; leave it out"),
        ("", "A name is empty"),
        ("v\n1", "holds a control character"),
        ("origin/v1", "'origin/v1' would read as the branch 'v1' of the remote 'origin'; choose another name"),
    ],
)
def test_names_that_no_tag_can_have(store: Store, name: str, said: str) -> None:
    fill(store)
    store.backend.create("branches/dev.json", b"")
    store.backend.create("remotes/origin.json", b"")
    with saying(StoreError, text=said):
        tag(store, name, "flights", "main")
    assert tags(store) == []


def test_a_tag_of_nothing_is_refused(store: Store) -> None:
    with saying(NotStoredError, text=r"^The branch main shows nothing of 'flights', .* to tag; it shows: nothing\."):
        tag(store, "v1", "flights", "main")
    fill(store)
    with saying(NotStoredError, text=r"^The branch main shows nothing of 'fligths', .*; it shows: flights\.$"):
        tag(store, "v1", "fligths", "main")
    with saying(StoreError, text="'flights/raw' is not the name of a dataset; give the first part"):
        tag(store, "v1", "flights/raw", "main")
    with saying(StoreError, text="'' is not the name of a dataset"):
        tag(store, "v1", "", "main")
    with saying(NotStoredError, text="There is no branch 'dev'"):
        tag(store, "v1", "flights", "dev")
    for asset in (RAW, CLEANED):
        for batch in BATCHES:
            store.move("main", asset, batch, None, store.head("main", asset, batch))
    with saying(NotStoredError, text=r"^The branch main shows nothing of 'flights'"):
        tag(store, "v1", "flights", "main")


def test_what_was_taken_away_is_not_in_a_tag(store: Store) -> None:
    fill(store)
    store.move("main", CLEANED, "2013-01", None, store.head("main", CLEANED, "2013-01"))
    assert list(shown(store, "main")) == ["2013-02", "2013-03"]
    tag(store, "v1", "flights", "main")
    assert list(shown(store, "v1")) == ["2013-02", "2013-03"]


def test_a_tag_of_moving_heads_is_a_state_that_was_there(store: Store) -> None:
    """A writer moves two heads, one after the other: no tag may hold the later without the earlier."""
    for batch in ("a", "b"):
        put(store, MODEL, batch, 0)
    stop = threading.Event()
    versions = {store.put(MODEL, "a", "json", number).version: number for number in range(40)}

    def write() -> None:
        own = Store.open(store.backend.url)
        for number in range(1, 40):
            for batch in ("a", "b"):
                put(own, MODEL, batch, number)
            if stop.is_set():
                return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(8):
            tag(store, f"t{number}", "flights", "main")
            leaves = view(store, f"t{number}").leaves(MODEL)
            first, second = (versions[leaves[batch].version] for batch in ("a", "b"))
            assert first - second in {0, 1}
    finally:
        stop.set()
        writer.join()


def test_a_kill_at_any_operation_leaves_a_whole_tag_or_none(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    put(store, CLEANED, "2013-01", 1)
    for number in range(1, 200):

        def work(number: int = number) -> None:
            die_at(number)
            tag(Store.open(store.root), "v1", "flights", "main", message="m")

        code = in_child(work)
        if code == 0:
            assert number > 10, "the hooks saw the work"
            break
        assert code == -signal.SIGKILL
        made = tags(store)
        if made:
            assert shown(store, "v1") == shown(store)
            assert tag(store, "v1", "flights", "main", message="m") == made[0]
            store.backend.delete(tag_path("v1"))
        store.backend.delete(cache_path("flights"))
    assert tag(store, "v1", "flights", "main", message="m").message == "m"


# --- inputs that differ ----------------------------------------------------------------------------------------------


def test_inputs_that_are_not_the_tagged_ones_are_named(store: Store) -> None:
    fill(store)
    cleaned = [store.head("main", CLEANED, batch) for batch in BATCHES]
    derived(store, MODEL, "2013-03", "model", *[head for head in cleaned if head])
    assert tag(store, "v1", "flights", "main").differing == ()
    old = store.head("main", CLEANED, "2013-02")
    new = put(store, CLEANED, "2013-02", "other", inputs=())
    assert old is not None
    expected = {
        "input": CLEANED,
        "partition": "2013-02",
        "recorded": old.version,
        "tagged": new.version,
        "used_by": {MODEL: ["2013-03"]},
    }
    assert tag(store, "v2", "flights", "main").differing == (expected,)
    assert read_tag(store, "v2").differing == (expected,)
    # the same content in another record is the same input
    put(store, CLEANED, "2013-02", {"rows": 1}, settings="other")
    assert tag(store, "v3", "flights", "main").differing == ()


def test_absent_and_gone_inputs_differ_from_what_is_there(store: Store) -> None:
    fill(store)
    raw = store.head("main", RAW, "2013-01")
    assert raw is not None
    absent = Input(RAW, "2013-04", None, None)
    elsewhere = Input("weather/raw", "2013-01", "b3:1", "b3:2")
    put(store, MODEL, "2013-03", "m", inputs=(absent, elsewhere, Input(RAW, "2013-01", raw.version, raw.manifest)))
    assert tag(store, "v1", "flights", "main").differing == ()
    late = put(store, RAW, "2013-04", "late")
    store.move("main", RAW, "2013-01", None, raw)
    found = tag(store, "v2", "flights", "main").differing
    assert [(item["partition"], item["recorded"], item["tagged"]) for item in found] == [
        ("2013-01", raw.version, None),
        ("2013-04", None, late.version),
    ]
    assert found[0]["used_by"] == {CLEANED: ["2013-01"], MODEL: ["2013-03"]}


def test_only_new_manifests_are_read_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store)
    asked: list[str] = []
    real = store.backend.read_many

    def counted(paths: Any) -> Any:
        asked.extend(path for path in paths if path.startswith("meta/"))
        return real(paths)

    monkeypatch.setattr(store.backend, "read_many", counted)

    def look() -> tuple[int, Any]:
        asked.clear()
        found = differing(store, "flights", {asset: store.leaves("main", asset) for asset in store.assets("main")})
        return len(asked), found

    assert look() == (6, ())
    assert look() == (0, ())
    put(store, RAW, "2013-01", "other")
    count, found = look()
    assert (count, [item["used_by"] for item in found]) == (1, [{CLEANED: ["2013-01"]}])
    assert look() == (0, found)
    path = cache_path("flights")
    store.backend.write(path, store.backend.read(path).replace(b"2013-02", b"2013-99"))
    assert look() == (6, found), "what is damaged is read again"
    store.backend.delete(path)
    assert look() == (6, found)


def test_an_input_that_is_met_again_later_is_one_record(store: Store) -> None:
    """Among many, one new manifest is not yet in the file of those that were read."""
    raw = put(store, RAW, "2013-01", "old")
    batches = [f"{number:02}" for number in range(60)]
    for batch in batches:
        derived(store, CLEANED, batch, batch, raw)
    new = put(store, RAW, "2013-01", "new")
    record = {"input": RAW, "partition": "2013-01", "recorded": raw.version, "tagged": new.version}
    expected = ({**record, "used_by": {CLEANED: batches}},)
    assert tag(store, "v1", "flights", "main").differing == expected
    known = store.backend.read(cache_path("flights"))
    derived(store, CLEANED, "07", "made again", raw)
    assert tag(store, "v2", "flights", "main").differing == expected
    assert store.backend.read(cache_path("flights")) == known, "not worth writing"
    for batch in batches:
        derived(store, CLEANED, batch, [batch], raw)
    assert tag(store, "v3", "flights", "main").differing == expected
    assert store.backend.read(cache_path("flights")).count(raw.version.encode()) == 1


def test_a_manifest_that_is_lost_or_damaged_is_told(store: Store) -> None:
    head = put(store, CLEANED, "2013-01", 1)
    path = manifest_path(CLEANED, "2013-01", head.manifest)
    store.backend.write(path, b"{}")
    with saying(CorruptError, text=r"^The manifest .* is damaged; copy it from another copy of the store"):
        tag(store, "v1", "flights", "main")
    store.backend.delete(path)
    with saying(
        NotStoredError, text=r"^flights/cleaned\[2013-01\] has no manifest b3:\w+ in .*; fetch it from a remote"
    ):
        tag(store, "v1", "flights", "main")
    assert tags(store) == []


# --- deleting --------------------------------------------------------------------------------------------------------


def test_a_deleted_tag_is_recorded_and_its_name_stays_taken(store: Store) -> None:
    fill(store)
    made = tag(store, "v1", "flights", "main", message="m")
    with saying(StoreError, text="Say why the tag v1 is deleted"):
        delete_tag(store, "v1", " ")
    path = delete_tag(store, "v1", "wrong month", who="ada")
    assert tags(store) == []
    assert b"wrong month" in store.backend.read(path)
    with saying(NotStoredError, text=r"^There is no tag 'v1' in .*; there is: none\. See them with: mlops-assets tags"):
        delete_tag(store, "v1", "again")
    again = tag(store, "v1", "flights", "main", message="m")
    assert again.trees == made.trees
    delete_tag(store, "v1", "twice")
    put(store, CLEANED, "2013-01", "other")
    with saying(
        ConflictError, text=r"^The name v1 belonged to a tag of other versions \(.* deleted it at .*\); a name"
    ):
        tag(store, "v1", "flights", "main", message="m")
    for entry in list(store.backend.entries("deleted-tags")):
        store.backend.write(entry.path, b"[]")
    with saying(CorruptError, text=r"is not the record of a deleted tag; copy it from another copy"):
        tag(store, "v1", "flights", "main", message="m")


# --- checkout --------------------------------------------------------------------------------------------------------


def test_a_checkout_shows_the_tag_and_copies_nothing(store: Store) -> None:
    fill(store)
    made = tag(store, "v1", "flights", "main", message="first")
    before = {entry.path for entry in store.backend.entries("")}
    put(store, CLEANED, "2013-01", "changed")
    branch = checkout(store, "v1")
    assert (branch.name, dict(branch.base)) == ("checkout-v1", made.trees)
    assert shown(store, "checkout-v1") == shown(store, "v1")
    assert {entry.path for entry in store.backend.entries("data")} - before == {
        entry.path for entry in store.backend.entries("data/flights/cleaned/p=2013-01") if entry.path not in before
    }
    assert not list(store.backend.entries("heads/checkout-v1"))
    put(store, CLEANED, "2013-01", "mine", branch="checkout-v1")
    assert shown(store, "v1") != shown(store, "checkout-v1") != shown(store)
    with saying(StoreError, text=r"^There is a branch 'checkout-v1' already; choose another name"):
        checkout(store, "v1")
    assert checkout(store, "v1", "mine").name == "mine"
    with saying(NotStoredError, text=r"^There is no tag 'v2' in .*; there is: v1\."):
        checkout(store, "v2")


# --- the lock --------------------------------------------------------------------------------------------------------


def test_a_lock_says_what_its_tag_says(store: Store, tmp_path: Path) -> None:
    fill(store)
    made = tag(store, "v1", "flights", "main", git={"commit": "c0ffee", "dirty": True}, environment="e1")
    text = lock_text(made)
    assert text == lock_text(read_tag(store, "v1"))
    lines = text.splitlines()
    assert lines[:5] == [
        "# mlops_assets data.lock 1",
        "# tag\tv1",
        "# dataset\tflights",
        "# git\tc0ffee dirty",
        "# environment\te1",
    ]
    summary = made.assets[CLEANED]
    assert lines[6] == f"{CLEANED}\t{summary.tree}\t{summary.content}\t3\t-\t{summary.size}"
    assert [line.partition("\t")[0] for line in lines[6:]] == [CLEANED, RAW]
    path = tmp_path / "data.lock"
    path.write_text(text)
    assert read_lock(path) == Lock.of(made)
    assert read_lock(path).text == text


def test_a_branch_in_step_with_a_lock_and_not(store: Store) -> None:
    fill(store)
    lock = Lock.of(tag(store, "v1", "flights", "main"))
    assert differences(store, lock, "main") == []
    put(store, CLEANED, "2013-02", {"rows": 1}, settings="audited again")
    assert differences(store, lock, "main") == [], "the same content"
    put(store, CLEANED, "2013-02", "changed")
    put(store, CLEANED, "2013-04", "new")
    store.move("main", CLEANED, "2013-01", None, store.head("main", CLEANED, "2013-01"))
    put(store, MODEL, "2013-03", "model")
    for batch in BATCHES:
        store.move("main", RAW, batch, None, store.head("main", RAW, batch))
    said = "1 new (2013-04), 1 changed (2013-02), 1 gone (2013-01)"
    assert differences(store, lock, "main") == [
        f"flights/cleaned: branch main shows {said}, seen from data.lock.",
        "flights/model: branch main shows 1 batch, data.lock does not name it.",
        "flights/raw/flights: branch main shows nothing of it, data.lock has 3 batches.",
    ]
    store.backend.delete(f"trees/{lock.assets[CLEANED].tree.replace(':', '-')}.json")
    assert differences(Store.open(store.backend.url), lock, "main")[0] == (
        "flights/cleaned: branch main shows 3 batches with other versions, seen from data.lock."
    )


def test_a_lock_that_is_not_its_tags(store: Store) -> None:
    fill(store)
    lock = Lock.of(tag(store, "v1", "flights", "main"))
    put(store, CLEANED, "2013-02", "changed")
    other = Lock("v1", "flights", "", "", Lock.of(tag(store, "v2", "flights", "main")).assets)
    assert differences(store, other, "main") == [
        "data.lock is not what the tag v1 says; write it again with: mlops-assets lock flights --tag v1"
    ]
    delete_tag(store, "v1", "test")
    said = differences(store, lock, "main")
    assert said[0].startswith("data.lock names the tag v1, which is not in store at ")
    assert said[0].endswith("; get it with: mlops-assets fetch REMOTE --tag v1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"^x/data\.lock:1 is not the first line of a data\.lock; write it again with: mlops-assets lock DATASET"),
        ("# mlops_assets data.lock 2\n", r"^x/data\.lock is written in format 2, and this mlops_assets reads up to 1"),
        ("# mlops_assets data.lock 1\n", r"^x/data\.lock does not say which tag it belongs to"),
        ("# mlops_assets data.lock 1\na\tb\n", r"^x/data\.lock:2 should name asset, tree, content, batches, rows and"),
        ("# mlops_assets data.lock 1\n<<<<<<< ours\n", r"^x/data\.lock:2 holds both sides of a merge; keep one of"),
    ],
)
def test_what_is_no_lock(text: str, said: str) -> None:
    with saying(StoreError, text=said):
        parse_lock(text, "x/data.lock")


def test_a_lock_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "flights" / "data.lock"
    with saying(NotStoredError, text=r"^There is no .*data\.lock; write it with: mlops-assets tag NAME flights -m"):
        read_lock(path)
    path.parent.mkdir()
    path.write_bytes(b"\xff")
    with saying(CorruptError, text=r"is not text in UTF-8; write it again"):
        read_lock(path)


# --- restore ---------------------------------------------------------------------------------------------------------


def test_restore_gives_exactly_what_a_tag_shows(store: Store) -> None:
    fill(store)
    put(store, "visits/cleaned", "x", 1)
    tag(store, "v1", "flights", "main")
    before = shown(store)
    put(store, CLEANED, "2013-01", "changed")
    put(store, CLEANED, "2013-04", "new")
    put(store, MODEL, "2013-03", "model")
    store.move("main", CLEANED, "2013-02", None, store.head("main", CLEANED, "2013-02"))
    put(store, "visits/cleaned", "x", 2)
    bad = shown(store)
    visits = shown(store, asset="visits/cleaned")
    plan = plan_restore(store, "main", "v1")
    assert [(move.asset, move.batch) for move in plan.moves] == [
        (CLEANED, "2013-01"),
        (CLEANED, "2013-02"),
        (CLEANED, "2013-04"),
        (MODEL, "2013-03"),
    ]
    assert plan.moves[1].before is None
    assert plan.moves[2].after is None
    assert shown(store) == bad, "a plan moves nothing"
    blobs = {entry.path for entry in store.backend.entries("data")}
    change = restore(store, "main", "v1", message="bad month", who="ada")
    assert (change.verb, change.moved, change.skipped, change.source) == ("restore", 4, (), "tag v1")
    assert shown(store) == before
    assert shown(store, asset=MODEL) == {}
    assert shown(store, asset="visits/cleaned") == visits, "another dataset stays"
    assert {entry.path for entry in store.backend.entries("data")} == blobs
    newest = store.moves("main", CLEANED, "2013-01")[0]
    assert (newest.message, newest.who) == ("bad month", "ada")
    assert newest.origin == {"change": change.id, "verb": "restore"}
    assert restore(store, "main", "v1").steps == ()
    revert(store, "main", change.id)
    assert shown(store) == bad


def test_restore_of_some_assets_and_batches(store: Store) -> None:
    fill(store)
    tag(store, "v1", "flights", "main")
    before = shown(store)
    for batch in BATCHES:
        put(store, CLEANED, batch, f"changed {batch}")
        put(store, RAW, batch, f"changed {batch}")
    restore(store, "main", "v1", ["flights/cleaned"], ["2013-02"])
    now = shown(store)
    assert now["2013-02"] == before["2013-02"]
    assert [now[batch] == before[batch] for batch in BATCHES] == [False, True, False]
    restore(store, "main", "v1", ["flights/raw"])
    assert shown(store, asset=RAW) == shown(store, "v1", RAW)
    assert shown(store) == now
    with saying(NotStoredError, text=r"^tag v1 shows no asset 'flights/clean'; there is: flights/cleaned"):
        restore(store, "main", "v1", ["flights/clean"])
    with saying(NotStoredError, text=r"^Neither tag v1 nor branch main shows a batch '2014-01' of flights/cleaned\."):
        restore(store, "main", "v1", [CLEANED], ["2014-01"])
    with saying(NotStoredError, text=r"^There is no branch, tag or version 'v2'"):
        restore(store, "main", "v2")


def test_restore_to_one_version_leaves_other_batches_alone(store: Store) -> None:
    fill(store)
    first = shown(store)
    for batch in BATCHES:
        put(store, CLEANED, batch, f"changed {batch}")
    change = restore(store, "main", first["2013-01"][:15])
    assert change.moved == 1
    assert shown(store)["2013-01"] == first["2013-01"]
    assert len(shown(store)) == 3


def test_restore_to_nothing_is_refused(store: Store) -> None:
    fill(store)
    with saying(NotStoredError, text=r"^branch main at 2000-01-01T00:00:00\+00:00 shows nothing, so that there is"):
        restore(store, "main", "@2000-01-01")
    assert len(shown(store)) == 3


def test_restore_to_a_value_that_is_gone_moves_nothing(store: Store) -> None:
    fill(store)
    tag(store, "v1", "flights", "main")
    lost = view(store, "v1").manifest(CLEANED, "2013-03")
    for batch in BATCHES:
        put(store, CLEANED, batch, f"changed {batch}")
    now = shown(store)
    assert lost.blob is not None
    store.backend.delete(lost.blob.path)
    with saying(CorruptError, text=r"^flights/cleaned\[2013-03\] version b3:\w+ has lost its file "):
        restore(store, "main", "v1")
    stone = {"format": 1, "purge": "p-1", "when": "2026-01-01", "basis": "", "rows": 1, "replacement": None}
    store.backend.create(f"tombstones/{str(lost.version).replace(':', '-')}.json", canonical_json(stone))
    with saying(PurgedError, text=r"^flights/cleaned\[2013-03\] version b3:\w+ was purged on 2026-01-01 by purge p-1"):
        restore(store, "main", "v1")
    assert shown(store) == now


def test_a_protected_branch_goes_back_only_when_that_is_meant(store: Store) -> None:
    fill(store)
    tag(store, "v1", "flights", "main")
    before = shown(store)
    put(store, CLEANED, "2013-01", "changed")
    protect(store, "main")
    with saying(RefusedError, text=r"^The branch main is protected: it moves by merges only\. .* --protected$"):
        restore(store, "main", "v1")
    with saying(RefusedError, text="protected"):
        rollback(store, "main", [CLEANED])
    assert shown(store) != before
    assert restore(store, "main", "v1", protected=True).moved == 1
    assert shown(store) == before


def test_a_head_that_moves_meanwhile_is_left_alone_and_told(store: Store) -> None:
    from mlops_assets.store.restoring import carry_out

    fill(store)
    tag(store, "v1", "flights", "main")
    for batch in BATCHES:
        put(store, CLEANED, batch, f"changed {batch}")
    plan = plan_restore(store, "main", "v1")
    late = put(store, CLEANED, "2013-02", "late")
    change = carry_out(store, plan)
    assert (change.moved, [(item.asset, item.batch) for item in change.skipped]) == (2, [(CLEANED, "2013-02")])
    assert "has moved since it was read" in change.skipped[0].sentence
    assert shown(store)["2013-02"] == late.version


# --- rollback --------------------------------------------------------------------------------------------------------


def test_rollback_takes_back_the_last_move_of_a_head(store: Store) -> None:
    fill(store)
    first = shown(store)["2013-01"]
    second = put(store, CLEANED, "2013-01", "second").version
    put(store, CLEANED, "2013-01", "third")
    assert plan_rollback(store, "main", [CLEANED], ["2013-01"]).moves[0].after == second
    rollback(store, "main", [CLEANED], ["2013-01"])
    assert shown(store)["2013-01"] == second
    rollback(store, "main", [CLEANED], ["2013-01"], steps=3)
    assert shown(store)["2013-01"] == first
    rollback(store, "main", [CLEANED], ["2013-01"], steps=5)
    assert "2013-01" not in shown(store)
    assert len(store.moves("main", CLEANED, "2013-01")) == 6, "nothing was deleted"
    with saying(NotStoredError, text=r"^Only 6 things happened to flights/cleaned on branch main; before that it"):
        rollback(store, "main", [CLEANED], ["2013-01"], steps=7)
    with saying(StoreError, text="A rollback takes back at least one step, not 0"):
        rollback(store, "main", [CLEANED], steps=0)
    with saying(NotStoredError, text=r"^The branch main shows no batch '2014-01' of flights/cleaned\."):
        rollback(store, "main", [CLEANED], ["2014-01"])
    with saying(NotStoredError, text=r"^branch main shows no asset 'flights/none'"):
        rollback(store, "main", ["flights/none"])


def test_rollback_takes_back_all_that_one_run_or_change_did(store: Store) -> None:
    fill(store)
    first = shown(store)
    for batch in BATCHES[:2]:
        put(store, CLEANED, batch, f"run {batch}", run_id="run-1")
        put(store, RAW, batch, f"run {batch}", run_id="run-1")
    plan = plan_rollback(store, "main", [CLEANED])
    assert plan.source.startswith("before the publish in run run-1 by ")
    change = rollback(store, "main", ["flights"])
    assert change.moved == 4
    assert shown(store) == first
    rollback(store, "main", ["flights"])
    assert shown(store)["2013-01"] != first["2013-01"], "the rollback was the last change"
    assert plan_rollback(store, "main", ["flights"]).source.startswith("before the restore ")


def test_rollback_of_a_branch_ends_at_what_it_started_from(store: Store) -> None:
    from mlops_assets.store.branching import create_branch

    fill(store)
    create_branch(store, "dev")
    with saying(NotStoredError, text=r"^Nothing happened to flights/cleaned on branch dev yet: it shows what it was"):
        rollback(store, "dev", [CLEANED])
    put(store, CLEANED, "2013-01", "dev", branch="dev")
    with saying(NotStoredError, text=r"^Only 1 thing happened to flights/cleaned on branch dev; before that it"):
        rollback(store, "dev", [CLEANED], steps=2)
    rollback(store, "dev", [CLEANED])
    assert shown(store, "dev") == shown(store)
