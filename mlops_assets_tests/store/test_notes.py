"""Notes of what manifests were made from: they say what the manifests say, or nothing, whatever happens to their files.

What belongs here: the lines, and tags that use them. What does not: tags as such (``test_snapshots``).
"""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.store import Head, Input, Manifest, Store, notes
from mlops_assets.store.garbage import Policy, gc
from mlops_assets.store.inputs import cache_path, differing
from mlops_assets.store.local import LocalBackend
from mlops_assets.store.notes import Fields, note, noted, notes_paths
from mlops_assets.store.records import manifest_path
from mlops_assets.store.snapshots import tag
from mlops_assets.store.verify import verify
from mlops_assets_tests.store.killing import die_before, in_child, operations

RAW, CLEANED = "flights/raw/flights", "flights/cleaned"
GROWING, BEFORE = notes_paths("flights")
WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
INPUTS = st.lists(st.builds(Input, WORDS, WORDS, st.none() | WORDS, st.none() | WORDS), max_size=4)


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notes are looked for, however few manifests there are."""
    monkeypatch.setattr(notes, "FEW", 1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def put(store: Store, asset: str, batch: str, value: Any, *inputs: Head) -> Head:
    exact = tuple(Input(head.asset, head.batch, head.version, head.manifest) for head in inputs)
    return store.commit("main", asset, batch, "json", value, inputs=exact)


def fill(store: Store, count: int = 5) -> list[Head]:
    """Batches of which the second was made from another input than the one that is shown."""
    raw = [put(store, RAW, f"{number:02}", [number]) for number in range(count)]
    made = [put(store, CLEANED, head.batch, {"rows": number}, head) for number, head in enumerate(raw)]
    return [*raw[:1], put(store, RAW, "01", "other"), *raw[2:], *made]


def said(store: Store) -> dict[str, Fields]:
    """What the notes say of all manifests that are shown."""
    shown = [head for asset in store.assets("main") for head in store.heads("main", asset).values()]
    return noted(store.backend, "flights", [head.manifest for head in shown])


def fields(manifest: Manifest) -> Fields:
    """What a manifest says of its inputs."""
    return [field for item in manifest.inputs for field in (item.asset, item.partition, item.version)]


def recorded(store: Store) -> dict[str, Fields]:
    """What these manifests themselves say."""
    return {
        head.manifest: fields(store.manifest(head.asset, head.batch, head.manifest))
        for asset in store.assets("main")
        for head in store.heads("main", asset).values()
    }


def compared(store: Store) -> tuple[Any, ...]:
    """What a tag would say of inputs, of which nothing was remembered but notes."""
    store.backend.delete(cache_path("flights"))
    return differing(store, "flights", {asset: store.leaves("main", asset) for asset in store.assets("main")})


def without_notes(store: Store) -> tuple[Any, ...]:
    """What a tag would say if all manifests were read."""
    aside = {path: store.backend.read(path) for path in (GROWING, BEFORE) if store.backend.stat(path)}
    for path in aside:
        store.backend.delete(path)
    found = compared(store)
    for path, data in aside.items():
        store.backend.write(path, data)
    return found


@pytest.fixture
def opened(store: Store, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The manifests that were opened since this was last asked."""
    asked: list[str] = []
    real = store.backend.read_many

    def counted(paths: Any) -> Iterator[bytes | None]:
        asked.extend(path for path in paths if path.startswith("meta/"))
        return real(paths)

    def since() -> list[str]:
        found = asked[:]
        asked.clear()
        return found

    monkeypatch.setattr(store.backend, "read_many", counted)
    return since


# --- what they say ---------------------------------------------------------------------------------------------------


def test_the_first_tag_opens_no_manifest(store: Store, opened: Callable[[], list[str]]) -> None:
    fill(store)
    opened()
    made = tag(store, "v1", "flights", "main")
    assert opened() == []
    assert said(store) == recorded(store)
    assert [(item["partition"], item["used_by"]) for item in made.differing] == [("01", {CLEANED: ["01"]})]
    assert made.differing == without_notes(store)


def test_only_moves_of_heads_leave_notes(store: Store) -> None:
    head = put(store, RAW, "01", 1)
    size = len(store.backend.read(GROWING))
    assert put(store, RAW, "01", 1) == head
    assert store.publish("main", store.manifest(RAW, "01", head.manifest), head) == head
    refused = Manifest(RAW, "01", "json", head.version, None)
    store.record(refused)
    assert len(store.backend.read(GROWING)) == size
    put(store, RAW, "01", 2)
    assert len(store.backend.read(GROWING)) > size


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(WORDS, INPUTS), max_size=5), st.data())
def test_whatever_happens_to_a_file_it_says_what_is_true_or_nothing(
    made: list[tuple[str, list[Input]]], data: st.DataObject
) -> None:
    records = [Manifest("flights/raw", batch, "json", inputs=tuple(inputs)) for batch, inputs in made]
    true = {record.id: fields(record) for record in records}
    with tempfile.TemporaryDirectory() as folder:
        backend = LocalBackend(Path(folder))
        for record in records:
            note(backend, record)
            if data.draw(st.booleans()):
                backend.append(GROWING, data.draw(st.binary(max_size=9)))
        # between them stands what others left of theirs
        assert noted(backend, "flights", list(true)) == true
        if true:
            content = bytearray(backend.read(GROWING))
            for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=3)):
                content[place] ^= data.draw(st.integers(1, 255))
            backend.write(GROWING, bytes(content[: data.draw(st.integers(0, len(content)))]))
            assert noted(backend, "flights", list(true)).items() <= true.items()


