"""Which delivered file belongs to which batch."""

import hashlib
from datetime import date
from pathlib import Path

import pytest

from mlops_assets.assets.landing import Landing
from mlops_assets.contract.calendar import Calendar
from mlops_assets.contract.load import load_contract
from mlops_assets.contract.model import Contract
from mlops_assets.store.blobs import tombstone_path
from mlops_assets.store.deliveries import Ledger
from mlops_assets.store.digest import canonical_json
from mlops_assets.store.store import Store
from mlops_assets_tests.datasets import day_rows, deliver_days, deliver_named, deliver_whole, write_contract, write_rows


def landing(contract: Contract) -> Landing:
    given = contract.partitions
    store = Store.open(contract.folder.parent / "store")
    return Landing(contract, Calendar(given.cadence, given.start, given.end), Ledger(store, contract.name))


def take_in(folder: Path) -> list[str]:
    return landing(load_contract(folder)).take_in("anna")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = write_contract(tmp_path)
    deliver_days(made, (2, 0, 1), rows=3)
    return made


def names(folder: Path, source: str, batch: str) -> list[str]:
    contract = load_contract(folder)
    return [file.name for file in landing(contract).files(contract.sources[source], batch)]


def batches(folder: Path) -> list[str]:
    contract = load_contract(folder)
    return landing(contract).batches(contract.sources["visits"])


def test_a_batch_is_what_its_file_s_name_says(folder: Path) -> None:
    assert batches(folder) == ["2024-01-01", "2024-01-02", "2024-01-03"]
    assert names(folder, "visits", "2024-01-02") == ["landing/visits_2024-01-02.csv"]
    assert names(folder, "visits", "2024-01-04") == []
    assert names(folder, "shops", "all") == ["landing/shops.csv"]


def test_a_file_is_known_by_all_its_bytes(folder: Path) -> None:
    contract = load_contract(folder)
    (file,) = landing(contract).files(contract.sources["visits"], "2024-01-01")
    data = (folder / "landing" / "visits_2024-01-01.csv").read_bytes()
    assert file.record() == {
        "name": "landing/visits_2024-01-01.csv",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def test_what_is_no_delivery_is_left_alone(folder: Path) -> None:
    inside = folder / "landing"
    (inside / "visits_2024-01-04.csv.part").write_text("")
    (inside / ".visits_2024-01-04.csv").write_text("")
    (inside / "notes.txt").write_text("")
    (inside / "visits_2024-01-05.csv").mkdir()
    (inside / "visits_2024-01-06.csv").symlink_to(inside / "visits_2024-01-01.csv")
    (inside / "visits_2024-01-07xcsv").write_text("")
    assert batches(folder) == ["2024-01-01", "2024-01-02", "2024-01-03"]
    assert landing(load_contract(folder)).strays == ()


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("2024-02-30", "'2024-02-30' does not exist in the calendar"),
        ("2024-1-9", "'2024-1-9' is not a day"),
        ("2023-12-31", "'2023-12-31' is before the first batch, '2024-01-01'"),
    ],
)
def test_a_file_of_no_batch_is_told_of(folder: Path, key: str, sentence: str) -> None:
    (folder / "landing" / f"visits_{key}.csv").write_text("")
    (said,) = landing(load_contract(folder)).strays
    assert said.startswith(f"landing/visits_{key}.csv is not taken in: {sentence}")
    assert batches(folder) == ["2024-01-01", "2024-01-02", "2024-01-03"]


def several(folder: Path, redelivery: str) -> None:
    contract = folder / "dataset.yaml"
    text = contract.read_text().replace("visits_{batch}.csv", "visits_{batch}-part*.csv")
    contract.write_text(text.replace("    key: [visit]", f"    redelivery: {redelivery}\n    key: [visit]"))
    for part in ("10", "02", "1"):
        (folder / "landing" / f"visits_2024-01-09-part{part}.csv").write_text(part)


def test_of_several_new_files_the_last_by_name_replaces_the_others(folder: Path) -> None:
    several(folder, "replace")
    assert batches(folder) == ["2024-01-09"]
    assert names(folder, "visits", "2024-01-09") == ["landing/visits_2024-01-09-part10.csv"]


def test_or_they_add_up_in_the_order_of_their_names(folder: Path) -> None:
    several(folder, "add")
    assert names(folder, "visits", "2024-01-09") == [
        f"landing/visits_2024-01-09-part{part}.csv" for part in ("02", "1", "10")
    ]


