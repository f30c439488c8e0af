"""Reading JSON Lines: every declared field as the text that was delivered, every object with its physical line.

What belongs here: one JSON object a line, and lines that are none. What does not: what the texts mean (``cells``).

Numbers are kept as they were written, so that nothing is rounded before the contract is asked; ``true`` and ``false``
are those words, ``null`` and an absent field are no value.
"""

import json
from collections import Counter
from typing import Any

import pyarrow as pa

from mlops_assets.contract.model import Contract, Source
from mlops_assets.errors import DeliveryError
from mlops_assets.stages.archives import unpacked
from mlops_assets.stages.delivery import (
    LINE,
    PROBLEM,
    TEXT,
    Delivery,
    FileRows,
    check_columns,
    read_bytes,
    refuse_foreign,
    require_final_newline,
)


def read_jsonlines(contract: Contract, source: Source, delivery: Delivery) -> FileRows:
    """The rows of a JSON Lines file.

    Raises:
        DeliveryError: the file cannot be read at all, or no object has a declared column.
    """
    delivered = read_bytes(delivery)
    data = unpacked(contract, source, delivery, delivered)
    refuse_foreign(delivery, source, data)
    text = _text(delivery, data)
    require_final_newline(contract, source, delivery, data)
    seen: Counter[str] = Counter()
    columns: dict[str, list[str | None]] = {name: [] for name in source.columns}
    numbers: list[int] = []
    raws: list[str | None] = []
    problems: list[str | None] = []
    blank = 0
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            blank += 1
            continue
        fields, problem = _fields(line, columns)
        numbers.append(number)
        raws.append(line.rstrip("\r") if problem else None)
        problems.append(problem or None)
        seen.update(fields.keys())
        for name, values in columns.items():
            values.append(fields.get(name))
    if numbers and not seen:
        raise DeliveryError(
            f"{delivery.name}: none of its {len(numbers):,} lines is a JSON object with fields. Line {numbers[0]}: "
            f"{problems[0] or 'the object is empty'}."
        )
    final_newline = text.endswith("\n")
    cut_off = bool(problems) and problems[-1] == _NOT_JSON and not final_newline
    table = pa.table(
        {name: pa.array(values, pa.string()) for name, values in columns.items()}
        | {
            LINE: pa.array(numbers, pa.int64()),
            TEXT: pa.array(raws, pa.string()),
            PROBLEM: pa.array(problems, pa.string()),
        }
    )
    return FileRows(
        table,
        {
            "rows": table.num_rows,
            "bytes": len(delivered),
            "blank_lines": blank - final_newline,
            "unsplit": table.num_rows - table[PROBLEM].null_count,
            "final_newline": final_newline,
            "cut_off_line": numbers[-1] if cut_off else None,
            "extra_columns": check_columns(contract, source, delivery, list(seen)) if numbers else [],
        },
    )


_NOT_JSON = "the line is not JSON"


def _text(delivery: Delivery, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DeliveryError(
            f"{delivery.name} line {line}: the byte 0x{data[error.start]:02x} (byte {error.start:,} of the file) is "
            f"not UTF-8, which JSON Lines are written in. Ask for UTF-8."
        ) from None


class _TwiceError(ValueError):
    """A field stands twice in one object."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _TwiceError
    return found


def _fields(line: str, declared: dict[str, Any]) -> tuple[dict[str, str | None], str]:
    """The object's fields as texts, and what is wrong with the line."""
    try:
        found = json.loads(line, object_pairs_hook=_object, parse_float=str, parse_int=str, parse_constant=str)
    except _TwiceError:
        return {}, "a field stands twice in the object"
    except (ValueError, RecursionError):
        return {}, _NOT_JSON
    if not isinstance(found, dict):
        return {}, "the line is not a JSON object"
    fields: dict[str, str | None] = {}
    for name, value in found.items():
        if isinstance(value, dict | list) and name in declared:
            return dict.fromkeys(found), f"the field {name!r} holds an object or a list, not one value"
        fields[name] = str(value).lower() if isinstance(value, bool) else None if value is None else str(value)
    if any(text is not None and _unpaired(text) for text in fields.values()):
        return dict.fromkeys(found), "a text holds half of a surrogate pair"
    return fields, ""


def _unpaired(text: str) -> bool:
    """Whether a text cannot be written as UTF-8: a JSON escape may stand for half a letter."""
    return not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text)
