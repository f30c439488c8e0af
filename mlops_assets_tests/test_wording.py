"""How counts are said."""

import pytest

from mlops_assets.wording import counted


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [
        (0, "row", "0 rows"),
        (1, "row", "1 row"),
        (2000, "row", "2,000 rows"),
        (1, "batch", "1 batch"),
        (3, "batch", "3 batches"),
        (2, "file", "2 files"),
    ],
)
def test_a_count_with_its_noun(number: int, noun: str, said: str) -> None:
    assert counted(number, noun) == said
