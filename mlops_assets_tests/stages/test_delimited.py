"""CSV files as they come: whole, damaged, and not CSV at all."""

import csv
import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_assets.contract.model import FileFormat, Source
from mlops_assets.errors import DeliveryError
from mlops_assets.stages import delimited, records
from mlops_assets.stages import scan as scanning
from mlops_assets_tests.stages.build import HEADER, ROWS, column, csv_text, read, source

SIMPLE = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def refusal(folder: Path, data: bytes | str, table: Source | None = None) -> str:
    with pytest.raises(DeliveryError) as caught:
        read(folder, data, table)
    return "\n".join(caught.value.sentences)


def test_every_cell_is_the_delivered_text(tmp_path: Path) -> None:
    made = read(tmp_path, csv_text(*ROWS))
    assert made.value.column_names == ["id", "day", "shop", "price", "paid", "_file", "_line", "_text", "_problem"]
    assert made.value.to_pylist()[1] == {
        "id": "2",
        "day": "2024-01-06",
        "shop": "south",
        "price": "",
        "paid": "0",
        "_file": "landing/sales_2024-01.csv",
        "_line": 3,
        "_text": None,
        "_problem": None,
    }
    assert {str(kind) for kind in made.value.schema.types} == {"string", "int64"}


def test_facts_are_plain_and_hold_no_values(tmp_path: Path) -> None:
    text = csv_text(*ROWS, header=HEADER).replace("\n", ",x\n").replace("paid,x", "paid,note")
    facts = read(tmp_path, text).facts
    assert facts == {
        "batch": "2024-01",
        "rows": 3,
        "elsewhere": 0,
        "bytes": len(text),
        "blank_lines": 0,
        "unsplit": 0,
        "final_newline": True,
        "extra_columns": ["note"],
        "files": [
            {
                "name": "landing/sales_2024-01.csv",
                "rows": 3,
                "bytes": len(text),
                "blank_lines": 0,
                "unsplit": 0,
                "final_newline": True,
                "cut_off_line": None,
                "extra_columns": ["note"],
                "elsewhere": 0,
            }
        ],
    }
    assert all(type(facts[name]) is int for name in ("rows", "bytes", "unsplit", "blank_lines"))


def test_the_order_of_columns_does_not_matter(tmp_path: Path) -> None:
    made = read(tmp_path, "paid,shop,id,price,day\n2,north,1,1.50,2024-01-05\n")
    assert made.value.equals(read(tmp_path, csv_text(ROWS[0])).value)


@pytest.mark.parametrize(
    "data",
    [
        "\ufeff" + csv_text(*ROWS),
        csv_text(*ROWS).replace("\n", "\r\n"),
        csv_text(*ROWS).replace("\n", "\r"),
        csv_text(*ROWS).rstrip("\n"),
        csv_text(*ROWS).replace("north", '"north"'),
        csv_text(*(f'"{row.replace(",", chr(34) + "," + chr(34))}"' for row in ROWS)),
    ],
)
def test_marks_line_ends_and_quotes_change_nothing(tmp_path: Path, data: str) -> None:
    assert read(tmp_path, data).value.equals(read(tmp_path, csv_text(*ROWS)).value)


def test_lines_are_physical_whatever_stands_between(tmp_path: Path) -> None:
    text = csv_text(ROWS[0], "", '2,2024-01-06,"so\nuth",,0', "", ROWS[2], "")
    made = read(tmp_path, text)
    assert made.value["_line"].to_pylist() == [2, 4, 7]
    assert made.value["shop"].to_pylist() == ["north", "so\nuth", "west"]
    assert made.facts["blank_lines"] == 3


