"""Looking at fitted models on rows they have not seen.

What belongs here: the evaluation report of a bundle on test rows, the one-line summary of a batch's answers, and the
agreement of two bundles. What does not: fitting, the judgement whether a number is good enough (``checks.release``),
drawing (``report``).

The report is plain JSON, rounded to six digits, None where a number is not defined:

- ``format`` 1, ``dataset``, ``task``, ``target`` (with ``classes``), ``candidate``, ``primary`` (the gate metric),
  ``settings``;
- ``rows``: ``test``, ``answered``, ``no_answer``, ``unseen`` (answers that no training row had);
- ``train`` (the bundle's ``training``) and ``test``: the same description of the answers; ``batches``: see ``summary``;
- ``models``: one for each, ``name``, ``kind``, ``role``, ``metrics`` ``{metric: {value, low, high}}`` and ``versus``
  ``{baseline: {metric: {value, low, high}}}``: by how much it is *better*, on the same resamples, so that an interval
  above 0 is an improvement whatever the metric's direction;
- ``importance``: by feature, the loss of the primary metric when its column is shuffled: ``value``, ``low``, ``high``
  (least and most of the repeats);
- ``groups``: for each group column, its groups with at least the contract's minimum of answered rows, largest first,
  and how many smaller ones (and their rows) there were;
- ``curves``, ``calibration``, ``confusion``, ``scores`` (binary, multiclass) or ``fit``, ``residuals`` (regression).
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.model import Contract
from mlops_assets.errors import RefusedError
from mlops_assets.stages.learnable import unusual
from mlops_assets.stages.made import Made
from mlops_assets.stages.metrics import (
    METRICS,
    NAN,
    Binary,
    Floats,
    Ints,
    Measure,
    Multiclass,
    Regression,
    Truths,
    auc_interval,
    bins,
    mean_interval,
    middle,
    precision_curve,
    resampled,
    roc_curve,
    wilson,
)
from mlops_assets.stages.train import Bundle, answers, evenly, matrix, predict, said_of, steady

FORMAT = 1
GROUPS = 40
"""Groups of one column that are shown; the rest are counted."""
SHIFT, MOVED, RARE, FEW = 0.02, 0.1, 30, 1000
"""What is worth a caution: a base rate, or a mean in deviations, that moved so far; few rows of a class, or in all."""
CLASSES = 12
"""Classes that the confusion matrix shows one by one; the rest are one row and column."""


def evaluate(contract: Contract, bundle: Bundle, test: pa.Table, train_summary: Sequence[Mapping[str, Any]]) -> Made:
    """The report of every model of ``bundle`` on the rows of ``test``, compared on the same resamples.

    ``train_summary`` holds a ``summary`` for each batch that the release saw; it is shown, not used.

    Raises:
        RefusedError: no test row has an answer.
    """
    truth, known, unseen = answers(bundle, test)
    if not known.any():
        message = (
            f"None of the {test.num_rows:,} test rows of {contract.name} has an answer for "
            f"'{bundle['target']['name']}': there is nothing to compare with. Wait for the "
            "answers, or release an earlier batch."
        )
        raise RefusedError(message)
    inputs = matrix(bundle, test)[known]
    truth = truth[known]
    with steady():
        said = {name: said_of(bundle, name, inputs) for name in bundle["models"]}
        if bundle["task"] == "multiclass" and unseen:
            # an answer nobody could have given counts as wrong, with probability 0; leaving it out would flatter
            wider = int(truth.max()) + 1
            said = {name: np.pad(given, ((0, 0), (0, wider - given.shape[1]))) for name, given in said.items()}
        importance = _importance(contract, bundle, inputs, truth, said[bundle["candidate"]])
    measures = {name: _measure(bundle, name, truth, given) for name, given in said.items()}
    chosen, primary = bundle["candidate"], contract.gates.metric
    report: dict[str, Any] = {
        "format": FORMAT,
        "dataset": contract.name,
        "task": bundle["task"],
        "target": {**bundle["target"], "classes": bundle["classes"]},
        "candidate": chosen,
        "primary": primary,
        "threshold": bundle["threshold"],
        "settings": bundle["settings"],
        "resamples": contract.evaluation.bootstrap,
        "rows": {
            "test": test.num_rows,
            "answered": int(known.sum()),
            "no_answer": int((~known).sum()),
            "unseen": unseen,
        },
        "train": bundle["training"],
        "test": _described(bundle, truth),
        "batches": [dict(batch) for batch in train_summary],
        "models": _compared(contract, bundle, measures, truth.shape[0]),
        "groups": _groups(contract, bundle, test, known=known, truth=truth, said=said[chosen]),
        "importance": importance,
    }
    report |= _pictures(bundle, truth, said)
    report = rounded(report)
    best = next(model for model in report["models"] if model["name"] == chosen)["metrics"]
    facts = {
        "candidate": chosen,
        "rows": report["rows"],
        "metrics": best,
        "models": {model["name"]: {k: v["value"] for k, v in model["metrics"].items()} for model in report["models"]},
    }
    return Made(report, facts, cautions(report))


def summary(bundle: Bundle, batch: str, role: str, rows: pa.Table) -> dict[str, Any]:
    """A batch's answers in short: ``batch``, ``role``, ``rows``, ``no_answer`` and what they look like."""
    truth, known, _ = answers(bundle, rows)
    told = {"batch": batch, "role": role, "no_answer": int((~known).sum())}
    told |= _described(bundle, truth[known])
    told["rows"] = rows.num_rows
    return dict(rounded(told))


