"""The tables between our own Python stages as pandera schemas, made from the contract.

What belongs here: which columns a table of features, of buckets or of a request has, with their types, missing values
and the rules that the contract says already; and what a table does against its schema. What does not: the checks
themselves (``rules``), delivered rows (``sift``), what a failure means (``mlops_assets.checks``).

A rule that the contract has of a column holds of the feature that is that column, unless a person let rows in despite
it. A computed feature is only known by its type, a window that counts also by never being below 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.expression import parse
from mlops_assets.contract.model import Column, Contract, Feature
from mlops_assets.contract.rules import NO_VALUE, rules_of, without
from mlops_assets.stages.cells import TYPES
from mlops_assets.stages.features import GROUP, TARGET
from mlops_assets.stages.online import schema_of
from mlops_assets.stages.roles import BUCKETS
from mlops_assets.stages.rows import Ints
from mlops_assets.stages.rules import as_series, checks, examined, unruly

if TYPE_CHECKING:
    from pandera.pandas import Check, DataFrameSchema
    from pandera.pandas import Column as Declared

_TELL_BATCH = {
    "yearly": ("year",),
    "monthly": ("year", "month"),
    "weekly": ("year", "month", "day"),
    "daily": ("year", "month", "day"),
    "hourly": ("year", "month", "day", "hour"),
}
_BUCKET = Column("bucket", "int64", nullable=False, minimum=0, maximum=BUCKETS - 1)


@dataclass(frozen=True, slots=True)
class Breach:
    """What a column does against its schema, in words without values; ``rows`` are those concerned, if it is rows."""

    column: str
    words: str
    rows: Ints | None = None


def schema_of_splits() -> "DataFrameSchema":
    """The table ``splits``: one bucket in range for each row."""
    return _schema("splits", {"bucket": _declared(_BUCKET, pa.int16())})


def schema_of_features(contract: Contract) -> "DataFrameSchema":
    """The table ``features``: each feature by its kind, finite, within the contract's rules; target and groups."""
    cleaned = _cleaned(contract)
    columns = {feature.name: _feature(feature, cleaned) for feature in contract.features}
    for window in contract.windows.each:
        least = 0 if window.take == "count" else None
        columns[window.name] = _declared(Column(window.name, "float64", minimum=least), pa.float64(), finite=True)
    columns[TARGET] = _any(TARGET, _target_type(contract))
    for name in contract.evaluation.groups:
        if name not in columns:
            columns[GROUP + name] = _any(GROUP + name, pa.string())
    return _schema("features", columns)


def schema_of_online(contract: Contract) -> "DataFrameSchema":
    """The table ``online``: when each row happened and the columns that windows need, typed as in ``cleaned``."""
    return _schema("online", {name: _any(name, kind) for name, kind in schema_of(contract).items()})


def columns_of_request(contract: Contract) -> dict[str, Column]:
    """What somebody must send who asks for a prediction: the columns of ``cleaned`` that features are made from.

    In the order of ``cleaned``, with the rules that hold there. Columns that come by a join may be missing values, as
    they may there. For a window these are whose past it is, when the row happens, and what tells the batch that it
    would belong to, since a row sees as many batches as in training; the past itself is not sent.
    """
    asked = {name for feature in contract.features for name in feature.uses} | set(tells_batch(contract))
    return {name: rules for name, rules in _cleaned(contract).items() if name in asked}


def tells_batch(contract: Contract) -> tuple[str, ...]:
    """The columns of the spine's event time that tell the batch in which windows see a row; none where no batch is."""
    event_time = contract.sources[contract.spine].event_time
    finest = _TELL_BATCH.get(contract.partitions.cadence)
    if not contract.windows.each or event_time is None or finest is None:
        return ()
    if not event_time.parts:
        return event_time.columns
    return tuple(name for name, part in zip(event_time.columns, event_time.parts, strict=True) if part in finest)


def schema_of_request(contract: Contract) -> "DataFrameSchema":
    """The columns of a request (``columns_of_request``), typed as in ``cleaned``."""
    columns = {
        name: _declared(rules, TYPES[rules.type], finite=rules.type == "float64")
        for name, rules in columns_of_request(contract).items()
    }
    return _schema("request", columns)


