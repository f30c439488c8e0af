"""Names as path segments: the rule is its own inverse and refuses what would collide."""

import unicodedata
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.errors import StoreError
from mlops_assets.store.names import asset_path, segment, text, version_name

names = (
    st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=15)
    .map(lambda name: unicodedata.normalize("NFC", name))
    .filter(lambda name: len(name.encode()) <= 60 and not name.startswith("__HIVE_DEFAULT"))
)


@given(names)
def test_every_name_comes_back(name: str) -> None:
    escaped = segment(name)
    assert text(escaped) == name == unquote(escaped)
    assert escaped.isascii()
    assert not set(escaped) & set('/\\=:*?"<>| ')
    assert not escaped.startswith(".")
    assert not escaped.endswith(".")


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("2013-03", "2013-03"),
        ("2013-03-09T07", "2013-03-09T07"),
        ("a/b", "a%2Fb"),
        ("..", "%2E%2E"),
        (".hidden", "%2Ehidden"),
        ("a.", "a%2E"),
        ("100%", "100%25"),
        ("p=1", "p%3D1"),
        ("~", "%7E"),
        ("con", "%63on"),
        ("COM1.txt", "%43OM1.txt"),
        ("console", "console"),
        ("Süd", "S%C3%BCd"),
    ],
)
def test_the_rule(name: str, escaped: str) -> None:
    assert segment(name) == escaped
    assert text(escaped) == name


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", "A name is empty"),
        ("a\nb", "holds a control character"),
        ("u\u0308", "Unicode NFC"),
        ("__HIVE_DEFAULT_PARTITION__", "means 'no value'"),
        ("x" * 181, "takes 181 bytes in a path, more than 180"),
    ],
)
def test_refused_names(name: str, sentence: str) -> None:
    with pytest.raises(StoreError, match=sentence):
        segment(name)


@pytest.mark.parametrize("foreign", ["a b", "a%2fb", "%61", "%FF", ""])
def test_segments_the_store_did_not_write(foreign: str) -> None:
    with pytest.raises(StoreError, match="is not a name as the store writes it"):
        text(foreign)


def test_assets_and_versions() -> None:
    assert asset_path("flights/raw/Süd") == "flights/raw/S%C3%BCd"
    assert version_name("b3:ab") == "b3-ab"
    with pytest.raises(StoreError, match="A name is empty"):
        asset_path("flights//raw")
