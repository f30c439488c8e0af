"""Where something comes from, what stands on it, and how an asset came to be what it is: why, impact, history.

What belongs here: following recorded inputs up and down, and bringing together what is recorded on the way. What does
not: what people may name (``targets``), remembering records (``remembered``), moves (``history``), comparing
(``behind``, ``diff``), drawing (``picture``), printing.

An answer is plain data: versions are told once, and speak of their inputs, files and circumstances by their places in
the lists beside them, because a release over 10,000 batches has 50,000 versions under it.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from mlops_assets.errors import CorruptError, NotStoredError
from mlops_assets.store.branches import MAIN
from mlops_assets.store.digest import bytes_digest
from mlops_assets.store.formats import FROM_ANOTHER
from mlops_assets.store.names import version_name
from mlops_assets.store.records import tree_path
from mlops_assets.store.refs import view
from mlops_assets.store.remembered import ABSENT, ACCEPTED, LOST, Arrival, File, Made, Remembered
from mlops_assets.store.tags import tags
from mlops_assets.store.targets import Finder, Target, TargetKind, whole_name

if TYPE_CHECKING:
    from mlops_assets.store.store import Store

_FEW = 500


class Version(NamedTuple):
    """One recorded version. ``inputs``, ``files`` and ``made`` are places in the lists of the answer it is part of.

    ``verdicts`` counts checks that passed, warned and failed. ``sentences`` say why it was refused or, of an accepted
    one, on which last good versions it stands. ``here`` is False when its record is not in the store any more, and
    ``purged`` says that its value was erased.
    """

    asset: str
    batch: str
    version: str | None
    manifest: str
    rows: int | None
    size: int
    accepted: bool
    when: str
    made: int
    verdicts: tuple[int, int, int]
    sentences: Sequence[str]
    inputs: tuple[int, ...]
    files: tuple[int, ...]
    here: bool
    purged: bool

    def __str__(self) -> str:
        return f"{self.asset}[{self.batch}]"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        passed, warned, failed = self.verdicts
        return {
            **self._asdict(),
            "verdicts": {"passed": passed, "warned": warned, "failed": failed},
            "sentences": list(self.sentences),
        }


class Delivered(NamedTuple):
    """A delivered file. ``sources`` are the raw assets that it was delivered for or read into, ``batches`` theirs.

    ``delivery``, ``arrived`` and ``who`` are those of the ledger's last entry of it, None where no ledger has it;
    ``duplicate_of`` is the number of the entry that brought the same bytes before.
    """

    name: str
    size: int
    sha256: str
    sources: tuple[str, ...]
    batches: tuple[str, ...]
    delivery: int | None
    arrived: str | None
    who: str | None
    duplicate_of: int | None
    purged: bool


class Missing(NamedTuple):
    """An input that was absent, or (with a version) whose record is not in the store."""

    asset: str
    batch: str
    version: str | None
    manifest: str | None


@dataclass(frozen=True)
class Stage:
    """All versions of one asset in an answer: ``first`` and ``last`` batch by name, ``codes``, ``settings`` distinct.

    ``above`` are the assets that these versions were made from, in the order of the answer.
    """

    asset: str
    kind: str
    versions: int
    batches: int
    first: str
    last: str
    rows: int | None
    size: int
    codes: tuple[str, ...]
    settings: int
    seeds: tuple[int, ...]
    since: str
    until: str
    above: tuple[str, ...]
    refused: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**self.__dict__, "codes": list(self.codes), "seeds": list(self.seeds), "above": list(self.above)}


@dataclass(frozen=True)
class _Told:
    """Some versions with what they speak of; inputs stand before what was made from them."""

    name: str
    kind: TargetKind
    versions: tuple[Version, ...]
    files: tuple[Delivered, ...]
    circumstances: tuple[Made, ...]

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The versions by asset, inputs before what was made from them."""
        of: dict[str, list[Version]] = {}
        for version in self.versions:
            of.setdefault(version.asset, []).append(version)
        above = {
            asset: {self.versions[place].asset for place in set().union(*(item.inputs for item in items))} - {asset}
            for asset, items in of.items()
        }
        return tuple(self._stage(asset, of[asset], above) for asset in _layered(above))

    def _stage(self, asset: str, items: list[Version], above: Mapping[str, set[str]]) -> Stage:
        batches = {item.batch for item in items}
        rows = [item.rows for item in items if item.rows is not None]
        made = [self.circumstances[place] for place in sorted({item.made for item in items})]
        whens = [item.when for item in items if item.when]
        return Stage(
            asset=asset,
            kind=made[0].kind,
            versions=len(items),
            batches=len(batches),
            first=min(batches),
            last=max(batches),
            rows=sum(rows) if rows else None,
            size=sum(item.size for item in items),
            codes=tuple(dict.fromkeys(one.code_version for one in made if one.code_version)),
            settings=len({repr(one.settings) for one in made}),
            seeds=tuple(dict.fromkeys(one.seed for one in made if one.seed is not None)),
            since=min(whens, default=""),
            until=max(whens, default=""),
            above=tuple(sorted(above[asset])),
            refused=sum(not item.accepted for item in items),
        )

    def _plain(self) -> dict[str, Any]:
        return {
            "files": [item._asdict() for item in self.files],
            "circumstances": [item._asdict() for item in self.circumstances],
            "versions": [item.to_dict() for item in self.versions],
        }


