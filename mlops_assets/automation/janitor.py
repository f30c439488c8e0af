"""Runs whose process died without a word: they are found, reported failed with a sentence, and hold nothing any more.

What belongs here: telling such a run from one that goes on, and what is written about it. What does not: what is made
of a failed run (``failures``), how a process is named (``processes``).

Dagster finds out by itself only while the code server that launched the run still lives. When all was killed, when the
machine lost power, or when a command ran it, the run would stay "started" for ever and keep its places in the queue.
"""

import time
from datetime import UTC, datetime

import dagster as dg

from mlops_assets.automation.processes import booted_at, is_alive, parsed, rebooted
from mlops_assets.automation.subject import subject_of
from mlops_assets.automation.tags import CLAIM, KILLED, PROCESS

GRACE = 30.0
"""Seconds for which a run that was just launched is left alone while nobody has signed it."""

# Seconds in which a code server that still lives reports the end of its own runs, with more than can be known here.
_REPORTED_WITHIN = 2.0

_GOING_ON = [
    dg.DagsterRunStatus.NOT_STARTED,  # a command signs before it starts
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_LAUNCHED_ONES = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED)

_LAUNCHED = ".dagster/grpc_info"
_RETRY, _MOST_RETRIES = "dagster/retry_number", "dagster/max_retries"


def clean(instance: dg.DagsterInstance, now: datetime) -> list[str]:
    """Report runs of this machine as failed whose process is gone, and free what they hold.

    A run that somebody was cancelling is reported as cancelled.

    Args:
        instance: where the runs are recorded.
        now: with a time zone.

    Returns:
        A sentence for each run that was reported.
    """
    records = instance.get_run_records(dg.RunsFilter(statuses=_GOING_ON))
    dead = [(record, why) for record in records if (why := _death(instance, record, now))]
    if any(_LAUNCHED in record.dagster_run.tags for record, _ in dead):
        time.sleep(_REPORTED_WITHIN)
    return [said for record, why in dead if (said := _report(instance, record, why))]


def _death(instance: dg.DagsterInstance, record: dg.RunRecord, now: datetime) -> str | None:
    """How the process of a run ended; nothing when it lives, may live, or is somebody else's to judge."""
    run = record.dagster_run
    signed = run.tags.get(PROCESS)
    if signed and not _inherited(instance, run):
        return _killed(run, signed) if is_alive(signed) is False else None
    return _never_began(instance, record, now)


def _never_began(instance: dg.DagsterInstance, record: dg.RunRecord, now: datetime) -> str | None:
    """How a run ended that nobody has signed yet."""
    from mlops_assets.assets import dagster_private

    run = record.dagster_run
    if not dagster_private.is_local(instance) or run.status not in _LAUNCHED_ONES:
        return None  # Dagster itself waits for what is not launched or cancelled in time
    if record.create_timestamp.timestamp() < booted_at():
        return "the machine was restarted or lost power before the run had begun its work"
    # it may have been launched since ``now`` was read; an age far below zero: the clock was set back
    if abs((now - record.update_timestamp).total_seconds()) < GRACE or dagster_private.served(run) is not False:
        return None
    return "the code server that was to start its process is gone, and the process never began its work"


def _killed(run: dg.DagsterRun, signed: str) -> str:
    from mlops_assets.assets import dagster_private

    process = parsed(signed)
    assert process is not None
    if rebooted(signed):
        return f"the machine {process.host} was restarted or lost power while its process {process.pid} was at work"
    what = f"its process {process.pid} on {process.host} is gone without a word"
    if dagster_private.served(run) is False:
        return f"{what}, and so is the code server that had started it: all of them were killed, or the machine was"
    return f"{what}: it was killed, probably because memory ran out, or by hand"


def _inherited(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether a retry still bears the signature of the run that it retries, as all of that one's tags."""
    if run.parent_run_id is None:
        return False
    parent = instance.get_run_by_id(run.parent_run_id)
    return parent is not None and parent.tags.get(PROCESS) == run.tags[PROCESS]


def _report(instance: dg.DagsterInstance, record: dg.RunRecord, why: str) -> str | None:
    # What the process wrote before it ended counts, and may have been written since the run was read.
    run = instance.get_run_by_id(record.dagster_run.run_id)
    if run is None or run.is_finished:
        return None
    since = datetime.fromtimestamp(record.start_time or record.create_timestamp.timestamp(), UTC)
    message = (
        f"The run did not end by itself: {why}. It had been going on since {since:%Y-%m-%d %H:%M:%S} UTC. What it "
        f"published until then stands, and is not computed again."
    )
    if run.status is dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, message)
        ended = "cancelled"
    else:
        instance.add_run_tags(run.run_id, {KILLED: why})
        message = f"{message} {_next(instance, run)}"
        instance.report_run_failed(run, message)
        ended = "failed"
    if instance.event_log_storage.supports_global_concurrency_limits:
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return f"Run {run.run_id[:8]} ({subject_of(run)}) was reported as {ended}: {why}."


def _next(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    if CLAIM in run.tags:
        return "The sensor that asked for it asks again by itself."
    if run.remote_job_origin is None:
        return "Run the command again to go on."
    if instance.run_retries_enabled and _RETRY not in run.tags and run.tags.get(_MOST_RETRIES) != "0":
        return "Dagster's daemon tries it once more by itself."
    return "Launch it again to go on."
