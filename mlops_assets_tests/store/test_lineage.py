"""why, impact and history: the whole ancestry, all that stands on something, and how an asset came to be."""

import json
import shutil
from pathlib import Path

import pytest

from mlops_assets.errors import NotStoredError, StoreError, UserError
from mlops_assets.store import Head, Input, Store
from mlops_assets.store.behind import compared
from mlops_assets.store.blobs import tombstone_path
from mlops_assets.store.branching import create_branch
from mlops_assets.store.deliveries import Ledger
from mlops_assets.store.diff import diff
from mlops_assets.store.digest import sealed_json
from mlops_assets.store.lineage import history, impact, remember, why
from mlops_assets.store.records import manifest_path
from mlops_assets.store.remembered import PATH
from mlops_assets.store.snapshots import tag
from mlops_assets_tests.store.family import (
    CLEANED,
    GIT,
    MODEL,
    MONTHS,
    REPORT,
    SALES,
    SHOPS,
    clean,
    deliver,
    grown,
    release,
    source,
)  # fmt: skip

FIRST, LAST = MONTHS
SALES_FILE = f"landing/sales_{FIRST}.csv"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = grown(tmp_path_factory.mktemp("family") / "store")
    tag(store, "v1", "trade", "main", message="the first")
    remember(store)
    return store.root


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Store:
    """A copy of a store whose release is tagged as ``v1``."""
    shutil.copytree(made, tmp_path / "store")
    return Store.open(tmp_path / "store")


def shown(store: Store, asset: str, batch: str = LAST, branch: str = "main") -> Head:
    head = store.head(branch, asset, batch)
    assert head
    return head


# --- why -------------------------------------------------------------------------------------------------------------


def test_why_of_a_report_tells_everything_it_stands_on(store: Store) -> None:
    found = why(store, f"{REPORT}[{LAST}]")
    assert [stage.asset for stage in found.stages] == [SALES, SHOPS, CLEANED, MODEL, REPORT]
    assert [(file.name, file.sources, file.delivery, file.who) for file in found.files] == [
        (SALES_FILE, (SALES,), 2, "supplier"),
        (f"landing/sales_{LAST}.csv", (SALES,), 3, "supplier"),
        ("landing/shops.csv", (SHOPS,), 1, "supplier"),
    ]
    ledger = Ledger(store, "trade").entries
    assert {(file.sha256, file.size, file.arrived) for file in found.files} == {
        (entry.blob.sha256, entry.blob.size, entry.arrived) for entry in ledger
    }
    target = found.target
    assert target
    assert (str(target), target.version) == (f"{REPORT}[{LAST}]", shown(store, REPORT).version)
    model = next(item for item in found.versions if item.asset == MODEL)
    made = found.circumstances[model.made]
    assert (made.seed, made.settings, made.code_version, made.environment) == (7, {"trees": 7}, "fit-1", "env-2")
    assert (made.commit, made.dirty, made.run_id, made.who) == (GIT["commit"], True, "run-release-1", "ben")
    inputs = {str(found.versions[place]) for place in model.inputs}
    assert inputs == {f"{CLEANED}[{FIRST}]", f"{CLEANED}[{LAST}]"}


def test_why_begins_with_a_summary(store: Store) -> None:
    summary = why(store, f"{REPORT}[{LAST}]").summary
    assert (summary["files"], summary["sources"], summary["versions"]) == (3, [SALES, SHOPS], 7)
    # the shops came once, and are of no month
    assert (summary["batches"], summary["first"], summary["last"]) == (2, FIRST, LAST)
    assert summary["commits"] == [{"commit": GIT["commit"], "versions": 7, "dirty": 2}]
    assert summary["environments"] == ["env-1", "env-2"]
    assert summary["runs"] == ["run-raw-1", "run-clean-1", "run-release-1"]
    assert summary["who"] == ["ann", "ben"]
    cleaned = next(stage for stage in summary["stages"] if stage["asset"] == CLEANED)
    assert (cleaned["versions"], cleaned["rows"], cleaned["codes"], cleaned["settings"]) == (2, 2, ["clean-1"], 1)