def test_the_last_that_came_replaces_the_others_whatever_its_name(folder: Path) -> None:
    several(folder, "replace")
    assert take_in(folder) == []
    late = folder / "landing" / "visits_2024-01-09-part0.csv"
    late.write_text("late")
    take_in(folder)
    assert names(folder, "visits", "2024-01-09") == ["landing/visits_2024-01-09-part0.csv"]
    (folder / "landing" / "visits_2024-01-09-part1.csv").write_text("corrected")
    assert take_in(folder) == ["landing/visits_2024-01-09-part1.csv holds other bytes than before (delivery 2, now 6)."]
    assert names(folder, "visits", "2024-01-09") == ["landing/visits_2024-01-09-part1.csv"]


def test_what_adds_up_does_so_in_the_order_of_arrival(folder: Path) -> None:
    several(folder, "add")
    take_in(folder)
    (folder / "landing" / "visits_2024-01-09-part0.csv").write_text("late")
    take_in(folder)
    assert [name[-6:-4] for name in names(folder, "visits", "2024-01-09")] == ["02", "t1", "10", "t0"]


def test_a_file_that_came_before_changes_nothing_and_is_told_of_once(folder: Path) -> None:
    assert take_in(folder) == []
    assert take_in(folder) == [], "the same again"
    again = folder / "landing" / "visits_2024-01-02.csv"
    copy = folder / "landing" / "shops-copy.csv"
    copy.write_bytes((folder / "landing" / "shops.csv").read_bytes())
    contract = folder / "dataset.yaml"
    contract.write_text(contract.read_text().replace("landing/shops.csv", "landing/shops*.csv"))
    (said,) = take_in(folder)
    assert said == (
        "landing/shops-copy.csv holds the same bytes as landing/shops.csv, which came first (delivery 4): "
        "it adds nothing."
    )
    assert take_in(folder) == []
    assert names(folder, "shops", "all") == ["landing/shops.csv"]
    assert again.exists()


@pytest.mark.parametrize("redelivery", ["replace", "add"])
def test_the_same_bytes_under_another_name_make_no_other_batch(folder: Path, redelivery: str) -> None:
    several(folder, redelivery)
    before = names(folder, "visits", "2024-01-09")
    newest = folder / before[-1]
    (folder / "landing" / "visits_2024-01-09-part2.csv").write_bytes(newest.read_bytes())
    take_in(folder)
    assert names(folder, "visits", "2024-01-09") == before


def test_what_was_erased_is_not_taken_in_again(folder: Path) -> None:
    take_in(folder)
    contract = load_contract(folder)
    (file,) = landing(contract).files(contract.sources["visits"], "2024-01-01")
    stone = {"format": 1, "purge": "7", "when": "2026-01-01", "basis": "", "rows": 1, "replacement": None}
    store = Store.open(folder.parent / "store")
    store.backend.create(tombstone_path(f"sha256-{file.sha256}"), canonical_json(stone))
    file.path.rename(file.path.with_name("visits_2024-01-04.csv"))
    (said,) = take_in(folder)
    assert said.startswith("landing/visits_2024-01-04.csv is not taken in. ")
    assert "was erased on 2026-01-01 by purge 7" in said


def test_files_without_a_batch_in_their_name_hold_the_batches_of_their_rows(folder: Path) -> None:
    contract = folder / "dataset.yaml"
    contract.write_text(contract.read_text().replace("visits_{batch}.csv", "all-*.csv"))
    write_rows(folder / "landing" / "all-1.csv", [*day_rows(date(2024, 1, 3), 2), *day_rows(date(2024, 1, 1), 2)])
    write_rows(folder / "landing" / "all-2.csv", day_rows(date(2024, 1, 8), 2))
    assert batches(folder) == ["2024-01-01", "2024-01-03", "2024-01-08"]
    assert names(folder, "visits", "2024-01-08") == ["landing/all-2.csv"]


def test_an_unpartitioned_dataset_has_one_batch(tmp_path: Path) -> None:
    made = write_contract(tmp_path, cadence="none")
    deliver_whole(made, rows=3)
    assert batches(made) == ["all"]
    assert names(made, "visits", "all") == ["landing/visits.csv"]


def test_named_batches_are_sorted_by_name(tmp_path: Path) -> None:
    made = write_contract(tmp_path, cadence="named")
    deliver_named(made, ["ulm", "berlin", "köln-süd"], rows=3)
    assert batches(made) == ["berlin", "köln-süd", "ulm"]


def test_without_a_landing_folder_nothing_was_delivered(tmp_path: Path) -> None:
    made = write_contract(tmp_path)
    (made / "landing").rmdir()
    assert batches(made) == []
