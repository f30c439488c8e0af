"""Derived files: believed when they are whole, and of no harm when they are not."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.errors import StoreError
from mlops_assets.store.cache import joined, keep, kept, parted
from mlops_assets.store.local import LocalBackend

PATH = "cache/some/thing"


def test_a_file_comes_back_if_it_is_whole(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path)
    assert kept(backend, PATH) is None
    for body in (b"", b"\n", b"{}\nmore\n\n", bytes(range(256))):
        keep(backend, PATH, body)
        found = kept(backend, PATH)
        assert found is not None
        assert bytes(found) == body
    whole = backend.read(PATH)
    for place in range(len(whole)):
        backend.write(PATH, whole[:place])
        assert kept(backend, PATH) is None
        backend.write(PATH, whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert kept(backend, PATH) is None


class Forbidden(LocalBackend):
    """Another account's folder: permissions, which root has none of."""

    def read(self, path: str) -> bytes:
        raise StoreError(f"{path} may not be read.")


def test_a_place_that_refuses_is_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"")
    keep(LocalBackend(tmp_path), PATH, b"body")
    assert kept(LocalBackend(tmp_path), PATH) is None
    assert kept(Forbidden(tmp_path), PATH) is None


@pytest.mark.parametrize("each", [[], [""], ["", ""], ["a"], ["a", "b\n"], ["\n"], ["é", "\U0001f600"]])
def test_strings_are_parted_as_they_were_joined(each: list[str]) -> None:
    assert parted(joined(each)) == each


@given(st.lists(st.text()))
def test_any_strings_are_parted_as_they_were_joined(each: list[str]) -> None:
    assert parted(joined(each)) == each
