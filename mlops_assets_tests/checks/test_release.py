"""The verdicts on a candidate, its report and its refit: what passes, what does not, and in which words."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from mlops_assets.checks.declared import checks
from mlops_assets.checks.release import audit_candidate, audit_evaluation, audit_trained
from mlops_assets.checks.verdict import Verdict
from mlops_assets.contract.model import Evaluation, Feature, Gates, Task
from mlops_assets.stages.evaluate import agreement, evaluate
from mlops_assets.stages.train import Bundle, fit
from mlops_assets_tests.stages.learn import LINEAR, METRIC, PRIOR, TREES, contract, rows

TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")


@cache
def fitted(task: Task = "binary") -> Bundle:
    return fit(contract(task), rows(task, 1500), (PRIOR, LINEAR, TREES))


@cache
def report(task: Task = "binary") -> dict[str, Any]:
    return dict(evaluate(contract(task), fitted(task), rows(task, 900, seed=5), []).value)


def verdict(found: list[Verdict], name: str) -> Verdict:
    return next(one for one in found if one.check == name)


def judged(name: str, task: Task = "binary", found: dict[str, Any] | None = None, **gates: Any) -> Verdict:
    rules = contract(task, gates=Gates(METRIC[task], **gates))
    return verdict(audit_evaluation(rules, found or report(task)), name)


@pytest.mark.parametrize("task", TASKS)
def test_every_check_of_a_stage_has_its_verdict_in_order(task: Task) -> None:
    rules = contract(task)
    made = {
        "candidate_model": audit_candidate(rules, fitted(task)),
        "evaluation_report": audit_evaluation(rules, report(task)),
        "trained_model": audit_trained(rules, agreement(fitted(task), fitted(task), rows(task, 50))),
    }
    for stage, found in made.items():
        declared = checks(rules, stage)
        assert [(one.check, one.severity) for one in found] == [(one.name, one.severity) for one in declared]
        assert not [one.sentence for one in found if one.blocks]


def test_a_sound_candidate_passes() -> None:
    fits, converged = audit_candidate(contract(), fitted())
    assert fits.passed
    assert fits.sentence == "3 models fitted to 1,435 rows: 'prior', 'linear' and 'boosted_trees'."
    assert fits.n == 3
    assert converged.sentence == "3 models converged."


def test_a_candidate_that_says_the_same_of_every_row_blocks() -> None:
    table = rows(n=300)
    constant = table.set_column(2, "noise", table["noise"].combine_chunks().take([0] * 300))
    rules = contract(features=(Feature("noise", "numeric"),))
    found = audit_candidate(rules, fit(rules, constant, (PRIOR, TREES)))[0]
    assert found.blocks
    assert found.sentence == "Model 'boosted_trees' says the same of all 287 rows: its features tell it nothing."


def test_scores_that_are_no_numbers_block() -> None:
    bundle = fitted()
    scores = {**bundle["training"]["scores"], "linear": {"sampled": 1434, "unfinite": 12, "distinct": 9, "mean": None}}
    found = audit_candidate(contract(), {**bundle, "training": {**bundle["training"], "scores": scores}})[0]
    assert found.blocks
    assert found.sentence == "Model 'linear' says nothing finite of 12 of 1,434 rows."


def test_a_solver_that_stopped_early_warns() -> None:
    lazy = replace(LINEAR, settings={"max_iter": 1, "solver": "lbfgs"})
    found = audit_candidate(contract(), fit(contract(), rows(), (lazy, TREES)))[1]
    assert not found.passed
    assert not found.blocks
    assert found.sentence == "Not converged: linear. Raise max_iter in /data/sales/dataset.yaml, or scale the features."


def test_a_minimum_is_kept_or_blocks() -> None:
    assert judged("minimum", minimum={"roc_auc": 0.6}).sentence.endswith("keeps the minimum of 0.6.")
    found = judged("minimum", minimum={"roc_auc": 0.97, "accuracy": 0.1})
    assert found.blocks
    assert (found.failed, found.n) == (1, 2)
    assert "is below the minimum of 0.97. Accuracy" in found.sentence
    assert "too good" not in found.sentence
    assert judged("minimum").sentence == "dataset.yaml asks for no minimum."


def test_a_maximum_asks_for_a_leak() -> None:
    found = judged("maximum", maximum={"roc_auc": 0.7})
    assert found.blocks
    assert found.sentence.endswith(
        "is above the maximum of 0.7: too good to be true? Look for a feature that is known only after the event."
    )


def test_a_bound_on_a_loss_reads_the_other_way_round() -> None:
    worse = judged("maximum", maximum={"log_loss": 0.1})
    assert worse.blocks
    assert worse.sentence.endswith("is above the maximum of 0.1.")
    better = judged("minimum", minimum={"log_loss": 0.6})
    assert better.sentence.endswith("Look for a feature that is known only after the event.")


def test_a_metric_that_is_not_defined_reaches_no_minimum() -> None:
    found = report()
    models = [
        {**one, "metrics": {**one["metrics"], "roc_auc": {"value": None, "low": None, "high": None}}}
        for one in found["models"]
    ]
    one = judged("minimum", found={**found, "models": models}, minimum={"roc_auc": 0.5})
    assert one.blocks
    assert one.sentence == "ROC AUC is not defined on these test rows; they do not hold what it needs."


def test_the_candidate_must_surely_beat_the_baselines() -> None:
    found = judged("beats_baselines", beat=("prior",))
    assert found.passed
    assert found.sentence.startswith("Better than 'prior' by 0.3")
    assert found.sentence.endswith("ROC AUC.")
    assert judged("beats_baselines").sentence == "dataset.yaml names no baseline to beat."


@pytest.mark.parametrize(
    ("value", "low", "said"), [(0.01, -0.002, "that may be chance."), (-0.02, -0.03, "it is not better.")]
)
def test_a_baseline_that_is_not_surely_beaten_blocks(value: float, low: float, said: str) -> None:
    best = report()["models"][-1]
    gap = {"value": value, "low": low, "high": 0.02}
    beaten = {**best, "versus": {**best["versus"], "linear": {"roc_auc": gap}}}
    found = judged("beats_baselines", found={**report(), "models": [beaten]}, beat=("prior", "linear"))
    assert found.blocks
    assert (found.failed, found.n) == (1, 2)
    assert found.sentence.endswith(said)


def test_a_baseline_that_cannot_be_compared_is_not_beaten() -> None:
    found = judged("beats_baselines", beat=("absent",))
    assert found.blocks
    assert found.sentence == "The difference from 'absent' on ROC AUC cannot be told on these test rows."


@pytest.mark.parametrize("task", TASKS)
def test_what_is_said_must_be_what_happens(task: Task) -> None:
    good = judged("calibration", task)
    assert good.passed
    assert "on average over 10 bins; on the whole they are" in good.sentence
    off = {**report(task), "calibration": {**report(task)["calibration"], "error": 9.0, "sure": 8.5}}
    bad = judged("calibration", task, off)
    assert not bad.passed
    assert not bad.blocks
    assert bad.sentence.endswith("Use them to rank, not as they stand.")
    assert ("standard deviations" in bad.sentence) == (task == "regression")


@pytest.mark.parametrize("task", TASKS)
def test_groups_like_the_whole_pass(task: Task) -> None:
    table = rows(task, 900, seed=5)
    even = table.append_column("group:half", table["shop"].combine_chunks().take([0, 2] * 450))
    rules = contract(task, evaluation=Evaluation(groups=("half",), bootstrap=5, importance_repeats=0))
    found = verdict(audit_evaluation(rules, evaluate(rules, fitted(task), even, []).value), "groups")
    assert found.passed
    assert found.n >= 1
    assert found.sentence.startswith("None of ")


@pytest.mark.parametrize("task", TASKS)
def test_a_group_that_is_treated_otherwise_warns_and_is_named_in_examples_only(task: Task) -> None:
    (table,) = report(task)["groups"]
    spans: dict[Task, dict[str, Any]] = {
        "binary": {"roc_auc": _span(0.55), "gap": _span(0.3)},
        "multiclass": {"accuracy": _span(0.2), "gap": _span(-0.3)},
        "regression": {"error": _span(40.0)},
    }
    first = {**table["groups"][0], **spans[task]}
    found = judged("groups", task, {**report(task), "groups": [{**table, "groups": [first, *table["groups"][1:]]}]})
    assert not found.passed
    assert not found.blocks
    assert found.failed == 1
    assert found.sentence.startswith("1 of 3 groups is surely treated otherwise than the whole.")
    few = judged("groups", task, {**report(task), "groups": [{**table, "small": {"groups": 1, "rows": 2}}]})
    assert few.sentence.endswith(" 1 smaller group left out: too few rows to say.")
    assert first["group"] not in found.sentence
    assert all(one.startswith(f"shop {first['group']} ({first['rows']} rows): ") for one in found.examples)
    assert len(found.examples) == len(spans[task])


def _span(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.01, "high": value + 0.01}


def test_no_groups_no_verdict_on_them() -> None:
    found = judged("groups", found={**report(), "groups": []})
    assert found.passed
    assert found.sentence == "The contract names no groups to look at."


def test_a_refit_that_decides_alike_passes() -> None:
    (found,) = audit_trained(contract(), {"rows": 200, "agree": 190, "largest": 0.1, "task": "binary"})
    assert found.passed
    assert found.sentence == (
        "The final refit decides like the evaluated candidate on 95.0% of 200 test rows; 80.0% are asked."
    )
    assert (found.failed, found.n, found.threshold) == (10, 200, 0.2)


def test_a_refit_that_decides_otherwise_blocks() -> None:
    (found,) = audit_trained(contract(), {"rows": 200, "agree": 100, "largest": 0.9, "task": "regression"})
    assert found.blocks
    assert found.sentence == (
        "The final refit stays close to the evaluated candidate on 50.0% of 200 test rows; 80.0% are asked. The last "
        "batches change the model more than the evaluation can vouch for: look at what came in them."
    )


def test_without_rows_there_is_no_agreement() -> None:
    (found,) = audit_trained(contract(), {"rows": 0, "agree": 0, "largest": 0.0, "task": "binary"})
    assert found.blocks
    assert found.sentence == "There is no test row to compare the final refit with the candidate on."
