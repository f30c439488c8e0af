"""Branches that hold a sample: how they start, what is made on them, and that they never mix with whole data."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mlops_assets.assets.graph import Graph
from mlops_assets.assets.plan import Plan
from mlops_assets.assets.sampling import for_branch
from mlops_assets.contract.load import load_contract
from mlops_assets.contract.model import Sample, Split
from mlops_assets.home import Home
from mlops_assets.store.store import Store
from mlops_assets_tests.assets.shop import BATCH, DAYS, NEWEST, RELEASE, Shop
from mlops_assets_tests.datasets import deliver_days, write_contract
from mlops_assets_tests.stages.build import contract

SAMPLE = "automation: {sample: {share: 0.6}}\n"
BRANCH = "sample/pr-1"
ALL = 1 + len(BATCH) * len(DAYS) + len(RELEASE)


def on(shop: Shop, branch: str) -> Shop:
    """The same home and data on another branch, of which nothing is made."""
    return Shop(replace(shop.home, branch=branch), shop.name)


@pytest.fixture
def sampled(shop: Shop) -> Shop:
    """What was built on main, with a contract that names a sample."""
    shop.contract.write_text(shop.contract.read_text() + SAMPLE)
    return on(shop, BRANCH)


# The contract of a branch.


def test_a_sample_is_on_branches_of_that_name_alone() -> None:
    named = contract()
    named = replace(named, automation=replace(named.automation, sample=Sample(0.1, ("shop",))))
    for branch in ("sample", "sample/pr-12", "sample/a/b"):
        assert for_branch(named, branch).sample == Sample(0.1, ("shop",))
    for branch in ("main", "samples", "dev/sample", "sample-1"):
        assert for_branch(for_branch(named, "sample"), branch).sample is None
    assert for_branch(contract(), "sample").sample is None


def test_without_columns_of_its_own_it_goes_by_the_groups_of_the_split_or_the_key() -> None:
    named = replace(contract(), automation=replace(contract().automation, sample=Sample(0.1)))
    assert for_branch(named, "sample").sample == Sample(0.1, ("id",))
    grouped = replace(named, split=Split("hash", group=("shop",)))
    assert for_branch(grouped, "sample").sample == Sample(0.1, ("shop",))
    joined = replace(named, split=Split("hash", group=("shop", "city")))  # city comes by a join
    assert for_branch(joined, "sample").sample == Sample(0.1, ("id",))


def test_no_version_depends_on_a_sample_but_those_of_the_sample(sampled: Shop) -> None:
    text = sampled.contract.read_text()

    def versions(branch: str) -> dict[str, str]:
        plan = Plan(Graph(for_branch(load_contract(sampled.folder), branch)), Store.open(sampled.home.store), branch)
        return {name: plan.code_version(stage) for name, stage in plan.graph.stages.items()}

    on_main, on_sample = versions("main"), versions("sample")
    assert {name for name in on_main if on_main[name] != on_sample[name]} == {"raw/visits"}
    sampled.change("share: 0.6", "share: 0.7")
    assert versions("main") == on_main
    assert versions("sample")["raw/visits"] != on_sample["raw/visits"]
    sampled.change("share: 0.7", "share: 0.6, cron: '0 4 * * *'")
    assert versions("sample") == on_sample  # when it runs changes no value
    sampled.contract.write_text(text.replace(SAMPLE, ""))
    assert versions("main") == on_main


# Work on it.


def test_a_run_starts_the_branch_and_makes_all_of_the_sample(sampled: Shop) -> None:
    main = on(sampled, "main")
    before = main.heads()
    said = sampled.called("run", "visits")
    assert said.code == 0, said.text
    store = Store.open(sampled.home.store)
    assert store.branch(BRANCH).base == {}
    assert sum(len(batches) for batches in sampled.heads().values()) == ALL
    for day in DAYS:
        raw, whole = sampled.manifest("raw/visits", day), main.manifest("raw/visits", day)
        assert raw.rows is not None
        assert 35 < raw.rows < 85
        assert whole.rows == raw.rows + raw.facts["left_out"] == 100
        assert raw.settings["sample"] == {"share": 0.6, "by": ["visit"]}
        assert "sample" not in whole.settings
        kept, quarantine = sampled.manifest("cleaned", day), sampled.manifest("quarantine", day)
        assert (kept.rows or 0) + (quarantine.rows or 0) == raw.rows
        assert all(verdict["passed"] for verdict in quarantine.verdicts)
    # references stay whole
    assert sampled.manifest("raw/shops", "all").version == main.manifest("raw/shops", "all").version
    assert main.heads() == before
    assert main.run().outcomes == []
    assert sampled.run().outcomes == []


def test_what_is_written_for_people_hides_nothing_of_main(sampled: Shop) -> None:
    report = sampled.home.root / "reports" / "visits" / NEWEST / "report.html"
    before = report.read_bytes()
    tracked = (sampled.home.mlflow / "mlflow.db").read_bytes()
    said = sampled.called("run", "visits")
    assert said.code == 0, said.text
    assert report.read_bytes() == before
    assert (sampled.home.reports / "visits" / NEWEST / "report.html").is_file()
    assert (sampled.home.mlflow / "mlflow.db").read_bytes() == tracked  # no experiment, no model


def test_what_another_sample_branch_made_is_used_again(sampled: Shop) -> None:
    first = on(sampled, "sample").called("run", "visits")
    assert first.code == 0, first.text
    sampled.change("max_iter: 5", "max_iter: 6")
    said = sampled.called("run", "visits").text
    # the one report that says the settings, and nothing of a batch
    made = len(RELEASE) - 1  # how the parts compare is the same for any model
    assert said.count("computed visits/") == made
    assert said.count("reused   visits/") == ALL - made


def test_a_bare_dagster_works_on_the_branch_that_env_names(sampled: Shop) -> None:
    said = sampled.called("env").text
    assert f"export MLOPS_ASSETS_BRANCH={BRANCH}" in said
    assert sampled.materialize(["raw/visits", "cleaned", "quarantine"], DAYS[0]).success is False  # no shops yet
    assert sampled.materialize(["raw/shops"]).success
    assert sampled.materialize(["quarantine", "cleaned"], DAYS[0]).success
    assert sampled.manifest("raw/visits", DAYS[0]).settings["sample"]["share"] == 0.6


def test_a_dataset_that_names_no_sample_is_not_run_whole(shop: Shop) -> None:
    said = on(shop, "sample").called("run", "visits")
    assert said.code == 1
    assert said.text == (
        f"{shop.contract}: the branch sample holds samples, and visits says nothing of one. Add it, "
        "such as a twentieth of the rows' groups: automation: {sample: {share: 0.05}}\n"
    )
    assert Store.open(shop.home.store).branches() == ["main"]


def test_of_all_datasets_those_without_a_sample_are_left_out(sampled: Shop) -> None:
    assert sampled.called("env").code == 0  # starts the branch
    write_contract(sampled.home.data, "orders")
    said = sampled.called("status")
    assert said.text.splitlines()[:2] == [
        f"Left out on {BRANCH}, for want of `automation: sample:` in the contract: orders.",
        f"visits on branch {BRANCH}",
    ]
    assert "orders" not in "".join(said.text.splitlines()[1:])
    assert on(sampled, "main").called("status").text.startswith("orders on branch main: nothing was delivered yet.")
    sampled.change(SAMPLE, "")
    said = sampled.called("run")
    assert said.code == 1
    assert "orders says nothing of one" in said.text


def test_a_sampled_contract_is_not_worked_on_main(sampled: Shop) -> None:
    with pytest.raises(ValueError, match="visits is sampled, and the branch main holds whole data"):
        Plan(sampled.graph(), Store.open(sampled.home.store), "main")


def test_a_gate_refuses_on_a_sample_as_on_main(tmp_path: Path) -> None:
    folder = write_contract(tmp_path / "data", **{"minimum: {roc_auc: 0.5}": "minimum: {roc_auc: 0.998}"})
    (folder / "dataset.yaml").write_text((folder / "dataset.yaml").read_text() + SAMPLE)
    deliver_days(folder, range(3), rows=100)
    said = Shop(Home(tmp_path / "home", tmp_path / "data", branch="sample")).called("run", "visits")
    assert said.code == 1
    assert "visits/evaluation_report [2024-01-03] was refused by the check minimum" in said.text


# Never mixed.


@pytest.mark.parametrize(
    "words",
    [
        ("--branch", "main", "merge", BRANCH),
        ("--branch", "sample", "merge", "main"),
        ("--branch", "main", "restore", BRANCH),
        ("--branch", BRANCH, "restore", "main"),
        ("branch", "dev", "--from", BRANCH),
        ("branch", "sample/pr-2", "--from", "main"),
        ("branch", "sample/pr-2", "--from", "whole"),
        ("checkout", "whole", "sample/pr-2"),
    ],
)
def test_whole_data_and_a_sample_do_not_meet(sampled: Shop, words: tuple[str, ...]) -> None:
    main = on(sampled, "main")
    assert main.called("tag", "whole", "visits", "-m", "all").code == 0
    for branch in ("sample", BRANCH):
        assert main.called("branch", branch).code == 0
    assert sampled.called("run", "visits", "--select", "raw/visits").code == 0
    before = main.heads(), sampled.heads()
    said = main.called(*words)
    assert said.code == 1
    assert "(branches called sample or sample/NAME hold samples), and the two never mix; " in said.text
    assert (main.heads(), sampled.heads()) == before
    assert Store.open(main.home.store).branches() == ["main", "sample", BRANCH]


def test_samples_meet_samples(sampled: Shop) -> None:
    assert sampled.called("run", "visits", "--select", "raw/visits").code == 0
    main = on(sampled, "main")
    assert main.called("branch", "sample/pr-2", "--from", BRANCH).text.startswith(
        "Started the branch sample/pr-2 from branch sample/pr-1 ("
    )
    assert on(sampled, "sample/pr-2").heads() == sampled.heads()
    assert main.called("branch", "sample").text.startswith("Started the branch sample empty.\n")
    assert main.called("merge", BRANCH, "--into", "sample").code == 0
    assert on(sampled, "sample").heads() == sampled.heads()


# Branches that start with nothing.


@pytest.fixture
def ask(shop: Shop) -> Callable[..., tuple[int, str]]:
    def called(*words: str) -> tuple[int, str]:
        done = shop.called(*words)
        return done.code, done.text

    return called


def test_any_branch_can_start_with_nothing(shop: Shop, ask: Callable[..., tuple[int, str]]) -> None:
    code, said = ask("branch", "blank", "--empty", "-m", "from scratch")
    assert (code, said.splitlines()[0]) == (0, "Started the branch blank empty.")
    assert on(shop, "blank").heads() == {}
    assert "from scratch" in ask("branches")[1]
    assert ask("--branch", "blank", "log") == (0, "Nothing moved on branch blank yet.\n")


def test_empty_is_said_of_one_new_branch(ask: Callable[..., tuple[int, str]]) -> None:
    assert ask("branch", "--empty")[1].startswith("`branch --empty` starts a branch; say how it is called")
    assert "take one" in ask("branch", "x", "--empty", "--from", "main")[1]
    assert ask("branch", "--delete", "x", "--empty")[1].startswith("`branch --delete` removes one branch")
