"""The file in which serving looks up the past, kept in step with the published versions of ``online``.

What belongs here: which versions the file should hold, and bringing it there. What does not: the file itself
(``serving.past``) or what is done with it. Nothing in the store and no stage depends on it: it is a view, and can be
deleted.

What is published decides, and nothing else: under the writers' lock the heads are read and compared with what the file
says of itself, and what differs is replaced batch by batch, in one transaction. So it does not matter who comes when,
whether heads were moved by a run, a merge, a rollback or a purge, or whether the process that moved them died before it
came here: whoever comes next sees the difference.

Kept is what rows of the newest batch and of the one before it look back at (requests come late, too): the batches that
their windows see, and of those no row that happened before the oldest of their rows less the longest window.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mlops_assets.assets.graph import Graph
from mlops_assets.assets.sampling import for_branch
from mlops_assets.contract.calendar import TIME_CADENCES, Calendar
from mlops_assets.contract.load import load_contract
from mlops_assets.contract.model import Contract
from mlops_assets.errors import UserError
from mlops_assets.home import Home
from mlops_assets.serving.past import Held, Kept, Layout, Writer, held_in, layout_of, remove, writing
from mlops_assets.store.files import Locks
from mlops_assets.store.heads import Head
from mlops_assets.store.manifest import Manifest
from mlops_assets.store.names import segment, text
from mlops_assets.store.store import Store

ONLINE = "online"
"""The stage whose versions the file holds."""

_ANSWERABLE = 2
"""The newest batches whose rows are answered from the file."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Brought:
    """What bringing the file in step did to it.

    ``upserted`` rows were written, ``superseded`` ones were of versions that are published no longer, ``forgotten``
    ones are too old to be looked back at. ``laid`` are the batches that were written, ``held`` is what there is now.
    Where ``unlike`` names published batches without the columns that windows need now, nothing was done.
    """

    path: Path
    upserted: int
    superseded: int
    forgotten: int
    laid: tuple[str, ...]
    held: Mapping[str, Held]
    unlike: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(each.rows for each in self.held.values())


class View:
    """The file of one dataset on one branch."""

    def __init__(self, graph: Graph, store: Store, home: Home) -> None:
        self.path = path_of(home, graph.contract.name)
        self._graph = graph
        self._store = store
        self._branch = home.branch
        self._asset = graph.asset(ONLINE)
        self._locks = Locks(home.online / "locks")
        self._calendar = Calendar(graph.contract.partitions.cadence)
        self._layout = layout_of(graph.contract)

    def wanted(self, batches: Iterable[str]) -> list[str]:
        """Of published batches those that the file holds, oldest first."""
        ordered = sorted(batches)  # keys of all cadences sort as text
        if not self._calendar.timed or not ordered:
            return ordered
        low = self._calendar.shift(ordered[-_ANSWERABLE:][0], -self._graph.look_back)
        return [batch for batch in ordered if low is None or batch >= low]

    def held(self) -> dict[str, Held]:
        """What the file holds for the contract's windows, by batch. Little is read, and nothing heavy loaded."""
        return held_in(self.path, self._layout)

    def behind(self, heads: Mapping[str, Head]) -> list[str]:
        """The batches of which the file does not hold what is published; as cheap as ``held``."""
        held = self.held()
        wanted = {batch: heads[batch].version for batch in self.wanted(heads)}
        other = {batch for batch, version in wanted.items() if batch not in held or held[batch].version != version}
        return sorted(other | (held.keys() - wanted.keys()))

    def follow(self, batch: str, delivered: Iterable[str], heads: Mapping[str, Head]) -> dict[str, Any]:
        """Bring the file in step because the head of a batch may have moved; what became of it, for people.

        Of a batch that will be too old once all that was ``delivered`` is made, nothing is written.
        """
        found: dict[str, Any] = {"online_file": str(self.path), "rows_upserted": 0, "rows_superseded": 0}
        if batch not in self.wanted(delivered) and batch not in self.held():
            return found
        brought = self.bring(heads)
        found |= {"rows_upserted": brought.upserted, "rows_superseded": brought.superseded}
        last = newest(brought.held)
        if last and not self._graph.contract.sensitive():
            found["newest_moment"] = last.isoformat()
        return found

    def bring(self, known: Collection[str] | None = None, *, rebuild: bool = False) -> Brought:
        """Bring the file in step with what is published.

        ``known`` are the published batches, so that they need not be listed once more; None lists them. With
        ``rebuild`` nothing of what the file holds is believed. Where a batch that should be there has other columns
        than windows need now, the file stays as it is until that batch is made again: who serves what was released
        before goes on, and nobody is told of half a past.

        Raises:
            UserError: the disk refuses.
            StoreError: a published version cannot be read.
        """
        with self._locks.hold(str(self.path)):
            held = {} if rebuild else self.held()
            # What others published is in the file before they let go of the lock, even if it is not known here.
            batches = set(self._store.heads(self._branch, self._asset) if known is None else {*known, *held})
            heads = self._published(batches)
            manifests = {batch: self._manifest(head) for batch, head in heads.items()}
            unlike = tuple(batch for batch in sorted(heads) if not self._fits(manifests[batch]))
            if unlike:
                return Brought(self.path, 0, 0, 0, (), self.held(), unlike)
            with writing(self.path, self._layout) as writer:
                for batch in writer.held() if rebuild else ():
                    writer.drop(batch)
                return _Bringing(self._graph.contract, self._store, self._layout, writer).run(
                    self.path, manifests, batches
                )

    def _manifest(self, head: Head) -> Manifest:
        return self._store.manifest(head.asset, head.batch, head.manifest)

    def _fits(self, manifest: Manifest) -> bool:
        """Whether a version has the columns that windows need."""
        from mlops_assets.stages.online import schema_of

        return dict(manifest.schema) == {name: str(kind) for name, kind in schema_of(self._graph.contract).items()}

    def _published(self, batches: set[str]) -> dict[str, Head]:
        """The heads that the file should hold, as they are now that the lock is had; unpublished ``batches`` go."""
        while True:
            wanted = self.wanted(batches)
            found = {batch: self._store.head(self._branch, self._asset, batch) for batch in wanted}
            gone = {batch for batch, head in found.items() if head is None}
            if not gone:
                return {batch: head for batch, head in found.items() if head}
            batches -= gone


