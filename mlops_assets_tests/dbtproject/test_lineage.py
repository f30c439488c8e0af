"""Which delivered columns values come from, and what two texts of SQL have in common."""

import pytest

from mlops_assets.dbtproject.lineage import Tracer, changing, digest
from mlops_assets.dbtproject.shape import Model

RAW = {
    "visits": {"visit": "VARCHAR", "shop": "VARCHAR", "at": "TIMESTAMP", "paid": "DOUBLE"},
    "shops": {"shop": "VARCHAR", "size": "DOUBLE"},
    "weather": {"shop": "VARCHAR", "at": "TIMESTAMP", "temp": "DOUBLE"},
}
VISIT, SHOP, AT, PAID = (("visits", name) for name in RAW["visits"])


def relation(name: str) -> str:
    return f'"batch"."main"."{name}"'


def model(name: str, sql: str) -> Model:
    return Model(name, f"models/{name}.sql", relation(name), "main", "view", sql)


MODELS = [
    model("visits_typed", 'select * from "batch"."raw"."visits"'),
    model("shops_known", 'with s as (select shop as store, size from "batch"."raw"."shops") select * from s'),
    model(
        "cleaned",
        'select v.* exclude (at), size / 2 as half, 1 as one from "batch"."main"."visits_typed" as v '
        'left join "batch"."main"."shops_known" on v.shop = store',
    ),
]


@pytest.fixture(scope="module")
def tracer() -> Tracer:
    return Tracer(MODELS, RAW, "batch")


def test_values_are_followed_through_models_to_what_was_delivered(tracer: Tracer) -> None:
    assert tracer.trace(MODELS[-1].sql) == {
        "visit": (VISIT,),
        "shop": (SHOP,),
        "paid": (PAID,),
        "half": (("shops", "size"),),
        "one": (),
    }


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("select a.paid + b.size as x from {v} a join {s} b on a.shop = b.store", {"x": (("shops", "size"), PAID)}),
        ("select shop, count(*) as n from {v} group by all", {"shop": (SHOP,), "n": ()}),
        ("select visit from {v} union all select store from {s}", {"visit": (("shops", "shop"), VISIT)}),
        (
            "select * replace (upper(shop) as shop) from {v} qualify row_number() over (partition by visit) = 1",
            {"visit": (VISIT,), "shop": (SHOP,), "at": (AT,), "paid": (PAID,)},
        ),
        (
            'select v.visit, w.temp from {v} v asof join "batch"."raw"."weather" w on v.shop = w.shop and v.at >= w.at',
            {"visit": (VISIT,), "temp": (("weather", "temp"),)},
        ),
        ("select visit, (select max(size) from {s} where store = shop) as most from {v}",
         {"visit": (VISIT,), "most": (("shops", "size"),)}),
        ("from {c} select half as quarter", {"quarter": (("shops", "size"),)}),
    ],
)  # fmt: skip
def test_lineage_of_what_duckdb_can_say(tracer: Tracer, sql: str, found: object) -> None:
    names = {"v": "visits_typed", "s": "shops_known", "c": "cleaned"}
    assert tracer.trace(sql.format(**{short: relation(name) for short, name in names.items()})) == found


def test_what_cannot_be_followed_is_not_there(tracer: Tracer) -> None:
    assert tracer.trace(f"from {relation('cleaned')} select columns('v.*'), paid") == {"paid": (PAID,)}
    assert tracer.trace('select * from "batch"."raw"."nothing"') == {}
    assert tracer.trace("select from where") == {}


def test_comments_and_spacing_are_no_part_of_sql() -> None:
    assert digest("select a -- why\nfrom t") == digest("select   a /* or so */ from t")
    assert digest("select 'a b'") != digest("select 'a  b'")
    assert digest('select "a"') != digest("select 'a'")


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("select now() as at", "now"),
        ("select current_date", "current_date"),
        ("select random () < 0.1", "random"),
        ("select today, 'now()' as \"random\" from t -- now()", None),
    ],
)
def test_clock_and_chance_are_seen(sql: str, what: str | None) -> None:
    assert changing(sql) == what
