"""Named remotes, and what is known here of their branches.

What belongs here: the records under ``remotes/``: which store a name stands for, what its branches showed when they
were last seen, and which of them are here in part only. What does not: sending and fetching (``transfer``).

A remote is another store: a folder, or a place in an object store. Several people can also work in one folder of a
machine without any remote. Make it the group's before its first use, with the bit that hands the group on to whatever
is made in it: ``mkdir store && chgrp GROUP store && chmod 2775 store``. The store then lets the group write what its
members make, whatever their umask says.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from mlops_assets.errors import CorruptError, NotStoredError, StoreError
from mlops_assets.store.digest import parse_json, sealed_json, unsealed
from mlops_assets.store.formats import check_format
from mlops_assets.store.names import segment, text
from mlops_assets.store.refs import tracked_path

if TYPE_CHECKING:
    from mlops_assets.store.store import Store

FORMAT = 1

RECEIVED = "received/moves.json"
"""Says that records came from another store: versions whose files gc took over there, and moves before their heads."""

_OBJECT_STORES = ("s3", "gs", "az", "abfs", "memory")


@dataclass(frozen=True, slots=True)
class Remote:
    """Another store. ``url`` is an absolute path or a URL, without secrets."""

    name: str
    url: str

    def __str__(self) -> str:
        return f"{self.name} ({self.url})"


@dataclass(frozen=True)
class Tracked:
    """A remote's branch as it was last seen.

    ``trees`` maps each asset to the tree of what its batches showed, ``moves`` each asset and batch to the newest move
    of the branch's own heads (also of those that were taken away). ``base`` is what the branch started from there.
    """

    remote: str
    branch: str
    trees: Mapping[str, str] = field(default_factory=dict)
    moves: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    base: Mapping[str, str] = field(default_factory=dict)
    when: str = ""


@dataclass(frozen=True)
class Partial:
    """A remote's branch or tag that is here in part: only ``assets`` and ``batches`` (None: all), or without data."""

    remote: str
    kind: Literal["branch", "tag"]
    name: str
    assets: tuple[str, ...] | None = None
    batches: tuple[str, ...] | None = None
    data: bool = True


def add_remote(store: "Store", name: str, url: str) -> Remote:
    """Give another store a name; it is not looked for, and need not exist yet.

    A relative path is kept as an absolute one. Raises ``StoreError`` for a name that is taken or could be read in two
    ways, for a URL that is none, holds a secret, or is this very store.
    """
    if "/" in name or ":" in name or "@" in name:
        raise StoreError(
            f"{name!r} cannot be a remote's name: REMOTE/BRANCH and BRANCH@TIME would be read in two ways; "
            "leave out `/`, `:` and `@`."
        )
    segment(name)
    remote = Remote(name, checked_url(url))
    if remote.url.rstrip("/") == store.backend.url.rstrip("/"):
        raise StoreError(f"{remote.url} is this store itself; a remote is another one.")
    record = {"format": FORMAT, "name": name, "url": remote.url}
    if not store.backend.create(remote_path(name), sealed_json(record)):
        known = read_remote(store, name)
        if known != remote:
            raise StoreError(
                f"There is a remote {known} already; take another name, or first: mlops-assets remote remove {name}"
            )
    return remote


def remove_remote(store: "Store", name: str) -> Remote:
    """Forget a remote and what was seen of it; the other store is not touched. Raises ``NotStoredError``."""
    remote = read_remote(store, name)
    for entry in list(store.backend.entries(f"remotes/{segment(name)}")):
        store.backend.delete(entry.path)
    store.backend.delete(remote_path(name))
    return remote


def remotes(store: "Store") -> list[Remote]:
    """All remotes, by name."""
    names = store.backend.children("remotes")[1]
    return [read_remote(store, text(name.removesuffix(".json"))) for name in names if name.endswith(".json")]


def read_remote(store: "Store", name: str) -> Remote:
    """A remote by its name; raises ``NotStoredError`` when there is none."""
    path = remote_path(name)
    try:
        data = store.backend.read(path)
    except FileNotFoundError:
        known = ", ".join(remote.name for remote in remotes(store)) or "none"
        raise NotStoredError(
            f"There is no remote {name!r} in {store}; there is: {known}. "
            f"Add it with: mlops-assets remote add {name} URL"
        ) from None
    record = _record(data, store.where(path), "a remote")
    try:
        return Remote(str(record["name"]), str(record["url"]))
    except KeyError as trouble:
        raise CorruptError(_broken(store.where(path), "a remote")) from trouble


