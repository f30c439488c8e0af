"""``branch``, ``branches``, ``merge``, ``revert``, ``protect`` and ``unprotect``: moving many heads, and who may.

What belongs here: arguments, what is printed, exit codes. What does not: any decision (``store.merging``).
"""

import argparse
import difflib
import sys
from typing import TYPE_CHECKING, Any

from mlops_assets.commands.common import Commands, open_store, say_json
from mlops_assets.errors import UserError
from mlops_assets.home import Home
from mlops_assets.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mlops_assets.store.changes import Change
    from mlops_assets.store.merging import Difference, MergePlan
    from mlops_assets.store.store import Store

_SHOWN = 20
_HEX = 3 + 12


def add(commands: "Commands") -> None:
    """Register the subcommands."""
    branch = commands.add_parser(
        "branch",
        help="start a branch, remove one, or list them",
        description="Start a branch: one small file, whatever the size of the data. "
        "Work on it with MLOPS_ASSETS_BRANCH=NAME.",
    )
    branch.add_argument("name", nargs="?", help="the new branch; without it, all branches are listed")
    branch.add_argument(
        "--from", dest="source", metavar="REF", help="a branch, tag or moment; the current branch when left out"
    )
    branch.add_argument(
        "--empty", action="store_true", help="start with nothing, as one that holds a sample (sample/NAME) does anyway"
    )
    branch.add_argument("--delete", metavar="NAME", help="remove this branch; its versions stay until `gc`")
    _words(branch)
    branch.set_defaults(command=_branch)

    branches = commands.add_parser("branches", help="list the branches")
    branches.add_argument("--json", action="store_true", help="print the answer as JSON")
    branches.set_defaults(command=_branches)

    merge = commands.add_parser(
        "merge",
        help="take over what a branch, a tag or a remote's branch changed",
        description="Each batch that only the source changed moves to the source's version; what both changed is a "
        "conflict, and nothing moves until you decide.",
    )
    merge.add_argument("source", nargs="?", metavar="SOURCE", help="a branch, a tag, or REMOTE/BRANCH")
    merge.add_argument("--into", metavar="BRANCH", help="the branch that moves; the current one when left out")
    side = merge.add_mutually_exclusive_group()
    side.add_argument(
        "--ours", dest="prefer", action="store_const", const="ours", help="on conflict keep what the target shows"
    )
    side.add_argument(
        "--theirs", dest="prefer", action="store_const", const="theirs", help="on conflict take the source's version"
    )
    merge.add_argument("--asset", action="append", metavar="A", help="only this asset; may be repeated")
    merge.add_argument(
        "--partition", dest="batch", action="append", metavar="P", help="only this batch; may be repeated"
    )
    merge.add_argument("--dry-run", action="store_true", help="say what would move, and move nothing")
    merge.add_argument(
        "--continue",
        dest="resume",
        nargs="?",
        const="",
        metavar="ID",
        help="finish what was left open: a merge, revert or restore; the current branch's when ID is left out",
    )
    merge.add_argument("--abandon", metavar="ID", help="give up what was left open; what moved stays moved")
    _words(merge)
    merge.set_defaults(command=_merge)

    revert = commands.add_parser(
        "revert",
        help="take back a merge, restore or revert, or the newest move of one batch",
        description="Nothing is deleted: the heads move back, and that can be reverted too.",
    )
    revert.add_argument("what", metavar="WHAT", help="a change's id or the beginning of it, ASSET[BATCH], or an asset")
    revert.add_argument("batch", nargs="?", metavar="BATCH", help="the batch, needed where WHAT is an asset")
    revert.add_argument("--on", metavar="BRANCH", help="the branch; the current one when left out")
    revert.add_argument(
        "--only-unmoved", action="store_true", help="leave heads that have moved since instead of refusing"
    )
    revert.add_argument("--protected", action="store_true", help="move a protected branch back: you mean it")
    _words(revert)
    revert.set_defaults(command=_revert)

    protect = commands.add_parser("protect", help="let a branch move by merges only")
    protect.add_argument("name")
    protect.add_argument(
        "--check", action="append", default=[], metavar="CHECK", help="must have passed on what is merged; repeatable"
    )
    protect.add_argument("--json", action="store_true", help="print the answer as JSON")
    protect.set_defaults(command=_protect)

    unprotect = commands.add_parser("unprotect", help="let a protected branch move by publishing again")
    unprotect.add_argument("name")
    unprotect.add_argument("--json", action="store_true", help="print the answer as JSON")
    unprotect.set_defaults(command=_unprotect)


def _words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-m", "--message", default="", help="why; kept in the records")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")


