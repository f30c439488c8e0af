"""Audits of the batch stages: raw sources, quarantine, cleaned, splits, features, online.

What belongs here: pure functions from what those stages made to verdicts; an audit returns all of its stage's verdicts
in the order of ``declared.checks``. What does not: making values, the store, Dagster, checks of a release.

A verdict's sentence and details hold counts and names only; values stand in its examples.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.checks import declared
from mlops_assets.checks.declared import checks
from mlops_assets.checks.pointintime import point_in_time
from mlops_assets.checks.refused import admitted, new_reasons
from mlops_assets.checks.verdict import Check, Verdict, verdict_of
from mlops_assets.contract.calendar import Calendar
from mlops_assets.contract.model import Contract, Source
from mlops_assets.stages.delivery import place_word
from mlops_assets.stages.made import Made
from mlops_assets.stages.moments import raw_moments
from mlops_assets.stages.rows import codes, combine, repeated
from mlops_assets.wording import counted

CHECKS = checks
"""``CHECKS(contract, stage)``: the checks of a stage, in the order of its verdicts."""

_EXAMPLES = 20
_SIGMAS = 5
_LEAST = 0.5
_MOST = 2.0
_ENOUGH = 3
"""Rows are compared with the median of at least so many earlier batches: between half and twice of it is usual."""


def audit(
    contract: Contract,
    stage: str,
    made: Made,
    *,
    batch: str,
    earlier: Sequence[Mapping[str, Any]] = (),
    upstream: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Verdict]:
    """One verdict for each check that the stage has by itself.

    ``earlier`` are the facts of the batches before, oldest first; ``upstream`` the facts of the inputs by stage.
    """
    look = _Look(contract, stage, made, batch, earlier, upstream or {})
    return [_AUDITS[check.name](look, check) for check in declared.own(contract, stage)]


@dataclass(frozen=True, slots=True)
class _Look:
    """What an audit may look at."""

    contract: Contract
    stage: str
    made: Made
    batch: str
    earlier: Sequence[Mapping[str, Any]]
    upstream: Mapping[str, Mapping[str, Any]]

    @property
    def table(self) -> pa.Table:
        """The value."""
        return self.made.value

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the stage says about it."""
        return self.made.facts

    @property
    def source(self) -> Source:
        """The source of a raw stage."""
        return self.contract.sources[self.stage.removeprefix("raw/")]

    @property
    def files(self) -> Sequence[Mapping[str, Any]]:
        """Facts of each delivered file."""
        return list(self.facts["files"])

    @property
    def spine(self) -> Source:
        """The source whose rows are the dataset's."""
        return self.contract.sources[self.contract.spine]


# ---- raw


def _readable(look: _Look, check: Check) -> Verdict:
    return verdict_of(
        check, 0, len(look.files), f"{counted(len(look.files), 'file')} read, {counted(look.facts['rows'], 'row')}."
    )


def _complete(look: _Look, check: Check) -> Verdict:
    cut = [file for file in look.files if file["cut_off_line"] is not None]
    examples = tuple(
        f"{file['name']} line {file['cut_off_line']}: the last record is cut off. Deliver the whole file."
        for file in cut[:_EXAMPLES]
    )
    whole = "The last record of every file is whole."
    if not cut and not look.facts["final_newline"]:
        whole += " A file without a line end at its end may still lack a piece of its last value."
    told = " ".join(examples[:1]) + (
        f" The same goes for {counted(len(cut) - 1, 'more file')}." if len(cut) > 1 else ""
    )
    return verdict_of(check, len(cut), len(look.files), told or whole, examples=examples)


def _final_newline(look: _Look, check: Check) -> Verdict:
    without = [str(file["name"]) for file in look.files if not file["final_newline"]]
    if not without:
        return verdict_of(check, 0, len(look.files), "Every file ends with a line end.")
    ended = sum(bool(facts.get("final_newline", True)) for facts in look.earlier)
    sentence = f"{_listed(without)} {'ends' if len(without) == 1 else 'end'} without a line end"
    if look.earlier and ended * 2 <= len(look.earlier):
        return verdict_of(check, 0, len(look.files), f"{sentence}, as most batches before do.")
    sentence += ", unlike the batches before: the end may be missing." if look.earlier else ": the end may be missing."
    return verdict_of(check, len(without), len(look.files), sentence)


