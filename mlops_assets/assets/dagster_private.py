"""Everything of Dagster that is not public, and nothing else.

What belongs here: the storages a home's ``dagster.yaml`` names, the order and the transaction in which a batch's events
are written, and every import whose path has an underscore; each behaviour relied on has a test, and Dagster is pinned.
What does not: what is built on it. The module is loaded by every Dagster process of the home, so it imports nothing but
Dagster and SQLAlchemy.
"""

import json
import os
import socket
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import sqlalchemy
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as Target,
)
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.events.log import EventLogEntry
from dagster._core.instance.utils import RUNLESS_RUN_ID
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)
from dagster._core.storage.event_log import ConsolidatedSqliteEventLogStorage, EventLogStorage, SqlEventLogStorage
from dagster._core.storage.event_log.polling_event_watcher import SqlPollingEventWatcher
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, AssetKeyTable
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._serdes import ConfigurableClassData, deserialize_value, serialize_value
from dagster_shared.record import replace

if TYPE_CHECKING:
    from dagster._core.workspace.context import WorkspaceProcessContext

__all__ = [
    "EventLog",
    "RunLog",
    "ScheduleLog",
    "Target",
    "is_local",
    "latest_check",
    "latest_materializations",
    "latest_storage_ids",
    "log_partition",
    "log_verdicts",
    "one_transaction",
    "passed_on",
    "served",
    "workspace_of",
]

# Seconds a writer waits for another one before SQLite says that the database is locked.
_PATIENCE = 60


_checks = AssetCheckExecutionsTable.c
_UPDATE_CHECK = (
    AssetCheckExecutionsTable.update()
    .where(
        _checks.asset_key == sqlalchemy.bindparam("of_asset"),
        _checks.check_name == sqlalchemy.bindparam("of_check"),
        _checks.run_id == sqlalchemy.bindparam("of_run"),
        _checks.partition.is_not_distinct_from(sqlalchemy.bindparam("of_partition")),
    )
    .values(
        {
            name: sqlalchemy.bindparam(name)
            for name in (
                "execution_status",
                "evaluation_event",
                "evaluation_event_timestamp",
                "evaluation_event_storage_id",
                "materialization_event_storage_id",
            )
        }
    )
)
"""The row that a planned check left, made into its verdict: built once, for building it costs what running it does."""


@lru_cache(maxsize=32)
def _engine_of(url: str, process: int) -> sqlalchemy.Engine:
    """The one engine of this process for a database; a forked child must not use its parent's connections."""
    del process
    return sqlalchemy.create_engine(
        url, poolclass=sqlalchemy.QueuePool, max_overflow=-1, connect_args={"timeout": _PATIENCE}
    )


def kept_engine(url: str) -> sqlalchemy.Engine:
    """An engine that is made once: with a new one per statement, as in stock Dagster, each is compiled again."""
    return _engine_of(url, os.getpid())


