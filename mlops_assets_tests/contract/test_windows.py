"""Features from the past: what ``windows`` can say, what is told of the rest, and how far back batches are needed."""

from datetime import date, timedelta
from pathlib import Path

import pytest

from mlops_assets.contract.calendar import Calendar
from mlops_assets.contract.load import load_contract
from mlops_assets.contract.model import Cadence, Contract, Feature, Window, Windows
from mlops_assets.contract.windows import batches_back
from mlops_assets.errors import ContractError
from mlops_assets_tests.datasets import write_contract

LISTED = "features: {numeric: [minutes, pages, size], categorical: [shop]}\n"
EACH = "shop_paid: {by: [shop], take: mean, of: paid, over: 2d, known_after: 1d}"


def read(
    tmp_path: Path,
    *each: str,
    head: str = "look_back: 2",
    numeric: str = "minutes, pages",
    code: str = "",
    cadence: str = "daily",
    **changes: str,
) -> Contract:
    """The visits with these windows."""
    features = f"features:\n  numeric: [{numeric}]\n  windows:\n    {head}\n    each:\n"
    features += "".join(f"      {line}\n" for line in each) + "  categorical: [shop]\n"
    folder = write_contract(tmp_path, cadence=cadence, **{LISTED: features}, **changes)
    (folder / "features.py").write_text(code)
    return load_contract(folder)


def told(tmp_path: Path, *each: str, **more: str) -> list[str]:
    """What is wrong, each sentence with the first word of the line that it names."""
    with pytest.raises(ContractError) as caught:
        read(tmp_path, *each, **more)
    return [f"{at(Path(file), int(line))}{said}" for file, line, said in map(split, caught.value.sentences)]


def split(sentence: str) -> list[str]:
    return sentence.split(":", 2)


def at(file: Path, line: int) -> str:
    return f"{file.read_text().splitlines()[line - 1].split()[0]}"


def named(folder: Path, part: str) -> int:
    """The line of the contract that begins so."""
    lines = (folder / "visits" / "dataset.yaml").read_text().splitlines()
    return next(number for number, text in enumerate(lines, 1) if text.strip().startswith(part))


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    contract = read(
        tmp_path,
        EACH,
        "visits_before: {by: [shop, minutes_long], take: count, over: 36h, known_after: 0s}",
        'share: {by: shop, take: mean, of: "paid / 2 > 10 and pages is not null", over: 1d, known_after: 30m}',
        head="look_back: 3\n    time: day",
        **{"pages: {type: int64, minimum: 0}": "pages: int64\n      minutes_long: boolean"},
    )
    assert contract.windows == Windows(
        (
            Window("shop_paid", ("shop",), "mean", 172800, 86400, "paid", line=named(tmp_path, "shop_paid")),
            Window(
                "visits_before", ("shop", "minutes_long"), "count", 129600, 0, line=named(tmp_path, "visits_before")
            ),
            Window(
                "share",
                ("shop",),
                "mean",
                86400,
                1800,
                "paid / 2 > 10 and pages is not null",
                line=named(tmp_path, "share"),
            ),
        ),
        look_back=3,
        time="day",
        line=named(tmp_path, "windows"),
    )
    assert contract.features[2:] == (
        Feature("shop_paid", "numeric", window=True, uses=("shop", "day"), line=named(tmp_path, "shop_paid")),
        Feature(
            "visits_before",
            "numeric",
            window=True,
            uses=("shop", "minutes_long", "day"),
            line=named(tmp_path, "visits_before"),
        ),
        Feature("share", "numeric", window=True, uses=("shop", "day"), line=named(tmp_path, "share")),
        Feature("shop", "categorical", uses=("shop",), line=named(tmp_path, "categorical")),
    )
    assert "feature" not in contract.cleaned_columns()["paid"].roles


def test_what_need_not_be_said(tmp_path: Path) -> None:
    contract = read(tmp_path, "before: {by: [shop], take: count, over: 1d, known_after: 1d}", head="# as it is")
    assert (contract.windows.look_back, contract.windows.time) == (1, None)
    assert contract.features[2].uses == ("shop", "day")


