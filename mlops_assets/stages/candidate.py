"""The candidate of a release: its baselines and itself, fitted to the same rows.

What belongs here: what is fitted together and what is told of it. What does not: how a model is fitted (``train``), or
to which rows (``selection``).
"""

import pyarrow as pa

from mlops_assets.contract.model import Contract
from mlops_assets.stages.made import Made
from mlops_assets.stages.train import fit


def fit_candidate(contract: Contract, rows: pa.Table, threads: int) -> Made:
    """The bundle of every baseline and the first candidate (``train.fit``); facts: seed, training, thresholds.

    Raises:
        RefusedError: the rows cannot be fitted to, with a sentence.
    """
    chosen = contract.candidates[0]
    bundle = fit(contract, rows, [*contract.baselines, chosen], threads, chosen.name)
    return Made(bundle, {"seed": bundle["seed"], "training": bundle["training"], "thresholds": bundle["thresholds"]})
