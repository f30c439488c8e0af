"""What people mistype, and places that are full, closed or not there: a sentence, nothing changed, and no exit code 0.

What belongs here: the command from outside, with a store that must be afterwards what it was. What does not: faults of
a store as its readers see them (``store/test_faults``), the words of an answer that is none of trouble.
"""

import errno
import importlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import pytest

from mlops_assets.cli import main
from mlops_assets.store import Store
from mlops_assets.store.verify import verify
from mlops_assets_tests.assets.shop import Shop
from mlops_assets_tests.datasets import deliver_days, write_contract
from mlops_assets_tests.store import tended, verbs
from mlops_assets_tests.store.conftest import s3
from mlops_assets_tests.store.faults import NOBODY, refuse, small_disk
from mlops_assets_tests.store.killing import operations
from mlops_assets_tests.store.s3 import S3, environment
from mlops_assets_tests.store.test_faults import bench, build
from mlops_assets_tests.store.test_kills import Bench, Kill, between

__all__ = ["bench", "s3"]

ROOT = Path(__file__).parents[2]
LONG = "n" * 300
LIBRARIES = [
    *(f"mlops_assets.store.{name}" for name in ("changes", "diff", "export", "garbage", "history", "merging", "purge")),
    *(
        f"mlops_assets.store.{name}"
        for name in ("publishing", "reading", "repair", "restoring", "reverting", "transfer")
    ),
    "encodings.utf_8_sig",  # by default read from a folder that may be closed to other accounts
    "mlops_assets.assets.runs",
    "mlops_assets.contract.load",
    "mlops_assets.commands.answers",
]


