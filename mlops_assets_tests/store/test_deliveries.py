"""The ledger of deliveries: order, duplicates, corrections, and the state as of any moment."""

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from mlops_assets.errors import CorruptError, StoreError
from mlops_assets.store import Store
from mlops_assets.store.deliveries import Delivery, Ledger, Recorded, datasets, entry_path
from mlops_assets.store.digest import parse_json, sealed_json, unsealed
from mlops_assets_tests.store.test_crash import die_at, in_child

SOURCE, BATCH = "shop/raw/visits", "2024-01-01"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def came(ledger: Ledger, name: str, data: bytes) -> Recorded:
    return ledger.record(SOURCE, name, data, place=BATCH, batches=(BATCH,), who="anna")


def test_deliveries_are_entered_in_order_and_read_back(store: Store) -> None:
    ledger = Ledger(store, "shop")
    assert list(ledger.entries) == []
    assert [came(ledger, name, data).status for name, data in [("a", b"1"), ("b", b"2"), ("a", b"1"), ("a", b"3")]] == [
        "new", "new", "known", "changed"
    ]  # fmt: skip
    read = Ledger(store, "shop").entries
    assert read == ledger.entries
    assert [(entry.seq, entry.name, store.bytes(entry.blob)) for entry in read] == [
        (1, "a", b"1"), (2, "b", b"2"), (3, "a", b"3")
    ]  # fmt: skip
    assert read[0].previous is None
    assert (read[2].who, read[2].batches, read[2].source) == ("anna", (BATCH,), SOURCE)
    assert datasets(store) == ["shop"]


def test_the_same_bytes_under_another_name_are_a_duplicate_of_the_first(store: Store) -> None:
    ledger = Ledger(store, "shop")
    came(ledger, "a", b"1")
    second = came(ledger, "b", b"1")
    assert (second.status, second.delivery.duplicate_of) == ("duplicate", 1)
    assert came(ledger, "b", b"1").status == "known"
    assert came(ledger, "c", b"1").delivery.duplicate_of == 1
    other = ledger.record("shop/raw/other", "d", b"1", place="all")
    assert other.status == "new", "another source may well bring the same bytes"


def test_bytes_that_come_back_are_a_change_like_any_other(store: Store) -> None:
    ledger = Ledger(store, "shop")
    assert [came(ledger, "a", data).status for data in (b"1", b"2", b"1")] == ["new", "changed", "changed"]


def test_the_state_as_of_any_entry_or_moment(store: Store) -> None:
    ledger = Ledger(store, "shop")
    for name, data in (("a", b"1"), ("b", b"1"), ("a", b"2"), ("c", b"3")):
        came(ledger, name, data)

    def seen(moment: str | int) -> dict[str, bytes]:
        return {name: store.bytes(entry.blob) for (_, name), entry in ledger.as_of(moment).items()}

    assert seen(0) == {}
    assert seen(2) == {"a": b"1"}, "a duplicate adds nothing"
    assert seen(3) == {"a": b"2"}
    assert seen(99) == {"a": b"2", "c": b"3"}
    assert seen(ledger.entries[2].arrived) in ({"a": b"2"}, {"a": b"2", "c": b"3"})
    assert seen("2000-01-01") == {}
    assert seen("9999") == seen(4)


def test_what_another_process_entered_is_seen_when_it_matters(store: Store) -> None:
    one, two = Ledger(store, "shop"), Ledger(store, "shop")
    assert not one.entries
    assert not two.entries
    came(one, "a", b"1")
    assert came(two, "a", b"1").status == "known", "found out when the number was taken"
    assert came(two, "b", b"2").delivery.seq == 2
    one.refresh()
    assert one.entries == two.entries


def test_many_at_once_enter_each_file_once(store: Store) -> None:
    def work() -> None:
        ledger = Ledger(Store.open(store.root), "shop")
        for number in range(20):
            came(ledger, f"file{number}", str(number).encode())

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = Ledger(store, "shop").entries
    assert sorted(entry.name for entry in entries) == sorted(f"file{number}" for number in range(20))


def test_a_kill_at_any_operation_loses_and_doubles_nothing(tmp_path: Path) -> None:
    for number in range(1, 100):
        root = tmp_path / str(number)
        came(Ledger(Store.open(root), "shop"), "a", b"1")

        def work(root: Path = root, number: int = number) -> None:
            die_at(number)
            came(Ledger(Store.open(root), "shop"), "b", b"2")

        code = in_child(work)
        ledger = Ledger(Store.open(root), "shop")
        for entry in ledger.entries:
            ledger._store.bytes(entry.blob)
        assert came(ledger, "b", b"2").status in {"new", "known"}
        assert [entry.name for entry in Ledger(Store.open(root), "shop").entries] == ["a", "b"]
        if code == 0:
            assert number > 10
            return
    pytest.fail("the work never finished")


def test_a_broken_chain_is_told_of(store: Store) -> None:
    ledger = Ledger(store, "shop")
    for number in range(3):
        came(ledger, "a", str(number).encode())
    second = store.root / entry_path("shop", 2)
    kept = second.read_bytes()
    second.write_bytes(replace(Delivery.decode(kept, "it"), who="otto").encode())
    with pytest.raises(CorruptError, match=r"0000000003.json does not follow the one before it: an entry was changed"):
        _ = Ledger(store, "shop").entries
    second.unlink()
    with pytest.raises(CorruptError, match=r"The entry .*0000000002.json of the ledger is lost; copy it from another"):
        _ = Ledger(store, "shop").entries
    second.write_bytes(kept[:-5])
    with pytest.raises(CorruptError, match="is not an entry of a ledger as the store writes"):
        _ = Ledger(store, "shop").entries
    second.write_bytes(kept.replace(b'"who":"anna"', b'"who":"otto"'))
    with pytest.raises(CorruptError, match="is not an entry of a ledger as the store writes"):
        _ = Ledger(store, "shop").entries
    second.write_bytes(sealed_json({**parse_json(unsealed(kept)), "format": 2}))
    with pytest.raises(StoreError, match=r"is written in format 2, and this mlops_assets reads up to 1"):
        _ = Ledger(store, "shop").entries


def test_a_file_is_kept_as_it_was_when_it_was_entered(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"x" * 3_000_000)
    entry = Ledger(store, "shop").record(SOURCE, "a.csv", file, place=BATCH).delivery
    os.truncate(file, 10)
    assert len(store.bytes(entry.blob)) == 3_000_000
