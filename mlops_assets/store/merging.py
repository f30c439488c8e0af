"""Merging: what a branch takes over from another branch, a tag or a remote's branch, batch by batch.

What belongs here: finding for each batch what the two sides last had in common, and what follows from it; what a
protected branch asks of a merge. What does not: making the moves (``changes``), walking histories (``ancestry``).

For each batch of each asset three states are compared: the target's, the source's, and the base: what was shown where
their histories last met (a merge in either direction, or the moment one was started from the other).

======================  ======================  ======================================================================
target since the base   source since the base
======================  ======================  ======================================================================
any                     the same state          nothing to do (same record, or same version by the same recipe)
any                     unchanged               the target is kept
unchanged               changed                 fast-forward: the target takes the source's version, or its absence
changed                 changed                 a conflict, unless one side went on from where the other is now: then
                                                that side has seen the other, and wins
======================  ======================  ======================================================================

Of a branch and the remote's branch of the same name, histories that parted are joined by a recorded move also where
nothing changes: only then can one of the two be moved to where the other is.

Where it is not known what they had in common, they differ by a conflict: a remote's branch that is not here may have
been started from anything.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from mlops_assets.errors import ConflictError, CorruptError, NotStoredError, RefusedError, StoreError
from mlops_assets.store import refs
from mlops_assets.store.ancestry import History, Position, common, stands_on
from mlops_assets.store.branches import MAIN, Branch, Protection
from mlops_assets.store.branching import create_branch, protect, refuse_mixing, remove_branch, unprotect
from mlops_assets.store.changes import Change, Step, apply, open_changes, resume, told
from mlops_assets.store.digest import parse_json, unsealed
from mlops_assets.store.heads import Head, Leaf
from mlops_assets.store.reverting import revert
from mlops_assets.store.store import Store, now
from mlops_assets.store.tags import Tag, read_tag

__all__ = [
    "Difference",
    "MergePlan",
    "Merged",
    "create_branch",
    "merge",
    "plan_merge",
    "protect",
    "remove_branch",
    "revert",
    "unprotect",
]

Side = Literal["ours", "theirs"]

_UNKNOWN = "b3:unknown"
"""Instead of the id of a manifest: there was a base, and it is not known any more."""


@dataclass(frozen=True)
class Difference:
    """A batch that the source changed: what the target shows (``ours``) and what the source shows (``theirs``).

    None is a batch that is not there. ``base`` is the id of the manifest that both once had, None where there was none.
    ``origin`` is the source's branch and move, empty where they are not known.
    """

    asset: str
    batch: str
    ours: Head | None
    theirs: Leaf | None
    base: str | None
    origin: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        ours = self.ours.version if self.ours else "nothing"
        return f"{self.asset}[{self.batch}] {ours} -> {self.theirs.version if self.theirs else 'nothing'}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "asset": self.asset,
            "batch": self.batch,
            "ours": self.ours.version if self.ours else None,
            "theirs": self.theirs.version if self.theirs else None,
            "base": self.base,
        }


@dataclass(frozen=True)
class MergePlan:
    """What a merge of ``source`` into the branch ``into`` would do; nothing was changed yet.

    ``kept`` counts the batches that were looked at and in which the target is ahead. In those that are ``joined`` the
    target keeps what it shows, and records that it has seen the other history of the same branch.
    """

    source: str
    into: str
    fast_forwards: tuple[Difference, ...]
    conflicts: tuple[Difference, ...]
    kept: int
    joined: tuple[Difference, ...] = ()

    @property
    def up_to_date(self) -> bool:
        """Whether there is nothing to do."""
        return not self.fast_forwards and not self.conflicts and not self.joined

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "source": self.source,
            "into": self.into,
            "up_to_date": self.up_to_date,
            "fast_forwards": [item.to_dict() for item in self.fast_forwards],
            "conflicts": [item.to_dict() for item in self.conflicts],
            "kept": self.kept,
            "joined": [item.to_dict() for item in self.joined],
        }


class Merged(NamedTuple):
    """What a merge did: the plan, its change, and an earlier merge of the same source that had to be finished first."""

    plan: MergePlan
    change: Change | None
    resumed: Change | None = None


def plan_merge(
    store: Store,
    source: str,
    into: str,
    *,
    current: str = MAIN,
    assets: Collection[str] | None = None,
    batches: Collection[str] | None = None,
) -> MergePlan:
    """What a merge would do, of these assets and batches (None: all). ``current`` is the branch that ``.`` means.

    Raises ``NotStoredError`` for an unknown source or branch, ``StoreError`` for a source that is no branch, tag or
    remote's branch, or is the target itself.
    """
    return _plan(store, _source(store, source, into, current), into, assets, batches)


def merge(  # noqa: PLR0917 - message and who come last everywhere
    store: Store,
    source: str,
    into: str,
    prefer: Side | None = None,
    message: str = "",
    who: str = "",
    *,
    current: str = MAIN,
    assets: Collection[str] | None = None,
    batches: Collection[str] | None = None,
) -> Merged:
    """Merge: each batch moves by itself, and whoever dies on the way, the same merge again finishes it.

    ``prefer`` decides conflicts; with ``ours`` the target keeps its versions and the source counts as merged. Batches
    that others moved meanwhile are left, and told in the change's ``skipped``. Raises as ``plan_merge``, and, with
    nothing changed: ``ConflictError`` for undecided conflicts or another open change of the branch, ``RefusedError``
    when the branch asks for a check that did not pass.
    """
    side = _source(store, source, into, current)
    resumed = None
    for change in open_changes(store, into):
        if (change.verb, change.source) != ("merge", side.view.name):
            raise ConflictError(told(change))
        resumed = resume(store, change.id)
    plan = _plan(store, side, into, assets, batches)
    if plan.conflicts and prefer is None:
        raise ConflictError(*_undecided(plan))
    steps = [
        Step.of(item.asset, item.batch, item.ours, item.theirs, record=False, **item.origin)
        for item in plan.fast_forwards
    ]
    for item in plan.conflicts:
        leaf = item.theirs if prefer == "theirs" else _leaf(store, item.ours)
        steps.append(Step.of(item.asset, item.batch, item.ours, leaf, record=prefer == "ours", **item.origin))
    steps += [
        Step.of(item.asset, item.batch, item.ours, _leaf(store, item.ours), record=True, **item.origin)
        for item in plan.joined
    ]
    if not steps:
        return Merged(plan, None, resumed)
    protection = store.protection(into)
    checks = protection.checks if protection else ()
    if protection:
        _examine(store, protection, side.view, steps)
    change = apply(
        store,
        into,
        "merge",
        steps,
        message or f"merge {side.view.name} into {into}",
        who,
        source=side.view.name,
        checks=checks,
    )
    return Merged(plan, change, resumed)


# --- the source ------------------------------------------------------------------------------------------------------


_Shown = Head | Leaf | None
"""What a batch shows, as it was found; None and a head without a manifest are a batch that is not there."""


@dataclass(frozen=True)
class _Source:
    """What is merged: what each batch shows, and which move led there, from one look at it."""

    store: Store
    view: refs.View

    def assets(self) -> Iterable[str]:
        """The assets that it has or had."""
        return self.view.assets()

    def shown(self, asset: str, batches: Collection[str] | None) -> Mapping[str, _Shown]:
        """What these batches (None: all) show; others may be among them."""
        del batches
        return dict(self.view.leaves(asset).items())

    def tip(self, history: History, leaf: Leaf | None) -> Position | None:
        """Where the source stands in a batch's history; None where that is not known."""
        raise NotImplementedError