def test_an_answer_is_plain_json_with_places_for_names(store: Store) -> None:
    plain = json.loads(json.dumps(why(store, "v1").to_dict()))
    report = next(item for item in plain["versions"] if item["asset"] == REPORT)
    assert [plain["versions"][place]["asset"] for place in report["inputs"]] == [MODEL]
    assert plain["circumstances"][report["made"]]["run_id"] == "run-release-1"
    raw = plain["versions"][0]
    assert [plain["files"][place]["name"] for place in raw["files"]]
    assert next(item for item in plain["versions"] if item["asset"] == CLEANED)["verdicts"]["passed"] == 1


@pytest.mark.parametrize(
    ("what", "versions"),
    [
        (f"{CLEANED}[{FIRST}]", 3),
        (f"{CLEANED}[{FIRST}]@v1", 3),
        (f"cleaned[{FIRST}]", 3),
        (REPORT, 7),
        ("report", 7),
        ("v1", 7),
        ("main", 7),
        ("run:run-clean", 5),
        (SALES_FILE, 1),
        (f"sales_{FIRST}.csv", 1),
    ],
)
def test_many_names_lead_to_an_ancestry(store: Store, what: str, versions: int) -> None:
    assert len(why(store, what).versions) == versions


def test_digests_name_versions_manifests_and_files(store: Store) -> None:
    head = shown(store, MODEL)
    assert why(store, head.version[:12]).target == why(store, head.manifest[:20]).target
    sha256 = Ledger(store, "trade").entries[1].blob.sha256
    for name in (sha256[:8], f"sha256:{sha256}"):
        assert [file.name for file in why(store, name).files] == [SALES_FILE]


def test_why_is_as_it_was_then(store: Store) -> None:
    before = shown(store, CLEANED, FIRST)
    clean(store, FIRST, code="clean-2")
    assert why(store, f"{CLEANED}[{FIRST}]", at="v1").target == why(store, before.version).target
    now = why(store, f"{CLEANED}[{FIRST}]").target
    assert now
    assert now.version == shown(store, CLEANED, FIRST).version != before.version


def test_without_what_is_remembered_the_answer_is_the_same(store: Store) -> None:
    expected = why(store, "v1").to_dict()
    store.backend.delete(PATH)
    assert why(store, "v1").to_dict()["summary"] == expected["summary"]


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        (CLEANED, f"{CLEANED} has 2 batches in branch main; name one of them, such as {CLEANED}[{LAST}]"),
        (f"{CLEANED}[2024-03]", f"branch main shows no batch '2024-03' of {CLEANED}; near is: 2024-0"),
        ("trade/raw", "no asset, file, run, branch, tag or version 'trade/raw' in {store}; near is: trade/raw/"),
        ("nonsense", "There is no branch, tag or version 'nonsense'"),
        ("landing/shop.csv", "'landing/shop.csv' in {store}; near is: landing/shops.csv, "),
        ("run:elsewhere", "No record in {store} was made by run:elsewhere; see the runs with: mlops-assets log"),
        ("run:run-", "No record in"),
        ("b3:12", "'b3:12' is too short to name a version"),
        ("b3:ffffffffff", "No version and no manifest in {store} starts with b3:ffffffffff"),
        (f"{CLEANED}[{FIRST}]@v2", "There is no branch, tag or version 'v2'"),
    ],
)
def test_what_means_nothing_is_said_with_what_is_near(store: Store, what: str, sentence: str) -> None:
    with pytest.raises(StoreError) as refused:
        why(store, what)
    assert sentence.replace("{store}", str(store)) in str(refused.value)


def test_what_means_several_things_is_not_guessed(store: Store) -> None:
    deliver(store, SALES, FIRST, f"late/sales_{FIRST}.csv", b"sale,late\n")
    store.commit("main", "other/report", LAST, "json", {})
    clean(store, FIRST, code="clean-2", run="run-clean-2")
    for what, sentence in {
        f"sales_{FIRST}.csv": f"'sales_{FIRST}.csv' could be landing/sales_{FIRST}.csv, late/sales_{FIRST}.csv; write "
        "the whole name.",
        "report": "'report' could be other/report, trade/report; write the whole name.",
        "run:run-cl": "'run-cl' could be the runs run-clean-1, run-clean-2; give more of the id.",
    }.items():
        with pytest.raises(StoreError) as refused:
            why(store, what)
        assert str(refused.value) == sentence


