"""The ledger of deliveries: which files came, in which order, and where their bytes are kept.

What belongs here: an append-only log for each dataset, and what had been delivered as of any entry or moment. What does
not: finding files, what a file's name says, reading what is inside.

An entry is a file that is written once under the next number and names the entry before by its digest, so that nothing
can be slipped in, and two processes that see the same file record it once. The order is that of the numbers, never of
clocks. Bytes are kept before the entry is written: whatever the ledger names can be had again, byte by byte.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from mlops_assets.errors import CorruptError
from mlops_assets.store.digest import bytes_digest, parse_json, sealed_json, unsealed
from mlops_assets.store.formats import FROM_ANOTHER, check_format
from mlops_assets.store.manifest import Blob
from mlops_assets.store.names import segment, text
from mlops_assets.store.store import Store, account, now

FORMAT = 1

Status = Literal["new", "changed", "known", "duplicate"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One entry. ``name`` is the file's, relative to where the dataset's files arrive; ``source`` is a raw asset.

    ``batches`` are those that the file speaks of, when that was known without reading it. ``duplicate_of`` is the
    number of the entry that brought the same bytes for the same source under another name. ``arrived`` is an ISO time
    in UTC, a record and never an order. ``previous`` is the digest of the entry before.
    """

    dataset: str
    seq: int
    source: str
    name: str
    blob: Blob
    batches: tuple[str, ...]
    arrived: str
    who: str
    duplicate_of: int | None
    previous: str | None
    attempt: str

    def encode(self) -> bytes:
        """The entry's file."""
        return sealed_json({"format": FORMAT, **asdict(self)})

    @classmethod
    def decode(cls, data: bytes, where: str) -> "Delivery":
        """The entry of a file; ``where`` names it in errors. Raises ``StoreError`` or ``CorruptError``."""
        try:
            record = dict(parse_json(unsealed(data)))
            check_format(record.pop("format"), FORMAT, where)
            return cls(**{**record, "blob": Blob(**record["blob"]), "batches": tuple(record["batches"])})
        except (ValueError, TypeError, KeyError) as trouble:
            raise CorruptError(f"{where} is not an entry of a ledger as the store writes; {FROM_ANOTHER}.") from trouble


class Recorded(NamedTuple):
    """What came of recording a file.

    ``new``: nothing of this name came before. ``changed``: other bytes came under this name. ``known``: these bytes are
    what this name brought last, nothing was written. ``duplicate``: another name brought these bytes, see
    ``delivery.duplicate_of``.
    """

    delivery: Delivery
    status: Status


