"""Every way to name what is looked at, and the sentences for names that lead nowhere or to two places."""

import os

import pytest

from mlops_assets.errors import CorruptError, NotStoredError, PurgedError, StoreError
from mlops_assets.store import Branch, Head, Store
from mlops_assets.store import store as core
from mlops_assets.store.digest import canonical_json
from mlops_assets.store.refs import chosen_assets, find, parse_moment, remote_branches, tracked_path, view
from mlops_assets.store.snapshots import tag
from mlops_assets.store.store import branch_path, move_path
from mlops_assets.store.tags import tag_path

RAW, CLEANED = "flights/raw/flights", "flights/cleaned"


@pytest.fixture
def store() -> Store:
    return Store.open(f"memory://{os.urandom(6).hex()}")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The time of every record is the last one in this list."""
    times = ["2026-01-01T00:00:00.000+00:00"]
    monkeypatch.setattr(core, "now", lambda: times[-1])
    return times


def put(store: Store, value: object, batch: str = "2013-01", asset: str = CLEANED, branch: str = "main") -> Head:
    return store.commit(branch, asset, batch, "json", value)


def versions(store: Store, ref: str, asset: str = CLEANED, branch: str = "main") -> dict[str, str]:
    return {batch: leaf.version for batch, leaf in view(store, ref, branch).leaves(asset).items()}


def start(store: Store, name: str, source: str = "main", when: str = "2026-01-01T00:00:00.000+00:00") -> None:
    base = {asset: store.write_tree(asset, store.leaves(source, asset)) for asset in store.assets(source)}
    store.backend.create(branch_path(name), Branch(name, base, source, when=when).encode())


def test_a_branch_and_the_current_one(store: Store) -> None:
    first = put(store, 1)
    start(store, "dev")
    second = put(store, 2, branch="dev")
    assert versions(store, "main") == {"2013-01": first.version}
    for ref in ("dev", "branch:dev", "."):
        assert versions(store, ref, branch="dev") == {"2013-01": second.version}
    assert versions(store, ".") == {"2013-01": first.version}
    shown = view(store, "dev")
    assert (shown.kind, shown.name, shown.ref, str(shown)) == ("branch", "branch dev", "branch:dev", "branch dev")
    assert shown.assets() == [CLEANED]
    assert shown.tree_id(CLEANED) is None
    assert shown.manifest(CLEANED, "2013-01").version == second.version
    assert shown.leaves("flights/none") == {}


def test_a_view_is_one_picture(store: Store) -> None:
    first = put(store, 1)
    shown = view(store, "main")
    assert shown.leaves(CLEANED)["2013-01"].version == first.version
    assert shown.assets() == [CLEANED]
    put(store, 2)
    store.commit("main", "flights/features", "2013-01", "json", 3)
    assert shown.leaves(CLEANED)["2013-01"].version == first.version
    shown.assets().append("not the view's own list")
    assert shown.assets() == [CLEANED]


def test_a_tag_is_what_it_was(store: Store) -> None:
    first = put(store, 1)
    made = tag(store, "v1", "flights", "main")
    put(store, 2)
    shown = view(store, "v1")
    assert (shown.kind, shown.name, shown.ref) == ("tag", "tag v1", "tag:v1")
    assert shown.assets() == [CLEANED]
    assert shown.tree_id(CLEANED) == made.assets[CLEANED].tree
    assert shown.tree_id("flights/none") is None
    assert versions(store, "tag:v1") == {"2013-01": first.version}
    with pytest.raises(
        NotStoredError, match=r"^tag v1 shows no batch '2013-02' of flights/cleaned; near is: 2013-01\."
    ):
        shown.manifest(CLEANED, "2013-02")
    with pytest.raises(NotStoredError, match=r"^tag v1 shows nothing of 'flights/clean'; near is: flights/cleaned\. "):
        shown.manifest("flights/clean", "2013-01")


def test_what_shows_nothing_is_not_near_itself(store: Store) -> None:
    head = store.commit("main", "flights/features", "2013-01", "json", 1)
    put(store, 1)
    store.move("main", CLEANED, "2013-01", None, store.head("main", CLEANED, "2013-01"))
    assert head
    with pytest.raises(
        NotStoredError, match=r"^branch main shows nothing of 'flights/cleaned'; near is: flights/features\. See all"
    ):
        view(store, "main").manifest(CLEANED, "2013-01")


def test_naming_a_tag_or_branch_reads_little(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, 1)
    tag(store, "v1", "flights", "main")
    for name in ("entries", "children", "read_many"):
        monkeypatch.setattr(store.backend, name, None)
    assert view(store, "v1").tree_id(CLEANED)
    assert view(store, "main").kind == "branch"


def test_a_name_of_two_things_is_asked_back(store: Store) -> None:
    put(store, 1)
    tag(store, "v1", "flights", "main")
    start(store, "v1")
    with pytest.raises(StoreError, match=r"^'v1' is the name of a branch and of a tag; write branch:v1 or tag:v1\.$"):
        view(store, "v1")
    assert view(store, "tag:v1").kind == "tag"
    assert view(store, "branch:v1").kind == "branch"


def test_a_remote_branch_is_as_it_was_last_seen(store: Store) -> None:
    first = put(store, 1)
    tree = store.write_tree(CLEANED, store.leaves("main", CLEANED))
    record = {"format": 1, "branch": "main", "trees": {CLEANED: tree}, "moves": {}, "when": "2026-01-01"}
    path = tracked_path("origin", "main")
    store.backend.write(path, canonical_json(record))
    assert remote_branches(store) == ["origin/main"]
    shown = view(store, "origin/main")
    assert (shown.kind, shown.name, shown.ref) == ("remote", "main of remote origin", "remote:origin/main")
    assert versions(store, "remote:origin/main") == {"2013-01": first.version}
    store.backend.write(path, canonical_json({**record, "format": 2}))
    with pytest.raises(StoreError, match=r"is written in format 2, and this mlops_assets reads up to 1"):
        view(store, "origin/main")
    store.backend.write(path, b"{")
    with pytest.raises(CorruptError, match=r"is not a remote's branch .* mend it with: mlops-assets fetch origin"):
        view(store, "origin/main")


def test_a_branch_at_a_moment(store: Store, clock: list[str]) -> None:
    first = put(store, 1)
    clock.append("2026-02-01T00:00:00.000+00:00")
    second = put(store, 2)
    other = put(store, 3, batch="2013-02")
    clock.append("2026-03-01T00:00:00.000+00:00")
    put(store, 4)
    store.move("main", CLEANED, "2013-02", None, other)
    assert versions(store, "main@2025-12-31") == {}
    assert versions(store, "main@2026-01-31T23:59") == {"2013-01": first.version}
    assert versions(store, "@2026-02-01") == {"2013-01": second.version, "2013-02": other.version}
    assert versions(store, ".@2026-02-01T01:30:00+02:00") == {"2013-01": first.version}
    assert versions(store, "main@2026-03-01") == versions(store, "main")
    shown = view(store, "branch:main@2026-02-01")
    assert (shown.kind, shown.name) == ("time", "branch main at 2026-02-01T00:00:00+00:00")
    assert view(store, shown.ref).leaves(CLEANED) == shown.leaves(CLEANED)
    assert shown.manifest(CLEANED, "2013-02").version == other.version
    with pytest.raises(NotStoredError) as caught:
        view(store, "main@2025-12-31").manifest(CLEANED, "2013-02")
    assert str(caught.value) == (
        "branch main at 2025-12-31T00:00:00+00:00 shows nothing of 'flights/cleaned': nothing of it had been published "
        "by then. See all with: mlops-assets show main@2025-12-31T00:00:00+00:00"
    )
    with pytest.raises(NotStoredError, match=r"shows nothing of 'flights/clean'; near is: flights/cleaned\. See all"):
        view(store, "main@2025-12-31").manifest("flights/clean", "2013-02")


def test_what_was_taken_away_had_been_published(store: Store, clock: list[str]) -> None:
    head = put(store, 1)
    clock.append("2026-02-01T00:00:00.000+00:00")
    store.move("main", CLEANED, "2013-01", None, head)
    clock.append("2026-03-01T00:00:00.000+00:00")
    put(store, 2)
    with pytest.raises(NotStoredError, match=r"shows nothing of 'flights/cleaned'\. See all with: "):
        view(store, "main@2026-02-15").manifest(CLEANED, "2013-01")


def test_a_moment_of_a_branch_that_starts_from_something(store: Store, clock: list[str]) -> None:
    first = put(store, 1)
    put(store, 2, batch="2013-02")
    clock.append("2026-02-01T00:00:00.000+00:00")
    start(store, "dev", when=clock[-1])
    clock.append("2026-03-01T00:00:00.000+00:00")
    changed = put(store, 3, batch="2013-02", branch="dev")
    head = store.head("dev", CLEANED, "2013-01")
    store.move("dev", CLEANED, "2013-01", None, head)
    assert versions(store, "dev@2026-02-02") == versions(store, "main")
    assert versions(store, "dev@2026-02-02")["2013-01"] == first.version
    assert versions(store, "dev@2026-03-02") == {"2013-02": changed.version}
    with pytest.raises(
        NotStoredError, match=r"^The branch dev was started at 2026-02-01.*, after 2026-01-01.*\(main\)"
    ):
        view(store, "dev@2026-01-01")


def test_a_moment_that_is_none(store: Store) -> None:
    with pytest.raises(StoreError, match=r"^'noon' is not a moment; write a date or time such as 2026-03-01 or "):
        view(store, "main@noon")
    with pytest.raises(StoreError, match=r"^9999-01-01T00:00:00\+00:00 has not come yet; ask for the branch itself"):
        parse_moment("9999-01-01")
    with pytest.raises(NotStoredError, match=r"^There is no branch, tag or version 'mian' in .*; near is: main\.$"):
        view(store, "mian@2026-01-01")


def test_a_move_that_is_lost_or_damaged_is_told(store: Store) -> None:
    head = put(store, 1)
    path = move_path("main", CLEANED, "2013-01", head.move)
    store.backend.write(path, b"{}")
    with pytest.raises(CorruptError, match=r"^The record .* of a move is damaged; copy it from another copy"):
        view(store, "@2026-01-01").leaves(CLEANED)
    store.backend.delete(path)
    with pytest.raises(CorruptError, match=r"^The record .* of a move is lost; copy it from another copy"):
        view(store, "@2026-01-01").leaves(CLEANED)


def test_a_version_that_a_moment_showed_and_gc_took(store: Store, clock: list[str]) -> None:
    first = put(store, 1)
    clock.append("2026-02-01T00:00:00.000+00:00")
    put(store, 2)
    (path,) = [entry.path for entry in store.backend.entries("meta") if first.manifest.replace(":", "-") in entry.path]
    store.backend.delete(path)
    with pytest.raises(
        NotStoredError, match=r"^flights/cleaned\[2013-01\] showed manifest b3:\w+ then, which .* fetch"
    ):
        view(store, "@2026-01-15").leaves(CLEANED)


def test_a_version_by_its_first_digits(store: Store) -> None:
    first = put(store, 1)
    put(store, 2)
    for ref in (first.version, first.version[:9], first.version[:9].upper().replace("B3", "b3"), first.manifest[:12]):
        shown = view(store, ref)
        assert shown.kind == "version"
        assert shown.assets() == [CLEANED]
        assert {batch: leaf.manifest for batch, leaf in shown.leaves(CLEANED).items()} == {"2013-01": first.manifest}
    assert shown.leaves(RAW) == {}
    assert find(store, first.version[:12])[1][0].id == first.manifest


def test_the_same_content_in_two_places_is_one_version(store: Store) -> None:
    first = put(store, [])
    again = put(store, [], batch="2013-02")
    assert first.version == again.version
    assert set(view(store, first.version[:14]).leaves(CLEANED)) == {"2013-01", "2013-02"}


def test_digits_that_mean_nothing_or_several(store: Store) -> None:
    put(store, 1)
    with pytest.raises(StoreError, match=r"^'b3:12345' is too short to name a version; give `b3:` and at least 6 hex"):
        view(store, "b3:12345")
    with pytest.raises(
        NotStoredError, match=r"^No version and no manifest in store .* starts with b3:000000; see what"
    ):
        view(store, "b3:000000")
    for number in range(7):
        store.backend.create(f"data/flights/cleaned/p=2013-0{number}/b3-abcdef{number}.json", b"1")
    with pytest.raises(StoreError) as caught:
        view(store, "b3:abcdef")
    said = str(caught.value)
    assert said.startswith(
        "b3:abcdef could be 7 versions or manifests: b3:abcdef0 (version of flights/cleaned[2013-00])"
    )
    assert said.count("(version of") == 5
    assert said.endswith(", and 2 more. Give more digits.")


def test_a_purged_version_says_so(store: Store) -> None:
    stone = {"format": 1, "purge": "p-7", "when": "2026-01-01", "basis": "", "rows": 1, "replacement": None}
    store.backend.create("tombstones/b3-123456789.json", canonical_json(stone))
    with pytest.raises(PurgedError, match=r"^b3:123456789 was purged on 2026-01-01 by purge p-7\.$"):
        view(store, "b3:123456")


def test_a_manifest_without_a_value(store: Store) -> None:
    from mlops_assets.store import Manifest

    refused = Manifest(CLEANED, "2013-01", "table")
    store.record(refused)
    with pytest.raises(NotStoredError, match=r"is the record of flights/cleaned\[2013-01\], which was refused before"):
        view(store, refused.id)
    assert find(store, refused.id[:20]) == (refused.id, [refused])


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ("v1.0.O", r"^There is no branch, tag or version 'v1\.0\.O' in .*; near is: v1\.0\.0\.$"),
        ("zzz", r"^There is no branch, tag or version 'zzz' in .*; branches are: main; tags: v1\.0\.0\.$"),
        ("tag:main", r"^There is no tag 'main' in .*; near is: main\.$"),
        ("../../etc/passwd", r"^There is no branch, tag or version '\.\./\.\./etc/passwd' in "),
        ("remote:main", r"^There is no remote 'main' in "),
        ("tag:", r"^There is no tag '' in "),
        ("", r"^There is no branch, tag or version '' in "),
        ("e\u0301", r"writes a letter and its accent as two characters"),
    ],
)
def test_unknown_names(store: Store, ref: str, said: str) -> None:
    put(store, 1)
    tag(store, "v1.0.0", "flights", "main")
    with pytest.raises(StoreError, match=said):
        view(store, ref)


def test_damaged_and_newer_tags(store: Store) -> None:
    put(store, 1)
    store.backend.write(tag_path("v1"), b"[1")
    with pytest.raises(CorruptError, match=r"tags/v1\.json is not a tag as the store writes it; copy it from another"):
        view(store, "v1")
    store.backend.write(tag_path("v1"), b'{"format":2}')
    with pytest.raises(StoreError, match=r"tags/v1\.json is written in format 2, and this mlops_assets reads up to 1"):
        view(store, "v1")


def test_choosing_assets(store: Store) -> None:
    put(store, 1)
    put(store, 1, asset=RAW)
    put(store, 1, asset="visits/cleaned")
    shown = view(store, "main")
    assert chosen_assets(shown, None) == [CLEANED, RAW, "visits/cleaned"]
    assert chosen_assets(shown, ["flights"]) == chosen_assets(shown, ["flights/", RAW]) == [CLEANED, RAW]
    with pytest.raises(
        NotStoredError, match=r"^branch main shows no asset 'flights/cleand'; there is: flights/cleaned"
    ):
        chosen_assets(shown, ["flights/cleand"])
