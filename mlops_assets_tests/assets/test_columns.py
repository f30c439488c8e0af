"""What people see of a stage's columns, and where their values come from."""

from pathlib import Path

from mlops_assets.assets.columns import column_schema, columns_of, lineage, origins_of
from mlops_assets.assets.graph import Graph
from mlops_assets.contract.load import load_contract
from mlops_assets_tests.datasets import write_contract


def graph(tmp_path: Path, **more: str) -> Graph:
    return Graph(load_contract(write_contract(tmp_path, **more)))


def origins(found: Graph, stage: str) -> dict[str, tuple[tuple[str, str], ...]]:
    return dict(origins_of(found.contract, found.stages[stage]))


def test_cleaned_columns_come_from_the_spine_and_from_what_is_joined(tmp_path: Path) -> None:
    found = origins(graph(tmp_path), "cleaned")
    assert found["minutes"] == (("raw/visits", "minutes"),)
    assert found["size"] == (("raw/shops", "size"),)


def test_features_come_from_the_columns_that_their_functions_use_however_far_above(tmp_path: Path) -> None:
    folder = write_contract(tmp_path, **{"[minutes, pages, size]": "[minutes, pages, size, pace, twice]"})
    (folder / "features.py").write_text(
        "def pace(minutes, pages):\n    return pages / minutes\n\n\ndef twice(pace, size):\n    return pace * size\n"
    )
    found = origins(Graph(load_contract(folder)), "features")
    assert found["minutes"] == (("cleaned", "minutes"),)
    assert found["pace"] == (("cleaned", "minutes"), ("cleaned", "pages"))
    assert found["twice"] == (("cleaned", "minutes"), ("cleaned", "pages"), ("cleaned", "size"))


def test_nothing_is_said_of_stages_whose_columns_are_their_own(tmp_path: Path) -> None:
    found = graph(tmp_path)
    for name in ("raw/visits", "quarantine", "splits"):
        assert origins(found, name) == {}


def test_what_people_read_says_where_a_column_comes_from(tmp_path: Path) -> None:
    found = graph(tmp_path)
    stage = found.stages["cleaned"]
    where = origins_of(found.contract, stage)
    columns = {each.name: each for each in column_schema(columns_of(found.contract, stage), where).columns}
    assert str(columns["size"].description).endswith("(from shops.size)")
    depends = lineage(found, where).deps_by_column["size"]
    assert [(dep.asset_key.path, dep.column_name) for dep in depends] == [(["visits", "raw", "shops"], "size")]
