"""The section ``target``: what is told of it."""

from pathlib import Path

from mlops_assets_tests.contract.parcels import CHURN, each_mistake, placed, told, told_instead, write

MISTAKES = [
    (
        "hours_late > 2",
        "hour_late > 2",
        "Target: 'hour_late > 2': there is no column 'hour_late'; did you mean 'hours_late'?",
    ),
    (
        "hours_late > 2",
        "opened > '2013-01-01'",
        (
            "Target: \"opened > '2013-01-01'\": there is no column 'opened'; the source "
            "'depots' has it: add it to the join's columns."
        ),
    ),
    ("hours_late > 2", "hours_late = 2", "Target: 'hours_late = 2' cannot be read; write '==' to compare."),
    (
        "hours_late > 2",
        "hours_late > 'x'",
        ("Target: \"hours_late > 'x'\": 'hours_late' is a number and 'x' is a text; compare like with like."),
    ),
    (
        "hours_late > 2",
        "hours_late + 2",
        "Target: a binary task predicts true or false, and 'hours_late + 2' is a number.",
    ),
    (
        '"hours_late > 2"',
        "hours_late",
        "38: Target: 'positive' is missing; say which value of 'hours_late' is predicted.",
    ),
    (
        "task: binary",
        "task: binary, positive: late",
        "Target: 'hours_late > 2' is true or false; 'positive' cannot be 'late'.",
    ),
    ('"hours_late > 2"', "hours_late, positive: late", "Target: 'positive' is 'late' and 'hours_late' is a number."),
    ("task: binary", "task: regression, positive: late", "Target: 'positive' goes with binary only."),
    ("task: binary", "task: regression", "Target: a regression predicts a number, and 'hours_late > 2' is a boolean."),
    ("task: binary", "task: multiclass", "Target: a multiclass task predicts texts or whole numbers, not a boolean."),
    ("name: late", "name: weight", "Target: 'weight' is a column already; call the target something else."),
    (
        "target: {",
        "targets: {",
        "1: 'target' is missing; write {name: late, expression: \"delay > 15\", task: binary}.",
    ),
]


@each_mistake(MISTAKES)
def test_a_mistake(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert placed(old, sentence) in told_instead(tmp_path, old, new)


def test_the_predicted_class_is_one_of_the_columns_values(tmp_path: Path) -> None:
    text = CHURN.replace("positive: Yes", "positive: yes")
    assert told(write(tmp_path / "churn", text)) == [
        "dataset.yaml:22: Target: 'positive' is 'yes' and 'Churn' is one of 'Yes', 'No'."
    ]
