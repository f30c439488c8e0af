"""Every raw row is accepted, quarantined with reasons, or an exact duplicate."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_assets.errors import DeliveryError
from mlops_assets.stages.ingest import Delivery, read_source
from mlops_assets.stages.sift import QUARANTINE, Sifted, sift
from mlops_assets_tests.stages.build import HEADER, ROWS, column, contract, csv_text, read, sifted, source, with_column


def reasons(found: Sifted) -> list[list[str]]:
    told: list[list[str]] = found.quarantined["reasons"].to_pylist()
    return told


def counts(found: Sifted) -> tuple[int, int, int]:
    return found.accepted.num_rows, found.quarantined.num_rows, found.duplicates


def test_good_rows_are_typed_and_in_the_order_of_delivery(tmp_path: Path) -> None:
    found = sifted(tmp_path, csv_text(*reversed(ROWS)))
    assert [str(kind) for kind in found.accepted.schema.types] == ["int64", "date32[day]", "string", "double", "int64"]
    assert found.accepted["id"].to_pylist() == [3, 2, 1]
    assert found.accepted["price"].to_pylist() == [7.0, None, 1.5]
    assert found.quarantined.schema == QUARANTINE
    assert found.facts == {
        "batch": "2024-01", "raw": 3, "accepted": 3, "quarantined": 0, "duplicates": 0, "reasons": {}, "first": {},
    }  # fmt: skip


def test_a_refused_row_says_everything_that_is_wrong(tmp_path: Path) -> None:
    found = sifted(tmp_path, csv_text(ROWS[0], "x,2024-02-30,nowhere,-1,1", ROWS[2]))
    assert found.quarantined.to_pylist() == [
        {
            "source": "sales",
            "file": "landing/sales_2024-01.csv",
            "line": 3,
            "reasons": [
                "id: 'x' is not a whole number",
                "day: '2024-02-30' is not a date (YYYY-MM-DD)",
                "shop: 'nowhere' is not one of north, south, west",
                "price: '-1' is below the minimum 0",
            ],
            "row": json.dumps({"id": "x", "day": "2024-02-30", "shop": "nowhere", "price": "-1", "paid": "1"}),
        }
    ]
    assert found.facts["reasons"] == {
        "day: is not a date (YYYY-MM-DD)": 1,
        "id: is not a whole number": 1,
        "price: is below the minimum": 1,
        "shop: is not one of the declared values": 1,
    }


def test_a_record_that_cannot_be_split_keeps_its_text(tmp_path: Path) -> None:
    found = sifted(tmp_path, csv_text(ROWS[0], "2,2024-01-06", "7,8,9", '3,"2024-01-06,south,,0'))
    assert found.quarantined["row"].to_pylist() == ["2,2024-01-06", "7,8,9", '3,"2024-01-06,south,,0']
    assert found.facts["reasons"] == {
        "the line has another number of fields than the header": 2,
        "a quote is opened and not closed": 1,
    }
    assert reasons(found)[0] == ["the line has 2 fields where the header has 5"]


def test_exact_duplicates_are_counted_once_read(tmp_path: Path) -> None:
    found = sifted(tmp_path, csv_text(*ROWS, ROWS[0], "1,2024-01-05,north,1.5,2", ROWS[2]))
    assert counts(found) == (3, 0, 3)


def test_without_a_key_whole_rows_are_compared(tmp_path: Path) -> None:
    found = sifted(tmp_path, csv_text(*ROWS, ROWS[0], "1,2024-01-05,north,1.5,3"), replace(source(), key=()))
    assert counts(found) == (4, 0, 1)


def test_rows_that_share_a_key_and_differ_are_all_refused(tmp_path: Path) -> None:
    found = sifted(tmp_path, csv_text(*ROWS, "2,2024-01-06,south,5,0", ROWS[0], "2,2024-01-06,south,6,0"))
    assert counts(found) == (2, 3, 1)
    assert reasons(found) == [
        ["id: the same key stands on line 5 with other values"],
        ["id: the same key stands on line 3 with other values"],
        ["id: the same key stands on line 3 with other values"],
    ]
    assert found.facts["reasons"] == {"id: the same key with other values": 3}


def test_a_key_conflict_across_files_names_the_other_file(tmp_path: Path) -> None:
    files = []
    for name, row in (("a", "1,2024-01-05,north,1,1"), ("b", "1,2024-01-05,north,2,1")):
        (tmp_path / name).write_text(csv_text(row))
        files.append(Delivery(f"landing/{name}.csv", tmp_path / name))
    found = sift(contract(), source(), read_source(contract(), source(), files, "2024-01").value, "2024-01")
    assert reasons(found)[0] == ["id: the same key stands on line 2 of landing/b.csv with other values"]


def test_a_row_refused_by_a_rule_conflicts_with_nothing(tmp_path: Path) -> None:
    found = sifted(tmp_path, csv_text(ROWS[0], "1,2024-01-05,nowhere,1.50,2"))
    assert counts(found) == (1, 1, 0)


def test_a_duplicate_of_a_refused_row_is_a_duplicate(tmp_path: Path) -> None:
    found = sifted(tmp_path, csv_text("1,2024-01-05,nowhere,1,1", "1,2024-01-05,nowhere,1,1"))
    assert counts(found) == (0, 1, 1)


def test_unreadable_rows_are_never_duplicates(tmp_path: Path) -> None:
    found = sifted(tmp_path, csv_text("x,2024-01-05,north,1,1", "x,2024-01-05,north,1,1", "x", "x"))
    assert counts(found) == (0, 4, 0)


def test_sensitive_values_stand_in_the_row_and_nowhere_else(tmp_path: Path) -> None:
    table = with_column(source(), "shop", roles=frozenset({"sensitive"}))
    found = sifted(tmp_path, csv_text("1,2024-01-05,nowhere,x,1"), table)
    assert reasons(found) == [["shop: a value is not one of north, south, west", "price: 'x' is not a number"]]
    assert "nowhere" in found.quarantined["row"][0].as_py()
    assert "nowhere" not in json.dumps(found.facts)


def test_a_third_of_broken_rows(tmp_path: Path) -> None:
    rows = [f"{n},2024-01-05,north,{'1' if n % 3 else 'x'},1" for n in range(1, 301)]
    found = sifted(tmp_path, csv_text(*rows))
    assert counts(found) == (200, 100, 0)
    assert found.quarantined["line"].to_pylist() == list(range(4, 302, 3))


def test_the_first_row_of_each_reason_is_known(tmp_path: Path) -> None:
    rows = [*ROWS, "4,2024-01-08,nowhere,1,1", "x,2024-01-08,north,-1,1", "6,2024-01-08,nowhere,-1,1", "7"]
    found = sifted(tmp_path, csv_text(*rows))
    assert found.facts["first"] == {
        "price: is below the minimum": 1,
        "shop: is not one of the declared values": 0,
        "id: is not a whole number": 1,
        "the line has another number of fields than the header": 3,
    }


def test_a_batch_of_many_rows_in_which_every_row_breaks_every_rule(tmp_path: Path) -> None:
    several, count = 3, 40_000
    columns = [column(f"c{n}", "int64", minimum=0, maximum=-count - 1) for n in range(several)]
    table = source(*columns, key=())
    text = csv_text(*(f"-{n % 9 + 1},-1,-{n + 1}" for n in range(count)), header="c0,c1,c2")
    found = sifted(tmp_path, text, table)
    assert counts(found) == (0, count, 0)
    assert set(found.facts["reasons"].values()) == {count}
    assert len(found.facts["reasons"]) == 2 * several
    for place in (0, 1, 32_767, 32_768, count - 1):
        row = found.quarantined.slice(place, 1).to_pylist()[0]
        values = [f"-{place % 9 + 1}", "-1", f"-{place + 1}"]
        assert row["reasons"] == [
            f"c{n}: '{value}' {words}"
            for n, value in enumerate(values)
            for words in ("is below the minimum 0", f"is above the maximum {-count - 1}")
        ]
        assert row["line"] == place + 2
        assert json.loads(row["row"]) == dict(zip(table.columns, values, strict=True))


def test_facts_are_plain(tmp_path: Path) -> None:
    facts = sifted(tmp_path, csv_text(*ROWS, "x")).facts
    assert {type(facts[name]) for name in ("raw", "accepted", "quarantined", "duplicates")} == {int}
    json.dumps(facts)


# ---- conservation

CELLS: dict[str, st.SearchStrategy[Any]] = {
    "id": st.sampled_from(["1", "2", "3", "", "x", "01", "99999999999999999999", '"1"']),
    "day": st.sampled_from(["2024-01-05", "2024-02-30", "", "2024-03-01"]),
    "shop": st.sampled_from(["north", "south", "", "x\u2028y", '"nor\nth"', "\0"]),
    "price": st.sampled_from(["1", "1.0", "", "-1", "1e999", "NaN"]),
    "paid": st.sampled_from(["0", "1", "1,1"]),
}
LINE = st.tuples(*CELLS.values()).map(",".join)
FILE = st.lists(LINE | st.sampled_from(["", HEADER, '"', "a,b"]), max_size=15)
DAMAGE = st.lists(st.tuples(st.floats(0, 1), st.sampled_from(["", '"', "\n", "\r", ",", "\0", "\ufeff"])), max_size=4)


def damaged(text: str, damage: list[tuple[float, str]], keep: float) -> str:
    """The text with pieces put in, cut off at its end."""
    for where, piece in damage:
        at = len(HEADER) + 1 + int(where * (len(text) - len(HEADER) - 1))
        text = text[:at] + piece + text[at:]
    return text[: max(len(HEADER) + 1, int(keep * len(text)))]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FILE, DAMAGE, st.just(1.0) | st.floats(0, 1))
def test_no_row_is_ever_lost(tmp_path: Path, rows: list[str], damage: list[tuple[float, str]], keep: float) -> None:
    text = damaged(csv_text(*rows), damage, keep)
    made = read(tmp_path, text)
    found = sift(contract(), source(), made.value, "2024-01")
    assert sum(counts(found)) == made.value.num_rows == made.facts["rows"] == found.facts["raw"]
    assert all(reasons(found))
    # Every delivered letter is in a field, in a kept text, or a line end, delimiter or quote of its record.
    kept = [text for row in made.value.to_pylist() for name, text in row.items() if name in CELLS or name == "_text"]
    letters = sorted(set("".join(filter(None, kept))) - set(',"\r\n'))
    body = text.split("\n", 1)[1] if "\n" in text else ""
    assert letters == sorted(set(body) - set(',"\r\n'))
    if '"' not in text:
        physical = [line for line in body.split("\n") if line.strip("\r")]
        assert made.value.num_rows == len(physical)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_with_a_sentence(tmp_path: Path, data: bytes) -> None:
    for start in (b"", HEADER.encode() + b"\n"):
        sentences: tuple[str, ...] = ()
        try:
            found = sifted(tmp_path, start + data)
        except DeliveryError as error:
            sentences = error.sentences
        assert sentences or sum(counts(found)) == found.facts["raw"]
        assert all("landing/sales_2024-01.csv" in each or "declares" in each for each in sentences)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_what_is_accepted_does_not_depend_on_order(tmp_path: Path, order: tuple[int, ...]) -> None:
    rows = [*ROWS, "2,2024-01-06,south,9,0"]
    found = sifted(tmp_path, csv_text(*(rows[place] for place in (*order, 3))))
    assert sorted(found.accepted["id"].to_pylist()) == [1, 3]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.from_regex(r"0{0,3}[0-9]{1,40}(\.0)?|[A-Z]{0,3}-?0[0-9]{0,9}|NA|None|Nan|null|1e[0-9]{1,3}", fullmatch=True),
        unique=True,
    )
)
def test_every_id_comes_back_letter_for_letter(tmp_path: Path, ids: list[str]) -> None:
    """Leading zeros, decimal points, more digits than any number holds, and words that mean no value elsewhere."""
    data = "".join(f"{each}\n" for each in ("id", *ids))
    table = source(column("id", "string", nullable=False, roles=frozenset({"key"})))
    found = sifted(tmp_path, data, table).accepted["id"].to_pylist()
    assert "".join(f"{each}\n" for each in ("id", *found)) == data
