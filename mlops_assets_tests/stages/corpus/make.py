"""Making deliveries: the sixty rows that every case of the corpus is made from, and files of them.

What belongs here: building files and what is known of them. What does not: damage, and what should become of it.
"""

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mlops_assets.contract.model import Column, FileFormat, Source
from mlops_assets_tests.stages.build import column, source
from mlops_assets_tests.stages.corpus.account import Case, Means, Record, fields_of

COLUMNS = (
    column("id", "string", nullable=False, roles=frozenset({"key"})),
    column("day", "date", nullable=False),
    column("shop", "string", nullable=False, values=("north", "south", "west")),
    column("price", "float64", minimum=0),
    column("paid", "int64"),
    column("note", "string"),
)
NAMES = tuple(each.name for each in COLUMNS)
HEADER = ",".join(NAMES)
ROWS = tuple(
    f"{n:04},2024-01-{n % 28 + 1:02},{('north', 'south', 'west')[n % 3]},{n + 0.25},{n % 4},note {n}" for n in range(60)
)
PLAIN = source(*COLUMNS, key=("id",))
ALL = (60, 0, 0)
ONE, TWO = (59, 1, 0), (58, 2, 0)


def table_with(*changed: Column, **form: Any) -> Source:
    """The sales with other columns of the same name, and another format."""
    columns = {each.name: each for each in (*COLUMNS, *changed)}
    return replace(PLAIN, columns=columns, format=FileFormat(**form))


def put(place: int, *texts: str, instead: int = 1) -> list[str]:
    """The rows with others in the place of one, or of ``instead`` many."""
    return [*ROWS[:place], *texts, *ROWS[place + instead :]]


def cell(place: int, **cells: str) -> list[str]:
    """The rows with other cells in one of them."""
    fields = dict(zip(NAMES, ROWS[place].split(","), strict=True)) | cells
    return put(place, ",".join(fields.values()))


def every(**cells: Callable[[int], str]) -> list[str]:
    """The rows with other cells in all of them, made from the row's number."""
    rows = [dict(zip(NAMES, row.split(","), strict=True)) for row in ROWS]
    return [",".join((row | {name: make(n) for name, make in cells.items()}).values()) for n, row in enumerate(rows)]


def replacing(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """Damage that puts some bytes in the place of others."""
    return lambda data: data.replace(old, new)


def instead(data: bytes) -> Callable[[bytes], bytes]:
    """Damage that leaves nothing of what was."""
    return lambda _: data


def delivery(
    family: str,
    name: str,
    verdict: str,
    rows: tuple[int, int, int] = (0, 0, 0),
    *words: str,
    body: Sequence[str] = ROWS,
    header: str = HEADER,
    above: Sequence[str] = (),
    end: str = "\n",
    last: bool = True,
    encoding: str = "utf-8",
    table: Source = PLAIN,
    change: Callable[[bytes], bytes] = bytes,
    means: Means | None = None,
    never: tuple[str, ...] = (),
) -> Case:
    """A CSV file of these lines. A text of the body is a physical record; an empty one is a blank line."""
    text = end.join([*above, header, *body]) + (end if last else "")
    places = [str(place) for place in range(header.count(table.format.delimiter) + 1)]
    names = fields_of(table, places, header)
    line, records, blank = len(above) + 2, [], 0
    for each in body:
        if each:
            fields = fields_of(table, tuple((names or {}).values()), each)
            # Where fields are many and quotes stand oddly, Python's reader is laxer than the contract.
            records.append(Record(line, each, fields))
        else:
            blank += 1
        line += each.count("\n") + 1
    data = change(text.encode(encoding))
    return Case(family, name, data, table, records, verdict, rows, words, never, means or {}, blank)


def zip_of(files: Mapping[str, bytes]) -> bytes:
    """A zip archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def flipped(data: bytes, place: int, bit: int = 3) -> bytes:
    """The bytes with one bit changed."""
    found = bytearray(data)
    found[place] ^= 1 << bit
    return bytes(found)
