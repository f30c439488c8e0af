"""Finding a person in a store: which versions hold rows of theirs, which files tell of them, and what stands on those.

What belongs here: looking, and making the versions that take the place of those that hold rows. What does not: matching
a key (``people``), and taking anything away (``purge``).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_assets.errors import ConflictError, NotStoredError, PurgedError, StoreError
from mlops_assets.store.backend import Written
from mlops_assets.store.blobs import called, place_name
from mlops_assets.store.deliveries import Delivery
from mlops_assets.store.erasure import Derived, Erased, Purge, Replaced
from mlops_assets.store.manifest import Blob, Input, Manifest
from mlops_assets.store.names import asset_path, segment
from mlops_assets.store.people import People
from mlops_assets.store.reach import Reach, contents
from mlops_assets.store.records import read_manifest, record_id
from mlops_assets.store.remotes import remotes
from mlops_assets.store.store import Store, leaf_of
from mlops_assets.wording import counted

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Mask = npt.NDArray[np.bool_]

Progress = Callable[[str, int, int], None]
"""Told what is done, how much of it, and of how much."""

_SHOWN = 20


class Search:
    """Finds the rows: of each manifest of the dataset which rows go, and which files told of the person."""

    def __init__(
        self, store: Store, dataset: str, people: People, aligned: Mapping[str, str], progress: Progress
    ) -> None:
        self.store, self.dataset, self.people, self.aligned, self.progress = store, dataset, people, aligned, progress
        self.manifests: dict[str, Manifest] = {}
        self.masks: dict[str, Mask] = {}
        self.direct: set[str] = set()
        self.doubts: list[str] = []
        self.searched = 0
        self.reach = Reach.of(store)
        self._files: dict[str, Erased] = {}

    def run(self) -> None:
        """Look through everything."""
        self._read()
        keyed = [manifest for manifest in self.manifests.values() if self.people.in_table(manifest)]
        # tables with nothing but text would be searched for a column that is misspelt
        if not any(set(self.people.columns).issubset(dict(manifest.schema)) for manifest in keyed):
            raise NotStoredError(
                f"No asset of {self.dataset} has {' and '.join(self.people.columns)}: nothing was searched. "
                f"Its tables have: {', '.join(self._columns()) or 'no columns'}."
            )
        self._search_tables(keyed)
        self._follow()
        self._look_into_files()
        self._doubt_spellings()

    def _read(self) -> None:
        paths = [entry.path for entry in self.store.backend.entries(f"meta/{segment(self.dataset)}")]
        for path, data in zip(paths, self.store.backend.read_many(paths), strict=True):
            if data is not None:
                id_ = record_id(path.rpartition("/")[2])
                self.manifests[id_] = read_manifest(data, id_, self.store.where(path))
        if not self.manifests:
            known = sorted({record.asset.partition("/")[0] for record in self.reach.records.values()})
            raise NotStoredError(
                f"There is no dataset {self.dataset!r} in {self.store}; there is: {', '.join(known) or 'none'}."
            )

    def _columns(self) -> list[str]:
        return sorted({name for manifest in self.manifests.values() for name, _ in manifest.schema})

    def _search_tables(self, keyed: list[Manifest]) -> None:
        by_file: dict[str, list[Manifest]] = {}
        for manifest in keyed:
            assert manifest.blob is not None
            by_file.setdefault(manifest.blob.path, []).append(manifest)
        for number, found in enumerate(by_file.values(), 1):
            if self._is_there(found[0]):
                self.searched += 1
                mask = self.people.rows_of(found[0], self.store.path(found[0]))
                if mask is not None and mask.any():
                    for manifest in found:
                        self.masks[manifest.id] = mask
                        self.direct.add(manifest.id)
            self.progress("versions searched", number, len(by_file))

    def _is_there(self, manifest: Manifest) -> bool:
        """Whether a version's file is there; one that gc or another purge took holds nobody any more."""
        assert manifest.blob is not None
        if self.store.backend.stat(self.store.inside(manifest.blob)) is None:
            must = self.reach.shown - self.reach.elsewhere if self.reach.copied else self.reach.required
            if manifest.id in must and manifest.id not in self.reach.replaced:
                with suppress(PurgedError):
                    self.store.check(manifest)
            return False
        self.store.check(manifest)
        return True

    def _follow(self) -> None:
        """Tables without the key: the same rows, where their rows are those of a table that has it."""
        # some are aligned with others that are aligned themselves
        for asset in sorted(self.aligned, key=self._distance):
            for manifest in [item for item in self.manifests.values() if item.asset == asset]:
                if not self.people.in_table(manifest) and self._in_place(manifest):
                    for item in manifest.inputs:
                        # a batch that is only looked back at has rows of its own
                        own = item.asset == self.aligned[asset] and item.partition == manifest.batch
                        if own and item.manifest:
                            self._follow_one(manifest, item.manifest)

    def _distance(self, asset: str) -> int:
        """How many assets lie between an aligned one and the first that is not."""
        for distance in range(len(self.aligned) + 1):
            if asset not in self.aligned:
                return distance
            asset = self.aligned[asset]
        raise StoreError(f"{asset} cannot stand in the order of itself; name what each asset's rows are aligned with.")

    def _follow_one(self, manifest: Manifest, source: str) -> None:
        mask = self.masks.get(source)
        if mask is None:
            known = self.manifests.get(source)
            there = known and known.blob and self.store.backend.stat(known.blob.path)
            if not there and source not in self.reach.replaced:
                of = self.aligned[manifest.asset]
                self.doubts.append(
                    f"{called(manifest)} was made from a version of {of} whose file is gone, so that "
                    f"nobody can tell whose rows it holds. If nothing shows it, drop it with: mlops-assets gc "
                    f"--keep-last 0 --keep-moves 0"
                )
        elif manifest.rows == len(mask):
            self.masks[manifest.id] = mask
        else:
            self.doubts.append(
                f"{called(manifest)} has {counted(manifest.rows or 0, 'row')} and what it was made from "
                f"{len(mask)}: which of them are the person's cannot be told. Make it again."
            )

    def _look_into_files(self) -> None:
        """Delivered bytes and attachments: those of versions that lose rows, and others that name the person."""
        for manifest in self.manifests.values():
            loses = manifest.id in self.masks
            if manifest.kind == "table" or manifest.version is None:
                for blob in manifest.attachments.values():
                    self._look_into(blob, "attachment", sure=loses)
            delivered = [
                Blob(item["blob"], item["size"], item["sha256"]) for item in manifest.files if item.get("blob")
            ]
            if loses or manifest.version is None:
                found = [blob for blob in delivered if self._look_into(blob, "delivered")]
                if loses and not found:
                    # packed, or in letters that we cannot read: one of them held the rows
                    for blob in delivered:
                        self._look_into(blob, "delivered", sure=True)
        named = {blob.path for record in self.reach.records.values() if record.leaf for blob in record.raw}
        gone = {item.sha256 for item in self._files.values()}
        for path, data in contents(self.store, f"deliveries/{segment(self.dataset)}"):
            blob = Delivery.decode(data, self.store.where(path)).blob
            if blob.sha256 in gone or blob.path not in named:
                self._look_into(blob, "delivered", sure=blob.sha256 in gone)

    def _look_into(self, blob: Blob, what: str, sure: bool = False) -> bool:
        """Take note of a file that tells of the person (``sure``: it does, whether the key is seen in it or not)."""
        if blob.path in self._files or self.store.backend.stat(self.store.inside(blob)) is None:
            return blob.path in self._files
        path = self.store.backend.local(blob.path, Written(blob.size, blob.sha256))
        named = self.people.in_file(path)
        if named or sure:
            # what does not hold the key may be the same for other people: it goes, and may come back
            content = named or what == "delivered"
            name = f"sha256-{blob.sha256}" if content else place_name(blob.path)
            self._files[blob.path] = Erased(blob.path, blob.size, blob.sha256, what, name, content)
        return named or sure

    def _doubt_spellings(self) -> None:
        """Rows that were found in a table and not in what it was made from: there the key is written in another way."""
        for id_ in self.direct:
            manifest = self.manifests[id_]
            sources = [self.manifests[item.manifest] for item in manifest.inputs if item.manifest in self.manifests]
            keyed = [source for source in sources if self.people.in_table(source) and self._in_place(source)]
            if keyed and not any(source.id in self.masks for source in keyed):
                names = ", ".join(f"{source.asset}[{source.batch}]" for source in keyed)
                self.doubts.append(
                    f"{called(manifest)} holds rows of the person, and what it was made from ({names}) does not by the "
                    f"value given: it is written in another way there. Purge that way of writing it, too."
                )

    def _in_place(self, manifest: Manifest) -> bool:
        return manifest.blob is not None and self.store.backend.stat(manifest.blob.path) is not None

    # --- what follows --------------------------------------------------------------------------------------------

    def replaced(self) -> Iterator[Replaced]:
        """The versions that lose rows, each after what it was made from."""
        for manifest in self._in_order():
            mask = self.masks[manifest.id]
            assert manifest.version is not None
            yield Replaced(
                manifest.asset,
                manifest.batch,
                manifest.id,
                manifest.version,
                int(mask.sum()),
                len(mask),
                manifest.id in self.direct,
            )

    def erased(self) -> Iterator[Erased]:
        """The files that go: all that hold the key, and what goes with it, unless it is somebody else's as well."""
        others = {
            blob.path for id_, record in self.reach.records.items() if id_ not in self.masks for blob in record.files
        }
        for item in self._erased():
            if item.content or item.path not in others:
                yield item

    def _erased(self) -> Iterator[Erased]:
        seen: set[str] = set()
        for id_ in self.masks:
            manifest = self.manifests[id_]
            assert manifest.blob is not None
            assert manifest.version is not None
            blob, direct = manifest.blob, id_ in self.direct
            if blob.path not in seen:
                seen.add(blob.path)
                name = manifest.version if direct else place_name(blob.path)
                yield Erased(blob.path, blob.size, blob.sha256, "value", name, direct)
        yield from self._files.values()

    def derived(self) -> Iterator[Derived]:
        """What was made from versions that lose rows, and does not lose them."""
        searched = {id_ for id_, manifest in self.manifests.items() if self.people.in_table(manifest)}
        found = self.reach.derived(self.masks) - set(self.masks) - searched
        shown = self.reach.shown_by(found)
        for id_ in sorted(found, key=lambda id_: (str(self.reach.records[id_]), id_)):
            record = self.reach.records[id_]
            if record.leaf:
                yield Derived(
                    record.asset, record.batch, id_, record.leaf.version, record.leaf.kind, tuple(shown.get(id_, ()))
                )

    def out_of_reach(self) -> Iterator[str]:
        """Copies that this store cannot erase."""
        names = sorted(
            {
                str(file["name"])
                for id_ in self.masks
                for file in self.manifests[id_].files
                if file.get("blob") in self._files or not file.get("blob")
            }
        )
        if names:
            more = ", ..." if len(names) > _SHOWN else ""
            yield (
                f"Where files arrive, {counted(len(names), 'delivered file')} that held the person may still lie: "
                f"{', '.join(names[:_SHOWN])}{more}. Take the rows out there, or delete the whole."
            )
        yield from self._published()
        for remote in remotes(self.store):
            yield (
                f"The remote {remote} may hold copies: push to it, so that it refuses them, and purge them there: "
                f"mlops-assets purge ... --at {remote.name}"
            )
        yield "Exports, reports laid out for people, backups and clones of this store are not known to it."

    def _published(self) -> Iterator[str]:
        assets = sorted({self.manifests[id_].asset for id_ in self.masks})
        for asset in assets:
            folder = f"data/{asset_path(asset)}"
            if self.store.backend.children(f"{folder}/_delta_log")[1]:
                yield (
                    f"{asset} was published as a Delta table: published versions that name erased files can no longer "
                    f"be read. Publish a new tag, and tell readers."
                )

    def refuse_open_changes(self) -> None:
        """Raise ``ConflictError`` while an unfinished change is about to show what has to go."""
        for change, manifests in self.reach.intents.items():
            if manifests & set(self.masks):
                raise ConflictError(
                    f"The change {change} is not finished and is about to show versions that have to go; finish or "
                    f"give it up first: mlops-assets merge --continue {change}"
                )

    def made_without(self, plan: Purge) -> Iterator[Replaced]:
        """Keep and record the versions that take the place of those that lose rows."""
        new: dict[str, Manifest] = {}
        for number, item in enumerate(plan.replaced, 1):
            manifest = self.manifests[item.manifest]
            made = new[item.manifest] = self._without(plan, manifest, new)
            self.progress("versions made without the rows", number, len(plan.replaced))
            yield replace(item, replacement=leaf_of(made))

    def _without(self, plan: Purge, manifest: Manifest, new: Mapping[str, Manifest]) -> Manifest:
        import pyarrow as pa

        mask = self.masks[manifest.id]
        table = self.store.get(manifest, verify=True).filter(pa.array(~mask))
        stored = self.store.put(manifest.asset, manifest.batch, "table", table)
        facts = dict(manifest.facts)
        if facts.get("rows") == manifest.rows:
            facts["rows"] = stored.rows
        rows = int(mask.sum())
        made = replace(
            manifest,
            version=stored.version,
            blob=stored.blob,
            rows=stored.rows,
            schema=stored.schema,
            columns=stored.columns,
            inputs=tuple(_replaced_input(item, new) for item in manifest.inputs),
            recipe=f"purged-{plan.id}",
            facts={**facts, "purged": {"purge": plan.id, "replaces": manifest.id, "rows": rows}},
            sentences=(f"Purge {plan.id} erased {counted(rows, 'row')}.",),
            attachments={},
            run_id=f"purge-{plan.id}",
            who=plan.who,
            when=plan.when,
        )
        self.store.record(made)
        return made

    def recorded_since(self, plan: Purge) -> Iterator[str]:
        """A sentence when versions were recorded that nobody has searched."""
        known = {*self.manifests, *(item.replacement.manifest for item in plan.replaced if item.replacement)}
        entries = self.store.backend.entries(f"meta/{segment(self.dataset)}")
        late = {record_id(entry.path.rpartition("/")[2]) for entry in entries} - known
        if late:
            yield (
                f"While the purge ran, others recorded {counted(len(late), 'version')}, in which nothing was searched: "
                "run the same purge again."
            )

    def _in_order(self) -> Iterator[Manifest]:
        done: set[str] = set()
        for start in sorted(self.masks, key=lambda id_: (self.manifests[id_].asset, self.manifests[id_].batch, id_)):
            waiting = [start]
            while waiting:
                id_ = waiting[-1]
                inputs = [item.manifest for item in self.manifests[id_].inputs if item.manifest in self.masks]
                ahead = [item for item in inputs if item and item not in done and item not in waiting]
                if ahead:
                    waiting += ahead
                    continue
                waiting.pop()
                if id_ not in done:
                    done.add(id_)
                    yield self.manifests[id_]


def _replaced_input(item: Input, new: Mapping[str, Manifest]) -> Input:
    made = new.get(item.manifest or "")
    return Input(item.asset, item.partition, made.version, made.id) if made else item
