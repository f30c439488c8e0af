"""The store: what was made, kept under its content, and the heads that say which of it readers see.

What belongs here: opening a store, branches as readers see them, and moving heads. What does not: values and records in
their places (``blobs``, ``records``), what a place is (``backend``), and all that is built on heads (merging,
snapshots, questions, housekeeping, remotes), which are functions on a store in modules of their own.

``FORMAT`` holds a number. It is raised when a reader of the old number would misread or damage a store of the new one:
a changed layout, name or digest. What a reader may overlook (a new folder, a new field with a default) leaves it alone.
A store of an older number is raised when it is opened for writing, if the step is written in ``_raise_format``; formats
1 and 2 differ in that heads of format 2 may be taken away, and that branches start from trees.

Blob, manifest, move, head are written in this order, each durable before the next: whenever a process dies, what it
leaves is complete, and at most unreferenced. Nothing but a head is ever replaced, except bytes that were damaged.
"""

import getpass
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlops_assets.errors import ConflictError, CorruptError, NotStoredError, RefusedError, StoreError
from mlops_assets.store.backend import Backend, backend_at
from mlops_assets.store.blobs import Blobs, called
from mlops_assets.store.branches import MAIN, Branch, Protection
from mlops_assets.store.bulk import uncollected
from mlops_assets.store.columns import Columns
from mlops_assets.store.digest import json_digest
from mlops_assets.store.heads import NOTHING, Head, Leaf, Move, read_head
from mlops_assets.store.listing import look
from mlops_assets.store.manifest import Kind, Manifest
from mlops_assets.store.names import asset_path, segment, text, version_name
from mlops_assets.store.notes import note
from mlops_assets.store.records import manifest_path, read_move

FORMAT = 2


