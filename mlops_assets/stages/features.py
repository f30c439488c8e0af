"""What the model may know of each row, and its answer: columns of ``cleaned``, the past, the dataset's own functions.

What belongs here: the feature table. What does not: looking back (``windows``), running the dataset's functions
(``usercode``), what a model makes of missing values or categories (``train``).

The table's columns: the features in the contract's order (numeric float64, categorical string, null where missing),
``target`` (the expression's type, null where there is no answer), then ``group:<name>`` for each group of the
evaluation that is no feature.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.expression import parse
from mlops_assets.contract.model import Contract, Feature, Window
from mlops_assets.errors import ContractError
from mlops_assets.stages.made import Made
from mlops_assets.stages.rows import one_chunk
from mlops_assets.stages.usercode import FILE, Functions, plain_numbers, plain_texts
from mlops_assets.stages.windows import windowed

TARGET = "target"
GROUP = "group:"


def build_features(contract: Contract, cleaned: pa.Table, history: pa.Table | None = None) -> Made:
    """The feature table of a batch, one row for each cleaned row, in their order.

    ``history`` has the rows of earlier batches that windows look back at, with the columns ``windows.needed``. Facts:
    ``rows``, ``answered`` (rows with an answer), ``positive`` (of a binary task), ``missing`` by feature, the names of
    features that are ``constant`` and, where there are windows, ``no_past`` (by window the share of rows without any).

    Raises:
        ContractError: a function of the dataset is not there or returns what cannot be the feature.
    """
    past = windowed(contract, cleaned, cleaned.slice(0, 0) if history is None else history)
    functions: Functions | None = None
    columns: dict[str, pa.Array] = {}
    for feature in contract.features:
        if feature.computed:
            functions = functions or _functions(contract, cleaned, columns)
            values = functions.compute(feature)
        else:
            values = past[feature.name] if feature.window else one_chunk(cleaned[feature.name])
        columns[feature.name] = _as_feature(contract, feature, values)
        if functions:
            functions.keep(feature, columns[feature.name])
    missing = {name: int(values.null_count) for name, values in columns.items()}
    constant = [name for name, values in columns.items() if _constant(values)]
    target = _target(contract, cleaned)
    columns[TARGET] = target
    for name in contract.evaluation.groups:
        if name not in columns:
            columns[GROUP + name] = plain_texts(one_chunk(cleaned[name]))
    facts: dict[str, Any] = {
        "rows": cleaned.num_rows,
        "answered": len(target) - int(target.null_count),
        "missing": missing,
        "constant": constant,
    }
    if past:
        facts["no_past"] = {window.name: _no_past(window, past[window.name]) for window in contract.windows.each}
    if contract.target.task == "binary":
        facts["positive"] = _positive(contract, target)
    return Made(pa.table(columns), facts)


def _functions(contract: Contract, cleaned: pa.Table, before: Mapping[str, pa.Array]) -> Functions:
    """The dataset's functions, which may ask for the windows before them; other features are columns already."""
    functions = Functions(contract, cleaned)
    for feature in contract.features:
        if feature.window and feature.name in before:
            functions.keep(feature, before[feature.name])
    return functions


def _no_past(window: Window, values: pa.Array) -> float:
    """The share of rows for which nothing counts."""
    without = pc.equal(values, 0.0).fill_null(True) if window.take == "count" else pc.is_null(values)
    return int(pc.sum(without).as_py() or 0) / max(1, len(values))


def _as_feature(contract: Contract, feature: Feature, values: pa.Array) -> pa.Array:
    found = plain_numbers(values) if feature.kind == "numeric" else plain_texts(values)
    if found is None:
        wanted = "numbers" if feature.kind == "numeric" else "texts or whole numbers"
        where = contract.folder / FILE if feature.computed else f"{contract.file}:{feature.line}"
        raise ContractError(
            f"{where}: the {feature.kind} feature {feature.name!r} holds {values.type}; it should hold {wanted}."
        )
    return found


def _constant(values: pa.Array) -> bool:
    """Whether all values there are are the same one."""
    ends = pc.min_max(values)
    return bool(pc.equal(ends["min"], ends["max"]).as_py())


def _target(contract: Contract, cleaned: pa.Table) -> pa.Array:
    """The answers; whole numbers, texts and truths as they are, a number that is none is no answer."""
    values = one_chunk(parse(contract.target.expression).evaluate(cleaned))
    if contract.target.task == "regression":
        values = values.cast(pa.float64())
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_finite(values), values, pa.scalar(None, values.type))
    return values


def _positive(contract: Contract, target: pa.Array) -> int:
    positive = pa.array([contract.target.positive])
    if positive.type != target.type and not (pa.types.is_integer(positive.type) and pa.types.is_floating(target.type)):
        return 0
    return int(pc.sum(pc.is_in(target, value_set=positive.cast(target.type))).as_py() or 0)
