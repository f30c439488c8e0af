"""Published tags are Delta versions that every reader reads the same; what cannot be published is refused whole."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from mlops_assets.errors import CorruptError, NotStoredError, StoreError
from mlops_assets.store.delta import Published, TableFile, publish, published, published_paths
from mlops_assets.store.files import write_file
from mlops_assets.store.names import asset_path, segment, version_name
from mlops_assets.store.values import prepare
from mlops_assets_tests.environments import tool

WHEN = "2026-03-01T12:00:00+01:00"
AWKWARD = ("2013-01", "007", "a/b", "..", "München", "a=b%c", "a%2Fb", "con", "x y'z", "line\u2028end")

Rows = list[dict[str, Any]]
Read = Callable[[Path, int], Rows]


@dataclass(frozen=True)
class Asset:
    """The folder of one asset, and files written into it as the store writes them."""

    root: Path

    def put(self, batch: str, table: pa.Table) -> TableFile:
        prepared = prepare("table", table)
        path = f"p={segment(batch)}/{version_name(prepared.version)}.parquet"
        written = write_file(self.root / path, prepared.content)
        assert prepared.rows is not None
        return TableFile(batch, path, written.size, prepared.rows, prepared.schema)

    def state(self, tables: Mapping[str, pa.Table]) -> list[TableFile]:
        return [self.put(batch, table) for batch, table in tables.items()]

    def log(self) -> dict[str, bytes]:
        folder = self.root / "_delta_log"
        return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


@pytest.fixture
def asset(tmp_path: Path) -> Asset:
    return Asset(tmp_path / "store" / "data" / asset_path("flights/raw/weather"))


def rows(tables: Mapping[str, pa.Table], columns: list[str] | None = None) -> Rows:
    """What a reader must find: every batch's rows, its name in ``p``, null for what the batch does not have."""
    names = columns or list(dict.fromkeys(name for table in tables.values() for name in table.column_names))
    return by_id(
        [
            {**dict.fromkeys(names), **row, "p": batch}
            for batch, table in tables.items()
            for row in table.to_pylist()
        ]
    )  # fmt: skip


def by_id(found: Rows) -> Rows:
    return sorted(found, key=lambda row: (row["p"], row["id"]))


def by_deltalake(root: Path, version: int) -> Rows:
    return by_id(DeltaTable(root, version).to_pyarrow_table().to_pylist())


def by_polars(root: Path, version: int) -> Rows:
    return by_id(pl.scan_delta(str(root), version=version).collect().to_arrow().to_pylist())


DUCKDB = """
import sys
import duckdb, duckdb_extensions
import pyarrow as pa
root, version, out = sys.argv[1:]
connection = duckdb.connect()
duckdb_extensions.import_extension("delta", con=connection)
connection.execute("SET TimeZone = 'UTC'")
found = connection.execute(f"SELECT * FROM delta_scan(?, version = {int(version)})", [root])
with pa.OSFile(out, "wb") as file:
    table = found.to_arrow_table()
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
"""


def by_duckdb(root: Path, version: int) -> Rows:
    out = root.parent / "found.arrow"
    words: list[str | Path] = [tool("duckdb"), "-I", "-c", DUCKDB, root, str(version), out]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with pa.ipc.open_file(out) as file:
        return by_id(file.read_all().to_pylist())


READERS = [
    pytest.param(by_deltalake, id="deltalake"),
    pytest.param(by_polars, id="polars"),
    pytest.param(by_duckdb, id="duckdb", marks=pytest.mark.slow),
]


def numbers(first: int, count: int = 2, **more: Any) -> pa.Table:
    ids = list(range(first, first + count))
    return pa.table({"id": ids, "word": [f"w{number}" for number in ids], **more})


V1 = {batch: numbers(place * 10) for place, batch in enumerate(AWKWARD)}
V2 = {**V1, "2013-02": numbers(500, delay=pa.array([1.5, None]), at=pa.array([0, 1], pa.timestamp("us")))}
V3 = {batch: table for batch, table in V2.items() if batch not in {"007", ".."}} | {"a/b": numbers(900, 3)}


