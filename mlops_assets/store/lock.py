"""``data.lock``: the snapshot that belongs to a commit, as a text file with one line for each asset.

What belongs here: writing it for a tag, reading it, and saying whether a branch still shows it. What does not: making
the tag (``snapshots``), or when a commit is refused because of it (a hook decides).

The file is for people, for ``git diff`` and for git's merges: fields are separated by tabs, so that a change of one
asset changes one line, and what it says follows from the tag alone. The number in its first line follows the rule of
``manifest``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.errors import CorruptError, NotStoredError, UserError
from mlops_assets.store import refs, trees
from mlops_assets.store.columns import Columns
from mlops_assets.store.formats import check_format
from mlops_assets.store.heads import Leaf
from mlops_assets.store.tags import Tag, read_tag
from mlops_assets.store.trees import Summary
from mlops_assets.wording import counted

if TYPE_CHECKING:
    from mlops_assets.store.store import Store

FORMAT = 1
NAME = "data.lock"

_FIRST = "# mlops_assets data.lock"
_EXAMPLES = 3


@dataclass(frozen=True)
class Lock:
    """What a ``data.lock`` says: the tag's name, its dataset, git commit (with ``dirty`` after it) and environment."""

    tag: str
    dataset: str
    git: str
    environment: str
    assets: Mapping[str, Summary]

    @classmethod
    def of(cls, tag: Tag) -> "Lock":
        """What the lock of a tag says."""
        commit = str(tag.git.get("commit") or "")
        return cls(
            tag.name,
            tag.dataset,
            f"{commit} dirty" if commit and tag.git.get("dirty") else commit,
            tag.environment,
            dict(sorted(tag.assets.items())),
        )

    @property
    def text(self) -> str:
        """The file."""
        lines = [
            f"{_FIRST} {FORMAT}",
            f"# tag\t{self.tag}",
            f"# dataset\t{self.dataset}",
            f"# git\t{self.git}",
            f"# environment\t{self.environment}",
            "# asset\ttree\tcontent\tbatches\trows\tbytes",
        ]
        for asset, (tree, content, batches, rows, size) in self.assets.items():
            lines.append(f"{asset}\t{tree}\t{content}\t{batches}\t{'-' if rows is None else rows}\t{size}")
        return "\n".join(lines) + "\n"


def lock_text(tag: Tag) -> str:
    """The ``data.lock`` of a tag; the same tag always gives the same text."""
    return Lock.of(tag).text


def read_lock(path: Path) -> Lock:
    """The lock in a file; raises ``NotStoredError`` when there is no file, and as ``parse_lock``."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotStoredError(
            f"There is no {path}; write it with: mlops-assets tag NAME {path.parent.name} -m MESSAGE"
        ) from None
    except UnicodeDecodeError as trouble:
        raise CorruptError(f"{path} is not text in UTF-8; {_AGAIN}.") from trouble
    return parse_lock(text, str(path))


def parse_lock(text: str, where: str) -> Lock:
    """The lock in a text; ``where`` names it in errors.

    Raises ``CorruptError`` for what is no lock (both sides of a merge, for instance), ``StoreError`` for a newer
    format.
    """
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if line.startswith(("<<<<<<<", "=======", ">>>>>>>")):
            raise CorruptError(f"{where}:{number} holds both sides of a merge; keep one of them, or tag again.")
    number_said = lines[0].removeprefix(_FIRST).strip() if lines and lines[0].startswith(_FIRST) else ""
    if not number_said.isdigit():
        raise CorruptError(f"{where}:1 is not the first line of a data.lock; {_AGAIN}.")
    check_format(int(number_said), FORMAT, where)
    head: dict[str, str] = {}
    assets: dict[str, Summary] = {}
    for number, line in enumerate(lines[1:], 2):
        if line.startswith("# "):
            name, _, value = line[2:].partition("\t")
            head[name] = value
        elif line.strip():
            assets.update([_asset(line, f"{where}:{number}")])
    if "tag" not in head or "dataset" not in head:
        raise CorruptError(f"{where} does not say which tag it belongs to; {_AGAIN}.")
    return Lock(head["tag"], head["dataset"], head.get("git", ""), head.get("environment", ""), assets)


def differences(store: "Store", lock: Lock, branch: str) -> list[str]:
    """Sentences on what a branch shows otherwise than a lock, and on a lock that is not its tag's; empty if in step.

    Batches and versions are compared, not the records that led to them: what was only audited again is in step.
    """
    wrong = _not_its_tag(store, lock)
    told = [wrong] if wrong else []
    shown = refs.view(store, f"branch:{branch}")
    names = {asset for asset in shown.assets() if asset.partition("/")[0] == lock.dataset}
    for asset in sorted(names | set(lock.assets)):
        leaves = shown.leaves(asset)
        locked = lock.assets.get(asset)
        if locked is None:
            if leaves:
                told.append(f"{asset}: branch {branch} shows {_count(leaves)}, {NAME} does not name it.")
        elif not leaves:
            told.append(f"{asset}: branch {branch} shows nothing of it, {NAME} has {counted(locked.batches, 'batch')}.")
        elif trees.summary("", leaves).content != locked.content:
            told.append(f"{asset}: branch {branch} shows {_changes(store, locked, leaves)}, seen from {NAME}.")
    return told


_AGAIN = "write it again with: mlops-assets lock DATASET --tag TAG"


def _asset(line: str, where: str) -> tuple[str, Summary]:
    try:
        asset, tree, content, batches, rows, size = line.split("\t")
        return asset, Summary(tree, content, int(batches), None if rows == "-" else int(rows), int(size))
    except ValueError:
        raise CorruptError(
            f"{where} should name asset, tree, content, batches, rows and bytes, separated by tabs; {_AGAIN}."
        ) from None


def _not_its_tag(store: "Store", lock: Lock) -> str:
    try:
        tag = read_tag(store, lock.tag)
    except NotStoredError:
        return (
            f"{NAME} names the tag {lock.tag}, which is not in {store}; "
            f"get it with: mlops-assets fetch REMOTE --tag {lock.tag}"
        )
    if dict(tag.assets) != dict(lock.assets) or tag.dataset != lock.dataset:
        return (
            f"{NAME} is not what the tag {lock.tag} says; write it again with: "
            f"mlops-assets lock {tag.dataset} --tag {lock.tag}"
        )
    return ""


def _changes(store: "Store", locked: Summary, leaves: Mapping[str, Leaf]) -> str:
    try:
        before = store.tree(locked.tree).by_name("version")
    except UserError:
        return f"{_count(leaves)} with other versions"
    after = Columns.of(Leaf, leaves).by_name("version")
    new = [batch for batch in after if batch not in before]
    gone = [batch for batch in before if batch not in after]
    changed = [batch for batch, version in after.items() if before.get(batch, version) != version]
    said = [(new, "new"), (changed, "changed"), (gone, "gone")]
    return ", ".join(f"{len(batches)} {word} ({_some(batches)})" for batches, word in said if batches)


def _some(batches: list[str]) -> str:
    more = ", ..." if len(batches) > _EXAMPLES else ""
    return ", ".join(sorted(batches)[:_EXAMPLES]) + more


def _count(leaves: Mapping[str, Leaf]) -> str:
    return counted(len(leaves), "batch")
