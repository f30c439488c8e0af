"""One picture of all heads, while others move them."""

import os
import shutil
import signal
import time
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path

import pytest

from mlops_assets.errors import ConflictError, NotStoredError
from mlops_assets.store import Leaf, Store
from mlops_assets.store.backend import Entry, Mark
from mlops_assets.store.branching import create_branch
from mlops_assets.store.freezing import freeze
from mlops_assets.store.listing import FEW, YOUNG, settled
from mlops_assets.store.local import LocalBackend
from mlops_assets.store.names import asset_path
from mlops_assets_tests.store.test_listing import Coarse, put


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def leaf(number: int) -> Leaf:
    return Leaf(f"b3:{number:064x}", f"b3:{number:064x}", ".", "json", 1, "0" * 64, number)


def show(store: Store, branch: str, asset: str, batch: str, to: Leaf | None) -> None:
    store.move(branch, asset, batch, to, store.head(branch, asset, batch))


def test_a_branch_is_frozen_as_its_readers_see_it(store: Store) -> None:
    show(store, "main", "shop/raw", "a", leaf(1))
    show(store, "main", "shop/raw", "b/ü", leaf(2))
    show(store, "main", "shop/raw/orders", "a", leaf(3))
    show(store, "main", "other/raw", "a", leaf(4))
    trees = freeze(store, "main")
    assert {asset: dict(store.tree(tree)) for asset, tree in trees.items()} == {
        asset: store.leaves("main", asset) for asset in store.assets("main")
    }
    assert freeze(store, "main", "other") == {"other/raw": trees["other/raw"]}
    assert freeze(store, "main", "shop") == {asset: trees[asset] for asset in ("shop/raw", "shop/raw/orders")}
    assert freeze(store, "main", "sho") == {}
    create_branch(store, "dev")
    assert freeze(store, "dev") == trees
    assert freeze(store, "dev", "other") == {"other/raw": trees["other/raw"]}, "nothing of its own"
    show(store, "dev", "shop/raw", "a", None)
    show(store, "dev", "shop/raw", "c", leaf(5))
    show(store, "dev", "other/raw", "a", None)
    frozen = freeze(store, "dev")
    assert dict(store.tree(frozen["shop/raw"])) == {"b/ü": leaf(2), "c": leaf(5)}
    assert frozen["shop/raw/orders"] == trees["shop/raw/orders"]
    assert "other/raw" not in frozen, "an asset without a batch is left out"
    with pytest.raises(NotStoredError, match="There is no branch 'nobody'"):
        freeze(store, "nobody")


def test_what_moved_while_it_was_read_is_read_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for batch in "abc":
        show(store, "main", "shop/raw", batch, leaf(1))
    real = store.backend.read_many
    calls = 0

    def moved_meanwhile(paths: Sequence[str]) -> Iterator[bytes | None]:
        nonlocal calls
        calls += 1
        found = list(real(paths))
        if calls == 1:
            show(store, "main", "shop/raw", "b", leaf(2))
            show(store, "main", "shop/raw", "d", leaf(2))
            # one that was taken out of the folder, as a removed branch's are
            store.backend.delete("heads/main/shop/raw/c")
        return iter(found)

    monkeypatch.setattr(store.backend, "read_many", moved_meanwhile)
    (tree,) = freeze(store, "main").values()
    assert dict(store.tree(tree)) == {"a": leaf(1), "b": leaf(2), "d": leaf(2)}
    assert calls >= 3


def test_what_never_stands_still_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    show(store, "main", "shop/raw", "a", leaf(0))
    real = store.backend.read_many
    number = 0

    def restless(paths: Sequence[str]) -> Iterator[bytes | None]:
        nonlocal number
        number += 1
        found = list(real(paths))
        show(store, "main", "shop/raw", "a", leaf(number))
        return iter(found)

    monkeypatch.setattr(store.backend, "read_many", restless)
    monkeypatch.setattr("mlops_assets.store.freezing.PATIENCE", 0.05)
    with pytest.raises(ConflictError, match=r"heads of branch main did not stand still .* wait until the runs on it"):
        freeze(store, "main")


def test_a_picture_under_a_writer_is_one_moment(store: Store) -> None:
    """The writer moves the first head, then the last: at any moment the first is at most one ahead."""
    batches = [f"{number:03d}" for number in range(120)]
    for batch in batches:
        show(store, "main", "shop/raw", batch, leaf(0))
    writer = os.fork()
    if not writer:
        try:
            for number in range(1, 1000):
                show(store, "main", "shop/raw", batches[0], leaf(number))
                show(store, "main", "shop/raw", batches[-1], leaf(number))
                time.sleep(0.02)
        finally:
            os._exit(0)
    try:
        seen = set()
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            leaves = store.tree(freeze(store, "main")["shop/raw"])
            first, last = leaves[batches[0]].rows, leaves[batches[-1]].rows
            assert first is not None
            assert last is not None
            assert first - last in {0, 1}
            seen.add(first)
    finally:
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
    assert len(seen) > 3


