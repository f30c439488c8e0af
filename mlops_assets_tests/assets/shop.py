"""A small dataset with a home of its own, worked on in this process.

What belongs here: delivering, running, copying what was built, and reading what the store and Dagster hold. What does
not: any expectation about it. Environment variables are set for the length of a call only.
"""

import contextlib
import io
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from mlops_assets.assets.graph import Graph
from mlops_assets.assets.plan import Plan
from mlops_assets.assets.publish import Session
from mlops_assets.assets.runs import Asked, Runner, Summary
from mlops_assets.assets.sampling import for_branch
from mlops_assets.cli import main
from mlops_assets.contract.load import load_contract
from mlops_assets.definitions import build_definitions
from mlops_assets.home import Home
from mlops_assets.store.manifest import Manifest
from mlops_assets.store.store import Store
from mlops_assets_tests.doors import Called, Project, home_at

BATCH = ("raw/visits", "quarantine", "cleaned", "splits", "features")
RELEASE = ("split_report", "candidate_model", "evaluation_report", "trained_model")
DAYS = ("2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04")
NEWEST = DAYS[-1]
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

# So few rows show no more than that the trees beat no model at all.
GATES = {"roc_auc: 0.999}": "roc_auc: 0.999}, beat: [prior], agreement: 0.5"}

# One feature is computed by the dataset's own code.
HASTE = {"[minutes, pages, size]": "[minutes, pages, size, haste]"}
FEATURES = '''\
"""What a visit tells."""


def haste(minutes, pages):
    """Pages a minute."""
    return pages / (minutes + 1)
'''


