"""The store as its users see it: keeping, finding, publishing, refusing, mending."""

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_assets.errors import ConflictError, CorruptError, NotStoredError, PurgedError, RefusedError, StoreError
from mlops_assets.store import Blob, Branch, Head, Kind, Manifest, Protection, Store
from mlops_assets.store.blobs import tombstone_path
from mlops_assets.store.digest import canonical_json, parse_json
from mlops_assets.store.store import branch_path, protection_path
from mlops_assets.store.values import decode

ASSET, BATCH = "flights/raw/weather", "2013-01"
TABLE = pa.table({"a": [1, 2, 3], "b": ["x", None, "z"], "c": [0.5, 1.5, 2.5]})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def made(store: Store, value: Any, kind: Kind = "json", batch: str = BATCH, **more: Any) -> Manifest:
    stored = store.put(more.get("asset", ASSET), batch, kind, value)
    fields = {"asset": ASSET, "accepted": True, "when": "2026-01-01T00:00:00+00:00", **more}
    manifest = Manifest(
        batch=batch,
        kind=kind,
        version=stored.version,
        blob=stored.blob,
        rows=stored.rows,
        schema=stored.schema,
        columns=stored.columns,
        **fields,
    )
    assert store.record(manifest) == manifest.id
    return manifest


# --- opening ---------------------------------------------------------------------------------------------------------


