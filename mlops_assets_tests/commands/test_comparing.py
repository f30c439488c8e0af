"""diff --markdown as people type it."""

import re
from dataclasses import replace

import pytest

from mlops_assets_tests.assets.shop import DAYS, GATES, NEWEST, Shop
from mlops_assets_tests.datasets import deliver_days, write_contract

TABLE = "| metric | base | now | difference | base, 95 % | verdict |"


@pytest.fixture(scope="module")
def tried(built: Shop, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """``built`` with the tag ``v1``, and the branch ``dev`` on which there are more trees. To be read only."""
    shop = built.copy(tmp_path_factory.mktemp("tried"))
    assert shop.called("tag", "v1", "visits", "-m", "first").code == 0
    assert shop.called("branch", "dev").code == 0
    shop.change("max_iter: 5", "max_iter: 8")
    dev = Shop(replace(shop.home, branch="dev"))
    said = dev.called("run", "visits")
    assert said.code == 0, said.text
    return dev


def told(shop: Shop, *words: str, code: int = 0) -> str:
    said = shop.called("diff", *words, "--markdown")
    assert said.code == code, said.text
    return said.text


def test_between_branches(tried: Shop) -> None:
    said = told(tried, "main")
    assert re.match(r"\*\*visits 2024-01-04: ROC AUC 0\.\d{3} → 0\.\d{3} \([+-]0\.\d{3}\), (\w+ ?)+\.\*\*\n", said)
    assert "`branch main` (boosted trees, 100 test rows) → `branch dev` (boosted trees, 100 test rows)" in said
    assert TABLE in said
    assert said.endswith(
        "- Data: the same\n- Code: the same\n"
        "- Settings: `models[kind=boosted_trees].settings.max_iter`: `5` → `8`\n- Environment: the same\n"
    )
    assert told(tried, "main", "dev", "--asset", "visits/evaluation_report") == said
    assert told(tried, "main", ".", "--asset", "visits", "--partition", NEWEST) == said
    assert told(tried, "v1").replace("tag v1", "branch main") == said
    assert told(tried, f"visits/evaluation_report[{NEWEST}]@main").splitlines()[4:] == said.splitlines()[4:]


def test_between_runs(tried: Shop) -> None:
    runs = [
        tried.called("--branch", name, "show", f"visits/evaluation_report[{NEWEST}]").text for name in ("main", "dev")
    ]
    first, second = (re.findall(r"run (\S+)", said)[0] for said in runs)
    said = told(tried, f"run:{first}", f"run:{second}")
    assert said.splitlines()[4:] == told(tried, "main").splitlines()[4:]


def test_each_dataset_has_a_comparison_of_its_own(tried: Shop) -> None:
    shop = tried.copy(tried.home.root.parent.parent / "two", "dev")
    deliver_days(write_contract(shop.home.data, "more", **GATES), range(3), rows=80)
    said = shop.called("run", "more")
    assert said.code == 0, said.text
    text = told(shop, "main")
    assert text.count(TABLE) == 2
    assert text.startswith("**more 2024-01-03: ROC AUC 0.")
    assert "`branch main` shows no evaluation report to compare with.**" in text.splitlines()[0]
    assert "\n\n**visits 2024-01-04: ROC AUC" in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("main", "--rows"), "--markdown compares releases, not rows; ask for rows without it.\n"),
        (("main", "--out", "x.csv"), "--markdown compares releases, not rows; ask for rows without it.\n"),
        (
            ("main", "--partition", DAYS[0], "--partition", DAYS[1]),
            "--markdown compares one release: name one --partition, or none for the newest.\n",
        ),
        (
            ("main", "--asset", "visits/cleaned"),
            "--markdown compares releases: name the dataset visits, not visits/cleaned.\n",
        ),
        (
            ("main", "--asset", "visit"),
            "Neither branch main nor branch dev shows anything of 'visit'; there is: visits.\n",
        ),
    ],
)  # fmt: skip
def test_asked_wrongly(tried: Shop, words: tuple[str, ...], sentence: str) -> None:
    assert told(tried, *words, code=1) == sentence


def test_one_form_at_a_time(tried: Shop) -> None:
    with pytest.raises(SystemExit):
        tried.called("diff", "main", "--markdown", "--json")


def test_nothing_to_compare(tried: Shop) -> None:
    shop = tried.copy(tried.home.root.parent.parent / "blank", "dev")
    for name in ("a", "b"):
        assert shop.called("branch", name, "--empty").code == 0
    assert told(shop, "a", "b", code=1) == "Neither branch a nor branch b shows anything; run one of them first.\n"
    said = told(shop, "a", "main")
    assert said.startswith(f"**visits {NEWEST}: ROC AUC 0.")
    assert told(shop, "main", "a") == "**visits: nothing to compare, `branch a` has no evaluation report.**\n"
