"""The file of rows that people let in: what it may say, and mistakes by file and line."""

from pathlib import Path

import pytest

from mlops_assets.assets.graph import Graph
from mlops_assets.contract.load import load_contract
from mlops_assets.contract.model import Admission, Contract
from mlops_assets.errors import ContractError
from mlops_assets_tests.datasets import write_contract

GOOD = """\
# what the shops told us
visits:
  - row: {visit: v1}
    reason: "minutes: is above the maximum"
    who: ann@example.org
    why: They stayed overnight.
  - {file: landing/new.csv, line: 12, reason: "visit: the same key with other values", who: bob, why: New.}
"""


def loaded(data: Path, text: str | None, name: str = "admitted.yaml") -> Contract:
    change = {"target: {": f"admitted: {name}\ntarget: {{"}
    folder = write_contract(data, **change)
    if text is not None:
        (folder / "admitted.yaml").write_text(text)
    return load_contract(folder)


def mistakes(data: Path, text: str | None, name: str = "admitted.yaml") -> list[str]:
    with pytest.raises(ContractError) as error:
        loaded(data, text, name)
    return [sentence.removeprefix(str(data / "visits") + "/") for sentence in error.value.sentences]


def test_what_people_said(tmp_path: Path) -> None:
    assert loaded(tmp_path, GOOD).admitted == (
        Admission(
            "visits",
            "minutes: is above the maximum",
            "ann@example.org",
            "They stayed overnight.",
            {"visit": "v1"},
            line=3,
        ),
        Admission("visits", "visit: the same key with other values", "bob", "New.", {}, "landing/new.csv", 12, 7),
    )


@pytest.mark.parametrize("text", ["", "\n", "# nobody yet\n"])
def test_nobody_may_be_let_in(tmp_path: Path, text: str) -> None:
    assert loaded(tmp_path, text).admitted == ()


def test_it_is_part_of_the_recipe_without_showing_a_value(tmp_path: Path) -> None:
    settings = {}
    for name, text in (("none", ""), ("one", GOOD), ("other", GOOD.replace("v1", "v2")), ("moved", "\n" + GOOD)):
        stages = Graph(loaded(tmp_path / name, text)).stages
        settings[name] = {stage: str(stages[stage].settings) for stage in ("quarantine", "cleaned", "splits")}
        assert "v1" not in str(settings[name]["cleaned"])
    assert settings["one"] == settings["moved"]
    for stage in ("quarantine", "cleaned"):
        assert len({settings[name][stage] for name in ("none", "one", "other")}) == 3
    assert len({settings[name]["splits"] for name in settings}) == 1


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("visits:", "visit:", "admitted.yaml:2: There is no source 'visit'; did you mean 'visits'?"),
        (
            "is above the maximum",
            "is above",
            "admitted.yaml:4: Row 1 of 'visits': nothing is refused because 'minutes: is above'",
        ),
        ("who: ann@example.org", "", "admitted.yaml:3: Row 1 of 'visits': 'who' is missing; say who answers for it."),
        ("why: They", "y: They", "admitted.yaml:3: Row 1 of 'visits': 'why' is missing; say why the row is right."),
        (
            "visit: v1",
            "vist: v1",
            "admitted.yaml:3: Row 1 of 'visits': 'visits' has no column 'vist'; did you mean 'visit'?",
        ),
        (
            "visit: v1",
            "shop: north",
            "admitted.yaml:3: Row 1 of 'visits': 'row' should give the whole key; it lacks 'visit'.",
        ),
        (
            "line: 12, ",
            "",
            "admitted.yaml:7: Row 2 of 'visits': 'file' and 'line' go together, as the quarantine shows them.",
        ),
        ("line: 12", "line: x", "admitted.yaml:7: Row 2 of 'visits': 'line' should be a whole number, not 'x'."),
    ],
)
def test_mistakes(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in GOOD
    assert told in "\n".join(mistakes(tmp_path, GOOD.replace(old, new, 1)))


def test_a_file_that_is_not_there_or_elsewhere(tmp_path: Path) -> None:
    assert "'admitted' names 'admitted.yaml', and the folder has no such file." in mistakes(tmp_path / "a", None)[0]
    for name in ("../admitted.yaml", "dataset.yaml", "admitted.csv"):
        assert (
            "it should be a YAML file of its own in the dataset's folder."
            in mistakes(tmp_path / name[:3], GOOD, name)[0]
        )
    assert mistakes(tmp_path / "b", "- visits\n") == ["admitted.yaml:1: The file should hold 'name: value' lines."]
    assert mistakes(tmp_path / "c", "visits: {row: x}\n") == [
        "admitted.yaml:1: 'visits' should be a list, each item with row (or file and line), reason, who, why."
    ]


def test_sensitive_values_are_not_written_down(tmp_path: Path) -> None:
    folder = write_contract(
        tmp_path, **{"target: {": "admitted: admitted.yaml\ntarget: {", 'pattern: "v[0-9]+"': "role: sensitive"}
    )
    (folder / "admitted.yaml").write_text(GOOD)
    with pytest.raises(ContractError) as error:
        load_contract(folder)
    assert error.value.sentences[0].endswith(
        "Row 1 of 'visits': 'visit' is sensitive and its values are written nowhere; give file and line."
    )
