"""Tagged states of one asset as versions of a Delta table over the same parquet files: nothing is copied.

What belongs here: the table's schema, its log, and what the log says about tags and files. What does not: which files
make a tagged state, and who may delete one.

The log lies beside the batches (``data/<asset>/_delta_log``, ``data/<asset>/p=<batch>/<version>.parquet``), because
delta-rs and DuckDB refuse files outside the table, and the folders are hive-style because polars takes the partition
column ``p`` from their names. Each tag is the difference to the state before it: an overwrite would remove and add an
unchanged path in one version, which the protocol forbids. A tag is found by its name in ``commitInfo``: a new column is
a version of its own, so counting would go wrong. The log is a view on the store; deleted, it can be published again.

Readers differ in which folders they can open a table in: none where the path holds an escape such as ``%20`` (refused
here), polars none where it holds a space, a letter outside ASCII or ``=`` (deltalake and DuckDB read those).

Statistics hold the number of rows only: minima and maxima are values of rows, and would outlive an erased person.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from mlops_assets.errors import ConflictError, CorruptError, NotStoredError, StoreError
from mlops_assets.store.names import segment

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable, Schema
    from deltalake.transaction import AddAction

PARTITION = "p"
"""The table's partition column: the name of the batch."""

_LOG = "_delta_log"
_TAG = "mlops_assets.tag"
_WHEN = "mlops_assets.when"
_COMMIT = re.compile(r"\d{20}\.json")
_ATTEMPTS = 20

_CONFIGURATION = {
    # a hundred years: VACUUM must not delete files of old tags, nor a checkpoint the commits that name them
    "delta.deletedFileRetentionDuration": "interval 36500 days",
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.enableExpiredLogCleanup": "false",
}

_SIMPLE = {
    "bool": "boolean",
    "int8": "byte",
    "int16": "short",
    "int32": "integer",
    "int64": "long",
    "float": "float",
    "double": "double",
    "string": "string",
    "large_string": "string",
    "binary": "binary",
    "large_binary": "binary",
    "date32[day]": "date",
}

_LADDERS = (("byte", "short", "integer", "long"), ("float", "double"))
"""Types under which deltalake, polars and DuckDB all read files of every narrower one, exactly. Not int to float, nor
date to timestamp: polars refuses those."""

_Type = str | dict[str, Any]
"""A type as the log's JSON says it."""


class _OvertakenError(Exception):
    """Somebody else has published since the table was read."""


@dataclass(frozen=True, slots=True)
class TableFile:
    """One batch of a tagged state.

    ``path`` is relative to the table's folder (``p=2013-01/b3-....parquet``, see ``names.segment``), ``size`` in bytes,
    ``schema`` pairs columns with Arrow types, as manifests record it.
    """

    batch: str
    path: str
    size: int
    rows: int
    schema: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Published:
    """What one publication did: ``version`` is what readers ask the Delta table for to get ``tag``.

    ``added``, ``removed`` and ``kept`` count files against the state before, ``new_columns`` are those that the table
    did not have. Where the tag was published already, everything is kept.
    """

    tag: str
    version: int
    added: int
    removed: int
    kept: int
    new_columns: tuple[str, ...] = ()


def publish(root: Path, files: Sequence[TableFile], tag: str, *, when: str, dry: bool = False) -> Published:
    """Make a tagged state of the asset in ``root`` a version of its Delta table.

    A tag that is published already with the same files is left as it is. A publication that was cut off is finished by
    asking for it again. ``when`` is an ISO time with zone; ``dry`` says what would be done and writes nothing.

    A column that a batch lacks is read as null. Of integers, and of floats, the table has the widest type.

    Raises ``StoreError`` (nothing is written) when a column changes its type otherwise or has a type that Delta cannot
    express, when the tag is published with other files, when there are no files, when the folder's path is one that
    readers do not find, or without the package ``deltalake``;
    ``NotStoredError`` for a file that is not there; ``ConflictError`` when others publish all the time;
    ``CorruptError`` when the log or a file is damaged.
    """
    moment = datetime.fromisoformat(when)
    if moment.tzinfo is None:
        raise ValueError(f"{when!r} has no time zone")
    _check_request(root, files, tag)
    _require_deltalake()
    for _ in range(_ATTEMPTS):
        with suppress(_OvertakenError):
            return _attempt(root, files, tag, moment, dry=dry)
    raise ConflictError(
        f"The Delta table in {root} changed {_ATTEMPTS} times while tag {tag!r} was being published; "
        "publish it again when nobody else publishes this asset."
    )


