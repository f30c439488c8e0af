"""What people name when they ask about versions: a branch, a tag, a remote's branch, a moment, a short digest.

What belongs here: reading a reference, and the one form, ``View``, in which all of them are looked at. What does not:
what is done with a view (questions, snapshots, merging, remotes).

=====================  ==============================================================================================
reference              what it shows
=====================  ==============================================================================================
``main``               a branch as it is now (``.`` is the current one)
``v1.2.0``             a tag
``origin/main``        a remote's branch as it was last seen
``main@2026-03-01``    a branch at a moment, by the records of its moves; ``@TIME`` is the current branch. A time
                       without a zone is in UTC, as the records are; a date alone is its first moment
``b3:5f3a91``          a version, or the record (manifest) of one, by the first digits of its digest, at least six
``branch:X``           a branch, a tag or a remote's branch whose name could be read in another way (also ``tag:X`` and
                       ``remote:X``)
=====================  ==============================================================================================

Naming a branch, a tag or a remote's branch reads one or two small files. A moment reads the newest move of each batch;
a short digest looks through the names of all files of values and manifests.
"""

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from mlops_assets.errors import CorruptError, NotStoredError, PurgedError, StoreError
from mlops_assets.store.branches import MAIN
from mlops_assets.store.digest import parse_json, unsealed
from mlops_assets.store.formats import check_format
from mlops_assets.store.heads import Head, Leaf, Move
from mlops_assets.store.manifest import Manifest
from mlops_assets.store.names import segment, text
from mlops_assets.store.records import read_move, record_id
from mlops_assets.store.store import branch_path, leaf_of, move_path
from mlops_assets.store.tags import read_tag, tag_names, tag_path

if TYPE_CHECKING:
    from mlops_assets.store.store import Store

ViewKind = Literal["branch", "tag", "remote", "time", "version"]

SHORTEST = 6
"""Hex digits of a digest that are taken for a name of it."""

_CANDIDATES = 5
_DIGEST = re.compile(r"b3:([0-9a-fA-F]*)")
_PREFIXES = ("branch", "tag", "remote")


class View:
    """What each batch of each asset shows under one reference; each is read once, when it is asked for.

    ``name`` is for people, ``ref`` gives the same kind of view again when it is given to ``view``; ``moment`` is when,
    of a branch at a moment.
    """

    moment: datetime | None = None

    def __init__(self, store: "Store", kind: ViewKind, name: str, ref: str) -> None:
        self.store = store
        self.kind: ViewKind = kind
        self.name = name
        self.ref = ref
        self._leaves: dict[str, Mapping[str, Leaf]] = {}

    def __str__(self) -> str:
        return self.name

    def assets(self) -> list[str]:
        """The names of the assets, sorted; of a branch or moment also assets that have no batch left."""
        raise NotImplementedError

    def leaves(self, asset: str) -> Mapping[str, Leaf]:
        """What each batch of an asset shows, not to be changed; empty for an asset that is not in view."""
        if asset not in self._leaves:
            self._leaves[asset] = self._read(asset)
        return self._leaves[asset]

    def leaf(self, asset: str, batch: str) -> Leaf | None:
        """What one batch shows, if anything; of a branch or moment, no other batch is looked at."""
        return self.leaves(asset).get(batch)

    def tree_id(self, asset: str) -> str | None:
        """The tree that says what ``leaves`` says, where one is known without reading anything."""
        del asset
        return None

    def manifest(self, asset: str, batch: str) -> Manifest:
        """The record of what a batch shows; raises ``NotStoredError`` when it shows nothing."""
        leaf = self.leaf(asset, batch)
        if leaf is None:
            raise NotStoredError(self._nothing(asset, batch))
        return self.store.manifest(asset, batch, leaf.manifest)

    def _read(self, asset: str) -> Mapping[str, Leaf]:
        raise NotImplementedError

    def _nothing(self, asset: str, batch: str) -> str:
        shown = self.leaves(asset)
        if not shown:
            others = [name for name in self.assets() if name != asset]
            near = difflib.get_close_matches(asset, others, cutoff=0.4)
            known = f"; near is: {', '.join(near)}" if near else ""
            return f"{self.name} shows nothing of {asset!r}{known}. See all with: mlops-assets show {self.ref}"
        near = difflib.get_close_matches(batch, shown, cutoff=0.4) or sorted(shown)[-1:]
        return f"{self.name} shows no batch {batch!r} of {asset}; near is: {', '.join(near)}."


