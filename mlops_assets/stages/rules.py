"""What the contract says against the values of a column: their type, and its rules, which pandera runs.

What belongs here: one column's declaration as pandera checks, and one column's distinct values judged by them. What
does not: reading values (``cells``), rows (``sift``), tables between our own stages (``schemas``), which rules there
are and how they are called (``contract.rules``).

A column is judged by its distinct values, of which there are few: a thousand rows of the same mistake cost one, and a
pattern is Python's own regular expression. pandera is asked for masks, never for its failure cases: it makes those one
by one. It is imported by the first judgement, because a process that judges nothing should not wait for it.
"""

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.model import Column, ColumnType, FileFormat
from mlops_assets.contract.rules import NO_VALUE, CellRule, allowed_values, native, rules_of
from mlops_assets.errors import RefusedError
from mlops_assets.stages.cells import TYPES, Read, read
from mlops_assets.stages.readings import hints as hints_of
from mlops_assets.stages.rows import Truths, encode, one_chunk
from mlops_assets.stages.texts import shown_texts

if TYPE_CHECKING:
    import pandas as pd
    from pandera.errors import SchemaError
    from pandera.pandas import Check, DataFrameSchema, SeriesSchema

_WORDS: dict[ColumnType, str] = {
    "string": "holds a NUL character",
    "int64": "is not a whole number",
    "float64": "is not a number",
    "boolean": "is not true or false",
    "date": "is not a date (YYYY-MM-DD)",
    "timestamp": "is not a time (YYYY-MM-DDTHH:MM:SS)",
}
_LONG: dict[ColumnType, tuple[str, str]] = {
    "int64": (r"\A[+-]?[0-9]+\z", "does not fit in 64 bits"),
    "float64": (
        r"\A[+-]?[0-9.,]+[eE][+-]?[0-9]+\z|\A[+-]?[0-9.,]{300,}\z",
        "is not a number that can be kept exactly enough",
    ),
}
"""Texts that look like the type and cannot be kept in it."""

_KNOWN_COLUMNS = 4096


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with values of a column: ``broken`` says with which, shape (distinct,).

    ``label`` names column and rule only; ``phrase`` goes on after the value, and then what may have been meant by it
    (``hints``, one for each of the values).
    """

    label: str
    phrase: str
    broken: Truths
    hints: pa.Array | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """Distinct values of a column in the declared type, null where there is none or it could not be read.

    ``unreadable`` says which could not be read, shape (distinct,); ``findings`` what is wrong, in the order it is told.
    """

    values: pa.Array
    unreadable: Truths
    findings: tuple[Finding, ...]


def judge(where: str, column: Column, file_format: FileFormat, distinct: pa.Array) -> Judged:
    """Read and judge the distinct delivered values of a column; null among them is a value that was not delivered.

    ``where`` is the file and line of the column's declaration, for the sentence of the error.

    Raises:
        RefusedError: a rule cannot be applied to the column at all.
    """
    found = read(column, file_format, distinct)
    findings = [
        *_unread(column, file_format, distinct, found),
        *_broken(where, column, found.values, found.unreadable),
    ]
    return Judged(found.values, found.unreadable, tuple(findings))


def sentences(column: Column, distinct: pa.Array, finding: Finding) -> pa.Array:
    """What is said of each value that a finding is about, in their order."""
    if finding.phrase == NO_VALUE:
        return pa.array([f"{column.name}: {NO_VALUE}"] * int(finding.broken.sum()), pa.string())
    broken = distinct.take(pa.array(np.flatnonzero(finding.broken)))
    named = shown_texts(broken, hidden="sensitive" in column.roles)
    hints = "" if finding.hints is None else finding.hints
    return pc.binary_join_element_wise(f"{column.name}: ", named, f" {finding.phrase}", hints, "")


def checks(column: Column, *, distinct: bool = False) -> list["Check"]:
    """The column's rules as pandera checks; "no value" is a schema's own matter.

    A check's ``title`` is the rule's label, its ``error`` what goes on after a value. A missing value breaks none.
    ``distinct`` says that no value comes twice.
    """
    return [_check(column, rule, distinct=distinct) for rule in rules_of(column) if rule.kind != "not_null"]


def as_series(values: pa.Array | pa.ChunkedArray, name: str, index: Any = None) -> "pd.Series":
    """Arrow values as a pandas Series that shares their memory."""
    import pandas as pd

    chunked = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])
    return pd.Series(pd.arrays.ArrowExtensionArray(chunked), name=name, index=index)


def examined(schema: "SeriesSchema | DataFrameSchema", values: "pd.Series | pd.DataFrame") -> list["SchemaError"]:
    """Everything that pandera finds; what refuses rows is not switched off by a variable of somebody's environment."""
    from pandera.config import ValidationDepth, config_context
    from pandera.errors import SchemaErrors

    with (
        config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA),
        warnings.catch_warnings(),
    ):
        # pandera puts the failures of all columns into one table, and pandas will type it otherwise some day
        warnings.simplefilter("ignore", FutureWarning)
        try:
            schema.validate(values, lazy=True, inplace=True)
        except SchemaErrors as failed:
            return list(failed.schema_errors)
    return []


