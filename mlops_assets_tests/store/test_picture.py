"""The picture of an ancestry: one box a stage, lines that lead around other boxes, nothing from elsewhere."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from mlops_assets.store import Store
from mlops_assets.store.lineage import Ancestry, Version, why
from mlops_assets.store.picture import DARK, boxes, mermaid, svg
from mlops_assets.store.remembered import Made
from mlops_assets_tests.store.family import MODEL, MONTHS, REPORT, SALES, clean, grown

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """To be read only."""
    return grown(tmp_path_factory.mktemp("family") / "store")


@pytest.fixture(scope="module")
def found(store: Store) -> Ancestry:
    return why(store, REPORT)


def wide(sources: int, months: int) -> Ancestry:
    """An ancestry as large as one likes: sources, cleaned, two stages beside each other, a release of three."""
    versions: list[Version] = []
    kinds = [Made(kind, "code", "", False, "", None, None, "", "") for kind in ("table", "estimator", "json")]

    def add(asset: str, batch: str, inputs: list[int], kind: int = 0) -> int:
        count = None if kind else 1000
        names = (asset, batch, "b3:1", "b3:2")
        versions.append(Version(*names, count, 10, True, "2024", kind, (1, 0, 0), (), tuple(inputs), (), True, False))
        return len(versions) - 1

    rows = []
    for month in range(months):
        batch = f"m{month:02}"
        raw = [add(f"d/raw/source{number}", batch, []) for number in range(sources)]
        cleaned = add("d/cleaned", batch, raw)
        rows += [add("d/features", batch, [cleaned]), add("d/splits", batch, [cleaned])]
    candidate = add("d/candidate", "r", rows, 1)
    report = add("d/report", "r", [candidate, *rows], 2)
    target = add("d/trained", "r", [report, candidate, *rows], 1)
    return Ancestry("d/trained[r]", "version", tuple(versions), (), tuple(kinds), (target,), (), (), ())


def rectangles(text: str) -> list[tuple[float, float, float, float]]:
    tree = ET.fromstring(text)  # noqa: S314 - drawn by ourselves
    return [
        tuple(float(box.attrib[name]) for name in ("x", "y", "width", "height"))  # type: ignore[misc]
        for box in tree.iter(f"{SVG}rect")
    ]


def test_a_stage_is_one_box_with_its_batches(found: Ancestry) -> None:
    sales, shops, cleaned, model, report = boxes(found)
    assert sales.title == "raw/sales"
    assert sales.lines == ("2 files, 26 B", "2 batches, 2024-01 to 2024-02", "2 rows")
    assert shops.lines[1:] == ("all", "1 row")
    assert cleaned.lines == ("2 batches, 2024-01 to 2024-02", "2 rows")
    assert (model.title, report.title) == ("model", "report")
    assert report.lines[1].startswith("report, ")
    assert [box.target for box in (sales, shops, cleaned, model, report)] == [False, False, False, False, True]
    assert "code raw-1" in sales.hint
    assert "seed 7" in model.hint


def test_mermaid_says_the_same(found: Ancestry) -> None:
    text = mermaid(found)
    lines = text.splitlines()
    assert lines[0] == "flowchart TB"
    assert lines[1] == '    s0[("raw/sales<br/>2 files, 26 B<br/>2 batches, 2024-01 to 2024-02<br/>2 rows")]'
    assert [line.strip() for line in lines if "-->" in line] == ["s0 --> s2", "s1 --> s2", "s2 --> s3", "s3 --> s4"]
    assert lines[-1] == "    class s4 target"


def test_the_svg_stands_alone(found: Ancestry) -> None:
    text = svg(found)
    tree = ET.fromstring(text)  # noqa: S314 - drawn by ourselves
    assert tree.tag == f"{SVG}svg"
    assert {"script", "image", "foreignObject"}.isdisjoint(part.tag.removeprefix(SVG) for part in tree.iter())
    # the only address is the name of the format
    assert re.findall(r"https?://[^\"]+", text) == ["http://www.w3.org/2000/svg"]
    assert "@import" not in text
    said = {part.text for part in tree.iter(f"{SVG}text")}
    assert {"raw/sales", "2 batches, 2024-01 to 2024-02", "report"} <= said
    described = tree.findtext(f"{SVG}desc")
    assert described
    assert described.startswith("raw/sales: 2 files")


def test_a_page_with_colours_of_its_own_needs_none(found: Ancestry) -> None:
    assert DARK in svg(found)
    assert DARK not in svg(found, alone=False)


@pytest.mark.parametrize(("sources", "months"), [(1, 1), (4, 12), (9, 2)])
def test_boxes_do_not_touch_each_other(sources: int, months: int) -> None:
    text = svg(wide(sources, months))
    found = rectangles(text)
    assert len(found) == sources + 6
    for number, (x, y, width, height) in enumerate(found):
        for other_x, other_y, other_width, other_height in found[number + 1 :]:
            beside = x + width < other_x or other_x + other_width < x
            assert beside or y + height < other_y or other_y + other_height < y


@pytest.mark.parametrize("sources", [1, 4])
def test_lines_pass_no_box(sources: int) -> None:
    text = svg(wide(sources, 12))
    found = rectangles(text)
    straight = re.compile(r"(?:^M|[ ,])(?P<x>-?[\d.]+) (?P<top>-?[\d.]+)V(?P<foot>-?[\d.]+)")
    seen = 0
    for drawn in re.findall(r'class="edge"[^>]* d="([^"]+)"', text):
        for part in straight.finditer(drawn):
            x, top, foot = (float(part[name]) for name in ("x", "top", "foot"))
            seen += 1
            for left, up, width, height in found:
                inside = left < x < left + width and top < up + height / 2 < foot
                assert not inside
    assert seen


def test_four_sources_of_a_year_fit_on_a_page() -> None:
    (width,) = re.findall(r'viewBox="[^"]+" width="(\d+)"', svg(wide(4, 12)))
    assert int(width) < 1000


def test_names_are_text_and_nothing_else(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    store.commit("main", 'd/<b>"&', "x[1]", "json", {})
    found = why(store, "main")
    assert '"#lt;b#gt;#quot;&<br/>x#91;1#93;<br/>' in mermaid(found)
    assert "&lt;b&gt;" in svg(found)
    ET.fromstring(svg(found))  # noqa: S314 - drawn by ourselves


def test_what_needs_a_look_is_marked(store: Store) -> None:
    note = "Stands on the last good version."
    store.commit("main", MODEL, "other", "bytes", b"m", inputs=(), sentences=(note,))
    (box,) = boxes(why(store, f"{MODEL}[other]"))
    assert box.warning == "stands on last good versions"
    assert '<text class="warm"' in svg(why(store, f"{MODEL}[other]"))


def test_several_versions_of_a_batch_are_counted(store: Store) -> None:
    for code in ("a", "b"):
        clean(store, MONTHS[0], code=code, run=f"run-many-{code}")
    found = why(store, SALES.rpartition("/")[2] + f"[{MONTHS[0]}]")
    assert [box.lines[1] for box in boxes(found)] == ["2024-01"]
    assert boxes(why(store, "run:run-many-a"))[-1].lines[0] == "2024-01"
