"""Whether a feature knows what nobody can know when its row happens.

What belongs here: computing features again without what is known only later, and comparing cell by cell. What does
not: how well a feature ranks the answers (``ranking``), joined rows from the future (``pointintime``), verdicts
(``features``).

Two things are taken away. First every value that is known only after the event (an outcome): of the whole batch, while
windows, which may look at outcomes of the past, are left as they are. Then the later half of the batch, and the
outcomes of the last moment of the earlier half: what is left is what the rows of that half could know, windows
included. What changes was made from what was taken away.

Functions of ``features.py`` and windows are computed again. SQL is not: what a column of ``cleaned`` is made of is
known from the SQL's lineage, which follows values and not the conditions by which rows are chosen.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.expression import parse
from mlops_assets.contract.model import Contract, EventTime, Feature, Windows
from mlops_assets.stages.features import build_features
from mlops_assets.stages.moments import moments
from mlops_assets.stages.rows import Truths, one_chunk

_CLOSE = 1e-6
"""Numbers are the same that differ by less than this share: the last digits may follow from the order of adding up."""

Why = Literal["outcome", "later", "itself"]


@dataclass(frozen=True, slots=True)
class Leak:
    """A feature that changes when something is taken away: in ``changed`` of ``rows`` rows.

    ``why``: ``outcome`` (of ``columns``), ``later`` rows of the batch, or ``itself``: it says something else each time.
    ``raised`` is the kind of error that its function raised instead.
    """

    feature: Feature
    why: Why
    changed: int
    rows: int
    columns: tuple[str, ...] = ()
    raised: str = ""


def outcomes(contract: Contract) -> tuple[str, ...]:
    """The columns of ``cleaned`` that nobody knows before the event, in its order.

    They are excluded, or the target's, or brought by a join on such a column, or made from such ones by SQL.
    """
    spine = contract.spine
    origin = {name: (spine, name) for name in contract.sources[spine].columns}
    for join in contract.joins:
        origin |= {name: (join.source, column) for name, column in join.columns.items()}
    late = {
        (source.name, name)
        for source in contract.sources.values()
        for name, column in source.columns.items()
        if "excluded" in column.roles
    } | {origin[name] for name in parse(contract.target.expression).columns if name in origin}
    for join in contract.joins:
        ours = [name for name, _ in (*join.on, *((join.as_of,) if join.as_of else ()))]
        if any((spine, name) in late for name in ours):
            late |= {(join.source, column) for column in join.columns.values()}
    made = contract.sql.lineage if contract.sql else {}
    return tuple(
        name for name in contract.cleaned_columns() if origin[name] in late or not late.isdisjoint(made.get(name, ()))
    )


def leaks(contract: Contract, cleaned: pa.Table, features: pa.Table, history: pa.Table | None) -> list[Leak]:
    """The features that know too much, in the contract's order.

    ``features`` were made from ``cleaned`` and ``history`` (see ``stages.features.build_features``), row by row.
    """
    batch = _Batch(contract, cleaned, features, history, outcomes(contract))
    found = {leak.feature.name: leak for leak in (*batch.without_later(), *batch.without_outcomes())}
    return [found[feature.name] for feature in contract.features if feature.name in found]


@dataclass(frozen=True, slots=True)
class _Batch:
    """A batch whose features are computed again; ``late`` are the columns that nobody knows before the event."""

    contract: Contract
    cleaned: pa.Table
    features: pa.Table
    history: pa.Table | None
    late: Sequence[str]

    def without_outcomes(self) -> Iterator[Leak]:
        """What changes when no outcome of the batch is known, windows being left as they are."""
        for name, (changed, raised) in self._blanked(self.late).items() if self.late else ():
            if name in self._blanked(()):
                yield self._leak(name, "itself", changed, raised)
            else:
                columns = tuple(each for each in self.late if name in self._blanked((each,)))
                yield replace(self._leak(name, "outcome", changed, raised), columns=columns or tuple(self.late))

    def without_later(self) -> Iterator[Leak]:
        """What changes when only the earlier half is there, and no outcome of its last moment."""
        made = tuple(feature for feature in self.contract.features if feature.computed or feature.window)
        if not made:
            return
        rows, last = _earlier(_times(self.contract, self.cleaned), self.cleaned.num_rows)
        half = pa.array(np.flatnonzero(rows))
        table = _without(self.cleaned.take(half), self.late, last[rows])
        contract = replace(self.contract, features=made)
        for name, (changed, raised) in _changed(contract, table, self.history, self.features.take(half)).items():
            yield self._leak(name, "later", changed, raised)

    def _blanked(self, columns: Sequence[str]) -> Mapping[str, tuple[Truths, str]]:
        """What changes without these columns; a window is what it was."""
        windows = [feature for feature in self.contract.features if feature.window]
        made = tuple(
            replace(feature, window=False)
            for feature in self.contract.features
            if feature.computed or feature.window or feature.name in self.late
        )
        table = _without(self.cleaned, columns, np.ones(self.cleaned.num_rows, dtype=bool))
        for feature in windows:
            table = table.append_column(feature.name, self.features[feature.name])
        contract = replace(self.contract, features=made, windows=Windows())
        return _changed(contract, table, None, self.features)

    def _leak(self, name: str, why: Why, changed: Truths, raised: str) -> Leak:
        feature = next(feature for feature in self.contract.features if feature.name == name)
        return Leak(feature, why, int(changed.sum()), len(changed), raised=raised)


def _changed(
    contract: Contract, table: pa.Table, history: pa.Table | None, stored: pa.Table
) -> dict[str, tuple[Truths, str]]:
    """The features that are not as stored: which rows, shape (n,), and the kind of error where its function raises.

    Of features that come after one whose function raises nothing is said.
    """
    found: dict[str, tuple[Truths, str]] = {}
    made, raised = _computed(contract, table, history)
    if raised:
        whole, culprit = contract.features, raised
        for number, feature in enumerate(whole):
            shorter, again = _computed(replace(contract, features=whole[: number + 1]), table, history)
            if again:
                found[feature.name] = np.ones(table.num_rows, dtype=bool), culprit
                break
            made = shorter
    for name in made.column_names if made is not None else ():
        assert made is not None
        if name in stored.column_names and (differs := _differs(made[name], stored[name])).any():
            found[name] = differs, ""
    return found


def _computed(contract: Contract, table: pa.Table, history: pa.Table | None) -> tuple[pa.Table | None, str]:
    """The features, or the kind of the error that a function raised.

    With the whole batch it raised none: it needs what was taken away, which is what is looked for.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            made = build_features(contract, table, history).value
        except Exception as error:  # noqa: BLE001 - the dataset's own code may raise anything
            return None, type(error).__name__
    return made.select([feature.name for feature in contract.features]), ""


