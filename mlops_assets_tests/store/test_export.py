"""Plain files for people: what they hold, what they must not run, and which folders are refused."""

import csv
import json
import os
import signal
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_assets.errors import CorruptError, NotStoredError, PurgedError, StoreError
from mlops_assets.store import Store
from mlops_assets.store.digest import canonical_json
from mlops_assets.store.export import export
from mlops_assets.store.refs import view
from mlops_assets.store.snapshots import tag
from mlops_assets_tests.store.test_crash import die_at, in_child

CLEANED, MODEL, REPORT = "flights/cleaned", "flights/model", "flights/report"
TABLE = pa.table({"carrier": ["UA", None, ""], "delay": [1.5, None, -2.0], "n": [1, 2, 3]})


def filled(place: str | Path) -> Store:
    made = Store.open(place)
    made.commit("main", CLEANED, "2013-01", "table", TABLE)
    made.commit("main", CLEANED, "2013/02 é", "table", TABLE.slice(1))
    return made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return filled(tmp_path / "store")


def written(target: Path) -> list[str]:
    return sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())


def cells(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def only(store: Store, table: pa.Table, asset: str = "flights/odd") -> str:
    store.commit("main", asset, "x", "table", table)
    return asset


def test_csv_of_a_tag_and_what_it_was_made_from(store: Store, tmp_path: Path) -> None:
    made = tag(store, "v1", "flights", "main", git={"commit": "c0ffee", "dirty": True}, environment="e1", message="m")
    store.commit("main", CLEANED, "2013-01", "table", TABLE.slice(2))
    target = tmp_path / "out"
    done = export(store, view(store, "v1"), target)
    assert done.files == {
        CLEANED: {"2013-01": "flights/cleaned/2013-01.csv", "2013/02 é": "flights/cleaned/2013%2F02%20%C3%A9.csv"}
    }
    assert written(target) == sorted(["EXPORT.json", "README.txt", *done.files[CLEANED].values()])
    text = (target / "flights/cleaned/2013-01.csv").read_text()
    assert text == '"carrier","delay","n"\n"UA",1.5,1\n,,2\n"",-2,3\n'
    assert (done.count, done.removed, done.notes) == (2, 0, [])
    assert done.size == sum((target / path).stat().st_size for path in done.files[CLEANED].values())
    said = (target / "README.txt").read_text()
    assert said.startswith(f"Exported by mlops-assets from tag v1 of the store at {store.root}, at 20")
    assert f"Tag v1: m\nmade by {made.who} at {made.when} from branch main,\ngit commit c0ffee (with changes" in said
    assert "flights/cleaned: 2 files, 5 rows" in said
    listing = json.loads((target / "EXPORT.json").read_text())
    assert (listing["view"], listing["complete"]) == ("tag:v1", True)
    assert listing["versions"][0]["version"] == view(store, "v1").leaves(CLEANED)["2013-01"].version


@pytest.mark.parametrize("afar", [False, True])
def test_parquet_is_the_stored_bytes(store: Store, tmp_path: Path, afar: bool) -> None:
    if afar:
        store = filled(f"memory://{os.urandom(6).hex()}")
    done = export(store, view(store, "main"), tmp_path / "out", "parquet", batches=["2013-01"])
    (path,) = done.files[CLEANED].values()
    manifest = view(store, "main").manifest(CLEANED, "2013-01")
    assert (tmp_path / "out" / path).read_bytes() == store.path(manifest).read_bytes()
    assert pq.read_table(tmp_path / "out" / path).equals(TABLE)


def test_json_has_a_row_a_line(store: Store, tmp_path: Path) -> None:
    table = pa.table(
        {
            "when": pa.array([datetime(2013, 1, 1, 5, tzinfo=UTC)], pa.timestamp("us", "UTC")),
            "day": [date(2013, 1, 1)],
            "price": pa.array([Decimal("1.50")], pa.decimal128(8, 2)),
            "raw": [b"\xff"],
            "parts": pa.array([[1.5, float("nan")]]),
            "place": [{"name": "Zürich"}],
            "nan": [float("inf")],
        }
    )
    asset = only(store, table)
    done = export(store, view(store, "main"), tmp_path / "out", "json", assets=[asset])
    (line,) = (tmp_path / "out" / done.files[asset]["x"]).read_text().splitlines()
    assert json.loads(line) == {
        "when": "2013-01-01T05:00:00+00:00",
        "day": "2013-01-01",
        "price": "1.50",
        "raw": "/w==",
        "parts": [1.5, None],
        "place": {"name": "Zürich"},
        "nan": None,
    }
    assert "Zürich" in line
    assert done.notes == ["JSON cannot say 2 numbers (NaN, infinity): null stands there."]


def test_csv_of_everything_a_table_can_hold(store: Store, tmp_path: Path) -> None:
    table = pa.table(
        {
            "half": pa.array([1.5], pa.float16()),
            "when": pa.array([datetime(2013, 1, 1, 5, tzinfo=UTC)], pa.timestamp("ns", "UTC")),
            "price": pa.array([Decimal("1.50")], pa.decimal128(8, 2)),
            "raw": [b"\xff"],
            "parts": pa.array([[1, 2]]),
            "place": [{"day": date(2013, 1, 1)}],
            "none": pa.nulls(1),
        }
    )
    asset = only(store, table)
    done = export(store, view(store, "main"), tmp_path / "out", assets=[asset])
    assert cells(tmp_path / "out" / done.files[asset]["x"])[1] == [
        "1.5",
        "2013-01-01 05:00:00.000000000Z",
        "1.50",
        "/w==",
        "[1, 2]",
        '{"day": "2013-01-01"}',
        "",
    ]


def test_a_table_without_rows_or_columns(store: Store, tmp_path: Path) -> None:
    store.commit("main", "flights/odd", "a", "table", TABLE.slice(0, 0))
    store.commit("main", "flights/odd", "b", "table", pa.table({}))
    done = export(store, view(store, "main"), tmp_path / "out", assets=["flights/odd"])
    texts = [(tmp_path / "out" / path).read_text() for path in done.files["flights/odd"].values()]
    assert texts == ['"carrier","delay","n"\n', ""]


def test_text_that_a_spreadsheet_would_run(store: Store, tmp_path: Path) -> None:
    risky = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "a=b", None, ""]
    table = pa.table({"=cmd()": risky, "number": list(range(-4, 5))})
    asset = only(store, table)
    done = export(store, view(store, "main"), tmp_path / "safe", assets=[asset])
    rows = cells(tmp_path / "safe" / done.files[asset]["x"])
    assert rows[0] == ["'=cmd()", "number"]
    assert [row[0] for row in rows[1:]] == ["'=1+1", "'+1", "'-1", "'@x", "'\tx", "'\rx", "a=b", "", ""]
    assert [row[1] for row in rows[1:]] == [str(number) for number in range(-4, 5)], "numbers run nothing"
    assert len(done.notes) == 1
    assert done.notes[0].startswith(
        "An apostrophe (') was put before 7 text cells that a spreadsheet would run as a formula"
    )
    done = export(store, view(store, "main"), tmp_path / "plain", assets=[asset], formulas=True)
    rows = cells(tmp_path / "plain" / done.files[asset]["x"])
    assert [row[0] for row in rows] == ["=cmd()", *[text or "" for text in risky]]
    assert done.notes == []


