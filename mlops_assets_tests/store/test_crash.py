"""kill -9 at every operation, and under eight writers: what was acknowledged stays, what is seen is whole."""

import fcntl
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlops_assets.errors import ConflictError
from mlops_assets.store import Kind, Manifest, Store

ASSET, BATCH = "flights/cleaned", "2013-01"
OLD: dict[Kind, Any] = {"table": pa.table({"a": [1, 2]}), "json": [1], "estimator": {"a": [1]}}
NEW: dict[Kind, Any] = {"table": pa.table({"a": [1, 2, 3]}), "json": [2], "estimator": {"a": [2]}}


def publish(store: Store, kind: Kind, value: Any) -> Manifest:
    """All that a stage does with the store."""
    delivered = store.put_bytes(ASSET, BATCH, repr(value).encode())
    stored = store.put(ASSET, BATCH, kind, value)
    manifest = Manifest(
        ASSET,
        BATCH,
        kind,
        stored.version,
        stored.blob,
        stored.rows,
        stored.schema,
        stored.columns,
        accepted=True,
        attachments={"delivered": delivered},
    )
    store.record(manifest)
    store.publish("main", manifest, store.head("main", ASSET, BATCH))
    return manifest


def die_at(number: int) -> None:
    """From here on, the process is killed before its ``number``-th operation on files (in the middle of a write)."""
    count = 0

    def hooked(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count == number:
                if name == "write":
                    real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        return operation

    for name in ("open", "write", "fsync", "replace", "link", "unlink", "mkdir"):
        setattr(os, name, hooked(name, getattr(os, name)))
    fcntl.lockf = hooked("lockf", fcntl.lockf)


def in_child(work: Callable[[], object]) -> int:
    """Fork, run, and give the exit code (negative: the signal)."""
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize(("kind", "fresh"), [("json", True), ("table", False), ("estimator", False)])
def test_a_kill_at_any_operation_leaves_a_sound_store(tmp_path: Path, kind: Kind, fresh: bool) -> None:
    template = tmp_path / "template"
    old = None if fresh else publish(Store.open(template), kind, OLD[kind])
    reference = publish(Store.open(tmp_path / "reference"), kind, NEW[kind])
    assert not fresh or not template.exists()
    for number in range(1, 200):
        root = tmp_path / "store"
        if old:
            shutil.copytree(template, root)

        def work(root: Path = root, number: int = number) -> None:
            die_at(number)
            publish(Store.open(root), kind, NEW[kind])

        code = in_child(work)
        store = Store.open(root)
        if code == 0:
            assert number > 30, "the hooks saw the work"
            break
        assert code == -signal.SIGKILL
        head = store.head("main", ASSET, BATCH)
        if head is None:
            assert fresh
        else:
            seen = store.manifest(ASSET, BATCH, head.manifest)
            store.get(seen, verify=True)
            assert seen.version in {reference.version, old and old.version}
            store.bytes(seen.attachments["delivered"])
            assert len(store.moves("main", ASSET, BATCH)) == head.seq
        for manifest in store.manifests(ASSET, BATCH):
            store.get(manifest, verify=True)
        assert store.assets("main") == ([ASSET] if head else [])
        # the next run finishes the work
        again = publish(store, kind, NEW[kind])
        assert again.version == reference.version
        done = store.head("main", ASSET, BATCH)
        assert done is not None
        assert done.manifest == again.id
        store.get(again, verify=True)
        shutil.rmtree(root)
    else:
        pytest.fail("the work never finished")


def _writer(root: Path, number: int, manifests: list[Manifest], log: Path) -> None:
    """Publish without end, and acknowledge each success in a file of one's own."""
    store = Store.open(root)
    acknowledged = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    turn = 0
    while True:
        try:
            head = store.publish("main", manifests[turn % 2], store.head("main", ASSET, BATCH), who=str(number))
        except ConflictError:
            continue
        os.write(acknowledged, f"{head.attempt}\n".encode())
        turn += 1


def test_eight_writers_of_one_head_under_kill_lose_nothing(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    manifests: list[list[Manifest]] = []
    for number in range(16):
        stored = store.put(ASSET, BATCH, "json", number)
        manifest = Manifest(ASSET, BATCH, "json", stored.version, stored.blob, accepted=True)
        store.record(manifest)
        if number % 2:
            manifests[-1].append(manifest)
        else:
            manifests.append([manifest])
    logs = [tmp_path / f"log{number}" for number in range(8)]
    chance = random.Random(0)
    writers: list[int] = []

    def start(number: int) -> int:
        child = os.fork()
        if not child:
            try:
                _writer(store.root, number, manifests[number], logs[number])
            finally:
                os._exit(1)
        return child

    try:
        writers.extend(start(number) for number in range(8))
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            time.sleep(chance.random() * 0.05)
            victim = chance.randrange(8)
            os.kill(writers[victim], signal.SIGKILL)
            status = os.waitpid(writers[victim], 0)[1]
            writers[victim] = start(victim)
            assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, "no writer ended by itself"
    finally:
        for writer in writers:
            os.kill(writer, signal.SIGKILL)
            os.waitpid(writer, 0)
    trail = store.moves("main", ASSET, BATCH)
    attempts = [move.attempt for move in trail]
    acknowledged = [line for log in logs if log.exists() for line in log.read_text().split()]
    assert len(acknowledged) > 50
    assert len(set(acknowledged)) == len(acknowledged)
    # one who found its manifest published already acknowledges a head that it did not move; none is lost
    assert set(acknowledged) <= set(attempts)
    assert len(set(attempts)) == len(attempts)
    assert [move.seq for move in trail] == list(range(len(trail), 0, -1))
    for newer, older in pairwise(trail):
        assert (newer.previous, newer.from_manifest) == (older.id, older.to_manifest)
