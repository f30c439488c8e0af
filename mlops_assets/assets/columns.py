"""The columns of a stage for people: names, types, rules, and which columns upstream their values come from.

What belongs here: what the contract and compiled SQL say of columns, as Dagster shows it. What does not: specs of
assets (``specs``), finding lineage in SQL (``dbtproject.lineage``).

Lineage is of values: columns that rows were only joined, filtered or ordered by are not in it. The open-source UI draws
no graph of columns, so a column's description says where it comes from, too.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import dagster as dg

from mlops_assets.assets.graph import Graph, Stage
from mlops_assets.contract.expression import parse
from mlops_assets.contract.model import Column, Contract, Feature
from mlops_assets.dbtproject.shape import CLEANED

FEATURES = "features"

_Origins = tuple[tuple[str, str], ...]
"""Pairs of a stage and one of its columns."""

_TYPES = {"int64": "int", "float64": "float", "boolean": "bool"}


def columns_of(contract: Contract, stage: Stage) -> Mapping[str, Column]:
    """The columns that the contract knows of a stage, in order; nothing of a stage that has its own."""
    if stage.name.startswith("raw/"):
        return contract.sources[stage.name.removeprefix("raw/")].columns
    if stage.name == FEATURES:
        kinds = {"numeric": "float64", "categorical": "string"}
        return {each.name: Column(each.name, kinds[each.kind]) for each in contract.features}  # type: ignore[arg-type]
    if stage.name != CLEANED:
        return {}
    told = contract.sql.columns if contract.sql else {}
    return {
        name: replace(column, description=told.get(name) or column.description)
        for name, column in contract.cleaned_columns().items()
    }


def origins_of(contract: Contract, stage: Stage) -> Mapping[str, _Origins]:
    """Which columns upstream the values of each column come from; of what cannot be told nothing is said."""
    if stage.name == FEATURES:
        return dict(_features(contract))
    if stage.name != CLEANED:
        return {}
    if contract.sql:
        return {
            name: tuple((f"raw/{source}", column) for source, column in pairs)
            for name, pairs in contract.sql.lineage.items()
        }
    found: dict[str, _Origins] = {name: ((f"raw/{contract.spine}", name),) for name in contract.cleaned_columns()}
    for join in contract.joins:
        found |= {name: ((f"raw/{join.source}", column),) for name, column in join.columns.items()}
    return found


def lineage(graph: Graph, origins: Mapping[str, _Origins]) -> dg.TableColumnLineage:
    """Where columns come from, as Dagster keeps it."""
    return dg.TableColumnLineage(
        deps_by_column={
            name: [dg.TableColumnDep(dg.AssetKey(graph.path(stage)), column) for stage, column in pairs]
            for name, pairs in origins.items()
        }
    )


def column_schema(columns: Mapping[str, Column], origins: Mapping[str, _Origins]) -> dg.TableSchema:
    """The contract's columns as Dagster shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=name,
                type=_TYPES.get(column.type, column.type),
                description=_description(column, origins.get(name, ())) or None,
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


def _description(column: Column, origins: _Origins) -> str:
    said = ", ".join(f"{stage.removeprefix('raw/')}.{name}" for stage, name in origins)
    return " ".join(part for part in (column.description, f"(from {said})" if said else "") if part)


def _features(contract: Contract) -> Iterator[tuple[str, _Origins]]:
    """Of each feature the columns of ``cleaned``, through the features that it is made of."""
    cleaned = contract.cleaned_columns()
    windows = {window.name: window for window in contract.windows.each}
    found: dict[str, tuple[str, ...]] = {}

    def columns(feature: Feature) -> Iterable[str]:
        for name in feature.uses:
            yield from (name,) if name in cleaned else found.get(name, ())
        window = windows.get(feature.name)
        if window and window.of:
            yield from parse(window.of).columns

    for feature in contract.features:
        found[feature.name] = tuple(dict.fromkeys(columns(feature)))
        yield feature.name, tuple((CLEANED, name) for name in found[feature.name])
