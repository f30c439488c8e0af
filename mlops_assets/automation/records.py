"""What is written down of a failed run: one readable file each, and the newest of them kept.

What belongs here: what a record says and why, and the files. What does not: noticing failures (``failures``), calling
anybody (``hooks``).

A record tells two kinds of failure apart. ``refused``: the data's fault, a check did its work. All others are not:
``unable`` is what a person can mend (a full disk, a missing right, a broken contract), ``crashed`` a bug in the
dataset's code or in ours, ``killed`` a process that went without a word, ``interrupted`` one that somebody stopped.
What checks say holds no value of a row. What an exception says may, so that only the file has it (``detail``): a record
goes to people and places that may not see any.
"""

import json
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import dagster as dg

from mlops_assets.automation.subject import Subject, subject_of
from mlops_assets.automation.tags import CLAIM, KILLED
from mlops_assets.home import Home

FORMAT = 1
"""Raised when a record of this release means something else to a reader of an older one; fields may be added."""

KEPT = 200
"""Records that a home keeps; with one more, the oldest goes."""

CAUSE, REFUSALS = "cause", "refusals"
"""What our steps say in the metadata of ``dg.Failure``: the cause, and of a refusal which checks of what refused."""

Cause = Literal["refused", "unable", "crashed", "killed", "interrupted"]

_TITLES: dict[Cause, str] = {
    "refused": "was refused",
    "unable": "could not be made",
    "crashed": "crashed",
    "killed": "was killed",
    "interrupted": "was interrupted",
}

_LONGEST = 600
_MOST_SENTENCES = 20

# As Dagster's code server says it when one of its processes has ended.
_ENDED = re.compile(r"was terminated by signal \d+ \((?P<signal>\w+)\)|unexpectedly exited with code (?P<code>-?\d+)")
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)')
_INTERRUPTS = {"DagsterExecutionInterruptedError", "KeyboardInterrupt"}


@dataclass(frozen=True, slots=True)
class _Told:
    cause: Cause
    sentences: Sequence[str]
    refusals: Sequence[Mapping[str, Any]] = ()
    detail: str | None = None


def record_of(instance: dg.DagsterInstance, record: dg.RunRecord, home: Home) -> dict[str, Any]:
    """Everything that is to be known of a failed run, of JSON values; ``title`` and ``text`` say it to people."""
    run = record.dagster_run
    subject = subject_of(run)
    told = _told(instance, run)
    when = datetime.fromtimestamp(record.end_time or record.update_timestamp.timestamp(), UTC)
    log = home.dagster / "storage" / run.run_id / "compute_logs"
    found: dict[str, Any] = {
        "format": FORMAT,
        "time": when.isoformat(timespec="seconds"),
        "run": run.run_id,
        "branch": home.branch,
        "cause": told.cause,
        "title": f"{subject} {_TITLES[told.cause]}",
        "datasets": list(subject.datasets),
        "stages": list(subject.stages),
        "first_batch": subject.first,
        "last_batch": subject.last,
        "sentences": [_shortened(sentence) for sentence in told.sentences],
        "refusals": [dict(each) for each in told.refusals],
        "detail": _shortened(told.detail) if told.detail else None,
        "claim": run.tags.get(CLAIM),
        "retried": run.tags.get("dagster/will_retry") == "true",
        "page": f"/runs/{run.run_id}",
        "log": str(log) if log.is_dir() else None,
    }
    found["next"] = _next(told.cause, subject, found)
    return found | {"text": _text(found)}


def name_of(record: Mapping[str, Any]) -> str:
    """The file's name: the newest comes last."""
    return f"{datetime.fromisoformat(record['time']):%Y%m%dT%H%M%SZ}-{record['run']}.json"


def is_written(home: Home, run_id: str) -> bool:
    """Whether the run has its record."""
    return any(home.failures.glob(f"*-{run_id}.json"))


def write(home: Home, record: Mapping[str, Any]) -> bool:
    """Write a record unless its run has one, or is older than all that are kept; whether it was written.

    The whole file appears or nothing, whoever else writes the same.
    """
    folder = home.failures
    folder.mkdir(parents=True, exist_ok=True)
    if is_written(home, record["run"]):
        return False
    kept = kept_in(home)
    path = folder / name_of(record)
    if len(kept) >= KEPT and path.name < kept[0].name:
        return False
    temporary = _temporary(path, record)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    for old in kept[: max(0, len(kept) + 1 - KEPT)]:
        old.unlink(missing_ok=True)
    return True


