"""A draft of ``dataset.yaml`` from the files of a folder.

What belongs here: what the guesses make of a contract, and the comments that say how sure they are. What does not: the
guesses (``files``, ``columns``, ``tables``), reading a contract (``contract``).
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mlops_assets.contract.calendar import Calendar
from mlops_assets.contract.model import Cadence
from mlops_assets.errors import UserError
from mlops_assets.profiling.columns import FEW, Seen
from mlops_assets.profiling.slack import band, how_sure
from mlops_assets.profiling.tables import Meant, Table, found_in, key_of, leaks, meant, span_of, tables_in, time_of
from mlops_assets.wording import counted

_YES = ("yes", "true", "1", "y", "t")
_PERSON = re.compile(
    r"e[._-]?mail|phone[._-]?n|address|surname|(first|last|full)[._-]?name|birth|passport|ssn|iban", re.IGNORECASE
)
"""What a column is called that says who somebody is."""
_BATCHES = 4
_MANY = 50
_REPEATED = 20
"""A text of which each value comes about so often is one of a list."""
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_WORDS: Final = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
_METRIC: Final = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}


def draft(folder: Path) -> str:
    """The text of a contract for the files in ``folder``, with comments on what each line stands on.

    Raises:
        UserError: there is nothing to look at, nothing to predict, or a file cannot be read.
    """
    return "".join(f"{line}\n" for line in _Draft(tables_in(folder)).lines())


class _Draft:
    """The lines of a contract over some tables, the first of which is the spine."""

    def __init__(self, tables: Sequence[Table]) -> None:
        self._tables, self._spine = tables, tables[0]
        target = meant(self._spine)
        if target is None:
            names = ", ".join(path.name for path in self._spine.files.paths[:3])
            raise UserError(
                f"{names}: no column could be what is predicted: each is a time, a name or always the same."
            )
        self._target: Meant = target
        self._time = time_of(self._spine)
        self._times = (self._time,) if isinstance(self._time, str) else tuple((self._time or {}).values())
        self._cadence, self._start = self._batches()
        self._leaks = leaks(self._spine, target.column)
        self._keys = {table.name: key_of(table, [target.column] if table is self._spine else []) for table in tables}

    def _batches(self) -> tuple[Cadence, str]:
        """How the data comes in batches, and the first: by the names of files, else by a time of the rows."""
        if self._spine.files.batches:
            return self._spine.files.cadence, min(self._spine.files.batches)
        if isinstance(self._time, str):
            first, last = span_of(self._spine, self._time)
            cadences: tuple[Cadence, ...] = ("yearly", "monthly", "weekly", "daily")
            for cadence in cadences:
                calendar = Calendar(cadence)
                if len(calendar.between(calendar.key(first), calendar.key(last))) >= _BATCHES:
                    return cadence, calendar.key(first)
        return "none", ""

    def lines(self) -> Iterator[str]:
        """All lines."""
        files, rows = sum(len(table.files.paths) for table in self._tables), sum(table.rows for table in self._tables)
        yield f"# A draft from {counted(files, 'file')} with {counted(rows, 'row')}, which nobody has checked."
        yield "# Read every line and mend what is not so. What is called sure was seen in 1,000 rows or more, what is"
        yield "# called fair in 100 or more; the rest is a guess. Ends of numbers have some room for what comes next."
        yield ""
        yield 'description: ""  # what a row is, and what is predicted'
        yield "owners: []  # team:name, or e-mail addresses"
        yield from self._partitions()
        yield ""
        yield "sources:"
        for table in self._tables:
            yield from self._source(table)
        yield ""
        yield f"spine: {self._spine.name}"
        yield from self._joins()
        yield ""
        yield from self._model()

    def _partitions(self) -> Iterator[str]:
        if self._cadence == "none":
            yield "# All rows are one batch: no file's name and no column says a time that would make several."
        else:
            why = f"by {self._time}; another cadence is possible" if isinstance(self._time, str) else "by files' names"
            yield f'partitions: {{cadence: {self._cadence}, start: "{self._start}"}}  # {why}'

    def _source(self, table: Table) -> Iterator[str]:
        files, spine = table.files, table is self._spine
        yield f"  {files.name}:"
        if not spine and not files.batches:
            yield "    kind: reference"
        yield f"    files: {json.dumps(files.pattern, ensure_ascii=False)}"
        yield f"    format: {{{', '.join(_format(table))}}}"
        key = self._keys[table.name]
        if key.columns:
            told = f"{how_sure(table.rows)}: no two different rows of {table.rows:,} share it"
            if key.shared:
                told = f"a guess: {key.shared:,} rows that differ share theirs and would be quarantined"
            yield f"    key: {_list(key.columns)}  # {told}"
        else:
            yield "    # key: no column tells rows apart"
        if spine and self._time is not None:
            yield f"    event_time: {_word(self._time) if isinstance(self._time, str) else _mapping(self._time)}"
        yield "    columns:"
        for seen in table.columns.values():
            yield self._column(table, seen)

    def _column(self, table: Table, seen: Seen) -> str:
        spine, sure = table is self._spine, how_sure(table.rows)
        derived = seen.name in self._keys[table.name].columns or (spine and seen.name in self._times)
        rules, notes = [f"type: {seen.type}"], []
        if seen.missing:
            notes.append(f"{counted(seen.missing, 'row')} without a value")
        elif not derived and sure == "sure":
            rules.append("nullable: false")
        own = [word for word in seen.words if word not in table.missing]
        rules += [f"missing: {_list(own)}"] if own else []
        rules += [f"format: {json.dumps(seen.format)}"] if seen.format is not None else []
        notes += [f"or {', '.join(seen.formats[1:])}: say which"] if len(seen.formats) > 1 else []
        person = _PERSON.search(seen.name) is not None
        rules += _rules(table, seen, derived=derived) if not person else []
        if spine and seen.name in self._leaks:
            rules.append("role: excluded")
            notes.append(f"a leak: {self._leaks[seen.name]}")
        elif person:
            rules.append("role: sensitive")
            notes.append("sensitive by its name")
        said = "; ".join(notes) or counted(seen.distinct, "different value")
        return f"      {_word(seen.name)}: {{{', '.join(rules)}}}  # {sure}: {said}"

    def _joins(self) -> Iterator[str]:
        """References that seem to be meant for the spine, for whoever knows whether to join them."""
        for table in self._tables[1:]:
            for name in found_in(self._spine, table):
                more = [each for each in table.columns if each not in self._spine.columns]
                if more:
                    yield f"# joins: [{{source: {table.name}, on: {_list([name])}, columns: {_list(more)}}}]"

    def _model(self) -> Iterator[str]:
        name, task, why = self._target
        seen = self._spine.columns[name]
        positive = f", positive: {_value(_positive(seen))}" if task == "binary" and seen.type != "boolean" else ""
        expression = json.dumps(name if name.isidentifier() else f"`{name}`", ensure_ascii=False)
        yield f"# A guess: {why}. What is known only after it must be excluded (role: excluded)."
        yield f"target: {{name: {_word(name)}, expression: {expression}, task: {task}{positive}}}"
        yield "split: {by: hash, validation: 0.15, test: 0.2}" if self._cadence == "none" else "split: {by: time}"
        numeric, categorical, left = self._features()
        yield "features:"
        yield f"  numeric: {_list(numeric)}"
        yield f"  categorical: {_list(categorical)}"
        if left:
            yield f"  # left out, as names, times, leaks, or texts of many values: {', '.join(left)}"
        yield "models:"
        yield "  baselines: {prior: {}, linear: {}}"
        yield "  candidates: {boosted_trees: {}}"
        yield "gates:"
        yield f"  metric: {_METRIC[task]}"
        yield "  beat: [prior]  # further: minimum and maximum, what must be reached and what is too good to be true"
        yield "  agreement: 0.7  # of the decisions of the last refit with the candidate's; 0.8 when left out"

    def _features(self) -> tuple[list[str], list[str], list[str]]:
        """Numeric and categorical features, and what is left out."""
        numeric: list[str] = []
        categorical: list[str] = []
        left: list[str] = []
        key = self._keys[self._spine.name].columns
        # one column that tells rows apart is a name; of many, each says something
        names = {*self._times, *self._leaks, *(key if len(key) == 1 else ())}
        for seen in self._spine.columns.values():
            if seen.name == self._target.column:
                continue
            if seen.name in names or seen.distinct < 2 or _PERSON.search(seen.name):  # noqa: PLR2004 - always the same
                left.append(seen.name)
            elif seen.type in ("int64", "float64", "boolean"):
                numeric.append(seen.name)
            elif seen.type == "string" and seen.distinct <= _MANY:
                categorical.append(seen.name)
            else:
                left.append(seen.name)
        return numeric, categorical, left


def _format(table: Table) -> Iterator[str]:
    given = table.files.format
    yield f"kind: {given.kind}"
    if given.delimiter != ",":
        yield f"delimiter: {json.dumps(given.delimiter)}"
    if given.encoding != "utf-8":
        yield f"encoding: {given.encoding}"
    if table.decimal != ".":
        yield f"decimal: {json.dumps(table.decimal)}"
    if table.missing:
        yield f"missing: {_list(['', *table.missing])}"


def _rules(table: Table, seen: Seen, *, derived: bool) -> list[str]:
    """What the values may be: a list where they are few and frequent, ends of numbers, the pattern of a key."""
    if seen.type == "string":
        if seen.distinct <= FEW and table.rows >= _REPEATED * seen.distinct > 0:
            return [f"values: {_list(sorted(value for value, _ in seen.common))}"]
        return [f"pattern: {json.dumps(seen.pattern)}"] if derived and seen.pattern else []
    if seen.type in ("int64", "float64") and seen.low is not None:
        if seen.type == "int64" and {value for value, _ in seen.common} == {0, 1}:
            return ["values: [0, 1]"]
        low, high = band(seen.low, seen.high)
        return [f"minimum: {low}", f"maximum: {high}"] if not (derived and seen.unique) else [f"minimum: {low}"]
    return []


def _positive(seen: Seen) -> Any:
    """Of two values the one that a name would mean, else the rarer."""
    said = [value for value, _ in seen.common if str(value).lower() in _YES]
    return said[0] if len(said) == 1 else seen.common[-1][0]


def _value(value: Any) -> str:
    return _word(value) if isinstance(value, str) else json.dumps(value)


def _word(text: str) -> str:
    """A text as YAML, in quotes where it could be anything else."""
    bare = _BARE.fullmatch(text) and text.lower() not in _WORDS
    return text if bare else json.dumps(text, ensure_ascii=False)


def _list(words: Sequence[str]) -> str:
    return f"[{', '.join(map(_word, words))}]"


def _mapping(words: Mapping[str, str]) -> str:
    return f"{{{', '.join(f'{key}: {_word(value)}' for key, value in words.items())}}}"
