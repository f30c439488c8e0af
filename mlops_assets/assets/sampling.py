"""Branches that hold a sample: which they are for a dataset, how its contract reads there, and how they start.

What belongs here: from a branch's name to the contract that is worked by. What does not: which rows are in a sample
(``stages.sample``), where a branch's file stands (``store.branching``).

A branch called ``sample``, or ``sample/`` and anything, holds the same fixed part of every dataset, so that a change
can be tried on all of the way from files to a model in seconds. The sample is part of the settings of the spine's raw
stage there and nowhere else: whole data and a sample have other recipes, so that neither is ever taken for the other.
"""

from dataclasses import replace

from mlops_assets.contract.model import Contract
from mlops_assets.errors import StoreError, UserError
from mlops_assets.store.branches import is_sample
from mlops_assets.store.store import Store


def for_branch(contract: Contract, branch: str) -> Contract:
    """The contract as it is on a branch: with the sample that it names, where the branch holds one."""
    named = contract.automation.sample if is_sample(branch) else None
    if named is None:
        return replace(contract, sample=None)
    spine = contract.sources[contract.spine]
    group = contract.split.group if set(contract.split.group) <= set(spine.columns) else ()
    return replace(contract, sample=replace(named, by=named.by or group or spine.key))


def require_sample(contract: Contract, branch: str) -> None:
    """Refuse to work on a branch that holds samples with a contract that names none, and the other way round.

    Raises:
        UserError: the contract names no sample, with what to write.
    """
    if is_sample(branch) and contract.sample is None:
        raise UserError(
            f"{contract.file}: the branch {branch} holds samples, and {contract.name} says nothing of one. Add it, "
            "such as a twentieth of the rows' groups: automation: {sample: {share: 0.05}}"
        )
    if contract.sample and not is_sample(branch):
        raise ValueError(f"{contract.name} is sampled, and the branch {branch} holds whole data.")


def start(store: Store, branch: str) -> None:
    """Start a branch that holds a sample with nothing in it, unless it is there; no other branch is ever started so."""
    if not is_sample(branch) or branch in store.branches():
        return
    from mlops_assets.store.branching import create_branch

    try:
        create_branch(store, branch, None, message="started by its first run")
    except StoreError:
        # somebody else may have been quicker
        if branch not in store.branches():
            raise
