"""Reading CSV: every declared column as the text that was delivered, every record with its physical line.

What belongs here: header, quotes, line ends, and records that cannot be taken apart; nothing is guessed, and nothing is
left out but blank lines, which are counted. What does not: what the texts mean (``cells``).

Clean bytes go through Arrow. Where a quote stands oddly, a NUL, a bare carriage return, a blank line or a record of
another width is found, a strict scan explains instead. The two read clean records alike.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from mlops_assets.contract.model import Contract, FileFormat, Source
from mlops_assets.errors import DeliveryError
from mlops_assets.stages.delivery import (
    LINE,
    PROBLEM,
    TEXT,
    Delivery,
    FileRows,
    check_columns,
    read_bytes,
    refuse_foreign,
)
from mlops_assets.stages.rows import Ints

_BOM = b"\xef\xbb\xbf"
_MOST_LINES = 1000
"""A record of more lines is an unclosed quote; it also bounds what one stray quote can cost."""
_PIECE = 50_000
_BLOCK = 1 << 24
_DELIMITERS = (",", ";", "\t", "|")
_WIDE = 8
"""From this many fields on, a line inside a quoted field that splits like a row is taken for one."""


def read_delimited(contract: Contract, source: Source, delivery: Delivery) -> FileRows:
    """The rows of a CSV file.

    Raises:
        DeliveryError: the file cannot be read at all, one sentence for each problem.
    """
    delivered = read_bytes(delivery)
    refuse_foreign(delivery, source, delivered)
    data = _utf8(source, delivery, delivered)
    names = _header(contract, source, delivery, data)
    extra = check_columns(contract, source, delivery, names)
    rows = _fast(source, names, data) or _scan(source, names, data)
    return FileRows(
        rows.table,
        {
            "rows": rows.table.num_rows,
            "bytes": len(delivered),
            "blank_lines": rows.blank_lines,
            "unsplit": rows.unsplit,
            "final_newline": data.endswith((b"\n", b"\r")),
            "cut_off_line": rows.cut_off_line,
            "extra_columns": extra,
        },
    )


@dataclass(frozen=True, slots=True)
class _Rows:
    table: pa.Table
    blank_lines: int = 0
    unsplit: int = 0
    cut_off_line: int | None = None


def _utf8(source: Source, delivery: Delivery, data: bytes) -> bytes:
    """The file as UTF-8 without a byte order mark."""
    encoding = source.format.encoding
    if encoding.replace("_", "-").lower() in ("utf-8", "utf8", "utf-8-sig", "ascii", "us-ascii"):
        data = data.removeprefix(_BOM)
        if not data.isascii():
            _decoded(source, delivery, data, "utf-8")
        return data
    return _decoded(source, delivery, data, encoding).removeprefix("\ufeff").encode()


def _decoded(source: Source, delivery: Delivery, data: bytes, encoding: str) -> str:
    if encoding == "utf-8" and data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DeliveryError(
            f"{delivery.name} is written in UTF-16. Set format: {{encoding: utf-16}} for source {source.name}."
        )
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DeliveryError(
            f"{delivery.name} line {line}: the byte 0x{data[error.start]:02x} (byte {error.start:,} of the file) is "
            f"not {encoding}. {_encodings(encoding)} for source {source.name}, or ask for UTF-8."
        ) from None


def _encodings(encoding: str) -> str:
    if encoding == "utf-8":
        return "If the file comes from an older Windows or Excel, set format: {encoding: cp1252} (or latin-1)"
    return "Set the file's true encoding (format: {encoding: ...})"


def _header(contract: Contract, source: Source, delivery: Delivery, data: bytes) -> list[str]:
    """The names in the first line."""
    first = next(iter(io.StringIO(data[: _end_of_line(data)].decode(), newline="")))
    where = f"{delivery.name} line 1"
    if "\0" in first:
        raise DeliveryError(
            f"{where} holds a NUL byte: the file is binary, damaged, or written in UTF-16 "
            f"(then set format: {{encoding: utf-16}} for source {source.name})."
        )
    names: list[str] = []
    problem = ""
    try:
        names = _split_alone(first, source.format)
    except csv.Error as error:
        problem = _quote_problem(error)
    if not set(names) & set(source.columns):
        better = _delimiter(source, first)
        if better:
            found = problem or f"found {len(names)} column{'s' * (len(names) != 1)}"
            raise DeliveryError(
                f"{delivery.name}: {found} with the delimiter {source.format.delimiter!r}; the header looks like "
                f"{better!r} is the delimiter. If so, set "
                f"format: {{delimiter: {_yaml(better)}}} for source {source.name} ({contract.file}:{source.line})."
            )
        if problem:
            raise DeliveryError(f"{where}: the header cannot be read: {problem}.")
        if not first.strip():
            raise DeliveryError(f"{where} is blank; the header with the column names should stand there.")
    return names


def _end_of_line(data: bytes) -> int:
    ends = [place + 1 for place in (data.find(b"\n"), data.find(b"\r")) if place >= 0]
    return min(ends, default=len(data))


def _delimiter(source: Source, header: str) -> str | None:
    """Another delimiter that makes declared names of a header."""
    counts = {
        sign: len({name.strip(" \"'\r\n") for name in header.split(sign)} & set(source.columns))
        for sign in _DELIMITERS
        if sign != source.format.delimiter
    }
    best = max(counts, key=lambda sign: counts[sign])
    return best if counts[best] > 0 else None


def _yaml(delimiter: str) -> str:
    return "tab" if delimiter == "\t" else f'"{delimiter}"'


def _fast(source: Source, names: Sequence[str], data: bytes) -> _Rows | None:
    """The rows by Arrow, or None unless every line is surely one record of the right width."""
    if b"\0" in data:
        return None
    if b"\r" in data and data.count(b"\r") != data.count(b"\r\n"):
        return None
    start = _end_of_line(data)
    start += data[start - 1 : start + 1] == b"\r\n"
    lines = data.count(b"\n", start) + (not data.endswith(b"\n"))
    body = memoryview(data)[start:]
    quote = source.format.quote
    if not quote or quote.encode() not in data:
        quote = ""
    elif not _well_quoted(source.format, body):
        return None
    read = _by_arrow(source, names, body, lines, quote)
    return None if read is None else _Rows(_framed(read, np.arange(2, lines + 2)))


def _well_quoted(file_format: FileFormat, data: memoryview) -> bool:
    """Whether quotes stand only around whole fields, doubled inside, and no field runs over a line's end.

    Arrow alone would read an unclosed quote, or ``"008"x``, without a word. One pass of an automaton (RE2) tells.
    """
    quote, delimiter = re.escape(file_format.quote), re.escape(file_format.delimiter)
    cell = rf"(?:{quote}(?:[^{quote}\r\n]|{quote}{quote})*{quote}|[^{quote}{delimiter}\r\n]*)"
    line = rf"{cell}(?:{delimiter}{cell})*"
    whole = pa.Array.from_buffers(
        pa.large_string(), 1, [None, pa.py_buffer(np.array([0, len(data)], dtype=np.int64)), pa.py_buffer(data)]
    )
    return bool(pc.match_substring_regex(whole, rf"\A(?:{line}\r?\n)*{line}\r?\n?\z")[0].as_py())


def _by_arrow(source: Source, names: Sequence[str], data: memoryview, lines: int, quote: str = "") -> pa.Table | None:
    """The declared columns of lines without NULs or odd quotes; None unless each is one record of the right width."""
    # A byte order mark at the start of what Arrow is given would be dropped without a word.
    if not data or bytes(data[:3]) == _BOM or not source.format.delimiter.isascii():
        return None
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


def _framed(table: pa.Table, lines: Ints) -> pa.Table:
    nothing = pa.nulls(table.num_rows, pa.string())
    for name, values in ((LINE, pa.array(lines, pa.int64())), (TEXT, nothing), (PROBLEM, nothing)):
        table = table.append_column(name, values)
    return table


def _scan(source: Source, names: Sequence[str], data: bytes) -> _Rows:
    """The rows by a strict scan that explains every record which is not one."""
    lines = list(io.StringIO(data.decode(), newline=""))
    keeper = _Keeper(source, names)
    _Scanner(source, names, lines, keeper).run()
    whole = lines[-1].endswith(("\n", "\r"))
    return _Rows(keeper.table(), keeper.blank_lines, keeper.unsplit, None if whole else keeper.cut_off_line)


class _Keeper:
    """Collects records: plain lines for Arrow, fields, and what could not be taken apart."""

    def __init__(self, source: Source, names: Sequence[str]) -> None:
        self.blank_lines = 0
        self.unsplit = 0
        self.cut_off_line: int | None = None
        self._source = source
        self._names = names
        self._plain: list[str] = []
        self._plain_lines: list[int] = []
        self._fields: list[Sequence[str | None]] = []
        self._lines: list[int] = []
        self._texts: list[tuple[str | None, str | None]] = []
        self._done: list[pa.Table] = []
        self._absent: tuple[None, ...] = (None,) * len(names)

    def plain(self, line: int, bare: str) -> None:
        """A line without quotes, of the right width."""
        self.cut_off_line = None
        self._plain.append(bare)
        self._plain_lines.append(line)

    def split(self, line: int, fields: Sequence[str]) -> None:
        """A record's fields."""
        self.cut_off_line = None
        self._add(line, fields, (None, None))

    def whole(self, line: int, raw: str, problem: str, *, cut_off: bool = False) -> None:
        """A record that could not be taken apart; ``cut_off`` when more of it may be missing at its end."""
        self.cut_off_line = line if cut_off else None
        self.unsplit += 1
        self._add(line, self._absent, (raw.rstrip("\r\n"), problem))

    def table(self) -> pa.Table:
        """Everything kept, in the order of the lines."""
        self._finish()
        if self._plain:
            data = memoryview("\n".join(self._plain).encode() + b"\n")
            read = _by_arrow(self._source, self._names, data, len(self._plain))
            if read is not None:
                self._done.append(_framed(read, np.array(self._plain_lines)))
            else:  # Arrow will not have it, so take it apart here
                for line, bare in zip(self._plain_lines, self._plain, strict=True):
                    self._add(line, bare.split(self._source.format.delimiter), (None, None))
                self._finish()
        table = pa.concat_tables(self._done).combine_chunks()
        lines = table[LINE].to_numpy()
        return table if (lines[1:] > lines[:-1]).all() else table.take(pa.array(np.argsort(lines, kind="stable")))

    def _add(self, line: int, fields: Sequence[str | None], text: tuple[str | None, str | None]) -> None:
        self._lines.append(line)
        self._fields.append(fields)
        self._texts.append(text)
        if len(self._lines) >= _PIECE:
            self._finish()

    def _finish(self) -> None:
        """Make a table of the fields so far: the texts of a large file are not all Python objects at once."""
        columns = list(zip(*self._fields, strict=True)) or [()] * len(self._names)
        arrays = {name: pa.array(columns[self._names.index(name)], pa.string()) for name in self._source.columns}
        arrays[LINE] = pa.array(self._lines, pa.int64())
        arrays[TEXT] = pa.array([text for text, _ in self._texts], pa.string())
        arrays[PROBLEM] = pa.array([problem for _, problem in self._texts], pa.string())
        self._done.append(pa.table(arrays))
        self._lines, self._fields, self._texts = [], [], []


