"""Leaks that people plant, and drift: from files to verdicts, heads, and what Dagster keeps.

What belongs here: that a planted leak is refused with its sentence on the way from a file, what thresholds do to
versions, and what a batch is compared with. What does not: the numbers themselves (``checks``).
"""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mlops_assets.assets.dagster_private import latest_check
from mlops_assets.automation.releases import drifted
from mlops_assets.checks.verdict import Verdict
from mlops_assets.contract.load import load_contract
from mlops_assets.errors import ContractError
from mlops_assets_tests.assets.shop import BATCH, DAYS, FEATURES, HASTE, Shop, counts
from mlops_assets_tests.datasets import day_rows, write_contract, write_rows, write_sql

FIRST, SECOND, THIRD, FOURTH = DAYS
STAGES = ("raw/shops", *BATCH)
AS_OF = {
    "key: [shop]\n": "key: [shop, since]\n",
    "shop: {type: string, nullable: false}\n": "shop: {type: string, nullable: false}\n"
    '      since: {type: date, nullable: false, format: "%Y-%m-%d"}\n',
    "columns: [size], warn_below": "columns: {size: size, known: since}, as_of: {day: since}, warn_below",
}
SQL_AS_OF = {
    "select shop, {{": "select shop, since, {{",
    "    shops_known.size\n": "    shops_known.size,\n    shops_known.since as known\n",
    "left join": "asof left join",
    "on visits.shop = shops_known.shop": "on visits.shop = shops_known.shop and visits.day >= shops_known.since",
    "data_tests: [unique]": "data_tests: [not_null]",
}


