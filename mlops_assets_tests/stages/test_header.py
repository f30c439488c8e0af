"""The header of a file: other delimiters, other lines, other line ends, too many names, and names that nobody knows."""

from dataclasses import replace
from pathlib import Path

import pytest

from mlops_assets.contract.model import FileFormat
from mlops_assets.errors import DeliveryError
from mlops_assets.stages import header
from mlops_assets_tests.stages.build import HEADER, ROWS, column, csv_text, read, source

FILE = "landing/sales_2024-01.csv"
WHERE = "for source sales (data/shop/dataset.yaml:7)."


def told(folder: Path, data: str | bytes, **form: object) -> str:
    table = replace(source(), format=FileFormat(**form))  # type: ignore[arg-type]
    with pytest.raises(DeliveryError) as caught:
        read(folder, data, table)
    return str(caught.value)


@pytest.mark.parametrize(
    ("sign", "shown"),
    [(";", '";"'), ("\t", "tab"), ("|", '"|"'), (":", '":"'), ("~", '"~"'), (" ", '" "'), ("\x01", r'"\x01"')],
)
def test_any_sign_between_the_names_is_named(tmp_path: Path, sign: str, shown: str) -> None:
    data = csv_text(*ROWS).replace(",", sign)
    assert told(tmp_path, data) == (
        f"{FILE}: found 1 column with the delimiter ','; the header looks like {sign!r} is the delimiter. If so, set "
        f"format: {{delimiter: {shown}}} {WHERE}"
    )
    table = replace(source(), format=FileFormat(delimiter=sign))
    assert read(tmp_path, data, table).value.num_rows == 3


@pytest.mark.parametrize("signs", ["::", ";;", "||", "\t\t", "<>"])
def test_several_signs_are_no_delimiter(tmp_path: Path, signs: str) -> None:
    said = told(tmp_path, csv_text(*ROWS).replace(",", signs), delimiter="^")
    assert said == (
        f"{FILE}: found 1 column with the delimiter '^'; the header looks like {signs!r} is the delimiter. A delimiter "
        f"is one sign, like ';' or tab. Ask for the file with one."
    )


@pytest.mark.parametrize(
    ("above", "change", "advice"),
    [
        ("# made by x\n", ",", "{header: 2}"),
        ("# made by x\n#\n", ",", "{header: 3}"),
        ("a,a,b,b,b\n", ",", "{header: 2}"),
        ("sep=;\n", ";", '{header: 2, delimiter: ";"}'),
        ("made by x\n", "\t", "{header: 2, delimiter: tab}"),
    ],
)
def test_lines_above_the_header(tmp_path: Path, above: str, change: str, advice: str) -> None:
    data = above + csv_text(*ROWS).replace(",", change)
    assert told(tmp_path, data) == (
        f"{FILE} line 1 is not the header; the column names stand on line {advice[9]}. Deliver the file without the "
        f"lines above, or set format: {advice} {WHERE}"
    )


@pytest.mark.parametrize(
    ("end", "name"),
    [("\v", "vertical tabs"), ("\f", "form feeds"), ("\x1e", "U+001E"), ("\x85", "U+0085"), ("\u2028", "U+2028")],
)
def test_other_signs_at_the_end_of_a_line(tmp_path: Path, end: str, name: str) -> None:
    said = told(tmp_path, csv_text(*ROWS).replace("\n", end))
    assert said == (
        f"{FILE} line 1 does not end where the header ends: the lines seem to end in {name}. Ask for lines that end "
        f"in LF or CRLF."
    )


def test_a_file_without_a_header_shows_no_values_even_when_two_are_equal(tmp_path: Path) -> None:
    said = told(tmp_path, "1,2024-01-05,secret,secret,2\n")
    assert "none of them is declared. Is its first line a header?" in said
    assert "secret" not in said


def test_more_columns_than_are_read(tmp_path: Path) -> None:
    wide = csv_text(*(f"{row}{',x' * 9_995}" for row in ROWS), header=HEADER + "".join(f",c{n}" for n in range(9_995)))
    assert told(tmp_path, wide) == (
        f"{FILE} has 10,000 columns, and at most 2,000 are read. Ask for the 5 that data/shop/dataset.yaml:7 declares, "
        f"or set format: {{most_columns: ...}} for source sales."
    )
    made = read(tmp_path, wide, replace(source(), format=FileFormat(most_columns=10_000)))
    assert made.value.num_rows == 3
    assert len(made.facts["extra_columns"]) == 9_995


def test_a_header_without_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header, "_LONGEST", 100)
    assert told(tmp_path, ",".join(["id"] * 50)) == (
        f"{FILE} line 1 is 149 bytes long, and a header has at most 100: the file has no line ends, or is no table. "
        f"Deliver one record a line, the column names on line 1."
    )


def test_a_long_line_further_down_is_not_looked_at_for_a_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(header, "_LONGEST", 40)
    said = told(tmp_path, f"# made by x\n{'y' * 200}\n{csv_text(*ROWS)}")
    assert "the column names stand on line 3." in said


def test_blanks_around_names_and_values(tmp_path: Path) -> None:
    padded = csv_text(*ROWS).replace(",", " , ")
    said = told(tmp_path, padded)
    assert (
        "the column 'day' of source sales is missing; it has blanks around it, ' day ': format: {strip: true}" in said
    )
    made = read(tmp_path, padded, replace(source(), format=FileFormat(strip=True)))
    assert made.value["shop"].to_pylist() == [" north ", " south ", " west "]


def test_names_that_many_columns_have(tmp_path: Path) -> None:
    table = source(column("id", "string"))
    with pytest.raises(DeliveryError) as caught:
        read(tmp_path, "id" + ",a" * 14 + "\n", table)
    assert str(caught.value) == (
        f"{FILE}: the column 'a' stands 14 times (fields 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13 and more), and nothing "
        f"says which is meant. Name each column once."
    )
