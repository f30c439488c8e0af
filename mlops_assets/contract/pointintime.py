"""Which times of a contract's joins are compared, so that no row gets what was known only after it happened.

What belongs here: reading them off the joins, and what a dataset with SQL must bring so that they can be compared. What
does not: comparing (``checks.pointintime``).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from mlops_assets.contract.model import Contract, Join

_TIMES = ("date", "timestamp")


@dataclass(frozen=True, slots=True)
class Compared:
    """The time ``theirs`` of a joined source, which must not be later than the spine's ``ours``.

    ``name`` is what ``cleaned`` calls it; None where the join does not bring it.
    """

    join: Join
    ours: str
    theirs: str
    name: str | None


def compared(contract: Contract) -> Iterator[Compared]:
    """The times that joins go by, and else the event time of a joined source, where it is brought.

    A join that brings nothing but outcomes may come from as late as it likes.
    """
    spine = contract.sources[contract.spine]
    for join in contract.joins:
        if not join.columns:
            continue
        source = contract.sources[join.source]
        if all({"excluded", "target"} & source.columns[old].roles for old in join.columns.values()):
            continue
        names = {old: new for new, old in join.columns.items()}
        pairs = [pair for pair in join.on if spine.columns[pair[0]].type in _TIMES]
        pairs += [join.as_of] if join.as_of else []
        for ours, theirs in pairs:
            yield Compared(join, ours, theirs, names.get(theirs))
        own, their = spine.event_time, source.event_time
        if pairs or own is None or their is None or own.parts or their.parts:
            continue
        column = their.columns[0]
        if column in names and "excluded" not in source.columns[column].roles:
            yield Compared(join, own.columns[0], column, names[column])


def not_brought(contract: Contract) -> Iterator[tuple[int, str]]:
    """The line and a sentence for each join whose time cannot be seen in what SQL makes of it."""
    for each in compared(contract):
        if each.name is None:
            new = f"{each.join.source}_{each.theirs}"
            sentence = (
                f"the join of {each.join.source!r} goes by the time {each.theirs!r}, and SQL does it; bring the time "
                f"too, so that no row can get what was known only later: columns: {{{new}: {each.theirs}, ...}}."
            )
            yield each.join.line, sentence
