"""When a sensor need not look: nothing that its last answer stood on has changed since.

What belongs here: the mark of everything that an answer about a dataset stands on, and what a tick leaves for the next
one in its cursor. What does not: answers. A cursor may be lost: that costs a look.
"""

import json
import os
import time
from datetime import UTC, datetime
from typing import NamedTuple

from mlops_assets.assets.graph import digest
from mlops_assets.assets.landing import pattern
from mlops_assets.assets.plan import Plan
from mlops_assets.store.listing import YOUNG
from mlops_assets.store.names import asset_path, segment

LOOK_AGAIN = 3600.0
"""Seconds after which a sensor looks even where nothing seems to have changed."""


class Answer(NamedTuple):
    """What a look said: on the mark ``seen``, at a time and good until another (seconds)."""

    seen: str | None
    looked: float
    until: float
    said: str

    def cursor(self) -> str:
        """The text from which ``answered`` reads it."""
        return json.dumps(self._asdict())

    def holds(self, mark: str | None, now: float) -> bool:
        """Whether a look at ``now``, on this mark, would say the same."""
        return mark is not None and self.seen == mark and self.looked <= now < self.until

    def again(self) -> str:
        """What is said in place of a look."""
        return f"{self.said} Nothing has changed since {datetime.fromtimestamp(self.looked, UTC):%H:%M} UTC."


def answered(cursor: str | None) -> Answer | None:
    """What the tick before has left; None when the cursor is lost or is none of ours."""
    try:
        found = json.loads(cursor or "{}")
    except ValueError:
        return None
    return Answer(**found) if isinstance(found, dict) and found.keys() == set(Answer._fields) else None


def fingerprint(plan: Plan) -> str | None:
    """Another one after a head moved, a file was entered, came or went, or code or settings changed.

    None when none can be told: folders say when something came into them, and what came in this moment might come again
    within the same tick of their clock, and look the same.
    """
    backend, graph = plan.store.backend, plan.graph
    heads = f"heads/{segment(plan.branch)}"
    folders = [f"{heads}/{asset_path(graph.asset(stage))}" for stage in graph.stages]
    kept = [backend.touched(folder) for folder in [*folders, f"deliveries/{segment(graph.contract.name)}"]]
    landed = [
        _touched(folder)
        for folder in sorted({pattern(graph.contract, each)[0] for each in graph.contract.sources.values()})
    ]
    clock = backend.clock()
    if clock is None or any(moment is None or moment > clock - YOUNG for moment in kept):
        return None
    if any(moment > time.time_ns() - YOUNG for moment in landed):
        return None
    code = [[plan.code_version(stage), plan.rules_version(stage)] for stage in graph.stages.values()]
    return digest([kept, landed, code])


def _touched(folder: os.PathLike[str]) -> int:
    """When something last came into a landing folder or went (nanoseconds); 0 of one that is not there."""
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116 - as the store asks
    except (FileNotFoundError, NotADirectoryError):
        return 0
