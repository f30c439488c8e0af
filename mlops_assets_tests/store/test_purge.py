"""Erasing a person: out of every version, on every branch, and never back."""

import json
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_assets.errors import ConflictError, CorruptError, NotStoredError, PurgedError, RefusedError, StoreError
from mlops_assets.store import Head, Manifest, Store
from mlops_assets.store import files as locks
from mlops_assets.store.branching import create_branch, protect
from mlops_assets.store.changes import Change, Step, _id, _path
from mlops_assets.store.deliveries import Ledger
from mlops_assets.store.people import People, Person
from mlops_assets.store.purge import Purge, marks, purge, purges, replacement, resume
from mlops_assets.store.store import leaf_of
from mlops_assets.store.tags import read_tag
from mlops_assets.store.verify import verify
from mlops_assets_tests.store.tended import (
    CLEANED,
    MODEL,
    RAW,
    age,
    commit,
    contents,
    files,
    freeze,
    line,
    manifest,
    value,
)
from mlops_assets_tests.store.test_crash import die_at, in_child

BATCH = "2024-01"
SPLITS, QUARANTINE = "shop/splits", "shop/quarantine"
BASIS = "request 2026-17"
KEY = 77_071_234_567
ALIGNED = {SPLITS: CLEANED}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def erase(store: Store, person: int = KEY, **named: object) -> Purge:
    options = {"basis": BASIS, "dry": False, "aligned": ALIGNED, "texts": ("_text", "row"), **named}
    return purge(store, "shop", [{"person": str(person)}], **options)  # type: ignore[arg-type]


def build(store: Store, batch: str, people: list[int], branch: str = "main") -> Mapping[str, Head]:
    """A batch with all its stages, and a model of it."""
    raw, cleaned = line(store, batch, people, branch=branch)
    split = pa.table({"bucket": pa.array(range(len(people)), pa.int16())})
    splits = commit(store, SPLITS, batch, split, cleaned, branch=branch)
    refused = pa.table({"row": [json.dumps({"person": str(people[0]), "paid": "much"}), "a line that is 17 wide"]})
    quarantine = commit(store, QUARANTINE, batch, refused, raw, branch=branch)
    model = commit(store, MODEL, batch, {"of": len(people)}, cleaned, splits, branch=branch)
    return {"raw": raw, "cleaned": cleaned, "splits": splits, "quarantine": quarantine, "model": model}


def people_in(store: Store) -> set[str]:
    """Everything in the store that says who somebody is, byte by byte where it is no table."""
    found: set[str] = set()
    for path, data in contents(store).items():
        if path.endswith(".parquet"):
            table = pq.read_table(store.root / path, partitioning=None)
            for name in ("person", "row", "_text"):
                if name in table.column_names:
                    found.update(str(item) for item in table[name].to_pylist())
        else:
            found.add(data.decode())
    return found


def test_a_person_is_gone_from_every_version_and_everything_else_stands(store: Store) -> None:
    build(store, BATCH, [1, KEY])
    freeze(store, "v1")
    build(store, BATCH, [KEY, 2, 3])
    create_branch(store, "other")
    build(store, "2024-02", [4, 5])
    build(store, BATCH, [KEY, 2, 6], branch="other")
    assert any(str(KEY) in text for text in people_in(store))
    untouched = contents(store, "tags", "meta", "trees", "branches")
    done = erase(store)
    assert done.done
    assert not any(str(KEY) in text for text in people_in(store))
    after = contents(store, "tags", "meta", "trees", "branches")
    assert untouched.items() <= after.items()
    assert len(done.replaced) == 3 * 4 - 1, "of the first quarantine it was another person"
    assert value(store, "main", CLEANED, BATCH)["person"].to_pylist() == [2, 3]
    assert value(store, "main", RAW, BATCH)["person"].to_pylist() == ["2", "3"]
    assert value(store, "main", SPLITS, BATCH)["bucket"].to_pylist() == [1, 2]
    assert value(store, "main", QUARANTINE, BATCH)["row"].to_pylist() == ["a line that is 17 wide"]
    assert value(store, "other", CLEANED, BATCH)["person"].to_pylist() == [2, 6]
    assert value(store, "main", CLEANED, "2024-02").num_rows == 2
    assert {item.asset for item in done.derived} == {MODEL}
    shown = [who for item in done.derived for who in item.shown_by]
    assert sorted(shown) == ["branch main", "branch other", "start of branch other", "tag v1"]
    report = verify(store, content=True)
    assert report.sound, report.problems
    assert set(report.purged) == {done.id}
    assert len(report.purged[done.id]) == len(done.erased)
    # what the model was made from is marked
    model = store.head("main", MODEL, BATCH)
    assert model
    assert marks(store)[model.manifest] == [done.id]


