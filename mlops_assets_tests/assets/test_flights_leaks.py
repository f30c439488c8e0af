"""Leaks planted in the dataset that comes with the project: each is refused, and the honest month passes."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from mlops_assets.checks.verdict import Verdict
from mlops_assets_tests.assets.shop import Shop
from mlops_assets_tests.doors import home_at

FOLDER = Path(__file__).parents[2] / "data" / "flights"
MONTH = "2013-01"
BATCH = ("raw/flights", "raw/weather", "raw/planes", "quarantine", "cleaned", "splits", "features")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The flights of a month, delivered and not worked on. To be read only."""
    folder = tmp_path_factory.mktemp("made")
    landing = shutil.ignore_patterns("landing", "__pycache__")
    shutil.copytree(FOLDER, folder / "data" / "flights", ignore=landing)
    spec = importlib.util.spec_from_file_location("flights_supplier", FOLDER / "supplier.py")
    assert spec is not None
    assert spec.loader is not None
    supplier = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(supplier)
    supplier.deliver(folder / "data" / "flights" / "landing", MONTH)
    return Shop(home_at(folder / "home", folder / "data", "main"), "flights")


@pytest.fixture
def flights(made: Shop, tmp_path: Path) -> Shop:
    """A copy, to plant something in."""
    shutil.copytree(made.home.data, tmp_path / "data")
    return Shop(home_at(tmp_path / "home", tmp_path / "data", "main"), "flights")


def told(shop: Shop, stage: str = "features") -> dict[str, Verdict]:
    """The failed verdicts on a stage; nothing of what stands on a refused one is published."""
    summary = shop.run(stages=BATCH, releases=())
    (found,) = [each for each in summary.outcomes if each.stage == stage]
    assert (MONTH in shop.heads().get(f"flights/{stage}", {})) == (found.status == "computed")
    return {verdict.check: verdict for verdict in found.verdicts if not verdict.passed}


def feature(shop: Shop, name: str, code: str = "") -> None:
    """One more feature, and its function."""
    shop.change("    - visib\n", f"    - visib\n    - {name}\n")
    with (shop.folder / "features.py").open("a") as file:
        file.write(code)


def test_an_honest_month_passes(flights: Shop) -> None:
    assert told(flights) == {}
    record = {each["check"]: each for each in flights.manifest("features", MONTH).verdicts}
    assert 0.6 < record["alone"]["details"]["strongest"] < 0.75
    joined = {each["check"]: each for each in flights.manifest("cleaned", MONTH).verdicts}["point_in_time"]
    assert (joined["n"], joined["failed"], joined["details"]["latest_seconds"]) == (27004, 0, 0.0)


def test_the_delay_at_departure(flights: Shop) -> None:
    flights.change(
        "maximum: 2880, role: excluded, description: minutes}\n      arr_time", "maximum: 2880}\n      arr_time"
    )
    feature(flights, "dep_delay")
    found = told(flights)["alone"]
    assert found.blocks
    assert found.details["strongest"] == pytest.approx(0.8905, abs=0.0001)
    assert found.sentence.startswith(
        "Too good to be true: alone, dep_delay (0.890) ranks the answers to late beyond the limit of 0.8 "
    )


def test_the_time_in_the_air_behind_the_contracts_back(flights: Shop) -> None:
    code = '\n\ndef pace(distance):\n    """Miles."""\n\n\npace = lambda distance, air_time: distance / air_time\n'
    feature(flights, "pace", code)
    found = told(flights)["known_before"]
    assert found.sentence.startswith(
        "pace changes in 26,398 of 27,004 rows without air_time, known only after the event: it is made from the "
    )


def test_an_average_over_the_month(flights: Shop) -> None:
    code = (
        '\n\ndef usual(carrier, distance):\n    """Miles."""\n    return distance.groupby(carrier).transform("mean")\n'
    )
    feature(flights, "usual", code)
    found = told(flights)["known_before"]
    assert (found.blocks, found.failed) == (True, 1)
    assert "without the later half of the batch: it is made from rows that were still to come." in found.sentence


def test_the_weather_of_an_hour_later(flights: Shop) -> None:
    model = flights.folder / "dbt" / "models" / "cleaned.sql"
    text = model.read_text()
    assert "flights.time_hour = weather.time_hour" in text
    later = "flights.time_hour + interval 1 hour = weather.time_hour"
    model.write_text(text.replace("flights.time_hour = weather.time_hour", later))
    found = told(flights, "cleaned")["point_in_time"]
    assert found.blocks
    assert found.sentence == (
        "26,982 of 27,004 rows have values of weather that were not known yet: observed is up to 3,600 s after "
        f"time_hour. Join what was known by time_hour ({model})."
    )


def test_an_outcome_in_the_clothes_of_the_weather(flights: Shop) -> None:
    model = flights.folder / "dbt" / "models" / "cleaned.sql"
    text = model.read_text()
    dressed = "weather.* exclude (origin, time_hour, visib), "
    dressed += "case when weather.visib is not null then flights.air_time end as visib,"
    model.write_text(text.replace("weather.* exclude (origin, time_hour),", dressed))
    found = told(flights)["known_before"]
    assert found.sentence.startswith("visib changes in ")
    assert " rows without visib, known only after the event: it is made from the outcome." in found.sentence
