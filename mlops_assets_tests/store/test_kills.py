"""Each verb, killed before every change that it makes to files: before or after, and finished by asking again."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from mlops_assets.errors import UserError
from mlops_assets.store import Store, objects, transfer
from mlops_assets.store.branching import create_branch, remove_branch
from mlops_assets.store.changes import open_changes
from mlops_assets.store.deliveries import Ledger
from mlops_assets.store.garbage import Policy, gc
from mlops_assets.store.merging import merge
from mlops_assets.store.remotes import add_remote
from mlops_assets.store.restoring import restore
from mlops_assets.store.snapshots import delete_tag, tag
from mlops_assets.store.verify import verify
from mlops_assets_tests.store.killing import die_before, in_child, operations
from mlops_assets_tests.store.s3 import ROOT, S3, Fault, Line
from mlops_assets_tests.store.verbs import (
    CLEANED,
    MODEL,
    POLICY,
    RAW,
    VERBS,
    Seen,
    Verb,
    age,
    build,
    commit,
    seen,
    shown,
    stores,
)

HOOKED = [name for name, verb in VERBS.items() if not verb.native]
NATIVE = [name for name, verb in VERBS.items() if verb.native]
MOVES = ("merge", "merge-theirs", "merge-ours", "revert", "restore", "rollback")
"""Verbs whose moves belong together by a recorded intent."""


@dataclass
class Bench:
    """A folder that is made anew before every kill."""

    template: Path
    work: Path

    def reset(self) -> Path:
        """The folder as it was built."""
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.template, self.work)
        return self.work


@pytest.fixture(scope="session")
def bench() -> Iterator[Bench]:
    # a kill loses nothing that reached the kernel, so memory is as good as a disk, and many times faster
    memory = Path("/dev/shm")  # noqa: S108
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        folder = Path(name)
        # remotes are known by absolute paths, so the copies stand where the original was made
        bench = Bench(folder / "template", folder / "work")
        assert in_child(lambda: build(bench.work)) == 0
        bench.work.rename(bench.template)
        yield bench


@pytest.fixture(scope="session")
def kills() -> Iterator[dict[str, int]]:
    """How often each verb was killed; printed when the session ends, and kept where the environment says."""
    counts: dict[str, int] = {}
    yield counts
    print(json.dumps({"kills": counts, "sum": sum(counts.values())}))
    if place := os.environ.get("MLOPS_ASSETS_TEST_COUNTS"):
        with Path(place).open("a") as file:
            file.write(json.dumps({"kills": counts, "sum": sum(counts.values())}) + "\n")


def looked_after(folder: Path, *, purging: bool = False) -> None:
    """Nothing is broken, and no file stands where none belongs; of a purge that was cut off, that is said."""
    for store in stores(folder):
        report = verify(store)
        problems = report.problems
        if purging and any(problem.what == "purge" for problem in problems):
            problems = [problem for problem in problems if problem.what not in {"purge", "erased", "head"}]
        assert not problems, [problem.sentence for problem in problems]
        assert not report.unknown


def files(folder: Path) -> set[str]:
    """The files of the store that gc may take."""
    store = folder / "store"
    return {
        f"{path.relative_to(store)}"
        for top in ("data", "meta", "trees", "trash")
        for path in (store / top).rglob("*")
        if path.is_file()
    }


def started(folder: Path) -> Seen:
    """What branches started from: a branch that is on its way to another store shows that before its heads arrive."""
    return {
        (store.root.name, "head", branch, asset, batch): leaf.version
        for store in stores(folder)
        for branch in store.branches()
        for asset, tree in store.branch(branch).base.items()
        for batch, leaf in store.tree(tree).items()
    }


def between(found: Seen, *states: Seen) -> bool:
    """Whether each thing is as it is in one of some states."""
    keys = {key for state in (found, *states) for key in state}
    return all(found.get(key) in [state.get(key) for state in states] for key in keys)


class Kill:
    """One verb: what was before it, what is after it, and what a kill leaves."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.bench = bench
        self.name = name
        self.verb: Verb = VERBS[name]
        self.before = seen(bench.reset())
        self.run()
        self.after = seen(bench.work)
        self.started = started(bench.work) if name in {"push", "pull", "clone"} else self.after
        self.files = files(bench.work)
        looked_after(bench.work)
        self.again()

    def run(self, *, here: bool = False) -> None:
        """Do it: in this process, or where it leaves no trace but on the disk."""
        if self.verb.native:
            alone(self.bench.work, self.name)
        elif here:
            self.verb.run(self.bench.work)
        else:
            assert in_child(lambda: self.verb.run(self.bench.work)) == 0

    def count(self, *, every: bool = False) -> int:
        """How many changes to files the verb makes."""
        work = self.bench.reset()
        return len(operations(work, lambda: self.verb.run(work), every=every))

    def again(self) -> None:
        """Ask for it once more, as somebody would who saw it die: then it is done."""
        before = seen(self.bench.work)
        try:
            self.run(here=True)
        except UserError:
            assert self.verb.once
            assert before == self.after
        assert seen(self.bench.work) == self.after
        for store in stores(self.bench.work):
            assert not open_changes(store)

    def at(self, number: int, *, every: bool = False, collect: bool = False) -> bool:
        """Kill before one change; False when it was over before. ``collect`` runs a gc before it is done again."""
        work = self.bench.reset()

        def die() -> None:
            die_before(work, number, every=every)
            self.verb.run(work)

        code = in_child(die)
        if code == 0:
            return False
        assert code == -signal.SIGKILL
        self.judge(collect=collect)
        return True

    def judge(self, *, collect: bool) -> None:
        """What must be true after a kill."""
        work = self.bench.work
        found = seen(work)
        looked_after(work, purging=self.name == "purge")
        if self.verb.whole:
            assert found in (self.before, self.after)
        else:
            assert between(found, self.before, self.started, self.after)
        if self.name in MOVES and found not in (self.before, self.after):
            assert [change for store in stores(work) for change in open_changes(store)]
        if collect:
            age(work)
            for store in stores(work):
                gc(store, yes=True, policy=POLICY)
            assert seen(work) == found
            looked_after(work, purging=self.name == "purge")
        self.again()
        looked_after(work)
        if self.name == "gc":
            assert files(work) == self.files