class EventLog(ConsolidatedSqliteEventLogStorage):
    """Dagster's SQLite event log in one file, with an engine that is kept and transactions that hold many events."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._here = threading.local()
        self._known: dict[str, bool] = {}
        super().__init__(base_dir, inst_data)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What this thread stores until the end is written at once, or not at all; may be nested."""
        if self._open is not None:
            yield
            return
        with kept_engine(self._conn_string).connect() as connection, connection.begin():
            self._here.connection = connection
            try:
                yield
            finally:
                self._here.connection = None

    @property
    def _open(self) -> sqlalchemy.Connection | None:
        return getattr(self._here, "connection", None)

    @contextmanager
    def _connect(self) -> Iterator[sqlalchemy.Connection]:
        if self._open is not None:
            yield self._open
            return
        with kept_engine(self._conn_string).connect() as connection, connection.begin():
            yield connection

    def store_event(self, event: EventLogEntry) -> None:
        """Stores the event and what follows from it in one transaction."""
        with self.transaction():
            super().store_event(event)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Stores all of the events or none."""
        with self.transaction():
            super().store_event_batch(events)

    def recorded(self) -> Target:
        """The materialization that this thread stored last, without asking the database for it."""
        recorded: Target = self._here.recorded
        return recorded

    # An event's JSON is most of what storing it costs, and stock Dagster makes it two or three times over.

    def _event_to_row(self, event: EventLogEntry) -> dict[str, Any]:
        row = super()._event_to_row(event)
        self._here.written = (event, row["event"])
        return row

    def _text_of(self, event: EventLogEntry) -> str:
        written = getattr(self._here, "written", None)
        return str(written[1]) if written and written[0] is event else serialize_value(event)

    def _store_asset_event(self, conn: sqlalchemy.Connection, event: EventLogEntry, event_id: int) -> None:
        said = event.get_dagster_event()
        if said.is_step_materialization:
            self._here.recorded = Target(storage_id=event_id, run_id=event.run_id, timestamp=event.timestamp)
        values = self._get_asset_entry_values(event, event_id, self._has_asset_key_index_cols_on_connection(conn))
        if not (values and said.asset_key):
            return
        # Stock Dagster inserts first and updates when that fails: for all but the first event of an asset it fails.
        key = AssetKeyTable.c.asset_key == said.asset_key.to_string()
        if conn.execute(AssetKeyTable.update().values(**values).where(key)).rowcount == 0:
            super()._store_asset_event(conn, event, event_id)

    def _store_asset_check_evaluation_planned(self, event: EventLogEntry, event_id: int | None) -> None:
        planned = event.get_dagster_event().event_specific_data
        if not isinstance(planned, AssetCheckEvaluationPlanned) or not planned.partitions_subset:
            super()._store_asset_check_evaluation_planned(event, event_id)
            return
        row = {
            "asset_key": planned.asset_key.to_string(),
            "check_name": planned.check_name,
            "run_id": event.run_id,
            "execution_status": AssetCheckExecutionRecordStatus.PLANNED.value,
            "evaluation_event": self._text_of(event),
            "evaluation_event_timestamp": self._event_insert_timestamp(event),  # type: ignore[no-untyped-call]
            "evaluation_event_storage_id": event_id,
        }
        keys = planned.partitions_subset.get_partition_keys()
        with self.index_connection() as conn:  # type: ignore[no-untyped-call]
            conn.execute(AssetCheckExecutionsTable.insert(), [row | {"partition": key} for key in keys])

    def _update_asset_check_evaluation(self, event: EventLogEntry, event_id: int | None) -> None:
        evaluation = event.get_dagster_event().asset_check_evaluation_data
        status = AssetCheckExecutionRecordStatus
        target = evaluation.target_materialization_data
        with self.index_connection() as conn:  # type: ignore[no-untyped-call]
            found = conn.execute(
                _UPDATE_CHECK,
                {
                    "of_asset": evaluation.asset_key.to_string(),
                    "of_check": evaluation.check_name,
                    "of_run": event.run_id,
                    "of_partition": evaluation.partition,
                    "execution_status": (status.SUCCEEDED if evaluation.passed else status.FAILED).value,
                    "evaluation_event": self._text_of(event),
                    "evaluation_event_timestamp": self._event_insert_timestamp(event),  # type: ignore[no-untyped-call]
                    "evaluation_event_storage_id": event_id,
                    "materialization_event_storage_id": target.storage_id if target else None,
                },
            )
            if found.rowcount == 0:
                super()._update_asset_check_evaluation(event, event_id)

    def has_table(self, table_name: str) -> bool:
        """Whether the table exists; a table that was seen once stays."""
        if not self._known.get(table_name):
            with self._connect() as connection:
                self._known[table_name] = bool(connection.dialect.has_table(connection, table_name))
        return self._known[table_name]

    def _has_asset_key_col_on_connection(self, conn: sqlalchemy.Connection, column_name: str) -> bool:
        name = f"asset_keys.{column_name}"
        if not self._known.get(name):
            self._known[name] = super()._has_asset_key_col_on_connection(conn, column_name)
        return self._known[name]

    # The stock watcher watches the database file, which is not the one that is written to in WAL mode.

    @cached_property
    def _watcher(self) -> SqlPollingEventWatcher:
        return SqlPollingEventWatcher(self)

    def watch(self, run_id: str, cursor: str | None, callback: Callable[[EventLogEntry, str], None]) -> None:
        """Calls back for each event of the run from the cursor on."""
        self._watcher.watch_run(run_id, cursor, callback)

    def end_watch(self, run_id: str, handler: Callable[[EventLogEntry, str], None]) -> None:
        """Stops calling back."""
        self._watcher.unwatch_run(run_id, handler)

    def dispose(self) -> None:
        """Lets go of the database's files."""
        if "_watcher" in self.__dict__:
            self._watcher.close()
        kept_engine(self._conn_string).dispose()


