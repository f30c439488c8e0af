"""Contracts made by hand for tests of the batch side, and files for them.

What belongs here: building values. What does not: any expectation.
"""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlops_assets.contract.model import (
    Column,
    Contract,
    Evaluation,
    EventTime,
    Feature,
    FileFormat,
    Gates,
    Limits,
    Partitions,
    Source,
    Split,
    Target,
)
from mlops_assets.stages.ingest import Delivery, read_source
from mlops_assets.stages.made import Made
from mlops_assets.stages.rules import judge, sentences
from mlops_assets.stages.sift import Sifted, sift

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADER = "id,day,shop,price,paid"
ROWS = ("1,2024-01-05,north,1.50,2", "2,2024-01-06,south,,0", "3,2024-01-07,west,7,1")
BATCH = "2024-01"


def at(text: str) -> datetime:
    """A moment without a zone, as every moment of a batch is."""
    return datetime.fromisoformat(text)


def column(name: str, kind: Any, **rules: Any) -> Column:
    """One column of a source."""
    return Column(name, kind, **rules)


SALES_COLUMNS = (
    column("id", "int64", nullable=False, minimum=1, roles=frozenset({"key"})),
    column("day", "date", nullable=False, roles=frozenset({"time"})),
    column("shop", "string", nullable=False, values=("north", "south", "west")),
    column("price", "float64", minimum=0),
    column("paid", "int64", roles=frozenset({"excluded"})),
)


def source(*columns: Column, name: str = "sales", **more: Any) -> Source:
    """A batch source of CSV files with a key and a time, unless ``more`` says otherwise."""
    columns = columns or SALES_COLUMNS
    settings: dict[str, Any] = {
        "kind": "batch",
        "files": f"landing/{name}_{{batch}}.csv",
        "format": FileFormat(),
        "key": ("id",),
        "event_time": EventTime(("day",)) if any(each.name == "day" for each in columns) else None,
        "line": 7,
    }
    return Source(name=name, columns={each.name: each for each in columns}, **(settings | more))


def contract(*sources: Source, folder: Path = Path("data/shop"), **more: Any) -> Contract:
    """A contract over the sources, the first being the spine."""
    sources = sources or (source(),)
    settings: dict[str, Any] = {
        "joins": (),
        "partitions": Partitions("monthly", "2024-01"),
        "target": Target("bought", "paid > 0", "binary"),
        "split": Split("time"),
        "features": (Feature("price", "numeric"), Feature("shop", "categorical")),
        "evaluation": Evaluation(groups=("shop",)),
        "limits": Limits(0.005, 0.05),
    }
    return Contract(
        name="shop",
        folder=folder,
        description="",
        owners=(),
        sources={each.name: each for each in sources},
        spine=sources[0].name,
        baselines=(),
        candidates=(),
        gates=Gates("roc_auc"),
        **(settings | more),
    )


def with_column(table: Source, name: str, **rules: Any) -> Source:
    """The source with other rules for one column."""
    columns: Mapping[str, Column] = {**table.columns, name: replace(table.columns[name], **rules)}
    return replace(table, columns=columns)


def read(folder: Path, data: bytes | str, table: Source | None = None, rules: Contract | None = None) -> Made:
    """The raw table of a file with these bytes."""
    table = table or source()
    path = folder / "delivered"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_source(rules or contract(table), table, [Delivery("landing/sales_2024-01.csv", path)], BATCH)


def sifted(folder: Path, data: bytes | str, table: Source | None = None, rules: Contract | None = None) -> Sifted:
    """The account of a file with these bytes."""
    table = table or source()
    rules = rules or contract(table)
    return sift(rules, table, read(folder, data, table, rules).value, BATCH)


def csv_text(*rows: str, header: str = HEADER) -> str:
    """A CSV file of these lines."""
    return "".join(f"{line}\n" for line in (header, *rows))


def judged(kind: str, *values: Any, **rules: Any) -> tuple[list[Any], list[str]]:
    """What is read of the distinct values of a column ``x``, and every sentence, value by value."""
    table = column("x", kind, **rules)
    distinct = pa.array(values, None if any(not isinstance(each, str | None) for each in values) else pa.string())
    found = judge("dataset.yaml:7", table, FileFormat(missing=("", "NA")), distinct)
    told = [
        (place, sentence)
        for finding in found.findings
        for place, sentence in zip(
            finding.broken.nonzero()[0].tolist(), sentences(table, distinct, finding).to_pylist(), strict=True
        )
    ]
    return found.values.to_pylist(), [sentence for _, sentence in sorted(told, key=lambda item: item[0])]


def told(kind: str, value: Any, **rules: Any) -> str:
    """The one sentence about a value."""
    found = judged(kind, value, **rules)[1]
    assert len(found) == 1
    return found[0]
