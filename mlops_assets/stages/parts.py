"""How the parts of a release compare before any model of it is looked at: what trains, what validates, what tests.

What belongs here: from the rows of the batches to one report, by the rows' own keys, moments, answers and features.
What does not: which batch or bucket is which part (``roles``, ``selection``), how features are compared (``shift``),
whether a number is too large (``checks.parts``).

The report is plain JSON, rounded to six digits, and holds no value of a row. *Fitted* rows are those of training and
validation, as a candidate is fitted to both:

- ``format`` 1, ``dataset``, ``by`` (``time`` or ``hash``);
- ``parts``: for each of ``train``, ``validation``, ``test`` its ``rows``, ``batches`` (how many, the ``first`` and the
  ``last``), ``units`` (distinct keys, or groups where the contract names one), ``answered`` rows, and their ``counts``
  by class (binary: not positive, positive) or ``mean`` and ``deviation``;
- ``asked``: by hash the share of each part that the contract asks for;
- ``answers``: how far the answers of the test rows are from those of the fitted ones: see ``answers_apart``;
- ``key``, ``group``: the ``columns``, and ``shared`` keys or groups of each two parts: see ``shared``;
- ``order``: by time, the rows that happened out of order: see ``out_of_order``;
- ``features``: by name, ``alone`` and ``apart`` (see ``shift``), ``drift`` and ``chance`` (see ``stages.drift``);
- ``timelike``: by time, features that alone tell test rows from fitted ones; they are left out of what follows;
- ``adversarial``, ``twins``: see ``shift``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations, pairwise
from math import sqrt
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.calendar import Calendar
from mlops_assets.contract.model import Contract, Task
from mlops_assets.stages import drift, shift
from mlops_assets.stages.coded import coded
from mlops_assets.stages.evaluate import rounded
from mlops_assets.stages.features import TARGET
from mlops_assets.stages.made import Made
from mlops_assets.stages.moments import moments
from mlops_assets.stages.roles import BUCKETS, bucket_ranges
from mlops_assets.stages.rows import Ints, codes, combine, encode
from mlops_assets.stages.train import evenly

FORMAT = 1
PARTS = ("train", "validation", "test")
_SHOWN = 10
_ABOVE, _BEYOND = 3.09, 3.29
"""Standard deviations above which, or beyond which on either side, one normal value of a thousand lies."""
_REFERENCE = 50_000
"""Fitted rows, evenly spaced, that drift is measured from."""


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one part, batch after batch: their ``features``, the ``known`` columns of ``cleaned``, their batch.

    ``batches`` are the keys that have rows in it, ``places`` says for each row which of them it is of, shape (n,).
    """

    features: pa.Table
    known: pa.Table
    batches: tuple[str, ...]
    places: Ints


def known_columns(contract: Contract) -> list[str]:
    """The columns of ``cleaned`` that rows are told apart by: key, group, event time."""
    spine = contract.sources[contract.spine]
    time = spine.event_time.columns if spine.event_time and contract.split.by == "time" else ()
    return list(dict.fromkeys([*spine.key, *contract.split.group, *time]))


def parts_of(
    contract: Contract,
    found: Mapping[str, Sequence[str]],
    sort: Callable[[Iterable[str]], list[str]],
    read: Callable[[str], tuple[pa.Table, pa.ChunkedArray, pa.Table]],
) -> dict[str, Part]:
    """The rows of each part that has any.

    ``found`` are the batches of each role, ``sort`` the calendar's order, ``read`` a batch's features, buckets and
    ``known_columns``, row for row.
    """
    taken: dict[str, list[tuple[str, pa.Table, pa.Table]]] = {part: [] for part in PARTS}
    for batch in sort({batch for part in PARTS for batch in found[part]}):
        features, buckets, known = read(batch)
        for part in PARTS:
            if batch not in found[part]:
                continue
            if contract.split.by == "time":
                taken[part].append((batch, features, known))
                continue
            low, high = bucket_ranges(contract)[part]
            chosen = pc.and_(pc.greater_equal(buckets, low), pc.less(buckets, high))
            taken[part].append((batch, features.filter(chosen), known.filter(chosen)))
    filled = {part: [each for each in tables if each[1].num_rows] for part, tables in taken.items()}
    return {
        part: Part(
            pa.concat_tables([features for _, features, _ in tables]).combine_chunks(),
            pa.concat_tables([known for *_, known in tables]).combine_chunks(),
            tuple(batch for batch, *_ in tables),
            np.repeat(np.arange(len(tables)), [features.num_rows for _, features, _ in tables]),
        )
        for part, tables in filled.items()
        if tables
    }


