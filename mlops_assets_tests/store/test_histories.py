"""Random histories of two stores against a simple model: what is shown is what was published, whatever happens.

Each history is a sequence of commits, removals, branches, merges, reverts, restores, tags, gcs, pushes and pulls, and
of the same verbs killed in the middle. After every step everything that is shown is read back and verified.
"""

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from mlops_assets.errors import ConflictError, NotStoredError, UserError
from mlops_assets.store import Head, Input, Manifest, Store, objects, refs, transfer
from mlops_assets.store.branching import create_branch, remove_branch
from mlops_assets.store.changes import Change, open_changes, resume
from mlops_assets.store.garbage import Policy, gc
from mlops_assets.store.merging import MergePlan, Side, merge, plan_merge
from mlops_assets.store.remotes import add_remote
from mlops_assets.store.restoring import restore
from mlops_assets.store.reverting import revert
from mlops_assets.store.snapshots import checkout, delete_tag, tag
from mlops_assets.store.store import now
from mlops_assets.store.tags import tag_names
from mlops_assets.store.verify import verify
from mlops_assets_tests.store.killing import die_before, in_child
from mlops_assets_tests.store.model import NOTHING, Branch, Model, Node, Place, Value, guesses, sources, verdicts
from mlops_assets_tests.store.s3 import S3
from mlops_assets_tests.store.verbs import age

RAW, CLEANED, NOTES = "d/raw", "d/cleaned", "e/notes"
PLACES = [(asset, batch) for asset in (RAW, CLEANED, NOTES) for batch in ("1", "a/b")]
DATASET = {asset: asset.partition("/")[0] for asset in (RAW, CLEANED, NOTES)}
BRANCHES = ("b1", "b2", "b/3")
TAGS = ("t1", "t2", "t/3")
WHEN = "2026-01-01T00:00:00+00:00"

places = st.sampled_from(PLACES)
numbers = st.integers(0, 2)
codes = st.sampled_from(["c1", "c2"])
PHASES = (Phase.generate, Phase.shrink) if "NOSHRINK" not in os.environ else (Phase.generate,)
"""Making a failure small takes minutes; ``NOSHRINK`` in the environment shows it as it was found."""
picks = st.integers(0, 7)
"""Chooses among what there is at that moment, whatever that is."""
kills = st.one_of(st.none(), st.integers(1, 90))
"""None: nobody dies."""


@dataclass
class Counts:
    """How much was done."""

    histories: int = 0
    steps: int = 0
    verbs: dict[str, int] = field(default_factory=dict)
    crashes: int = 0
    resumed: int = 0
    conflicts: int = 0
    collected: int = 0
    refused: int = 0


@pytest.fixture
def told(request: pytest.FixtureRequest) -> Iterator[Counts]:
    """How much a test did; printed (see ``pytest -rP``), and kept where the environment says."""
    Machine.counts = Counts()
    yield Machine.counts
    record = {"test": request.node.name, **vars(Machine.counts)}
    print(json.dumps(record))
    if place := os.environ.get("MLOPS_ASSETS_TEST_COUNTS"):
        with Path(place).open("a") as file:
            file.write(json.dumps(record) + "\n")


@dataclass
class Action:
    """One verb: ``run`` does it to the real stores, ``apply`` to the models; ``done`` gets the change it makes, if any.

    ``places`` are the values that it needs, which gc may have taken if nothing shows them.
    """

    verb: str
    run: Callable[["Machine"], Any]
    apply: Callable[["Pair"], object]
    branch: str = ""
    needs: Mapping[Place, Value] = field(default_factory=dict)


@dataclass
class Pair:
    """The models of both stores."""

    here: Model = field(default_factory=Model)
    there: Model = field(default_factory=Model)

    def copy(self) -> "Pair":
        return Pair(self.here.copy(), self.there.copy())

    @property
    def shown(self) -> dict[str, Any]:
        return {"here": self.here.shown, "there": self.there.shown}


