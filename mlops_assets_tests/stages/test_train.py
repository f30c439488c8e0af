"""What a bundle holds, that nothing but data and settings decides it, and what cannot be fitted."""

import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_assets.contract.model import Candidate, Evaluation, Feature, Target, Task
from mlops_assets.errors import ContractError, RefusedError
from mlops_assets.stages.learnable import unusual
from mlops_assets.stages.train import answers, evenly, fit, matrix, score
from mlops_assets.store.digest import estimator_digest
from mlops_assets_tests.stages.learn import FOREST, LINEAR, PRIOR, TREES, answered, contract, rows

TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")
ALL = (PRIOR, LINEAR, TREES, FOREST)


@pytest.mark.parametrize("task", TASKS)
def test_every_kind_of_model_scores_every_row(task: Task) -> None:
    table = rows(task)
    bundle = fit(contract(task), table, ALL)
    assert list(bundle["models"]) == ["prior", "linear", "boosted_trees", "forest"]
    for name in bundle["models"]:
        said = score(bundle, name, table)
        assert said.shape == ((600, 3) if task == "multiclass" else (600,))
        assert np.isfinite(said).all()
        if task == "multiclass":
            np.testing.assert_allclose(said.sum(axis=1), 1)
    assert score(bundle, "linear", table.slice(0, 0)).shape == ((0, 3) if task == "multiclass" else (0,))


def test_a_bundle_says_what_it_is() -> None:
    bundle = fit(contract(), rows(), (PRIOR, TREES))
    assert bundle["features"] == ["size", "age", "noise", "shop"]
    assert bundle["categories"] == {"shop": ["north", "south", "west"]}
    assert bundle["classes"] == [False, True]
    assert bundle["target"] == {"name": "bought", "expression": "paid > 1", "positive": True}
    assert bundle["candidate"] == "boosted_trees"
    assert bundle["settings"]["boosted_trees"] == dict(TREES.settings)
    training = bundle["training"]
    assert training["rows"] + training["no_answer"] == 600
    assert sum(training["counts"]) == training["rows"]
    assert training["base_rate"] == training["counts"][1] / training["rows"]
    assert training["unconverged"] == {}
    assert unusual(training) == ("26 of 600 training rows have no answer and were left out.",)


def test_regression_has_a_mean_and_no_threshold() -> None:
    bundle = fit(contract("regression"), rows("regression"), (TREES,))
    assert bundle["threshold"] is None
    assert bundle["thresholds"] == {}
    assert bundle["classes"] == []
    assert bundle["training"]["mean"] == pytest.approx(9, abs=0.1)


def test_the_candidate_may_be_named() -> None:
    assert fit(contract(), rows(), (TREES, FOREST), candidate="forest")["candidate"] == "forest"
    assert fit(contract(), rows(), (PRIOR,))["candidate"] == "prior"


def test_as_many_rows_reach_the_threshold_as_are_positive() -> None:
    table = rows(gaps=False)
    bundle = fit(contract(), table, (PRIOR, TREES))
    reached = (score(bundle, "boosted_trees", table) >= bundle["threshold"]).mean()
    assert reached == pytest.approx(bundle["training"]["base_rate"], abs=0.01)
    assert (score(bundle, "prior", table) < bundle["thresholds"]["prior"]).all()


def test_a_threshold_may_be_a_probability() -> None:
    bundle = fit(contract(evaluation=Evaluation(threshold=0.7)), rows(), (TREES,))
    assert bundle["threshold"] == 0.7


def test_the_matrix_keeps_missing_numbers_and_codes_categories() -> None:
    bundle = fit(contract(), rows(), (PRIOR,))
    table = pa.table(
        {
            "size": pa.array([1, None], pa.int64()),
            "age": pa.array([True, False]),
            "noise": pa.array([None, 2.5]),
            "shop": pa.array(["west", "elsewhere"]).dictionary_encode(),
        }
    )
    np.testing.assert_array_equal(matrix(bundle, table), [[1, 1, np.nan, 2], [np.nan, 0, 2.5, -1]])
    nobody = table.set_column(3, "shop", pa.array([None, "north"], pa.string()))
    assert matrix(bundle, nobody)[:, 3].tolist() == [-1, 0]


