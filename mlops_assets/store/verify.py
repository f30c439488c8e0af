"""Is everything that was written still there, and what stands on what is not: ``git fsck`` for data.

What belongs here: looking at every file of a store, and saying what is wrong with it. Nothing is changed. What does
not: mending (``repair``), or what may be thrown away (``garbage``).

A file of a value is in one of four states: sound; purged (a tombstone or the record of a purge says so); dropped (gc
wrote down that it took it, and nothing that is shown needs it); or broken. What was fetched in part may lack files that
are at the remote; they are counted, and are not broken.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

from mlops_assets.errors import CorruptError, NotStoredError, StoreError, UserError
from mlops_assets.store.backend import Entry, Written
from mlops_assets.store.blobs import BLOB, place_name
from mlops_assets.store.branches import Protection
from mlops_assets.store.branching import removed_folder
from mlops_assets.store.changes import read_change
from mlops_assets.store.deliveries import Delivery
from mlops_assets.store.digest import bytes_digest, parse_json, unsealed
from mlops_assets.store.formats import FROM_ANOTHER
from mlops_assets.store.heads import Head, Move
from mlops_assets.store.manifest import Blob
from mlops_assets.store.names import asset_path, segment, text
from mlops_assets.store.reach import Reach, Record, Slot, collected, contents, ledger_entries
from mlops_assets.store.records import manifest_path, record_id
from mlops_assets.store.store import Store, branch_path, head_path, move_path
from mlops_assets.wording import counted

Progress = Callable[[str, int, int], None]
"""Told what is done, how much of it, and of how much; bytes where files are read, else files."""

KNOWN = {"FORMAT", "branches", "cache", "changes", "collected", "data", "deliveries", "heads", "locks", "meta", "moves"}
KNOWN |= {
    "deleted-branches",
    "deleted-tags",
    "protected",
    "purges",
    "received",
    "remotes",
    "tags",
    "tombstones",
    "trash",
    "trees",
}
"""What may stand at the top of a store."""

_THREADS = 4


@dataclass
class Problem:
    """Something that is broken.

    ``what`` is ``value``, ``file`` (an attachment or delivered file), ``manifest``, ``head``, ``move``, ``tree``,
    ``tag``, ``branch``, ``protection``, ``change``, ``remote``, ``delivery``, ``tombstone``, ``purge``, ``erased``
    (content that came back) or ``published`` (a Delta table). ``path`` is relative to the store. ``stands_on_it`` names
    versions, who shows them, and what was made from them.
    """

    what: str
    path: str
    sentence: str
    stands_on_it: list[str] = field(default_factory=list)
    manifests: set[str] = field(default_factory=set, repr=False)
    expected: set[Written] = field(default_factory=set, repr=False)
    lost: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "what": self.what,
            "path": self.path,
            "sentence": self.sentence,
            "lost": self.lost,
            "stands_on_it": self.stands_on_it,
        }


@dataclass
class Report:
    """What came of a look at ``store``.

    ``checked`` counts files by kind, ``bytes`` are those that were read in full. ``purged`` maps purges to the paths
    that they erased and that something still names. ``dropped`` counts values that gc took, ``elsewhere`` those that
    are at a remote, ``unnamed`` files that no record names, ``unfinished`` moves that a crash left, or another copy
    made. ``unknown`` are files that no store writes, ``litter`` what killed writers left, ``aside`` what stands in
    ``trash``. ``notes`` are sentences about what is no damage.
    """

    store: str
    deep: bool
    content: bool
    checked: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    problems: list[Problem] = field(default_factory=list)
    purged: dict[str, list[str]] = field(default_factory=dict)
    dropped: int = 0
    elsewhere: int = 0
    unnamed: int = 0
    unfinished: int = 0
    unknown: list[str] = field(default_factory=list)
    litter: dict[str, int] = field(default_factory=lambda: {"files": 0, "bytes": 0})
    aside: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether nothing is broken."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "store": self.store,
            "sound": self.sound,
            "deep": self.deep,
            "content": self.content,
            "checked": self.checked,
            "bytes": self.bytes,
            "problems": [problem.to_dict() for problem in self.problems],
            "purged": self.purged,
            "dropped": self.dropped,
            "elsewhere": self.elsewhere,
            "unnamed": self.unnamed,
            "unfinished": self.unfinished,
            "unknown": self.unknown,
            "litter": self.litter,
            "aside": self.aside,
            "notes": self.notes,
        }


def verify(
    store: Store,
    deep: bool = True,
    content: bool = False,
    assets: Iterable[str] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Look at everything, or at the values, records, heads and moves of some ``assets`` (or datasets) alone.

    ``deep`` reads every file and compares its sha256, else sizes are compared; ``content`` also decodes every value and
    compares its version. Raises ``StoreError`` only for what the place refuses: damage is in the report.
    """
    return _Look(store, Report(store.backend.url, deep, content), assets, progress or _quiet).run()


