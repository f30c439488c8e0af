"""What manifests say of each other, remembered, so that questions on lineage need not read them all again.

What belongs here: reading from manifests and ledgers what lineage needs, keeping it in one file, and walking up and
down. What does not: what is asked and how it is told (``lineage``).

A release over 10,000 batches stands on 50,000 manifests, and reading those takes seconds. A manifest never changes
under its id, so what was read of it once, with its digest compared, is true for ever. Two things can change: manifests
come, and gc takes some away. Both change the folder that they are in, so that only folders with another time than at
the last look are listed again (where the place has no such times: all of them).

The file ``cache/lineage`` is a derived one (see ``cache``). What one of two writers lost is read again later.
"""

import sys
import time
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from mlops_assets.store.cache import keep, kept
from mlops_assets.store.deliveries import Delivery, Ledger, datasets, entry_path
from mlops_assets.store.digest import bytes_digest
from mlops_assets.store.formats import FROM_ANOTHER
from mlops_assets.store.manifest import FORMAT as MANIFEST_FORMAT
from mlops_assets.store.names import asset_path, segment, text
from mlops_assets.store.records import manifest_path, read_manifest, record_id

if TYPE_CHECKING:
    from mlops_assets.store.store import Store

FORMAT = 2

PATH = "cache/lineage"

ABSENT, LOST, REFUSED, ACCEPTED = range(4)
"""What is known at a place: an input that was never delivered, one whose record is not here, or a record that was read.
"""

_SETTLED = 2_000_000_000
"""Nanoseconds after which a folder's time tells of any further change: beyond the grain of file systems' clocks."""

_LENGTH = 8
"""Bytes that say how long the part in JSON is."""

_COLUMNS = ("ids", "assets", "batches", "versions", "made", "whens", "rows", "sizes", "verdicts", "sentences", "states")


class Made(NamedTuple):
    """How versions were made: the same for many of them. ``commit`` is empty outside of git, ``seed`` may be None."""

    kind: str
    code_version: str
    commit: str
    dirty: bool
    environment: str
    settings: Any
    seed: int | None
    run_id: str
    who: str


class File(NamedTuple):
    """A delivered file as a manifest names it."""

    name: str
    size: int
    sha256: str


class Arrival(NamedTuple):
    """An entry of a ledger: ``source`` is a raw asset, ``seq`` the entry's number, ``arrived`` an ISO time in UTC."""

    source: str
    name: str
    sha256: str
    size: int
    seq: int
    arrived: str
    who: str
    duplicate_of: int | None


class _Record(NamedTuple):
    """A manifest that was just read; ``inputs`` are asset, batch, version and manifest."""

    asset: str
    batch: str
    version: str | None
    made: int
    when: str
    rows: int | None
    size: int
    verdicts: int
    sentences: int
    accepted: bool
    inputs: tuple[tuple[str, str, str | None, str | None], ...]
    files: tuple[int, ...]


class _Pool:
    """Values that many records share, each kept once; ``key`` says which are the same."""

    def __init__(self, values: list[Any]) -> None:
        self.values = values
        self._places: dict[Any, int] | None = None

    def place(self, value: Any) -> int:
        """Where a value stands."""
        if self._places is None:
            self._places = {_key(known): place for place, known in enumerate(self.values)}
        found = self._places.setdefault(_key(value), len(self.values))
        if found == len(self.values):
            self.values.append(value)
        return found


def _key(value: Any) -> Any:
    return value if isinstance(value, str) else orjson.dumps(value)


@dataclass
class _Columns:
    """What is known of each place; a place is a version, or an input of which nothing more is known.

    Inputs stand before what was made from them, so that one pass forward meets everything that stands on something.
    """

    ids: list[str] = field(default_factory=list)
    assets: list[int] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    versions: list[str | None] = field(default_factory=list)
    made: list[int] = field(default_factory=list)
    whens: list[str] = field(default_factory=list)
    rows: list[int | None] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    verdicts: list[int] = field(default_factory=list)
    sentences: list[int] = field(default_factory=list)
    states: list[int] = field(default_factory=list)
    files: dict[int, list[int]] = field(default_factory=dict)
    ends: "array[int]" = field(default_factory=lambda: array("I"))
    edges: "array[int]" = field(default_factory=lambda: array("I"))


