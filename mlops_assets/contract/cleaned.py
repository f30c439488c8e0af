"""The columns of ``cleaned`` as they follow from a contract's tables, and why some of them may not become features.

What belongs here: what the other parts of a contract have to know of that table before there is any data. What does
not: reading sources and joins (``tables``), making the table (``stages``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlops_assets.contract import yamlnodes as y
from mlops_assets.contract.expression import Expression
from mlops_assets.contract.model import Column, Join, Source, Target


@dataclass
class Cleaned:
    """The columns of ``cleaned``, and why some of them may not become features."""

    columns: Mapping[str, Column]
    elsewhere: Mapping[str, str]  # columns that a joined source has and the join does not bring
    forbidden: dict[str, str] = field(default_factory=dict)

    def unknown(self, name: str, more: Sequence[str] = ()) -> str:
        """How to go on after ``there is no column x``."""
        if name in self.elsewhere:
            return f"; the source {self.elsewhere[name]!r} has it: add it to the join's columns."
        return y.suggest(name, [*self.columns, *more])

    def forbid(
        self,
        target: Target,
        answer: Expression | None,
        sources: Mapping[str, Source],
        spine: str,
        joins: Sequence[Join],
    ) -> None:
        """Fill ``forbidden``: excluded and sensitive columns, the target's, and what an excluded column brought."""
        ours = sources[spine].columns if spine in sources else {}
        for join in joins:
            pairs = join.on + ((join.as_of,) if join.as_of else ())
            late = [name for name, _ in pairs if name in ours and "excluded" in ours[name].roles]
            for name in join.columns if late else ():
                self.forbidden[name] = f"comes by a join on {late[0]!r}, which is known only after the event"
        for name, column in self.columns.items():
            if answer is not None and name in answer.columns:
                self.forbidden[name] = f"is what the target {target.name!r} is made from"
            elif "excluded" in column.roles:
                self.forbidden[name] = "is known only after the event (role: excluded)"
            elif "sensitive" in column.roles:
                self.forbidden[name] = "is sensitive"

    @property
    def late(self) -> Mapping[str, str]:
        """Of the forbidden columns those that nobody knows before the event: a sensitive one may be known."""
        return {name: why for name, why in self.forbidden.items() if why != "is sensitive"}


def cleaned(sources: Mapping[str, Source], spine: str, joins: Sequence[Join]) -> Cleaned:
    """The spine's columns and those that ``joins`` bring; nothing is forbidden yet."""
    columns = dict(sources[spine].columns) if spine in sources else {}
    elsewhere: dict[str, str] = {}
    for join in joins:
        theirs = sources[join.source].columns
        columns.update({new: theirs[old] for new, old in join.columns.items() if old in theirs})
        elsewhere.update({name: join.source for name in theirs if name not in join.columns})
    return Cleaned(columns, {name: source for name, source in elsewhere.items() if name not in columns})
