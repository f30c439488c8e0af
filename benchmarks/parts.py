"""One command of the project with a clock on its parts: prints its output, then CPU seconds by part as a JSON line.

What belongs here: which public calls make up a part. A part that runs inside another one is taken from that one.
"""

import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

START = time.process_time()

from mlops_assets import cli  # noqa: E402 - the clock starts before anything of ours is imported
from mlops_assets.assets import publish, runs, work  # noqa: E402
from mlops_assets.home import Home  # noqa: E402
from mlops_assets.store.store import Store  # noqa: E402

spent: dict[str, float] = defaultdict(float)
running: list[str] = []


def clocked(owner: Any, name: str, part: Callable[..., str]) -> None:
    """Count the CPU seconds of a method under a part's name."""
    method = getattr(owner, name)

    def timed(self: Any, *args: Any, **more: Any) -> Any:
        label, started = part(*args), time.process_time()
        running.append(label)
        try:
            return method(self, *args, **more)
        finally:
            running.pop()
            seconds = time.process_time() - started
            spent[label] += seconds
            if running:
                spent[running[-1]] -= seconds

    setattr(owner, name, timed)


def stage_part(stage: Any, *_: Any) -> str:
    """Release stages by name, batch stages together."""
    return f"work: {stage.name}" if stage.scope == "release" else "work: batches and references"


clocked(work.Workbench, "make", stage_part)
clocked(work.Workbench, "audit", lambda *_: "checks")
clocked(work.Workbench, "attachments", lambda *_: "report page")
clocked(work.Workbench, "preview", lambda *_: "previews and plots")
for name in ("put", "put_bytes", "record", "publish", "get", "manifest", "manifests", "heads"):
    clocked(Store, name, lambda *_: "store")
clocked(publish.Session, "run", lambda *_: "exact inputs, versions, manifests")
clocked(runs.Runner, "run", lambda *_: "planning")
clocked(runs.Runner, "_dagster_run", lambda *_: "Dagster: import, definitions, runs, events")
clocked(Home, "initialise_dagster", lambda *_: "preparing Dagster's home")
clocked(Home, "initialise_mlflow", lambda *_: "preparing MLflow's database")

code = cli.main(sys.argv[1:])
spent["start and command line"] = time.process_time() - START - sum(spent.values())
children = os.times()
if children.children_user + children.children_system:
    spent["child processes (git)"] = children.children_user + children.children_system
print(json.dumps({part: round(seconds, 3) for part, seconds in sorted(spent.items(), key=lambda item: -item[1])}))
sys.exit(code)
