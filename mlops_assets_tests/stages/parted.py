"""Batches of a release made by rule, for tests of how its parts compare.

What belongs here: building values. What does not: any expectation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import pyarrow as pa

from mlops_assets.contract.calendar import Calendar
from mlops_assets.contract.model import Contract, Partitions, Split, Task
from mlops_assets.stages.parts import Part, compare, known_columns, parts_of
from mlops_assets.stages.roles import roles
from mlops_assets.stages.split import assign_buckets
from mlops_assets_tests.stages.learn import contract as learnt
from mlops_assets_tests.stages.learn import rows

MONTHS = ("2024-01", "2024-02", "2024-03", "2024-04")
TIME = Split("time")
HASH = Split("hash", validation=0.15, test=0.2)


def contract(split: Split = TIME, task: Task = "binary", **more: Any) -> Contract:
    """Sales by month, with a key and a day."""
    return learnt(task, split=split, partitions=Partitions("monthly", MONTHS[0]), **more)


@dataclass(frozen=True)
class Batch:
    """The features of some rows, and of ``cleaned`` the columns by which they are told apart."""

    features: pa.Table
    cleaned: pa.Table

    def with_cleaned(self, name: str, values: list[Any]) -> "Batch":
        """The same rows with one column of ``cleaned`` made otherwise, or added."""
        table = self.cleaned.drop([name]) if name in self.cleaned.column_names else self.cleaned
        return replace(self, cleaned=table.append_column(name, pa.array(values)))

    def with_feature(self, name: str, values: Any) -> "Batch":
        """The same rows with another feature or answer."""
        place = self.features.column_names.index(name)
        return replace(self, features=self.features.set_column(place, name, pa.array(values, from_pandas=True)))


def batches(n: int = 300, task: Task = "binary", days: int = 28) -> dict[str, Batch]:
    """Four months of ``n`` rows each: keys count on, days go round, features are of one distribution."""
    found = {}
    for number, month in enumerate(MONTHS):
        first = date.fromisoformat(f"{month}-01")
        cleaned = {
            "id": pa.array(range(number * n, number * n + n), pa.int64()),
            "day": pa.array([first + timedelta(days=place * days // n) for place in range(n)]),
        }
        found[month] = Batch(rows(task, n, seed=number), pa.table(cleaned))
    return found


def buckets(rules: Contract, made: Mapping[str, Batch]) -> dict[str, pa.ChunkedArray]:
    """The buckets that the rules give."""
    return {month: assign_buckets(rules, batch.cleaned).value["bucket"] for month, batch in made.items()}


def parts(rules: Contract, made: Mapping[str, Batch], other: Mapping[str, Any] | None = None) -> dict[str, Part]:
    """The parts of the newest month's release; ``other`` buckets are taken instead of those that the rules give."""
    calendar, given = Calendar.of(rules.partitions), other or buckets(rules, made)

    def read(month: str) -> tuple[pa.Table, pa.ChunkedArray, pa.Table]:
        return made[month].features, given[month], made[month].cleaned.select(known_columns(rules))

    return parts_of(rules, roles(rules, list(made), MONTHS[-1], calendar), calendar.sort, read)


def report(rules: Contract, made: Mapping[str, Batch], other: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The split report of the newest month's release; see ``parts``."""
    return dict(compare(rules, parts(rules, made, other), 1).value)
