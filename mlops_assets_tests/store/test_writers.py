"""Many processes on one head, killed at random: each publish wins or is told so; what was acknowledged is there."""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from mlops_assets.errors import ConflictError, UserError
from mlops_assets.store import Manifest, Store
from mlops_assets.store.branching import create_branch
from mlops_assets.store.changes import open_changes, resume
from mlops_assets.store.garbage import Policy, gc
from mlops_assets.store.merging import merge
from mlops_assets.store.verify import verify
from mlops_assets_tests.store.s3 import ROOT, S3

ASSET, BATCH = "shop/orders", "2013-01"
WRITERS = 8
NOW = Policy(grace=0, keep_last=0, keep_moves=0, keep_refused=0, force=True)
"""Takes every value that nothing shows at this moment."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A place in memory: more publishes a second, and a kill loses nothing that reached the kernel."""
    memory = Path("/dev/shm")  # noqa: S108
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        yield Path(name)


def write_down(log: int, record: dict[str, object]) -> None:
    """Acknowledge: one line, whole or not at all."""
    os.write(log, json.dumps(record).encode() + b"\n")


def read_all(logs: Sequence[Path]) -> list[dict[str, str]]:
    return [json.loads(line) for log in logs if log.exists() for line in log.read_text().splitlines()]


def publish_without_end(place: str, number: int, log: int, batch: str, rest: float = 0.0) -> None:
    """Make values of one's own, the same few again and again, and publish each; up to ``rest`` seconds lie between."""
    store = Store.open(place)
    turn = 0
    while True:
        turn += 1
        if rest:
            time.sleep(random.random() * rest)
        value = {"writer": number, "turn": turn % 3}
        before = store.head("main", ASSET, batch)
        try:
            stored = store.put(ASSET, batch, "json", value)
            manifest = Manifest(ASSET, batch, "json", stored.version, stored.blob, accepted=True, recipe=f"{number}")
            store.record(manifest)
            head = store.publish("main", manifest, before, who=f"{number}")
        except ConflictError:
            write_down(log, {"lost": batch})
        except UserError as trouble:
            # gc took the value between putting and publishing, as a forced one may: then it is refused, never shown
            write_down(log, {"refused": f"{trouble}"})
        else:
            moved = before is None or head.attempt != before.attempt
            write_down(log, {"won" if moved else "kept": head.attempt, "seq": f"{head.seq}"})


def merge_without_end(place: str, number: int, log: int, _: str) -> None:
    """Publish the batch on a branch of one's own, and merge it."""
    store = Store.open(place)
    turn = 0
    while True:
        turn += 1
        branch = f"side-{number}-{turn % 2}"
        try:
            store.forget_branches()
            if branch not in store.branches():
                create_branch(store, branch, "main")
            store.commit(branch, ASSET, BATCH, "json", {"merger": number, "turn": turn % 5})
            done = merge(store, branch, "main", "theirs", who=f"merger {number}")
        except UserError as trouble:
            write_down(log, {"refused": f"{trouble}"})
            # finish what others left, who may be at it themselves
            for change in open_changes(store, "main"):
                resume(store, change.id)
            continue
        if done.change:
            write_down(log, {"late" if done.change.skipped else "merged": done.change.id})


def collect_without_end(place: str, number: int, log: int, _: str) -> None:
    """Throw away what nothing shows."""
    del number
    store = Store.open(place)
    while True:
        try:
            write_down(log, {"took": f"{gc(store, yes=True, policy=NOW).files}"})
        except UserError as trouble:
            write_down(log, {"refused": f"{trouble}"})


Work = Callable[[str, int, int, str], None]


