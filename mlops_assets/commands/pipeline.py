"""Bringing a dataset up to date and looking at it: run, deliver, env, dev.

What belongs here: arguments, what is printed, exit codes. What does not: any decision; every door leads through the
same ``assets``.
"""

import argparse
import os
import shlex
import sys
import time
from typing import TYPE_CHECKING, Any

from mlops_assets.commands.common import Commands, contracts, open_store
from mlops_assets.errors import StoreError, UserError
from mlops_assets.home import Home
from mlops_assets.mounts import warning
from mlops_assets.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mlops_assets.assets.graph import Graph
    from mlops_assets.assets.plan import Plan
    from mlops_assets.assets.publish import Outcome
    from mlops_assets.assets.runs import Summary
    from mlops_assets.checks.verdict import Verdict


def add(commands: Commands) -> None:
    """Register the subcommands."""
    run = commands.add_parser("run", help="bring every batch and the newest release up to date")
    run.add_argument("dataset", nargs="?", help="a folder under the data folder; all of them when left out")
    run.add_argument("--partition", metavar="P", help="only this batch")
    run.add_argument("--from", dest="first", metavar="P", help="only batches from this one on")
    run.add_argument("--to", dest="last", metavar="P", help="only batches up to this one")
    run.add_argument("--select", action="append", default=[], metavar="STAGE", help="only this stage; may be repeated")
    run.add_argument(
        "--release", action="append", default=None, metavar="P", help="this release instead of the newest, or `all`"
    )
    run.add_argument(
        "--entered",
        action="store_true",
        help="only what was taken in before; leave alone what lies in the landing folder",
    )
    run.set_defaults(command=_run)

    deliver = commands.add_parser("deliver", help="play the supplier: put files into the landing folder")
    deliver.add_argument("dataset")
    deliver.add_argument("--through", metavar="P", help="batches up to this one; all when left out")
    deliver.add_argument("--if-empty", action="store_true", help="only when the landing folder holds no file yet")
    deliver.set_defaults(command=_deliver)

    env = commands.add_parser("env", help="print the exports with which a bare `dagster` works on the same home")
    env.set_defaults(command=_env)

    dev = commands.add_parser("dev", help="open the Dagster UI with its daemon on this home")
    dev.add_argument("--port", type=int, default=3000, metavar="N", help="3000 when left out; 0 takes a free one")
    dev.add_argument("--read-only", action="store_true", help="only show: nothing can be started, and no daemon runs")
    dev.set_defaults(command=_dev)


