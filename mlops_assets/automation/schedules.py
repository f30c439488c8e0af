"""What happens at set times: the store is verified, a sample of each dataset is run, a release is asked for.

What belongs here: the jobs and schedules, all in UTC. What does not: how a store is verified (``store.verify``), which
branches hold samples (``assets.sampling``), or when a release is stale (``releases``). The jobs touch no asset, so they
change no status of one: what they found stands in their runs.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.assets.graph import Graph
from mlops_assets.automation.processes import sign
from mlops_assets.automation.requests import IN_PROGRESS
from mlops_assets.contract.model import Contract
from mlops_assets.errors import UserError
from mlops_assets.home import Home
from mlops_assets.store.branches import MAIN, SAMPLE

if TYPE_CHECKING:
    from mlops_assets.store.verify import Problem, Report

VERIFY = "verify_store"
"""The job that verifies the store."""

_ONCE = {"dagster/max_retries": "0"}
"""Whoever failed at a set time is not tried again before the next one."""

_SHOWN, _STANDING = 20, 6
_LAST_LINES = 20
_LOG_EVERY = 1.0  # seconds; every event costs a transaction

Look = Callable[[dg.ScheduleEvaluationContext], dg.RunRequest | dg.SkipReason]


def schedules(
    contracts: Mapping[str, Contract], home: Home
) -> tuple[list[dg.JobDefinition], list[dg.ScheduleDefinition]]:
    """Jobs and schedules of all datasets of a home.

    The store is verified, and samples are run, for the home as a whole: only where its branch is ``main``.
    """
    jobs: list[dg.JobDefinition] = []
    found: list[dg.ScheduleDefinition] = []
    if home.branch == MAIN:
        crons, running = _verify_crons(contracts.values())
        if crons:
            jobs.append(verify_job(home))
            found.append(_job_schedule(jobs[-1], crons, running=running))
        for contract in contracts.values():
            if sample := contract.automation.sample:
                jobs.append(sample_job(contract, home))
                found.append(_job_schedule(jobs[-1], [sample.cron], running=contract.automation.enabled))
    found += [
        _release_schedule(contract, home)
        for contract in contracts.values()
        if contract.automation.releases.when == "schedule" and not contract.sample
    ]
    return jobs, found


def verify_job(home: Home) -> dg.JobDefinition:
    """Verifies the home's store in the run's own process, and fails with a sentence for each thing that is broken."""

    @dg.op(name="verify", description="Reads every file of the store and compares it with what is on record.")
    def verify_op(context: dg.OpExecutionContext) -> None:
        from mlops_assets.store.store import Store
        from mlops_assets.store.verify import verify

        home.initialise()
        sign(context.instance, context.run)
        try:
            report = verify(Store.open(home.store))
        except UserError as error:
            raise dg.Failure("\n".join(error.sentences), allow_retries=False) from error
        metadata = _metadata(report)
        if not report.sound:
            raise dg.Failure("\n".join(_sentences(report)), metadata=metadata, allow_retries=False)
        context.log.info("%s: everything is sound.", report.store)
        context.add_output_metadata(metadata)

    return _job(VERIFY, verify_op, "Is everything that was written still there? One store for all datasets.")


def sample_job(contract: Contract, home: Home) -> dg.JobDefinition:
    """Takes a fixed part of a dataset all the way on the branch ``sample``, by the command and in a process of its own.

    That process reports to the branch's own Dagster home, never to the one that this job runs in.
    """
    # a file that is still growing must not be entered: main's runs work from the same ledger
    words = ["--branch", SAMPLE, "run", contract.name, "--entered"]

    @dg.op(name=f"{contract.name}_run_sample", description=f"mlops-assets {' '.join(words)}")
    def sample_op(context: dg.OpExecutionContext) -> None:
        sign(context.instance, context.run)
        log = _Log(context)
        with _running(words, home) as process:
            assert process.stdout is not None
            for line in process.stdout:
                log.add(line.rstrip())
            code = process.wait()
        log.flush()
        if code:
            raise dg.Failure(
                "\n".join([f"`mlops-assets {' '.join(words)}` {_ended(code)}.", *log.last]), allow_retries=False
            )
        context.add_output_metadata({"said": dg.MetadataValue.md("\n".join(f"    {line}" for line in log.last))})

    return _job(
        f"{contract.name}_sample",
        sample_op,
        f"A fixed part of {contract.name} from files to a model on the branch {SAMPLE}; main is not touched.",
    )


# ---- schedules


def _verify_crons(contracts: Iterable[Contract]) -> tuple[list[str], bool]:
    """When one of the datasets asks for verification, and whether that runs by itself."""
    asked = [contract.automation for contract in contracts if contract.automation.verify]
    enabled = [each for each in asked if each.enabled]
    return sorted({str(each.verify) for each in enabled or asked}), bool(enabled)


def _job_schedule(job: dg.JobDefinition, crons: Sequence[str], *, running: bool) -> dg.ScheduleDefinition:
    def look(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        going_on = context.instance.get_runs(dg.RunsFilter(job_name=job.name, statuses=list(IN_PROGRESS)), limit=1)
        return dg.SkipReason(f"The run {going_on[0].run_id} is still going on.") if going_on else dg.RunRequest()

    return _schedule(job.name, crons, look, running=running, job=job, description=job.description or "")


def _release_schedule(contract: Contract, home: Home) -> dg.ScheduleDefinition:
    graph = Graph(contract)

    def look(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        from mlops_assets.automation.releases import newest_request

        home.initialise()
        return newest_request(graph, home, context.instance)

    return _schedule(
        f"{contract.name}_release",
        [str(contract.automation.releases.cron)],
        look,
        running=contract.automation.enabled,
        target=dg.AssetSelection.assets(*(dg.AssetKey(graph.path(stage.name)) for stage in graph.of_scope("release"))),
        description="Asks for the newest release when it is stale.",
    )


def _schedule(name: str, crons: Sequence[str], look: Look, *, running: bool, **more: Any) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name=f"{name}_schedule",
        cron_schedule=crons[0] if len(crons) == 1 else list(crons),
        execution_timezone="UTC",
        execution_fn=look,
        default_status=dg.DefaultScheduleStatus.RUNNING if running else dg.DefaultScheduleStatus.STOPPED,
        **more,
    )


def _job(name: str, op: dg.OpDefinition, description: str) -> dg.JobDefinition:
    graph = dg.GraphDefinition(name=name, node_defs=[op])
    return graph.to_job(description=description, tags=_ONCE, executor_def=dg.in_process_executor)


# ---- verification


def _metadata(report: "Report") -> dict[str, dg.MetadataValue | str | int]:
    return {
        "store": report.store,
        "files": sum(report.checked.values()),
        "bytes": report.bytes,
        "problems": len(report.problems),
        "report": dg.MetadataValue.json(report.to_dict()),
    }


def _sentences(report: "Report") -> Iterator[str]:
    for problem in report.problems[:_SHOWN]:
        yield from _told(problem)
    if len(report.problems) > _SHOWN:
        yield f"And {len(report.problems) - _SHOWN:,} more; see all with: mlops-assets verify"
    yield "See what can be mended with: mlops-assets repair"


def _told(problem: "Problem") -> Iterator[str]:
    yield problem.sentence
    yield from (f"    stands on it: {each}" for each in problem.stands_on_it[:_STANDING])
    if len(problem.stands_on_it) > _STANDING:
        yield f"    and {len(problem.stands_on_it) - _STANDING:,} more"


# ---- a command in a process of its own


class _Log:
    """Lines of a command in the run's log, a second's together; the last ones are kept."""

    def __init__(self, context: dg.OpExecutionContext) -> None:
        self.last: deque[str] = deque(maxlen=_LAST_LINES)
        self._context = context
        self._waiting: list[str] = []
        self._told = 0.0

    def add(self, line: str) -> None:
        if line:
            self.last.append(line)
            self._waiting.append(line)
        if time.monotonic() - self._told > _LOG_EVERY:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            self._context.log.info("\n".join(self._waiting))
        self._waiting = []
        self._told = time.monotonic()


def _environment(home: Home) -> dict[str, str]:
    """This process's environment without its Dagster home: that of a branch is another one."""
    kept = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    places = {name: value for name, value in home.environment().items() if name != "DAGSTER_HOME"}
    return {**places, **kept, "PYTHONUNBUFFERED": "1"}


