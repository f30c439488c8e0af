"""The map of the store's modules, in the docstring of the package, is complete, and rows use those above them alone."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import mlops_assets.store

FOLDER = Path(mlops_assets.store.__file__).parent
PACKAGE = "mlops_assets.store"


def rows() -> list[list[str]]:
    """The names of modules in each row; a row whose label is empty goes on with the one before."""
    _, table, _ = re.split(r"^=+ +=+$", mlops_assets.store.__doc__ or "", flags=re.MULTILINE)
    found: list[list[str]] = []
    for line in table.strip("\n").splitlines():
        if line.startswith(" "):
            found[-1] += re.findall(r"``(\w+)``", line)
        else:
            found.append(re.findall(r"``(\w+)``", line))
    return found


def imported(module: str) -> Iterator[str]:
    """The modules of the store that one imports to work, wherever it does; types alone do not count."""
    waiting: list[ast.AST] = [ast.parse((FOLDER / f"{module}.py").read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PACKAGE}."):
            yield str(node.module).removeprefix(f"{PACKAGE}.")
        waiting += ast.iter_child_nodes(node)


def test_every_module_is_named_once() -> None:
    named = [name for row in rows() for name in row]
    assert sorted(named) == sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


def test_a_row_uses_only_what_stands_above_it() -> None:
    place = {name: number for number, row in enumerate(rows()) for name in row}
    wrong = [(name, used) for name in place for used in imported(name) if place[used] > place[name]]
    assert wrong == []
    # the reading above does find imports
    assert {"records", "listing"} <= set(imported("store"))
