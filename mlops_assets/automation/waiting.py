"""What is queued or going on in Dagster, and why it waits: said without Dagster, from its database of runs.

What belongs here: reading a home's own SQLite file of runs, and the sentences for a person who asks. What does not:
changing anything (``janitor``), or what is out of date (``assets.plan``).
"""

import fcntl
import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlops_assets.automation.processes import is_alive, parsed
from mlops_assets.automation.subject import Subject
from mlops_assets.automation.tags import PROCESS
from mlops_assets.home import OURS, Home

_MOST_NAMED = 5

# Seconds after which a daemon that has beaten no heart, which each does every 30 s, counts as gone.
_BEATS_WITHIN = 60.0

# Seconds in which a daemon takes a run from the queue, and in which a run's process has begun its work.
_SOON = 30.0

# Dagster's own, where `dagster.yaml` names none; -1 is without a limit.
_MOST_RUNS = 10

_RUNS = """
    SELECT runs.run_id, runs.status, runs.create_timestamp, runs.start_time, runs.run_body, parent.run_body
    FROM runs
    LEFT JOIN runs AS parent ON parent.run_id = json_extract(runs.run_body, '$.parent_run_id')
    WHERE runs.status IN ('QUEUED', 'NOT_STARTED', 'STARTING', 'STARTED', 'CANCELING')
    ORDER BY runs.id"""


@dataclass(frozen=True, slots=True)
class _Run:
    run_id: str
    status: str
    since: float
    subject: Subject
    process: str | None

    def __str__(self) -> str:
        return f"Run {self.run_id[:8]} ({self.subject})"


def waiting(home: Home) -> list[str]:
    """Sentences about the runs that are queued or going on: how long, and why they wait; none when there are none.

    Only a home whose databases are the ones we set up can be read so; of any other nothing is said.
    """
    configuration = home.dagster / "dagster.yaml"
    database = home.dagster / "runs.db"
    if not database.is_file() or not configuration.is_file():
        return []
    text = configuration.read_text(encoding="utf-8")
    if not text.startswith(OURS):
        return []
    try:
        runs, beaten = _read(database)
    except sqlite3.Error as error:
        return [f"What runs are queued or going on cannot be told: {database} cannot be read ({error})."]
    now = time.time()
    daemon = _held(home.dagster / ".daemon.lock") or now - beaten < _BEATS_WITHIN
    queued = [run for run in runs if run.status == "QUEUED" or (run.status == "NOT_STARTED" and not run.process)]
    busy = [run for run in runs if run not in queued]
    return [*_queued(queued, len(busy), _limit(text), now, daemon=daemon), *_busy(busy, now, daemon=daemon)]


def _queued(runs: Sequence[_Run], busy: int, limit: int, now: float, *, daemon: bool) -> list[str]:
    if not runs:
        return []
    longest = now - min(run.since for run in runs)
    who, them = (str(runs[0]), "it") if len(runs) == 1 else (f"{len(runs)} runs, {_names(runs)},", "them")
    if not daemon:
        why = f"nothing takes {them} from the queue while no daemon runs: start `mlops-assets dev`"
    elif 0 <= limit <= busy:
        why = f"{busy} others are going on, and no more than {limit} may at once (`concurrency` in dagster.yaml)"
    elif longest < _SOON:
        why = f"the daemon takes {them} from the queue within some seconds"
    else:
        why = (
            f"the daemon has not taken {them} yet: see what it says where `mlops-assets dev` runs, or on its page there"
        )
    return [f"{who} {'is' if len(runs) == 1 else 'are'} queued, for {_long(longest)} by now: {why}."]


def _busy(runs: Sequence[_Run], now: float, *, daemon: bool) -> list[str]:
    found: list[str] = []
    living: list[_Run] = []
    for run in runs:
        alive = is_alive(run.process) if run.process else None
        age = now - run.since
        if alive is False:
            named = parsed(run.process or "")
            who = (
                "the daemon reports it as failed within some seconds"
                if daemon
                else "the next `mlops-assets run` that has something to do, or `mlops-assets dev`, reports it as failed"
            )
            found.append(f"{run} stands as going on, and its process {named.pid if named else ''} is dead: {who}.")
        elif run.process is None and age > _SOON:
            found.append(
                f"{run} was launched {_long(age)} ago and its process has not begun its work: one that never does is "
                f"reported as failed{'' if daemon else ' as soon as `mlops-assets dev` runs'}."
            )
        else:
            living.append(run)
    if living:
        longest = now - min(run.since for run in living)
        who = str(living[0]) if len(living) == 1 else f"{len(living)} runs, {_names(living)},"
        found.append(f"{who} {'is' if len(living) == 1 else 'are'} going on, for {_long(longest)} by now.")
    return found


def _names(runs: Sequence[_Run]) -> str:
    more = [f"{len(runs) - _MOST_NAMED} more"] if len(runs) > _MOST_NAMED else []
    return ", ".join([*(run.run_id[:8] for run in runs[:_MOST_NAMED]), *more])


def _long(seconds: float) -> str:
    """A duration for people; one below zero, after the clock was set back, is none."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _read(database: Path) -> tuple[list[_Run], float]:
    """The runs that are not over, oldest first, and when any daemon's heart has beaten last."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
        rows = connection.execute(_RUNS).fetchall()
        (beaten,) = connection.execute("SELECT max(timestamp) FROM daemon_heartbeats").fetchone()
    runs = [
        _run(run_id, status, started or _seconds(created), json.loads(body), json.loads(parent or "{}"))
        for run_id, status, created, started, body, parent in rows
    ]
    return runs, _seconds(beaten) if beaten else 0.0


def _run(run_id: str, status: str, since: float, body: Mapping[str, Any], parent: Mapping[str, Any]) -> _Run:
    """A run as Dagster writes it; one that retries another bears that one's signature until its own process signs."""
    selected = (body.get("asset_selection") or {}).get("__frozenset__", [])
    subject = Subject.of([key["path"] for key in selected], body["tags"], body["pipeline_name"])
    signed = body["tags"].get(PROCESS)
    return _Run(run_id, status, since, subject, None if signed == parent.get("tags", {}).get(PROCESS) else signed)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def _held(lock: Path) -> bool:
    """Whether somebody runs the daemon of this home."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _limit(text: str) -> int:
    """How many runs may go on at once, by ``dagster.yaml``."""
    import yaml

    found = yaml.safe_load(text)
    for name in ("concurrency", "runs", "max_concurrent_runs"):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, int) else _MOST_RUNS