def _verified(look: _Look, check: Check) -> Verdict:
    bare = [str(name) for name in look.facts.get("unverified_columns", ())]
    count, files = len(look.source.columns), sum(bool(file.get("unverified_columns")) for file in look.files)
    if not bare:
        return verdict_of(check, 0, count, "Page checksums were verified in every column.")
    sentence = f"{len(bare)} of {count} columns have no page checksums in {files} of {counted(len(look.files), 'file')}"
    without = sum(bool(facts.get("unverified_columns", bare)) for facts in look.earlier)
    if look.earlier and without * 2 >= len(look.earlier):
        return verdict_of(check, 0, count, f"{sentence}, as in most batches before: damage may pass unseen.")
    sentence += (
        ", unlike the batches before. Damage may pass unseen: ask for them (pyarrow: write_page_checksum=True)."
        if look.earlier
        else ": damage may pass unseen. Ask for them (pyarrow: write_page_checksum=True)."
    )
    return verdict_of(check, len(bare), count, sentence, details={"columns": bare})


def _columns(look: _Look, check: Check) -> Verdict:
    extra = [str(name) or "a column without a name" for name in look.facts["extra_columns"]]
    sentence = (
        f"The contract does not know {_listed(extra)}; declare what is wanted." if extra else "No unknown column."
    )
    return verdict_of(check, len(extra), len(extra) + len(look.source.columns), sentence, details={"unknown": extra})


def _in_batch(look: _Look, check: Check) -> Verdict:
    source = look.source
    times = raw_moments(source, look.table)
    low, high = Calendar.of(look.contract.partitions).window(look.batch)
    outside = pc.fill_null(
        pc.or_(
            pc.less(times, pa.scalar(low, times.type)),
            pc.greater_equal(times, pa.scalar(high, times.type)),
        ),
        False,
    )
    places = np.flatnonzero(outside.to_numpy(zero_copy_only=False))
    columns = ", ".join(source.event_time.columns if source.event_time else ())
    sentence = (
        f"{counted(len(places), 'row')} of {look.table.num_rows:,} "
        f"{'belongs' if len(places) == 1 else 'belong'} to other batches than {look.batch} by {columns}."
        if len(places)
        else f"Every event time that can be read ({columns}) lies in {look.batch}."
    )
    return verdict_of(
        check, len(places), look.table.num_rows, sentence, examples=tuple(_strangers(look, times, places[:_EXAMPLES]))
    )


def _strangers(look: _Look, times: pa.Array, places: Any) -> Iterator[str]:
    """Rows of another batch: file, line, columns, values, and the batch they belong to."""
    source, calendar = look.source, Calendar.of(look.contract.partitions)
    names = source.event_time.columns if source.event_time else ()
    hidden = any("sensitive" in source.columns[name].roles for name in names)
    found = look.table.take(pa.array(places))
    for row, moment in zip(found.to_pylist(), times.take(pa.array(places)).to_pylist(), strict=True):
        where = f"{row['_file']} {place_word(source)} {row['_line']}: {', '.join(names)}"
        if hidden:
            yield f"{where}: a value does not belong to {look.batch}."
        else:
            values = ", ".join(repr(str(row[name])[:40]) for name in names)
            yield f"{where}: {values} belongs to {calendar.key(moment)}, not to {look.batch}."


def _volume(look: _Look, check: Check) -> Verdict:
    rows = int(look.facts["rows"])
    before = [int(facts["rows"]) for facts in look.earlier if "rows" in facts]
    details = {"rows": rows, "earlier": before}
    if rows == 0:
        return verdict_of(check, 1, 1, "There are no rows.", details=details)
    if len(before) < _ENOUGH:
        return verdict_of(
            check, 0, 1, f"{counted(rows, 'row')}; too few earlier batches to compare with.", details=details
        )
    usual = median(before)
    strange = usual > 0 and not _LEAST <= rows / usual <= _MOST
    sentence = f"{counted(rows, 'row')}; the median of the {len(before)} batches before is {usual:,.0f}."
    return verdict_of(check, int(strange), 1, sentence, details=details | {"median": float(usual)})


