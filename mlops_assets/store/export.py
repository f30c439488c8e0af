"""Plain files for people: what a tag, a branch or any other view shows, as Parquet, CSV or JSON in a folder.

What belongs here: writing them, and saying in the folder what they were made from. What does not: published tables that
are read by engines (``delta``), or copies of a store (``transfer``).

The folder holds ``<asset>/<batch>.<ending>``, ``EXPORT.json`` (which version each file is) and ``README.txt``.
Exporting into it again replaces its files and removes those that the new view does not show; nothing else in it is
touched.
"""

import base64
import json
import math
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, get_args

from mlops_assets.errors import NotStoredError, StoreError
from mlops_assets.store import files
from mlops_assets.store.backend import Content
from mlops_assets.store.digest import canonical_json
from mlops_assets.store.manifest import EXTENSIONS, Manifest
from mlops_assets.store.names import asset_path, segment
from mlops_assets.store.refs import View, chosen_assets
from mlops_assets.store.store import now
from mlops_assets.store.tags import read_tag
from mlops_assets.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_assets.store.store import Store

Format = Literal["parquet", "csv", "json"]

FORMAT = 1
"""Of ``EXPORT.json``; follows the rule of ``manifest``."""

_LIST = "EXPORT.json"
_README = "README.txt"
_ENDINGS = {"parquet": ".parquet", "csv": ".csv", "json": ".jsonl"}
_FORMULA = r"^[=+\-@\t\r]"
_ROWS = 10_000
_LITTER = re.compile(r"\.[0-9]+-[0-9a-f]{12}\.tmp")
"""What an export that was killed leaves besides whole files (see ``files.staged``)."""


