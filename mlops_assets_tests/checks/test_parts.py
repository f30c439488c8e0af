"""The verdicts on how the parts of a release compare: each fault planted and told, and none where there is none."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_assets.checks.declared import checks
from mlops_assets.checks.parts import Before, audit
from mlops_assets.checks.verdict import Verdict
from mlops_assets.contract.model import Contract, Split, Task, Thresholds
from mlops_assets_tests.stages.parted import (
    HASH,
    MONTHS,
    TIME,
    Batch,
    batches,
    buckets,
    contract,
    parts,
    report,
)

NEWEST = MONTHS[-1]
Made = dict[str, Batch]


def audited(
    rules: Contract, made: Made, other: Mapping[str, Any] | None = None, before: Before | None = None
) -> dict[str, Verdict]:
    found = audit(rules, report(rules, made, other), lambda: parts(rules, made, other), lambda: before)
    return {verdict.check: verdict for verdict in found}


def alike(n: int = 1500) -> Made:
    """Months of which nothing tells one from another: rows of one drawing, dealt out in turn."""
    (whole,) = (batch.features for month, batch in batches(4 * n).items() if month == MONTHS[0])
    months = batches(n)
    return {
        month: replace(batch, features=whole.take(pa.array(range(place, 4 * n, 4))))
        for place, (month, batch) in enumerate(months.items())
    }


@pytest.mark.parametrize("split", [TIME, HASH])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_every_check_has_its_verdict_in_order(split: Split, task: Task) -> None:
    rules = contract(split, task)
    made = batches(task=task)
    found = audit(rules, report(rules, made), lambda: parts(rules, made), lambda: None)
    declared = checks(rules, "split_report")
    assert [(one.check, one.severity) for one in found] == [(one.name, one.severity) for one in declared]
    assert not [one.sentence for one in found if one.blocks]


@pytest.mark.parametrize("split", [TIME, HASH])
def test_parts_of_one_kind_pass_everything(split: Split) -> None:
    found = audited(contract(split), alike(), before=Before("2024-03", "2024-04-01", 300, 0))
    assert [one.sentence for one in found.values() if not one.passed] == []
    names = {"disjoint", "parts", "adversarial", "drift_test", "twins"}
    assert found.keys() == names | ({"order"} if split is TIME else {"stable"})


# Keys and groups.


def delivered_again() -> Made:
    """A correction of three rows of January that comes with April's."""
    made = batches()
    made[NEWEST] = made[NEWEST].with_cleaned("id", [5, 6, 7, *range(903, 1200)])
    return made


def test_a_key_that_is_trained_and_tested_on_blocks() -> None:
    found = audited(contract(), delivered_again())["disjoint"]
    assert found.blocks
    assert (found.failed, found.n) == (3, 1200)
    assert found.sentence == (
        "3 keys (id) stand in both training (3 rows) and test (3 rows of 2024-04). What is tested on was trained on. "
        "Deliver a correction into the batch that it corrects; where such rows are different events, add the column "
        "that tells them apart to the key in /data/sales/dataset.yaml, or write 'checks: {recurring: true}' there."
    )
    assert found.examples[0] == "id 5: training of 2024-01 and test of 2024-04"
    assert len(found.examples) == 3


def test_of_a_sensitive_key_no_example_is_shown() -> None:
    rules = contract()
    spine = rules.sources["sales"]
    hidden = replace(spine.columns["id"], roles=frozenset({"key", "sensitive"}))
    rules = replace(rules, sources={"sales": replace(spine, columns={**spine.columns, "id": hidden})})
    found = audited(rules, delivered_again())["disjoint"]
    assert found.blocks
    assert found.examples == ()


def test_a_key_that_recurs_by_the_contract_is_told_and_passes() -> None:
    found = audited(contract(thresholds=Thresholds(recurring=True)), delivered_again())["disjoint"]
    assert found.passed
    assert found.sentence == (
        "3 of 300 test rows are of a key (id) that training rows are of too, as they may be by time."
    )


def people(made: Made) -> Made:
    lots = np.random.default_rng(1)
    return {
        month: batch.with_cleaned("person", lots.integers(0, 100, batch.cleaned.num_rows).tolist())
        for month, batch in made.items()
    }


