"""Values in their place: kept under what they are, adopted when they are there already, looked at before they are read.

What belongs here: writing and reading blobs, and what a damaged, lost or purged one gets. What does not: encodings
(``values``), what makes two values the same (``digest``), how a file is written (the backend).
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from mlops_assets.errors import CorruptError, NotStoredError, PurgedError, StoreError
from mlops_assets.store import files
from mlops_assets.store.backend import Content, Written
from mlops_assets.store.digest import bytes_digest, parse_json, unsealed
from mlops_assets.store.formats import FROM_ANOTHER
from mlops_assets.store.heads import Leaf
from mlops_assets.store.manifest import EXTENSIONS, Blob, Kind, Manifest
from mlops_assets.store.names import asset_path, segment, version_name
from mlops_assets.store.records import Records, read_manifest

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_assets.store.values import Prepared

AGAIN = "Build the batch again, or copy the file from another copy of the store."
_DELIVER_AGAIN = "deliver it again, or copy it from another copy"

BLOB = re.compile(rf"(b3-[0-9a-f]{{64}})({'|'.join(map(re.escape, EXTENSIONS.values()))})|(sha256-[0-9a-f]{{64}})\.bin")
"""The names of files of values, attachments and deliveries."""


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


class Blobs(Records):
    """The values of a store."""

    def put(self, asset: str, batch: str, kind: Kind, value: Any, known: Leaf | None = None) -> Stored:
        """Keep a value under its version; a sound file of that version is adopted, a damaged one replaced.

        ``kind`` is ``table`` (pyarrow Table), ``json`` (plain values), ``bytes``, or ``estimator`` (fitted estimators,
        alone or among plain values). ``known``, what a head says of the batch, spares reading a file of the same
        version back. Raises ``StoreError`` when it cannot be kept, ``PurgedError`` when this very value
        was purged, ``TypeError`` for a value of another kind.
        """
        from mlops_assets.store import values

        prepared = values.prepare(kind, value)
        path = f"{blob_folder(asset, batch)}/{version_name(prepared.version)}{EXTENSIONS[kind]}"
        self._refuse_purged(asset, batch, prepared.version)
        sound = Written(known.size, known.sha256) if known and known.version == prepared.version else None
        seen = self.backend.stat(path)
        if seen and (blob := self._adoptable(kind, prepared.version, path, sound)):
            return _stored(prepared, kind, blob, new=False)
        with self.backend.stage(path, prepared.content) as file, self.backend.hold(path):
            # encoding took a while: it may have been purged meanwhile, or somebody brought sound bytes, which manifests
            # name already
            self._refuse_purged(asset, batch, prepared.version)
            now = self.backend.stat(path)
            if now and now != seen and (blob := self._adoptable(kind, prepared.version, path, sound)):
                return _stored(prepared, kind, blob, new=False)
            file.replace()
        return _stored(prepared, kind, Blob(path, *file.written), new=True)

    def put_bytes(self, asset: str, batch: str, data: bytes | Path) -> Blob:
        """Keep delivered bytes or an attachment, from memory or from a file, under their sha256."""
        if isinstance(data, bytes):
            written = Written(len(data), hashlib.sha256(data).hexdigest())
            content: Content = data
        else:
            try:
                written = files.fingerprint(data)
            except OSError as trouble:
                raise StoreError(f"{data} cannot be read: {trouble.strerror}; deliver it again.") from trouble
            content = files.copier(data)
        name = f"sha256-{written.sha256}"
        path = f"{blob_folder(asset, batch)}/{name}.bin"
        self._refuse_purged(asset, batch, name)
        blob = Blob(path, *written)
        if self._is_there(path, written):
            return blob
        with self.backend.stage(path, content) as file, self.backend.hold(path):
            if file.written != written:
                raise StoreError(f"{data!s} changed while it was read; wait until it is complete and run this again.")
            self._refuse_purged(asset, batch, name)
            file.replace()
        return blob

    def get(self, manifest: Manifest, columns: Sequence[str] | None = None, verify: bool = False) -> Any:
        """The value of a manifest; of a table only ``columns``, in that order, if given.

        The file's size is always looked at, its sha256 before an estimator is loaded, page checksums of tables as
        pages are read; ``verify`` looks at sha256 and digests too. Raises ``NotStoredError`` when there is no such
        value or column, ``PurgedError`` when it was erased, ``CorruptError`` when the bytes are not those that were
        written.
        """
        from mlops_assets.store import values

        self.check(manifest, verify=verify or manifest.kind == "estimator")
        path = self.path(manifest)
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
            raise CorruptError(f"{called(manifest)} cannot be read: {trouble} {AGAIN}") from trouble
        if manifest.kind == "table" and not verify and _looks_other(manifest, value, columns):
            # page checksums do not cover the footer
            self.check(manifest, verify=True)
        if verify:
            if manifest.kind == "table" and columns is not None:
                wrong = values.wrong_columns(value, dict(manifest.columns))
            else:
                wrong = [] if values.digest(manifest.kind, value) == manifest.version else ["its content"]
            if wrong:
                raise CorruptError(f"{called(manifest)} is not what was written: {', '.join(wrong)} differs. {AGAIN}")
        return value

    def check(self, manifest: Manifest, verify: bool = False) -> None:
        """Look at the size (and sha256) of a manifest's file; errors as ``get``, nothing is decoded."""
        blob = _blob_of(manifest)
        path = self.inside(blob)
        found = self.backend.stat(path)
        if found is None:
            self._explain_purged(called(manifest), manifest.version or "", path)
            raise CorruptError(f"{called(manifest)} has lost its file {self.where(path)}. {AGAIN}")
        written = Written(found.size, blob.sha256)
        if verify:
            written = self.backend.fingerprint(path)
        if written != (blob.size, blob.sha256):
            # sound bytes of one version differ between writers: a repair is named by a later manifest of the version
            actual = self.backend.fingerprint(path)
            if actual not in self._recorded(manifest.asset, manifest.batch, path):
                raise CorruptError(
                    f"{called(manifest)} is damaged: {self.where(path)} has {found.size} bytes (sha256 "
                    f"{actual.sha256[:12]}...), {blob.size} (sha256 {blob.sha256[:12]}...) were written. {AGAIN}"
                )

    def path(self, manifest: Manifest) -> Path:
        """A local file with a manifest's value, to be read by pandas, DuckDB or anything else, and never written.

        Raises ``NotStoredError`` when no value was made, ``PurgedError`` or ``CorruptError`` when its file is gone.
        """
        return self.file(_blob_of(manifest), called(manifest), manifest.version)

    def file(self, blob: Blob, name: str = "", version: str | None = None) -> Path:
        """A local file with a blob's bytes; ``name`` stands for it in errors. Raises as ``path``."""
        path = self.inside(blob)
        try:
            return self.backend.local(path, Written(blob.size, blob.sha256))
        except FileNotFoundError:
            self._explain_purged(name or f"The file {self.where(path)}", version or f"sha256-{blob.sha256}", path)
            raise CorruptError(f"The file {self.where(path)} is lost; {_DELIVER_AGAIN}.") from None

    def bytes(self, blob: Blob) -> bytes:
        """A blob's bytes, size and sha256 verified; raises ``PurgedError`` or ``CorruptError``."""
        path = self.inside(blob)
        try:
            data = self.backend.read(path)
        except FileNotFoundError:
            self._explain_purged(f"The file {self.where(path)}", f"sha256-{blob.sha256}", path)
            raise CorruptError(f"The file {self.where(path)} is lost; {_DELIVER_AGAIN}.") from None
        if len(data) != blob.size or hashlib.sha256(data).hexdigest() != blob.sha256:
            raise CorruptError(f"The file {self.where(path)} is damaged; {_DELIVER_AGAIN}.")
        return data

    def tombstone(self, name: str) -> dict[str, Any] | None:
        """What is known of purged content: ``name`` is a version, or ``sha256-`` and the digest of other bytes.

        The name may also be a file's (``place_name``): then the file was taken away, and its content may come back.
        """
        path = tombstone_path(name)
        try:
            return dict(parse_json(unsealed(self.backend.read(path))))
        except FileNotFoundError:
            return None
        except ValueError as trouble:
            raise CorruptError(f"The tombstone {self.where(path)} is damaged; {FROM_ANOTHER}.") from trouble

    # --- inside --------------------------------------------------------------------------------------------------

    def _refuse_purged(self, asset: str, batch: str, name: str) -> None:
        if (stone := self.tombstone(name)) is not None:
            raise PurgedError(
                f"{asset}[{batch}]: this very content ({name[:22]}...) was erased on {stone['when']} by purge "
                f"{stone['purge']} and may not come back; deliver it without the rows that had to go."
            )

    def _explain_purged(self, what: str, name: str, path: str) -> None:
        if (stone := self.tombstone(name) or self.tombstone(place_name(path))) is not None:
            instead = f"; {stone['replacement']} took its place" if stone.get("replacement") else ""
            raise PurgedError(f"{what} was purged on {stone['when']} by purge {stone['purge']}{instead}.")

    def _recorded(self, asset: str, batch: str, path: str) -> set[Written]:
        """What the manifests of a batch say of the bytes of one blob."""
        found = set()
        for id_, manifest_path, data in self._records(asset, batch):
            if path.encode() in data:
                blob = read_manifest(data, id_, self.where(manifest_path)).blob
                if blob and blob.path == path:
                    found.add(Written(blob.size, blob.sha256))
        return found

    def _adoptable(self, kind: Kind, version: str, path: str, sound: Written | None) -> Blob | None:
        """The blob at ``path`` if its bytes are those known to be sound, or else by reading them back.

        What the batch's manifests say of it is not looked for: there may be one for every move that ever was.
        """
        from mlops_assets.store import values

        with self.backend.hold(path):
            # gc takes a file away under this lock, and only while it is old
            if not self.backend.touch(path):
                return None
        try:
            written = self.backend.fingerprint(path)
            if written != sound:
                found = values.decode(kind, self.backend.local(path, written))
                if values.digest(kind, found) != version:
                    return None
        except (CorruptError, FileNotFoundError):
            return None
        return Blob(path, *written)

    def _is_there(self, path: str, written: Written) -> bool:
        if self.backend.stat(path) is None:
            return False
        with self.backend.hold(path):
            if not self.backend.touch(path):
                return False
        try:
            return self.backend.fingerprint(path) == written
        except FileNotFoundError:
            return False

    def inside(self, blob: Blob) -> str:
        """The blob's path; raises ``CorruptError`` for one that leads out of the store."""
        relative = PurePosixPath(blob.path)
        if relative.is_absolute() or ".." in relative.parts or relative.parts[:1] != ("data",):
            raise CorruptError(f"A manifest names the file {blob.path!r}, which is not in the store; it was not read.")
        return blob.path


