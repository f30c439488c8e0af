"""The file of the past: values without loss, one state for readers, and what is done about files that are not right."""

import math
import multiprocessing
import sqlite3
import struct
import threading
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlops_assets.contract.model import Contract, Window, Windows
from mlops_assets.errors import UserError
from mlops_assets.serving.past import (
    Ask,
    Held,
    Kept,
    Layout,
    NoPastError,
    Past,
    Reach,
    held_in,
    layout_of,
    remove,
    writing,
)
from mlops_assets.serving.values import described, to_rows, to_table
from mlops_assets.stages.online import remember
from mlops_assets.stages.windows import needed
from mlops_assets.store.files import Locks
from mlops_assets_tests.stages.build import at, column, contract, source

CAR = Reach(("car",), 100, 0)
LAYOUT = Layout({"car": "string", "paid": "float64"}, (CAR,))
ROWS = [(0, 10, "a", 1.0), (1, 20, "b", 2.0), (2, 30, "a", 3.0)]


def held(batch: str = "2024-01", version: str = "b3:1", **more: Any) -> Held:
    return Held(batch, version, None, 0, 10, 30)._replace(**more)


def written(path: Path, *batches: Held, rows: list[tuple[Any, ...]] = ROWS) -> Past:
    with writing(path, LAYOUT) as writer:
        for each in batches or (held(),):
            writer.put(each, rows)
    return Past(path, LAYOUT)


def found(past: Past, moment: int = 31, **more: Any) -> list[tuple[Any, ...]]:
    return past.rows([Ask(CAR, ("a",), moment, **more)])[0]


def test_rows_of_an_entity_before_a_moment(tmp_path: Path) -> None:
    past = written(tmp_path / "p.sqlite")
    assert found(past) == [("a", 1.0), ("a", 3.0)]
    assert found(past, 30) == [("a", 1.0)]  # a row of the same moment is no past
    assert found(past, 110) == [("a", 3.0)]  # as far back as the longest window, itself not reached
    assert past.rows([Ask(CAR, ("a",), 31), Ask(CAR, ("b",), 31), Ask(CAR, ("a",), 31)])[0] == [
        ("a", 1.0), ("b", 2.0), ("a", 3.0)
    ]  # fmt: skip
    assert found(past, 31) == [("a", 1.0), ("a", 3.0)]
    late = Past(tmp_path / "p.sqlite", Layout(LAYOUT.columns, (CAR._replace(soonest=5),)))
    assert late.rows([Ask(CAR._replace(soonest=5), ("a",), 34)])[0] == [("a", 1.0)]  # what nobody can know yet


def test_rows_of_some_batches_only(tmp_path: Path) -> None:
    past = written(tmp_path / "p.sqlite", held("2024-01"), held("2024-02"), held("2024-03"))
    assert len(found(past)) == 6
    assert len(found(past, first="2024-02")) == 4
    assert len(found(past, first="2024-02", last="2024-02")) == 2


def test_a_batch_takes_the_place_of_what_was_there_of_it_and_of_nothing_else(tmp_path: Path) -> None:
    past = written(tmp_path / "p.sqlite", held("2024-01"), held("2024-02"))
    with writing(tmp_path / "p.sqlite", LAYOUT) as writer:
        assert writer.put(held("2024-01", "b3:2"), [(0, 15, "a", 7.0)]) == 3
    assert found(past) == [("a", 7.0), ("a", 1.0), ("a", 3.0)]
    assert past.held() == {
        "2024-01": held("2024-01", "b3:2", rows=1),
        "2024-02": held("2024-02", "b3:1", rows=3),
    }  # fmt: skip


def test_nothing_stands_twice(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="UNIQUE"):
        written(tmp_path / "p.sqlite", rows=[ROWS[0], ROWS[0]])
    assert held_in(tmp_path / "p.sqlite", LAYOUT) == {}


def test_what_is_too_old_is_forgotten(tmp_path: Path) -> None:
    past = written(tmp_path / "p.sqlite", held("2024-01"), held("2024-02"))
    with writing(tmp_path / "p.sqlite", LAYOUT) as writer:
        assert writer.keep(Kept("2024-02", 50), 20) == 2
        assert writer.keep(Kept("2024-02", 50), 20) == 0
    assert found(past) == [("a", 3.0), ("a", 3.0)]
    assert past.kept() == Kept("2024-02", 50)
    assert {each.since for each in past.held().values()} == {20}
    assert {each.rows for each in past.held().values()} == {2}


