"""From a raw table to accepted rows: every raw row is accepted, quarantined with reasons, or an exact duplicate.

What belongs here: which rows are let in, and why the others are not. What does not: reading files (``ingest``), the
rules of one cell (``cells``), what happens to accepted rows (``clean``).

The order: records that could not be taken apart; values that cannot be read; exact duplicates (equal in all declared
columns once read; the first is kept); rules; key conflicts. Where rows share a key and differ, nobody knows which is
right: all of them are quarantined. A row that is quarantined for one thing is told everything else that is wrong too.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.model import Contract, Source
from mlops_assets.stages.cells import Judged, judge
from mlops_assets.stages.delivery import FILE, LINE, PROBLEM, TEXT
from mlops_assets.stages.rows import Codes, Ints, Truths, again, codes, combine, encode, repeated

QUARANTINE = pa.schema(
    [
        ("source", pa.string()),
        ("file", pa.string()),
        ("line", pa.int64()),
        ("reasons", pa.list_(pa.string())),
        ("row", pa.string()),
    ]
)
"""``row`` is the delivered fields as a JSON object, or the record's text where it could not be taken apart."""


@dataclass(frozen=True, slots=True)
class Sifted:
    """The account of one source's batch: ``accepted`` + ``quarantined`` + ``duplicates`` are all its raw rows.

    ``facts`` are the counts, and how many rows each reason met; never a value.
    """

    accepted: pa.Table
    duplicates: int
    quarantined: pa.Table
    facts: Mapping[str, Any]


def sift(contract: Contract, source: Source, raw: pa.Table, batch: str) -> Sifted:
    """Judge the raw rows of one batch; ``accepted`` has the declared columns, typed, in the order of delivery."""
    del contract  # the source says it all; every stage is called with the contract first
    rows = raw.num_rows
    columns = {name: _Column(source, name, raw) for name in source.columns}
    unsplit = pc.is_valid(raw[PROBLEM]).to_numpy().astype(bool)
    refused = unsplit.copy()
    for column in columns.values():
        refused |= column.unreadable()
    duplicate, candidates = _duplicates(source, columns, ~refused)
    for column in columns.values():
        refused |= column.faulty() & ~duplicate
    conflicts = _conflicts(source, columns, candidates & ~refused & ~duplicate)
    refused |= conflicts >= 0
    reasons = _Reasons(rows)
    for row, problem in zip(np.flatnonzero(unsplit).tolist(), raw[PROBLEM].drop_null().to_pylist(), strict=True):
        reasons.add(row, _without_numbers(problem), problem)
    for column in columns.values():
        column.tell(refused & ~unsplit, reasons)
    _tell_conflicts(source, raw, conflicts, reasons)
    good = ~refused & ~duplicate
    kept = None if good.all() else pa.array(np.flatnonzero(good))
    facts = {
        "batch": batch,
        "raw": rows,
        "accepted": int(good.sum()),
        "quarantined": int(refused.sum()),
        "duplicates": int(duplicate.sum()),
        "reasons": dict(sorted(reasons.counts.items(), key=lambda item: (-item[1], item[0]))),
    }
    return Sifted(
        accepted=pa.table({name: column.typed(kept) for name, column in columns.items()}),
        duplicates=facts["duplicates"],
        quarantined=_quarantined(source, raw, refused, reasons),
        facts=facts,
    )


class _Reasons:
    """Why rows are refused, in the order found; ``counts`` by label."""

    def __init__(self, rows: int) -> None:
        self.of: dict[int, list[str]] = {}
        self.counts: Counter[str] = Counter()
        self._rows = rows

    def add(self, row: int, label: str, sentence: str) -> None:
        self.of.setdefault(row, []).append(sentence)
        self.counts[label] += 1


