"""Whether a process is told from every other one, with processes that really end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import pytest

from mlops_assets.automation.processes import booted_at, is_alive, parsed, rebooted, sign, this_process
from mlops_assets.automation.tags import PROCESS

NAME = "import sys; from mlops_assets.automation.processes import this_process; print(this_process(), flush=True)"


@contextmanager
def another() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that waits for the end of its input, and what it calls itself."""
    words = [sys.executable, "-c", f"{NAME}; sys.stdin.read()"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_this_process_lives() -> None:
    found = parsed(this_process())
    assert found is not None
    assert int(found.pid) == os.getpid()
    assert is_alive(this_process()) is True
    assert not rebooted(this_process())


def test_another_process_lives_until_it_is_killed() -> None:
    with another() as (process, name):
        assert is_alive(name) is True
        process.kill()
        # A process that nobody has collected yet still has its number.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert is_alive(name) is False
    assert process.returncode == -signal.SIGKILL
    assert is_alive(name) is False


def test_a_number_that_was_given_again_is_another_process() -> None:
    found = parsed(this_process())
    assert found is not None
    assert is_alive("/".join(found._replace(started=str(int(found.started) - 1)))) is False


def test_what_ran_before_the_machine_was_restarted_is_dead() -> None:
    found = parsed(this_process())
    assert found is not None
    before = "/".join(found._replace(boot="00000000-0000-0000-0000-000000000000"))
    assert is_alive(before) is False
    assert rebooted(before)


@pytest.mark.parametrize("boot", ["another", "the same"])
def test_of_another_machine_or_container_nothing_is_known(boot: str) -> None:
    found = parsed(this_process())
    assert found is not None
    gone = found._replace(host="elsewhere", started="1")
    assert is_alive("/".join(gone if boot == "the same" else gone._replace(boot=boot))) is None
    assert not rebooted("/".join(gone))


def test_a_machine_that_changed_its_name_knows_its_living_processes() -> None:
    found = parsed(this_process())
    assert found is not None
    assert is_alive("/".join(found._replace(host="elsewhere"))) is True


@pytest.mark.parametrize("text", ["", "host/boot/pid/ticks", "host/boot/1", "host//1/", "a/b/c/d/e"])
def test_of_what_names_no_process_nothing_is_known(text: str) -> None:
    assert is_alive(text) is None


def test_the_machine_was_started_before_this_process() -> None:
    found = parsed(this_process())
    assert found is not None
    began = booted_at() + int(found.started) / os.sysconf("SC_CLK_TCK")
    assert time.time() - 3600 < began <= time.time() + 1


def test_the_first_who_works_signs_the_run() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(dg.GraphDefinition(name="empty").to_job())
        sign(instance, run)
        signed = instance.get_run_by_id(run.run_id)
        assert signed is not None
        assert signed.tags[PROCESS] == this_process()


def test_it_imports_nothing_heavy() -> None:
    code = f"{NAME}; print(sorted({{'dagster', 'sqlalchemy', 'yaml', 'pandas'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1] == "[]"
