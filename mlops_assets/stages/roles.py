"""Who trains, who validates, who tests: the roles of batches and buckets in a release.

What belongs here: the arithmetic of a split policy on keys and bucket numbers. What does not: buckets themselves
(``split``) or any data; the command asks this before anything heavy is loaded.
"""

from collections.abc import Sequence

from mlops_assets.contract.calendar import Calendar
from mlops_assets.contract.model import Contract
from mlops_assets.errors import RefusedError

BUCKETS = 10_000
"""Buckets are numbered from 0 to ``BUCKETS - 1``."""


def roles(contract: Contract, present: Sequence[str], release: str, calendar: Calendar) -> dict[str, list[str]]:
    """The batches of each role: ``train``, ``validation``, ``embargo``, ``test``.

    By time, test is the release's own batch, validation the ones just before it, then the embargo, then train. When
    nothing would be left to train on, validation gives way first: the candidate then trains with its fixed settings on
    what there is. By hash every batch has every role, and the buckets decide (``bucket_ranges``).

    Raises:
        RefusedError: the release's own batch has no rows, or nothing is left to train on.
    """
    policy = contract.split
    if release not in present:
        raise RefusedError(
            f"Release {release} of {contract.name} has no accepted rows of its own batch; "
            f"bring batch {release} in first."
        )
    if policy.by == "hash":
        return {"train": list(present), "validation": list(present), "embargo": [], "test": list(present)}
    before = [batch for batch in calendar.sort(present) if batch != release]
    wanted = int(policy.validation)
    validation = before[len(before) - wanted :] if len(before) > wanted + policy.embargo else []
    rest = before[: len(before) - len(validation)]
    embargo = rest[len(rest) - policy.embargo :] if policy.embargo else []
    train = rest[: len(rest) - len(embargo)]
    if not train:
        raise RefusedError(
            f"Release {release} of {contract.name} has nothing to train on: its newest batch is the test set, and no "
            f"accepted batch stands before it. Deliver an earlier batch, or ask for a later release."
        )
    return {"train": train, "validation": validation, "embargo": embargo, "test": [release]}


def bucket_ranges(contract: Contract) -> dict[str, tuple[int, int]]:
    """Half-open ranges of buckets for ``train``, ``validation`` and ``test`` when rows are split by hash."""
    test = BUCKETS - round(contract.split.test * BUCKETS)
    validation = test - round(contract.split.validation * BUCKETS)
    return {"train": (0, validation), "validation": (validation, test), "test": (test, BUCKETS)}
