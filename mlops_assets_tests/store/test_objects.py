"""A bucket as a place for a store, against a real S3 server and over a line that loses answers."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, overload

import pytest

from mlops_assets.errors import CorruptError, StoreError
from mlops_assets.store import objects
from mlops_assets.store.backend import Backend, Written, backend_at
from mlops_assets.store.objects import ObjectBackend
from mlops_assets_tests.store.s3 import S3, Fault, Line

MEBIBYTE = os.urandom(1 << 20)


@pytest.fixture(autouse=True)
def _in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "PAUSE", timedelta(milliseconds=5))


@pytest.fixture
def bucket(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty place in S3, with an environment to reach it by and a cache of its own."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLOPS_ASSETS_CACHE", str(tmp_path / "cache"))
    return f"s3://{s3.bucket()}/some/where"


@pytest.fixture(params=["s3", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Backend:
    if request.param == "s3":
        return backend_at(request.getfixturevalue("bucket"))
    monkeypatch.setenv("MLOPS_ASSETS_CACHE", str(tmp_path / "cache"))
    return backend_at(f"memory://{os.urandom(6).hex()}")


@pytest.fixture
def line(s3: S3, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """A proxy that stands before the server from now on."""
    del bucket
    with Line(s3.port).open() as line:
        monkeypatch.setenv("AWS_ENDPOINT_URL", line.endpoint)
        yield line


@pytest.fixture
def nobody(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Backend:
    """A bucket at an address where no server is."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
    return ObjectBackend(bucket)


def large(file: BinaryIO) -> None:
    file.writelines([MEBIBYTE] * 20)


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


# --- one file ----------------------------------------------------------------------------------------------------


def test_a_file_is_written_replaced_described_and_deleted(place: Backend) -> None:
    before = time.time()
    assert place.stat("a/b") is None
    first = place.write("a/b", b"one")
    assert first == place.fingerprint("a/b") == (3, "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed")
    second = place.write("a/b", lambda file: file.write(b"two more"))
    assert second == place.fingerprint("a/b")
    assert place.read("a/b") == b"two more"
    found = place.stat("a/b")
    assert found
    assert found[:2] == ("a/b", 8)
    # the server's clock has seconds
    assert before - 1 <= found.modified <= time.time()
    place.delete("a/b")
    place.delete("a/b")
    assert place.stat("a/b") is None
    assert place.write("empty", b"") == place.write("empty", lambda _: None) == place.fingerprint("empty")
    assert place.read("empty") == b""


def test_a_missing_file_is_named(place: Backend) -> None:
    for read in (place.read, place.fingerprint, lambda path: place.local(path, Written(1, "0" * 64))):
        with pytest.raises(FileNotFoundError) as caught:
            read("not/there")
        assert str(caught.value) == f"{place.url}/not/there does not exist"


def test_names_are_kept_as_they_are(place: Backend) -> None:
    names = ["2026-03-01", "a b", "ä=1", "50%", "50%25", "x+y", "a,b;c", "~"]
    for name in names:
        place.write(f"f/{name}", name.encode())
    assert place.children("f") == ([], sorted(names))
    assert sorted(entry.path for entry in place.entries("f")) == sorted(f"f/{name}" for name in names)
    assert list(place.read_many([f"f/{name}" for name in names])) == [name.encode() for name in names]


def test_a_prefix_is_kept_as_it_is(bucket: str) -> None:
    for prefix in ("a b", "ä"):
        ObjectBackend(f"{bucket}/{prefix}").write("x", prefix.encode())
        assert ObjectBackend(bucket).read(f"{prefix}/x") == prefix.encode()


def test_create_writes_once(place: Backend) -> None:
    def never(_: BinaryIO) -> None:
        raise AssertionError

    assert place.create("x", b"first")
    assert not place.create("x", b"second")
    assert not place.create("x", b"first")
    assert not place.create("x", never)
    assert place.read("x") == b"first"
    assert place.create("y", lambda file: file.write(b"made"))
    assert place.read("y") == b"made"
    assert not list(place.litter())


