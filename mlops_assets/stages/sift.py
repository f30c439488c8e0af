"""From a raw table to accepted rows: every raw row is accepted, quarantined with reasons, or an exact duplicate.

What belongs here: which rows are let in, and which are not. What does not: reading files (``ingest``), the rules of one
column (``rules``), the quarantine's table (``refusals``), what happens to accepted rows (``clean``).

The order: records that could not be taken apart; values that cannot be read; exact duplicates (equal in all declared
columns once read; the first is kept); rules; key conflicts. Where rows share a key and differ, nobody knows which is
right: all of them are quarantined. A row that is quarantined for one thing is told everything else that is wrong too.
A reason that a person overruled for a row (``contract.admitted``) counts for nothing there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.model import Contract, Source
from mlops_assets.contract.rules import conflict
from mlops_assets.stages.admission import Overruled
from mlops_assets.stages.delivery import FILE, LINE, PROBLEM, place_word
from mlops_assets.stages.refusals import QUARANTINE, Refusals
from mlops_assets.stages.rows import Codes, Ints, Truths, again, codes, combine, encode, repeated
from mlops_assets.stages.rules import Finding, Judged, judge, sentences

__all__ = ["QUARANTINE", "Sifted", "sift"]


@dataclass(frozen=True, slots=True)
class Sifted:
    """The account of one source's batch: ``accepted`` + ``quarantined`` + ``duplicates`` are all its raw rows.

    ``facts`` are the counts, how many rows each reason met, and the place in ``quarantined`` of the ``first`` of them;
    where people overruled reasons also the rows ``admitted`` in spite of each; and the ``place`` that a row is named by
    where it is no line. Never a value.
    """

    accepted: pa.Table
    duplicates: int
    quarantined: pa.Table
    facts: Mapping[str, Any]


def sift(contract: Contract, source: Source, raw: pa.Table, batch: str) -> Sifted:
    """Judge the raw rows of one batch; ``accepted`` has the declared columns, typed, in the order of delivery.

    Raises:
        RefusedError: a rule cannot be applied to its column at all.
    """
    columns = {name: _Column(contract, source, name, raw) for name in source.columns}
    overruled = Overruled.of(contract, source, raw)
    unsplit = pc.is_valid(raw[PROBLEM]).to_numpy().astype(bool)
    refused = unsplit.copy()
    for column in columns.values():
        refused |= column.unreadable()
    duplicate, candidates = _duplicates(source, columns, ~refused)
    for column in columns.values():
        refused |= column.faulty(overruled.rows) & ~duplicate
    conflicts, spared = _conflicts(source, columns, candidates & ~refused & ~duplicate, overruled.rows)
    refused |= conflicts >= 0
    refusals = Refusals(raw, refused, {name: column.coded for name, column in columns.items()})
    refusals.add_unsplit(np.flatnonzero(unsplit))
    for column in columns.values():
        column.tell(refused & ~unsplit, overruled.rows, refusals)
    _tell_conflicts(source, raw, conflicts, refusals)
    good = ~refused & ~duplicate
    facts = {
        "batch": batch,
        "raw": raw.num_rows,
        "accepted": int(good.sum()),
        "quarantined": int(refused.sum()),
        "duplicates": int(duplicate.sum()),
        "reasons": refusals.counts(),
        "first": refusals.first(),
    }
    if place_word(source) != "line":
        facts["place"] = place_word(source)
    if overruled.rows:
        broken = {conflict(source): spared, **{f.label: rows for c in columns.values() for f, rows in c.findings()}}
        facts["admitted"] = overruled.account(broken, good)
    kept = None if good.all() else pa.array(np.flatnonzero(good))
    return Sifted(
        accepted=pa.table({name: column.typed(kept) for name, column in columns.items()}),
        duplicates=facts["duplicates"],
        quarantined=refusals.table(source),
        facts=facts,
    )


class _Column:
    """One column of the raw table, judged by its distinct values."""

    def __init__(self, contract: Contract, source: Source, name: str, raw: pa.Table) -> None:
        self._column = source.columns[name]
        self._distinct, self._places = encode(raw[name])
        where = f"{contract.file}:{self._column.line}"
        self._judged: Judged = judge(where, self._column, source.format, self._distinct)
        self._delivered = raw[name]
        # A text without missing values and without faults needs no second copy.
        self._same = (
            self._judged.values.type == self._distinct.type
            and self._judged.values.null_count == self._distinct.null_count
        )

    @property
    def coded(self) -> tuple[pa.Array, Ints]:
        """The distinct delivered values, and for each row the place of its own."""
        return self._distinct, self._places

    def unreadable(self) -> Truths:
        """Which rows hold a value that is not of the declared type."""
        return self._spread(self._judged.unreadable)

    def findings(self) -> Iterator[tuple[Finding, Truths]]:
        """What is wrong with the column, and in which rows."""
        for finding in self._judged.findings:
            yield finding, self._spread(finding.broken)

    def faulty(self, overruled: Mapping[str, Truths]) -> Truths:
        """Which rows hold a value that anything is wrong with that was not overruled for them."""
        found = np.zeros(len(self._judged.values), dtype=bool)
        for finding in self._judged.findings:
            found |= finding.broken if finding.label not in overruled else False
        rows = self._spread(found)
        for finding in self._judged.findings:
            if finding.label in overruled:
                rows |= self._spread(finding.broken) & ~overruled[finding.label]
        return rows

    def codes(self) -> Codes:
        """Codes of the rows by the value read, so that 1.0 and 1.00 are the same number."""
        read = codes(self._judged.values)
        return Codes(read.of[self._places], read.size) if len(self._places) else Codes(self._places, 1)

    def tell(self, rows: Truths, overruled: Mapping[str, Truths], refusals: Refusals) -> None:
        """Say of each of the rows what is wrong with this column."""
        for finding, broken in self.findings():
            told = broken & rows & ~overruled.get(finding.label, np.False_)
            if told.any():
                order = np.cumsum(finding.broken) - 1
                texts = sentences(self._column, self._distinct, finding)
                at = np.flatnonzero(told)
                refusals.add(finding.label, at, texts, order[self._places[at]])

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


def _conflicts(
    source: Source, columns: Mapping[str, _Column], candidates: Truths, overruled: Mapping[str, Truths]
) -> tuple[Ints, Truths]:
    """For each row another one that has its key, -1 where there is none: the first, for the first the second.

    And which rows are spared: a row that was let in by name, if it is the only one of its key that was.
    """
    found = np.full(len(candidates), -1, dtype=np.int64)
    spared = np.zeros(len(candidates), dtype=bool)
    places = np.flatnonzero(candidates)
    if not len(places):
        return found, spared
    numbers = _numbers(columns, source.key, places)
    order = np.argsort(numbers, kind="stable")
    places, numbers = places[order], numbers[order]
    begins = np.flatnonzero(np.concatenate(([True], numbers[1:] != numbers[:-1])))
    sizes = np.diff(np.append(begins, len(numbers)))
    others = np.repeat(places[begins], sizes)
    several = begins[sizes > 1]
    others[several] = places[several + 1]
    shared = np.repeat(sizes > 1, sizes)
    named = overruled.get(conflict(source))
    if named is not None:
        only = np.repeat(np.add.reduceat(named[places].astype(np.int64), begins) == 1, sizes)
        spared[places] = shared & named[places] & only
    found[places[shared]] = others[shared]
    found[spared] = -1
    return found, spared


def _tell_conflicts(source: Source, raw: pa.Table, conflicts: Ints, refusals: Refusals) -> None:
    rows = np.flatnonzero(conflicts >= 0)
    if not len(rows):
        return
    mine, theirs = (raw.select([FILE, LINE]).take(pa.array(which)) for which in (rows, conflicts[rows]))
    where = pc.binary_join_element_wise(place_word(source), theirs[LINE].cast(pa.string()), " ")
    elsewhere = pc.binary_join_element_wise(where, theirs[FILE], " of ")
    where = pc.if_else(pc.equal(mine[FILE], theirs[FILE]), where, elsewhere)
    opening = f"{', '.join(source.key)}: the same key stands on "
    texts = pc.binary_join_element_wise(opening, where, " with other values", "")
    refusals.add(conflict(source), rows, texts, np.arange(len(rows)))
