"""Reading CSV: every declared column as the text that was delivered, every record with its physical line.

What belongs here: one file from bytes to records, and the quick way for clean ones. What does not: encodings
(``encodings``), the header (``header``), damaged files line by line (``scan``), what the texts mean (``cells``).
Nothing is guessed, and nothing is left out but blank lines, which are counted.

Clean bytes go through Arrow at once. Where a quote stands oddly, a NUL, a lone carriage return, a blank line, a second
header, an endless field or a record of another width is found, ``scan`` looks at every line instead. The two read
clean records alike.
"""

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.model import Contract, FileFormat, Source
from mlops_assets.stages.archives import unpacked
from mlops_assets.stages.delivery import (
    LONGEST,
    Delivery,
    FileRows,
    check_columns,
    read_bytes,
    refuse_foreign,
    require_final_newline,
)
from mlops_assets.stages.encodings import BOM, as_utf8
from mlops_assets.stages.header import Header, read_header
from mlops_assets.stages.records import Lines, Records, by_arrow, framed
from mlops_assets.stages.scan import scan


def read_delimited(contract: Contract, source: Source, delivery: Delivery) -> FileRows:
    """The rows of a CSV file.

    Raises:
        DeliveryError: the file cannot be read at all, one sentence for each problem.
    """
    delivered = read_bytes(delivery)
    packed = unpacked(contract, source, delivery, delivered)
    refuse_foreign(delivery, source, packed)
    data = as_utf8(source, delivery, packed)
    header = read_header(contract, source, delivery, data)
    extra = check_columns(contract, source, delivery, header.names)
    whole = data.endswith((b"\n", b"\r"))
    require_final_newline(contract, source, delivery, data)
    records = _fast(source, header, data)
    if records is None:
        body = memoryview(data)[header.end :]
        # CR ends a line only in a file that has no LF at all.
        end = "\n" if b"\n" in data else "\r"
        records = scan(source, header, Lines.of(body, source.format.header + 1, end))
    return FileRows(
        records.table,
        {
            "rows": records.table.num_rows,
            "bytes": len(delivered),
            "blank_lines": records.blank_lines,
            "unsplit": records.unsplit,
            "final_newline": whole,
            "cut_off_line": None if whole else records.cut_off_line,
            "extra_columns": extra,
        },
    )


def _fast(source: Source, header: Header, data: bytes) -> Records | None:
    """The rows by Arrow, or None unless every line is surely one record of the right width."""
    start = header.end
    # A byte order mark at the start of what Arrow is given would be dropped without a word.
    if start == len(data) or b"\0" in data or data.startswith(BOM, start):
        return None
    if b"\r" in data and data.count(b"\r") != data.count(b"\r\n"):
        return None
    body = memoryview(data)[start:]
    if _repeats(header, source.format, data):
        return None
    ends = np.flatnonzero(np.frombuffer(body, dtype=np.uint8) == ord("\n"))
    lines = len(ends) + (not data.endswith(b"\n"))
    if np.diff(ends, prepend=-1, append=len(body)).max() > LONGEST:
        return None
    quote = source.format.quote
    if not quote or quote.encode() not in data[start:]:
        quote = ""
    elif not _well_quoted(source.format, body):
        return None
    read = by_arrow(source, header.names, body, lines, quote)
    first = source.format.header + 1
    return None if read is None else Records(framed(read, np.arange(first, first + lines)))


def _repeats(header: Header, file_format: FileFormat, data: bytes) -> bool:
    """Whether the header's line seems to stand a second time."""
    forms = {header.text, file_format.delimiter.join(header.names)}
    return any(data.find(form.encode(), header.end) >= 0 for form in forms | {_quoted(header.names, file_format)})


def _quoted(names: Sequence[str], file_format: FileFormat) -> str:
    quote = file_format.quote
    return file_format.delimiter.join(f"{quote}{name}{quote}" for name in names)


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
