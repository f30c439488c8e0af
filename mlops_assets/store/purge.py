"""Erasing a person: the rows of a key, in every version of every asset of a dataset, at every place of the store.

What belongs here: finding the rows, the versions that take the place of those that held them, and taking the old ones
away. What does not: who may ask for it, and other places that copies went to; those are named.

What is never rewritten: manifests, trees, tags, moves, ledgers. They hold no values of rows, and every digest in them
stays verifiable: size and sha256 of what is gone are still known, its content is not.

What happens to each version that holds rows of the person:

1. A version without these rows is made, with a manifest of its own. Its recipe is ``purged-<id>``, so that nobody takes
   it for what code and inputs would give now: the next run makes it again, from inputs that were purged as well.
2. A tombstone is written (create-only, without the key, which is not even hashed). From now on the store refuses the
   erased content: neither a run nor a delivery nor a copy of the store can bring it back.
3. Every head that shows it, on every branch, protected or not, moves to the version that takes its place.
4. Its file is deleted, with the attachments of its manifests and the delivered bytes that held the person.

So the same delivery is refused from then on, with a sentence, until its rows are left out by whoever delivers. A new
delivery of other bytes that holds the person again is taken in: without the key nobody can tell.

Tables without the key columns lose the rows at the same places, where the caller says that their rows are ``aligned``
with those of another asset. Everything else that was made from erased versions (models, reports) is not touched but
listed: it knows rows that are gone, and has to be made again or retired.

Replacements are made first, then ``purges/<id>.json`` says all that will be done, then it is done, then
``purges/<id>.done`` says so. A purge that was interrupted is finished from its record: the key is not needed again.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from mlops_assets.errors import ConflictError, NotStoredError, RefusedError, StoreError, UserError
from mlops_assets.store.backend import Written
from mlops_assets.store.blobs import blob_path, tombstone_path
from mlops_assets.store.digest import sealed_json
from mlops_assets.store.erasure import (
    Derived,
    Erased,
    Purge,
    Replaced,
    end_path,
    marks,
    purge_path,
    purges,
    read_purge,
    replacement,
)
from mlops_assets.store.people import People, Person
from mlops_assets.store.reach import Reach
from mlops_assets.store.records import manifest_path
from mlops_assets.store.search import Progress, Search
from mlops_assets.store.store import Store, account, now

__all__ = ["Derived", "Erased", "Purge", "Replaced", "marks", "purge", "purges", "read_purge", "replacement", "resume"]

_ROUNDS = 50
_HOUR = 3600.0


def purge(
    store: Store,
    dataset: str,
    people: Sequence[Mapping[str, str]],
    *,
    basis: str,
    who: str = "",
    dry: bool = True,
    aligned: Mapping[str, str] | None = None,
    texts: Iterable[str] = ("_text",),
    progress: Progress | None = None,
) -> Purge:
    """Erase the rows of some people from a dataset, or say what that would do.

    Each of ``people`` maps key columns to values, as text: a row goes when it equals one of them in every column, each
    text cast to the column's type. ``aligned`` maps assets whose rows stand in the order of another asset's rows, one
    for one, to that asset. ``texts`` are columns that hold whole records as text (JSON, or as they were delivered).
    ``basis`` says on what ground, for the record; it must not hold a key.

    Raises ``NotStoredError`` for an unknown dataset or when no asset has the columns, ``StoreError`` for a request that
    cannot be, ``ConflictError`` while an unfinished change is about to show a version that has to go, ``CorruptError``
    for a damaged version: what cannot be read cannot be searched.
    """
    wanted = People([Person(dict(each)) for each in people], tuple(texts))
    _check(basis, wanted)
    search = Search(store, dataset, wanted, aligned or {}, progress or _quiet)
    search.run()
    plan = Purge(
        id=f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.urandom(4).hex()}",
        dataset=dataset,
        columns=wanted.columns,
        people=len(people),
        basis=basis,
        who=who or account(),
        when=now(),
        dry=dry,
        searched=search.searched,
        derived=tuple(search.derived()),
        doubts=tuple(search.doubts),
        out_of_reach=tuple(search.out_of_reach()),
    )
    search.refuse_open_changes()
    plan = replace(plan, replaced=tuple(search.replaced()), erased=tuple(search.erased()))
    if dry or not plan.found:
        return plan
    plan = replace(plan, replaced=tuple(search.made_without(plan)))
    # what is left of one version may be what another one was without its key: buckets, for instance
    made = {_value_path(item.asset, item.batch, item.replacement.version) for item in plan.replaced if item.replacement}
    plan = replace(plan, erased=tuple(item for item in plan.erased if item.content or item.path not in made))
    store.backend.create(purge_path(plan.id), sealed_json({"format": 1, **plan.to_dict()}))
    done = _carry_out(store, plan, progress or _quiet)
    late = search.recorded_since(plan)
    return replace(done, doubts=(*done.doubts, *late))


def resume(store: Store, id: str, progress: Progress | None = None) -> Purge:  # noqa: A002 - the word of the design
    """Bring a purge to its end, or make sure once more that it is done; raises ``NotStoredError``."""
    return _carry_out(store, read_purge(store, id), progress or _quiet)


def _carry_out(store: Store, plan: Purge, progress: Progress) -> Purge:
    """From the record on: tombstones, heads, files, and heads once more. Whatever was done already stays done."""
    theirs = _only_theirs(store, plan)
    erased = [item for item in plan.erased if item.content or item.path in theirs]
    for item in erased:
        _bury(store, plan, item)
    moved = list(_move_heads(store, plan))
    aside = _aside(store, erased)
    for number, item in enumerate(erased, 1):
        with store.backend.hold(item.path):
            store.backend.delete(item.path)
        for path in aside.get(item.path, ()):
            store.backend.delete(path)
        store.backend.forget(item.path, Written(item.size, item.sha256))
        progress("files erased", number, len(erased))
    _sweep(store)
    # whoever had looked at an erased version before it went is done with it by now
    store.backend.settle()
    moved += _move_heads(store, plan)
    for item in erased:
        if item.content:
            store.backend.delete(item.path)
    store.backend.create(
        end_path(plan.id), sealed_json({"format": 1, "purge": plan.id, "when": now(), "moved": sorted(moved)})
    )
    return replace(plan, done=True, moved=tuple(sorted(moved)))


def _only_theirs(store: Store, plan: Purge) -> set[str]:
    """The files without the key that go: not after the purge is done, and not what is somebody else's here as well."""
    paths = {item.path for item in plan.erased if not item.content}
    if paths and not store.backend.stat(end_path(plan.id)):
        gone = {item.manifest for item in plan.replaced}
        records = Reach.of(store, _overlook).records
        return paths - {blob.path for id_, record in records.items() if id_ not in gone for blob in record.files}
    return set()


