"""DVC's own client finds an export clean, and what it wrote is read back; nothing unsound gets through."""

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlops_assets.errors import CorruptError, NotStoredError, StoreError
from mlops_assets.store.dvc import Exported, Imported, export, read_pointer
from mlops_assets_tests.environments import tool

CONTENT = {
    "2013-01.parquet": b"PAR1" + bytes(range(256)) * 40,
    "deep/er/München.csv": b"a;b\r\n1;2\r\n",
    "deep/a b%c.csv": b"a\n",
    "empty": b"",
    "Z": b"a\n",
    "line\u2028end": b"1",
}


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def sources(folder: Path, content: Mapping[str, bytes] = CONTENT) -> list[tuple[str, Path]]:
    folder.mkdir(parents=True, exist_ok=True)
    pairs = []
    for number, (relpath, data) in enumerate(content.items()):
        path = folder / f"source-{number}"
        path.write_bytes(data)
        pairs.append((relpath, path))
    return pairs


@dataclass(frozen=True)
class Place:
    """A folder to export to, a remote, and files to export."""

    target: Path
    remote: Path
    files: list[tuple[str, Path]]

    def export(self, name: str = "flights") -> Exported:
        return export(self.files, self.target, name, remote=self.remote)

    def state(self) -> dict[str, tuple[int, bytes]]:
        """Everything that an export wrote; the inode tells whether a file was written anew."""
        return {
            str(path): (path.stat().st_ino, path.read_bytes())
            for folder in (self.target, self.remote)
            for path in folder.rglob("*")
            if path.is_file()
        }

    def object(self, digest: str) -> Path:
        return self.remote / "files" / "md5" / digest[:2] / digest[2:]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "repository", tmp_path / "remote", sources(tmp_path / "sources"))


def test_an_export_is_laid_out_as_dvc_3_does(place: Place) -> None:
    done = place.export()
    size = sum(map(len, CONTENT.values()))
    rows = ", ".join(
        f'{{"md5": "{md5(CONTENT[name])}", "relpath": {json.dumps(name)}}}' for name in sorted(CONTENT)
    )  # fmt: skip
    listing = f"[{rows}]".encode()
    assert b"M\\u00fcnchen" in listing
    assert done == Exported(place.target / "flights.dvc", f"{md5(listing)}.dir", 6, size, written=6)
    assert done.pointer.read_text() == (
        f"outs:\n- md5: {md5(listing)}.dir\n  size: {size}\n  nfiles: 6\n  hash: md5\n  path: flights\n"
    )
    assert (place.target / ".gitignore").read_text() == "/flights\n"
    objects = {md5(data): data for data in CONTENT.values()} | {f"{md5(listing)}.dir": listing}
    found = {path.parent.name + path.name: path.read_bytes() for path in place.remote.glob("files/md5/*/*")}
    assert found == objects
    assert len([path for path in place.remote.rglob("*") if path.is_file()]) == len(objects)


def test_what_was_exported_is_read_back(place: Place) -> None:
    done = place.export()
    found = read_pointer(done.pointer, [place.target / "nowhere", place.remote])
    assert [file.relpath for file in found] == sorted(CONTENT)
    for file in found:
        data = CONTENT[file.relpath]
        assert file == Imported(file.relpath, md5(data), len(data), place.object(md5(data)))
        assert file.path.read_bytes() == data


def test_an_export_is_repeated_without_a_change(place: Place) -> None:
    place.export()
    before = place.state()
    assert place.export().kept == 6
    assert place.state() == before


def test_a_damaged_object_is_replaced_and_no_other(place: Place) -> None:
    done = place.export()
    before = place.state()
    torn, changed, listing = (
        place.object(md5(CONTENT["2013-01.parquet"])), place.object(md5(b"a\n")), place.object(done.md5)
    )  # fmt: skip
    torn.write_bytes(b"PAR1")
    changed.write_bytes(b"b\n")
    changed.chmod(0o444)
    listing.write_bytes(listing.read_bytes().replace(b'"Z"', b'"Y"'))
    again = place.export()
    assert (again.written, again.replaced, again.kept) == (0, 3, 3)
    after = place.state()
    assert {path: data for path, (_, data) in after.items()} == {path: data for path, (_, data) in before.items()}
    rewritten = {path for path, (inode, _) in after.items() if inode != before[path][0]}
    assert rewritten <= {str(torn), str(changed), str(listing)}


