"""Outcomes as Dagster events: materializations with exact versions, then the verdicts that judge them.

What belongs here: turning what was recorded into metadata, tags and evaluations, and logging them in the order that
Dagster needs. What does not: deciding anything. Metadata is made of plain Python values in one place (``plain``):
numpy scalars fail only after the work is done.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from mlops_assets.assets.graph import Graph, Stage, digest
from mlops_assets.assets.publish import Outcome, Session
from mlops_assets.assets.reasons import Explanation
from mlops_assets.assets.specs import Specs
from mlops_assets.assets.staleness import UP_TO_DATE, Staleness
from mlops_assets.assets.unreported import unmark
from mlops_assets.checks.verdict import Verdict
from mlops_assets.store.manifest import Input, Manifest
from mlops_assets.visible import visible

_SHOWN_INPUTS = 50
_SHOWN_EXAMPLES = 20
_SHOWN_REASONS = 20


class Reporter:
    """Tells Dagster of the outcomes of one run's steps.

    The events of a batch are written in one transaction, once its work is done: an open one would lock others out.
    """

    def __init__(self, context: dg.AssetExecutionContext, session: Session, specs: Specs) -> None:
        self._context = context
        self._session = session
        self._specs = specs
        self._pointers: dict[tuple[dg.AssetKey, str | None], int] = {}

    def log(self, outcomes: Sequence[Outcome]) -> None:
        """Log a batch's outcomes in order: for each its materialization, then the verdicts that judge it."""
        # Storages and their SQLAlchemy are loaded by whoever runs, not by whoever only loads the graph.
        from mlops_assets.assets import dagster_private

        told = [(outcome, self._explained(outcome)) for outcome in outcomes]
        with dagster_private.one_transaction(self._context.instance):
            for outcome, explanation in told:
                self._log(outcome, explanation)
        for outcome in outcomes:
            self._told(outcome)

    def _told(self, outcome: Outcome) -> None:
        if not outcome.failed:
            asset = self._session.graph.asset(outcome.stage)
            unmark(self._session.home, self._session.plan.branch, asset, outcome.batch)

    def _partition(self, stage: Stage, batch: str) -> str | None:
        return None if self._specs.partitions_of(stage) is None else batch

    def _explained(self, outcome: Outcome) -> Explanation | None:
        """How a version that is published stands now: it may be new, and something above it stale."""
        if outcome.failed or self._session.plan.branch != "main":
            return None
        stage = self._session.graph.stages[outcome.stage]
        return Staleness(self._session.plan).explain(stage, outcome.batch)

    def _log(self, outcome: Outcome, explanation: Explanation | None) -> None:
        stage = self._session.graph.stages[outcome.stage]
        partition = self._partition(stage, outcome.batch)
        materialization: dg.AssetMaterialization | None = None
        if not outcome.failed and outcome.manifest is not None:
            key, shown = self._specs.key(stage.name), metadata(self._session.graph, outcome)
            versions = self._tags(outcome.manifest)
            if self._session.plan.branch != "main":
                # What runs elsewhere than on main may change no status: observations, and never an evaluation.
                self._context.log_event(dg.AssetObservation(key, partition=partition, metadata=shown, tags=versions))
                return
            materialization = dg.AssetMaterialization(key, partition=partition, metadata=shown, tags=versions)
        elif self._session.plan.branch != "main":
            return
        from mlops_assets.assets import dagster_private

        checked = [evaluation(self._specs, stage, verdict, partition) for verdict in outcome.verdicts]
        if explanation is not None:
            checked.append(up_to_date(self._specs, stage, explanation, partition))
        target = dagster_private.log_partition(self._context, materialization, checked)
        if target is not None:
            self._pointers[self._specs.key(stage.name), partition] = target.storage_id

    def _tags(self, manifest: Manifest) -> dict[str, str]:
        """Versions as Dagster reads them. Of a partitioned input its own tag cannot be exact; the manifest is.

        Dagster asks whether a partitioned input has a newer event than the one that the pointer names.
        """
        found = {
            "dagster/data_version": str(manifest.version),
            "dagster/data_version_is_user_provided": "true",
            "dagster/code_version": manifest.code_version,
        }
        by_asset: dict[str, list[Input]] = {}
        for item in manifest.inputs:
            by_asset.setdefault(item.asset, []).append(item)
        for asset, items in by_asset.items():
            upstream = self._specs.graph.stages[self._specs.graph.stage_of(asset)]
            key = self._specs.key(upstream.name)
            whole = self._specs.partitions_of(upstream) is None
            version = str(items[0].version) if whole else digest([[item.partition, item.version] for item in items])
            found[f"dagster/input_data_version/{key.to_user_string()}"] = version
            pointer = self._pointer(key, [None] if whole else self._mapped(upstream, items, manifest))
            if pointer is not None:
                found[f"dagster/input_event_pointer/{key.to_user_string()}"] = str(pointer)
        return found

    def _mapped(self, upstream: Stage, items: Sequence[Input], manifest: Manifest) -> list[str | None]:
        """The partitions that Dagster maps to this one.

        Of a window also the test's, which fitting must not read; not the earlier ones that a batch looks back at.
        """
        stage = self._specs.graph.stages[self._specs.graph.stage_of(manifest.asset)]
        if any(each.stage == upstream.name and each.window == "through" for each in stage.upstream):
            named = self._session.plan.calendar.cadence == "named"
            return [key for key in self._session.plan.heads(upstream.name) if named or key <= manifest.batch]
        return [item.partition for item in items if item.version and item.partition == manifest.batch]

    def _pointer(self, key: dg.AssetKey, partitions: Sequence[str | None]) -> int | None:
        """The newest event that Dagster has of the partitions that were read."""
        from mlops_assets.assets import dagster_private

        unknown = [partition for partition in partitions if (key, partition) not in self._pointers]
        if unknown:
            named = None if unknown == [None] else [str(partition) for partition in unknown]
            for partition, target in dagster_private.latest_materializations(
                self._context.instance, key, named
            ).items():
                self._pointers[key, partition] = target.storage_id
        return max((self._pointers[key, each] for each in partitions if (key, each) in self._pointers), default=None)


