"""How everything stands, and why: what ``status`` and ``why-stale`` print."""

import json
from pathlib import Path

import pytest

from mlops_assets_tests.assets.shop import BATCH, DAYS, NEWEST, RELEASE, Shop, edited
from mlops_assets_tests.datasets import deliver_days, deliver_named, write_contract


def broken(lines: list[str]) -> list[str]:
    return [line.replace(",", ";") for line in lines]


def shorter(lines: list[str]) -> list[str]:
    return lines[:-1]


# status


def test_of_what_is_current_only_the_counts_are_said(built: Shop) -> None:
    done = built.called("status", "visits")
    assert done.code == 0
    lines = done.text.splitlines()
    assert lines[0] == "visits on branch main"
    assert {line.split()[0]: line.split()[1:] for line in lines[1:]} == {
        "raw/shops": ["1", "current"],
        **{stage: ["4", "current"] for stage in BATCH},
        **{stage: ["1", "current"] for stage in RELEASE},
    }


def test_what_is_stale_refused_waiting_or_strange_and_why(shop: Shop) -> None:
    edited(shop.landing(DAYS[1]), broken)
    assert shop.called("run").code == 1
    edited(shop.landing(DAYS[2]), shorter)
    (shop.folder / "landing" / "visits_2024-01-99.csv").write_text("")
    code = shop.folder / "features.py"
    code.write_text(code.read_text().replace("minutes + 1", "minutes + 2"))
    done = shop.called("status")
    assert done.code == 1
    assert "  raw/visits           2 current, 1 stale, 1 refused\n" in done.text
    assert "  features             4 stale\n" in done.text
    stale, refused, waits, strange = (
        done.text.partition(f"\n{title}\n")[2].splitlines() for title in ("Stale", "Refused", "Waits", "Not taken in")
    )
    assert stale[0].startswith(f"  - raw/visits [{DAYS[2]}]: landing/visits_{DAYS[2]}.csv holds other bytes: sha256 ")
    assert stale[1].startswith(f"  - features, 4 batches ({DAYS[0]}..{NEWEST}): Its code changed: ")
    assert refused[0].startswith(f"  - visits/raw/visits [{DAYS[1]}] was refused by the check readable: ")
    assert waits[0] == f"  - quarantine, cleaned, splits [{DAYS[2]}] for visits/raw/visits"
    assert waits[1] == (
        f"  - {', '.join(RELEASE)} [{NEWEST}] for 3 batches of visits/features ({DAYS[0]}..{DAYS[1]}, {NEWEST}), "
        f"visits/raw/visits [{DAYS[2]}]"
    )
    assert strange[0].startswith(
        "  - landing/visits_2024-01-99.csv is not taken in: '2024-01-99' does not exist in the"
    )
    assert strange[1:] == ["Next: mlops-assets run visits | mlops-assets why-stale visits"]


def test_before_anything_was_delivered_it_says_where_to_begin(tmp_path: Path) -> None:
    folder = write_contract(tmp_path / "data", **{"owners: [team:shop]": "supplier: supplier.py"})
    (folder / "supplier.py").write_text("def deliver(landing, through):\n    return []\n")
    done = Shop.in_folder(tmp_path).called("status")
    assert done.code == 1
    assert done.text.splitlines() == [
        "visits on branch main: nothing was delivered yet.",
        f"  Put files into {folder}, or play the supplier: mlops-assets deliver visits",
        "    landing/visits_{batch}.csv",
        "    landing/shops.csv",
        "  Then: mlops-assets run visits",
    ]


