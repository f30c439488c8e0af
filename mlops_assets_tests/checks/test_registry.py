"""Every rule has one owner, whichever tool runs it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.checks.registry import (
    Rule,
    refuse_doubles,
    registry,
    rules_of_contract,
    rules_of_dbt,
    rules_of_expectations,
)
from mlops_assets.contract.load import load_contracts
from mlops_assets.errors import ContractError
from mlops_assets_tests.stages.build import column, contract, source

DATA = Path(__file__).parents[2] / "data"

SUITE = """\
{
\t"name": "sales",
\t"expectations": [
\t\t{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "shop"}, "severity": "warning"},
\t\t{"type": "expect_column_values_to_be_between", "kwargs": {"column": "price", "min_value": 0, "max_value": null}},
\t\t{"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "shop", "value_set": ["a"]},
\t\t "meta": {"source": "returns"}},
\t\t{"type": "expect_compound_columns_to_be_unique", "kwargs": {"column_list": ["shop", "day"]}},
\t\t{"type": "expect_column_values_to_match_regex", "kwargs": {"column": "shop", "regex": "[a-z]+",
\t\t "row_condition": "paid > 0", "condition_parser": "pandas"}},
\t\t{"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 10}}
\t]
}
"""

PROPERTIES = """\
version: 2
sources:
  - name: raw
    tables:
      - name: sales
        columns:
          - name: shop
            data_tests: [not_null]
models:
  - name: cleaned
    data_tests:
      - dbt_utils.unique_combination_of_columns:
          arguments: {combination_of_columns: [shop, day]}
    columns:
      - name: price
        tests:
          - dbt_utils.accepted_range: {min_value: 0, max_value: 10}
      - name: shop
        data_tests:
          - not_null
          - accepted_values:
              arguments: {values: [north, south]}
              config: {where: "paid > 0", severity: warn}
          - relationships: {to: ref('shops'), field: name}
      - name: day
