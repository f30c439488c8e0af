"""When a release is asked for by itself, as the contract's policy says.

What belongs here: whether the newest release is to be made again now. What does not: making it, and whether it may be
used (``lifecycle``). Late data makes every release that saw it stale in the records; asked for is the newest one alone.
"""

import time
from collections.abc import Iterator
from typing import NamedTuple

import dagster as dg

from mlops_assets.assets.graph import Graph, digest
from mlops_assets.assets.plan import Plan
from mlops_assets.automation.memory import Tries, place
from mlops_assets.automation.requests import Requests
from mlops_assets.automation.unchanged import LOOK_AGAIN, Answer, answered, fingerprint
from mlops_assets.home import Home
from mlops_assets.store.heads import Head
from mlops_assets.store.store import Store
from mlops_assets.wording import counted

_POLICIES = {
    "every_batch": "Made anew with every batch",
    "drift": "Made anew when a check asks for it",
    "schedule": "Made anew on a schedule",
    "hand": "Made by hand",
}


class Asked(NamedTuple):
    """A run to ask for, or why none is (``said``); ``settled`` when that stays so until something changes."""

    request: dg.RunRequest | None
    said: str = ""
    settled: bool = False


def tick(graph: Graph, home: Home, instance: dg.DagsterInstance, cursor: str | None, now: float) -> tuple[Asked, str]:
    """One look at ``now`` (seconds), and the next one's cursor; where nothing has changed it does not look."""
    plan = _plan(graph, home)
    mark = fingerprint(plan)
    before = answered(cursor)
    if before and before.holds(mark, now):
        return Asked(None, before.again(), settled=True), before.cursor()
    if graph.contract.automation.releases.when == "drift" and not any(drifted(plan)):
        found = Asked(None, "No check asks for a release.", settled=True)
    else:
        found = newest(plan, home, instance, now)
    return found, Answer(mark, now, now + LOOK_AGAIN if found.settled else 0.0, found.said).cursor()


def newest_request(graph: Graph, home: Home, instance: dg.DagsterInstance) -> dg.RunRequest | dg.SkipReason:
    """What is to be asked for so that the newest release is up to date, or why nothing is."""
    found = newest(_plan(graph, home), home, instance, time.time())
    return found.request or dg.SkipReason(found.said)


def newest(plan: Plan, home: Home, instance: dg.DagsterInstance, now: float) -> Asked:
    """The same, of what a plan says at ``now`` (seconds)."""
    graph = plan.graph
    accepted = [batch for batch in plan.batches if batch in plan.heads("features")]
    if not accepted:
        return Asked(None, "No batch was accepted yet, so that there is nothing to make a release of.", settled=True)
    release, stages = accepted[-1], graph.of_scope("release")
    name = f"The release {release}"
    requests = Requests(instance, graph)
    if requests.in_flight([stage.name for stage in stages], [release]):
        return Asked(None, f"The release {release} is being made.")
    standings = {stage.name: plan.standing(stage, release) for stage in stages}
    tries = Tries(place(home, graph.contract.name, "releases"), graph.contract.automation.arrivals.attempts)
    stale = [stage for stage in stages if standings[stage.name].state == "stale"]
    if not stale:
        tries.done(name)
        tries.save()
        told = [each.sentence for each in standings.values() if each.state != "current"]
        return Asked(None, " ".join(told[:1]) or f"The release {release} is up to date.", settled=True)
    below = [stage.name for stage in graph.stages.values() if stage.scope != "release"]
    busy = requests.in_flight(below, [*plan.batches, graph.whole])
    if busy:
        return Asked(None, f"The release {release} waits for {counted(len(busy), 'batch')} being made.")
    key = digest([plan.resolve(stage, release).key for stage in stale])
    if why := tries.why_not(name, key, now):
        return Asked(None, why, settled=tries.given_up(name, key))
    times = tries.asked(name, key, now)
    tries.save()
    return Asked(requests.runs(f"release:{key[:16]}:{times}", stages, [release])[0])


def drifted(plan: Plan) -> Iterator[str]:
    """A sentence for each check of the policy that failed on a batch which the newest release has not seen as it is."""
    graph, store = plan.graph, plan.store
    made = plan.heads("trained_model")
    seen: set[tuple[str, str, str | None]] = set()
    if made:
        newest = made[plan.calendar.sort(made)[-1]]
        manifest = store.manifest(newest.asset, newest.batch, newest.manifest)
        seen = {(item.asset, item.partition, item.version) for item in manifest.inputs}
    for name in graph.contract.automation.releases.checks:
        stage, _, check = name.rpartition("/")
        for batch in plan.calendar.sort(plan.heads("features").keys() - _seen_batches(graph, plan, seen)):
            head = plan.heads(stage).get(batch)
            if head and _failed(store, head, check):
                yield f"{check} failed on {stage} [{batch}], which the newest release has not seen."


def releases_sensor(graph: Graph, home: Home) -> dg.SensorDefinition | None:
    """Asks for the newest release with every batch or on drift; None when the policy is another one."""
    policy = graph.contract.automation.releases.when
    if policy not in ("every_batch", "drift"):
        return None

    @dg.sensor(
        name=f"{graph.contract.name}_releases",
        target=[dg.AssetKey(graph.path(stage.name)) for stage in graph.of_scope("release")],
        minimum_interval_seconds=10,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"{_POLICIES[policy]}: asks for the newest release when it is stale.",
    )
    def look(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        home.initialise()
        found, cursor = tick(graph, home, context.instance, context.cursor, time.time())
        return dg.SensorResult(
            run_requests=[found.request] if found.request else [],
            skip_reason=None if found.request else dg.SkipReason(found.said),
            cursor=cursor,
        )

    return look


def _plan(graph: Graph, home: Home) -> Plan:
    return Plan(graph, Store.open(home.store), home.branch, entered_only=True)


def _seen_batches(graph: Graph, plan: Plan, seen: set[tuple[str, str, str | None]]) -> set[str]:
    asset = graph.asset("features")
    return {batch for batch, head in plan.heads("features").items() if (asset, batch, head.version) in seen}


def _failed(store: Store, head: Head, check: str) -> bool:
    verdicts = store.manifest(head.asset, head.batch, head.manifest).verdicts
    return any(verdict["check"] == check and not verdict["passed"] for verdict in verdicts)
