"""The files of a folder that no contract describes yet: what they are written in, and which belong together.

What belongs here: finding files, guessing their format, the batch in their names, reading them as texts. What does
not: what the columns hold (``columns``).
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from mlops_assets.contract.calendar import Calendar
from mlops_assets.contract.model import (
    Cadence,
    Column,
    ColumnType,
    Contract,
    Evaluation,
    FileFormat,
    Gates,
    Limits,
    Partitions,
    Source,
    Split,
    Target,
)
from mlops_assets.errors import UserError
from mlops_assets.profiling.columns import declared
from mlops_assets.stages.delivery import Delivery
from mlops_assets.stages.header import DELIMITERS
from mlops_assets.stages.ingest import read_source

_HEAD = 65_536
_TEXTS = {".csv", ".tsv", ".txt"}
_DATES: Sequence[tuple[Cadence, str]] = (
    ("hourly", r"\d{4}-\d{2}-\d{2}T\d{2}"),
    ("daily", r"\d{4}-\d{2}-\d{2}"),
    ("monthly", r"\d{4}-\d{2}"),
    ("yearly", r"\d{4}"),
)
_LINES = 20


@dataclass(frozen=True, slots=True)
class Files:
    """Files that are one source: its ``pattern`` relative to the folder, and the batch of each where names say one."""

    name: str
    pattern: str
    paths: tuple[Path, ...]
    batches: tuple[str, ...] = ()
    cadence: Cadence = "none"
    format: FileFormat = FileFormat()  # noqa: RUF009 - frozen


def look_into(folder: Path) -> list[Files]:
    """The sources that the files of a folder make, those in batches first, then by size.

    Raises:
        UserError: there is no file that can be read.
    """
    landing = folder / "landing"
    inside = landing if landing.is_dir() else folder
    found = sorted(path for path in inside.iterdir() if path.is_file() and not path.name.startswith("."))
    readable = [path for path in found if path.suffix.lower() in {*_TEXTS, ".parquet"}]
    if not readable:
        others = f"; it holds {', '.join(path.name for path in found[:5])}" if found else ""
        raise UserError(f"{inside} holds no CSV and no Parquet file that could be looked at{others}.")
    prefix = "landing/" if inside == landing else ""
    sources = list(_sources(readable, prefix))
    names = [source.name for source in sources]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise UserError(f"Files in {inside} would be one source by two patterns ({', '.join(twice)}); rename some.")
    return sorted(sources, key=lambda each: (not each.batches, -sum(path.stat().st_size for path in each.paths)))


def _sources(paths: Sequence[Path], prefix: str) -> Iterator[Files]:
    for cadence, date in _DATES:
        named: dict[str, dict[str, Path]] = {}
        for path in paths:
            match = re.search(rf"(?<![0-9]){date}(?![0-9])", path.name)
            if match and _is_key(cadence, match[0]):
                pattern = f"{path.name[: match.start()]}{{batch}}{path.name[match.end() :]}"
                named.setdefault(pattern, {})[match[0]] = path
        for pattern, files in named.items():
            yield Files(
                _name(pattern.replace("{batch}", "")),
                prefix + pattern,
                tuple(files.values()),
                tuple(files),
                cadence,
                format_of(next(iter(files.values()))),
            )
        taken = {path for files in named.values() for path in files.values()}
        paths = [path for path in paths if path not in taken]
    for path in paths:
        yield Files(_name(path.stem), prefix + path.name, (path,), format=format_of(path))


def _is_key(cadence: Cadence, text: str) -> bool:
    try:
        Calendar(cadence).check(text)
    except UserError:
        return False
    return True


def _name(stem: str) -> str:
    """A source's name from a file's."""
    words = re.sub(r"[^a-z0-9]+", "_", stem.rsplit(".", 1)[0].lower()).strip("_")
    return words if words[:1].isalpha() else f"source_{words}".rstrip("_")


def format_of(path: Path) -> FileFormat:
    """How a file seems to be written. The decimal sign is for whoever has seen its columns."""
    if path.suffix.lower() == ".parquet":
        return FileFormat("parquet")
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return FileFormat(encoding="utf-16", delimiter=_delimiter(head.decode("utf-16", "ignore")))
    cut = head.rfind(b"\n") + 1 or len(head)
    try:
        return FileFormat(delimiter=_delimiter(head[:cut].decode("utf-8-sig")))
    except UnicodeDecodeError:
        return FileFormat(encoding="cp1252", delimiter=_delimiter(head.decode("cp1252", "replace")))


def _delimiter(head: str) -> str:
    """The delimiter that splits the first lines into the same number of fields, the most of them."""
    lines = head.splitlines()[:_LINES]
    counts = {}
    for sign in DELIMITERS:
        widths = {len(row) for row in csv.reader(lines, delimiter=sign) if row}
        counts[sign] = widths.pop() if len(widths) == 1 else 0
    best = max(counts, key=lambda sign: counts[sign])
    if counts[best] > 1:
        return best
    return max(DELIMITERS, key=lines[0].count) if lines else ","


def texts_of(folder: Path, files: Files) -> pa.Table:
    """All rows of a source with every column as it was delivered, and the file and line of each.

    Raises:
        DeliveryError: a file cannot be read.
    """
    columns = {name: Column(name, kind) for name, kind in _columns(files)}
    source = Source(files.name, "batch", files.pattern, files.format, columns, redelivery="add")
    contract = _provisional(folder, source)
    deliveries = [Delivery(path.relative_to(folder).as_posix(), path) for path in files.paths]
    table: pa.Table = read_source(contract, source, deliveries, "all").value
    return table


def _columns(files: Files) -> Iterator[tuple[str, ColumnType]]:
    path = files.paths[0]
    if files.format.kind == "parquet":
        import pyarrow.parquet as pq

        for field in pq.read_schema(path):
            yield field.name, declared(field.type)
        return
    with path.open(encoding=files.format.encoding.replace("utf-8", "utf-8-sig"), newline="") as file:
        for name in next(csv.reader(file, delimiter=files.format.delimiter), []):
            yield name, "string"


def _provisional(folder: Path, source: Source) -> Contract:
    """As much of a contract as reading files needs."""
    return Contract(
        name=folder.name,
        folder=folder,
        description="",
        owners=(),
        sources={source.name: source},
        spine=source.name,
        joins=(),
        partitions=Partitions(),
        target=Target("", "", "binary"),
        split=Split("hash"),
        features=(),
        baselines=(),
        candidates=(),
        evaluation=Evaluation(),
        gates=Gates(""),
        limits=Limits(),
    )
