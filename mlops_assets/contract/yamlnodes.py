"""YAML read as nodes that know their line, each taken as what its place asks for.

What belongs here: finding mistakes of form (syntax, double keys, unknown keys, a word where a number belongs) and
saying them with a line. What does not: what any key means (``load``, and the modules that it names).

YAML guesses types (``no`` is false, ``017`` is 15, ``1:30`` is 90, ``2013`` is no text). Nothing here asks for the
guess: the written text is read as the type that its place wants, so ``values: [Yes, No]`` of a text column are these
two texts. Truth values are ``true`` and ``false`` only.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from mlops_assets.errors import ContractError

T = TypeVar("T")
D = TypeVar("D")

# PyYAML without libyaml lacks the fast loader; the slow one reads the same nodes.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LARGEST = 1_000_000  # bytes; a contract is written by people
_DEEPEST = 20
_FEW = 12  # as many words as a sentence can list
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_STANDARD_TAG = "tag:yaml.org,2002:"


class Mistakes:
    """All that is wrong with a dataset folder, gathered so that a person can mend it in one go."""

    def __init__(self) -> None:
        self._found: list[tuple[str, int, str]] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, file: Path, line: int, sentence: str) -> None:
        """One mistake, at a line counted from 1. A mistake told twice is kept once."""
        if (str(file), line, sentence) not in self._found:
            self._found.append((str(file), line, sentence))

    def raise_any(self) -> None:
        """Raise ContractError with every sentence, by file and line, when there is one."""
        if self._found:
            raise ContractError(*(f"{file}:{line}: {sentence}" for file, line, sentence in sorted(self._found)))


class WrongError(Exception):
    """What a reader found instead of what it wanted; each problem has its line."""

    def __init__(self, *problems: tuple[int, str]) -> None:
        super().__init__(problems)
        self.problems = problems


def line_of(node: yaml.Node) -> int:
    """The line where a node begins, counted from 1."""
    return int(node.start_mark.line) + 1


def suggest(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` when a known word is near, or else the list of them when it is short."""
    words = sorted(set(known))
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6) or [w for w in words if w.lower() == word.lower()]
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known are {listed(words)}." if 0 < len(words) <= _FEW else "."


def listed(words: Iterable[Any]) -> str:
    """``'a', 'b', 'c'`` as a sentence shows several names."""
    return ", ".join(repr(word) for word in words)


def read_document(file: Path, mistakes: Mistakes) -> yaml.MappingNode | None:
    """The file's one mapping, with every mistake of form told; None when it cannot be read at all."""
    try:
        root = _compose(file.read_bytes())
    except OSError as error:
        mistakes.add(file, 1, f"The file cannot be read: {error.strerror or error}.")
        return None
    except WrongError as wrong:
        for line, problem in wrong.problems:
            mistakes.add(file, line, problem)
        return None
    return root if _check_form(root, file, mistakes, set(), 0) else None


