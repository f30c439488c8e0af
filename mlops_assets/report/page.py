"""The evaluation report as one HTML file.

What belongs here: the page's order, markup and style, and the shape of the provenance it shows. What does not: the
plots (``plots``), the sentences (``words``), any number that is not in the report.

The page needs nothing beside itself: no script, no font, no picture, no network. It reads from the top: what was
decided, how good the model is, what to know before trusting it, then the evidence, then what made it.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, TypedDict

from mlops_assets.report.plots import COLOURS, MARKS, SANS, drawing, interval, names
from mlops_assets.report.words import (
    MINUS,
    NOTHING,
    answer,
    capital,
    figure,
    finding,
    metric_name,
    percent,
    plain,
    span,
)
from mlops_assets.stages.evaluate import cautions
from mlops_assets.stages.metrics import METRICS
from mlops_assets.wording import counted


class Provenance(TypedDict, total=False):
    """What made a report: plain JSON, everything optional; what is absent is shown as not recorded.

    ``inputs``: one for each exact input, ``{"asset", "partition", "version", "rows"?}``, version None when the batch
    was never delivered. ``files``: delivered files, ``{"name", "size", "sha256", "source"?, "batch"?}``. ``verdicts``:
    ``checks.verdict.Verdict`` as dicts, ``{"check", "passed", "severity", "sentence", "stage"?, "examples"?}``.
    ``notes``: sentences on inputs that are a last good version because a newer one was refused. ``settings``: by model.
    ``git``: ``{"commit", "dirty"}``. ``environment``: a digest, or names to versions. ``model``: the candidate's
    version. ``when``: ISO 8601.
    """

    dataset: str
    description: str
    owners: Sequence[str]
    release: str
    branch: str
    model: str
    git: Mapping[str, Any]
    code_version: str
    environment: str | Mapping[str, Any]
    seed: int
    settings: Mapping[str, Any]
    inputs: Sequence[Mapping[str, Any]]
    files: Sequence[Mapping[str, Any]]
    verdicts: Sequence[Mapping[str, Any]]
    notes: Sequence[str]
    run_id: str
    who: str
    when: str


OPEN = 40
"""Rows of a provenance table up to which it is shown unfolded."""

STYLE = (
    COLOURS
    + MARKS
    + f"""
