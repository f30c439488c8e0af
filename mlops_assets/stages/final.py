"""The final refit of a release: the candidate's settings on every row, and how far it still is the candidate.

What belongs here: the refit and its comparison. What does not: how a model is fitted (``train``), or any metric of it:
it has seen the test rows, so no honest one exists.
"""

import pyarrow as pa

from mlops_assets.contract.model import Contract
from mlops_assets.stages.evaluate import agreement
from mlops_assets.stages.made import Made
from mlops_assets.stages.train import Bundle, fit


def refit(contract: Contract, candidate: Bundle, rows: pa.Table, test: pa.Table, threads: int) -> Made:
    """The bundle of the candidate's settings on all ``rows``; facts: seed, training, agreement on the ``test`` rows.

    Raises:
        RefusedError: the rows cannot be fitted to, with a sentence.
    """
    chosen = [model for model in contract.candidates if model.name == candidate["candidate"]]
    bundle = fit(contract, rows, chosen, threads, candidate["candidate"])
    alike = agreement(candidate, bundle, test)
    return Made(bundle, {"seed": bundle["seed"], "training": bundle["training"], "agreement": alike})
