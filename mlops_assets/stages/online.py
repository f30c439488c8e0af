"""What serving must know of the past: the rows of ``cleaned`` that windows look back on, ready to be found by entity.

What belongs here: the table ``online`` of a batch, and which rows of it can ever count. What does not: what is made
of those rows (``windows``), and the file in which a server finds them (``serving.past``).

The table has one row for each cleaned row, in their order: ``_moment``, when the row happened (timestamp[us], as the
times of ``cleaned``: UTC where the delivery said so), and the columns that windows need, as in ``cleaned``. Of joins
there is nothing in it, of as-of joins neither: a request brings the joined columns itself, since who asks knows the
weather or the price of the moment, and the newest row of a source that was ever delivered may be long out of date.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.expression import parse
from mlops_assets.contract.model import Contract, EventTime, Window
from mlops_assets.stages.cells import TYPES
from mlops_assets.stages.made import Made
from mlops_assets.stages.moments import moments
from mlops_assets.stages.rows import Truths, one_chunk
from mlops_assets.stages.windows import needed

MOMENT = "_moment"


def remember(contract: Contract, cleaned: pa.Table) -> Made:
    """The table ``online`` of a batch.

    Facts: ``rows``, ``counting`` (rows that can count for some window) and ``windows``, the same of each window.
    """
    columns = {MOMENT: moments_of(contract, cleaned)} | {name: one_chunk(cleaned[name]) for name in needed(contract)}
    table = pa.table(columns)
    facts = {
        "rows": table.num_rows,
        "counting": int(counting(contract, table).sum()),
        "windows": {window.name: int(_counting(window, table).sum()) for window in contract.windows.each},
    }
    return Made(table, facts)


def moments_of(contract: Contract, rows: pa.Table) -> pa.Array:
    """When each row happened as windows see it, timestamp[us]; null where nothing says so."""
    time = contract.windows.time
    event_time = EventTime((time,)) if time else contract.sources[contract.spine].event_time
    assert event_time is not None, "the loader sees to it that something says when a row happened"
    return moments(event_time, rows)


def counting(contract: Contract, online: pa.Table) -> Truths:
    """Which rows can count for some window: those with a time, an entity and a value; shape (rows,)."""
    found = np.zeros(online.num_rows, dtype=bool)
    for window in contract.windows.each:
        found |= _counting(window, online)
    return found


def schema_of(contract: Contract) -> Mapping[str, pa.DataType]:
    """The columns of the table ``online``, with their types."""
    known = contract.cleaned_columns()
    return {MOMENT: TYPES["timestamp"]} | {name: TYPES[known[name].type] for name in needed(contract)}


def _counting(window: Window, online: pa.Table) -> Truths:
    values = [online[MOMENT], *(online[name] for name in window.by)]
    if window.of is not None:
        values.append(parse(window.of).evaluate(online))
    found = np.ones(online.num_rows, dtype=bool)
    for column in values:
        found &= pc.is_valid(one_chunk(column)).to_numpy(zero_copy_only=False)
    return found
