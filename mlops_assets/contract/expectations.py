"""The file ``expectations.json`` of a dataset: what analysts expect of a supplier's data.

What belongs here: reading it, and every mistake that can be told without looking at data. What does not: judging rows
(``checks.expectations``), which types there are (``expectation_types``). Great Expectations is not imported.

The file holds expectations as Great Expectations itself writes them, in a list, in lists by source, or as a whole suite
(``{"name": .., "expectations": [..]}``)::

    [
      {
        "type": "expect_column_values_to_be_in_set",
        "kwargs": {"column": "carrier", "value_set": ["AA", "B6", "DL"], "mostly": 0.99},
        "severity": "warning",
        "meta": {"name": "known_carriers", "description": "A new airline is news to us.", "source": "flights"}
      }
    ]

``critical`` keeps a batch from being published, ``warning`` and ``info`` warn. ``meta`` may be left out: ``source`` is
then the spine, ``name`` follows from type and column. Whatever else stands in it is the analyst's own.

What an expectation sees is what was delivered: all rows, also those that the contract quarantines, with the contract's
columns in the contract's types; a value that is missing, or cannot be read as its type, is missing there. Dates and
times are written as ISO text, and in ``row_condition`` (a pandas query) everything is called as its column is.
"""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from mlops_assets.contract import yamlnodes as y
from mlops_assets.contract.expectation_types import TYPES, UNFIT, ExpectationType
from mlops_assets.contract.jsonnodes import read_json, value_of
from mlops_assets.contract.model import Column, Expectation, Source

FILE = "expectations.json"
SEVERITIES = ("critical", "warning", "info")
RESERVED = frozenset(
    {"readable", "complete", "final_newline", "verified", "columns", "in_batch", "volume", "up_to_date"}
)
"""Names of checks that a raw source has anyway."""

_NAME = re.compile(r"[A-Za-z0-9_]+")
_META = ("name", "description", "source")
_IGNORED = ("id", "notes", "rendered_content", "success_on_last_run", "expectation_context")
_SUITE = {"name", "expectations", "id", "meta", "notes", "suite_parameters"}
_DOMAIN = re.compile("column_pair|compound_columns|multicolumn|select_column|column|table")
_MISSING = {
    "pair": ("both_values_are_missing", "either_value_is_missing", "neither"),
    "list": ("all_values_are_missing", "any_value_is_missing", "never"),
}
_SHOWN = 60
_TWO = 2


def read_expectations(
    folder: Path, sources: Mapping[str, Source], spine: str, mistakes: y.Mistakes
) -> tuple[Expectation, ...]:
    """What the folder's file says, nothing when there is none; every mistake is told at its line."""
    file = folder / FILE
    if not file.exists():
        return ()
    root = read_json(file, mistakes)
    if root is None:
        return ()
    reader = _Reader(file, sources, mistakes)
    return tuple(reader.read(root, spine))


