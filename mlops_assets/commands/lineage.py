"""Where something comes from, what stands on it, and its history: why, impact, history.

What belongs here: arguments and how answers look on a terminal. What does not: finding the answers
(``mlops_assets.store.lineage``), drawing the picture (``mlops_assets.store.picture``).
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.commands.common import Commands, open_store, size, without_gc
from mlops_assets.errors import UserError
from mlops_assets.home import Home
from mlops_assets.wording import counted

if TYPE_CHECKING:
    from mlops_assets.store.lineage import Ancestry, Delivered, Impact, Passed, Past, Stage

_FILES = 40
_LINES = 20
_DIGITS = 16
_PICTURES = {".svg", ".mmd", ".md"}
_NAMED = "ASSET[BATCH] or an asset, b3: and first digits, a tag or branch, a delivered file, sha256:DIGITS, or run:ID"


def add(commands: Commands) -> None:
    """Register the subcommands."""
    why = commands.add_parser("why", help="where something comes from: every file, version, code, settings, run")
    why.add_argument("what", help=_NAMED)
    why.add_argument("--at", metavar="REF", help="as this tag, branch or moment shows it; else the branch")
    why.add_argument("--all", action="store_true", help="every file and version in a line, not the first few")
    why.add_argument("--picture", type=Path, metavar="FILE", help="draw it too: .svg, or .mmd or .md for Mermaid")
    why.add_argument("--json", action="store_true", help="answer for programs: every version with its inputs")
    why.set_defaults(command=_why)

    impact = commands.add_parser("impact", help="everything that stands on something, down to models and tags")
    impact.add_argument("what", help=_NAMED)
    impact.add_argument("--at", metavar="REF", help="as this tag, branch or moment shows it; else the branch")
    impact.add_argument("--all", action="store_true", help="every version in a line, not the first few")
    impact.add_argument("--json", action="store_true", help="answer for programs")
    impact.set_defaults(command=_impact)

    history = commands.add_parser("history", help="every version of an asset or batch, refused ones too, newest first")
    history.add_argument("asset", help="an asset, or ASSET[BATCH]")
    history.add_argument("--limit", type=_count, default=20, metavar="N", help="at most so many (default 20; 0: all)")
    history.add_argument("--json", action="store_true", help="answer for programs")
    history.set_defaults(command=_history)


def _why(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.lineage import why

    target: Path | None = options.picture
    if target is not None and target.suffix not in _PICTURES:
        raise UserError(
            f"{target} ends in none of {', '.join(sorted(_PICTURES))}; name the picture by what it is to be."
        )
    with without_gc():
        found = why(open_store(home), options.what, home.branch, options.at)
        if target is not None:
            _draw(found, target)
        if options.json:
            _say(found.to_dict())
        else:
            _print(_why_lines(found, everything=options.all))
            if target is not None:
                print(f"Drawn to {target}.")
    return 0


def _impact(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.lineage import impact

    with without_gc():
        found = impact(open_store(home), options.what, home.branch, options.at)
        if options.json:
            _say(found.to_dict())
        else:
            _print(_impact_lines(found, everything=options.all))
    return 0


def _history(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.lineage import history
    from mlops_assets.store.targets import ADDRESS

    match = ADDRESS.fullmatch(options.asset)
    if match and match["at"]:
        raise UserError(f"History is that of all branches; leave @{match['at']} away.")
    asset, batch = (match["asset"], match["batch"]) if match else (options.asset, None)
    with without_gc():
        found = history(open_store(home), asset, batch, home.branch, limit=options.limit or None)
        if options.json:
            _say(found.to_dict())
        else:
            _print(_history_lines(found, home.branch))
    return 0


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _draw(found: "Ancestry", target: Path) -> None:
    from mlops_assets.store.picture import mermaid, svg

    text = svg(found) if target.suffix == ".svg" else mermaid(found)
    if target.suffix == ".md":
        text = f"```mermaid\n{text}```\n"
    try:
        target.write_text(text)
    except OSError as trouble:
        raise UserError(f"{target} cannot be written: {trouble.strerror or trouble}.") from trouble


def _say(value: Any) -> None:
    """Print an answer for programs: json.dumps would take a second for a release over 10,000 batches."""
    import orjson

    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode())


def _print(lines: Iterable[str]) -> None:
    print("\n".join(lines))


# --- why -------------------------------------------------------------------------------------------------------------


def _why_lines(found: "Ancestry", *, everything: bool) -> Iterator[str]:
    from mlops_assets.commands.answers import moment, short, some
    from mlops_assets.store.digest import json_digest

    summary = found.summary
    target = found.target
    if target is None:
        yield f"{found.name}: {counted(len(found.targets), 'version')}"
    else:
        yield f"{found.name}  {short(target.version)}{'' if target.accepted else '  REFUSED'}"
    sources = f" of {counted(len(summary['sources']), 'source')}" if summary["files"] else ""
    span = _span(summary["batches"], summary["first"], summary["last"])
    fields: dict[str, Any] = {
        "stands on": f"{counted(summary['files'], 'delivered file')}{sources}, {size(summary['bytes'])}; {span}; "
        f"{counted(summary['versions'] - len(found.targets), 'version')} before it",
        "git": "; ".join(_commit(item, summary["versions"]) for item in summary["commits"]),
        "environment": some(summary["environments"]),
        "made": f"{_period(summary['since'], summary['until'])} by {some(summary['who']) or 'unknown'}",
        "runs": some(summary["runs"], 4),
    }
    if target is not None:
        made = found.circumstances[target.made]
        passed, warned, failed = target.verdicts
        fields |= {
            "seed": made.seed,
            "code": made.code_version,
            "settings": f"{short(json_digest(made.settings))} (all of them: --json)" if made.settings else "",
            "checks": f"{passed} passed, {warned} warned, {failed} failed" if sum(target.verdicts) else "",
            "manifest": target.manifest,
        }
        fields["made"] = f"{moment(target.when)} by {made.who or 'unknown'}" + (
            f"; all of it {fields['made']}" if summary["versions"] > 1 else ""
        )
    yield from (f"  {name:<12} {item}" for name, item in fields.items() if item not in {None, ""})
    yield from _warnings(found, everything=everything)
    yield "stages"
    yield from _stage_lines(found.stages)
    if everything:
        yield "versions"
        yield from (
            f"  {item}  {short(item.version)}  {moment(item.when)}  manifest {item.manifest}" for item in found.versions
        )
    yield from _file_lines(found.files, everything=everything)


def _warnings(found: "Ancestry", *, everything: bool) -> Iterator[str]:
    most = None if everything else _LINES
    told = {
        "last good versions": found.last_good,
        "was purged": found.purged,
        "not one version of a batch": [f"{asset}[{batch}] in {count} versions" for asset, batch, count in found.mixed],
        "never delivered": [f"{item.asset}[{item.batch}]" for item in found.absent],
        "records that are not here (fetch them)": [f"{item.asset}[{item.batch}] {item.version}" for item in found.lost],
        "damaged": found.damaged,
    }
    for title, items in told.items():
        if items:
            yield f"{title} ({len(items):,})"
            yield from (f"  {item}" for item in items[:most])
            if most is not None and len(items) > most:
                yield f"  and {len(items) - most:,} more (all of them: --all)"


def _stage_lines(stages: Sequence["Stage"]) -> Iterator[str]:
    from mlops_assets.commands.answers import some

    rows = [
        (
            stage.asset,
            f"{stage.versions:,}",
            stage.first if stage.batches == 1 else f"{stage.first} to {stage.last}",
            "" if stage.rows is None else f"{stage.rows:,}",
            size(stage.size),
            some([code[:_DIGITS] for code in stage.codes], 2),
            "" if stage.settings == 1 else f"{stage.settings} settings",
        )
        for stage in stages
    ]
    return _aligned([("", "versions", "batches", "rows", "size", "code", ""), *rows], right={1, 3, 4})


def _file_lines(files: Sequence["Delivered"], *, everything: bool) -> Iterator[str]:
    if not files:
        return
    yield f"files ({len(files):,})"
    shown = files if everything else files[:_FILES]
    yield from _aligned([_file(item) for item in shown], right={1})
    if len(files) > len(shown):
        yield f"  and {len(files) - len(shown):,} more (all of them: --all)"


def _file(item: "Delivered") -> tuple[str, ...]:
    from mlops_assets.commands.answers import moment

    entered = f"delivery {item.delivery}, {moment(item.arrived or '')}" if item.delivery else "in no ledger"
    again = f", the same bytes as delivery {item.duplicate_of}" if item.duplicate_of else ""
    return (item.name, size(item.size), f"sha256 {item.sha256}", f"{entered}{again}{', PURGED' if item.purged else ''}")


def _commit(item: Mapping[str, Any], versions: int) -> str:
    name = f"commit {item['commit']}" if item["commit"] else "no commit recorded"
    told = [counted(item["versions"], "version")] if item["versions"] < versions else []
    told += [f"{item['dirty']:,} with changes that were not committed"] if item["dirty"] else []
    return f"{name} ({', '.join(told)})" if told else name


def _span(count: int, first: str | None, last: str | None) -> str:
    return f"{counted(count, 'batch')}, {first} to {last}" if count > 1 else f"batch {first}"


def _period(since: str | None, until: str | None) -> str:
    from mlops_assets.commands.answers import moment

    first, last = moment(since or ""), moment(until or "")
    return first if first == last else f"{first} to {last}"


# --- impact ----------------------------------------------------------------------------------------------------------


def _impact_lines(found: "Impact", *, everything: bool) -> Iterator[str]:
    from mlops_assets.commands.answers import short, some

    yield found.name
    if found.kind == "file":
        yield from _aligned([_file(item) for item in found.files[:_FILES]], right={1})
    read = [found.versions[place] for place in found.targets] if found.kind == "file" else []
    # judged again, a version has another record
    into = dict.fromkeys(f"{each} {short(each.version)}{'' if each.accepted else ', refused'}" for each in read)
    yield from (f"  read into {each}" for each in list(into)[: None if everything else _LINES])
    yield from found.notes
    standing = len(found.standing)
    if not standing:
        yield "Nothing stands on it."
        return
    shown = sum(place in found.shown for place in found.standing)
    holders = [f"{name} ({count:,})" for name, count in found.holders.items()]
    yield f"{counted(standing, 'version')} {'stands' if standing == 1 else 'stand'} on it, {shown:,} of them shown now"
    if holders:
        yield f"  shown by    {some(holders)}"
    for title, kind in (("models", "estimator"), ("reports", "json")):
        places = found.of_kind(kind)
        for number, place in enumerate(places if everything else places[-_LINES:]):
            version = found.versions[place]
            state = ", ".join(found.shown.get(place, ())) or ("shown by nobody now" if version.accepted else "refused")
            yield f"  {title if number == 0 else '':<11} {version}  {short(version.version)}  {state}"
    standing_on = {found.versions[place].asset for place in found.standing}
    yield "stages"
    yield from _stage_lines([stage for stage in found.stages if stage.asset in standing_on])
    if everything:
        yield "versions"
        for place in found.standing:
            version = found.versions[place]
            yield f"  {version}  {short(version.version)}  {', '.join(found.shown.get(place, ()))}".rstrip()


# --- history ---------------------------------------------------------------------------------------------------------


def _history_lines(found: "Past", branch: str) -> Iterator[str]:
    name = found.asset if found.batch is None else f"{found.asset}[{found.batch}]"
    refused = f", {found.refused:,} refused" if found.refused else ""
    yield f"{name}: {counted(found.total, 'version')}{refused}"
    for item in found.versions:
        yield from _past_lines(item, branch)
    if len(found.versions) < found.total:
        yield f"The newest {len(found.versions)}; more with --limit, or --limit 0 for all."


def _past_lines(item: "Passed", branch: str) -> Iterator[str]:
    from mlops_assets.commands.answers import moment, short

    version, made, published = item.version, item.made, item.published
    state = "shown now" if item.current else "refused" if not version.accepted else ""
    if not state:
        state = "shown before" if published else f"not on {branch}"
    rows = f"  {counted(version.rows, 'row')}" if version.rows is not None else ""
    passed, warned, failed = version.verdicts
    counts = [
        f"{number} {word}" for number, word in ((passed, "passed"), (warned, "warned"), (failed, "failed")) if number
    ]
    checks = f"  checks: {', '.join(counts)}" if counts else ""
    purged = "  PURGED" if version.purged else ""
    yield f"{moment(version.when)}  [{version.batch}]  {short(version.version)}  {state}{rows}{checks}{purged}"
    told = [f"by {made.who}" if made.who else "", f"run {made.run_id}" if made.run_id else ""]
    told.append(_commit({"commit": made.commit, "versions": 1, "dirty": 0}, 1) + (", dirty" if made.dirty else ""))
    told += (
        [f"{published['verb']}: {published['message']}" if published["message"] else published["verb"]]
        if published
        else []
    )
    yield f"    {', '.join(text for text in told if text)}"
    for sentence in version.sentences[:3]:
        yield f"    {sentence}"


# --- tables ----------------------------------------------------------------------------------------------------------


def _aligned(rows: Sequence[tuple[str, ...]], right: set[int]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (
            text.rjust(width) if column in right else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        yield f"  {'  '.join(cells)}".rstrip()
