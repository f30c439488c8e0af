"""Moving over from DVC, and back: its pointers, directory listings and objects, read and written without DVC.

What belongs here: DVC's formats on disk, and what proves that an object is sound. What does not: which files are given
or taken, and talking to remotes that are no directory (``dvc fetch`` and ``dvc push`` do that).

A pointer (``name.dvc``) names one file or one directory by MD5; a directory's MD5 is that of its listing, a JSON file
that is an object itself. A cache and a directory used as a remote have the same layout. There are two: DVC 3 keeps
objects under ``files/md5/ab/cdef...`` and says ``hash: md5`` in the pointer; before that they lay under ``ab/cdef...``,
the pointer had no ``hash``, and the MD5 of a text was taken with its line ends made Unix's.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import yaml

from mlops_assets.errors import CorruptError, NotStoredError, StoreError
from mlops_assets.store.files import write_file

_CHUNK = 1 << 20
"""DVC's own: before DVC 3 the digest of a text depends on it, where a chunk ends between CR and LF."""

_BLOCK = 512
_TEXT = bytes(range(32, 127)) + b"\n\r\t\f\b"
_TEXT_SHARE = 0.30

_MD5 = re.compile(r"[0-9a-f]{32}")
_PLAIN = re.compile(r"[^\W\d][\w' .-]*")
_YAML_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_GITIGNORE = re.compile(r"([\\\[\]!*#?])")
_WRITTEN = frozenset({"md5", "size", "nfiles", "hash", "path"})


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export did: the pointer's file and digest, number and bytes of the files, and what became of the objects.

    ``written`` objects are new, ``replaced`` ones were damaged, ``kept`` ones were there and sound. The listing counts
    as one; files of the same content are one object. Without a remote all three are 0.
    """

    pointer: Path
    md5: str
    files: int
    size: int
    written: int = 0
    replaced: int = 0
    kept: int = 0


@dataclass(frozen=True, slots=True)
class Imported:
    """A file that a pointer names: ``relpath`` with ``/``, DVC's ``md5``, ``size`` and ``path`` of its object."""

    relpath: str
    md5: str
    size: int
    path: Path


def export(files: Iterable[tuple[str, Path]], target: Path, name: str, *, remote: Path | None) -> Exported:
    """Write files as the directory ``name`` that DVC 3 tracks in the folder ``target``.

    ``files`` pairs names inside the directory (with ``/``) with the files that have their content. ``target`` gets
    ``<name>.dvc`` and a line in ``.gitignore``; ``remote``, a directory that DVC may use as a remote, gets the objects,
    as copies: DVC makes objects read-only, and a hard link would make the original so. Repeating it changes nothing.

    Raises ``StoreError`` for names that cannot be, and for a pointer that says what an export would lose;
    ``NotStoredError`` for a file that is not there; ``CorruptError`` for one that changes meanwhile.
    """
    _check_segment(name)
    pointer = target / f"{name}.dvc"
    entries = _entries(files, pointer)
    rows = [{"md5": md5, "relpath": relpath} for relpath, (_, md5, _) in sorted(entries.items())]
    # DVC compares digests of this text: its separators, its order and its escapes are part of the format
    listing = json.dumps(rows, sort_keys=True).encode()
    digest = hashlib.md5(listing, usedforsecurity=False).hexdigest()
    size = sum(size for _, _, size in entries.values())
    text = (
        f"outs:\n- md5: {digest}.dir\n  size: {size}\n  nfiles: {len(entries)}\n  hash: md5\n  path: {_scalar(name)}\n"
    )
    _check_pointer(pointer, name)
    done: Counter[str] = Counter()
    if remote is not None:
        for md5, (source, size_) in {md5: (source, size_) for source, md5, size_ in entries.values()}.items():
            done[_put(_object(remote, md5, legacy=False), md5, size_, source)] += 1
        # last: whoever finds a listing takes its files for present
        done[_put(_object(remote, f"{digest}.dir", legacy=False), digest, len(listing), listing)] += 1
    if not pointer.exists() or pointer.read_text("utf-8") != text:
        write_file(pointer, text.encode())
    _ignore(target / ".gitignore", name)
    return Exported(
        pointer, f"{digest}.dir", len(entries), size, done["written"], done["replaced"], done["kept"]
    )  # fmt: skip


