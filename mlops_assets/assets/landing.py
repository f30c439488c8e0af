"""What was delivered: the files of a source that belong to a batch, by name, size and sha256.

What belongs here: looking at the landing folder, which batch a file's name speaks of, and entering what came into the
store's ledger. What does not: reading what is inside (``stages.ingest``), or how it is kept (``store.deliveries``).
"""

import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mlops_assets.contract.calendar import Calendar
from mlops_assets.contract.model import Contract, Source
from mlops_assets.errors import PurgedError, UserError
from mlops_assets.store.deliveries import Ledger
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
    """The delivered files of one dataset, looked at once: every file is read in full to know its sha256."""

    def __init__(self, contract: Contract, calendar: Calendar, ledger: Ledger) -> None:
        self._contract = contract
        self._calendar = calendar
        self._ledger = ledger
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

        Files of no batch are not entered: ``strays`` speaks of them.
        """
        return [
            sentence
            for source in self._contract.sources.values()
            for batch in self._look[0][source.name]
            for sentence in self._enter(source, batch, who)
        ]

    def keep(self, source: Source, batch: str, who: str) -> Mapping[str, Blob]:
        """Where the bytes of each file of a batch are kept, by the file's name; those not entered yet are entered."""
        self._enter(source, batch, who)
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

    @cached_property
    def _look(self) -> tuple[dict[str, dict[str, list[Path]]], list[str]]:
        found: dict[str, dict[str, list[Path]]] = {}
        strays: list[str] = []
        for source in self._contract.sources.values():
            found[source.name] = {}
            for path, batch in self._matches(source):
                for key in self._keys(source, path, batch, strays):
                    found[source.name].setdefault(key, []).append(path)
        return found, strays

    def _keys(self, source: Source, path: Path, batch: str | None, strays: list[str]) -> Iterator[str]:
        name = path.relative_to(self._contract.folder).as_posix()
        if source.kind == "reference" or self._calendar.cadence == "none":
            yield "all"
        elif batch is None:
            yield from self._batches_of(source, path)
        else:
            try:
                self._calendar.check(batch)
            except UserError as error:
                strays.append(f"{name} is not taken in: {error}")
            else:
                yield batch

    def _arrived(self, source: Source, batch: str) -> list[Delivered]:
        return [self._delivered(path) for path in self._look[0][source.name].get(batch, [])]

    def _place(self, source: Source, file: Delivered) -> float:
        entry = self._ledger.newest(self._asset(source), file.name)
        return entry.seq if entry and entry.blob.sha256 == file.sha256 else math.inf

    def _enter(self, source: Source, batch: str, who: str) -> list[str]:
        said: list[str] = []
        named = "{batch}" in source.files
        for file in sorted(self._arrived(source, batch), key=lambda file: file.name):
            before = self._ledger.newest(self._asset(source), file.name)
            if before and before.blob.sha256 == file.sha256:
                continue
            # a file that holds many batches is kept once, not once for each
            place, batches = (batch, (batch,)) if named else ("all", ())
            try:
                entry, status = self._ledger.record(
                    self._asset(source), file.name, file.path, place=place, batches=batches, who=who
                )
            except PurgedError as trouble:
                said.append(f"{file.name} is not taken in. {trouble}")
                continue
            if status == "duplicate":
                first = self._ledger.entries[(entry.duplicate_of or 1) - 1]
                said.append(
                    f"{file.name} holds the same bytes as {first.name}, which came first (delivery {first.seq}): "
                    f"it adds nothing."
                )
            elif status == "changed" and before:
                said.append(f"{file.name} holds other bytes than before (delivery {before.seq}, now {entry.seq}).")
        return said

    def _asset(self, source: Source) -> str:
        return f"{self._contract.name}/raw/{source.name}"

    def _matches(self, source: Source) -> Iterator[tuple[Path, str | None]]:
        """Regular files under the dataset's folder that match the source's pattern, by name, with the batch in it."""
        folder, _, pattern = source.files.rpartition("/")
        matcher = re.compile(
            "".join(
                {"{batch}": "(?P<batch>.+)", "*": ".*"}.get(part, re.escape(part))
                for part in re.split(r"(\{batch\}|\*)", pattern)
            )
        )
        root = self._contract.folder / folder
        if not root.is_dir():
            return
        for path in sorted(root.iterdir()):
            match = matcher.fullmatch(path.name)
            if match and path.is_file() and not path.is_symlink() and not path.name.startswith("."):
                yield path, match.groupdict().get("batch")

    def _delivered(self, path: Path) -> Delivered:
        if path not in self._files:
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            name = path.relative_to(self._contract.folder).as_posix()
            self._files[path] = Delivered(name, path, path.stat().st_size, sha256)
        return self._files[path]

    def _batches_of(self, source: Source, path: Path) -> tuple[str, ...]:
        """The batches that rows of a file without a batch in its name belong to, by their event time."""
        delivered = self._delivered(path)
        known = (source.name, delivered.sha256)
        if known not in self._batches_in:
            from mlops_assets.stages.ingest import Delivery, batches_in

            self._batches_in[known] = tuple(batches_in(self._contract, source, Delivery(delivered.name, path)))
        return self._batches_in[known]
