"""The section ``checks``: what can be said, what is told of the rest."""

from pathlib import Path

import pytest

from mlops_assets.contract.load import load_contract
from mlops_assets.contract.model import Thresholds
from mlops_assets.errors import ContractError
from mlops_assets_tests.datasets import write_contract


def read(tmp_path: Path, text: str) -> Thresholds:
    folder = write_contract(tmp_path)
    contract = folder / "dataset.yaml"
    contract.write_text(contract.read_text() + text)
    return load_contract(folder).thresholds


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "checks: {alone: 0.9, reference: 'tag:spring', drift: 0.1, chance: 3, missing: 0.2, unseen: 0.05, twins: 0.1,\n"
        "         adversarial: 0.8, answers: 0.2, recurring: true, seasonal: [pages]}\n",
    )
    assert found == Thresholds(
        0.9, "tag:spring", 0.1, 3, 0.2, 0.05, 0.1, 0.8, 0.2, recurring=True, seasonal=("pages",), line=found.line
    )


def test_nothing_need_be_said(tmp_path: Path) -> None:
    assert read(tmp_path, "") == Thresholds()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("alone: 0.3", "'alone' should be between 0.5 and 1, not 0.3."),
        ("chance: 0", "'chance' should be between 1 and 1000, not 0."),
        ("missing: 2", "'missing' should be a share between 0 and 1, not 2."),
        ("reference: spring", "'reference' names a batch, or a tag as tag:NAME."),
        ("adverserial: 0.8", "did you mean 'adversarial'?"),
        ("seasonal: [page]", "'seasonal': there is no feature 'page'; did you mean 'pages'?"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, said: str, told: str) -> None:
    with pytest.raises(ContractError) as caught:
        read(tmp_path, f"checks: {{{said}}}\n")
    assert len(caught.value.sentences) == 1
    assert told in caught.value.sentences[0]
    assert "dataset.yaml:" in caught.value.sentences[0]
