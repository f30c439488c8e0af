"""Notes that publishers leave: what each manifest that they showed to readers was made from, a line each.

What belongs here: writing a note, and finding those of some manifests. What does not: what is asked of recorded inputs
(``inputs``).

A manifest never changes under its id, so a note of it is true for ever, and it does not matter who wrote it, in which
order, or how often. It does not matter either when one is missing: a publisher that is killed before it writes its
note, a disk that refuses it, and two network clients that write at the same place leave a manifest that is read.
A line says by a checksum whether it is whole, and starts on a line of its own, whatever stands before it.

The files hold nothing that the manifests do not say: they may be deleted, are not copied to remotes, and object stores,
whose files cannot grow, have none. They do not grow for ever: a full one takes the place of the one before it.
"""

import zlib
from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson

from mlops_assets.errors import StoreError
from mlops_assets.store.bulk import uncollected
from mlops_assets.store.names import segment

if TYPE_CHECKING:
    from mlops_assets.store.backend import Backend
    from mlops_assets.store.manifest import Manifest

FORMAT = 1
"""Checksums start from it, so that lines of another format do not count as whole."""

FULL = 16 << 20
"""Bytes of a full file: notes of 100,000 versions with one input each. Larger ones take long to look through."""

LONGEST = 16 << 10
"""Bytes of a line. Who reads so many inputs that it would be longer has a manifest that is read as quickly."""

FEW = 500
"""Manifests that are read sooner than looked for here: that takes no time, and sees damage."""

PRICE = 3_000
"""Bytes of notes that are looked through in the time in which one manifest is read."""

Fields = list[Any]
"""Asset, partition and version of each input, one after the other; the version of one that was absent is None."""

_SUM = 8
_ID = slice(_SUM + len('["'), _SUM + len('["b3:') + 64)


def note(backend: "Backend", manifest: "Manifest") -> None:
    """Leave a note of a manifest that readers see now; at worst there is none."""
    inputs = [field for item in manifest.inputs for field in (item.asset, item.partition, item.version)]
    record = orjson.dumps([manifest.id, *inputs])
    if len(record) > LONGEST:
        return
    dataset = manifest.asset.partition("/")[0]
    path, before = notes_paths(dataset)
    size = backend.append(path, b"\n%08x%b\n" % (zlib.crc32(record, FORMAT), record))
    if size is not None and size > FULL:
        # of several who see that it is full, the first one moves it
        with suppress(StoreError), backend.hold(path):
            if (found := backend.stat(path)) and found.size > FULL:
                backend.rename(path, before)


@uncollected()
def noted(backend: "Backend", dataset: str, manifests: Collection[str]) -> dict[str, Fields]:
    """The inputs of those of some manifests (ids) of a dataset that there are notes of, by id.

    Empty where reading the manifests is no slower.
    """
    if len(manifests) < FEW:
        return {}
    paths = notes_paths(dataset)
    size = sum(found.size for path in paths if (found := backend.stat(path)))
    if not 0 < size <= PRICE * len(manifests):
        return {}
    wanted = {id_.encode() for id_ in manifests}
    lines = [
        body
        for data in backend.read_many(paths)
        for line in (data or b"").split(b"\n")
        if line[_ID] in wanted and line[:_SUM] == b"%08x" % zlib.crc32(body := line[_SUM:], FORMAT)
    ]
    return {record[0]: record[1:] for record in orjson.loads(b"[%b]" % b",".join(lines))}


def notes_paths(dataset: str) -> tuple[str, str]:
    """Where the notes of a dataset's manifests stand: the file that grows, and the one before it."""
    return f"cache/notes/{segment(dataset)}", f"cache/notes-before/{segment(dataset)}"