def manifest_of(store: Store, place: Place, value: Value) -> Manifest:
    """Record a value at a place; equal values give the same record."""
    asset, batch = place
    inputs: tuple[Input, ...] = ()
    code = value.code
    if value.source:
        source = manifest_of(store, (RAW, batch), value.source)
        inputs = (Input(RAW, batch, source.version, source.id),)
        code += f"-{value.source.code}"
    kind, content = content_of(place, value)
    note = store.put_bytes(asset, batch, f"{place} {value}".encode())
    stored = store.put(asset, batch, kind, content)
    manifest = Manifest(
        asset, batch, kind, stored.version, stored.blob, stored.rows, stored.schema, stored.columns, inputs=inputs,
        code_version=code, recipe=code, who="tester", when=WHEN, accepted=True, attachments={"note": note},
    )  # fmt: skip
    store.record(manifest)
    return manifest


def content_of(place: Place, value: Value) -> tuple[Any, Any]:
    """Kind and content; of what was made from another, by what that was."""
    number = value.number + 10 * (value.source.number + 1 if value.source else 0)
    if place[0] == NOTES:
        return "json", {"number": number}
    return "table", pa.table({"number": [number]})


class Machine(RuleBasedStateMachine):
    """Two stores, the second the remote of the first, and their models."""

    counts: ClassVar[Counts] = Counts()
    crashes: ClassVar[bool] = True
    deep: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        Machine.counts.histories += 1
        self.make_places()
        self.store = Store.open(self.urls[0])
        self.remote = Store.open(self.urls[1])
        add_remote(self.store, "origin", self.urls[1])
        self.pair = Pair()
        self.moments: list[tuple[str, str, dict[Place, Node]]] = []
        self.graveyard = False
        self.forgotten = False
        self.made: list[tuple[str, str, dict[Place, Node]]] = []

    def make_places(self) -> None:
        memory = Path("/dev/shm")  # noqa: S108
        self.folder = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))
        self.urls = (str(self.folder / "here"), str(self.folder / "there"))

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    # --- doing -------------------------------------------------------------------------------------------------------

    def branch_at(self, pick: int) -> str:
        names = sorted(self.pair.here.branches)
        return names[pick % len(names)]

    def reopen(self) -> None:
        """As another process would see it."""
        self.store, self.remote = (Store.open(url, create=False) for url in self.urls)

    def do(self, action: Action, kill: int | None = None) -> Any:
        """Do it, or be killed in the middle of it and do it again."""
        counts = Machine.counts
        counts.steps += 1
        counts.verbs[action.verb] = counts.verbs.get(action.verb, 0) + 1
        tick()
        if kill is None or not self.crashes:
            result = self.attempt(action)
            self.check()
            return result
        after = self.pair.copy()
        code = in_child(lambda: self.die(action, kill))
        self.reopen()
        if code == 0:
            action.apply(self.pair)
            self.check()
            return None
        assert code == -signal.SIGKILL
        counts.crashes += 1
        action.apply(after)
        found = self.look()
        assert not self.problems(), self.problems()
        open_ = self.finish(action.branch)
        # what nobody sees, such as a merge that keeps what was there, may not have been recorded yet: it is done again
        if open_ or found == after.shown != self.pair.shown:
            assert between(found, self.pair.shown, after.shown)
            self.pair = after
            self.check()
            return None
        partly = found != self.pair.shown
        if partly:
            # each head that is sent moves by itself; whoever sends again goes on there
            assert action.verb in {"push", "pull"}
            assert between(found, self.pair.shown, after.shown, started(after))
        self.check(partly=partly)
        self.attempt(action)
        self.check()
        return None

    def die(self, action: Action, kill: int) -> None:
        try:
            die_before(self.folder, kill)
            action.run(self)
        except UserError:
            if not self.graveyard:
                raise
            os.kill(os.getpid(), signal.SIGKILL)

    def finish(self, branch: str) -> bool:
        found = open_changes(self.store, branch) if branch else []
        for change in found:
            assert resume(self.store, change.id).finished
            Machine.counts.resumed += 1
        return bool(found)

    def attempt(self, action: Action) -> Any:
        lost = {*sources(action.needs)} - self.pair.here.kept
        try:
            result = action.run(self)
        except UserError:
            # gc was allowed to take what nothing shows any more
            assert self.graveyard
            assert lost
            Machine.counts.refused += 1
            return None
        action.apply(self.pair)
        return result

    def refused(self, run: Callable[[], object], error: type[UserError] = UserError) -> None:
        """It is refused, with a sentence, and nothing has changed."""
        Machine.counts.refused += 1
        with pytest.raises(error):
            run()
        self.check()

    # --- looking -----------------------------------------------------------------------------------------------------

    def look(self) -> dict[str, Any]:
        return {"here": shown_by(self.store), "there": shown_by(self.remote)}

    def problems(self) -> list[str]:
        return [problem.sentence for store in (self.store, self.remote) for problem in verify(store).problems]

    def check(self, *, partly: bool = False) -> None:
        """Everything is as the model says, and sound; ``partly``: a push or pull was cut off."""
        found = self.look()
        if not partly:
            assert found == self.pair.shown
        for store in (self.store, self.remote):
            report = verify(store)
            assert not report.problems, [problem.sentence for problem in report.problems]
            assert not report.unknown
        for store in (self.store, self.remote):
            for name in {"nowhere", *BRANCHES} - set(store.branches()):
                with pytest.raises(NotStoredError):
                    store.head(name, *PLACES[0])
                with pytest.raises(NotStoredError):
                    store.heads(name, RAW)

    # --- rules -------------------------------------------------------------------------------------------------------

    @initialize(chosen=st.lists(places, min_size=1, max_size=8), pushed=st.booleans())
    def begin(self, chosen: list[Place], pushed: bool) -> None:
        for number, place in enumerate(chosen):
            self.commit(place, number % 3, "c1", 0, False, None)
        if pushed:
            self.push(0, None)
        for name in BRANCHES[: len(chosen) % 3]:
            self.start(name, 0, None)
            self.commit(chosen[0], 2, "c2", 1, False, None)

    @rule(place=places, number=numbers, code=codes, branch=picks, there=st.booleans(), kill=kills)
    def commit(  # noqa: PLR0917 - rules are called by name
        self, place: Place, number: int, code: str, branch: int, there: bool, kill: int | None
    ) -> None:
        model = self.pair.there if there else self.pair.here
        name = sorted(model.branches)[branch % len(model.branches)]
        node = model.branches[name].node((RAW, place[1]))
        value = Value(number, code, node.value if place[0] == CLEANED else None)

        def run(machine: Machine) -> None:
            store = machine.remote if there else machine.store
            manifest = manifest_of(store, place, value)
            head = store.publish(name, manifest, store.head(name, *place))
            assert head.manifest == manifest.id

        def apply(pair: Pair) -> None:
            branch_ = (pair.there if there else pair.here).branches[name]
            if branch_.node(place).value != value:
                branch_.move(place, value)

        self.do(Action("commit", run, apply), kill)

    @rule(place=places, branch=picks)
    def take_away(self, place: Place, branch: int) -> None:
        name = self.branch_at(branch)

        def run(machine: Machine) -> None:
            store = machine.store
            store.move(name, *place, None, store.head(name, *place))

        def apply(pair: Pair) -> None:
            if pair.here.branches[name].node(place).value:
                pair.here.branches[name].move(place, None)

        self.do(Action("take away", run, apply))

    @rule(name=st.sampled_from(BRANCHES), source=picks, kill=kills)
    def start(self, name: str, source: int, kill: int | None) -> None:
        origin = self.branch_at(source)
        if name in self.pair.here.branches:
            self.refused(lambda: create_branch(self.store, name, origin))
            return

        def apply(pair: Pair) -> None:
            pair.here.start(name, pair.here.frozen(origin))

        self.do(Action("branch", lambda machine: create_branch(machine.store, name, f"branch:{origin}"), apply), kill)

    @rule(name=st.sampled_from(BRANCHES), source=picks, kill=kills)
    @precondition(lambda self: self.pair.here.tags)
    def check_out(self, name: str, source: int, kill: int | None) -> None:
        names = sorted(self.pair.here.tags)
        of = names[source % len(names)]
        if name in self.pair.here.branches:
            self.refused(lambda: checkout(self.store, of, name))
            return

        def apply(pair: Pair) -> None:
            pair.here.start(name, pair.here.marks[of])

        self.do(Action("checkout", lambda machine: checkout(machine.store, of, name), apply), kill)

    @rule(name=st.sampled_from(BRANCHES), pick=picks, kill=kills)
    @precondition(lambda self: self.moments)
    def start_then(self, name: str, pick: int, kill: int | None) -> None:
        of, moment, nodes = self.moments[pick % len(self.moments)]
        if name in self.pair.here.branches:
            self.refused(lambda: create_branch(self.store, name, f"{of}@{moment}"))
            return

        def apply(pair: Pair) -> None:
            pair.here.start(name, nodes)

        def run(machine: Machine) -> object:
            return create_branch(machine.store, name, f"{of}@{moment}")

        self.do(Action("branch", run, apply, needs=Branch(nodes).shown), kill)

    @rule(name=st.sampled_from(BRANCHES), kill=kills)
    def remove(self, name: str, kill: int | None) -> None:
        if name not in self.pair.here.branches:
            self.refused(lambda: remove_branch(self.store, name), NotStoredError)
            return

        def apply(pair: Pair) -> None:
            del pair.here.branches[name]

        self.moments = [moment for moment in self.moments if moment[0] != name]
        self.made = [change for change in self.made if change[0] != name]
        self.forgotten = True
        self.do(Action("remove", lambda machine: remove_branch(machine.store, name), apply), kill)

    @rule(source=picks, into=picks, prefer=st.sampled_from([None, "ours", "theirs"]), kill=kills)
    def merge(self, source: int, into: int, prefer: Side | None, kill: int | None) -> None:
        theirs, ours = self.branch_at(source), self.branch_at(into)
        if theirs == ours:
            return
        self.merge_from(f"branch:{theirs}", self.pair.here.branches[theirs], ours, prefer, kill)

    def merge_from(self, ref: str, source: Branch, into: str, prefer: Side | None, kill: int | None) -> None:
        plan = plan_merge(self.store, ref, into)
        judge(plan, source, self.pair.here.branches[into], forgotten=self.forgotten)
        if ref == f"remote:origin/{into}":
            assert {(item.asset, item.batch) for item in plan.joined} == parted(
                plan, source, self.pair.here.branches[into]
            )
        else:
            assert not plan.joined
        if plan.conflicts and prefer is None:
            Machine.counts.conflicts += 1
            self.refused(lambda: merge(self.store, ref, into), ConflictError)
            return
        moved: dict[Place, Node] = {}

        def apply(pair: Pair) -> None:
            moved.clear()
            target = pair.here.branches[into]
            for item in plan.fast_forwards:
                place = (item.asset, item.batch)
                moved[place] = target.move(place, source.node(place).value, source.node(place))
            for item in plan.conflicts:
                place = (item.asset, item.batch)
                value = (source if prefer == "theirs" else target).node(place).value
                moved[place] = target.move(place, value, source.node(place))
            for item in plan.joined:
                place = (item.asset, item.batch)
                moved[place] = target.move(place, target.node(place).value, source.node(place))

        needs = source.shown
        result = self.do(
            Action("merge", lambda machine: merge(machine.store, ref, into, prefer), apply, into, needs), kill
        )
        if result and result.change:
            assert not result.change.skipped
            self.made.append((into, result.change.id, dict(moved)))

    @rule(pick=picks, kill=kills)
    @precondition(lambda self: self.made)
    def revert_change(self, pick: int, kill: int | None) -> None:
        branch, id_, moved = self.made[pick % len(self.made)]
        here = self.pair.here.branches[branch]
        back = {place: node for place, node in moved.items() if node.before != node.value}
        if any(here.node(place) is not node for place, node in moved.items()) or not back:
            self.refused(lambda: revert(self.store, branch, id_))
            return

        def apply(pair: Pair) -> None:
            for place, node in back.items():
                pair.here.branches[branch].move(place, node.before)

        needs = {place: node.before for place, node in back.items() if node.before}
        self.do(Action("revert", lambda machine: revert(machine.store, branch, id_), apply, branch, needs), kill)

    @rule(place=places, branch=picks, kill=kills)
    def revert_head(self, place: Place, branch: int, kill: int | None) -> None:
        name = self.branch_at(branch)
        node = self.pair.here.branches[name].own.get(place)
        if node is None or node.before == node.value:
            self.refused(lambda: revert(self.store, name, place), NotStoredError)
            return
        before = node.before

        def apply(pair: Pair) -> None:
            pair.here.branches[name].move(place, before)

        needs = {place: before} if before else {}
        self.do(Action("revert", lambda machine: revert(machine.store, name, place), apply, name, needs), kill)

    @rule(branch=picks)
    def remember(self, branch: int) -> None:
        name = self.branch_at(branch)
        tick()
        self.moments.append((name, now(), self.pair.here.frozen(name)))

    @rule(branch=picks, pick=picks, kill=kills)
    @precondition(lambda self: self.moments)
    def restore_to_moment(self, branch: int, pick: int, kill: int | None) -> None:
        of, moment, nodes = self.moments[pick % len(self.moments)]
        self.restore_to(self.branch_at(branch), f"{of}@{moment}", Branch(nodes).shown, kill)

    @rule(branch=picks, pick=picks, kill=kills)
    @precondition(lambda self: self.pair.here.tags)
    def restore_to_tag(self, branch: int, pick: int, kill: int | None) -> None:
        names = sorted(self.pair.here.tags)
        name = names[pick % len(names)]
        self.restore_to(self.branch_at(branch), f"tag:{name}", self.pair.here.tags[name], kill)

    def restore_to(self, branch: str, ref: str, shown: Mapping[Place, Value], kill: int | None) -> None:
        if not shown:
            self.refused(lambda: restore(self.store, branch, ref), NotStoredError)
            return
        datasets = {DATASET[asset] for asset, _ in shown}

        def apply(pair: Pair) -> None:
            here = pair.here.branches[branch]
            for place in PLACES:
                if DATASET[place[0]] in datasets and here.node(place).value != shown.get(place):
                    here.move(place, shown.get(place))

        def run(machine: Machine) -> Change:
            return restore(machine.store, branch, ref)

        self.do(Action("restore", run, apply, branch, shown), kill)

    @rule(name=st.sampled_from(TAGS), branch=picks, kill=kills)
    def tag(self, name: str, branch: int, kill: int | None) -> None:
        of = self.branch_at(branch)
        model = self.pair.here
        frozen = {place: node for place, node in model.frozen(of).items() if DATASET[place[0]] == "d"}
        shown = {place: node.value for place, node in frozen.items() if node.value}
        there = model.tags.get(name, model.buried.get(name))
        if not shown or there not in (None, shown):
            self.refused(lambda: tag(self.store, name, "d", of))
            return

        def apply(pair: Pair) -> None:
            pair.here.tags[name] = shown
            pair.here.marks.setdefault(name, frozen)

        self.do(Action("tag", lambda machine: tag(machine.store, name, "d", of), apply), kill)

    @rule(pick=picks, kill=kills)
    @precondition(lambda self: self.pair.here.tags)
    def untag(self, pick: int, kill: int | None) -> None:
        names = sorted(self.pair.here.tags)
        name = names[pick % len(names)]

        def apply(pair: Pair) -> None:
            pair.here.buried[name] = pair.here.tags.pop(name)
            del pair.here.marks[name]

        self.do(Action("delete tag", lambda machine: delete_tag(machine.store, name, "wrong"), apply), kill)

    @rule(young=st.booleans(), there=st.booleans(), kill=kills)
    def gc(self, young: bool, there: bool, kill: int | None) -> None:
        policy = Policy(grace=0 if young else 7200, keep_last=1, keep_moves=0, keep_refused=0, force=True)

        def run(machine: Machine) -> int:
            if not young:
                machine.grow_old()
            return gc(machine.remote if there else machine.store, yes=True, policy=policy).files

        self.graveyard = True
        taken = self.do(Action("gc", run, lambda _: None), kill)
        Machine.counts.collected += taken or 0

    def grow_old(self) -> None:
        age(self.folder)

    @rule(branch=picks, kill=kills)
    def push(self, branch: int, kill: int | None) -> None:
        name = self.branch_at(branch)
        here, there = self.pair.here.branches[name], self.pair.there.branches.get(name)
        if not may_go(here, there):
            self.refused(lambda: transfer.push(self.store, "origin", [name]), ConflictError)
            return
        self.do(
            Action(
                "push",
                lambda machine: transfer.push(machine.store, "origin", [name]),
                lambda pair: forward(pair.here, pair.there, name),
            ),
            kill,
        )

    @rule(branch=picks, kill=kills)
    def pull(self, branch: int, kill: int | None) -> None:
        names = sorted(self.pair.there.branches)
        name = names[branch % len(names)]
        if not may_go(self.pair.there.branches[name], self.pair.here.branches.get(name)):
            self.refused(lambda: transfer.pull(self.store, "origin", [name]), ConflictError)
            return
        # a moment is looked up by the times in the moves' records: what arrives was made earlier, elsewhere
        self.moments = [moment for moment in self.moments if moment[0] != name]
        self.do(
            Action(
                "pull",
                lambda machine: transfer.pull(machine.store, "origin", [name]),
                lambda pair: forward(pair.there, pair.here, name),
            ),
            kill,
        )

    @rule(branch=picks, into=picks, prefer=st.sampled_from([None, "ours", "theirs"]), kill=kills)
    def merge_remote(self, branch: int, into: int, prefer: Side | None, kill: int | None) -> None:
        names = sorted(self.pair.there.branches)
        name = names[branch % len(names)]
        self.do(Action("fetch", lambda machine: transfer.fetch(machine.store, "origin", [name]), lambda _: None))
        source = self.pair.there.branches[name]
        self.merge_from(f"remote:origin/{name}", source, self.branch_at(into), prefer, kill)


