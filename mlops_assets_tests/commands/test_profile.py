"""``mlops-assets profile``: what is printed, what is written, and that nothing of anybody's is written over."""

import json
import re
from pathlib import Path

import pytest

from mlops_assets.contract.load import load_contract
from mlops_assets_tests.assets.shop import Shop
from mlops_assets_tests.datasets import deliver_days, write_contract


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Delivered days without a contract."""
    dataset = write_contract(tmp_path / "data")
    deliver_days(dataset, range(4))
    (dataset / "dataset.yaml").unlink()
    return Shop.in_folder(tmp_path)


def test_from_files_to_a_dataset_in_two_steps(shop: Shop) -> None:
    shown = shop.called("profile", "visits")
    assert shown.code == 0
    assert shown.text.startswith("# A draft from 5 files with 243 rows, which nobody has checked.\n")
    assert "Read it, mend it, and `mlops-assets profile visits` drafts what to expect" in shown.text
    assert not shop.contract.exists()

    done = shop.called("profile", "visits", "--write")
    assert f"Written: {shop.contract}" in done.text
    assert shop.contract.read_text() in shown.text
    assert load_contract(shop.folder).sources.keys() == {"visits", "shops"}

    listed = shop.called("profile", "visits", "--source", "visits")
    drafts = json.loads(listed.text[: listed.text.rindex("]") + 1])
    assert {each["type"] for each in drafts} >= {"expect_table_row_count_to_be_between"}
    assert f"{len(drafts)} expectations, which everything delivered so far meets." in listed.text
    assert not (shop.folder / "expectations.json").exists()
    assert shop.called("profile", "visits", "--write").code == 0
    assert len(load_contract(shop.folder).expectations) == len(drafts)
    assert not Path(shop.home.store).exists(), "nothing is taken in by looking"


def test_a_folder_elsewhere_is_named_by_its_path(shop: Shop, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "visits"
    elsewhere.parent.mkdir()
    shop.folder.rename(elsewhere)
    assert shop.called("profile", str(elsewhere), "--write").code == 0
    assert (elsewhere / "dataset.yaml").is_file()
    assert json.loads(re.split(r"\n\d+ expectations", shop.called("profile", str(elsewhere)).text)[0])


def test_nothing_is_written_over(shop: Shop) -> None:
    shop.called("profile", "visits", "--write")
    (shop.folder / "expectations.json").write_text("[]")
    refused = shop.called("profile", "visits", "--write")
    assert refused.code == 1
    assert "expectations.json is there already and is not written over; leave --write out" in refused.text
    assert (shop.folder / "expectations.json").read_text() == "[]"


def test_what_cannot_be_asked(shop: Shop) -> None:
    assert "There is no dataset 'visit' in" in shop.called("profile", "visit").text
    lone = shop.called("profile", "visits", "--source", "visits")
    assert (lone.code, "it has no sources yet; leave --source out" in lone.text) == (1, True)
    shop.called("profile", "visits", "--write")
    unknown = shop.called("profile", "visits", "--source", "visit")
    assert (unknown.code, "there is no source 'visit'; did you mean 'visits'?" in unknown.text) == (1, True)


def test_a_draft_that_cannot_be_a_contract_says_why(shop: Shop) -> None:
    renamed = shop.folder.with_name("my visits")
    shop.folder.rename(renamed)
    shown = shop.called("profile", "my visits")
    assert shown.code == 0
    assert "dataset is called as its folder: a letter, then letters, digits or _, not 'my visits'." in shown.text
    assert "Mend that, then `mlops-assets profile my visits` drafts" in shown.text


def test_files_that_cannot_be_read_are_a_sentence(shop: Shop) -> None:
    shop.called("profile", "visits", "--write")
    shop.landing("2024-01-02").write_text("<html></html>")
    broken = shop.called("profile", "visits")
    assert broken.code == 1
    assert "visits_2024-01-02.csv is an HTML or XML page, not csv" in broken.text
