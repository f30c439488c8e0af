"""Many records of one kind, held in columns: what every batch of an asset shows, for tens of thousands of batches.

What belongs here: a mapping from names to records of which whole columns can be asked for. What does not: what the
records say (``heads``), where they are read from (``trees``, ``listing``).

A record is made when it is asked for: making all of them, to look at one field of each, takes longer than reading them.
Who wants all of them takes ``items()``; asking for one after the other by name takes five times as long.
"""

from bisect import bisect_left
from collections.abc import Callable, ItemsView, Iterator, Mapping, Sequence, ValuesView
from functools import partial
from typing import Any, Generic, TypeVar

from mlops_assets.store.heads import Head, Leaf

Row = TypeVar("Row", Head, Leaf)


class Columns(Mapping[str, Row], Generic[Row]):
    """Records by name, in the order of their names. ``columns`` are those of ``kind``'s fields, in their order."""

    __slots__ = ("_columns", "_kind", "_names")

    def __init__(self, kind: type[Row], names: list[str], columns: Sequence[list[Any]]) -> None:
        self._kind: type[Row] = kind
        self._names = names
        self._columns: tuple[list[Any], ...] = tuple(columns)

    @classmethod
    def of(cls, kind: type[Row], records: Mapping[str, Row]) -> "Columns[Row]":
        """Records by name, in any order."""
        if isinstance(records, Columns):
            return records
        names = sorted(records)
        columns = zip(*(records[name] for name in names), strict=True)
        return cls(kind, names, [list(column) for column in columns] or [[] for _ in kind._fields])

    @property
    def names(self) -> Sequence[str]:
        """All names, sorted; not to be changed."""
        return self._names

    def column(self, field: str) -> Sequence[Any]:
        """One field of all records, in the order of their names; not to be changed."""
        return self._columns[self._kind._fields.index(field)]

    def by_name(self, field: str) -> dict[str, Any]:
        """One field of all records, by their names."""
        return dict(zip(self._names, self.column(field), strict=True))

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """The fields of each record, in the order of their names."""
        return zip(*self._columns, strict=True)

    def put(self, name: str, record: Row) -> None:
        """Set the record of one name: for its maker, before anybody else sees the columns."""
        place = bisect_left(self._names, name)
        if place == len(self._names) or self._names[place] != name:
            self._names.insert(place, name)
            for column in self._columns:
                column.insert(place, None)
        for column, value in zip(self._columns, record, strict=True):
            column[place] = value

    def drop(self, name: str) -> None:
        """Take one name away: as ``put``; raises ``KeyError`` for one that is not there."""
        place = self._place(name)
        for column in (self._names, *self._columns):
            del column[place]

    def __getitem__(self, name: str) -> Row:
        place = self._place(name)
        return self._kind._make([column[place] for column in self._columns])

    def __contains__(self, name: object) -> bool:
        try:
            self._place(name)
        except KeyError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def items(self) -> ItemsView[str, Row]:
        """Names and records, in the order of the names."""
        return _Items(self)

    def values(self) -> ValuesView[Row]:
        """The records, in the order of their names."""
        return _Values(self)

    def _records(self) -> Iterator[Row]:
        # ``_make`` without passing through Python
        make: Callable[[tuple[Any, ...]], Row] = partial(tuple.__new__, self._kind)
        return map(make, self.rows())

    def _place(self, name: Any) -> int:
        place = bisect_left(self._names, name) if isinstance(name, str) else len(self._names)
        if place == len(self._names) or self._names[place] != name:
            raise KeyError(name)
        return place


class _Items(ItemsView[str, Row]):
    _mapping: Columns[Row]

    def __iter__(self) -> Iterator[tuple[str, Row]]:
        return zip(self._mapping.names, self._mapping._records(), strict=True)


class _Values(ValuesView[Row]):
    _mapping: Columns[Row]

    def __iter__(self) -> Iterator[Row]:
        return self._mapping._records()
