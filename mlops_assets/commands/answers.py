"""How answers about history look on a terminal.

What belongs here: lines of text from the plain records that ``store.history`` and ``store.diff`` give. What does not:
finding them, or any other output (``--json`` prints the records themselves).
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from mlops_assets.commands.common import size
from mlops_assets.visible import visible
from mlops_assets.wording import counted

if TYPE_CHECKING:
    from mlops_assets.store.diff import AssetDiff, Change, Diff, ValueChange
    from mlops_assets.store.heads import Leaf
    from mlops_assets.store.history import Logged
    from mlops_assets.store.rowdiff import RowDiff

_BATCHES = 20
_ITEMS = 8
_WIDTH = 100
_DIGEST = len("b3:") + 10


def short(version: str | None) -> str:
    """A digest as people write it."""
    return "nothing" if not version else version[:_DIGEST]


def moment(when: str) -> str:
    """An ISO time to the second, in UTC."""
    return when[:19].replace("T", " ")


def value(item: Any) -> str:
    """A plain value in at most a line."""
    text = visible(item if isinstance(item, str) else json.dumps(item, ensure_ascii=False))
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."


def some(items: Sequence[str], most: int = _ITEMS) -> str:
    """The first few of some names."""
    more = f", and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


# --- log -------------------------------------------------------------------------------------------------------------


def log_lines(found: Sequence["Logged"], *, grouped: bool, cut: bool = False) -> Iterator[str]:
    """A line for each move; moves of one run or change follow each other under a line of their own if ``grouped``.

    ``cut``: there may be more before the last one, so that nobody knows how many the last run or change has.
    """
    for group, members in groupby(found, key=lambda item: item.group if grouped else None):
        items = list(members)
        if group is None or not group[1]:
            for item in items:
                yield _move_line(item, who=True)
            continue
        first = items[0].move
        what = items[0].verb if group[0] == "change" else "run"
        said = f": {first.message}" if group[0] == "change" and first.message else ""
        moves = counted(len(items), "move")
        if cut and items[-1] is found[-1]:
            moves = f"its newest {moves.removeprefix('1 ')}"
        yield f"{what} {group[1]} by {first.who}, {moment(first.when)}, {moves}{said}"
        for item in items:
            yield f"  {_move_line(item, who=False)}"


def _move_line(item: "Logged", *, who: bool) -> str:
    move = item.move
    before = short(item.before or move.from_manifest)
    after = short(item.after or move.to_manifest)
    said = f"  {move.message}" if move.message and (who or item.group[0] == "run") else ""
    by = f"  {move.who}" if who else ""
    return f"{moment(move.when)}{by}  {move.asset}[{move.batch}]  {before} -> {after}{said}"


# --- show ------------------------------------------------------------------------------------------------------------


def show_lines(what: str, record: Mapping[str, Any]) -> Iterator[str]:
    """All that people ask of one thing, in lines."""
    yield from {
        "version": _version_lines,
        "asset": _asset_lines,
        "tree": _asset_lines,
        "tag": _tag_lines,
        "branch": _branch_lines,
        "view": _branch_lines,
        "change": _change_lines,
        "move": _move_lines,
    }[what](record)


def _version_lines(record: Mapping[str, Any]) -> Iterator[str]:
    yield f"{record['asset']}[{record['batch']}]"
    state = "published" if record["accepted"] else "refused"
    shown = f", shown by branch {record['branch']}" if record["shown"] else f", not what {record['branch']} shows now"
    yield from _fields(
        {
            "version": record["version"] or "none: no value could be made",
            "manifest": record["manifest"],
            "state": state + shown,
            "made": f"{moment(record['when'])} by {record['who'] or 'unknown'}"
            + (f", run {record['run_id']}" if record["run_id"] else ""),
            "kind": record["kind"]
            + (f", {counted(record['rows'], 'row')}" if record["rows"] is not None else "")
            + (f", {size(record['blob']['size'])}" if record["blob"] else ""),
            "file": record["blob"] and record["blob"]["path"],
            "code": record["code_version"],
            "git": _git(record["git"]),
            "environment": record["environment"],
            "seed": record["seed"],
        }
    )
    yield from _listed("sentences", record["sentences"])
    if record["schema"]:
        yield "columns"
        width = max(len(name) for name, _ in record["schema"])
        for name, type_ in record["schema"]:
            yield f"  {name:<{width}}  {type_:<16}  {short(record['columns'].get(name))}"
    yield from _listed("inputs", _grouped_inputs(record["inputs"]))
    yield from _listed(
        "files",
        [f"{file.get('name')}  {size(file.get('size') or 0)}  sha256 {file.get('sha256')}" for file in record["files"]],
    )
    if record["settings"]:
        settings = record["settings"] if isinstance(record["settings"], dict) else {"": record["settings"]}
        yield from _listed("settings", [f"{name}: {value(item)}" for name, item in sorted(settings.items())])
    yield from _listed("verdicts", [_verdict(item) for item in record["verdicts"]])
    yield from _listed(
        "attachments", [f"{name}  {size(blob['size'])}  {blob['path']}" for name, blob in record["attachments"].items()]
    )
    yield from _listed(
        "recorded also as",
        [
            f"{item['manifest']}  {item['asset']}[{item['batch']}]  {moment(item['when'])}"
            + ("" if item["accepted"] else "  refused")
            for item in record["also"]
        ],
    )


def _grouped_inputs(inputs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each input in a line; many batches of one asset in one."""
    lines = []
    for asset, members in groupby(inputs, key=lambda item: item["asset"]):
        items = list(members)
        if len(items) <= _ITEMS:
            lines += [
                f"{asset}[{item['partition']}]  {short(item['version']) if item['version'] else 'absent'}"
                for item in items
            ]
            continue
        absent = [item["partition"] for item in items if not item["version"]]
        missing = f"; absent: {some(absent)}" if absent else ""
        lines.append(f"{asset}  {len(items)} batches, {items[0]['partition']} to {items[-1]['partition']}{missing}")
    return lines


