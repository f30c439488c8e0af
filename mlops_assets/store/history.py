"""What happened on a branch, and what one thing in the store is: ``log`` and ``show``.

What belongs here: finding the newest moves of many heads without reading all of them, and bringing together what is
recorded of a version, asset, tag, branch, change or move. What does not: comparing (``diff``), or how answers look.
"""

import heapq
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mlops_assets.errors import NotStoredError, StoreError
from mlops_assets.store.backend import Entry
from mlops_assets.store.branches import MAIN
from mlops_assets.store.heads import Leaf, Move, read_head
from mlops_assets.store.manifest import Manifest
from mlops_assets.store.names import asset_path, segment, text
from mlops_assets.store.records import read_move, record_id
from mlops_assets.store.refs import SHORTEST, View, chosen_assets, find, near, parse_moment, view
from mlops_assets.store.store import move_path
from mlops_assets.store.tags import read_tag
from mlops_assets.store.trees import decode

if TYPE_CHECKING:
    from mlops_assets.store.changes import Change
    from mlops_assets.store.store import Store

_AT_ONCE = 64
_LOCAL_SLACK = 2.0
_REMOTE_SLACK = 900.0
"""Seconds by which the clock that dates files may be behind the one that dates moves: on one machine the grain of file
times; object stores refuse requests from clocks that are further off than 15 minutes."""

_ADDRESS = re.compile(r"(?P<asset>[^\[\]]+)\[(?P<batch>.+)\]")

What = Literal["version", "asset", "tag", "branch", "view", "change", "move", "tree"]


@dataclass(frozen=True, slots=True)
class Logged:
    """One move: ``before`` and ``after`` are versions, None for nothing, or for a record that is not here any more."""

    id: str
    move: Move
    before: str | None
    after: str | None

    @property
    def verb(self) -> str:
        """What moved it: ``publish``, or the verb of the change it belongs to."""
        return self.move.origin.get("verb", "publish")

    @property
    def group(self) -> tuple[str, str]:
        """What it was moved together with: (``change``, id) or (``run``, id); the id is empty when it moved alone."""
        if "change" in self.move.origin:
            return "change", self.move.origin["change"]
        return "run", self.move.run_id

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        move = self.move
        return {
            "move": self.id,
            "verb": self.verb,
            "when": move.when,
            "who": move.who,
            "branch": move.branch,
            "asset": move.asset,
            "batch": move.batch,
            "seq": move.seq,
            "before": self.before,
            "after": self.after,
            "manifest_before": move.from_manifest,
            "manifest_after": move.to_manifest or None,
            "previous": move.previous,
            "message": move.message,
            "run_id": move.run_id,
            "origin": dict(move.origin),
        }


class Shown(NamedTuple):
    """What was asked for: what it is, and all that is recorded of it, as plain JSON."""

    what: What
    record: dict[str, Any]


def log(
    store: "Store",
    branch: str = MAIN,
    asset: str | None = None,
    batch: str | None = None,
    *,
    limit: int | None = 50,
    since: str | None = None,
) -> list[Logged]:
    """The newest moves of a branch, of an asset (or all under the start of its name), or of one batch; newest first.

    Moves are ordered by their recorded times, those of one head by their number. Only a branch's own moves: what it was
    started from has its history on the branch it came from. ``limit`` bounds how many are read (None: all), ``since``
    (a date or time) how old they may be. The moves of one batch are read one by one; of many batches, the heads' file
    times say which tips can be among the newest, so that 20 moves of 60,000 heads cost about as many reads.

    Raises ``NotStoredError`` for an unknown branch, asset or batch, ``CorruptError`` for a lost or damaged record.
    """
    store.branch(branch)
    start = parse_moment(since).timestamp() if since else None
    if batch is not None:
        if asset is None:
            raise StoreError(f"Whose batch {batch!r} is meant? Name the asset too.")
        found = ((move.id, move) for move in store.walk(branch, asset, batch))
        chosen = list(islice((item for item in found if start is None or _time(item[1]) >= start), limit))
    else:
        chosen = list(islice(_newest(store, branch, asset, start), limit))
    if not chosen and asset is not None:
        shown = view(store, f"branch:{branch}")
        if batch is None:
            chosen_assets(shown, [asset])
        elif store.slot(branch, asset, batch) is None:
            # says what is near, unless the batch stands where the branch started
            shown.manifest(asset, batch)
    return _with_versions(store, chosen)


