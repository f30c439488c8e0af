"""The store: what was made, kept under its content, and the heads that say which of it readers see.

What belongs here: the layout on disk and the order of writing. What does not: encodings (``values``), what makes two
values the same (``digest``), how a file is written (``files``).

``FORMAT`` holds a number. It is raised when a reader of the old number would misread or damage a store of the new one:
a changed layout, name or digest. What a reader may overlook (a new folder, a new field with a default) leaves it alone.

Blob, manifest, move, head are written in this order, each durable before the next: whenever a process dies, what it
leaves is complete, and at most unreferenced. Nothing but a head is ever replaced, except bytes that were damaged.
"""

import builtins
import getpass
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from mlops_assets.errors import ConflictError, CorruptError, NotStoredError, RefusedError, StoreError
from mlops_assets.store import files
from mlops_assets.store.digest import bytes_digest, parse_json
from mlops_assets.store.heads import Head, Move
from mlops_assets.store.manifest import Blob, Kind, Manifest
from mlops_assets.store.names import asset_path, segment, text, version_name

if TYPE_CHECKING:
    from mlops_assets.store.values import Prepared

FORMAT = 1

_AGAIN = "Build the batch again, or copy the file from another copy of the store."


@dataclass(frozen=True, slots=True)
class Stored:
    """What ``put`` wrote or found: the fields a manifest takes over. ``new`` says whether bytes were written."""

    version: str
    kind: Kind
    blob: Blob
    rows: int | None = None
    schema: tuple[tuple[str, str], ...] = ()
    columns: dict[str, str] = field(default_factory=dict)
    new: bool = True


