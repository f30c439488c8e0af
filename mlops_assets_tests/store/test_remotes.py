"""Names of other stores, what was seen of them, and one store in the hands of several accounts."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlops_assets.errors import CorruptError, NotStoredError, StoreError
from mlops_assets.store import Store
from mlops_assets.store.branching import create_branch
from mlops_assets.store.merging import merge
from mlops_assets.store.remotes import (
    Partial,
    Remote,
    Tracked,
    add_remote,
    checked_url,
    forget_partial,
    note_partial,
    partials,
    read_remote,
    remotes,
    remove_remote,
    seen,
    track,
    tracked,
)
from mlops_assets.store.transfer import push
from mlops_assets_tests.store.copies import CLEANED, DAYS, commit, raw, sound
from mlops_assets_tests.store.test_crash import in_child


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


# --- names -----------------------------------------------------------------------------------------------------------


def test_a_remote_is_added_found_and_forgotten(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    there = add_remote(store, "backup", "copies/store")
    assert there == Remote("backup", f"{tmp_path}/copies/store")
    assert not (tmp_path / "copies").exists(), "nothing is looked for"
    add_remote(store, "origin", "s3://bucket/folder/")
    assert remotes(store) == [there, Remote("origin", "s3://bucket/folder")]
    assert str(read_remote(store, "origin")) == "origin (s3://bucket/folder)"
    assert add_remote(store, "backup", str(tmp_path / "copies" / "store")) == there, "the same again is no trouble"
    with pytest.raises(
        StoreError, match=r"There is a remote backup \(.*\) already; take another name, or first: mlops-as"
    ):
        add_remote(store, "backup", "elsewhere")
    track(store, Tracked("backup", "main", {}, {}, {}, "2026-01-01"))
    note_partial(store, Partial("backup", "tag", "v1"))
    assert remove_remote(store, "backup") == there
    assert [remote.name for remote in remotes(store)] == ["origin"]
    assert tracked(store, "backup", "main") is None
    assert partials(store) == []
    with pytest.raises(
        NotStoredError, match=r"There is no remote 'backup' in store at .*; there is: origin. Add it with"
    ):
        read_remote(store, "backup")


@pytest.mark.parametrize("name", ["a/b", "a:b", "a@b"])
def test_names_that_could_be_read_in_two_ways(store: Store, name: str) -> None:
    with pytest.raises(
        StoreError, match=rf"'{name}' cannot be a remote's name: REMOTE/BRANCH and BRANCH@TIME would be"
    ):
        add_remote(store, name, "x")


def test_names_that_are_none(store: Store) -> None:
    with pytest.raises(StoreError, match="A name is empty"):
        add_remote(store, "", "x")
    with pytest.raises(StoreError, match=r"is this store itself; a remote is another one"):
        add_remote(store, "origin", f"{store.root}/")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "A remote needs a place: a folder, or a URL that starts with s3://"),
        (
            "https://example.org/store",
            "https:// is no place for a store: give a folder, or a URL that starts with s3://",
        ),
        ("s3:///folder", "s3:///folder names no bucket; write it as s3://BUCKET/FOLDER"),
        ("s3://key:secret@bucket/x", "The URL of s3://bucket holds more than a place"),
        ("s3://key@bucket/x", "The URL of s3://bucket holds more than a place"),
        (
            "az://container/x?sig=abc",
            "Secrets stay out of it: give the URL alone, and the credentials in the environment",
        ),
    ],
)
def test_urls_that_are_none(store: Store, url: str, sentence: str) -> None:
    with pytest.raises(StoreError, match=sentence) as told:
        add_remote(store, "origin", url)
    assert "secret@" not in str(told.value)
    assert "sig=abc" not in str(told.value)
    assert remotes(store) == []


def test_urls(tmp_path: Path) -> None:
    assert checked_url(f"file://{tmp_path}/x") == f"{tmp_path}/x"
    assert checked_url("abfs://box@account.dfs.core.windows.net/x") == "abfs://box@account.dfs.core.windows.net/x"
    assert checked_url("gs://bucket") == "gs://bucket"


# --- records ---------------------------------------------------------------------------------------------------------


def test_what_was_seen_is_kept_as_a_whole(store: Store) -> None:
    first = Tracked("origin", "main", {"a/b": "b3:1"}, {"a/b": {"p": "b3:2"}}, {}, "2026-01-01")
    second = Tracked("origin", "client/é", {}, {}, {"a/b": "b3:3"}, "2026-01-02")
    for record in (first, second):
        track(store, record)
    assert tracked(store, "origin", "main") == first
    assert seen(store, "origin") == [second, first]
    track(store, Tracked("origin", "main"))
    assert tracked(store, "origin", "main") == Tracked("origin", "main")


def test_parts_are_noted_until_the_whole_is_here(store: Store) -> None:
    part = Partial("origin", "tag", "v/1", ("a",), None, False)
    note_partial(store, part)
    assert partials(store) == [part]
    forget_partial(store, Partial("origin", "tag", "v/1"))
    forget_partial(store, part)
    assert partials(store) == []


def test_records_that_are_damaged_or_newer(store: Store) -> None:
    add_remote(store, "origin", "s3://bucket")
    path = store.root / "remotes" / "origin.json"
    good = path.read_bytes()
    for bad in (b"", b"[]", b"{}", good[:-3], good.replace(b"bucket", b"bucked")):
        path.write_bytes(bad)
        with pytest.raises(
            CorruptError, match=r"origin.json is not a remote as the store writes it; remove the file and"
        ):
            read_remote(store, "origin")
    path.write_bytes(b'{"format":2}')
    with pytest.raises(
        StoreError, match="is written in format 2, and this mlops_assets reads up to 1; install the newer"
    ):
        read_remote(store, "origin")
    track(store, Tracked("origin", "main"))
    (store.root / "remotes/origin/branches/main.json").write_bytes(b'{"format":1,"trees":1}')
    with pytest.raises(CorruptError, match="is not a remote's branch as the store writes it"):
        tracked(store, "origin", "main")


# --- one folder, several accounts ------------------------------------------------------------------------------------

GROUP = 54_321
ANNA, BEN = 54_322, 54_323


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that belongs to a group, where both accounts can get to it."""
    if os.getuid() != 0:
        pytest.skip("only root can work for two accounts")
    outer = Path(tempfile.mkdtemp(prefix="mlops-assets-shared-"))
    outer.chmod(0o755)
    folder = outer / "store"
    folder.mkdir()
    os.chown(folder, 0, GROUP)
    folder.chmod(0o2775)
    try:
        yield folder
    finally:
        shutil.rmtree(outer)


