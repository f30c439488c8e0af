"""The strict scan of a CSV file's lines: which are one record, which are none and why, and which go together.

What belongs here: telling every line of a damaged file apart. What does not: the quick way for clean files
(``delimited``), the header (``header``), putting records into a table (``records``), what the texts mean (``cells``).

Lines that surely are one record of the right width are found by Arrow, all at once, and so are those of another width.
Only a line with an odd quote is looked at alone, by Python's strict reader: it may be one record with lines after it.
"""

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.model import Column, Source
from mlops_assets.stages.arrays import truths
from mlops_assets.stages.delivery import LONGEST
from mlops_assets.stages.header import DELIMITERS, Header, dialect, quote_problem
from mlops_assets.stages.records import Keeper, Lines, Records
from mlops_assets.stages.rows import Ints, Truths

_MOST_FIELDS = 100_000
"""Fields of a record beyond those that it should have."""
_MOST_LINES = 1000
"""A record of more lines is an unclosed quote; it also bounds what one stray quote can cost."""
_NUL = "the line holds a NUL byte"
_RETURN = "the line holds a carriage return where no line ends"
_REPEATED = "the line repeats the header"
_STRAY = "a quote stands inside a field that does not begin with one"


def scan(source: Source, header: Header, lines: Lines) -> Records:
    """Every record of the lines.

    A line that is looked at alone may take lines after it into its record; the others are what they seem.
    """
    keeper = Keeper(source, header.names, lines.first)
    if not len(lines):
        return keeper.records(0)
    sight = _look(source, header, lines)
    reader = _Reader(source, header.names, lines, keeper)
    taken = np.zeros(len(lines), dtype=bool)
    with _long_fields():
        for place in np.flatnonzero(sight.alone).tolist():
            if not taken[place]:
                taken[place : reader.read(place)] = True
    keeper.plain(lines, np.flatnonzero(sight.plain & ~taken), source.format.quote)
    told = np.flatnonzero(sight.told & ~taken)
    keeper.unsplit(told, sight.bare.take(pa.array(told)), sight.problems[told].tolist(), short=sight.short[told])
    blank = int((sight.blank & ~taken).sum()) + reader.blank_lines
    return keeper.records(blank)


@dataclass(frozen=True, slots=True)
class _Sight:
    """What each line seems to be, shape (lines,): blank, one ``plain`` record, none (``told``, with its problem), or
    one to be looked at ``alone``. ``short`` are those of the told that may be cut off; ``bare`` has no line ends.
    """

    bare: pa.Array
    blank: Truths
    plain: Truths
    told: Truths
    alone: Truths
    short: Truths
    problems: npt.NDArray[np.object_]


def _look(source: Source, header: Header, lines: Lines) -> _Sight:
    quote, delimiter, width = source.format.quote, source.format.delimiter, len(header.names)
    bare = pc.utf8_rtrim(lines.texts, characters="\r\n")
    forms = {header.text, delimiter.join(header.names)}
    headers = pa.array(sorted(mark + form for form in forms for mark in ("", "\ufeff")), pa.large_string())
    blank = truths(pc.equal(pc.binary_length(bare), 0))
    fields = pc.count_substring(bare, delimiter).to_numpy().astype(np.int64) + 1
    quoted = truths(pc.match_substring(bare, quote)) if quote else np.zeros(len(bare), dtype=bool)
    well, repeated = ~quoted, truths(pc.is_in(bare, value_set=headers))
    places = np.flatnonzero(quoted)
    if len(places):
        some = bare.take(pa.array(places))
        cell = _cell(source, lines=False)
        well[places] = truths(pc.match_substring_regex(some, rf"\A{cell}(?:{re.escape(delimiter)}{cell})*\z"))
        outside = pc.replace_substring_regex(some, _quoted_cell(source, lines=False), "")
        fields[places] = pc.count_substring(outside, delimiter).to_numpy() + 1
        repeated[places] |= truths(pc.is_in(pc.replace_substring(some, quote, ""), value_set=headers))
    # Taken apart one by one, so many fields would cost much more memory than the file.
    endless = fields > width + _MOST_FIELDS
    # A byte order mark at the start of what Arrow is given would be dropped without a word.
    alone = truths(pc.greater(pc.binary_length(bare), LONGEST)) | truths(pc.starts_with(bare, "\ufeff")) | ~well
    nul = truths(pc.match_substring(bare, "\0"))
    lone = truths(pc.match_substring(bare, "\r")) & ~quoted
    alone &= ~(blank | nul | lone | repeated | endless)
    uneven = (fields != width) & ~(blank | nul | lone | repeated | alone)
    problems = np.full(len(bare), None, dtype=object)
    problems[uneven] = _widths(source, width, bare.filter(pa.array(uneven)), fields[uneven])
    for found, problem in ((lone, _RETURN), (nul, _NUL), (repeated, _REPEATED)):
        problems[found] = problem
    told = uneven | nul | lone | repeated
    return _Sight(bare, blank, ~(blank | told | alone), told, alone, nul | (uneven & (fields < width)), problems)