def show(store: "Store", what: str = ".", branch: str = MAIN, at: str | None = None) -> Shown:
    """What is recorded of one thing.

    ``what`` is ``asset[batch]`` or an asset, as ``at`` shows it (a reference, by default ``branch``); a version,
    manifest, move or tree by ``b3:`` and its first digits; a tag, branch or other reference; a change. Raises
    ``NotStoredError`` for what is unknown, naming what is near.
    """
    if match := _ADDRESS.fullmatch(what):
        shown = view(store, "." if at is None else at, branch)
        return _version(store, branch, [shown.manifest(match["asset"], match["batch"])])
    if what.startswith("b3:"):
        return _digest(store, branch, what)
    try:
        found = view(store, what, branch)
    except NotStoredError as trouble:
        return _other(store, what, branch, at, trouble)
    if found.kind == "tag":
        return Shown("tag", read_tag(store, found.ref.removeprefix("tag:")).to_dict())
    record: dict[str, Any] = {"name": found.name, "ref": found.ref, "kind": found.kind}
    if found.kind == "branch":
        record |= _branch(store, found.ref.removeprefix("branch:"))
    record["assets"] = {asset: _counts(found.leaves(asset)) for asset in found.assets() if found.leaves(asset)}
    return Shown("branch" if found.kind == "branch" else "view", record)


# --- log -------------------------------------------------------------------------------------------------------------


def _newest(store: "Store", branch: str, asset: str | None, start: float | None) -> Iterator[tuple[str, Move]]:
    """Moves of many heads, newest first, reading a head only when its last move can be the next one.

    A head's file is written after its last move was dated, so no move is younger than its head's file, unless files
    were given older times by hand. Where that shows, all heads are read.
    """
    folder = f"heads/{segment(branch)}" + (f"/{asset_path(asset)}" if asset else "")
    slack = _REMOTE_SLACK if "://" in store.backend.url else _LOCAL_SLACK
    unread = sorted(store.backend.entries(folder), key=lambda entry: (entry.modified, entry.path))
    waiting: list[tuple[float, str, str, str, Move]] = []
    trusted = True
    while unread or waiting:
        while unread:
            # the heap holds times with a minus: the smallest is the newest
            needed = max(-waiting[0][0] if waiting else start or 0.0, start or 0.0)
            if trusted and (waiting or start is not None) and unread[-1].modified + slack < needed:
                break
            chunk = unread[: -_AT_ONCE - 1 : -1]
            del unread[-_AT_ONCE:]
            for entry, id_, move in _tips(store, branch, chunk):
                trusted = trusted and _time(move) <= entry.modified + slack
                heapq.heappush(waiting, (-_time(move), move.asset, move.batch, id_, move))
        if not waiting:
            return
        when, _, _, id_, move = heapq.heappop(waiting)
        if start is not None and -when < start:
            return
        yield id_, move
        if move.previous:
            before = store.move_record(branch, move.asset, move.batch, move.previous)
            heapq.heappush(waiting, (-_time(before), move.asset, move.batch, move.previous, before))


def _tips(store: "Store", branch: str, entries: Sequence[Entry]) -> Iterator[tuple[Entry, str, Move]]:
    """The last move of each head's file; heads that vanished meanwhile are gone."""
    heads = []
    for entry, data in zip(entries, store.backend.read_many([entry.path for entry in entries]), strict=True):
        if data is not None:
            *asset, batch = entry.path.split("/")[2:]
            name = "/".join(text(part) for part in asset)
            heads.append((entry, read_head(data, store.where(entry.path), name, text(batch))))
    paths = [move_path(branch, head.asset, head.batch, head.move) for _, head in heads]
    for (entry, head), path, data in zip(heads, paths, store.backend.read_many(paths), strict=True):
        yield entry, head.move, read_move(data, head.move, store.where(path))


def _with_versions(store: "Store", chosen: Sequence[tuple[str, Move]]) -> list[Logged]:
    wanted = {
        (move.asset, move.batch, id_) for _, move in chosen for id_ in (move.from_manifest, move.to_manifest) if id_
    }
    versions: dict[tuple[str, str, str | None], str | None] = {
        (manifest.asset, manifest.batch, manifest.id): manifest.version
        for manifest in store.read_manifests(sorted(wanted))
        if manifest
    }
    return [
        Logged(
            id_,
            move,
            versions.get((move.asset, move.batch, move.from_manifest)),
            versions.get((move.asset, move.batch, move.to_manifest)),
        )
        for id_, move in chosen
    ]


def _time(move: Move) -> float:
    return datetime.fromisoformat(move.when).timestamp()


# --- show ------------------------------------------------------------------------------------------------------------


def _version(store: "Store", branch: str, manifests: Sequence[Manifest]) -> Shown:
    """The newest accepted manifest of some of one version, else the newest."""
    manifest = next((item for item in manifests if item.accepted), manifests[0])
    head = store.head(branch, manifest.asset, manifest.batch)
    record = {
        "manifest": manifest.id,
        **manifest.to_dict(),
        "branch": branch,
        "shown": bool(head and head.manifest == manifest.id),
        "also": [
            {
                "manifest": item.id,
                "asset": item.asset,
                "batch": item.batch,
                "when": item.when,
                "accepted": item.accepted,
            }
            for item in manifests
            if item is not manifest
        ],
    }
    return Shown("version", record)