class Ledger:
    """One dataset's ledger; entries are read once and then as they come."""

    def __init__(self, store: Store, dataset: str) -> None:
        self._store = store
        self._dataset = dataset
        self._entries: list[Delivery] = []
        self._is_read = False
        self._last: str | None = None
        self._newest: dict[tuple[str, str], Delivery] = {}

    @property
    def entries(self) -> Sequence[Delivery]:
        """All entries in order; raises ``CorruptError`` where the chain is broken."""
        self._ensure_read()
        return self._entries

    def _ensure_read(self) -> None:
        if not self._is_read:
            self.refresh()

    def refresh(self) -> None:
        """Read what others have entered since."""
        backend = self._store.backend
        if not self._is_read:
            names = backend.children(f"deliveries/{segment(self._dataset)}")[1]
            paths = [entry_path(self._dataset, seq) for seq in range(1, int(names[-1][:-5]) + 1)] if names else []
            for path, data in zip(paths, backend.read_many(paths), strict=True):
                if data is None:
                    raise CorruptError(f"The entry {self._store.where(path)} of the ledger is lost; {FROM_ANOTHER}.")
                self._append(data, path)
            self._is_read = True
        while True:
            path = entry_path(self._dataset, len(self._entries) + 1)
            try:
                data = backend.read(path)
            except FileNotFoundError:
                return
            self._append(data, path)

    def holds(self, seq: int, attempt: str) -> bool:
        """Whether the entry of this number is the one that bears this ``attempt``; reads that entry alone."""
        path = entry_path(self._dataset, seq)
        try:
            return Delivery.decode(self._store.backend.read(path), self._store.where(path)).attempt == attempt
        except FileNotFoundError:
            return False

    def newest(self, source: str, name: str) -> Delivery | None:
        """What a name brought last."""
        self._ensure_read()
        return self._newest.get((source, name))

    def bearer(self, source: str, sha256: str) -> Delivery | None:
        """The first entry whose bytes these are, among what the names of a source brought last."""
        self._ensure_read()
        current = (entry for (of, _), entry in self._newest.items() if of == source and entry.duplicate_of is None)
        return min((entry for entry in current if entry.blob.sha256 == sha256), key=_seq, default=None)

    def as_of(self, moment: str | int) -> Mapping[tuple[str, str], Delivery]:
        """What each name (by source and name) had brought by an entry's number or an ISO moment; no duplicates.

        A moment ends at the first entry that arrived later, so that a clock that went backwards reorders nothing.
        """
        found: dict[tuple[str, str], Delivery] = {}
        for entry in self.entries:
            if entry.seq > moment if isinstance(moment, int) else entry.arrived > moment:
                break
            if entry.duplicate_of is None:
                found[entry.source, entry.name] = entry
        return found

    def path(self, entry: Delivery) -> Path:
        """A local file that holds what an entry brought, never to be written to; raises ``CorruptError``."""
        return self._store.file(entry.blob)

    def record(
        self, source: str, name: str, data: bytes | Path, *, place: str, batches: Iterable[str] = (), who: str = ""
    ) -> Recorded:
        """Keep a delivered file and enter it, unless it is what its name brought last.

        ``place`` is the batch under which the bytes are kept. Raises ``PurgedError`` for bytes that were erased,
        ``StoreError`` when the file cannot be kept.
        """
        return self.enter(source, name, self.keep(source, place, data), batches=batches, who=who)

    def keep(self, source: str, place: str, data: bytes | Path) -> Blob:
        """Keep a file's bytes without entering it; raises as ``record``."""
        return self._store.put_bytes(source, place, data)

    def enter(self, source: str, name: str, blob: Blob, *, batches: Iterable[str] = (), who: str = "") -> Recorded:
        """Enter a file whose bytes are kept already; as ``record``."""
        while True:
            before = self.newest(source, name)
            if before and before.blob.sha256 == blob.sha256:
                return Recorded(before, "known")
            bearer = self.bearer(source, blob.sha256)
            entry = Delivery(
                dataset=self._dataset,
                seq=len(self._entries) + 1,
                source=source,
                name=name,
                blob=blob,
                batches=tuple(batches),
                arrived=now(),
                who=who or account(),
                duplicate_of=bearer.seq if bearer else None,
                previous=self._last,
                attempt=os.urandom(12).hex(),
            )
            path, encoded = entry_path(self._dataset, entry.seq), entry.encode()
            if self._store.backend.create(path, encoded):
                self._append(encoded, path)
                return Recorded(entry, "duplicate" if bearer else "changed" if before else "new")
            self.refresh()

    def _append(self, data: bytes, path: str) -> None:
        entry = Delivery.decode(data, self._store.where(path))
        if (entry.seq, entry.previous) != (len(self._entries) + 1, self._last):
            raise CorruptError(
                f"The entry {self._store.where(path)} does not follow the one before it: an entry was changed or "
                f"put in by hand. Copy the ledger from another copy of the store."
            )
        self._entries.append(entry)
        self._last = bytes_digest(data)
        self._newest[entry.source, entry.name] = entry


def datasets(store: Store) -> list[str]:
    """The names of the datasets that have a ledger, sorted."""
    return sorted(text(name) for name in store.backend.children("deliveries")[0])


def entry_path(dataset: str, seq: int) -> str:
    """Where an entry stands."""
    return f"deliveries/{segment(dataset)}/{seq:010d}.json"


def _seq(entry: Delivery) -> int:
    return entry.seq
