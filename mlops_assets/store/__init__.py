"""Versions of anything, on a local directory: blobs, manifests, heads and the moves between them.

What belongs here: naming what was made, writing it so that a crash loses nothing, finding it again. What does not:
Dagster, contracts, stages, or any opinion on whether a version is good; the caller says so in the manifest.
Importing this room loads neither pyarrow nor pandas nor scikit-learn, so that finding out that there is nothing to do
stays cheap.
"""

from mlops_assets.store.heads import Head, Move
from mlops_assets.store.manifest import Blob, Input, Kind, Manifest
from mlops_assets.store.store import Store, Stored

__all__ = ["Blob", "Head", "Input", "Kind", "Manifest", "Move", "Store", "Stored"]
