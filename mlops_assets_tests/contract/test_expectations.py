"""``expectations.json``: what can be said, every mistake at its line, and that no library is needed to tell."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.assets.graph import Graph
from mlops_assets.assets.staleness import UP_TO_DATE
from mlops_assets.checks import declared
from mlops_assets.contract.expectation_types import CONDITION, TYPES, UNFIT
from mlops_assets.contract.expectations import RESERVED, name_of
from mlops_assets.contract.load import load_contract
from mlops_assets.contract.model import Contract, FileFormat, Sample
from mlops_assets.errors import ContractError
from mlops_assets_tests.datasets import write_contract

BETWEEN = "expect_column_values_to_be_between"
IN_SET = "expect_column_values_to_be_in_set"
QUANTILES = '{"quantiles": [..], "value_ranges": [[low, high], ..]}'
COUNT = "expect_table_row_count_to_be_between"


def said(kind: str, severity: str = "warning", meta: dict[str, Any] | None = None, **kwargs: Any) -> dict[str, Any]:
    """An expectation as Great Expectations writes it."""
    found: dict[str, Any] = {"type": kind, "kwargs": kwargs, "severity": severity}
    return found if meta is None else found | {"meta": meta}


def load(folder: Path, suite: Any, **changes: str) -> Contract:
    """The contract of visits with this suite, each expectation of a list on a line of its own, the first on line 2."""
    dataset = write_contract(folder, **changes)
    if isinstance(suite, list):
        suite = "[\n" + ",\n".join(json.dumps(each) for each in suite) + "\n]\n"
    (dataset / "expectations.json").write_text(suite if isinstance(suite, str) else json.dumps(suite, indent=1))
    return load_contract(dataset)


def told(folder: Path, suite: Any) -> list[str]:
    """What is wrong with a suite, without the name of the file."""
    with pytest.raises(ContractError) as caught:
        load(folder, suite)
    file = f"{folder / 'visits' / 'expectations.json'}:"
    assert all(sentence.startswith(file) for sentence in caught.value.sentences)
    return [sentence.removeprefix(file) for sentence in caught.value.sentences]


def one(folder: Path, kind: str, **kwargs: Any) -> str:
    """The one sentence about an expectation."""
    (sentence,) = told(folder, [said(kind, **kwargs)])
    assert sentence.startswith("2: Expectation 1")
    return sentence.removeprefix("2: Expectation 1")


def names(contract: Contract) -> list[tuple[str, str]]:
    return [(each.source, each.name) for each in contract.expectations]


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    meta = {"name": "known_shops", "description": "A new shop is news.", "owner": "ann", "ticket": [1, {"a": None}]}
    found = load(
        tmp_path,
        [
            said(IN_SET, "critical", meta, column="shop", value_set=["north", "south"], mostly=0.99),
            said(BETWEEN, "info", column="day", min_value="2024-01-01", max_value=None),
            said("expect_compound_columns_to_be_unique", column_list=["visit", "day"]),
            said(COUNT, min_value=10, max_value=1e3) | {"id": "6a", "notes": None, "description": "As ever."},
            said("expect_column_mean_to_be_between", meta={"source": "shops"}, column="size", max_value=300),
        ],
    )
    assert names(found) == [
        ("visits", "known_shops"),
        ("visits", "expect_day_values_to_be_between"),
        ("visits", "expect_visit_day_to_be_unique"),
        ("visits", "expect_table_row_count_to_be_between"),
        ("shops", "expect_size_mean_to_be_between"),
    ]
    first = found.expectations[0]
    assert (first.type, first.severity, first.columns, first.line) == (IN_SET, "critical", ("shop",), 2)
    assert first.kwargs == {"column": "shop", "value_set": ["north", "south"], "mostly": 0.99}
    assert [each.description for each in found.expectations] == [
        "A new shop is news.",
        "day: values to be between (min value: 2024-01-01).",
        "visit, day: to be unique.",
        "As ever.",
        "size: mean to be between (max value: 300).",
    ]
    assert [each.name for each in found.expectations_of("shops")] == ["expect_size_mean_to_be_between"]


def test_a_suite_may_be_a_list_lists_by_source_or_the_librarys_own(tmp_path: Path) -> None:
    count, mean = said(COUNT, min_value=1), said("expect_column_mean_to_be_between", column="size", min_value=1)
    wanted = [("visits", COUNT), ("shops", "expect_size_mean_to_be_between")]
    assert names(load(tmp_path, {"visits": [count], "shops": [mean]})) == wanted
    assert names(load(tmp_path, {"name": "s", "id": "1", "meta": {}, "notes": None, "expectations": [count]})) == [
        ("visits", COUNT)
    ]
    assert load(tmp_path, []).expectations == ()
    assert told(tmp_path, {"shop": [mean]}) == ["2: There is no source 'shop'; did you mean 'shops'?"]
    assert told(tmp_path, '"nothing"') == ["1: The file should hold a list of expectations, or such lists by source."]
    assert told(tmp_path, {"visits": count})[0].startswith("2: Expectations should be a list")
    assert told(tmp_path, ["count"]) == ['2: Expectation 1 should be an object: {"type": .., "kwargs": .., ..}.']
    elsewhere = mean | {"meta": {"source": "shops"}}
    assert told(tmp_path, json.dumps({"visits": [elsewhere]})) == [
        "1: Expectation 1, meta: 'source' is 'shops', and the list is of 'visits'.",
    ]
    assert told(tmp_path, [mean | {"meta": {"source": "shop"}}]) == [
        "2: Expectation 1, meta: there is no source 'shop'; did you mean 'shops'?"
    ]


def test_the_form_of_the_file(tmp_path: Path) -> None:
    assert told(tmp_path, '[\n{"type" "x"}]') == ["2: This is not JSON: expecting ':' delimiter (column 9)."]
    assert told(tmp_path, "") == ["1: This is not JSON: expecting value (column 1)."]
    assert told(tmp_path, '[\n\n{"kwargs": {"mostly": NaN}}]') == ["3: NaN is no JSON; write a number, or null."]
    assert told(tmp_path, "[" * 100_000) == ["1: Nothing here is nested more than 20 deep."]
    assert told(tmp_path, "[" * 30 + "]" * 30)[0] == "1: Nothing here is nested more than 20 deep."
    assert told(tmp_path, f"[{' ' * 1_000_001}]") == ["1: The file has 1,000,003 bytes; it may have at most 1,000,000."]
    double = '[{"type": "expect_table_row_count_to_equal",\n"severity": "info",\n"severity": "critical",\n'
    double += '"kwargs": {"value": 1e999}}]'
    assert told(tmp_path, double) == [
        "3: The key 'severity' stands here twice, first on line 2.",
        "4: 1e999 is too large for a number.",
    ]
    assert told(tmp_path, r'[{"type": "\ud83d", "severity": "info", "kwargs": {}}]')[0] == (
        "1: A text holds half a letter (a lone surrogate); write it out."
    )
    dataset = write_contract(tmp_path)
    (dataset / "expectations.json").write_bytes(b'[\n"\xff"]')
    with pytest.raises(ContractError, match=r"expectations.json:2: The file is not UTF-8 text"):
        load_contract(dataset)
    # A mark of byte order, tabs, and brackets, colons and quotes in a text are no trouble.
    tricky = said(IN_SET, meta={"note": 'a, "b" [c] {d}: \\ \n\té😀'}, column="shop", value_set=["{", "]", ":"])
    (dataset / "expectations.json").write_bytes(b"\xef\xbb\xbf" + json.dumps([tricky], indent="\t").encode())
    assert load_contract(dataset).expectations[0].kwargs["value_set"] == ["{", "]", ":"]


def test_every_mistake_of_a_suite_is_told_at_once(tmp_path: Path) -> None:
    suite = [
        said("expect_column_values_to_be_betwen", column="pages", min_value=1),
        said("expect_column_values_to_match_like_pattern", column="shop", like_pattern="n%"),
        said(IN_SET, "error", column="shop", value_set=["north"]),
        {"type": COUNT, "kwargs": {"min_value": 3}},
        said(IN_SET, column="shopp", value_set=["north"]),
        said(BETWEEN, meta={"nme": "x"}, column="pages", min_val=3),
        said(COUNT, min_value=2) | {"sevrity": "info"},
        said(COUNT, max_value=9, meta={"name": "volume"}),
        said(COUNT, max_value=9, meta={"name": "no way"}),
        {"type": COUNT, "kwargs": [1], "severity": "info"},
    ]
    assert told(tmp_path, suite) == [
        (f"2: Expectation 1: there is no type 'expect_column_values_to_be_betwen'; did you mean {BETWEEN!r}?"),
        (
            "3: Expectation 2: 'expect_column_values_to_match_like_pattern' asks an SQL database, and delivered rows "
            "are a table in memory; use expect_column_values_to_match_regex or "
            "expect_column_values_to_not_match_regex."
        ),
        "4: Expectation 3: 'severity' cannot be 'error'; known are 'critical', 'info', 'warning'.",
        "5: Expectation 4: 'severity' is missing; write critical (it blocks), warning or info.",
        "6: Expectation 5, kwargs: 'visits' has no column 'shopp'; did you mean 'shop'?",
        "7: Expectation 6, kwargs: 'min_value' or 'max_value' is missing; nothing is expected without.",
        "7: Expectation 6, kwargs: unknown key 'min_val'; did you mean 'min_value'?",
        "7: Expectation 6, meta: unknown key 'nme'; did you mean 'name'?",
        (
            f"8: Expectation 7: {COUNT!r} is also what the expectation on line 5 is called; "
            "give one of them a name in 'meta'."
        ),
        "8: Expectation 7: unknown key 'sevrity'; did you mean 'severity'?",
        "9: Expectation 8: 'volume' is a check that every raw source has; give another name in 'meta'.",
        "10: Expectation 9: the name 'no way' should be letters, digits and _ only; give another in 'meta'.",
        "11: Expectation 10: 'kwargs' should be an object.",
    ]


@pytest.mark.parametrize(
    ("kind", "kwargs", "sentence"),
    [
        (BETWEEN, {"min_value": 1}, ": 'kwargs' lacks 'column'."),
        (IN_SET, {"column": "shop"}, ": 'kwargs' lacks 'value_set'."),
        (IN_SET, {"column": "shop", "value_set": []}, ", kwargs: 'value_set' should be a list with something in it."),
        (IN_SET, {"column": "shop", "value_set": [1]}, ", kwargs: 'value_set' holds 1, which no string can be."),
        (IN_SET, {"column": "pages", "value_set": ["1"]}, ", kwargs: 'value_set' holds '1', which no int64 can be."),
        (IN_SET, {"column": "day", "value_set": ["x"]}, ", kwargs: 'value_set' holds 'x', which no date can be."),
        (
            IN_SET,
            {"column": "shop", "value_set": ["north"], "mostly": 1.5},
            ", kwargs: 'mostly' should be a share above 0 and at most 1.",
        ),
        (
            IN_SET,
            {"column": "shop", "value_set": ["north"], "mostly": 0},
            ", kwargs: 'mostly' should be a share above 0 and at most 1.",
        ),
        (BETWEEN, {"column": "pages", "min_value": "1"}, ", kwargs: 'min_value' should be a number."),
        (BETWEEN, {"column": "pages", "min_value": True}, ", kwargs: 'min_value' should be a number."),
        (
            BETWEEN,
            {"column": "pages", "min_value": {"$PARAMETER": "x"}},
            ", kwargs: 'min_value' names a suite parameter; write the value itself.",
        ),
        (
            BETWEEN,
            {"column": "day", "min_value": 20240101},
            ", kwargs: 'min_value' should be a date or time as ISO text without a zone, like \"2013-03-09\".",
        ),
        (
            BETWEEN,
            {"column": "day", "min_value": "2024-02-01", "max_value": "2024-01-01"},
            ", kwargs: 'min_value' '2024-02-01' is above 'max_value' '2024-01-01'; nothing is as expected.",
        ),
        (
            BETWEEN,
            {"column": "shop", "min_value": 1},
            ", kwargs: 'shop' is a string; this is asked of int64 or float64 or date or timestamp.",
        ),
        (
            "expect_column_mean_to_be_between",
            {"column": "day", "min_value": 1},
            ", kwargs: 'day' is a date; this is asked of int64 or float64.",
        ),
        (
            "expect_column_values_to_match_regex",
            {"column": "shop", "regex": "("},
            ", kwargs: 'regex' is no regular expression: missing ), unterminated subpattern at position 0.",
        ),
        (
            "expect_column_values_to_match_regex_list",
            {"column": "shop", "regex_list": ["a", 3]},
            ", kwargs: 'regex_list' should be a text.",
        ),
        (
            "expect_compound_columns_to_be_unique",
            {"column_list": ["visit"]},
            ", kwargs: 'column_list' should be a list of at least two columns.",
        ),
        (
            "expect_compound_columns_to_be_unique",
            {"column_list": ["visit", "dy"]},
            ", kwargs: 'visits' has no column 'dy'; did you mean 'day'?",
        ),
        (
            "expect_compound_columns_to_be_unique",
            {"column_list": ["visit", "day"], "ignore_row_if": "neither"},
            ", kwargs: 'ignore_row_if' should be one of 'all_values_are_missing', 'any_value_is_missing', 'never'.",
        ),
        (
            "expect_column_quantile_values_to_be_between",
            {"column": "pages", "quantile_ranges": {"quantiles": [0.5], "value_ranges": []}},
            f", kwargs: 'quantile_ranges' should be {QUANTILES} with as many of each.",
        ),
        (
            "expect_column_quantile_values_to_be_between",
            {"column": "pages", "quantile_ranges": {"quantiles": [5], "value_ranges": [[0, 1]]}},
            ", kwargs: 'quantile_ranges' has a quantile that is not between 0 and 1.",
        ),
        (
            "expect_column_kl_divergence_to_be_less_than",
            {"column": "shop", "threshold": 0.1, "partition_object": {"values": ["a"], "weights": [0.5, 0.5]}},
            ", kwargs: 'partition_object' should have a weight for each value, or for each of the spaces between bins.",
        ),
        (
            BETWEEN,
            {"column": "pages", "min_value": 1, "strict_min": "yes"},
            ", kwargs: 'strict_min' should be true or false.",
        ),
        (
            BETWEEN,
            {"column": "pages", "min_value": 1, "row_condition": "pages > 2", "condition_parser": "spark"},
            ", kwargs: 'condition_parser' should be one of 'pandas'.",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_asked(tmp_path: Path, kind: str, kwargs: dict[str, Any], sentence: str) -> None:
    assert one(tmp_path, kind, **kwargs) == sentence


def test_names_follow_from_type_and_columns() -> None:
    assert name_of(IN_SET, ["emp.var rate"]) == "expect_emp_var_rate_values_to_be_in_set"
    assert name_of("expect_column_pair_values_to_be_equal", ["a", "b"]) == "expect_a_b_values_to_be_equal"
    assert name_of("expect_multicolumn_sum_to_equal", ["a", "b"]) == "expect_a_b_sum_to_equal"
    assert name_of(COUNT, []) == COUNT


def test_checks_follow_and_rules_not_settings(tmp_path: Path) -> None:
    """An edit of the suite changes what judges, and never what is computed."""

    def stages(suite: Sequence[Any]) -> Any:
        graph = Graph(load(tmp_path, list(suite)))
        return graph.stages["raw/visits"], graph.stages

    bare, _ = stages([])
    raw, others = stages([said(COUNT, "critical", min_value=1), said(COUNT, "info", {"name": "few"}, max_value=9)])
    more, _ = stages([said(COUNT, "critical", min_value=2), said(COUNT, "info", {"name": "few"}, max_value=9)])
    again, _ = stages([said(COUNT, "critical", {"description": "As ever."}, min_value=1),
                       said(COUNT, "info", {"name": "few"}, max_value=9)])  # fmt: skip
    assert [(check.name, check.severity) for check in raw.checks[len(bare.checks) :]] == [
        (COUNT, "block"),
        ("few", "warn"),
    ]
    assert raw.settings == bare.settings == more.settings
    assert bare.rules != raw.rules != more.rules
    assert again.rules == raw.rules, "words change no verdict"
    assert bare.auditors == ("mlops_assets.checks.batch",) == others["raw/shops"].auditors
    assert "mlops_assets.checks.expectations" in raw.auditors


def test_nothing_is_expected_of_a_sample(tmp_path: Path) -> None:
    whole = load(tmp_path, [said(COUNT, min_value=1), said(COUNT, meta={"source": "shops"}, min_value=1)])
    part = replace(whole, sample=Sample(0.1, ("visit",)))
    assert len(whole.expectations_of("visits")) == 1
    assert part.expectations_of("visits") == ()
    assert len(part.expectations_of("shops")) == 1


def test_the_reserved_names_are_those_of_the_checks(tmp_path: Path) -> None:
    contract = load(tmp_path, [])
    visits = replace(contract.sources["visits"], format=FileFormat("parquet"))
    parquet = replace(contract, sources={**contract.sources, "visits": visits})
    names = {check.name for one in (contract, parquet) for check in declared.own(one, "raw/visits")}
    assert names | {UP_TO_DATE.name} == RESERVED


def test_the_types_are_those_of_the_library() -> None:
    """In a process of its own: what the library's import leaves behind is no other test's business."""
    code = """
