"""The rules that a column's declaration implies, and the words by which a broken one is known.

What belongs here: which rules there are and what they are called, for whoever applies, counts, overrules or compares
them. What does not: applying them (``stages.rules``). Nothing heavy is imported.
"""

from collections.abc import Container
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal

from mlops_assets.contract.model import Column, Source

RuleKind = Literal["not_null", "minimum", "maximum", "values", "pattern"]

NO_VALUE: Final = "has no value"
CONFLICT: Final = "the same key with other values"
"""The label of rows that share their key and differ; it stands after the key's columns."""

_LISTED = 8
_LABELS: Final[dict[RuleKind, str]] = {
    "not_null": NO_VALUE,
    "minimum": "is below the minimum",
    "maximum": "is above the maximum",
    "values": "is not one of the declared values",
    "pattern": "does not match the pattern",
}


@dataclass(frozen=True, slots=True)
class CellRule:
    """A rule of one column: ``phrase`` goes on after a value that breaks it, ``label`` is the phrase of all of them."""

    kind: RuleKind
    phrase: str
    label: str


def rules_of(column: Column) -> tuple[CellRule, ...]:
    """The rules of a column, in the order in which they are told."""
    found: list[tuple[RuleKind, str]] = []
    if not column.nullable:
        found.append(("not_null", ""))
    if column.minimum is not None:
        found.append(("minimum", f" {column.minimum}"))
    if column.maximum is not None:
        found.append(("maximum", f" {column.maximum}"))
    if column.values:
        found.append(("values", ""))
    if column.pattern is not None:
        found.append(("pattern", f" {column.pattern}"))
    rules = [CellRule(kind, _LABELS[kind] + more, f"{column.name}: {_LABELS[kind]}") for kind, more in found]
    if column.values:
        few = len(column.values) <= _LISTED
        told = ", ".join(map(str, column.values)) if few else f"the {len(column.values)} declared values"
        rules = [
            CellRule("values", f"is not one of {told}", rule.label) if rule.kind == "values" else rule for rule in rules
        ]
    return tuple(rules)


def conflict(source: Source) -> str:
    """The label of a source's rows that share their key and differ."""
    return f"{', '.join(source.key)}: {CONFLICT}"


def overrulable(source: Source) -> list[str]:
    """The reasons that a person may overrule: rules. A value that cannot be read, and a key without one, stay out."""
    time = source.event_time.columns if source.event_time else ()
    found = [
        rule.label
        for column in source.columns.values()
        for rule in rules_of(column)
        if rule.kind != "not_null" or column.name not in (*source.key, *time)
    ]
    return [*found, conflict(source)] if source.key else found


def without(column: Column, kinds: Container[RuleKind]) -> Column:
    """The column without its rules of these kinds."""
    return replace(
        column,
        nullable=column.nullable or "not_null" in kinds,
        minimum=None if "minimum" in kinds else column.minimum,
        maximum=None if "maximum" in kinds else column.maximum,
        values=() if "values" in kinds else column.values,
        pattern=None if "pattern" in kinds else column.pattern,
    )


def allowed_values(column: Column) -> list[Any]:
    """The declared values as Python's own."""
    return [native(column, value) for value in column.values]


def native(column: Column, value: Any) -> Any:
    """A value of the contract as Python's own of the column's type; dates stand there as ISO text."""
    if column.type == "date":
        return datetime.fromisoformat(str(value)).date()
    if column.type == "timestamp":
        moment = datetime.fromisoformat(str(value))
        return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    return float(value) if column.type == "float64" else value