def test_create_sends_what_is_large_aside(place: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "WHOLE", 10)
    assert place.create("x", lambda file: file.write(b"more than ten bytes"))
    assert place.read("x") == b"more than ten bytes"
    # whoever was faster while the content was made wins
    assert not place.create("y", lambda file: (place.write("y", b"other"), file.write(b"more than ten bytes")))
    assert place.read("y") == b"other"
    assert not list(place.litter())


def test_one_of_many_creates_a_file(place: Backend) -> None:
    with ThreadPoolExecutor(8) as threads:
        for number in range(5):
            done = list(threads.map(lambda _, path=f"x/{number}": place.create(path, b"the same"), range(8)))
            assert sum(done) == 1


def test_a_stage_that_is_left_writes_nothing(place: Backend, tmp_path: Path) -> None:
    for content in (b"some bytes", lambda file: file.write(b"some bytes")):
        with place.stage("x", content) as file:
            assert file.written == (10, "0d22cdcc10e6d049dbe1af5123d50873fdfc1a4f58306e58cb6241be9472014d")
        assert place.stat("x") is None
    with pytest.raises(RuntimeError, match="the encoder broke"), place.stage("x", broken):
        pass
    assert not list(place.entries(""))
    assert not files_in(tmp_path / "cache")


def broken(file: BinaryIO) -> None:
    file.write(b"half")
    raise RuntimeError("the encoder broke")


def test_a_file_is_renamed(place: Backend) -> None:
    place.write("a", b"new")
    place.write("b", b"old")
    assert place.rename("a", "b")
    assert place.read("b") == b"new"
    assert place.stat("a") is None
    assert not place.rename("a", "b")
    assert place.rename("b", "b")
    assert place.read("b") == b"new"


def test_a_file_is_made_young_without_passing_through_here(
    bucket: str, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = ObjectBackend(bucket)
    place.write("a", b"bytes")
    line.seen.clear()
    assert place.touch("a")
    assert line.seen == ["HEAD"]
    monkeypatch.setattr(objects, "FRESH", -1e9)
    assert place.touch("a")
    assert line.seen == ["HEAD", "HEAD", "PUT", "PUT", "POST"]
    assert place.read("a") == b"bytes"
    assert not place.touch("b")
    assert not list(place.litter())


def test_a_touch_moves_the_time_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "FRESH", -1e9)
    place = backend_at(f"memory://{os.urandom(6).hex()}")
    place.write("a", b"bytes")
    before = place.stat("a")
    assert place.touch("a")
    after = place.stat("a")
    assert before
    assert after
    assert after.modified > before.modified


# --- many files --------------------------------------------------------------------------------------------------


def test_listing_keeps_to_segments_and_leaves_out_what_is_hidden(place: Backend) -> None:
    paths = ["a/1", "a/b/2", "a/b/c/3", "ab/4", "a-b", ".1-x.tmp", "a/.2-x.tmp", ".hidden/5", "a/.hidden/6"]
    for path in paths:
        place.write(path, path.encode())

    def listed(folder: str) -> list[tuple[str, int]]:
        return sorted((entry.path, entry.size) for entry in place.entries(folder))

    assert listed("a") == [("a/1", 3), ("a/b/2", 5), ("a/b/c/3", 7)]
    assert [path for path, _ in listed("")] == ["a-b", "a/1", "a/b/2", "a/b/c/3", "ab/4"]
    assert listed("nothing") == listed("a/1") == []
    assert place.children("") == (["a", "ab"], ["a-b"])
    assert place.children("a") == (["b"], ["1"])
    assert place.children("nothing") == ([], [])
    litter = sorted(entry.path for entry in place.litter())
    assert litter == [".1-x.tmp", "a/.2-x.tmp"]
    for path in litter:
        place.delete(path)
    assert not list(place.litter())


def test_a_long_listing_is_whole(place: Backend) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: place.write(f"f/{number}", b""), range(1001)))
    assert len(list(place.entries("f"))) == len(place.children("f")[1]) == 1001