@dataclass(frozen=True)
class _BranchSource(_Source):
    branch: Branch
    _own: dict[str, dict[str, Head]] = field(default_factory=dict)

    def own(self, asset: str, batches: Collection[str] | None) -> Mapping[str, _Shown]:
        """What the branch's own heads show, read once."""
        self._own[asset] = _own(self.store, self.branch.name, asset, batches)
        return self._own[asset]

    def shown(self, asset: str, batches: Collection[str] | None) -> Mapping[str, _Shown]:
        return {**_base_leaves(self.store, self.branch, asset), **self.own(asset, batches)}

    def tip(self, history: History, leaf: Leaf | None) -> Position:
        del leaf
        head = self._own[history.asset].get(history.batch)
        return Position(self.branch.name, head.move if head else "")


@dataclass(frozen=True)
class _TagSource(_Source):
    tag: Tag

    def tip(self, history: History, leaf: Leaf | None) -> Position | None:
        return history.made(self.tag.branch, leaf.manifest if leaf else None, self.tag.when)


@dataclass(frozen=True)
class _RemoteSource(_Source):
    branch: str
    """The name that the branch has there."""
    trees: Mapping[str, str]
    moves: Mapping[str, Mapping[str, str]]
    """The ids of its moves by asset and batch, of heads that were taken away too."""
    start: Branch | None
    """The branch of that name here, if both started from the same: that says where it came from."""

    def assets(self) -> Iterable[str]:
        return {*self.trees, *self.moves}

    def shown(self, asset: str, batches: Collection[str] | None) -> Mapping[str, _Shown]:
        del batches
        leaves = dict(self.store.tree(self.trees[asset]).items()) if asset in self.trees else {}
        return {**dict.fromkeys(self.moves.get(asset, ())), **leaves}

    def tip(self, history: History, leaf: Leaf | None) -> Position | None:
        del leaf
        move = self.moves.get(history.asset, {}).get(history.batch)
        return Position(self.branch, move or "") if move or self.start else None