def compare(contract: Contract, parts: Mapping[str, Part], threads: int) -> Made:
    """The report on these parts; facts: rows of each, and the numbers that say most."""
    spine = contract.sources[contract.spine]
    group = contract.split.group
    known = {name: part.known for name, part in parts.items()}
    keys, groups = units_of(known, spine.key), units_of(known, group)
    units = groups or keys
    told = _answers(contract, parts)
    report: dict[str, Any] = {
        "format": FORMAT,
        "dataset": contract.name,
        "by": contract.split.by,
        "parts": {
            name: {
                "rows": part.features.num_rows,
                "batches": len(part.batches),
                "first": part.batches[0],
                "last": part.batches[-1],
                "units": int(shift.distinct(units[name][units[name] >= 0]).size),
                **told[name],
            }
            for name, part in parts.items()
        },
        "asked": _asked(contract),
        "answers": answers_apart(told, contract.target.task),
        "key": {"columns": list(spine.key), "shared": shared(parts, keys)},
        "group": {"columns": list(group), "shared": shared(parts, groups)},
        "order": out_of_order(contract, parts),
        **_features(contract, parts, [units[name] for name in PARTS if name in units], threads),
    }
    report = rounded(report)
    facts: dict[str, Any] = {f"{name}_rows": part["rows"] for name, part in report["parts"].items()}
    if report["adversarial"]:
        facts["adversarial_auc"] = report["adversarial"]["auc"]
    if report["twins"]:
        facts["test_rows_with_twins"] = report["twins"]["test"]
    return Made(report, facts)


def shared(parts: Mapping[str, Part], units: Mapping[str, Ints]) -> list[dict[str, Any]]:
    """What stands in two parts: of each two that share any, ``parts``, how many ``units``, and their ``rows`` in both.

    ``units`` are those of ``units_of``; ``batches`` counts the rows by part and batch, those with most first.
    """
    found = []
    for pair, common in _common(units):
        rows, batches = {}, {}
        for name in pair:
            places = parts[name].places[shift.among(units[name], common)]
            counts = np.bincount(places, minlength=len(parts[name].batches))
            most = np.argsort(-counts, kind="stable")[:_SHOWN]
            rows[name] = int(places.size)
            batches[name] = {parts[name].batches[place]: int(counts[place]) for place in most if counts[place]}
        found.append({"parts": list(pair), "units": int(common.size), "rows": rows, "batches": batches})
    return found


def shared_values(
    parts: Mapping[str, Part], columns: Sequence[str], most: int
) -> list[tuple[dict[str, Any], dict[str, list[str]]]]:
    """At most ``most`` units that stand in two parts: their values, and their batches by part. For evidence only."""
    told: list[tuple[dict[str, Any], dict[str, list[str]]]] = []
    units = units_of({name: part.known for name, part in parts.items()}, columns)
    for pair, common in _common(units):
        for unit in common[: most - len(told)]:
            rows = {name: np.flatnonzero(units[name] == unit) for name in pair}
            values = parts[pair[0]].known.select(list(columns)).slice(int(rows[pair[0]][0]), 1).to_pylist()[0]
            batches = {
                name: [parts[name].batches[place] for place in np.unique(parts[name].places[rows[name]])]
                for name in pair
            }
            told.append((values, batches))
    return told


def _common(units: Mapping[str, Ints]) -> Iterator[tuple[tuple[str, str], Ints]]:
    """Each two parts that share units, and the units' numbers in ascending order."""
    distinct = {name: shift.distinct(numbers[numbers >= 0]) for name, numbers in units.items()}
    for one, other in combinations(units, 2):
        common = distinct[one][shift.among(distinct[one], distinct[other])]
        if common.size:
            yield (one, other), common


