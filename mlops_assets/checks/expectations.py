"""Great Expectations on delivered rows: one verdict for each thing that analysts expect of a source.

What belongs here: what the suite is shown, running it, and its results as verdicts. What does not: reading a suite
(``contract.expectations``), the page that shows the verdicts (``report.expectations``).

The library takes seconds to import: it is imported by the first audit that has a suite, and by nothing else. What it is
shown are all delivered rows, in numpy's types: pairs of Arrow's are not compared where a value is missing. A value that
is missing or cannot be read as the contract says is missing there; dates are shown as times.

A verdict's sentence and details hold counts, aggregates and what the analyst wrote; values of rows stand in its
examples, and of a source with a sensitive column not even there.
"""

import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.checks.verdict import Verdict
from mlops_assets.contract.expectation_types import TYPES, ExpectationType
from mlops_assets.contract.model import Contract, Expectation, Source
from mlops_assets.contract.rules import NO_VALUE
from mlops_assets.stages.cells import typed
from mlops_assets.stages.delivery import FILE, LINE, place_word, shown
from mlops_assets.stages.made import Made
from mlops_assets.stages.rows import encode

if TYPE_CHECKING:
    import pandas as pd

_EXAMPLES = 20
_LONGEST = 300
_EXACT = 2**53
_FORMAT = {"result_format": "SUMMARY", "partial_unexpected_count": _EXAMPLES}
_NOUN = re.compile(r"expect_(?:column|table)_(.*)_to_")


@dataclass(frozen=True, slots=True)
class _Found:
    """What came of one expectation. ``wrong`` is said when its kwargs were refused, ``raised`` when judging failed."""

    passed: bool = False
    result: Mapping[str, Any] = field(default_factory=dict)
    wrong: str = ""
    raised: tuple[str, ...] = ()


def audit(contract: Contract, name: str, made: Made) -> list[Verdict]:
    """One verdict for each expectation of the source ``name``, in the order of the suite; ``made`` is its raw table.

    An expectation that cannot be judged has failed, and its verdict says so.
    """
    source, suite = contract.sources[name], contract.expectations_of(name)
    found = _judge(frame(source, suite, made.value), source, suite)
    return [_Telling(source, each, made.value).verdict(outcome) for each, outcome in zip(suite, found, strict=True)]


def frame(source: Source, suite: Sequence[Expectation], raw: pa.Table) -> "pd.DataFrame":
    """The columns that a suite looks at, as it sees them; its index is the place of the row in ``raw``."""
    import pandas as pd

    named = {name for each in suite for name in each.columns}
    # a condition is a text in which any column may stand
    free = any("row_condition" in each.kwargs for each in suite)
    wanted = [name for name in source.columns if name in raw.column_names and (free or name in named)]
    columns = {name: _numpy(source, name, raw[name]) for name in wanted}
    return pd.DataFrame(columns, index=pd.RangeIndex(raw.num_rows))


def _numpy(source: Source, name: str, delivered: pa.ChunkedArray) -> Any:
    distinct, places = encode(delivered)
    values, _ = typed(source.columns[name], source.format, distinct)
    if pa.types.is_date(values.type):
        values = values.cast(pa.timestamp("us"))
    if pa.types.is_integer(values.type) and values.null_count and len(values) > values.null_count:
        ends = pc.min_max(values)
        if max(abs(ends["min"].as_py()), abs(ends["max"].as_py())) > _EXACT:
            # beside a missing value numpy would round them
            whole = [math.nan if value is None else value for value in values.to_pylist()]
            return np.array(whole, dtype=object)[places]
    return values.to_pandas().to_numpy()[places]


# ---- the library


