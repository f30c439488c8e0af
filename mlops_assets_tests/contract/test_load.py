"""A whole dataset folder read, and every mistake with its file, line and sentence."""

from pathlib import Path

import pytest

from mlops_assets.contract.load import load_contract, load_contracts
from mlops_assets.contract.model import Candidate, Column, Feature, Gates, Join, Limits, Partitions, Split, Target
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


def line(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    contract = load_contract(write(tmp_path / "parcels"))
    assert (contract.name, contract.spine, contract.supplier) == ("parcels", "parcels", "supplier.py")
    assert contract.owners == ("team:logistics", "ann@example.org")
    assert contract.partitions == Partitions("yearly", "2013", "2015", 4)
    source = contract.sources["parcels"]
    assert (source.format.delimiter, source.format.missing, source.line) == (";", ("", "NA"), 6)
    assert source.columns["depot"] == Column("depot", "string", nullable=False, roles=frozenset({"key"}), line=12)
    assert source.columns["year"].roles == {"time"}
    assert source.columns["service"].values == ("Yes", "No", "010")
    assert source.columns["service"].missing == ("none",)
    assert source.columns["sent"].minimum == "2013-01-01"
    assert source.columns["hours_late"].roles == {"excluded", "target"}
    assert source.columns["weight"].roles == {"feature"}
    assert contract.sources["depots"].columns["town"].roles == {"feature"}
    assert contract.joins == (
        Join("depots", (("depot", "depot"),), {"city": "town"}, warn_below=0.99, line=36),
        Join(
            "weather",
            (("depot", "place"),),
            {"rain": "rain"},
            as_of=("sent", "at"),
            tolerance=10800.0,
            known_after=3600.0,
            line=37,
        ),
    )
    assert contract.target == Target("late", "hours_late > 2", "binary", True, 38)
    assert contract.split == Split("time", 2, embargo=1, line=39)
    assert contract.features == (
        Feature("weight", "numeric", uses=("weight",), line=41),
        Feature("hour", "numeric", computed=True, uses=("sent",), line=41),
        Feature("rush", "numeric", computed=True, uses=("hour",), line=41),
        Feature("service", "categorical", uses=("service",), line=43),
        Feature("city", "categorical", uses=("city",), line=44),
    )
    assert contract.baselines == (Candidate("prior", "prior", {}, 46), Candidate("linear", "linear", {"C": 0.5}, 46))
    assert contract.candidates[1] == Candidate("deep", "boosted_trees", {"max_depth": 12, "learning_rate": 0.05}, 49)
    assert contract.gates == Gates("roc_auc", {"roc_auc": 0.6}, {"roc_auc": 0.95}, ("prior",))
    assert contract.limits == Limits(0.01, 0.1)
    assert list(contract.cleaned_columns())[-2:] == ["city", "rain"]
    assert contract.sensitive() == {"phone"}


def test_a_dataset_without_batches_needs_no_python(tmp_path: Path) -> None:
    folder = tmp_path / "churn"
    (folder / "landing").mkdir(parents=True)
    (folder / "dataset.yaml").write_text(CHURN)
    contract = load_contract(folder)
    assert contract.partitions == Partitions()
    assert contract.split == Split("hash", 0.15)
    assert (contract.spine, contract.supplier, contract.joins) == ("customers", None, ())
    assert contract.target.positive == "Yes"
    assert contract.sources["customers"].columns["SeniorCitizen"].values == (0, 1)
    assert [model.name for model in contract.baselines] == ["prior", "linear"]
    assert contract.gates == Gates("roc_auc", {"roc_auc": 0.75}, {}, ("prior", "linear"))
    assert contract.limits == Limits()


def test_features_may_be_columns_with_that_role(tmp_path: Path) -> None:
    text = CHURN.replace("features:\n  numeric: [SeniorCitizen, tenure, MonthlyCharges, TotalCharges]\n", "").replace(
        "  categorical: [gender, Partner, InternetService, Contract, PaymentMethod]\n", ""
    )
    text = text.replace("minimum: 0, description", "minimum: 0, role: feature, description")
    text = text.replace("PaymentMethod: string", "PaymentMethod: {type: string, role: feature}")
    contract = load_contract(write(tmp_path / "churn", text))
    assert [(f.name, f.kind) for f in contract.features] == [("tenure", "numeric"), ("PaymentMethod", "categorical")]


def test_a_regression_and_classes(tmp_path: Path) -> None:
    price = CHURN.replace(
        "expression: Churn, positive: Yes, task: binary", "expression: MonthlyCharges, task: regression"
    )
    price = (
        price.replace("name: Churn", "name: price")
        .replace("tenure, MonthlyCharges", "tenure")
        .replace("{roc_auc: 0.75}", "{r2: 0}")
    )
    price = price.replace("models:", "models:\n  baselines: {linear: {alpha: 0.1}}")
    contract = load_contract(write(tmp_path / "price", price))
    assert (contract.gates.metric, contract.gates.minimum) == ("rmse", {"r2": 0})
    classes = CHURN.replace("expression: Churn, positive: Yes, task: binary", "expression: Contract, task: multiclass")
    classes = (
        classes.replace("name: Churn", "name: term")
        .replace("InternetService, Contract", "InternetService")
        .replace("{roc_auc: 0.75}", "{}")
    )
    assert load_contract(write(tmp_path / "classes", classes)).gates.metric == "log_loss"


def test_several_datasets(tmp_path: Path) -> None:
    write(tmp_path / "parcels")
    write(tmp_path / "churn", CHURN)
    (tmp_path / "notes").mkdir()
    assert list(load_contracts(tmp_path)) == ["churn", "parcels"]
    assert load_contracts(tmp_path / "nowhere") == {}


def test_mistakes_of_several_datasets_are_told_together(tmp_path: Path) -> None:
    write(tmp_path / "one", PARCELS.replace("task: binary", "task: binari"))
    write(tmp_path / "two", CHURN.replace("tenure: {type: int64", "tenure: {type: int"))
    with pytest.raises(ContractError) as caught:
        load_contracts(tmp_path)
    assert caught.value.sentences == (
        f"{tmp_path}/one/dataset.yaml:38: Target: 'task' cannot be 'binari'; did you mean 'binary'?",
        (
            f"{tmp_path}/two/dataset.yaml:14: Column 'tenure' of 'customers': 'type' cannot be 'int'; did you mean "
            f"'int64'?"
        ),
    )


def test_all_mistakes_of_a_file_in_the_order_of_its_lines(tmp_path: Path) -> None:
    text = (
        PARCELS.replace("minimum: 1}", "minimum: one}")
        .replace("limits:", "limit:")
        .replace("[service], t", "[servic], t")
    )
    assert told(write(tmp_path / "parcels", text)) == [
        "dataset.yaml:13: Column 'number' of 'parcels': 'minimum' should be a whole number, not 'one'.",
        "dataset.yaml:50: Evaluation: there is no column 'servic'; did you mean 'service'?",
        "dataset.yaml:52: Unknown key 'limit'; did you mean 'limits'?",
    ]


def test_a_folder_without_a_contract(tmp_path: Path) -> None:
    with pytest.raises(ContractError) as caught:
        load_contract(tmp_path)
    assert caught.value.sentences == (
        f"{tmp_path}/dataset.yaml:1: There is no such file; a dataset's folder describes itself in dataset.yaml.",
    )


def test_a_folder_whose_name_is_no_name(tmp_path: Path) -> None:
    assert told(write(tmp_path / "my parcels")) == [
        "dataset.yaml:1: A dataset is called as its folder: a letter, then letters, digits or _, not 'my parcels'."
    ]


# (what stands in PARCELS, what stands there instead, the sentence); the line is that of the first difference, unless
# the sentence begins with another.
MISTAKES = [
    # --- names and types of values
    (
        "owners: [team:logistics",
        "owners: [logistics",
        "'owners' has 'logistics'; an owner is team:name or an e-mail address.",
    ),
    (
        "description: Parcels, and whether they come late.",
        "description:",
        "'description' is empty; write a text, or \"\" for the empty one.",
    ),
    ("nullable: false", "nullable: no", "Column 'weight' of 'parcels': 'nullable' should be true or false, not 'no'."),
    (
        "maximum: 70.5",
        'maximum: "70.5"',
        ("Column 'weight' of 'parcels': 'maximum' should be a number, not the text '70.5'; leave out the quotes."),
    ),
    ("maximum: 70.5", "maximum: [70.5]", "Column 'weight' of 'parcels': 'maximum' should be a number, not a list."),
    ("minimum: 1}", "minimum: 017}", "Column 'number' of 'parcels': 'minimum' should be a whole number, not '017'."),
    ("minimum: 1}", "minimum: }", "Column 'number' of 'parcels': 'minimum' is empty; write a whole number."),
    (
        "minimum: 2013-01-01",
        "minimum: soon",
        "Column 'sent' of 'parcels': 'minimum' should be a date like 2013-01-31, not 'soon'.",
    ),
    ("spine: parcels", "spine: {a: b}", "'spine' should be a text, not a mapping."),
    ("limits: {warn: 0.01", "limits: {warn: 1.5", "Limits: 'warn' should be a share between 0 and 1, not 1.5."),
    ("limits: {warn: 0.01, refuse: 0.1}", "limits: 3", "'limits' should be a mapping ('name: value' lines)."),
    (
        "limits: {warn: 0.01",
        "limits: {warn: 0.2",
        "Limits: warn 0.2 is above refuse 0.1; a warning would come after the refusal.",
    ),
    # --- partitions
    (
        "cadence: yearly, ",
        "",
        "Partitions: 'cadence' is missing; one of hourly, daily, weekly, monthly, yearly, named.",
    ),
    ("cadence: yearly", "cadence: yearli", "Partitions: 'cadence' cannot be 'yearli'; did you mean 'yearly'?"),
    ("start: 2013,", "start: 2013-01,", "Partitions: 'start': '2013-01' is not a year; write it like 2013."),
    ("start: 2013, end: 2015", "end: 2015", "Partitions: 'start' is missing; write the first batch's key."),
    ("end: 2015", "end: 2012", "Partitions: the end '2012' is before the start '2013'."),
    # --- sources
    ("  depots:\n", "  my-depots:\n", "Source 'my-depots': a source's name is a letter and then letters, digits or _."),
    (
        '    files: "landing/parcels_{batch}.csv"\n',
        "",
        "6: Source 'parcels': 'files' is missing; write a pattern like \"landing/orders_{batch}.csv\".",
    ),
    (
        "landing/depots.csv",
        "/etc/depots.csv",
        "Source 'depots': 'files' is '/etc/depots.csv'; it should stay inside the dataset's folder.",
    ),
    (
        "landing/depots.csv",
        "../depots.csv",
        "Source 'depots': 'files' is '../depots.csv'; it should stay inside the dataset's folder.",
    ),
    (
        "landing/parcels_{batch}.csv",
        "landing/parcels_{month}.csv",
        "Source 'parcels': 'files' is 'landing/parcels_{month}.csv'; the only braces it may have are {batch}.",
    ),
    (
        "landing/depots.csv",
        "landing/depots_{batch}.csv",
        "Source 'depots': a reference is one table for all batches; leave {batch} out of 'files'.",
    ),
    (
        "    event_time: at\n",
        "",
        "29: Source 'weather': nothing tells a row's batch; put {batch} into 'files', or say the 'event_time'.",
    ),
    (
        "event_time: at",
        "event_time: att",
        "Source 'weather': the event time names a column 'att' that is not there; did you mean 'at'?",
    ),
    (
        "event_time: at",
        "event_time: rain",
        "Source 'weather': the event time's column 'rain' should be a date or a timestamp, not float64.",
    ),
    (
        "event_time: {year: year}",
        "event_time: {year: depot}",
        "Source 'parcels': the event time's column 'depot' should be int64, not string.",
    ),
    (
        "event_time: {year: year}",
        "event_time: {month: year}",
        "Source 'parcels', event_time: give the columns of year, month, day and hour, from the year on without a gap.",
    ),
    (
        "event_time: {year: year}",
        "event_time: {yaer: year}",
        "Source 'parcels', event_time: unknown key 'yaer'; did you mean 'year'?",
    ),
    (
        "key: [depot, number]",
        "key: [depot, nummer]",
        "Source 'parcels': the key names a column 'nummer' that is not there; did you mean 'number'?",
    ),
    (
        "key: [depot, number]",
        "key: [depot, weight]",
        "Source 'parcels': the key's column 'weight' is a float64; fractions make no key. Use int64 or string.",
    ),
    ("key: [depot, number]", "key: [depot, number, depot]", "Source 'parcels': the key names 'depot' twice."),
    (
        "    key: [depot, number]\n",
        "",
        (
            "6: The spine 'parcels' has no 'key'; list the columns that tell two rows apart (all, when nothing "
            "less does). "
            "Splits and exact counts stand on it."
        ),
    ),
    # --- formats
    (
        'delimiter: ";"',
        "delimiter: tabs",
        "Source 'parcels', format: 'delimiter' should be one sign, like ';' or tab, not 'tabs'.",
    ),
    (
        'delimiter: ";"',
        'delimiter: "."',
        "Source 'parcels', format: delimiter, quote and decimal sign cannot be the same letter.",
    ),
    (
        'delimiter: ";"',
        "encoding: utf-9",
        "Source 'parcels', format: 'encoding' is 'utf-9', an encoding nobody knows; try utf-8.",
    ),
    (
        "format: parquet",
        'format: {kind: parquet, quote: "\'"}',
        "Source 'weather', format: 'quote' goes with csv only, not with parquet.",
    ),
    # --- columns
    (
        "weight: {type: float64, nullable",
        "weight: {nullable",
        (
            "Column 'weight' of 'parcels': 'type' is missing; one of "
            "'string', 'int64', 'float64', 'boolean', 'date', 'timestamp'."
        ),
    ),
    (
        "      opened: date",
        "      opened: dat",
        "Source 'depots', columns: 'opened' cannot be 'dat'; did you mean 'date'?",
    ),
    ("      opened: date", "      _file: date", "Source 'depots', columns: a column cannot be called '_file'."),
    ("minimum: 1}", "minimal: 1}", "Column 'number' of 'parcels': unknown key 'minimal'; did you mean 'minimum'?"),
    (
        "minimum: 1}",
        "nullable: true}",
        "Column 'number' of 'parcels': it is part of the key and so never null; leave 'nullable' out.",
    ),
    (
        "year: int64",
        "year: {type: int64, nullable: true}",
        "Column 'year' of 'parcels': it is part of the event time and so never null; leave 'nullable' out.",
    ),
    (
        "minimum: 0, maximum: 70.5",
        "minimum: 80, maximum: 70.5",
        "Column 'weight' of 'parcels': the minimum 80 is above the maximum 70.5; no value fits.",
    ),
    (
        "values: [Yes, No, 010]",
        "minimum: a",
        "Column 'service' of 'parcels': 'minimum' goes with numbers and dates, not with string.",
    ),
    ("minimum: 1}", 'pattern: "[1-9]+"}', "Column 'number' of 'parcels': 'pattern' goes with string, not with int64."),
    (
        "minimum: 1}",
        "format: '%Y'}",
        "Column 'number' of 'parcels': 'format' goes with date and timestamp, not with int64.",
    ),
    (
        '"[0-9 +]+"',
        '"[0-9 +"',
        (
            "Column 'phone' of 'parcels': 'pattern' '[0-9 +' is no regular expression at letter 1: "
            "unterminated character set."
        ),
    ),
    (
        "%Y-%m-%dT%H:%M:%SZ",
        "%Y-%q",
        ("Column 'sent' of 'parcels': 'format' has '%q'; write a pattern like %Y-%m-%d or %d.%m.%Y %H:%M."),
    ),
    (
        "%Y-%m-%dT%H:%M:%SZ",
        "yyyy",
        ("Column 'sent' of 'parcels': 'format' is 'yyyy'; write a pattern like %Y-%m-%d or %d.%m.%Y %H:%M."),
    ),
    (
        "missing: [none]",
        "missing: [No]",
        "Column 'service' of 'parcels': 'No' cannot be a value and mean a missing one.",
    ),
    (
        "role: sensitive",
        "role: sensitiv",
        "Column 'phone' of 'parcels': 'role' cannot be 'sensitiv'; did you mean 'sensitive'?",
    ),
    (
        "role: sensitive",
        "role: key",
        "Column 'phone' of 'parcels': 'role' 'key' is not written here; it follows from the source's 'key'.",
    ),
    (
        "role: sensitive",
        "role: [sensitive, feature]",
        "Column 'phone' of 'parcels': the roles 'feature' and 'sensitive' contradict each other.",
    ),
    # --- spine and joins
    ("spine: parcels\n", "spine: parcel\n", "The spine 'parcel' is no source; did you mean 'parcels'?"),
    (
        "spine: parcels\n",
        "spine: depots\n",
        "The spine 'depots' is a reference; its rows are the dataset's, so it is a batch.",
    ),
    ("source: depots", "source: depot", "Join of 'depot': there is no source 'depot'; did you mean 'depots'?"),
    ("on: [depot]", "on: [depo]", "Join of 'depots': the spine has no column 'depo'; did you mean 'depot'?"),
    ("on: [depot]", "on: {depot: dept}", "Join of 'depots': 'depots' has no column 'dept'; did you mean 'depot'?"),
    (
        "on: [depot]",
        "on: {number: depot}",
        "Join of 'depots': 'number' is int64 and 'depot' is string; they never match.",
    ),
    (
        "on: [depot]",
        "on: {depot: town}",
        "Join of 'depots': a row could match several of 'depots': its key has 'depot' too.",
    ),
    (
        "    key: depot\n",
        "",
        "35: Join of 'depots': 'depots' has no key, so a row could match several; give it a 'key'.",
    ),
    ("{city: town}", "{city: twon}", "Join of 'depots': 'depots' has no column 'twon'; did you mean 'town'?"),
    (
        "{city: town}",
        "{phone: town, city: town}",
        "Join of 'depots': the column 'phone' comes from the spine 'parcels' already; rename it: {new: old}.",
    ),
    (
        "source: depots, on: [depot], ",
        "source: depots, ",
        "36: Join of 'depots': 'on' is missing; name the columns that must be equal.",
    ),
    (
        "tolerance: 3h",
        "tolerance: 3 weeks",
        "Join of 'weather': 'tolerance' should be a time like 90m, 3h or 2d, not '3 weeks'.",
    ),
    (", warn_below: 0.99", ", tolerance: 2d", "Join of 'depots': 'tolerance' goes with 'as_of' only."),
    (", warn_below: 0.99", ", known_after: 2d", "Join of 'depots': 'known_after' goes with 'as_of' only."),
    (
        "known_after: 1h",
        "known_after: soon",
        "Join of 'weather': 'known_after' should be a time like 90m, 3h or 2d, not 'soon'.",
    ),
    (
        "known_after: 1h",
        "known_after: 4h",
        (
            "Join of 'weather': 'tolerance' counts from a row's own time, and what is known only after it is over "
            "never matches; write a 'tolerance' longer than 'known_after'."
        ),
    ),
    (
        "as_of: {sent: at}",
        "as_of: {number: rain}",
        "Join of 'weather': 'number' is int64 and 'rain' is float64; they never match.",
    ),
    (
        "as_of: {sent: at}",
        "as_of: {depot: place}",
        ("Join of 'weather': 'as_of' compares dates or timestamps, 'depot' is string."),
    ),
    ("as_of: {sent: at}", "as_of: [sent, at]", "Join of 'weather': 'as_of' is one time column, or {ours: theirs}."),
    # --- target
    (
        "hours_late > 2",
        "hour_late > 2",
        "Target: 'hour_late > 2': there is no column 'hour_late'; did you mean 'hours_late'?",
    ),
    (
        "hours_late > 2",
        "opened > '2013-01-01'",
        (
            "Target: \"opened > '2013-01-01'\": there is no column 'opened'; the source "
            "'depots' has it: add it to the join's columns."
        ),
    ),
    ("hours_late > 2", "hours_late = 2", "Target: 'hours_late = 2' cannot be read; write '==' to compare."),
    (
        "hours_late > 2",
        "hours_late > 'x'",
        ("Target: \"hours_late > 'x'\": 'hours_late' is a number and 'x' is a text; compare like with like."),
    ),
    (
        "hours_late > 2",
        "hours_late + 2",
        "Target: a binary task predicts true or false, and 'hours_late + 2' is a number.",
    ),
    (
        '"hours_late > 2"',
        "hours_late",
        "38: Target: 'positive' is missing; say which value of 'hours_late' is predicted.",
    ),
    (
        "task: binary",
        "task: binary, positive: late",
        "Target: 'hours_late > 2' is true or false; 'positive' cannot be 'late'.",
    ),
    ('"hours_late > 2"', "hours_late, positive: late", "Target: 'positive' is 'late' and 'hours_late' is a number."),
    ("task: binary", "task: regression, positive: late", "Target: 'positive' goes with binary only."),
    ("task: binary", "task: regression", "Target: a regression predicts a number, and 'hours_late > 2' is a boolean."),
    ("task: binary", "task: multiclass", "Target: a multiclass task predicts texts or whole numbers, not a boolean."),
    ("name: late", "name: weight", "Target: 'weight' is a column already; call the target something else."),
    # --- split
    ("validation: 2", "validation: -1", "Split: 'validation' is a number of batches, not -1."),
    ("validation: 2", "validation: 0.2", "Split: 'validation' should be a whole number, not '0.2'."),
    ("validation: 2", "test: 0.2", "Split: by time the test set is the newest batch; 'test' goes with 'by: hash'."),
    ("by: time, validation: 2, embargo: 1", "by: hash, embargo: 1", "Split: 'embargo' goes with 'by: time'."),
    (
        "by: time, validation: 2, embargo: 1",
        "by: hash, validation: 0.5, test: 0.5",
        "Split: validation 0.5 and test 0.5 leave no rows to test or to train on.",
    ),
    ("embargo: 1", "group: [dpot]", "Split: there is no column 'dpot'; did you mean 'depot'?"),
    # --- features
    (
        "[weight, hour, rush]",
        "[wieght, hour, rush]",
        "Features: 'wieght' is no column and no function of features.py; did you mean 'weight'?",
    ),
    ("[weight, hour, rush]", "[weight, hour, rush, weight]", "Features: 'weight' is listed twice."),
    (
        "[weight, hour, rush]",
        "[hours_late, hour, rush]",
        "Features: 'hours_late' is what the target 'late' is made from; it cannot be a feature.",
    ),
    ("    - service", "    - phone", "Features: 'phone' is sensitive; it cannot be a feature."),
    (
        "    - service",
        "    - sent",
        "Features: 'sent' is a timestamp and cannot be categorical; compute something from it in features.py.",
    ),
    ("  numeric: [weight", "  number: [weight", "Features: unknown key 'number'; did you mean 'numeric'?"),
    ("[weight, hour, rush]", "[{weight: 1}, hour, rush]", "Features: 'numeric' should be a text, not a mapping."),
    (
        "[weight, hour, rush]",
        "[target, hour, rush]",
        "Features: 'target' is a name of the feature table's own; rename it.",
    ),
    # --- models
    (
        "boosted_trees: {max_iter: 50}",
        "boosted_trees: {max_itr: 50}",
        "Model 'boosted_trees': boosted_trees has no setting 'max_itr'; did you mean 'max_iter'?",
    ),
    (
        "boosted_trees: {max_iter: 50}",
        "boosted_trees: {max_iter: many}",
        "Model 'boosted_trees': 'max_iter' should be a whole number, not 'many'.",
    ),
    (
        "boosted_trees: {max_iter: 50}",
        "boosted_trees: {early_stopping: true}",
        (
            "Model 'boosted_trees': 'early_stopping' "
            "cannot be set: it is always off: it would hold back rows at random instead of by the split."
        ),
    ),
    (
        "    boosted_trees: {max_iter: 50}",
        "    boosted_tree: {max_iter: 50}",
        (
            "Model 'boosted_tree': its name is no kind of model; say 'kind: ' and one of 'prior', 'linear', "
            "'boosted_trees', "
            "'random_forest'; did you mean 'boosted_trees'?"
        ),
    ),
    (
        "kind: boosted_trees",
        "kind: boosted_tree",
        "Model 'deep': 'kind' cannot be 'boosted_tree'; did you mean 'boosted_trees'?",
    ),
    (
        "    deep: {",
        "    linear: {",
        ("47: Models: 'linear' is a baseline and a candidate; give one of them another name and a 'kind'."),
    ),
    ("    deep: {", "    de-ep: {", "Model 'de-ep': a model's name is a letter and then letters, digits or _."),
    (
        "{C: 0.5}",
        "{alpha: 0.5}",
        ("Model 'linear': linear has no setting 'alpha'; known are 'C', 'class_weight', 'max_iter', 'tol'."),
    ),
    # --- evaluation and gates
    (
        "threshold: 0.5",
        "threshold: high",
        "Evaluation: 'threshold' should be a probability between 0 and 1, or prevalence.",
    ),
    ("threshold: 0.5", "bootstrap: 0", "Evaluation: 'bootstrap' should be at least 1, not 0."),
    (
        "groups: [service]",
        "groups: [phone]",
        (
            "Evaluation: a report by 'phone' would show its values, and it is sensitive; "
            "use role: excluded for a column that is only kept out of the features."
        ),
    ),
    (
        "groups: [service]",
        "groups: [weight]",
        "Evaluation: 'weight' is a float64; groups are texts, whole numbers or truth values.",
    ),
    (
        "metric: roc_auc",
        "metric: rmse",
        (
            "Gates: 'rmse' is no metric of a binary task; known are 'accuracy', "
            "'average_precision', 'brier', 'f1', 'log_loss', 'roc_auc'."
        ),
    ),
    (
        "minimum: {roc_auc: 0.6}",
        "minimum: {rocauc: 0.6}",
        "Gates, minimum: 'rocauc' is no metric of a binary task; did you mean 'roc_auc'?",
    ),
    (
        "minimum: {roc_auc: 0.6}",
        "minimum: {roc_auc: 0.99}",
        "Gates: the minimum of 'roc_auc' is above its maximum; nothing passes.",
    ),
    ("beat: [prior]", "beat: [deep]", "Gates: 'beat' names 'deep', which is no baseline; known are 'linear', 'prior'."),
    (
        "supplier: supplier.py",
        "supplier: suplier.py",
        "'supplier' names 'suplier.py', and the folder has no such file.",
    ),
    (
        "supplier: supplier.py",
        "supplier: ../supplier.py",
        "'supplier' is '../supplier.py'; it should be a Python file in the dataset's folder.",
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "sentence"), MISTAKES, ids=[f"{m[1].strip()[:40]}-{n}" for n, m in enumerate(MISTAKES)]
)
def test_a_mistake(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert PARCELS.count(old) == 1, f"{old!r} should stand once in the text"
    text = PARCELS.replace(old, new)
    place = line(PARCELS, old)
    if not sentence[0].isdigit():
        sentence = f"{place}: {sentence}"
    assert f"dataset.yaml:{sentence}" in told(write(tmp_path / "parcels", text))


@pytest.mark.parametrize(
    ("old", "new", "sentences"),
    [
        (
            "joins:\n",
            "joins:\n  source: depots\nnotes:\n",
            ["35: 'joins' should be a list, each item with source, on and columns."],
        ),
        ("spine: parcels\njoins:\n", "joins:\n", None),
        (
            "sources:\n",
            "sources:\nsource:\n",
            [
                ("5: Sources: there is none; describe the dataset's files, at least one source."),
                "6: Unknown key 'source'; did you mean 'sources'?",
            ],
        ),
        (
            "target: {",
            "targets: {",
            [("1: 'target' is missing; write {name: late, expression: \"delay > 15\", task: binary}.")],
        ),
        (
            "models:\n",
            "model:\n",
            [("1: 'models' is missing; name at least one candidate, like {candidates: {boosted_trees: {}}}.")],
        ),
        (
            (
                "  candidates:\n    boosted_trees: {max_iter: 50}\n    deep: {kind: boosted_trees, max_depth: 12, "
                "learning_rate: 0.05}\n"
            ),
            "",
            ["46: Models: there is no candidate; name at least one, like {candidates: {boosted_trees: {}}}."],
        ),
        (
            "features:\n  numeric: [weight, hour, rush]\n  categorical:\n    - service\n    - city\n",
            "",
            ["1: There is no feature; list them: features: {numeric: [..], categorical: [..]}."],
        ),
        (
            "partitions: {cadence: yearly, start: 2013, end: 2015}\n",
            "",
            [
                (
                    "6: Source 'parcels': the dataset is not partitioned; leave {batch} out of 'files', or say "
                    "'partitions'."
                ),
                "38: Split: batches have no time here; write 'by: hash', or give 'partitions' a cadence of time.",
            ],
        ),
        (
            "partitions: {cadence: yearly, start: 2013, end: 2015}",
            "partitions: {cadence: named, start: 2013}",
            [
                "4: Partitions: 'start' goes with batches of time, not with cadence named.",
                "29: Source 'weather': named batches are told apart by their files; put {batch} into 'files'.",
            ],
        ),
        (
            "partitions: {cadence: yearly, start: 2013, end: 2015}",
            "partitions: {cadence: monthly, start: 2013-01}",
            [
                (
                    "10: Source 'parcels': monthly batches cannot be told from year alone; name the columns of "
                    "'year', 'month'."
                )
            ],
        ),
    ],
)
def test_mistakes_of_several_lines(tmp_path: Path, old: str, new: str, sentences: list[str] | None) -> None:
    assert PARCELS.count(old) == 1
    folder = write(tmp_path / "parcels", PARCELS.replace(old, new))
    if sentences is None:
        assert load_contract(folder).spine == "parcels"  # the only batch source that is not joined
        return
    found = told(folder)
    for sentence in sentences:
        assert f"dataset.yaml:{sentence}" in found


def test_the_spine_must_be_named_when_it_could_be_two(tmp_path: Path) -> None:
    text = PARCELS.replace("spine: parcels\n", "").replace("  - {source: weather", "  # {source: weather")
    assert told(write(tmp_path / "parcels", text)) == [
        "dataset.yaml:1: 'spine' is missing; say whose rows are the dataset's: 'parcels' or 'weather'."
    ]


def test_the_spine_is_not_joined_to_itself(tmp_path: Path) -> None:
    text = PARCELS.replace("spine: parcels\n", "spine: weather\n")
    assert "dataset.yaml:35: The spine 'weather' cannot be joined to itself." in told(write(tmp_path / "parcels", text))


def test_no_source_is_left_for_the_spine(tmp_path: Path) -> None:
    text = PARCELS.replace("spine: parcels\n", "").replace("source: depots", "source: parcels")
    assert (
        "dataset.yaml:5: No source's rows can be the dataset's; one source of kind batch must not be joined."
        in told(write(tmp_path / "parcels", text))
    )


def test_a_date_is_no_hour(tmp_path: Path) -> None:
    text = CHURN.replace("sources:", "partitions: {cadence: hourly, start: 2013-01-01T00}\nsources:")
    text = text.replace("    key: [customerID]", "    key: [customerID]\n    event_time: day").replace(
        "      gender:", "      day: date\n      gender:"
    )
    assert told(write(tmp_path / "churn", text)) == [
        "dataset.yaml:10: Source 'customers': the batches are hours and 'day' is a date; a timestamp is needed."
    ]


def test_the_predicted_class_is_one_of_the_columns_values(tmp_path: Path) -> None:
    text = CHURN.replace("positive: Yes", "positive: yes")
    assert told(write(tmp_path / "churn", text)) == [
        "dataset.yaml:22: Target: 'positive' is 'yes' and 'Churn' is one of 'Yes', 'No'."
    ]


def test_a_threshold_is_for_two_classes(tmp_path: Path) -> None:
    text = PARCELS.replace('"hours_late > 2", task: binary', "hours_late, task: regression")
    assert "dataset.yaml:50: Evaluation: 'threshold' goes with binary only, not with regression." in told(
        write(tmp_path / "parcels", text)
    )


def test_what_an_excluded_column_brings_is_excluded_too(tmp_path: Path) -> None:
    text = PARCELS.replace(
        "depot: string\n      number", "depot: string\n      last: {type: string, role: excluded}\n      number"
    )
    text = text.replace("on: [depot]", "on: {last: depot}")
    assert told(write(tmp_path / "parcels", text)) == [
        (
            "dataset.yaml:45: Features: 'city' comes by a join on 'last', which is known only after the event; "
            "it cannot be "
            "a feature."
        )
    ]


@pytest.mark.parametrize(
    ("code", "sentences"),
    [
        (
            "def hour(sent, hours_late):\n    pass\n\n\ndef rush(hour):\n    pass\n",
            ["features.py:1: 'hour' uses 'hours_late', which is what the target 'late' is made from."],
        ),
        (
            "def hour(phone):\n    pass\n\n\ndef rush(hour):\n    pass\n",
            ["features.py:1: 'hour' uses 'phone', which is sensitive."],
        ),
        (
            "def rush(hour):\n    pass\n\n\ndef hour(rush):\n    pass\n",
            ["features.py:5: 'hour' uses the feature 'rush', which dataset.yaml lists later; list 'rush' first."],
        ),
        (
            "def hour(sentt):\n    pass\n\n\ndef rush(opened):\n    pass\n",
            [
                "features.py:1: 'hour' takes 'sentt', which is no column and no feature; did you mean 'sent'?",
                (
                    "features.py:5: 'rush' takes 'opened', which is no column and no feature; the source "
                    "'depots' has it: add it to "
                    "the join's columns."
                ),
            ],
        ),
        (
            "def hour(**columns):\n    pass\n\n\ndef rush():\n    pass\n",
            [
                "features.py:1: 'hour' takes *args or **kwargs; name each column that it needs as a parameter.",
                "features.py:1: 'hour' takes no column; name the ones that it needs as parameters.",
                "features.py:5: 'rush' takes no column; name the ones that it needs as parameters.",
            ],
        ),
        (
            "def hour(sent):\n    pass\n\n\ndef hour(sent):\n    pass\n\n\ndef rush(hour):\n    pass\n",
            ["features.py:5: The function 'hour' is defined twice, first on line 1."],
        ),
        (
            FEATURES + "\n\ndef weight(sent):\n    pass\n",
            ["dataset.yaml:41: Features: 'weight' is a column and a function of features.py; rename the function."],
        ),
        ("def hour(sent:\n", ["features.py:1: This is not Python: '(' was never closed."]),
        (
            "def hour(sent):\n    return '\0'\n",
            ["features.py:1: This is not Python: source code string cannot contain null bytes."],
        ),
    ],
)
def test_mistakes_in_features(tmp_path: Path, code: str, sentences: list[str]) -> None:
    found = told(write(tmp_path / "parcels", features=code))
    assert [sentence for sentence in found if sentence in sentences] == sentences


def test_an_outcome_that_is_not_the_target_is_refused_too(tmp_path: Path) -> None:
    text = PARCELS.replace("phone: {", "signed: {type: float64, role: excluded}\n      phone: {")
    text = text.replace("[weight, hour, rush]", "[signed, hour, rush]")
    code = FEATURES.replace("hour(sent:", "hour(signed:")
    assert told(write(tmp_path / "parcels", text, code)) == [
        "dataset.yaml:42: Features: 'signed' is known only after the event (role: excluded); it cannot be a feature.",
        "features.py:4: 'hour' uses 'signed', which is known only after the event (role: excluded).",
    ]


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("x = 1\n", "supplier.py:1: A supplier defines deliver(landing, through), which this file does not."),
        (
            "def deliver(folder):\n    pass\n",
            "supplier.py:1: deliver takes (landing, through), here it takes (folder).",
        ),
        ("def deliver(:\n", "supplier.py:1: This is not Python: invalid syntax."),
    ],
)
def test_mistakes_in_a_supplier(tmp_path: Path, code: str, sentence: str) -> None:
    assert told(write(tmp_path / "parcels", supplier=code)) == [sentence]