def test_objects_are_copies(place: Place) -> None:
    """DVC makes objects read-only: a hard link would make the store's file so."""
    place.export()
    assert all(source.stat().st_nlink == 1 for _, source in place.files)
    place.object(md5(b"a\n")).chmod(0o444)
    assert all(source.stat().st_mode & 0o200 for _, source in place.files)


def test_without_a_remote_only_the_pointer_is_written(place: Place) -> None:
    done = export(place.files, place.target, "flights", remote=None)
    assert (done.written, done.replaced, done.kept) == (0, 0, 0)
    assert not place.remote.exists()
    assert place.export().md5 == done.md5


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        ("/other", "/other\n/flights\n"),
        ("/other\r\n", "/other\r\n/flights\n"),
        ("/flights\n*.tmp\n", "/flights\n*.tmp\n"),
        ("a\n/flights\r\n", "a\n/flights\r\n"),
        ("", "/flights\n"),
    ],
)
def test_gitignore_keeps_what_it_says(place: Place, present: str, expected: str) -> None:
    place.target.mkdir()
    (place.target / ".gitignore").write_bytes(present.encode())
    place.export()
    assert (place.target / ".gitignore").read_bytes() == expected.encode()


@pytest.mark.parametrize(
    ("name", "scalar", "ignored"),
    [
        ("flights.cleaned-2", "flights.cleaned-2", "/flights.cleaned-2"),
        ("2013", "'2013'", "/2013"),
        ("yes", "'yes'", "/yes"),
        ("König's v1.0", "König's v1.0", "/König's v1.0"),
        ("König's #1", '"König\'s #1"', "/König's \\#1"),
        ("Flüge 2013", "Flüge 2013", "/Flüge 2013"),
        ("1e5", "'1e5'", "/1e5"),
        ("Flüge [neu]: #1", "'Flüge [neu]: #1'", "/Flüge \\[neu\\]: \\#1"),
    ],
)
def test_names_that_yaml_or_git_would_take_for_something_else(
    place: Place, name: str, scalar: str, ignored: str
) -> None:
    done = place.export(name)
    assert done.pointer.read_text("utf-8").endswith(f"  path: {scalar}\n")
    assert (place.target / ".gitignore").read_text("utf-8") == f"{ignored}\n"
    assert len(read_pointer(done.pointer, [place.remote])) == 6


# What cannot be exported


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "a\\b", " a", "a\n", ".git", ".dvc", "C:x"])
def test_an_output_needs_a_plain_name(place: Place, name: str) -> None:
    with pytest.raises(StoreError, match=r"A DVC directory cannot be named .*; use a name without '/'"):
        place.export(name)
    assert place.state() == {}


@pytest.mark.parametrize(
    ("relpath", "why"),
    [
        ("../x", "it holds '.' or '..', which could lead out of its folder"),
        ("a/./b", "it holds '.' or '..'"),
        ("/x", "it is empty, absolute, or has an empty part"),
        ("a//b", "it is empty, absolute, or has an empty part"),
        ("a\\b", "it holds a backslash or a zero"),
        ("C:x", "it starts with a drive"),
    ],
)
def test_a_file_needs_a_name_inside_the_directory(place: Place, relpath: str, why: str) -> None:
    with pytest.raises(StoreError, match="cannot be written as ") as told:
        export([(relpath, place.files[0][1])], place.target, "flights", remote=place.remote)
    assert why in str(told.value)
    assert place.state() == {}


