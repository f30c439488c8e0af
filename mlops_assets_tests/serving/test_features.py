"""What a request is told is what the model was fitted to, to the bit."""

import json
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.contract.load import load_contract
from mlops_assets.contract.model import Contract, Evaluation, Feature, Partitions, Target, Window, Windows
from mlops_assets.errors import UserError
from mlops_assets.serving.features import RequestFeatures
from mlops_assets.serving.past import NoPastError, layout_of, writing
from mlops_assets.serving.values import described, to_rows
from mlops_assets.stages.features import build_features
from mlops_assets.stages.online import remember
from mlops_assets.stages.request import RequestError
from mlops_assets_tests.assets.shop import Shop
from mlops_assets_tests.serving.lookback import (
    DAYS,
    NEWEST,
    build,
    deliver,
    features,
    made,
    requests,
    trained_on,
    value,
)
from mlops_assets_tests.stages.build import column, contract, source


@pytest.mark.parametrize("day", DAYS[-2:])
def test_each_row_asked_for_alone_has_the_features_that_were_trained_on(visited: Shop, day: str) -> None:
    asked, answers = features(visited), trained_on(visited, day)
    assert len(requests(visited, day)) == 40
    for place, row in enumerate(requests(visited, day)):
        assert asked.of([row]).equals(answers.slice(place, 1)), (place, row)
    # the past is really looked at
    told = answers.to_pydict()
    for window in visited.graph().contract.windows.each:
        assert len(set(told[window.name])) > 1, window.name


def test_rows_asked_for_together_do_not_see_each_other(visited: Shop) -> None:
    assert features(visited).of(requests(visited, NEWEST)).equals(trained_on(visited, NEWEST))
    backwards = features(visited).of(requests(visited, NEWEST)[::-1])
    assert backwards.equals(trained_on(visited, NEWEST).take(pa.array(range(39, -1, -1))))
    assert features(visited).of([]).num_rows == 0


def test_a_row_sees_neither_itself_nor_what_is_not_known_yet(visited: Shop) -> None:
    """The file holds the rows of the newest batch too, the asked one among them."""
    row = next(row for row in requests(visited, NEWEST) if row["at"] and row["who"])
    told = features(visited).of([row]).to_pylist()[0]
    cleaned = [r for day in DAYS[3:] for r in value(visited, "cleaned", day).to_pylist()]
    theirs = [r for r in cleaned if r["at"] and r["who"] == row["who"]]
    lag, over = timedelta(hours=3), timedelta(days=2)
    known = [r["paid"] for r in theirs if row["at"] - over < r["at"] + lag <= row["at"] and r["paid"] is not None]
    assert told["spent"] == pytest.approx(sum(known))
    before = [r for r in theirs if row["at"] - timedelta(hours=60) < r["at"] < row["at"]]
    assert told["visits_before"] == len(before)
    # somebody who is asked for once more a moment later is seen then
    later = features(visited).of([row | {"at": row["at"] + timedelta(seconds=1)}]).to_pylist()[0]
    assert later["visits_before"] > told["visits_before"]


@pytest.mark.parametrize(
    "changed",
    [{"day": DAYS[3], "at": f"{DAYS[3]}T12:00:00"}, {"day": DAYS[3]}, {"at": f"{DAYS[3]}T12:00:00"}],
    ids=["all of it", "its batch", "its moment"],
)
def test_a_row_whose_past_is_not_kept_is_refused(visited: Shop, changed: dict[str, str]) -> None:
    row = requests(visited, NEWEST)[0] | {"at": f"{NEWEST}T12:00:00"}
    assert features(visited).of([row]).num_rows == 1
    day = changed.get("day", NEWEST)
    with pytest.raises(UserError, match=f"A row of {day} is asked for whose past is not kept any more: .*2024-01-06"):
        features(visited).of([row | changed])


def test_answers_name_the_versions_that_they_stand_on(visited: Shop) -> None:
    assert features(visited).versions() == {day: visited.manifest("online", day).version for day in DAYS[2:]}


def test_a_request_that_says_too_little(visited: Shop) -> None:
    row = requests(visited, NEWEST)[0]
    del row["who"]
    with pytest.raises(RequestError, match="Row 1 lacks 'who'; send null where it is not known"):
        features(visited).of([row])


def test_threads_may_ask_at_once(visited: Shop) -> None:
    asked, rows, answers = features(visited), requests(visited, NEWEST)[:10], trained_on(visited, NEWEST).slice(0, 10)
    wrong: list[object] = []

    def ask() -> None:
        for _ in range(5):
            found = asked.of(rows)
            if not found.equals(answers):
                wrong.append(found)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_late_correction_changes_what_is_told(tmp_path: Path) -> None:
    shop = made(tmp_path)
    asked, rows = features(shop), requests(shop, NEWEST)
    before = asked.of(rows)
    deliver(shop.folder, [5], seed=9)
    build(shop)
    assert asked.of(rows).equals(trained_on(shop, NEWEST))
    assert not asked.of(rows).equals(before)


def test_without_windows_no_file_is_needed(built: Shop) -> None:
    rules = load_contract(built.folder)
    rows = [{"shop": "north", "minutes": 10, "pages": 2, "size": 120.0}]
    assert RequestFeatures(rules).of(rows).to_pylist() == [
        {"minutes": 10.0, "pages": 2.0, "size": 120.0, "haste": 2 / 11, "shop": "north"}
    ]
    assert RequestFeatures(rules).versions() == {}


