"""From one store to another: only what is lacking there, verified on the way, many at a time.

What belongs here: finding out what the other store has, and writing the rest there so that whatever dies leaves nothing
that points to what did not arrive. What does not: which versions are to be copied (``transfer``), and which heads may
move (``forwarding``).

Of each version the files come first (value, delivered bytes, attachments), then its manifest; whoever copies pointers
does so when all that they lead to has arrived. A file's bytes pass through once, in pieces, and are hashed as they are
written: they take their name only if a manifest says that they are those bytes.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from itertools import chain
from typing import BinaryIO, NamedTuple, Self, TypeVar

from mlops_assets.errors import CorruptError
from mlops_assets.store import trees
from mlops_assets.store.backend import Backend, Entry, Written
from mlops_assets.store.blobs import blob_path, place_name
from mlops_assets.store.digest import bytes_digest
from mlops_assets.store.heads import Leaf, Move
from mlops_assets.store.manifest import Blob, Manifest
from mlops_assets.store.names import version_name
from mlops_assets.store.records import manifest_path, read_manifest, record_id, tree_path
from mlops_assets.store.remotes import note_received
from mlops_assets.store.store import Store, leaf_of, move_path

WORKERS = 12
"""Files that are copied at a time."""

FRESH = 3600.0
"""Seconds for which a file is young enough for gc to spare it until the pointers to it have moved."""

SHOWN = 10
"""How many of many troubles are named."""

_WAVE = 500
_FEW = 16

Progress = Callable[[str, int, int], None]
"""Told of each kind of file that was copied: the kind, and how many files and bytes of all kinds there were so far."""

Place = tuple[str, str]
"""An asset and a batch."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Want(NamedTuple):
    """A version to be copied: ``manifest`` is its record's id, ``leaf`` what a pointer says of it, if one does.

    One that is not ``required`` may be missing in the source (gc took it). ``known`` says that the target's pointers
    lead to it already: nothing is read of it as long as its files are there.
    """

    asset: str
    batch: str
    manifest: str
    leaf: Leaf | None = None
    required: bool = False
    known: bool = False


@dataclass
class Count:
    """Files and their bytes."""

    objects: int = 0
    bytes: int = 0


@dataclass
class Tally:
    """What was copied (or would be), by kind, and what needed no copying.

    ``present`` counts files that the target had; ``absent`` what the source no longer has and no pointer needs;
    ``purged`` files that were erased by a purge and stay away.
    """

    copied: dict[str, Count] = field(default_factory=dict)
    present: int = 0
    absent: int = 0
    purged: int = 0

    @property
    def total(self) -> Count:
        """Of all kinds."""
        counts = self.copied.values()
        return Count(sum(count.objects for count in counts), sum(count.bytes for count in counts))


class Trail(NamedTuple):
    """Moves of one head that the target lacks: ``own`` the branch's, newest first; ``files`` all, oldest first.

    ``changes`` are the ids of the changes that made them.
    """

    asset: str
    batch: str
    own: list[Move]
    files: list[tuple[str, bytes]]
    changes: list[str]


class _File(NamedTuple):
    """A file of a version: ``name`` is the version, or ``sha256-`` and its digest, by which purges know it."""

    kind: str
    blob: Blob
    name: str
    want: Want


class _Record(NamedTuple):
    """A version's manifest as it was read; ``mend`` says that the target's is damaged."""

    want: Want
    path: str
    data: bytes
    manifest: Manifest
    mend: bool