class _KeptEngine:
    """A storage of Dagster's in one SQLite file, with an engine that is kept."""

    _conn_string: str

    @contextmanager
    def connect(self) -> Iterator[sqlalchemy.Connection]:
        """A transaction on a connection that is used again."""
        with kept_engine(self._conn_string).connect() as connection, connection.begin():
            yield connection

    def dispose(self) -> None:
        """Lets go of the database's files."""
        kept_engine(self._conn_string).dispose()


class RunLog(_KeptEngine, SqliteRunStorage):
    """Dagster's SQLite run storage with an engine that is kept."""

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> "RunLog":
        """The storage that ``dagster.yaml`` names."""
        return cls.from_local(inst_data=inst_data, **config_value)


class ScheduleLog(_KeptEngine, SqliteScheduleStorage):
    """Dagster's SQLite storage of ticks and sensors with an engine that is kept."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "ScheduleLog":
        """The storage that ``dagster.yaml`` names."""
        return cls.from_local(inst_data=inst_data, **config_value)  # type: ignore[return-value]


def one_transaction(instance: dg.DagsterInstance) -> AbstractContextManager[None]:
    """Writes the events logged inside at once, where the home's storage can; nothing slow belongs inside."""
    storage = instance.event_log_storage
    return storage.transaction() if isinstance(storage, EventLog) else nullcontext()


def log_partition(
    context: dg.AssetExecutionContext,
    materialization: dg.AssetMaterialization | None,
    evaluations: Sequence[dg.AssetCheckEvaluation],
) -> Target | None:
    """Tells Dagster of one batch of one stage: the version that was published, then the verdicts on it.

    A verdict counts for a partition only while it names the partition's newest materialization, so it comes after that
    and names it. Of a refused version there are verdicts alone, which name the version that stays published: so the
    check shows as failed until a version is accepted. The run must then end in ``dg.Failure``, which leaves the
    partition red too.

    Args:
        context: of the running step.
        materialization: with asset key, partition and the version's tags; None when the version was refused.
        evaluations: of the same asset and partition; what they stand on is filled in here.

    Returns:
        The materialization the verdicts name: the one just recorded; of a refused version the one before, if any.
    """
    subject = materialization or next(iter(evaluations), None)
    if subject is None:
        return None
    with one_transaction(context.instance):
        storage = context.instance.event_log_storage
        if materialization is not None:
            context.log_event(materialization)
        if materialization is not None and isinstance(storage, EventLog):
            target: Target | None = storage.recorded()
        else:
            only = None if subject.partition is None else [subject.partition]
            target = latest_materializations(context.instance, subject.asset_key, only).get(subject.partition)
        for evaluation in evaluations:
            context.log_event(replace(evaluation, target_materialization_data=target))
    return target


def latest_materializations(
    instance: dg.DagsterInstance, key: dg.AssetKey, partitions: Collection[str] | None
) -> dict[str | None, Target]:
    """The newest materialization of each of the partitions that has one; ``{None: ...}`` of an unpartitioned asset."""
    wanted = None if partitions is None else sorted(set(partitions))
    count = 1 if wanted is None else len(wanted)
    chosen = dg.AssetRecordsFilter(asset_key=key, asset_partitions=wanted)
    found: dict[str | None, Target] = {}
    cursor: str | None = None
    while len(found) < count:
        page = instance.fetch_materializations(chosen, limit=min(count, 1000), cursor=cursor)  # newest first
        for record in page.records:
            target = Target(storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp)
            found.setdefault(record.partition_key, target)
        if not page.has_more:
            break
        cursor = page.cursor
    return found


def latest_storage_ids(instance: dg.DagsterInstance, key: dg.AssetKey, partitions: Collection[str]) -> dict[str, int]:
    """The event of the newest materialization of each of the partitions that has one, as input tags point to it."""
    if not partitions:
        return {}
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION
    return dict(instance.event_log_storage.get_latest_storage_id_by_partition(key, kind, set(partitions)))


def latest_check(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey, partition: str | None
) -> AssetCheckExecutionRecord | None:
    """The newest run or verdict of one check on one partition; the public function answers with any partition's."""
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [key], partition_filter=PartitionKeyFilter(key=partition)
    )
    return records.get(key)


def passed_on(key: dg.AssetKey) -> dg.Output[None]:
    """Lets the steps below an asset go on whose events were logged already: without an output Dagster skips them.

    The mark keeps Dagster from logging a materialization of its own.
    """
    return dg.Output(
        None, output_name=key.to_python_identifier(), metadata={SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True}
    )