def _source(store: Store, source: str, into: str, current: str) -> _Source:
    # others may have started or removed branches since this process looked
    store.forget_branches()
    store.branch(into)
    view = refs.view(store, source, current)
    refuse_mixing(store, view, into)
    name = view.ref.partition(":")[2]
    if view.kind == "branch":
        if name == into:
            raise StoreError(f"The branch {into} cannot be merged into itself; name another source or target.")
        return _BranchSource(store, view, store.branch(name))
    if view.kind == "tag":
        return _TagSource(store, view, read_tag(store, name))
    if view.kind == "remote":
        remote, _, branch = name.partition("/")
        path = refs.tracked_path(remote, branch)
        try:
            record = parse_json(unsealed(store.backend.read(path)))
            trees, moves = dict(record["trees"]), {asset: dict(ids) for asset, ids in record["moves"].items()}
            base = dict(record.get("base") or {})
        except (ValueError, TypeError, KeyError, AttributeError) as trouble:
            raise CorruptError(
                f"{store.where(path)} is not a remote's branch as the store writes it; mend it with: "
                f"mlops-assets fetch {remote}"
            ) from trouble
        here = store.branch(branch) if branch in store.branches() else None
        return _RemoteSource(store, view, branch, trees, moves, here if here and base and here.base == base else None)
    raise StoreError(
        f"{source} cannot be merged: a merge takes a branch, a tag or a remote's branch. To go back to what was shown "
        f"before, use: mlops-assets restore {source}"
    )


# --- the plan --------------------------------------------------------------------------------------------------------


class _Candidate(NamedTuple):
    asset: str
    batch: str
    ours: Head | None
    theirs: Leaf | None


def _plan(
    store: Store,
    source: _Source,
    into: str,
    assets: Collection[str] | None,
    batches: Collection[str] | None,
) -> MergePlan:
    target = store.branch(into)
    if assets is not None and (unknown := sorted({*assets} - {*source.view.assets()} - {*store.assets(into)})):
        raise NotStoredError(f"Neither {source.view.name} nor branch {into} shows anything of {unknown[0]!r}.")
    fast: list[Difference] = []
    conflicts: list[Difference] = []
    kept = 0
    for candidate in _candidates(store, source, target, assets, batches):
        if _same(_leaf(store, candidate.ours), candidate.theirs):
            continue
        verdict, difference = _judge(store, source, target, candidate)
        if verdict == "kept":
            kept += 1
        else:
            (fast if verdict == "fast" else conflicts).append(difference)
    moving = {(item.asset, item.batch) for item in (*fast, *conflicts)}
    joined = tuple(
        item for item in _parted(store, source, into, assets, batches) if (item.asset, item.batch) not in moving
    )
    return MergePlan(source.view.name, into, tuple(fast), tuple(conflicts), kept, joined)


def _parted(
    store: Store, source: _Source, into: str, assets: Collection[str] | None, batches: Collection[str] | None
) -> Iterator[Difference]:
    """The batches of a remote's branch of the same name in which neither's moves stand on the other's."""
    if not isinstance(source, _RemoteSource) or source.branch != into:
        return
    for asset, moves in sorted(source.moves.items()):
        if assets is not None and asset not in assets:
            continue
        theirs = source.shown(asset, batches)
        for batch, ours in sorted(_own(store, into, asset, batches).items()):
            move = moves.get(batch, ours.move)
            if move != ours.move:
                history, here, there = History(store, asset, batch), Position(into, ours.move), Position(into, move)
                if not stands_on(history, here, there) and not stands_on(history, there, here):
                    shown = ours if ours.manifest else None
                    origin = {"branch": into, "move": move}
                    yield Difference(asset, batch, shown, _leaf(store, theirs.get(batch)), None, origin)


