"""A project whose store lives in an object store: the same work, the same versions."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mlops_assets.errors import StoreError
from mlops_assets.store.store import Store
from mlops_assets_tests.assets.shop import DAYS, GATES, Shop
from mlops_assets_tests.datasets import deliver_days, write_contract
from mlops_assets_tests.store.s3 import S3, serve


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with serve() as found:
        yield found


def test_the_main_job_runs_on_s3_and_makes_the_versions_of_a_disk(
    tmp_path: Path, server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLOPS_ASSETS_CACHE", str(tmp_path / "cache"))
    deliver_days(write_contract(tmp_path / "data", **GATES), range(6), rows=60)
    local = Shop.at(tmp_path / "local", tmp_path / "data")
    remote = Shop.at(tmp_path / "remote", tmp_path / "data")
    remote = replace(remote, home=replace(remote.home, store_place=f"s3://{server.bucket()}/team/one"))
    for shop in (local, remote):
        done = shop.called("run", "visits")
        assert done.code == 0, done.text
    assert remote.heads() == local.heads()
    assert not Path(remote.home.root / "store").exists(), "nothing of it is on the disk"
    assert "nothing to do" in remote.called("run", "visits").text
    store = Store.open(remote.home.store)
    with pytest.raises(StoreError, match=r"is not on this disk, where this is done; clone it to a folder first"):
        _ = store.root
    for asset in store.assets("main"):
        for batch, head in store.heads("main", asset).items():
            store.get(store.manifest(asset, batch, head.manifest), verify=True)
    assert DAYS[0] in store.heads("main", "visits/cleaned")
