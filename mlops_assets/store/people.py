"""Whose rows: finding a person's key in tables, in records that are kept as text, and in delivered files.

What belongs here: matching, by exact value. What does not: what is done with what was found (``purge``). Keys live in
these objects alone: they are never written, logged, hashed, or part of an error's sentence.
"""

import csv
import json
import mmap
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mlops_assets.errors import StoreError
from mlops_assets.store.manifest import Manifest

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa
    import pyarrow.parquet as pq

    Mask = npt.NDArray[np.bool_]

_PARQUET = b"PAR1"
_DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class Person:
    """One key: values by column, as text."""

    values: Mapping[str, str] = field(repr=False)

    @cached_property
    def _tokens(self) -> list[re.Pattern[str]]:
        return [re.compile(rf"(?<!\w){re.escape(value)}(?!\w)") for value in self.values.values()]

    def in_fields(self, fields: Mapping[str, object]) -> bool:
        """Whether a record's fields are this person's; numbers as JSON and Python write them."""
        return all(_plain(fields.get(name)) == value for name, value in self.values.items())

    def in_text(self, text: str) -> bool:
        """Whether a record that is kept as text is this person's: by its fields where it is JSON, else by its words."""
        if text[:1] == "{":
            try:
                fields = json.loads(text)
            except ValueError:
                fields = {}
            if self.values.keys() <= fields.keys():
                return self.in_fields(fields)
        return all(token.search(text) for token in self._tokens)


