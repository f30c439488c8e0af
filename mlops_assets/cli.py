"""The ``mlops-assets`` command: what people and CI type.

What belongs here: the options that every subcommand takes, errors as sentences, the exit code. What does not: the
subcommands (``commands``).
"""

import argparse
import gc
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from mlops_assets.assets.code import remember_in
from mlops_assets.commands import deliveries, pipeline
from mlops_assets.errors import UserError
from mlops_assets.home import Home

_ROOMS = (pipeline, deliveries)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 well, 1 refused or failed, 2 asked wrongly."""
    options = _parser().parse_args(arguments)
    home = Home.from_environment()
    if options.current_branch:
        home = replace(home, branch=options.current_branch)
    home.apply()
    remember_in(home.cache)
    command: Callable[[argparse.Namespace, Home], int] = options.command
    try:
        return command(options, home)
    except UserError as error:
        for sentence in error.sentences:
            print(sentence, file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("Stopped. What was published stands; run again to go on.", file=sys.stderr)
        return 130


def process() -> None:
    """The command as a process of its own: ends it with ``main``'s exit code."""
    code = main()
    # The interpreter would look through everything a build has made before it goes.
    gc.freeze()
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mlops-assets", description="Data, models and code of tabular machine learning, versioned together."
    )
    parser.add_argument(
        "--branch",
        dest="current_branch",  # subcommands have branches of their own to speak of
        metavar="B",
        help="the branch to read and move; else MLOPS_ASSETS_BRANCH, or main",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for room in _ROOMS:
        room.add(commands)
    return parser


if __name__ == "__main__":
    process()
