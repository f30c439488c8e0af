"""What was delivered: the files of a source that belong to a batch, by name, size and sha256.

What belongs here: looking at the landing folder, which batch a file's name speaks of, and entering what came into the
store's ledger. What does not: reading what is inside (``stages.ingest``), or how it is kept (``store.deliveries``).
"""

import hashlib
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from mlops_assets.contract.calendar import Calendar
from mlops_assets.contract.model import Contract, Source
from mlops_assets.errors import DeliveryError, PurgedError, UserError
from mlops_assets.store.deliveries import Delivery, Ledger
from mlops_assets.store.manifest import Blob


@dataclass(frozen=True, slots=True)
class Delivered:
    """One delivered file. ``name`` is relative to the dataset's folder."""

    name: str
    path: Path
    size: int
    sha256: str

    def record(self) -> dict[str, object]:
        """What a manifest keeps of it."""
        return {"name": self.name, "size": self.size, "sha256": self.sha256}


class Landing:
    """The delivered files of one dataset, looked at once.

    With ``entered_only`` a file is what the ledger says that its name brought last, and files that the ledger does not
    know are not there yet: what lies in the folder may still be growing. Otherwise every file is read in full to know
    its sha256, and what the ledger does not have yet counts as well.
    """

    def __init__(self, contract: Contract, calendar: Calendar, ledger: Ledger, *, entered_only: bool = False) -> None:
        self._contract = contract
        self._calendar = calendar
        self._ledger = ledger
        self._entered_only = entered_only
        self._files: dict[Path, Delivered] = {}
        self._batches_in: dict[tuple[str, str], tuple[str, ...]] = {}

    @cached_property
    def strays(self) -> tuple[str, ...]:
        """A sentence for each file whose name matches a source but names no batch of the dataset."""
        return tuple(self._look[1])

    def files(self, source: Source, batch: str) -> tuple[Delivered, ...]:
        """The files that make ``batch`` of ``source``, in the order in which they came; empty when nothing came.

        Files that are not entered yet came last, by name. The same bytes once more, under another name, change nothing.
        """
        arrived = sorted(self._arrived(source, batch), key=lambda file: (self._place(source, file), file.name))
        kept: list[Delivered] = []
        for file in arrived:
            if source.redelivery == "replace" and not (kept and kept[-1].sha256 == file.sha256):
                kept = [file]
            elif all(other.sha256 != file.sha256 for other in kept):
                kept.append(file)
        return tuple(kept)

    def take_in(self, who: str) -> list[str]:
        """Enter every file that the ledger does not have as it is; sentences about those that do not simply add data.

        Files of no batch are not entered: ``strays`` speaks of them. With ``entered_only`` there is nothing to enter.
        """
        if self._entered_only:
            return []
        return [
            sentence
            for source in self._contract.sources.values()
            for batch in self._look[0][source.name]
            for sentence in self._enter(source, batch, who)
        ]

    def keep(self, source: Source, batch: str, who: str) -> Mapping[str, Blob]:
        """Where the bytes of each file of a batch are kept, by the file's name; those not entered yet are entered."""
        if not self._entered_only:
            list(self._enter(source, batch, who))
        kept: dict[str, Blob] = {}
        for file in self._arrived(source, batch):
            entry = self._ledger.newest(self._asset(source), file.name)
            if entry is None or entry.blob.sha256 != file.sha256:
                raise UserError(f"{file.name} changed while it was taken in; run again when its delivery is complete.")
            kept[file.name] = entry.blob
        return kept

    def batches(self, source: Source) -> list[str]:
        """The batches of a batch source that something was delivered for, in order."""
        return self._calendar.sort(self._look[0][source.name])

    def touched(self, source: Source, names: Collection[str]) -> list[str]:
        """The batches of a source that files of these names belong to."""
        return [
            batch
            for batch, paths in self._look[0][source.name].items()
            if any(self._name(path) in names for path in paths)
        ]

    @cached_property
    def _look(self) -> tuple[dict[str, dict[str, list[Path]]], list[str]]:
        found: dict[str, dict[str, list[Path]]] = {}
        strays: list[str] = []
        for source in self._contract.sources.values():
            found[source.name] = {}
            for path, batch in matches(self._contract, source):
                if self._entered_only and self._ledger.newest(self._asset(source), self._name(path)) is None:
                    continue
                for key in self._keys(source, path, batch, strays):
                    found[source.name].setdefault(key, []).append(path)
        return found, strays

    def _keys(self, source: Source, path: Path, batch: str | None, strays: list[str]) -> Iterator[str]:
        name = self._name(path)
        if source.kind == "reference" or self._calendar.cadence == "none":
            yield "all"
        elif batch is None:
            try:
                yield from self._batches_of(source, path)
            except DeliveryError as error:
                if not self._entered_only:
                    raise
                strays += error.sentences  # one file must not keep all others from being made by themselves
        else:
            try:
                self._calendar.check(batch)
            except UserError as error:
                strays.append(f"{name} is not taken in: {error}")
            else:
                yield batch

    def _arrived(self, source: Source, batch: str) -> list[Delivered]:
        return [self._delivered(source, path) for path in self._look[0][source.name].get(batch, [])]

    def _place(self, source: Source, file: Delivered) -> float:
        entry = self._ledger.newest(self._asset(source), file.name)
        return entry.seq if entry and entry.blob.sha256 == file.sha256 else math.inf

    def _enter(self, source: Source, batch: str, who: str) -> Iterator[str]:
        for file in sorted(self._arrived(source, batch), key=lambda file: file.name):
            before = self._ledger.newest(self._asset(source), file.name)
            if before is None or before.blob.sha256 != file.sha256:
                entered = enter(self._contract, source, self._ledger, file.path, batch=batch, who=who)
                if entered.sentence:
                    yield entered.sentence

    def _asset(self, source: Source) -> str:
        return asset_of(self._contract, source)

    def _delivered(self, source: Source, path: Path) -> Delivered:
        if path not in self._files:
            name = self._name(path)
            if self._entered_only:
                entry = self._ledger.newest(self._asset(source), name)
                assert entry is not None
                self._files[path] = Delivered(name, path, entry.blob.size, entry.blob.sha256)
            else:
                with path.open("rb") as file:
                    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                self._files[path] = Delivered(name, path, path.stat().st_size, sha256)
        return self._files[path]

    def _name(self, path: Path) -> str:
        return path.relative_to(self._contract.folder).as_posix()

    def _batches_of(self, source: Source, path: Path) -> tuple[str, ...]:
        """The batches that rows of a file without a batch in its name belong to, by their event time."""
        delivered = self._delivered(source, path)
        known = (source.name, delivered.sha256)
        if known not in self._batches_in:
            from mlops_assets.stages import ingest

            entry = self._ledger.newest(self._asset(source), delivered.name) if self._entered_only else None
            readable = self._ledger.path(entry) if entry else path
            found = ingest.batches_in(self._contract, source, ingest.Delivery(delivered.name, readable))
            self._batches_in[known] = tuple(found)
        return self._batches_in[known]


