"""What goes along with versions from one store to another: ledgers, finished changes, records of purges.

What belongs here: copying these records so that each is true where it arrives. What does not: versions and their files
(``copying``), branches and heads (``forwarding``), tags (``transfer``).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlops_assets.errors import ConflictError, CorruptError
from mlops_assets.store.copying import Copier, Trail, Want
from mlops_assets.store.deliveries import Delivery, datasets, entry_path
from mlops_assets.store.digest import bytes_digest
from mlops_assets.store.manifest import Blob
from mlops_assets.store.names import segment
from mlops_assets.store.reach import read_purges
from mlops_assets.store.remotes import Remote
from mlops_assets.store.store import Store
from mlops_assets.wording import counted


@dataclass
class Ledger:
    """The entries of a dataset's ledger that the target lacks, in order, by where they go; and the files they name."""

    entries: dict[str, bytes] = field(default_factory=dict)
    blobs: list[Blob] = field(default_factory=list)


def ledgers(copier: Copier, assets: Iterable[str], remote: Remote, notes: list[str] | None) -> list[Ledger]:
    """What the target lacks of the ledgers of assets' datasets.

    One that went another way over there is refused (``ConflictError``), or, where there is room for ``notes``, kept
    apart with what is known of the remote. Raises ``CorruptError`` for one that is broken.
    """
    of = {asset.partition("/")[0] for asset in assets}
    return [_ledger(copier, name, remote, notes) for name in datasets(copier.source) if name in of]


def _ledger(copier: Copier, dataset: str, remote: Remote, notes: list[str] | None) -> Ledger:
    """Entries are linked by their digests: the last one that both have says whether all before it are the same."""
    source, target = copier.source, copier.target
    folder = f"deliveries/{segment(dataset)}"
    count, known = (len(store.backend.children(folder)[1]) for store in (source, target))
    both = min(count, known)
    last: str | None = None
    apart = ""
    if both:
        path = entry_path(dataset, both)
        data, there = source.backend.read(path), target.backend.read(path)
        last = bytes_digest(data)
        if data != there:
            both, last = 0, None
            apart = f"remotes/{segment(remote.name)}/"
            _parted(dataset, remote, notes)
    found = Ledger()
    paths = [entry_path(dataset, seq) for seq in range(both + 1, count + 1)]
    for path, data_ in zip(paths, source.backend.read_many(paths), strict=True):
        where = source.where(path)
        if data_ is None:
            raise CorruptError(f"The entry {where} of the ledger is lost; mend it with: mlops-assets repair")
        entry = Delivery.decode(data_, where)
        if entry.previous != last:
            raise CorruptError(
                f"The entry {where} of the ledger does not follow the one before it: it was changed by hand. It was "
                "not copied; see what is damaged with: mlops-assets verify"
            )
        last = bytes_digest(data_)
        found.entries[apart + path] = data_
        found.blobs.append(entry.blob)
    return found


def _parted(dataset: str, remote: Remote, notes: list[str] | None) -> None:
    sentence = (
        f"The ledger of deliveries of {dataset} went one way here and another at {remote}: files were taken in on both "
        "sides."
    )
    if notes is None:
        raise ConflictError(
            f"{sentence} Nothing was sent. Take deliveries in on one side only: make a new clone of the other "
            "side, and deliver there what it lacks."
        )
    notes.append(f"{sentence} The other one is kept apart, in remotes/{segment(remote.name)}/deliveries.")


def copy_ledgers(copier: Copier, found: Iterable[Ledger]) -> None:
    """Copy entries in their order, each after the file that it names."""
    for ledger in found:
        copier.files(ledger.blobs)
        for path, data in ledger.entries.items():
            write(copier, "ledgers", path, data)


def copy_changes(copier: Copier, trails: Iterable[Trail]) -> None:
    """Copy the finished changes that moves belong to."""
    ids = sorted({segment(id_) for trail in trails for id_ in trail.changes})
    # its end first: a change is never seen open where it was not begun
    ends = [f"changes/{id_}.done" for id_ in ids]
    done = [
        id_ for id_, entry in zip(ids, copier.each(copier.source.backend.stat, ends), strict=True) if entry is not None
    ]
    copier.small("changes", [f"changes/{id_}.done" for id_ in done])
    copier.small("changes", [f"changes/{id_}.json" for id_ in done])


def erasures(source: Store, target: Store) -> list[Mapping[str, Any]]:
    """The records of finished purges that the target lacks."""
    known = set(target.backend.children("purges")[1])
    return [record for id_, record in read_purges(source) if record["done"] and f"{segment(id_)}.json" not in known]


def replacements(found: Iterable[Mapping[str, Any]]) -> list[Want]:
    """The versions that took the place of what was erased."""
    return [
        Want(item["asset"], item["batch"], item["replacement"]["manifest"])
        for record in found
        for item in record["replaced"]
        if item["replacement"]
    ]


def copy_erasures(copier: Copier, found: Iterable[Mapping[str, Any]], remote: Remote | None, notes: list[str]) -> None:
    """Copy the records of purges; each is open there while files that it names are left: nobody erases unasked.

    ``remote`` is the target, where that is not this store.
    """
    for record in found:
        name = f"purges/{segment(record['id'])}"
        files = [item["path"] for item in record["erased"] if item["content"]]
        left = [entry for entry in copier.each(copier.target.backend.stat, files) if entry is not None]
        if left:
            at = f" --at {remote.name}" if remote else ""
            notes.append(
                f"The purge {record['id']} came along. {copier.target} still has {counted(len(left), 'file')} that it "
                f"erased in {copier.source}; finish it with: mlops-assets purge --resume {record['id']}{at}"
            )
        else:
            copier.small("purges", [f"{name}.done"])
        copier.small("purges", [f"{name}.json"])


def write(copier: Copier, kind: str, path: str, data: bytes) -> None:
    """Copy a record that never changes; raises ``ConflictError`` when something else has its name."""
    if not copier.write(kind, path, data):
        raise ConflictError(other(copier.target.where(path)))


def other(what: str) -> str:
    """The sentence for two records of one name."""
    return f"{what} says something else than the one that was to be copied, and neither ever changes; look at both."