def test_functions_may_ask_for_the_windows_that_stand_before_them(tmp_path: Path) -> None:
    code = "def hope(shop_paid, pages):\n    return shop_paid * pages\n"
    after = f"windows: {{look_back: 2, each: {{{EACH}}}}}"
    text = f"features:\n  {after}\n  numeric: [hope]\n"
    folder = write_contract(tmp_path / "good", **{LISTED: text})
    (folder / "features.py").write_text(code)
    assert [feature.name for feature in load_contract(folder).features] == ["shop_paid", "hope"]
    assert told(tmp_path / "bad", EACH, numeric="hope", code=code) == [
        "def 'hope' uses the feature 'shop_paid', which dataset.yaml lists later; list 'shop_paid' first."
    ]


@pytest.mark.parametrize(
    ("window", "sentence"),
    [
        ("x: {by: [shop], take: count, over: 1d}",
         ("x: Window 'x': 'known_after' is missing; say how long after a row's time its values are known, "
          "or 0s for at once.")),
        ("x: {by: [shop], take: count, known_after: 1d}",
         "x: Window 'x': 'over' is missing; say how long the window is, like 7d."),
        ("x: {take: count, over: 1d, known_after: 0s}",
         "x: Window 'x': 'by' is missing; name the columns that say whose past it is."),
        ("x: {by: [], take: count, over: 1d, known_after: 0s}",
         "x: Window 'x': 'by' is empty; name the columns that say whose past it is."),
        ("x: {by: [shop, shop], take: count, over: 1d, known_after: 0s}",
         "x: Window 'x': 'by' names 'shop' twice."),
        ("x: {by: [shob], take: count, over: 1d, known_after: 0s}",
         "x: Window 'x': there is no column 'shob'; did you mean 'shop'?"),
        ("x: {by: [minutes], take: count, over: 1d, known_after: 0s}",
         ("x: Window 'x': 'by' names 'minutes', which is a float64; it takes 'string', 'int64', "
          "'boolean'.")),
        ("x: {by: [paid], take: count, over: 1d, known_after: 0s}",
         ("x: Window 'x': 'paid' is what the target 'bought' is made from; a row would not know whose "
          "past it is.")),
        ("x: {by: [shop], take: median, of: paid, over: 1d, known_after: 0s}",
         "x: Window 'x': 'take' cannot be 'median'; did you mean 'mean'?"),
        ("x: {by: [shop], take: mean, over: 1d, known_after: 0s}",
         "x: Window 'x': 'of' is missing; say what the mean is taken of, like {of: price}."),
        ("x: {by: [shop], take: sum, of: payed, over: 1d, known_after: 0s}",
         "x: Window 'x': 'payed': there is no column 'payed'; did you mean 'paid'?"),
        ("x: {by: [shop], take: sum, of: visit, over: 1d, known_after: 0s}",
         "x: Window 'x': 'of' is a number or a truth value, and 'visit' is a string."),
        ("x: {by: [shop], take: sum, of: paid +, over: 1d, known_after: 0s}",
         "x: Window 'x': 'paid +' cannot be read; is something missing at its end?"),
        ("x: {by: [shop], take: count, over: 0h, known_after: 0s}",
         "x: Window 'x': 'over' is nothing; no row would ever count."),
        ("x: {by: [shop], take: count, over: 1d, known_after: -1h}",
         "x: Window 'x': 'known_after' should be a time like 90m, 3h or 2d, not '-1h'."),
        ("x: {by: [shop], take: count, over: 1d, known_after: 0s, off: paid}",
         "x: Window 'x': unknown key 'off'; did you mean 'of'?"),
        ("size: {by: [shop], take: count, over: 1d, known_after: 0s}",
         "size: Window 'size': a column of that name is there already; rename the window."),
        ("haste: {by: [shop], take: count, over: 1d, known_after: 0s}",
         "haste: Window 'haste': features.py has a function of that name; rename one of them."),
        ("target: {by: [shop], take: count, over: 1d, known_after: 0s}",
         "target: Window 'target': 'target' is a name of the feature table's own; rename it."),
        ("a-b: {by: [shop], take: count, over: 1d, known_after: 0s}",
         "a-b: Window 'a-b': a window's name is a letter and then letters, digits or _."),
        ("x: {by: [shop], take: count, over: 2d, known_after: 36h}",
         ("x: Window 'x': 'over' and 'known_after' look 3.5 days back, which from the first moment of a "
          "day reaches into 3 before it; write look_back: 3.")),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_window_is_told(tmp_path: Path, window: str, sentence: str) -> None:
    found = told(tmp_path, window, code="def haste(pages):\n    return pages\n")
    assert found == [sentence]


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        ("look_back: -1", "look_back: Windows: 'look_back' is a number of batches, not -1."),
        ("look_back: some", "look_back: Windows: 'look_back' should be a whole number, not 'some'."),
        ("time: dai", "time: Windows: there is no column 'dai'; did you mean 'day'?"),
        ("time: pages", "time: Windows: 'time' is a date or a timestamp, and 'pages' is int64."),
        ("time: left",
         ("time: Windows: 'left' is known only after the event (role: excluded); the row itself would not "
          "know its time.")),
        ("look_bak: 1", "look_bak: Windows: unknown key 'look_bak'; did you mean 'look_back'?"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_all_windows_is_told(tmp_path: Path, head: str, sentence: str) -> None:
    left = {"pages: {type: int64, minimum: 0}": "pages: int64\n      left: {type: timestamp, role: excluded}"}
    window = "x: {by: [shop], take: count, over: 1d, known_after: 0s}"
    assert told(tmp_path, window, head=head, **left) == [sentence]


def test_a_window_is_listed_nowhere_else(tmp_path: Path) -> None:
    assert told(tmp_path, EACH, numeric="minutes, shop_paid") == [
        "numeric: Features: 'shop_paid' is a window and listed nowhere else; leave it out."
    ]


def test_there_must_be_a_window(tmp_path: Path) -> None:
    assert told(tmp_path, head="look_back: 1") == [
        "each: Windows: 'each' is empty; name at least one, like {trips: {by: [car], take: count, ...}}."
    ]


@pytest.mark.parametrize(("cadence", "why"), [("named", "named batches have no order"), ("none", "the dataset is one")])
def test_batches_without_time_have_none_before_them(tmp_path: Path, cadence: str, why: str) -> None:
    window = "x: {by: [shop], take: count, over: 100d, known_after: 0s}"
    (sentence,) = told(tmp_path / "bad", window, head="look_back: 1", cadence=cadence)
    assert why in sentence
    assert "write look_back: 0, and only rows of the own batch are seen." in sentence
    for name, head in (("said", "look_back: 0"), ("unsaid", "# as it is")):
        assert read(tmp_path / name, window, head=head, cadence=cadence).windows.look_back == 0


def test_something_must_say_when_a_row_happened(tmp_path: Path) -> None:
    window = "x: {by: [shop], take: count, over: 1d, known_after: 0s}"
    timeless = {"    event_time: day\n": ""}
    assert told(tmp_path / "bad", window, head="look_back: 1", **timeless) == [
        (
            "windows: Windows: nothing says when a row happened; name the column in 'time', or give 'visits' an "
            "'event_time'."
        )
    ]
    assert read(tmp_path / "good", window, head="time: day", **timeless).windows.time == "day"


def test_a_sensitive_column_may_say_whose_past_it_is_and_no_feature_shows_it(tmp_path: Path) -> None:
    kept = {'visit: {type: string, nullable: false, pattern: "v[0-9]+"}': "visit: {type: string, role: sensitive}"}
    contract = read(tmp_path, "x: {by: [visit], take: count, over: 1d, known_after: 0s}", **kept)
    assert contract.features[2].uses == ("visit", "day")


@pytest.mark.parametrize(
    ("cadence", "days", "batches"),
    [
        ("hourly", 0.5, 12), ("hourly", 0.51, 13), ("daily", 1, 1), ("daily", 1.01, 2), ("weekly", 7, 1),
        ("weekly", 8, 2), ("monthly", 28, 1), ("monthly", 29, 2), ("monthly", 59, 2), ("monthly", 59.5, 3),
        ("monthly", 365, 12), ("monthly", 366, 13), ("yearly", 365, 1), ("yearly", 366, 2), ("monthly", 0, 0),
    ],
)  # fmt: skip
def test_how_many_batches_are_looked_back_at(cadence: Cadence, days: float, batches: int) -> None:
    assert batches_back(cadence, days * 86400) == batches


@pytest.mark.parametrize("cadence", ["monthly", "yearly", "weekly"])
def test_so_many_batches_are_always_enough_and_one_fewer_is_not(cadence: Cadence) -> None:
    calendar = Calendar(cadence)
    starts = [calendar.window(calendar.key(date(2021, 1, 15) + timedelta(days=7 * n)))[0] for n in range(100)]
    for days in range(1, 120):
        back = batches_back(cadence, days * 86400)
        reached = [
            (start - calendar.window(calendar.around(calendar.key(start), before=n)[0])[0]).days
            for start in starts
            for n in (back, back - 1)
        ]
        assert min(reached[::2]) >= days > min(reached[1::2])
