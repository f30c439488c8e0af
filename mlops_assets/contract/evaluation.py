"""The part of a contract that says how models are judged: ``evaluation`` and ``gates`` of ``dataset.yaml``.

What belongs here: reading those sections into values of ``model``. What does not: which models there are
(``candidates``), checks of data (``thresholds``), metrics (``vocabulary`` names them, ``stages`` computes them).
"""

from collections.abc import Sequence
from typing import Any

import yaml

from mlops_assets.contract import yamlnodes as y
from mlops_assets.contract.cleaned import Cleaned
from mlops_assets.contract.model import Candidate, Evaluation, Gates, Task
from mlops_assets.contract.tables import UNKNOWN
from mlops_assets.contract.vocabulary import FEATURE_TYPES, METRICS


def read_evaluation(root: y.Section, task: Task, table: Cleaned) -> Evaluation:
    """The section ``evaluation``; every mistake is told to ``root.mistakes``."""
    default = Evaluation()
    section = root.section("evaluation", "evaluation")
    if section is None:
        return default
    groups = section.get("groups", y.list_of(y.text), default.groups)
    read = Evaluation(
        groups=groups,
        threshold=section.get("threshold", _threshold, default.threshold),
        bootstrap=section.get("bootstrap", y.positive, default.bootstrap),
        importance_rows=section.get("importance_rows", y.positive, default.importance_rows),
        importance_repeats=section.get("importance_repeats", y.positive, default.importance_repeats),
        minimum_group=section.get("minimum_group", y.positive, default.minimum_group),
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
        elif column.type not in (UNKNOWN, *FEATURE_TYPES["categorical"]):
            section.wrong(f"{name!r} is a {column.type}; groups are texts, whole numbers or truth values.", "groups")
    return read


def read_gates(root: y.Section, task: Task, baselines: Sequence[Candidate]) -> Gates:
    """The section ``gates``, by default to beat all ``baselines``; every mistake is told to ``root.mistakes``."""
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


def _threshold(node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode) and node.value == "prevalence":
        return "prevalence"
    try:
        return y.share(node)
    except y.WrongError:
        raise y.WrongError((y.line_of(node), "should be a probability between 0 and 1, or prevalence.")) from None
