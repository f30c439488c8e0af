"""The sensor that compares everything: asks for what no event has asked for, and tells Dagster what is not current.

What belongs here: one tick, and its line for people. What does not: what is stale and why (``assets.staleness``), when
it need not look (``unchanged``), what is asked for (``missed``), what Dagster is told (``verdicts``), ``releases``.

Sensors and conditions hear of changes, and whoever hears can miss something: a change while a run is going on, a file
that a person put back, other code, other settings, another table that all batches share. The sweep compares what is
published with what would be made now, so that nothing stays missed for longer than a tick.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import dagster as dg

from mlops_assets.assets.graph import Graph
from mlops_assets.assets.plan import Plan
from mlops_assets.assets.reasons import named, said
from mlops_assets.assets.staleness import UP_TO_DATE
from mlops_assets.assets.survey import STATES, Group, Survey, survey
from mlops_assets.automation.missed import CLAIMED_BY, SCOPES, Missed
from mlops_assets.automation.requests import IN_PROGRESS, Requests
from mlops_assets.automation.tags import CLAIM, DATASET
from mlops_assets.automation.unchanged import LOOK_AGAIN, Answer, answered, fingerprint
from mlops_assets.automation.verdicts import tell
from mlops_assets.contract.model import Contract
from mlops_assets.home import Home
from mlops_assets.store.store import Store
from mlops_assets.wording import counted

_EVERY = 60
_SHOWN = 3


class Swept(NamedTuple):
    """What a tick came to: runs to ask for, one line for people, and the cursor of the next tick."""

    requests: list[dg.RunRequest]
    said: str
    cursor: str


def sensors(contracts: Mapping[str, Contract], home: Home) -> list[dg.SensorDefinition]:
    """The sweep of each dataset."""
    return [_sensor(Graph(contract), home) for contract in contracts.values()]


def _sensor(graph: Graph, home: Home) -> dg.SensorDefinition:
    name = graph.contract.name
    enabled = graph.contract.automation.enabled

    @dg.sensor(
        name=f"{name}_sweep",
        target=[dg.AssetKey(graph.path(stage.name)) for scope in SCOPES for stage in graph.of_scope(scope)],
        minimum_interval_seconds=_EVERY,
        default_status=dg.DefaultSensorStatus.RUNNING if enabled else dg.DefaultSensorStatus.STOPPED,
        description=f"Compares all of {name} with what would be made now, and asks for what nothing else asked for.",
    )
    def sweep(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        found = tick(graph, home, context.instance, context.cursor, time.time())
        if found.requests:  # a tick that asks for runs has no reason to show
            context.log.info(found.said)
        return dg.SensorResult(
            run_requests=found.requests,
            skip_reason=None if found.requests else dg.SkipReason(found.said),
            cursor=found.cursor,
            dynamic_partitions_requests=Requests(context.instance, graph).partitions(found.requests),
        )

    return sweep


def tick(graph: Graph, home: Home, instance: dg.DagsterInstance, cursor: str | None, now: float) -> Swept:
    """One look; ``now`` is the time in seconds."""
    home.initialise()
    own = _own_runs(graph, instance)
    if own:
        told = f"Waits for {counted(len(own), 'run')} that it asked for before, such as {own[0].run_id[:8]}."
        return Swept([], told, cursor or "")
    store = Store.open(home.store)
    plan = Plan(graph, store, home.branch, entered_only=True)
    mark = fingerprint(plan)
    before = answered(cursor)
    if before and before.holds(mark, now):
        return Swept([], before.again(), before.cursor())
    found = survey(plan)
    requests = Requests(instance, graph)
    left = tell(found, plan, home, instance, requests) if home.branch == "main" else 0
    missed = Missed(found, plan, home, requests)
    runs = missed.ask(now)
    more = [f"{left:,} verdicts of {UP_TO_DATE.name} are told in the next ticks."] if left else []
    told = " ".join([*_lines(found, len(runs), missed.why), *more])
    until = now + LOOK_AGAIN if missed.settled and not left else 0.0
    return Swept(runs, told, Answer(mark, now, until, told).cursor())


def _own_runs(graph: Graph, instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    chosen = dg.RunsFilter(statuses=list(IN_PROGRESS), tags={DATASET: graph.contract.name})
    return [run for run in instance.get_runs(chosen) if run.tags.get(CLAIM, "").startswith(f"{CLAIMED_BY}:")]


def _lines(found: Survey, runs: int, why: Sequence[str]) -> Iterator[str]:
    """What stands how, for the first few reasons, and what became of it."""
    states = found.states()
    if not found.explanations:
        yield f"All {states.get('current', 0):,} versions are current."
    else:
        yield f"{', '.join(f'{states[state]:,} {state}' for state in STATES if states.get(state))}."
        yield from (f"{_name(group)}: {group.first.sentences[0]}" for group in found.groups[:_SHOWN])
        if len(found.groups) > _SHOWN:
            yield f"And {counted(len(found.groups) - _SHOWN, 'more reason')} (mlops-assets status {found.dataset})."
    if runs:
        yield f"Asked for {counted(runs, 'run')}."
    elif found.explanations:
        yield "Nothing was asked for."
    yield from why
    if found.explanations and not runs and not why:
        mended = states.get("refused") or states.get("blocked")
        yield (
            "What was refused or lacks a delivery is asked for when that is mended."
            if mended
            else "What is left is the newest release, which is asked for as the contract says."
        )


def _name(group: Group) -> str:
    stages = ", ".join(group.stages)
    if len(group.batches) == 1:
        return named(stages, group.batches[0])
    return f"{stages} [{said(group.ranges, _SHOWN)}]"
