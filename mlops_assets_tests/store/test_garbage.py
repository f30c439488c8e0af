"""Housekeeping: what is kept, what goes, beside writers and whatever dies."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_assets.errors import ConflictError, CorruptError, StoreError
from mlops_assets.store import Head, Input, Leaf, Manifest, Store
from mlops_assets.store import files as locks
from mlops_assets.store.branching import create_branch, remove_branch
from mlops_assets.store.deliveries import Ledger
from mlops_assets.store.garbage import Collection, Policy, gc
from mlops_assets.store.store import head_path, leaf_of
from mlops_assets.store.verify import verify
from mlops_assets_tests.store.tended import CLEANED, MODEL, RAW, age, commit, contents, files, freeze, line, rows, value
from mlops_assets_tests.store.test_crash import die_at, in_child

BATCH = "2024-01"
NOW = Policy(grace=0, keep_last=0, keep_moves=0, keep_refused=0, force=True)
"""Keep only what is shown; forced, so that tests need not wait."""

LATER = Policy(keep_last=0, keep_moves=0, keep_refused=0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def blob(store: Store, head: Head) -> str:
    found = store.manifest(head.asset, head.batch, head.manifest).blob
    assert found
    return found.path


def taken(collection: Collection) -> dict[str, int]:
    return {kind: count.files for kind, count in collection.kinds.items() if count.files}


def test_nothing_is_deleted_unless_asked(store: Store) -> None:
    commit(store, CLEANED, BATCH, rows(1))
    commit(store, CLEANED, BATCH, rows(1, 2))
    age(store)
    before = contents(store)
    found = gc(store, policy=LATER)
    assert taken(found) == {"values": 1}
    assert found.bytes == found.kinds["values"].bytes > 0
    assert not found.done
    assert contents(store) == before
    assert json.loads(json.dumps(found.to_dict()))["taken"]["values"]["files"] == 1


def test_what_nothing_leads_to_goes_and_its_record_stays(store: Store) -> None:
    first = commit(store, CLEANED, BATCH, rows(1))
    second = commit(store, CLEANED, BATCH, rows(1, 2))
    age(store)
    done = gc(store, yes=True, policy=LATER)
    assert (taken(done), done.restored, done.spared) == ({"values": 1}, 0, 0)
    assert blob(store, first) not in files(store)
    assert value(store, "main", CLEANED, BATCH).num_rows == 2
    assert [move.to_manifest for move in store.moves("main", CLEANED, BATCH)] == [second.manifest, first.manifest]
    old = store.manifest(CLEANED, BATCH, first.manifest)
    with pytest.raises(CorruptError, match="has lost its file"):
        store.get(old)
    assert files(store, "trash") == set()
    report = verify(store)
    assert report.sound
    assert report.dropped == 1
    # made again, it is an ordinary version, and lost, it is broken
    commit(store, CLEANED, BATCH, rows(1))
    assert verify(store).dropped == 0
    store.backend.delete(blob(store, first))
    assert [problem.what for problem in verify(store).problems] == ["value"]


def test_heads_tags_branches_and_remotes_keep_all_that_they_were_made_from(store: Store) -> None:
    raw, cleaned = line(store, BATCH, [1, 2])
    model = commit(store, MODEL, BATCH, {"of": 2}, cleaned)
    freeze(store, "v1")
    line(store, BATCH, [1, 2, 3])
    create_branch(store, "experiment")
    line(store, BATCH, [1, 2, 3, 4])
    commit(store, MODEL, BATCH, {"of": 4}, *store.heads("main", CLEANED).values())
    nobody = commit(store, MODEL, BATCH, {"of": 5})
    commit(store, MODEL, BATCH, {"of": 6})
    age(store)
    assert taken(gc(store, yes=True, policy=LATER)) == {"values": 2}
    assert blob(store, nobody) not in files(store)
    assert verify(store).sound
    assert value(store, "experiment", CLEANED, BATCH).num_rows == 3
    for head in (raw, cleaned, model):
        store.get(store.manifest(head.asset, head.batch, head.manifest), verify=True)
    # without tag and branch only the deliveries stay
    store.backend.delete("tags/v1.json")
    assert taken(gc(store, yes=True, policy=LATER)) == {"trees": 2}, "the branch shows the same model"
    remove_branch(store, "experiment")
    assert taken(gc(store, yes=True, policy=LATER)) == {"values": 5, "files": 2, "trees": 3}
    manifest = store.manifest(RAW, BATCH, raw.manifest)
    assert store.backend.stat(manifest.files[0]["blob"])
    assert verify(store).sound


def test_keeping_times_and_counts(store: Store) -> None:
    for count in range(1, 6):
        commit(store, CLEANED, BATCH, rows(*range(count)))
    refused = store.put(CLEANED, BATCH, "json", "refused")
    store.record(Manifest(CLEANED, BATCH, "json", refused.version, refused.blob, when="2024"))
    age(store, hours=80 * 24)
    assert taken(gc(store)) == {}
    assert taken(gc(store, policy=Policy(keep_moves=0))) == {"values": 2}
    assert taken(gc(store, policy=Policy(keep_moves=0, keep_last=2))) == {"values": 3}
    assert taken(gc(store, policy=Policy(keep_refused=79))) == {"values": 1, "records": 1}
    assert taken(gc(store, policy=Policy(grace=81 * 24 * 3600, keep_moves=0, keep_refused=0))) == {}
    age(store, hours=89 * 24)
    assert taken(gc(store)) == {}
    age(store, hours=91 * 24)
    done = gc(store, yes=True)
    assert taken(done) == {"values": 3, "records": 1}
    assert len(store.manifests(CLEANED, BATCH)) == 5


def test_raw_bytes_stay_for_ever(store: Store) -> None:
    text = b"person,paid\n1,10\n"
    entry = Ledger(store, "shop").record(RAW, "visits.csv", text, place=BATCH).delivery
    read = store.put_bytes(RAW, BATCH, b"read, and refused")
    stored = {"name": "x.csv", "size": read.size, "sha256": read.sha256, "blob": read.path}
    store.record(Manifest(RAW, BATCH, "table", files=(stored,)))
    nobodys = store.put_bytes(RAW, BATCH, b"written, then killed")
    age(store, hours=10_000)
    assert taken(gc(store, yes=True, policy=LATER)) == {"files": 1}
    assert files(store, "data") == {entry.blob.path, read.path}
    assert nobodys.path not in files(store)
    assert verify(store).sound


def test_killed_writers_litter_goes_and_what_people_put_there_stays(store: Store) -> None:
    head = commit(store, CLEANED, BATCH, rows(1))
    folder = (store.root / blob(store, head)).parent
    (folder / ".123-abc.tmp").write_bytes(b"half")
    (folder / "notes.txt").write_text("mine")
    (store.root / "todo.txt").write_text("mine")
    assert taken(gc(store, yes=True, policy=NOW)) == {}
    age(store)
    then = time.time() - 7200
    os.utime(folder / ".123-abc.tmp", (then, then))
    assert taken(gc(store, yes=True, policy=Policy(grace=3600))) == {"litter": 1}
    assert sorted(path.name for path in folder.iterdir()) == sorted(["notes.txt", Path(blob(store, head)).name])
    assert verify(store).unknown == [f"{blob(store, head).rpartition('/')[0]}/notes.txt", "todo.txt"]


def test_what_took_the_place_of_erased_versions_stays(store: Store) -> None:
    from mlops_assets.store.purge import purge

    line(store, BATCH, [1, 2])
    freeze(store, "v1")
    done = purge(store, "shop", [{"person": "1"}], basis="request 7", dry=False)
    line(store, BATCH, [2, 3])
    age(store, hours=10_000)
    gc(store, yes=True, policy=LATER)
    for item in done.replaced:
        assert item.replacement
        store.get(store.manifest(item.asset, item.batch, item.replacement.manifest), verify=True)
    assert verify(store).sound


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        (Policy(grace=60), "A grace period of 0.0166667 h is shorter than writers may need .* give at least 1 h"),
        (Policy(keep_last=-1), "Keeping times and counts cannot be negative"),
    ],
)
def test_policies_that_cannot_be(store: Store, policy: Policy, sentence: str) -> None:
    with pytest.raises(StoreError, match=sentence):
        gc(store, yes=True, policy=policy)


def test_of_a_damaged_store_nothing_is_thrown_away(store: Store) -> None:
    commit(store, CLEANED, BATCH, rows(1))
    commit(store, CLEANED, BATCH, rows(1, 2))
    path = store.root / head_path("main", CLEANED, BATCH)
    path.write_bytes(path.read_bytes()[:-10])
    age(store)
    before = contents(store)
    with pytest.raises(CorruptError, match="is not a head as the store writes it"):
        gc(store, yes=True, policy=LATER)
    assert contents(store) == before


def test_an_old_value_that_a_writer_adopts_is_spared(store: Store) -> None:
    commit(store, CLEANED, BATCH, rows(1))
    commit(store, CLEANED, BATCH, rows(1, 2))
    age(store)
    # a writer made the first value again, and has not published it yet
    stored = store.put(CLEANED, BATCH, "table", rows(1))
    assert not stored.new
    assert taken(gc(store, yes=True, policy=LATER)) == {}
    commit(store, CLEANED, BATCH, rows(1))
    assert value(store, "main", CLEANED, BATCH).num_rows == 1


def test_what_is_published_while_gc_runs_is_put_back(store: Store) -> None:
    first = commit(store, CLEANED, BATCH, rows(1))
    second = commit(store, CLEANED, BATCH, rows(1, 2))
    age(store)
    leaf = leaf_of(store.manifest(CLEANED, BATCH, first.manifest))
    settle = store.backend.settle

    def a_writer_comes_to_its_end() -> None:
        """It looked at the old value before gc set it aside, holding the head."""
        store.move("main", CLEANED, BATCH, leaf, second)
        settle()

    store.backend.settle = a_writer_comes_to_its_end  # type: ignore[method-assign]
    done = gc(store, yes=True, policy=LATER)
    assert (taken(done), done.restored) == ({}, 1)
    assert value(store, "main", CLEANED, BATCH).num_rows == 1
    assert files(store, "trash", "collected") == set()


def test_gc_waits_for_a_writer_that_has_seen_the_old_value(tmp_path: Path, store: Store) -> None:
    first = commit(store, CLEANED, BATCH, rows(1))
    commit(store, CLEANED, BATCH, rows(1, 2))
    age(store)

    def publish_slowly() -> None:
        there = Store.open(store.root)
        check = there.check

        def look(manifest: Manifest, verify: bool = False) -> None:
            check(manifest, verify)
            (tmp_path / "looked").touch()
            while not (tmp_path / "go").exists():
                time.sleep(0.002)

        there.check = look  # type: ignore[method-assign]
        there.publish("main", there.manifest(CLEANED, BATCH, first.manifest), there.head("main", CLEANED, BATCH))
        os._exit(0)

    with processes([publish_slowly]), ThreadPoolExecutor(1) as pool:
        while not (tmp_path / "looked").exists():
            time.sleep(0.002)
        running = pool.submit(gc, Store.open(store.root), yes=True, policy=LATER)
        while not files(store, "trash"):
            time.sleep(0.002)
        assert not running.done()
        (tmp_path / "go").touch()
        done = running.result(timeout=20)
    assert (taken(done), done.restored) == ({}, 1)
    assert value(store, "main", CLEANED, BATCH).num_rows == 1


def test_a_writer_that_comes_too_late_is_told(store: Store) -> None:
    stored = store.put(CLEANED, BATCH, "table", rows(1))
    age(store)
    gc(store, yes=True, policy=LATER)
    manifest = Manifest(CLEANED, BATCH, "table", stored.version, stored.blob, accepted=True)
    store.record(manifest)
    with pytest.raises(CorruptError, match="has lost its file"):
        store.publish("main", manifest, None)
    assert store.head("main", CLEANED, BATCH) is None
    commit(store, CLEANED, BATCH, rows(1))
    assert value(store, "main", CLEANED, BATCH).num_rows == 1


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 7])
def test_a_kill_at_any_operation_leaves_a_sound_store_and_the_next_gc_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(locks, "STRIPES", 3)
    template = Store.open(tmp_path / "template")
    commit(template, CLEANED, BATCH, [1])
    line(template, BATCH, [1, 2])
    freeze(template, "v1")
    line(template, BATCH, [4])
    line(template, BATCH, [5])
    create_branch(template, "other")
    template.backend.delete("branches/other.json")
    age(template)
    whole = Store.open(shutil.copytree(template.root, tmp_path / "whole"))
    age(whole)
    expected = gc(whole, yes=True, policy=LATER)
    assert taken(expected) == {"values": 3, "files": 1, "trees": 2}
    reference = {path for path in files(whole) if not path.startswith(("collected/", "locks/"))}
    for number in range(1, 1000, step):
        root = tmp_path / "store"
        shutil.copytree(template.root, root)

        def work(root: Path = root, number: int = number) -> None:
            store = Store.open(root)
            die_at(number)
            gc(store, yes=True, policy=LATER)

        code = in_child(work)
        store = Store.open(root)
        if code == 0:
            assert number > 50, "the hooks saw the work"
            break
        assert code == -signal.SIGKILL
        report = verify(store)
        assert report.sound, report.problems
        gc(store, yes=True, policy=LATER)
        assert {path for path in files(store) if not path.startswith(("collected/", "locks/"))} == reference
        assert verify(store).sound
        shutil.rmtree(root)
    else:
        pytest.fail("the work never finished")


@contextmanager
def processes(works: list[Callable[[], None]]) -> Iterator[None]:
    children: list[int] = []
    try:
        for work in works:
            child = os.fork()
            if not child:
                try:
                    work()
                finally:
                    os._exit(1)
            children.append(child)
        yield
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def test_beside_writers_nothing_that_was_acknowledged_is_lost(tmp_path: Path) -> None:
    """Writers go back and forth between few versions, so that gc takes what they are about to adopt."""
    root = tmp_path / "store"
    Store.open(root)
    logs = [tmp_path / f"log{number}" for number in range(3)]

    def writer(number: int) -> None:
        store = Store.open(root)
        log = os.open(logs[number], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for turn in range(1_000_000):
            batch = f"b{(turn // 7 + number) % 2}"
            with suppress(ConflictError, CorruptError):
                head = commit(store, CLEANED, batch, [turn % 3], code_version=str(turn % 2))
                os.write(log, f"{head.attempt}\n".encode())

    def collector(number: int) -> None:
        store = Store.open(root)
        total = 0
        while True:
            total += gc(store, yes=True, policy=NOW).kinds["values"].files
            (tmp_path / f"new{number}").write_text(str(total))
            (tmp_path / f"new{number}").rename(tmp_path / f"collected{number}")

    store = Store.open(root)
    with processes(
        [lambda: writer(0), lambda: writer(1), lambda: writer(2), lambda: collector(0), lambda: collector(1)]
    ):
        end = time.monotonic() + 3
        while time.monotonic() < end:
            time.sleep(0.05)
    gc(store, yes=True, policy=NOW)
    report = verify(store)
    assert report.sound, report.problems
    attempts = {move.attempt for batch in ("b0", "b1") for move in store.moves("main", CLEANED, batch)}
    acknowledged = {attempt for log in logs for attempt in log.read_text().split()}
    assert len(acknowledged) > 50
    assert acknowledged <= attempts
    for batch in ("b0", "b1"):
        assert value(store, "main", CLEANED, batch) in ([0], [1], [2])
    collected = sum(int(path.read_text()) for path in tmp_path.glob("collected?"))
    assert collected > 2, "gc had something to take"


class Model:
    """What main, a branch and tags show, and what that was made from: nothing else is to be kept."""

    def __init__(self, store: Store) -> None:
        self.store = store
        commit(store, CLEANED, "a", [0])
        create_branch(store, "side")
        self.shown: dict[str, dict[tuple[str, str], Head]] = {"main": {}, "side": {}}
        for branch, view in self.shown.items():
            found = store.head(branch, CLEANED, "a")
            assert found
            view[CLEANED, "a"] = found
        self.base = dict(self.shown["side"])
        self.tags: dict[str, dict[tuple[str, str], Head]] = {}
        self.made: dict[str, set[str]] = {self.base[CLEANED, "a"].manifest: {blob(store, self.base[CLEANED, "a"])}}
        self.turn = 0

    def alive(self) -> set[str]:
        views = [*self.shown.values(), *self.tags.values(), self.base]
        return set().union(*(self.made[head.manifest] for view in views for head in view.values()))

    def commit(self, branch: str, batch: str, number: int) -> None:
        head = commit(self.store, CLEANED, batch, [number], branch=branch, when=f"{self.turn:04d}")
        self.made[head.manifest] = {blob(self.store, head)}
        self.shown[branch][CLEANED, batch] = head

    def train(self, branch: str, batch: str, number: int) -> None:
        if source := self.shown[branch].get((CLEANED, batch)):
            head = commit(self.store, MODEL, batch, {"seed": number}, source, branch=branch, when=f"{self.turn:04d}")
            # a head that shows the same recipe already was not made again
            self.made.setdefault(head.manifest, {blob(self.store, head), *self.made[source.manifest]})
            self.shown[branch][MODEL, batch] = head

    def take_away(self, branch: str, batch: str, number: int) -> None:
        asset = [CLEANED, MODEL, CLEANED][number]
        if self.shown[branch].pop((asset, batch), None):
            self.store.move(branch, asset, batch, None, self.store.head(branch, asset, batch))

    def tag(self, branch: str, batch: str, number: int) -> None:
        del batch, number
        if self.shown[branch]:
            freeze(self.store, f"v{self.turn}", branch=branch)
            self.tags[f"v{self.turn}"] = dict(self.shown[branch])

    def untag(self, branch: str, batch: str, number: int) -> None:
        del branch, batch
        if self.tags:
            name = sorted(self.tags)[number % len(self.tags)]
            self.store.backend.delete(f"tags/{name}.json")
            del self.tags[name]

    def collect(self, branch: str, batch: str, number: int) -> None:
        del branch, batch, number
        age(self.store)
        gc(self.store, yes=True, policy=LATER)
        assert files(self.store, "data") == self.alive()


ACTION = st.tuples(
    st.sampled_from([Model.commit, Model.commit, Model.train, Model.take_away, Model.tag, Model.untag, Model.collect]),
    st.sampled_from(["main", "side"]),
    st.sampled_from(["a", "b"]),
    st.integers(0, 2),
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(ACTION, max_size=20))
def test_any_history_keeps_what_a_simple_model_keeps(
    tmp_path: Path, actions: list[tuple[Callable[[Model, str, str, int], None], str, str, int]]
) -> None:
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
    model = Model(Store.open(tmp_path / "store"))
    for action, branch, batch, number in actions:
        model.turn += 1
        action(model, branch, batch, number)
    model.collect("", "", 0)
    assert verify(model.store, content=True).sound
    for branch, view in model.shown.items():
        found = {(asset, batch) for asset in (CLEANED, MODEL) for batch in model.store.heads(branch, asset)}
        assert found == set(view)


def test_published_tables_keep_their_files(store: Store) -> None:
    from mlops_assets.store.delta import TableFile, publish

    head = commit(store, CLEANED, BATCH, rows(1))
    old = store.manifest(CLEANED, BATCH, head.manifest)
    assert old.blob
    file = TableFile(BATCH, old.blob.path.removeprefix(f"data/{CLEANED}/"), old.blob.size, 1, old.schema)
    publish(store.root / "data" / CLEANED, [file], "v1", when=datetime.now(UTC).isoformat())
    commit(store, CLEANED, BATCH, rows(1, 2))
    age(store)
    assert taken(gc(store, yes=True, policy=LATER)) == {}
    assert verify(store).sound


def test_in_an_object_store(tmp_path: Path) -> None:
    del tmp_path
    store = Store.open(f"memory://gc{os.getpid()}")
    first = commit(store, CLEANED, BATCH, [1])
    second = commit(store, CLEANED, BATCH, [2])
    with pytest.raises(StoreError, match="give at least 2 h"):
        gc(store, policy=Policy(grace=3600))
    time.sleep(0.01)
    done = gc(store, yes=True, policy=NOW)
    assert taken(done) == {"values": 1}
    assert store.backend.stat(blob(store, first)) is None
    assert store.get(store.manifest(CLEANED, BATCH, second.manifest)) == [2]
    assert verify(store).sound


def test_unfinished_changes_keep_what_they_are_about_to_show(store: Store) -> None:
    from mlops_assets.store.changes import Change, Step, _id, _path

    first = commit(store, CLEANED, BATCH, rows(1))
    second = commit(store, CLEANED, BATCH, rows(1, 2))
    leaf: Leaf = leaf_of(store.manifest(CLEANED, BATCH, first.manifest))
    change = Change("main", "restore", (Step.of(CLEANED, BATCH, second, leaf),), when="2024-01-01T00:00:00.000+00:00")
    data = change.encode()
    id_ = _id(change.when, data)
    store.backend.create(_path(id_), data)
    age(store)
    assert taken(gc(store, yes=True, policy=LATER)) == {}
    report = verify(store)
    assert report.sound
    assert id_ in report.notes[0]
    store.backend.create(f"changes/{id_}.done", b"{}")
    assert taken(gc(store, yes=True, policy=LATER)) == {"values": 1}


def test_inputs_are_followed_by_their_records(store: Store) -> None:
    """An input that is only named by version and manifest is kept even when nothing shows it."""
    first = commit(store, CLEANED, BATCH, rows(1))
    item = Input(CLEANED, BATCH, first.version, first.manifest)
    store.commit("main", MODEL, BATCH, "json", {}, inputs=(item, Input(CLEANED, "2024-02", None, None)))
    commit(store, CLEANED, BATCH, pa.table({"person": [1, 2]}))
    age(store)
    assert taken(gc(store, yes=True, policy=LATER)) == {}
