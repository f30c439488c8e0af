"""CPU seconds and peak memory of the project's jobs beside the floor, in turn on the same machine.

usage: python benchmarks/measure.py [job] [month] [daily] [load] [--rounds 3] [--floor ANOTHER_FLOOR.py]
needs the project's environment; the machine may be busy: compare ratios within one run, not seconds between runs.

Every process is measured as a whole, interpreter exit included, from the kernel's account of it; one OpenMP thread on
both sides. ``--floor`` checks our own floor against another script. What does not belong here: anything that asserts.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
COMMAND = [sys.executable, "-m", "mlops_assets.cli"]
BATCHES = 365


def measured(words: Sequence[str], **environment: str) -> tuple[float, float, str]:
    """CPU seconds, peak memory in MB and the output of one process with its children."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", **environment}
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(list(words), stdout=output, stderr=subprocess.STDOUT, env=variables, cwd=HERE.parent)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}:\n{text}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text


class Place:
    """A data folder and a home of their own."""

    def __init__(self, root: Path, dataset: Path | None = None) -> None:
        self.data, self.home = root / "data", root / "home"
        if dataset is not None:
            ignored = shutil.ignore_patterns("landing", "__pycache__")
            shutil.copytree(dataset, self.data / dataset.name, ignore=ignored)

    def run(self, *words: str) -> tuple[float, float, str]:
        """One command of the project here."""
        return measured([*COMMAND, *words], MLOPS_ASSETS_DATA=str(self.data), MLOPS_ASSETS_HOME=str(self.home))

    def parts(self, *words: str) -> dict[str, float]:
        """CPU seconds of one command by part, from inside the process."""
        words = (sys.executable, str(HERE / "parts.py"), *words)
        _, _, text = measured(words, MLOPS_ASSETS_DATA=str(self.data), MLOPS_ASSETS_HOME=str(self.home))
        return dict(json.loads(text.splitlines()[-1]))


def told(name: str, figures: Sequence[tuple[float, float]]) -> float:
    """Print the median and the range of some measurements; returns the median."""
    seconds = [cpu for cpu, _ in figures]
    middle = statistics.median(seconds)
    memory = max(peak for _, peak in figures)
    print(f"{name:<44} {middle:7.2f} CPU s  ({min(seconds):.2f} to {max(seconds):.2f})  {memory:6.0f} MB", flush=True)
    return middle


def job(rounds: int, other: Path | None) -> None:
    """The whole year with its newest release, beside the floor; then nothing to do, then where the seconds go."""
    floors, others, ours, again = [], [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            place = Place(Path(folder), HERE.parent / "data" / "flights")
            place.run("deliver", "flights")
            floors.append(
                measured([sys.executable, str(HERE / "floor.py"), str(place.data / "flights" / "landing")])[:2]
            )
            if other:
                others.append(measured([sys.executable, str(other)])[:2])
            ours.append(place.run("run", "flights")[:2])
            again.append(place.run("run", "flights")[:2])
    floor = told("floor: notebook script, same fits", floors)
    if other:
        told(f"another floor: {other.name} (one fit)", others)
    built = told("job: everything on", ours)
    told("job again: nothing to do", again)
    print(f"job / floor: {built / floor:.2f}")
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), HERE.parent / "data" / "flights")
        place.run("deliver", "flights")
        for part, seconds in place.parts("run", "flights").items():
            print(f"    {part:<40} {seconds:7.2f} CPU s")


def month(rounds: int) -> None:
    """One more month, with its release and without, beside the floor of that release."""
    floors, whole, batch = [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            place = Place(Path(folder), HERE.parent / "data" / "flights")
            place.run("deliver", "flights", "--through", "2013-11")
            place.run("run", "flights", "--to", "2013-11")
            place.run("deliver", "flights")
            floors.append(
                measured([sys.executable, str(HERE / "floor.py"), str(place.data / "flights" / "landing")])[:2]
            )
            copy = Path(folder) / "copy"
            shutil.copytree(place.home, copy)
            whole.append(place.run("run", "flights")[:2])
            shutil.rmtree(place.home)
            copy.rename(place.home)
            batch.append(place.run("run", "flights", "--partition", "2013-12")[:2])
    floor = told("floor: notebook script, same fits", floors)
    built = told("one more month with its release", whole)
    told("one more month without a release", batch)
    print(f"month with release / floor: {built / floor:.2f}")


def daily(rounds: int) -> None:
    """A year of daily batches of a small dataset, without a release."""
    sys.path.insert(0, str(HERE.parent))
    from mlops_assets_tests.datasets import deliver_days, write_contract

    few, many, again = [], [], []
    for _ in range(rounds):
        for count, figures in ((1, few), (BATCHES, many)):
            with tempfile.TemporaryDirectory() as folder:
                place = Place(Path(folder))
                deliver_days(write_contract(place.data), range(count))
                figures.append(
                    place.run("run", "visits", "--select", "raw/visits", "--select", "raw/shops", *_batch_stages())[:2]
                )
                if count == BATCHES:
                    again.append(place.run("run", "visits", "--select", "raw/visits", *_batch_stages())[:2])
    one, year = told("1 daily batch", few), told(f"{BATCHES} daily batches", many)
    told(f"{BATCHES} daily batches again: nothing to do", again)
    print(f"a batch: {year / BATCHES * 1000:.0f} CPU ms, {(year - one) / (BATCHES - 1) * 1000:.0f} beyond the first")


def _batch_stages() -> list[str]:
    return [word for name in ("quarantine", "cleaned", "splits", "features") for word in ("--select", name)]


def load(rounds: int) -> None:
    """Loading the code location beside importing Dagster."""
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), HERE.parent / "data" / "flights")
        here = {"MLOPS_ASSETS_DATA": str(place.data), "MLOPS_ASSETS_HOME": str(place.home)}
        ours = [
            sys.executable,
            "-c",
            "import mlops_assets.definitions as d; d.build_definitions().get_repository_def()",
        ]
        told("first load: sources are read", [measured(ours, **here)[:2]])
        bare, loaded = [], []
        for _ in range(rounds * 3):
            bare.append(measured([sys.executable, "-c", "import dagster"])[:2])
            loaded.append(measured(ours, **here)[:2])
        base = told("import dagster", bare)
        print(f"code location / import dagster: {told('load the code location', loaded) / base:.2f}")


def main() -> None:
    """Run what was asked for, all of it by default."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("what", nargs="*", choices=[[], "job", "month", "daily", "load"])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--floor", type=Path, help="another floor script to run beside ours")
    args = options.parse_args()
    wanted = args.what or ["job", "month", "daily", "load"]
    if "load" in wanted:
        load(args.rounds)
    if "job" in wanted:
        job(args.rounds, args.floor)
    if "month" in wanted:
        month(args.rounds)
    if "daily" in wanted:
        daily(args.rounds)


if __name__ == "__main__":
    main()
