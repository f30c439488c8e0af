"""Bringing a dataset up to date from the command line, in this process and in as few Dagster runs as possible.

What belongs here: choosing what to run from the store alone, and running it through the same steps as every other door.
Dagster is imported only when there is something to run. What does not: printing (``cli``).
"""

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mlops_assets.assets import sampling
from mlops_assets.assets.graph import Graph, Stage
from mlops_assets.assets.plan import Plan, Standing
from mlops_assets.assets.publish import Outcome
from mlops_assets.assets.unreported import mark_everything, marked
from mlops_assets.assets.views import ONLINE, View
from mlops_assets.automation.processes import this_process
from mlops_assets.automation.tags import CLAIM, DATASET, PROCESS
from mlops_assets.errors import RefusedError, UserError
from mlops_assets.home import Home
from mlops_assets.store.store import Store, account

if TYPE_CHECKING:
    import dagster as dg

Progress = Callable[[Graph, Outcome], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants up to date. Empty ``stages`` mean all; ``batches`` ``None`` means all that were delivered.

    ``releases``: explicit keys, ``None`` for the newest one, an empty tuple for none. ``again`` reports versions that
    stand already once more.
    """

    batches: tuple[str, ...] | None = None
    stages: frozenset[str] = frozenset()
    releases: tuple[str, ...] | None = None


@dataclass(slots=True)
class Summary:
    """What came of it. ``repeated`` are refusals that stand unchanged since an earlier run; ``notes`` are sentences."""

    current: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    repeated: list[tuple[str, str, Standing]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    runs: int = 0

    @property
    def failed(self) -> bool:
        """Whether something that was asked for has no accepted current version."""
        return bool(self.repeated or self.crashes or any(outcome.failed for outcome in self.outcomes))

    @property
    def refused(self) -> int:
        """How many stages of batches were refused, now or before and unchanged."""
        return len(self.repeated) + self.count("refused")

    def count(self, status: str) -> int:
        """How many stages of batches ended in a status."""
        return sum(outcome.status == status for outcome in self.outcomes)


class Runner:
    """Brings one dataset up to date; ``progress`` hears of every outcome.

    With ``entered_only`` it works from what the ledger holds, and takes in nothing of what lies in the landing folder.
    """

    def __init__(
        self, graph: Graph, home: Home, progress: Progress | None = None, *, entered_only: bool = False
    ) -> None:
        self.graph = graph
        self.home = home
        self.plan = Plan(graph, Store.open(home.store), home.branch, entered_only=entered_only)
        self._claim = {CLAIM: "entered"} if entered_only else {}
        self.summary = Summary()
        self._progress = progress
        self._interrupted: Callable[[], bool] = lambda: False

    def run(self, asked: Asked) -> Summary:
        """Bring what was asked for up to date.

        Raises:
            UserError: a batch, stage or release that does not exist.
            KeyboardInterrupt: somebody asked this process to stop.
        """
        with _interrupts() as self._interrupted:
            return self._run(asked)

    def _run(self, asked: Asked) -> Summary:
        sampling.start(self.plan.store, self.home.branch)
        if self.home.branch == "main" and not self.home.dagster_is_made:
            mark_everything(self.home, self.plan.store)
        batches = self._batches(asked)
        self._check_stages(asked.stages)
        self.summary.notes += [*self.plan.landing.strays, *self.plan.landing.take_in(account())]
        self._run_scope("reference", self._todo("reference", [self.graph.whole], asked.stages))
        self._run_scope("batch", self._todo("batch", batches, asked.stages))
        self._follow()
        for release in self._releases(asked):
            self._run_scope(
                "release", self._todo("release", [release], asked.stages, explicit=asked.releases is not None)
            )
        return self.summary

    def _follow(self) -> None:
        """Bring what serving looks up in step with heads that something else moved, or somebody who died."""
        if ONLINE not in self.graph.stages:
            return
        view = View(self.graph, self.plan.store, self.home)
        behind = view.behind(self.plan.heads(ONLINE))
        if not behind:
            return
        brought = view.bring()
        if brought.unlike:
            told = f"stays as it is until {', '.join(brought.unlike)} are made again with the columns that windows need"
        else:
            told = f"was behind what is published ({', '.join(behind)}), and is in step again"
        self.summary.notes.append(f"{view.path} {told}.")

    def _batches(self, asked: Asked) -> list[str]:
        if asked.batches is None:
            return self.plan.batches
        for batch in asked.batches:
            self.plan.calendar.check(batch)
        return list(asked.batches)

    def _check_stages(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.graph.stages:
                known = ", ".join(self.graph.stages)
                raise UserError(f"{self.graph.contract.name} has no stage {name!r}; it has: {known}.")

    def _releases(self, asked: Asked) -> list[str]:
        wanted_scopes = {self.graph.stages[name].scope for name in asked.stages}
        if asked.stages and "release" not in wanted_scopes:
            return []
        if asked.releases is not None:
            for release in asked.releases:
                self.plan.calendar.check(release)
            return list(asked.releases)
        if asked.batches is not None:
            return []
        return self.plan.releases[-1:]

    def _todo(
        self, scope: Any, batches: Sequence[str], names: frozenset[str], *, explicit: bool = True
    ) -> dict[str, list[Stage]]:
        """The stages to run for each batch: what is not current, all that stands on it, and what Dagster lacks."""
        todo: dict[str, list[Stage]] = {}
        stages = [stage for stage in self.graph.of_scope(scope) if not names or stage.name in names]
        looking_back = [each for stage in stages for each in stage.upstream if each.window == "back"]
        for batch in sorted(batches):  # keys of all cadences sort as text
            stale: set[str] = set()
            unmade: set[str] = set()
            moving = {
                each
                for each in looking_back
                for key in self.plan.keys(each, batch)
                if any(stage.name == each.stage for stage in todo.get(key, ()))
            }
            standings = {stage.name: self.plan.standing(stage, batch) for stage in stages}
            for stage in stages:
                standing = standings[stage.name]
                above = any(upstream.stage in stale or upstream in moving for upstream in stage.upstream)
                if above or standing.state == "stale" or self._untold(stage, batch):
                    stale.add(stage.name)
                elif standing.state == "current":
                    self.summary.current += 1
                    if names:
                        self.summary.notes += self.plan.notes(stage, batch)
                elif any(upstream.stage in unmade for upstream in stage.upstream):
                    unmade.add(stage.name)
                elif scope == "release" and not explicit and standing.state == "blocked":
                    self.summary.notes.append(f"No release yet: {standing.sentence}")
                    break
                else:
                    unmade.add(stage.name)
                    self.summary.repeated.append((stage.name, batch, standing))
            if stale:
                todo[batch] = [stage for stage in stages if stage.name in stale]
        return todo

    def _untold(self, stage: Stage, batch: str) -> bool:
        """Whether Dagster lacks the head, or hides it behind a refusal that no longer holds, here or above."""
        if self.home.branch != "main" or batch not in self.plan.heads(stage.name):
            return False
        found = marked(self.home, self.home.branch, self.graph.asset(stage.name), batch)
        if found != "again":
            return found == "news"
        return self.plan.standing(stage, batch).state == "current" and not self.plan.notes(stage, batch)

    def _run_scope(self, scope: Any, todo: dict[str, list[Stage]]) -> None:
        if not todo:
            return
        if scope == "reference" or not self.graph.partitioned:
            ranges = [(batch, batch) for batch in todo]
        else:
            ranges = self.plan.calendar.ranges(list(todo)) if scope == "batch" else [(batch, batch) for batch in todo]
        for first, last in ranges:
            inside = [batch for batch in todo if first <= batch <= last]  # keys of all cadences sort as text
            names = {stage.name for batch in inside for stage in todo[batch]}
            chosen = [stage for stage in self.graph.of_scope(scope) if stage.name in names]
            self._dagster_run(scope, chosen, first, last)
            self.plan.forget()

    def _dagster_run(self, scope: str, stages: Sequence[Stage], first: str, last: str) -> None:
        # A build makes millions of objects that live as long as it does: looking through them again and again is waste.
        gc.set_threshold(200_000, 20, 100)
        import dagster as dg

        from mlops_assets.assets.steps import LISTENER

        self.home.initialise_dagster()
        self._stop_if_asked()
        keys = [dg.AssetKey(self.graph.path(stage.name)) for stage in stages]
        # Whoever runs the command runs it again, not the daemon.
        tags = {DATASET: self.graph.contract.name, PROCESS: this_process(), "dagster/max_retries": "0"} | self._claim
        partition: str | None = None
        with self._usable_databases():
            if scope != "reference" and self.graph.partitioned:
                if self.plan.calendar.cadence == "named":
                    self._instance.add_dynamic_partitions(f"{self.graph.contract.name}_batches", [first])
                if first == last:
                    partition = first
                else:
                    tags |= {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
            token = LISTENER.set(self._heard)
            try:
                result = self._job.execute_in_process(
                    instance=self._instance,
                    asset_selection=keys,
                    partition_key=partition,
                    tags=tags,
                    run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                    raise_on_error=False,
                )
                self._stop_if_asked()
            finally:
                LISTENER.reset(token)
        self.summary.runs += 1
        if not result.success:
            self.summary.crashes += _reasons(result)

    @contextmanager
    def _usable_databases(self) -> Iterator[None]:
        """What Dagster's databases refuse, as a sentence."""
        from alembic.util import CommandError
        from sqlalchemy.exc import DatabaseError

        try:
            yield
        except (CommandError, DatabaseError) as error:
            what = error.orig if isinstance(error, DatabaseError) else str(error).partition(";")[0]
            raise UserError(
                f"Dagster's databases in {self.home.dagster} cannot be used: {what}. No version depends on them: free "
                f"the disk if it is full; else move that folder away (but for a dagster.yaml of your own) and run "
                f"again, and a new one is told of everything that stands."
            ) from error

    def _stop_if_asked(self) -> None:
        if self._interrupted():
            raise KeyboardInterrupt

    def _heard(self, graph: Graph, outcome: Outcome) -> None:
        self.summary.outcomes.append(outcome)
        if self._progress:
            self._progress(graph, outcome)

    @cached_property
    def _instance(self) -> "dg.DagsterInstance":
        import dagster as dg

        from mlops_assets.automation.janitor import clean

        instance = dg.DagsterInstance.get()
        self.summary.notes += clean(instance, datetime.now(UTC))
        return instance

    @cached_property
    def _job(self) -> "dg.JobDefinition":
        from mlops_assets.definitions import build_definitions

        definitions = build_definitions(self.home, {self.graph.contract.name: self.graph.contract})
        return definitions.resolve_implicit_global_asset_job_def()


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Whether SIGINT or SIGTERM came during the block: of these, Dagster makes a failed step, others nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    read, write = os.pipe()
    for end in (read, write):
        os.set_blocking(end, False)
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)

    def came() -> bool:
        try:
            return not {signal.SIGINT, signal.SIGTERM}.isdisjoint(os.read(read, 1000))
        except BlockingIOError:
            return False

    try:
        yield came
    finally:
        signal.set_wakeup_fd(before)
        os.close(read)
        os.close(write)


def _reasons(result: Any) -> list[str]:
    """Why a run failed beside its refusals, which are outcomes: in a sentence, or in full where it is a bug."""
    from mlops_assets.automation.records import CAUSE

    steps = [event for event in result.all_events if event.is_step_failure]
    found: list[str] = []
    for event in steps or [event for event in result.all_events if event.is_run_failure]:
        said = getattr(event.event_specific_data, "user_failure_data", None)
        error = getattr(event.event_specific_data, "error", None)
        if said is None or CAUSE not in said.metadata:
            found.append(error.to_string() if error else str(event.message))
        elif said.metadata[CAUSE].value != "refused":
            found.append(str(said.description))
    return found if steps or found else ["The Dagster run failed without saying why."]


__all__ = ["Asked", "RefusedError", "Runner", "Summary"]
