"""Who owns which rule: the rules of the contract, of an expectations file and of a dbt project side by side.

What belongs here: reading what rules there are, whichever tool runs them, and refusing one rule in two places. What
does not: running any rule. Files are read as plain YAML and JSON, so none of the tools is imported.

A rule lives where its fix would be made: accept or quarantine a row in the contract (pandera), the supplier's data as a
whole in ``expectations.json`` (Great Expectations), our SQL in dbt's tests. The same rule in two of them is two owners,
and one day two answers.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from mlops_assets.contract.model import Contract
from mlops_assets.contract.rules import rules_of
from mlops_assets.errors import ContractError

Tool = Literal["pandera", "great_expectations", "dbt"]

EXPECTATIONS: Final = "expectations.json"
DBT: Final = "dbt"
WHOLE: Final = "*"
"""The column of a rule about the table as a whole."""

_WIDE = frozenset({"minimum", "maximum"})
"""Kinds of which one tool may have several: a band that warns inside one that refuses."""

_KINDS: Final[Mapping[str, str]] = {
    "not_null": "not_null",
    "unique": "unique",
    "accepted_values": "values",
    "unique_combination_of_columns": "unique",
    "expect_column_values_to_not_be_null": "not_null",
    "expect_column_values_to_be_unique": "unique",
    "expect_compound_columns_to_be_unique": "unique",
    "expect_select_column_values_to_be_unique_within_record": "distinct within a row",
    "expect_column_values_to_be_in_set": "values",
    "expect_column_distinct_values_to_be_in_set": "values",
    "expect_column_values_to_match_regex": "pattern",
    "expect_column_values_to_be_of_type": "type",
    "expect_column_values_to_be_in_type_list": "type",
}
_RANGES = frozenset({"accepted_range", "expect_column_values_to_be_between"})
_CONDITIONS = ("row_condition", "where")
_NO_ARGUMENTS = frozenset(
    {"column", "column_name", "name", "description", "config", "arguments", "meta", "severity", "tags", "test_name"}
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of one tool: ``asset`` is a stage, ``column`` one column, several with commas or ``WHOLE``.

    ``kind`` is the same word for the same question whichever tool asks it; ``where`` is ``file:line``.
    """

    tool: Tool
    asset: str
    column: str
    kind: str
    where: str


def refuse_doubles(rules: Sequence[Rule]) -> None:
    """Nothing, when every rule has one owner.

    Raises:
        ContractError: a rule stands in two places, a sentence for each that names both.
    """
    first: dict[tuple[str, str, str], Rule] = {}
    problems: list[str] = []
    for rule in rules:
        key = (rule.asset, rule.column, rule.kind)
        other = first.setdefault(key, rule)
        if other is rule or (other.tool == rule.tool and rule.kind in _WIDE):
            continue
        subject = rule.asset if rule.column == WHOLE else f"{rule.asset}, {rule.column}"
        problems.append(
            f"{rule.where}: the rule {rule.kind!r} of {subject} stands here ({_NAMES[rule.tool]}) and in {other.where} "
            f"({_NAMES[other.tool]}); keep it where its fix would be made."
        )
    if problems:
        raise ContractError(*problems)


def registry(contract: Contract) -> list[Rule]:
    """Every rule of a dataset's folder: the contract's, and those of its expectations and its dbt project, if any.

    Raises:
        ContractError: a file of rules cannot be read.
    """
    rules = [*rules_of_contract(contract)]
    expectations = contract.folder / EXPECTATIONS
    if expectations.is_file():
        rules += rules_of_expectations(expectations, contract.spine)
    project = contract.folder / DBT
    for file in sorted(each for each in project.rglob("*") if each.suffix in (".yml", ".yaml")):
        inside = file.relative_to(project).parts
        if inside[0] not in ("target", "dbt_packages", "logs") and file.name not in ("dbt_project.yml", "profiles.yml"):
            rules += rules_of_dbt(file)
    return rules


def rules_of_contract(contract: Contract) -> Iterator[Rule]:
    """The row rules and keys of the contract's sources."""
    for source in contract.sources.values():
        asset = f"raw/{source.name}"
        for column in source.columns.values():
            where = f"{contract.file}:{column.line}"
            yield Rule("pandera", asset, column.name, "type", where)
            for rule in rules_of(column):
                yield Rule("pandera", asset, column.name, rule.kind, where)
        if source.key:
            yield Rule("pandera", asset, _several(source.key), "unique", f"{contract.file}:{source.line}")


def rules_of_expectations(file: Path, source: str) -> Iterator[Rule]:
    """The expectations of a list, of lists by source or of a suite; of ``source`` unless their place or ``meta`` says.

    Raises:
        ContractError: the file is no JSON, or an expectation has no type.
    """
    text = _text(file)
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        raise ContractError(f"{file}:{error.lineno}: This is not JSON: {error.msg}.") from None
    # JSON is YAML but for tabs, which stand in no JSON text; YAML knows the lines.
    root = yaml.compose(text.replace("\t", " "), Loader=yaml.SafeLoader)
    whole = _under(root, "expectations")
    lists = [(source, whole if whole is not None else root)]
    if whole is None and isinstance(root, yaml.MappingNode):
        lists = [(str(key.value), node) for key, node in root.value]
    for about, listed in lists:
        if not isinstance(listed, yaml.SequenceNode):
            raise ContractError(f"{file}:1: There should be a list of expectations, lists by source, or a suite.")
        for node in listed.value:
            yield from _expectation(f"{file}:{node.start_mark.line + 1}", _plain(node), about)


