"""``diff --markdown``: what a change does to a release, for people who review it.

What belongs here: which datasets, release and branch are meant. What does not: comparing (``lifecycle.comparison``), or
the words (``report.comparison``).
"""

import argparse
from typing import TYPE_CHECKING

from mlops_assets.commands.common import contracts, open_store, without_gc
from mlops_assets.errors import UserError
from mlops_assets.home import Home

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_assets.assets.plan import Plan
    from mlops_assets.store.refs import View
    from mlops_assets.store.store import Store


def diff_markdown(options: argparse.Namespace, home: Home) -> int:
    """Print the comparison of each dataset's release."""
    from mlops_assets.lifecycle.comparison import compare
    from mlops_assets.report.comparison import markdown
    from mlops_assets.store.behind import compared

    if options.rows or options.out:
        raise UserError("--markdown compares releases, not rows; ask for rows without it.")
    if options.partition and len(options.partition) > 1:
        raise UserError("--markdown compares one release: name one --partition, or none for the newest.")
    with without_gc():
        store = open_store(home)
        before, after = (compared(store, ref, home.branch) for ref in (options.before, options.after))
        release = options.partition[0] if options.partition else None
        for number, dataset in enumerate(_datasets((before, after), options.asset)):
            found = compare(store, before, after, dataset, release, plan=_plan(home, store, after, dataset))
            print("\n" * (number > 0) + markdown(found), end="")
    return 0


def _datasets(views: "Sequence[View]", wanted: "Sequence[str] | None") -> list[str]:
    from mlops_assets.lifecycle.comparison import REPORT

    for asset in wanted or ():
        if asset.partition("/")[2] not in ("", REPORT):
            raise UserError(f"--markdown compares releases: name the dataset {asset.split('/')[0]}, not {asset}.")
    known = sorted({asset.partition("/")[0] for view in views for asset in view.assets()})
    chosen = sorted({asset.partition("/")[0] for asset in wanted}) if wanted else known
    for name in chosen:
        if name not in known:
            raise UserError(
                f"Neither {views[0].name} nor {views[1].name} shows anything of {name!r}; there is: "
                f"{', '.join(known) or 'nothing'}."
            )
    if not chosen:
        raise UserError(f"Neither {views[0].name} nor {views[1].name} shows anything; run one of them first.")
    return chosen


def _plan(home: Home, store: "Store", view: "View", dataset: str) -> "Plan | None":
    """What is out of date or refused on the current branch, by the contract that is at hand."""
    if view.kind != "branch" or view.ref != f"branch:{home.branch}" or not (home.data / dataset).is_dir():
        return None
    from mlops_assets.assets.graph import Graph
    from mlops_assets.assets.plan import Plan

    (contract,) = contracts(home, dataset)
    return Plan(Graph(contract), store, home.branch)
