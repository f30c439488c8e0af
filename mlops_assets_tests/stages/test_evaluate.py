"""What the report of a bundle says, for every task, and that it is the same however it is computed."""

import json
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_assets.contract.model import Column, Contract, Evaluation, Gates, Task
from mlops_assets.errors import RefusedError
from mlops_assets.stages.evaluate import agreement, cautions, evaluate, rounded, summary
from mlops_assets.stages.made import Made
from mlops_assets.stages.metrics import METRICS
from mlops_assets.stages.train import Bundle, answers, fit, predict
from mlops_assets_tests.stages.learn import FEATURES, LINEAR, METRIC, PRIOR, TREES, answered, contract, rows

TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")


@cache
def fitted(task: Task = "binary") -> Bundle:
    return fit(contract(task), rows(task, 1500), (PRIOR, LINEAR, TREES))


@cache
def made(task: Task = "binary") -> Made:
    test = rows(task, 800, seed=5)
    return evaluate(contract(task), fitted(task), test, [summary(fitted(task), "2024-02", "test", test)])


def report(task: Task = "binary") -> dict[str, Any]:
    return dict(made(task).value)


def model(found: dict[str, Any], name: str) -> dict[str, Any]:
    return dict(next(one for one in found["models"] if one["name"] == name))


@pytest.mark.parametrize("task", TASKS)
def test_a_report_is_plain_json_and_repeats(task: Task) -> None:
    assert json.loads(json.dumps(report(task), allow_nan=False)) == report(task)
    again = evaluate(contract(task), fitted(task), rows(task, 800, seed=5), report(task)["batches"])
    assert again == made(task)


@pytest.mark.parametrize("task", TASKS)
def test_every_model_has_every_metric_within_its_interval(task: Task) -> None:
    found = report(task)
    assert [one["name"] for one in found["models"]] == ["prior", "linear", "boosted_trees"]
    assert [one["role"] for one in found["models"]] == ["baseline", "baseline", "candidate"]
    for one in found["models"]:
        assert list(one["metrics"]) == list(METRICS[task])
        for span in one["metrics"].values():
            assert span["low"] <= span["value"] <= span["high"] or span["low"] == pytest.approx(span["high"], abs=1e-3)
    assert found["primary"] == METRIC[task]


@pytest.mark.parametrize("task", TASKS)
def test_a_positive_difference_is_an_improvement_whatever_the_metric(task: Task) -> None:
    found = report(task)
    best, prior = model(found, "boosted_trees"), model(found, "prior")
    assert set(best["versus"]) == {"prior", "linear"}
    for name, metric in METRICS[task].items():
        gap = best["versus"]["prior"][name]
        sign = 1 if metric.higher else -1
        assert gap["value"] == pytest.approx(
            sign * (best["metrics"][name]["value"] - prior["metrics"][name]["value"]), abs=2e-6
        )
        assert gap["low"] > 0, name


def test_paired_differences_are_surer_than_the_metrics() -> None:
    best = model(report(), "boosted_trees")
    gap, span = best["versus"]["linear"]["log_loss"], best["metrics"]["log_loss"]
    assert gap["high"] - gap["low"] < span["high"] - span["low"]


def test_rows_without_an_answer_are_counted_and_left_out() -> None:
    rows_ = report()["rows"]
    assert rows_ == {"test": 800, "answered": 765, "no_answer": 35, "unseen": 0}
    assert sum(report()["confusion"].values()) == 765
    assert made().sentences[0] == (
        "35 of 800 test rows (4.4%) have no answer for “bought” and are in no number here; if they differ from the "
        "others, so would the numbers."
    )


def test_a_moved_base_rate_is_said() -> None:
    test = rows(n=1200, seed=6, gaps=False)
    kept = test.filter(pa.array([bool(one) or place % 3 == 0 for place, one in enumerate(test["target"].to_pylist())]))
    said = " ".join(evaluate(contract(), fitted(), kept, []).sentences)
    assert "hold more “bought” rows than the training rows did" in said
    assert "expect probabilities that are too low on the whole" in said
    fewer = test.filter(pa.array([not one or place % 3 == 0 for place, one in enumerate(test["target"].to_pylist())]))
    assert "expect probabilities that are too high on the whole" in " ".join(
        evaluate(contract(), fitted(), fewer, []).sentences
    )


def test_a_moved_mean_is_said() -> None:
    test = rows("regression", 300, gaps=False)
    higher = answered(test, [one + 9 for one in test["target"].to_pylist()], pa.float64())
    said = evaluate(contract("regression"), fitted("regression"), higher, []).sentences[0]
    assert said.startswith("The mean of “bought” moved from 8.")
    assert said.endswith("standard deviations.")


