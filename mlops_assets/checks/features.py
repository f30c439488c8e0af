"""Audits of features that need more than the features: leaks from the answer and the future, drift from a reference.

What belongs here: from numbers to verdicts, in the order of ``declared.foresight``. What does not: the numbers
(``ranking``, ``leakage``, ``drift``), reading anything, checks of the features by themselves (``batch``).

A verdict's sentence and details hold counts and names only; categories stand in its examples.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from math import sqrt
from typing import Any

import pyarrow as pa

from mlops_assets.checks import declared
from mlops_assets.checks.leakage import Leak, leaks, outcomes
from mlops_assets.checks.verdict import Check, Verdict, verdict_of
from mlops_assets.contract.model import Contract, Feature
from mlops_assets.stages.coded import Coded, coded
from mlops_assets.stages.drift import Moved, Reference, moved, profile
from mlops_assets.stages.features import TARGET
from mlops_assets.stages.ranking import LEAST, answers_of, strength
from mlops_assets.wording import counted

_EXAMPLES = 20
_NAMED = 5
_SIGMAS = 3
_DIGITS = 6


def audit(
    contract: Contract,
    features: pa.Table,
    *,
    cleaned: pa.Table,
    history: pa.Table | None,
    reference: Reference,
    constant: Sequence[Collection[str]] = (),
) -> list[Verdict]:
    """One verdict for each check of ``declared.foresight``.

    ``features`` were made from ``cleaned`` and ``history`` row by row. ``constant`` names the features that had one
    value only, of the batch and of each batch before it that is known.
    """
    columns = {feature.name: coded(features[feature.name]) for feature in contract.features}
    look = _Moves(contract, columns, reference, constant)
    return [
        _alone(contract, columns, features[TARGET]),
        _known_before(contract, cleaned, leaks(contract, cleaned, features, history)),
        look.drift(),
        look.missing(),
        look.unseen(),
    ]


def _alone(contract: Contract, columns: Mapping[str, Coded], target: pa.ChunkedArray) -> Verdict:
    check, limit, name = declared.ALONE, contract.thresholds.alone, contract.target.name
    answers = answers_of(contract.target, target)
    if answers is None:
        least = f"{2 * LEAST} different ones" if contract.target.task == "regression" else f"{LEAST} of each class"
        answered = len(target) - target.null_count
        sentence = f"{answered:,} answers to {name} are too few to tell what a feature alone says of them; {least} do."
        return verdict_of(check, 0, 0, sentence, threshold=limit)
    found = {feature: strength(columns[feature.name], feature.kind, answers) for feature in contract.features}
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0].name))
    above = [(feature, value) for feature, value in ordered if value > limit]
    best, most = ordered[0]
    sentence = (
        f"Alone, no feature ranks the answers to {name} better than {best.name} does, with {most:.3f}; {limit:g} is "
        f"the limit."
    )
    if above:
        told = _some([f"{feature.name} ({value:.3f})" for feature, value in above])
        sentence = (
            f"Too good to be true: alone, {told} {_rank(len(above))} the answers to {name} beyond the limit of "
            f"{limit:g} (0.5 says nothing, 1 says all). Is it known only after the event, or made from the answer? "
            f"Give its column the role excluded; if it is honest, raise alone under checks in {contract.file}."
        )
    table = [{"feature": f.name, "kind": f.kind, "strength": round(value, _DIGITS)} for f, value in ordered]
    return verdict_of(
        check,
        len(above),
        len(ordered),
        sentence,
        threshold=limit,
        examples=tuple(f"{f.name} ({contract.file}:{f.line}): {value:.4f}." for f, value in above[:_EXAMPLES]),
        details={"strongest": round(most, _DIGITS), "feature": best.name, "scale": answers.scale, "features": table},
    )


def _known_before(contract: Contract, cleaned: pa.Table, found: Sequence[Leak]) -> Verdict:
    late = outcomes(contract)
    sentence = f"No feature changes without {counted(len(late), 'column')} known only after the event, nor without "
    sentence += "the later half of the batch."
    if contract.sql is not None and contract.sql.unresolved:
        sentence += f" What SQL makes {_some(contract.sql.unresolved)} from is not known."
    told = [_leak(contract, leak) for leak in found]
    return verdict_of(
        declared.KNOWN_BEFORE,
        len(found),
        len(contract.features),
        " ".join(told[:_NAMED]) or sentence,
        threshold=0.0,
        examples=tuple(told[:_EXAMPLES]),
        details={
            "changed_rows": max((leak.changed for leak in found), default=0),
            "rows": cleaned.num_rows,
            "outcomes": list(late),
            "features": [
                {"feature": leak.feature.name, "why": leak.why, "changed": leak.changed, "rows": leak.rows}
                for leak in found
            ],
        },
    )


def _leak(contract: Contract, leak: Leak) -> str:
    name, where = leak.feature.name, f"{contract.file}:{leak.feature.line}"
    changes = f"changes in {leak.changed:,} of {counted(leak.rows, 'row')}"
    if leak.raised:
        changes = f"cannot be computed ({leak.raised})"
    if leak.why == "itself":
        return (
            f"{name} {changes} when it is computed again from the same rows; make it say the same each time ({where})."
        )
    if leak.why == "outcome":
        return (
            f"{name} {changes} without {_some(leak.columns)}, known only after the event: it is made from the outcome. "
            f"Take that out of it; the outcomes of earlier rows are for windows ({where})."
        )
    return (
        f"{name} {changes} without the later half of the batch: it is made from rows that were still to come. Make it "
        f"from its own row; what earlier rows say is for windows ({where})."
    )


class _Moves:
    """The features of a batch beside those of a reference."""

    def __init__(
        self,
        contract: Contract,
        columns: Mapping[str, Coded],
        reference: Reference,
        constant: Sequence[Collection[str]],
    ) -> None:
        self._contract = contract
        self._limits = contract.thresholds
        self._columns = columns
        self._reference = reference
        self._fixed = [
            feature.name
            for feature in contract.features
            if len(constant) > 1 and all(feature.name in names for names in constant)
        ]
        self._moves = dict(self._measure(constant[0] if constant else ()))

    def _measure(self, constant: Collection[str]) -> Iterator[tuple[Feature, Moved]]:
        table = self._reference.table
        for feature in self._contract.features if table is not None else ():
            assert table is not None
            column = self._columns[feature.name]
            kind = pa.float64() if feature.kind == "numeric" else pa.string()
            if feature.name not in table.column_names or table[feature.name].type != kind:
                continue
            if column.rows and table.num_rows:
                before = profile(table[feature.name], feature.kind)
                if feature.name in constant and len(before.column.values) == 1 and feature.name not in self._fixed:
                    self._fixed.append(feature.name)
                yield feature, moved(before, column)

    def drift(self) -> Verdict:
        """Features whose distribution moved further than is allowed and than chance moves it.

        Not looked at are empty ones, of which ``filled`` tells, and such that have one value in every batch, as the
        month of monthly batches: they say which batch it is, and another one is no news.
        """
        seasonal = self._limits.seasonal
        looked = {
            feature: (found, max(self._limits.drift, self._limits.chance * found.chance))
            for feature, found in self._moves.items()
            if found.missing[1] < 1 and feature.name not in self._fixed
        }
        ordered = sorted(looked.items(), key=lambda item: (-item[1][0].index, item[0].name))
        judged = [(f, found, found.index > limit) for f, (found, limit) in ordered if f.name not in seasonal]
        above = [(feature, found) for feature, found, moves in judged if moves]
        largest = judged[0][1].index if judged else 0.0
        most = f" The most did {judged[0][0].name}, by {largest:.3f}." if judged else ""
        sentence = f"No feature moved by more than {self._limits.drift:g} from {self._reference.name}.{most}"
        if above:
            told = _some([f"{feature.name} ({found.index:.3f})" for feature, found in above])
            sentence = (
                f"{len(above)} of {counted(len(judged), 'feature')} moved by more than {self._limits.drift:g} from "
                f"{self._reference.name}: {told}. See how they are distributed now; if that is the season's doing, "
                f"name them as seasonal under checks in {self._contract.file}."
            )
        table = [
            {
                "feature": feature.name,
                "psi": round(found.index, _DIGITS),
                "chance": round(found.chance, _DIGITS),
                "limit": round(limit, _DIGITS),
                "moved": "seasonal" if feature.name in seasonal else "yes" if found.index > limit else "no",
            }
            for feature, (found, limit) in ordered
        ]
        numbers = {"largest_psi": round(largest, _DIGITS), "one_value": self._fixed, "features": table}
        limit = self._limits.drift
        return self._verdict(declared.DRIFT, len(above), len(judged), sentence, threshold=limit, details=numbers)

    def missing(self) -> Verdict:
        """Features of which many more values are missing, and more than chance takes away."""
        grown: list[tuple[Feature, float]] = []
        for feature, found in self._moves.items():
            before, now = found.missing
            if now < 1:  # of an empty one ``filled`` tells
                grown.append((feature, now - before))
        grown.sort(key=lambda item: (-item[1], item[0].name))
        above = [(feature, more) for feature, more in grown if more > self._room(feature)]
        shares = {feature: self._moves[feature].missing for feature, _ in grown}
        sentence = f"No missing share grew by more than {self._limits.missing:.1%} since {self._reference.name}."
        if above:
            told = _some([f"{f.name} in {shares[f][1]:.1%} of the rows ({shares[f][0]:.1%})" for f, _ in above])
            sentence = f"Many more values are missing than in {self._reference.name}: {told}."
        table = [
            {"feature": f.name, "missing": round(shares[f][1], _DIGITS), "before": round(shares[f][0], _DIGITS)}
            for f, _ in grown
            if any(shares[f])
        ]
        numbers = {"largest_growth": round(grown[0][1], _DIGITS) if grown else 0.0, "features": table}
        limit = self._limits.missing
        return self._verdict(declared.MISSING, len(above), len(grown), sentence, threshold=limit, details=numbers)

    def _room(self, feature: Feature) -> float:
        """By how much a missing share may grow: as the contract says, and three standard errors of the difference."""
        before, now = self._moves[feature].missing
        assert self._reference.table is not None
        rows, others = self._columns[feature.name].rows, int(self._reference.table.num_rows)
        both = (before * others + now * rows) / (others + rows)
        return max(self._limits.missing, _SIGMAS * sqrt(both * (1 - both) * (1 / others + 1 / rows)))

    def unseen(self) -> Verdict:
        """Categories that the reference does not have, in more rows than is allowed and than is usual."""
        found = [
            (feature, move, sum(move.new.values()) / self._columns[feature.name].rows)
            for feature, move in self._moves.items()
            if feature.kind == "categorical"
        ]
        found.sort(key=lambda item: (-item[2], item[0].name))
        limit, chance = self._limits.unseen, self._limits.chance
        above = [each for each in found if each[2] > max(limit, chance * each[1].usually_new)]
        sentence = f"No more than {limit:.1%} of the rows have a category that {self._reference.name} does not have."
        if above:
            told = _some(
                [f"{feature.name} in {share:.1%} of the rows ({len(move.new):,} new)" for feature, move, share in above]
            )
            sentence = f"Categories that {self._reference.name} does not have: {told}."
        table = [
            {"feature": feature.name, "rows": sum(move.new.values()), "new": len(move.new), "gone": move.gone}
            for feature, move, _ in found
        ]
        numbers = {"largest_share": round(found[0][2], _DIGITS) if found else 0.0, "features": table}
        examples = [
            f"{feature.name}: {category!r} in {counted(count, 'row')}."
            for feature, move, _ in found
            if not self._hidden(feature)
            for category, count in move.new.items()
        ]
        return self._verdict(
            declared.UNSEEN, len(above), len(found), sentence, threshold=limit, details=numbers, examples=examples
        )

    def _hidden(self, feature: Feature) -> bool:
        """Whether values of the feature may not be shown."""
        uses = {each.name: each.uses for each in self._contract.features}
        known: set[str] = set()
        waiting = [feature.name]
        while waiting:
            name = waiting.pop()
            known.add(name)
            waiting += [each for each in uses.get(name, ()) if each not in known]
        return bool(known & self._contract.sensitive())

    def _verdict(
        self,
        check: Check,
        failed: int,
        n: int,
        sentence: str,
        *,
        threshold: float,
        details: Mapping[str, Any],
        examples: Sequence[str] = (),
    ) -> Verdict:
        reference = self._reference
        shown = {"reference": reference.name, "versions": dict(reference.versions), **details}
        if reference.table is None:
            # A reference that is not there is told once, by the check that people name it for.
            wrong = int(reference.wrong and check is declared.DRIFT)
            return verdict_of(check, wrong, wrong, reference.why, threshold=threshold, details=shown)
        compared = (
            [f"Compared with {name} {version}." for name, version in reference.versions.items()] if failed else []
        )
        return verdict_of(
            check,
            failed,
            n,
            sentence,
            threshold=threshold,
            examples=tuple([*compared[:1], *examples][:_EXAMPLES]),
            details=shown,
        )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"


def _rank(count: int) -> str:
    return "ranks" if count == 1 else "rank"
