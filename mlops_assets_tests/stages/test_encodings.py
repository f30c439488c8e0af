"""Every encoding that files come in: read as declared, explained when it is not the declared one, never misread."""

import codecs
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_assets.contract.model import FileFormat
from mlops_assets.errors import DeliveryError
from mlops_assets_tests.stages.build import column, read, source

WESTERN, CYRILLIC, CHINESE, JAPANESE, PLAIN = "nørdé ü", "привет мир", "价格数据", "データ", "north"
LETTERS = {
    "utf-8": WESTERN, "utf-16": WESTERN, "utf-16-le": WESTERN, "utf-16-be": WESTERN, "utf-32": WESTERN,
    "utf-32-be": WESTERN, "latin-1": WESTERN, "cp1252": WESTERN, "cp1250": "łódź", "cp1251": CYRILLIC,
    "koi8-r": CYRILLIC, "gb18030": CHINESE, "big5": "價格數據", "shift_jis": JAPANESE, "euc_jp": JAPANESE,
    "iso2022_jp": JAPANESE, "euc_kr": "가격", "cp037": PLAIN,
}  # fmt: skip


def text(name: str) -> str:
    return "".join(f"{line}\n" for line in ("id,shop", f"1,{name}", f"2,{name}s"))


def shops(folder: Path, data: bytes, encoding: str = "utf-8") -> list[str]:
    table = source(
        column("id", "string"), column("shop", "string"), format=FileFormat(encoding=codecs.lookup(encoding).name)
    )
    found: list[str] = read(folder, data, table).value["shop"].to_pylist()
    return found


def told(folder: Path, data: bytes, encoding: str = "utf-8") -> str:
    with pytest.raises(DeliveryError) as caught:
        shops(folder, data, encoding)
    (sentence,) = caught.value.sentences
    return sentence.removeprefix("landing/sales_2024-01.csv ")


@pytest.mark.parametrize("encoding", LETTERS)
def test_what_is_declared_is_read(tmp_path: Path, encoding: str) -> None:
    name = LETTERS[encoding]
    assert shops(tmp_path, text(name).encode(encoding), encoding) == [name, f"{name}s"]


@pytest.mark.parametrize("encoding", sorted({*LETTERS} - {"utf-8", "iso2022_jp"}))
def test_what_is_not_declared_is_refused_with_a_way_out(tmp_path: Path, encoding: str) -> None:
    sentence = told(tmp_path, text(LETTERS[encoding]).encode(encoding))
    assert "encoding: " in sentence
    assert "for source sales, or ask for UTF-8." in sentence


@pytest.mark.parametrize(
    ("encoding", "sentence"),
    [
        ("utf-16", "is written in UTF-16. Set format: {encoding: utf-16} for source sales, or ask for UTF-8."),
        ("utf-16-be", "is written in UTF-16-BE. Set format: {encoding: utf-16-be} for source sales, or ask for UTF-8."),
        ("utf-32", "is written in UTF-32. Set format: {encoding: utf-32} for source sales, or ask for UTF-8."),
        ("utf-32-le", "is written in UTF-32-LE. Set format: {encoding: utf-32-le} for source sales, or ask for UTF-8."),
        (
            "cp1252",
            (
                "line 2, field 2: the byte 0xf8 (byte 11 of the file) is not utf-8; 2 lines hold such bytes. If the "
                "file comes from an older Windows or Excel, set format: {encoding: cp1252} (or latin-1) for source "
                "sales, or ask for UTF-8."
            ),
        ),
        (
            "gb18030",
            (
                "line 2, field 2: the byte 0xbc (byte 10 of the file) is not utf-8; 2 lines hold such bytes. Ask which "
                "encoding it is (cp1251, gb18030, big5, euc_kr would all read it) and set format: {encoding: ...} for "
                "source sales, or ask for UTF-8."
            ),
        ),
        (
            "cp037",
            (
                "line 1, field 1: the byte 0x89 (byte 0 of the file) is not utf-8. It is written in EBCDIC, as "
                "mainframes do: ask which kind (cp037, cp500, ...) and set format: {encoding: ...} for source sales, "
                "or ask for UTF-8."
            ),
        ),
    ],
)
def test_what_a_file_seems_to_be_written_in(tmp_path: Path, encoding: str, sentence: str) -> None:
    assert told(tmp_path, text(LETTERS.get(encoding, WESTERN)).encode(encoding)) == sentence


