"""The index of heads: it says what the heads say, or nothing, whoever moves them."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlops_assets.store import Leaf, Store
from mlops_assets.store.backend import Mark, backend_at
from mlops_assets.store.columns import Columns
from mlops_assets.store.freezing import freeze
from mlops_assets.store.heads import NOTHING, Head
from mlops_assets.store.listing import FEW, Look, index_path, look
from mlops_assets.store.local import LocalBackend
from mlops_assets.store.names import asset_path
from mlops_assets.store.store import head_path
from mlops_assets.store.verify import verify

ASSET = "shop/raw"
FOLDER = f"heads/main/{asset_path(ASSET)}"
COUNT = 3 * FEW
OLD = 3.2
"""Seconds after which a head may be remembered, with a tick of the coarsest clock."""


class Coarse(LocalBackend):
    """A file system whose clock ticks once a second and which gives every file the same number."""

    tick = 1_000_000_000

    def marks(self, folder: str) -> dict[str, Mark | None] | None:
        found = super().marks(folder) or {}
        return {
            name: mark and Mark(mark.changed // self.tick * self.tick, 0, mark.size) for name, mark in found.items()
        }

    def touched(self, folder: str) -> int | None:
        return (super().touched(folder) or 0) // self.tick * self.tick

    def clock(self) -> int | None:
        now = super().clock()
        return now and now // self.tick * self.tick


def leaf(number: int) -> Leaf:
    return Leaf(f"b3:{number:064x}", f"b3:{number:064x}", ".", "json", 1, "0" * 64, number)


def put(store: Store, batch: str, number: int | None, asset: str = ASSET) -> None:
    """A head's file, as the store writes it, without the record of its move."""
    head = Head(asset, batch, 1, "", os.urandom(12).hex(), *(NOTHING if number is None else leaf(number)))
    place = Path(store.backend.url) / head_path("main", asset, batch)
    place.parent.mkdir(parents=True, exist_ok=True)
    # not Store.move: many of these are to fall into one tick of the clock
    temporary = place.parent / f".{os.getpid()}.tmp"
    temporary.write_bytes(head.encode())
    temporary.replace(place)


def plain(store: Store) -> dict[str, Leaf]:
    """What the heads show, by reading all of them."""
    files = (place for place in (Path(store.backend.url) / FOLDER).iterdir() if not place.name.startswith("."))
    heads = [Head.decode(place.read_bytes(), str(place)) for place in files]
    return {head.batch: head.leaf for head in heads if head.manifest}


def opened(store: Store) -> set[str]:
    """The names of the heads that a look reads."""
    return set(look(store, "main", ASSET).data)


@pytest.fixture(params=[LocalBackend, Coarse])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Store:
    Store.open(tmp_path / "store")
    return Store(request.param(tmp_path / "store"))


@pytest.fixture
def old(store: Store) -> Store:
    """A store with an index of heads that nobody moves."""
    for number in range(COUNT):
        put(store, f"{number:03}", number)
    time.sleep(OLD)
    assert len(opened(store)) == COUNT
    assert opened(store) == set()
    return store


def test_only_what_moved_is_read_again(old: Store) -> None:
    put(old, "007", 1000)
    put(old, "008", None)
    put(old, "new", 1001)
    (Path(old.backend.url) / FOLDER / "009").unlink()
    assert opened(old) == {"007", "008", "new"}
    assert look(old, "main", ASSET).heads["008"].manifest == ""
    assert "009" not in look(old, "main", ASSET).heads
    assert old.leaves("main", ASSET) == plain(old)
    (tree,) = freeze(old, "main").values()
    assert dict(old.tree(tree)) == plain(old)
    assert {problem.path for problem in verify(old).problems if "cache" in problem.path} == set()


def test_what_is_young_is_not_remembered(store: Store) -> None:
    for number in range(COUNT):
        put(store, f"{number:03}", number)
    assert len(opened(store)) == COUNT
    assert store.backend.stat(index_path(FOLDER)) is None
    assert len(opened(store)) == COUNT


def test_a_head_replaced_within_a_tick_is_seen(store: Store) -> None:
    """On the coarse clock: another content under the same mark."""
    for turn in range(30):
        for number in range(COUNT):
            put(store, f"{number:03}", 1000 + (turn + number) % 7)
        assert store.leaves("main", ASSET) == plain(store)
    time.sleep(OLD)
    assert store.leaves("main", ASSET) == plain(store)
    assert opened(store) == set()


def test_a_head_that_moves_after_it_was_listed_is_not_remembered_as_it_was(store: Store) -> None:
    for number in range(COUNT):
        put(store, f"{number:03}", number)
    time.sleep(OLD)

    class Moving(type(store.backend)):  # type: ignore[misc]
        """Heads move between the list of a folder and the reading of its files."""

        def clock(self) -> int | None:
            found: int | None = super().clock()
            put(store, "007", 1000)
            put(store, "008", None)
            return found

    seen = look(Store(Moving(Path(store.backend.url))), "main", ASSET).heads
    assert (seen["007"].leaf, seen["008"].leaf) == (leaf(1000), NOTHING)
    put(store, "007", 1001)
    assert opened(store) == {"007", "008"}, "their marks are others than those that were listed"
    assert store.leaves("main", ASSET) == plain(store)


