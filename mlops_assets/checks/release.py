"""Audits of the release stages: a fitted candidate, its evaluation report, the final refit.

What belongs here: pure functions from what those stages made to verdicts; every audit returns all of its stage's
verdicts, in the order of ``CHECKS``. What does not: computing a metric, the store, Dagster, checks of a batch.
"""

from collections.abc import Callable, Mapping
from typing import Any

from mlops_assets.checks.declared import AGREEMENT, BEATS, CALIBRATED, CONVERGED, FITTED, GROUPS, MAXIMUM, MINIMUM
from mlops_assets.checks.verdict import Check, Verdict, verdict_of
from mlops_assets.contract.model import Contract
from mlops_assets.stages.metrics import METRICS
from mlops_assets.wording import counted

CALIBRATION = 0.05
"""Mean gap between what was said and what was, beyond chance, above which probabilities are not to be taken at their
word."""
GROUP = 0.05
"""How much worse, or otherwise biased, a group may surely be than the whole before it is told."""
DEVIATIONS = 0.1
"""The same as ``CALIBRATION`` for predicted numbers, in standard deviations of the answers."""
WORSE = 1.25
"""How many times the mean error of all rows a group's may surely be before it is told."""
_LARGE = 100


def audit_candidate(contract: Contract, bundle: Mapping[str, Any]) -> list[Verdict]:
    """Verdicts on a bundle of ``stages.train.fit``."""
    training = bundle["training"]
    examples = []
    for name, seen in training["scores"].items():
        if seen["unfinite"]:
            examples.append(f"Model '{name}' says nothing finite of {seen['unfinite']:,} of {seen['sampled']:,} rows.")
        elif name == bundle["candidate"] and bundle["kinds"][name] != "prior" and seen["distinct"] == 1:
            examples.append(
                f"Model '{name}' says the same of all {seen['sampled']:,} rows: its features tell it nothing."
            )
    if bundle["task"] != "regression" and min(training["counts"]) == 0:
        examples.append("A class has no training row.")
    models = len(bundle["models"])
    named = _listed(f"'{name}'" for name in bundle["models"])
    good = f"{counted(models, 'model')} fitted to {training['rows']:,} rows: {named}."
    stuck = training["unconverged"]
    return [
        verdict_of(FITTED, len(examples), models, " ".join(examples) or good, details={"scores": training["scores"]}),
        verdict_of(
            CONVERGED,
            len(stuck),
            models,
            f"Not converged: {_listed(sorted(stuck))}. Raise max_iter in {contract.file}, or scale the features."
            if stuck
            else f"{counted(models, 'model')} converged.",
            details=dict(stuck),
        ),
    ]


def audit_evaluation(contract: Contract, report: Mapping[str, Any]) -> list[Verdict]:
    """Verdicts on the report of ``stages.evaluate.evaluate``."""
    return [
        _bounded(contract, report, MINIMUM, contract.gates.minimum, _below),
        _bounded(contract, report, MAXIMUM, contract.gates.maximum, _above),
        _beats(contract, report),
        _calibrated(report),
        _groups(report),
    ]


def audit_trained(contract: Contract, agreement: Mapping[str, Any]) -> list[Verdict]:
    """The verdict on ``stages.evaluate.agreement`` of the candidate and the final refit."""
    rows, agree = agreement["rows"], agreement["agree"]
    share, wanted = (agree / rows if rows else 0.0), contract.gates.agreement
    fate = "decides like" if agreement["task"] != "regression" else "stays close to"
    sentence = (
        f"The final refit {fate} the evaluated candidate on {share:.1%} of {rows:,} test rows; {wanted:.1%} are asked."
    )
    if share < wanted:
        sentence += (
            " The last batches change the model more than the evaluation can vouch for: look at what came in them."
        )
    passed = rows > 0 and share >= wanted
    return [
        Verdict(
            AGREEMENT.name,
            passed,
            AGREEMENT.severity,
            sentence if rows else "There is no test row to compare the final refit with the candidate on.",
            n=rows,
            failed=rows - agree,
            threshold=round(1 - wanted, 6),
            details=dict(agreement),
        )
    ]


def _bounded(
    contract: Contract,
    report: Mapping[str, Any],
    check: Check,
    bounds: Mapping[str, float],
    fails: Callable[[float, float], bool],
) -> Verdict:
    if not bounds:
        return verdict_of(check, 0, 0, f"{contract.file.name} asks for no {check.name}.")
    found, sentences, failed, table = _chosen(report)["metrics"], [], 0, {}
    for name, bound in bounds.items():
        metric, value = METRICS[report["task"]][name], found[name]["value"]
        table[name] = {**found[name], check.name: bound}
        if value is None:
            failed += 1
            sentences.append(f"{metric.label} is not defined on these test rows; they do not hold what it needs.")
            continue
        if not fails(value, bound):
            sentences.append(f"{metric.label} {_number(value)} keeps the {check.name} of {bound:g}.")
            continue
        failed += 1
        said = f"{metric.label} {_number(value)}{_interval(found[name])} is {'below' if check is MINIMUM else 'above'} "
        said += f"the {check.name} of {bound:g}"
        # a bound on the good side is there to catch what is too good to be true
        if metric.higher == (check is MAXIMUM):
            said += ": too good to be true? Look for a feature that is known only after the event"
        sentences.append(said + ".")
    return verdict_of(check, failed, len(bounds), " ".join(sentences), details=table)