def test_ragged_records_are_kept_as_text_with_the_reason(tmp_path: Path) -> None:
    made = read(tmp_path, csv_text(ROWS[0], "2,2024-01-06,south", "3,2024-01-07,west,7,1,9", ROWS[2]))
    assert made.value["_line"].to_pylist() == [2, 3, 4, 5]
    assert made.value["_text"].to_pylist() == [None, "2,2024-01-06,south", "3,2024-01-07,west,7,1,9", None]
    assert made.value["_problem"].to_pylist()[1:3] == [
        "the line has 3 fields where the header has 5",
        "the line has 6 fields where the header has 5",
    ]
    assert made.value["id"].to_pylist() == ["1", None, None, "3"]
    assert made.facts["unsplit"] == 2


def test_an_unclosed_quote_costs_its_own_line_only(tmp_path: Path) -> None:
    made = read(
        tmp_path, csv_text(ROWS[0], '2,2024-01-06,"south,,0', *(f"{n},2024-01-07,west,7,1" for n in range(3, 60)))
    )
    assert made.value.num_rows == 59
    assert made.value["_problem"].drop_null().to_pylist() == ["a quote is opened and not closed"]
    assert made.value["_text"][1].as_py() == '2,2024-01-06,"south,,0'
    assert made.value["_line"].to_pylist() == list(range(2, 61))


def test_two_stray_quotes_do_not_swallow_the_rows_between(tmp_path: Path) -> None:
    rows = [f"{n},2024-01-07,west,7,1" for n in range(3, 9)]
    made = read(tmp_path, csv_text('2,2024-01-06,"south,,0', *rows, '9,2024-01-07,west",7,1'))
    assert made.value.num_rows == 8
    assert set(made.value["_problem"].to_pylist()) == {
        "a quoted field runs over 8 lines that look like rows; a quote may be missing"
    }


def test_text_after_a_closing_quote_is_named(tmp_path: Path) -> None:
    made = read(tmp_path, csv_text('1,2024-01-05,"no"rth,1.50,2', ROWS[1]))
    assert made.value["_problem"][0].as_py() == "something stands between a closing quote and the next delimiter"
    assert made.value["shop"].to_pylist() == [None, "south"]


def test_a_nul_byte_costs_its_line(tmp_path: Path) -> None:
    made = read(tmp_path, csv_text(ROWS[0], "2,2024-01-06,so\0uth,,0", '3,2024-01-06,"so\0uth",,0'))
    assert made.value["_problem"].to_pylist() == [None, "the line holds a NUL byte", "the line holds a NUL byte"]
    assert made.value["_text"][1].as_py() == "2,2024-01-06,so\0uth,,0"


def test_a_very_long_quoted_field_is_refused_not_cut(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    for long in ("x" * 2_000_000, f'"{"x" * 2_000_000}"', f'"{"x" * 2_000_000}\n"'):
        made = read(tmp_path, csv_text(f"1,2024-01-05,{long},1,2", ROWS[1]))
        assert "a field is longer than 1,000,000 characters" in made.value["_problem"][0].as_py()
        assert len(made.value["_text"][0].as_py()) > 2_000_000
        assert made.value["id"][made.value.num_rows - 1].as_py() == "2"
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_record_of_very_many_fields_is_counted_and_not_taken_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quote: str
) -> None:
    monkeypatch.setattr(scanning, "_MOST_FIELDS", 1_000)
    read_alone: list[int] = []

    def alone(_: object, place: int) -> int:
        read_alone.append(place)
        return place + 1

    monkeypatch.setattr(scanning._Reader, "read", alone)
    row = f"{quote}{'a,' * 700_000}"
    made = read(tmp_path, csv_text(ROWS[0], row, ROWS[1]))
    assert made.value["_problem"].to_pylist() == [None, "the line has 700001 fields where the header has 5", None]
    assert read_alone == []


