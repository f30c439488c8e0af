"""Values as people read them and as JSON writes them, a whole column at a time.

What belongs here: turning values into texts. What does not: what the texts are said about (``rules``, ``refusals``).

Most values are plain, and Arrow writes those; only the others go through Python, each exactly as ``delivery.shown`` and
``json.dumps`` write it.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.stages.delivery import shown

_PLAIN = r"\A[ -&(-\[\]-~]{0,40}\z"
"""Texts that ``repr`` puts between single quotes as they are, and that are short enough to be shown in full."""

_ESCAPED = r'[\x00-\x1f"\\]'
"""Letters that JSON writes in another way."""


def shown_texts(values: pa.Array, *, hidden: bool = False) -> pa.Array:
    """Each value as sentences name it (``delivery.shown``)."""
    if hidden:
        return pa.array([shown(None, hidden=True)] * len(values), pa.string())
    if pa.types.is_integer(values.type) and not values.null_count:
        return _quoted(values.cast(pa.string()), "'")
    if not pa.types.is_string(values.type):
        return pa.array([shown(value) for value in values.to_pylist()], pa.string())
    return _either(values, pc.match_substring_regex(values, _PLAIN), _quoted(values, "'"), shown)


def json_texts(values: pa.Array) -> pa.Array:
    """Each value as JSON, letters outside ASCII as they are; what JSON has no form for as its text."""
    if pa.types.is_integer(values.type):
        return pc.fill_null(values.cast(pa.string()), "null")
    if not pa.types.is_string(values.type):
        return pa.array([_json(value) for value in values.to_pylist()], pa.string())
    return _either(values, pc.invert(pc.match_substring_regex(values, _ESCAPED)), _quoted(values, '"'), _json)


def json_objects(columns: Mapping[str, pa.Array]) -> pa.Array:
    """Each row of columns of ``json_texts`` as one JSON object, as ``json.dumps`` writes it."""
    parts: list[Any] = []
    for name, texts in columns.items():
        parts += [f"{', ' if parts else '{'}{json.dumps(name, ensure_ascii=False)}: ", texts]
    return pc.binary_join_element_wise(*parts, "}", "")


def _quoted(texts: pa.Array, quote: str) -> pa.Array:
    return pc.binary_join_element_wise(quote, texts, quote, "")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _either(values: pa.Array, plain: pa.Array, written: pa.Array, write: Callable[[Any], str]) -> pa.Array:
    """``written`` where the value is ``plain``, and each other one, nulls among them, by ``write``."""
    rest = pc.invert(pc.fill_null(plain, False))
    others = np.flatnonzero(rest.to_numpy(zero_copy_only=False))
    if not len(others):
        return written
    texts = [write(value) for value in values.take(pa.array(others)).to_pylist()]
    return pc.replace_with_mask(written, rest, pa.array(texts, pa.string()))