@dataclass(frozen=True)
class Ancestry(_Told):
    """What was asked for (``targets``, places in ``versions``), with all that it was made from.

    ``shown`` says whether the branch or reference that was asked shows the target (None: it was named by a digest).
    ``absent`` are batches that were never delivered when something was made from what there was, ``lost`` inputs whose
    records are not here, ``mixed`` batches that stand in it in more than one version. ``damaged`` are sentences.
    """

    targets: tuple[int, ...]
    absent: tuple[Missing, ...]
    lost: tuple[Missing, ...]
    damaged: tuple[str, ...]

    @cached_property
    def target(self) -> Version | None:
        """The one version that was asked for, None when there are several."""
        return self.versions[self.targets[0]] if len(self.targets) == 1 else None

    @cached_property
    def last_good(self) -> tuple[str, ...]:
        """Sentences about last good versions in it, of which newer ones had been refused."""
        return tuple(dict.fromkeys(said for item in self.versions if item.accepted for said in item.sentences))

    @cached_property
    def mixed(self) -> tuple[tuple[str, str, int], ...]:
        """Asset, batch and number of versions, where it stands on more than one version of a batch."""
        found = Counter((item.asset, item.batch, item.version) for item in self.versions)
        counts = Counter((asset, batch) for asset, batch, _ in found)
        return tuple((*place, count) for place, count in counts.items() if count > 1)

    @cached_property
    def purged(self) -> tuple[str, ...]:
        """Versions and files in it whose content was erased."""
        versions = [f"{item} {item.version}" for item in self.versions if item.purged]
        return (*versions, *(f"{item.name} (sha256 {item.sha256})" for item in self.files if item.purged))

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The answer in short, as plain JSON."""
        made = self.circumstances
        whens = [item.when for item in self.versions if item.when]
        batches = self._batches()
        commits: dict[str, dict[str, Any]] = {}
        for item in self.versions:
            commit = commits.setdefault(
                made[item.made].commit, {"commit": made[item.made].commit, "versions": 0, "dirty": 0}
            )
            commit["versions"] += 1
            commit["dirty"] += made[item.made].dirty
        return {
            "files": len(self.files),
            "bytes": sum(item.size for item in self.files),
            "sources": sorted({source for item in self.files for source in item.sources}),
            "batches": len(batches),
            "first": min(batches, default=None),
            "last": max(batches, default=None),
            "versions": len(self.versions),
            "commits": list(commits.values()),
            "environments": list(dict.fromkeys(one.environment for one in made if one.environment)),
            "runs": list(dict.fromkeys(one.run_id for one in made if one.run_id)),
            "who": list(dict.fromkeys(one.who for one in made if one.who)),
            "since": min(whens, default=None),
            "until": max(whens, default=None),
            "stages": [stage.to_dict() for stage in self.stages],
            "last_good": list(self.last_good),
            "absent": len(self.absent),
            "lost": len(self.lost),
            "purged": list(self.purged),
            "mixed": [{"asset": asset, "batch": batch, "versions": count} for asset, batch, count in self.mixed],
        }

    def _batches(self) -> set[str]:
        """The batches of the source that came in most of them; tables that came once are of no batch."""
        of: dict[str, set[str]] = {}
        for item in self.versions:
            if item.files:
                of.setdefault(item.asset, set()).add(item.batch)
        own = {self.versions[place].batch for place in self.targets}
        return max(of.values(), key=lambda found: (len(found), len(found & own)), default=own)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "target": self.name,
            "kind": self.kind,
            "summary": self.summary,
            "targets": list(self.targets),
            **self._plain(),
            "absent": [item._asdict() for item in self.absent],
            "lost": [item._asdict() for item in self.lost],
            "damaged": list(self.damaged),
        }


@dataclass(frozen=True)
class Impact(_Told):
    """What was asked for (``targets``), and everything recorded that was made from it, however indirectly.

    ``shown`` gives for each place who shows that version: ``branch main``, ``tag v1``. ``notes`` are sentences.
    """

    targets: tuple[int, ...]
    shown: Mapping[int, tuple[str, ...]]
    notes: tuple[str, ...]

    @cached_property
    def standing(self) -> tuple[int, ...]:
        """The places of what stands on the target, without itself."""
        return tuple(sorted(set(range(len(self.versions))) - set(self.targets)))

    def of_kind(self, kind: str) -> list[int]:
        """What stands on it of one kind: ``estimator`` for models, ``json`` for reports."""
        return [place for place in self.standing if self.circumstances[self.versions[place].made].kind == kind]

    @cached_property
    def holders(self) -> dict[str, int]:
        """How many of the versions, the target too, each branch and tag shows; whoever shows most comes first."""
        return dict(Counter(name for names in self.shown.values() for name in names).most_common())

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The answer in short, as plain JSON."""
        return {
            "standing": len(self.standing),
            "shown": sum(place in self.shown for place in self.standing),
            "holders": self.holders,
            "models": [str(self.versions[place]) for place in self.of_kind("estimator")],
            "reports": [str(self.versions[place]) for place in self.of_kind("json")],
            "stages": [stage.to_dict() for stage in self.stages],
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        told = self._plain()
        for place, version in enumerate(told["versions"]):
            version["shown_by"] = list(self.shown.get(place, ()))
        return {
            "target": self.name,
            "kind": self.kind,
            "summary": self.summary,
            "targets": list(self.targets),
            **told,
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Passed:
    """One recorded version in an asset's history, refused ones too.

    ``published`` says by which move the branch first showed it: ``when``, ``who``, ``verb`` and ``message``; None when
    it never did, and ``current`` whether it does now.
    """

    version: Version
    made: Made
    current: bool
    published: Mapping[str, str] | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        plain = {name: item for name, item in self.version.to_dict().items() if name not in {"made", "inputs", "files"}}
        return {**plain, **self.made._asdict(), "current": self.current, "published": self.published}


@dataclass(frozen=True)
class Past:
    """An asset's or batch's recorded versions, newest first; ``total`` counts those beyond the limit too."""

    asset: str
    batch: str | None
    total: int
    refused: int
    versions: tuple[Passed, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "asset": self.asset,
            "batch": self.batch,
            "total": self.total,
            "refused": self.refused,
            "versions": [item.to_dict() for item in self.versions],
        }


def why(store: "Store", what: str, branch: str = MAIN, at: str | None = None) -> Ancestry:
    """The whole ancestry of what is named (see ``targets``): every version, file, code, settings, environment, run.

    ``at`` is the reference by which assets are looked up, by default ``branch``. The ancestry of a file is what was
    read of it. Raises ``NotStoredError`` for what is unknown, naming what is near, ``StoreError`` for what means
    several things.
    """
    known = Remembered(store)
    target = Finder(store, known, branch, at).target(what, one=True)
    arrivals = known.arrivals()
    known.save()
    places = known.above(target.places)
    inside = [place for place in places if known.state(place) not in {ABSENT, LOST}]
    told = _tell(store, known, inside, arrivals, target)
    missing = [
        Missing(known.asset(place), known.batch(place), known.version(place), known.id(place) or None)
        for place in places
        if known.state(place) in {ABSENT, LOST}
    ]
    return Ancestry(
        **told,
        targets=_places_in(inside, target.places),
        absent=tuple(item for item in missing if item.manifest is None),
        lost=tuple(item for item in missing if item.manifest is not None),
        damaged=tuple(known.damaged),
    )


def impact(store: "Store", what: str, branch: str = MAIN, at: str | None = None) -> Impact:
    """Everything recorded that stands on what is named (see ``targets``), and which branches and tags show it.

    A file that nothing was read of has an empty answer, a name that brought several contents that of all of them.
    Raises as ``why``.
    """
    known = Remembered(store)
    known.look()
    target = Finder(store, known, branch, at).target(what, one=False)
    arrivals = known.arrivals()
    inside = sorted({*target.places, *known.below(target.places)})
    told = _tell(store, known, inside, arrivals, target)
    shown = _shown_by(store, known, inside)
    known.save()
    return Impact(
        **told,
        targets=_places_in(inside, target.places),
        shown={number: shown[place] for number, place in enumerate(inside) if place in shown},
        notes=(*target.notes, *known.damaged),
    )


def history(
    store: "Store", asset: str, batch: str | None = None, branch: str = MAIN, *, limit: int | None = 50
) -> Past:
    """The recorded versions of an asset or of one batch, refused ones and those of other branches too, newest first.

    ``limit`` bounds how many are told (None: all). Moves back and forth are ``history.log``'s. Raises
    ``NotStoredError`` for an asset or batch without any record, naming what is near.
    """
    shown = view(store, f"branch:{branch}")
    known = Remembered(store)
    known.look()
    known.save()
    asset = whole_name(known, asset)
    places = known.where(asset, batch)
    if not places:
        if known.where(asset):
            near = sorted({known.batch(place) for place in known.where(asset)})
            raise NotStoredError(
                f"{store} has no record of {asset}[{batch}]; it has {len(near)} batches of it, {near[0]} to {near[-1]}."
            )
        shown.leaves(asset)
        # says what is near
        shown.manifest(asset, batch or "")
    ordered = sorted(places, key=lambda place: (known.when(place), known.id(place)), reverse=True)
    circumstances = known.circumstances
    chosen = list(islice(ordered, limit))
    purged = _purged_names(store)
    heads = {name: shown.leaf(asset, name) for name in {known.batch(place) for place in chosen}}
    published = {name: _first_moves(store, branch, asset, name) for name in heads}
    told = []
    for place in chosen:
        (told_of,) = known.told([place])
        version = _version(told_of, purged, known.made(place))
        head = heads[version.batch]
        told.append(
            Passed(
                version,
                circumstances[version.made],
                current=bool(head and head.manifest == version.manifest),
                published=published[version.batch].get(version.manifest),
            )
        )
    refused = sum(known.state(place) != ACCEPTED for place in places)
    return Past(asset, batch, len(places), refused, tuple(told))


def remember(store: "Store") -> None:
    """Read what was recorded since the last question, so that the next one has nothing to wait for."""
    known = Remembered(store)
    known.look()
    known.arrivals()
    known.save()


# --- what is told ----------------------------------------------------------------------------------------------------


def _tell(
    store: "Store",
    known: Remembered,
    places: Sequence[int],
    arrivals: Mapping[str, Sequence[Arrival]],
    target: Target,
) -> dict[str, Any]:
    """The fields of ``_Told`` for some places; inputs that are not among them are left out."""
    purged = _purged_names(store)
    number = {place: number for number, place in enumerate(places)}
    known_files, circumstances = known.known_files, known.circumstances
    first = {file: known.asset(place) for place in places for file in known.files(place)}
    ordered = sorted(first, key=lambda file: (first[file], known_files[file]))
    file_numbers = {file: number for number, file in enumerate(ordered)}
    made_numbers: dict[int, int] = {}
    sources: dict[int, list[tuple[str, str]]] = {}
    versions = []
    for place, told in zip(places, known.told(places), strict=True):
        inputs = tuple([number[item] for item in known.inputs(place) if item in number])
        files = known.files(place)
        for file in files:
            sources.setdefault(file, []).append(told[:2])
        made = made_numbers.setdefault(known.made(place), len(made_numbers))
        versions.append(_version(told, purged, made, inputs, tuple([file_numbers[file] for file in files])))
    entered = {(entry.source, entry.name, entry.sha256): entry for of in arrivals.values() for entry in of}
    delivered = []
    for file in ordered:
        name, _, sha256 = known_files[file]
        entry = next(
            (found for source, _ in sources[file] if (found := entered.get((source, name, sha256))) is not None), None
        )
        delivered.append(_delivered(known_files[file], sources[file], entry, purged))
    listed = {(item.name, item.sha256) for item in delivered}
    delivered += [
        _delivered(File(entry.name, entry.size, entry.sha256), [(entry.source, "")], entry, purged)
        for entry in target.arrivals
        if (entry.name, entry.sha256) not in listed
    ]
    return {
        "name": target.name,
        "kind": target.kind,
        "versions": tuple(versions),
        "files": tuple(delivered),
        "circumstances": tuple(circumstances[place] for place in made_numbers),
    }


def _version(
    told: tuple[Any, ...], purged: Collection[str], made: int, inputs: tuple[int, ...] = (), files: tuple[int, ...] = ()
) -> Version:
    asset, batch, version, id_, rows, bytes_, accepted, when, verdicts, sentences, here = told
    erased = bool(purged) and version is not None and version_name(version) in purged
    return Version(
        asset, batch, version, id_, rows, bytes_, accepted, when, made, verdicts, sentences, inputs, files, here, erased
    )  # fmt: skip


def _delivered(
    file: File, pairs: Sequence[tuple[str, str]], entry: Arrival | None, purged: Collection[str]
) -> Delivered:
    return Delivered(
        *file,
        tuple(dict.fromkeys(source for source, _ in pairs)),
        tuple(dict.fromkeys(batch for _, batch in pairs if batch)),
        entry.seq if entry else None,
        entry.arrived if entry else None,
        entry.who if entry else None,
        entry.duplicate_of if entry else None,
        f"sha256-{file.sha256}" in purged,
    )


def _purged_names(store: "Store") -> frozenset[str]:
    return frozenset(name.removesuffix(".json") for name in store.backend.children("tombstones")[1])


def _places_in(inside: Sequence[int], places: Iterable[int]) -> tuple[int, ...]:
    wanted = set(places)
    return tuple(number for number, place in enumerate(inside) if place in wanted)


def _layered(above: Mapping[str, set[str]]) -> list[str]:
    """Assets, each after those it was made from; in the order of their names where that leaves a choice."""
    found: list[str] = []
    waiting = sorted(above)
    while waiting:
        # where versions of two assets were made from each other, over time, the first by name goes first
        ready = [asset for asset in waiting if above[asset] <= set(found)] or waiting[:1]
        found += ready
        waiting = [asset for asset in waiting if asset not in ready]
    return found


# --- who shows it ----------------------------------------------------------------------------------------------------


def _shown_by(store: "Store", known: Remembered, places: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """Branches and tags that show each version."""
    found: dict[int, list[str]] = {}
    of: dict[str, dict[str, int]] = {}
    for place in places:
        of.setdefault(known.asset(place), {})[known.id(place)] = place
    batches = {place: known.batch(place) for place in places} if len(places) <= _FEW else {}
    for branch in store.branches():
        # of a few batches only their own heads are read, of many whole assets
        showing = set(_heads_of(store, known, branch, batches) if batches else known.shown(branch, of))
        for place in places:
            if place in showing:
                found.setdefault(place, []).append(f"branch {branch}")
    in_tree: dict[str, list[int]] = {}
    for tag in tags(store):
        for asset, tree in tag.trees.items():
            if asset not in of:
                continue
            if tree not in in_tree:
                in_tree[tree] = _in_tree(store, tree, of[asset])
            for place in in_tree[tree]:
                found.setdefault(place, []).append(f"tag {tag.name}")
    return {place: tuple(names) for place, names in found.items()}


def _heads_of(store: "Store", known: Remembered, branch: str, batches: Mapping[int, str]) -> Iterator[int]:
    """The places of what a branch shows of some places' batches."""
    shown = view(store, f"branch:{branch}")
    for asset, batch in {(known.asset(place), batch) for place, batch in batches.items()}:
        leaf = shown.leaf(asset, batch)
        place = known.place(leaf.manifest) if leaf else None
        if place is not None:
            yield place


def _in_tree(store: "Store", tree: str, wanted: Mapping[str, int]) -> list[int]:
    """Which of some manifests a tree holds; for a few of them, its bytes say so without being parsed."""
    if len(wanted) > _FEW // 10:
        return [wanted[leaf.manifest] for leaf in store.tree(tree).values() if leaf.manifest in wanted]
    try:
        data = store.backend.read(tree_path(tree))
    except FileNotFoundError:
        raise CorruptError(f"The tree {store.where(tree_path(tree))} is lost; {FROM_ANOTHER}.") from None
    if bytes_digest(data) != tree:
        raise CorruptError(f"The tree {store.where(tree_path(tree))} is damaged; {FROM_ANOTHER}.")
    return [place for id_, place in wanted.items() if id_.encode() in data]


def _first_moves(store: "Store", branch: str, asset: str, batch: str) -> dict[str, dict[str, str]]:
    """How the branch first came to show each manifest of a batch."""
    return {
        move.to_manifest: {
            "when": move.when,
            "who": move.who,
            "verb": move.origin.get("verb", "publish"),
            "message": move.message,
        }
        for move in store.walk(branch, asset, batch)
    }
