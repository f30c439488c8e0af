"""The section ``partitions``: what is told of it, and of what does not go with it."""

from pathlib import Path

import pytest

from mlops_assets_tests.contract.parcels import each_mistake, placed, told_instead

MISTAKES = [
    (
        "cadence: yearly, ",
        "",
        "Partitions: 'cadence' is missing; one of hourly, daily, weekly, monthly, yearly, named.",
    ),
    ("cadence: yearly", "cadence: yearli", "Partitions: 'cadence' cannot be 'yearli'; did you mean 'yearly'?"),
    ("start: 2013,", "start: 2013-01,", "Partitions: 'start': '2013-01' is not a year; write it like 2013."),
    ("start: 2013, end: 2015", "end: 2015", "Partitions: 'start' is missing; write the first batch's key."),
    ("end: 2015", "end: 2012", "Partitions: the end '2012' is before the start '2013'."),
]


@each_mistake(MISTAKES)
def test_a_mistake(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert placed(old, sentence) in told_instead(tmp_path, old, new)


@pytest.mark.parametrize(
    ("said", "sentences"),
    [
        (
            "",
            [
                (
                    "6: Source 'parcels': the dataset is not partitioned; leave {batch} out of 'files', or say "
                    "'partitions'."
                ),
                "38: Split: batches have no time here; write 'by: hash', or give 'partitions' a cadence of time.",
            ],
        ),
        (
            "partitions: {cadence: named, start: 2013}\n",
            [
                "4: Partitions: 'start' goes with batches of time, not with cadence named.",
                "29: Source 'weather': named batches are told apart by their files; put {batch} into 'files'.",
            ],
        ),
        (
            "partitions: {cadence: monthly, start: 2013-01}\n",
            [
                (
                    "10: Source 'parcels': monthly batches cannot be told from year alone; name the columns of 'year', "
                    "'month'."
                )
            ],
        ),
    ],
    ids=["absent", "named", "monthly"],
)
def test_what_does_not_go_with_the_batches(tmp_path: Path, said: str, sentences: list[str]) -> None:
    found = told_instead(tmp_path, "partitions: {cadence: yearly, start: 2013, end: 2015}\n", said)
    assert {f"dataset.yaml:{sentence}" for sentence in sentences} <= set(found)
