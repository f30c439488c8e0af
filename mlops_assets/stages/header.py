"""The header of a CSV file: where it stands, and the names in it.

What belongs here: the first lines of a file, and what they look like when they are no header. What does not: which
columns must be there (``delivery.check_columns``), the rows (``delimited``).
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlops_assets.contract.model import Contract, FileFormat, Source
from mlops_assets.errors import DeliveryError
from mlops_assets.stages.delivery import Delivery

DELIMITERS = (",", ";", "\t", "|")
_LOOKED_AT = 20
"""Lines among which a header is looked for when it does not stand where it should."""


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
    except csv.Error as error:
        problem = quote_problem(error)
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
        return (
            f"{delivery.name}: found {count} column{'s' * (count != 1)} with the delimiter "
            f"{source.format.delimiter!r}; the header looks like {better!r} is the delimiter. If so, set format: "
            f"{{delimiter: {_yaml(better)}}} for {contract_line}."
        )
    elsewhere = _elsewhere(source, data)
    if elsewhere:
        return (
            f"{where} is not the header; the column names stand on line {elsewhere}. Deliver the file without the "
            f"lines above, or set format: {{header: {elsewhere}}} for {contract_line}."
        )
    return None if text.strip() else f"{where} is blank; the header with the column names should stand there."


def end_of_line(data: bytes, start: int = 0) -> int:
    """Where the line that begins at ``start`` ends, its line end included; a file without LF has lines that end in CR.

    A CR in a file with LF is no line end of its own, so that two records never become one and a piece of another.
    """
    place = data.find(b"\n" if b"\n" in data else b"\r", start)
    return len(data) if place < 0 else place + 1


def other_delimiter(source: Source, header: str) -> str | None:
    """Another delimiter that makes declared names of a header."""
    counts = {
        sign: len({name.strip(" \"'\r\n") for name in header.split(sign)} & set(source.columns))
        for sign in DELIMITERS
        if sign != source.format.delimiter
    }
    best = max(counts, key=lambda sign: counts[sign])
    return best if counts[best] > 0 else None


def _elsewhere(source: Source, data: bytes) -> int | None:
    """The line, counted from 1, that holds every declared name."""
    start = 0
    for number in range(1, _LOOKED_AT + 1):
        end = end_of_line(data, start)
        try:
            names = split_alone(data[start:end].decode().rstrip("\r\n"), source.format)
        except csv.Error:
            names = []
        if set(source.columns) <= set(names):
            return number
        start = end
    return None


def _yaml(delimiter: str) -> str:
    return "tab" if delimiter == "\t" else f'"{delimiter}"'


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