def test_absent_last_good_mixed_and_purged_inputs_are_told(store: Store) -> None:
    deliver(store, SHOPS, "all", "landing/shops.csv", b"shop\nsouth\n")
    clean(store, FIRST, code="clean-2")
    absent = Input(SALES, "2024-03", None, None)
    note = "Stands on the last good version of trade/raw/sales [2024-01]; a newer one was refused."
    inputs = (source(store, CLEANED, FIRST), source(store, CLEANED, LAST), absent)
    store.commit("main", MODEL, LAST, "bytes", b"other", inputs=inputs, sentences=(note,), run_id="run-9")
    old = shown(store, SALES, FIRST)
    for name in (old.version, f"sha256-{Ledger(store, 'trade').entries[1].blob.sha256}"):
        record = {"format": 1, "purge": "p1", "when": "2024-05-01", "basis": "request", "rows": 1, "replacement": None}
        store.backend.create(tombstone_path(name), sealed_json(record))
    found = why(store, f"{MODEL}[{LAST}]")
    assert [(item.asset, item.batch, item.version) for item in found.absent] == [(SALES, "2024-03", None)]
    assert found.last_good == (note,)
    assert found.mixed == ((SHOPS, "all", 2),)
    sha256 = Ledger(store, "trade").entries[1].blob.sha256
    assert found.purged == (f"{SALES}[{FIRST}] {old.version}", f"{SALES_FILE} (sha256 {sha256})")
    assert found.summary["absent"] == 1


def test_a_record_that_is_not_here_is_told_and_not_overlooked(store: Store) -> None:
    head = shown(store, CLEANED, FIRST)
    store.backend.delete(PATH)
    store.backend.delete(manifest_path(CLEANED, FIRST, head.manifest))
    found = why(store, REPORT)
    assert [(item.asset, item.batch, item.version) for item in found.lost] == [(CLEANED, FIRST, head.version)]
    assert found.damaged == ()


def test_a_damaged_record_is_told(store: Store) -> None:
    head = shown(store, CLEANED, FIRST)
    store.backend.delete(PATH)
    path = store.root / manifest_path(CLEANED, FIRST, head.manifest)
    path.write_bytes(path.read_bytes()[:-1])
    assert why(store, REPORT).damaged == (f"The manifest {path} is damaged; copy it from another copy of the store.",)
    with pytest.raises(StoreError, match="damaged"):
        why(store, f"{CLEANED}[{FIRST}]")


# --- impact ----------------------------------------------------------------------------------------------------------


def test_impact_of_a_file_reaches_models_reports_and_tags(store: Store) -> None:
    found = impact(store, SALES_FILE)
    assert [str(found.versions[place]) for place in found.targets] == [f"{SALES}[{FIRST}]"]
    assert [str(found.versions[place]) for place in found.standing] == [
        f"{CLEANED}[{FIRST}]",
        f"{MODEL}[{LAST}]",
        f"{REPORT}[{LAST}]",
    ]
    assert [str(found.versions[place]) for place in found.of_kind("json")] == [f"{REPORT}[{LAST}]"]
    assert found.holders == {"branch main": 4, "tag v1": 4}
    assert found.notes == ()


def test_impact_tells_what_only_tags_or_nobody_shows(store: Store) -> None:
    old = shown(store, CLEANED, FIRST)
    clean(store, FIRST, code="clean-2")
    clean(store, FIRST, code="clean-3")
    create_branch(store, "dev", "v1")
    found = impact(store, SALES_FILE)
    by = {found.versions[place].manifest: found.shown.get(place, ()) for place in found.standing}
    assert by[old.manifest] == ("branch dev", "tag v1")
    assert by[shown(store, CLEANED, FIRST).manifest] == ("branch main",)
    assert [names for manifest, names in by.items() if not names] == [()]
    assert len(by) == 5


def test_impact_sees_what_was_made_a_moment_ago_and_what_was_refused(store: Store) -> None:
    before = len(impact(store, SALES_FILE).standing)
    release(store, LAST, metric=0.9, seed=8)
    assert len(impact(store, SALES_FILE).standing) == before + 2
    inputs = (source(store, CLEANED, FIRST),)
    manifest = store.manifest(CLEANED, FIRST, shown(store, CLEANED, FIRST).manifest)
    refused = type(manifest)(asset="trade/predictions", batch=FIRST, kind="table", inputs=inputs, when="2024-06-01")
    store.record(refused)
    found = impact(store, SALES_FILE)
    last = next(item for item in found.versions if item.asset == "trade/predictions")
    assert (last.accepted, last.version) == (False, None)