def test_names_that_make_no_directory_are_refused(place: Place, tmp_path: Path) -> None:
    one = place.files[0][1]
    for names, message in [
        (["a", "a"], "cannot hold two files named 'a'; give each its own name"),
        (["a", "a/b"], "cannot hold both a file 'a' and a file 'a/b'; rename one"),
        ([], "There is no file to export as"),
    ]:
        with pytest.raises(StoreError, match=message):
            export([(name, one) for name in names], place.target, "flights", remote=place.remote)
    with pytest.raises(NotStoredError, match=r"gone is not there to be exported as a; fetch it first"):
        export([("a", tmp_path / "gone")], place.target, "flights", remote=place.remote)
    assert place.state() == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text + "  desc: as delivered by the ministry\n", "also says desc"),
        (lambda text: "frozen: true\nmeta: {x: 1}\n" + text, "also says frozen, meta"),
        (lambda text: text.replace("path: flights", "path: other"), "is not of the one directory 'flights'"),
        (lambda text: text + "- md5: 0\n  path: more\n", "is not of the one directory 'flights'"),
    ],
)
def test_a_pointer_that_people_wrote_into_is_left_alone(place: Place, change: Callable[[str], str], said: str) -> None:
    pointer = place.export().pointer
    pointer.write_text(change(pointer.read_text()))
    before = place.state()
    with pytest.raises(StoreError, match=f"flights.dvc {said}, which an export would lose; .* or remove it first"):
        place.export()
    assert place.state() == before


def test_a_new_state_replaces_the_pointer(place: Place, tmp_path: Path) -> None:
    first = place.export()
    files = sources(tmp_path / "more", {**CONTENT, "2013-02.parquet": b"PAR1"})
    second = export(files, place.target, "flights", remote=place.remote)
    assert (second.written, second.replaced, second.kept) == (2, 0, 5)
    assert second.md5 != first.md5
    assert len(read_pointer(second.pointer, [place.remote])) == 7


# What cannot be read


def test_missing_and_tampered_objects_are_told_apart(place: Place, tmp_path: Path) -> None:
    done = place.export()
    path = place.object(md5(CONTENT["2013-01.parquet"]))
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"x")
    with pytest.raises(CorruptError, match=r"2013-01\.parquet of .*flights\.dvc, has other content than its name says"):
        read_pointer(done.pointer, [place.remote])
    second = place.remote.parent / "second"
    export(place.files, tmp_path / "elsewhere", "flights", remote=second)
    assert read_pointer(done.pointer, [place.remote, second])[0].path.is_relative_to(second), "a sound one is taken"
    path.unlink()
    with pytest.raises(NotStoredError, match=r"The object .*, 2013-01\.parquet of .*, is not in .*; run 'dvc fetch'"):
        read_pointer(done.pointer, [place.remote])
    listing = place.object(done.md5)
    listing.write_bytes(listing.read_bytes() + b" ")
    with pytest.raises(
        CorruptError, match=r"the list of files of .*flights\.dvc, has other content than its name says"
    ):
        read_pointer(done.pointer, [place.remote])
    listing.unlink()
    with pytest.raises(NotStoredError, match=r"The object .*\.dir, the list of files of .*, is not in"):
        read_pointer(done.pointer, [place.remote])
    with pytest.raises(NotStoredError, match="is not in no directory; run 'dvc fetch' first, or name a remote"):
        read_pointer(done.pointer, [])