@dataclass
class Exported:
    """What was written: ``files`` by asset and batch (paths in the folder), ``size`` in bytes, ``notes`` for people."""

    target: Path
    view: str
    files: dict[str, dict[str, str]] = field(default_factory=dict)
    size: int = 0
    removed: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many files."""
        return sum(len(batches) for batches in self.files.values())


def export(
    store: "Store",
    view: View,
    target: Path,
    format: Format = "csv",  # noqa: A002 - the word people use
    *,
    assets: Collection[str] | None = None,
    batches: Collection[str] | None = None,
    formulas: bool = False,
) -> Exported:
    """Write what a view shows into a folder, each file whole or not at all.

    ``assets`` and ``batches`` choose; None means all. Tables become Parquet (the stored bytes), CSV, or JSON with one
    row a line; other values are copied. Unless ``formulas`` is True, text cells of a CSV that a spreadsheet would run
    get an apostrophe in front. Every value is looked at before the first file is written. Raises ``StoreError`` for a
    folder with other things in it, ``NotStoredError`` for an asset or batch that is not in view, ``PurgedError`` and
    ``CorruptError`` as ``Store.get``.
    """
    if format not in get_args(Format):
        raise StoreError(f"{format!r} is no format to export; choose {', '.join(get_args(Format))}.")
    target = target.absolute()
    before = _files_before(store, target)
    chosen = _chosen(view, assets, batches)
    for manifest in chosen:
        store.check(manifest)
    work = _Export(store, target, format, formulas=formulas)
    paths = [work.path(manifest) for manifest in chosen]
    listing: dict[str, Any] = {"format": FORMAT, "view": view.ref, "store": store.backend.url, "when": now()}
    # the list comes first, so that an export that broke off is known as one
    _write(target / _LIST, {**listing, "complete": False, "files": sorted({*before, *paths})})
    for manifest, path in zip(chosen, paths, strict=True):
        work.write(manifest, path)
    done = Exported(target, view.name, size=work.size, notes=work.notes())
    for manifest, path in zip(chosen, paths, strict=True):
        done.files.setdefault(manifest.asset, {})[manifest.batch] = path
    done.removed = _remove(target, sorted(before - {*paths}))
    for litter in [path for path in target.rglob(".*.tmp") if _LITTER.fullmatch(path.name)]:
        litter.unlink(missing_ok=True)
    files.write_file(target / _README, _readme(store, view, chosen, done).encode())
    versions = [
        {
            "file": path,
            "asset": item.asset,
            "batch": item.batch,
            "version": item.version,
            "manifest": item.id,
            "rows": item.rows,
        }
        for item, path in zip(chosen, paths, strict=True)
    ]
    _write(target / _LIST, {**listing, "complete": True, "files": sorted(paths), "versions": versions})
    return done


class _Export:
    """Writing the files of one export, and counting what people should be told."""

    def __init__(self, store: "Store", target: Path, format_: Format, *, formulas: bool) -> None:
        self.store, self.target, self.format, self.formulas = store, target, format_, formulas
        self.size = 0
        self._neutralised = 0
        self._not_numbers = 0
        self._copied: dict[str, int] = {}

    def path(self, manifest: Manifest) -> str:
        """Where a value goes, in the target."""
        ending = _ENDINGS[self.format] if manifest.kind == "table" else EXTENSIONS[manifest.kind]
        return f"{asset_path(manifest.asset)}/{segment(manifest.batch)}{ending}"

    def write(self, manifest: Manifest, path: str) -> None:
        """Write one value."""
        if manifest.kind == "table" and self.format != "parquet":
            table = self.store.get(manifest)
            content = self._csv(table) if self.format == "csv" else self._json_lines(table)
            self.size += files.write_file(self.target / path, content).size
            return
        if manifest.kind != "table":
            self._copied[manifest.kind] = self._copied.get(manifest.kind, 0) + 1
        assert manifest.blob is not None
        with files.staged(self.target / path, _copy_of(self.store.path(manifest))) as file:
            if file.written != (manifest.blob.size, manifest.blob.sha256):
                self.store.check(manifest, verify=True)
            file.replace()
        self.size += file.written.size

    def notes(self) -> list[str]:
        """What people should know of the files."""
        told = []
        if self._neutralised:
            told.append(
                f"An apostrophe (') was put before {counted(self._neutralised, 'text cell')} that a spreadsheet would "
                "run as a formula (=, +, -, @, a tab or a return comes first); --formulas leaves them as they are."
            )
        if self._not_numbers:
            told.append(f"JSON cannot say {counted(self._not_numbers, 'number')} (NaN, infinity): null stands there.")
        for kind, count in sorted(self._copied.items()):
            how = {
                "estimator": "fitted models in skops' format; load them with skops.io.load",
                "bytes": "copied byte by byte",
                "json": "copied as they are stored",
            }[kind]
            told.append(f"Not tables, {counted(count, 'file')} *{EXTENSIONS[kind]}: {how}.")
        return told

    def _csv(self, table: "pa.Table") -> Content:
        import pyarrow as pa
        from pyarrow import csv

        columns = [self._cells(column) for column in table.columns]
        names = [self._name(name) for name in table.column_names]

        def write(file: BinaryIO) -> None:
            if columns:
                csv.write_csv(pa.Table.from_arrays(columns, names=names), file)

        return write

    def _cells(self, column: "pa.ChunkedArray") -> "pa.ChunkedArray":
        """A column as CSV can say it."""
        import pyarrow as pa
        import pyarrow.compute as pc
        from pyarrow import types

        type_ = column.type
        if types.is_nested(type_) or types.is_binary(type_) or types.is_large_binary(type_):
            column = pa.chunked_array([[_json_cell(value) for value in column.to_pylist()]], pa.string())
        elif not (types.is_string(type_) or types.is_large_string(type_)):
            return column
        if self.formulas:
            return column
        risky = pc.fill_null(pc.match_substring_regex(column, _FORMULA), False)
        count = pc.sum(risky).as_py() or 0
        if not count:
            return column
        self._neutralised += count
        apostrophe = pa.scalar("'", column.type)
        joined = pc.binary_join_element_wise(apostrophe, column, pa.scalar("", column.type))
        return pc.if_else(risky, joined, column)

    def _name(self, name: str) -> str:
        if self.formulas or not name.startswith(("=", "+", "-", "@", "\t", "\r")):
            return name
        self._neutralised += 1
        return f"'{name}"

    def _json_lines(self, table: "pa.Table") -> Content:
        def write(file: BinaryIO) -> None:
            for batch in table.to_batches(max_chunksize=_ROWS):
                lines = [json.dumps(self._plain(row), ensure_ascii=False) + "\n" for row in batch.to_pylist()]
                file.write("".join(lines).encode())

        return write

    def _plain(self, value: Any) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            self._not_numbers += 1
            return None
        if isinstance(value, dict):
            return {key: self._plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._plain(item) for item in value]
        return _json_value(value)


def _json_value(value: Any) -> Any:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal | timedelta):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


def _json_cell(value: Any) -> str | None:
    """What is no plain cell (lists, structs, bytes) as text."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return json.dumps(value, ensure_ascii=False, default=_json_value)


