"""How files and values are written: the words that say it, and those that make no sense together."""

from pathlib import Path

import pytest

from mlops_assets.contract.load import load_contract
from mlops_assets.contract.model import FileFormat, Source
from mlops_assets.errors import ContractError
from mlops_assets_tests.contract.parcels import each_mistake, placed, told_instead

CONTRACT = """\
description: Sales.
owners: [team:shop]
sources:
  sales:
    files: landing/sales.csv
    format: {FORMAT}
    key: [id]
    columns:
      id: {type: int64}
      size: {type: float64, role: feature}
      paid: {type: float64}
      sold: {type: timestamp}
target: {name: bought, expression: "paid > 0", task: binary}
models: {candidates: {boosted_trees: {}}}
gates: {metric: roc_auc}
"""


def load(folder: Path, form: str = "csv", **columns: str) -> Source:
    """The source of a contract with this format, and more said of its columns."""
    text = CONTRACT.replace("{FORMAT}", form)
    for name, more in columns.items():
        text = text.replace(f"{name}: {{", f"{name}: {{{more}, ")
    home = folder / "shop"
    home.mkdir(exist_ok=True)
    (home / "dataset.yaml").write_text(text)
    return load_contract(home).sources["sales"]


def told(folder: Path, form: str = "csv", **columns: str) -> str:
    with pytest.raises(ContractError) as caught:
        load(folder, form, **columns)
    assert len(caught.value.sentences) == 1
    return caught.value.sentences[0].split("dataset.yaml:", 1)[1]


def test_every_word_of_a_format(tmp_path: Path) -> None:
    form = (
        "{kind: csv, delimiter: tab, quote: none, encoding: latin-1, decimal: ',', missing: [NA], header: 3, "
        "multiline: false, final_newline: required, archive: zip, strip: true, most_columns: 9}"
    )
    assert load(tmp_path, form).format == FileFormat(
        "csv", "\t", "", "iso8859-1", ",", ("NA",), 3, multiline=False, final_newline="required", archive="zip",
        strip=True, most_columns=9,
    )  # fmt: skip
    assert load(tmp_path, "{kind: parquet, checksums: required}").format == FileFormat("parquet", checksums="required")
    assert load(tmp_path, "{kind: jsonl, archive: gzip}").format == FileFormat("jsonl", archive="gzip")
    assert load(tmp_path).format == FileFormat()


def test_how_a_columns_values_are_written(tmp_path: Path) -> None:
    columns = load(tmp_path, paid="thousands: ' '", sold="zone: America/New_York").columns
    assert (columns["paid"].thousands, columns["sold"].zone) == (" ", "America/New_York")
    assert (columns["id"].thousands, columns["id"].zone) == (None, None)


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ("{header: 0}", "6: Source 'sales', format: 'header' is 0; it is the number of a line, the first being 1."),
        ("{kind: parquet, archive: zip}", "'archive' goes with csv and jsonl only, not with parquet."),
        ("{kind: jsonl, header: 2}", "'header' goes with csv only, not with jsonl."),
        ("{checksums: required}", "'checksums' goes with parquet only, not with csv."),
        ("{final_newline: maybe}", "'final_newline' cannot be 'maybe'"),
        ("{multiline: perhaps}", "'multiline' should be true or false"),
        ("{encoding: utf-7}", "'encoding' is 'utf-7', an encoding nobody knows; try utf-8."),
        ("{most_columns: 0}", "'most_columns' is 0; a file has at least one."),
        ("{kind: jsonl, strip: true}", "'strip' goes with csv only, not with jsonl."),
        ("{decimal: ',', quote: none}", "delimiter, quote and decimal sign cannot be the same letter."),
        ("{encoding: hex}", "'encoding' is 'hex', an encoding nobody knows; try utf-8."),
        ("{encoding: unicode_escape}", "'encoding' is 'unicode_escape', an encoding nobody knows; try utf-8."),
        ('{delimiter: "\\n"}', "'delimiter' should be one sign, like ';' or tab"),
    ],
)
def test_words_that_make_no_sense(tmp_path: Path, form: str, sentence: str) -> None:
    assert sentence in told(tmp_path, form)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (
            {"sold": "thousands: ','"},
            "12: Column 'sold' of 'sales': 'thousands' goes with numbers, not with timestamp.",
        ),
        ({"paid": "thousands: x"}, "'thousands' cannot be 'x'"),
        ({"paid": "thousands: '.'"}, "'thousands' cannot be '.', which is the decimal sign."),
        ({"paid": "zone: UTC"}, "'zone' goes with timestamp, not with float64."),
        ({"sold": "zone: Berlin"}, "'zone' is 'Berlin'; write a zone like Europe/Berlin, America/New_York or UTC."),
        ({"sold": "zone: ../etc"}, "'zone' is '../etc'; write a zone like"),
        ({"sold": "zone: UTC, format: '%d.%m.%Y %H:%M%z'"}, "the format says each time's offset; leave 'zone' out."),
        ({"sold": "format: '%d.%m.%Y %Z'"}, "'format' has '%Z'; write a pattern like"),
    ],
)
def test_words_about_values_that_make_no_sense(tmp_path: Path, columns: dict[str, str], sentence: str) -> None:
    assert sentence in told(tmp_path, **columns)


def test_between_quotes_a_delimiter_is_a_letter_of_a_number(tmp_path: Path) -> None:
    assert load(tmp_path, "{decimal: ','}").format.decimal == ","
    assert load(tmp_path, paid="thousands: ','").columns["paid"].thousands == ","
    assert "'thousands' cannot be ',', which is the delimiter." in told(
        tmp_path, "{quote: none}", paid="thousands: ','"
    )


MISTAKES = [
    (
        'delimiter: ";"',
        "delimiter: tabs",
        "Source 'parcels', format: 'delimiter' should be one sign, like ';' or tab, not 'tabs'.",
    ),
    (
        'delimiter: ";"',
        'delimiter: "."',
        "Source 'parcels', format: delimiter, quote and decimal sign cannot be the same letter.",
    ),
    (
        'delimiter: ";"',
        "encoding: utf-9",
        "Source 'parcels', format: 'encoding' is 'utf-9', an encoding nobody knows; try utf-8.",
    ),
    (
        "format: parquet",
        'format: {kind: parquet, quote: "\'"}',
        "Source 'weather', format: 'quote' goes with csv only, not with parquet.",
    ),
]


@each_mistake(MISTAKES)
def test_a_mistake_in_a_file_that_has_more(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert placed(old, sentence) in told_instead(tmp_path, old, new)
