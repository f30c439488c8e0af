"""What a stage hands back.

What belongs here: the one value object that every stage returns. What does not: any work.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Made:
    """A stage's ``value``, plain JSON ``facts`` about it for records and checks, and ``sentences`` for people."""

    value: Any
    facts: Mapping[str, Any] = field(default_factory=dict)
    sentences: tuple[str, ...] = ()
