"""The audit of how the parts of a release compare (``stages.parts``).

What belongs here: from that report, and what is known of the release before, to verdicts; in the order of
``declared``. What does not: any look at rows, but for the examples of what stands in two parts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

from mlops_assets.checks import declared
from mlops_assets.checks.verdict import Verdict, verdict_of
from mlops_assets.contract.calendar import ALL
from mlops_assets.contract.model import Contract
from mlops_assets.stages.metrics import wilson
from mlops_assets.stages.parts import Part, shared_values
from mlops_assets.wording import counted

SIZE = 0.25
"""Part of what the contract asks for by which a part's share may differ, before it is told."""
NAMED = 5
"""Features that a sentence names; the details hold all."""
EXAMPLES = 20
_SURELY = 3.0
_WORDS = {"train": "training", "validation": "validation", "test": "test"}


@dataclass(frozen=True, slots=True)
class Before:
    """What became of the rows that tested an earlier release: of ``tested`` rows that are still there ``train`` do now.

    ``unread`` batches could not be looked at, ``changed`` are the settings of the split that differ.
    """

    release: str
    when: str
    tested: int
    train: int
    unread: int = 0
    changed: tuple[str, ...] = ()


def audit(
    contract: Contract,
    report: Mapping[str, Any],
    rows: Callable[[], Mapping[str, Part]],
    before: Callable[[], Before | None],
) -> list[Verdict]:
    """Every verdict of the stage. ``rows`` and ``before`` are asked only for what the report does not say."""
    made = {
        declared.DISJOINT.name: lambda: _disjoint(contract, report, rows),
        declared.ORDER.name: lambda: _order(report),
        declared.STABLE.name: lambda: _stable(before()),
        declared.PARTS.name: lambda: _parts(contract, report),
        declared.ADVERSARIAL.name: lambda: _adversarial(contract, report),
        declared.DRIFT_TEST.name: lambda: _drift(contract, report),
        declared.TWINS.name: lambda: _twins(contract, report),
    }
    return [made[check.name]() for check in declared.own(contract, "split_report")]


def _disjoint(contract: Contract, report: Mapping[str, Any], rows: Callable[[], Mapping[str, Part]]) -> Verdict:
    """By hash neither a key nor a group may stand in two parts; by time a group may, and a key where it recurs."""
    by_hash = report["by"] == "hash"
    allowed = {"key": not by_hash and contract.thresholds.recurring, "group": not by_hash}
    promised = {what: report[what] for what in allowed if report[what]["columns"] and not allowed[what]}
    told, failed, examples = [], 0, []
    for what, found in promised.items():
        columns = ", ".join(found["columns"])
        for pair in found["shared"]:
            one, other = pair["parts"]
            failed += pair["rows"][other]
            told.append(
                f"{counted(pair['units'], what)} ({columns}) {'stands' if pair['units'] == 1 else 'stand'} in both "
                f"{_WORDS[one]} ({counted(pair['rows'][one], 'row')}) and {_WORDS[other]} "
                f"({counted(pair['rows'][other], 'row')}{_of(list(pair['batches'][other]))})."
            )
        if found["shared"] and not contract.sensitive() & set(found["columns"]):
            examples += _examples(shared_values(rows(), found["columns"], EXAMPLES))
    total = sum(part["rows"] for part in report["parts"].values())
    if failed:
        told.append(
            "What is tested on was trained on. Deliver a correction into the batch that it corrects; where such rows "
            f"are different events, add the column that tells them apart to the key in {contract.file}, or write "
            "'checks: {recurring: true}' there."
            if "key" in promised and report["key"]["shared"]
            else "What is tested on was trained on: 'splits' does not hold the buckets of these groups. Make it again."
        )
    elif promised:
        told.append(f"No {' and no '.join(promised)} stands in two of {_listed(_words(report))}.")
    for what in allowed:
        told += [
            f"{pair['rows']['test']:,} of {report['parts']['test']['rows']:,} test rows are of a {what} "
            f"({', '.join(report[what]['columns'])}) that training rows are of too, as they may be by time."
            for pair in report[what]["shared"]
            if what not in promised and pair["parts"] == ["train", "test"]
        ]
    details = {what: report[what] for what in ("key", "group")}
    return verdict_of(declared.DISJOINT, failed, total, " ".join(told), examples=tuple(examples), details=details)


def _examples(found: Sequence[tuple[Mapping[str, Any], Mapping[str, Sequence[str]]]]) -> list[str]:
    return [
        ", ".join(f"{name} {value}" for name, value in values.items())
        + ": "
        + " and ".join(f"{_WORDS[part]}{_of(batches)}" for part, batches in where.items())
        for values, where in found
    ]


