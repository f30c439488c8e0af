"""The corpus through the whole pipeline: landing, store, stages, audits; each delivery is a batch of its own."""

from collections.abc import Mapping

import pytest

from mlops_assets.assets.runs import Summary
from mlops_assets.store.deliveries import Ledger
from mlops_assets.store.manifest import Manifest
from mlops_assets.store.store import Store
from mlops_assets_tests.assets.shop import Shop
from mlops_assets_tests.stages.corpus.account import BATCH_REFUSED, FILE_REFUSED, WARNED, Case, Outcome, run
from mlops_assets_tests.stages.corpus.every import CASES
from mlops_assets_tests.stages.corpus.make import PLAIN

CONTRACT = """\
description: Sales, delivered in every condition.
owners: [team:shop]
partitions: {cadence: named}
sources:
  sales:
    files: "landing/sales_{batch}.csv"
    key: [id]
    columns:
      id: string
      day: {type: date, nullable: false}
      shop: {type: string, nullable: false, values: [north, south, west]}
      price: {type: float64, minimum: 0}
      paid: int64
      note: string
target: {name: bought, expression: "paid > 0", task: binary}
split: {by: hash, validation: 0.2, test: 0.2}
features: {numeric: [price], categorical: [shop]}
models: {candidates: {boosted_trees: {max_iter: 5}}}
gates: {metric: roc_auc}
"""
STAGES = ("raw/sales", "quarantine", "cleaned")

pytestmark = pytest.mark.slow


def batch(number: int) -> str:
    return f"case-{number:03}"


@pytest.fixture(scope="module")
def cases() -> Mapping[str, Case]:
    """The cases that are read by the plain contract, each under the name of its batch."""
    return {batch(number): case for number, case in enumerate(CASES) if case.table is PLAIN}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, cases: Mapping[str, Case]) -> Shop:
    folder = tmp_path_factory.mktemp("corpus")
    landing = folder / "data" / "sales" / "landing"
    landing.mkdir(parents=True)
    (landing.parent / "dataset.yaml").write_text(CONTRACT)
    for name, case in cases.items():
        (landing / f"sales_{name}.csv").write_bytes(case.data)
    shop = Shop.at(folder / "home", folder / "data")
    return Shop(shop.home, "sales")


@pytest.fixture(scope="module", autouse=True)
def summary(shop: Shop) -> Summary:
    return shop.run(stages=STAGES)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory, cases: Mapping[str, Case]) -> Mapping[str, Outcome]:
    folder = tmp_path_factory.mktemp("stages")
    return {name: run(case, folder) for name, case in cases.items()}


def heads(shop: Shop, stage: str) -> dict[str, Manifest]:
    store = Store.open(shop.home.store)
    asset = f"sales/{stage}"
    return {name: store.manifest(asset, name, head.manifest) for name, head in store.heads("main", asset).items()}


def test_the_bytes_of_every_delivery_are_kept(shop: Shop, cases: Mapping[str, Case]) -> None:
    ledger = Ledger(Store.open(shop.home.store), "sales")
    kept = {entry.name: ledger.path(entry).read_bytes() for entry in ledger.entries}
    assert kept == {f"landing/sales_{name}.csv": case.data for name, case in cases.items()}


def test_refused_files_and_batches_are_published_nowhere(shop: Shop, outcomes: Mapping[str, Outcome]) -> None:
    raw, cleaned = heads(shop, "raw/sales"), heads(shop, "cleaned")
    read = {name for name, outcome in outcomes.items() if outcome.verdict != FILE_REFUSED}
    assert set(raw) <= read
    assert set(cleaned) == {name for name in read if outcomes[name].verdict != BATCH_REFUSED}


def test_the_accounts_of_the_store_are_those_of_the_stages(shop: Shop, outcomes: Mapping[str, Outcome]) -> None:
    quarantine, cleaned = heads(shop, "quarantine"), heads(shop, "cleaned")
    assert len(cleaned) > 50
    for name, manifest in cleaned.items():
        accepted, quarantined, duplicates = outcomes[name].rows
        account = manifest.facts["sources"]["sales"]
        assert (account["accepted"], account["quarantined"], account["duplicates"]) == outcomes[name].rows
        assert (manifest.rows, quarantine[name].rows) == (accepted, quarantined)
        assert account["raw"] == accepted + quarantined + duplicates


def test_each_delivery_is_told_in_its_own_words(
    summary: Summary, cases: Mapping[str, Case], outcomes: Mapping[str, Outcome]
) -> None:
    told: dict[str, str] = {}
    for outcome in summary.outcomes:
        lines = [line for verdict in outcome.verdicts for line in (verdict.sentence, *verdict.examples)]
        told[outcome.batch] = "\n".join([told.get(outcome.batch, ""), *outcome.sentences, *lines])
    for name, case in cases.items():
        if outcomes[name].verdict != WARNED:  # what is usual, and so worth no warning, depends on the batches before
            assert [words for words in case.words if words not in told[name]] == [], case.name
