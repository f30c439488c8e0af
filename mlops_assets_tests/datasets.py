"""Small datasets that tests deliver: real contracts and real files, made by rule.

What belongs here: writing a dataset folder and its landing files. What does not: any expectation of what comes of it.
"""

import random
from collections.abc import Sequence
from datetime import date, timedelta
from functools import reduce
from pathlib import Path

CONTRACT = """\
description: Visits to a shop, and whether they ended with a purchase.
owners: [team:shop]
partitions: {{cadence: {cadence}{bounds}}}
sources:
  visits:
    files: "landing/visits_{{batch}}.csv"
    key: [visit]
    event_time: day
    columns:
      visit: {{type: string, nullable: false, pattern: "v[0-9]+"}}
      day: {{type: date, nullable: false, format: "%Y-%m-%d"}}
      shop: {{type: string, nullable: false, values: [north, south, west]}}
      minutes: {{type: float64, minimum: 0, maximum: 600}}
      pages: {{type: int64, minimum: 0}}
      paid: {{type: float64, minimum: 0, role: excluded}}
  shops:
    kind: reference
    files: landing/shops.csv
    key: [shop]
    columns:
      shop: {{type: string, nullable: false}}
      size: {{type: float64, minimum: 0}}
joins:
  - {{source: shops, on: [shop], columns: [size], warn_below: 0.5}}
target: {{name: bought, expression: "paid > 0", task: binary}}
split: {{by: {split}}}
features: {{numeric: [minutes, pages, size], categorical: [shop]}}
models:
  baselines: {{prior: {{}}, linear: {{C: 1.0}}}}
  candidates: {{boosted_trees: {{max_iter: {trees}}}}}
evaluation: {{groups: [shop], bootstrap: 20, importance_rows: 200, importance_repeats: 1}}
gates: {{metric: roc_auc, minimum: {{roc_auc: 0.5}}, maximum: {{roc_auc: 0.999}}}}
"""

SQL = {
    "dbt_project.yml": """\
name: visits
profile: visits
macro-paths: [macros]
models: {visits: {+materialized: view}}
""",
    "profiles.yml": """\
visits:
  target: batch
  outputs:
    batch: {type: duckdb, path: "{{ env_var('DBT_DUCKDB_PATH', ':memory:') }}", threads: 1}
""",
    "macros/measured.sql": "{% macro measured(column) %}{{ column }} * 1.0{% endmacro %}\n",
    "models/shops_known.sql": "select shop, {{ measured('size') }} as size\nfrom {{ source('raw', 'shops') }}\n",
    "models/cleaned.sql": """\
-- every visit, with the size of its shop
select
    visits.*,
    shops_known.size
from {{ source('raw', 'visits') }} as visits
left join {{ ref('shops_known') }} as shops_known
    on visits.shop = shops_known.shop
""",
    "models/cleaned.yml": """\
sources:
  - name: raw
    tables:
      - name: visits
      - name: shops
models:
  - name: shops_known
    columns:
      - name: shop
        data_tests: [unique]
  - name: cleaned
    description: Visits with their shops.
    config: {tags: [retail], meta: {dagster: {owners: ["team:sql"]}}}
    columns:
      - {name: size, description: square metres}
      - name: pages
        data_tests:
          - accepted_values:
              name: pages_are_few
              arguments: {values: [999], quote: false}
              config: {severity: warn, where: pages > 1000}
unit_tests:
  - name: a_visit_without_a_shop_stays
    model: cleaned
    given:
      - input: source('raw', 'visits')
        rows:
          - {visit: v1, shop: north}
          - {visit: v2, shop: west}
      - input: ref('shops_known')
        rows:
          - {shop: north, size: 120}
    expect:
      rows:
        - {visit: v1, size: 120}
        - {visit: v2, size: null}
""",
    "tests/long_visits_see_pages.sql": """\
{{ config(severity='error') }}
select visit, shop, minutes, pages
from {{ ref('cleaned') }}
where minutes > 600 and pages = 0
""",
}
"""Files of a dbt project by their names."""


