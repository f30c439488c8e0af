"""What differs between two views of a store: assets, batches, what was behind each change, columns, values, rows.

What belongs here: comparing what two references show, from what is recorded, and reading the values themselves only
where rows or JSON values are asked for. What does not: naming references (``refs``), comparing two tables
(``rowdiff``), finding the key of a dataset's rows, or printing.

Assets whose trees are the same are skipped unread, versions that are the same are not looked into, and the manifests of
the rest are read all at once.
"""

import difflib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mlops_assets.errors import NotStoredError, PurgedError
from mlops_assets.store.columns import Columns
from mlops_assets.store.heads import Leaf
from mlops_assets.store.manifest import Input, Manifest
from mlops_assets.store.records import manifest_path
from mlops_assets.store.rowdiff import HIDDEN, RowDiff, same_type

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_assets.store.refs import View
    from mlops_assets.store.store import Store

Lines = Callable[[str, str, "pa.Table"], object]
"""Takes asset, batch and some lines of ``rowdiff.Comparison.lines``."""

_MISSING = object()

_METRIC = re.compile(r"(?:(?P<of>.+)\.)?metrics\.(?P<metric>[^.\[\]]+)(?:\.value)?")


class Moved(NamedTuple):
    """A metric of a report: ``of`` is what it speaks of (empty for the report itself), ``by`` after less before."""

    of: str
    metric: str
    before: float
    after: float
    by: float


@dataclass(frozen=True, slots=True)
class ValueChange:
    """One place in a JSON value: ``path`` such as ``metrics.roc_auc`` or ``groups[shop=north].rows``."""

    path: str
    change: Literal["added", "removed", "changed"]
    before: Any = None
    after: Any = None

    @property
    def moved(self) -> Moved | None:
        """The metric that this is: a number under a key ``metrics``, the ends of intervals aside."""
        match = _METRIC.fullmatch(self.path)
        if match is None or not (_is_number(self.before) and _is_number(self.after)):
            return None
        return Moved(match["of"] or "", match["metric"], self.before, self.after, self.after - self.before)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"path": self.path, "change": self.change, "before": self.before, "after": self.after}


@dataclass(frozen=True)
class Change:
    """One batch that shows another version, or the same version made again.

    ``batch`` is ``BATCH -> BATCH`` where two versions of different batches were asked for.

    ``because`` names what is recorded differently of how it was made: ``code``, ``settings``, ``seed``, ``inputs``,
    ``files``, ``rules``, ``environment``, ``git``; empty when it was made again of the same. ``inputs`` are those with
    another version (``asset``, ``partition``, ``change``, ``before``, ``after``; a version is None where the input was
    absent), ``settings`` the places that differ. Columns are names with their types; ``columns_changed`` have another
    digest, ``reordered`` says that common columns stand in another order. ``files`` are delivered files with the sha256
    before and after (None: not delivered). ``values`` compare JSON, ``rows`` tables where asked for. ``note`` says what
    was out of reach.
    """

    batch: str
    before: Leaf
    after: Leaf
    because: tuple[str, ...] = ()
    inputs: tuple[Mapping[str, Any], ...] = ()
    settings: tuple[ValueChange, ...] = ()
    columns_added: Mapping[str, str] = field(default_factory=dict)
    columns_removed: Mapping[str, str] = field(default_factory=dict)
    columns_retyped: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    columns_changed: tuple[str, ...] = ()
    reordered: bool = False
    files: tuple[Mapping[str, Any], ...] = ()
    values: tuple[ValueChange, ...] = ()
    rows: RowDiff | None = None
    note: str = ""

    @property
    def metrics(self) -> list[Moved]:
        """By how much each metric of a report moved."""
        return [moved for item in self.values if (moved := item.moved)]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "batch": self.batch,
            "before": _leaf(self.before),
            "after": _leaf(self.after),
            "because": list(self.because),
            "inputs": [dict(item) for item in self.inputs],
            "settings": [item.to_dict() for item in self.settings],
            "columns_added": dict(self.columns_added),
            "columns_removed": dict(self.columns_removed),
            "columns_retyped": {name: list(types) for name, types in self.columns_retyped.items()},
            "columns_changed": list(self.columns_changed),
            "reordered": self.reordered,
            "files": [dict(item) for item in self.files],
            "metrics": [item._asdict() for item in self.metrics],
            "values": [item.to_dict() for item in self.values],
            "rows": self.rows.to_dict() if self.rows else None,
            "note": self.note,
        }