def published(root: Path) -> dict[str, int]:
    """The Delta version of each published tag of the asset in ``root``, in the order of publication.

    Raises ``CorruptError`` for a damaged log.
    """
    tags: dict[str, int] = {}
    for path in _commits(root):
        for action in _actions(path, "commitInfo"):
            tag = action.get(_TAG)
            if isinstance(tag, str):
                tags[tag] = int(path.stem)
    return tags


def published_paths(root: Path) -> set[str]:
    """Every data file that some version of the table names, relative to ``root``: deleting one breaks that version.

    Raises ``CorruptError`` for a damaged log.
    """
    paths = {action["path"] for path in _commits(root) for action in _actions(path, "add")}
    return {unquote(path) for path in paths | _checkpointed(root)}


def _check_request(root: Path, files: Sequence[TableFile], tag: str) -> None:
    if not tag:
        raise ValueError("a tag needs a name")
    place = str(root.absolute())
    if unquote(place) != place:
        raise StoreError(
            f"A Delta table cannot lie in {place}: its readers take %XX in that path for another letter and look "
            "elsewhere. Name the dataset and the source in letters, digits, '-', '_' and '.' of ASCII, and the store's "
            "folder without '%'."
        )
    if not files:
        raise StoreError(f"Tag {tag!r} holds no batch of the asset in {root}, and a Delta table needs at least one.")
    seen: set[str] = set()
    for file in files:
        if not file.path.startswith(f"{PARTITION}={segment(file.batch)}/"):
            raise ValueError(f"{file.path} does not lie in the folder of batch {file.batch!r}")
        if file.batch in seen:
            raise ValueError(f"batch {file.batch!r} is given twice")
        seen.add(file.batch)


def _require_deltalake() -> None:
    try:
        import deltalake  # noqa: F401
    except ModuleNotFoundError as trouble:
        raise StoreError(
            "Publishing as a Delta table needs the package deltalake, which is not installed: "
            "pip install 'mlops_assets[delta]'."
        ) from trouble


def _attempt(root: Path, files: Sequence[TableFile], tag: str, moment: datetime, *, dry: bool) -> Published:
    """One try against the table as it is now; raises ``_OvertakenError`` when it has changed before we were done."""
    table = _open(root)
    if table is None:
        return _create(root, files, tag, moment, dry=dry)
    recorded = published(root).get(tag)
    if recorded is not None:
        return _again(root, files, tag, recorded, dry=dry)
    return _change(root, table, files, tag, moment, dry=dry)


def _create(root: Path, files: Sequence[TableFile], tag: str, moment: datetime, *, dry: bool) -> Published:
    from deltalake.transaction import create_table_with_add_actions

    _check_present(root, files)
    columns = _columns(root, files, {})
    if not dry:
        stamp = _milliseconds(moment)
        with _sentences(root):
            create_table_with_add_actions(
                str(root),
                _schema({**columns, PARTITION: "string"}),
                [_add(file, stamp) for file in files],
                partition_by=[PARTITION],
                configuration=_CONFIGURATION,
                commit_properties=_properties(tag, moment),
            )
        _make_durable(root, 0)
    return Published(tag, 0, len(files), 0, 0, tuple(columns))


def _again(root: Path, files: Sequence[TableFile], tag: str, version: int, *, dry: bool) -> Published:
    before = set(_current(root, version))
    after = {file.path for file in files}
    if before != after:
        raise StoreError(
            f"Tag {tag!r} is published already in {root}, as version {version}, with other files "
            f"(of {_batches(map(_batch, before ^ after))}). What is published never changes: publish under a new tag."
        )
    if not dry:
        _make_durable(root, version)
    return Published(tag, version, 0, 0, len(after))


