"""What a dataset folder may say, as frozen values.

What belongs here: the shape of a contract after it was read and checked. What does not: reading YAML (``load``), dates
and partition keys (``calendar``), or anything that looks at data. Importing this module costs nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mlops_assets.dbtproject.shape import SqlProject

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
    further delivered texts that mean "no value" in this column. ``thousands`` is the sign between groups of three
    digits, ``zone`` the IANA time zone in which times without an offset are written; they become UTC, and the batches
    of an event time are days of that zone.
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
    thousands: str | None = None
    zone: str | None = None
    roles: frozenset[Role] = frozenset()
    description: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class FileFormat:
    """How a source's files are written. ``missing`` are the texts that mean "no value" in every column.

    Without a ``quote`` every sign is a letter. ``header`` is the line of the column names; what stands above is no
    data. ``multiline`` says whether a quoted field may run over several lines; None: it may, unless its lines look like
    rows. A last line without an end is a warning where one is ``expected`` and refuses the file where it is
    ``required``; so does Parquet without page checksums. With ``strip`` blanks around column names and values are no
    part of them. A file of more than ``most_columns`` is refused.
    """

    kind: Literal["csv", "parquet", "jsonl"] = "csv"
    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    decimal: str = "."
    missing: tuple[str, ...] = ("",)
    header: int = 1
    multiline: bool | None = None
    final_newline: Literal["expected", "required"] = "expected"
    archive: Literal["none", "gzip", "zip"] = "none"
    checksums: Literal["optional", "required"] = "optional"
    strip: bool = False
    most_columns: int = 2000


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
    source's column. ``as_of`` pairs (time column of the spine, time column of the source): the newest row that was
    known by then is taken, if it is at most ``tolerance`` seconds older. A row of the source is known ``known_after``
    seconds after its own time; its age counts from its own time all the same. ``warn_below`` is the matched share that
    raises a warning.
    """

    source: str
    on: tuple[tuple[str, str], ...]
    columns: Mapping[str, str]
    kind: Literal["left", "inner"] = "left"
    as_of: tuple[str, str] | None = None
    tolerance: float | None = None
    known_after: float = 0.0
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
    """One input of the model: a column of ``cleaned``, a function of that name in ``features.py``, or a ``Window``.

    ``computed`` says that it is a function, ``window`` that it is a window. ``uses`` are the columns of a row that its
    value depends on; of a window's the entity's and the time's, not those that only other rows give.
    """

    name: str
    kind: FeatureKind
    computed: bool = False
    window: bool = False
    uses: tuple[str, ...] = ()
    line: int = 0


@dataclass(frozen=True, slots=True)
class Window:
    """A feature from the past of a row's entity: ``take`` of the expression ``of`` over rows with the same ``by``.

    Of the rows of ``cleaned`` one that happened at t counts for a row that happens at T when t < T, and its values were
    known by then, at t + ``known_after``, not longer than ``over`` ago (both in seconds):
    T - ``over`` < t + ``known_after`` <= T. Without ``of`` rows are counted. A null in ``of`` or in ``by`` counts not,
    nor does a number that is none (NaN, infinity); truths count as 1 and 0.

    ``last`` is the value of the newest row that counts, the mean of several of the same moment. Of nothing the count is
    0 and anything else null; where the row itself has no time, or a null in ``by``, so is the count. Sums are exact and
    rounded once, so that a value depends on the rows that count and on nothing else: neither on their order nor on
    other rows beside them.
    """

    name: str
    by: tuple[str, ...]
    take: Literal["count", "sum", "mean", "minimum", "maximum", "last"]
    over: float
    known_after: float
    of: str | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class Windows:
    """What features know of the past: ``look_back`` batches of ``cleaned`` before a row's own, and its own.

    ``time`` is the column of ``cleaned`` that says when a row happened; None stands for the spine's event time. A date
    stands for its first moment.
    """

    each: tuple[Window, ...] = ()
    look_back: int = 1
    time: str | None = None
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
class Thresholds:
    """From where on a check speaks that has no right answer of its own.

    ``alone``: how well one feature by itself may rank the answers (0.5 says nothing, 1 says all) before it is taken for
    a leak. ``reference`` names what drift is measured from: a batch's key, a tag as ``tag:NAME``, or None for the batch
    before. ``drift`` is a population stability index, told only where it also is ``chance`` times what two random
    halves of the reference show; of ``seasonal`` features it is shown and never told. ``missing`` is by how much the
    missing share of a column may grow, ``unseen`` the share of rows with a category that the reference does not have,
    ``twins`` the share of test rows that stand nearly the same in training, ``adversarial`` how well a model may tell
    test rows from training rows (as ``alone``), ``answers`` how far the answers of the test rows may lie from those in
    training: Cohen's w of classes, d of numbers. ``recurring`` says that a key comes again in later batches as another
    event, and not as a copy or a correction.
    """

    alone: float = 0.95
    reference: str | None = None
    drift: float = 0.2
    chance: float = 5.0
    missing: float = 0.1
    unseen: float = 0.01
    twins: float = 0.02
    adversarial: float = 0.9
    answers: float = 0.3
    recurring: bool = False
    seasonal: tuple[str, ...] = ()
    line: int = 0