def _expectation(where: str, said: Any, source: str) -> Iterator[Rule]:
    name = said.get("type", said.get("expectation_type")) if isinstance(said, dict) else None
    if not isinstance(name, str):
        raise ContractError(f"{where}: An expectation needs a 'type' like expect_column_values_to_not_be_null.")
    about = (said.get("meta") or {}).get("source", source)
    for column, kind in _asked(name, None, said.get("kwargs") or {}):
        yield Rule("great_expectations", f"raw/{about}", column, kind, where)


def rules_of_dbt(file: Path) -> Iterator[Rule]:
    """The data tests of a dbt properties file: of models by their name, of sources as ``raw/<table>``.

    Raises:
        ContractError: the file is no YAML, or a test is neither a name nor a mapping.
    """
    try:
        root = yaml.compose(_text(file), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ContractError(f"{file}:{mark.line + 1 if mark else 1}: This is not YAML: {error.problem}.") from None
    for word in ("models", "seeds", "snapshots"):
        for model in _items(root, word):
            yield from _dbt_tests(file, model, str(_plain(_under(model, "name"))))
    for source in _items(root, "sources"):
        for table in _items(source, "tables"):
            yield from _dbt_tests(file, table, f"raw/{_plain(_under(table, 'name'))}")


def _dbt_tests(file: Path, node: yaml.Node, asset: str) -> Iterator[Rule]:
    for column in (None, *_items(node, "columns")):
        name = None if column is None else str(_plain(_under(column, "name")))
        for word in ("data_tests", "tests"):
            for test in _items(node if column is None else column, word):
                yield from _dbt_test(file, test, asset, name)


def _dbt_test(file: Path, node: yaml.Node, asset: str, column: str | None) -> Iterator[Rule]:
    line, said = node.start_mark.line + 1, _plain(node)
    if isinstance(said, str):
        name, more = said, {}
    elif isinstance(said, dict) and len(said) == 1 and isinstance(more := next(iter(said.values())), dict | None):
        name, more = str(next(iter(said))), dict(more or {})
    elif isinstance(said, dict) and isinstance(said.get("test_name"), str):
        name, more = said["test_name"], said
    else:
        raise ContractError(f"{file}:{line}: A test is a name, or a name with its arguments.")
    arguments = {**more, **(more.get("arguments") or {}), **(more.get("config") or {})}
    for about, kind in _asked(name.rsplit(".", 1)[-1], column, arguments):
        yield Rule("dbt", asset, about, kind, f"{file}:{line}")


def _asked(name: str, column: str | None, arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The column and the kind of each rule that a test or an expectation stands for."""
    several = arguments.get("column_list", arguments.get("combination_of_columns"))
    about = column or arguments.get("column") or arguments.get("column_name")
    subject = _several(several) if isinstance(several, list) else str(about or WHOLE)
    condition = next((f" where {arguments[word]}" for word in _CONDITIONS if arguments.get(word)), "")
    if name in _RANGES:
        for end, kind in (("min_value", "minimum"), ("max_value", "maximum")):
            if arguments.get(end) is not None:
                yield subject, kind + condition
    elif name in _KINDS:
        yield subject, _KINDS[name] + condition
    else:
        # What we have no word for is known by its name and what it is given.
        given = {key: value for key, value in arguments.items() if key not in _NO_ARGUMENTS}
        yield subject, f"{name} {json.dumps(given, sort_keys=True)}" if given else name


def _several(names: Sequence[Any]) -> str:
    return ", ".join(sorted(map(str, names)))


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise ContractError(f"{file}:1: The file is not UTF-8 text; save it as UTF-8.") from None


def _under(node: yaml.Node | None, key: str) -> yaml.Node | None:
    """The node under a key of a mapping, None where there is none."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next((value for name, value in pairs if name.value == key), None)


def _items(node: yaml.Node | None, key: str) -> list[yaml.Node]:
    found = _under(node, key)
    return list(found.value) if isinstance(found, yaml.SequenceNode) else []


def _plain(node: yaml.Node | None) -> Any:
    """A node as plain values."""
    match node:
        case yaml.MappingNode():
            return {str(key.value): _plain(value) for key, value in node.value}
        case yaml.SequenceNode():
            return [_plain(item) for item in node.value]
        case yaml.ScalarNode():
            return None if node.tag.endswith(":null") else str(node.value)
        case _:
            return None


_NAMES: Mapping[Tool, str] = {
    "pandera": "the contract",
    "great_expectations": "an expectation",
    "dbt": "a dbt test",
}