def _change(
    root: Path, table: "DeltaTable", files: Sequence[TableFile], tag: str, moment: datetime, *, dry: bool
) -> Published:
    from deltalake.transaction import RemoveAction

    now = _current(root, table.version())
    wanted = {file.path for file in files}
    new = [file for file in files if file.path not in now]
    gone = {path: size for path, size in now.items() if path not in wanted}
    _check_present(root, new)
    had = _table_columns(table)
    columns = _columns(root, files, had)
    added = {name: type_ for name, type_ in columns.items() if name not in had}
    widened = any(columns[name] != type_ for name, type_ in had.items())
    version = table.version() + bool(added) + widened + 1
    if not dry:
        stamp = _milliseconds(moment)
        if added:
            # without this, the transaction would drop them in silence
            fields = list(_schema(added).fields)
            with _sentences(root, table):
                table.alter.add_columns(fields, commit_properties=_properties())
            table = _opened(root, version - widened - 1)
        if widened:
            with _sentences(root, table):
                _widen(table, columns)
            table = _opened(root, version - 1)
        removals = [RemoveAction(path, True, stamp, size, {PARTITION: _batch(path)}) for path, size in gone.items()]
        with _sentences(root, table):
            table.create_write_transaction(
                [*(_add(file, stamp) for file in new), *removals],
                "append",
                table.schema(),
                [PARTITION],
                commit_properties=_properties(tag, moment),
            )
        _make_durable(root, version)
    return Published(tag, version, len(new), len(gone), len(wanted) - len(new), tuple(added))


def _widen(table: "DeltaTable", columns: Mapping[str, _Type]) -> None:
    """Change the types of columns the table has, and nothing else."""
    fields = {field["name"]: field["type"] for field in json.loads(table.schema().to_json())["fields"]}
    # only this mode writes a schema; as no batch has this name, it replaces no file
    nowhere = [(PARTITION, "=", "\x00")]
    schema = _schema({name: columns.get(name, type_) for name, type_ in fields.items()})
    table.create_write_transaction([], "overwrite", schema, [PARTITION], nowhere, commit_properties=_properties())


def _add(file: TableFile, stamp: int) -> "AddAction":
    from deltalake.transaction import AddAction

    statistics = json.dumps({"numRecords": file.rows})
    return AddAction(file.path, file.size, {PARTITION: file.batch}, stamp, True, statistics)


def _properties(tag: str | None = None, moment: datetime | None = None) -> "CommitProperties":
    from deltalake import CommitProperties

    metadata = {_TAG: tag, _WHEN: moment.isoformat()} if tag is not None and moment is not None else None
    # A difference is right for the version it was taken from alone. delta-rs would put it on top of a later one, as if
    # it were an append: the tag would then hold what the other publication added.
    return CommitProperties(metadata, max_commit_retries=0)


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _batch(path: str) -> str:
    return unquote(path.split("/", maxsplit=1)[0].removeprefix(f"{PARTITION}="))


def _batches(names: Iterable[str], shown: int = 3) -> str:
    ordered = sorted(set(names))
    text = ", ".join(repr(name) for name in ordered[:shown])
    more = f" and {len(ordered) - shown} more" if len(ordered) > shown else ""
    return f"batch{'es' if len(ordered) > 1 else ''} {text}{more}"


# The table as it is


def _open(root: Path, version: int | None = None) -> "DeltaTable | None":
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        if not DeltaTable.is_deltatable(str(root)):
            return None
        table = DeltaTable(root, version)
    except (DeltaError, OSError) as trouble:
        raise _damaged(root / _LOG, trouble) from trouble
    if table.metadata().partition_columns != [PARTITION]:
        raise StoreError(
            f"{root} holds a Delta table that was not published from this store; move its {_LOG} folder away."
        )
    return table


def _opened(root: Path, version: int) -> "DeltaTable":
    """The table at a version that is known to be there, whatever came after it."""
    table = _open(root, version)
    assert table is not None
    return table


def _current(root: Path, version: int) -> dict[str, int]:
    """The size of each data file of a version of the table, by its path."""
    import pyarrow as pa

    actions = pa.table(_opened(root, version).get_add_actions(flatten=True)).select(["path", "size_bytes"])
    # the log holds paths encoded once more
    return {unquote(path): size for path, size in zip(*actions.to_pydict().values(), strict=True)}


def _table_columns(table: "DeltaTable") -> dict[str, _Type]:
    fields = json.loads(table.schema().to_json())["fields"]
    return {field["name"]: field["type"] for field in fields if field["name"] != PARTITION}