def tick() -> None:
    """Let the clock of the records go on, so that times tell what came first."""
    start = now()
    while now() == start:
        time.sleep(0.0002)


def shown_by(store: Store) -> dict[tuple[str, str], dict[Place, Value]]:
    """What a store shows, every value read back and verified, every chain of moves walked."""
    found: dict[tuple[str, str], dict[Place, Value]] = {}
    known: dict[str, Value] = {}
    for name in store.branches():
        shown = found["branch", name] = {}
        for asset in store.assets(name):
            for batch, head in store.heads(name, asset).items():
                shown[asset, batch] = read(store, store.manifest(asset, batch, head.manifest), known)
            for slot in store.slots(name, asset):
                walk(store, name, slot)
    for name in tag_names(store):
        view = refs.view(store, f"tag:{name}")
        found["tag", name] = {
            (asset, batch): read(store, view.manifest(asset, batch), known)
            for asset in view.assets()
            for batch in view.leaves(asset)
        }
    return found


def walk(store: Store, branch: str, slot: Head) -> None:
    """The chain of a head: every number once, each move from where the one before led."""
    trail = store.moves(branch, slot.asset, slot.batch)
    assert [move.seq for move in trail] == list(range(slot.seq, 0, -1))
    assert trail[0].to_manifest == slot.manifest
    for newer, older in pairwise(trail):
        assert newer.previous == older.id
        assert (newer.from_manifest or "") == older.to_manifest


