"""The Dagster shells: every stage is an asset, and every run of one goes through write, audit, publish.

The batch stages of a dataset are one subsettable step that takes any number of batches and logs each partition's events
itself, so that one run reports exact versions for all of them. Reference tables are a step without partitions, the
release stages one that takes one partition a run. All three are built by ``step``. What does not belong here: the work,
and what is decided about it (``publish``).
"""

from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import replace

import dagster as dg

from mlops_assets.assets.events import Reporter, evaluation
from mlops_assets.assets.graph import Graph, Stage
from mlops_assets.assets.plan import Plan
from mlops_assets.assets.publish import Outcome, Session
from mlops_assets.assets.specs import Specs
from mlops_assets.home import Home
from mlops_assets.store.store import Store

LISTENER: ContextVar[Callable[[Graph, Outcome], None] | None] = ContextVar("listener", default=None)
"""Whoever runs steps in this process may hear of every outcome as it comes."""


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

        batches = [specs.graph.whole] if partitions is None else list(context.partition_keys)
        session = open_session(specs.graph, home, context.run.run_id)
        reporter = Reporter(context, session, specs)
        chosen = [stage for stage in stages if specs.key(stage.name) in context.selected_asset_keys]
        listener = LISTENER.get()
        reasons: list[str] = []
        for batch in batches:
            outcomes = [_track(session, session.run(stage, batch)) for stage in chosen]
            reporter.log(outcomes)
            for outcome in outcomes:
                if listener:
                    listener(session.graph, outcome)
                if outcome.failed:
                    reasons.append("\n".join([*outcome.sentences, *_examples(outcome)]))
        reasons += _judge_again(context, session, specs, [stage for stage in stages if stage not in chosen], batches)
        if reasons:
            raise dg.Failure("\n".join(reasons), allow_retries=False)
        yield from (passed_on(specs.key(stage.name)) for stage in chosen)

    return body


def open_session(graph: Graph, home: Home, run_id: str) -> Session:
    """A session on the home's branch."""
    home.initialise()
    return Session(Plan(graph, Store.open(home.store), home.branch), home, run_id)


def _judge_again(
    context: dg.AssetExecutionContext, session: Session, specs: Specs, stages: Sequence[Stage], batches: Sequence[str]
) -> Iterator[str]:
    """A run that selects checks alone: judge the published versions anew."""
    selected = {(key.asset_key, key.name) for key in context.selected_asset_check_keys}
    for stage in stages:
        wanted = {check.name for check in stage.checks if (specs.key(stage.name), check.name) in selected}
        if not wanted:
            continue
        for batch in batches:
            partition = None if specs.partitions_of(stage) is None else batch
            for verdict in session.judge(stage, batch):
                if verdict.check in wanted:
                    context.log_event(evaluation(specs, stage, verdict, partition))
                    if verdict.blocks:
                        yield f"{session.graph.asset(stage.name)} [{batch}]: {verdict.sentence}"


def _track(session: Session, outcome: Outcome) -> Outcome:
    """Write a release into the experiment tracker: once when its model is made, or when its evaluation is refused."""
    manifest = outcome.manifest
    if manifest is None or not manifest.version:
        return outcome
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


def _examples(outcome: Outcome) -> list[str]:
    return [f"  {text}" for verdict in outcome.verdicts if verdict.blocks for text in verdict.examples[:20]]
