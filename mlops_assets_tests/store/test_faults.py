"""Disks that fill up or fail, bytes that change, files that vanish, clocks that jump: noticed, told, and mended.

What belongs here: one fault at a time on a store, and what every reader and the next writer make of it. What does not:
kills (``test_crash``, ``test_kills``), faults on the way to an object store (``test_objects``), what people type
(``commands/test_bad_input``).
"""

import errno
import itertools
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlops_assets.errors import CorruptError, StoreError, UserError
from mlops_assets.store import Store, deliveries
from mlops_assets.store import store as store_module
from mlops_assets.store.branching import create_branch, protect
from mlops_assets.store.deliveries import Ledger, datasets
from mlops_assets.store.diff import diff
from mlops_assets.store.garbage import gc
from mlops_assets.store.history import log
from mlops_assets.store.merging import merge
from mlops_assets.store.refs import view
from mlops_assets.store.remotes import add_remote, read_remote, seen
from mlops_assets.store.repair import repair
from mlops_assets.store.restoring import restore
from mlops_assets.store.tags import tags
from mlops_assets.store.transfer import push
from mlops_assets.store.verify import verify
from mlops_assets_tests.store import tended, verbs
from mlops_assets_tests.store.faults import SENTENCE, as_nobody, flipped, refuse, small_disk, told
from mlops_assets_tests.store.killing import in_child
from mlops_assets_tests.store.tended import CLEANED, MODEL, RAW
from mlops_assets_tests.store.test_kills import Bench, Kill, between

root_only = pytest.mark.skipif(os.getuid() != 0, reason="another account is needed, which only root can become")


def build(root: Path) -> Store:
    """A store with one of everything: deliveries, tables, a model, a tag, a branch, a merge, a remote."""
    store = Store.open(root / "store")
    ledger = Ledger(store, "shop")
    for batch in ("01", "02"):
        ledger.record(RAW, f"landing/visits_{batch}.csv", f"person,paid\n{batch},1\n".encode(), place=batch)
    first = tended.line(store, "01", [1, 2, 3])
    tended.commit(store, CLEANED, "02", tended.rows(4, 5), tended.line(store, "02", [4, 5])[0])
    store.commit("main", MODEL, "02", "estimator", {"weights": [1.5, 2.5]}, inputs=tended.inputs_of(first[1]))
    tended.freeze(store, "v1")
    create_branch(store, "dev")
    tended.commit(store, CLEANED, "01", tended.rows(1, 2), first[0], branch="dev")
    merge(store, "dev", "main")
    protect(store, "dev")
    add_remote(store, "origin", str(root / "remote"))
    push(store, "origin", ["main"])
    return Store.open(root / "store")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    build(folder)
    return folder


@pytest.fixture
def store(template: Path, tmp_path: Path) -> Store:
    shutil.copytree(template / "store", tmp_path / "store")
    return Store.open(tmp_path / "store")


# --- questions: what readers are told --------------------------------------------------------------------------------


def _heads(store: Store) -> Any:
    return {
        (branch, asset): store.heads(branch, asset) for branch in store.branches() for asset in store.assets(branch)
    }


def _values(store: Store) -> Any:
    found: dict[tuple[str, ...], Any] = {}
    for (branch, asset), heads in _heads(store).items():
        for batch, head in heads.items():
            manifest = store.manifest(asset, batch, head.manifest)
            value = store.get(manifest)
            found[branch, asset, batch] = (value.to_pydict(), value.schema) if isinstance(value, pa.Table) else value
            for name, blob in manifest.attachments.items():
                found[branch, asset, batch, name] = store.bytes(blob)
    return found