@pytest.mark.parametrize("read", READERS)
def test_each_tag_is_read_as_it_was(asset: Asset, read: Read) -> None:
    """Three tags: the first, one with a new batch and new columns, one with a changed batch and two that are gone."""
    first = publish(asset.root, asset.state(V1), "model-1.0.0", when=WHEN)
    second = publish(asset.root, asset.state(V2), "model-1.1.0", when=WHEN)
    third = publish(asset.root, asset.state(V3), "model-1.1.1", when=WHEN)
    assert first == Published("model-1.0.0", 0, 10, 0, 0, ("id", "word"))
    assert second == Published("model-1.1.0", 2, 1, 0, 10, ("delay", "at"))
    assert third == Published("model-1.1.1", 3, 1, 3, 8)
    assert published(asset.root) == {"model-1.0.0": 0, "model-1.1.0": 2, "model-1.1.1": 3}
    assert read(asset.root, 0) == rows(V1)
    assert read(asset.root, 2) == rows(V2)
    assert read(asset.root, 3) == rows(V3)


def test_polars_filters_by_batch(asset: Asset) -> None:
    publish(asset.root, asset.state(V1), "v1", when=WHEN)
    for batch in AWKWARD:
        found = pl.scan_delta(str(asset.root)).filter(pl.col("p") == batch).collect().to_arrow().to_pylist()
        assert by_id(found) == rows({batch: V1[batch]})


def test_every_data_file_of_every_version_is_named(asset: Asset) -> None:
    states = [asset.state(tables) for tables in (V1, V2, V3)]
    for number, files in enumerate(states):
        publish(asset.root, files, f"v{number}", when=WHEN)
    named = {file.path for files in states for file in files}
    asset.put("007", numbers(7000))
    assert published_paths(asset.root) == named
    assert all((asset.root / path).exists() for path in named)
    assert published_paths(asset.root / "nowhere") == set()
    assert published(asset.root / "nowhere") == {}


def test_neither_vacuum_nor_a_checkpoint_takes_a_tag_away(asset: Asset) -> None:
    for number, tables in enumerate((V1, V2, V3)):
        publish(asset.root, asset.state(tables), f"v{number}", when=WHEN)
    table = DeltaTable(asset.root)
    assert table.vacuum(dry_run=False) == []
    assert table.vacuum(dry_run=False, full=True) == []
    table.create_checkpoint()
    table.cleanup_metadata()
    named = published_paths(asset.root)
    assert published(asset.root) == {"v0": 0, "v1": 2, "v2": 3}
    assert by_polars(asset.root, 0) == rows(V1)
    publish(asset.root, asset.state(V1), "back", when=WHEN)
    assert by_polars(asset.root, 4) == rows(V1, ["id", "word", "delay", "at"])
    for number in range(4):
        (asset.root / "_delta_log" / f"{number:020d}.json").unlink()
    assert published(asset.root) == {"back": 4}
    gone = {file.path for file in asset.state(V1)} - {file.path for file in asset.state(V3)}
    assert published_paths(asset.root) >= named - gone


@pytest.mark.slow
def test_a_hundred_tags_are_found_past_the_checkpoint_that_deltalake_makes(asset: Asset) -> None:
    states = [asset.state({"a": numbers(number), "b": numbers(0)}) for number in range(105)]
    for number, files in enumerate(states):
        assert publish(asset.root, files, f"v{number}", when=WHEN).version == number
    assert (asset.root / "_delta_log" / "_last_checkpoint").exists()
    assert list(published(asset.root)) == [f"v{number}" for number in range(105)]
    assert by_deltalake(asset.root, 3) == rows({"a": numbers(3), "b": numbers(0)})
    assert by_polars(asset.root, 104) == rows({"a": numbers(104), "b": numbers(0)})


def test_the_log_holds_no_values_of_rows(asset: Asset) -> None:
    secret = pa.table({"id": [1], "name": ["Käthe Kollwitz"], "income": [918273645]})
    publish(asset.root, asset.state({"a": secret}), "v1", when=WHEN)
    DeltaTable(asset.root).create_checkpoint()
    log = b"".join(asset.log().values())
    assert b"Kollwitz" not in log
    assert b"918273645" not in log
    adds = [json.loads(line)["add"] for line in asset.log()[f"{0:020d}.json"].splitlines() if b'"add"' in line]
    assert [json.loads(add["stats"]) for add in adds] == [{"numRecords": 1}]


# Again, dry, and cut off


def test_the_same_tag_again_changes_nothing(asset: Asset) -> None:
    publish(asset.root, asset.state(V1), "v1", when=WHEN)
    publish(asset.root, asset.state(V2), "v2", when=WHEN)
    log = asset.log()
    for dry in (False, True):
        assert publish(asset.root, asset.state(V1), "v1", when=WHEN, dry=dry) == Published("v1", 0, 0, 0, 10)
    assert asset.log() == log