@dataclass
class _File:
    """What records say of one file: its possible bytes, and what it is to whom."""

    what: str
    blob: Blob
    name: str
    expected: set[Written]
    manifests: set[str]
    entries: set[str] = field(default_factory=set)
    """Deliveries that name it."""


class _Look:
    def __init__(self, store: Store, report: Report, assets: Iterable[str] | None, progress: Progress) -> None:
        self.store = store
        self.report = report
        self.progress = progress
        self.only = None if assets is None else tuple(assets)
        self.stones: dict[str, Mapping[str, Any]] = {}
        self.files: dict[str, _File] = {}
        self.erased: dict[str, str] = {}
        self.here: dict[str, Entry] = {}
        self._without_manifest: set[str] = set()
        self._aside: set[str] = set()
        self._moved_to: set[str] = set()
        self._without_head: list[str] = []
        self.reach = Reach(store)

    def run(self) -> Report:
        for name in self.only or ():
            if not any(any(self.store.backend.children(f"{top}/{asset_path(name)}")) for top in ("meta", "data")):
                raise NotStoredError(f"There is no asset and no dataset {name!r} in {self.store}.")
        self.progress("records", 0, 0)
        self._format()
        self._stones()
        self.reach = Reach.of(self.store, self._tell)
        self._purges()
        self._heads()
        self._trees()
        self._moves()
        self._inputs()
        self._intents()
        self._protections()
        self._deliveries()
        self._list()
        self._name()
        self._values()
        self._published()
        self._count()
        self._say_what_stands()
        self.report.problems.sort(key=lambda problem: (problem.what, problem.path))
        return self.report

    # --- records -------------------------------------------------------------------------------------------------

    def _tell(self, what: str, path: str, trouble: UserError) -> None:
        asset = _asset_of(path)
        if asset is None or self._wanted(asset):
            problem = self._problem(what, path, " ".join(trouble.sentences))
            if what == "manifest":
                self._without_manifest.add(path)
                problem.manifests = {record_id(path.rpartition("/")[2])}
            problem.lost = self.store.backend.stat(path) is None

    def _problem(self, what: str, path: str, sentence: str, manifests: Iterable[str] = ()) -> Problem:
        problem = Problem(what, path, sentence, manifests=set(manifests))
        self.report.problems.append(problem)
        return problem

    def _wanted(self, asset: str) -> bool:
        return self.only is None or any(asset == name or asset.startswith(f"{name}/") for name in self.only)

    def _counted(self, what: str, count: int) -> None:
        self.report.checked[what] = self.report.checked.get(what, 0) + count

    def _format(self) -> None:
        try:
            number = self.store.backend.read("FORMAT").strip()
        except FileNotFoundError:
            number = b""
        if not number.isdigit():
            self._problem(
                "format", "FORMAT", f"{self.store.where('FORMAT')} holds no number; write the store's format."
            )

    def _stones(self) -> None:
        for path, data in contents(self.store, "tombstones"):
            name = path.rpartition("/")[2].removesuffix(".json")
            name = name.replace("-", ":", 1) if name.startswith("b3-") else name
            try:
                stone = dict(parse_json(unsealed(data)))
                _ = stone["purge"], stone["when"]
            except (ValueError, TypeError, KeyError):
                sentence = f"The tombstone {self.store.where(path)} is not one as the store writes it; {FROM_ANOTHER}."
                self._problem("tombstone", path, sentence)
            else:
                self.stones[name] = stone
        self._counted("tombstones", len(self.stones))

    def _purges(self) -> None:
        for id_, record in self.reach.purges.items():
            for item in record["erased"]:
                self.erased[item["path"]] = id_
            if not record["done"]:
                self._problem(
                    "purge",
                    f"purges/{segment(id_)}.json",
                    f"The purge {id_} was begun on {record['when']} and did not come to its end: rows that had to "
                    f"go may still be readable. Finish it with: mlops-assets purge --resume {id_}",
                )
        self._counted("purges", len(self.reach.purges))

    def _heads(self) -> None:
        heads = {slot: head for slot, head in self.reach.heads.items() if self._wanted(slot[1])}
        strays: dict[str, int] = {}
        removed: dict[str, int] = {}
        for (branch, asset, batch), head in heads.items():
            path = head_path(branch, asset, batch)
            if branch not in self.reach.branches and self.store.backend.stat(branch_path(branch)) is None:
                which = removed if self._was_removed(head, branch) else strays
                which[branch] = which.get(branch, 0) + 1
            elif head.manifest:
                self._shown("head", path, head)
        for branch, count in strays.items():
            self._problem(
                "branch",
                branch_path(branch),
                f"{counted(count, 'head')} of a branch {branch!r}, and no file says what it starts from; "
                f"{FROM_ANOTHER}, or take what is left of it away with: mlops-assets branch --delete {branch}",
            ).lost = True
        for branch, count in removed.items():
            self.report.notes.append(
                f"The branch {branch!r} was being removed when that was interrupted: {count} heads of it are left, "
                f"which nobody sees. Finish it with: mlops-assets branch --delete {branch}"
            )
        self._counted("heads", len(heads))

    def _was_removed(self, head: Head, branch: str) -> bool:
        """Whether a head without a branch stood there when a branch of that name was removed."""
        folder = removed_folder(branch)
        try:
            stood = self.store.move_record(branch, head.asset, head.batch, head.move).when
            records = [
                parse_json(unsealed(data))
                for data in self.store.backend.read_many(
                    [f"{folder}/{name}" for name in self.store.backend.children(folder)[1]]
                )
                if data is not None
            ]
            return any(record["when"] >= stood for record in records)
        except (StoreError, ValueError, TypeError, KeyError):
            return False

    def _shown(self, what: str, path: str, head: Head) -> None:
        where = f"The head {self.store.where(path)}"
        record = self.reach.records.get(head.manifest)
        if record is None:
            self._no_manifest(head.asset, head.batch, head.manifest, where)
        elif (record.asset, record.batch) != (head.asset, head.batch):
            self._problem(what, path, f"{where} shows a version of {record.asset}[{record.batch}]; restore the head.")
        elif not record.accepted or record.leaf is None:
            self._problem(
                what, path, f"{where} shows a version that was refused; move it back with: mlops-assets restore"
            )
        elif (head.leaf if head.kind else head.leaf[:3]) != (record.leaf if head.kind else record.leaf[:3]):
            self._problem(what, path, f"{where} says something else than the manifest it shows; {FROM_ANOTHER}.")

    def _no_manifest(self, asset: str, batch: str, manifest: str, who: str) -> None:
        path = manifest_path(asset, batch, manifest)
        if manifest in self.reach.elsewhere:
            self.report.elsewhere += 1
        elif path not in self._without_manifest:
            self._without_manifest.add(path)
            who = f"{who[:1].lower()}{who[1:]}"
            sentence = f"The manifest {self.store.where(path)} is lost, which {who} names; {FROM_ANOTHER}."
            self._problem("manifest", path, sentence, {manifest}).lost = True

    def _trees(self) -> None:
        count = 0
        for tree, leaves in self.reach.leaves.items():
            holders = self.reach.trees[tree]
            who = f"{holders[0]}"
            asset = self.reach.asset_of(tree)
            if not self._wanted(asset):
                continue
            count += 1
            path = f"trees/{tree.replace(':', '-')}.json"
            for batch, leaf in leaves.items():
                record = self.reach.records.get(leaf.manifest)
                if record is None:
                    self._no_manifest(asset, batch, leaf.manifest, who)
                elif record.leaf != leaf or (record.asset, record.batch) != (asset, batch):
                    sentence = (
                        f"The tree {self.store.where(path)} of {who} says something else of {asset}[{batch}] than its "
                        f"manifest; {FROM_ANOTHER}."
                    )
                    self._problem("tree", path, sentence, {leaf.manifest})
                    break
        self._counted("trees", count)
        self._counted(
            "tags", len({holder for holders in self.reach.trees.values() for holder in holders if holder.kind == "tag"})
        )
        self._counted("branches", len(self.reach.branches))

    def _inputs(self) -> None:
        """Manifests that others were made from and that are not there: provenance that breaks off."""
        absent = 0
        records = [record for record in self.reach.records.values() if self._wanted(record.asset)]
        self._counted("manifests", len(records))
        for record in records:
            for id_ in record.inputs:
                if id_ not in self.reach.records:
                    absent += 1
                    # of a copy that was broken off, records may have come before their inputs': nothing leads to them
                    if not self.reach.copied and (record.id in self.reach.required or record.id in self._moved_to):
                        self._lost_input(record, id_)
        if absent and self.reach.copied:
            self.report.notes.append(
                f"{absent} recorded inputs have no manifest here: what stands on them was fetched without them."
            )

    def _lost_input(self, record: Record, id_: str) -> None:
        manifest = self.store.manifest(record.asset, record.batch, record.id)
        found = next(item for item in manifest.inputs if item.manifest == id_)
        self._no_manifest(found.asset, found.partition, id_, f"{record}")

    def _intents(self) -> None:
        for change in self.reach.intents:
            self.report.notes.append(
                f"The change {change} is not finished. If nobody is running it: mlops-assets merge --continue {change}"
            )
        names = self.store.backend.children("changes")[1]
        self._counted("changes", sum(name.endswith(".json") for name in names))
        told = {problem.path for problem in self.report.problems}
        for id_ in [name.removesuffix(".done") for name in names if name.endswith(".done")]:
            # a copy brings the end of a change before its beginning, so that nobody sees it open
            if f"{id_}.json" in names and f"changes/{id_}.json" not in told:
                try:
                    read_change(self.store, id_)
                except UserError as trouble:
                    self._tell("change", f"changes/{id_}.done", trouble)

    def _protections(self) -> None:
        for path, data in contents(self.store, "protected"):
            try:
                Protection.decode(data, self.store.where(path))
            except UserError as trouble:
                self._tell("protection", path, trouble)

    # --- moves and deliveries ------------------------------------------------------------------------------------

    def _moves(self) -> None:
        chains: dict[Slot, dict[str, Move]] = {}
        count = 0
        for path, data in contents(self.store, "moves"):
            parts = path.split("/")[1:]
            asset = "/".join(text(part) for part in parts[1:-2])
            if not self._wanted(asset):
                continue
            count += 1
            slot = (text(parts[0]), asset, text(parts[-2]))
            id_ = record_id(parts[-1])
            where = f"The record {self.store.where(path)} of a move"
            try:
                if bytes_digest(data) != id_:
                    raise CorruptError(f"{where} is damaged; {FROM_ANOTHER}.")
                move = Move.decode(data, where)
                if (move.branch, move.asset, move.batch) != slot:
                    raise CorruptError(f"{where} belongs to {move.asset}[{move.batch}] on {move.branch}; put it back.")
            except UserError as trouble:
                self._tell("move", path, trouble)
            else:
                chains.setdefault(slot, {})[id_] = move
                self._moved_to.add(move.to_manifest)
            if not count % 5000:
                self.progress("moves", count, 0)
        self._counted("moves", count)
        broken = {problem.path for problem in self.report.problems}
        for slot, head in self.reach.heads.items():
            if self._wanted(slot[1]):
                self._chain(slot, head, chains.pop(slot, {}), broken)
        for slot, moves in chains.items():
            self._headless(slot, moves, broken)

    def _chain(self, slot: Slot, head: Head, moves: dict[str, Move], broken: set[str]) -> None:
        next_: str | None = head.move
        chain: list[Move] = []
        while next_:
            move = moves.pop(next_, None)
            path = move_path(*slot, next_)
            if move is None:
                if path not in broken:
                    problem = self._problem(
                        "move", path, f"The record {self.store.where(path)} of a move is lost; {FROM_ANOTHER}."
                    )
                    problem.lost = True
                return
            chain.append(move)
            next_ = move.previous
        self.report.unfinished += len(moves)
        if not chain:
            return
        newest, path = chain[0], head_path(*slot)
        if (newest.seq, newest.to_manifest, newest.attempt) != (head.seq, head.manifest, head.attempt):
            sentence = (
                f"The head {self.store.where(path)} says something else than its move {newest.seq}; {FROM_ANOTHER}."
            )
            self._problem("head", path, sentence, {head.manifest} - {""})
        for newer, older in pairwise(chain):
            if newer.seq != older.seq + 1 or newer.from_manifest != (older.to_manifest or None):
                path = move_path(*slot, newer.id)
                sentence = f"The move {self.store.where(path)} does not follow the one before it; {FROM_ANOTHER}."
                self._problem("move", path, sentence)
        if chain[-1].seq != 1:
            path = move_path(*slot, chain[-1].id)
            self._problem("move", path, f"The moves before {self.store.where(path)} are lost; {FROM_ANOTHER}.")

    def _headless(self, slot: Slot, moves: Mapping[str, Move], broken: set[str]) -> None:
        """Moves without a head: a crash before the first head, a branch that is gone, or a head that was lost."""
        path = head_path(*slot)
        if slot[0] not in self.reach.branches or path in broken:
            return
        # what an earlier branch of that name did is over
        since = self.store.branch(slot[0]).when
        moves = {id_: move for id_, move in moves.items() if move.when >= since}
        if moves and self.reach.received:
            self._without_head.append(f"{slot[0]}: {slot[1]}[{slot[2]}]")
            return
        # whoever made a second move had seen the head that the first one made
        if any(move.seq > 1 for move in moves.values()):
            newest = max(moves.values(), key=lambda move: move.seq)
            problem = self._problem(
                "head",
                path,
                f"The head {self.store.where(path)} is lost: there are {newest.seq} moves of it. "
                "Rebuild it with: mlops-assets repair",
                {newest.to_manifest} - {""},
            )
            problem.lost = True
        else:
            self.report.unfinished += len(moves)

    def _deliveries(self) -> None:
        ledgers: dict[str, list[tuple[str, bytes]]] = {}
        for path, data in ledger_entries(self.store):
            ledgers.setdefault(path.rpartition("/")[0], []).append((path, data))
        for folder, entries in ledgers.items():
            if self._wanted(text(folder.rpartition("/")[2])):
                self._ledger(entries)
                self._counted("deliveries", len(entries))

    def _ledger(self, entries: list[tuple[str, bytes]]) -> None:
        previous: str | None = None
        for number, (path, data) in enumerate(entries, 1):
            try:
                entry = Delivery.decode(data, f"The entry {self.store.where(path)}")
            except UserError as trouble:
                self._tell("delivery", path, trouble)
                return
            if entry.seq != number:
                lost = path.rpartition("/")[0] + f"/{number:010d}.json"
                sentence = f"The entry {self.store.where(lost)} of the ledger is lost; {FROM_ANOTHER}."
                self._problem("delivery", lost, sentence).lost = True
                return
            if entry.previous != previous:
                sentence = (
                    f"The entry {self.store.where(path)} does not follow the one before it: an entry was changed or "
                    f"put in by hand; {FROM_ANOTHER}."
                )
                self._problem("delivery", path, sentence)
                return
            previous = bytes_digest(data)
            try:
                file = self._names("file", entry.blob, f"sha256-{entry.blob.sha256}")
            except CorruptError as trouble:
                self._tell("delivery", path, trouble)
            else:
                file.entries.add(f"delivery {entry.seq} ({entry.name})")

    # --- files of values -----------------------------------------------------------------------------------------

    def _list(self) -> None:
        """Every file, after everything that names one was read."""
        for entry in self.store.backend.entries(""):
            top, _, rest = entry.path.partition("/")
            if top == "data":
                if BLOB.fullmatch(entry.path.rpartition("/")[2]) and "/p=" in entry.path:
                    self.here[entry.path] = entry
                elif "/_delta_log/" not in entry.path:
                    self.report.unknown.append(entry.path)
            elif top == "trash":
                self.report.aside += 1
                self._aside.add(rest.partition("/")[2])
            elif top not in KNOWN or (not rest and top != "FORMAT"):
                self.report.unknown.append(entry.path)
        self.report.unknown.sort()
        for entry in self.store.backend.litter():
            self.report.litter["files"] += 1
            self.report.litter["bytes"] += entry.size

    def _names(self, what: str, blob: Blob, name: str, manifest: str | None = None) -> _File:
        self.store.inside(blob)
        file = self.files.setdefault(blob.path, _File(what, blob, name, set(), set()))
        file.expected.add(Written(blob.size, blob.sha256))
        if manifest:
            file.manifests.add(manifest)
        return file

    def _name(self) -> None:
        for record in self.reach.records.values():
            if self._wanted(record.asset):
                try:
                    if record.blob and record.leaf:
                        self._names("value", record.blob, record.leaf.version, record.id)
                    for blob in (*record.attached, *record.raw):
                        self._names("file", blob, f"sha256-{blob.sha256}", record.id)
                except CorruptError as trouble:
                    self._tell("manifest", record.path, trouble)

    def _values(self) -> None:
        dropped = collected(self.store)
        there: list[_File] = []
        for path, file in self.files.items():
            if path not in self.here:
                self._missing(file, dropped)
                continue
            if stone := self.stones.get(file.name):
                self._problem(
                    "erased",
                    path,
                    f"{self.store.where(path)} is here again, though its content was erased by purge {stone['purge']}. "
                    f"Erase it with: mlops-assets purge --resume {stone['purge']}",
                    file.manifests,
                )
            else:
                there.append(file)
        self._counted("values", sum(file.what == "value" for file in there))
        self._counted("files", sum(file.what == "file" for file in there))
        self.report.unnamed += sum(path not in self.files and self._wanted(_asset_of(path) or "") for path in self.here)
        total = sum(self.here[file.blob.path].size for file in there)
        if not (self.report.deep or self.report.content):
            for file in there:
                self._judge(file, None)
            return
        done = 0
        # hashing releases the interpreter, and an object store has to be waited for
        with ThreadPoolExecutor(_THREADS) as pool:
            for file, found in zip(there, pool.map(self._fingerprint, there), strict=True):
                self._judge(file, found)
                done += self.here[file.blob.path].size
                self.progress("bytes", done, total)
        self.report.bytes = done

    def _fingerprint(self, file: _File) -> Written | None:
        size = self.here[file.blob.path].size
        if all(size != expected.size for expected in file.expected):
            return Written(size, "")
        try:
            return self.store.backend.fingerprint(file.blob.path)
        except FileNotFoundError:
            return None

    def _missing(self, file: _File, dropped: Mapping[str, str]) -> None:
        path = file.blob.path
        stone = self.stones.get(file.name) or self.stones.get(place_name(path))
        purge = self.erased.get(path) or (stone and str(stone["purge"]))
        if purge:
            self._erased(file, purge)
            return
        must = self._must
        if not (file.manifests & must) and not file.entries:
            if path in dropped or path in self._aside:
                # a gc that runs, or was interrupted, has not written down yet what it takes
                self.report.dropped += 1
                return
            if self.reach.received:
                # a push brings the records of all history, also of values that gc had taken where it came from
                self.report.elsewhere += 1
                return
        if self.store.backend.stat(path):
            # it was written, or put back, while we looked
            return
        who = self._owner(file)
        problem = self._problem(file.what, path, f"{who} has lost its file {self.store.where(path)}.", file.manifests)
        problem.expected, problem.lost = file.expected, True

    @cached_property
    def _must(self) -> set[str]:
        """The manifests whose files have to be here, whatever gc or a remote says."""
        return (self.reach.shown if self.reach.copied else self.reach.required) - self.reach.elsewhere

    def _erased(self, file: _File, purge: str) -> None:
        self.report.purged.setdefault(purge, []).append(file.blob.path)
        if file.what != "value":
            return
        for slot, head in self.reach.heads.items():
            if head.manifest in file.manifests and slot[0] in self.reach.branches:
                path = head_path(*slot)
                self._problem(
                    "head",
                    path,
                    f"The head {self.store.where(path)} shows a version that purge {purge} erased; "
                    f"move it to the replacement with: mlops-assets purge --resume {purge}",
                    file.manifests,
                )

    def _judge(self, file: _File, found: Written | None) -> None:
        path = file.blob.path
        size = self.here[path].size
        if found is None and self.report.deep:
            self._missing(file, {})
            return
        sound = found in file.expected if found else any(size == expected.size for expected in file.expected)
        if not sound:
            expected = min(file.expected)
            actual = f"{size} bytes" + (f" (sha256 {found.sha256[:12]}...)" if found and found.sha256 else "")
            sentence = (
                f"{self._owner(file)} is damaged: {self.store.where(path)} has {actual}, {expected.size} (sha256 "
                f"{expected.sha256[:12]}...) were written."
            )
        elif self.report.content and file.what == "value" and found and (wrong := self._decoded(file, found)):
            sentence = f"{self._owner(file)} is not what was written: {wrong}"
        else:
            return
        self._problem(file.what, path, sentence, file.manifests).expected = file.expected

    def _decoded(self, file: _File, found: Written) -> str:
        from mlops_assets.store import values

        record = self.reach.records[min(file.manifests)]
        assert record.leaf is not None
        kind: Any = record.leaf.kind
        try:
            value = values.decode(kind, self.store.backend.local(file.blob.path, found))
        except UserError as trouble:
            return " ".join(trouble.sentences)
        same = values.digest(kind, value) == file.name
        return "" if same else f"the content of {self.store.where(file.blob.path)} has another version."

    def _owner(self, file: _File) -> str:
        if file.manifests:
            record = self.reach.records[min(file.manifests)]
            return f"{record}" if file.what == "value" else f"A file of {record.asset}[{record.batch}]"
        return min(file.entries).capitalize()

    # --- published tables, and what stands on what ----------------------------------------------------------------

    def _published(self) -> None:
        names = sorted({entry for entry in self._logs() if self._wanted(entry)})
        if names and "://" in self.store.backend.url:
            self.report.notes.append(
                "Published Delta tables were not looked at: their logs are read on a local disk only."
            )
            return
        from mlops_assets.store import delta

        for asset in names:
            folder = f"data/{asset_path(asset)}"
            try:
                paths = delta.published_paths(self.store.root / folder)
            except StoreError as trouble:
                self._tell("published", f"{folder}/_delta_log", trouble)
                continue
            gone = [path for path in (f"{folder}/{name}" for name in paths) if path not in self.here]
            for path in sorted(gone):
                if path in self.erased:
                    self.report.purged.setdefault(self.erased[path], []).append(path)
                elif path not in self.files:
                    sentence = (
                        f"The Delta table of {asset} names {self.store.where(path)}, which is lost; {FROM_ANOTHER}."
                    )
                    self._problem("published", path, sentence).lost = True
        self._counted("published", len(names))

    def _logs(self) -> Iterable[str]:
        for record_asset in {record.asset for record in self.reach.records.values()}:
            if self.store.backend.children(f"data/{asset_path(record_asset)}/_delta_log")[1]:
                yield record_asset

    def _count(self) -> None:
        if self.report.aside:
            self.report.notes.append(
                f"{self.report.aside} files stand in trash: a gc is running, or one was interrupted, or a repair set "
                "them aside. The next gc finishes it."
            )
        if self._without_head:
            first = ", ".join(sorted(self._without_head)[:3])
            self.report.notes.append(
                f"{len(self._without_head)} heads are not here whose moves are ({first}): they were fetched and not "
                "pulled, or a copy was broken off, or their files were lost. A pull or push brings them."
            )

    def _say_what_stands(self) -> None:
        named = [problem for problem in self.report.problems if problem.manifests]
        lines = self.reach.standing_on([problem.manifests for problem in named])
        for problem, found in zip(named, lines, strict=True):
            problem.stands_on_it = found
        for problem in self.report.problems:
            if not problem.manifests and (file := self.files.get(problem.path)):
                problem.stands_on_it = sorted(file.entries)
            elif problem.what == "tree":
                tree = record_id(problem.path.rpartition("/")[2])
                problem.stands_on_it = sorted(f"{holder}" for holder in self.reach.trees.get(tree, ()))


def _asset_of(path: str) -> str | None:
    """The asset that a path of a value, manifest, head or move belongs to."""
    top, *parts = path.split("/")
    cut = {"data": slice(0, -2), "meta": slice(0, -2), "heads": slice(1, -1), "moves": slice(1, -2)}.get(top)
    if cut is None:
        return None
    try:
        return "/".join(text(part) for part in parts[cut])
    except StoreError:
        return None


def _quiet(what: str, done: int, of: int) -> None:
    del what, done, of
