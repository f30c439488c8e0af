"""``dbt``: the SQL of a dataset's dbt project looked at by itself.

What belongs here: arguments, what is printed, exit codes. What does not: running dbt (``dbtproject.own_run``). Its data
tests are checks of ``cleaned`` and run with every batch; its unit tests need no data, and run here.
"""

import argparse
from typing import TYPE_CHECKING

from mlops_assets.commands.common import Commands, contracts
from mlops_assets.errors import UserError
from mlops_assets.home import Home

if TYPE_CHECKING:
    from mlops_assets.contract.model import Contract


def add(commands: Commands) -> None:
    """Register the subcommand."""
    parser = commands.add_parser("dbt", help="the SQL that makes cleaned")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    test = verbs.add_parser("test", help="run the unit tests of a dataset's dbt project; no data is needed")
    test.add_argument("dataset", nargs="?", help="a folder under the data folder; all that have one when left out")
    test.set_defaults(command=_test)


def _test(options: argparse.Namespace, home: Home) -> int:
    found = [contract for contract in contracts(home, options.dataset) if contract.sql]
    if not found:
        asked = options.dataset or home.data
        raise UserError(f"{asked} has no dbt project; the dataset's cleaned is made by the joins of its dataset.yaml.")
    return max(_run(contract) for contract in found)


def _run(contract: "Contract") -> int:
    from mlops_assets.dbtproject.own_run import unit_tests

    assert contract.sql is not None
    tests = unit_tests(contract.sql.folder, contract.sources.values())
    for each in tests:
        print(f"{'passed' if each.passed else 'FAILED'}  {contract.name}  {each.model}: {each.name}")
        if not each.passed:
            print("\n".join(f"    {line}" for line in each.difference.splitlines()))
    failed = sum(not each.passed for each in tests)
    print(f"{contract.name}: {len(tests)} unit tests, {failed} failed.")
    return int(failed > 0)