class Crowd:
    """Processes that work without end, of which one after the other is killed and started again."""

    def __init__(self, place: str, folder: Path, works: Sequence[tuple[Work, str]]) -> None:
        self.place = place
        self.works = works
        self.logs = [folder / f"log-{number}" for number in range(len(works))]
        self.processes: list[int] = []
        self.killed = 0

    def start(self, number: int) -> int:
        work, batch = self.works[number]
        log = os.open(self.logs[number], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        child = os.fork()
        if not child:
            try:
                work(self.place, number, log, batch)
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
                raise
            finally:
                os._exit(1)
        os.close(log)
        return child

    def run(self, seconds: float, *, pause: float = 0.05) -> None:
        """Let them work for so long, killing one every ``pause`` seconds or sooner."""
        chance = random.Random(0)
        try:
            self.processes.extend(self.start(number) for number in range(len(self.works)))
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                time.sleep(chance.random() * pause)
                victim = chance.randrange(len(self.works))
                os.kill(self.processes[victim], signal.SIGKILL)
                status = os.waitpid(self.processes[victim], 0)[1]
                self.processes[victim] = self.start(victim)
                self.killed += 1
                assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, "none ended by itself"
        finally:
            for process in self.processes:
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)

    @property
    def said(self) -> list[dict[str, str]]:
        return read_all(self.logs)


def sound(place: str | Path) -> Store:
    """The store, looked at as a whole."""
    store = Store.open(place)
    report = verify(store)
    assert not report.problems, [problem.sentence for problem in report.problems]
    return store


def chain_of(store: Store, batch: str = BATCH) -> list[str]:
    """The attempts of a head's moves, oldest first; each follows the one before."""
    trail = store.moves("main", ASSET, batch)[::-1]
    assert [move.seq for move in trail] == list(range(1, len(trail) + 1))
    for older, newer in pairwise(trail):
        assert (newer.previous, newer.from_manifest or "") == (older.id, older.to_manifest)
    attempts = [move.attempt for move in trail]
    assert len(set(attempts)) == len(attempts)
    return attempts


def judge(store: Store, said: Sequence[dict[str, str]], batch: str = BATCH) -> dict[str, int]:
    """Nothing acknowledged is lost or double; how many won, lost, kept what was there, and were refused."""
    attempts = chain_of(store, batch)
    won = [item["won"] for item in said if "won" in item]
    kept = [item["kept"] for item in said if "kept" in item]
    assert len(set(won)) == len(won)
    assert set(won) <= set(attempts)
    assert set(kept) <= set(attempts)
    assert all(attempts[int(item["seq"]) - 1] == item.get("won", item.get("kept")) for item in said if "seq" in item)
    head = store.head("main", ASSET, batch)
    if head:
        store.get(store.manifest(ASSET, batch, head.manifest), verify=True)
    return {
        "moves": len(attempts), "won": len(won), "kept": len(kept),
        "lost": sum("lost" in item for item in said), "refused": sum("refused" in item for item in said),
    }  # fmt: skip


def tell(record: dict[str, object]) -> None:
    print(json.dumps(record))
    if place := os.environ.get("MLOPS_ASSETS_TEST_COUNTS"):
        with Path(place).open("a") as file:
            file.write(json.dumps(record) + "\n")


def one_head(folder: Path, seconds: float) -> dict[str, int]:
    place = f"{folder / 'store'}"
    Store.open(place)
    crowd = Crowd(place, folder, [(publish_without_end, BATCH)] * WRITERS)
    crowd.run(seconds)
    found = judge(sound(place), crowd.said)
    assert not found["refused"]
    tell({"test": "one head", "killed": crowd.killed, **found})
    return found


def crowded(folder: Path, seconds: float) -> None:
    """Writers, mergers and a gc that takes all it may, on one head."""
    place = f"{folder / 'store'}"
    Store.open(place).commit("main", ASSET, BATCH, "json", {"first": 0})
    # on a head that never rests, whether a merge ever wins is chance
    writer: Work = partial(publish_without_end, rest=0.05)
    works = [(writer, BATCH)] * 2 + [(merge_without_end, BATCH)] * 4 + [(collect_without_end, BATCH)] * 2
    crowd = Crowd(place, folder, works)
    crowd.run(seconds, pause=0.4)
    store = Store.open(place)
    # what a killed gc left is brought to its end
    gc(store, yes=True, policy=NOW)
    store = sound(place)
    said = crowd.said
    found = judge(store, said)
    merged = {item["merged"] for item in said if "merged" in item}
    assert merged <= {move.origin.get("change") for move in store.moves("main", ASSET, BATCH)}
    taken = sum(int(item["took"]) for item in said if "took" in item)
    late = sum("late" in item for item in said)
    record = {"killed": crowd.killed, "merged": len(merged), "late": late, "taken": taken}
    tell({"test": "writers, mergers and gc", **record, **found})
    assert found["won"]
    assert merged or seconds < 60