@pytest.mark.slow
@pytest.mark.parametrize("line", ["'a,' * (SIZE // 2)", "'x' * SIZE", "'\"' + 'x' * SIZE"])
def test_the_memory_for_one_endless_line_is_bounded(tmp_path: Path, line: str) -> None:
    """Taken apart by Python, sixty million bytes of it would be five thousand million in memory."""
    size = 60_000_000
    (tmp_path / "big.csv").write_text(csv_text(ROWS[0], eval(line, {"SIZE": size}), ROWS[1]))  # noqa: S307
    code = (
        "import resource, sys, pathlib\n"
        "from mlops_assets.stages.ingest import Delivery, read_source\n"
        "from mlops_assets_tests.stages.build import contract, source\n"
        "made = read_source(contract(), source(), [Delivery('big.csv', pathlib.Path(sys.argv[1]))], '2024-01')\n"
        "print(made.facts['rows'], made.facts['unsplit'], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "big.csv")], capture_output=True, text=True, check=True
    )
    rows, unsplit, peak = map(int, done.stdout.split())
    assert (rows, unsplit) == (3, 1)
    assert peak < 12 * size


def test_a_long_field_is_read_alike_in_a_clean_and_in_a_damaged_file(tmp_path: Path) -> None:
    long = "x" * 900_000
    for more in ((), ("ragged",)):
        made = read(tmp_path, csv_text(f'1,2024-01-05,"{long}",1,2', f"2,2024-01-05,{long},1,2", *more))
        assert made.value["shop"].to_pylist()[:2] == [long, long]


@pytest.mark.parametrize("end", ["3,2024-0", '3,2024-01-07,"wes'])
def test_a_truncated_last_line_is_marked(tmp_path: Path, end: str) -> None:
    made = read(tmp_path, csv_text(*ROWS[:2]) + end)
    assert made.facts["files"][0]["cut_off_line"] == 4
    assert made.facts["final_newline"] is False
    assert made.value["_text"].to_pylist() == [None, None, end]


def test_a_short_last_line_with_its_end_is_not_cut_off(tmp_path: Path) -> None:
    assert read(tmp_path, csv_text(*ROWS, "3,2024-0")).facts["files"][0]["cut_off_line"] is None


def test_a_header_alone_has_no_rows(tmp_path: Path) -> None:
    for text in (HEADER, f"{HEADER}\n"):
        assert read(tmp_path, text).value.num_rows == 0


def test_one_column_files(tmp_path: Path) -> None:
    table = source(column("id", "string"))
    made = read(tmp_path, 'id\na\n\n b\n""\n', table)
    assert made.value["id"].to_pylist() == ["a", " b", ""]
    assert made.value["_line"].to_pylist() == [2, 4, 5]
    assert made.facts["blank_lines"] == 1


def test_a_byte_order_mark_in_the_middle_stays(tmp_path: Path) -> None:
    for text in ("id\n\ufeffa\n", "id\n\ufeffa\n\nb\n"):
        assert read(tmp_path, text, source(column("id", "string"))).value["id"][0].as_py() == "\ufeffa"


def test_an_encoding_can_be_declared(tmp_path: Path) -> None:
    table = replace(source(), format=FileFormat(encoding="latin-1"))
    made = read(tmp_path, csv_text("1,2024-01-05,café,1,2").encode("latin-1"), table)
    assert made.value["shop"].to_pylist() == ["café"]
    wide = replace(source(), format=FileFormat(encoding="utf-16"))
    assert read(tmp_path, csv_text("1,2024-01-05,café,1,2").encode("utf-16"), wide).value.equals(made.value)


def test_other_delimiters_and_quotes(tmp_path: Path) -> None:
    table = replace(source(), format=FileFormat(delimiter="\t", quote="'"))
    made = read(tmp_path, csv_text(*ROWS).replace(",", "\t").replace("north", "'nor\tth'"), table)
    assert made.value["shop"].to_pylist() == ["nor\tth", "south", "west"]


# ---- what cannot be read


