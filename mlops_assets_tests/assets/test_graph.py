"""What a contract implies: stages, what they stand on, and which settings they depend on."""

import dataclasses
from pathlib import Path

import pytest

from mlops_assets.assets.graph import Graph, Upstream, digest, plain
from mlops_assets.contract.load import load_contract
from mlops_assets.contract.model import Contract
from mlops_assets_tests.datasets import write_contract

CANDIDATE = Upstream("candidate_model", "same")
ROWS = (Upstream("features", "through"), Upstream("splits", "through"))


@pytest.fixture
def contract(tmp_path: Path) -> Contract:
    return load_contract(write_contract(tmp_path))


def settings(contract: Contract) -> dict[str, str]:
    """A digest of what each stage depends on, its audit's rules apart."""
    return {name: digest(stage.settings) for name, stage in Graph(contract).stages.items()}


def rules(contract: Contract) -> dict[str, str]:
    return {name: digest(stage.rules) for name, stage in Graph(contract).stages.items()}


def test_stages_upstream_first_and_what_they_stand_on(contract: Contract) -> None:
    found = {name: (stage.scope, stage.kind, stage.upstream) for name, stage in Graph(contract).stages.items()}
    assert list(found.items()) == [
        ("raw/visits", ("batch", "table", ())),
        ("raw/shops", ("reference", "table", ())),
        ("quarantine", ("batch", "table", (Upstream("raw/visits", "same"),))),
        ("cleaned", ("batch", "table", (Upstream("raw/visits", "same"), Upstream("raw/shops", "whole")))),
        ("splits", ("batch", "table", (Upstream("cleaned", "same"),))),
        ("features", ("batch", "table", (Upstream("cleaned", "same"),))),
        ("split_report", ("release", "json", (*ROWS, Upstream("cleaned", "through")))),
        ("candidate_model", ("release", "estimator", ROWS)),
        ("evaluation_report", ("release", "json", (Upstream("split_report", "same"), CANDIDATE, *ROWS))),
        (
            "trained_model",
            ("release", "estimator", (Upstream("evaluation_report", "same"), CANDIDATE, *ROWS)),
        ),
    ]  # fmt: skip


def test_of_one_batch_there_is_no_window(tmp_path: Path) -> None:
    graph = Graph(load_contract(write_contract(tmp_path, cadence="none")))
    assert not graph.partitioned
    assert {up.window for stage in graph.stages.values() for up in stage.upstream} == {"same", "whole"}


def test_names_in_the_store_and_in_dagster(contract: Contract) -> None:
    graph = Graph(contract)
    assert graph.asset("raw/visits") == "visits/raw/visits"
    assert graph.path("raw/visits") == ["visits", "raw", "visits"]
    assert graph.stage_of("visits/raw/visits") == "raw/visits"


@pytest.mark.parametrize(
    ("old", "new", "stages"),
    [
        ("description: Visits to a shop", "description: Visits", set()),
        ("owners: [team:shop]", "owners: [team:other]", set()),
        ("start: 2024-01-01", "start: 2024-01-01, end: 2024-12-31", set()),
        ("landing/shops.csv", "landing/shops.csv\n    description: Where people go.", set()),
        ("features: {numeric: [minutes, pages, size]", "features: {numeric: [minutes, size]",
         {"features", "split_report", "candidate_model", "trained_model"}),
        ("maximum: 600", "maximum: 601", {"raw/visits", "quarantine", "cleaned"}),
        ("size: {type: float64, minimum: 0}", "size: {type: float64, minimum: 1}", {"raw/shops", "cleaned"}),
        ("key: [visit]", "key: [visit, day]", {"raw/visits", "quarantine", "cleaned", "splits", "split_report"}),
        ("role: excluded", "role: sensitive", {"raw/visits", "quarantine", "cleaned"}),
        ("by: time", "by: time, embargo: 1",
         {"splits", "split_report", "candidate_model", "evaluation_report", "trained_model"}),
        ("paid > 0", "paid > 1",
         {"features", "split_report", "candidate_model", "evaluation_report", "trained_model"}),
        ("max_iter: 5", "max_iter: 6", {"candidate_model", "trained_model"}),
        ("bootstrap: 20", "bootstrap: 30", {"evaluation_report"}),
        ("evaluation: {groups: [shop]", "evaluation: {groups: []", {"features", "evaluation_report"}),
    ],
)  # fmt: skip
def test_a_stage_depends_on_what_it_uses_and_on_nothing_else(
    contract: Contract, old: str, new: str, stages: set[str]
) -> None:
    before = settings(contract)
    text = contract.file.read_text()
    assert old in text
    contract.file.write_text(text.replace(old, new))
    after = settings(load_contract(contract.folder))
    assert {name for name in before if before[name] != after[name]} == stages


@pytest.mark.parametrize(
    ("old", "new", "stages"),
    [
        ("minimum: {roc_auc: 0.5}", "minimum: {roc_auc: 0.6}", {"evaluation_report"}),
        ("minimum: {roc_auc: 0.5}", "minimum: {roc_auc: 0.5}, agreement: 0.9", {"trained_model"}),
        ("warn_below: 0.5", "warn_below: 0.6", {"cleaned"}),
        ("target: {", "limits: {warn: 0.1, refuse: 0.2}\ntarget: {", {"cleaned"}),
        ("target: {", "checks: {twins: 0.5, recurring: true}\ntarget: {", {"split_report"}),
        ("bootstrap: 20", "bootstrap: 30", set()),
    ],
)
def test_an_audit_depends_on_its_rules(contract: Contract, old: str, new: str, stages: set[str]) -> None:
    before = rules(contract)
    contract.file.write_text(contract.file.read_text().replace(old, new))
    after = rules(load_contract(contract.folder))
    assert {name for name in before if before[name] != after[name]} == stages


def test_hiding_a_group_makes_the_report_anew(contract: Contract) -> None:
    before = settings(contract)
    shop = dataclasses.replace(contract.sources["visits"].columns["shop"], roles=frozenset({"sensitive"}))
    visits = contract.sources["visits"]
    hidden = dataclasses.replace(visits, columns={**visits.columns, "shop": shop})
    after = settings(dataclasses.replace(contract, sources={**contract.sources, "visits": hidden}))
    assert after["evaluation_report"] != before["evaluation_report"]


def test_only_computed_features_depend_on_the_code_of_the_dataset(contract: Contract) -> None:
    assert Graph(contract).stages["features"].files == ()
    computed = dataclasses.replace(contract.features[0], computed=True)
    changed = dataclasses.replace(contract, features=(computed, *contract.features[1:]))
    assert Graph(changed).stages["features"].files == (contract.folder / "features.py",)


def test_plain_values_are_json_in_one_order() -> None:
    assert plain({"b": {3, 1, 2}, "a": (Path("/somewhere/features.py"), frozenset({"x"})), 1: None}) == {
        "b": [1, 2, 3],
        "a": ["features.py", ["x"]],
        "1": None,
    }
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest({"a": 1}) != digest({"a": 1.5})
    assert len(digest({})) == 32
