"""The stages of a dataset: their names, what stands on what, and what each depends on besides data.

What belongs here: the static graph that a contract implies. What does not: Dagster's view of it (``specs``), versions
(``plan``), or the work (``stages``).
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from mlops_assets.checks.verdict import Check
from mlops_assets.contract.model import Contract

Scope = Literal["reference", "batch", "release"]
Window = Literal["same", "back", "whole", "through"]

_SILENT_FIELDS = frozenset({"line", "description", "folder", "owners"})
"""Fields of a contract that change no value, so that editing them makes nothing stale."""

_LOUD_ROLES = frozenset({"sensitive"})
"""Of a column's roles, those that what is written depends on; the others follow from target, split and features."""

_ONLY_BATCH = "all"

_PART_THRESHOLDS = ("adversarial", "answers", "chance", "drift", "recurring", "seasonal", "twins")
"""What the audit of a split report depends on."""

_THRESHOLDS = ("alone", "reference", "drift", "chance", "seasonal", "missing", "unseen")
"""Of a contract's thresholds, those by which features are judged."""

_AUDITORS_OF_SQL = ("mlops_assets.checks.batch", "mlops_assets.checks.datatests", "mlops_assets.stages.transform")


@dataclass(frozen=True, slots=True)
class Upstream:
    """An input: the ``same`` batch of a stage, the ``whole`` of an unpartitioned one, or all batches ``through`` it.

    ``back`` are the ``Graph.look_back`` batches before it, of which any may be absent.
    """

    stage: str
    window: Window


@dataclass(frozen=True, slots=True)
class Stage:
    """One asset of a dataset. ``modules`` are where its work begins; ``settings`` what of the contract it depends on.

    ``rules`` is what its audit depends on, ``auditors`` where the audit begins.
    """

    name: str
    scope: Scope
    kind: Literal["table", "json", "estimator"]
    upstream: tuple[Upstream, ...]
    modules: tuple[str, ...]
    auditors: tuple[str, ...]
    settings: Mapping[str, Any]
    rules: Mapping[str, Any]
    checks: tuple[Check, ...]
    description: str
    files: tuple[Path, ...] = ()


class Graph:
    """The stages of one contract, upstream before downstream."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.stages: Mapping[str, Stage] = {stage.name: stage for stage in _stages(contract)}

    def asset(self, stage: str) -> str:
        """The asset's name in the store: ``dataset/stage``."""
        return f"{self.contract.name}/{stage}"

    def path(self, stage: str) -> list[str]:
        """The asset's key in Dagster."""
        return self.asset(stage).split("/")

    def stage_of(self, asset: str) -> str:
        """The stage of an asset's name."""
        return asset.removeprefix(f"{self.contract.name}/")

    def of_scope(self, scope: Scope) -> list[Stage]:
        """Stages of one scope, upstream first."""
        return [stage for stage in self.stages.values() if stage.scope == scope]

    @cached_property
    def partitioned(self) -> bool:
        """Whether the dataset comes in batches."""
        return self.contract.partitions.cadence != "none"

    @cached_property
    def look_back(self) -> int:
        """How many batches before its own a batch's features stand on."""
        return self.contract.windows.look_back if self.contract.windows.each else 0

    @cached_property
    def whole(self) -> str:
        """The one batch of an unpartitioned asset."""
        return _ONLY_BATCH