def test_a_line_of_another_format_does_not_count(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store)
    monkeypatch.setattr(notes, "FORMAT", 2)
    assert said(store) == {}
    assert compared(store) == without_notes(store) != ()


def test_who_reads_very_many_inputs_has_no_note(store: Store, opened: Callable[[], list[str]]) -> None:
    fill(store)
    many = tuple(Input("weather/raw", f"{number:05}", f"b3:{number:064x}", None) for number in range(200))
    head = store.commit("main", "flights/model", "all", "json", 1, inputs=many)
    opened()
    assert compared(store) == without_notes(store)
    assert opened()[:1] == [manifest_path("flights/model", "all", head.manifest)]
    assert said(store).keys() == recorded(store).keys() - {head.manifest}


def test_few_manifests_and_much_to_look_through_are_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    heads = fill(store)
    monkeypatch.setattr(notes, "FEW", len(heads) + 1)
    assert said(store) == {}
    monkeypatch.setattr(notes, "FEW", len(heads))
    assert len(said(store)) == len(heads)
    monkeypatch.setattr(notes, "PRICE", len(store.backend.read(GROWING)) // len(heads) - 1)
    assert said(store) == {}


# --- what happens to them --------------------------------------------------------------------------------------------


def test_a_full_file_takes_the_place_of_the_one_before(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes, "FULL", 1000)
    for number in range(100):
        put(store, RAW, f"{number:02}", number)
        sizes = [found.size for path in (GROWING, BEFORE) if (found := store.backend.stat(path))]
        assert all(size < 1200 for size in sizes)
    kept = said(store)
    assert 10 < len(kept) < 30, "those of both files, and of no more"
    assert {store.head("main", RAW, f"{number:02}").manifest for number in range(90, 100)} <= kept.keys()  # type: ignore[union-attr]
    assert compared(store) == ()


def test_a_publisher_that_is_killed_leaves_a_tag_that_says_the_same(tmp_path: Path) -> None:
    """At every operation, also between the head and its note, and in the middle of a note."""
    template, root = tmp_path / "template", tmp_path / "store"
    fill(Store.open(template))
    lost = torn = 0

    def publish() -> None:
        store = Store.open(root)
        put(store, CLEANED, "02", "made again", put(store, RAW, "02", "again"))

    shutil.copytree(template, root)
    count = len(operations(root, publish))
    for number in range(1, count + 1):
        shutil.rmtree(root)
        shutil.copytree(template, root)

        def killed(number: int = number) -> None:
            die_before(root, number)
            publish()

        assert in_child(killed) == -signal.SIGKILL
        store = Store.open(root)
        assert said(store).items() <= recorded(store).items()
        lost += len(said(store)) < len(recorded(store))
        torn += not store.backend.read(GROWING).endswith(b"\n")
        assert compared(store) == without_notes(store)
        # who comes next is not harmed by what was left
        publish()
        put(store, RAW, "03", f"after {number}")
        assert store.head("main", RAW, "03").manifest in said(store)  # type: ignore[union-attr]
        assert compared(store) == without_notes(store)
    assert lost >= 4
    assert torn >= 2


def test_notes_of_many_processes_stand_side_by_side(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path)
    writers, each = 4, 300
    records = [
        [
            Manifest(RAW, f"{writer}-{number}", "json", inputs=(Input(RAW, "x" * (number % 97), f"{writer}", None),))
            for number in range(each)
        ]
        for writer in range(writers)
    ]
    children = []
    for own in records:
        child = os.fork()
        if not child:
            for record in own:
                note(backend, record)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * writers
    found = noted(backend, "flights", [record.id for own in records for record in own])
    assert found == {record.id: fields(record) for own in records for record in own}


def test_a_disk_that_refuses_notes_refuses_no_publishing(store: Store) -> None:
    place = Path(store.backend.url)
    # a file where the folder is needed, and a folder where the file is
    (place / "cache").mkdir()
    (place / "cache" / "notes").write_bytes(b"")
    first = put(store, RAW, "01", 1)
    (place / "cache" / "notes").unlink()
    (place / GROWING).mkdir(parents=True)
    second = put(store, CLEANED, "01", 1, first)
    put(store, RAW, "01", 2)
    assert store.head("main", CLEANED, "01") == second
    assert said(store) == {}
    assert [item["used_by"] for item in compared(store)] == [{CLEANED: ["01"]}]


def test_a_note_of_a_manifest_that_is_gone_is_never_asked_for(store: Store) -> None:
    fill(store)
    old = put(store, RAW, "04", "old")
    put(store, RAW, "04", "new")
    taken = gc(store, yes=True, policy=Policy(grace=0, keep_last=0, keep_moves=0, force=True))
    assert taken.kinds["values"].files, "the old value went"
    assert verify(store).problems == []
    store.backend.delete(manifest_path(RAW, "04", old.manifest))
    assert noted(store.backend, "flights", [old.manifest]), "it stands there still"
    made = tag(store, "v1", "flights", "main")
    assert made.differing == without_notes(store)
    assert old.manifest not in store.backend.read(cache_path("flights")).decode()


def test_an_object_store_has_none_and_tags_all_the_same() -> None:
    store = Store.open(f"memory://{os.urandom(6).hex()}")
    fill(store)
    assert [item["partition"] for item in tag(store, "v1", "flights", "main").differing] == ["01"]
    assert list(store.backend.entries("cache/notes")) == []
