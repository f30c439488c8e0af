"""What Great Expectations says of delivered rows, by the real library: counts, rows, and what cannot be judged."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.checks.declared import checks
from mlops_assets.checks.expectations import audit, frame
from mlops_assets.checks.verdict import Verdict
from mlops_assets.contract.expectation_types import TYPES
from mlops_assets.contract.expectations import name_of
from mlops_assets.contract.model import Expectation, Source
from mlops_assets.stages.made import Made
from mlops_assets_tests.stages.build import column, contract, csv_text, read, source, with_column

SHOPS = source(
    column("id", "int64", nullable=False),
    column("day", "date"),
    column("at", "timestamp"),
    column("shop", "string", values=("north", "south")),
    column("price", "float64"),
    column("paid", "int64"),
    column("open", "boolean"),
)
HEADER = "id,day,at,shop,price,paid,open"
ROWS = (
    "1,2024-01-05,2024-01-05T10:00:00,north,1.50,2,true",
    "2,2024-01-06,2024-01-06T10:00:00,south,,0,false",
    "3,2024-01-07,2024-01-07T10:00:00,west,7,1,",
    "4,2024-01-07,,north,x,9007199254740993,true",
    "4,,2024-01-09T10:00:00,,-3,,true",
)
PLACE = "landing/sales_2024-01.csv"


def said(kind: str, severity: Any = "warning", name: str = "", **kwargs: Any) -> Expectation:
    names = [kwargs[key] for key in TYPES[kind].columns]
    columns = tuple(names[0]) if names and isinstance(names[0], list) else tuple(names)
    return Expectation(name or name_of(kind, columns), "sales", kind, columns, kwargs, severity)


def judge(
    folder: Path, *suite: Expectation, rows: Sequence[str] = ROWS, table: Source = SHOPS
) -> Mapping[str, Verdict]:
    """Verdicts by name; they come in the order of the suite, as their checks, and are plain JSON."""
    rules = replace(contract(table), expectations=suite)
    made = read(folder, csv_text(*rows, header=HEADER), table, rules)
    found = audit(rules, table.name, made)
    declared = checks(rules, "raw/sales")[-len(suite) :]
    assert [(each.check, each.severity) for each in found] == [(check.name, check.severity) for check in declared]
    json.dumps([[each.sentence, each.n, each.failed, each.threshold, dict(each.details)] for each in found])
    return {each.check: each for each in found}


def judged(folder: Path, kind: str, severity: Any = "warning", **kwargs: Any) -> Verdict:
    (found,) = judge(folder, said(kind, severity, **kwargs)).values()
    return found


def test_rows_are_counted_and_shown_by_file_and_line(tmp_path: Path) -> None:
    found = judged(tmp_path, "expect_column_values_to_be_in_set", "critical", column="shop", value_set=["north"])
    assert found.blocks
    assert (found.n, found.failed, found.share, found.threshold) == (4, 2, 0.5, 0)
    assert found.sentence == "2 of 4 values of shop (50.00%) are not as expected; none may be otherwise."
    assert found.examples == (f"{PLACE} line 3: shop 'south'.", f"{PLACE} line 4: shop 'west'.")
    assert found.details == {
        "expectation": "expect_column_values_to_be_in_set",
        "severity": "critical",
        "kwargs": {"column": "shop", "value_set": ["north"]},
    }


def test_mostly_lets_a_share_pass_and_shows_it_all_the_same(tmp_path: Path) -> None:
    kind = "expect_column_values_to_not_be_null"
    found = judged(tmp_path, kind, column="shop", mostly=0.8)
    assert (found.passed, found.n, found.failed, found.threshold) == (True, 5, 1, 0.2)
    assert found.sentence == "1 of 5 values of shop (20.00%) is not as expected; up to 20.00% may be otherwise."
    assert found.examples == (f"{PLACE} line 6: shop ''.",)
    assert not judged(tmp_path, kind, column="shop", mostly=0.81).passed
    assert judged(tmp_path, kind, column="id").sentence == "All 5 values of id are as expected."


def test_at_most_twenty_rows_are_shown(tmp_path: Path) -> None:
    rows = [f"{number},2024-01-05,,west,1,1,true" for number in range(30)]
    (found,) = judge(
        tmp_path, said("expect_column_values_to_be_in_set", column="shop", value_set=["north"]), rows=rows
    ).values()
    assert (found.failed, len(found.examples)) == (30, 20)


def test_values_are_of_the_contracts_types_and_the_unreadable_are_missing(tmp_path: Path) -> None:
    found = judge(
        tmp_path,
        said("expect_column_values_to_not_be_null", column="price"),
        said("expect_column_mean_to_be_between", column="price", min_value=0, max_value=2),
        said("expect_column_values_to_be_between", column="day", min_value="2024-01-06", max_value="2024-01-07T00:00"),
        said("expect_column_values_to_be_in_set", column="day", value_set=["2024-01-05", "2024-01-07"]),
        said("expect_column_values_to_be_in_set", column="open", value_set=[True]),
        said("expect_column_max_to_be_between", column="at", max_value="2024-01-09T10:00:00"),
        said("expect_column_values_to_not_be_in_set", column="paid", value_set=[9007199254740993]),
    )
    price, mean, day, days, opened, moment, paid = found.values()
    assert [text.rsplit(": ", 1)[1] for text in price.examples] == ["price ''.", "price 'x'."]
    assert (mean.passed, mean.n, mean.failed, mean.details["observed"]) == (True, 1, 0, pytest.approx(5.5 / 3))
    assert mean.sentence == "The mean of price is 1.83333; at least 0 and at most 2 is expected."
    assert (day.n, day.failed, days.failed) == (4, 1, 1)
    assert (opened.n, opened.failed, opened.examples) == (4, 1, (f"{PLACE} line 3: open 'false'.",))
    assert moment.passed
    assert moment.examples == ("Observed: '2024-01-09T10:00:00'.",)
    assert paid.failed == 1, "a number beyond 2**53 is kept exactly beside a missing one"


def test_a_condition_may_name_any_column(tmp_path: Path) -> None:
    found = judged(
        tmp_path,
        "expect_column_values_to_be_in_set",
        column="shop",
        value_set=["south"],
        row_condition="paid == 2 or price == 7",
        condition_parser="pandas",
    )
    assert (found.n, found.failed) == (2, 2)
    assert found.examples[1] == f"{PLACE} line 4: shop 'west'."


def test_several_columns_are_compared_where_values_are_missing(tmp_path: Path) -> None:
    found = judge(
        tmp_path,
        said("expect_compound_columns_to_be_unique", column_list=["id", "shop"]),
        said(
            "expect_column_pair_values_a_to_be_greater_than_b",
            column_A="price",
            column_B="paid",
            ignore_row_if="either_value_is_missing",
        ),
        said("expect_multicolumn_sum_to_equal", column_list=["id", "paid"], sum_total=3),
        said("expect_select_column_values_to_be_unique_within_record", column_list=["id", "paid"]),
        said("expect_column_values_to_be_unique", column="id"),
    )
    unique, pair, total, within, single = found.values()
    assert unique.passed
    assert (pair.n, pair.failed, pair.examples) == (2, 1, (f"{PLACE} line 2: price '1.50', paid '2'.",))
    assert not total.passed
    assert within.passed
    assert (single.n, single.failed) == (5, 2)


def test_what_a_column_holds_as_a_whole(tmp_path: Path) -> None:
    found = judge(
        tmp_path,
        said("expect_column_distinct_values_to_equal_set", column="shop", value_set=["north", "south", "east"]),
        said("expect_column_unique_value_count_to_be_between", column="shop", min_value=4),
        said("expect_column_median_to_be_between", column="id", strict_min=True, min_value=3, max_value=9),
        said("expect_column_proportion_of_non_null_values_to_be_between", column="shop", max_value=0.5),
        said("expect_table_row_count_to_equal", value=5),
        said("expect_table_row_count_to_be_between", "info", min_value=6),
        said(
            "expect_column_quantile_values_to_be_between",
            column="id",
            quantile_ranges={"quantiles": [0, 1], "value_ranges": [[1, 1], [4, None]]},
        ),
    )
    shops, count, median, share, rows, few, ends = found.values()
    assert shops.sentence == "The distinct values of shop are not as expected."
    assert shops.examples == ("Not expected: 'west'.", "Missing: 'east'.")
    assert count.sentence == "The unique value count of shop is 3; at least 4 is expected."
    assert (count.passed, count.n, count.failed) == (False, 1, 1)
    assert median.sentence == "The median of id is not as expected; above 3 and at most 9 is expected."
    assert median.examples == ("Observed: 3.0.",)
    assert share.details["observed"] == 0.8
    assert rows.passed
    assert (few.passed, few.blocks, few.severity, few.details["severity"]) == (False, False, "warn", "info")
    assert few.sentence == "The row count is 5; at least 6 is expected."
    assert ends.passed


def test_no_value_of_a_source_with_a_sensitive_column_is_shown(tmp_path: Path) -> None:
    table = with_column(SHOPS, "price", roles=frozenset({"sensitive"}))
    suite = (
        said("expect_column_values_to_be_in_set", column="shop", value_set=["north"]),
        said("expect_column_values_to_be_between", column="price", min_value=0),
        said("expect_column_mean_to_be_between", column="price", max_value=1),
        said("expect_column_max_to_be_between", column="paid", max_value=1),
        said("expect_column_values_to_be_between", name="broken", column="paid", min_value=0, row_condition="price >"),
    )
    shop, price, mean, largest, broken = judge(tmp_path, *suite, table=table).values()
    assert shop.examples == (f"{PLACE} line 3: shop.", f"{PLACE} line 4: shop.")
    assert price.examples == (f"{PLACE} line 6: price.",)
    assert (price.n, price.failed) == (3, 1)
    assert mean.sentence == "The mean of price is not as expected."
    assert "observed" not in mean.details
    assert "kwargs" not in mean.details
    assert largest.examples == broken.examples == ()
    assert not broken.passed


@pytest.mark.parametrize(
    ("kind", "kwargs", "words"),
    [
        (
            "expect_column_values_to_be_between",
            {"column": "paid", "min_value": 0, "row_condition": "nothing > 3"},
            "name 'nothing' is not defined",
        ),
        (
            "expect_column_values_to_be_between",
            {"column": "paid", "min_value": 0, "row_condition": "paid >>>"},
            "invalid syntax",
        ),
        ("expect_column_stdev_to_be_between", {"column": "shop", "min_value": 0}, "could not convert string to float"),
        (
            "expect_column_kl_divergence_to_be_less_than",
            {"column": "shop", "threshold": 1, "partition_object": {"weights": "x"}},
            "Invalid partition_object",
        ),
        (
            "expect_column_quantile_values_to_be_between",
            {"column": "paid", "quantile_ranges": {"quantile": [0.5]}},
            "'quantiles'",
        ),
    ],
)
def test_what_raises_has_failed_and_leaves_the_others_alone(tmp_path: Path, kind: str, kwargs: Any, words: str) -> None:
    """Such that get past the reading of the file, and such as it refuses: a verdict in any case."""
    before, after = (said("expect_table_row_count_to_equal", name=name, value=5) for name in ("before", "after"))
    found = dict(judge(tmp_path, before, said(kind, "critical", "broken", **kwargs), after))
    broken = found.pop("broken")
    assert broken.blocks
    assert (broken.n, broken.failed) == (1, 1)
    assert broken.sentence == "Great Expectations could not judge it; the examples say why."
    assert words in broken.examples[0]
    assert all(each.passed for each in found.values())


def test_kwargs_that_the_library_refuses_are_told(tmp_path: Path) -> None:
    found = judge(
        tmp_path,
        said("expect_table_row_count_to_equal", name="fine", value=5),
        said("expect_column_values_to_be_between", name="wrong", column="paid", min_value=0, mostly=3, least=1),
    )
    assert found["fine"].passed
    assert not found["wrong"].passed
    assert found["wrong"].sentence == (
        "Great Expectations does not take its kwargs: mostly: ensure this value is less than or equal to 1.0; "
        "least: extra fields not permitted. Mend it in expectations.json."
    )


def test_a_column_that_is_not_there_is_a_verdict(tmp_path: Path) -> None:
    unique, count = (
        said("expect_column_values_to_be_unique", column="id"),
        said("expect_table_row_count_to_equal", value=5),
    )
    rules = replace(contract(SHOPS), expectations=(unique, count))
    made = read(tmp_path, csv_text(*ROWS, header=HEADER), SHOPS, rules)
    assert list(frame(SHOPS, [unique], made.value)) == ["id"], "no more is looked at than must be"
    lost, fine = audit(rules, "sales", Made(made.value.drop_columns(["id"])))
    assert not lost.passed
    assert lost.examples == ('Error: The column "id" in BatchData does not exist.',)
    assert fine.passed


def test_of_no_rows_only_what_needs_some_has_failed(tmp_path: Path) -> None:
    found = judge(
        tmp_path,
        said("expect_column_values_to_be_in_set", column="shop", value_set=["north"]),
        said("expect_column_mean_to_be_between", column="price", min_value=0),
        said("expect_table_row_count_to_be_between", min_value=1),
        rows=(),
    )
    values, mean, rows = found.values()
    assert (values.passed, values.sentence) == (True, "There is no value of shop to look at.")
    assert (mean.passed, mean.sentence) == (False, "The mean of price is not as expected; at least 0 is expected.")
    assert not rows.passed


def every(kind: str) -> dict[str, Any]:
    """Kwargs with which a type can be asked of the table above."""
    spec = TYPES[kind]
    name = "shop" if spec.of == ("string",) or not spec.of else "price"
    domains: dict[str, dict[str, Any]] = {
        "table": {},
        "column": {"column": name},
        "pair": {"column_A": "id", "column_B": "paid"},
        "list": {"column_list": ["id", "paid"]},
    }
    given: dict[str, Any] = {
        "value_set": ["north"],
        "value": 5,
        "regex": "^n",
        "regex_list": ["^n"],
        "strftime_format": "%Y",
        "json_schema": {"type": "object"},
        "threshold": 2,
        "double_sided": True,
        "quantile_ranges": {"quantiles": [0.5], "value_ranges": [[0, 9]]},
        "partition_object": {"values": ["north", "south", "west"], "weights": [0.5, 0.25, 0.25]},
        "value_pairs_set": [[1, 2], [2, 0]],
        "sum_total": 3,
    }
    bounds = {"min_value": 0, "max_value": 100} if spec.bounded else {}
    return domains[spec.domain] | {key: given[key] for key in spec.needs} | bounds


def test_every_type_can_be_judged(tmp_path: Path) -> None:
    suite = [said(kind, name=f"n{number}", **every(kind)) for number, kind in enumerate(TYPES)]
    found = judge(tmp_path, *suite)
    raised = {each.type for each in suite if "Great Expectations" in found[each.name].sentence}
    assert raised == {"expect_column_values_to_match_json_schema"}, "a text that is no JSON has no schema"


def test_the_library_is_imported_for_a_suite_and_for_nothing_else(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from dataclasses import replace
from mlops_assets_tests.checks.test_expectations import HEADER, ROWS, SHOPS, said
from mlops_assets_tests.stages.build import contract, csv_text, read
from mlops_assets.checks import batch, expectations
rules = contract(SHOPS)
made = read(Path({str(tmp_path)!r}), csv_text(*ROWS, header=HEADER), SHOPS, rules)
batch.audit(rules, "raw/sales", made, batch="2024-01")
before = "great_expectations" in sys.modules
suite = (said("expect_table_row_count_to_equal", value=5),)
expectations.audit(replace(rules, expectations=suite), "sales", made)
print(before, "great_expectations" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["False True"], done.stderr


def test_it_says_nothing_to_anybody(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """No progress bar and no log line gets into what a run prints."""
    judged(tmp_path, "expect_column_values_to_be_unique", column="id")
    assert capfd.readouterr() == ("", "")
