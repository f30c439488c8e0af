"""Housekeeping: dropping files that nothing leads to any more, beside writers that are at work.

What belongs here: what is kept and why, and taking the rest away in an order that loses nothing. What does not: looking
for damage (``verify``), and erasing what is kept (``purge``). A remote is looked after by opening it as a store.

Kept are the values, attachments and deliveries of

- what any head shows, the base of any branch, any tag, a remote's branch as it was last seen, and an unfinished change;
- all that those were made from, by their exact recorded inputs, so that what is shown can be made again;
- the newest accepted versions of each batch, and what heads showed within the keeping time of moves;
- refused versions within theirs; what was written less than the grace period ago; what a published Delta table names;
- what took the place of erased versions that are kept.

Delivered bytes are kept always. So are the records: manifests of accepted versions, of delivered files and of all that
anything kept was made from, moves, tags, changes, ledgers, tombstones. They are small, and history and provenance never
break. What goes are other values, their attachments, the records of refused versions, trees and killed writers' files.

Beside writers: candidates are set aside (renamed to ``trash``) one by one, under the lock of their name and only if
nobody made them young since. Then everybody who held a lock is waited for, and the pointers are read again: whatever a
writer has published meanwhile is put back, the rest is written down in ``collected`` and deleted. A writer who comes
later finds no file, and writes it again or is refused. A gc that was killed is finished by the next one.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from mlops_assets.errors import StoreError
from mlops_assets.store.backend import Entry
from mlops_assets.store.blobs import BLOB
from mlops_assets.store.deliveries import Delivery
from mlops_assets.store.digest import sealed_json
from mlops_assets.store.heads import Move
from mlops_assets.store.names import asset_path
from mlops_assets.store.reach import Reach, Record, ledger_entries
from mlops_assets.store.records import tree_path
from mlops_assets.store.store import Store, account, now

HOUR = 3600.0
DAY = 24 * HOUR

QUARANTINED = "damaged-"
"""Folders in ``trash`` that start so hold damaged files that a repair set aside: they are never put back."""

KINDS = ("values", "files", "records", "trees", "litter")


@dataclass(frozen=True)
class Policy:
    """What is kept beyond what is shown.

    ``grace`` in seconds: what is younger stays, since a writer may be about to publish it; ``keep_last`` accepted
    versions of each batch; ``keep_moves`` and ``keep_refused`` in days. ``force`` allows a ``grace`` below an hour (two
    in an object store): for values only, and only while nobody fetches or pushes.
    """

    grace: float = DAY
    keep_last: int = 3
    keep_moves: float = 90
    keep_refused: float = 90
    force: bool = False


@dataclass
class Count:
    """Files and their bytes."""

    files: int = 0
    bytes: int = 0

    def add(self, entry: Entry) -> None:
        """Count one more."""
        self.files += 1
        self.bytes += entry.size


@dataclass
class Collection:
    """What a gc took, or would take. ``kinds``: by ``KINDS``; ``kept`` likewise.

    ``spared`` files were made young, and ``restored`` ones published, while it ran; ``finished`` names interrupted ones
    that it brought to their end.
    """

    store: str
    id: str
    done: bool
    kinds: dict[str, Count] = field(default_factory=lambda: {kind: Count() for kind in KINDS})
    kept: dict[str, Count] = field(default_factory=lambda: {kind: Count() for kind in KINDS})
    spared: int = 0
    restored: int = 0
    finished: list[str] = field(default_factory=list)

    @property
    def files(self) -> int:
        """All files that it took."""
        return sum(count.files for count in self.kinds.values())

    @property
    def bytes(self) -> int:
        """Their bytes."""
        return sum(count.bytes for count in self.kinds.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""

        def plain(counts: dict[str, Count]) -> dict[str, Any]:
            return {kind: {"files": count.files, "bytes": count.bytes} for kind, count in counts.items()}

        return {
            "store": self.store,
            "id": self.id,
            "done": self.done,
            "files": self.files,
            "bytes": self.bytes,
            "taken": plain(self.kinds),
            "kept": plain(self.kept),
            "spared": self.spared,
            "restored": self.restored,
            "finished": self.finished,
        }


def gc(
    store: Store,
    *,
    yes: bool = False,
    policy: Policy | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Collection:
    """Say what nothing leads to, and with ``yes`` take it away.

    Raises ``StoreError`` for a grace period that is too short, and ``CorruptError`` when anything that could lead to a
    file cannot be read: of a damaged store nothing is thrown away.
    """
    policy = policy or Policy()
    _check(store, policy)
    started = time.time()
    # listed before the pointers are read: a file that comes later is no candidate
    waste = _Candidates(store, policy, started)
    kept = _Kept.of(store, policy, started)
    collection = Collection(store.backend.url, _new_id(), yes)
    mine = list(waste.beyond(kept, collection))
    if yes:
        aside = [(entry, kind) for kind, entry in mine if _set_aside(store, collection, kind, entry, waste)]
        _finish(waste, collection, aside, progress)
    return collection


def new_quarantine() -> str:
    """A folder in ``trash`` for damaged files."""
    return f"{QUARANTINED}{_new_id()}"


def put_back(store: Store, aside: str, path: str) -> bool:
    """Give a file that was set aside its name again, unless sound bytes took it meanwhile; whether it was needed."""
    with store.backend.hold(path):
        if store.backend.stat(path) is None:
            return store.backend.rename(aside, path)
    store.backend.delete(aside)
    return False


def set_aside(store: Store) -> dict[str, list[str]]:
    """Where in ``trash`` each file is that gc has set aside, by the path that it had; no damaged ones."""
    found: dict[str, list[str]] = {}
    for entry in store.backend.entries("trash"):
        _, id_, path = entry.path.split("/", 2)
        if not id_.startswith(QUARANTINED):
            found.setdefault(path, []).append(entry.path)
    return found


class _Candidates:
    """What stood in the store before anything else was looked at."""

    def __init__(self, store: Store, policy: Policy, started: float) -> None:
        self.store, self.policy, self.started = store, policy, started
        self.values = started - policy.grace
        # what no later look of a writer protects is never taken young, whatever is forced
        self.others = started - max(policy.grace, _least(store))
        self._found = [entry for folder in ("data", "meta", "trees") for entry in store.backend.entries(folder)]
        self._litter = list(store.backend.litter())

    def old(self, entry: Entry, kind: str) -> bool:
        """Whether a file is old enough to be taken."""
        return entry.modified <= (self.values if kind == "values" else self.others)

    def beyond(self, kept: "_Kept", collection: Collection) -> Iterator[tuple[str, Entry]]:
        """Kind and entry of what is old and not kept; counts all of it in ``collection``."""
        for entry in self._found:
            if kind := _kind(entry.path):
                waste = entry.path not in kept.paths and kept.may_go(entry.path) and self.old(entry, kind)
                (collection.kinds if waste else collection.kept)[kind].add(entry)
                if waste:
                    yield kind, entry
        for entry in self._litter:
            waste = self.old(entry, "litter")
            (collection.kinds if waste else collection.kept)["litter"].add(entry)
            if waste:
                yield "litter", entry


@dataclass
class _Kept:
    """Paths that something leads to, and folders of assets whose published tables cannot be looked into."""

    paths: set[str]
    folders: tuple[str, ...] = ()

    def may_go(self, path: str) -> bool:
        """Whether a file is in none of those folders."""
        return not path.startswith(self.folders) if self.folders else True

    @classmethod
    def of(cls, store: Store, policy: Policy, started: float) -> "_Kept":
        """Look at every pointer and record now."""
        reach = Reach.of(store)
        whole = reach.with_inputs(reach.shown)
        records = reach.records.values()
        young = started - max(policy.grace, _least(store))
        refused = started - policy.keep_refused * DAY
        whole.update(record.id for record in records if record.written > started - policy.grace)
        whole.update(record.id for record in records if not record.accepted and record.written > refused)
        whole.update(_newest(records, policy.keep_last))
        whole.update(_moved(store, started - policy.keep_moves * DAY))
        whole = reach.with_replacements(whole)
        paths = {blob.path for id_ in whole if id_ in reach.records for blob in reach.records[id_].files}
        paths.update(blob.path for record in records for blob in record.raw)
        # who publishes looks whether the value is there, not at what goes with it
        paths.update(blob.path for record in records if record.written > young for blob in record.attached)
        for path, data in ledger_entries(store):
            paths.add(Delivery.decode(data, store.where(path)).blob.path)
        told = {record.id for record in records if record.accepted or record.raw}
        told |= reach.with_inputs(whole | told)
        paths.update(reach.records[id_].path for id_ in told if id_ in reach.records)
        paths.update(tree_path(tree) for tree in reach.trees)
        published, folders = _published(store, {record.asset for record in records})
        return cls(paths | published, folders)


def _newest(records: Iterable[Record], count: int) -> Iterator[str]:
    """The newest accepted versions of each batch."""
    batches: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if record.accepted:
            batches.setdefault((record.asset, record.batch), []).append(record)
    for found in batches.values():
        found.sort(key=lambda record: (record.when, record.id), reverse=True)
        yield from (record.id for record in found[:count])


def _moved(store: Store, since: float) -> Iterator[str]:
    """What heads showed, before and after each move that was recorded since."""
    paths = [entry.path for entry in store.backend.entries("moves") if entry.modified > since]
    for path, data in zip(paths, store.backend.read_many(paths), strict=True):
        if data is not None:
            move = Move.decode(data, store.where(path))
            yield from (id_ for id_ in (move.from_manifest, move.to_manifest) if id_)


def _published(store: Store, assets: set[str]) -> tuple[set[str], tuple[str, ...]]:
    """The files that published Delta tables name; or, where logs cannot be read, the folders of their assets."""
    folders = [f"data/{asset_path(asset)}" for asset in assets]
    logged = [folder for folder in folders if store.backend.children(f"{folder}/_delta_log")[1]]
    if not logged:
        return set(), ()
    if "://" in store.backend.url:
        return set(), tuple(f"{folder}/" for folder in logged)
    from mlops_assets.store import delta

    return {f"{folder}/{path}" for folder in logged for path in delta.published_paths(store.root / folder)}, ()


def _kind(path: str) -> str | None:
    """What a file is; None for what is not the store's to take."""
    top, _, name = path.partition("/")
    name = name.rpartition("/")[2]
    if top == "data":
        found = BLOB.fullmatch(name)
        if found is None or "/p=" not in path:
            return None
        return "values" if found[1] else "files"
    if not name.startswith("b3-") or not name.endswith(".json"):
        return None
    return "records" if top == "meta" else "trees"


