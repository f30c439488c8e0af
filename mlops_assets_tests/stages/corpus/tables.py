"""Parquet and JSON Lines, whole and damaged."""

import gzip
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mlops_assets_tests.stages.corpus.account import (
    BATCH_REFUSED,
    FILE_REFUSED,
    PARTLY,
    TAKEN,
    WARNED,
    Case,
    Record,
)
from mlops_assets_tests.stages.corpus.make import ALL, ONE, flipped, table_with

FRAME = pa.table(
    {
        "id": [f"{n:04}" for n in range(60)],
        "day": [date(2024, 1, n % 28 + 1) for n in range(60)],
        "shop": [("north", "south", "west")[n % 3] for n in range(60)],
        "price": [n + 0.25 for n in range(60)],
        "paid": [n % 4 for n in range(60)],
        "note": [f"note {n}" for n in range(60)],
    }
)


def parquet_of(frame: pa.Table, **how: Any) -> bytes:
    """A Parquet file, plainly encoded so that a byte of a value can be found."""
    out = io.BytesIO()
    pq.write_table(frame, out, compression="none", use_dictionary=False, **how)
    return out.getvalue()


def frame_case(
    name: str, verdict: str, rows: tuple[int, int, int], *words: str, data: bytes, frame: pa.Table = FRAME, **form: Any
) -> Case:
    """A Parquet file that says the rows of a frame; a row is at its number."""
    table = table_with(kind="parquet", **form)
    records = [Record(n, None, row) for n, row in enumerate(frame.to_pylist(), start=1)]
    return Case("Parquet", name, data, table, records, verdict, rows, words)


def _parquet() -> Iterator[Case]:
    sound, bare = parquet_of(FRAME, write_page_checksum=True), parquet_of(FRAME)
    place = sound.index(b"note 30")
    yield frame_case("with checksums", TAKEN, ALL, data=sound, checksums="required")
    yield frame_case("without checksums", WARNED, ALL, "6 of 6 columns have no page checksums", data=bare)
    yield frame_case(
        "without checksums, checksums: required",
        FILE_REFUSED,
        (0, 0, 0),
        "6 of 6 columns have no page checksums",
        data=bare,
        checksums="required",
    )
    yield frame_case(
        "a flipped bit, with checksums",
        FILE_REFUSED,
        (0, 0, 0),
        "is damaged or no Parquet file",
        "CRC",
        data=flipped(sound, place),
    )
    yield frame_case(
        "a flipped bit, without, beyond the file's statistics",
        FILE_REFUSED,
        (0, 0, 0),
        "the column 'note' in rows 1 to 60 are not those that the file's own statistics tell of",
        data=flipped(bare, bare.index(b"note 30"), 6),
    )
    yield frame_case(
        "a flipped bit that is no letter any more",
        FILE_REFUSED,
        (0, 0, 0),
        "is damaged",
        data=flipped(bare, bare.index(b"note 30") + 2, 7),
    )
    yield frame_case("cut off", FILE_REFUSED, (0, 0, 0), "is damaged or no Parquet file", data=sound[: len(sound) // 2])
    yield frame_case(
        "a hole in its footer",
        FILE_REFUSED,
        (0, 0, 0),
        "is damaged or no Parquet file",
        data=sound[:-200] + bytes(150) + sound[-50:],
    )
    lists = FRAME.set_column(4, "paid", pa.array([[1]] * 60))
    yield frame_case(
        "a list instead of a number", FILE_REFUSED, (0, 0, 0), "the column 'paid' holds list<", data=parquet_of(lists)
    )
    large = FRAME.set_column(3, "price", pa.array([2**53 + 1, *range(59)]))
    yield frame_case(
        "a number that would be rounded",
        PARTLY,
        ONE,
        "'9007199254740993' cannot be kept exactly",
        data=parquet_of(large),
        frame=large,
    )
    strange = FRAME.set_column(1, "day", pa.array([*[0] * 59, 10_000_000], pa.int32()).cast(pa.date32()))
    yield frame_case(
        "a day that no calendar has",
        FILE_REFUSED,
        (0, 0, 0),
        "row 60: the column 'day' holds a date outside the years 1 to 9999",
        data=parquet_of(strange),
    )


def lines_case(
    name: str,
    verdict: str,
    rows: tuple[int, int, int],
    *words: str,
    body: Sequence[str],
    last: bool = True,
    change: Callable[[bytes], bytes] = bytes,
    **form: Any,
) -> Case:
    """A JSON Lines file of these lines."""
    table = table_with(kind="jsonl", **form)
    records = [Record(number, line, _object(line)) for number, line in enumerate(body, start=1) if line]
    data = change(("\n".join(body) + ("\n" if last else "")).encode())
    return Case("JSON Lines", name, data, table, records, verdict, rows, words, blank=body.count(""))


def _object(line: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(line, parse_float=str, parse_int=str, parse_constant=str)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _jsonlines() -> Iterator[Case]:
    body = [json.dumps(row, default=str) for row in FRAME.to_pylist()]
    yield lines_case("sound", TAKEN, ALL, body=body)
    yield lines_case(
        "cut off",
        BATCH_REFUSED,
        (59, 1, 0),
        "line 60: the last record is cut off",
        body=[*body[:-1], body[-1][:30]],
        last=False,
    )
    yield lines_case(
        "no line end, final_newline: required",
        FILE_REFUSED,
        (0, 0, 0),
        "line 60: the last line has no line end",
        body=body,
        last=False,
        final_newline="required",
    )
    yield lines_case(
        "a field twice",
        PARTLY,
        ONE,
        "line 4: a field stands twice in the object",
        body=[*body[:3], '{"id": "1", "id": "2"}', *body[4:]],
    )
    yield lines_case(
        "a line that is no JSON",
        PARTLY,
        ONE,
        "line 4: the line is not JSON",
        body=[*body[:3], body[3].replace('"', "'"), *body[4:]],
    )
    yield lines_case(
        "NaN for a number",
        PARTLY,
        ONE,
        "line 4: price: 'NaN' is not a number",
        body=[*body[:3], body[3].replace("3.25", "NaN"), *body[4:]],
    )
    yield lines_case(
        "a number too large",
        PARTLY,
        ONE,
        "line 4: price: '1e999'",
        body=[*body[:3], body[3].replace("3.25", "1e999"), *body[4:]],
    )
    yield lines_case("packed as declared", TAKEN, ALL, body=body, change=gzip.compress, archive="gzip")
    yield lines_case(
        "latin-1",
        FILE_REFUSED,
        (0, 0, 0),
        "line 4: the byte 0xe9",
        "is not UTF-8",
        body=[*body[:3], body[3].replace("note", "cafe"), *body[4:]],
        change=lambda data: data.replace(b"cafe", b"caf\xe9"),
    )


def cases() -> Iterator[Case]:
    """All of them."""
    yield from _parquet()
    yield from _jsonlines()