def test_a_tag_with_the_files_of_the_last_one_is_a_version_of_its_own(asset: Asset) -> None:
    publish(asset.root, asset.state(V1), "v1", when=WHEN)
    assert publish(asset.root, asset.state(V1), "v1-approved", when=WHEN) == Published("v1-approved", 1, 0, 0, 10)
    assert by_polars(asset.root, 1) == rows(V1)


def test_a_published_tag_never_changes(asset: Asset) -> None:
    publish(asset.root, asset.state(V1), "v1", when=WHEN)
    log = asset.log()
    with pytest.raises(StoreError, match=r"Tag 'v1' is published already in .*, as version 0, with") as told:
        publish(asset.root, asset.state(V3), "v1", when=WHEN)
    assert "(of batches '..', '007', '2013-02' and 1 more)" in str(told.value)
    assert "publish under a new tag" in str(told.value)
    assert asset.log() == log


def test_dry_says_what_would_be_done(asset: Asset) -> None:
    narrow = {"a": pa.table({"id": pa.array([1], pa.int32())})}
    assert publish(asset.root, asset.state(narrow), "v1", when=WHEN, dry=True) == Published("v1", 0, 1, 0, 0, ("id",))
    assert asset.log() == {}
    publish(asset.root, asset.state(narrow), "v1", when=WHEN)
    log = asset.log()
    would = publish(asset.root, asset.state({"b": numbers(1)}), "v2", when=WHEN, dry=True)
    assert would == Published("v2", 3, 1, 1, 0, ("word",))
    assert asset.log() == log
    assert publish(asset.root, asset.state({"b": numbers(1)}), "v2", when=WHEN) == would


CUT_OFF = """
import os, signal, sys
from ast import literal_eval
from pathlib import Path
from mlops_assets.store.delta import TableFile, publish

root, files, place = sys.argv[1:]
calls = 0

def die(frame, event, _):
    global calls
    if event == "return" and frame.f_code.co_name in ("add_columns", "create_write_transaction"):
        calls += 1
        if calls == int(place):
            os.kill(os.getpid(), signal.SIGKILL)

sys.setprofile(die)
publish(Path(root), [TableFile(*file) for file in literal_eval(files)], "v2", when="2026-03-01T12:00:00+01:00")
"""


@pytest.mark.parametrize(("place", "versions"), [(1, 1), (2, 2), (3, 3)])
def test_a_publication_that_was_killed_is_finished_by_the_next(asset: Asset, place: int, versions: int) -> None:
    """Killed after the new columns, after the wider type, and after the transaction itself."""
    before = {"a": pa.table({"id": pa.array([1, 2], pa.int32())}), "b": pa.table({"id": pa.array([3], pa.int32())})}
    after = {"a": before["a"], "c": numbers(2**40)}
    publish(asset.root, asset.state(before), "v1", when=WHEN)
    files = [(file.batch, file.path, file.size, file.rows, file.schema) for file in asset.state(after)]
    words: list[str | Path] = [sys.executable, "-c", CUT_OFF, asset.root, repr(files), str(place)]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    assert DeltaTable(asset.root).version() == versions
    assert published(asset.root) == ({"v1": 0} if place < 3 else {"v1": 0, "v2": 3})
    assert by_polars(asset.root, versions) == rows(before if place < 3 else after, ["id", "word"])
    again = publish(asset.root, asset.state(after), "v2", when=WHEN)
    assert (again.version, again.kept) == (3, 1 if place < 3 else 2)
    assert by_polars(asset.root, 0) == by_deltalake(asset.root, 0) == rows(before)
    assert by_polars(asset.root, 3) == by_deltalake(asset.root, 3) == rows(after)
    assert DeltaTable(asset.root).version() == 3


def test_tags_published_at_the_same_time_hold_their_own_files_only(asset: Asset) -> None:
    states = {f"v{number}": {"all": numbers(0), f"b{number}": numbers(number)} for number in range(8)}
    written = {tag: asset.state(tables) for tag, tables in states.items()}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda tag: publish(asset.root, written[tag], tag, when=WHEN), written))
    versions = published(asset.root)
    assert sorted(versions.values()) == list(range(8))
    for tag, tables in states.items():
        assert by_deltalake(asset.root, versions[tag]) == rows(tables)


# Types