@pytest.mark.parametrize(("key", "new"), [("size", 1), ("nfiles", 7)])
def test_a_pointer_with_other_totals_is_refused(place: Place, key: str, new: int) -> None:
    done = place.export()
    lines = done.pointer.read_text().splitlines()
    done.pointer.write_text("\n".join(f"  {key}: {new}" if f"{key}:" in line else line for line in lines))
    with pytest.raises(CorruptError, match=f"says {key} {new}, and its objects have .*; restore the pointer from git"):
        read_pointer(done.pointer, [place.remote])
    done.pointer.write_text("\n".join(line for line in lines if f"{key}:" not in line))
    assert len(read_pointer(done.pointer, [place.remote])) == 6, "older releases left it out"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("outs: [", r"is not YAML, as a \.dvc file is \(.*\); restore it from git"),
        ("\x00", "is not YAML"),
        ("- a\n", "is not a DVC pointer: it has no 'outs'"),
        ("", "is not a DVC pointer: it has no 'outs'"),
        ("outs: {}\n", "is not a DVC pointer: it has no 'outs'"),
        ("outs: [1]\n", "is not a DVC pointer: it has no 'outs'"),
        ("outs: []\n", "names 0 outputs, and one is read"),
        ("outs: [{}, {}]\n", "names 2 outputs, and one is read"),
        ("outs: [{path: a}]\n", "has None where an MD5 should stand"),
        ("outs: [{md5: ../../../../etc/passwd, path: a}]\n", "has '../../../../etc/passwd' where an MD5 should stand"),
        (f"outs: [{{md5: {'A' * 32}, path: a}}]\n", "where an MD5 should stand"),
        (f"outs: [{{md5: {'a' * 32}}}]\n", "names the path None, which is not read: it is no text"),
        (
            f"outs: [{{md5: {'a' * 32}, path: ../a}}]\n",
            "names the path '../a', which is not read: it holds '.' or '..'",
        ),
        (
            f"outs: [{{md5: {'a' * 32}, path: 's3://b/a'}}]\n",
            "is not read: it is empty, absolute, or has an empty part",
        ),
        (f"outs: [{{md5: {'a' * 32}, path: a, hash: blake3}}]\n", "says hash 'blake3', and only 'md5' is read"),
        ("outs: [{path: a, files: [{relpath: x}]}]\n", "keeps its files as versions in a cloud bucket, not by MD5"),
    ],
)
def test_what_is_no_pointer_is_said(tmp_path: Path, text: str, message: str) -> None:
    pointer = tmp_path / "a.dvc"
    pointer.write_text(text)
    with pytest.raises(StoreError, match=message):
        read_pointer(pointer, [tmp_path])
    with pytest.raises(NotStoredError, match=r"gone\.dvc is not there; name a \.dvc file"):
        read_pointer(tmp_path / "gone.dvc", [tmp_path])


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        ('[{"md5": "%s", "relpath": "../x"}]', r"names the file '\.\./x', which is not read: it holds '\.' or '\.\.'"),
        ('[{"md5": "%s", "relpath": "/etc/passwd"}]', "is not read: it is empty, absolute"),
        ('[{"md5": "%s", "relpath": "a"}, {"md5": "%s", "relpath": "a"}]', "is not read: it stands there twice"),
        ('[{"md5": "%s", "relpath": 1}]', "is not read: it is no text"),
        ('[{"md5": "../../x", "relpath": "a"}]', "has '../../x' where the MD5 of a should stand"),
        ('{"md5": "%s"}', "is no list of files"),
        ("[", "is no list of files"),
        ("[1]", "is no list of files"),
    ],
)
def test_a_list_of_files_that_could_do_harm_is_refused(tmp_path: Path, listing: str, message: str) -> None:
    data = listing.replace("%s", md5(b"x")).encode()
    for digest, content in ((md5(b"x"), b"x"), (f"{md5(data)}.dir", data)):
        path = tmp_path / "files" / "md5" / digest[:2] / digest[2:]
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    pointer = tmp_path / "a.dvc"
    pointer.write_text(f"outs:\n- md5: {md5(data)}.dir\n  hash: md5\n  path: a\n")
    with pytest.raises(StoreError, match=message):
        read_pointer(pointer, [tmp_path])


# The layout before DVC 3