def test_a_transaction_that_breaks_off_leaves_what_was_there(tmp_path: Path) -> None:
    past = written(tmp_path / "p.sqlite")
    with pytest.raises(ZeroDivisionError), writing(tmp_path / "p.sqlite", LAYOUT) as writer:
        writer.put(held(version="b3:2"), ((1 // place, 1, "a", 1.0) for place in (2, 1, 0)))
    assert past.held() == {"2024-01": held(rows=3)}


def test_readers_wait_for_nobody_and_see_one_state(tmp_path: Path) -> None:
    path = tmp_path / "p.sqlite"
    past = written(path)
    with writing(path, LAYOUT) as writer:
        writer.put(held(version="b3:2"), [])
        told: list[Any] = []
        reader = threading.Thread(target=lambda: told.append((found(past), found(Past(path, LAYOUT)))))
        reader.start()
        reader.join(5)
        assert told == [([("a", 1.0), ("a", 3.0)], [("a", 1.0), ("a", 3.0)])]
    assert found(past) == []


def test_a_reader_does_not_keep_a_writer_waiting(tmp_path: Path) -> None:
    path = tmp_path / "p.sqlite"
    written(path)
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM past").fetchone()
    written(path, held(version="b3:2"))
    assert reader.execute("SELECT version FROM batches").fetchone() == ("b3:1",)
    reader.execute("ROLLBACK")
    assert reader.execute("SELECT version FROM batches").fetchone() == ("b3:2",)
    reader.close()


def test_a_file_for_other_windows_is_refused_by_readers_and_made_again_by_writers(tmp_path: Path) -> None:
    path = tmp_path / "p.sqlite"
    written(path)
    other = Layout({"car": "string", "paid": "int64"}, (CAR,))
    with pytest.raises(NoPastError, match=r"p.sqlite was made for other windows .*: mlops-assets online"):
        Past(path, other).held()
    assert held_in(path, other) == {}
    with writing(path, other) as writer:
        assert writer.held() == {}
    assert Past(path, other).held() == {}


def test_a_window_that_looks_further_back_needs_no_other_file(tmp_path: Path) -> None:
    written(tmp_path / "p.sqlite")
    far = CAR._replace(longest=1000)
    assert len(Past(tmp_path / "p.sqlite", Layout(LAYOUT.columns, (far,))).rows([Ask(far, ("a",), 900)])[0]) == 2


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(NoPastError, match=r"There is no .*p\.sqlite"):
        Past(tmp_path / "p.sqlite", LAYOUT).held()
    assert held_in(tmp_path / "p.sqlite", LAYOUT) == {}
    assert not (tmp_path / "p.sqlite").exists()


@pytest.mark.parametrize("damage", [b"no database at all" * 100, b"", b"SQLite format 3\0" + b"\0" * 5000])
def test_a_damaged_file_is_told_to_readers_and_made_again_by_writers(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "p.sqlite"
    path.write_bytes(damage)
    with pytest.raises(NoPastError, match="mlops-assets online"):
        Past(path, LAYOUT).held()
    assert held_in(path, LAYOUT) == {}
    assert found(written(path)) == [("a", 1.0), ("a", 3.0)]


def test_a_reader_finds_the_file_that_took_the_place_of_another(tmp_path: Path) -> None:
    path = tmp_path / "p.sqlite"
    server = written(path)
    assert found(server) == [("a", 1.0), ("a", 3.0)]
    remove(path)
    with pytest.raises(NoPastError, match="There is no"):
        server.held()
    written(path, rows=[(0, 10, "a", 7.0)])
    assert found(server) == [("a", 7.0)]


def test_a_file_that_is_damaged_in_the_middle_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "p.sqlite"
    written(path, rows=[(number, number, "a" * 50, 1.0) for number in range(5000)])
    data = bytearray(path.read_bytes())
    data[100:8192] = b"\xff" * 8092
    path.write_bytes(bytes(data))
    assert held_in(path, LAYOUT) == {}
    assert found(written(path)) == [("a", 1.0), ("a", 3.0)]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "p.sqlite").mkdir()
    with pytest.raises(UserError, match=r"p.sqlite cannot be written: unable to open database file\. It is a view"):
        written(tmp_path / "p.sqlite")


def _start(path: Path, barrier: Any, number: int) -> None:
    barrier.wait()
    with Locks(path.parent / "locks").hold(str(path)), writing(path, LAYOUT) as writer:
        writer.put(held(f"2024-0{number}"), ROWS)


def test_four_processes_make_a_fresh_file_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for round_ in range(5):
        path, barrier = tmp_path / f"{round_}" / "p.sqlite", context.Barrier(4)
        started = [context.Process(target=_start, args=(path, barrier, number)) for number in range(1, 5)]
        for each in started:
            each.start()
        for each in started:
            each.join()
        assert [each.exitcode for each in started] == [0] * 4
        assert [each.rows for each in Past(path, LAYOUT).held().values()] == [3] * 4


def test_what_was_deleted_is_gone_from_the_files(tmp_path: Path) -> None:
    path = tmp_path / "p.sqlite"
    server = written(path, rows=[(0, 10, "MARY-4711", 1.0)])
    assert b"MARY-4711" in path.read_bytes()
    assert server.held()  # a server that has the file open all the time
    written(path, held(version="b3:2"), rows=[])
    assert not [side for side in tmp_path.iterdir() if b"MARY-4711" in side.read_bytes()]


# --- values ---------------------------------------------------------------------------------------------------------

TRIPS = source(
    column("id", "int64"),
    column("day", "date"),
    column("at", "timestamp"),
    column("Car", "string"),
    column("car", "int64"),
    column('_of "it"', "float64"),
    column("fine", "boolean"),
    name="trips",
)


def rules() -> Contract:
    windows = (
        Window("x", by=("Car",), take="sum", of='`_of "it"`', over=2e9, known_after=1.0),
        Window("y", by=("Car", "car"), take="count", of="fine", over=5.0, known_after=0.0),
        Window("z", by=("Car",), take="count", of="day > '2024-01-01'", over=1.0, known_after=2.5),
    )
    return contract(TRIPS, windows=Windows(windows, 0, "at"))


def test_values_come_back_to_the_bit(tmp_path: Path) -> None:
    numbers = [-0.0, 2.0, math.nan, math.inf, 5e-324, 0.1]
    times = [datetime(1969, 12, 31, 23, 59, 59, 999999), *[datetime(2024, 1, 1, 0, 0, 0, n) for n in range(1, 6)]]  # noqa: DTZ001
    cleaned = pa.table(
        {
            "id": pa.array(range(6)),
            "day": pa.array([date(1, 1, 1), None, date(9999, 12, 31), *[date(2024, 1, 5)] * 3], pa.date32()),
            "at": pa.array(times, pa.timestamp("us")),
            "Car": pa.array(["ä\0'\"", "ä\0'\"", "ä\0'\"", "ä\0'\"", "ä\0'\"", "1"]),
            "car": pa.array([2**63 - 1, -(2**63), None, 0, 1, 1]),
            '_of "it"': pa.array(numbers, pa.float64(), from_pandas=False),
            "fine": pa.array([True, False, None, True, False, True]),
        }
    )
    layout = layout_of(rules())
    online = remember(rules(), cleaned).value
    with writing(tmp_path / "p.sqlite", layout) as writer:
        writer.put(described("all", "b3:1", None, online), to_rows(rules(), layout, online, None))
    reach = layout.reaches[0]
    rows, _ = Past(tmp_path / "p.sqlite", layout).rows([Ask(reach, ("ä\0'\"",), 1_704_067_210_000_000)])
    table = to_table(layout, rows)
    wanted = cleaned.slice(0, 2).select(table.column_names)
    assert table.slice(0, 2).equals(wanted)
    bits = [struct.pack("<d", number) for number in table['_of "it"'].to_pylist()]
    assert bits == [struct.pack("<d", number) for number in numbers[:5]]
    assert table.schema == cleaned.select(table.column_names).schema


def test_what_the_file_holds_follows_from_the_windows() -> None:
    layout = layout_of(rules())
    assert list(layout.columns.items()) == [
        ("day", "date"), ("at", "timestamp"), ("Car", "string"), ("car", "int64"), ('_of "it"', "float64"),
        ("fine", "boolean"),
    ]  # fmt: skip
    assert list(layout.columns) == needed(rules())
    assert layout.reaches == (Reach(("Car",), 2 * 10**15 + 10**6, 10**6), Reach(("Car", "car"), 5 * 10**6, 0))
    assert len({name.casefold() for name in layout.names.values()}) == 6


def test_rows_that_can_never_count_are_left_out() -> None:
    cleaned = pa.table(
        {
            "id": pa.array([0, 1, 2, 3]),
            "day": pa.nulls(4, pa.date32()),
            "at": pa.array([at("2024-01-01"), None, at("2024-01-02"), at("2024-01-03")], pa.timestamp("us")),
            "Car": pa.array(["a", "a", None, "a"]),
            "car": pa.nulls(4, pa.int64()),
            '_of "it"': pa.array([1.0, 1.0, 1.0, None]),
            "fine": pa.nulls(4, pa.bool_()),
        }
    )
    online = remember(rules(), cleaned).value
    rows = list(to_rows(rules(), layout_of(rules()), online, None))
    assert [row[0] for row in rows] == [0]
    assert list(to_rows(rules(), layout_of(rules()), online, rows[0][1] + 1)) == []
    assert described("all", "b3:1", None, online) == Held(
        "all", "b3:1", None, 0, rows[0][1], rows[0][1] + 172_800_000_000
    )
