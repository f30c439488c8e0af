"""From delivered files to a raw table: every declared column as it was delivered, every row with its file and line.

What belongs here: which reader a source has, several files of one batch, and which rows of a file belong to a batch.
What does not: the readers themselves (``delimited``, ``jsonlines``, ``parquet``), types and rules (``sift``).

A raw table has, after the declared columns, ``_file`` and ``_line`` (in CSV and JSON Lines the physical line of the
file, a header being line 1; in Parquet the row, from 1), and ``_text`` and ``_problem``, null unless the record could
not be taken apart: its text, and why.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from mlops_assets.contract.calendar import Calendar
from mlops_assets.contract.model import Column, Contract, Source
from mlops_assets.errors import DeliveryError
from mlops_assets.stages.delimited import read_delimited
from mlops_assets.stages.delivery import FILE, LINE, PROBLEM, TEXT, Delivery, FileRows
from mlops_assets.stages.jsonlines import read_jsonlines
from mlops_assets.stages.made import Made
from mlops_assets.stages.moments import batch_of, raw_moments
from mlops_assets.stages.readings import hints

__all__ = ["Delivery", "batches_in", "empty", "read_source"]


def read_source(contract: Contract, source: Source, files: Sequence[Delivery], batch: str) -> Made:
    """The raw table of one batch of a source, and facts about each file.

    Where the file's name does not say the batch, rows are taken by their event time; a row whose event time cannot be
    read, or lies in no batch of the calendar, comes with the file's first batch, so that no row is ever left out.

    Raises:
        DeliveryError: a file cannot be read as the contract says, with every problem of every file.
    """
    tables: list[pa.Table] = []
    facts: list[dict[str, Any]] = []
    problems: list[str] = []
    for delivery in files:
        try:
            rows = _read(contract, source, delivery)
        except DeliveryError as error:
            problems.extend(error.sentences)
            continue
        table, elsewhere = _of_batch(contract, source, rows.table, batch)
        mine = {"rows": table.num_rows, "unsplit": table.num_rows - table[PROBLEM].null_count, "elsewhere": elsewhere}
        facts.append({"name": delivery.name, **rows.facts, **mine})
        tables.append(_named(delivery, table))
    if problems:
        raise DeliveryError(*problems)
    return Made(_joined(contract, source, tables), {"batch": batch, **_totals(facts), "files": facts})


def batches_in(contract: Contract, source: Source, delivery: Delivery) -> list[str]:
    """The batches that a file's rows belong to by their event time, in order.

    Raises:
        DeliveryError: the file cannot be read, or it has rows and none of them belongs to a batch of the calendar.
    """
    table = _read(contract, source, delivery).table
    _, keys = batch_of(Calendar.of(contract.partitions), raw_moments(source, table))
    if table.num_rows and not keys:
        columns = [source.columns[name] for name in (source.event_time.columns if source.event_time else ())]
        first = [_first(source, column, table) for column in columns if "sensitive" not in column.roles]
        names = ", ".join(column.name for column in columns)
        raise DeliveryError(
            f"{delivery.name}: none of its {table.num_rows:,} rows has an event time ({names}) that can be read and "
            f"lies in a batch of {contract.name}. "
            f"The first row has {', '.join(first) or 'a sensitive value'}. Look at the format of the column and at the "
            f"partitions' start and end in {contract.file}."
        )
    return list(keys)


def _first(source: Source, column: Column, table: pa.Table) -> str:
    """The first row's value of a column, with what was expected or what it may have been meant to say."""
    value = table[column.name][0].as_py()
    expected = f" where {column.format} is expected" if column.format else ""
    hint = hints(column, source.format, table[column.name].slice(0, 1).combine_chunks(), np.array([value is not None]))
    return f"{str(value)!r}{expected}{hint[0].as_py() if len(hint) else ''}"


def empty(source: Source) -> pa.Table:
    """The raw table of a batch that nothing was delivered for."""
    fields = [(name, pa.string()) for name in source.columns]
    return pa.schema(
        [*fields, (FILE, pa.string()), (LINE, pa.int64()), (TEXT, pa.string()), (PROBLEM, pa.string())]
    ).empty_table()


def _read(contract: Contract, source: Source, delivery: Delivery) -> FileRows:
    readers: Mapping[str, Callable[[Contract, Source, Delivery], FileRows]] = {
        "csv": read_delimited,
        "jsonl": read_jsonlines,
        "parquet": _read_parquet,
    }
    return readers[source.format.kind](contract, source, delivery)


def _read_parquet(contract: Contract, source: Source, delivery: Delivery) -> FileRows:
    # The Parquet reader's library takes longer to load than a small batch to read.
    from mlops_assets.stages.parquet import read_parquet

    return read_parquet(contract, source, delivery)


def by_event_time(contract: Contract, source: Source) -> bool:
    """Whether rows of a source are taken by their event time, because its files' names do not say the batch."""
    return (
        source.kind == "batch"
        and "{batch}" not in source.files
        and source.event_time is not None
        and Calendar.of(contract.partitions).timed
    )


def _of_batch(contract: Contract, source: Source, table: pa.Table, batch: str) -> tuple[pa.Table, int]:
    """The file's rows of the batch, and how many are of others."""
    if not by_event_time(contract, source):
        return table, 0
    places, keys = batch_of(Calendar.of(contract.partitions), raw_moments(source, table))
    if not keys:
        return table, 0
    mine = places == keys.index(batch) if batch in keys else np.zeros(len(places), dtype=bool)
    if batch == keys[0]:
        mine |= places < 0
    return table.filter(pa.array(mine)), int((~mine).sum())


def _named(delivery: Delivery, table: pa.Table) -> pa.Table:
    names = pa.DictionaryArray.from_arrays(pa.array(np.zeros(table.num_rows, dtype=np.int8)), pa.array([delivery.name]))
    return table.add_column(table.schema.get_field_index(LINE), FILE, names.cast(pa.string()))


def _joined(contract: Contract, source: Source, tables: Sequence[pa.Table]) -> pa.Table:
    if not tables:
        return empty(source)
    if len(tables) == 1:
        return tables[0].combine_chunks()
    try:
        return pa.concat_tables(tables, promote_options="permissive").combine_chunks()
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        kinds = {
            name: list(dict.fromkeys(str(table.schema.field(name).type) for table in tables)) for name in source.columns
        }
        raise DeliveryError(
            *(
                f"{contract.name}, source {source.name}: the column {name!r} holds {' in one file and '.join(found)} "
                f"in another; files that add up need one type."
                for name, found in kinds.items()
                if len(found) > 1
            )
        ) from None


def _totals(files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    totals: dict[str, Any] = {
        name: sum(file[name] for file in files) for name in ("rows", "elsewhere", "bytes", "blank_lines", "unsplit")
    }
    bare = {name for file in files for name in file.get("unverified_columns", ())}
    if any("unverified_columns" in file for file in files):
        totals["unverified_columns"] = sorted(bare)
    totals["final_newline"] = all(file["final_newline"] for file in files)
    totals["extra_columns"] = list(dict.fromkeys(name for file in files for name in file["extra_columns"]))
    return totals