def keep_legacy(cache: Path, digest: str, content: bytes) -> None:
    path = cache / digest[:2] / digest[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_a_single_file_of_dvc_3(tmp_path: Path) -> None:
    path = tmp_path / "files" / "md5" / md5(b"x")[:2] / md5(b"x")[2:]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    pointer = tmp_path / "data.csv.dvc"
    pointer.write_text(f"outs:\n- md5: {md5(b'x')}\n  size: 1\n  hash: md5\n  path: data.csv\n")
    assert read_pointer(pointer, [tmp_path]) == [Imported("data.csv", md5(b"x"), 1, path)]
    pointer.write_text(pointer.read_text().replace("size: 1", "size: 2"))
    with pytest.raises(CorruptError, match="says size 2, and its objects have 1"):
        read_pointer(pointer, [tmp_path])


WINDOWS = b"a;b\r\n" + b"1;2\r\n" * 300_000
BINARY_THEN_TEXT = b"\x00\r\n" + b"x" * (2**20 - 3) + b"text\r\n"
TEXT_THEN_BINARY = b"x" * 2**20 + b"\x00\r\n"


@pytest.mark.parametrize(
    ("content", "hashed"),
    [
        (b"a;b\r\n1;2\r\n", b"a;b\n1;2\n"),
        (b"a;b\n", b"a;b\n"),
        (b"\x00\r\n", b"\x00\r\n"),
        (bytes(range(128, 256)) * 9 + b"\r\n", bytes(range(128, 256)) * 9 + b"\r\n"),
        (b"", b""),
        # one chunk is 1 MiB, and a CR LF that it cuts in two was left as it is
        (b"x" * (2**20 - 1) + b"\r\n\r\n", b"x" * (2**20 - 1) + b"\r\n\n"),
        # DVC 3 judges every chunk, older releases the file
        (BINARY_THEN_TEXT, BINARY_THEN_TEXT[:-2] + b"\n"),
        (BINARY_THEN_TEXT, BINARY_THEN_TEXT),
        (TEXT_THEN_BINARY, TEXT_THEN_BINARY),
        (TEXT_THEN_BINARY, TEXT_THEN_BINARY[:-2] + b"\n"),
    ],
)
def test_before_dvc_3_text_was_hashed_with_unix_line_ends(tmp_path: Path, content: bytes, hashed: bytes) -> None:
    keep_legacy(tmp_path, md5(hashed), content)
    pointer = tmp_path / "data.csv.dvc"
    pointer.write_text(f"outs:\n- md5: {md5(hashed)}\n  size: {len(content)}\n  path: data.csv\n")
    path = tmp_path / md5(hashed)[:2] / md5(hashed)[2:]
    assert read_pointer(pointer, [tmp_path]) == [Imported("data.csv", md5(hashed), len(content), path)]
    assert path.read_bytes() == content
    path.write_bytes(content + b"\r\n")
    with pytest.raises(CorruptError, match="has other content than its name says"):
        read_pointer(pointer, [tmp_path])


def test_before_dvc_3_sizes_of_texts_prove_nothing(tmp_path: Path) -> None:
    """Two files that differ in their line ends were one object; each pointer has the size of its own."""
    keep_legacy(tmp_path, md5(b"a\nb\n"), b"a\r\nb\r\n")
    pointer = tmp_path / "a.dvc"
    pointer.write_text(f"outs:\n- md5: {md5(b'a' + bytes([10]) + b'b' + bytes([10]))}\n  size: 4\n  path: a\n")
    assert read_pointer(pointer, [tmp_path])[0].size == 6
    keep_legacy(tmp_path, md5(b"\0"), b"\0")
    pointer.write_text(f"outs:\n- md5: {md5(bytes(1))}\n  size: 4\n  path: a\n")
    with pytest.raises(CorruptError, match="says size 4, and its objects have 1"):
        read_pointer(pointer, [tmp_path])


def test_a_directory_of_the_old_layout(tmp_path: Path) -> None:
    rows = [{"md5": md5(b"a\n"), "relpath": "x/a.csv"}, {"md5": md5(b"\0b"), "relpath": "b.bin"}]
    listing = json.dumps(rows, sort_keys=True).encode()
    for digest, content in ((md5(b"a\n"), b"a\r\n"), (md5(b"\0b"), b"\0b"), (f"{md5(listing)}.dir", listing)):
        keep_legacy(tmp_path, digest, content)
    pointer = tmp_path / "a.dvc"
    pointer.write_text(f"outs:\n- md5: {md5(listing)}.dir\n  size: 4\n  nfiles: 2\n  path: a\n")
    assert [(file.relpath, file.size) for file in read_pointer(pointer, [tmp_path])] == [("x/a.csv", 3), ("b.bin", 2)]
    pointer.write_text(pointer.read_text().replace("  path", "  hash: md5\n  path"))
    with pytest.raises(NotStoredError, match=r"The object .*\.dir, the list of files"):
        read_pointer(pointer, [tmp_path])


# With DVC itself


@dataclass(frozen=True)
class Repository:
    """A git repository with DVC in it, and a directory as its remote."""

    root: Path
    remote: Path

    @classmethod
    def make(cls, folder: Path) -> "Repository":
        made = cls(folder / "repository", folder / "remote")
        for path in (made.root, made.remote):
            path.mkdir(parents=True)
        made.run("git", "init", "--quiet")
        made.dvc("init", "--quiet")
        made.dvc("remote", "add", "--default", "here", str(made.remote))
        made.commit()
        return made

    def run(self, *words: str | Path) -> str:
        home = self.root.parent
        names = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b.c", "GIT_COMMITTER_NAME": "a"}
        settings = {"GIT_COMMITTER_EMAIL": "a@b.c", "GIT_CONFIG_GLOBAL": os.devnull, "DVC_NO_ANALYTICS": "1"}
        places = {"HOME": str(home), "DVC_SITE_CACHE_DIR": str(home / "site"), "PATH": os.environ["PATH"]}
        done = subprocess.run(
            words, cwd=self.root, capture_output=True, text=True, check=False, env={**names, **settings, **places}
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def dvc(self, *words: str) -> str:
        return self.run(tool("dvc", "dvc"), *words)

    def commit(self) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", "state")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flights", "Flüge 2013", "König's [neu]: #1"])
