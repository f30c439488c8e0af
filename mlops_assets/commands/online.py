"""``online``: the file in which serving looks up the past.

What belongs here: arguments, what is printed, exit codes. What does not: what the file should hold (``assets.views``),
or reading it for a request (``serving``).
"""

import argparse
from typing import TYPE_CHECKING, Any

from mlops_assets.commands.common import Commands, contracts, open_store, say_json
from mlops_assets.errors import UserError
from mlops_assets.home import Home

if TYPE_CHECKING:
    from mlops_assets.contract.model import Contract
    from mlops_assets.store.store import Store

_DIGITS = 15


def add(commands: Commands) -> None:
    """Register the subcommand."""
    parser = commands.add_parser(
        "online",
        help="bring what serving looks up in step with what is published, and say what it stands on",
        description="The file is a view of the store: it may be deleted at any time, and is made again.",
    )
    parser.add_argument("dataset", nargs="?", help="a folder under the data folder; all with windows when left out")
    parser.add_argument("--rebuild", action="store_true", help="believe nothing of what the file holds: make it anew")
    parser.add_argument("--check", action="store_true", help="only say whether it is behind; exit code 1 when it is")
    parser.add_argument("--json", action="store_true", help="answer for programs")
    parser.set_defaults(command=_online)


def _online(options: argparse.Namespace, home: Home) -> int:
    if options.check and options.rebuild:
        raise UserError("--check changes nothing, and --rebuild makes all anew: give one of them.")
    store = open_store(home)
    found = [contract for contract in contracts(home, options.dataset) if contract.windows.each]
    if not found:
        asked = options.dataset or home.data
        raise UserError(f"{asked} has no windows: nothing of the past is needed to answer requests.")
    told = [_state(contract, store, home, options) for contract in found]
    if options.json:
        say_json(told)
    else:
        for state in told:
            _say(state, checked=options.check)
    return int(any(state["behind"] for state in told))


def _state(contract: "Contract", store: "Store", home: Home, options: argparse.Namespace) -> dict[str, Any]:
    """What the file of a dataset holds, after it was brought in step unless that was not asked for."""
    from mlops_assets.assets.graph import Graph
    from mlops_assets.assets.views import ONLINE, View, newest

    graph = Graph(contract)
    view = View(graph, store, home)
    heads = store.heads(home.branch, graph.asset(ONLINE))
    behind = view.behind(heads)
    brought = None if options.check else view.bring(rebuild=options.rebuild)
    held = view.held()
    last = newest(held)
    return {
        "dataset": contract.name,
        "branch": home.branch,
        "file": str(view.path),
        "rows": sum(each.rows for each in held.values()),
        "newest": last.isoformat() if last else None,
        "batches": {each.batch: {"version": each.version, "rows": each.rows} for each in held.values()},
        "was_behind": behind,
        "behind": view.behind(store.heads(home.branch, graph.asset(ONLINE))) if brought else behind,
        "laid": list(brought.laid) if brought else [],
        "upserted": brought.upserted if brought else 0,
        "superseded": brought.superseded if brought else 0,
        "forgotten": brought.forgotten if brought else 0,
    }


def _say(state: dict[str, Any], *, checked: bool) -> None:
    last = f", the newest of {state['newest'][:19].replace('T', ' ')}" if state["newest"] else ""
    print(f"{state['dataset']}: {state['rows']:,} rows of {len(state['batches'])} batches{last}, in {state['file']}.")
    for batch, held in state["batches"].items():
        print(f"  {batch:<12} {held['version'][:_DIGITS]}  {held['rows']:,} rows")
    listed = ", ".join(state["behind"])
    if not state["behind"]:
        changes = (("upserted", "written"), ("superseded", "replaced"), ("forgotten", "too old to be looked back at"))
        done = ", ".join(f"{state[name]:,} {word}" for name, word in changes if state[name])
        print(f"  In step with what is published on {state['branch']}{f': {done}' if done else ''}.")
    elif checked:
        print(f"  Behind what is published on {state['branch']}: {listed}. Bring it in step: mlops-assets online")
    else:
        print(
            f"  Still behind: {listed}, made when windows needed other columns. Bring them up to date: "
            f"mlops-assets run {state['dataset']}"
        )
