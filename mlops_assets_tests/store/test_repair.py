"""Mending: from trash, from another copy, from what the store still knows, and never by a guess."""

import json
import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mlops_assets.store import Manifest, Store
from mlops_assets.store.branching import create_branch
from mlops_assets.store.deliveries import Ledger, entry_path
from mlops_assets.store.garbage import Policy, gc
from mlops_assets.store.heads import Head
from mlops_assets.store.records import manifest_path, tree_path
from mlops_assets.store.repair import Action, Repair, repair
from mlops_assets.store.store import branch_path, head_path, leaf_of, move_path
from mlops_assets.store.tags import read_tag, tag_path
from mlops_assets.store.verify import verify
from mlops_assets_tests.store.tended import (
    CLEANED,
    MODEL,
    RAW,
    age,
    commit,
    contents,
    files,
    freeze,
    line,
    manifest,
    value,
)
from mlops_assets_tests.store.test_verify import cut, flip, lose

BATCH = "2024-01"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """As for ``verify``. To be copied."""
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


def head(store: Store, asset: str = CLEANED) -> Head:
    found = store.head("main", asset, BATCH)
    assert found
    return found


def value_path(store: Store, asset: str = CLEANED) -> str:
    found = manifest(store, head(store, asset)).blob
    assert found
    return found.path


def only(done: Repair) -> Action:
    assert len(done.actions) == 1, done.actions
    return done.actions[0]


def paths(store: Store) -> list[str]:
    """One of each kind that another copy can mend."""
    raw = manifest(store, head(store, RAW))
    return [
        value_path(store),
        value_path(store, MODEL),
        raw.files[0]["blob"],
        raw.attachments["evidence.json"].path,
        manifest_path(CLEANED, BATCH, head(store).manifest),
        move_path("main", CLEANED, BATCH, store.moves("main", CLEANED, BATCH)[-1].id),
        tree_path(read_tag(store, "v1").trees[CLEANED]),
        tag_path("v1"),
        branch_path("other"),
        entry_path("shop", 1),
    ]


@pytest.mark.parametrize("harm", [flip, lose, cut])
@pytest.mark.parametrize("number", range(10))
def test_another_copy_mends_it(template: Store, store: Store, number: int, harm: object) -> None:
    before = contents(store)
    place = paths(store)[number]
    harm(store, place)  # type: ignore[operator]
    if place in (tag_path("v1"), branch_path("other")) and harm is lose:
        pytest.skip("that there ever was one, nobody knows")
    harmed = contents(store)
    plan = only(repair(store, [template]))
    assert (plan.way, plan.done, plan.problem.path) == ("copied", False, place)
    assert contents(store) == harmed
    done = repair(store, [Store.open(template.root)], yes=True)
    assert (only(done).done, done.whole) == (True, True)
    assert contents(store) == before
    assert verify(store).sound


def test_only_sound_copies_are_taken(template: Store, store: Store, tmp_path: Path) -> None:
    place = value_path(store)
    other = Store.open(shutil.copytree(template.root, tmp_path / "other"))
    flip(store, place)
    flip(other, place)
    assert only(repair(store, [other])).way == "set aside"
    assert only(repair(store, [other, template])).way == "copied"
    for name in (manifest_path(CLEANED, BATCH, head(store).manifest), tag_path("v1")):
        flip(other, name)
    lose(store, manifest_path(CLEANED, BATCH, head(store).manifest))
    shutil.copy(template.root / place, store.root / place)
    assert only(repair(store, [other], yes=True)).way == "left"


def test_a_head_is_rebuilt_from_its_moves(store: Store) -> None:
    path = head_path("main", CLEANED, BATCH)
    before = store.backend.read(path)
    for harm in (cut, lose):
        harm(store, path)
        done = repair(store, yes=True)
        assert only(done).way == "rebuilt"
        assert "from its 2 moves: the newest, of " in only(done).sentence
        assert store.backend.read(path) == before
        assert verify(store).sound