def agreement(candidate: Bundle, final: Bundle, rows: pa.Table) -> dict[str, Any]:
    """How alike two bundles decide on the same rows: ``rows``, ``agree`` (a count) and ``largest`` difference.

    Binary: the same side of each one's own threshold; multiclass: the same class; regression: closer to one another
    than the candidate is to the truth on average (``within``, in the target's unit).
    """
    name, task = candidate["candidate"], candidate["task"]
    ours = predict(candidate, name, matrix(candidate, rows))
    theirs = predict(final, final["candidate"], matrix(final, rows))
    told: dict[str, Any] = {"rows": rows.num_rows, "task": task}
    if task == "binary":
        same = (ours >= candidate["threshold"]) == (theirs >= final["threshold"])
    elif task == "multiclass":
        classes, others = _named(candidate), _named(final)
        same = classes[ours.argmax(axis=1)] == others[theirs.argmax(axis=1)] if rows.num_rows else np.empty(0, bool)
        ours, theirs = ours.max(axis=1, initial=0), theirs.max(axis=1, initial=0)
    else:
        truth, known, _ = answers(candidate, rows)
        told["within"] = float(np.abs(ours[known] - truth[known]).mean()) if known.any() else 0.0
        same = np.abs(ours - theirs) <= told["within"]
    told |= {"agree": int(same.sum()), "largest": float(np.abs(ours - theirs).max(initial=0))}
    return dict(rounded(told))


def cautions(report: Mapping[str, Any]) -> tuple[str, ...]:
    """What a reader of the report must know before trusting it, one sentence each; no row's value in any."""
    rows, train, test, target = report["rows"], report["train"], report["test"], report["target"]["name"]
    told = []
    if rows["no_answer"]:
        told.append(
            f"{rows['no_answer']:,} of {rows['test']:,} test rows ({rows['no_answer'] / rows['test']:.1%}) have no "
            f"answer for “{target}” and are in no number here; if they differ from the others, so would the numbers."
        )
    if rows["unseen"]:
        told.append(f"{rows['unseen']:,} test rows have an answer that no training row had; they count as wrong.")
    if report["task"] == "binary":
        told += _shifted(f"“{target}” rows", train["base_rate"], test["base_rate"], rows["answered"])
    if report["task"] == "regression" and train["deviation"]:
        moved = (test["mean"] - train["mean"]) / train["deviation"]
        if abs(moved) > MOVED:
            told.append(
                f"The mean of “{target}” moved from {train['mean']:,.4g} in training to {test['mean']:,.4g} in test: "
                f"{abs(moved):.2f} standard deviations."
            )
    if report["task"] == "multiclass":
        least = min(test["counts"][: len(train["counts"])])
        if least < RARE:
            told.append(f"The rarest class has only {least} test rows; what is said of it is a guess.")
    if rows["answered"] < FEW:
        told.append(f"Only {rows['answered']:,} test rows have an answer: the intervals are wide, read them first.")
    told.append(
        "The intervals are about chance in drawing these test rows. They do not cover how different the next batch "
        "may be."
    )
    told += unusual(train)
    if train["unconverged"]:
        told.append(f"Not converged, and so perhaps worse than it could be: {', '.join(sorted(train['unconverged']))}.")
    return tuple(told)


def rounded(value: Any) -> Any:
    """Plain JSON: numbers with six digits after the point, None for nan and infinity, lists for arrays."""
    if isinstance(value, Mapping):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return rounded(value.tolist())
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    if isinstance(value, np.generic):
        return rounded(value.item())
    if isinstance(value, float):
        return round(value, 6) if isfinite(value) else None
    return value


