"""What people type to keep a state and to come back to it, and the git hook that holds commits to it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.cli import main
from mlops_assets.home import Home
from mlops_assets.store import Head, Store
from mlops_assets.store.branching import protect
from mlops_assets.store.lock import read_lock
from mlops_assets.store.refs import view

CLEANED, MODEL = "flights/cleaned", "flights/model"
BATCHES = ("2013-01", "2013-02")
HOOKS = Path(__file__).parents[2] / "examples" / "hooks"


@dataclass
class Place:
    """A project with a store, worked on in this process."""

    root: Path
    read: Callable[[], Any]

    @property
    def store(self) -> Store:
        return Store.open(self.root / "home" / "store")

    @property
    def lock(self) -> Path:
        return self.root / "data" / "flights" / "data.lock"

    def put(self, batch: str, value: object, asset: str = CLEANED, branch: str = "main") -> Head:
        return self.store.commit(branch, asset, batch, "json", value)

    def shown(self, ref: str = "main") -> dict[str, str]:
        return {batch: leaf.version for batch, leaf in view(self.store, ref).leaves(CLEANED).items()}

    def call(self, *words: str, code: int = 0) -> str:
        """What a command prints (on both streams), when it ends with this code."""
        assert main(words) == code
        said = self.read()
        return f"{said.out}{said.err}"

    def answer(self, *words: str, code: int = 0) -> Any:
        """What a command says to programs."""
        return json.loads(self.call(*words, "--json", code=code))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Place:
    for name in [name for name in os.environ if name.startswith(("MLOPS_", "DAGSTER_", "MLFLOW_", "GIT_"))]:
        monkeypatch.delenv(name)
    # all that the command would set for the whole process
    for name, value in Home(tmp_path / "home", tmp_path / "data").environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    made = Place(tmp_path, capsys.readouterr)
    made.lock.parent.mkdir(parents=True)
    (made.lock.parent / "dataset.yaml").write_text("name: flights\n")
    for number, batch in enumerate(BATCHES):
        made.put(batch, number)
    return made


def git(root: Path, *words: str, code: int = 0) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=ada", "-c", "user.email=ada@example.org", *words],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("empty", ["", " "])
def test_what_a_tag_without_a_message_says_to_type_is_taken_by_git(place: Place, empty: str) -> None:
    said = place.call("tag", "v1", "flights", "-m", empty)
    assert said.splitlines()[-1] == f"  git add {place.lock} && git commit -m v1"


def test_tag_writes_the_lock_and_says_what_is_next(place: Place) -> None:
    (place.root / "run.json").write_text('{"seed": 7}')
    dbt = place.lock.parent / "dbt"
    for name in ("dbt_project.yml", "models/target/cleaned.sql", "target/manifest.json", "logs/dbt.log"):
        (dbt / name).parent.mkdir(parents=True, exist_ok=True)
        (dbt / name).write_text("as it is now")
    said = place.call("tag", "v1", "flights", "-m", "first month", "--configuration", "run.json")
    assert said.splitlines()[0] == "Tag v1: 1 asset of flights in 2 batches, 2 B, from branch main."
    assert "It belongs to no git commit: the project was not in git." in said
    assert f"git add {place.lock} && git commit -m 'first month'" in said
    assert read_lock(place.lock).tag == "v1"
    (tag,) = place.answer("tags")
    assert sorted(tag["configuration"]["files"]) == [
        "dataset.yaml",
        "dbt/dbt_project.yml",
        "dbt/models/target/cleaned.sql",
    ]
    assert tag["configuration"]["given"] == {"seed": 7}
    assert len(tag["environment"]) == 32
    before = place.lock.read_bytes()
    (dbt / "target" / "manifest.json").write_text("compiled again")
    said = place.call("tag", "v1", "flights", "-m", "first month", "--configuration", "run.json")
    assert said.startswith("The tag v1 exists since 20")
    assert "with exactly this state; nothing was written anew." in said
    assert place.lock.read_bytes() == before
    assert "first month" in place.call("tags", "flights")
    answer = place.answer("tag", "v2", "flights", "-m", "m", "--no-lock")
    assert (answer["new"], answer["lock"], place.lock.read_bytes()) == (True, None, before)


def test_tag_names_inputs_that_differ(place: Place) -> None:
    from mlops_assets.store import Input

    head = place.store.head("main", CLEANED, "2013-01")
    assert head is not None
    exact = Input(CLEANED, "2013-01", head.version, head.manifest)
    for batch in BATCHES:
        place.store.commit("main", MODEL, batch, "json", "m", inputs=(exact,))
    now = place.put("2013-01", "changed")
    said = place.call("tag", "v1", "flights", "-m", "m")
    assert (
        f"- flights/model[2013-01] and 1 more used flights/cleaned[2013-01] in version {head.version[:15]}, "
        f"the tag holds {now.version[:15]}." in said
    )
    assert "- Bring it up to date first, if this was not meant: mlops-assets run flights" in said


def test_tags_of_another_branch(place: Place) -> None:
    from mlops_assets.store.branching import create_branch

    create_branch(place.store, "dev")
    place.put("2013-03", "dev", branch="dev")
    said = place.call("--branch", "dev", "tag", "v1", "flights", "-m", "m")
    assert "in 3 batches" in said
    assert "from branch dev." in said


def test_what_tag_refuses(place: Place) -> None:
    assert "'main' is the name of a branch" in place.call("tag", "main", "flights", "-m", "m", code=1)
    assert "There is no folder" in place.call("tag", "v1", "visits", "-m", "m", code=1)
    assert "shows nothing of 'visits'" in place.call("tag", "v1", "visits", "-m", "m", "--no-lock", code=1)
    missing = place.call("tag", "v1", "flights", "-m", "m", "--configuration", "none.json", code=1)
    assert missing.startswith("none.json cannot be read as JSON: ")
    (place.root / "list.json").write_text("[]")
    said = place.call("tag", "v1", "flights", "-m", "m", "--configuration", "list.json", code=1)
    assert said == "list.json holds no JSON object ({...}), which a configuration has to be.\n"
    assert place.answer("tags") == []
    assert "There is no tag; make one with: mlops-assets tag NAME DATASET" in place.call("tags")
    assert not place.lock.exists()
    place.call("tag", "v1", "flights", "-m", "m")
    place.put("2013-01", "changed")
    said = place.call("tag", "v1", "flights", "-m", "m", code=1)
    assert "with other versions of flights/cleaned; tags never change, choose another name." in said


def test_deleting_a_tag_takes_a_reason(place: Place) -> None:
    place.call("tag", "v1", "flights", "-m", "m")
    assert "Say why the tag v1 is deleted" in place.call("tags", "--delete", "v1", code=1)
    said = place.call("tags", "--delete", "v1", "--reason", "wrong month")
    assert said.startswith("The tag v1 is deleted; what it was stands in ")
    assert place.answer("tags") == []
    assert "There is no tag 'v1'" in place.call("tags", "--delete", "v1", "--reason", "again", code=1)


def test_the_lock_is_compared_and_written(place: Place) -> None:
    place.call("tag", "v1", "flights", "-m", "m")
    assert "is in step with branch main (tag v1)." in place.call("lock", "--check")
    assert place.answer("lock", "flights", "--check") == [
        {"lock": str(place.lock), "tag": "v1", "dataset": "flights", "differences": []}
    ]
    place.put("2013-01", "changed")
    said = place.call("lock", "--check", code=1)
    assert "(tag v1) is not what branch main shows:\n- flights/cleaned: branch main shows 1 changed (2013-01), " in said
    assert "Or go back to the lock:     mlops-assets restore tag:v1" in said
    (answer,) = place.answer("lock", "--check", code=1)
    assert len(answer["differences"]) == 1
    place.call("tag", "v2", "flights", "-m", "m")
    place.call("lock", "flights", "--check")
    assert place.call("lock", "flights", "--tag", "v1") == f"{place.lock} is that of tag v1 now.\n"
    assert place.answer("lock", "flights", "--tag", "v1") == {"lock": str(place.lock), "tag": "v1"}
    place.call("lock", "flights", "--check", code=1)
    assert "There is no tag 'v9'" in place.call("lock", "flights", "--tag", "v9", code=1)
    assert "The tag v1 is one of flights, not of visits." in place.call("lock", "visits", "--tag", "v1", code=1)
    assert "Name the dataset whose data.lock is to be written" in place.call("lock", "--tag", "v1", code=1)
    assert "There is no " in place.call("lock", "visits", "--check", code=1)
    place.lock.write_text(place.lock.read_text() + "<<<<<<< ours\n")
    assert "data.lock:8 holds both sides of a merge; keep one" in place.call("lock", "--check", code=1)
    shutil.rmtree(place.root / "home" / "store")
    assert "There is no store at" in place.call("lock", "--check", code=1)
    assert place.call("lock", "--check", "--if-stored") == ""


def test_checkout_says_how_to_go_there(place: Place) -> None:
    git(place.root, "init", "-q")
    git(place.root, "add", "data")
    git(place.root, "commit", "-qm", "first")
    commit = git(place.root, "rev-parse", "HEAD").strip()
    place.call("tag", "v1", "flights", "-m", "m")
    before = place.shown()
    place.put("2013-01", "changed")
    said = place.call("checkout", "v1")
    assert said.startswith("Branch checkout-v1 shows tag v1: 1 asset of flights in 2 batches, 2 B. No data was ")
    assert f"It belongs to git commit {commit}." in said
    assert " is this one." in said
    assert f"  git checkout {commit}\n  export MLOPS_ASSETS_BRANCH=checkout-v1\n" in said
    assert "  mlops-assets lock flights --tag v1" in said
    assert place.shown("checkout-v1") == before != place.shown()
    assert "There is a branch 'checkout-v1' already" in place.call("checkout", "v1", code=1)
    answer = place.answer("checkout", "v1", "mine")
    assert (answer["branch"], answer["same_environment"]) == ("mine", True)
    assert answer["commands"] == [f"git checkout {commit}", "export MLOPS_ASSETS_BRANCH=mine"]
    assert answer["lock"].startswith("# mlops_assets data.lock 1\n")
    assert "There is no tag 'v2'" in place.call("checkout", "v2", code=1)


def test_restore_and_the_way_back_from_it(place: Place) -> None:
    place.call("tag", "v1", "flights", "-m", "m")
    before = place.shown()
    for number in range(12):
        place.put(f"2014-{number:02}", number)
    place.put("2013-01", "changed")
    bad = place.shown()
    said = place.call("restore", "v1", "--dry-run")
    assert f"would move  flights/cleaned[2013-01]  {bad['2013-01'][:15]} -> {before['2013-01'][:15]}\n" in said
    assert "... and 3 more\n13 heads of branch main would go to tag v1. Nothing was moved." in said
    answer = place.answer("restore", "v1", "-n")
    assert (answer["done"], answer["change"], len(answer["moves"])) == (False, None, 13)
    assert place.shown() == bad
    said = place.call("restore", "v1", "-m", "bad month")
    assert "13 heads of branch main went to tag v1; nothing was deleted.\n" in said
    assert place.shown() == before
    assert "Branch main shows this already (tag v1); nothing moves." in place.call("restore", "v1")
    undo = said.splitlines()[-1].removeprefix("Take it back with: mlops-assets ")
    assert undo.startswith("revert 20")
    assert "There is no branch, tag or version 'v9'" in place.call("restore", "v9", code=1)


def test_rollback_of_one_batch(place: Place) -> None:
    before = place.shown()
    place.put("2013-01", "second")
    place.put("2013-01", "third")
    said = place.call("rollback", CLEANED, "--partition", "2013-01", "--steps", "2", "--dry-run")
    assert "1 head of branch main would go to before the publish of flights/cleaned[2013-01] by " in said
    answer = place.answer("rollback", CLEANED, "--partition", "2013-01", "--steps", "2", "-m", "why")
    assert answer["done"] is True
    assert answer["skipped"] == []
    assert place.shown() == before
    assert "Only 5 things happened to flights/cleaned" in place.call("rollback", CLEANED, "--steps", "9", code=1)
    protect(place.store, "main")
    assert "--protected" in place.call("rollback", CLEANED, code=1)
    place.call("rollback", CLEANED, "--protected")


def test_export_writes_files_and_says_what_it_changed(place: Place) -> None:
    import pyarrow as pa

    place.store.commit("main", "flights/odd", "x", "table", pa.table({"a": ["=1", "b"]}))
    place.call("tag", "v1", "flights", "-m", "m")
    target = place.root / "out"
    said = place.call("export", "v1", "out", "--asset", "flights/odd")
    assert said.splitlines()[0].endswith(f", of tag v1 in {target}.")
    assert "Note: An apostrophe (') was put before 1 text cell that a spreadsheet would run as a formula" in said
    assert (target / "flights" / "odd" / "x.csv").read_text() == '"a"\n"\'=1"\n"b"\n'
    answer = place.answer("export", "v1", "out", "--format", "parquet", "--partition", "x", "--formulas")
    assert (answer["files"], answer["removed"]) == ({"flights/odd": {"x": "flights/odd/x.parquet"}}, 1)
    assert "was not made by export" in place.call("export", "v1", "data", code=1)
    assert "There is no branch, tag or version" in place.call("export", "v9", "out", code=1)


# --- the hook --------------------------------------------------------------------------------------------------------


@pytest.fixture
def repository(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The place as a git repository with the hooks that the project gives as an example."""
    commands = place.root / ".venv" / "bin"
    commands.mkdir(parents=True)
    command = commands / "mlops-assets"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mlops_assets.cli "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", str(HOOKS.parents[1]))
    git(place.root, "init", "-q")
    (place.root / ".gitignore").write_text("home/\n.venv/\n")
    for hook in ("pre-commit", "pre-push"):
        shutil.copy(HOOKS / hook, place.root / ".git" / "hooks" / hook)
        assert os.access(place.root / ".git" / "hooks" / hook, os.X_OK)
    git(place.root, "add", ".gitignore", "data")
    git(place.root, "commit", "-qm", "nothing is locked yet")
    return place