def test_a_head_that_was_taken_away_is_rebuilt_as_such(store: Store) -> None:
    store.move("main", CLEANED, BATCH, None, head(store))
    path = head_path("main", CLEANED, BATCH)
    before = store.backend.read(path)
    lose(store, path)
    assert "leads to nothing" in only(repair(store, yes=True)).sentence
    assert store.backend.read(path) == before


def test_two_moves_that_could_be_the_newest(store: Store) -> None:
    path = head_path("main", CLEANED, BATCH)
    kept = store.backend.read(path)
    first = store.manifests(CLEANED, BATCH)[-1]
    store.move("main", CLEANED, BATCH, leaf_of(first), head(store))
    # as a writer leaves it that died after its move and before its head
    store.backend.write(path, kept)
    store.move("main", CLEANED, BATCH, leaf_of(first), head(store), who="somebody")
    assert verify(store).sound
    cut(store, path)
    before = contents(store)
    action = only(repair(store, yes=True))
    assert (action.way, action.done) == ("left", False)
    assert "Two moves could be its newest" in action.sentence
    assert contents(store) == before


def test_a_head_without_a_whole_chain(store: Store, template: Store) -> None:
    lose(store, move_path("main", CLEANED, BATCH, store.moves("main", CLEANED, BATCH)[-1].id))
    cut(store, head_path("main", CLEANED, BATCH))
    action = only(repair(store, yes=True))
    assert (action.way, action.sentence[:13]) == ("left", "No move of it")
    # with the move back from another copy the head follows
    lost = move_path("main", CLEANED, BATCH, template.moves("main", CLEANED, BATCH)[-1].id)
    store.backend.write(lost, template.backend.read(lost))
    assert only(repair(store, yes=True)).way == "rebuilt"
    assert verify(store).sound


def test_a_damaged_value_is_set_aside_for_a_run_to_make_it_again(store: Store) -> None:
    place, old = value_path(store), value(store, "main", CLEANED, BATCH)
    flip(store, place)
    done = repair(store, yes=True)
    action = only(done)
    assert (action.way, action.again, done.whole) == ("set aside", (CLEANED, BATCH), False)
    assert "mlops-assets run shop --partition 2024-01" in action.sentence
    assert any(name.endswith(place) for name in files(store, "trash"))
    # gc never puts a damaged file back
    age(store)
    gc(store, yes=True, policy=Policy())
    assert store.backend.stat(place) is None
    again = only(repair(store, yes=True))
    assert (again.way, again.problem.lost) == ("set aside", True)
    commit(store, CLEANED, BATCH, old, *[])
    assert verify(store).sound
    gc(store, yes=True, policy=Policy(keep_refused=0))
    assert files(store, "trash") == set()


def test_delivered_bytes_are_asked_for_again(store: Store) -> None:
    place = manifest(store, head(store, RAW)).files[0]["blob"]
    flip(store, place)
    action = only(repair(store, yes=True))
    assert (action.way, action.again) == ("set aside", None)
    assert "deliver the same file again, then: mlops-assets run shop" in action.sentence
    assert store.backend.stat(place) is None
    assert only(repair(store, yes=True)).way == "left"
    text = "person,paid\n1,10.0\n2,20.0\n3,30.0\n"
    store.put_bytes(RAW, BATCH, text.encode())
    assert verify(store).sound


def test_attachments_illustrate(store: Store) -> None:
    flip(store, manifest(store, head(store, RAW)).attachments["evidence.json"].path)
    action = only(repair(store, yes=True))
    assert (action.way, action.done) == ("set aside", True)
    assert "it illustrates a version and is no part of it" in action.sentence


def test_superseded_values_are_let_go(store: Store) -> None:
    commit(store, MODEL, BATCH, {"of": 3})
    place = value_path(store, MODEL)
    commit(store, MODEL, BATCH, {"of": 4})
    lose(store, place)
    action = only(repair(store, yes=True))
    assert (action.way, action.again) == ("left", None)
    assert action.sentence.endswith("only its record is left.")


def test_sound_bytes_of_another_release_are_recorded(store: Store) -> None:
    """A writer made the value again over a torn file, with another release of pyarrow, and died."""
    place = value_path(store)
    table = value(store, "main", CLEANED, BATCH)
    pq.write_table(table, store.root / place, compression="snappy", write_page_checksum=True)
    assert not verify(store).sound
    done = repair(store, yes=True)
    assert (only(done).way, done.whole) == ("recorded", True)
    assert verify(store).sound
    assert value(store, "main", CLEANED, BATCH).equals(table)