# ---- quarantine and cleaned


def _conservation(look: _Look, check: Check) -> Verdict:
    accounts = _accounts(look)
    kept = look.table["source"].value_counts().to_pylist() if look.table.num_rows else []
    stored = {item["values"]: item["counts"] for item in kept}
    lost: list[str] = []
    for name, account in accounts.items():
        delivered = look.upstream.get(f"raw/{name}", {}).get("rows", account["raw"])
        total = account["accepted"] + account["quarantined"] + account["duplicates"]
        if not delivered == account["raw"] == total or stored.get(name, 0) != account["quarantined"]:
            lost.append(
                f"{name}: {delivered:,} raw rows, but {account['accepted']:,} accepted + {account['quarantined']:,} "
                f"quarantined ({stored.get(name, 0):,} kept) + {account['duplicates']:,} exact duplicates."
            )
    rows = sum(account["raw"] for account in accounts.values())
    sentence = " ".join(lost) or f"All {counted(rows, 'row')} are accounted for."
    return verdict_of(check, len(lost), len(accounts), sentence, details={"sources": _brief(accounts)})


def _rejected(look: _Look, check: Check) -> Verdict:
    return _share_rejected(look, check, look.contract.limits.refuse)


def _rejected_warn(look: _Look, check: Check) -> Verdict:
    return _share_rejected(look, check, look.contract.limits.warn)


def _share_rejected(look: _Look, check: Check, limit: float) -> Verdict:
    """The source with the largest quarantined share decides."""
    accounts = {name: account for name, account in _accounts(look).items() if account["raw"]}
    details = {
        "sources": _brief(accounts),
        "reasons": {name: dict(account["reasons"]) for name, account in accounts.items() if account["reasons"]},
    }
    if not accounts:
        return verdict_of(check, 0, 0, "There are no rows.", threshold=limit, details=details)
    over = {name: one for name, one in accounts.items() if one["quarantined"] > limit * one["raw"]}
    worst = max(over or accounts, key=lambda name: accounts[name]["quarantined"] / accounts[name]["raw"])
    bad, rows = int(accounts[worst]["quarantined"]), int(accounts[worst]["raw"])
    sentence = (
        f"{bad:,} of {counted(rows, 'row')} of {worst} ({bad / rows:.2%}) are quarantined; the limit is {limit:.2%}."
    )
    if over and accounts[worst]["reasons"]:
        label, count = next(iter(accounts[worst]["reasons"].items()))
        sentence += f" Most often: {label} ({counted(count, 'row')})."
    return Verdict(
        check.name,
        not over,
        check.severity,
        sentence,
        n=rows,
        failed=bad,
        threshold=limit,
        examples=look.made.sentences if bad else (),
        details=details,
    )


def _unique_key(look: _Look, check: Check) -> Verdict:
    key, rows = look.spine.key, look.table.num_rows
    if not key:
        return verdict_of(check, 0, rows, f"The spine {look.spine.name} declares no key.")
    shared = repeated(combine([codes(look.table[name]) for name in key], rows))
    failed = int(shared.sum())
    listed = ", ".join(key)
    sentence = (
        f"{counted(failed, 'row')} share their key ({listed})."
        if failed
        else f"No two rows share their key ({listed})."
    )
    return verdict_of(check, failed, rows, sentence)


def _fan_out(look: _Look, check: Check) -> Verdict:
    into, out = int(look.facts["rows_in"]), look.table.num_rows
    several = {join["source"]: int(join["ambiguous"]) for join in look.facts["joins"] if join["ambiguous"]}
    told = [f"{counted(into, 'row')} went into the joins and {out:,} came out."] if into != out else []
    told += [
        f"{counted(count, 'row')} could meet several rows of {name} and met none." for name, count in several.items()
    ]
    sentence = " ".join(told) or f"{counted(into, 'row')} went into {len(look.facts['joins'])} joins and came out."
    return verdict_of(check, abs(into - out) + sum(several.values()), into, sentence, details={"ambiguous": several})


