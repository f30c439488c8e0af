"""The graph as Dagster loads it, compared with what is committed in ``snapshots``, so that it cannot change silently.

First the keys, then all that is said of the datasets' assets and checks, then what happens by itself. Code versions are
left out: they change with every edit. A change that is meant is taken over with ``make snapshots``; its difference is
part of the commit.
"""

import difflib
import json
import os
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mlops_assets.definitions import build_definitions
from mlops_assets_tests.assets.shop import Shop

DATA = Path(__file__).parent.parent / "data"
SNAPSHOTS = Path(__file__).parent / "snapshots"
RENEW = bool(os.environ.get("RENEW_SNAPSHOTS"))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    shop = Shop.at(tmp_path_factory.mktemp("home"), DATA)
    with shop.entered():
        return build_definitions(shop.home)


def test_the_keys(loaded: dg.Definitions) -> None:
    keys: dict[str, list[str]] = {}
    for spec in loaded.resolve_all_asset_specs():
        keys.setdefault(str(spec.group_name), []).append(spec.key.to_user_string())
    compare("keys", {dataset: sorted(each) for dataset, each in keys.items()})


def test_all_that_is_said_of_the_flights(loaded: dg.Definitions) -> None:
    graph = loaded.resolve_asset_graph()
    checks: dict[dg.AssetKey, list[dg.AssetCheckSpec]] = {}
    for key in graph.asset_check_keys:
        checks.setdefault(key.asset_key, []).append(graph.get_check_spec(key))
    compare(
        "flights",
        {
            spec.key.to_user_string(): described(spec, checks.get(spec.key, []))
            for spec in loaded.resolve_all_asset_specs()
            if spec.group_name == "flights"
        },
    )


def test_the_steps(loaded: dg.Definitions) -> None:
    steps = [assets for assets in loaded.assets or () if isinstance(assets, dg.AssetsDefinition)]
    compare(
        "steps",
        {
            step.op.name: {
                "assets": sorted(key.to_user_string() for key in step.keys),
                "takes some of them": step.can_subset,
                "batches a run": "a range" if step.backfill_policy == dg.BackfillPolicy.single_run() else "one",
                "tags": dict(step.op.tags),
            }
            for step in steps
        },
    )


def test_what_happens_by_itself(loaded: dg.Definitions) -> None:
    repository = loaded.get_repository_def()
    compare(
        "automation",
        {
            "jobs": {
                job.name: {"description": job.description, "tags": dict(job.tags)}
                for job in repository.get_all_jobs()
                if not job.name.startswith("__")
            },
            "schedules": {
                schedule.name: {
                    "cron": schedule.cron_schedule,
                    "zone": schedule.execution_timezone,
                    "status": schedule.default_status.value,
                    "description": schedule.description,
                }
                for schedule in repository.schedule_defs
            },
            "sensors": {
                sensor.name: {
                    "kind": sensor.sensor_type.value,
                    "every": f"{sensor.minimum_interval_seconds} s",
                    "status": sensor.default_status.value,
                    "description": sensor.description,
                }
                for sensor in repository.sensor_defs
            },
        },
    )


def described(spec: dg.AssetSpec, checks: list[dg.AssetCheckSpec]) -> dict[str, Any]:
    """All of an asset's spec that a person would ask about; columns stand in its contract."""
    condition = spec.automation_condition
    return {
        "description": spec.description,
        "deps": {dep.asset_key.to_user_string(): mapping(dep.partition_mapping) for dep in spec.deps},
        "partitions": partitions(spec.partitions_def),
        "checks": {
            check.name: {
                "on failure": "block" if check.blocking else "warn",
                "description": check.description,
                "partitions": "as the asset" if check.partitions_def == spec.partitions_def else "others",
                "automation": condition_of(check.automation_condition),
            }
            for check in checks
        },
        "group": spec.group_name,
        "kinds": sorted(spec.kinds),
        "owners": list(spec.owners),
        "tags": {name: value for name, value in spec.tags.items() if not name.startswith("dagster/kind/")},
        "automation": condition_of(condition),
        "freshness": freshness(spec.freshness_policy),
        "skippable": spec.skippable,
        "metadata": sorted(spec.metadata),
    }


def condition_of(condition: dg.AutomationCondition[Any] | None) -> str | None:
    return None if condition is None else condition.get_label() or condition.name


def mapping(found: dg.PartitionMapping | None) -> str:
    match found:
        case None:
            return "the same batch, or the whole"
        case dg.TimeWindowPartitionMapping():
            return f"from {-found.start_offset} batches before" + (
                f" to {found.end_offset}" if found.end_offset else ""
            )
        case _:
            return repr(found)


def partitions(found: dg.PartitionsDefinition | None) -> str | None:
    if isinstance(found, dg.TimeWindowPartitionsDefinition):
        last = found.get_last_partition_key() if found.end else f"{found.end_offset} from now"
        return f"{found.cron_schedule}: {found.get_first_partition_key()} to {last}, {found.fmt}"
    return None if found is None else repr(found)


def freshness(found: dg.FreshnessPolicy | None) -> str | None:
    return None if found is None else repr(found)


# ---- comparing


def compare(name: str, found: Any, folder: Path = SNAPSHOTS, *, renew: bool = RENEW) -> None:
    """Fail with what differs from the committed file, or write it anew."""
    file = folder / f"{name}.json"
    text = json.dumps(found, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    if renew:
        folder.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return
    committed = file.read_text(encoding="utf-8") if file.exists() else ""
    lines = difflib.unified_diff(committed.splitlines(), text.splitlines(), "committed", "now", lineterm="", n=4)
    if difference := "\n".join(lines):
        pytest.fail(
            f"The graph is not what {file.name} says. If that is meant, type `make snapshots`.\n{difference}",
            pytrace=False,
        )


def test_a_difference_is_shown_with_what_to_do(tmp_path: Path) -> None:
    compare("graph", {"a": 1, "b": [2]}, tmp_path, renew=True)
    compare("graph", {"b": [2], "a": 1}, tmp_path, renew=False)
    with pytest.raises(pytest.fail.Exception) as caught:
        compare("graph", {"a": 1, "b": [3]}, tmp_path, renew=False)
    assert "type `make snapshots`" in str(caught.value)
    assert {"-    2", "+    3"} <= set(str(caught.value).splitlines())


def test_a_snapshot_that_is_missing_is_a_difference(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"\+  \"a\": 1"):
        compare("graph", {"a": 1}, tmp_path, renew=False)