def test_moves_say_that_it_was_a_purge_and_inputs_follow(store: Store) -> None:
    before = build(store, BATCH, [1, KEY])
    protect(store, "main")
    done = erase(store)
    move = store.moves("main", CLEANED, BATCH)[0]
    assert (move.origin, move.message) == ({"verb": "purge", "purge": done.id}, f"rows were erased: {BASIS}")
    head = store.head("main", CLEANED, BATCH)
    assert head
    cleaned = manifest(store, head)
    assert cleaned.recipe == f"purged-{done.id}"
    assert cleaned.facts == {
        "rows": 1,
        "purged": {"purge": done.id, "replaces": before["cleaned"].manifest, "rows": 1},
    }
    raw = store.head("main", RAW, BATCH)
    assert raw
    assert [item.manifest for item in cleaned.inputs] == [raw.manifest]
    assert (cleaned.attachments, cleaned.sentences) == ({}, (f"Purge {done.id} erased 1 row.",))
    assert sorted(done.moved) == [
        f"shop/{stage}[{BATCH}] on branch main" for stage in ("cleaned", "raw/visits", "splits")
    ]


def test_the_key_is_nowhere(store: Store) -> None:
    build(store, BATCH, [1, KEY])
    done = erase(store)
    assert str(KEY) not in json.dumps(done.to_dict())
    for path, data in contents(store).items():
        assert str(KEY).encode() not in data, path
    assert repr(People([Person({"person": str(KEY)})])).count(str(KEY)) == 0


def test_what_was_erased_cannot_be_read_and_cannot_come_back(store: Store) -> None:
    before = build(store, BATCH, [1, KEY])
    freeze(store, "v1")
    delivered = manifest(store, before["raw"]).files[0]
    text = store.backend.read(delivered["blob"])
    done = erase(store)
    leaf = store.tree(read_tag(store, "v1").trees[CLEANED])[BATCH]
    old = store.manifest(CLEANED, BATCH, leaf.manifest)
    with pytest.raises(PurgedError, match=rf"was purged on .* by purge {done.id}; b3:\w+ took its place"):
        store.get(old)
    instead = replacement(store, old)
    assert instead
    assert store.get(instead)["person"].to_pylist() == [1]
    with pytest.raises(PurgedError, match=r"was erased on .* and may not come back"):
        commit(store, CLEANED, BATCH, pa.table({"person": [1, KEY], "paid": [10.0, 10.0 * KEY]}))
    with pytest.raises(PurgedError, match="deliver it without the rows that had to go"):
        store.put_bytes(RAW, BATCH, text)
    with pytest.raises(PurgedError, match="was purged on"):
        store.get(manifest(store, before["splits"]))
    # the same buckets may be those of other people
    commit(store, SPLITS, "2024-02", pa.table({"bucket": pa.array([0, 1], pa.int16())}))
    assert verify(store).sound


def test_a_dry_run_says_all_and_does_nothing(store: Store) -> None:
    build(store, BATCH, [1, KEY])
    freeze(store, "v1")
    before = contents(store)
    plan = erase(store, dry=True)
    assert (plan.dry, plan.done, plan.found) == (True, False, True)
    assert contents(store) == before
    assert [(item.asset, item.rows, item.of, item.direct) for item in plan.replaced] == [
        (CLEANED, 1, 2, True) if number == 1 else (RAW, 1, 2, True) if number == 0 else (SPLITS, 1, 2, False)
        for number in range(3)
    ]
    assert sorted(item.what for item in plan.erased) == ["attachment", "delivered", *["value"] * 3]
    assert Purge.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    assert not erase(store, person=999, dry=True).found
    assert not erase(store, person=999).found
    assert contents(store) == before


def test_a_second_purge_goes_on_from_the_first(store: Store) -> None:
    before = build(store, BATCH, [1, KEY, 3])
    first = erase(store)
    second = erase(store, person=3)
    assert [purge_.id for purge_ in purges(store)] == [second.id, first.id]
    instead = replacement(store, manifest(store, before["cleaned"]))
    assert instead
    assert store.get(instead)["person"].to_pylist() == [1]
    assert value(store, "main", CLEANED, BATCH)["person"].to_pylist() == [1]
    assert replacement(store, instead) is None
    assert verify(store).sound
    # everybody
    erase(store, person=1)
    assert value(store, "main", CLEANED, BATCH).num_rows == 0