def test_with_windows_a_file_is_needed(visited: Shop, tmp_path: Path) -> None:
    rules = visited.graph().contract
    with pytest.raises(UserError, match=r"dataset.yaml:\d+: .*mlops-assets online visits"):
        RequestFeatures(rules)
    with pytest.raises(NoPastError, match=r"There is no .*none\.sqlite"):
        RequestFeatures(rules, tmp_path / "none.sqlite").of(requests(visited, NEWEST)[:1])


def test_of_named_batches_somebody_says_whose_rows_are_seen(tmp_path: Path) -> None:
    rules = replace(rules_of_trips(), partitions=Partitions("named"))
    layout = layout_of(rules)
    path = tmp_path / "past.sqlite"
    batch = trips([(0, "a", 1, 1.0, True), (4, "a", 1, 2.0, False)])
    online = remember(rules, batch).value
    with writing(path, layout) as writer:
        for name in ("east", "west"):
            writer.put(described(name, "b3:1", None, online), to_rows(rules, layout, online, None))
    row = {"id": 9, "at": START + timedelta(seconds=3), "car": "a", "crew": 1}
    asked = RequestFeatures(rules, path)
    with pytest.raises(UserError, match=r"The batches of shop have names, .*: say which"):
        asked.of([row])
    assert asked.of([row], batch="east")["count_car"].to_pylist() == [2.0]
    assert asked.of([row], batch="north")["count_car"].to_pylist() == [0.0]


def test_answering_loads_neither_dagster_nor_mlflow_nor_the_store(visited: Shop) -> None:
    row = requests(visited, NEWEST)[0] | {"at": "2024-01-07T12:00:00", "day": NEWEST}
    code = f"""
import json, sys
from pathlib import Path
from mlops_assets.contract.load import load_contract
from mlops_assets.serving.features import RequestFeatures
rules = load_contract(Path({str(visited.folder)!r}))
RequestFeatures(rules, Path({str(visited.home.online / "visits" / "main.sqlite")!r})).of([json.loads(sys.argv[1])])
loaded = ("dagster", "mlflow", "mlops_assets.store", "mlops_assets.assets", "pandera", "sklearn", "duckdb")
print([name for name in loaded if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(row)], capture_output=True, text=True, check=False, cwd=Path.cwd()
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


# --- any data -------------------------------------------------------------------------------------------------------

TRIPS = source(
    column("id", "int64", nullable=False),
    column("day", "date"),
    column("at", "timestamp"),
    column("car", "string"),
    column("crew", "int64"),
    column("paid", "float64"),
    column("fine", "boolean"),
    name="trips",
)
WINDOWS = tuple(
    Window(f"{take}_{by}", (by,) if by != "both" else ("car", "crew"), cast("Any", take), over, lag, of)
    for take, by, of, over, lag in (
        ("count", "car", None, 5.0, 0.0),
        ("count", "crew", "fine", 3.0, 1.0),
        ("sum", "car", "paid", 6.0, 2.0),
        ("mean", "both", "paid * 3", 9.0, 0.5),
        ("minimum", "crew", "paid", 4.0, 0.0),
        ("maximum", "car", "paid", 2.5, 0.25),
        ("last", "car", "paid", 7.0, 3.0),
    )
)  # fmt: skip
START = datetime(2024, 1, 5)  # noqa: DTZ001
NUMBERS = st.one_of(
    st.none(), st.sampled_from([0.0, -0.0, 0.1, 0.2, 0.3, 1e16, -1e16, 1.5]), st.floats(allow_nan=False)
)
ROWS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(0, 12)),
        st.sampled_from([None, "a", "b", "Ä'\""]),
        st.sampled_from([None, 1, 2]),
        NUMBERS,
        st.sampled_from([None, True, False]),
    ),
    max_size=14,
)


def rules_of_trips() -> Contract:
    asked = {window.name: (*window.by, "at") for window in WINDOWS}
    given_ = tuple(Feature(name, "numeric", window=True, uses=uses) for name, uses in asked.items())
    return contract(
        TRIPS,
        features=(Feature("id", "numeric", uses=("id",)), *given_),
        windows=Windows(WINDOWS, 0, "at"),
        partitions=Partitions("none"),
        target=Target("late", "fine", "binary"),
        evaluation=Evaluation(),
    )


def trips(rows: list[tuple[Any, ...]]) -> pa.Table:
    """A batch of half a second, car, crew, what was paid, and whether there was a fine."""
    columns = list(zip(*rows, strict=True)) or [()] * 5
    at = [None if second is None else START + timedelta(seconds=second / 2) for second in columns[0]]
    return pa.table(
        {
            "id": pa.array(range(len(rows)), pa.int64()),
            "day": pa.nulls(len(rows), pa.date32()),
            "at": pa.array(at, pa.timestamp("us")),
            "car": pa.array(columns[1], pa.string()),
            "crew": pa.array(columns[2], pa.int64()),
            "paid": pa.array(columns[3], pa.float64(), from_pandas=False),
            "fine": pa.array(columns[4], pa.bool_()),
        }
    )


@settings(max_examples=60, deadline=None)
@given(rows=ROWS)
def test_any_rows_asked_for_alone_have_the_features_of_their_batch(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, ...]]
) -> None:
    rules, layout = rules_of_trips(), layout_of(rules_of_trips())
    batch = trips(rows)
    path = tmp_path_factory.mktemp("past") / "past.sqlite"
    online = remember(rules, batch).value
    with writing(path, layout) as writer:
        writer.put(described("all", "b3:1", None, online), to_rows(rules, layout, online, None))
    answers = build_features(rules, batch).value.select([feature.name for feature in rules.features])
    asked = RequestFeatures(rules, path)
    told = batch.select(["id", "at", "car", "crew"]).to_pylist()
    assert asked.of(told).equals(answers)
    for place, row in enumerate(told):
        assert asked.of([row]).equals(answers.slice(place, 1))
