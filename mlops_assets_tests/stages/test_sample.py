"""Which rows of a delivery are in a sample."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mlops_assets.contract.model import Contract, FileFormat, Sample, Source
from mlops_assets.stages.ingest import Delivery, empty, read_source
from mlops_assets.stages.made import Made
from mlops_assets.stages.sample import sampled
from mlops_assets.stages.split import BUCKETS, assign_buckets
from mlops_assets_tests.stages.build import BATCH, HEADER, column, contract, source

SHOPS = ("north", "south", "west")
MANY = tuple(f"{number},2024-01-{1 + number % 28:02},{SHOPS[number % 3]},1,1" for number in range(1, 4001))


def rules(share: float, *by: str, of: Source | None = None) -> Contract:
    return replace(contract(of or source()), sample=Sample(share, by))


def raw(folder: Path, *rows: str, name: str = "a.csv", of: Source | None = None) -> Made:
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in (HEADER, *rows)))
    return read_source(contract(of or source()), of or source(), [Delivery(f"landing/{name}", path)], BATCH)


def ids(made: Made) -> list[str]:
    found: list[str] = made.value["id"].to_pylist()
    return found


def test_a_sample_never_changes(tmp_path: Path) -> None:
    """These rows are in every sample by this key ever made; with other ones, nothing could be compared any more."""
    kept = sampled(rules(0.01, "id"), source(), raw(tmp_path, *MANY[:1000]))
    assert ids(kept) == ["203", "270", "539", "711", "741", "881", "935"]


def test_a_row_is_in_it_whatever_else_is_delivered(tmp_path: Path) -> None:
    whole = ids(sampled(rules(0.1, "id"), source(), raw(tmp_path, *MANY)))
    pieces = [
        sampled(rules(0.1, "id"), source(), raw(tmp_path, *part)) for part in (MANY[:7], MANY[7:1500], MANY[1500:])
    ]
    assert [id_ for piece in pieces for id_ in ids(piece)] == whole
    assert 320 < len(whole) < 480
    assert ids(sampled(rules(0.1, "id"), source(), raw(tmp_path, *MANY[::-1]))) == whole[::-1]


def test_a_larger_sample_holds_the_smaller_one(tmp_path: Path) -> None:
    made = raw(tmp_path, *MANY)
    assert set(ids(sampled(rules(0.05, "id"), source(), made))) < set(ids(sampled(rules(0.2, "id"), source(), made)))


def test_a_group_is_never_torn_apart(tmp_path: Path) -> None:
    made = raw(tmp_path, *MANY)
    kept = sampled(rules(0.5, "day"), source(), made).value
    days = set(kept["day"].to_pylist())
    assert kept.num_rows == sum(day in days for day in made.value["day"].to_pylist())
    assert 5 < len(days) < 23
    pairs = sampled(rules(0.5, "day", "shop"), source(), made).value
    assert len({(row["day"], row["shop"]) for row in pairs.to_pylist()}) < 28 * 3


def test_a_group_is_what_the_contract_reads(tmp_path: Path) -> None:
    plain = ids(sampled(rules(0.2, "id"), source(), raw(tmp_path, *MANY[:300])))
    padded = ids(sampled(rules(0.2, "id"), source(), raw(tmp_path, *(f"00{row}" for row in MANY[:300]))))
    assert padded == [f"00{id_}" for id_ in plain]
    of = source(format=FileFormat("parquet"), files="landing/sales_{batch}.parquet")
    table = raw(tmp_path, *MANY[:300]).value.select(["id", "day", "shop", "price", "paid"])
    table = table.set_column(0, "id", table["id"].cast(pa.int32()))
    pq.write_table(table, tmp_path / "a.parquet")
    typed = read_source(contract(of), of, [Delivery("landing/a.parquet", tmp_path / "a.parquet")], BATCH)
    assert [str(id_) for id_ in ids(sampled(rules(0.2, "id", of=of), of, typed))] == plain


def test_values_that_cannot_be_read_stay_by_their_text(tmp_path: Path) -> None:
    broken = tuple(f"x{number},2024-01-05,north,1,1" for number in range(400))
    kept = ids(sampled(rules(0.25, "id"), source(), raw(tmp_path, *broken)))
    assert 60 < len(kept) < 140
    assert ids(sampled(rules(0.25, "id"), source(), raw(tmp_path, *broken[::-1]))) == kept[::-1]


def test_records_that_cannot_be_taken_apart_stay_by_the_same_share(tmp_path: Path) -> None:
    broken = tuple(f"{number},2024-01-05,north,1,1,{number},7" for number in range(400))
    made = raw(tmp_path, *broken, *MANY[:400])
    kept = sampled(rules(0.25, "id"), source(), made)
    assert made.facts["unsplit"] == 400
    assert 60 < kept.facts["unsplit"] < 140
    assert kept.facts["unsplit"] == len(kept.value) - kept.value["_problem"].null_count


def test_rows_without_a_value_are_one_group(tmp_path: Path) -> None:
    rows = tuple(f"{number},2024-01-05,north,,1" for number in range(50))
    assert len(ids(sampled(rules(0.5, "price"), source(), raw(tmp_path, *rows)))) in {0, 50}


def test_facts_speak_of_what_is_kept(tmp_path: Path) -> None:
    raw(tmp_path, *MANY[:500], name="a.csv")
    raw(tmp_path, *MANY[500:], name="b.csv")
    files = [Delivery(f"landing/{name}", tmp_path / name) for name in ("a.csv", "b.csv")]
    made = read_source(contract(), source(redelivery="add"), files, BATCH)
    kept = sampled(rules(0.3, "id"), source(), made)
    assert kept.facts["rows"] == kept.value.num_rows
    assert kept.facts["rows"] + kept.facts["left_out"] == 4000
    assert sum(file["rows"] for file in kept.facts["files"]) == kept.value.num_rows
    assert all(0 < file["rows"] < 2000 for file in kept.facts["files"])
    same = {"batch", "bytes", "elsewhere", "blank_lines", "final_newline", "extra_columns"}
    assert {name: kept.facts[name] for name in same} == {name: made.facts[name] for name in same}
    lines = dict(zip(made.value["id"].to_pylist(), made.value["_line"].to_pylist(), strict=True))
    assert kept.value["_line"].to_pylist() == [lines[id_] for id_ in ids(kept)]


def test_nothing_delivered_is_an_empty_sample() -> None:
    facts = {"rows": 0, "unsplit": 0, "files": []}
    kept = sampled(rules(0.5, "id"), source(), Made(empty(source()), facts))
    assert kept.value.equals(empty(source()))
    assert (kept.facts["rows"], kept.facts["left_out"]) == (0, 0)


def test_the_smallest_share_is_not_nothing(tmp_path: Path) -> None:
    assert sampled(rules(1e-9, "id"), source(), raw(tmp_path, *MANY)).value.num_rows < 10
    many = tuple(f"{number},2024-01-05,north,1,1" for number in range(100_000))
    assert 0 < sampled(rules(1e-9, "id"), source(), raw(tmp_path, *many)).value.num_rows < 40


def test_who_is_in_the_sample_says_nothing_of_train_and_test(tmp_path: Path) -> None:
    """By one hash for both, a sample of a fifth of the buckets would be a training set without a test."""
    kept = sampled(rules(0.2, "id"), source(), raw(tmp_path, *MANY)).value
    rows = pa.table({"id": kept["id"].cast(pa.int64())})
    buckets = assign_buckets(contract(source(column("id", "int64"))), rows).value["bucket"].to_pylist()
    tenths = [sum(bucket * 10 // BUCKETS == tenth for bucket in buckets) for tenth in range(10)]
    assert min(tenths) > 50
