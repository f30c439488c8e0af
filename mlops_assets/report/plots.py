"""The plots of a report, drawn by hand as SVG.

What belongs here: every plot, its axes and its description for those who cannot see it. What does not: computing what
is plotted (``stages.evaluate``), the page around it (``page``).

A drawing has no colours of its own: it uses the page's variables (``COLOURS``), so that it follows light, dark and
print. ``svg`` gives one that stands alone and brings them along. Text is escaped, marks tell their numbers on hover.
"""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from math import ceil, floor, log10
from typing import Any

from mlops_assets.report.words import MINUS, answer, figure, metric_name, percent, plain
from mlops_assets.stages.metrics import METRICS

LIGHT = (
    "--paper:#ffffff;--ink:#1c2126;--soft:#5b6570;--line:#d9dde1;--faint:#f3f5f6;--accent:#0b5fa5;--wash:#cfe1f1;"
    "--warm:#b4530a;--warmwash:#f6dcc5;--good:#1b7a43;--bad:#b3261e;--mute:#77818c"
)
DARK = (
    "--paper:#15181c;--ink:#e9e7e2;--soft:#a3abb3;--line:#363c43;--faint:#1f2429;--accent:#74b5f2;--wash:#234262;"
    "--warm:#f0a35e;--warmwash:#553517;--good:#6fcf97;--bad:#ff8a80;--mute:#8f99a3"
)
COLOURS = f":root{{{LIGHT}}}@media screen and (prefers-color-scheme:dark){{:root{{{DARK}}}}}"
"""The palette. Printing is always light."""
SANS = 'system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif'
MARKS = (
    f".plot text{{font:12px {SANS};fill:var(--soft);font-variant-numeric:tabular-nums}}"
    ".plot .name{fill:var(--ink)}.plot .strong{fill:var(--ink);font-weight:600}"
    ".plot .grid{stroke:var(--line);stroke-width:1}.plot .axis{stroke:var(--mute);stroke-width:1}"
    ".plot .guide{stroke:var(--mute);stroke-width:1;stroke-dasharray:2 4}"
    ".plot .curve{fill:none;stroke-width:1.6;stroke:var(--mute);stroke-linejoin:round}"
    ".plot .main{stroke:var(--accent);stroke-width:2.6}"
    ".plot .d1{stroke-dasharray:7 4}.plot .d2{stroke-dasharray:2 3}.plot .d3{stroke-dasharray:9 3 2 3}"
    ".plot .dot{fill:var(--accent);stroke:var(--paper);stroke-width:1.5}.plot .dot.other{fill:var(--mute)}"
    ".plot .reach{stroke:var(--accent);stroke-width:2.2}.plot .reach.other{stroke:var(--mute)}"
    ".plot .reach.wide{stroke-width:10;opacity:.4}"
    ".plot .bar{fill:var(--accent)}.plot .bar.warm{fill:var(--warm)}.plot .bar.quiet{fill:var(--mute);opacity:.55}"
    ".plot .bar.faint{opacity:.18}.plot .see{opacity:.62}.plot .warmline{stroke:var(--warm);stroke-width:1.6}"
    ".plot .whisker{stroke:var(--ink);stroke-width:1.4}.plot .cell{fill:var(--accent)}"
    ".plot .box{fill:none;stroke:var(--line)}"
)
WIDTH = 460
"""Every plot is so wide; text keeps its size when a plot is shown at its own."""
_ROOMY = 58
"""A cell this wide holds a count and a share."""
_DENSE = 60
"""So many bars stand without gaps."""


def names(report: Mapping[str, Any]) -> tuple[str, ...]:
    """The plots that this report has."""
    own = {
        "binary": ("roc", "precision_recall", "calibration", "scores", "confusion"),
        "multiclass": ("confusion", "calibration"),
        "regression": ("fit", "residuals", "calibration"),
    }[report["task"]]
    shown = ["models", *own]
    if report["importance"]:
        shown.append("importance")
    if report["batches"]:
        shown.append("batches")
    return tuple(shown)