def test_an_empty_file(tmp_path: Path) -> None:
    assert refusal(tmp_path, b"") == (
        "landing/sales_2024-01.csv is empty (0 bytes). Ask for it again, or take it away."
    )
    assert "is empty (3 bytes, all blank)" in refusal(tmp_path, b"\n\n ")
    assert "is empty (4,096 bytes, all blank or NUL)" in refusal(tmp_path, bytes(4_096))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    from mlops_assets.stages.ingest import Delivery, read_source
    from mlops_assets_tests.stages.build import contract

    with pytest.raises(DeliveryError) as caught:
        read_source(contract(), source(), [Delivery("landing/a.csv", tmp_path / "a.csv")], "2024-01")
    assert str(caught.value) == "landing/a.csv cannot be read: No such file or directory."


def test_a_missing_column_with_a_suggestion(tmp_path: Path) -> None:
    told = refusal(tmp_path, csv_text(*ROWS, header="id,Day,store,prize,paid"))
    assert "the column 'day' of source sales is missing; did you mean 'Day'?" in told
    assert "the column 'price' of source sales is missing; did you mean 'prize'?" in told
    assert "data/shop/dataset.yaml:7 declares 5 columns, the file has 5: 'id', 'Day', 'store', 'prize', 'paid'." in told


def test_a_file_without_a_header_shows_no_values(tmp_path: Path) -> None:
    told = refusal(tmp_path, "".join(f"{row}\n" for row in ROWS))
    assert "none of them is declared. Is its first line a header?" in told
    assert "north" not in told


@pytest.mark.parametrize(("delimiter", "shown"), [(";", '";"'), ("\t", "tab"), ("|", '"|"')])
def test_another_delimiter(tmp_path: Path, delimiter: str, shown: str) -> None:
    told = refusal(tmp_path, csv_text(*ROWS).replace(",", delimiter))
    assert told == (
        f"landing/sales_2024-01.csv: found 1 column with the delimiter ','; the header looks like {delimiter!r} is the "
        f"delimiter. If so, set format: {{delimiter: {shown}}} for source sales (data/shop/dataset.yaml:7)."
    )


def test_another_delimiter_of_quoted_names(tmp_path: Path) -> None:
    header, *rows = csv_text(*ROWS).splitlines()
    quoted = ";".join(f'"{name}"' for name in header.split(","))
    told = refusal(tmp_path, "\n".join([quoted, *(row.replace(",", ";") for row in rows)]) + "\n")
    assert told == (
        "landing/sales_2024-01.csv: found 1 column with the delimiter ','; the header looks like ';' is the delimiter. "
        'If so, set format: {delimiter: ";"} for source sales (data/shop/dataset.yaml:7).'
    )


def test_duplicate_header_names(tmp_path: Path) -> None:
    told = refusal(tmp_path, csv_text(header="id,day,shop,price,paid,price"))
    assert told == (
        "landing/sales_2024-01.csv: the column 'price' stands 2 times (fields 4, 6), and nothing says which is meant. "
        "Name each column once."
    )


def test_a_blank_first_line(tmp_path: Path) -> None:
    told = refusal(tmp_path, "\n" + csv_text(*ROWS))
    assert told.startswith("landing/sales_2024-01.csv line 1 is not the header; the column names stand on line 2.")
    told = refusal(tmp_path, "\n" + csv_text(*ROWS, header="a,b"))
    assert told == "landing/sales_2024-01.csv line 1 is blank; the header with the column names should stand there."


def test_a_header_with_an_open_quote(tmp_path: Path) -> None:
    told = refusal(tmp_path, csv_text(*ROWS, header='id,"day,shop,price,paid'))
    assert told == "landing/sales_2024-01.csv line 1: the header cannot be read: a quote is opened and not closed."


