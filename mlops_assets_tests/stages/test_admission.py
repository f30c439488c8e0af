"""A row that a person let in by name is accepted despite that reason, and nothing else is."""

import json
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.contract.model import Admission, Contract
from mlops_assets.stages.sift import Sifted
from mlops_assets_tests.stages.build import ROWS, contract, csv_text, sifted, source

LOW = "price: is below the minimum"
NOWHERE = "shop: is not one of the declared values"
SAME = "id: the same key with other values"
FILE = "landing/sales_2024-01.csv"


def said(reason: str, *, who: str = "ann@example.org", **where: Any) -> Admission:
    return Admission("sales", reason, who, "The shop confirmed it.", **where)


def let_in(folder: Path, *rows: str, admitted: tuple[Admission, ...]) -> Sifted:
    rules: Contract = contract(admitted=admitted)
    return sifted(folder, csv_text(*rows), source(), rules)


def ids(found: Sifted) -> list[int]:
    accepted: list[int] = found.accepted["id"].to_pylist()
    return accepted


BAD = ("4,2024-01-08,north,-5,1", "5,2024-01-08,north,-5,1", "6,2024-01-08,nowhere,-5,1")


@pytest.mark.parametrize(
    "where", [{"row": {"id": "4"}}, {"file": FILE, "row_line": 5}, {"row": {"id": "4", "price": "-5"}}]
)
def test_a_row_by_its_key_or_its_line(tmp_path: Path, where: dict[str, Any]) -> None:
    found = let_in(tmp_path, *ROWS, *BAD, admitted=(said(LOW, **where),))
    assert ids(found) == [1, 2, 3, 4]
    assert found.accepted["price"].to_pylist()[-1] == -5
    assert found.quarantined["line"].to_pylist() == [6, 7]
    assert found.facts["admitted"] == [{"reason": LOW, "who": "ann@example.org", "rows": 1}]
    assert found.facts["reasons"] == {LOW: 2, NOWHERE: 1}
    assert found.facts["raw"] == found.facts["accepted"] + found.facts["quarantined"]
    json.dumps(found.facts)


@pytest.mark.parametrize(
    "admission",
    [
        said(LOW, row={"id": "4", "price": "-6"}),
        said(LOW, file="landing/other.csv", row_line=5),
        said(LOW, row={"id": "04"}),
        said(NOWHERE, row={"id": "4"}),
        Admission("shops", LOW, "ann@example.org", "", row={"id": "4"}),
    ],
)
def test_another_row_another_text_or_another_reason_lets_nobody_in(tmp_path: Path, admission: Admission) -> None:
    found = let_in(tmp_path, *ROWS, *BAD, admitted=(admission,))
    assert ids(found) == [1, 2, 3]
    assert not found.facts.get("admitted")


def test_every_reason_must_be_overruled(tmp_path: Path) -> None:
    one = let_in(tmp_path, *BAD, admitted=(said(LOW, row={"id": "6"}),))
    assert ids(one) == []
    assert one.quarantined["reasons"].to_pylist()[2] == ["shop: 'nowhere' is not one of north, south, west"]
    both = let_in(tmp_path, *BAD, admitted=(said(LOW, row={"id": "6"}), said(NOWHERE, row={"id": "6"}, who="bob")))
    assert ids(both) == [6]
    assert both.facts["admitted"] == [
        {"reason": LOW, "who": "ann@example.org", "rows": 1},
        {"reason": NOWHERE, "who": "bob", "rows": 1},
    ]


TWINS = ("1,2024-01-05,north,1,1", "2,2024-01-06,south,5,1", "2,2024-01-06,south,6,1", "2,2024-01-06,south,7,1")


def test_of_rows_that_share_a_key_one_may_be_let_in(tmp_path: Path) -> None:
    found = let_in(tmp_path, *TWINS, admitted=(said(SAME, row={"id": "2", "price": "6"}),))
    assert found.accepted["price"].to_pylist() == [1.0, 6.0]
    assert found.quarantined["line"].to_pylist() == [3, 5]
    assert found.facts["admitted"] == [{"reason": SAME, "who": "ann@example.org", "rows": 1}]


def test_two_rows_of_one_key_never_both_come_in(tmp_path: Path) -> None:
    found = let_in(tmp_path, *TWINS, admitted=(said(SAME, row={"id": "2"}),))
    assert ids(found) == [1]
    assert found.facts["admitted"] == []
    assert found.facts["quarantined"] == 3


def test_a_value_that_cannot_be_read_stays_out(tmp_path: Path) -> None:
    found = let_in(tmp_path, "4,2024-01-08,north,x,1", admitted=(said("price: is not a number", row={"id": "4"}),))
    assert ids(found) == []


def test_who_lets_a_row_in_changes_nothing_for_the_others(tmp_path: Path) -> None:
    without = let_in(tmp_path, *ROWS, *BAD, admitted=())
    assert "admitted" not in without.facts
    found = let_in(tmp_path, *ROWS, *BAD, admitted=(said(LOW, row={"id": "9"}),))
    assert found.accepted.equals(without.accepted)
    assert found.quarantined.equals(without.quarantined)
