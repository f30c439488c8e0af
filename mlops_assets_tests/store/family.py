"""A small store in which things were made from each other: two months, two sources, a model with its report.

What belongs here: making it, by the store's own ways. What does not: any expectation.
"""

from pathlib import Path
from typing import Any

import pyarrow as pa

from mlops_assets.store import Head, Input, Store
from mlops_assets.store.deliveries import Ledger

MONTHS = ("2024-01", "2024-02")
SALES, SHOPS, CLEANED = "trade/raw/sales", "trade/raw/shops", "trade/cleaned"
MODEL, REPORT = "trade/model", "trade/report"
GIT = {"commit": "c0ffee" * 6 + "abcd", "dirty": False}


def grown(place: str | Path) -> Store:
    """Two months of sales, shops once, cleaned, and the release of the second month."""
    store = Store.open(place)
    deliver(store, SHOPS, "all", "landing/shops.csv", b"shop\nnorth\n")
    for month in MONTHS:
        deliver(store, SALES, month, f"landing/sales_{month}.csv", f"sale,{month}\n".encode())
        clean(store, month)
    release(store, MONTHS[-1])
    return store


def deliver(store: Store, asset: str, batch: str, name: str, content: bytes) -> Head:
    """A file through the ledger into its raw version."""
    entry = Ledger(store, "trade").record(asset, name, content, place=batch, batches=(batch,), who="supplier").delivery
    file = {"name": name, "size": entry.blob.size, "sha256": entry.blob.sha256, "blob": entry.blob.path}
    table = pa.table({"line": [content.decode()]})
    return store.commit(
        "main", asset, batch, "table", table,
        files=(file,), code_version="raw-1", git=GIT, run_id="run-raw-1", who="ann",
    )  # fmt: skip


def clean(store: Store, month: str, code: str = "clean-1", run: str = "run-clean-1", branch: str = "main") -> Head:
    """The cleaned version of a month from what the branch shows of it."""
    inputs = (source(store, SALES, month, branch), source(store, SHOPS, "all", branch))
    table = pa.table({"month": [month], "code": [code], "of": [inputs[0].version]})
    return store.commit(
        branch, CLEANED, month, "table", table, inputs=inputs, code_version=code, git=GIT, run_id=run, who="ann",
        verdicts=({"check": "volume", "passed": True, "severity": "warn", "sentence": "As many as ever."},),
        settings={"limit": 3}, environment="env-1", message="computed",
    )  # fmt: skip


def release(store: Store, month: str, metric: float = 0.7, seed: int = 7, run: str = "run-release-1") -> Head:
    """A model of all months up to one, and its report."""
    inputs = tuple(source(store, CLEANED, batch) for batch in MONTHS if batch <= month)
    circumstances: dict[str, Any] = {"git": {**GIT, "dirty": True}, "run_id": run, "who": "ben", "environment": "env-2"}
    model = store.commit(
        "main", MODEL, month, "bytes", f"model {seed} {[item.version for item in inputs]}".encode(),
        inputs=inputs, code_version="fit-1", seed=seed, settings={"trees": seed}, **circumstances,
    )  # fmt: skip
    report = {
        "metrics": {"auc": metric},
        "models": [{"name": "trees", "metrics": {"auc": {"value": metric, "low": 0}}}],
    }
    return store.commit(
        "main", REPORT, month, "json", report, inputs=(Input(MODEL, month, model.version, model.manifest),),
        code_version="report-1", **circumstances,
    )  # fmt: skip


def source(store: Store, asset: str, batch: str, branch: str = "main") -> Input:
    """What a branch shows of a batch, as an input; absent where it shows nothing."""
    head = store.head(branch, asset, batch)
    return Input(asset, batch, head.version if head else None, head.manifest if head else None)
