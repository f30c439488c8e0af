"""A source's rows as a whole: what tells them apart, when they happened, what may be meant to be predicted.

What belongs here: guesses that need several columns. What does not: one column (``columns``), files (``files``), how a
draft is written (``contract``).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mlops_assets.contract.calendar import Calendar
from mlops_assets.contract.model import Column, FileFormat, Task
from mlops_assets.profiling.columns import Seen, look
from mlops_assets.profiling.files import Files, look_into, texts_of
from mlops_assets.stages.cells import typed
from mlops_assets.stages.delivery import FILE
from mlops_assets.stages.rows import codes, combine, encode, repeated

_MEANT = ("target", "label", "outcome", "churn", "conversion", "converted", "y")
_CLASSES = 20
_TWO = 2
_COPY = 0.995
_PARTS = ("year", "month", "day")


@dataclass(frozen=True)
class Table:
    """A source as it was delivered, and what its columns look like; ``missing`` means no value in every column."""

    files: Files
    raw: pa.Table
    columns: Mapping[str, Seen]
    missing: tuple[str, ...]
    decimal: str

    @property
    def name(self) -> str:
        """The source's name."""
        return self.files.name

    @property
    def rows(self) -> int:
        """How many there are."""
        return int(self.raw.num_rows)

    def values(self, name: str) -> pa.Array:
        """A column's values in the type that it seems to have, null where there is none."""
        seen = self.columns[name]
        column = Column(name, seen.type, format=seen.format, missing=seen.words)
        distinct, places = encode(self.raw[name])
        values, _ = typed(column, FileFormat(decimal=self.decimal, missing=("", *self.missing)), distinct)
        return values.take(pa.array(places))


class Key(NamedTuple):
    """Columns that tell rows apart, and how many rows share theirs with a different row all the same."""

    columns: tuple[str, ...]
    shared: int


class Meant(NamedTuple):
    """What may be predicted, and why one thinks so."""

    column: str
    task: Task
    why: str


def tables_in(folder: Path) -> list[Table]:
    """The sources of a folder, the one whose rows seem to be the dataset's first.

    Raises:
        UserError: there is nothing to look at, or a file cannot be read.
    """
    return [_table(folder, files) for files in look_into(folder)]


def _table(folder: Path, files: Files) -> Table:
    raw = texts_of(folder, files)
    names = [name for name in raw.column_names if not name.startswith("_")]

    def looked(decimal: str, missing: tuple[str, ...] = ()) -> dict[str, Seen]:
        return {name: look(name, raw[name], decimal, missing) for name in names}

    def numbers(columns: Mapping[str, Seen]) -> int:
        return sum(seen.type in ("int64", "float64") for seen in columns.values())

    columns, decimal = looked("."), "."
    if files.format.kind == "csv" and files.format.delimiter != ",":
        other = looked(",")
        if numbers(other) > numbers(columns):
            columns, decimal = other, ","
    words = [word for seen in columns.values() for word in seen.words]
    missing = tuple(sorted({word for word in words if words.count(word) > 1 and word.strip()}))
    return Table(files, raw, looked(decimal, missing) if missing else columns, missing, decimal)


def key_of(table: Table, but: Sequence[str] = ()) -> Key:
    """The first columns that tell all rows apart, without those that are not needed; never those of ``but``.

    Rows that are the same in every column count once. Where no columns do, all that could be are named.
    """
    whole = {name: codes(table.raw[name]) for name in table.columns}
    _, first = np.unique(combine(list(whole.values()), table.rows), return_index=True)

    def shared(names: Sequence[str]) -> int:
        return int(repeated(combine([whole[name] for name in names], table.rows)[first]).sum())

    able = [
        seen.name
        for seen in table.columns.values()
        if seen.missing == 0 and seen.type not in ("float64", "boolean") and seen.name not in but
    ]
    for name in able:
        if table.columns[name].distinct == len(first) and not shared([name]):
            return Key((name,), 0)
    chosen: list[str] = []
    for name in able:
        if chosen and not shared(chosen):
            break
        chosen.append(name)
    left = shared(chosen) if chosen else 0
    for name in reversed(chosen if not left else []):
        without = [each for each in chosen if each != name]
        if without and not shared(without):
            chosen = without
    return Key(tuple(chosen), left)