class Entered(NamedTuple):
    """What came of entering a file: its entry (None: it was not entered), and a sentence unless it simply adds data.

    ``again`` says that the same file is to be looked at again.
    """

    entry: Delivery | None
    sentence: str | None
    again: bool = False


def enter(
    contract: Contract,
    source: Source,
    ledger: Ledger,
    path: Path,
    *,
    batch: str,
    who: str,
    whole: Callable[[], bool] = lambda: True,
) -> Entered:
    """Keep a file's bytes and enter it, unless it is what its name brought last.

    ``batch`` is what its name speaks of. ``whole`` is asked once the bytes are kept: whether they were all there.
    Raises ``StoreError`` for a file that cannot be read or kept.
    """
    asset, name = asset_of(contract, source), path.relative_to(contract.folder).as_posix()
    before = ledger.newest(asset, name)
    # a file that holds many batches is kept once, not once for each
    place, batches = (batch, (batch,)) if "{batch}" in source.files else ("all", ())
    try:
        blob = ledger.keep(asset, place, path)
        if not whole():
            return Entered(None, f"{name} changed while it was read; it is looked at again.", again=True)
        entry, status = ledger.enter(asset, name, blob, batches=batches, who=who)
    except PurgedError as trouble:
        return Entered(None, f"{name} is not taken in. {trouble}")
    if status == "duplicate":
        first = ledger.entries[(entry.duplicate_of or 1) - 1]
        sentence = f"holds the same bytes as {first.name}, which came first (delivery {first.seq}): it adds nothing."
        return Entered(entry, f"{name} {sentence}")
    if status == "changed" and before:
        sentence = f"holds other bytes than before (delivery {before.seq}, now {entry.seq})."
        return Entered(entry, f"{name} {sentence}")
    return Entered(entry, None)


def asset_of(contract: Contract, source: Source) -> str:
    """The raw asset of a source, under which its files stand in the ledger."""
    return f"{contract.name}/raw/{source.name}"


def matches(contract: Contract, source: Source) -> Iterator[tuple[Path, str | None]]:
    """Regular files under the dataset's folder that match a source's pattern, by name, with the batch in it."""
    root, matcher = pattern(contract, source)
    if not root.is_dir():
        return
    for path in sorted(root.iterdir()):
        match = matcher.fullmatch(path.name)
        if match and path.is_file() and not path.is_symlink() and not path.name.startswith("."):
            yield path, match.groupdict().get("batch")


def pattern(contract: Contract, source: Source) -> tuple[Path, re.Pattern[str]]:
    """The folder in which a source's files arrive, and what their names match; the group ``batch``, if any."""
    folder, _, written = source.files.rpartition("/")
    parts = re.split(r"(\{batch\}|\*)", written)
    return contract.folder / folder, re.compile(
        "".join({"{batch}": "(?P<batch>.+)", "*": ".*"}.get(part, re.escape(part)) for part in parts)
    )
