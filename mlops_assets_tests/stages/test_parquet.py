"""Parquet files: delivered types, values that would change, damage."""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_assets.contract.model import FileFormat, Source
from mlops_assets.errors import DeliveryError
from mlops_assets_tests.stages.build import at, column, contract, read, sifted, source
from mlops_assets_tests.stages.corpus.make import flipped

TABLE = replace(source(), format=FileFormat("parquet", missing=("", "-999")))
GOOD = {
    "id": pa.array([1, 2], pa.int32()),
    "day": pa.array([date(2024, 1, 5), date(2024, 1, 6)]),
    "shop": pa.array(["north", "south"]).dictionary_encode(),
    "price": pa.array([1.5, None], pa.float32()),
    "paid": pa.array([2, 0], pa.uint64()),
}


def bytes_of(columns: dict[str, pa.Array], folder: Path) -> bytes:
    pq.write_table(pa.table(columns), folder / "source.parquet")
    return (folder / "source.parquet").read_bytes()


def test_delivered_types_are_kept_and_then_become_the_declared_ones(tmp_path: Path) -> None:
    data = bytes_of(GOOD, tmp_path)
    raw = read(tmp_path, data, TABLE).value
    assert [str(raw.schema.field(name).type) for name in TABLE.columns] == [
        "int32", "date32[day]", "string", "float", "uint64",
    ]  # fmt: skip
    assert raw["_line"].to_pylist() == [1, 2]
    found = sifted(tmp_path, data, TABLE)
    assert [str(kind) for kind in found.accepted.schema.types] == ["int64", "date32[day]", "string", "double", "int64"]
    assert found.accepted.to_pylist()[0] == {"id": 1, "day": date(2024, 1, 5), "shop": "north", "price": 1.5, "paid": 2}


def test_values_that_would_change_are_quarantined(tmp_path: Path) -> None:
    columns = {
        **{name: pa.concat_arrays([GOOD[name]] * 2) for name in ("day", "shop")},
        "id": pa.array([1.0, 2.5, None, 4.0]),
        "price": pa.array([2**53 + 1, 1, 2, -999]),
        "paid": pa.array([2**63, 0, 1, 2], pa.uint64()),
    }
    found = sifted(tmp_path, bytes_of(columns, tmp_path), TABLE)
    assert found.quarantined["reasons"].to_pylist() == [
        ["price: '9007199254740993' cannot be kept exactly", "paid: '9223372036854775808' cannot be kept exactly"],
        ["id: '2.5' is not a whole number"],
        ["id: has no value"],
    ]
    assert found.accepted["price"].to_pylist() == [None]
    assert '"paid": 9223372036854775808' in found.quarantined["row"][0].as_py()


def test_nan_is_a_value_unless_it_is_declared_missing(tmp_path: Path) -> None:
    data = bytes_of({**GOOD, "price": pa.array([float("nan"), float("inf")])}, tmp_path)
    found = sifted(tmp_path, data, TABLE)
    assert found.quarantined["reasons"].to_pylist() == [
        ["price: 'nan' is not a number"],
        ["price: 'inf' is not a number"],
    ]
    declared = replace(TABLE, format=FileFormat("parquet", missing=("NaN",)))
    assert sifted(tmp_path, data, declared).accepted["price"].to_pylist() == [None]


def times(kind: str) -> Source:
    return source(column("id", "int64"), column("at", kind), format=FileFormat("parquet"), event_time=None)


def test_times_are_utc_without_a_zone(tmp_path: Path) -> None:
    zoned = pa.array([datetime(2024, 1, 5, 10, tzinfo=UTC)]).cast(pa.timestamp("ms", "America/New_York"))
    data = bytes_of({"id": pa.array([1]), "at": zoned}, tmp_path)
    assert sifted(tmp_path, data, times("timestamp")).accepted["at"].to_pylist() == [at("2024-01-05T10:00")]
    fine = pa.array([1, 1_000], pa.timestamp("ns"))
    found = sifted(tmp_path, bytes_of({"id": pa.array([1, 2]), "at": fine}, tmp_path), times("timestamp"))
    assert (found.accepted.num_rows, found.quarantined.num_rows) == (1, 1)


def test_a_time_becomes_a_date_at_midnight_only(tmp_path: Path) -> None:
    moments = pa.array([at("2024-01-05"), at("2024-01-05T01:00")])
    found = sifted(tmp_path, bytes_of({"id": pa.array([1, 2]), "at": moments}, tmp_path), times("date"))
    assert found.accepted["at"].to_pylist() == [date(2024, 1, 5)]
    assert found.quarantined["reasons"].to_pylist() == [["at: '2024-01-05 01:00:00' is not a date (YYYY-MM-DD)"]]


