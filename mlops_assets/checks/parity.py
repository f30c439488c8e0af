"""Whether a request would get the features that the model is fitted to: serving computes them row by row.

What belongs here: asking for the features of some rows of a batch as a request does, and comparing. What does not: how
a request is answered (``stages.request``), or the file in which a server finds the past.

A feature differs when its function looks at other rows of the batch, or at a column that nobody can send. Few rows
show it: such a function is wrong of nearly all.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.checks import declared
from mlops_assets.checks.verdict import Verdict, verdict_of
from mlops_assets.contract.model import Contract
from mlops_assets.stages.online import moments_of
from mlops_assets.stages.request import as_request, features_of
from mlops_assets.stages.rows import Ints, Truths, encode, one_chunk
from mlops_assets.stages.windows import needed

SAMPLE = 8
"""Rows that are asked for; each may need a round of its own, which costs as much as the dataset's functions do."""

_MICRO = 1_000_000
_NAMED = 5


def audit(contract: Contract, cleaned: pa.Table, history: pa.Table | None, features: pa.Table) -> Verdict:
    """The verdict of ``declared.PARITY``: ``features`` were made from ``cleaned`` and ``history``, row by row."""
    rows = cleaned.num_rows
    places = pa.array(np.unique(np.linspace(0, max(0, rows - 1), SAMPLE).astype(np.int64))[:rows])
    asked = as_request(contract, cleaned.take(places))
    found = features_of(contract, asked, _Lately(contract, cleaned, history).before)
    stored = features.take(places)
    differing = {name: int((~_same(found[name], stored[name])).sum()) for name in found.column_names}
    wrong = {name: count for name, count in differing.items() if count}
    told = ", ".join(f"{name} in {count}" for name, count in list(wrong.items())[:_NAMED])
    more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
    sentence = (
        f"Of {len(places)} rows that were asked for one by one, as a request does, the features are others than in the "
        f"batch: {told}{more}. A feature may depend on its own row and on windows, not on other rows of the batch, and "
        f"on no column with the role excluded."
        if wrong
        else f"{len(places)} rows that were asked for one by one, as a request does, have the features of the batch."
    )
    return verdict_of(declared.PARITY, len(wrong), len(differing), sentence, details={"rows": len(places), **wrong})


class _Lately:
    """The rows that the windows of a batch can see, as a server would find them."""

    def __init__(self, contract: Contract, cleaned: pa.Table, history: pa.Table | None) -> None:
        names = needed(contract)
        own = cleaned.select(names)
        self._contract = contract
        self._past = own if history is None else pa.concat_tables([history.select(names), own])
        self._coded: dict[str, tuple[pa.Array, Ints]] = {}

    def before(self, rows: pa.Table) -> pa.Table:
        """The rows of each row's entities that happened before it, as far as a window reaches."""
        past = one_chunk(moments_of(self._contract, self._past)).cast(pa.int64()).fill_null(0).to_numpy()
        kept = np.zeros(len(past), dtype=bool)
        times = one_chunk(moments_of(self._contract, rows)).cast(pa.int64()).to_pylist()
        for window in self._contract.windows.each:
            longest = round((window.over + window.known_after) * _MICRO) + 1
            for place, moment in enumerate(times):
                if moment is not None:
                    found = (past < moment) & (past > moment - longest)
                    for name in window.by:
                        found &= self._is(name, rows[name][place])
                    kept |= found
        return self._past.filter(pa.array(kept))

    def _is(self, name: str, value: pa.Scalar) -> Truths:
        if name not in self._coded:
            self._coded[name] = encode(self._past[name])
        distinct, places = self._coded[name]
        code = pc.index(distinct, value).as_py() if value.is_valid else -1
        found: Truths = places == (code if code >= 0 else -1)
        return found


def _same(one: pa.ChunkedArray, other: pa.ChunkedArray) -> Truths:
    """Which values are the same to the bit, missing ones too."""
    left, right = one_chunk(one), one_chunk(other)
    valid = left.is_valid().to_numpy(zero_copy_only=False)
    same: Truths = valid == right.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_floating(left.type):
        bits = [each.fill_null(0.0).to_numpy().view(np.int64) for each in (left, right)]
        same &= bits[0] == bits[1]
    else:
        same &= pc.fill_null(pc.equal(left, right), True).to_numpy(zero_copy_only=False)
    return same
