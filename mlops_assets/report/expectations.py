"""What came of analysts' expectations of one batch, as one HTML file.

What belongs here: the page's order and markup. What does not: its style (``page``), judging (``checks.expectations``).

The page needs nothing beside itself. It says first whether the supplier's data is as expected, then what was expected
and found, the failed ones before the others, each with rows to look at.
"""

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, TypedDict

from mlops_assets.contract.model import Expectation
from mlops_assets.report.page import STYLE
from mlops_assets.report.words import percent
from mlops_assets.wording import counted

_OPEN = 5
"""Examples up to which they are shown unfolded."""

_NARROW = """
.checks th[scope=row]{max-width:24em;overflow-wrap:anywhere}.checks td{overflow-wrap:anywhere}
@media (min-width:900px){.checks th[scope=row]{min-width:20em}}
.checks td.n{min-width:6em}.checks details{margin-top:.4rem}
"""

_MARKS = {"critical": ("held", "✕ blocks"), "warning": ("warned", "! warning"), "info": ("warned", "! note")}


class Batch(TypedDict, total=False):
    """Which rows were judged; what is absent is not shown. ``files`` have name and sha256."""

    dataset: str
    source: str
    batch: str
    branch: str
    rows: int | None
    version: str | None
    files: Sequence[Mapping[str, Any]]
    who: str
    when: str


def html(
    about: Batch,
    suite: Sequence[Expectation],
    verdicts: Mapping[str, Mapping[str, Any]],
    examples: Mapping[str, Sequence[str]],
) -> str:
    """One self-contained document; verdicts (``checks.verdict.Verdict`` as dicts) and examples go by the check's name.

    An expectation without a verdict has not been judged, and is shown so.
    """
    order = {"critical": 0, "warning": 1, "info": 2}
    listed = sorted(suite, key=lambda each: (_state(verdicts.get(each.name)), order[each.severity]))
    failed = [each for each in listed if _state(verdicts.get(each.name)) == 0]
    title = f"{about['dataset']}/{about['source']} {about.get('batch', '')}: what was expected of the data".strip()
    parts = [
        _opening(about, suite, failed),
        _table(listed, verdicts, examples),
        _asked(suite),
        _made(about),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{_NARROW}</style></head><body><main>{''.join(parts)}"
        "<footer><p>Judged by Great Expectations on all delivered rows, before the contract refuses any. A value that "
        "cannot be read as the contract says is missing here.</p></footer></main></body></html>\n"
    )


def _state(verdict: Mapping[str, Any] | None) -> int:
    """0: failed, 1: not judged, 2: passed."""
    return 1 if verdict is None else 2 if verdict["passed"] else 0


def _opening(about: Batch, suite: Sequence[Expectation], failed: Sequence[Expectation]) -> str:
    known: Mapping[str, Any] = {**about}
    over = f"<span><b>{escape(about['dataset'])}/{escape(about['source'])}</b> expectations</span>" + "".join(
        f"<span>{name} <b>{escape(str(known[name]))}</b></span>" for name in ("batch", "branch") if known.get(name)
    )
    critical = [each for each in failed if each.severity == "critical"]
    state, word = ("held", "Refused") if critical else ("warned", "Warnings") if failed else ("passed", "As expected")
    if failed:
        verb = "is" if len(failed) == 1 else "are"
        heading = f"{len(failed)} of {counted(len(suite), 'expectation')} {verb} not met"
    else:
        heading = f"The data is as expected in {counted(len(suite), 'way')}"
    rows = about.get("rows")
    more = f" {counted(rows, 'row')} were looked at." if rows is not None else ""
    if critical:
        names = ", ".join(each.name for each in critical)
        verb = "blocks" if len(critical) == 1 else "block"
        lead = f"The batch was not published, because {names} {verb}. What was published before stays readable.{more}"
    elif failed:
        lead = f"The batch was published; nothing that failed is critical.{more}"
    else:
        lead = more.strip()
    return (
        f'<header><p class="over">{over}</p><p class="state {state}">{word}</p><h1>{escape(heading)}</h1>'
        f'<p class="lead">{escape(lead)}</p></header>'
    )


def _table(
    listed: Sequence[Expectation],
    verdicts: Mapping[str, Mapping[str, Any]],
    examples: Mapping[str, Sequence[str]],
) -> str:
    rows = []
    for each in listed:
        verdict = verdicts.get(each.name)
        kind, mark = ("unjudged", "not judged") if verdict is None else ("passed", "✓ met")
        if verdict is not None and not verdict["passed"]:
            kind, mark = _MARKS[each.severity]
        sentence = verdict["sentence"] if verdict else "The batch could not be read."
        shown = examples.get(each.name, ())
        samples = "".join(f"<small>{escape(text)}</small>" for text in shown)
        if shown:
            unfolded = " open" if kind in ("held", "warned") and len(shown) <= _OPEN else ""
            samples = f"<details{unfolded}><summary>{counted(len(shown), 'example')}</summary>{samples}</details>"
        rows.append(
            f'<tr><td><span class="mark {kind}">{mark}</span></td>'
            f'<th scope="row">{escape(each.name)}<small>{escape(each.description)}</small></th>'
            f'<td>{escape(sentence)}{samples}</td><td class="n">{_share(verdict)}</td></tr>'
        )
    head = (
        '<thead><tr><th scope="col">Verdict</th><th scope="col">Expectation</th><th scope="col">What was found</th>'
        '<th scope="col" class="n">Not as expected</th></tr></thead>'
    )
    table = f'<table class="checks">{head}<tbody>{"".join(rows)}</tbody></table>'
    return _section("What was expected, and what was found", _scroll("Expectations and verdicts", table))


def _share(verdict: Mapping[str, Any] | None) -> str:
    """The share that is not as expected, and the largest that passes, where rows were judged one by one."""
    if verdict is None or verdict["threshold"] is None:
        return ""
    share = verdict["failed"] / verdict["n"] if verdict["n"] else 0.0
    return f"{percent(share)}<small>up to {percent(verdict['threshold'])}</small>"


def _asked(suite: Sequence[Expectation]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(each.name)}</th><td><code>{escape(each.type)}</code></td>'
        f"<td><code>{escape(json.dumps(each.kwargs, ensure_ascii=False))}</code></td></tr>"
        for each in suite
    )
    head = '<thead><tr><th scope="col">Check</th><th scope="col">Type</th><th scope="col">Asked with</th></tr></thead>'
    table = _scroll("The suite", f"<table>{head}<tbody>{rows}</tbody></table>")
    return _section(
        "The suite",
        f"<details><summary>{counted(len(suite), 'expectation')} of expectations.json</summary>{table}</details>",
    )


def _made(about: Batch) -> str:
    files = "<br>".join(
        f"{escape(str(file['name']))} <code>{escape(str(file['sha256'])[:16])}</code>"
        for file in about.get("files", ())
    )
    rows = [
        ("Data version", f"<code>{escape(str(about.get('version')))}</code>" if about.get("version") else ""),
        ("Delivered", files),
        ("By", escape(about.get("who", ""))),
        ("When", escape(about.get("when", ""))),
    ]
    listed = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows if value)
    return _section("What was judged", f'<dl class="made">{listed}</dl>')


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _scroll(label: str, body: str) -> str:
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(label)}">{body}</div>'
