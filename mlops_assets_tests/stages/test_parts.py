"""How the parts of a release compare: what each holds, what stands in two of them, what happened out of order."""

from dataclasses import replace
from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from mlops_assets.contract.model import Split
from mlops_assets.stages.parts import compare, fitted_again, known_columns, shared_values, units_of
from mlops_assets_tests.stages.parted import HASH, MONTHS, batches, buckets, contract, parts, report


def test_by_time_every_batch_is_one_part() -> None:
    found = report(contract(), batches())
    assert {name: part["rows"] for name, part in found["parts"].items()} == {
        "train": 600,
        "validation": 300,
        "test": 300,
    }
    train = found["parts"]["train"]
    assert (train["batches"], train["first"], train["last"], train["units"]) == (2, MONTHS[0], MONTHS[1], 600)
    assert train["answered"] == sum(train["counts"]) == 574
    assert found["asked"] is None


def test_by_hash_every_batch_is_in_every_part() -> None:
    found = report(contract(HASH), batches())
    sizes = {name: part["rows"] for name, part in found["parts"].items()}
    assert sum(sizes.values()) == 1200
    assert found["asked"] == {"train": 0.65, "validation": 0.15, "test": 0.2}
    assert sizes["train"] == pytest.approx(780, abs=50)
    assert found["parts"]["test"]["batches"] == 4
    assert found["order"] is None


def test_a_part_without_rows_is_left_out() -> None:
    made = batches()
    first = {month: made[month] for month in (MONTHS[2], MONTHS[3])}
    found = report(contract(), first)
    assert list(found["parts"]) == ["train", "test"]
    nobody = report(contract(HASH), batches(), {month: pa.chunked_array([[0] * 300]) for month in MONTHS})
    assert list(nobody["parts"]) == ["train"]
    assert (nobody["adversarial"], nobody["twins"], nobody["answers"]) == (None, None, None)


def test_the_report_is_the_same_for_any_number_of_threads() -> None:
    made = parts(contract(), batches())
    assert compare(contract(), made, 1).value == compare(contract(), made, 2).value


def test_only_what_rows_are_told_apart_by_is_read_of_them() -> None:
    assert known_columns(contract()) == ["id", "day"]
    assert known_columns(contract(replace(HASH, group=("shop", "id")))) == ["id", "shop"]


def test_keys_that_stand_in_two_parts_are_counted_by_batch() -> None:
    made = batches()
    assert report(contract(), made)["key"] == {"columns": ["id"], "shared": []}
    made[MONTHS[3]] = made[MONTHS[3]].with_cleaned("id", [5, 6, 350, *range(903, 1200)])
    (pair,) = report(contract(), made)["key"]["shared"]
    assert pair == {
        "parts": ["train", "test"],
        "units": 3,
        "rows": {"train": 3, "test": 3},
        "batches": {"train": {MONTHS[0]: 2, MONTHS[1]: 1}, "test": {MONTHS[3]: 3}},
    }
    values = shared_values(parts(contract(), made), ("id",), 2)
    assert values == [
        ({"id": 5}, {"train": [MONTHS[0]], "test": [MONTHS[3]]}),
        ({"id": 6}, {"train": [MONTHS[0]], "test": [MONTHS[3]]}),
    ]


def test_a_row_that_lacks_a_value_is_of_no_group() -> None:
    made = batches()
    made = {month: batch.with_cleaned("shop", [None] * 300) for month, batch in made.items()}
    rules = contract(replace(HASH, group=("shop",)))
    assert report(rules, made, {month: pa.chunked_array([np.arange(300) * 33]) for month in MONTHS})["group"] == {
        "columns": ["shop"],
        "shared": [],
    }


def test_units_are_told_apart_by_all_of_their_columns() -> None:
    one = pa.table({"a": [1, 1, None], "b": ["x", "y", "x"]})
    other = pa.table({"a": [1, 2], "b": ["y", "x"]})
    found = units_of({"one": one, "other": other}, ("a", "b"))
    assert found["one"][2] == -1
    assert found["one"][1] == found["other"][0]
    assert len({*found["one"], *found["other"]}) == 4
    assert units_of({"one": one}, ()) == {}


def test_rows_follow_one_another_in_time() -> None:
    found = report(contract(), batches())["order"]
    assert [(pair["earlier"], pair["later"], pair["rows"], pair["others"]) for pair in found] == [
        ("train", "validation", 0, 0),
        ("validation", "test", 0, 0),
    ]


def test_rows_that_happened_out_of_order_are_counted_on_both_sides() -> None:
    made = batches()
    days = made[MONTHS[3]].cleaned["day"].to_pylist()
    made[MONTHS[3]] = made[MONTHS[3]].with_cleaned("day", [date(2024, 3, 20), date(2024, 3, 27), *days[2:]])
    _, pair = report(contract(), made)["order"]
    # of March, 28 days are 300 rows
    assert (pair["rows"], pair["others"]) == (85, 2)