def test_what_consoles_leave_is_no_file(s3: S3, bucket: str) -> None:
    place = ObjectBackend(bucket)
    place.write("a/1", b"")
    assert s3.ask("PUT", f"/{bucket.removeprefix('s3://')}/") == 200
    assert [entry.path for entry in place.entries("")] == ["a/1"]
    assert [entry.path for entry in place.entries("a")] == ["a/1"]
    assert place.children("") == (["a"], [])
    assert place.children("a") == ([], ["1"])


class Watched(Sequence[str]):
    """Paths that know how many of them were looked at."""

    def __init__(self, paths: list[str]) -> None:
        self._paths = paths
        self.seen = 0

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        self.seen += 1
        return self._paths[index]


def test_many_files_come_in_order_and_not_all_at_once(place: Backend) -> None:
    for number in range(50):
        place.write(f"f/{number}", b"%d" % number)
    paths = Watched([f"f/{number % 60}" for number in range(300)])
    reader = place.read_many(paths)
    assert next(reader) == b"0"
    assert paths.seen <= 2 * objects.THREADS
    assert list(reader) == [b"%d" % (n % 60) if n % 60 < 50 else None for n in range(1, 300)]
    assert list(place.read_many([])) == []


def test_a_refusal_among_many_is_told(bucket: str, line: Line) -> None:
    place = ObjectBackend(bucket)
    for number in range(5):
        place.write(f"f/{number}", b"")
    line.faults["GET"] = ["", "", "403"]
    with pytest.raises(StoreError, match="refused the credentials"):
        list(place.read_many([f"f/{number}" for number in range(5)]))


# --- who wins ----------------------------------------------------------------------------------------------------


def test_a_swap_wants_what_was_seen(place: Backend) -> None:
    assert not place.swap("head", b"1", b"0")
    assert place.swap("head", b"1", None)
    assert not place.swap("head", b"2", None)
    assert not place.swap("head", b"2", b"0")
    assert place.swap("head", b"2", b"1")
    assert place.read("head") == b"2"
    place.delete("head")
    assert not place.swap("head", b"3", b"2")
    assert place.stat("head") is None


def test_what_comes_back_is_told_from_what_never_changed(place: Backend) -> None:
    """A, B, A: the third state says the same as the first, but its bytes are its own."""
    first = b"A, move 1"
    for data, seen in ((first, None), (b"B, move 2", first), (b"A, move 3", b"B, move 2")):
        assert place.swap("head", data, seen)
    assert not place.swap("head", b"C, move 2'", first)
    assert place.read("head") == b"A, move 3"


def test_a_late_writer_with_an_old_etag_loses(bucket: str, line: Line) -> None:
    """The server itself refuses: the head moves between a swap's look and its write."""
    place, other = ObjectBackend(bucket), ObjectBackend(bucket)
    assert place.swap("head", b"1", None)

    line.overtake = lambda: other.swap("head", b"2 by another", b"1")
    assert not place.swap("head", b"2", b"1")
    assert line.overtake is None
    assert place.read("head") == b"2 by another"


def _race(place: Backend, workers: int, tries: int) -> None:
    """Everybody moves one head; every move names the one before it. What was acknowledged is one unbroken chain."""
    assert place.swap("head", b"0 start -", None)
    won: list[tuple[int, str, str]] = []

    def work(worker: int) -> None:
        for number in range(tries):
            seen = place.read("head")
            seq, before, _ = seen.decode().split()
            move = f"{worker}.{number}"
            if place.swap("head", f"{int(seq) + 1} {move} {before}".encode(), seen):
                won.append((int(seq) + 1, move, before))

    with ThreadPoolExecutor(workers) as threads:
        list(threads.map(work, range(workers)))
    won.sort()
    assert [seq for seq, _, _ in won] == list(range(1, len(won) + 1))
    assert [before for _, _, before in won] == ["start", *(move for _, move, _ in won[:-1])]
    assert place.read("head").decode().split()[:2] == [str(len(won)), won[-1][1]]
    assert len(won) >= tries


def test_no_move_is_lost_and_none_wins_twice(place: Backend) -> None:
    _race(place, workers=8, tries=25)