def test_deliveries_that_no_table_was_read_from(store: Store) -> None:
    build(store, BATCH, [1, 2])
    ledger = Ledger(store, "shop")
    refused = ledger.record(RAW, "a.csv", f"person,paid\n{KEY},5\n".encode(), place=BATCH).delivery
    other = ledger.record(RAW, "b.csv", f"person,paid\n5,{KEY}\n".encode(), place=BATCH).delivery
    copy = ledger.record(RAW, "c.csv", f"person,paid\n{KEY},5\n".encode(), place="2024-02").delivery
    done = erase(store)
    assert {item.path for item in done.erased} == {refused.blob.path, copy.blob.path}
    assert store.bytes(other.blob)
    report = verify(store)
    assert report.sound
    assert sorted(report.purged[done.id]) == sorted([refused.blob.path, copy.blob.path])


def test_other_spellings_are_told(store: Store) -> None:
    raw = commit(store, RAW, BATCH, pa.table({"person": [f"0{KEY}", "1"]}))
    commit(store, CLEANED, BATCH, pa.table({"person": [KEY, 1]}), raw)
    plan = erase(store, dry=True)
    assert len(plan.replaced) == 1
    assert len(plan.doubts) == 1
    assert "it is written in another way there" in plan.doubts[0]


def test_rows_that_cannot_be_told_apart_are_told(store: Store) -> None:
    cleaned = commit(store, CLEANED, BATCH, pa.table({"person": [KEY, 1]}))
    commit(store, SPLITS, BATCH, pa.table({"bucket": [1]}), cleaned)
    plan = erase(store, dry=True)
    assert len(plan.replaced) == 1
    assert "has 1 row and what it was made from 2" in plan.doubts[0]
    assert [item.asset for item in plan.derived] == [SPLITS]


def test_rows_are_followed_from_table_to_table(store: Store) -> None:
    cleaned = commit(store, CLEANED, BATCH, pa.table({"person": [1, KEY]}))
    splits = commit(store, SPLITS, BATCH, pa.table({"bucket": [7, 8]}), cleaned)
    commit(store, "shop/weights", BATCH, pa.table({"weight": [0.5, 0.25]}), splits)
    plan = erase(store, aligned={"shop/weights": SPLITS, SPLITS: CLEANED}, dry=True)
    assert [item.asset for item in plan.replaced] == [CLEANED, SPLITS, "shop/weights"]
    erase(store, aligned={SPLITS: CLEANED, "shop/weights": SPLITS})
    assert value(store, "main", "shop/weights", BATCH)["weight"].to_pylist() == [0.5]
    with pytest.raises(StoreError, match="cannot stand in the order of itself"):
        erase(store, aligned={SPLITS: SPLITS})


def test_rows_that_only_look_back_at_a_person_stay_and_are_told(store: Store) -> None:
    before = commit(store, CLEANED, "2024-01", pa.table({"person": [KEY, 1]}))
    own = commit(store, CLEANED, "2024-02", pa.table({"person": [2, 3]}))
    commit(store, SPLITS, "2024-02", pa.table({"bucket": [7, 8]}), own, before)
    plan = erase(store)
    assert plan.doubts == ()
    assert [(item.asset, item.batch) for item in plan.derived] == [(SPLITS, "2024-02")]
    assert value(store, "main", SPLITS, "2024-02")["bucket"].to_pylist() == [7, 8]
    assert value(store, "main", CLEANED, "2024-01")["person"].to_pylist() == [1]


def test_keys_of_several_columns_and_of_every_type(store: Store) -> None:
    table = pa.table(
        {
            "shop": ["north", "south", "north"],
            "number": pa.array([7, 7, 8], pa.int32()),
            "day": pa.array([0, 1, 0], pa.date32()),
            "at": pa.array([0, 1, 2], pa.timestamp("ms")),
            "score": [0.5, 0.25, 0.125],
            "known": [True, False, True],
        }
    )
    for batch, keys, left in (
        ("a", {"shop": "north", "number": "7"}, 2),
        ("b", {"day": "1970-01-02"}, 2),
        ("c", {"at": "1970-01-01T00:00:00.002"}, 2),
        ("d", {"score": "0.125"}, 2),
        ("e", {"known": "true"}, 1),
        ("f", {"number": "seven"}, 3),
    ):
        dataset = f"set{batch}"
        # the very same content was erased in the dataset before
        commit(store, f"{dataset}/t", batch, table.append_column("set", pa.array([dataset] * 3)))
        purge(store, dataset, [keys], basis=BASIS, dry=False)
        assert value(store, "main", f"{dataset}/t", batch).num_rows == left, keys
    many = [{"shop": "north", "number": "7"}, {"shop": "south", "number": "7"}]
    commit(store, "setg/t", "a", table)
    assert purge(store, "setg", many, basis=BASIS, dry=False).replaced[0].rows == 2