def _matches(look: _Look, check: Check) -> Verdict:
    return _matched(look, check, "left")


def _required_matches(look: _Look, check: Check) -> Verdict:
    return _matched(look, check, "inner")


def _matched(look: _Look, check: Check, kind: str) -> Verdict:
    """The joins of one kind; those of kind inner need every row to match."""
    low: list[str] = []
    shares: dict[str, float] = {}
    unmatched = 0
    for join, facts in zip(look.contract.joins, look.facts["joins"], strict=True):
        if join.kind != kind:
            continue
        needed = 1.0 if kind == "inner" else join.warn_below
        share = facts["matched"] / facts["rows"] if facts["rows"] else 1.0
        shares[join.source] = round(share, 6)
        if share < needed:
            unmatched = max(unmatched, facts["rows"] - facts["matched"])
            low.append(
                f"{facts['matched']:,} of {counted(facts['rows'], 'row')} ({share:.1%}) have a match in {join.source}; "
                f"{needed:.1%} are expected."
            )
    sentence = " ".join(low) or "; ".join(f"{share:.1%} have a match in {name}" for name, share in shares.items()) + "."
    return verdict_of(check, unmatched, look.table.num_rows, sentence, details={"matched": shares})


def _not_empty(look: _Look, check: Check) -> Verdict:
    rows = look.table.num_rows
    sentence = f"{counted(rows, 'row')}." if rows else "No row of the batch was accepted, or none was delivered."
    return verdict_of(check, int(rows == 0), 1, sentence)


# ---- splits, features and online


def _aligned(look: _Look, check: Check) -> Verdict:
    buckets, wanted = look.table.num_rows, _cleaned_rows(look)
    sentence = (
        f"{wanted:,} cleaned rows, {buckets:,} buckets."
        if buckets != wanted
        else f"Each of {counted(wanted, 'row')} has one."
    )
    return verdict_of(check, abs(wanted - buckets), wanted, sentence)


def _buckets(look: _Look, check: Check) -> Verdict:
    units, tenths = int(look.facts["units"]), [int(count) for count in look.facts["tenths"]]
    room = _SIGMAS * sqrt(units * 0.09) + 1
    failed = sum(abs(count - units / len(tenths)) > room for count in tenths)
    by = ", ".join(look.facts["by"])
    sentence = f"{units:,} different values of {by}: {min(tenths):,} to {max(tenths):,} in each tenth of the buckets."
    return verdict_of(check, failed, len(tenths), sentence, details={"tenths": tenths, "expected": units / len(tenths)})


def _schema(look: _Look, check: Check) -> Verdict:
    # Loading the library that compares takes longer than most batches: only an audit waits for it.
    from mlops_assets.stages import schemas

    splits = look.stage == "splits"
    of_contract = schemas.schema_of_online if look.stage == "online" else schemas.schema_of_features
    schema = schemas.schema_of_splits() if splits else of_contract(look.contract)
    wrong = [
        f"{breach.column} {breach.words}{'' if breach.rows is None else ' in ' + counted(len(breach.rows), 'row')}."
        for breach in schemas.breaches(schema, look.table)
    ]
    if not splits and look.table.num_rows != _cleaned_rows(look):
        wrong.append(f"{_cleaned_rows(look):,} cleaned rows became {look.table.num_rows:,}.")
    count = len(schema.columns)
    good = f"{count} column{'s are' if count != 1 else ' is'} as declared in {counted(look.table.num_rows, 'row')}."
    return verdict_of(check, len(wrong), count, " ".join(wrong) or good)


def _counting(look: _Look, check: Check) -> Verdict:
    counting = {str(name): int(rows) for name, rows in look.facts["windows"].items()}
    empty = [name for name, rows in counting.items() if not rows]
    sentence = f"No row of the batch can count for {_listed(empty)}: a time, an entity or a value is missing in each."
    good = f"{counted(look.facts['counting'], 'row')} of {look.facts['rows']:,} can count for a window."
    return verdict_of(check, len(empty), len(counting), sentence if empty else good, details={"counting": counting})