def _make_durable(root: Path, version: int) -> None:
    """delta-rs leaves the log to the operating system; a tag that was reported must survive a power cut."""
    for path in (root / _LOG / f"{version:020d}.json", root / _LOG, root):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _sentences(root: Path, table: "DeltaTable | None" = None) -> Iterator[None]:
    """Tell what another publication has overtaken from what the table or the disk refuses."""
    from deltalake.exceptions import DeltaError

    try:
        yield
    except (DeltaError, OSError) as trouble:
        latest = _open(root)
        if latest is not None and (table is None or latest.version() > table.version()):
            raise _OvertakenError from trouble
        raise StoreError(
            f"The Delta table in {root} could not be written: {_first_line(trouble)}. "
            "Look at the disk and the rights on that folder, and publish the tag again."
        ) from trouble


def _first_line(trouble: Exception) -> str:
    return str(trouble).strip().split("\n")[0].rstrip(".")


def _damaged(path: Path, trouble: Exception) -> CorruptError:
    return CorruptError(
        f"{path} is damaged: {_first_line(trouble)}. Move the folder {_LOG} away and publish the tags again; "
        "the store's own record is not in it."
    )


# The log, read without deltalake: what may be deleted must not depend on a package that is not always there


def _commits(root: Path) -> list[Path]:
    return sorted(path for path in (root / _LOG).glob("*.json") if _COMMIT.fullmatch(path.name))


def _actions(path: Path, kind: str) -> Iterator[dict[str, Any]]:
    """The actions of one kind in one commit."""
    mark = f'"{kind}"'.encode()
    try:
        # split at line feeds only: a batch's name may hold what else Unicode takes for the end of a line
        lines = path.read_bytes().rstrip(b"\n").split(b"\n")
        # one that is empty or torn has no JSON at its end, whatever kind is asked for
        json.loads(lines[-1])
        for line in lines:
            if mark in line:
                action = json.loads(line).get(kind)
                if action is not None:
                    yield action
    except ValueError as trouble:
        raise _damaged(path, trouble) from trouble


def _checkpointed(root: Path) -> set[str]:
    """Paths in checkpoints: another writer of the table may have dropped the commits before one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths: set[str] = set()
    for path in sorted((root / _LOG).rglob("*.parquet")):
        try:
            with pq.ParquetFile(path) as file:
                if "add" in file.schema_arrow.names:
                    adds = file.read(columns=["add.path"]).column("add").combine_chunks()
                    paths.update(adds.field("path").drop_null().to_pylist())
        except (pa.ArrowException, OSError) as trouble:
            raise _damaged(path, trouble) from trouble
    return paths


# Schemas


def _schema(columns: Mapping[str, _Type]) -> "Schema":
    from deltalake import Schema

    fields = [{"name": name, "type": type_, "nullable": True, "metadata": {}} for name, type_ in columns.items()]
    return Schema.from_json(json.dumps({"type": "struct", "fields": fields}))


def _check_present(root: Path, files: Iterable[TableFile]) -> None:
    for file in files:
        path = root / file.path
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            raise NotStoredError(
                f"{path} is not in this copy of the store; fetch batch {file.batch!r} first, then publish the tag."
            ) from None
        if size != file.size:
            raise CorruptError(
                f"{path} has {size} bytes where {file.size} were written; restore it from another copy of the store."
            )


def _columns(root: Path, files: Sequence[TableFile], had: Mapping[str, _Type]) -> dict[str, _Type]:
    """The table's columns: those it has, then those of the files in order of first appearance.

    Raises ``StoreError`` with a sentence for each column that cannot be one.
    """
    used = _used(root, files)
    columns = dict(had)
    sentences = []
    for name, types in used.items():
        sentence = _name_trouble(name, [*had, *used])
        for type_, batches in types.items():
            delta = _delta_type(type_)
            if delta is None:
                sentence = sentence or (
                    f"Column {name!r} of {_batches(batches)} holds {type_}, which a Delta table cannot express; "
                    f"{_hint(type_)}."
                )
                continue
            wide = _wider(columns.get(name, delta), delta)
            if wide is None:
                sentence = sentence or _conflict(name, types, had.get(name))
                continue
            columns[name] = wide
        if sentence:
            sentences.append(sentence)
    if sentences:
        raise StoreError(*(f"{root} was not published: {sentence}" for sentence in sentences))
    return columns


def _used(root: Path, files: Sequence[TableFile]) -> dict[str, dict["pa.DataType", list[str]]]:
    """The batches that have each type of each column; one file is opened for each schema that manifests record."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schemas: dict[tuple[tuple[str, str], ...], pa.Schema] = {}
    used: dict[str, dict[pa.DataType, list[str]]] = {}
    for file in files:
        if file.schema not in schemas:
            path = root / file.path
            try:
                schemas[file.schema] = pq.read_schema(path)
            except (pa.ArrowException, OSError) as trouble:
                raise CorruptError(
                    f"{path} is damaged: {_first_line(trouble)}. Restore it from another copy of the store."
                ) from trouble
            if schemas[file.schema].names != [name for name, _ in file.schema]:
                raise CorruptError(
                    f"{path} has other columns than its manifest says; restore it from another copy of the store."
                )
        for field in schemas[file.schema]:
            used.setdefault(field.name, {}).setdefault(field.type, []).append(file.batch)
    return used


