"""One stage and one batch through write, audit, publish; no Dagster."""

import json
from pathlib import Path

import pytest

from mlops_assets.assets.publish import evidence, report_path, verdicts_of
from mlops_assets.errors import ConflictError, UserError
from mlops_assets_tests.assets.shop import BATCH, DAYS, GATES, NEWEST, Shop, edited
from mlops_assets_tests.datasets import deliver_days, write_contract


@pytest.fixture
def fresh(tmp_path: Path) -> Shop:
    deliver_days(write_contract(tmp_path / "data", **GATES), range(2), rows=30)
    return Shop.in_folder(tmp_path)


def statuses(shop: Shop, batch: str = DAYS[0]) -> list[str]:
    session = shop.session()
    stages = session.graph.stages
    return [
        session.run(stages["raw/shops"], "all").status,
        *(session.run(stages[name], batch).status for name in BATCH),
    ]


def test_a_version_is_made_once(fresh: Shop) -> None:
    assert statuses(fresh) == ["computed"] * 6
    assert statuses(fresh) == ["reused"] * 6


def test_a_manifest_says_what_made_a_version(fresh: Shop) -> None:
    statuses(fresh)
    manifest = fresh.manifest("cleaned", DAYS[0])
    assert manifest.accepted
    assert (manifest.rows, manifest.run_id, manifest.kind) == (30, "a-run", "table")
    assert [item.asset for item in manifest.inputs] == ["visits/raw/visits", "visits/raw/shops"]
    assert {verdict["check"]: verdict["passed"] for verdict in manifest.verdicts} == {
        "rejected": True,
        "rejected_warn": True,
        "unique_key": True,
        "fan_out": True,
        "matches": True,
        "not_empty": True,
    }
    raw = fresh.manifest("raw/visits", DAYS[0])
    (file,) = raw.files
    kept = Path(fresh.home.store) / str(file["blob"])
    assert kept.read_bytes() == fresh.landing(DAYS[0]).read_bytes()


def test_the_delivered_bytes_are_kept_also_of_what_is_refused(fresh: Shop) -> None:
    edited(fresh.landing(DAYS[0]), lambda lines: [line.replace(",", ";") for line in lines])
    session = fresh.session()
    outcome = session.run(session.graph.stages["raw/visits"], DAYS[0])
    assert outcome.status == "refused"
    assert outcome.manifest is not None
    assert outcome.manifest.version is None
    kept = Path(fresh.home.store) / str(outcome.manifest.files[0]["blob"])
    assert kept.read_bytes() == fresh.landing(DAYS[0]).read_bytes()
    assert outcome.manifest.run_id == "a-run"


def test_no_value_of_a_row_stands_in_a_manifest(fresh: Shop) -> None:
    edited(fresh.landing(DAYS[0]), lambda lines: [line.replace("v73", "secret73") for line in lines])
    assert statuses(fresh)[3] == "refused"
    store = fresh.plan().store
    (manifest,) = store.manifests("visits/cleaned", DAYS[0])
    assert "secret" not in json.dumps(manifest.to_dict())
    told = evidence(store, manifest)
    assert any("secret73" in sentence for sentence in told["rejected"])
    found = {verdict.check: verdict.examples for verdict in verdicts_of(manifest, told)}
    assert found["rejected"] == tuple(told["rejected"])
    assert verdicts_of(manifest)[0].examples == ()


def test_what_stands_on_a_refusal_is_not_tried_in_the_same_run(fresh: Shop) -> None:
    edited(fresh.landing(DAYS[0]), lambda lines: lines[:1])
    session = fresh.session()
    session.run(session.graph.stages["raw/shops"], "all")
    outcomes = [session.run(session.graph.stages[name], DAYS[0]) for name in BATCH]
    assert [outcome.status for outcome in outcomes] == ["computed", "computed", "refused", "stopped", "stopped"]
    assert outcomes[2].sentences[0].startswith(f"visits/cleaned [{DAYS[0]}] was refused by the check not_empty: ")
    assert outcomes[3].sentences[0] == (
        f"visits/splits [{DAYS[0]}] was not tried: visits/cleaned [{DAYS[0]}], on which it stands, "
        "was refused in this run."
    )
    assert session.run(session.graph.stages["raw/visits"], DAYS[1]).status == "computed"


