"""The ``mlops-assets`` command: what people and CI type.

What belongs here: the options that every subcommand takes, errors as sentences, the exit code. What does not: the
subcommands (``commands``).
"""

import argparse
import errno
import gc
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

from mlops_assets.assets.code import remember_in
from mlops_assets.commands import (
    branches,
    care,
    deliveries,
    doors,
    lineage,
    online,
    pipeline,
    profile,
    questions,
    remotes,
    snapshots,
    sql,
    status,
)
from mlops_assets.errors import UserError
from mlops_assets.home import Home

_ROOMS = (
    pipeline,
    status,
    deliveries,
    branches,
    snapshots,
    questions,
    lineage,
    remotes,
    care,
    doors,
    sql,
    profile,
    online,
)

_MAY_BE_EMPTY = {"-m", "--message", "--reason"}

_REFUSED = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}
"""What a disk, its rights or its size refuse; anything else is a mistake of ours."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 well, 1 refused or failed, 2 asked wrongly."""
    parser = _parser()
    words = sys.argv[1:] if arguments is None else list(arguments)
    _refuse_empty(parser, words)
    options = parser.parse_args(words)
    command: Callable[[argparse.Namespace, Home], int] = options.command
    try:
        home = Home.from_environment()
        if options.current_branch:
            home = replace(home, branch=options.current_branch)
        home.apply()
        remember_in(home.cache)
        return _sent(command(options, home))
    except UserError as error:
        for sentence in error.sentences:
            print(sentence, file=sys.stderr)
        return 1
    except BrokenPipeError:
        _forget_output()
        return 1
    except OSError as error:
        # what the store writes and reads has sentences of its own; this is about files that people named
        if error.errno not in _REFUSED:
            raise
        where = error.filename or "The output, or a file that was to be written"
        print(f"{where}: {error.strerror}. Mend that, and run it again.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. What was published stands; run again to go on.", file=sys.stderr)
        return 130


def _sent(code: int) -> int:
    """Send what is still held back, and pass the exit code on: later nobody would hear of a full disk."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _forget_output()
        raise OSError(error.errno, error.strerror, "The output") from None
    return code


def _forget_output() -> None:
    """Let nothing be tried again that the output does not take."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refuse_empty(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """An empty word is a variable that was not set; it must not mean "all", or "the usual"."""
    for before, word in pairwise(["", *words]):
        if (not word and before not in _MAY_BE_EMPTY) or (word.startswith("--") and word.endswith("=")):
            after = f" after {before}" if before else ""
            parser.error(f"an argument is empty{after}; write what is meant, or leave it out")


def process() -> None:
    """The command as a process of its own: ends it with ``main``'s exit code."""
    code = main()
    if "duckdb" not in sys.modules:  # which tells of everything that nobody looked through
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
