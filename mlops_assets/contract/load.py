"""A dataset folder read into a ``Contract``, or all its mistakes at once.

What belongs here: what the keys of ``dataset.yaml`` mean and what may not be said together. What does not: YAML itself
(``yamlnodes``), sources and joins (``tables``), Python files (``functions``), any look at data. Nothing here imports
pandas, pyarrow or Dagster, because "nothing to do" must be found out in milliseconds.

The whole of a ``dataset.yaml``; what has a default may be left out::

    description: Parcels, and whether they come late.        # owners: e-mail addresses or team:name
    owners: [team:logistics]
    supplier: supplier.py                                     # optional; defines deliver(landing, through)
    partitions: {cadence: monthly, start: 2013-01, end: 2013-12}   # absent: one batch, "all"; also named, hourly, ...
    sources:
      parcels:
        kind: batch                                           # or reference: one table for all batches
        files: "landing/parcels_{batch}.csv"                  # without {batch}: rows are taken by event_time
        format: {kind: csv, delimiter: ",", quote: '"', encoding: utf-8, decimal: ".", missing: ["", NA]}
                                                              # further: header: 1 (line of the names), multiline:
                                                              # false, final_newline: required, archive: gzip or zip,
                                                              # quote: none, strip: true (no blanks around values),
                                                              # most_columns: 2000; of parquet: checksums: required
        key: [depot, number]                                  # never null, tells rows apart
        event_time: sent                                      # or {year: y, month: m, day: d, hour: h}
        redelivery: replace                                   # or add
        columns:
          depot: string                                       # a type alone, or a type and rules:
          number: {type: int64, minimum: 1}
          sent: {type: timestamp, format: "%Y-%m-%dT%H:%M:%SZ"}
          handed_in: {type: timestamp, format: "%d.%m.%Y %H:%M", zone: Europe/Berlin}   # local; becomes UTC
          weight: {type: float64, nullable: false, minimum: 0, maximum: 70, description: kilograms}
          worth: {type: int64, thousands: ","}
          service: {type: string, values: [standard, express], missing: [none]}
          phone: {type: string, pattern: "[0-9 +]+", role: sensitive}
          hours_late: {type: float64, role: excluded}         # known only after the event
    spine: parcels                                            # absent: the one batch source that is not joined
    joins:
      - {source: depots, on: [depot], columns: {city: town}, kind: left, warn_below: 0.99}   # on, columns: list or
      - {source: weather, on: {city: place}, as_of: {sent: measured}, tolerance: 3h, columns: [rain],  # {ours: theirs}
         known_after: 30m}                                    # the newest row measured half an hour ago or earlier
    target: {name: late, expression: "hours_late > 2", task: binary}   # or multiclass, regression; positive: Yes
    split: {by: time, validation: 1, embargo: 0}              # or {by: hash, validation: 0.15, test: 0.2}; group, salt
    features: {numeric: [weight, weekday], categorical: [service, town]}   # absent: columns with role: feature
                                                              # further: windows, below
    models:
      baselines: {prior: {}, linear: {C: 1.0}}                # name: settings; kind: when it is not the name
      candidates: {boosted_trees: {max_iter: 200}, deep: {kind: boosted_trees, max_depth: 12}}
    evaluation: {groups: [service], threshold: prevalence, bootstrap: 200, minimum_group: 100}
    gates: {metric: roc_auc, minimum: {roc_auc: 0.6}, maximum: {roc_auc: 0.95}, beat: [prior, linear], agreement: 0.8}
    limits: {warn: 0.005, refuse: 0.05}                       # quarantined share of a batch
    checks: {alone: 0.95, reference: 2013-01, drift: 0.2, chance: 5, seasonal: [weekday], missing: 0.1, unseen: 0.01,
             twins: 0.02, adversarial: 0.9, answers: 0.3, recurring: false}  # see model.Thresholds; also tag:NAME
    admitted: admitted.yaml                                   # rows that people let in by name; see contract.admitted
    automation:                                               # what happens by itself; changes no value
      enabled: true                                           # false: only what somebody starts
      arrivals: {settle: 5s, marker: "{file}.done", attempts: 3}   # when a landed file is complete
      releases: every_batch                                   # or hand, or {when: schedule, cron: "0 6 * * 1"}, or
                                                              # {when: drift, checks: [features/filled]}
      freshness: {raw/parcels: {fail: 36h, warn: 26h}}        # a stage without a new version for so long is late
      sample: {share: 0.05, by: [depot], cron: "0 2 * * *"}   # a nightly run on a fixed fraction; by: of the spine
      verify: "0 3 * * 0"                                     # of the whole store; or off. All times are in UTC
      limit: 500                                              # batches that are asked for at once
      alerts: {command: [notify-send, Failed], webhook: ALERTS_URL, email: SMTP_URL, recipients: [ann@example.org]}

A function in ``features.py`` is a feature of its name; its parameters are columns of ``cleaned`` or features listed
before it. Features from the past of an entity (``model.Window``) stand in ``features`` under ``windows`` and are listed
nowhere else; ``numeric``, ``windows`` and ``categorical`` are in the order in which they are written::

    features:
      windows:
        look_back: 1                                          # batches of cleaned before a row's own; or 0
        time: sent                                            # when a row happened; absent: the spine's event time
        each:
          depot_lateness: {by: [depot], take: mean, of: hours_late, over: 7d, known_after: 36h}
          depot_parcels: {by: [depot], take: count, over: 3d, known_after: 0s}   # or sum, minimum, maximum, last
      numeric: [weight, weekday]

``of`` is an expression over columns of ``cleaned``, also such that are known only after the event: ``known_after`` is
how long after a row's time they are known.

What is expected of a supplier's data as a whole stands in ``expectations.json`` (``contract.expectations``). A dbt
project (``dbt/dbt_project.yml``) makes ``cleaned`` from the sources ``raw.<source>`` by its model of that name, with
the columns that the joins name all the same (``dbtproject``). A join that goes by a time brings that time then, under
whatever name: what SQL makes of it is looked at (``contract.pointintime``).
"""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mlops_assets.contract import yamlnodes as y
from mlops_assets.contract.admitted import read_admitted
from mlops_assets.contract.automation import read_automation
from mlops_assets.contract.calendar import TIME_CADENCES, Calendar
from mlops_assets.contract.expectations import read_expectations
from mlops_assets.contract.expression import Expression, ExpressionError, parse
from mlops_assets.contract.functions import Function, read_functions
from mlops_assets.contract.model import (
    Candidate,
    Column,
    Contract,
    Evaluation,
    Feature,
    FeatureKind,
    Gates,
    Join,
    Limits,
    Partitions,
    Role,
    Source,
    Split,
    Target,
    Task,
    Windows,
)
from mlops_assets.contract.pointintime import not_brought
from mlops_assets.contract.tables import SOURCE_NAME, UNKNOWN, joined_sources, read_joins, read_sources, read_spine
from mlops_assets.contract.thresholds import read_thresholds
from mlops_assets.contract.vocabulary import METRICS, REFUSED_SETTINGS, SETTINGS, TASKS, setting_type
from mlops_assets.contract.windows import Surroundings, read_windows
from mlops_assets.dbtproject.cache import sql_project
from mlops_assets.dbtproject.shape import FOLDER
from mlops_assets.errors import ContractError, UserError