# --- somebody moves heads between any two questions to the place -----------------------------------------------------


def ignored(_: str) -> None:
    """Nobody comes in between."""


class Watched(LocalBackend):
    """Calls ``before`` at every question, so that somebody else can come in between."""

    before: Callable[[str], object] = staticmethod(ignored)

    def read(self, path: str) -> bytes:
        self.before("read")
        return super().read(path)

    def read_many(self, paths: Sequence[str]) -> Iterator[bytes | None]:
        for number, path in enumerate(paths):
            if number in {0, 1, len(paths) - 1}:
                self.before("read_many")
            try:
                yield LocalBackend.read(self, path)
            except FileNotFoundError:
                yield None

    def entries(self, folder: str) -> Iterator[Entry]:
        self.before("entries")
        yield from super().entries(folder)

    def folders(self, folder: str) -> tuple[list[str], bool]:
        self.before("folders")
        return super().folders(folder)

    def touched(self, folder: str) -> int | None:
        self.before("touched")
        return super().touched(folder)

    def marks(self, folder: str) -> dict[str, Mark | None] | None:
        self.before("marks")
        return super().marks(folder)

    def clock(self) -> int | None:
        self.before("clock")
        return super().clock()


class Aged(Watched):
    """All that was there at ``born`` was there long before."""

    born = 0
    AGE = 10 * YOUNG

    def _shown(self, when: int) -> int:
        return when - self.AGE if when and when <= self.born else when

    def touched(self, folder: str) -> int | None:
        return self._shown(super().touched(folder) or 0)

    def marks(self, folder: str) -> dict[str, Mark | None] | None:
        found = super().marks(folder) or {}
        return {name: mark and mark._replace(changed=self._shown(mark.changed)) for name, mark in found.items()}


class CoarselyWatched(Watched, Coarse):
    """On a clock that ticks once a second: all of a test falls into one tick or two."""


class Leaping(Aged):
    """On a clock that ticks once a second, much time passes whenever somebody has moved a head."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.leaps: list[int] = []

    def leap(self) -> None:
        time.sleep(0.02)
        self.leaps.append(time.time_ns())
        time.sleep(0.02)

    def _shown(self, when: int) -> int:
        return (when + bisect(self.leaps, when) * self.AGE) // 10**9 * 10**9

    def marks(self, folder: str) -> dict[str, Mark | None] | None:
        found = super().marks(folder) or {}
        return {name: mark and mark._replace(number=0) for name, mark in found.items()}

    def clock(self) -> int | None:
        return self._shown(super().clock() or 0)


class CoarselyAged(Aged, Coarse):
    """On the finest of coarse clocks, when nothing has moved for long."""

    tick = 10_000_000

    def _shown(self, when: int) -> int:
        return super()._shown(when) if when <= self.born // self.tick * self.tick else when


def at(turn: int, work: Callable[[], object]) -> Callable[[str], object]:
    """Do some work before one of many questions."""
    turns = count()
    return lambda _: work() if next(turns) == turn else None


def both(one: Callable[[str], object], other: Callable[[str], object]) -> Callable[[str], object]:
    return lambda said: (one(said), other(said))


def grow_old(backend: Watched) -> None:
    """Let what is there have stood for long, on a place that can."""
    if isinstance(backend, Aged) and not isinstance(backend, Leaping):
        # the tick in which it was changed is over before it can have aged
        time.sleep(0.02)
        backend.born = time.time_ns()
        time.sleep(0.02)


FIRST, LAST, NEW, BELOW = ASSETS = ("shop/raw", "shop/zoo", "shop/new", "shop/raw/below")
COUNT = FEW + 8


class Others:
    """They move a head of each of two assets, always to the same number."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.number = 0
        for asset in (FIRST, LAST):
            for batch in range(COUNT):
                put(store, f"{batch:03}", 0, asset)

    def both_move(self) -> list[int | None]:
        self._put(FIRST, LAST)
        return [self.number, self.number, None, None]

    def one_moves_twice(self) -> list[int | None]:
        """Its file may get the number of the first one, and it is as long."""
        self._put(FIRST, LAST)
        return self.both_move()

    def assets_come(self) -> list[int | None]:
        self._put(*ASSETS)
        return [self.number] * 4

    def assets_go(self) -> list[int | None]:
        for asset in (NEW, BELOW):
            shutil.rmtree(Path(self.store.backend.url) / "heads/main" / asset_path(asset), ignore_errors=True)
        return [self.number, self.number, None, None]

    def _put(self, *assets: str) -> None:
        self.number += 1
        for asset in assets:
            put(self.store, "003", self.number, asset)


