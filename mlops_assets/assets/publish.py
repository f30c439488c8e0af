"""Write, audit, publish: one stage and one batch from its inputs to a head, or to a refusal.

What belongs here: the order of things and what is recorded. What does not: the work itself (``work``), what is out of
date (``plan``), and telling Dagster (``events``). Nothing here imports Dagster.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from mlops_assets.assets.code import environment_digest, git_state
from mlops_assets.assets.graph import Graph, Stage
from mlops_assets.assets.landing import Delivered
from mlops_assets.assets.plan import Plan, Resolution
from mlops_assets.assets.unreported import mark, marked
from mlops_assets.assets.views import ONLINE, View
from mlops_assets.assets.work import EVIDENCE, Workbench
from mlops_assets.checks.verdict import Verdict
from mlops_assets.errors import ConflictError, CorruptError, DeliveryError, PurgedError, RefusedError
from mlops_assets.home import Home
from mlops_assets.stages.made import Made
from mlops_assets.store.manifest import Blob, Manifest
from mlops_assets.store.names import segment
from mlops_assets.store.store import Store, account
from mlops_assets.wording import counted

Status = Literal["computed", "reused", "audited", "refused", "stopped"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one stage of one batch.

    ``computed``: a version was made and published. ``reused``: a recorded version of the same recipe was published, or
    stands already. ``audited``: only the rules had changed. ``refused``: a blocking check failed. ``stopped``: what it
    stands on was refused, nothing was tried. ``verdicts`` carry their examples when they were found in this process.
    """

    stage: str
    batch: str
    status: Status
    manifest: Manifest | None = None
    verdicts: tuple[Verdict, ...] = ()
    sentences: tuple[str, ...] = ()
    previous: str | None = None
    preview: Mapping[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether no accepted version stands behind this outcome."""
        return self.status in ("refused", "stopped")


class Session:
    """Takes stages and batches of one dataset through write, audit, publish, for one run.

    ``run_id`` names the Dagster run that asks, or another unit of work. The store's heads decide everything; a session
    keeps only what it would otherwise read again.
    """

    def __init__(self, plan: Plan, home: Home, run_id: str) -> None:
        self.plan = plan
        self.home = home
        self.run_id = run_id
        self._bench = Workbench(plan)
        self._failed: dict[tuple[str, str], str] = {}

    @property
    def graph(self) -> Graph:
        """The dataset's stages."""
        return self.plan.graph

    @property
    def store(self) -> Store:
        """The store that is written to."""
        return self.plan.store

    def run(self, stage: Stage, batch: str) -> Outcome:
        """Bring one stage of one batch up to date: reuse, compute, audit, write, publish or refuse.

        What would bring erased content back is refused.

        Raises:
            ConflictError: another process moved the head to something else meanwhile.
        """
        try:
            return self._bring(stage, batch)
        except PurgedError as error:
            name = self._name(stage.name, batch)
            sentence = f"{name} would bring erased rows back: {error} Take them out of what is delivered."
            return self._refused(Outcome(stage.name, batch, "refused", sentences=(sentence,)))

    def _bring(self, stage: Stage, batch: str) -> Outcome:  # noqa: PLR0911 - one return for each way it can end
        stopped = self._stopped_by(stage, batch)
        if stopped:
            return self._refused(Outcome(stage.name, batch, "stopped", sentences=(stopped,)))
        try:
            resolution = self.plan.resolve(stage, batch)
        except RefusedError as error:
            return self._refused(Outcome(stage.name, batch, "refused", sentences=error.sentences))
        head = self.plan.heads(stage.name).get(batch)
        if head and head.recipe == resolution.key:
            manifest = self.store.manifest(head.asset, batch, head.manifest)
            if not self._sound(manifest):
                return self._compute(stage, batch, resolution)
            return self._told(stage, Outcome(stage.name, batch, "reused", manifest, verdicts_of(manifest)))
        for accepted in (True, False):
            recorded = self.plan.recorded(stage, batch, resolution, accepted=accepted)
            if recorded is None:
                continue
            if recorded.rules == resolution.rules and (not accepted or self._sound(recorded)):
                return self._again(stage, recorded)
            if recorded.version and self._sound(recorded):
                return self._audit_again(stage, batch, resolution, recorded)
        return self._compute(stage, batch, resolution)

    def judge(self, stage: Stage, batch: str) -> tuple[Verdict, ...]:
        """Judge the published version anew, without recording anything; nothing published is a blocking verdict."""
        head = self.plan.heads(stage.name).get(batch)
        if head is None:
            sentence = f"{self._name(stage.name, batch)} has no published version to judge."
            return tuple(Verdict(check.name, False, check.severity, sentence) for check in stage.checks)
        manifest = self.store.manifest(head.asset, batch, head.manifest)
        made = Made(self.store.get(manifest, verify=True), dict(manifest.facts))
        return tuple(self._bench.audit(stage, batch, manifest.inputs, made))

    def is_news(self, outcome: Outcome) -> bool:
        """Whether nobody but the store knows of this outcome yet."""
        return marked(self.home, self.plan.branch, self.graph.asset(outcome.stage), outcome.batch) == "news"

    def _stopped_by(self, stage: Stage, batch: str) -> str | None:
        for upstream in stage.upstream:
            key = self.graph.whole if upstream.window == "whole" else batch
            if (upstream.stage, key) in self._failed:
                return (
                    f"{self._name(stage.name, batch)} was not tried: "
                    f"{self._name(upstream.stage, key)}, on which it stands, was refused in this run."
                )
        return None

    def _sound(self, manifest: Manifest) -> bool:
        """Whether a recorded version's file is there in full; one that is not is made again instead of reused."""
        try:
            self.store.check(manifest)
        except (CorruptError, PurgedError):
            return False
        return True

    def _again(self, stage: Stage, manifest: Manifest) -> Outcome:
        """Publish a recorded version once more, or repeat its refusal."""
        verdicts = verdicts_of(manifest, evidence(self.store, manifest))
        if not manifest.accepted:
            return self._refused(Outcome(stage.name, manifest.batch, "refused", manifest, verdicts, manifest.sentences))
        return self._publish(stage, Outcome(stage.name, manifest.batch, "reused", manifest, verdicts))

    def _audit_again(self, stage: Stage, batch: str, resolution: Resolution, manifest: Manifest) -> Outcome:
        """Judge a recorded version by rules that changed since; nothing is computed."""
        made = Made(self.store.get(manifest), dict(manifest.facts))
        verdicts = tuple(self._bench.audit(stage, batch, resolution.inputs, made))
        judged = replace(
            manifest, rules=resolution.rules, **self._circumstances(), **self._judgement(stage, batch, verdicts)
        )
        return self._conclude(stage, self._illustrated(stage, judged, made), verdicts, "audited", {})

    def _compute(self, stage: Stage, batch: str, resolution: Resolution) -> Outcome:
        files = tuple(self._kept(stage, batch, resolution.files))
        made: Made | None = None
        try:
            made = self._bench.make(stage, batch, resolution.inputs, files)
        except DeliveryError as error:
            readable = next(check for check in stage.checks if check.name == "readable")
            sentence = f"The delivery cannot be read, for {counted(len(error.sentences), 'reason')}."
            verdicts: tuple[Verdict, ...] = (
                Verdict("readable", False, readable.severity, sentence, n=1, failed=1, examples=error.sentences),
            )
        except RefusedError as error:
            return self._refused(Outcome(stage.name, batch, "refused", sentences=error.sentences))
        else:
            verdicts = tuple(self._bench.audit(stage, batch, resolution.inputs, made))
        shown, stored = self.plan.heads(stage.name).get(batch), None
        if made:
            known = shown.leaf if shown else None
            stored = self.store.put(self.graph.asset(stage.name), batch, stage.kind, made.value, known=known)
        if stored:
            self._bench.published(self.graph.asset(stage.name), batch, stored.version)
        manifest = Manifest(
            asset=self.graph.asset(stage.name),
            batch=batch,
            kind=stage.kind,
            version=stored.version if stored else None,
            blob=stored.blob if stored else None,
            rows=stored.rows if stored else None,
            schema=stored.schema if stored else (),
            columns=stored.columns if stored else {},
            inputs=resolution.inputs,
            files=files,
            code_version=self.plan.code_version(stage),
            settings=stage.settings,
            seed=made.facts.get("seed") if made else None,
            rules=resolution.rules,
            recipe=resolution.recipe,
            facts=made.facts if made else {},
            **self._circumstances(),
            **self._judgement(stage, batch, verdicts),
        )
        if made:
            manifest = self._illustrated(stage, manifest, made)
        preview = self._bench.preview(stage, made) if made else {}
        return self._conclude(stage, manifest, verdicts, "computed", preview)

    def _kept(self, stage: Stage, batch: str, files: Sequence[Delivered]) -> Iterator[dict[str, object]]:
        """The records of delivered files, their bytes kept: those that the recipe speaks of, and no later ones."""
        if files:
            source = self.graph.contract.sources[stage.name.removeprefix("raw/")]
            kept = self.plan.landing.keep(source, batch, account())
            for file in files:
                yield file.record() | {"blob": kept[file.name].path}

    def _illustrated(self, stage: Stage, manifest: Manifest, made: Made) -> Manifest:
        """The manifest with the files for people that show its value and its verdicts."""
        attached = self._bench.attachments(stage, manifest, made)
        blobs = {name: self.store.put_bytes(manifest.asset, manifest.batch, data) for name, data in attached.items()}
        return replace(manifest, attachments=dict(manifest.attachments) | blobs)

    def _circumstances(self) -> dict[str, Any]:
        return {
            "git": git_state(self.graph.contract.folder),
            "environment": environment_digest(),
            "run_id": self.run_id,
            "who": account(),
            "when": datetime.now(UTC).isoformat(timespec="microseconds"),
        }

    def _judgement(self, stage: Stage, batch: str, verdicts: Sequence[Verdict]) -> dict[str, Any]:
        """What a manifest says of an audit: no value of a row, those go into a blob."""
        blocking = [verdict for verdict in verdicts if verdict.blocks]
        examples = {verdict.check: list(verdict.examples) for verdict in verdicts if verdict.examples}
        attachments: dict[str, Blob] = {}
        if examples:
            data = json.dumps(examples, sort_keys=True, ensure_ascii=False).encode()
            attachments[EVIDENCE] = self.store.put_bytes(self.graph.asset(stage.name), batch, data)
        return {
            "accepted": not blocking,
            "verdicts": tuple(_record(verdict) for verdict in verdicts),
            "sentences": tuple(
                f"{self._name(stage.name, batch)} was refused by the check {verdict.check}: {verdict.sentence}"
                for verdict in blocking
            )
            or tuple(self.plan.notes(stage, batch)),
            "attachments": attachments,
        }

    def _conclude(
        self,
        stage: Stage,
        manifest: Manifest,
        verdicts: tuple[Verdict, ...],
        status: Status,
        preview: Mapping[str, Any],
    ) -> Outcome:
        self.store.record(manifest)
        self._bench.remember(manifest)
        self.plan.judged(stage.name, manifest.batch)
        lay_files(self.home, self.store, manifest)
        if not manifest.accepted:
            return self._refused(
                Outcome(stage.name, manifest.batch, "refused", manifest, verdicts, manifest.sentences, preview=preview)
            )
        return self._publish(stage, Outcome(stage.name, manifest.batch, status, manifest, verdicts, preview=preview))

    def _publish(self, stage: Stage, outcome: Outcome) -> Outcome:
        """Move the head, unless another process moved it to the same version before."""
        manifest = outcome.manifest
        assert manifest is not None
        expected = self.plan.heads(stage.name).get(outcome.batch)
        mark(self.home, self.plan.branch, manifest.asset, outcome.batch)
        try:
            head = self.store.publish(self.plan.branch, manifest, expected, message=outcome.status, who=account())
        except ConflictError:
            found = self.store.head(self.plan.branch, manifest.asset, outcome.batch)
            if found is None or found.version != manifest.version or found.recipe != manifest.key:
                raise
            head = found
        self.plan.moved(stage.name, head)
        return self._told(stage, replace(outcome, previous=expected.version if expected else None))

    def _told(self, stage: Stage, outcome: Outcome) -> Outcome:
        """Say which inputs are last good versions because newer ones were refused, and show what a report says.

        What serving looks up follows its heads, before anybody is told that they moved.
        """
        assert outcome.manifest is not None
        if stage.kind == "json" and not outcome.preview:
            made = Made(self.store.get(outcome.manifest), dict(outcome.manifest.facts))
            outcome = replace(outcome, preview=self._bench.preview(stage, made))
        if stage.name == ONLINE:
            view = View(self.graph, self.store, self.home)
            found = view.follow(outcome.batch, self.plan.batches, self.plan.heads(ONLINE))
            outcome = replace(outcome, preview={**outcome.preview, "links": found})
        return replace(outcome, sentences=tuple(self.plan.notes(stage, outcome.batch)))

    def _refused(self, outcome: Outcome) -> Outcome:
        self._failed[outcome.stage, outcome.batch] = " ".join(outcome.sentences)
        if outcome.batch in self.plan.heads(outcome.stage):
            # Dagster shows the batch as failed until it hears again of the version that stays published.
            mark(self.home, self.plan.branch, self.graph.asset(outcome.stage), outcome.batch, "again")
        return outcome

    def _name(self, stage: str, batch: str) -> str:
        asset = self.graph.asset(stage)
        return asset if batch == self.graph.whole else f"{asset} [{batch}]"


def verdicts_of(manifest: Manifest, examples: Mapping[str, Sequence[str]] | None = None) -> tuple[Verdict, ...]:
    """A manifest's verdicts as value objects, with examples where evidence is given."""
    return tuple(
        Verdict(**{**record, "examples": tuple((examples or {}).get(record["check"], ()))})
        for record in manifest.verdicts
    )


def evidence(store: Store, manifest: Manifest) -> dict[str, list[str]]:
    """The examples of failing rows by check, from the blob that a purge can reach."""
    blob = manifest.attachments.get(EVIDENCE)
    return {} if blob is None else dict(json.loads(store.bytes(blob)))


def lay_files(home: Home, store: Store, manifest: Manifest) -> None:
    """Lay a version's files for people where people look; they can be made again from the store.

    Raises ``CorruptError``, ``PurgedError`` or ``NotStoredError`` for what the store no longer has.
    """
    dataset = manifest.asset.partition("/")[0]
    for name, blob in manifest.attachments.items():
        if name != EVIDENCE:
            path = report_path(home, dataset, manifest.batch, name, accepted=manifest.accepted)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(store.bytes(blob))


def report_path(home: Home, dataset: str, release: str, name: str, *, accepted: bool = True) -> Path:
    """Where a file for people lies; that of a refused version says so in its name."""
    return home.reports / segment(dataset) / segment(release) / (name if accepted else f"refused-{name}")


def _record(verdict: Verdict) -> dict[str, Any]:
    names = ("check", "passed", "severity", "sentence", "n", "failed", "threshold", "details")
    return {name: getattr(verdict, name) for name in names}
