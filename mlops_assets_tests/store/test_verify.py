"""What is broken, and what stands on it: one row for each kind of damage."""

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mlops_assets.errors import NotStoredError
from mlops_assets.store import Manifest, Store
from mlops_assets.store.branching import create_branch
from mlops_assets.store.deliveries import Ledger, entry_path
from mlops_assets.store.digest import canonical_json
from mlops_assets.store.garbage import Policy, gc
from mlops_assets.store.heads import Head
from mlops_assets.store.records import manifest_path, tree_path
from mlops_assets.store.store import branch_path, head_path, leaf_of, move_path
from mlops_assets.store.tags import read_tag, tag_path
from mlops_assets.store.verify import Report, verify
from mlops_assets_tests.store.tended import CLEANED, MODEL, RAW, age, commit, contents, freeze, line, manifest, rows

BATCH = "2024-01"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two deliveries of a batch, a model of the first, a tag of that, a branch, a ledger. To be copied."""
    made = Store.open(tmp_path_factory.mktemp("template") / "store")
    Ledger(made, "shop").record(RAW, "a.csv", b"person\n1\n", place=BATCH)
    Ledger(made, "shop").record(RAW, "b.csv", b"person\n2\n", place=BATCH)
    _, cleaned = line(made, BATCH, [1, 2])
    commit(made, MODEL, BATCH, {"of": 2}, cleaned)
    freeze(made, "v1")
    create_branch(made, "other")
    line(made, BATCH, [1, 2, 3])
    return made


@pytest.fixture
def store(template: Store, tmp_path: Path) -> Store:
    return Store.open(shutil.copytree(template.root, tmp_path / "store"))


def cleaned_head(store: Store) -> Head:
    head = store.head("main", CLEANED, BATCH)
    assert head
    return head


def value_path(store: Store, asset: str = CLEANED) -> str:
    head = store.head("main", asset, BATCH)
    assert head
    found = manifest(store, head).blob
    assert found
    return found.path


def tree(store: Store) -> str:
    return tree_path(read_tag(store, "v1").trees[CLEANED])


def first_move(store: Store) -> str:
    return move_path("main", CLEANED, BATCH, store.moves("main", CLEANED, BATCH)[-1].id)


def flip(store: Store, path: str) -> None:
    """Change one byte in the middle."""
    data = bytearray(store.backend.read(path))
    data[len(data) // 2] ^= 0x55
    (store.root / path).write_bytes(data)


def cut(store: Store, path: str) -> None:
    (store.root / path).write_bytes(store.backend.read(path)[:-7])


def lose(store: Store, path: str) -> None:
    (store.root / path).unlink()


def only(report: Report) -> tuple[str, str]:
    assert len(report.problems) == 1, report.problems
    return report.problems[0].what, report.problems[0].path


def test_a_sound_store(store: Store) -> None:
    before = contents(store)
    report = verify(store, content=True)
    assert report.sound
    assert contents(store) == before
    assert report.checked == {
        "tombstones": 0,
        "purges": 0,
        "heads": 3,
        "trees": 3,
        "tags": 1,
        "branches": 2,
        "manifests": 5,
        "changes": 0,
        "moves": 5,
        "deliveries": 2,
        "values": 5,
        "files": 6,
        "published": 0,
    }
    sizes = [entry.size for entry in store.backend.entries("data")]
    assert (report.bytes, report.unnamed, report.unfinished, report.unknown) == (sum(sizes), 0, 0, [])
    assert json.loads(json.dumps(report.to_dict()))["sound"] is True
    assert verify(store, deep=False).bytes == 0


DAMAGE: list[tuple[str, Callable[[Store], str], Callable[[Store, str], None], str, str]] = [
    ("a value cut short", value_path, cut, "value", "is damaged: .* has .* bytes, .* were written"),
    ("a byte of a value", value_path, flip, "value", r"shop/cleaned\[2024-01\] b3:\w+ is damaged: .* \(sha256 "),
    ("a value gone", value_path, lose, "value", "has lost its file"),
    ("a byte of a model", lambda store: value_path(store, MODEL), flip, "value", "is damaged"),
    (
        "a delivered file",
        lambda store: manifest(store, store.heads("main", RAW)[BATCH]).files[0]["blob"],
        flip,
        "file",
        r"A file of shop/raw/visits\[2024-01\] is damaged",
    ),
    (
        "an attachment gone",
        lambda store: manifest(store, store.heads("main", RAW)[BATCH]).attachments["evidence.json"].path,
        lose,
        "file",
        "has lost its file",
    ),
    ("a file of the ledger", lambda store: Ledger(store, "shop").entries[1].blob.path, flip, "file", "Delivery 2"),
    (
        "a manifest",
        lambda store: manifest_path(CLEANED, BATCH, cleaned_head(store).manifest),
        flip,
        "manifest",
        "The manifest .* is damaged",
    ),
    (
        "a manifest gone",
        lambda store: manifest_path(CLEANED, BATCH, cleaned_head(store).manifest),
        lose,
        "manifest",
        "The manifest .* is lost, which the head .* names",
    ),
    ("a head", lambda _: head_path("main", CLEANED, BATCH), cut, "head", "is not a head as the store writes it"),
    ("a head gone", lambda _: head_path("main", CLEANED, BATCH), lose, "head", "is lost: there are 2 moves of it"),
    ("a move", first_move, flip, "move", "The record .* of a move is damaged"),
    ("a move gone", first_move, lose, "move", "The record .* of a move is lost"),
    ("a tree", tree, flip, "tree", "The tree .* is damaged"),
    ("a tree gone", tree, lose, "tree", "The tree .* is lost"),
    ("a tag", lambda _: tag_path("v1"), cut, "tag", "is not a tag as the store writes it"),
    ("a branch", lambda _: branch_path("other"), cut, "branch", "is not a branch as the store writes it"),
    ("an entry of the ledger", lambda _: entry_path("shop", 1), cut, "delivery", "is not an entry of a ledger"),
    ("an entry gone", lambda _: entry_path("shop", 1), lose, "delivery", "of the ledger is lost"),
]


@pytest.mark.parametrize(
    ("path", "harm", "what", "sentence"), [row[1:] for row in DAMAGE], ids=[row[0] for row in DAMAGE]
)
def test_damage_is_named(
    store: Store, path: Callable[[Store], str], harm: Callable[[Store, str], None], what: str, sentence: str
) -> None:
    place = path(store)
    harm(store, place)
    report = verify(store)
    assert only(report) == (what, place)
    assert not report.sound
    problem = report.problems[0]
    assert re.search(sentence, problem.sentence), problem.sentence
    assert problem.lost == (harm is lose)


def test_what_stands_on_a_damaged_value_down_to_releases(store: Store) -> None:
    tagged = store.tree(read_tag(store, "v1").trees[RAW])[BATCH]
    blob = store.manifest(RAW, BATCH, tagged.manifest).blob
    assert blob
    flip(store, blob.path)
    (problem,) = verify(store).problems
    names = [name.split("] ")[0].removeprefix("shop/") + "]" for name in problem.stands_on_it]
    who = [name[name.find("b3:") + 15 :] for name in problem.stands_on_it]
    assert names == ["raw/visits[2024-01]", "cleaned[2024-01]", "trained_model[2024-01]"]
    assert who == [
        " (start of branch other, tag v1)",
        ", made from it (start of branch other, tag v1)",
        ", made from it (branch main, start of branch other, tag v1)",
    ]


def test_a_flipped_byte_goes_unseen_when_only_sizes_are_compared(store: Store) -> None:
    flip(store, value_path(store))
    assert verify(store, deep=False).sound
    assert not verify(store).sound
    cut(store, value_path(store))
    assert not verify(store, deep=False).sound


def test_content_that_is_not_its_version(store: Store) -> None:
    """Bytes that a manifest vouches for, and that hold something else: nobody but a look inside finds it."""
    other = store.put(CLEANED, BATCH, "table", rows(7, 8, 9))
    head = cleaned_head(store)
    wrong = Manifest(CLEANED, BATCH, "table", head.version, other.blob, 3, other.schema, other.columns, accepted=True)
    store.record(wrong)
    assert verify(store).sound
    (problem,) = verify(store, content=True).problems
    assert "is not what was written: the content of" in problem.sentence


def test_heads_that_say_something_else(store: Store) -> None:
    path = head_path("main", CLEANED, BATCH)
    record = json.loads(store.backend.read(path))
    store.backend.write(path, canonical_json({**record, "rows": 17}))
    assert only(verify(store)) == ("head", path)
    store.backend.write(path, canonical_json({**record, "seq": 17}))
    assert only(verify(store)) == ("head", path)
    store.backend.write(path, canonical_json({**record, "batch": "2024-02"}))
    assert only(verify(store)) == ("head", path)


def test_heads_of_refused_versions(store: Store) -> None:
    stored = store.put(CLEANED, BATCH, "table", rows(9))
    refused = Manifest(CLEANED, BATCH, "table", stored.version, stored.blob, 1, stored.schema, stored.columns)
    store.record(refused)
    store.move("main", CLEANED, BATCH, leaf_of(refused), cleaned_head(store))
    (problem,) = verify(store).problems
    assert "shows a version that was refused" in problem.sentence


def test_moves_and_entries_that_do_not_follow_each_other(store: Store) -> None:
    path = entry_path("shop", 2)
    entry = Ledger(store, "shop").entries[1]
    store.backend.write(path, replace(entry, previous="b3:0").encode())
    (problem,) = verify(store).problems
    assert "does not follow the one before it" in problem.sentence


def test_files_that_a_manifest_may_not_name(store: Store) -> None:
    record = {**manifest(store, cleaned_head(store)).to_dict(), "attachments": {}}
    record["attachments"] = {"x": {"path": "../../etc/passwd", "size": 1, "sha256": "0"}}
    store.record(Manifest.from_dict(record))
    (problem,) = verify(store).problems
    assert "which is not in the store; it was not read" in problem.sentence


def test_unknown_files_litter_and_what_nobody_names(store: Store) -> None:
    (store.root / "notes.txt").write_text("mine")
    (store.root / "data/shop/readme.md").write_text("mine")
    folder = (store.root / value_path(store)).parent
    (folder / ".1-2.tmp").write_bytes(b"half")
    store.put(CLEANED, BATCH, "json", "never recorded")
    aside = store.root / "trash/20240101T000000-00/data/x"
    aside.parent.mkdir(parents=True)
    aside.touch()
    report = verify(store)
    assert report.sound
    assert report.unknown == ["data/shop/readme.md", "notes.txt"]
    assert (report.unnamed, report.aside, report.litter) == (1, 1, {"files": 1, "bytes": 4})
    assert "files stand in trash" in report.notes[0]


def test_some_assets_alone(store: Store) -> None:
    flip(store, value_path(store))
    assert verify(store, assets=[MODEL]).sound
    assert not verify(store, assets=[CLEANED]).sound
    assert not verify(store, assets=["shop"]).sound
    with pytest.raises(NotStoredError, match="There is no asset and no dataset 'sho'"):
        verify(store, assets=["sho"])


def test_heads_of_a_branch_that_is_gone(store: Store) -> None:
    commit(store, CLEANED, BATCH, rows(5), branch="other")
    lose(store, branch_path("other"))
    report = verify(store)
    assert only(report) == ("branch", branch_path("other"))
    assert "1 head of a branch 'other'" in report.problems[0].sentence


def test_what_a_crash_leaves_is_no_damage(store: Store) -> None:
    """A move without its head, a value without its manifest."""
    path = head_path("main", CLEANED, BATCH)
    kept = store.backend.read(path)
    commit(store, CLEANED, BATCH, rows(6))
    commit(store, CLEANED, "2024-02", rows(6))
    # as writers leave it that died after their moves and before their heads
    store.backend.write(path, kept)
    store.backend.delete(head_path("main", CLEANED, "2024-02"))
    report = verify(store)
    assert (report.sound, report.unfinished) == (True, 2)


def test_what_gc_dropped_is_no_damage_unless_it_is_needed(store: Store) -> None:
    commit(store, CLEANED, BATCH, rows(8))
    age(store)
    done = gc(store, yes=True, policy=Policy(keep_last=0, keep_moves=0))
    assert done.kinds["values"].files == 1
    report = verify(store)
    assert (report.sound, report.dropped) == (True, 1)


def test_what_was_fetched_in_part_is_elsewhere(store: Store, tmp_path: Path) -> None:
    from mlops_assets.store.remotes import add_remote
    from mlops_assets.store.transfer import fetch

    here = Store.open(tmp_path / "here")
    add_remote(here, "origin", str(store.root))
    fetch(here, "origin", tags=["v1"], assets=[MODEL])
    report = verify(here)
    assert report.sound, report.problems


def test_a_look_at_a_store_in_use_sees_no_damage(store: Store) -> None:
    child = os.fork()
    if not child:
        there = Store.open(store.root)
        try:
            for number in range(100_000):
                commit(there, CLEANED, f"b{number % 7}", [number])
        finally:
            os._exit(1)
    try:
        end = time.monotonic() + 1.5
        looks = 0
        while time.monotonic() < end:
            report = verify(store)
            assert report.sound, report.problems
            looks += 1
        assert looks > 2
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_in_an_object_store() -> None:
    store = Store.open(f"memory://verify{os.getpid()}")
    line(store, BATCH, [1, 2])
    assert verify(store, content=True).sound
    path = value_path(store)
    store.backend.write(path, b"other")
    assert only(verify(store)) == ("value", path)