def _verdict(item: Mapping[str, Any]) -> str:
    mark = "passed" if item.get("passed") else "FAILED" if item.get("severity") == "block" else "warned"
    return f"{mark}  {item.get('check')}: {item.get('sentence')}"


def _asset_lines(record: Mapping[str, Any]) -> Iterator[str]:
    name = f" in {record['name']}" if "name" in record else f" in tree {record['tree']}"
    yield f"{record['asset']}{name}: {_sums(record)}"
    leaves = list(record["leaves"].items())
    for batch, leaf in leaves[-_BATCHES:]:
        rows = f"  {counted(leaf['rows'], 'row')}" if leaf["rows"] is not None else ""
        yield f"  {batch}  {short(leaf['version'])}{rows}  {size(leaf['size'])}"
    if len(leaves) > _BATCHES:
        yield f"  and {len(leaves) - _BATCHES} before these (all of them: --json)"


def _sums(record: Mapping[str, Any]) -> str:
    rows = f", {counted(record['rows'], 'row')}" if record["rows"] is not None else ""
    return f"{counted(record['batches'], 'batch')}{rows}, {size(record['size'])}"


def _tag_lines(record: Mapping[str, Any]) -> Iterator[str]:
    yield f"tag {record['name']} of {record['dataset']}, from branch {record['branch']}"
    yield from _fields(
        {
            "message": record["message"],
            "made": f"{moment(record['when'])} by {record['who']}",
            "git": _git(record["git"]),
            "environment": record["environment"],
        }
    )
    yield from _listed("configuration", [f"{name}: {value(item)}" for name, item in record["configuration"].items()])
    yield "assets"
    width = max((len(asset) for asset in record["assets"]), default=0)
    for asset, summary in record["assets"].items():
        yield f"  {asset:<{width}}  {short(summary['tree'])}  {_sums(summary)}"
    if not record["differing"]:
        yield "Every recorded input is the tagged one."
        return
    yield f"{counted(len(record['differing']), 'recorded input')} not as tagged"
    for item in record["differing"][:_BATCHES]:
        users = [f"{asset}[{batch}]" for asset, batches in item["used_by"].items() for batch in batches]
        yield (
            f"  {item['input']}[{item['partition']}] is tagged as {short(item['tagged'])}; made from "
            f"{short(item['recorded'])}: {some(users, 3)}"
        )
    if len(record["differing"]) > _BATCHES:
        yield f"  and {len(record['differing']) - _BATCHES} more (all of them: --json)"


