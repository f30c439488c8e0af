"""Delta tables and DVC as the command offers them."""

import json
from pathlib import Path

import pytest
from deltalake import DeltaTable

from mlops_assets_tests.assets.shop import DAYS, Shop
from mlops_assets_tests.datasets import deliver_days, write_contract


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Two days up to the features, tagged as ``one``."""
    folder = tmp_path_factory.mktemp("doors")
    deliver_days(write_contract(folder / "data"), range(2), rows=20)
    shop = Shop.in_folder(folder)
    done = shop.called("run", "visits", "--from", DAYS[0], "--to", DAYS[1])
    assert done.code == 0, done.text
    assert shop.called("tag", "one", "visits", "-m", "two days").code == 0
    return shop


def test_a_tag_is_published_as_delta_tables(shop: Shop) -> None:
    dry = shop.called("publish", "one", "--dry-run")
    assert dry.code == 0, dry.text
    assert dry.text.endswith("Nothing was written.\n")
    done = shop.called("publish", "one", "--asset", "visits/cleaned", "--json")
    assert done.code == 0, done.text
    found = json.loads(done.text)["visits/cleaned"]
    table = DeltaTable(found["path"], version=found["version"]).to_pyarrow_table()
    assert table.num_rows == 40
    again = shop.called("publish", "one", "--asset", "visits/cleaned")
    assert "visits/cleaned: 0 added, 0 removed, 2 kept: version 0 of " in again.text


def test_an_unknown_tag_or_asset_is_told_of(shop: Shop) -> None:
    done = shop.called("publish", "none")
    assert (done.code, "none" in done.text) == (1, True)
    assert shop.called("publish", "one", "--asset", "visits/other").code == 1


def test_a_state_goes_to_dvc_and_its_files_come_into_another_landing_folder(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "repository").mkdir()
    target, remote = str(tmp_path / "repository"), str(tmp_path / "remote")
    done = shop.called("dvc", "export", "one", target, "--remote", remote, "--asset", "visits/raw/visits")
    assert done.code == 0, done.text
    assert "2 files of tag one" in done.text
    assert "3 objects written" in done.text
    pointer = str(tmp_path / "repository" / "data.dvc")
    brought = shop.called("dvc", "import", pointer, "visits", "--cache", remote)
    assert brought.code == 0, brought.text
    assert (shop.folder / "landing" / "visits" / "raw" / "visits" / f"{DAYS[0]}.parquet").is_file()
    missing = shop.called("dvc", "import", pointer, "visits", "--cache", str(tmp_path / "nowhere"))
    assert missing.code == 1
