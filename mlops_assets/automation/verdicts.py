"""Telling Dagster where ``up_to_date`` no longer says what it said: the check that no run would have answered.

What belongs here: finding the verdicts that changed, and telling of a bounded number at once. What does not: whether
something is current (``assets.staleness``), and the verdicts that a run gives on what it makes (``assets.events``).

What was told last lies in a file. One that is lost costs the same verdicts once more.
"""

from collections.abc import Iterator

import dagster as dg

from mlops_assets.assets.graph import digest
from mlops_assets.assets.plan import Plan
from mlops_assets.assets.reasons import Explanation
from mlops_assets.assets.specs import Specs
from mlops_assets.assets.survey import STATES, Survey, batches_of
from mlops_assets.automation.memory import keep, kept_in, place
from mlops_assets.automation.requests import Requests
from mlops_assets.home import Home

AT_ONCE = 200
"""Verdicts that Dagster is told of at once; the next time goes on."""

_ID = 16


def tell(found: Survey, plan: Plan, home: Home, instance: dg.DagsterInstance, busy: Requests) -> int:
    """Tell Dagster of the verdicts that changed; how many are left for later.

    What is being made is told by whoever makes it.
    """
    # Storages and their SQLAlchemy are loaded by whoever runs, not by whoever only loads the graph.
    from mlops_assets.assets.dagster_private import log_verdicts
    from mlops_assets.assets.events import up_to_date

    memory = place(home, plan.graph.contract.name, "up_to_date")
    before = kept_in(memory)
    known: dict[str, dict[str, str]] = {stage: dict(told) for stage, told in before.items()}
    changed = list(_changed(found, plan, known))
    if changed:
        names = [stage.name for stage in plan.graph.stages.values()]
        under_way = busy.in_flight(names, {each.batch for each, _ in changed})
        changed = [(each, entry) for each, entry in changed if each.batch not in under_way]
    now, left = changed[:AT_ONCE], len(changed) - AT_ONCE
    specs = Specs(plan.graph)
    stages = [plan.graph.stages[each.stage] for each, _ in now]
    evaluations = [
        up_to_date(specs, stage, each, None if specs.partitions_of(stage) is None else each.batch)
        for (each, _), stage in zip(now, stages, strict=True)
    ]
    for (each, entry), told in zip(now, log_verdicts(instance, evaluations), strict=True):
        if entry is None:
            known[each.stage].pop(each.batch)
        elif told:
            known.setdefault(each.stage, {})[each.batch] = entry
    if known != before:
        keep(memory, known)
    return max(left, 0)


def _changed(found: Survey, plan: Plan, known: dict[str, dict[str, str]]) -> Iterator[tuple[Explanation, str | None]]:
    """What Dagster is to be told, with what is then remembered (None: nothing); forgets what was told otherwise.

    A version that was made since was told of by whoever made it.
    """
    entries: dict[object, str] = {}
    standing: set[tuple[str, str]] = set()
    for each in sorted(found.explanations, key=lambda each: STATES.index(each.state)):
        standing.add((each.stage, each.batch))
        head = plan.heads(each.stage).get(each.batch)
        if head is None:
            continue
        why = each.reasons, tuple((one.asset, one.state) for one in each.above)
        if why not in entries:
            entries[why] = digest([[reason.to_dict() for reason in each.reasons], list(why[1])])[:_ID]
        entry = f"{head.manifest[-_ID:]} {entries[why]}"
        if known.get(each.stage, {}).get(each.batch) != entry:
            yield each, entry
    for name, told in known.items():
        stage = plan.graph.stages.get(name)
        looked_at = set(batches_of(plan, stage)) if stage else set()
        for batch, entry in list(told.items()):
            if (name, batch) in standing:
                continue
            head = plan.heads(name).get(batch) if batch in looked_at else None
            if head and entry.startswith(head.manifest[-_ID:]):
                yield Explanation(plan.graph.asset(name), name, batch, "current"), None
            else:
                del told[batch]