def _shifted(rows: str, train: float, test: float, n: int) -> list[str]:
    """A sentence when the base rate moved by more than chance and enough to matter."""
    low, high = wilson(test * n, n)
    if low <= train <= high or abs(test - train) < SHIFT:
        return []
    way, effect = ("more", "too low") if test > train else ("fewer", "too high")
    moved = f"The test rows hold {way} {rows} than the training rows did ({test:.1%} against {train:.1%})"
    return [f"{moved}: expect probabilities that are {effect} on the whole."]


def _measure(bundle: Bundle, name: str, truth: Any, said: Floats) -> Measure:
    if bundle["task"] == "binary":
        return Binary(truth, said, bundle["thresholds"][name])
    return Multiclass(truth, said) if bundle["task"] == "multiclass" else Regression(truth, said)


def _described(bundle: Bundle, truth: Any) -> dict[str, Any]:
    """What the answers look like, in the words of a bundle's ``training``."""
    rows = int(truth.shape[0])
    if bundle["task"] == "regression":
        return {"rows": rows, "mean": float(truth.mean()), "deviation": float(truth.std())} if rows else {"rows": 0}
    counts = np.bincount(truth.astype(np.int64), minlength=len(bundle["classes"])).tolist()
    if bundle["task"] == "multiclass":
        return {"rows": rows, "counts": counts}
    return {"rows": rows, "counts": counts, "base_rate": counts[1] / rows if rows else NAN}


def _compared(contract: Contract, bundle: Bundle, measures: Mapping[str, Measure], rows: int) -> list[dict[str, Any]]:
    """Metrics of every model with intervals, and paired differences from the baselines."""
    metrics = METRICS[bundle["task"]]
    once = np.ones(rows)
    points = np.array([measure(once) for measure in measures.values()])
    drawn = resampled(list(measures.values()), rows, contract.evaluation.bootstrap, bundle["seed"])
    names = list(measures)
    baselines = [model.name for model in contract.baselines if model.name in measures]
    sign = np.array([1.0 if metric.higher else -1.0 for metric in metrics.values()])
    told = []
    for place, name in enumerate(names):
        versus = {}
        for baseline in baselines:
            if baseline == name:
                continue
            other = names.index(baseline)
            better, spread = (points[place] - points[other]) * sign, (drawn[:, place] - drawn[:, other]) * sign
            versus[baseline] = _spans(metrics, better, spread)
        told.append(
            {
                "name": name,
                "kind": bundle["kinds"][name],
                "role": "baseline" if name in baselines else "candidate",
                "metrics": _spans(metrics, points[place], drawn[:, place]),
                "versus": versus,
            }
        )
    return told


def _spans(metrics: Mapping[str, Any], points: Floats, drawn: Floats) -> dict[str, dict[str, float]]:
    spans = {}
    for column, metric in enumerate(metrics):
        low, high = middle(drawn[:, column])
        spans[metric] = {"value": float(points[column]), "low": low, "high": high}
    return spans


def _importance(contract: Contract, bundle: Bundle, inputs: Floats, truth: Any, said: Floats) -> list[dict[str, Any]]:
    """Permutation importance (Breiman 2001) of the candidate on evenly spaced rows, largest first."""
    chosen, primary = bundle["candidate"], contract.gates.metric
    place = list(METRICS[bundle["task"]]).index(primary)
    sign = 1.0 if METRICS[bundle["task"]][primary].higher else -1.0
    kept = evenly(inputs.shape[0], contract.evaluation.importance_rows)
    inputs, truth, said = inputs[kept], truth[kept], said[kept]
    once = np.ones(inputs.shape[0])
    whole = _measure(bundle, chosen, truth, said)(once)[place]
    told = []
    for column, name in enumerate(bundle["features"]):
        generator = np.random.default_rng([bundle["seed"], 2, column])
        orders = [generator.permutation(kept.size) for _ in range(contract.evaluation.importance_repeats)]
        if not orders:
            continue
        again = _swapped(bundle, inputs, column, said, np.stack([inputs[order, column] for order in orders], axis=1))
        measured = [_measure(bundle, chosen, truth, again[:, turn])(once)[place] for turn in range(len(orders))]
        losses = [sign * (whole - one) for one in measured]
        told.append({"feature": name, "value": sum(losses) / len(losses), "low": min(losses), "high": max(losses)})
    return sorted(told, key=lambda one: (-one["value"] if isfinite(one["value"]) else 0.0, one["feature"]))