def test_few_rows_and_rare_classes_are_said() -> None:
    said = evaluate(contract("multiclass"), fitted("multiclass"), rows("multiclass", 60, gaps=False), []).sentences
    assert any(one.startswith("The rarest class has only ") for one in said)
    assert "Only 60 test rows have an answer: the intervals are wide, read them first." in said


def test_what_did_not_converge_is_said() -> None:
    found = report() | {"train": report()["train"] | {"unconverged": {"linear": "lbfgs failed"}}}
    assert cautions(found)[-1] == "Not converged, and so perhaps worse than it could be: linear."


def test_nothing_can_be_evaluated_without_answers() -> None:
    with pytest.raises(RefusedError) as caught:
        evaluate(contract(), fitted(), answered(rows(n=9), [None] * 9, pa.bool_()), [])
    assert str(caught.value) == (
        "None of the 9 test rows of shop has an answer for 'bought': there is nothing to compare with. Wait for the "
        "answers, or release an earlier batch."
    )


def test_one_class_in_test_leaves_the_area_undefined() -> None:
    found = evaluate(contract(), fitted(), answered(rows(n=50), [True] * 50, pa.bool_()), []).value
    assert model(found, "boosted_trees")["metrics"]["roc_auc"] == {"value": None, "low": None, "high": None}
    assert found["curves"]["roc"]["prior"] == {"x": [], "y": []}
    json.dumps(found, allow_nan=False)


def test_shuffling_what_matters_costs_and_what_does_not_does_not() -> None:
    found = {one["feature"]: one for one in report()["importance"]}
    assert report()["importance"][0]["feature"] == "size"
    assert found["size"]["low"] > 0.05
    assert abs(found["noise"]["value"]) < 0.02
    assert all(one["low"] <= one["value"] <= one["high"] for one in found.values())


@pytest.mark.parametrize("task", TASKS)
def test_importance_is_what_scoring_every_shuffled_row_says(task: Task) -> None:
    """Rows whose value does not change are not scored again; that must not show."""
    rules, bundle = contract(task), fitted(task)
    test = rows(task, 250, seed=8, gaps=False)
    found = {one["feature"]: one["value"] for one in evaluate(rules, bundle, test, []).value["importance"]}
    from mlops_assets.stages.evaluate import _measure
    from mlops_assets.stages.train import matrix

    inputs, (truth, _, _) = matrix(bundle, test), answers(bundle, test)
    place = list(METRICS[task]).index(METRIC[task])
    sign = 1 if METRICS[task][METRIC[task]].higher else -1
    whole = _measure(bundle, "boosted_trees", truth, predict(bundle, "boosted_trees", inputs))(np.ones(250))[place]
    for column, feature in enumerate(FEATURES):
        generator, losses = np.random.default_rng([0, 2, column]), []
        for _ in range(3):
            changed = inputs.copy()
            changed[:, column] = inputs[generator.permutation(250), column]
            said = predict(bundle, "boosted_trees", changed)
            losses.append(sign * (whole - _measure(bundle, "boosted_trees", truth, said)(np.ones(250))[place]))
        assert found[feature.name] == pytest.approx(sum(losses) / 3, abs=1e-6)


def test_no_repeats_no_importance() -> None:
    rules = contract(evaluation=Evaluation(bootstrap=5, importance_repeats=0))
    assert evaluate(rules, fitted(), rows(n=100), []).value["importance"] == []


@pytest.mark.parametrize("task", TASKS)
def test_groups_are_looked_at_when_they_are_large_enough(task: Task) -> None:
    (table,) = report(task)["groups"]
    assert [one["group"] for one in table["groups"]][:3] != []
    assert {one["group"] for one in table["groups"]} == {"north", "south", "west"}
    assert table["small"] == {"groups": 1, "rows": sum(1 for one in _shops_answered(task) if one is None)}
    assert [one["rows"] for one in table["groups"]] == sorted((one["rows"] for one in table["groups"]), reverse=True)
    wanted = {"binary": "roc_auc", "multiclass": "accuracy", "regression": "error"}[task]
    for one in table["groups"]:
        assert one[wanted]["low"] < one[wanted]["value"] < one[wanted]["high"]
        assert one["gap"]["low"] < one["gap"]["value"] < one["gap"]["high"]


def _shops_answered(task: Task) -> list[Any]:
    table = rows(task, 800, seed=5)
    return list(table.filter(table["target"].is_valid())["shop"].to_pylist())


