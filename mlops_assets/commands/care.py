"""``verify``, ``repair``, ``gc`` and ``purge``: looking after a store.

What belongs here: arguments, what is printed, exit codes. What does not: any decision (``store.verify``, ``repair``,
``garbage``, ``purge``).
"""

import argparse
import csv
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.commands.common import Commands, open_store, say_json, size
from mlops_assets.errors import UserError
from mlops_assets.home import Home
from mlops_assets.wording import counted

if TYPE_CHECKING:
    from mlops_assets.store.garbage import Collection
    from mlops_assets.store.purge import Purge
    from mlops_assets.store.repair import Repair
    from mlops_assets.store.store import Store
    from mlops_assets.store.verify import Problem, Report

_SHOWN = 20
_STANDING = 6

_NOUNS = {
    "tombstones": "purge mark",
    "purges": "purge record",
    "heads": "head",
    "trees": "tree",
    "tags": "tag",
    "branches": "branch",
    "manifests": "manifest",
    "changes": "change record",
    "moves": "move record",
    "deliveries": "delivery record",
    "values": "value",
    "files": "file",
    "published": "published table",
}

# Stages of every dataset whose rows stand in the order of the rows of ``cleaned``, without its key.
_ALIGNED = ("splits", "features", "online")
_CLEANED = "cleaned"

# Columns in which a record is kept as text: what could not be taken apart, and what quarantine refused.
_TEXTS = ("_text", "row")

REPRODUCIBILITY = (
    "What this does to reproducibility: tags, records and digests stay and can still be verified. The content of the "
    "erased versions is gone for good: a tag that shows one of them says so when it is read, and names the version "
    "that took its place. What was made from them can no longer be made again as it was."
)


def add(commands: "Commands") -> None:
    """Register the subcommands."""
    verify = commands.add_parser(
        "verify",
        help="look at every file of the store, and name what is broken and what stands on it",
        description="Nothing is changed. Exit code 1 when anything is broken.",
    )
    verify.add_argument("--quick", action="store_true", help="compare sizes only; no file of a value is read")
    verify.add_argument("--content", action="store_true", help="also decode every value and compare its version")
    verify.add_argument("--asset", action="append", metavar="A", help="only this asset or dataset; may be repeated")
    verify.set_defaults(command=_verify)

    repair = commands.add_parser(
        "repair",
        help="mend what verify finds: from other copies, or from what the store still knows",
        description="Says what it would do, unless --yes is given. Exit code 1 when something is left broken.",
    )
    repair.add_argument(
        "--from",
        action="append",
        dest="sources",
        metavar="PLACE",
        help="another copy: a remote, folder or URL; may be repeated. All remotes when left out",
    )
    repair.add_argument("--yes", action="store_true", help="do it")
    repair.set_defaults(command=_repair)

    gc = commands.add_parser(
        "gc",
        help="say how many bytes nothing leads to, and take them away",
        description="Says what it would take, unless --yes is given. Kept are: what heads, tags, branches, remotes' "
        "branches and unfinished changes show, with the exact inputs of all that; delivered bytes; records.",
    )
    gc.add_argument("--keep-last", type=int, metavar="N", help="accepted versions of each batch that stay (3)")
    gc.add_argument("--keep-moves", type=float, metavar="DAYS", help="what heads showed within this time stays (90)")
    gc.add_argument("--keep-refused", type=float, metavar="DAYS", help="refused versions stay this long (90)")
    gc.add_argument("--grace", type=float, metavar="HOURS", help="what is younger stays (24); at least 1, or 2 in S3")
    gc.add_argument(
        "--force", action="store_true", help="allow a shorter --grace, while nobody else works in the store"
    )
    gc.add_argument("--yes", action="store_true", help="do it")
    gc.set_defaults(command=_gc)

    purge = commands.add_parser(
        "purge",
        help="erase a person's rows from every version of a dataset, for good",
        description="Says what it would do, unless --yes is given. Values are compared exactly, each cast to the type "
        "of its column. The key is never written anywhere; give --people - to keep it out of the shell's history, too.",
    )
    purge.add_argument("dataset", nargs="?")
    purge.add_argument(
        "--where", action="append", metavar="COLUMN=VALUE", help="whose rows; all that are given must hold"
    )
    purge.add_argument(
        "--people", metavar="FILE", help="many people: a CSV file with a column for each key column; - is the input"
    )
    purge.add_argument("--basis", default="", help="on what ground, for the record: a request's number, never the key")
    purge.add_argument("--yes", action="store_true", help="do it; it cannot be taken back")
    purge.add_argument("--resume", metavar="ID", help="bring an interrupted purge to its end; the key is not needed")
    purge.add_argument("--list", action="store_true", help="list the purges that were made")
    purge.set_defaults(command=_purge)

    for parser in (verify, repair, gc, purge):
        parser.add_argument("--at", metavar="PLACE", help="a remote, folder or URL instead of this home's store")
        parser.add_argument("--json", action="store_true", help="print the answer as JSON")


