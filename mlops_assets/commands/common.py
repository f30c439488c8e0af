"""What every subcommand needs: the store, the contracts, and how answers are printed.

What belongs here: helpers that two rooms share. What does not: a command.
"""

import argparse
import gc
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from mlops_assets.errors import UserError
from mlops_assets.home import Home

if TYPE_CHECKING:
    from mlops_assets.contract.model import Contract
    from mlops_assets.store.store import Store

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Command = Callable[[argparse.Namespace, Home], int]


def open_store(home: Home, *, create: bool = False) -> "Store":
    """The home's store; raises ``NotStoredError`` when there is none yet and ``create`` does not allow one."""
    from mlops_assets.store.store import Store

    return Store.open(home.store, create=create)


def contracts(home: Home, name: str | None) -> "list[Contract]":
    """The contract of a dataset, or all of them, as on the home's branch.

    Of all, those that name no sample are left out where the branch holds samples, with a sentence on standard error,
    unless none names one. Raises ``UserError`` for an unknown name or none at all.
    """
    from mlops_assets.assets.sampling import for_branch
    from mlops_assets.contract.load import load_contract, load_contracts

    if name is None:
        found: Mapping[str, Contract] = load_contracts(home.data)
        if not found:
            raise UserError(f"{home.data} holds no dataset: no folder in it has a dataset.yaml.")
        return _with_a_sample([for_branch(contract, home.branch) for contract in found.values()], home.branch)
    folder = home.data / name
    if not (folder / "dataset.yaml").is_file():
        known = ", ".join(sorted(path.parent.name for path in home.data.glob("*/dataset.yaml"))) or "none"
        raise UserError(f"There is no dataset {name!r} in {home.data}; there is: {known}.")
    return [for_branch(load_contract(folder), home.branch)]


def _with_a_sample(made: "list[Contract]", branch: str) -> "list[Contract]":
    from mlops_assets.store.branches import is_sample

    if not is_sample(branch):
        return made
    sampled = [contract for contract in made if contract.sample]
    without = ", ".join(contract.name for contract in made if not contract.sample)
    if sampled and without:
        print(f"Left out on {branch}, for want of `automation: sample:` in the contract: {without}.", file=sys.stderr)
    return sampled or made


def say_json(value: Any) -> None:
    """Print an answer for programs."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def size(count: float) -> str:
    """Bytes for people: ``1.2 MB`` is 1,200,000."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004 - the step of the units
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


@contextmanager
def without_gc() -> Iterator[None]:
    """What is read of 60,000 heads holds no loops, and looking for some takes half as long as reading."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