def _candidates(
    store: Store,
    source: _Source,
    target: Branch,
    assets: Collection[str] | None,
    batches: Collection[str] | None,
) -> Iterator[_Candidate]:
    """The batches in which the source may differ from the target and may have changed since they met."""
    names = {*source.assets()}
    if isinstance(source, _BranchSource):
        names |= {*store.assets(target.name)}
    for asset in sorted(names):
        if assets is not None and asset not in assets:
            continue
        if isinstance(source, _BranchSource) and _only_own_moves_count(source.branch, target, asset):
            theirs = source.own(asset, batches)
            ours: Mapping[str, _Shown] = {batch: store.head(target.name, asset, batch) for batch in theirs}
        else:
            ours = {**_base_leaves(store, target, asset), **_own(store, target.name, asset, batches)}
            # what is not there may have been taken away before the source was started or tagged
            theirs = {
                **({} if isinstance(source, _RemoteSource) else dict.fromkeys(ours)),
                **source.shown(asset, batches),
            }
        for batch in sorted(theirs if batches is None else {*theirs} & {*batches}):
            mine, other = ours.get(batch), theirs[batch]
            if (mine.manifest if mine else "") != (other.manifest if other else ""):
                head = mine if isinstance(mine, Head) else store.head(target.name, asset, batch)
                yield _Candidate(asset, batch, head if head and head.manifest else None, _leaf(store, other))


def _own(store: Store, branch: str, asset: str, batches: Collection[str] | None) -> dict[str, Head]:
    """A branch's own heads of these batches (None: all), those that were taken away too."""
    if batches is None:
        return {head.batch: head for head in store.slots(branch, asset)}
    return {batch: head for batch in batches if (head := store.slot(branch, asset, batch))}


def _base_leaves(store: Store, branch: Branch, asset: str) -> dict[str, Leaf]:
    tree = branch.base.get(asset)
    return dict(store.tree(tree).items()) if tree else {}


def _only_own_moves_count(source: Branch, target: Branch, asset: str) -> bool:
    """Whether all that a branch shows without having moved is what the target was started from, or showed then."""
    sisters = bool(source.parent) and source.parent == target.parent
    return _started_from(source, target) or (sisters and source.base.get(asset) == target.base.get(asset))


def _started_from(branch: Branch, parent: Branch) -> bool:
    """Whether a branch was started from this one, and not from an earlier one of the same name."""
    return branch.parent == parent.name and parent.when <= branch.since


def _judge(
    store: Store, source: _Source, target: Branch, candidate: _Candidate
) -> tuple[Literal["fast", "kept", "conflict"], Difference]:
    asset, batch, ours, theirs = candidate
    history = History(store, asset, batch)
    mine, other = history.tip(target.name), source.tip(history, theirs)
    # a branch that has not moved may be removed: what it was started from stays
    while other and not other.move and (made := history.older(other)):
        other = made
    met = common(history, mine, other) if other else None
    base = history.shows(met) if met else _base(source, target, history, theirs)
    origin = {"branch": other.branch, "move": other.move} if other else {}
    difference = Difference(asset, batch, ours, theirs, None if base == _UNKNOWN else base, origin)
    our_leaf = _leaf(store, ours)
    if _is(store, asset, batch, theirs, base):
        return "kept", difference
    if _is(store, asset, batch, our_leaf, base):
        return "fast", difference
    theirs_went_on = other is not None and _showed(history, other, met, our_leaf)
    ours_went_on = _showed(history, mine, met, theirs)
    if theirs_went_on != ours_went_on:
        return ("fast" if theirs_went_on else "kept"), difference
    return "conflict", difference


def _base(source: _Source, target: Branch, history: History, theirs: Leaf | None) -> str | None:
    """What two histories without a common move had in common: what one was started from, or what the target showed."""
    if isinstance(source, _BranchSource):
        if _started_from(source.branch, target):
            return history.shows(Position(source.branch.name, ""))
        ours = history.shows(Position(target.name, ""))
        if _started_from(target, source.branch):
            return ours
        return _base_by_way(source.branch, target, history, ours)
    return theirs.manifest if theirs and history.made(target.name, theirs.manifest, now()) else None


def _base_by_way(source: Branch, target: Branch, history: History, ours: str | None) -> str | None:
    """What was shared by two branches of which one came of the other by way of a branch that is gone."""
    theirs = history.shows(Position(source.name, ""))
    if theirs == ours or (theirs and history.made(target.name, theirs, source.since)):
        return theirs
    if not (source.speaks_of(history.asset) and target.speaks_of(history.asset)):
        return None
    # one that showed something when it began had that from somewhere: not "nothing", and nothing that either shows
    return ours if ours and history.made(source.name, ours, target.since) else _UNKNOWN