def seen(store: Store, dataset: str | None = None) -> list[int | None]:
    trees = {asset: store.tree(id_) for asset, id_ in freeze(store, "main", dataset).items()}
    assert {len(trees[asset]) for asset in (FIRST, LAST)} == {COUNT}
    return [trees[asset]["003"].rows if asset in trees else None for asset in ASSETS]


@pytest.mark.parametrize("dataset", [None, "shop"])
@pytest.mark.parametrize("event", [Others.both_move, Others.one_moves_twice, Others.assets_come])
@pytest.mark.parametrize("kind", [Watched, CoarselyWatched, Leaping, Aged, CoarselyAged])
def test_what_moves_between_two_questions_is_seen_whole_or_not_at_all(
    tmp_path: Path, kind: type[Watched], event: Callable[[Others], list[int | None]], dataset: str | None
) -> None:
    """Before, between and after any two questions to the place."""
    others = Others(Store.open(tmp_path / "store"))
    backend = kind(tmp_path / "store")
    store = Store(backend)
    asked: list[str] = []
    grow_old(backend)
    seen(store, dataset)
    backend.before = asked.append
    assert seen(store, dataset) == [0, 0, None, None]
    assert len(asked) > 8, "this many turns"
    moved = 0
    for turn in range(len(asked) + 1):
        backend.before = ignored
        old = others.assets_go()
        grow_old(backend)
        events: list[list[int | None]] = []

        def they_come(events: list[list[int | None]] = events) -> None:
            events.append(event(others))
            if isinstance(backend, Leaping):
                backend.leap()

        backend.before = at(turn, they_come)
        found = seen(store, dataset)
        new = events[0] if events else old
        assert found in (old, new), (turn, asked[turn : turn + 1])
        moved += found != old
    assert moved > len(asked) // 3, "many moves came before the moment that was seen"


def test_a_head_that_goes_and_comes_back_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when somebody restores files: it is seen or not, and waited for no longer than for any other move."""
    monkeypatch.setattr("mlops_assets.store.freezing.PATIENCE", 5.0)
    store = Store.open(tmp_path / "store")
    for batch in "ab":
        put(store, batch, 1)
    backend = Watched(tmp_path / "store")
    path, aside = Path(backend.url) / "heads/main/shop/raw/b", tmp_path / "aside"

    def it_goes() -> None:
        path.rename(aside)

    def it_comes() -> None:
        if aside.exists():
            aside.rename(path)

    asked: list[str] = []
    backend.before = asked.append
    freeze(Store(backend), "main")
    for turn in range(len(asked)):
        for later in range(1, len(asked)):
            backend.before = both(at(turn, it_goes), at(turn + later, it_comes))
            (tree,) = freeze(Store(backend), "main").values()
            assert set(store.tree(tree)) in ({"a", "b"}, {"a"})
            it_comes()


def test_a_time_is_settled_when_no_later_change_can_get_it() -> None:
    second = 10**9
    fine = 1_000 * second + 123_456_789
    assert settled(fine, fine + second // 5)
    assert not settled(fine, fine + second // 20), (
        "a kernel's clock ticks ten to a thousand times in a tenth of a second"
    )
    whole = 1_000 * second
    assert not settled(whole, whole + 2 * second), "FAT writes down every other second"
    assert settled(whole, whole + 2 * second + 1)
    assert not settled(whole + 10_000_000, whole + second)
    assert not settled(fine, fine)
    assert not settled(fine + 1, fine)


class Timeless(Watched):
    """A clock that says nothing: all that is there may be younger."""

    def clock(self) -> int | None:
        super().clock()
        return 0


@pytest.mark.parametrize("kind", [Aged, Timeless])
def test_heads_of_folders_that_stood_still_are_looked_at_once(tmp_path: Path, kind: type[Watched]) -> None:
    Others(Store.open(tmp_path / "store"))
    backend = kind(tmp_path / "store")
    store = Store(backend)
    old = kind is Aged
    grow_old(backend)
    seen(store, "shop")
    asked: list[str] = []
    backend.before = asked.append
    seen(store, "shop")
    # of two assets and the folder around them; what is young is looked at again
    assert asked.count("marks") == (3 if old else 6)
    assert ("read_many" in asked) == (not old)