class _BranchView(View):
    """A branch as it is now."""

    def __init__(self, store: "Store", branch: str) -> None:
        super().__init__(store, "branch", f"branch {branch}", f"branch:{branch}")
        store.branch(branch)
        self.branch = branch
        self._assets: list[str] | None = None

    def assets(self) -> list[str]:
        if self._assets is None:
            self._assets = self.store.assets(self.branch)
        return [*self._assets]

    def leaf(self, asset: str, batch: str) -> Leaf | None:
        if asset in self._leaves:
            return self._leaves[asset].get(batch)
        head = self.store.head(self.branch, asset, batch)
        return self.store.leaf(head) if head else None

    def _read(self, asset: str) -> Mapping[str, Leaf]:
        return self.store.leaves(self.branch, asset)


class _FrozenView(View):
    """Trees under a name: a tag, or a remote's branch as it was last seen."""

    def __init__(self, store: "Store", kind: ViewKind, name: str, ref: str, trees: Mapping[str, str]) -> None:
        super().__init__(store, kind, name, ref)
        self.trees = trees

    def assets(self) -> list[str]:
        return sorted(self.trees)

    def tree_id(self, asset: str) -> str | None:
        return self.trees.get(asset)

    def _read(self, asset: str) -> Mapping[str, Leaf]:
        return self.store.tree(self.trees[asset]) if asset in self.trees else {}


class _TimeView(View):
    """A branch at a moment: from each head back along its moves to the last one that was made by then."""

    def __init__(self, store: "Store", branch: str, moment: datetime) -> None:
        said = moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")
        super().__init__(store, "time", f"branch {branch} at {said}", f"{branch}@{said}")
        started = store.branch(branch).when
        if started and moment < _moment(started):
            raise NotStoredError(
                f"The branch {branch} was started at {started}, after {said}; ask for a later moment, or for the "
                f"branch it was started from ({store.branch(branch).source or MAIN})."
            )
        self.branch = branch
        self.moment: datetime = moment
        self._taken_away: set[str] = set()

    def assets(self) -> list[str]:
        return self.store.assets(self.branch)

    def leaf(self, asset: str, batch: str) -> Leaf | None:
        if asset in self._leaves:
            return self._leaves[asset].get(batch)
        tip = self.store.slot(self.branch, asset, batch)
        return self._at(asset, [tip] if tip else []).get(batch)

    def _read(self, asset: str) -> Mapping[str, Leaf]:
        return self._at(asset, self.store.slots(self.branch, asset))

    def _at(self, asset: str, slots: list[Head]) -> dict[str, Leaf]:
        store = self.store
        base = store.branch(self.branch).base.get(asset)
        found = dict(store.tree(base).items()) if base else {}
        manifests: dict[str, str] = {}
        tips = {head.batch: head for head in slots}
        waiting = {batch: head.move for batch, head in tips.items()}
        while waiting:
            # one move of every batch at a time, so that an object store is asked for all of them at once
            later = {}
            for batch, move in self._moves(asset, waiting):
                if _moment(move.when) > self.moment:
                    if move.previous:
                        later[batch] = move.previous
                elif not move.to_manifest:
                    found.pop(batch, None)
                    self._taken_away.add(asset)
                elif move.to_manifest == tips[batch].manifest:
                    found[batch] = store.leaf(tips[batch])
                else:
                    manifests[batch] = move.to_manifest
            waiting = later
        found.update(_leaves_of(store, asset, manifests))
        return {batch: found[batch] for batch in sorted(found)}

    def _nothing(self, asset: str, batch: str) -> str:
        if not self.leaves(asset) and asset in self.assets() and asset not in self._taken_away:
            return (
                f"{self.name} shows nothing of {asset!r}: nothing of it had been published by then. See all with: "
                f"mlops-assets show {self.ref}"
            )
        return super()._nothing(asset, batch)

    def _moves(self, asset: str, ids: Mapping[str, str]) -> Iterator[tuple[str, Move]]:
        paths = [move_path(self.branch, asset, batch, id_) for batch, id_ in ids.items()]
        for (batch, id_), path, data in zip(ids.items(), paths, self.store.backend.read_many(paths), strict=True):
            yield batch, read_move(data, id_, self.store.where(path))


