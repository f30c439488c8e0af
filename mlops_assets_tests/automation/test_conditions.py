"""What Dagster asks for by itself when the data of a batch has changed, as its daemon evaluates it."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from mlops_assets.definitions import build_definitions
from mlops_assets_tests.assets.shop import BATCH, GATES, Shop
from mlops_assets_tests.datasets import deliver_days, write_contract


class Daemon:
    """Evaluations of a shop's conditions, one after another."""

    def __init__(self, shop: Shop, instance: dg.DagsterInstance) -> None:
        self.shop = shop
        self._instance = instance
        self._cursor: dg.AutomationConditionEvaluationCursor | None = None

    def asked(self) -> dict[str, list[str]]:
        """The batches that one tick asks for, by stage."""
        found = dg.evaluate_automation_conditions(
            build_definitions(self.shop.home), self._instance, cursor=self._cursor
        )
        self._cursor = found.cursor
        keys = {stage: dg.AssetKey(self.shop.graph().path(stage)) for stage in self.shop.graph().stages}
        batches = {stage: sorted(map(str, found.get_requested_partitions(key))) for stage, key in keys.items()}
        return {stage: each for stage, each in batches.items() if each}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    shop = Shop.in_folder(tmp_path)
    deliver_days(write_contract(shop.home.data, **GATES), (0, 1, 2))
    shop.run(releases=())
    with shop.entered(), dg.DagsterInstance.get() as instance:
        yield Daemon(shop, instance)


def changed(shop: Shop, batch: str, old: bytes = b"north", new: bytes = b"south") -> None:
    path = shop.landing(batch)
    path.write_bytes(path.read_bytes().replace(old, new))


def test_changed_data_asks_for_what_stands_on_it_in_that_batch_alone(daemon: Daemon) -> None:
    assert daemon.asked() == {}
    changed(daemon.shop, "2024-01-02")
    daemon.shop.run(batches=["2024-01-02"], stages=["raw/visits"])
    assert daemon.asked() == {"quarantine": ["2024-01-02"], "cleaned": ["2024-01-02"]}
    assert daemon.asked() == {}


def test_the_same_data_once_more_asks_for_nothing(daemon: Daemon) -> None:
    assert daemon.asked() == {}
    path = daemon.shop.landing("2024-01-02")
    path.write_bytes(path.read_bytes().rstrip(b"\n"))  # another file, the same rows
    daemon.shop.run(batches=["2024-01-02"], stages=["raw/visits"])
    assert daemon.asked() == {}


def test_a_refused_version_asks_for_nothing_and_its_repair_does(daemon: Daemon) -> None:
    assert daemon.asked() == {}
    changed(daemon.shop, "2024-01-02", b"visit,", b"wisit,")
    assert daemon.shop.run(batches=["2024-01-02"], stages=["raw/visits"]).refused == 1
    assert daemon.asked() == {}
    changed(daemon.shop, "2024-01-02", b"wisit,", b"visit,")
    changed(daemon.shop, "2024-01-02")
    daemon.shop.run(batches=["2024-01-02"], stages=["raw/visits"])
    assert daemon.asked()["cleaned"] == ["2024-01-02"]


def test_a_batch_of_which_an_input_was_never_accepted_is_left_alone(tmp_path: Path) -> None:
    shop = Shop.in_folder(tmp_path)
    deliver_days(write_contract(shop.home.data, **GATES), (0, 1))
    (shop.folder / "landing" / "shops.csv").unlink()
    shop.run(stages=["raw/visits"], releases=())
    with shop.entered(), dg.DagsterInstance.get() as instance:
        daemon = Daemon(shop, instance)
        daemon.asked()
        changed(shop, "2024-01-02")
        shop.run(stages=["raw/visits"], releases=())
        assert daemon.asked() == {"quarantine": ["2024-01-02"]}


def test_a_run_of_all_stages_leaves_nothing_to_ask_for(daemon: Daemon) -> None:
    assert daemon.asked() == {}
    changed(daemon.shop, "2024-01-02")
    assert not daemon.shop.run(batches=["2024-01-02"], stages=BATCH).failed
    assert daemon.asked() == {}


def test_a_reference_table_that_changed_is_left_to_the_sweep(daemon: Daemon) -> None:
    assert daemon.asked() == {}
    shops = daemon.shop.folder / "landing" / "shops.csv"
    shops.write_text(shops.read_text().replace("240", "250"))
    daemon.shop.run(batches=(), stages=["raw/shops"])
    assert daemon.shop.plan().standing(daemon.shop.graph().stages["cleaned"], "2024-01-02").state == "stale"
    assert daemon.asked() == {}


def test_a_dataset_that_is_not_automated_has_no_condition_and_no_sensor(daemon: Daemon) -> None:
    daemon.shop.contract.write_text(daemon.shop.contract.read_text() + "automation: {enabled: false}\n")
    repository = build_definitions(daemon.shop.home).get_repository_def()
    assert not [sensor for sensor in repository.sensor_defs if sensor.name.startswith(("visits", "cascade"))]
    changed(daemon.shop, "2024-01-02")
    daemon.shop.run(batches=["2024-01-02"], stages=["raw/visits"])
    assert daemon.asked() == {}
