"""Data, models and code of tabular machine learning, versioned together as one Dagster graph.

This file belongs to nobody: it holds the version number and imports nothing, so that every room stays as light as it
is alone.
"""

__version__ = "0.1.0"
