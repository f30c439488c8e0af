"""Push, fetch, pull and clone between folders and a real S3 server: what arrives, what is refused, what dies."""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_assets.errors import ConflictError, CorruptError, NotStoredError, PurgedError, RefusedError, StoreError
from mlops_assets.store import Head, Input, Store, objects
from mlops_assets.store.blobs import blob_path
from mlops_assets.store.branching import create_branch, protect
from mlops_assets.store.deliveries import Delivery, Ledger
from mlops_assets.store.digest import canonical_json
from mlops_assets.store.garbage import Policy, gc
from mlops_assets.store.purge import purge, read_purge, resume
from mlops_assets.store.refs import view
from mlops_assets.store.remotes import Partial, add_remote, partials, remove_remote, tracked
from mlops_assets.store.store import head_path, now
from mlops_assets.store.tags import Tag, read_tag, tag_path
from mlops_assets.store.transfer import clone, fetch, pull, push
from mlops_assets.store.trees import summary
from mlops_assets.store.verify import verify
from mlops_assets_tests.store.copies import (
    CLEANED,
    DAYS,
    RAW,
    commit,
    contents,
    copied,
    deliver,
    files,
    raw,
    sound,
    stocked,
)
from mlops_assets_tests.store.killing import die_before
from mlops_assets_tests.store.s3 import S3, Line, environment
from mlops_assets_tests.store.test_crash import die_at, in_child
from mlops_assets_tests.store.verbs import age

FIRST = DAYS[0]


