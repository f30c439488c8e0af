"""Drafts from delivered data: a contract for a folder that has none, a suite of expectations for a dataset.

What belongs here: arguments, what is printed, writing a file that is not there yet. What does not: looking at data
(``profiling``).
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.commands.common import Commands, contracts
from mlops_assets.errors import ContractError, UserError
from mlops_assets.home import Home

if TYPE_CHECKING:
    from mlops_assets.contract.model import Contract


def add(commands: Commands) -> None:
    """Register the subcommand."""
    parser = commands.add_parser(
        "profile", help="draft a contract for a folder of files, or expectations for a dataset, for a person to edit"
    )
    parser.add_argument("what", metavar="DATASET|FOLDER", help="a dataset, or a folder with files and no dataset.yaml")
    parser.add_argument(
        "--source", action="append", default=[], metavar="S", help="only this source of a dataset; may be repeated"
    )
    parser.add_argument("--write", action="store_true", help="write the draft into the folder, unless it has one")
    parser.set_defaults(command=_profile)


def _profile(options: argparse.Namespace, home: Home) -> int:
    folder = home.data / options.what
    if not (folder / "dataset.yaml").is_file():
        folder = Path(options.what) if Path(options.what).is_dir() else folder
    if not folder.is_dir():
        contracts(home, options.what)  # says which datasets there are
    if (folder / "dataset.yaml").is_file():
        return _suite(options, folder)
    return _contract(options, folder.absolute())


def _contract(options: argparse.Namespace, folder: Path) -> int:
    from mlops_assets.profiling.contract import draft

    if options.source:
        raise UserError(f"{folder} has no dataset.yaml, so that it has no sources yet; leave --source out.")
    text = draft(folder)
    problems = _mistakes(folder, text)
    _give(options, folder / "dataset.yaml", text)
    for problem in problems:
        print(problem, file=sys.stderr)
    again = f"mlops-assets profile {options.what}"
    say = "Mend that, then" if problems else "Read it, mend it, and"
    print(f"{say} `{again}` drafts what to expect of the deliveries.", file=sys.stderr)
    return 0


def _mistakes(folder: Path, text: str) -> tuple[str, ...]:
    """What the reader of contracts says of a draft: a folder's or a column's name may be one that it does not take."""
    from mlops_assets.contract.load import load_contract

    with tempfile.TemporaryDirectory() as place:
        tried = Path(place) / folder.name
        tried.mkdir()
        (tried / "dataset.yaml").write_text(text, encoding="utf-8")
        try:
            load_contract(tried)
        except ContractError as error:
            return tuple(sentence.replace(f"{tried}/", f"{folder}/") for sentence in error.sentences)
    return ()


def _suite(options: argparse.Namespace, folder: Path) -> int:
    from mlops_assets.contract.load import load_contract
    from mlops_assets.profiling.suite import draft, written

    contract = load_contract(folder)
    _check_sources(contract, options.source)
    suite = draft(contract, options.source)
    _give(options, folder / "expectations.json", written(suite))
    print(
        f"{len(suite)} expectations, which everything delivered so far meets. Keep those that somebody would act on; "
        'what each stands on is said under "drafted".',
        file=sys.stderr,
    )
    return 0


def _check_sources(contract: "Contract", names: list[str]) -> None:
    from mlops_assets.contract.yamlnodes import suggest

    for name in names:
        if name not in contract.sources:
            raise UserError(f"{contract.file}: there is no source {name!r}{suggest(name, contract.sources)}")


def _give(options: argparse.Namespace, file: Path, text: str) -> None:
    """Print a draft, or write it where there is no file yet."""
    if not options.write:
        print(text, end="")
        return
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        raise UserError(f"{file} is there already and is not written over; leave --write out to see a draft.") from None
    print(f"Written: {file}")
