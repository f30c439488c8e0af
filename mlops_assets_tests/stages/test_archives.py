"""Packed deliveries: what comes out, and what is said of archives that nobody can or should open."""

import gzip
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from mlops_assets.contract.model import FileFormat
from mlops_assets.errors import DeliveryError
from mlops_assets.stages import archives
from mlops_assets_tests.stages.build import ROWS, csv_text, read, source
from mlops_assets_tests.stages.corpus.make import flipped, zip_of

TEXT = csv_text(*ROWS).encode()
GZIP, ZIP = (replace(source(), format=FileFormat(archive=kind)) for kind in ("gzip", "zip"))  # type: ignore[arg-type]


def refusal(folder: Path, data: bytes, kind: str) -> str:
    with pytest.raises(DeliveryError) as caught:
        read(folder, data, GZIP if kind == "gzip" else ZIP)
    return str(caught.value)


def test_what_is_packed_is_read_as_if_it_were_not(tmp_path: Path) -> None:
    plain = read(tmp_path, TEXT)
    for data, table in ((gzip.compress(TEXT), GZIP), (zip_of({"a/b.csv": TEXT}), ZIP)):
        made = read(tmp_path, data, table)
        assert made.value.equals(plain.value)
        assert made.facts["bytes"] == len(data)


def test_a_gzip_of_several_members_is_one_file(tmp_path: Path) -> None:
    half = len(TEXT) // 2
    data = gzip.compress(TEXT[:half]) + gzip.compress(TEXT[half:])
    assert read(tmp_path, data, GZIP).value.num_rows == 3


def test_more_than_the_limit_does_not_come_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_MOST", 5_000_000)
    bomb = TEXT + b"9" * 6_000_000
    for kind, data in (("gzip", gzip.compress(bomb)), ("zip", zip_of({"a.csv": bomb}))):
        assert len(data) < 10_000
        assert "is more than 5,000,000 bytes when it is unpacked" in refusal(tmp_path, data, kind)


def test_names_inside_an_archive_lead_nowhere(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    assert read(inside, zip_of({"../../escaped.csv": TEXT}), ZIP).value.num_rows == 3
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["delivered", "inside"]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "holds 0 files. Pack one file in each archive."),
        ({"folder/": b""}, "holds 0 files"),
        ({"a.csv": TEXT, "\x1b[31m": b""}, r"holds 2 files: 'a.csv', '\x1b[31m'. Pack one file in each archive."),
        ({"inner.zip": zip_of({"a.csv": TEXT})}, "is a zip archive or an Excel workbook, not csv."),
        ({"a.csv": b""}, "is empty"),
    ],
)
def test_zip_archives_that_hold_something_else(tmp_path: Path, files: dict[str, bytes], told: str) -> None:
    assert told in refusal(tmp_path, zip_of(files), "zip")


def test_a_locked_archive(tmp_path: Path) -> None:
    data = bytearray(zip_of({"a.csv": TEXT}))
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flags, in both of the file's entries
        place = data.index(magic) + offset
        data[place : place + 2] = struct.pack("<H", 1)
    assert "is locked with a password. Deliver it without one." in refusal(tmp_path, bytes(data), "zip")


@pytest.mark.parametrize("kind", ["gzip", "zip"])
def test_damage_anywhere_is_noticed_or_changes_nothing(tmp_path: Path, kind: str) -> None:
    data = gzip.compress(TEXT, mtime=0) if kind == "gzip" else zip_of({"a.csv": TEXT})
    table = GZIP if kind == "gzip" else ZIP
    plain = read(tmp_path, TEXT).value
    refused = 0
    for place in range(len(data)):
        for broken in (flipped(data, place, place % 8), data[:place]):
            try:
                assert read(tmp_path, broken, table).value.equals(plain)
            except DeliveryError:
                refused += 1
    assert refused > len(data)
