"""How everything stands, and why: status, why-stale.

What belongs here: arguments, what is printed, exit codes. What does not: finding out (``assets.survey``,
``assets.staleness``), or doing anything about it. Nothing of Dagster is imported: whoever asks must not wait.
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mlops_assets.commands.common import Commands, contracts, open_store, say_json, without_gc
from mlops_assets.errors import UserError
from mlops_assets.home import Home
from mlops_assets.wording import counted

if TYPE_CHECKING:
    from mlops_assets.assets.plan import Plan
    from mlops_assets.assets.reasons import Above, Explanation
    from mlops_assets.assets.survey import Group, Survey
    from mlops_assets.contract.model import Contract

_MOST_GROUPS = 15
_MOST_MEMBERS = 3
_MOST_REASONS = 6
_MOST_READ = 2000
_TITLES = {"stale": "Stale", "refused": "Refused", "blocked": "Cannot be made", "waiting": "Waits"}
_NAMED = "a dataset, an asset such as flights/cleaned, or one of its partitions: flights/cleaned[2013-03]"


def add(commands: Commands) -> None:
    """Register the subcommands."""
    status = commands.add_parser("status", help="say what is current, stale, refused or waiting, and why")
    status.add_argument("dataset", nargs="?")
    status.add_argument("--json", action="store_true", help="answer for programs")
    status.set_defaults(command=_status)

    why = commands.add_parser("why-stale", help="the exact reasons why something is not what would be made now")
    why.add_argument("what", nargs="+", help=_NAMED)
    why.add_argument(
        "--limit", type=int, default=_MOST_READ, metavar="N", help=f"records to read at most ({_MOST_READ} by default)"
    )
    why.add_argument("--json", action="store_true", help="answer for programs")
    why.set_defaults(command=_why_stale)


def _status(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.assets.survey import survey
    from mlops_assets.automation.waiting import waiting

    code = 0
    told: list[dict[str, Any]] = []
    for contract in contracts(home, options.dataset):
        with without_gc():
            plan = _plan(contract, home)
            found = survey(plan)
        code = max(code, int(not found.current))
        if options.json:
            told.append(found.to_dict())
        else:
            print("\n".join(_nothing_yet(plan, contract) or _lines(found)))
    runs = waiting(home)
    if options.json:
        say_json({"datasets": told, "runs": runs})
    elif runs:
        print("\n".join(["Runs", *_listed(runs)]))
    return code


def _plan(contract: "Contract", home: Home) -> "Plan":
    from mlops_assets.assets.graph import Graph
    from mlops_assets.assets.plan import Plan

    return Plan(Graph(contract), open_store(home, create=True), home.branch)


def _nothing_yet(plan: "Plan", contract: "Contract") -> list[str]:
    """Where to begin when nothing was delivered or made; empty as soon as anything was."""
    from mlops_assets.contract.calendar import ALL

    arrived = (plan.landing.files(source, ALL) for source in contract.sources.values() if source.kind == "reference")
    if plan.batches or any(arrived) or any(plan.heads(stage) for stage in plan.graph.stages):
        return []
    supplier = f", or play the supplier: mlops-assets deliver {contract.name}" if contract.supplier else ""
    return [
        f"{contract.name} on branch {plan.branch}: nothing was delivered yet.",
        f"  Put files into {contract.folder}{supplier}",
        *(f"    {source.files}" for source in contract.sources.values()),
        f"  Then: mlops-assets run {contract.name}",
        *_listed(plan.landing.strays),
    ]


def _lines(found: "Survey") -> Iterator[str]:
    yield f"{found.dataset} on branch {found.branch}"
    for stage, counts in found.counts.items():
        states = ", ".join(f"{counts[state]:,} {state}" for state in ("current", *_TITLES) if counts.get(state))
        yield f"  {stage:<20} {states or 'nothing delivered'}"
    for state, title in _TITLES.items():
        groups = [group for group in found.groups if group.state == state]
        if groups:
            yield title
            yield from _listed(line for group in groups[:_MOST_GROUPS] for line in _group_lines(found.dataset, group))
            if len(groups) > _MOST_GROUPS:
                more = sum(len(group.batches) * len(group.stages) for group in groups[_MOST_GROUPS:])
                yield f"  - and {more:,} more: mlops-assets why-stale {found.dataset}"
    if found.strays:
        yield "Not taken in"
        yield from _listed(found.strays[:_MOST_GROUPS])
        if len(found.strays) > _MOST_GROUPS:
            yield f"  - and {counted(len(found.strays) - _MOST_GROUPS, 'more file')}"
    if found.unread:
        yield (
            f"Of {found.unread:,} the reasons were not looked at ({found.read:,} records were read): "
            f"mlops-assets why-stale {found.dataset} --limit {found.read + found.unread}"
        )
    if found.explanations:
        yield f"Next: mlops-assets run {found.dataset} | mlops-assets why-stale {found.dataset}"


def _group_lines(dataset: str, group: "Group") -> Iterator[str]:
    """One line for a group; where its members are not alike, one for each of the first few."""
    if group.state == "refused" or (group.state == "blocked" and group.first.reasons):
        # these sentences name what they are about
        yield from (member.sentences[0] for member in group.members[:_MOST_MEMBERS])
    elif group.state == "waiting":
        yield f"{_who(group)} for {', '.join(_for(each, group) for each in group.first.above)}"
        return
    elif group.alike or len({member.reasons for member in group.members}) == 1:
        yield f"{_who(group)}: {_shortened(group.first, group)}"
        return
    else:
        yield f"{_who(group)}, each for a reason of its own"
        yield from (f"  [{member.batch}] {_shortened(member)}" for member in group.members[:_MOST_MEMBERS])
    if len(group.members) > _MOST_MEMBERS:
        assets = " ".join(f"{dataset}/{stage}" for stage in group.stages)
        yield f"  and {len(group.members) - _MOST_MEMBERS:,} more: mlops-assets why-stale {assets}"


def _who(group: "Group") -> str:
    from mlops_assets.assets.reasons import said
    from mlops_assets.contract.calendar import ALL

    stages = ", ".join(group.stages)
    if len(group.batches) == 1:
        return stages if group.batches[0] == ALL else f"{stages} [{group.batches[0]}]"
    return f"{stages}, {len(group.batches):,} batches ({said(group.ranges)})"


def _for(each: "Above", group: "Group") -> str:
    """What a group waits for, without repeating its own batches."""
    from mlops_assets.assets.reasons import named, said
    from mlops_assets.contract.calendar import ALL

    if each.batches == (group.first.batch,) and each.batches != (ALL,):
        return f"{each.asset}" if len(group.batches) == 1 else f"{each.asset} of the same batch"
    if len(each.batches) == 1:
        return named(each.asset, each.batches[0])
    return f"{len(each.batches):,} batches of {each.asset} ({said(each.ranges)})"


def _shortened(member: "Explanation", group: "Group | None" = None) -> str:
    """The reasons in a line; ``group`` speaks for many batches, of which ``member`` is one."""
    reasons = [reason.sentence for reason in member.reasons]
    more = [f"And {counted(len(reasons) - _MOST_REASONS, 'more reason')}."] if len(reasons) > _MOST_REASONS else []
    above = [] if group and not group.alike else [_standing_on(each, group) for each in member.above]
    return " ".join([*reasons[:_MOST_REASONS], *more, *above])


def _standing_on(each: "Above", group: "Group | None") -> str:
    if group is None or len(group.batches) == 1:
        return each.sentence
    return f"It stands on {_for(each, group)}, which is {each.state}."


def _listed(lines: Iterable[str]) -> Iterator[str]:
    yield from (f"    {line.strip()}" if line.startswith("  ") else f"  - {line}" for line in lines)


# --- why-stale -------------------------------------------------------------------------------------------------------


class _Asked(NamedTuple):
    """What somebody asked about: all of a dataset, of an asset (``stage``), or one partition."""

    dataset: str
    stage: str | None
    batch: str | None


def _why_stale(options: argparse.Namespace, home: Home) -> int:
    if options.limit < 1:
        raise UserError("--limit is the number of records to read at most: 1 or more.")
    told: list[dict[str, Any]] = []
    for what in options.what:
        asked = _asked(what)
        (contract,) = contracts(home, asked.dataset)
        with without_gc():
            found = list(_answers(_plan(contract, home), asked, options.limit))
        if options.json:
            told.append({"asked": what, "answers": [answer.to_dict() for answer in found]})
        else:
            print("\n".join(_answer_lines(what, found)))
    if options.json:
        say_json(told)
    return 0


def _asked(what: str) -> _Asked:
    asset, bracket, batch = what.partition("[")
    if bracket and batch.endswith("]"):
        batch = batch[:-1]
    else:
        asset, _, batch = what.partition("@")
    dataset, _, stage = asset.partition("/")
    if batch and not stage:
        raise UserError(f"{what!r} names a partition of no asset; write {_NAMED}.")
    return _Asked(dataset, stage or None, batch or None)


def _answers(plan: "Plan", asked: _Asked, limit: int) -> "Iterator[Explanation | Group]":
    """One partition explained, or all that is not current in groups of exactly the same reasons."""
    from mlops_assets.assets.staleness import Staleness
    from mlops_assets.assets.survey import batches_of, survey

    graph = plan.graph
    if asked.stage is None:
        yield from survey(plan, limit).exact
        return
    if asked.stage not in graph.stages:
        raise UserError(f"{asked.dataset} has no stage {asked.stage!r}; it has: {', '.join(graph.stages)}.")
    stage = graph.stages[asked.stage]
    if asked.batch is None:
        batches = batches_of(plan, stage)
        (only,) = batches if len(batches) == 1 else (None,)
        if only is None:
            yield from survey(plan, limit, {stage.name: batches}).exact
            return
        asked = asked._replace(batch=only)
    batch = str(asked.batch)
    if stage.scope == "reference" and batch != graph.whole:
        raise UserError(f"{graph.asset(stage.name)} has no partitions; leave [{batch}] away.")
    if stage.scope != "reference":
        plan.calendar.check(batch)
    yield Staleness(plan, limit).in_full(stage, batch)


def _answer_lines(what: str, found: "Sequence[Explanation | Group]") -> Iterator[str]:
    from mlops_assets.assets.reasons import Explanation, named

    if not found:
        yield f"{what}: all of it is current."
    for answer in found:
        if isinstance(answer, Explanation):
            yield f"{named(answer.asset, answer.batch)} is {answer.state}."
            yield from _listed([*answer.sentences, *(f"Note: {note}" for note in answer.notes)])
            continue
        yield f"{_who(answer)}: {answer.state}"
        yield from _listed(reason.sentence for reason in answer.first.reasons)
        yield from _listed(_standing_on(each, answer) for each in answer.first.above)