def test_a_group_that_comes_again_in_time_is_told_and_passes() -> None:
    found = audited(contract(Split("time", group=("person",))), people(batches()))["disjoint"]
    assert found.passed
    assert found.sentence.startswith("No key stands in two of training, validation and test. 300 of 300 test rows are")
    assert "of a group (person) that training rows are of too" in found.sentence


def test_groups_by_which_rows_are_split_are_in_one_part() -> None:
    rules = contract(replace(HASH, group=("person",)))
    found = audited(rules, people(batches()))["disjoint"]
    assert found.passed
    assert found.sentence == "No key and no group stands in two of training, validation and test."


def test_buckets_of_the_keys_where_a_group_is_declared_block() -> None:
    made = people(batches())
    rules = contract(replace(HASH, group=("person",)))
    found = audited(rules, made, buckets(contract(HASH), made))["disjoint"]
    assert found.blocks
    assert "groups (person) stand in both training (" in found.sentence
    assert found.sentence.endswith("'splits' does not hold the buckets of these groups. Make it again.")
    assert len(found.examples) == 20
    assert found.examples[0].startswith("person ")
    assert found.details["group"]["shared"][0]["parts"] == ["train", "validation"]


# Order.


def test_rows_that_happened_out_of_order_block_and_the_few_are_named() -> None:
    made = batches()
    days = made[NEWEST].cleaned["day"].to_pylist()
    made[NEWEST] = made[NEWEST].with_cleaned("day", [date(2024, 3, 20), *days[1:]])
    found = audited(contract(), made)["order"]
    assert found.blocks
    assert found.failed == 1
    assert found.sentence == (
        "1 test row happened before the last validation row. Their batches say otherwise: look at the event time in "
        "'cleaned'."
    )
    made = batches()
    days = made[MONTHS[0]].cleaned["day"].to_pylist()
    made[MONTHS[0]] = made[MONTHS[0]].with_cleaned("day", [date(2024, 3, 20), *days[1:]])
    found = audited(contract(), made)["order"]
    assert found.sentence.startswith("1 training row happened after the first validation row. Their")


def test_a_row_within_the_embargo_blocks() -> None:
    made = batches()
    days = made[MONTHS[0]].cleaned["day"].to_pylist()
    made[MONTHS[0]] = made[MONTHS[0]].with_cleaned("day", [*days[:-1], date(2024, 2, 20)])
    assert audited(contract(), made)["order"].passed
    found = audited(contract(Split("time", embargo=1)), made)["order"]
    assert found.blocks
    assert found.sentence.startswith(
        "1 training row happened after the first validation row, or within the embargo of 1."
    )


def test_without_event_times_nothing_is_asked_of_their_order() -> None:
    rules = contract()
    rules = replace(rules, sources={"sales": replace(rules.sources["sales"], event_time=None)})
    assert "order" not in audited(rules, batches())


# Stability.


def test_what_became_of_the_rows_that_tested_before() -> None:
    rules, made = contract(HASH), batches()
    first = audited(rules, made)["stable"]
    assert first.passed
    assert first.sentence == "There is no earlier release whose test rows could train now."
    burnt = audited(rules, made, before=Before("2024-03", "2024-04-01T10:00", 200, 130, 1, ("salt",)))["stable"]
    assert (burnt.passed, burnt.blocks, burnt.n, burnt.failed) == (False, False, 200, 130)
    assert burnt.sentence.startswith(
        "130 of 200 rows that tested release 2024-03 of 2024-04-01 train now (changed: salt)."
    )
    assert burnt.sentence.endswith(" Of 1 batch that cannot be told.")
    same = audited(rules, made, before=Before("2024-03", "2024-04-01T10:00", 200, 0))["stable"]
    assert same.sentence == "None of the 200 rows that tested release 2024-03 of 2024-04-01 trains now."


# Sizes and answers.


def test_parts_of_another_size_than_asked_for_are_told() -> None:
    found = audited(contract(HASH), batches(), {month: pa.chunked_array([[0] * 280 + [9000] * 20]) for month in MONTHS})
    assert not found["parts"].passed
    assert not found["parts"].blocks
    assert found["parts"].failed == 3
    assert found["parts"].sentence.startswith(
        "Training has 93.3% of the rows where 65.0% are asked. Validation has 0.0% of the rows where 15.0% are asked. "
        "Test has 6.7% of the rows where 20.0% are asked. Rows: 1,120 training, 80 test."
    )


