"""Rows that a person let in by name although a rule speaks against them.

What belongs here: finding the rows that the contract's ``admitted`` names, and the account of them. What does not: the
rules (``rules``), which rows are accepted in the end (``sift``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.model import Admission, Contract, Source
from mlops_assets.contract.rules import overrulable
from mlops_assets.stages.delivery import FILE, LINE
from mlops_assets.stages.rows import Truths


@dataclass(frozen=True, slots=True)
class Overruled:
    """Reasons that do not count for some rows: ``rows`` by reason, shape (raw rows,)."""

    rows: Mapping[str, Truths]
    _each: tuple[tuple[Admission, Truths], ...]

    @classmethod
    def of(cls, contract: Contract, source: Source, raw: pa.Table) -> "Overruled":
        """The rows that people named, by the reason that they overruled."""
        said = contract.admitted_of(source.name)
        known = overrulable(source) if said else []
        each = tuple((admission, _named(admission, raw)) for admission in said if admission.reason in known)
        rows: dict[str, Truths] = {}
        for admission, named in each:
            rows[admission.reason] = rows.get(admission.reason, False) | named
        return cls(rows, each)

    def account(self, broken: Mapping[str, Truths], accepted: Truths) -> list[dict[str, Any]]:
        """For each reason and person how many rows were accepted in spite of it; no values.

        ``broken`` are the rows that each reason speaks against, ``accepted`` all that were let in.
        """
        counts: dict[tuple[str, str], int] = {}
        nobody = np.zeros(len(accepted), dtype=bool)
        for admission, named in self._each:
            who = (admission.reason, admission.who)
            rows = int((named & accepted & broken.get(admission.reason, nobody)).sum())
            counts[who] = counts.get(who, 0) + rows
        return [{"reason": reason, "who": who, "rows": rows} for (reason, who), rows in sorted(counts.items()) if rows]


def _named(admission: Admission, raw: pa.Table) -> Truths:
    found = np.ones(raw.num_rows, dtype=bool)
    if admission.file is not None:
        found &= _true(pc.equal(raw[FILE], admission.file)) & _true(pc.equal(raw[LINE], admission.row_line))
    for name, text in admission.row.items():
        found &= _true(pc.equal(raw[name].cast(pa.string()), text))
    return found


def _true(found: pa.ChunkedArray) -> Truths:
    return np.asarray(pc.fill_null(found, False).to_numpy(), dtype=bool)
