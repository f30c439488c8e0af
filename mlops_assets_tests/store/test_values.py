"""Values become files and come back the same."""

import math
import warnings
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from mlops_assets.errors import CorruptError, StoreError
from mlops_assets.store.files import write_file
from mlops_assets.store.manifest import EXTENSIONS, Kind
from mlops_assets.store.values import TRUSTED, canonical_table, decode, digest, prepare, wrong_columns

TABLE = pa.table(
    {
        "i": pa.array([1, None, 3]),
        "s": pa.array(["a", None, "b"]).dictionary_encode(),
        "v": pa.array(["a", None, "b"], pa.large_string()),
        "a.b": [1.5, math.nan, -0.0],
        "a": pa.array([0, 1, 2], pa.timestamp("us", "Europe/Berlin")),
        "l": [["x"], None, []],
    }
)


def keep(folder: Path, kind: Kind, value: Any) -> Path:
    prepared = prepare(kind, value)
    path = folder / "p=2013-01" / ("file" + EXTENSIONS[kind])
    write_file(path, prepared.content)
    assert digest(kind, decode(kind, path)) == prepared.version == digest(kind, value)
    return path


def test_tables_come_back_in_one_form(tmp_path: Path) -> None:
    path = keep(tmp_path, "table", TABLE.replace_schema_metadata({"pandas": "{}"}))
    table = decode("table", path)
    assert table.schema.names == TABLE.schema.names, "the folder p=... adds no column"
    assert table.schema.metadata is None
    assert [str(type_) for type_ in table.schema.types] == [
        "int64", "string", "string", "double", "timestamp[us, tz=Europe/Berlin]", "list<element: string>",
    ]  # fmt: skip
    assert canonical_table(table).schema.remove_metadata() == table.schema


def test_columns_come_in_the_order_asked_for(tmp_path: Path) -> None:
    path = keep(tmp_path, "table", TABLE)
    assert decode("table", path, ["a"]).column_names == ["a"], "not a.b as well"
    assert decode("table", path, ["v", "a.b", "i"]).column_names == ["v", "a.b", "i"]
    assert wrong_columns(TABLE.select(["i", "a"]), dict(prepare("table", TABLE).columns)) == []
    assert wrong_columns(TABLE.select(["i", "a"]), {"i": "b3:other"}) == ["i", "a"]


TYPES = {
    **dict.fromkeys([pa.timestamp("s"), pa.timestamp("s", "UTC"), pa.timestamp("ms"), pa.timestamp("ns")], 1),
    **dict.fromkeys([pa.time32("s"), pa.time32("ms"), pa.time64("ns"), pa.duration("s"), pa.date32(), pa.uint64()], 1),
    **dict.fromkeys([pa.float16(), pa.float32()], 1.5),
    **dict.fromkeys([pa.decimal128(5, 2), pa.decimal256(50, 2)], Decimal("1.5")),
}


@pytest.mark.parametrize("type_", TYPES, ids=str)
def test_every_plain_type_comes_back(tmp_path: Path, type_: pa.DataType) -> None:
    table = pa.table({"x": pa.array([TYPES[type_], None], type_)})
    read = decode("table", keep(tmp_path, "table", table))
    assert read.schema.field("x").type == type_


def test_nested_columns_come_back(tmp_path: Path) -> None:
    columns: dict[str, pa.Array] = {
        "map": pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int64())),
        "struct": pa.array([{"a": 1}, None, {"a": None}]),
        "view": pa.array([[1], None, [2, 3]], pa.list_view(pa.int64())),
        "pair": pa.array([[1, 2], [3, 4], [5, None]], pa.list_(pa.int64(), 2)),
    }
    keep(tmp_path, "table", pa.table(columns))


@pytest.mark.parametrize(
    ("array", "hint"),
    [
        (pa.array([[1, 2], None], pa.list_(pa.int64(), 2)), "a list of any length"),
        (pa.array([[[1, 2]]], pa.list_(pa.list_(pa.int64(), 2))), "a list of any length"),
        (pa.array([[1]], pa.list_(pa.timestamp("s"))), "milliseconds"),
        (pa.array([86_400_001], pa.date64()), "a date32, or a timestamp"),
        (pa.array([{}], pa.struct([])), "a boolean"),
        (pa.array([pa.MonthDayNano([1, 2, 3])]), "a plain type"),
        (pa.RunEndEncodedArray.from_arrays(pa.array([2], pa.int32()), pa.array(["a"])), "a plain type"),
    ],
)
def test_what_parquet_would_change_is_refused(array: pa.Array, hint: str) -> None:
    with pytest.raises(StoreError, match=f"Column 'x' holds .*, which parquet does not give back; cast it to {hint}"):
        prepare("table", pa.table({"x": array}))


@pytest.mark.parametrize("table", [TABLE[:0], pa.table({}), pa.table({"n": pa.nulls(3)})])
def test_tables_with_nothing_in_them(tmp_path: Path, table: pa.Table) -> None:
    keep(tmp_path, "table", table)


def test_a_damaged_page_is_found(tmp_path: Path) -> None:
    path = keep(tmp_path, "table", pa.table({"x": np.random.default_rng(0).random(10_000)}))
    assert pq.ParquetFile(path).metadata.num_rows == 10_000
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptError, match="is damaged"):
        decode("table", path)


