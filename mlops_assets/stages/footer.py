"""What a Parquet file says of itself: its columns' statistics, and whether their pages have checksums.

What belongs here: just enough of Thrift's compact protocol and of parquet.thrift for that. What does not: reading the
file (``parquet``). Arrow knows the same, but a look at damaged metadata through it can end the whole process.

Reference: https://github.com/apache/parquet-format, parquet.thrift (FileMetaData, PageHeader).
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12
_MORE = 0x80
_LONG_LIST = 15
_LONGEST_SHIFT = 63
_DEEPEST = 16
_TAIL = 8
"""Bytes after the metadata: their length, and ``PAR1``."""
_SCHEMA: Final = 2
_ROW_GROUPS: Final = 4
_ENCRYPTION: Final = 8
_OPEN, _LOCKED = b"PAR1", b"PARE"
"""What a file ends with whose metadata everybody can read, and one whose metadata is encrypted too."""
_COLUMNS, _ROWS = 1, 3
_META_DATA: Final = 3
_PATH, _DATA_PAGE, _DICTIONARY_PAGE, _STATISTICS = 3, 9, 11, 12
_NULLS, _MAX, _MIN = 3, 5, 6
_CRC: Final = 4
_NAME, _CONVERTED, _LOGICAL = 4, 6, 10
_STRING, _DATE, _TIMESTAMP, _INTEGER = 1, 6, 8, 10
_OLD_STRING, _OLD_DATE, _OLD_MILLIS, _OLD_MICROS, _OLD_UNSIGNED, _OLD_SIGNED = 0, 6, 9, 10, 11, 15
_UNIT, _MILLIS, _MICROS = 2, 1, 2
_WIDTH, _SIGNED = 1, 2


@dataclass(frozen=True, slots=True)
class Chunk:
    """One column in one row group: ``rows`` of the group, and what is said of the values, None where nothing is."""

    group: int
    rows: int
    column: str
    checksum: bool
    nulls: int | None
    least: bytes | None
    most: bytes | None


def encrypted(data: bytes) -> bool:
    """Whether the file, or some columns of it, can be read with keys only.

    Raises:
        ValueError: the metadata is not what the format says.
    """
    return data.endswith(_LOCKED) or (data.endswith(_OPEN) and _ENCRYPTION in _metadata(data))


def chunks(data: bytes) -> Iterator[Chunk]:
    """Every column of every row group that has rows, in the order of the groups.

    Raises:
        ValueError: the metadata is not what the format says.
    """
    metadata = _metadata(data)
    try:
        for element in metadata[_SCHEMA]:
            _check_descriptions(dict(element))
        for number, group in enumerate(metadata[_ROW_GROUPS]):
            for column in group[_COLUMNS]:
                if group[_ROWS]:
                    yield _chunk(data, number, group[_ROWS], column[_META_DATA])
    except (IndexError, KeyError, TypeError, struct.error) as error:
        raise ValueError("its metadata cannot be read.") from error


def _metadata(data: bytes) -> dict[int, Any]:
    size = int.from_bytes(data[-_TAIL:-4], "little")
    try:
        return _Reader(data, len(data) - _TAIL - size).struct()
    except (IndexError, KeyError, TypeError, struct.error) as error:
        raise ValueError("its metadata cannot be read.") from error


def _check_descriptions(element: Mapping[int, Any]) -> None:
    """Compare the two descriptions that a column has of its type, an old and a new one: no checksum is over them."""
    old, new = element.get(_CONVERTED), dict(element.get(_LOGICAL, {}))
    wanted: set[int | None] = {old}
    if _STRING in new:
        wanted = {_OLD_STRING}
    elif _DATE in new:
        wanted = {_OLD_DATE}
    elif _TIMESTAMP in new:
        unit = new[_TIMESTAMP][_UNIT]
        wanted = {_OLD_MILLIS} if _MILLIS in unit else {_OLD_MICROS} if _MICROS in unit else {None}
    elif _INTEGER in new:
        steps = (new[_INTEGER][_WIDTH] // 8).bit_length() - 1
        wanted = {steps + (_OLD_SIGNED if new[_INTEGER][_SIGNED] else _OLD_UNSIGNED)}
    # Some writers leave the old description out.
    if old not in wanted | {None}:
        raise ValueError(f"the two descriptions of the type of its column {element[_NAME].decode()!r} disagree.")


def _chunk(data: bytes, group: int, rows: int, meta: Mapping[int, Any]) -> Chunk:
    meta = dict(meta)
    statistics = dict(meta.get(_STATISTICS, {}))
    pages = [meta[key] for key in (_DATA_PAGE, _DICTIONARY_PAGE) if key in meta]
    least, most, nulls = (statistics.get(key) for key in (_MIN, _MAX, _NULLS))
    if not isinstance(nulls, int | None) or not all(isinstance(bound, bytes | None) for bound in (least, most)):
        raise TypeError
    name = b".".join(meta[_PATH]).decode()
    return Chunk(group, rows, name, _CRC in _Reader(data, min(pages)).struct(), nulls, least, most)


class _Reader:
    """Thrift's compact protocol: structs as dicts by field, lists, numbers, bytes."""

    def __init__(self, data: bytes, place: int) -> None:
        if not 0 <= place < len(data):
            raise ValueError("its metadata points outside of the file.")
        self._data, self._place, self._depth = data, place, 0

    def struct(self) -> dict[int, Any]:
        """The fields of a struct by their number."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError("its metadata is nested without end.")
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            kind = head & 0x0F
            fields[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind)
        self._depth -= 1
        return fields

    def _value(self, kind: int) -> Any:
        readers: Mapping[int, Callable[[], Any]] = {
            _TRUE: self._byte,
            _FALSE: self._byte,
            _BYTE: self._byte,
            _I16: self._zigzag,
            _I32: self._zigzag,
            _I64: self._zigzag,
            _DOUBLE: lambda: struct.unpack("<d", self._bytes(8))[0],
            _BINARY: lambda: self._bytes(self._varint()),
            _LIST: self._list,
            _SET: self._list,
            _STRUCT: self.struct,
        }
        return readers[kind]()

    def _list(self) -> list[Any]:
        head = self._byte()
        size = head >> 4
        if size == _LONG_LIST:
            size = self._varint()
        if size > len(self._data) - self._place:
            raise ValueError("its metadata speaks of more than the file holds.")
        return [self._value(head & 0x0F) for _ in range(size)]

    def _zigzag(self) -> int:
        number = self._varint()
        return (number >> 1) ^ -(number & 1)

    def _varint(self) -> int:
        number = shift = 0
        while True:
            byte = self._byte()
            number |= (byte & ~_MORE) << shift
            if not byte & _MORE:
                return number
            shift += 7
            if shift > _LONGEST_SHIFT:
                raise ValueError("its metadata holds a number without end.")

    def _byte(self) -> int:
        self._place += 1
        return self._data[self._place - 1]

    def _bytes(self, size: int) -> bytes:
        self._place += size
        if self._place > len(self._data):
            raise ValueError("its metadata speaks of more than the file holds.")
        return self._data[self._place - size : self._place]
