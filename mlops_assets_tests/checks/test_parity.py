"""Features that a request would not get are refused before anything is fitted to them."""

from pathlib import Path
from typing import Any

import pytest

from mlops_assets.checks import declared
from mlops_assets_tests.assets.shop import Shop
from mlops_assets_tests.serving.lookback import DAYS, build, deliver, write_lookback

HASTE = "return pages / (minutes + 1) + spent / 1000"


def judged(folder: Path, code: str) -> dict[str, Any]:
    """What the check says of the third day, with other code for the feature ``haste``."""
    dataset = write_lookback(folder / "data")
    features = dataset / "features.py"
    text = features.read_text()
    assert HASTE in text
    features.write_text(text.replace(HASTE, code))
    deliver(dataset, range(3))
    shop = Shop.in_folder(folder)
    with shop.entered():
        build(shop, DAYS[:3], ["raw/visits", "cleaned"])
        outcome = shop.session().run(shop.graph().stages["features"], DAYS[2])
    found = next(verdict for verdict in outcome.verdicts if verdict.check == "parity")
    return {"passed": found.passed, "blocks": found.blocks, "sentence": found.sentence, "details": dict(found.details)}


def test_features_of_their_own_row_and_of_windows(tmp_path: Path) -> None:
    assert judged(tmp_path, HASTE) == {
        "passed": True,
        "blocks": False,
        "sentence": "8 rows that were asked for one by one, as a request does, have the features of the batch.",
        "details": {"rows": 8},
    }


@pytest.mark.parametrize(
    "code", ["return pages.rank()", "return pages - pages.mean()", "return pages.shift(1)", "return spent.cumsum()"]
)
def test_a_function_that_looks_at_other_rows(tmp_path: Path, code: str) -> None:
    found = judged(tmp_path, code)
    assert found["blocks"]
    assert str(found["sentence"]).startswith(
        "Of 8 rows that were asked for one by one, as a request does, the features are others than in the batch: haste"
    )
    assert found["details"].keys() == {"rows", "haste"}


def test_it_is_asked_only_where_serving_computes_something(built: Shop, tmp_path: Path) -> None:
    assert declared.PARITY in declared.checks(built.graph().contract, "features")
    plain = Shop.in_folder(tmp_path)
    deliver(write_lookback(tmp_path / "data"), [0])
    assert declared.PARITY in declared.checks(plain.graph().contract, "features")
    assert declared.PARITY not in declared.checks(plain.graph().contract, "cleaned")
    from mlops_assets_tests.datasets import write_contract

    write_contract(tmp_path / "other")
    other = Shop.at(tmp_path / "home", tmp_path / "other")
    assert declared.PARITY not in declared.checks(other.graph().contract, "features")
    assert "mlops_assets.checks.parity" not in other.graph().stages["features"].auditors