@pytest.fixture(params=["folder", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place for a remote: in a folder, and on a server that speaks S3."""
    if request.param == "folder":
        return str(tmp_path / "remote")
    server: S3 = request.getfixturevalue("s3")
    return on_s3(server, tmp_path, monkeypatch)


def on_s3(server: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str = "") -> str:
    for name, value in {**server.environment, **environment(endpoint or server.endpoint)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLOPS_ASSETS_CACHE", str(tmp_path / "cache"))
    return f"s3://{server.bucket()}/store"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return stocked(tmp_path / "store")


def tagged(store: Store, name: str, branch: str = "main") -> Tag:
    """A tag of everything that a branch shows."""
    assets = {}
    for asset in store.assets(branch):
        leaves = store.leaves(branch, asset)
        assets[asset] = summary(store.write_tree(asset, leaves), leaves)
    tag = Tag(name, "shop", branch, assets, when=now())
    store.backend.create(tag_path(name), tag.encode())
    return tag


# --- there and back --------------------------------------------------------------------------------------------------


def test_what_is_pushed_is_cloned_byte_by_byte(tmp_path: Path, store: Store, url: str) -> None:
    create_branch(store, "next", "main")
    commit(store, CLEANED, FIRST, {"of": "next"}, branch="next")
    protect(store, "next", ["sound"])
    tagged(store, "v1")
    deliver(store, "a.csv", "a")
    deliver(store, "b.csv", "b")
    add_remote(store, "origin", url)
    counts = {
        "values": 7, "deliveries": 5, "attachments": 3, "records": 7, "trees": 2, "tags": 1, "ledgers": 2,
        "moves": 7, "heads": 7, "branches": 2,
    }  # fmt: skip
    dry = push(store, "origin", ["main", "next"], tags="all", dry=True)
    assert copied(dry) == counts
    with pytest.raises(NotStoredError):
        Store.open(url, create=False)
    done = push(store, "origin", ["main", "next"], tags="all")
    assert (copied(done), len(done.heads)) == (counts, 7)
    assert done.tally.total.bytes == dry.tally.total.bytes > 3000
    remote = Store.open(url, create=False)
    assert contents(remote) == contents(store)
    assert view(store, "origin/next").leaves(CLEANED) == store.leaves("next", CLEANED)

    again = push(store, "origin", ["main", "next"], tags="all")
    assert (again.tally.copied, again.heads) == ({}, [])

    received = clone(url, tmp_path / "clone")
    copy = Store.open(tmp_path / "clone", create=False)
    assert contents(copy) == contents(store)
    assert copied(received) == counts
    assert sound(copy) == sound(store)
    assert sound(copy, "next") == sound(store, "next")
    assert read_tag(copy, "v1").trees == read_tag(store, "v1").trees
    assert [entry.name for entry in Ledger(copy, "shop").entries] == ["a.csv", "b.csv"]
    assert not partials(copy)
    assert pull(copy, "origin", ["main", "next"]).tally.copied == {}


def test_only_what_is_lacking_travels(tmp_path: Path, store: Store, url: str) -> None:
    add_remote(store, "origin", url)
    push(store, "origin", ["main"])
    clone(url, tmp_path / "clone")
    other = Store.open(tmp_path / "clone")
    commit(other, CLEANED, FIRST, {"of": "somebody"})
    commit(other, CLEANED, FIRST, {"of": "somebody else"})
    report = push(other, "origin", ["main"])
    assert copied(report) == {"values": 2, "records": 2, "moves": 2, "heads": 1}
    assert [tuple(move) for move in report.heads] == [
        ("main", CLEANED, FIRST, 3, other.head("main", CLEANED, FIRST).version)  # type: ignore[union-attr]
    ]
    # nothing to push, and what there is to pull
    behind = push(store, "origin", ["main"])
    assert (behind.tally.copied, behind.ahead) == ({}, [f"main: {CLEANED}[{FIRST}]"])
    assert copied(pull(store, "origin", ["main"], dry=True)) == copied(report)
    pulled = pull(store, "origin", ["main"])
    assert copied(pulled) == copied(report)
    assert sound(store) == sound(other)
    # every version that was shown on the way can be read here
    for move in store.moves("main", CLEANED, FIRST):
        store.get(store.manifest(CLEANED, FIRST, move.to_manifest), verify=True)


def test_a_shallow_fetch_leaves_what_was_shown_before(tmp_path: Path, store: Store, folder: Path) -> None:
    old = store.head("main", CLEANED, FIRST)
    commit(store, CLEANED, FIRST, {"of": "later"})
    push(store, "origin", ["main"])
    clone(str(folder), tmp_path / "clone", shallow=True)
    copy = Store.open(tmp_path / "clone")
    assert sound(copy) == sound(store)
    assert old
    with pytest.raises(NotStoredError):
        copy.manifest(CLEANED, FIRST, old.manifest)


def test_heads_that_were_taken_away_travel_too(twins: tuple[Store, Store]) -> None:
    one, two = twins
    one.move("main", CLEANED, FIRST, None, one.head("main", CLEANED, FIRST))
    report = push(one, "origin", ["main"])
    assert [(move.seq, move.version) for move in report.heads] == [(2, "")]
    assert FIRST not in view(one, "origin/main").leaves(CLEANED)
    pull(two, "origin", ["main"])
    assert two.head("main", CLEANED, FIRST) is None
    assert two.slot("main", CLEANED, FIRST) == one.slot("main", CLEANED, FIRST)
    assert FIRST not in view(two, "origin/main").leaves(CLEANED)


def test_inputs_come_along_wherever_they_are(tmp_path: Path, store: Store, folder: Path) -> None:
    """A version that stands on what no head shows any more is of use only with that."""
    base = store.put(RAW, FIRST, "json", ["never published"])
    from mlops_assets.store import Manifest

    manifest = Manifest(RAW, FIRST, "json", base.version, base.blob, accepted=True)
    store.record(manifest)
    commit(store, CLEANED, FIRST, {"on": 1}, inputs=(Input(RAW, FIRST, base.version, manifest.id),))
    push(store, "origin", ["main"])
    clone(str(folder), tmp_path / "clone")
    copy = Store.open(tmp_path / "clone")
    copy.get(copy.manifest(RAW, FIRST, manifest.id), verify=True)


def test_parts_of_a_branch_are_pushed(store: Store, folder: Path) -> None:
    report = push(store, "origin", ["main"], assets=[CLEANED], batches=[FIRST])
    assert copied(report) == {"values": 2, "deliveries": 1, "attachments": 1, "records": 2, "moves": 1, "heads": 1}
    assert set(sound(Store.open(folder))) == {(CLEANED, FIRST)}
    assert view(store, "origin/main").assets() == [CLEANED]
    push(store, "origin", ["main"])
    assert set(sound(Store.open(folder))) == set(sound(store))
    assert view(store, "origin/main").assets() == [CLEANED, RAW]
    with pytest.raises(NotStoredError, match=r"The branch main of store at .* has moved no head of shop/none\["):
        push(store, "origin", ["main"], assets=["shop/none"], batches=[FIRST])


# --- parts -----------------------------------------------------------------------------------------------------------


def test_a_part_brings_its_own_files_and_no_others(tmp_path: Path, store: Store, folder: Path) -> None:
    push(store, "origin", ["main"])
    part = Store.open(tmp_path / "part")
    add_remote(part, "origin", str(folder))
    fetch(part, "origin", ["main"], assets=[CLEANED], batches=[FIRST])
    head = store.slot("main", CLEANED, FIRST)
    assert head

    def name(id_: str) -> str:
        return id_.replace(":", "-")

    tree = view(part, "origin/main").tree_id(CLEANED)
    assert tree
    assert set(files(tmp_path / "part")) == {
        "FORMAT",
        "remotes/origin.json",
        "remotes/origin/branches/main.json",
        f"data/{CLEANED}/p={FIRST}/{name(head.version)}.json",
        f"meta/{CLEANED}/{FIRST}/{name(head.manifest)}.json",
        f"moves/main/{CLEANED}/{FIRST}/{name(head.move)}.json",
        f"trees/{name(tree)}.json",
    }
    seen = view(part, "origin/main")
    assert part.get(seen.manifest(CLEANED, FIRST), verify=True) == {"of": FIRST}
    # another part stands beside it
    fetch(part, "origin", ["main"], assets=[CLEANED], batches=[DAYS[1]])
    assert set(view(part, "origin/main").leaves(CLEANED)) == {FIRST, DAYS[1]}
    # and with --deep come the inputs, with their files
    report = fetch(part, "origin", ["main"], assets=[CLEANED], batches=[FIRST], deep=True)
    assert copied(report) == {"values": 1, "deliveries": 1, "attachments": 1, "records": 1}


def test_a_tag_alone(tmp_path: Path, store: Store, folder: Path) -> None:
    tagged(store, "v1")
    commit(store, CLEANED, FIRST, {"of": "later"})
    push(store, "origin", ["main"], tags=["v1"])
    part = Store.open(tmp_path / "part")
    add_remote(part, "origin", str(folder))
    report = fetch(part, "origin", tags=["v1"], assets=[CLEANED], batches=[FIRST])
    assert copied(report) == {"values": 1, "records": 1, "trees": 2, "tags": 1}
    assert partials(part) == [Partial("origin", "tag", "v1", (CLEANED,), (FIRST,), True)]
    assert part.get(view(part, "v1").manifest(CLEANED, FIRST), verify=True) == {"of": FIRST}
    report = fetch(part, "origin", tags=["v1"])
    assert copied(report) == {"values": 5, "deliveries": 3, "attachments": 3, "records": 5}
    assert partials(part) == []
    assert part.backend.children("moves") == ([], [])
    assert tracked(part, "origin", "main") is None


def test_records_without_data(tmp_path: Path, store: Store, folder: Path) -> None:
    push(store, "origin", ["main"])
    part = Store.open(tmp_path / "part")
    add_remote(part, "origin", str(folder))
    report = fetch(part, "origin", data=False)
    assert copied(report) == {"records": 6, "moves": 6}
    assert part.backend.children("data") == ([], [])
    assert partials(part) == [Partial("origin", "branch", "main", None, None, False)]
    report = fetch(part, "origin")
    assert copied(report) == {"values": 6, "deliveries": 3, "attachments": 3}
    assert partials(part) == []
    assert not part.head("main", CLEANED, FIRST), "no head of this store moved"
    pull(part, "origin", ["main"])
    assert sound(part) == sound(store)


def test_what_is_not_there(tmp_path: Path, store: Store, folder: Path) -> None:
    with pytest.raises(NotStoredError, match=r"There is no store at .*remote; build something first, or name another"):
        fetch(store, "origin")
    with pytest.raises(NotStoredError, match="There is no store at"):
        clone(str(folder), tmp_path / "clone")
    assert not (tmp_path / "clone").exists()
    push(store, "origin", ["main"])
    with pytest.raises(NotStoredError, match=r"There is no branch 'dev' in store at .*; there is: main."):
        pull(store, "origin", ["dev"])
    with pytest.raises(NotStoredError, match=r"There is no tag 'v9' in store at .*; there is: none."):
        fetch(store, "origin", tags=["v9"])
    with pytest.raises(NotStoredError, match=r"There is no tag 'v9' in store at .*/store; there is: none."):
        push(store, "origin", tags=["v9"])
    with pytest.raises(NotStoredError, match=r"main of origin .* shows nothing of shop/none; nothing was fetched"):
        fetch(store, "origin", ["main"], assets=["shop/none"])
    with pytest.raises(
        NotStoredError, match=r"There is no remote 'backup' in store at .*; there is: origin. Add it with"
    ):
        push(store, "backup", ["main"])


# --- tags ------------------------------------------------------------------------------------------------------------


def test_two_tags_of_one_name(twins: tuple[Store, Store]) -> None:
    one, two = twins
    tagged(one, "v1")
    push(one, "origin", tags=["v1"])
    tagged(two, "v1")
    with pytest.raises(ConflictError, match=r"The tag 'v1' in store at .*remote says something else than the one that"):
        push(two, "origin", tags="all")
    with pytest.raises(ConflictError, match=r"The tag 'v1' in store at .*twin says something else"):
        fetch(two, "origin", tags=["v1"])


# --- ledgers and purges ----------------------------------------------------------------------------------------------


def test_a_ledger_grows_on_one_side_only(twins: tuple[Store, Store]) -> None:
    one, two = twins
    deliver(one, "a.csv", "a")
    assert copied(push(one, "origin", ["main"])) == {"deliveries": 1, "ledgers": 1}
    pull(two, "origin", ["main"])
    deliver(two, "b.csv", "b")
    assert copied(push(two, "origin", ["main"]))["ledgers"] == 1
    deliver(one, "c.csv", "c")
    commit(one, CLEANED, FIRST, "one")
    with pytest.raises(
        ConflictError,
        match=r"The ledger of deliveries of shop went one way here and another at origin .* Nothing was sent",
    ):
        push(one, "origin", ["main"])
    report = pull(one, "origin", ["main"])
    assert [note for note in report.notes if "kept apart, in remotes/origin/deliveries." in note]
    assert [entry.name for entry in Ledger(one, "shop").entries] == ["a.csv", "c.csv"]
    assert len(one.backend.children("remotes/origin/deliveries/shop")[1]) == 2


def erase(store: Store, asset: str, batch: str, version: str) -> None:
    """As a purge does: the mark first, then the file."""
    name = version.replace(":", "-")
    stone = {"format": 1, "purge": "p1", "when": now(), "basis": "asked", "rows": 1, "replacement": None}
    store.backend.create(f"tombstones/{name}.json", canonical_json(stone))
    store.backend.delete(f"data/{asset}/p={batch}/{name}.json")


def test_purges_go_first_and_what_was_erased_stays_away(twins: tuple[Store, Store], folder: Path) -> None:
    one, two = twins
    gone = one.head("main", CLEANED, FIRST)
    assert gone
    commit(one, CLEANED, FIRST, {"of": "others"})
    erase(one, CLEANED, FIRST, gone.version)
    # what was never sent is not sent either, and is no reason to refuse
    commit(two, CLEANED, DAYS[1], "secret")
    secret = two.head("main", CLEANED, DAYS[1])
    commit(two, CLEANED, DAYS[1], "redacted")
    assert secret
    erase(two, CLEANED, DAYS[1], secret.version)
    report = push(one, "origin", ["main"])
    assert copied(report)["tombstones"] == 1
    report = push(two, "origin", ["main"])
    assert (copied(report)["values"], report.tally.purged) == (1, 1)
    assert Store.open(folder).tombstone(secret.version)
    pull(two, "origin", ["main"])
    assert two.tombstone(gone.version)
    # who still shows it takes the purge over before anything is pushed
    fourth = commit(one, "shop/other", FIRST, 4)
    erase(Store.open(folder), "shop/other", FIRST, fourth.version)
    with pytest.raises(
        RefusedError,
        match=r"What shop/other\[2024-01-01\] show was erased at origin .* by a purge and may not come back",
    ):
        push(one, "origin", ["main"])


def test_a_purge_is_finished_wherever_its_record_arrives(tmp_path: Path, store: Store, folder: Path) -> None:
    people = pa.table({"person": ["ann", "ben"], "value": [1, 2]})
    head = commit(store, "shop/people", FIRST, people, kind="table")
    tagged(store, "v1")
    push(store, "origin", ["main"], tags="all")
    clone(str(folder), tmp_path / "twin")
    twin = Store.open(tmp_path / "twin")
    done = purge(store, "shop", [{"person": "ann"}], basis="request 7", dry=False)
    assert [item.version for item in done.replaced] == [head.version]

    report = push(store, "origin", ["main"])
    (note,) = report.notes
    assert note.startswith(
        f"The purge {done.id} came along. store at {folder} still has 1 file that it erased in store at"
    )
    assert note.endswith(f"; finish it with: mlops-assets purge --resume {done.id} --at origin")
    remote = Store.open(folder)
    assert not read_purge(remote, done.id).done
    resume(remote, done.id)
    assert not list(folder.glob(f"data/shop/people/p={FIRST}/{head.version.replace(':', '-')}*"))

    assert pull(twin, "origin", ["main"]).notes[0].endswith(f"with: mlops-assets purge --resume {done.id}")
    assert resume(twin, done.id).moved == (), "the heads came along"
    assert push(twin, "origin", ["main"], tags="all").heads == []
    assert clone(str(folder), tmp_path / "new").notes == []
    new = Store.open(tmp_path / "new")
    assert read_purge(new, done.id).done
    for copy in (remote, twin, new):
        assert sound(copy) == sound(store)
        with pytest.raises(PurgedError, match=f"was purged on .* by purge {done.id}; b3:.* took its place"):
            copy.get(view(copy, "v1").manifest("shop/people", FIRST))


# --- damage ----------------------------------------------------------------------------------------------------------


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def one_file(root: Path, pattern: str) -> Path:
    (found,) = root.glob(pattern)
    return found


@pytest.mark.parametrize("batch", [FIRST, DAYS[2]])
def test_a_damaged_file_is_never_pushed(store: Store, folder: Path, batch: str) -> None:
    path = one_file(store.root, f"data/{CLEANED}/p={batch}/*")
    flip(path)
    with pytest.raises(
        CorruptError, match=rf"{path} is damaged: \d+ bytes .* Neither it nor what points to it was copied"
    ):
        push(store, "origin", ["main"])
    remote = Store.open(folder)
    assert remote.assets("main") == []
    assert remote.backend.children("moves") == ([], [])
    assert not list(folder.glob(f"data/{CLEANED}/p={batch}/*"))
    path.unlink()
    with pytest.raises(
        CorruptError, match=rf"The file of shop/cleaned\[{batch}\] is lost: {path}. Nothing that points"
    ):
        push(store, "origin", ["main"])
    commit(store, CLEANED, batch, "made again")
    push(store, "origin", ["main"])
    assert sound(remote) == sound(store)


def test_other_sound_bytes_of_a_version_bring_the_record_that_says_so(
    tmp_path: Path, store: Store, folder: Path
) -> None:
    """Releases of pyarrow write one table in different bytes."""
    table = pa.table({"a": list(range(100))})
    first = commit(store, "shop/table", FIRST, table, kind="table")
    path = store.path(store.manifest("shop/table", FIRST, first.manifest))
    pq.write_table(table, path, compression="none")
    commit(store, "shop/table", FIRST, table, kind="table", seed=1)
    store.move("main", "shop/table", FIRST, first.leaf, store.head("main", "shop/table", FIRST))
    # the head's own record speaks of the bytes that were there first
    report = push(store, "origin", ["main"], assets=["shop/table"], batches=[FIRST])
    assert copied(report)["records"] == 2
    clone(str(folder), tmp_path / "clone")
    assert sound(Store.open(tmp_path / "clone")) == sound(Store.open(folder))
    # a torn file over there is replaced, sound bytes are left alone
    there = folder / path.relative_to(store.root)
    data = there.read_bytes()
    there.write_bytes(data[:50])
    assert copied(push(store, "origin", ["main"], assets=["shop/table"], batches=[FIRST])) == {"values": 1}
    assert there.read_bytes() == data
    age = there.stat()
    push(store, "origin", ["main"])
    assert there.stat() == age


def test_other_bytes_that_came_in_between_are_replaced(store: Store, folder: Path) -> None:
    """Somebody sends other bytes of the same version and dies before the record that says so."""
    table = pa.table({"a": list(range(100))})
    head = commit(store, "shop/table", FIRST, table, kind="table")
    path = store.path(store.manifest("shop/table", FIRST, head.manifest)).relative_to(store.root)

    def meddle(kind: str, objects: int, size: int) -> None:
        del objects, size
        if kind == "moves":
            return
        if kind == "records":
            pq.write_table(table, folder / path, compression="none")

    push(store, "origin", ["main"], assets=["shop/table"], batches=[FIRST], progress=meddle)
    assert sound(Store.open(folder))
    assert (folder / path).read_bytes() == (store.root / path).read_bytes()


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        (f"data/{CLEANED}/p={FIRST}/*", r"{path} is damaged: \d+ bytes .* mend it with: mlops-assets repair"),
        (f"data/{RAW}/p={FIRST}/sha256-*", r"{path} is damaged"),
        (f"meta/{CLEANED}/{FIRST}/*", r"The manifest {path} is damaged; copy it from another copy of the store"),
        (f"moves/main/{CLEANED}/{FIRST}/*", r"The record {path} of a move is damaged; it was not copied"),
        ("trees/*", r"The tree {path} is damaged; copy it from another copy"),
        (f"heads/main/{CLEANED}/{FIRST}", r"The head {path} says something else than the move that led to it"),
        ("deliveries/shop/*", r"The entry {path} of the ledger does not follow the one before it"),
    ],
)
def test_what_was_tampered_with_is_named_and_nothing_points_to_it(
    tmp_path: Path, store: Store, folder: Path, pattern: str, sentence: str
) -> None:
    deliver(store, "a.csv", "a")
    tagged(store, "v1")
    push(store, "origin", ["main"], tags=["v1"])
    path = min(folder.glob(pattern))
    if path.name == FIRST:
        other = Store.open(folder).head("main", CLEANED, DAYS[1])
        assert other
        path.write_bytes(Head.decode(path.read_bytes(), "")._replace(manifest=other.manifest).encode())
    elif "deliveries" in pattern:
        path.write_bytes(replace(Delivery.decode(path.read_bytes(), ""), previous="b3:00").encode())
    else:
        flip(path)
    with pytest.raises(CorruptError, match=sentence.format(path=path)):
        clone(str(folder), tmp_path / "clone")
    copy = Store.open(tmp_path / "clone")
    assert copy.assets("main") == []
    assert copy.backend.children("tags") == ([], [])
    assert not list((tmp_path / "clone").glob("remotes/origin/branches/*"))
    # once it is mended over there, the same clone goes on with what it has
    path.unlink()
    shutil.copyfile(store.root / path.relative_to(folder), path)
    report = clone(str(folder), tmp_path / "clone")
    assert sound(copy) == sound(store)
    assert contents(copy) == contents(store)
    assert report.tally.present > 10 or not pattern.startswith("data")


def test_damaged_records_here_are_mended_by_a_fetch(twins: tuple[Store, Store]) -> None:
    one, two = twins
    flip(one_file(two.root, f"meta/{CLEANED}/{FIRST}/*"))
    one_file(two.root, f"data/{RAW}/p={FIRST}/b3-*").unlink()
    commit(one, CLEANED, FIRST, "new", inputs=store_input(one))
    push(one, "origin", ["main"])
    pull(two, "origin", ["main"])
    assert sound(two) == sound(one)


def store_input(store: Store) -> tuple[Input, ...]:
    head = store.head("main", RAW, FIRST)
    assert head
    return (Input(RAW, FIRST, head.version, head.manifest),)


def test_a_path_that_leads_out_of_the_store(tmp_path: Path, store: Store, folder: Path) -> None:
    push(store, "origin", ["main"])
    remote = Store.open(folder)
    file = {"name": "x", "size": 1, "sha256": "0" * 64, "blob": "data/../../../etc/passwd"}
    commit(remote, CLEANED, FIRST, "evil", files=(file,))
    with pytest.raises(CorruptError, match=r"names the file 'data/../../../etc/passwd', which is not in the store"):
        clone(str(folder), tmp_path / "clone")


def test_a_remote_of_a_newer_format(store: Store, folder: Path) -> None:
    folder.mkdir()
    (folder / "FORMAT").write_text("9\n")
    for verb in (push, pull):
        with pytest.raises(
            StoreError, match=r"The store at .*remote has format 9, and this mlops_assets reads up to 2"
        ):
            verb(store, "origin", ["main"])
    assert list(folder.iterdir()) == [folder / "FORMAT"]


def test_a_folder_of_something_else(tmp_path: Path, store: Store) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.doc").write_text("x")
    add_remote(store, "origin", str(tmp_path / "thesis"))
    with pytest.raises(StoreError, match="is not empty and not a store"):
        push(store, "origin", ["main"])


# --- places for clones -----------------------------------------------------------------------------------------------


def test_a_clone_needs_a_place_of_its_own(tmp_path: Path, store: Store, folder: Path) -> None:
    push(store, "origin", ["main"])
    commit(Store.open(tmp_path / "other"), CLEANED, FIRST, "other")
    with pytest.raises(StoreError, match=r"There is a store at .* already. Bring the other one in with: mlops-assets"):
        clone(str(folder), tmp_path / "other")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    with pytest.raises(StoreError, match="is not empty and not a store"):
        clone(str(folder), tmp_path / "full")
    Store.open(tmp_path / "fresh")
    clone(str(folder), tmp_path / "fresh")
    assert sound(Store.open(tmp_path / "fresh")) == sound(store)


def test_a_clone_of_one_branch_or_one_tag(tmp_path: Path, store: Store, folder: Path) -> None:
    tagged(store, "v1")
    create_branch(store, "next", "main")
    commit(store, CLEANED, FIRST, "next", branch="next")
    push(store, "origin", ["main", "next"], tags="all")
    clone(str(folder), tmp_path / "branch", branches=["next"], tags=())
    copy = Store.open(tmp_path / "branch")
    assert copy.branches() == ["main", "next"]
    assert copy.assets("main") == []
    assert sound(copy, "next") == sound(store, "next")
    clone(str(folder), tmp_path / "tag", tags=["v1"])
    copy = Store.open(tmp_path / "tag")
    assert copy.backend.children("heads") == ([], [])
    assert set(view(copy, "v1").leaves(CLEANED)) == set(DAYS)


def test_a_part_cannot_start_a_branch(tmp_path: Path, store: Store, folder: Path) -> None:
    create_branch(store, "next", "main")
    push(store, "origin", ["next"])
    copy = Store.open(tmp_path / "copy")
    add_remote(copy, "origin", str(folder))
    with pytest.raises(NotStoredError, match="The branch next is not here yet, and cannot start with a part"):
        pull(copy, "origin", ["next"], assets=[CLEANED])
    assert copy.branches() == ["main"]


# --- death -----------------------------------------------------------------------------------------------------------


def small(place: Path) -> Store:
    """As little as has something of every kind."""
    store = Store.open(place)
    raw(store, FIRST, "a")
    tagged(store, "v1")
    create_branch(store, "next", "main")
    commit(store, RAW, FIRST, "b")
    deliver(store, "a.csv", "a")
    return store


STEPS = [pytest.param(41, id="some"), pytest.param(1, id="every", marks=pytest.mark.slow)]


def kills(work: Callable[[], object], after: Callable[[bool], None], step: int) -> None:
    """Kill a process that does ``work`` at each of its operations on files, or at every so many of them."""
    for number in range(1, 2000, step):

        def dying(number: int = number) -> None:
            die_at(number)
            work()

        code = in_child(dying)
        assert code in {0, -signal.SIGKILL}
        after(code == 0)
        if code == 0:
            assert number > 150, "the hooks saw the work"
            return
    pytest.fail("the work never finished")


@pytest.mark.parametrize("step", STEPS)
def test_a_push_killed_at_any_operation_is_finished_by_the_next(tmp_path: Path, step: int) -> None:
    store = small(tmp_path / "store")
    remote = tmp_path / "remote"
    add_remote(store, "origin", str(remote))
    template = tmp_path / "template"
    shutil.copytree(store.root, template)

    def work() -> None:
        push(Store.open(template), "origin", ["main", "next"], tags="all")

    def after(finished: bool) -> None:
        there = Store.open(remote)
        sound(there)
        if "next" in there.branches():
            sound(there, "next")
        for name in there.backend.children("tags")[1]:
            for asset, tree in read_tag(there, name.removesuffix(".json")).trees.items():
                for batch, leaf in there.tree(tree).items():
                    there.get(there.manifest(asset, batch, leaf.manifest), verify=True)
        assert len(Ledger(there, "shop").entries) <= 1
        if not finished:
            work()
        assert contents(there) == contents(store)
        shutil.rmtree(remote)
        shutil.rmtree(template / "remotes" / "origin")

    kills(work, after, step)


@pytest.mark.parametrize("step", STEPS)
def test_a_clone_killed_at_any_operation_is_continued(tmp_path: Path, step: int) -> None:
    store = small(tmp_path / "store")
    add_remote(store, "origin", str(tmp_path / "remote"))
    push(store, "origin", ["main", "next"], tags="all")
    place = tmp_path / "clone"

    def work() -> None:
        clone(str(tmp_path / "remote"), place)

    def after(finished: bool) -> None:
        sound(Store.open(place))
        if not finished:
            work()
        assert contents(Store.open(place)) == contents(store)
        shutil.rmtree(place)

    kills(work, after, step)


def test_a_killed_push_of_what_gc_took_away_leaves_nothing_that_looks_lost(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    add_remote(store, "origin", str(tmp_path / "remote"))
    for number in range(2):
        commit(store, CLEANED, FIRST, number)
    age(store.root)
    policy = Policy(keep_last=1, keep_moves=0, keep_refused=0)
    assert gc(store, yes=True, policy=policy).kinds["values"].files == 1
    crashes = 0
    for number in range(1, 400, 2):

        def dying(number: int = number) -> None:
            die_before(tmp_path, number)
            push(Store.open(store.root), "origin", ["main"])

        crashed = in_child(dying) != 0
        crashes += crashed
        if (tmp_path / "remote" / "FORMAT").exists():
            assert not verify(Store.open(tmp_path / "remote", create=False)).problems, number
        shutil.rmtree(tmp_path / "remote", ignore_errors=True)
        if not crashed:
            break
    assert crashes > 30


def test_a_fetch_that_brings_nothing_makes_no_loss_look_like_a_copy(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    add_remote(store, "origin", str(tmp_path / "remote"))
    old = commit(store, CLEANED, FIRST, 0)
    push(store, "origin", ["main"])
    commit(store, CLEANED, FIRST, 1)
    assert fetch(store, "origin", ["main"]).tally.copied == {}
    remove_remote(store, "origin")
    path = blob_path(CLEANED, FIRST, old.version, old.kind)
    (store.root / path).unlink()
    assert [(problem.path, problem.lost) for problem in verify(store).problems] == [(path, True)]


# --- S3 --------------------------------------------------------------------------------------------------------------


def test_a_server_that_refuses_or_is_not_there(
    tmp_path: Path, store: Store, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = on_s3(s3, tmp_path, monkeypatch)
    add_remote(store, "origin", url)
    with s3.strict(), pytest.raises(StoreError, match="s3://") as told:
        push(store, "origin", ["main"])
    assert len(told.value.sentences) == 1
    assert "\n" not in str(told.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for verb in (push, pull):
        with pytest.raises(StoreError) as told:
            verb(store, "origin", ["main"])
        assert len(str(told.value).splitlines()) == 1
    with pytest.raises(StoreError):
        clone(url, tmp_path / "clone")
    assert not (tmp_path / "clone").exists()


@pytest.fixture
def line(s3: S3) -> Iterator[Line]:
    with Line(s3.port).open() as opened:
        yield opened


def test_lost_answers_change_nothing(
    tmp_path: Path, store: Store, s3: S3, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(0)
    # so many faults hit some request five times in a row every now and then
    monkeypatch.setattr(objects, "TRIES", 12)
    monkeypatch.setattr(objects, "PAUSE", timedelta(milliseconds=5))
    url = on_s3(s3, tmp_path, monkeypatch, line.endpoint)
    add_remote(store, "origin", url)
    line.faults["PUT"] = [chance.choice(["", "", "", "drop", "503"]) for _ in range(60)]
    report = push(store, "origin", ["main"])
    assert len(report.heads) == 6
    line.faults.clear()
    assert contents(Store.open(url)) == contents(store)
    line.faults["GET"] = [chance.choice(["", "", "", "503"]) for _ in range(60)]
    clone(url, tmp_path / "clone")
    line.faults.clear()
    assert contents(Store.open(tmp_path / "clone")) == contents(store)


def test_a_line_that_breaks_in_the_middle(
    tmp_path: Path, store: Store, s3: S3, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = on_s3(s3, tmp_path, monkeypatch, line.endpoint)
    add_remote(store, "origin", url)
    line.faults["PUT"] = ["", "", "", "", "", *["403"] * 200]  # type: ignore[list-item]
    with pytest.raises(StoreError) as told:
        push(store, "origin", ["main"])
    assert len(str(told.value).splitlines()) == 1
    line.faults.clear()
    remote = Store.open(url, create=False)
    assert remote.assets("main") == []
    arrived = sum(1 for _ in remote.backend.entries("data"))
    assert arrived
    report = push(store, "origin", ["main"])
    assert report.tally.present >= arrived
    assert contents(remote) == contents(store)
    # a spoiled answer is not taken over
    line.faults["GET"] = ["", "", "spoil", "", "spoil", *["spoil"] * 100]  # type: ignore[list-item]
    with pytest.raises(StoreError):
        clone(url, tmp_path / "clone")
    line.faults.clear()
    copy = Store.open(tmp_path / "clone")
    assert copy.assets("main") == []
    clone(url, tmp_path / "clone")
    assert contents(copy) == contents(store)


def test_two_push_to_one_head_on_a_server(
    tmp_path: Path, store: Store, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    url = on_s3(s3, tmp_path, monkeypatch)
    add_remote(store, "origin", url)
    push(store, "origin", ["main"])
    clones = []
    for number in range(3):
        clone(url, tmp_path / f"clone{number}")
        clones.append(Store.open(tmp_path / f"clone{number}"))
        commit(clones[-1], CLEANED, FIRST, number)

    def work(copy: Store) -> bool:
        try:
            push(copy, "origin", ["main"])
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(3) as pool:
        won = list(pool.map(work, clones))
    assert sum(won) == 1
    remote = Store.open(url)
    assert sound(remote)[CLEANED, FIRST] == clones[won.index(True)].head("main", CLEANED, FIRST)


def test_memory_holds_no_file(tmp_path: Path, store: Store, folder: Path) -> None:
    """A big file passes through in pieces."""
    import tracemalloc

    big = tmp_path / "big"
    big.write_bytes(os.urandom(1 << 20) * 32)
    blob = store.put_bytes(RAW, FIRST, big)
    commit(
        store, RAW, FIRST, "big", files=({"name": "b", "size": blob.size, "sha256": blob.sha256, "blob": blob.path},)
    )
    tracemalloc.start()
    try:
        push(store, "origin", ["main"])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (folder / blob.path).stat().st_size == 32 << 20
    assert peak < 16 << 20


def test_old_files_that_are_relied_on_become_young(twins: tuple[Store, Store], folder: Path) -> None:
    """What gc of the remote might take is touched before a head leads to it."""
    one, _ = twins
    head = commit(one, CLEANED, FIRST, "back again")
    push(one, "origin", ["main"])
    Store.open(folder).backend.delete(head_path("main", CLEANED, FIRST))
    there = folder / f"data/{CLEANED}/p={FIRST}" / f"{head.version.replace(':', '-')}.json"
    long_ago = time.time() - 100_000
    os.utime(there, (long_ago, long_ago))
    push(one, "origin", ["main"])
    assert time.time() - there.stat().st_mtime < 100
