"""What tests of looking after a store start from: small stores with lineage, aged as if they were old.

What belongs here: making, ageing, listing. What does not: any expectation.
"""

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from mlops_assets.store import Head, Input, Kind, Manifest, Store
from mlops_assets.store.snapshots import tag

RAW, CLEANED, MODEL = "shop/raw/visits", "shop/cleaned", "shop/trained_model"


def inputs_of(*heads: Head) -> tuple[Input, ...]:
    """Heads as the exact inputs of what is made from them."""
    return tuple(Input(head.asset, head.batch, head.version, head.manifest) for head in heads)


def rows(*people: int, **more: Sequence[Any]) -> pa.Table:
    """A table with a row for each person."""
    return pa.table({"person": pa.array(people, pa.int64()), "paid": [float(10 * person) for person in people], **more})


def commit(
    store: Store, asset: str, batch: str, value: Any, *inputs: Head, branch: str = "main", **fields: Any
) -> Head:
    """Publish a value: tables as they are, anything else as JSON."""
    kind: Kind = "table" if isinstance(value, pa.Table) else "json"
    return store.commit(branch, asset, batch, kind, value, inputs=inputs_of(*inputs), **fields)


def line(store: Store, batch: str, people: Sequence[int], *, branch: str = "main") -> tuple[Head, Head]:
    """A delivery, the raw table that was read from it, and the cleaned one."""
    text = "person,paid\n" + "".join(f"{person},{10.0 * person}\n" for person in people)
    blob = store.put_bytes(RAW, batch, text.encode())
    file = {"name": f"landing/visits_{batch}.csv", "size": blob.size, "sha256": blob.sha256, "blob": blob.path}
    evidence = store.put_bytes(RAW, batch, f'{{"paid": ["line 2: person {people[-1]}"]}}'.encode())
    table = pa.table(
        {
            "person": [str(person) for person in people],
            "paid": [str(10.0 * person) for person in people],
            "_text": pa.nulls(len(people), pa.string()),
        }
    )
    raw = commit(store, RAW, batch, table, branch=branch, files=(file,), attachments={"evidence.json": evidence})
    return raw, commit(store, CLEANED, batch, rows(*people), raw, branch=branch, facts={"rows": len(people)})


def age(store: Store, hours: float = 48, under: str = "") -> None:
    """Make every file look as old as this."""
    then = time.time() - hours * 3600
    for entry in list(store.backend.entries(under)):
        os.utime(store.root / entry.path, (then, then))


def files(store: Store, *folders: str) -> set[str]:
    """The paths under some folders (all)."""
    return {entry.path for folder in folders or ("",) for entry in store.backend.entries(folder)}


def contents(store: Store, *folders: str) -> Mapping[str, bytes]:
    """The bytes of every file under some folders (all)."""
    return {path: store.backend.read(path) for path in sorted(files(store, *folders)) if not path.startswith("locks/")}


def freeze(store: Store, name: str, dataset: str = "shop", branch: str = "main") -> None:
    """Tag a branch."""
    tag(store, name, dataset, branch)


def value(store: Store, branch: str, asset: str, batch: str) -> Any:
    """What readers get, every byte and digest looked at."""
    head = store.head(branch, asset, batch)
    assert head is not None
    return store.get(store.manifest(asset, batch, head.manifest), verify=True)


def manifest(store: Store, head: Head) -> Manifest:
    """The record of what a head shows."""
    return store.manifest(head.asset, head.batch, head.manifest)
