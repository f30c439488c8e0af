"""Manifests and heads as records: round trips, identity, formats."""

from typing import Any

import pytest

from mlops_assets.errors import CorruptError, StoreError
from mlops_assets.store.digest import canonical_json, parse_json
from mlops_assets.store.heads import Head, Move
from mlops_assets.store.manifest import Blob, Input, Manifest

FULL = Manifest(
    asset="flights/raw/weather",
    batch="2013-01",
    kind="table",
    version="b3:ab",
    blob=Blob("data/x", 3, "00"),
    rows=7,
    schema=(("a", "int64"), ("b", "string")),
    columns={"b": "b3:1", "a": "b3:2"},
    inputs=(Input("flights/raw/x", "2013-01", "b3:cd", "b3:ef"), Input("flights/raw/x", "2013-02", None, None)),
    files=({"name": "x.csv", "size": 3, "sha256": "00", "path": "data/y"},),
    code_version="b3:code",
    settings={"limit": 0.5},
    seed=3,
    rules="b3:rules",
    recipe="b3:recipe",
    git={"commit": "0", "dirty": False},
    environment="b3:env",
    run_id="run",
    who="anna",
    when="2026-01-01T00:00:00+00:00",
    accepted=True,
    verdicts=({"check": "rows", "passed": True},),
    facts={"rows": 7},
    sentences=("All is well.",),
    attachments={"rows": Blob("data/z", 1, "11")},
)
HEAD = Head("a/b", "2013", 3, "b3:move", "attempt", "b3:m", "b3:v", "b3:r")
MOVE = Move("main", "a/b", "2013", 3, "b3:p", "b3:l", "b3:m", "anna", "2026", "why", "run", "attempt")


def test_a_manifest_comes_back_and_its_id_covers_every_field() -> None:
    again = Manifest.from_dict(parse_json(FULL.encoded))
    assert again == FULL
    assert again.id == FULL.id
    assert str(FULL) == "flights/raw/weather[2013-01] b3:ab"
    empty = Manifest("a", "b", "json")
    assert Manifest.from_dict(parse_json(empty.encoded)) == empty
    record = FULL.to_dict()
    for name, value in empty.to_dict().items():
        if name not in {"format", "kind"}:
            assert Manifest.from_dict(record | {name: value}).id != FULL.id, name


def test_a_later_writers_further_field_is_ignored() -> None:
    assert Manifest.from_dict(FULL.to_dict() | {"mood": "fine"}) == FULL


@pytest.mark.parametrize("decode", [Head.decode, Move.decode])
def test_heads_and_moves_refuse_what_they_cannot_read(decode: Any) -> None:
    with pytest.raises(StoreError, match=r"FILE is written in format 3, .* install the newer mlops_assets"):
        decode(b'{"format": 3}', "FILE")
    for data in (b"", b"\xff", b"[]", b"{}", b'{"format": 1, "asset": "a"}'):
        with pytest.raises(CorruptError, match=r"FILE is not a (head|move) as the store writes it"):
            decode(data, "FILE")


def test_heads_and_moves_come_back() -> None:
    assert Head.decode(HEAD.encode(), "x") == HEAD
    assert Move.decode(MOVE.encode(), "x") == MOVE
    assert str(HEAD) == "a/b[2013] #3 b3:v"
    assert {"from", "to"} < parse_json(MOVE.encode()).keys()


def test_newer_and_broken_manifests_are_refused() -> None:
    with pytest.raises(StoreError, match="X is written in format 2, and this mlops_assets reads up to 1"):
        Manifest.from_dict(FULL.to_dict() | {"format": 2}, "X")
    for change in ({"schema": 3}, {"blob": {"path": "x"}}, {"attachments": None}, {"inputs": [1]}):
        with pytest.raises(CorruptError, match=r"X is not a manifest .* restore it from another copy"):
            Manifest.from_dict(FULL.to_dict() | change, "X")
    with pytest.raises(StoreError, match="A value cannot be written as JSON"):
        _ = Manifest("a", "b", "json", facts={"x": float("nan")}).id
    assert canonical_json(FULL.to_dict()) == FULL.encoded
