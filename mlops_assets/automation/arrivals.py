"""Files that arrive by themselves: which are complete, and entering those into the ledger of deliveries.

What belongs here: looking at a dataset's landing folder again and again, and what a look has to say. What does not:
what is made of the files (``sensors``), what a file's name speaks of (``assets.landing``), Dagster.

A file is taken when it is complete: of the same size, time and inode in two looks far enough apart, or named by a
marker. Only the ledger says what was taken, by content. What the looks saw lies in a file that may be lost: then every
file is read once more, found in the ledger, and nothing is taken twice.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlops_assets.assets.landing import Entered, Landing, enter, pattern
from mlops_assets.automation.memory import keep, kept_in
from mlops_assets.contract.calendar import Calendar
from mlops_assets.contract.model import Contract, Source
from mlops_assets.errors import StoreError, UserError
from mlops_assets.store.deliveries import Ledger
from mlops_assets.store.store import Store, account

FILES_A_LOOK = 500
"""Files that one look takes in; the next goes on. A tick of a sensor has to end within a minute."""

BYTES_A_LOOK = 4_000_000_000
"""Bytes after which a look takes no further file."""

_SHA256 = re.compile(r"[0-9a-f]{64}")

_Marks = tuple[int, int, int]

_Seen = dict[str, list[int | float]]
"""By name: size, time in ns, inode, since when it is so, and 1 when it need not be read again as it is."""

_TAKEN = 4


@dataclass(frozen=True, slots=True)
class _File:
    source: Source
    path: Path
    name: str
    batch: str
    marks: _Marks


@dataclass(slots=True)
class Looked:
    """What one look found.

    ``touched`` are the batches (by source) that entered files belong to. Sentences: ``said`` of what was entered and
    does not simply add data, ``waiting`` of files that are not complete yet, ``ignored`` of what is no delivery.
    ``more`` says that the look ended before it had taken everything.
    """

    entered: int = 0
    touched: dict[str, set[str]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    more: bool = False

    @property
    def sentences(self) -> list[str]:
        """Everything that it has to say."""
        more = ["More files are waiting; the next look goes on with them."] if self.more else []
        return [*self.said, *self.waiting, *more, *self.ignored]


class Inbox:
    """The landing folder of one dataset, looked at again and again. ``memory`` is the file that keeps what was seen."""

    def __init__(self, contract: Contract, store: Store, memory: Path) -> None:
        self._contract = contract
        self._ledger = Ledger(store, contract.name)
        self._calendar = Calendar.of(contract.partitions)
        self._memory = memory
        self._arrivals = contract.automation.arrivals
        self._seen_before: _Seen = {}
        self._now_seen: _Seen = {}

    def look(self, now: float) -> Looked:
        """Take in every complete file that the ledger does not have; ``now`` is the time in seconds."""
        found = Looked()
        before = self._seen_before = self._seen()
        seen = self._now_seen = {}
        names: dict[str, set[str]] = {}
        size = 0
        for file in self._files(found, before, seen):
            *marks, since, _ = before.get(file.name, (0, 0, 0, now, 0))
            same = tuple(marks) == file.marks and since <= now
            since = since if same else now
            seen[file.name] = [*file.marks, since, 0]
            if why := self._incomplete(file, now - since):
                found.waiting.append(f"{file.name} waits: {why}")
                continue
            if found.entered >= FILES_A_LOOK or size >= BYTES_A_LOOK:
                found.more = True
                continue
            size += file.marks[0]
            entered = self._take(file, found)
            if entered and not entered.again:
                seen[file.name][_TAKEN] = 1
            if entered and entered.entry:
                names.setdefault(file.source.name, set()).add(file.name)
        self._touch(names, found)
        return found

    def remember(self) -> None:
        """Keep what the last look saw, once all that follows from it was kept."""
        if self._now_seen == self._seen_before and self._memory.exists():
            return
        last = self._ledger.entries[-1:] if any(file[_TAKEN] for file in self._now_seen.values()) else []
        anchor = [[entry.seq, entry.attempt] for entry in last]
        keep(self._memory, {"ledger": anchor, "files": self._now_seen})

    def _take(self, file: _File, found: Looked) -> Entered | None:
        """Enter a complete file; None when it cannot be read or went away meanwhile."""
        try:
            entered = enter(
                self._contract,
                file.source,
                self._ledger,
                file.path,
                batch=file.batch,
                who=account(),
                whole=lambda: _marks(file.path) == file.marks,
            )
        except StoreError as trouble:
            if file.path.exists():
                found.waiting.append(f"{file.name} cannot be taken in: {trouble}")
            return None
        if entered.sentence:
            found.said.append(entered.sentence)
        found.entered += entered.entry is not None
        return entered

    def _touch(self, names: Mapping[str, set[str]], found: Looked) -> None:
        if not names:
            return
        landing = Landing(self._contract, self._calendar, self._ledger, entered_only=True)
        for source, taken in names.items():
            found.touched[source] = set(landing.touched(self._contract.sources[source], taken))
        found.said += landing.strays

    def _files(self, found: Looked, before: _Seen, seen: _Seen) -> Iterator[_File]:
        """Regular files that a source's pattern names and that were not taken in as they are; the others are told.

        What was taken in before goes into ``seen`` at once: a folder may hold tens of thousands of such files.
        """
        folders: dict[Path, list[tuple[Source, re.Pattern[str]]]] = {}
        for source in self._contract.sources.values():
            folder, matcher = pattern(self._contract, source)
            folders.setdefault(folder, []).append((source, matcher))
        for folder, sources in folders.items():
            try:
                names = sorted(os.listdir(folder))  # noqa: PTH208 - a path for each of them would cost more than the look
            except FileNotFoundError:
                continue
            except OSError as trouble:
                found.waiting.append(f"{folder} cannot be looked at: {trouble.strerror}.")
                continue
            inside = f"{folder.relative_to(self._contract.folder).as_posix()}/".removeprefix("./")
            for name in names:
                marks = _marks(f"{folder}/{name}")
                known = before.get(f"{inside}{name}")
                if known and known[_TAKEN] and marks == tuple(known[:3]):
                    seen[f"{inside}{name}"] = known
                else:
                    yield from self._matching(folder / name, marks, sources, found)

    def _matching(
        self, path: Path, marks: _Marks | None, sources: list[tuple[Source, re.Pattern[str]]], found: Looked
    ) -> Iterator[_File]:
        name = path.relative_to(self._contract.folder).as_posix()
        if path.name.startswith(".") or self._is_marker(path):
            return
        for source, matcher in sources:
            match = matcher.fullmatch(path.name)
            if match is None:
                continue
            if marks is None:
                if path.is_symlink() or path.exists():
                    found.ignored.append(f"{name!r} is passed over: it is no regular file.")
                return
            batch = match.groupdict().get("batch") or "all"
            if batch != "all" and source.kind == "batch" and self._calendar.cadence != "none":
                try:
                    self._calendar.check(batch)
                except UserError as trouble:
                    found.ignored.append(f"{name!r} is not taken in: {trouble}")
                    return
            yield _File(source, path, name, batch, marks)
            return
        found.ignored.append(f"{name!r} is passed over: no source's pattern matches it.")

    def _is_marker(self, path: Path) -> bool:
        if self._arrivals.marker is None:
            return False
        before, _, after = self._arrivals.marker.partition("{file}")
        return path.name.startswith(before) and path.name.endswith(after)

    def _incomplete(self, file: _File, age: float) -> str | None:
        """Why a file is not complete yet, if it is not."""
        if self._arrivals.marker is None:
            if age >= self._arrivals.settle:
                return None
            return f"it is taken when it has not changed for {self._arrivals.settle:g} s."
        marker = file.path.with_name(self._arrivals.marker.replace("{file}", file.path.name))
        try:
            words = marker.read_text(encoding="utf-8", errors="replace")[:1000].split()
        except FileNotFoundError:
            return f"its marker {marker.name} is not there."
        except OSError as trouble:
            return f"its marker {marker.name} cannot be read: {trouble.strerror}."
        if words and _SHA256.fullmatch(words[0]) and _sha256(file.path) not in (words[0], None):
            return f"its marker {marker.name} names another sha256; deliver the file or the marker again."
        return None

    def _seen(self) -> _Seen:
        """What the last look saw; of another ledger than this one nothing is believed."""
        kept = kept_in(self._memory)
        for seq, attempt in kept.get("ledger", []):
            if not self._ledger.holds(seq, attempt):
                return {}
        return dict(kept.get("files", {}))


def _marks(path: Path | str) -> _Marks | None:
    """Size, time of change in nanoseconds and inode of a regular file; None of anything else, or of nothing."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def _sha256(path: Path) -> str | None:
    import hashlib

    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
