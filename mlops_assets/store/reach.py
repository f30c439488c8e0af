"""What stands on what: pointers, the records they lead to, and the files those name.

What belongs here: one look at a whole store, and questions on it: what is shown and by whom, what a version was made
from, what was made from it. What does not: what follows from the answers (``verify``, ``repair``, ``garbage``,
``purge``).

Pointers are read before records, and records before files are listed, in the opposite order of writing: whatever a
pointer names was there before the pointer, so a look at a store in use sees nothing missing that is not missing.

Damage is told to ``tell`` and left out; who may not overlook any gives a function that raises (``strictly``).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import orjson

from mlops_assets.errors import CorruptError, StoreError, UserError
from mlops_assets.store import trees
from mlops_assets.store.branches import MAIN, Branch
from mlops_assets.store.changes import Change
from mlops_assets.store.digest import bytes_digest, parse_json, unsealed
from mlops_assets.store.formats import FROM_ANOTHER, check_format
from mlops_assets.store.heads import Head, Leaf, read_head
from mlops_assets.store.manifest import FORMAT, Blob
from mlops_assets.store.names import text
from mlops_assets.store.records import manifest_path, record_id, tree_path
from mlops_assets.store.remotes import RECEIVED, Partial, partials, remotes, tracked
from mlops_assets.store.store import Store
from mlops_assets.store.tags import Tag

Tell = Callable[[str, str, UserError], None]
"""Takes what is damaged (``head``, ``tag``, ...), its path in the store, and the sentence."""

Slot = tuple[str, str, str]
"""Branch, asset and batch of a head."""


class Holder(NamedTuple):
    """What keeps a tree: ``kind`` is ``branch``, ``tag`` or ``remote``."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"start of branch {self.name}" if self.kind == "branch" else f"{self.kind} {self.name}"


class Record(NamedTuple):
    """What looking after a store needs of a manifest.

    ``leaf`` and ``blob`` are None when no value was made. ``raw`` are the delivered files, ``attached`` the files for
    people, ``inputs`` the manifests it was made from. ``written`` is when its file was written, or last made young, in
    seconds since 1970.
    """

    id: str
    asset: str
    batch: str
    accepted: bool
    when: str
    leaf: Leaf | None
    blob: Blob | None
    attached: tuple[Blob, ...]
    raw: tuple[Blob, ...]
    inputs: tuple[str, ...]
    written: float

    @property
    def path(self) -> str:
        """Where the manifest stands."""
        return manifest_path(self.asset, self.batch, self.id)

    @property
    def files(self) -> Iterator[Blob]:
        """Every file that the manifest names."""
        if self.blob:
            yield self.blob
        yield from self.attached
        yield from self.raw

    def __str__(self) -> str:
        version = self.leaf.version[:15] if self.leaf else "no value"
        return f"{self.asset}[{self.batch}] {version}"


def strictly(what: str, path: str, trouble: UserError) -> None:
    """A ``Tell`` for who may not overlook damage."""
    del what, path
    raise trouble