class _VersionView(View):
    """One version by its digest, wherever it stands."""

    def __init__(self, store: "Store", digest: str, manifests: list[Manifest]) -> None:
        super().__init__(store, "version", f"version {digest[: 3 + 12]}", digest)
        newest: dict[tuple[str, str], Manifest] = {}
        for manifest in sorted(manifests, key=lambda item: (item.accepted, item.when, item.id)):
            if manifest.version and manifest.blob:
                newest[manifest.asset, manifest.batch] = manifest
        self._of: dict[str, dict[str, Leaf]] = {}
        for (asset, batch), manifest in sorted(newest.items()):
            self._of.setdefault(asset, {})[batch] = leaf_of(manifest)

    def assets(self) -> list[str]:
        return list(self._of)

    def _read(self, asset: str) -> Mapping[str, Leaf]:
        return self._of.get(asset, {})


def view(store: "Store", ref: str, branch: str = MAIN) -> View:
    """What a reference shows; ``branch`` is the current one. The module's docstring lists the forms of ``ref``.

    Raises ``NotStoredError`` for what is unknown, naming what is near, and ``StoreError`` for what can be read in two
    ways.
    """
    if ref in {".", "HEAD"}:
        return _BranchView(store, branch)
    prefix, separator, name = ref.partition(":")
    if separator and prefix in _PREFIXES and (prefix != "branch" or "@" not in name):
        return _named(store, prefix, name)
    if _DIGEST.fullmatch(ref):
        return _version(store, ref)
    kinds = [kind for kind in _PREFIXES if _exists(store, kind, ref)]
    if len(kinds) > 1:
        ways = " or ".join(f"{kind}:{ref}" for kind in kinds)
        raise StoreError(f"{ref!r} is the name of a {' and of a '.join(kinds)}; write {ways}.")
    if kinds:
        return _named(store, kinds[0], ref)
    of, separator, moment = ref.rpartition("@")
    if separator:
        if of and of != "." and not _exists(store, "branch", of.removeprefix("branch:")):
            raise NotStoredError(_unknown(store, of))
        of = of.removeprefix("branch:")
        return _TimeView(store, branch if of in {"", "."} else of, parse_moment(moment))
    raise NotStoredError(_unknown(store, ref))