*{{box-sizing:border-box}}
html{{color-scheme:light dark;-webkit-text-size-adjust:100%}}
body{{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 {SANS};font-variant-numeric:tabular-nums}}
main{{max-width:1040px;margin:0 auto;padding:2.5rem 1.5rem 4rem}}
h1,h2,h3,p,figure,dl,dd,ul{{margin:0}}
.over{{color:var(--soft);font-size:.9rem;display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;margin-bottom:1.6rem}}
.over b{{color:var(--ink)}}
h1{{font-size:clamp(1.6rem,1.1rem + 2.2vw,2.5rem);line-height:1.15;letter-spacing:-.02em;font-weight:680;max-width:24em;
text-wrap:balance}}
.state{{display:inline-block;font-size:.82rem;font-weight:640;border-radius:99px;padding:.15rem .8rem;
margin-bottom:.8rem;border:1.5px solid currentColor}}
.passed{{color:var(--good)}}.warned{{color:var(--warm)}}.held{{color:var(--bad)}}.unjudged{{color:var(--soft)}}
.lead{{font-size:1.16rem;line-height:1.5;max-width:42em;margin-top:1rem;text-wrap:pretty}}
.lead+.lead{{margin-top:.5rem}}
.facts{{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:0 1.6rem;margin:2rem 0 0;
border-top:2px solid var(--ink)}}
.facts div{{padding:.8rem 0 .2rem}}
.facts dt{{font-size:.88rem;color:var(--soft)}}
.facts dd{{font-size:1.7rem;font-weight:640;letter-spacing:-.01em;line-height:1.25}}
.facts small{{display:block;font-size:.84rem;font-weight:400;letter-spacing:0;color:var(--soft)}}
section{{margin-top:3.2rem}}
h2{{font-size:1.35rem;line-height:1.25;letter-spacing:-.01em;margin-bottom:.35rem}}
.by{{margin-top:1.8rem}}.by .note{{margin-top:.5rem}}
.note{{color:var(--soft);max-width:46em;margin-bottom:1rem;font-size:.95rem;text-wrap:pretty}}
.pair>section{{min-width:0}}.pair>.note{{margin:0}}
.pair{{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:1.6rem 2.4rem;
align-items:start}}
figure{{min-width:0;break-inside:avoid}}
figcaption{{font-weight:600;margin-bottom:.5rem}}
figure p{{color:var(--soft);font-size:.92rem;margin-top:.4rem;max-width:34em}}
.plot{{display:block;width:100%;height:auto;max-width:520px}}
.cellplot{{width:120px;min-width:120px}}
.scroll{{overflow-x:auto;max-width:100%}}
.scroll:focus-visible,summary:focus-visible{{outline:2px solid var(--accent);outline-offset:2px}}
table{{border-collapse:collapse;width:100%;font-size:.93rem}}
caption{{text-align:left;font-weight:600;padding-bottom:.4rem}}
th,td{{text-align:left;vertical-align:top;padding:.5rem .9rem .5rem 0;border-bottom:1px solid var(--line)}}
thead th{{font-weight:500;color:var(--soft);font-size:.86rem;vertical-align:bottom;border-bottom-color:var(--mute)}}
tbody th{{font-weight:600}}
td.n,th.n{{text-align:right}}th.w{{padding-left:1.6em}}
td:last-child,th:last-child{{padding-right:0}}
tr{{break-inside:avoid}}
small{{font-size:.84rem;font-weight:400;color:var(--soft);display:block;line-height:1.4}}
.mine{{background:var(--faint)}}
th.mine,td.mine{{padding-left:.9rem}}
thead th.mine{{color:var(--accent);font-weight:640}}
.up{{color:var(--good)}}.down{{color:var(--bad)}}
.metrics td{{white-space:nowrap}}
@media (min-width:561px){{.metrics td,.metrics thead th:not(:first-child){{min-width:9em}}}}
.metrics td,.metrics thead th:not(:first-child){{padding-left:.9rem}}
.metrics tbody th{{min-width:8em;max-width:22em}}
.groups thead th{{max-width:9em}}
.groups td,.groups tbody th{{vertical-align:middle;padding-top:.32rem;padding-bottom:.32rem}}
.groups svg{{margin-left:.2rem}}
.wide{{column-gap:2.4rem}}
ul.plainlist{{list-style:none;padding:0;max-width:46em}}
ul.plainlist li{{padding:.55rem 0 .55rem 1.1rem;border-left:3px solid var(--line);margin-bottom:.5rem}}
.mark{{font-weight:640;white-space:nowrap}}
.checks td:first-child{{width:7.5em}}
.said{{margin-top:1rem;max-width:34em}}
.said li{{margin:.25rem 0}}
.said ul{{padding-left:1.1rem}}
code{{font:.86em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}}
dl.made{{display:grid;grid-template-columns:minmax(7.5em,12em) 1fr;gap:.35rem 1.2rem;font-size:.95rem;max-width:60em}}
dl.made dt{{color:var(--soft)}}
dl.made dd{{min-width:0;overflow-wrap:anywhere}}
details{{margin-top:1.2rem}}
summary{{cursor:pointer;font-weight:600}}
details table{{margin-top:.6rem}}details td:nth-child(2){{white-space:nowrap}}
details td,details tbody th{{padding-top:.25rem;padding-bottom:.25rem}}
.none{{color:var(--soft)}}
footer{{margin-top:3.5rem;padding-top:1rem;border-top:1px solid var(--line);color:var(--soft);
font-size:.88rem;max-width:60em}}
@media (max-width:560px){{main{{padding:1.4rem 1rem 3rem}}section{{margin-top:2.4rem}}.lead{{font-size:1.05rem}}
.facts{{grid-template-columns:1fr 1fr;gap:0 1rem}}.facts dd{{font-size:1.4rem}}
dl.made{{grid-template-columns:1fr;gap:0}}dl.made dd{{margin-bottom:.5rem}}
.checks tr{{display:grid;padding:.5rem 0;border-bottom:1px solid var(--line)}}
.checks td,.checks th{{border:0;padding:0}}
.checks td:first-child{{width:auto}}.checks thead{{position:absolute;left:-9999px}}}}
@media print{{@page{{margin:16mm}}body{{font-size:10.5pt}}main{{max-width:none;padding:0}}section{{margin-top:1.6rem}}
.plot{{max-width:82mm}}.cellplot{{max-width:none}}.pair{{grid-template-columns:1fr 1fr}}
h2,h3,caption{{break-after:avoid}}
.scroll{{overflow:visible}}details::details-content{{content-visibility:visible;display:block}}
.bar,.cell,.dot,.mine{{-webkit-print-color-adjust:exact;print-color-adjust:exact}}}}
"""
)


def html(report: Mapping[str, Any], provenance: Provenance) -> str:
    """One self-contained document of an evaluation ``report`` (``stages.evaluate``) and its ``provenance``."""
    verdicts = provenance.get("verdicts", ())
    found = finding(report, verdicts)
    dataset, release = str(provenance.get("dataset", report["dataset"])), provenance.get("release")
    title = f"{dataset}{f' {release}' if release else ''}: evaluation report"
    parts = [
        _opening(report, provenance, dataset),
        _checks(verdicts),
        _cautions(report, provenance),
        _against(report),
        *{"binary": _binary, "multiclass": _multiclass, "regression": _regression}[report["task"]](report),
        _groups(report),
        f'<div class="pair wide">{_importance(report)}{_batches(report)}</div>',
        _made(report, provenance),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta name="description" content="{escape(found.title)}"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head><body><main>{''.join(parts)}{_footer(report)}</main></body></html>\n"
    )


def _opening(report: Mapping[str, Any], provenance: Provenance, dataset: str) -> str:
    found = finding(report, provenance.get("verdicts", ()))
    over = [f"<span><b>{escape(dataset)}</b> evaluation report</span>"]
    known: Mapping[str, Any] = {**provenance}
    over += [
        f"<span>{escape(name)} <b>{escape(str(known[name]))}</b></span>"
        for name in ("release", "branch")
        if name in known
    ]
    state = {"passed": "Passed", "warned": "Passed with warnings", "held": "Held back", "unjudged": "Not judged"}[
        found.state
    ]
    lead = "".join(f'<p class="lead">{escape(sentence)}</p>' for sentence in found.sentences)
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(more)}</small></dd></div>"
        for name, value, more in _facts(report)
    )
    return (
        f'<header><p class="over">{"".join(over)}</p><p class="state {found.state}">{state}</p>'
        f'<h1>{escape(found.title)}</h1>{lead}<dl class="facts">{cells}</dl></header>'
    )


def _facts(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The four numbers to take away: name, value, what to add."""
    primary, rows = report["primary"], report["rows"]
    chosen = _chosen(report)
    reach = chosen["metrics"][primary]
    told = [
        (
            metric_name(report, primary),
            figure(reach["value"]),
            f"95%: {span(reach['low'], reach['high']) or 'not known'}",
        )
    ]
    rivals = [
        (name, versus[primary]) for name, versus in chosen["versus"].items() if versus[primary]["value"] is not None
    ]
    if rivals:
        # the strongest rival is the one the candidate beats by the least
        name, gap = min(rivals, key=lambda rival: rival[1]["value"])
        told.append(
            (
                f"better than {plain(name)} by",
                figure(gap["value"]),
                f"95%: {span(gap['low'], gap['high']) or 'not known'}",
            )
        )
    told.append(("test rows with an answer", f"{rows['answered']:,}", f"fitted to {report['train']['rows']:,}"))
    if report["task"] == "binary":
        name = f"of them {answer(report)[0]}"
        told.append(
            (name, percent(report["test"]["base_rate"]), f"{percent(report['train']['base_rate'])} in training")
        )
    elif report["task"] == "regression":
        name = f"mean “{report['target']['name']}”"
        told.append((name, figure(report["test"]["mean"]), f"{figure(report['train']['mean'])} in training"))
    else:
        told.append(
            ("answers to choose from", str(len(report["target"]["classes"])), f"for “{report['target']['name']}”")
        )
    return told


