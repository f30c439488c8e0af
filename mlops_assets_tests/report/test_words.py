"""How numbers and findings are said."""

from typing import Any

import pytest

from mlops_assets.report.words import (
    MINUS,
    NOTHING,
    answer,
    capital,
    figure,
    finding,
    of_hundred,
    percent,
    plain,
    span,
)
from mlops_assets_tests.report.test_plots import report


def passed(name: str, severity: str = "block", *, good: bool = True) -> dict[str, Any]:
    return {"check": name, "passed": good, "severity": severity, "sentence": "."}


@pytest.mark.parametrize(
    ("verdicts", "state", "title"),
    [
        ([], "unjudged", "Boosted trees has not been judged yet"),
        ([passed("a")], "passed", "Boosted trees passed every check"),
        (
            [passed("a"), passed("b", "warn", good=False)],
            "warned",
            "Boosted trees passed every blocking check, with 1 warning",
        ),
        (
            [passed("a", good=False), passed("b", good=False), passed("c", "warn", good=False)],
            "held",
            "Boosted trees is held back: 2 blocking checks failed",
        ),
    ],
)
def test_the_verdict_comes_first(verdicts: list[dict[str, Any]], state: str, title: str) -> None:
    found = finding(report(), verdicts)
    assert (found.state, found.title) == (state, title)


def test_a_binary_finding_speaks_of_the_target() -> None:
    ranked, decided = finding(report(), []).sentences
    assert ranked.startswith("Shown one row that is “bought” and one that is not, it ranks them rightly ")
    assert "guessing gets 50, linear " in ranked
    assert decided.startswith("At its threshold it calls ")
    assert decided.endswith(" of every 100 rows that are “bought”.")


def test_a_positive_answer_that_is_no_yes_is_named() -> None:
    found = {**report(), "target": {**report()["target"], "name": "churn", "positive": "left"}}
    assert answer(found)[0] == "“churn = left”"


def test_nobody_called_is_said_without_a_share() -> None:
    counts = {"true_positive": 0, "false_positive": 0, "false_negative": 30, "true_negative": 450}
    assert (
        finding({**report(), "confusion": counts}, []).sentences[1]
        == "At its threshold it calls 0 of 100 rows “bought”."
    )


def test_a_multiclass_finding_counts_the_answers() -> None:
    first, second = finding(report("multiclass"), []).sentences
    assert first.startswith("It gives the right one of 3 answers for “bought” on ")
    assert "; prior gets " in first
    assert second.startswith("Averaged over the answers, rare ones as much as common ones, it finds ")


def test_a_regression_finding_keeps_the_unit() -> None:
    first, second = finding(report("regression"), []).sentences
    assert first.startswith("Its answers for “bought” are off by ")
    assert "; prior is off by " in first
    assert second.startswith("It explains ")
    models = [
        {**one, "metrics": {**one["metrics"], "r2": {"value": -0.2, "low": -0.3, "high": 0}}}
        for one in report("regression")["models"]
    ]
    assert finding({**report("regression"), "models": models}, []).sentences[1] == (
        "It does worse than a constant that knew the test rows' mean would."
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.70812, "0.708"),
        (12.345, "12.35"),
        (123.45, "123.5"),
        (1234.5, "1,234"),
        (56789, "56,789"),
        (-0.5, f"{MINUS}0.500"),
        (None, NOTHING),
    ],
)
def test_figures_have_about_four_digits(value: float | None, said: str) -> None:
    assert figure(value) == said


def test_shares_of_a_hundred_never_round_to_none_or_all() -> None:
    assert [of_hundred(one) for one in (0.0, 0.004, 0.5, 0.998, 1.0, None)] == [
        "0",
        "0.4",
        "50",
        "99.8",
        "100",
        "an unknown number",
    ]


def test_small_words() -> None:
    assert plain("boosted_trees") == "boosted trees"
    assert plain("_") == "_"
    assert capital("late flights JFK") == "Late flights JFK"
    assert percent(0.1234) == "12.3%"
    assert percent(None) == NOTHING
    assert span(0.1, 0.2) == "0.100 to 0.200"
    assert span(0.5, 0.5) == span(None, 1) == ""