def find(store: "Store", digest: str) -> tuple[str, list[Manifest]]:
    """The full digest of a version or manifest, and the manifests that it means, newest first.

    ``digest`` is ``b3:`` and at least six hex digits. Raises ``NotStoredError`` when there is none, ``PurgedError``
    when it was purged, ``StoreError`` when it is too short or means several.
    """
    match = _DIGEST.fullmatch(digest)
    if match is None:
        raise StoreError(f"{digest!r} names no version: `b3:` is followed by hex digits, at least {SHORTEST} of them.")
    prefix = match[1].lower()
    if len(prefix) < SHORTEST:
        raise StoreError(f"{digest!r} is too short to name a version; give `b3:` and at least {SHORTEST} hex digits.")
    start = f"b3-{prefix}"
    places: dict[str, list[tuple[str, str, str]]] = {}
    for folder in ("meta", "data"):
        for entry in store.backend.entries(folder):
            if (place := _place(entry.path, start)) is not None:
                places.setdefault(place[0], []).append((folder, *place[1:]))
    purged = {name.removesuffix(".json").replace("-", ":", 1) for name in store.backend.children("tombstones")[1]}
    gone = sorted(name for name in purged - set(places) if name.startswith(f"b3:{prefix}"))
    if len(places) + len(gone) > 1:
        said = [_candidate(id_, found) for id_, found in sorted(places.items())] + [f"{id_} (purged)" for id_ in gone]
        more = f", and {len(said) - _CANDIDATES} more" if len(said) > _CANDIDATES else ""
        raise StoreError(
            f"{digest} could be {len(said)} versions or manifests: {'; '.join(said[:_CANDIDATES])}{more}. "
            "Give more digits."
        )
    if gone:
        stone = store.tombstone(gone[0]) or {}
        raise PurgedError(f"{gone[0]} was purged on {stone.get('when')} by purge {stone.get('purge')}.")
    for id_, found in places.items():
        manifests = _manifests(store, id_, found)
        if manifests:
            return id_, sorted(manifests, key=lambda item: (item.when, item.id), reverse=True)
    raise NotStoredError(
        f"No version and no manifest in {store} starts with {digest}; see what there is with: mlops-assets log"
    )


def chosen_assets(shown: View, wanted: Collection[str] | None) -> list[str]:
    """The assets of a view that are asked for: by their names, or all under a first part (``flights``); None: all.

    Raises ``NotStoredError`` for a name that the view shows nothing of.
    """
    names = shown.assets()
    if wanted is None:
        return names
    found: set[str] = set()
    for want in wanted:
        under = [name for name in names if name == want or name.startswith(f"{want.rstrip('/')}/")]
        if not under:
            close = difflib.get_close_matches(want, names, cutoff=0.4) or names
            raise NotStoredError(f"{shown.name} shows no asset {want!r}; there is: {', '.join(close) or 'none'}.")
        found.update(under)
    return sorted(found)


def parse_moment(said: str) -> datetime:
    """A moment that people write: an ISO date (its first moment) or time, in UTC where no zone is given.

    Raises ``StoreError`` for anything else, and for a moment that has not come yet.
    """
    try:
        moment = _moment(said.strip())
    except ValueError:
        raise StoreError(
            f"{said!r} is not a moment; write a date or time such as 2026-03-01 or 2026-03-01T12:00:00+01:00."
        ) from None
    if moment > datetime.now(UTC):
        raise StoreError(f"{moment.isoformat()} has not come yet; ask for the branch itself to see how it is now.")
    return moment


def near(store: "Store", ref: str) -> list[str]:
    """Names of branches, tags and remotes' branches that look like a reference."""
    names = [*store.branches(), *tag_names(store), *remote_branches(store)]
    return difflib.get_close_matches(ref, list(dict.fromkeys(names)), cutoff=0.5)


def remote_branches(store: "Store") -> list[str]:
    """``REMOTE/BRANCH`` for each branch of a remote that was seen, sorted."""
    return sorted(
        f"{text(remote)}/{text(name.removesuffix('.json'))}"
        for remote in store.backend.children("remotes")[0]
        for name in store.backend.children(f"remotes/{remote}/branches")[1]
    )


def tracked_path(remote: str, branch: str) -> str:
    """Where it is written what a remote's branch showed when it was last seen."""
    return f"remotes/{segment(remote)}/branches/{segment(branch)}.json"


# --- inside ----------------------------------------------------------------------------------------------------------


