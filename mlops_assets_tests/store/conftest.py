"""Places for stores, and stores with a remote; nothing is started unless a test asks for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_assets.store import Store
from mlops_assets.store.remotes import add_remote
from mlops_assets.store.transfer import clone, push
from mlops_assets_tests.store.s3 import S3, serve


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """A real S3 server of this worker's own; tests make themselves buckets in it."""
    with serve() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path, store: Store) -> Path:
    """The folder of the remote ``origin`` of ``store``, with nothing in it yet."""
    add_remote(store, "origin", str(tmp_path / "remote"))
    return tmp_path / "remote"


@pytest.fixture
def twins(tmp_path: Path, store: Store, folder: Path) -> tuple[Store, Store]:
    """A store, and a clone of what it pushed."""
    push(store, "origin", ["main"])
    clone(str(folder), tmp_path / "twin")
    return store, Store.open(tmp_path / "twin")