class Remembered:
    """All that is known of a store's manifests; see the module for how it stays true."""

    def __init__(self, store: "Store") -> None:
        self._store = store
        self.damaged: list[str] = []
        self._has_looked = False
        self._arrived: bool = False
        self._forget()
        if (body := kept(store.backend, PATH)) is not None:
            self._load(body)

    # --- what is known at a place --------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._of.ids)

    def id(self, place: int) -> str:
        """The manifest's id, empty for an input that was absent."""
        return "" if self._of.states[place] == ABSENT else self._of.ids[place]

    def asset(self, place: int) -> str:
        """The asset's name."""
        return str(self._names.values[self._of.assets[place]])

    def batch(self, place: int) -> str:
        """The batch's name."""
        return str(self._names.values[self._of.batches[place]])

    def version(self, place: int) -> str | None:
        """The version, None where none was made."""
        return self._of.versions[place]

    def state(self, place: int) -> int:
        """``ABSENT``, ``LOST``, ``REFUSED`` or ``ACCEPTED``."""
        return self._of.states[place]

    def made(self, place: int) -> int:
        """Which of ``circumstances`` it was made under."""
        return self._of.made[place]

    def when(self, place: int) -> str:
        """When it was made, an ISO time with zone."""
        return self._of.whens[place]

    def told(self, places: Iterable[int]) -> Iterator[tuple[Any, ...]]:
        """Of each place asset, batch, version, id, rows, bytes of the value, whether it was accepted, when it was made,
        how many checks passed, warned and failed, its sentences, and whether its record is here.

        All at once: asked one by one, 50,000 places would take several times as long.
        """
        of, names = self._of, self._names.values
        verdicts = [tuple(counts) for counts in self._verdicts.values]
        sentences = [tuple(said) for said in self._sentences.values]
        for place in places:
            yield (
                names[of.assets[place]],
                names[of.batches[place]],
                of.versions[place],
                of.ids[place],
                of.rows[place],
                of.sizes[place],
                of.states[place] == ACCEPTED,
                of.whens[place],
                verdicts[of.verdicts[place]],
                sentences[of.sentences[place]],
                of.states[place] >= REFUSED and place not in self._gone,
            )

    def rows(self, place: int) -> int | None:
        """Rows of a table."""
        return self._of.rows[place]

    def size(self, place: int) -> int:
        """Bytes of its value."""
        return self._of.sizes[place]

    def files(self, place: int) -> list[int]:
        """Which of ``known_files`` were read for it."""
        return self._of.files.get(place, [])

    def readers(self, files: Collection[int]) -> list[int]:
        """The places of versions that some of ``known_files`` were read for, as far as they are here."""
        wanted = set(files)
        return sorted(p for p, own in self._of.files.items() if not wanted.isdisjoint(own) and self.is_here(p))

    def inputs(self, place: int) -> "array[int]":
        """The places of what it was made from, in the order of the record."""
        start = self._of.ends[place - 1] if place else 0
        return self._of.edges[start : self._of.ends[place]]

    def is_here(self, place: int) -> bool:
        """Whether its record was in the store when that was last looked at."""
        return self._of.states[place] >= REFUSED and place not in self._gone

    @property
    def circumstances(self) -> list[Made]:
        """How versions were made, each way once."""
        return [Made(*values) for values in self._made.values]

    @property
    def known_files(self) -> list[File]:
        """Delivered files as manifests name them, each once."""
        return [File(*values) for values in self._files.values]

    def place(self, manifest: str) -> int | None:
        """Where a manifest stands, if it was read."""
        found = self._places.get(manifest)
        return found if found is not None and self._of.states[found] >= REFUSED else None

    def starting(self, digest: str) -> dict[str, list[int]]:
        """The places of manifests, and of versions, whose digests start with this one, by their digest."""
        found: dict[str, list[int]] = {}
        for column in (self._of.ids, self._of.versions):
            for place, name in enumerate(column):
                if name and name.startswith(digest) and self.is_here(place):
                    found.setdefault(name, []).append(place)
        return found

    def where(self, asset: str, batch: str | None = None) -> list[int]:
        """The places of all records of an asset, or of one batch of it, that are here."""
        wanted = [self._names.find(name) for name in ([asset] if batch is None else [asset, batch])]
        if None in wanted:
            return []
        of = self._of
        return [
            place
            for place, name in enumerate(of.assets)
            if name == wanted[0] and (batch is None or of.batches[place] == wanted[1]) and self.is_here(place)
        ]

    # --- walking -------------------------------------------------------------------------------------------------

    def above(self, starts: Iterable[int]) -> list[int]:
        """Places and all that they were made from, inputs first."""
        found = set(starts)
        waiting = list(found)
        while waiting:
            new = set(self.inputs(waiting.pop())) - found
            found |= new
            waiting += new
        return sorted(found)

    def below(self, starts: Iterable[int]) -> list[int]:
        """Everything that was made from these, however indirectly, without themselves."""
        found = set(starts)
        first = set(found)
        ends, edges = self._of.ends, self._of.edges
        for place in range(min(found, default=len(ends)) + 1, len(ends)):
            start, end = ends[place - 1], ends[place]
            if start != end and not found.isdisjoint(edges[start:end]):
                found.add(place)
        return sorted(place for place in found - first if self.is_here(place))

    # --- learning ------------------------------------------------------------------------------------------------

    def learn(self, wanted: Iterable[tuple[str, str, str]]) -> None:
        """Read the manifests of these (asset, batch, id) and of all that they were made from, as far as not known.

        A damaged record is named in ``damaged`` and left out; raises ``StoreError`` for one of a newer format.
        """
        wanted = list(wanted)
        records: dict[str, _Record] = {}
        waiting = {id_: (asset, batch) for asset, batch, id_ in wanted if self.place(id_) is None}
        waiting |= self._lost_above(id_ for _, _, id_ in wanted)
        while waiting:
            new = dict(self._read(waiting))
            records |= new
            waiting = {
                manifest: (asset, batch)
                for record in new.values()
                for asset, batch, _, manifest in record.inputs
                if manifest and manifest not in records and manifest not in self._places
            }
        if any(id_ in self._places for id_ in records):
            # what was only named so far stands before what it was made from: put everything in order again
            known = [(self.asset(p), self.batch(p), self.id(p)) for p in range(len(self)) if self.is_here(p)]
            self._forget()
            self.learn([*known, *((record.asset, record.batch, id_) for id_, record in records.items())])
        else:
            self._append(records)

    def ensure_look(self) -> None:
        """Look, unless that was done."""
        if not self._has_looked:
            self.look()

    def look(self) -> None:
        """Find every manifest that came or went since the last look, and read what is new."""
        self._has_looked = True
        changed = self._changed_folders()
        if not changed:
            return
        known: dict[tuple[str, str], list[int]] = {}
        if len(self):
            for place in range(len(self)):
                if self._of.states[place] >= REFUSED:
                    known.setdefault((self.asset(place), self.batch(place)), []).append(place)
        wanted = []
        for folder, names in changed.items():
            *asset, batch = (text(part) for part in folder.split("/")[1:])
            key = "/".join(asset), batch
            ids = {record_id(name) for name in names if name.startswith("b3-") and name.endswith(".json")}
            there = {place for place in known.get(key, ()) if self._of.ids[place] in ids}
            self._gone |= set(known.get(key, ())) - there
            self._gone -= there
            wanted += [(*key, id_) for id_ in ids if self.place(id_) is None]
        self._dirty = True
        self.learn(sorted(wanted))

    def arrivals(self) -> dict[str, list[Arrival]]:
        """Every entry of every ledger in order, by dataset, as they were when first asked for.

        Raises ``CorruptError`` where a ledger is broken.
        """
        for dataset in [] if self._arrived else datasets(self._store):
            last, entries = self._ledgers.get(dataset, ("", []))
            count = len(self._store.backend.children(f"deliveries/{segment(dataset)}")[1])
            if not entries or count < len(entries) or not self._continues(dataset, last, entries, count):
                # as a whole, with its chain: another copy's entries, or none read yet
                ledger = Ledger(self._store, dataset)
                found = [_arrival(entry) for entry in ledger.entries]
                if found != entries:
                    self._ledgers[dataset] = (bytes_digest(ledger.entries[-1].encode()) if found else "", found)
                    self._dirty = True
        self._arrived = True
        return {dataset: entries for dataset, (_, entries) in self._ledgers.items()}

    def shown(self, branch: str, assets: Iterable[str]) -> Iterator[int]:
        """The places of what a branch shows of some assets, as far as their records are here.

        A folder of heads changes with each of them, so that those of assets that stand still are not read again.
        """
        store = self._store
        base = store.branch(branch).base
        settled = time.time_ns() - _SETTLED
        stamps: dict[str, dict[str, int]] = {}
        for asset in assets:
            folder, _, name = f"heads/{segment(branch)}/{asset_path(asset)}".rpartition("/")
            if folder not in stamps:
                stamps[folder] = dict(store.backend.stamps(folder) or ())
            stamp = stamps[folder].get(name, 0)
            key = f"{folder}/{name} {base.get(asset, '')}"
            seen, places = self._shown.get(key, (0, []))
            if not stamp or stamp != seen:
                found = (self.place(leaf.manifest) for leaf in store.leaves(branch, asset).values())
                places = [place for place in found if place is not None]
                if stamp and stamp < settled:
                    self._shown[key] = (stamp, places)
                    self._dirty = True
            yield from places

    def save(self) -> None:
        """Keep what is known for the next question; a place that cannot be written to is left as it is."""
        if self._dirty:
            keep(self._store.backend, PATH, self._encode())
            self._dirty = False

    # --- inside --------------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        self._of = _Columns()
        self._names = _Names([])
        self._made = _Pool([])
        self._verdicts = _Pool([])
        self._sentences = _Pool([])
        self._files = _Pool([])
        self._places: dict[str, int] = {}
        self._gone: set[int] = set()
        self._folders: dict[str, int] = {}
        self._inner: set[str] = set()
        self._ledgers: dict[str, tuple[str, list[Arrival]]] = {}
        self._shown: dict[str, tuple[int, list[int]]] = {}
        self._arrived = False
        self._dirty = False

    def _lost_above(self, ids: Iterable[str]) -> dict[str, tuple[str, str]]:
        """What was named by these, however indirectly, and could not be read so far: it may have been fetched since."""
        if LOST not in self._of.states:
            return {}
        starts = [self._places[id_] for id_ in ids if id_ in self._places]
        lost = [place for place in self.above(starts) if self._of.states[place] == LOST]
        return {self._of.ids[place]: (self.asset(place), self.batch(place)) for place in lost}

    def _read(self, wanted: Mapping[str, tuple[str, str]]) -> Iterator[tuple[str, _Record]]:
        paths = [manifest_path(asset, batch, id_) for id_, (asset, batch) in wanted.items()]
        for (id_, place), path, data in zip(wanted.items(), paths, self._store.backend.read_many(paths), strict=True):
            if data is None:
                continue
            where = self._store.where(path)
            if bytes_digest(data) != id_:
                self.damaged.append(f"The manifest {where} is damaged; {FROM_ANOTHER}.")
                continue
            record = orjson.loads(data)
            if record["format"] > MANIFEST_FORMAT or (record["asset"], record["batch"]) != place:
                read_manifest(data, id_, where)
                self.damaged.append(f"{where} is the manifest of {record['asset']}[{record['batch']}]; put it back.")
                continue
            yield id_, self._slim(record)

    def _slim(self, record: Mapping[str, Any]) -> _Record:
        git = record["git"]
        verdicts = [0, 0, 0]
        for verdict in record["verdicts"]:
            passed, blocks = verdict.get("passed"), verdict.get("severity") == "block"
            verdicts[0 if passed else 2 if blocks else 1] += 1
        made = Made(
            record["kind"],
            record["code_version"],
            str(git.get("commit") or ""),
            bool(git.get("dirty")),
            record["environment"],
            record["settings"],
            record["seed"],
            record["run_id"],
            record["who"],
        )
        return _Record(
            record["asset"],
            record["batch"],
            record["version"],
            self._made.place(list(made)),
            record["when"],
            record["rows"],
            record["blob"]["size"] if record["blob"] else 0,
            self._verdicts.place(verdicts),
            self._sentences.place(record["sentences"]),
            record["accepted"],
            tuple((item["asset"], item["partition"], item["version"], item["manifest"]) for item in record["inputs"]),
            tuple(
                self._files.place([file.get("name", ""), file.get("size", 0), file.get("sha256", "")])
                for file in record["files"]
            ),
        )

    def _append(self, records: Mapping[str, _Record]) -> None:
        of = self._of
        for id_ in _inputs_first(records):
            record = records[id_]
            inputs = [self._named(*item) for item in record.inputs]
            place = self._add(id_, record.asset, record.batch, record.version, inputs)
            of.made[place], of.whens[place], of.rows[place] = record.made, record.when, record.rows
            of.sizes[place], of.verdicts[place] = record.size, record.verdicts
            of.sentences[place] = record.sentences
            of.states[place] = ACCEPTED if record.accepted else REFUSED
            if record.files:
                of.files[place] = list(record.files)
            self._dirty = True

    def _named(self, asset: str, batch: str, version: str | None, manifest: str | None) -> int:
        """The place of an input, made if nothing is known of it."""
        key = manifest or f"{asset}[{batch}]"
        found = self._places.get(key)
        if found is None:
            found = self._add(key, asset, batch, version, ())
            self._of.states[found] = LOST if manifest else ABSENT
        return found

    def _add(self, key: str, asset: str, batch: str, version: str | None, inputs: Sequence[int]) -> int:
        of = self._of
        place = self._places[key] = len(of.ids)
        of.ids.append(key)
        of.assets.append(self._names.place(asset))
        of.batches.append(self._names.place(batch))
        of.versions.append(version)
        for column in (of.made, of.sizes, of.verdicts, of.sentences, of.states):
            column.append(0)
        of.whens.append("")
        of.rows.append(None)
        of.edges.extend(inputs)
        of.ends.append(len(of.edges))
        return place

    def _changed_folders(self) -> dict[str, list[str]]:
        """The files of each folder that is not as it was; empty lists for folders that are gone."""
        backend = self._store.backend
        found: dict[str, list[str]] = {}
        if backend.stamps("meta") is None:
            for entry in backend.entries("meta"):
                folder, _, name = entry.path.rpartition("/")
                found.setdefault(folder, []).append(name)
            for place in range(len(self)):
                found.setdefault(f"meta/{asset_path(self.asset(place))}/{segment(self.batch(place))}", [])
            return found
        settled = time.time_ns() - _SETTLED
        seen: dict[str, int] = {}
        waiting = ["meta"]
        while waiting:
            folder = waiting.pop()
            for name, stamp in backend.stamps(folder) or ():
                path = f"{folder}/{name}"
                if path in self._inner:
                    waiting.append(path)
                if self._folders.get(path) == stamp:
                    seen[path] = stamp
                    continue
                folders, names = backend.children(path)
                if folders and path not in self._inner:
                    self._inner.add(path)
                    waiting.append(path)
                # what changes within a clock's grain after this look would go unseen
                seen[path] = stamp if stamp < settled else 0
                if names or path not in self._inner:
                    found[path] = names
        found |= {path: [] for path in self._folders.keys() - seen.keys() if path not in self._inner}
        self._dirty |= self._folders != seen
        self._folders = seen
        return found

    def _continues(self, dataset: str, last: str, entries: list[Arrival], count: int) -> bool:
        """Take over the entries that came since; whether the ledger goes on from the last one that is known."""
        numbers = range(len(entries), count + 1)
        paths = [entry_path(dataset, number) for number in numbers]
        digest = last
        new: list[Arrival] = []
        for path, data in zip(paths, self._store.backend.read_many(paths), strict=True):
            if data is None:
                return False
            if path == paths[0]:
                if bytes_digest(data) != last:
                    return False
                continue
            entry = Delivery.decode(data, self._store.where(path))
            if entry.previous != digest:
                return False
            digest = bytes_digest(data)
            new.append(_arrival(entry))
        if new:
            self._ledgers[dataset] = (digest, [*entries, *new])
            self._dirty = True
        return True

    def _encode(self) -> bytes:
        of = self._of
        header = {
            "format": FORMAT,
            "order": sys.byteorder,
            "width": of.edges.itemsize,
            **{name: getattr(of, name) for name in _COLUMNS},
            "files_of": [list(of.files), list(of.files.values())],
            "names": self._names.values,
            "circumstances": self._made.values,
            "audits": self._verdicts.values,
            "notes": self._sentences.values,
            "files": self._files.values,
            "gone": sorted(self._gone),
            "folders": [list(self._folders), list(self._folders.values())],
            "inner": sorted(self._inner),
            "shown": {key: list(found) for key, found in self._shown.items()},
            "ledgers": {
                name: [last, [list(entry) for entry in entries]] for name, (last, entries) in self._ledgers.items()
            },
        }
        plain = orjson.dumps(header)
        return b"%b%b%b%b" % (len(plain).to_bytes(_LENGTH), plain, of.ends.tobytes(), of.edges.tobytes())

    def _load(self, body: memoryview) -> None:
        """Take over what a file holds; nothing from one of another format or machine."""
        length, rest = int.from_bytes(body[:_LENGTH]), body[_LENGTH:]
        if length > len(rest):
            # format 1 said it in digits
            return
        header = orjson.loads(rest[:length])
        of = self._of
        if (header["format"], header["order"], header["width"]) != (FORMAT, sys.byteorder, of.edges.itemsize):
            return
        for name in _COLUMNS:
            setattr(of, name, header[name])
        of.files = dict(zip(*header["files_of"], strict=True))
        numbers = rest[length:]
        middle = len(of.ids) * of.ends.itemsize
        of.ends.frombytes(numbers[:middle])
        of.edges.frombytes(numbers[middle:])
        self._names = _Names(header["names"])
        self._made, self._verdicts = _Pool(header["circumstances"]), _Pool(header["audits"])
        self._sentences, self._files = _Pool(header["notes"]), _Pool(header["files"])
        self._places = {id_: place for place, id_ in enumerate(of.ids)}
        self._gone = set(header["gone"])
        self._folders = dict(zip(*header["folders"], strict=True))
        self._inner = set(header["inner"])
        self._shown = {key: (stamp, places) for key, (stamp, places) in header["shown"].items()}
        self._ledgers = {
            name: (last, [Arrival(*entry) for entry in entries]) for name, (last, entries) in header["ledgers"].items()
        }


class _Names(_Pool):
    """Names of assets and batches."""

    def find(self, name: str) -> int | None:
        """Where a name stands, if it does."""
        return self.values.index(name) if name in self.values else None


def _arrival(entry: Delivery) -> Arrival:
    return Arrival(
        entry.source,
        entry.name,
        entry.blob.sha256,
        entry.blob.size,
        entry.seq,
        entry.arrived,
        entry.who,
        entry.duplicate_of,
    )


def _inputs_first(records: Mapping[str, _Record]) -> Iterator[str]:
    """The records' ids, each after those that it was made from."""
    seen: set[str] = set()
    for first in records:
        stack = [(first, False)]
        while stack:
            id_, done = stack.pop()
            if done:
                yield id_
            elif id_ not in seen:
                seen.add(id_)
                stack.append((id_, True))
                above = [manifest for _, _, _, manifest in records[id_].inputs if manifest is not None]
                stack += [(name, False) for name in above if name in records and name not in seen]