@dataclass(frozen=True)
class Shop(Project):
    """One dataset in ``data/<name>`` and the home that its versions are kept in."""

    name: str = "visits"

    @classmethod
    def at(cls, root: Path, data: Path, branch: str = "main") -> "Shop":
        """A shop whose home is ``root``; nothing is made yet."""
        return cls(home_at(root, data, branch))

    @classmethod
    def in_folder(cls, folder: Path, branch: str = "main") -> "Shop":
        """The shop whose home and data lie in one folder."""
        return cls.at(folder / "home", folder / "data", branch)

    @property
    def folder(self) -> Path:
        """The dataset's folder."""
        return self.home.data / self.name

    @property
    def contract(self) -> Path:
        """The dataset's contract."""
        return self.folder / "dataset.yaml"

    def copy(self, folder: Path, branch: str = "main") -> "Shop":
        """Everything of this shop once more, in another folder."""
        shutil.copytree(self.home.root.parent, folder, dirs_exist_ok=True)
        return self.in_folder(folder, branch)

    def landing(self, batch: str) -> Path:
        """The delivered file of a batch."""
        return self.folder / "landing" / f"{self.name}_{batch}.csv"

    def change(self, old: str, new: str) -> None:
        """Edit the contract."""
        text = self.contract.read_text()
        assert old in text
        self.contract.write_text(text.replace(old, new))

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This process as one that was started for this home."""
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith(("MLOPS_", "DAGSTER_", "MLFLOW_"))]:
                patch.delenv(name)
            for name, value in self.environment.items():
                patch.setenv(name, value)
            yield

    def run(
        self,
        *,
        batches: Sequence[str] | None = None,
        stages: Sequence[str] = (),
        releases: Sequence[str] | None = None,
    ) -> Summary:
        """What the command does, with its summary as a value."""
        with self.entered():
            asked = Asked(
                None if batches is None else tuple(batches),
                frozenset(stages),
                None if releases is None else tuple(releases),
            )
            return Runner(self.graph(), self.home).run(asked)

    def called(self, *words: str) -> Called:
        """The command in this process; the text is what it printed, errors included."""
        printed = io.StringIO()
        with self.entered(), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            code = main(words)
        return Called(code, printed.getvalue())

    def graph(self) -> Graph:
        """The graph of the contract as it is now, on this home's branch."""
        return Graph(for_branch(load_contract(self.folder), self.home.branch))

    def plan(self) -> Plan:
        """What is out of date now."""
        return Plan(self.graph(), Store.open(self.home.store), self.home.branch)

    def session(self, run_id: str = "a-run") -> Session:
        """Write, audit and publish without Dagster."""
        self.home.initialise()
        return Session(self.plan(), self.home, run_id)

    def stale(self) -> set[str]:
        """The stages of which something is not current."""
        plan = self.plan()
        keys = {"reference": ["all"], "batch": plan.batches, "release": plan.releases[-1:]}
        return {
            stage.name
            for stage in plan.graph.stages.values()
            for key in keys[stage.scope]
            if plan.standing(stage, key).state != "current"
        }

    def manifest(self, stage: str, batch: str) -> Manifest:
        """The manifest that a head names."""
        store = Store.open(self.home.store)
        head = store.head(self.home.branch, f"{self.name}/{stage}", batch)
        assert head is not None
        return store.manifest(head.asset, batch, head.manifest)

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """Dagster on this home."""
        with self.entered(), dg.DagsterInstance.from_config(str(self.home.dagster)) as instance:
            yield instance

    def materialize(  # type: ignore[override]
        self, stages: Sequence[str], partition: str | None = None, last: str | None = None
    ) -> dg.ExecuteInProcessResult:
        """One Dagster run of some stages, as its own command starts it; of a range when ``last`` is given."""
        keys = [dg.AssetKey([self.name, *stage.split("/")]) for stage in stages]
        tags = {} if last is None else {
            "dagster/asset_partition_range_start": str(partition),
            "dagster/asset_partition_range_end": last,
        }  # fmt: skip
        self.home.initialise()
        with self.entered():
            self.home.initialise_dagster()
            with self.instance() as instance:
                return self.job().execute_in_process(
                    instance=instance,
                    asset_selection=keys,
                    partition_key=partition if last is None else None,
                    tags=tags,
                    run_config=QUIET,
                    raise_on_error=False,
                )

    def job(self) -> dg.JobDefinition:
        """The job of all assets."""
        with self.entered():
            definitions = build_definitions(self.home, {self.name: self.graph().contract})
            return definitions.resolve_implicit_global_asset_job_def()

    def judge(self, stage: str, check: str, partition: str | None) -> dg.ExecuteInProcessResult:
        """A Dagster run that selects one check alone."""
        key = dg.AssetCheckKey(dg.AssetKey([self.name, *stage.split("/")]), check)
        with self.instance() as instance:
            definitions = build_definitions(self.home, {self.name: self.graph().contract})
            job = dg.define_asset_job("check", dg.AssetSelection.checks(key))
            return (
                dg.Definitions.merge(definitions, dg.Definitions(jobs=[job]))
                .resolve_job_def("check")
                .execute_in_process(
                    instance=instance,
                    tags={"dagster/partition": partition} if partition else {},
                    run_config=QUIET,
                    raise_on_error=False,
                )
            )


def counts(summary: Summary) -> dict[str, set[str]]:
    """Stages by what came of them."""
    found: dict[str, set[str]] = {}
    for outcome in summary.outcomes:
        found.setdefault(outcome.status, set()).add(outcome.stage)
    return found


def edited(path: Path, edit: Callable[[list[str]], list[str]]) -> str:
    """Change the lines of a file (line ends included); returns what it was."""
    before = path.read_text()
    path.write_text("".join(edit(before.splitlines(keepends=True))))
    return before


def words(text: str) -> str:
    """Text without the line breaks and colours of a terminal."""
    return re.sub(r"\s+", " ", re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text))


__all__ = [
    "BATCH",
    "DAYS",
    "FEATURES",
    "GATES",
    "HASTE",
    "NEWEST",
    "QUIET",
    "RELEASE",
    "Called",
    "Home",
    "Shop",
    "counts",
    "edited",
    "words",
]