def _checks(verdicts: Sequence[Mapping[str, Any]]) -> str:
    if not verdicts:
        return _section("What was checked", '<p class="none">No verdict was recorded with this report.</p>')
    ordered = sorted(verdicts, key=lambda one: (one["passed"], one["severity"] != "block"))
    rows = []
    for one in ordered:
        kind, mark = (
            ("passed", "✓ passed")
            if one["passed"]
            else ("held", "✕ blocks")
            if one["severity"] == "block"
            else ("warned", "! warning")
        )
        more = "".join(f"<small>{escape(str(example))}</small>" for example in one.get("examples", ()))
        name = capital(plain(str(one["check"])))
        rows.append(
            f'<tr><td><span class="mark {kind}">{mark}</span></td><th scope="row">{escape(name)}</th>'
            f"<td>{escape(str(one['sentence']))}{more}</td></tr>"
        )
    head = f"<thead><tr>{_heads([('Verdict', 'left'), ('Check', 'left'), ('What was found', 'left')])}</tr></thead>"
    return _section("What was checked", f'<table class="checks">{head}<tbody>{"".join(rows)}</tbody></table>')


def _cautions(report: Mapping[str, Any], provenance: Provenance) -> str:
    told = [*provenance.get("notes", ()), *cautions(report)]
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in told)
    return _section("Before you rely on it", f'<ul class="plainlist">{items}</ul>')