def _branch_lines(record: Mapping[str, Any]) -> Iterator[str]:
    yield str(record["name"])
    if "branch" in record:
        protected = record["protected"]
        yield from _fields(
            {
                "started from": record["source"],
                "started": record["when"] and f"{moment(record['when'])} by {record['who']}",
                "message": record["message"],
                "protected": protected and ("moves by merges only" + _needs(protected["checks"])),
            }
        )
        yield from _listed("not finished", record["open"])
    width = max((len(asset) for asset in record["assets"]), default=0)
    for asset, counts in record["assets"].items():
        span = counts["first"] if counts["batches"] == 1 else f"{counts['first']} to {counts['last']}"
        yield f"  {asset:<{width}}  {_sums(counts)}  ({span})"
    if not record["assets"]:
        yield "  It shows nothing yet."


def _needs(checks: Sequence[str]) -> str:
    return f", after {', '.join(checks)} passed" if checks else ""


def _change_lines(record: Mapping[str, Any]) -> Iterator[str]:
    state = "given up" if record["abandoned"] else "finished" if record["finished"] else "NOT FINISHED"
    yield f"{record['verb']} {record['change']} on branch {record['branch']}: {state}"
    yield from _fields(
        {
            "from": record["source"],
            "message": record["message"],
            "made": f"{moment(record['when'])} by {record['who']}",
            "checks": ", ".join(record["checks"]),
            "moved": f"{record['moved']} of {counted(len(record['steps']), 'head')}",
        }
    )
    for step in record["steps"][:_BATCHES]:
        yield f"  {step['asset']}[{step['batch']}] -> {short(step['after'])}"
    if len(record["steps"]) > _BATCHES:
        yield f"  and {len(record['steps']) - _BATCHES} more (all of them: --json)"
    yield from _listed("skipped", [item["sentence"] for item in record["skipped"]])


def _move_lines(record: Mapping[str, Any]) -> Iterator[str]:
    yield f"move {record['seq']} of {record['asset']}[{record['batch']}] on branch {record['branch']}"
    yield from _fields(
        {
            "move": record["move"],
            "verb": record["verb"],
            "made": f"{moment(record['when'])} by {record['who']}",
            "message": record["message"],
            "before": record["before"] or record["manifest_before"] or "nothing",
            "after": record["after"] or record["manifest_after"] or "nothing",
            "run": record["run_id"],
            "move before": record["previous"],
        }
    )
    yield from _listed("origin", [f"{name}: {item}" for name, item in record["origin"].items()])


def _git(git: Mapping[str, Any]) -> str:
    if not git:
        return ""
    return f"{git.get('commit')}{', with changes that were not committed' if git.get('dirty') else ''}"


def _fields(fields: Mapping[str, Any]) -> Iterator[str]:
    for name, item in fields.items():
        if item not in {None, ""}:
            yield f"  {name:<12} {item}"


def _listed(title: str, items: Sequence[str]) -> Iterator[str]:
    if items:
        yield title
        for item in items:
            yield f"  {item}"


# --- diff ------------------------------------------------------------------------------------------------------------


def diff_lines(found: "Diff") -> Iterator[str]:
    """What differs, asset by asset."""
    yield f"{found.before} -> {found.after}"
    for asset in found.assets:
        yield from _asset_diff(asset)
    if found.identical:
        yield f"{counted(len(found.identical), 'asset')} without a difference: {some(found.identical)}"
    if found.same and not found.identical:
        yield "Both show nothing."


def _asset_diff(asset: "AssetDiff") -> Iterator[str]:
    counts = {
        "added": len(asset.added),
        "removed": len(asset.removed),
        "changed": len(asset.changed),
        "made again": len(asset.remade),
        "unchanged": asset.unchanged,
    }
    yield f"{asset.asset}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    if len(asset.changed) > 1 and asset.columns:
        yield f"  columns that differ: {some([f'{name} ({count:,})' for name, count in asset.columns.items()])}"
    yield from _cut(_leaf_line("+", batch, leaf) for batch, leaf in asset.added.items())
    yield from _cut(_leaf_line("-", batch, leaf) for batch, leaf in asset.removed.items())
    for number, change in enumerate(asset.changed):
        if number == _BATCHES:
            yield f"  ~ and {len(asset.changed) - _BATCHES:,} more (all of them: --json)"
            break
        yield from _change(change)
    yield from _cut(f"  = {change.batch}  the same, made again{_because(change)}" for change in asset.remade)


def _cut(lines: Iterable[str]) -> Iterator[str]:
    everything = list(lines)
    yield from everything[:_BATCHES]
    if len(everything) > _BATCHES:
        yield f"{everything[0][:4]}and {len(everything) - _BATCHES:,} more (all of them: --json)"


