"""Which files are taken in by themselves, when, and what is said of the others."""

import hashlib
import os
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.assets.landing import enter
from mlops_assets.automation import arrivals
from mlops_assets.automation.arrivals import Inbox, Looked
from mlops_assets.contract.load import load_contract
from mlops_assets.contract.model import Arrivals, Contract
from mlops_assets.store.blobs import tombstone_path
from mlops_assets.store.deliveries import Ledger
from mlops_assets.store.digest import canonical_json
from mlops_assets.store.manifest import Blob
from mlops_assets.store.store import Store
from mlops_assets_tests.datasets import deliver_days, deliver_named, write_contract

NOON = 1_700_000_000.0


class Landed:
    """A dataset's landing folder, looked at by a new process every time."""

    def __init__(self, folder: Path, *, marker: str | None = None) -> None:
        contract = load_contract(folder)
        chosen = replace(contract.automation, arrivals=Arrivals(marker=marker))
        self.contract: Contract = replace(contract, automation=chosen)
        self.landing = folder / "landing"
        self.memory = folder.parent / "inbox.json"
        self.place = folder.parent / "store"
        self.now = NOON

    def look(self, after: float = 0.0) -> Looked:
        self.now += after
        inbox = Inbox(self.contract, Store.open(self.place), self.memory)
        found = inbox.look(self.now)
        inbox.remember()
        return found

    def settle(self) -> Looked:
        """Two looks as far apart as it takes."""
        self.look()
        return self.look(5)

    def delivered(self) -> list[tuple[str, str]]:
        """Name and sha256 of every entry of the ledger, in order."""
        entries = Ledger(Store.open(self.place), self.contract.name).entries
        return [(entry.name, entry.blob.sha256) for entry in entries]

    def names(self) -> list[str]:
        return [name.removeprefix("landing/") for name, _ in self.delivered()]


@pytest.fixture
def landed(tmp_path: Path) -> Landed:
    return Landed(write_contract(tmp_path))


def test_a_file_is_taken_in_at_the_second_look_that_sees_it_unchanged(landed: Landed) -> None:
    deliver_days(landed.landing.parent, (0, 1))
    first = landed.look()
    assert first.entered == 0
    assert first.waiting[1] == ("landing/visits_2024-01-01.csv waits: it is taken when it has not changed for 5 s.")
    assert landed.look(4.9).entered == 0
    found = landed.look(0.1)
    assert found.entered == 3
    assert found.touched == {"visits": {"2024-01-01", "2024-01-02"}, "shops": {"all"}}
    assert landed.names() == ["shops.csv", "visits_2024-01-01.csv", "visits_2024-01-02.csv"]
    assert landed.look(5) == Looked()


@given(cuts=st.lists(st.integers(1, 400), min_size=1, max_size=5))
@settings(max_examples=25, deadline=None)
def test_a_file_that_still_grows_is_never_taken_in(tmp_path_factory: pytest.TempPathFactory, cuts: list[int]) -> None:
    landed = Landed(write_contract(tmp_path_factory.mktemp("data")))
    (path,) = deliver_days(landed.landing.parent, (0,), rows=10)
    data = path.read_bytes()
    for cut in sorted(set(cuts)):
        path.write_bytes(data[:cut])
        landed.look(60)
        assert path.name not in landed.names()
    path.write_bytes(data)
    landed.look(60)
    landed.look(5)
    assert dict(landed.delivered())[f"landing/{path.name}"] == hashlib.sha256(data).hexdigest()


def test_a_file_of_the_same_size_and_time_that_was_replaced_is_looked_at_again(landed: Landed) -> None:
    (path,) = deliver_days(landed.landing.parent, (0,))
    landed.settle()
    before = path.stat()
    other = path.with_name("other")
    other.write_bytes(path.read_bytes().replace(b"north", b"south"))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    landed.look()
    assert landed.look(5).said == ["landing/visits_2024-01-01.csv holds other bytes than before (delivery 2, now 3)."]


def test_a_file_that_was_cut_at_a_row_s_end_is_taken_in_twice(landed: Landed) -> None:
    (path,) = deliver_days(landed.landing.parent, (0,))
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:20]))
    landed.settle()
    path.write_bytes(whole)
    assert landed.settle().touched == {"visits": {"2024-01-01"}}
    assert landed.names().count(path.name) == 2