FILE = "dataset.yaml"
FEATURES_FILE = "features.py"
_OWNER = re.compile(r"team:[A-Za-z0-9_-]+|[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}")
_MODEL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_NUMERIC = ("int64", "float64", "boolean")
_CATEGORICAL = ("string", "int64", "boolean")


def load_contracts(data: Path) -> dict[str, Contract]:
    """Every folder in ``data`` with a ``dataset.yaml``, by name; raises one ContractError with all mistakes of all."""
    contracts: dict[str, Contract] = {}
    sentences: list[str] = []
    folders = sorted(path.parent for path in data.glob(f"*/{FILE}")) if data.is_dir() else []
    for folder in folders:
        try:
            contracts[folder.name] = load_contract(folder)
        except ContractError as error:
            sentences += error.sentences
    if sentences:
        raise ContractError(*sentences)
    return contracts


def load_contract(folder: Path) -> Contract:
    """The dataset in ``folder``, which is called as the folder is.

    Raises ContractError with every mistake that can be found without looking at data, each as ``file:line: sentence``.
    """
    mistakes = y.Mistakes()
    file = folder / FILE
    if not file.is_file():
        raise ContractError(f"{file}:1: There is no such file; a dataset's folder describes itself in {FILE}.")
    node = y.read_document(file, mistakes)
    if node is None:
        mistakes.raise_any()
        raise AssertionError("a document that cannot be read tells why")
    root = y.Section(node, "", file, mistakes)
    contract = _contract(folder, root, mistakes)
    mistakes.raise_any()
    for line, sentence in not_brought(contract) if (folder / FOLDER / "dbt_project.yml").is_file() else ():
        mistakes.add(file, line, sentence)
    mistakes.raise_any()
    return dataclasses.replace(contract, sql=sql_project(contract))