def test_no_move_is_lost_over_a_bad_line(bucket: str, line: Line) -> None:
    line.faults["PUT"] = ["", "", "drop", "", "503", "", "", "conflict"] * 8
    _race(ObjectBackend(bucket), workers=1, tries=40)


@pytest.mark.parametrize("faults", [["drop"], ["503"], ["drop", "503"], ["conflict"], ["conflict", "drop", "drop"]])
def test_an_answer_that_gets_lost_is_found_out(bucket: str, line: Line, faults: list[Fault]) -> None:
    place = ObjectBackend(bucket)
    writes: list[Callable[[], bool]] = [
        lambda: place.create("a", b"by me"),
        lambda: place.create("b", lambda file: file.write(b"by me")),
        lambda: place.swap("head", b"1", None),
        lambda: place.swap("head", b"2", b"1"),
    ]
    for write in writes:
        line.faults["PUT"] = list(faults)
        assert write()
        assert not line.faults["PUT"]
    assert list(place.read_many(["a", "b", "head"])) == [b"by me", b"by me", b"2"]


@pytest.mark.parametrize("fault", ["drop", "503"])
def test_an_answer_to_a_large_create_that_gets_lost_is_found_out(
    bucket: str, line: Line, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "WHOLE", 1)
    place = ObjectBackend(bucket)
    # the upload aside is one PUT; the copy is begun and ended by a POST each
    line.faults["POST"] = ["", fault]
    assert place.create("a", lambda file: file.write(b"by me"))
    assert place.read("a") == b"by me"
    assert not list(place.litter())


def test_a_lost_refusal_does_not_become_a_win(bucket: str, line: Line) -> None:
    place = ObjectBackend(bucket)
    place.write("a", b"by another")
    line.faults["PUT"] = ["drop"]
    assert not place.create("a", b"by me")
    line.faults["PUT"] = ["drop"]
    assert not place.swap("a", b"by me", None)
    line.faults["PUT"] = ["drop"]
    # whose the bytes are cannot be told any more: what was asked for is there
    assert place.create("a", b"by another")


def test_a_write_is_repeated(bucket: str, line: Line) -> None:
    place = ObjectBackend(bucket)
    line.faults["PUT"] = ["drop", "503"]
    place.write("a", b"bytes")
    line.faults["GET"] = ["503", "drop"]
    assert place.read("a") == b"bytes"
    line.faults["POST"] = ["503"]
    place.delete("a")
    assert place.stat("a") is None


def test_a_server_that_stays_in_trouble_leaves_it_open(bucket: str, line: Line) -> None:
    place = ObjectBackend(bucket)
    line.faults["PUT"] = ["503"] * 9
    refused(
        lambda: place.swap("head", b"1", None),
        f"{bucket}/head may not have been written (HTTP 503): its server is in trouble or overloaded; "
        "run this again when it has recovered.",
    )
    assert place.read("head") == b"1"


# --- local copies ------------------------------------------------------------------------------------------------


def test_a_large_file_goes_and_comes_in_parts(bucket: str, line: Line, tmp_path: Path) -> None:
    place = ObjectBackend(bucket)
    written = place.write("data/v.arrow", large)
    assert written.size == 20 << 20
    assert line.seen.count("PUT") == 3
    assert place.fingerprint("data/v.arrow") == written
    copy = place.local("data/v.arrow", written)
    assert copy == tmp_path / "cache" / written.sha256[:2] / f"{written.sha256}.arrow"
    assert copy.read_bytes() == MEBIBYTE * 20
    assert len(files_in(tmp_path / "cache")) == 1
    # the end of an upload is asked for again when its answer gets lost
    line.faults["POST"] = ["", "503"]
    assert place.write("data/w.arrow", large) == place.fingerprint("data/w.arrow")


def test_a_copy_is_kept_unless_its_size_is_wrong(bucket: str, line: Line) -> None:
    place = ObjectBackend(bucket)
    written = place.write("v.json", b"{}")
    copy = place.local("v.json", written)
    line.seen.clear()
    assert place.local("v.json", written) == copy
    assert not line.seen
    copy.write_bytes(b"{")
    assert place.local("v.json", written).read_bytes() == b"{}"
    # known by its content, whichever store it is in
    assert ObjectBackend(f"{bucket}/other").local("elsewhere.json", written) == copy


