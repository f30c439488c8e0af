"""From delivered bytes to UTF-8, in the encoding that the contract names and in no other.

What belongs here: decoding strictly, and saying what a file seems to be written in where that is another encoding. What
does not: what the letters mean. Nothing is guessed: a second encoding that fits is a reason to refuse, never to switch.

An encoding of one byte a letter reads any bytes at all. So a file that is UTF-8 throughout, or that has control
characters where another encoding has letters, is refused rather than read wrongly without a word.
"""

import re

from mlops_assets.contract.model import Source
from mlops_assets.errors import DeliveryError
from mlops_assets.stages.delivery import Delivery

BOM = b"\xef\xbb\xbf"
_UTF8 = ("utf-8", "utf-8-sig")
_WIDE = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")
_CONTROLS = re.compile("[\x80-\x84\x86-\x9f]")
"""Control characters that no text holds; 0x85 is a line end of mainframes."""
_HEAD = 400
_MOSTLY = 0.6
_NO_LETTER = "\ufffd"
_AS_UTF8 = "Every byte beyond ASCII is part of a letter of UTF-8: take 'encoding' out of the format"


def as_utf8(source: Source, delivery: Delivery, data: bytes) -> bytes:
    """The file as UTF-8 without a byte order mark.

    Raises:
        DeliveryError: a byte is not of the declared encoding, or the file is surely written in another one.
    """
    encoding = source.format.encoding.replace("_", "-")
    if encoding in _UTF8:
        bare = data.removeprefix(BOM)
        if not bare.isascii() or b"\0" in bare[:_HEAD]:
            _refuse_utf16(source, delivery, bare)
            _decoded(source, delivery, bare, "utf-8")
        return bare
    if encoding in _WIDE and b"\0" not in data[:_HEAD]:
        raise DeliveryError(
            f"{delivery.name} is not written in {encoding}, as the contract says: no byte of its beginning is 0. "
            f"Set the file's true encoding (format: {{encoding: ...}}) for source {source.name}."
        )
    text = _decoded(source, delivery, data, encoding)
    if len(text) == len(data) and not data.isascii():
        _refuse_misread(source, delivery, data, text)
    return text.removeprefix("\ufeff").encode()


def _refuse_utf16(source: Source, delivery: Delivery, data: bytes) -> None:
    head = data[:_HEAD]
    found = None
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        found = "utf-16"
    # A header begins with ASCII, of which every other byte is 0 in UTF-16.
    elif head[1:4:2] == b"\0\0" and head[1::2].count(0) > _MOSTLY * len(head[1::2]):
        found = "utf-16-le"
    elif head[:4:2] == b"\0\0" and head[::2].count(0) > _MOSTLY * len(head[::2]):
        found = "utf-16-be"
    if found:
        raise DeliveryError(
            f"{delivery.name} is written in {found.upper()}. Set format: {{encoding: {found}}} for source "
            f"{source.name}, or ask for UTF-8."
        )


def _refuse_misread(source: Source, delivery: Delivery, data: bytes, text: str) -> None:
    """Refuse bytes that a one-byte encoding reads, but surely was not used to write."""
    encoding = source.format.encoding
    if _is_utf8(data):
        place = next(at for at, letter in enumerate(text) if not letter.isascii())
        raise DeliveryError(
            f"{delivery.name} {_where(source, text[:place])}: the contract says {encoding}, and read so every letter "
            f"beyond ASCII would become two or more. {_AS_UTF8} of source {source.name}, or ask for {encoding}."
        )
    control = _CONTROLS.search(text)
    if control:
        raise DeliveryError(
            f"{delivery.name} {_where(source, text[: control.start()])}: the byte 0x{data[control.start()]:02x} (byte "
            f"{control.start():,} of the file) is a control character in {encoding}; the encodings of Windows (cp1252, "
            f"cp1250, ...) have a letter there. If the file comes from Windows, set format: {{encoding: cp1252}} for "
            f"source {source.name}."
        )


def _decoded(source: Source, delivery: Delivery, data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(encoding, "replace")
        byte = f"0x{data[error.start]:02x}" if error.start < len(data) else "at the end"
        raise DeliveryError(
            f"{delivery.name} {_where(source, before)}: the byte {byte} (byte {error.start:,} of the file) is not "
            f"{encoding}{_more(data, encoding)}. {_advice(source, data, encoding, error)}"
        ) from None


def _where(source: Source, before: str) -> str:
    """The line and the field of what follows the text ``before``."""
    end = "\n" if "\n" in before else "\r"
    line = before.rsplit(end, 1)[-1]
    place = f"line {before.count(end) + 1}"
    if source.format.kind != "csv" or (source.format.quote and source.format.quote in line):
        return place
    return f"{place}, field {line.count(source.format.delimiter) + 1}"


def _more(data: bytes, encoding: str) -> str:
    lines = sum(_NO_LETTER in line for line in data.decode(encoding, "replace").split("\n"))
    return f"; {lines:,} lines hold such bytes" if lines > 1 else ""


def _advice(source: Source, data: bytes, encoding: str, error: UnicodeDecodeError) -> str:
    if encoding not in _UTF8 and _is_utf8(data):
        return f"{_AS_UTF8} of source {source.name}."
    if encoding not in _UTF8:
        return f"Set the file's true encoding (format: {{encoding: ...}}) for source {source.name}, or ask for UTF-8."
    text = data.decode(encoding, "replace")
    if error.end >= len(data) and "unexpected end" in error.reason:
        return "The file is cut off in the middle of a letter. Deliver the whole file."
    if any(not letter.isascii() and letter != _NO_LETTER for letter in text):
        return (
            "Other letters of the file are UTF-8, so that it is damaged or put together from two encodings. Deliver a "
            "sound one."
        )
    return (
        f"If the file comes from an older Windows or Excel, set format: {{encoding: cp1252}} (or latin-1) for source "
        f"{source.name}, or ask for UTF-8."
    )


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