def test_unseen_and_missing_categories_are_scored_alike() -> None:
    bundle = fit(contract(), rows(), (LINEAR, TREES))
    table = rows().slice(0, 2)
    shops = table.set_column(3, "shop", pa.array([None, "elsewhere"], pa.string()))
    same = shops.take([0, 0]).set_column(3, "shop", shops["shop"])
    for name in bundle["models"]:
        assert len(set(score(bundle, name, same))) == 1


def test_an_empty_feature_and_only_one_sort_of_feature_can_be_fitted() -> None:
    table = rows()
    empty = table.set_column(2, "noise", pa.nulls(600, pa.float64())).set_column(3, "shop", pa.nulls(600, pa.string()))
    bundle = fit(contract(), empty, ALL)
    for name in bundle["models"]:
        np.testing.assert_array_equal(score(bundle, name, empty), score(bundle, name, table))
    assert unusual(bundle["training"])[1] == "Feature “noise” has no value in any training row: every model ignores it."
    for kept in ((Feature("size", "numeric"),), (Feature("shop", "categorical"),)):
        bundle = fit(contract(features=kept), table, ALL)
        assert np.isfinite(score(bundle, "linear", table)).all()


@pytest.mark.parametrize("task", TASKS)
def test_threads_change_nothing(task: Task) -> None:
    table = rows(task, 3000)
    one, two = (fit(contract(task), table, ALL, threads=threads) for threads in (1, 2))
    assert estimator_digest(one) == estimator_digest(two)
    for name in one["models"]:
        np.testing.assert_array_equal(score(one, name, table), score(two, name, table))


def test_trees_have_the_same_nodes_with_one_and_two_threads() -> None:
    one, two = (fit(contract(), rows(), (TREES,), threads=threads)["models"]["boosted_trees"] for threads in (1, 2))
    for ours, theirs in zip(one._predictors, two._predictors, strict=True):
        for name in ours[0].nodes.dtype.names:
            np.testing.assert_array_equal(ours[0].nodes[name], theirs[0].nodes[name])