def test_a_copy_that_arrives_damaged_is_refused(bucket: str, line: Line, tmp_path: Path) -> None:
    place = ObjectBackend(bucket)
    written = place.write("v", MEBIBYTE)
    line.faults["GET"] = ["spoil"]
    with pytest.raises(
        CorruptError, match=r"/v is damaged: 1048576 bytes with sha256 \w{12}\.\.\. arrived.* restore it"
    ):
        place.local("v", written)
    assert not files_in(tmp_path / "cache")
    place.write("v", MEBIBYTE[1:])
    with pytest.raises(CorruptError, match="/v is damaged: 1048575 bytes"):
        place.local("v", written)
    assert not files_in(tmp_path / "cache")


def test_a_download_that_breaks_off_is_begun_again(bucket: str, line: Line, tmp_path: Path) -> None:
    place = ObjectBackend(bucket)
    written = place.write("v", lambda file: file.write(MEBIBYTE * 4))
    line.faults["GET"] = ["cut", "cut"]
    assert place.local("v", written).read_bytes() == MEBIBYTE * 4
    assert not line.faults["GET"]
    line.faults["GET"] = ["cut"] * 40
    place = ObjectBackend(bucket, tmp_path / "another")
    refused(
        lambda: place.local("v", written),
        f"{bucket}/v could not be read: the connection broke; check the network, and run this again.",
    )
    assert not files_in(tmp_path / "another")