def _digest(store: "Store", branch: str, digest: str) -> Shown:
    try:
        return _version(store, branch, find(store, digest)[1])
    except NotStoredError:
        start = digest.lower().replace(":", "-", 1)
        if len(start) < len("b3-") + SHORTEST:
            raise
        found = [name for name in store.backend.children("trees")[1] if name.startswith(start)]
        if len(found) == 1:
            return _tree(store, found[0])
        moves = [entry.path for entry in store.backend.entries("moves") if f"/{start}" in entry.path]
        if len(found) + len(moves) > 1:
            names = ", ".join(record_id(path.rpartition("/")[2]) for path in [*found, *moves][:5])
            raise StoreError(f"{digest} could be {len(found) + len(moves)} trees or moves: {names}.") from None
        if not moves:
            raise
        of, *asset, batch, name = moves[0].split("/")[1:]
        place = "/".join(text(part) for part in asset), text(batch)
        move = store.move_record(text(of), *place, record_id(name))
        return Shown("move", _with_versions(store, [(record_id(name), move)])[0].to_dict())


def _tree(store: "Store", name: str) -> Shown:
    path = f"trees/{name}"
    asset, leaves = decode(store.backend.read(path), record_id(name), f"The tree {store.where(path)}")
    batches = {batch: leaf._asdict() for batch, leaf in sorted(leaves.items())}
    return Shown("tree", {"tree": record_id(name), "asset": asset, **_counts(leaves), "leaves": batches})


def _other(store: "Store", what: str, branch: str, at: str | None, trouble: NotStoredError) -> Shown:
    """What is no reference: an asset, all of a dataset, or a change."""
    from mlops_assets.store.changes import read_change

    shown = view(store, "." if at is None else at, branch)
    names = shown.assets()
    if what in names:
        leaves = shown.leaves(what)
        if len(leaves) == 1:
            return _version(store, branch, [shown.manifest(what, next(iter(leaves)))])
        batches = {batch: leaf._asdict() for batch, leaf in sorted(leaves.items())}
        return Shown(
            "asset", {"asset": what, "ref": shown.ref, "name": shown.name, **_counts(leaves), "leaves": batches}
        )
    if under := [name for name in names if name.startswith(f"{what}/")]:
        return Shown("view", _dataset(shown, what, under))
    try:
        return Shown("change", _change(read_change(store, what)))
    except NotStoredError:
        pass
    if near(store, what) or ":" in what or "@" in what:
        raise trouble
    chosen_assets(shown, [what])
    raise trouble


def _dataset(shown: View, name: str, assets: Sequence[str]) -> dict[str, Any]:
    return {
        "name": f"{name} in {shown.name}",
        "ref": shown.ref,
        "kind": shown.kind,
        "assets": {asset: _counts(shown.leaves(asset)) for asset in assets if shown.leaves(asset)},
    }


def _counts(leaves: Mapping[str, Leaf]) -> dict[str, Any]:
    rows = [leaf.rows for leaf in leaves.values() if leaf.rows is not None]
    return {
        "batches": len(leaves),
        "rows": sum(rows) if rows else None,
        "size": sum(leaf.size for leaf in leaves.values()),
        "first": min(leaves, default=None),
        "last": max(leaves, default=None),
    }


def _branch(store: "Store", name: str) -> dict[str, Any]:
    from mlops_assets.store.changes import open_changes

    branch = store.branch(name)
    protection = store.protection(name)
    return {
        "branch": name,
        "source": branch.source,
        "who": branch.who,
        "when": branch.when,
        "message": branch.message,
        "base": dict(branch.base),
        "protected": None if protection is None else {"checks": list(protection.checks), "who": protection.who},
        "open": [str(change) for change in open_changes(store, name)],
    }


def _change(change: "Change") -> dict[str, Any]:
    return {
        "change": change.id,
        "branch": change.branch,
        "verb": change.verb,
        "source": change.source,
        "message": change.message,
        "who": change.who,
        "when": change.when,
        "checks": list(change.checks),
        "finished": change.finished,
        "abandoned": change.abandoned,
        "moved": change.moved,
        "steps": [
            {
                "asset": step.asset,
                "batch": step.batch,
                "manifest_before": step.expected.manifest if step.expected else None,
                "manifest_after": step.to.manifest if step.to else None,
                "after": step.to.version if step.to else None,
                "origin": dict(step.origin),
            }
            for step in change.steps
        ],
        "skipped": [skipped._asdict() for skipped in change.skipped],
    }