class _Column:
    """One column of the raw table, judged by its distinct values."""

    def __init__(self, source: Source, name: str, raw: pa.Table) -> None:
        distinct, self._places = encode(raw[name])
        self._judged: Judged = judge(source.columns[name], source.format, distinct)
        self._delivered = raw[name]
        # A text without missing values and without faults needs no second copy.
        self._same = self._judged.values.type == distinct.type and self._judged.values.null_count == distinct.null_count

    def unreadable(self) -> Truths:
        """Which rows hold a value that is not of the declared type."""
        return self._spread(self._judged.unreadable)

    def faulty(self) -> Truths:
        """Which rows hold a value that anything is wrong with."""
        found = np.zeros(len(self._judged.values), dtype=bool)
        found[list(self._judged.faults)] = True
        return self._spread(found)

    def codes(self) -> Codes:
        """Codes of the rows by the value read, so that 1.0 and 1.00 are the same number."""
        read = codes(self._judged.values)
        return Codes(read.of[self._places], read.size) if len(self._places) else Codes(self._places, 1)

    def tell(self, rows: Truths, reasons: _Reasons) -> None:
        """Say of each of the rows what is wrong with this column."""
        if not self._judged.faults:
            return
        for row in np.flatnonzero(self.faulty() & rows).tolist():
            for fault in self._judged.faults[int(self._places[row])]:
                reasons.add(row, fault.label, fault.sentence)

    def typed(self, kept: pa.Array | None) -> pa.Array:
        """The column in its declared type, of all rows or of those kept."""
        if self._same:
            return self._delivered if kept is None else self._delivered.take(kept)
        places = pa.array(self._places)
        return self._judged.values.take(places if kept is None else places.take(kept))

    def _spread(self, of_distinct: Truths) -> Truths:
        if not of_distinct.any():
            return np.zeros(len(self._places), dtype=bool)
        return of_distinct[self._places]


def _duplicates(source: Source, columns: Mapping[str, _Column], read: Truths) -> tuple[Truths, Truths]:
    """Which rows repeat an earlier one in full, and which rows share their key with another; of those ``read``.

    Equal rows have equal keys, so that only rows with a shared key are compared in full: mostly none.
    """
    duplicate = np.zeros(len(read), dtype=bool)
    places = np.flatnonzero(read)
    if source.key:
        places = places[repeated(_numbers(columns, source.key, places))]
    shared = np.zeros(len(read), dtype=bool)
    if len(places):
        duplicate[places] = again(_numbers(columns, list(columns), places))
        if source.key:
            shared[places] = True
    return duplicate, shared


def _numbers(columns: Mapping[str, _Column], names: Sequence[str], places: Ints) -> Ints:
    parts = (columns[name].codes() for name in names)
    return combine([Codes(part.of[places], part.size) for part in parts], len(places))


def _conflicts(source: Source, columns: Mapping[str, _Column], candidates: Truths) -> Ints:
    """For each row another one that has its key, -1 where there is none: the first, for the first the second."""
    found = np.full(len(candidates), -1, dtype=np.int64)
    places = np.flatnonzero(candidates)
    if not len(places):
        return found
    numbers = _numbers(columns, source.key, places)
    inside = repeated(numbers)
    first: dict[int, int] = {}
    for place, number in zip(places[inside].tolist(), numbers[inside].tolist(), strict=True):
        if number in first:
            found[place] = first[number]
            if found[first[number]] < 0:
                found[first[number]] = place
        else:
            first[number] = place
    return found


def _tell_conflicts(source: Source, raw: pa.Table, conflicts: Ints, reasons: _Reasons) -> None:
    key = ", ".join(source.key)
    for row in np.flatnonzero(conflicts >= 0).tolist():
        other = int(conflicts[row])
        where = f"line {raw[LINE][other].as_py()}"
        if raw[FILE][other].as_py() != raw[FILE][row].as_py():
            where += f" of {raw[FILE][other].as_py()}"
        sentence = f"{key}: the same key stands on {where} with other values"
        reasons.add(row, f"{key}: the same key with other values", sentence)


def _quarantined(source: Source, raw: pa.Table, refused: Truths, reasons: _Reasons) -> pa.Table:
    places = np.flatnonzero(refused)
    if not len(places):
        return QUARANTINE.empty_table()
    rows = raw.take(pa.array(places))
    fields = zip(*(rows[name].to_pylist() for name in source.columns), strict=True)
    names = list(source.columns)
    texts = [
        text if text is not None else json.dumps(dict(zip(names, values, strict=True)), ensure_ascii=False, default=str)
        for text, values in zip(rows[TEXT].to_pylist(), fields, strict=True)
    ]
    return pa.table(
        {
            "source": pa.array([source.name] * len(places), pa.string()),
            "file": rows[FILE],
            "line": rows[LINE],
            "reasons": pa.array([reasons.of[place] for place in places.tolist()], pa.list_(pa.string())),
            "row": pa.array(texts, pa.string()),
        },
        schema=QUARANTINE,
    )


def _without_numbers(problem: str) -> str:
    """One label for all lines of a wrong width, whatever the width."""
    if problem.startswith("the line has"):
        return "the line has another number of fields than the header"
    return "a quoted field runs over lines that look like rows" if "look like rows" in problem else problem
