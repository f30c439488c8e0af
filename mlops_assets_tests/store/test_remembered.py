"""What is remembered of manifests: true after anything that happens to a store, and no truth of its own."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mlops_assets.errors import CorruptError
from mlops_assets.store import Store
from mlops_assets.store.cache import keep, kept
from mlops_assets.store.deliveries import Ledger, entry_path
from mlops_assets.store.records import manifest_path
from mlops_assets.store.remembered import PATH, Remembered
from mlops_assets_tests.store.family import CLEANED, MODEL, MONTHS, REPORT, SALES, clean, deliver, grown, release

ALL = 7


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grown(tmp_path_factory.mktemp("family") / "store").root


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Store:
    shutil.copytree(made, tmp_path / "store")
    return Store.open(tmp_path / "store")


def looked(store: Store) -> Remembered:
    known = Remembered(store)
    known.look()
    known.arrivals()
    known.save()
    return known


def here(known: Remembered) -> set[str]:
    return {known.id(place) for place in range(len(known)) if known.is_here(place)}


def everything(known: Remembered) -> list[tuple[object, ...]]:
    """All that can be asked, by id, so that places do not matter."""
    return sorted(
        (known.id(p), *next(known.told([p])), tuple(known.files(p)), tuple(known.id(q) for q in known.inputs(p)))
        for p in range(len(known))
    )


def recorded(store: Store) -> set[str]:
    names = (entry.path.rpartition("/")[2] for entry in store.backend.entries("meta"))
    return {name.removesuffix(".json").replace("-", ":", 1) for name in names}


def test_every_record_is_known_after_a_look(store: Store) -> None:
    assert here(looked(store)) == recorded(store)
    assert len(recorded(store)) == ALL


def test_what_was_kept_is_what_was_read(store: Store) -> None:
    first = looked(store)
    assert everything(Remembered(store)) == everything(first)


def test_a_second_look_reads_only_what_came(store: Store) -> None:
    looked(store)
    known = Remembered(store)
    # damage that a reader would meet: nobody reads what is known already
    (place,) = known.where(REPORT)
    Path(store.root, manifest_path(REPORT, MONTHS[-1], known.id(place))).write_bytes(b"{}")
    release(store, MONTHS[-1], metric=0.8, seed=8)
    known.look()
    assert known.damaged == []
    assert len(here(known)) == ALL + 2


def test_a_record_that_comes_at_once_after_a_look_is_found(store: Store) -> None:
    for number in range(5):
        known = looked(store)
        clean(store, MONTHS[0], code=f"clean-again-{number}")
        known.look()
        assert here(known) == recorded(store)


def test_folders_that_stand_still_are_not_listed_again(store: Store) -> None:
    old = 1_700_000_000
    for folder, _, _ in os.walk(store.root / "meta"):
        os.utime(folder, (old, old))
    looked(store)
    # a record that came without its folder telling so stays unseen: folders are what is looked at
    path = store.root / manifest_path(REPORT, MONTHS[-1], store.moves("main", REPORT, MONTHS[-1])[0].to_manifest)
    path.unlink()
    os.utime(path.parent, (old, old))
    known = Remembered(store)
    known.look()
    assert len(here(known)) == ALL
    os.utime(path.parent, (old + 1, old + 1))
    known.look()
    assert here(known) == recorded(store)


@pytest.mark.parametrize("whole", [False, True], ids=["file", "folder"])
def test_records_that_gc_takes_are_gone_and_may_come_back(store: Store, *, whole: bool) -> None:
    known = looked(store)
    (place,) = known.where(REPORT)
    path = store.root / manifest_path(REPORT, MONTHS[-1], known.id(place))
    data = path.read_bytes()
    path.unlink()
    if whole:
        path.parent.rmdir()
    known = looked(store)
    assert known.where(REPORT) == []
    assert here(known) == recorded(store)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    assert here(looked(store)) == recorded(store)


def test_inputs_stand_before_what_was_made_from_them(store: Store) -> None:
    known = looked(store)
    assert all(item < place for place in range(len(known)) for item in known.inputs(place))
    (model,) = known.where(MODEL)
    assert {known.asset(place) for place in known.above([model])} == {SALES, "trade/raw/shops", CLEANED, MODEL}
    (sale,) = known.where(SALES, MONTHS[0])
    assert [known.asset(place) for place in known.below([sale])] == [CLEANED, MODEL, REPORT]


def test_a_lost_record_that_is_fetched_later_takes_its_place(store: Store) -> None:
    head = store.head("main", CLEANED, MONTHS[0])
    assert head
    path = store.root / manifest_path(CLEANED, MONTHS[0], head.manifest)
    path.rename(store.root.parent / "kept")
    report = store.head("main", REPORT, MONTHS[-1])
    assert report
    known = Remembered(store)
    known.learn([(REPORT, MONTHS[-1], report.manifest)])
    known.save()
    assert known.place(head.manifest) is None
    assert len(known.arrivals()["trade"]) == 3
    (store.root.parent / "kept").rename(path)
    known = Remembered(store)
    known.learn([(REPORT, MONTHS[-1], report.manifest)])
    assert known.place(head.manifest) is not None
    assert len(known.arrivals()["trade"]) == 3
    assert all(item < place for place in range(len(known)) for item in known.inputs(place))
    assert here(looked(store)) == recorded(store)


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped(data: bytes) -> bytes:
    return data[:200] + bytes([data[200] ^ 1]) + data[201:]


def emptied(data: bytes) -> bytes:
    return data[:0]


@pytest.mark.parametrize("harm", [cut, flipped, emptied])
def test_a_damaged_file_is_made_again(store: Store, harm: Callable[[bytes], bytes]) -> None:
    expected = everything(looked(store))
    path = store.root / PATH
    path.write_bytes(harm(path.read_bytes()))
    assert everything(looked(store)) == expected


def test_a_file_of_format_1_is_made_again(store: Store) -> None:
    expected = everything(looked(store))
    body = kept(store.backend, PATH)
    assert body
    # it said in digits how long the part in JSON is
    length, rest = int.from_bytes(body[:8]), bytes(body[8:])
    keep(store.backend, PATH, b"%d\n%b" % (length, rest.replace(b'"format":2', b'"format":1', 1)))
    assert everything(looked(store)) == expected
    again = kept(store.backend, PATH)
    assert again
    assert b'"format":2' in bytes(again)


def test_a_damaged_record_is_named_and_left_out(store: Store) -> None:
    head = store.head("main", REPORT, MONTHS[-1])
    assert head
    path = store.root / manifest_path(REPORT, MONTHS[-1], head.manifest)
    path.write_bytes(path.read_bytes().replace(b"ben", b"eve"))
    known = looked(store)
    assert known.damaged == [f"The manifest {path} is damaged; copy it from another copy of the store."]
    assert here(known) == recorded(store) - {head.manifest}


def test_arrivals_go_on_where_they_were(store: Store) -> None:
    looked(store)
    deliver(store, SALES, MONTHS[0], f"landing/sales_{MONTHS[0]}.csv", b"sale,more\n")
    known = Remembered(store)
    assert [entry.seq for entry in known.arrivals()["trade"]] == [1, 2, 3, 4]
    assert known.arrivals()["trade"][-1].sha256 == Ledger(store, "trade").entries[-1].blob.sha256


def test_a_broken_ledger_is_not_believed(store: Store) -> None:
    looked(store)
    deliver(store, SALES, MONTHS[0], f"landing/sales_{MONTHS[0]}.csv", b"sale,more\n")
    path = store.root / entry_path("trade", 3)
    path.write_bytes(path.read_bytes().replace(b"supplier", b"nobody42"))
    with pytest.raises(CorruptError, match="ledger"):
        Remembered(store).arrivals()


def test_a_place_that_cannot_be_written_is_asked_all_the_same(store: Store) -> None:
    shutil.rmtree(store.root / "cache")
    (store.root / "cache").write_text("in the way")
    assert here(looked(store)) == recorded(store)


def test_an_object_store_is_listed_as_a_whole() -> None:
    store = grown("memory://")
    known = looked(store)
    assert here(known) == recorded(store)
    release(store, MONTHS[-1], metric=0.8, seed=8)
    known.look()
    assert here(known) == recorded(store)
    (place,) = known.where(REPORT, MONTHS[-1])[:1]
    store.backend.delete(manifest_path(REPORT, MONTHS[-1], known.id(place)))
    known.look()
    assert here(known) == recorded(store)
