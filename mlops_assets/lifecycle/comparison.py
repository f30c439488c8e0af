"""What a change does to a release: two evaluation reports side by side, and what the second was made of differently.

What belongs here: finding the two reports, what their metrics say of each other, and what differs in the data, code,
settings and environment behind them, from what is recorded. What does not: comparing versions (``store.diff``), how it
is told (``report.comparison``), or whether a release is good enough (``checks``).
"""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlops_assets.assets.code import sources
from mlops_assets.assets.graph import Graph
from mlops_assets.store.behind import behind
from mlops_assets.store.diff import AssetDiff, Change, ValueChange, diff
from mlops_assets.store.manifest import Manifest
from mlops_assets.store.refs import View

if TYPE_CHECKING:
    from mlops_assets.assets.graph import Stage
    from mlops_assets.assets.plan import Plan, Standing
    from mlops_assets.store.store import Store

REPORT = "evaluation_report"

State = Literal["published", "refused", "outdated", "none"]
Verdict = Literal["better", "worse", "noise", "same", "unknown"]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: the report of ``release`` that ``name`` shows, if any.

    ``refused`` is a report that the code and data at hand made and the gates refused; ``outdated`` one that they did
    not make; ``none`` none at all. ``sentences`` say why it is not simply ``published``.
    """

    name: str
    release: str
    state: State
    manifest: Manifest | None = None
    report: Mapping[str, Any] | None = None
    sentences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric of both candidates; ``low`` to ``high`` is the base's recorded 95 % interval, None where there is none.

    ``noise``: inside the base's interval. Without one, any difference is ``better`` or ``worse``.
    """

    metric: str
    before: float | None
    after: float | None
    low: float | None
    high: float | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Changed:
    """The batches of an asset whose data differ, rows before and after, and which columns are others."""

    stage: str
    batches: tuple[str, ...]
    rows: tuple[int, int]
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Code:
    """A stage that was made by other code: the changed files, as git knows them (none where it does not)."""

    stage: str
    files: tuple[str, ...]
    uncommitted: bool


@dataclass(frozen=True)
class Comparison:
    """Two reports of one dataset and what is behind their difference; ``metrics`` in the order of ``METRICS``."""

    dataset: str
    before: Side
    after: Side
    metrics: tuple[Measured, ...] = ()
    data: tuple[Changed, ...] = ()
    code: tuple[Code, ...] = ()
    settings: tuple[ValueChange, ...] = ()
    environment: tuple[str, str] | None = None

    @property
    def primary(self) -> Measured | None:
        """The gates' own metric."""
        report = self.after.report
        return next((item for item in self.metrics if report and item.metric == report["primary"]), None)


def compare(
    store: "Store", before: View, after: View, dataset: str, release: str | None = None, *, plan: "Plan | None" = None
) -> Comparison:
    """The reports of one release, the newest when ``release`` is left out, and all that they were made from.

    ``plan`` is that of ``after``'s branch by the contract at hand, where there is one: it knows of a refusal that no
    head shows. Where ``before`` does not show that release, its newest one is compared.

    Raises:
        CorruptError: a record or report is damaged.
    """
    asset = f"{dataset}/{REPORT}"
    now = _standing(store, after, asset, release, plan)
    leaves = before.leaves(asset)
    key = now.release if now.release in leaves else max(leaves, default="") if release is None else release
    then = _shown(store, before, asset, key)
    if then.manifest is None or now.manifest is None:
        return Comparison(dataset, then, now, tuple(_metrics(then.report, now.report)))
    found = diff(store, behind(store, then.manifest, then.name), behind(store, now.manifest, now.name))
    differing = [item for item in found.assets if item.asset.startswith(f"{dataset}/")]
    old, new = then.manifest.environment, now.manifest.environment
    return Comparison(
        dataset,
        then,
        now,
        tuple(_metrics(then.report, now.report)),
        tuple(_data(dataset, differing)),
        tuple(_code(store, dataset, differing, plan.graph if plan else None)),
        tuple(_settings(differing)),
        (old, new) if old != new else None,
    )


# --- the two sides ---------------------------------------------------------------------------------------------------


def _standing(store: "Store", view: View, asset: str, release: str | None, plan: "Plan | None") -> Side:
    leaves = view.leaves(asset)
    if plan is None:
        return _shown(store, view, asset, max(leaves, default="") if release is None else release)
    release = release or (plan.releases or [max(leaves, default="")])[-1]
    stage, standing = _first_doubt(plan, release)
    if stage.name == REPORT and standing.state == "refused" and standing.refusal and standing.refusal.version:
        refused = standing.refusal
        return Side(view.name, release, "refused", refused, store.get(refused), refused.sentences)
    shown = _shown(store, view, asset, release)
    if standing.state == "current":
        return replace(shown, sentences=tuple(plan.notes(stage, release)))
    state: State = "outdated" if shown.manifest else "none"
    return replace(shown, state=state, sentences=(standing.sentence,))


def _first_doubt(plan: "Plan", release: str) -> "tuple[Stage, Standing]":
    """The first of the release's stages down to the report that is not current, else the report."""
    for stage in plan.graph.of_scope("release"):
        standing = plan.standing(stage, release)
        if standing.state != "current" or stage.name == REPORT:
            break
    return stage, standing


