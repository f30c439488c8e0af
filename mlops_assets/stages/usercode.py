"""The dataset's own ``features.py``: loading it and calling one of its functions.

What belongs here: the bridge to pandas and what a function may hand back. What does not: which features there are
(``features``), reading the file without running it (``contract.functions``).

A function gets pandas Series backed by numpy: numbers as int64, or float64 with NaN where values are missing; texts as
``str`` objects with None; dates and timestamps as ``datetime64``. They are copies: what it does to them stays with it.
"""

import hashlib
import importlib.machinery
import importlib.util
import inspect
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.model import Contract, Feature
from mlops_assets.errors import ContractError
from mlops_assets.stages.rows import one_chunk

FILE = "features.py"


class Functions:
    """The functions of one dataset over one table; features computed before are columns like the others."""

    def __init__(self, contract: Contract, cleaned: pa.Table) -> None:
        self._contract = contract
        self._table = cleaned
        self._file = contract.folder / FILE
        self._module = _load(self._file, self._file.read_bytes()) if self._file.is_file() else None
        self._series: dict[str, Any] = {}
        self._before: dict[str, pa.Array] = {}

    def compute(self, feature: Feature) -> pa.Array:
        """The feature's values, one for each row: whatever type the function returns, nulls for NaN, NaT and None.

        Raises:
            ContractError: the function is not there, or does not return one value for each row.
        """
        function = self._function(feature)
        asked = inspect.signature(function).parameters
        result = function(**{name: self._values(feature, function, name) for name in asked})
        return self._array(feature, function, result)

    def keep(self, feature: Feature, values: pa.Array) -> None:
        """Let later functions ask for this feature."""
        self._before[feature.name] = values

    def _function(self, feature: Feature) -> Callable[..., Any]:
        found = getattr(self._module, feature.name, None)
        if not callable(found):
            raise ContractError(
                f"{self._contract.file}:{feature.line}: the feature {feature.name!r} should be a function of that name "
                f"in {self._file}, and there is none."
            )
        return found  # type: ignore[no-any-return]

    def _values(self, feature: Feature, function: Callable[..., Any], name: str) -> Any:
        if name not in self._series:
            if name in self._before:
                column = self._before[name]
            elif name in self._table.column_names:
                column = one_chunk(self._table[name])
            else:
                raise ContractError(
                    f"{_place(self._file, function)}: {feature.name!r} takes {name!r}, which is no column of cleaned "
                    f"and no feature before it."
                )
            self._series[name] = _series(column, name)
        return self._series[name].copy()

    def _array(self, feature: Feature, function: Callable[..., Any], result: Any) -> pa.Array:
        import pandas as pd

        rows, where = self._table.num_rows, _place(self._file, function)
        if not isinstance(result, pd.Series):
            raise ContractError(
                f"{where}: {feature.name!r} returned {type(result).__name__}; it should return a pandas Series with "
                f"one value for each row."
            )
        if len(result) != rows or not result.index.equals(pd.RangeIndex(rows)):
            what = f"{len(result):,} values for {rows:,} rows" if len(result) != rows else "its values in another order"
            raise ContractError(f"{where}: {feature.name!r} returned {what}; it should keep every row where it is.")
        try:
            return one_chunk(pa.array(result, from_pandas=True))
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            first = str(error).splitlines()[0]
            raise ContractError(f"{where}: {feature.name!r} returned values of several types: {first}") from None


def _series(column: pa.Array, name: str) -> Any:
    series = column.to_pandas(date_as_object=False)
    if pa.types.is_boolean(column.type) and column.null_count:
        series = series.astype(object)
    return series.rename(name)


def _place(file: Path, function: Callable[..., Any]) -> str:
    return f"{file}:{function.__code__.co_firstlineno if inspect.isfunction(function) else 1}"


class _Loader(importlib.machinery.SourceFileLoader):
    """Runs the very bytes given: a cached ``.pyc`` may be older than an edit within the same second."""

    def __init__(self, name: str, path: Path, source: bytes) -> None:
        super().__init__(name, str(path))
        self._source = source

    def get_code(self, fullname: str) -> CodeType | None:
        return self.source_to_code(self._source, self.get_filename(fullname))


@cache
def _load(file: Path, source: bytes) -> ModuleType:
    """The file as a module of a name of its own, so that two datasets' files never meet."""
    name = f"_features_{hashlib.blake2b(str(file).encode() + source, digest_size=8).hexdigest()}"
    loader = _Loader(name, file, source)
    module = importlib.util.module_from_spec(importlib.machinery.ModuleSpec(name, loader, origin=str(file)))
    module.__file__ = str(file)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def plain_texts(values: pa.Array) -> pa.Array | None:
    """Values as the texts of categories, null where missing; None when their type has no one way to be written."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        return plain_texts(values.dictionary_decode())
    if pa.types.is_floating(kind):
        # pandas makes decimals of whole numbers where some are missing; other decimals are no categories.
        whole = pc.all(pc.equal(values, pc.round(values))).as_py() in (True, None)
        fits = pc.all(pc.less_equal(pc.abs(values), float(2**53))).as_py() in (True, None)
        return values.cast(pa.int64()).cast(pa.string()) if whole and fits else None
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
        return values.cast(pa.string())
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return values.cast(pa.string())
    return None


def plain_numbers(values: pa.Array) -> pa.Array | None:
    """Values as float64, null where missing; None when they are no numbers."""
    kind = values.type
    if pa.types.is_boolean(kind):
        return values.cast(pa.int8()).cast(pa.float64())
    if pa.types.is_null(kind):
        return values.cast(pa.float64())
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        numbers = values.cast(pa.float64(), safe=False)
        return pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
    return None


__all__ = ["FILE", "Functions", "plain_numbers", "plain_texts"]