def _order(report: Mapping[str, Any]) -> Verdict:
    told, failed, looked = [], 0, 0
    for pair in report["order"]:
        looked += pair["of"]
        # one row that lies far off makes all others look wrong: told is the side with fewer
        wrong = min(pair["rows"], pair["others"])
        failed += wrong
        gap = f", or within the embargo of {pair['embargo']}" if pair["embargo"] else ""
        one, other = _WORDS[pair["earlier"]], _WORDS[pair["later"]]
        if wrong and pair["rows"] <= pair["others"]:
            told.append(f"{counted(wrong, f'{one} row')} happened after the first {other} row{gap}.")
        elif wrong:
            told.append(f"{counted(wrong, f'{other} row')} happened before the last {one} row{gap}.")
        if pair["unknown"]:
            told.append(f"{pair['unknown']:,} {one} and {other} rows have no event time.")
    if failed:
        told.append("Their batches say otherwise: look at the event time in 'cleaned'.")
    else:
        told.insert(0, f"{_listed(_words(report)).capitalize()} rows follow one another in time.")
    return verdict_of(declared.ORDER, failed, looked, " ".join(told), details={"pairs": report["order"]})


def _stable(before: Before | None) -> Verdict:
    if before is None:
        return verdict_of(declared.STABLE, 0, 0, "There is no earlier release whose test rows could train now.")
    unread = f" Of {counted(before.unread, 'batch')} that cannot be told." if before.unread else ""
    named = "the release" if before.release == ALL else f"release {before.release}"
    release = f"{named} of {before.when[:10]}"
    if not before.train:
        sentence = f"None of the {before.tested:,} rows that tested {release} trains now." + unread
    else:
        why = f" (changed: {_listed(before.changed)})" if before.changed else ""
        sentence = (
            f"{before.train:,} of {before.tested:,} rows that tested {release} train now{why}. What was chosen by "
            f"looking at them is no longer tested by rows that nobody has seen, and no score of that release can be "
            f"compared with one of this.{unread}"
        )
    return verdict_of(declared.STABLE, before.train, before.tested, sentence, details={"changed": list(before.changed)})


def _parts(contract: Contract, report: Mapping[str, Any]) -> Verdict:
    parts, asked = report["parts"], report["asked"] or {}
    total = sum(part["rows"] for part in parts.values())
    units = sum(part["units"] for part in parts.values())
    odd, table = [], []
    for name, word in _WORDS.items():
        part = parts.get(name)
        share = part["rows"] / total if part else 0.0
        row: dict[str, Any] = {"part": name, "rows": part["rows"] if part else 0, "share": round(share, 4)}
        if part and "counts" in part and part["answered"]:
            row["answers"] = " / ".join(f"{count / part['answered']:.1%}" for count in part["counts"][:NAMED])
        elif part and "mean" in part:
            row["answers"] = f"mean {part['mean']:.4g}"
        table.append(row)
        wanted = asked.get(name)
        if wanted is None:
            continue
        chance = _SURELY * sqrt(wanted * (1 - wanted) / max(units, 1))
        if abs(share - wanted) > max(SIZE * wanted, chance):
            odd.append(f"{word.capitalize()} has {share:.1%} of the rows where {wanted:.1%} are asked.")
    odd += [f"No row is for {_WORDS[name]}." for name in ("train", "test") if name not in parts]
    apart = report["answers"]
    said = ""
    if apart:
        limit = contract.thresholds.answers
        name = f"Cohen's {apart['measure']} {apart['effect']:.2f}"
        said = f"The answers of the test rows are {name} from those in training; above {limit:g} is told."
        if apart["effect"] > max(limit, apart["chance"]):
            odd.append(said + " Expect a score that is off, and probabilities that are.")
            said = ""
    sizes = ", ".join(f"{part['rows']:,} {_WORDS[name]}" for name, part in parts.items())
    sentence = " ".join(text for text in (*odd, f"Rows: {sizes}.", said) if text)
    return verdict_of(
        declared.PARTS,
        len(odd),
        len(asked) + 1,
        sentence,
        threshold=contract.thresholds.answers,
        details={"parts": table, "answers": apart},
    )