def _shown(store: "Store", view: View, asset: str, release: str) -> Side:
    leaf = view.leaf(asset, release) if release else None
    if leaf is None:
        return Side(view.name, release, "none")
    manifest = store.manifest(asset, release, leaf.manifest)
    return Side(view.name, release, "published", manifest, store.get(manifest))


# --- metrics ---------------------------------------------------------------------------------------------------------


def _metrics(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Iterator[Measured]:
    from mlops_assets.stages.metrics import METRICS

    if after is None:
        return
    old = _of_candidate(before) if before else {}
    for metric, new in _of_candidate(after).items():
        base = old.get(metric, {"value": None, "low": None, "high": None})
        known = METRICS[after["task"]].get(metric)
        verdict = _verdict(base, new["value"], higher=known.higher) if known else "unknown"
        yield Measured(metric, base["value"], new["value"], base["low"], base["high"], verdict)


def _of_candidate(report: Mapping[str, Any]) -> Mapping[str, Mapping[str, float | None]]:
    """The candidate's metrics, in the order in which metrics are shown."""
    from mlops_assets.stages.metrics import METRICS

    found = next(model["metrics"] for model in report["models"] if model["name"] == report["candidate"])
    order = [*METRICS[report["task"]]]
    return {name: found[name] for name in sorted(found, key=lambda name: order.index(name) if name in order else 99)}


def _verdict(base: Mapping[str, float | None], now: float | None, *, higher: bool) -> Verdict:
    before, low, high = base["value"], base["low"], base["high"]
    if before is None or now is None:
        return "unknown"
    if now == before:
        return "same"
    if low is not None and high is not None and low <= now <= high:
        return "noise"
    return "better" if (now > before) == higher else "worse"


# --- what is behind them ---------------------------------------------------------------------------------------------


def _data(dataset: str, assets: Sequence[AssetDiff]) -> Iterator[Changed]:
    for item in assets:
        tables = [change for change in item.changed if change.after.kind == "table"]
        gone = {batch: leaf for batch, leaf in item.removed.items() if leaf.kind == "table"}
        come = {batch: leaf for batch, leaf in item.added.items() if leaf.kind == "table"}
        batches = sorted({*(change.batch for change in tables), *gone, *come})
        if not batches:
            continue
        yield Changed(
            item.asset.removeprefix(f"{dataset}/"),
            tuple(batches),
            (
                sum(leaf.rows or 0 for leaf in (*(change.before for change in tables), *gone.values())),
                sum(leaf.rows or 0 for leaf in (*(change.after for change in tables), *come.values())),
            ),
            added=_union(change.columns_added for change in tables),
            removed=_union(change.columns_removed for change in tables),
            altered=_union([*change.columns_changed, *change.columns_retyped] for change in tables),
            files=_union([str(file["name"]) for file in change.files] for change in tables),
        )


def _union(groups: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for group in groups for name in group))


def _newest(item: AssetDiff, word: str) -> Change | None:
    """The newest batch of an asset in which something of how it was made is recorded differently."""
    found = [change for change in (*item.changed, *item.remade) if word in change.because]
    return max(found, key=lambda change: change.batch, default=None)


def _settings(assets: Sequence[AssetDiff]) -> Iterator[ValueChange]:
    """The settings that differ, each once: several stages depend on the same."""
    told: list[ValueChange] = []
    for item in assets:
        change = _newest(item, "settings")
        for setting in change.settings if change else ():
            if setting not in told:
                told.append(setting)
    yield from told


def _code(store: "Store", dataset: str, assets: Sequence[AssetDiff], graph: Graph | None) -> Iterator[Code]:
    for item in assets:
        change = _newest(item, "code")
        if change is None:
            continue
        batches = change.batch.partition(" -> ")
        before = store.manifest(item.asset, batches[0], change.before.manifest)
        after = store.manifest(item.asset, batches[2] or batches[0], change.after.manifest)
        # the second half of a code version is the digest of the settings, which are told by themselves
        if before.code_version.partition("-")[0] == after.code_version.partition("-")[0]:
            continue
        stage = item.asset.removeprefix(f"{dataset}/")
        if graph is None or stage not in graph.stages:
            yield Code(stage, (), uncommitted=False)
            continue
        known = graph.stages[stage]
        among = frozenset(path.resolve() for path in (*sources(known.modules), *known.files))
        yield Code(
            stage,
            tuple(_changed_files(graph.contract.folder, before.git, after.git, among)),
            uncommitted=bool(before.git.get("dirty") or after.git.get("dirty")),
        )


def _changed_files(
    folder: Path, before: Mapping[str, Any], after: Mapping[str, Any], among: frozenset[Path]
) -> list[str]:
    """Which of some files differ between two commits, relative to the repository; none where git does not know both.

    What was made with changes that were not committed is compared as the files are now, if that commit is checked out.
    """
    old, new = before.get("commit"), after.get("commit")
    if not old or not new:
        return []
    root = _git(folder, "rev-parse", "--show-toplevel")
    here = after.get("dirty") and _git(folder, "rev-parse", "HEAD") == new
    names = _git(folder, "diff", "--name-only", "--no-renames", "-z", old, *([] if here else [new]), "--")
    if root is None or names is None:
        return []
    return [name for name in names.split("\0") if name and (Path(root) / name).resolve() in among]


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.removesuffix("\n") if done.returncode == 0 else None
