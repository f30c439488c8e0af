"""Trees: what every batch of one asset shows at one moment, named by its content.

What belongs here: a tree's JSON and digests. What does not: where it is written, and which trees make a branch's base
or a tag.
"""

from collections.abc import Mapping
from typing import NamedTuple

import orjson

from mlops_assets.errors import CorruptError
from mlops_assets.store.columns import Columns
from mlops_assets.store.digest import bytes_digest
from mlops_assets.store.formats import check_format
from mlops_assets.store.heads import Leaf

FORMAT = 1


class Summary(NamedTuple):
    """One asset of a snapshot in a line.

    ``tree`` is the tree's id (which records), ``content`` the digest of batches and versions alone (which data, whoever
    made it and when); ``rows`` and ``size`` (bytes) are sums over ``batches``, ``rows`` None where nothing has rows.
    """

    tree: str
    content: str
    batches: int
    rows: int | None
    size: int


def encode(asset: str, leaves: Mapping[str, Leaf]) -> bytes:
    """A tree's file."""
    columns = Columns.of(Leaf, leaves)
    plain = dict(zip(columns.names, columns.rows(), strict=True))
    return orjson.dumps({"format": FORMAT, "asset": asset, "leaves": plain}, option=orjson.OPT_SORT_KEYS)


def decode(data: bytes, id_: str, where: str) -> tuple[str, Columns[Leaf]]:
    """Asset and leaves by batch of a tree's file; ``where`` names it in errors.

    Raises ``StoreError`` for a newer format, ``CorruptError`` when the bytes are not those that ``id_`` names.
    """
    if bytes_digest(data) != id_:
        raise CorruptError(f"{where} is damaged; copy it from another copy of the store.")
    record = orjson.loads(data)
    check_format(record["format"], FORMAT, where)
    leaves = record["leaves"]
    columns = zip(*leaves.values(), strict=True) if leaves else ((),) * len(Leaf._fields)
    # sorted as it was written
    return record["asset"], Columns(Leaf, list(leaves), [list(column) for column in columns])


def summary(tree: str, leaves: Mapping[str, Leaf]) -> Summary:
    """Counts and sums over a tree."""
    columns = Columns.of(Leaf, leaves)
    versions = orjson.dumps(columns.by_name("version"))
    rows = [rows for rows in columns.column("rows") if rows is not None]
    return Summary(tree, bytes_digest(versions), len(leaves), sum(rows) if rows else None, sum(columns.column("size")))