def test_impact_of_many_is_that_of_each(store: Store) -> None:
    assert impact(store, CLEANED).holders == {"branch main": 4, "tag v1": 4}
    assert len(impact(store, "v1").standing) == 0
    assert {str(item) for item in impact(store, "shops.csv").versions} == {
        f"{SHOPS}[all]", *(f"{CLEANED}[{month}]" for month in MONTHS), f"{MODEL}[{LAST}]", f"{REPORT}[{LAST}]",
    }  # fmt: skip


def test_a_name_that_brought_two_contents_is_about_both(store: Store) -> None:
    deliver(store, SALES, FIRST, SALES_FILE, b"sale,better\n")
    found = impact(store, SALES_FILE)
    assert found.notes == (f"{SALES_FILE} was delivered with 2 different contents; this is about all of them.",)
    assert len(found.targets) == 2
    assert sorted(file.delivery or 0 for file in found.files) == [2, 4]


def test_a_file_with_known_bytes_leads_to_what_was_read(store: Store) -> None:
    Ledger(store, "trade").record(SALES, "landing/again.csv", f"sale,{FIRST}\n".encode(), place=FIRST, batches=[FIRST])
    found = impact(store, "landing/again.csv")
    assert found.notes == (f"landing/again.csv brought the same bytes as {SALES_FILE}, which is what was read.",)
    assert len(found.standing) == 3
    assert {file.name: file.duplicate_of for file in found.files} == {SALES_FILE: None, "landing/again.csv": 2}


def test_a_file_that_nothing_was_made_of(store: Store) -> None:
    Ledger(store, "trade").record(SALES, "landing/new.csv", b"sale,new\n", place="2024-03", batches=["2024-03"])
    found = impact(store, "landing/new.csv")
    assert found.versions == ()
    assert found.notes == ("landing/new.csv was delivered, and no version was made of it.",)
    assert [(file.name, file.delivery) for file in found.files] == [("landing/new.csv", 4)]


def test_a_lost_tree_is_a_sentence(store: Store) -> None:
    for entry in list(store.backend.entries("trees")):
        store.backend.delete(entry.path)
    with pytest.raises(UserError, match=r"The tree .* is lost; copy it from another copy of the store\."):
        impact(store, SALES_FILE)


def test_lineage_is_the_same_in_an_object_store() -> None:
    store = grown("memory://")
    tag(store, "v1", "trade", "main")
    for _ in range(2):
        assert len(why(store, "report").versions) == 7
        assert impact(store, SALES_FILE).holders == {"branch main": 4, "tag v1": 4}
        assert history(store, CLEANED).total == 2


# --- history ---------------------------------------------------------------------------------------------------------


def test_history_is_newest_first_with_how_it_was_shown(store: Store) -> None:
    clean(store, FIRST, code="clean-2", run="run-2")
    found = history(store, CLEANED, FIRST)
    newest, oldest = found.versions
    assert (newest.current, oldest.current) == (True, False)
    assert (newest.made.run_id, oldest.made.code_version) == ("run-2", "clean-1")
    assert oldest.published
    assert (oldest.published["verb"], oldest.published["message"]) == ("publish", "computed")
    assert newest.version.verdicts == (1, 0, 0)
    assert (found.total, found.refused) == (2, 0)
    assert len(history(store, CLEANED).versions) == 3
    assert history(store, CLEANED, limit=1).total == 3
    plain = found.to_dict()["versions"][0]
    assert (plain["commit"], plain["rows"], plain["batch"]) == (GIT["commit"], 1, FIRST)


def test_history_tells_refused_versions_and_those_of_other_branches(store: Store) -> None:
    manifest = store.manifest(REPORT, LAST, shown(store, REPORT).manifest)
    refused = type(manifest)(
        asset=REPORT, batch=LAST, kind="json", when="2999-01-01T00:00:00+00:00", sentences=("It is worse.",),
        verdicts=({"check": "auc", "passed": False, "severity": "block"},),
    )  # fmt: skip
    store.record(refused)
    create_branch(store, "dev", "main")
    clean(store, FIRST, code="clean-dev", branch="dev")
    found = history(store, "report")
    assert (found.asset, found.total, found.refused) == (REPORT, 2, 1)
    first = found.versions[0]
    assert (first.version.accepted, first.published, first.version.verdicts) == (False, None, (0, 0, 1))
    assert first.version.sentences == ("It is worse.",)
    on_main, on_dev = (history(store, CLEANED, FIRST, branch).versions for branch in ("main", "dev"))
    assert [item.current for item in on_main] == [False, True]
    assert [item.current for item in on_dev] == [True, False]
    assert on_main[0].published is None