def deliver(shop: Shop, *days: str, rows: int = 200, **replaced: str) -> None:
    (shop.folder / "landing" / "shops.csv").write_text("shop,size\nnorth,120\nsouth,80.5\nwest,240\n")
    for day in days:
        lines = day_rows(date.fromisoformat(day), rows)
        for old, new in replaced.items():
            lines = [line.replace(f",{old},", f",{new},") for line in lines]
        write_rows(shop.landing(day), lines)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Three days; a feature is computed. To be read only."""
    shop = Shop.in_folder(tmp_path_factory.mktemp("made"))
    (write_contract(shop.home.data, **HASTE) / "features.py").write_text(FEATURES)
    deliver(shop, FIRST, SECOND, THIRD)
    run(shop)
    assert set(shop.heads()["visits/features"]) == {FIRST, SECOND, THIRD}
    return shop


@pytest.fixture
def visits(made: Shop, tmp_path: Path) -> Shop:
    """A copy, to change at will."""
    return made.copy(tmp_path / "shop")


def run(shop: Shop) -> Any:
    return shop.run(stages=STAGES, releases=())


def say(shop: Shop, checks: str) -> None:
    """What the contract says under ``checks``."""
    kept = shop.contract.read_text().split("checks:")[0]
    shop.contract.write_text(f"{kept}checks: {checks}\n")


def verdicts(shop: Shop, batch: str, stage: str = "features") -> dict[str, Verdict]:
    return {record["check"]: Verdict(**record) for record in shop.manifest(stage, batch).verdicts}


def refusal(shop: Shop, stage: str = "features") -> str:
    """The sentences of the refused version of the third day."""
    summary = run(shop)
    assert stage in counts(summary)["refused"]
    (told,) = [each for each in summary.outcomes if (each.stage, each.batch) == (stage, THIRD)]
    return " ".join(told.sentences)


# ---- leaks


def test_a_feature_that_is_the_outcome_is_refused_and_the_good_version_stays(visits: Shop) -> None:
    before = visits.heads()["visits/features"]
    visits.change("paid: {type: float64, minimum: 0, role: excluded}", "paid: {type: float64, minimum: 0}\n      "
                  "tip: {type: float64, minimum: 0}")  # fmt: skip
    visits.change("size, haste]", "size, haste, tip]")
    for day in (FIRST, SECOND, THIRD):
        lines = visits.landing(day).read_text().splitlines()[1:]
        # a tip is given by who pays, and a little by who does not
        rows = [f"{line},{float(line.split(',')[-1]) / 10 + place % 3}" for place, line in enumerate(lines)]
        text = "visit,day,shop,minutes,pages,paid,tip\n"
        visits.landing(day).write_text(text + "".join(f"{row}\n" for row in rows))
    told = refusal(visits)
    assert f"visits/features [{THIRD}] was refused by the check alone: Too good to be true: alone, tip (0.9" in told
    assert f"raise alone under checks in {visits.contract}." in told
    assert visits.heads()["visits/features"] == before


def test_an_outcome_that_the_contract_can_see_never_gets_that_far(visits: Shop) -> None:
    code = visits.folder / "features.py"
    code.write_text(FEATURES.replace("def haste(minutes, pages)", "def haste(minutes, pages, paid)"))
    with pytest.raises(ContractError) as caught:
        visits.graph()
    assert str(caught.value) == (f"{code}:4: 'haste' uses 'paid', which is what the target 'bought' is made from.")


def test_an_outcome_that_the_contract_cannot_see_is_refused(visits: Shop) -> None:
    code = visits.folder / "features.py"
    code.write_text(f"{FEATURES}\n\nhaste = lambda minutes, paid: paid / (minutes + 1)\n")
    told = refusal(visits)
    line = next(n for n, text in enumerate(visits.contract.read_text().splitlines(), 1) if "haste" in text)
    bought = sum(float(row.split(",")[-1]) > 0 for row in visits.landing(THIRD).read_text().splitlines()[1:])
    assert bought > 50
    assert (
        f"visits/features [{THIRD}] was refused by the check known_before: haste changes in 200 of 200 rows without "
        f"paid, known only after the event: it is made from the outcome. Take that out of it; the outcomes of earlier "
        f"rows are for windows ({visits.contract}:{line})."
    ) in told


def test_an_average_over_the_batch_is_refused(visits: Shop) -> None:
    code = visits.folder / "features.py"
    code.write_text(FEATURES.replace("pages / (minutes + 1)", "pages / minutes.mean()"))
    told = refusal(visits)
    assert "known_before: haste changes in 94 of 100 rows without the later half of the batch: it is made " in told


def joined(tmp_path: Path, **sql: str) -> Shop:
    """Visits whose SQL joins the size that a shop had at the time; it grows every day."""
    shop = Shop.in_folder(tmp_path)
    folder = write_contract(shop.home.data, **AS_OF)
    write_sql(folder, **(SQL_AS_OF | sql))
    deliver(shop, FIRST, SECOND, THIRD, rows=40)
    sizes = [f"{name},{date(2023, 12, 31) + timedelta(days=day)},{100 + day}" for name in ("north", "south", "west")
             for day in range(9)]  # fmt: skip
    (folder / "landing" / "shops.csv").write_text("shop,since,size\n" + "".join(f"{line}\n" for line in sizes))
    return shop


@pytest.mark.slow
def test_sql_that_joins_what_was_known_by_then_passes_and_the_edit_that_joins_tomorrow_is_refused(
    tmp_path: Path,
) -> None:
    shop = joined(tmp_path)
    run(shop)
    found = verdicts(shop, THIRD, "cleaned")["point_in_time"]
    assert (found.passed, found.n, found.details["latest_seconds"]) == (True, 40, 0.0)
    before = shop.heads()["visits/cleaned"]
    model = shop.folder / "dbt" / "models" / "cleaned.sql"
    model.write_text(model.read_text().replace("visits.day >=", "visits.day + 1 >="))
    told = refusal(shop, "cleaned")
    assert told == (
        f"visits/cleaned [{THIRD}] was refused by the check point_in_time: 40 of 40 rows have values of shops that "
        f"were not known yet: known is up to 86,400 s after day. Join what was known by day ({model})."
    )
    assert shop.heads()["visits/cleaned"] == before


def test_sql_cannot_keep_the_time_to_itself(tmp_path: Path) -> None:
    kept = {"columns: [size], warn_below": "columns: [size], as_of: {day: since}, warn_below"}
    folder = write_contract(tmp_path, **(AS_OF | kept))
    load_contract(folder)
    write_sql(folder)
    line = next(n for n, text in enumerate((folder / "dataset.yaml").read_text().splitlines(), 1) if "as_of" in text)
    with pytest.raises(ContractError) as caught:
        load_contract(folder)
    assert str(caught.value) == (
        f"{folder / 'dataset.yaml'}:{line}: the join of 'shops' goes by the time 'since', and SQL does it; bring the "
        f"time too, so that no row can get what was known only later: columns: {{shops_since: since, ...}}."
    )


# ---- thresholds


def test_another_threshold_judges_again_what_is_not_made_again(visits: Shop) -> None:
    before = visits.manifest("features", THIRD)
    say(visits, "{alone: 0.6}")
    assert visits.stale() & set(STAGES) == {"features"}
    summary = run(visits)
    assert {outcome.status for outcome in summary.outcomes} == {"refused"}  # longer visits do buy more often
    assert visits.manifest("features", THIRD).id == before.id
    say(visits, "{alone: 0.9, unseen: 0.2, seasonal: [size]}")
    assert counts(run(visits)) == {"audited": {"features"}}
    after = visits.manifest("features", THIRD)
    assert (after.version, after.recipe) == (before.version, before.recipe)
    assert after.rules != before.rules
    assert verdicts(visits, THIRD)["alone"].threshold == 0.9


def test_a_threshold_of_another_stage_judges_nothing_again(visits: Shop) -> None:
    say(visits, "{twins: 0.5}")
    assert visits.stale() & set(STAGES) == set()


# ---- drift


def test_a_batch_is_compared_with_the_one_before(visits: Shop) -> None:
    assert verdicts(visits, FIRST)["drift"].sentence == "There is no batch before to compare with."
    heads = visits.heads()["visits/features"]
    for day, before in ((SECOND, FIRST), (THIRD, SECOND)):
        found = verdicts(visits, day)["drift"]
        assert found.passed
        assert found.details["reference"] == f"visits/features [{before}]"
        assert found.details["versions"] == {f"visits/features [{before}]": heads[before]}
        assert {row["feature"] for row in found.details["features"]} == {"minutes", "pages", "size", "haste", "shop"}
        assert 0 < found.details["largest_psi"] < 0.6  # 200 rows; chance alone


def test_drift_missing_values_and_new_categories_warn(visits: Shop) -> None:
    visits.change("[north, south, west]", "[north, south, west, east]")
    deliver(visits, FOURTH, south="east")
    lines = visits.landing(FOURTH).read_text().splitlines()[1:]
    rows = [line.split(",") for line in lines]
    for place, row in enumerate(rows):
        row[3] = "" if place % 3 == 0 else row[3]  # minutes
        row[4] = str(int(row[4]) + 20)  # pages
    write_rows(visits.landing(FOURTH), [",".join(row) for row in rows])
    run(visits)
    found = verdicts(visits, FOURTH)
    assert {name for name, verdict in found.items() if not verdict.passed} == {"drift", "missing", "unseen"}
    assert "pages (" in found["drift"].sentence
    assert "minutes in 33.5% of the rows (0.0%)" in found["missing"].sentence
    assert "shop in " in found["unseen"].sentence
    assert "east" not in str(visits.manifest("features", FOURTH).verdicts)  # values live where they can be erased


def test_a_named_batch_and_a_tag_are_references(visits: Shop) -> None:
    say(visits, f"{{reference: {FIRST}}}")
    run(visits)
    heads = visits.heads()["visits/features"]
    assert verdicts(visits, FIRST)["drift"].sentence == "This batch is the reference that others are compared with."
    assert verdicts(visits, THIRD)["drift"].details["versions"] == {f"visits/features [{FIRST}]": heads[FIRST]}
    assert visits.called("tag", "spring", "visits", "-m", "spring").code == 0
    say(visits, "{reference: 'tag:spring'}")
    run(visits)
    found = verdicts(visits, THIRD)["drift"]
    assert found.details["reference"] == "the tag spring"
    assert found.details["versions"] == {f"visits/features [{day}]": heads[day] for day in (FIRST, SECOND, THIRD)}


@pytest.mark.parametrize(
    ("named", "told"),
    [
        (
            "2024-02-01",
            "No version of visits/features [2024-02-01] was ever accepted.",
        ),
        ("'tag:spring'", "There is no tag 'spring' in "),
    ],
)
def test_a_reference_that_is_not_there_is_told(visits: Shop, named: str, told: str) -> None:
    say(visits, f"{{reference: {named}}}")
    run(visits)
    found = verdicts(visits, THIRD)
    assert {name for name, verdict in found.items() if not verdict.passed} == {"drift"}
    assert found["drift"].sentence.startswith(f"There is nothing to compare with. {told}")
    assert f"{visits.contract}:" in found["drift"].sentence


def test_an_erased_reference_stops_nobody(visits: Shop) -> None:
    assert visits.called("tag", "old", "visits", "-m", "old").code == 0
    key = visits.landing(FIRST).read_text().splitlines()[1].split(",")[0]
    erased = visits.called("purge", "visits", "--where", f"visit={key}", "--basis", "request 7", "--yes")
    assert erased.code == 0, erased.text
    say(visits, "{reference: 'tag:old'}")
    deliver(visits, FOURTH)
    visits.run(batches=[FOURTH], stages=STAGES, releases=())
    found = verdicts(visits, FOURTH)
    assert {name for name, verdict in found.items() if not verdict.passed} == {"drift"}
    assert found["drift"].sentence.startswith("There is nothing to compare with. ")
    assert "was purged on" in found["drift"].sentence


def test_a_release_is_asked_for_on_drift(visits: Shop) -> None:
    with visits.contract.open("a") as file:
        file.write("automation: {releases: {when: drift, checks: [features/drift]}}\n")
    assert list(drifted(visits.plan())) == []
    deliver(visits, FOURTH)
    rows = [line.split(",") for line in visits.landing(FOURTH).read_text().splitlines()[1:]]
    write_rows(visits.landing(FOURTH), [",".join([*row[:4], str(int(row[4]) + 200), row[5]]) for row in rows])
    run(visits)
    assert list(drifted(visits.plan())) == [
        f"drift failed on features [{FOURTH}], which the newest release has not seen."
    ]


def test_dagster_keeps_the_numbers_of_every_check(tmp_path: Path) -> None:
    shop = Shop.in_folder(tmp_path)
    (write_contract(shop.home.data, **HASTE) / "features.py").write_text(FEATURES)
    deliver(shop, FIRST, SECOND)
    assert shop.materialize(["raw/shops"]).success
    for day in (FIRST, SECOND):
        assert shop.materialize(BATCH, day).success
    found = verdicts(shop, SECOND)
    with shop.instance() as instance:
        for check in ("alone", "known_before", "drift", "missing", "unseen"):
            numbers = {name: value for name, value in found[check].details.items() if type(value) in (int, float)}
            assert numbers, check
            record = latest_check(instance, dg.AssetCheckKey(dg.AssetKey(["visits", "features"]), check), SECOND)
            assert record is not None
            assert record.event is not None
            assert record.event.dagster_event is not None
            evaluation = record.event.dagster_event.asset_check_evaluation_data
            kept = evaluation.metadata
            for name, number in numbers.items():
                kind = dg.IntMetadataValue if isinstance(number, int) else dg.FloatMetadataValue
                assert kept[name] == kind(number), (check, name)
            assert isinstance(kept["threshold"], dg.FloatMetadataValue)
            if check in ("alone", "drift"):
                assert str(kept["features"].value).startswith("| feature |")