def _against(report: Mapping[str, Any]) -> str:
    """Every metric of every model: a line a metric, a column a model, so that it fits a narrow screen."""
    metrics, chosen = METRICS[report["task"]], _chosen(report)
    models = [chosen, *(model for model in report["models"] if model is not chosen)]
    head = "".join(
        f'<th scope="col"{_mine(place)}>{escape(plain(model["name"]))}<small>{escape(model["role"])}</small></th>'
        for place, model in enumerate(models)
    )
    rows = []
    for name, metric in metrics.items():
        cells = []
        for place, model in enumerate(models):
            found = model["metrics"][name]
            said = f"{figure(found['value'])}<small>{escape(span(found['low'], found['high']))}</small>"
            cells.append(f"<td{_mine(place)}>{said}{_better(chosen['versus'].get(model['name'], {}).get(name))}</td>")
        way = "higher is better" if metric.higher else "lower is better"
        first = " (decides)" if name == report["primary"] else ""
        label = f"{escape(metric.label)}{first}<small>{escape(capital(metric.meaning))}; {way}</small>"
        rows.append(f'<tr><th scope="row">{label}</th>{"".join(cells)}</tr>')
    table = _scroll(
        "Metrics of every model",
        f'<table class="metrics"><thead><tr><th scope="col">Metric</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>",
    )
    note = (
        f"All models saw the same {report['rows']['answered']:,} test rows. Below each number its 95% interval from "
        f"{report['resamples']} resamples of those rows; below a baseline's, by how much {plain(chosen['name'])} is "
        "better on the same resamples."
    )
    beside = _pair(f'<p class="note">{escape(note)}</p>', _figure("models", report, caption=False))
    return _section("Against the baselines", f"{beside}<div class='by'>{table}</div>")


def _better(gap: Mapping[str, Any] | None) -> str:
    if gap is None or gap["value"] is None or gap["low"] is None:
        return ""
    kind, word = (
        ("up", "better by")
        if gap["low"] > 0
        else ("down", "worse by")
        if gap["high"] < 0
        else ("", "no clear difference")
    )
    if not kind:
        return f"<small>{word}</small>"
    low, high = sorted((abs(gap["low"]), abs(gap["high"])))
    return f'<small class="{kind}">{word} {figure(abs(gap["value"]))}<br>({figure(low)} to {figure(high)})</small>'


def _binary(report: Mapping[str, Any]) -> list[str]:
    is_it, _ = answer(report)
    ranked = _pair(
        _figure(
            "roc",
            report,
            "The further above the dotted line, the better it ranks. The dot is where decisions are made.",
        ),
        _figure(
            "precision_recall",
            report,
            "How many calls are right as more and more rows are found. The dotted line is guessing.",
        ),
    )
    trusted = _pair(
        _figure(
            "calibration",
            report,
            "Points above the dotted line: it happened more often than was said. Each holds about as many rows.",
        ),
        _figure("scores", report, f"The less the two overlap, the better rows that are {is_it} stand apart."),
    )
    counts = report["confusion"]
    found, missed = counts["true_positive"], counts["false_negative"]
    alarms, quiet = counts["false_positive"], counts["true_negative"]
    told = [
        f"{found:,} rows were {is_it} and called so.",
        f"{missed:,} were {is_it} and missed.",
        f"{alarms:,} were called {is_it} and were not: false alarms.",
        f"{quiet:,} were not {is_it} and left alone.",
    ]
    listed = "".join(f"<li>{escape(sentence)}</li>" for sentence in told)
    note = f"A row is called {is_it} when its score reaches {report['threshold']:.3f}."
    decided = _pair(_figure("confusion", report), f'<div class="said"><ul>{listed}</ul></div>')
    return [
        _section("How well it ranks", ranked),
        _section("Whether its probabilities can be taken at their word", trusted),
        _section("What it decides", f'<p class="note">{escape(note)}</p>{decided}'),
    ]


