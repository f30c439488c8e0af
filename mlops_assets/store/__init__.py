"""Versions of anything, on a disk or in an object store: values, records, and the heads that move between them.

What belongs here: naming what was made, writing it so that a crash loses nothing, finding it again, and all that people
want of versions: branches, snapshots, questions, care, copies elsewhere. What does not: Dagster, contracts, stages, or
any opinion on whether a version is good; the caller says so in the manifest.

The modules, a row using those above it and no row below:

==================  ==================================================================================================
where files stand   ``names``, ``backend``, ``sink``, ``files``, ``local``, ``objects``
what is kept        ``bulk``, ``digest``, ``formats``, ``manifest``, ``heads``, ``columns``, ``trees``, ``branches``,
                    ``tags``, ``values``
keeping it          ``records``, ``blobs``, ``cache``, ``listing``, ``notes``, ``store``, ``deliveries``
seeing a state      ``freezing``, ``inputs``, ``refs``, ``rowdiff``, ``reading``
moving heads        ``reviving``, ``changes``, ``branching``, ``ancestry``, ``merging``, ``restoring``, ``reverting``
snapshots           ``lock``, ``export``, ``snapshots``
questions           ``history``, ``diff``, ``remembered``, ``targets``, ``behind``, ``lineage``, ``picture``
who stands on what  ``remotes``, ``reach``, ``erasure``
copies elsewhere    ``copying``, ``alongside``, ``forwarding``, ``transfer``
open doors          ``delta``, ``dvc``, ``publishing``
care                ``verify``, ``garbage``, ``people``, ``search``, ``purge``, ``repair``
==================  ==================================================================================================

Importing this room loads neither pyarrow nor pandas nor scikit-learn, so that finding out that there is nothing to do
stays cheap.
"""

from mlops_assets.store.blobs import Stored
from mlops_assets.store.branches import Branch, Protection
from mlops_assets.store.heads import Head, Leaf, Move
from mlops_assets.store.manifest import Blob, Input, Kind, Manifest
from mlops_assets.store.store import Store

__all__ = ["Blob", "Branch", "Head", "Input", "Kind", "Leaf", "Manifest", "Move", "Protection", "Store", "Stored"]
