"""A comparison as reviewers read it."""

from dataclasses import replace
from typing import Any

import pytest

from mlops_assets.lifecycle.comparison import Changed, Code, Comparison, Measured, Side
from mlops_assets.report.comparison import markdown
from mlops_assets.store.diff import ValueChange
from mlops_assets.store.manifest import Manifest

REPORT: dict[str, Any] = {
    "task": "binary",
    "primary": "roc_auc",
    "candidate": "boosted_trees",
    "rows": {"answered": 1234},
    "models": [],
}
BEFORE = Side("branch sample", "2013-12", "published", Manifest("flights/evaluation_report", "2013-12", "json"), REPORT)
AFTER = replace(BEFORE, name="branch sample/pr-12")
AUC = Measured("roc_auc", 0.716, 0.714, 0.703, 0.732, "noise")
FOUND = Comparison(
    "flights",
    BEFORE,
    AFTER,
    metrics=(
        AUC,
        Measured("log_loss", 0.6, 0.65, None, None, "worse"),
        Measured("f1", None, 0.5, None, None, "unknown"),
    ),
    data=(Changed("features", ("2013-01", "2013-12"), (70, 70), ("is_weekend",), ("weekday",), ("day",)),),
    code=(Code("features", ("data/flights/features.py",), uncommitted=False),),
    settings=(
        ValueChange("features[name=weekday]", "removed", {"name": "weekday"}),
        ValueChange("split.embargo", "changed", 0, 1),
        ValueChange("limit", "added", after=3),
    ),
    environment=("b3:0123456789abcdef", "b3:fedcba9876543210"),
)
WHOLE = """\
**flights 2013-12: ROC AUC 0.716 → 0.714 (-0.002), within noise.**

`branch sample` (boosted trees, 1,234 test rows) → `branch sample/pr-12` (boosted trees, 1,234 test rows)

| metric | base | now | difference | base, 95 % | verdict |
|---|---:|---:|---:|---:|---|
| ROC AUC | 0.716 | 0.714 | -0.002 | 0.703 to 0.732 | within noise |
| Log loss | 0.600 | 0.650 | +0.050 | - | **worse** |
| F1 | - | 0.500 | - | - | - |

- Data: `features` (2013-01 to 2013-12, 2 partitions) columns `+is_weekend`, `-weekday`, `day`
- Code: `data/flights/features.py` for `features`
- Settings:
  - `features[name=weekday]` removed
  - `split.embargo`: `0` → `1`
  - `limit` added: `3`
- Environment: `b3:0123456789` → `b3:fedcba9876`
"""


def first(found: Comparison) -> str:
    return markdown(found).splitlines()[0]


def test_the_whole_of_it() -> None:
    assert markdown(FOUND) == WHOLE


def test_nothing_differs() -> None:
    same = replace(FOUND, metrics=(replace(AUC, after=0.716, verdict="same"),), data=(), code=(), settings=())
    said = markdown(replace(same, environment=None))
    assert said.startswith("**flights 2013-12: ROC AUC 0.716 → 0.716 (+0.000), the same.**\n")
    assert said.endswith("- Data: the same\n- Code: the same\n- Settings: the same\n- Environment: the same\n")


@pytest.mark.parametrize(("verdict", "said"), [("better", "better"), ("worse", "worse"), ("noise", "within noise")])
def test_the_first_line_says_how_it_comes_out(verdict: Any, said: str) -> None:
    assert first(replace(FOUND, metrics=(replace(AUC, verdict=verdict),))).endswith(f"(-0.002), {said}.**")


def test_a_refusal_comes_first() -> None:
    sentence = "flights/evaluation_report [2013-12] was refused by the check minimum: too low."
    said = markdown(replace(FOUND, after=replace(AFTER, state="refused", sentences=(sentence,)))).splitlines()
    assert said[0] == "**flights 2013-12: refused. ROC AUC 0.716 → 0.714 (-0.002), within noise.**"
    assert said[2] == f"> {sentence}"


def test_a_report_of_other_code_says_so_first() -> None:
    assert first(replace(FOUND, after=replace(AFTER, state="outdated"))).startswith(
        "**flights 2013-12: not of the code and data at hand. ROC AUC 0.716"
    )


def test_no_report() -> None:
    lines = tuple(f"batch {number} was refused.\nbecause" for number in range(5))
    none = Side("branch sample/pr-12", "2013-12", "none", sentences=lines)
    assert markdown(Comparison("flights", BEFORE, none)) == (
        "**flights 2013-12: nothing to compare, `branch sample/pr-12` has no evaluation report.**\n\n"
        "> batch 0 was refused.  \n> because  \n> batch 1 was refused.  \n> because  \n> batch 2 was refused.  \n"
        "> because  \n> and 4 more\n"
    )


def test_no_base() -> None:
    alone = Measured("roc_auc", None, 0.714, None, None, "unknown")
    said = markdown(Comparison("flights", Side("branch sample", "", "none"), AFTER, (alone,)))
    assert said.startswith(
        "**flights 2013-12: ROC AUC 0.714; `branch sample` shows no evaluation report to compare with.**\n\n"
        "`branch sample` (no report) → `branch sample/pr-12` (boosted trees, 1,234 test rows)\n"
    )
    assert said.endswith("| ROC AUC | - | 0.714 | - | - | - |\n")


def test_another_release_of_the_base_is_named() -> None:
    said = markdown(replace(FOUND, before=replace(BEFORE, release="2013-11")))
    assert "`branch sample` of 2013-11 (boosted trees" in said


def test_data_by_rows_files_and_single_partitions() -> None:
    raw = Changed("raw/flights", ("2013-02",), (7, 9), files=("landing/a.csv",))
    cleaned = Changed("cleaned", ("2013-02",), (7, 9), altered=("day",), files=())
    said = markdown(replace(FOUND, data=(raw, cleaned)))
    assert "  - `raw/flights` (2013-02) 7 → 9 rows; from `landing/a.csv`\n" in said
    assert "  - `cleaned` (2013-02) 7 → 9 rows; columns `day`\n" in said


def test_code_by_files() -> None:
    codes = (
        Code("candidate_model", ("b.py", "a.py"), uncommitted=False),
        Code("evaluation_report", ("a.py",), uncommitted=True),
        Code("trained_model", ("b.py", "a.py"), uncommitted=False),
        Code("cleaned", (), uncommitted=False),
    )
    said = markdown(replace(FOUND, code=codes))
    assert "  - of `cleaned`, in files unknown to git\n" in said
    assert "  - `a.py` for `evaluation_report` (with changes that were not committed)\n" in said
    assert "  - `b.py`, `a.py` for `candidate_model`, `trained_model`\n" in said


def test_long_answers_stay_short() -> None:
    settings = tuple(ValueChange(f"s{number}", "changed", "x" * 500, number) for number in range(40))
    columns = tuple(f"column_{number}" for number in range(300))
    data = tuple(Changed(f"stage_{number}", ("a",), (1, 1), columns) for number in range(30))
    said = markdown(replace(FOUND, settings=settings, data=data))
    assert "  - and 25 more\n" in said
    assert "  - and 18 more\n" in said
    assert " and 294 more\n" in said
    assert len(said) < 7000
    assert max(map(len, said.splitlines())) < 250


def test_nothing_of_a_contract_is_read_as_markup() -> None:
    evil = ValueChange("a`|b\n# c", "changed", "<img src=x>|`", "@everyone")
    said = markdown(replace(FOUND, settings=(evil,)))
    assert "- Settings: `a'/b # c`: `<img src=x>/'` → `@everyone`\n" in said
