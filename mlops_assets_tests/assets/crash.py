"""A process that dies in the middle of its work, again and again, at points that are named from outside.

What belongs here: dying. Libraries are loaded once; each attempt is a forked process that runs the command as it is and
kills itself, as the kernel would, at the n-th file operation on a path that matches: Python tells of those by audit
events, so that nothing of the project is changed. What does not belong here: any expectation.

Run as ``python -m mlops_assets_tests.assets.crash`` with a list of attempts as JSON on its input, each the folder of a
shop, a pattern, a moment (``at`` an operation or ``after`` it) and the words of the command; prints for each how the
process that was to die ended and how the next one did.
"""

import importlib
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

LIBRARIES = (
    "dagster_mlflow",
    "mlflow",
    "sklearn.ensemble",
    "mlops_assets.assets.dagster_private",
    "mlops_assets.definitions",
    "mlops_assets.lifecycle.release_run",
    "mlops_assets.report.page",
    "mlops_assets.stages.evaluate",
    "mlops_assets.stages.train",
)


def die(pattern: str, moment: str) -> None:
    """End this process without a word at the first rename to a path that matches, or at whatever comes next."""
    found = re.compile(pattern)
    passed = False

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal passed
        if event == "os.kill":
            return
        if passed:
            os.kill(os.getpid(), signal.SIGKILL)
        if event in ("os.rename", "os.link") and found.search(os.fsdecode(arguments[1])):
            if moment == "at":
                os.kill(os.getpid(), signal.SIGKILL)
            passed = True

    sys.addaudithook(hook)


def attempt(folder: Path, words: list[str], pattern: str | None = None, moment: str = "") -> int:
    """The command in a process of its own; returns its exit code, or the negative signal that ended it."""
    child = os.fork()
    if not child:
        # As `Shop.in_folder` lies; a process that was forked must end here whatever happens.
        try:
            with (folder / "said.txt").open("a") as said:
                os.dup2(said.fileno(), 1)
                os.dup2(said.fileno(), 2)
            for name in [name for name in os.environ if name.startswith(("MLOPS_", "DAGSTER_", "MLFLOW_"))]:
                del os.environ[name]
            os.environ |= {"MLOPS_ASSETS_HOME": str(folder / "home"), "MLOPS_ASSETS_DATA": str(folder / "data")}
            from mlops_assets.cli import main

            if pattern:
                die(pattern, moment)
            code = main(words)
            sys.stdout.flush()
            os._exit(code)
        finally:
            sys.excepthook(*sys.exc_info())
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    ends = []
    for each in json.load(sys.stdin):
        folder = Path(each["folder"])
        killed = attempt(folder, each["words"], each["pattern"], each["moment"])
        ends.append([killed, attempt(folder, each["words"])])
    print(json.dumps(ends))