def read(store: Store, manifest: Manifest, known: dict[str, Value]) -> Value:
    """The value of a manifest, as the model knows it; also what it was made from can be read."""
    if manifest.id in known:
        return known[manifest.id]
    place = (manifest.asset, manifest.batch)
    source = None
    for item in manifest.inputs:
        assert item.manifest
        source = read(store, store.manifest(item.asset, item.partition, item.manifest), known)
    content = store.get(manifest, verify=True)
    number = content["number"] if place[0] == NOTES else content["number"].to_pylist()[0]
    value = Value(number % 10, manifest.code_version.partition("-")[0], source)
    if manifest.kind == "json":
        assert content_of(place, value)[1] == content
    else:
        assert content_of(place, value)[1].equals(content)
    note = store.bytes(manifest.attachments["note"]).decode()
    assert note == f"{place} {value}"
    known[manifest.id] = value
    return value


def known_as(branch: Branch, place: Place) -> set[Node]:
    """What may be known of a place: a start says what was shown, and only the branch before it what was taken away."""
    node = branch.node(place)
    return {node, NOTHING} if node.value is None and place not in branch.own else {node}


def judge(plan: MergePlan, source: Branch, target: Branch, *, forgotten: bool) -> None:
    """A merge's plan says of each place what may be said of it.

    Where histories met may be ``forgotten`` with a branch that was removed: then a side that has shown what the other
    shows may have the last word, and everything else is a conflict for a person.
    """
    said = {(item.asset, item.batch): "fast" for item in plan.fast_forwards}
    said |= {(item.asset, item.batch): "conflict" for item in plan.conflicts}
    for place in PLACES:
        allowed = {
            verdict
            for ours in known_as(target, place)
            for theirs in known_as(source, place)
            for verdict in verdicts(ours, theirs)
        }
        if forgotten and allowed != {"same"}:
            allowed |= guesses(target.node(place), source.node(place))
        if place in said:
            assert said[place] in allowed, (place, said[place], allowed)
        else:
            assert allowed & {"same", "kept"}, (place, allowed)


