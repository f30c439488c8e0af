"""A whole dataset at a glance: how everything stands, and what is not current in groups of one reason.

What belongs here: looking at every stage of every batch once, counting, and putting together what has the same reason.
What does not: finding a reason (``staleness``) and printing.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mlops_assets.assets.graph import Stage
from mlops_assets.assets.plan import Plan
from mlops_assets.assets.reasons import Explanation, State
from mlops_assets.assets.staleness import Staleness
from mlops_assets.contract.calendar import ALL
from mlops_assets.store.bulk import uncollected

STATES: tuple[State, ...] = ("stale", "refused", "blocked", "waiting", "current")
"""In the order in which somebody wants to hear of them."""


@dataclass(frozen=True, slots=True)
class Group:
    """Stages of batches that are not current for the same reason; ``first`` explains one of them.

    ``alike`` says that it speaks for every member; else each has a file, an input or something above of its own.
    """

    stages: tuple[str, ...]
    batches: tuple[str, ...]
    ranges: tuple[tuple[str, str], ...]
    first: Explanation
    alike: bool
    members: tuple[Explanation, ...] = field(repr=False)

    @property
    def state(self) -> State:
        """How all of them stand."""
        return self.first.state

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; where the members are not alike, each of them with its reasons."""
        found = {
            "state": self.state,
            "stages": list(self.stages),
            "partitions": len(self.batches),
            "ranges": [list(pair) for pair in self.ranges],
            "reasons": [reason.to_dict() for reason in self.first.reasons] if self.alike else [],
            "above": [each.to_dict() for each in self.first.above] if self.alike else [],
        }
        return found if self.alike else {**found, "members": [member.to_dict() for member in self.members]}


@dataclass(frozen=True)
class Survey:
    """``counts`` by stage and state, of every batch and the newest release, and what is not ``current``.

    ``read`` manifests were read, and the reasons of ``unread`` stages of batches were not looked at.
    """

    dataset: str
    branch: str
    counts: Mapping[str, Mapping[str, int]]
    explanations: Sequence[Explanation]
    strays: tuple[str, ...]
    read: int
    staleness: Staleness = field(repr=False)

    @property
    def current(self) -> bool:
        """Whether nothing is to be said beyond that."""
        return not self.explanations and not self.strays

    @cached_property
    def unread(self) -> int:
        """Of how many the reasons were not looked at."""
        return sum(reason.kind == "unread" for each in self.explanations for reason in each.reasons)

    def states(self) -> Mapping[str, int]:
        """How many stages of batches are in each state."""
        found: Counter[str] = Counter()
        for counts in self.counts.values():
            found.update(counts)
        return found

    @cached_property
    def groups(self) -> list[Group]:
        """What is not current, by what the reasons have in common: what is stale first, and upstream first."""
        return self._grouped(_broad)

    @cached_property
    def exact(self) -> list[Group]:
        """What is not current, by its exact reasons."""
        return self._grouped(_exact)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "dataset": self.dataset,
            "branch": self.branch,
            "current": self.current,
            "stages": {stage: dict(counts) for stage, counts in self.counts.items()},
            "groups": [group.to_dict() for group in self.groups],
            "strays": list(self.strays),
            "manifests_read": self.read,
            "not_looked_at": self.unread,
        }

    def _grouped(self, key: Callable[[Explanation], object]) -> list[Group]:
        by_reason: dict[tuple[str, str, object], list[Explanation]] = {}
        for each in self.explanations:
            by_reason.setdefault((each.stage, each.state, key(each)), []).append(each)
        # what holds of the same batches in several stages, such as all that wait for one file, is said once
        merged: dict[object, tuple[list[str], list[Explanation]]] = {}
        for (stage, state, reason), members in by_reason.items():
            batches = tuple(member.batch for member in members)
            merged.setdefault((state, reason, batches), ([], members))[0].append(stage)
        groups = [self._group(stages, members) for stages, members in merged.values()]
        return sorted(groups, key=lambda group: STATES.index(group.state))

    def _group(self, stages: list[str], members: list[Explanation]) -> Group:
        batches = tuple(member.batch for member in members)
        alike = len({_exact(member) for member in members}) == 1
        return Group(tuple(stages), batches, self.staleness.ranges(batches), members[0], alike, tuple(members))


def survey(plan: Plan, most: int | None = None, chosen: Mapping[str, Sequence[str]] | None = None) -> Survey:
    """Look at every stage of every batch and of the newest release, or at those that are ``chosen`` by stage.

    ``most`` is how many manifests may be read to find reasons.
    """
    staleness = Staleness(plan) if most is None else Staleness(plan, most)
    counts: dict[str, Counter[str]] = {}
    found: list[Explanation] = []
    with uncollected():
        for stage in plan.graph.stages.values():
            keys = batches_of(plan, stage) if chosen is None else chosen.get(stage.name, ())
            states = counts[stage.name] = Counter()
            for batch in keys:
                explained = staleness.explain(stage, batch)
                states[explained.state] += 1
                if explained.state != "current":
                    found.append(explained)
    return Survey(plan.graph.contract.name, plan.branch, counts, found, plan.landing.strays, staleness.read, staleness)


def batches_of(plan: Plan, stage: Stage) -> list[str]:
    """The batches of a stage that are to be current: of the release stages the newest one alone."""
    if stage.scope == "reference":
        return [plan.graph.whole]
    return plan.batches if stage.scope == "batch" else plan.releases[-1:]


def _broad(each: Explanation) -> object:
    # what has a reason here is made anew whatever stands above it
    return tuple(reason.broad for reason in each.reasons) or _exact(each)


def _exact(each: Explanation) -> object:
    return tuple(each.reasons), tuple((one.asset, one.state, _place(each, one.batches)) for one in each.above)


def _place(each: Explanation, batches: Sequence[str]) -> Sequence[str]:
    """Where something above is: in the own batch of each, or in the same ones for all."""
    return ("",) if batches == (each.batch,) and each.batch != ALL else batches