def _below(value: float, bound: float) -> bool:
    return value < bound


def _above(value: float, bound: float) -> bool:
    return value > bound


def _beats(contract: Contract, report: Mapping[str, Any]) -> Verdict:
    names, metric = contract.gates.beat, METRICS[report["task"]][contract.gates.metric]
    if not names:
        return verdict_of(BEATS, 0, 0, f"{contract.file.name} names no baseline to beat.")
    versus, sentences, failed, table = _chosen(report)["versus"], [], 0, {}
    for name in names:
        span = versus.get(name, {}).get(contract.gates.metric)
        table[name] = span
        if span is None or span["value"] is None or span["low"] is None:
            failed += 1
            sentences.append(f"The difference from '{name}' on {metric.label} cannot be told on these test rows.")
            continue
        won = span["low"] > 0
        failed += not won
        doubt = "" if won else ": that may be chance" if span["value"] > 0 else ": it is not better"
        sentences.append(f"Better than '{name}' by {_number(span['value'])}{_interval(span)} {metric.label}{doubt}.")
    return verdict_of(BEATS, failed, len(names), " ".join(sentences), details=table)


def _calibrated(report: Mapping[str, Any]) -> Verdict:
    calibration = report["calibration"]
    error, sure, gap = calibration["error"], calibration["sure"], calibration["gap"]
    if report["task"] == "regression":
        scale = report["test"]["deviation"] or 1.0
        failed, unit = sure > DEVIATIONS * scale, f" ({error / scale:.2f} standard deviations)"
        shown, way = f"{error:.4g}{unit}", f"{abs(gap['value']):.4g} too {'high' if gap['value'] > 0 else 'low'}"
    else:
        failed = sure > CALIBRATION
        shown = f"{error * 100:.1f} percentage points"
        way = f"{abs(gap['value']) * 100:.1f} points too {'high' if gap['value'] > 0 else 'low'}"
    what = "predictions" if report["task"] == "regression" else "probabilities"
    sentence = (
        f"The {what} are off by {shown} on average over {len(calibration['bins'])} bins; on the whole they are {way}."
    )
    if failed:
        sentence += " Use them to rank, not as they stand."
    return verdict_of(CALIBRATED, int(failed), 1, sentence, details={"error": error, "sure": sure, "gap": gap})


def _groups(report: Mapping[str, Any]) -> Verdict:
    """Groups whose whole interval lies beyond the tolerance around what holds for all rows."""
    looked, examples = 0, []
    overall = _chosen(report)["metrics"]
    bias = report["calibration"]["gap"]["value"]
    for table in report["groups"]:
        for group in table["groups"]:
            looked += 1
            label = f"{table['column']} {group['group']} ({group['rows']:,} rows)"
            examples += [f"{label}: {complaint}." for complaint in _complaints(report["task"], group, overall, bias)]
    named = {example.split(":", 1)[0] for example in examples}
    small = sum(table["small"]["groups"] for table in report["groups"])
    if not report["groups"]:
        sentence = "The contract names no groups to look at."
    elif named:
        verb = "is" if len(named) == 1 else "are"
        sentence = f"{len(named)} of {counted(looked, 'group')} {verb} surely treated otherwise than the whole."
    else:
        sentence = f"None of {counted(looked, 'group')} is surely treated otherwise than the whole."
    if small:
        sentence += f" {counted(small, 'smaller group')} left out: too few rows to say."
    return verdict_of(GROUPS, len(named), looked, sentence, examples=tuple(examples), threshold=0.0)


def _complaints(task: str, group: Mapping[str, Any], overall: Mapping[str, Any], bias: float) -> list[str]:
    told = []
    if task == "regression":
        limit = overall["mae"]["value"] * WORSE
        if group["error"]["low"] is not None and group["error"]["low"] > limit:
            told.append(f"off by {group['error']['value']:.4g} on average, {overall['mae']['value']:.4g} over all")
        return told
    metric, name = ("roc_auc", "ROC AUC") if task == "binary" else ("accuracy", "accuracy")
    whole, span = overall[metric]["value"], group[metric]
    if whole is not None and span["high"] is not None and span["high"] < whole - GROUP:
        told.append(f"{name} {_number(span['value'])}{_interval(span)}, {_number(whole)} over all")
    gap = group["gap"]
    if gap["low"] is not None and (gap["low"] > bias + GROUP or gap["high"] < bias - GROUP):
        told.append(f"probabilities {_off(gap['value'])}, {_off(bias)} over all")
    return told


def _chosen(report: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(model for model in report["models"] if model["name"] == report["candidate"])
    return found


def _off(gap: float) -> str:
    return f"{abs(gap) * 100:.1f} points too {'high' if gap > 0 else 'low'}"


def _number(value: float) -> str:
    return f"{value:,.{3 if abs(value) < _LARGE else 0}f}"


def _interval(span: Mapping[str, Any]) -> str:
    return "" if span["low"] is None else f" ({_number(span['low'])} to {_number(span['high'])})"


def _listed(names: Any) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else str(last)