def _contract(folder: Path, root: y.Section, mistakes: y.Mistakes) -> Contract:
    if not SOURCE_NAME.fullmatch(folder.name):
        root.wrong(f"a dataset is called as its folder: a letter, then letters, digits or _, not {folder.name!r}.")
    partitions = _partitions(root)
    sources = read_sources(root, partitions)
    spine = read_spine(root, sources, joined_sources(root))
    joins = read_joins(root, sources, spine)
    table = _cleaned(sources, spine, joins)
    target, answer = _target(root, table)
    table.forbid(target, answer, sources, spine, joins)
    split = _split(root, partitions, sources.get(spine), table)
    features, windows = _features(folder, root, table, partitions, sources.get(spine))
    baselines, candidates = _models(root, target.task)
    contract = Contract(
        name=folder.name,
        folder=folder,
        description=root.get("description", y.text, ""),
        owners=root.get("owners", y.list_of(_owner), ()),
        sources=sources,
        spine=spine,
        joins=joins,
        partitions=partitions,
        target=target,
        split=split,
        features=features,
        baselines=baselines,
        candidates=candidates,
        evaluation=_evaluation(root, target.task, table),
        gates=_gates(root, target.task, baselines),
        limits=_limits(root),
        thresholds=read_thresholds(root, partitions, features),
        windows=windows,
        supplier=_supplier(folder, root, mistakes),
    )
    admitted = read_admitted(root, contract)
    automation = read_automation(root, contract)
    root.finish()
    sources = _with_roles(contract, answer)
    expected = read_expectations(folder, sources, spine, mistakes)
    return dataclasses.replace(
        contract, sources=sources, automation=automation, admitted=admitted, expectations=expected
    )


@dataclass
class _Cleaned:
    """The columns of ``cleaned``, and why some of them may not become features."""

    columns: Mapping[str, Column]
    elsewhere: Mapping[str, str]  # columns that a joined source has and the join does not bring
    forbidden: dict[str, str] = field(default_factory=dict)

    def unknown(self, name: str, more: Sequence[str] = ()) -> str:
        """How to go on after ``there is no column x``."""
        if name in self.elsewhere:
            return f"; the source {self.elsewhere[name]!r} has it: add it to the join's columns."
        return y.suggest(name, [*self.columns, *more])

    def forbid(
        self,
        target: Target,
        answer: Expression | None,
        sources: Mapping[str, Source],
        spine: str,
        joins: Sequence[Join],
    ) -> None:
        """Fill ``forbidden``: excluded and sensitive columns, the target's, and what an excluded column brought."""
        ours = sources[spine].columns if spine in sources else {}
        for join in joins:
            pairs = join.on + ((join.as_of,) if join.as_of else ())
            late = [name for name, _ in pairs if name in ours and "excluded" in ours[name].roles]
            for name in join.columns if late else ():
                self.forbidden[name] = f"comes by a join on {late[0]!r}, which is known only after the event"
        for name, column in self.columns.items():
            if answer is not None and name in answer.columns:
                self.forbidden[name] = f"is what the target {target.name!r} is made from"
            elif "excluded" in column.roles:
                self.forbidden[name] = "is known only after the event (role: excluded)"
            elif "sensitive" in column.roles:
                self.forbidden[name] = "is sensitive"

    @property
    def late(self) -> Mapping[str, str]:
        """Of the forbidden columns those that nobody knows before the event: a sensitive one may be known."""
        return {name: why for name, why in self.forbidden.items() if why != "is sensitive"}


