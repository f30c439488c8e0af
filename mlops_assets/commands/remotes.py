"""``remote``, ``push``, ``fetch``, ``pull`` and ``clone``: copies of the store elsewhere.

What belongs here: arguments, what is printed, exit codes. What does not: any decision (``store.transfer``).
"""

import argparse
import sys
import time
from typing import TYPE_CHECKING

from mlops_assets.commands.common import Commands, open_store, say_json, size
from mlops_assets.errors import UserError
from mlops_assets.home import Home
from mlops_assets.wording import counted

if TYPE_CHECKING:
    from mlops_assets.store.store import Store
    from mlops_assets.store.transfer import Names, Report

_SHOWN = 20

_NOUNS = {
    "tombstones": "purge mark",
    "values": "value",
    "deliveries": "delivered file",
    "attachments": "attachment",
    "records": "manifest",
    "trees": "tree",
    "tags": "tag",
    "ledgers": "delivery record",
    "changes": "change record",
    "purges": "purge record",
    "branches": "branch",
    "moves": "move record",
    "heads": "head",
}


def add(commands: "Commands") -> None:
    """Register the subcommands."""
    remote = commands.add_parser(
        "remote",
        help="name other stores: a folder, or a place in S3, Google Cloud Storage or Azure",
        description="Without words, the remotes are listed.",
    )
    verbs = remote.add_subparsers(metavar="VERB")
    adding = verbs.add_parser("add", help="give another store a name")
    adding.add_argument("name")
    adding.add_argument("url", metavar="URL", help="a folder, s3://BUCKET/FOLDER, gs:// or az://; never with a secret")
    adding.set_defaults(command=_add)
    listing = verbs.add_parser("list", help="list the remotes and what was seen of them")
    removing = verbs.add_parser("remove", help="forget a remote; the other store is not touched")
    removing.add_argument("name")
    removing.set_defaults(command=_remove)
    for parser in (remote, listing):
        parser.set_defaults(command=_list)
    for parser in (remote, adding, listing, removing):
        parser.add_argument("--json", action="store_true", help="print the answer as JSON")

    push = commands.add_parser(
        "push",
        help="send branches and tags to a remote",
        description="Only what the remote lacks is sent; heads move last, and only forward.",
    )
    _what(push, "the current one when left out")
    push.add_argument("--all", action="store_true", help="all branches and all tags")
    push.add_argument("--dry-run", action="store_true", help="say what would be sent and moved, and send nothing")
    push.set_defaults(command=_push)

    fetch = commands.add_parser(
        "fetch",
        help="bring what a remote shows here, and move no head",
        description="What it showed is then REMOTE/BRANCH, to be looked at, compared and merged.",
    )
    _what(fetch, "all of the remote's when left out")
    fetch.add_argument("--no-data", dest="data", action="store_false", help="records only: who, when, of what")
    fetch.add_argument("--deep", action="store_true", default=None, help="also the exact inputs that versions stand on")
    _depth(fetch)
    fetch.set_defaults(command=_fetch)

    pull = commands.add_parser(
        "pull",
        help="fetch, and move the heads here forward to what the remote shows",
        description="Refused, with nothing moved, where both sides went on; then: mlops-assets merge REMOTE/BRANCH",
    )
    _what(pull, "the current one when left out")
    _depth(pull)
    pull.set_defaults(command=_pull)

    clone = commands.add_parser(
        "clone",
        help="make the store here a copy of another one",
        description="A clone that was broken off is continued by the same command.",
    )
    clone.add_argument("url", metavar="URL", help="a folder, s3://BUCKET/FOLDER, gs:// or az://")
    clone.add_argument("place", nargs="?", metavar="FOLDER", help="where to; this home's store when left out")
    clone.add_argument("--branch", action="append", dest="branches", metavar="B", help="only this branch; repeatable")
    clone.add_argument("--tag", action="append", dest="tags", metavar="T", help="only this tag; repeatable")
    clone.add_argument("--shallow", action="store_true", help="no versions but those that are shown now")
    clone.add_argument("--json", action="store_true", help="print the answer as JSON")
    clone.set_defaults(command=_clone)


