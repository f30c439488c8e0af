"""From accepted rows to one table: the spine's rows with joined columns, in an order of their own; and the quarantine.

What belongs here: joins, order, and the accounts that go with a batch. What does not: which rows are accepted
(``sift``), how two tables meet (``joins``), features.

The order is by event time, then key, whatever order the rows were delivered in: the same rows are the same version.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.model import Contract, Join
from mlops_assets.stages.joins import Met, brought, meet
from mlops_assets.stages.made import Made
from mlops_assets.stages.moments import moments
from mlops_assets.stages.rows import combine, one_chunk, ranks
from mlops_assets.stages.sift import QUARANTINE, Sifted

_EXAMPLES = 20
_MICRO = 1_000_000


def clean(contract: Contract, accepted: Mapping[str, pa.Table], sifted: Mapping[str, Sifted]) -> Made:
    """The cleaned table: ``contract.cleaned_columns()``, one row for each accepted row of the spine.

    ``accepted`` has the typed rows of the spine and of every joined source; ``sifted`` their accounts. Facts:
    ``rows``, ``rows_in``, ``sources`` (the accounts) and ``joins`` (of each its matched and ambiguous rows, and by how
    many seconds the ``latest`` row that an as-of join met was known after the row that met it). The sentences are the
    first quarantined rows with their reasons.

    Raises:
        ContractError: a join compares columns of different types.
    """
    spine = accepted[contract.spine]
    spine = ordered(contract, spine)
    cleaned, joins = spine, []
    for join in contract.joins:
        theirs = accepted[join.source]
        met = meet(contract, join, spine, theirs)
        for name, column in join.columns.items():
            cleaned = cleaned.append_column(name, brought(theirs[column], met))
        joins.append(joined(join, spine, met) | _latest(join, spine, theirs, met))
    facts = {
        "rows": cleaned.num_rows,
        "rows_in": accepted[contract.spine].num_rows,
        "sources": {name: dict(account.facts) for name, account in sifted.items()},
        "joins": joins,
    }
    return Made(cleaned, facts, tuple(examples(sifted)))


def joined(join: Join, spine: pa.Table, met: Met) -> dict[str, Any]:
    """What a batch's facts say of a join."""
    return {
        "source": join.source,
        "kind": join.kind,
        "rows": spine.num_rows,
        "matched": met.matched,
        "ambiguous": met.ambiguous,
    }


def _latest(join: Join, spine: pa.Table, theirs: pa.Table, met: Met) -> dict[str, float | None]:
    """By how many seconds the latest row that an as-of join met was known after the row that met it: 0 or less."""
    if join.as_of is None:
        return {}
    ours, other = join.as_of
    known = brought(theirs[other], met).cast(pa.timestamp("us")).cast(pa.int64())
    after = pc.max(pc.subtract(known, one_chunk(spine[ours]).cast(pa.timestamp("us")).cast(pa.int64()))).as_py()
    return {"latest": None if after is None else after / _MICRO + join.known_after}


def quarantine(contract: Contract, sifted: Mapping[str, Sifted]) -> Made:
    """Every row that was refused, with its reasons (``sift.QUARANTINE``); facts: ``rows`` and each source's account."""
    order = [name for name in contract.sources if name in sifted]
    table = pa.concat_tables([QUARANTINE.empty_table(), *(sifted[name].quarantined for name in order)])
    facts: dict[str, Any] = {
        "rows": table.num_rows,
        "sources": {name: dict(sifted[name].facts) for name in order},
    }
    return Made(table, facts, tuple(examples({name: sifted[name] for name in order})))


def examples(sifted: Mapping[str, Sifted], most: int = _EXAMPLES) -> list[str]:
    """The first quarantined rows of each source as sentences; sensitive values are not in them."""
    share = max(1, most // max(1, sum(account.quarantined.num_rows > 0 for account in sifted.values())))
    return [
        f"{row['file']} {account.facts.get('place', 'line')} {row['line']}: {'; '.join(row['reasons'])}."
        for account in sifted.values()
        for row in account.quarantined.slice(0, share).select(["file", "line", "reasons"]).to_pylist()
    ]


def ordered(contract: Contract, spine: pa.Table) -> pa.Table:
    """The spine's rows by event time, then key, or all columns where there is no key."""
    source = contract.sources[contract.spine]
    columns = [spine[name] for name in source.key or source.columns]
    if source.event_time:
        columns.insert(0, pa.chunked_array([moments(source.event_time, spine)]))
    numbers = combine([ranks(column) for column in columns], spine.num_rows)
    order = np.argsort(numbers, kind="stable")
    return spine if (order == np.arange(len(order))).all() else spine.take(pa.array(order))
