"""Branches on their way from one store to another: how each head stands to that of the other side, and moving it.

What belongs here: reading a branch's heads on both sides, refusing histories that parted, and moving heads forward when
all that they lead to has arrived. What does not: what is sent or brought, and in which order (``transfer``), copying
and verifying files (``copying``), what two histories have in common (``ancestry``).

Heads are the same bytes on both sides, and move only forward: to a move that stands on the one that is there.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from mlops_assets.errors import ConflictError, CorruptError, RefusedError
from mlops_assets.store.ancestry import descends
from mlops_assets.store.branches import Branch
from mlops_assets.store.changes import open_changes, told
from mlops_assets.store.copying import SHOWN, Copier, Place, Trail, Want
from mlops_assets.store.heads import Head, Leaf
from mlops_assets.store.names import asset_path, segment, text
from mlops_assets.store.store import Store, branch_path, head_path, move_path, protection_path
from mlops_assets.wording import counted

if TYPE_CHECKING:
    from mlops_assets.store.transfer import Report

_TRIES = 5

_GUARDED = ("merge", "revert", "restore", "purge")
"""The verbs by which heads of a protected branch move."""

Relation = Literal["equal", "forward", "behind", "parted"]
"""How a head of the source stands to that of the target: ``forward`` is a step that the target's head may take."""


class HeadMove(NamedTuple):
    """A head that was moved (or would be); ``version`` is empty for one that was taken away."""

    branch: str
    asset: str
    batch: str
    seq: int
    version: str


@dataclass(frozen=True)
class Scope:
    """Assets and batches; None means all."""

    assets: frozenset[str] | None = None
    batches: frozenset[str] | None = None

    @classmethod
    def of(cls, assets: Collection[str] | None, batches: Collection[str] | None) -> "Scope":
        """These assets and batches."""
        return cls(*(None if names is None else frozenset(names) for names in (assets, batches)))

    @property
    def whole(self) -> bool:
        """Whether it is all of a branch."""
        return self.assets is None and self.batches is None

    def has(self, asset: str, batch: str) -> bool:
        """Whether a batch of an asset is chosen."""
        return (self.assets is None or asset in self.assets) and (self.batches is None or batch in self.batches)

    def __str__(self) -> str:
        assets = ", ".join(sorted(self.assets)) if self.assets is not None else "any asset"
        return assets if self.batches is None else f"{assets}[{', '.join(sorted(self.batches))}]"


class Slot(NamedTuple):
    """A branch's own head, and its file's bytes."""

    head: Head
    data: bytes

    @property
    def leaf(self) -> Leaf | None:
        """What a tree would say of it; None where that takes the manifest, or nothing is shown."""
        return self.head.leaf if self.head.manifest and self.head.kind else None

    def want(self, *, known: bool) -> Want:
        """The version that it shows, to be copied; see ``Want``."""
        head = self.head
        return Want(head.asset, head.batch, head.manifest, self.leaf, required=True, known=known)


@dataclass
class Sending:
    """A branch on its way from one store to another: the heads that are to move, and what stands in their way.

    ``file`` is the branch's file if the other side lacks it, ``protection`` likewise. ``shown`` are the slots that both
    sides have, or will have.
    """

    branch: Branch
    file: bytes | None = None
    protection: bytes | None = None
    shown: dict[Place, Slot] = field(default_factory=dict)
    forward: dict[Place, tuple[Slot, Slot | None]] = field(default_factory=dict)
    ahead: list[Place] = field(default_factory=list)
    trails: list[Trail] = field(default_factory=list)
    trees: Mapping[str, str] = field(default_factory=dict)


Compare = Callable[[Copier, str, Place, Slot, Slot | None], Relation]


def read_slots(store: Store, branch: str, scope: Scope) -> dict[Place, Slot]:
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
            found[place] = Slot(head, data)
    return found


def _place(path: str) -> Place:
    *asset, batch = path.split("/")[2:]
    return "/".join(text(part) for part in asset), text(batch)


def wants_of(sending: Sending, *, history: bool = True) -> list[Want]:
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


# --- what stands in the way ------------------------------------------------------------------------------------------


def refuse_open(store: Store, branches: Collection[str]) -> None:
    """Half a merge is not sent; looked at again after the heads were read."""
    for change in open_changes(store):
        if change.branch in branches:
            raise ConflictError(told(change))


def meet(copier: Copier, sending: Sending) -> None:
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


def standing(copier: Copier, branch: str, place: Place, mine: Slot, theirs: Slot | None) -> Relation:
    """How a head of the source stands to that of the target; each side's history is asked of that side."""
    return _standing(copier.source, copier.target, branch, place, mine, theirs)


def standing_here(copier: Copier, branch: str, place: Place, mine: Slot, theirs: Slot | None) -> Relation:
    """As ``standing``, when all moves of the source were fetched into the target."""
    return _standing(copier.target, copier.target, branch, place, mine, theirs)


def _standing(  # noqa: PLR0917 - both sides of both
    of_mine: Store, of_theirs: Store, branch: str, place: Place, mine: Slot, theirs: Slot | None
) -> Relation:
    if theirs is None:
        return "forward"
    if mine.data == theirs.data:
        return "equal"
    if _stands_on(of_mine, branch, place, mine.head.move, theirs.head.move):
        return "forward"
    return "behind" if _stands_on(of_theirs, branch, place, theirs.head.move, mine.head.move) else "parted"


def _stands_on(store: Store, branch: str, place: Place, tip: str, ancestor: str) -> bool:
    # a store that has no record of the ancestor cannot have a head that stands on it
    if store.backend.stat(move_path(branch, *place, ancestor)) is None:
        return False
    return descends(store, *place, (branch, tip), ancestor)


def sort_out(
    copier: Copier,
    sending: Sending,
    report: "Report",
    relation: Compare,
    *,
    mine: Mapping[Place, Slot],
    theirs: Mapping[Place, Slot],
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


def _parted(report: "Report", branch: str, places: Collection[Place]) -> str:
    remote = report.remote
    heads = f"{counted(len(places), 'head')} of the branch {branch}"
    where = f"{heads} moved both here and at {remote}: {named(sorted(places))}."
    if report.verb == "push":
        return (
            f"{where} Nothing was moved. Bring both together with: mlops-assets fetch {remote.name} && mlops-assets "
            f"merge {remote.name}/{branch}   and push again."
        )
    return f"{where} No head was moved here. Bring both together with: mlops-assets merge {remote.name}/{branch}"


def refuse_unguarded(copier: Copier, sending: Sending) -> None:
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
            f"{named(wrong)} of the branch {name} in {copier.source} moved otherwise. Publish on another branch, "
            f"and merge that one into {name}."
        )


# --- moving ----------------------------------------------------------------------------------------------------------


def point(copier: Copier, sending: Sending, report: "Report", relation: Compare) -> None:
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
            f"{named(late)} of the branch {name} in {target} moved meanwhile, to what does not stand on what was to "
            f"be shown; of the others {len(report.heads)} were moved. Run this again to see how both can be brought "
            "together."
        )
    if sending.protection is not None:
        copier.write("branches", protection_path(name), sending.protection)


def _advance(copier: Copier, sending: Sending, place: Place, relation: Compare) -> Relation:
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
            seen = Slot(Head.decode(data, copier.target.where(path)), data)
        if (how := relation(copier, name, place, slot, seen)) != "forward":
            return how
    return "parted"


def named(places: Iterable[Place]) -> str:
    """Some places for people; the first of many."""
    names = [f"{asset}[{batch}]" for asset, batch in places]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