def svg(name: str, report: Mapping[str, Any]) -> str:
    """One plot as an SVG document that stands alone; ``name`` is one of ``names(report)``."""
    return drawing(name, report, f"<style>{COLOURS}{MARKS}.plot{{background:var(--paper)}}</style>")


def drawing(name: str, report: Mapping[str, Any], style: str = "") -> str:
    """One plot for a page that has ``COLOURS`` and ``MARKS`` already."""
    if name not in names(report):
        message = f"a {report['task']} report has no plot '{name}', only {', '.join(names(report))}"
        raise ValueError(message)
    title, told, height, body = _PLOTS[name](report)
    size = f' width="{WIDTH}" height="{height:g}"' if style else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 {WIDTH} {height:g}"{size} role="img" '
        f'aria-label="{escape(f"{title}. {told}")}"><title>{escape(title)}</title>'
        f"<desc>{escape(told)}</desc>{style}{body}</svg>"
    )


def interval(
    value: float | None, low: float | None, high: float | None, ends: tuple[float, float], mark: float | None = None
) -> str:
    """A value and its interval on one line for a table's cell; ``mark`` is what holds for all rows."""
    if value is None:
        return ""
    width, start, stop = 120, *ends
    at = _scale(start, stop, 5, width - 5)
    body = "" if mark is None else f'<line class="axis" x1="{at(mark):.1f}" x2="{at(mark):.1f}" y1="0" y2="18"/>'
    if low is not None and high is not None:
        body += f'<line class="reach" x1="{at(low):.1f}" x2="{at(high):.1f}" y1="9" y2="9"/>'
    body += f'<circle class="dot" cx="{at(value):.1f}" cy="9" r="4"/>'
    box = f'viewBox="0 0 {width} 18" width="{width}" height="18"'
    return f'<svg class="plot cellplot" {box} aria-hidden="true">{body}</svg>'