class _Reader:
    """Expectations from nodes; names are told apart by source."""

    def __init__(self, file: Path, sources: Mapping[str, Source], mistakes: y.Mistakes) -> None:
        self._file, self._sources, self._mistakes = file, sources, mistakes
        self._named: dict[tuple[str, str], int] = {}

    def read(self, root: yaml.Node, spine: str) -> Iterator[Expectation]:
        if isinstance(root, yaml.SequenceNode):
            yield from self._list(root, spine, given=False)
        elif isinstance(root, yaml.MappingNode):
            keys = {key.value: value for key, value in root.value}
            if "expectations" in keys and not keys.keys() - _SUITE and "expectations" not in self._sources:
                yield from self._list(keys["expectations"], spine, given=False)
                return
            for key, value in root.value:
                if key.value not in self._sources:
                    self._wrong(key, f"There is no source {key.value!r}{y.suggest(key.value, self._sources)}")
                else:
                    yield from self._list(value, key.value, given=True)
        else:
            self._wrong(root, "The file should hold a list of expectations, or such lists by source.")

    def _list(self, node: yaml.Node, source: str, *, given: bool) -> Iterator[Expectation]:
        """The expectations of a list. ``given``: the source was named, so that none of them may be of another."""
        if not isinstance(node, yaml.SequenceNode):
            self._wrong(node, 'Expectations should be a list: [{"type": .., "kwargs": .., "severity": ..}, ..].')
            return
        for number, item in enumerate(node.value, 1):
            if not isinstance(item, yaml.MappingNode):
                self._wrong(item, f'Expectation {number} should be an object: {{"type": .., "kwargs": .., ..}}.')
                continue
            section = y.Section(item, f"expectation {number}", self._file, self._mistakes)
            found = self._expectation(section, source, given=given)
            if found is not None:
                yield found

    def _expectation(self, section: y.Section, source: str, *, given: bool) -> Expectation | None:
        kind = section.need("type", y.text, "", 'write one of Great Expectations\' own, like "expect_..".')
        severity = section.choose("severity", SEVERITIES, "warning", "write critical (it blocks), warning or info.")
        described = section.get("description", y.text, "")
        meta = section.section("meta", f"{section.what}, meta")
        node = section.node("kwargs")
        for word in _IGNORED:
            section.node(word)
        section.finish()
        said = self._meta(meta) if meta else {}
        named = said.get("source", source)
        if given and named != source and meta is not None:
            meta.wrong(f"'source' is {named!r}, and the list is of {source!r}.", "source")
        elif named not in self._sources and meta is not None and "source" in said:
            meta.wrong(f"there is no source {named!r}{y.suggest(named, self._sources)}", "source")
        known = self._kind(section, kind)
        if known is None or named not in self._sources:
            return None
        if node is not None and not isinstance(node, yaml.MappingNode):
            section.wrong("'kwargs' should be an object.", "kwargs")
            return None
        columns, kwargs = self._kwargs(section, node, known, self._sources[named])
        name = said.get("name") or name_of(kind, columns)
        self._check_name(section, named, name)
        text = said.get("description") or described or in_words(kind, columns, kwargs)
        return Expectation(name, named, kind, columns, kwargs, severity, text, section.line)

    def _kind(self, section: y.Section, kind: str) -> ExpectationType | None:
        if kind in UNFIT:
            section.wrong(f"{kind!r} {UNFIT[kind]}.", "type")
        elif kind and kind not in TYPES:
            section.wrong(f"there is no type {kind!r}{y.suggest(kind, TYPES)}", "type")
        return TYPES.get(kind)

    def _meta(self, meta: y.Section) -> dict[str, str]:
        found = {name: value for name in _META if (value := meta.get(name, y.text, ""))}
        for word in meta.names():
            near = difflib.get_close_matches(word, _META, n=1, cutoff=0.75)
            if word not in _META and near and near[0] not in meta:
                meta.wrong(f"unknown key {word!r}; did you mean {near[0]!r}?", word)
        return found

    def _check_name(self, section: y.Section, source: str, name: str) -> None:
        if not _NAME.fullmatch(name):
            section.wrong(f"the name {name!r} should be letters, digits and _ only; give another in 'meta'.", "meta")
        elif name in RESERVED:
            section.wrong(f"{name!r} is a check that every raw source has; give another name in 'meta'.", "meta")
        elif (source, name) in self._named:
            first = self._named[source, name]
            section.wrong(
                f"{name!r} is also what the expectation on line {first} is called; give one of them a name in 'meta'."
            )
        else:
            self._named[source, name] = section.line

    def _kwargs(
        self, section: y.Section, node: yaml.MappingNode | None, kind: ExpectationType, source: Source
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        """The columns and the values of an expectation; what is wrong with them is told."""
        empty = yaml.MappingNode("tag:yaml.org,2002:map", [])
        part = y.Section(node, f"{section.what}, kwargs", self._file, self._mistakes) if node else None
        for name in (*kind.columns, *kind.needs):
            if part is None or name not in part:
                section.wrong(f"'kwargs' lacks {name!r}.", "kwargs")
        if part is None:
            return (), {}
        for name in part.names():
            if name not in kind.kwargs:
                part.wrong(f"unknown key {name!r}{y.suggest(name, kind.kwargs)}", name)
        kwargs = {key.value: value_of(value) for key, value in (node or empty).value}
        columns = tuple(_columns(part, kind, source))
        checker = _Checker(part, kind, kwargs, [source.columns[name] for name in columns])
        checker.check()
        return columns, kwargs

    def _wrong(self, node: yaml.Node, sentence: str) -> None:
        self._mistakes.add(self._file, y.line_of(node), sentence)


def _columns(part: y.Section, kind: ExpectationType, source: Source) -> Iterator[str]:
    """The columns that are named and there; the others, and those of a type that cannot be asked so, are told."""
    for key in kind.columns:
        if key not in part:
            continue
        names = part.get(key, y.list_of(y.text) if kind.domain == "list" else y.text, ())
        listed = (names,) if isinstance(names, str) else names
        if kind.domain == "list" and len(set(listed)) < _TWO:
            part.wrong(f"{key!r} should be a list of at least two columns.", key)
        for name in listed:
            column = source.columns.get(name)
            if column is None:
                part.wrong(f"{source.name!r} has no column {name!r}{y.suggest(name, source.columns)}", key)
            elif kind.of and column.type not in kind.of and column.type in _READ:
                part.wrong(f"{name!r} is a {column.type}; this is asked of {' or '.join(kind.of)}.", key)
            else:
                yield name


class _Checker:
    """The values of an expectation's kwargs against what its type and its columns allow."""

    def __init__(
        self, part: y.Section, kind: ExpectationType, kwargs: Mapping[str, Any], columns: Sequence[Column]
    ) -> None:
        self._part, self._kind, self._kwargs = part, kind, kwargs
        self._column = columns[0] if kind.domain == "column" and columns else None

    def check(self) -> None:
        """Tell everything that is wrong."""
        for name, value in self._kwargs.items():
            if "$PARAMETER" in str(value):
                self._wrong(name, "names a suite parameter; write the value itself.")
            elif name in self._kind.kwargs and name not in self._kind.columns:
                said = self._problem(name, value)
                if said:
                    self._wrong(name, said)
        if self._kind.bounded:
            self._check_bounds()

    def _problem(self, name: str, value: Any) -> str | None:
        own: Mapping[str, Callable[[Any], str | None]] = {
            "min_value": self._bound_problem,
            "max_value": self._bound_problem,
            "value_set": self._set_problem,
            "ignore_row_if": lambda said: _choice_problem(said, _MISSING[self._kind.domain]),
        }
        problem = own.get(name) or _PROBLEMS.get(name)
        return problem(value) if problem else None

    def _bound_problem(self, value: Any) -> str | None:
        if value is None:
            return None
        if self._column is not None and "date" in self._kind.of and self._column.type in ("date", "timestamp"):
            return _moment_problem(value)
        return None if _is_number(value) else "should be a number."

    def _set_problem(self, value: Any) -> str | None:
        if not _is_list(value):
            return _LIST
        fits = _READ.get(self._column.type) if self._column is not None else None
        wrong = [item for item in value if fits is not None and fits(item) is not None]
        if wrong and self._column is not None:
            return f"holds {wrong[0]!r}, which no {self._column.type} can be."
        return None

    def _check_bounds(self) -> None:
        low, high = self._kwargs.get("min_value"), self._kwargs.get("max_value")
        if low is None and high is None:
            self._part.wrong("'min_value' or 'max_value' is missing; nothing is expected without.")
        alike = (_is_number(low) and _is_number(high)) or (isinstance(low, str) and isinstance(high, str))
        if alike and low > high:  # type: ignore[operator]
            self._part.wrong(f"'min_value' {low!r} is above 'max_value' {high!r}; nothing is as expected.")

    def _wrong(self, name: str, sentence: str) -> None:
        self._part.wrong(f"{name!r} {sentence}", name)


_LIST = "should be a list with something in it."


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value)