def _multiclass(report: Mapping[str, Any]) -> list[str]:
    body = _pair(
        _figure("confusion", report, "Each line holds the rows of one true answer; the diagonal is right."),
        _figure("calibration", report, "Points above the dotted line: it was right more often than it was sure."),
    )
    return [_section("What it decides, and how sure it may be", body)]


def _regression(report: Mapping[str, Any]) -> list[str]:
    body = _pair(
        _figure("fit", report, "The outermost half percent at each end is drawn at the edge."),
        _figure("residuals", report, "The outermost percent is drawn at the edges."),
        _figure("calibration", report, "Means of bins of about equally many rows, with 95% intervals."),
    )
    return [_section("How close it comes", body)]


def _groups(report: Mapping[str, Any]) -> str:
    if not report["groups"]:
        return ""
    build = {"binary": _binary_group, "multiclass": _multiclass_group, "regression": _regression_group}[report["task"]]
    tables = []
    for table in report["groups"]:
        caption = f"By {plain(table['column'])}"
        head, rows = build(report, table["groups"])
        cells = _heads(head)
        lines = "".join(f"<tr>{row}</tr>" for row in rows)
        left = []
        if table["hidden"]:
            left.append("The values of this column are sensitive and not shown.")
        if table["more"]:
            left.append(f"{counted(table['more'], 'more group')} not shown.")
        if table["small"]["groups"]:
            left.append(
                f"{counted(table['small']['groups'], 'group')} with fewer than {table['minimum']} rows "
                f"({table['small']['rows']:,} rows together) left out: too few to say."
            )
        told = f'<p class="note">{escape(" ".join(left))}</p>' if left else ""
        body = (
            f"<table class='groups'><caption>{escape(caption)}</caption><thead><tr>{cells}</tr></thead>"
            f"<tbody>{lines}</tbody></table>"
        )
        tables.append(f'<div class="by">{_scroll(caption, body)}{told}</div>')
    note = (
        "The vertical line is what holds for all rows. An interval that keeps clear of it is a group the model treats "
        "otherwise."
    )
    return _section("Group by group", f'<p class="note">{note}</p>' + "".join(tables))


_Head = Sequence[tuple[str, str]]
"""Names of columns and how each stands: ``left``, ``right``, or ``both`` for a number with its plot beside it."""


def _heads(head: _Head) -> str:
    kinds = {"left": "", "right": ' class="n"', "both": ' colspan="2" class="w"'}
    return "".join(f'<th scope="col"{kinds[kind]}>{escape(name)}</th>' for name, kind in head)