class Said(NamedTuple):
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Place:
    """A home with a store of the dataset ``shop``, and contracts of ``shop`` (empty) and ``visits``."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MLOPS_", "DAGSTER_", "MLFLOW_", "AWS_"))
        }
        return {
            **kept,
            "MLOPS_ASSETS_HOME": str(self.folder / "home"),
            "MLOPS_ASSETS_DATA": str(self.folder / "data"),
            "OMP_NUM_THREADS": "1",
        }

    def listing(self) -> dict[str, tuple[int, int]]:
        """Every file of the home's store and of the data folder, with its size and time."""
        found = {}
        for top in (self.folder / "home" / "store", self.folder / "home" / "remote", self.folder / "data"):
            for path in top.rglob("*"):
                if path.is_file() and not {"locks", "cache"} & {*path.parts}:
                    found[str(path)] = (path.stat().st_size, path.stat().st_mtime_ns)
        return found

    def typed(
        self, words: Sequence[str], more: Mapping[str, str] | None = None, first: Callable[[], object] | None = None
    ) -> Said:
        """The command in a process of its own (forked, which spares the imports), that does something else first."""
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            child = os.fork()
            if not child:
                code = 99
                try:
                    os.dup2(out.fileno(), 1)
                    os.dup2(err.fileno(), 2)
                    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
                    os.environ.clear()
                    os.environ.update(self.environment | dict(more or {}))
                    os.chdir(self.folder)
                    if first:
                        first()
                    code = main(words)
                except SystemExit as end:
                    code = int(end.code or 0)
                finally:
                    if code == 99:
                        sys.excepthook(*sys.exc_info())
                    sys.stdout.flush()
                    sys.stderr.flush()
                    os._exit(code)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            out.seek(0)
            err.seek(0)
            return Said(code, out.read(), err.read())

    def started(self, words: Sequence[str], more: Mapping[str, str] | None = None) -> Said:
        """The command as its users start it."""
        done = subprocess.run(
            [sys.executable, "-m", "mlops_assets.cli", *words],
            env={**self.environment, "PYTHONPATH": str(ROOT), **(more or {})},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """To be read only: nothing that is typed here may change it."""
    for module in LIBRARIES:
        importlib.import_module(module)  # once, and not in each child
    folder = tmp_path_factory.mktemp("bad")
    store = build(folder / "home")
    for number in range(8):
        tended.commit(store, "shop/many", f"{number:02}", {"number": number})
    tended.commit(store, "shop/many", "größe/50 %", ["a key may be any text"])
    (folder / "data" / "shop").mkdir(parents=True)
    deliver_days(write_contract(folder / "data", "visits"), range(1), rows=5)
    return Place(folder)


@pytest.fixture
def own(place: Place, tmp_path: Path) -> Place:
    """A copy, to be damaged."""
    shutil.copytree(place.folder, tmp_path / "own")
    return Place(tmp_path / "own")


def refused(place: Place, words: Sequence[str], sentence: str, code: int = 1, **more: str) -> str:
    """Type it: one sentence on stderr, nothing on stdout, nothing changed; the sentence."""
    before = place.listing()
    said = place.typed(words, more)
    assert said.code == code, said
    assert re.search(sentence, said.err), said.err
    assert "Traceback" not in said.err
    assert not said.out
    if code == 1:
        assert len(said.err.splitlines()) == 1, said.err
    assert place.listing() == before
    return said.err


# --- names -----------------------------------------------------------------------------------------------------------

UNKNOWN = {
    "show nope": r"shows no asset 'nope'; there is: shop/cleaned, ",
    "show tag:nope": r"There is no tag 'nope' in store at |There is no .*'nope'",
    "show v1@2020-01-01": r"branch, tag|moment|time",
    "show shop/cleaned[99]": r"shows no batch '99' of shop/cleaned; near is: 0",
    "diff v1 nope": r"There is no branch, tag or version 'nope' in store at .*; branches are: dev, main; tags: v1",
    "diff v1 main --asset nope": r"Neither tag v1 nor branch main shows anything of 'nope'",
    "why nope": r"'nope'",
    "impact shop/nope": r"'shop/nope'",
    "history shop/nope": r"'shop/nope'",
    "verify --asset nope": r"There is no asset and no dataset 'nope' in store at ",
    "verify --at {new}": r"There is no store at ",
    "repair --from {new}": r"There is no store at ",
    "gc --at {new}": r"There is no store at ",
    "gc --grace 0": r"shorter than writers may need",
    "purge nope --where person=1 --basis b": r"nope",
    "purge shop --where person --basis b": r"COLUMN=VALUE",
    "purge --resume nope": r"no purge 'nope'",
    "cat shop/nope": r"shows nothing of 'shop/nope'; near is: shop/",
    "cat shop/cleaned --columns nope": r"shop/cleaned has no column 'nope' in branch main; it has person, paid",
    "log nope": r"shows no asset 'nope'",
    "tag v2 nope -m m": r"There is no folder .*/nope to write data.lock into; name a dataset, or give --no-lock",
    "tag v2 nope -m m --no-lock": r"shows nothing of 'nope', so that there is nothing to tag; it shows: shop",
    "tags --delete nope --reason mistake": r"There is no tag 'nope' in store at .*; there is: v1",
    "lock --tag nope shop": r"There is no tag 'nope'",
    "lock --check nope": r"There is no .*/nope/data.lock; write it with: mlops-assets tag NAME nope -m MESSAGE",
    "checkout nope": r"There is no tag 'nope'",
    "restore nope": r"There is no branch, tag or version 'nope'",
    "restore v1 shop/nope": r"tag v1 shows no asset 'shop/nope'; there is: ",
    "rollback nope": r"shows no asset 'nope'",
    "export nope {new}": r"There is no branch, tag or version 'nope'",
    "export v1 {new} --asset nope": r"tag v1 shows no asset 'nope'",
    "branch new --from nope": r"There is no branch, tag or version 'nope'",
    "branch --delete nope": r"There is no branch 'nope' in store at ",
    "merge nope": r"There is no branch, tag or version 'nope'",
    "merge dev --into nope": r"There is no branch 'nope'",
    "merge dev --asset nope": r"Neither branch dev nor branch main shows anything of 'nope'",
    "merge origin/nope": r"There is no branch, tag or version 'origin/nope' in store at .*; near is: origin/main",
    "merge --continue nope": r"There is no change 'nope' in store at .*; see them with: mlops-assets log",
    "merge --abandon nope": r"There is no change 'nope'",
    "revert nope": r"There is no change 'nope'",
    "revert shop/cleaned[nope]": r"shop/cleaned\[nope\] has not moved on branch main, so there is nothing to revert",
    "protect nope": r"There is no branch 'nope'",
    "unprotect nope": r"There is no branch 'nope'",
    "remote remove nope": r"There is no remote 'nope' in store at .*; there is: origin. Add it with: ",
    "push nope": r"There is no remote 'nope'",
    "fetch nope": r"There is no remote 'nope'",
    "pull nope": r"There is no remote 'nope'",
    "push origin nope": r"There is no branch 'nope'",
    "push origin main --tag nope": r"There is no tag 'nope'",
    "fetch origin nope": r"There is no branch 'nope' in store at .*/remote; there is: main",
    "fetch origin --tag nope": r"There is no tag 'nope' in store at .*/remote; there is: none",
    "pull origin nope": r"There is no branch 'nope'",
    "clone {new} {other}": r"There is no store at .*; build something first, or name another place",
    "publish nope": r"There is no tag 'nope'",
    "dvc export nope {new} --remote {other}": r"There is no branch, tag or version 'nope'",
    "dvc import {new}.dvc visits --cache {other}": r"is not there; name a .dvc file",
    "deliveries nope": r"Nothing was delivered for 'nope' yet; there are deliveries for: shop",
    "run nope": r"There is no dataset 'nope' in .*; there is: visits",
    "status nope": r"There is no dataset 'nope'",
    "--branch nope log": r"There is no branch 'nope' in store at .*; there is: dev, main. Start it with: ",
    "--branch nope restore v1": r"There is no branch 'nope'",
    "--branch nope run visits": r"There is no branch 'nope'",
}

PATHS = {
    "show ../../etc": r"shows no asset '../../etc'",
    "show shop/cleaned[../x]": r"shows no batch '../x' of shop/cleaned",
    "log shop/cleaned[../../x]": r"shows no batch '../../x'",
    "cat shop/cleaned --partition ../x": r"shows no batch '../x'",
    "tag ../x shop -m m --no-lock": r"'../x' cannot be the name of a tag: it reads as a path; choose another name",
    "tag .. shop -m m --no-lock": r"'..' cannot be the name of a tag: it reads as a path",
    "tag v2 ../shop -m m": r"'../shop' is not the name of a dataset|There is no folder",
    "lock --tag v1 ../x": r"The tag v1 is one of shop, not of ../x",
    "checkout v1 ../x": r"A branch cannot be called '../x'",
    "checkout v1 a/../b": r"A branch cannot be called 'a/../b': it reads as a path; choose another name",
    "branch ../x": r"A branch cannot be called '../x'",
    "branch a/../b": r"A branch cannot be called 'a/../b': it reads as a path",
    "branch a//b": r"A branch cannot be called 'a//b': it reads as a path",
    "restore v1 ../x": r"tag v1 shows no asset '../x'",
    "restore v1 shop/cleaned --partition ../x": r"Neither tag v1 nor branch main shows a batch '../x' of shop/cleaned",
    "rollback ../x": r"shows no asset '../x'",
    "export v1 {new} --asset ../x": r"tag v1 shows no asset '../x'",
    "export v1 {new} --partition ../../x": r"tag v1 shows no batch '../../x' of what is exported",
    "merge dev --asset ../x": r"Neither branch dev nor branch main shows anything of '../x'",
    "revert ../x": r"There is no change '../x'",
    "protect ../x": r"There is no branch '../x'",
    "remote add ../x {new}": r"'../x' cannot be a remote's name: REMOTE/BRANCH and BRANCH@TIME would be read",
    "push origin ../x": r"There is no branch '../x'",
    "deliveries ../x": r"Nothing was delivered for '../x' yet",
    "run ../x": r"There is no dataset '../x'",
    "run visits --partition ../x": r"'../x' is not a day; write it like 2013-03-09",
    "--branch ../x log": r"There is no branch '../x'",
}

WRONG = {
    "show b3:": r"'b3:' is too short to name a version; give `b3:` and at least 6 hex digits",
    "show b3:12": r"'b3:12' is too short to name a version",
    "show b3:zzzzzzzz": r"'b3:zzzzzzzz' names no version: `b3:` is followed by hex digits, at least 6 of them",
    "show b3:00000000": r"No version and no manifest in store at .* starts with b3:00000000; see what there is with: ",
    "show @yesterday": r"'yesterday' is not a moment; write a date or time such as 2026-03-01",
    "show @2020-13-01": r"'2020-13-01' is not a moment",
    "show main@2999-01-01": r"has not come yet; ask for the branch itself",
    "log --since never": r"'never' is not a moment",
    "diff v1 main --out {new}.csv": r"--out writes rows: ask for them with --rows",
    "diff v1 main --rows --out {new}.txt": r"ends in neither .parquet nor .csv; name the file by what it is to be",
    "diff v1 main --rows --out {new}/x.csv": r"cannot be written",
    "tag main shop -m m --no-lock": r"'main' is the name of a branch; choose another for the tag",
    "tag b3:123 shop -m m --no-lock": r"'b3:123' cannot be the name of a tag",
    "tag v2 shop -m m --configuration {new}.json": r"cannot be read as JSON",
    "tags --delete v1": r"Say why the tag v1 is deleted: releases and locks in git may name it",
    "lock --tag v1 nope": r"The tag v1 is one of shop, not of nope",
    "checkout v1 main": r"There is a branch 'main' already; choose another name",
    "checkout v1 dev": r"There is a branch 'dev' already",
    "--branch dev restore v1": r"The branch dev is protected: it moves by merges only",
    "rollback shop/cleaned --steps 0": r"A rollback takes back at least one step, not 0",
    "rollback shop/cleaned --steps 99": r"Only \d+ things? happened to shop/cleaned on branch main",
    "export v1 {home}": r"is not empty and was not made by export \(it has no EXPORT.json\)",
    "branch dev": r"There is a branch 'dev' already",
    "branch v1": r"'v1' is the name of a tag, and a branch of that name could not be told from it",
    "branch b3:12": r"A branch cannot be called 'b3:12'",
    "branch HEAD": r"A branch cannot be called 'HEAD'",
    "branch origin/x": r"'origin/x' would read as the branch 'x' of the remote 'origin'",
    "branch --delete main": r"main is the current branch \(MLOPS_ASSETS_BRANCH\); work on another one to remove it",
    "revert shop/cleaned": r"A move back is of one batch: say which batch of shop/cleaned, as in shop/cleaned\[BATCH\]",
    "merge": r"Say what to merge: a branch, a tag, or REMOTE/BRANCH",
    "merge main --into main": r"The branch main cannot be merged into itself",
    "merge --continue": r"Nothing was left open on branch main",
    "remote add origin {new}": r"There is a remote origin \(.*/remote\) already; take another name, or first: ",
    "remote add self {home}/store": r"is this store itself; a remote is another one",
    "remote add x ftp://host/x": r"ftp:// is no place for a store: give a folder, or a URL that starts with s3://",
    "remote add x s3://": r"s3:// names no bucket; write it as s3://BUCKET/FOLDER",
    "remote add a/b {new}": r"'a/b' cannot be a remote's name",
    "clone {data} {new}": r"There is no store at .*/data",
    "clone {home}/store {data}": r"is not empty and not a store \(it has no FORMAT\); name an empty or new folder",
    "clone ftp://x {new}": r"ftp:// is no place for a store",
    "deliveries shop --as-of ²": r"'²' is not a moment",
    "deliveries shop --as-of never": r"'never' is not a moment",
    "deliveries shop --as-of 99": r"There is no delivery 99 of shop; the last one is \d+\.$",
    "run visits --partition größe": r"'größe' is not a day; write it like 2013-03-09",
    "run visits --partition a/b": r"'a/b' is not a day",
    "run visits --partition 2024-02-30": r"'2024-02-30' does not exist in the calendar",
    "run visits --release nope": r"'nope' is not a day",
    "run visits --from 2024-01-03 --to 2024-01-01": r"No batch is between --from 2024-01-03 and --to 2024-01-01, which",
    "run visits --partition 2024-01-01 --to 2024-01-02": r"--partition is one batch, --from and --to are a range",
    "run visits --select nope": r"visits has no stage 'nope'; it has: raw/visits",
}


def _words(place: Place, line: str) -> list[str]:
    home = place.folder / "home"
    new, other = place.folder / "new", place.folder / "other"
    return [word.format(home=home, data=place.folder / "data", new=new, other=other) for word in line.split(" ")]


@pytest.mark.parametrize("line", [*UNKNOWN, *PATHS, *WRONG])
def test_what_cannot_be_meant_is_a_sentence(place: Place, line: str) -> None:
    sentence = {**UNKNOWN, **PATHS, **WRONG}[line]
    refused(place, _words(place, line), sentence)
    assert not (place.folder / "new").exists()
    assert not (place.folder / "other").exists()


TAKE_NAMES: dict[str, list[str]] = {
    "tag": ["tag", "{}", "shop", "-m", "m", "--no-lock"],
    "branch": ["branch", "{}"],
    "checkout": ["checkout", "v1", "{}"],
    "remote": ["remote", "add", "{}", "elsewhere"],
    "protect": ["protect", "{}"],
    "show": ["show", "{}"],
    "log": ["log", "{}"],
    "batch": ["show", "shop/cleaned[{}]"],
    "merge": ["merge", "{}"],
    "restore": ["restore", "{}"],
    "export": ["export", "{}", "elsewhere"],
    "push": ["push", "origin", "{}"],
    "push to": ["push", "{}"],
    "current": ["--branch", "{}", "log"],
    "run": ["run", "{}"],
    "partition": ["run", "visits", "--partition", "{}"],
    "deliveries": ["deliveries", "{}"],
}


FEW = ["tag", "branch", "remote", "show", "current", "partition"]


@pytest.mark.parametrize(
    "verb", [*FEW, *(pytest.param(verb, marks=pytest.mark.slow) for verb in TAKE_NAMES if verb not in FEW)]
)
def test_names_that_are_none_are_sentences(place: Place, verb: str) -> None:
    words = TAKE_NAMES[verb]
    if any(word == "{}" for word in words):
        refused(place, [word.format("") for word in words], "an argument is empty", code=2)
    for name, sentence in {
        "a\nb": r"holds a control character|There is no|is not a day|shows no|no place|near is",
        "a\x1b[31m": r"holds a control character|There is no|is not a day|shows no|no place",
        LONG: r"takes 300 bytes in a path, more than 180; shorten|There is no|is not a day|shows no|name too long",
        "e\u0301": r"writes a letter and its accent as two characters|There is no|is not a day|shows no",
    }.items():
        said = refused(place, [word.format(name) for word in words], sentence)
        assert "\x1b" not in said, "what a terminal would obey is shown escaped"
    assert not (place.folder / "elsewhere").exists()


def test_an_ambiguous_digest_names_the_candidates(place: Place) -> None:
    store = Store.open(place.folder / "home" / "store")
    versions = [head.version for head in store.heads("main", "shop/many").values()]
    manifests = [head.manifest for head in store.heads("main", "shop/many").values()]
    # six digits that two of a few dozen share do not happen: let two share them by hand
    own = place.folder / "ambiguous"
    shutil.copytree(place.folder / "home" / "store", own)
    first = versions[0]
    folder = own / "meta" / "shop" / "many" / "00"
    other = first[:12] + ("0" if first[12] != "0" else "1") + manifests[1][13:]
    shutil.copy(next(folder.iterdir()), folder / f"{other.replace(':', '-')}.json")
    said = place.typed(["show", first[:12]], {"MLOPS_ASSETS_STORE": str(own)})
    shutil.rmtree(own)
    assert said.code == 1
    assert f"{first[:12]} could be 2 versions or manifests: " in said.err
    assert "Give more digits." in said.err


@pytest.mark.parametrize("key", ["größe/50 %", "00"])
def test_a_key_may_be_any_text_where_it_is_one(place: Place, key: str) -> None:
    before = place.listing()
    for words in (
        ["show", f"shop/many[{key}]"],
        ["log", f"shop/many[{key}]"],
        ["cat", "shop/many", "--partition", key],
        ["diff", "v1", "main", "--asset", "shop/many", "--partition", key],
    ):
        said = place.typed(words)
        assert said.code == 0, said
    assert place.listing() == before


@pytest.mark.parametrize("variable", ["nope", "../x", "a\nb", LONG])
def test_a_branch_in_the_environment_is_looked_at_too(place: Place, variable: str) -> None:
    sentence = r"There is no branch|holds a control character|more than 180; shorten it"
    refused(place, ["log"], sentence, MLOPS_ASSETS_BRANCH=variable)


@pytest.mark.parametrize(
    ("store", "sentence"),
    [
        ("ftp://host/x", "is no place for a store: give a folder, or a URL that starts with s3://"),
        ("s3://", "s3:// names no bucket; write"),
        ("data", "There is no store at .*/data; build something first, or name another place"),
        ("nowhere", "There is no store at .*/nowhere"),
        ("data/visits/dataset.yaml", "There is no store at .*dataset.yaml"),
        ("data/visits/dataset.yaml/x", "There is no store at .*dataset.yaml/x"),
    ],
)
def test_a_place_that_is_no_store(place: Place, store: str, sentence: str) -> None:
    for words in (["log"], ["push", "origin"], ["tags", "--json"]):
        refused(place, words, sentence, MLOPS_ASSETS_STORE=store)
    assert not (place.folder / "nowhere").exists()


@pytest.mark.parametrize("words", [["nope"], ["push", "--nope"], ["tag"], ["remote", "nope"], ["--branch"]])
def test_words_that_are_no_command_are_asked_wrongly(place: Place, words: list[str]) -> None:
    refused(place, words, "mlops-assets.*: error: ", code=2)


@pytest.mark.parametrize(
    "words",
    [
        ["show", "nope", "--json"],
        ["diff", "v1", "nope", "--json"],
        ["tags", "--delete", "nope", "--reason", "r", "--json"],
        ["merge", "nope", "--json"],
        ["push", "nope", "--json"],
    ],
)
def test_errors_leave_the_answer_for_programs_empty(place: Place, words: list[str]) -> None:
    refused(place, words, "There is no|shows no")
    answer = place.typed(["tags", "--json"])
    assert json.loads(answer.out)[0]["name"] == "v1"
    assert not answer.err


def test_the_real_command_says_the_same(place: Place) -> None:
    before = place.listing()
    for words in (["show", "b3:zz"], ["branch", "a/../b"], ["push", "nope"]):
        assert place.started(words) == place.typed(words)
    assert place.listing() == before


# --- stores that cannot be used --------------------------------------------------------------------------------------

VERBS = {
    "log": [],
    "show": [],
    "diff": ["v1"],
    "cat": ["shop/cleaned"],
    "why": ["shop/cleaned[01]"],
    "impact": ["shop/cleaned[01]"],
    "history": ["shop/cleaned"],
    "online": [],
    "tag": ["v2", "shop", "-m", "m", "--no-lock"],
    "tags": [],
    "lock": ["--tag", "v1", "shop"],
    "checkout": ["v1"],
    "restore": ["v1"],
    "rollback": ["shop"],
    "export": ["v1", "elsewhere"],
    "branch": ["new"],
    "branches": [],
    "merge": ["dev"],
    "revert": ["shop/cleaned[01]"],
    "protect": ["main"],
    "unprotect": ["dev"],
    "remote": [],
    "push": ["origin"],
    "fetch": ["origin"],
    "pull": ["origin"],
    "clone": ["{home}/store", "elsewhere"],
    "publish": ["v1"],
    "dvc": ["export", "v1", "elsewhere", "--remote", "elsewhere"],
    "deliveries": ["shop"],
    "run": ["visits"],
    "status": ["visits"],
    "verify": [],
    "repair": ["--yes"],
    "gc": ["--yes"],
    "purge": ["shop", "--where", "person=1", "--basis", "asked", "--yes"],
}
WITHOUT_A_STORE = {"deliver", "env", "dev", "profile", "dbt"}


def test_every_command_is_tried_on_a_store_of_a_newer_format(place: Place) -> None:
    said = place.typed(["--help"])
    known = set(re.findall(r"^    (\w+)(?:\s|$)", said.out.partition("positional")[2], re.MULTILINE))
    assert known <= {*VERBS, *WITHOUT_A_STORE}
    own = place.folder / "newer"
    shutil.copytree(place.folder / "home", own)
    (own / "store" / "FORMAT").write_text("3\n")
    before = sorted((path, path.stat().st_mtime_ns) for path in (own / "store").rglob("*") if path.is_file())
    more = {"MLOPS_ASSETS_HOME": str(own)}
    for verb in sorted(known - WITHOUT_A_STORE):
        said = place.typed([verb, *[word.format(home=own) for word in VERBS[verb]]], more)
        assert said.code == 1, (verb, said)
        assert "has format 3, and this mlops_assets reads up to 2; install the newer mlops_assets" in said.err, verb
        assert "Traceback" not in said.err
        assert len(said.err.splitlines()) == 1
    after = sorted((path, path.stat().st_mtime_ns) for path in (own / "store").rglob("*") if path.is_file())
    assert after == before
    shutil.rmtree(own)


def test_what_was_damaged_is_named_by_every_question(own: Place) -> None:
    store = Store.open(own.folder / "home" / "store")
    head = store.root / "heads" / "main" / "shop" / "cleaned" / "01"
    head.write_bytes(head.read_bytes().replace(b'"rows":', b'"roxs":'))
    for words in (["show", "shop/cleaned"], ["diff", "v1"], ["cat", "shop/cleaned"], ["tag", "v2", "shop", "-m", "m"]):
        refused(own, words, "shop/cleaned/01 is not a head as the store writes it; restore it from another copy")


@pytest.mark.skipif(os.getuid() != 0, reason="another account is needed, which only root can become")
def test_who_may_only_read_can_ask_and_not_change(own: Place) -> None:
    for folder in [own.folder, *list(own.folder.parents)[:-2]]:
        folder.chmod(folder.stat().st_mode | 0o555)

    def nobody() -> None:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)

    before = own.listing()
    for words in (["log"], ["show", "v1"], ["diff", "v1"], ["tags"], ["branches"], ["cat", "shop/cleaned"]):
        said = own.typed(words, first=nobody)
        assert said.code == 0, said
    for words in (
        ["tag", "v2", "shop", "-m", "m", "--no-lock"],
        ["branch", "new"],
        ["restore", "v1"],
        ["push", "origin"],
        ["protect", "main"],
        ["remote", "add", "new", "elsewhere"],
        ["export", "v1", str(own.folder / "data" / "new")],
        ["run", "visits"],
    ):
        said = own.typed(words, first=nobody)
        assert said.code == 1, (words, said)
        assert "Traceback" not in said.err, said.err
        assert re.search("may not (write there|read it)|cannot be|Permission denied", said.err), said.err
    assert own.listing() == before