def units_of(tables: Mapping[str, pa.Table], columns: Sequence[str]) -> dict[str, Ints]:
    """For each row of each table the number of its combination of values of ``columns``, the same in all tables.

    It is -1 where one of them is missing. Nothing without columns.
    """
    if not columns or not tables:
        return {}
    table = pa.concat_tables([table.select(list(columns)) for table in tables.values()])
    numbers = combine([codes(column) for column in table.columns], table.num_rows)
    for column in table.columns:
        if column.null_count:
            numbers[column.is_null().to_numpy()] = -1
    ends = np.cumsum([table.num_rows for table in tables.values()])
    return dict(zip(tables, np.split(numbers, ends[:-1]), strict=True))


def fitted_again(contract: Contract, tested: pa.Table, buckets: pa.ChunkedArray, known: pa.Table) -> int:
    """How many rows of ``tested`` are fitted to when rows are split by hash into these ``buckets``.

    ``tested`` has the key of rows that tested an earlier release, ``known`` that of the batch's rows now.
    """
    columns = contract.sources[contract.spine].key
    fitted = known.filter(pc.less(buckets, bucket_ranges(contract)["test"][0]))
    units = units_of({"tested": tested, "fitted": fitted}, columns)
    return int(shift.among(units["tested"], shift.distinct(units["fitted"])).sum())


def out_of_order(contract: Contract, parts: Mapping[str, Part]) -> list[dict[str, Any]] | None:
    """Of each two parts that follow one another, the rows that happened on the wrong side; None where nothing is said.

    ``rows`` of the earlier part happened later than the oldest row of the later part, less the embargo; ``others`` of
    the later part happened earlier than the newest row of the earlier part, plus the embargo. ``unknown`` rows of both
    have no moment.
    """
    event_time = contract.sources[contract.spine].event_time
    if contract.split.by != "time" or event_time is None:
        return None
    calendar = Calendar(contract.partitions.cadence)
    times = {name: moments(event_time, part.known) for name, part in parts.items()}
    told = []
    for earlier, later in pairwise(times):
        embargo = contract.split.embargo if earlier == "train" else 0
        one, other = pc.max(times[earlier]).as_py(), pc.min(times[later]).as_py()
        rows = others = 0
        if one is not None and other is not None:
            rows = _counted(
                pc.greater(times[earlier], pa.scalar(_moved(calendar, other, -embargo), pa.timestamp("us")))
            )
            others = _counted(pc.less(times[later], pa.scalar(_moved(calendar, one, embargo), pa.timestamp("us"))))
        told.append(
            {
                "earlier": earlier,
                "later": later,
                "embargo": embargo,
                "rows": rows,
                "others": others,
                "of": len(times[earlier]) + len(times[later]),
                "unknown": times[earlier].null_count + times[later].null_count,
            }
        )
    return told


def _moved(calendar: Calendar, moment: datetime, batches: int) -> pa.Scalar:
    """The moment so many batches later: as far into that batch as it is into its own."""
    if batches:
        start, _ = calendar.window(calendar.key(moment))
        key = calendar.shift(calendar.key(moment), batches)
        assert key is not None  # a calendar without start and end has a key for every moment
        moment = calendar.window(key)[0] + (moment - start)
    return pa.scalar(moment, pa.timestamp("us"))


def _counted(truths: pa.Array) -> int:
    return int(pc.sum(truths).as_py() or 0)


def _asked(contract: Contract) -> dict[str, float] | None:
    if contract.split.by == "time":
        return None
    return {part: (high - low) / BUCKETS for part, (low, high) in bucket_ranges(contract).items() if high > low}


def _answers(contract: Contract, parts: Mapping[str, Part]) -> dict[str, dict[str, Any]]:
    """What the answers of each part look like."""
    columns = {name: part.features[TARGET] for name, part in parts.items()}
    if contract.target.task == "regression":
        told = {}
        for name, column in columns.items():
            known = column.drop_null().cast(pa.float64()).to_numpy()
            spread = {"mean": float(known.mean()), "deviation": float(known.std())} if known.size else {}
            told[name] = {"answered": int(known.size), **spread}
        return told
    distinct, places = encode(pa.chunked_array([chunk for column in columns.values() for chunk in column.chunks]))
    numbers = _classes(contract, distinct.to_pylist())[places]
    ends = np.cumsum([len(column) for column in columns.values()])
    width = max(2, int(numbers.max(initial=0)) + 1)
    told = {}
    for name, own in zip(columns, np.split(numbers, ends[:-1]), strict=True):
        counts = np.bincount(own[own >= 0], minlength=width)
        told[name] = {"answered": int(counts.sum()), "counts": counts.tolist()}
    return told


