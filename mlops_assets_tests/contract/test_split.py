"""The section ``split``: what is told of it, and of a spine whose rows cannot be told apart."""

from pathlib import Path

from mlops_assets_tests.contract.parcels import each_mistake, placed, told_instead

MISTAKES = [
    ("validation: 2", "validation: -1", "Split: 'validation' is a number of batches, not -1."),
    ("validation: 2", "validation: 0.2", "Split: 'validation' should be a whole number, not '0.2'."),
    ("validation: 2", "test: 0.2", "Split: by time the test set is the newest batch; 'test' goes with 'by: hash'."),
    ("by: time, validation: 2, embargo: 1", "by: hash, embargo: 1", "Split: 'embargo' goes with 'by: time'."),
    (
        "by: time, validation: 2, embargo: 1",
        "by: hash, validation: 0.5, test: 0.5",
        "Split: validation 0.5 and test 0.5 leave no rows to test or to train on.",
    ),
    ("embargo: 1", "group: [dpot]", "Split: there is no column 'dpot'; did you mean 'depot'?"),
    (
        "    key: [depot, number]\n",
        "",
        (
            "6: The spine 'parcels' has no 'key'; list the columns that tell two rows apart (all, when nothing "
            "less does). Splits and exact counts stand on it."
        ),
    ),
]


@each_mistake(MISTAKES)
def test_a_mistake(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert placed(old, sentence) in told_instead(tmp_path, old, new)
