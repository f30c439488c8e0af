"""Any version in one line, by the readers that people use."""

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import mlops_assets
from mlops_assets.errors import CorruptError, NotStoredError, StoreError
from mlops_assets.store import Store, reading

ASSET = "trips/cleaned"
FIRST = pa.table({"id": [1, 2], "delay": [0.5, None], "day": ["a", "b"]})
AWKWARD = "north/2013 é'x"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("MLOPS_ASSETS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLOPS_ASSETS_BRANCH", raising=False)
    made = Store.open(tmp_path / "home" / "store")
    made.commit("main", ASSET, "2013-01", "table", FIRST)
    made.commit("main", ASSET, "2013-02", "table", pa.table({"id": [3], "delay": [1.5], "day": ["c"], "new": [True]}))
    made.commit("main", ASSET, AWKWARD, "table", pa.table({"id": [4], "delay": [2.5], "day": ["d"]}))
    made.commit("main", "trips/report", "all", "json", {"auc": 0.7})
    return made


WHOLE = {
    "batch": ["2013-01", "2013-01", "2013-02", AWKWARD],
    "id": [1, 2, 3, 4],
    "delay": [0.5, None, 1.5, 2.5],
    "day": ["a", "b", "c", "d"],
    "new": [None, None, True, None],
}


def test_one_batch_in_one_line(store: Store) -> None:
    del store
    assert mlops_assets.read(ASSET, "2013-01").equals(FIRST)
    assert mlops_assets.read(ASSET, "2013-01", columns=["day", "id"]).equals(FIRST.select(["day", "id"]))
    assert mlops_assets.read(ASSET, "2013-01", verify=True, batch_column="b").column_names == ["b", *FIRST.column_names]
    assert mlops_assets.read("trips/report") == {"auc": 0.7}


def test_all_batches_below_each_other(store: Store) -> None:
    whole = mlops_assets.read(ASSET, batch_column="batch")
    assert whole.to_pydict() == WHOLE
    assert mlops_assets.read(ASSET, ["2013-02", "2013-01"])["id"].to_pylist() == [3, 1, 2]
    some = mlops_assets.read(ASSET, columns=["new", "id"], batch_column="b", store=store, branch="main")
    assert some.to_pydict() == {"b": WHOLE["batch"], "new": WHOLE["new"], "id": WHOLE["id"]}
    assert mlops_assets.read(ASSET, columns=["new"]).to_pydict() == {"new": WHOLE["new"]}


def test_a_past_version_is_read_by_its_reference(store: Store) -> None:
    first = store.head("main", ASSET, "2013-01")
    assert first
    tree = store.write_tree(ASSET, store.leaves("main", ASSET))
    store.commit("main", ASSET, "2013-01", "table", pa.table({"id": [9]}))
    assert mlops_assets.read(ASSET, "2013-01")["id"].to_pylist() == [9]
    assert mlops_assets.read(ASSET, "2013-01", at=first.version[:15]).equals(FIRST)
    assert store.tree(tree)["2013-01"].version == first.version


def test_pandas(store: Store) -> None:
    del store
    frame = mlops_assets.frame(ASSET, batch_column="batch")
    assert list(frame.columns) == ["batch", "id", "delay", "day", "new"]
    assert frame["id"].sum() == 10
    kept = mlops_assets.frame(ASSET, "2013-01", arrow=True)
    assert kept["delay"].isna().tolist() == [False, True]
    assert isinstance(kept["id"].dtype, pd.ArrowDtype)
    assert pd.concat(pd.read_parquet(path, partitioning=None) for path in mlops_assets.paths(ASSET))["id"].sum() == 10
    with pytest.raises(StoreError, match=r"trips/report holds no table but dict; take it with mlops_assets.read"):
        mlops_assets.frame("trips/report")


def test_duckdb(store: Store) -> None:
    del store
    with duckdb.connect() as connection:
        connection.execute("CREATE VIEW cleaned AS " + mlops_assets.sql(ASSET, batch_column="batch"))
        found = connection.sql("SELECT * FROM cleaned ORDER BY id").to_arrow_table()
        assert found.to_pydict() == WHOLE
        text = mlops_assets.sql(ASSET, ["2013-01", AWKWARD], columns=["day", "id"])
        assert connection.sql(f"FROM ({text}) ORDER BY id").fetchall() == [("a", 1), ("b", 2), ("d", 4)]
        text = mlops_assets.sql(ASSET, columns=["id"], batch_column="which batch")
        assert connection.sql(f"FROM ({text}) WHERE id = 4").fetchall() == [(AWKWARD, 4)]
        assert connection.read_parquet(mlops_assets.paths(ASSET, "2013-01")).fetchall() == [
            (1, 0.5, "a"),
            (2, None, "b"),
        ]
        assert connection.sql(mlops_assets.sql(ASSET)).columns == ["id", "delay", "day", "new"]