def test_what_is_no_table_is_copied(store: Store, tmp_path: Path) -> None:
    store.commit("main", REPORT, "a", "json", {"auc": 0.7})
    store.commit("main", REPORT, "b", "bytes", b"<html>")
    store.commit("main", MODEL, "a", "estimator", {"a": [1]})
    done = export(store, view(store, "main"), tmp_path / "out", assets=[REPORT, MODEL])
    assert (tmp_path / "out/flights/report/a.json").read_text() == '{"auc":0.7}'
    assert (tmp_path / "out/flights/report/b.bin").read_bytes() == b"<html>"
    assert (tmp_path / "out/flights/model/a.skops").stat().st_size > 0
    assert done.notes == [
        "Not tables, 1 file *.bin: copied byte by byte.",
        "Not tables, 1 file *.skops: fitted models in skops' format; load them with skops.io.load.",
        "Not tables, 1 file *.json: copied as they are stored.",
    ]
    store.commit("main", REPORT, "c", "json", {"auc": 0.8})
    store.commit("main", MODEL, "b", "estimator", {"a": [2]})
    done = export(store, view(store, "main"), tmp_path / "more", assets=[REPORT, MODEL])
    assert done.notes[1:] == [
        "Not tables, 2 files *.skops: fitted models in skops' format; load them with skops.io.load.",
        "Not tables, 2 files *.json: copied as they are stored.",
    ]