def _chosen(view: View, assets: Collection[str] | None, batches: Collection[str] | None) -> list[Manifest]:
    names = chosen_assets(view, assets)
    shown = {asset: view.leaves(asset) for asset in names}
    if batches is not None:
        known = {batch for leaves in shown.values() for batch in leaves}
        if missing := sorted({*batches} - known):
            raise NotStoredError(f"{view.name} shows no batch {', '.join(map(repr, missing))} of what is exported.")
    chosen = [
        view.manifest(asset, batch)
        for asset, leaves in shown.items()
        for batch in leaves
        if batches is None or batch in batches
    ]
    if not chosen:
        raise NotStoredError(f"{view.name} shows nothing that could be exported.")
    return chosen


def _files_before(store: "Store", target: Path) -> set[str]:
    """What an earlier export left in the target; raises ``StoreError`` when it is not an export's."""
    if "://" not in store.backend.url and target.is_relative_to(store.root):
        raise StoreError(f"{target} lies in the {store}, where only the store may write; export into another folder.")
    if not target.exists():
        return set()
    if not target.is_dir():
        raise StoreError(f"{target} is a file; export into a folder.")
    if all(_LITTER.fullmatch(path.name) for path in target.iterdir()):
        return set()
    try:
        record = json.loads((target / _LIST).read_text(encoding="utf-8"))
        number, names = int(record["format"]), {str(name) for name in record["files"]}
    except (OSError, ValueError, TypeError, KeyError):
        raise StoreError(
            f"{target} is not empty and was not made by export (it has no {_LIST}); name an empty or new folder."
        ) from None
    if number > FORMAT:
        raise StoreError(f"{target} was made by a newer mlops_assets (format {number}); name an empty or new folder.")
    return names


def _remove(target: Path, paths: list[str]) -> int:
    """Remove files of an earlier export, and the folders that are empty then."""
    count = 0
    for path in paths:
        parts = PurePosixPath(path)
        if parts.is_absolute() or ".." in parts.parts or not parts.parts:
            continue
        place = target / parts
        if place.is_file() and place.resolve().is_relative_to(target.resolve()):
            with files.sentences(place):
                place.unlink()
            count += 1
        for folder in place.parents:
            if folder == target or not folder.is_dir() or any(folder.iterdir()):
                break
            folder.rmdir()
    return count


def _readme(store: "Store", view: View, chosen: list[Manifest], done: Exported) -> str:
    lines = [f"Exported by mlops-assets from {view.name} of the {store}, at {now()}.", ""]
    if view.kind == "tag":
        tag = read_tag(store, view.ref.removeprefix("tag:"))
        commit = tag.git.get("commit") or "none"
        dirty = " (with changes that were not committed)" if tag.git.get("dirty") else ""
        lines += [
            f"Tag {tag.name}: {tag.message}",
            f"made by {tag.who} at {tag.when} from branch {tag.branch},",
            f"git commit {commit}{dirty}, environment {tag.environment or 'unknown'}.",
            "",
        ]
    lines += [
        "These are copies for people; changing them changes nothing in the store. The same view again:",
        f"    mlops-assets export {view.ref} {done.target}",
        f"Which version each file is stands in {_LIST}. Names of assets and batches are written as in URLs",
        "where they hold more than letters, digits, - _ and .",
        "",
    ]
    for asset, batches in done.files.items():
        rows = [item.rows for item in chosen if item.asset == asset and item.rows is not None]
        told = f", {counted(sum(rows), 'row')}" if rows else ""
        lines.append(f"{asset}: {counted(len(batches), 'file')}{told}")
    if done.notes:
        lines += ["", *done.notes]
    return "\n".join(lines) + "\n"


def _copy_of(source: Path) -> Content:
    def write(file: BinaryIO) -> None:
        with source.open("rb", buffering=0) as stored:
            while block := stored.read(1 << 20):
                file.write(block)

    return write


def _write(path: Path, record: Any) -> None:
    files.write_file(path, canonical_json(record) + b"\n")
