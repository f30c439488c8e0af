"""What tests of several rooms start from; nothing heavy is imported unless a test asks for it."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mlops_assets_tests.assets.shop import Shop


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> "Shop":
    """Four days with their release, made by the command. To be read only: who changes something takes ``shop``."""
    from mlops_assets_tests.assets.shop import DAYS, FEATURES, GATES, HASTE, Shop
    from mlops_assets_tests.datasets import deliver_days, write_contract

    folder = tmp_path_factory.mktemp("built")
    dataset = write_contract(folder / "data", **GATES, **HASTE)
    (dataset / "features.py").write_text(FEATURES)
    deliver_days(dataset, range(len(DAYS)), rows=100)
    made = Shop.in_folder(folder)
    done = made.called("run", "visits")
    assert done.code == 0, done.text
    (folder / "said.txt").write_text(done.text)
    return made


@pytest.fixture(scope="session")
def visited(tmp_path_factory: pytest.TempPathFactory) -> "Shop":
    """Seven days whose features look back, built. To be read only."""
    from mlops_assets_tests.serving.lookback import made

    return made(tmp_path_factory.mktemp("visited"))


@pytest.fixture
def shop(built: "Shop", tmp_path: Path) -> "Shop":
    """A copy of what was built, to change at will."""
    return built.copy(tmp_path / "shop")
