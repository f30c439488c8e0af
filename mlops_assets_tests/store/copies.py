"""Stores with something to copy, and places to copy it to, for the tests of remotes."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_assets.store import Head, Kind, Store
from mlops_assets.store.transfer import Report

RAW, CLEANED = "shop/raw/visits", "shop/cleaned"
DAYS = ("2024-01-01", "2024-01-02", "2024-01-03")


def commit(store: Store, asset: str, batch: str, value: Any, branch: str = "main", **more: Any) -> Head:
    """Publish a small JSON value."""
    kind: Kind = more.pop("kind", "json")
    return store.commit(branch, asset, batch, kind, value, **more)


def raw(store: Store, day: str, text: str) -> Head:
    """Publish a raw batch with its delivered file and a report, as a stage does."""
    blob = store.put_bytes(RAW, day, text.encode())
    report = store.put_bytes(RAW, day, f"about {text}".encode())
    file = {"name": f"{day}.csv", "size": blob.size, "sha256": blob.sha256, "blob": blob.path}
    return commit(store, RAW, day, [text], files=(file,), attachments={"report.html": report})


def deliver(store: Store, name: str, text: str) -> None:
    """Enter a file into the ledger."""
    from mlops_assets.store.deliveries import Ledger

    Ledger(store, "shop").record(RAW, name, text.encode(), place=DAYS[0])


def stocked(place: Path) -> Store:
    """Three days of two assets; the second stands on the first."""
    from mlops_assets.store import Input

    store = Store.open(place)
    for day in DAYS:
        head = raw(store, day, f"visits of {day}")
        commit(store, CLEANED, day, {"of": day}, inputs=(Input(RAW, day, head.version, head.manifest),))
    return store


def files(place: Path, *but: str) -> dict[str, bytes]:
    """Files of a store in a folder but for cache, locks, the note that records came, and what is under ``but``."""
    found = {}
    for folder, _, names in os.walk(place):
        for name in names:
            path = Path(folder, name)
            relative = path.relative_to(place).as_posix()
            if not relative.startswith(("cache/", "locks/", "received/", *but)):
                found[relative] = path.read_bytes()
    return found


def contents(store: Store) -> Mapping[str, bytes]:
    """All files of a store anywhere, but for cache, locks, what it knows of remotes, and trees (that has some)."""
    return {
        entry.path: store.backend.read(entry.path)
        for entry in store.backend.entries("")
        if not entry.path.startswith(("cache/", "locks/", "received/", "remotes/", "trees/"))
    }


def copied(report: Report) -> dict[str, int]:
    """How many files of each kind were copied."""
    return {kind: count.objects for kind, count in report.tally.copied.items()}


def sound(store: Store, branch: str = "main") -> dict[tuple[str, str], Head]:
    """The heads of a branch, after every value, file and move that they lead to was looked at."""
    from mlops_assets.store import Blob

    found = {}
    for asset in store.assets(branch):
        for batch, head in store.heads(branch, asset).items():
            manifest = store.manifest(asset, batch, head.manifest)
            store.get(manifest, verify=True)
            for attached in manifest.attachments.values():
                store.bytes(attached)
            for file in manifest.files:
                store.bytes(Blob(file["blob"], file["size"], file["sha256"]))
            if head.move:
                assert len(store.moves(branch, asset, batch)) == head.seq
            found[asset, batch] = head
    return found
