"""The verdicts on leaks and drift: sentences, numbers, thresholds, what is never shown."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_assets.checks.declared import foresight
from mlops_assets.checks.features import audit
from mlops_assets.checks.verdict import Verdict
from mlops_assets.contract.model import Contract, Evaluation, Feature, Target, Thresholds
from mlops_assets.stages.drift import Reference
from mlops_assets.stages.features import build_features
from mlops_assets_tests.stages.build import at, column, contract, source

ROWS = 400
SALES = source(
    column("id", "int64"),
    column("day", "timestamp"),
    column("shop", "string"),
    column("price", "float64"),
    column("month", "int64"),
    column("paid", "float64", roles=frozenset({"excluded"})),
)
FEATURES = tuple(
    Feature(name, "categorical" if name == "shop" else "numeric", uses=(name,), line=20 + place)
    for place, name in enumerate(("price", "month", "shop"))
)


def rules(folder: Path = Path("data/shop"), **more: Any) -> Contract:
    settings: dict[str, Any] = {"target": Target("bought", "paid > 0", "binary"), "features": FEATURES}
    return contract(SALES, folder=folder, evaluation=Evaluation(), **(settings | more))


def sales(seed: int = 1, month: int = 1, **columns: Any) -> pa.Table:
    lot = np.random.default_rng(seed)
    made = {
        "id": pa.array(range(ROWS), pa.int64()),
        "day": pa.array([at("2024-01-05")] * ROWS, pa.timestamp("us")),
        "shop": pa.array(lot.choice(["north", "south", "west"], ROWS)),
        "price": pa.array(lot.normal(10, 2, ROWS)),
        "month": pa.array([month] * ROWS, pa.int64()),
        "paid": pa.array((lot.random(ROWS) < 0.4).astype(float)),
    }
    return pa.table(made | columns)


def verdicts(
    cleaned: pa.Table, reference: pa.Table | None = None, made: Contract | None = None, **more: Any
) -> Mapping[str, Verdict]:
    made = made or rules()
    built = build_features(made, cleaned)
    other = Reference("shop/features [2023-12]", versions={"shop/features [2023-12]": "b3:12"}, why="Nothing.")
    if reference is not None:
        other = replace(other, table=build_features(made, reference).value)
    settings: dict[str, Any] = {"history": None, "constant": [built.facts["constant"]]} | more
    found = audit(made, built.value, cleaned=cleaned, reference=settings.pop("compared", other), **settings)
    assert [(each.check, each.severity) for each in found] == [
        (each.name, each.severity) for each in foresight("features")
    ]
    for each in found:
        assert json.loads(json.dumps(dict(each.details))) == each.details  # plain, as manifests keep it
    return {each.check: each for each in found}


def failing(found: Mapping[str, Verdict]) -> set[str]:
    return {name for name, verdict in found.items() if not verdict.passed}


def test_an_honest_batch_passes_and_every_check_has_its_number() -> None:
    found = verdicts(sales(), sales(2))
    assert failing(found) == set()
    assert found["alone"].sentence.startswith("Alone, no feature ranks the answers to bought better than ")
    assert 0.5 <= found["alone"].details["strongest"] < 0.6
    assert found["alone"].details["features"][0]["feature"] == found["alone"].details["feature"]
    assert found["known_before"].details["outcomes"] == ["paid"]
    assert found["drift"].details["versions"] == {"shop/features [2023-12]": "b3:12"}
    numbers = {
        "alone": "strongest",
        "known_before": "changed_rows",
        "drift": "largest_psi",
        "missing": "largest_growth",
        "unseen": "largest_share",
    }
    for check, name in numbers.items():
        assert type(found[check].details[name]) in (int, float)


def test_a_feature_that_is_the_answer_blocks() -> None:
    leak = sales()
    leak = leak.set_column(3, "price", pa.array(leak["paid"].to_numpy() * 3 + 1))
    found = verdicts(leak)["alone"]
    assert found.blocks
    assert (found.n, found.failed, found.threshold, found.details["strongest"]) == (3, 1, 0.95, 1.0)
    assert found.sentence == (
        "Too good to be true: alone, price (1.000) ranks the answers to bought beyond the limit of 0.95 (0.5 says "
        "nothing, 1 says all). Is it known only after the event, or made from the answer? Give its column the role "
        "excluded; if it is honest, raise alone under checks in data/shop/dataset.yaml."
    )
    assert found.examples == ("price (data/shop/dataset.yaml:20): 1.0000.",)
    assert verdicts(leak, made=rules(thresholds=Thresholds(alone=1.0)))["alone"].passed
    assert verdicts(sales(), made=rules(thresholds=Thresholds(alone=0.5)))["alone"].failed >= 1


def test_too_few_answers_say_nothing() -> None:
    found = verdicts(sales().slice(0, 40))["alone"]
    assert found.passed
    assert found.sentence == (
        "40 answers to bought are too few to tell what a feature alone says of them; 30 of each class do."
    )


def test_a_feature_made_from_the_outcome_is_named_with_what_it_is_made_from(tmp_path: Path) -> None:
    (tmp_path / "features.py").write_text("def haste(price): ...\nhaste = lambda price, paid: price - paid\n")
    haste = Feature("haste", "numeric", computed=True, uses=("price",), line=33)
    made = rules(tmp_path, features=(*FEATURES, haste))
    found = verdicts(sales(), made=made)["known_before"]
    assert found.blocks
    assert (found.n, found.failed, found.details["changed_rows"]) == (4, 1, ROWS)
    assert found.sentence == (
        f"haste changes in 400 of 400 rows without paid, known only after the event: it is made from the outcome. Take "
        f"that out of it; the outcomes of earlier rows are for windows ({tmp_path}/dataset.yaml:33)."
    )
    (tmp_path / "features.py").write_text("def haste(price):\n    return price - price.mean()\n")
    later = verdicts(sales(), made=made)["known_before"]
    assert later.sentence.startswith("haste changes in 200 of 200 rows without the later half of the batch: it is made")


def test_what_moved_is_told_with_how_far() -> None:
    moved = sales(2, price=pa.array(np.random.default_rng(3).normal(14, 2, ROWS)))
    found = verdicts(moved, sales())
    assert failing(found) == {"drift"}
    told = found["drift"]
    assert (told.severity, told.n, told.failed, told.threshold) == ("warn", 2, 1, 0.2)
    assert told.sentence.startswith("1 of 2 features moved by more than 0.2 from shop/features [2023-12]: price (")
    assert told.details["largest_psi"] > 1
    assert [row["moved"] for row in told.details["features"]] == ["yes", "no"]
    assert told.examples == ("Compared with shop/features [2023-12] b3:12.",)
    assert verdicts(moved, sales(), made=rules(thresholds=Thresholds(drift=50.0)))["drift"].passed
    seasonal = verdicts(moved, sales(), made=rules(thresholds=Thresholds(seasonal=("price",))))["drift"]
    assert seasonal.passed
    assert seasonal.details["features"][0]["moved"] == "seasonal"


def test_what_chance_does_is_not_told() -> None:
    few, other = sales(2).slice(0, 40), sales(3).slice(0, 40)
    found = verdicts(few, other, made=rules(thresholds=Thresholds(drift=0.0)))["drift"]
    assert found.details["largest_psi"] > 0
    assert found.passed
    assert not verdicts(few, other, made=rules(thresholds=Thresholds(drift=0.0, chance=0.0)))["drift"].passed


def test_a_feature_that_says_which_batch_it_is_does_not_move() -> None:
    """The month of a monthly batch: against the month before, and against many months."""
    second = sales(2, month=2)
    assert verdicts(second, sales())["drift"].details["one_value"] == ["month"]
    assert verdicts(second, sales(), constant=[["month"], ["month"]])["drift"].details["one_value"] == ["month"]
    year = pa.concat_tables([sales(seed, month=seed) for seed in range(1, 5)])
    assert "month" in verdicts(second, year)["drift"].sentence  # nothing says that it is so in every batch
    assert verdicts(second, year, constant=[["month"], ["month"]])["drift"].passed
    assert not verdicts(second, year, constant=[["month"], []])["drift"].passed


def test_missing_values_that_were_not_missing_before() -> None:
    holes = np.where(np.arange(ROWS) % 4 == 0, np.nan, 10.0)
    found = verdicts(sales(2, price=pa.array(holes, from_pandas=True)), sales())["missing"]
    assert (found.passed, found.failed, found.severity) == (False, 1, "warn")
    assert found.sentence == (
        "Many more values are missing than in shop/features [2023-12]: price in 25.0% of the rows (0.0%)."
    )
    assert found.details["largest_growth"] == 0.25
    few = sales(2, price=pa.array(np.where(np.arange(ROWS) % 12 == 0, np.nan, 10.0), from_pandas=True))
    assert verdicts(few, sales())["missing"].passed
    assert not verdicts(few, sales(), made=rules(thresholds=Thresholds(missing=0.05)))["missing"].passed
    # a tenth of a dozen rows is chance
    assert verdicts(sales(2, price=pa.array([None] * 3 + [1.0] * 397)).slice(0, 12), sales().slice(0, 12))[
        "missing"
    ].passed


def test_of_a_feature_without_any_value_another_check_tells() -> None:
    found = verdicts(sales(2, price=pa.nulls(ROWS, pa.float64())), sales())
    assert failing(found) == set()


def test_new_categories_are_counted_and_stand_in_the_examples() -> None:
    shops = pa.array(["north"] * 300 + ["east"] * 90 + ["far"] * 10)
    found = verdicts(sales(2, shop=shops), sales())["unseen"]
    assert (found.passed, found.n, found.failed, found.severity) == (False, 1, 1, "warn")
    assert found.sentence == (
        "Categories that shop/features [2023-12] does not have: shop in 25.0% of the rows (2 new)."
    )
    assert found.examples == (
        "Compared with shop/features [2023-12] b3:12.",
        "shop: 'east' in 90 rows.",
        "shop: 'far' in 10 rows.",
    )
    assert found.details["features"] == [{"feature": "shop", "rows": 100, "new": 2, "gone": 2}]
    assert "east" not in found.sentence + json.dumps(dict(found.details))
    assert verdicts(sales(2, shop=shops), sales(), made=rules(thresholds=Thresholds(unseen=0.3)))["unseen"].passed


def test_new_categories_of_a_sensitive_column_are_not_shown(tmp_path: Path) -> None:
    hidden = {name: replace(each, roles=each.roles | {"sensitive"}) if name == "shop" else each
              for name, each in SALES.columns.items()}  # fmt: skip
    (tmp_path / "features.py").write_text("def place(shop):\n    return shop\n\ndef area(place):\n    return place\n")
    area = tuple(Feature(name, "categorical", computed=True, uses=(of,)) for name, of in
                 (("place", "shop"), ("area", "place")))  # fmt: skip
    made = contract(replace(SALES, columns=hidden), folder=tmp_path, evaluation=Evaluation(), features=area,
                    target=Target("bought", "paid > 0", "binary"))  # fmt: skip
    found = verdicts(sales(2, shop=pa.array(["east"] * ROWS)), sales(), made=made)["unseen"]
    assert (found.failed, found.examples) == (2, ("Compared with shop/features [2023-12] b3:12.",))


def test_a_name_that_is_always_new_is_no_news() -> None:
    names = [pa.array([f"{month}-{place}" for place in range(ROWS)]) for month in range(2)]
    assert verdicts(sales(2, shop=names[1]), sales(1, shop=names[0]))["unseen"].passed


@pytest.mark.parametrize("wrong", [False, True])
def test_without_a_reference_there_is_nothing_to_compare_with(wrong: bool) -> None:
    found = verdicts(sales(), compared=Reference("tag x", why="There is no x.", wrong=wrong))
    assert failing(found) == ({"drift"} if wrong else set())
    assert {found[name].sentence for name in ("drift", "missing", "unseen")} == {"There is no x."}


def test_what_the_reference_lacks_or_has_otherwise_is_left_out() -> None:
    made = rules()
    other = build_features(made, sales(2)).value
    other = other.drop_columns(["price", "month"]).set_column(0, "shop", pa.array([1.0] * ROWS))
    found = audit(
        made, build_features(made, sales()).value, cleaned=sales(), history=None, reference=Reference("x", other)
    )
    assert [row["feature"] for row in found[2].details["features"]] == []
    assert found[2].details["one_value"] == []
    assert found[4].n == 0