def test_a_part_without_rows_is_told() -> None:
    found = audited(contract(HASH), batches(), {month: pa.chunked_array([[0] * 300]) for month in MONTHS})
    assert "No row is for test." in found["parts"].sentence
    assert found["adversarial"].sentence == "Too few rows, or features, to tell test rows from training rows by."
    assert found["drift_test"].sentence == "There is nothing to compare."
    assert found["twins"].passed


def test_a_few_rows_do_not_make_a_part_too_small() -> None:
    assert audited(contract(HASH), batches(15))["parts"].passed


def test_answers_that_lie_far_from_those_in_training_are_told() -> None:
    made = batches()
    made[NEWEST] = made[NEWEST].with_feature("target", [True] * 250 + [False] * 50)
    found = audited(contract(), made)["parts"]
    assert not found.passed
    assert found.sentence.startswith("The answers of the test rows are Cohen's w 0.96 from those")
    assert audited(contract(thresholds=Thresholds(answers=2)), made)["parts"].passed


# Features.


def moved() -> Made:
    """Months alike, but for the size of what is sold in the newest."""
    made = alike()
    made[NEWEST] = made[NEWEST].with_feature("size", made[NEWEST].features["size"].to_numpy() + 2.5)
    return made


def test_test_rows_of_another_kind_are_told() -> None:
    found = audited(contract(), moved())
    one = found["adversarial"]
    assert not one.passed
    assert not one.blocks
    assert "Best alone: size (0.9" in one.sentence
    assert one.sentence.endswith(
        "The test rows are of another kind: a score on them says little of rows like those in training."
    )
    assert not found["drift_test"].passed
    assert "1 of 4 features drifted from training to test" in found["drift_test"].sentence
    assert "size (" in found["drift_test"].sentence
    assert found["drift_test"].failed == 1


def test_thresholds_are_those_of_the_contract() -> None:
    made = moved()
    mild = audited(contract(thresholds=Thresholds(adversarial=1.0, drift=90)), made)
    assert mild["adversarial"].passed
    assert mild["drift_test"].passed
    assert mild["drift_test"].sentence.startswith("None of 4 features drifted")


def test_drift_with_the_seasons_is_shown_and_not_told() -> None:
    found = audited(contract(thresholds=Thresholds(seasonal=("size",))), moved())["drift_test"]
    assert found.passed
    assert found.sentence.endswith("Left out as seasonal: size.")
    assert next(row for row in found.details["features"] if row["feature"] == "size")["left out"]


def test_what_time_alone_parts_is_named_and_left_out() -> None:
    made = alike()
    for number, month in enumerate(MONTHS):
        made[month] = made[month].with_feature("noise", [float(number)] * 1500)
    found = audited(contract(), made)
    for check in ("adversarial", "drift_test", "twins"):
        assert found[check].passed
        assert "Left out, because time alone parts it: noise." in found[check].sentence
    assert found["adversarial"].details["left_out"] == ["noise"]


def test_copies_of_training_rows_among_the_test_rows_are_told() -> None:
    made = alike()
    copied = pa.concat_tables([made[MONTHS[0]].features.slice(0, 150), made[NEWEST].features.slice(150)])
    made[NEWEST] = replace(made[NEWEST], features=copied)
    found = audited(contract(), made)["twins"]
    assert not found.passed
    assert not found.blocks
    assert found.failed >= 150
    assert found.sentence.startswith(f"{found.failed} of 1,500 test rows (10.")
    assert audited(contract(thresholds=Thresholds(twins=0.2)), made)["twins"].passed


def test_rows_that_were_copied_before_they_were_split_are_told_too() -> None:
    made = alike(400)
    twice = {
        month: replace(batch, features=pa.concat_tables([batch.features.slice(0, 200)] * 2))
        for month, batch in made.items()
    }
    found = audited(contract(HASH), twice)["twins"]
    assert not found.passed
    assert found.details["fitted"] > 400
