"""JSON read as nodes that know their line: the same nodes, and so the same readers, as for YAML (``yamlnodes``).

What belongs here: the form of a JSON file, with every mistake at its line. What does not: what any key means.

Strict JSON only, because other programs read the same file: no comments, no NaN, no key twice in an object.
"""

import json
import re
from collections.abc import Iterator
from math import isinf
from pathlib import Path
from typing import Any, NoReturn

import yaml

from mlops_assets.contract.yamlnodes import Mistakes, WrongError

_LARGEST = 1_000_000  # bytes; the files are written by people
_DEEPEST = 20
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]|[^\s\[\]{},:"]+|\n')
_TAGS = {"{": "tag:yaml.org,2002:map", "[": "tag:yaml.org,2002:seq", "": "tag:yaml.org,2002:str"}

_Token = tuple[str, int]


def read_json(file: Path, mistakes: Mistakes) -> yaml.Node | None:
    """The file's one value, with every mistake of form told; None when it cannot be read."""
    try:
        text = _text(file.read_bytes())
    except OSError as error:
        mistakes.add(file, 1, f"The file cannot be read: {error.strerror or error}.")
    except WrongError as wrong:
        for line, problem in wrong.problems:
            mistakes.add(file, line, problem)
    else:
        builder = _Builder(file, mistakes)
        root = builder.build(_tokens(text))
        return None if builder.too_deep else root
    return None


def value_of(node: yaml.Node) -> Any:
    """What a node of a JSON file says, as Python's own values."""
    if isinstance(node, yaml.MappingNode):
        return {key.value: value_of(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [value_of(item) for item in node.value]
    return node.value if node.style else json.loads(node.value)


def _text(data: bytes) -> str:
    """The text of a file, which is JSON."""
    if len(data) > _LARGEST:
        raise WrongError((1, f"The file has {len(data):,} bytes; it may have at most {_LARGEST:,}."))
    try:
        text = data.decode("utf-8-sig")
        json.loads(text, parse_constant=_refuse)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise WrongError((line, "The file is not UTF-8 text; save it as UTF-8.")) from None
    except json.JSONDecodeError as error:
        raise WrongError((error.lineno, f"This is not JSON: {_said(error)} (column {error.colno}).")) from None
    except _ConstantError as error:
        line = next(line for word, line in _tokens(text) if word == error.args[0]) + 1
        raise WrongError((line, f"{error.args[0]} is no JSON; write a number, or null.")) from None
    except RecursionError:
        raise WrongError((1, f"Nothing here is nested more than {_DEEPEST} deep.")) from None
    return text


class _ConstantError(Exception):
    """NaN and its like, which Python's reader would take."""


def _refuse(word: str) -> NoReturn:
    raise _ConstantError(word)


def _said(error: json.JSONDecodeError) -> str:
    return error.msg[:1].lower() + error.msg[1:]


def _tokens(text: str) -> Iterator[_Token]:
    """Brackets, keys and values of a text that is JSON, each with its line from 0."""
    line = 0
    for found in _TOKEN.finditer(text):
        if found.group() == "\n":
            line += 1
        else:
            yield found.group(), line


def _until(bracket: str, tokens: Iterator[_Token]) -> Iterator[_Token]:
    """The tokens before one that closes; whoever asks takes what belongs to each from ``tokens`` before the next."""
    for token in tokens:
        if token[0] == bracket:
            return
        yield token


class _Builder:
    """Nodes from tokens; keys that stand twice are told, and the first of them counts.

    ``too_deep``: something is nested so deep that the nodes must not be walked.
    """

    def __init__(self, file: Path, mistakes: Mistakes) -> None:
        self._file, self._mistakes = file, mistakes
        self.too_deep = False

    def build(self, tokens: Iterator[_Token], depth: int = 0) -> yaml.Node:
        """The node that begins with the next token."""
        return self._node(next(tokens), tokens, depth)

    def _node(self, token: _Token, tokens: Iterator[_Token], depth: int) -> yaml.Node:
        word, line = token
        mark = yaml.Mark(str(self._file), 0, line, 0, None, 0)
        if depth > _DEEPEST and not self.too_deep:
            self.too_deep = True
            self._mistakes.add(self._file, line + 1, f"Nothing here is nested more than {_DEEPEST} deep.")
        if word == "[":
            items = [self._node(item, tokens, depth + 1) for item in _until("]", tokens)]
            return yaml.SequenceNode(_TAGS["["], items, mark, mark)
        if word == "{":
            return yaml.MappingNode(_TAGS["{"], list(self._pairs(tokens, depth)), mark, mark)
        if word.startswith('"'):
            value = json.loads(word)
            if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
                self._mistakes.add(self._file, line + 1, "A text holds half a letter (a lone surrogate); write it out.")
            return yaml.ScalarNode(_TAGS[""], value, mark, mark, style='"')
        if isinf(float(word) if word[0] in "-0123456789" else 0):
            self._mistakes.add(self._file, line + 1, f"{word} is too large for a number.")
        return yaml.ScalarNode(_TAGS[""], word, mark, mark)

    def _pairs(self, tokens: Iterator[_Token], depth: int) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        lines: dict[str, int] = {}
        for token in _until("}", tokens):
            key, value = self._node(token, tokens, depth + 1), self.build(tokens, depth + 1)
            line = token[1] + 1
            if key.value in lines:
                sentence = f"The key {key.value!r} stands here twice, first on line {lines[key.value]}."
                self._mistakes.add(self._file, line, sentence)
            else:
                yield key, value
            lines.setdefault(key.value, line)