def _leaf_line(mark: str, batch: str, leaf: "Leaf") -> str:
    rows = f"  {counted(leaf.rows, 'row')}" if leaf.rows is not None else ""
    return f"  {mark} {batch}  {short(leaf.version)}{rows}"


def _because(change: "Change") -> str:
    return f": other {', '.join(change.because)}" if change.because else ""


def _change(change: "Change") -> Iterator[str]:
    before, after = change.before, change.after
    rows = ""
    if before.rows is not None and after.rows is not None:
        rows = f"  {before.rows:,} -> {counted(after.rows, 'row')}"
    yield f"  ~ {change.batch}  {short(before.version)} -> {short(after.version)}{rows}{_because(change)}"
    if change.note:
        yield f"      {change.note}"
    columns = [f"+ {name} {type_}" for name, type_ in change.columns_added.items()]
    columns += [f"- {name} {type_}" for name, type_ in change.columns_removed.items()]
    columns += [f"{name} {old} -> {new}" for name, (old, new) in change.columns_retyped.items()]
    if columns:
        yield f"      columns: {some(columns)}"
    if change.columns_changed:
        yield f"      content differs: {some(change.columns_changed)}"
    if change.reordered:
        yield "      columns stand in another order"
    if change.files:
        yield f"      files: {some([_file(item) for item in change.files])}"
    if change.inputs:
        names = [f"{item['asset']}[{item['partition']}] {item['change']}" for item in change.inputs]
        yield f"      inputs: {some(names)}"
    yield from _change_values(change)
    if change.rows is not None:
        yield from (f"      {line}" for line in _row_lines(change.rows))


def _change_values(change: "Change") -> Iterator[str]:
    for of, metrics in groupby(change.metrics, key=lambda item: item.of):
        told = [f"{item.metric} {item.before:g} -> {item.after:g} ({item.by:+.4g})" for item in metrics]
        yield f"      metrics{' of ' if of else ''}{of}: {', '.join(told)}"
    values = [item for item in change.values if item.moved is None]
    for title, items in (("settings", change.settings), ("", values)):
        # what stands at the top says more than the items of long lists
        lines = [_value_line(item) for item in sorted(items, key=lambda item: _depth(item.path))]
        for line in lines[:_BATCHES]:
            yield f"      {title + ' ' if title else ''}{line}"
        if len(lines) > _BATCHES:
            yield f"      and {len(lines) - _BATCHES:,} more values (all of them: --json)"


def _depth(path: str) -> tuple[int, int]:
    return path.count("["), path.count(".")


def _file(item: Mapping[str, Any]) -> str:
    mark = "+" if item["before"] is None else "-" if item["after"] is None else "~"
    return f"{mark} {item['name']}"


def _value_line(item: "ValueChange") -> str:
    place = item.path or "value"
    if item.change != "changed":
        return f"{place} {item.change}: {value(item.before if item.change == 'removed' else item.after)}"
    numbers = (int, float)
    difference = ""
    if type(item.before) in numbers and type(item.after) in numbers:
        difference = f" ({item.after - item.before:+.6g})"
    if isinstance(item.before, list) and isinstance(item.after, list):
        same = sum(old == new for old, new in zip(item.before, item.after, strict=False))
        return f"{place}: {same} of {len(item.before)} -> {len(item.after)} values are the same"
    return f"{place} {value(item.before)} -> {value(item.after)}{difference}"


def _row_lines(rows: "RowDiff") -> Iterator[str]:
    if rows.key:
        yield (
            f"rows by {', '.join(rows.key)}: {rows.added:,} added, {rows.removed:,} removed, {rows.changed:,} changed"
            + ("" if not rows.same else "; only their order differs, or columns that are not on both sides")
        )
    else:
        yield f"rows compared whole ({rows.why}): {rows.added:,} added, {rows.removed:,} removed"
    if rows.cells:
        ordered = sorted(rows.cells.items(), key=lambda item: -item[1])
        yield f"cells: {some([f'{name} {count:,}' for name, count in ordered])}"
    if rows.incomparable:
        yield f"not compared, because of their types: {some(rows.incomparable)}"
    for item in rows.sample.get("changed", ()):
        cells = [f"{name} {value(cell['before'])} -> {value(cell['after'])}" for name, cell in item["cells"].items()]
        yield f"~ {_row(item['key'])}: {some(cells)}"
    for mark, kind in (("-", "removed"), ("+", "added")):
        for item in rows.sample.get(kind, ()):
            yield f"{mark} {value(_row(item))}"


def _row(cells: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value(item)}" for name, item in cells.items())
