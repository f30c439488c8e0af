"""The locks of the environments beside the project's own name every package, and no place."""

import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mlops_assets_tests.environments import ROOT, tool

NAMES = ("dvc", "duckdb")


def lines(name: str) -> list[str]:
    return [line for line in (ROOT / "benchmarks" / name).read_text().splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("name", NAMES)
def test_a_lock_satisfies_its_requirements(name: str) -> None:
    locked = dict(line.split("==") for line in lines(f"{name}.lock"))
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.-]*", package) for package in locked)
    for text in lines(f"{name}.in"):
        requirement = Requirement(text)
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)])
    assert f"tools/lock benchmarks/{name}.in benchmarks/{name}.lock" in (ROOT / "Makefile").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_environment_is_made_once(name: str) -> None:
    assert tool(name).exists()
    stamp = ROOT / f".venv-{name}" / ".complete"
    made = stamp.stat().st_mtime_ns
    tool.cache_clear()
    assert tool(name) == ROOT / f".venv-{name}" / "bin" / "python"
    assert stamp.stat().st_mtime_ns == made
