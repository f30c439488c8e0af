"""What is out of date and why, from the store and the landing folder alone."""

import os
from pathlib import Path

import pytest

from mlops_assets.assets.plan import Plan
from mlops_assets.errors import RefusedError
from mlops_assets_tests.assets.shop import BATCH, DAYS, GATES, NEWEST, RELEASE, Shop, edited
from mlops_assets_tests.datasets import deliver_days, deliver_whole, write_contract


def standing(plan: Plan, stage: str, batch: str) -> tuple[str, str]:
    found = plan.standing(plan.graph.stages[stage], batch)
    return found.state, found.sentence


def test_what_was_never_made_is_stale_and_what_stands_on_it_blocked(tmp_path: Path) -> None:
    deliver_days(write_contract(tmp_path / "data", **GATES), range(2), rows=5)
    plan = Shop.in_folder(tmp_path).plan()
    assert plan.batches == list(DAYS[:2])
    assert standing(plan, "raw/visits", DAYS[0]) == ("stale", f"visits/raw/visits [{DAYS[0]}] was never made.")
    assert standing(plan, "raw/shops", "all") == ("stale", "visits/raw/shops was never made.")
    state, sentence = standing(plan, "splits", DAYS[0])
    assert state == "blocked"
    assert sentence.startswith(
        f"visits/splits [{DAYS[0]}] stands on visits/cleaned [{DAYS[0]}], of which no version was ever accepted."
    )
    state, sentence = standing(plan, "candidate_model", DAYS[1])
    assert state == "blocked"
    assert (
        f"visits/raw/visits [{DAYS[0]}] is not up to date: it was never made. Bring batch {DAYS[0]} up to date"
        in sentence
    )


def test_exact_inputs_come_from_the_heads(built: Shop) -> None:
    plan, heads = built.plan(), built.heads()
    found = plan.resolve(plan.graph.stages["cleaned"], DAYS[0])
    assert [(item.asset, item.partition, item.version) for item in found.inputs] == [
        ("visits/raw/visits", DAYS[0], heads["visits/raw/visits"][DAYS[0]]),
        ("visits/raw/shops", "all", heads["visits/raw/shops"]["all"]),
    ]
    assert found.key == plan.heads("cleaned")[DAYS[0]].recipe
    raw = plan.resolve(plan.graph.stages["raw/visits"], DAYS[0])
    assert [file.name for file in raw.files] == [f"landing/visits_{DAYS[0]}.csv"]


def test_where_files_lie_and_when_they_came_is_no_part_of_a_recipe(shop: Shop) -> None:
    before = shop.plan().resolve(shop.graph().stages["raw/visits"], DAYS[0]).recipe
    os.utime(shop.landing(DAYS[0]), (0, 0))
    assert shop.plan().resolve(shop.graph().stages["raw/visits"], DAYS[0]).recipe == before


def test_a_batch_that_nothing_was_delivered_for_has_nothing_to_stand_on(built: Shop) -> None:
    plan = built.plan()
    with pytest.raises(
        RefusedError, match=r"visits/raw/visits \[2024-01-07\]: nothing was delivered; .* matches no file"
    ):
        plan.resolve(plan.graph.stages["raw/visits"], "2024-01-07")


def test_roles_of_a_release(built: Shop) -> None:
    assert built.plan().release_roles(NEWEST) == {
        "train": list(DAYS[:2]),
        "validation": [DAYS[2]],
        "embargo": [],
        "test": [NEWEST],
    }
    with pytest.raises(RefusedError, match=f"Release {DAYS[0]} of visits has nothing to train on"):
        built.plan().release_roles(DAYS[0])


def test_a_release_waits_for_what_was_delivered(shop: Shop) -> None:
    edited(shop.landing(DAYS[1]), lambda lines: lines[:-1])
    (said,) = shop.plan().unready(NEWEST)
    assert said == (
        f"visits/raw/visits [{DAYS[1]}] is not up to date: it is not what its code, settings and inputs would make "
        f"now. Bring batch {DAYS[1]} up to date first."
    )
    assert shop.plan().unready(DAYS[0]) == []
    state, sentence = standing(shop.plan(), "candidate_model", NEWEST)
    assert (state, sentence) == ("blocked", said)


def test_a_release_of_the_only_batch_waits_for_it(tmp_path: Path) -> None:
    folder = write_contract(tmp_path / "data", cadence="none")
    deliver_whole(folder, rows=5)
    assert Shop.in_folder(tmp_path).plan().unready("all") == [
        "visits/raw/visits is not up to date: it was never made. Bring it up to date first."
    ]


def test_what_stands_on_a_last_good_version_says_so_at_any_distance(shop: Shop) -> None:
    edited(shop.landing(DAYS[1]), lambda lines: [line.replace(",", ";") for line in lines])
    shop.run(batches=(DAYS[1],))
    plan = shop.plan()
    version = shop.heads()["visits/raw/visits"][DAYS[1]]
    for stage in ("quarantine", "features", "trained_model"):
        (note,) = plan.notes(plan.graph.stages[stage], NEWEST if stage in RELEASE else DAYS[1])
        assert note.startswith(
            f"Stands on the last good version {version[:15]} of visits/raw/visits [{DAYS[1]}]; a newer one was "
            "refused: "
        )
    assert plan.notes(plan.graph.stages["features"], DAYS[0]) == []
    assert plan.unready(NEWEST) == []  # the last good version is there


def test_a_plan_reads_the_heads_once_until_it_is_told_to_forget(shop: Shop) -> None:
    plan = shop.plan()
    assert standing(plan, "raw/visits", DAYS[0])[0] == "current"
    edited(shop.landing(DAYS[0]), lambda lines: lines[:-1])
    deliver_days(shop.folder, [4], rows=5)
    assert standing(plan, "raw/visits", DAYS[0])[0] == "current"
    plan.forget()
    assert standing(plan, "raw/visits", DAYS[0])[0] == "stale"
    assert plan.batches == [*DAYS, "2024-01-05"]


def test_a_batch_that_was_published_stays_a_batch(shop: Shop) -> None:
    shop.landing(DAYS[0]).unlink()
    plan = shop.plan()
    assert plan.batches == list(DAYS)
    assert {standing(plan, stage, DAYS[0])[0] for stage in BATCH} == {"current"}


def test_code_versions_are_those_that_dagster_is_told(built: Shop) -> None:
    from mlops_assets.assets.specs import Specs

    plan = built.plan()
    specs = Specs(plan.graph)
    for stage in plan.graph.stages.values():
        assert specs.code_version(stage) == plan.code_version(stage)
