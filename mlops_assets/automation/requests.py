"""Runs that are asked for: one for each contiguous range of batches, and those that are under way.

What belongs here: how a request looks, when it is another one, and what Dagster's record of runs says is queued or
running. What does not: what has to be asked for.
"""

from collections.abc import Iterable, Mapping, Sequence

import dagster as dg

from mlops_assets.assets.graph import Graph, Stage, digest
from mlops_assets.assets.plan import Plan
from mlops_assets.automation.tags import CLAIM, DATASET
from mlops_assets.contract.calendar import Calendar

IN_PROGRESS = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)

_PARTITION = "dagster/partition"
_FIRST, _LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
_MOST_RETRIES = "dagster/max_retries"


class Requests:
    """The runs of one dataset in one Dagster instance."""

    def __init__(self, instance: dg.DagsterInstance, graph: Graph) -> None:
        self._instance = instance
        self._graph = graph
        self._calendar = Calendar.of(graph.contract.partitions)

    def in_flight(self, stages: Iterable[str], batches: Iterable[str]) -> set[str]:
        """Those of the batches that some queued or running run takes through one of the stages."""
        keys = {dg.AssetKey(self._graph.path(stage)) for stage in stages}
        wanted, found = set(batches), set[str]()
        for run in self._instance.get_runs(dg.RunsFilter(statuses=list(IN_PROGRESS))) if wanted else ():
            if run.asset_selection is not None and keys.isdisjoint(run.asset_selection):
                continue
            if run.asset_selection is None and run.tags.get(DATASET) != self._graph.contract.name:
                continue
            found |= {batch for batch in wanted if _takes(run.tags, batch)}
        return found

    def runs(
        self, claim: str, stages: Sequence[Stage], batches: Iterable[str], *, alone: Iterable[str] = ()
    ) -> list[dg.RunRequest]:
        """A request for each contiguous range of batches, and one for each batch that is to be ``alone``.

        ``claim`` tells this request from any other for the same batches: Dagster launches the same one only once.
        Stages of reference tables have the one batch ``all``.
        """
        single = set(alone)
        ranges = [(batch, batch) for batch in sorted(single)]
        rest = [batch for batch in batches if batch not in single]
        if stages[0].scope == "reference" or not self._graph.partitioned:
            ranges += [(batch, batch) for batch in rest]
        else:
            ranges += self._calendar.ranges(rest)
        return [self._run(claim, stages, first, last) for first, last in sorted(ranges)]

    def partitions(self, runs: Sequence[dg.RunRequest]) -> list[dg.AddDynamicPartitionsRequest] | None:
        """Named batches that Dagster does not know, to be added in the tick that asks for them; None if none."""
        if self._calendar.cadence != "named" or not runs:
            return None
        name = f"{self._graph.contract.name}_batches"
        asked = {run.partition_key for run in runs if run.partition_key}
        new = sorted(asked - set(self._instance.get_dynamic_partitions(name)))
        return [dg.AddDynamicPartitionsRequest(name, new)] if new else None

    def _run(self, claim: str, stages: Sequence[Stage], first: str, last: str) -> dg.RunRequest:
        name = self._graph.contract.name
        said = f"{claim}:{first}" if first == last else f"{claim}:{first}..{last}"
        # whoever asked asks again itself; the daemon's own retry would be a second run for the same
        tags = {DATASET: name, CLAIM: said, _MOST_RETRIES: "0"}
        whole = stages[0].scope == "reference" or not self._graph.partitioned
        if first != last:
            tags |= {_FIRST: first, _LAST: last}
        return dg.RunRequest(
            run_key=f"{name}:{said}",
            asset_selection=[dg.AssetKey(self._graph.path(stage.name)) for stage in stages],
            partition_key=None if whole or first != last else first,
            tags=tags,
        )


def _takes(tags: Mapping[str, str], batch: str) -> bool:
    """Whether a run with these tags takes a batch; keys of all cadences sort as text."""
    if _FIRST in tags:
        return tags[_FIRST] <= batch <= tags[_LAST]
    return tags.get(_PARTITION) in (None, batch)


def wanted_key(plan: Plan, stages: Iterable[str], batch: str) -> str:
    """What some stages of a batch would be made by now; of one that stands on what is to be made first, nothing.

    Another key is another thing to ask for, whatever became of the one before.
    """

    def key(stage: Stage) -> str:
        return plan.resolve(stage, batch).key if plan.standing(stage, batch).state == "stale" else ""

    return digest([[name, key(plan.graph.stages[name])] for name in stages])