def test_an_html_page(tmp_path: Path) -> None:
    told = refusal(tmp_path, "\n<!DOCTYPE html><html><body>Log in</body></html>")
    assert "landing/sales_2024-01.csv is an HTML or XML page, not csv: probably an error or a log-in page" in told


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"\x1f\x8b\x08", "a gzip archive"),
        (b"PK\x03\x04", "an Excel workbook"),
        (b"PK\x05\x06", "a zip archive without any file"),
        (b"%PDF-1.7", "a PDF document"),
        (b"{\\rtf1", "a text document (RTF)"),
        (b"BZh9", "a bzip2 archive, not csv. Unpack it first."),
        (b"\xfd7zXZ\0", "an xz archive"),
        (b"\x28\xb5\x2f\xfd", "a zstd archive"),
        (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
        (b"Rar!\x1a\x07\x01", "a RAR archive"),
        (b"a.csv".ljust(257, b"\0") + b"ustar", "a tar archive"),
        (b"SQLite format 3\0", "an SQLite database"),
        (b"ARROW1\0\0", "an Arrow or Feather file, not csv. Export the table in the declared format."),
        (b"Obj\x01", "an Avro file"),
        (b"\x89HDF\r\n", "an HDF5 file"),
        (b"\x80\x04\x95", "a pickle of Python"),
        (b"\x89PNG\r\n", "a picture"),
        (b"<div>502 Bad Gateway", "an HTML or XML page"),
        (b"<!-- log in -->", "an HTML or XML page"),
    ],
)
def test_other_kinds_of_file(tmp_path: Path, start: bytes, what: str) -> None:
    assert what in refusal(tmp_path, start + b"\0\xff" * 40)


def test_a_parquet_file_says_so(tmp_path: Path) -> None:
    assert "is a Parquet file, and the contract says csv. Set format: {kind: parquet}" in refusal(tmp_path, b"PAR1\0")


def test_latin_1_bytes(tmp_path: Path) -> None:
    told = refusal(tmp_path, csv_text(ROWS[0], "2,2024-01-06,café,,0").encode("latin-1"))
    assert told == (
        "landing/sales_2024-01.csv line 3, field 3: the byte 0xe9 (byte 65 of the file) is not utf-8. If the file "
        "comes from an older Windows or Excel, set format: {encoding: cp1252} (or latin-1) for source sales, or ask "
        "for UTF-8."
    )


def test_utf_16_is_recognized(tmp_path: Path) -> None:
    assert "is written in UTF-16. Set format: {encoding: utf-16}" in refusal(tmp_path, csv_text(*ROWS).encode("utf-16"))


def test_a_binary_header(tmp_path: Path) -> None:
    assert "line 1 holds a NUL byte" in refusal(tmp_path, b"id,day\0,shop,price,paid\n")


# ---- properties

LETTERS = st.text(alphabet='ab,;"\n\r \0\té1', max_size=6)


def arrow_or_scan(folder: Path, data: str, monkeypatch: pytest.MonkeyPatch) -> tuple[object, object]:
    """The same file read with and without Arrow."""
    table = source(column("id", "string"), column("b", "string"), key=())
    quick = read(folder, data, table)
    with monkeypatch.context() as patch:
        patch.setattr(delimited, "_fast", lambda *_: None)
        patch.setattr(records, "by_arrow", lambda *_: None)
        slow = read(folder, data, table)
    return quick, slow


@SIMPLE
@given(st.lists(st.text(alphabet='ab,"\n\r \0é1', max_size=12), max_size=8))
def test_arrow_and_the_scan_read_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str]) -> None:
    quick, slow = arrow_or_scan(tmp_path, "id,b\n" + "\n".join(lines), monkeypatch)
    assert quick == slow


@SIMPLE
@given(st.lists(st.tuples(LETTERS, LETTERS), max_size=12), st.booleans())
def test_what_a_csv_writer_wrote_is_what_is_read(tmp_path: Path, rows: list[tuple[str, str]], quoted: bool) -> None:
    rows = [row for row in rows if "\0" not in "".join(row)]
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL)
    writer.writerows([("id", "b"), *rows])
    # Lines of a field may look like rows; where a contract says so, they are trusted to be none.
    form = FileFormat(multiline=True)
    table = source(column("id", "string"), column("b", "string"), key=(), format=form)
    made = read(tmp_path, out.getvalue(), table)
    assert list(zip(made.value["id"].to_pylist(), made.value["b"].to_pylist(), strict=True)) == rows
