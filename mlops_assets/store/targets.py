"""What people name when they ask where something comes from, or what stands on it.

What belongs here: finding the versions that are meant, in the forms below. What does not: references to what is shown
(``refs``), and what is asked of the versions (``lineage``).

=============================  ======================================================================================
``flights/cleaned[2013-03]``   a batch as a branch shows it, with ``@REF`` or ``at`` as any reference does
``flights/trained_model``      an asset; its last part alone where no other asset ends so
``b3:5f3a91``                  a version or manifest by its first digits, at least six
``v1.2.0``, ``main``           everything that a tag, branch, moment or remote's branch shows
``landing/march.csv``          a delivered file by its name, or the end of it after a ``/``
``sha256:9c9fc6``              a delivered file by the first digits of its sha256, at least six
``run:1044eeb9``               what a run made, by the first digits of its id, at least six
=============================  ======================================================================================
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from mlops_assets.errors import CorruptError, NotStoredError, StoreError
from mlops_assets.store.formats import FROM_ANOTHER
from mlops_assets.store.heads import Leaf
from mlops_assets.store.refs import SHORTEST, View, find, near, view
from mlops_assets.store.remembered import ACCEPTED, Arrival, Remembered

if TYPE_CHECKING:
    from mlops_assets.store.store import Store

ADDRESS = re.compile(r"(?P<asset>[^\[\]]+)\[(?P<batch>.+?)\](?:@(?P<at>.+))?")
"""A batch of an asset, and the reference that shows it."""

_SHA256 = re.compile(r"(?:sha256[:-])?(?P<digits>[0-9a-fA-F]{6,64})")
_NAMED = 5

TargetKind = Literal["version", "versions", "file", "run"]


class Target(NamedTuple):
    """What is meant: its name for people, the places of its versions, and what ledgers say of a file.

    ``notes`` are sentences about what the name does not tell.
    """

    name: str
    kind: TargetKind
    places: list[int]
    arrivals: tuple[Arrival, ...] = ()
    notes: tuple[str, ...] = ()


class Finder:
    """Finds what is meant."""

    def __init__(self, store: "Store", known: Remembered, branch: str, at: str | None) -> None:
        self._store = store
        self._known = known
        self._branch = branch
        self._at = "." if at is None else at

    def target(self, what: str, *, one: bool) -> Target:
        """What is meant; ``one``: of a digest the newest accepted record of each batch, and no asset of many batches.

        Raises ``NotStoredError`` and ``StoreError``.
        """
        if match := ADDRESS.fullmatch(what):
            shown = view(self._store, match["at"] or self._at, self._branch)
            return self._batch(shown, self._asset(shown, match["asset"]) or match["asset"], match["batch"])
        if what.startswith("b3:"):
            return self._digest(what, one=one)
        if what.startswith("run:"):
            return self._run(what.removeprefix("run:")) or self._unknown_run(what)
        return self._name(what, one=one)

    def _name(self, what: str, *, one: bool) -> Target:
        """What has no mark that tells what it is."""
        shown = view(self._store, self._at, self._branch)
        if what in shown.assets():
            return self._whole(shown, what, one=one)
        try:
            return self._ref(view(self._store, what, self._branch))
        except StoreError as trouble:
            if (asset := self._asset(shown, what)) is not None:
                return self._whole(shown, asset, one=one)
            self._known.ensure_look()
            found = self._file(what) or self._run(what)
            if found is None:
                raise self._unknown(what, trouble) from None
            return found

    def _batch(self, shown: View, asset: str, batch: str) -> Target:
        leaf = shown.leaf(asset, batch)
        if leaf is None:
            # says what is near
            shown.manifest(asset, batch)
            raise AssertionError
        return Target(f"{asset}[{batch}] in {shown.name}", "version", self._places(asset, {batch: leaf}))

    def _asset(self, shown: View, what: str) -> str | None:
        names = shown.assets()
        if what in names:
            return what
        ending = [name for name in names if name.endswith(f"/{what}")]
        if len(ending) > 1:
            raise StoreError(f"{what!r} could be {_listed(ending)}; write the whole name.")
        return ending[0] if ending else None

    def _whole(self, shown: View, asset: str, *, one: bool) -> Target:
        leaves = shown.leaves(asset)
        if not leaves:
            shown.manifest(asset, "")
        if len(leaves) == 1:
            return self._batch(shown, asset, next(iter(leaves)))
        if one:
            raise StoreError(
                f"{asset} has {len(leaves):,} batches in {shown.name}; name one of them, such as "
                f"{asset}[{max(leaves)}], or a tag for all that it shows."
            )
        return Target(f"{asset} in {shown.name}", "versions", self._places(asset, leaves))

    def _ref(self, shown: View) -> Target:
        leaves = {asset: shown.leaves(asset) for asset in shown.assets()}
        self._known.learn((asset, batch, leaf.manifest) for asset in leaves for batch, leaf in leaves[asset].items())
        places = [place for asset in leaves for place in self._places(asset, leaves[asset])]
        return Target(shown.name, "versions", places)

    def _places(self, asset: str, leaves: Mapping[str, Leaf]) -> list[int]:
        self._known.learn((asset, batch, leaf.manifest) for batch, leaf in leaves.items())
        found = []
        for batch, leaf in leaves.items():
            place = self._known.place(leaf.manifest)
            if place is None:
                # says what is wrong with it
                self._store.manifest(asset, batch, leaf.manifest)
                raise CorruptError(f"The manifest {leaf.manifest} cannot be read; {FROM_ANOTHER}.")
            found.append(place)
        return found

    def _digest(self, what: str, *, one: bool) -> Target:
        known = self._known
        known.ensure_look()
        digest = what.lower()
        found = known.starting(digest) if len(digest) >= len("b3:") + SHORTEST else {}
        if len(found) != 1:
            # says what is wrong, and knows what was purged
            id_, manifests = find(self._store, what)
            known.learn((item.asset, item.batch, item.id) for item in manifests)
            found = {id_: [place for item in manifests if (place := known.place(item.id)) is not None]}
        ((id_, places),) = found.items()
        if one:
            best: dict[tuple[str, str], int] = {}
            for place in sorted(places, key=lambda p: (known.state(p), known.when(p), known.id(p))):
                best[known.asset(place), known.batch(place)] = place
            places = list(best.values())
        of = " and ".join(dict.fromkeys(f"{known.asset(place)}[{known.batch(place)}]" for place in places[:_NAMED]))
        return Target(f"{of} {id_[: 3 + 12]}", "version", sorted(places))

    def _run(self, digits: str) -> Target | None:
        known = self._known
        known.ensure_look()
        if len(digits) < SHORTEST:
            return None
        made = known.circumstances
        runs = {one.run_id for one in made if one.run_id.startswith(digits)}
        if len(runs) > 1 and digits not in runs:
            raise StoreError(f"{digits!r} could be the runs {_listed(sorted(runs))}; give more of the id.")
        if not runs:
            return None
        run = digits if digits in runs else min(runs)
        wanted = {number for number, one in enumerate(made) if one.run_id == run}
        places = [place for place in range(len(known)) if known.is_here(place) and known.made(place) in wanted]
        accepted = [place for place in places if known.state(place) == ACCEPTED]
        if not accepted:
            raise NotStoredError(f"Everything that the run {run} made was refused; see it with: mlops-assets history")
        return Target(f"run {run}", "run", accepted)

    def _unknown_run(self, what: str) -> Target:
        raise NotStoredError(f"No record in {self._store} was made by {what}; see the runs with: mlops-assets log")

    def _file(self, what: str) -> Target | None:
        """Files by name, by the end of a name, or by sha256; None when there is no such file."""
        known = self._known
        arrivals = [entry for entries in known.arrivals().values() for entry in entries]
        read = [(file.name, file.sha256) for file in known.known_files]
        both = dict.fromkeys([*read, *((entry.name, entry.sha256) for entry in arrivals)])
        chosen = {pair for pair in both if pair[0] == what}
        if not chosen:
            chosen = {pair for pair in both if pair[0].endswith(f"/{what}")}
            if len(several := sorted({name for name, _ in chosen})) > 1:
                raise StoreError(f"{what!r} could be {_listed(several)}; write the whole name.")
        if not chosen and (match := _SHA256.fullmatch(what)):
            digits = match["digits"].lower()
            chosen = {pair for pair in both if pair[1].startswith(digits)}
            if len(sums := sorted({sum_ for _, sum_ in chosen})) > 1:
                raise StoreError(f"{what!r} could be the files of {_listed(sums)}; give more digits.")
        if not chosen:
            return None
        names = _listed(sorted({name for name, _ in chosen}))
        places = known.readers({number for number, pair in enumerate(read) if pair in chosen})
        notes = []
        entries = tuple(entry for entry in arrivals if (entry.name, entry.sha256) in chosen)
        if not places:
            bytes_ = {sum_ for _, sum_ in chosen}
            places = known.readers({number for number, pair in enumerate(read) if pair[1] in bytes_})
            if places:
                others = sorted({file.name for file in known.known_files if file.sha256 in bytes_})
                notes.append(f"{names} brought the same bytes as {_listed(others)}, which is what was read.")
            else:
                notes.append(f"{names} was delivered, and no version was made of it.")
        contents = len({sum_ for _, sum_ in chosen})
        if contents > 1:
            notes.append(f"{names} was delivered with {contents} different contents; this is about all of them.")
        return Target(names, "file", places, entries, tuple(notes))

    def _unknown(self, what: str, trouble: StoreError) -> StoreError:
        """What to say of a name that means nothing; a reference that has more than one meaning says so itself."""
        if not isinstance(trouble, NotStoredError):
            return trouble
        names = dict.fromkeys(file.name for file in self._known.known_files)
        short = {name.rpartition("/")[2]: name for name in names}
        assets = view(self._store, self._at, self._branch).assets()
        close = difflib.get_close_matches(what, [*assets, *names, *short], cutoff=0.6)
        if not close:
            return trouble
        found = list(dict.fromkeys([*near(self._store, what), *(short.get(name, name) for name in close)]))
        return NotStoredError(
            f"There is no asset, file, run, branch, tag or version {what!r} in {self._store}; near is: "
            f"{_listed(found)}."
        )


def whole_name(known: Remembered, asset: str) -> str:
    """An asset's name from its last part, where only one ends so."""
    names = {known.asset(place) for place in range(len(known))}
    if asset in names:
        return asset
    ending = sorted(name for name in names if name.endswith(f"/{asset}"))
    if len(ending) > 1:
        raise StoreError(f"{asset!r} could be {_listed(ending)}; write the whole name.")
    return ending[0] if ending else asset


def _listed(names: Sequence[str]) -> str:
    more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