@dataclass
class Reach:
    """One look at a store.

    ``heads`` are the branches' own ones, those that were taken away too; ``trees`` says who holds each tree;
    ``intents`` which manifests an unfinished change is about to show; ``purges`` are the records of purges by id, and
    ``replaced`` maps each manifest whose value was erased to the one that took its place. ``partial`` are the tags and
    remotes' branches that are here in part, ``copied`` says that the store has remotes, ``received`` that
    records came here from another store.
    """

    store: Store
    tell: Tell = strictly
    heads: dict[Slot, Head] = field(default_factory=dict)
    trees: dict[str, list[Holder]] = field(default_factory=dict)
    intents: dict[str, set[str]] = field(default_factory=dict)
    purges: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    replaced: dict[str, str] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    leaves: dict[str, Mapping[str, Leaf]] = field(default_factory=dict)
    branches: set[str] = field(default_factory=lambda: {MAIN})
    partial: Mapping[Holder, Partial] = field(default_factory=dict)
    copied: bool = False
    received: bool = False
    _assets: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, store: Store, tell: Tell = strictly) -> "Reach":
        """Look at a store; with a ``tell`` that raises, ``StoreError`` for whatever cannot be read."""
        reach = cls(store, tell)
        store.forget_branches()
        reach._read_heads()
        reach._read_holders()
        reach._read_intents()
        reach._read_purges()
        reach._read_trees()
        reach._read_records()
        return reach

    # --- questions -----------------------------------------------------------------------------------------------

    @cached_property
    def shown(self) -> set[str]:
        """The manifests that a head, a tree or an unfinished change shows."""
        found = {head.manifest for head in self.heads.values() if head.manifest}
        for leaves in self.leaves.values():
            found.update(leaf.manifest for leaf in leaves.values())
        return found.union(*self.intents.values())

    @cached_property
    def required(self) -> set[str]:
        """The manifests whose files must be there: what is shown, all that it was made from, and replacements."""
        return self.with_replacements(self.with_inputs(self.shown))

    @cached_property
    def elsewhere(self) -> set[str]:
        """The manifests of tags and remotes' branches that were fetched in part, as far as they were not asked for."""
        found: set[str] = set()
        for tree, holders in self.trees.items():
            parts = [self.partial[holder] for holder in holders if holder in self.partial]
            if parts and tree in self.leaves:
                asset = self._assets.get(tree, "")
                found.update(
                    leaf.manifest
                    for batch, leaf in self.leaves[tree].items()
                    if not all(_covers(part, asset, batch) for part in parts)
                )
        return found.difference(head.manifest for head in self.heads.values())

    def with_inputs(self, manifests: Iterable[str]) -> set[str]:
        """Manifests and all that they were made from, as far as records lead."""
        return _closure(manifests, lambda id_: self.records[id_].inputs if id_ in self.records else ())

    def with_replacements(self, manifests: Iterable[str]) -> set[str]:
        """Manifests, and what took the place of those that were erased."""
        return _closure(manifests, lambda id_: (self.replaced[id_],) if id_ in self.replaced else ())

    def derived(self, manifests: Iterable[str]) -> set[str]:
        """Everything that was made from these, however indirectly, without themselves."""
        start = set(manifests)
        return _closure(start, lambda id_: self._children.get(id_, ())) - start

    def shown_by(self, manifests: Iterable[str]) -> dict[str, list[str]]:
        """Who shows each of some manifests: ``branch main``, ``tag v1``; one pass over all heads and trees."""
        wanted = set(manifests)
        found: dict[str, list[str]] = {}
        for (branch, _, _), head in sorted(self.heads.items()):
            if head.manifest in wanted:
                found.setdefault(head.manifest, []).append(f"branch {branch}")
        for tree, holders in self.trees.items():
            for leaf in self.leaves.get(tree, {}).values():
                if leaf.manifest in wanted:
                    names = (f"{holder}" for holder in holders)
                    found.setdefault(leaf.manifest, []).extend(names)
        for change, manifests_ in self.intents.items():
            for id_ in manifests_ & wanted:
                found.setdefault(id_, []).append(f"unfinished change {change}")
        return {id_: list(dict.fromkeys(names)) for id_, names in found.items()}

    def standing_on(self, groups: Sequence[Iterable[str]]) -> list[list[str]]:
        """For each group of manifests a line for each that somebody shows, and for each version made from them."""
        starts = [set(group) for group in groups]
        derived = [self.derived(start) for start in starts]
        shown = self.shown_by(set().union(*starts, *derived))

        def line(id_: str, made: str = "") -> str:
            who = f" ({', '.join(shown[id_])})" if id_ in shown else ""
            return f"{self.name(id_)}{made}{who}"

        return [
            sorted(line(id_) for id_ in start if id_ in shown)
            + sorted((line(id_, ", made from it") for id_ in more), key=lambda text_: (not text_.endswith(")"), text_))
            for start, more in zip(starts, derived, strict=True)
        ]

    def name(self, id_: str) -> str:
        """A manifest's version for people."""
        record = self.records.get(id_)
        return f"{record}" if record else f"the version of manifest {id_[:15]}"

    def asset_of(self, tree: str) -> str:
        """The asset that a tree is of."""
        return self._assets[tree]

    @cached_property
    def _children(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for record in self.records.values():
            for id_ in record.inputs:
                found.setdefault(id_, []).append(record.id)
        return found

    # --- looking -------------------------------------------------------------------------------------------------

    def _read_heads(self) -> None:
        for path, data in contents(self.store, "heads"):
            parts = path.split("/")[1:]
            try:
                branch, batch = text(parts[0]), text(parts[-1])
                asset = "/".join(text(part) for part in parts[1:-1])
                self.heads[branch, asset, batch] = read_head(data, self.store.where(path), asset, batch)
            except UserError as trouble:
                self.tell("head", path, trouble)

    def _read_holders(self) -> None:
        for path, data in contents(self.store, "branches"):
            try:
                branch = Branch.decode(data, self.store.where(path))
            except UserError as trouble:
                self.tell("branch", path, trouble)
            else:
                self.branches.add(branch.name)
                self._hold(Holder("branch", branch.name), branch.base)
        for path, data in contents(self.store, "tags"):
            try:
                tag = Tag.decode(data, self.store.where(path))
            except UserError as trouble:
                self.tell("tag", path, trouble)
            else:
                self._hold(Holder("tag", tag.name), tag.trees)
        self._read_remotes()

    def _read_remotes(self) -> None:
        partial: dict[Holder, Partial] = {}
        try:
            self.copied = bool(remotes(self.store))
            self.received = self.copied or self.store.backend.stat(RECEIVED) is not None
            for part in partials(self.store):
                name = f"{part.remote}/{part.name}" if part.kind == "branch" else part.name
                partial[Holder("remote" if part.kind == "branch" else "tag", name)] = part
        except UserError as trouble:
            self.tell("remote", "remotes", trouble)
        for path in [entry.path for entry in self.store.backend.entries("remotes")]:
            _, remote, *rest = path.split("/")
            if rest[:1] == ["branches"]:
                try:
                    seen = tracked(self.store, text(remote), text(rest[1].removesuffix(".json")))
                except UserError as trouble:
                    self.tell("remote", path, trouble)
                else:
                    if seen:
                        holder = Holder("remote", f"{seen.remote}/{seen.branch}")
                        self._hold(holder, {**seen.trees})
                        self._hold(holder, {**seen.base})
        self.partial = partial

    def _hold(self, holder: Holder, trees: Mapping[str, str]) -> None:
        for asset, tree in trees.items():
            self._assets[tree] = asset
            self.trees.setdefault(tree, []).append(holder)

    def _read_intents(self) -> None:
        found = dict(contents(self.store, "changes"))
        for path, data in found.items():
            if path.endswith(".json"):
                name = path.removeprefix("changes/").removesuffix(".json")
                try:
                    change = Change.decode(data, name, self.store.where(path))
                except UserError as trouble:
                    self.tell("change", path, trouble)
                else:
                    if path.removesuffix(".json") + ".done" not in found:
                        self.intents[name] = {step.to.manifest for step in change.steps if step.to}

    def _read_purges(self) -> None:
        self.purges = dict(read_purges(self.store, self.tell))
        for record in self.purges.values():
            self.replaced.update(
                (item["manifest"], item["replacement"]["manifest"])
                for item in record["replaced"]
                if item["replacement"]
            )

    def _read_trees(self) -> None:
        # not Store.tree, which remembers: this is about what is there now
        paths = [tree_path(tree) for tree in self.trees]
        for tree, path, data in zip(self.trees, paths, self.store.backend.read_many(paths), strict=True):
            where = f"The tree {self.store.where(path)}"
            try:
                if data is None:
                    raise CorruptError(f"{where} is lost; {FROM_ANOTHER}.")
                self.leaves[tree] = trees.decode(data, tree, where)[1]
            except UserError as trouble:
                self.tell("tree", path, trouble)

    def _read_records(self) -> None:
        entries = {entry.path: entry.modified for entry in self.store.backend.entries("meta")}
        paths = list(entries)
        # the same few hundred columns, assets and ids again and again
        known: dict[str, str] = {}
        for path, data in zip(paths, self.store.backend.read_many(paths), strict=True):
            if data is None:
                continue
            name = path.rpartition("/")[2]
            if not name.startswith("b3-") or not name.endswith(".json"):
                continue
            try:
                record = _slim(data, record_id(name), entries[path], self.store.where(path), known)
                if record.path != path:
                    raise CorruptError(
                        f"{self.store.where(path)} is the manifest of {record.asset}[{record.batch}]; put it back to "
                        f"{record.path}."
                    )
            except UserError as trouble:
                self.tell("manifest", path, trouble)
            else:
                self.records[record.id] = record


def contents(store: Store, folder: str) -> Iterator[tuple[str, bytes]]:
    """Path and bytes of every small file under a folder, in the order of their paths."""
    paths = sorted(entry.path for entry in store.backend.entries(folder))
    for path, data in zip(paths, store.backend.read_many(paths), strict=True):
        if data is not None:
            yield path, data


def ledger_entries(store: Store) -> Iterator[tuple[str, bytes]]:
    """Path and bytes of every entry of every ledger, those of remotes that went another way too."""
    yield from contents(store, "deliveries")
    for remote in store.backend.children("remotes")[0]:
        yield from contents(store, f"remotes/{remote}/deliveries")


def read_purges(store: Store, tell: Tell = strictly) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The record of each purge by its id, ``done`` saying whether it came to its end."""
    found = dict(contents(store, "purges"))
    for path, data in found.items():
        if path.endswith(".json"):
            try:
                record = dict(parse_json(unsealed(data)))
                check_format(record["format"], 1, store.where(path))
                end = found.get(path.removesuffix(".json") + ".done")
                moved = parse_json(unsealed(end))["moved"] if end else ()
                yield record["id"], {**record, "done": bool(end), "moved": moved}
            except StoreError as trouble:
                tell("purge", path, trouble)
            except (ValueError, TypeError, KeyError):
                tell("purge", path, _misread(store.where(path)))


def collected(store: Store) -> dict[str, str]:
    """Each file of a value that gc has ever dropped, with the id of the gc; it may have been made again since."""
    found = {}
    for path, data in contents(store, "collected"):
        for name in _record(data, store.where(path), "paths"):
            found[name] = path.removeprefix("collected/").removesuffix(".json")
    return found


def _covers(part: Partial, asset: str, batch: str) -> bool:
    """Whether a partial copy was meant to bring the values of a batch."""
    return (
        part.data and (part.assets is None or asset in part.assets) and (part.batches is None or batch in part.batches)
    )


def _closure(start: Iterable[str], following: Callable[[str], Iterable[str]]) -> set[str]:
    found = set(start)
    waiting = list(found)
    while waiting:
        for id_ in following(waiting.pop()):
            if id_ not in found:
                found.add(id_)
                waiting.append(id_)
    return found


def _slim(data: bytes, id_: str, written: float, where: str, known: dict[str, str]) -> Record:
    if bytes_digest(data) != id_:
        raise CorruptError(f"The manifest {where} is damaged; {FROM_ANOTHER}.")
    try:
        # not Manifest.from_dict: of hundreds of thousands of records only these fields are wanted
        record = orjson.loads(data)
        check_format(record["format"], FORMAT, f"The manifest {where}")
        blob = _blob(record["blob"]) if record["blob"] else None
        leaf = None
        if blob and record["version"]:
            key = f"{record['recipe']}.{record['rules']}"
            leaf = Leaf(id_, record["version"], key, record["kind"], blob.size, blob.sha256, record["rows"])
        return Record(
            id_,
            known.setdefault(record["asset"], record["asset"]),
            known.setdefault(record["batch"], record["batch"]),
            record["accepted"],
            record["when"],
            leaf,
            blob,
            tuple(_blob(item) for item in record["attachments"].values()),
            tuple(Blob(item["blob"], item["size"], item["sha256"]) for item in record["files"] if item.get("blob")),
            tuple(
                known.setdefault(item["manifest"], item["manifest"]) for item in record["inputs"] if item["manifest"]
            ),
            written,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as trouble:
        raise CorruptError(f"The manifest {where} is not one as the store writes it; {FROM_ANOTHER}.") from trouble


def _blob(record: Mapping[str, Any]) -> Blob:
    return Blob(record["path"], record["size"], record["sha256"])


def _record(data: bytes, where: str, name: str) -> Any:
    """One field of a small JSON record of format 1."""
    try:
        record = dict(parse_json(unsealed(data)))
        check_format(record["format"], 1, where)
        return record[name]
    except (ValueError, TypeError, KeyError) as trouble:
        raise _misread(where) from trouble


def _misread(where: str) -> CorruptError:
    return CorruptError(f"{where} is not a record as the store writes it; {FROM_ANOTHER}.")
