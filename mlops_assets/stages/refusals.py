"""The quarantine of one source: refused rows with all their reasons, source file and line.

What belongs here: collecting reasons and putting them beside the rows, whole columns at a time: a batch in which every
row breaks every rule is a table like any other. What does not: which rows are refused, and why (``sift``, ``rules``).
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.model import Source
from mlops_assets.stages.delivery import FILE, LINE, PROBLEM, TEXT
from mlops_assets.stages.rows import Ints, Truths, encode, one_chunk
from mlops_assets.stages.texts import json_objects, json_texts

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

_AT_ONCE = 2**15
"""Rows that are written at once, so that their texts stay far below what one Arrow array can hold."""


class Refusals:
    """Why rows are refused, in the order told; ``refused`` says which of the raw rows are.

    ``coded`` are the declared columns: distinct delivered values, and for each raw row the place of its own.
    """

    def __init__(self, raw: pa.Table, refused: Truths, coded: Mapping[str, tuple[pa.Array, Ints]]) -> None:
        self._raw = raw
        self._refused = np.flatnonzero(refused)
        self._coded = coded
        self._counts: Counter[str] = Counter()
        self._first: dict[str, int] = {}
        self._pools: list[pa.Array] = []
        self._told: list[tuple[Ints, Ints]] = []
        self._size = 0

    def add(self, label: str, rows: Ints, texts: pa.Array, told: Ints) -> None:
        """Refused rows, in order, have another reason: ``texts[told]``, shape (rows,)."""
        if not len(rows):
            return
        self._counts[label] += len(rows)
        self._first[label] = min(int(rows[0]), self._first.get(label, int(rows[0])))
        self._pools.append(one_chunk(texts).cast(pa.large_string()))  # together they may be too long for short texts
        self._told.append((rows.astype(np.int32), (told + self._size).astype(np.int32)))
        self._size += len(texts)

    def add_unsplit(self, rows: Ints) -> None:
        """Rows that are records which could not be taken apart, each with its own problem."""
        problems, places = encode(self._raw[PROBLEM].take(pa.array(rows)))
        labels = np.array([_without_numbers(problem) for problem in problems.to_pylist()], dtype=object)
        for label in dict.fromkeys(labels):
            mine = np.flatnonzero((labels == label)[places])
            self.add(label, rows[mine], problems, places[mine])

    def counts(self) -> dict[str, int]:
        """How many rows each reason met, most first."""
        return dict(sorted(self._counts.items(), key=lambda item: (-item[1], item[0])))

    def first(self) -> dict[str, int]:
        """For each reason the place in the quarantine of the first row that it met."""
        return {label: int(np.searchsorted(self._refused, self._first[label])) for label in self.counts()}

    def table(self, source: Source) -> pa.Table:
        """The refused rows as ``QUARANTINE`` has them, in the order of delivery."""
        if not len(self._refused):
            return QUARANTINE.empty_table()
        pool = pa.concat_arrays(self._pools)
        self._pools.clear()
        fields = {name: self._fields(name) for name in source.columns}
        pieces = []
        for start in range(0, len(self._refused), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            rows = self._raw.select([FILE, LINE, TEXT]).take(pa.array(self._refused[part]))
            written = json_objects({name: texts.take(pa.array(at[part])) for name, (texts, at) in fields.items()})
            name = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(rows), dtype=np.int8)), pa.array([source.name]))
            columns = [name.cast(pa.string()), rows[FILE], rows[LINE], self._reasons(self._refused[part], pool)]
            pieces.append(pa.table([*columns, pc.coalesce(one_chunk(rows[TEXT]), written)], schema=QUARANTINE))
        return pa.concat_tables(pieces)

    def _fields(self, name: str) -> tuple[pa.Array, Ints]:
        """The values of a column as JSON, and for each refused row the place of its own."""
        distinct, places = self._coded[name]
        if len(distinct) <= len(self._refused):
            return json_texts(distinct), places[self._refused]
        values = one_chunk(self._raw[name].take(pa.array(self._refused)))
        return json_texts(values), np.arange(len(values))

    def _reasons(self, refused: Ints, pool: pa.Array) -> pa.Array:
        """The reasons of some refused rows that follow one another."""
        low, high = refused[0], refused[-1] + 1
        parts = [(rows, told, *np.searchsorted(rows, (low, high))) for rows, told in self._told]
        rows = np.concatenate([rows[begin:end] for rows, _, begin, end in parts])
        told = np.concatenate([told[begin:end] for _, told, begin, end in parts])
        order = np.argsort(rows, kind="stable")
        offsets = np.append(0, np.searchsorted(rows[order], refused, side="right"))
        texts = pool.take(pa.array(told[order])).cast(pa.string())
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), texts)


def _without_numbers(problem: str) -> str:
    """One label for all lines of a wrong width, whatever the width."""
    if problem.startswith("the line has"):
        return "the line has another number of fields than the header"
    return "a quoted field runs over lines that look like rows" if "look like rows" in problem else problem