@pytest.mark.parametrize(("last", "rows"), [(date(2024, 2, 1), 0), (date(2024, 2, 2), 1)])
def test_an_embargo_is_as_long_as_its_batches(last: date, rows: int) -> None:
    made = batches()
    # train is January, the embargo February, validation March
    rules = contract(Split("time", embargo=1))
    days = made[MONTHS[0]].cleaned["day"].to_pylist()
    made[MONTHS[0]] = made[MONTHS[0]].with_cleaned("day", [*days[:-1], last])
    pair = report(rules, made)["order"][0]
    assert (pair["embargo"], pair["rows"], pair["others"]) == (1, rows, 11 if rows else 0)


def test_a_row_without_a_moment_is_not_out_of_order() -> None:
    made = batches()
    made[MONTHS[0]] = made[MONTHS[0]].with_cleaned("day", [None, *made[MONTHS[0]].cleaned["day"].to_pylist()[1:]])
    pair, _ = report(contract(), made)["order"]
    assert (pair["rows"], pair["unknown"]) == (0, 1)


def test_answers_that_are_much_alike_and_that_are_not() -> None:
    made = batches()
    near = report(contract(), made)["answers"]
    assert near["effect"] < near["chance"]
    made[MONTHS[3]] = made[MONTHS[3]].with_feature("target", [True] * 300)
    far = report(contract(), made)["answers"]
    assert far["measure"] == "w"
    # chi-square of this table by hand, over the effective number of rows
    train, validation, test = (
        report(contract(), made)["parts"][name]["counts"] for name in ("train", "validation", "test")
    )
    table = np.array([np.add(train, validation), test], dtype=float)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    square = ((table - expected) ** 2 / expected).sum()
    effective = 1 / (1 / table.sum(axis=1)).sum()
    assert far["effect"] == pytest.approx(np.sqrt(square / effective), abs=1e-6)


def test_numbers_are_compared_in_standard_deviations() -> None:
    made = batches(task="regression")
    rules = contract(task="regression")
    assert report(rules, made)["answers"]["effect"] < 0.2
    drawn = np.concatenate([made[month].features["target"].to_numpy() for month in MONTHS])
    moved = made[MONTHS[3]].features["target"].to_numpy() + 3
    made[MONTHS[3]] = made[MONTHS[3]].with_feature("target", moved)
    found = report(rules, made)["answers"]
    drawn[900:] = moved
    known = ~np.isnan(drawn)
    expected = (moved[~np.isnan(moved)].mean() - drawn[:900][known[:900]].mean()) / drawn[known].std()
    assert (found["measure"], found["effect"]) == ("d", pytest.approx(expected, abs=1e-6))


def test_classes_are_counted_in_one_order_for_all_parts() -> None:
    made = batches(task="multiclass")
    made[MONTHS[3]] = made[MONTHS[3]].with_feature("target", ["some"] * 300)
    found = report(contract(task="multiclass"), made)
    assert found["parts"]["test"]["counts"] == [0, 0, 300]


def test_features_that_time_alone_parts_are_left_out() -> None:
    made = batches()
    for number, month in enumerate(MONTHS):
        made[month] = made[month].with_feature("age", [number + 1.0] * 300)
    by_time = report(contract(), made)
    assert by_time["timelike"] == ["age"]
    assert by_time["features"]["age"]["apart"]
    assert by_time["adversarial"]["auc"] < 0.65
    by_hash = report(contract(HASH), made)
    assert by_hash["timelike"] == []


def test_rows_of_a_group_do_not_tell_on_one_another() -> None:
    # of 30 people each has an age of their own, and all rows of one are in one part
    made = batches()
    lots = np.random.default_rng(1)
    ages = lots.normal(size=30)
    for month in MONTHS:
        people = lots.integers(0, 30, 300)
        made[month] = made[month].with_cleaned("person", people.tolist()).with_feature("age", ages[people])
    rules = contract(replace(HASH, group=("person",)))
    found = report(rules, made)
    assert found["group"]["shared"] == []
    assert found["adversarial"]["auc"] < 0.75
    # by their keys alone nothing would keep a person's rows together
    strangers = report(contract(HASH), made, buckets(rules, made))
    assert strangers["adversarial"]["auc"] > 0.9


def test_rows_that_tested_once_and_are_fitted_to_now() -> None:
    rules = contract(HASH)
    known = pa.table({"id": [1, 2, 3, 4]})
    buckets = pa.chunked_array([pa.array([0, 7999, 8000, 9999], pa.int16())])
    assert fitted_again(rules, pa.table({"id": [1, 2, 3, 9]}), buckets, known) == 2
    assert fitted_again(rules, pa.table({"id": pa.array([], pa.int64())}), buckets, known) == 0