def _number_problem(value: Any) -> str | None:
    return None if _is_number(value) else "should be a number."


def _text_problem(value: Any) -> str | None:
    return None if isinstance(value, str) else "should be a text."


def _flag_problem(value: Any) -> str | None:
    return None if isinstance(value, bool) else "should be true or false."


def _moment_problem(value: Any) -> str | None:
    try:
        fine = isinstance(value, str) and datetime.fromisoformat(value).tzinfo is None
    except ValueError:
        fine = False
    return None if fine else 'should be a date or time as ISO text without a zone, like "2013-03-09".'


_READ: Mapping[str, Callable[[Any], str | None]] = {
    "string": _text_problem,
    "int64": _number_problem,
    "float64": _number_problem,
    "boolean": _flag_problem,
    "date": _moment_problem,
    "timestamp": _moment_problem,
}
"""What is wrong with a value of a column of each type; a column whose own type is a mistake is of none of them."""


def _pattern_problem(value: Any) -> str | None:
    if not isinstance(value, str):
        return "should be a text."
    try:
        re.compile(value)
    except re.error as error:
        return f"is no regular expression: {error}."
    return None


def _patterns_problem(value: Any) -> str | None:
    return next(filter(None, map(_pattern_problem, value)), None) if _is_list(value) else _LIST


