"""Snapshots: tags that freeze what all assets of a dataset show, and branches that show it again.

What belongs here: making, deleting and checking out tags. What does not: the record (``tags``), the picture of moving
heads (``freezing``), the file in git (``lock``), moving heads back (``restoring``), files for people (``export``).

A tag is written once, under a name that is never given to another state, not even after the tag was deleted.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlops_assets.errors import ConflictError, CorruptError, NotStoredError, StoreError
from mlops_assets.store.branches import MAIN, Branch
from mlops_assets.store.branching import create_branch
from mlops_assets.store.bulk import uncollected
from mlops_assets.store.digest import bytes_digest, canonical_json, parse_json
from mlops_assets.store.export import export
from mlops_assets.store.formats import FROM_ANOTHER
from mlops_assets.store.freezing import freeze
from mlops_assets.store.inputs import differing
from mlops_assets.store.lock import lock_text, read_lock
from mlops_assets.store.names import segment, version_name
from mlops_assets.store.restoring import restore, rollback
from mlops_assets.store.store import account, branch_path, now
from mlops_assets.store.tags import Tag, read_tag, tag_path, tags
from mlops_assets.store.trees import summary

if TYPE_CHECKING:
    from mlops_assets.store.store import Store

__all__ = [
    "Tag", "checkout", "delete_tag", "export", "lock_text", "read_lock", "read_tag", "restore", "rollback", "tag",
    "tags",
]  # fmt: skip

FORMAT = 1
"""Of the record of a deleted tag; follows the rule of ``manifest``."""


@uncollected()
def tag(
    store: "Store",
    name: str,
    dataset: str,
    branch: str,
    *,
    git: Mapping[str, Any] | None = None,
    environment: str = "",
    configuration: Mapping[str, Any] | None = None,
    message: str = "",
    who: str = "",
) -> Tag:
    """Freeze what a branch shows of a dataset (of all assets whose first part it is) under a name; the tag.

    The same name for the same trees, environment, configuration and message gives the tag that is there already.
    Raises ``StoreError`` for a name that cannot be one or belongs to a branch, ``NotStoredError`` for an unknown branch
    or when it shows nothing of the dataset, ``ConflictError`` when the name stands for another state.
    """
    check_name(name)
    if name == MAIN or store.backend.stat(branch_path(name)) is not None:
        raise StoreError(f"{name!r} is the name of a branch; choose another for the tag.")
    remote, _, rest = name.partition("/")
    if rest and store.backend.stat(f"remotes/{segment(remote)}.json") is not None:
        raise StoreError(f"{name!r} would read as the branch {rest!r} of the remote {remote!r}; choose another name.")
    if not dataset or "/" in dataset:
        raise StoreError(f"{dataset!r} is not the name of a dataset; give the first part of its assets' names.")
    frozen = _frozen(store, dataset, branch)
    snapshot = {asset: store.tree(id_) for asset, id_ in frozen.items()}
    made = Tag(
        name=name,
        dataset=dataset,
        branch=branch,
        assets={asset: summary(id_, snapshot[asset]) for asset, id_ in frozen.items()},
        git=dict(git or {}),
        environment=environment,
        configuration=parse_json(canonical_json(dict(configuration or {}))),
        message=message,
        who=who or account(),
        when=now(),
    )
    if (there := _existing(store, name)) is not None:
        return _same(there, made)
    _refuse_second_life(store, made)
    made = replace(made, differing=differing(store, dataset, snapshot))
    if not store.backend.create(tag_path(name), made.encode()):
        return _same(read_tag(store, name), made)
    return made


def checkout(store: "Store", name: str, branch: str | None = None, *, message: str = "", who: str = "") -> Branch:
    """A new branch (by default ``checkout-<tag>``) that shows what a tag shows; no data and no heads are copied.

    Raises ``NotStoredError`` for an unknown tag and ``StoreError`` for a branch that exists or cannot be named so.
    """
    tag_ = read_tag(store, name)
    branch = branch or f"checkout-{name}"
    return create_branch(
        store, branch, f"tag:{name}", message=message or f"checkout of tag {name}: {tag_.message}", who=who
    )


def delete_tag(store: "Store", name: str, reason: str, who: str = "") -> str:
    """Take a tag away, so that it keeps nothing from gc any more; the path of the record of that, with the whole tag.

    Its name is never given to another state again. Raises ``NotStoredError`` for an unknown tag, ``StoreError`` when no
    reason is given.
    """
    if not reason.strip():
        raise StoreError(f"Say why the tag {name} is deleted: releases and locks in git may name it.")
    tag_ = read_tag(store, name)
    record = {
        "format": FORMAT,
        "tag": tag_.to_dict(),
        "reason": reason,
        "who": who or account(),
        "when": now(),
        "attempt": os.urandom(12).hex(),
    }
    data = canonical_json(record)
    path = f"{_deleted_folder(name)}/{version_name(bytes_digest(data))}.json"
    store.backend.create(path, data)
    store.backend.delete(tag_path(name))
    return path


def check_name(name: str) -> None:
    """Refuse, with ``StoreError``, a tag's name that could be read as something else."""
    segment(name)
    if name == "HEAD" or name.startswith(("-", "b3:")) or any(mark in name for mark in ":@"):
        raise StoreError(
            f"{name!r} cannot be the name of a tag: with '@', ':' or '-' in front it would be read as something else."
        )
    if {"", ".", ".."} & {*name.split("/")}:
        raise StoreError(f"{name!r} cannot be the name of a tag: it reads as a path; choose another name.")
    if name != name.strip():
        raise StoreError(f"The tag's name {name!r} starts or ends with a space; leave it out.")


