"""Parquet files: delivered types, values that would change, damage."""

import base64
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest

from mlops_assets.contract.model import FileFormat, Source
from mlops_assets.errors import DeliveryError
from mlops_assets.stages import parquet
from mlops_assets.stages.clean import examples
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
        (lambda data: data[:-8] + (99_999_999).to_bytes(4, "little") + b"PAR1", "is damaged or no Parquet file"),
        (lambda _: b"PAR1PAR1", "is damaged or no Parquet file"),
        (lambda data: b"PARE" + data[4:-4] + b"PARE", "is encrypted, and nobody has given a key for it"),
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


class _Keys(pe.KmsClient):  # type: ignore[misc]
    """Keys that everybody knows."""

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:  # noqa: ARG002
        return base64.b64encode(key_bytes)

    def unwrap_key(self, wrapped_key: bytes, master_key_identifier: str) -> bytes:  # noqa: ARG002
        return base64.b64decode(wrapped_key)


@pytest.mark.parametrize("plain_footer", [True, False])
def test_an_encrypted_file(tmp_path: Path, plain_footer: bool) -> None:
    factory = pe.CryptoFactory(lambda _: _Keys())
    how = pe.EncryptionConfiguration(footer_key="a", column_keys={"b": ["paid"]}, plaintext_footer=plain_footer)
    properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), how)
    table = pa.table(GOOD)
    with pq.ParquetWriter(tmp_path / "locked.parquet", table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    with pytest.raises(DeliveryError) as caught:
        read(tmp_path, (tmp_path / "locked.parquet").read_bytes(), TABLE)
    assert str(caught.value) == (
        "landing/sales_2024-01.csv is encrypted, and nobody has given a key for it. Ask for it without encryption; the "
        "way it comes can be protected instead."
    )


def test_a_file_without_rows_is_sound(tmp_path: Path) -> None:
    pq.write_table(pa.table(GOOD).slice(0, 0), tmp_path / "none.parquet")
    made = read(tmp_path, (tmp_path / "none.parquet").read_bytes(), TABLE)
    assert (made.value.num_rows, made.facts["rows"]) == (0, 0)


@pytest.mark.parametrize(
    ("name", "values", "kind", "advice"),
    [
        ("price", pa.array([Decimal("1.25"), None]), "decimal128(3, 2)", "floating-point or whole numbers"),
        ("paid", pa.array([Decimal(1), None], pa.decimal256(50, 0)), "decimal256(50, 0)", "whole numbers of 64 bits"),
        ("paid", pa.array([{"a": 1}, None]), "struct<a: int64>", "whole numbers of 64 bits or fewer"),
        ("paid", pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())), "map<string, int64", "whole numbers"),
        ("shop", pa.array([["a"], None]), "list<element: string>", "text, which keeps every digit"),
        ("shop", pa.array([b"\xff", None]), "binary", "text, which keeps every digit"),
        ("shop", pa.array([7, 8]), "int64", "text, which keeps every digit"),
        ("day", pa.array([time(1), None]), "time64[us]", "dates"),
        ("day", pa.array([timedelta(1), None]), "duration[us]", "dates"),
    ],
)
def test_types_that_are_not_read_are_named_with_their_column(
    tmp_path: Path, name: str, values: pa.Array, kind: str, advice: str
) -> None:
    with pytest.raises(DeliveryError) as caught:
        read(tmp_path, bytes_of({**GOOD, name: values}, tmp_path), TABLE)
    (said,) = caught.value.sentences
    assert said.startswith(f"landing/sales_2024-01.csv: the column '{name}' holds {kind}")
    assert f"as data/shop/dataset.yaml:0 declares it. Have it written as {advice}" in said


def test_int96_and_many_dictionary_values_are_read(tmp_path: Path) -> None:
    table = replace(TABLE, columns={**TABLE.columns, "day": column("day", "timestamp")})
    moments = pa.array([at("2024-01-05T10:00:00"), at("2024-01-06T11:30:00")])
    pq.write_table(pa.table({**GOOD, "day": moments}), tmp_path / "old.parquet", use_deprecated_int96_timestamps=True)
    found = sifted(tmp_path, (tmp_path / "old.parquet").read_bytes(), table)
    assert found.accepted["day"].to_pylist() == moments.to_pylist()
    rows = 100_000
    names = pa.array([f"shop {n}" for n in range(rows)])
    many = {"id": pa.array(range(rows)), "shop": names.dictionary_encode()}
    wide = source(column("id", "int64", nullable=False), column("shop", "string"), format=FileFormat("parquet"))
    assert sifted(tmp_path, bytes_of(many, tmp_path), wide).accepted["shop"].to_pylist() == names.to_pylist()


def test_a_few_bytes_that_say_very_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_MOST_CELLS", 49_999)
    data = bytes_of({name: pa.concat_arrays([values] * 5_000) for name, values in GOOD.items()}, tmp_path)
    with pytest.raises(DeliveryError) as caught:
        read(tmp_path, data, TABLE)
    assert str(caught.value) == (
        "landing/sales_2024-01.csv has 10,000 rows of 5 declared columns, 50,000 values, and at most 49,999 are read "
        "from one file. Ask for it in parts."
    )


def test_a_refused_row_is_called_a_row(tmp_path: Path) -> None:
    data = bytes_of({**GOOD, "id": pa.array([1, 1]), "shop": pa.array(["a", "b"])}, tmp_path)
    wide = replace(TABLE, columns={**TABLE.columns, "shop": column("shop", "string")})
    account = sifted(tmp_path, data, wide)
    assert examples({"sales": account}) == [
        "landing/sales_2024-01.csv row 1: id: the same key stands on row 2 with other values.",
        "landing/sales_2024-01.csv row 2: id: the same key stands on row 1 with other values.",
    ]


def test_texts_keep_to_the_same_rules_as_in_csv(tmp_path: Path) -> None:
    texts = pa.array(["a\x1b[31mb", "x" * 1_000_001])
    wide = replace(TABLE, columns={**TABLE.columns, "shop": column("shop", "string")})
    found = sifted(tmp_path, bytes_of({**GOOD, "shop": texts}, tmp_path), wide).quarantined["reasons"].to_pylist()
    assert found == [
        [r"shop: 'a\x1b[31mb' holds a control character; its letter 2 is U+001B"],
        [f"shop: '{'x' * 39}…' is longer than 1,000,000 characters"],
    ]
