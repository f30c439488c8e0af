"""The reasons for which something is not current, as values and as sentences.

What belongs here: value objects, their JSON, and how they read. What does not: finding them (``staleness``).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mlops_assets.contract.calendar import ALL

Kind = Literal[
    "never made", "input", "file", "code", "setting", "rules", "purged", "refused", "blocked", "unread", "unknown"
]
Change = Literal["changed", "added", "removed"]
State = Literal["current", "stale", "waiting", "refused", "blocked"]

_WIDTH = 100
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing in which what is published differs from what would be made now.

    ``name`` is the asset of an input, the name of a delivered file, the path of a setting, the id of a purge, or a
    sentence (``refused``, ``blocked``). ``before`` and ``after`` are versions, sha256, digests or values, None where
    there is none. ``unread`` says that nobody looked: as many records were read as were to be.
    """

    kind: Kind
    name: str = ""
    partition: str = ""
    change: Change = "changed"
    before: Any = None
    after: Any = None

    def __hash__(self) -> int:
        # a setting's value may be a list
        return hash((self.kind, self.name, self.partition, self.change))

    @property
    def sentence(self) -> str:
        """For people."""
        plain = {
            "never made": "It was never made.",
            "unread": "Why was not looked at.",
            "unknown": "Its recipe is another one, though code, settings, inputs and files are those that it names.",
        }
        match self.kind:
            case "input":
                text = f"Its input {named(self.name, self.partition)} {self._input()}."
            case "file":
                text = f"{self.name} {self._file()}."
            case "code":
                text = f"Its code changed: {self._digests()}."
            case "setting":
                text = f"Its setting {self.name} {self._setting()}."
            case "rules":
                text = f"What its checks ask changed ({self._digests()}): it is judged again, not made again."
            case "purged":
                text = (
                    f"Rows of it were erased by purge {self.name}; it is made again of what is delivered without them."
                )
            case _:
                text = plain.get(self.kind, self.name)
        return text

    @property
    def broad(self) -> "Reason":
        """What it has in common with the same change elsewhere: an own input or file of each batch counts as one."""
        if self.kind == "file":
            return Reason("file", change=self.change)
        if self.kind == "input" and self.partition != ALL:
            return Reason("input", self.name, change=self.change)
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        names = {
            "input": {"asset": self.name, "partition": self.partition},
            "file": {"name": self.name},
            "purged": {"purge": self.name},
        }
        found: dict[str, Any] = {"kind": self.kind, **names.get(self.kind, {})}
        if self.kind == "setting":
            found["key"] = self.name
        if self.kind in ("input", "file", "setting"):
            found["change"] = self.change
        if self.kind in ("input", "file", "code", "setting", "rules"):
            found |= {"from": self.before, "to": self.after}
        return {**found, "sentence": self.sentence}

    def _digests(self) -> str:
        return f"{short(self.before)} -> {short(self.after)}"

    def _input(self) -> str:
        before, after = (short(version) if version else "absent" for version in (self.before, self.after))
        match self.change:
            case "added":
                return f"is new: {after}"
            case "removed":
                return f"is none any more (it was {before})"
            case _:
                return f"changed: {before} -> {after}"

    def _file(self) -> str:
        match self.change:
            case "added":
                return f"was delivered since: sha256 {short(self.after)}"
            case "removed":
                return f"is gone or counts no longer (sha256 {short(self.before)})"
            case _:
                return f"holds other bytes: sha256 {self._digests()}"

    def _setting(self) -> str:
        match self.change:
            case "added":
                return f"is new: {_value(self.after)}"
            case "removed":
                return f"is gone (it was {_value(self.before)})"
            case _:
                return f"changed: {_value(self.before)} -> {_value(self.after)}"


@dataclass(frozen=True, slots=True)
class Above:
    """What further up has to be made or mended first: batches of one asset that are all in one state."""

    asset: str
    state: State
    batches: tuple[str, ...]
    ranges: tuple[tuple[str, str], ...]

    @property
    def sentence(self) -> str:
        """For people."""
        what = {"stale": "stale", "refused": "refused"}.get(self.state, "not there")
        if len(self.batches) == 1:
            return f"It stands on {named(self.asset, self.batches[0])}, which is {what}."
        return f"It stands on {len(self.batches):,} batches of {self.asset} that are {what}: {said(self.ranges)}."

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"asset": self.asset, "state": self.state, "ranges": [list(pair) for pair in self.ranges]}


@dataclass(frozen=True, slots=True)
class Explanation:
    """How one stage of one batch stands, and why.

    ``waiting``: nothing is to be done here before what stands ``above`` is made. ``notes`` make nothing stale: an
    input that is a last good version, another environment.
    """

    asset: str
    stage: str
    batch: str
    state: State
    reasons: tuple[Reason, ...] = ()
    above: tuple[Above, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """The verdict of ``UP_TO_DATE``."""
        return self.state == "current"

    @property
    def sentences(self) -> tuple[str, ...]:
        """All that is to be said of why it is not current."""
        return (*(reason.sentence for reason in self.reasons), *(each.sentence for each in self.above))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "asset": self.asset,
            "partition": self.batch,
            "state": self.state,
            "reasons": [reason.to_dict() for reason in self.reasons],
            "above": [each.to_dict() for each in self.above],
            "notes": list(self.notes),
        }


def named(asset: str, batch: str) -> str:
    """An asset's batch for people."""
    return asset if batch == ALL else f"{asset} [{batch}]"


def said(ranges: Sequence[tuple[str, str]], most: int = 8) -> str:
    """Ranges of batches for people: ``2013-01..2013-03, 2013-07``."""
    shown = [first if first == last else f"{first}..{last}" for first, last in ranges[:most]]
    more = [f"and {len(ranges) - most:,} more ranges"] if len(ranges) > most else []
    return ", ".join(shown + more)


def short(digest: Any) -> str:
    """A digest as people write it."""
    text = str(digest)
    return text[: _DIGITS + len("b3:")] if text.startswith("b3:") else text[:_DIGITS]


def _value(value: Any) -> str:
    text = _text(value)
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
