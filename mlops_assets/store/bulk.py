"""What loops over very many small objects share.

What belongs here: how such a loop is run. What does not: what it does.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Spare the block Python's search for cycles, for loops that make many objects and no cycles among them.

    Each search looks at all that was made so far; over 60,000 heads that is a third of the time. Of blocks in several
    threads the first one to end switches it on again, so that it never stays off.
    """
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()
