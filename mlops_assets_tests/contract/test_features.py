"""The section ``features`` and ``features.py``: what can be said, and what is told of the rest."""

from pathlib import Path

import pytest

from mlops_assets.contract.load import load_contract
from mlops_assets_tests.contract.parcels import CHURN, FEATURES, each_mistake, placed, told, told_instead, write

MISTAKES = [
    (
        "[weight, hour, rush]",
        "[wieght, hour, rush]",
        "Features: 'wieght' is no column and no function of features.py; did you mean 'weight'?",
    ),
    ("[weight, hour, rush]", "[weight, hour, rush, weight]", "Features: 'weight' is listed twice."),
    (
        "[weight, hour, rush]",
        "[hours_late, hour, rush]",
        "Features: 'hours_late' is what the target 'late' is made from; it cannot be a feature.",
    ),
    ("    - service", "    - phone", "Features: 'phone' is sensitive; it cannot be a feature."),
    (
        "    - service",
        "    - sent",
        "Features: 'sent' is a timestamp and cannot be categorical; compute something from it in features.py.",
    ),
    ("  numeric: [weight", "  number: [weight", "Features: unknown key 'number'; did you mean 'numeric'?"),
    ("[weight, hour, rush]", "[{weight: 1}, hour, rush]", "Features: 'numeric' should be a text, not a mapping."),
    (
        "[weight, hour, rush]",
        "[target, hour, rush]",
        "Features: 'target' is a name of the feature table's own; rename it.",
    ),
    (
        "features:\n  numeric: [weight, hour, rush]\n  categorical:\n    - service\n    - city\n",
        "",
        "1: There is no feature; list them: features: {numeric: [..], categorical: [..]}.",
    ),
]


def test_features_may_be_columns_with_that_role(tmp_path: Path) -> None:
    text = CHURN.replace("features:\n  numeric: [SeniorCitizen, tenure, MonthlyCharges, TotalCharges]\n", "").replace(
        "  categorical: [gender, Partner, InternetService, Contract, PaymentMethod]\n", ""
    )
    text = text.replace("minimum: 0, description", "minimum: 0, role: feature, description")
    text = text.replace("PaymentMethod: string", "PaymentMethod: {type: string, role: feature}")
    contract = load_contract(write(tmp_path / "churn", text))
    assert [(f.name, f.kind) for f in contract.features] == [("tenure", "numeric"), ("PaymentMethod", "categorical")]


@each_mistake(MISTAKES)
def test_a_mistake(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert placed(old, sentence) in told_instead(tmp_path, old, new)


@pytest.mark.parametrize(
    ("code", "sentences"),
    [
        (
            "def hour(sent, hours_late):\n    pass\n\n\ndef rush(hour):\n    pass\n",
            ["features.py:1: 'hour' uses 'hours_late', which is what the target 'late' is made from."],
        ),
        (
            "def hour(phone):\n    pass\n\n\ndef rush(hour):\n    pass\n",
            ["features.py:1: 'hour' uses 'phone', which is sensitive."],
        ),
        (
            "def rush(hour):\n    pass\n\n\ndef hour(rush):\n    pass\n",
            ["features.py:5: 'hour' uses the feature 'rush', which dataset.yaml lists later; list 'rush' first."],
        ),
        (
            "def hour(sentt):\n    pass\n\n\ndef rush(opened):\n    pass\n",
            [
                "features.py:1: 'hour' takes 'sentt', which is no column and no feature; did you mean 'sent'?",
                (
                    "features.py:5: 'rush' takes 'opened', which is no column and no feature; the source "
                    "'depots' has it: add it to "
                    "the join's columns."
                ),
            ],
        ),
        (
            "def hour(**columns):\n    pass\n\n\ndef rush():\n    pass\n",
            [
                "features.py:1: 'hour' takes *args or **kwargs; name each column that it needs as a parameter.",
                "features.py:1: 'hour' takes no column; name the ones that it needs as parameters.",
                "features.py:5: 'rush' takes no column; name the ones that it needs as parameters.",
            ],
        ),
        (
            "def hour(sent):\n    pass\n\n\ndef hour(sent):\n    pass\n\n\ndef rush(hour):\n    pass\n",
            ["features.py:5: The function 'hour' is defined twice, first on line 1."],
        ),
        (
            FEATURES + "\n\ndef weight(sent):\n    pass\n",
            ["dataset.yaml:41: Features: 'weight' is a column and a function of features.py; rename the function."],
        ),
        ("def hour(sent:\n", ["features.py:1: This is not Python: '(' was never closed."]),
        (
            "def hour(sent):\n    return '\0'\n",
            ["features.py:1: This is not Python: source code string cannot contain null bytes."],
        ),
    ],
)
def test_mistakes_in_features(tmp_path: Path, code: str, sentences: list[str]) -> None:
    found = told(write(tmp_path / "parcels", features=code))
    assert [sentence for sentence in found if sentence in sentences] == sentences