@dataclass(frozen=True)
class AssetDiff:
    """One asset: batches that only one side shows, that show other versions, and the same versions made again."""

    asset: str
    added: Mapping[str, Leaf]
    removed: Mapping[str, Leaf]
    changed: tuple[Change, ...]
    remade: tuple[Change, ...]
    unchanged: int

    @property
    def same(self) -> bool:
        """Whether both sides show the same records."""
        return not (self.added or self.removed or self.changed or self.remade)

    @cached_property
    def columns(self) -> dict[str, int]:
        """In how many batches each column differs (content, type, or being there at all), most often first."""
        found: Counter[str] = Counter()
        for change in self.changed:
            found.update(change.columns_changed)
            found.update([*change.columns_added, *change.columns_removed, *change.columns_retyped])
        return dict(found.most_common())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "asset": self.asset,
            "added": {batch: _leaf(leaf) for batch, leaf in self.added.items()},
            "removed": {batch: _leaf(leaf) for batch, leaf in self.removed.items()},
            "changed": [change.to_dict() for change in self.changed],
            "remade": [change.to_dict() for change in self.remade],
            "unchanged": self.unchanged,
            "columns": self.columns,
        }


@dataclass(frozen=True)
class Diff:
    """What ``after`` shows that ``before`` does not, and the other way round; ``identical`` assets show the same."""

    before: str
    after: str
    assets: tuple[AssetDiff, ...]
    identical: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether both show the same records of everything that was compared."""
        return not self.assets

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "before": self.before,
            "after": self.after,
            "same": self.same,
            "assets": [asset.to_dict() for asset in self.assets],
            "identical": list(self.identical),
        }


def diff(
    store: "Store",
    a: "View",
    b: "View",
    *,
    assets: Collection[str] | None = None,
    batches: Collection[str] | None = None,
    rows: bool = False,
    keys: Mapping[str, Sequence[str]] | None = None,
    beside: Mapping[str, str] | None = None,
    sample: int = 10,
    hide: Collection[str] = (),
    lines: Lines | None = None,
) -> Diff:
    """What differs from ``a`` to ``b``, of all assets or of some (an asset's name, or the start of it up to a ``/``).

    Unless assets are named, a tag is compared as far as its datasets go, a version in its own place.

    ``rows`` compares the rows of changed tables too, two tables at a time, by the columns that ``keys`` gives for the
    asset; columns of a key that it does not have are taken from the input that ``beside`` names for it, whose rows
    stand beside its own. ``sample`` bounds the examples of each kind and batch, and ``lines`` is given every
    difference. ``hide`` names columns (and keys of JSON) whose values are not shown.

    Raises ``NotStoredError`` for an asset or batch that neither shows, ``CorruptError`` for a damaged record or value;
    a record or value that is not here any more, or not yet fetched, is a ``note`` in the answer.
    """
    chosen = _chosen(a, b, assets, batches)
    remote = "remote" in {a.kind, b.kind}
    looking = _Looking(
        store,
        rows,
        keys or {},
        sample,
        frozenset(hide),
        lines,
        remote,
        beside or {},
        paired=a.kind == b.kind == "version",
    )
    found = []
    identical = []
    unseen = set(batches or ())
    skipped = []
    for asset in chosen:
        tree = a.tree_id(asset)
        if tree is not None and tree == b.tree_id(asset):
            identical.append(asset)
            skipped.append(asset)
            continue
        wanted = _batches(a, b, asset, batches)
        if wanted is None:
            old, new = a.leaves(asset), b.leaves(asset)
        else:
            old, new = _only(a, asset, wanted), _only(b, asset, wanted)
            unseen -= {*old, *new}
        one = _asset(looking, asset, old, new)
        if one.same:
            identical.append(asset)
        else:
            found.append(one)
    if unseen:
        unseen -= {batch for asset in skipped for batch in _only(a, asset, unseen)}
    if unseen:
        raise NotStoredError(_no_batch(a, b, chosen, min(unseen)))
    return Diff(a.name, b.name, tuple(found), tuple(identical))


def differing_values(before: Any, after: Any, hide: Collection[str] = ()) -> Iterator[ValueChange]:
    """The places where two plain JSON values differ.

    Items of lists of objects meet by the first of their keys that names each of them, so that a new item moves no
    others; lists of plain values are compared as a whole. Values under a key of ``hide`` are not shown.
    """
    yield from _values(before, after, "", frozenset(hide))


# --- batches ---------------------------------------------------------------------------------------------------------


def _chosen(a: "View", b: "View", assets: Collection[str] | None, batches: Collection[str] | None) -> list[str]:
    if assets and batches and all(_only(a, asset, batches) or _only(b, asset, batches) for asset in assets):
        # whoever asks for known batches by name need not wait for a list of all
        return sorted(set(assets))
    known = sorted({*a.assets(), *b.assets()})
    if assets is None:
        return [asset for asset in known if _comparable(a, b, asset)]
    chosen: set[str] = set()
    for wanted in assets:
        met = {asset for asset in known if asset == wanted or asset.startswith(f"{wanted}/")}
        if not met:
            near = ", ".join(difflib.get_close_matches(wanted, known, cutoff=0.4)) or ", ".join(known[:10]) or "nothing"
            raise NotStoredError(f"Neither {a.name} nor {b.name} shows anything of {wanted!r}; near is: {near}.")
        chosen |= met
    return sorted(chosen)


def _comparable(a: "View", b: "View", asset: str) -> bool:
    """Whether an asset that only one side shows is a difference: a tag speaks of its datasets, a version of itself."""
    for view in (a, b):
        if view.kind == "version" and not (a.kind == b.kind == "version") and asset not in view.assets():
            return False
        if view.kind == "tag" and _dataset(asset) not in map(_dataset, view.assets()):
            return False
    return True


def _dataset(asset: str) -> str:
    return asset.partition("/")[0]


def _batches(a: "View", b: "View", asset: str, batches: Collection[str] | None) -> Collection[str] | None:
    """The batches to compare: a version speaks of its own alone."""
    if batches is None and (versions := [view for view in (a, b) if view.kind == "version"]):
        return {batch for view in versions for batch in view.leaves(asset)}
    return batches


def _only(view: "View", asset: str, batches: Collection[str]) -> dict[str, Leaf]:
    return {batch: leaf for batch in batches if (leaf := view.leaf(asset, batch)) is not None}


def _no_batch(a: "View", b: "View", assets: Iterable[str], batch: str) -> str:
    known = sorted({name for asset in assets for view in (a, b) for name in view.leaves(asset)})
    near = difflib.get_close_matches(batch, known, cutoff=0.4) or known[-1:]
    return f"Neither {a.name} nor {b.name} shows a batch {batch!r}; near is: {', '.join(near) or 'none'}."


def _asset(looking: "_Looking", asset: str, old: Mapping[str, Leaf], new: Mapping[str, Leaf]) -> AssetDiff:
    if looking.paired and len(old) == len(new) == 1 and old.keys() != new.keys():
        # one version against another, whatever batches they are of
        (was,), (is_,) = old.items(), new.items()
        one = looking.at(asset, [(f"{was[0]} -> {is_[0]}", was, is_)])
        return AssetDiff(asset, {}, {}, changed=tuple(one), remade=(), unchanged=0)
    before, after = (Columns.of(Leaf, leaves).by_name("manifest") for leaves in (old, new))
    moved = sorted(batch for batch, manifest in after.items() if before.get(batch, manifest) != manifest)
    changes = looking.at(asset, [(batch, (batch, old[batch]), (batch, new[batch])) for batch in moved])
    common = len(before.keys() & after.keys())
    return AssetDiff(
        asset,
        added={batch: new[batch] for batch in sorted(after.keys() - before.keys())},
        removed={batch: old[batch] for batch in sorted(before.keys() - after.keys())},
        changed=tuple(change for change in changes if change.before.version != change.after.version),
        remade=tuple(change for change in changes if change.before.version == change.after.version),
        unchanged=common - len(changes),
    )


@dataclass(frozen=True, slots=True)
class _Looking:
    """Looks into changed batches; ``remote`` says that values may be elsewhere.

    ``paired``: two versions are compared, so that where each side has one batch of an asset these two meet.
    """

    store: "Store"
    rows: bool
    keys: Mapping[str, Sequence[str]]
    sample: int
    hide: frozenset[str]
    lines: Lines | None
    remote: bool
    beside: Mapping[str, str]
    paired: bool

    def at(self, asset: str, pairs: Sequence[tuple[str, tuple[str, Leaf], tuple[str, Leaf]]]) -> list[Change]:
        """The changes of an asset by their names, with what the manifests of both batches say."""
        read = self.store.read_manifests((asset, batch, leaf.manifest) for _, *sides in pairs for batch, leaf in sides)
        changes = []
        for name, (_, before), (_, after) in pairs:
            change = Change(name, before, after)
            was, is_ = next(read), next(read)
            if was and is_:
                change = self._looked_into(change, was, is_)
            else:
                change = replace(change, note=f"A record of it is not in {self.store}; fetch it to see more.")
            changes.append(change)
        return changes

    def _looked_into(self, change: Change, before: Manifest, after: Manifest) -> Change:
        inputs = tuple(_inputs(before, after))
        files = tuple(_files(before, after))
        settings = tuple(differing_values(before.settings, after.settings))
        types = dict(before.schema), dict(after.schema)
        common = [name for name in types[0] if name in types[1]]
        retyped = {n: (types[0][n], types[1][n]) for n in common if not same_type(types[0][n], types[1][n])}
        change = replace(
            change,
            because=tuple(_because(before, after, inputs, files)),
            inputs=inputs,
            settings=settings,
            files=files,
            columns_added={name: type_ for name, type_ in types[1].items() if name not in types[0]},
            columns_removed={name: type_ for name, type_ in types[0].items() if name not in types[1]},
            columns_retyped=retyped,
            columns_changed=tuple(
                n for n in common if n not in retyped and before.columns.get(n) != after.columns.get(n)
            ),
            reordered=common != [name for name in types[1] if name in types[0]],
        )
        if before.version == after.version:
            return change
        kinds = {before.kind, after.kind}
        if kinds != {"json"} and not (self.rows and kinds == {"table"}):
            return change
        if far := [side for side in (before, after) if not self._is_here(side)]:
            return replace(change, note=f"The value of {far[0].version} is not in {self.store}; fetch it to see more.")
        try:
            if kinds == {"json"}:
                old, new = self.store.get(before), self.store.get(after)
                return replace(change, values=tuple(differing_values(old, new, self.hide)))
            return replace(change, rows=self._compared(change, before, after))
        except PurgedError as trouble:
            return replace(change, note=" ".join(trouble.sentences))

    def _is_here(self, manifest: Manifest) -> bool:
        """Whether a value that may be elsewhere is here; where it must be here, a lost one is damage."""
        return not (self.remote and manifest.blob and self.store.backend.stat(manifest.blob.path) is None)

    def _compared(self, change: Change, before: Manifest, after: Manifest) -> RowDiff:
        from mlops_assets.store.rowdiff import compare

        key = tuple(self.keys.get(before.asset, ()))
        why = f"no key of {before.asset} is known"
        sides = [self._side(manifest, key) for manifest in (before, after)]
        narrow = _narrow(change, sides, key)
        old, new = (self._read(side, narrow) for side in sides)
        found = compare(old, new, key, hide=self.hide, sample=self.sample, why=why)
        if key and not found.key and (narrow is not None or any(side.lent for side in sides)):
            old, new = self.store.get(before), self.store.get(after)
            found = compare(old, new, hide=self.hide, sample=self.sample, why=found.why)
        if self.lines is not None:
            for part in found.lines():
                self.lines(before.asset, before.batch, part)
        return replace(
            found.diff, columns_added=tuple(change.columns_added), columns_removed=tuple(change.columns_removed)
        )

    def _side(self, manifest: Manifest, key: Sequence[str]) -> "_Side":
        """A table, with the columns of its key that the input beside it has to lend."""
        missing = [name for name in key if name not in manifest.columns]
        for item in manifest.inputs:
            if missing and item.asset == self.beside.get(manifest.asset) and item.partition == manifest.batch:
                lender = self._recorded(item)
                if lender and lender.rows == manifest.rows and lender.columns.keys() >= set(missing):
                    return _Side(manifest, lender, tuple(missing))
        return _Side(manifest, None, ())

    def _recorded(self, item: Input) -> Manifest | None:
        """The record of an input, if it and its value are here."""
        if (
            not item.manifest
            or self.store.backend.stat(manifest_path(item.asset, item.partition, item.manifest)) is None
        ):
            return None
        manifest = self.store.manifest(item.asset, item.partition, item.manifest)
        return manifest if self._is_here(manifest) else None

    def _read(self, side: "_Side", columns: Sequence[str] | None) -> "pa.Table":
        own = None if columns is None else [name for name in columns if name not in side.lent]
        table: pa.Table = self.store.get(side.manifest, columns=own)
        if side.lender is not None:
            lent = self.store.get(side.lender, columns=side.lent)
            for number, name in enumerate(side.lent):
                table = table.add_column(number, name, lent.column(name))
        return table


class _Side(NamedTuple):
    """A table of which ``lent`` columns stand in another one, ``lender``, row by row beside it."""

    manifest: Manifest
    lender: Manifest | None
    lent: tuple[str, ...]

    def digest(self, name: str) -> str | None:
        """The digest of a column."""
        holder = self.lender if self.lender is not None and name in self.lent else self.manifest
        return holder.columns.get(name)


def _narrow(change: Change, sides: Sequence[_Side], key: Sequence[str]) -> list[str] | None:
    """The columns that can differ: where the key's columns are the same, rows stand beside each other."""
    before, after = sides
    if not key or before.manifest.rows != after.manifest.rows:
        return None
    if any(before.digest(name) is None or before.digest(name) != after.digest(name) for name in key):
        return None
    return [*key, *(name for name in (*change.columns_changed, *change.columns_retyped) if name not in key)]


def _because(before: Manifest, after: Manifest, inputs: Sequence[Any], files: Sequence[Any]) -> Iterator[str]:
    """What of how a version was made is recorded differently, by the words of ``Change``."""
    parts = {
        "code": before.code_version != after.code_version,
        "settings": before.settings != after.settings,
        "seed": before.seed != after.seed,
        "inputs": bool(inputs),
        "files": bool(files),
        "rules": before.rules != after.rules,
        "environment": before.environment != after.environment,
        "git": dict(before.git) != dict(after.git),
    }
    yield from (word for word, differs in parts.items() if differs)


def _inputs(before: Manifest, after: Manifest) -> Iterator[dict[str, Any]]:
    old, new = (
        {(item.asset, item.partition): item.version for item in manifest.inputs} for manifest in (before, after)
    )
    for asset, partition in sorted({*old, *new}):
        place = asset, partition
        if old.get(place, _MISSING) != new.get(place, _MISSING):
            change = "added" if place not in old else "removed" if place not in new else "changed"
            yield {
                "asset": asset,
                "partition": partition,
                "change": change,
                "before": old.get(place),
                "after": new.get(place),
            }


def _files(before: Manifest, after: Manifest) -> Iterator[dict[str, Any]]:
    old, new = ({str(file.get("name")): file.get("sha256") for file in side.files} for side in (before, after))
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield {"name": name, "before": old.get(name), "after": new.get(name)}


def _leaf(leaf: Leaf) -> dict[str, Any]:
    return {
        "version": leaf.version, "manifest": leaf.manifest, "kind": leaf.kind, "rows": leaf.rows, "size": leaf.size
    }  # fmt: skip


# --- JSON values -----------------------------------------------------------------------------------------------------


def _values(before: Any, after: Any, path: str, hide: frozenset[str]) -> Iterator[ValueChange]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*before, *(name for name in after if name not in before)]:
            here = f"{path}.{name}" if path else str(name)
            old, new = before.get(name, _MISSING), after.get(name, _MISSING)
            yield from _hidden(old, new, here) if name in hide else _values(old, new, here, hide)
    elif isinstance(before, list) and isinstance(after, list) and _are_objects([*before, *after]):
        name = _identity(before, after)
        old_items, new_items = _named(before, name), _named(after, name)
        for label in [*old_items, *(label for label in new_items if label not in old_items)]:
            old, new = old_items.get(label, _MISSING), new_items.get(label, _MISSING)
            yield from _values(old, new, f"{path}[{label}]", hide)
    elif not _same(before, after):
        yield _changed(before, after, path)


