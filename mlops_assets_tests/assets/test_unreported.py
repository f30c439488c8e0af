"""Notes of what Dagster was not told yet; no Dagster."""

from pathlib import Path

from mlops_assets.assets.unreported import all_marked, mark, mark_everything, marked, unmark
from mlops_assets.store.store import Store
from mlops_assets_tests.assets.shop import Shop


def test_marks_of_what_dagster_does_not_know(tmp_path: Path) -> None:
    home = Shop.in_folder(tmp_path).home
    asset, batch = "visits/raw/visits", "köln/süd"
    assert marked(home, "main", asset, batch) is None
    mark(home, "main", asset, batch, "again")
    assert marked(home, "main", asset, batch) == "again"
    mark(home, "main", asset, batch)
    mark(home, "main", asset, batch, "again")
    assert marked(home, "main", asset, batch) == "news"  # until it was told
    assert marked(home, "experiment", asset, batch) is None
    unmark(home, "main", asset, batch)
    unmark(home, "main", asset, batch)
    assert marked(home, "main", asset, batch) is None


def test_everything_that_a_branch_shows_is_marked_for_a_new_home(tmp_path: Path) -> None:
    home = Shop.in_folder(tmp_path).home
    store = Store.open(home.store)
    for batch in ("köln/süd", "b"):
        store.commit("main", "visits/cleaned", batch, "json", 1)
    mark_everything(home, store)
    assert all_marked(home, "main", "visits/cleaned") == {"köln/süd": "news", "b": "news"}
    unmark(home, "main", "visits/cleaned", "b")
    assert all_marked(home, "main", "visits/cleaned") == {"köln/süd": "news"}
    assert all_marked(home, "main", "visits/raw") == {}
