"""What was delivered: the ledger as people read it, and the files as they were at any moment.

What belongs here: arguments, what is printed, exit codes. What does not: the ledger (``store.deliveries``), or taking
files in (``run``).
"""

import argparse
import re
from dataclasses import asdict
from datetime import UTC
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mlops_assets.commands.common import Commands, open_store, say_json, size
from mlops_assets.errors import UserError
from mlops_assets.home import Home
from mlops_assets.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_assets.store.deliveries import Delivery
    from mlops_assets.store.store import Store


def add(commands: Commands) -> None:
    """Register the subcommand."""
    parser = commands.add_parser("deliveries", help="what was delivered, in the order in which it came")
    parser.add_argument("dataset")
    parser.add_argument(
        "--as-of",
        metavar="WHEN",
        help="what each file held by then: a delivery's number, or an ISO moment in UTC (a day is its first moment)",
    )
    parser.add_argument("--to", metavar="FOLDER", type=Path, help="write those files there, as they came")
    parser.add_argument("--json", action="store_true", help="answer for programs")
    parser.set_defaults(command=_deliveries)


def _deliveries(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.deliveries import Ledger, datasets

    store = open_store(home)
    ledger = Ledger(store, options.dataset)
    entries = list(ledger.entries)
    if not entries:
        known = ", ".join(datasets(store)) or "none"
        raise UserError(f"Nothing was delivered for {options.dataset!r} yet; there are deliveries for: {known}.")
    if options.as_of is not None:
        moment = int(options.as_of) if re.fullmatch("[0-9]+", options.as_of) else _moment(options.as_of)
        first, last = entries[0], entries[-1]
        if isinstance(moment, int) and moment > last.seq:
            raise UserError(f"There is no delivery {moment} of {options.dataset}; the last one is {last.seq}.")
        entries = sorted(ledger.as_of(moment).values(), key=lambda entry: entry.seq)
        if not entries and not options.json:
            raise UserError(
                f"Nothing had come by then: {first.name} came first, delivery {first.seq} of {first.arrived}."
            )
    elif options.to:
        entries = sorted(ledger.as_of(entries[-1].seq).values(), key=lambda entry: entry.seq)
    if options.to:
        _write(store, entries, options.to)
    if options.json:
        say_json([asdict(entry) for entry in entries])
        return 0
    for entry in entries:
        same = f"  the same as delivery {entry.duplicate_of}" if entry.duplicate_of else ""
        print(
            f"{entry.seq:>6}  {entry.arrived[:19]}  {entry.who:<10}  {size(entry.blob.size):>8}  "
            f"{entry.blob.sha256[:12]}  {entry.name}{same}"
        )
    if options.to:
        print(f"{counted(len(entries), 'file')} written to {options.to}.")
    return 0


def _moment(said: str) -> str:
    """A moment as entries write it."""
    from mlops_assets.store.refs import parse_moment

    return parse_moment(said).astimezone(UTC).isoformat(timespec="milliseconds")


def _write(store: "Store", entries: "Sequence[Delivery]", folder: Path) -> None:
    """The files of some entries under their names."""
    for entry in entries:
        if not {"..", "/"}.isdisjoint(PurePosixPath(entry.name).parts):
            raise UserError(f"Delivery {entry.seq} has the name {entry.name!r}, which leads out of {folder}.")
        if (folder / entry.name).exists():
            raise UserError(f"{folder / entry.name} exists; name an empty folder, nothing of yours is written over.")
    for entry in entries:
        target = folder / entry.name
        data = store.bytes(entry.blob)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        except OSError as trouble:
            raise UserError(f"{target} cannot be written: {trouble.strerror}; name another folder.") from trouble
