"""What a Parquet file says of itself, compared with what Arrow reads of sound files; and damaged metadata."""

import io
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.stages.footer import chunks
from mlops_assets_tests.stages.corpus.make import flipped

TABLE = pa.table({"a": [3, None, -5, 7, 9], "b": ["x", "y", None, "ü", "z"], "c": [True, False, None, True, True]})


def written(table: pa.Table = TABLE, **how: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **how)
    return out.getvalue()


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("dictionary", [True, False])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_it_is_what_arrow_says_of_it(checksum: bool, dictionary: bool, version: str) -> None:
    data = written(row_group_size=2, write_page_checksum=checksum, use_dictionary=dictionary, data_page_version=version)
    metadata = pq.ParquetFile(io.BytesIO(data)).metadata
    found = list(chunks(data))
    assert [(chunk.group, chunk.rows, chunk.column) for chunk in found] == [
        (group, rows, column) for group, rows in ((0, 2), (1, 2), (2, 1)) for column in "abc"
    ]
    assert {chunk.checksum for chunk in found} == {checksum}
    for chunk in found:
        known = metadata.row_group(chunk.group).column("abc".index(chunk.column)).statistics
        assert chunk.nulls == known.null_count
        assert (chunk.least is not None) == known.has_min_max
        if known.has_min_max and chunk.column == "a":
            assert (int.from_bytes(chunk.least or b"", "little", signed=True)) == known.min
        if known.has_min_max and chunk.column == "b":
            assert (chunk.most or b"").decode() == known.max


def test_a_file_without_statistics() -> None:
    assert {(chunk.nulls, chunk.least) for chunk in chunks(written(write_statistics=False))} == {(None, None)}


def test_many_columns_and_rows() -> None:
    table = pa.table({f"column {n}": range(20) for n in range(300)})
    found = list(chunks(written(table, row_group_size=1)))
    assert len(found) == 300 * 20
    assert found[-1].column == "column 299"


@given(st.data())
def test_damaged_metadata_is_an_error_of_value(data: st.DataObject) -> None:
    sound = written()
    size = int.from_bytes(sound[-8:-4], "little")
    place = data.draw(st.integers(len(sound) - size - 8, len(sound) - 1))
    broken = flipped(sound, place, data.draw(st.integers(0, 7)))
    with suppress(ValueError):
        assert all(isinstance(chunk.column, str) for chunk in chunks(broken))


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_an_error_of_value(data: bytes) -> None:
    with suppress(ValueError):
        list(chunks(data + len(data).to_bytes(4, "little") + b"PAR1"))