def test_types_that_can_never_fit(tmp_path: Path) -> None:
    columns = {**GOOD, "shop": pa.array([[1], [2]]), "price": pa.array([True, False]), "id": pa.array([date.min] * 2)}
    with pytest.raises(DeliveryError) as caught:
        read(tmp_path, bytes_of(columns, tmp_path), TABLE)
    assert caught.value.sentences[1].startswith("landing/sales_2024-01.csv: the column 'shop' holds list<")
    assert (
        "the column 'price' holds bool, which cannot become float64, as data/shop/dataset.yaml:0 declares it."
        in str(caught.value)
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda data: data[: len(data) // 2], "is damaged or no Parquet file"),
        (lambda data: data[:4] + bytes([data[30] ^ 1]) + data[5:], "is damaged or no Parquet file"),
        (lambda _: b"id,day\n1,2\n", "is damaged or no Parquet file"),
        (lambda _: b"", "is empty"),
        (lambda _: b"<html>", "is an HTML or XML page, not parquet"),
    ],
)
def test_damage(tmp_path: Path, change: object, told: str) -> None:
    with pytest.raises(DeliveryError, match=told):
        read(tmp_path, change(bytes_of(GOOD, tmp_path)), TABLE)  # type: ignore[operator]


def test_a_missing_column(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match="the column 'paid' of source sales is missing"):
        read(
            tmp_path, bytes_of({name: GOOD[name] for name in GOOD if name != "paid"}, tmp_path), TABLE, contract(TABLE)
        )


# ---- flipped bits

FRAME = pa.table(
    {
        **{name: pa.concat_arrays([array] * 3) for name, array in GOOD.items() if name != "id"},
        "id": pa.array(range(1, 7)),
        "at": pa.array([at(f"2024-01-0{n}T03:00") for n in range(1, 7)], pa.timestamp("ms")),
    }
)
TIMED = source(*source().columns.values(), column("at", "timestamp"), format=FileFormat("parquet"))


def flips(folder: Path, step: int, **how: object) -> tuple[int, int]:
    """How many flipped bits were noticed, and how many passed and changed an accepted row; the others changed none."""
    pq.write_table(FRAME, folder / "sound.parquet", **how)
    data = (folder / "sound.parquet").read_bytes()
    sound = {str(row) for row in sifted(folder, data, TIMED).accepted.to_pylist()}
    assert len(sound) == 6
    noticed = silent = 0
    for number in range(0, len(data) * 8, step):
        try:
            rows = sifted(folder, flipped(data, *divmod(number, 8)), TIMED).accepted.to_pylist()
        except DeliveryError:
            noticed += 1
        else:
            silent += not {str(row) for row in rows} <= sound
    return noticed, silent


def test_no_flipped_bit_of_a_file_with_checksums_changes_a_value(tmp_path: Path) -> None:
    noticed, silent = flips(tmp_path, 37, write_page_checksum=True, compression="none")
    assert silent == 0
    assert noticed > 200


@pytest.mark.slow
def test_none_of_all_its_bits(tmp_path: Path) -> None:
    noticed, silent = flips(tmp_path, 1, write_page_checksum=True, compression="snappy")
    assert silent == 0
    assert noticed > 10_000


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC"])
@pytest.mark.parametrize("version", ["1.0", "2.4", "2.6"])
def test_sound_descriptions_of_types_agree(tmp_path: Path, unit: str, zone: str | None, version: str) -> None:
    kinds = [pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()]
    columns = {f"n{place}": pa.array([1, 2], kind) for place, kind in enumerate(kinds)}
    moments = pa.array([at("2024-01-05"), None], pa.timestamp(unit, zone))
    pq.write_table(pa.table(GOOD | columns | {"at": moments}), tmp_path / "sound.parquet", version=version)
    found = sifted(tmp_path, (tmp_path / "sound.parquet").read_bytes(), TIMED)
    assert found.accepted["at"].to_pylist() == [at("2024-01-05"), None]


def test_without_checksums_statistics_notice_some(tmp_path: Path) -> None:
    """What lies between the smallest and the largest value passes: only checksums tell."""
    with_them = flips(tmp_path, 37, compression="none")
    without = flips(tmp_path, 37, compression="none", write_statistics=False)
    assert with_them[0] > without[0]
    assert 0 < with_them[1] < without[1]


def test_checksums_can_be_required(tmp_path: Path) -> None:
    pq.write_table(pa.table(GOOD), tmp_path / "bare.parquet")
    bare = (tmp_path / "bare.parquet").read_bytes()
    assert read(tmp_path, bare, TABLE).facts["files"][0]["unverified_columns"] == list(GOOD)
    strict = replace(TABLE, format=FileFormat("parquet", checksums="required"))
    with pytest.raises(DeliveryError, match="5 of 5 columns have no page checksums"):
        read(tmp_path, bare, strict)
    pq.write_table(pa.table(GOOD), tmp_path / "sealed.parquet", write_page_checksum=True)
    assert read(tmp_path, (tmp_path / "sealed.parquet").read_bytes(), strict).value.num_rows == 2


def test_days_that_no_calendar_has(tmp_path: Path) -> None:
    for kind, number in ((pa.date32(), 2**30), (pa.timestamp("s"), 2**50), (pa.timestamp("ms"), -(2**60))):
        whole = pa.array([0, number], pa.int32() if kind == pa.date32() else pa.int64())
        data = bytes_of({**GOOD, "day": whole.cast(kind)}, tmp_path)
        with pytest.raises(DeliveryError, match=r"row 2: the column 'day' holds a (date|time) outside the years 1 to"):
            read(tmp_path, data, TABLE)
