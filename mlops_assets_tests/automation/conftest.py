"""What tests of several modules here start from."""

import subprocess
import sys

import pytest

_NAME = "from mlops_assets.automation.processes import this_process; print(this_process())"


@pytest.fixture(scope="session")
def dead() -> str:
    """The name of a process that has ended."""
    done = subprocess.run([sys.executable, "-c", _NAME], capture_output=True, text=True, check=True)
    return done.stdout.strip()
