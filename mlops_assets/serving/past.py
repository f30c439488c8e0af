"""The past as a server finds it: a SQLite file with the rows that windows look back on, found by entity and time.

What belongs here: the file's format, writing a batch's rows into it, and looking rows up; as plain values, so that
asking what the file holds loads nothing. What does not: which versions it should hold and when (``assets.views``), rows
as Arrow tables (``values``), or what is made of them (``stages.windows``).

``past`` holds each row that counts for some window, under its batch and the place that it has there (``_batch``,
``_place``), with its moment in microseconds (``_moment``) and the columns that windows need. For each entity an index
leads from its values and a span of time to the rows.
``batches`` says of each batch which version its rows are of, and from which moment on they are kept. ``about`` says
what the file was made for, and of which batch on a row's past is there as a whole.

Whoever writes holds a lock, and writes in one transaction; in WAL mode readers see what was there before until it is
over, and wait for nobody. The file is a view: it may be deleted at any time, and is made again from the store.

``FORMAT`` is raised whenever an older reader would misread the file; a file of another format is made again.
"""

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from mlops_assets.contract.expression import parse
from mlops_assets.contract.model import Contract
from mlops_assets.errors import UserError

FORMAT = 1

PATIENCE = 30.0
"""Seconds to wait for somebody else's transaction; readers wait only while a file is recovered after a crash."""

_AGAIN = "make it again with: mlops-assets online DATASET"
_CACHE = 64_000  # kilobytes: rows come in the order of time, and go into an index in any
_MICRO = 1_000_000
_SIDES = ("", "-wal", "-shm")

Row = tuple[Any, ...]


class NoPastError(UserError):
    """The file is not there, cannot be read, or was made for other windows."""


class Reach(NamedTuple):
    """How far back windows of an entity look: from ``soonest`` microseconds before a row to less than ``longest``."""

    by: tuple[str, ...]
    longest: int
    soonest: int


@dataclass(frozen=True)
class Layout:
    """What a file holds: columns by name with the contract's word for their type, and the ``reaches`` of entities."""

    columns: Mapping[str, str]
    reaches: tuple[Reach, ...]

    @cached_property
    def said(self) -> str:
        """As the file says it of itself. How far windows reach is no part of it: an index serves any span."""
        columns = [list(item) for item in self.columns.items()]
        return json.dumps({"format": FORMAT, "columns": columns, "by": [list(each.by) for each in self.reaches]})

    @cached_property
    def names(self) -> Mapping[str, str]:
        """The columns' quoted names in SQLite, which takes ``A`` and ``a`` for one."""
        taken: set[str] = set()
        found: dict[str, str] = {}
        for place, name in enumerate(self.columns):
            told = name if name.casefold() not in taken and not name.startswith("_") else f"{name} {place}"
            taken.add(told.casefold())
            found[name] = '"' + told.replace('"', '""') + '"'
        return found

    @property
    def listed(self) -> str:
        """The columns' names as a list."""
        return ", ".join(self.names.values())


def layout_of(contract: Contract) -> Layout:
    """What the file holds for a contract's windows: the columns are those of ``stages.windows.needed``."""
    time, event_time = contract.windows.time, contract.sources[contract.spine].event_time
    names = {time} if time else set(event_time.columns if event_time else ())
    spans: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    for window in contract.windows.each:
        names |= {*window.by, *(parse(window.of).columns if window.of is not None else ())}
        # rounded one by one, as windows does
        lag, over = round(window.known_after * _MICRO), round(window.over * _MICRO)
        spans.setdefault(window.by, []).append((lag + over, lag))
    reaches = (
        Reach(by, max(longest for longest, _ in each), min(soonest for _, soonest in each))
        for by, each in spans.items()
    )
    known = contract.cleaned_columns().items()
    return Layout({name: column.type for name, column in known if name in names}, tuple(reaches))


class Held(NamedTuple):
    """What a file holds of a batch: ``rows`` of ``version`` from the moment ``since`` on (None: all that count).

    ``oldest`` and ``newest`` are the first and the last moment of all its rows, those that count for no window too.
    Moments are microseconds.
    """

    batch: str
    version: str
    since: int | None
    rows: int
    oldest: int | None
    newest: int | None


class Kept(NamedTuple):
    """What a file can answer for: rows of the batches from ``first`` on that happen from ``moment`` on; None: any."""

    first: str | None = None
    moment: int | None = None