def blob_folder(asset: str, batch: str) -> str:
    """Where the values of a batch stand: hive-style, so that a Delta log can list the same files."""
    return f"data/{asset_path(asset)}/p={segment(batch)}"


def blob_path(asset: str, batch: str, version: str, kind: str) -> str:
    """Where the value of a version stands."""
    return f"{blob_folder(asset, batch)}/{version_name(version)}{EXTENSIONS[kind]}"


def tombstone_path(name: str) -> str:
    """Where it is written that content was purged; ``name`` as for ``Blobs.tombstone``."""
    return f"tombstones/{version_name(name)}.json"


def place_name(path: str) -> str:
    """Under which name a tombstone speaks of one file alone: one that told of a person, and whose content did not."""
    return f"at-{bytes_digest(path.encode()).removeprefix('b3:')}"


def called(manifest: Manifest) -> str:
    """A version for people."""
    return f"{manifest.asset}[{manifest.batch}] version {manifest.version}"


def _looks_other(manifest: Manifest, table: "pa.Table", columns: Sequence[str] | None) -> bool:
    """Whether rows, names or types are others than recorded; how types are written may differ between releases."""
    said = dict(manifest.schema)
    wanted = list(said) if columns is None else list(columns)
    types = [str(type_) for type_ in table.schema.types]
    return (table.num_rows, table.column_names, types) != (manifest.rows, wanted, [said.get(name) for name in wanted])


def _blob_of(manifest: Manifest) -> Blob:
    if manifest.blob is None or manifest.version is None:
        raise NotStoredError(f"{manifest.asset}[{manifest.batch}] has no value: it was refused before one was made.")
    return manifest.blob


def _stored(prepared: "Prepared", kind: Kind, blob: Blob, *, new: bool) -> Stored:
    return Stored(prepared.version, kind, blob, prepared.rows, prepared.schema, prepared.columns, new)