def _widths(source: Source, width: int, bare: pa.Array, fields: Ints) -> npt.NDArray[np.object_]:
    """How many fields each of the lines has, and why perhaps."""
    told = np.full(len(bare), None, dtype=object)
    for count in np.unique(fields).tolist():
        told[fields == count] = _width(count, width)
    if width in fields - 1:
        at_end = truths(pc.ends_with(bare, source.format.delimiter)) & (fields == width + 1)
        told[at_end] = _width(width + 1, width) + "; a delimiter too many stands at its end"
    if width > 1 and 1 in fields:
        for sign in DELIMITERS:
            other = truths(pc.equal(pc.count_substring(bare, sign), width - 1)) & (fields == 1)
            told[other] = _width(1, width) + f"; {sign!r} would split it into as many"
    return told


def _width(fields: int, width: int) -> str:
    """What is said of a record of another width than the header."""
    return f"the line has {fields} field{'s' * (fields != 1)} where the header has {width}"


class _Reader:
    """Python's strict reader, for lines that may be one record with the lines after them."""

    def __init__(self, source: Source, names: Sequence[str], lines: Lines, keeper: Keeper) -> None:
        self._source, self._names, self._lines, self._keeper = source, names, lines, keeper
        self._at = self._stop = 0
        self._csv = csv.reader(self, strict=True, **dialect(source.format))
        self._record = _record(source)
        self.blank_lines = 0
        """Blank lines in what seemed to be a record and is none."""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._at >= self._stop:
            raise StopIteration
        self._at += 1
        return self._lines[self._at - 1]

    def read(self, place: int) -> int:
        """Keep the record that begins at a line; the place where the next one begins.

        After a fault only that line is given up: what follows are rows until they prove to be none.
        """
        most = 1 if self._source.format.multiline is False else _MOST_LINES
        self._at, self._stop = place, min(len(self._lines), place + most)
        line = self._lines[place]
        try:
            fields = next(self._csv)
        except csv.Error as error:
            problem = quote_problem(error)
            self._keeper.odd(place, line, problem, short="not closed" in problem)
            return place + 1
        span = [line, *(self._lines[each] for each in range(place + 1, self._at))]
        raw = "".join(span)
        if self._source.format.multiline is None and self._doubtful(span):
            # Two stray quotes far apart make one well-formed record of everything between: no row may vanish in it.
            problem = f"a quoted field runs over {len(span)} lines that look like rows; a quote may be missing"
            for number, each in enumerate(span, start=place):
                if each.strip("\r\n"):
                    self._keeper.odd(number, each, problem)
                else:
                    self.blank_lines += 1
        elif "\0" in raw:
            self._keeper.odd(place, raw, _NUL, short=True)
        elif not self._record(raw):
            self._keeper.odd(place, line, _STRAY)
            return place + 1
        elif len(fields) != len(self._names):
            width = len(self._names)
            self._keeper.odd(place, raw, _width(len(fields), width), short=len(fields) < width)
        else:
            self._keeper.split(place, fields)
        return self._at

    def _doubtful(self, span: Sequence[str]) -> bool:
        """Whether lines that make one record look like several: one inside, or the first and the last of them."""
        if len(span) == 1:
            return False
        quote = self._source.format.quote
        ends = (span[0].replace(quote, ""), span[-1].replace(quote, ""))
        return all(map(self._looks_like_row, ends)) or any(map(self._looks_like_row, span[1:-1]))

    def _looks_like_row(self, line: str) -> bool:
        """Whether a line splits like a row, with what might be a number or a time where one is declared."""
        file_format, columns = self._source.format, self._source.columns
        fields = line.rstrip("\r\n").split(file_format.delimiter)
        if len(self._names) == 1 or len(fields) != len(self._names):
            return False
        return all(
            text in (*file_format.missing, *columns[name].missing) or _plausible(columns[name], text)
            for name, text in zip(self._names, fields, strict=True)
            if name in columns
        )


def _plausible(column: Column, text: str) -> bool:
    """Whether a text might be a value of the column; what is no text has a digit or is true or false."""
    match column.type:
        case "int64" | "float64":
            return re.fullmatch(r"[-+0-9.,' _eE]*[0-9][-+0-9.,' _eE]*", text) is not None
        case "boolean" | "string":
            return True
        case _:
            return any(letter.isdigit() for letter in text)


def _record(source: Source) -> Callable[[str], object]:
    """Whether a text is one record in which quotes stand only around whole fields; Python's reader is laxer."""
    cell = _cell(source, lines=True)
    return re.compile(rf"{cell}(?:{re.escape(source.format.delimiter)}{cell})*[\r\n]*").fullmatch


def _cell(source: Source, *, lines: bool) -> str:
    """The pattern of one field; ``lines`` when a quoted one may hold line ends."""
    quote, delimiter = re.escape(source.format.quote), re.escape(source.format.delimiter)
    return rf"(?:{_quoted_cell(source, lines=lines)}|[^{quote}{delimiter}\r\n]*)"


def _quoted_cell(source: Source, *, lines: bool) -> str:
    quote = re.escape(source.format.quote)
    return rf"{quote}(?:[^{quote}{'' if lines else chr(92) + 'r' + chr(92) + 'n'}]|{quote}{quote})*{quote}"


@contextmanager
def _long_fields() -> Iterator[None]:
    """Python's reader with our limit of a field's length, which belongs to the whole process."""
    before = csv.field_size_limit(LONGEST)
    try:
        yield
    finally:
        csv.field_size_limit(before)
