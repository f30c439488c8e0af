"""Push, fetch, pull and clone: what goes from one store to another, and in which order.

What belongs here: choosing versions, tags and records, the order in which they go, and keeping what a remote showed.
What does not: whether heads may move, and moving them (``forwarding``), copying and verifying files (``copying``), the
names of remotes and the records of what was seen of them (``remotes``).

Both ways go in the same order: marks of purges, files, manifests, trees, tags, ledgers, changes, the branch's file,
moves, heads. So whenever a process or a line dies, the store that was written to is whole, and the next run goes on
where this one ended. What a remote showed is kept apart under ``remotes/``; only ``pull`` and ``clone`` move heads
here.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mlops_assets.errors import ConflictError, CorruptError, NotStoredError, RefusedError, StoreError
from mlops_assets.store import alongside
from mlops_assets.store.backend import backend_at
from mlops_assets.store.branches import MAIN, Branch
from mlops_assets.store.copying import Copier, Place, Progress, Tally, Want
from mlops_assets.store.forwarding import (
    HeadMove,
    Scope,
    Sending,
    meet,
    named,
    point,
    read_slots,
    refuse_open,
    refuse_unguarded,
    sort_out,
    standing,
    standing_here,
    wants_of,
)
from mlops_assets.store.heads import Leaf
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
from mlops_assets.store.store import Store, branch_path, head_path, now
from mlops_assets.store.tags import Tag, tag_names, tag_path

ORIGIN = "origin"
"""What a clone calls the store it was made from."""


Names = Sequence[str] | Literal["all"]


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
    scope = Scope.of(assets, batches)
    refuse_open(store, branches)
    target = _target(where, dry=dry)
    report = Report("push", where, dry, list(branches))
    with Copier(store, target, near_target=False, dry=dry, progress=progress) as copier:
        report.tally = copier.tally
        sendings = [_compare(copier, branch, scope, report) for branch in branches]
        marks = _tags(copier, tags, report)
        refuse_open(store, branches)
        ledgers = alongside.ledgers(copier, _assets(sendings), where, None)

        erased = copier.purges()
        holders: list[Sending | _Mark] = [*sendings, *marks]
        trees = {id_: asset for holder in holders for asset, id_ in holder.trees.items()}
        wants = [want for sending in sendings for want in wants_of(sending)]
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
            copier.settle([want for want in wants_of(sending) if want.required and not want.known])
            point(copier, sending, report, standing)
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
    options = _Options(branches, tags, Scope.of(assets, batches), data, deep, shallow, dry, progress)
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
    options = _Options(branches, tags, Scope.of(assets, batches), True, deep, shallow, dry, progress)
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
    options = _Options(branches, tags, Scope(), True, None, shallow, dry=False, progress=progress)
    _pull(source, store, options, report)
    return report


# --- what is chosen --------------------------------------------------------------------------------------------------


class _Options(NamedTuple):
    branches: Sequence[str] | None
    tags: Names
    scope: Scope
    data: bool
    deep: bool | None
    shallow: bool
    dry: bool
    progress: Progress | None


@dataclass
class _Mark:
    """A tag on its way; ``data`` is its file."""

    path: str
    data: bytes
    tag: Tag

    @property
    def trees(self) -> Mapping[str, str]:
        return self.tag.trees


def _leaves(leaves: Mapping[str, Leaf], asset: str, scope: Scope | None = None) -> list[Want]:
    return [
        Want(asset, batch, leaf.manifest, leaf, required=True)
        for batch, leaf in leaves.items()
        if scope is None or scope.has(asset, batch)
    ]


def _assets(sendings: Iterable[Sending]) -> set[str]:
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


# --- pushing ---------------------------------------------------------------------------------------------------------


def _refuse_erased(where: Remote, wants: Iterable[Want], erased: Collection[str]) -> None:
    shown = [want for want in wants if want.required and want.leaf and want.leaf.version.replace(":", "-", 1) in erased]
    if shown:
        names = named((want.asset, want.batch) for want in shown)
        raise RefusedError(
            f"What {names} show was erased at {where} by a purge and may not come back. Take the purge over with: "
            f"mlops-assets pull {where.name}"
        )


def _compare(copier: Copier, name: str, scope: Scope, report: Report) -> Sending:
    """What a push of a branch would move; raises when it may not."""
    source, target = copier.source, copier.target
    branch = source.branch(name)
    sending = Sending(branch, trees=branch.base)
    mine, theirs = read_slots(source, name, scope), read_slots(target, name, scope)
    meet(copier, sending)
    if not scope.whole and not mine:
        raise NotStoredError(f"The branch {name} of {source} has moved no head of {scope}; nothing was sent.")
    sort_out(copier, sending, report, standing, mine=mine, theirs=theirs)
    refuse_unguarded(copier, sending)
    moving = {place: slot.head.move for place, (slot, _) in sending.forward.items()}
    sending.trails = copier.trails(name, moving)
    return sending


# --- what a remote showed --------------------------------------------------------------------------------------------


def _see_pushed(store: Store, where: Remote, sending: Sending, scope: Scope) -> None:
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
                    trees[asset] = dict(store.tree(id_).items()) | trees.get(asset, {})
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


def _bring(copier: Copier, options: _Options, report: Report) -> list[Sending]:
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
    wants = [want for sending in sendings for want in wants_of(sending, history=not options.shallow)]
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


def _seen(copier: Copier, name: str, scope: Scope) -> Sending:
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
    sending = Sending(branch, file, shown=read_slots(source, name, scope), trees=branch.base)
    here = read_slots(store, name, scope)
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


def _see_fetched(copier: Copier, where: Remote, sending: Sending, options: _Options) -> None:
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
    refuse_open(store, options.branches or ())
    with _copier(source, store, options) as copier:
        sendings = _bring(copier, options, report)
        store.forget_branches()
        # all moves are here now, unless nothing was written
        relation = standing if options.dry else standing_here
        plans = []
        for seen in sendings:
            plan = Sending(seen.branch)
            meet(copier, plan)
            if plan.file and seen.branch.base and not options.scope.whole:
                raise NotStoredError(
                    f"The branch {seen.branch.name} is not here yet, and cannot start with a part of what it starts "
                    f"from; pull all of it, or fetch the part and look at {report.remote.name}/{seen.branch.name}."
                )
            here = read_slots(store, seen.branch.name, options.scope)
            sort_out(copier, plan, report, relation, mine=seen.shown, theirs=here)
            refuse_unguarded(copier, plan)
            plans.append(plan)
        refuse_open(store, report.branches)
        for plan in plans:
            point(copier, plan, report, relation)


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
