"""Exact inputs: what a release was made of, batch by batch, up to the delivered bytes."""

from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest

from mlops_assets.assets.graph import digest
from mlops_assets.assets.provenance import provenance
from mlops_assets_tests.assets.shop import DAYS, NEWEST, Shop
from mlops_assets_tests.datasets import deliver_days, write_contract

ABSENT = 77
FIRST = date(2024, 1, 1)


def test_a_report_names_every_delivered_file_once(built: Shop) -> None:
    plan, manifest = built.plan(), built.manifest("evaluation_report", NEWEST)
    found = provenance(plan, manifest)
    assert (found["dataset"], found["release"], found["branch"]) == ("visits", NEWEST, "main")
    assert found["model"] == built.heads()["visits/candidate_model"][NEWEST]
    assert sorted((file["source"], file["batch"], file["name"]) for file in found["files"]) == [
        ("shops", "all", "landing/shops.csv"),
        *(("visits", day, f"landing/visits_{day}.csv") for day in DAYS),
    ]
    assert {(item["asset"], item["partition"]): item["version"] for item in found["inputs"]} == {
        ("visits/candidate_model", NEWEST): found["model"],
        ("visits/split_report", NEWEST): built.heads()["visits/split_report"][NEWEST],
        **{("visits/features", day): built.heads()["visits/features"][day] for day in DAYS},
        **{("visits/splits", day): built.heads()["visits/splits"][day] for day in DAYS},
    }
    assert found["settings"]["boosted_trees"] == {"max_iter": 5}
    judged = [(verdict["stage"], verdict["check"]) for verdict in found["verdicts"]]
    assert judged[:2] == [("evaluation_report", "minimum"), ("evaluation_report", "maximum")]
    assert judged[5:7] == [("split_report", "disjoint"), ("split_report", "order")]


def test_a_candidate_never_saw_the_test(built: Shop) -> None:
    seen = {item.partition for item in built.manifest("candidate_model", NEWEST).inputs if "features" in item.asset}
    assert seen == set(DAYS[:-1])
    last = {item.partition for item in built.manifest("trained_model", NEWEST).inputs if "features" in item.asset}
    assert last == set(DAYS)


def test_an_earlier_release_does_not_see_what_came_later(shop: Shop) -> None:
    assert not shop.run(releases=(DAYS[2],)).failed
    seen = {item.partition for item in shop.manifest("evaluation_report", DAYS[2]).inputs if "features" in item.asset}
    assert seen == set(DAYS[:3])


@pytest.mark.parametrize("days", [101, pytest.param(400, marks=pytest.mark.slow)])
def test_a_release_of_many_days_names_each_version_and_each_absence(tmp_path: Path, days: int) -> None:
    """Dagster itself tells one version of a partitioned input, and none from 100 mapped partitions on."""
    # So few rows show nothing, and are not asked to.
    no_gates = {
        "minimum: {roc_auc: 0.5}, maximum": "minimum: {roc_auc: 0.0}, maximum",
        "roc_auc: 0.999}": "roc_auc: 1.0}, beat: [], agreement: 0.0",
    }
    folder = write_contract(tmp_path / "data", trees=2, **no_gates)
    deliver_days(folder, [number for number in range(days) if number != ABSENT], rows=6)
    shop = Shop.in_folder(tmp_path)
    summary = shop.run()
    assert not summary.failed, (summary.crashes, [each.sentences for each in summary.outcomes if each.failed])
    assert summary.runs == 4  # references, two ranges, the release
    newest = str(FIRST + timedelta(days=days - 1))
    absent = str(FIRST + timedelta(days=ABSENT))
    keys = [str(FIRST + timedelta(days=number)) for number in range(days)]
    heads = shop.heads()
    exact = [(key, heads["visits/features"].get(key)) for key in keys]
    assert dict(exact)[absent] is None

    manifest = shop.manifest("evaluation_report", newest)
    inputs = [item for item in manifest.inputs if item.asset == "visits/features"]
    assert [(item.partition, item.version) for item in inputs] == exact
    assert len({item.version for item in inputs}) == days
    for item in inputs[:: days // 10]:
        if item.manifest:
            made = shop.plan().store.manifest(item.asset, item.partition, item.manifest)
            assert (made.batch, made.version) == (item.partition, item.version)

    with shop.instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["visits", "evaluation_report"]))
        assert event is not None
        assert event.asset_materialization is not None
        tags = event.asset_materialization.tags or {}
        shown = str(event.asset_materialization.metadata["inputs"].value)
    # One tag for all of its partitions, which can be compared and not be read: it names no version of any of them.
    about = {name: value for name, value in tags.items() if "visits/features" in name}
    assert set(about) == {
        "dagster/input_data_version/visits/features",
        "dagster/input_event_pointer/visits/features",
    }
    told = about["dagster/input_data_version/visits/features"]
    assert told not in {version for _, version in exact}
    assert told == digest([[key, version] for key, version in exact])
    # What people see there is the ends of the list, and how much the manifest has besides.
    assert "more in the manifest" in shown
    assert f"- visits/splits [{newest}] `{heads['visits/splits'][newest]}`" in shown


def test_a_release_says_where_it_stands_on_a_last_good_version(shop: Shop) -> None:
    good = shop.heads()["visits/cleaned"][DAYS[1]]
    landing = shop.landing(DAYS[1])
    landing.write_text(landing.read_text().replace(",", ";"))
    deliver_days(shop.folder, [len(DAYS)], rows=100)
    release = "2024-01-05"
    assert shop.called("run", "visits").code == 1
    manifest = shop.manifest("evaluation_report", release)
    (note,) = manifest.sentences
    assert "last good version" in note
    assert f"of visits/raw/visits [{DAYS[1]}]; a newer one was refused" in note
    assert shop.heads()["visits/cleaned"][DAYS[1]] == good
    page = Path(shop.home.store).joinpath(manifest.attachments["report.html"].path).read_text()
    assert f"of visits/raw/visits [{DAYS[1]}]" in page
