"""dbt called in this process: its arguments, its environment, and what it says as sentences.

What belongs here: all that calling dbt needs and nobody else should know. What does not: which commands (``compiling``,
``own_run``). Importing dbt takes seconds, so it is imported by the first call.
"""

import os
import re
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlops_assets.dbtproject.cache import environment

_QUIET = ("--log-level", "none", "--no-use-colors", "--no-write-json", "--no-partial-parse")
_FILE = re.compile(r"[\w./-]+\.(?:sql|yml|yaml|md|py|csv)\b")
_LINE = re.compile(r"\bline (\d+)")

_alone = threading.RLock()


def dbt(words: Sequence[str], folder: Path, database: Path, manifest: Any = None) -> Any:
    """Run a command of dbt on the project in ``folder``: its ``dbtRunnerResult``.

    ``database`` is the DuckDB file that its profile is told of. dbt reads that from the environment, which a process
    has but once, so that one command runs at a time. Nothing is written into the project.
    """
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner

    with tempfile.TemporaryDirectory(prefix="dbt") as scratch, _alone, _environment(database):
        places = {"--target-path": scratch, "--log-path": scratch, "--project-dir": folder, "--profiles-dir": folder}
        try:
            return dbtRunner(manifest=manifest).invoke(
                [*_QUIET, *words, *(str(word) for pair in places.items() for word in pair)]
            )
        finally:
            DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]


def failures(done: Any, folder: Path, but: str = "") -> list[str]:
    """Why a command failed, a sentence for each node or one for all; empty when it did not.

    A test that finds something is no failure, and nodes of the type ``but`` are not asked.
    """
    if done.exception is not None:
        return [said(folder, done.exception)]
    results = done.result if hasattr(done.result, "__iter__") else ()
    broken = [each for each in results if str(each.status) == "error" and str(each.node.resource_type) != but]
    return [said(folder, each.message, each.node.original_file_path) for each in broken]


def said(folder: Path, trouble: object, file: str | None = None) -> str:
    """What dbt says in one line, beginning with file and line where it names them."""
    text = plain(trouble)
    named = file or next(iter(_FILE.findall(text)), "dbt_project.yml")
    line = _LINE.search(text)
    return f"{folder / named}:{line[1] if line else 1}: dbt says: {' '.join(text.split())}"


def plain(text: object) -> str:
    """Text without the colours of a terminal."""
    return re.sub(r"\x1b\[[0-9;]*m", "", str(text)).strip()


@contextmanager
def _environment(database: Path) -> Iterator[None]:
    """This process's environment as dbt needs it, and as it was before."""
    before = dict(os.environ)
    _become(environment() | {"DBT_DUCKDB_PATH": str(database)})
    try:
        yield
    finally:
        _become(before)


def _become(wanted: Mapping[str, str]) -> None:
    """Change what differs and nothing else: other threads read the environment meanwhile."""
    for name in set(os.environ) - set(wanted):
        del os.environ[name]
    os.environ.update({name: value for name, value in wanted.items() if os.environ.get(name) != value})