QUESTIONS: dict[str, Callable[[Store], Any]] = {
    "heads": _heads,
    "values": _values,
    "log": lambda store: [entry.to_dict() for name in store.branches() for entry in log(store, name)],
    "tags": lambda store: [tag.to_dict() for tag in tags(store)],
    "tagged": lambda store: {asset: dict(view(store, "v1").leaves(asset)) for asset in view(store, "v1").assets()},
    "branches": lambda store: [store.branch(name) for name in store.branches()],
    "protection": lambda store: [store.protection(name) for name in store.branches()],
    "ledger": lambda store: [entry for name in datasets(store) for entry in Ledger(store, name).entries],
    "diff": lambda store: diff(store, view(store, "v1"), view(store, "main")).to_dict(),
    "remote": lambda store: (read_remote(store, "origin"), seen(store, "origin")),
    "tracked": lambda store: {asset: dict(view(store, "origin/main").leaves(asset)) for asset in (RAW, CLEANED)},
}


def answers(root: Path) -> dict[str, tuple[str, Any]]:
    """What a new reader is told to each question: an answer or a sentence; anything else is an error of the test."""
    found: dict[str, tuple[str, Any]] = {}
    try:
        store = Store.open(root, create=False)
    except UserError as trouble:
        return {"open": ("sentence", f"{trouble}")}
    for name, question in QUESTIONS.items():
        try:
            found[name] = ("answer", question(store))
        except UserError as trouble:
            found[name] = ("sentence", f"{trouble}")
    return found


# --- one byte --------------------------------------------------------------------------------------------------------


