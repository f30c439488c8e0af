"""Two datasets' contracts, to say one thing otherwise in them and see what is told."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from mlops_assets.contract.load import load_contract
from mlops_assets.errors import ContractError

PARCELS = """\
description: Parcels, and whether they come late.
owners: [team:logistics, ann@example.org]
supplier: supplier.py
partitions: {cadence: yearly, start: 2013, end: 2015}
sources:
  parcels:
    files: "landing/parcels_{batch}.csv"
    format: {delimiter: ";", missing: ["", NA]}
    key: [depot, number]
    event_time: {year: year}
    columns:
      depot: string
      number: {type: int64, minimum: 1}
      year: int64
      sent: {type: timestamp, format: "%Y-%m-%dT%H:%M:%SZ", minimum: 2013-01-01}
      weight: {type: float64, nullable: false, minimum: 0, maximum: 70.5, description: kilograms}
      service: {type: string, values: [Yes, No, 010], missing: [none]}
      phone: {type: string, pattern: "[0-9 +]+", role: sensitive}
      hours_late: {type: float64, role: excluded}
  depots:
    kind: reference
    files: landing/depots.csv
    key: depot
    columns:
      depot: string
      town: string
      opened: date
  weather:
    files: landing/weather.parquet
    format: parquet
    key: [place, at]
    event_time: at
    columns: {place: string, at: timestamp, rain: float64}
spine: parcels
joins:
  - {source: depots, on: [depot], columns: {city: town}, warn_below: 0.99}
  - {source: weather, on: {depot: place}, as_of: {sent: at}, tolerance: 3h, columns: [rain], known_after: 1h}
target: {name: late, expression: "hours_late > 2", task: binary}
split: {by: time, validation: 2, embargo: 1}
features:
  numeric: [weight, hour, rush]
  categorical:
    - service
    - city
models:
  baselines: {prior: , linear: {C: 0.5}}
  candidates:
    boosted_trees: {max_iter: 50}
    deep: {kind: boosted_trees, max_depth: 12, learning_rate: 0.05}
evaluation: {groups: [service], threshold: 0.5}
gates: {metric: roc_auc, minimum: {roc_auc: 0.6}, maximum: {roc_auc: 0.95}, beat: [prior]}
limits: {warn: 0.01, refuse: 0.1}
"""
FEATURES = """\
import pandas as pd


def hour(sent: pd.Series) -> pd.Series:
    return sent.dt.hour


def rush(hour: pd.Series) -> pd.Series:
    return hour > 16
"""
SUPPLIER = "def deliver(landing, through=None):\n    return []\n"

CHURN = """\
description: Telephone customers, and which of them left.
owners: [team:customers]

sources:
  customers:
    files: landing/customers.csv
    format: {kind: csv, missing: ["", " "]}
    key: [customerID]
    columns:
      customerID: {type: string, pattern: "[0-9]{4}-[A-Z]{5}"}
      gender: {type: string, nullable: false, values: [Female, Male]}
      SeniorCitizen: {type: int64, nullable: false, values: [0, 1]}
      Partner: {type: string, nullable: false, values: [Yes, No]}
      tenure: {type: int64, nullable: false, minimum: 0, description: months}
      InternetService: {type: string, nullable: false, values: [DSL, Fiber optic, No]}
      Contract: {type: string, nullable: false, values: [Month-to-month, One year, Two year]}
      PaymentMethod: string
      MonthlyCharges: {type: float64, nullable: false, minimum: 0}
      TotalCharges: {type: float64, minimum: 0}
      Churn: {type: string, nullable: false, values: [Yes, No]}

target: {name: Churn, expression: Churn, positive: Yes, task: binary}

features:
  numeric: [SeniorCitizen, tenure, MonthlyCharges, TotalCharges]
  categorical: [gender, Partner, InternetService, Contract, PaymentMethod]

models:
  candidates: {boosted_trees: {max_iter: 100}, random_forest: {n_estimators: 200}}

evaluation: {groups: [gender]}
gates: {minimum: {roc_auc: 0.75}}
"""


def write(folder: Path, text: str = PARCELS, features: str = FEATURES, supplier: str = SUPPLIER) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.yaml").write_text(text)
    (folder / "features.py").write_text(features)
    (folder / "supplier.py").write_text(supplier)
    return folder


def told(folder: Path) -> list[str]:
    """What is wrong with the folder, each sentence without the folder's own path."""
    with pytest.raises(ContractError) as caught:
        load_contract(folder)
    return [sentence.removeprefix(f"{folder}/") for sentence in caught.value.sentences]


def told_instead(tmp_path: Path, old: str, new: str) -> list[str]:
    """What is wrong with PARCELS when ``new`` stands in it instead of ``old``."""
    assert PARCELS.count(old) == 1, f"{old!r} should stand once in the text"
    return told(write(tmp_path / "parcels", PARCELS.replace(old, new)))


def placed(old: str, sentence: str) -> str:
    """The sentence as it is told: on the line of PARCELS where ``old`` begins, unless it begins with another."""
    line = PARCELS[: PARCELS.index(old)].count("\n") + 1
    return f"dataset.yaml:{sentence}" if sentence[0].isdigit() else f"dataset.yaml:{line}: {sentence}"


def each_mistake(cases: Sequence[tuple[str, str, str]]) -> pytest.MarkDecorator:
    """Run a test with each: what stands in PARCELS, what stands there instead, the sentence (see ``placed``)."""
    ids = [f"{new.strip()[:40]}-{number}" for number, (_, new, _) in enumerate(cases)]
    return pytest.mark.parametrize(("old", "new", "sentence"), cases, ids=ids)