def _set_aside(store: Store, collection: Collection, kind: str, entry: Entry, waste: _Candidates) -> str | None:
    """Take a file its name, unless it is gone or was made young; where it is now."""
    if kind == "litter":
        store.backend.delete(entry.path)
        return None
    aside = f"trash/{collection.id}/{entry.path}"
    with store.backend.hold(entry.path):
        found = store.backend.stat(entry.path)
        if found and waste.old(found, kind) and store.backend.rename(entry.path, aside):
            return aside
    collection.spared += 1
    _uncount(collection, kind, entry)
    return None


def _finish(
    waste: _Candidates,
    collection: Collection,
    aside: list[tuple[Entry, str]],
    progress: Callable[[str, int, int], None] | None,
) -> None:
    """Look once more, put back what is published now, and delete the rest."""
    store = waste.store
    mine = {entry.path: (entry, kind) for entry, kind in aside}
    trash = _others(store, collection, waste.policy, waste.started)
    if not mine and not trash:
        return
    store.backend.settle()
    kept = _Kept.of(store, waste.policy, waste.started)
    gone: list[str] = []
    trash += [(f"trash/{collection.id}/{path}", path) for path in mine]
    for where, path in trash:
        if path in kept.paths or not kept.may_go(path):
            if put_back(store, where, path):
                collection.restored += 1
            if path in mine:
                _uncount(collection, mine[path][1], mine[path][0])
        else:
            gone.append(where)
    dropped = sorted({path for path in (where.split("/", 2)[2] for where in gone) if path.startswith("data/")})
    if dropped:
        record = {"format": 1, "when": now(), "who": account(), "paths": dropped}
        store.backend.create(f"collected/{collection.id}.json", sealed_json(record))
    for number, where in enumerate(gone, 1):
        store.backend.delete(where)
        if progress:
            progress("deleted", number, len(gone))
    _remove_folders(store)


