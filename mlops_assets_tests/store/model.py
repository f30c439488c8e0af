"""What a store must show after a history, in plain dicts: the simple twin that the real one is compared with.

What belongs here: branches, tags and what each shows, and the rule by which two branches merge, as the documentation
says it. What does not: files, and how a store finds out.
"""

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

Place = tuple[str, str]
"""Asset and batch."""

Verdict = Literal["same", "kept", "fast", "conflict"]

_numbers = count()


@dataclass(frozen=True)
class Value:
    """What was published: equal values are the same version by the same recipe. ``source`` is what it was made from."""

    number: int
    code: str
    source: "Value | None" = None


@dataclass(frozen=True, eq=False)
class Node:
    """One state of a place. ``line`` is the state before it on its branch (or on the one which that was started from),
    ``parents`` are all states that it knows of.

    ``value`` is None where the place is empty. ``before`` is what the branch showed before.
    """

    value: Value | None
    before: Value | None = None
    line: "Node | None" = None
    parents: tuple["Node", ...] = ()
    age: int = field(default_factory=lambda: next(_numbers))

    @property
    def ancestors(self) -> set["Node"]:
        """Itself, and all that it came of."""
        found = {self}
        waiting = [self]
        while waiting:
            for parent in waiting.pop().parents:
                if parent not in found:
                    found.add(parent)
                    waiting.append(parent)
        return found


NOTHING = Node(None)
"""The state of a place that nobody ever wrote to."""


@dataclass
class Branch:
    """``base`` is what it started from, ``own`` what was moved on it."""

    base: dict[Place, Node] = field(default_factory=dict)
    own: dict[Place, Node] = field(default_factory=dict)

    def node(self, place: Place) -> Node:
        """The state of a place."""
        return self.own.get(place) or self.base.get(place, NOTHING)

    @property
    def shown(self) -> dict[Place, Value]:
        """What it shows."""
        nodes = {**self.base, **self.own}
        return {place: node.value for place, node in nodes.items() if node.value}

    def move(self, place: Place, value: Value | None, *others: Node) -> Node:
        """A new state, which also knows of others."""
        here = self.node(place)
        line = None if here is NOTHING else here
        node = self.own[place] = Node(value, here.value, line, (here, *others))
        return node


@dataclass
class Model:
    """One store. ``tags`` and ``buried`` (deleted ones) map names to what they show."""

    branches: dict[str, Branch] = field(default_factory=lambda: {"main": Branch()})
    tags: dict[str, dict[Place, Value]] = field(default_factory=dict)
    buried: dict[str, dict[Place, Value]] = field(default_factory=dict)
    marks: dict[str, dict[Place, Node]] = field(default_factory=dict)
    """Where each tag stands in the histories of what it shows."""

    def copy(self) -> "Model":
        """One that changes by itself."""
        branches = {name: Branch(copy(branch.base), copy(branch.own)) for name, branch in self.branches.items()}
        return Model(branches, copy(self.tags), copy(self.buried), copy(self.marks))

    @property
    def shown(self) -> dict[tuple[str, str], dict[Place, Value]]:
        """Everything that can be seen."""
        found = {("branch", name): branch.shown for name, branch in self.branches.items()}
        return found | {("tag", name): shown for name, shown in self.tags.items()}

    @property
    def kept(self) -> set[tuple[Place, Value]]:
        """What no gc may take: what is shown, what branches started from, and all that it was made from."""
        bases = [Branch(branch.base).shown for branch in self.branches.values()]
        return {item for shown in [*self.shown.values(), *bases] for item in sources(shown)}

    def start(self, name: str, source: Mapping[Place, Node]) -> None:
        """Start a branch from states."""
        self.branches[name] = Branch(dict(source))

    def frozen(self, branch: str) -> dict[Place, Node]:
        """The states of a branch as they are now."""
        here = self.branches[branch]
        return {place: here.node(place) for place in {*here.base, *here.own}}


def sources(shown: Mapping[Place, Value]) -> Iterator[tuple[Place, Value]]:
    """Values at their places, with what they were made from."""
    for (asset, batch), value in shown.items():
        yield (asset, batch), value
        if value.source:
            yield ("d/raw", batch), value.source


def verdicts(ours: Node, theirs: Node) -> set[Verdict]:
    """What a merge may make of a place: more than one where histories met at several points, or a side went on.

    A conflict is never wrong where both sides changed; that one side has seen the other's version must be true.
    """
    if ours.value == theirs.value:
        return {"same"}
    shared = ours.ancestors & theirs.ancestors
    below = {parent for node in shared for older in node.parents for parent in older.ancestors}
    best = shared - below
    found: set[Verdict] = set()
    for base in best or {NOTHING}:
        if theirs.value == base.value:
            found.add("kept")
        elif ours.value == base.value:
            found.add("fast")
        else:
            found.add("conflict")
            theirs_went_on, ours_went_on = _showed(theirs, base, ours.value), _showed(ours, base, theirs.value)
            if theirs_went_on and not ours_went_on:
                found.add("fast")
            if ours_went_on and not theirs_went_on:
                found.add("kept")
    return found


def guesses(ours: Node, theirs: Node) -> set[Verdict]:
    """What a merge may make of a place when it is not known where histories met."""
    found: set[Verdict] = {"conflict"}
    for verdict, side, value in (("kept", ours, theirs.value), ("fast", theirs, ours.value)):
        if any(node.value == value for node in side.ancestors):
            found.add(verdict)  # type: ignore[arg-type]
    return found


def _showed(tip: Node, base: Node, value: Value | None) -> bool:
    """Whether a branch showed a value since it was at a state, before it came to where it is."""
    node = tip.line
    while node and base in node.ancestors and node is not base:
        if node.value == value:
            return True
        node = node.line
    return False