class Store(Blobs):
    """Versions of anything at one place; any number of processes and threads may use it at once."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self._branches: dict[str, Branch] = {}

    @classmethod
    def open(cls, place: str | Path, create: bool = True) -> "Store":
        """The store at a folder or URL (see ``backend_at``), made if there is none and ``create`` allows.

        Raises ``NotStoredError`` when there is none, ``StoreError`` for a newer format or another kind of folder.
        """
        backend = backend_at(place)
        store = cls(backend)
        try:
            content = backend.read("FORMAT")
        except FileNotFoundError:
            if not create:
                raise NotStoredError(
                    f"There is no store at {backend.url}; build something first, or name another place."
                ) from None
            if _is_something_else(backend.url):
                raise StoreError(
                    f"{backend.url} is not empty and not a store (it has no FORMAT); name an empty or new folder."
                ) from None
            backend.create("FORMAT", f"{FORMAT}\n".encode())
            content = backend.read("FORMAT")
        number = content.strip()
        if not number.isdigit():
            raise CorruptError(
                f"{store.where('FORMAT')} holds {content[:40]!r} instead of a number; "
                f"write {FORMAT} if this is your store."
            )
        if int(number) > FORMAT:
            raise StoreError(
                f"The store at {backend.url} has format {int(number)}, and this mlops_assets reads up to {FORMAT}; "
                "install the newer mlops_assets that wrote it."
            )
        if int(number) < FORMAT and create:
            store._raise_format(int(number))
        return store

    def commit(
        self,
        branch: str,
        asset: str,
        batch: str,
        kind: Kind,
        value: Any,
        *,
        message: str = "",
        who: str = "",
        **fields: Any,
    ) -> Head:
        """Keep a value, record it and publish it: the whole way in one call; ``fields`` are those of ``Manifest``.

        Whoever gives no ``recipe`` gets one from code version, settings, seed, inputs and files; a value that the head
        shows already, made by the same recipe, writes nothing. Raises as ``put`` and ``publish``.
        """
        shown = self.head(branch, asset, batch)
        stored = self.put(asset, batch, kind, value, known=shown.leaf if shown else None)
        fields = {"accepted": True, "when": now(), "who": who or account(), **fields}
        manifest = Manifest(
            asset=asset,
            batch=batch,
            kind=kind,
            version=stored.version,
            blob=stored.blob,
            rows=stored.rows,
            schema=stored.schema,
            columns=stored.columns,
            **{"recipe": _recipe(fields), **fields},
        )
        current = self.head(branch, asset, batch)
        if current and (current.version, current.recipe) == (manifest.version, manifest.key):
            return current
        self.record(manifest)
        return self.publish(branch, manifest, current, message=message, who=who)

    # --- branches ------------------------------------------------------------------------------------------------

    def branch(self, name: str) -> Branch:
        """Where a branch starts; raises ``NotStoredError`` when there is no such branch."""
        if name not in self._branches:
            path = branch_path(name)
            try:
                self._branches[name] = Branch.decode(self.backend.read(path), self.where(path))
            except FileNotFoundError:
                if name != MAIN:
                    known = ", ".join(self.branches())
                    raise NotStoredError(
                        f"There is no branch {name!r} in {self}; there is: {known}. "
                        f"Start it with: mlops-assets branch {name}"
                    ) from None
                # not remembered: a clone may bring the file of a main that starts from something
                return Branch(MAIN)
        return self._branches[name]

    def branches(self) -> list[str]:
        """The names of all branches, sorted; ``main`` is always one."""
        names = self.backend.children("branches")[1]
        return sorted({MAIN, *(text(name.removesuffix(".json")) for name in names)})

    def forget_branches(self) -> None:
        """Read again where branches start: one was started or removed."""
        self._branches.clear()

    def protection(self, branch: str) -> Protection | None:
        """How a branch is protected, or None."""
        path = protection_path(branch)
        try:
            found = Protection.decode(self.backend.read(path), self.where(path))
        except FileNotFoundError:
            return None
        return found if found.active else None

    # --- heads ---------------------------------------------------------------------------------------------------

    def head(self, branch: str, asset: str, batch: str) -> Head | None:
        """What readers of a branch see of a batch, or None. Raises ``NotStoredError`` for an unknown branch."""
        return _visible(self._own_head(branch, asset, batch)[0] or self._base_head(branch, asset, batch))

    @uncollected()
    def heads(self, branch: str, asset: str) -> dict[str, Head]:
        """What readers of a branch see of each batch of an asset, in the order of the batches' names."""
        base = self.branch(branch).base.get(asset)
        found = {batch: _base_of(asset, batch, leaf) for batch, leaf in self.tree(base).items()} if base else {}
        found.update((head.batch, head) for head in look(self, branch, asset).heads.values())
        return {batch: found[batch] for batch in sorted(found) if found[batch].manifest}

    @uncollected()
    def leaves(self, branch: str, asset: str) -> Columns[Leaf]:
        """What a tree would say of an asset on a branch now."""
        return self.leaves_of(look(self, branch, asset).heads, self.branch(branch).base.get(asset))

    def leaves_of(self, heads: Columns[Head], base: str | None) -> Columns[Leaf]:
        """What a tree would say of a branch's own heads of an asset, which stand over those of the tree ``base``."""
        batches = list(heads.column("batch"))
        if base is None and all(heads.column("manifest")) and all(heads.column("kind")) and batches == sorted(batches):
            return Columns(Leaf, batches, [list(heads.column(field)) for field in Leaf._fields])
        found = dict(self.tree(base).items()) if base else {}
        for head in heads.values():
            if head.manifest:
                found[head.batch] = self.leaf(head)
            else:
                found.pop(head.batch, None)
        return Columns.of(Leaf, found)

    def leaf(self, head: Head) -> Leaf:
        """What a tree says of the version that a head shows."""
        if head.kind:
            return head.leaf
        # written before heads carried what trees need
        return leaf_of(self.manifest(head.asset, head.batch, head.manifest))

    def assets(self, branch: str) -> list[str]:
        """The names of all assets that a branch has or had a head of, sorted."""
        found = set(self.branch(branch).base)
        waiting = [f"heads/{segment(branch)}"]
        while waiting:
            folder = waiting.pop()
            folders, has_heads = self.backend.folders(folder)
            waiting += [f"{folder}/{name}" for name in folders]
            if has_heads:
                found.add("/".join(text(part) for part in folder.split("/")[2:]))
        return sorted(found)

    def publish(
        self,
        branch: str,
        manifest: Manifest,
        expected: Head | None,
        message: str = "",
        who: str = "",
    ) -> Head:
        """Let readers see a recorded, accepted manifest, if the head is still ``expected`` (None: there is none).

        A head that shows the manifest already is returned as it is. ``who`` defaults to the manifest's, then to the
        account. Raises ``ConflictError`` when the head has moved since, ``RefusedError`` for a manifest that was not
        accepted or a protected branch, ``NotStoredError`` for one that was not recorded and for an unknown branch.
        """
        asset, batch = manifest.asset, manifest.batch
        if not manifest.accepted or manifest.version is None:
            raise RefusedError(
                f"{called(manifest)} was refused by its checks and is not published; see the verdicts in its manifest."
            )
        if self.protection(branch):
            raise RefusedError(
                f"The branch {branch} is protected: it moves by merges only. Publish {called(manifest)} on another "
                f"branch, then: mlops-assets merge THAT_BRANCH --into {branch}"
            )
        # gc waits for whoever holds a head before it looks for the last time: what is found here stays
        with self.backend.hold(head_path(branch, asset, batch)):
            if self.backend.stat(manifest_path(asset, batch, manifest.id)) is None:
                raise NotStoredError(
                    f"{called(manifest)} has no recorded manifest {manifest.id}; record it before publishing."
                )
            self.check(manifest)
            moved = self.move(
                branch,
                asset,
                batch,
                leaf_of(manifest),
                expected,
                message=message,
                who=who or manifest.who,
                run_id=manifest.run_id,
            )
        assert moved is not None
        if _identity(moved) != _identity(expected):
            note(self.backend, manifest)
        return moved

    def move(
        self,
        branch: str,
        asset: str,
        batch: str,
        to: Leaf | None,
        expected: Head | None,
        *,
        message: str = "",
        who: str = "",
        run_id: str = "",
        origin: Mapping[str, str] | None = None,
        always: bool = False,
    ) -> Head | None:
        """Move a head to a recorded version, or take it away (``to`` None), if it is still ``expected``; the new head.

        For verbs that move heads between versions that were published before; whoever publishes a new one uses
        ``publish``, which looks at its verdicts. A head that shows ``to`` already is returned as it is, unless the move
        is to be recorded ``always`` (a merge that keeps what was there). Raises ``ConflictError`` when the head has
        moved since.
        """
        path = head_path(branch, asset, batch)
        with self.backend.hold(path):
            own, seen = self._own_head(branch, asset, batch)
            current = _visible(own or self._base_head(branch, asset, batch))
            if _identity(current) != _identity(expected):
                raise self._conflict(branch, asset, batch, current=current, expected=expected, to=to)
            if not always and (current.manifest if current else None) == (to.manifest if to else None):
                return current
            move = Move(
                branch=branch,
                asset=asset,
                batch=batch,
                seq=own.seq + 1 if own else 1,
                previous=own.move if own else None,
                from_manifest=current.manifest if current else None,
                to_manifest=to.manifest if to else "",
                who=who or account(),
                when=now(),
                message=message,
                run_id=run_id,
                attempt=os.urandom(12).hex(),
                origin=origin or {},
            )
            head = Head(asset, batch, move.seq, move.id, move.attempt, *(to or NOTHING))
            self.backend.create(move_path(branch, asset, batch, head.move), move.encode())
            if not self.backend.swap(path, head.encode(), seen):
                current = self.head(branch, asset, batch)
                raise self._conflict(branch, asset, batch, current=current, expected=expected, to=to)
        return _visible(head)

    def moves(self, branch: str, asset: str, batch: str) -> list[Move]:
        """How a head came to where it is, newest first; moves that a crash left unfinished are not among them.

        Only the branch's own moves: what its base showed before is the source branch's history.
        """
        return list(self.walk(branch, asset, batch))

    def walk(self, branch: str, asset: str, batch: str) -> Iterator[Move]:
        """As ``moves``, one at a time, for those who need only the newest ones."""
        own, _ = self._own_head(branch, asset, batch)
        next_ = own.move if own else None
        while next_:
            move = self.move_record(branch, asset, batch, next_)
            yield move
            next_ = move.previous

    def move_record(self, branch: str, asset: str, batch: str, id: str) -> Move:  # noqa: A002
        """The record of a move; raises ``CorruptError`` when it is lost or damaged."""
        path = move_path(branch, asset, batch, id)
        try:
            data: bytes | None = self.backend.read(path)
        except FileNotFoundError:
            data = None
        return read_move(data, id, self.where(path))

    def slot(self, branch: str, asset: str, batch: str) -> Head | None:
        """A branch's own head as it stands, one that was taken away too; None where the base shows through."""
        return self._own_head(branch, asset, batch)[0]

    @uncollected()
    def slots(self, branch: str, asset: str) -> list[Head]:
        """A branch's own heads of an asset as they stand, those that were taken away too, by batch."""
        return sorted(look(self, branch, asset).heads.values())

    # --- inside --------------------------------------------------------------------------------------------------

    def _own_head(self, branch: str, asset: str, batch: str) -> tuple[Head | None, bytes | None]:
        path = head_path(branch, asset, batch)
        try:
            data = self.backend.read(path)
        except FileNotFoundError:
            return None, None
        return read_head(data, self.where(path), asset, batch), data

    def _base_head(self, branch: str, asset: str, batch: str) -> Head | None:
        tree = self.branch(branch).base.get(asset)
        leaf = self.tree(tree).get(batch) if tree else None
        return _base_of(asset, batch, leaf) if leaf else None

    def _conflict(
        self, branch: str, asset: str, batch: str, *, current: Head | None, expected: Head | None, to: Leaf | None
    ) -> ConflictError:
        where = f"The head of {asset}[{batch}] on branch {branch}"
        wanted = f"{to.version if to else 'Nothing'} was not published; look at the head again, then decide."
        if current is None:
            return ConflictError(
                f"{where} is gone, where move {expected.seq if expected else 0} was expected. {wanted}"
            )
        told = f"{f'move {expected.seq}' if expected else 'no head'} was expected"
        if not current.move:
            return ConflictError(f"{where} shows {current.version}, with which the branch started; {told}. {wanted}")
        last = self.move_record(branch, asset, batch, current.move)
        return ConflictError(
            f"{where} has moved since it was read: {last.who} set it to {current.version} at {last.when} "
            f"(move {current.seq}; {told}). {wanted}"
        )

    def _raise_format(self, number: int) -> None:
        """A store of format 1 is one of format 2 as it stands."""
        with self.backend.hold("FORMAT"):
            if int(self.backend.read("FORMAT")) == number:
                self.backend.write("FORMAT", f"{FORMAT}\n".encode())


