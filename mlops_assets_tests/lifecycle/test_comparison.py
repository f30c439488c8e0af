"""What is found out about two releases, from what is recorded of them."""

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.assets.code import git_state
from mlops_assets.lifecycle.comparison import Code, Comparison, compare
from mlops_assets.store.refs import view
from mlops_assets.store.store import Store
from mlops_assets_tests.assets.shop import DAYS, FEATURES, NEWEST, Shop

CALM = '''

def calm(minutes):
    """Minutes beyond ten."""
    return (minutes - 10).clip(lower=0)
'''


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=ann", "-c", "user.email=ann@example.org")
    git_state.cache_clear()  # a process of its own works on one commit
    return subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def commit(shop: Shop) -> str:
    git(shop.folder.parent, "add", "--all")
    git(shop.folder.parent, "commit", "--quiet", "--message", "a change")
    return git(shop.folder.parent, "rev-parse", "HEAD")


@pytest.fixture(scope="module")
def changed(built: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The branch ``dev``, on which one feature more was made by a later commit, with more trees; ``main`` before it."""
    shop = built.copy(tmp_path_factory.mktemp("changed"))
    git(shop.folder.parent, "init", "--quiet")
    (shop.folder.parent / ".gitignore").write_text("landing/\n")
    # made anew under the first commit, so that it is recorded with the features
    features = shop.folder / "features.py"
    features.write_text(FEATURES.replace("(minutes + 1)", "(minutes + 2)"))
    commit(shop)
    assert not shop.run().failed
    assert shop.called("branch", "dev").code == 0
    shop.change("size, haste]", "size, haste, calm]")
    shop.change("max_iter: 5", "max_iter: 8")
    features.write_text(features.read_text() + CALM)
    (shop.folder.parent / "notes.md").write_text("No stage depends on this.\n")
    commit(shop)
    dev = Shop(replace(shop.home, branch="dev"))
    assert not dev.run().failed
    yield dev
    git_state.cache_clear()


def compared(
    shop: Shop, before: str = "main", after: str = "dev", release: str | None = None, **more: Any
) -> Comparison:
    store = Store.open(shop.home.store)
    old, new = (view(store, ref, shop.home.branch) for ref in (before, after))
    return compare(store, old, new, "visits", release, **more)


def test_metrics_stand_beside_the_bases_interval(changed: Shop) -> None:
    found = compared(changed, plan=changed.plan())
    assert (found.before.release, found.after.release) == (NEWEST, NEWEST)
    assert (found.before.state, found.after.state) == ("published", "published")
    assert [item.metric for item in found.metrics][:2] == ["roc_auc", "average_precision"]
    store = Store.open(changed.home.store)
    for side, branch in ((found.before, "main"), (found.after, "dev")):
        head = store.head(branch, "visits/evaluation_report", NEWEST)
        assert head
        assert side.report == store.get(store.manifest(head.asset, NEWEST, head.manifest))
    item = found.primary
    assert item
    assert found.before.report
    span = next(m for m in found.before.report["models"] if m["name"] == "boosted_trees")["metrics"]["roc_auc"]
    assert {"value": item.before, "low": item.low, "high": item.high} == span
    assert item.after != item.before


def test_what_was_made_differently(changed: Shop) -> None:
    found = compared(changed, plan=changed.plan())
    (data,) = found.data
    assert (data.stage, data.batches, data.added) == ("features", DAYS, ("calm",))
    assert (data.removed, data.altered, data.rows) == ((), (), (400, 400))
    assert found.code == (Code("features", ("visits/features.py",), uncommitted=False),)
    assert {(item.path, item.change) for item in found.settings} == {
        ("features[name=calm]", "added"),
        ("models[kind=boosted_trees].settings.max_iter", "changed"),
    }
    assert found.environment is None


def test_without_the_contract_code_is_told_by_stages(changed: Shop) -> None:
    assert compared(changed).code == (Code("features", (), uncommitted=False),)


def test_a_release_against_itself(changed: Shop) -> None:
    found = compared(changed, "dev", "dev", plan=changed.plan())
    assert {item.verdict for item in found.metrics} == {"same"}
    assert (found.data, found.code, found.settings) == ((), (), ())


def test_a_base_without_that_release_shows_its_newest(changed: Shop) -> None:
    said = changed.called("run", "visits", "--release", DAYS[2])
    assert said.code == 0, said.text
    found = compared(changed, release=None, before="dev", after="main")
    assert found.before.release == NEWEST
    asked = compared(changed, release=DAYS[2])
    assert (asked.before.state, asked.before.report, asked.after.release) == ("none", None, DAYS[2])
    assert {item.verdict for item in asked.metrics} == {"unknown"}
    assert asked.data == ()


# ---- what no head shows


@pytest.fixture
def dev(changed: Shop, tmp_path: Path) -> Shop:
    git_state.cache_clear()
    copy = changed.copy(tmp_path / "copy")
    return Shop(replace(copy.home, branch="dev"))


def test_a_refused_report_is_compared_and_not_the_good_one_before_it(dev: Shop) -> None:
    dev.change("max_iter: 8", "max_iter: 9")
    dev.change("minimum: {roc_auc: 0.5}", "minimum: {roc_auc: 0.99}")
    assert dev.run().failed
    found = compared(dev, plan=dev.plan())
    assert found.after.state == "refused"
    assert found.after.sentences[0].startswith(
        f"visits/evaluation_report [{NEWEST}] was refused by the check minimum: ROC AUC 0."
    )
    assert ("models[kind=boosted_trees].settings.max_iter", 5, 9) in {
        (item.path, item.before, item.after) for item in found.settings if item.change == "changed"
    }
    assert compared(dev).after.state == "published"  # all that heads say


def test_a_report_of_other_code_is_not_taken_for_that_of_this_one(dev: Shop) -> None:
    dev.change("max_iter: 8", "max_iter: 9")
    found = compared(dev, plan=dev.plan())
    assert (found.after.state, bool(found.metrics)) == ("outdated", True)
    assert found.after.sentences == (
        f"visits/candidate_model [{NEWEST}] is not what its code, settings and inputs would make now.",
    )


def test_what_stands_on_a_last_good_version_says_so(dev: Shop) -> None:
    landing = dev.landing(DAYS[0])
    landing.write_text(landing.read_text()[:100])
    assert dev.run().failed
    found = compared(dev, plan=dev.plan())
    assert found.after.state == "published"
    assert "a newer one was refused: visits/raw/visits [2024-01-01] was refused by the" in found.after.sentences[0]


def test_nothing_made_yet(dev: Shop) -> None:
    assert dev.called("branch", "blank", "--empty").code == 0
    blank = Shop(replace(dev.home, branch="blank"))
    found = compared(blank, "main", "blank", plan=blank.plan())
    assert (found.after.state, found.after.release, found.metrics) == ("none", NEWEST, ())
    assert f"visits/raw/visits [{DAYS[0]}] is not up to date: it was never made." in found.after.sentences[0]


# ---- code


def test_changes_that_were_not_committed_are_told(dev: Shop) -> None:
    features = dev.folder / "features.py"
    features.write_text(features.read_text().replace("minutes - 10", "minutes - 20"))
    assert not dev.run().failed
    assert compared(dev, plan=dev.plan()).code == (Code("features", ("visits/features.py",), uncommitted=True),)


def test_commits_that_git_does_not_know(dev: Shop) -> None:
    git(dev.folder.parent, "checkout", "--quiet", "--orphan", "other")
    commit(dev)
    git(dev.folder.parent, "reflog", "expire", "--expire=now", "--all")
    for branch in git(dev.folder.parent, "branch", "--format=%(refname:short)").split():
        if branch != "other":
            git(dev.folder.parent, "branch", "--quiet", "-D", branch)
    git(dev.folder.parent, "gc", "--quiet", "--prune=now")
    assert compared(dev, plan=dev.plan()).code == (Code("features", (), uncommitted=False),)