def read_pointer(pointer: Path, cache: Sequence[Path]) -> list[Imported]:
    """The files that a ``.dvc`` file names, each found in one of the directories ``cache`` and verified.

    A directory may be a DVC cache (``.dvc/cache``) or a remote. One file is named as the pointer names it, those of a
    directory relative to it. Sizes are compared where the pointer has them; before DVC 3 not those of texts, as files
    that differ in their line ends had one digest and one object.

    Raises ``StoreError`` for what is no pointer, or one of a kind that cannot be read; ``NotStoredError`` for a pointer
    or an object that is not there; ``CorruptError`` for an object with other content than its name says.
    """
    out = _parsed(pointer)
    legacy = "hash" not in out
    digest, name = out["md5"], out["path"]
    if not digest.endswith(".dir"):
        path, size, text = _sound(cache, digest, legacy=legacy, what=f"{pointer} ({name})")
        _check_total(pointer, out, "size", None if legacy and text else size)
        return [Imported(name, digest, size, path)]
    listing, _, _ = _sound(cache, digest, legacy=legacy, what=f"the list of files of {pointer}")
    found = []
    texts = False
    for relpath, md5 in _listed(listing):
        path, size, text = _sound(cache, md5, legacy=legacy, what=f"{relpath} of {pointer}")
        texts = texts or text
        found.append(Imported(relpath, md5, size, path))
    _check_total(pointer, out, "nfiles", len(found))
    _check_total(pointer, out, "size", None if legacy and texts else sum(file.size for file in found))
    return found


# Writing


def _entries(files: Iterable[tuple[str, Path]], pointer: Path) -> dict[str, tuple[Path, str, int]]:
    """Source, MD5 and size by name; raises ``StoreError`` when the names make no directory."""
    entries: dict[str, tuple[Path, str, int]] = {}
    for relpath, source in files:
        if trouble := _path_trouble(relpath):
            raise StoreError(f"{source} cannot be written as {relpath!r} into {pointer}: {trouble}.")
        if relpath in entries:
            raise StoreError(f"{pointer} cannot hold two files named {relpath!r}; give each its own name.")
        try:
            entries[relpath] = (source, *_md5(source))
        except FileNotFoundError:
            raise NotStoredError(f"{source} is not there to be exported as {relpath}; fetch it first.") from None
    if not entries:
        raise StoreError(f"There is no file to export as {pointer}.")
    for relpath in entries:
        for parent in PurePosixPath(relpath).parents:
            if str(parent) in entries:
                raise StoreError(
                    f"{pointer} cannot hold both a file {str(parent)!r} and a file {relpath!r}; rename one."
                )
    return entries


def _check_segment(name: str) -> None:
    if _path_trouble(name) or "/" in name or name != name.strip() or not name.isprintable() or name in {".git", ".dvc"}:
        raise StoreError(
            f"A DVC directory cannot be named {name!r}; use a name without '/', control characters or outer spaces."
        )


def _check_pointer(pointer: Path, name: str) -> None:
    """DVC keeps what people wrote into a pointer, and an export cannot: it leaves such a pointer alone."""
    if not pointer.exists():
        return
    record = _mapping(pointer)
    outs = record.get("outs")
    out = outs[0] if isinstance(outs, list) and len(outs) == 1 and isinstance(outs[0], dict) else {}
    more = sorted(map(str, (set(record) - {"outs"}) | (set(out) - _WRITTEN)))
    if more or out.get("path") != name:
        said = f"also says {', '.join(more)}" if more else f"is not of the one directory {name!r}"
        raise StoreError(
            f"{pointer} {said}, which an export would lose; export under another name, or remove it first."
        )


