"""The data tests of a dataset's dbt project as checks of ``cleaned``: their names, and what each found as a verdict.

What belongs here: words and severities. What does not: running tests (``dbtproject``), the checks that every dataset
has (``declared``, ``batch``). Nothing heavy is imported.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from mlops_assets.checks.verdict import Check, Verdict
from mlops_assets.contract.model import Contract
from mlops_assets.dbtproject.shape import Found
from mlops_assets.wording import counted

_WIDTH = 40


def checks(contract: Contract) -> tuple[Check, ...]:
    """One check for each data test, in the project's order; none for a dataset without dbt."""
    if contract.sql is None:
        return ()
    return tuple(Check(test.check, test.severity, test.description) for test in contract.sql.tests)


def verdicts(found: Iterable[Found]) -> list[Verdict]:
    """One verdict for each test. A test of severity error that found too little to block, but something, warns."""
    return [_verdict(each) for each in found]


def _verdict(found: Found) -> Verdict:
    test = found.test
    rows = f"{counted(found.n, 'row')} of {test.about_name}"
    if found.trouble:
        sentence = f"The test {test.name} cannot be computed. {found.trouble}"
    elif test.fail_calc == "count(*)":
        what = f"{found.failures:,} wrong" if found.failures else "nothing wrong"
        sentence = f"The test {test.name} finds {what} in {rows}."
    else:
        sentence = f"The test {test.name} says {test.fail_calc} is {found.failures:,} in {rows}."
    return Verdict(
        test.check,
        found.status == "pass",
        "warn" if found.status == "warn" else test.severity,
        sentence,
        n=found.n,
        failed=found.failures,
        examples=tuple(_told(row) for row in found.rows),
        details={"file": f"{test.file}:{test.line}", "sql": found.test.sql},
    )


def _told(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {'is missing' if value is None else str(value)[:_WIDTH]}" for name, value in row.items())