import json
import great_expectations
from great_expectations.expectations import registry
silent = {"id", "meta", "notes", "result_format", "description", "catch_exceptions", "rendered_content", "windows",
          "batch_id", "severity", "library_metadata"}
found = {}
for name in registry.list_registered_expectation_implementations():
    fields = registry.get_expectation_impl(name).__fields__
    found[name] = {field: model.required for field, model in fields.items() if field not in silent}
print(json.dumps(found))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    known: dict[str, dict[str, bool]] = json.loads(done.stdout.splitlines()[-1])
    assert known.keys() == TYPES.keys() | UNFIT.keys()
    assert not TYPES.keys() & UNFIT.keys()
    for name, kind in TYPES.items():
        assert set(kind.kwargs) == known[name].keys() | set(CONDITION), name
        required = {field for field, needed in known[name].items() if needed}
        assert required <= {*kind.columns, *kind.needs}, name
        assert kind.rows == ("mostly" in known[name]), name


def test_loading_imports_neither_the_library_nor_pandas(tmp_path: Path) -> None:
    load(tmp_path, [said(COUNT, min_value=1)])
    code = (
        "import sys; from pathlib import Path; from mlops_assets.contract.load import load_contracts; "
        "from mlops_assets.definitions import build_definitions; from mlops_assets.home import Home; "
        f"home = Home(Path({str(tmp_path / 'home')!r}), Path({str(tmp_path)!r})); build_definitions(home); "
        f"assert load_contracts(home.data)['visits'].expectations; "
        "print([name for name in ('great_expectations', 'pandas', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
