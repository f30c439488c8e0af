"""A release whose parts do not belong together, from delivered files to what is published."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mlops_assets.assets.publish import evidence
from mlops_assets.stages.split import assign_buckets
from mlops_assets.store.manifest import Manifest
from mlops_assets.store.store import Store
from mlops_assets_tests.assets.shop import DAYS, NEWEST, Shop, counts, edited
from mlops_assets_tests.datasets import deliver_whole, write_contract

# So few rows show nothing, and are not asked to.
ANY = {"minimum: {roc_auc: 0.5}": "minimum: {roc_auc: 0.0}", "roc_auc: 0.999}": "roc_auc: 1.0}, beat: [], agreement: 0"}


def verdict(manifest: Manifest, check: str) -> dict[str, object]:
    return next(dict(each) for each in manifest.verdicts if each["check"] == check)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """One table of visits that is split by hash, with its release; to be read only."""
    folder = tmp_path_factory.mktemp("whole")
    deliver_whole(write_contract(folder / "data", cadence="none", **ANY), rows=400)
    made = Shop.in_folder(folder)
    summary = made.run()
    assert not summary.failed, summary.outcomes
    return made


@pytest.fixture
def hashed(whole: Shop, tmp_path: Path) -> Shop:
    """A copy of it, to change at will."""
    return whole.copy(tmp_path / "hashed")


def test_the_report_stands_on_every_row_and_the_candidate_not_on_the_report(built: Shop) -> None:
    report = built.manifest("split_report", NEWEST)
    for stage in ("cleaned", "features", "splits"):
        assert {item.partition for item in report.inputs if item.asset == f"visits/{stage}"} == set(DAYS)
    above = {item.asset for item in built.manifest("candidate_model", NEWEST).inputs}
    assert above == {"visits/features", "visits/splits"}
    assert "visits/split_report" in {item.asset for item in built.manifest("evaluation_report", NEWEST).inputs}
    assert report.facts["train_rows"] == 200
    assert [each["check"] for each in report.verdicts if not each["passed"]] == []


def test_its_verdicts_stand_on_the_page_of_the_release(built: Shop) -> None:
    page = (built.home.reports / "visits" / NEWEST / "report.html").read_text()
    assert "No key stands in two of training, validation and test." in page


def test_a_changed_threshold_judges_again_and_computes_nothing(shop: Shop) -> None:
    before = shop.heads()
    shop.change("agreement: 0.5}", "agreement: 0.5}\nchecks: {adversarial: 0.5}")
    summary = shop.run()
    assert counts(summary)["audited"] == {"split_report"}
    assert "computed" not in counts(summary)
    assert shop.heads() == before
    assert verdict(shop.manifest("split_report", NEWEST), "adversarial")["passed"] is False
    assert verdict(shop.manifest("split_report", NEWEST), "drift_test")["passed"] is True


def test_a_row_that_comes_again_keeps_the_test_answers_unseen_in_every_run(shop: Shop) -> None:
    before = shop.heads()
    trained = shop.landing(DAYS[0]).read_text().splitlines()[1].split(",")[0]

    def again(lines: list[str]) -> list[str]:
        return [lines[0], ",".join([trained, *lines[1].split(",")[1:]]), *lines[2:]]

    delivered = edited(shop.landing(NEWEST), again)
    done = shop.called("run", "visits")
    assert done.code == 1
    sentence = "1 key (visit) stands in both training (1 row) and test (1 row of 2024-01-04)."
    assert f"visits/split_report [{NEWEST}] was refused by the check disjoint: {sentence}" in done.text
    assert f"visit {trained}: training of {DAYS[0]} and test of {NEWEST}" in done.text
    assert f"visits/evaluation_report [{NEWEST}] was not tried: " in done.text
    made = {asset for asset, versions in shop.heads().items() if versions != before[asset]}
    assert made.isdisjoint({"visits/split_report", "visits/evaluation_report", "visits/trained_model"})

    store = Store.open(shop.home.store)
    refused = store.manifests("visits/split_report", NEWEST)[0]
    assert not refused.accepted
    assert trained not in refused.encoded.decode()
    assert trained in str(evidence(store, refused)["disjoint"])

    later = shop.run()
    assert [outcome for outcome in later.outcomes if outcome.stage in ("evaluation_report", "trained_model")] == []
    assert shop.stale() >= {"split_report", "evaluation_report", "trained_model"}
    asked = shop.called("run", "visits", "--select", "evaluation_report", "--release", NEWEST)
    assert asked.code == 1
    assert "stands on visits/split_report [2024-01-04], of which the newest was not accepted." in asked.text

    shop.landing(NEWEST).write_text(delivered)
    assert not shop.run().failed
    assert shop.heads() == before
    assert shop.stale() == set()


def test_no_model_passes_by_the_report_of_another(shop: Shop) -> None:
    before = shop.heads()["visits/trained_model"]
    shop.change("max_iter: 5", "max_iter: 6")
    shop.change("minimum: {roc_auc: 0.5}", "minimum: {roc_auc: 0.998}")
    assert counts(shop.run()) == {
        "computed": {"candidate_model"},
        "refused": {"evaluation_report"},
        "stopped": {"trained_model"},
    }
    assert shop.run().outcomes == []
    assert shop.heads()["visits/trained_model"] == before
    standing = shop.plan().standing(shop.graph().stages["trained_model"], NEWEST)
    assert standing.state == "blocked"
    assert "was refused by the check minimum" in standing.sentence


def test_the_checks_can_be_asked_for_alone(built: Shop) -> None:
    session = built.session()
    stage = session.graph.stages["split_report"]
    found = session.judge(stage, NEWEST)
    assert [each.check for each in found] == [check.name for check in stage.checks]
    assert all(each.passed for each in found)


# By hash.


def salted(shop: Shop, salt: str) -> None:
    shop.change("split: {by: hash,", f"split: {{by: hash, salt: {salt},")


def tell(shop: Shop) -> dict[str, object]:
    assert not shop.run().failed
    return verdict(shop.manifest("split_report", "all"), "stable")


def test_a_first_release_has_nothing_to_be_compared_with(whole: Shop) -> None:
    found = verdict(whole.manifest("split_report", "all"), "stable")
    assert (found["passed"], found["n"]) == (True, 0)


def test_rows_that_tested_under_another_salt_are_counted(hashed: Shop) -> None:
    tested = int(hashed.manifest("split_report", "all").facts["test_rows"])
    salted(hashed, "other")
    found = tell(hashed)
    assert (found["passed"], found["severity"], found["n"]) == (False, "warn", tested)
    # four fifths of any rows are fitted to
    assert found["failed"] == pytest.approx(0.8 * tested, abs=15)
    assert f" of {tested} rows that tested the release of " in str(found["sentence"])
    assert " train now (changed: salt). " in str(found["sentence"])
    (again,) = (
        each for each in hashed.session().judge(hashed.graph().stages["split_report"], "all") if each.check == "stable"
    )
    assert (again.failed, again.n) == (found["failed"], tested)


def test_rows_that_come_later_move_none_of_the_others(hashed: Shop) -> None:
    edited(hashed.folder / "landing" / "visits.csv", lambda lines: [*lines, *(f"w{line[1:]}" for line in lines[1:60])])
    hashed.change('pattern: "v[0-9]+"', 'pattern: "[vw][0-9]+"')
    found = tell(hashed)
    assert found["passed"] is True
    assert str(found["sentence"]).startswith("None of the ")


def test_a_smaller_test_share_lets_its_rows_train(hashed: Shop) -> None:
    hashed.change("test: 0.2", "test: 0.1")
    found = tell(hashed)
    assert found["passed"] is False
    assert "(changed: test)" in str(found["sentence"])
    assert found["failed"] == pytest.approx(40, abs=15)


def test_of_rows_with_another_key_it_cannot_be_told(hashed: Shop) -> None:
    salted(hashed, "other")
    hashed.change("key: [visit]", "key: [visit, day]")
    found = tell(hashed)
    assert found["passed"] is True
    assert str(found["sentence"]).endswith(" Of 1 batch that cannot be told.")


def test_buckets_that_no_longer_keep_a_group_together_block(hashed: Shop) -> None:
    edited(hashed.folder / "landing" / "visits.csv", lambda lines: [lines[0], *_in_pairs(lines[1:])])
    hashed.change("split: {by: hash,", "split: {by: hash, group: [minutes],")
    assert not hashed.run().failed

    # buckets of the keys, published under the recipe of those of the groups
    store, rules, splits = Store.open(hashed.home.store), hashed.graph().contract, hashed.manifest("splits", "all")
    by_key = replace(rules, split=replace(rules.split, group=()))
    others = assign_buckets(by_key, store.get(hashed.manifest("cleaned", "all")))
    stored = store.put(splits.asset, "all", "table", others.value)
    forged = replace(splits, version=stored.version, blob=stored.blob, columns=stored.columns)
    store.record(forged)
    store.publish("main", forged, store.head("main", splits.asset, "all"))

    done = hashed.called("run", "visits")
    assert done.code == 1
    assert "visits/split_report was refused by the check disjoint: " in done.text
    assert "groups (minutes) stand in both training (" in done.text

    # what was refused tested nothing
    accepted, refused = hashed.manifest("split_report", "all"), store.manifests("visits/split_report", "all")[0]
    assert not refused.accepted
    assert refused.facts["test_rows"] != accepted.facts["test_rows"]
    salted(hashed, "other")
    assert tell(hashed)["n"] == accepted.facts["test_rows"]


def _in_pairs(lines: Sequence[str]) -> list[str]:
    """The same visits, each two of them as long as the first."""
    found = []
    for number, line in enumerate(lines):
        cells, first = line.split(","), lines[number - number % 2].split(",")
        found.append(",".join([*cells[:3], first[3], *cells[4:]]))
    return found