def _judge(table: "pd.DataFrame", source: Source, suite: Sequence[Expectation]) -> list[_Found]:
    """What the library says of each expectation, in the order of the suite."""
    found: dict[int, _Found] = {}
    asked: dict[int, Any] = {}
    # What is deprecated of that which the library itself uses concerns nobody here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations as gx
        from great_expectations.compatibility import pydantic
        from great_expectations.data_context.types.base import ProgressBarsConfig
        from great_expectations.exceptions.exceptions import GreatExpectationsError
        from great_expectations.expectations.metadata_types import FailureSeverity
        from great_expectations.expectations.registry import get_expectation_impl

        for place, each in enumerate(suite):
            try:
                asked[place] = get_expectation_impl(each.type)(
                    **_native(source, each), severity=FailureSeverity(each.severity), meta={"place": place}
                )
            except pydantic.ValidationError as error:
                found[place] = _Found(wrong=_refused(error.errors()))
            except (GreatExpectationsError, TypeError, ValueError) as error:
                found[place] = _Found(wrong=str(error))
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        asset = context.data_sources.add_pandas("delivered").add_dataframe_asset("rows")
        batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": table})

        def validated(places: Sequence[int]) -> list[Any]:
            chosen = gx.ExpectationSuite(name="suite", expectations=[asked[place] for place in places])
            return list(batch.validate(chosen, result_format=dict(_FORMAT)).results)

        results: list[Any] = []
        try:
            results = validated(list(asked))
        except Exception:  # noqa: BLE001 - the library raises what it likes, and takes the others down with it
            for place in asked:
                try:
                    results += validated([place])
                except Exception as error:  # noqa: BLE001 - it becomes the verdict of the one that raised
                    found[place] = _Found(raised=(f"{type(error).__name__}: {error}",))
    # They come in another order than they were asked.
    found |= {_place(result): _outcome(result) for result in results}
    return [found[place] for place in range(len(suite))]


def _place(result: Any) -> int:
    """Which expectation of the suite a result is of."""
    return int(result.expectation_config.meta["place"])


def _native(source: Source, each: Expectation) -> dict[str, Any]:
    """The kwargs with moments as the library compares them: as ISO text with a time of day, in sets as datetimes."""
    kwargs = {name: value for name, value in each.kwargs.items() if value is not None}
    kind = TYPES[each.type]
    times = kind.domain == "column" and source.columns[each.columns[0]].type in ("date", "timestamp")
    if times and "timestamp" in kind.of:
        for name in ("min_value", "max_value"):
            if name in kwargs:
                kwargs[name] = datetime.fromisoformat(kwargs[name]).isoformat()
    if times and "value_set" in kwargs:
        kwargs["value_set"] = [datetime.fromisoformat(value) for value in kwargs["value_set"]]
    return kwargs


def _refused(errors: Sequence[Mapping[str, Any]]) -> str:
    """What is wrong with kwargs, without what is said of the suite parameters that they might have been."""
    said = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in errors if "valid dict" not in one["msg"]]
    return "; ".join(dict.fromkeys(said)) or "its kwargs were refused"


def _outcome(result: Any) -> _Found:
    """A result. What was raised stands in a dict, or in one dict for each metric that could not be computed."""
    info = result.exception_info or {}
    each = [info] if "raised_exception" in info else list(info.values())
    raised = dict.fromkeys(str(one["exception_message"]) for one in each if one["raised_exception"])
    return _Found(bool(result.success) and not raised, result.result or {}, raised=tuple(raised))


# ---- verdicts