def test_dvc_pulls_an_export_and_finds_it_clean(tmp_path: Path, name: str) -> None:
    repository = Repository.make(tmp_path)
    files = sources(tmp_path / "sources")
    done = export(files, repository.root, name, remote=repository.remote)
    repository.commit()
    repository.dvc("pull", "--quiet")
    folder = repository.root / name
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == CONTENT
    assert "up to date" in repository.dvc("status")
    assert "in sync" in repository.dvc("status", "--cloud")
    assert repository.run("git", "status", "--porcelain") == ""
    assert all(source.stat().st_mode & 0o200 for _, source in files)
    # adding the same files as people do changes nothing either
    repository.dvc("add", "--quiet", name)
    assert repository.run("git", "status", "--porcelain") == ""
    assert export(files, repository.root, name, remote=repository.remote).kept == done.written


@pytest.mark.slow
def test_what_dvc_added_and_pushed_is_read(tmp_path: Path) -> None:
    repository = Repository.make(tmp_path)
    for relpath, data in CONTENT.items():
        path = repository.root / "data" / relpath
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (repository.root / "one.csv").write_bytes(b"a;b\r\n")
    repository.dvc("add", "--quiet", "data", "one.csv")
    repository.dvc("push", "--quiet")
    for cache in (repository.remote, repository.root / ".dvc" / "cache"):
        found = read_pointer(repository.root / "data.dvc", [cache])
        assert {file.relpath: file.path.read_bytes() for file in found} == CONTENT
        one = read_pointer(repository.root / "one.csv.dvc", [cache])
        assert [(file.relpath, file.path.read_bytes()) for file in one] == [("one.csv", b"a;b\r\n")]
    # and an export of the same files over it is the same pointer
    before = (repository.root / "data.dvc").read_bytes()
    done = export(sources(tmp_path / "sources"), repository.root, "data", remote=repository.remote)
    assert (done.written, done.replaced) == (0, 0)
    assert (repository.root / "data.dvc").read_bytes() == before


HASH = """
import sys
from dvc_data.hashfile.hash import fobj_md5

for path in sys.argv[1:]:
    with open(path, "rb") as file:
        print(fobj_md5(file, name="md5-dos2unix"))
"""


@pytest.mark.slow
def test_dvc_takes_the_old_layout_as_we_do(tmp_path: Path) -> None:
    """DVC 3 still reads it, and its digests are the ones we expect."""
    repository = Repository.make(tmp_path)
    contents = {"mixed.bin": BINARY_THEN_TEXT, "plain.txt": b"a\n", "windows.csv": WINDOWS, "zero": b"\0\r\n"}
    paths = [path for _, path in sources(tmp_path / "sources", contents)]
    digests = repository.run(tool("dvc"), "-I", "-c", HASH, *paths).split()
    for digest, content in zip(digests, contents.values(), strict=True):
        keep_legacy(repository.remote, digest, content)
    assert digests[2] != md5(WINDOWS)
    rows = [{"md5": digest, "relpath": name} for digest, name in zip(digests, contents, strict=True)]
    listing = json.dumps(rows, sort_keys=True).encode()
    keep_legacy(repository.remote, f"{md5(listing)}.dir", listing)
    pointer = repository.root / "data.dvc"
    pointer.write_text(f"outs:\n- md5: {md5(listing)}.dir\n  nfiles: {len(contents)}\n  path: data\n")
    repository.dvc("pull", "--quiet")
    for cache in (repository.remote, repository.root / ".dvc" / "cache"):
        found = read_pointer(pointer, [cache])
        assert {file.relpath: file.path.read_bytes() for file in found} == contents
    assert {path.name: path.read_bytes() for path in (repository.root / "data").iterdir()} == contents
