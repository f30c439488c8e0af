"""What sensors remember from one tick to the next, in small files that may be lost.

What belongs here: keeping and finding those files, and how often something was asked for in vain. What does not:
anything that would be wrong after a loss: what is true stands in the store, and is found out again.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mlops_assets.home import Home
from mlops_assets.store.names import segment

FIRST_PAUSE = 10.0
"""Seconds between a run that broke off and the next try; each further one is three times longer."""


def place(home: Home, dataset: str, what: str) -> Path:
    """The file in which a sensor of a dataset remembers something."""
    return home.cache / "automation" / segment(home.branch) / f"{segment(dataset)}-{what}.json"


def keep(path: Path, value: Mapping[str, Any]) -> None:
    """Write the whole file or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value), encoding="utf-8")
    temporary.replace(path)


def kept_in(path: Path) -> dict[str, Any]:
    """What the file holds; nothing when it is lost or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


class Try(NamedTuple):
    """How often a thing was asked for: of which content (``key``), ``times``, and when last (seconds)."""

    key: str
    times: int
    at: float


class Tries:
    """What was asked for and did not come of it, so that it is asked for again neither at once nor for ever.

    A thing that is asked for twice under the same key broke off the first time: whoever asks has seen that it is
    neither done nor being done.
    """

    def __init__(self, path: Path, most: int) -> None:
        self._path = path
        self._most = most
        self._before = kept_in(path)
        self._tries = {name: Try(*record) for name, record in self._before.items()}

    def why_not(self, name: str, key: str, now: float) -> str | None:
        """A sentence when the thing is not to be asked for now."""
        last = self._tries.get(name)
        if last is None or last.key != key:
            return None
        if last.times >= self._most:
            return (
                f"{name} was tried {last.times} times and broke off each time: see the failed runs. When the reason is "
                f"mended, run it by hand or deliver it again."
            )
        pause = FIRST_PAUSE * 3 ** (last.times - 1)
        left = last.at + pause - now
        # more than the pause is left only when the clock was set back
        return f"{name} broke off and is tried again in {left:.0f} s." if 0 < left <= pause else None

    def given_up(self, name: str, key: str) -> bool:
        """Whether it was asked for under this key as often as it may be."""
        return self.broke_off(name, key) and self._tries[name].times >= self._most

    def broke_off(self, name: str, key: str) -> bool:
        """Whether it was asked for under this key before."""
        last = self._tries.get(name)
        return last is not None and last.key == key

    def asked(self, name: str, key: str, now: float) -> int:
        """Note that it is asked for now; how often it was, this time included."""
        times = self._tries[name].times + 1 if self.broke_off(name, key) else 1
        self._tries[name] = Try(key, times, now)
        return times

    def done(self, name: str) -> None:
        """Note that nothing is left to ask for."""
        self._tries.pop(name, None)

    def save(self) -> None:
        """Keep it, if anything changed."""
        found = {name: list(each) for name, each in self._tries.items()}
        if found != self._before:
            keep(self._path, found)
            self._before = found
