"""Push, fetch, pull and clone: what is to be copied between two stores, and which pointers may move.

What belongs here: choosing versions, comparing heads, refusing histories that parted, moving pointers last. What does
not: copying and verifying files (``copying``), the names of remotes and what was seen of them (``remotes``).

Both ways go in the same order: marks of purges, files, manifests, trees, tags, ledgers, changes, the branch's file,
moves, heads. So whenever a process or a line dies, the store that was written to is whole, and the next run goes on
where this one ended. Heads are the same bytes on both sides, and move only forward: to a move that stands on the one
that is there. What a remote showed is kept apart under ``remotes/``; only ``pull`` and ``clone`` move heads here.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mlops_assets.errors import ConflictError, CorruptError, NotStoredError, RefusedError, StoreError
from mlops_assets.store import alongside
from mlops_assets.store.ancestry import descends
from mlops_assets.store.backend import backend_at
from mlops_assets.store.branches import MAIN, Branch
from mlops_assets.store.changes import open_changes, told
from mlops_assets.store.copying import SHOWN, Copier, Place, Progress, Tally, Trail, Want
from mlops_assets.store.heads import Head, Leaf
from mlops_assets.store.names import asset_path, segment, text
from mlops_assets.store.refs import tracked_path
from mlops_assets.store.remotes import (
    Partial,
    Remote,
    Tracked,
    add_remote,
    checked_url,
    forget_partial,
    note_partial,
    read_remote,
    remotes,
    track,
    tracked,
)
from mlops_assets.store.store import Store, branch_path, head_path, move_path, now, protection_path
from mlops_assets.store.tags import Tag, tag_names, tag_path

ORIGIN = "origin"
"""What a clone calls the store it was made from."""

_TRIES = 5

_GUARDED = ("merge", "revert", "restore", "purge")
"""The verbs by which heads of a protected branch move."""

Names = Sequence[str] | Literal["all"]

Relation = Literal["equal", "forward", "behind", "parted"]
"""How a head of the source stands to that of the target: ``forward`` is a step that the target's head may take."""


class HeadMove(NamedTuple):
    """A head that was moved (or would be); ``version`` is empty for one that was taken away."""

    branch: str
    asset: str
    batch: str
    seq: int
    version: str


@dataclass
class Report:
    """What a push, fetch, pull or clone did, or would do.

    ``tally`` counts files; ``ahead`` are batches of which the side that was written to knows more; ``notes`` are
    sentences for people.
    """

    verb: str
    remote: Remote
    dry: bool = False
    branches: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    heads: list[HeadMove] = field(default_factory=list)
    ahead: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        total = self.tally.total
        return {
            "verb": self.verb,
            "remote": {"name": self.remote.name, "url": self.remote.url},
            "dry": self.dry,
            "branches": self.branches,
            "tags": self.tags,
            "objects": total.objects,
            "bytes": total.bytes,
            "copied": {
                kind: {"objects": count.objects, "bytes": count.bytes} for kind, count in self.tally.copied.items()
            },
            "present": self.tally.present,
            "absent": self.tally.absent,
            "purged": self.tally.purged,
            "heads": [move._asdict() for move in self.heads],
            "ahead": self.ahead,
            "notes": self.notes,
        }