def test_the_same_bytes_once_more_are_told(landed: Landed) -> None:
    deliver_days(landed.landing.parent, (0,))
    landed.settle()
    (landed.landing / "visits_2024-01-02.csv").write_bytes((landed.landing / "visits_2024-01-01.csv").read_bytes())
    assert landed.settle().said == [
        (
            "landing/visits_2024-01-02.csv holds the same bytes as landing/visits_2024-01-01.csv, which came first "
            "(delivery 2): it adds nothing."
        )
    ]
    deliver_days(landed.landing.parent, (0,))  # the same file, with another time
    landed.settle()
    assert len(landed.delivered()) == 3


@pytest.mark.parametrize("damage", [None, "", "not json", "[]"])
def test_a_memory_that_was_lost_loses_and_doubles_nothing(landed: Landed, damage: str | None) -> None:
    deliver_days(landed.landing.parent, (0, 1))
    landed.settle()
    if damage is None:
        landed.memory.unlink()
    else:
        landed.memory.write_text(damage)
    found = landed.settle()
    assert found.touched == {"visits": {"2024-01-01", "2024-01-02"}, "shops": {"all"}}
    assert len(landed.delivered()) == 3


def test_what_another_store_took_in_is_not_believed(landed: Landed) -> None:
    deliver_days(landed.landing.parent, (0,))
    landed.settle()
    landed.place = landed.place.with_name("another-store")
    landed.settle()
    assert len(landed.delivered()) == 2


def test_only_regular_files_are_taken_in(landed: Landed) -> None:
    deliver_days(landed.landing.parent, (0,))
    inside = landed.landing
    (inside / "visits_2024-01-02.csv").mkdir()
    (inside / "visits_2024-01-03.csv").symlink_to("/etc/passwd")
    os.mkfifo(inside / "visits_2024-01-04.csv")
    (inside / ".visits_2024-01-05.csv").write_text("hidden")
    (inside / "visits_2024-01-06.csv.tmp").write_text("half")
    (inside / "Thumbs.db").write_text("a picture")
    (inside / "visits_2024-02-30.csv").write_text("a day that never was")
    found = landed.settle()
    assert found.entered == 2
    assert found.ignored == [
        "'landing/Thumbs.db' is passed over: no source's pattern matches it.",
        "'landing/visits_2024-01-02.csv' is passed over: it is no regular file.",
        "'landing/visits_2024-01-03.csv' is passed over: it is no regular file.",
        "'landing/visits_2024-01-04.csv' is passed over: it is no regular file.",
        "'landing/visits_2024-01-06.csv.tmp' is passed over: no source's pattern matches it.",
        (
            "'landing/visits_2024-02-30.csv' is not taken in: '2024-02-30' does not exist in the calendar; write it "
            "like 2013-03-09."
        ),
    ]


@pytest.mark.parametrize(
    "name", ["a b", "x\ny", 'it\'s "so"', "ünïcode", "😀", "-rf", "UPPER", "..", "e" * 100, "a;b&c|d$(e)`f`"]
)
def test_any_name_of_a_batch_is_only_a_name(tmp_path: Path, name: str) -> None:
    landed = Landed(write_contract(tmp_path, cadence="named"))
    (path,) = deliver_named(landed.landing.parent, ["plain"])
    path.rename(path.with_name(f"visits_{name}.csv"))
    found = landed.settle()
    if name == "x\ny":
        assert [repr(name)[1:-1] in sentence for sentence in found.ignored] == [True]
        assert len(landed.delivered()) == 1
    else:
        assert found.touched["visits"] == {name}
    assert sorted(each.name for each in tmp_path.iterdir()) == ["inbox.json", "store", "visits"]


def test_a_name_that_no_file_of_the_store_can_bear_is_told(tmp_path: Path) -> None:
    landed = Landed(write_contract(tmp_path, cadence="named"))
    (path,) = deliver_named(landed.landing.parent, ["plain"])
    path.rename(path.with_name(f"visits_{'e' * 230}.csv"))
    (ignored,) = landed.settle().ignored
    assert ignored.endswith("is longer than 180 bytes; shorten the batch's name.")


def test_a_name_that_is_written_in_another_way_of_unicode_is_no_second_batch(tmp_path: Path) -> None:
    landed = Landed(write_contract(tmp_path, cadence="named"))
    (path,) = deliver_named(landed.landing.parent, [unicodedata.normalize("NFC", "é")])
    path.with_name(unicodedata.normalize("NFD", path.name)).write_bytes(path.read_bytes())
    found = landed.settle()
    assert found.touched["visits"] == {unicodedata.normalize("NFC", "é")}
    assert found.ignored[0].endswith("is not in Unicode's composed form (NFC); write an accented letter as one.")