def _cleaned(sources: Mapping[str, Source], spine: str, joins: Sequence[Join]) -> _Cleaned:
    columns = dict(sources[spine].columns) if spine in sources else {}
    elsewhere: dict[str, str] = {}
    for join in joins:
        theirs = sources[join.source].columns
        columns.update({new: theirs[old] for new, old in join.columns.items() if old in theirs})
        elsewhere.update({name: join.source for name in theirs if name not in join.columns})
    return _Cleaned(columns, {name: source for name, source in elsewhere.items() if name not in columns})


def _partitions(root: y.Section) -> Partitions:
    section = root.section("partitions", "partitions")
    if section is None:
        return Partitions()
    cadence = section.choose(
        "cadence",
        (
            "none",
            *TIME_CADENCES,
            "named",
        ),
        "none",
        "one of hourly, daily, weekly, monthly, yearly, named.",
    )
    start, end = section.get("start", y.text, None), section.get("end", y.text, None)
    section.finish()
    partitions = Partitions(cadence, start, end, section.line)
    if cadence not in TIME_CADENCES:
        for key in ("start", "end"):
            if key in section and "cadence" in section:
                section.wrong(f"{key!r} goes with batches of time, not with cadence {cadence}.", key)
        return Partitions(cadence, line=section.line)
    if start is None and "start" not in section:
        section.wrong("'start' is missing; write the first batch's key.")
    calendar = Calendar(cadence)
    for key, value in (("start", start), ("end", end)):
        if value is not None:
            try:
                calendar.check(value)
            except UserError as error:
                section.wrong(f"{key!r}: {error.sentences[0]}", key)
                partitions = Partitions(cadence, line=section.line)
    if partitions.start and partitions.end and calendar.sort([partitions.start, partitions.end])[0] != partitions.start:
        section.wrong(f"the end {end!r} is before the start {start!r}.", "end")
    return partitions


def _target(root: y.Section, table: _Cleaned) -> tuple[Target, Expression | None]:
    section = root.section("target", "target", 'write {name: late, expression: "delay > 15", task: binary}.')
    if section is None:
        return Target("", "", "binary"), None
    name = section.need("name", y.text, "", "call what is predicted.")
    written = section.need("expression", y.text, "", "say what is predicted, over the columns.")
    task: Task = section.choose("task", TASKS, "binary", "one of binary, multiclass, regression.")
    positive = section.get("positive", y.plain, True)
    section.finish()
    target = Target(name, written, task, positive, section.line)
    if not written:
        return target, None
    try:
        answer = parse(written)
        for column in answer.columns if table.columns else ():  # without columns all is told already
            if column not in table.columns:
                section.wrong(f"{written!r}: there is no column {column!r}{table.unknown(column)}", "expression")
        if any(column not in table.columns or table.columns[column].type == UNKNOWN for column in answer.columns):
            return target, answer
        kind = answer.kind({column: table.columns[column].type for column in answer.columns})
    except ExpressionError as error:
        section.wrong(error.sentences[0], "expression")
        return target, None
    if name in table.columns and answer.column() != name:
        section.wrong(f"{name!r} is a column already; call the target something else.", "name")
    _check_task(section, target, answer, kind, table)
    return target, answer


def _check_task(section: y.Section, target: Target, answer: Expression, kind: str, table: _Cleaned) -> None:
    if target.task != "binary" and "positive" in section:
        section.wrong("'positive' goes with binary only.", "positive")
    if target.task == "regression" and kind != "number":
        section.wrong(f"a regression predicts a number, and {target.expression!r} is a {kind}.", "expression")
    if target.task == "multiclass" and kind in ("date", "timestamp", "boolean"):
        section.wrong(f"a multiclass task predicts texts or whole numbers, not a {kind}.", "expression")
    if target.task != "binary":
        return
    column = answer.column()
    if kind == "boolean":
        if not isinstance(target.positive, bool):
            section.wrong(
                f"{target.expression!r} is true or false; 'positive' cannot be {target.positive!r}.", "positive"
            )
    elif column is None or kind in ("date", "timestamp"):
        section.wrong(f"a binary task predicts true or false, and {target.expression!r} is a {kind}.", "expression")
    elif "positive" not in section:
        section.wrong(f"'positive' is missing; say which value of {column!r} is predicted.")
    elif isinstance(target.positive, bool) or isinstance(target.positive, str) != (kind == "string"):
        section.wrong(f"'positive' is {target.positive!r} and {column!r} is a {kind}.", "positive")
    elif table.columns[column].values and target.positive not in table.columns[column].values:
        advice = y.listed(table.columns[column].values)
        section.wrong(f"'positive' is {target.positive!r} and {column!r} is one of {advice}.", "positive")