def _name_trouble(name: str, names: Iterable[str]) -> str | None:
    if name.casefold() == PARTITION:
        return f"Column {name!r} has the name of the column that says the batch in the Delta table; rename it."
    twins = sorted({other for other in names if other != name and other.casefold() == name.casefold()})
    if twins:
        return f"Columns {name!r} and {twins[0]!r} are the same to a Delta table, which ignores case; rename one."
    return None


def _conflict(name: str, types: Mapping["pa.DataType", Sequence[str]], had: _Type | None) -> str:
    held = [f"{type_} in {_batches(batches)}" for type_, batches in types.items()]
    if had is not None:
        held.insert(0, f"{had if isinstance(had, str) else json.dumps(had)} in the tags published before")
    return (
        f"Column {name!r} holds {' and '.join(held)}, and a column of a Delta table has one type; give it one, or "
        f"move {_LOG} away and publish again the tags that fit together."
    )


def _wider(one: _Type, other: _Type) -> _Type | None:
    """The type under which files of both are read right, if there is one."""
    if one == other:
        return one
    for ladder in _LADDERS:
        if one in ladder and other in ladder:
            return max(str(one), str(other), key=ladder.index)
    return None


def _delta_type(type_: "pa.DataType") -> _Type | None:
    """How Delta names the type of a parquet column; None where deltalake, polars and DuckDB do not all read it."""
    from pyarrow import types

    if simple := _SIMPLE.get(str(type_)):
        return simple
    if types.is_timestamp(type_) and type_.unit != "ns":
        return "timestamp" if type_.tz else "timestamp_ntz"
    if types.is_decimal(type_) and type_.precision <= 38:  # noqa: PLR2004 - Delta's widest
        return f"decimal({type_.precision},{type_.scale})"
    return "binary" if types.is_fixed_size_binary(type_) else _nested(type_)


def _nested(type_: "pa.DataType") -> _Type | None:
    from pyarrow import types

    if types.is_list(type_) or types.is_large_list(type_):
        element = _delta_type(type_.value_type)
        return element and {"type": "array", "elementType": element, "containsNull": True}
    if types.is_map(type_):
        key, value = _delta_type(type_.key_type), _delta_type(type_.item_type)
        both = {"type": "map", "keyType": key, "valueType": value, "valueContainsNull": True}
        return both if key and value else None
    if types.is_struct(type_):
        return _struct([(type_.field(index).name, type_.field(index).type) for index in range(type_.num_fields)])
    return None


def _struct(parts: Sequence[tuple[str, "pa.DataType"]]) -> _Type | None:
    fields = [{"name": name, "type": _delta_type(part), "nullable": True, "metadata": {}} for name, part in parts]
    whole = all(field["type"] for field in fields) and len({name.casefold() for name, _ in parts}) == len(parts)
    return {"type": "struct", "fields": fields} if whole else None


def _hint(type_: "pa.DataType") -> str:
    from pyarrow import types

    if types.is_unsigned_integer(type_):
        return "cast it to a signed integer that is wide enough"
    if types.is_timestamp(type_):
        return "cast it to microseconds"
    if types.is_time(type_) or types.is_duration(type_):
        return "cast it to a number, or a time of day to text"
    if types.is_null(type_):
        return "cast it to the type it would have if it had values"
    if types.is_dictionary(type_):
        return "cast it to the type of its values"
    return "cast it to a plain type"