def tracked(store: "Store", remote: str, branch: str) -> Tracked | None:
    """A remote's branch as it was last seen, or None; raises ``CorruptError`` for a record that is none."""
    path = tracked_path(remote, branch)
    try:
        data = store.backend.read(path)
    except FileNotFoundError:
        return None
    record = _record(data, store.where(path), "a remote's branch")
    try:
        moves = {asset: dict(batches) for asset, batches in record["moves"].items()}
        return Tracked(
            remote, record["branch"], dict(record["trees"]), moves, dict(record.get("base", {})), record["when"]
        )
    except (KeyError, TypeError, ValueError, AttributeError) as trouble:
        raise CorruptError(_broken(store.where(path), "a remote's branch")) from trouble


def seen(store: "Store", remote: str) -> list[Tracked]:
    """All branches of a remote as they were last seen, by name."""
    names = store.backend.children(f"remotes/{segment(remote)}/branches")[1]
    found = [tracked(store, remote, text(name.removesuffix(".json"))) for name in names if name.endswith(".json")]
    return [item for item in found if item is not None]


def track(store: "Store", found: Tracked) -> None:
    """Keep what a remote's branch shows, in place of what was known of it."""
    record = {"format": FORMAT, **asdict(found)}
    store.backend.write(tracked_path(found.remote, found.branch), sealed_json(record))


def partials(store: "Store") -> list[Partial]:
    """What is here in part: versions of these may be missing here and still be sound at the remote."""
    found = []
    for remote in store.backend.children("remotes")[0]:
        folder = f"remotes/{remote}/partial"
        for name in store.backend.children(folder)[1]:
            path = f"{folder}/{name}"
            try:
                record = _record(store.backend.read(path), store.where(path), "a note on a partial copy")
            except FileNotFoundError:
                continue
            assets, batches = (record[key] if record[key] is None else tuple(record[key]) for key in _SCOPE)
            found.append(Partial(text(remote), record["kind"], record["name"], assets, batches, record["data"]))
    return found


def note_partial(store: "Store", part: Partial) -> None:
    """Say what part of a branch or tag is being fetched, before its first pointer is written here."""
    store.backend.write(_partial_path(part), sealed_json({"format": FORMAT, **asdict(part)}))


def forget_partial(store: "Store", part: Partial) -> None:
    """All of a branch or tag is here."""
    path = _partial_path(part)
    if store.backend.stat(path):
        store.backend.delete(path)


def note_received(store: "Store") -> None:
    """Say, once and before the first of them, that records come from another store."""
    if store.backend.stat(RECEIVED) is None:
        store.backend.create(RECEIVED, sealed_json({"format": FORMAT}))


def remote_path(name: str) -> str:
    """Where it is written which store a remote's name stands for."""
    return f"remotes/{segment(name)}.json"


def checked_url(url: str) -> str:
    """The place of another store in the form in which it is kept; raises ``StoreError`` for what is none.

    A path becomes absolute. A URL may hold no secret: it is shown to people and travels with copies.
    """
    if not url.strip():
        raise StoreError("A remote needs a place: a folder, or a URL that starts with s3://, gs:// or az://.")
    if "://" not in url:
        return str(Path(url).expanduser().absolute())
    parts = urlsplit(url)
    if parts.scheme == "file":
        return str(Path(parts.path).absolute())
    if parts.scheme not in _OBJECT_STORES:
        raise StoreError(
            f"{parts.scheme}:// is no place for a store: give a folder, or a URL that starts with s3://, gs:// or az://."
        )
    # abfs://container@account.dfs.core.windows.net names an account, no secret
    if parts.password or (parts.username and parts.scheme not in {"az", "abfs"}) or parts.query or parts.fragment:
        raise StoreError(
            f"The URL of {parts.scheme}://{parts.hostname or ''} holds more than a place (a user, a key or options). "
            "Secrets stay out of it: give the URL alone, and the credentials in the environment, for instance "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    if not parts.netloc:
        raise StoreError(f"{url} names no bucket; write it as {parts.scheme}://BUCKET/FOLDER.")
    return url.rstrip("/")


_SCOPE = ("assets", "batches")


def _partial_path(part: Partial) -> str:
    return f"remotes/{segment(part.remote)}/partial/{part.kind}-{segment(part.name)}.json"


def _record(data: bytes, where: str, what: str) -> dict[str, Any]:
    try:
        record = dict(parse_json(unsealed(data)))
        number = int(record["format"])
    except (ValueError, TypeError, KeyError) as trouble:
        raise CorruptError(_broken(where, what)) from trouble
    check_format(number, FORMAT, where)
    return record


def _broken(where: str, what: str) -> str:
    return f"{where} is not {what} as the store writes it; remove the file and add the remote or fetch again."