def parted(plan: MergePlan, source: Branch, target: Branch) -> set[Place]:
    """Where a merge changes nothing and has to say that it was made: neither side's own moves know of the other's."""
    moving = {(item.asset, item.batch) for item in (*plan.fast_forwards, *plan.conflicts)}
    return {
        place
        for place in {*source.own} & {*target.own}
        if source.own[place] not in target.own[place].ancestors and target.own[place] not in source.own[place].ancestors
    } - moving


def may_go(source: Branch, target: Branch | None) -> bool:
    """Whether a branch may be sent: it started from the same, and no head parted."""
    if target is None:
        return True
    bases = [{place: node.value for place, node in side.base.items() if node.value} for side in (source, target)]
    if bases[0] != bases[1]:
        return False
    return all(
        node in target.own[place].ancestors or target.own[place] in node.ancestors
        for place, node in source.own.items()
        if place in target.own
    )


def forward(source: Model, target: Model, name: str) -> None:
    """Send a branch."""
    sent = source.branches[name]
    to = target.branches.setdefault(name, Branch(dict(sent.base)))
    for place, node in sent.own.items():
        if to.own.get(place, NOTHING) in node.ancestors or place not in to.own:
            to.own[place] = node


def started(pair: Pair) -> dict[str, Any]:
    """What branches show that are on their way to another store, before their heads arrive there."""
    return {
        name: {
            ("branch", branch): {place: node.value for place, node in found.base.items() if node.value}
            for branch, found in model.branches.items()
        }
        for name, model in (("here", pair.here), ("there", pair.there))
    }


