"""The part of a contract that describes how a source's files are written: ``format``.

What belongs here: the keys of ``format`` and which of them go with which kind of file. What does not: how a column's
values are spelled (``tables``), reading files (``stages``).
"""

import codecs
from collections.abc import Mapping
from typing import Final

import yaml

from mlops_assets.contract import yamlnodes as y
from mlops_assets.contract.model import FileFormat

_KINDS = ("csv", "parquet", "jsonl")
_GOES_WITH: Final[Mapping[str, tuple[str, ...]]] = {
    "delimiter": ("csv",),
    "quote": ("csv",),
    "encoding": ("csv",),
    "decimal": ("csv",),
    "strip": ("csv",),
    "header": ("csv",),
    "multiline": ("csv",),
    "final_newline": ("csv", "jsonl"),
    "archive": ("csv", "jsonl"),
    "checksums": ("parquet",),
}
"""Which kinds of file a key of ``format`` goes with."""
_FOREIGN = ("idna", "punycode", "raw-unicode-escape", "unicode-escape", "utf-7")
"""Spellings of Python's own, of the network and of mail, which would change what is written or hold half a letter."""


def read_format(section: y.Section) -> FileFormat:
    """How the files of the source in ``section`` are written; what is wrong is told, and the default taken."""
    node = section.node("format")
    if node is None:
        return FileFormat()
    if isinstance(node, yaml.ScalarNode):
        return FileFormat(section.choose("format", _KINDS, "csv"))
    part = section.section("format", f"{section.what}, format")
    if part is None:
        return FileFormat()
    default = FileFormat()
    kind = part.choose("kind", _KINDS, "csv")
    read = FileFormat(
        kind=kind,
        delimiter=part.get("delimiter", _letter, default.delimiter),
        quote=part.get("quote", _quote, default.quote),
        encoding=part.get("encoding", _encoding, default.encoding),
        decimal=part.choose(
            "decimal",
            (
                ".",
                ",",
            ),
            default.decimal,
        ),
        missing=part.get("missing", y.list_of(y.text), default.missing),
        header=part.get("header", y.integer, default.header),
        multiline=part.get("multiline", y.flag, default.multiline),
        final_newline=part.choose("final_newline", ("expected", "required"), default.final_newline),
        archive=part.choose("archive", ("none", "gzip", "zip"), default.archive),
        checksums=part.choose("checksums", ("optional", "required"), default.checksums),
        strip=part.get("strip", y.flag, default.strip),
        most_columns=part.get("most_columns", y.integer, default.most_columns),
    )
    part.finish()
    foreign = [key for key, kinds in _GOES_WITH.items() if key in part and kind not in kinds]
    for key in foreign:
        part.wrong(f"{key!r} goes with {' and '.join(_GOES_WITH[key])} only, not with {kind}.", key)
    # Between quotes a delimiter is a letter: "1,5" is one number for whoever says so.
    quoted = bool(read.quote) and "decimal" in part
    if kind == "csv" and (read.delimiter == read.quote or (read.delimiter == read.decimal and not quoted)):
        part.wrong("delimiter, quote and decimal sign cannot be the same letter.")
    if read.header < 1:
        part.wrong(f"'header' is {read.header}; it is the number of a line, the first being 1.", "header")
    if read.most_columns < 1:
        part.wrong(f"'most_columns' is {read.most_columns}; a file has at least one.", "most_columns")
    return read


def _letter(node: yaml.Node) -> str:
    letter = {"tab": "\t", "\\t": "\t"}.get(y.text(node), y.text(node))
    if len(letter) != 1 or not letter.isascii() or letter.isalnum() or letter in "\r\n":
        raise y.WrongError((y.line_of(node), f"should be one sign, like ';' or tab, not {letter!r}."))
    return letter


def _quote(node: yaml.Node) -> str:
    return "" if y.text(node) == "none" else _letter(node)


def _encoding(node: yaml.Node) -> str:
    name = y.text(node)
    try:
        "".encode(name)  # which fails for those that are no encodings of text, like zip or hex
        found = codecs.lookup(name).name
    except (LookupError, UnicodeError):
        found = ""
    if not found or found in _FOREIGN:
        raise y.WrongError((y.line_of(node), f"is {name!r}, an encoding nobody knows; try utf-8."))
    return found