TYPES = {
    "id": pa.array([1, 2]),
    "a.b": pa.array([1.5, None]),
    "arr delay, (min)": pa.array([1, None], pa.int8()),
    "ü": pa.array([-(2**15), None], pa.int16()),
    "flag": pa.array([True, None]),
    "f32": pa.array([0.1, None], pa.float32()),
    "day": pa.array([date(2013, 1, 1), None]),
    "ms": pa.array([datetime(2013, 1, 1, 5, 0, 0, 7000), None], pa.timestamp("ms")),  # noqa: DTZ001
    "s": pa.array([datetime(1913, 1, 1, 5), None], pa.timestamp("s")),  # noqa: DTZ001
    "zone": pa.array([datetime(2013, 7, 1, 5, tzinfo=UTC), None], pa.timestamp("us", "Europe/Berlin")),
    "offset": pa.array([datetime(2013, 7, 1, tzinfo=timezone(timedelta(hours=2))), None], pa.timestamp("ms", "+02:00")),
    "money": pa.array([Decimal("1.23"), None], pa.decimal128(10, 2)),
    "wide": pa.array([Decimal("1.23"), None], pa.decimal256(38, 2)),
    "bytes": pa.array([b"\x00a", None]),
    "two": pa.array([b"\x00a", None], pa.binary(2)),
    "list": pa.array([[1, None], None]),
    "texts": pa.array([["a"], []], pa.large_list(pa.large_string())),
    "pair": pa.array([{"x": 1, "y": ["z"]}, None]),
    "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
}


@pytest.mark.parametrize("read", READERS)
def test_types_that_delta_can_express_are_read_as_they_are(asset: Asset, read: Read) -> None:
    tables = {"a": pa.table(TYPES), "b": numbers(7)}
    publish(asset.root, asset.state(tables), "v1", when=WHEN)
    assert read(asset.root, 0) == rows(tables)
    # and as columns that come later
    other = Asset(asset.root.parent / "other")
    publish(other.root, other.state({"b": tables["b"]}), "v1", when=WHEN)
    second = publish(other.root, other.state(tables), "v2", when=WHEN)
    assert read(other.root, second.version) == rows(tables)


@pytest.mark.parametrize("read", READERS)
def test_a_narrower_number_is_read_as_the_wider_one(asset: Asset, read: Read) -> None:
    def narrow(integer: pa.DataType, float_: pa.DataType) -> pa.Table:
        return pa.table({"id": pa.array([1, 2], integer), "x": pa.array([0.1, None], float_)})

    v1 = {"a": narrow(pa.int8(), pa.float32()), "b": narrow(pa.int16(), pa.float32())}
    v2 = {**v1, "c": pa.table({"id": [2**40], "x": [0.1]}), "d": narrow(pa.int32(), pa.float64())}
    v3 = {"a": narrow(pa.int32(), pa.float32())}
    publish(asset.root, asset.state(v1), "v1", when=WHEN)
    assert publish(asset.root, asset.state(v2), "v2", when=WHEN).version == 2
    assert publish(asset.root, asset.state(v3), "v3", when=WHEN).version == 3
    assert [read(asset.root, version) for version in (0, 2, 3)] == [rows(v1), rows(v2), rows(v3)]
    types = [DeltaTable(asset.root, version).schema().to_json().count('"long"') for version in (0, 2, 3)]
    assert types == [0, 1, 1]


@pytest.mark.parametrize(
    ("column", "hint"),
    [
        (pa.array([1], pa.uint8()), "uint8, .* a signed integer that is wide enough"),
        (pa.array([2**64 - 1], pa.uint64()), "uint64, .* a signed integer that is wide enough"),
        (pa.array([1], pa.time32("ms")), r"time32\[ms\], .* cast it to a number, or a time of day to text"),
        (pa.array([1], pa.duration("us")), r"duration\[us\], .* cast it to a number, or a time of day to text"),
        (pa.array([1], pa.timestamp("ns")), r"timestamp\[ns\], .* cast it to microseconds"),
        (pa.array([1.5], pa.float16()), "halffloat, .* cast it to a plain type"),
        (pa.nulls(1), "null, .* cast it to the type it would have if it had values"),
        (pa.array([Decimal(1)], pa.decimal256(50, 2)), r"decimal256\(50, 2\), .* cast it to a plain type"),
        (pa.array([[1, 2]], pa.list_(pa.int64(), 2)), "fixed_size_list.* cast it to a plain type"),
        (pa.array([[1]], pa.list_(pa.uint32())), "list<element: uint32>, .* cast it to a plain type"),
        (pa.array([{"x": 1, "X": 2}]), "struct<x: int64, X: int64>, .* cast it to a plain type"),
    ],
)  # fmt: skip
def test_types_that_delta_cannot_express_are_refused(asset: Asset, column: pa.Array, hint: str) -> None:
    files = asset.state({"ok": numbers(1), "März": pa.table({"id": [1], "odd": column})})
    with pytest.raises(StoreError, match=rf"Column 'odd' of batch 'März' holds {hint}\.$") as told:
        publish(asset.root, files, "v1", when=WHEN)
    assert "which a Delta table cannot express" in str(told.value)
    assert asset.log() == {}


