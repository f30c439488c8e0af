"""The outcome of one check on one value.

What belongs here: the value object that every check returns, and the static description of a check. What does not: any
rule, any knowledge of the store or of Dagster.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["block", "warn"]


@dataclass(frozen=True, slots=True)
class Check:
    """What is asked of a stage: ``name`` is unique within the stage and matches ``[A-Za-z0-9_]+``.

    ``severity`` says what a failure means: ``block`` keeps the version from being published, ``warn`` only tells.
    """

    name: str
    severity: Severity
    description: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found.

    ``sentence`` never holds a value of a row (it is kept for ever); ``examples`` are sentences that name file, row,
    column and value, and live in a blob that can be erased. ``n`` rows (or columns, batches, ...) were looked at,
    ``failed`` of them failed, ``threshold`` is the largest share that passes, or the largest of what the check measures
    of each. ``details`` is plain JSON for people: tables of several rules of one family, measured values. A number that
    is worth a line over time stands there under a name of its own.
    """

    check: str
    passed: bool
    severity: Severity
    sentence: str
    n: int = 0
    failed: int = 0
    threshold: float | None = None
    examples: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def blocks(self) -> bool:
        """Whether this verdict keeps the version from being published."""
        return not self.passed and self.severity == "block"

    @property
    def share(self) -> float:
        """The failed share, between 0 and 1; 0 when nothing was looked at."""
        return self.failed / self.n if self.n else 0.0


def verdict_of(check: Check, failed: int, n: int, sentence: str, **more: Any) -> Verdict:
    """The verdict of a check that passes when nothing failed."""
    return Verdict(check.name, failed == 0, check.severity, sentence, n=n, failed=failed, **more)