def evaluation(specs: Specs, stage: Stage, verdict: Verdict, partition: str | None) -> dg.AssetCheckEvaluation:
    """One verdict as Dagster records it."""
    shown: dict[str, Any] = {"n": verdict.n, "failed": verdict.failed, "share": round(verdict.share, 6)}
    if verdict.threshold is not None:
        shown["threshold"] = verdict.threshold
    if verdict.examples:
        examples = verdict.examples[:_SHOWN_EXAMPLES]
        shown["examples"] = dg.MetadataValue.md("\n".join(f"- {_as_text(text)}" for text in examples))
    for name, value in verdict.details.items():
        shown[name] = plain(value)
    return dg.AssetCheckEvaluation(
        asset_key=specs.key(stage.name),
        check_name=verdict.check,
        passed=verdict.passed,
        metadata=shown,
        severity=dg.AssetCheckSeverity.ERROR if verdict.severity == "block" else dg.AssetCheckSeverity.WARN,
        description=verdict.sentence,
        blocking=verdict.severity == "block",
        partition=partition,
    )


def up_to_date(specs: Specs, stage: Stage, explanation: Explanation, partition: str | None) -> dg.AssetCheckEvaluation:
    """How a version stands, as the check that every stage has."""
    said = explanation.sentences
    shown: dict[str, Any] = {"state": explanation.state}
    if said:
        more = [f"and {len(said) - _SHOWN_REASONS} more"] if len(said) > _SHOWN_REASONS else []
        shown["reasons"] = dg.MetadataValue.md("\n".join(f"- {text}" for text in [*said[:_SHOWN_REASONS], *more]))
    return dg.AssetCheckEvaluation(
        asset_key=specs.key(stage.name),
        check_name=UP_TO_DATE.name,
        passed=explanation.passed,
        metadata=shown,
        severity=dg.AssetCheckSeverity.WARN,
        description=said[0] if said else UP_TO_DATE.description,
        blocking=False,
        partition=partition,
    )