def test_row_groups_are_ruled_out_by_their_statistics(store: Store, tmp_path: Path) -> None:
    table = pa.table({"person": list(range(1000)), "text": [f"t{number:04d}" for number in range(1000)]})
    path = tmp_path / "x.parquet"
    pq.write_table(table, path, row_group_size=100, write_page_checksum=True)
    stored = store.put(CLEANED, BATCH, "table", table)
    record = Manifest(CLEANED, BATCH, "table", stored.version, stored.blob, 1000, stored.schema, stored.columns)
    for keys, places in (
        ({"person": "250"}, [250]),
        ({"text": "t0999", "person": "999"}, [999]),
        ({"person": "5000"}, []),
    ):
        mask = People([Person(keys)]).rows_of(record, path)
        assert mask is not None
        assert mask.nonzero()[0].tolist() == places


@pytest.mark.parametrize(
    ("name", "data", "found"),
    [
        ("header", b"person;paid\n7071;1\n", True),
        ("another column", b"person,paid\n1,7071\n", False),
        ("part of a number", b"person,paid\n70711,1\n", False),
        ("bom and quotes", b'\xef\xbb\xbf"person","paid"\r\n"7071","1"\r\n', True),
        ("a line of another width", b"person,paid\n7071,1,2\n", True),
        ("another person's line of another width", b"person,paid\n1,x-70715,2\n", False),
        ("json lines", b'{"person": 7071}\n', True),
        ("another field", b'{"person": 1, "paid": 7071}\n', False),
        ("examples", b'{"paid": ["line 2: person 7071 paid much"]}', True),
        ("utf-16", "person,paid\n7071,1\n".encode("utf-16"), True),
        ("latin-1", "person,name\n7071,J\xfcrgen\n".encode("cp1252"), True),
        ("nothing", b"", False),
        ("packed", b"\x1f\x8b\x08\x00", False),
        ("a field without end", b'person,paid\n"' + b"7071," * 40_000, True),
    ],
)
def test_delivered_files(tmp_path: Path, name: str, data: bytes, found: bool) -> None:
    del name
    path = tmp_path / "delivered"
    path.write_bytes(data)
    assert People([Person({"person": "7071"})]).in_file(path) is found


def test_delivered_parquet(tmp_path: Path) -> None:
    path = tmp_path / "delivered.parquet"
    pq.write_table(pa.table({"person": [1, KEY]}), path)
    assert People([Person({"person": str(KEY)})]).in_file(path)
    assert not People([Person({"person": "2"})]).in_file(path)


@pytest.mark.parametrize(
    ("people", "basis", "kind", "sentence"),
    [
        ([], BASIS, StoreError, "Say whose rows: a column and a value"),
        ([{}], BASIS, StoreError, "Say whose rows: a column and a value"),
        ([{"person": ""}], BASIS, StoreError, "A key without a value would mean everybody"),
        (
            [{"person": "1"}, {"paid": "1"}],
            BASIS,
            StoreError,
            "Every key needs a value for person, and for nothing else",
        ),
        ([{"person": "1"}], " ", StoreError, "Say on what ground the rows are erased"),
        ([{"person": "1"}], "erase 1, please", RefusedError, "The basis holds the key itself"),
        (
            [{"persona": "1"}],
            BASIS,
            NotStoredError,
            r"No asset of shop has persona: .* have: paid, person",
        ),
    ],
)
def test_requests_that_cannot_be(
    store: Store, people: list[dict[str, str]], basis: str, kind: type[Exception], sentence: str
) -> None:
    commit(store, CLEANED, BATCH, pa.table({"person": [KEY, 1], "paid": [1, 2]}))
    before = contents(store)
    with pytest.raises(kind, match=sentence):
        purge(store, "shop", people, basis=basis, dry=False)
    assert contents(store) == before


