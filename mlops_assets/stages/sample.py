"""A fixed fraction of what was delivered: all rows of some groups, chosen by a hash, so that they are always the same.

What belongs here: which rows of a raw table stay. What does not: which branches hold a sample (``assets.sampling``), or
the hash itself (``split``), which the sample takes with a salt of its own so that train and test stay as they are.
"""

import dataclasses
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.model import Contract, Source
from mlops_assets.stages.cells import typed
from mlops_assets.stages.delivery import FILE, PROBLEM, TEXT
from mlops_assets.stages.made import Made
from mlops_assets.stages.rows import encode
from mlops_assets.stages.split import BUCKETS, assign_buckets

SALT = "mlops_assets sample"
"""Part of every sample ever made: with another one, a sample holds other groups."""


def sampled(contract: Contract, source: Source, raw: Made) -> Made:
    """The rows of a raw table that are in the contract's sample, and facts that speak of these rows alone.

    A row's group is what the contract reads in the columns ``sample.by``, so that 7 and 07 are one number; where that
    cannot be read it is the text, and of a record that could not be taken apart the whole record: broken rows stay by
    the same share. ``left_out`` is how many rows are not in the sample.
    """
    assert contract.sample is not None
    table: pa.Table = raw.value
    split = dataclasses.replace(contract.split, group=contract.sample.by, salt=SALT)
    groups = pa.table({name: _group(source, name, table) for name in contract.sample.by})
    buckets = assign_buckets(dataclasses.replace(contract, split=split), groups).value["bucket"]
    kept = table.filter(pc.less(buckets, max(1, round(contract.sample.share * BUCKETS))))
    return Made(kept, {**raw.facts, **_facts(kept, raw.facts)}, raw.sentences)


def _group(source: Source, name: str, table: pa.Table) -> pa.Array:
    """The column as text: equal texts are equal values."""
    distinct, places = encode(table[name])
    values, unreadable = typed(source.columns[name], source.format, distinct)
    texts = pc.if_else(pa.array(unreadable), distinct.cast(pa.string()), values.cast(pa.string()))
    return pc.coalesce(table[TEXT], texts.take(pa.array(places)))


def _facts(kept: pa.Table, facts: Any) -> dict[str, Any]:
    rows = _by_file(kept)
    unsplit = _by_file(kept.filter(pc.is_valid(kept[PROBLEM])))
    files = [
        {**file, "rows": rows.get(file["name"], 0), "unsplit": unsplit.get(file["name"], 0)} for file in facts["files"]
    ]
    return {
        "rows": kept.num_rows,
        "unsplit": sum(unsplit.values()),
        "left_out": facts["rows"] - kept.num_rows,
        "files": files,
    }


def _by_file(table: pa.Table) -> dict[str, int]:
    return {item["values"]: item["counts"] for item in table[FILE].value_counts().to_pylist()}
