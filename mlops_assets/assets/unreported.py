"""What Dagster is still to be told: heads that moved, or were refused, outside of its runs.

What belongs here: the notes of that, which outlive the process that leaves them. What does not: telling (``runs``,
``events``). Nothing here imports Dagster.

A note is an empty file for each head, or holds why it is to be told again.
"""

from pathlib import Path
from typing import Literal

from mlops_assets.home import Home
from mlops_assets.store.names import segment, text
from mlops_assets.store.store import Store

Mark = Literal["news", "again"]


def mark(home: Home, branch: str, asset: str, batch: str, why: Mark = "news") -> None:
    """Note that Dagster is to be told of a head; taken away by ``unmark`` once it was.

    ``news`` is a head it does not know, ``again`` one that it knows and hides behind a refusal; news stay news.
    """
    path = _mark(home, branch, asset, batch)
    path.parent.mkdir(parents=True, exist_ok=True)
    if why == "news":
        path.write_bytes(b"")
    elif not path.exists():
        path.write_text(why)


def mark_everything(home: Home, store: Store) -> None:
    """Note that Dagster is to be told of every head: its home is new, and the store is not."""
    for asset in store.assets(home.branch):
        for batch in store.heads(home.branch, asset):
            mark(home, home.branch, asset, batch)


def unmark(home: Home, branch: str, asset: str, batch: str) -> None:
    """Dagster was told."""
    _mark(home, branch, asset, batch).unlink(missing_ok=True)


def marked(home: Home, branch: str, asset: str, batch: str) -> Mark | None:
    """What Dagster is to be told of a head, if anything."""
    try:
        return "again" if _mark(home, branch, asset, batch).stat().st_size else "news"
    except FileNotFoundError:
        return None


def all_marked(home: Home, branch: str, asset: str) -> dict[str, Mark]:
    """What Dagster is to be told of the heads of an asset, by batch."""
    folder = _mark(home, branch, asset, "-").parent
    batches = [text(path.name) for path in sorted(folder.iterdir()) if path.is_file()] if folder.is_dir() else []
    found = {batch: marked(home, branch, asset, batch) for batch in batches}
    return {batch: why for batch, why in found.items() if why is not None}


def _mark(home: Home, branch: str, asset: str, batch: str) -> Path:
    return home.unreported.joinpath(segment(branch), *asset.split("/"), segment(batch))