def _filled(look: _Look, check: Check) -> Verdict:
    rows, missing = int(look.facts["rows"]), look.facts["missing"]
    empty = [name for name, count in missing.items() if rows and count == rows]
    before = [set(facts["constant"]) for facts in look.earlier if "constant" in facts]
    stuck = [
        name
        for name in look.facts["constant"]
        if len(before) >= _ENOUGH and not any(name in constant for constant in before)
    ]
    told = [f"Empty: {_listed(empty)}."] if empty else []
    told += [f"Always the same, unlike before: {_listed(stuck)}."] if stuck else []
    shares = {name: round(count / rows, 6) for name, count in missing.items() if count}
    return verdict_of(
        check,
        len(empty) + len(stuck),
        len(missing),
        " ".join(told) or "Every feature has values.",
        details={"missing_share": shares, "constant": list(look.facts["constant"])},
    )


def _target(look: _Look, check: Check) -> Verdict:
    rows, answered = int(look.facts["rows"]), int(look.facts["answered"])
    name = look.contract.target.name
    sentence = (
        f"{answered:,} of {counted(rows, 'row')} have an answer."
        if answered
        else f"No row has an answer: {name} ({look.contract.target.expression}) is null everywhere."
    )
    return verdict_of(check, int(answered == 0), 1, sentence, details={"rows": rows, "answered": answered})


def _classes(look: _Look, check: Check) -> Verdict:
    answered, task = int(look.facts["answered"]), look.contract.target.task
    name = look.contract.target.name
    if task == "binary":
        positive = int(look.facts["positive"])
        same = answered > 0 and positive in (0, answered)
        sentence = f"{positive:,} of {answered:,} answers to {name} are positive."
    else:
        kinds = pc.count_distinct(look.table["target"], mode="only_valid").as_py()
        same = answered > 0 and kinds == 1
        sentence = f"{answered:,} answers to {name}, {kinds:,} different ones."
    return verdict_of(check, int(same), 1, sentence)


# ---- words and counts


def _cleaned_rows(look: _Look) -> int:
    return int(look.upstream.get("cleaned", {}).get("rows", look.facts["rows"]))


def _accounts(look: _Look) -> Mapping[str, Mapping[str, Any]]:
    return dict(look.facts["sources"])


def _brief(accounts: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    counts = ("raw", "accepted", "quarantined", "duplicates")
    return {name: {count: int(account[count]) for count in counts} for name, account in accounts.items()}


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_EXAMPLES])
    return shown if len(names) <= _EXAMPLES else f"{shown} and {len(names) - _EXAMPLES} more"


_AUDITS: Mapping[str, Callable[[_Look, Check], Verdict]] = {
    declared.READABLE.name: _readable,
    declared.COMPLETE.name: _complete,
    declared.FINAL_NEWLINE.name: _final_newline,
    declared.VERIFIED.name: _verified,
    declared.COLUMNS.name: _columns,
    declared.IN_BATCH.name: _in_batch,
    declared.VOLUME.name: _volume,
    declared.CONSERVATION.name: _conservation,
    declared.NEW_REASONS.name: lambda look, check: new_reasons(check, look.made, look.earlier),
    declared.ADMITTED.name: lambda look, check: admitted(check, look.made),
    declared.REJECTED.name: _rejected,
    declared.REJECTED_WARN.name: _rejected_warn,
    declared.UNIQUE_KEY.name: _unique_key,
    declared.FAN_OUT.name: _fan_out,
    declared.MATCHES.name: _matches,
    declared.REQUIRED_MATCHES.name: _required_matches,
    declared.POINT_IN_TIME.name: lambda look, check: point_in_time(check, look.contract, look.made),
    declared.NOT_EMPTY.name: _not_empty,
    declared.ALIGNED.name: _aligned,
    declared.BUCKETS.name: _buckets,
    declared.SCHEMA.name: _schema,
    declared.COUNTING.name: _counting,
    declared.FILLED.name: _filled,
    declared.TARGET.name: _target,
    declared.CLASSES.name: _classes,
}