def test_a_refusal_is_repeated_from_its_record(fresh: Shop) -> None:
    edited(fresh.landing(DAYS[0]), lambda lines: [*lines[:-1], lines[-1][:9]])
    first, second = (
        session.run(session.graph.stages["raw/visits"], DAYS[0]) for session in (fresh.session("1"), fresh.session("2"))
    )
    assert (first.status, second.status) == ("refused", "refused")
    assert second.manifest == first.manifest
    assert second.sentences == first.sentences
    assert [verdict.examples for verdict in second.verdicts] == [verdict.examples for verdict in first.verdicts]


def test_two_that_publish_the_same_version_do_not_quarrel(fresh: Shop) -> None:
    one, other = fresh.session("one"), fresh.session("other")
    stage = one.graph.stages["raw/visits"]
    for session in (one, other):
        session.plan.heads("raw/visits")  # as they were when both began
    assert one.run(stage, DAYS[0]).status == "computed"
    assert other.run(stage, DAYS[0]).status == "reused"
    assert len(one.store.moves("main", "visits/raw/visits", DAYS[0])) == 1


def test_who_comes_late_with_another_version_must_look_again(fresh: Shop) -> None:
    late = fresh.session("late")
    stage = late.graph.stages["raw/visits"]
    late.plan.heads("raw/visits")
    late.plan.resolve(stage, DAYS[0])  # has looked at the delivery
    edited(fresh.landing(DAYS[0]), lambda lines: lines[:-1])
    early = fresh.session("early")
    assert early.run(early.graph.stages["raw/visits"], DAYS[0]).status == "computed"
    edited(fresh.landing(DAYS[0]), lambda lines: [*lines[:-3], lines[-1]])
    late.plan.landing = fresh.plan().landing
    with pytest.raises(ConflictError, match="visits/raw/visits"):
        late.run(stage, DAYS[0])
    assert fresh.manifest("raw/visits", DAYS[0]).run_id == "early"


def test_an_audit_by_new_rules_computes_nothing_and_keeps_what_belongs_to_a_version(shop: Shop) -> None:
    before = shop.manifest("evaluation_report", NEWEST)
    shop.change("minimum: {roc_auc: 0.5}", "minimum: {roc_auc: 0.51}")
    session = shop.session("again")
    outcome = session.run(session.graph.stages["evaluation_report"], NEWEST)
    assert outcome.status == "audited"
    after = shop.manifest("evaluation_report", NEWEST)
    assert (after.version, after.blob, after.facts) == (before.version, before.blob, before.facts)
    assert after.run_id == "again"
    assert after.rules != before.rules
    assert b"<html" in session.store.bytes(after.attachments["report.html"])


def test_judging_anew_records_nothing(shop: Shop) -> None:
    session = shop.session()
    store = session.store
    before = store.manifests("visits/cleaned", DAYS[0])
    verdicts = session.judge(session.graph.stages["cleaned"], DAYS[0])
    assert all(verdict.passed for verdict in verdicts)
    assert [verdict.check for verdict in verdicts] == [check.name for check in session.graph.stages["cleaned"].checks]
    assert store.manifests("visits/cleaned", DAYS[0]) == before
    nothing = session.judge(session.graph.stages["cleaned"], "2024-01-09")
    assert {verdict.sentence for verdict in nothing} == {
        "visits/cleaned [2024-01-09] has no published version to judge."
    }
    assert any(verdict.blocks for verdict in nothing)


def test_a_page_of_a_refused_version_says_so_in_its_name(tmp_path: Path) -> None:
    home = Shop.in_folder(tmp_path).home
    assert report_path(home, "visits", "2024", "report.html") == home.reports / "visits" / "2024" / "report.html"
    assert report_path(home, "visits", "2024", "report.html", accepted=False).name == "refused-report.html"


def test_a_file_that_changes_while_it_is_taken_in_is_never_recorded_as_what_it_was(shop: Shop) -> None:
    landing = shop.landing(DAYS[0])
    landing.write_text(landing.read_text().replace("north", "south"))
    session = shop.session()
    stage = session.graph.stages["raw/visits"]
    session.plan.resolve(stage, DAYS[0])  # the landing folder is looked at
    landing.write_text(landing.read_text().replace("west", "north"))
    before = shop.heads()
    with pytest.raises(UserError, match="changed while it was taken in; run again when its delivery is complete"):
        session.run(stage, DAYS[0])
    assert shop.heads() == before
