"""The page of a suite: sound, alone, says first what matters, and escapes what others wrote."""

from typing import Any

from mlops_assets.contract.model import Expectation
from mlops_assets.report.expectations import Batch, html
from mlops_assets_tests.report.test_page import Outline

ABOUT: Batch = {
    "dataset": "shop",
    "source": "sales",
    "batch": "2024-02",
    "branch": "main",
    "rows": 1200,
    "version": "b3:february",
    "files": [{"name": "landing/sales.csv", "sha256": "ab12" * 16}],
    "who": "ana",
    "when": "2024-03-01T10:00:00+00:00",
}


def asked(name: str, severity: Any = "warning", **kwargs: Any) -> Expectation:
    return Expectation(name, "sales", "expect_column_values_to_be_in_set", (), kwargs, severity, f"{name} & <more>")


def judged(*, passed: bool, threshold: float | None = None, n: int = 200, failed: int = 3) -> dict[str, Any]:
    return {"passed": passed, "sentence": "3 of 200.", "n": n, "failed": failed, "threshold": threshold}


SUITE = (asked("fine"), asked("shops", value_set=["</script>"]), asked("days", "critical"), asked("late", "info"))
VERDICTS = {
    "fine": judged(passed=True, threshold=0.05),
    "shops": judged(passed=False, threshold=0.01),
    "days": judged(passed=False),
}


def test_the_page_is_sound_and_needs_nothing_beside_itself() -> None:
    page = html(ABOUT, SUITE, VERDICTS, {"shops": ["sales.csv line 2: shop '<b>'."]})
    outline = Outline(page)
    tags = {tag for tag, _ in outline.seen}
    assert not tags & {"script", "link", "img", "iframe", "object"}
    assert not [value for _, given in outline.seen for name, value in given.items() if name in ("src", "href")]
    assert "<b>'" not in page
    assert "shop &#x27;&lt;b&gt;&#x27;" in page
    assert "</script>" not in page


def test_what_blocks_is_said_first() -> None:
    page = html(ABOUT, SUITE, VERDICTS, {})
    words = " ".join(Outline(page).words)
    assert "2 of 4 expectations are not met" in words
    assert "The batch was not published, because days blocks." in words
    assert "1,200 rows were looked at" in words
    places = [page.index(f'<th scope="row">{name}<small>') for name in ("days", "shops", "late", "fine")]
    assert places == sorted(places), "critical, warning, not judged, met"
    for mark in ("✕ blocks", "! warning", "not judged", "✓ met"):
        assert page.count(mark) == 1
    assert "1.5%<small>up to 1.0%</small>" in page


def test_a_batch_as_expected_and_one_with_notes() -> None:
    fine = html(ABOUT, SUITE[:1], VERDICTS, {})
    assert "The data is as expected in 1 way" in fine
    assert 'class="state passed"' in fine
    noted = html({**ABOUT, "rows": None}, SUITE[3:], {"late": judged(passed=False)}, {})
    assert "1 of 1 expectation is not met" in noted
    assert "! note" in noted
    assert "The batch was published; nothing that failed is critical." in noted