@pytest.mark.parametrize("name", HOOKED)
def test_a_kill_now_and_then_leaves_before_or_after(bench: Bench, kills: dict[str, int], name: str) -> None:
    kill = Kill(bench, name)
    count = kill.count()
    chance = random.Random(name)
    chosen = sorted(chance.sample(range(1, count + 1), min(count, 2)))
    for turn, number in enumerate(chosen, 1):
        assert kill.at(number, collect=turn == 2) or kill.name in {"push", "pull", "fetch", "clone"}
        kills[name] = kills.get(name, 0) + 1


@pytest.mark.slow
@pytest.mark.parametrize("name", HOOKED)
def test_a_kill_before_every_change_leaves_before_or_after(bench: Bench, kills: dict[str, int], name: str) -> None:
    kill = Kill(bench, name)
    number = 1
    while kill.at(number, collect=number % 3 == 0):
        kills[name] = kills.get(name, 0) + 1
        number += 1
    assert number > kill.count() // 2


# --- published tables: written by a library that does not pass through Python ----------------------------------------


def alone(work: Path, verb: str, after: float | None = None) -> float:
    """Run a verb in a process of its own, killed so many seconds after it began, if any; how long it took.

    Delta's library cannot be used in a fork of a process that has used it.
    """
    command = [sys.executable, "-m", "mlops_assets_tests.store.verbs", verb, f"{work}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline()
        start = time.monotonic()
        if after is not None:
            time.sleep(after)
            process.kill()
        code = process.wait()
    assert code == 0 or (after is not None and code == -signal.SIGKILL)
    return time.monotonic() - start


def kill_publications(bench: Bench, kills: dict[str, int], times: int) -> None:
    kill = Kill(bench, "publish")
    bench.reset()
    long = alone(bench.work, "publish")
    chance = random.Random(2)
    for turn in range(times):
        bench.reset()
        alone(bench.work, "publish", chance.random() * long)
        kill.judge(collect=turn % 3 == 0)
        kills["publish"] = kills.get("publish", 0) + 1


def test_a_killed_publication_of_tables_is_finished_by_the_next(bench: Bench, kills: dict[str, int]) -> None:
    kill_publications(bench, kills, 1)


@pytest.mark.slow
def test_publications_of_tables_killed_many_times(bench: Bench, kills: dict[str, int]) -> None:
    kill_publications(bench, kills, 100)


# --- S3: no process dies, but answers get lost ------------------------------------------------------------------------


NOW = Policy(grace=0, keep_last=1, keep_moves=0, keep_refused=0, force=True)


def push_to(store: Store, folder: Path) -> None:
    local = Store.open(folder / "local")
    create_branch(local, "pushed", "main", who="tester")
    for number in (6, 7):
        commit(local, "pushed", MODEL, "1", number)
        commit(local, "pushed", RAW, "2", number)
    add_remote(local, "origin", store.backend.url)
    transfer.push(local, "origin", ["pushed"])


LOSSES: dict[str, Callable[[Store, Path], object]] = {
    "commit": lambda store, _: commit(store, "main", MODEL, "1", 5),
    "merge": lambda store, _: merge(store, "dev", "main", who="tester"),
    "tag": lambda store, _: tag(store, "v1", "shop", "main", who="tester"),
    "delete-tag": lambda store, _: delete_tag(store, "v0", "wrong", who="tester"),
    "branch": lambda store, _: create_branch(store, "new", "main", who="tester"),
    "remove-branch": lambda store, _: remove_branch(store, "dev"),
    "restore": lambda store, _: restore(store, "main", "v0", who="tester"),
    "deliver": lambda store, _: Ledger(store, "shop").record(RAW, "1.csv", b"delivered", place="1", who="tester"),
    "gc": lambda store, _: gc(store, yes=True, policy=NOW),
    "push": push_to,
}


def _prepare(url: str) -> None:
    store = Store.open(url)
    for number in range(3):
        commit(store, "main", MODEL, "1", number)
    commit(store, "main", RAW, "1", 3)
    tag(store, "v0", "shop", "main", who="tester")
    create_branch(store, "dev", "main", who="tester")
    commit(store, "dev", MODEL, "1", 10)
    commit(store, "dev", CLEANED, "2", 11)
    commit(store, "main", RAW, "1", 4)


def _counted(store: Store) -> Seen:
    """What a store shows, and how many moves led there."""
    found: Seen = {(kind, *what): value for kind, what, value in shown(store)}
    for branch in store.branches():
        for asset in store.assets(branch):
            for slot in store.slots(branch, asset):
                found["seq", branch, asset, slot.batch] = slot.seq
    return found


@dataclass
class Lossy:
    """A bucket, the way to it, and a line that loses answers."""

    bucket: str
    line: Line
    direct: str
    environment: pytest.MonkeyPatch
    folder: Path
    count: int = 0

    def place(self) -> str:
        """A prepared store; what follows goes over the line."""
        self.count += 1
        url = f"s3://{self.bucket}/{self.count}"
        self.environment.setenv("AWS_ENDPOINT_URL", self.direct)
        _prepare(url)
        return url

    def do(self, name: str, faults: dict[str, list[Fault]]) -> tuple[Seen, list[str]]:
        """One verb with some answers lost: what the store shows then, and the requests."""
        url = self.place()
        self.environment.setenv("AWS_ENDPOINT_URL", self.line.endpoint)
        store = Store.open(url)
        self.line.seen.clear()
        self.line.faults = faults
        LOSSES[name](store, self.folder / f"{self.count}")
        seen_ = list(self.line.seen)
        assert not any(self.line.faults.values()), "the answer that was to be lost was asked for"
        self.environment.setenv("AWS_ENDPOINT_URL", self.direct)
        store = Store.open(url)
        report = verify(store)
        assert not report.problems, [problem.sentence for problem in report.problems]
        assert not open_changes(store)
        return _counted(store), seen_


@pytest.fixture
def lossy(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lossy]:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLOPS_ASSETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(objects, "PAUSE", timedelta(milliseconds=5))
    # nobody else works in these buckets, so that nobody has to be waited for
    monkeypatch.setattr(objects, "SETTLE", 0.0)
    with Line(s3.port).open() as line:
        yield Lossy(s3.bucket(), line, s3.endpoint, monkeypatch, tmp_path)


def lose(lossy: Lossy, kills: dict[str, int], name: str, fault: Fault, step: int = 1) -> None:
    after, asked = lossy.do(name, {})
    for method in ("PUT", "DELETE"):
        # the last is the head, or another pointer
        for number in range(asked.count(method) - 1, -1, -step):
            faults: list[Fault] = ["" for _ in range(number)]
            found, _ = lossy.do(name, {method: [*faults, fault]})
            assert found == after, (method, number)
            kills[f"s3 {name}"] = kills.get(f"s3 {name}", 0) + 1


def test_a_commit_over_a_line_that_loses_answers_is_made_once(lossy: Lossy, kills: dict[str, int]) -> None:
    lose(lossy, kills, "commit", "drop", 3)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["drop", "503"])
@pytest.mark.parametrize("name", LOSSES)
def test_every_verb_survives_the_loss_of_any_answer(
    lossy: Lossy, kills: dict[str, int], name: str, fault: Fault
) -> None:
    lose(lossy, kills, name, fault)
