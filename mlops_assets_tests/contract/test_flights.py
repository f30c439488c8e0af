"""The dataset that comes with the project: its contract, its supplier, and what reading it costs."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mlops_assets.contract.load import load_contract

FOLDER = Path(__file__).parents[2] / "data" / "flights"


@pytest.fixture(scope="module")
def deliver() -> Callable[..., list[Path]]:
    spec = importlib.util.spec_from_file_location("flights_supplier", FOLDER / "supplier.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: Callable[..., list[Path]] = module.deliver
    return function


def test_only_what_is_known_before_departure_is_a_feature() -> None:
    contract = load_contract(FOLDER)
    used = {name for feature in contract.features for name in feature.uses}
    outcomes = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"}
    columns = contract.cleaned_columns()
    assert {name for name, column in columns.items() if "excluded" in column.roles} == outcomes
    assert not used & outcomes
    assert len(contract.features) == 21
    # how late a flight left is asked of others alone, and only whether it was more than 15 minutes: known 15 later
    assert {window.of for window in contract.windows.each} == {"dep_delay > 15 or dep_delay is null"}
    assert {window.known_after for window in contract.windows.each} == {(59 + 15 + 1) * 60.0}
    assert (contract.windows.time, contract.windows.look_back) == ("time_hour", 1)


def test_reading_a_contract_loads_nothing_heavy() -> None:
    code = (
        "import sys; from pathlib import Path; from mlops_assets.contract.load import load_contracts;"
        f"load_contracts(Path({str(FOLDER.parent)!r}));"
        "print(sorted({'pandas', 'pyarrow', 'dagster', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_deliver_through_a_month(tmp_path: Path, deliver: Callable[..., list[Path]]) -> None:
    landing = tmp_path / "landing"
    written = deliver(landing, "2013-02")
    assert [path.name for path in written] == [
        "airlines.csv",
        "airports.csv",
        "flights_2013-01.csv",
        "flights_2013-02.csv",
        "planes.csv",
        "weather_2013-01.csv",
        "weather_2013-02.csv",
    ]
    assert sorted(landing.iterdir()) == written
    january = (landing / "flights_2013-01.csv").read_bytes().splitlines()
    assert len(january) == 1 + 27004
    assert january[1] == b"2013,1,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z"
    assert {row.split(b",")[1] for row in january[1:]} == {b"1"}
    # Text like 10.357019999999999 is what was delivered, and stays.
    assert b"10.357019999999999" in (landing / "weather_2013-01.csv").read_bytes()

    assert deliver(landing, "2013-02") == []
    changed = landing / "weather_2013-01.csv"
    changed.write_text("mine")
    with pytest.raises(FileExistsError) as caught:
        deliver(landing, "2013-03")
    assert str(caught.value) == (
        f"{landing} has other content in weather_2013-01.csv; move it away and deliver again (in Python, "
        "overwrite=True writes over what is there)."
    )
    assert not (landing / "flights_2013-03.csv").exists()
    assert changed in deliver(landing, "2013-02", overwrite=True)