@dataclass(frozen=True)
class People:
    """Several keys over the same columns. ``texts`` are columns in which whole records are kept as text.

    Raises ``StoreError`` when there is no key, or one without a value, or keys over different columns.
    """

    people: list[Person] = field(repr=False)
    texts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.people or not self.columns:
            raise StoreError("Say whose rows: a column and a value, for instance --where customer=4711")
        for person in self.people:
            if tuple(person.values) != self.columns:
                raise StoreError(f"Every key needs a value for {', '.join(self.columns)}, and for nothing else.")
            if not all(person.values.values()):
                raise StoreError("A key without a value would mean everybody whose value is missing; it is not taken.")

    @property
    def columns(self) -> tuple[str, ...]:
        """The key columns."""
        return tuple(self.people[0].values)

    def in_text(self, text: str) -> bool:
        """Whether a text names one of the people."""
        return any(person.in_text(text) for person in self.people)

    def in_table(self, manifest: Manifest) -> bool:
        """Whether a version is a table in which people can be found."""
        names = {name for name, _ in manifest.schema}
        return (
            manifest.kind == "table"
            and manifest.blob is not None
            and (names.issuperset(self.columns) or not names.isdisjoint(self.texts))
        )

    def rows_of(self, manifest: Manifest, path: Path) -> "Mask | None":
        """Which rows of a table are these people's; None when none can be.

        Only the key's columns are read, and only of row groups whose statistics do not rule it out. Raises
        ``StoreError`` when the file is damaged.
        """
        import pyarrow as pa

        try:
            return self._rows_of(path)
        except (pa.ArrowException, OSError) as trouble:
            raise StoreError(
                f"{manifest.asset}[{manifest.batch}] cannot be searched: {str(trouble).splitlines()[0]}. "
                "See what is damaged with: mlops-assets verify"
            ) from trouble

    def _rows_of(self, path: Path) -> "Mask | None":
        import numpy as np
        import pyarrow.parquet as pq

        with pq.ParquetFile(path, memory_map=True, page_checksum_verification=True) as file:
            names = file.schema_arrow.names
            columns = list(self.columns) if set(self.columns) <= set(names) else []
            texts = [name for name in self.texts if name in names]
            if not columns and not texts:
                return None
            masks: list[Mask] = []
            for group in range(file.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                keyed = columns if self._may_hold(file, group, columns) else []
                mask = np.zeros(count, dtype=bool)
                if keyed or texts:
                    # parquet answers in the file's order, and takes "a" for "a.b" too
                    table = file.read_row_group(group, columns=[*keyed, *texts])
                    mask = self._in(table, keyed, texts)
                masks.append(mask)
        return np.concatenate(masks) if masks else np.zeros(0, dtype=bool)

    def _in(self, table: "pa.Table", columns: list[str], texts: list[str]) -> "Mask":
        import numpy as np
        import pyarrow.compute as pc

        found = np.zeros(table.num_rows, dtype=bool)
        for person in self.people if columns else ():
            mine = np.ones(table.num_rows, dtype=bool)
            for name in columns:
                value = _cast(person.values[name], table.column(name).type)
                if value is None:
                    mine[:] = False
                    break
                same = pc.fill_null(pc.equal(table.column(name), value), False)
                mine &= same.to_numpy(zero_copy_only=False)
            found |= mine
        for name in texts:
            column = table.column(name)
            if column.null_count < len(column) and str(column.type) in {"string", "large_string"}:
                for place, text in enumerate(column.to_pylist()):
                    if text is not None and self.in_text(text):
                        found[place] = True
        return found

    def _may_hold(self, file: "pq.ParquetFile", group: int, columns: list[str]) -> bool:
        """Whether the minima and maxima of a row group leave room for one of the keys."""
        metadata = file.metadata.row_group(group)
        bounds: dict[str, Any] = {}
        for index in range(metadata.num_columns):
            column = metadata.column(index)
            if column.path_in_schema in columns and column.is_stats_set and column.statistics.has_min_max:
                bounds[column.path_in_schema] = column.statistics
        if not columns:
            return False
        return any(
            all(_between(person.values[name], bounds.get(name), file.schema_arrow.field(name).type) for name in columns)
            for person in self.people
        )

    # --- delivered files -----------------------------------------------------------------------------------------

    def in_file(self, path: Path) -> bool:
        """Whether a delivered file or an attachment names one of the people.

        By its columns where it is Parquet or text with a header, by its fields where it is JSON Lines, by the words of
        a line in any other text. In what is packed nothing is found.
        """
        with path.open("rb") as file:
            if file.read(len(_PARQUET)) == _PARQUET:
                return self._in_parquet(path)
        if not path.stat().st_size or not self._in_bytes(path):
            return False
        with path.open(encoding=_encoding(path), errors="replace", newline="") as text:
            header = text.readline()
            delimiter = self._delimiter(header)
            text.seek(0)
            if delimiter is None:
                return any(self.in_text(line.strip()) for line in text)
            try:
                return any(self.in_row(row) for row in _rows(text, delimiter))
            except csv.Error:
                # the key is in there, and the file cannot be taken apart
                return True

    def in_row(self, row: "Mapping[str, str] | str") -> bool:
        """Whether a line of a delivered file is one of the people's; one of a wrong width is looked at as text."""
        if isinstance(row, str):
            return self.in_text(row)
        return any(person.in_fields(row) for person in self.people)

    def _in_parquet(self, path: Path) -> bool:
        import pyarrow as pa

        try:
            mask = self._rows_of(path)
        except (pa.ArrowException, OSError):
            return self._in_bytes(path)
        return mask is not None and bool(mask.any())

    def _in_bytes(self, path: Path) -> bool:
        """Whether all values of a key occur at all, however they are written."""
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return any(
                all(any(data.find(form) >= 0 for form in _forms(value)) for value in person.values.values())
                for person in self.people
            )

    def _delimiter(self, header: str) -> str | None:
        for delimiter in _DELIMITERS:
            names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
            if set(self.columns) <= set(names):
                return delimiter
        return None


def _rows(text: IO[str], delimiter: str) -> Iterator["Mapping[str, str] | str"]:
    reader = csv.reader(text, delimiter=delimiter)
    names = [name.strip() for name in next(reader)]
    for row in reader:
        if len(row) == len(names):
            yield dict(zip(names, row, strict=True))
        else:
            yield delimiter.join(row)


def _forms(value: str) -> Iterator[bytes]:
    """The bytes in which files of usual encodings hold a value."""
    written = {value, value.replace('"', '""'), json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    for form in written:
        for encoding in ("utf-8", "utf-16-le", "utf-16-be", "cp1252"):
            try:
                yield form.encode(encoding)
            except UnicodeEncodeError:
                continue


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(1 << 16)
    if start[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return "utf-16"
    try:
        start.decode()
    except UnicodeDecodeError as trouble:
        # the piece may end inside a letter
        if trouble.start < len(start) - 4:
            return "cp1252"
    return "utf-8-sig"


def _plain(value: object) -> str | None:
    if value is None:
        return None
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _cast(value: str, type_: "pa.DataType") -> "pa.Scalar | None":
    """A text as a value of a column; None when no value of the column can be written so."""
    import pyarrow as pa

    try:
        return pa.scalar(value, pa.string()).cast(type_)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        return None


def _between(value: str, bounds: Any, type_: "pa.DataType") -> bool:
    scalar = _cast(value, type_)
    if scalar is None:
        return False
    if bounds is None:
        return True
    try:
        return bool(bounds.min <= scalar.as_py() <= bounds.max)
    except TypeError:
        return True
