"""Room around what was seen: the next delivery will not be exactly like those before.

What belongs here: bands for numbers and counts, how sure one may be, and the words for it. What does not: measuring.
"""

from math import ceil, floor, log10
from typing import Literal

Sure = Literal["sure", "fair", "a guess"]

_SURE, _FAIR = 1000, 100
_ROOM = 0.25


def how_sure(rows: int, batches: int | None = None) -> Sure:
    """How sure a guess is that so many rows speak for; of a batch's own numbers (volume, mean) so many batches."""
    if batches is not None:
        return "sure" if batches >= 6 else "fair" if batches >= 3 else "a guess"  # noqa: PLR2004 - as the words say
    return "sure" if rows >= _SURE else "fair" if rows >= _FAIR else "a guess"


def band(low: float, high: float, room: float = _ROOM) -> tuple[float, float]:
    """Round numbers around what was seen, ``room`` of its span further out on each side.

    Numbers that were never negative stay so; whole numbers stay whole.
    """
    whole = isinstance(low, int) and isinstance(high, int)
    more = max((high - low) * room, abs(high) * room * 0.1, abs(low) * room * 0.1) or 1
    down, up = _down(low - more, more), -_down(-(high + more), more)
    if low >= 0:
        down = max(down, 0)
    if high <= 0:
        up = min(up, 0)
    return (floor(down), ceil(up)) if whole else (down, up)


def counts(low: int, high: int) -> tuple[int, int]:
    """Round counts, half of the fewest to twice the most."""
    return int(_down(low / 2, max(low / 2, 1))), int(-_down(-high * 2, max(high, 1)))


def _down(value: float, step: float) -> float:
    """The number with one digit of ``step`` that is not above ``value``."""
    digits = floor(log10(step))
    unit = 10.0**digits
    return round(floor(value / unit) * unit, max(0, -digits))