def _showed(history: History, tip: Position, met: Position | None, leaf: Leaf | None) -> bool:
    """Whether the line that leads to ``tip`` showed what ``leaf`` says, since it met the other one.

    A line goes on in that of the branch which a branch was started from.
    """
    position = history.older(tip)
    while position and position != met and (met is None or stands_on(history, position, met)):
        if position.move and _is(history.store, history.asset, history.batch, leaf, history.shows(position)):
            return True
        position = history.older(position)
    return False


def _same(one: Leaf | None, other: Leaf | None) -> bool:
    """The same record, or the same version by the same recipe."""
    if one is None or other is None:
        return one is other
    return one.manifest == other.manifest or (one.version, one.recipe) == (other.version, other.recipe)


def _is(store: Store, asset: str, batch: str, leaf: Leaf | None, manifest: str | None) -> bool:
    """``_same`` for a manifest that only its id is known of."""
    if leaf is None or manifest is None:
        return leaf is None and manifest is None
    if leaf.manifest == manifest:
        return True
    try:
        record = store.manifest(asset, batch, manifest)
    except NotStoredError:
        # not every version of the past was kept or fetched
        return False
    return (leaf.version, leaf.recipe) == (record.version, record.key)


def _leaf(store: Store, shown: _Shown) -> Leaf | None:
    if isinstance(shown, Head):
        return store.leaf(shown) if shown.manifest else None
    return shown


def _undecided(plan: MergePlan) -> list[str]:
    shown = [
        f"{item.asset}[{item.batch}] changed on both sides: {plan.into} shows "
        f"{item.ours.version if item.ours else 'nothing'}, {plan.source} shows "
        f"{item.theirs.version if item.theirs else 'nothing'}."
        for item in plan.conflicts[:_SHOWN]
    ]
    more = [f"And {len(plan.conflicts) - _SHOWN} more."] if len(plan.conflicts) > _SHOWN else []
    count = f"{len(plan.conflicts)} batch{'es' if len(plan.conflicts) > 1 else ''}"
    return [
        f"{plan.source} was not merged into {plan.into}: {count} changed on both sides, and nothing was moved.",
        *shown,
        *more,
        f"Decide with --ours (keep what {plan.into} shows) or --theirs; --asset and --partition decide for some only.",
    ]


_SHOWN = 20


# --- what a protected branch asks ------------------------------------------------------------------------------------


def _examine(store: Store, protection: Protection, source: refs.View, steps: list[Step]) -> None:
    """Raise ``RefusedError`` unless each named check passed on what is merged.

    An asset has a check when a version of it that is merged, or stands on the source, was judged by it; then every
    merged version of that asset must have passed it. At least one asset must have it.
    """
    incoming = [
        (step.asset, step.batch, _verdicts(store, step.asset, step.batch, step.to))
        for step in steps
        if step.to and not step.record
    ]
    assets = {asset for asset, _, _ in incoming}
    sentences: list[str] = []
    for check in protection.checks:
        judged = {asset for asset, _, verdicts in incoming if check in verdicts}
        judged |= {asset for asset in assets - judged if _has(store, source, asset, check)}
        if not judged and not any(_has(store, source, asset, check) for asset in {*source.assets()} - assets):
            sentences.append(
                f"The branch {protection.branch} asks for the check {check}, and no version on {source.name} was "
                "judged by it; run the stage that has it there, then merge again."
            )
        for asset, batch, verdicts in incoming:
            if asset in judged and not verdicts.get(check, False):
                why = "did not pass" if check in verdicts else "was not judged by"
                sentences.append(
                    f"{asset}[{batch}] {why} the check {check}, which the branch {protection.branch} asks for; mend or "
                    f"run it on {source.name}, then merge again."
                )
    if sentences:
        raise RefusedError(*sentences[:_SHOWN])


def _verdicts(store: Store, asset: str, batch: str, leaf: Leaf) -> dict[str, bool]:
    """Whether each check passed; one that was made more than once passed when it always did."""
    found: dict[str, bool] = {}
    for verdict in store.manifest(asset, batch, leaf.manifest).verdicts:
        name = str(verdict.get("check", ""))
        found[name] = found.get(name, True) and bool(verdict.get("passed"))
    return found


def _has(store: Store, source: refs.View, asset: str, check: str) -> bool:
    # newest batches first: they were judged by the newest rules
    leaves = sorted(source.leaves(asset).items(), reverse=True)
    return any(check in _verdicts(store, asset, batch, leaf) for batch, leaf in leaves)
