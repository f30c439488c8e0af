"""Snapshots and the way back to them: tag, tags, lock, checkout, restore, rollback, export.

What belongs here: arguments, what is printed, exit codes; which files of a dataset's folder make its configuration.
What does not: any decision on versions (``mlops_assets.store``).
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.commands.common import Commands, open_store, say_json, size
from mlops_assets.errors import NotStoredError, UserError
from mlops_assets.home import Home
from mlops_assets.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_assets.store.changes import Change
    from mlops_assets.store.restoring import Plan
    from mlops_assets.store.store import Store
    from mlops_assets.store.tags import Tag

_SHOWN = 10
_NO_CONFIGURATION = {"landing", "reference", "__pycache__", "data.lock"}
_MADE_BY_DBT = {"target", "logs"}


def add(commands: Commands) -> None:
    """Register the subcommands."""
    tag = commands.add_parser("tag", help="freeze what a dataset shows under a name, and write its data.lock")
    tag.add_argument("name", help="a name that is never given to another state")
    tag.add_argument("dataset")
    tag.add_argument("-m", "--message", required=True, help="what this snapshot is for")
    tag.add_argument("--configuration", metavar="FILE", type=Path, help="a JSON object to be kept with the tag")
    tag.add_argument("--no-lock", action="store_true", help="do not write data/DATASET/data.lock")
    tag.add_argument("--json", action="store_true", help="answer for programs")
    tag.set_defaults(command=_tag)

    tags = commands.add_parser("tags", help="list tags, newest first, or delete one")
    tags.add_argument("dataset", nargs="?")
    tags.add_argument("--delete", metavar="NAME", help="take this tag away; its name is never given to another state")
    tags.add_argument("--reason", metavar="WHY", default="", help="why it is deleted; recorded with the whole tag")
    tags.add_argument("--json", action="store_true", help="answer for programs")
    tags.set_defaults(command=_tags)

    lock = commands.add_parser("lock", help="compare data.lock with what the branch shows, or write it for a tag")
    lock.add_argument("dataset", nargs="?", help="all that have a data.lock when left out")
    how = lock.add_mutually_exclusive_group(required=True)
    how.add_argument("--check", action="store_true", help="exit with 1, and say why, when they differ")
    how.add_argument("--tag", metavar="NAME", help="write the data.lock of this tag")
    lock.add_argument("--if-stored", action="store_true", help="all is well where there is no store yet")
    lock.add_argument("--json", action="store_true", help="answer for programs")
    lock.set_defaults(command=_lock)

    checkout = commands.add_parser("checkout", help="show a tag's state again on a new branch, without copying data")
    checkout.add_argument("tag")
    checkout.add_argument("name", nargs="?", help="the new branch; checkout-TAG when left out")
    checkout.add_argument("--json", action="store_true", help="answer for programs")
    checkout.set_defaults(command=_checkout)

    restore = commands.add_parser("restore", help="move the branch's heads to what a tag, moment or branch shows")
    restore.add_argument("ref", help="a tag, a branch, BRANCH@TIME, @TIME, or b3: and the first digits of a version")
    restore.add_argument("asset", nargs="*", help="only these assets, or those under this dataset")
    _add_going_back(restore)
    restore.set_defaults(command=_restore)

    rollback = commands.add_parser("rollback", help="move heads to before the last change, run or move of theirs")
    rollback.add_argument("asset", nargs="+", help="these assets, or those under this dataset")
    rollback.add_argument("--steps", type=int, default=1, metavar="N", help="how many of these to go back (default 1)")
    _add_going_back(rollback)
    rollback.set_defaults(command=_rollback)

    export = commands.add_parser("export", help="write what a tag, branch or moment shows as plain files")
    export.add_argument("ref", help="as for restore")
    export.add_argument("target", type=Path, help="an empty or new folder, or one that was made by export")
    export.add_argument("--format", choices=("parquet", "csv", "json"), default="csv", help="of tables (default csv)")
    export.add_argument("--asset", action="append", metavar="A", help="only this asset or dataset; may be repeated")
    export.add_argument("--partition", action="append", metavar="P", help="only this batch; may be repeated")
    export.add_argument(
        "--formulas", action="store_true", help="leave text in CSV as it is, though a spreadsheet may run it"
    )
    export.add_argument("--json", action="store_true", help="answer for programs")
    export.set_defaults(command=_export)


def _add_going_back(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--partition", action="append", metavar="P", help="only this batch; may be repeated")
    parser.add_argument("-m", "--message", default="", help="why; recorded with every move")
    parser.add_argument("-n", "--dry-run", action="store_true", help="say what would move, and move nothing")
    parser.add_argument("--protected", action="store_true", help="also on a protected branch")
    parser.add_argument("--json", action="store_true", help="answer for programs")


# --- tags ------------------------------------------------------------------------------------------------------------


def _tag(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.assets.code import environment_digest, git_state
    from mlops_assets.store import snapshots
    from mlops_assets.store.files import write_file
    from mlops_assets.store.tags import tag_names

    folder = home.data / options.dataset
    if not options.no_lock and not folder.is_dir():
        raise UserError(f"There is no folder {folder} to write data.lock into; name a dataset, or give --no-lock.")
    store = open_store(home)
    known = options.name in tag_names(store)
    made = snapshots.tag(
        store,
        options.name,
        options.dataset,
        home.branch,
        git=git_state(folder if folder.is_dir() else Path.cwd()),
        environment=environment_digest(),
        configuration=_configuration(folder, options.configuration),
        message=options.message,
    )
    lock = None if options.no_lock else folder / "data.lock"
    if lock:
        write_file(lock, snapshots.lock_text(made).encode())
    if options.json:
        say_json({**made.to_dict(), "new": not known, "lock": str(lock) if lock else None})
        return 0
    if known:
        print(f"The tag {made.name} exists since {made.when} with exactly this state; nothing was written anew.")
    else:
        print(f"Tag {made.name}: {_content(made)}, from branch {made.branch}.")
    for sentence in _differing(made):
        print(f"- {sentence}")
    print(_code(made))
    if lock:
        message = made.message if made.message.strip() else made.name  # git refuses an empty one
        print(f"Its lock is {lock}; keep it in git:\n  git add {lock} && git commit -m {_quoted(message)}")
    return 0


def _tags(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store import snapshots

    store = open_store(home)
    if options.delete:
        record = snapshots.delete_tag(store, options.delete, options.reason)
        if options.json:
            say_json({"deleted": options.delete, "record": record})
        else:
            print(f"The tag {options.delete} is deleted; what it was stands in {store.where(record)}.")
            print("What only it named goes with the next: mlops-assets gc")
        return 0
    found = snapshots.tags(store, options.dataset)
    if options.json:
        say_json([tag.to_dict() for tag in found])
        return 0
    if not found:
        of = f" of {options.dataset}" if options.dataset else ""
        print(f"There is no tag{of}; make one with: mlops-assets tag NAME DATASET -m MESSAGE")
    for tag in found:
        print(f"{tag.name}  {tag.when}  {_content(tag)}, by {tag.who}: {tag.message}")
    return 0


def _lock(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.lock import NAME, lock_text
    from mlops_assets.store.tags import read_tag

    try:
        store = open_store(home)
    except NotStoredError:
        if not options.if_stored:
            raise
        return 0
    if options.check:
        return _check(options, home, store)
    if not options.dataset:
        raise UserError(f"Name the dataset whose {NAME} is to be written: mlops-assets lock DATASET --tag NAME")
    from mlops_assets.store.files import write_file

    tag = read_tag(store, options.tag)
    if tag.dataset != options.dataset:
        raise UserError(f"The tag {tag.name} is one of {tag.dataset}, not of {options.dataset}.")
    path = home.data / options.dataset / NAME
    if not path.parent.is_dir():
        raise UserError(f"There is no folder {path.parent} to write {NAME} into.")
    write_file(path, lock_text(tag).encode())
    if options.json:
        say_json({"lock": str(path), "tag": tag.name})
    else:
        print(f"{path} is that of tag {tag.name} now.")
    return 0


def _check(options: argparse.Namespace, home: Home, store: "Store") -> int:
    from mlops_assets.store.lock import NAME, differences, read_lock

    paths = [home.data / options.dataset / NAME] if options.dataset else sorted(home.data.glob(f"*/{NAME}"))
    answers = []
    code = 0
    for path in paths:
        lock = read_lock(path)
        told = differences(store, lock, home.branch)
        answers.append({"lock": str(path), "tag": lock.tag, "dataset": lock.dataset, "differences": told})
        code = max(code, int(bool(told)))
        if options.json:
            continue
        if not told:
            print(f"{path} is in step with branch {home.branch} (tag {lock.tag}).")
            continue
        print(f"{path} (tag {lock.tag}) is not what branch {home.branch} shows:")
        for sentence in told:
            print(f"- {sentence}")
        print(
            f"Keep what the branch shows: mlops-assets tag NAME {lock.dataset} -m MESSAGE\n"
            f"Or go back to the lock:     mlops-assets restore tag:{lock.tag}"
        )
    if options.json:
        say_json(answers)
    return code


def _checkout(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.assets.code import environment_digest
    from mlops_assets.store import snapshots

    store = open_store(home)
    branch = snapshots.checkout(store, options.tag, options.name)
    tag = snapshots.read_tag(store, options.tag)
    commit = tag.git.get("commit")
    go = [f"git checkout {commit}"] if commit else []
    go.append(f"export MLOPS_ASSETS_BRANCH={_quoted(branch.name)}")
    same = tag.environment == environment_digest()
    if options.json:
        answer = {"branch": branch.name, "tag": tag.to_dict(), "commands": go, "same_environment": same}
        say_json({**answer, "lock": snapshots.lock_text(tag)})
        return 0
    print(f"Branch {branch.name} shows tag {tag.name}: {_content(tag)}. No data was copied.")
    print(_code(tag))
    if tag.environment:
        told = "is this one" if same else "is another than this one: install what that commit's requirements.lock names"
        print(f"Its environment {tag.environment} {told}.")
    print("Go there with:")
    for word in go:
        print(f"  {word}")
    print(f"Its lock is written with:\n  mlops-assets lock {tag.dataset} --tag {tag.name}")
    return 0


# --- the way back ----------------------------------------------------------------------------------------------------


def _restore(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.restoring import plan_restore

    store = open_store(home)
    plan = plan_restore(store, home.branch, options.ref, options.asset or None, options.partition)
    return _go_back(options, store, plan)


def _rollback(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.restoring import plan_rollback

    store = open_store(home)
    plan = plan_rollback(store, home.branch, options.asset, options.partition, options.steps)
    return _go_back(options, store, plan)


def _go_back(options: argparse.Namespace, store: "Store", plan: "Plan") -> int:
    from mlops_assets.store.restoring import carry_out

    change = None
    if not options.dry_run:
        change = carry_out(store, plan, message=options.message, protected=options.protected)
    if options.json:
        say_json(
            {
                "branch": plan.branch,
                "to": plan.source,
                "moves": [move.to_dict() for move in plan.moves],
                "done": change is not None,
                "change": change.id if change else None,
                "skipped": [item._asdict() for item in change.skipped] if change else [],
            }
        )
    else:
        _tell(plan, change)
    return int(bool(change and change.skipped))


def _tell(plan: "Plan", change: "Change | None") -> None:
    if not plan.moves:
        print(f"Branch {plan.branch} shows this already ({plan.source}); nothing moves.")
        return
    word = "moved" if change else "would move"
    skipped = {(item.asset, item.batch) for item in change.skipped} if change else set()
    for move in plan.moves[:_SHOWN]:
        if (move.asset, move.batch) not in skipped:
            print(f"{word}  {move.asset}[{move.batch}]  {_short(move.before)} -> {_short(move.after)}")
    if len(plan.moves) > _SHOWN:
        print(f"... and {len(plan.moves) - _SHOWN} more")
    if change is None:
        print(
            f"{counted(len(plan.moves), 'head')} of branch {plan.branch} would go to {plan.source}. Nothing was moved."
        )
        return
    print(f"{counted(change.moved, 'head')} of branch {plan.branch} went to {plan.source}; nothing was deleted.")
    for item in change.skipped:
        print(f"not moved: {item.sentence}", file=sys.stderr)
    print(f"Take it back with: mlops-assets revert {change.id}")


# --- files for people ------------------------------------------------------------------------------------------------


def _export(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.export import export
    from mlops_assets.store.refs import view

    store = open_store(home)
    shown = view(store, options.ref, home.branch)
    done = export(
        store,
        shown,
        options.target,
        options.format,
        assets=options.asset,
        batches=options.partition,
        formulas=options.formulas,
    )
    if options.json:
        answer: dict[str, Any] = {"target": str(done.target), "view": shown.ref, "files": done.files}
        say_json({**answer, "bytes": done.size, "removed": done.removed, "notes": done.notes})
        return 0
    print(f"{counted(done.count, 'file')}, {size(done.size)}, of {done.view} in {done.target}.")
    if done.removed:
        print(f"Removed, not being in view any more: {counted(done.removed, 'file')} of the export before.")
    for note in done.notes:
        print(f"Note: {note}")
    return 0


# --- inside ----------------------------------------------------------------------------------------------------------


def _configuration(folder: Path, given: Path | None) -> dict[str, Any]:
    """The digests of the files that say how a dataset is built, and what the caller gave."""
    from mlops_assets.store.digest import bytes_digest

    found: dict[str, Any] = {}
    if folder.is_dir():
        found["files"] = {
            path.relative_to(folder).as_posix(): bytes_digest(path.read_bytes()) for path in sorted(_settings(folder))
        }
    if given:
        try:
            value = json.loads(given.read_text(encoding="utf-8"))
        except (OSError, ValueError) as trouble:
            raise UserError(f"{given} cannot be read as JSON: {trouble}") from trouble
        if not isinstance(value, dict):
            raise UserError(f"{given} holds no JSON object ({{...}}), which a configuration has to be.")
        found["given"] = value
    return found


def _settings(folder: Path) -> "Iterator[Path]":
    for path in folder.iterdir():
        if path.name in _NO_CONFIGURATION or path.name.startswith("."):
            continue
        if path.name in _MADE_BY_DBT and (folder / "dbt_project.yml").is_file():
            continue  # what was compiled and when: other files after each start, of the same models
        if path.is_dir():
            yield from _settings(path)
        elif path.is_file():
            yield path


def _content(tag: "Tag") -> str:
    batches = sum(summary.batches for summary in tag.assets.values())
    total = sum(summary.size for summary in tag.assets.values())
    return f"{counted(len(tag.assets), 'asset')} of {tag.dataset} in {counted(batches, 'batch')}, {size(total)}"


def _code(tag: "Tag") -> str:
    commit = tag.git.get("commit")
    if not commit:
        return "It belongs to no git commit: the project was not in git."
    dirty = (
        ", with changes that were not committed: the commit alone is not all of the code" if tag.git["dirty"] else ""
    )
    return f"It belongs to git commit {commit}{dirty}."


def _differing(tag: "Tag") -> "Iterator[str]":
    for item in tag.differing[:_SHOWN]:
        users = [f"{asset}[{batch}]" for asset, batches in item["used_by"].items() for batch in batches]
        more = f" and {len(users) - 1} more" if len(users) > 1 else ""
        yield (
            f"{users[0]}{more} used {item['input']}[{item['partition']}] in version {_short(item['recorded'])}, "
            f"the tag holds {_short(item['tagged'])}."
        )
    if len(tag.differing) > _SHOWN:
        more = counted(len(tag.differing) - _SHOWN, "more differing input")
        yield f"... and {more}; all of them stand in the tag (--json)."
    if tag.differing:
        yield f"Bring it up to date first, if this was not meant: mlops-assets run {tag.dataset}"


def _short(version: str | None) -> str:
    return version[:15] if version else "nothing"


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)
