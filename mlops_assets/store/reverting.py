"""Reverting: taking moves back, as new moves.

What belongs here: what a change or a head's newest move replaced. What does not: making the moves (``changes``); going
to what a tag or a moment showed (``snapshots.restore``).
"""

from mlops_assets.errors import ConflictError, NotStoredError, StoreError
from mlops_assets.store.changes import Change, Step, apply, made, open_changes, read_change, told
from mlops_assets.store.heads import Head, Leaf, Move
from mlops_assets.store.reviving import keep_from_gc
from mlops_assets.store.store import Store, leaf_of

_SHOWN = 20


def revert(
    store: Store,
    branch: str,
    what: str | tuple[str, str],
    *,
    only_unmoved: bool = False,
    protected: bool = False,
    message: str = "",
    who: str = "",
) -> Change:
    """Take back a change (its id or the beginning of it), or the newest move of one head (asset and batch).

    Each head goes back to what it showed before: a first move's is taken away, and on a branch that was started from
    something it shows that again. The moves back are a change of their own and can be reverted. ``what`` may also be
    written ``ASSET[BATCH]``. Raises ``ConflictError`` when heads have moved since (with ``only_unmoved`` those are
    left), ``NotStoredError`` when there is no such change or move, ``PurgedError`` when what was there before is,
    ``RefusedError`` for a protected branch where ``protected`` does not say that it is meant.
    """
    store.branch(branch)
    for change in open_changes(store, branch):
        raise ConflictError(told(change))
    head = _head(what)
    if head:
        moves = [_newest(store, branch, *head)]
        source = f"{head[0]}[{head[1]}]"
    else:
        assert isinstance(what, str)
        change = read_change(store, what)
        if change.branch != branch:
            raise StoreError(
                f"The {change} moved the branch {change.branch}, not {branch}; revert it there: "
                f"mlops-assets revert {change.id} --on {change.branch}"
            )
        moves = _of_change(store, change, only_unmoved)
        source = f"{change.verb} {change.id}"
    steps = [
        Step.of(move.asset, move.batch, own if own.manifest else None, _before(store, move), reverts=move.id)
        for own, move in moves
        if (move.from_manifest or "") != move.to_manifest
    ]
    if not steps:
        raise NotStoredError(
            f"There is nothing to take back of {source} on branch {branch}: no head stands where it led."
        )
    keep_from_gc(store, [(step.asset, step.batch, step.to) for step in steps if step.to])
    return apply(
        store,
        branch,
        "revert",
        steps,
        message or f"revert {source}",
        who,
        source=source,
        protected=protected,
    )


def _head(what: str | tuple[str, str]) -> tuple[str, str] | None:
    if isinstance(what, tuple):
        return what
    asset, bracket, batch = what.removesuffix("]").partition("[")
    return (asset, batch) if bracket and what.endswith("]") else None


def _newest(store: Store, branch: str, asset: str, batch: str) -> tuple[Head, Move]:
    own = store.slot(branch, asset, batch)
    if own is None:
        base = store.branch(branch).source
        raise NotStoredError(
            f"{asset}[{batch}] has not moved on branch {branch}"
            + (f" since it was started from {base}" if base else "")
            + ", so there is nothing to revert."
        )
    return own, store.move_record(branch, asset, batch, own.move)


def _of_change(store: Store, change: Change, only_unmoved: bool) -> list[tuple[Head, Move]]:
    """The moves of a change that heads still stand on, with those heads."""
    moves: list[tuple[Head, Move]] = []
    moved_since: list[str] = []
    for step in change.steps:
        own = store.slot(change.branch, step.asset, step.batch)
        move = made(store, change, step)
        if own is None or move is None:
            continue
        if own.move == move.id:
            moves.append((own, move))
        else:
            last = store.move_record(change.branch, step.asset, step.batch, own.move)
            moved_since.append(
                f"{step} has moved since the {change.verb} {change.id}: {last.who} moved it at {last.when}."
            )
    if moved_since and not only_unmoved:
        more = [f"And {len(moved_since) - _SHOWN} more."] if len(moved_since) > _SHOWN else []
        raise ConflictError(
            *moved_since[:_SHOWN],
            *more,
            "Nothing was reverted. Revert those moves first, or leave these heads as they are: --only-unmoved",
        )
    return moves


def _before(store: Store, move: Move) -> Leaf | None:
    """What a head showed before a move, if it is still there."""
    if not move.from_manifest:
        return None
    manifest = store.manifest(move.asset, move.batch, move.from_manifest)
    store.check(manifest)
    return leaf_of(manifest)
