"""The compiled form of a dataset's dbt project: read from a cache, or made by a process of its own when it changed.

What belongs here: what a compiled form depends on, and where it is kept. What does not: making it (``compiling``).
Nothing heavy is imported: this is part of reading a contract.

An entry is named by the digest of everything that it follows from, so it can never be out of date. dbt's own manifest
cannot be the key: its digest is another one each time that it is made.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mlops_assets.contract.model import Contract
from mlops_assets.dbtproject.shape import FOLDER, TYPES, SqlProject
from mlops_assets.errors import ContractError

_SKIPPED = frozenset({"target", "logs", ".git"})
_DOCUMENTS = (".md", ".gitignore", ".user.yml")
_PACKAGES = ("dagster_dbt", "dbt_adapters", "dbt_common", "dbt_core", "dbt_duckdb", "duckdb", "sqlglot")
_KEPT = 20


def sql_project(contract: Contract) -> SqlProject | None:
    """The compiled dbt project of a dataset; None when its folder has none.

    The first time after a change this takes some seconds, afterwards a thousandth of one.

    Raises:
        ContractError: the project has mistakes, each as ``file:line: sentence``.
    """
    folder = contract.folder / FOLDER
    if not (folder / "dbt_project.yml").is_file():
        return None
    if not (folder / "profiles.yml").is_file():
        raise ContractError(
            f"{folder / 'dbt_project.yml'}:1: There is no profiles.yml beside it; it says how dbt reaches a batch's "
            "DuckDB."
        )
    request = request_of(contract)
    files = dict(_files(folder))
    key = _digest([request | {"folder": ""}, files, versions(), _source()])
    found = _read(folder, key)
    if found is None:
        found = _compile(request)
        if "mistakes" in found:
            raise ContractError(*found["mistakes"])
        _keep(folder, key, found)
    project = found["project"]
    if project["own_run"]:
        # What dbt makes of the files when it runs is not known before.
        said = _digest({name: each for name, each in files.items() if not name.endswith(_DOCUMENTS)})
        project |= {"code": {"files": said}, "rules": {"files": said}}
    return SqlProject.from_dict(project, folder, key)


def request_of(contract: Contract) -> dict[str, Any]:
    """What ``compiling`` must know of a contract besides the project itself."""
    sources = contract.sources.items()
    return {
        "folder": str((contract.folder / FOLDER).absolute()),
        "raw": {name: {each: TYPES[column.type] for each, column in s.columns.items()} for name, s in sources},
        "cleaned": {name: TYPES[column.type] for name, column in contract.cleaned_columns().items()},
        "key": list(contract.sources[contract.spine].key),
        "sensitive": sorted(contract.sensitive()),
    }


@cache
def versions() -> dict[str, str]:
    """The installed versions of all that has a part in compiling, read from the names of folders."""
    found: dict[str, str] = {}
    for place in sys.path:
        for path in Path(place or ".").glob("*.dist-info"):
            name, _, version = path.name.removesuffix(".dist-info").rpartition("-")
            if name in _PACKAGES:
                found.setdefault(name, version)
    return found


def _files(folder: Path) -> Iterator[tuple[str, str]]:
    """The project's files by name, each with the digest of its bytes."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if name.parts[0] not in _SKIPPED and path.is_file():
            yield name.as_posix(), hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


@cache
def _source() -> str:
    """The digest of our own part in compiling."""
    return _digest(dict(_files(Path(__file__).parent)))


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).hexdigest()


def _compile(request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of ``compiling``, in a process of its own that reaches no network."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "answer.json"
        done = subprocess.run(
            # Without -P, a file dbt_anything.py where somebody stands would be taken for a plugin of dbt's.
            [sys.executable, "-P", "-m", "mlops_assets.dbtproject.compiling", str(out)],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            check=False,
            cwd=scratch,
            env=environment(),
        )
        if done.returncode:
            raise RuntimeError(f"The dbt project in {request['folder']} could not be compiled:\n{done.stderr}")
        answer: dict[str, Any] = json.loads(out.read_bytes())
        return answer


def environment() -> dict[str, str]:
    """The variables that dbt runs with: those of this process, without what would say otherwise than the project."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DBT_")}
    package = str(Path(__file__).parents[2])
    return kept | {
        "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH", "")])),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DO_NOT_TRACK": "1",
        "NO_COLOR": "1",
    }


def _places(folder: Path) -> Iterator[Path]:
    """Where compiled forms are kept: in dbt's own target folder, or in the home when that cannot be written."""
    yield folder / "target" / "mlops_assets"
    home = Path(os.environ.get("MLOPS_ASSETS_HOME") or ".mlops").absolute()
    yield home / "cache" / "dbt" / folder.absolute().parent.name


def _read(folder: Path, key: str) -> dict[str, Any] | None:
    for place in _places(folder):
        try:
            found: dict[str, Any] = json.loads((place / f"{key}.json").read_bytes())
        except (OSError, ValueError):
            continue
        return found
    return None


def _keep(folder: Path, key: str, answer: Mapping[str, Any]) -> None:
    """Keep an answer, whole or not at all, whoever else does the same; without a place for it only time is lost."""
    for place in _places(folder):
        try:
            place.mkdir(parents=True, exist_ok=True)
            temporary = place / f"{key}.{os.getpid()}"
            temporary.write_text(json.dumps(answer), encoding="utf-8")
            temporary.replace(place / f"{key}.json")
            _forget(place)
        except OSError:
            continue
        return


def _forget(place: Path) -> None:
    """Leave the newest entries."""
    entries = sorted(place.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in entries[_KEPT:]:
        path.unlink(missing_ok=True)