@pytest.mark.skipif(os.getuid() != 0, reason="a file system has to be mounted")
def test_a_full_disk_is_a_sentence_and_leaves_what_was(place: Place) -> None:
    with small_disk("1m") as disk:
        if disk is None:
            pytest.skip("no file system can be mounted here")
        full = Place(disk)
        (disk / "home").mkdir()
        shutil.copytree(place.folder / "home" / "store", disk / "home" / "store")
        shutil.copytree(place.folder / "data", disk / "data")
        filler = os.open(disk / "filler", os.O_WRONLY | os.O_CREAT)
        with suppress(OSError):
            while os.write(filler, b"x" * 4096):
                pass
        os.close(filler)
        before = {name: found for name, found in full.listing().items() if "/cache/" not in name}
        for words in (
            ["branch", "new"],
            ["tag", "v2", "shop", "-m", "m"],
            ["restore", "v1"],
            ["export", "v1", str(disk / "new")],
            ["remote", "add", "new", str(disk / "other")],
            ["clone", str(place.folder / "home" / "store"), str(disk / "clone")],
            ["run", "visits"],
        ):
            said = full.typed(words)
            assert said.code == 1, (words, said)
            assert "Traceback" not in said.err, (words, said.err)
            assert re.search(r"the disk is full|No space left on device|disk is full", said.err), (words, said.err)
        for words in (["log"], ["cat", "shop/cleaned"], ["diff", "v1"]):
            assert full.typed(words).code == 0, words
        after = full.listing()
        assert {name: found for name, found in after.items() if name in before} == before
        (disk / "filler").unlink()
        said = full.typed(["branch", "new"])
        assert said.code == 0, said


