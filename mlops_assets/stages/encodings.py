"""From delivered bytes to UTF-8, in the encoding that the contract names and in no other.

What belongs here: decoding strictly, and saying what a file seems to be written in where that is another encoding. What
does not: what the letters mean. Nothing is guessed: a second encoding that fits is a reason to refuse, never to switch.

An encoding of one byte a letter reads any bytes at all, and those of East Asia read nearly any. So a file that is UTF-8
throughout, or that has control characters where another encoding has letters, is refused rather than read wrongly
without a word.
"""

import re
from collections.abc import Mapping

from mlops_assets.contract.model import Source
from mlops_assets.errors import DeliveryError
from mlops_assets.stages.delivery import Delivery

BOM = b"\xef\xbb\xbf"
_UTF8 = ("utf-8", "utf-8-sig")
_WIDE = ("utf-16", "utf-32")
_MARKS = (
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_ZEROS: Mapping[tuple[bool, ...], str] = {
    (False, True, True, True): "utf-32-le",
    (True, True, True, False): "utf-32-be",
    (False, True, False, True): "utf-16-le",
    (True, False, True, False): "utf-16-be",
}
"""Which of every four bytes are 0 in a text of ASCII letters, as a header mostly is."""
_CONTROLS = re.compile("[\x80-\x84\x86-\x9f]")
"""Control characters that no text holds; 0x85 is a line end of mainframes."""
_HEAD = 400
_LOOKED_AT = 1 << 20
_MOSTLY = 0.6
_SURE = 3
"""So many different letters of UTF-8 are no chance: of East Asian encodings one letter in eight passes for UTF-8."""
_OTHERS = ("cp1251", "gb18030", "big5", "shift_jis", "euc_kr")
"""What files from Eastern Europe and East Asia are mostly written in, where it is not UTF-8."""
_EBCDIC = "cp037"
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
            _refuse_wide(source, delivery, bare, encoding)
            _decoded(source, delivery, bare, "utf-8")
        return bare
    _refuse_wide(source, delivery, data, encoding)
    text = _decoded(source, delivery, data, encoding)
    if not data.isascii() and not encoding.startswith(_WIDE):
        _refuse_misread(source, delivery, data, text)
    return text.removeprefix("\ufeff").encode()


def _refuse_wide(source: Source, delivery: Delivery, data: bytes, encoding: str) -> None:
    """Refuse a file that is surely written with two or four bytes a letter, or surely not, unlike the contract."""
    head = data[:_HEAD]
    marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    quarters = [head[place::4] for place in range(4)]
    found = marked or _ZEROS.get(tuple(part.count(0) > _MOSTLY * len(part) for part in quarters))
    if found is None:
        if encoding.startswith(_WIDE) and b"\0" not in head:
            raise DeliveryError(
                f"{delivery.name} is not written in {encoding}, as the contract says: no byte of its beginning is 0. "
                f"Set the file's true encoding (format: {{encoding: ...}}) for source {source.name}."
            )
        return
    # Without an order of bytes in its name an encoding goes by the mark, or takes the lower byte first.
    family = found[: len("utf-16")]
    if encoding not in (found, family if marked or found.endswith("le") else found):
        name = family if marked else found
        raise DeliveryError(
            f"{delivery.name} is written in {name.upper()}. Set format: {{encoding: {name}}} for source "
            f"{source.name}, or ask for UTF-8."
        )


def _refuse_misread(source: Source, delivery: Delivery, data: bytes, text: str) -> None:
    """Refuse bytes that the declared encoding reads, but surely was not used to write."""
    encoding, single = source.format.encoding, len(text) == len(data)
    if _is_utf8(data) and (single or len(set(data.decode()) - set(map(chr, range(128)))) >= _SURE):
        place = next(at for at, letter in enumerate(text) if not letter.isascii())
        raise DeliveryError(
            f"{delivery.name} {_where(source, text[:place])}: the contract says {encoding}, and read so letters beyond "
            f"ASCII would become others. {_AS_UTF8} of source {source.name}, or ask for {encoding}."
        )
    control = _CONTROLS.search(text)
    if control and single:
        windows = "iso8859" in encoding
        raise DeliveryError(
            f"{delivery.name} {_where(source, text[: control.start()])}: the byte 0x{data[control.start()]:02x} (byte "
            f"{control.start():,} of the file) is a control character in {encoding}"
            + (
                f"; the encodings of Windows (cp1252, cp1250, ...) have a letter there. If the file comes from "
                f"Windows, set format: {{encoding: cp1252}} for source {source.name}."
                if windows
                else f". Set the file's true encoding (format: {{encoding: ...}}) for source {source.name}."
            )
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
    foreign = [letter for letter in text if not letter.isascii()]
    broken = foreign.count(_NO_LETTER)
    if len(foreign) >= 2 * broken:
        return (
            "Other letters of the file are UTF-8, so that it is damaged or put together from two encodings. Deliver a "
            "sound one."
        )
    return _other_encoding(source, data, error.start)


def _other_encoding(source: Source, data: bytes, start: int) -> str:
    """What a file that is surely not UTF-8 may be written in; ``start`` is the first byte beyond ASCII."""
    ask = f"set format: {{encoding: ...}} for source {source.name}, or ask for UTF-8."
    head = data[: 10 * _HEAD].decode(_EBCDIC)
    if start < _HEAD and all(name in head for name in list(source.columns)[:3]):
        return f"It is written in EBCDIC, as mainframes do: ask which kind ({_EBCDIC}, cp500, ...) and {ask}"
    words = re.findall(rb"[\x80-\xff]+", data[start : start + _LOOKED_AT])
    # In Western languages letters beyond ASCII stand alone, in others whole words are made of them.
    if 2 * sum(len(word) == 1 for word in words) >= len(words):
        return (
            f"If the file comes from an older Windows or Excel, set format: {{encoding: cp1252}} (or latin-1) for "
            f"source {source.name}, or ask for UTF-8."
        )
    fitting = [name for name in _OTHERS if _reads(name, data)]
    listed = f" ({', '.join(fitting)} would all read it)" if len(fitting) > 1 else ""
    return f"Ask which encoding it is{listed} and {ask}"


def _reads(encoding: str, data: bytes) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _is_utf8(data: bytes) -> bool:
    return _reads("utf-8", data)
