"""What a file's bytes may be: other encodings, archives, and no data at all."""

import gzip
from collections.abc import Iterator

from mlops_assets_tests.stages.corpus.account import BATCH_REFUSED, FILE_REFUSED, PARTLY, TAKEN, Case
from mlops_assets_tests.stages.corpus.make import ALL, ONE, ROWS, cell, delivery, flipped, instead, table_with, zip_of


def _encodings() -> Iterator[Case]:
    cafe = cell(7, note="café")
    windows = cell(7, note="“café” 5 €")
    yield delivery("encoding", "UTF-8 with letters beyond ASCII", TAKEN, ALL, body=cafe)
    yield delivery("encoding", "UTF-8 with a byte order mark", TAKEN, ALL, body=cafe, encoding="utf-8-sig")
    yield delivery(
        "encoding",
        "latin-1, and nobody said so",
        FILE_REFUSED,
        (0, 0, 0),
        "line 9, field 6: the byte 0xe9",
        "set format: {encoding: cp1252}",
        body=cafe,
        encoding="latin-1",
    )
    yield delivery(
        "encoding",
        "cp1252 as declared",
        TAKEN,
        ALL,
        body=windows,
        encoding="cp1252",
        table=table_with(encoding="cp1252"),
    )
    yield delivery(
        "encoding",
        "UTF-8, though cp1252 is declared",
        FILE_REFUSED,
        (0, 0, 0),
        "line 9, field 6",
        "Every byte beyond ASCII is part of a letter of UTF-8",
        body=windows,
        table=table_with(encoding="cp1252"),
    )
    yield delivery(
        "encoding",
        "cp1252, though latin-1 is declared",
        FILE_REFUSED,
        (0, 0, 0),
        "the byte 0x93",
        "is a control character",
        body=windows,
        encoding="cp1252",
        table=table_with(encoding="iso8859-1"),
    )
    yield delivery(
        "encoding",
        "UTF-16 with a mark, undeclared",
        FILE_REFUSED,
        (0, 0, 0),
        "is written in UTF-16. Set format: {encoding: utf-16}",
        body=cafe,
        encoding="utf-16",
    )
    yield delivery(
        "encoding",
        "UTF-16 without a mark, undeclared",
        FILE_REFUSED,
        (0, 0, 0),
        "is written in UTF-16-LE",
        body=cafe,
        encoding="utf-16-le",
    )
    yield delivery(
        "encoding", "UTF-16 as declared", TAKEN, ALL, body=cafe, encoding="utf-16", table=table_with(encoding="utf-16")
    )
    yield delivery(
        "encoding",
        "UTF-8, though UTF-16 is declared",
        FILE_REFUSED,
        (0, 0, 0),
        "is not written in utf-16",
        body=cafe,
        table=table_with(encoding="utf-16"),
    )
    yield delivery(
        "encoding",
        "gb18030 as declared",
        TAKEN,
        ALL,
        body=cell(7, note="价格"),
        encoding="gb18030",
        table=table_with(encoding="gb18030"),
    )
    yield delivery(
        "encoding",
        "two encodings in one file",
        FILE_REFUSED,
        (0, 0, 0),
        "line 11, field 6: the byte 0xe9",
        "put together from two encodings",
        body=[*cafe[:9], "0009,2024-01-10,north,9.25,1,thé", *cafe[10:]],
        change=lambda data: data.replace("thé".encode(), b"th\xe9"),
    )
    yield delivery(
        "encoding",
        "cut off in the middle of a letter",
        FILE_REFUSED,
        (0, 0, 0),
        "cut off in the middle of a letter",
        body=[*ROWS[:-1], "0059,2024-01-04,west,59.25,3,café"],
        last=False,
        change=lambda data: data[:-1],
    )
    yield delivery(
        "encoding",
        "a NUL byte in a row",
        PARTLY,
        ONE,
        "line 12: the line holds a NUL byte",
        body=cell(10, note="no\0te"),
    )
    yield delivery(
        "encoding",
        "a tail of NUL bytes after a crash",
        BATCH_REFUSED,
        (59, 1, 0),
        "line 61: the last record is cut off",
        body=[*ROWS[:-1], "\0" * 500],
        last=False,
    )


