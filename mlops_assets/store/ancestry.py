"""Which move stands on which: the history of one head over branches, merges and copies of the store.

What belongs here: walking the records of moves backwards, as far as an answer needs. What does not: what to do about
two histories that parted (``merging``, ``forwarding``).

A position is a branch and the id of a move that its head has, or had; the id is empty where the branch still shows what
it was started from. A move stands on the move before it, on the one that it took over from another branch, and, when it
is its branch's first, on the move of the parent branch that made what the branch was started from.
"""

import heapq
from collections.abc import Iterator
from typing import NamedTuple

from mlops_assets.errors import NotStoredError
from mlops_assets.store.branches import Branch
from mlops_assets.store.heads import Move
from mlops_assets.store.store import Store, move_path


class Position(NamedTuple):
    """A head at one moment: the branch, and the id of the move that led there (empty: what the branch started from)."""

    branch: str
    move: str


class History:
    """The moves of one batch of one asset, each read once, and only those that a question leads to."""

    def __init__(self, store: Store, asset: str, batch: str) -> None:
        self.store, self.asset, self.batch = store, asset, batch
        self._moves: dict[Position, Move | None] = {}
        self._linked: set[Position] = set()

    def move(self, position: Position) -> Move | None:
        """The record of a position's move; None where this store has none (of a branch that was never fetched)."""
        if position not in self._moves:
            path = move_path(position.branch, self.asset, self.batch, position.move) if position.move else ""
            if path and (position in self._linked or self.store.backend.stat(path)):
                self._moves[position] = self.store.move_record(position.branch, self.asset, self.batch, position.move)
            else:
                self._moves[position] = None
        return self._moves[position]

    def knows(self, position: Position) -> bool:
        """Whether this store can say what a position stands on."""
        return not position.move or self.move(position) is not None

    def age(self, position: Position) -> str:
        """When a position came to be, by the clock of whoever made it; empty where that is not known."""
        if position.move:
            move = self.move(position)
            return move.when if move else ""
        record = self._record(position.branch)
        return record.when if record else ""

    def tip(self, branch: str) -> Position:
        """Where a branch's head stands now."""
        own = self.store.slot(branch, self.asset, self.batch)
        return Position(branch, own.move if own else "")

    def shows(self, position: Position) -> str | None:
        """The id of the manifest at a position, None where there was none."""
        if not position.move:
            return self._started_from(position.branch)
        move = self.move(position)
        return (move.to_manifest or None) if move else None

    def before(self, position: Position) -> Iterator[Position]:
        """What a position stands on directly: what its branch showed before, and what it took over from another."""
        if older := self.older(position):
            yield older
        move = self.move(position)
        if move and move.origin.get("move") and move.origin.get("branch"):
            yield Position(move.origin["branch"], move.origin["move"])

    def older(self, position: Position) -> Position | None:
        """The move before, or what the branch was started from; None where nothing is known to have been before."""
        record = self._record(position.branch)
        if not position.move:
            if record is None or not record.speaks_of(self.asset):
                return None
            return self.made(record.parent, self._started_from(record.name), record.since)
        move = self.move(position)
        if move and move.previous:
            return self._link(position.branch, move.previous)
        if move and record and move.when >= record.when and move.from_manifest == self._started_from(record.name):
            # and not of an earlier branch of that name
            return Position(record.name, "")
        return None

    def made(self, branch: str, manifest: str | None, by: str) -> Position | None:
        """The position at which a branch showed a manifest (None: no batch) at a time; None where that is not known.

        Clocks of two machines may differ: where nothing made it by that time, the newest move that made it counts.
        """
        record = self._record(branch)
        if record is None or record.when > by:
            # gone, or started again since
            return None
        newest = None
        position = self.tip(branch)
        while position.move and (move := self.move(position)):
            if move.to_manifest == (manifest or ""):
                if move.when <= by:
                    return position
                newest = newest or position
            position = self._link(branch, move.previous or "")
        if self._started_from(branch) == manifest:
            return Position(branch, "")
        return newest if manifest else None

    def _link(self, branch: str, previous: str) -> Position:
        """The position before: its record must be here, a chain has no gaps."""
        position = Position(branch, previous)
        self._linked.add(position)
        return position

    def _started_from(self, branch: str) -> str | None:
        record = self._record(branch)
        tree = record.base.get(self.asset) if record else None
        leaf = self.store.tree(tree).get(self.batch) if tree else None
        return leaf.manifest if leaf else None

    def _record(self, name: str) -> Branch | None:
        try:
            return self.store.branch(name) if name else None
        except NotStoredError:
            return None


def descends(store: Store, asset: str, batch: str, tip: tuple[str, str], ancestor: str) -> bool:
    """Whether the move ``ancestor`` is ``tip`` (a branch and the id of a move) or stands somewhere below it.

    Reads as far as the two histories differ, and all of ``tip``'s when they have nothing in common.
    """
    if tip[1] == ancestor:
        return True
    walk = _Walk(History(store, asset, batch), Position(*tip), Position(tip[0], ancestor))
    while walk.has_only(_ONE):
        walk.step()
        if any(position.move == ancestor for position in walk.fresh):
            return True
    return False


def stands_on(history: History, position: Position, older: Position) -> bool:
    """Whether a position is another one or came of it."""
    walk = _Walk(history, position, older)
    while position != older and walk.has_only(_ONE):
        walk.step()
        if older in walk.fresh:
            return True
    return position == older


def common(history: History, one: Position, other: Position) -> Position | None:
    """The newest position that two positions both stand on (or are); None when their histories never met.

    Reads as far as the two differ, in the order of the times in the records: wrong clocks cost reading.
    """
    if one == other:
        return one
    walk = _Walk(history, one, other)
    while walk.has_only(_ONE) or walk.has_only(_OTHER):
        walk.step()
    shared = [position for position, colour in walk.reached.items() if colour == _ONE | _OTHER]
    below = {older for position in shared for older in history.before(position)}
    best = [position for position in shared if position not in below]
    return max(best, key=lambda position: (history.age(position), position), default=None)


_ONE, _OTHER = 1, 2


class _Walk:
    """Walks back from two positions at once, newest first, and remembers from which of them it reached each."""

    def __init__(self, history: History, one: Position, other: Position) -> None:
        self.history = history
        self.reached: dict[Position, int] = {}
        self.fresh: set[Position] = set()
        """What the last step reached from ``one``."""
        self._waiting: list[tuple[_Newest, Position]] = []
        self._reach(one, _ONE)
        self._reach(other, _OTHER)

    def has_only(self, colour: int) -> bool:
        """Whether something is left to look at that was reached from this side alone: what both reach, both know."""
        return any(self.reached[position] == colour for _, position in self._waiting)

    def step(self) -> None:
        """Look at the newest position that is left."""
        _, position = heapq.heappop(self._waiting)
        self.fresh.clear()
        for older in self.history.before(position):
            self._reach(older, self.reached[position])

    def _reach(self, position: Position, colour: int) -> None:
        known = self.reached.get(position, 0)
        if colour & _ONE:
            self.fresh.add(position)
        if known | colour != known:
            self.reached[position] = known | colour
            if self.history.knows(position):
                heapq.heappush(self._waiting, (_Newest(self.history.age(position)), position))


class _Newest(str):
    """A time that a heap gives back newest first."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return str.__gt__(self, other)