def test_a_misspelt_column_is_refused_beside_tables_that_hold_records_as_text(store: Store) -> None:
    commit(store, CLEANED, BATCH, pa.table({"person": [KEY], "_text": [f"{KEY};1"]}))
    before = contents(store)
    with pytest.raises(NotStoredError, match=r"No asset of shop has persona: nothing was searched"):
        purge(store, "shop", [{"persona": str(KEY)}], basis=BASIS, dry=False, texts=("_text",))
    with pytest.raises(NotStoredError, match=r"No asset of shop has day and persona: nothing was searched"):
        purge(store, "shop", [{"day": "1", "persona": str(KEY)}], basis=BASIS, dry=False, texts=("_text",))
    assert contents(store) == before


def test_unknown_datasets_and_purges(store: Store) -> None:
    commit(store, CLEANED, BATCH, pa.table({"person": [KEY, 1]}))
    with pytest.raises(NotStoredError, match=r"There is no dataset 'shoe' .*; there is: shop\."):
        purge(store, "shoe", [{"person": "1"}], basis=BASIS)
    with pytest.raises(NotStoredError, match=r"There is no purge 'x' .*; there is: none"):
        resume(store, "x")


def test_damage_is_not_searched(store: Store) -> None:
    head = commit(store, CLEANED, BATCH, pa.table({"person": [KEY, 1]}))
    found = manifest(store, head)
    assert found.blob
    (store.root / found.blob.path).write_bytes(b"PAR1")
    with pytest.raises(CorruptError, match="is damaged"):
        erase(store)
    store.backend.delete(found.blob.path)
    with pytest.raises(CorruptError, match="has lost its file"):
        erase(store)


def test_an_unfinished_change_that_is_about_to_show_them(store: Store) -> None:
    first = commit(store, CLEANED, BATCH, pa.table({"person": [KEY, 1]}))
    second = commit(store, CLEANED, BATCH, pa.table({"person": [2, 1]}))
    leaf = leaf_of(manifest(store, first))
    change = Change("main", "restore", (Step.of(CLEANED, BATCH, second, leaf),), when="2024-01-01T00:00:00.000+00:00")
    data = change.encode()
    store.backend.create(_path(_id(change.when, data)), data)
    with pytest.raises(ConflictError, match="is not finished and is about to show versions that have to go"):
        erase(store)


def test_versions_that_come_while_it_runs_are_told(store: Store) -> None:
    commit(store, CLEANED, BATCH, pa.table({"person": [KEY, 1]}))
    settle = store.backend.settle

    def somebody_delivers() -> None:
        commit(Store.open(store.root), CLEANED, "2024-02", pa.table({"person": [KEY, 2]}))
        settle()

    store.backend.settle = somebody_delivers  # type: ignore[method-assign]
    assert "While the purge ran, others recorded 1 version, in which nothing was searched: " in erase(store).doubts[-1]
    store.backend.settle = settle  # type: ignore[method-assign]
    again = erase(store)
    assert [item.batch for item in again.replaced] == ["2024-02"]
    assert again.doubts == ()


def test_copies_out_of_reach_are_named(store: Store, tmp_path: Path) -> None:
    from mlops_assets.store.remotes import add_remote

    build(store, BATCH, [1, KEY])
    add_remote(store, "backup", str(tmp_path / "backup"))
    (store.root / f"data/{CLEANED}/_delta_log").mkdir()
    (store.root / f"data/{CLEANED}/_delta_log/0.json").write_text("{}")
    told = " ".join(erase(store, dry=True).out_of_reach)
    assert "Where files arrive, 1 delivered file that held the person may still lie: " in told
    assert f"landing/visits_{BATCH}.csv. Take the rows out there, or delete the whole." in told
    assert f"{CLEANED} was published as a Delta table" in told
    assert "The remote backup" in told
    assert "Exports" in told


def test_what_gc_or_a_killed_writer_left_goes_too(store: Store) -> None:
    head = commit(store, CLEANED, BATCH, pa.table({"person": [KEY, 1]}))
    found = manifest(store, head).blob
    assert found
    copy = store.root / "trash" / "20240101T000000-00" / found.path
    copy.parent.mkdir(parents=True)
    shutil.copy(store.root / found.path, copy)
    half = (store.root / found.path).parent / ".1-2.tmp"
    shutil.copy(store.root / found.path, half)
    os.utime(half, (0, 0))
    erase(store)
    assert not copy.exists()
    assert not half.exists()