def test_history_of_nothing_says_what_there_is(store: Store) -> None:
    with pytest.raises(NotStoredError) as refused:
        history(store, CLEANED, "2024-09")
    assert str(refused.value) == (
        f"{store} has no record of {CLEANED}[2024-09]; it has 2 batches of it, {FIRST} to {LAST}."
    )
    with pytest.raises(NotStoredError, match=r"branch main shows nothing of 'trade/cleand'; near is: trade/cleaned"):
        history(store, "trade/cleand")


# --- two runs, two models --------------------------------------------------------------------------------------------


def test_two_runs_differ_in_settings_code_environment_and_metrics(store: Store) -> None:
    clean(store, FIRST, code="clean-2", run="run-clean-2")
    release(store, LAST, metric=0.75, seed=8, run="run-release-2")
    found = diff(store, compared(store, "run:run-release-1"), compared(store, "run:run-release-2"))
    of = {asset.asset: asset for asset in found.assets}
    assert set(of) == {CLEANED, MODEL, REPORT}
    assert of[CLEANED].changed[0].because == ("code",)
    model = of[MODEL].changed[0]
    assert model.because == ("settings", "seed", "inputs")
    assert [(item.path, item.before, item.after) for item in model.settings] == [("trees", 7, 8)]
    moved = of[REPORT].changed[0].metrics
    assert [(item.of, item.metric, round(item.by, 6)) for item in moved] == [
        ("", "auc", 0.05),
        ("models[name=trees]", "auc", 0.05),
    ]


def test_two_releases_meet_though_their_batches_differ(store: Store) -> None:
    release(store, FIRST, metric=0.6)
    before, after = f"{REPORT}[{FIRST}]", f"{REPORT}[{LAST}]"
    found = diff(store, compared(store, before), compared(store, after))
    of = {asset.asset: asset for asset in found.assets}
    assert [change.batch for change in of[REPORT].changed] == [f"{FIRST} -> {LAST}"]
    assert [round(item.by, 6) for item in of[REPORT].changed[0].metrics] == [0.1, 0.1]
    assert set(of[CLEANED].added) == {LAST}
    heads = [shown(store, REPORT, batch) for batch in MONTHS]
    plain = diff(store, *(compared(store, head.version) for head in heads))
    assert [asset.asset for asset in plain.assets] == [REPORT]
    assert plain.to_dict()["assets"][0]["changed"][0]["metrics"][0]["metric"] == "auc"


def test_a_fitted_model_brings_its_report_along(store: Store) -> None:
    from sklearn.dummy import DummyClassifier

    for seed, run in ((1, "run-a"), (2, "run-b")):
        model = DummyClassifier(strategy="constant", constant=seed).fit([[0], [1]], [1, 2])
        inputs = (source(store, CLEANED, FIRST),)
        head = store.commit("main", "trade/fitted", LAST, "estimator", model, inputs=inputs, seed=seed, run_id=run)
        of = (Input("trade/fitted", LAST, head.version, head.manifest),)
        store.commit("main", "trade/judged", LAST, "json", {"metrics": {"auc": seed / 4}}, inputs=of, run_id=run)
    versions = [item.version.version for item in history(store, "trade/fitted").versions]
    found = diff(store, *(compared(store, str(version)) for version in reversed(versions)))
    of_asset = {asset.asset: asset.changed[0] for asset in found.assets}
    assert set(of_asset) == {"trade/fitted", "trade/judged"}
    assert [(item.metric, item.by) for item in of_asset["trade/judged"].metrics] == [("auc", 0.25)]


def test_references_are_compared_as_they_were(store: Store) -> None:
    assert compared(store, "v1").kind == "tag"
    assert compared(store, shown(store, REPORT).version).assets() == [REPORT]
    with pytest.raises(NotStoredError, match="near is: v1"):
        compared(store, "v12")