def _bury(store: Store, plan: Purge, item: Erased) -> None:
    instead = next((each for each in plan.replaced if _is_of(each, item)), None)
    record = {
        "format": 1,
        "name": item.name,
        "what": item.what,
        "purge": plan.id,
        "when": plan.when,
        "who": plan.who,
        "basis": plan.basis,
        "size": item.size,
        "sha256": item.sha256,
        "rows": instead.rows if instead else None,
        "replacement": instead.replacement.version if instead and instead.replacement else None,
    }
    store.backend.create(tombstone_path(item.name), sealed_json(record))


def _is_of(replaced: Replaced, item: Erased) -> bool:
    return item.what == "value" and item.path == _value_path(replaced.asset, replaced.batch, replaced.version)


def _value_path(asset: str, batch: str, version: str) -> str:
    return blob_path(asset, batch, version, "table")


def _move_heads(store: Store, plan: Purge) -> Iterator[str]:
    """Move every head that shows an erased version, on every branch, until there is none; a line for each."""
    instead = {item.manifest: item.replacement for item in plan.replaced if item.replacement}
    assets = sorted({item.asset for item in plan.replaced})
    store.forget_branches()
    for branch in store.branches():
        for asset in assets:
            for _ in range(_ROUNDS):
                late = False
                for batch, head in store.heads(branch, asset).items():
                    if head.manifest not in instead:
                        continue
                    to = instead[head.manifest]
                    if store.backend.stat(manifest_path(asset, batch, to.manifest)) is None:
                        raise NotStoredError(
                            f"What takes the place of an erased version of {asset}[{batch}] is not in {store}: fetch "
                            f"it from where the purge was made, then: mlops-assets purge --resume {plan.id}"
                        )
                    try:
                        store.move(
                            branch,
                            asset,
                            batch,
                            to,
                            head,
                            message=f"rows were erased: {plan.basis}",
                            who=plan.who,
                            run_id=f"purge-{plan.id}",
                            origin={"verb": "purge", "purge": plan.id},
                        )
                    except ConflictError:
                        late = True
                    else:
                        yield f"{asset}[{batch}] on branch {branch}"
                if not late:
                    break
            else:
                raise ConflictError(
                    f"Heads of {asset} on branch {branch} move all the time; stop what publishes there, then: "
                    f"mlops-assets purge --resume {plan.id}"
                )


def _aside(store: Store, erased: Iterable[Erased]) -> dict[str, list[str]]:
    """What gc or a repair has set aside of the files that go."""
    gone = {item.path for item in erased}
    found: dict[str, list[str]] = {}
    for entry in store.backend.entries("trash"):
        path = entry.path.split("/", 2)[2]
        if path in gone:
            found.setdefault(path, []).append(entry.path)
    return found


def _sweep(store: Store) -> None:
    """What killed writers left may hold anybody's rows."""
    for entry in list(store.backend.litter()):
        if entry.modified < time.time() - _HOUR:
            store.backend.delete(entry.path)


def _check(basis: str, people: People) -> None:
    if not basis.strip():
        raise StoreError("Say on what ground the rows are erased (--basis): it is kept with the record of the purge.")
    if people.in_text(basis):
        raise RefusedError(
            "The basis holds the key itself, and the record of a purge is kept for ever: name the request by a number."
        )


def _overlook(what: str, path: str, trouble: UserError) -> None:
    del what, path, trouble


def _quiet(what: str, done: int, of: int) -> None:
    del what, done, of
