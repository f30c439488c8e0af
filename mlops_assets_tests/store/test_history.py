"""What happened, newest first and in order; and what is recorded of one thing."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.errors import CorruptError, NotStoredError, StoreError
from mlops_assets.store import Input, Store
from mlops_assets.store import history as module
from mlops_assets.store import store as clock
from mlops_assets.store.branching import create_branch
from mlops_assets.store.history import log, show
from mlops_assets.store.merging import merge
from mlops_assets.store.snapshots import tag
from mlops_assets.store.store import head_path, move_path
from mlops_assets_tests.store.s3 import S3

CLEANED, RAW = "trips/cleaned", "trips/raw/trips"


class Clock:
    """A second goes by at every look, unless told."""

    def __init__(self) -> None:
        self.second = 0

    def __call__(self) -> str:
        self.second += 1
        return f"2026-01-01T{self.second // 3600:02}:{self.second // 60 % 60:02}:{self.second % 60:02}.000+00:00"


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(clock, "now", made)
    return made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def told(store: Store, **options: Any) -> list[tuple[str, str, int]]:
    found = log(store, **options)
    assert json.loads(json.dumps([item.to_dict() for item in found], allow_nan=False))[: len(found)] or not found
    return [(item.move.asset, item.move.batch, item.move.seq) for item in found]


def dated(store: Store) -> None:
    """Give heads' files the times of their moves, as they have when nobody copies them."""
    for entry in store.backend.entries("heads"):
        branch, *asset, batch = entry.path.split("/")[1:]
        head = store.slot(branch, "/".join(asset), batch)
        assert head
        move = store.move_record(branch, "/".join(asset), batch, head.move)
        os.utime(store.root / entry.path, times=(module._time(move) + 0.001,) * 2)


def test_the_newest_moves_of_all_heads(store: Store, seconds: Clock) -> None:
    del seconds
    for version in range(3):
        for batch in ("a", "b"):
            for asset in (CLEANED, RAW):
                store.commit("main", asset, batch, "json", [version], message=f"take {version}", run_id=f"r{version}")
    expected = [(asset, batch, seq) for seq in (3, 2, 1) for batch in ("b", "a") for asset in (RAW, CLEANED)]
    for copied in (True, False):
        if not copied:
            dated(store)
        assert told(store) == expected
        assert told(store, limit=5) == expected[:5]
        assert told(store, limit=None, asset=CLEANED) == [item for item in expected if item[0] == CLEANED]
        assert told(store, asset="trips/raw") == [item for item in expected if item[0] == RAW]
        assert told(store, asset=CLEANED, batch="a") == [(CLEANED, "a", seq) for seq in (3, 2, 1)]
        assert told(store, asset=CLEANED, batch="a", limit=2) == [(CLEANED, "a", 3), (CLEANED, "a", 2)]
        newest = log(store, limit=1)[0]
        assert told(store, since=newest.move.when) == expected[:1]
        assert told(store, since=newest.move.when, asset=RAW, batch="b") == expected[:1]
        assert told(store, since="2026-01-01T00:00:00") == expected
        assert told(store, since="2026-01-02") == []
    first, last = log(store)[-1], log(store)[0]
    assert (first.before, first.move.message, first.verb, first.group) == (None, "take 0", "publish", ("run", "r0"))
    assert last.before == log(store, asset=RAW, batch="b")[1].after
    assert last.after == store.head("main", RAW, "b").version  # type: ignore[union-attr]


def test_few_heads_are_read_for_few_lines(store: Store, seconds: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 4)
    for number in range(30):
        seconds.second += 10
        store.commit("main", CLEANED, f"{number:02}", "json", [number])
    dated(store)
    read: list[str] = []
    real = store.backend.read_many

    def read_many(paths: Any) -> Any:
        read.extend(paths)
        return real(paths)

    monkeypatch.setattr(store.backend, "read_many", read_many)
    assert [batch for _, batch, _ in told(store, limit=9)] == [f"{number}" for number in range(29, 20, -1)]
    assert sum(path.startswith("heads/") for path in read) <= 12
    # a day later, somebody moves one head back in time: its file is young, its move is old
    os.utime(store.root / head_path("main", CLEANED, "00"))
    assert [batch for _, batch, _ in told(store, limit=2)] == ["29", "28"]


