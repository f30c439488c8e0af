"""The ancestry of a release as a picture: Mermaid text, and an SVG that stands alone.

What belongs here: what a box says, and where boxes and lines are drawn. What does not: finding the ancestry
(``lineage``).

All batches of a stage are one box with their number and range, so that a picture is as large as the graph of stages,
not as the history. Inputs are above, what was made from them below. A line that passes by other stages is led between
their boxes: every stage it passes keeps a narrow place free for it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any, NamedTuple

from mlops_assets.store.lineage import Ancestry, Stage
from mlops_assets.wording import counted

LIGHT = "--paper:#ffffff;--ink:#1c2126;--soft:#5b6570;--line:#d9dde1;--faint:#f3f5f6;--accent:#0b5fa5;--warm:#b4530a"
DARK = "--paper:#15181c;--ink:#e9e7e2;--soft:#a3abb3;--line:#363c43;--faint:#1f2429;--accent:#74b5f2;--warm:#f0a35e"
_COLOURS = f":root{{{LIGHT}}}@media screen and (prefers-color-scheme:dark){{:root{{{DARK}}}}}"
_FONT = 'system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif'
_MARKS = (
    f".lineage text{{font:12px {_FONT};fill:var(--soft);font-variant-numeric:tabular-nums}}"
    ".lineage .name{fill:var(--ink);font-weight:600}.lineage .warm{fill:var(--warm)}"
    ".lineage .box{fill:var(--faint);stroke:var(--line)}.lineage .raw .box{fill:var(--paper)}"
    ".lineage .target .box{stroke:var(--accent);stroke-width:2}"
    ".lineage .edge{fill:none;stroke:var(--soft);stroke-width:1.2;opacity:.65}"
    ".lineage .tip{fill:var(--soft);opacity:.8}"
)

_ARROW = (
    '<defs><marker id="lineage-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto"><path class="tip" d="M0 0.8 8 4 0 7.2z"/></marker></defs>'
)

_CHARACTER = 6.5
_BOLD = 7.1
"""Widths of a character in pixels, generous enough for the fonts above."""

_LINE = 17.0
_PADDING = 11.0
_SIDE = 22.0
_ACROSS = 46.0
_LANE = 10.0
_MARGIN = 14.0
_NARROWEST = 118.0
_SWEEPS = 12
_WORDS = {"estimator": "model", "json": "report", "bytes": "file", "table": "table"}


class Box(NamedTuple):
    """What is written of one stage: ``title``, ``lines``, ``warning`` (may be empty); ``hint`` shows on hovering."""

    asset: str
    title: str
    lines: tuple[str, ...]
    warning: str
    hint: str
    raw: bool
    target: bool


def boxes(ancestry: Ancestry) -> list[Box]:
    """What the picture says of each stage, inputs first."""
    assets = [stage.asset for stage in ancestry.stages]
    datasets = {asset.partition("/")[0] for asset in assets}
    targets = {ancestry.versions[place].asset for place in ancestry.targets} if ancestry.kind == "version" else set()
    delivered: dict[str, list[int]] = {}
    for file in ancestry.files:
        for source in file.sources:
            delivered.setdefault(source, []).append(file.size)
    warned: dict[str, str] = {}
    for version in ancestry.versions:
        if version.purged:
            warned[version.asset] = "rows were purged"
        elif version.accepted and version.sentences:
            warned.setdefault(version.asset, "stands on last good versions")
    found = []
    for stage in ancestry.stages:
        files = delivered.get(stage.asset, [])
        lines = [f"{counted(len(files), 'file')}, {_size(sum(files))}"] if files else []
        lines += [_batches(stage), _amount(stage)]
        found.append(
            Box(
                asset=stage.asset,
                title=stage.asset.partition("/")[2] or stage.asset if len(datasets) == 1 else stage.asset,
                lines=tuple(lines),
                warning=warned.get(stage.asset, ""),
                hint=_hint(stage),
                raw=not stage.above,
                target=stage.asset in targets,
            )
        )
    return found


def mermaid(ancestry: Ancestry) -> str:
    """The picture as Mermaid text, for Markdown and wikis that draw it."""
    found = boxes(ancestry)
    names = {box.asset: f"s{number}" for number, box in enumerate(found)}
    lines = ["flowchart TB"]
    for box in found:
        said = "<br/>".join(_mermaid_text(text) for text in (box.title, *box.lines, box.warning) if text)
        opening, closing = ("[(", ")]") if box.raw else ("[", "]")
        lines.append(f'    {names[box.asset]}{opening}"{said}"{closing}')
    lines += [
        f"    {names[above]} --> {names[stage.asset]}" for stage in ancestry.stages for above in sorted(stage.above)
    ]
    if targets := [names[box.asset] for box in found if box.target]:
        lines.append("    classDef target stroke-width:3px")
        lines.append(f"    class {','.join(targets)} target")
    return "\n".join(lines) + "\n"


def svg(ancestry: Ancestry, *, alone: bool = True) -> str:
    """The picture as an SVG document, for light, dark and print, without scripts or anything from elsewhere.

    ``alone`` brings its colours along; a page that has ``LIGHT`` and ``DARK``'s variables itself does without.
    """
    found = boxes(ancestry)
    drawing = _Drawing(found, {stage.asset: stage.above for stage in ancestry.stages})
    name = escape(ancestry.name)
    described = "; ".join(f"{box.title}: {', '.join(box.lines)}" for box in found)
    width, height = drawing.width + 2 * _MARGIN, drawing.height + 2 * _MARGIN
    style = f"{_COLOURS if alone else ''}{_MARKS}.lineage{{background:var(--paper)}}"
    box = f'viewBox="{-_MARGIN:.0f} {-_MARGIN:.0f} {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="lineage" role="img" {box}>',
        f"<title>Ancestry of {name}</title><desc>{escape(described)}</desc><style>{style}</style>",
        _ARROW,
        *drawing.lines(),
        *drawing.boxes(),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


# --- words -----------------------------------------------------------------------------------------------------------


def _batches(stage: Stage) -> str:
    span = stage.first if stage.batches == 1 else f"{stage.batches:,} batches, {stage.first} to {stage.last}"
    return span if stage.versions == stage.batches else f"{span} ({stage.versions:,} versions)"


def _amount(stage: Stage) -> str:
    word = _WORDS.get(stage.kind, stage.kind)
    return f"{counted(stage.rows, 'row')}" if stage.rows is not None else f"{word}, {_size(stage.size)}"


def _hint(stage: Stage) -> str:
    codes = ", ".join(code[:12] for code in stage.codes)
    when = stage.since[:19] if stage.since == stage.until else f"{stage.since[:19]} to {stage.until[:19]}"
    said = [stage.asset, f"{counted(stage.versions, 'version')}, made {when.replace('T', ' ')}"]
    said += [f"code {codes}"] if codes else []
    return "\n".join([*said, *(f"seed {seed}" for seed in stage.seeds)])


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004 - the step of the units
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _mermaid_text(text: str) -> str:
    marks = {"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "[": "#91;", "]": "#93;"}
    return "".join(marks.get(character, character) for character in text)


# --- where things stand ----------------------------------------------------------------------------------------------


@dataclass
class _Place:
    """A box, or a place kept free in a layer for a line (``box`` None)."""

    box: Box | None
    layer: int
    width: float
    height: float
    x: float = 0.0
    top: float = 0.0

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


class _Drawing:
    """Layers from inputs down, lines led between boxes: the method of Sugiyama, Tagawa and Toda (1981)."""

    def __init__(self, found: Sequence[Box], above: Mapping[str, Iterable[str]]) -> None:
        self._places: dict[Any, _Place] = {}
        layers = _layers(found, above)
        for box in found:
            lines = [len(line) * _CHARACTER for line in (*box.lines, box.warning)]
            width = max(_NARROWEST, len(box.title) * _BOLD, *lines) + 2 * _PADDING
            count = 1 + len(box.lines) + bool(box.warning)
            height = count * _LINE + 2 * _PADDING - 4
            self._places[box.asset] = _Place(box, layers[box.asset], width, height)
        self._paths = [list(self._path(up, box.asset)) for box in found for up in sorted(above[box.asset])]
        self._links = [link for path in self._paths for link in pairwise(path)]
        self._joined = {key for link in self._links for key in link}
        self._rows: list[list[Any]] = [[] for _ in range(max(layers.values(), default=0) + 1)]
        for key, place in self._places.items():
            self._rows[place.layer].append(key)
        self._order()
        self._settle()
        self.height = self._stack()
        self.width = max((place.x + place.width for place in self._places.values()), default=0.0)

    def lines(self) -> Iterator[str]:
        """The lines, each from the foot of a box to the head of another."""
        for path in self._paths:
            first = self._places[path[0]]
            drawn = f"M{first.middle:.1f} {first.top + first.height:.1f}"
            for before, after in pairwise(self._places[key] for key in path):
                start = before.top + before.height
                # the last bit is straight, so that arrows come in upright
                end = after.top - (4 if after.box else 0)
                bend = (end - start) / 2
                drawn += (
                    f"C{before.middle:.1f} {start + bend:.1f} {after.middle:.1f} {end - bend:.1f} "
                    f"{after.middle:.1f} {end:.1f}"
                )
                drawn += f"V{after.top if after.box else after.top + after.height:.1f}"
            yield f'<path class="edge" marker-end="url(#lineage-tip)" d="{drawn}"/>'

    def boxes(self) -> Iterator[str]:
        """The boxes with what they say."""
        for place in self._places.values():
            box = place.box
            if box is None:
                continue
            marks = f"stage{' raw' if box.raw else ''}{' target' if box.target else ''}"
            rows = [("name", box.title), *(("", line) for line in box.lines)]
            rows += [("warm", box.warning)] if box.warning else []
            yield f'<g class="{marks}"><title>{escape(box.hint)}</title>'
            yield (
                f'<rect class="box" x="{place.x:.1f}" y="{place.top:.1f}" width="{place.width:.1f}" '
                f'height="{place.height:.1f}" rx="5"/>'
            )
            for number, (mark, text) in enumerate(rows):
                y = place.top + _PADDING + 9 + number * _LINE
                kind = f' class="{mark}"' if mark else ""
                yield f'<text{kind} x="{place.middle:.1f}" y="{y:.1f}" text-anchor="middle">{escape(text)}</text>'
            yield "</g>"

    def _path(self, up: str, down: str) -> Iterator[Any]:
        yield up
        for layer in range(self._places[up].layer + 1, self._places[down].layer):
            # lines from one box into the same layers share their way
            key = (up, layer)
            self._places.setdefault(key, _Place(None, layer, _LANE, 0.0))
            yield key
        yield down

    def _order(self) -> None:
        """Each layer by the middle of what its boxes are joined to, so that few lines cross."""
        for sweep in range(_SWEEPS):
            down = sweep % 2 == 0
            rows = self._rows[1:] if down else self._rows[-2::-1]
            for row in rows:
                rank = {key: number for other in self._rows for number, key in enumerate(other)}
                row.sort(key=lambda key: self._mean(key, rank, down=down))

    def _mean(self, key: Any, of: Mapping[Any, float], *, down: bool) -> float:
        joined = [of[a] for a, b in self._links if b == key] if down else [of[b] for a, b in self._links if a == key]
        if joined:
            return sum(joined) / len(joined)
        return of[key] if key in self._joined else float("inf")

    def _settle(self) -> None:
        """Move boxes sideways towards what they are joined to, as far as their neighbours leave room."""
        for row in self._rows:
            x = 0.0
            for key in row:
                self._places[key].x = x
                x += self._places[key].width + _SIDE
        for sweep in range(_SWEEPS):
            for row in self._rows if sweep % 2 == 0 else reversed(self._rows):
                middles = {key: place.middle for key, place in self._places.items()}
                wanted: list[float] = []
                for number, key in enumerate(row):
                    width = self._places[key].width
                    joined = [middles[a] for a, b in self._links if b == key]
                    joined += [middles[b] for a, b in self._links if a == key]
                    if joined:
                        wanted.append(sum(joined) / len(joined) - width / 2)
                    else:
                        # what nothing holds keeps close to the box before it
                        before = self._places[row[number - 1]].width + _SIDE if number else 0.0
                        wanted.append(wanted[-1] + before if number else self._places[key].x)
                for key, x in zip(row, _apart(wanted, [self._places[key].width for key in row]), strict=True):
                    self._places[key].x = x
        left = min((place.x for place in self._places.values()), default=0.0)
        for place in self._places.values():
            place.x -= left

    def _stack(self) -> float:
        """Give every layer its height; the height of all."""
        y = 0.0
        for row in self._rows:
            tallest = max((self._places[key].height for key in row), default=0.0)
            for key in row:
                place = self._places[key]
                place.top = y if place.box is None else y + (tallest - place.height) / 2
                place.height = place.height or tallest
            y += tallest + _ACROSS
        return max(y - _ACROSS, 0.0)


def _layers(found: Sequence[Box], above: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """How far each stage is from what it stands on; stages come inputs first."""
    layers: dict[str, int] = {}
    for box in found:
        layers[box.asset] = max((layers[up] + 1 for up in above[box.asset] if up in layers), default=0)
    # what nothing led to stands close above what it is used for
    for box in reversed(found):
        users = [layers[other.asset] for other in found if box.asset in above[other.asset]]
        if users and not set(above[box.asset]):
            layers[box.asset] = max(min(users) - 1, 0)
    return layers


def _apart(wanted: Sequence[float], widths: Sequence[float]) -> list[float]:
    """Places near the wanted ones that do not overlap: between pushing all to the right and all to the left."""
    right = list(wanted)
    for number in range(1, len(right)):
        right[number] = max(right[number], right[number - 1] + widths[number - 1] + _SIDE)
    left = list(wanted)
    for number in range(len(left) - 2, -1, -1):
        left[number] = min(left[number], left[number + 1] - widths[number] - _SIDE)
    return [(a + b) / 2 for a, b in zip(left, right, strict=True)]