class _Frame:
    """A box with two linear axes."""

    def __init__(
        self, x: tuple[float, float], y: tuple[float, float], *, top: float = 34, side: float = 320, left: float = 56
    ) -> None:
        self.left, self.right, self.top, self.bottom = left, WIDTH - 24, top, top + side
        self.x = _scale(*x, self.left, self.right)
        self.y = _scale(*y, self.bottom, self.top)
        self._x, self._y = x, y
        self.height = self.bottom + 46

    def axes(self, across: str, up: str, say_x: Callable[[float], str], say_y: Callable[[float], str]) -> str:
        """Grid, ticks and the names of both axes."""
        out = []
        for tick in ticks(*self._y):
            y = self.y(tick)
            out.append(f'<line class="grid" x1="{self.left}" x2="{self.right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            out.append(_text(self.left - 8, y + 4, say_y(tick), anchor="end"))
        out += [_text(self.x(tick), self.bottom + 18, say_x(tick), anchor="middle") for tick in ticks(*self._x)]
        out.append(f'<line class="axis" x1="{self.left}" x2="{self.right}" y1="{self.bottom}" y2="{self.bottom}"/>')
        out.append(_text((self.left + self.right) / 2, self.bottom + 38, across, anchor="middle", kind="name"))
        out.append(_text(14, self.top - 14, up, kind="name"))
        return "".join(out)

    def line(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        """The points attribute of a polyline."""
        return " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in zip(xs, ys, strict=True))


def ticks(start: float, stop: float, about: int = 5) -> list[float]:
    """Round numbers within [start, stop]."""
    if not stop > start:
        return [start]
    rough = (stop - start) / about
    size = 10 ** floor(log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * 0.999)
    first = ceil(start / step - 1e-9)
    return [round(n * step, 12) for n in range(first, floor(stop / step + 1e-9) + 1)]


def _scale(start: float, stop: float, low: float, high: float) -> Callable[[float], float]:
    reach = (stop - start) or 1.0
    return lambda value: low + (min(max(value, start), stop) - start) / reach * (high - low)


def _text(x: float, y: float, said: str, *, anchor: str = "start", kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    place = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text{name} x="{x:.1f}" y="{y:.1f}"{place}>{escape(said)}</text>'


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _percents(value: float) -> str:
    return f"{value * 100:g}%"


def _pad(low: float, high: float) -> tuple[float, float]:
    room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    return low - room, high + room


def _ordered(report: Mapping[str, Any]) -> list[str]:
    """Model names, the candidate first."""
    others = [model["name"] for model in report["models"] if model["name"] != report["candidate"]]
    return [report["candidate"], *others]


def _kind(place: int) -> str:
    return "curve main" if place == 0 else f"curve d{min(place, 3)}"


def _legend(entries: Sequence[tuple[str, str]], y: float, left: float) -> tuple[str, float]:
    """Line samples (css class, name), wrapped; the markup and the height it takes."""
    x, out, row = left, [], 0
    for kind, name in entries:
        label = _short(name, 30)
        width = 34 + 6.6 * len(label) + 14
        if x + width > WIDTH and x > left:
            x, row = left, row + 1
        line = y + row * 18
        out.append(f'<line class="{kind}" x1="{x:.1f}" x2="{x + 26:.1f}" y1="{line - 4:.1f}" y2="{line - 4:.1f}"/>')
        out.append(_text(x + 32, line, label, kind="name"))
        x += width
    return "".join(out), (row + 1) * 18.0


_Plot = tuple[str, str, float, str]


def _models(report: Mapping[str, Any]) -> _Plot:
    metric = report["primary"]
    rows = [model for name in _ordered(report) for model in report["models"] if model["name"] == name]
    spans = [model["metrics"][metric] for model in rows]
    known = [edge for span in spans for edge in (span["value"], span["low"], span["high"]) if edge is not None]
    ends = _pad(min(known, default=0.0), max(known, default=1.0))
    step = 34.0
    frame = _Frame(ends, (0, 1), top=8, side=step * len(rows), left=128)
    frame_right = WIDTH - 70.0
    at = _scale(*ends, frame.left, frame_right)
    out, told = [], []
    for tick in ticks(*ends, about=4):
        x = at(tick)
        out.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.top}" y2="{frame.bottom}"/>')
        out.append(_text(x, frame.bottom + 18, f"{tick:g}", anchor="middle"))
    for place, (model, span) in enumerate(zip(rows, spans, strict=True)):
        y = frame.top + step * (place + 0.5)
        mine, name = ("" if place == 0 else " other"), plain(model["name"])
        out.append(_text(frame.left - 10, y + 4, _short(name, 18), anchor="end", kind="name" if place else "strong"))
        out.append(_text(WIDTH - 6, y + 4, figure(span["value"]), anchor="end", kind="" if place else "strong"))
        if span["value"] is None:
            continue
        if span["low"] is not None:
            ends_at = f'x1="{at(span["low"]):.1f}" x2="{at(span["high"]):.1f}"'
            out.append(f'<line class="reach wide{mine}" {ends_at} y1="{y}" y2="{y}"/>')
        out.append(f'<circle class="dot{mine}" cx="{at(span["value"]):.1f}" cy="{y}" r="3.5" style="stroke:none"/>')
        told.append(f"{name} {figure(span['value'])}")
    label = metric_name(report, metric)
    better = "higher is better" if METRICS[report["task"]][metric].higher else "lower is better"
    legend = f"{label} and its 95% interval ({better})"
    out.append(_text((frame.left + frame_right) / 2, frame.bottom + 40, legend, anchor="middle", kind="name"))
    return f"{label} of every model", "; ".join(told), frame.bottom + 48, "".join(out)


def _curves(report: Mapping[str, Any], which: str) -> tuple[list[tuple[str, str]], str, Callable[[_Frame], str]]:
    found = report["curves"][which]
    shown = [name for name in _ordered(report) if name in found]
    entries = [(_kind(place), plain(name)) for place, name in enumerate(shown)]

    def lines(frame: _Frame) -> str:
        points = [frame.line(found[name]["x"], found[name]["y"]) for name in shown]
        return "".join(
            f'<polyline class="{_kind(place)}" points="{points[place]}"/>' for place in reversed(range(len(shown)))
        )

    return entries, ", ".join(plain(name) for name in shown), lines


def _roc(report: Mapping[str, Any]) -> _Plot:
    is_it, _ = answer(report)
    entries, named, lines = _curves(report, "roc")
    legend, tall = _legend(entries, 14, 14)
    frame = _Frame((0, 1), (0, 1), top=38 + tall)
    counts = report["confusion"]
    positive, negative = (
        counts["true_positive"] + counts["false_negative"],
        counts["false_positive"] + counts["true_negative"],
    )
    out = legend + frame.axes(
        f"False alarms: share of the others called {is_it}", f"Share of {is_it} rows found", _percents, _percents
    )
    out += f'<line class="guide" x1="{frame.left}" y1="{frame.bottom}" x2="{frame.right}" y2="{frame.top}"/>' + lines(
        frame
    )
    told = f"Curves of {named}."
    if positive and negative:
        found, alarms = counts["true_positive"] / positive, counts["false_positive"] / negative
        hover = f"At the threshold: {percent(found)} found, {percent(alarms)} false alarms"
        out += _dot(frame, alarms, found, hover, size=6)
        out += _text(frame.x(alarms) + 11, frame.y(found) + 15, "threshold", kind="name")
        told += f" {hover}."
    return "ROC curve", told, frame.height, out


def _precision_recall(report: Mapping[str, Any]) -> _Plot:
    is_it, _ = answer(report)
    entries, named, lines = _curves(report, "precision_recall")
    legend, tall = _legend(entries, 14, 14)
    frame = _Frame((0, 1), (0, 1), top=38 + tall)
    base = report["test"]["base_rate"]
    out = legend + frame.axes(
        f"Recall: share of {is_it} rows found",
        f"Precision: share of {is_it} calls that are right",
        _percents,
        _percents,
    )
    out += (
        f'<line class="guide" x1="{frame.left}" x2="{frame.right}" y1="{frame.y(base):.1f}" y2="{frame.y(base):.1f}"/>'
        + lines(frame)
    )
    return "Precision and recall", f"Curves of {named}; guessing has a precision of {percent(base)}.", frame.height, out


def _calibration(report: Mapping[str, Any]) -> _Plot:
    found = report["calibration"]["bins"]
    if report["task"] == "regression":
        edges = [
            edge for one in found for edge in (one["said"], one["was"], one["low"], one["high"]) if edge is not None
        ]
        ends = _pad(min(edges), max(edges))
        across, up, say = "Predicted, mean of each bin", "Actual mean", _number
    else:
        top = max((one[key] or 0.0) for one in found for key in ("said", "high"))
        ends = (0.0, min(1.0, ceil(top * 10 + 0.2) / 10)) if report["task"] == "binary" else (0.0, 1.0)
        is_it = answer(report)[0] if report["task"] == "binary" else ""
        across = f"Predicted probability of {is_it}" if is_it else "Confidence in the answer given"
        up, say = (f"Share that was {is_it}" if is_it else "Share that was right"), _percents
    frame = _Frame(ends, ends)
    out = frame.axes(across, up, say, say)
    out += f'<line class="guide" x1="{frame.left}" y1="{frame.bottom}" x2="{frame.right}" y2="{frame.top}"/>'
    points = frame.line([one["said"] for one in found], [one["was"] for one in found])
    out += f'<polyline class="curve main" style="opacity:.45" points="{points}"/>'
    for one in found:
        if one["low"] is not None:
            x, low, high = frame.x(one["said"]), frame.y(one["low"]), frame.y(one["high"])
            out += f'<line class="reach" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
        hover = f"{one['rows']:,} rows: said {say(round(one['said'], 3))}, was {say(round(one['was'], 3))}"
        out += _dot(frame, one["said"], one["was"], hover)
    told = "; ".join(f"said {say(round(one['said'], 3))}, was {say(round(one['was'], 3))}" for one in found)
    return "What was said against what was", f"On the diagonal both are equal. {told}.", frame.height, out


def _scores(report: Mapping[str, Any]) -> _Plot:
    is_it, _ = answer(report)
    edges, found = report["scores"]["edges"], report["scores"]
    totals = {side: sum(found[side]) or 1 for side in ("negative", "positive")}
    shares = {side: [count / totals[side] for count in found[side]] for side in totals}
    top = max(*shares["negative"], *shares["positive"]) or 1.0
    frame = _Frame((0, 1), (0, top * 1.05), top=56)
    out = _swatch(14, 14, "bar quiet", f"not {is_it}") + _swatch(150, 14, "bar warm see", is_it)
    out += frame.axes(f"Predicted probability of {is_it}", "Share of each kind's rows", _percents, _percents)
    for side, kind in (("negative", "bar quiet"), ("positive", "bar warm see")):
        for place, share in enumerate(shares[side]):
            if share:
                out += _bar(frame, (edges[place], edges[place + 1]), share, kind, f"{found[side][place]:,} rows")
    threshold = report["threshold"]
    if 0 <= threshold <= 1:
        x = frame.x(threshold)
        out += f'<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.top}" y2="{frame.bottom}"/>'
        ends = "end" if x > WIDTH - 130 else "start"
        out += _text(
            x + (-6 if ends == "end" else 6), frame.top + 11, f"threshold {threshold:.3f}", kind="name", anchor=ends
        )
    return (
        "How the scores are spread",
        f"{totals['positive']:,} rows that were {is_it}, {totals['negative']:,} that were not.",
        frame.height,
        out,
    )


def _dot(frame: _Frame, x: float, y: float, hover: str, *, size: int = 5) -> str:
    place = f'cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="{size}"'
    return f'<circle class="dot" {place}><title>{escape(hover)}</title></circle>'


def _bar(frame: _Frame, ends: tuple[float, float], high: float, kind: str, hover: str) -> str:
    left, right = ends
    x, y = frame.x(left), frame.y(high)
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{max(frame.x(right) - x - 1, 0.8):.1f}" '
        f'height="{max(frame.bottom - y, 0):.1f}"><title>{escape(hover)}</title></rect>'
    )


def _swatch(x: float, y: float, kind: str, name: str) -> str:
    return f'<rect class="{kind}" x="{x}" y="{y - 11}" width="12" height="12"/>' + _text(
        x + 18, y, _short(name, 34), kind="name"
    )


def _confusion(report: Mapping[str, Any]) -> _Plot:
    found = report["confusion"]
    if report["task"] == "binary":
        is_it, _ = answer(report)
        classes = [f"not {is_it}", is_it]
        counts = [[found["true_negative"], found["false_positive"]], [found["false_negative"], found["true_positive"]]]
    else:
        classes, counts = [str(one) for one in found["classes"]], found["counts"]
    left, width = 112.0, len(classes)
    size = (WIDTH - left - 4) / width
    tall = min(size, 92.0)
    tilted = size < _ROOMY
    top = 96.0 if tilted else 56.0
    out = [_text(left, 14, "Called …", kind="name"), _text(4, top - 10, "Was …", kind="name")]
    for place, name in enumerate(classes):
        x = left + size * (place + 0.5)
        if tilted:
            out.append(
                f'<text x="{x:.1f}" y="{top - 10:.1f}" transform="rotate(-45 {x:.1f} {top - 10:.1f})">'
                f"{escape(_short(name, 11))}</text>"
            )
        else:
            out.append(_text(x, top - 10, _short(name, int(size / 6.6)), anchor="middle"))
        out.append(_text(left - 8, top + tall * (place + 0.5) + 4, _short(name, 16), anchor="end"))
    told = []
    for row, line in enumerate(counts):
        total = sum(line) or 1
        for column, count in enumerate(line):
            share, x, y = count / total, left + size * column, top + tall * row
            hover = f"{count:,} rows were {classes[row]} and called {classes[column]}: {percent(share)} of that row"
            out.append(
                f'<rect class="cell" x="{x + 1:.1f}" y="{y + 1:.1f}" width="{size - 2:.1f}" height="{tall - 2:.1f}" '
                f'style="opacity:{0.06 + 0.5 * share:.3f}"><title>{escape(hover)}</title></rect>'
            )
            if size >= _ROOMY:
                out.append(_text(x + size / 2, y + tall / 2 - 1, f"{count:,}", anchor="middle", kind="strong"))
                out.append(_text(x + size / 2, y + tall / 2 + 15, percent(share), anchor="middle", kind="name"))
            elif round(share * 100):
                out.append(_text(x + size / 2, y + tall / 2 + 4, f"{share * 100:.0f}", anchor="middle", kind="name"))
        told.append(f"of {total:,} that were {classes[row]}, {percent(line[row] / total)} were called so")
    unit = "" if size >= _ROOMY else " Percent of each line."
    height = top + tall * width + (26 if unit else 8)
    if unit:
        out.append(_text(left, height - 6, unit.strip()))
    return "Which rows are mistaken for which", "; ".join(told) + ".", height, "".join(out)


def _fit(report: Mapping[str, Any]) -> _Plot:
    edges, counts = report["fit"]["edges"], report["fit"]["counts"]
    frame = _Frame((edges[0], edges[-1]), (edges[0], edges[-1]))
    out = frame.axes("Predicted", "Actual", _number, _number)
    most = max(max(line) for line in counts) or 1
    for column, line in enumerate(counts):
        for row, count in enumerate(line):
            if not count:
                continue
            x, y = frame.x(edges[column]), frame.y(edges[row + 1])
            hover = f"{count:,} rows"
            out += (
                f'<rect class="cell" x="{x:.1f}" y="{y:.1f}" width="{frame.x(edges[column + 1]) - x:.1f}" '
                f'height="{frame.y(edges[row]) - y:.1f}" style="opacity:{0.08 + 0.92 * (count / most) ** 0.4:.2f}">'
                f"<title>{hover}</title></rect>"
            )
    out += f'<line class="guide" x1="{frame.left}" y1="{frame.bottom}" x2="{frame.right}" y2="{frame.top}"/>'
    return (
        "Predicted against actual",
        "Darker squares hold more rows; on the diagonal both are equal.",
        frame.height,
        out,
    )


def _residuals(report: Mapping[str, Any]) -> _Plot:
    edges, counts = report["residuals"]["edges"], report["residuals"]["counts"]
    total = sum(counts) or 1
    frame = _Frame((edges[0], edges[-1]), (0, max(counts) / total * 1.05))
    out = frame.axes("Predicted minus actual", "Share of rows", _number, _percents)
    for place, count in enumerate(counts):
        if count:
            out += _bar(frame, (edges[place], edges[place + 1]), count / total, "bar see", f"{count:,} rows")
    out += f'<line class="whisker" x1="{frame.x(0):.1f}" x2="{frame.x(0):.1f}" y1="{frame.top}" y2="{frame.bottom}"/>'
    return "How far off the predictions are", "Right of 0 the prediction was too high.", frame.height, out


def _importance(report: Mapping[str, Any], most: int = 15) -> _Plot:
    rows = report["importance"][:most]
    known = [one for one in rows if one["value"] is not None]
    ends = (min([0.0, *(one["low"] for one in known)]), max([1e-9, *(one["high"] for one in known)]))
    left, right, step = 128.0, WIDTH - 62.0, 24.0
    at = _scale(*ends, left, right)
    out = [f'<line class="axis" x1="{at(0):.1f}" x2="{at(0):.1f}" y1="6" y2="{10 + step * len(rows):.1f}"/>']
    for place, one in enumerate(rows):
        y = 20 + step * place
        out.append(_text(left - 10, y + 4, _short(one["feature"], 18), anchor="end", kind="name"))
        if one["value"] is None:
            continue
        low, high = sorted((at(0), at(one["value"])))
        hover = f"{one['feature']}: {one['value']:.4f}, {one['low']:.4f} to {one['high']:.4f} over the repeats"
        out.append(
            f'<rect class="bar see" x="{low:.1f}" y="{y - 7}" width="{max(high - low, 0.5):.1f}" height="14">'
            f"<title>{escape(hover)}</title></rect>"
        )
        out.append(f'<line class="whisker" x1="{at(one["low"]):.1f}" x2="{at(one["high"]):.1f}" y1="{y}" y2="{y}"/>')
        out.append(_text(WIDTH - 6, y + 4, _loss(one["value"]), anchor="end"))
    label = metric_name(report, report["primary"])
    height = 16 + step * len(rows) + 26
    out.append(_text(left, height - 8, f"{label} lost when shuffled", kind="name"))
    told = "; ".join(f"{one['feature']} {_loss(one['value'])}" for one in known)
    return "What the model looks at", f"{label} lost when a feature is shuffled: {told}.", height, "".join(out)


def _loss(value: float) -> str:
    return f"{value:.3f}".replace("-", MINUS) if abs(value) < 1 else figure(value)


def _batches(report: Mapping[str, Any]) -> _Plot:
    rows = report["batches"]
    key, up, say = {
        "binary": (
            "base_rate",
            f"Share of rows that are {answer(report)[0]}" if report["task"] == "binary" else "",
            _percents,
        ),
        "regression": ("mean", f"Mean of “{report['target']['name']}”", _number),
        "multiclass": ("rows", "Rows", _number),
    }[report["task"]]
    values = [row.get(key) for row in rows]
    known = [value for value in values if value is not None] or [0.0]
    frame = _Frame((0, len(rows)), (min(0.0, *known), max(0.0, *known) * 1.08 or 1.0), top=62, side=190)
    out, x = "", 14.0
    kinds = {
        "train": ("bar quiet", "train"),
        "validation": ("bar see", "validation"),
        "embargo": ("bar faint", "embargo"),
        "test": ("bar warm", "test"),
    }
    for role, (kind, name) in kinds.items():
        if any(row.get("role") == role for row in rows):
            out += _swatch(x, 14, kind, name)
            x += 40 + 7 * len(name)
    step = ceil(max(len(str(row["batch"])) for row in rows) * 6.8 / ((frame.right - frame.left) / len(rows)))
    for tick in ticks(*frame._y, about=4):
        y = frame.y(tick)
        out += f'<line class="grid" x1="{frame.left}" x2="{frame.right}" y1="{y:.1f}" y2="{y:.1f}"/>' + _text(
            frame.left - 8, y + 4, say(tick), anchor="end"
        )
    out += _text(14, frame.top - 14, up, kind="name")
    for place, (row, value) in enumerate(zip(rows, values, strict=True)):
        if value is not None:
            kind = kinds.get(str(row.get("role")), kinds["train"])[0]
            low, high = sorted((frame.y(0), frame.y(value)))
            hover = f"{row['batch']}: {say(round(value, 3))}, {row['rows']:,} rows"
            gap = 2 if len(rows) <= _DENSE else 0.2
            width = (frame.right - frame.left) / len(rows) - gap
            out += (
                f'<rect class="{kind}" x="{frame.x(place) + gap / 2:.1f}" y="{low:.1f}" width="{width:.1f}" '
                f'height="{max(high - low, 0.5):.1f}"><title>{escape(hover)}</title></rect>'
            )
        # labels count back from the newest batch, the one the release is about
        if (len(rows) - 1 - place) % step == 0:
            out += _text(frame.x(place + 0.5), frame.bottom + 18, str(row["batch"]), anchor="middle")
    out += f'<line class="axis" x1="{frame.left}" x2="{frame.right}" y1="{frame.y(0):.1f}" y2="{frame.y(0):.1f}"/>'
    told = "; ".join(
        f"{row['batch']} {say(round(value, 3))}" for row, value in zip(rows, values, strict=True) if value is not None
    )
    return "The answers, batch by batch", f"{up}: {told}.", frame.bottom + 28, out


def _number(value: float) -> str:
    said = f"{value:,.4g}"
    return (f"{value:,.0f}" if "e+" in said else said).replace("-", MINUS)


_PLOTS: Mapping[str, Callable[[Mapping[str, Any]], _Plot]] = {
    "models": _models,
    "roc": _roc,
    "precision_recall": _precision_recall,
    "calibration": _calibration,
    "scores": _scores,
    "confusion": _confusion,
    "fit": _fit,
    "residuals": _residuals,
    "importance": _importance,
    "batches": _batches,
}