def _named(store: "Store", kind: str, name: str) -> View:
    if not _exists(store, kind, name):
        raise NotStoredError(_unknown(store, name, kind))
    if kind == "branch":
        return _BranchView(store, name)
    if kind == "tag":
        return _FrozenView(store, "tag", f"tag {name}", f"tag:{name}", read_tag(store, name).trees)
    remote, _, branch = name.partition("/")
    path = tracked_path(remote, branch)
    try:
        record = dict(parse_json(unsealed(store.backend.read(path))))
        number, trees = record["format"], dict(record["trees"])
    except (ValueError, TypeError, KeyError) as trouble:
        raise CorruptError(
            f"{store.where(path)} is not a remote's branch as the store writes it; mend it with: "
            f"mlops-assets fetch {remote}"
        ) from trouble
    check_format(number, 1, store.where(path))
    return _FrozenView(store, "remote", f"{branch} of remote {remote}", f"remote:{name}", trees)


def _exists(store: "Store", kind: str, name: str) -> bool:
    if not name:
        return False
    if kind == "branch":
        return name == MAIN or store.backend.stat(branch_path(name)) is not None
    if kind == "tag":
        return store.backend.stat(tag_path(name)) is not None
    remote, _, branch = name.partition("/")
    return bool(remote and branch) and store.backend.stat(tracked_path(remote, branch)) is not None


def _unknown(store: "Store", ref: str, kind: str = "branch, tag or version") -> str:
    names = near(store, ref)
    if names:
        hint = f"near is: {', '.join(names)}"
    else:
        hint = f"branches are: {', '.join(store.branches())}; tags: {', '.join(tag_names(store)[-10:]) or 'none'}"
    return f"There is no {kind} {ref!r} in {store}; {hint}."


def _version(store: "Store", ref: str) -> View:
    id_, manifests = find(store, ref)
    if not any(manifest.version and manifest.blob for manifest in manifests):
        first = manifests[0]
        raise NotStoredError(
            f"{id_} is the record of {first.asset}[{first.batch}], which was refused before there was a value; "
            f"see why with: mlops-assets show {id_[: 3 + 12]}"
        )
    return _VersionView(store, id_, manifests)


def _place(path: str, start: str) -> tuple[str, str, str] | None:
    """Digest, asset and batch of the file of a value or manifest whose name starts with ``start``."""
    folder, _, name = path.rpartition("/")
    if not name.startswith(start):
        return None
    *asset, batch = folder.split("/")[1:]
    if path.startswith("data/"):
        if not batch.startswith("p="):
            return None
        batch = batch.removeprefix("p=")
    return record_id(name.partition(".")[0]), "/".join(text(part) for part in asset), text(batch)


def _candidate(id_: str, found: list[tuple[str, str, str]]) -> str:
    folder, asset, batch = found[0]
    what = "version" if folder == "data" else "manifest"
    elsewhere = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{id_[: 3 + 16]} ({what} of {asset}[{batch}]{elsewhere})"


def _manifests(store: "Store", id_: str, found: list[tuple[str, str, str]]) -> list[Manifest]:
    manifests = []
    for folder, asset, batch in found:
        if folder == "meta":
            manifests.append(store.manifest(asset, batch, id_))
        else:
            manifests += [item for item in store.manifests(asset, batch) if item.version == id_]
    return manifests


def _leaves_of(store: "Store", asset: str, manifests: Mapping[str, str]) -> dict[str, Leaf]:
    """The leaves of manifests by batch, read all at once."""
    read = store.read_manifests((asset, batch, id_) for batch, id_ in manifests.items())
    leaves = {}
    for (batch, id_), manifest in zip(manifests.items(), read, strict=True):
        if manifest is None:
            raise NotStoredError(
                f"{asset}[{batch}] showed manifest {id_} then, which {store} no longer has; fetch it from a remote."
            )
        leaves[batch] = leaf_of(manifest)
    return leaves


def _moment(said: str) -> datetime:
    moment = datetime.fromisoformat(said)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