def rewrite(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record anew, the whole file or nothing."""
    _temporary(path, record).replace(path)


def read(path: Path) -> dict[str, Any] | None:
    """A record; nothing when it is gone, damaged or a newer release's."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("format") == FORMAT else None


def kept_in(home: Home) -> list[Path]:
    """The files of all records, the oldest first."""
    return sorted(home.failures.glob("*.json"))


def _temporary(path: Path, record: Mapping[str, Any]) -> Path:
    # sensors are threads of one process
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(record, file, indent=2, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    return temporary


def _told(instance: dg.DagsterInstance, run: dg.DagsterRun) -> _Told:
    if KILLED in run.tags:
        return _Told("killed", [_last_message(instance, run)])
    for message in _messages(instance, run, dg.DagsterEventType.ENGINE_EVENT):
        ended = _ENDED.search(message)
        if ended and ended["signal"] == "SIGKILL":
            sentence = "The process of the run was killed: probably because memory ran out, or by hand."
            return _Told("killed", [f"{sentence} What it published until then stands."])
        if ended:
            how = f"was ended by {ended['signal']}" if ended["signal"] else f"ended with exit code {ended['code']}"
            return _Told("crashed", [f"The process of the run {how}, and said no more than its log holds."])
    told = [_of_step(event) for event in _events(instance, run, dg.DagsterEventType.STEP_FAILURE)]
    causes = {each.cause for each in told}
    if run.tags.get("dagster/failure_reason") == "UNEXPECTED_TERMINATION" or "interrupted" in causes:
        sentence = "The run was stopped from outside, as by the end of `mlops-assets dev`, and nobody had cancelled it."
        return _Told("interrupted", [f"{sentence} What it published until then stands."])
    if not told:
        return _Told("crashed", [_last_message(instance, run)])
    # A refusal explains what stands on it, but not a bug beside it.
    cause: Cause = next(name for name in _WORST_FIRST if name in causes)
    sentences = list(dict.fromkeys(sentence for each in told for sentence in each.sentences))
    more = len(sentences) - _MOST_SENTENCES
    if more > 0:
        sentences = [*sentences[:_MOST_SENTENCES], f"{more} more are in the run's log."]
    detail = next((each.detail for each in told if each.detail), None)
    return _Told(cause, sentences, [each for step in told for each in step.refusals], detail)


_WORST_FIRST: tuple[Cause, ...] = ("interrupted", "crashed", "unable", "refused")


def _of_step(event: dg.DagsterEvent) -> _Told:
    failed = event.step_failure_data
    said = failed.user_failure_data
    metadata = said.metadata if said else {}
    if CAUSE in metadata:
        refusals: Any = metadata[REFUSALS].value if REFUSALS in metadata else []
        sentences = [sentence for each in refusals for sentence in each["sentences"]]
        cause: Cause = "refused" if metadata[CAUSE].value == "refused" else "unable"
        return _Told(cause, sentences or str(said.description if said else "").splitlines(), refusals)
    error = failed.error
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return _Told("crashed", ["The step failed without saying why."])
    if error.cls_name in _INTERRUPTS:
        return _Told("interrupted", [])
    frames = [found for frame in error.stack if (found := _FRAME.search(frame))]
    where = f" in {Path(frames[-1]['file']).name}:{frames[-1]['line']}, {frames[-1]['function']}" if frames else ""
    return _Told("crashed", [f"The code failed with {error.cls_name}{where}."], detail=error.message.strip())


def _events(instance: dg.DagsterInstance, run: dg.DagsterRun, kind: dg.DagsterEventType) -> Iterator[dg.DagsterEvent]:
    for record in instance.get_records_for_run(run.run_id, of_type=kind).records:
        yield record.event_log_entry.get_dagster_event()


def _messages(instance: dg.DagsterInstance, run: dg.DagsterRun, kind: dg.DagsterEventType) -> Iterator[str]:
    for event in _events(instance, run, kind):
        yield event.message or ""


def _last_message(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    found = list(_messages(instance, run, dg.DagsterEventType.RUN_FAILURE))
    return found[-1] if found else "The run failed without saying why."


def _next(cause: Cause, subject: Subject, record: Mapping[str, Any]) -> str:
    command = f"`mlops-assets run{f' {subject.datasets[0]}' if len(subject.datasets) == 1 else ''}`"
    if record["retried"]:
        return "Nothing: Dagster's daemon tries it once more by itself."
    if cause == "refused":
        again = "new files are taken in by themselves" if record["claim"] else f"then {command}"
        return f"Mend what is delivered, or the rules in dataset.yaml if they are wrong; {again}."
    if cause == "crashed":
        return f"The run's log has the traceback: mend the code that it names, then {command}."
    if record["claim"]:
        return "Mend what is named above, if anything is; what asked for the run asks again by itself."
    return f"Mend what is named above, if anything is, then {command}; what was published is not computed again."


def _text(record: Mapping[str, Any]) -> str:
    """The record for people."""
    when = datetime.fromisoformat(record["time"])
    lines = [f"{record['title']} ({when:%Y-%m-%d %H:%M:%S} UTC, run {record['run'][:8]}, branch {record['branch']})."]
    lines += [f"- {sentence}" for sentence in record["sentences"]]
    refused = [each for each in record["refusals"] if each["checks"]]
    checks = [f"{each['stage']} [{each['batch']}]: {', '.join(each['checks'])}" for each in refused]
    lines += [f"Refused by: {'; '.join(line for line in checks[:_MOST_SENTENCES])}"] if checks else []
    lines += [f"Asked for by: {record['claim']}"] if record["claim"] else []
    lines += [f"Log: {record['page']} in the Dagster UI{' and ' + record['log'] if record['log'] else ''}"]
    return "\n".join([*lines, f"What to do: {record['next']}"])


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
