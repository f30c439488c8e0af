"""A place for a store of every kind; nothing is started unless a test asks for it."""

from collections.abc import Iterator

import pytest

from mlops_assets_tests.store.s3 import S3, serve


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """A real S3 server of this worker's own; tests make themselves buckets in it."""
    with serve() as server:
        yield server