def _adversarial(contract: Contract, report: Mapping[str, Any]) -> Verdict:
    found, wanted = report["adversarial"], contract.thresholds.adversarial
    ranked = sorted(
        ((name, of["alone"]) for name, of in report["features"].items() if of["alone"] is not None),
        key=lambda item: (-item[1], item[0]),
    )
    left = set(report["timelike"])
    table = [{"feature": name, "alone": alone, "left out": name in left} for name, alone in ranked]
    details = {"model": found, "left_out": report["timelike"], "features": table}
    if found is None:
        sentence = "Too few rows, or features, to tell test rows from training rows by." + _left_out(report)
        return verdict_of(declared.ADVERSARIAL, 0, 0, sentence, threshold=wanted, details=details)
    passed = found["auc"] <= wanted
    best = [f"{name} ({alone:.2f})" for name, alone in ranked if name not in left][:NAMED]
    sentence = (
        f"By their features a model tells test rows from training rows with a ROC AUC of {found['auc']:.3f} "
        f"({found['low']:.3f} to {found['high']:.3f}); guessing gets 0.5, above {wanted:g} is told. "
        f"Best alone: {_listed(best)}.{_left_out(report)}"
    )
    if not passed:
        sentence += " The test rows are of another kind: a score on them says little of rows like those in training."
    return verdict_of(declared.ADVERSARIAL, int(not passed), 1, sentence, threshold=wanted, details=details)


def _drift(contract: Contract, report: Mapping[str, Any]) -> Verdict:
    left, limits = {*report["timelike"], *contract.thresholds.seasonal}, contract.thresholds
    ranked = sorted(report["features"].items(), key=lambda item: (-item[1]["drift"], item[0]))
    table = [
        {"feature": name, "index": of["drift"], "chance": of["chance"], "left out": name in left} for name, of in ranked
    ]
    looked = [(name, of) for name, of in ranked if name not in left]
    seasonal = [name for name in contract.thresholds.seasonal if name not in report["timelike"]]
    also = f" Left out as seasonal: {_listed(seasonal)}." if seasonal else ""
    moved = [name for name, of in looked if of["drift"] > max(limits.drift, limits.chance * of["chance"])]
    if not looked:
        sentence = "There is nothing to compare." + _left_out(report) + also
    elif moved:
        named = _listed([f"{name} ({report['features'][name]['drift']:.2f})" for name in moved[:NAMED]])
        more = f" and {len(moved) - NAMED} more" if len(moved) > NAMED else ""
        sentence = (
            f"{len(moved)} of {counted(len(looked), 'feature')} drifted from training to test by a population "
            f"stability index above {limits.drift:g}, and more than chance: {named}{more}.{_left_out(report)}{also}"
        )
    else:
        name, most = looked[0]
        sentence = (
            f"None of {counted(len(looked), 'feature')} drifted from training to test by a population stability index "
            f"above {limits.drift:g}; {name} comes next ({most['drift']:.3f}).{_left_out(report)}{also}"
        )
    return verdict_of(
        declared.DRIFT_TEST, len(moved), len(looked), sentence, threshold=0.0, details={"features": table}
    )


def _twins(contract: Contract, report: Mapping[str, Any]) -> Verdict:
    found, wanted = report["twins"], contract.thresholds.twins
    if found is None:
        sentence = "Too few features, or no rows, to say which rows look alike." + _left_out(report)
        return verdict_of(declared.TWINS, 0, 0, sentence, threshold=wanted)
    parts = report["parts"]
    rows = parts["test"]["rows"]
    fitted = sum(part["rows"] for name, part in parts.items() if name != "test")
    share, chance = found["test"] / rows, found["chance"] / rows
    low, _ = wilson(found["test"], rows)
    passed = low <= wanted + chance
    sentence = (
        f"{found['test']:,} of {rows:,} test rows ({share:.1%}) look nearly the same as a training row; training rows "
        f"among themselves {found['fitted'] / fitted:.1%}, shuffled features {chance:.1%}.{_left_out(report)}"
    )
    if not passed:
        sentence += (
            f" That is more than {wanted:.1%} beyond chance: rows that were copied, or of one thing seen twice, make "
            f"the test too easy. Take copies out, or name what they share as the split's group in {contract.file}."
        )
    return Verdict(
        declared.TWINS.name,
        passed,
        declared.TWINS.severity,
        sentence,
        n=rows,
        failed=found["test"],
        threshold=round(wanted + chance, 6),
        details=dict(found),
    )


def _of(batches: Sequence[str]) -> str:
    """Which batches, where there are several."""
    return "" if list(batches) == [ALL] else f" of {_listed(batches)}"


def _left_out(report: Mapping[str, Any]) -> str:
    names = report["timelike"]
    if not names:
        return ""
    return f" Left out, because time alone parts {'it' if len(names) == 1 else 'them'}: {_listed(names)}."


def _words(report: Mapping[str, Any]) -> list[str]:
    return [word for name, word in _WORDS.items() if name in report["parts"]]


def _listed(names: Sequence[str]) -> str:
    *most, last = names or ["none"]
    return f"{', '.join(most)} and {last}" if most else last