def _what(parser: argparse.ArgumentParser, branches: str) -> None:
    parser.add_argument("remote", nargs="?", metavar="REMOTE", help="origin, or the only one, when left out")
    parser.add_argument("branches", nargs="*", metavar="BRANCH", help=f"{branches}; none when only tags are named")
    parser.add_argument("--tag", action="append", dest="tags", metavar="T", help="this tag; may be repeated")
    parser.add_argument("--tags", action="store_true", dest="all_tags", help="all tags")
    parser.add_argument("--asset", action="append", dest="assets", metavar="A", help="only this asset; may be repeated")
    parser.add_argument("--partition", action="append", dest="batches", metavar="P", help="only this batch; repeatable")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")


def _depth(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--shallow", action="store_true", help="no versions but those that are shown now")
    parser.add_argument("--dry-run", action="store_true", help="say what would come, and bring nothing")


def _add(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.remotes import add_remote

    remote = add_remote(open_store(home, create=True), options.name, options.url)
    if options.json:
        say_json({"name": remote.name, "url": remote.url})
    else:
        print(f"Added {remote}. Send this branch there with: mlops-assets push {remote.name}")
    return 0


def _remove(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.remotes import remove_remote

    remote = remove_remote(open_store(home), options.name)
    if options.json:
        say_json({"name": remote.name, "url": remote.url})
    else:
        print(f"Forgot {remote}; the store there is as it was.")
    return 0


def _list(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.remotes import remotes, seen

    store = open_store(home)
    found = [(remote, seen(store, remote.name)) for remote in remotes(store)]
    if options.json:
        say_json(
            [
                {
                    "name": remote.name,
                    "url": remote.url,
                    "branches": [{"branch": item.branch, "when": item.when} for item in known],
                }
                for remote, known in found
            ]
        )
        return 0
    for remote, known in found:
        print(f"{remote.name:<12} {remote.url}")
        for item in known:
            print(f"{'':<12} {remote.name}/{item.branch}, as it was seen at {item.when}")
    if not found:
        print("There is no remote yet. Add one with: mlops-assets remote add NAME URL")
    return 0


def _push(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.transfer import push

    store = open_store(home)
    tags = "all" if options.all else _tags(options)
    branches = store.branches() if options.all else options.branches or ([] if tags else [home.branch])
    progress = _Progress("sent")
    report = push(
        store,
        _remote(store, options.remote),
        branches,
        tags=tags,
        assets=options.assets,
        batches=options.batches,
        dry=options.dry_run,
        progress=progress,
    )
    return _say(report, progress, options)


def _fetch(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.transfer import fetch

    store = open_store(home, create=not options.dry_run)
    progress = _Progress("received")
    report = fetch(
        store,
        _remote(store, options.remote),
        options.branches or None,
        tags=_tags(options),
        assets=options.assets,
        batches=options.batches,
        data=options.data,
        deep=options.deep,
        shallow=options.shallow,
        dry=options.dry_run,
        progress=progress,
    )
    return _say(report, progress, options)


def _pull(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.transfer import pull

    store = open_store(home, create=not options.dry_run)
    progress = _Progress("received")
    tags = _tags(options)
    report = pull(
        store,
        _remote(store, options.remote),
        options.branches or ([] if tags else [home.branch]),
        tags=tags,
        assets=options.assets,
        batches=options.batches,
        shallow=options.shallow,
        dry=options.dry_run,
        progress=progress,
    )
    _tell_dagster(report, home)
    return _say(report, progress, options)


def _clone(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.transfer import clone

    progress = _Progress("received")
    place = options.place or home.store
    report = clone(
        options.url,
        place,
        branches=options.branches,
        tags=options.tags if options.tags or not options.branches else (),
        shallow=options.shallow,
        progress=progress,
    )
    if not options.place:
        _tell_dagster(report, home)
    return _say(report, progress, options, f" into {place}")


def _remote(store: "Store", name: str | None) -> str:
    """The remote that is meant: the named one, ``origin``, or the only one."""
    from mlops_assets.store.remotes import remotes
    from mlops_assets.store.transfer import ORIGIN

    if name:
        return name
    names = [remote.name for remote in remotes(store)]
    if ORIGIN in names or not names:
        return ORIGIN
    if len(names) > 1:
        raise UserError(f"There are several remotes and none is called {ORIGIN}; name one of: {', '.join(names)}.")
    return names[0]


def _tags(options: argparse.Namespace) -> "Names":
    return "all" if options.all_tags else options.tags or ()


def _tell_dagster(report: "Report", home: Home) -> None:
    """Leave a mark for each head that came from elsewhere, so that the next run reports it."""
    if home.dagster_is_made and not report.dry:
        from mlops_assets.assets.unreported import mark

        for move in report.heads:
            if move.branch == home.branch and move.version:
                mark(home, move.branch, move.asset, move.batch)


def _say(report: "Report", progress: "_Progress", options: argparse.Namespace, where: str = "") -> int:
    progress.end()
    if options.json:
        say_json(report.to_dict())
        return 0
    total = report.tally.total
    done = {"push": ("Sent", "Would send"), "fetch": ("Fetched", "Would fetch"), "pull": ("Pulled", "Would pull")}
    verb = done.get(report.verb, ("Cloned", "Would clone"))[report.dry]
    way = "to" if report.verb == "push" else "from"
    print(
        f"{verb} {counted(total.objects, 'file')}, {size(total.bytes)}, {way} {report.remote}{where}; "
        f"{report.tally.present:,} {'was' if report.tally.present == 1 else 'were'} there already."
    )
    for kind, noun in _NOUNS.items():
        if count := report.tally.copied.get(kind):
            number, words = counted(count.objects, noun).split(" ", 1)
            print(f"  {number:>7} {words}, {size(count.bytes)}")
    if report.tally.purged:
        print(f"  {counted(report.tally.purged, 'file')} erased by purges left out.")
    if report.heads:
        print(f"{counted(len(report.heads), 'head')} {'would move' if report.dry else 'moved'}:")
        for move in report.heads[:_SHOWN]:
            print(f"  {move.branch}: {move.asset}[{move.batch}] #{move.seq} {move.version or 'taken away'}")
        if len(report.heads) > _SHOWN:
            print(f"  ... and {len(report.heads) - _SHOWN} more")
    elif report.branches and report.verb != "fetch":
        print("No head had to move.")
    if report.ahead:
        side, hint = (
            (f"{report.remote.name} is", f" Take it over with: mlops-assets pull {report.remote.name}")
            if report.verb == "push"
            else ("This store is", "")
        )
        shown = ", ".join(report.ahead[:_SHOWN]) + (" ..." if len(report.ahead) > _SHOWN else "")
        print(f"{side} ahead in {counted(len(report.ahead), 'batch')}: {shown}.{hint}")
    if report.verb == "fetch" and report.branches and not report.dry:
        names = ", ".join(f"{report.remote.name}/{branch}" for branch in report.branches)
        print(f"Look at: {names}. Take over with: mlops-assets merge {report.remote.name}/{report.branches[0]}")
    for note in report.notes:
        print(f"Note: {note}")
    return 0


class _Progress:
    """A line on a terminal that says how far it is, a few times a second; nothing elsewhere."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._live = sys.stderr.isatty()
        self._last = 0.0

    def __call__(self, kind: str, objects: int, count: int) -> None:
        now = time.monotonic()
        if self._live and now - self._last > 0.2:  # noqa: PLR2004 - seconds
            self._last = now
            kinds = counted(0, _NOUNS[kind]).partition(" ")[2]  # of what there is no number
            print(
                f"\r\x1b[K{counted(objects, 'file')}, {size(count)} {self._verb} ({kinds})",
                end="",
                file=sys.stderr,
                flush=True,
            )

    def end(self) -> None:
        """Leave the terminal's line clean."""
        if self._live and self._last:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