def _split(root: y.Section, partitions: Partitions, spine: Source | None, table: _Cleaned) -> Split:
    timed = partitions.cadence in TIME_CADENCES
    if spine is not None and not spine.key:
        root.mistakes.add(
            root.file,
            spine.line,
            f"The spine {spine.name!r} has no 'key'; list the columns that tell two rows apart (all, when nothing less "
            "does). Splits and exact counts stand on it.",
        )
    section = root.section("split", "split")
    if section is None:
        return Split("time") if timed else Split("hash", validation=0.15)
    by = section.choose(
        "by",
        (
            "time",
            "hash",
        ),
        "time" if timed else "hash",
    )
    group = section.get("group", y.list_of(y.text), ())
    default = Split(by)
    salt = section.get("salt", y.text, default.salt)
    if by == "time":
        validation = section.get("validation", y.integer, 1)
        split = Split(
            by, validation, embargo=section.get("embargo", y.integer, 0), group=group, salt=salt, line=section.line
        )
        if not timed:
            section.wrong("batches have no time here; write 'by: hash', or give 'partitions' a cadence of time.", "by")
        if "test" in section:
            section.wrong("by time the test set is the newest batch; 'test' goes with 'by: hash'.", "test")
            section.node("test")
        for key, value in (("validation", split.validation), ("embargo", split.embargo)):
            if value < 0:
                section.wrong(f"{key!r} is a number of batches, not {value}.", key)
    else:
        split = Split(
            by,
            section.get("validation", y.share, 0.15),
            section.get("test", y.share, default.test),
            group=group,
            salt=salt,
            line=section.line,
        )
        if "embargo" in section:
            section.wrong("'embargo' goes with 'by: time'.", "embargo")
            section.node("embargo")
        if split.test == 0 or split.validation + split.test >= 1:
            section.wrong(f"validation {split.validation} and test {split.test} leave no rows to test or to train on.")
    section.finish()
    for name in group:
        if table.columns and name not in table.columns:
            section.wrong(f"there is no column {name!r}{table.unknown(name)}", "group")
    return split


def _features(
    folder: Path, root: y.Section, table: _Cleaned, partitions: Partitions, spine: Source | None
) -> tuple[tuple[Feature, ...], Windows]:
    file, mistakes = folder / FEATURES_FILE, root.mistakes
    functions = read_functions(file, mistakes) if file.is_file() else {}
    features: dict[str, Feature] = {}
    section = root.section("features", "features")
    if section is None:
        for name, column in table.columns.items():
            if "feature" in column.roles:
                kind: FeatureKind = "numeric" if column.type in _NUMERIC else "categorical"
                features[name] = _feature(
                    name, kind, column.line, section=root, table=table, functions=functions, file=file
                )
        if not features and table.columns and "features" not in root:
            root.wrong("there is no feature; list them: features: {numeric: [..], categorical: [..]}.")
        return tuple(features.values()), Windows()
    around = Surroundings(table.columns, table.late, table.unknown, list(functions), partitions.cadence, spine)
    windows, windowed = read_windows(section, around)
    taken = dict.fromkeys((window.name for window in windowed), "is a window and listed nowhere else; leave it out.")
    for word in section.names():
        if word == "windows":
            features |= {feature.name: feature for feature in windowed}
        for name, line in _listed(section, word) if word in ("numeric", "categorical") else ():
            if name in taken:
                mistakes.add(section.file, line, f"Features: {name!r} {taken[name]}")
                continue
            listed: FeatureKind = "numeric" if word == "numeric" else "categorical"
            taken[name] = "is listed twice."
            features[name] = _feature(name, listed, line, section=section, table=table, functions=functions, file=file)
    for word in ("numeric", "categorical"):
        section.node(word)  # asked for, so that a suggestion knows both
    section.finish()
    if not features:
        section.wrong("there is none; list them under numeric and categorical.")
    _check_order(features, functions, table, file, mistakes)
    return tuple(features.values()), windows


