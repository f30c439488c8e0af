"""Several files of a batch, and rows taken by their event time."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_assets.contract.model import FileFormat, Partitions
from mlops_assets.errors import DeliveryError
from mlops_assets.stages.ingest import Delivery, batches_in, empty, read_source
from mlops_assets.stages.sift import sift
from mlops_assets_tests.stages.build import HEADER, ROWS, at, column, contract, csv_text, source

WHOLE = replace(source(), files="landing/sales.csv")
OTHERS = ("8,2024-02-01,north,1,1", "9,2024-03-31,north,1,1")


def delivery(folder: Path, text: str, name: str = "sales.csv") -> Delivery:
    path = folder / name
    path.write_text(text)
    return Delivery(f"landing/{name}", path)


def lines(table: pa.Table) -> list[int]:
    found: list[int] = table["_line"].to_pylist()
    return found


def test_files_that_add_up_follow_each_other(tmp_path: Path) -> None:
    first = delivery(tmp_path, csv_text(ROWS[0]), "a.csv")
    second = delivery(tmp_path, csv_text(*ROWS[1:], "x") + "y", "b.csv")
    made = read_source(contract(), source(), [first, second], "2024-01")
    assert made.value["_file"].to_pylist() == ["landing/a.csv"] + ["landing/b.csv"] * 4
    assert lines(made.value) == [2, 2, 3, 4, 5]
    assert made.facts["rows"] == 5
    assert [file["rows"] for file in made.facts["files"]] == [1, 4]
    assert made.facts["final_newline"] is False


def test_every_problem_of_every_file_is_told(tmp_path: Path) -> None:
    files = [delivery(tmp_path, text, name) for name, text in (("a", ""), ("b", csv_text(*ROWS)), ("c", "<html>"))]
    with pytest.raises(DeliveryError) as caught:
        read_source(contract(), source(), files, "2024-01")
    assert [sentence.split()[0] for sentence in caught.value.sentences] == ["landing/a", "landing/c"]


def test_types_that_cannot_be_joined(tmp_path: Path) -> None:
    table = source(column("id", "string"), format=FileFormat("parquet"), key=())
    files = []
    for name, kind in (("a", pa.string()), ("b", pa.null())):
        pq.write_table(pa.table({"id": pa.nulls(1, kind)}), tmp_path / name)
        files.append(Delivery(name, tmp_path / name))
    assert read_source(contract(table), table, files, "2024-01").value.num_rows == 2
    number = source(column("id", "int64"), format=FileFormat("parquet"), key=())
    pq.write_table(pa.table({"id": [1]}), tmp_path / "b")
    pq.write_table(pa.table({"id": ["1"]}), tmp_path / "a")
    with pytest.raises(DeliveryError) as caught:
        read_source(contract(number), number, files, "2024-01")
    assert str(caught.value) == (
        "shop, source sales: the column 'id' holds string in one file and int64 in another; files that add up need one "
        "type."
    )


def test_rows_are_taken_by_their_event_time(tmp_path: Path) -> None:
    rules = contract(WHOLE)
    file = delivery(tmp_path, csv_text(ROWS[0], OTHERS[0], ROWS[1], OTHERS[1]))
    assert batches_in(rules, WHOLE, file) == ["2024-01", "2024-02", "2024-03"]
    made = read_source(rules, WHOLE, [file], "2024-02")
    assert lines(made.value) == [3]
    assert (made.facts["rows"], made.facts["elsewhere"]) == (1, 3)


def test_a_row_that_belongs_to_no_batch_comes_with_the_first(tmp_path: Path) -> None:
    rules = contract(WHOLE, partitions=Partitions("monthly", "2024-01", "2024-02"))
    file = delivery(tmp_path, csv_text(OTHERS[0], "4,32.1.2024,north,1,1", "5", OTHERS[1], ROWS[0]))
    assert batches_in(rules, WHOLE, file) == ["2024-01", "2024-02"]
    assert lines(read_source(rules, WHOLE, [file], "2024-01").value) == [3, 4, 5, 6]
    later = read_source(rules, WHOLE, [file], "2024-02")
    assert lines(later.value) == [2]
    assert later.facts["unsplit"] == 0


def test_every_row_of_a_file_is_in_one_batch(tmp_path: Path) -> None:
    file = delivery(tmp_path, csv_text(*(f"{n},2024-{n % 5:02}-11,north,1,1" for n in range(100))))
    rules = contract(WHOLE)
    batches = batches_in(rules, WHOLE, file)
    found = [line for batch in batches for line in lines(read_source(rules, WHOLE, [file], batch).value)]
    assert sorted(found) == list(range(2, 102))


def test_a_file_without_a_batch_is_refused(tmp_path: Path) -> None:
    rules = contract(WHOLE)
    with pytest.raises(DeliveryError) as caught:
        batches_in(rules, WHOLE, delivery(tmp_path, csv_text("1,x,north,1,1", "2,1999-01-01,north,1,1")))
    assert str(caught.value) == (
        "landing/sales.csv: none of its 2 rows has an event time (day) that can be read and lies in a batch of shop. "
        "The first row has 'x'. Look at the format of the column and at the partitions' start and end in "
        f"{rules.file}."
    )
    assert batches_in(rules, WHOLE, delivery(tmp_path, f"{HEADER}\n")) == []


def test_an_unpartitioned_dataset_takes_all_rows(tmp_path: Path) -> None:
    rules = contract(WHOLE, partitions=Partitions())
    assert read_source(rules, WHOLE, [delivery(tmp_path, csv_text(*ROWS, *OTHERS))], "all").value.num_rows == 5


@pytest.mark.parametrize(
    ("cadence", "batch"),
    [("yearly", "2024"), ("weekly", "2024-01-01"), ("daily", "2024-01-05"), ("hourly", "2024-01-05T10")],
)
def test_every_cadence(tmp_path: Path, cadence: str, batch: str) -> None:
    table = source(column("id", "int64"), column("day", "timestamp"), files="landing/sales.csv")
    rules = contract(table, partitions=Partitions(cadence, batch))  # type: ignore[arg-type]
    rows = [f"{n},{moment:%Y-%m-%d %H:%M}" for n, moment in enumerate([at("2024-01-05T10:30"), at("2026-01-05")])]
    file = delivery(tmp_path, csv_text(*rows, header="id,day"))
    assert batches_in(rules, table, file)[0] == batch
    assert lines(read_source(rules, table, [file], batch).value) == [2]


def test_a_batch_that_nothing_was_delivered_for_is_empty() -> None:
    found = sift(contract(), source(), empty(source()), "2024-01")
    assert (found.accepted.num_rows, found.quarantined.num_rows, found.duplicates) == (0, 0, 0)
    assert read_source(contract(), source(), [], "2024-01").value.num_rows == 0