def unruly(error: "SchemaError", values: "pd.Series | pd.DataFrame") -> str | None:
    """What keeps a schema from being applied to the values at all, in words without values.

    None when values only break a rule.
    """
    match error.reason_code.name:
        case "SERIES_CONTAINS_NULLS":
            return None
        case "COLUMN_NOT_IN_DATAFRAME":
            return "is not there"
        case "COLUMN_NOT_IN_SCHEMA":
            return "should not be there"
        case "WRONG_DATATYPE":
            held = values[error.schema.name] if values.ndim > 1 else values
            return f"holds {_arrow(held.dtype)} instead of {_arrow(error.schema.dtype.type)}"
        case "CHECK_ERROR":
            return f"cannot be asked whether a value {error.check.error or error.check.name} ({_raised(error)})"
        case _:
            return None if error.check_output is not None else f"does not keep to {error.reason_code.name}"


@lru_cache(_KNOWN_COLUMNS)
def _schema(column: Column) -> "SeriesSchema":
    import pandas as pd
    import pandera.pandas as pa_pandas

    return pa_pandas.SeriesSchema(
        pd.ArrowDtype(TYPES[column.type]), checks(column, distinct=True), nullable=column.nullable, name=column.name
    )


def _check(column: Column, rule: CellRule, *, distinct: bool) -> "Check":
    from pandera.pandas import Check

    # One failure case is enough: pandera writes each into a message, and we take the mask.
    words: dict[str, Any] = {"title": rule.label, "error": rule.phrase, "n_failure_cases": 1, "ignore_na": True}
    match rule.kind:
        case "minimum":
            return Check.ge(native(column, column.minimum), **words)
        case "maximum":
            return Check.le(native(column, column.maximum), **words)
        case "values":
            allowed = allowed_values(column)
            if column.type == "float64" and 0 in allowed:
                # Arrow tells the two zeros apart, which are one number; adding 0 makes them one.
                positive = [value + 0.0 for value in allowed]
                return Check(lambda series: (series + 0.0).isin(positive), name="isin", **words)
            return Check.isin(allowed, **words)
        case _:
            assert column.pattern is not None
            matching = _matching(column.pattern, distinct=distinct)
            return Check(matching, name="pattern", statistics={"pattern": column.pattern}, **words)


def _matching(pattern: str, *, distinct: bool) -> Any:
    """A function of a Series: which texts match as a whole, in Python's sense; Arrow knows another dialect."""
    matches = re.compile(pattern).fullmatch

    def matching(series: "pd.Series") -> "pd.Series":
        import pandas as pd

        texts = one_chunk(pa.array(series, from_pandas=True))
        once, places = (texts, None) if distinct else encode(texts)
        found = np.fromiter((matches(text) is not None for text in once.to_pylist()), dtype=bool, count=len(once))
        return pd.Series(found if places is None else found[places], index=series.index, dtype=bool)

    return matching


def _unread(column: Column, file_format: FileFormat, distinct: pa.Array, found: Read) -> Iterator[Finding]:
    """What is said of values that are not of the declared type, or not surely."""
    unreadable = found.unreadable.copy()
    for doubt in found.doubts:
        shown = doubt.hints and "sensitive" not in column.roles
        hints = pa.array(doubt.hints, pa.string()) if shown else None
        yield Finding(f"{column.name}: {doubt.phrase}", doubt.phrase, doubt.broken, hints)
        unreadable &= ~doubt.broken
    if not unreadable.any():
        return
    phrase, long = _WORDS[column.type], np.zeros(len(unreadable), dtype=bool)
    if column.format and column.type != "string":
        phrase = f"is not written as {column.format}"
    elif pa.types.is_integer(distinct.type):
        phrase = "cannot be kept exactly"
    elif column.type in _LONG and pa.types.is_string(distinct.type):
        looks, lost = _LONG[column.type]
        matched = pc.fill_null(pc.match_substring_regex(distinct, looks), False)
        long = unreadable & matched.to_numpy(zero_copy_only=False).astype(bool)
        if long.any():
            yield Finding(f"{column.name}: {lost}", lost, long)
    rest = unreadable & ~long
    if rest.any():
        yield Finding(f"{column.name}: {phrase}", phrase, rest, hints_of(column, file_format, distinct, rest))


def _broken(where: str, column: Column, values: pa.Array, unreadable: Truths) -> Iterator[Finding]:
    """Each rule that some value breaks; an unreadable value breaks none."""
    if not len(values):
        return
    places = None
    if unreadable.any():
        places = np.flatnonzero(~unreadable)
        values = values.take(pa.array(places))
    series = as_series(values, column.name, places)
    errors = examined(_schema(column), series)
    problems = [problem for error in errors if (problem := unruly(error, series))]
    if problems:
        raise RefusedError(*(f"{where}: the column {column.name!r} {problem}." for problem in problems))
    for error in errors:
        broken = np.zeros(len(unreadable), dtype=bool)
        if error.check_output is None:
            broken[error.failure_cases["index"].to_numpy()] = True
            yield Finding(f"{column.name}: {NO_VALUE}", NO_VALUE, broken)
        else:
            kept = error.check_output.to_numpy(dtype=bool)
            broken[error.check_output.index.to_numpy()[~kept]] = True
            yield Finding(error.check.title, error.check.error, broken)


def _arrow(kind: Any) -> str:
    return str(getattr(kind, "pyarrow_dtype", kind))


def _raised(error: "SchemaError") -> str:
    """The name of what a check raised: its words may hold a value."""
    return str(error.args[0]).split("(", 1)[0]
