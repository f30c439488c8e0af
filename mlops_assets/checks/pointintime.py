"""Whether joined rows were known when the rows happened that they were joined to.

What belongs here: the verdict, from the times that stand in ``cleaned`` and from what a join of our own says of its
latest row. What does not: which times are compared (``contract.pointintime``), joining.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.checks.verdict import Check, Verdict, verdict_of
from mlops_assets.contract.model import Contract
from mlops_assets.contract.pointintime import Compared, compared
from mlops_assets.stages.made import Made
from mlops_assets.stages.rows import Ints, Truths, one_chunk

_EXAMPLES = 20
_MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class _Seen:
    """One time that was compared: which rows, shape (n,), have it ``late``, or values and no time (``untold``).

    ``latest`` is by how many seconds the latest joined row was known after its own; None where nothing was joined.
    """

    of: Compared
    late: Truths
    untold: Truths
    latest: float | None


def point_in_time(check: Check, contract: Contract, made: Made) -> Verdict:
    """No value comes from a row that was known only later."""
    seen = list(_seen(contract, made))
    wrong = np.zeros(made.value.num_rows, dtype=bool)
    told: list[str] = []
    examples: list[str] = []
    for each in seen:
        wrong |= each.late | each.untold
        told += _told(contract, each)
        examples += _examples(contract, made.value, each)
    latest = [each.latest for each in seen if each.latest is not None]
    good = "No joined row is later than the row that it was joined to."
    if latest and max(latest) < 0:
        good = f"Every joined row was known at least {-max(latest):,.0f} s before the row that it was joined to."
    return verdict_of(
        check,
        int(wrong.sum()),
        len(wrong),
        " ".join(told) or good,
        threshold=0.0,
        examples=tuple(examples[:_EXAMPLES]),
        details={"latest_seconds": max(latest, default=0.0), "joins": {e.of.join.source: e.latest for e in seen}},
    )


def _seen(contract: Contract, made: Made) -> Iterator[_Seen]:
    nothing = np.zeros(made.value.num_rows, dtype=bool)
    for each in compared(contract):
        if each.name is not None:
            yield _compare(made.value, each, each.name)
        elif each.join.as_of and contract.sql is None:
            said = made.facts["joins"][contract.joins.index(each.join)]
            late = np.arange(len(nothing)) < said["matched"] if (said["latest"] or 0) > 0 else nothing
            yield _Seen(each, late, nothing, said["latest"])


def _compare(table: pa.Table, each: Compared, name: str) -> _Seen:
    (own, known), (theirs, told) = (_micros(table[column]) for column in (each.ours, name))
    after = theirs - own + round(each.join.known_after * _MICRO)
    joined = np.zeros(table.num_rows, dtype=bool)
    for column in each.join.columns:
        joined |= one_chunk(table[column]).is_valid().to_numpy(zero_copy_only=False)
    both = told & known
    latest = float(after[both].max()) / _MICRO if both.any() else None
    return _Seen(each, both & (after > 0), joined & ~both, latest)


def _micros(column: pa.ChunkedArray) -> tuple[Ints, Truths]:
    """Microseconds since 1970, and where there is a time."""
    times = one_chunk(column)
    known = times.is_valid().to_numpy(zero_copy_only=False)
    return pc.fill_null(times.cast(pa.timestamp("us")).cast(pa.int64()), 0).to_numpy(), known


def _told(contract: Contract, seen: _Seen) -> Iterator[str]:
    source, name = seen.of.join.source, seen.of.name or seen.of.theirs
    late, untold, rows = int(seen.late.sum()), int(seen.untold.sum()), len(seen.late)
    where = f"{contract.file}:{seen.of.join.line}"
    if contract.sql is not None:
        where = str(contract.sql.folder / contract.sql.cleaned.file)
    if late:
        yield (
            f"{late:,} of {rows:,} rows have values of {source} that were not known yet: {name} is up to "
            f"{seen.latest or 0.0:,.0f} s after {seen.of.ours}. Join what was known by {seen.of.ours} ({where})."
        )
    if untold:
        yield (
            f"{untold:,} of {rows:,} rows have values of {source} and no {name} or {seen.of.ours} to compare: when "
            f"they were known is not told. Bring {name} of the same row ({where})."
        )


def _examples(contract: Contract, table: pa.Table, seen: _Seen) -> Iterator[str]:
    """The first rows with their times, unless those are sensitive."""
    names = [seen.of.ours, *([seen.of.name] if seen.of.name else [])]
    if contract.sensitive() & {*names} or seen.of.name is None:
        return
    places = np.flatnonzero(seen.late | seen.untold)[:_EXAMPLES]
    for place, row in zip(places, table.select(names).take(pa.array(places)).to_pylist(), strict=True):
        yield f"Row {place + 1:,} of cleaned: {', '.join(f'{name} {value}' for name, value in row.items())}."
