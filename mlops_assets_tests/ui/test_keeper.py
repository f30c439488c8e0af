"""What the keeper ends, and when."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_assets.ui import keeper

STARTS = """
import subprocess, sys, time
kept = subprocess.Popen([sys.executable, "-m", "mlops_assets.ui.keeper", sys.argv[1]], stdin=-1, process_group=0)
child = "import subprocess; subprocess.run(['sleep', '300'])"
subprocess.Popen([sys.executable, "-c", child], process_group=kept.pid)
print(kept.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process with a keeper, a child and a grandchild; the folder that goes with them is ``folder``."""
    (tmp_path / "folder").mkdir()
    words = [sys.executable, "-c", STARTS, str(tmp_path / "folder")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def members(group: int) -> list[str]:
    """The command lines of the processes of a group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, process_group = stat.read_text().rpartition(") ")[2].split()[:3]
            words = (stat.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it has just ended
            continue
        if int(process_group) == group and state != "Z":
            found.append(words)
    return found


def test_nothing_outlives_a_parent_that_is_killed(parent: subprocess.Popen[str], tmp_path: Path) -> None:
    assert parent.stdout is not None
    group = int(parent.stdout.readline())
    limit = time.monotonic() + 20
    while len(members(group)) < 3:
        assert time.monotonic() < limit
        time.sleep(0.05)
    assert (tmp_path / "folder").is_dir()
    parent.kill()
    parent.wait()
    assert keeper.gone(group, 20)
    assert members(group) == []
    while (tmp_path / "folder").exists():
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_who_ignores_an_interrupt_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "PATIENCE", 1.0)
    words = ["sh", "-c", 'trap "" INT; echo ready; sleep 300; sleep 300']
    with subprocess.Popen(words, process_group=0, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert keeper.end(process.pid, process.poll)
        assert process.wait(10) == -signal.SIGKILL
    assert members(process.pid) == []


def test_the_keeper_imports_nothing_heavy() -> None:
    modules = "mlops_assets.ui.keeper, mlops_assets.ui.services"
    code = f"import sys, {modules}; print('dagster' in sys.modules, len(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    dagster, count = done.stdout.split()
    assert dagster == "False"
    assert int(count) < 250