@pytest.mark.parametrize("kind", ["table", "json", "estimator"])
def test_cut_files_are_damaged(tmp_path: Path, kind: Kind) -> None:
    values: dict[Kind, Any] = {"table": TABLE, "json": {"a": [1, 2]}, "estimator": {"a": [1, np.arange(5)]}}
    path = keep(tmp_path, kind, values[kind])
    data = path.read_bytes()
    for size in (0, 3, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(CorruptError, match="is damaged"):
            decode(kind, path)


@pytest.mark.parametrize("value", [{"a": [1, 2.5, None, True, "ö"]}, [], None, "text"])
def test_json_comes_back(tmp_path: Path, value: Any) -> None:
    assert decode("json", keep(tmp_path, "json", value)) == value


def test_bytes_come_back(tmp_path: Path) -> None:
    assert decode("bytes", keep(tmp_path, "bytes", b"\0x")) == b"\0x"


def test_values_of_another_kind_are_bugs() -> None:
    with pytest.raises(TypeError, match="must be a pyarrow Table, not DataFrame"):
        prepare("table", pd.DataFrame())
    with pytest.raises(TypeError, match="must be bytes, not str"):
        prepare("bytes", "x")
    with pytest.raises(ValueError, match="unknown kind 'pickle'"):
        prepare("pickle", 1)  # type: ignore[arg-type]


def _frame() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=400), "b": rng.normal(size=400), "c": rng.choice(["x", "y"], 400)})
    frame.loc[::7, "a"] = np.nan
    return frame, np.asarray(frame.b + rng.normal(size=400) > 0)


def _prepared(encoder: Any) -> ColumnTransformer:
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    return ColumnTransformer([("numbers", numbers, ["a", "b"]), ("names", encoder, ["c"])])


MODELS: list[Any] = [
    HistGradientBoostingClassifier(max_iter=5),
    HistGradientBoostingClassifier(max_iter=5, early_stopping=True, random_state=0),
    HistGradientBoostingRegressor(max_iter=3, loss="poisson"),
    HistGradientBoostingRegressor(max_iter=3, loss="quantile", quantile=0.3),
    LogisticRegression(),
    Ridge(),
    RandomForestClassifier(3, random_state=0, n_jobs=1),
    RandomForestRegressor(3, random_state=np.random.RandomState(0)),
    ExtraTreesClassifier(3, random_state=0),
    DecisionTreeClassifier(random_state=0),
    DummyClassifier(strategy="prior"),
    DummyRegressor(),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_models_come_back(tmp_path: Path, model: Any) -> None:
    frame, target = _frame()
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    for encoder in (ordinal, OneHotEncoder(handle_unknown="ignore", sparse_output=False)):
        fitted = Pipeline([("prepare", _prepared(encoder)), ("model", model)]).fit(frame, target)
        again = decode("estimator", keep(tmp_path, "estimator", fitted))
        assert np.array_equal(again.predict(frame), fitted.predict(frame))


def test_a_bundle_of_models_and_plain_values_comes_back(tmp_path: Path) -> None:
    frame, target = _frame()
    linear = make_pipeline(_prepared(OneHotEncoder()), FunctionTransformer(np.tanh), LogisticRegression())
    bundle = {
        "models": {"linear": linear.fit(frame, target)},
        "features": ["a", "b", "c"],
        "categories": {"c": ["x", "y"]},
        "classes": [False, True],
        "threshold": 0.25,
        "seed": 0,
        "nothing": None,
        "pair": (1, "x"),
        "curve": np.linspace(0, 1, 5),
    }
    again = decode("estimator", keep(tmp_path, "estimator", bundle))
    assert again.keys() == bundle.keys()
    assert {name: again[name] for name in ("features", "classes", "threshold", "pair", "nothing")} == {
        name: bundle[name] for name in ("features", "classes", "threshold", "pair", "nothing")
    }
    assert np.array_equal(again["models"]["linear"].predict_proba(frame), linear.predict_proba(frame))


def test_another_seed_or_row_is_another_model() -> None:
    frame, target = _frame()
    x = frame[["a", "b"]].fillna(0).to_numpy()

    def fit(seed: int = 0, rows: int = 400, jobs: int | None = None) -> str:
        model = RandomForestClassifier(3, random_state=seed, n_jobs=jobs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return digest("estimator", model.fit(x[:rows], target[:rows]))

    assert fit() == fit(jobs=2)
    assert len({fit(), fit(seed=1), fit(rows=399)}) == 3


class Homemade:
    """Has a structure, and is not of scikit-learn."""

    def __init__(self) -> None:
        self.x = 1


def test_a_model_that_could_not_be_loaded_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"A model holds .*Homemade, which the store would not load again"):
        keep(tmp_path, "estimator", {"model": Homemade()})
    assert not list((tmp_path / "p=2013-01").iterdir())


def test_a_file_that_names_other_types_is_not_loaded(tmp_path: Path) -> None:
    from skops import io

    path = tmp_path / "model.skops"
    io.dump({"model": Homemade()}, path)
    with pytest.raises(CorruptError, match=r"types that the store does not trust, and was not loaded.*Homemade"):
        decode("estimator", path)


def test_the_trusted_types_hold_arrays_only() -> None:
    """A longer list is a decision: each of these was looked at. None runs code it is given."""
    assert TRUSTED == (
        "numpy.dtype",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.tree._tree.Tree",
    )