def _store(options: argparse.Namespace, home: Home) -> "Store":
    from mlops_assets.store.store import Store

    if options.at is None:
        return open_store(home)
    return Store.open(_place(options.at, home), create=False)


def _place(name: str, home: Home) -> str:
    """A folder or URL as it is, anything else as the name of a remote."""
    from mlops_assets.store.remotes import read_remote

    if "://" in name or "/" in name or Path(name).is_dir():
        return name
    return read_remote(open_store(home), name).url


# --- verify ----------------------------------------------------------------------------------------------------------


def _verify(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.verify import verify

    store = _store(options, home)
    started = time.monotonic()
    with _progress() as progress:
        report = verify(store, not options.quick, options.content, options.asset, progress)
    if options.json:
        say_json(report.to_dict())
    else:
        _say_report(report, time.monotonic() - started)
    return 0 if report.sound else 1


def _say_report(report: "Report", seconds: float) -> None:
    counts = ", ".join(counted(count, _NOUNS[what]) for what, count in report.checked.items() if count) or "nothing"
    read = f", {size(report.bytes)} read" if report.bytes else ""
    print(f"{report.store}: {counts}{read} ({seconds:.1f} s).")
    for problem in report.problems:
        _say_problem(problem)
    for purge, paths in sorted(report.purged.items()):
        print(f"Erased by purge {purge}: {counted(len(paths), 'file')}.")
    for count, noun, rest in (
        (report.dropped, "value", "dropped by gc, with the records kept."),
        (report.elsewhere, "file", "at a remote only, of what was fetched in part."),
        (report.unnamed, "file", "named by no record: a killed or running writer's, or for gc to take."),
        (
            report.unfinished,
            "move",
            "that no head here came by: of a copy, or of writers that were killed or came too late.",
        ),
        (report.litter["files"], "file", f"of killed or running writers ({size(report.litter['bytes'])})."),
    ):
        if count:
            print(f"{counted(count, noun)} {rest}")
    for path in _some(report.unknown):
        print(f"Unknown to the store: {path}")
    for note in report.notes:
        print(f"Note: {note}")
    if report.sound:
        print("Everything is sound.")
    else:
        print(f"{counted(len(report.problems), 'problem')}. See what can be mended with: mlops-assets repair")


def _say_problem(problem: "Problem") -> None:
    print(f"- {problem.sentence}")
    for line in _some(problem.stands_on_it, _STANDING):
        print(f"    stands on it: {line}")


# --- repair ----------------------------------------------------------------------------------------------------------


def _repair(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.repair import repair

    store = _store(options, home)
    sources = list(_sources(options, store, home))
    with _progress() as progress:
        done = repair(store, sources, yes=options.yes, progress=progress)
    if options.yes and options.at is None:
        _ask_runs_to_make_again(done, store, home)
    if options.json:
        say_json(done.to_dict())
    else:
        _say_repair(done, sources)
    return 0 if done.whole else 1


def _sources(options: argparse.Namespace, store: "Store", home: Home) -> "Iterator[Store]":
    from mlops_assets.store.remotes import remotes
    from mlops_assets.store.store import Store

    if options.sources is not None:
        for name in options.sources:
            yield Store.open(_place(name, home), create=False)
        return
    for remote in remotes(store):
        try:
            yield Store.open(remote.url, create=False)
        except UserError as trouble:
            print(f"The remote {remote} is not asked: {trouble}", file=sys.stderr)


def _ask_runs_to_make_again(done: "Repair", store: "Store", home: Home) -> None:
    """A run does not look at files of what is current: the mark that Dagster is to be told makes it look."""
    from mlops_assets.assets.unreported import mark
    from mlops_assets.store.branches import MAIN

    for action in done.actions:
        if action.again and store.head(MAIN, *action.again):
            mark(home, MAIN, *action.again)


def _say_repair(done: "Repair", sources: "Sequence[Store]") -> None:
    if not done.actions:
        print(f"{done.store}: everything is sound, there is nothing to mend.")
        return
    for action in done.actions:
        print(f"- {action.problem.sentence}")
        print(f"    {'done' if action.done else action.way}: {action.sentence}")
    if not sources:
        print("No other copy was asked. Give one with: --from PLACE")
    if not done.done and any(action.work for action in done.actions):
        print("Nothing was changed. To do it: mlops-assets repair --yes")
    elif done.done:
        print("Look again with: mlops-assets verify")


# --- gc --------------------------------------------------------------------------------------------------------------


def _gc(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.garbage import HOUR, Policy, gc

    given = {
        name: getattr(options, name)
        for name in ("keep_last", "keep_moves", "keep_refused")
        if getattr(options, name) is not None
    }
    if options.grace is not None:
        given["grace"] = options.grace * HOUR
    store = _store(options, home)
    with _progress() as progress:
        done = gc(store, yes=options.yes, policy=Policy(**given, force=options.force), progress=progress)
    if options.json:
        say_json(done.to_dict())
    else:
        _say_collection(done)
    return 0


def _say_collection(done: "Collection") -> None:
    print(f"{done.store}:")
    print(f"  {'':<10}{'taken' if done.done else 'to be taken':>24}{'kept':>24}")
    for kind, count in done.kinds.items():
        kept = done.kept[kind]
        print(
            f"  {kind:<10}{f'{count.files:,} files, {size(count.bytes)}':>24}"
            f"{f'{kept.files:,} files, {size(kept.bytes)}':>24}"
        )
    for id_ in done.finished:
        print(f"The gc {id_}, which was interrupted, was brought to its end.")
    if done.spared or done.restored:
        print(f"Written or published again while it ran, and kept: {counted(done.spared + done.restored, 'file')}.")
    if done.done:
        print(f"{counted(done.files, 'file')} taken, {size(done.bytes)} free.")
    elif done.files:
        print(f"Nothing was deleted. To free {size(done.bytes)}: the same with --yes")
    else:
        print("There is nothing to take.")


# --- purge -----------------------------------------------------------------------------------------------------------


def _purge(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.purge import purge, purges, resume

    store = _store(options, home)
    if options.list:
        found = purges(store)
        if options.json:
            say_json([item.to_dict() for item in found])
        elif not found:
            print(f"No purge was made in {store}.")
        for item in found if not options.json else ():
            state = "done" if item.done else f"not finished: mlops-assets purge --resume {item.id}"
            print(f"{item.id}  {item.when[:10]}  {item.dataset}  {len(item.replaced)} versions  {item.basis} ({state})")
        return 0
    if options.resume:
        with _progress() as progress:
            done = resume(store, options.resume, progress)
    else:
        if not options.dataset:
            raise UserError("Say which dataset: mlops-assets purge DATASET --where COLUMN=VALUE --basis GROUND")
        assets = {f"{options.dataset}/{stage}": f"{options.dataset}/{_CLEANED}" for stage in _ALIGNED}
        with _progress() as progress:
            done = purge(
                store,
                options.dataset,
                _people(options),
                basis=options.basis,
                dry=not options.yes,
                aligned=assets,
                texts=_TEXTS,
                progress=progress,
            )
    if not done.dry and options.at is None:
        from mlops_assets.assets.views import erase

        erase(home, store, done.dataset)
    if options.json:
        say_json(done.to_dict())
    else:
        _say_purge(done)
    return 0


def _people(options: argparse.Namespace) -> list[Mapping[str, str]]:
    found: list[Mapping[str, str]] = []
    if options.where:
        person: dict[str, str] = {}
        for word in options.where:
            column, separator, value = word.partition("=")
            if not separator or not column:
                raise UserError("--where takes COLUMN=VALUE, for instance --where customer=4711")
            if column in person:
                raise UserError(
                    f"--where names the column {column} twice, and a row has one value in it. For several people give "
                    "--people."
                )
            person[column] = value
        found.append(person)
    if options.people:
        try:
            text = sys.stdin.read() if options.people == "-" else Path(options.people).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeError) as trouble:
            reason = trouble.strerror if isinstance(trouble, OSError) else "it is not UTF-8 text"
            raise UserError(f"The people in {options.people} cannot be read: {reason}.") from trouble
        rows = list(csv.DictReader(text.splitlines()))
        if not rows or any(None in row or None in row.values() for row in rows):
            raise UserError(
                f"{options.people} needs a header with the names of the key columns, and a line for each person below."
            )
        found += rows
    return found


def _say_purge(done: "Purge") -> None:
    if not done.found:
        print(f"Nobody with that key was found in {done.searched:,} searched versions of {done.dataset}.")
        _say_list("Not certain:", done.doubts)
        return
    would = "would be " if done.dry else ""
    rows = sum(item.rows for item in done.replaced)
    print(
        f"{'' if done.dry else f'Purge {done.id}: '}{counted(rows, 'row')} in "
        f"{counted(len(done.replaced), 'version')} of {done.dataset} {would}erased; each version is replaced by one "
        "without them."
    )
    assets: dict[str, list[int]] = {}
    for item in done.replaced:
        assets.setdefault(item.asset, []).append(item.rows)
    for asset, counts in sorted(assets.items()):
        print(f"  {asset:<32} {counted(len(counts), 'version')}, {counted(sum(counts), 'row')}")
    total = sum(item.size for item in done.erased)
    print(f"{counted(len(done.erased), 'file')} {would}deleted, {size(total)}; their content may not come back.")
    _say_list("Heads that moved:", done.moved)
    derived = [
        f"{item.asset}[{item.batch}] {item.version[:15]} ({', '.join([item.kind, *item.shown_by])})"
        for item in done.derived
    ]
    _say_list("Made from erased rows, and not touched: make them again, or retire them.", derived)
    _say_list("Not certain:", done.doubts)
    _say_list("Out of reach from here:", done.out_of_reach)
    print(REPRODUCIBILITY)
    if done.dry:
        print("Nothing was done, and once done it cannot be taken back. To do it: the same with --yes")


def _say_list(title: str, lines: Sequence[str]) -> None:
    if lines:
        print(title)
        for line in _some(lines):
            print(f"  - {line}")


# --- shared ----------------------------------------------------------------------------------------------------------


def _some(lines: Sequence[str], most: int = _SHOWN) -> Iterable[str]:
    yield from lines[:most]
    if len(lines) > most:
        yield f"... and {len(lines) - most:,} more"


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A line on a terminal, written over ten times a second at most; nothing elsewhere."""
    live = sys.stderr.isatty()
    last = 0.0

    def tell(what: str, done: int, of: int) -> None:
        nonlocal last
        if live and time.monotonic() - last > 0.1:  # noqa: PLR2004 - as often as eyes can follow
            last = time.monotonic()
            amount = f"{size(done)} of {size(of)}" if what == "bytes" else f"{done:,} of {of:,}" if of else f"{done:,}"
            print(f"\r\x1b[K{what}: {amount}", end="", file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        if live:
            print("\r\x1b[K", end="", file=sys.stderr)