def test_exporting_again_replaces_and_removes_what_is_its_own(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "out"
    export(store, view(store, "main"), target)
    (target / "mine.txt").write_text("x")
    done = export(store, view(store, "main"), target, "parquet", batches=["2013-01"])
    assert done.removed == 2
    assert written(target) == ["EXPORT.json", "README.txt", "flights/cleaned/2013-01.parquet", "mine.txt"]
    listing = json.loads((target / "EXPORT.json").read_text())
    (tmp_path / "precious").write_text("x")
    listing["files"] += ["../precious", str(tmp_path / "precious"), ""]
    (target / "EXPORT.json").write_text(json.dumps(listing))
    assert export(store, view(store, "main"), target).removed == 1
    assert (tmp_path / "precious").exists(), "a list that was edited removes nothing elsewhere"


def test_a_kill_at_any_operation_leaves_whole_files_that_are_taken_up(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    contents = {batch: f"<html>{batch}".encode() * 1000 for batch in ("a", "b")}
    for batch, content in contents.items():
        store.commit("main", REPORT, batch, "bytes", content)
    for number in range(1, 200):
        target = tmp_path / f"out-{number}"

        def work(number: int = number, target: Path = target) -> None:
            die_at(number)
            export(store, view(store, "main"), target)

        code = in_child(work)
        for batch, content in contents.items():
            path = target / f"flights/report/{batch}.bin"
            assert code or path.exists()
            assert not path.exists() or path.read_bytes() == content
        if code == 0:
            assert number > 20, "the hooks saw the work"
            break
        assert code == -signal.SIGKILL
        assert export(store, view(store, "main"), target).count == 2
        assert written(target) == ["EXPORT.json", "README.txt", "flights/report/a.bin", "flights/report/b.bin"]
        assert json.loads((target / "EXPORT.json").read_text())["complete"] is True


def test_folders_that_are_refused(store: Store, tmp_path: Path) -> None:
    shown = view(store, "main")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("x")
    with pytest.raises(StoreError, match=r"thesis is not empty and was not made by export \(it has no EXPORT\.json\)"):
        export(store, shown, tmp_path / "thesis")
    assert written(tmp_path / "thesis") == ["chapter.txt"]
    with pytest.raises(StoreError, match=r"chapter\.txt is a file; export into a folder\."):
        export(store, shown, tmp_path / "thesis" / "chapter.txt")
    with pytest.raises(StoreError, match=r"lies in the store at .*, where only the store may write"):
        export(store, shown, store.root / "exports")
    (tmp_path / "thesis" / "EXPORT.json").write_text('{"format": 2, "files": []}')
    with pytest.raises(StoreError, match=r"was made by a newer mlops_assets \(format 2\); name an empty or new folder"):
        export(store, shown, tmp_path / "thesis")


def test_what_cannot_be_exported(store: Store, tmp_path: Path) -> None:
    shown = view(store, "main")
    target = tmp_path / "out"
    with pytest.raises(NotStoredError, match=r"^branch main shows no asset 'flights/none'; there is: flights/cleaned"):
        export(store, shown, target, assets=["flights/none"])
    with pytest.raises(NotStoredError, match=r"^branch main shows no batch '2013-09' of what is exported\."):
        export(store, shown, target, batches=["2013-01", "2013-09"])
    with pytest.raises(NotStoredError, match=r"shows nothing that could be exported"):
        export(store, view(store, "@2000-01-01"), target)
    with pytest.raises(StoreError, match=r"^'xls' is no format to export; choose parquet, csv, json\."):
        export(store, shown, target, "xls")  # type: ignore[arg-type]
    manifest = shown.manifest(CLEANED, "2013/02 é")
    path = store.path(manifest)
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(CorruptError, match=r"^flights/cleaned\[2013/02 é\] version b3:\w+ is damaged"):
        export(store, shown, target)
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    with pytest.raises(CorruptError, match=r"^flights/cleaned\[2013/02 é\] version b3:\w+ is damaged"):
        export(store, shown, target, "parquet", batches=["2013/02 é"])
    path.unlink()
    stone = {"format": 1, "purge": "p-1", "when": "2026-01-01", "basis": "", "rows": 1, "replacement": None}
    store.backend.create(f"tombstones/{str(manifest.version).replace(':', '-')}.json", canonical_json(stone))
    with pytest.raises(PurgedError, match=r"was purged on 2026-01-01 by purge p-1"):
        export(store, shown, tmp_path / "other")
    assert not (tmp_path / "other").exists(), "every value is looked at before the first file"