def _others(store: Store, collection: Collection, policy: Policy, started: float) -> list[tuple[str, str]]:
    """What interrupted gcs left in ``trash``, with the paths it had; damaged files are deleted when they are old."""
    found = []
    for entry in list(store.backend.entries("trash")):
        _, id_, path = entry.path.split("/", 2)
        if id_.startswith(QUARANTINED):
            if _begun(id_) < started - policy.keep_refused * DAY:
                store.backend.delete(entry.path)
        # a rename in an object store is a copy and a deletion: one that runs must not be met in between
        elif id_ != collection.id and ("://" not in store.backend.url or _begun(id_) < started - HOUR):
            found.append((entry.path, path))
            if id_ not in collection.finished:
                collection.finished.append(id_)
    return found


def _uncount(collection: Collection, kind: str, entry: Entry) -> None:
    collection.kinds[kind].files -= 1
    collection.kinds[kind].bytes -= entry.size
    collection.kept[kind].add(entry)


def _check(store: Store, policy: Policy) -> None:
    least = _least(store)
    if policy.grace < least and not policy.force:
        raise StoreError(
            f"A grace period of {policy.grace / HOUR:g} h is shorter than writers may need from writing a value to "
            f"publishing it: give at least {least / HOUR:g} h, or force it while nothing else works in the {store}."
        )
    if min(policy.grace, policy.keep_last, policy.keep_moves, policy.keep_refused) < 0:
        raise StoreError("Keeping times and counts cannot be negative; give 0 to keep nothing beyond what is shown.")


def _least(store: Store) -> float:
    # in an object store, files that are younger than an hour are not made young again (``objects.FRESH``)
    return HOUR if "://" not in store.backend.url else 2 * HOUR


def _new_id() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.urandom(4).hex()}"


def _begun(id_: str) -> float:
    """When a folder in ``trash`` was made, in seconds since 1970; long ago for what we did not name."""
    try:
        return datetime.strptime(f"{id_.removeprefix(QUARANTINED).partition('-')[0]}Z", "%Y%m%dT%H%M%S%z").timestamp()
    except ValueError:
        return 0.0


def _remove_folders(store: Store) -> None:
    """A directory keeps the empty folders of what was deleted; object stores have none."""
    if "://" in store.backend.url:
        return
    for folder, _, _ in os.walk(store.root / "trash", topdown=False):
        try:
            os.rmdir(folder)  # noqa: PTH106 - beside the walk's names
        except OSError:
            # another gc is using it
            continue
