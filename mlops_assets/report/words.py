"""Numbers and findings of a report in words.

What belongs here: how a number, a class or a verdict is said to a person, as plain text. What does not: markup and
drawing; whoever shows these words escapes them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mlops_assets.stages.metrics import METRICS
from mlops_assets.wording import counted

MINUS, NOTHING = "\N{MINUS SIGN}", "\N{EN DASH}"
_GUESS = 0.5
State = Literal["passed", "warned", "held", "unjudged"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What the page opens with: its ``state``, a ``title`` and the ``sentences`` that say how good the model is."""

    state: State
    title: str
    sentences: tuple[str, ...]


def finding(report: Mapping[str, Any], verdicts: Sequence[Mapping[str, Any]]) -> Finding:
    """The verdict in plain words: what the checks decided, then what one may expect of the model."""
    blocks = [one for one in verdicts if not one["passed"] and one["severity"] == "block"]
    warns = [one for one in verdicts if not one["passed"] and one["severity"] != "block"]
    name = capital(plain(report["candidate"]))
    state: State
    if not verdicts:
        state, title = "unjudged", f"{name} has not been judged yet"
    elif blocks:
        state, title = "held", f"{name} is held back: {counted(len(blocks), 'blocking check')} failed"
    elif warns:
        state, title = "warned", f"{name} passed every blocking check, with {counted(len(warns), 'warning')}"
    else:
        state, title = "passed", f"{name} passed every check"
    task = {"binary": _binary, "multiclass": _multiclass, "regression": _regression}[report["task"]]
    return Finding(state, title, tuple(task(report)))


def _binary(report: Mapping[str, Any]) -> list[str]:
    is_it, is_not = answer(report)
    told = []
    area = metric_of(report, report["candidate"], "roc_auc")
    if area is not None:
        rivals = [(name, value) for name, value in _rivals(report, "roc_auc") if value != _GUESS]
        others = "".join(f", {plain(name)} {of_hundred(value)}" for name, value in rivals)
        told.append(
            f"Shown one row that is {is_it} and one that is {is_not}, it ranks them rightly {of_hundred(area)} times "
            f"out of 100; guessing gets 50{others}."
        )
    counts = report["confusion"]
    called, positive = (
        counts["true_positive"] + counts["false_positive"],
        counts["true_positive"] + counts["false_negative"],
    )
    share = of_hundred(called / report["rows"]["answered"])
    said = f"At its threshold it calls {share} of 100 rows {is_it}"
    if called and positive:
        said += (
            f"; {of_hundred(counts['true_positive'] / called)} of 100 such calls are right, and it finds "
            f"{of_hundred(counts['true_positive'] / positive)} of every 100 rows that are {is_it}"
        )
    told.append(said + ".")
    return told


def _multiclass(report: Mapping[str, Any]) -> list[str]:
    right = metric_of(report, report["candidate"], "accuracy")
    choice = f"the right one of {len(report['target']['classes'])} answers for “{report['target']['name']}”"
    told = [f"It gives {choice} on {of_hundred(right)} of 100 rows{_against(report, 'accuracy', of_hundred)}."]
    balanced = metric_of(report, report["candidate"], "balanced_accuracy")
    if balanced is not None:
        told.append(
            f"Averaged over the answers, rare ones as much as common ones, it finds {of_hundred(balanced)} of 100."
        )
    return told


def _regression(report: Mapping[str, Any]) -> list[str]:
    off = metric_of(report, report["candidate"], "mae")
    against = _against(report, "mae", figure)
    told = [f"Its answers for “{report['target']['name']}” are off by {figure(off)} on average{against}."]
    explained = metric_of(report, report["candidate"], "r2")
    if explained is not None:
        if explained < 0:
            told.append("It does worse than a constant that knew the test rows' mean would.")
        else:
            told.append(f"It explains {explained:.0%} of what makes the rows differ.")
    return told


def _against(report: Mapping[str, Any], metric: str, said: Any) -> str:
    rivals = [
        f"{plain(name)} {'is off by' if metric == 'mae' else 'gets'} {said(value)}"
        for name, value in _rivals(report, metric)
    ]
    return f"; {', '.join(rivals)}" if rivals else ""


def _rivals(report: Mapping[str, Any], metric: str) -> list[tuple[str, float]]:
    return [
        (model["name"], model["metrics"][metric]["value"])
        for model in report["models"]
        if model["name"] != report["candidate"] and model["metrics"][metric]["value"] is not None
    ]


def answer(report: Mapping[str, Any]) -> tuple[str, str]:
    """How a binary target's positive and negative rows are called."""
    target = report["target"]
    is_it = f"“{target['name']}”" if target["positive"] is True else f"“{target['name']} = {target['positive']}”"
    return is_it, "not"


def metric_of(report: Mapping[str, Any], model: str, metric: str) -> float | None:
    """A model's value of a metric, None when it is not defined."""
    found: float | None = next(one for one in report["models"] if one["name"] == model)["metrics"][metric]["value"]
    return found


def metric_name(report: Mapping[str, Any], metric: str) -> str:
    """A metric's name for people."""
    return METRICS[report["task"]][metric].label


def of_hundred(share: float | None) -> str:
    """A share as a count of 100: one digit more where a whole number would say none or all."""
    if share is None:
        return "an unknown number"
    said = f"{share * 100:.0f}"
    return f"{share * 100:.1f}" if said in ("0", "100") and share not in (0, 1) else said


def plain(name: str) -> str:
    """A name from a contract as words."""
    return name.replace("_", " ").strip() or name


def capital(text: str) -> str:
    """``text`` with a capital first letter, the rest as it is."""
    return text[:1].upper() + text[1:]


def percent(share: float | None, digits: int = 1) -> str:
    """A share in percent."""
    return NOTHING if share is None else f"{share * 100:.{digits}f}%"


def figure(value: float | None) -> str:
    """A number of any size with about four digits that mean something."""
    if value is None:
        return NOTHING
    digits = max(0, 4 - max(len(f"{abs(value):.0f}"), 1))
    return f"{value:,.{digits}f}".replace("-", MINUS)


def span(low: float | None, high: float | None) -> str:
    """An interval; empty when there is none, or chance has no part in it."""
    return "" if low is None or high is None or low == high else f"{figure(low)} to {figure(high)}"
