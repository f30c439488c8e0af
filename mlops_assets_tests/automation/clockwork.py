"""A dataset that runs by itself, without a daemon: ticks and runs happen when a test says so.

What belongs here: ticking the sensors of a shop on its real Dagster home, and doing what they ask for. What does not:
any expectation about it.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

from mlops_assets.automation import sensors
from mlops_assets.automation.releases import newest_request
from mlops_assets.definitions import build_definitions
from mlops_assets_tests.assets.shop import QUIET, Shop


@dataclass
class Clockwork:
    """One shop; ``now`` is what its sensors take for the time."""

    shop: Shop
    instance: dg.DagsterInstance
    now: float = field(default_factory=time.time)

    @classmethod
    @contextmanager
    def of(cls, shop: Shop) -> Iterator["Clockwork"]:
        """The shop with its Dagster home open, until the end of the block."""
        with shop.entered():
            shop.home.initialise_dagster()
            with dg.DagsterInstance.get() as instance:
                yield cls(shop, instance)

    def tick(self, after: float = 0.0) -> tuple[list[dg.RunRequest], list[str]]:
        """One tick of the sensor for new data."""
        self.now += after
        return sensors.tick(self.shop.graph(), self.shop.home, self.instance, self.now)

    def settled(self) -> tuple[list[dg.RunRequest], list[str]]:
        """Two ticks, so that what lies in the landing folder is taken in."""
        self.tick()
        return self.tick(5)

    def release(self) -> dg.RunRequest | dg.SkipReason:
        """What the policy's sensor asks for."""
        return newest_request(self.shop.graph(), self.shop.home, self.instance)

    def do(self, requests: Sequence[dg.RunRequest]) -> list[bool]:
        """Do what was asked for; whether each run went well."""
        return [self._ran(request) for request in requests]

    def quiet(self) -> list[str]:
        """Tick and do until nothing is asked for any more; what the last tick said."""
        self.tick()
        for _ in range(10):
            requests, said = self.tick(5)
            if not requests:
                return said
            self.do(requests)
        raise AssertionError(f"It is still asking for runs: {requests}")

    def _ran(self, request: dg.RunRequest) -> bool:
        definitions = build_definitions(self.shop.home, {self.shop.name: self.shop.graph().contract})
        if request.partition_key and self.shop.graph().contract.partitions.cadence == "named":
            self.instance.add_dynamic_partitions(f"{self.shop.name}_batches", [request.partition_key])
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            asset_selection=list(request.asset_selection or ()),
            partition_key=request.partition_key,
            tags=dict(request.tags),
            run_config=QUIET,
            raise_on_error=False,
        )
        return result.success


def let_time_pass(shop: Shop) -> None:
    """Make the folders of the store and of deliveries older than what a clock can tell apart."""
    kept = [each for name in ("heads", "deliveries") for each in (Path(shop.home.store) / name).rglob("*")]
    for path in [*kept, shop.folder / "landing"]:
        if path.is_dir():
            moment = path.stat().st_mtime_ns - 10_000_000_000
            os.utime(path, ns=(moment, moment))


def asked(requests: Sequence[dg.RunRequest]) -> list[str]:
    """The batches of requests, as ``first..last``; ``all`` for stages without batches."""
    found = []
    for request in requests:
        first = request.tags.get("dagster/asset_partition_range_start")
        last = request.tags.get("dagster/asset_partition_range_end")
        found.append(f"{first}..{last}" if first else request.partition_key or "all")
    return found


def stages(request: dg.RunRequest) -> list[str]:
    """The stages that a request selects."""
    return ["/".join(key.path[1:]) for key in request.asset_selection or ()]