def test_eight_writers_of_one_head(folder: Path) -> None:
    found = one_head(folder, 2.0)
    assert found["won"] > 30


def test_writers_mergers_and_gc_on_one_head(folder: Path) -> None:
    crowded(folder, 4.0)


def test_writers_of_different_batches_never_conflict(folder: Path) -> None:
    place = f"{folder / 'store'}"
    Store.open(place)
    batches = [f"2013-{number + 1:02d}" for number in range(WRITERS)]
    crowd = Crowd(place, folder, [(publish_without_end, batch) for batch in batches])
    crowd.run(1.5)
    store, said = sound(place), crowd.said
    assert not [item for item in said if "lost" in item or "refused" in item]
    for number, batch in enumerate(batches):
        found = judge(store, read_all([crowd.logs[number]]), batch)
        assert found["won"]


@pytest.mark.slow
def test_eight_writers_of_one_head_for_long(folder: Path) -> None:
    found = one_head(folder, 60.0)
    assert found["won"] > 1000


@pytest.mark.slow
def test_writers_mergers_and_gc_on_one_head_for_long(folder: Path) -> None:
    crowded(folder, 120.0)


# --- in a bucket -----------------------------------------------------------------------------------------------------


def publish_some(place: str, number: int, log: int, turns: int) -> None:
    """So many publishes, each tried until it wins."""
    store = Store.open(place)
    for turn in range(turns):
        while True:
            before = store.head("main", ASSET, BATCH)
            stored = store.put(ASSET, BATCH, "json", {"writer": number, "turn": turn})
            manifest = Manifest(ASSET, BATCH, "json", stored.version, stored.blob, accepted=True)
            store.record(manifest)
            try:
                head = store.publish("main", manifest, before, who=f"{number}")
            except ConflictError:
                write_down(log, {"lost": BATCH})
            else:
                write_down(log, {"won": head.attempt, "seq": f"{head.seq}"})
                break


def start_in_bucket(place: str, number: int, log: Path, turns: int) -> "subprocess.Popen[bytes]":
    """A process of its own: one that was forked from a user of an object store cannot use any."""
    command = [sys.executable, "-m", "mlops_assets_tests.store.test_writers", place, f"{number}", f"{log}", f"{turns}"]
    return subprocess.Popen(command, cwd=ROOT)


@pytest.fixture
def bucket(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLOPS_ASSETS_CACHE", str(tmp_path / "cache"))
    return f"s3://{s3.bucket()}/store"


@pytest.mark.slow
def test_eight_processes_publish_25_times_each_in_a_bucket(bucket: str, tmp_path: Path) -> None:
    Store.open(bucket)
    logs = [tmp_path / f"log-{number}" for number in range(WRITERS)]
    writers = [start_in_bucket(bucket, number, log, 25) for number, log in enumerate(logs)]
    assert [writer.wait() for writer in writers] == [0] * WRITERS
    found = judge(sound(bucket), read_all(logs))
    tell({"test": "eight processes in a bucket", **found})
    assert (found["won"], found["moves"]) == (25 * WRITERS, 25 * WRITERS)
    assert found["lost"]


@pytest.mark.slow
def test_writers_in_a_bucket_are_killed_at_random(bucket: str, tmp_path: Path) -> None:
    Store.open(bucket)
    logs = [tmp_path / f"log-{number}" for number in range(WRITERS)]
    chance = random.Random(1)
    writers = [start_in_bucket(bucket, number, log, 1000) for number, log in enumerate(logs)]
    killed = 0
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            time.sleep(1 + 2 * chance.random())
            victim = chance.randrange(WRITERS)
            assert writers[victim].poll() is None, "none ended by itself"
            writers[victim].kill()
            writers[victim].wait()
            writers[victim] = start_in_bucket(bucket, victim, logs[victim], 1000)
            killed += 1
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    found = judge(sound(bucket), read_all(logs))
    tell({"test": "killed processes in a bucket", "killed": killed, **found})
    assert found["won"] > 50


if __name__ == "__main__":
    publish_some(
        sys.argv[1],
        int(sys.argv[2]),
        os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        int(sys.argv[4]),
    )