def test_content_that_came_back_is_found(store: Store) -> None:
    head = commit(store, CLEANED, BATCH, pa.table({"person": [KEY, 1]}))
    found = manifest(store, head).blob
    assert found
    data = store.backend.read(found.path)
    done = erase(store)
    store.backend.write(found.path, data)
    report = verify(store)
    assert [(problem.what, problem.path) for problem in report.problems] == [("erased", found.path)]
    resume(store, done.id)
    assert verify(store).sound
    # a head that was moved back to it
    leaf = leaf_of(manifest(store, head))
    store.move("main", CLEANED, BATCH, leaf, store.head("main", CLEANED, BATCH))
    assert [problem.what for problem in verify(store).problems] == ["head"]
    resume(store, done.id)
    assert value(store, "main", CLEANED, BATCH)["person"].to_pylist() == [1]
    assert verify(store).sound


@pytest.mark.parametrize("step", [pytest.param(3, marks=pytest.mark.slow), 13])
def test_a_purge_that_is_killed_is_finished_without_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(locks, "STRIPES", 3)
    template = Store.open(tmp_path / "template")
    line(template, BATCH, [1, KEY])
    create_branch(template, "other")
    unfinished = 0
    for number in range(1, 1000, step):
        root = tmp_path / "store"
        shutil.copytree(template.root, root)

        def work(root: Path = root, number: int = number) -> None:
            store = Store.open(root)
            die_at(number)
            erase(store)

        code = in_child(work)
        store = Store.open(root)
        begun = purges(store)
        if code == 0:
            assert begun[0].done
            break
        assert code == -signal.SIGKILL
        if begun:
            unfinished += not begun[0].done
            assert verify(store).sound == begun[0].done
            resume(store, begun[0].id)
        else:
            assert verify(store).sound
            erase(store)
        age(store)
        for entry in list(store.backend.litter()):
            store.backend.delete(entry.path)
        assert not any(str(KEY) in text for text in people_in(store))
        assert value(store, "main", CLEANED, BATCH)["person"].to_pylist() == [1]
        assert value(store, "other", CLEANED, BATCH)["person"].to_pylist() == [1]
        assert verify(store).sound
        shutil.rmtree(root)
    else:
        pytest.fail("the work never finished")
    assert unfinished > 2


def test_a_writer_that_encodes_while_it_is_purged_is_refused(store: Store) -> None:
    table = pa.table({"person": [KEY, 1]})
    commit(store, CLEANED, BATCH, table)
    backend = store.backend
    stage = backend.stage
    there = Store.open(store.root)
    there.backend.stage = lambda path, content: (erase(store), stage(path, content))[1]  # type: ignore[method-assign]
    there.backend.stat = lambda path: None if path.endswith(".parquet") else backend.stat(path)  # type: ignore[method-assign]
    with pytest.raises(PurgedError, match="may not come back"):
        there.put(CLEANED, BATCH, "table", table)
    assert (
        not any(path.endswith(".parquet") and "person" not in path for path in files(store, "data"))
        or verify(store).sound
    )


TABLES = st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=5), min_size=1, max_size=5)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables=TABLES, person=st.integers(0, 4))
def test_any_history_loses_exactly_the_rows_of_the_person(tmp_path: Path, tables: list[list[int]], person: int) -> None:
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
    store = Store.open(tmp_path / "store")
    heads: list[tuple[Head, list[int]]] = []
    for number, people in enumerate(tables):
        batch = f"b{number % 2}"
        keyed = pa.table({"person": people, "n": list(range(len(people)))})
        cleaned = commit(store, CLEANED, batch, keyed, when=f"{number}")
        split = commit(store, SPLITS, batch, pa.table({"n": list(range(len(people)))}), cleaned, when=f"{number}")
        heads += [(cleaned, people), (split, people)]
    erase(store, person=person)
    for head, people in heads:
        old = manifest(store, head)
        now = replacement(store, old) or old
        expected = [place for place, each in enumerate(people) if each != person]
        assert store.get(now, verify=True)["n"].to_pylist() == expected
        assert (now is old) == (person not in people)
    assert verify(store, content=True).sound


def test_in_an_object_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_ASSETS_CACHE", str(tmp_path / "cache"))
    store = Store.open(f"memory://purge{os.getpid()}")
    build(store, BATCH, [1, KEY])
    freeze(store, "v1")
    done = erase(store)
    assert len(done.erased) == 5
    assert value(store, "main", CLEANED, BATCH)["person"].to_pylist() == [1]
    assert verify(store, content=True).sound
    for path in (tmp_path / "cache").rglob("*"):
        # what was read from the store on this machine is erased here, too
        assert not path.is_file() or str(KEY).encode() not in path.read_bytes()
        assert path.stem not in {item.sha256 for item in done.erased}