def between(found: Mapping[str, Any], *by: Mapping[str, Any]) -> bool:
    """Whether each place is as in one of some states, and nothing else is there."""
    for store in ("here", "there"):
        for view in {view for state in (found, *by) for view in state[store]}:
            states = [state[store].get(view) for state in by]
            is_ = found[store].get(view)
            if is_ in states:
                continue
            if is_ is None:
                return False
            shown = [state or {} for state in states]
            if not all(is_.get(place) in [state.get(place) for state in shown] for place in PLACES):
                return False
    return True


class MemoryMachine(Machine):
    """In an object store, where nothing can be killed but everything else is the same."""

    crashes = False

    def make_places(self) -> None:
        name = os.urandom(6).hex()
        self.urls = (f"memory://{name}-here", f"memory://{name}-there")

    def teardown(self) -> None:
        pass

    def reopen(self) -> None:
        raise AssertionError

    def grow_old(self) -> None:
        pass


class S3Machine(MemoryMachine):
    """In a bucket."""

    bucket: ClassVar[str] = ""

    def make_places(self) -> None:
        name = os.urandom(6).hex()
        self.urls = (f"s3://{self.bucket}/{name}/here", f"s3://{self.bucket}/{name}/there")


def run(machine: type[Machine], examples: int, steps: int, *, derandomize: bool) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=derandomize,
            suppress_health_check=list(HealthCheck),
            phases=PHASES,
        ),
    )


def test_histories_on_a_disk(told: Counts) -> None:
    run(Machine, 12, 25, derandomize=True)
    assert told.steps > 60


def test_histories_in_an_object_store(told: Counts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_ASSETS_CACHE", str(tmp_path / "cache"))
    run(MemoryMachine, 8, 25, derandomize=True)
    assert told.steps > 60


@pytest.mark.slow
def test_many_histories_on_a_disk(told: Counts) -> None:
    run(Machine, 400, 40, derandomize=False)
    assert told.crashes > 100


@pytest.mark.slow
def test_many_histories_in_an_object_store(told: Counts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_ASSETS_CACHE", str(tmp_path / "cache"))
    run(MemoryMachine, 300, 40, derandomize=False)
    assert told.steps > 1000


@pytest.mark.slow
def test_histories_in_a_bucket(told: Counts, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLOPS_ASSETS_CACHE", str(tmp_path / "cache"))
    # nobody else works in this bucket, so that nobody has to be waited for
    monkeypatch.setattr(objects, "SETTLE", 0.0)
    S3Machine.bucket = s3.bucket()
    run(S3Machine, 6, 20, derandomize=False)
    assert told.steps > 60