def as_account(uid: int, work: Callable[[], object]) -> None:
    """Do something in a process of another account, whose umask keeps everything to itself."""

    def behave() -> None:
        os.setgroups([GROUP])
        os.setgid(uid)
        os.setuid(uid)
        os.umask(0o077)
        os.environ["MLOPS_ASSETS_WHO"] = str(uid)
        work()

    assert in_child(behave) == 0


def test_two_accounts_work_in_one_folder(shared: Path) -> None:
    first, second, third = DAYS

    def begin() -> None:
        store = Store.open(shared)
        for day in DAYS:
            raw(store, day, f"visits of {day}")
            commit(store, CLEANED, day, f"anna {day}")
        create_branch(store, "next", "main")
        commit(store, CLEANED, third, "anna on next", branch="next")

    def go_on() -> None:
        store = Store.open(shared)
        # the same head, the same lock, the same bytes (touched), a folder that the other made
        commit(store, CLEANED, first, "ben")
        head = store.head("main", CLEANED, second)
        assert head
        manifest = store.manifest(CLEANED, second, head.manifest)
        assert not store.put(CLEANED, second, "json", f"anna {second}").new
        store.record(manifest)
        with store.backend.hold("anything"):
            assert store.backend.touch(f"data/{CLEANED}/p={second}/{head.version.replace(':', '-')}.json")
        raw(store, first, "visits again")
        commit(store, CLEANED, second, "ben on next", branch="next")
        # what the other wrote is mended, too
        path = store.path(manifest)
        path.write_bytes(b"torn")
        assert store.put(CLEANED, second, "json", f"anna {second}").new

    def finish() -> None:
        store = Store.open(shared)
        done = merge(store, "next", "main")
        assert done.change
        assert done.change.moved == 2
        add_remote(store, "origin", f"{shared.parent}/nowhere")
        commit(store, CLEANED, first, "anna again")

    as_account(ANNA, begin)
    as_account(BEN, go_on)
    as_account(ANNA, finish)
    as_account(BEN, lambda: commit(Store.open(shared), CLEANED, first, "ben again"))
    store = Store.open(shared)
    heads = sound(store)
    values = {day: store.get(store.manifest(CLEANED, day, heads[CLEANED, day].manifest)) for day in DAYS}
    assert values == {first: "ben again", second: "ben on next", third: "anna on next"}
    assert {move.who for move in store.moves("main", CLEANED, first)} == {str(ANNA), str(BEN)}
    for folder, _, names in os.walk(shared):
        found = Path(folder).stat()
        assert (found.st_gid, found.st_mode & 0o2070) == (GROUP, 0o2070), folder
        for name in names:
            found = Path(folder, name).stat()
            assert (found.st_gid, found.st_mode & 0o060) == (GROUP, 0o060), name


def test_two_accounts_push_to_one_folder(tmp_path: Path, shared: Path) -> None:
    outer = shared.parent
    for uid in (ANNA, BEN):
        home = outer / str(uid)
        home.mkdir()
        os.chown(home, uid, uid)

    def sending(uid: int) -> Callable[[], object]:
        def work() -> None:
            store = Store.open(outer / str(uid) / "store")
            raw(store, str(uid), "mine")
            commit(store, CLEANED, "both", "same")
            add_remote(store, "origin", str(shared))
            push(store, "origin", ["main"], assets=["shop/raw/visits"])

        return work

    as_account(ANNA, sending(ANNA))
    as_account(BEN, sending(BEN))
    as_account(ANNA, sending(ANNA))
    assert {batch for _, batch in sound(Store.open(shared))} == {str(ANNA), str(BEN)}
    del tmp_path


def test_two_accounts_begin_at_the_same_moment(shared: Path) -> None:
    """Whoever makes a folder or a lock first, the other may use it from the first moment on."""
    from concurrent.futures import ThreadPoolExecutor

    def working(uid: int) -> Callable[[], object]:
        def work() -> None:
            store = Store.open(shared)
            names = [f"{number % 10}/{number}" for number in range(40)]
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda name: commit(store, f"shop/{name}", str(uid), uid), names))

        return work

    children = []
    for uid in (ANNA, BEN):
        child = os.fork()
        if not child:
            code = 1
            try:
                as_account(uid, working(uid))
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert len(sound(Store.open(shared))) == 80
    for folder, folders, names in os.walk(shared):
        assert all(Path(folder, name).stat().st_mode & 0o060 == 0o060 for name in [*folders, *names])


def test_an_account_that_may_not_write_is_told(shared: Path) -> None:
    Store.open(shared)
    shared.chmod(0o755)

    def work() -> None:
        with pytest.raises(StoreError, match="this account may not write there; ask for the right, or choose another"):
            commit(Store.open(shared), CLEANED, "x", 1)

    as_account(ANNA, work)
