"""A contract that changes while versions of the old schema exist: each keeps its own, and nothing is made of both."""

from mlops_assets_tests.assets.shop import BATCH, DAYS, NEWEST, RELEASE, Shop


def test_versions_keep_their_schema_and_are_not_mixed(shop: Shop) -> None:
    shop.change("pages: {type: int64, minimum: 0}", "pages: {type: float64, minimum: 0}")
    shop.run(batches=(NEWEST,), stages=BATCH)
    types = {day: dict(shop.manifest("cleaned", day).schema)["pages"] for day in DAYS}
    assert types == {**dict.fromkeys(DAYS, "int64"), NEWEST: "double"}
    before = shop.heads()
    result = shop.materialize(RELEASE, NEWEST)
    assert not result.success
    (event,) = [event for event in result.all_events if event.is_step_failure]
    said = str(event.step_failure_data.error_display_string)
    told = "is not up to date: it is not what its code, settings and inputs would make now."
    assert f"visits/raw/visits [{DAYS[0]}] {told} Bring batch {DAYS[0]} up to date first." in said
    assert shop.heads() == before
    why = shop.called("why-stale", "visits").text
    assert 'Its setting source.columns.pages.type changed: "int64" -> "float64".' in why


def test_a_column_that_features_still_need_is_named(shop: Shop) -> None:
    shop.change("      pages: {type: int64, minimum: 0}\n", "")
    done = shop.called("run", "visits")
    assert done.code == 1
    assert "Features: 'pages' is no column and no function of features.py" in done.text
    assert "dataset.yaml:" in done.text