def _put(path: Path, md5: str, size: int, content: Path | bytes) -> str:
    """Have a sound object under its name; what was done for it."""
    outcome = "written"
    if path.exists():
        if path.stat().st_size == size and _md5(path) == (md5, size):
            return "kept"
        outcome = "replaced"
    if isinstance(content, bytes):
        write_file(path, content)
        return outcome
    source = content

    def copy(file: BinaryIO) -> None:
        hasher = hashlib.md5(usedforsecurity=False)
        for chunk in _chunks(source):
            hasher.update(chunk)
            file.write(chunk)
        if hasher.hexdigest() != md5:
            raise CorruptError(f"{source} changed while it was exported; export it again when nobody writes it.")

    write_file(path, copy)
    return outcome


def _ignore(path: Path, name: str) -> None:
    """Have git ignore the directory, as ``dvc add`` would."""
    line = _GITIGNORE.sub(r"\\\1", f"/{name}")
    present = path.read_bytes().decode("utf-8", "surrogateescape") if path.exists() else ""
    if line not in [other.rstrip("\r") for other in present.split("\n")]:
        glue = "" if not present or present.endswith("\n") else "\n"
        write_file(path, f"{present}{glue}{line}\n".encode("utf-8", "surrogateescape"))


def _scalar(text: str) -> str:
    """A text as YAML of either version, 1.1 or 1.2, takes it; plain where DVC would leave it so."""
    if _PLAIN.fullmatch(text) and text.casefold() not in _YAML_WORDS:
        return text
    return json.dumps(text, ensure_ascii=False) if "'" in text else f"'{text}'"


# Reading


def _mapping(pointer: Path) -> dict[str, Any]:
    try:
        record = yaml.safe_load(pointer.read_bytes())
    except FileNotFoundError:
        raise NotStoredError(f"{pointer} is not there; name a .dvc file.") from None
    except (yaml.YAMLError, ValueError) as trouble:
        first = " ".join(str(trouble).split())
        raise StoreError(f"{pointer} is not YAML, as a .dvc file is ({first}); restore it from git.") from trouble
    if not isinstance(record, dict):
        raise StoreError(f"{pointer} is not a DVC pointer: it has no 'outs'; name a .dvc file.")
    return record


def _parsed(pointer: Path) -> Mapping[str, Any]:
    """The one output of a pointer, with ``md5`` and ``path`` that are what they should be."""
    outs = _mapping(pointer).get("outs")
    if not isinstance(outs, list) or not all(isinstance(out, dict) for out in outs):
        raise StoreError(f"{pointer} is not a DVC pointer: it has no 'outs'; name a .dvc file.")
    if len(outs) != 1:
        raise StoreError(f"{pointer} names {len(outs)} outputs, and one is read; add each with 'dvc add' of its own.")
    out: dict[str, Any] = outs[0]
    if "files" in out or "cloud" in out:
        raise StoreError(
            f"{pointer} keeps its files as versions in a cloud bucket, not by MD5; run 'dvc pull' and "
            "deliver the files of the workspace."
        )
    kind = out.get("hash", "md5")
    if kind != "md5":
        raise StoreError(f"{pointer} says hash {kind!r}, and only 'md5' is read; add the data again with DVC 3.")
    digest, name = out.get("md5"), out.get("path")
    if not isinstance(digest, str) or not _MD5.fullmatch(digest.removesuffix(".dir")):
        raise StoreError(
            f"{pointer} has {digest!r} where an MD5 should stand; restore it from git, or run 'dvc commit'."
        )
    if not isinstance(name, str) or (trouble := _path_trouble(name)):
        why = trouble if isinstance(name, str) else "it is no text"
        raise StoreError(f"{pointer} names the path {name!r}, which is not read: {why}; restore it from git.")
    return out


def _listed(listing: Path) -> Iterator[tuple[str, str]]:
    """Names and digests from a directory's listing; the names are safe to be joined to a folder."""
    try:
        rows = json.loads(listing.read_bytes())
        pairs = [(row["relpath"], row["md5"]) for row in rows]
    except (ValueError, TypeError, KeyError) as trouble:
        raise StoreError(
            f"{listing} is no list of files as DVC writes it ({trouble!r}); add the directory again."
        ) from trouble
    seen = set()
    for relpath, md5 in pairs:
        trouble_ = _path_trouble(relpath) if isinstance(relpath, str) else "it is no text"
        if trouble_ or relpath in seen:
            why = trouble_ or "it stands there twice"
            raise StoreError(f"{listing} names the file {relpath!r}, which is not read: {why}; add it to DVC again.")
        if not isinstance(md5, str) or not _MD5.fullmatch(md5):
            raise StoreError(f"{listing} has {md5!r} where the MD5 of {relpath} should stand; add the directory again.")
        seen.add(relpath)
        yield relpath, md5