class Store:
    """Versions on a local directory; any number of processes and threads may use it at once."""

    def __init__(self, root: Path) -> None:
        """Use ``open``, which looks at the format."""
        self.root = root
        self._base = str(root)
        self._locks = files.Locks(root / "locks")

    def __str__(self) -> str:
        return f"store at {self.root}"

    @classmethod
    def open(cls, root: Path, create: bool = True) -> "Store":
        """The store at ``root``, made if there is none and ``create`` allows.

        Raises ``NotStoredError`` when there is none, ``StoreError`` for a newer format or another kind of folder.
        """
        root = Path(root).absolute()
        mark = root / "FORMAT"
        try:
            content = files.read_small(mark)
        except (FileNotFoundError, NotADirectoryError):
            if not create:
                raise NotStoredError(
                    f"There is no store at {root}; build something first, or name another place."
                ) from None
            if root.exists() and (not root.is_dir() or any(not n.name.startswith(".") for n in root.iterdir())):
                # another process may have created it a moment ago
                if not mark.exists():
                    raise StoreError(
                        f"{root} is not empty and not a store (it has no FORMAT); name an empty or new folder."
                    ) from None
            else:
                files.create_only(mark, f"{FORMAT}\n".encode())
            content = files.read_small(mark)
        number = content.strip()
        if not number.isdigit():
            raise CorruptError(
                f"{mark} holds {content[:40]!r} instead of a number; write {FORMAT} if this is your store."
            )
        if int(number) > FORMAT:
            raise StoreError(
                f"The store at {root} has format {int(number)}, and this mlops_assets reads up to {FORMAT}; "
                "install the newer mlops_assets that wrote it."
            )
        return cls(root)

    # --- blobs ---------------------------------------------------------------------------------------------------

    def put(self, asset: str, batch: str, kind: Kind, value: Any) -> Stored:
        """Keep a value under its version; a sound file of that version is adopted, a damaged one replaced.

        ``kind`` is ``table`` (pyarrow Table), ``json`` (plain values), ``bytes``, or ``estimator`` (fitted estimators,
        alone or among plain values). Raises ``StoreError`` when it cannot be kept, ``TypeError`` for a value of another
        kind.
        """
        from mlops_assets.store import values

        prepared = values.prepare(kind, value)
        name = version_name(prepared.version) + values.EXTENSIONS[kind]
        path = self.root / "data" / asset_path(asset) / f"p={segment(batch)}" / name
        seen = _identity(path)
        if seen and (blob := self._adoptable(asset, batch, kind, prepared.version, path)):
            return _stored(prepared, kind, blob, new=False)
        with files.staged(path, prepared.content) as file, self._locks.hold(f"blob {path.name}"):
            # encoding took a while: somebody may have brought sound bytes, which manifests name already
            now = _identity(path)
            if now and now != seen and (blob := self._adoptable(asset, batch, kind, prepared.version, path)):
                return _stored(prepared, kind, blob, new=False)
            file.replace()
        return _stored(prepared, kind, self._blob(path, file.written), new=True)

    def put_bytes(self, asset: str, batch: str, data: bytes | Path) -> Blob:
        """Keep delivered bytes or an attachment, from memory or from a file, under their sha256."""
        folder = self.root / "data" / asset_path(asset) / f"p={segment(batch)}"
        if isinstance(data, bytes):
            written = files.Written(len(data), hashlib.sha256(data).hexdigest())
            content: files.Content = data
        else:
            try:
                written = files.fingerprint(data)
            except OSError as trouble:
                raise StoreError(f"{data} cannot be read: {trouble.strerror}; deliver it again.") from trouble
            content = _copier(data)
        path = folder / f"sha256-{written.sha256}.bin"
        if _identity(path) and files.fingerprint(path) == written:
            files.sync_directory(folder)
            return self._blob(path, written)
        with files.staged(path, content) as file:
            if file.written != written:
                raise StoreError(f"{data!s} changed while it was read; wait until it is complete and run this again.")
            file.replace()
        return self._blob(path, written)

    def get(self, manifest: Manifest, columns: Sequence[str] | None = None, verify: bool = False) -> Any:
        """The value of a manifest; of a table only ``columns``, in that order, if given.

        The file's size is always looked at, its sha256 before an estimator is loaded, page checksums of tables as
        pages are read; ``verify`` looks at sha256 and digests too. Raises ``NotStoredError`` when there is no such
        value or column,
        ``CorruptError`` when the bytes are not those that were written.
        """
        from mlops_assets.store import values

        path = self.check(manifest, verify=verify or manifest.kind == "estimator")
        if columns is not None:
            known = [name for name, _ in manifest.schema]
            if missing := [name for name in columns if name not in known]:
                raise NotStoredError(
                    f"{manifest.asset}[{manifest.batch}] has no column {', '.join(map(repr, missing))}; "
                    f"it has {', '.join(known) or 'none'}."
                )
        try:
            value = values.decode(manifest.kind, path, columns)
        except CorruptError as trouble:
            raise CorruptError(f"{_called(manifest)} cannot be read: {trouble} {_AGAIN}") from trouble
        if verify:
            if manifest.kind == "table" and columns is not None:
                wrong = values.wrong_columns(value, dict(manifest.columns))
            else:
                wrong = [] if values.digest(manifest.kind, value) == manifest.version else ["its content"]
            if wrong:
                raise CorruptError(f"{_called(manifest)} is not what was written: {', '.join(wrong)} differs. {_AGAIN}")
        return value

    def check(self, manifest: Manifest, verify: bool = False) -> Path:
        """The path of a manifest's file, after a look at size (and sha256); errors as ``get``, nothing is decoded."""
        path = self.path(manifest)
        blob = manifest.blob
        assert blob is not None
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            raise CorruptError(f"{_called(manifest)} has lost its file {path}. {_AGAIN}") from None
        found = files.Written(size, blob.sha256)
        if verify:
            found = files.fingerprint(path)
        if found != (blob.size, blob.sha256):
            # sound bytes of one version differ between writers: a repair is named by a later manifest of the version
            actual = files.fingerprint(path)
            if actual not in self._recorded(manifest.asset, manifest.batch, path):
                raise CorruptError(
                    f"{_called(manifest)} is damaged: {path} has {size} bytes (sha256 {actual.sha256[:12]}...), "
                    f"{blob.size} (sha256 {blob.sha256[:12]}...) were written. {_AGAIN}"
                )
        return path

    def path(self, manifest: Manifest) -> Path:
        """Where a manifest's value stands; raises ``NotStoredError`` when none was made."""
        if manifest.blob is None or manifest.version is None:
            raise NotStoredError(
                f"{manifest.asset}[{manifest.batch}] has no value: it was refused before one was made."
            )
        return self._inside(manifest.blob)

    def bytes(self, blob: Blob) -> bytes:
        """A blob's bytes, size and sha256 verified; raises ``CorruptError``."""
        path = self._inside(blob)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise CorruptError(f"The file {path} is lost; deliver it again, or copy it from another copy.") from None
        if len(data) != blob.size or hashlib.sha256(data).hexdigest() != blob.sha256:
            raise CorruptError(f"The file {path} is damaged; deliver it again, or copy it from another copy.")
        return data

    # --- manifests -----------------------------------------------------------------------------------------------

    def record(self, manifest: Manifest) -> str:
        """Write a manifest, once; its id."""
        path = self._manifest_path(manifest.asset, manifest.batch, manifest.id)
        if not files.create_only(path, manifest.encoded):
            if files.read_small(path) != manifest.encoded:
                files.write_file(path, manifest.encoded)
            # whoever wrote it may not have come so far yet
            files.sync_directory(path.parent)
        return manifest.id

    def manifest(self, asset: str, batch: str, id: str) -> Manifest:  # noqa: A002 - the word of the design
        """A recorded manifest; raises ``NotStoredError``, or ``CorruptError`` when the file is not what was written."""
        path = self._manifest_path(asset, batch, id)
        try:
            data = files.read_small(path)
        except FileNotFoundError:
            raise NotStoredError(f"{asset}[{batch}] has no manifest {id} in {self}.") from None
        return _read_manifest(data, id, path)

    def manifests(self, asset: str, batch: str) -> list[Manifest]:
        """Every manifest of a batch, accepted or not, newest first."""
        found = [_read_manifest(data, id_, path) for id_, path, data in self._records(asset, batch)]
        return sorted(found, key=lambda manifest: (manifest.when, manifest.id), reverse=True)

    # --- heads ---------------------------------------------------------------------------------------------------

    def head(self, branch: str, asset: str, batch: str) -> Head | None:
        """What readers see of a batch, or None."""
        path = self._head_path(branch, asset, batch)
        try:
            data = files.read_small(path)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        return _read_head(data, path, asset, batch)

    def heads(self, branch: str, asset: str) -> dict[str, Head]:
        """What readers see of each batch of an asset, in the order of the batches' names."""
        folder = f"{self._base}/heads/{segment(branch)}/{asset_path(asset)}"
        try:
            with os.scandir(folder) as entries:
                names = sorted(
                    e.name for e in entries if not e.name.startswith(".") and e.is_file(follow_symlinks=False)
                )
        except (FileNotFoundError, NotADirectoryError):
            return {}
        found: dict[str, Head] = {}
        for name in names:
            path = f"{folder}/{name}"
            batch = text(name)
            found[batch] = _read_head(files.read_small(path), path, asset, batch)
        return found

    def assets(self, branch: str) -> list[str]:
        """The names of all assets with a head on a branch, sorted."""
        top = self.root / "heads" / segment(branch)
        found = []
        for folder, _, names in os.walk(top):
            if any(not name.startswith(".") for name in names):
                found.append("/".join(text(part) for part in Path(folder).relative_to(top).parts))
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
        accepted, ``NotStoredError`` for one that was not recorded.
        """
        asset, batch = manifest.asset, manifest.batch
        if not manifest.accepted or manifest.version is None:
            raise RefusedError(
                f"{_called(manifest)} was refused by its checks and is not published; see the verdicts in its manifest."
            )
        if not self._manifest_path(asset, batch, manifest.id).exists():
            raise NotStoredError(
                f"{_called(manifest)} has no recorded manifest {manifest.id}; record it before publishing."
            )
        self.check(manifest)
        path = self._head_path(branch, asset, batch)
        with self._locks.hold(f"{branch} {asset} {batch}"):
            current = self.head(branch, asset, batch)
            if (current.attempt if current else None) != (expected.attempt if expected else None):
                raise self._conflict(branch, manifest, current, expected)
            if current and current.manifest == manifest.id:
                return current
            move = Move(
                branch=branch,
                asset=asset,
                batch=batch,
                seq=current.seq + 1 if current else 1,
                previous=current.move if current else None,
                from_manifest=current.manifest if current else None,
                to_manifest=manifest.id,
                who=who or manifest.who or _account(),
                when=datetime.now(UTC).isoformat(timespec="milliseconds"),
                message=message,
                run_id=manifest.run_id,
                attempt=os.urandom(12).hex(),
            )
            move_id = move.id
            head = Head(
                asset, batch, move.seq, manifest.id, manifest.version, manifest.key, move_id, move.attempt
            )  # fmt: skip
            files.write_file(self._move_path(branch, asset, batch, move_id), move.encode())
            files.write_file(path, head.encode())
        return head

    def moves(self, branch: str, asset: str, batch: str) -> list[Move]:
        """How a head came to where it is, newest first; moves that a crash left unfinished are not among them."""
        head = self.head(branch, asset, batch)
        next_ = head.move if head else None
        found = []
        while next_:
            move = self._move(branch, asset, batch, next_)
            found.append(move)
            next_ = move.previous
        return found

    # --- inside --------------------------------------------------------------------------------------------------

    def _conflict(self, branch: str, manifest: Manifest, current: Head | None, expected: Head | None) -> ConflictError:
        where = f"The head of {manifest.asset}[{manifest.batch}] on branch {branch}"
        wanted = f"{manifest.version} was not published; look at the head again, then decide."
        if current is None:
            return ConflictError(
                f"{where} is gone, where move {expected.seq if expected else 0} was expected. {wanted}"
            )
        last = self._move(branch, manifest.asset, manifest.batch, current.move)
        return ConflictError(
            f"{where} has moved since it was read: {last.who} set it to {current.version} at {last.when} "
            f"(move {current.seq}; {f'move {expected.seq}' if expected else 'no head'} was expected). {wanted}"
        )

    def _move(self, branch: str, asset: str, batch: str, id_: str) -> Move:
        path = self._move_path(branch, asset, batch, id_)
        try:
            data = files.read_small(path)
        except FileNotFoundError:
            raise CorruptError(
                f"The record {path} of a move is lost; copy it from another copy of the store."
            ) from None
        if bytes_digest(data) != id_:
            raise CorruptError(f"The record {path} of a move is damaged; copy it from another copy of the store.")
        return Move.decode(data, str(path))

    def _head_path(self, branch: str, asset: str, batch: str) -> Path:
        return self.root / "heads" / segment(branch) / asset_path(asset) / segment(batch)

    def _move_path(self, branch: str, asset: str, batch: str, id_: str) -> Path:
        folder = self.root / "moves" / segment(branch) / asset_path(asset) / segment(batch)
        return folder / f"{version_name(id_)}.json"

    def _manifest_path(self, asset: str, batch: str, id_: str) -> Path:
        return self.root / "meta" / asset_path(asset) / segment(batch) / f"{version_name(id_)}.json"

    def _records(self, asset: str, batch: str) -> Iterable[tuple[str, Path, builtins.bytes]]:
        folder = self.root / "meta" / asset_path(asset) / segment(batch)
        try:
            names = sorted(os.listdir(folder))  # noqa: PTH208 - names are all that is needed
        except (FileNotFoundError, NotADirectoryError):
            return
        for name in names:
            if name.startswith("b3-") and name.endswith(".json"):
                path = folder / name
                yield name.removesuffix(".json").replace("-", ":", 1), path, files.read_small(path)

    def _recorded(self, asset: str, batch: str, path: Path) -> set[files.Written]:
        """What the manifests of a batch say of the bytes of one blob."""
        relative = self._relative(path)
        found = set()
        for id_, manifest_path, data in self._records(asset, batch):
            if relative.encode() in data:
                blob = _read_manifest(data, id_, manifest_path).blob
                if blob and blob.path == relative:
                    found.add(files.Written(blob.size, blob.sha256))
        return found

    def _adoptable(self, asset: str, batch: str, kind: Kind, version: str, path: Path) -> Blob | None:
        """The blob at ``path`` if its bytes are sound: as a manifest says, or else by reading them back."""
        from mlops_assets.store import values

        written = files.fingerprint(path)
        if written not in self._recorded(asset, batch, path):
            try:
                if values.digest(kind, values.decode(kind, path)) != version:
                    return None
            except CorruptError:
                return None
        # whoever wrote it may not have made its name durable yet, and a head may soon lead here
        files.sync_directory(path.parent)
        return self._blob(path, written)

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _blob(self, path: Path, written: files.Written) -> Blob:
        return Blob(self._relative(path), written.size, written.sha256)

    def _inside(self, blob: Blob) -> Path:
        relative = PurePosixPath(blob.path)
        if relative.is_absolute() or ".." in relative.parts or relative.parts[:1] != ("data",):
            raise CorruptError(f"A manifest names the file {blob.path!r}, which is not in the store; it was not read.")
        return self.root / relative


def _stored(prepared: "Prepared", kind: Kind, blob: Blob, *, new: bool) -> Stored:
    return Stored(prepared.version, kind, blob, prepared.rows, prepared.schema, prepared.columns, new)


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # containers often run under a number without a name
        return f"uid {os.getuid()}"


def _called(manifest: Manifest) -> str:
    return f"{manifest.asset}[{manifest.batch}] version {manifest.version}"


def _identity(path: Path) -> tuple[int, int, int, int] | None:
    """What changes when another file takes a path's name; None when there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _copier(source: Path) -> files.Content:
    def copy(file: Any) -> None:
        with source.open("rb", buffering=0) as delivered:
            while block := delivered.read(1 << 20):
                file.write(block)

    return copy


def _read_manifest(data: bytes, id_: str, path: Path) -> Manifest:
    if bytes_digest(data) != id_:
        raise CorruptError(f"The manifest {path} is damaged; copy it from another copy of the store.")
    return Manifest.from_dict(parse_json(data), f"The manifest {path}")


def _read_head(data: bytes, path: str | Path, asset: str, batch: str) -> Head:
    head = Head.decode(data, str(path))
    if (head.asset, head.batch) != (asset, batch):
        raise CorruptError(f"{path} is the head of {head.asset}[{head.batch}]; put it back where it was.")
    return head