@contextmanager
def workspace_of(file: Path, *, read_only: bool) -> Iterator["WorkspaceProcessContext"]:
    """What a web server of this process's Dagster home serves: the code locations that a ``workspace.yaml`` names.

    With ``read_only`` Dagster grants no permission that would change anything, and the UI shows its buttons so.
    """
    # Only a web server needs these, and they are slow to import.
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import WorkspaceFileTarget

    with dg.DagsterInstance.get() as instance:
        # As dagster-webserver does; SQLite has nothing to adapt, PostgreSQL its timeouts and pools.
        instance.optimize_for_webserver(statement_timeout=15_000, pool_recycle=3_600, max_overflow=20)
        with WorkspaceProcessContext(
            instance, WorkspaceFileTarget([str(file)]), version=dg.__version__, read_only=read_only
        ) as context:
            yield context


def is_local(instance: dg.DagsterInstance) -> bool:
    """Whether all runs that the instance knows of were launched on this machine, as SQLite allows no others."""
    return isinstance(instance.run_storage, SqliteRunStorage)


def served(run: dg.DagsterRun) -> bool | None:
    """Whether the code server of this machine that launched the run is there and still counts it as running.

    ``None`` when it was launched by none, or by one that cannot be asked.
    """
    from dagster._core.storage.tags import GRPC_INFO_TAG

    address = json.loads(run.tags.get(GRPC_INFO_TAG, "{}"))
    if not address or address["host"] not in ("localhost", "127.0.0.1", "::1"):
        return None
    listens = _listens(address)
    if not listens:
        return listens
    from dagster._core.errors import DagsterUserCodeUnreachableError
    from dagster._grpc.client import DagsterGrpcClient
    from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult

    client = DagsterGrpcClient(
        host=address["host"],
        port=address.get("port"),
        socket=address.get("socket"),
        use_ssl=bool(address.get("use_ssl", False)),
    )
    try:
        answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id), timeout=10)
    except DagsterUserCodeUnreachableError:
        return None
    return deserialize_value(answer, CanCancelExecutionResult).can_cancel


def _listens(address: Mapping[str, Any]) -> bool | None:
    """Whether anybody listens there; ``None`` when the answer takes too long."""
    family, name = (
        (socket.AF_UNIX, address["socket"]) if "socket" in address else (socket.AF_INET, ("127.0.0.1", address["port"]))
    )
    with socket.socket(family) as client:
        client.settimeout(5)
        try:
            client.connect(name)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return None
    return True


def log_verdicts(instance: dg.DagsterInstance, evaluations: Sequence[dg.AssetCheckEvaluation]) -> list[bool]:
    """Tells Dagster outside of any run of verdicts on versions that it knows; of each whether it was told.

    They name the newest materialization of their partition, as ``log_partition`` does. What was never materialized
    has nothing to judge, and is left out. Of such verdicts Dagster's table of checks holds but one for each partition,
    and refuses a second: so the one before gives way. The log of events keeps all.
    """
    wanted: dict[dg.AssetKey, list[str | None]] = {}
    for evaluation in evaluations:
        wanted.setdefault(evaluation.asset_key, []).append(evaluation.partition)
    targets = {
        key: latest_materializations(instance, key, [each for each in partitions if each is not None] or None)
        for key, partitions in wanted.items()
    }
    told: list[bool] = []
    with one_transaction(instance):
        for evaluation in evaluations:
            target = targets[evaluation.asset_key].get(evaluation.partition)
            told.append(target is not None)
            if target is not None:
                _make_room(instance.event_log_storage, evaluation)
                instance.report_runless_asset_event(replace(evaluation, target_materialization_data=target))
    return told


def _make_room(storage: EventLogStorage, evaluation: dg.AssetCheckEvaluation) -> None:
    """Takes away what an earlier verdict outside of runs left in the table of checks, if the storage has one."""
    if not isinstance(storage, SqlEventLogStorage) or evaluation.partition is None:
        return
    with storage.index_connection() as conn:
        conn.execute(
            AssetCheckExecutionsTable.delete().where(
                _checks.asset_key == evaluation.asset_key.to_string(),
                _checks.check_name == evaluation.check_name,
                _checks.run_id == RUNLESS_RUN_ID,
                _checks.partition == evaluation.partition,
            )
        )
