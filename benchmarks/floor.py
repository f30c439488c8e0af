"""The floor: what a person would write in a notebook for the same models. Nothing is tracked, versioned or checked.

Plain pandas and scikit-learn on the same delivered files: read, clean, join, make features, fit the baselines and the
candidate, look at the test month once, fit the candidate's settings again on everything. The project's cost is quoted
as a ratio to this script, both run in turn on the same machine.

usage: python floor.py LANDING [--test-month 12] [--trees 200]
prints one JSON line: rows, quality, CPU and wall seconds by step.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # idle OpenMP threads must not burn the CPU that is measured

CATEGORIES = ["carrier", "origin", "dest"]
WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib"]
NUMBERS = ["month", "day", "weekday", "departure_minute", "arrival_minute", "distance", "plane_age", *WEATHER]
LATE = 15
KEY = ["year", "month", "day", "carrier", "flight", "origin", "sched_dep_time"]


class Clock:
    """CPU and wall seconds of each step."""

    def __init__(self) -> None:
        self.steps: dict[str, dict[str, float]] = {}
        self._cpu, self._wall = time.process_time(), time.time()

    def mark(self, step: str) -> None:
        """The step that ends here."""
        cpu, wall = time.process_time(), time.time()
        self.steps[step] = {"cpu": round(cpu - self._cpu, 2), "wall": round(wall - self._wall, 2)}
        self._cpu, self._wall = cpu, wall


def main() -> None:
    """Run the floor once."""
    options = argparse.ArgumentParser()
    options.add_argument("landing", type=Path)
    options.add_argument("--test-month", type=int, default=12)
    options.add_argument("--trees", type=int, default=200)
    args = options.parse_args()
    clock = Clock()

    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.dummy import DummyClassifier
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    clock.mark("imports")

    months = range(1, args.test_month + 1)
    flights = pd.concat([pd.read_csv(args.landing / f"flights_2013-{month:02}.csv") for month in months])
    weather = pd.concat([pd.read_csv(args.landing / f"weather_2013-{month:02}.csv") for month in months])
    planes = pd.read_csv(args.landing / "planes.csv")
    clock.mark("read")

    flights = flights.dropna(subset=["arr_delay"]).drop_duplicates(KEY)
    weather = weather.drop_duplicates(["origin", "time_hour"])
    clock.mark("clean")

    table = flights.merge(weather[["origin", "time_hour", *WEATHER]], how="left", on=["origin", "time_hour"])
    table = table.merge(planes[["tailnum", "year"]].rename(columns={"year": "built"}), how="left", on="tailnum")
    table["weekday"] = pd.to_datetime(table[["year", "month", "day"]]).dt.dayofweek
    table["departure_minute"] = table["sched_dep_time"] // 100 * 60 + table["sched_dep_time"] % 100
    table["arrival_minute"] = table["sched_arr_time"] // 100 * 60 + table["sched_arr_time"] % 100
    table["plane_age"] = table["year"] - table["built"]
    for column in CATEGORIES:
        table[column] = table[column].astype("category").cat.codes
    features, late = table[NUMBERS + CATEGORIES], (table["arr_delay"] > LATE).astype("int8")
    train, test = table["month"] < args.test_month, table["month"] == args.test_month
    clock.mark("features")

    linear = make_pipeline(
        ColumnTransformer(
            [
                ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS),
                ("codes", OneHotEncoder(handle_unknown="ignore"), CATEGORIES),
            ]
        ),
        LogisticRegression(solver="newton-cholesky", max_iter=100),
    )
    models = {"prior": DummyClassifier(strategy="prior"), "linear": linear, "trees": _trees(args.trees)}
    assert isinstance(models["trees"], HistGradientBoostingClassifier)
    for name, model in models.items():
        model.fit(features[train], late[train])
        clock.mark(f"fit {name}")

    quality = {}
    for name, model in models.items():
        score = model.predict_proba(features[test])[:, 1]
        quality[name] = {
            "auc": round(roc_auc_score(late[test], score), 4),
            "log_loss": round(log_loss(late[test], score), 4),
            "brier": round(brier_score_loss(late[test], score), 4),
        }
    clock.mark("evaluate")

    _trees(args.trees).fit(features, late)
    clock.mark("fit final")
    total = {k: round(sum(s[k] for s in clock.steps.values()), 2) for k in ("cpu", "wall")}
    rows = {"train": int(train.sum()), "test": int(test.sum())}
    print(json.dumps({"rows": rows, "quality": quality, "total": total, "steps": clock.steps}))


def _trees(count: int):  # noqa: ANN202 - the import of its type is what is measured
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=count, random_state=0, early_stopping=False)


if __name__ == "__main__":
    main()
