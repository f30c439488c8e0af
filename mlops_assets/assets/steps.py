"""The Dagster shells: every stage is an asset, and every run of one goes through write, audit, publish.

The batch stages of a dataset are one subsettable step that takes any number of batches and logs each partition's events
itself, so that one run reports exact versions for all of them. Reference tables are a step without partitions, the
release stages one that takes one partition a run. All three are built by ``step``. What does not belong here: the work,
and what is decided about it (``publish``).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg

from mlops_assets.assets.events import Reporter, evaluation, up_to_date
from mlops_assets.assets.graph import Graph, Stage
from mlops_assets.assets.plan import Plan
from mlops_assets.assets.publish import Outcome, Session
from mlops_assets.assets.specs import Specs
from mlops_assets.assets.staleness import UP_TO_DATE, Staleness
from mlops_assets.automation.processes import sign
from mlops_assets.automation.records import CAUSE, REFUSALS
from mlops_assets.automation.tags import CLAIM
from mlops_assets.errors import ConflictError, UserError
from mlops_assets.home import Home
from mlops_assets.store.files import sentences
from mlops_assets.store.store import Store

LISTENER: ContextVar[Callable[[Graph, Outcome], None] | None] = ContextVar("listener", default=None)
"""Whoever runs steps in this process may hear of every outcome as it comes."""

_MOST_SHOWN = 100


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Of one stage and batch: the checks that refused it, why in sentences, and examples, which hold values of rows."""

    stage: str
    batch: str
    checks: tuple[str, ...]
    sentences: tuple[str, ...]
    examples: tuple[str, ...] = ()


def assets_of(graph: Graph, home: Home) -> list[dg.AssetsDefinition]:
    """All assets of one dataset."""
    specs = Specs(graph)
    name = graph.contract.name
    found = [step(f"{name}_batches", specs, home, graph.of_scope("batch"), single_run=True)]
    if graph.of_scope("reference"):
        found.append(step(f"{name}_reference", specs, home, graph.of_scope("reference"), single_run=True))
    found.append(step(f"{name}_release", specs, home, graph.of_scope("release"), single_run=False))
    return found


def step(name: str, specs: Specs, home: Home, stages: Sequence[Stage], *, single_run: bool) -> dg.AssetsDefinition:
    """One step for some stages of the same partitions; ``single_run`` lets a backfill give it a whole range."""
    partitions = specs.partitions_of(stages[0])

    @dg.multi_asset(
        name=name,
        specs=[specs.asset(stage) for stage in stages],
        check_specs=[check for stage in stages for check in specs.checks(stage)],
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run() if single_run else None,
        op_tags={"dataset": specs.graph.contract.name},
    )
    def body(context: dg.AssetExecutionContext) -> Iterator[dg.Output[None]]:
        # Storages and their SQLAlchemy are loaded by whoever runs, not by whoever only loads the graph.
        from mlops_assets.assets.dagster_private import passed_on

        sign(context.instance, context.run)
        batches = [specs.graph.whole] if partitions is None else list(context.partition_keys)
        claimed = CLAIM in context.run.tags
        chosen = [stage for stage in stages if specs.key(stage.name) in context.selected_asset_keys]
        others = [stage for stage in stages if stage not in chosen]
        listener = LISTENER.get()
        refusals: list[_Refusal] = []
        with _said_in_sentences(home):
            session = open_session(specs.graph, home, context.run.run_id, entered_only=claimed)
            reporter = Reporter(context, session, specs)
            for batch in batches:
                outcomes = [_track(session, _run(session, stage, batch)) for stage in chosen]
                reporter.log(outcomes)
                for outcome in outcomes:
                    if listener:
                        listener(session.graph, outcome)
                    if outcome.failed:
                        refusals.append(_refusal(outcome))
            refusals += _judge_again(context, session, specs, others, batches)
        if refusals:
            raise _refused(refusals)
        yield from (passed_on(specs.key(stage.name)) for stage in chosen)

    return body


