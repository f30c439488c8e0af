"""How names that people choose become parts of a path, and back.

What belongs here: the one escaping rule, used for datasets, stages, sources, batches, clients and branches. What does
not: where in the store a path stands.

The rule: letters, digits, ``-``, ``_`` and ``.`` of ASCII stand for themselves; every other byte of the UTF-8 text, a
``.`` at either end, and the first letter of a name that Windows keeps for a device are percent-encoded. So the rule is
its own inverse under URL unquoting, which is how Delta, polars, DuckDB and pyarrow read hive-style folders; no segment
starts with ``.``, which the store keeps for temporary files, and none holds ``=`` or ``/``.
"""

import re
import unicodedata
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

from mlops_assets.errors import StoreError

LONGEST = 180
"""Bytes of an escaped segment: leaves room, under the 255 of file systems, for what the store puts around it."""

_PLAIN = re.compile(r"[A-Za-z0-9_-](?:[A-Za-z0-9_.-]*[A-Za-z0-9_-])?")
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE | re.DOTALL)
_HIVE_NULL = "__HIVE_DEFAULT"


@lru_cache(maxsize=65536)
def segment(text: str) -> str:
    """One path segment for a name.

    Raises ``StoreError`` for a name that is empty, not in Unicode's composed form (NFC), holds control characters, is
    what Hive calls "no value", or needs more than 180 bytes when escaped.
    """
    if not text:
        raise StoreError("A name is empty; give the dataset, stage, batch or branch a name of at least one character.")
    if text.startswith(_HIVE_NULL):
        raise StoreError(f"The name {text!r} means 'no value' to readers of hive-style folders; choose another.")
    plain = _PLAIN.fullmatch(text) is not None
    if not plain and any(unicodedata.category(character) in {"Cc", "Cs"} for character in text):
        raise StoreError(f"The name {text!r} holds a control character; remove it.")
    if not plain and not unicodedata.is_normalized("NFC", text):
        raise StoreError(
            f"The name {text!r} writes a letter and its accent as two characters, so that two names would look the "
            f"same; write it as {unicodedata.normalize('NFC', text)!r} (Unicode NFC)."
        )
    # quote() keeps "~" as well, which shells and some object stores read as a home folder
    escaped = text if plain else quote(text, safe="").replace("~", "%7E")
    if escaped.endswith("."):
        escaped = escaped[:-1] + "%2E"
    if escaped.startswith("."):
        escaped = "%2E" + escaped[1:]
    if _DEVICE.fullmatch(text):
        escaped = f"%{ord(text[0]):02X}{escaped[1:]}"
    if len(escaped) > LONGEST:
        raise StoreError(
            f"The name {text[:40]!r}... takes {len(escaped)} bytes in a path, more than {LONGEST}; shorten it."
        )
    return escaped


@lru_cache(maxsize=65536)
def text(segment_: str) -> str:
    """The name that ``segment`` made this segment from; raises ``StoreError`` when it cannot have made it."""
    try:
        name = unquote_to_bytes(segment_).decode("utf-8")
    except UnicodeError:
        name = ""
    if not name or segment(name) != segment_:
        raise StoreError(
            f"{segment_!r} is not a name as the store writes it; nothing but the store may add files there."
        )
    return name


@lru_cache(maxsize=4096)
def asset_path(asset: str) -> str:
    """The relative path of an asset such as ``flights/raw/weather``: each part escaped, joined by ``/``."""
    return "/".join(segment(part) for part in asset.split("/"))


def version_name(version: str) -> str:
    """A version as a file name: Windows and some object stores refuse ``:``."""
    return version.replace(":", "-")