def _listed(section: y.Section, word: str) -> Iterator[tuple[str, int]]:
    """The names in a list, each with its line."""
    node = section.node(word)
    section.get(word, y.list_of(y.text), ())  # tells what is wrong with the list; its items keep their lines
    for item in node.value if isinstance(node, yaml.SequenceNode) else [node]:
        if isinstance(item, yaml.ScalarNode) and item.value:
            yield str(item.value), y.line_of(item)


def _check_order(
    features: Mapping[str, Feature],
    functions: Mapping[str, Function],
    table: _Cleaned,
    file: Path,
    mistakes: y.Mistakes,
) -> None:
    """Tell each parameter that is neither a column nor a feature listed before."""
    order = list(features)
    for feature in features.values():
        for name in feature.uses if feature.computed and table.columns else ():
            if name in table.columns or name in order[: order.index(feature.name)]:
                continue
            if name in order:
                problem = f"uses the feature {name!r}, which {FILE} lists later; list {name!r} first."
            else:
                problem = f"takes {name!r}, which is no column and no feature{table.unknown(name, order)}"
            mistakes.add(file, functions[feature.name].line, f"{feature.name!r} {problem}")


def _feature(
    name: str,
    kind: FeatureKind,
    line: int,
    *,
    section: y.Section,
    table: _Cleaned,
    functions: Mapping[str, Function],
    file: Path,
) -> Feature:
    """One feature, and every mistake about it; ``line`` is where it is named."""
    mistakes, where = section.mistakes, section.file
    column, function = table.columns.get(name), functions.get(name)
    if name == "target" or name.startswith("group:"):
        mistakes.add(where, line, f"Features: {name!r} is a name of the feature table's own; rename it.")
    if column is not None and function is not None:
        mistakes.add(
            where, line, f"Features: {name!r} is a column and a function of {FEATURES_FILE}; rename the function."
        )
    if function is not None and column is None:
        if function.open_ended:
            mistakes.add(
                file, function.line, f"{name!r} takes *args or **kwargs; name each column that it needs as a parameter."
            )
        if not function.parameters:
            mistakes.add(file, function.line, f"{name!r} takes no column; name the ones that it needs as parameters.")
        for parameter in function.parameters:
            if parameter in table.forbidden:
                mistakes.add(file, function.line, f"{name!r} uses {parameter!r}, which {table.forbidden[parameter]}.")
        return Feature(name, kind, computed=True, uses=function.parameters, line=line)
    if column is None:
        if table.columns:
            advice = table.unknown(name, list(functions))
            mistakes.add(where, line, f"Features: {name!r} is no column and no function of {FEATURES_FILE}{advice}")
    elif name in table.forbidden:
        mistakes.add(where, line, f"Features: {name!r} {table.forbidden[name]}; it cannot be a feature.")
    elif column.type not in (UNKNOWN, *(_NUMERIC if kind == "numeric" else _CATEGORICAL)):
        mistakes.add(
            where,
            line,
            f"Features: {name!r} is a {column.type} and cannot be {kind}; compute something from it "
            f"in {FEATURES_FILE}.",
        )
    return Feature(name, kind, uses=(name,), line=line)


def _models(root: y.Section, task: Task) -> tuple[tuple[Candidate, ...], tuple[Candidate, ...]]:
    default = (Candidate("prior", "prior", {}), Candidate("linear", "linear", {}))
    section = root.section("models", "models", "name at least one candidate, like {candidates: {boosted_trees: {}}}.")
    if section is None:
        return default, ()
    families: dict[str, tuple[Candidate, ...]] = {}
    for family in ("baselines", "candidates"):
        part = section.section(family, f"models, {family}")
        if part is not None:
            families[family] = tuple(_candidate(name, cell, task) for name, cell in part.sections("model"))
    section.finish()
    baselines, candidates = families.get("baselines", default), families.get("candidates", ())
    if not candidates:
        section.wrong("there is no candidate; name at least one, like {candidates: {boosted_trees: {}}}.")
    for name in {model.name for model in baselines} & {model.name for model in candidates}:
        section.wrong(
            f"{name!r} is a baseline and a candidate; give one of them another name and a 'kind'.", "candidates"
        )
    return baselines, candidates