def test_files_that_are_older_than_their_moves_are_not_believed(
    store: Store, seconds: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 2)
    for number in range(10):
        seconds.second += 10
        store.commit("main", CLEANED, f"{number}", "json", [number])
    for number in range(10):
        os.utime(store.root / head_path("main", CLEANED, f"{number}"), times=(-number, -number))
    assert [batch for _, batch, _ in told(store, limit=3)] == ["9", "8", "7"]


def test_the_order_within_a_head_is_that_of_its_moves(store: Store, seconds: Clock) -> None:
    for second, value in ((50, 1), (10, 2), (70, 3)):
        seconds.second = second
        store.commit("main", CLEANED, "a", "json", [value])
    seconds.second = 60
    store.commit("main", CLEANED, "b", "json", [0])
    assert told(store) == [(CLEANED, "a", 3), (CLEANED, "b", 1), (CLEANED, "a", 2), (CLEANED, "a", 1)]


def test_a_branch_tells_its_own_moves(store: Store) -> None:
    store.commit("main", CLEANED, "a", "json", [1])
    create_branch(store, "try", "main", message="an idea")
    assert log(store, "try") == []
    assert log(store, "try", CLEANED, "a") == []
    store.commit("try", CLEANED, "a", "json", [2])
    merge(store, "try", "main", message="it is better")
    item = log(store, "main")[0]
    assert (item.verb, item.group[0], item.move.message) == ("merge", "change", "it is better")
    assert item.move.origin["branch"] == "try"
    head = store.head("main", CLEANED, "a")
    store.move("main", CLEANED, "a", None, head)
    item = log(store, "main", CLEANED, "a")[0]
    assert item.after is None
    assert item.before


def test_questions_about_what_is_not_there(store: Store) -> None:
    assert log(store) == []
    store.commit("main", CLEANED, "2013-01", "json", [1])
    with pytest.raises(NotStoredError, match="There is no branch 'tri'"):
        log(store, "tri")
    with pytest.raises(NotStoredError, match="branch main shows no asset 'trips/cleand'; there is: trips/cleaned"):
        log(store, asset="trips/cleand")
    with pytest.raises(NotStoredError, match="branch main shows no batch '2013-09' of trips/cleaned; near is: 2013-01"):
        log(store, asset=CLEANED, batch="2013-09")
    with pytest.raises(StoreError, match="Whose batch 'x' is meant"):
        log(store, batch="x")
    with pytest.raises(StoreError, match="'yesterday' is not a moment"):
        log(store, since="yesterday")


def test_a_lost_or_damaged_record_is_named(store: Store) -> None:
    head = store.commit("main", CLEANED, "a", "json", [1])
    path = store.root / move_path("main", CLEANED, "a", head.move)
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"seq":1', b'"seq":2'))
    with pytest.raises(CorruptError, match=r"The record .* of a move is damaged; copy it from another copy"):
        log(store)
    path.unlink()
    with pytest.raises(CorruptError, match=r"The record .* of a move is lost; copy it from another copy"):
        log(store)


def test_a_version_whose_record_was_cleared_away(store: Store) -> None:
    first = store.commit("main", CLEANED, "a", "json", [1])
    store.commit("main", CLEANED, "a", "json", [2])
    (store.root / f"meta/{CLEANED}/a/{first.manifest.replace(':', '-')}.json").unlink()
    newest, oldest = log(store)
    assert newest.after
    assert (newest.before, oldest.after) == (None, None)
    assert newest.move.from_manifest == first.manifest


