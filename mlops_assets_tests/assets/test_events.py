"""What Dagster is told of a version: metadata, tags and verdicts, as it stands in its log."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mlops_assets.assets.events import inputs_shown, plain
from mlops_assets.store.manifest import Input
from mlops_assets_tests.assets.shop import DAYS, NEWEST, Shop, edited


def newest(shop: Shop, stage: str) -> dg.AssetMaterialization:
    with shop.instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["visits", *stage.split("/")]))
    assert event is not None
    assert event.asset_materialization is not None
    return event.asset_materialization


def shown(shop: Shop, stage: str) -> dict[str, Any]:
    return {name: value.value for name, value in newest(shop, stage).metadata.items()}


def test_a_table_is_shown_with_where_it_is_what_it_holds_and_what_made_it(built: Shop) -> None:
    found, manifest = shown(built, "cleaned"), built.manifest("cleaned", NEWEST)
    assert manifest.blob is not None
    assert found["status"] == "computed"
    assert found["data_version"] == manifest.version
    assert found["manifest"] == manifest.id
    assert found["code_version"] == manifest.code_version
    assert found["bytes"] == (Path(built.home.store) / manifest.blob.path).stat().st_size
    assert found["dagster/uri"] == manifest.blob.path
    assert found["dagster/partition_row_count"] == 100
    heads = built.heads()
    assert found["inputs"] == (
        f"- visits/raw/visits [{NEWEST}] `{heads['visits/raw/visits'][NEWEST]}`\n"
        f"- visits/raw/shops [all] `{heads['visits/raw/shops']['all']}`"
    )
    assert [column.name for column in found["dagster/column_schema"].columns] == [name for name, _ in manifest.schema]
    assert found["preview"].splitlines()[0] == "| " + " | ".join(name for name, _ in manifest.schema) + " |"


def test_a_delivery_is_shown_with_its_files(built: Shop) -> None:
    found = shown(built, "raw/visits")
    file = built.manifest("raw/visits", NEWEST).files[0]
    assert f"landing/visits_{NEWEST}.csv" in found["files"]
    assert str(file["sha256"]) in found["files"]
    assert shown(built, "raw/shops")["dagster/row_count"] == 3


def test_an_evaluation_is_shown_with_pictures(built: Shop) -> None:
    found = shown(built, "evaluation_report")
    pictures = [name for name in found if name.startswith("plot/")]
    assert pictures
    assert all(found[name].startswith("![") for name in pictures)


def test_a_model_is_linked_with_its_tracking_run(built: Shop) -> None:
    found = shown(built, "trained_model")
    assert len(found["mlflow_run_id"]) == 32


def test_tags_carry_the_exact_version_and_the_code(built: Shop) -> None:
    manifest = built.manifest("features", NEWEST)
    tags = newest(built, "features").tags or {}
    assert tags["dagster/data_version"] == manifest.version
    assert tags["dagster/data_version_is_user_provided"] == "true"
    assert tags["dagster/code_version"] == manifest.code_version
    assert "dagster/input_data_version/visits/cleaned" in tags
    assert tags["dagster/input_event_pointer/visits/cleaned"].isdigit()


def test_verdicts_stand_in_the_log_with_their_numbers(shop: Shop) -> None:
    broken = "v73,2024-01-02,north,25x,1,0\n"
    edited(shop.landing(DAYS[1]), lambda lines: [*lines[:-1], broken])
    shop.run(batches=(DAYS[1],))
    with shop.instance() as instance:
        run = instance.get_runs(limit=1)[0]
        events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    found = {
        (each.asset_key.path[-1], each.check_name): each
        for each in (event.get_dagster_event().asset_check_evaluation_data for event in events)
    }
    warned = found["cleaned", "rejected_warn"]
    assert (warned.passed, warned.severity, warned.blocking) == (False, dg.AssetCheckSeverity.WARN, False)
    assert {name: warned.metadata[name].value for name in ("n", "failed", "share")} == {
        "n": 100,
        "failed": 1,
        "share": 0.01,
    }
    assert "'25x'" in str(warned.metadata["examples"].value)
    refused = found["cleaned", "rejected"]
    assert (refused.passed, refused.severity, refused.blocking) == (True, dg.AssetCheckSeverity.ERROR, True)
    assert refused.partition == DAYS[1]
    assert refused.target_materialization_data is not None


def test_no_row_is_shown_of_a_dataset_with_sensitive_columns(shop: Shop) -> None:
    shop.change("role: excluded", "role: sensitive")
    shop.run(batches=(NEWEST,), stages=("raw/visits", "cleaned"))
    assert "preview" not in shown(shop, "cleaned")


def test_many_inputs_are_shown_by_their_ends() -> None:
    many = [Input("a/features", f"{number:03}", f"b3:{number}" if number else None, None) for number in range(120)]
    lines = str(inputs_shown(many).value).splitlines()
    assert lines[0] == "- a/features [000] `absent`"
    assert lines[25] == "- ... 70 more in the manifest ..."
    assert lines[-1] == "- a/features [119] `b3:119`"
    assert len(lines) == 51
    assert inputs_shown([]).value == "none"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.5, 1.5),
        ("text", "text"),
        (True, True),
        ({"a": [1]}, {"a": [1]}),
        ([1, 2], [1, 2]),
        ([{"a": "x|y", "b": None}], "| a | b |\n| --- | --- |\n| x\\|y |  |"),
        ([{"a": "<script>&amp;"}], "| a |\n| --- |\n| &lt;script>&amp;amp; |"),
        ([{"a": "[l](javascript:x) `y` *z*"}], "| a |\n| --- |\n| \\[l\\](javascript:x) \\`y\\` \\*z\\* |"),
        ([{"a": "\x1b[31mred\nx"}], "| a |\n| --- |\n| \\x1b\\[31mred x |"),
    ],
)
def test_values_are_plain_or_tables_or_json(value: object, expected: object) -> None:
    found = plain(value)
    assert getattr(found, "value", found) == expected or getattr(found, "data", found) == expected
