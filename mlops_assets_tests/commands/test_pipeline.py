"""What playing the supplier says when there is nothing to do, or when it will not; how one version is said."""

from pathlib import Path

import pytest

from mlops_assets_tests.assets.shop import DAYS, Shop
from mlops_assets_tests.datasets import write_contract

SUPPLIER = """\
def deliver(landing, through):
    landing.mkdir(exist_ok=True)
    path = landing / "shops.csv"
    if path.exists() and path.read_text() != "shop,size\\n":
        raise FileExistsError(f"{path} is another one.")
    if through == "2024-01-04":
        raise ModuleNotFoundError("The visits come from a package that is not installed.")
    new = not path.exists()
    path.write_text("shop,size\\n")
    return [path] if new else []
"""


@pytest.fixture
def supplied(tmp_path: Path) -> Shop:
    """A dataset whose supplier brings one file, and never writes over another."""
    folder = write_contract(tmp_path / "data", **{"owners: [team:shop]": "supplier: supplier.py"})
    (folder / "supplier.py").write_text(SUPPLIER)
    return Shop.in_folder(tmp_path)


def test_a_delivery_that_brings_nothing_says_so(supplied: Shop) -> None:
    landing = supplied.folder / "landing"
    assert supplied.called("deliver", "visits").text == f"visits: 1 file delivered into {landing}.\n"
    done = supplied.called("deliver", "visits")
    assert (done.code, done.text) == (0, f"visits: nothing to deliver, all of it lies in {landing} already.\n")


def test_what_a_supplier_refuses_is_a_sentence(supplied: Shop) -> None:
    file = supplied.folder / "landing" / "shops.csv"
    file.write_text("mended by hand")
    done = supplied.called("deliver", "visits")
    assert (done.code, done.text) == (1, f"Nothing was delivered. {file} is another one.\n")
    assert file.read_text() == "mended by hand"
    file.unlink()
    done = supplied.called("deliver", "visits", "--through", DAYS[3])
    assert (done.code, done.text) == (
        1,
        "Nothing was delivered. The visits come from a package that is not installed.\n",
    )


def test_a_batch_that_cannot_be_is_not_delivered(supplied: Shop) -> None:
    done = supplied.called("deliver", "visits", "--through", "nonsense")
    assert (done.code, done.text) == (1, "'nonsense' is not a day; write it like 2013-03-09.\n")
    assert not list((supplied.folder / "landing").iterdir())


def test_one_current_version_is_one(built: Shop) -> None:
    said = built.called("run", "visits", "--select", "split_report").text
    assert said.startswith("visits: nothing to do, 1 version is current (")


def test_what_to_type_next_is_of_the_same_branch(shop: Shop) -> None:
    shop.change("maximum: 600", "maximum: 601")
    words = ("run", "visits", "--partition", DAYS[0], "--select")
    said = shop.called(*words, "raw/visits").text.splitlines()[-1]
    assert said.startswith("Next: mlops-assets status visits | mlops-assets dev (")
    assert shop.called("branch", "dev").code == 0
    said = shop.called("--branch", "dev", *words, "cleaned").text.splitlines()[-1]
    assert said == (
        "Next: mlops-assets --branch dev status visits | mlops-assets --branch dev dev (the graph in the Dagster UI) | "
        "mlops-assets --branch dev run visits"
    )