# --- servers ---------------------------------------------------------------------------------------------------------


def test_credentials_that_a_server_does_not_know_are_told(own: Place, s3: S3) -> None:
    url = f"s3://{s3.bucket()}/store"
    assert own.started(["remote", "add", "far", url]).code == 0
    assert own.started(["push", "far"], s3.environment).code == 0
    before = own.listing()
    with s3.strict():
        for words in (["push", "far", "dev"], ["fetch", "far"], ["clone", url, "elsewhere"]):
            said = own.started(words, s3.environment)
            assert said.code == 1, said
            assert "Traceback" not in said.err
            assert re.search("credentials|refuses|may not|not allowed|forbidden", said.err, re.IGNORECASE), said.err
            assert "something" not in said.err, "a secret is never shown"
    said = own.started(
        ["--branch", "main", "log"], {**s3.environment, "MLOPS_ASSETS_STORE": f"s3://nope-{os.getpid()}/x"}
    )
    assert said.code == 1
    assert "Traceback" not in said.err
    assert own.listing() == before


def test_a_server_that_is_not_there_is_told(own: Place) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        more = {**environment(f"http://127.0.0.1:{taken.getsockname()[1]}"), "MLOPS_ASSETS_S3_RETRIES": "0"}
        assert own.started(["remote", "add", "far", "s3://bucket/store"]).code == 0
        before = own.listing()
        said = own.started(["push", "far"], more)
    assert said.code == 1, said
    assert "Traceback" not in said.err
    assert len(said.err.splitlines()) == 1
    assert "s3://bucket/store" in said.err
    assert own.listing() == before


