"""A dataset folder read into a ``Contract``, or all its mistakes at once.

What belongs here: which parts a ``dataset.yaml`` has, how they become one ``Contract``, and what no other part reads.
What does not: the parts, each of which has a module that reads it (``partitions``, ``tables``, ``target``, ``split``,
``features``, ``windows``, ``candidates``, ``evaluation``, ``thresholds``, ``admitted``, ``automation``), YAML itself
(``yamlnodes``), any look at data. Nothing here imports pandas, pyarrow or Dagster, because "nothing to do" must be
found out in milliseconds.

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
from collections.abc import Sequence
from pathlib import Path

import yaml

from mlops_assets.contract import yamlnodes as y
from mlops_assets.contract.admitted import read_admitted
from mlops_assets.contract.automation import read_automation
from mlops_assets.contract.candidates import read_models
from mlops_assets.contract.cleaned import cleaned
from mlops_assets.contract.evaluation import read_evaluation, read_gates
from mlops_assets.contract.expectations import read_expectations
from mlops_assets.contract.expression import Expression
from mlops_assets.contract.features import read_features
from mlops_assets.contract.functions import read_functions
from mlops_assets.contract.model import Contract, Limits, Role, Source
from mlops_assets.contract.partitions import read_partitions
from mlops_assets.contract.pointintime import not_brought
from mlops_assets.contract.split import read_split
from mlops_assets.contract.tables import SOURCE_NAME, joined_sources, read_joins, read_sources, read_spine
from mlops_assets.contract.target import read_target
from mlops_assets.contract.thresholds import read_thresholds
from mlops_assets.dbtproject.cache import sql_project
from mlops_assets.dbtproject.shape import FOLDER
from mlops_assets.errors import ContractError

FILE = "dataset.yaml"
_OWNER = re.compile(r"team:[A-Za-z0-9_-]+|[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}")


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
    partitions = read_partitions(root)
    sources = read_sources(root, partitions)
    spine = read_spine(root, sources, joined_sources(root))
    joins = read_joins(root, sources, spine)
    table = cleaned(sources, spine, joins)
    target, answer = read_target(root, table)
    table.forbid(target, answer, sources, spine, joins)
    split = read_split(root, partitions, sources.get(spine), table)
    features, windows = read_features(root, table, partitions, sources.get(spine))
    baselines, candidates = read_models(root, target.task)
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
        evaluation=read_evaluation(root, target.task, table),
        gates=read_gates(root, target.task, baselines),
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
