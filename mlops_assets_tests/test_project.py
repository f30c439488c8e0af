"""The project's files agree with each other."""

import configparser
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def lines(name: str) -> list[str]:
    return [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]


def declared() -> set[str]:
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    sections = [metadata["options"]["install_requires"], *metadata["options.extras_require"].values()]
    return {line for section in sections for line in section.splitlines() if line}


def locked() -> dict[str, str]:
    pairs = [(name, version) for name, _, version in (line.partition("==") for line in lines("requirements.lock"))]
    return dict(pairs)


def test_setup_cfg_and_requirements_in_name_the_same_packages() -> None:
    assert declared() == set(lines("requirements.in"))


def test_the_lock_pins_every_package_and_names_no_place() -> None:
    for line in lines("requirements.lock"):
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*==[0-9][0-9a-z.+]*", line), line
    assert not re.search(r"https?:|file:|/|@", (ROOT / "requirements.lock").read_text())


@pytest.mark.parametrize("text", sorted(declared()))
def test_the_lock_satisfies_what_is_declared(text: str) -> None:
    requirement = Requirement(text)
    assert requirement.specifier.contains(locked()[canonicalize_name(requirement.name)])


def test_the_command_and_the_code_location_are_named() -> None:
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    assert "mlops-assets = mlops_assets.cli:process" in metadata["options.entry_points"]["console_scripts"]
    assert "module_name: mlops_assets.definitions" in (ROOT / "workspace.yaml").read_text()


def test_every_ignored_warning_is_named() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    first, *ignored = settings["filterwarnings"]
    assert first == "error"
    assert all(len(line.split(":", 1)[1]) > 20 for line in ignored)


def test_the_ci_script_is_executable_and_stops_at_the_first_failure() -> None:
    script = ROOT / ".ci" / "run"
    assert "set -euo pipefail" in script.read_text()
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert script.stat().st_mode & 0o100
