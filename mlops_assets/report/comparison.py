"""A comparison of two releases as Markdown, short enough for a comment on a pull request.

What belongs here: the words and tables of ``lifecycle.comparison``. What does not: finding anything out. What comes
from contracts and values stands in code spans, so that nothing in it is read as markup.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from mlops_assets.lifecycle.comparison import Changed, Code, Comparison, Measured, Side
from mlops_assets.report import words
from mlops_assets.report.words import MINUS, NOTHING, plain, span
from mlops_assets.stages.metrics import METRICS
from mlops_assets.store.diff import ValueChange
from mlops_assets.wording import counted

_ITEMS = 6
_SETTINGS = 15
_WIDTH = 60
_DIGITS = len("b3:") + 10
_VERDICTS = {
    "better": "**better**",
    "worse": "**worse**",
    "noise": "within noise",
    "same": "the same",
    "unknown": "-",
}


def markdown(found: Comparison) -> str:
    """The whole comparison; its first line says how it comes out."""
    blocks = [f"**{_outcome(found)}**"]
    if lines := [line for sentence in found.after.sentences for line in sentence.splitlines()]:
        more = [f"and {len(lines) - _ITEMS} more"] if len(lines) > _ITEMS else []
        blocks.append("  \n".join(f"> {line}" for line in [*lines[:_ITEMS], *more]))
    if found.after.report is not None:
        blocks.append(_sides(found))
        blocks.append("\n".join(_table(found)))
    if found.before.manifest and found.after.manifest:
        blocks.append("\n".join(_behind(found)))
    return "\n\n".join(blocks) + "\n"


def _outcome(found: Comparison) -> str:
    after, name = found.after, f"{found.dataset} {found.after.release}".strip()
    if after.report is None:
        return f"{name}: nothing to compare, {_code(after.name)} has no evaluation report."
    said = _headline(found)
    if after.state == "refused":
        return f"{name}: refused. {said}"
    if after.state == "outdated":
        return f"{name}: not of the code and data at hand. {said}"
    return f"{name}: {said}"


def _headline(found: Comparison) -> str:
    item = found.primary
    if item is None:
        return "see the table."
    label = _label(found, item)
    if item.before is None:
        return f"{label} {_figure(item.after)}; {_code(found.before.name)} shows no evaluation report to compare with."
    verdict = _VERDICTS[item.verdict].strip("*")
    return f"{label} {_figure(item.before)} → {_figure(item.after)} ({_difference(item)}), {verdict}."


def _sides(found: Comparison) -> str:
    def said(side: Side) -> str:
        if side.report is None:
            return f"{_code(side.name)} (no report)"
        rows = side.report["rows"]["answered"]
        other = f" of {side.release}" if side.release != found.after.release else ""
        return f"{_code(side.name)}{other} ({plain(side.report['candidate'])}, {counted(rows, 'test row')})"

    return f"{said(found.before)} → {said(found.after)}"


def _table(found: Comparison) -> Iterator[str]:
    yield "| metric | base | now | difference | base, 95 % | verdict |"
    yield "|---|---:|---:|---:|---:|---|"
    for item in found.metrics:
        cells = [
            _label(found, item),
            _figure(item.before),
            _figure(item.after),
            _difference(item),
            _ascii(span(item.low, item.high)) or "-",
            _VERDICTS[item.verdict],
        ]
        yield f"| {' | '.join(cells)} |"


def _label(found: Comparison, item: Measured) -> str:
    assert found.after.report is not None
    metrics = METRICS[found.after.report["task"]]
    return metrics[item.metric].label if item.metric in metrics else _code(item.metric)


def _difference(item: Measured) -> str:
    if item.before is None or item.after is None:
        return "-"
    by = item.after - item.before
    return _figure(by) if by < 0 else f"+{_figure(by)}"


def _figure(value: float | None) -> str:
    return _ascii(words.figure(value))


def _ascii(text: str) -> str:
    """Signs that can be typed: a comment is searched and read by programs too."""
    return text.replace(MINUS, "-").replace(NOTHING, "-")


# --- what is behind the numbers --------------------------------------------------------------------------------------


def _behind(found: Comparison) -> Iterator[str]:
    data = [_data(item) for item in found.data]
    code = [_stages(files, stages) for files, stages in _by_files(found.code)]
    settings = [_setting(item) for item in found.settings]
    environment = [" → ".join(_code(side[:_DIGITS]) for side in found.environment)] if found.environment else []
    for title, told, most in (
        ("Data", data, 2 * _ITEMS),
        ("Code", code, _ITEMS),
        ("Settings", settings, _SETTINGS),
        ("Environment", environment, 1),
    ):
        if not told:
            yield f"- {title}: the same"
            continue
        yield f"- {title}:" if len(told) > 1 else f"- {title}: {told[0]}"
        if len(told) > 1:
            yield from (f"  - {line}" for line in told[:most])
            if len(told) > most:
                yield f"  - and {len(told) - most} more"


def _data(item: Changed) -> str:
    batches = item.batches
    where = f"{batches[0]} to {batches[-1]}, {len(batches)} partitions" if len(batches) > 1 else batches[0]
    told = [_code(item.stage), f"({where})"]
    before, after = item.rows
    if before != after:
        told.append(f"{before:,} → {counted(after, 'row')};")
    columns = [*(f"+{name}" for name in item.added), *(f"-{name}" for name in item.removed), *item.altered]
    if columns:
        told.append(f"columns {_some(columns)}")
    if item.files:
        told.append(f"{'from' if not columns else 'of'} {_some(item.files)}")
    return " ".join(told).rstrip(";")


def _by_files(changes: Sequence[Code]) -> Iterator[tuple[Code, list[str]]]:
    ordered = sorted(changes, key=lambda item: (item.files, item.uncommitted))
    for _, members in groupby(ordered, key=lambda item: (item.files, item.uncommitted)):
        items = list(members)
        yield items[0], [item.stage for item in items]


def _stages(change: Code, stages: Sequence[str]) -> str:
    told = (
        f"{_some(change.files)} for {_some(stages)}" if change.files else f"of {_some(stages)}, in files unknown to git"
    )
    return told + (" (with changes that were not committed)" if change.uncommitted else "")


def _setting(item: ValueChange) -> str:
    if item.change != "changed" and isinstance(item.after if item.change == "added" else item.before, dict):
        return f"{_code(item.path)} {item.change}"
    if item.change != "changed":
        return f"{_code(item.path)} {item.change}: {_value(item.after if item.change == 'added' else item.before)}"
    return f"{_code(item.path)}: {_value(item.before)} → {_value(item.after)}"


def _value(value: Any) -> str:
    import json

    return _code(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _ITEMS} more" if len(names) > _ITEMS else ""
    return ", ".join(_code(name) for name in names[:_ITEMS]) + more


def _code(text: str) -> str:
    """A code span of one line: what cannot stand in one is left out."""
    kept = " ".join(text.replace("`", "'").replace("|", "/").split())
    return f"`{kept if len(kept) <= _WIDTH else kept[: _WIDTH - 1] + '…'}`"