def test_a_store_is_made_once_and_opened_again(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "store"
    Store.open(root)
    assert (root / "FORMAT").read_text() == "2\n"
    assert str(Store.open(root, create=False)) == f"store at {root}"


def test_what_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(NotStoredError, match=r"There is no store at .*; build something first"):
        Store.open(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()
    (tmp_path / "thesis.doc").write_text("x")
    with pytest.raises(StoreError, match=r"is not empty and not a store .* name an empty or new folder"):
        Store.open(tmp_path)
    with pytest.raises(StoreError, match="is not empty and not a store"):
        Store.open(tmp_path / "thesis.doc")


def test_another_format_is_refused(tmp_path: Path) -> None:
    Store.open(tmp_path)
    (tmp_path / "FORMAT").write_text("3\n")
    with pytest.raises(StoreError, match="has format 3, and this mlops_assets reads up to 2; install the newer"):
        Store.open(tmp_path)
    (tmp_path / "FORMAT").write_text("")
    with pytest.raises(CorruptError, match="instead of a number; write 2 if this is your store"):
        Store.open(tmp_path)


def test_a_store_of_an_older_format_is_raised_when_it_may_be_written(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    head = store.commit("main", ASSET, BATCH, "json", [1])
    (tmp_path / "FORMAT").write_text("1\n")
    file = tmp_path / "heads" / "main" / ASSET / BATCH
    young = {"kind", "size", "sha256", "rows", "~crc32"}
    old = {name: value for name, value in parse_json(file.read_bytes()).items() if name not in young}
    file.write_bytes(canonical_json(old))
    reader = Store.open(tmp_path, create=False)
    assert (tmp_path / "FORMAT").read_text() == "1\n", "who only reads changes nothing"
    assert reader.leaves("main", ASSET) == {BATCH: head.leaf}, "what old heads lack is taken from their manifests"
    Store.open(tmp_path)
    assert (tmp_path / "FORMAT").read_text() == "2\n"


# --- values ----------------------------------------------------------------------------------------------------------


def test_a_table_is_kept_under_its_version(store: Store) -> None:
    stored = store.put(ASSET, BATCH, "table", TABLE)
    assert stored.version.startswith("b3:")
    assert len(stored.version) == 67
    assert stored.blob.path == f"data/{ASSET}/p={BATCH}/{stored.version.replace(':', '-')}.parquet"
    assert (stored.rows, stored.schema) == (3, (("a", "int64"), ("b", "string"), ("c", "double")))
    assert list(stored.columns) == ["a", "b", "c"]
    assert stored.new
    manifest = made(store, TABLE, "table")
    assert store.get(manifest).equals(TABLE)
    assert store.get(manifest, columns=["c", "a"], verify=True).equals(TABLE.select(["c", "a"]))
    assert store.path(manifest).stat().st_size == stored.blob.size
    with pytest.raises(NotStoredError, match=r"flights/raw/weather\[2013-01\] has no column 'z'; it has a, b, c."):
        store.get(manifest, columns=["a", "z"])


def test_the_same_value_is_written_once(store: Store) -> None:
    first = store.put(ASSET, BATCH, "table", TABLE)
    path = store.root / first.blob.path
    before = path.stat()
    second = store.put(ASSET, BATCH, "table", TABLE.combine_chunks())
    assert not second.new
    assert second.blob == first.blob
    made(store, TABLE, "table")
    assert not store.put(ASSET, BATCH, "table", TABLE).new
    assert path.stat() == before


def test_sound_bytes_of_another_writer_are_adopted(store: Store) -> None:
    """Releases of pyarrow write one table in different bytes; skops never writes the same twice."""
    import pyarrow.parquet as pq

    first = store.put(ASSET, BATCH, "table", TABLE)
    path = store.root / first.blob.path
    pq.write_table(TABLE, path, compression="none")
    second = store.put(ASSET, BATCH, "table", TABLE)
    assert not second.new
    assert second.blob != first.blob
    model = {"m": np.arange(3)}
    assert store.put(ASSET, BATCH, "estimator", model).blob == store.put(ASSET, BATCH, "estimator", model).blob


@pytest.mark.parametrize("kind", ["table", "json", "bytes", "estimator"])
@pytest.mark.parametrize("recorded", [False, True])
def test_damaged_bytes_are_replaced_and_old_manifests_read_again(store: Store, kind: Kind, recorded: bool) -> None:
    value: Any = {"table": TABLE, "bytes": b"some bytes"}.get(kind, {"a": [1, 2]})
    if recorded:
        old = made(store, value, kind)
        path = store.path(old)
    else:
        path = store.root / store.put(ASSET, BATCH, kind, value).blob.path
    path.write_bytes(path.read_bytes()[:-1])
    if recorded:
        with pytest.raises(
            CorruptError, match=r"flights/raw/weather\[2013-01\] version b3:\w+ is damaged: .* Build the"
        ):
            store.get(old)
    assert store.put(ASSET, BATCH, kind, value).new
    new = made(store, value, kind, when="2026-01-02")
    for manifest in [new, *([old] if recorded else [])]:
        read = store.get(manifest, verify=True)
        assert read.equals(value) if kind == "table" else read == value


def test_damage_is_found_when_it_is_looked_for(store: Store) -> None:
    manifest = made(store, TABLE, "table")
    path = store.path(manifest)
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptError, match=r"is damaged: .* were written. Build the batch again"):
        store.get(manifest, verify=True)
    path.unlink()
    with pytest.raises(CorruptError, match=r"has lost its file .* Build the batch again, or copy the file"):
        store.get(manifest)


def test_a_page_that_rots_is_found_in_reading(store: Store) -> None:
    table = pa.table({"x": np.random.default_rng(0).random(5000)})
    manifest = made(store, table, "table")
    path = store.path(manifest)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        CorruptError, match=r"\[2013-01\] version b3:\w+ cannot be read: .* is damaged: .* Build the batch"
    ):
        store.get(manifest)


def test_another_value_under_the_name_is_found(store: Store) -> None:
    one, two = made(store, TABLE, "table"), made(store, TABLE.slice(1), "table")
    swapped = replace(one, blob=two.blob)
    with pytest.raises(CorruptError, match="is not what was written: its content differs"):
        store.get(swapped, verify=True)
    with pytest.raises(CorruptError, match="is not what was written: a differs"):
        store.get(swapped, columns=["a"], verify=True)


def test_an_estimator_is_not_loaded_before_its_bytes_are_known(store: Store) -> None:
    manifest = made(store, {"m": 1}, "estimator")
    path = store.path(manifest)
    data = bytearray(path.read_bytes())
    # the time stamp of the first member: skops would load this
    data[10] ^= 1
    path.write_bytes(data)
    assert decode("estimator", path) == {"m": 1}
    with pytest.raises(CorruptError, match="is damaged"):
        store.get(manifest)


def test_refused_before_a_value_was_made(store: Store) -> None:
    with pytest.raises(NotStoredError, match="has no value: it was refused before one was made"):
        store.get(Manifest(ASSET, BATCH, "table"))


@pytest.mark.parametrize("path", ["/etc/passwd", "data/../../secret", "meta/x"])
def test_a_manifest_cannot_lead_out_of_the_store(store: Store, path: str) -> None:
    with pytest.raises(CorruptError, match="which is not in the store; it was not read"):
        store.bytes(Blob(path, 1, ""))


def test_delivered_bytes(store: Store, tmp_path: Path) -> None:
    delivered = tmp_path / "a.csv"
    delivered.write_bytes(b"x,y\n" * 1000)
    blob = store.put_bytes(ASSET, BATCH, delivered)
    assert blob.path == f"data/{ASSET}/p={BATCH}/sha256-{blob.sha256}.bin"
    assert store.bytes(blob) == delivered.read_bytes()
    before = (store.root / blob.path).stat()
    assert store.put_bytes(ASSET, BATCH, delivered.read_bytes()) == blob
    assert (store.root / blob.path).stat() == before
    (store.root / blob.path).write_bytes(b"torn")
    with pytest.raises(CorruptError, match="is damaged; deliver it again"):
        store.bytes(blob)
    store.put_bytes(ASSET, BATCH, delivered)
    assert store.bytes(blob) == delivered.read_bytes()
    (store.root / blob.path).unlink()
    with pytest.raises(CorruptError, match="is lost; deliver it again"):
        store.bytes(blob)
    with pytest.raises(StoreError, match="cannot be read: No such file or directory; deliver it again"):
        store.put_bytes(ASSET, BATCH, tmp_path / "gone.csv")


# --- manifests -------------------------------------------------------------------------------------------------------


def test_manifests_are_found_newest_first(store: Store) -> None:
    assert store.manifests(ASSET, BATCH) == []
    found = [made(store, number, when=f"2026-01-0{number}") for number in (2, 1, 3)]
    refused = replace(found[0], accepted=False, when="2026-01-09")
    store.record(refused)
    store.record(refused)
    assert [manifest.when[-1] for manifest in store.manifests(ASSET, BATCH)] == ["9", "3", "2", "1"]
    assert store.manifest(ASSET, BATCH, refused.id) == refused
    with pytest.raises(NotStoredError, match=r"has no manifest b3:0 in store at"):
        store.manifest(ASSET, BATCH, "b3:0")


def test_a_damaged_manifest_is_refused_and_mended_by_writing_it_again(store: Store) -> None:
    manifest = made(store, 1)
    path = next((store.root / "meta").rglob("*.json"))
    path.write_bytes(path.read_bytes().replace(b'"accepted":true', b'"accepted":false'))
    with pytest.raises(CorruptError, match=r"The manifest .* is damaged; copy it from another copy"):
        store.manifest(ASSET, BATCH, manifest.id)
    store.record(manifest)
    assert store.manifest(ASSET, BATCH, manifest.id) == manifest


# --- branches --------------------------------------------------------------------------------------------------------


def start(store: Store, name: str, **base: str) -> None:
    """What starting a branch writes."""
    store.backend.create(branch_path(name), Branch(name, base).encode())


def test_a_branch_shows_its_base_until_its_own_heads_move(store: Store) -> None:
    one = store.commit("main", ASSET, "2013-01", "json", 1)
    two = store.commit("main", ASSET, "2013-02", "json", 2)
    start(store, "dev", **{ASSET: store.write_tree(ASSET, store.leaves("main", ASSET))})
    assert store.branches() == ["dev", "main"]
    seen = store.heads("dev", ASSET)
    assert [head.leaf for head in seen.values()] == [one.leaf, two.leaf]
    assert [(head.seq, head.move, head.attempt) for head in seen.values()] == [(0, "", "")] * 2
    assert store.assets("dev") == [ASSET]
    moved = store.commit("dev", ASSET, "2013-02", "json", 22)
    assert (moved.seq, store.moves("dev", ASSET, "2013-02")[0].from_manifest) == (1, two.manifest)
    store.commit("main", ASSET, "2013-01", "json", 11)
    store.commit("main", ASSET, "2013-03", "json", 3)
    assert {
        batch: store.get(store.manifest(ASSET, batch, head.manifest))
        for batch, head in store.heads("dev", ASSET).items()
    } == {
        "2013-01": 1,
        "2013-02": 22,
    }, "a branch never follows where it came from"
    assert store.head("dev", ASSET, "2013-03") is None


def test_nothing_falls_back_to_main_in_silence(store: Store) -> None:
    store.commit("main", ASSET, BATCH, "json", 1)
    for question in (store.heads, store.leaves):
        with pytest.raises(NotStoredError, match=r"There is no branch 'dev' in store at .*; there is: main. Start it"):
            question("dev", ASSET)
    with pytest.raises(NotStoredError, match="There is no branch 'dev'"):
        store.head("dev", ASSET, BATCH)
    with pytest.raises(NotStoredError, match="Start it with: mlops-assets branch dev"):
        store.commit("dev", ASSET, BATCH, "json", 2)
    with pytest.raises(NotStoredError, match="There is no branch 'dev'"):
        store.assets("dev")


def test_a_head_can_be_taken_away_and_come_back(store: Store) -> None:
    head = store.commit("main", ASSET, BATCH, "json", 1)
    assert store.move("main", ASSET, BATCH, None, head, message="a mistake", who="anna") is None
    assert store.head("main", ASSET, BATCH) is None
    assert store.heads("main", ASSET) == {}
    assert store.assets("main") == [ASSET]
    slot = store.slot("main", ASSET, BATCH)
    assert slot is not None
    assert (slot.seq, slot.manifest) == (2, "")
    with pytest.raises(ConflictError, match="is gone, where move 1 was expected"):
        store.move("main", ASSET, BATCH, None, head)
    assert store.move("main", ASSET, BATCH, None, None) is None, "there is nothing to take away"
    back = store.move("main", ASSET, BATCH, head.leaf, None)
    assert back is not None
    assert (back.seq, back.leaf) == (3, head.leaf)
    assert [move.to_manifest for move in store.moves("main", ASSET, BATCH)] == [head.manifest, "", head.manifest]
    assert store.slot("main", ASSET, BATCH) == back


def test_what_a_base_shows_can_be_taken_away_on_the_branch_alone(store: Store) -> None:
    store.commit("main", ASSET, BATCH, "json", 1)
    start(store, "dev", **{ASSET: store.write_tree(ASSET, store.leaves("main", ASSET))})
    store.move("dev", ASSET, BATCH, None, store.head("dev", ASSET, BATCH))
    assert store.heads("dev", ASSET) == {}
    assert store.head("dev", ASSET, BATCH) is None
    assert list(store.heads("main", ASSET)) == [BATCH]


def test_a_late_writer_on_a_base_is_told_so(store: Store) -> None:
    head = store.commit("main", ASSET, BATCH, "json", 1)
    start(store, "dev", **{ASSET: store.write_tree(ASSET, store.leaves("main", ASSET))})
    with pytest.raises(ConflictError, match=r"shows b3:\w+, with which the branch started; no head was expected"):
        store.move("dev", ASSET, BATCH, head.leaf._replace(manifest="b3:other"), None)


def test_a_protected_branch_takes_no_publishing(store: Store) -> None:
    store.commit("main", ASSET, BATCH, "json", 1)
    store.backend.create(protection_path("main"), Protection("main", active=True).encode())
    with pytest.raises(RefusedError, match="The branch main is protected: it moves by merges only"):
        store.commit("main", ASSET, BATCH, "json", 2)
    store.backend.write(protection_path("main"), Protection("main", active=False).encode())
    assert store.commit("main", ASSET, BATCH, "json", 2).seq == 2


def test_a_commit_of_the_same_value_by_the_same_recipe_writes_nothing(store: Store) -> None:
    head = store.commit("main", ASSET, BATCH, "table", TABLE, code_version="1")
    before = sorted(store.root.rglob("*"))
    assert store.commit("main", ASSET, BATCH, "table", TABLE, code_version="1") == head
    assert sorted(store.root.rglob("*")) == before
    again = store.commit("main", ASSET, BATCH, "table", TABLE, code_version="2")
    assert (again.version, again.seq) == (head.version, 2)
    assert len(list((store.root / "data").rglob("*.parquet"))) == 1
    assert (head.kind, head.rows, head.size) == (
        "table",
        3,
        store.path(store.manifests(ASSET, BATCH)[0]).stat().st_size,
    )


def test_purged_content_may_not_come_back(store: Store) -> None:
    head = store.commit("main", ASSET, BATCH, "json", "Anna")
    manifest = store.manifest(ASSET, BATCH, head.manifest)
    stone = {"format": 1, "purge": "7", "when": "2026-01-01", "basis": "request", "rows": 1, "replacement": "b3:new"}
    store.backend.create(tombstone_path(head.version), canonical_json(stone))
    store.path(manifest).unlink()
    for read in (store.get, store.check, store.path):
        with pytest.raises(PurgedError, match="was purged on 2026-01-01 by purge 7; b3:new took its place"):
            read(manifest)
    with pytest.raises(PurgedError, match=r"this very content .* was erased on 2026-01-01 by purge 7 and may not come"):
        store.put(ASSET, BATCH, "json", "Anna")
    assert not list((store.root / "data").rglob("*.json"))


# --- heads -----------------------------------------------------------------------------------------------------------


def test_publishing_moves_the_head_and_leaves_a_trail(store: Store) -> None:
    assert store.head("main", ASSET, BATCH) is None
    assert store.heads("main", ASSET) == {}
    assert store.moves("main", ASSET, BATCH) == []
    one, two = made(store, 1, recipe="b3:r", run_id="run"), made(store, 2)
    first = store.publish("main", one, None, "first", who="anna")
    assert (first.seq, first.manifest, first.version, first.recipe) == (1, one.id, one.version, one.key)
    second = store.publish("main", two, first, who="ben")
    back = store.publish("main", one, second, "two was wrong", who="anna")
    assert store.head("main", ASSET, BATCH) == back
    assert back.attempt != first.attempt
    assert store.publish("main", one, back) == back, "already there: nothing moves"
    trail = store.moves("main", ASSET, BATCH)
    assert [(move.seq, move.who, move.message) for move in trail] == [
        (3, "anna", "two was wrong"), (2, "ben", ""), (1, "anna", "first"),
    ]  # fmt: skip
    assert [move.from_manifest for move in trail] == [two.id, one.id, None]
    assert trail[0].previous == trail[1].id
    assert trail[2].run_id == "run"


def test_heads_and_assets_are_listed(store: Store) -> None:
    for batch in ("2013-02", "a/b", "2013-01"):
        store.publish("main", made(store, 1, batch=batch), None)
    start(store, "team/x")
    store.publish("team/x", made(store, 1, asset="flights/cleaned"), None)
    assert list(store.heads("main", ASSET)) == ["2013-01", "2013-02", "a/b"]
    assert store.heads("main", ASSET)["a/b"] == store.head("main", ASSET, "a/b")
    assert store.assets("main") == [ASSET]
    assert store.assets("team/x") == ["flights/cleaned"]
    assert store.assets("main") == [ASSET]


def test_a_late_writer_is_told_who_was_first(store: Store) -> None:
    one, two, three = (made(store, number) for number in (1, 2, 3))
    first = store.publish("main", one, None, who="anna")
    with pytest.raises(
        ConflictError, match=r"has moved since it was read: anna set it .*\(move 1; no head was expected\)"
    ):
        store.publish("main", two, None)
    second = store.publish("main", two, first, who="ben")
    with pytest.raises(ConflictError, match=r"ben set it to b3:\w+ at \S+ \(move 2; move 1 was expected\)"):
        store.publish("main", three, first)
    store.publish("main", one, second)
    with pytest.raises(ConflictError, match="look at the head again, then decide"):
        store.publish("main", three, first)
    start(store, "other")
    with pytest.raises(ConflictError, match="is gone, where move 1 was expected"):
        store.publish("other", three, first)


def test_only_recorded_accepted_and_sound_versions_are_published(store: Store) -> None:
    manifest = made(store, 1)
    with pytest.raises(RefusedError, match="was refused by its checks and is not published"):
        store.publish("main", replace(manifest, accepted=False), None)
    with pytest.raises(RefusedError, match="was refused by its checks"):
        store.publish("main", Manifest(ASSET, BATCH, "table", accepted=True), None)
    with pytest.raises(NotStoredError, match="record it before publishing"):
        store.publish("main", replace(manifest, seed=1), None)
    store.path(manifest).unlink()
    with pytest.raises(CorruptError, match="has lost its file"):
        store.publish("main", manifest, None)
    assert store.head("main", ASSET, BATCH) is None


def test_names_that_would_stand_in_each_others_way(store: Store) -> None:
    store.publish("main", made(store, 1, asset="a", batch="b"), None)
    with pytest.raises(StoreError, match="a file stands where a folder is needed: one asset's name is another's"):
        store.publish("main", made(store, 1, asset="a/b", batch="c"), None)
    store.publish("main", made(store, 1, asset="x/y", batch="z"), None)
    assert store.head("main", "x", "y") is None
    with pytest.raises(StoreError, match="a folder stands where a file is needed"):
        store.publish("main", made(store, 1, asset="x", batch="y"), None)


def test_damaged_and_misplaced_heads_and_moves(store: Store) -> None:
    head = store.publish("main", made(store, 1), None)
    folder = store.root / "heads" / "main" / ASSET
    (folder / "2013-02").write_bytes((folder / BATCH).read_bytes())
    with pytest.raises(CorruptError, match=r"is the head of flights/raw/weather\[2013-01\]; put it back"):
        store.heads("main", ASSET)
    (folder / BATCH).write_bytes(b"")
    with pytest.raises(CorruptError, match="is not a head as the store writes it; restore it"):
        store.head("main", ASSET, BATCH)
    (folder / BATCH).write_bytes(head.encode())
    move = next((store.root / "moves").rglob("*.json"))
    move.write_bytes(move.read_bytes().replace(b'"seq":1', b'"seq":2'))
    with pytest.raises(CorruptError, match=r"of a move is damaged; copy it"):
        store.moves("main", ASSET, BATCH)
    move.unlink()
    with pytest.raises(CorruptError, match=r"of a move is lost; copy it"):
        store.moves("main", ASSET, BATCH)


def test_threads_with_stores_of_their_own_lose_nothing(store: Store) -> None:
    manifests = [made(store, number) for number in range(8)]
    won: list[Head] = []

    def work(number: int) -> None:
        mine = Store.open(store.root)
        done = 0
        while done < 10:
            try:
                won.append(mine.publish("main", manifests[(number * 2 + done % 2)], mine.head("main", ASSET, BATCH)))
                done += 1
            except ConflictError:
                continue

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trail = store.moves("main", ASSET, BATCH)
    assert {head.attempt for head in won} == {move.attempt for move in trail}
    assert [move.seq for move in trail] == list(range(len(trail), 0, -1))


_LIGHT = """
import sys
from mlops_assets.store import Manifest, Store
store = Store.open(sys.argv[1], create=False)
for asset in store.assets("main"):
    for batch, head in store.heads("main", asset).items():
        store.check(store.manifest(asset, batch, head.manifest))
        store.manifests(asset, batch), store.moves("main", asset, batch)
stored = store.put("x", "y", "json", [1])
manifest = Manifest("x", "y", "json", stored.version, stored.blob, accepted=True)
store.record(manifest)
store.publish("main", manifest, None)
assert store.get(manifest, verify=True) == [1]
heavy = {"pyarrow", "numpy", "pandas", "sklearn", "skops", "dagster", "mlflow"} & sys.modules.keys()
assert not heavy, heavy
"""


def test_nothing_heavy_is_imported_to_find_out_that_nothing_is_to_do(store: Store) -> None:
    store.publish("main", made(store, TABLE, "table"), None)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", _LIGHT, str(store.root)], check=True, env=environment)