class _Folders:
    """What a store has in the folders that were asked about; one listing for each folder, or for an asset's folders."""

    def __init__(self, backend: Backend, pool: ThreadPoolExecutor) -> None:
        self._backend = backend
        self._pool = pool
        self._found: dict[str, dict[str, Entry]] = {}
        self._listed: set[str] = set()

    def look(self, folders: Iterable[str]) -> None:
        """List folders of batches that were not listed yet."""
        by_asset: dict[str, set[str]] = {}
        for folder in folders:
            parent = folder.rpartition("/")[0]
            if folder not in self._listed and parent not in self._listed:
                by_asset.setdefault(parent, set()).add(folder)
        asked = [
            name for parent, below in by_asset.items() for name in ([parent] if len(below) > _FEW else sorted(below))
        ]
        for entries in self._pool.map(lambda folder: list(self._backend.entries(folder)), asked):
            for entry in entries:
                folder, _, name = entry.path.rpartition("/")
                self._found.setdefault(folder, {})[name] = entry
        self._listed.update(asked)

    def names(self, folder: str) -> Mapping[str, Entry]:
        """The files of a folder that was looked at."""
        return self._found.get(folder, {})

    def get(self, path: str) -> Entry | None:
        """What stands at a path in a folder that was looked at."""
        folder, _, name = path.rpartition("/")
        return self._found.get(folder, {}).get(name)

    def add(self, path: str, size: int) -> None:
        """A file was written."""
        folder, _, name = path.rpartition("/")
        self._found.setdefault(folder, {})[name] = Entry(path, size, time.time())


