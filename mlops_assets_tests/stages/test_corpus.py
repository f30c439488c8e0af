"""Every damaged delivery of the corpus: what becomes of it, what is said, and that no record is lost or changed."""

from pathlib import Path

import pytest

from mlops_assets_tests.stages.corpus.account import FILE_REFUSED, TAKEN, Case, run, table_lines, unaccounted
from mlops_assets_tests.stages.corpus.every import CASES


def _name(case: Case) -> str:
    return f"{case.family}: {case.name}".replace("/", " ")


@pytest.mark.parametrize("case", CASES, ids=_name)
def test_what_becomes_of_a_delivery(case: Case, tmp_path: Path) -> None:
    outcome = run(case, tmp_path)
    said = "\n".join(outcome.sentences)
    assert (outcome.verdict, outcome.rows) == (case.verdict, case.rows), said
    for words in case.words:
        assert words in said
    for words in case.never:
        assert words not in said
    assert unaccounted(case, outcome) == []
    if outcome.verdict != FILE_REFUSED:
        assert outcome.blank == case.blank


def test_the_corpus_is_a_table(tmp_path: Path) -> None:
    lines = list(table_lines(CASES, tmp_path))
    assert len(CASES) >= 60
    assert len(lines) == len(CASES) + 2
    assert len({_name(case) for case in CASES}) == len(CASES)
    assert all(said.strip() or f"| {TAKEN} |" in line for line in lines[2:] for said in [line.split(" | ")[3]])
