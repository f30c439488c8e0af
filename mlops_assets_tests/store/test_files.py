"""Whole files or none, and locks that die with their process."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import BinaryIO

import pytest

from mlops_assets.errors import StoreError
from mlops_assets.store.files import STRIPES, Locks, create_only, fingerprint, read_small, write_file


def test_a_file_is_written_replaced_and_described(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c"
    assert write_file(path, b"one") == fingerprint(path)

    def parts(file: BinaryIO) -> None:
        file.write(b"two")
        file.write(memoryview(b" more"))

    assert write_file(path, parts) == fingerprint(path)
    assert path.read_bytes() == b"two more"
    assert [file.name for file in path.parent.iterdir()] == ["c"]


def test_create_only_writes_once(tmp_path: Path) -> None:
    path = tmp_path / "x" / "file"
    assert create_only(path, b"first")
    assert not create_only(path, b"second")
    assert path.read_bytes() == b"first"
    assert [file.name for file in path.parent.iterdir()] == ["file"]


def test_large_files_are_read_whole(tmp_path: Path) -> None:
    content = os.urandom(3 << 20)
    write_file(tmp_path / "f", content)
    assert read_small(tmp_path / "f") == content


def test_a_failing_writer_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, b"old")

    def breaks(file: BinaryIO) -> None:
        file.write(b"half")
        raise RuntimeError("the encoder broke")

    with pytest.raises(RuntimeError, match="the encoder broke"):
        write_file(path, breaks)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def _in_child(work: "object") -> int:
    """Run a function in a forked child; its exit code."""
    child = os.fork()
    if not child:
        code = 1
        try:
            work()  # type: ignore[operator]
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_full_disk_is_a_sentence(tmp_path: Path) -> None:
    """/dev/full refuses every byte as a full disk does; a write through it takes the real path from os.write on."""
    path = tmp_path / "file"

    def fill(_: BinaryIO) -> None:
        descriptor = os.open("/dev/full", os.O_WRONLY)
        try:
            os.write(descriptor, b"x")
        finally:
            os.close(descriptor)

    with pytest.raises(StoreError, match="could not be written: the disk is full; free some space"):
        write_file(path, fill)
    assert not list(tmp_path.iterdir())


def test_short_writes_are_finished_or_refused(tmp_path: Path) -> None:
    """A file size limit makes os.write return short without an error, then fail: as a disk that fills up does."""
    import resource

    path = tmp_path / "file"
    write_file(path, b"old")

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with pytest.raises(StoreError, match=r"could not be written: the file is larger than .* \(ulimit -f\) allows"):
            write_file(path, b"x" * 5000)

    assert _in_child(limited) == 0
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_where_a_folder_is_needed_is_a_sentence(tmp_path: Path) -> None:
    write_file(tmp_path / "a", b"")
    with pytest.raises(StoreError, match="a file stands where a folder is needed"):
        write_file(tmp_path / "a" / "b", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="a folder stands where a file is needed"):
        write_file(tmp_path / "folder", b"")
    with pytest.raises(StoreError, match="the path is too long"):
        write_file(tmp_path / ("x" * 300) / "f", b"")


def test_a_lock_keeps_threads_out_and_is_re_entrant(tmp_path: Path) -> None:
    locks, same = Locks(tmp_path / "locks", timeout=0.05), Locks(tmp_path / "locks", timeout=0.05)
    caught: list[StoreError] = []

    def try_it() -> None:
        try:
            with same.hold("key"):
                pass
        except StoreError as trouble:
            caught.append(trouble)

    with locks.hold("key"):
        with same.hold("key"):
            pass
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
    assert len(caught) == 1
    assert "held by another thread of this process for 0.05 s" in str(caught[0])
    try_it()
    assert len(caught) == 1
    assert len(list((tmp_path / "locks").iterdir())) == 1 <= STRIPES


def test_a_lock_keeps_processes_out_and_dies_with_its_holder(tmp_path: Path) -> None:
    locks = Locks(tmp_path / "locks", timeout=0.1)
    ready, told = os.pipe()
    holder = os.fork()
    if not holder:
        with locks.hold("key"):
            # a child of the holder must not keep the lock alive
            if not os.fork():
                time.sleep(3)
                os._exit(0)
            os.write(told, b"x")
            time.sleep(60)
        os._exit(0)
    os.read(ready, 1)
    with (
        pytest.raises(StoreError, match=r"held by another process for 0.1 s.*Look for a process that hangs"),
        locks.hold("key"),
    ):
        pass
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    with locks.hold("key"):
        pass


def test_a_forked_child_does_not_inherit_a_lock(tmp_path: Path) -> None:
    locks = Locks(tmp_path / "locks", timeout=0.1)

    def refused() -> None:
        with pytest.raises(StoreError, match="held by another process"), locks.hold("key"):
            pass

    with locks.hold("key"):
        assert _in_child(refused) == 0
    assert _in_child(lambda: locks.hold("key").__enter__()) == 0


def test_a_child_forked_inside_leaves_the_lock_to_its_parent(tmp_path: Path) -> None:
    locks = Locks(tmp_path / "locks", timeout=0.1)
    with locks.hold("key"):
        child = os.fork()
    if not child:
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with locks.hold("key"):
        pass


def test_deleted_lock_files_are_made_again(tmp_path: Path) -> None:
    locks = Locks(tmp_path / "locks", timeout=0.1)
    for _ in range(3):
        with locks.hold("key"):
            pass
        next((tmp_path / "locks").iterdir()).unlink()


def test_descriptors_of_deleted_stores_are_given_back(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    for number in range(20):
        folder = tmp_path / str(number)
        with Locks(folder).hold("key"):
            pass
        next(folder.iterdir()).unlink()
    assert descriptors() <= before + 2
