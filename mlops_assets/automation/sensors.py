"""The sensor for new data of a dataset: looks, enters what is complete, asks for exactly the batches it touches.

What belongs here: one tick. What does not: when a file is complete (``arrivals``), how a run is asked for
(``requests``), what is stale for other reasons than new data (``sweep``).

A tick works from the ledger and the heads: a batch stays wanted until its stages are current or refused, whatever
became of runs. So neither a lost tick, a run that broke off nor a file that came again meanwhile loses anything.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from mlops_assets.assets.graph import Graph, Scope, digest
from mlops_assets.assets.plan import Plan
from mlops_assets.assets.publish import evidence
from mlops_assets.automation.arrivals import Inbox
from mlops_assets.automation.memory import Tries, keep, kept_in, place
from mlops_assets.automation.requests import Requests, wanted_key
from mlops_assets.home import Home
from mlops_assets.store.store import Store
from mlops_assets.wording import counted

_SCOPES: tuple[Scope, ...] = ("reference", "batch")
_SHOWN = 12


@dataclass
class _Wanted:
    """Batches that files have touched and that are not done (by scope), and what was refused for good, in words."""

    open: dict[str, set[str]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def add(self, scope: Scope, batches: set[str]) -> None:
        self.open.setdefault(scope, set()).update(batches)
        for batch in batches:
            self.refused.pop(batch, None)

    def done(self, scope: Scope, batch: str, refused: str) -> None:
        self.open[scope].discard(batch)
        if refused:
            self.refused[batch] = refused


def arrivals_sensor(graph: Graph, home: Home) -> dg.SensorDefinition:
    """Takes in files that are complete, and asks for the batches they belong to."""
    name = graph.contract.name
    stages = [stage for scope in _SCOPES for stage in graph.of_scope(scope)]

    @dg.sensor(
        name=f"{name}_arrivals",
        target=[dg.AssetKey(graph.path(stage.name)) for stage in stages],
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Looks for new files of {name}, and asks for exactly the batches that they belong to.",
    )
    def look(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        home.initialise()
        requests, said = tick(graph, home, context.instance, time.time())
        for sentence in said if requests else ():  # a tick that asks for runs has no reason to show
            context.log.info(sentence)
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else dg.SkipReason(_lines(said) or "Nothing new."),
            dynamic_partitions_requests=Requests(context.instance, graph).partitions(requests),
        )

    return look


def tick(graph: Graph, home: Home, instance: dg.DagsterInstance, now: float) -> tuple[list[dg.RunRequest], list[str]]:
    """One look: the runs to ask for, and sentences about all else; ``now`` is the time in seconds."""
    name = graph.contract.name
    store = Store.open(home.store)
    inbox = Inbox(graph.contract, store, place(home, name, "inbox"))
    looked = inbox.look(now)
    memory = place(home, name, "wanted")
    kept = kept_in(memory)
    wanted = _Wanted({scope: set(found) for scope, found in kept.get("open", {}).items()}, kept.get("refused", {}))
    for source, batches in looked.touched.items():
        reference = graph.contract.sources[source].kind == "reference"
        wanted.add("reference" if reference else "batch", batches)
    _keep(memory, kept, wanted)
    inbox.remember()
    requests: list[dg.RunRequest] = []
    said: list[str] = []
    if any(wanted.open.values()):
        asking = _Asking(graph, home, instance, store)
        requests, said = asking.ask(wanted, now), asking.said
    _keep(memory, kept, wanted)
    refused = [f"Refused: {sentence}" for _, sentence in sorted(wanted.refused.items())]
    return requests, [*looked.sentences, *said, *refused]


class _Asking:
    """One tick's requests, and why the rest of what is wanted is not asked for now (``said``)."""

    def __init__(self, graph: Graph, home: Home, instance: dg.DagsterInstance, store: Store) -> None:
        self._graph = graph
        self._plan = Plan(graph, store, home.branch, entered_only=True)
        self._requests = Requests(instance, graph)
        self._tries = Tries(place(home, graph.contract.name, "tries"), graph.contract.automation.arrivals.attempts)
        self.said: list[str] = []

    def ask(self, wanted: _Wanted, now: float) -> list[dg.RunRequest]:
        """Ask for what is stale; what is current or refused is no longer wanted."""
        found: list[dg.RunRequest] = []
        for scope in _SCOPES:
            names = [stage.name for stage in self._graph.of_scope(scope)]
            under_way = self._requests.in_flight(names, wanted.open.get(scope, ()))
            if under_way:
                shown = ", ".join(sorted(under_way)[:_SHOWN])
                self.said.append(f"{counted(len(under_way), 'batch')} being made: {shown}.")
            asked = self._scope(scope, wanted, under_way, now)
            found += asked
            if scope == "reference" and (asked or under_way):
                break  # what stands on the reference tables waits for them
        self._tries.save()
        return found

    def _scope(self, scope: Scope, wanted: _Wanted, under_way: set[str], now: float) -> list[dg.RunRequest]:
        by_stages: dict[tuple[str, ...], dict[str, str]] = {}
        alone: set[str] = set()
        for batch in sorted(wanted.open.get(scope, set()) - under_way):
            name = f"The {scope} {batch}"
            due = self._plan.due(scope, batch)
            if not due:
                self._tries.done(name)
                wanted.done(scope, batch, self._trouble(scope, batch))
                continue
            key = wanted_key(self._plan, [stage.name for stage in due], batch)
            if why := self._tries.why_not(name, key, now):
                self.said.append(why)
                continue
            if self._tries.broke_off(name, key):
                alone.add(batch)
            asked = f"{key}:{self._tries.asked(name, key, now)}"
            by_stages.setdefault(tuple(stage.name for stage in due), {})[batch] = asked
        return [
            request
            for names, keys in by_stages.items()
            for request in self._requests.runs(
                f"arrivals:{digest(keys)[:16]}",
                [self._graph.stages[name] for name in names],
                keys,
                alone=alone & keys.keys(),
            )
        ]

    def _trouble(self, scope: Scope, batch: str) -> str:
        for stage in self._graph.of_scope(scope):
            standing = self._plan.standing(stage, batch)
            if standing.state in ("refused", "blocked") and not self._plan.optional(stage.name, batch):
                examples = evidence(self._plan.store, standing.refusal) if standing.refusal else {}
                shown = [text for texts in examples.values() for text in texts][:1]
                return " ".join([standing.sentence, *shown])
        return ""


def _keep(memory: Path, kept: dict[str, Any], wanted: _Wanted) -> None:
    found = {
        "open": {scope: sorted(batches) for scope, batches in wanted.open.items() if batches},
        "refused": wanted.refused,
    }
    if found != kept:
        keep(memory, found)
        kept.clear()
        kept.update(found)


def _lines(sentences: Sequence[str]) -> str:
    shown = list(dict.fromkeys(sentences))
    more = [f"... and {len(shown) - _SHOWN} more."] if len(shown) > _SHOWN else []
    return "\n".join([*shown[:_SHOWN], *more])
