"""Changes: many moves of heads that belong together, written down before the first of them, and finished whatever dies.

What belongs here: the intent's record, making its moves one by one, finishing or giving up what was left open. What
does not: which moves make a merge (``merging``), a revert (``reverting``) or a restore (``snapshots``).

``changes/<id>.json`` is written before the first move and ``changes/<id>.done`` after the last; each is written once.
Every move is atomic by itself and names the change in its ``origin``, so whoever finishes a change can tell what it
did from what others did. A branch has one open change at a time.

``FORMAT`` follows the rule of ``manifest``.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from blake3 import blake3

from mlops_assets.errors import ConflictError, CorruptError, NotStoredError, RefusedError, StoreError
from mlops_assets.store.digest import canonical_json, parse_json, sealed_json, unsealed
from mlops_assets.store.formats import FROM_ANOTHER, check_format
from mlops_assets.store.heads import Head, Leaf, Move
from mlops_assets.store.names import segment
from mlops_assets.store.store import Store, account, now

FORMAT = 1

_HEX = 12
_AT_ONCE = 16
"""Moves that are made at once where each is a conversation with a server."""


class Expected(NamedTuple):
    """The head that a step replaces; ``seq``, ``attempt`` and ``manifest`` are the head's."""

    seq: int
    attempt: str
    manifest: str


@dataclass(frozen=True)
class Step:
    """One move: the head as it must be (``expected``, None: no head) and what it is to show (``to``, None: nothing).

    ``origin`` goes into the move's record, beside the change's id and verb: for a merge ``branch`` and ``move`` that
    are taken over. A step to what the head shows already makes a move only where ``record`` says so.
    """

    asset: str
    batch: str
    expected: Expected | None
    to: Leaf | None
    origin: Mapping[str, str] = field(default_factory=dict)
    record: bool = False

    def __str__(self) -> str:
        return f"{self.asset}[{self.batch}]"

    @classmethod
    def of(
        cls, asset: str, batch: str, head: Head | None, to: Leaf | None, record: bool = False, **origin: str
    ) -> "Step":
        """The step from a head as it was read (None: there is none) to a leaf."""
        expected = Expected(head.seq, head.attempt, head.manifest) if head else None
        return cls(asset, batch, expected, to, origin, record)


class Skipped(NamedTuple):
    """A step that was not made, and why."""

    asset: str
    batch: str
    sentence: str


@dataclass(frozen=True)
class Change:
    """Moves of one branch that belong together, and, once it is ``finished``, what became of them.

    ``verb`` is merge, restore, revert, ...; ``source`` says for people what the moves go to. ``checks`` are those that
    a protected branch asked for and that were looked at; ``protected`` says that somebody wanted a protected branch
    moved by something else than a merge. A change that was given up is ``finished`` and ``abandoned``.
    """

    branch: str
    verb: str
    steps: tuple[Step, ...]
    source: str = ""
    message: str = ""
    who: str = ""
    when: str = ""
    checks: tuple[str, ...] = ()
    protected: bool = False
    id: str = ""
    finished: bool = False
    abandoned: bool = False
    skipped: tuple[Skipped, ...] = ()

    def __str__(self) -> str:
        return f"{self.verb} {self.id} on branch {self.branch} ({len(self.steps)} steps, {self.who}, {self.when})"

    @property
    def moved(self) -> int:
        """How many steps were made; 0 while it is open."""
        return len(self.steps) - len(self.skipped) if self.finished else 0

    def encode(self) -> bytes:
        """The intent's file; ``id`` is made from it."""
        record = {
            "format": FORMAT,
            "branch": self.branch,
            "verb": self.verb,
            "source": self.source,
            "message": self.message,
            "who": self.who,
            "when": self.when,
            "checks": self.checks,
            "protected": self.protected,
            "steps": [
                [step.asset, step.batch, step.expected, step.to, dict(step.origin), step.record] for step in self.steps
            ],
        }
        return canonical_json(record)

    @classmethod
    def decode(cls, data: bytes, id_: str, where: str) -> "Change":
        """The change of an intent's file; ``where`` names it in errors. Raises ``StoreError`` or ``CorruptError``."""
        record = _fields(data, where)
        try:
            change = cls(
                branch=record["branch"],
                verb=record["verb"],
                source=record["source"],
                message=record["message"],
                who=record["who"],
                when=record["when"],
                checks=tuple(record["checks"]),
                protected=record["protected"],
                steps=tuple(
                    Step(asset, batch, expected and Expected(*expected), to and Leaf(*to), origin, again)
                    for asset, batch, expected, to, origin, again in record["steps"]
                ),
                id=id_,
            )
        except (KeyError, TypeError, ValueError) as trouble:
            raise CorruptError(_broken(where)) from trouble
        if _id(change.when, data) != id_:
            raise CorruptError(f"{where} is damaged; {FROM_ANOTHER}.")
        return change


