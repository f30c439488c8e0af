"""A shop whose features look back: a window of every kind over each visitor's past, over three days before a row's own.

What belongs here: writing the dataset, delivering it, and building its batches without Dagster. What does not: any
expectation about it.
"""

import os
import random
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from mlops_assets.assets.publish import Outcome
from mlops_assets.assets.views import View, path_of
from mlops_assets.serving.features import RequestFeatures
from mlops_assets.stages.schemas import columns_of_request
from mlops_assets.store.store import Store
from mlops_assets_tests.assets.shop import GATES, Shop
from mlops_assets_tests.datasets import write_contract

WINDOWS = """\
features:
  windows:
    look_back: 3
    time: at
    each:
      visits_before: {by: [who], take: count, over: 60h, known_after: 0s}
      spent: {by: [who], take: sum, of: paid, over: 2d, known_after: 3h}
      usual: {by: [who, shop], take: mean, of: paid, over: 2d, known_after: 3h}
      least: {by: [shop], take: minimum, of: paid, over: 1d, known_after: 0s}
      bought_much: {by: [regular], take: maximum, of: "paid > 50", over: 1d, known_after: 30m}
      newest: {by: [who], take: last, of: paid, over: 2d, known_after: 3h}
  numeric: [minutes, pages, size, haste]
  categorical: [shop]
"""
COLUMNS = """\
      at: timestamp
      who: string
      regular: boolean
"""
FEATURES = '''\
"""What a visit tells beside what is known of the visitor."""


def haste(pages, minutes, spent):
    """Pages a minute, and more for who spends much."""
    return pages / (minutes + 1) + spent / 1000
'''
DAYS = tuple(f"2024-01-0{number}" for number in range(1, 8))
NEWEST = DAYS[-1]


def write_lookback(data: Path, **changes: str) -> Path:
    """The dataset folder ``data/visits``; ``changes`` replace text in the contract."""
    places = {
        "features: {numeric: [minutes, pages, size], categorical: [shop]}\n": WINDOWS,
        "      shop: {type: string, nullable: false, values: [north, south, west]}\n      minutes": (
            COLUMNS + "      shop: {type: string, nullable: false, values: [north, south, west]}\n      minutes"
        ),
    }
    folder = write_contract(data, **GATES, **places, **changes)
    (folder / "features.py").write_text(FEATURES)
    (folder / "landing" / "shops.csv").write_text("shop,size\nnorth,120\nsouth,80.5\nwest,240\n")
    return folder


def deliver(folder: Path, days: Iterable[int] = range(7), rows: int = 40, seed: int = 0) -> None:
    """Files of days counted from 0: few visitors, equal moments, and some rows without a time, a name or a price."""
    for number in days:
        chance, day = random.Random(1000 * seed + number), date(2024, 1, 1) + timedelta(days=number)
        lines = ["visit,day,at,who,regular,shop,minutes,pages,paid"]
        for place in range(rows):
            at = f"{day}T{chance.randint(0, 23):02}:{chance.choice((0, 30)):02}:00" if chance.random() > 0.05 else ""
            who = f"p{chance.randint(0, 5)}" if chance.random() > 0.05 else ""
            paid = chance.choice([0.0, 0.1, 0.2, 0.3, 19.99, 1e9, ""])
            shop, regular = chance.choice(["north", "south", "west"]), chance.choice(["true", "false", ""])
            minutes, pages = round(chance.uniform(0, 60), 2), chance.randint(0, 30)
            lines.append(f"v{number}{place:04},{day},{at},{who},{regular},{shop},{minutes},{pages},{paid}")
        (folder / "landing" / f"visits_{day}.csv").write_text("\n".join(lines) + "\n")


def build(shop: Shop, days: Sequence[str] = DAYS, stages: Sequence[str] = ()) -> dict[tuple[str, str], Outcome]:
    """Write, audit and publish the batch stages of some days, one after the other, or ``stages`` alone."""
    found: dict[tuple[str, str], Outcome] = {}
    with shop.entered():
        session = shop.session(os.urandom(4).hex())
        for stage in session.graph.of_scope("reference"):
            found[stage.name, "all"] = session.run(stage, "all")
        for day in days:
            for stage in session.graph.of_scope("batch"):
                if not stages or stage.name in stages:
                    found[stage.name, day] = session.run(stage, day)
    assert not [outcome.sentences for outcome in found.values() if outcome.failed]
    return found


def made(folder: Path, **changes: str) -> Shop:
    """A shop of seven days, built."""
    deliver(write_lookback(folder / "data", **changes))
    shop = Shop.in_folder(folder)
    build(shop)
    return shop


def view_of(shop: Shop) -> View:
    """The file of the past of a shop."""
    return View(shop.graph(), Store.open(shop.home.store), shop.home)


def features(shop: Shop) -> RequestFeatures:
    """What answers requests for a shop."""
    return RequestFeatures(shop.graph().contract, path_of(shop.home, shop.name))


def value(shop: Shop, stage: str, batch: str) -> pa.Table:
    """The published table of a batch."""
    return Store.open(shop.home.store).get(shop.manifest(stage, batch))


def requests(shop: Shop, batch: str) -> list[dict[str, Any]]:
    """The rows of a batch as somebody would ask for them before they happen."""
    rows: list[dict[str, Any]] = (
        value(shop, "cleaned", batch).select(list(columns_of_request(shop.graph().contract))).to_pylist()
    )
    return rows


def trained_on(shop: Shop, batch: str) -> pa.Table:
    """The features of a batch as models are fitted to them, without the answer."""
    return value(shop, "features", batch).select([feature.name for feature in shop.graph().contract.features])
