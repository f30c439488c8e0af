"""A suite of analysts in the pipeline: it judges without computing, blocks where it is critical, and has its page."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mlops_assets.assets.publish import evidence, report_path
from mlops_assets.definitions import build_definitions
from mlops_assets_tests.assets.shop import BATCH, DAYS, GATES, Shop, counts, edited
from mlops_assets_tests.datasets import deliver_days, write_contract

COUNT = "expect_table_row_count_to_be_between"
SHOPS = "expect_shop_values_to_be_in_set"


def suite(shop: Shop, *expectations: dict[str, Any]) -> None:
    (shop.folder / "expectations.json").write_text(json.dumps(list(expectations), indent=1))


def rows(least: int, severity: str = "critical") -> dict[str, Any]:
    return {"type": COUNT, "kwargs": {"min_value": least}, "severity": severity}


def known(*shops: str, severity: str = "warning", **meta: str) -> dict[str, Any]:
    kwargs = {"column": "shop", "value_set": list(shops)}
    return {"type": "expect_column_values_to_be_in_set", "kwargs": kwargs, "severity": severity, "meta": meta}


@pytest.fixture
def fresh(tmp_path: Path) -> Shop:
    deliver_days(write_contract(tmp_path / "data", **GATES), range(2), rows=30)
    return Shop.in_folder(tmp_path)


def outcomes(shop: Shop, batch: str = DAYS[0]) -> dict[str, str]:
    session = shop.session()
    stages = session.graph.stages
    return {
        stage: session.run(stages[stage], key).status
        for stage, key in (("raw/shops", "all"), *((name, batch) for name in BATCH))
    }


def page(shop: Shop, name: str = "expectations.html", *, accepted: bool = True, batch: str = DAYS[0]) -> Path:
    return report_path(shop.home, "visits", batch, name, accepted=accepted)


def test_an_edit_alone_judges_again_and_computes_nothing(fresh: Shop) -> None:
    outcomes(fresh)
    before, current = fresh.heads(), dict.fromkeys(["raw/shops", *BATCH], "reused")
    suite(fresh, rows(10), known("north", "south"))
    assert fresh.stale() >= {"raw/visits"}
    assert outcomes(fresh) == current | {"raw/visits": "audited"}
    assert outcomes(fresh) == current
    assert fresh.heads() == before
    verdicts = {verdict["check"]: verdict for verdict in fresh.manifest("raw/visits", DAYS[0]).verdicts}
    assert verdicts[COUNT]["passed"]
    assert (verdicts[SHOPS]["passed"], verdicts[SHOPS]["severity"]) == (False, "warn")

    suite(fresh, rows(10), known("north", "south", "west"))
    assert outcomes(fresh) == current | {"raw/visits": "audited"}
    suite(fresh, rows(10), known("north", "south", "west", description="Words judge nothing."))
    assert outcomes(fresh) == current
    (fresh.folder / "expectations.json").unlink()
    assert outcomes(fresh) == current
    assert "expectations.html" not in fresh.manifest("raw/visits", DAYS[0]).attachments


def test_a_critical_failure_keeps_a_batch_from_being_published(fresh: Shop) -> None:
    suite(fresh, rows(31), known("north"))
    session = fresh.session()
    outcome = session.run(session.graph.stages["raw/visits"], DAYS[0])
    assert outcome.status == "refused"
    assert outcome.sentences == (
        (
            f"visits/raw/visits [{DAYS[0]}] was refused by the check {COUNT}: "
            "The row count is 30; at least 31 is expected."
        ),
    )
    assert session.run(session.graph.stages["cleaned"], DAYS[0]).status == "stopped"
    assert "visits/raw/visits" not in fresh.heads()
    assert not page(fresh).exists()
    assert "Refused" in page(fresh, accepted=False).read_text()


def test_a_rule_that_is_newly_broken_leaves_the_head_where_it_is(fresh: Shop) -> None:
    outcomes(fresh)
    before = fresh.heads()
    suite(fresh, rows(31))
    assert outcomes(fresh)["raw/visits"] == "refused"
    assert fresh.heads() == before
    plan = fresh.plan()
    assert plan.standing(plan.graph.stages["raw/visits"], DAYS[0]).state == "refused"
    suite(fresh, rows(31, "warning"))
    assert outcomes(fresh)["raw/visits"] == "audited"
    assert fresh.heads() == before


def test_the_page_shows_verdicts_and_rows(fresh: Shop) -> None:
    edited(fresh.landing(DAYS[0]), lambda lines: [line.replace("west", "atlantis") for line in lines])
    suite(fresh, rows(10), known("north", "south", name="two_shops", description="<West> is closed."))
    outcomes(fresh)
    manifest = fresh.manifest("raw/visits", DAYS[0])
    text = page(fresh).read_text()
    assert fresh.plan().store.bytes(manifest.attachments["expectations.html"]) == text.encode()
    for shown in (
        "1 of 2 expectations is not met",
        "two_shops",
        "&lt;West&gt; is closed.",
        str(manifest.version),
        COUNT,
    ):
        assert shown in text
    (example, *_) = evidence(fresh.plan().store, manifest)["two_shops"]
    assert example.endswith("shop 'atlantis'.")
    assert example.replace("'", "&#x27;") in text
    assert "atlantis" not in json.dumps(manifest.to_dict())


def test_every_source_has_a_page_of_its_own(fresh: Shop) -> None:
    size = {"type": "expect_column_max_to_be_between", "kwargs": {"column": "size", "max_value": 100}}
    suite(fresh, rows(10), size | {"severity": "info", "meta": {"source": "shops"}})
    outcomes(fresh)
    assert page(fresh).exists()
    other = page(fresh, "expectations-shops.html", batch="all").read_text()
    assert "visits/shops" in other
    assert "Observed: 240.0" in other


def test_rows_of_a_source_with_a_sensitive_column_are_not_shown(fresh: Shop) -> None:
    fresh.change("minimum: 0, role: excluded}", "minimum: 0, role: [excluded, sensitive]}")
    paid = {"type": "expect_column_max_to_be_between", "kwargs": {"column": "paid", "max_value": 1}, "severity": "info"}
    suite(fresh, known("nowhere"), paid)
    outcomes(fresh)
    manifest = fresh.manifest("raw/visits", DAYS[0])
    said = evidence(fresh.plan().store, manifest)
    assert said[SHOPS][0] == f"landing/visits_{DAYS[0]}.csv line 2: shop."
    assert "expect_paid_max_to_be_between" not in said
    assert "north" not in page(fresh).read_text()


def test_no_page_without_a_suite(fresh: Shop) -> None:
    outcomes(fresh)
    assert not page(fresh).exists()
    assert "expectations.html" not in fresh.manifest("raw/visits", DAYS[0]).attachments


def test_dagster_knows_the_checks_after_a_reload_and_their_verdicts_after_a_run(shop: Shop) -> None:
    kwargs = {"column": "minutes", "max_value": 1}
    short = {"type": "expect_column_mean_to_be_between", "kwargs": kwargs, "severity": "warning"}
    suite(shop, rows(10), short | {"meta": {"name": "short_visits"}})
    summary = shop.run()
    assert counts(summary)["audited"] == {"raw/visits"}
    assert "computed" not in counts(summary)
    with shop.entered():
        graph = build_definitions(shop.home).resolve_asset_graph()
    key = dg.AssetKey(["visits", "raw", "visits"])
    blocking = {check.name: graph.get(check).blocking for check in graph.asset_check_keys if check.asset_key == key}
    assert (blocking[COUNT], blocking["short_visits"]) == (True, False)
    found = [shop.verdict("visits/raw/visits", name, DAYS[0]) for name in (COUNT, "short_visits")]
    assert found == ["SUCCEEDED", "FAILED"]