def _classes(contract: Contract, values: list[Any]) -> Ints:
    """The number of each answer's class, the positive one being 1; -1 for no answer."""
    known = [value for value in values if value is not None]
    if contract.target.task == "binary":
        place = {value: int(value == contract.target.positive) for value in known}
    else:
        place = {value: number for number, value in enumerate(sorted(known))}
    return np.array([place.get(value, -1) for value in values] or [-1], dtype=np.int64)


def answers_apart(told: Mapping[str, Mapping[str, Any]], task: Task) -> dict[str, Any] | None:
    """How far the answers of the test rows lie from those of the fitted ones: ``effect``, and what ``chance`` does.

    For classes the effect is Cohen's w, the root of chi-square over the effective number of rows (0.1 is small, 0.3
    medium, 0.5 large); for numbers Cohen's d, the distance of the means in standard deviations (0.2, 0.5, 0.8)
    (Cohen 1988). ``chance`` is what two samples of the same rows are apart in one of a thousand draws. None
    where either side has no answer.
    """
    fitted = [told[name] for name in ("train", "validation") if name in told]
    rows, others = sum(part["answered"] for part in fitted), told["test"]["answered"] if "test" in told else 0
    if not rows or not others:
        return None
    spread = 1 / rows + 1 / others
    test = told["test"]
    if task == "regression":
        mean = sum(part["mean"] * part["answered"] for part in fitted if part["answered"]) / rows
        square = sum(
            (part["deviation"] ** 2 + part["mean"] ** 2) * part["answered"] for part in fitted if part["answered"]
        )
        both = (square + (test["deviation"] ** 2 + test["mean"] ** 2) * others) / (rows + others)
        middle = (mean * rows + test["mean"] * others) / (rows + others)
        scale = sqrt(max(0.0, both - middle**2))
        effect = abs(test["mean"] - mean) / scale if scale else 0.0
        return {"measure": "d", "effect": effect, "chance": _BEYOND * sqrt(spread)}
    one = np.sum([part["counts"] for part in fitted], axis=0) / rows
    other = np.array(test["counts"]) / others
    pooled = (one * rows + other * others) / (rows + others)
    seen = pooled > 0
    effect = sqrt(float(((one - other)[seen] ** 2 / pooled[seen]).sum()))
    freedom = max(1, int(seen.sum()) - 1)
    # the quantile of chi-square by Wilson and Hilferty (1931)
    highest = freedom * (1 - 2 / (9 * freedom) + _ABOVE * sqrt(2 / (9 * freedom))) ** 3
    return {"measure": "w", "effect": effect, "chance": sqrt(highest * spread)}


def _features(contract: Contract, parts: Mapping[str, Part], units: Sequence[Ints], threads: int) -> dict[str, Any]:
    """What the features say of the test rows beside the fitted ones, without any answer."""
    fitted = [parts[name].features for name in ("train", "validation") if name in parts]
    if not fitted or "test" not in parts:
        return {"features": {}, "timelike": [], "adversarial": None, "twins": None}
    whole = pa.concat_tables(fitted)
    numbers = shift.numbers(contract.features, whole, parts["test"].features)
    drawn, places, is_test = shift.sample(numbers)
    reference = whole.take(pa.array(evenly(whole.num_rows, _REFERENCE)))
    told: dict[str, Any] = {}
    for feature in contract.features:
        name = feature.name
        moved = drift.moved(drift.profile(reference[name], feature.kind), coded(parts["test"].features[name]))
        told[name] = {
            "alone": shift.alone(drawn[name], feature.kind, is_test),
            "apart": shift.apart(drawn[name], feature.kind, is_test),
            "drift": moved.index,
            "chance": moved.chance,
        }
    timelike = [
        name
        for name, of in told.items()
        if contract.split.by == "time" and (of["apart"] or (of["alone"] or 0.0) > shift.SEPARATE)
    ]
    kept = [name for name in numbers if name not in timelike]
    # by hash both sides lie in the same time, and a key or group is on one side with all its rows
    folds = shift.blocks(is_test) if contract.split.by == "time" else np.concatenate(units)[places] % 2
    return {
        "features": told,
        "timelike": timelike,
        "adversarial": shift.adversarial({name: drawn[name] for name in kept}, is_test, folds, threads),
        "twins": shift.twins({name: numbers[name] for name in kept}),
    }
