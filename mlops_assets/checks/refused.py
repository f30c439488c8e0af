"""Audits of what was refused and of what was let in by name.

What belongs here: pure functions from accounts of sifted rows to verdicts. What does not: the shares that a contract
allows and the conservation of rows (``batch``).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mlops_assets.checks.verdict import Check, Verdict, verdict_of
from mlops_assets.stages.made import Made
from mlops_assets.wording import counted

_ENOUGH = 3
"""A reason is called new when at least so many earlier batches did without it."""


def new_reasons(check: Check, made: Made, earlier: Sequence[Mapping[str, Any]]) -> Verdict:
    """Reasons for which no row of the earlier batches was refused, the first row of each as an example."""
    accounts: Mapping[str, Mapping[str, Any]] = made.facts["sources"]
    reasons = sum(len(account["reasons"]) for account in accounts.values())
    if len(earlier) < _ENOUGH:
        return verdict_of(
            check,
            0,
            reasons,
            f"{counted(reasons, 'reason')} for refusing rows; too few earlier batches to compare with.",
        )
    told: list[str] = []
    rows: dict[int, None] = {}
    counts: dict[str, dict[str, int]] = {}
    begin = 0
    for name, account in accounts.items():
        known = {label for facts in earlier for label in facts["sources"].get(name, {}).get("reasons", ())}
        new = {label: int(count) for label, count in account["reasons"].items() if label not in known}
        told += [f"{label} ({count:,} of {name})" for label, count in new.items()]
        rows |= dict.fromkeys(begin + int(account["first"][label]) for label in new)
        counts |= {name: new} if new else {}
        begin += int(account["quarantined"])
    since = f"in the {len(earlier)} batches before"
    sentence = (
        f"Not seen {since}: {'; '.join(told)}."
        if told
        else f"{counted(reasons, 'reason')} for refusing rows, all of them seen {since}."
    )
    examples = [made.value.slice(row, 1).to_pylist()[0] for row in rows]
    return verdict_of(
        check,
        len(told),
        reasons,
        sentence,
        examples=tuple(
            f"{row['file']} {accounts[row['source']].get('place', 'line')} {row['line']}: {'; '.join(row['reasons'])}."
            for row in examples
        ),
        details={"new": counts},
    )


def admitted(check: Check, made: Made) -> Verdict:
    """Rows that are accepted only because a person let them in by name."""
    accounts: Mapping[str, Mapping[str, Any]] = made.facts["sources"]
    let_in = {name: list(account["admitted"]) for name, account in accounts.items() if account.get("admitted")}
    told = [
        f"{each['rows']:,} of {name} despite '{each['reason']}' ({each['who']})"
        for name, entries in let_in.items()
        for each in entries
    ]
    rows = sum(each["rows"] for entries in let_in.values() for each in entries)
    accepted = sum(int(account["accepted"]) for account in accounts.values())
    sentence = f"Rows that people let in: {'; '.join(told)}." if told else "No row of the batch was let in by name."
    return verdict_of(check, rows, accepted, sentence, details={"admitted": let_in})
