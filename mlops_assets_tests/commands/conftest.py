"""What tests of the commands start from."""

from pathlib import Path

import pytest

from mlops_assets.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home in which nothing is made yet."""
    return Home(tmp_path / "home", tmp_path / "data")
