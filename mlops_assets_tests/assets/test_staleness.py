"""Why something is not current: exactly what changed, from what to what, and where the trouble begins."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.assets.code import environment_digest
from mlops_assets.assets.plan import Plan
from mlops_assets.assets.reasons import Explanation, Reason, said
from mlops_assets.assets.staleness import Staleness
from mlops_assets.assets.survey import survey
from mlops_assets.store.purge import purges
from mlops_assets.store.store import Store
from mlops_assets_tests.assets.shop import BATCH, DAYS, GATES, NEWEST, RELEASE, Shop, edited
from mlops_assets_tests.datasets import deliver_days, write_contract


def explained(plan: Plan, stage: str, batch: str) -> Explanation:
    return Staleness(plan).explain(plan.graph.stages[stage], batch)


def made(shop: Shop, *stages: str, batches: Sequence[str]) -> None:
    """Bring single stages up to date, whatever stands above or below them."""
    session = shop.session()
    for stage in stages:
        for batch in batches:
            assert not session.run(session.graph.stages[stage], batch).failed


def above(found: Explanation) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(each.asset, each.state, each.batches) for each in found.above]


@pytest.fixture
def days(tmp_path: Path) -> Shop:
    """Four small days and their shops, made without Dagster up to their features."""
    deliver_days(write_contract(tmp_path / "data", **GATES), range(4), rows=20)
    shop = Shop.in_folder(tmp_path)
    made(shop, "raw/shops", batches=["all"])
    made(shop, *BATCH, batches=DAYS)
    return shop


def test_of_what_is_current_nothing_is_read(built: Shop) -> None:
    found = survey(built.plan())
    assert found.current
    assert found.explanations == []
    assert found.read == 0
    assert found.states() == {"current": 1 + len(BATCH) * len(DAYS) + len(RELEASE)}


# What changed, from what to what.


def test_a_delivered_file_that_changed(shop: Shop) -> None:
    (old,) = shop.manifest("raw/visits", DAYS[1]).files
    edited(shop.landing(DAYS[1]), lambda lines: lines[:-1])
    plan = shop.plan()
    found = explained(plan, "raw/visits", DAYS[1])
    (new,) = plan.resolve(plan.graph.stages["raw/visits"], DAYS[1]).files
    assert found.state == "stale"
    assert found.reasons == (Reason("file", new.name, before=old["sha256"], after=new.sha256),)
    assert found.sentences == (
        f"landing/visits_{DAYS[1]}.csv holds other bytes: sha256 {str(old['sha256'])[:12]} -> {new.sha256[:12]}.",
    )
    for stage, batch in [("cleaned", DAYS[1]), ("features", DAYS[1]), ("trained_model", NEWEST)]:
        found = explained(plan, stage, batch)
        assert (found.state, found.reasons) == ("waiting", ())
        assert found.sentences == (f"It stands on visits/raw/visits [{DAYS[1]}], which is stale.",)
    assert explained(plan, "features", DAYS[0]).state == "current"


def test_rows_that_were_erased(days: Shop) -> None:
    key = days.landing(DAYS[0]).read_text().splitlines()[1].partition(",")[0]
    erased = days.called("purge", "visits", "--where", f"visit={key}", "--basis", "request 7", "--yes")
    assert erased.code == 0, erased.text
    (done,) = purges(Store.open(days.home.store))
    found = explained(days.plan(), "raw/visits", DAYS[0])
    assert (found.state, found.reasons) == ("stale", (Reason("purged", done.id),))
    assert found.sentences == (
        f"Rows of it were erased by purge {done.id}; it is made again of what is delivered without them.",
    )
    assert found.reasons[0].to_dict() == {"kind": "purged", "purge": done.id, "sentence": found.sentences[0]}
    assert explained(days.plan(), "raw/visits", DAYS[1]).state == "current"


def test_files_that_came_or_went(tmp_path: Path) -> None:
    text = {"files: landing/shops.csv": "files: landing/shops*.csv\n    redelivery: add"}
    folder = write_contract(tmp_path / "data", **text)
    deliver_days(folder, (), rows=5)
    shop = Shop.in_folder(tmp_path)
    made(shop, "raw/shops", batches=["all"])
    (folder / "landing" / "shops_east.csv").write_text("shop,size\neast,10\n")
    (reason,) = explained(shop.plan(), "raw/shops", "all").reasons
    assert (reason.kind, reason.name, reason.change, reason.before) == (
        "file", "landing/shops_east.csv", "added", None,
    )  # fmt: skip
    assert reason.sentence == f"landing/shops_east.csv was delivered since: sha256 {reason.after[:12]}."
    (folder / "landing" / "shops.csv").unlink()
    added, removed = sorted(explained(shop.plan(), "raw/shops", "all").reasons, key=lambda each: each.change)
    assert (added.name, removed.name, removed.after) == ("landing/shops_east.csv", "landing/shops.csv", None)
    assert removed.sentence.startswith("landing/shops.csv is gone or counts no longer (sha256 ")


def test_settings_that_changed_with_their_values(days: Shop) -> None:
    days.change("maximum: 600", "maximum: 601")
    days.change("warn_below: 0.5", "warn_below: 0.25")
    found = survey(days.plan())
    assert {each.sentences[0] for each in found.explanations if each.stage == "raw/visits"} == {
        "Its setting source.columns.minutes.maximum changed: 600 -> 601."
    }
    (cleaned,) = {each.reasons for each in found.explanations if each.stage == "cleaned"}
    assert [(reason.kind, reason.name, reason.before, reason.after) for reason in cleaned[:2]] == [
        ("setting", "columns.visits.minutes.maximum", 600.0, 601.0),
        ("setting", "joins[source=shops].warn_below", 0.5, 0.25),
    ]
    assert [reason.kind for reason in cleaned[2:]] == ["rules"]
    # one record for each of the three stages tells of all four days
    assert (found.read, found.unread) == (3, 0)
    assert found.states() == {"current": 1, "stale": 12, "waiting": 12}


def test_code_that_changed_is_told_for_all_batches_from_one_record(shop: Shop) -> None:
    code = shop.folder / "features.py"
    before = shop.manifest("features", NEWEST).code_version.rpartition("-")[0]
    code.write_text(code.read_text().replace("minutes + 1", "minutes + 2"))
    plan = shop.plan()
    after = plan.code_version(plan.graph.stages["features"]).rpartition("-")[0]
    assert before != after
    found = survey(plan)
    (group,) = [group for group in found.groups if group.state == "stale"]
    assert (group.stages, group.batches, group.ranges) == (("features",), DAYS, ((DAYS[0], NEWEST),))
    assert group.alike
    assert group.first.reasons == (Reason("code", before=before, after=after),)
    assert group.first.sentences == (f"Its code changed: {before[:12]} -> {after[:12]}.",)
    assert found.read == 1
    assert {each.stage for each in found.explanations if each.state == "waiting"} == set(RELEASE)


def test_a_setting_is_named_for_each_batch_that_it_changed_and_for_no_other(days: Shop) -> None:
    """Days of two former settings: each is told what changed for it."""
    days.change("maximum: 600", "maximum: 601")
    made(days, "raw/visits", batches=DAYS[2:])
    days.change("maximum: 601", "maximum: 602")
    found = survey(days.plan())
    before = {
        each.batch: [(reason.name, reason.before, reason.after) for reason in each.reasons]
        for each in found.explanations
        if each.stage == "raw/visits"
    }
    name = "source.columns.minutes.maximum"
    assert before == {
        **{day: [(name, 600.0, 602.0)] for day in DAYS[:2]},
        **{day: [(name, 601.0, 602.0)] for day in DAYS[2:]},
    }
    assert [group.batches for group in found.groups if group.stages == ("raw/visits",)] == [DAYS[:2], DAYS[2:]]


def test_rules_alone_need_no_record(shop: Shop) -> None:
    before = shop.manifest("evaluation_report", NEWEST).rules
    shop.change("minimum: {roc_auc: 0.5}", "minimum: {roc_auc: 0.51}")
    plan = shop.plan()
    found = survey(plan)
    after = plan.rules_version(plan.graph.stages["evaluation_report"])
    report, model = found.explanations
    assert report.reasons == (Reason("rules", before=before, after=after),)
    assert report.sentences == (
        f"What its checks ask changed ({before[:12]} -> {after[:12]}): it is judged again, not made again.",
    )
    assert (model.stage, model.state) == ("trained_model", "waiting")
    assert above(model) == [("visits/evaluation_report", "stale", (NEWEST,))]
    assert found.read == 0


def test_an_input_that_all_batches_share(days: Shop) -> None:
    before = days.heads()["visits/raw/shops"]["all"]
    edited(days.folder / "landing" / "shops.csv", lambda lines: [*lines[:-1], "west,250\n"])
    found = survey(days.plan())
    waiting = {(each.stage, each.state) for each in found.explanations if each.batch == DAYS[0]}
    assert waiting == {("cleaned", "waiting"), ("splits", "waiting"), ("features", "waiting")}
    made(days, "raw/shops", batches=["all"])
    after = days.heads()["visits/raw/shops"]["all"]
    found = survey(days.plan())
    (group,) = [group for group in found.groups if group.stages == ("cleaned",)]
    assert group.batches == DAYS
    assert group.first.reasons == (Reason("input", "visits/raw/shops", "all", "changed", before, after),)
    assert group.first.sentences == (f"Its input visits/raw/shops changed: {before[:15]} -> {after[:15]}.",)
    assert found.read == 1


def test_own_inputs_are_read_batch_by_batch_and_no_further_than_was_allowed(days: Shop) -> None:
    before = days.heads()["visits/raw/visits"]
    for day in DAYS[:3]:
        edited(days.landing(day), lambda lines: lines[:-1])
    made(days, "raw/visits", batches=DAYS[:3])
    after = days.heads()["visits/raw/visits"]
    plan = days.plan()
    chosen = {"cleaned": DAYS}
    found = survey(plan, chosen=chosen)
    assert {each.batch: each.reasons for each in found.explanations} == {
        day: (Reason("input", "visits/raw/visits", day, "changed", before[day], after[day]),) for day in DAYS[:3]
    }
    assert (found.read, found.unread) == (3, 0)
    (group,) = found.groups
    assert (group.alike, group.ranges) == (False, ((DAYS[0], DAYS[2]),))
    assert len(found.exact) == 3
    bounded = survey(plan, 2, chosen)
    assert (bounded.read, bounded.unread) == (2, 1)
    (unread,) = [each for each in bounded.explanations if each.reasons[0].kind == "unread"]
    assert (unread.batch, unread.sentences) == (DAYS[2], ("Why was not looked at.",))


def test_an_input_that_is_new_is_told_for_all_batches_from_one_record(days: Shop) -> None:
    (days.folder / "landing" / "towns.csv").write_text("shop,people\nnorth,9\n")
    text = days.contract.read_text().replace(
        "joins:\n",
        "  towns:\n    kind: reference\n    files: landing/towns.csv\n    key: [shop]\n    columns:\n"
        "      shop: {type: string, nullable: false}\n      people: {type: float64, minimum: 0}\n"
        "joins:\n  - {source: towns, on: [shop], columns: [people]}\n",
    )
    days.contract.write_text(text)
    made(days, "raw/towns", batches=["all"])
    after = days.heads()["visits/raw/towns"]["all"]
    found = survey(days.plan(), chosen={"cleaned": DAYS})
    assert [each.batch for each in found.explanations] == list(DAYS)
    (reasons,) = {each.reasons for each in found.explanations}
    assert reasons[-2] == Reason("input", "visits/raw/towns", "all", "added", None, after)
    assert f"Its input visits/raw/towns is new: {after[:15]}." in found.explanations[0].sentences
    assert found.read == 1


def test_a_batch_that_came_into_a_release_s_window(days: Shop) -> None:
    late = days.landing(DAYS[1])
    delivered = late.read_text()
    late.unlink()
    for stage in BATCH:
        days.session().store.move(
            "main", f"visits/{stage}", DAYS[1], None, days.plan().heads(stage)[DAYS[1]], message="taken away"
        )
    made(days, "candidate_model", batches=[NEWEST])
    late.write_text(delivered)
    made(days, *BATCH, batches=[DAYS[1]])
    found = explained(days.plan(), "candidate_model", NEWEST)
    heads = days.heads()
    assert set(found.reasons) == {
        Reason("input", f"visits/{stage}", DAYS[1], "changed", None, heads[f"visits/{stage}"][DAYS[1]])
        for stage in ("features", "splits")
    }
    assert f"Its input visits/features [{DAYS[1]}] changed: absent -> " in "\n".join(found.sentences)


# What was never made, refused, or cannot be made.


def test_what_was_never_made(tmp_path: Path) -> None:
    deliver_days(write_contract(tmp_path / "data"), [0, 1, 3], rows=5)
    found = survey(Shop.in_folder(tmp_path).plan())
    by_state = {state: [group for group in found.groups if group.state == state] for state in ("stale", "waiting")}
    assert {(group.stages, group.first.sentences) for group in by_state["stale"]} == {
        (("raw/visits",), ("It was never made.",)),
        (("raw/shops",), ("It was never made.",)),
    }
    # the third day was never delivered: it ends no range
    assert {group.ranges for group in by_state["stale"]} == {((DAYS[0], DAYS[3]),), (("all", "all"),)}
    (release,) = [group for group in by_state["waiting"] if "trained_model" in group.stages]
    assert release.stages == RELEASE
    assert above(release.first) == [("visits/raw/visits", "stale", (DAYS[0], DAYS[1], DAYS[3]))]
    assert release.first.sentences == (
        f"It stands on 3 batches of visits/raw/visits that are stale: {DAYS[0]}..{DAYS[3]}.",
    )
    assert found.read == 0


def test_a_refusal_is_told_where_it_is_and_noted_below(shop: Shop) -> None:
    edited(shop.landing(DAYS[1]), lambda lines: [line.replace(",", ";") for line in lines])
    shop.run(batches=(DAYS[1],))
    plan = shop.plan()
    found = survey(plan)
    (refused,) = found.explanations
    assert (refused.stage, refused.batch, refused.state) == ("raw/visits", DAYS[1], "refused")
    assert refused.sentences[0].startswith(f"visits/raw/visits [{DAYS[1]}] was refused by the check readable: ")
    version = plan.heads("raw/visits")[DAYS[1]].version
    (note,) = Staleness(plan).in_full(plan.graph.stages["features"], DAYS[1]).notes
    assert note.startswith(f"Stands on the last good version {version[:15]} of visits/raw/visits [{DAYS[1]}]; a newer")


def test_what_stands_on_a_refusal_names_it_and_not_what_lies_between(tmp_path: Path) -> None:
    deliver_days(write_contract(tmp_path / "data"), range(2), rows=5)
    shop = Shop.in_folder(tmp_path)
    edited(shop.landing(DAYS[1]), lambda lines: [line.replace(",", ";") for line in lines])
    made(shop, "raw/shops", batches=["all"])
    made(shop, *BATCH, batches=DAYS[:1])
    assert shop.session().run(shop.graph().stages["raw/visits"], DAYS[1]).failed
    plan = shop.plan()
    for stage, batch in [("quarantine", DAYS[1]), ("features", DAYS[1]), ("trained_model", DAYS[1])]:
        found = explained(plan, stage, batch)
        assert (found.state, found.reasons) == ("blocked", ())
        assert found.sentences == (f"It stands on visits/raw/visits [{DAYS[1]}], which is refused.",)


def test_what_lacks_a_delivery(tmp_path: Path) -> None:
    folder = write_contract(tmp_path / "data")
    deliver_days(folder, range(1), rows=5)
    (folder / "landing" / "shops.csv").unlink()
    plan = Shop.in_folder(tmp_path).plan()
    (reason,) = explained(plan, "raw/shops", "all").reasons
    assert reason.kind == "blocked"
    assert reason.sentence.startswith("visits/raw/shops: nothing was delivered; ")
    assert above(explained(plan, "features", DAYS[0])) == [
        ("visits/raw/visits", "stale", (DAYS[0],)),
        ("visits/raw/shops", "blocked", ("all",)),
    ]
    release = explained(plan, "candidate_model", DAYS[0])
    assert (release.state, above(release)) == ("waiting", [("visits/raw/visits", "stale", (DAYS[0],))])


def test_a_release_that_cannot_be(days: Shop) -> None:
    found = explained(days.plan(), "candidate_model", DAYS[0])
    assert (found.state, found.above) == ("blocked", ())
    assert found.sentences[0].startswith(f"Release {DAYS[0]} of visits has nothing to train on")


# What makes nothing stale.


def test_another_environment_is_told_and_makes_nothing_stale(days: Shop) -> None:
    store, before = Store.open(days.home.store), days.manifest("splits", DAYS[0])
    elsewhere = replace(before, environment="0123456789abcdef")
    store.record(elsewhere)
    store.publish("main", elsewhere, store.head("main", before.asset, DAYS[0]))
    plan = days.plan()
    found = Staleness(plan).in_full(plan.graph.stages["splits"], DAYS[0])
    assert found.state == "current"
    (note,) = found.notes
    assert note == (
        f"It was made in another environment (0123456789ab, now {environment_digest()[:12]}: Python or a library has "
        "another release); that makes nothing stale."
    )
    assert Staleness(plan).in_full(plan.graph.stages["splits"], DAYS[1]).notes == ()


# How it is written.


@pytest.mark.parametrize(
    ("reason", "record"),
    [
        (Reason("never made"), {"kind": "never made", "sentence": "It was never made."}),
        (
            Reason("input", "shop/raw", "2024-01", "removed", "b3:0123456789abcdef"),
            {
                "kind": "input",
                "asset": "shop/raw",
                "partition": "2024-01",
                "change": "removed",
                "from": "b3:0123456789abcdef",
                "to": None,
                "sentence": "Its input shop/raw [2024-01] is none any more (it was b3:0123456789ab).",
            },
        ),
        (
            Reason("setting", "models[name=linear].C", change="added", after=[1, 2]),
            {
                "kind": "setting",
                "key": "models[name=linear].C",
                "change": "added",
                "from": None,
                "to": [1, 2],
                "sentence": "Its setting models[name=linear].C is new: [1, 2].",
            },
        ),
        (
            Reason("setting", "threshold", change="removed", before="x" * 200),
            {
                "kind": "setting",
                "key": "threshold",
                "change": "removed",
                "from": "x" * 200,
                "to": None,
                "sentence": f'Its setting threshold is gone (it was "{"x" * 96}...).',
            },
        ),
        (Reason("refused", "It was bad."), {"kind": "refused", "sentence": "It was bad."}),
    ],
)
def test_a_reason_as_json(reason: Reason, record: dict[str, Any]) -> None:
    assert reason.to_dict() == record


def test_many_ranges_are_cut() -> None:
    months = [(f"2013-{month:02}", f"2013-{month:02}") for month in range(1, 13)]
    assert said([("2012-01", "2012-12"), *months[:1]]) == "2012-01..2012-12, 2013-01"
    assert said(months, 2) == "2013-01, 2013-02, and 10 more ranges"


def test_a_survey_as_json(shop: Shop) -> None:
    for day in DAYS[:2]:
        edited(shop.landing(day), lambda lines: lines[:-1])
    found = survey(shop.plan()).to_dict()
    assert (found["dataset"], found["branch"], found["current"], found["strays"]) == ("visits", "main", False, [])
    assert found["stages"]["raw/visits"] == {"stale": 2, "current": 2}
    raw, batches, release = found["groups"]
    assert raw["state"] == "stale"
    assert (raw["stages"], raw["partitions"], raw["ranges"]) == (["raw/visits"], 2, [[DAYS[0], DAYS[1]]])
    assert [member["partition"] for member in raw["members"]] == list(DAYS[:2])
    assert [member["reasons"][0]["name"] for member in raw["members"]] == [
        f"landing/visits_{day}.csv" for day in DAYS[:2]
    ]
    assert (batches["state"], batches["stages"]) == ("waiting", list(BATCH[1:]))
    assert release["above"] == [{"asset": "visits/raw/visits", "state": "stale", "ranges": [[DAYS[0], DAYS[1]]]}]
