"""Contracts and feature tables made by rule, for tests of the release side.

What belongs here: building values. What does not: any expectation.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mlops_assets.contract.model import Candidate, Contract, Evaluation, Feature, Gates, Target, Task
from mlops_assets_tests.stages.build import contract as batch_contract

PRIOR = Candidate("prior", "prior", {}, line=20)
LINEAR = Candidate("linear", "linear", {}, line=21)
TREES = Candidate("boosted_trees", "boosted_trees", {"max_iter": 15, "max_leaf_nodes": 7}, line=22)
FOREST = Candidate("forest", "random_forest", {"n_estimators": 8, "max_depth": 4}, line=23)
METRIC: dict[Task, str] = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "mae"}
FEATURES = (
    Feature("size", "numeric"),
    Feature("age", "numeric"),
    Feature("noise", "numeric"),
    Feature("shop", "categorical"),
)


def contract(task: Task = "binary", **more: Any) -> Contract:
    """A contract with three numbers and a category, every baseline and small trees."""
    settings: dict[str, Any] = {
        "folder": Path("/data/sales"),
        "target": Target("bought", "paid > 1", task, line=12),
        "features": FEATURES,
        "baselines": (PRIOR, LINEAR),
        "candidates": (TREES,),
        "evaluation": Evaluation(groups=("shop",), bootstrap=60, importance_rows=300, importance_repeats=3),
        "gates": Gates(METRIC[task], beat=("prior",)),
    }
    return replace(batch_contract(), **{**settings, **more})


def rows(task: Task = "binary", n: int = 600, seed: int = 0, *, gaps: bool = True) -> pa.Table:
    """Feature rows whose answers depend on ``size``, ``age`` and ``shop``, some values and answers missing."""
    chance = np.random.default_rng(seed)
    size, age, noise = chance.normal(size=(3, n))
    shop = np.array(["north", "south", "west"])[chance.integers(0, 3, n)]
    pull = 1.5 * size - 1.2 * (age > 0.3) + 0.8 * (shop == "west")
    drawn = pull + chance.logistic(size=n)
    answers: list[Any]
    if task == "binary":
        answers = (drawn > 0.5).tolist()
    elif task == "multiclass":
        answers = np.array(["few", "many", "some"])[np.digitize(drawn, [-0.8, 0.9])].tolist()
    else:
        answers = (10 + 4 * drawn).tolist()
    shops: list[Any] = shop.tolist()
    if gaps:
        size[::17] = np.nan
        shops[3::19] = [None] * len(shops[3::19])
        answers[5::23] = [None] * len(answers[5::23])
    types: dict[Task, pa.DataType] = {"binary": pa.bool_(), "multiclass": pa.string(), "regression": pa.float64()}
    return pa.table(
        {
            "size": pa.array(size, from_pandas=True),
            "age": pa.array(age),
            "noise": pa.array(noise),
            "shop": pa.array(shops, pa.string()),
            "target": pa.array(answers, types[task]),
        }
    )


def answered(table: pa.Table, answers: list[Any], kind: pa.DataType) -> pa.Table:
    """The same rows with other answers."""
    return table.set_column(table.column_names.index("target"), "target", pa.array(answers, kind))
