"""The code location: every dataset folder becomes assets and checks.

Nothing is decided here and nothing heavy is imported: contracts are read, and the shells built around them.
"""

from collections.abc import Mapping

import dagster as dg

from mlops_assets.assets.code import remember_in
from mlops_assets.assets.graph import Graph
from mlops_assets.assets.steps import assets_of
from mlops_assets.contract.load import load_contracts
from mlops_assets.contract.model import Contract
from mlops_assets.errors import ContractError
from mlops_assets.home import Home


def build_definitions(home: Home | None = None, contracts: Mapping[str, Contract] | None = None) -> dg.Definitions:
    """All datasets of a home as Dagster definitions; both arguments are for tests and embedding.

    Raises:
        ContractError: a dataset folder has mistakes, every one as ``file:line`` and a sentence.
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
    return dg.Definitions(
        assets=[assets for contract in found.values() for assets in assets_of(Graph(contract), home)],
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What ``dagster`` loads."""
    return build_definitions()