def test_before_anything_was_made_it_is_short(tmp_path: Path) -> None:
    deliver_days(write_contract(tmp_path / "data"), range(50), rows=1)
    done = Shop.in_folder(tmp_path).called("status")
    assert done.code == 1
    days = "50 batches (2024-01-01..2024-02-19)"
    assert done.text.partition("\nStale\n")[2].splitlines() == [
        f"  - raw/visits, {days}: It was never made.",
        "  - raw/shops: It was never made.",
        "Waits",
        f"  - quarantine, {days} for visits/raw/visits of the same batch",
        f"  - cleaned, splits, features, {days} for visits/raw/visits of the same batch, visits/raw/shops",
        f"  - {', '.join(RELEASE)} [2024-02-19] for 50 batches of visits/raw/visits (2024-01-01..2024-02-19)",
        "Next: mlops-assets run visits | mlops-assets why-stale visits",
    ]


def test_what_lacks_a_delivery_is_named(tmp_path: Path) -> None:
    folder = write_contract(tmp_path / "data")
    deliver_days(folder, range(1), rows=5)
    (folder / "landing" / "shops.csv").unlink()
    text = Shop.in_folder(tmp_path).called("status").text
    (line,) = text.partition("\nCannot be made\n")[2].partition("\nWaits\n")[0].splitlines()
    assert line.startswith("  - visits/raw/shops: nothing was delivered; ")
    assert line.endswith("landing/shops.csv matches no file.")


def test_many_changed_files_are_counted_and_a_few_named(shop: Shop) -> None:
    for day in DAYS:
        edited(shop.landing(day), shorter)
    lines = shop.called("status").text.partition("\nStale\n")[2].splitlines()
    assert lines[0] == f"  - raw/visits, 4 batches ({DAYS[0]}..{NEWEST}), each for a reason of its own"
    for line, day in zip(lines[1:4], DAYS, strict=False):
        assert line.startswith(f"    [{day}] landing/visits_{day}.csv holds other bytes: sha256 ")
    assert lines[4] == "    and 1 more: mlops-assets why-stale visits/raw/visits"


def test_named_batches_make_no_ranges(tmp_path: Path) -> None:
    deliver_named(write_contract(tmp_path / "data", cadence="named"), ["amber", "beryl"], rows=5)
    text = Shop.in_folder(tmp_path).called("status").text
    assert "  - raw/visits, 2 batches (amber, beryl): It was never made.\n" in text


def test_status_for_programs(shop: Shop) -> None:
    edited(shop.landing(DAYS[2]), shorter)
    done = shop.called("status", "visits", "--json")
    assert done.code == 1
    (found,) = json.loads(done.text)["datasets"]
    assert found["stages"]["raw/visits"] == {"current": 3, "stale": 1}
    raw, batches, release = found["groups"]
    (reason,) = raw["reasons"]
    assert (reason["kind"], reason["name"]) == ("file", f"landing/visits_{DAYS[2]}.csv")
    assert len(reason["from"]) == len(reason["to"]) == 64
    assert batches["ranges"] == [[DAYS[2], DAYS[2]]]
    assert release["above"] == [{"asset": "visits/raw/visits", "state": "stale", "ranges": [[DAYS[2], DAYS[2]]]}]
    assert found["not_looked_at"] == 0


def test_what_is_current_for_programs(built: Shop) -> None:
    done = built.called("status", "--json")
    assert done.code == 0
    (found,) = json.loads(done.text)["datasets"]
    assert found["current"]
    assert found["groups"] == []


@pytest.mark.parametrize("words", [("status",), ("why-stale", "visits")])
def test_a_store_of_a_newer_format_is_refused_with_a_sentence(tmp_path: Path, words: tuple[str, ...]) -> None:
    write_contract(tmp_path / "data")
    shop = Shop.in_folder(tmp_path)
    shop.plan()
    (Path(shop.home.store) / "FORMAT").write_text("3\n")
    done = shop.called(*words)
    assert done.code == 1
    assert "has format 3, and this mlops_assets reads up to 2; install the newer mlops_assets" in done.text


# why-stale