class Ask(NamedTuple):
    """What to look up: rows of an entity (``values`` of the reach's ``by``) before ``moment``, as far as it reaches.

    Rows of batches before ``first`` or after ``last`` are left out; None is no bound.
    """

    reach: Reach
    values: tuple[Any, ...]
    moment: int
    first: str | None = None
    last: str | None = None


class Writer:
    """A file being written, in one transaction; see ``writing``."""

    def __init__(self, connection: sqlite3.Connection, layout: Layout) -> None:
        self._connection = connection
        self._layout = layout

    def held(self) -> dict[str, Held]:
        """What there is, by batch."""
        return _held(self._connection)

    def put(self, held: Held, rows: Iterable[Row]) -> int:
        """Put a batch's rows in the place of those that were there; returns how many those were.

        A row is its place, its moment, and the values of the layout's columns. ``held.rows`` is counted here.
        """
        gone = self.drop(held.batch)
        marks = ", ".join("?" * (2 + len(self._layout.columns)))
        done = self._connection.executemany(
            f"INSERT INTO past (_batch, _place, _moment, {self._layout.listed}) "  # noqa: S608 - quoted names
            f"VALUES ({_text(held.batch)}, {marks})",
            rows,
        )
        self._connection.execute("INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?)", held._replace(rows=done.rowcount))
        return gone

    def drop(self, batch: str) -> int:
        """Take a batch's rows away; returns how many there were."""
        self._connection.execute("DELETE FROM batches WHERE batch = ?", (batch,))
        return self._connection.execute("DELETE FROM past WHERE _batch = ?", (batch,)).rowcount

    def keep(self, kept: Kept, since: int | None) -> int:
        """Say what can be answered for, and take away what happened before ``since``; returns how many rows did."""
        self._connection.execute("UPDATE about SET first = ?, moment = ?", kept)
        if since is None:
            return 0
        gone = self._connection.execute("DELETE FROM past WHERE _moment < ?", (since,)).rowcount
        self._connection.execute(
            "UPDATE batches SET since = ?, rows = (SELECT count(*) FROM past WHERE _batch = batch) "
            "WHERE since IS NULL OR since < ?",
            (since, since),
        )
        return gone


@contextmanager
def writing(path: Path, layout: Layout) -> Iterator[Writer]:
    """The file, made if it is not there or holds something else, in one transaction that ends with the block.

    Whoever calls holds the lock that keeps others from writing. A damaged file is made again, empty.

    Raises:
        UserError: the disk refuses, or somebody without the lock is writing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        connection = _mended(path, layout)
        try:
            yield Writer(connection, layout)
            connection.execute("COMMIT")
            # What was deleted also leaves the log, unless a reader still needs it; then the next writer sees to that.
            connection.execute("PRAGMA busy_timeout = 0")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()  # what was not committed is rolled back
    except sqlite3.DatabaseError as trouble:
        raise UserError(
            f"{path} cannot be written: {trouble}. It is a view of the store: mend that or delete it, and {_AGAIN}."
        ) from trouble


def _mended(path: Path, layout: Layout) -> sqlite3.Connection:
    """A connection inside of a transaction, on a sound file of this layout."""
    try:
        return _opened(path, layout)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        remove(path)
        return _opened(path, layout)


def _opened(path: Path, layout: Layout) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
    try:
        connection.execute(f"PRAGMA cache_size = -{_CACHE}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # what a power cut takes is noticed, and put back
        connection.execute("PRAGMA secure_delete = ON")  # rows of a person that were erased are gone from the file
        connection.execute("BEGIN IMMEDIATE")
        if _said(connection) != layout.said:
            _make(connection, layout)
    except BaseException:
        connection.close()
        raise
    return connection


def _make(connection: sqlite3.Connection, layout: Layout) -> None:
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        connection.execute(f'DROP TABLE "{name}"')
    connection.execute("CREATE TABLE about (said TEXT NOT NULL, first TEXT, moment INTEGER)")
    connection.execute("INSERT INTO about (said) VALUES (?)", (layout.said,))
    connection.execute(
        "CREATE TABLE batches (batch TEXT PRIMARY KEY, version TEXT NOT NULL, since INTEGER, rows INTEGER NOT NULL, "
        "oldest INTEGER, newest INTEGER) WITHOUT ROWID"
    )
    # Columns have no type of their own: SQLite then keeps each number as it is, 2.0 and -0.0 too.
    connection.execute(
        f"CREATE TABLE past (_batch TEXT NOT NULL, _place INTEGER NOT NULL, _moment INTEGER NOT NULL, {layout.listed}, "
        "PRIMARY KEY (_batch, _place))"
    )
    for place, reach in enumerate(layout.reaches):
        columns = ", ".join([*(layout.names[name] for name in reach.by), "_moment"])
        connection.execute(f"CREATE INDEX entity_{place} ON past ({columns})")


def remove(path: Path) -> None:
    """Delete the file with all that SQLite keeps beside it; whoever calls holds the writers' lock."""
    for side in _SIDES:
        path.with_name(path.name + side).unlink(missing_ok=True)


