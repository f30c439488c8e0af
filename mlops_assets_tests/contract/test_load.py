"""A whole dataset folder read, and every mistake with its file, line and sentence."""

from pathlib import Path

import pytest

from mlops_assets.contract.load import load_contract, load_contracts
from mlops_assets.contract.model import Candidate, Column, Feature, Gates, Join, Limits, Partitions, Split, Target
from mlops_assets.errors import ContractError
from mlops_assets_tests.contract.parcels import CHURN, PARCELS, each_mistake, placed, told, told_instead, write

MISTAKES = [
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


@each_mistake(MISTAKES)
def test_a_mistake(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert placed(old, sentence) in told_instead(tmp_path, old, new)


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
