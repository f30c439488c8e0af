"""The commands for branches, merges and reverts, as they are typed."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from mlops_assets.commands import branches
from mlops_assets.errors import ConflictError, NotStoredError, RefusedError, StoreError, UserError
from mlops_assets.home import Home
from mlops_assets.store import Store
from mlops_assets.store.changes import open_changes
from mlops_assets_tests.datasets import write_contract
from mlops_assets_tests.doors import typed

ASSET = "shop/cleaned"
Run = Callable[..., int]


@pytest.fixture
def store(home: Home) -> Store:
    return Store.open(home.store)


@pytest.fixture
def run(home: Home) -> Run:
    def type_(*words: str, branch: str = "main") -> int:
        return typed(branches, Home(home.root, home.data, branch), *words)

    return type_


def commit(store: Store, branch: str, **values: object) -> None:
    for batch, value in values.items():
        store.commit(branch, ASSET, batch, "json", value)


def answer(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_branches_are_started_listed_and_removed(
    run: Run, store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOPS_ASSETS_WHO", "ann")
    commit(store, "main", a=1)
    assert run("branch", "dev", "-m", "try it") == 0
    said = capsys.readouterr().out
    assert "Started the branch dev from branch main (1 asset, nothing was copied)." in said
    assert "export MLOPS_ASSETS_BRANCH=dev" in said
    assert run("branch", "deep", branch="dev") == 0
    assert store.branch("deep").source == "branch dev", "the current branch is where it starts"
    assert run("branch", "other", "--from", "main", "--json", branch="dev") == 0
    capsys.readouterr()
    run("protect", "main", "--check", "audit")
    assert capsys.readouterr().out == "The branch main moves by merges only, and only when audit passed.\n"
    assert run("branches", branch="dev") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["deep", "*", "main", "other"]
    assert lines[1].startswith("* dev                  from branch main; ann, 2")
    assert lines[1].endswith("; try it")
    assert lines[2] == "  main                 protected, asks for audit"
    assert run("branch", "--json") == 0
    listed = {item["branch"]: item for item in answer(capsys)}
    assert listed["main"]["checks"] == ["audit"]
    assert listed["deep"]["source"] == "branch dev"
    commit(store, "deep", a=2)
    assert run("branch", "--delete", "deep") == 0
    assert capsys.readouterr().out == "Removed the branch deep and its 1 own heads. Its versions stay until gc.\n"
    assert run("branch", "--delete", "other", "--json") == 0
    assert answer(capsys) == {"removed": "other", "heads": 0}
    with pytest.raises(UserError, match=r"dev is the current branch \(MLOPS_ASSETS_BRANCH\); work on another one"):
        run("branch", "--delete", "dev", branch="dev")
    with pytest.raises(UserError, match="removes one branch; leave the other name out"):
        run("branch", "x", "--delete", "dev")
    with pytest.raises(StoreError, match="The branch main cannot be removed"):
        run("branch", "--delete", "main", branch="dev")
    run("unprotect", "main")
    assert capsys.readouterr().out == "The branch main is not protected any more.\n"
    assert run("protect", "dev", "--json") == 0
    assert answer(capsys) == {"branch": "dev", "protected": True, "checks": []}
    assert run("unprotect", "dev", "--json") == 0
    assert answer(capsys)["protected"] is False


def test_without_a_store_there_is_nothing_to_list(run: Run, home: Home) -> None:
    with pytest.raises(NotStoredError, match="There is no store at"):
        run("branches")
    assert run("branch", "dev") == 0, "a first branch may be made before anything else"
    assert Store.open(home.store).branches() == ["dev", "main"]


def test_a_merge_is_shown_decided_made_and_taken_back(
    run: Run, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(store, "main", a=1, b=1)
    run("branch", "dev")
    commit(store, "main", a=2)
    commit(store, "dev", a=3, b=3, c=3)
    capsys.readouterr()
    assert run("merge", "dev", "--dry-run") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "branch dev into main: 2 would move, 1 changed on both sides, 0 stay as they are."
    assert [line.split()[:2] for line in lines[1:]] == [
        ["moves", f"{ASSET}[b]"],
        ["moves", f"{ASSET}[c]"],
        ["conflict", f"{ASSET}[a]"],
    ]
    assert run("merge", "dev", "--dry-run", "--json") == 1
    assert [item["batch"] for item in answer(capsys)["conflicts"]] == ["a"]
    with pytest.raises(ConflictError, match="Decide with --ours"):
        run("merge", "dev")
    assert run("merge", "dev", "--ours", "--partition", "a") == 0
    assert run("merge", "dev", "--partition", "b", "--partition", "c", "--asset", ASSET) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("Merged branch dev into main: 1 head moved. Take it back with: mlops-assets revert 2")
    assert said[1].startswith("Merged branch dev into main: 2 heads moved.")
    assert run("merge", "dev") == 0
    assert capsys.readouterr().out == "main has all of branch dev: nothing to do.\n"
    assert run("merge", "dev", "--dry-run") == 0
    assert run("merge", "main", "--json", branch="dev") == 0
    capsys.readouterr()
    change = said[1].rpartition(" ")[2]
    assert run("revert", change) == 0
    assert f"Reverted merge {change} on branch main: 2 heads moved back" in capsys.readouterr().out
    assert run("revert", ASSET, "a", "--on", "dev", "--json") == 0
    assert answer(capsys)["verb"] == "revert"
    with pytest.raises(ConflictError, match="has moved since the merge"):
        run("revert", change)
    with pytest.raises(NotStoredError, match="There is nothing to take back of"):
        run("revert", change, "--only-unmoved")


def test_a_protected_branch_on_the_command_line(run: Run, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    commit(store, "main", a=1)
    run("branch", "production")
    run("protect", "production", "--check", "audit")
    commit(store, "main", a=2)
    with pytest.raises(RefusedError, match="asks for the check audit, and no version on branch main was judged by it"):
        run("merge", "main", "--into", "production")
    store.commit("main", ASSET, "a", "json", 3, verdicts=({"check": "audit", "passed": True},))
    assert run("merge", "main", "--into", "production", "-m", "out") == 0
    with pytest.raises(RefusedError, match="--protected"):
        run("revert", f"{ASSET}[a]", "--on", "production")
    assert run("revert", f"{ASSET}[a]", "--on", "production", "--protected") == 0
    assert "1 head moved back" in capsys.readouterr().out


def test_a_check_that_no_dataset_has_is_told_of(
    run: Run, home: Home, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    write_contract(home.data)
    commit(store, "main", a=1)
    assert run("protect", "main", "--check", "volume", "--check", "uniq_key") == 0
    (told,) = capsys.readouterr().err.splitlines()
    assert told.endswith("is called 'uniq_key'; near is: unique_key. It is asked for all the same.")


def test_mistakes_of_a_contract_keep_no_branch_from_being_protected(
    run: Run, home: Home, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_contract(home.data) / "dataset.yaml"
    file.write_text(file.read_text().replace("task: binary", "task: binari"))
    commit(store, "main", a=1)
    assert run("protect", "main", "--check", "volume") == 0
    said = capsys.readouterr()
    assert said.out == "The branch main moves by merges only, and only when volume passed.\n"
    assert said.err.startswith(f"Whether a dataset has these checks cannot be told. {file}:")


def test_what_was_left_open_is_finished_or_given_up(
    run: Run, store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(store, "main", a=1, b=1)
    run("branch", "dev")
    commit(store, "dev", a=2, b=2)
    from mlops_assets.store.local import LocalBackend

    def left_open() -> str:
        with monkeypatch.context() as patch:
            patch.setattr(LocalBackend, "swap", lambda *_: (_ for _ in ()).throw(StoreError("The disk is full.")))
            with pytest.raises(StoreError, match="full"):
                run("merge", "dev")
        (change,) = open_changes(store)
        return change.id

    id_ = left_open()
    capsys.readouterr()
    run("branches")
    assert f"an open change: mlops-assets merge --continue {id_}" in capsys.readouterr().out
    store.commit("main", ASSET, "a", "json", 9, who="bob")
    assert run("merge", "--continue") == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"Finished the merge {id_} of branch main: 1 head moved."
    assert "[a] on branch main has moved since it was read: bob set it" in said[1]
    assert said[2] == "1 had moved meanwhile and were left as they are; the same command again looks at them anew."
    with pytest.raises(UserError, match=r"Nothing was left open on branch main\."):
        run("merge", "--continue")
    commit(store, "dev", b=3)
    with pytest.raises(ConflictError, match="Decide with"):
        run("merge", "dev")
    with monkeypatch.context() as patch:
        patch.setattr(LocalBackend, "swap", lambda *_: (_ for _ in ()).throw(StoreError("The disk is full.")))
        with pytest.raises(StoreError, match="full"):
            run("merge", "dev", "--theirs")
    (change,) = open_changes(store)
    assert run("merge", "--abandon", change.id) == 0
    assert f"Gave up the merge {change.id} of branch main: 0 heads had moved" in capsys.readouterr().out
    assert run("merge", "dev", "--theirs", "--json") == 0
    done = answer(capsys)
    assert (done["change"]["moved"], done["resumed"]) == (2, None)
    assert run("merge", "--continue", done["change"]["id"], "--json") == 0
    with pytest.raises(UserError, match="take the id of an open change and nothing else"):
        run("merge", "dev", "--continue")
    with pytest.raises(UserError, match="Say what to merge: a branch, a tag, or REMOTE/BRANCH"):
        run("merge")
