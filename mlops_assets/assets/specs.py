"""The graph of a dataset as Dagster sees it: keys, dependencies, partitions, checks, descriptions, kinds.

What belongs here: the static specs, all set in this one place. What does not: anything that runs.
"""

import warnings
from datetime import timedelta
from functools import cached_property

import dagster as dg

from mlops_assets.assets.code import code_version
from mlops_assets.assets.columns import column_schema, columns_of, lineage, origins_of
from mlops_assets.assets.graph import Graph, Stage, Upstream, digest
from mlops_assets.assets.staleness import UP_TO_DATE
from mlops_assets.contract.calendar import Calendar
from mlops_assets.dbtproject.shape import CLEANED

_CRON = {
    "hourly": "0 * * * *",
    "daily": "0 0 * * *",
    "weekly": "0 0 * * 1",
    "monthly": "0 0 1 * *",
    "yearly": "0 0 1 1 *",
}

_KINDS = {"table": {"parquet"}, "json": {"json"}, "estimator": {"scikitlearn"}}


class Specs:
    """Specs of one dataset's assets and checks."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        partitions = graph.contract.partitions
        self._calendar = Calendar(partitions.cadence, partitions.start, partitions.end)

    @cached_property
    def partitions(self) -> dg.PartitionsDefinition | None:
        """The dataset's batches; ``None`` when it has but one."""
        given = self.graph.contract.partitions
        if given.cadence == "none":
            return None
        if given.cadence == "named":
            return dg.DynamicPartitionsDefinition(name=f"{self.graph.contract.name}_batches")
        assert given.start is not None
        start = self._calendar.window(given.start)[0]
        end = self._calendar.window(given.end)[1] if given.end else None
        return dg.TimeWindowPartitionsDefinition(
            start=start,
            end=end,
            fmt=str(self._calendar.format),
            cron_schedule=_CRON[given.cadence],
            # The batch that is going on can be delivered in part.
            end_offset=0 if end else 1,
        )

    def key(self, stage: str) -> dg.AssetKey:
        """The asset's key."""
        return dg.AssetKey(self.graph.path(stage))

    def partitions_of(self, stage: Stage) -> dg.PartitionsDefinition | None:
        """The partitions of one stage: reference tables have none."""
        return None if stage.scope == "reference" else self.partitions

    def code_version(self, stage: Stage) -> str:
        """As ``Plan.code_version``: what Dagster compares with the tag of a materialization."""
        return f"{code_version(stage.modules, stage.files)}-{digest(stage.settings)}"

    def asset(self, stage: Stage) -> dg.AssetSpec:
        """The spec of one stage."""
        contract = self.graph.contract
        columns, origins = columns_of(contract, stage), origins_of(contract, stage)
        metadata: dict[str, object] = {"dagster/uri": f"{contract.file}"}
        if columns:
            metadata["dagster/column_schema"] = column_schema(columns, origins)
        if origins:
            metadata["dagster/column_lineage"] = lineage(self.graph, origins)
        sql = contract.sql if stage.name == CLEANED else None
        if sql:
            metadata["columns_of_unknown_lineage"] = list(sql.unresolved)
        return dg.AssetSpec(
            key=self.key(stage.name),
            deps=self._deps(stage),
            description=stage.description,
            group_name=contract.name,
            owners=list(dict.fromkeys([*contract.owners, *(sql.owners if sql else ())])),
            kinds=_KINDS[stage.kind] | ({"dbt", "duckdb"} if sql else set()),
            tags={**(sql.tags if sql else {}), "stage": stage.name.split("/")[0], "scope": stage.scope},
            metadata=metadata,
            code_version=self.code_version(stage),
            partitions_def=self.partitions_of(stage),
            freshness_policy=self._freshness(stage),
            skippable=True,
            automation_condition=self._condition(stage),
        )

    def checks(self, stage: Stage) -> list[dg.AssetCheckSpec]:
        """The specs of one stage's checks."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.PreviewWarning)  # partitioned checks; Dagster is pinned to one release
            return [
                dg.AssetCheckSpec(
                    name=check.name,
                    asset=self.key(stage.name),
                    description=check.description,
                    blocking=check.severity == "block",
                    partitions_def=self.partitions_of(stage),
                )
                for check in (*stage.checks, UP_TO_DATE)
            ]

    def _condition(self, stage: Stage) -> dg.AutomationCondition[dg.AssetKey | dg.AssetCheckKey] | None:
        """Of stages of a batch that stand on others of the same; ``conditions`` says what asks for the rest."""
        if stage.scope != "batch" or not stage.upstream or not self.graph.contract.automation.enabled:
            return None
        from mlops_assets.automation.conditions import on_changed_data

        return on_changed_data([self.key(reference.name) for reference in self.graph.of_scope("reference")])

    def _freshness(self, stage: Stage) -> dg.FreshnessPolicy | None:
        """When the stage is late. Dagster counts from the newest materialization of any of its batches."""
        given = self.graph.contract.automation.freshness.get(stage.name)
        if given is None:
            return None
        warn = None if given.warn is None else timedelta(seconds=given.warn)
        return dg.FreshnessPolicy.time_window(timedelta(seconds=given.fail), warn)

    def _deps(self, stage: Stage) -> list[dg.AssetDep]:
        """What Dagster maps between partitions: of earlier batches that are looked back at it knows nothing.

        Told of that window, its backfills of a batch also take the features of later ones that look back at it, whether
        anything was delivered for them or not, in a run of their own that then fails. So the manifest names the earlier
        batches, and the sweep finds what they make stale.
        """
        return [self._dep(upstream) for upstream in stage.upstream if upstream.window != "back"]

    def _dep(self, upstream: Upstream) -> dg.AssetDep:
        mapping: dg.PartitionMapping | None = None
        if upstream.window == "through":
            named = self.graph.contract.partitions.cadence == "named"
            mapping = (
                dg.AllPartitionMapping()
                if named
                else dg.TimeWindowPartitionMapping(start_offset=-self._calendar.offset)
            )
        return dg.AssetDep(self.key(upstream.stage), partition_mapping=mapping)
