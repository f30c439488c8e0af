"""Any damage to the bytes of a CSV file: no accepted value is another than what stands in the file, no row vanishes.

Some damage makes data of data: a flipped bit turns 3 into 2, and nobody could tell. So the question that is asked is
not whether the damage was noticed, but two that have an answer:

1. Whatever is accepted at a line is what an independent reader (Python's own, strict) reads at that very line, value by
   value. Damage that passes for data is then what the file says, not what a reader made of it.
2. A line that the damage did not touch (its bytes are those of an undamaged row) is accepted with that row's values, an
   exact duplicate, or in the quarantine: under its own number, or inside the text of a record that began before it. It
   is never part of an accepted value, and never gone.
"""

import csv
import io
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from mlops_assets_tests.stages.corpus.account import FILE_REFUSED, TAKEN, Case, Outcome, run
from mlops_assets_tests.stages.corpus.make import COLUMNS, HEADER, PLAIN, ROWS

KEPT = ROWS[:12]
QUOTED = (*KEPT[:3], '0003,2024-01-04,north,3.25,3,"a, ""b"""', *KEPT[4:])
MEANS: Mapping[str, Callable[[str], Any]] = {"int64": int, "float64": float, "string": str, "date": date.fromisoformat}

Damage = Callable[[bytes], bytes]


def cut(start: float, size: int) -> Damage:
    def apply(data: bytes) -> bytes:
        at = int(start * len(data))
        return data[:at] + data[at + size :]

    return apply


def end(share: float) -> Damage:
    return lambda data: data[: int(share * len(data))]


def flip(place: float, bit: int) -> Damage:
    def apply(data: bytes) -> bytes:
        at = min(int(place * len(data)), len(data) - 1)
        return data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :] if data else data

    return apply


def insert(place: float, piece: bytes) -> Damage:
    def apply(data: bytes) -> bytes:
        at = int(place * len(data))
        return data[:at] + piece + data[at:]

    return apply


def swap(one: int, other: int) -> Damage:
    def apply(data: bytes) -> bytes:
        lines = data.split(b"\n")
        a, b = one % len(lines), other % len(lines)
        lines[a], lines[b] = lines[b], lines[a]
        return b"\n".join(lines)

    return apply


def quotes(one: int, other: int, field: int) -> Damage:
    """Two stray quotes, each beside a delimiter or a line's end: what stands between may pass for one field."""

    def apply(data: bytes) -> bytes:
        lines = data.split(b"\n")
        a, b = sorted((one % len(lines), other % len(lines)))
        fields = lines[a].split(b",")
        fields[field % len(fields)] = b'"' + fields[field % len(fields)]
        lines[a] = b",".join(fields)
        # As many fields in front of the first quote as behind the second make one record of the right width.
        fields = lines[b].split(b",")
        fields[field % len(fields)] += b'"'
        lines[b] = b",".join(fields)
        return b"\n".join(lines)

    return apply


PLACE = st.floats(0, 1)
PIECES = [
    b'"',
    b",",
    b"\n",
    b"\r",
    b"\r\n",
    b"\0",
    b"\xe9",
    b"\xef\xbb\xbf",
    b" ",
    b"-",
    b"e9",
    b'""',
    b'",',
    b',"',
    b";",
]
ONE_DAMAGE = st.one_of(
    st.builds(cut, PLACE, st.integers(1, 40)),
    st.builds(end, PLACE),
    st.builds(flip, PLACE, st.integers(0, 7)),
    st.builds(insert, PLACE, st.sampled_from(PIECES) | st.binary(min_size=1, max_size=4)),
    st.builds(swap, st.integers(0, 20), st.integers(0, 20)),
    st.builds(quotes, st.integers(0, 20), st.integers(0, 20), st.integers(0, 5)),
)


def took(data: bytes, folder: Path) -> Outcome:
    """What becomes of a file's bytes."""
    return run(Case("", "", data, PLAIN, (), TAKEN, (0, 0, 0)), folder)


def said_at(lines: list[str], number: int) -> Mapping[str, Any]:
    """What an independent reader says of the record that begins at a line, in the columns' types."""
    rest = io.StringIO("\n".join(lines[number - 1 :]), newline="")
    names, fields = next(csv.reader(lines[:1])), next(csv.reader(rest, strict=True))
    texts = dict(zip(names, fields, strict=True))
    return {each.name: MEANS[each.type](texts[each.name]) if texts[each.name] else None for each in COLUMNS}


def swallowed(outcome: Outcome, number: int) -> bool:
    """Whether a line is inside the text of a quarantined record that began before it."""
    return any(line < number <= line + text.count("\n") for line, text in outcome.quarantined.items())


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ONE_DAMAGE, min_size=1, max_size=3), st.booleans())
@example([quotes(3, 7, 5)], False)
@example([quotes(3, 4, 5)], False)
@example([quotes(3, 4, 2)], True)
def test_no_damage_changes_a_value_silently(tmp_path: Path, damage: list[Damage], quoted: bool) -> None:
    rows = QUOTED if quoted else KEPT
    sound = "\n".join([HEADER, *rows, ""]).encode()
    data = sound
    for each in damage:
        data = each(data)
    outcome = took(data, tmp_path)
    event(outcome.verdict)
    if outcome.verdict == FILE_REFUSED:
        return
    lines = data.removeprefix(b"\xef\xbb\xbf").decode().split("\n")
    if len(lines) == 1:
        lines = lines[0].split("\r")
    for number, row in outcome.accepted.items():
        assert row == said_at(lines, number)
    untouched = [number for number, line in enumerate(lines, start=1) if number > 1 and line.rstrip("\r") in rows]
    for number in untouched:
        assert number in outcome.fates or swallowed(outcome, number), f"line {number} is gone"
        if number in outcome.accepted:
            assert outcome.accepted[number] == said_at([HEADER, lines[number - 1]], 2)


def test_the_rows_of_this_property_are_taken_whole(tmp_path: Path) -> None:
    for rows in (KEPT, QUOTED):
        outcome = took("\n".join([HEADER, *rows, ""]).encode(), tmp_path)
        assert (outcome.verdict, outcome.rows) == (TAKEN, (12, 0, 0))


@pytest.mark.parametrize("bit", range(8))
def test_every_single_bit_of_a_file(tmp_path: Path, bit: int) -> None:
    """Each bit of a small file flipped in turn, all of one weight in one test."""
    sound = "\n".join([HEADER, *KEPT[:3], ""]).encode()
    for place in range(len(sound)):
        data = flip((place + 0.5) / len(sound), bit)(sound)
        assert data != sound
        outcome = took(data, tmp_path)
        if outcome.verdict != FILE_REFUSED:
            lines = data.decode().split("\n")
            assert all(row == said_at(lines, number) for number, row in outcome.accepted.items())
            assert sum(outcome.rows) + outcome.blank == sum(bool(line) for line in lines[1:])


def test_a_refusal_names_the_file_and_nothing_of_it_is_taken(tmp_path: Path) -> None:
    outcome = took(b"\0" * 90, tmp_path)
    assert (outcome.verdict, outcome.rows) == (FILE_REFUSED, (0, 0, 0))
    assert all("landing/sales_2024-01.csv" in sentence for sentence in outcome.sentences)
