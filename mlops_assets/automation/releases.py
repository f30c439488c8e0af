"""When a release is asked for by itself, as the contract's policy says.

What belongs here: whether the newest release is to be made again now. What does not: making it, and whether it may be
used (``lifecycle``). Late data makes every release that saw it stale in the records; asked for is the newest one alone.
"""

import time
from collections.abc import Iterator

import dagster as dg

from mlops_assets.assets.graph import Graph, digest
from mlops_assets.assets.plan import Plan
from mlops_assets.automation.memory import Tries, place
from mlops_assets.automation.requests import Requests
from mlops_assets.home import Home
from mlops_assets.store.heads import Head
from mlops_assets.store.store import Store

_POLICIES = {
    "every_batch": "Made anew with every batch",
    "drift": "Made anew when a check asks for it",
    "schedule": "Made anew on a schedule",
    "hand": "Made by hand",
}


def newest_request(graph: Graph, home: Home, instance: dg.DagsterInstance) -> dg.RunRequest | dg.SkipReason:
    """What is to be asked for so that the newest release is up to date, or why nothing is."""
    store = Store.open(home.store)
    plan = Plan(graph, store, home.branch, entered_only=True)
    accepted = [batch for batch in plan.batches if batch in plan.heads("features")]
    if not accepted:
        return dg.SkipReason("No batch was accepted yet, so that there is nothing to make a release of.")
    release, stages = accepted[-1], graph.of_scope("release")
    name = f"The release {release}"
    requests = Requests(instance, graph)
    if requests.in_flight([stage.name for stage in stages], [release]):
        return dg.SkipReason(f"The release {release} is being made.")
    standings = {stage.name: plan.standing(stage, release) for stage in stages}
    tries = Tries(place(home, graph.contract.name, "releases"), graph.contract.automation.arrivals.attempts)
    stale = [stage for stage in stages if standings[stage.name].state == "stale"]
    if not stale:
        tries.done(name)
        tries.save()
        told = [each.sentence for each in standings.values() if each.state != "current"]
        return dg.SkipReason(" ".join(told[:1]) or f"The release {release} is up to date.")
    below = [stage.name for stage in graph.stages.values() if stage.scope != "release"]
    busy = requests.in_flight(below, [*plan.batches, graph.whole])
    if busy:
        return dg.SkipReason(f"The release {release} waits for {len(busy)} batch(es) that are being made.")
    key = digest([plan.resolve(stage, release).key for stage in stale])
    if why := tries.why_not(name, key, time.time()):
        return dg.SkipReason(why)
    times = tries.asked(name, key, time.time())
    tries.save()
    return requests.runs(f"release:{key[:16]}:{times}", stages, [release])[0]


def drifted(graph: Graph, home: Home) -> Iterator[str]:
    """A sentence for each check of the policy that failed on a batch which the newest release has not seen as it is."""
    store = Store.open(home.store)
    plan = Plan(graph, store, home.branch, entered_only=True)
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
    def look(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        home.initialise()
        asked_by = list(drifted(graph, home)) if policy == "drift" else []
        if policy == "drift" and not asked_by:
            return dg.SkipReason("No check asks for a release.")
        return newest_request(graph, home, context.instance)

    return look


def _seen_batches(graph: Graph, plan: Plan, seen: set[tuple[str, str, str | None]]) -> set[str]:
    asset = graph.asset("features")
    return {batch for batch, head in plan.heads("features").items() if (asset, batch, head.version) in seen}


def _failed(store: Store, head: Head, check: str) -> bool:
    verdicts = store.manifest(head.asset, head.batch, head.manifest).verdicts
    return any(verdict["check"] == check and not verdict["passed"] for verdict in verdicts)