def _branch(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.branches import is_sample
    from mlops_assets.store.branching import create_branch, remove_branch

    if options.empty and options.source:
        raise UserError(f"`--empty` starts from nothing, and `--from {options.source}` names something; take one.")
    if options.delete:
        if options.name or options.source or options.empty:
            raise UserError("`branch --delete` removes one branch; leave the other name out.")
        if options.delete == home.branch:
            raise UserError(
                f"{options.delete} is the current branch (MLOPS_ASSETS_BRANCH); work on another one to remove it."
            )
        count = remove_branch(open_store(home), options.delete)
        if options.json:
            say_json({"removed": options.delete, "heads": count})
        else:
            print(f"Removed the branch {options.delete} and its {count} own heads. Its versions stay until gc.")
        return 0
    if not options.name:
        if options.empty:
            raise UserError("`branch --empty` starts a branch; say how it is called: mlops-assets branch NAME --empty")
        return _branches(options, home)
    store = open_store(home, create=True)
    empty = options.empty or (not options.source and is_sample(options.name) and not is_sample(home.branch))
    source = None if empty else options.source or home.branch
    branch = create_branch(store, options.name, source, current=home.branch, message=options.message)
    if options.json:
        say_json({"branch": branch.name, "source": branch.source, "assets": len(branch.base), "when": branch.when})
    else:
        shown = (
            f"from {branch.source} ({counted(len(branch.base), 'asset')}, nothing was copied)"
            if branch.source
            else "empty"
        )
        print(f"Started the branch {branch.name} {shown}.")
        print(f"Work on it with: export MLOPS_ASSETS_BRANCH={branch.name}")
    return 0


def _branches(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.changes import open_changes

    store = open_store(home)
    waiting = {change.branch: change for change in open_changes(store)}
    found = [_of_branch(store, name, waiting.get(name), current=name == home.branch) for name in store.branches()]
    if options.json:
        say_json(found)
        return 0
    for item in found:
        notes = [f"from {item['source']}"] if item["source"] else []
        notes += [f"{item['who']}, {item['when']}"] if item["when"] else []
        notes += [item["message"]] if item["message"] else []
        if item["protected"]:
            asks = f", asks for {', '.join(item['checks'])}" if item["checks"] else ""
            notes.append(f"protected{asks}")
        if item["open"]:
            notes.append(f"an open change: mlops-assets merge --continue {item['open']}")
        print(f"{'*' if item['current'] else ' '} {item['branch']:<20} {'; '.join(notes)}".rstrip())
    return 0


def _of_branch(store: "Store", name: str, waiting: "Change | None", *, current: bool) -> dict[str, Any]:
    branch, protection = store.branch(name), store.protection(name)
    return {
        "branch": name,
        "current": current,
        "source": branch.source,
        "who": branch.who,
        "when": branch.when,
        "message": branch.message,
        "protected": protection is not None,
        "checks": list(protection.checks) if protection else [],
        "open": waiting.id if waiting else None,
    }


def _merge(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.merging import merge, plan_merge

    if options.resume is not None or options.abandon:
        return _finish(options, home)
    if not options.source:
        raise UserError("Say what to merge: a branch, a tag, or REMOTE/BRANCH. Branches: mlops-assets branches")
    store = open_store(home)
    into = options.into or home.branch
    named = {"current": home.branch, "assets": options.asset, "batches": options.batch}
    if options.dry_run:
        plan = plan_merge(store, options.source, into, **named)
        if options.json:
            say_json(plan.to_dict())
        else:
            _show_plan(plan)
        return 1 if plan.conflicts else 0
    done = merge(store, options.source, into, options.prefer, options.message, **named)
    if options.json:
        say_json({**done.plan.to_dict(), "change": _of_change(done.change), "resumed": _of_change(done.resumed)})
    else:
        if done.resumed:
            print(
                f"Finished the merge {done.resumed.id} first, which was left open: "
                f"{counted(done.resumed.moved, 'head')} moved."
            )
        if done.change is None:
            print(f"{into} has all of {done.plan.source}: nothing to do.")
        else:
            print(_merged(done.plan, done.change))
        _show_skipped(done.resumed, done.change)
    return int(any(change and change.skipped for change in (done.resumed, done.change)))


def _finish(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.changes import abandon, open_changes, resume

    if options.source or (options.abandon and options.resume is not None):
        raise UserError("`merge --continue` and `merge --abandon` take the id of an open change and nothing else.")
    store = open_store(home)
    if options.abandon:
        change = abandon(store, options.abandon)
    else:
        id_ = options.resume
        if not id_:
            branch = options.into or home.branch
            waiting = open_changes(store, branch)
            if not waiting:
                raise UserError(f"Nothing was left open on branch {branch}.")
            id_ = waiting[0].id
        change = resume(store, id_)
    if options.json:
        say_json(_of_change(change))
    elif change.abandoned:
        print(
            f"Gave up the {change.verb} {change.id} of branch {change.branch}: {counted(change.moved, 'head')} had "
            f"moved and stay so; take them back with: mlops-assets revert {change.id}"
        )
    else:
        print(
            f"Finished the {change.verb} {change.id} of branch {change.branch}: {counted(change.moved, 'head')} moved."
        )
        _show_skipped(change)
    return int(bool(change.skipped) and not change.abandoned)


def _revert(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.reverting import revert

    store = open_store(home)
    branch = options.on or home.branch
    what = (options.what, options.batch) if options.batch else options.what
    if what in store.assets(branch):
        raise UserError(f"A move back is of one batch: say which batch of {what}, as in {what}[BATCH].")
    change = revert(
        store,
        branch,
        what,
        only_unmoved=options.only_unmoved,
        protected=options.protected,
        message=options.message,
    )
    if options.json:
        say_json(_of_change(change))
    else:
        print(
            f"Reverted {change.source} on branch {branch}: {counted(change.moved, 'head')} moved back "
            f"(change {change.id})."
        )
        _show_skipped(change)
    return int(bool(change.skipped))


def _protect(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.branching import protect

    protection = protect(open_store(home), options.name, options.check)
    for sentence in _unknown_checks(home, protection.checks):
        print(sentence, file=sys.stderr)
    if options.json:
        say_json({"branch": protection.branch, "protected": True, "checks": list(protection.checks)})
    else:
        asks = f", and only when {', '.join(protection.checks)} passed" if protection.checks else ""
        print(f"The branch {protection.branch} moves by merges only{asks}.")
    return 0


def _unknown_checks(home: Home, names: "Sequence[str]") -> "Iterator[str]":
    """A sentence for each check that no stage of any dataset here has; a store's versions may bring others.

    Contracts with mistakes hide what there is, which is said instead: a branch is protected without them.
    """
    from mlops_assets.assets.graph import Graph
    from mlops_assets.checks.declared import checks
    from mlops_assets.contract.load import load_contracts

    try:
        graphs = [Graph(contract) for contract in load_contracts(home.data).values()] if names else []
    except UserError as error:
        yield f"Whether a dataset has these checks cannot be told. {error.sentences[0]}"
        return
    known = {check.name for graph in graphs for stage in graph.stages for check in checks(graph.contract, stage)}
    for name in names:
        if known and name not in known:
            near = difflib.get_close_matches(name, known, cutoff=0.5)
            hint = f"; near is: {', '.join(near)}" if near else ""
            yield f"No check of the datasets in {home.data} is called {name!r}{hint}. It is asked for all the same."


def _unprotect(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.branching import unprotect

    protection = unprotect(open_store(home), options.name)
    if options.json:
        say_json({"branch": protection.branch, "protected": False, "checks": []})
    else:
        print(f"The branch {protection.branch} is not protected any more.")
    return 0


def _of_change(change: "Change | None") -> dict[str, Any] | None:
    if change is None:
        return None
    return {
        "id": change.id,
        "branch": change.branch,
        "verb": change.verb,
        "source": change.source,
        "message": change.message,
        "who": change.who,
        "when": change.when,
        "moved": change.moved,
        "abandoned": change.abandoned,
        "skipped": [item._asdict() for item in change.skipped],
    }


def _merged(plan: "MergePlan", change: "Change") -> str:
    """What a merge did; heads that keep what they show, and have now seen the other history, are said apart."""
    skipped = {(item.asset, item.batch) for item in change.skipped}
    joined = sum((item.asset, item.batch) not in skipped for item in plan.joined)
    said = f"{counted(change.moved - joined, 'head')} moved"
    if joined:
        said += f"; {counted(joined, 'head')} stayed, and both histories were joined"
    back = f" Take it back with: mlops-assets revert {change.id}" if change.moved > joined else ""
    return f"Merged {plan.source} into {plan.into}: {said}.{back}"


def _show_plan(plan: "MergePlan") -> None:
    if plan.up_to_date:
        print(f"{plan.into} has all of {plan.source}: nothing to do.")
        return
    print(
        f"{plan.source} into {plan.into}: {len(plan.fast_forwards)} would move, {len(plan.conflicts)} changed on both "
        f"sides, {plan.kept} stay as they are."
    )
    if plan.joined:
        print(f"{counted(len(plan.joined), 'head')} would stay, and both histories be joined.")
    _show("moves", plan.fast_forwards)
    _show("conflict", plan.conflicts)


def _show(word: str, differences: "Iterable[Difference]") -> None:
    found = list(differences)
    for item in found[:_SHOWN]:
        ours = item.ours.version[:_HEX] if item.ours else "nothing"
        theirs = item.theirs.version[:_HEX] if item.theirs else "nothing"
        print(f"  {word:<9} {item.asset}[{item.batch}]  {ours} -> {theirs}")
    if len(found) > _SHOWN:
        print(f"  and {len(found) - _SHOWN} more")


def _show_skipped(*changes: "Change | None") -> None:
    skipped = [item for change in changes if change for item in change.skipped]
    for item in skipped[:_SHOWN]:
        print(f"- {item.sentence}")
    if skipped:
        print(
            f"{len(skipped)} had moved meanwhile and were left as they are; the same command again looks at them anew."
        )