class _Feed:
    """Gives physical lines to ``csv.reader`` from any place on; the reader keeps no state between records."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines
        self.at = 0
        self.stop = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.at >= self.stop:
            raise StopIteration
        self.at += 1
        return self._lines[self.at - 1]


class _Scanner:
    """Takes the physical lines of a file apart, record by record, and explains what is no record."""

    def __init__(self, source: Source, names: Sequence[str], lines: Sequence[str], keeper: _Keeper) -> None:
        self._source = source
        self._names = names
        self._lines = lines
        self._keeper = keeper
        self._feed = _Feed(lines)
        self._reader = csv.reader(self._feed, strict=True, **_dialect(source.format))

    def run(self) -> None:
        """Hand every record from the second line on to the keeper."""
        quote, delimiter, commas = self._source.format.quote, self._source.format.delimiter, len(self._names) - 1
        keeper, lines = self._keeper, self._lines
        at = 1
        while at < len(lines):
            line = lines[at]
            if quote and quote in line:
                self._quoted(at)
                at = self._feed.at
                continue
            bare = line.rstrip("\r\n")
            at += 1
            if not bare:
                keeper.blank_lines += 1
            elif bare.count(delimiter) == commas and "\0" not in bare:
                keeper.plain(at, bare)
            else:
                self._checked(at, bare.split(delimiter), line)

    def _quoted(self, at: int) -> None:
        """The record that begins at a line with a quote, with the feed left where the next begins.

        After a fault only that line is given up: what follows are rows until they prove to be none.
        """
        feed, lines = self._feed, self._lines
        feed.at, feed.stop = at, min(len(lines), at + _MOST_LINES)
        try:
            fields = next(self._reader)
        except csv.Error as error:
            feed.at = at + 1
            problem = _quote_problem(error)
            self._keeper.whole(at + 1, lines[at], problem, cut_off="not closed" in problem)
            return
        if feed.at == at + 1:
            self._checked(at + 1, fields, lines[at])
            return
        span = lines[at : feed.at]
        if not any(_looks_like_row(self._source, self._names, inner) for inner in span[1:-1]):
            self._checked(at + 1, fields, "".join(span))
            return
        # Two stray quotes far apart make one well-formed record of everything between: no row may vanish in it.
        problem = f"a quoted field runs over {len(span)} lines that look like rows; is a quote missing?"
        for number, line in enumerate(span, start=at + 1):
            if line.strip("\r\n"):
                self._keeper.whole(number, line, problem)
            else:
                self._keeper.blank_lines += 1

    def _checked(self, line: int, fields: Sequence[str], raw: str) -> None:
        width = len(self._names)
        if "\0" in raw:
            self._keeper.whole(line, raw, "the line holds a NUL byte")
        elif len(fields) != width:
            problem = f"the line has {len(fields)} field{'s' * (len(fields) != 1)} where the header has {width}"
            self._keeper.whole(line, raw, problem, cut_off=len(fields) < width)
        else:
            self._keeper.split(line, fields)


def _looks_like_row(source: Source, names: Sequence[str], line: str) -> bool:
    """Whether a line inside a quoted field splits like a row, numbers where numbers are declared."""
    fields = line.rstrip("\r\n").split(source.format.delimiter)
    if len(names) == 1 or len(fields) != len(names):
        return False
    numbers = [
        text
        for name, text in zip(names, fields, strict=True)
        if name in source.columns and source.columns[name].type in ("int64", "float64")
        if text not in (*source.format.missing, *source.columns[name].missing)
    ]
    if not numbers:
        return len(names) >= _WIDE
    return all(text.replace(source.format.decimal, ".").lstrip("+-").replace(".", "", 1).isdigit() for text in numbers)


def _split_alone(line: str, file_format: FileFormat) -> list[str]:
    return next(csv.reader([line], strict=True, **_dialect(file_format)), [])


def _dialect(file_format: FileFormat) -> dict[str, Any]:
    if not file_format.quote:
        return {"delimiter": file_format.delimiter, "quoting": csv.QUOTE_NONE}
    return {"delimiter": file_format.delimiter, "quotechar": file_format.quote, "doublequote": True}


def _quote_problem(error: csv.Error) -> str:
    """The scanner's complaint in plain words."""
    said = str(error)
    if "unexpected end" in said:
        return "a quote is opened and not closed"
    if "expected after" in said:
        return "something stands between a closing quote and the next delimiter"
    if "field larger" in said:
        return f"a quoted field is longer than {csv.field_size_limit():,} characters; is a quote missing?"
    return said