@dataclass(frozen=True, slots=True)
class Arrivals:
    """When a file in the landing folder is complete.

    Its size and time must be the same in two looks at least ``settle`` seconds apart; with a ``marker``, a name in
    which ``{file}`` stands for the file's, it is complete as soon as that marker lies beside it, and not before.
    A file whose run broke off is tried ``attempts`` times.
    """

    settle: float = 5.0
    marker: str | None = None
    attempts: int = 3


@dataclass(frozen=True, slots=True)
class Releases:
    """When a release is asked for: of ``every_batch``, on a ``schedule`` (``cron``, UTC), on ``drift``, by ``hand``.

    On drift: when one of ``checks`` (``stage/check``, warnings) has failed on a batch that the newest release has not
    seen.
    """

    when: Literal["every_batch", "schedule", "drift", "hand"] = "every_batch"
    cron: str | None = None
    checks: tuple[str, ...] = ()
    line: int = 0


@dataclass(frozen=True, slots=True)
class Freshness:
    """Seconds after which a stage without a new version is late: ``warn`` tells, ``fail`` is shown as a failure."""

    fail: float
    warn: float | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """A fixed fraction of the dataset: all rows of that ``share`` of the groups of ``by`` (by hash, never by chance).

    Without ``by`` a row's group is that of the split, or its key. ``cron`` (UTC) is when the nightly run happens.
    """

    share: float = 0.05
    by: tuple[str, ...] = ()
    cron: str = "0 2 * * *"


@dataclass(frozen=True, slots=True)
class Alerts:
    """What is called when a run has failed. Secrets are named by environment variables, never written here.

    ``command`` gets the record as JSON on its standard input. ``webhook`` and ``email`` are names of environment
    variables: of a URL to which it is POSTed, and of an SMTP URL (``smtp://user:password@host:port``) for mail to
    ``recipients``.
    """

    command: tuple[str, ...] = ()
    webhook: str | None = None
    email: str | None = None
    recipients: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Automation:
    """What happens by itself; changes no value. ``limit`` is how many batches a sweep asks for at once.

    ``verify`` is the cron expression (UTC) of the store's verification. ``freshness`` goes by stage.
    """

    enabled: bool = True
    arrivals: Arrivals = field(default_factory=Arrivals)
    releases: Releases = field(default_factory=Releases)
    freshness: Mapping[str, Freshness] = field(default_factory=dict)
    sample: Sample | None = None
    verify: str | None = "0 3 * * 0"
    limit: int = 500
    alerts: Alerts = field(default_factory=Alerts)
    line: int = 0


@dataclass(frozen=True, slots=True)
class Admission:
    """A person's word that rows of ``source`` are let in although ``reason`` speaks against them.

    ``reason`` is a reason as the quarantine counts it. The row is the one on ``file`` and ``line``, or all that were
    delivered with the texts ``row`` by column, which has the whole key.
    """

    source: str
    reason: str
    who: str
    why: str
    row: Mapping[str, str] = field(default_factory=dict)
    file: str | None = None
    row_line: int | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class Expectation:
    """What an analyst expects of a source's rows, in Great Expectations' own ``type`` and ``kwargs``.

    ``name`` is the check's. A failed one of severity ``critical`` keeps a version from being published.
    """

    name: str
    source: str
    type: str
    columns: tuple[str, ...]
    kwargs: Mapping[str, Any]
    severity: Literal["critical", "warning", "info"]
    description: str = ""
    line: int = 0


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
    thresholds: Thresholds = field(default_factory=Thresholds)
    windows: Windows = field(default_factory=Windows)
    supplier: str | None = None
    automation: Automation = field(default_factory=Automation)
    sample: Sample | None = None
    """On a branch that holds a sample: which, with its ``by`` resolved. The folder says it in ``automation.sample``."""
    admitted: tuple[Admission, ...] = ()
    expectations: tuple[Expectation, ...] = ()
    sql: SqlProject | None = None
    """The dbt project that makes ``cleaned``, compiled; None where the joins above make it."""

    @property
    def file(self) -> Path:
        """The contract's own file, as errors name it."""
        return self.folder / "dataset.yaml"

    def admitted_of(self, source: str) -> tuple[Admission, ...]:
        """What people said for rows of a source."""
        return tuple(each for each in self.admitted if each.source == source)

    def expectations_of(self, source: str) -> tuple[Expectation, ...]:
        """What analysts expect of a source. Of a sample nothing: what is expected of all rows says nothing of some."""
        if self.sample is not None and source == self.spine:
            return ()
        return tuple(each for each in self.expectations if each.source == source)

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