def test_polars(store: Store) -> None:
    del store
    found = pl.read_parquet(mlops_assets.paths(ASSET, "2013-01"), hive_partitioning=False)
    assert found.to_dict(as_series=False) == FIRST.to_pydict()
    by_batch = reading.batch_paths(ASSET)
    assert list(by_batch) == ["2013-01", "2013-02", AWKWARD]
    frames = [pl.read_parquet(path, hive_partitioning=False) for path in by_batch.values()]
    assert pl.concat(frames, how="diagonal")["id"].sum() == 10


def test_a_store_that_is_not_on_this_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_ASSETS_CACHE", str(tmp_path / "cache"))
    far = Store.open(f"memory://{tmp_path.name}-{os.getpid()}")
    # the copies of equal files are one
    for batch in ("a", "b"):
        far.commit("main", ASSET, batch, "table", FIRST)
    assert mlops_assets.read(ASSET, store=far, branch="main").num_rows == 4
    assert len(set(mlops_assets.paths(ASSET, store=far, branch="main"))) == 1
    with duckdb.connect() as connection:
        assert len(connection.sql(mlops_assets.sql(ASSET, store=far, branch="main"))) == 4
        text = mlops_assets.sql(ASSET, store=far, branch="main", batch_column="batch", columns=["id"])
        assert sorted(connection.sql(text).fetchall()) == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]


def test_batches_of_other_types_are_not_brought_together(store: Store) -> None:
    store.commit("main", ASSET, "2013-03", "table", pa.table({"id": ["5"], "delay": [1.0]}))
    with pytest.raises(
        StoreError,
        match=r"do not fit below each other: 'id' is int64 in \[2013-01\] and string in \[2013-03\]; read them apart",
    ):
        mlops_assets.read(ASSET)
    assert mlops_assets.read(ASSET, columns=["delay"]).num_rows == 5
    store.commit("main", "trips/report", "more", "json", {"auc": 0.8})
    with pytest.raises(
        StoreError, match=r"trips/report\[all\] in branch main is of kind json, no table; read it alone"
    ):
        mlops_assets.read("trips/report")
    with pytest.raises(StoreError, match="is of kind json, no table"):
        mlops_assets.sql("trips/report")


def test_what_is_not_there(store: Store) -> None:
    with pytest.raises(NotStoredError, match="branch main shows nothing of 'trips/cleand'; near is: trips/cleaned"):
        mlops_assets.read("trips/cleand")
    with pytest.raises(NotStoredError, match="branch main shows no batch '2013-09' of trips/cleaned; near is: 2013-0"):
        mlops_assets.paths(ASSET, "2013-09")
    with pytest.raises(NotStoredError, match="has no column 'dealy' in branch main; it has id, delay, day, new"):
        mlops_assets.read(ASSET, columns=["id", "dealy"])
    with pytest.raises(NotStoredError, match="No batch of trips/cleaned was named"):
        mlops_assets.read(ASSET, [])
    with pytest.raises(StoreError, match="There is a column 'id' already; give the batch's column another name"):
        mlops_assets.read(ASSET, batch_column="id")
    with pytest.raises(NotStoredError, match=r"There is no|is no"):
        mlops_assets.read(ASSET, at="v9")
    with pytest.raises(AttributeError, match="has no attribute 'raed'"):
        mlops_assets.raed  # noqa: B018
    path = Path(mlops_assets.paths(ASSET, "2013-01")[0])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptError, match="is damaged"):
        mlops_assets.read(ASSET, "2013-01", store=store, branch="main")
    path.unlink()
    with pytest.raises(CorruptError, match="is lost"):
        mlops_assets.paths(ASSET, "2013-01")


def test_no_store_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_ASSETS_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(NotStoredError, match="There is no store at"):
        mlops_assets.read(ASSET)


def test_naming_the_functions_loads_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys, mlops_assets; assert 'mlops_assets.store' not in sys.modules; mlops_assets.read; "
    code += "assert not {'pyarrow', 'pandas', 'numpy', 'obstore'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
