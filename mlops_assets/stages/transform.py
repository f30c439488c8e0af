"""From accepted rows to ``cleaned`` by the dataset's own SQL, in place of the joins that ``clean`` makes.

What belongs here: what the SQL's result must be, its order, and the accounts that go with a batch. What does not: which
rows are accepted (``sift``), running SQL (``dbtproject``), what its tests say (``checks.datatests``).

The contract's joins say where joined columns come from and how many rows should find a match; that is counted here as
for any dataset. How they are joined is the SQL's affair, but every accepted row of the spine comes once.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from mlops_assets.contract.model import Contract
from mlops_assets.dbtproject.database import Database, Run, difference
from mlops_assets.dbtproject.shape import CLEANED
from mlops_assets.errors import RefusedError
from mlops_assets.stages.cells import TYPES
from mlops_assets.stages.clean import examples, joined, ordered
from mlops_assets.stages.joins import meet
from mlops_assets.stages.made import Made

if TYPE_CHECKING:
    from mlops_assets.stages.sift import Sifted


def begin(contract: Contract) -> Run:
    """Where the project's SQL finds the accepted rows of a batch as ``raw``; to be closed."""
    assert contract.sql is not None
    if contract.sql.own_run:
        from mlops_assets.dbtproject.own_run import OwnRun

        return OwnRun(contract.sql, contract.sensitive())
    return Database(contract.sql)


def transform(contract: Contract, run: Run, accepted: Mapping[str, pa.Table], sifted: Mapping[str, "Sifted"]) -> Made:
    """The cleaned table as ``clean.clean`` makes it, with the same facts, by the project's model ``cleaned``.

    Raises:
        RefusedError: the SQL cannot be computed over these rows, or gives other columns than the contract says.
    """
    found = run.cleaned()
    wanted = {name: TYPES[column.type] for name, column in contract.cleaned_columns().items()}
    differs = difference(
        {name: str(kind) for name, kind in wanted.items()}, {field.name: str(field.type) for field in found.schema}
    )
    if differs:
        assert contract.sql is not None
        where = f"{contract.sql.folder / contract.sql.cleaned.file}:1"
        raise RefusedError(*(f"{where}: {CLEANED} is not what the contract says: {each}." for each in differs))
    cleaned = ordered(contract, found.select(list(wanted)))
    spine = accepted[contract.spine]
    joins = [joined(join, spine, meet(contract, join, spine, accepted[join.source])) for join in contract.joins]
    facts = {
        "rows": cleaned.num_rows,
        "rows_in": spine.num_rows,
        "sources": {name: dict(account.facts) for name, account in sifted.items()},
        "joins": joins,
    }
    return Made(cleaned, facts, tuple(examples(sifted)))