def test_a_dictionary_is_refused(asset: Asset) -> None:
    """The store decodes them; a file that was put there by hand may hold one."""
    table = pa.table({"id": ["a"]}, pa.schema([("id", pa.dictionary(pa.int32(), pa.string()))]))
    path = asset.root / "p=a" / "b3-0.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(table, path)
    file = TableFile("a", "p=a/b3-0.parquet", path.stat().st_size, 1, (("id", str(table.schema.types[0])),))
    with pytest.raises(StoreError, match=r"Column 'id' of batch 'a' holds dictionary.* cast it to the type of"):
        publish(asset.root, [file], "v1", when=WHEN)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([1]), pa.array(["1"])),
        (pa.array([1], pa.int32()), pa.array([1.0])),
        (pa.array([1], pa.date32()), pa.array([1], pa.timestamp("us"))),
        (pa.array([1], pa.timestamp("us")), pa.array([1], pa.timestamp("us", "UTC"))),
        (pa.array([{"x": 1}]), pa.array([{"x": 1, "y": 2}])),
    ],
)
def test_another_change_of_type_is_refused_whole(asset: Asset, one: pa.Array, other: pa.Array) -> None:
    mixed = {
        "a": pa.table({"id": [1], "x": one}),
        "b": pa.table({"id": [1], "x": other}),
        "c": pa.table({"id": [2], "x": other}),
    }
    with pytest.raises(StoreError) as told:
        publish(asset.root, asset.state(mixed), "v1", when=WHEN)
    assert f"Column 'x' holds {one.type} in batch 'a' and {other.type} in batches 'b', 'c', and a" in str(told.value)
    assert asset.log() == {}
    publish(asset.root, asset.state({"a": mixed["a"]}), "v1", when=WHEN)
    log = asset.log()
    changed = {"b": pa.table({"id": [1], "x": other, "new": [1]})}
    with pytest.raises(StoreError, match=r"in the tags published before and .* in batch 'b', and a column of a Delta"):
        publish(asset.root, asset.state(changed), "v2", when=WHEN)
    assert asset.log() == log, "not even the new column"


def test_every_column_that_cannot_be_published_has_its_sentence(asset: Asset) -> None:
    table = pa.table({"P": [1], "a": [1], "A": [2], "t": pa.array([1], pa.time64("us"))})
    with pytest.raises(StoreError) as told:
        publish(asset.root, asset.state({"x": table}), "v1", when=WHEN)
    assert [sentence.partition(" was not published: ")[2] for sentence in told.value.sentences[:3]] == [
        "Column 'P' has the name of the column that says the batch in the Delta table; rename it.",
        "Columns 'a' and 'A' are the same to a Delta table, which ignores case; rename one.",
        "Columns 'A' and 'a' are the same to a Delta table, which ignores case; rename one.",
    ]
    assert "Column 't' of batch 'x' holds time64[us]" in told.value.sentences[3]


# What else is refused


def test_files_that_are_missing_or_torn_are_refused(asset: Asset) -> None:
    files = asset.state({"a": numbers(1), "b": numbers(2)})
    path = asset.root / files[1].path
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(CorruptError, match=f"has {len(content) - 1} bytes where {len(content)} were written"):
        publish(asset.root, files, "v1", when=WHEN)
    path.unlink()
    with pytest.raises(NotStoredError, match="is not in this copy of the store; fetch batch 'b' first"):
        publish(asset.root, files, "v1", when=WHEN)
    first = asset.root / files[0].path
    first.write_bytes(bytes(first.stat().st_size))
    with pytest.raises(CorruptError, match=r"is damaged: .* Restore it from another copy of the store"):
        publish(asset.root, files[:1], "v1", when=WHEN)
    assert asset.log() == {}
    other = replace(asset.put("c", numbers(3)), schema=(("id", "int64"),))
    with pytest.raises(CorruptError, match="has other columns than its manifest says"):
        publish(asset.root, [other], "v1", when=WHEN)


