"""Moving heads back: to what a tag, a moment or another branch shows, or to before the last thing that happened.

What belongs here: finding out which heads have to move where. What does not: moving them (``changes``), or merging
what two branches did (``merging``). Nothing is deleted: what a head showed before stays in the records of its moves.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_assets.errors import NotStoredError, StoreError
from mlops_assets.store import changes
from mlops_assets.store.branching import refuse_mixing
from mlops_assets.store.changes import Change, Step
from mlops_assets.store.heads import Head, Leaf, Move
from mlops_assets.store.refs import View, chosen_assets, view
from mlops_assets.store.reviving import Past, keep_from_gc, look_at_values
from mlops_assets.store.store import leaf_of
from mlops_assets.wording import counted

if TYPE_CHECKING:
    from mlops_assets.store.store import Store

VERB = "restore"

_Key = tuple[str, str]
"""Asset and batch."""


@dataclass(frozen=True)
class Going:
    """One head that would move: the versions it shows and would show, None where there is none."""

    asset: str
    batch: str
    before: str | None
    after: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"asset": self.asset, "partition": self.batch, "from": self.before, "to": self.after}


@dataclass(frozen=True)
class Plan:
    """What a restore would do to ``branch``; ``source`` says for people where its heads go."""

    branch: str
    source: str
    steps: tuple[Step, ...]
    moves: tuple[Going, ...]
    rooted: bool = field(default=False, repr=False)
    """Whether a tag or branch keeps from gc what the heads go to."""

    @property
    def past(self) -> list[Past]:
        """What heads would show."""
        return [(step.asset, step.batch, step.to) for step in self.steps if step.to]


def plan_restore(
    store: "Store",
    branch: str,
    ref: str | View,
    assets: Collection[str] | None = None,
    batches: Collection[str] | None = None,
) -> Plan:
    """Which heads of a branch are not what a reference shows, and where they would go; nothing is moved.

    Looked at are all assets of the datasets that ``ref`` shows, or those chosen by ``assets`` (as ``chosen_assets``)
    and ``batches``; a head that ``ref`` shows nothing for is taken away. A single version (``b3:``) concerns its own
    batch alone. Raises ``NotStoredError`` for what is unknown, and as ``Store.check`` for a version whose value is
    gone.
    """
    shown = view(store, ref, branch) if isinstance(ref, str) else ref
    refuse_mixing(store, shown, branch)
    here = view(store, f"branch:{branch}")
    datasets = {asset.partition("/")[0] for asset in shown.assets() if shown.leaves(asset)}
    if not datasets:
        raise NotStoredError(f"{shown.name} shows nothing, so that there is nothing to restore.")
    names = {asset for asset in (*here.assets(), *shown.assets()) if asset.partition("/")[0] in datasets}
    chosen = chosen_assets(_Names(shown, names), assets) if assets is not None else sorted(names)
    steps: list[Step] = []
    moves: list[Going] = []
    known: set[str] = set()
    for asset in chosen:
        heads, leaves = store.heads(branch, asset), dict(shown.leaves(asset).items())
        looked = {*leaves} if shown.kind == "version" else {*leaves, *heads}
        known |= looked
        for batch in sorted(looked if batches is None else looked & {*batches}):
            head, leaf = heads.get(batch), leaves.get(batch)
            if (head.manifest if head else None) != (leaf.manifest if leaf else None):
                steps.append(Step.of(asset, batch, head, leaf))
                moves.append(_going(asset, batch, head, leaf))
    if missing := sorted({*(batches or ())} - known):
        raise NotStoredError(
            f"Neither {shown.name} nor branch {branch} shows a batch {', '.join(map(repr, missing))} of "
            f"{', '.join(chosen)}."
        )
    plan = Plan(branch, shown.name, tuple(steps), tuple(moves), rooted=shown.kind in {"branch", "tag", "remote"})
    look_at_values(store, plan.past)
    return plan


def restore(
    store: "Store",
    branch: str,
    ref: str | View,
    assets: Collection[str] | None = None,
    batches: Collection[str] | None = None,
    *,
    message: str = "",
    who: str = "",
    protected: bool = False,
) -> Change:
    """Let a branch show exactly what a reference shows, as one recorded change; see ``plan_restore``.

    A head that moved meanwhile is left alone and named in the change's ``skipped``. Raises as ``plan_restore`` and
    ``changes.apply``; a protected branch is refused unless ``protected`` says that it is meant.
    """
    return carry_out(
        store, plan_restore(store, branch, ref, assets, batches), message=message, who=who, protected=protected
    )


def plan_rollback(
    store: "Store",
    branch: str,
    assets: Collection[str],
    batches: Collection[str] | None = None,
    steps: int = 1,
) -> Plan:
    """Where the heads of some assets were before the last ``steps`` things that happened to them; nothing is moved.

    One thing is a change (a merge, a restore, a revert), all that one run published, or else one move. A rollback is
    such a thing too: rolling back twice leads to where it began; ``steps`` leads further. ``assets`` as for
    ``chosen_assets``. Raises ``NotStoredError`` when there was not so much on this branch.
    """
    if steps < 1:
        raise StoreError(f"A rollback takes back at least one step, not {steps}.")
    chosen = chosen_assets(view(store, f"branch:{branch}"), assets)
    tips = _tips(store, branch, chosen, batches)
    now: dict[_Key, Move] = {key: store.move_record(branch, *key, head.move) for key, head in tips.items()}
    target: dict[_Key, str | None] = {}
    source = ""
    for done in range(steps):
        if not now:
            raise NotStoredError(_exhausted(done, ", ".join(chosen), branch))
        newest = max(now.values(), key=lambda move: (move.when, move.seq))
        source = f"before {_called(newest)}"
        event = _event(newest)
        for key in [key for key, move in now.items() if _event(move) == event]:
            move: Move | None = now.pop(key)
            while move and _event(move) == event:
                target[key] = move.from_manifest
                move = store.move_record(branch, *key, move.previous) if move.previous else None
            if move:
                now[key] = move
    found = []
    moves = []
    for (asset, batch), manifest in sorted(target.items()):
        head = store.head(branch, asset, batch)
        leaf = leaf_of(store.manifest(asset, batch, manifest)) if manifest else None
        if (head.manifest if head else None) != (manifest or None):
            found.append(Step.of(asset, batch, head, leaf))
            moves.append(_going(asset, batch, head, leaf))
    plan = Plan(branch, source, tuple(found), tuple(moves))
    look_at_values(store, plan.past)
    return plan


def _exhausted(done: int, assets: str, branch: str) -> str:
    """That there is nothing further back, after so many things that happened."""
    if not done:
        return f"Nothing happened to {assets} on branch {branch} yet: it shows what it was started from."
    return (
        f"Only {counted(done, 'thing')} happened to {assets} on branch {branch}; before that it showed what it was "
        "started from."
    )


def rollback(
    store: "Store",
    branch: str,
    assets: Collection[str],
    batches: Collection[str] | None = None,
    steps: int = 1,
    *,
    message: str = "",
    who: str = "",
    protected: bool = False,
) -> Change:
    """Let heads show what they showed before the last things that happened, as one recorded change.

    See ``plan_rollback``; raises as it and as ``restore``.
    """
    return carry_out(
        store, plan_rollback(store, branch, assets, batches, steps), message=message, who=who, protected=protected
    )


def carry_out(store: "Store", plan: Plan, *, message: str = "", who: str = "", protected: bool = False) -> Change:
    """Do what a plan says; raises as ``restore``."""
    if not plan.rooted:
        keep_from_gc(store, plan.past)
    return changes.apply(
        store,
        plan.branch,
        VERB,
        plan.steps,
        message or f"restore to {plan.source}",
        who,
        source=plan.source,
        protected=protected,
    )


# --- inside ----------------------------------------------------------------------------------------------------------


class _Names(View):
    """A view's name over more assets than it shows, to choose from."""

    def __init__(self, shown: View, names: Collection[str]) -> None:
        super().__init__(shown.store, shown.kind, shown.name, shown.ref)
        self._names = sorted(names)

    def assets(self) -> list[str]:
        return self._names