@contextmanager
def _running(words: Sequence[str], home: Home) -> Iterator["subprocess.Popen[str]"]:
    """The command in a process group that ends with the block, and also when this process is killed in it."""
    from mlops_assets.ui import keeper  # no code location loads the UI

    home.initialise()
    folder = tempfile.mkdtemp(prefix="mlops_assets-")
    # Not where this process stands: Python would import what lies there.
    watch = subprocess.Popen(
        [sys.executable, "-m", "mlops_assets.ui.keeper", folder], cwd=home.root, stdin=subprocess.PIPE, process_group=0
    )
    assert watch.stdin is not None
    process: subprocess.Popen[str] | None = None

    def reap() -> None:
        watch.poll()
        if process is not None:
            process.poll()

    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlops_assets.cli", *words],
            cwd=home.root,
            env=_environment(home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=watch.pid,
        )
        with process:
            try:
                yield process
            finally:
                watch.stdin.close()  # upon which it ends the group
                if not keeper.gone(watch.pid, keeper.PATIENCE + 10, reap):
                    keeper.end(watch.pid, reap, [signal.SIGKILL])
    finally:
        watch.stdin.close()
        watch.wait()


def _ended(code: int) -> str:
    return f"ended with exit code {code}" if code > 0 else f"was ended by {signal.Signals(-code).name}"
