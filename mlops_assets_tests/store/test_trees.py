"""Trees and their sums: one state, one name."""

import pytest

from mlops_assets.errors import CorruptError, StoreError
from mlops_assets.store.digest import bytes_digest, canonical_json
from mlops_assets.store.heads import Leaf
from mlops_assets.store.trees import Summary, decode, encode, summary

LEAVES = {
    "2013-02": Leaf("b3:m2", "b3:v2", "r.u", "table", 20, "ff", 3),
    "München/ü": Leaf("b3:m1", "b3:v1", "r.u", "json", 10, "ee", None),
}


def test_a_tree_comes_back_and_is_canonical_json() -> None:
    data = encode("a/b", LEAVES)
    assert data == encode("a/b", dict(reversed(LEAVES.items())))
    assert data == canonical_json({"format": 1, "asset": "a/b", "leaves": {k: list(v) for k, v in LEAVES.items()}})
    asset, leaves = decode(data, bytes_digest(data), "X")
    assert (asset, dict(leaves)) == ("a/b", LEAVES)
    empty = encode("a/b", {})
    assert dict(decode(empty, bytes_digest(empty), "X")[1]) == {}


def test_a_damaged_or_newer_tree_is_refused() -> None:
    data = encode("a/b", LEAVES)
    with pytest.raises(CorruptError, match="X is damaged; copy it from another copy of the store"):
        decode(data[:-1], bytes_digest(data), "X")
    newer = canonical_json({"format": 2})
    with pytest.raises(StoreError, match="X is written in format 2, and this mlops_assets reads up to 1"):
        decode(newer, bytes_digest(newer), "X")


def test_a_summary_counts_and_tells_the_data_from_its_records() -> None:
    found = summary("b3:t", LEAVES)
    assert found == Summary("b3:t", found.content, 2, 3, 30)
    again = {batch: leaf._replace(manifest="b3:other") for batch, leaf in LEAVES.items()}
    assert summary("b3:u", again).content == found.content
    other = {**LEAVES, "2013-02": LEAVES["2013-02"]._replace(version="b3:v9")}
    assert summary("b3:t", other).content != found.content
    assert summary("b3:t", {"x": LEAVES["München/ü"]}).rows is None