def _share_problem(value: Any) -> str | None:
    return None if _is_number(value) and 0 < value <= 1 else "should be a share above 0 and at most 1."


def _condition_problem(value: Any) -> str | None:
    return None if isinstance(value, str | dict) else "should be a pandas query, as a text."


def _object_problem(value: Any) -> str | None:
    return None if isinstance(value, dict) else "should be an object."


def _choice_problem(value: Any, options: Sequence[str]) -> str | None:
    return None if value in options else f"should be one of {y.listed(options)}."


def _quantile_problem(value: Any) -> str | None:
    said: Mapping[str, Any] = value if isinstance(value, dict) else {}
    quantiles, ranges = said.get("quantiles", ()), said.get("value_ranges", ())
    if not _is_list(quantiles) or not _is_list(ranges) or len(quantiles) != len(ranges):
        return 'should be {"quantiles": [..], "value_ranges": [[low, high], ..]} with as many of each.'
    if any(not _is_number(each) or not 0 <= each <= 1 for each in quantiles):
        return "has a quantile that is not between 0 and 1."
    if any(not isinstance(each, list) or len(each) != _TWO for each in ranges):
        return "has a range that is not [low, high]; null leaves an end open."
    return None


def _partition_problem(value: Any) -> str | None:
    said: Mapping[str, Any] = value if isinstance(value, dict) else {}
    weights, values = said.get("weights", ()), said.get("values") or said.get("bins") or ()
    if not _is_list(weights) or not _is_list(values):
        return 'should be {"values": [..], "weights": [..]}, or "bins" instead of values.'
    if len(values) - len(weights) != ("bins" in said):
        return "should have a weight for each value, or for each of the spaces between bins."
    return None


_PROBLEMS: Mapping[str, Callable[[Any], str | None]] = {
    **dict.fromkeys(
        ("strict_min", "strict_max", "strictly", "or_equal", "double_sided", "ties_okay", "bucketize_data"),
        _flag_problem,
    ),
    **dict.fromkeys(("value", "sum_total", "threshold", "multiplier"), _number_problem),
    "mostly": _share_problem,
    "regex": _pattern_problem,
    "regex_list": _patterns_problem,
    "strftime_format": _text_problem,
    "json_schema": _object_problem,
    "quantile_ranges": _quantile_problem,
    "partition_object": _partition_problem,
    "row_condition": _condition_problem,
    "condition_parser": lambda value: _choice_problem(value, ("pandas",)),
    "match_on": lambda value: _choice_problem(value, ("any", "all")),
    "method": lambda value: _choice_problem(value, ("iqr", "std")),
}
"""What is wrong with a kwarg, whatever the type of expectation and its column."""


def name_of(kind: str, columns: Sequence[str]) -> str:
    """What the check of an expectation is called: its type, with the columns' names in place of the word."""
    if not columns:
        return kind
    return re.sub(r"[^A-Za-z0-9_]", "_", _DOMAIN.sub(lambda _: "_".join(columns), kind, count=1))


def in_words(kind: str, columns: Sequence[str], kwargs: Mapping[str, Any]) -> str:
    """An expectation as a person reads it, for those that come without a description."""
    words = _DOMAIN.sub("", kind.removeprefix("expect_"), count=1).strip("_").replace("_", " ")
    silent = ("column", "column_A", "column_B", "column_list", "condition_parser", "mostly")
    said = [
        f"{name.replace('_', ' ')}: {text if len(text) <= _SHOWN else text[:_SHOWN] + '...'}"
        for name, value in kwargs.items()
        if name not in silent and value is not None
        for text in [", ".join(map(str, value)) if isinstance(value, list) else str(value)]
    ]
    if _is_number(kwargs.get("mostly")):
        said.append(f"in at least {kwargs['mostly']:.4g} of all rows")
    details = f" ({'; '.join(said)})" if said else ""
    return f"{', '.join(columns) or 'The table'}: {words}{details}."