def test_on_an_object_store(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**s3.environment, "MLOPS_ASSETS_CACHE": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    store = Store.open(f"s3://{s3.bucket()}/store")
    for number in range(3):
        store.commit("main", CLEANED, f"{number}", "json", [number])
    store.commit("main", CLEANED, "0", "json", ["again"])
    assert told(store)[0] == (CLEANED, "0", 2)
    assert len(log(store)) == 4
    assert show(store, f"{CLEANED}[0]").record["shown"]


# --- show ------------------------------------------------------------------------------------------------------------


def test_a_version_by_its_address_or_digest(store: Store) -> None:
    head = store.commit(
        "main", CLEANED, "a", "json", [1], inputs=(Input(RAW, "a", "b3:aa", "b3:bb"),), code_version="c1", seed=3
    )
    shown = show(store, f"{CLEANED}[a]")
    assert shown.what == "version"
    assert (shown.record["manifest"], shown.record["version"], shown.record["shown"]) == (
        head.manifest,
        head.version,
        True,
    )
    assert shown.record["inputs"] == [{"asset": RAW, "partition": "a", "version": "b3:aa", "manifest": "b3:bb"}]
    assert show(store, head.version[:15]).record["manifest"] == head.manifest
    assert show(store, head.manifest[:15]).record["version"] == head.version
    assert show(store, CLEANED).record["manifest"] == head.manifest
    again = store.commit("main", CLEANED, "a", "json", [1], code_version="c2")
    found = show(store, head.version).record
    assert [item["manifest"] for item in found["also"]] == [head.manifest]
    assert found["manifest"] == again.manifest
    assert not show(store, head.manifest).record["shown"]
    move = show(store, again.move[:15])
    assert (move.what, move.record["before"], move.record["seq"]) == ("move", head.version, 2)
    tree = store.write_tree(CLEANED, store.leaves("main", CLEANED))
    found = show(store, tree[:15]).record
    assert (found["asset"], found["batches"], list(found["leaves"])) == (CLEANED, 1, ["a"])


def test_tags_branches_assets_changes(store: Store) -> None:
    for batch in ("a", "b"):
        store.commit("main", CLEANED, batch, "json", [batch])
    store.commit("main", RAW, "a", "json", [1])
    tag(store, "v1", "trips", "main", message="first")
    create_branch(store, "try", "v1", message="an idea", who="ann")
    store.commit("try", CLEANED, "a", "json", [2])
    assert show(store, "v1").what == "tag"
    assert show(store, "v1").record["assets"][CLEANED]["batches"] == 2
    found = show(store, "try")
    assert (found.what, found.record["message"], found.record["who"]) == ("branch", "an idea", "ann")
    assert found.record["assets"][CLEANED]["last"] == "b"
    assert show(store, branch="try").record["branch"] == "try"
    assert show(store, f"{CLEANED}[a]", at="try").record["version"] == store.head("try", CLEANED, "a").version  # type: ignore[union-attr]
    found = show(store, CLEANED)
    assert (found.what, list(found.record["leaves"])) == ("asset", ["a", "b"])
    found = show(store, "trips/raw", at="v1")
    assert (found.what, found.record["name"], list(found.record["assets"])) == ("view", "trips/raw in tag v1", [RAW])
    found = show(store, "trips")
    assert list(found.record["assets"]) == [CLEANED, RAW]
    change = merge(store, "try", "main").change
    assert change
    found = show(store, change.id)
    assert (found.what, found.record["verb"], found.record["moved"]) == ("change", "merge", 1)
    assert found.record["steps"][0]["batch"] == "a"
    for what in ("v1", "try", "trips", CLEANED, change.id, f"{CLEANED}[a]", "main@2026-01-01"):
        assert json.dumps(show(store, what).record, allow_nan=False)


def test_what_cannot_be_shown(store: Store) -> None:
    store.commit("main", CLEANED, "a", "json", [1])
    with pytest.raises(NotStoredError, match="main shows no batch 'z' of trips/cleaned; near is: a"):
        show(store, f"{CLEANED}[z]")
    with pytest.raises(NotStoredError, match="shows no asset 'trips/cleand'; there is: trips/cleaned"):
        show(store, "trips/cleand")
    with pytest.raises(NotStoredError, match=r"'mian'.*main"):
        show(store, "mian")
    with pytest.raises(StoreError, match="too short"):
        show(store, "b3:12")
    with pytest.raises(NotStoredError, match="starts with b3:123456789"):
        show(store, "b3:123456789")
