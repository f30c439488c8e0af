"""Tags as Delta tables, states for DVC and back."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from mlops_assets.errors import NotStoredError, StoreError
from mlops_assets.store import Store
from mlops_assets.store.publishing import export_dvc, import_dvc, publish, table_folder
from mlops_assets.store.refs import view
from mlops_assets.store.snapshots import tag

NOW = datetime(2026, 1, 1, tzinfo=UTC).isoformat()
CLEAN, MODEL = "shop/cleaned", "shop/model"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two tags: the second has a changed batch, a new one, a new column, and an asset that is no table."""
    store = Store.open(tmp_path / "store")
    for batch in ("2024-01", "2024-02"):
        store.commit("main", CLEAN, batch, "table", pa.table({"a": [1, 2]}))
    tag(store, "one", "shop", "main", git={}, environment="", configuration={}, message="", who="")
    store.commit("main", CLEAN, "2024-02", "table", pa.table({"a": [3], "b": ["x"]}))
    store.commit("main", CLEAN, "a/b", "table", pa.table({"a": [4], "b": ["y"]}))
    store.commit("main", MODEL, "2024-02", "json", {"auc": 0.7})
    tag(store, "two", "shop", "main", git={}, environment="", configuration={}, message="", who="")
    return store


def test_tags_become_versions_that_others_read(store: Store) -> None:
    (first,) = publish(store, view(store, "tag:one"), when=NOW).values()
    before = sum(1 for _ in (store.root / "data").rglob("*.parquet"))
    done = publish(store, view(store, "tag:two"), when=NOW)
    assert list(done) == [CLEAN], "a model is no table"
    assert (done[CLEAN].added, done[CLEAN].removed, done[CLEAN].kept, done[CLEAN].new_columns) == (2, 1, 1, ("b",))
    assert sum(1 for _ in (store.root / "data").rglob("*.parquet")) == before, "no data is copied"
    folder = str(table_folder(store, CLEAN))
    assert sorted(DeltaTable(folder, version=first.version).to_pyarrow_table()["a"].to_pylist()) == [1, 1, 2, 2]
    now = pl.read_delta(folder, version=done[CLEAN].version).sort("p", "a")
    assert now.rows(named=True) == [
        {"a": 1, "b": None, "p": "2024-01"},
        {"a": 2, "b": None, "p": "2024-01"},
        {"a": 3, "b": "x", "p": "2024-02"},
        {"a": 4, "b": "y", "p": "a/b"},
    ]


def test_what_is_looked_at_first_is_not_half_published(store: Store) -> None:
    store.commit("main", "shop/ticks", "2024-01", "table", pa.table({"t": pa.array([1], pa.time64("us"))}))
    tag(store, "three", "shop", "main", git={}, environment="", configuration={}, message="", who="")
    with pytest.raises(StoreError, match="t"):
        publish(store, view(store, "tag:three"), when=NOW)
    assert not (table_folder(store, CLEAN) / "_delta_log").exists()
    dry = publish(store, view(store, "tag:three"), [CLEAN], when=NOW, dry=True)
    assert dry[CLEAN].added == 3
    assert not (table_folder(store, CLEAN) / "_delta_log").exists()


def test_what_cannot_be_published_is_told_of(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"Only tags are published, .*; tag what branch main shows first"):
        publish(store, view(store, "main"), when=NOW)
    with pytest.raises(StoreError, match="shop/model holds no tables at tag two, and Delta knows nothing else"):
        publish(store, view(store, "two"), [MODEL], when=NOW)
    other = Store.open(tmp_path / "other")
    other.commit("main", MODEL, "x", "json", 1)
    tag(other, "one", "shop", "main", git={}, environment="", configuration={}, message="", who="")
    with pytest.raises(NotStoredError, match="tag one holds no tables to publish"):
        publish(other, view(other, "one"), when=NOW)


def test_a_state_goes_to_dvc_and_comes_back(store: Store, tmp_path: Path) -> None:
    repository, remote, landing = tmp_path / "repository", tmp_path / "remote", tmp_path / "landing"
    repository.mkdir()
    done = export_dvc(store, view(store, "two"), repository, "data", remote=remote)
    assert done.files == 4
    assert done.pointer == repository / "data.dvc"
    new = import_dvc(done.pointer, [remote], landing)
    assert sorted(path.relative_to(landing).as_posix() for path in new) == [
        "shop/cleaned/2024-01.parquet",
        "shop/cleaned/2024-02.parquet",
        "shop/cleaned/a%2Fb.parquet",
        "shop/model/2024-02.json",
    ]
    leaf = view(store, "two").leaves(CLEAN)["2024-02"]
    manifest = store.manifest(CLEAN, "2024-02", leaf.manifest)
    assert (landing / "shop/cleaned/2024-02.parquet").read_bytes() == store.path(manifest).read_bytes()
    assert import_dvc(done.pointer, [remote], landing) == [], "all there already"
    (landing / "shop/model/2024-02.json").write_text("mine")
    (landing / "shop/cleaned/2024-01.parquet").unlink()
    with pytest.raises(StoreError, match=r"2024-02.json is there already with other content .*; move it away first"):
        import_dvc(done.pointer, [remote], landing)
    assert not (landing / "shop/cleaned/2024-01.parquet").exists(), "nothing was written"