def commits(place: Place) -> int:
    return len(git(place.root, "log", "--format=%H").split())


def test_the_hook_holds_a_commit_to_the_store(repository: Place) -> None:
    place = repository
    place.call("tag", "v1", "flights", "-m", "m")
    said = git(place.root, "commit", "--allow-empty", "-qm", "without the lock", code=1)
    assert "Not committed: these are not part of this commit as they stand in the folder:\n  data/flights/data" in said
    assert "git add data/flights/data.lock" in said
    git(place.root, "add", "data")
    git(place.root, "commit", "-qm", "with the lock")
    place.put("2013-01", "changed")
    (place.root / "code.py").write_text("x = 1\n")
    git(place.root, "add", "code.py")
    said = git(place.root, "commit", "-qm", "code for other data", code=1)
    assert "Not committed: data.lock and the store are not in step." in said
    assert "- flights/cleaned: branch main shows 1 changed (2013-01), seen from data.lock." in said
    assert commits(place) == 2
    place.call("tag", "v2", "flights", "-m", "m")
    git(place.root, "add", "data")
    git(place.root, "commit", "-qm", "code and data")
    assert commits(place) == 3
    assert "\n# tag\tv2\n" in git(place.root, "show", "HEAD:data/flights/data.lock")


def test_the_hook_lets_a_clone_without_a_store_pass(repository: Place) -> None:
    place = repository
    place.call("tag", "v1", "flights", "-m", "m")
    shutil.rmtree(place.root / "home")
    git(place.root, "add", "data")
    git(place.root, "commit", "-qm", "no store here")
    assert commits(place) == 2
