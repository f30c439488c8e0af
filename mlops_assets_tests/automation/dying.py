"""Runs whose process really dies: a shop that takes as long as a file is there, and the command killed in its middle.

What belongs here: making such a home. What does not: any expectation.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg

from mlops_assets.home import Home
from mlops_assets_tests.assets.shop import FEATURES, HASTE, Shop
from mlops_assets_tests.datasets import deliver_days, write_contract
from mlops_assets_tests.doors import wait

DAY = "2024-01-01"


def slow_shop(folder: Path, **changes: str) -> Shop:
    """One day is delivered and nothing made; the features take as long as ``folder/slow`` is there.

    ``folder/reached`` appears when they begin. ``changes`` replace text in the contract.
    """
    dataset = write_contract(folder / "data", **HASTE, **changes)
    deliver_days(dataset, range(1), rows=20)
    waits = f"""
    import pathlib, time
    while pathlib.Path({str(folder / "slow")!r}).exists():
        pathlib.Path({str(folder / "reached")!r}).touch()
        time.sleep(0.1)
    return"""
    (dataset / "features.py").write_text(FEATURES.replace("\n    return", waits))
    (folder / "slow").touch()
    return Shop.in_folder(folder)


def begun(shop: Shop) -> subprocess.Popen[bytes]:
    """The command, in the middle of the features."""
    folder = shop.home.root.parent
    process = subprocess.Popen(
        [sys.executable, "-m", "mlops_assets.cli", "run", "visits"],
        env=shop.environment,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait((folder / "reached").exists, 120, "the features")
    except AssertionError:
        process.kill()
        process.wait()
        raise
    return process


def kill(process: subprocess.Popen[bytes]) -> None:
    """End it without a word."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def going_on(instance: dg.DagsterInstance) -> dg.DagsterRun:
    """The one run that is not over."""
    (run,) = [run for run in instance.get_runs() if not run.is_finished]
    return run


def empty_home(folder: Path) -> Home:
    """A home with Dagster's databases, in which nothing ran."""
    home = Home(root=folder / "home", data=folder / "data")
    home.initialise()
    return home
