"""Code versions: a digest of the source that a piece of work really depends on.

The closure of imports inside the work's own rooms is followed by reading the source, and each module counts by its
syntax tree without docstrings: reformatting or commenting makes nothing stale. Beside it stands where the code was: the
commit, and the libraries of others, whose versions are the environment's digest. What does not belong here: settings
and data.
"""

import contextlib
import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import ast

_ROOT = Path(__file__).resolve().parent.parent
_PACKAGE = _ROOT.name
_SHAPES_ONLY = frozenset({f"{_PACKAGE}.contract.model", f"{_PACKAGE}.errors", f"{_PACKAGE}.checks.verdict"})
"""Modules that only declare shapes: their values reach a version through the settings."""


def remember_in(folder: Path) -> None:
    """Keep what is learned of source files in ``folder``: reading their syntax takes longer than all else at load.

    An entry is named by the digest of the file's bytes and by Python's version, so it can never be out of date.
    """
    _Memory.file = folder / f"code-{sys.version_info.major}.{sys.version_info.minor}.json"
    _Memory.known = {}
    try:
        _Memory.known = json.loads(_Memory.file.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return


def code_version(modules: Sequence[str], files: Sequence[Path] = ()) -> str:
    """The digest of ``modules``, of what they import inside the project, and of a dataset's own ``files``."""
    hasher = hashlib.blake2b(digest_size=16)
    for name, tree in sorted(_closure(tuple(modules)).items()):
        hasher.update(f"{name}={tree}\n".encode())
    for path in sorted(files):
        hasher.update(f"{path.name}={_source(path)[0]}\n".encode())  # never remembered: it changes under a process
    return hasher.hexdigest()


def sources(modules: Sequence[str]) -> list[Path]:
    """The files that the digest of ``modules`` is made of."""
    return [path for name in _closure(tuple(modules)) if (path := _path(name)) is not None]


@cache
def environment() -> dict[str, str]:
    """Python, the platform and every installed distribution by version: what a result may depend on besides."""
    found: dict[str, str] = {}
    for folder in sys.path:
        # The name of the folder says it: reading every distribution's metadata would cost a second.
        for path in Path(folder or ".").glob("*.dist-info"):
            name, _, version = path.name.removesuffix(".dist-info").rpartition("-")
            found.setdefault(name.lower().replace("_", "-"), version)
    return {"python": platform.python_version(), "machine": platform.machine(), "system": sys.platform} | found


@cache
def environment_digest() -> str:
    """The digest of ``environment``."""
    return hashlib.blake2b(json.dumps(environment(), sort_keys=True).encode(), digest_size=16).hexdigest()


@cache
def git_state(folder: Path) -> dict[str, Any]:
    """The commit that the dataset's folder is at, and whether tracked files differ from it; empty outside git."""
    import subprocess

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=20, check=False
            )
        except FileNotFoundError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return {}
    return {"commit": commit, "dirty": bool(git("status", "--porcelain", "--untracked-files=no"))}


@cache
def _closure(modules: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = _path(name)
        if name in found or name in _SHAPES_ONLY or path is None:
            continue
        found[name], imports = _module(path)
        waiting.extend(imports)
    return found


def _path(module: str) -> Path | None:
    """The source file of a module of ours; ``None`` for names that are not modules."""
    base = _ROOT.joinpath(*module.split(".")[1:])
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


class _Memory:
    """What is known of source files, by the digest of their bytes: digest of the syntax tree, and imports."""

    file: Path | None = None
    known: ClassVar[dict[str, list[Any]]] = {}

    @classmethod
    def keep(cls, name: str, digest: str, imports: tuple[str, ...]) -> None:
        """Add an entry; a cache that cannot be written is none, and costs only time."""
        cls.known[name] = [digest, list(imports)]
        if cls.file is None:
            return
        temporary = cls.file.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError):
            cls.file.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(cls.known))
            temporary.replace(cls.file)


@cache
def _module(path: Path) -> tuple[str, tuple[str, ...]]:
    """As ``_source``, of a module of ours: this process runs what it has loaded."""
    return _source(path)


def _source(path: Path) -> tuple[str, tuple[str, ...]]:
    """The digest of a file's syntax tree without docstrings, and the project's modules that it imports."""
    source = path.read_bytes()
    name = hashlib.blake2b(source, digest_size=16).hexdigest()
    if name not in _Memory.known:
        _Memory.keep(name, *_read(source, path))
    digest, imports = _Memory.known[name]
    return digest, tuple(imports)


def _read(source: bytes, path: Path) -> tuple[str, tuple[str, ...]]:
    import ast

    tree = ast.parse(source, filename=str(path))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
            if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
                node.body = body[1:] or [ast.Pass()]
    return hashlib.blake2b(ast.dump(tree).encode(), digest_size=16).hexdigest(), tuple(_imports(tree))


def _imports(tree: "ast.Module") -> Iterator[str]:
    import ast

    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == _PACKAGE)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == _PACKAGE:
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