def open_session(graph: Graph, home: Home, run_id: str, *, entered_only: bool = False) -> Session:
    """A session on the home's branch; ``entered_only`` keeps it from taking in what lies in the landing folder."""
    home.initialise()
    return Session(Plan(graph, Store.open(home.store), home.branch, entered_only=entered_only), home, run_id)


def _run(session: Session, stage: Stage, batch: str) -> Outcome:
    """Bring one stage of one batch up to date, from what stands now if another process moved the head meanwhile."""
    try:
        return session.run(stage, batch)
    except ConflictError:
        session.plan.forget()
        return session.run(stage, batch)


@contextmanager
def _said_in_sentences(home: Home) -> Iterator[None]:
    """What a person can mend ends the step in sentences, as a refusal does; a bug keeps its traceback."""
    try:
        try:
            yield
        except OSError as trouble:
            with sentences(Path(trouble.filename or home.root)):
                raise
    except UserError as error:
        raise dg.Failure("\n".join(error.sentences), metadata={CAUSE: "unable"}, allow_retries=False) from None


def _judge_again(
    context: dg.AssetExecutionContext, session: Session, specs: Specs, stages: Sequence[Stage], batches: Sequence[str]
) -> Iterator[_Refusal]:
    """A run that selects checks alone: judge the published versions anew."""
    selected = {(key.asset_key, key.name) for key in context.selected_asset_check_keys}
    for stage in stages:
        wanted = {name for key, name in selected if key == specs.key(stage.name)}
        for batch in batches if wanted else ():
            partition = None if specs.partitions_of(stage) is None else batch
            if UP_TO_DATE.name in wanted:
                explanation = Staleness(session.plan).explain(stage, batch)
                context.log_event(up_to_date(specs, stage, explanation, partition))
            for verdict in session.judge(stage, batch) if wanted - {UP_TO_DATE.name} else ():
                if verdict.check in wanted:
                    context.log_event(evaluation(specs, stage, verdict, partition))
                    if verdict.blocks:
                        sentence = f"{session.graph.asset(stage.name)} [{batch}]: {verdict.sentence}"
                        yield _Refusal(stage.name, batch, (verdict.check,), (sentence,))


def _track(session: Session, outcome: Outcome) -> Outcome:
    """Write a release into the experiment tracker: once when its model is made, or when its evaluation is refused."""
    manifest = outcome.manifest
    if manifest is None or not manifest.version or session.graph.contract.sample:
        return outcome  # a sample tells of the code; among releases its numbers would mislead
    made = outcome.stage == "trained_model" and not outcome.failed and session.is_news(outcome)
    refused = outcome.stage == "evaluation_report" and outcome.failed and manifest.run_id == session.run_id
    if not (made or refused):
        return outcome
    from mlops_assets.lifecycle.release_run import track

    roles = session.plan.release_roles(outcome.batch)
    run_id, link = track(
        session.store,
        session.graph.contract.name,
        manifest,
        {batch: role for role, batches in roles.items() for batch in batches},
    )
    return replace(outcome, preview={**outcome.preview, "links": {"mlflow_run_id": run_id, "mlflow": link}})


def _refusal(outcome: Outcome) -> _Refusal:
    blocking = [verdict for verdict in outcome.verdicts if verdict.blocks]
    examples = tuple(f"  {text}" for verdict in blocking for text in verdict.examples[:20])
    checks = tuple(verdict.check for verdict in blocking)
    return _Refusal(outcome.stage, outcome.batch, checks, outcome.sentences, examples)


def _refused(refusals: Sequence[_Refusal]) -> dg.Failure:
    """The end of a step in which something was refused; without the examples also in a form for programs."""
    text = "\n".join(line for each in refusals for line in (*each.sentences, *each.examples))
    shown: list[dict[str, Any]] = [
        {"stage": each.stage, "batch": each.batch, "checks": list(each.checks), "sentences": list(each.sentences)}
        for each in refusals[:_MOST_SHOWN]
    ]
    found = {CAUSE: dg.MetadataValue.text("refused"), REFUSALS: dg.MetadataValue.json(shown)}
    return dg.Failure(text, metadata=found, allow_retries=False)