def test_another_process_with_more_threads_makes_the_same_bundle() -> None:
    code = (
        "from mlops_assets.stages.train import fit\n"
        "from mlops_assets.store.digest import estimator_digest\n"
        "from mlops_assets_tests.stages.test_train import ALL, contract, rows\n"
        "print(estimator_digest(fit(contract(), rows(), ALL, threads=2)))\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == estimator_digest(fit(contract(), rows(), ALL))


def test_a_change_of_data_or_settings_changes_the_bundle() -> None:
    first = estimator_digest(fit(contract(), rows(), (TREES,)))
    assert first != estimator_digest(fit(contract(), rows(seed=1), (TREES,)))
    other = replace(TREES, settings={**TREES.settings, "max_iter": 14})
    assert first != estimator_digest(fit(contract(), rows(), (other,)))


def test_a_forest_is_kept_without_its_number_of_jobs() -> None:
    assert fit(contract(), rows(), (FOREST,), threads=2)["models"]["forest"].n_jobs is None


@pytest.mark.parametrize(
    ("values", "kind", "positive"),
    [
        (["yes", "no"], pa.string(), "yes"),
        ([1, 0], pa.int64(), 1),
        ([1, 0], pa.int64(), True),
        ([1.0, 2.0], pa.float64(), 1),
    ],
)
def test_a_binary_target_may_be_any_two_values(values: list[Any], kind: pa.DataType, positive: Any) -> None:
    truth = rows()["target"].to_pylist()
    table = answered(rows(), [None if one is None else values[0] if one else values[1] for one in truth], kind)
    rules = contract(target=Target("bought", "paid", "binary", positive=positive))
    bundle = fit(rules, table, (TREES,))
    assert bundle["classes"] == [values[1], values[0]]
    np.testing.assert_array_equal(
        score(bundle, "boosted_trees", table), score(fit(contract(), rows(), (TREES,)), "boosted_trees", rows())
    )


def test_answers_that_no_training_row_had_are_counted() -> None:
    bundle = fit(contract("multiclass"), rows("multiclass"), (PRIOR,))
    table = answered(rows(n=3), ["none", None, "many"], pa.string())
    truth, known, unseen = answers(bundle, table)
    assert truth[known].tolist() == [3, 1]
    assert known.tolist() == [True, False, True]
    assert unseen == 1
    two = fit(contract(), rows(), (PRIOR,))
    assert answers(two, answered(rows(n=2), [True, False], pa.bool_()))[2] == 0


def test_infinite_and_missing_numbers_are_no_answers() -> None:
    bundle = fit(contract("regression"), rows("regression"), (PRIOR,))
    table = answered(rows(n=3), [float("inf"), None, 2.0], pa.float64())
    assert answers(bundle, table)[1].tolist() == [False, False, True]


def test_evenly_spaced_rows_keep_both_ends() -> None:
    assert evenly(3, 10).tolist() == [0, 1, 2]
    assert evenly(100, 3).tolist() == [0, 49, 99]


def refused(kind: type[Exception], rules: Any, table: pa.Table, *models: Candidate) -> str:
    with pytest.raises(kind) as caught:
        fit(rules, table, models or (PRIOR,))
    return str(caught.value)


@pytest.mark.parametrize("task", TASKS)
def test_nothing_can_be_fitted_without_answers(task: Task) -> None:
    table = rows(task, 20)
    table = table.set_column(4, "target", pa.nulls(20, table["target"].type))
    assert refused(RefusedError, contract(task), table) == (
        "None of the 20 training rows of shop has an answer for 'bought' (paid > 1): nothing can be fitted. Look at "
        "that target's columns in 'cleaned'."
    )


def test_nothing_can_be_told_apart_with_one_class() -> None:
    table = answered(rows(n=20), [True] * 19 + [None], pa.bool_())
    assert refused(RefusedError, contract(), table) == (
        "All 19 training rows of shop that have an answer have the same one for 'bought': there is nothing to tell "
        "apart. Take more batches, or mend the target in /data/sales/dataset.yaml."
    )


def test_a_binary_target_with_three_answers_is_refused_without_naming_them() -> None:
    said = refused(ContractError, contract(), answered(rows(n=4), ["a", "b", "c", "a"], pa.string()))
    assert said == (
        "/data/sales/dataset.yaml:12: target 'bought' has 3 different answers; a binary task needs two, one of them "
        "the positive one. Write the expression as a comparison, set 'positive', or say 'task: multiclass'."
    )


def test_a_positive_answer_that_never_comes_is_refused() -> None:
    rules = contract(target=Target("bought", "paid", "binary", positive="yes", line=12))
    said = refused(ContractError, rules, answered(rows(n=2), ["y", "n"], pa.string()))
    assert said.startswith("/data/sales/dataset.yaml:12: target 'bought' never has the positive answer 'yes'; a binary")


def test_an_absent_feature_is_refused() -> None:
    assert refused(RefusedError, contract(), rows().drop_columns(["noise"])) == (
        "The feature table has no column 'noise'; it was made by another contract. Make the features again."
    )


def test_a_numeric_feature_of_texts_is_refused() -> None:
    table = rows(n=30)
    table = table.set_column(0, "size", table["shop"])
    assert refused(RefusedError, contract(), table) == (
        "The numeric feature 'size' holds string, not numbers; make the features again."
    )


def test_a_setting_that_does_not_exist_is_refused_with_a_hint() -> None:
    said = refused(ContractError, contract(), rows(), replace(TREES, settings={"max_itre": 5}))
    assert said == (
        "/data/sales/dataset.yaml:22: model 'boosted_trees': boosted_trees has no setting 'max_itre'; did you mean "
        "'max_iter'?"
    )
    said = refused(ContractError, contract(), rows(), replace(PRIOR, settings={"zzz": 5}))
    assert said == (
        "/data/sales/dataset.yaml:20: model 'prior': prior has no setting 'zzz'; it has constant, "
        "random_state, strategy."
    )


def test_a_value_that_a_setting_cannot_have_is_refused() -> None:
    said = refused(ContractError, contract(), rows(), replace(TREES, settings={"max_iter": -1}))
    assert said.startswith("/data/sales/dataset.yaml:22: model 'boosted_trees': The 'max_iter' parameter of Hist")
    assert said.endswith("Got -1 instead.")


def test_a_solver_that_does_not_converge_is_told() -> None:
    bundle = fit(contract(), rows(), (replace(LINEAR, settings={"max_iter": 1, "solver": "lbfgs"}),))
    (said,) = bundle["training"]["unconverged"].values()
    assert said.startswith("lbfgs failed to converge")
    assert bundle["training"]["unconverged"]["linear"].startswith("lbfgs failed to converge")
