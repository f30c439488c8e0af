"""Joined rows of the past, of the same moment and of the future: by SQL, by our own joins, and without a time."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlops_assets.checks.declared import POINT_IN_TIME, checks
from mlops_assets.checks.pointintime import point_in_time
from mlops_assets.checks.verdict import Verdict
from mlops_assets.contract.model import Contract, EventTime, Join, Role
from mlops_assets.contract.pointintime import Compared, compared, not_brought
from mlops_assets.dbtproject.shape import Model, SqlProject
from mlops_assets.stages.clean import clean
from mlops_assets.stages.made import Made
from mlops_assets_tests.stages.build import at, column, contract, source

EXCLUDED: frozenset[Role] = frozenset({"excluded"})
TRIPS = source(column("id", "int64"), column("city", "string"), column("sent", "timestamp"), name="trips",
               event_time=EventTime(("sent",)))  # fmt: skip
WEATHER = source(column("place", "string"), column("measured", "timestamp"), column("rain", "float64"), name="weather",
                 key=("place", "measured"), event_time=EventTime(("measured",)))  # fmt: skip
AS_OF = Join("weather", (("city", "place"),), {"rain": "rain"}, as_of=("sent", "measured"), line=9)
BROUGHT = replace(AS_OF, columns={"rain": "rain", "observed": "measured"})
SQL = SqlProject(
    Path("data/shop/dbt"), "", (Model("cleaned", "models/cleaned.sql", "", "", "view", ""),), (), (), {}, {}
)


def rules(join: Join = BROUGHT, weather: Any = WEATHER, **more: Any) -> Contract:
    return contract(TRIPS, weather, joins=(join,), **more)


def table(*rows: tuple[str | None, str | None, float | None]) -> pa.Table:
    """Trips by when they were sent, with their weather by when it was observed."""
    times = [[at(f"2024-01-05T{each}") if each else None for each in row[:2]] for row in rows]
    return pa.table(
        {
            "id": pa.array(range(len(rows)), pa.int64()),
            "city": pa.array(["here"] * len(rows)),
            "sent": pa.array([each[0] for each in times], pa.timestamp("us")),
            "rain": pa.array([row[2] for row in rows], pa.float64()),
            "observed": pa.array([each[1] for each in times], pa.timestamp("us")),
        }
    )


def verdict(*rows: tuple[str | None, str | None, float | None], made: Contract | None = None) -> Verdict:
    facts = {"joins": [{"source": "weather", "matched": len(rows)}]}
    return point_in_time(POINT_IN_TIME, made or rules(sql=SQL), Made(table(*rows), facts))


def test_what_was_known_by_then_passes() -> None:
    found = verdict(("10:00", "10:00", 1.0), ("10:00", "09:00", None), ("10:00", None, None), (None, None, None))
    assert found.passed
    assert found.sentence == "No joined row is later than the row that it was joined to."
    assert (found.n, found.failed, found.details["latest_seconds"]) == (4, 0, 0.0)
    early = verdict(("10:00", "09:30", 1.0))
    assert early.sentence == "Every joined row was known at least 1,800 s before the row that it was joined to."
    assert verdict().passed


def test_what_comes_from_later_blocks() -> None:
    found = verdict(("10:00", "11:00", 1.0), ("10:00", "10:00:01", 2.0), ("10:00", "10:00", 3.0))
    assert found.blocks
    assert (found.n, found.failed, found.details["latest_seconds"]) == (3, 2, 3600.0)
    assert found.sentence == (
        "2 of 3 rows have values of weather that were not known yet: observed is up to 3,600 s after sent. Join what "
        "was known by sent (data/shop/dbt/models/cleaned.sql)."
    )
    assert found.examples == (
        "Row 1 of cleaned: sent 2024-01-05 10:00:00, observed 2024-01-05 11:00:00.",
        "Row 2 of cleaned: sent 2024-01-05 10:00:00, observed 2024-01-05 10:00:01.",
    )


def test_what_is_known_later_than_it_was_measured_counts_from_then() -> None:
    late = rules(replace(BROUGHT, known_after=1800.0), sql=SQL)
    assert verdict(("10:00", "09:30", 1.0), made=late).passed
    found = verdict(("10:00", "09:31", 1.0), made=late)
    assert (found.blocks, found.details["latest_seconds"]) == (True, 60.0)


def test_values_without_their_time_block() -> None:
    found = verdict(("10:00", None, 1.0), (None, "10:00", None), ("10:00", "10:00", 1.0))
    assert (found.blocks, found.failed) == (True, 2)
    assert found.sentence == (
        "2 of 3 rows have values of weather and no observed or sent to compare: when they were known is not told. "
        "Bring observed of the same row (data/shop/dbt/models/cleaned.sql)."
    )


def test_times_that_are_sensitive_are_not_shown() -> None:
    hidden = replace(WEATHER, columns={
        **WEATHER.columns, "measured": replace(WEATHER.columns["measured"], roles=frozenset({"sensitive"})),
    })  # fmt: skip
    found = verdict(("10:00", "11:00", 1.0), made=rules(weather=hidden, sql=SQL))
    assert (found.blocks, found.examples) == (True, ())


@pytest.mark.parametrize("join", [AS_OF, BROUGHT, replace(AS_OF, known_after=1800.0)])
def test_our_own_joins_are_looked_at_as_well(join: Join) -> None:
    made = rules(join)
    trips = table(("10:00", None, None), ("12:00", None, None)).select(["id", "city", "sent"])
    weather = pa.table(
        {
            "place": ["here", "here"],
            "measured": pa.array([at("2024-01-05T09:15"), at("2024-01-05T13:00")], pa.timestamp("us")),
            "rain": [1.0, 2.0],
        }
    )
    done = clean(made, {"trips": trips, "weather": weather}, {})
    assert done.facts["joins"][0]["latest"] == -2700.0 + join.known_after
    found = point_in_time(POINT_IN_TIME, made, done)
    assert (found.passed, found.details["latest_seconds"]) == (True, -2700.0 + join.known_after)
    # were a join of ours ever wrong
    done.facts["joins"][0]["latest"] = 60.0
    assert point_in_time(POINT_IN_TIME, made, done).blocks == (join is not BROUGHT)


def test_which_times_are_compared() -> None:
    def found(join: Join, **more: Any) -> list[tuple[str, str, str | None]]:
        return [(each.ours, each.theirs, each.name) for each in compared(rules(join, **more))]

    assert found(AS_OF) == [("sent", "measured", None)]
    assert found(BROUGHT) == [("sent", "measured", "observed")]
    exact = replace(BROUGHT, on=(("city", "place"), ("sent", "measured")), as_of=None)
    assert found(exact) == [("sent", "measured", "observed")]
    by_city = replace(BROUGHT, as_of=None)
    assert found(by_city) == [("sent", "measured", "observed")]  # its event time
    assert found(replace(by_city, columns={"rain": "rain"})) == []

    def late(*names: str) -> Any:
        columns = {
            name: replace(each, roles=EXCLUDED) if name in names else each for name, each in WEATHER.columns.items()
        }
        return replace(WEATHER, columns=columns)

    assert found(by_city, weather=late("measured")) == []  # when an outcome came may be later
    assert found(BROUGHT, weather=late("measured", "rain")) == []  # so may outcomes themselves
    assert found(BROUGHT, weather=late("rain")) == [("sent", "measured", "observed")]


def test_the_check_is_there_where_there_are_times() -> None:
    names = [check.name for check in checks(rules(), "cleaned")]
    assert "point_in_time" in names
    assert "point_in_time" not in [check.name for check in checks(contract(), "cleaned")]


def test_sql_must_bring_the_time() -> None:
    (told,) = not_brought(rules(AS_OF))
    assert told[0] == 9
    assert told[1] == (
        "the join of 'weather' goes by the time 'measured', and SQL does it; bring the time too, so that no row can "
        "get what was known only later: columns: {weather_measured: measured, ...}."
    )
    assert list(not_brought(rules())) == []
    assert next(compared(rules())) == Compared(BROUGHT, "sent", "measured", "observed")
