"""How each stage gets its values from the store into the pure function that does its work.

What belongs here: reading inputs, calling one function of ``stages`` or ``checks``, and nothing else. What does not:
versions, heads, verdicts' consequences (``publish``). Values of the batch at hand are kept, so that a batch's stages do
not read again what was just written.
"""

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlops_assets.assets import parting
from mlops_assets.assets.graph import Stage
from mlops_assets.assets.plan import Plan
from mlops_assets.assets.reference import References
from mlops_assets.checks.declared import PARITY
from mlops_assets.checks.verdict import Verdict
from mlops_assets.contract.model import Expectation
from mlops_assets.dbtproject.shape import CLEANED
from mlops_assets.errors import RefusedError
from mlops_assets.stages.made import Made
from mlops_assets.store.manifest import Blob, Input, Manifest

if TYPE_CHECKING:
    from mlops_assets.dbtproject.database import Run

EVIDENCE = "evidence.json"
"""The attachment that holds examples of failing rows by check."""

_TREND = 12
"""How many earlier batches a batch's volumes are compared with."""

_PREVIEW_ROWS = 5

_ROWS = ("features", "splits")


class Workbench:
    """Makes and judges the values of one dataset."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._contract = plan.graph.contract
        self._kept: dict[tuple[str, str], tuple[str, Any]] = {}
        self._sifted: dict[tuple[str, str], Any] = {}
        self._facts: dict[tuple[str, str, str], Mapping[str, Any]] = {}
        self._run: Run | None = None
        self._laid: object = None
        self._past: dict[Input, Any] = {}
        self._references = References(plan)

    def make(self, stage: Stage, batch: str, inputs: Sequence[Input], files: Sequence[Mapping[str, Any]]) -> Made:
        """Do the stage's work.

        Raises:
            DeliveryError: delivered files cannot be read as the contract says.
            RefusedError: the work cannot be done with what there is, with a sentence.
        """
        if stage.scope == "release":
            made = self._make_release(stage, batch, inputs)
        elif stage.name.startswith("raw/"):
            made = self._make_raw(stage, batch, files)
        else:
            made = self._make_batch(stage, batch, inputs)
        self._keep(stage.name, batch, made.value)
        return made

    def audit(self, stage: Stage, batch: str, inputs: Sequence[Input], made: Made) -> list[Verdict]:
        """Judge a value by every check of its stage, in the order of the checks."""
        upstream = {name: self._facts_of(item) for name, item in self._own(batch, inputs).items() if item.manifest}
        if stage.name == parting.STAGE:
            return parting.Parting(self._plan, self.value, batch, inputs).audit(made.value)
        if stage.scope == "release":
            from mlops_assets.checks import release

            if stage.name == "trained_model":
                return release.audit_trained(self._contract, made.facts["agreement"])
            judge = release.audit_candidate if stage.name == "candidate_model" else release.audit_evaluation
            return judge(self._contract, made.value)
        from mlops_assets.checks import batch as batch_checks

        earlier = [] if stage.scope == "reference" else self._earlier(stage, batch)
        found = batch_checks.audit(self._contract, stage.name, made, batch=batch, earlier=earlier, upstream=upstream)
        if stage.name == "features":
            from mlops_assets.checks import features

            cleaned = self.value(self._own(batch, inputs)["cleaned"])
            history = self._history(batch, inputs, cleaned.schema)
            found += features.audit(
                self._contract,
                made.value,
                cleaned=cleaned,
                history=history,
                reference=self._references.of(stage, batch),
                constant=[facts["constant"] for facts in (made.facts, *earlier)],
            )
            if PARITY in stage.checks:
                from mlops_assets.checks import parity

                found.append(parity.audit(self._contract, cleaned, history, made.value))
        if self._suite(stage):
            from mlops_assets.checks import expectations

            found += expectations.audit(self._contract, stage.name.removeprefix("raw/"), made)
        if self._contract.sql and stage.name == CLEANED:
            from mlops_assets.checks import datatests

            found += datatests.verdicts(self._sql(inputs).judge(made.value))
        return found

    def attachments(self, stage: Stage, manifest: Manifest, made: Made) -> dict[str, bytes]:
        """Files for people that go with a version and are no part of it."""
        if self._suite(stage):
            return self._expected(stage, manifest)
        if stage.name != "evaluation_report":
            return {}
        from mlops_assets.assets.provenance import provenance
        from mlops_assets.report.page import html

        return {"report.html": html(made.value, provenance(self._plan, manifest)).encode()}

    def _suite(self, stage: Stage) -> Sequence[Expectation]:
        """What analysts expect of a stage: of a source as it was delivered, or nothing."""
        raw = stage.name.startswith("raw/")
        return self._contract.expectations_of(stage.name.removeprefix("raw/")) if raw else ()

    def _expected(self, stage: Stage, manifest: Manifest) -> dict[str, bytes]:
        """The page of a source's expectations; that of the spine has the plain name."""
        from mlops_assets.report.expectations import html

        source = stage.name.removeprefix("raw/")
        more = "" if source == self._contract.spine else f"-{source}"
        blob = manifest.attachments.get(EVIDENCE)
        page = html(
            {
                "dataset": self._contract.name,
                "source": source,
                "batch": manifest.batch,
                "branch": self._plan.branch,
                "rows": manifest.rows,
                "version": manifest.version,
                "files": manifest.files,
                "who": manifest.who,
                "when": manifest.when,
            },
            self._suite(stage),
            {verdict["check"]: verdict for verdict in manifest.verdicts},
            json.loads(self._plan.store.bytes(blob)) if blob else {},
        )
        return {f"expectations{more}.html": page.encode()}

    def preview(self, stage: Stage, made: Made) -> dict[str, Any]:
        """What Dagster shows of a value: some rows of a table, plots of a report. Never a sensitive column."""
        if stage.name == "evaluation_report":
            from mlops_assets.report.plots import names, svg

            numbers = {
                metric if model == made.facts["candidate"] else f"{metric}/{model}": value
                for model, metrics in made.facts["models"].items()
                for metric, value in metrics.items()
                if value is not None
            }
            return {"plots": {name: svg(name, made.value) for name in names(made.value)}, "numbers": numbers}
        if stage.name == parting.STAGE:
            return {"rows": parting.preview(made.value)}
        if stage.kind != "table" or self._contract.sensitive() or stage.name == "quarantine":
            return {}
        return {"rows": made.value.slice(0, _PREVIEW_ROWS).to_pylist()}

    def value(self, item: Input, columns: Sequence[str] | None = None) -> Any:
        """The value of an exact input: from memory when it was just made, else from the store."""
        kept = self._kept.get((item.asset, item.partition))
        if kept and kept[0] == item.version:
            return kept[1] if columns is None else kept[1].select(list(columns))
        assert item.manifest is not None
        return self._plan.store.get(
            self._plan.store.manifest(item.asset, item.partition, item.manifest), columns=columns
        )

    def _keep(self, stage: str, batch: str, value: Any) -> None:
        """Keep a value until another batch is at hand; whole tables (references) stay."""
        reference = self._plan.graph.stages[stage].scope == "reference"
        if not reference:
            for key in [key for key in self._kept if key[1] not in (batch, self._plan.graph.whole)]:
                del self._kept[key]
            for sifted in [key for key in self._sifted if key[1] not in (batch, self._plan.graph.whole)]:
                del self._sifted[sifted]
        self._kept[self._plan.graph.asset(stage), batch] = ("", value)

    def published(self, asset: str, batch: str, version: str) -> None:
        """Name the version of the value that was just made, so that what stands on it can take it from memory."""
        kept = self._kept.get((asset, batch))
        if kept:
            self._kept[asset, batch] = (version, kept[1])

    def _make_raw(self, stage: Stage, batch: str, files: Sequence[Mapping[str, Any]]) -> Made:
        from mlops_assets.stages.ingest import Delivery, read_source

        source = self._contract.sources[stage.name.removeprefix("raw/")]
        store = self._plan.store
        kept = [Delivery(file["name"], store.file(Blob(file["blob"], file["size"], file["sha256"]))) for file in files]
        made = read_source(self._contract, source, kept, batch)
        if self._contract.sample is None or source.name != self._contract.spine:
            return made
        from mlops_assets.stages.sample import sampled

        return sampled(self._contract, source, made)

    def _own(self, batch: str, inputs: Sequence[Input]) -> Mapping[str, Input]:
        """The inputs of a batch's own, by stage, and those that all batches share; not what it looks back at."""
        own = (batch, self._plan.graph.whole)
        return {self._plan.graph.stage_of(item.asset): item for item in inputs if item.partition in own}

    def _make_batch(self, stage: Stage, batch: str, inputs: Sequence[Input]) -> Made:
        by_stage = self._own(batch, inputs)
        if stage.name in ("quarantine", "cleaned"):
            from mlops_assets.stages import clean

            sifted = {name.removeprefix("raw/"): self._sift(item) for name, item in by_stage.items()}
            if stage.name == "quarantine":
                return clean.quarantine(self._contract, sifted)
            accepted = {name: each.accepted for name, each in sifted.items()}
            if self._contract.sql is None:
                return clean.clean(self._contract, accepted, sifted)
            from mlops_assets.stages.transform import transform

            return transform(self._contract, self._sql(inputs), accepted, sifted)
        cleaned = self.value(by_stage["cleaned"])
        if stage.name == "splits":
            from mlops_assets.stages.split import assign_buckets

            return assign_buckets(self._contract, cleaned)
        if stage.name == "online":
            from mlops_assets.stages.online import remember

            return remember(self._contract, cleaned)
        from mlops_assets.stages.features import build_features

        return build_features(self._contract, cleaned, self._history(batch, inputs, cleaned.schema))

    def _history(self, batch: str, inputs: Sequence[Input], schema: Any) -> Any:
        """The rows of the batches that windows look back at, of their columns alone; None where there are none.

        They are kept until a batch no longer looks back at them, with the batch's own for the next one.
        """
        from mlops_assets.stages.windows import needed

        columns = needed(self._contract)
        past = [item for item in inputs if item.asset == self._asset("cleaned") and item.version] if columns else []
        self._past = {
            item: self._past[item] if item in self._past else self._past_of(batch, item, schema, columns)
            for item in past
        }
        before = [rows for item, rows in self._past.items() if item.partition != batch]
        if not before:
            return None
        import pyarrow as pa

        return pa.concat_tables(before)

    def _past_of(self, batch: str, item: Input, schema: Any, columns: Sequence[str]) -> Any:
        wanted = {name: str(schema.field(name).type) for name in columns}
        manifest = self._plan.store.manifest(item.asset, item.partition, str(item.manifest))
        found = dict(manifest.schema)
        other = [name for name, kind in wanted.items() if found.get(name) != kind]
        if other:
            raise RefusedError(
                f"{self._asset('features')} [{batch}] looks back at {item.asset} [{item.partition}], which was made "
                f"when {', '.join(map(repr, other))} was not there or of another type; bring batch {item.partition} "
                f"up to date first."
            )
        return self.value(item, columns)

    def _sql(self, inputs: Sequence[Input]) -> "Run":
        """The accepted rows where the dataset's SQL finds them, kept until those of another batch are asked for."""
        from mlops_assets.stages.transform import begin

        key = tuple((item.asset, item.partition, item.version) for item in inputs)
        if self._run is None:
            self._run = begin(self._contract)
        if self._laid != key:
            sources = {self._plan.graph.stage_of(item.asset).removeprefix("raw/"): item for item in inputs}
            self._run.lay({name: self._sift(item).accepted for name, item in sources.items()})
            self._laid = key
        return self._run

    def _sift(self, item: Input) -> Any:
        from mlops_assets.stages.ingest import empty
        from mlops_assets.stages.sift import sift

        name = self._plan.graph.stage_of(item.asset).removeprefix("raw/")
        source = self._contract.sources[name]
        key = (f"{name}@{item.version}", item.partition)
        if key not in self._sifted:
            raw = self.value(item) if item.version else empty(source)
            self._sifted[key] = sift(self._contract, source, raw, item.partition)
        return self._sifted[key]

    def _make_release(self, stage: Stage, release: str, inputs: Sequence[Input]) -> Made:
        from mlops_assets.stages.selection import part_of, rows_for

        threads = int(os.environ.get("OMP_NUM_THREADS") or 1)
        if stage.name == parting.STAGE:
            return parting.Parting(self._plan, self.value, release, inputs).make(threads)
        found = self._plan.release_roles(release)
        features, splits = ({item.partition: item for item in inputs if item.asset == self._asset(n)} for n in _ROWS)

        def read(batch: str) -> tuple[Any, Any]:
            return self.value(features[batch]), self.value(splits[batch])["bucket"]

        def rows(phase: Any) -> Any:
            return rows_for(self._contract, found, phase, self._plan.calendar.sort, read)

        if stage.name == "candidate_model":
            from mlops_assets.stages.candidate import fit_candidate

            return fit_candidate(self._contract, rows("fit"), threads)
        bundle = self.value(next(item for item in inputs if item.asset == self._asset("candidate_model")))
        if stage.name == "trained_model":
            from mlops_assets.stages.final import refit

            return refit(self._contract, bundle, rows("all"), rows("test"), threads)
        from mlops_assets.stages.evaluate import evaluate, summary

        if self._contract.split.by == "hash":
            import pyarrow as pa

            whole = rows("all")
            chunks = [read(batch)[1] for batch in self._plan.calendar.sort(found["test"])]
            buckets = pa.chunked_array([chunk for column in chunks for chunk in column.chunks])
            parts = {part: part_of(self._contract, part, whole, buckets) for part in ("train", "validation", "test")}
            told = [summary(bundle, part, part, table) for part, table in parts.items() if table.num_rows]
        else:
            role_of = {batch: role for role in ("train", "validation", "embargo", "test") for batch in found[role]}
            told = [
                summary(bundle, batch, role_of[batch], self.value(features[batch], ["target"]))
                for batch in features
                if batch in role_of
            ]
        return evaluate(self._contract, bundle, rows("test"), told)

    def _asset(self, stage: str) -> str:
        return self._plan.graph.asset(stage)

    def _earlier(self, stage: Stage, batch: str) -> list[Mapping[str, Any]]:
        """Facts of the published batches just before this one, oldest first."""
        return [
            self._facts_of(Input(head.asset, head.batch, head.version, head.manifest))
            for head in self._plan.before(stage.name, batch, _TREND)
        ]

    def remember(self, manifest: Manifest) -> None:
        """Keep the facts of a manifest that was just recorded: the next batch is compared with them."""
        self._facts[manifest.asset, manifest.batch, manifest.id] = manifest.facts

    def _facts_of(self, item: Input) -> Mapping[str, Any]:
        key = (item.asset, item.partition, str(item.manifest))
        if key not in self._facts:
            self._facts[key] = self._plan.store.manifest(*key).facts
        return self._facts[key]
