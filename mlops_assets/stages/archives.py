"""Delivered archives: one packed file, unpacked in memory when the contract says that files come packed.

What belongs here: gzip and zip, what may be wrong with them, and how much may come out of one. What does not: what the
file inside is (``delivery.refuse_foreign`` is asked again of what came out). No name inside an archive becomes a path.
"""

import gzip
import io
import lzma
import struct
import zipfile
import zlib
from typing import IO

from mlops_assets.contract.model import Contract, Source
from mlops_assets.errors import DeliveryError
from mlops_assets.stages.delivery import Delivery, listed, refuse_empty

_DAMAGE = (
    EOFError,
    OSError,
    ValueError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
)
"""What the libraries raise at damaged archives; a damaged place or size is an error of value, or a seek that fails."""
_MOST = 1 << 31
"""Bytes that may come out of an archive: two gibibytes."""
_PIECE = 1 << 20
_ENCRYPTED = 0x1
_NOTES = "__MACOSX/"
"""Where a Mac puts its own notes about the files in an archive."""


def unpacked(contract: Contract, source: Source, delivery: Delivery, data: bytes) -> bytes:
    """The bytes inside an archive, or ``data`` itself where the contract speaks of none.

    Raises:
        DeliveryError: the file is no such archive, is damaged, holds several files, or is unreasonably large inside.
    """
    kind = source.format.archive
    if kind == "none":
        return data
    magic = b"\x1f\x8b" if kind == "gzip" else b"PK"
    if not data.startswith(magic):
        raise DeliveryError(
            f"{delivery.name} is not packed with {kind}, as {contract.file}:{source.line} says (format: {{archive: "
            f"{kind}}}). Deliver it packed, or take the word out."
        )
    try:
        inside = _gzip(delivery, data) if kind == "gzip" else _zip(delivery, data)
    except _DAMAGE as error:
        raise DeliveryError(
            f"{delivery.name}: the {kind} archive is damaged or cut off ({error}). Deliver it again."
        ) from None
    refuse_empty(delivery, inside)
    return inside


def _gzip(delivery: Delivery, data: bytes) -> bytes:
    with gzip.open(io.BytesIO(data)) as file:
        return _limited(delivery, file)


def _zip(delivery: Delivery, data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        # A Mac puts its own notes about each file beside it.
        inside = [
            info for info in archive.infolist() if not info.is_dir() and not info.filename.startswith("__MACOSX/")
        ]
        if len(inside) != 1:
            names = f": {listed(info.filename for info in inside)}" if inside else ""
            raise DeliveryError(f"{delivery.name} holds {len(inside)} files{names}. Pack one file in each archive.")
        if inside[0].flag_bits & _ENCRYPTED:
            raise DeliveryError(f"{delivery.name} is locked with a password. Deliver it without one.")
        with archive.open(inside[0]) as file:
            return _limited(delivery, file)


def _limited(delivery: Delivery, file: gzip.GzipFile | IO[bytes]) -> bytes:
    """Everything in the file; a small archive can hold more than any memory."""
    pieces, size = [], 0
    while piece := file.read(_PIECE):
        size += len(piece)
        if size > _MOST:
            raise DeliveryError(
                f"{delivery.name} is more than {_MOST:,} bytes when it is unpacked. Deliver it in parts, or unpacked."
            )
        pieces.append(piece)
    return b"".join(pieces)