def apply(  # noqa: PLR0917 - message and who come last everywhere
    store: Store,
    branch: str,
    verb: str,
    steps: Iterable[Step],
    message: str = "",
    who: str = "",
    *,
    source: str = "",
    checks: Sequence[str] = (),
    protected: bool = False,
) -> Change:
    """Write down what is to move, move it, write down that it is done; the finished change.

    What has moved since a step's head was read is left as it is and told in ``skipped``. Nothing is written when there
    is no step. A protected branch takes merges (whose ``checks`` the caller has looked at), and anything else only
    where ``protected`` says that it is meant. Raises ``RefusedError`` otherwise, ``ConflictError`` while another change
    of the branch is open, and whatever the place of the store refuses: then the change stays open.
    """
    store.branch(branch)
    change = Change(
        branch=branch,
        verb=verb,
        steps=tuple(steps),
        source=source,
        message=message,
        who=who or account(),
        when=now(),
        checks=tuple(checks),
        protected=protected,
    )
    _allow(store, change)
    if not change.steps:
        return replace(change, finished=True)
    data = change.encode()
    change = replace(change, id=_id(change.when, data))
    # two who begin at once: the second sees the first
    with store.backend.hold(f"changes of {branch}"):
        for other in open_changes(store, branch):
            raise ConflictError(told(other))
        store.backend.create(_path(change.id), data)
    return _finish(store, change, again=False)


def open_changes(store: Store, branch: str | None = None) -> list[Change]:
    """The changes, of one branch or all, that were begun and neither finished nor given up; oldest first."""
    names = set(store.backend.children("changes")[1])
    ids = sorted(
        name.removesuffix(".json")
        for name in names
        if name.endswith(".json") and f"{name.removesuffix('.json')}.done" not in names
    )
    found = [_read(store, id_, store.backend.read(_path(id_))) for id_ in ids]
    return [change for change in found if branch is None or change.branch == branch]


def read_change(store: Store, id: str) -> Change:  # noqa: A002 - the word of the design
    """A change by its id or the beginning of it; raises ``NotStoredError``, or ``StoreError`` when several begin so."""
    names = [name.removesuffix(".json") for name in store.backend.children("changes")[1] if name.endswith(".json")]
    found = [name for name in names if name.startswith(id)] if id else []
    if id in found:
        found = [id]
    if not found:
        raise NotStoredError(f"There is no change {id!r} in {store}; see them with: mlops-assets log")
    if len(found) > 1:
        raise StoreError(f"{id!r} could be {len(found)} changes: {', '.join(found[:5])}; give more of it.")
    return _read(store, found[0], store.backend.read(_path(found[0])))


def resume(store: Store, id: str) -> Change:  # noqa: A002
    """Finish a change that was left open; one that is finished is returned as it is. Raises as ``apply``."""
    change = read_change(store, id)
    if change.finished:
        return change
    _allow(store, change)
    return _finish(store, change, again=True)


def abandon(store: Store, id: str, who: str = "") -> Change:  # noqa: A002
    """Give up a change that was left open: what moved stays moved (see ``revert``), the rest is not done.

    Raises ``NotStoredError`` for an unknown one, ``ConflictError`` for one that is finished.
    """
    change = read_change(store, id)
    if change.finished:
        raise ConflictError(f"The {change} is finished; take it back with: mlops-assets revert {change.id}")
    who = who or account()
    left = [
        Skipped(step.asset, step.batch, f"{step} was not done: {who} gave the change up.")
        for step in change.steps
        if made(store, change, step) is None
    ]
    return _done(store, replace(change, finished=True, abandoned=True, skipped=tuple(left)), who)


def made(store: Store, change: Change, step: Step) -> Move | None:
    """The move that a change made of a step, wherever the head went afterwards; None when it made none."""
    for move in store.walk(change.branch, step.asset, step.batch):
        if step.expected and move.seq <= step.expected.seq:
            return None
        if move.origin.get("change") == change.id:
            return move
    return None