def plain(value: Any) -> Any:
    """A contract's values as plain JSON, without what changes no value."""
    if is_dataclass(value) and not isinstance(value, type):
        found = {f.name: plain(getattr(value, f.name)) for f in fields(value) if f.name not in _SILENT_FIELDS}
        if "roles" in found:
            found["roles"] = [role for role in found["roles"] if role in _LOUD_ROLES]
        return found
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(plain(item) for item in value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return value.name
    return value


def digest(value: Any) -> str:
    """A short digest (128 bit) of plain JSON, for settings and recipes."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _stages(contract: Contract) -> Iterator[Stage]:
    # The check lists are data; importing them costs nothing until an audit runs.
    from mlops_assets.checks import declared

    sql = contract.sql
    partitions = plain(contract.partitions) | {"end": None}
    spine_and_joined = [contract.spine, *(join.source for join in contract.joins), *(sql.sources if sql else ())]
    columns = {name: plain(source.columns) for name, source in contract.sources.items()}

    def stage(name: str, scope: Scope, kind: Any, upstream: list[Upstream], modules: list[str], **more: Any) -> Stage:
        auditor = "mlops_assets.checks.release" if scope == "release" else "mlops_assets.checks.batch"
        return Stage(
            name=name,
            scope=scope,
            kind=kind,
            upstream=tuple(upstream),
            modules=tuple(f"mlops_assets.stages.{module}" for module in modules),
            checks=declared.checks(contract, name),
            **({"rules": {}, "auditors": (auditor,)} | more),
        )

    for source in contract.sources.values():
        # only where there is one, so that whole data has the versions that it has without any sample
        sample = contract.sample if source.name == contract.spine else None
        yield stage(
            f"raw/{source.name}",
            "batch" if source.kind == "batch" else "reference",
            "table",
            [],
            ["ingest", "sample"] if sample else ["ingest"],
            settings={"source": plain(source), "partitions": partitions}
            | ({"sample": {"share": sample.share, "by": list(sample.by)}} if sample else {}),
            description=source.description or f"Rows of {source.name} as delivered, with their file and line.",
            **_expected(contract, source.name),
        )

    def raw_inputs(names: list[str]) -> list[Upstream]:
        return [
            Upstream(f"raw/{name}", "same" if contract.sources[name].kind == "batch" else "whole")
            for name in dict.fromkeys(names)
        ]

    batch_sources = [name for name, source in contract.sources.items() if source.kind == "batch"]
    yield stage(
        "quarantine",
        "batch",
        "table",
        raw_inputs(batch_sources),
        ["sift", "clean"],
        settings={"columns": {n: columns[n] for n in batch_sources}, "sources": _keys_of(contract, batch_sources)}
        | _admitted(contract, batch_sources),
        description="Rows that the contract refused, each with its reasons, source file and line.",
    )
    yield stage(
        "cleaned",
        "batch",
        "table",
        raw_inputs(spine_and_joined),
        ["sift", "clean", "transform"] if sql else ["sift", "clean"],
        settings={
            "columns": {n: columns[n] for n in spine_and_joined},
            "sources": _keys_of(contract, spine_and_joined),
            "spine": contract.spine,
            "joins": plain(contract.joins),
        }
        | _admitted(contract, spine_and_joined)
        | ({"dbt": dict(sql.code)} if sql else {}),
        rules={"limits": plain(contract.limits), "warn_below": [join.warn_below for join in contract.joins]}
        | ({"dbt": dict(sql.rules)} if sql else {}),
        description=(sql.description if sql else "")
        or "Accepted rows: typed, without duplicates, joined, ordered by time and key.",
        **({"auditors": _AUDITORS_OF_SQL} if sql else {}),
    )
    yield stage(
        "splits",
        "batch",
        "table",
        [Upstream("cleaned", "same")],
        ["split"],
        settings={"key": contract.sources[contract.spine].key, "split": plain(contract.split)},
        description="A bucket for every cleaned row by a salted hash of its key or group; it never moves.",
    )
    features_py = contract.folder / "features.py"
    looks_back = bool(contract.windows.each) and contract.windows.look_back > 0
    yield stage(
        "features",
        "batch",
        "table",
        [Upstream("cleaned", "same"), *([Upstream("cleaned", "back")] if looks_back else [])],
        ["features"],
        settings={
            "features": plain(contract.features),
            "target": plain(contract.target),
            "groups": plain(contract.evaluation.groups),
        }
        | _windows(contract),
        rules={"checks": {name: plain(getattr(contract.thresholds, name)) for name in _THRESHOLDS}},
        auditors=(
            "mlops_assets.checks.batch",
            "mlops_assets.checks.features",
            *(("mlops_assets.checks.parity",) if declared.alike(contract, "features") else ()),
        ),
        description="What the model may know of each row, and its answer.",
        files=(features_py,) if any(feature.computed for feature in contract.features) else (),
    )
    if contract.windows.each:
        yield stage(
            "online",
            "batch",
            "table",
            [Upstream("cleaned", "same")],
            ["online"],
            settings=_looked_up(contract),
            description="What serving must know of the past: each row's entities, time and values. "
            "The newest batches also lie in a SQLite file in the home, where a request finds them.",
        )

    window: Window = "through" if contract.partitions.cadence != "none" else "same"
    rows = [Upstream("features", window), Upstream("splits", window)]
    fitted = {
        "features": plain(contract.features),
        "target": plain(contract.target),
        "split": plain(contract.split),
        "models": plain([*contract.baselines, *contract.candidates]),
        "threshold": contract.evaluation.threshold,
    }
    spine = contract.sources[contract.spine]
    yield stage(
        "split_report",
        "release",
        "json",
        [*rows, Upstream("cleaned", window)],
        ["parts"],
        settings={
            "key": spine.key,
            "event_time": plain(spine.event_time),
            "cadence": contract.partitions.cadence,
            "split": plain(contract.split),
            "features": plain(contract.features),
            "target": plain(contract.target),
        },
        rules={
            "thresholds": {name: getattr(contract.thresholds, name) for name in _PART_THRESHOLDS},
            "hidden": sorted(contract.sensitive() & {*spine.key, *contract.split.group}),
        },
        description="How training, validation and test rows compare: keys and groups, order, answers, drift, twins.",
        auditors=("mlops_assets.checks.parts",),
    )
    yield stage(
        "candidate_model",
        "release",
        "estimator",
        rows,
        ["candidate", "selection"],
        settings=fitted,
        description="Baselines and candidate, fitted on the training and validation rows of the release.",
    )
    yield stage(
        "evaluation_report",
        "release",
        "json",
        # by it the parts are judged before anybody looks at an answer; fitting must not stand on what saw the test rows
        [Upstream("split_report", "same"), Upstream("candidate_model", "same"), *rows],
        ["evaluate", "selection"],
        settings={
            "evaluation": plain(contract.evaluation),
            "hidden": sorted(contract.sensitive() & set(contract.evaluation.groups)),
            "metric": contract.gates.metric,
            "target": plain(contract.target),
            "split": plain(contract.split),
        },
        rules={"gates": {name: value for name, value in plain(contract.gates).items() if name != "agreement"}},
        description="The candidate and its baselines on the test rows: metrics with intervals, curves, groups.",
    )
    yield stage(
        "trained_model",
        "release",
        "estimator",
        [Upstream("evaluation_report", "same"), Upstream("candidate_model", "same"), *rows],
        ["final", "selection"],
        settings=fitted,
        rules={"agreement": contract.gates.agreement},
        description="The candidate's settings fitted on every row of the release: what would be served.",
    )


def _expected(contract: Contract, source: str) -> dict[str, Any]:
    """What the audit of a raw stage depends on besides, only where analysts expect something of it."""
    suite = plain(contract.expectations_of(source))
    auditors = ("mlops_assets.checks.batch", "mlops_assets.checks.expectations")
    return {"rules": {"expectations": suite}, "auditors": auditors} if suite else {}


def _windows(contract: Contract) -> dict[str, Any]:
    """What features from the past depend on, only where there are some."""
    if not contract.windows.each:
        return {}
    return {"windows": plain(contract.windows) | {"event_time": plain(contract.sources[contract.spine].event_time)}}


def _looked_up(contract: Contract) -> dict[str, Any]:
    """What the rows of the past depend on that serving looks up; how far back windows reach changes none of them."""
    return {
        "windows": [{"name": each.name, "by": each.by, "of": each.of} for each in contract.windows.each],
        "time": contract.windows.time,
        "event_time": plain(contract.sources[contract.spine].event_time),
    }


def _admitted(contract: Contract, names: list[str]) -> dict[str, Any]:
    """The digest of what people said for rows of these sources: a manifest holds settings, and no values of rows."""
    said = [plain(each) for name in dict.fromkeys(names) for each in contract.admitted_of(name)]
    return {"admitted": digest(said)} if said else {}


def _keys_of(contract: Contract, names: list[str]) -> dict[str, Any]:
    """What accepting rows depends on besides column rules; where files lie does not."""
    return {
        name: {
            "key": contract.sources[name].key,
            "event_time": plain(contract.sources[name].event_time),
            "missing": contract.sources[name].format.missing,
            "decimal": contract.sources[name].format.decimal,
            "strip": contract.sources[name].format.strip,
        }
        for name in dict.fromkeys(names)
    }