"""


def file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def short(rules: Any) -> list[tuple[str, str, str, str]]:
    return [(rule.asset, rule.column, rule.kind, rule.where.rsplit("/", 1)[-1]) for rule in rules]


def test_the_rules_of_a_contract() -> None:
    columns = (
        column("id", "int64", nullable=False, minimum=1, maximum=9, line=11),
        column("shop", "string", values=("a",), pattern="[a-z]", line=12),
    )
    assert short(rules_of_contract(contract(source(*columns, key=("shop", "id"))))) == [
        ("raw/sales", "id", "type", "dataset.yaml:11"),
        ("raw/sales", "id", "not_null", "dataset.yaml:11"),
        ("raw/sales", "id", "minimum", "dataset.yaml:11"),
        ("raw/sales", "id", "maximum", "dataset.yaml:11"),
        ("raw/sales", "shop", "type", "dataset.yaml:12"),
        ("raw/sales", "shop", "values", "dataset.yaml:12"),
        ("raw/sales", "shop", "pattern", "dataset.yaml:12"),
        ("raw/sales", "id, shop", "unique", "dataset.yaml:7"),
    ]


def test_the_rules_of_a_suite(tmp_path: Path) -> None:
    wanted = [
        ("raw/sales", "shop", "not_null", "e.json:4"),
        ("raw/sales", "price", "minimum", "e.json:5"),
        ("raw/returns", "shop", "values", "e.json:6"),
        ("raw/sales", "day, shop", "unique", "e.json:8"),
        ("raw/sales", "shop", "pattern where paid > 0", "e.json:9"),
        ("raw/sales", "*", 'expect_table_row_count_to_be_between {"min_value": "10"}', "e.json:11"),
    ]
    assert short(rules_of_expectations(file(tmp_path, "e.json", SUITE), "sales")) == wanted
    listed = SUITE[SUITE.index("[") : SUITE.rindex("]") + 1]
    for name, text in (("list", listed), ("sources", f'{{"sales": {listed}}}')):
        found = short(rules_of_expectations(file(tmp_path, f"{name}.json", text), "sales"))
        assert [rule[:3] for rule in found] == [rule[:3] for rule in wanted]


def test_the_rules_of_a_dbt_file(tmp_path: Path) -> None:
    assert short(rules_of_dbt(file(tmp_path, "schema.yml", PROPERTIES))) == [
        ("cleaned", "day, shop", "unique", "schema.yml:12"),
        ("cleaned", "price", "minimum", "schema.yml:17"),
        ("cleaned", "price", "maximum", "schema.yml:17"),
        ("cleaned", "shop", "not_null", "schema.yml:20"),
        ("cleaned", "shop", "values where paid > 0", "schema.yml:21"),
        ("cleaned", "shop", 'relationships {"field": "name", "to": "ref(\'shops\')"}', "schema.yml:24"),
        ("raw/sales", "shop", "not_null", "schema.yml:8"),
    ]


def test_the_same_rule_in_two_tools_is_refused_with_both_places(tmp_path: Path) -> None:
    rules = replace(contract(), folder=tmp_path)
    refuse_doubles(registry(rules))
    file(tmp_path, "expectations.json", SUITE)
    file(tmp_path, "dbt/models/schema.yml", PROPERTIES)
    file(tmp_path, "dbt/target/compiled.yml", "not: [yaml")
    with pytest.raises(ContractError) as error:
        refuse_doubles(registry(rules))
    doubles = (
        ("expectations.json:4", "the rule 'not_null' of raw/sales, shop stands here (an expectation)"),
        ("expectations.json:5", "the rule 'minimum' of raw/sales, price stands here (an expectation)"),
        ("dbt/models/schema.yml:8", "the rule 'not_null' of raw/sales, shop stands here (a dbt test)"),
    )
    other = f"and in {tmp_path}/dataset.yaml:0 (the contract); keep it where its fix would be made."
    assert error.value.sentences == tuple(f"{tmp_path}/{place}: {what} {other}" for place, what in doubles)


def test_one_tool_may_warn_inside_what_it_refuses() -> None:
    def rules(kind: str, *tools: Any) -> list[Rule]:
        return [Rule(tool, "raw/s", "x", kind, f"f:{line}") for line, tool in enumerate(tools)]

    refuse_doubles(rules("maximum", "great_expectations", "great_expectations"))
    for doubled in (rules("maximum", "great_expectations", "pandera"), rules("not_null", "dbt", "dbt")):
        with pytest.raises(ContractError, match=r"f:1: the rule .* stands here .* and in f:0"):
            refuse_doubles(doubled)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("e.json", '[\n{"type": ]', "e.json:2: This is not JSON: Expecting value."),
        ("e.json", '{"name": "x"}', "e.json:1: There should be a list of expectations, lists by source, or a suite."),
        ("e.json", '[\n{"kwargs": {}}]', "e.json:2: An expectation needs a 'type'"),
        ("s.yml", "models:\n  - name: [x\n", "s.yml:3: This is not YAML"),
        ("s.yml", "models:\n  - name: m\n    tests: [{a: 1, b: 2}]\n", "s.yml:3: A test is a name, or a name with its"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, text: str, told: str) -> None:
    path = file(tmp_path, name, text)
    with pytest.raises(ContractError) as error:
        list(rules_of_dbt(path) if name.endswith("yml") else rules_of_expectations(path, "sales"))
    assert error.value.sentences[0].startswith(f"{tmp_path}/{told}")


def test_every_dataset_of_the_project_has_one_owner_for_each_rule() -> None:
    contracts = load_contracts(DATA)
    assert contracts
    for rules in contracts.values():
        assert registry(rules)
        refuse_doubles(registry(rules))


def test_no_tool_is_imported() -> None:
    code = (
        "import sys; from mlops_assets.checks import registry; "
        "print([n for n in ('pandera', 'great_expectations', 'dbt', 'pandas', 'pyarrow') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_tests_of_our_own_differ_by_what_they_are_given(tmp_path: Path) -> None:
    text = "models:\n  - name: m\n    tests:\n" + "".join(
        f"      - never: {{name: t{n}, arguments: {{expression: a > {n}}}}}\n" for n in (1, 2, 2)
    )
    rules = list(rules_of_dbt(file(tmp_path, "s.yml", text)))
    refuse_doubles(rules[:2])
    with pytest.raises(ContractError, match=r"s.yml:6: the rule .*never.* and in .*s.yml:5"):
        refuse_doubles(rules)