def _differs(one: pa.ChunkedArray, other: pa.ChunkedArray) -> Truths:
    """Where two columns are not the same; missing is the same as missing."""
    ours, theirs = one_chunk(one), one_chunk(other)
    if pa.types.is_floating(ours.type):
        numbers, others = (each.to_numpy(zero_copy_only=False) for each in (ours, theirs))
        return np.asarray(~np.isclose(numbers, others, rtol=_CLOSE, atol=0.0, equal_nan=True))
    both = pc.and_(pc.is_null(ours), pc.is_null(theirs))
    same = pc.or_(pc.fill_null(pc.equal(ours, theirs), False), both)
    return np.asarray(~same.to_numpy(zero_copy_only=False))


def _without(table: pa.Table, columns: Sequence[str], rows: Truths) -> pa.Table:
    """The table with nothing in these columns of these rows."""
    gone = pa.array(rows)
    for name in columns:
        column = one_chunk(table[name])
        kept = pc.if_else(gone, pa.scalar(None, column.type), column)
        table = table.set_column(table.column_names.index(name), name, kept)
    return table


def _times(contract: Contract, cleaned: pa.Table) -> pa.Array | None:
    """When each row happened, where the contract says so."""
    named = contract.windows.time
    time = EventTime((named,)) if named is not None else contract.sources[contract.spine].event_time
    return None if time is None else moments(time, cleaned)


def _earlier(times: pa.Array | None, rows: int) -> tuple[Truths, Truths]:
    """Which rows lie in the earlier half, and which of those in its last moment.

    Rows of one moment stay together, unless all are of one: then, as without times, it is the first half of the rows.
    """
    first = np.arange(rows) < rows // 2
    known = np.zeros(rows, dtype=bool) if times is None else times.is_valid().to_numpy(zero_copy_only=False)
    if times is None or not known.any():
        return first, first
    numbers = times.cast(pa.int64()).fill_null(0).to_numpy()
    some = numbers[known]
    last = np.partition(some, len(some) // 2)[len(some) // 2]
    if last == some.max():
        before = some[some < last]
        if not len(before):
            return first & known, first & known
        last = before.max()
    return known & (numbers <= last), known & (numbers == last)
