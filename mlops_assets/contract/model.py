"""What a dataset folder may say, as frozen values.

What belongs here: the shape of a contract after it was read and checked. What does not: reading YAML (``load``), dates
and partition keys (``calendar``), or anything that looks at data. Importing this module costs nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

ColumnType = Literal["string", "int64", "float64", "boolean", "date", "timestamp"]
Role = Literal["key", "group", "time", "feature", "target", "excluded", "sensitive"]
Cadence = Literal["none", "hourly", "daily", "weekly", "monthly", "yearly", "named"]
Task = Literal["binary", "multiclass", "regression"]
FeatureKind = Literal["numeric", "categorical"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a source: its type and the rules each of its cells must keep.

    ``format`` is a ``strptime`` pattern for dates and timestamps. ``minimum`` and ``maximum`` are inclusive and of the
    column's own kind (numbers for numbers, ISO text for dates). ``pattern`` must match the whole text. ``missing`` are
    further delivered texts that mean "no value" in this column.
    """

    name: str
    type: ColumnType
    nullable: bool = True
    minimum: float | str | None = None
    maximum: float | str | None = None
    values: tuple[Any, ...] = ()
    pattern: str | None = None
    format: str | None = None
    missing: tuple[str, ...] = ()
    roles: frozenset[Role] = frozenset()
    description: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class FileFormat:
    """How a source's files are written. ``missing`` are the texts that mean "no value" in every column."""

    kind: Literal["csv", "parquet", "jsonl"] = "csv"
    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    decimal: str = "."
    missing: tuple[str, ...] = ("",)


@dataclass(frozen=True, slots=True)
class EventTime:
    """Where a row's time stands: one date or timestamp column, or integer columns year, month, day, hour.

    ``columns`` holds one name, or one name for each of ``parts``.
    """

    columns: tuple[str, ...]
    parts: tuple[Literal["year", "month", "day", "hour"], ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """Files of one kind. ``kind`` is ``batch`` (delivered per batch) or ``reference`` (one table for all batches).

    ``files`` is a pattern relative to the dataset folder; ``{batch}`` in it stands for the batch's key, ``*`` for any
    text. Without ``{batch}``, rows of a batch source are taken by their event time. ``redelivery`` says what several
    different files of one batch mean: the last by name ``replace``s the others, or all ``add`` up.
    """

    name: str
    kind: Literal["batch", "reference"]
    files: str
    format: FileFormat
    columns: Mapping[str, Column]
    key: tuple[str, ...] = ()
    event_time: EventTime | None = None
    redelivery: Literal["replace", "add"] = "replace"
    description: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Join:
    """Columns of ``source`` brought to the spine's rows.

    ``on`` pairs (column of the spine, column of the source). ``kind`` ``left`` keeps rows without a match, ``inner``
    drops none either but refuses the batch when one has no match. ``columns`` maps the name in ``cleaned`` to the
    source's column. ``as_of`` pairs (time column of the spine, time column of the source): the newest row that is not
    later, and at most ``tolerance`` seconds older, is taken. ``warn_below`` is the matched share that raises a warning.
    """

    source: str
    on: tuple[tuple[str, str], ...]
    columns: Mapping[str, str]
    kind: Literal["left", "inner"] = "left"
    as_of: tuple[str, str] | None = None
    tolerance: float | None = None
    warn_below: float = 0.0
    line: int = 0


@dataclass(frozen=True, slots=True)
class Partitions:
    """How the dataset comes in batches. ``start`` and ``end`` are keys; a closed dataset has an ``end``."""

    cadence: Cadence = "none"
    start: str | None = None
    end: str | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """What is predicted: the value of ``expression`` over the columns of ``cleaned``, called ``name``.

    A row whose expression is null has no answer: it is kept, counted, and left out of fit and test. ``positive`` is the
    class that a binary task predicts.
    """

    name: str
    expression: str
    task: Task
    positive: Any = True
    line: int = 0


@dataclass(frozen=True, slots=True)
class Split:
    """How rows become train, validation and test.

    ``time``: test is the release's newest batch, validation the ``validation`` batches before it, ``embargo`` batches
    between train and validation are left out. ``hash``: rows by the hash of their key, or of ``group``, with
    ``salt``; ``validation`` and ``test`` are then shares of the buckets.
    """

    by: Literal["time", "hash"]
    validation: float = 1
    test: float = 0.2
    embargo: int = 0
    group: tuple[str, ...] = ()
    salt: str = "mlops_assets"
    line: int = 0


@dataclass(frozen=True, slots=True)
class Feature:
    """One input of the model: a column of ``cleaned``, or a function of that name in the dataset's ``features.py``."""

    name: str
    kind: FeatureKind
    computed: bool = False
    uses: tuple[str, ...] = ()
    line: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model to fit: ``kind`` names the estimator, ``settings`` its parameters."""

    name: str
    kind: Literal["prior", "linear", "boosted_trees", "random_forest"]
    settings: Mapping[str, Any]
    line: int = 0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How a candidate is looked at. ``threshold`` is a probability, or ``prevalence``: the score that as many training
    rows reach as are positive. ``bootstrap`` resamples give the 95 % intervals; importance is permuted ``repeats``
    times on at most ``importance_rows`` rows.
    """

    groups: tuple[str, ...] = ()
    threshold: float | Literal["prevalence"] = "prevalence"
    bootstrap: int = 200
    importance_rows: int = 5000
    importance_repeats: int = 5
    minimum_group: int = 100


@dataclass(frozen=True, slots=True)
class Gates:
    """What a candidate must reach on the test set.

    ``metric`` is the primary metric. ``minimum`` and ``maximum`` bound metrics (a maximum catches leaks). The candidate
    must do better than each of ``beat`` on the primary metric. ``agreement`` is the least share of test decisions that
    the final refit must share with the candidate.
    """

    metric: str
    minimum: Mapping[str, float] = field(default_factory=dict)
    maximum: Mapping[str, float] = field(default_factory=dict)
    beat: tuple[str, ...] = ()
    agreement: float = 0.8


@dataclass(frozen=True, slots=True)
class Limits:
    """Shares of a batch's rows that may be quarantined: above ``warn`` it is told, above ``refuse`` refused."""

    warn: float = 0.005
    refuse: float = 0.05


@dataclass(frozen=True, slots=True)
class Contract:
    """One dataset folder, read and checked. ``spine`` is the source whose rows become the rows of ``cleaned``."""

    name: str
    folder: Path
    description: str
    owners: tuple[str, ...]
    sources: Mapping[str, Source]
    spine: str
    joins: tuple[Join, ...]
    partitions: Partitions
    target: Target
    split: Split
    features: tuple[Feature, ...]
    baselines: tuple[Candidate, ...]
    candidates: tuple[Candidate, ...]
    evaluation: Evaluation
    gates: Gates
    limits: Limits
    supplier: str | None = None

    @property
    def file(self) -> Path:
        """The contract's own file, as errors name it."""
        return self.folder / "dataset.yaml"

    def cleaned_columns(self) -> Mapping[str, Column]:
        """The columns of ``cleaned`` in order: the spine's, then each join's under its new name."""
        columns = dict(self.sources[self.spine].columns)
        for join in self.joins:
            theirs = self.sources[join.source].columns
            for name, column in join.columns.items():
                columns[name] = theirs[column]
        return columns

    def sensitive(self) -> frozenset[str]:
        """Names of columns whose values are never shown."""
        return frozenset(
            name
            for source in self.sources.values()
            for name, column in source.columns.items()
            if "sensitive" in column.roles
        ) | frozenset(name for name, column in self.cleaned_columns().items() if "sensitive" in column.roles)