def test_a_tree_is_written_again_where_a_branch_still_shows_it(store: Store) -> None:
    place = tree_path(read_tag(store, "v1").trees[MODEL])
    before = store.backend.read(place)
    lose(store, place)
    action = only(repair(Store.open(store.root), yes=True))
    assert (action.way, action.sentence) == ("rebuilt", "It is what branch main shows now; it is written again.")
    assert store.backend.read(place) == before
    lose(store, tree_path(read_tag(store, "v1").trees[CLEANED]))
    assert only(repair(Store.open(store.root), yes=True)).sentence.startswith(
        "Only another copy of the store can mend it"
    )


def test_what_an_interrupted_gc_set_aside(store: Store) -> None:
    place = value_path(store)
    for path in (place, tree_path(read_tag(store, "v1").trees[CLEANED])):
        store.backend.rename(path, f"trash/20240101T000000-00/{path}")
    done = repair(Store.open(store.root), yes=True)
    assert [action.way for action in done.actions] == ["restored", "restored"]
    assert (done.whole, verify(store).sound, files(store, "trash")) == (True, True, set())


def test_manifests_that_nothing_stands_on(store: Store) -> None:
    stored = store.put(CLEANED, BATCH, "json", 1)
    refused = Manifest(CLEANED, BATCH, "json", stored.version, stored.blob)
    store.record(refused)
    flip(store, manifest_path(CLEANED, BATCH, refused.id))
    assert only(repair(store, yes=True)).way == "set aside"
    assert verify(store).sound
    flip(store, manifest_path(CLEANED, BATCH, head(store).manifest))
    action = only(repair(store, yes=True))
    assert (action.way, action.done) == ("left", False)
    assert "versions stand on it" in action.sentence


def test_heads_that_can_be_read_are_for_people_to_move(store: Store) -> None:
    stored = store.put(CLEANED, BATCH, "json", 1)
    refused = Manifest(CLEANED, BATCH, "json", stored.version, stored.blob)
    store.record(refused)
    store.move("main", CLEANED, BATCH, leaf_of(refused), head(store))
    action = only(repair(store, yes=True))
    assert (action.way, action.done) == ("left", False)
    assert json.loads(json.dumps(repair(store).to_dict()))["actions"][0]["way"] == "left"


def test_interrupted_purges_and_content_that_came_back(store: Store) -> None:
    from mlops_assets.store.purge import purge

    place = value_path(store)
    data = store.backend.read(place)
    done = purge(store, "shop", [{"person": "3"}], basis="request 7", dry=False)
    store.backend.write(place, data)
    assert only(repair(store, yes=True)).way == "erased"
    assert verify(store).sound
    store.backend.delete(f"purges/{done.id}.done")
    assert only(repair(store, yes=True)).way == "finished"
    assert verify(store).sound


def test_a_sound_store_needs_nothing(store: Store) -> None:
    before = contents(store)
    done = repair(store, yes=True)
    assert (done.actions, done.whole) == ([], True)
    assert contents(store) == before


def test_between_object_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_ASSETS_CACHE", str(tmp_path / "cache"))
    stores = [Store.open(f"memory://repair{os.getpid()}-{number}") for number in range(2)]
    for made in stores:
        line(made, BATCH, [1, 2])
    store, other = stores
    place, path = value_path(store), head_path("main", CLEANED, BATCH)
    before = store.backend.read(place), store.backend.read(path)
    store.backend.write(place, b"other")
    store.backend.delete(path)
    done = repair(store, [other], yes=True)
    assert [action.way for action in done.actions] == ["copied"]
    assert store.backend.read(place) == before[0]
    assert verify(store).unfinished == 1, "a first move whose head is lost is like one that was never made"
    store.backend.write(path, before[1])
    store.backend.write(place, b"other")
    assert only(repair(store, yes=True)).way == "set aside"
    assert store.backend.stat(place) is None