def told(change: Change) -> str:
    """What to do about an open change, for people."""
    return (
        f"The {change} is not finished. It may be running; if nobody runs it, finish it with: "
        f"mlops-assets merge --continue {change.id}   or give it up with: mlops-assets merge --abandon {change.id}"
    )


# --- inside ----------------------------------------------------------------------------------------------------------


def _allow(store: Store, change: Change) -> None:
    protection = store.protection(change.branch)
    if protection is None:
        return
    if change.verb != "merge":
        if not change.protected:
            raise RefusedError(
                f"The branch {change.branch} is protected: it moves by merges only. If it has to go back, say that "
                f"you mean it: --protected"
            )
    elif missing := [check for check in protection.checks if check not in change.checks]:
        raise RefusedError(
            f"The branch {change.branch} asks for {', '.join(missing)} since the merge {change.id} was begun; give it "
            f"up with: mlops-assets merge --abandon {change.id}   and merge again."
        )


def _finish(store: Store, change: Change, again: bool) -> Change:
    def take(step: Step) -> Skipped | None:
        return _take(store, change, step, again)

    if "://" in store.backend.url:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            skipped = list(pool.map(take, change.steps))
    else:
        skipped = [take(step) for step in change.steps]
    return _done(store, replace(change, finished=True, skipped=tuple(item for item in skipped if item)), change.who)


def _take(store: Store, change: Change, step: Step, again: bool) -> Skipped | None:
    # "no head" is how it was before this step and may be how it is after this step and another's: look who did what
    if again and step.expected is None and made(store, change, step):
        return None
    expected = step.expected and Head(
        step.asset, step.batch, step.expected.seq, "", step.expected.attempt, step.expected.manifest, "", ""
    )
    try:
        store.move(
            change.branch,
            step.asset,
            step.batch,
            step.to,
            expected,
            message=change.message,
            who=change.who,
            origin={**step.origin, "change": change.id, "verb": change.verb},
            always=step.record,
        )
    except ConflictError as conflict:
        if made(store, change, step):
            return None
        current = store.head(change.branch, step.asset, step.batch)
        if (current.manifest if current else None) == (step.to.manifest if step.to else None):
            return None
        return Skipped(step.asset, step.batch, conflict.sentences[0])
    return None


def _done(store: Store, change: Change, who: str) -> Change:
    record = {
        "format": FORMAT,
        "change": change.id,
        "who": who,
        "when": now(),
        "moved": change.moved,
        "abandoned": change.abandoned,
        "skipped": change.skipped,
    }
    if store.backend.create(_end(change.id), sealed_json(record)):
        return change
    # somebody else finished it at the same moment: theirs is what is written
    return _read(store, change.id, store.backend.read(_path(change.id)))


def _read(store: Store, id_: str, data: bytes) -> Change:
    change = Change.decode(data, id_, f"The change {store.where(_path(id_))}")
    path = _end(id_)
    try:
        end = store.backend.read(path)
    except FileNotFoundError:
        return change
    where = f"The end {store.where(path)} of a change"
    record = _fields(end, where)
    try:
        skipped = tuple(Skipped(*item) for item in record["skipped"])
        return replace(change, finished=True, abandoned=record["abandoned"], skipped=skipped)
    except (KeyError, TypeError) as trouble:
        raise CorruptError(_broken(where)) from trouble


def _id(when: str, data: bytes) -> str:
    """Ids sort by time and cannot be kept when the record is edited."""
    moment = "".join(character for character in when.partition(".")[0] if character.isdigit())
    return f"{moment}-{blake3(data).hexdigest()[:_HEX]}"


def _path(id_: str) -> str:
    return f"changes/{segment(id_)}.json"


def _end(id_: str) -> str:
    return f"changes/{segment(id_)}.done"


def _broken(where: str) -> str:
    return f"{where} is not as the store writes it; {FROM_ANOTHER}."


def _fields(data: bytes, where: str) -> dict[str, Any]:
    try:
        record = dict(parse_json(unsealed(data)))
        number = record["format"]
    except (ValueError, TypeError, KeyError) as trouble:
        raise CorruptError(_broken(where)) from trouble
    check_format(number, FORMAT, where)
    return record
