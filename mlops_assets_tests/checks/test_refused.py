"""Reasons that are new stand out, and so does every row that somebody let in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_assets.checks.batch import audit
from mlops_assets.checks.declared import checks
from mlops_assets.checks.verdict import Verdict
from mlops_assets.contract.model import Admission, Contract
from mlops_assets.stages.clean import clean, quarantine
from mlops_assets_tests.stages.build import BATCH, ROWS, contract, csv_text, sifted, source, with_column

LOW = "price: is below the minimum"
NOWHERE = "shop: is not one of the declared values"
BAD = ("4,2024-01-08,north,-5,1", "5,2024-01-08,nowhere,1,1", "6,2024-01-08,elsewhere,-5,1")


def earlier(*reasons: str, source: str = "sales") -> Mapping[str, Any]:
    return {"rows": len(reasons), "sources": {source: {"reasons": dict.fromkeys(reasons, 1)}}}


def new_reasons(folder: Path, *before: Mapping[str, Any], rules: Contract | None = None) -> Verdict:
    rules = rules or contract()
    made = quarantine(rules, {"sales": sifted(folder, csv_text(*ROWS, *BAD), rules.sources["sales"], rules)})
    found = audit(rules, "quarantine", made, batch=BATCH, earlier=before)
    assert [verdict.check for verdict in found] == ["conservation", "new_reasons"]
    assert not found[1].blocks
    return found[1]


def test_a_reason_never_seen_is_told_with_its_first_row(tmp_path: Path) -> None:
    found = new_reasons(tmp_path, earlier(LOW), earlier(), earlier(NOWHERE, source="others"))
    assert not found.passed
    assert (found.failed, found.n) == (1, 2)
    assert found.sentence == f"Not seen in the 3 batches before: {NOWHERE} (2 of sales)."
    assert found.examples == ("landing/sales_2024-01.csv line 6: shop: 'nowhere' is not one of north, south, west.",)
    assert found.details == {"new": {"sales": {NOWHERE: 2}}}


def test_reasons_that_were_seen_pass(tmp_path: Path) -> None:
    found = new_reasons(tmp_path, earlier(), earlier(LOW), earlier(NOWHERE))
    assert found.passed
    assert found.sentence == "2 reasons for refusing rows, all of them seen in the 3 batches before."


def test_the_first_batches_have_nothing_to_compare_with(tmp_path: Path) -> None:
    found = new_reasons(tmp_path, earlier(), earlier())
    assert found.passed
    assert found.sentence == "2 reasons for refusing rows; too few earlier batches to compare with."


def test_one_row_of_two_new_reasons_is_one_example(tmp_path: Path) -> None:
    rules = contract()
    made = quarantine(rules, {"sales": sifted(tmp_path, csv_text(*ROWS, BAD[2]))})
    found = audit(rules, "quarantine", made, batch=BATCH, earlier=[earlier()] * 3)[1]
    assert found.failed == 2
    assert len(found.examples) == 1


def test_examples_are_of_the_right_source(tmp_path: Path) -> None:
    rules = contract(source(), source(name="returns"))
    accounts = {
        "sales": sifted(tmp_path, csv_text(*ROWS, *BAD), rules=rules),
        "returns": sifted(tmp_path, csv_text("7,2024-01-08,north,x,1"), rules.sources["returns"], rules),
    }
    known = {"rows": 1, "sources": {"sales": {"reasons": {LOW: 1, NOWHERE: 1}}}}
    found = audit(rules, "quarantine", quarantine(rules, accounts), batch=BATCH, earlier=[known] * 3)[1]
    assert found.sentence == "Not seen in the 3 batches before: price: is not a number (1 of returns)."
    assert found.examples == ("landing/sales_2024-01.csv line 2: price: 'x' is not a number.",)


def test_sensitive_values_are_in_no_example(tmp_path: Path) -> None:
    rules = contract(with_column(source(), "shop", roles=frozenset({"sensitive"})))
    found = new_reasons(tmp_path, *[earlier()] * 3, rules=rules)
    assert len(found.examples) == 2
    assert "where" not in f"{found.sentence} {found.examples}"


def test_rows_that_somebody_let_in_are_told(tmp_path: Path) -> None:
    said = (Admission("sales", LOW, "ann@example.org", "A voucher.", {"id": "4"}),)
    rules = contract(admitted=said)
    for rows, sentence, passed in (
        ((*ROWS, *BAD), f"Rows that people let in: 1 of sales despite '{LOW}' (ann@example.org).", False),
        (ROWS, "No row of the batch was let in by name.", True),
    ):
        account = {"sales": sifted(tmp_path, csv_text(*rows), rules=rules)}
        made = clean(rules, {"sales": account["sales"].accepted}, account)
        found = {verdict.check: verdict for verdict in audit(rules, "cleaned", made, batch=BATCH)}["admitted"]
        assert (found.sentence, found.passed, found.blocks) == (sentence, passed, False)
    assert "admitted" not in [check.name for check in checks(contract(), "cleaned")]