def test_every_reason_of_a_dataset_exactly(shop: Shop) -> None:
    shop.change("max_iter: 5", "max_iter: 6")
    shop.change("minimum: {roc_auc: 0.5}", "minimum: {roc_auc: 0.51}")
    done = shop.called("why-stale", "visits")
    assert done.code == 0
    setting = "  - Its setting models[name=boosted_trees].settings.max_iter changed: 5 -> 6."
    report, model = shop.manifest("evaluation_report", NEWEST), f"[{NEWEST}]"
    lines = done.text.splitlines()
    assert lines[:2] == [f"candidate_model {model}: stale", setting]
    assert lines[2] == f"evaluation_report {model}: stale"
    assert lines[3].startswith(f"  - What its checks ask changed ({report.rules[:12]} -> ")
    above = f"  - It stands on visits/candidate_model {model}, which is stale."
    assert lines[4:] == [above, f"trained_model {model}: stale", setting, above]


def test_one_partition_or_asset(shop: Shop) -> None:
    edited(shop.landing(DAYS[1]), broken)
    shop.run(batches=(DAYS[1],))
    edited(shop.landing(DAYS[2]), shorter)
    version = shop.heads()["visits/raw/visits"][DAYS[1]]
    done = shop.called(
        "why-stale", f"visits/splits@{DAYS[1]}", f"visits/splits[{DAYS[2]}]", "visits/splits", "visits/raw/shops"
    )
    assert done.code == 0
    root = f"  - It stands on visits/raw/visits [{DAYS[2]}], which is stale."
    lines = done.text.splitlines()
    assert lines[0] == f"visits/splits [{DAYS[1]}] is current."
    assert lines[1].startswith(
        f"  - Note: Stands on the last good version {version[:15]} of visits/raw/visits [{DAYS[1]}]; a newer one was "
    )
    assert lines[2:] == [
        f"visits/splits [{DAYS[2]}] is waiting.",
        root,
        f"splits [{DAYS[2]}]: waiting",
        root,
        "visits/raw/shops is current.",
    ]


def test_what_is_all_current(built: Shop) -> None:
    done = built.called("why-stale", "visits", "visits/cleaned")
    assert done.text.splitlines() == ["visits: all of it is current.", "visits/cleaned: all of it is current."]


def test_why_stale_for_programs(shop: Shop) -> None:
    edited(shop.landing(DAYS[2]), shorter)
    done = shop.called("why-stale", f"visits/raw/visits@{DAYS[2]}", "visits/cleaned", "--json")
    raw, cleaned = json.loads(done.text)
    assert raw["asked"] == f"visits/raw/visits@{DAYS[2]}"
    (answer,) = raw["answers"]
    assert (answer["asset"], answer["partition"], answer["state"]) == ("visits/raw/visits", DAYS[2], "stale")
    assert answer["reasons"][0]["from"] == shop.manifest("raw/visits", DAYS[2]).files[0]["sha256"]
    (group,) = cleaned["answers"]
    assert (group["state"], group["stages"]) == ("waiting", ["cleaned"])


def test_what_was_not_looked_at_is_said(shop: Shop) -> None:
    for day in DAYS[:3]:
        edited(shop.landing(day), shorter)
    text = shop.called("why-stale", "visits/raw/visits", "--limit", "2").text
    assert text.count("holds other bytes") == 2
    assert text.splitlines()[-2:] == [f"raw/visits [{DAYS[2]}]: stale", "  - Why was not looked at."]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["visit"], "There is no dataset 'visit' in "),
        (["visits/model"], "visits has no stage 'model'; it has: raw/visits, raw/shops,"),
        (["visits@2024-01-01"], "'visits@2024-01-01' names a partition of no asset; write a dataset, an asset such as"),
        (["visits/cleaned@yesterday"], "'yesterday' is not a day"),
        (["visits/raw/shops@2024-01-01"], "visits/raw/shops has no partitions; leave [2024-01-01] away."),
        (["visits", "--limit", "0"], "--limit is the number of records to read at most: 1 or more."),
    ],
)
def test_what_cannot_be_asked(built: Shop, words: list[str], sentence: str) -> None:
    done = built.called("why-stale", *words)
    assert done.code == 1
    assert sentence in done.text
    assert "Traceback" not in done.text