def flip_all(store: Store, begin: str, masks: tuple[int, ...], places: int) -> dict[str, list[int]]:
    """Flip bytes of files whose paths begin so; by first folder: how many, told by a reader, told by verify."""
    sound = answers(store.root)
    assert {kind for kind, _ in sound.values()} == {"answer"}
    counts: dict[str, list[int]] = {}
    for path in sorted(tended.files(store)):
        if path.startswith(("locks/", "cache/")) or not path.startswith(begin):
            continue
        file = store.root / path
        count = counts.setdefault(path.partition("/")[0], [0, 0, 0])
        for offset in flipped(file, masks, max(1, file.stat().st_size // places)):
            where = f"{path} at {offset}"
            found = answers(store.root)
            wrong = [name for name, said in found.items() if said[0] == "answer" and said != sound[name]]
            assert not wrong, f"{where}: others than before: {wrong}"
            heard = any(kind == "sentence" for kind, _ in found.values())
            try:
                seen_by_verify = not verify(Store.open(store.root, create=False)).sound
            except StoreError:
                seen_by_verify = True
            assert seen_by_verify or not heard, (where, [text for kind, text in found.values() if kind == "sentence"])
            count[0] += 1
            count[1] += heard
            count[2] += seen_by_verify
    return counts


def test_a_flipped_byte_never_gives_wrong_data(store: Store) -> None:
    counts = flip_all(store, "", (1, 128, 32), places=4)
    # FORMAT ends in a newline that nobody needs, a seal's own name may be spoilt; what is named by a digest may not
    for folder in ("data", "meta", "trees", "moves"):
        assert counts[folder][0] == counts[folder][2], folder
    assert sum(count[1] for count in counts.values()) > 150
    assert answers(store.root) == answers(store.root)


@pytest.mark.slow
@pytest.mark.parametrize("mask", [1, 4, 32, 128])
def test_no_flipped_byte_anywhere_gives_wrong_data(store: Store, mask: int) -> None:
    flip_all(store, "", (mask,), places=25)


@pytest.mark.slow
@pytest.mark.parametrize(
    "folder", ["heads/main/shop/cleaned", "branches", "tags", "protected", "deliveries", "remotes", "FORMAT"]
)
def test_every_byte_of_the_small_records(store: Store, folder: str) -> None:
    flip_all(store, folder, (1,), places=10_000)


@pytest.mark.slow
def test_every_byte_of_a_table_with_columns_of_many_types(store: Store) -> None:
    count = 50
    table = pa.table(
        {
            "i": pa.array(range(count), pa.int64()),
            "f": [number * 1.5 for number in range(count)],
            "s": [f"v{number % 7}" if number % 5 else None for number in range(count)],
            "t": pa.array(range(count), pa.timestamp("s")),
            "b": [number % 2 == 0 for number in range(count)],
            "l": [[number, number + 1] for number in range(count)],
        }
    )
    head = store.commit("main", "shop/many", "x", "table", table)
    manifest = store.manifest("shop/many", "x", head.manifest)
    noticed = 0
    for offset in flipped(store.path(manifest), (1, 128, 4), 1):
        for columns in (None, ["s", "t"]):
            try:
                found = store.get(manifest, columns)
            except CorruptError:
                noticed += 1
            else:
                assert found.equals(table if columns is None else table.select(columns)), offset
    assert noticed > 2000


def test_a_footer_that_names_other_columns_is_told_of(store: Store) -> None:
    head = store.head("main", CLEANED, "02")
    assert head is not None
    manifest = store.manifest(CLEANED, "02", head.manifest)
    path = store.path(manifest)
    data = path.read_bytes()
    footer = int.from_bytes(data[-8:-4], "little") + 8
    # the footer's own schema, and not the copy of Arrow's that stands in it as base64
    at = data.index(b"person", len(data) - footer)
    path.write_bytes(data[:at] + b"qerson" + data[at + 6 :])
    with pytest.raises(CorruptError, match=r"shop/cleaned\[02\] version b3:\w+ (is damaged|cannot be read)"):
        store.get(manifest)


def test_a_changed_head_is_told_of_and_repaired(store: Store) -> None:
    path = store.root / "heads" / "main" / CLEANED / "01"
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"rows":2', b'"rows":3'))
    assert path.read_bytes() != data
    with pytest.raises(CorruptError, match="01 is not a head as the store writes it; restore it from another copy"):
        Store.open(store.root).heads("main", CLEANED)
    repair(store, yes=True)
    assert Store.open(store.root).leaves("main", CLEANED)["01"].rows == 2


def test_a_record_without_a_seal_is_taken_as_it_is(store: Store) -> None:
    """Stores that were written before there were seals."""
    sound = answers(store.root)
    for folder in ("heads", "branches", "tags", "protected", "remotes"):
        for path in tended.files(store, folder):
            file = store.root / path
            file.write_bytes(file.read_bytes()[:-21] + b"}")
    assert answers(store.root) == sound
    assert verify(Store.open(store.root)).sound


# --- what is gone ----------------------------------------------------------------------------------------------------

LOST = {
    "data": (r"has lost its file|is lost", "value"),
    "meta": (r"has no manifest b3:|is lost", "manifest"),
    "trees": (r"The tree .* is lost; copy it from another copy of the store", "tree"),
    "moves": (r"The record .* of a move is lost; copy it", "move"),
    "deliveries": (r"The entry .*0000000001.json of the ledger is lost", "delivery"),
}


@pytest.mark.parametrize("folder", list(LOST))
@pytest.mark.parametrize("how", ["missing", "empty", "half"])
def test_what_is_lost_empty_or_half_is_told_of(store: Store, folder: str, how: str) -> None:
    sound = answers(store.root)
    for path in sorted(tended.files(store, folder)):
        if folder == "deliveries" and path.endswith("2.json") and how == "missing":
            continue  # without its newest entry a ledger is an older ledger
        file = store.root / path
        data = file.read_bytes()
        if how == "missing":
            file.unlink()
        else:
            file.write_bytes(data[: len(data) // 2] if how == "half" else b"")
        found = answers(store.root)
        for name, said in found.items():
            # both name the manifest where what it says cannot be told any more
            if (folder, how) != ("meta", "missing") or name not in {"log", "diff"}:
                assert said[0] == "sentence" or said == sound[name], (path, name)
        report = verify(Store.open(store.root, create=False))
        told_of = not report.sound or report.unfinished
        assert told_of, path
        file.write_bytes(data)
    assert answers(store.root) == sound


def test_what_is_lost_has_a_sentence_of_its_own(store: Store) -> None:
    for folder, (sentence, what) in LOST.items():
        copy = store.root.with_name(folder)
        shutil.copytree(store.root, copy)
        for path in tended.files(store, folder):
            if folder != "deliveries" or path.endswith("1.json"):
                (copy / path).unlink()
        said = " ".join(f"{text}" for kind, text in answers(copy).values() if kind == "sentence")
        assert re.search(sentence, said), (folder, said)
        assert what in {problem.what for problem in verify(Store.open(copy, create=False)).problems}


def test_an_empty_value_is_written_again_by_the_next_writer(store: Store) -> None:
    """As after a power cut on a disk that does not keep its word about fsync."""
    head = store.head("main", CLEANED, "02")
    assert head is not None
    manifest = store.manifest(CLEANED, "02", head.manifest)
    path = store.path(manifest)
    os.truncate(path, 0)
    with pytest.raises(CorruptError, match=r"is damaged: .* has 0 bytes .* were written. Build the batch again"):
        store.get(manifest)
    (problem,) = verify(store).problems
    assert "has 0 bytes" in problem.sentence
    assert any("branch main" in line or "main" in line for line in problem.stands_on_it)
    tended.commit(store, CLEANED, "02", tended.rows(4, 5), branch="main")
    assert store.get(manifest, verify=True).num_rows == 2
    assert verify(store).sound


# --- a disk that is full, fails, or may not be written ---------------------------------------------------------------


@pytest.fixture(scope="session")
def bench() -> Iterator[Bench]:
    memory = Path("/dev/shm")  # noqa: S108 - what is refused never reaches a disk
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        bench = Bench(Path(name) / "template", Path(name) / "work")
        assert in_child(lambda: verbs.build(bench.work)) == 0
        bench.work.rename(bench.template)
        yield bench


REASONS = {
    errno.ENOSPC: "the disk is full; free some space and run it again",
    errno.EIO: "the disk reports an error; look after the disk",
    errno.EROFS: "that disk is mounted read-only; choose another store",
    errno.EACCES: "this account may not write there; ask for the right",
}


def refused(kill: Kill, number: int, code: int) -> bool:
    """Let the disk refuse one change (a full or read-only one: all later ones too); False when it was over before."""
    work = kill.bench.reset()

    def do() -> None:
        refuse(work.parent, number, code, lasting=code != errno.EIO, making=code == errno.ENOSPC)
        kill.verb.run(work)

    ended, text = told(do)
    found = verbs.seen(work)
    if ended == 0:
        # what was refused was the sweeping of a temporary file, or nothing
        assert found == kill.after
        return False
    assert ended == SENTENCE, text
    assert f"could not be written: {REASONS[code]}" in text
    assert "What was published before stands." in text
    assert (
        found in (kill.before, kill.after) if kill.verb.whole else between(found, kill.before, kill.started, kill.after)
    )
    kill.again()
    return True


@pytest.mark.parametrize(("name", "code"), [("commit", errno.ENOSPC), ("tag", errno.EROFS), ("merge", errno.EIO)])
def test_a_disk_that_refuses_now_and_then_leaves_before_or_after(bench: Bench, name: str, code: int) -> None:
    kill = Kill(bench, name)
    count = kill.count(every=True)
    assert sum(refused(kill, number, code) for number in range(1, count, count // 4)) >= 3


_VERBS = [name for name, verb in verbs.VERBS.items() if not verb.native and name not in {"export", "export-dvc"}]


@pytest.mark.slow
@pytest.mark.parametrize("code", list(REASONS), ids=errno.errorcode.get)
@pytest.mark.parametrize("name", _VERBS)
def test_a_disk_that_refuses_anywhere_leaves_before_or_after(bench: Bench, name: str, code: int) -> None:
    kill = Kill(bench, name)
    count = kill.count(every=True)
    step = max(1, count // 40)
    assert sum(refused(kill, number, code) for number in range(1, count, step)) >= count // step // 3


@pytest.mark.parametrize("size", [0, 100, 700, 1500])
def test_a_limit_on_file_sizes_is_told_and_leaves_before(store: Store, size: int) -> None:
    """``os.write`` writes a part, reports no error, and then fails: as a quota does."""
    sound = answers(store.root)

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        tended.commit(store, CLEANED, "09", tended.rows(*range(400)))

    code, text = told(limited)
    assert code == SENTENCE, text
    assert "could not be written: the file is larger than this disk or this account's limit (ulimit -f) allows" in text
    assert answers(store.root) == sound
    tended.commit(store, CLEANED, "09", tended.rows(*range(400)))
    assert verify(store).litter["files"] == 0


@root_only
def test_a_small_disk_that_fills_up_keeps_what_it_has() -> None:
    with small_disk("300k") as disk:
        if disk is None:
            pytest.skip("no file system can be mounted here")
        small = Store.open(disk / "store")
        filler = disk / "filler"
        filler.write_bytes(b"x" * 50_000)
        kept = [tended.commit(small, CLEANED, f"{number:03d}", tended.rows(number)) for number in range(3)]

        def fill() -> None:
            kept.extend(tended.commit(small, CLEANED, f"{number:03d}", tended.rows(number)) for number in range(3, 200))

        with pytest.raises(
            StoreError, match="could not be written: the disk is full; free some space and run it again"
        ):
            fill()
        assert len(kept) > 3
        for number in range(len(kept)):
            assert tended.value(small, "main", CLEANED, f"{number:03d}")["person"].to_pylist() == [number]
        assert set(small.heads("main", CLEANED)) == {head.batch for head in kept}
        assert verify(small).sound
        filler.unlink()
        tended.commit(small, CLEANED, f"{len(kept):03d}", tended.rows(len(kept)))
        assert verify(small).sound


WRITERS: dict[str, Callable[[Store], object]] = {
    "commit": lambda store: tended.commit(store, CLEANED, "03", tended.rows(9)),
    "tag": lambda store: tended.freeze(store, "v2"),
    "branch": lambda store: create_branch(store, "new"),
    "restore": lambda store: restore(store, "main", "v1"),
    "deliver": lambda store: Ledger(store, "shop").record(RAW, "new", b"new", place="01"),
    "protect": lambda store: protect(store, "main"),
    "gc": lambda store: gc(store, yes=True),
}


def opened(root: Path) -> None:
    """Let an account without rights reach a folder of the test's."""
    for folder in [root, *list(root.parents)[:-2]]:
        folder.chmod(folder.stat().st_mode | 0o555)


@root_only
def test_who_may_only_read_reads_all_and_writes_nothing(store: Store) -> None:
    opened(store.root)
    store.put(MODEL, "02", "json", ["nobody names this"])
    tended.age(store, hours=24 * 400)
    before = tended.contents(store)
    sound = answers(store.root)

    def read() -> None:
        assert answers(store.root) == sound
        assert verify(Store.open(store.root)).sound

    assert told(as_nobody(read)) == (0, "")
    for name, write in WRITERS.items():
        code, text = told(as_nobody(lambda write=write: write(Store.open(store.root))))  # type: ignore[misc]
        assert code == SENTENCE, (name, text)
        assert "could not be written: this account may not write there; ask for the right" in text, name
    assert tended.contents(store) == before


@root_only
@pytest.mark.parametrize("folder", ["", "heads/main/shop", "meta", "data", "moves", "locks"])
def test_what_may_not_be_read_is_told_and_not_taken_for_lost(store: Store, folder: str) -> None:
    opened(store.root)
    closed = store.root / folder
    mode = closed.stat().st_mode
    closed.chmod(0o700)

    def read() -> None:
        found = answers(store.root)
        said = [f"{text}" for kind, text in found.values() if kind == "sentence"]
        assert all("could not be read: this account may not read it; ask for the right." in text for text in said), said
        assert said or folder == "locks"

    assert told(as_nobody(read)) == (0, "")
    closed.chmod(mode)
    file = next(path for path in sorted(tended.files(store, "data")) if path.endswith(".parquet"))
    (store.root / file).chmod(0o600)

    def decode() -> None:
        said = answers(store.root)["values"]
        assert said[0] == "sentence"
        assert "this account may not read it" in said[1]
        assert "damaged" not in said[1]

    assert told(as_nobody(decode)) == (0, "")


# --- clocks ----------------------------------------------------------------------------------------------------------


def test_a_clock_that_jumps_reorders_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    times = itertools.cycle(f"{year}-06-01T00:00:00.000+00:00" for year in (2031, 2024, 2027, 1999, 2030, 1970, 2040))
    for module in (store_module, deliveries):
        monkeypatch.setattr(module, "now", lambda: next(times))
    before = store.head("main", CLEANED, "02")
    assert before is not None
    for person in (7, 8, 9, 10):
        tended.commit(store, CLEANED, "02", tended.rows(person), when="2026-01-01T00:00:00+00:00")
    moves = store.moves("main", CLEANED, "02")
    assert [move.seq for move in moves] == list(range(before.seq + 4, 0, -1))
    years = [move.when for move in moves]
    assert years != sorted(years)
    assert years != sorted(years, reverse=True)
    assert tended.value(store, "main", CLEANED, "02")["person"].to_pylist() == [10]
    logged = [entry.move.seq for entry in log(store, "main", CLEANED, "02")]
    assert logged == [move.seq for move in moves]
    ledger = Ledger(store, "shop")
    for number in range(4):
        ledger.record(RAW, "again", f"{number}".encode(), place="01")
    entries = Ledger(store, "shop").entries
    assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5, 6]
    arrived = [entry.arrived for entry in entries]
    assert arrived != sorted(arrived)
    newest = Ledger(store, "shop").newest(RAW, "again")
    assert newest is not None
    assert newest.seq == 6
    assert verify(store).sound


@pytest.mark.parametrize("years", [-30, 30])
def test_gc_under_a_strange_clock_takes_nothing_that_is_needed(store: Store, years: int) -> None:
    sound = answers(store.root)
    waste = store.put(MODEL, "02", "json", ["nobody names this"]).blob.path
    then = time.time() + years * 365 * 86400
    for path in tended.files(store):
        os.utime(store.root / path, (then, then))
    gc(store, yes=True)
    assert answers(store.root) == sound
    assert verify(store).sound
    # what seems to come from the future is too young to be taken
    assert (store.root / waste).exists() == (years > 0)


# --- locks, first starts, places -------------------------------------------------------------------------------------


def test_what_stands_in_a_lock_file_holds_nobody_up(store: Store) -> None:
    for file in (store.root / "locks").iterdir():
        file.write_text("1\n")  # the number of a process that lives and knows nothing of it
    began = time.monotonic()
    tended.commit(store, CLEANED, "03", tended.rows(9))
    assert time.monotonic() - began < 10


def test_lock_files_may_vanish_under_writers(store: Store) -> None:
    tended.commit(store, CLEANED, "03", tended.rows(1))
    for file in (store.root / "locks").iterdir():
        file.unlink()
    other = Store.open(store.root)
    for number in range(4):
        tended.commit(store if number % 2 else other, CLEANED, "03", tended.rows(10 + number))
    shutil.rmtree(store.root / "locks")
    tended.commit(store, CLEANED, "03", tended.rows(20))
    assert [move.seq for move in store.moves("main", CLEANED, "03")] == [6, 5, 4, 3, 2, 1]


@root_only
def test_a_folder_of_locks_that_may_not_be_written_is_told(store: Store) -> None:
    opened(store.root)
    for folder in ("data", "meta", "heads", "moves"):
        for path in (store.root / folder).rglob("*"):
            path.chmod(0o777)
        (store.root / folder).chmod(0o777)
    shutil.rmtree(store.root / "locks")
    (store.root / "locks").mkdir(mode=0o755)
    code, text = told(as_nobody(lambda: WRITERS["commit"](Store.open(store.root))))
    assert code == SENTENCE
    assert "could not be written: this account may not write there" in text
    assert "/locks/" in text


def test_eight_first_starts_make_one_store(tmp_path: Path) -> None:
    read, write = os.pipe()
    children = []
    for number in range(8):
        child = os.fork()
        if not child:
            code = 1
            try:
                os.close(write)
                os.read(read, 1)  # all begin when the parent lets go
                store = Store.open(tmp_path / "store")
                tended.commit(store, CLEANED, f"{number}", tended.rows(number))
                tended.commit(store, MODEL, f"{number}", [number])
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    os.close(write)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 8
    store = Store.open(tmp_path / "store", create=False)
    assert (store.root / "FORMAT").read_bytes() == b"2\n"
    assert list(store.heads("main", CLEANED)) == [f"{number}" for number in range(8)]
    report = verify(store)
    assert report.sound
    assert report.litter["files"] == 0


@pytest.mark.parametrize(
    "name", ['a b/c\'s "home"', "größe/данные/数据", "/".join(["x" * 60] * 4), "-rf *;$HOME", "p=1%20/100%"]
)
def test_a_store_may_stand_under_any_name(tmp_path: Path, name: str) -> None:
    store = build(tmp_path / name)
    assert verify(store).sound
    assert {kind for kind, _ in answers(store.root).values()} == {"answer"}
    link = tmp_path / "link"
    link.symlink_to(store.root)
    linked = Store.open(link)
    # one set of locks, by whatever name the folder is reached
    with store.backend.hold("key"), linked.backend.hold("key"):
        pass
    tended.commit(linked, CLEANED, "03", tended.rows(9))
    assert tended.value(store, "main", CLEANED, "03").num_rows == 1


def test_a_path_beyond_what_the_system_takes_is_a_sentence(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["x" * 200] * 21)
    with pytest.raises(StoreError, match=r"could not be (read|written): the path is too long; use a store nearer to"):
        Store.open(deep)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"3\n", "has format 3, and this mlops_assets reads up to 2; install the newer mlops_assets that wrote it"),
        (b"99999\n", "has format 99999"),
        (b"", "FORMAT holds b'' instead of a number; write 2 if this is your store"),
        (b"two\n", "holds b'two.n' instead of a number"),
        (b"\xff\xfe", "instead of a number"),
    ],
)
def test_another_format_is_refused_before_anything_is_read(store: Store, content: bytes, sentence: str) -> None:
    (store.root / "FORMAT").write_bytes(content)
    before = tended.contents(store)
    for create in (True, False):
        with pytest.raises(StoreError, match=sentence):
            Store.open(store.root, create=create)
    assert tended.contents(store) == before


def test_another_kind_of_folder_is_left_alone(store: Store, tmp_path: Path) -> None:
    (store.root / "FORMAT").unlink()
    with pytest.raises(StoreError, match=r"is not empty and not a store \(it has no FORMAT\); name an empty or new"):
        Store.open(store.root)
    with pytest.raises(StoreError, match="There is no store at"):
        Store.open(store.root, create=False)
    assert not (store.root / "FORMAT").exists()
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(StoreError, match="is not empty and not a store"):
        Store.open(file)
    assert file.read_text() == "mine"
    with pytest.raises(StoreError, match=r"could not be written|is not empty and not a store"):
        Store.open(file / "below")


# --- half-copied files -----------------------------------------------------------------------------------------------


def test_a_file_that_grows_while_it_is_kept_is_refused(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "slow.csv"
    file.write_bytes(b"a,b\n1,2\n" * 200_000)

    def work() -> None:
        def audit(event: str, arguments: tuple[Any, ...]) -> None:
            # whenever it is opened it is longer, as under a copy that goes on
            if event == "open" and str(arguments[0]) == str(file) and arguments[1] == "r":
                os.truncate(file, file.stat().st_size + 4)

        sys.addaudithook(audit)
        Ledger(Store.open(store.root), "shop").record(RAW, "slow.csv", file, place="01")

    before = len(Ledger(store, "shop").entries)
    code, text = told(work)
    assert (code, "changed while it was read; wait until it is complete and run this again" in text) == (SENTENCE, True)
    assert len(Ledger(Store.open(store.root), "shop").entries) == before
