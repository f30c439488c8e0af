"""The page: one sound document that needs nothing beside itself, says the verdict first and hides nothing."""

import re
import time
from html.parser import HTMLParser
from typing import Any

import pytest

from mlops_assets.contract.model import Task
from mlops_assets.report.page import Provenance, html
from mlops_assets_tests.report.test_plots import TASKS, report

VOID = {"meta", "br", "link", "img", "hr", "input"}
PROVENANCE: Provenance = {
    "dataset": "shop",
    "description": "Visits.",
    "owners": ("team:shop",),
    "release": "2024-02",
    "branch": "main",
    "model": "b3:model",
    "git": {"commit": "c0ffee", "dirty": True},
    "code_version": "b3:code",
    "environment": {"python": "3.11.7"},
    "seed": 0,
    "settings": {"boosted_trees": {"max_iter": 15}, "prior": {}},
    "inputs": [
        {"asset": "shop/features", "partition": "2024-01", "version": "b3:january"},
        {"asset": "shop/features", "partition": "2024-02", "version": None},
    ],
    "files": [{"name": "sales.csv", "size": 12345, "sha256": "ab12"}],
    "verdicts": [
        {"check": "fitted", "passed": True, "severity": "block", "sentence": "3 models fitted."},
        {
            "check": "groups",
            "passed": False,
            "severity": "warn",
            "sentence": "1 of 3.",
            "examples": ("shop west: odd.",),
        },
        {"check": "minimum", "passed": False, "severity": "block", "sentence": "Too low."},
    ],
    "notes": ("Stands on the last good version b3:december of shop/cleaned [2023-12].",),
    "run_id": "run-1",
    "who": "ana",
    "when": "2024-03-01T10:00:00+00:00",
}


class Outline(HTMLParser):
    """Checks that every element is closed where it should be, and keeps what was seen."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["title"], ["desc"]):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("known", [PROVENANCE, Provenance()])
def test_a_page_is_well_formed_and_needs_nothing(task: Task, known: Provenance) -> None:
    text = html(report(task), known)
    page = Outline(text)
    tags = {tag for tag, _ in page.seen}
    assert not tags & {"script", "link", "img", "iframe", "object"}
    assert not re.findall(r"""(?:src|href)=|url\(|@import|\bon\w+=""", text)
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) == {"http://www.w3.org/2000/svg"}
    assert text.startswith('<!doctype html>\n<html lang="en">')
    assert "None" not in page.text
    assert "nan" not in page.text.split()


@pytest.mark.parametrize("task", TASKS)
def test_tables_and_pictures_can_be_read_without_eyes(task: Task) -> None:
    page = Outline(html(report(task), PROVENANCE))
    for tag, attributes in page.seen:
        if tag == "th":
            assert attributes.get("scope") in ("col", "row")
        if tag == "svg":
            assert attributes.get("aria-hidden") == "true" or attributes.get("aria-label")
        if attributes.get("role") == "region":
            assert attributes.get("aria-label")
            assert attributes.get("tabindex") == "0"
    assert [tag for tag, _ in page.seen].count("h1") == 1


def test_the_verdict_comes_before_everything_else() -> None:
    text = Outline(html(report(), PROVENANCE)).text
    order = [
        "Held back",
        "Boosted trees is held back: 1 blocking check failed",
        "Shown one row that is “bought”",
        "What was checked",
        "✕ blocks Minimum Too low.",
        "! warning Groups 1 of 3. shop west: odd.",
        "✓ passed Fitted 3 models fitted.",
        "Before you rely on it",
        "Against the baselines",
        "How well it ranks",
        "Group by group",
        "What it looks at",
        "What it learnt from",
        "What made it",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_cautions_and_absent_batches_are_said() -> None:
    text = Outline(html(report(), PROVENANCE)).text
    assert "test rows (4.4%) have no answer for “bought”" in text
    assert "2 exact inputs, 1 of them never delivered" in text
    assert "absent" in text
    assert "with changes that were not committed" in text
    assert "1 group with fewer than 100 rows" in text


def test_what_is_not_recorded_is_said() -> None:
    text = Outline(html(report(), {})).text
    assert "No verdict was recorded with this report." in text
    assert "Git commit not recorded" in text
    assert "No exact inputs recorded." in text
    assert "Not judged" in text


def test_every_text_is_escaped() -> None:
    wild = "<script>alert('&')</script>"
    base = report()
    found: dict[str, Any] = {
        **base,
        "target": {**base["target"], "name": wild, "expression": wild},
        "importance": [{"feature": wild, "value": 0.1, "low": 0.0, "high": 0.2}],
        "groups": [
            {**base["groups"][0], "column": wild, "groups": [{**base["groups"][0]["groups"][0], "group": wild}]}
        ],
        "batches": [{**base["batches"][0], "batch": wild}],
        "models": [
            {**one, "name": one["name"] if one["name"] == "boosted_trees" else wild + one["name"]}
            for one in base["models"]
        ],
        "curves": {},
    }
    found["curves"] = {which: {"boosted_trees": curves["boosted_trees"]} for which, curves in base["curves"].items()}
    known: Provenance = {
        "dataset": wild,
        "description": wild,
        "owners": (wild,),
        "release": wild,
        "model": wild,
        "git": {"commit": wild},
        "code_version": wild,
        "environment": {wild: wild},
        "settings": {wild: {wild: wild}},
        "inputs": [{"asset": wild, "partition": wild, "version": wild}],
        "files": [{"name": wild, "size": 1, "sha256": wild}],
        "verdicts": [{"check": wild, "passed": True, "severity": "warn", "sentence": wild, "examples": (wild,)}],
        "run_id": wild,
        "who": wild,
        "when": wild,
    }
    text = html(found, known)
    assert "<script" not in text
    assert Outline(text).text.count(wild) >= 20


def test_sensitive_groups_say_that_they_are_hidden() -> None:
    table = {**report()["groups"][0], "hidden": True, "more": 3}
    text = Outline(html({**report(), "groups": [table]}, {})).text
    assert "The values of this column are sensitive and not shown." in text
    assert "3 more groups not shown." in text


def test_long_lists_of_inputs_are_folded() -> None:
    inputs = [{"asset": "a", "partition": str(number), "version": "b3:x"} for number in range(41)]
    assert "<details open>" not in html(report(), {"inputs": inputs})
    assert "<details open>" in html(report(), {"inputs": inputs[:40]})


def test_a_page_is_made_at_once() -> None:
    html(report(), PROVENANCE)
    before = time.process_time()
    html(report(), PROVENANCE)
    assert time.process_time() - before < 0.1


def test_says_where_it_stands_on_a_last_good_version() -> None:
    assert "last good version b3:december of shop/cleaned [2023-12]" in html(report("binary"), PROVENANCE)