def _run(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.assets.graph import Graph
    from mlops_assets.assets.runs import Runner

    code = 0
    _warn(home)
    for contract in contracts(home, options.dataset):
        started = time.monotonic()
        graph = Graph(contract)
        progress = _Progress()
        runner = Runner(graph, home, progress, entered_only=options.entered)
        asked = _asked(options, runner)
        summary = runner.run(asked)
        progress.end()
        _summarise(home, runner.plan, summary, time.monotonic() - started, asked.releases)
        code = max(code, int(summary.failed))
    return code


def _warn(home: Home) -> None:
    """Say at the start what will go wrong some day."""
    if afar := warning(home.root):
        print(afar, file=sys.stderr)


def _asked(options: argparse.Namespace, runner: Any) -> Any:
    from mlops_assets.assets.runs import Asked

    if options.partition and (options.first or options.last):
        raise UserError("--partition is one batch, --from and --to are a range of them; give one or the other.")
    batches: tuple[str, ...] | None = None
    calendar = runner.plan.calendar
    if options.partition:
        batches = (options.partition,)
    elif options.first or options.last:
        for key in (options.first, options.last):
            if key:
                calendar.check(key)
        if options.first and options.last and calendar.sort({options.first, options.last})[0] != options.first:
            raise UserError(f"No batch is between --from {options.first} and --to {options.last}, which is before it.")
        known = runner.plan.batches
        batches = tuple(
            key
            for key in known
            if (not options.first or calendar.sort({options.first, key})[0] == options.first)
            and (not options.last or calendar.sort({options.last, key})[-1] == options.last)
        )
    releases: tuple[str, ...] | None = None
    for key in options.release or ():
        if key != "all":
            calendar.check(key)
    if options.release:
        releases = tuple(runner.plan.releases) if options.release == ["all"] else tuple(options.release)
    return Asked(batches, frozenset(options.select), releases)


class _Progress:
    """A line that is written over on a terminal; a line for each outcome elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._count = 0

    def __call__(self, graph: "Graph", outcome: "Outcome") -> None:
        self._count += 1
        asset = graph.asset(outcome.stage)
        name = asset if outcome.batch == graph.whole else f"{asset} [{outcome.batch}]"
        rows = (
            f", {counted(outcome.manifest.rows, 'row')}"
            if outcome.manifest and outcome.manifest.rows is not None
            else ""
        )
        line = f"{outcome.status:<8} {name}{rows}"
        if self._live and not outcome.failed:
            print(f"\r\x1b[K{self._count:>5}  {line}", end="", flush=True)
        else:
            print(f"\r\x1b[K{line}" if self._live else line, flush=True)

    def end(self) -> None:
        """Leave the terminal's line clean."""
        if self._live and self._count:
            print("\r\x1b[K", end="")


def _summarise(
    home: Home, plan: "Plan", summary: "Summary", seconds: float, releases: "tuple[str, ...] | None"
) -> None:
    from mlops_assets.store.branches import MAIN

    name = plan.graph.contract.name
    if summary.notes:
        print()
        for note in dict.fromkeys(summary.notes):
            print(f"Note: {note}")
    if summary.failed:
        _show_refusals(home, plan, summary)
    if not summary.outcomes and not summary.failed:
        current = f"{counted(summary.current, 'version')} {'is' if summary.current == 1 else 'are'} current"
        print(f"{name}: nothing to do, {current} ({seconds:.1f} s).")
    else:
        print(
            f"\n{name}: {summary.count('computed')} computed, {summary.count('reused') + summary.current} reused or "
            f"current, {summary.count('audited')} audited again, {summary.refused} refused, "
            f"{summary.count('stopped')} not tried, in {counted(summary.runs, 'Dagster run')} and {seconds:.1f} s."
        )
    for release in sorted(releases or plan.releases, reverse=True):  # keys of all cadences sort as text
        if report := _report(home, plan, release):
            print(f"Report: {report}")
            break
    if summary.outcomes:
        command = "mlops-assets" if home.branch == MAIN else f"mlops-assets --branch {shlex.quote(home.branch)}"
        print(f"Next: {command} status {name} | {command} dev (the graph in the Dagster UI) | {command} run {name}")


def _report(home: Home, plan: "Plan", release: str) -> "Path | None":
    """The report of what a release shows, as the store has it: made here, on another branch or before a rollback."""
    from mlops_assets.assets.publish import lay_files, report_path

    asset = plan.graph.asset("evaluation_report")
    head = plan.store.head(plan.branch, asset, release)
    if head is None:
        return None
    try:
        lay_files(home, plan.store, plan.store.manifest(asset, release, head.manifest))
    except StoreError:
        # what stands in the report is purged or damaged, which others have said
        return None
    return report_path(home, plan.graph.contract.name, release, "report.html")


def _show_refusals(home: Home, plan: "Plan", summary: "Summary") -> None:
    from mlops_assets.assets.publish import evidence, verdicts_of

    print("\nRefused:")
    for outcome in summary.outcomes:
        if outcome.failed:
            for sentence in outcome.sentences:
                print(f"- {sentence}")
            _show_examples(outcome.verdicts)
    for _, _, standing in summary.repeated:
        print(f"- {standing.sentence}" + (" (as before)" if standing.refusal else ""))
        if standing.refusal:
            _show_examples(verdicts_of(standing.refusal, evidence(plan.store, standing.refusal)))
    for crash in summary.crashes:
        print(f"- {crash}")
    for release in _refused_releases(home, plan, summary):
        print(f"Its report: {release}")
    print("Whatever was published before stays readable. Mend what is named above and run again.")


def _refused_releases(home: Home, plan: "Plan", summary: "Summary") -> "list[Path]":
    """Reports of evaluations that were refused: they say why better than a sentence can."""
    from mlops_assets.assets.publish import report_path

    refused = [(outcome.stage, outcome.batch) for outcome in summary.outcomes if outcome.status == "refused"]
    refused += [(stage, batch) for stage, batch, _ in summary.repeated]
    paths = [
        report_path(home, plan.graph.contract.name, batch, "report.html", accepted=False)
        for stage, batch in refused
        if stage == "evaluation_report"
    ]
    return [path for path in paths if path.is_file()]


def _show_examples(verdicts: "Sequence[Verdict]") -> None:
    for verdict in verdicts:
        for example in verdict.examples[:10] if verdict.blocks else ():
            print(f"    {example}")


def _deliver(options: argparse.Namespace, home: Home) -> int:
    import importlib.util

    from mlops_assets.contract.calendar import Calendar

    (contract,) = contracts(home, options.dataset)
    landing = contract.folder / "landing"
    if options.if_empty and landing.is_dir() and any(path.is_file() for path in landing.iterdir()):
        return 0
    if contract.supplier is None:
        raise UserError(
            f"{contract.file}: no `supplier` is named, so there is nothing to play; put files into {landing}."
        )
    if options.through:
        Calendar.of(contract.partitions).check(options.through)
    spec = importlib.util.spec_from_file_location(
        f"mlops_assets_supplier_{contract.name}", contract.folder / contract.supplier
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        paths: list[Path] = module.deliver(landing, options.through)
    except (FileExistsError, ModuleNotFoundError) as trouble:  # what a supplier says when it will not, or cannot
        raise UserError(f"Nothing was delivered. {trouble}") from trouble
    if paths:
        print(f"{contract.name}: {counted(len(paths), 'file')} delivered into {landing}.")
    else:
        print(f"{contract.name}: nothing to deliver, all of it lies in {landing} already.")
    return 0


def _env(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.assets.sampling import start
    from mlops_assets.store.branches import is_sample

    del options
    home.initialise()
    home.initialise_dagster()
    if is_sample(home.branch):
        start(open_store(home, create=True), home.branch)
    for name in home.environment():
        print(f"export {name}={shlex.quote(os.environ[name])}")  # what was set before stays, see ``Home.apply``
    return 0


def _dev(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.ui.services import listening, serve

    _warn(home)
    with listening(options.port) as listener:  # before anything is made
        home.initialise()
        home.initialise_dagster()
        home.initialise_mlflow()
        print(
            f"MLflow UI:  mlflow ui --backend-store-uri {home.mlflow_uri} --host 127.0.0.1 --port 5000 --workers 1",
            flush=True,
        )
        return serve(home, listener, read_only=options.read_only)