def write_contract(
    data: Path, name: str = "visits", *, cadence: str = "daily", trees: int | str = 5, **changes: str
) -> Path:
    """A dataset folder ``data/name`` with a contract; ``changes`` replace text in it."""
    folder = data / name
    (folder / "landing").mkdir(parents=True, exist_ok=True)
    start = {"daily": "2024-01-01", "monthly": "2024-01", "named": "", "none": ""}[cadence]
    text = CONTRACT.format(
        cadence=cadence,
        bounds=f", start: {start}" if start else "",
        split="hash, validation: 0.2, test: 0.2" if cadence in ("named", "none") else "time",
        trees=trees,
    )
    if cadence == "none":
        text = text.replace("landing/visits_{batch}.csv", "landing/visits.csv")
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "dataset.yaml").write_text(text)
    return folder


def deliver_days(folder: Path, days: Sequence[int], rows: int = 60) -> list[Path]:
    """Files of the given days of 2024, counted from 0, and the shops; the same every time."""
    (folder / "landing" / "shops.csv").write_text("shop,size\nnorth,120\nsouth,80.5\nwest,240\n")
    paths = []
    for number in days:
        day = date(2024, 1, 1) + timedelta(days=number)
        path = folder / "landing" / f"visits_{day}.csv"
        write_rows(path, day_rows(day, rows))
        paths.append(path)
    return paths


def day_rows(day: date, rows: int) -> list[str]:
    """The rows of one day: longer visits buy more often."""
    chance = random.Random(day.toordinal())
    found = []
    for number in range(rows):
        minutes, pages = round(chance.uniform(0, 60), 2), chance.randint(0, 30)
        bought = chance.random() < minutes / 60 * 0.8
        shop = chance.choice(["north", "south", "west"])
        paid = round(chance.uniform(5, 200), 2) if bought else 0.0
        found.append(f"v{day.toordinal()}{number:04},{day},{shop},{minutes},{pages},{paid}")
    return found


def deliver_months(folder: Path, months: Sequence[int], rows: int = 60) -> list[Path]:
    """Files of the given months of 2024, counted from 1, each with the rows of its second day, and the shops."""
    deliver_days(folder, ())
    paths = [folder / "landing" / f"visits_2024-{month:02}.csv" for month in months]
    for month, path in zip(months, paths, strict=True):
        write_rows(path, day_rows(date(2024, month, 2), rows))
    return paths


def deliver_named(folder: Path, names: Sequence[str], rows: int = 60) -> list[Path]:
    """A file for each named batch, every one with rows of a day of its own, and the shops."""
    deliver_days(folder, ())
    paths = [folder / "landing" / f"visits_{name}.csv" for name in names]
    for number, path in enumerate(paths):
        write_rows(path, day_rows(date(2024, 1, 1) + timedelta(days=number), rows))
    return paths


def deliver_whole(folder: Path, rows: int = 300) -> Path:
    """The one file of an unpartitioned dataset, and the shops."""
    deliver_days(folder, ())
    path = folder / "landing" / "visits.csv"
    write_rows(path, day_rows(date(2024, 1, 1), rows))
    return path


def write_sql(folder: Path, **changes: str) -> Path:
    """A dbt project that makes the ``cleaned`` of visits as the contract's joins do; ``changes`` replace text in it."""
    project = folder / "dbt"
    written = "".join(SQL.values())
    assert all(old in written for old in changes)
    for name, text in SQL.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(reduce(lambda told, change: told.replace(*change), changes.items(), text))
    return project


def write_rows(path: Path, rows: Sequence[str]) -> None:
    """A file of visits."""
    path.write_text("visit,day,shop,minutes,pages,paid\n" + "".join(f"{line}\n" for line in rows))
