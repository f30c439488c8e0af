"""The header of a CSV file: where it stands, and the names in it.

What belongs here: the first lines of a file, and what they look like when they are no header. What does not: which
columns must be there (``delivery.check_columns``), the rows (``delimited``).
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mlops_assets.contract.model import Contract, FileFormat, Source
from mlops_assets.errors import DeliveryError
from mlops_assets.stages.delivery import BLANKS, Delivery

DELIMITERS = (",", ";", "\t", "|")
_LOOKED_AT = 20
"""Lines among which a header is looked for when it does not stand where it should."""
_LONGEST = 1_000_000
"""Bytes of a header; what is longer is no header, and costs much to take apart."""
_LINE_ENDS = {"\v": "vertical tabs", "\f": "form feeds", "\x1e": "U+001E", "\x85": "U+0085", "\u2028": "U+2028"}
"""Signs at which some systems end a line or a record."""


@dataclass(frozen=True, slots=True)
class Header:
    """The ``names``, the ``text`` of their line without its end, and the byte at which the rows begin."""

    names: tuple[str, ...]
    text: str
    end: int


def read_header(contract: Contract, source: Source, delivery: Delivery, data: bytes) -> Header:
    """The names in the line of ``data`` (UTF-8) that the contract says.

    Raises:
        DeliveryError: the line is not there, or is surely no header, with what it looks like.
    """
    number, start = source.format.header, 0
    for _ in range(number - 1):
        start = end_of_line(data, start)
    where = f"{delivery.name} line {number}"
    if start >= len(data):
        raise DeliveryError(f"{where} is not there; the contract says that the column names stand on it.")
    end = end_of_line(data, start)
    if end - start > _LONGEST:
        raise DeliveryError(
            f"{where} is {end - start:,} bytes long, and a header has at most {_LONGEST:,}: the file has no line ends, "
            f"or is no table. Deliver one record a line, the column names on line {number}."
        )
    text = data[start:end].decode().rstrip("\r\n")
    if "\0" in text:
        raise DeliveryError(
            f"{where} holds a NUL byte: the file is binary, damaged, or written in UTF-16 "
            f"(then set format: {{encoding: utf-16}} for source {source.name})."
        )
    names: list[str] = []
    problem = ""
    try:
        names = split_alone(text, source.format)
        if source.format.strip:
            names = [name.strip(BLANKS) for name in names]
    except csv.Error as error:
        problem = quote_problem(error)
    strange = next((sign for sign in _LINE_ENDS if sign in text), None)
    if strange and not set(source.columns) <= set(names):
        raise DeliveryError(
            f"{where} does not end where the header ends: the lines seem to end in {_LINE_ENDS[strange]}. Ask for "
            f"lines that end in LF or CRLF."
        )
    if not set(names) & set(source.columns):
        sentence = _explained(contract, source, delivery, data, text) or (
            f"{where}: the header cannot be read: {problem}." if problem else None
        )
        if sentence:
            raise DeliveryError(sentence)
    return Header(tuple(names), text, end)


def _explained(contract: Contract, source: Source, delivery: Delivery, data: bytes, text: str) -> str | None:
    """What a header without any declared name looks like, if it looks like anything."""
    where = f"{delivery.name} line {source.format.header}"
    contract_line = f"source {source.name} ({contract.file}:{source.line})"
    better = other_delimiter(source, text)
    if better:
        count = text.count(source.format.delimiter) + 1
        looks = (
            f"{delivery.name}: found {count} column{'s' * (count != 1)} with the delimiter "
            f"{source.format.delimiter!r}; the header looks like {better!r} is the delimiter."
        )
        if len(better) > 1:
            return f"{looks} A delimiter is one sign, like ';' or tab. Ask for the file with one."
        return f"{looks} If so, set format: {{delimiter: {_yaml(better)}}} for {contract_line}."
    elsewhere, sign = _elsewhere(source, data)
    if elsewhere:
        more = f", delimiter: {_yaml(sign)}" if sign != source.format.delimiter else ""
        return (
            f"{where} is not the header; the column names stand on line {elsewhere}. Deliver the file without the "
            f"lines above, or set format: {{header: {elsewhere}{more}}} for {contract_line}."
        )
    return None if text.strip() else f"{where} is blank; the header with the column names should stand there."


def end_of_line(data: bytes, start: int = 0) -> int:
    """Where the line that begins at ``start`` ends, its line end included; a file without LF has lines that end in CR.

    A CR in a file with LF is no line end of its own, so that two records never become one and a piece of another.
    """
    place = data.find(b"\n" if b"\n" in data else b"\r", start)
    return len(data) if place < 0 else place + 1


def other_delimiter(source: Source, header: str) -> str | None:
    """What stands between the names of a header in which other signs than the delimiter part declared names."""
    counts = {
        sign: len({name.strip(" \"'\r\n") for name in header.split(sign)} & set(source.columns))
        for sign in DELIMITERS
        if sign != source.format.delimiter
    }
    best = max(counts, key=lambda sign: counts[sign])
    doubled = f"{best}{best}" in header
    if counts[best] > 0 and not doubled:
        return best
    # Some other sign, or several: what stands between two declared names, and only that.
    names = "|".join(re.escape(name) for name in sorted(source.columns, key=len, reverse=True))
    between = re.findall(rf"(?<!\w)[\"']?(?:{names})[\"']?([^\w\"']{{1,4}})(?=[\"']?(?:{names})(?!\w))", header)
    same = {sign for sign in between if sign.strip(BLANKS) != source.format.delimiter}
    return same.pop() if len(same) == 1 else best if counts[best] > 0 else None


def _elsewhere(source: Source, data: bytes) -> tuple[int, str]:
    """The line, counted from 1, that holds every declared name, and the delimiter between them; 0 where none does."""
    start = 0
    for number in range(1, _LOOKED_AT + 1):
        end = min(end_of_line(data, start), start + _LONGEST)
        line = data[start:end].decode(errors="replace").rstrip("\r\n")
        for sign in dict.fromkeys((source.format.delimiter, *DELIMITERS)):
            try:
                names = split_alone(line, replace(source.format, delimiter=sign))
            except csv.Error:
                continue
            if set(source.columns) <= set(names):
                return number, sign
        start = end_of_line(data, start)
    return 0, ""


def _yaml(delimiter: str) -> str:
    return "tab" if delimiter == "\t" else f'"{repr(delimiter)[1:-1]}"'


def split_alone(line: str, file_format: FileFormat) -> list[str]:
    """The fields of one line, strictly."""
    return next(csv.reader([line], strict=True, **dialect(file_format)), [])


def dialect(file_format: FileFormat) -> Mapping[str, Any]:
    """How Python's reader is told to split."""
    if not file_format.quote:
        return {"delimiter": file_format.delimiter, "quoting": csv.QUOTE_NONE}
    return {"delimiter": file_format.delimiter, "quotechar": file_format.quote, "doublequote": True}


def quote_problem(error: csv.Error) -> str:
    """The strict reader's complaint in plain words."""
    said = str(error)
    if "unexpected end" in said:
        return "a quote is opened and not closed"
    if "expected after" in said:
        return "something stands between a closing quote and the next delimiter"
    if "field larger" in said:
        return f"a field is longer than {csv.field_size_limit():,} characters; a quote may be missing"
    if "new-line character" in said:
        return "the line holds a carriage return where no line ends"
    return said
