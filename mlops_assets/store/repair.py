"""Mending what ``verify`` finds: what can be made again, from other copies or from what the store itself still knows.

What belongs here: for each problem the one thing that mends it, and doing it. What does not: finding problems
(``verify``), making values again (that is a run's work: this room says which), or deciding between two stories: where
what is left does not say which one is true, nothing is done.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, BinaryIO

from mlops_assets.errors import CorruptError, StoreError, UserError
from mlops_assets.store import trees
from mlops_assets.store.backend import Backend, Written
from mlops_assets.store.branches import Branch
from mlops_assets.store.changes import Change
from mlops_assets.store.deliveries import Delivery
from mlops_assets.store.digest import bytes_digest, parse_json, unsealed
from mlops_assets.store.garbage import new_quarantine, put_back, set_aside
from mlops_assets.store.heads import NOTHING, Head, Move
from mlops_assets.store.manifest import Blob, Manifest
from mlops_assets.store.names import asset_path, segment, text
from mlops_assets.store.purge import resume
from mlops_assets.store.reach import Reach, Record
from mlops_assets.store.records import record_id
from mlops_assets.store.store import Store, account, leaf_of, now
from mlops_assets.store.tags import Tag
from mlops_assets.store.verify import Problem, Progress, Report, verify

Way = str
"""``restored`` (from trash), ``copied`` (from another store), ``rebuilt`` (from records), ``recorded`` (as it is),
``set aside`` (so that a run makes it again), ``erased``, ``finished`` (a purge) or ``left``."""


@dataclass
class Action:
    """What is done about a problem. ``done`` is False in a dry run and for what is ``left``.

    ``again`` names asset and batch of a value that a run has to make again.
    """

    problem: Problem
    way: Way
    sentence: str
    done: bool = False
    again: tuple[str, str] | None = None
    work: Callable[[], object] | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "what": self.problem.what,
            "path": self.problem.path,
            "problem": self.problem.sentence,
            "stands_on_it": self.problem.stands_on_it,
            "way": self.way,
            "sentence": self.sentence,
            "done": self.done,
            "again": list(self.again) if self.again else None,
        }


@dataclass
class Repair:
    """What was mended, or would be, and what verify says of the rest."""

    store: str
    done: bool
    actions: list[Action]

    @property
    def whole(self) -> bool:
        """Whether nothing is left broken."""
        return all(action.done and action.again is None for action in self.actions)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "store": self.store,
            "done": self.done,
            "whole": self.whole,
            "actions": [action.to_dict() for action in self.actions],
        }


def repair(
    store: Store,
    sources: Sequence[Store] = (),
    *,
    yes: bool = False,
    report: Report | None = None,
    progress: Progress | None = None,
) -> Repair:
    """Say how each problem can be mended, and with ``yes`` do it.

    ``sources`` are other copies of the store: whatever is taken from them is verified first. ``report`` spares looking
    for problems again. Nothing that is sound is ever replaced.
    """
    report = report or verify(store, progress=progress)
    mender = _Mender(store, list(sources))
    actions = [mender.plan(problem) for problem in report.problems]
    if yes:
        # what others lead to is mended after what they lead to
        order = ["value", "file", "manifest", "tree", "move", "delivery"]
        for action in sorted(actions, key=lambda item: (item.problem.what not in order, item.problem.path)):
            if action.work:
                action.work()
                action.done = True
    return Repair(store.backend.url, yes, actions)


class _Mender:
    def __init__(self, store: Store, sources: list[Store]) -> None:
        self.store = store
        self.sources = sources
        self.aside = set_aside(store)
        self.quarantine = new_quarantine()
        self._reach: Reach | None = None

    @property
    def reach(self) -> Reach:
        """What can be read of the store."""
        if self._reach is None:
            self._reach = Reach.of(self.store, _overlook)
        return self._reach

    def plan(self, problem: Problem) -> Action:
        """The way to mend a problem."""
        if problem.what in ("value", "file"):
            return self._file(problem)
        if problem.what == "head":
            return self._head(problem)
        if problem.what in ("erased", "purge"):
            return self._purge(problem)
        for ways in (self._from_trash, self._from_sources, self._tree_again):
            if action := ways(problem):
                return action
        if problem.what == "manifest" and not problem.stands_on_it and not problem.lost:
            return Action(
                problem,
                "set aside",
                "No other copy has it, and nothing stands on it: it goes to trash; a run records it again if need be.",
                work=partial(self._set_aside, problem.path),
            )
        return Action(problem, "left", self._no_copy(problem))

    # --- files of values -----------------------------------------------------------------------------------------

    def _file(self, problem: Problem) -> Action:
        for where in self.aside.get(problem.path, ()):
            if _fingerprint(self.store.backend, where) in problem.expected:
                return Action(
                    problem,
                    "restored",
                    "An interrupted gc set it aside; it gets its name back.",
                    work=partial(self._restore, where, problem),
                )
        for source in self.sources:
            found = _fingerprint(source.backend, problem.path)
            if found and found in problem.expected:
                return Action(
                    problem,
                    "copied",
                    f"The {source} has sound bytes; they are copied.",
                    work=partial(self._copy_file, source, problem.path, found),
                )
        return self._again(problem)

    def _again(self, problem: Problem) -> Action:
        asset, batch = _place(problem.path)
        dataset = asset.partition("/")[0]
        records = [self.reach.records[id_] for id_ in problem.manifests if id_ in self.reach.records]
        if problem.what == "value" and not problem.lost and (found := self._sound_content(records)):
            return Action(
                problem,
                "recorded",
                "Its content is sound, and was written by another release; that these are its bytes is recorded.",
                work=partial(self.store.record, found),
            )
        work = None if problem.lost else partial(self._set_aside, problem.path)
        if problem.what == "value":
            if any(record.id in self.reach.required for record in records):
                gone = "" if problem.lost else "the damaged file goes to trash, and "
                return Action(
                    problem,
                    "set aside",
                    f"No other copy has it: {gone}a run makes it again if its code and inputs are still the same: "
                    f"mlops-assets run {dataset} --partition {batch}",
                    again=(asset, batch),
                    work=work or _nothing,
                )
            sentence = "No other copy has it, and nothing that is shown stands on it"
            if work is None:
                return Action(problem, "left", f"{sentence}: only its record is left.")
            return Action(problem, "set aside", f"{sentence}: the damaged file goes to trash.", work=work)
        delivered = any(blob.path == problem.path for record in records for blob in record.raw) or not records
        if delivered:
            sentence = (
                f"No other copy has it. It was delivered: deliver the same file again, then: mlops-assets run {dataset}"
            )
        else:
            sentence = "No other copy has it; it illustrates a version and is no part of it."
        if work is None:
            return Action(problem, "left", sentence)
        return Action(problem, "set aside", f"{sentence} The damaged file goes to trash.", work=work)

    def _sound_content(self, records: Sequence[Record]) -> Manifest | None:
        """A manifest that says what a file's bytes are, when only their content is that of its version.

        Whoever writes a version again over damaged bytes may die before it is recorded that they are others now.
        """
        from mlops_assets.store import values

        manifest = self.store.manifest(records[0].asset, records[0].batch, records[0].id)
        assert manifest.blob is not None
        written = self.store.backend.fingerprint(manifest.blob.path)
        try:
            value = values.decode(manifest.kind, self.store.backend.local(manifest.blob.path, written))
        except StoreError:
            return None
        if values.digest(manifest.kind, value) != manifest.version:
            return None
        return replace(manifest, blob=Blob(manifest.blob.path, *written), when=now(), who=account(), run_id="repair")

    def _restore(self, where: str, problem: Problem) -> None:
        if not problem.lost:
            self._set_aside(problem.path)
        put_back(self.store, where, problem.path)

    def _copy_file(self, source: Store, path: str, expected: Written) -> None:
        def copy(file: BinaryIO) -> None:
            file.writelines(source.backend.stream(path))

        with self.store.backend.stage(path, copy) as staged, self.store.backend.hold(path):
            if staged.written != expected:
                raise CorruptError(f"{source.where(path)} changed while it was copied; run this again.")
            staged.replace()

    def _set_aside(self, path: str) -> None:
        with self.store.backend.hold(path):
            self.store.backend.rename(path, f"trash/{self.quarantine}/{path}")

    # --- records -------------------------------------------------------------------------------------------------

    def _from_trash(self, problem: Problem) -> Action | None:
        for where in self.aside.get(problem.path, ()):
            with suppress(FileNotFoundError):
                if _is_sound(problem, self.store.backend.read(where), self.store.where(where)):
                    return Action(
                        problem,
                        "restored",
                        "An interrupted gc set it aside; it gets its name back.",
                        work=partial(self._restore, where, problem),
                    )
        return None

    def _from_sources(self, problem: Problem) -> Action | None:
        for source in self.sources:
            with suppress(FileNotFoundError):
                data = source.backend.read(problem.path)
                if _is_sound(problem, data, source.where(problem.path)):
                    return Action(
                        problem,
                        "copied",
                        f"The {source} has a sound one; it is copied.",
                        work=partial(self._write, problem.path, data),
                    )
        return None

    def _write(self, path: str, data: bytes) -> None:
        with self.store.backend.hold(path):
            self.store.backend.write(path, data)

    def _tree_again(self, problem: Problem) -> Action | None:
        """A tree is what some branch shows of an asset: one that still shows the same can write it again."""
        if problem.what != "tree":
            return None
        id_ = record_id(problem.path.rpartition("/")[2])
        asset = self.reach.asset_of(id_) if id_ in self.reach.trees else ""
        for branch in sorted(self.reach.branches) if asset else ():
            with suppress(StoreError):
                data = trees.encode(asset, self.store.leaves(branch, asset))
                if bytes_digest(data) == id_:
                    return Action(
                        problem,
                        "rebuilt",
                        f"It is what branch {branch} shows now; it is written again.",
                        work=partial(self._write, problem.path, data),
                    )
        return None

    def _no_copy(self, problem: Problem) -> str:
        if problem.what == "manifest" and problem.stands_on_it:
            return (
                "No other copy has it, and versions stand on it. Give another copy with --from, or move the heads that "
                "show it back with: mlops-assets restore"
            )
        if not self.sources:
            return "Only another copy of the store can mend it; give one with --from."
        return "None of the other copies has a sound one."

    # --- heads ---------------------------------------------------------------------------------------------------

    def _head(self, problem: Problem) -> Action:
        branch, asset, batch = _slot(problem.path)
        if self.store.backend.stat(problem.path) and not _is_damaged(self.store, problem.path):
            return Action(
                problem, "left", "The head can be read; move it to a version that is sound: mlops-assets restore"
            )
        tips = list(self._tips(branch, asset, batch))
        if not tips:
            if action := self._from_sources(problem):
                return action
            return Action(
                problem, "left", "No move of it leads from its first to a sound version: there is nothing to go by."
            )
        if len(tips) > 1:
            names = " and ".join(f"{move.id[:15]} ({move.who}, {move.when})" for move in tips)
            return Action(
                problem,
                "left",
                f"Two moves could be its newest: {names}. Nothing says which of them won; remove the record of the "
                f"other from moves/, and run this again.",
            )
        move = tips[0]
        shows = f"version {move.to_manifest[:15]}" if move.to_manifest else "nothing"
        return Action(
            problem,
            "rebuilt",
            f"It is rebuilt from its {move.seq} moves: the newest, of {move.who} at {move.when}, leads to {shows}.",
            work=partial(self._rebuild, problem.path, move),
        )

    def _tips(self, branch: str, asset: str, batch: str) -> Iterator[Move]:
        """The newest moves that have a whole chain behind them and lead to a sound version."""
        folder = f"moves/{segment(branch)}/{asset_path(asset)}/{segment(batch)}"
        names = self.store.backend.children(folder)[1]
        paths = [f"{folder}/{name}" for name in names]
        moves: dict[str, Move] = {}
        for name, path, data in zip(names, paths, self.store.backend.read_many(paths), strict=True):
            if data is not None and bytes_digest(data) == record_id(name):
                with suppress(StoreError):
                    moves[record_id(name)] = Move.decode(data, self.store.where(path))

        def whole(move: Move) -> bool:
            while move.previous in moves:
                move = moves[move.previous]
            return move.previous is None and move.seq == 1

        sound = [
            move
            for move in moves.values()
            if whole(move) and (not move.to_manifest or self._leads_somewhere(move.to_manifest))
        ]
        newest = max((move.seq for move in sound), default=0)
        yield from (move for move in sound if move.seq == newest)

    def _leads_somewhere(self, manifest: str) -> bool:
        record = self.reach.records.get(manifest)
        return bool(record and record.accepted and record.leaf)

    def _rebuild(self, path: str, move: Move) -> None:
        leaf = NOTHING
        if move.to_manifest:
            leaf = leaf_of(self.store.manifest(move.asset, move.batch, move.to_manifest))
        head = Head(move.asset, move.batch, move.seq, move.id, move.attempt, *leaf)
        try:
            seen: bytes | None = self.store.backend.read(path)
        except FileNotFoundError:
            seen = None
        if not self.store.backend.swap(path, head.encode(), seen):
            raise StoreError(f"The head {self.store.where(path)} has moved meanwhile; look again: mlops-assets verify")

    # --- purges --------------------------------------------------------------------------------------------------

    def _purge(self, problem: Problem) -> Action:
        if problem.what == "purge":
            id_ = text(problem.path.removeprefix("purges/").removesuffix(".json"))
            if id_ in self.reach.purges:
                return Action(problem, "finished", "It is brought to its end.", work=partial(_finish, self.store, id_))
            return self._from_sources(problem) or Action(problem, "left", self._no_copy(problem))
        return Action(problem, "erased", "It is erased again.", work=partial(self.store.backend.delete, problem.path))


def _finish(store: Store, id_: str) -> None:
    resume(store, id_)


def _is_sound(problem: Problem, data: bytes, where: str) -> bool:
    """Whether bytes are what has to stand at a problem's path, as far as that can be told."""
    name = problem.path.rpartition("/")[2]
    decoders: dict[str, Callable[[], object]] = {
        "branch": lambda: _same(Branch.decode(data, where).name, text(name.removesuffix(".json"))),
        "tag": lambda: _same(Tag.decode(data, where).name, text(name.removesuffix(".json"))),
        "change": lambda: Change.decode(data, name.removesuffix(".json"), where),
        "delivery": lambda: _same(f"{Delivery.decode(data, where).seq:010d}.json", name),
        "tombstone": lambda: parse_json(unsealed(data))["purge"],
        "purge": lambda: parse_json(unsealed(data))["replaced"],
    }
    if problem.what in ("manifest", "tree", "move"):
        return bytes_digest(data) == record_id(name)
    if problem.what not in decoders:
        return False
    try:
        decoders[problem.what]()
    except (StoreError, ValueError, KeyError, TypeError):
        return False
    return True


def _same(found: str, expected: str) -> None:
    if found != expected:
        raise ValueError(found)


def _is_damaged(store: Store, path: str) -> bool:
    try:
        Head.decode(store.backend.read(path), path)
    except (StoreError, FileNotFoundError):
        return True
    return False


def _fingerprint(backend: Backend, path: str) -> Written | None:
    try:
        return backend.fingerprint(path)
    except FileNotFoundError:
        return None


def _slot(path: str) -> tuple[str, str, str]:
    _, branch, *asset, batch = path.split("/")
    return text(branch), _joined(asset), text(batch)


def _place(path: str) -> tuple[str, str]:
    """Asset and batch of a file of a value."""
    _, *asset, batch, _ = path.split("/")
    return _joined(asset), text(batch.removeprefix("p="))


def _joined(parts: Iterable[str]) -> str:
    return "/".join(text(part) for part in parts)


def _overlook(what: str, path: str, trouble: UserError) -> None:
    """Damage is known from the report."""
    del what, path, trouble


def _nothing() -> None:
    """A lost file needs no work but the run's."""
