"""Every verb that changes a store, each as one call on a prepared folder, to be killed in the middle.

What belongs here: the folder, the verbs, and what a folder shows. What does not: killing, and what must be true
afterwards. Run as ``python -m mlops_assets_tests.store.verbs VERB FOLDER``, a verb can be killed from outside; with the
verb ``build`` the folder is made.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from mlops_assets.store import Input, Manifest, Store, refs, transfer
from mlops_assets.store.branching import create_branch, protect, remove_branch
from mlops_assets.store.changes import open_changes, read_change, resume
from mlops_assets.store.deliveries import Ledger, datasets
from mlops_assets.store.export import export
from mlops_assets.store.garbage import Policy, gc
from mlops_assets.store.heads import Head
from mlops_assets.store.merging import merge
from mlops_assets.store.names import asset_path
from mlops_assets.store.remotes import add_remote, remotes, tracked
from mlops_assets.store.restoring import restore, rollback
from mlops_assets.store.reverting import revert
from mlops_assets.store.snapshots import checkout, delete_tag, tag
from mlops_assets.store.store import branch_path
from mlops_assets.store.tags import read_tag, tag_names

BATCHES = ("2013-01", "2013-02", "a/b")
RAW, CLEANED, MODEL = "shop/raw/orders", "shop/cleaned", "shop/model"
WHEN = "2026-01-01T00:00:00+00:00"
POLICY = Policy(keep_last=1, keep_moves=0, keep_refused=0)

Seen = dict[tuple[str, ...], Any]
"""What a folder shows: by store and by kind and name of what is shown, something that can be compared."""


# --- the folder ------------------------------------------------------------------------------------------------------


def table(number: int) -> pa.Table:
    """A table of its own for each number."""
    return pa.table({"id": [1, 2, number], "value": ["a", "b", f"{number}"]})


def commit(store: Store, branch: str, asset: str, batch: str, number: int, *made_from: Head, **fields: Any) -> Head:
    """Publish a value that follows from ``number``; always the same record."""
    inputs = tuple(Input(head.asset, head.batch, head.version, head.manifest) for head in made_from)
    note = store.put_bytes(asset, batch, f"note {number}".encode())
    fields = {"inputs": inputs, "when": WHEN, "who": "tester", "attachments": {"note": note}, **fields}
    if asset == MODEL:
        return store.commit(branch, asset, batch, "json", {"number": number}, **fields)
    return store.commit(branch, asset, batch, "table", table(number), **fields)


def _day(store: Store, branch: str, batch: str, number: int) -> None:
    raw = commit(store, branch, RAW, batch, number)
    cleaned = commit(store, branch, CLEANED, batch, number + 1, raw)
    commit(store, branch, MODEL, batch, number + 2, cleaned)


def take_away(store: Store, branch: str, asset: str, batch: str) -> None:
    """Let a branch show nothing of a batch."""
    head = store.head(branch, asset, batch)
    store.move(branch, asset, batch, None, head, message="taken away", who="tester")


def _refuse(store: Store, number: int) -> None:
    """A version that its checks refused."""
    stored = store.put(CLEANED, BATCHES[0], "table", table(number))
    manifest = Manifest(
        CLEANED, BATCHES[0], "table", stored.version, stored.blob, stored.rows, stored.schema, stored.columns, when=WHEN
    )
    store.record(manifest)


def build(folder: Path) -> None:
    """Make the folder: ``store``, its remote ``remote``, and ``ahead``, a copy of the store that went on."""
    store = Store.open(folder / "store")
    ledger = Ledger(store, "shop")
    for number, batch in enumerate(BATCHES):
        ledger.record(RAW, f"{number}.csv", f"delivered {number}".encode(), place=batch, who="tester")
        _day(store, "main", batch, 100 * number)
    _day(store, "main", BATCHES[0], 10)
    tag(store, "v0", "shop", "main", message="first", who="tester")
    add_remote(store, "origin", str(folder / "remote"))
    transfer.push(store, "origin", ["main"], tags="all")

    create_branch(store, "small", "main", who="tester")
    commit(store, "small", MODEL, BATCHES[1], 500)
    commit(store, "small", RAW, BATCHES[2], 501)
    merge(store, "small", "main", who="tester")
    create_branch(store, "old", "main", who="tester")
    commit(store, "old", MODEL, BATCHES[1], 600)
    commit(store, "old", RAW, BATCHES[2], 601)
    create_branch(store, "dev", "main", who="tester")
    _day(store, "dev", BATCHES[0], 700)
    _day(store, "dev", "2013-03", 710)
    take_away(store, "dev", CLEANED, BATCHES[2])
    create_branch(store, "other", "main", who="tester")
    commit(store, "other", MODEL, BATCHES[2], 800)
    commit(store, "main", MODEL, BATCHES[2], 801)
    commit(store, "other", CLEANED, "2013-04", 802)
    _refuse(store, 900)

    ahead = transfer.clone(str(folder / "store"), folder / "ahead")
    assert ahead.remote.url == str(folder / "store")
    copy = Store.open(folder / "ahead")
    _day(copy, "main", BATCHES[1], 1000)
    _day(copy, "main", "2013-05", 1010)
    tag(copy, "v-ahead", "shop", "main", message="ahead", who="tester")
    Ledger(copy, "shop").record(RAW, "9.csv", b"delivered 9", place=BATCHES[0], who="tester")
    add_remote(store, "ahead", str(folder / "ahead"))
    # what nothing leads to, and what a killed writer left
    store.put(MODEL, BATCHES[0], "json", {"number": 1100})
    store.write_tree(MODEL, {})
    (store.root / "data" / ".1-0123456789ab.tmp").write_bytes(b"half a fi")
    age(folder)


def age(folder: Path) -> None:
    """Make every file of a folder four days older, as far as gc looks at that."""
    then = time.time() - 4 * 86400
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (then, then))


# --- the verbs -------------------------------------------------------------------------------------------------------


def _open(folder: Path) -> Store:
    return Store.open(folder / "store", create=False)


def _finish(store: Store, branch: str) -> bool:
    """Finish what was left open, as a person would; whether there was something."""
    found = open_changes(store, branch)
    for change in found:
        resume(store, change.id)
    return bool(found)


def _commit(folder: Path) -> None:
    store = _open(folder)
    raw = store.head("main", RAW, BATCHES[0])
    assert raw is not None
    commit(store, "main", CLEANED, BATCHES[0], 2000, raw)


def _first_commit(folder: Path) -> None:
    store = Store.open(folder / "fresh")
    commit(store, "main", MODEL, "all", 2001)


def _deliver(folder: Path) -> None:
    Ledger(_open(folder), "shop").record(RAW, "1.csv", b"delivered again", place=BATCHES[1], who="tester")


def _merge_change(store: Store) -> str:
    """The id of the merge that was made when the folder was."""
    names = sorted(name for name in store.backend.children("changes")[1] if name.endswith(".done"))
    return read_change(store, names[0].removesuffix(".done")).id


def _revert(folder: Path) -> None:
    store = _open(folder)
    if not _finish(store, "main"):
        revert(store, "main", _merge_change(store), who="tester")


def _restore(folder: Path) -> None:
    store = _open(folder)
    if not _finish(store, "main"):
        restore(store, "main", "v0", who="tester")


def _rollback(folder: Path) -> None:
    store = _open(folder)
    # a second rollback would lead forward again
    done = store.moves("main", MODEL, BATCHES[1])[0].origin.get("verb") == "restore"
    if not _finish(store, "main") and not done:
        rollback(store, "main", [MODEL], [BATCHES[1]], who="tester")


def _purge(folder: Path) -> None:
    from mlops_assets.store import purge

    store = _open(folder)
    found = [done for done in purge.purges(store) if not done.done]
    for done in found:
        purge.resume(store, done.id)
    if not found:
        purge.purge(store, "shop", [{"value": "a"}], basis="request 7", dry=False)


def _publish(folder: Path) -> None:
    from mlops_assets.store.publishing import publish

    store = _open(folder)
    publish(store, refs.view(store, "v0"), when=WHEN)


def _export_dvc(folder: Path) -> None:
    from mlops_assets.store.publishing import export_dvc

    store = _open(folder)
    (folder / "project").mkdir(exist_ok=True)
    export_dvc(store, refs.view(store, "v0"), folder / "project", "state", remote=folder / "dvc-remote")


def _export(folder: Path) -> None:
    store = _open(folder)
    export(store, refs.view(store, "v0"), folder / "exported", "csv")


@dataclass(frozen=True)
class Verb:
    """``run`` does it, or finishes it. ``whole`` says that nobody may see a part of it.

    ``once`` says that a second time is refused. ``native`` ones write with libraries that do not pass through Python.
    """

    run: Callable[[Path], object]
    whole: bool = True
    once: bool = False
    native: bool = False


VERBS: dict[str, Verb] = {
    "commit": Verb(_commit),
    "first-commit": Verb(_first_commit),
    "deliver": Verb(_deliver),
    "branch": Verb(lambda folder: create_branch(_open(folder), "new", "main", who="tester"), once=True),
    "remove-branch": Verb(lambda folder: remove_branch(_open(folder), "old"), once=True),
    "protect": Verb(lambda folder: protect(_open(folder), "main", ["tests"], who="tester")),
    "merge": Verb(lambda folder: merge(_open(folder), "dev", "main", who="tester"), whole=False),
    "merge-theirs": Verb(lambda folder: merge(_open(folder), "other", "main", "theirs", who="tester"), whole=False),
    "merge-ours": Verb(lambda folder: merge(_open(folder), "other", "main", "ours", who="tester"), whole=False),
    "revert": Verb(_revert, whole=False, once=True),
    "restore": Verb(_restore, whole=False),
    "rollback": Verb(_rollback, whole=False),
    "tag": Verb(lambda folder: tag(_open(folder), "v1", "shop", "main", message="second", who="tester")),
    "delete-tag": Verb(lambda folder: delete_tag(_open(folder), "v0", "a mistake", who="tester"), once=True),
    "checkout": Verb(lambda folder: checkout(_open(folder), "v0", who="tester"), once=True),
    "gc": Verb(lambda folder: gc(_open(folder), yes=True, policy=POLICY)),
    "purge": Verb(_purge, whole=False),
    "push": Verb(lambda folder: transfer.push(_open(folder), "origin", ["main", "dev"], tags="all"), whole=False),
    "fetch": Verb(lambda folder: transfer.fetch(_open(folder), "ahead", tags="all"), whole=False),
    "pull": Verb(lambda folder: transfer.pull(_open(folder), "ahead", ["main"], tags="all"), whole=False),
    "clone": Verb(lambda folder: transfer.clone(str(folder / "store"), folder / "cloned"), whole=False),
    "remote-add": Verb(lambda folder: add_remote(_open(folder), "third", str(folder / "third"))),
    "export": Verb(_export, whole=False),
    "export-dvc": Verb(_export_dvc, whole=False),
    "publish": Verb(_publish, whole=False, native=True),
}


# --- what a folder shows ---------------------------------------------------------------------------------------------


def stores(folder: Path) -> Iterator[Store]:
    """The stores in a folder."""
    for name in ("store", "remote", "ahead", "cloned", "fresh"):
        if (folder / name / "FORMAT").exists():
            yield Store.open(folder / name, create=False)


def seen(folder: Path) -> Seen:
    """What a folder's stores show, and the files for others beside them; raises when a head's chain is broken."""
    found: Seen = {}
    for store in stores(folder):
        name = store.root.name
        for kind, what, value in shown(store):
            found[name, kind, *what] = value
    for place in ("exported", "project", "dvc-remote"):
        for path in (folder / place).rglob("*"):
            if path.is_file() and path.name not in {"EXPORT.json", "README.txt"} and not path.name.endswith(".tmp"):
                found["files", f"{path.relative_to(folder)}"] = path.read_bytes()
    return found


def shown(store: Store) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """What one store shows: kind, name and value of each thing."""
    for branch in store.branches():
        yield from _branch(store, branch)
    for name in tag_names(store):
        yield "tag", (name,), read_tag(store, name).trees
    for dataset in datasets(store):
        for entry in Ledger(store, dataset).entries:
            yield "entry", (dataset, f"{entry.seq}"), (entry.name, entry.blob.sha256)
    yield from _published(store)
    for remote in remotes(store):
        yield "remote", (remote.name,), remote.url
        for name in store.backend.children(f"remotes/{remote.name}/branches")[1]:
            branch = name.removesuffix(".json")
            found = tracked(store, remote.name, branch)
            assert found is not None
            yield "tracked", (remote.name, branch), (found.trees, found.moves)


def _branch(store: Store, branch: str) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    if branch != "main" or store.backend.stat(branch_path(branch)):
        yield "branch", (branch,), dict(store.branch(branch).base)
    if protection := store.protection(branch):
        yield "protection", (branch,), protection.checks
    for asset in store.assets(branch):
        for batch, head in store.heads(branch, asset).items():
            yield "head", (branch, asset, batch), head.version
        for slot in store.slots(branch, asset):
            trail = store.moves(branch, asset, slot.batch)
            assert [move.seq for move in trail] == list(range(slot.seq, 0, -1))


def _published(store: Store) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    from mlops_assets.store.delta import published

    if "://" not in store.backend.url:
        for asset in {asset for branch in store.branches() for asset in store.assets(branch)}:
            if found := published(store.root / "data" / asset_path(asset)):
                yield "published", (asset,), found


def _main(arguments: list[str]) -> int:
    verb, folder = arguments
    if verb == "build":
        build(Path(folder))
        return 0
    store = _open(Path(folder))
    if verb == "publish":
        import deltalake

        del deltalake
    # whoever kills may begin to
    print(f"{store}", flush=True)
    VERBS[verb].run(Path(folder).absolute())
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