def breaches(schema: "DataFrameSchema", table: pa.Table) -> list[Breach]:
    """Everything in which a table does not keep to its schema, one for each column and rule.

    Of a column that is not there, or not of its type, only that is told.
    """
    import pandas as pd

    frame = pd.DataFrame({name: as_series(table[name], name) for name in table.column_names})
    found: list[Breach] = []
    impossible: set[str] = set()
    for error in sorted(examined(schema, frame), key=lambda each: unruly(each, frame) is None):
        column = str(error.failure_cases) if error.schema is schema else str(error.schema.name)
        words = unruly(error, frame)
        if words and column not in impossible:
            impossible.add(column)
            found.append(Breach(column, words))
        elif not words and column not in impossible:
            found.append(_in_rows(column, error))
    order = {name: place for place, name in enumerate(schema.columns)}
    return sorted(found, key=lambda breach: order.get(breach.column, len(order)))


def _in_rows(column: str, error: Any) -> Breach:
    if error.check_output is None:
        return Breach(column, NO_VALUE, error.failure_cases["index"].to_numpy(dtype=np.int64))
    kept = error.check_output.to_numpy(dtype=bool)
    return Breach(column, error.check.error, error.check_output.index.to_numpy(dtype=np.int64)[~kept])


def _schema(name: str, columns: Mapping[str, "Declared"]) -> "DataFrameSchema":
    from pandera.pandas import DataFrameSchema

    return DataFrameSchema(dict(columns), name=name, strict=True)


def _declared(rules: Column, kind: pa.DataType, *, finite: bool = False) -> "Declared":
    import pandas as pd
    from pandera.pandas import Column as Declared

    asked = [*([_finite(rules.name)] if finite else []), *checks(rules)]
    return Declared(pd.ArrowDtype(kind), asked, nullable=rules.nullable, name=rules.name)


def _any(name: str, kind: pa.DataType | None) -> "Declared":
    import pandas as pd
    from pandera.pandas import Column as Declared

    return Declared(pd.ArrowDtype(kind) if kind is not None else None, nullable=True, name=name)


def _finite(name: str) -> "Check":
    import pandas as pd
    from pandera.pandas import Check

    def finite(series: Any) -> Any:
        found = pc.is_finite(pa.array(series, pa.float64(), from_pandas=False))
        return pd.Series(found.to_numpy(zero_copy_only=False), index=series.index, dtype=bool)

    return Check(finite, name="finite", title=f"{name}: is not finite", error="is not finite", n_failure_cases=1)


def _feature(feature: Feature, cleaned: Mapping[str, Column]) -> "Declared":
    numeric = feature.kind == "numeric"
    kind = pa.float64() if numeric else pa.string()
    known = None if feature.computed or feature.window else cleaned.get(feature.name)
    if known is None or known.type == "boolean":
        nullable = known is None or known.nullable
        rules = Column(feature.name, "float64" if numeric else "string", nullable=nullable)
    elif numeric:
        rules = replace(known, type="float64")
    elif known.type == "string":
        rules = known
    else:  # whole numbers as the names of categories
        rules = replace(known, type="string", minimum=None, maximum=None, values=tuple(map(str, known.values)))
    return _declared(rules, kind, finite=numeric)


def _cleaned(contract: Contract) -> dict[str, Column]:
    """The columns of ``cleaned`` with the rules that hold there."""
    spine = contract.sources[contract.spine]
    found = {name: _held(contract, spine.name, column) for name, column in spine.columns.items()}
    for join in contract.joins:
        for name, theirs in join.columns.items():
            held = _held(contract, join.source, contract.sources[join.source].columns[theirs])
            found[name] = replace(held, name=name, nullable=True)
    return found


def _held(contract: Contract, source: str, column: Column) -> Column:
    """A column without the rules that people let rows in despite."""
    overruled = {each.reason for each in contract.admitted_of(source)}
    broken = {rule.kind for rule in rules_of(column) if rule.label in overruled}
    return without(column, broken)


def _target_type(contract: Contract) -> pa.DataType | None:
    """The type of the answers where the contract leaves no choice."""
    if contract.target.task == "regression":
        return pa.float64()
    types = {name: column.type for name, column in contract.cleaned_columns().items()}
    return pa.bool_() if parse(contract.target.expression).kind(types) == "boolean" else None