def test_a_file_that_goes_away_while_it_is_taken_in_is_passed_over(
    landed: Landed, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver_days(landed.landing.parent, (0,))
    really = enter

    def vanishing(*words: Any, **more: Any) -> Any:
        (landed.landing / "visits_2024-01-01.csv").unlink(missing_ok=True)
        return really(*words, **more)

    landed.look()
    monkeypatch.setattr(arrivals, "enter", vanishing)
    found = landed.look(5)
    assert (found.entered, found.waiting) == (1, [])
    assert landed.names() == ["shops.csv"]


def test_a_file_that_changes_while_it_is_taken_in_is_looked_at_again(
    landed: Landed, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = deliver_days(landed.landing.parent, (0,))
    really = Ledger.keep

    def growing(ledger: Ledger, source: str, place: str, data: Path) -> Blob:
        blob = really(ledger, source, place, data)
        if data == path:
            with path.open("a") as file:
                file.write("more")
        return blob

    landed.look()
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "keep", growing)
        found = landed.look(5)
    assert found.said == ["landing/visits_2024-01-01.csv changed while it was read; it is looked at again."]
    assert landed.names() == ["shops.csv"]
    landed.settle()
    assert landed.names() == ["shops.csv", path.name]


def test_a_look_ends_before_it_has_taken_too_much(landed: Landed, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver_days(landed.landing.parent, range(9))
    monkeypatch.setattr(arrivals, "FILES_A_LOOK", 4)
    found = landed.settle()
    assert (found.entered, found.more) == (4, True)
    assert "the next look goes on" in found.sentences[0]
    assert landed.look().entered == 4
    assert (landed.look().entered, landed.look().more) == (2, False)


def test_with_a_marker_a_file_is_complete_when_the_marker_is_there(tmp_path: Path) -> None:
    landed = Landed(write_contract(tmp_path), marker="{file}.done")
    (path,) = deliver_days(landed.landing.parent, (0,))
    assert landed.look(60).waiting == [
        f"landing/{name} waits: its marker {name}.done is not there." for name in ("shops.csv", path.name)
    ]
    marker = path.with_name(f"{path.name}.done")
    marker.touch()
    assert landed.look().entered == 1
    path.write_bytes(path.read_bytes() + b"\n")
    sha256 = hashlib.sha256(b"other").hexdigest()
    marker.write_text(f"{sha256}  {path.name}\n")
    assert landed.look().waiting[-1] == (
        f"landing/{path.name} waits: its marker {marker.name} names another sha256; deliver the file or the marker "
        f"again."
    )
    marker.write_text(hashlib.sha256(path.read_bytes()).hexdigest())
    assert landed.look().entered == 1


def test_a_clock_that_is_set_back_only_delays(landed: Landed) -> None:
    deliver_days(landed.landing.parent, (0,))
    landed.look()
    assert landed.look(-86_400).entered == 0
    assert landed.look(5).entered == 2


def test_a_file_whose_rows_belong_to_no_batch_is_told_and_kept(tmp_path: Path) -> None:
    folder = write_contract(tmp_path, **{"visits_{batch}.csv": "visits_*.csv"})
    landed = Landed(folder)
    deliver_days(folder, (0, 2))
    (landed.landing / "visits_x.csv").write_text("visit,day,shop,minutes,pages,paid\nv1,someday,north,1,1,0\n")
    found = landed.settle()
    assert found.entered == 4
    assert found.touched == {"visits": {"2024-01-01", "2024-01-03"}, "shops": {"all"}}
    assert "none of its 1 rows has an event time (day)" in found.said[0]


def test_bytes_that_were_erased_are_refused_once_and_not_read_at_every_look(landed: Landed) -> None:
    deliver_days(landed.landing.parent, (0, 1))
    for other in landed.landing.glob("*.csv"):
        if "visits" not in other.name or "2024-01-02" in other.name:
            other.unlink()
    (file,) = landed.landing.glob("*.csv")
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    stone = {"format": 1, "purge": "7", "when": "2026-01-01", "basis": "", "rows": 1, "replacement": None}
    Store.open(landed.place).backend.create(tombstone_path(f"sha256-{sha256}"), canonical_json(stone))
    refused = landed.settle()
    assert (refused.entered, refused.touched) == (0, {})
    assert "was erased on 2026-01-01 by purge 7" in refused.said[0]
    assert landed.look(5).said == []
    file.write_bytes(file.read_bytes() + b"\n")
    assert landed.settle().entered == 1