def _hidden(before: Any, after: Any, path: str) -> Iterator[ValueChange]:
    if not _same(before, after):
        old, new = (_MISSING if value is _MISSING else HIDDEN for value in (before, after))
        yield _changed(old, new, path)


def _changed(before: Any, after: Any, path: str) -> ValueChange:
    if before is _MISSING:
        return ValueChange(path, "added", after=after)
    if after is _MISSING:
        return ValueChange(path, "removed", before=before)
    return ValueChange(path, "changed", before, after)


def _same(before: Any, after: Any) -> bool:
    # for Python, 1, 1.0 and True are the same; for a digest they are not
    return type(before) is type(after) and bool(before == after) and repr(before) == repr(after)


def _are_objects(items: list[Any]) -> bool:
    return bool(items) and all(isinstance(item, dict) for item in items)


def _identity(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> str | None:
    """The first key whose values name each item of both lists."""
    for name in [*before, *after][0]:
        sides = [[item.get(name) for item in side] for side in (before, after)]
        if all(all(isinstance(value, str) for value in values) and len(set(values)) == len(values) for values in sides):
            return name
    return None


def _named(items: list[dict[str, Any]], name: str | None) -> dict[str, dict[str, Any]]:
    return {f"{name}={item[name]}" if name else str(number): item for number, item in enumerate(items)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
