"""Versions of anything, on a disk or in an object store: values, records, and the heads that move between them.

What belongs here: naming what was made, writing it so that a crash loses nothing, finding it again, and all that people
want of versions: branches, snapshots, questions, care, copies elsewhere. What does not: Dagster, contracts, stages, or
any opinion on whether a version is good; the caller says so in the manifest.

Importing this room loads neither pyarrow nor pandas nor scikit-learn, so that finding out that there is nothing to do
stays cheap.
"""

from mlops_assets.store.blobs import Stored
from mlops_assets.store.branches import Branch, Protection
from mlops_assets.store.heads import Head, Leaf, Move
from mlops_assets.store.manifest import Blob, Input, Kind, Manifest
from mlops_assets.store.store import Store

__all__ = ["Blob", "Branch", "Head", "Input", "Kind", "Leaf", "Manifest", "Move", "Protection", "Store", "Stored"]
