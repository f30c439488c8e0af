"""What is compared when people ask what two runs, models or reports differ in: them with all that they were made from.

What belongs here: the view of a version with its ancestry. What does not: comparing (``diff``), references to what a
branch or tag shows (``refs``).
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from mlops_assets.store.branches import MAIN
from mlops_assets.store.heads import Leaf
from mlops_assets.store.manifest import Manifest
from mlops_assets.store.refs import View, view
from mlops_assets.store.remembered import Remembered
from mlops_assets.store.targets import ADDRESS, Finder

if TYPE_CHECKING:
    from mlops_assets.store.store import Store


def compared(store: "Store", ref: str, branch: str = MAIN) -> View:
    """What ``diff`` compares under a reference: as ``refs.view``, and runs, batches and models with all behind them.

    A run (``run:ID``), a batch of an asset (``ASSET[BATCH]``, also with ``@REF``) and a fitted model named by its
    digest show their whole ancestry, and the reports on a model: what two models differ in is in what they were made
    from, and how much better one is, in its report.
    """
    if not _has_ancestry(ref):
        return view(store, ref, branch)
    if ref.startswith("b3:"):
        shown = view(store, ref, branch)
        if any(leaf.kind != "estimator" for asset in shown.assets() for leaf in shown.leaves(asset).values()):
            return shown
    known = Remembered(store)
    known.look()
    target = Finder(store, known, branch, None).target(ref, one=True)
    known.save()
    circumstances = known.circumstances
    starts = set(target.places)
    models = {place for place in starts if circumstances[known.made(place)].kind == "estimator"}
    if models:
        starts |= {
            place
            for place in known.below(models)
            if circumstances[known.made(place)].kind == "json" and models & set(known.inputs(place))
        }
    return _Behind(store, known, target.name, ref, starts)


def behind(store: "Store", manifest: Manifest, name: str) -> View:
    """One recorded version with all that it was made from; it may be a refused one, which no branch shows."""
    known = Remembered(store)
    known.learn([(manifest.asset, manifest.batch, manifest.id)])
    known.save()
    place = known.place(manifest.id)
    assert place is not None
    return _Behind(store, known, name, manifest.id, {place})


def _has_ancestry(ref: str) -> bool:
    return ref.startswith(("run:", "b3:")) or ADDRESS.fullmatch(ref) is not None


class _Behind(View):
    """Some versions with all that they were made from; of a batch in several versions, the one that was named."""

    def __init__(self, store: "Store", known: Remembered, name: str, ref: str, starts: Collection[int]) -> None:
        super().__init__(store, "version", name, ref)
        self._of: dict[str, dict[str, Leaf]] = {}
        circumstances = known.circumstances
        inside = [place for place in known.above(starts) if known.is_here(place) and known.version(place)]
        # what was named comes last, and so does the newest of others
        for place in sorted(inside, key=lambda place: (place in starts, known.when(place))):
            version = known.version(place)
            assert version is not None
            self._of.setdefault(known.asset(place), {})[known.batch(place)] = Leaf(
                known.id(place),
                version,
                "",
                circumstances[known.made(place)].kind,
                known.size(place),
                "",
                known.rows(place),
            )

    def assets(self) -> list[str]:
        return sorted(self._of)

    def _read(self, asset: str) -> Mapping[str, Leaf]:
        return dict(sorted(self._of.get(asset, {}).items()))