def _swapped(bundle: Bundle, inputs: Floats, column: int, said: Floats, drawn: Floats) -> Floats:
    """What the candidate says when ``column`` holds each of the values ``drawn`` (shape (n, repeats)) instead.

    Returns shape (n, repeats), or (n, repeats, classes). A value that a row has already, or draws twice, is scored
    once; the variants of one row are scored side by side, which lets trees guess their branches. It saves a third.
    """
    order = np.argsort(drawn, axis=1, kind="stable")
    values = np.take_along_axis(drawn, order, axis=1)
    first = np.ones(values.shape, dtype=bool)
    first[:, 1:] = ~_same(values[:, 1:], values[:, :-1])
    wanted = first & ~_same(values, inputs[:, [column]])
    rows = np.nonzero(wanted)[0]
    changed = inputs[rows]
    changed[:, column] = values[wanted]
    sorted_said = np.repeat(said[:, None], drawn.shape[1], axis=1)
    given = said_of(bundle, bundle["candidate"], changed)
    if bundle["task"] == "multiclass":
        sorted_said[wanted, : given.shape[1]] = given
    else:
        sorted_said[wanted] = given
    leader = np.maximum.accumulate(np.where(first, np.arange(drawn.shape[1]), 0), axis=1)
    place = np.argsort(order, axis=1, kind="stable")
    return np.asarray(sorted_said[np.arange(drawn.shape[0])[:, None], np.take_along_axis(leader, place, axis=1)])


def _same(left: Floats, right: Floats) -> Truths:
    return np.asarray((left == right) | (np.isnan(left) & np.isnan(right)))


def _groups(
    contract: Contract, bundle: Bundle, test: pa.Table, *, known: Truths, truth: Any, said: Floats
) -> list[dict[str, Any]]:
    """The candidate on each group of each evaluation column."""
    told = []
    for name in contract.evaluation.groups:
        column = test.column(f"group:{name}" if f"group:{name}" in test.column_names else name)
        texts = column.cast(pa.string()).filter(pa.array(known)).combine_chunks()
        encoded = pc.dictionary_encode(pc.fill_null(texts, "(missing)"))
        codes = encoded.indices.to_numpy()
        labels = encoded.dictionary.to_pylist()
        sizes = np.bincount(codes, minlength=len(labels))
        large = sorted(
            (code for code, size in enumerate(sizes) if size >= contract.evaluation.minimum_group),
            key=lambda code: (-int(sizes[code]), labels[code]),
        )
        shown, hidden = large[:GROUPS], name in contract.sensitive()
        rows = [
            {
                "group": f"value {place + 1}" if hidden else labels[code],
                "rows": int(sizes[code]),
                **_group(bundle, truth[codes == code], said[codes == code]),
            }
            for place, code in enumerate(shown)
        ]
        small = int(sizes[sizes < contract.evaluation.minimum_group].sum())
        told.append(
            {
                "column": name,
                "hidden": hidden,
                "groups": rows,
                "small": {"groups": len(labels) - len(large), "rows": small},
                "more": len(large) - len(shown),
                "minimum": contract.evaluation.minimum_group,
            }
        )
    return told


def _group(bundle: Bundle, truth: Any, said: Floats) -> dict[str, Any]:
    n = truth.shape[0]
    if bundle["task"] == "regression":
        return {"mean": float(truth.mean()), "error": _span(np.abs(said - truth)), "gap": _span(said - truth)}
    if bundle["task"] == "multiclass":
        right = said.argmax(axis=1) == truth
        low, high = wilson(int(right.sum()), n)
        gap = _span(said.max(axis=1) - right)
        return {"accuracy": {"value": float(right.mean()), "low": low, "high": high}, "gap": gap}
    positives = int(truth.sum())
    low, high = wilson(positives, n)
    called = said >= bundle["threshold"]
    area = dict(zip(("value", "low", "high"), auc_interval(truth, said), strict=True))
    return {
        "base_rate": {"value": positives / n, "low": low, "high": high},
        "predicted": float(said.mean()),
        "gap": _span(said - truth),
        "roc_auc": area,
        "called": float(called.mean()),
        "found": float(called[truth].mean()) if positives else NAN,
        "false_alarms": float(called[~truth].mean()) if positives < n else NAN,
    }


def _span(values: Floats) -> dict[str, float]:
    value, low, high = mean_interval(values.astype(np.float64))
    return {"value": value, "low": low, "high": high}