def _binary_group(report: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> tuple[_Head, list[str]]:
    is_it, _ = answer(report)
    area, bias = _chosen(report)["metrics"]["roc_auc"]["value"], report["calibration"]["gap"]["value"]
    areas, gaps = _ends([one["roc_auc"] for one in groups], area), _ends([one["gap"] for one in groups], bias)
    head = [
        ("Group", "left"),
        ("Rows", "right"),
        (f"Were {is_it}", "right"),
        ("ROC AUC", "both"),
        ("Probabilities off by, points", "both"),
        (f"Of {is_it} rows found", "right"),
        ("Of others called so", "right"),
    ]
    rows = [
        _first(one)
        + _cell(percent(one["base_rate"]["value"]))
        + _cell(figure(one["roc_auc"]["value"]))
        + f"<td>{_reach(one['roc_auc'], areas, area)}</td>"
        + _cell(_points(one["gap"]["value"]))
        + f"<td>{_reach(one['gap'], gaps, bias)}</td>"
        + _cell(percent(one["found"], 0))
        + _cell(percent(one["false_alarms"], 0))
        for one in groups
    ]
    return head, rows


def _multiclass_group(report: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> tuple[_Head, list[str]]:
    whole = _chosen(report)["metrics"]["accuracy"]["value"]
    bias = report["calibration"]["gap"]["value"]
    rights, gaps = _ends([one["accuracy"] for one in groups], whole), _ends([one["gap"] for one in groups], bias)
    head = [("Group", "left"), ("Rows", "right"), ("Right", "both"), ("Too sure by, points", "both")]
    rows = [
        _first(one)
        + _cell(percent(one["accuracy"]["value"]))
        + f"<td>{_reach(one['accuracy'], rights, whole)}</td>"
        + _cell(_points(one["gap"]["value"]))
        + f"<td>{_reach(one['gap'], gaps, bias)}</td>"
        for one in groups
    ]
    return head, rows


def _regression_group(report: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> tuple[_Head, list[str]]:
    whole = _chosen(report)["metrics"]["mae"]["value"]
    bias = report["calibration"]["gap"]["value"]
    errors, gaps = _ends([one["error"] for one in groups], whole), _ends([one["gap"] for one in groups], bias)
    head = [
        ("Group", "left"),
        ("Rows", "right"),
        ("Mean", "right"),
        ("Off by (MAE)", "both"),
        ("Too high by", "both"),
    ]
    rows = [
        _first(one)
        + _cell(figure(one["mean"]))
        + _cell(figure(one["error"]["value"]))
        + f"<td>{_reach(one['error'], errors, whole)}</td>"
        + _cell(figure(one["gap"]["value"]))
        + f"<td>{_reach(one['gap'], gaps, bias)}</td>"
        for one in groups
    ]
    return head, rows


def _importance(report: Mapping[str, Any]) -> str:
    if not report["importance"]:
        return ""
    note = (
        f"How much {metric_name(report, report['primary'])} the model loses on test rows when one feature's values are "
        "shuffled among them; the thin line spans the repeats. Features that tell the same share the credit, and a low "
        "bar does not mean that a feature has no effect in the world."
    )
    rest = len(report["importance"]) - 15
    more = f'<p class="note">{counted(rest, "feature")} with less importance not drawn.</p>' if rest > 0 else ""
    return _section(
        "What it looks at", f'<p class="note">{escape(note)}</p>{_figure("importance", report, caption=False)}{more}'
    )


def _batches(report: Mapping[str, Any]) -> str:
    if "batches" not in names(report):
        return ""
    seen = [row for row in report["batches"] if row.get("role") not in ("test", "embargo")]
    parts = counted(len(seen), "batch")
    left = report["train"]["no_answer"]
    note = f"{sum(row['rows'] for row in seen):,} rows of {parts}"
    note += f"; {left:,} of them have no answer and taught it nothing." if left else "."
    return _section("What it learnt from", f'<p class="note">{escape(note)}</p>{_figure("batches", report)}')


def _made(report: Mapping[str, Any], provenance: Provenance) -> str:
    git = provenance.get("git", {})
    commit = _code(git.get("commit"))
    if git.get("dirty"):
        commit += " with changes that were not committed"
    environment = provenance.get("environment")
    made = (
        _code(environment)
        if not isinstance(environment, Mapping)
        else _code(", ".join(f"{k} {v}" for k, v in environment.items()))
    )
    owners = provenance.get("owners", ())
    settings = provenance.get("settings", report["settings"])
    rows = [
        ("Dataset", escape(str(provenance.get("dataset", report["dataset"])))),
        ("Description", escape(str(provenance.get("description", "")))),
        ("Owners", escape(", ".join(owners))),
        ("Target", f"{escape(report['target']['name'])}: {_code(report['target']['expression'])}"),
        (
            "Candidate",
            escape(plain(report["candidate"])) + (f" {_code(provenance['model'])}" if "model" in provenance else ""),
        ),
        (
            "Settings",
            "<br>".join(f"{escape(plain(name))}: {escape(_settings(chosen))}" for name, chosen in settings.items()),
        ),
        ("Seed", _code(provenance.get("seed"))),
        ("Git commit", commit),
        ("Code version", _code(provenance.get("code_version"))),
        ("Environment", made),
        ("Run", _code(provenance.get("run_id"))),
        ("By", escape(str(provenance.get("who", ""))) or _code(None)),
        ("When", escape(str(provenance.get("when", ""))) or _code(None)),
    ]
    listed = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows if value)
    inputs = provenance.get("inputs", ())
    files = provenance.get("files", ())
    body = f'<dl class="made">{listed}</dl>'
    absent = sum(1 for one in inputs if one.get("version") is None)
    more = f", {absent} of them never delivered" if absent else ""
    body += _folded(
        f"{counted(len(inputs), 'exact input')}{more}",
        [("Asset", "left"), ("Partition", "left"), ("Version", "left")],
        [
            f'<th scope="row">{escape(str(one["asset"]))}</th><td>{escape(str(one["partition"]))}</td>'
            f"<td>{_code(one.get('version'), 'absent')}</td>"
            for one in inputs
        ],
    )
    body += _folded(
        counted(len(files), "delivered file"),
        [("File", "left"), ("Bytes", "right"), ("SHA-256", "left")],
        [
            f'<th scope="row">{escape(str(one["name"]))}</th><td class="n">{one["size"]:,}</td>'
            f"<td>{_code(one['sha256'])}</td>"
            for one in files
        ],
    )
    return _section("What made it", body)


def _folded(title: str, head: _Head, rows: Sequence[str]) -> str:
    if not rows:
        return f'<p class="note" style="margin-top:1.2rem">No {escape(title.split(" ", 1)[1])} recorded.</p>'
    lines = "".join(f"<tr>{row}</tr>" for row in rows)
    table = f"<table><thead><tr>{_heads(head)}</tr></thead><tbody>{lines}</tbody></table>"
    unfolded = " open" if len(rows) <= OPEN else ""
    return f"<details{unfolded}><summary>{escape(title)}</summary>{_scroll(title, table)}</details>"


def _footer(report: Mapping[str, Any]) -> str:
    told = [
        f"Intervals: percentiles of {report['resamples']} bootstrap resamples of the test rows.",
        "Groups: Wilson's interval for shares, DeLong's for ROC AUC, the normal one for means."
        if report["task"] == "binary" and report["groups"]
        else "",
        f"The test rows were in no fit; {counted(report['rows']['no_answer'], 'row')} without an answer left out.",
        f"Report format {report['format']}.",
    ]
    return f"<footer><p>{escape(' '.join(part for part in told if part))}</p></footer>"


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _figure(name: str, report: Mapping[str, Any], note: str = "", *, caption: bool = True) -> str:
    drawn = drawing(name, report)
    title = drawn.split("<title>", 1)[1].split("</title>", 1)[0]
    above = f"<figcaption>{title}</figcaption>" if caption else ""
    more = f"<p>{escape(note)}</p>" if note else ""
    return f"<figure>{above}{drawn}{more}</figure>"


def _pair(*parts: str) -> str:
    return f'<div class="pair">{"".join(parts)}</div>'


def _scroll(label: str, body: str) -> str:
    """A wide table scrolls by itself, by keyboard too, instead of widening the page."""
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(label)}">{body}</div>'


def _mine(place: int) -> str:
    return ' class="mine"' if place == 0 else ""


def _first(group: Mapping[str, Any]) -> str:
    return f'<th scope="row">{escape(str(group["group"]))}</th><td class="n">{group["rows"]:,}</td>'


def _cell(said: str) -> str:
    return f'<td class="n">{escape(said)}</td>'


def _points(share: float | None) -> str:
    return NOTHING if share is None else f"{share * 100:+.1f}".replace("-", MINUS)


def _reach(found: Mapping[str, Any], ends: tuple[float, float], mark: float | None) -> str:
    return interval(found["value"], found["low"], found["high"], ends, mark)


def _ends(spans: Iterable[Mapping[str, Any]], mark: float | None) -> tuple[float, float]:
    known = [edge for one in spans for edge in (one["value"], one["low"], one["high"]) if edge is not None]
    known += [] if mark is None else [mark]
    return min(known, default=0.0), max(known, default=1.0)


def _settings(chosen: Any) -> str:
    if not isinstance(chosen, Mapping):
        return str(chosen)
    return ", ".join(f"{name} {value}" for name, value in chosen.items()) or "defaults"


def _code(said: Any, absent: str = "not recorded") -> str:
    return f'<span class="none">{absent}</span>' if said in (None, "") else f"<code>{escape(str(said))}</code>"


def _chosen(report: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(model for model in report["models"] if model["name"] == report["candidate"])
    return found
