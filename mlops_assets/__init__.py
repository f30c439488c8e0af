"""Data, models and code of tabular machine learning, versioned together as one Dagster graph.

This file belongs to nobody: it holds the version number and imports nothing, so that every room stays as light as it
is alone. Reading any version takes one line, ``mlops_assets.read("flights/cleaned", at="v1.0")``; the functions for
that (see ``mlops_assets.store.reading``) are found when they are asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlops_assets.store.reading import frame, paths, read, sql

__version__ = "0.1.0"
__all__ = ["__version__", "frame", "paths", "read", "sql"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mlops_assets.store import reading

    return getattr(reading, name)