@pytest.mark.parametrize("damage", [b"", b"x", b"b3:0\n{}", "cut", "flipped", "other"])
def test_a_damaged_index_is_made_again(old: Store, damage: bytes | str) -> None:
    place = Path(old.backend.url) / index_path(FOLDER)
    sound = place.read_bytes()
    if damage == "cut":
        damage = sound[:-1]
    elif damage == "flipped":
        damage = sound.replace(b"b3:" + b"0" * 63 + b"7", b"b3:" + b"0" * 63 + b"8")
    elif damage == "other":
        other = Path(old.backend.url) / index_path("heads/other/raw")
        other.write_bytes(sound)
        put(old, "007", 8)
        other.replace(place)
        damage = sound
    assert isinstance(damage, bytes)
    place.write_bytes(damage)
    assert old.leaves("main", ASSET) == plain(old)
    if damage != sound:
        assert opened(old) == set()
        assert place.read_bytes().partition(b"\n")[0] == sound.partition(b"\n")[0]


def test_a_copy_of_a_store_has_no_use_for_its_index(old: Store, tmp_path: Path) -> None:
    os.system(f"cp -a '{old.backend.url}' '{tmp_path / 'copy'}'")  # noqa: S605
    copy = Store.open(tmp_path / "copy")
    assert len(opened(copy)) == COUNT
    assert copy.leaves("main", ASSET) == plain(old)


def test_a_store_that_may_only_be_read_answers(store: Store) -> None:
    for number in range(COUNT):
        put(store, f"{number:03}", number)
    time.sleep(OLD)
    # root may write anywhere: a file where the folder belongs refuses it too
    (Path(store.backend.url) / "cache").write_bytes(b"")
    for _ in range(2):
        assert len(opened(store)) == COUNT
        assert store.leaves("main", ASSET) == plain(store)


def test_a_link_is_read_every_time(old: Store, tmp_path: Path) -> None:
    place = Path(old.backend.url) / FOLDER / "007"
    elsewhere = tmp_path / "elsewhere"
    place.rename(elsewhere)
    place.symlink_to(elsewhere)
    assert opened(old) == {"007"}
    assert old.leaves("main", ASSET) == plain(old)


def test_a_bucket_is_read_in_full() -> None:
    store = Store(backend_at("memory://listing"))
    store.move("main", ASSET, "a", leaf(1), None)
    data = store.backend.read(head_path("main", ASSET, "a"))
    assert look(store, "main", ASSET) == Look(Columns.of(Head, {"a": Head.decode(data, "")}), {"a": data}, None)


@pytest.fixture
def movers(old: Store) -> Iterator[list[int]]:
    """Processes that move heads back and forth, as fast as they can, with rests in which they grow old."""
    pids = []
    for number in range(3):
        if (pid := os.fork()) == 0:
            # a new interpreter would take longer than the test
            chance = random.Random(number)
            while True:
                # each head has one writer, which stands for the lock that writers take
                for _ in range(chance.choice([3, 300, 3000])):
                    batch = chance.randrange(number, COUNT, 3)
                    put(old, f"{batch:03}", chance.choice([1000 + batch, 2000 + batch, None]))
                time.sleep(chance.choice([0, 0, OLD + 0.5]))
        pids.append(pid)
    yield pids
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_listing_is_what_the_heads_say_while_others_move_them(old: Store, movers: list[int]) -> None:
    reused = 0
    deadline = time.monotonic() + 15
    chance = random.Random(7)
    while time.monotonic() < deadline:
        for _ in range(5):
            look(old, "main", ASSET)
        time.sleep(chance.choice([0.0, 0.1]))
        # moving, no two readings are of one moment: what is compared is what a stop leaves, in any state of the index
        for pid in movers:
            os.kill(pid, signal.SIGSTOP)
            os.waitpid(pid, os.WUNTRACED)
        listed = look(old, "main", ASSET)
        assert {name: head.leaf for name, head in listed.heads.items() if head.manifest} == plain(old)
        reused += len(listed.heads) - len(listed.data)
        for pid in movers:
            os.kill(pid, signal.SIGCONT)
    assert reused > COUNT, "the index was of use"


@pytest.mark.parametrize("place", ["folder", "memory"])
def test_what_a_place_says_of_its_folders(tmp_path: Path, place: str) -> None:
    backend = backend_at(tmp_path if place == "folder" else f"memory://{os.urandom(6).hex()}")
    for path in ("a/b/file", "a/c/file", "a/.hidden", "d/file"):
        backend.write(path, b"")
    for folder in ("", "a", "a/b", "d", "none", "d/file"):
        folders, names = backend.children(folder)
        assert backend.folders(folder) == (folders, bool(names)), folder
    assert backend.folders("a") == (["b", "c"], False)
    if place == "memory":
        assert backend.touched("a") is None
        return
    assert (backend.touched("none"), backend.touched("d/file/none")) == (0, 0)
    before = 0
    changes: list[Callable[[], object]] = [
        lambda: backend.write("a/b/file", b"another"),
        lambda: backend.create("a/b/new", b""),
        lambda: backend.rename("a/b/new", "a/c/new"),
        lambda: backend.rename("a/c/new", "a/b/file"),
        lambda: backend.delete("a/b/file"),
    ]
    for change in changes:
        time.sleep(0.02)
        change()
        after, clock = backend.touched("a/b"), backend.clock()
        assert after is not None
        assert clock is not None
        assert before < after <= clock
        before = after