def _compose(data: bytes) -> yaml.MappingNode:
    if len(data) > _LARGEST:
        raise WrongError((1, f"The file has {len(data):,} bytes; a contract has at most {_LARGEST:,}."))
    try:
        written = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise WrongError((line, "The file is not UTF-8 text; save it as UTF-8.")) from None
    try:
        root = yaml.compose(written, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = int(mark.line) + 1 if mark else 1
        raise WrongError((line, f"This is not YAML: {error.problem or error.context}.")) from None
    except yaml.reader.ReaderError as error:
        line = written.count("\n", 0, error.position) + 1
        raise WrongError((line, f"This is not YAML: {error.reason}.")) from None
    except RecursionError:
        raise WrongError((1, f"Nothing in a contract is nested more than {_DEEPEST} deep.")) from None
    if root is None:
        raise WrongError((1, "The file is empty; it should describe a dataset."))
    if not isinstance(root, yaml.MappingNode):
        raise WrongError((line_of(root), "The file should hold 'name: value' lines."))
    return root


def _check_form(node: yaml.Node, file: Path, mistakes: Mistakes, seen: set[int], depth: int) -> bool:
    """Tell of double keys, foreign tags and aliases; False when the tree must not be walked any further."""
    if id(node) in seen:
        # Shared nodes can make a small file mean gigabytes, or itself.
        mistakes.add(file, line_of(node), "Anchors and aliases (&, *) are not read in a contract; write the value out.")
        return False
    seen.add(id(node))
    if depth > _DEEPEST:
        mistakes.add(file, line_of(node), f"Nothing in a contract is nested more than {_DEEPEST} deep.")
        return False
    if not node.tag.startswith(_STANDARD_TAG) or "python/" in node.tag:
        mistakes.add(file, line_of(node), f"The tag {node.tag!r} is not read in a contract; write plain YAML.")
        return False
    fine = True
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            fine &= _check_form(item, file, mistakes, seen, depth + 1)
    elif isinstance(node, yaml.MappingNode):
        keys: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                mistakes.add(file, line_of(key), "A key should be one word, not a list or a mapping.")
                fine = False
                continue
            if key.value in keys:
                mistakes.add(
                    file, line_of(key), f"The key {key.value!r} stands here twice, first on line {keys[key.value]}."
                )
            keys.setdefault(key.value, line_of(key))
            fine &= _check_form(value, file, mistakes, seen, depth + 1)
    return fine


# ---- readers: a node as the type that its place wants, or WrongError


def text(node: yaml.Node) -> str:
    """The text as written; quoted or not makes no difference, an empty place does."""
    scalar = _scalar(node, "a text")
    if scalar.value == "" and not scalar.style:
        raise WrongError((line_of(node), 'is empty; write a text, or "" for the empty one.'))
    return str(scalar.value)


def integer(node: yaml.Node) -> int:
    """A whole number."""
    written = _unquoted(node, "a whole number")
    if not _INTEGER.fullmatch(written):
        raise WrongError((line_of(node), f"should be a whole number, not {written!r}."))
    return int(written)


def positive(node: yaml.Node) -> int:
    """A whole number of at least one."""
    value = integer(node)
    if value < 1:
        raise WrongError((line_of(node), f"should be at least 1, not {value}."))
    return value


def number(node: yaml.Node) -> float:
    """A number; whole ones stay ``int``."""
    written = _unquoted(node, "a number")
    if _INTEGER.fullmatch(written):
        return int(written)
    if not _NUMBER.fullmatch(written):
        raise WrongError((line_of(node), f"should be a number, not {written!r}."))
    return float(written)


def share(node: yaml.Node) -> float:
    """A number between 0 and 1."""
    value = number(node)
    if not 0 <= value <= 1:
        raise WrongError((line_of(node), f"should be a share between 0 and 1, not {value}."))
    return value


def flag(node: yaml.Node) -> bool:
    """``true`` or ``false``, and none of YAML's other words for them."""
    written = _unquoted(node, "true or false")
    if written not in ("true", "false"):
        raise WrongError((line_of(node), f"should be true or false, not {written!r}."))
    return written == "true"


def duration(node: yaml.Node) -> float:
    """A time like ``90s``, ``15m``, ``3h`` or ``2d``, in seconds."""
    written = text(node)
    found = _DURATION.fullmatch(written)
    if found is None:
        raise WrongError((line_of(node), f"should be a time like 90m, 3h or 2d, not {written!r}."))
    return float(found[1]) * _SECONDS[found[2]]


def plain(node: yaml.Node) -> Any:
    """A value whose type nobody declared: number, true, false, null, text, or a list of them."""
    if isinstance(node, yaml.SequenceNode):
        return [plain(item) for item in node.value]
    scalar = _scalar(node, "a value")
    written = str(scalar.value)
    if scalar.style:
        return written
    if _NUMBER.fullmatch(written):
        return number(node)
    return {"true": True, "false": False, "null": None, "~": None, "": None}.get(written, written)


def choice(*options: str) -> Callable[[yaml.Node], Any]:
    """A reader of one of these words."""

    def read(node: yaml.Node) -> str:
        word = text(node)
        if word not in options:
            raise WrongError((line_of(node), f"cannot be {word!r}{suggest(word, options)}"))
        return word

    return read


def list_of(item: Callable[[yaml.Node], T]) -> Callable[[yaml.Node], tuple[T, ...]]:
    """A reader of a list; a single value stands for a list of one."""

    def read(node: yaml.Node) -> tuple[T, ...]:
        values: list[T] = []
        problems: list[tuple[int, str]] = []
        for child in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            try:
                values.append(item(child))
            except WrongError as wrong:
                problems += wrong.problems
        if problems:
            raise WrongError(*problems)
        return tuple(values)

    return read


def _scalar(node: yaml.Node, wanted: str) -> yaml.ScalarNode:
    if not isinstance(node, yaml.ScalarNode):
        found = "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
        raise WrongError((line_of(node), f"should be {wanted}, not {found}."))
    return node


def _unquoted(node: yaml.Node, wanted: str) -> str:
    scalar = _scalar(node, wanted)
    if scalar.style:  # a plain scalar has no style (None, or "" from libyaml)
        raise WrongError((line_of(node), f"should be {wanted}, not the text {scalar.value!r}; leave out the quotes."))
    if scalar.value == "":
        raise WrongError((line_of(node), f"is empty; write {wanted}."))
    return str(scalar.value)


class Section:
    """One mapping: values are asked for by key, and what nobody asked for is an unknown key.

    ``what`` opens each sentence, like ``source 'orders'``. A wrong value is told and replaced by the default, so that
    reading goes on to the next mistake.
    """

    def __init__(self, node: yaml.MappingNode, what: str, file: Path, mistakes: Mistakes) -> None:
        self.what, self.file, self.mistakes = what, file, mistakes
        self.line = line_of(node)
        self._nodes: dict[str, yaml.Node] = {}
        self._lines: dict[str, int] = {}
        for key, value in node.value:
            self._nodes.setdefault(key.value, value)
            self._lines.setdefault(key.value, line_of(key))
        self._asked: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._nodes

    def at(self, key: str) -> int:
        """The line of a key, or of the section where the key is missing."""
        return self._lines.get(key, self.line)

    def names(self) -> Sequence[str]:
        """The keys, in order."""
        return list(self._nodes)

    def node(self, key: str) -> yaml.Node | None:
        """The node of a key, counted as asked for."""
        self._asked.add(key)
        return self._nodes.get(key)

    def wrong(self, sentence: str, key: str | None = None) -> None:
        """Tell a mistake of this section, at the line of ``key`` when one is given."""
        opening = f"{self.what}: " if self.what else ""
        told = opening + sentence
        self.mistakes.add(self.file, self.at(key) if key else self.line, told[0].upper() + told[1:])

    def get(self, key: str, read: Callable[[yaml.Node], T], default: D) -> T | D:
        """The value of ``key`` as ``read`` reads it; the default when it is absent or wrong (which is told)."""
        node = self.node(key)
        if node is None:
            return default
        try:
            return read(node)
        except WrongError as wrong:
            for line, problem in wrong.problems:
                opening = f"{self.what}: " if self.what else ""
                told = f"{opening}{key!r} {problem}"
                self.mistakes.add(self.file, line, told[0].upper() + told[1:])
            return default

    def need(self, key: str, read: Callable[[yaml.Node], T], default: D, hint: str) -> T | D:
        """As ``get``, and tells when the key is absent; ``hint`` says what to write."""
        if key not in self._nodes:
            self._asked.add(key)
            self.wrong(f"{key!r} is missing; {hint}")
        return self.get(key, read, default)

    def choose(self, key: str, options: Sequence[str], default: Any, hint: str = "") -> Any:
        """One of the words ``options``, as ``need`` when there is a ``hint`` and as ``get`` without."""
        return self.need(key, choice(*options), default, hint) if hint else self.get(key, choice(*options), default)

    def section(self, key: str, what: str, hint: str = "") -> "Section | None":
        """The mapping under ``key``; None when absent (told when there is a ``hint``) or no mapping (told)."""
        node = self.node(key)
        if node is None:
            if hint:
                self.wrong(f"{key!r} is missing; {hint}")
            return None
        return self.opened(key, node, what)

    def sections(self, what: str) -> Iterator[tuple[str, "Section"]]:
        """Every value of this section as a section, with its key; an empty value is an empty section."""
        for key in self._nodes:
            node = self.node(key)
            section = self.opened(key, node, f"{what} {key!r}") if node is not None else None
            if section is not None:
                section.line = self.at(key)
                yield key, section

    def opened(self, key: str, node: yaml.Node, what: str) -> "Section | None":
        """A node as a section; an empty place counts as an empty mapping."""
        if isinstance(node, yaml.MappingNode):
            return Section(node, what, self.file, self.mistakes)
        if isinstance(node, yaml.ScalarNode) and node.value == "" and not node.style:
            empty = yaml.MappingNode(_STANDARD_TAG + "map", [], node.start_mark, node.end_mark)
            return Section(empty, what, self.file, self.mistakes)
        self.wrong(f"{key!r} should be a mapping ('name: value' lines).", key)
        return None

    def finish(self) -> None:
        """Tell every key that nobody asked for."""
        for key in self._nodes:
            if key not in self._asked:
                self.wrong(f"unknown key {key!r}{suggest(key, self._asked)}", key)
