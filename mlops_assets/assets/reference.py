"""The rows that a batch's features are compared with: those of the batch before, of a named one, or of a tag.

What belongs here: finding the versions and reading them. What does not: comparing (``stages.drift``). What is compared
with is no input: it changes no value and makes nothing stale, so that the verdict says which versions it was.
"""

from typing import TYPE_CHECKING, Any

from mlops_assets.assets.graph import Stage
from mlops_assets.assets.plan import Plan
from mlops_assets.contract.thresholds import TAG
from mlops_assets.errors import CorruptError, NotStoredError
from mlops_assets.store.refs import view

if TYPE_CHECKING:
    from mlops_assets.stages.drift import Reference

ROWS = 50_000
"""Of a longer reference so many rows, evenly spaced: shares are known to a fifth of a percentage point all the same."""

Leaves = dict[str, tuple[str, str]]
"""By batch the manifest and the version."""


class References:
    """What the batches of one dataset are compared with; the last one is kept, as the next batch may want it too."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._last: tuple[Leaves, Any] | None = None
        self._tags: dict[str, Leaves] = {}

    def of(self, stage: Stage, batch: str) -> "Reference":
        """What a batch is compared with, as the contract's thresholds name it."""
        from mlops_assets.stages.drift import Reference

        asset = self._plan.graph.asset(stage.name)
        named = self._plan.graph.contract.thresholds.reference
        if named is None:
            before = self._plan.before(stage.name, batch, 1)
            if not before:
                return Reference("", why="There is no batch before to compare with.")
            named = before[0].batch
        elif named == batch:
            return Reference("", why="This batch is the reference that others are compared with.")
        name = f"the tag {named.removeprefix(TAG)}" if named.startswith(TAG) else f"{asset} [{named}]"
        versions: dict[str, str] = {}
        try:
            found = self._tagged(named, asset) if named.startswith(TAG) else self._published(stage, named)
            versions = {f"{asset} [{key}]": version for key, (_, version) in found.items()}
            return Reference(name, self._read(asset, found), versions)
        except (NotStoredError, CorruptError) as error:
            contract = self._plan.graph.contract
            line = contract.thresholds.line
            where = f"{contract.file}:{line}" if line else f"checks in {contract.file}"
            why = f"There is nothing to compare with. {error} Another reference can be named: {where}."
            return Reference(name, versions=versions, why=why, wrong=True)

    def _published(self, stage: Stage, batch: str) -> Leaves:
        head = self._plan.heads(stage.name).get(batch)
        if head is None:
            raise NotStoredError(f"No version of {self._plan.graph.asset(stage.name)} [{batch}] was ever accepted.")
        return {batch: (head.manifest, head.version)}

    def _tagged(self, named: str, asset: str) -> Leaves:
        """What a tag shows of an asset; a tag never changes."""
        if named not in self._tags:
            shown = view(self._plan.store, named).leaves(asset)
            if not shown:
                raise NotStoredError(f"The tag {named.removeprefix(TAG)} shows nothing of {asset}.")
            self._tags[named] = {batch: (leaf.manifest, leaf.version) for batch, leaf in sorted(shown.items())}
        return self._tags[named]

    def _read(self, asset: str, found: Leaves) -> Any:
        """The features of all these versions, one below the other."""
        if self._last is None or self._last[0] != found:
            import pyarrow as pa

            manifests = [self._plan.store.manifest(asset, key, manifest) for key, (manifest, _) in found.items()]
            step = -(-sum(manifest.rows or 0 for manifest in manifests) // ROWS)
            wanted = {feature.name for feature in self._plan.graph.contract.features}
            schemas = [dict(manifest.schema) for manifest in manifests]
            # a feature that one of them lacks, or has as another type, cannot be compared with all of them
            names = [n for n in schemas[0] if n in wanted and len({schema.get(n) for schema in schemas}) == 1]
            tables = [self._plan.store.get(manifest, columns=names) for manifest in manifests]
            table = pa.concat_tables(tables).combine_chunks()
            if step > 1:
                table = table.take(pa.array(range(0, table.num_rows, step)))
            self._last = found, table
        return self._last[1]
