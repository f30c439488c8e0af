"""Flights that arrive while web server, daemon and runs are real, and are killed.

What belongs here: delivering month after month, waiting for what follows, killing processes at named moments, and what
is then seen. What does not: any expectation about the outcome.
"""

import hashlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import dagster as dg

from mlops_assets.assets.plan import Plan
from mlops_assets.automation.requests import IN_PROGRESS
from mlops_assets.automation.tags import PROCESS
from mlops_assets.store.deliveries import Ledger
from mlops_assets.store.store import Store
from mlops_assets_tests.assets.shop import Shop
from mlops_assets_tests.doors import wait
from mlops_assets_tests.ui.test_server import Ui, ui

FLIGHTS = Path(__file__).parents[2] / "data" / "flights"
MONTHS = ("2013-01", "2013-02", "2013-03")
PATIENCE = 400.0


@dataclass(frozen=True)
class Flights(Shop):
    """The flights in a home of their own; files may come under more than one name."""

    name: str = "flights"

    @classmethod
    def made_in(cls, folder: Path) -> "Flights":
        """The dataset with an empty landing folder, and all its files in a folder beside."""
        made = cls.in_folder(folder)
        assert isinstance(made, cls)
        made.folder.mkdir(parents=True)
        for name in ("dataset.yaml", "features.py", "supplier.py"):
            shutil.copy(FLIGHTS / name, made.folder)
        made.change('"landing/flights_{batch}.csv"', '"landing/*flights_{batch}.csv"')
        made.change("boosted_trees: {max_iter: 200}", "boosted_trees: {max_iter: 30}")
        made.change("beat: [prior, linear]", "beat: [prior]")  # so few months show no more
        assert made.called("deliver", "flights", "--through", MONTHS[-1]).code == 0
        (made.folder / "landing").rename(made.supplied)
        (made.folder / "landing").mkdir()
        return made

    @property
    def supplied(self) -> Path:
        """Where the supplier's files lie until they are delivered."""
        return self.home.root.parent / "supplied"

    def deliver(self, *names: str, prefix: str = "") -> None:
        """Copy files into the landing folder as people do, not all at once."""
        for name in names:
            shutil.copyfile(self.supplied / name, self.folder / "landing" / f"{prefix}{name}")

    def write(self, name: str, data: bytes) -> None:
        """Write over a file in the landing folder."""
        (self.folder / "landing" / name).write_bytes(data)


def month(number: int) -> tuple[str, str]:
    """The two files of a month."""
    return f"flights_{MONTHS[number]}.csv", f"weather_{MONTHS[number]}.csv"


REFERENCES = ("planes.csv", "airlines.csv", "airports.csv")


def story(flights: Flights, then: Callable[[str], None]) -> None:
    """Three months, the second broken and mended, the third under two names, the first written over at last.

    ``then`` is called with the name of each step, to bring everything up to date before the next one.
    """
    flights.deliver(*REFERENCES, *month(0))
    then("the first month")
    broken = (flights.supplied / month(1)[0]).read_bytes().replace(b",dep_delay,", b",delay,", 1)
    flights.deliver(month(1)[1])
    flights.write(month(1)[0], broken)
    then("the second month, broken")
    flights.deliver(month(1)[0])
    then("the second month, mended")
    flights.deliver(*month(2))
    then("the third month")
    flights.deliver(month(2)[0], prefix="again-")
    then("the third month, under another name")
    first = (flights.supplied / month(0)[0]).read_bytes().splitlines(keepends=True)
    flights.write(month(0)[0], b"".join(first[:-100]))
    then("the first month, written over")


@dataclass
class Running:
    """A running UI over the flights. ``killed`` names what was killed, and at which moment."""

    flights: Flights
    ui: Ui
    killed: list[str] = field(default_factory=list)

    @classmethod
    @contextmanager
    def of(cls, flights: Flights) -> Iterator["Running"]:
        """Web server, daemon and code server, until the end of the block."""
        with ui(flights) as served:
            yield cls(flights, served)

    @cached_property
    def store(self) -> Store:
        """The store that they all work on."""
        return Store.open(self.flights.home.store)

    def entries(self) -> list[tuple[str, str]]:
        """Name and sha256 of each delivery in the ledger, duplicates left out."""
        entries = Ledger(self.store, "flights").entries
        return [(entry.name, entry.blob.sha256) for entry in entries if entry.duplicate_of is None]

    def plan(self) -> Plan:
        """What is out of date by what was taken in."""
        return Plan(self.flights.graph(), self.store, "main", entered_only=True)

    def runs(self) -> list[dg.DagsterRun]:
        """The runs that are queued or at work."""
        with self.flights.entered(), dg.DagsterInstance.get() as instance:
            return list(instance.get_runs(dg.RunsFilter(statuses=list(IN_PROGRESS))))

    def settled(self) -> bool:
        """Whether nothing is at work and nothing is left to do, the newest release included."""
        plan = self.plan()
        if any(plan.standing(stage, "all").state == "stale" for stage in plan.graph.of_scope("reference")):
            return False
        if any(plan.due("batch", batch) for batch in plan.batches):
            return False
        accepted = [batch for batch in plan.batches if batch in plan.heads("features")]
        if not accepted or any(
            plan.standing(stage, accepted[-1]).state == "stale" for stage in plan.graph.of_scope("release")
        ):
            return False
        return not self.runs()

    def wait_until_settled(self) -> None:
        """Until everything that was delivered is taken in, and nothing is left to do."""
        wait(lambda: self._newest_is_taken_in() and self.settled(), PATIENCE, "everything to be up to date")

    def _newest_is_taken_in(self) -> bool:
        ledger = Ledger(self.store, "flights")
        for path in (self.flights.folder / "landing").iterdir():
            asset = "flights/raw/" + path.name.removeprefix("again-").partition("_")[0].removesuffix(".csv")
            entry = ledger.newest(asset, f"landing/{path.name}")
            if entry is None or entry.blob.sha256 != hashlib.sha256(path.read_bytes()).hexdigest():
                return False
        return True

    def kill_daemon(self, moment: str, reached: Callable[[], object]) -> None:
        """Kill the daemon as soon as the moment is reached; the UI starts another one."""
        self._at(moment, reached)
        (pid,) = [pid for pid in self.members() if "dagster-daemon" in _words(pid)]
        self._kill(pid, f"daemon {moment}")

    def kill_worker(self, moment: str, reached: Callable[[], object]) -> None:
        """Kill the process of the run that is at work as soon as the moment is reached."""
        self._at(moment, reached)
        pids = self.workers()
        for pid in pids:
            self._kill(pid, f"run worker {moment}")
        assert pids, f"no run was at work {moment}"

    def workers(self) -> list[int]:
        """The processes of the runs that are at work and have begun."""
        return [int(run.tags[PROCESS].split("/")[2]) for run in self.runs() if PROCESS in run.tags]

    def kill_everything(self, moment: str) -> None:
        """Kill code server, web server, daemon and workers at once."""
        for pid in self.members():
            if "keeper" not in _words(pid):
                self._kill(pid, f"all {moment}")

    def members(self) -> list[int]:
        """The processes of the UI's group."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, group = stat.read_text().rpartition(") ")[2].split()[:3]
            except OSError:
                continue
            if int(group) == self.ui.group and state != "Z":
                found.append(int(stat.parent.name))
        return found

    def _kill(self, pid: int, what: str) -> None:
        os.kill(pid, signal.SIGKILL)
        self.killed.append(what)

    def _at(self, moment: str, reached: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE
        while not reached():
            assert time.monotonic() < end, f"the moment never came: {moment}"
            time.sleep(0.005)


def _words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
