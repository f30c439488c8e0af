"""The code location: every dataset folder becomes assets and checks.

Nothing is decided here and nothing heavy is imported: contracts are read, and the shells built around them.
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import dagster as dg

from mlops_assets.assets.code import remember_in
from mlops_assets.assets.graph import Graph
from mlops_assets.assets.sampling import for_branch
from mlops_assets.assets.steps import assets_of
from mlops_assets.automation import failures, sweep
from mlops_assets.automation.conditions import cascade
from mlops_assets.automation.releases import releases_sensor
from mlops_assets.automation.schedules import schedules
from mlops_assets.automation.sensors import arrivals_sensor
from mlops_assets.checks.registry import refuse_doubles, registry
from mlops_assets.contract.load import load_contracts
from mlops_assets.contract.model import Contract
from mlops_assets.errors import ContractError
from mlops_assets.home import Home

_PASSING = ".tmp_dagster_home"


def build_definitions(home: Home | None = None, contracts: Mapping[str, Contract] | None = None) -> dg.Definitions:
    """All datasets of a home as Dagster definitions; both arguments are for tests and embedding.

    Raises:
        ContractError: a dataset folder has mistakes, every one as ``file:line`` and a sentence, or says a rule twice.
    """
    home = home or Home.from_environment()
    home.apply()
    remember_in(home.cache)
    found = load_contracts(home.data) if contracts is None else contracts
    if not found:
        raise ContractError(
            f"{home.data} holds no dataset: no folder in it has a dataset.yaml. "
            f"Set MLOPS_ASSETS_DATA to the folder of yours."
        )
    for contract in found.values():
        refuse_doubles(registry(contract))
    found = {name: for_branch(contract, home.branch) for name, contract in found.items()}
    graphs = [Graph(contract) for contract in found.values()]
    jobs, at_set_times = schedules(found, home)
    return dg.Definitions(
        assets=[assets for graph in graphs for assets in assets_of(graph, home)],
        sensors=[
            *_sensors([graph for graph in graphs if graph.contract.automation.enabled], home),
            *failures.sensors(found, home),
        ],
        jobs=jobs,
        schedules=at_set_times,
        executor=dg.in_process_executor,
    )


def _sensors(graphs: list[Graph], home: Home) -> list[dg.SensorDefinition]:
    """What watches over the datasets that are automated; nothing does over a sample, which is made when asked for."""
    graphs = [graph for graph in graphs if not graph.contract.sample]
    if not graphs:
        return []
    contracts = {graph.contract.name: graph.contract for graph in graphs}
    each = [sensor for graph in graphs for sensor in (arrivals_sensor(graph, home), releases_sensor(graph, home))]
    found = [sensor for sensor in each if sensor]
    return [*found, *sweep.sensors(contracts, home), cascade(list(contracts.values()))]


@dg.definitions
def defs() -> dg.Definitions:
    """What ``dagster`` loads."""
    # ``dagster dev`` without a home makes one of this name, and takes it away at the end, with all it was told.
    if Path(os.environ.get("DAGSTER_HOME", _PASSING)).name.startswith(_PASSING):
        logging.getLogger(__name__).warning(
            "DAGSTER_HOME is not set: what Dagster is told is forgotten when it ends, and versions stay. Start it with "
            '`mlops-assets dev`, or type `eval "$(mlops-assets env)"` before.'
        )
    return build_definitions()
