"""Plots are sound SVG that stands alone, says what it shows, and survives what data may bring."""

from functools import cache
from typing import Any
from xml.etree import ElementTree as ET

import pyarrow as pa
import pytest

from mlops_assets.contract.model import Evaluation, Task
from mlops_assets.report.plots import drawing, interval, names, svg, ticks
from mlops_assets.stages.evaluate import evaluate, summary
from mlops_assets.stages.train import fit
from mlops_assets_tests.stages.learn import LINEAR, PRIOR, TREES, answered, contract, rows

TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")
SVG = "{http://www.w3.org/2000/svg}"


@cache
def report(task: Task = "binary") -> dict[str, Any]:
    bundle, test = fit(contract(task), rows(task, 800), (PRIOR, LINEAR, TREES)), rows(task, 500, seed=5)
    batches = [
        summary(bundle, f"2024-{place:02}", role, rows(task, 90, seed=place))
        for place, role in enumerate(["train"] * 9 + ["validation", "embargo", "test"], 1)
    ]
    return dict(evaluate(contract(task), bundle, test, batches).value)


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - our own text


@pytest.mark.parametrize("task", TASKS)
def test_every_plot_is_well_formed_and_tells_what_it_shows(task: Task) -> None:
    for name in names(report(task)):
        root = parsed(svg(name, report(task)))
        title, told = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
        assert title is not None
        assert told is not None
        assert title.text
        assert told.text
        assert root.get("role") == "img"
        assert root.get("aria-label") == f"{title.text}. {told.text}"
        _, _, width, height = (float(one) for one in str(root.get("viewBox")).split())
        for mark in root.iter():
            for axis, most in (
                ("x", width),
                ("x1", width),
                ("cx", width),
                ("y", height),
                ("y1", height),
                ("cy", height),
            ):
                assert -0.1 <= float(mark.get(axis, 0)) <= most + 0.1, (name, mark.attrib)


@pytest.mark.parametrize("task", TASKS)
def test_a_plot_that_stands_alone_brings_its_colours(task: Task) -> None:
    for name in names(report(task)):
        assert "prefers-color-scheme:dark" in svg(name, report(task))
        assert "<style>" not in drawing(name, report(task))


def test_names_are_those_of_the_task() -> None:
    assert names(report()) == (
        "models", "roc", "precision_recall", "calibration", "scores", "confusion", "importance", "batches",
    )  # fmt: skip
    assert "fit" in names(report("regression"))
    assert "importance" not in names({**report(), "importance": []})
    assert "batches" not in names({**report(), "batches": []})


def test_a_plot_that_is_not_there_is_a_mistake_with_a_list() -> None:
    with pytest.raises(ValueError, match="a binary report has no plot 'fit', only models, roc, precision_recall"):
        svg("fit", report())


def test_names_from_data_are_escaped() -> None:
    wild = '<b>"&'
    found = report("multiclass")
    found = {**found, "confusion": {**found["confusion"], "classes": [wild] * 3}}
    assert wild not in svg("confusion", found)
    parsed(svg("confusion", found))
    one = {**report(), "importance": [{"feature": wild, "value": 0.1, "low": 0.1, "high": 0.2}]}
    parsed(svg("importance", one))
    batches = [{**row, "batch": wild} for row in report()["batches"]]
    parsed(svg("batches", {**report(), "batches": batches}))
    parsed(svg("roc", {**report(), "target": {**report()["target"], "name": wild}}))


def test_one_class_only_still_draws() -> None:
    bundle = fit(contract(), rows(), (PRIOR, TREES))
    found = evaluate(contract(), bundle, answered(rows(n=50), [False] * 50, pa.bool_()), []).value
    for name in names(found):
        parsed(svg(name, found))


def test_constant_answers_and_predictions_still_draw() -> None:
    table = answered(rows("regression", 60), [5.0] * 60, pa.float64())
    rules = contract("regression", evaluation=Evaluation(bootstrap=5, importance_repeats=1))
    bundle = fit(rules, answered(rows("regression", 60), [4.0, 6.0] * 30, pa.float64()), (PRIOR,))
    found = evaluate(rules, bundle, table, [summary(bundle, "a", "test", table)]).value
    for name in names(found):
        parsed(svg(name, found))


def test_many_classes_and_many_batches_still_draw() -> None:
    classes = [f"class {number}" for number in range(12)]
    table = answered(rows("multiclass", 360, gaps=False), classes * 30, pa.string())
    rules = contract("multiclass", evaluation=Evaluation(bootstrap=5, importance_repeats=0))
    bundle = fit(rules, table, (PRIOR, LINEAR))
    batches = [summary(bundle, f"2024-{place:03}", "train", table) for place in range(365)]
    found = evaluate(rules, bundle, table, batches).value
    assert "Percent of each line." in svg("confusion", found)
    labels = [one.text for one in parsed(svg("batches", found)).iter(f"{SVG}text") if str(one.text).startswith("2024-")]
    assert 3 < len(labels) < 10
    assert labels[-1] == "2024-364"


def test_an_embargo_is_told_apart() -> None:
    assert 'class="bar faint"' in svg("batches", report())


@pytest.mark.parametrize(
    ("ends", "found"),
    [
        ((0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1]),
        ((0.63, 0.71), [0.64, 0.66, 0.68, 0.7]),
        ((-200, 190), [-200, -100, 0, 100]),
        ((3, 3), [3]),
        ((0, 2e-7), [0, 5e-8, 1e-7, 1.5e-7, 2e-7]),
    ],
)
def test_ticks_are_round_and_within(ends: tuple[float, float], found: list[float]) -> None:
    assert ticks(*ends) == pytest.approx(found)


def test_an_interval_without_a_value_is_empty() -> None:
    assert interval(None, None, None, (0, 1)) == ""
    assert 'class="reach"' not in interval(0.5, None, None, (0, 1))
    assert 'class="axis"' in interval(0.5, 0.4, 0.6, (0, 1), mark=0.5)
