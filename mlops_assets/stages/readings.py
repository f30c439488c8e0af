"""What an unreadable text may have been meant to say, for the person who has to decide; nothing is ever read by it.

What belongs here: the other ways in which a text could be read, and the word of the contract that would choose one.
What does not: reading values (``cells``, ``times``). Sensitive values are not shown: their hints name formats only.
"""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.contract.model import Column, FileFormat
from mlops_assets.stages.arrays import truths
from mlops_assets.stages.rows import Truths

_WORTH = {
    "date": r"\A[0-9]{1,4}[./-]?[0-9]{1,2}[./-]?[0-9]{1,4}([T ].*)?\z|\A[0-9]{9,13}\z",
    "timestamp": r"\A[0-9]{1,4}[./-]?[0-9]{1,2}[./-]?[0-9]{1,4}([T ].*)?\z|\A[0-9]{9,13}\z",
    "float64": r"\A[+-]?[0-9]{1,3}(([.,' _][0-9]{3})*[.,][0-9]*|([.,' _][0-9]{3})+)\z|\A[+-]?[0-9]*,[0-9]+\z",
    "int64": r"\A[+-]?[0-9]{1,3}([.,' _][0-9]{3})+\z",
    "boolean": r"\A(?i:y|yes|n|no|t|f|on|off|x)\z",
}
"""Texts that something can be said of; the others cost nothing."""
_NOTHING = r"\A([ \t\x{a0}]+|NA|N/A|#N/A|NaN|nan|null|NULL|None|[-?.])\z"
"""Words for no value that people use."""
_PADDED = r"\A[ \t\x{a0}].*[^ \t\x{a0}]|[^ \t\x{a0}].*[ \t\x{a0}]\z"
"""A text with blanks around it."""
_DAY = re.compile(r"(?P<a>[0-9]{1,4})(?P<s>[./-])(?P<b>[0-9]{1,2})(?P=s)(?P<c>[0-9]{1,4})(?P<rest>([T ].*)?)")
_OFFSET = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?P<t>[T ])[0-9]{2}:[0-9]{2}(?P<s>:[0-9]{2})?(?P<f>\.[0-9]{1,6})?[+-].*"
)
_CLOCKS = ("", " %H:%M", " %H:%M:%S", "T%H:%M", "T%H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_YEAR = 4
_COUNTS = (
    (range(5, 6), "days as Excel does", datetime(1899, 12, 30), timedelta(days=1)),  # noqa: DTZ001
    (range(9, 11), "seconds since 1970", datetime(1970, 1, 1), timedelta(seconds=1)),  # noqa: DTZ001
    (range(12, 14), "milliseconds since 1970", datetime(1970, 1, 1), timedelta(milliseconds=1)),  # noqa: DTZ001
)
"""How many digits a count of time has today, what it counts, and from when on."""


def hints(column: Column, file_format: FileFormat, distinct: pa.Array, unreadable: Truths) -> pa.Array:
    """For each unreadable value what it may mean, as the end of a sentence that opens with ``;``, or an empty text."""
    found = np.full(int(unreadable.sum()), "", dtype=object)
    pattern = _WORTH.get(column.type)
    if pattern is None or not pa.types.is_string(distinct.type):
        return pa.array(found, pa.string())
    texts = distinct.filter(pa.array(unreadable))
    if file_format.kind == "csv" and not file_format.strip:
        found[truths(pc.match_substring_regex(texts, _PADDED))] = (
            "; format: {strip: true} takes the blanks around it away"
        )
    found[truths(pc.match_substring_regex(texts, _NOTHING))] = "; where it means no value, name it in 'missing'"
    for place in np.flatnonzero(truths(pc.match_substring_regex(texts, pattern))).tolist():
        text = texts[place].as_py()
        hidden = "sensitive" in column.roles
        if column.type == "boolean":
            found[place] = "; declare a string with the two 'values'"
        elif column.type in ("date", "timestamp"):
            found[place] = _time_hint(column, text, hidden=hidden)
        else:
            found[place] = _number_hint(column, file_format, text, hidden=hidden)
    return pa.array(found, pa.string())


def _time_hint(column: Column, text: str, *, hidden: bool) -> str:
    offset = _OFFSET.fullmatch(text)
    if offset and column.type == "timestamp":
        clock = f"{offset['t']}%H:%M{':%S' if offset['s'] else ''}{'.%f' if offset['f'] else ''}%z"
        return f'; it says an offset from UTC: set format: "%Y-%m-%d{clock}"'
    found = list(_readings(text))
    if not found:
        return _counted(text, hidden=hidden)
    shown = [pattern if hidden else f"{moment:%Y-%m-%d} ({pattern})" for pattern, moment in found]
    if len(found) == 1:
        return f'; it reads as {shown[0]}: set format: "{found[0][0]}"'
    return f"; it reads as {' or as '.join(shown)}: say which with 'format'"


def _counted(text: str, *, hidden: bool) -> str:
    """What a number may be that counts days or seconds."""
    for digits, words, start, unit in _COUNTS:
        if text.isdigit() and len(text) in digits:
            meant = "" if hidden else f" and be {start + int(text) * unit:%Y-%m-%d %H:%M}"
            return f"; it may count {words}{meant}: ask for a written time"
    return ""


def _readings(text: str) -> Iterator[tuple[str, datetime]]:
    """Every numeric format that reads the text, with the day that it says."""
    for pattern in _patterns(text):
        for clock in _CLOCKS:
            try:
                yield pattern + clock, datetime.strptime(text, pattern + clock)  # noqa: DTZ007
            except ValueError:
                continue


def _patterns(text: str) -> tuple[str, ...]:
    if re.fullmatch(r"[0-9]{8}", text):
        return ("%Y%m%d", "%d%m%Y", "%m%d%Y")
    parts = _DAY.fullmatch(text)
    if parts is None:
        return ()
    sign = parts["s"]
    orders: tuple[str, ...]
    if len(parts["a"]) == _YEAR:
        orders = ("%Y %m %d", "%Y %d %m")
    elif len(parts["c"]) == _YEAR:
        orders = ("%d %m %Y", "%m %d %Y")
    else:
        orders = ("%d %m %y", "%m %d %y", "%y %m %d")
    return tuple(order.replace(" ", sign) for order in orders)


def _number_hint(column: Column, file_format: FileFormat, text: str, *, hidden: bool) -> str:
    ways = []
    for sign in (",", ".", "'", " ", "_"):
        point = "," if file_format.decimal == "," or sign == "." else "."
        grouped = rf"[+-]?[0-9]{{1,3}}({re.escape(sign)}[0-9]{{3}})+"
        whole = re.fullmatch(grouped, text) is not None
        if whole or (column.type == "float64" and re.fullmatch(rf"{grouped}[{point}][0-9]*", text)):
            plain = text.replace(sign, "").replace(",", ".")
            more = f" and format: {{decimal: '{point}'}}" if not whole and point != file_format.decimal else ""
            ways.append((plain, f"thousands: {sign!r}{more}"))
    if column.type == "float64" and file_format.decimal == "." and re.fullmatch(r"[+-]?[0-9]*,[0-9]+", text):
        ways.append((text.replace(",", "."), "format: {decimal: ','}"))
    if column.type == "float64" and file_format.decimal == "," and re.fullmatch(r"[+-]?[0-9]+\.[0-9]+", text):
        ways.append((text, "format: {decimal: '.'}"))
    if not ways:
        return ""
    return "; " + " or ".join(
        f"{'it could be read' if hidden else f'it is {value}'} with {word}" for value, word in ways
    )
