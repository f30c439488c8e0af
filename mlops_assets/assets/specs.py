"""The graph of a dataset as Dagster sees it: keys, dependencies, partitions, checks, descriptions, kinds.

What belongs here: the static specs, all set in this one place. What does not: anything that runs.
"""

import warnings
from collections.abc import Mapping
from functools import cached_property

import dagster as dg

from mlops_assets.assets.code import code_version
from mlops_assets.assets.graph import Graph, Stage, Upstream, digest
from mlops_assets.contract.calendar import Calendar
from mlops_assets.contract.model import Column

_CRON = {
    "hourly": "0 * * * *",
    "daily": "0 0 * * *",
    "weekly": "0 0 * * 1",
    "monthly": "0 0 1 * *",
    "yearly": "0 0 1 1 *",
}

_KINDS = {"table": {"parquet"}, "json": {"json"}, "estimator": {"scikitlearn"}}

_TYPES = {"int64": "int", "float64": "float", "boolean": "bool"}


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
        columns = self._columns(stage)
        metadata: dict[str, object] = {"dagster/uri": f"{contract.file}"}
        if columns:
            metadata["dagster/column_schema"] = column_schema(columns)
        return dg.AssetSpec(
            key=self.key(stage.name),
            deps=[self._dep(upstream) for upstream in stage.upstream],
            description=stage.description,
            group_name=contract.name,
            owners=list(contract.owners),
            kinds=_KINDS[stage.kind],
            tags={"stage": stage.name.split("/")[0], "scope": stage.scope},
            metadata=metadata,
            code_version=self.code_version(stage),
            partitions_def=self.partitions_of(stage),
            skippable=True,
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
                for check in stage.checks
            ]

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

    def _columns(self, stage: Stage) -> Mapping[str, Column]:
        contract = self.graph.contract
        if stage.name.startswith("raw/"):
            return contract.sources[stage.name.removeprefix("raw/")].columns
        return contract.cleaned_columns() if stage.name == "cleaned" else {}


def column_schema(columns: Mapping[str, Column]) -> dg.TableSchema:
    """The contract's columns as Dagster shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=name,
                type=_TYPES.get(column.type, column.type),
                description=column.description or None,
                constraints=dg.TableColumnConstraints(nullable=column.nullable, other=rules(column)),
                tags=dict.fromkeys(sorted(column.roles), ""),
            )
            for name, column in columns.items()
        ]
    )


def rules(column: Column) -> list[str]:
    """A column's rules in words."""
    found = []
    if column.minimum is not None:
        found.append(f"at least {column.minimum}")
    if column.maximum is not None:
        found.append(f"at most {column.maximum}")
    if column.values:
        found.append("one of " + ", ".join(str(value) for value in column.values))
    if column.pattern:
        found.append(f"matches {column.pattern}")
    return found
