"""What is stale and was asked for by nobody: the requests of the sweep.

What belongs here: which batches and stages to ask for, and why not for the others. What does not: what is stale
(``assets.survey``), how a run is asked for (``requests``), releases (``releases``).

What is refused or stands on nothing is not asked for: it would be the same again. What broke off is asked for a bounded
number of times, with growing pauses. A run takes its batches in order, so of those it was to take it broke off at the
first that is left: that one is asked for alone from then on, and keeps no other back.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import dagster as dg

from mlops_assets.assets.graph import Scope, digest
from mlops_assets.assets.plan import Plan
from mlops_assets.assets.survey import Survey
from mlops_assets.assets.unreported import all_marked
from mlops_assets.automation.memory import Tries, place
from mlops_assets.automation.requests import Requests, wanted_key
from mlops_assets.home import Home
from mlops_assets.wording import counted

CLAIMED_BY = "sweep"
SCOPES: tuple[Scope, ...] = ("reference", "batch")

_SHOWN = 3
_ID = 16


@dataclass(slots=True)
class _Due:
    """Stages of batches to ask for: by the stages, each batch with a key that is another one for another try."""

    together: dict[tuple[str, ...], dict[str, str]] = field(default_factory=dict)
    alone: set[str] = field(default_factory=set)
    more: int = 0


class Missed:
    """One tick's requests; then why the rest is not asked for, and whether the same look would find anything else."""

    def __init__(self, found: Survey, plan: Plan, home: Home, requests: Requests) -> None:
        self._found = found
        self._plan = plan
        self._home = home
        self._requests = requests
        automation = plan.graph.contract.automation
        self._limit = automation.limit
        self._tries = Tries(place(home, plan.graph.contract.name, "sweep"), automation.arrivals.attempts)
        self.why: list[str] = []
        self.settled = True

    def ask(self, now: float) -> list[dg.RunRequest]:
        """Ask for reference tables, and for what stands on them only when none of those is on its way."""
        runs: list[dg.RunRequest] = []
        for scope in SCOPES:
            runs = self._scope(scope, now)
            if runs or (scope == "reference" and self.why and not self.settled):
                break
        self._tries.save()
        self.settled = self.settled and not runs
        return runs

    def _scope(self, scope: Scope, now: float) -> list[dg.RunRequest]:
        stages = self._plan.graph.stages
        stale = {
            each.batch
            for each in self._found.explanations
            if each.state == "stale" and stages[each.stage].scope == scope
        }
        untold = self._untold(scope)
        wanted = sorted({*stale, *untold})  # keys of all cadences sort as text
        for batch in [self._plan.graph.whole] if scope == "reference" else self._plan.batches:
            if batch not in stale and batch not in untold:
                self._tries.done(batch)
        under_way = self._requests.in_flight([stage.name for stage in self._plan.graph.of_scope(scope)], wanted)
        if under_way:
            self.why.append(f"{counted(len(under_way), 'batch')} being made by other runs.")
            self.settled = False
        due = self._due(scope, [batch for batch in wanted if batch not in under_way], untold, now)
        return [
            request
            for names, keys in due.together.items()
            for request in self._requests.runs(
                f"{CLAIMED_BY}:{digest(keys)[:_ID]}",
                [stages[name] for name in names],
                keys,
                alone=due.alone & keys.keys(),
            )
        ]

    def _due(self, scope: Scope, wanted: list[str], untold: Mapping[str, set[str]], now: float) -> _Due:
        found = _Due()
        kept_back: list[str] = []
        count, broke_before = 0, False
        for batch in wanted:
            names = tuple(self._names(scope, batch, untold.get(batch, set())))
            key = wanted_key(self._plan, names, batch)
            if reason := self._tries.why_not(batch, key, now):
                kept_back.append(reason)
                if not self._tries.given_up(batch, key):
                    # it counts as asked for: where all runs fail, the pauses hold for all
                    count += 1
                    self.settled = False
                continue
            count += 1
            if count > self._limit:
                continue
            broke_off = self._tries.broke_off(batch, key)
            if broke_off and not broke_before:
                found.alone.add(batch)
            broke_before = broke_off
            found.together.setdefault(names, {})[batch] = f"{key}:{self._tries.asked(batch, key, now)}"
        self.why += kept_back[:_SHOWN]
        if len(kept_back) > _SHOWN:
            self.why.append(f"The same goes for {len(kept_back) - _SHOWN:,} more.")
        if count > self._limit:
            self.why.append(f"{counted(count - self._limit, 'more batch')} asked for afterwards.")
        return found

    def _names(self, scope: Scope, batch: str, untold: set[str]) -> Iterator[str]:
        due = {stage.name for stage in self._plan.due(scope, batch)}
        yield from (stage.name for stage in self._plan.graph.of_scope(scope) if stage.name in due | untold)

    def _untold(self, scope: Scope) -> dict[str, set[str]]:
        """By batch, stages of which Dagster was not told, or hides the version behind a refusal that is over."""
        found: dict[str, set[str]] = {}
        for stage in self._plan.graph.of_scope(scope) if self._home.branch == "main" else ():
            for batch, why in all_marked(self._home, "main", self._plan.graph.asset(stage.name)).items():
                if batch not in self._plan.heads(stage.name):
                    continue
                holds = self._plan.standing(stage, batch).state != "current" or self._plan.notes(stage, batch)
                if why == "news" or not holds:
                    found.setdefault(batch, set()).add(stage.name)
        return found
