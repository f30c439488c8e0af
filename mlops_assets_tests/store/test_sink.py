"""Large files are hashed beside their encoder: the same digest, the same errors, and nothing left behind."""

import hashlib
import os
import random
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from mlops_assets.errors import StoreError
from mlops_assets.store import sink
from mlops_assets.store.backend import Written
from mlops_assets.store.files import write_file
from mlops_assets.store.sink import Sink
from mlops_assets_tests.store.killing import die_before, in_child, operations

CHUNK, AHEAD = 4096, 4


@pytest.fixture(autouse=True)
def soon_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink, "LARGE", 2 * CHUNK)
    monkeypatch.setattr(sink, "_CHUNK", CHUNK)
    monkeypatch.setattr(sink, "_AHEAD", AHEAD)


@pytest.fixture
def nothing_left(tmp_path: Path) -> Iterator[Path]:
    """A folder for the test; no thread, open file or temporary file stays behind."""
    before = set(Path("/proc/self/fd").iterdir())
    yield tmp_path
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("store-sink")] == []
    assert set(Path("/proc/self/fd").iterdir()) == before
    assert [path.name for path in tmp_path.iterdir() if path.name != "file"] == []


@pytest.mark.parametrize("count", [0, 1, 7, 60, 500])
def test_all_bytes_arrive_in_order(nothing_left: Path, count: int) -> None:
    chance = random.Random(count)
    pieces = [chance.randbytes(chance.choice([0, 1, 100, 3 * CHUNK])) for _ in range(count)]
    whole = b"".join(pieces)
    threads: set[str] = set()

    def encode(file: BinaryIO) -> None:
        buffer = bytearray(3 * CHUNK)
        for piece in pieces:
            at = file.tell()
            if chance.random() < 0.5:
                # as an encoder that uses one buffer for all it writes
                buffer[: len(piece)] = piece
                assert file.write(memoryview(buffer)[: len(piece)]) == len(piece)
                buffer[:] = bytes(len(buffer))
            else:
                assert file.write(piece) == len(piece)
            assert file.tell() == at + len(piece)
        threads.update(thread.name for thread in threading.enumerate())

    written = write_file(nothing_left / "file", encode)
    assert (nothing_left / "file").read_bytes() == whole
    assert written == Written(len(whole), hashlib.sha256(whole).hexdigest())
    assert any(name.startswith("store-sink") for name in threads) == (len(whole) > 4 * CHUNK)


def test_what_the_disk_refuses_is_told(nothing_left: Path) -> None:
    """A file size limit makes os.write return short without an error, then fail: as a disk that fills up does."""
    path = nothing_left / "file"
    write_file(path, b"old")

    def encode(file: BinaryIO) -> None:
        file.writelines(b"x" * 1000 for _ in range(10_000))

    def limited() -> None:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10 * CHUNK + 1, 10 * CHUNK + 1))
        with pytest.raises(StoreError, match=r"could not be written: the file is larger than .* \(ulimit -f\) allows"):
            write_file(path, encode)
        assert list(nothing_left.iterdir()) == [path]
        assert threading.active_count() == 1

    assert in_child(limited) == 0
    assert path.read_bytes() == b"old"


def test_an_encoder_that_breaks_leaves_what_was_there(nothing_left: Path) -> None:
    path = nothing_left / "file"
    write_file(path, b"old")

    def breaks(file: BinaryIO) -> None:
        file.writelines(b"x" * CHUNK for _ in range(20))
        raise RuntimeError("the encoder broke")

    with pytest.raises(RuntimeError, match="the encoder broke"):
        write_file(path, breaks)
    assert path.read_bytes() == b"old"


def test_an_encoder_waits_for_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits in memory has a bound, however slow the hash is."""
    import tracemalloc

    # large pieces, so that hashing takes longer than writing them nowhere
    monkeypatch.setattr(sink, "_CHUNK", 1 << 20)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    one = Sink(nowhere)
    tracemalloc.start()
    try:
        for number in range(200):
            one.write(b"%d" % (number % 10) * (1 << 20))
        peak = tracemalloc.get_traced_memory()[1]
        whole = hashlib.sha256(b"".join(b"%d" % (number % 10) * (1 << 20) for number in range(200)))
        assert one.finish() == Written(200 << 20, whole.hexdigest())
    finally:
        tracemalloc.stop()
        one.stop()
        os.close(nowhere)
    assert peak < (AHEAD + 6) << 20


def test_a_kill_at_any_write_leaves_the_whole_file_or_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, b"old")
    content = random.Random(0).randbytes(12 * CHUNK)

    def encode(file: BinaryIO) -> None:
        file.writelines(content[start : start + CHUNK // 2] for start in range(0, len(content), CHUNK // 2))

    names = operations(tmp_path, lambda: write_file(path, encode))
    assert names.count("write") == 24
    for number in range(1, len(names) + 1):
        path.write_bytes(b"old")

        def work(number: int = number) -> None:
            die_before(tmp_path, number)
            write_file(path, encode)

        assert in_child(work) == -signal.SIGKILL
        # the last operation takes the temporary name away, which the file no longer has
        assert path.read_bytes() == (content if number > names.index("rename") + 1 else b"old")