def test_a_tag_without_batches_is_refused(asset: Asset) -> None:
    with pytest.raises(StoreError, match=r"Tag 'v1' holds no batch of the asset in .*, and a Delta table needs"):
        publish(asset.root, [], "v1", when=WHEN)


def test_callers_mistakes_are_no_sentences(asset: Asset) -> None:
    file = asset.put("a", numbers(1))
    with pytest.raises(ValueError, match="does not lie in the folder of batch 'b'"):
        publish(asset.root, [replace(file, batch="b")], "v1", when=WHEN)
    with pytest.raises(ValueError, match="batch 'a' is given twice"):
        publish(asset.root, [file, file], "v1", when=WHEN)
    with pytest.raises(ValueError, match="has no time zone"):
        publish(asset.root, [file], "v1", when="2026-03-01T12:00:00")
    with pytest.raises(ValueError, match="a tag needs a name"):
        publish(asset.root, [file], "", when=WHEN)


@pytest.mark.parametrize("folder", ["my store", "Ablage für a=b", "100%"])
def test_deltalake_reads_where_polars_does_not(tmp_path: Path, folder: str) -> None:
    asset = Asset(tmp_path / folder)
    publish(asset.root, asset.state(V1), "v1", when=WHEN)
    assert by_deltalake(asset.root, 0) == rows(V1)
    with pytest.raises((OSError, pl.exceptions.PolarsError)):
        by_polars(asset.root, 0)


def test_a_folder_whose_name_readers_would_decode_is_refused(tmp_path: Path) -> None:
    asset = Asset(tmp_path / asset_path("Flüge/raw/weather"))
    with pytest.raises(StoreError, match=r"cannot lie in .*: its readers take %XX in that path for .* ASCII"):
        publish(asset.root, asset.state(V1), "v1", when=WHEN)
    assert asset.log() == {}


def test_somebody_elses_table_is_left_alone(asset: Asset) -> None:
    write_deltalake(asset.root, numbers(1))
    log = asset.log()
    with pytest.raises(StoreError, match="holds a Delta table that was not published from this store; move its"):
        publish(asset.root, asset.state(V1), "v1", when=WHEN)
    assert asset.log() == log


@pytest.mark.parametrize("content", [b"", b"{", b'{"commitInfo":{"mlops_assets.tag":"v1"}}\n{"add":{"pa'])
def test_a_damaged_log_is_said_and_can_be_made_anew(asset: Asset, content: bytes) -> None:
    files = asset.state(V1)
    publish(asset.root, files, "v1", when=WHEN)
    publish(asset.root, files, "v2", when=WHEN)
    (asset.root / "_delta_log" / f"{1:020d}.json").write_bytes(content)
    for ask in (published, published_paths):
        with pytest.raises(CorruptError, match=r"\.json is damaged: .*\. Move the folder _delta_log away and publish"):
            ask(asset.root)
    with pytest.raises(CorruptError, match=r"is damaged: .* Move the folder _delta_log away and publish"):
        publish(asset.root, files, "v3", when=WHEN)
    shutil.rmtree(asset.root / "_delta_log")
    assert publish(asset.root, files, "v2", when=WHEN).version == 0


def test_a_folder_that_cannot_be_written_is_a_sentence(asset: Asset) -> None:
    files = asset.state(V1)
    (asset.root / "_delta_log").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match=r"could not be written: .* publish the tag again"):
        publish(asset.root, files, "v1", when=WHEN)


def test_without_deltalake_it_says_what_to_install(asset: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(asset.root, asset.state(V1), "v1", when=WHEN)
    monkeypatch.setitem(sys.modules, "deltalake", None)
    with pytest.raises(StoreError, match=r"not installed: pip install 'mlops_assets\[delta\]'\.$"):
        publish(asset.root, asset.state(V1), "v1", when=WHEN)
    assert published(asset.root) == {"v1": 0}
    assert len(published_paths(asset.root)) == len(AWKWARD)


def test_the_module_loads_without_heavy_libraries() -> None:
    text = "import sys, mlops_assets.store.delta; print({'deltalake', 'polars', 'pyarrow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
