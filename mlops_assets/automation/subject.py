"""What a run is about: its dataset, stages and batches, as its tags and its selection say.

What belongs here: reading that off a run, and saying it in a few words. What does not: how the run goes. Dagster is not
imported: ``status`` says it too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_assets.automation.tags import DATASET

if TYPE_CHECKING:
    import dagster as dg

_PARTITION = "dagster/partition"
_FIRST, _LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"

_MOST_NAMED = 6


@dataclass(frozen=True, slots=True)
class Subject:
    """``datasets`` by name, ``stages`` of them, and the batches ``first`` to ``last``, ``None`` without batches."""

    datasets: tuple[str, ...]
    stages: tuple[str, ...]
    first: str | None
    last: str | None
    job: str

    @classmethod
    def of(cls, paths: Iterable[Sequence[str]], tags: Mapping[str, str], job: str) -> "Subject":
        """What a run is about that selects the assets with these paths and bears these tags."""
        chosen = list(paths)
        datasets = {path[0] for path in chosen}
        if not datasets and DATASET in tags:
            datasets = {tags[DATASET]}
        batch = tags.get(_PARTITION)
        return cls(
            datasets=tuple(sorted(datasets)),
            stages=tuple(sorted({"/".join(path[1:]) for path in chosen})),
            first=tags.get(_FIRST, batch),
            last=tags.get(_LAST, batch),
            job=job,
        )

    @property
    def batches(self) -> str:
        """``2013-01``, ``2013-01..2013-03``, or nothing."""
        return (self.first or "") if self.first == self.last else f"{self.first}..{self.last}"

    def __str__(self) -> str:
        """``flights: cleaned, features [2013-01..2013-03]``."""
        stages = [
            *self.stages[:_MOST_NAMED],
            *([f"{len(self.stages) - _MOST_NAMED} more"] if self.stages[_MOST_NAMED:] else []),
        ]
        what = ": ".join(part for part in (", ".join(self.datasets), ", ".join(stages) or self.job) if part)
        return f"{what} [{self.batches}]" if self.batches else what


def subject_of(run: "dg.DagsterRun") -> Subject:
    """What a run is about."""
    keys = set(run.asset_selection or ()) | {check.asset_key for check in run.asset_check_selection or ()}
    return Subject.of([key.path for key in keys], run.tags, run.job_name)