class _Bringing:
    """One transaction that brings the file in step."""

    def __init__(self, contract: Contract, store: Store, layout: Layout, writer: Writer) -> None:
        self._contract = contract
        self._store = store
        self._layout = layout
        self._writer = writer
        self._laid: dict[str, int] = {}
        self._superseded = 0

    def run(self, path: Path, wanted: Mapping[str, Manifest], known: Collection[str]) -> Brought:
        """Drop, write and forget; ``wanted`` is what the file should hold, ``known`` all batches that are published."""
        forgotten = 0
        for batch in self._writer.held().keys() - wanted.keys():
            gone = self._writer.drop(batch)
            forgotten += gone if batch in known else 0
            self._superseded += 0 if batch in known else gone
        timed = self._contract.partitions.cadence in TIME_CADENCES
        answered = sorted(wanted)[-_ANSWERABLE:] if timed else sorted(wanted)
        for batch in answered:
            self._lay(wanted[batch], None)
        since = self._since(answered) if timed else None
        for batch in sorted(wanted.keys() - set(answered)):
            self._lay(wanted[batch], since)
        held = self._writer.held().values()
        lost = len(known) > len(wanted) or any(
            since is not None and each.oldest is not None and each.oldest < since for each in held
        )
        kept = Kept(answered[0], None if since is None else since + self._longest) if lost and answered else Kept()
        forgotten += self._writer.keep(kept, since)
        upserted, laid = sum(self._laid.values()), tuple(sorted(self._laid))
        return Brought(path, upserted, self._superseded, forgotten, laid, self._writer.held())

    @property
    def _longest(self) -> int:
        return max(reach.longest for reach in self._layout.reaches)

    def _since(self, answered: Collection[str]) -> int | None:
        """From which moment on rows are kept: earlier ones are looked back at by none that is answered."""
        held = self._writer.held()
        oldest = [each.oldest for batch in answered if (each := held.get(batch)) and each.oldest is not None]
        return min(oldest) - self._longest if oldest else None

    def _lay(self, manifest: Manifest, since: int | None) -> None:
        """Write a batch's rows from a moment on, unless the file holds them."""
        batch, version = manifest.batch, str(manifest.version)
        held = self._writer.held().get(batch)
        if held and held.version == version and _reaches_back(held, since):
            return
        from mlops_assets.serving.values import described, to_rows

        table = self._store.get(manifest)
        rows = list(to_rows(self._contract, self._layout, table, since))
        self._superseded += self._writer.put(described(batch, version, since, table), rows)
        self._laid[batch] = len(rows)


def erase(home: Home, store: Store, dataset: str) -> None:
    """Take rows that were erased from the store out of the files of every branch.

    A file that cannot be brought in step, because the contract is gone or wrong, is deleted: it can be made again.
    """
    folder = home.online / segment(dataset)
    for path in sorted(folder.glob("*.sqlite")):
        there = replace(home, branch=text(path.stem))
        try:
            view = View(Graph(for_branch(load_contract(home.data / dataset), there.branch)), store, there)
            if not view.bring().unlike:
                continue
        except UserError:
            pass
        with Locks(home.online / "locks").hold(str(path)):
            remove(path)


def path_of(home: Home, dataset: str) -> Path:
    """Where the file of a dataset lies, on the home's branch."""
    return home.online / segment(dataset) / f"{segment(home.branch)}.sqlite"


def newest(held: Mapping[str, Held]) -> datetime | None:
    """When the last of the rows happened that a file holds, in UTC."""
    last = max((each.newest for each in held.values() if each.newest is not None), default=None)
    return None if last is None else _EPOCH + timedelta(microseconds=last)


def _reaches_back(held: Held, since: int | None) -> bool:
    """Whether what is held of a version has all rows from a moment on."""
    if held.since is None or held.oldest is None or held.since <= held.oldest:
        return True
    return since is not None and held.since <= since
