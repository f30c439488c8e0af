"""Records in columns: a mapping like any other, in the order of its names."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.store.columns import Columns
from mlops_assets.store.heads import Head, Leaf

NAMES = st.text(max_size=3)


def leaf(number: int) -> Leaf:
    return Leaf(f"b3:{number}", f"v{number}", "r", "json", number, "0", None)


@given(st.dictionaries(NAMES, st.integers(0, 9)), st.lists(st.tuples(NAMES, st.none() | st.integers(0, 9))))
def test_it_holds_what_a_dictionary_holds(first: dict[str, int], changes: list[tuple[str, int | None]]) -> None:
    plain = {name: leaf(number) for name, number in first.items()}
    # whatever it was made from stays as it was
    columns = Columns.of(Leaf, dict(plain))
    for name, number in changes:
        if number is not None:
            plain[name] = leaf(number)
            columns.put(name, leaf(number))
        elif name in plain:
            del plain[name]
            columns.drop(name)
        else:
            with pytest.raises(KeyError):
                columns.drop(name)
    assert columns == plain
    assert list(columns) == list(columns.names) == sorted(plain)
    assert list(columns.items()) == sorted(plain.items())
    assert list(columns.values()) == [plain[name] for name in sorted(plain)]
    assert list(columns.rows()) == [tuple(plain[name]) for name in sorted(plain)]
    assert list(columns.column("size")) == [plain[name].size for name in sorted(plain)]
    assert list(columns.by_name("size").items()) == [(name, plain[name].size) for name in sorted(plain)]
    assert {name: columns[name] for name in columns} == plain
    assert len(columns) == len(plain)
    assert bool(columns) == bool(plain)


def test_what_is_not_there() -> None:
    columns = Columns.of(Leaf, {"b": leaf(1)})
    assert [name in columns for name in ("a", "b", "c", 1)] == [False, True, False, False]
    assert (columns.get("a"), columns.get("b")) == (None, leaf(1))
    with pytest.raises(KeyError, match="'a'"):
        columns["a"]


def test_columns_are_taken_as_they_are() -> None:
    heads = {str(number): Head("a", str(number), 1, "", "", *leaf(number)) for number in range(20)}
    mixed = list(heads)
    random.Random(7).shuffle(mixed)
    columns = Columns.of(Head, {name: heads[name] for name in mixed})
    assert Columns.of(Head, columns) is columns
    assert list(columns.column("batch")) == sorted(heads)
    assert all(isinstance(head, Head) for head in columns.values())
