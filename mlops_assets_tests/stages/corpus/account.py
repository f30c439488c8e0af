"""Damaged deliveries, what becomes of each, and where every row of it went.

What belongs here: taking a case through the stages and the audits that a batch goes through, an account of every
physical record, and the printed table. What does not: the cases (beside this module), expectations (``test_corpus``).
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from mlops_assets.checks.batch import audit
from mlops_assets.checks.verdict import Verdict
from mlops_assets.contract.model import Contract, Partitions, Source
from mlops_assets.errors import DeliveryError
from mlops_assets.stages import clean
from mlops_assets.stages.ingest import Delivery, read_source
from mlops_assets.stages.sift import sift
from mlops_assets_tests.stages.build import contract

Fate = Literal["accepted", "quarantined", "duplicate"]
Means = Mapping[str, Callable[[str], Any]]

TAKEN, WARNED, PARTLY, BATCH_REFUSED, FILE_REFUSED = (
    "taken",
    "taken with a warning",
    "rows quarantined",
    "batch refused",
    "file refused",
)
NAME = "landing/sales_2024-01.csv"
_SHOWN = 170


@dataclass(frozen=True)
class Record:
    """A physical record of a file, as the one who made the case knows it: its first line, its text, its fields.

    ``fields`` is None when nobody could say what they are, ``text`` where a file has no lines.
    """

    line: int
    text: str | None
    fields: Mapping[str, Any] | None


@dataclass(frozen=True)
class Case:
    """A delivery and what should become of it.

    ``words`` stand in what is said, ``never`` in none of it; ``rows`` are those accepted, quarantined and left out as
    exact duplicates. ``means`` says what a text of a column means where that is not the plain reading of its type.
    """

    family: str
    name: str
    data: bytes
    table: Source
    records: Sequence[Record]
    verdict: str
    rows: tuple[int, int, int]
    words: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    means: Means = field(default_factory=dict)
    blank: int = 0


@dataclass(frozen=True)
class Outcome:
    """What became of a case: what was said, the fate of each line at which a record begins, and the accepted rows."""

    verdict: str
    sentences: tuple[str, ...]
    fates: Mapping[int, Fate] = field(default_factory=dict)
    accepted: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    quarantined: Mapping[int, str] = field(default_factory=dict)
    blank: int = 0

    def count(self, fate: Fate) -> int:
        """How many records met this fate."""
        return sum(each == fate for each in self.fates.values())

    @property
    def rows(self) -> tuple[int, int, int]:
        """Accepted, quarantined and duplicate records."""
        return self.count("accepted"), self.count("quarantined"), self.count("duplicate")


def rules_of(table: Source) -> Contract:
    """The contract that a case is read by."""
    return contract(table, partitions=Partitions("named"))


def run(case: Case, folder: Path) -> Outcome:
    """Take a case through ingest, sift, quarantine and clean, and their audits, as a batch goes through them."""
    path = folder / "delivered"
    path.write_bytes(case.data)
    rules = rules_of(case.table)
    batch, raw_stage = "2024-01", f"raw/{case.table.name}"
    try:
        made = read_source(rules, case.table, [Delivery(NAME, path)], batch)
    except DeliveryError as error:
        return Outcome(FILE_REFUSED, error.sentences)
    account = sift(rules, case.table, made.value, batch)
    sifted = {case.table.name: account}
    kept = clean.quarantine(rules, sifted)
    cleaned = clean.clean(rules, {case.table.name: account.accepted}, sifted)
    verdicts = [
        *audit(rules, raw_stage, made, batch=batch),
        *audit(rules, "quarantine", kept, batch=batch, upstream={raw_stage: made.facts}),
        *audit(rules, "cleaned", cleaned, batch=batch, upstream={raw_stage: made.facts}),
    ]
    assert sorted(map(str, cleaned.value.to_pylist())) == sorted(map(str, account.accepted.to_pylist()))
    texts = dict(zip(kept.value["line"].to_pylist(), kept.value["row"].to_pylist(), strict=True))
    fates, accepted = _fates(made.value, texts, account.accepted)
    blank = int(made.facts["blank_lines"])
    return Outcome(*_judged(verdicts, kept.sentences), fates, accepted, texts, blank)


def _judged(verdicts: Iterable[Verdict], refused: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    failed = [verdict for verdict in verdicts if not verdict.passed]
    blocking = [verdict for verdict in failed if verdict.blocks]
    told = [verdict.sentence for verdict in (blocking or failed)]
    if blocking:
        return BATCH_REFUSED, (*told, *refused)
    if refused:
        return PARTLY, tuple(refused)
    return (WARNED, tuple(told)) if failed else (TAKEN, ())


def _fates(
    raw: pa.Table, quarantined: Mapping[int, str], table: pa.Table
) -> tuple[dict[int, Fate], dict[int, Mapping[str, Any]]]:
    """Accepted rows come in the order of delivery; one that says what an earlier one said is a duplicate."""
    left = table.to_pylist()
    fates: dict[int, Fate] = {}
    accepted: dict[int, Mapping[str, Any]] = {}
    seen: set[tuple[Any, ...]] = set()
    delivered = raw.select(table.column_names).to_pylist()
    for line, row in zip(raw["_line"].to_pylist(), delivered, strict=True):
        assert line not in fates, f"two records begin at line {line}"
        said = tuple(row.values())
        if line in quarantined:
            fates[line] = "quarantined"
        elif said in seen:
            fates[line] = "duplicate"
        else:
            fates[line], accepted[line] = "accepted", left.pop(0)
            seen.add(said)
    assert not left, "more rows were accepted than delivered"
    return fates, accepted


def unaccounted(case: Case, outcome: Outcome) -> list[str]:
    """Everything that contradicts conservation: records without a fate, fates without a record, values that differ."""
    if outcome.verdict == FILE_REFUSED:
        return []
    wanted = {record.line for record in case.records}
    found = [f"line {line} has no fate" for line in sorted(wanted - set(outcome.fates))]
    found += [f"line {line} is no record" for line in sorted(set(outcome.fates) - wanted)]
    if sum(outcome.rows) != len(case.records):
        found.append(f"{outcome.rows} are not {len(case.records)} records")
    for record in case.records:
        kept = outcome.quarantined.get(record.line)
        if kept is not None and kept != record.text and kept != _as_json(case, record):
            found.append(f"line {record.line} is not in the quarantine as it was delivered: {kept[:80]!r}")
        row = outcome.accepted.get(record.line)
        if row is None:
            continue
        if record.fields is None:
            found.append(f"line {record.line} was accepted, and nobody could say what it says")
            continue
        for name, value in row.items():
            said = meaning(case, name, record.fields.get(name))
            if value != said or type(value) is not type(said):
                found.append(f"line {record.line}, {name}: {value!r} was accepted, the file says {said!r}")
    return found


def _as_json(case: Case, record: Record) -> str | None:
    """A row that could be taken apart as the quarantine keeps it: the declared fields as they were delivered."""
    if record.fields is None:
        return None
    fields = {name: record.fields.get(name) for name in case.table.columns}
    return json.dumps(fields, ensure_ascii=False, default=str)


def meaning(case: Case, name: str, text: Any) -> Any:
    """What a delivered text says, read by Python's own types and nothing of the project."""
    column = case.table.columns[name]
    if text is None or text in (*case.table.format.missing, *column.missing):
        return None
    if not isinstance(text, str):
        return float(text) if column.type == "float64" else text
    if name in case.means:
        return case.means[name](text)
    plain: Mapping[str, Callable[[str], Any]] = {
        "string": str,
        "int64": int,
        "float64": float,
        "boolean": lambda each: each.lower() in ("1", "true"),
        "date": date.fromisoformat,
        "timestamp": lambda each: datetime.fromisoformat(each.removesuffix("Z")),
    }
    return plain[column.type](text)


