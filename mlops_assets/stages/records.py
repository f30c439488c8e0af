"""Records of a CSV file on their way into a table: by Arrow where lines are plain, field by field, or as their text.

What belongs here: physical lines, and keeping records in their order. What does not: which lines are records (``scan``,
``delimited``).
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from mlops_assets.contract.model import Source
from mlops_assets.stages.delivery import LINE, PROBLEM, TEXT
from mlops_assets.stages.header import dialect
from mlops_assets.stages.rows import Ints, Truths

_BLOCK = 1 << 24


@dataclass(frozen=True, slots=True)
class Records:
    """Records in the order of their lines: declared columns, ``_line``, ``_text``, ``_problem``.

    ``cut_off_line`` is the last record's line when more of it may be missing at its end.
    """

    table: pa.Table
    blank_lines: int = 0
    unsplit: int = 0
    cut_off_line: int | None = None


@dataclass(frozen=True, slots=True)
class Lines:
    """Physical lines with their ends, large_string; ``first`` is the number of the first of them in the file."""

    texts: pa.Array
    first: int

    @classmethod
    def of(cls, data: memoryview, first: int, end: str) -> "Lines":
        """The lines of UTF-8 bytes, each ending in the letter ``end``, or at the end of the bytes."""
        ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == ord(end))
        offsets = np.concatenate([[0], ends + 1])
        if offsets[-1] != len(data):
            offsets = np.append(offsets, len(data))
        buffers = [None, pa.py_buffer(offsets.astype(np.int64)), pa.py_buffer(data)]
        return cls(pa.Array.from_buffers(pa.large_string(), len(offsets) - 1, buffers), first)

    def __getitem__(self, place: int) -> str:
        return str(self.texts[place].as_py())

    def __len__(self) -> int:
        return len(self.texts)


def by_arrow(source: Source, names: Sequence[str], data: memoryview, lines: int, quote: str = "") -> pa.Table | None:
    """The declared columns of lines without NULs or odd quotes; None unless each is one record of the right width."""
    try:
        read = arrow_csv.read_csv(
            pa.BufferReader(pa.py_buffer(data)),
            read_options=arrow_csv.ReadOptions(column_names=list(names), use_threads=False, block_size=_BLOCK),
            parse_options=arrow_csv.ParseOptions(
                delimiter=source.format.delimiter, quote_char=quote or False, double_quote=True, escape_char=False
            ),
            convert_options=arrow_csv.ConvertOptions(
                check_utf8=False,
                include_columns=list(source.columns),
                column_types={name: pa.string() for name in source.columns},
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid:
        return None
    return read if read.num_rows == lines else None


def framed(table: pa.Table, lines: Ints) -> pa.Table:
    """Records that were taken apart, with their lines."""
    nothing = pa.nulls(table.num_rows, pa.string())
    for name, values in ((LINE, pa.array(lines, pa.int64())), (TEXT, nothing), (PROBLEM, nothing)):
        table = table.append_column(name, values)
    return table


class Keeper:
    """Collects records in any order: plain lines for Arrow, fields, and what could not be taken apart."""

    def __init__(self, source: Source, names: Sequence[str], first: int) -> None:
        self._source, self._names, self._first = source, names, first
        self._fields: list[Sequence[str]] = []
        self._places: list[int] = []
        self._tables: list[pa.Table] = []
        self._odd: list[tuple[int, str, str, bool]] = []
        self._short: set[int] = set()

    def plain(self, lines: Lines, places: Ints, quote: str) -> None:
        """Lines that are one record each."""
        if not len(places):
            return
        kept = lines.texts if len(places) == len(lines) else lines.texts.take(pa.array(places))
        data = _bytes_of(kept)
        read = by_arrow(self._source, self._names, data, len(places), quote)
        if read is not None:
            self._tables.append(framed(read, places + self._first))
            return
        for place, fields in zip(
            places.tolist(), csv.reader(kept.to_pylist(), **dialect(self._source.format)), strict=True
        ):
            self.split(place, fields)

    def split(self, place: int, fields: Sequence[str]) -> None:
        """A record's fields."""
        self._places.append(place)
        self._fields.append(fields)

    def odd(self, place: int, text: str, problem: str, *, short: bool = False) -> None:
        """A record that could not be taken apart; ``short`` when more of it may be missing at its end."""
        self._odd.append((place, text.rstrip("\r\n"), problem, short))

    def unsplit(self, places: Ints, texts: pa.Array, problems: Sequence[str], *, short: Truths) -> None:
        """Records that could not be taken apart, many at once."""
        if len(places):
            self._short.update(places[short].tolist())
            self._tables.append(self._unsplit(places, texts, pa.array(problems, pa.string())))

    def records(self, blank_lines: int) -> Records:
        """Everything in the order of the lines."""
        if self._places:
            table = _fields_table(self._source, self._names, self._fields)
            self._tables.append(framed(table, np.array(self._places, dtype=np.int64) + self._first))
        if self._odd:
            places, texts, problems, _ = zip(*self._odd, strict=True)
            self._short.update(place for place, _, _, short in self._odd if short)
            found = self._unsplit(np.array(places, dtype=np.int64), pa.array(texts), pa.array(problems, pa.string()))
            self._tables.append(found)
        if not self._tables:
            return Records(
                framed(_fields_table(self._source, self._names, []), np.zeros(0, dtype=np.int64)), blank_lines
            )
        table = pa.concat_tables(self._tables).combine_chunks()
        numbers = table[LINE].to_numpy()
        if not (numbers[1:] >= numbers[:-1]).all():
            table = table.take(pa.array(np.argsort(numbers, kind="stable")))
        last = int(numbers.max())
        cut_off = last if last - self._first in self._short else None
        return Records(table, blank_lines, table.num_rows - table[PROBLEM].null_count, cut_off)

    def _unsplit(self, places: Ints, texts: pa.Array, problems: pa.Array) -> pa.Table:
        nothing = pa.nulls(len(places), pa.string())
        columns = dict.fromkeys(self._source.columns, nothing)
        lines = pa.array(places + self._first, pa.int64())
        return pa.table({**columns, LINE: lines, TEXT: texts.cast(pa.string()), PROBLEM: problems})


def _fields_table(source: Source, names: Sequence[str], rows: Sequence[Sequence[str]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return pa.table({name: pa.array(columns[names.index(name)], pa.string()) for name in source.columns})


def _bytes_of(texts: pa.Array) -> memoryview:
    """The bytes of texts that follow each other in one buffer."""
    _, offsets, data = texts.buffers()
    places = np.frombuffer(offsets, dtype=np.int64)
    return memoryview(data)[places[texts.offset] : places[texts.offset + len(texts)]]
