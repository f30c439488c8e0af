"""When a stage is late: what the contract says reaches Dagster, changes no version, and what Dagster makes of it."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.definitions.freshness_evaluator import FRESHNESS_EVALUATORS_BY_POLICY_TYPE
from dagster._core.loader import LoadingContextForTest
from dagster._core.test_utils import freeze_time

from mlops_assets.definitions import build_definitions
from mlops_assets_tests.assets.shop import DAYS, Shop

HOUR = 3600


def specs(shop: Shop) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in definitions(shop).resolve_all_asset_specs()}


def definitions(shop: Shop) -> dg.Definitions:
    with shop.entered():
        return build_definitions(shop.home, {"visits": shop.graph().contract})


@pytest.fixture
def watched(shop: Shop) -> Shop:
    """The shop, with stages that may be late."""
    text = "automation: {freshness: {raw/visits: {fail: 36h, warn: 26h}, raw/shops: {fail: 8d}}}\n"
    shop.contract.write_text(shop.contract.read_text() + text)
    return shop


def test_the_policies_are_those_of_the_contract_and_change_nothing_else(built: Shop, watched: Shop) -> None:
    before, now = specs(built), specs(watched)
    assert {name: spec.freshness_policy for name, spec in now.items() if spec.freshness_policy} == {
        "visits/raw/visits": dg.FreshnessPolicy.time_window(timedelta(hours=36), timedelta(hours=26)),
        "visits/raw/shops": dg.FreshnessPolicy.time_window(timedelta(days=8)),
    }
    assert {name: spec.code_version for name, spec in now.items()} == {
        name: spec.code_version for name, spec in before.items()
    }
    assert watched.stale() == set()


def test_a_partitioned_stage_is_as_fresh_as_the_newest_materialization_of_any_batch(watched: Shop) -> None:
    key = dg.AssetKey(["visits", "raw", "visits"])
    node = definitions(watched).resolve_asset_graph().get(key)
    evaluator = FRESHNESS_EVALUATORS_BY_POLICY_TYPE[dg.FreshnessPolicy.time_window(timedelta(days=1)).__class__]()
    begin = time.time()

    with watched.instance() as instance:

        def state(hours: float) -> str:
            context = LoadingContextForTest(instance)
            with freeze_time(datetime.fromtimestamp(begin + hours * HOUR, UTC)):
                return str(asyncio.run(evaluator.evaluate_freshness(context, node)).value)

        assert instance.freshness_enabled  # so that the daemon asks the same
        assert [state(hours) for hours in (0, 27, 37)] == ["PASS", "WARN", "FAIL"]
        with freeze_time(datetime.fromtimestamp(begin + 37 * HOUR, UTC)):
            instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=DAYS[0]))
        assert state(38) == "PASS"
