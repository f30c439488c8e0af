"""What a test of dbt found, as a verdict."""

import pytest

from mlops_assets.checks.datatests import verdicts
from mlops_assets.dbtproject.shape import DataTest, Found

TEST = DataTest("paid_is_known", "t", "models/cleaned.yml", "block", "", "r", "cleaned", "select 1", line=7)


def found(severity: str = "block", **more: object) -> Found:
    test = DataTest(**{**{name: getattr(TEST, name) for name in TEST.__dataclass_fields__}, "severity": severity})
    return Found(test, **({"n": 1200, "failures": 0, "status": "pass"} | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("severity", "status", "passed", "verdict"),
    [
        ("block", "pass", True, "block"),
        ("block", "fail", False, "block"),
        ("block", "warn", False, "warn"),  # enough to warn, too little to refuse
        ("warn", "warn", False, "warn"),
    ],
)
def test_severity(severity: str, status: str, *, passed: bool, verdict: str) -> None:
    (told,) = verdicts([found(severity, status=status, failures=0 if passed else 3)])
    assert (told.passed, told.severity, told.blocks) == (passed, verdict, verdict == "block" and not passed)


def test_words_and_details() -> None:
    (told,) = verdicts([found(status="fail", failures=3, rows=({"visit": "v1", "paid": None},))])
    assert told.check == "dbt_paid_is_known"
    assert told.sentence == "The test paid_is_known finds 3 wrong in 1,200 rows of cleaned."
    assert told.examples == ("visit v1, paid is missing",)
    assert (told.n, told.failed) == (1200, 3)
    assert told.details == {"file": "models/cleaned.yml:7", "sql": "select 1"}


def test_what_cannot_be_computed_does_not_pass() -> None:
    (told,) = verdicts([found(status="error", trouble="models/cleaned.yml:7: Conversion Error.")])
    assert told.blocks
    assert told.sentence.endswith("cannot be computed. models/cleaned.yml:7: Conversion Error.")
    (told,) = verdicts([found("warn", status="error", trouble="It is broken.")])
    assert not told.passed
    assert not told.blocks