def test_sensitive_groups_are_not_named() -> None:
    source = replace(
        contract().sources["sales"], columns={"shop": Column("shop", "string", roles=frozenset({"sensitive"}))}
    )
    rules = contract(sources={"sales": source})
    (table,) = evaluate(rules, fitted(), rows(n=800, seed=5), []).value["groups"]
    assert table["hidden"]
    assert [one["group"] for one in table["groups"]] == ["value 1", "value 2", "value 3"]


def test_groups_that_are_no_features_come_under_their_own_name() -> None:
    test = rows(n=400)
    test = test.append_column("group:town", pa.array(["a", "b"] * 200))
    rules = contract(evaluation=Evaluation(groups=("town",), bootstrap=5, importance_repeats=0))
    (table,) = evaluate(rules, fitted(), test, []).value["groups"]
    assert [one["group"] for one in table["groups"]] == ["a", "b"]


def test_the_calibration_of_a_wrong_model_shows() -> None:
    bundle = fitted()
    test = rows(n=800, seed=5, gaps=False)
    flipped = answered(test, [not one for one in test["target"].to_pylist()], pa.bool_())
    rules = contract()
    good, bad = (evaluate(rules, bundle, one, []).value["calibration"] for one in (test, flipped))
    assert good["error"] < 0.06
    assert bad["error"] > 0.3
    assert sum(one["rows"] for one in good["bins"]) == 800


def test_an_answer_never_seen_counts_as_wrong() -> None:
    test = rows("multiclass", 300, gaps=False)
    strange = answered(test, ["none", *test["target"].to_pylist()[1:]], pa.string())
    usual, found = (evaluate(contract("multiclass"), fitted("multiclass"), one, []).value for one in (test, strange))
    assert found["rows"]["unseen"] == 1
    assert found["confusion"]["classes"] == ["few", "many", "some", "(not in training)"]
    assert found["confusion"]["counts"][3].count(0) == 3
    assert model(found, "prior")["metrics"]["log_loss"]["value"] > model(usual, "prior")["metrics"]["log_loss"]["value"]
    assert found["train"]["counts"] == fitted("multiclass")["training"]["counts"]


def test_many_classes_are_shown_as_the_common_ones_and_the_rest() -> None:
    chance = np.random.default_rng(2)
    names = [f"c{number:02}" for number in np.minimum(chance.geometric(0.15, 1500), 30)]
    table = answered(rows(n=1500, gaps=False), names, pa.string())
    rules = contract("multiclass", evaluation=Evaluation(bootstrap=5, importance_repeats=0))
    found = evaluate(rules, fit(rules, table, (PRIOR, LINEAR)), table, []).value["confusion"]
    assert len(found["classes"]) == 12
    assert found["classes"][-1].endswith(" others)")
    assert sum(sum(line) for line in found["counts"]) == 1500


def test_a_summary_describes_a_batch() -> None:
    assert summary(fitted(), "2024-01", "train", rows(n=46)) == {
        "batch": "2024-01",
        "role": "train",
        "no_answer": 2,
        "rows": 46,
        "counts": [26, 18],
        "base_rate": round(18 / 44, 6),
    }
    assert sum(summary(fitted("multiclass"), "a", "train", rows("multiclass", 40))["counts"]) == 38
    assert summary(fitted("regression"), "a", "train", rows("regression", 40))["mean"] == pytest.approx(8, abs=3)
    assert summary(fitted(), "a", "train", rows(n=0))["base_rate"] is None


@pytest.mark.parametrize("task", TASKS)
def test_a_bundle_agrees_with_itself_and_less_with_another(task: Task) -> None:
    rules, test = contract(task), rows(task, 400, seed=9)
    other = fit(rules, rows(task, 40, seed=3), (PRIOR, LINEAR, TREES))
    same, different = agreement(fitted(task), fitted(task), test), agreement(fitted(task), other, test)
    assert same["agree"] == same["rows"] == 400
    assert same["largest"] == 0
    assert 100 < different["agree"] < 400
    assert different["largest"] > 0


def test_rounding_leaves_plain_json() -> None:
    found = rounded(
        {"a": np.float64(1 / 3), 2: (np.int64(3), float("nan")), "c": np.array([np.inf, 1.0]), "d": np.bool_(True)}
    )
    assert found == {"a": 0.333333, "2": [3, None], "c": [None, 1.0], "d": True}
    assert found["d"] is True


def test_other_gates_change_the_primary_metric() -> None:
    rules: Contract = contract(
        gates=Gates("log_loss"), evaluation=Evaluation(bootstrap=5, importance_rows=100, importance_repeats=1)
    )
    found = evaluate(rules, fitted(), rows(n=200), []).value
    assert found["primary"] == "log_loss"
    assert found["importance"][0]["feature"] == "size"