def test_the_cache_is_where_the_environment_says(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = ObjectBackend(bucket)
    written = place.write("v", b"bytes")
    assert place.local("v", written).is_relative_to(tmp_path / "cache")
    monkeypatch.delenv("MLOPS_ASSETS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert ObjectBackend(bucket).local("v", written).is_relative_to(tmp_path / "xdg" / "mlops_assets" / "blobs")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert objects.default_cache() == Path.home() / ".cache" / "mlops_assets" / "blobs"


def test_what_killed_processes_left_in_the_cache_goes(bucket: str, tmp_path: Path) -> None:
    left = [tmp_path / "cache" / "uploads" / ".1-old.tmp", tmp_path / "cache" / "uploads" / ".2-new.tmp"]
    left[0].parent.mkdir(parents=True)
    for file in left:
        file.touch()
    os.utime(left[0], (0, 0))
    ObjectBackend(bucket).write("x", lambda file: file.write(b"bytes"))
    assert files_in(tmp_path / "cache") == [".2-new.tmp"]


def test_a_full_disk_is_a_sentence(place: Backend) -> None:
    def fill(_: BinaryIO) -> None:
        descriptor = os.open("/dev/full", os.O_WRONLY)
        try:
            os.write(descriptor, b"x")
        finally:
            os.close(descriptor)

    with pytest.raises(StoreError, match="could not be written: the disk is full; free some space"):
        place.write("x", fill)
    assert place.stat("x") is None


# --- what servers refuse -----------------------------------------------------------------------------------------


def refused(call: Callable[[], object], text: str) -> None:
    """The call raises a ``StoreError`` of exactly this sentence, with nothing of a library's behind it."""
    with pytest.raises(StoreError) as caught:
        call()
    assert str(caught.value) == text
    assert caught.value.__suppress_context__


def everything(place: Backend) -> dict[str, Callable[[], object]]:
    """Every way to ask a server, with the sentence's beginning."""
    some = Written(1, "0" * 64)
    return {
        "/x could not be read": lambda: place.read("x"),
        "/y could not be read": lambda: list(place.read_many(["y"])),
        "/z could not be read": lambda: place.fingerprint("z"),
        "/l could not be read": lambda: place.local("l", some),
        "/c could not be written": lambda: place.create("c", b"1"),
        "/w could not be written": lambda: place.write("w", b"1"),
        "/v could not be written": lambda: place.write("v", lambda file: file.write(b"1")),
        "/s could not be written": lambda: place.swap("s", b"1", None),
        "/s could not be read": lambda: place.swap("s", b"2", b"1"),
        "/r could not be copied": lambda: place.rename("q", "r") or place.rename("q", "r"),
        "/d could not be deleted": lambda: place.delete("d"),
        "/f could not be listed": lambda: place.children("f"),
        "/e could not be listed": lambda: list(place.entries("e")),
        " could not be listed": lambda: list(place.litter()),
    }


def test_a_missing_bucket_is_a_sentence(bucket: str) -> None:
    url = bucket.replace("bucket", "no-bucket")
    there_is_none = "(HTTP 404): there is no such bucket; create it, or name another place."
    for start, call in everything(ObjectBackend(url)).items():
        refused(call, f"{url}{start.replace('/r', '/q')} {there_is_none}")
    # the answers to these do not say it
    for call in (lambda: ObjectBackend(url).stat("x"), lambda: ObjectBackend(url).touch("x")):
        refused(call, f"{url} could not be listed {there_is_none}")


def test_wrong_credentials_are_a_sentence(s3: S3, bucket: str) -> None:
    place = ObjectBackend(bucket)
    reason = (
        "(HTTP 403): the server refused the credentials of the environment; check AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY, and that they may list, read, write and delete there."
    )
    with s3.strict():
        for start, call in everything(place).items():
            refused(call, f"{bucket}{start.replace('/r', '/q')} {reason}")
        refused(lambda: place.stat("x"), f"{bucket}/x could not be looked at {reason}")


def test_no_credentials_are_a_sentence(nobody: Backend, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the machine itself is asked whether it is one in the cloud."""
    del nobody
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", os.environ["AWS_ENDPOINT_URL"])
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    refused(
        lambda: ObjectBackend(bucket).read("x"),
        f"{bucket}/x could not be read: no credentials were found in the environment; "
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
    )


def test_what_is_too_large_to_be_copied_is_a_sentence(bucket: str, line: Line) -> None:
    place = ObjectBackend(bucket)
    place.write("a", b"five gibibytes")
    line.faults["PUT"] = ["large", "400"]
    for reason in (
        "it is larger than its server copies at once; make smaller batches.",
        "its server refused the request; check the URL and AWS_ENDPOINT_URL.",
    ):
        refused(lambda: place.rename("a", "b"), f"{bucket}/a could not be copied (HTTP 400): {reason}")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("501", " (HTTP 501): its server does not know conditional writes, which a store needs; use another"),
        ("507", " (HTTP 507): its server is full; free some space, and run this again"),
        ("301", ": the bucket is in another region; set AWS_REGION to that one"),
    ],
)
def test_what_no_retry_mends_is_a_sentence(bucket: str, line: Line, fault: Fault, reason: str) -> None:
    line.faults["PUT"] = [fault] * 9
    refused(lambda: ObjectBackend(bucket).create("x", b"1"), f"{bucket}/x could not be written{reason}.")


def test_a_server_that_is_down_is_a_sentence(nobody: Backend) -> None:
    reason = "its server cannot be reached; check the network and AWS_ENDPOINT_URL."
    refused(lambda: nobody.read("x"), f"{nobody.url}/x could not be read: {reason}")
    refused(lambda: nobody.swap("x", b"1", None), f"{nobody.url}/x could not be written: {reason}")


def test_a_server_that_says_nothing_is_a_sentence(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "SILENCE", timedelta(seconds=0.1))
    monkeypatch.setattr(objects, "PATIENCE", timedelta(seconds=0.1))
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://localhost:{server.getsockname()[1]}")
        place = ObjectBackend(bucket)
        reason = "its server does not answer in time; run this again when it does."
        refused(lambda: place.read("x"), f"{bucket}/x could not be read: {reason}")
        refused(lambda: place.create("x", b"1"), f"{bucket}/x may not have been written: {reason}")


def test_plain_http_to_elsewhere_is_not_spoken_unasked(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for endpoint in ("http://example.invalid", "http://127.0.0.1.example.invalid"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        refused(
            lambda: ObjectBackend(bucket).read("x"),
            f"{bucket}/x could not be read: its server speaks plain http; set AWS_ALLOW_HTTP=true "
            "if you trust the network.",
        )
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    with pytest.raises(StoreError, match="cannot be reached"):
        ObjectBackend(bucket).read("x")


# --- names of places ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "s3://key:hunter2@bucket/prefix",
        "s3://hunter2@bucket/prefix",
        "s3://bucket/prefix?secret=hunter2",
        "gs://bucket/prefix#hunter2",
        "abfs://container:hunter2@account.dfs.core.windows.net/prefix",
        "az://container/prefix?sig=hunter2",
    ],
)
def test_a_secret_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(StoreError, match="must hold no user, password, key or '\\?': put credentials into") as caught:
        backend_at(url)
    assert "hunter2" not in str(caught.value)


def test_a_place_has_one_name(bucket: str) -> None:
    assert ObjectBackend(f"{bucket}/").url == ObjectBackend(bucket).url == bucket
    ObjectBackend("memory://one/").write("a", b"1")
    assert ObjectBackend("memory://one").read("a") == b"1"
    assert ObjectBackend("memory://two").stat("a") is None
    assert ObjectBackend("memory://").url == "memory://"


def test_a_place_that_cannot_be_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    refused(
        lambda: backend_at("az://container/prefix"),
        "az://container/prefix is no place for a store as the environment stands: check the URL, "
        "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY.",
    )
    with pytest.raises(StoreError, match="s3:///prefix names no bucket; write s3://bucket/prefix"):
        backend_at("s3:///prefix")
    with pytest.raises(StoreError, match="s3://bucket//prefix is no place for a store"):
        backend_at("s3://bucket//prefix")


def test_other_clouds_are_places_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server of theirs is asked: that their names and settings are understood is all that is looked at."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    for url in (
        "az://container/p",
        "abfs://container/p",
        "abfs://container@account.dfs.core.windows.net/p",
        "gs://b/p",
    ):
        assert backend_at(url).url == url


def test_holding_does_nothing(place: Backend) -> None:
    with place.hold("key"), place.hold("key"):
        pass


def test_settling_waits_where_others_may_be(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "SETTLE", 0.05)
    began = time.monotonic()
    ObjectBackend(bucket).settle()
    assert time.monotonic() - began >= 0.05


# --- processes ---------------------------------------------------------------------------------------------------


def test_a_forked_child_is_told_that_it_cannot(bucket: str) -> None:
    place = ObjectBackend(bucket)
    place.write("a", b"1")
    ready, told = os.pipe()
    child = os.fork()
    if not child:
        try:
            place.read("a")
        except StoreError as trouble:
            os.write(told, str(trouble).encode())
        finally:
            os._exit(0)
    os.close(told)
    with os.fdopen(ready) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    assert text == (
        f"{bucket}/a could not be read: this process was forked from one that had used an object store, and cannot use "
        "any itself; start processes with the method 'spawn'."
    )
    assert list(place.read_many(["a"])) == [b"1"]


FORKED = """
import os, sys
from mlops_assets.store.backend import backend_at
place = backend_at(sys.argv[1])
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
place.write("a", b"by the child")
assert list(place.read_many(["a"])) == [b"by the child"]
"""


def test_a_forked_child_can_when_its_parent_had_not_begun(bucket: str) -> None:
    subprocess.run([sys.executable, "-c", FORKED, bucket], check=True, timeout=20)
    assert ObjectBackend(bucket).read("a") == b"by the child"


def test_whoever_has_a_folder_pays_for_no_object_store(tmp_path: Path) -> None:
    code = (
        "import sys; from mlops_assets.store.backend import backend_at; backend_at(sys.argv[1]);"
        "assert not {'obstore', 'pyarrow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_the_server_ends_with_the_process_that_started_it() -> None:
    code = (
        "import os, sys; from mlops_assets_tests.store.s3 import serve\n"
        "server = serve(); print(server.__enter__().port, flush=True); os.kill(os.getpid(), 9)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == -9
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", int(done.stdout))):
                return
        time.sleep(0.02)
    raise AssertionError("the server is still there")