def metadata(graph: Graph, outcome: Outcome) -> dict[str, Any]:
    """What the UI shows of a version: where it is, what it holds, what made it."""
    manifest = outcome.manifest
    assert manifest is not None
    shown: dict[str, Any] = {
        "status": outcome.status,
        "data_version": str(manifest.version),
        "manifest": manifest.id,
        "code_version": manifest.code_version,
        "git_commit": manifest.git.get("commit", "none") + ("-dirty" if manifest.git.get("dirty") else ""),
        "inputs": inputs_shown(manifest.inputs),
        "inputs_digest": digest([[item.asset, item.partition, item.version] for item in manifest.inputs]),
    }
    if manifest.blob:
        shown["dagster/uri"] = manifest.blob.path
        shown["bytes"] = manifest.blob.size
    if manifest.rows is not None:
        shown[
            "dagster/partition_row_count" if graph.stages[outcome.stage].scope != "reference" else "dagster/row_count"
        ] = manifest.rows
    if manifest.schema:
        shown["dagster/column_schema"] = _schema(tuple(manifest.schema))
    if manifest.files:
        shown["files"] = plain([{key: file[key] for key in ("name", "size", "sha256")} for file in manifest.files])
    if outcome.sentences:
        shown["notes"] = dg.MetadataValue.md("\n".join(f"- {text}" for text in outcome.sentences))
    for name, value in manifest.facts.items():
        if isinstance(value, int | float | str):
            shown[f"fact/{name}"] = value
    shown |= outcome.preview.get("links", {}) | outcome.preview.get("numbers", {})
    if "rows" in outcome.preview:
        shown["preview"] = dg.MetadataValue.md(_markdown(outcome.preview["rows"]))
    for name, picture in outcome.preview.get("plots", {}).items():
        data = base64.b64encode(picture.encode()).decode()
        shown[f"plot/{name}"] = dg.MetadataValue.md(f"![{name}](data:image/svg+xml;base64,{data})")
    return shown


def inputs_shown(inputs: Sequence[Input]) -> dg.MetadataValue:
    """The exact inputs: all of them when few, else the ends; the manifest holds all."""
    lines = [f"- {item.asset} [{item.partition}] `{item.version or 'absent'}`" for item in inputs]
    if len(lines) > _SHOWN_INPUTS:
        half = _SHOWN_INPUTS // 2
        lines = [*lines[:half], f"- ... {len(lines) - 2 * half} more in the manifest ...", *lines[-half:]]
    return dg.MetadataValue.md("\n".join(lines) or "none")


def plain(value: Any) -> Any:
    """Numbers and texts as they are, anything else as JSON."""
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple) and value and all(isinstance(item, Mapping) for item in value):
        return dg.MetadataValue.md(_markdown(list(value)))
    return dg.MetadataValue.json(json.loads(json.dumps(value, default=str)))


_MARKS = re.compile(r"[\\`*\[\]|~]")
"""Signs that mean something to Markdown within a line."""
_SCHEMAS: dict[tuple[tuple[str, str], ...], dg.MetadataValue] = {}


def _schema(schema: tuple[tuple[str, str], ...]) -> dg.MetadataValue:
    if schema not in _SCHEMAS:
        columns = [dg.TableColumn(name=name, type=kind) for name, kind in schema]
        _SCHEMAS[schema] = dg.MetadataValue.table_schema(dg.TableSchema(columns=columns))
    return _SCHEMAS[schema]


def _markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "no rows"
    names = list(rows[0])
    lines = ["| " + " | ".join(_cell(name) for name in names) + " |", "|" + " --- |" * len(names)]
    lines += ["| " + " | ".join(_cell(row.get(name)) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    return "" if value is None else _as_text(str(value))


def _as_text(text: str) -> str:
    """What Markdown shows as the text itself: a value of a row must bring no tags, links or unseen letters along."""
    return visible(_MARKS.sub(r"\\\g<0>", text.replace("\n", " ")).replace("&", "&amp;").replace("<", "&lt;"))