def push(
    store: Store,
    remote: str,
    branches: Sequence[str] = (),
    *,
    tags: Names = (),
    assets: Collection[str] | None = None,
    batches: Collection[str] | None = None,
    dry: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Send branches (only some assets or batches of them, if given) and tags to a remote, which is made if need be.

    Only what the remote lacks is sent, with the exact inputs of every version; a ``dry`` push only counts. Raises
    ``ConflictError`` when histories parted or a branch or tag of the same name is another one there, ``RefusedError``
    for a protected branch there, ``CorruptError`` for what is damaged here, ``StoreError`` for what the remote refuses.
    No pointer there has moved then, except when another push was faster; what arrived is not sent again.
    """
    where = read_remote(store, remote)
    scope = _Scope.of(assets, batches)
    _refuse_open(store, branches)
    target = _target(where, dry=dry)
    report = Report("push", where, dry, list(branches))
    with Copier(store, target, near_target=False, dry=dry, progress=progress) as copier:
        report.tally = copier.tally
        sendings = [_compare(copier, branch, scope, report) for branch in branches]
        marks = _tags(copier, tags, report)
        _refuse_open(store, branches)
        ledgers = alongside.ledgers(copier, _assets(sendings), where, None)

        erased = copier.purges()
        holders: list[_Sending | _Mark] = [*sendings, *marks]
        trees = {id_: asset for holder in holders for asset, id_ in holder.trees.items()}
        wants = [want for sending in sendings for want in _wants(sending)]
        # a tree that is there has all that it speaks of
        for id_ in copier.lacking_trees(trees):
            wants += _leaves(store.tree(id_), trees[id_])
        _refuse_erased(where, wants, erased)
        erasures = alongside.erasures(store, target) if scope.whole and branches else []
        copier.versions([*wants, *alongside.replacements(erasures)])
        copier.trees(trees)
        alongside.copy_ledgers(copier, ledgers)
        alongside.copy_changes(copier, [trail for sending in sendings for trail in sending.trails])
        for mark in marks:
            alongside.write(copier, "tags", mark.path, mark.data)
        for sending in sendings:
            copier.settle([want for want in _wants(sending) if want.required and not want.known])
            _point(copier, sending, report, _relation)
        alongside.copy_erasures(copier, erasures, where, report.notes)
    if not dry:
        for sending in sendings:
            _see_pushed(store, where, sending, scope)
    return report


def fetch(
    store: Store,
    remote: str,
    branches: Sequence[str] | None = None,
    *,
    tags: Names = (),
    assets: Collection[str] | None = None,
    batches: Collection[str] | None = None,
    data: bool = True,
    deep: bool | None = None,
    shallow: bool = False,
    dry: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Bring branches (all, unless some or a tag are named) and tags of a remote here, and move no head of this store.

    ``assets`` and ``batches`` choose a part, ``data=False`` records alone, ``shallow`` no versions but those that are
    shown now; ``deep`` (by default for whole branches) also brings the exact inputs. Everything is verified as it
    arrives. Raises ``NotStoredError`` for what the remote has not, ``CorruptError`` for what is damaged there (nothing
    that points to it is written), ``ConflictError`` for a tag that is another one here.
    """
    where = read_remote(store, remote)
    options = _Options(branches, tags, _Scope.of(assets, batches), data, deep, shallow, dry, progress)
    source = Store.open(where.url, create=False)
    report = Report("fetch", where, dry)
    with _copier(source, store, options) as copier:
        _bring(copier, options, report)
    return report


def pull(
    store: Store,
    remote: str,
    branches: Sequence[str],
    *,
    tags: Names = (),
    assets: Collection[str] | None = None,
    batches: Collection[str] | None = None,
    deep: bool | None = None,
    shallow: bool = False,
    dry: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Fetch branches, and move the heads of this store forward to what the remote shows.

    Raises as ``fetch``, and ``ConflictError`` when histories parted: then no head has moved, and what arrived can be
    merged as ``REMOTE/BRANCH``.
    """
    where = read_remote(store, remote)
    options = _Options(branches, tags, _Scope.of(assets, batches), True, deep, shallow, dry, progress)
    source = Store.open(where.url, create=False)
    report = Report("pull", where, dry)
    _pull(source, store, options, report)
    return report


def clone(
    url: str,
    place: str | Path,
    *,
    branches: Sequence[str] | None = None,
    tags: Names | None = None,
    shallow: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Make a store that is a copy of another one, which it calls ``origin``.

    Everything comes unless branches or tags are named. A clone that was broken off is continued. Raises
    ``NotStoredError`` when there is no store at ``url``, ``StoreError`` when there is another one at ``place``.
    """
    where = Remote(ORIGIN, checked_url(url))
    source = Store.open(where.url, create=False)
    store = _empty(place, where)
    add_remote(store, ORIGIN, where.url)
    if branches is None:
        branches = source.branches() if tags is None else []
    report = Report("clone", where)
    tags = "all" if tags is None else tags
    options = _Options(branches, tags, _Scope(), True, None, shallow, dry=False, progress=progress)
    _pull(source, store, options, report)
    return report


# --- what is chosen --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Scope:
    """Assets and batches; None means all."""

    assets: frozenset[str] | None = None
    batches: frozenset[str] | None = None

    @classmethod
    def of(cls, assets: Collection[str] | None, batches: Collection[str] | None) -> "_Scope":
        return cls(*(None if names is None else frozenset(names) for names in (assets, batches)))

    @property
    def whole(self) -> bool:
        return self.assets is None and self.batches is None

    def has(self, asset: str, batch: str) -> bool:
        return (self.assets is None or asset in self.assets) and (self.batches is None or batch in self.batches)

    def __str__(self) -> str:
        assets = ", ".join(sorted(self.assets)) if self.assets is not None else "any asset"
        return assets if self.batches is None else f"{assets}[{', '.join(sorted(self.batches))}]"


class _Options(NamedTuple):
    branches: Sequence[str] | None
    tags: Names
    scope: _Scope
    data: bool
    deep: bool | None
    shallow: bool
    dry: bool
    progress: Progress | None


class _Slot(NamedTuple):
    """A branch's own head, and its file's bytes."""

    head: Head
    data: bytes

    @property
    def leaf(self) -> Leaf | None:
        """What a tree would say of it; None where that takes the manifest, or nothing is shown."""
        return self.head.leaf if self.head.manifest and self.head.kind else None

    def want(self, *, known: bool) -> Want:
        head = self.head
        return Want(head.asset, head.batch, head.manifest, self.leaf, required=True, known=known)


@dataclass
class _Sending:
    """A branch on its way from one store to another: the heads that are to move, and what stands in their way.

    ``file`` is the branch's file if the other side lacks it, ``protection`` likewise. ``shown`` are the slots that both
    sides have, or will have.
    """

    branch: Branch
    file: bytes | None = None
    protection: bytes | None = None
    shown: dict[Place, _Slot] = field(default_factory=dict)
    forward: dict[Place, tuple[_Slot, _Slot | None]] = field(default_factory=dict)
    ahead: list[Place] = field(default_factory=list)
    trails: list[Trail] = field(default_factory=list)
    trees: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Mark:
    """A tag on its way; ``data`` is its file."""

    path: str
    data: bytes
    tag: Tag

    @property
    def trees(self) -> Mapping[str, str]:
        return self.tag.trees


_Compare = Callable[[Copier, str, Place, _Slot, _Slot | None], Relation]


def _slots(store: Store, branch: str, scope: _Scope) -> dict[Place, _Slot]:
    """A branch's own heads, also those that were taken away."""
    root = f"heads/{segment(branch)}"
    if scope.assets is not None and scope.batches is not None:
        paths = [head_path(branch, asset, batch) for asset in sorted(scope.assets) for batch in sorted(scope.batches)]
    else:
        folders = [root] if scope.assets is None else [f"{root}/{asset_path(asset)}" for asset in sorted(scope.assets)]
        paths = sorted({entry.path for folder in folders for entry in store.backend.entries(folder)})
    places = [_place(path) for path in paths]
    chosen = [(path, place) for path, place in zip(paths, places, strict=True) if scope.has(*place)]
    found = {}
    for (path, place), data in zip(chosen, store.backend.read_many([path for path, _ in chosen]), strict=True):
        if data is not None:
            head = Head.decode(data, store.where(path))
            if (head.asset, head.batch) != place:
                raise CorruptError(f"{store.where(path)} is the head of {head.asset}[{head.batch}]; it was not copied.")
            found[place] = _Slot(head, data)
    return found


def _place(path: str) -> Place:
    *asset, batch = path.split("/")[2:]
    return "/".join(text(part) for part in asset), text(batch)


def _leaves(leaves: Mapping[str, Leaf], asset: str, scope: _Scope | None = None) -> list[Want]:
    return [
        Want(asset, batch, leaf.manifest, leaf, required=True)
        for batch, leaf in leaves.items()
        if scope is None or scope.has(asset, batch)
    ]


def _wants(sending: _Sending, *, history: bool = True) -> list[Want]:
    """The versions that a branch's heads show, and those that they showed on the way there."""
    wants = [
        slot.want(known=place not in sending.forward) for place, slot in sending.shown.items() if slot.head.manifest
    ]
    if history:
        wants += [
            Want(move.asset, move.batch, move.to_manifest)
            for trail in sending.trails
            for move in trail.own
            if move.to_manifest
        ]
    return wants


def _assets(sendings: Iterable[_Sending]) -> set[str]:
    """The assets of branches."""
    shown = {asset for sending in sendings for asset, _ in sending.shown}
    return shown.union(*(sending.trees for sending in sendings))


def _tags(copier: Copier, names: Names, report: Report) -> list[_Mark]:
    """The tags of these names, unless the target has another of the same name."""
    source, target = copier.source, copier.target
    report.tags = tag_names(source) if names == "all" else list(names)
    marks = []
    for name in report.tags:
        path = tag_path(name)
        try:
            data = source.backend.read(path)
        except FileNotFoundError:
            known = ", ".join(tag_names(source)) or "none"
            raise NotStoredError(f"There is no tag {name!r} in {source}; there is: {known}.") from None
        with suppress(FileNotFoundError):
            if target.backend.read(path) != data:
                raise ConflictError(alongside.other(f"The tag {name!r} in {target}"))
        marks.append(_Mark(path, data, Tag.decode(data, source.where(path))))
    return marks


# --- what stands in the way ------------------------------------------------------------------------------------------


def _refuse_open(store: Store, branches: Collection[str]) -> None:
    """Half a merge is not sent; looked at again after the heads were read."""
    for change in open_changes(store):
        if change.branch in branches:
            raise ConflictError(told(change))


def _refuse_erased(where: Remote, wants: Iterable[Want], erased: Collection[str]) -> None:
    shown = [want for want in wants if want.required and want.leaf and want.leaf.version.replace(":", "-", 1) in erased]
    if shown:
        names = _named((want.asset, want.batch) for want in shown)
        raise RefusedError(
            f"What {names} show was erased at {where} by a purge and may not come back. Take the purge over with: "
            f"mlops-assets pull {where.name}"
        )


def _compare(copier: Copier, name: str, scope: _Scope, report: Report) -> _Sending:
    """What a push of a branch would move; raises when it may not."""
    source, target = copier.source, copier.target
    branch = source.branch(name)
    sending = _Sending(branch, trees=branch.base)
    mine, theirs = _slots(source, name, scope), _slots(target, name, scope)
    _meet(copier, sending)
    if not scope.whole and not mine:
        raise NotStoredError(f"The branch {name} of {source} has moved no head of {scope}; nothing was sent.")
    _sort(copier, sending, report, _relation, mine=mine, theirs=theirs)
    _refuse_unguarded(copier, sending)
    moving = {place: slot.head.move for place, (slot, _) in sending.forward.items()}
    sending.trails = copier.trails(name, moving)
    return sending


def _meet(copier: Copier, sending: _Sending) -> None:
    """Look whether a branch starts from the same on both sides, and what of its records the target lacks."""
    source, target = copier.source, copier.target
    name = sending.branch.name
    path = branch_path(name)
    try:
        there = Branch.decode(target.backend.read(path), target.where(path))
    except FileNotFoundError:
        with suppress(FileNotFoundError):
            sending.file = source.backend.read(path)
        # a disk keeps the empty folders of a branch that was removed
        has_heads = any(True for _ in target.backend.entries(f"heads/{segment(name)}"))
        there = Branch(name) if has_heads else sending.branch
    _refuse_other_base(sending.branch, there, copier)
    guard = protection_path(name)
    if target.backend.stat(guard) is None:
        with suppress(FileNotFoundError):
            sending.protection = source.backend.read(guard)


def _refuse_other_base(mine: Branch, theirs: Branch, copier: Copier) -> None:
    if dict(mine.base) != dict(theirs.base):
        raise ConflictError(
            f"The branch {mine.name} in {copier.target} starts from another state than the branch {mine.name} in "
            f"{copier.source}: they are two branches of one name. Go on under another name: mlops-assets branch "
            f"NEW_NAME --from {mine.name}"
        )


def _relation(copier: Copier, branch: str, place: Place, mine: _Slot, theirs: _Slot | None) -> Relation:
    """How a head of the source stands to that of the target; each side's history is asked of that side."""
    if theirs is None:
        return "forward"
    if mine.data == theirs.data:
        return "equal"
    if _stands_on(copier.source, branch, place, mine.head.move, theirs.head.move):
        return "forward"
    return "behind" if _stands_on(copier.target, branch, place, theirs.head.move, mine.head.move) else "parted"


def _relation_here(copier: Copier, branch: str, place: Place, mine: _Slot, theirs: _Slot | None) -> Relation:
    """As ``_relation``, when all moves of the source were fetched into the target."""
    if theirs is None:
        return "forward"
    if mine.data == theirs.data:
        return "equal"
    if _stands_on(copier.target, branch, place, mine.head.move, theirs.head.move):
        return "forward"
    return "behind" if _stands_on(copier.target, branch, place, theirs.head.move, mine.head.move) else "parted"


def _stands_on(store: Store, branch: str, place: Place, tip: str, ancestor: str) -> bool:
    # a store that has no record of the ancestor cannot have a head that stands on it
    if store.backend.stat(move_path(branch, *place, ancestor)) is None:
        return False
    return descends(store, *place, (branch, tip), ancestor)


def _sort(
    copier: Copier,
    sending: _Sending,
    report: Report,
    relation: _Compare,
    *,
    mine: Mapping[Place, _Slot],
    theirs: Mapping[Place, _Slot],
) -> None:
    """Which heads of a branch are to move; raises ``ConflictError`` when histories parted."""
    name = sending.branch.name
    # most are the same, which needs no look at their histories
    asked = [place for place, slot in mine.items() if place in theirs and theirs[place].data != slot.data]
    answers = copier.each(lambda place: relation(copier, name, place, mine[place], theirs[place]), asked)
    different = dict(zip(asked, answers, strict=True))
    parted = []
    for place in mine:
        how = different.get(place, "equal" if place in theirs else "forward")
        if how == "parted":
            parted.append(place)
        elif how == "behind":
            sending.ahead.append(place)
        else:
            sending.shown[place] = mine[place]
            if how == "forward":
                sending.forward[place] = (mine[place], theirs.get(place))
    sending.ahead += [place for place in theirs if place not in mine]
    report.ahead += [f"{name}: {asset}[{batch}]" for asset, batch in sorted(sending.ahead)]
    if parted:
        raise ConflictError(_parted(report, name, parted))


def _parted(report: Report, branch: str, places: Collection[Place]) -> str:
    remote = report.remote
    where = f"{len(places)} head(s) of the branch {branch} moved both here and at {remote}: {_named(sorted(places))}."
    if report.verb == "push":
        return (
            f"{where} Nothing was moved. Bring both together with: mlops-assets fetch {remote.name} && mlops-assets "
            f"merge {remote.name}/{branch}   and push again."
        )
    return f"{where} No head was moved here. Bring both together with: mlops-assets merge {remote.name}/{branch}"


def _refuse_unguarded(copier: Copier, sending: _Sending) -> None:
    """A protected branch takes from elsewhere only what a merge, a revert or a restore moved."""
    name = sending.branch.name
    if not sending.forward or copier.target.protection(name) is None:
        return
    tips = {place: slot.head.move for place, (slot, _) in sending.forward.items()}
    records = copier.each(lambda place: copier.source.move_record(name, *place, tips[place]), list(tips))
    wrong = sorted((move.asset, move.batch) for move in records if move.origin.get("verb") not in _GUARDED)
    if wrong:
        raise RefusedError(
            f"The branch {name} in {copier.target} is protected: it moves by merges only, and "
            f"{_named(wrong)} of the branch {name} in {copier.source} moved otherwise. Publish on another branch, "
            f"and merge that one into {name}."
        )


# --- pointers --------------------------------------------------------------------------------------------------------


def _point(copier: Copier, sending: _Sending, report: Report, relation: _Compare) -> None:
    """Write the branch's file, the moves and the heads of a branch whose versions have all arrived."""
    name, target = sending.branch.name, copier.target
    if sending.file is not None and not copier.write("branches", branch_path(name), sending.file):
        target.forget_branches()
        _refuse_other_base(sending.branch, target.branch(name), copier)
    target.forget_branches()
    copier.moves(sending.trails)
    places = sorted(sending.forward)
    results: list[Relation] = ["forward"] * len(places)
    if not copier.dry:
        results = copier.each(lambda place: _advance(copier, sending, place, relation), places)
    late = []
    for place, result in zip(places, results, strict=True):
        head, data = sending.forward[place][0]
        if result == "forward":
            copier.count("heads", len(data))
            report.heads.append(HeadMove(name, *place, head.seq, head.version))
        elif result == "behind":
            report.ahead.append(f"{name}: {place[0]}[{place[1]}]")
        elif result == "parted":
            late.append(place)
    if late:
        raise ConflictError(
            f"{_named(late)} of the branch {name} in {target} moved meanwhile, to what does not stand on what was to "
            f"be shown; {len(report.heads)} other head(s) were moved. Run this again to see how both can be brought "
            "together."
        )
    if sending.protection is not None:
        copier.write("branches", protection_path(name), sending.protection)


def _advance(copier: Copier, sending: _Sending, place: Place, relation: _Compare) -> Relation:
    """Move one head if that is still a step forward; ``forward`` when it was moved, else how the two stand now."""
    slot, seen = sending.forward[place]
    name, backend = sending.branch.name, copier.target.backend
    path = head_path(name, *place)
    for _ in range(_TRIES):
        with backend.hold(path):
            if backend.swap(path, slot.data, seen.data if seen else None):
                return "forward"
        seen = None
        with suppress(FileNotFoundError):
            data = backend.read(path)
            seen = _Slot(Head.decode(data, copier.target.where(path)), data)
        if (how := relation(copier, name, place, slot, seen)) != "forward":
            return how
    return "parted"


def _see_pushed(store: Store, where: Remote, sending: _Sending, scope: _Scope) -> None:
    """Keep what the remote shows now, as far as it is known here."""
    shown: dict[str, dict[str, Leaf]] = {}
    moves: dict[str, dict[str, str]] = {}
    ahead = set(sending.ahead)
    for asset, tree in sending.branch.base.items():
        if scope.whole:
            shown[asset] = {batch: leaf for batch, leaf in store.tree(tree).items() if (asset, batch) not in ahead}
    gone = []
    for (asset, batch), slot in sending.shown.items():
        moves.setdefault(asset, {})[batch] = slot.head.move
        if slot.head.manifest:
            shown.setdefault(asset, {})[batch] = store.leaf(slot.head)
        else:
            gone.append((asset, batch))
    whole = scope.whole and not ahead
    seen = Tracked(where.name, sending.branch.name, {}, moves, sending.branch.base if scope.whole else {}, now())
    _remember(store, seen, shown, gone, whole=whole)


def _remember(
    store: Store, seen: Tracked, shown: Mapping[str, Mapping[str, Leaf]], gone: Iterable[Place], *, whole: bool
) -> None:
    """Keep what a remote's branch shows; of a part of it, beside what was known of the rest."""
    with store.backend.hold(tracked_path(seen.remote, seen.branch)):
        old = None if whole else tracked(store, seen.remote, seen.branch)
        trees: dict[str, dict[str, Leaf]] = {asset: dict(leaves) for asset, leaves in shown.items()}
        moves: dict[str, dict[str, str]] = {asset: dict(ids) for asset, ids in seen.moves.items()}
        kept: dict[str, str] = {}
        if old:
            for asset, id_ in old.trees.items():
                if asset in trees or any(place[0] == asset for place in gone):
                    trees[asset] = {**store.tree(id_), **trees.get(asset, {})}
                else:
                    kept[asset] = id_
            for asset, ids in old.moves.items():
                moves[asset] = {**ids, **moves.get(asset, {})}
        for asset, batch in gone:
            trees.get(asset, {}).pop(batch, None)
        kept.update((asset, store.write_tree(asset, leaves)) for asset, leaves in sorted(trees.items()) if leaves)
        base = seen.base or (old.base if old else {})
        track(store, Tracked(seen.remote, seen.branch, kept, moves, base, seen.when))


# --- bringing --------------------------------------------------------------------------------------------------------


def _copier(source: Store, target: Store, options: _Options) -> Copier:
    """A copier for what is asked; whole branches come with the exact inputs of every version, parts do not."""
    branches = bool(options.branches) or (options.branches is None and not options.tags)
    whole = branches and options.data and options.scope.whole
    deep = whole if options.deep is None else options.deep
    return Copier(
        source, target, near_target=True, data=options.data, deep=deep, dry=options.dry, progress=options.progress
    )


def _bring(copier: Copier, options: _Options, report: Report) -> list[_Sending]:
    """Copy branches and tags from a remote, and keep what its branches show; no head is moved."""
    source, where = copier.source, report.remote
    report.tally = copier.tally
    if options.branches is not None:
        report.branches = list(options.branches)
    elif not options.tags:
        report.branches = source.branches()
    marks = _tags(copier, options.tags, report)
    copier.purges()
    sendings = [_seen(copier, branch, options.scope) for branch in report.branches]
    whole = options.scope.whole
    ledgers = alongside.ledgers(copier, _assets(sendings), where, report.notes) if whole else []
    wants = [want for sending in sendings for want in _wants(sending, history=not options.shallow)]
    trees = {id_: asset for mark in marks for asset, id_ in mark.trees.items()}
    for id_, asset in trees.items():
        wants += _leaves(source.tree(id_), asset, options.scope)
    for sending in sendings:
        for asset, id_ in sending.trees.items():
            wants += _leaves(source.tree(id_), asset, options.scope)
            if whole:
                trees[id_] = asset
    if not whole and not wants:
        names = ", ".join([*report.branches, *report.tags])
        raise NotStoredError(f"{names} of {where} shows nothing of {options.scope}; nothing was fetched.")
    erasures = alongside.erasures(source, copier.target) if whole and sendings and options.data else []
    copier.versions([*wants, *alongside.replacements(erasures)])
    copier.trees(trees)
    alongside.copy_ledgers(copier, ledgers)
    alongside.copy_changes(copier, [trail for sending in sendings for trail in sending.trails])
    for mark in marks:
        _note(copier, Partial(where.name, "tag", mark.tag.name, *_parts(options)))
        alongside.write(copier, "tags", mark.path, mark.data)
        _forget(copier, Partial(where.name, "tag", mark.tag.name, *_parts(options)))
    for sending in sendings:
        copier.moves(sending.trails)
        if not options.dry:
            _see_fetched(copier, where, sending, options)
    alongside.copy_erasures(copier, erasures, None, report.notes)
    return sendings


def _seen(copier: Copier, name: str, scope: _Scope) -> _Sending:
    """A remote's branch: its heads as they are there now, each with the moves that are lacking here."""
    source, store = copier.source, copier.target
    path = branch_path(name)
    try:
        file: bytes | None = source.backend.read(path)
    except FileNotFoundError:
        if name != MAIN:
            known = ", ".join(source.branches())
            raise NotStoredError(f"There is no branch {name!r} in {source}; there is: {known}.") from None
        file = None
    branch = Branch(name) if file is None else Branch.decode(file, source.where(path))
    sending = _Sending(branch, file, shown=_slots(source, name, scope), trees=branch.base)
    here = _slots(store, name, scope)
    for place, slot in sending.shown.items():
        if place not in here or here[place].data != slot.data:
            sending.forward[place] = (slot, here.get(place))
    sending.trails = copier.trails(name, {place: slot.head.move for place, (slot, _) in sending.forward.items()})
    newest = {(trail.asset, trail.batch): trail.own[0] for trail in sending.trails if trail.own}
    for place, (slot, _) in sending.forward.items():
        # a head is not named by its content; its move is, and says the same
        move = newest.get(place) or store.move_record(name, *place, slot.head.move)
        if (move.to_manifest, move.seq, move.attempt) != (slot.head.manifest, slot.head.seq, slot.head.attempt):
            raise CorruptError(
                f"The head {source.where(head_path(name, *place))} says something else than the move that led to it: "
                "it was changed by hand. Nothing was taken over from it; see what is damaged there with: mlops-assets "
                "verify"
            )
    return sending


def _see_fetched(copier: Copier, where: Remote, sending: _Sending, options: _Options) -> None:
    store, scope = copier.target, options.scope
    shown: dict[str, dict[str, Leaf]] = {}
    for asset, tree in sending.branch.base.items():
        if leaves := {batch: leaf for batch, leaf in copier.source.tree(tree).items() if scope.has(asset, batch)}:
            shown[asset] = leaves
    moves: dict[str, dict[str, str]] = {}
    gone = []
    for (asset, batch), slot in sending.shown.items():
        moves.setdefault(asset, {})[batch] = slot.head.move
        if slot.head.manifest:
            shown.setdefault(asset, {})[batch] = store.leaf(slot.head)
        else:
            gone.append((asset, batch))
    name = sending.branch.name
    part = Partial(where.name, "branch", name, None, None, options.data)
    _note(copier, part)
    base = sending.branch.base if scope.whole else {}
    _remember(store, Tracked(where.name, name, {}, moves, base, now()), shown, gone, whole=scope.whole)
    if scope.whole:
        _forget(copier, part)


def _parts(options: _Options) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None, bool]:
    assets, batches = options.scope.assets, options.scope.batches
    return (
        None if assets is None else tuple(sorted(assets)),
        None if batches is None else tuple(sorted(batches)),
        options.data,
    )


def _note(copier: Copier, part: Partial) -> None:
    if not copier.dry and (part.assets, part.batches, part.data) != (None, None, True):
        note_partial(copier.target, part)


def _forget(copier: Copier, part: Partial) -> None:
    if not copier.dry and (part.assets, part.batches, part.data) == (None, None, True):
        forget_partial(copier.target, part)


def _pull(source: Store, store: Store, options: _Options, report: Report) -> None:
    _refuse_open(store, options.branches or ())
    with _copier(source, store, options) as copier:
        sendings = _bring(copier, options, report)
        store.forget_branches()
        # all moves are here now, unless nothing was written
        relation = _relation if options.dry else _relation_here
        plans = []
        for seen in sendings:
            plan = _Sending(seen.branch)
            _meet(copier, plan)
            if plan.file and seen.branch.base and not options.scope.whole:
                raise NotStoredError(
                    f"The branch {seen.branch.name} is not here yet, and cannot start with a part of what it starts "
                    f"from; pull all of it, or fetch the part and look at {report.remote.name}/{seen.branch.name}."
                )
            here = _slots(store, seen.branch.name, options.scope)
            _sort(copier, plan, report, relation, mine=seen.shown, theirs=here)
            _refuse_unguarded(copier, plan)
            plans.append(plan)
        _refuse_open(store, report.branches)
        for plan in plans:
            _point(copier, plan, report, relation)


# --- places ----------------------------------------------------------------------------------------------------------


def _target(where: Remote, *, dry: bool) -> Store:
    """The remote to push to, made if there is none, but not for a dry push."""
    if not dry:
        return Store.open(where.url)
    try:
        return Store.open(where.url, create=False)
    except NotStoredError:
        return Store(backend_at(where.url))


def _empty(place: str | Path, where: Remote) -> Store:
    """The store for a clone: none yet, nothing in it yet, or one of the same origin that was broken off."""
    try:
        store = Store.open(place, create=False)
    except NotStoredError:
        return Store.open(place)
    if where in remotes(store):
        return store
    if any(entry.path != "FORMAT" and not entry.path.startswith("locks/") for entry in store.backend.entries("")):
        raise StoreError(
            f"There is a {store} already. Bring the other one in with: mlops-assets remote add {where.name} "
            f"{where.url} && mlops-assets pull {where.name}   or clone into another folder."
        )
    return store


def _named(places: Iterable[Place]) -> str:
    """Some places for people; the first of many."""
    names = [f"{asset}[{batch}]" for asset, batch in places]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