# --- being stopped ---------------------------------------------------------------------------------------------------

STOPPED = {"merge": ["merge", "dev"], "push": ["push", "origin", "main", "dev", "--tags"], "restore": ["restore", "v0"]}


def _stop(root: Path, number: int, sign: signal.Signals) -> None:
    """Send a signal to this process at its ``number``-th change of files below a folder."""
    if sign == signal.SIGTERM:
        signal.signal(sign, signal.SIG_DFL)  # as in a process of its own: Dagster leaves a handler in this one
    count = 0

    def tick() -> None:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), sign)

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        if event in {"os.link", "os.rename", "os.mkdir"} and str(arguments[0]).startswith(str(root)):
            tick()

    sys.addaudithook(audit)


@pytest.mark.parametrize(
    ("name", "sign"),
    [
        ("merge", signal.SIGINT),
        ("push", signal.SIGTERM),
        *(
            pytest.param(name, sign, marks=pytest.mark.slow)
            for name, sign in [
                ("merge", signal.SIGTERM),
                ("push", signal.SIGINT),
                ("restore", signal.SIGINT),
                ("restore", signal.SIGTERM),
            ]
        ),
    ],
)
def test_who_is_stopped_leaves_what_a_kill_leaves(bench: Bench, name: str, sign: signal.Signals) -> None:
    kill = Kill(bench, name)
    work = bench.reset()
    changes = sum(what in {"link", "rename", "mkdir"} for what in operations(work, lambda: kill.verb.run(work)))
    # threads that copy make one folder more or less: the last places may not come
    for number in (2, changes // 2, changes * 4 // 5):
        work = bench.reset()
        place = Place(work)
        said = place.typed(
            STOPPED[name],
            {"MLOPS_ASSETS_STORE": str(work / "store"), "MLOPS_ASSETS_WHO": "tester"},
            first=lambda work=work, number=number: _stop(work, number, sign),  # type: ignore[misc]
        )
        assert "Traceback" not in said.err, said.err
        if sign == signal.SIGINT:
            assert said.code == 130, said
            assert said.err.splitlines()[-1] == "Stopped. What was published stands; run again to go on."
        else:
            assert said.code == -signal.SIGTERM
        assert between(verbs.seen(work), kill.before, kill.started, kill.after)
        kill.verb.run(work)
        assert verbs.seen(work) == kill.after


def test_a_disk_that_fails_under_a_command_is_a_sentence(own: Place) -> None:
    for number in (1, 5, 9):
        said = own.typed(
            ["branch", f"new{number}"],
            first=lambda number=number: refuse(  # type: ignore[misc]
                own.folder / "home" / "store", number, errno.EIO, lasting=True, making=False
            ),
        )
        assert said.code == 1, said
        assert "the disk reports an error" in said.err
        assert "Traceback" not in said.err


# --- runs ------------------------------------------------------------------------------------------------------------


def _begun(shop: Shop) -> "subprocess.Popen[str]":
    """A run in a process group of its own, which has published something by now."""
    begun = subprocess.Popen(
        [sys.executable, "-m", "mlops_assets.cli", "run", "visits"],
        env={**shop.environment, "PYTHONUNBUFFERED": "1"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert begun.stdout
    for line in begun.stdout:
        if line.startswith(("computed", "reused")):
            return begun
    raise AssertionError(begun.communicate()[1])


def _whole(shop: Shop) -> None:
    """A run ends well, everything is sound, and Dagster was told of every head."""
    done = shop.command("run", "visits")
    assert done.code == 0, done.text
    assert verify(Store.open(shop.home.store)).sound
    assert shop.told() == shop.heads()
    assert not [path for path in (shop.home.unreported / "main").rglob("*") if path.is_file()]


@pytest.mark.slow
def test_after_a_power_cut_under_several_writers_the_next_run_finishes(shop: Shop) -> None:
    deliver_days(shop.folder, range(7), rows=100)
    shop.called("branch", "experiment")
    other = replace(shop, home=replace(shop.home, branch="experiment"))
    begun = [_begun(shop), _begun(other)]
    for process in begun:
        os.killpg(process.pid, signal.SIGKILL)
    for process in begun:
        process.communicate()
    assert begun[1].returncode == -signal.SIGKILL
    assert verify(Store.open(shop.home.store)).sound
    _whole(shop)
    done = other.command("run", "visits")
    assert done.code == 0, done.text
    assert len(shop.heads()["visits/cleaned"]) == len(other.heads()["visits/cleaned"]) == 7
    assert not [path for path in shop.home.unreported.rglob("*") if path.is_file()]
    with shop.instance() as instance:
        going = [run for run in instance.get_runs() if not run.is_finished]
    assert len(going) <= 1, "what was cut off can still be seen as such, and stops nobody"


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_is_finished_by_the_next(shop: Shop, sign: signal.Signals) -> None:
    deliver_days(shop.folder, range(6), rows=100)
    process = _begun(shop)
    process.send_signal(sign)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err, err
    assert process.returncode in {130, -sign}, (process.returncode, err)
    assert verify(Store.open(shop.home.store)).sound
    _whole(shop)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["deleted", "emptied", "overwritten"])
def test_the_store_does_without_dagsters_databases(shop: Shop, how: str) -> None:
    before = shop.heads()
    if how == "deleted":
        shutil.rmtree(shop.home.dagster)
    else:
        for path in shop.home.dagster.rglob("*.db"):
            path.write_bytes(b"" if how == "emptied" else b"no database" * 1000)
    for words in (["log"], ["status", "visits"], ["show", "visits"]):
        said = shop.called(*words)
        assert said.code == 0, said.text
    assert shop.heads() == before
    if how != "deleted":
        deliver_days(shop.folder, range(5), rows=100)
        done = shop.command("run", "visits")
        assert done.code == 1
        assert "cannot be used: " in done.text.splitlines()[-1], done.text
        assert "No version depends on them" in done.text.splitlines()[-1]
        shop.home.dagster.rename(shop.home.root / "aside")
        # an earlier release is reported when it is asked for
        done = shop.command("run", "visits", "--release", "2024-01-04", "--release", "2024-01-05")
        assert done.code == 0, done.text
    _whole(shop)
    assert all(set(batches) <= set(shop.heads()[asset]) for asset, batches in before.items())