def _going(asset: str, batch: str, head: Head | None, leaf: Leaf | None) -> Going:
    return Going(asset, batch, head.version if head else None, leaf.version if leaf else None)


def _tips(store: "Store", branch: str, assets: Collection[str], batches: Collection[str] | None) -> Mapping[_Key, Head]:
    if batches is None:
        return {(asset, head.batch): head for asset in assets for head in store.slots(branch, asset)}
    found = {(asset, batch): store.slot(branch, asset, batch) for asset in assets for batch in batches}
    for batch in batches:
        if not any(found[asset, batch] or store.head(branch, asset, batch) for asset in assets):
            raise NotStoredError(f"The branch {branch} shows no batch {batch!r} of {', '.join(assets)}.")
    return {key: head for key, head in found.items() if head}


def _event(move: Move) -> str:
    """What a move belongs to."""
    return move.origin.get("change") or move.run_id or move.attempt


def _called(move: Move) -> str:
    what = move.origin.get("verb") or ("publish" if move.to_manifest else "removal")
    if "change" in move.origin:
        return f"the {what} {move.origin['change']} of {move.who}"
    run = f" in run {move.run_id}" if move.run_id else f" of {move.asset}[{move.batch}]"
    return f"the {what}{run} by {move.who} at {move.when}"
