"""The sensors that notice what went wrong: failed runs are written down, dead ones are found, hooks are called.

What belongs here: when each is done. What does not: what a record says (``records``), how a hook is called (``hooks``),
which run is dead (``janitor``), and asking for anything again (whoever asked does that).

Writing down and calling are two sensors, so that a mail server that does not answer delays no record.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from mlops_assets.automation import hooks, records
from mlops_assets.automation.hooks import HookError
from mlops_assets.automation.janitor import clean
from mlops_assets.automation.subject import subject_of
from mlops_assets.contract.model import Alerts, Contract
from mlops_assets.home import Home

EVERY = 10
"""Seconds between two ticks of each sensor."""

PAUSES = (60.0, 300.0, 1800.0)
"""Seconds between a call of a hook that failed and the next; after the last it is given up."""

# Seconds after which a tick calls no further hook: Dagster ends a tick after a minute, and one call may take 30 s.
_BUDGET = 20.0

# How far back a look goes for failures that were not written down when they happened.
_LOOK_BACK = timedelta(hours=1)
_MOST_OVERLOOKED = 50


def sensors(contracts: Mapping[str, Contract], home: Home) -> list[dg.SensorDefinition]:
    """``failures`` writes a record of each failed run, ``janitor`` finds dead ones, ``alerts`` calls the hooks.

    There is no ``alerts`` while no dataset has any.
    """

    @dg.run_failure_sensor(
        name="failures",
        description="Writes down why a run failed: one readable file each, in the home's folder failures.",
        minimum_interval_seconds=EVERY,
        default_status=dg.DefaultSensorStatus.RUNNING,
        monitor_all_code_locations=True,  # a run of the command belongs to none
    )
    def failures(context: dg.RunFailureSensorContext) -> None:
        record = context.instance.get_run_record_by_id(context.dagster_run.run_id)
        if record is not None and _ours(record.dagster_run, contracts, context.repository_def):
            note(context.instance, record, contracts, home)

    @dg.sensor(
        name="janitor",
        description="Reports runs as failed whose process is gone, and frees what they hold.",
        minimum_interval_seconds=EVERY,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def janitor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        now = datetime.now(UTC)
        done = clean(context.instance, now)
        done += overlooked(context.instance, contracts, home, now, context.repository_def)
        return dg.SkipReason("\n".join(done) or "Every run that is going on has a living process.")

    @dg.sensor(
        name="alerts",
        description="Calls the hooks that the datasets name under automation, alerts, for each failed run.",
        minimum_interval_seconds=EVERY,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        del context
        return dg.SkipReason("\n".join(call_hooks(contracts, home)) or "Nobody is waiting to be told of a failure.")

    wanted = any(hooks.configured(contract.automation.alerts) for contract in contracts.values())
    return [failures, janitor, *([alerts] if wanted else [])]


def note(
    instance: dg.DagsterInstance, record: dg.RunRecord, contracts: Mapping[str, Contract], home: Home
) -> dict[str, Any] | None:
    """Write a failed run's record, with the hooks that are to be called; nothing when it was written before.

    Raises:
        OSError: the home cannot be written.
    """
    if records.is_written(home, record.dagster_run.run_id):
        return None
    found = records.record_of(instance, record, home)
    concerned = [contract for name, contract in contracts.items() if not found["datasets"] or name in found["datasets"]]
    for contract in concerned:
        found = _redacted(found, contract.automation.alerts)
    # Of a run of no dataset everybody hears, but nobody twice.
    told: dict[tuple[str, Alerts], str] = {}
    for contract in concerned:
        for hook in hooks.configured(contract.automation.alerts):
            told.setdefault((hook, contract.automation.alerts), contract.name)
    found["alerts"] = [
        {"dataset": dataset, "hook": hook, "state": "waiting", "calls": 0, "next": 0.0, "problem": None}
        for (hook, _), dataset in told.items()
    ]
    return found if records.write(home, found) else None


def overlooked(
    instance: dg.DagsterInstance,
    contracts: Mapping[str, Contract],
    home: Home,
    now: datetime,
    repository: dg.RepositoryDefinition | None,
) -> list[str]:
    """Write the records that the failure sensor could not: a full disk, or a run that failed before its first tick."""
    late = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=now - _LOOK_BACK)
    said: list[str] = []
    for record in instance.get_run_records(late, limit=_MOST_OVERLOOKED):
        run = record.dagster_run
        if _ours(run, contracts, repository) and note(instance, record, contracts, home):
            said.append(f"The failure of run {run.run_id[:8]} ({subject_of(run)}) was written down.")
    return said


def call_hooks(contracts: Mapping[str, Contract], home: Home) -> list[str]:
    """Call the hooks whose turn it is, of the oldest failures first; what came of each as a sentence."""
    began = datetime.now(UTC).timestamp()
    said: list[str] = []
    for path in records.kept_in(home):
        record = records.read(path)
        for alert in record["alerts"] if record else ():
            now = datetime.now(UTC).timestamp()
            if alert["state"] != "waiting" or not _due(alert, now):
                continue
            if now - began > _BUDGET:
                return [*said, "More hooks are waiting; the next tick goes on with them."]
            assert record is not None
            # First, so that a disk that takes no more does not let anybody be told every ten seconds.
            alert["calls"] += 1
            alert["next"] = now + PAUSES[min(alert["calls"], len(PAUSES)) - 1]
            records.rewrite(path, record)
            said.append(_called(alert, record, contracts))
            records.rewrite(path, record)
    return said


def _due(alert: Mapping[str, Any], now: float) -> bool:
    # more than the longest pause is left only when the clock was set back
    return not 0 < alert["next"] - now <= max(PAUSES)


def _called(alert: dict[str, Any], record: Mapping[str, Any], contracts: Mapping[str, Contract]) -> str:
    """Call one hook and note what came of it."""
    about = f"The {alert['hook']} of {alert['dataset']} for run {record['run'][:8]}"
    contract = contracts.get(alert["dataset"])
    if contract is None or alert["hook"] not in hooks.configured(contract.automation.alerts):
        alert["state"] = "dropped"
        return f"{about} is no longer wanted."
    told = {name: value for name, value in record.items() if name not in ("alerts", "detail")}
    try:
        hooks.call(alert["hook"], contract.automation.alerts, contract.folder, told)
    except HookError as error:
        alert["problem"] = str(error)
        if alert["calls"] > len(PAUSES):
            alert["state"] = "given up"
            return f"{about} failed {alert['calls']} times and is given up: {error}"
        return f"{about} failed and is tried again: {error}"
    alert["state"], alert["problem"] = "told", None
    return f"{about} was told."


def _ours(run: dg.DagsterRun, contracts: Mapping[str, Contract], repository: dg.RepositoryDefinition | None) -> bool:
    """Whether a run is of our datasets, or of a job of ours; a Dagster home may be shared with others."""
    datasets = subject_of(run).datasets
    if datasets:
        return not contracts.keys().isdisjoint(datasets)
    return repository is not None and repository.has_job(run.job_name)


def _redacted(value: Any, alerts: Alerts) -> Any:
    if isinstance(value, str):
        return hooks.redacted(value, alerts)
    if isinstance(value, list):
        return [_redacted(each, alerts) for each in value]
    if isinstance(value, dict):
        return {name: _redacted(each, alerts) for name, each in value.items()}
    return value