def _archives() -> Iterator[Case]:
    packed, zipped = table_with(archive="gzip"), table_with(archive="zip")

    def pack(data: bytes) -> bytes:
        return gzip.compress(data, mtime=0)

    def flip(data: bytes) -> bytes:
        found = bytearray(pack(data))
        found[len(found) // 2] ^= 8
        return bytes(found)

    yield delivery(
        "archive",
        "gzip, undeclared",
        FILE_REFUSED,
        (0, 0, 0),
        "is a gzip archive, not csv. Unpack it, or set format: {archive: gzip}",
        change=pack,
    )
    yield delivery("archive", "gzip as declared", TAKEN, ALL, table=packed, change=pack)
    yield delivery(
        "archive",
        "gzip cut off",
        FILE_REFUSED,
        (0, 0, 0),
        "the gzip archive is damaged or cut off",
        table=packed,
        change=lambda data: pack(data)[:-20],
    )
    yield delivery(
        "archive",
        "gzip with a flipped bit",
        FILE_REFUSED,
        (0, 0, 0),
        "the gzip archive is damaged or cut off",
        table=packed,
        change=flip,
    )
    yield delivery(
        "archive", "not packed, though declared", FILE_REFUSED, (0, 0, 0), "is not packed with gzip", table=packed
    )
    yield delivery(
        "archive",
        "an error page, packed",
        FILE_REFUSED,
        (0, 0, 0),
        "is an HTML or XML page",
        table=packed,
        change=lambda _: pack(b"<html></html>"),
    )
    yield delivery(
        "archive",
        "zip as declared",
        TAKEN,
        ALL,
        table=zipped,
        change=lambda data: zip_of({"__MACOSX/._a": b"x", "../sales.csv": data}),
    )
    yield delivery(
        "archive",
        "zip with two files",
        FILE_REFUSED,
        (0, 0, 0),
        "holds 2 files: 'a.csv', 'b.csv'. Pack one file",
        table=zipped,
        change=lambda data: zip_of({"a.csv": data, "b.csv": data}),
    )
    yield delivery(
        "archive",
        "zip with a flipped bit",
        FILE_REFUSED,
        (0, 0, 0),
        "the zip archive is damaged or cut off",
        table=zipped,
        change=lambda data: flipped(zip_of({"a.csv": data}), 200),
    )


def _foreign() -> Iterator[Case]:
    page = b"<!DOCTYPE html><html><body>Log in</body></html>"
    for what, data, words in (
        ("an HTML page", page, "is an HTML or XML page, not csv"),
        ("an XML page", b"<?xml version='1.0'?><error/>", "is an HTML or XML page, not csv"),
        ("the error of a service as JSON", b'{"error": "quota exceeded"}\n', "is JSON, not csv"),
        ("a workbook", b"PK\x03\x04\x14\0" + bytes(60), "is a zip archive or an Excel workbook, not csv"),
        ("a PDF", b"%PDF-1.7\n" + bytes(60), "is a PDF document, not csv"),
        (
            "a pointer of Git LFS",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
            "git lfs pull",
        ),
        ("a Parquet file", b"PAR1" + bytes(60) + b"PAR1", "Set format: {kind: parquet}"),
    ):
        yield delivery("not data", what, FILE_REFUSED, (0, 0, 0), words, change=instead(data))
    yield delivery(
        "not data",
        "an error page behind half of the rows",
        BATCH_REFUSED,
        (30, 5, 0),
        "5 of 35 rows",
        body=[*ROWS[:30], "<html>", "<head><title>502</title></head>", "<body>", "Bad gateway", "</body></html>"],
    )


def cases() -> Iterator[Case]:
    """All of them."""
    yield from _encodings()
    yield from _archives()
    yield from _foreign()
