"""Starting and removing branches, and protecting them.

What belongs here: the branch's file, the rules for its name, its protection. What does not: the trees that it starts
from (``freezing``), moving its heads (``changes``, ``merging``).

A branch is there when its file is: that is written once, after the trees it starts from. It is gone when the file is;
its heads go after that, and what a crash leaves of them goes before the next branch of that name starts. The records of
its moves stay: other branches may stand on them.
"""

import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC

from mlops_assets.errors import ConflictError, RefusedError, StoreError
from mlops_assets.store import refs
from mlops_assets.store.branches import FORMAT, MAIN, SAMPLE, Branch, Protection, is_sample
from mlops_assets.store.changes import open_changes, told
from mlops_assets.store.digest import bytes_digest, sealed_json
from mlops_assets.store.freezing import freeze
from mlops_assets.store.names import segment, version_name
from mlops_assets.store.reviving import Past, keep_from_gc, look_at_values
from mlops_assets.store.store import Store, account, branch_path, now, protection_path
from mlops_assets.store.tags import read_tag, tag_path

_MARKS = "@:"
_WORDS = {"HEAD"}


def create_branch(
    store: Store, name: str, source_ref: str | None = MAIN, *, current: str = MAIN, message: str = "", who: str = ""
) -> Branch:
    """Start a branch from what a reference shows (see ``refs``; ``current`` is the branch that ``.`` means), or empty.

    With None as ``source_ref`` it shows nothing yet. Copies neither data nor heads. Raises ``StoreError`` for a name
    that a branch cannot have or that is taken by a branch or tag, or that would mix a sample and whole data (see
    ``refuse_mixing``), ``NotStoredError`` for an unknown source, ``ConflictError`` for one that does not stand still,
    and as ``Store.check`` where a version that was shown at a moment has lost its value.
    """
    _check_name(store, name)
    view = None if source_ref is None else refs.view(store, source_ref, current)
    if view and view.kind == "version":
        raise StoreError(
            f"{source_ref} is one version of one batch, and a branch starts from all heads of a branch, tag or moment; "
            f"name one of those."
        )
    if view:
        refuse_mixing(store, view, name)
    base = _base(store, view) if view else {}
    if view and view.moment:
        past = _past(store, view)
        look_at_values(store, past)
        keep_from_gc(store, past)
    branch = Branch(
        name=name,
        base=base,
        source=view.name if view else "",
        who=who or account(),
        when=now(),  # after every move that the base shows
        message=message,
        **(_origin(store, view) if view else {}),
    )
    with store.backend.hold(f"branch {name}"):
        if store.backend.stat(branch_path(name)) is None:
            # of a branch of that name that was being removed when its process died
            _drop_heads(store, name)
        created = store.backend.create(branch_path(name), branch.encode())
    store.forget_branches()
    if not created:
        raise _taken(name)
    return branch


def remove_branch(store: Store, name: str) -> int:
    """Remove a branch and its own heads; how many those were. Its moves and versions stay until ``gc`` looks at them.

    A removal that was interrupted is finished, and what is left of a branch whose file was lost is taken away.
    Raises ``StoreError`` for ``main``, ``RefusedError`` for a protected branch, ``ConflictError`` for one with an open
    change, ``NotStoredError`` when there is none.
    """
    if name == MAIN:
        raise StoreError("The branch main cannot be removed: everything starts from it.")
    store.forget_branches()
    if store.backend.stat(branch_path(name)) is None and any(True for _ in store.backend.entries(_heads_of(name))):
        with store.backend.hold(f"branch {name}"):
            return _drop_heads(store, name) if store.backend.stat(branch_path(name)) is None else 0
    record = store.branch(name)
    if store.protection(name):
        raise RefusedError(
            f"The branch {name} is protected and cannot be removed; take that off first: mlops-assets unprotect {name}"
        )
    for change in open_changes(store, name):
        raise ConflictError(told(change))
    with store.backend.hold(f"branch {name}"):
        # whoever finds heads without a branch can tell one that was removed from one whose file was lost
        removed = sealed_json({"format": FORMAT, "branch": asdict(record), "who": account(), "when": now()})
        store.backend.create(f"{removed_folder(name)}/{version_name(bytes_digest(removed))}.json", removed)
        store.backend.delete(branch_path(name))
        store.forget_branches()
        return _drop_heads(store, name)


def removed_folder(name: str) -> str:
    """Where it is written that branches of a name were removed."""
    return f"deleted-branches/{segment(name)}"


def protect(store: Store, branch: str, checks: Sequence[str] = (), who: str = "") -> Protection:
    """Let a branch move by merges only, and only when each of ``checks`` passed on what is merged.

    Replaces an earlier protection. Raises ``NotStoredError`` for an unknown branch, ``ConflictError`` when somebody
    else changes the protection at the same moment.
    """
    store.branch(branch)
    return _protection(store, branch, True, tuple(dict.fromkeys(checks)), who)