def _candidate(name: str, cell: y.Section, task: Task) -> Candidate:
    kinds = tuple(SETTINGS)
    if not _MODEL_NAME.fullmatch(name):
        cell.wrong("a model's name is a letter and then letters, digits or _.")
    if "kind" not in cell and name not in kinds:
        cell.wrong(f"its name is no kind of model; say 'kind: ' and one of {y.listed(kinds)}{_near(name, kinds)}")
    kind = cell.choose("kind", kinds, name if name in kinds else "prior")
    allowed = SETTINGS[kind]
    if kind == "linear":  # one name for two estimators: the strength is C for classes and alpha for numbers
        absent = ("alpha", "l1_ratio") if task != "regression" else ("C", "class_weight", "l1_ratio")
        allowed = {setting: types for setting, types in allowed.items() if setting not in absent}
    elif task == "regression":
        allowed = {setting: types for setting, types in allowed.items() if setting != "class_weight"}
    settings: dict[str, Any] = {}
    for setting in cell.names():
        if setting == "kind":
            continue
        value = cell.get(setting, y.plain, None)
        if setting in REFUSED_SETTINGS:
            cell.wrong(f"{setting!r} cannot be set: {REFUSED_SETTINGS[setting]}.", setting)
        elif setting not in allowed:
            if kind in (name, cell.get("kind", y.text, name)):
                cell.wrong(f"{kind} has no setting {setting!r}{y.suggest(setting, allowed)}", setting)
        elif type(value) not in allowed[setting]:
            cell.wrong(f"{setting!r} should be {setting_type(allowed[setting])}, not {value!r}.", setting)
        else:
            settings[setting] = value
    return Candidate(name, kind, settings, cell.line)


def _near(name: str, kinds: Sequence[str]) -> str:
    advice = y.suggest(name, kinds)
    return advice if "did you mean" in advice else "."


def _evaluation(root: y.Section, task: Task, table: _Cleaned) -> Evaluation:
    default = Evaluation()
    section = root.section("evaluation", "evaluation")
    if section is None:
        return default
    groups = section.get("groups", y.list_of(y.text), default.groups)
    read = Evaluation(
        groups=groups,
        threshold=section.get("threshold", _threshold, default.threshold),
        bootstrap=section.get("bootstrap", _count(1), default.bootstrap),
        importance_rows=section.get("importance_rows", _count(1), default.importance_rows),
        importance_repeats=section.get("importance_repeats", _count(1), default.importance_repeats),
        minimum_group=section.get("minimum_group", _count(1), default.minimum_group),
    )
    section.finish()
    if task != "binary" and "threshold" in section:
        section.wrong(f"'threshold' goes with binary only, not with {task}.", "threshold")
    for name in groups:
        column = table.columns.get(name)
        if column is None:
            if table.columns:
                section.wrong(f"there is no column {name!r}{table.unknown(name)}", "groups")
        elif "sensitive" in column.roles:
            section.wrong(
                f"a report by {name!r} would show its values, and it is sensitive; use role: excluded for a "
                "column that is only kept out of the features.",
                "groups",
            )
        elif column.type not in (UNKNOWN, *_CATEGORICAL):
            section.wrong(f"{name!r} is a {column.type}; groups are texts, whole numbers or truth values.", "groups")
    return read


def _threshold(node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode) and node.value == "prevalence":
        return "prevalence"
    try:
        return y.share(node)
    except y.WrongError:
        raise y.WrongError((y.line_of(node), "should be a probability between 0 and 1, or prevalence.")) from None


def _count(least: int) -> Callable[[yaml.Node], int]:
    def read(node: yaml.Node) -> int:
        value = y.integer(node)
        if value < least:
            raise y.WrongError((y.line_of(node), f"should be at least {least}, not {value}."))
        return value

    return read