def fields_of(table: Source, names: Sequence[str], text: str) -> Mapping[str, str] | None:
    """The fields of a record's text by Python's strict reader, None when it is no record of the header's width."""
    quoted: dict[str, Any] = {"quotechar": table.format.quote} if table.format.quote else {"quoting": csv.QUOTE_NONE}
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=table.format.delimiter, strict=True, **quoted))
    except csv.Error:
        return None
    if len(rows) != 1 or len(rows[0]) != len(names):
        return None
    return dict(zip(names, rows[0], strict=True))


def table_lines(cases: Iterable[Case], folder: Path, *, wide: bool = False) -> Iterable[str]:
    """The corpus as a Markdown table."""
    yield "| # | damage | verdict | what is said | accepted | quarantined | duplicates | of records |"
    yield "|---|---|---|---|---|---|---|---|"
    for number, case in enumerate(cases, start=1):
        outcome = run(case, folder)
        said = outcome.sentences[0] if outcome.sentences else ""
        if outcome.verdict == BATCH_REFUSED and len(outcome.sentences) > 1:
            said = f"{said} {outcome.sentences[1]}"
        said = said.replace(NAME, "sales.csv").replace("|", "\\|").replace("\n", " ")
        if not wide and len(said) > _SHOWN:
            said = said[: _SHOWN - 1] + "…"
        counts = [str(count) for count in outcome.rows] if outcome.fates else ["", "", ""]
        yield f"| {number} | {case.family}: {case.name} | {outcome.verdict} | {said} | " + " | ".join(
            [*counts, f"{len(case.records)} |"]
        )
