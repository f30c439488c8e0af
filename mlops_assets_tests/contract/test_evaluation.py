"""The sections ``evaluation`` and ``gates``: what is told of them."""

from pathlib import Path

from mlops_assets_tests.contract.parcels import PARCELS, each_mistake, placed, told, told_instead, write

MISTAKES = [
    (
        "threshold: 0.5",
        "threshold: high",
        "Evaluation: 'threshold' should be a probability between 0 and 1, or prevalence.",
    ),
    ("threshold: 0.5", "bootstrap: 0", "Evaluation: 'bootstrap' should be at least 1, not 0."),
    (
        "groups: [service]",
        "groups: [phone]",
        (
            "Evaluation: a report by 'phone' would show its values, and it is sensitive; "
            "use role: excluded for a column that is only kept out of the features."
        ),
    ),
    (
        "groups: [service]",
        "groups: [weight]",
        "Evaluation: 'weight' is a float64; groups are texts, whole numbers or truth values.",
    ),
    (
        "metric: roc_auc",
        "metric: rmse",
        (
            "Gates: 'rmse' is no metric of a binary task; known are 'accuracy', "
            "'average_precision', 'brier', 'f1', 'log_loss', 'roc_auc'."
        ),
    ),
    (
        "minimum: {roc_auc: 0.6}",
        "minimum: {rocauc: 0.6}",
        "Gates, minimum: 'rocauc' is no metric of a binary task; did you mean 'roc_auc'?",
    ),
    (
        "minimum: {roc_auc: 0.6}",
        "minimum: {roc_auc: 0.99}",
        "Gates: the minimum of 'roc_auc' is above its maximum; nothing passes.",
    ),
    ("beat: [prior]", "beat: [deep]", "Gates: 'beat' names 'deep', which is no baseline; known are 'linear', 'prior'."),
]


@each_mistake(MISTAKES)
def test_a_mistake(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert placed(old, sentence) in told_instead(tmp_path, old, new)


def test_a_threshold_is_for_two_classes(tmp_path: Path) -> None:
    text = PARCELS.replace('"hours_late > 2", task: binary', "hours_late, task: regression")
    assert "dataset.yaml:50: Evaluation: 'threshold' goes with binary only, not with regression." in told(
        write(tmp_path / "parcels", text)
    )