def time_of(table: Table) -> str | dict[str, str] | None:
    """The column of dates or times, or the columns of year, month and day; those that contradict files' names not."""
    parts = {part: part for part in _PARTS if part in table.columns}
    fit = all(table.columns[name].type == "int64" and not table.columns[name].missing for name in parts)
    if len(parts) == len(_PARTS) and fit and _agrees(table, list(parts)):
        return parts
    for seen in table.columns.values():
        known = seen.type in ("date", "timestamp") and seen.missing == 0 and len(seen.formats) <= 1
        if known and _agrees(table, [seen.name]):
            return seen.name
    return None


def _agrees(table: Table, names: Sequence[str]) -> bool:
    """Whether every row's time lies in the batch that its file's name says."""
    columns = [table.values(name) for name in names]
    grouped = pa.table({**dict(zip("abc", columns, strict=False)), FILE: table.raw[FILE]})
    found = grouped.group_by(grouped.column_names).aggregate([]).to_pylist()
    calendar, files = Calendar(table.files.cadence), dict(zip(_named(table.files), table.files.batches, strict=True))
    for row in found:
        try:
            moment = row["a"] if len(names) == 1 else date(row["a"], row["b"], row["c"])
        except ValueError:
            return False
        if files and calendar.key(moment) != files[row[FILE]]:
            return False
    return True


def _named(files: Files) -> list[str]:
    """The names of files in batches, as rows say them."""
    folder = files.pattern.rpartition("/")[0]
    return [f"{folder}/{path.name}" if folder else path.name for path in files.paths] if files.batches else []


def span_of(table: Table, column: str) -> tuple[datetime, datetime]:
    """The first and the last moment of a column of dates or times."""
    seen = table.columns[column]
    return datetime.fromisoformat(seen.low), datetime.fromisoformat(seen.high)


def meant(table: Table) -> Meant | None:
    """What may be predicted: a column that is called so, else the last that can be."""
    able = {seen.name: task for seen in table.columns.values() if (task := _task(seen)) is not None}
    for word in _MEANT:
        for name, task in able.items():
            if name.lower() == word:
                return Meant(name, task, "its name says so")
    if not able:
        return None
    name = list(able)[-1]
    return Meant(name, able[name], "it is the last column that could be one")


def _task(seen: Seen) -> Task | None:
    if seen.unique:
        return None  # it is a name
    if seen.distinct == _TWO and seen.type in ("string", "int64", "boolean"):
        return "binary"
    if seen.type in ("int64", "float64") and seen.distinct > _TWO:
        return "regression"
    return "multiclass" if seen.type == "string" and _TWO < seen.distinct <= _CLASSES else None


def leaks(table: Table, target: str) -> dict[str, str]:
    """Columns that say the target itself, each with how: a copy of it, or a part of its sum."""
    if table.columns[target].type not in ("int64", "float64"):
        return {}
    numbers = {name: _numbers(table, name) for name, seen in table.columns.items() if seen.type in ("int64", "float64")}
    answer = numbers.pop(target)
    found = {}
    for name, values in numbers.items():
        both = ~np.isnan(values) & ~np.isnan(answer)
        moves = both.sum() > _TWO and values[both].std() > 0 and answer[both].std() > 0
        if moves and abs(np.corrcoef(values[both], answer[both])[0, 1]) >= _COPY:
            found[name] = f"it tells {target} almost exactly"
    for one, other in combinations([name for name in numbers if name not in found], 2):
        if np.array_equal(numbers[one] + numbers[other], answer) and numbers[one].any() and numbers[other].any():
            found[one] = f"{one} + {other} is {target} in every row"
            found[other] = found[one]
    return found


def _numbers(table: Table, name: str) -> npt.NDArray[np.float64]:
    return np.asarray(table.values(name).cast(pa.float64()).to_numpy(zero_copy_only=False))


def found_in(table: Table, other: Table) -> Iterator[str]:
    """Columns by which rows of ``other`` could be joined: its whole key, which ``table`` has as well."""
    key = key_of(other)
    if not key.shared and len(key.columns) == 1 and key.columns[0] in table.columns:
        yield key.columns[0]
