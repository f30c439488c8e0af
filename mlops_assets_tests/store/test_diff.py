"""What differs between two views: batches, reasons, columns, files, JSON values, rows."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlops_assets.errors import NotStoredError
from mlops_assets.store import Blob, Input, Store
from mlops_assets.store.diff import Change, Diff, diff, differing_values
from mlops_assets.store.digest import canonical_json
from mlops_assets.store.refs import view
from mlops_assets.store.rowdiff import HIDDEN
from mlops_assets.store.snapshots import tag

CLEANED, RAW, REPORT = "trips/cleaned", "trips/raw/trips", "trips/evaluation_report"
ROWS = pa.table({"id": [1, 2, 3], "delay": [0.5, None, 2.0], "who": ["ann", "bob", "cid"]})
LATER = pa.table({"id": [1, 2, 4], "delay": [0.5, 1.0, 2.0], "who": ["ann", "bob", "dan"]})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store.open(tmp_path / "store")
    made.commit("main", CLEANED, "01", "table", ROWS, code_version="c1", settings={"limits": {"warn": 1}})
    made.commit("main", CLEANED, "02", "table", ROWS)
    made.commit("main", CLEANED, "03", "table", ROWS)
    made.commit("main", RAW, "01", "table", ROWS, files=({"name": "a.csv", "size": 1, "sha256": "aa"},))
    made.commit("main", REPORT, "03", "json", {"metrics": {"auc": 0.7, "rows": 10}, "curve": [1, 2, 3]})
    tag(made, "v1", "trips", "main")
    return made


def compared(store: Store, a: str = "v1", b: str = "main", **options: Any) -> Diff:
    found = diff(store, view(store, a), view(store, b), **options)
    assert canonical_json(found.to_dict())
    return found


def only(found: Diff) -> Change:
    (asset,) = found.assets
    (change,) = asset.changed or asset.remade
    return change


def test_nothing_differs(store: Store) -> None:
    found = compared(store)
    assert found.same
    assert (found.before, found.after) == ("tag v1", "branch main")
    assert found.identical == (CLEANED, REPORT, RAW)


def test_batches_that_came_went_changed_and_were_made_again(store: Store) -> None:
    store.commit("main", CLEANED, "04", "table", ROWS)
    head = store.head("main", CLEANED, "02")
    store.move("main", CLEANED, "02", None, head)
    store.commit("main", CLEANED, "01", "table", LATER, code_version="c2", settings={"limits": {"warn": 2}})
    store.commit("main", RAW, "01", "table", ROWS, files=({"name": "b.csv", "size": 1, "sha256": "aa"},))
    found = compared(store)
    assert found.identical == (REPORT,)
    cleaned, raw = found.assets
    assert (list(cleaned.added), list(cleaned.removed), cleaned.unchanged) == (["04"], ["02"], 1)
    assert cleaned.added["04"].rows == 3
    (change,) = cleaned.changed
    assert (change.batch, change.before.rows, change.after.rows) == ("01", 3, 3)
    assert change.because == ("code", "settings")
    assert [item.to_dict() for item in change.settings] == [
        {"path": "limits.warn", "change": "changed", "before": 1, "after": 2}
    ]
    assert change.columns_changed == ("id", "delay", "who")
    assert cleaned.columns == {"id": 1, "delay": 1, "who": 1}
    assert raw.changed == ()
    (again,) = raw.remade
    assert again.because == ("files",)
    assert again.files == (
        {"name": "a.csv", "before": "aa", "after": None},
        {"name": "b.csv", "before": None, "after": "aa"},
    )
    record = json.loads(json.dumps(found.to_dict()))
    assert record["assets"][0]["changed"][0]["before"]["rows"] == 3


def test_what_was_behind_a_version_that_was_made_again(store: Store) -> None:
    before = Input(RAW, "01", "b3:aa", "b3:bb")
    store.commit("main", CLEANED, "01", "table", ROWS, inputs=(before, Input(RAW, "02", "b3:cc", "b3:dd")), recipe="1")
    tag(store, "v2", "trips", "main")
    store.commit(
        "main",
        CLEANED,
        "01",
        "table",
        ROWS,
        inputs=(Input(RAW, "01", "b3:ee", "b3:ff"), Input(RAW, "03", None, None)),
        recipe="2",
        seed=7,
        rules="r2",
        environment="e2",
        git={"commit": "abc", "dirty": False},
    )
    change = only(compared(store, "v2"))
    assert change.because == ("seed", "inputs", "rules", "environment", "git")
    assert change.inputs == (
        {"asset": RAW, "partition": "01", "change": "changed", "before": "b3:aa", "after": "b3:ee"},
        {"asset": RAW, "partition": "02", "change": "removed", "before": "b3:cc", "after": None},
        {"asset": RAW, "partition": "03", "change": "added", "before": None, "after": None},
    )
    assert change.before.version == change.after.version


def test_columns_that_came_went_changed_type_or_place(store: Store) -> None:
    other = pa.table({"delay": ROWS["delay"], "id": ROWS["id"].cast(pa.int32()), "new": ["x", "y", "z"]})
    store.commit("main", CLEANED, "01", "table", other)
    change = only(compared(store))
    assert change.columns_added == {"new": "string"}
    assert change.columns_removed == {"who": "string"}
    assert change.columns_retyped == {"id": ("int64", "int32")}
    assert change.columns_changed == ()
    assert change.reordered
    assert compared(store).assets[0].columns == {"new": 1, "who": 1, "id": 1}
    store.commit("main", CLEANED, "01", "table", ROWS.select(["who", "id", "delay"]))
    change = only(compared(store, rows=True, keys={CLEANED: ["id"]}))
    assert change.reordered
    assert change.rows
    assert change.rows.same


def test_numbers_of_a_report_before_and_after(store: Store) -> None:
    store.commit("main", REPORT, "03", "json", {"metrics": {"auc": 0.75, "rows": 10}, "curve": [1, 2, 4]})
    change = only(compared(store))
    assert [item.to_dict() for item in change.values] == [
        {"path": "curve", "change": "changed", "before": [1, 2, 3], "after": [1, 2, 4]},
        {"path": "metrics.auc", "change": "changed", "before": 0.7, "after": 0.75},
    ]
    assert [item.after for item in only(compared(store, hide=["auc"])).values] == [[1, 2, 4], HIDDEN]


def test_items_of_lists_meet_by_their_names() -> None:
    before = {"groups": [{"shop": "north", "n": 1}, {"shop": "south", "n": 2}], "kept": 1, "x": None, "flag": True}
    after = {"groups": [{"shop": "west", "n": 9}, {"shop": "south", "n": 3}], "kept": 1.0, "x": None, "flag": 1}
    assert [item.to_dict() for item in differing_values(before, after)] == [
        {"path": "groups[shop=north]", "change": "removed", "before": {"shop": "north", "n": 1}, "after": None},
        {"path": "groups[shop=south].n", "change": "changed", "before": 2, "after": 3},
        {"path": "groups[shop=west]", "change": "added", "before": None, "after": {"shop": "west", "n": 9}},
        {"path": "kept", "change": "changed", "before": 1, "after": 1.0},
        {"path": "flag", "change": "changed", "before": True, "after": 1},
    ]
    paths = [item.path for item in differing_values([{"n": 1}, {"n": 2}], [{"n": 1}, {"n": 3}, {"n": 4}])]
    assert paths == ["[1].n", "[2]"]
    assert [item.path for item in differing_values(1, 2)] == [""]
    hidden = list(differing_values({"a": 1}, {"b": 2}, hide=["a", "b"]))
    assert [(item.change, item.before, item.after) for item in hidden] == [
        ("removed", HIDDEN, None),
        ("added", None, HIDDEN),
    ]


def test_rows_by_their_key(store: Store) -> None:
    store.commit("main", CLEANED, "01", "table", LATER)
    lines: list[tuple[str, str, pa.Table]] = []
    found = compared(
        store,
        rows=True,
        keys={CLEANED: ["id"]},
        hide=["who"],
        lines=lambda asset, batch, part: lines.append((asset, batch, part)),
    )
    rows = only(found).rows
    assert rows
    assert (rows.key, rows.added, rows.removed, rows.changed, rows.cells) == (("id",), 1, 1, 1, {"delay": 1})
    assert rows.sample["added"] == [{"id": 4, "delay": 2.0, "who": HIDDEN}]
    assert {(asset, batch) for asset, batch, _ in lines} == {(CLEANED, "01")}
    assert sum(part.num_rows for _, _, part in lines) == 3
    assert only(compared(store)).rows is None
    rows = only(compared(store, rows=True)).rows
    assert rows
    assert (rows.key, rows.why, rows.added, rows.removed) == ((), "no key of trips/cleaned is known", 2, 2)


def test_only_columns_that_can_differ_are_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    real = Store.get

    def get(self: Store, manifest: Any, columns: Any = None, verify: bool = False) -> Any:
        asked.append(columns)
        return real(self, manifest, columns, verify)

    monkeypatch.setattr(Store, "get", get)
    changed = ROWS.set_column(1, "delay", pa.array([0.5, 0.5, 2.0])).append_column("new", pa.array([1, 2, 3]))
    store.commit("main", CLEANED, "01", "table", changed)
    rows = only(compared(store, rows=True, keys={CLEANED: ["id"]})).rows
    assert rows
    assert asked == [["id", "delay"]] * 2
    assert (rows.changed, rows.cells, rows.columns_added) == (1, {"delay": 1}, ("new",))
    # what is no key after all needs whole rows
    store.commit("main", CLEANED, "01", "table", pa.table({"id": [1, 1], "delay": [1.0, 2.0], "x": ["a", "b"]}))
    tag(store, "v2", "trips", "main")
    store.commit("main", CLEANED, "01", "table", pa.table({"id": [1, 1], "delay": [1.0, 3.0], "x": ["a", "b"]}))
    del asked[:]
    rows = only(compared(store, "v2", rows=True, keys={CLEANED: ["id"]})).rows
    assert rows
    assert asked == [["id", "delay"]] * 2 + [None] * 2
    assert (rows.why, rows.added, rows.removed) == ("2 rows before share their key (id) with another", 1, 1)


def test_a_key_that_stands_beside_the_rows(store: Store) -> None:
    features = "trips/features"

    def made(cleaned: pa.Table, of: pa.Table, **more: Any) -> None:
        head = store.commit("main", CLEANED, "01", "table", cleaned)
        inputs = (Input(CLEANED, "01", head.version, head.manifest),)
        store.commit("main", features, "01", "table", of, inputs=inputs, **more)

    made(ROWS, pa.table({"long": [True, False, True], "half": [0.1, 0.2, 0.3]}))
    tag(store, "v2", "trips", "main")
    options: Any = {"rows": True, "keys": {features: ["id"]}, "beside": {features: CLEANED}, "assets": [features]}
    made(LATER, pa.table({"long": [True, True, True], "half": [0.1, 0.2, 0.3]}))
    rows = only(compared(store, "v2", **options)).rows
    assert rows
    assert (rows.key, rows.added, rows.removed, rows.cells) == (("id",), 1, 1, {"long": 1})
    assert rows.sample["changed"] == [{"key": {"id": 2}, "cells": {"long": {"before": False, "after": True}}}]
    assert rows.sample["added"] == [{"id": 4, "long": True, "half": 0.3}]
    made(ROWS.append_column("x", pa.array([1, 2, 3])), pa.table({"long": [True, True, True], "half": [0.1, 0.2, 0.3]}))
    rows = only(compared(store, "v2", **options)).rows
    assert rows
    assert (rows.key, rows.changed, rows.cells) == (("id",), 1, {"long": 1})
    # other rows than its input's: nothing stands beside them
    store.commit("main", features, "01", "table", pa.table({"long": [True], "half": [0.5]}))
    rows = only(compared(store, "v2", **options)).rows
    assert rows
    assert (rows.why, rows.added, rows.removed) == ("the key column id is not on both sides", 1, 3)
    assert rows.sample["added"] == [{"long": True, "half": 0.5}]


def test_what_is_out_of_reach_is_a_note(store: Store) -> None:
    store.commit("main", CLEANED, "01", "table", LATER)
    old = view(store, "v1").manifest(CLEANED, "01")
    assert isinstance(old.blob, Blob)
    # as purge leaves it
    stone = {"format": 1, "purge": "p1", "when": "2026-01-01", "basis": "", "rows": 1, "replacement": None}
    assert old.version
    store.backend.create(f"tombstones/{old.version.replace(':', '-')}.json", canonical_json(stone))
    store.backend.delete(old.blob.path)
    change = only(compared(store, rows=True, keys={CLEANED: ["id"]}))
    assert change.rows is None
    assert "was purged on 2026-01-01 by purge p1" in change.note
    assert change.columns_changed == ("id", "delay", "who")


def test_a_remote_is_compared_as_far_as_it_was_fetched(store: Store) -> None:
    there = Store.open(store.root.parent / "there")
    there.commit("main", CLEANED, "01", "table", LATER)
    head = there.head("main", CLEANED, "01")
    assert head
    tree = store.write_tree(CLEANED, there.leaves("main", CLEANED))
    record = {"format": 1, "branch": "main", "trees": {CLEANED: tree}, "moves": {}, "when": "2026-01-01"}
    store.backend.create("remotes/origin/branches/main.json", canonical_json(record))
    change = only(compared(store, b="origin/main", assets=[CLEANED], batches=["01"], rows=True))
    assert "A record of it is not in store at" in change.note
    assert change.after.rows == 3
    store.record(there.manifest(CLEANED, "01", head.manifest))
    change = only(compared(store, b="origin/main", assets=[CLEANED], batches=["01"], rows=True))
    assert "is not in store at" in change.note
    assert change.columns_changed == ("id", "delay", "who")


def test_some_assets_and_batches(store: Store) -> None:
    for batch in ("01", "02"):
        store.commit("main", CLEANED, batch, "table", LATER)
    store.commit("main", RAW, "01", "table", LATER)
    assert [asset.asset for asset in compared(store, assets=["trips/raw"]).assets] == [RAW]
    assert [asset.asset for asset in compared(store, assets=["trips"]).assets] == [CLEANED, RAW]
    assert only(compared(store, assets=[CLEANED], batches=["02"])).batch == "02"
    assert [len(asset.changed) for asset in compared(store, batches=["01"]).assets] == [1, 1]
    assert compared(store, batches=["03"]).same
    # named in a tree that is the same on both sides
    assert compared(store, "v1", "v1", batches=["03"]).same


def test_a_tag_is_compared_as_far_as_its_dataset_goes(store: Store) -> None:
    store.commit("main", "other/cleaned", "01", "table", ROWS)
    store.commit("main", "trips/splits", "01", "table", ROWS)
    assert [asset.asset for asset in compared(store).assets] == ["trips/splits"]
    assert [asset.asset for asset in compared(store, assets=["other"]).assets] == ["other/cleaned"]


def test_a_version_is_compared_in_its_own_place(store: Store) -> None:
    old = store.commit("main", CLEANED, "01", "table", LATER)
    new = store.commit("main", CLEANED, "01", "table", LATER.slice(1))
    assert compared(store, new.version).same
    for found in (compared(store, old.version[:12]), compared(store, old.version, new.version)):
        change = only(found)
        assert (change.before.version, change.after.version) == (old.version, new.version)
    (asset,) = compared(store, old.version, assets=[CLEANED], batches=["02"]).assets
    assert list(asset.added) == ["02"]


def test_what_neither_shows(store: Store) -> None:
    with pytest.raises(
        NotStoredError, match="Neither tag v1 nor branch main shows anything of 'trips/cleand'; near is: t"
    ):
        compared(store, assets=["trips/cleand"])
    with pytest.raises(NotStoredError, match="Neither tag v1 nor branch main shows a batch '09'; near is: 0"):
        compared(store, batches=["01", "09"])
    with pytest.raises(NotStoredError, match="shows a batch '09'"):
        compared(store, "v1", "v1", assets=[CLEANED], batches=["09"])