class Copier:
    """Copies from one store to another; a context manager, whose end waits for what is under way.

    ``near_target`` says that the target is cheaper to read than the source. Without ``data`` only records are copied;
    ``deep`` also copies the exact inputs of every version, and theirs. A ``dry`` one only counts.
    """

    def __init__(
        self,
        source: Store,
        target: Store,
        *,
        near_target: bool,
        data: bool = True,
        deep: bool = True,
        dry: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self.source, self.target = source, target
        self.tally = Tally()
        self.dry = dry
        self.data = data
        self._near_target = near_target
        self._deep = deep
        self._progress = progress
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="copy")
        self._there = _Folders(target.backend, self._pool)
        self._seen: dict[tuple[str, str, str], bool] = {}
        self._files: set[str] = set()
        self._purged: set[str] = set()
        self._noted = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    # --- versions ------------------------------------------------------------------------------------------------

    def purges(self) -> list[str]:
        """Copy the marks of what was purged; the names that only the target knew of."""
        here, there = (set(store.backend.children("tombstones")[1]) for store in (self.source, self.target))
        self._purged = {name.removesuffix(".json") for name in here | there}
        self.small("tombstones", [f"tombstones/{name}" for name in sorted(here - there)])
        return sorted(name.removesuffix(".json") for name in there - here)

    def versions(self, wants: Iterable[Want]) -> None:
        """Copy versions, with their exact inputs where the copy is deep.

        Raises ``CorruptError`` naming what is damaged or lost in the source; whatever else arrived stays.
        """
        queue = deque(wants)
        while queue:
            wave: list[Want] = []
            while queue and len(wave) < _WAVE:
                want = queue.popleft()
                key = (want.asset, want.batch, want.manifest)
                # one that was passed over because it may be missing is looked at again when a pointer needs it
                if key not in self._seen or (want.required and not self._seen[key]):
                    self._seen[key] = want.required
                    wave.append(want)
            queue.extend(self._wave(wave))

    def closed(self, wants: Iterable[Want]) -> None:
        """Remember versions that the target has with all that they stand on."""
        self._seen.update(((want.asset, want.batch, want.manifest), True) for want in wants)

    def settle(self, wants: Collection[Want]) -> None:
        """Look once more whether the values that pointers are about to lead to are there as they were sent.

        Somebody may have sent other sound bytes of a version meanwhile, and died before the manifest that says so.
        """
        if self.dry or not self.data:
            return
        self._there = _Folders(self.target.backend, self._pool)
        self._files.clear()
        self._copy_files([_value(want, want.leaf) for want in wants if want.leaf], again=True)

    def _wave(self, wave: list[Want]) -> list[Want]:
        """Copy some versions; what they stand on, and what else has to come with them."""
        self._there.look({_folder(_path(want)) for want in wave})
        if self.data:
            self._there.look({_folder(_value(want, want.leaf).blob.path) for want in wave if want.known and want.leaf})
        records = list(self._records([want for want in wave if not self._complete(want)]))
        if any(record.mend or not self._there.get(record.path) for record in records):
            self._note_received()
        more = self._copy_files([file for record in records for file in self._files_of(record)])
        self._each(self._copy_record, records, self._record_copied)
        if self._deep:
            for record in records:
                more += [
                    Want(item.asset, item.partition, item.manifest)
                    for item in record.manifest.inputs
                    if item.manifest is not None
                ]
        return more

    def _complete(self, want: Want) -> bool:
        """Whether nothing needs to be read of a version: the target's pointers lead to it, and it is there."""
        if not (want.known and want.leaf and self._there.get(_path(want))):
            return False
        if self.data:
            value = _value(want, want.leaf)
            entry = self._there.get(value.blob.path)
            if version_name(value.name) not in self._purged and not (entry and entry.size == want.leaf.size):
                return False
        self.tally.present += 1 + self.data
        return True

    def _records(self, wave: list[Want]) -> Iterator[_Record]:
        """The manifests of versions, each from where it is cheaper to read, verified."""
        near = [want for want in wave if self._near_target and self._there.get(_path(want))]
        sound: dict[Want, bytes] = {
            want: data
            for want, data in zip(near, self.target.backend.read_many([_path(want) for want in near]), strict=True)
            if data is not None and bytes_digest(data) == want.manifest
        }
        damaged = {want for want in near if want not in sound}
        far = [want for want in wave if want not in sound]
        read = zip(far, self.source.backend.read_many([_path(want) for want in far]), strict=True)
        troubles: list[str] = []
        for want, data in chain(sound.items(), read):
            where = (self.target if want in sound else self.source).where(_path(want))
            if data is None:
                if want.required:
                    troubles.append(_lost(f"The manifest of {want.asset}[{want.batch}]", where))
                else:
                    self.tally.absent += 1
                continue
            try:
                manifest = read_manifest(data, want.manifest, where)
            except CorruptError as trouble:
                troubles += trouble.sentences
                continue
            if want.leaf and (manifest.blob is None or leaf_of(manifest) != want.leaf):
                troubles.append(
                    f"What points to {want.asset}[{want.batch}] in {self.source} says other things of it than its "
                    f"manifest {where}; it was not copied. See what is damaged with: mlops-assets verify"
                )
                continue
            yield _Record(want, _path(want), data, manifest, want in damaged)
        _raise(troubles)

    def _files_of(self, record: _Record) -> Iterator[_File]:
        want, manifest = record.want, record.manifest
        if manifest.blob and manifest.version:
            yield _File("values", manifest.blob, manifest.version, want)
        for item in manifest.files:
            if "blob" in item:
                blob = Blob(item["blob"], item["size"], item["sha256"])
                yield _File("deliveries", blob, f"sha256-{blob.sha256}", want)
        for blob in manifest.attachments.values():
            yield _File("attachments", blob, f"sha256-{blob.sha256}", want)

    def files(self, blobs: Iterable[Blob]) -> None:
        """Copy delivered bytes; those that the source no longer has are passed over."""
        self._copy_files([_File("deliveries", blob, f"sha256-{blob.sha256}", _NOBODY) for blob in blobs])

    def _copy_files(self, files: Iterable[_File], *, again: bool = False) -> list[Want]:
        """Copy the files that the target lacks; other records that say what their bytes are."""
        if not self.data:
            return []
        files = {file.blob.path: file for file in files if file.blob.path not in self._files}.values()
        self._files.update(file.blob.path for file in files)
        self._there.look({_folder(file.blob.path) for file in files})
        lacking = []
        for file in files:
            if version_name(file.name) in self._purged:
                self.tally.purged += not again
            elif (entry := self._there.get(file.blob.path)) and (
                entry.size == file.blob.size or self._sound_there(file)
            ):
                self.tally.present += not again
                if self._age(entry) and not self.target.backend.touch(entry.path):
                    lacking.append(file)
            else:
                lacking.append(file)
        more: list[Want] = []

        def copied(file: _File, result: "Want | bool") -> None:
            if result is False:
                self.tally.absent += 1
                return
            if isinstance(result, Want):
                more.append(result)
            self._there.add(file.blob.path, file.blob.size)
            self.count(file.kind, file.blob.size)

        self._each(self._copy_file, lacking, copied)
        return more

    def _copy_file(self, file: _File) -> "Want | bool":
        """Copy one file; False when the source lacks it, another version's record if that is what describes its bytes.

        Sound bytes of one version differ between releases of the libraries that write them.
        """
        path = self.target.inside(file.blob)
        expected = Written(file.blob.size, file.blob.sha256)
        pieces = self.source.backend.stream(path)
        try:
            first = None if self.dry and not self.source.backend.stat(path) else b"" if self.dry else next(pieces, b"")
        except FileNotFoundError:
            first = None
        if first is None and place_name(path) in self._purged:
            return False
        if first is None and file.want.required:
            what = f"The file of {file.want.asset}[{file.want.batch}]"
            raise CorruptError(_lost(what, self.source.where(path)))
        if first is None or self.dry:
            return first is not None

        def write(target: BinaryIO) -> None:
            target.writelines(chain((first,), pieces))

        with self.target.backend.stage(path, write) as staged:
            witness = None if staged.written == expected else self._witness(file, staged.written)
            with self.target.backend.hold(path):
                staged.replace()
        return witness or True

    def _witness(self, file: _File, written: Written) -> Want:
        """A version of the source whose record says that these are the bytes; raises ``CorruptError`` without one."""
        want, path = file.want, file.blob.path
        if file.kind == "values":
            for manifest in self.source.manifests(want.asset, want.batch):
                if manifest.blob == Blob(path, *written):
                    return want._replace(manifest=manifest.id, leaf=None, required=True, known=False)
        raise CorruptError(
            f"{self.source.where(path)} is damaged: {written.size} bytes (sha256 {written.sha256[:12]}...) are there, "
            f"{file.blob.size} (sha256 {file.blob.sha256[:12]}...) were written. Neither it nor what points to it was "
            "copied; mend it with: mlops-assets repair"
        )

    def _sound_there(self, file: _File) -> bool:
        """Whether bytes of another size are sound too: a manifest over there says so."""
        if file.kind != "values":
            return False
        try:
            written = self.target.backend.fingerprint(file.blob.path)
        except FileNotFoundError:
            return False
        blob = Blob(file.blob.path, *written)
        return any(manifest.blob == blob for manifest in self.target.manifests(file.want.asset, file.want.batch))

    def _copy_record(self, record: _Record) -> bool:
        entry = self._there.get(record.path)
        if entry and not record.mend and not (self._age(entry) and not self.target.backend.touch(record.path)):
            return False
        if not self.dry:
            self.target.write_once(record.path, record.data)
        return True

    def _record_copied(self, record: _Record, written: bool) -> None:
        if written:
            self._there.add(record.path, len(record.data))
            self.count("records", len(record.data))
        else:
            self.tally.present += 1

    def _age(self, entry: Entry) -> bool:
        """Whether gc of the target might take a file before a pointer leads to it."""
        return not self.dry and time.time() - entry.modified > FRESH

    # --- records -------------------------------------------------------------------------------------------------

    def small(self, kind: str, paths: Sequence[str]) -> list[str]:
        """Copy small records that are written once, in this order; those that say something else in the target."""
        different = []
        for path, data in zip(paths, self.source.backend.read_many(paths), strict=True):
            if data is None:
                continue
            if not self.write(kind, path, data):
                different.append(path)
        return different

    def write(self, kind: str, path: str, data: bytes) -> bool:
        """Write a record unless it is there; False when something else is there."""
        if self.dry or self.target.backend.create(path, data):
            self.count(kind, len(data))
        elif self.target.backend.read(path) != data:
            return False
        else:
            self.tally.present += 1
        return True

    def lacking_trees(self, ids: Iterable[str]) -> list[str]:
        """Those of some trees that the target lacks."""
        asked = list(dict.fromkeys(ids))
        there = self.each(lambda id_: self.target.backend.stat(tree_path(id_)) is not None, asked)
        return [id_ for id_, found in zip(asked, there, strict=True) if not found]

    def trees(self, ids: Iterable[str]) -> None:
        """Copy trees that the target lacks; raises ``CorruptError`` for one that is damaged or lost in the source."""

        def copy(id_: str) -> int:
            path = tree_path(id_)
            where = self.source.where(path)
            try:
                data = self.source.backend.read(path)
            except FileNotFoundError:
                raise CorruptError(_lost("A tree", where)) from None
            trees.decode(data, id_, f"The tree {where}")
            if not self.dry:
                self.target.write_once(path, data)
            return len(data)

        asked = list(dict.fromkeys(ids))
        lacking = self.lacking_trees(asked)
        self.tally.present += len(asked) - len(lacking)
        self._each(copy, lacking, lambda _, size: self.count("trees", size))

    def trails(self, branch: str, tips: Mapping[Place, str]) -> list[Trail]:
        """The moves that lead to ``tips`` and that the target lacks, also those they were merged from."""
        walk = _Trails(self.source, self.target, self._pool)
        return walk.collect(branch, tips)

    def moves(self, trails: Iterable[Trail]) -> None:
        """Copy the records of moves: of each head the oldest first, so that one that is there has all before it."""

        def copy(trail: Trail) -> int:
            if not self.dry:
                for path, data in trail.files:
                    self.target.write_once(path, data)
            return sum(len(data) for _, data in trail.files)

        def copied(trail: Trail, size: int) -> None:
            self.count("moves", size, len(trail.files))

        lacking = [trail for trail in trails if trail.files]
        if lacking:
            self._note_received()
        self._each(copy, lacking, copied)

    def _note_received(self) -> None:
        """Say, before the first of them, that records come from elsewhere: their files may be gone there."""
        if not (self.dry or self._noted):
            note_received(self.target)
            self._noted = True

    # --- inside --------------------------------------------------------------------------------------------------

    def each(self, work: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
        """Do something to many items at a time; the results in the same order."""
        return list(self._pool.map(work, items))

    def _each(
        self, work: Callable[[_Item], _Result], items: Collection[_Item], done: Callable[[_Item, _Result], None]
    ) -> None:
        """Do something to many items at a time; damage is gathered, anything else ends it."""
        futures = {self._pool.submit(work, item): item for item in items}
        damaged: list[str] = []
        try:
            for future in as_completed(futures):
                try:
                    done(futures[future], future.result())
                except CorruptError as trouble:
                    damaged += trouble.sentences
        finally:
            for future in futures:
                future.cancel()
        _raise(sorted(damaged))

    def count(self, kind: str, size: int, objects: int = 1) -> None:
        """Count files that were copied (or would be); not for the threads that copy."""
        count = self.tally.copied.setdefault(kind, Count())
        count.objects += objects
        count.bytes += size
        if self._progress and not self.dry:
            total = self.tally.total
            self._progress(kind, total.objects, total.bytes)


class _Trails:
    """Walks from heads back to moves that the target has, reading all that it lacks of a head at once."""

    def __init__(self, source: Store, target: Store, pool: ThreadPoolExecutor) -> None:
        self._source = source
        self._here = _Folders(source.backend, pool)
        self._there = _Folders(target.backend, pool)
        self._done: set[str] = set()

    def collect(self, branch: str, tips: Mapping[Place, str]) -> list[Trail]:
        """See ``Copier.trails``."""
        found = {place: Trail(*place, [], [], []) for place in tips}
        pending = {(branch, *place): [tip] for place, tip in tips.items()}
        first = True
        while pending:
            merged: dict[tuple[str, str, str], list[str]] = {}
            for (of, asset, batch), data in self._read(pending).items():
                trail = found[asset, batch]
                files, origins, changes = self._walk(of, asset, batch, pending[of, asset, batch], data, required=first)
                trail.changes.extend(changes)
                # what was merged from another branch comes before what was made of it
                trail.files[:0] = files
                for origin_branch, move in origins:
                    merged.setdefault((origin_branch, asset, batch), []).append(move)
                if first:
                    trail.own.extend(self._own(branch, asset, batch, tips[asset, batch], dict(files)))
            pending, first = merged, False
        return list(found.values())

    def _read(self, pending: Collection[tuple[str, str, str]]) -> dict[tuple[str, str, str], dict[str, bytes]]:
        """By branch and place, the bytes of the moves that the source has and the target lacks."""
        folders = {key: _folder(move_path(*key, "b3:0")) for key in pending}
        self._there.look(folders.values())
        self._here.look(folders.values())
        lacking = [
            (key, f"{folder}/{name}")
            for key, folder in folders.items()
            for name in self._here.names(folder)
            if name not in self._there.names(folder)
        ]
        found: dict[tuple[str, str, str], dict[str, bytes]] = {key: {} for key in pending}
        read = self._source.backend.read_many([path for _, path in lacking])
        for (key, path), data in zip(lacking, read, strict=True):
            if data is not None:
                found[key][path] = data
        return found

    def _walk(
        self, branch: str, asset: str, batch: str, tips: list[str], data: Mapping[str, bytes], *, required: bool
    ) -> tuple[list[tuple[str, bytes]], list[tuple[str, str]], list[str]]:
        """The files of the moves below ``tips``, parents first; the positions on other branches and the changes."""
        files: list[tuple[str, bytes]] = []
        origins: list[tuple[str, str]] = []
        changes: list[str] = []
        waiting = [(tip, False, required) for tip in tips]
        while waiting:
            id_, expanded, needed = waiting.pop()
            path = move_path(branch, asset, batch, id_)
            if expanded:
                files.append((path, data[path]))
                continue
            folder, _, name = path.rpartition("/")
            if path in self._done or name in self._there.names(folder):
                continue
            if path not in data:
                if needed:
                    raise CorruptError(_lost("The record of a move", self._source.where(path)))
                continue
            self._done.add(path)
            move = self._decode(path, data[path])
            waiting.append((id_, True, True))
            if "change" in move.origin:
                changes.append(move.origin["change"])
            if move.previous:
                waiting.append((move.previous, False, True))
            if move.origin.get("move") and move.origin.get("branch"):
                if move.origin["branch"] == branch:
                    waiting.append((move.origin["move"], False, False))
                else:
                    origins.append((move.origin["branch"], move.origin["move"]))
        return files, origins, changes

    def _own(self, branch: str, asset: str, batch: str, tip: str, files: Mapping[str, bytes]) -> Iterator[Move]:
        """The branch's own line among the files, newest first."""
        id_: str | None = tip
        while id_ and (data := files.get(path := move_path(branch, asset, batch, id_))):
            move = Move.decode(data, self._source.where(path))
            yield move
            id_ = move.previous

    def _decode(self, path: str, data: bytes) -> Move:
        where = self._source.where(path)
        if bytes_digest(data) != record_id(path.rpartition("/")[2]):
            raise CorruptError(
                f"The record {where} of a move is damaged; it was not copied. Mend it with: mlops-assets repair"
            )
        return Move.decode(data, where)


_NOBODY = Want("", "", "")


def _path(want: Want) -> str:
    return manifest_path(want.asset, want.batch, want.manifest)


def _value(want: Want, leaf: Leaf) -> _File:
    path = blob_path(want.asset, want.batch, leaf.version, leaf.kind)
    return _File("values", Blob(path, leaf.size, leaf.sha256), leaf.version, want)


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _lost(what: str, where: str) -> str:
    return f"{what} is lost: {where}. Nothing that points to it was copied; mend it with: mlops-assets repair"


def _raise(troubles: list[str]) -> None:
    if troubles:
        more = [f"... and {len(troubles) - SHOWN} more."] if len(troubles) > SHOWN else []
        raise CorruptError(*troubles[:SHOWN], *more)
