"""Drafts load, run, repeat no rule, and are met by what they were drafted from."""

import json
import random
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_assets.checks.expectations import audit
from mlops_assets.checks.registry import refuse_doubles, registry
from mlops_assets.contract.load import load_contract
from mlops_assets.contract.model import Contract
from mlops_assets.errors import UserError
from mlops_assets.profiling import suite
from mlops_assets.profiling.contract import draft
from mlops_assets.stages.made import Made
from mlops_assets_tests.assets.shop import Shop
from mlops_assets_tests.datasets import deliver_days, deliver_whole, write_contract


def folder_of(tmp_path: Path, name: str, **files: str) -> Path:
    folder = tmp_path / "data" / name
    (folder / "landing").mkdir(parents=True)
    for file, text in files.items():
        (folder / "landing" / file.replace("__", ".")).write_text(text)
    return folder


def rents(days: int = 130) -> str:
    """Hours of rents: no key but the first column, dates as D-M-Y, and two columns that add up to the last."""
    chance, lines = random.Random(1), ["instant,dteday,hr,holiday,temp,casual,registered,cnt"]
    for number in range(days * 4):
        day = date(2011, 1, 1) + timedelta(days=number // 4)
        one, other = chance.randint(0, 90), chance.randint(1, 300)
        lines.append(
            f"{number + 1},{day:%d-%m-%Y},{number % 4 * 6},{number % 2},{one / 100},{one},{other},{one + other}"
        )
    return "\n".join(lines) + "\n"


def clients(rows: int = 400) -> str:
    """Clients in a German spreadsheet: semicolons, quotes, decimal commas, a blank for no value, dots in names."""
    chance, lines = random.Random(2), ['"id";"e.mail";"job";"default";"rate";"paid";"conversion"']
    for number in range(rows):
        rate = "" if number % 40 == 0 else f"{chance.uniform(0, 5):.2f}".replace(".", ",")
        yes = "yes" if chance.random() < 0.3 else "no"
        before = {"yes": "no", "no": "yes"}[yes] if number % 4 == 0 else yes
        job = chance.choice(["admin.", "blue-collar", "no"])
        paid = " " if number == 3 else number
        lines.append(f'"c{number:04}";"m{number}@example.org";"{job}";"{before}";{rate};{paid};"{yes}"')
    return "\n".join(lines) + "\n"


def drafted(folder: Path) -> Contract:
    (folder / "dataset.yaml").write_text(draft(folder))
    return load_contract(folder)


def test_a_contract_by_time_from_one_file(tmp_path: Path) -> None:
    found = drafted(folder_of(tmp_path, "rents", hour__csv=rents()))
    source = found.sources["hour"]
    assert (found.partitions.cadence, found.partitions.start) == ("monthly", "2011-01")
    assert source.event_time is not None
    assert (source.key, source.event_time.columns, source.files) == (("instant",), ("dteday",), "landing/hour.csv")
    assert source.columns["dteday"].format == "%d-%m-%Y"
    assert source.columns["holiday"].values == (0, 1)
    assert source.columns["casual"].roles == source.columns["registered"].roles == frozenset({"excluded"})
    assert (found.target.expression, found.target.task, found.split.by) == ("cnt", "regression", "time")
    assert {feature.name for feature in found.features} == {"hr", "holiday", "temp"}


def test_a_contract_of_clients(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "clients", **{"Clients-2__csv": clients()})
    found = drafted(folder)
    source = found.sources["clients_2"]
    assert (source.format.delimiter, source.format.decimal) == (";", ",")
    assert (source.key, source.columns["id"].pattern) == (("id",), "[a-z][0-9]{4}")
    assert source.columns["e.mail"].roles == frozenset({"sensitive"})
    assert source.columns["job"].values == ("admin.", "blue-collar", "no")
    assert source.columns["rate"].type == "float64"
    assert source.columns["paid"].missing == (" ",)
    assert (found.target.name, found.target.positive, found.target.task) == ("conversion", "yes", "binary")
    assert (found.partitions.cadence, found.split.by) == ("none", "hash")
    text = (folder / "dataset.yaml").read_text()
    assert "# fair: 10 rows without a value" in text
    assert "# fair: 1 row without a value" in text
    assert "sensitive by its name" in text


def test_batches_by_the_names_of_files_with_references_beside_them(tmp_path: Path) -> None:
    dataset = write_contract(tmp_path)
    deliver_days(dataset, range(3), rows=40)
    (dataset / "dataset.yaml").unlink()
    (dataset / "landing" / "notes.docx").write_bytes(b"PK")
    found = drafted(dataset)
    assert (found.partitions.cadence, found.partitions.start) == ("daily", "2024-01-01")
    assert list(found.sources) == ["visits", "shops"]
    assert (found.sources["visits"].files, found.spine) == ("landing/visits_{batch}.csv", "visits")
    assert found.sources["visits"].key == ("visit",)
    assert found.sources["shops"].kind == "reference"
    assert "# joins: [{source: shops, on: [shop], columns: [size]}]" in (dataset / "dataset.yaml").read_text()


def test_a_key_of_several_columns_and_none_at_all(tmp_path: Path) -> None:
    rows = [f"{day},{shop},{day % 3}.5,{(day + shop) % 2}" for day in range(60) for shop in range(3)]
    found = drafted(folder_of(tmp_path, "sales", sales__csv="\n".join(["day,shop,price,good", *rows, rows[0]]) + "\n"))
    assert found.sources["sales"].key == ("day", "shop"), "an exact duplicate tells nothing about a key"
    rows += [row.replace(".5,", ".75,") for row in rows[:9]]
    folder = folder_of(tmp_path, "torn", torn__csv="\n".join(["day,shop,price,good", *rows]) + "\n")
    assert drafted(folder).sources["torn"].key == ("day", "shop")
    assert (
        "# a guess: 18 rows that differ share theirs and would be quarantined" in (folder / "dataset.yaml").read_text()
    )


def test_parquet_and_a_folder_without_landing(tmp_path: Path) -> None:
    folder = tmp_path / "sales"
    folder.mkdir()
    table = {
        "id": list(range(120)),
        "price": [float(n % 7) for n in range(120)],
        "good": [n % 2 == 0 for n in range(120)],
    }
    pq.write_table(pa.table(table), folder / "sales.parquet")
    found = drafted(folder)
    assert (found.sources["sales"].format.kind, found.sources["sales"].files) == ("parquet", "sales.parquet")
    assert {name: column.type for name, column in found.sources["sales"].columns.items()} == {
        "id": "int64",
        "price": "float64",
        "good": "boolean",
    }
    assert found.target.expression == "good"


def test_what_cannot_be_drafted_is_a_sentence(tmp_path: Path) -> None:
    empty = folder_of(tmp_path, "empty")
    with pytest.raises(UserError, match=r"landing holds no CSV and no Parquet file that could be looked at\.$"):
        draft(empty)
    alone = folder_of(tmp_path, "alone", names__csv="name\nann\nbob\n")
    with pytest.raises(UserError, match=r"names.csv: no column could be what is predicted"):
        draft(alone)
    twice = folder_of(tmp_path, "twice", **{"a-b__csv": "x\n1\n", "a_b__csv": "x\n1\n"})
    with pytest.raises(UserError, match=r"one source by two patterns \(a_b\)"):
        draft(twice)


def met(contract: Contract, drafts: list[dict[str, Any]]) -> list[str]:
    """Sentences of those drafted expectations that some delivered batch does not meet."""
    (contract.folder / "expectations.json").write_text(suite.written(drafts))
    found = load_contract(contract.folder)
    refuse_doubles(registry(replace(found)))
    assert len(found.expectations) == len(drafts) > 0
    return [
        verdict.sentence
        for source in found.sources.values()
        if found.expectations_of(source.name)
        for table in suite.delivered(found, source)
        for verdict in audit(found, source.name, Made(table))
        if not verdict.passed
    ]


def test_a_suite_is_met_by_what_it_was_drafted_from_and_repeats_no_rule(tmp_path: Path) -> None:
    dataset = write_contract(tmp_path)
    deliver_days(dataset, range(6))
    drafts = suite.draft(load_contract(dataset))
    kinds = {(each["type"].removeprefix("expect_"), each["kwargs"].get("column")) for each in drafts}
    assert ("column_values_to_be_between", "minutes") not in kinds, "the contract has both ends"
    assert ("column_values_to_be_between", "pages") in kinds
    assert ("column_values_to_be_in_set", "shop") not in kinds
    assert {("table_row_count_to_be_between", None), ("column_mean_to_be_between", "paid")} <= kinds
    between = next(each for each in drafts if each["type"] == "expect_column_values_to_be_between")
    assert between["kwargs"].keys() == {"column", "max_value"}, "the contract has the minimum"
    (count,) = [each for each in drafts if "row_count" in each["type"]]
    assert count["meta"] == {"drafted": "sure: 60 to 60 rows in 6 batches"}
    assert count["severity"] == "warning"
    assert met(load_contract(dataset), drafts) == []


def test_a_suite_of_one_batch_is_a_guess(tmp_path: Path) -> None:
    dataset = write_contract(tmp_path, cadence="none")
    deliver_whole(dataset)
    drafts = suite.draft(load_contract(dataset), ["visits"])
    (count,) = [each for each in drafts if "row_count" in each["type"]]
    assert (count["severity"], count["kwargs"]) == ("info", {"min_value": 100, "max_value": 600})
    assert met(load_contract(dataset), drafts) == []


def test_a_suite_by_event_time_and_of_a_sensitive_column(tmp_path: Path) -> None:
    rented = drafted(folder_of(tmp_path, "rents", hour__csv=rents()))
    drafts = suite.draft(rented)
    assert met(rented, drafts) == []
    assert "in 5 batches" in json.dumps(drafts)
    named = drafted(folder_of(tmp_path, "clients", clients__csv=clients()))
    drafts = suite.draft(named)
    assert "e.mail" not in json.dumps(drafts)
    assert met(named, drafts) == []


def test_a_suite_names_the_source_unless_it_is_the_spine(tmp_path: Path) -> None:
    dataset = write_contract(tmp_path)
    deliver_days(dataset, range(2))
    drafts = suite.draft(load_contract(dataset), ["shops"])
    assert {each["meta"]["source"] for each in drafts} == {"shops"}
    assert met(load_contract(dataset), drafts) == []
    (dataset / "landing" / "shops.csv").unlink()
    with pytest.raises(UserError, match=r"Nothing was delivered for shops: .*landing/shops.csv matches no file"):
        suite.draft(load_contract(dataset), ["shops"])


def test_what_is_drafted_runs(tmp_path: Path) -> None:
    shop = Shop.at(tmp_path / "home", tmp_path / "data")
    shop = replace(shop, name="clients")
    contract = drafted(folder_of(tmp_path, "clients", clients__csv=clients()))
    (shop.folder / "expectations.json").write_text(suite.written(suite.draft(contract)))
    summary = shop.run()
    assert not summary.failed, [outcome.sentences for outcome in summary.outcomes if outcome.failed]
    names = {verdict["check"] for verdict in shop.manifest("raw/clients", "all").verdicts}
    assert "expect_table_row_count_to_be_between" in names
