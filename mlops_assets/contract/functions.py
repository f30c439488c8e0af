"""The functions of a dataset's own Python files, read without running them.

What belongs here: which functions a file defines, at which lines, with which parameters. What does not: importing or
calling them (``stages``).
"""

import ast
from dataclasses import dataclass
from pathlib import Path

from mlops_assets.contract.yamlnodes import Mistakes


@dataclass(frozen=True, slots=True)
class Function:
    """One function at the top of a file. ``open_ended`` is true when it takes ``*args`` or ``**kwargs``."""

    name: str
    line: int
    parameters: tuple[str, ...]
    open_ended: bool = False


def read_functions(file: Path, mistakes: Mistakes) -> dict[str, Function]:
    """The public functions that ``file`` defines at its top, in order; its syntax error is told as a mistake."""
    try:
        tree = ast.parse(file.read_bytes(), filename=str(file))
    except OSError as error:
        mistakes.add(file, 1, f"The file cannot be read: {error.strerror or error}.")
        return {}
    except SyntaxError as error:
        mistakes.add(file, error.lineno or 1, f"This is not Python: {error.msg}.")
        return {}
    except ValueError as error:  # null bytes
        mistakes.add(file, 1, f"This is not Python: {error}.")
        return {}
    functions: dict[str, Function] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            if node.name in functions:
                mistakes.add(
                    file,
                    node.lineno,
                    f"The function {node.name!r} is defined twice, first on line {functions[node.name].line}.",
                )
            arguments = node.args
            functions[node.name] = Function(
                node.name,
                node.lineno,
                tuple(a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)),
                arguments.vararg is not None or arguments.kwarg is not None,
            )
    return functions