class Past:
    """A file that is only read; any number of threads may ask."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self._path = path
        self._layout = layout
        self._threads = threading.local()

    def held(self) -> dict[str, Held]:
        """What there is, by batch: which versions an answer stands on. Raises as ``rows``."""
        with self._reading() as connection:
            return _held(connection)

    def kept(self) -> Kept:
        """What can be answered for. Raises as ``rows``."""
        with self._reading() as connection:
            return _kept(connection)

    def rows(self, asks: Sequence[Ask]) -> tuple[list[Row], Kept]:
        """The values of all that is asked for, each row once, by batch and place; and what can be answered for.

        Raises:
            NoPastError: the file is not there, cannot be read, or was made for other windows.
        """
        found: dict[tuple[str, int], Row] = {}
        with self._reading() as connection:
            kept = _kept(connection)
            for ask in asks:
                query, values = self._query(ask)
                for row in connection.execute(query, values):
                    found[row[0], row[1]] = row[2:]
        return [found[key] for key in sorted(found)], kept

    def _query(self, ask: Ask) -> tuple[str, list[Any]]:
        place, names = self._layout.reaches.index(ask.reach), self._layout.names
        latest = ask.moment - max(ask.reach.soonest, 1)  # a row never counts for those of its own moment
        bounds = [
            *((f"{names[name]} = ?", value) for name, value in zip(ask.reach.by, ask.values, strict=True)),
            ("_moment > ?", ask.moment - ask.reach.longest),
            ("_moment <= ?", latest),
            ("_batch >= ?", ask.first),
            ("_batch <= ?", ask.last),
        ]
        bounds = [(text, value) for text, value in bounds if value is not None]
        where = " AND ".join(text for text, _ in bounds)
        listed = self._layout.listed
        query = f"SELECT _batch, _place, {listed} FROM past INDEXED BY entity_{place} WHERE {where}"  # noqa: S608
        return query, [value for _, value in bounds]

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """One state of the file for the whole block."""
        try:
            connection = self._connection()
            connection.execute("BEGIN")
            try:
                if _said(connection) != self._layout.said:
                    raise NoPastError(
                        f"{self._path} was made for other windows than the contract's, or never filled; {_AGAIN}."
                    )
                yield connection
            finally:
                connection.execute("ROLLBACK")
        except sqlite3.DatabaseError as trouble:
            self._threads.connection = None
            raise NoPastError(f"{self._path} cannot be read: {trouble}; {_AGAIN}.") from trouble

    def _connection(self) -> sqlite3.Connection:
        """The thread's own connection, to the file that has the name now: a damaged one gives it to another."""
        try:
            found = self._path.stat()
        except OSError:
            found = None
        identity = (found.st_dev, found.st_ino) if found else None
        if getattr(self._threads, "connection", None) is None or self._threads.identity != identity:
            self._threads.connection, self._threads.identity = _reader(self._path), identity
        kept: sqlite3.Connection = self._threads.connection
        return kept


def held_in(path: Path, layout: Layout) -> dict[str, Held]:
    """What a file holds; nothing when there is none, none that can be read, or one that was made for other windows."""
    try:
        connection = _reader(path)
    except NoPastError:
        return {}
    try:
        return _held(connection) if _said(connection) == layout.said else {}
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        return {}
    finally:
        connection.close()


def _reader(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise NoPastError(f"There is no {path}, in which the past of each entity stands; {_AGAIN}.")
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=PATIENCE, isolation_level=None)


def _said(connection: sqlite3.Connection) -> str | None:
    """What a file says of itself; None of an empty one and of one that is none of ours."""
    ours = connection.execute("SELECT 1 FROM pragma_table_info('about') WHERE name = 'said'").fetchone()
    said = connection.execute("SELECT said FROM about").fetchone() if ours else None
    return str(said[0]) if said else None


def _held(connection: sqlite3.Connection) -> dict[str, Held]:
    rows = connection.execute("SELECT batch, version, since, rows, oldest, newest FROM batches ORDER BY batch")
    return {row[0]: Held(*row) for row in rows}


def _kept(connection: sqlite3.Connection) -> Kept:
    return Kept(*connection.execute("SELECT first, moment FROM about").fetchone())


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
