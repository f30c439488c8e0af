"""Joined and ordered rows, and the accounts that go with them."""

import json
import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.contract.model import Contract, Join, Source
from mlops_assets.stages.clean import clean, quarantine
from mlops_assets.stages.made import Made
from mlops_assets.stages.sift import QUARANTINE, Sifted, sift
from mlops_assets_tests.stages.build import ROWS, column, contract, csv_text, read, sifted, source, with_column

SHOPS = source(
    column("name", "string", nullable=False),
    column("size", "float64"),
    name="shops",
    key=("name",),
    kind="reference",
    files="shops.csv",
)
JOIN = Join("shops", (("shop", "name"),), {"shop_size": "size"})
SHOPS_CSV = "name,size\nnorth,120\nsouth,80\nwest,\n"


def joined(folder: Path, shops: str = SHOPS_CSV, **more: Any) -> tuple[Contract, dict[str, Sifted]]:
    rules = contract(source(), SHOPS, **({"joins": (JOIN,)} | more))
    return rules, {
        "sales": sifted(folder, csv_text(*ROWS), rules=rules),
        "shops": sift(rules, SHOPS, read(folder, shops, SHOPS, rules).value, "all"),
    }


def cleaned(rules: Contract, accounts: Mapping[str, Sifted]) -> Made:
    return clean(rules, {name: account.accepted for name, account in accounts.items()}, accounts)


def of_sales(folder: Path, text: str, table: Source | None = None) -> Made:
    table = table or source()
    return cleaned(contract(table), {"sales": sifted(folder, text, table)})


def test_joined_columns_follow_the_spine(tmp_path: Path) -> None:
    rules, accounts = joined(tmp_path)
    made = cleaned(rules, accounts)
    assert made.value.column_names == list(rules.cleaned_columns())
    assert made.value.to_pylist()[0] == {
        "id": 1, "day": date(2024, 1, 5), "shop": "north", "price": 1.5, "paid": 2, "shop_size": 120.0,
    }  # fmt: skip
    assert made.facts["rows"] == made.facts["rows_in"] == 3
    assert made.facts["joins"] == [{"source": "shops", "kind": "left", "rows": 3, "matched": 3, "ambiguous": 0}]
    assert made.facts["sources"]["shops"]["raw"] == 3
    json.dumps(made.facts)


def test_a_row_without_a_match_stays(tmp_path: Path) -> None:
    made = cleaned(*joined(tmp_path, "name,size\nnorth,1\n"))
    assert made.value["shop_size"].to_pylist() == [1.0, None, None]
    assert made.facts["joins"][0]["matched"] == 1


def test_a_conflict_in_the_joined_source_meets_nothing(tmp_path: Path) -> None:
    made = cleaned(*joined(tmp_path, SHOPS_CSV + "north,5\n"))
    assert made.value["shop_size"].to_pylist() == [None, 80.0, None]
    assert made.facts["joins"][0]["ambiguous"] == 0
    assert made.facts["sources"]["shops"]["quarantined"] == 2


def test_a_join_that_would_fan_out_does_not(tmp_path: Path) -> None:
    rules, accounts = joined(tmp_path)
    several = replace(accounts["shops"], accepted=accounts["shops"].accepted.take([0, 0, 1]))
    made = cleaned(rules, {**accounts, "shops": several})
    assert made.value["shop_size"].to_pylist() == [None, 80.0, None]
    assert made.facts["joins"][0]["ambiguous"] == 1


@pytest.mark.parametrize("key", [("id",), ("shop", "id"), ()])
def test_the_order_is_by_time_and_key_however_rows_came(tmp_path: Path, key: tuple[str, ...]) -> None:
    rows = [f"{n},2024-01-{n % 3 + 1:02},{('north', 'south')[n % 2]},1,1" for n in range(1, 40)]
    table = replace(source(), key=key)
    sorted_made = of_sales(tmp_path, csv_text(*rows), table)
    random.Random(5).shuffle(rows)
    made = of_sales(tmp_path, csv_text(*rows), table)
    assert made.value.equals(sorted_made.value)
    first = [(row["day"], *(row[name] for name in key or ("id",))) for row in made.value.to_pylist()]
    assert first == sorted(first)


def test_without_a_time_the_key_orders(tmp_path: Path) -> None:
    made = of_sales(tmp_path, csv_text(*reversed(ROWS)), replace(source(), event_time=None))
    assert made.value["id"].to_pylist() == [1, 2, 3]


def test_an_empty_batch(tmp_path: Path) -> None:
    made = of_sales(tmp_path, csv_text())
    assert made.value.num_rows == 0
    assert made.value.column_names == list(source().columns)


def test_the_quarantine_holds_every_source(tmp_path: Path) -> None:
    rules, accounts = joined(tmp_path, SHOPS_CSV + "east,x\n")
    accounts["sales"] = sifted(tmp_path, csv_text(*ROWS, "4,2024-01-08,north"), rules=rules)
    made = quarantine(rules, accounts)
    assert made.value.schema == QUARANTINE
    assert made.value["source"].to_pylist() == ["sales", "shops"]
    assert made.facts["rows"] == 2
    assert made.facts["sources"]["sales"] == dict(accounts["sales"].facts)
    assert made.sentences == (
        "landing/sales_2024-01.csv line 5: the line has 3 fields where the header has 5.",
        "landing/sales_2024-01.csv line 5: size: 'x' is not a number.",
    )
    assert quarantine(rules, {"sales": sifted(tmp_path, csv_text(*ROWS))}).value.equals(QUARANTINE.empty_table())


def test_examples_are_few_and_hide_what_is_sensitive(tmp_path: Path) -> None:
    table = with_column(source(), "shop", roles=frozenset({"sensitive"}))
    made = of_sales(tmp_path, csv_text(*(f"{n},2024-01-05,secret,1,1" for n in range(1, 60))), table)
    assert len(made.sentences) == 20
    assert "secret" not in "".join(made.sentences)
