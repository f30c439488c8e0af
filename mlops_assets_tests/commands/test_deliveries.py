"""The ledger as the command shows it."""

import json
from pathlib import Path

import pytest

from mlops_assets_tests.assets.shop import DAYS, Shop, edited
from mlops_assets_tests.datasets import deliver_days, write_contract


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Two days, of which the first came again with one more row."""
    folder = tmp_path_factory.mktemp("deliveries")
    deliver_days(write_contract(folder / "data"), range(2), rows=3)
    shop = Shop.in_folder(folder)
    assert shop.called("run", "visits", "--select", "raw/visits").code == 0
    edited(shop.landing(DAYS[0]), lambda lines: [*lines, lines[-1].replace(lines[-1].split(",")[0], "v99", 1)])
    done = shop.called("run", "visits", "--select", "raw/visits")
    assert "landing/visits_2024-01-01.csv holds other bytes than before (delivery 1, now 4)." in done.text
    return shop


def test_deliveries_stand_in_the_order_in_which_they_came(shop: Shop) -> None:
    lines = shop.called("deliveries", "visits").text.splitlines()
    assert [line.split()[-1] for line in lines] == [
        "landing/visits_2024-01-01.csv",
        "landing/visits_2024-01-02.csv",
        "landing/shops.csv",
        "landing/visits_2024-01-01.csv",
    ]
    found = json.loads(shop.called("deliveries", "visits", "--json").text)
    assert [entry["seq"] for entry in found] == [1, 2, 3, 4]
    assert found[3]["blob"]["sha256"] != found[0]["blob"]["sha256"]


def test_the_files_as_they_were_can_be_had_again(shop: Shop, tmp_path: Path) -> None:
    done = shop.called("deliveries", "visits", "--as-of", "3", "--to", str(tmp_path / "then"))
    assert done.code == 0, done.text
    assert "3 files written to" in done.text
    then = (tmp_path / "then" / "landing" / "visits_2024-01-01.csv").read_bytes()
    now = shop.landing(DAYS[0]).read_bytes()
    assert now.startswith(then)
    assert len(now) > len(then)
    again = shop.called("deliveries", "visits", "--to", str(tmp_path / "then"))
    assert again.code == 1
    assert "exists; name an empty folder, nothing of yours is written over" in again.text
    shop.called("deliveries", "visits", "--to", str(tmp_path / "now"))
    assert (tmp_path / "now" / "landing" / "visits_2024-01-01.csv").read_bytes() == now
    assert shop.called("deliveries", "visits", "--as-of", "2000-01-01", "--json").text.strip() == "[]"
    early = shop.called("deliveries", "visits", "--as-of", "2000-01-01", "--to", str(tmp_path / "before"))
    assert early.code == 1
    assert "Nothing had come by then: landing/visits_2024-01-01.csv came first, delivery 1 of 2" in early.text
    assert not (tmp_path / "before").exists()


def test_an_unknown_dataset_is_told_of(shop: Shop) -> None:
    done = shop.called("deliveries", "other")
    assert (done.code, done.text) == (1, "Nothing was delivered for 'other' yet; there are deliveries for: visits.\n")