def _pictures(bundle: Bundle, truth: Any, said: Mapping[str, Floats]) -> dict[str, Any]:
    """What the plots show."""
    chosen = said[bundle["candidate"]]
    if bundle["task"] == "binary":
        roc = {name: dict(zip("xy", roc_curve(truth, given), strict=True)) for name, given in said.items()}
        precision = {name: dict(zip("xy", precision_curve(truth, given), strict=True)) for name, given in said.items()}
        edges = np.linspace(0, 1, 41)
        called = chosen >= bundle["threshold"]
        return {
            "curves": {"roc": _four(roc), "precision_recall": _four(precision)},
            "calibration": _calibration(chosen, truth.astype(np.float64), share=True),
            "scores": {
                "edges": edges,
                "negative": np.histogram(chosen[~truth], edges)[0],
                "positive": np.histogram(chosen[truth], edges)[0],
            },
            "confusion": {
                "true_positive": int((called & truth).sum()),
                "false_positive": int((called & ~truth).sum()),
                "false_negative": int((~called & truth).sum()),
                "true_negative": int((~called & ~truth).sum()),
            },
        }
    if bundle["task"] == "multiclass":
        right = (chosen.argmax(axis=1) == truth).astype(np.float64)
        return {
            "calibration": _calibration(chosen.max(axis=1), right, share=True),
            "confusion": _table(bundle, truth, chosen.argmax(axis=1)),
        }
    return {"calibration": _calibration(chosen, truth, share=False), **_scatter(truth, chosen)}


def _calibration(said: Floats, truth: Floats, *, share: bool) -> dict[str, Any]:
    """What was said against what was, in bins of equally many rows.

    ``error`` is the mean gap of the bins, which is never 0 by chance alone; ``sure`` is the part of it that lies beyond
    each bin's 95 % interval.
    """
    places = bins(said)
    told = []
    error = sure = 0.0
    for place in range(int(places.max()) + 1):
        inside = places == place
        n, found, mean = int(inside.sum()), truth[inside], float(said[inside].mean())
        low, high = wilson(float(found.sum()), n) if share else mean_interval(found)[1:]
        told.append({"rows": n, "said": mean, "was": float(found.mean()), "low": low, "high": high})
        error += n / said.size * abs(mean - float(found.mean()))
        # a bin of one number has no interval, and so nothing sure
        sure += n / said.size * max(low - mean, mean - high, 0.0) if isfinite(low) else 0.0
    whole = {"gap": _span(said - truth), "said": float(said.mean()), "was": float(truth.mean())}
    return {"bins": told, "error": error, "sure": sure, **whole}


def _table(bundle: Bundle, truth: Ints, given: Ints) -> dict[str, Any]:
    """Confusion matrix: a row for each true class, a column for each given one; rare classes together."""
    classes = _named(bundle).tolist()
    width = max(int(truth.max()) + 1, len(classes))
    if width > len(classes):
        # however many there are, nobody could have given them
        truth, width = np.minimum(truth, len(classes)), len(classes) + 1
        classes.append("(not in training)")
    counts = np.bincount(truth * width + given, minlength=width * width).reshape(width, width)
    if width > CLASSES:
        order = np.argsort(-counts.sum(axis=1), kind="stable")
        kept, rest = np.sort(order[: CLASSES - 1]), order[CLASSES - 1 :]
        place = np.full(width, CLASSES - 1)
        place[kept] = np.arange(CLASSES - 1)
        small = np.zeros((CLASSES, CLASSES), np.int64)
        # right within the rest only when it is the very class
        right = int(counts[rest, rest].sum())
        np.add.at(small, (place[:, None], place[None, :]), counts)
        return {"classes": [classes[one] for one in kept] + [f"({rest.size} others)"], "counts": small, "within": right}
    return {"classes": classes, "counts": counts, "within": None}


def _named(bundle: Bundle) -> Any:
    return np.array([str(one) for one in bundle["classes"]], dtype=object)


def _scatter(truth: Floats, said: Floats, cells: int = 32) -> dict[str, Any]:
    """Counts of (said, was) in a grid, and of residuals; the outer percent at each end is in the last cell."""
    low, high = (float(edge) for edge in np.quantile(np.concatenate([truth, said]), [0.005, 0.995]))
    high = high if high > low else low + 1.0
    edges = np.linspace(low, high, cells + 1)
    counts = np.histogram2d(np.clip(said, low, high), np.clip(truth, low, high), bins=[edges, edges])[0].astype(
        np.int64
    )
    error = said - truth
    reach = float(np.quantile(np.abs(error), 0.99)) or 1.0
    steps = np.linspace(-reach, reach, 42)
    return {
        "fit": {"edges": edges, "counts": counts},
        "residuals": {"edges": steps, "counts": np.histogram(np.clip(error, -reach, reach), steps)[0]},
    }


def _four(curves: Mapping[str, Mapping[str, Floats]]) -> dict[str, Any]:
    """Four digits: a curve is for the eye."""
    return {name: {axis: np.round(values, 4) for axis, values in curve.items()} for name, curve in curves.items()}
