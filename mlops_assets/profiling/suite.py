"""A draft of ``expectations.json`` from what was delivered for a dataset so far.

What belongs here: measuring batches, and what they make of expectations. What does not: rules that the contract has
already, which have one owner; reading and judging a suite (``contract``, ``checks``).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.assets.landing import matches
from mlops_assets.contract.calendar import Calendar
from mlops_assets.contract.model import Column, Contract, Source
from mlops_assets.contract.rules import rules_of
from mlops_assets.errors import UserError
from mlops_assets.profiling.columns import FEW, pattern_of
from mlops_assets.profiling.slack import band, counts, how_sure
from mlops_assets.stages.cells import typed
from mlops_assets.stages.delivery import Delivery
from mlops_assets.stages.ingest import batches_in, by_event_time, read_source
from mlops_assets.stages.rows import encode
from mlops_assets.wording import counted

_ALL = "all"
_REPEATED = 20
_MOSTLY_EMPTY = 0.5
_LEAST = 0.01
_ROOM = 2
_ENOUGH = 3
_ALONE = 5
"""How much room a mean has, in spans of those seen; a single one may be off by half."""


@dataclass(frozen=True, slots=True)
class _Measured:
    """One column of one batch: rows, those without a value, and the values by how many rows have them."""

    rows: int
    missing: int
    values: dict[Any, int]
    mean: float | None


def draft(contract: Contract, names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Expectations as ``expectations.json`` has them, of the sources ``names`` or of all batch sources.

    What they stand on is said under ``drafted`` in each one's ``meta``. Everything that was delivered is as expected.

    Raises:
        DeliveryError: a delivered file cannot be read as the contract says.
        UserError: nothing was delivered for a source.
    """
    chosen = [contract.sources[name] for name in names] or [
        source for source in contract.sources.values() if source.kind == "batch"
    ]
    return [each for source in chosen for each in _of_source(contract, source)]


def delivered(contract: Contract, source: Source) -> Iterator[pa.Table]:
    """The raw table of every batch that lies in the landing folder, in order.

    Raises:
        DeliveryError: a file cannot be read as the contract says.
    """
    calendar, found = Calendar.of(contract.partitions), dict[str, list[Delivery]]()
    for path, batch in matches(contract, source):
        delivery = Delivery(path.relative_to(contract.folder).as_posix(), path)
        if by_event_time(contract, source):
            keys = batches_in(contract, source, delivery)
        else:
            keys = [batch if batch is not None and source.kind == "batch" else _ALL]
        for key in keys:
            if _is_key(calendar, source, key):
                found.setdefault(key, []).append(delivery)
    for key in sorted(found):
        files = found[key] if source.redelivery == "add" else found[key][-1:]
        yield read_source(contract, source, files, key).value


def _is_key(calendar: Calendar, source: Source, key: str) -> bool:
    """Whether a file's name names a batch; a run says of the others that they are not taken in."""
    if source.kind == "reference":
        return True
    try:
        calendar.check(key)
    except UserError:
        return False
    return True


def _of_source(contract: Contract, source: Source) -> Iterator[dict[str, Any]]:
    tables = [table for table in delivered(contract, source) if table.num_rows]
    if not tables:
        raise UserError(
            f"Nothing was delivered for {source.name}: {(contract.folder / source.files).as_posix()} matches no file "
            "with rows."
        )
    where = {} if source.name == contract.spine else {"source": source.name}
    sizes = [table.num_rows for table in tables]
    low, high = counts(min(sizes), max(sizes))
    seen = (
        f"{how_sure(sum(sizes), len(tables))}: {min(sizes):,} to {max(sizes):,} rows in {counted(len(tables), 'batch')}"
    )
    yield _said("expect_table_row_count_to_be_between", {"min_value": low, "max_value": high}, seen, where)
    for column in source.columns.values():
        if "sensitive" not in column.roles and "time" not in column.roles:
            measured = [_measure(source, column, table) for table in tables]
            yield from _Subject(source, column, measured, where).expected()


def _measure(source: Source, column: Column, table: pa.Table) -> _Measured:
    distinct, places = encode(table[column.name])
    values, _ = typed(column, source.format, distinct)
    rows = np.bincount(places, minlength=len(distinct))
    present = pc.is_valid(values).to_numpy(zero_copy_only=False)
    found: dict[Any, int] = {}
    for value, count in zip(values.filter(pa.array(present)).to_pylist(), rows[present].tolist(), strict=True):
        found[value] = found.get(value, 0) + count
    mean = None
    if column.type in ("int64", "float64") and found:
        mean = sum(value * count for value, count in found.items()) / sum(found.values())
    return _Measured(len(places), int(rows[~present].sum()), found, mean)