def _gates(root: y.Section, task: Task, baselines: Sequence[Candidate]) -> Gates:
    metrics, names = METRICS[task], [model.name for model in baselines]
    default = Gates(metrics[0], beat=tuple(names))
    section = root.section("gates", "gates")
    if section is None:
        return default
    metric = section.get("metric", y.text, default.metric)
    if metric not in metrics:
        section.wrong(f"{metric!r} is no metric of a {task} task{y.suggest(metric, metrics)}", "metric")
    bounds: dict[str, dict[str, float]] = {}
    for key in ("minimum", "maximum"):
        part = section.section(key, f"gates, {key}")
        bounds[key] = {}
        for name in part.names() if part else ():
            value = part.get(name, y.number, None) if part else None
            if part and name not in metrics:
                part.wrong(f"{name!r} is no metric of a {task} task{y.suggest(name, metrics)}", name)
            elif value is not None:
                bounds[key][name] = value
    beat = section.get("beat", y.list_of(y.text), default.beat)
    agreement = section.get("agreement", y.share, default.agreement)
    section.finish()
    for name in beat:
        if name not in names:
            section.wrong(f"'beat' names {name!r}, which is no baseline{y.suggest(name, names)}", "beat")
    for name in bounds["minimum"].keys() & bounds["maximum"].keys():
        if bounds["minimum"][name] > bounds["maximum"][name]:
            section.wrong(f"the minimum of {name!r} is above its maximum; nothing passes.", "minimum")
    return Gates(metric, bounds["minimum"], bounds["maximum"], beat, agreement)


def _limits(root: y.Section) -> Limits:
    default = Limits()
    section = root.section("limits", "limits")
    if section is None:
        return default
    limits = Limits(section.get("warn", y.share, default.warn), section.get("refuse", y.share, default.refuse))
    section.finish()
    if limits.warn > limits.refuse:
        section.wrong(f"warn {limits.warn} is above refuse {limits.refuse}; a warning would come after the refusal.")
    return limits


def _owner(node: yaml.Node) -> str:
    written = y.text(node)
    if not _OWNER.fullmatch(written):
        raise y.WrongError((y.line_of(node), f"has {written!r}; an owner is team:name or an e-mail address."))
    return written


def _supplier(folder: Path, root: y.Section, mistakes: y.Mistakes) -> str | None:
    name = root.get("supplier", y.text, None)
    if name is None:
        return None
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*\.py", name):
        root.wrong(f"'supplier' is {name!r}; it should be a Python file in the dataset's folder.", "supplier")
        return None
    file = folder / name
    if not file.is_file():
        root.wrong(f"'supplier' names {name!r}, and the folder has no such file.", "supplier")
        return name
    before = bool(mistakes)
    deliver = read_functions(file, mistakes).get("deliver")
    if deliver is None:
        if bool(mistakes) == before:
            mistakes.add(file, 1, "A supplier defines deliver(landing, through), which this file does not.")
    elif deliver.parameters[:2] != ("landing", "through"):
        mistakes.add(
            file, deliver.line, f"deliver takes (landing, through), here it takes ({', '.join(deliver.parameters)})."
        )
    return name


def _with_roles(contract: Contract, answer: Expression | None) -> dict[str, Source]:
    """The sources with the roles that follow from target, split and features added to their columns."""
    more: dict[tuple[str, str], set[Role]] = {}

    def add(names: Sequence[str], role: Role) -> None:
        for name in names:
            place = (contract.spine, name)
            for join in contract.joins:
                if name in join.columns:
                    place = (join.source, join.columns[name])
            more.setdefault(place, set()).add(role)

    add(answer.columns if answer else (), "target")
    add(contract.split.group, "group")
    add([feature.name for feature in contract.features if not (feature.computed or feature.window)], "feature")
    return {
        name: dataclasses.replace(
            source,
            columns={
                column: dataclasses.replace(rules, roles=rules.roles | more[name, column])
                if (name, column) in more
                else rules
                for column, rules in source.columns.items()
            },
        )
        for name, source in contract.sources.items()
    }