# --- inside ----------------------------------------------------------------------------------------------------------


def _frozen(store: "Store", dataset: str, branch: str) -> dict[str, str]:
    trees = freeze(store, branch, dataset)
    if not trees:
        known = ", ".join(sorted({asset.partition("/")[0] for asset in store.assets(branch)})) or "nothing"
        raise NotStoredError(
            f"The branch {branch} shows nothing of {dataset!r}, so that there is nothing to tag; it shows: {known}."
        )
    return trees


def _existing(store: "Store", name: str) -> Tag | None:
    path = tag_path(name)
    try:
        return Tag.decode(store.backend.read(path), store.where(path))
    except FileNotFoundError:
        return None


def _same(there: Tag, made: Tag) -> Tag:
    """The tag that is there, if it is what was asked for."""
    wrong = _differs(there, made)
    if wrong:
        raise ConflictError(
            f"The tag {there.name} exists since {there.when} (by {there.who}) with {', '.join(wrong)}; tags never "
            "change, choose another name."
        )
    return there


def _differs(there: Tag, made: Tag) -> list[str]:
    wrong = []
    if there.dataset != made.dataset:
        wrong.append(f"another dataset ({there.dataset})")
    elif there.trees != made.trees:
        assets = {*there.trees, *made.trees}
        changed = sorted(asset for asset in assets if there.trees.get(asset) != made.trees.get(asset))
        wrong.append(f"other versions of {', '.join(changed)}")
    for what, before, now_ in (
        ("environment", there.environment, made.environment),
        ("configuration", dict(there.configuration), dict(made.configuration)),
        ("message", there.message, made.message),
    ):
        if before != now_:
            wrong.append(f"another {what}")
    return wrong


def _refuse_second_life(store: "Store", made: Tag) -> None:
    folder = _deleted_folder(made.name)
    for name in store.backend.children(folder)[1]:
        path = f"{folder}/{name}"
        try:
            record = dict(parse_json(store.backend.read(path)))
            trees = {asset: item["tree"] for asset, item in record["tag"]["assets"].items()}
            told = f"{record['who']} deleted it at {record['when']}: {record['reason']}"
        except (ValueError, TypeError, KeyError, AttributeError) as trouble:
            raise CorruptError(f"{store.where(path)} is not the record of a deleted tag; {FROM_ANOTHER}.") from trouble
        if trees != made.trees:
            raise ConflictError(
                f"The name {made.name} belonged to a tag of other versions ({told}); a name is never given twice, "
                "choose another."
            )


def _deleted_folder(name: str) -> str:
    return f"deleted-tags/{segment(name)}"