def _check_total(pointer: Path, out: Mapping[str, Any], key: str, found: int | None) -> None:
    said = out.get(key)
    if found is not None and said is not None and said != found:
        raise CorruptError(
            f"{pointer} says {key} {said}, and its objects have {found}; restore the pointer from git, or run "
            "'dvc commit'."
        )


def _sound(cache: Sequence[Path], digest: str, *, legacy: bool, what: str) -> tuple[Path, int, bool]:
    """The first sound object of that digest, its size, and whether it is text to a DVC before 3."""
    damaged = None
    for folder in cache:
        path = _object(folder, digest, legacy=legacy)
        try:
            digests, size, text = _legacy_md5(path) if legacy else _exact(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if digest.removesuffix(".dir") in digests:
            return path, size, text
        damaged = damaged or path
    if damaged:
        raise CorruptError(
            f"{damaged}, {what}, has other content than its name says; delete it and run 'dvc fetch' to get it again."
        )
    places = ", ".join(map(str, cache)) or "no directory"
    raise NotStoredError(f"The object {digest}, {what}, is not in {places}; run 'dvc fetch' first, or name a remote.")


def _path_trouble(relpath: str) -> str | None:
    """Why a name would lead out of its folder, or to another file elsewhere; None for one that is fine."""
    if "\0" in relpath or "\\" in relpath:
        return "it holds a backslash or a zero"
    parts = relpath.split("/")
    if not relpath or "" in parts:
        return "it is empty, absolute, or has an empty part"
    if "." in parts or ".." in parts:
        return "it holds '.' or '..', which could lead out of its folder"
    if re.match(r"[A-Za-z]:", relpath):
        return "it starts with a drive"
    return None


# Objects and their digests


def _object(folder: Path, digest: str, *, legacy: bool) -> Path:
    base = folder if legacy else folder / "files" / "md5"
    return base / digest[:2] / digest[2:]


def _chunks(path: Path) -> Iterator[bytes]:
    # buffered reads are full: before DVC 3 the digest of a text depends on where a chunk ends
    with path.open("rb", buffering=_CHUNK) as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _md5(path: Path) -> tuple[str, int]:
    hasher = hashlib.md5(usedforsecurity=False)
    size = 0
    for chunk in _chunks(path):
        hasher.update(chunk)
        size += len(chunk)
    return hasher.hexdigest(), size


def _exact(path: Path) -> tuple[set[str], int, bool]:
    digest, size = _md5(path)
    return {digest}, size, False


def _legacy_md5(path: Path) -> tuple[set[str], int, bool]:
    """The digests a DVC before 3 could have given a file, its size, and whether it is text.

    CR LF was hashed as LF in what looked like text, judged by the first 512 bytes: of the file in older releases, of
    each chunk in newer ones. The digest of the bytes as they are proves as much.
    """
    exact, by_file, by_chunk = (hashlib.md5(usedforsecurity=False) for _ in range(3))
    size = 0
    text_file = True
    for chunk in _chunks(path):
        text_chunk = _is_text(chunk[:_BLOCK])
        if not size:
            text_file = text_chunk
        unix = chunk.replace(b"\r\n", b"\n") if text_chunk or text_file else chunk
        exact.update(chunk)
        by_file.update(unix if text_file else chunk)
        by_chunk.update(unix if text_chunk else chunk)
        size += len(chunk)
    return {exact.hexdigest(), by_file.hexdigest(), by_chunk.hexdigest()}, size, text_file


def _is_text(block: bytes) -> bool:
    """DVC's guess: no zero, and at most 30 % other than printable ASCII."""
    return b"\0" not in block and len(block.translate(None, _TEXT)) <= _TEXT_SHARE * len(block)