def leaf_of(manifest: Manifest) -> Leaf:
    """What heads and trees say of a manifest's version."""
    assert manifest.version is not None
    assert manifest.blob is not None
    blob = manifest.blob
    return Leaf(
        manifest.id, manifest.version, manifest.key, manifest.kind, blob.size, blob.sha256, manifest.rows
    )  # fmt: skip


def head_path(branch: str, asset: str, batch: str) -> str:
    """Where a branch's own head stands."""
    return f"heads/{segment(branch)}/{asset_path(asset)}/{segment(batch)}"


def move_path(branch: str, asset: str, batch: str, id_: str) -> str:
    """Where the record of a move stands."""
    return f"moves/{segment(branch)}/{asset_path(asset)}/{segment(batch)}/{version_name(id_)}.json"


def branch_path(name: str) -> str:
    """Where it is written what a branch starts from."""
    return f"branches/{segment(name)}.json"


def protection_path(branch: str) -> str:
    """Where it is written how a branch is protected."""
    return f"protected/{segment(branch)}.json"


def now() -> str:
    """The time for records, ISO in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def account() -> str:
    """The person or service account that this process works for."""
    try:
        return os.environ.get("MLOPS_ASSETS_WHO") or getpass.getuser()
    except (KeyError, OSError):
        # containers often run under a number without a name
        return f"uid {os.getuid()}"


def _visible(head: Head | None) -> Head | None:
    return head if head and head.manifest else None


def _identity(head: Head | None) -> tuple[str, str] | None:
    return (head.attempt, head.manifest) if head else None


def _base_of(asset: str, batch: str, leaf: Leaf) -> Head:
    return Head(asset, batch, 0, "", "", *leaf)


def _recipe(fields: Mapping[str, Any]) -> str:
    return json_digest(
        {
            "code": fields.get("code_version", ""),
            "settings": fields.get("settings"),
            "seed": fields.get("seed"),
            "inputs": [[item.asset, item.partition, item.version] for item in fields.get("inputs", ())],
            "files": [dict(item) for item in fields.get("files", ())],
        }
    )


def _is_something_else(url: str) -> bool:
    """Whether a local path holds other things than a store that somebody is making this moment."""
    root = Path(url)
    if "://" in url or not root.exists():
        return False
    if not root.is_dir():
        return True
    return any(not path.name.startswith(".") for path in root.iterdir()) and not (root / "FORMAT").exists()