@pytest.mark.parametrize("encoding", sorted({*LETTERS} - {"utf-8"}))
def test_utf_8_is_never_read_as_something_else(tmp_path: Path, encoding: str) -> None:
    data = text("grün, blau, weiß, façade, años, 5 €").replace(", ", " ").encode()
    sentence = told(tmp_path, data, encoding)
    assert "Every byte beyond ASCII is part of a letter of UTF-8" in sentence or "is not written in utf" in sentence


def test_an_encoding_that_reads_utf_8_too_is_not_believed(tmp_path: Path) -> None:
    data = text("nørdé ü").encode()
    assert data.decode("gb18030") != text("nørdé ü")
    assert told(tmp_path, data, "gb18030") == (
        "line 2, field 2: the contract says gb18030, and read so letters beyond ASCII would become others. Every byte "
        "beyond ASCII is part of a letter of UTF-8: take 'encoding' out of the format of source sales, or ask for "
        "gb18030."
    )


@pytest.mark.parametrize(
    ("written", "declared", "sentence"),
    [
        ("utf-16-be", "utf-16", "is written in UTF-16-BE."),
        ("utf-16-be", "utf-16-le", "is written in UTF-16-BE."),
        ("utf-16", "utf-32", "is written in UTF-16."),
        ("utf-16-le", "latin-1", "is written in UTF-16-LE."),
        ("latin-1", "utf-16", "is not written in utf-16, as the contract says: no byte of its beginning is 0."),
        ("cp1252", "gb18030", "is not gb18030"),
        ("shift_jis", "latin-1", "is a control character in iso8859-1; the encodings of Windows"),
        ("latin-1", "cp037", "is a control character in cp037. Set the file's true encoding"),
        ("gb18030", "shift_jis", "is not shift-jis"),
    ],
)
def test_another_encoding_than_the_declared_one(tmp_path: Path, written: str, declared: str, sentence: str) -> None:
    name = WESTERN if declared == "gb18030" else LETTERS[written]
    assert sentence in told(tmp_path, text(name).encode(written), declared)


@pytest.mark.parametrize(("declared", "mark"), [("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff")])
def test_a_mark_beside_a_declared_order_is_no_letter(tmp_path: Path, declared: str, mark: bytes) -> None:
    assert shops(tmp_path, mark + text(WESTERN).encode(declared), declared) == [WESTERN, f"{WESTERN}s"]


def test_half_a_letter_is_no_letter(tmp_path: Path) -> None:
    surrogate = "1,\ud800\n".encode("utf-8", "surrogatepass")
    assert told(tmp_path, b"id,shop\n" + surrogate).startswith("line 2, field 2: the byte 0xed (byte 10 of the file)")
    half = text("x").encode("utf-16-le").replace(b"x\0\n", b"\0\xd8\n")
    assert "is not utf-16-le" in told(tmp_path, half, "utf-16-le")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=20).filter(
        lambda name: not {*name} & {*',"'}
    ),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "gb18030"]),
)
def test_every_text_that_an_encoding_can_say_comes_back(tmp_path: Path, name: str, encoding: str) -> None:
    data = text(name).encode(encoding)
    try:
        found = shops(tmp_path, data, encoding)
    except DeliveryError as error:
        # Three letters that happen to be three letters of UTF-8 as well are refused rather than believed.
        assert encoding == "gb18030", error  # noqa: PT017
        assert data.decode("utf-8") != text(name)
        return
    assert found == [name, f"{name}s"]


def test_no_other_encoding_is_needed_for_ascii(tmp_path: Path) -> None:
    for encoding in ("utf-8", "ascii", "latin-1", "cp1252", "gb18030", "shift_jis"):
        assert shops(tmp_path, text(PLAIN).encode("ascii"), encoding) == ["north", "norths"]