@dataclass(frozen=True, slots=True)
class _Telling:
    """An expectation's outcome in words."""

    source: Source
    each: Expectation
    raw: pa.Table

    @property
    def kind(self) -> ExpectationType:
        return TYPES[self.each.type]

    @property
    def hidden(self) -> bool:
        """Whether no value of a row may be shown."""
        return any("sensitive" in column.roles for column in self.source.columns.values())

    @property
    def veiled(self) -> bool:
        """Whether what was observed or expected of its own columns may not be said."""
        return any("sensitive" in self.source.columns[name].roles for name in self.each.columns)

    @property
    def name(self) -> str:
        return ", ".join(self.each.columns)

    def verdict(self, found: _Found) -> Verdict:
        if found.wrong or found.raised:
            return self._unjudged(found)
        return self._of_rows(found) if self.kind.rows else self._of_whole(found)

    def _verdict(self, *, passed: bool, sentence: str, n: int, failed: int, **more: Any) -> Verdict:
        details = {"expectation": self.each.type, "severity": self.each.severity, **more.pop("details", {})}
        if not self.veiled:
            details["kwargs"] = dict(self.each.kwargs)
        blocks = self.each.severity == "critical"
        severity: Any = "block" if blocks else "warn"
        return Verdict(self.each.name, passed, severity, sentence, n=n, failed=failed, details=details, **more)

    def _unjudged(self, found: _Found) -> Verdict:
        if found.wrong:
            sentence = f"Great Expectations does not take its kwargs: {found.wrong}. Mend it in expectations.json."
            return self._verdict(passed=False, sentence=sentence, n=1, failed=1)
        sentence = "Great Expectations could not judge it"
        if self.hidden:
            sentence += "; what it said may hold a value of a source that has a sensitive column."
            return self._verdict(passed=False, sentence=sentence, n=1, failed=1)
        examples = tuple(" ".join(raised.split())[:_LONGEST] for raised in found.raised[:_EXAMPLES])
        return self._verdict(
            passed=False, sentence=f"{sentence}; the examples say why.", n=1, failed=1, examples=examples
        )

    def _of_rows(self, found: _Found) -> Verdict:
        result = found.result
        n = int(result["element_count"]) - int(result.get("missing_count") or 0)
        failed = int(result["unexpected_count"])
        mostly = float(self.each.kwargs.get("mostly") or 1)
        allowed = round(1 - mostly, 9)
        what = "value" if self.kind.domain == "column" else "row"
        of = f" of {self.name}"
        if not failed:
            sentence = f"All {n:,} {what}s{of} are as expected." if n else f"There is no {what}{of} to look at."
        else:
            sentence = f"{failed:,} of {n:,} {what}s{of} ({failed / n:.2%}) {'is' if failed == 1 else 'are'} not as "
            sentence += f"expected; {f'up to {allowed:.2%} may be' if allowed else 'none may be'} otherwise."
        places = [int(place) for place in result.get("partial_unexpected_index_list") or ()][:_EXAMPLES]
        return self._verdict(
            passed=found.passed,
            sentence=sentence,
            n=n,
            failed=failed,
            threshold=allowed,
            examples=tuple(self._rows(places)) if failed else (),
        )

    def _rows(self, places: Sequence[int]) -> Iterator[str]:
        """Rows by file and line, with what was delivered in the columns that were looked at."""
        found = self.raw.select([FILE, LINE, *self.each.columns]).take(pa.array(places, pa.int64()))
        for row in found.to_pylist():
            where = f"{row[FILE]} {place_word(self.source)} {row[LINE]}"
            if self.hidden:
                yield f"{where}: {self.name}."
            else:
                told = (NO_VALUE if row[name] is None else shown(row[name]) for name in self.each.columns)
                listed = ", ".join(" ".join(pair) for pair in zip(self.each.columns, told, strict=True))
                yield f"{where}: {listed}."

    def _of_whole(self, found: _Found) -> Verdict:
        noun = _NOUN.match(self.each.type)
        assert noun is not None
        observed = _plain(found.result.get("observed_value"))
        told = not self.kind.shows and not self.veiled and isinstance(observed, int | float)
        state = _number(observed) if told else "as expected" if found.passed else "not as expected"
        bounds = self._bounds()
        verb = "are" if noun[1].endswith("values") else "is"
        sentence = f"The {noun[1].replace('_', ' ')}{f' of {self.name}' if self.name else ''} {verb} {state}"
        return self._verdict(
            passed=found.passed,
            sentence=f"{sentence}; {bounds} is expected." if bounds else f"{sentence}.",
            n=1,
            failed=int(not found.passed),
            examples=() if self.hidden else tuple(self._values(found.result, observed)),
            details={"observed": observed} if told else {},
        )

    def _bounds(self) -> str:
        kwargs = self.each.kwargs
        if self.veiled or not self.kind.bounded:
            return ""
        low, high = kwargs.get("min_value"), kwargs.get("max_value")
        said = [f"{'above' if kwargs.get('strict_min') else 'at least'} {_number(low)}"] if low is not None else []
        said += [f"{'below' if kwargs.get('strict_max') else 'at most'} {_number(high)}"] if high is not None else []
        return " and ".join(said)

    def _values(self, result: Mapping[str, Any], observed: Any) -> Iterator[str]:
        """What was observed, where it is values of rows."""
        for key, words in (("partial_unexpected_list", "Not expected"), ("partial_missing_list", "Missing")):
            listed = [_said(_plain(value)) for value in result.get(key) or ()]
            if listed:
                yield f"{words}: {', '.join(listed[:_EXAMPLES])}."
        if self.kind.shows and observed is not None:
            yield f"Observed: {_said(observed)}."


def _said(value: Any) -> str:
    """A value as examples show it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_said(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_said, value[:_EXAMPLES])) + (" ..." if len(value) > _EXAMPLES else "")
    return shown(value) if isinstance(value, str) else str(value)


def _number(value: Any) -> str:
    return f"{value:,.6g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _plain(value: Any) -> Any:
    """Numpy's, pandas' and Python's values as JSON knows them; what is no number is None."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, date):
        return None if value != value else value.isoformat()  # noqa: PLR0124 - pandas' NaT is no date
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)