def unprotect(store: Store, branch: str, who: str = "") -> Protection:
    """Let a branch move by publishing again. Raises ``StoreError`` when it is not protected, else as ``protect``."""
    store.branch(branch)
    if store.protection(branch) is None:
        raise StoreError(f"The branch {branch} is not protected.")
    return _protection(store, branch, False, (), who)


def refuse_mixing(store: Store, view: refs.View, branch: str) -> None:
    """Raise ``StoreError`` where a branch would show whole data beside a sample, or the other way round."""
    name = view.ref.partition("/")[2] if view.kind == "remote" else _origin(store, view).get("parent")
    if not name or is_sample(name) == is_sample(branch):
        return
    holds = "a sample" if is_sample(name) else "whole data"
    advice = (
        f"start one with nothing in it: mlops-assets branch {SAMPLE}/NAME --empty"
        if is_sample(branch)
        else f"make the whole of it there: mlops-assets --branch {branch} run"
    )
    raise StoreError(
        f"{view.name} holds {holds} and {branch} {'a sample' if is_sample(branch) else 'whole data'} (branches called "
        f"{SAMPLE} or {SAMPLE}/NAME hold samples), and the two never mix; {advice}"
    )


# --- inside ----------------------------------------------------------------------------------------------------------


def _check_name(store: Store, name: str) -> None:
    segment(name)
    if name in _WORDS or name.startswith(".") or any(mark in name for mark in _MARKS):
        raise StoreError(
            f"A branch cannot be called {name!r}: `@` and `:`, a `.` at the beginning and the word HEAD mean something "
            "where branches are named; choose another name."
        )
    if {"", ".", ".."} & {*name.split("/")}:
        raise StoreError(f"A branch cannot be called {name!r}: it reads as a path; choose another name.")
    if name == MAIN or store.backend.stat(branch_path(name)) is not None:
        raise _taken(name)
    if store.backend.stat(tag_path(name)) is not None:
        raise StoreError(
            f"{name!r} is the name of a tag, and a branch of that name could not be told from it; choose another name."
        )
    remote, _, rest = name.partition("/")
    if rest and store.backend.stat(f"remotes/{segment(remote)}.json") is not None:
        raise StoreError(f"{name!r} would read as the branch {rest!r} of the remote {remote!r}; choose another name.")


def _taken(name: str) -> StoreError:
    return StoreError(
        f"There is a branch {name!r} already; choose another name, or remove it: mlops-assets branch --delete {name}"
    )


def _origin(store: Store, view: refs.View) -> dict[str, str]:
    """Whose state a view is, and of which moment and dataset: the fields of a ``Branch`` that is started from it."""
    if view.moment:
        as_of = view.moment.astimezone(UTC).isoformat(timespec="milliseconds")
        return {"parent": view.ref.rpartition("@")[0], "as_of": as_of}
    name = view.ref.partition(":")[2]
    if view.kind == "tag":
        tag = read_tag(store, name)
        return {"parent": tag.branch, "as_of": tag.when, "dataset": tag.dataset}
    # a remote's branch is not the one of that name here
    return {"parent": name} if view.kind == "branch" else {}


def _base(store: Store, view: refs.View) -> dict[str, str]:
    if view.kind == "branch":
        return freeze(store, view.ref.partition(":")[2])
    base = {}
    for asset in view.assets():
        leaves = view.leaves(asset)
        if leaves:
            # written again where it is known: that makes it young, so that gc spares it until the branch names it
            base[asset] = store.write_tree(asset, leaves)
    return base


def _past(store: Store, view: refs.View) -> list[Past]:
    """What a branch showed at a moment and shows no more: of that gc may have taken values."""
    now = view.ref.rpartition("@")[0]
    found: list[Past] = []
    for asset in view.assets():
        shown = store.leaves(now, asset).by_name("manifest")
        found += [
            (asset, batch, leaf) for batch, leaf in view.leaves(asset).items() if shown.get(batch) != leaf.manifest
        ]
    return found


def _heads_of(name: str) -> str:
    return f"heads/{segment(name)}"


def _drop_heads(store: Store, name: str) -> int:
    paths = [entry.path for entry in store.backend.entries(_heads_of(name))]
    for path in paths:
        store.backend.delete(path)
    return len(paths)


def _protection(store: Store, branch: str, active: bool, checks: tuple[str, ...], who: str) -> Protection:
    path = protection_path(branch)
    try:
        seen: bytes | None = store.backend.read(path)
    except FileNotFoundError:
        seen = None
    protection = Protection(branch, active, checks, who or account(), now(), os.urandom(12).hex())
    if not store.backend.swap(path, protection.encode(), seen):
        raise ConflictError(
            f"Somebody else changed the protection of branch {branch} at this moment; look at it again, then decide."
        )
    return protection