class _Subject:
    """One column over all its batches, and what is worth expecting of it."""

    def __init__(self, source: Source, column: Column, measured: Sequence[_Measured], where: dict[str, str]) -> None:
        self._source, self._column, self._measured, self._where = source, column, measured, where
        self._declared = {rule.kind for rule in rules_of(column)}
        self._rows = sum(each.rows for each in measured)
        self._values: dict[Any, int] = {}
        for each in measured:
            for value, count in each.values.items():
                self._values[value] = self._values.get(value, 0) + count

    def expected(self) -> Iterator[dict[str, Any]]:
        """Expectations, without what the contract says of the column already."""
        kind, numbers = self._column.type, ("int64", "float64")
        if not self._values:
            return
        if "not_null" not in self._declared:
            yield from self._present()
        few = len(self._values) <= FEW and self._rows >= _REPEATED * len(self._values)
        if few and kind in ("string", "int64") and not self._declared & {"values", "minimum", "maximum"}:
            seen = f"{how_sure(self._rows)}: {counted(len(self._values), 'value')} in {counted(self._rows, 'row')}"
            yield self._said("expect_column_values_to_be_in_set", seen, value_set=sorted(self._values))
        elif kind in numbers and self._column.name not in self._source.key:
            yield from self._numbers()
        elif kind == "string" and not few:
            yield from self._texts()

    def _present(self) -> Iterator[dict[str, Any]]:
        share = max(each.missing / each.rows for each in self._measured)
        if share < _MOSTLY_EMPTY:
            mostly = round(1 - max(share * _ROOM, _LEAST), 3)
            seen = (
                f"{how_sure(self._rows)}: none in at most {share:.2%} of a batch, {counted(self._rows, 'row')} in all"
            )
            yield self._said("expect_column_values_to_not_be_null", seen, mostly=max(mostly, _LEAST))

    def _numbers(self) -> Iterator[dict[str, Any]]:
        low, high = min(self._values), max(self._values)
        down, up = band(low, high)
        ends = {"min_value": down} if "minimum" not in self._declared else {}
        ends |= {"max_value": up} if "maximum" not in self._declared else {}
        if ends and "values" not in self._declared:
            seen = f"{how_sure(self._rows)}: {low} to {high} in {counted(self._rows, 'row')}"
            yield self._said("expect_column_values_to_be_between", seen, **ends)
        means = [each.mean for each in self._measured if each.mean is not None]
        if low < high:
            down, up = band(min(means), max(means), 1 if len(means) >= _ENOUGH else _ALONE)
            span = f"{min(means):.4g} to {max(means):.4g} in {counted(len(means), 'batch')}"
            seen = f"{how_sure(self._rows, len(means))}: {span}"
            yield self._said("expect_column_mean_to_be_between", seen, min_value=down, max_value=up)

    def _texts(self) -> Iterator[dict[str, Any]]:
        if self._column.name not in self._source.key:
            each = [len(one.values) for one in self._measured]
            low, high = counts(min(each), max(each))
            seen = f"{how_sure(self._rows, len(each))}: {min(each):,} to {max(each):,} in {counted(len(each), 'batch')}"
            yield self._said("expect_column_unique_value_count_to_be_between", seen, min_value=low, max_value=high)
        elif "pattern" not in self._declared and (pattern := pattern_of(list(self._values))):
            seen = f"{how_sure(len(self._values))}: all of {counted(len(self._values), 'value')}"
            yield self._said("expect_column_values_to_match_regex", seen, regex=f"^(?:{pattern})$")

    def _said(self, kind: str, seen: str, **kwargs: Any) -> dict[str, Any]:
        return _said(kind, {"column": self._column.name, **kwargs}, seen, self._where)


def _said(kind: str, kwargs: dict[str, Any], seen: str, where: dict[str, str]) -> dict[str, Any]:
    severity = "info" if seen.startswith("a guess") else "warning"
    return {"type": kind, "kwargs": kwargs, "severity": severity, "meta": {**where, "drafted": seen}}


def written(suite: Sequence[dict[str, Any]]) -> str:
    """A suite as a file that people edit: what is asked on a line of its own."""
    blocks = [
        ",\n".join(f"    {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in each.items())
        for each in suite
    ]
    return "[\n" + ",\n".join(f"  {{\n{block}\n  }}" for block in blocks) + "\n]\n"
