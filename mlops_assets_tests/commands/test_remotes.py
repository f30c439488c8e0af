"""The commands for copies of the store, as they are typed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.assets.unreported import marked
from mlops_assets.commands import remotes
from mlops_assets.errors import ConflictError, NotStoredError, StoreError, UserError
from mlops_assets.home import Home
from mlops_assets.store import Store, snapshots
from mlops_assets.store.remotes import add_remote
from mlops_assets_tests.doors import typed
from mlops_assets_tests.store.copies import CLEANED, DAYS, RAW, commit, sound, stocked

Run = Callable[..., int]


@pytest.fixture
def store(home: Home) -> Store:
    return stocked(Path(home.store))


@pytest.fixture
def run(home: Home) -> Run:
    def type_(*words: str, home: Home = home) -> int:
        return typed(remotes, home, *words)

    return type_


def answer(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_remotes_are_added_listed_and_removed(
    run: Run, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("remote") == 0
    assert capsys.readouterr().out == "There is no remote yet. Add one with: mlops-assets remote add NAME URL\n"
    assert run("remote", "add", "origin", str(tmp_path / "remote")) == 0
    said = capsys.readouterr().out
    assert said == f"Added origin ({tmp_path}/remote). Send this branch there with: mlops-assets push origin\n"
    assert run("remote", "add", "cloud", "s3://bucket/x", "--json") == 0
    assert answer(capsys) == {"name": "cloud", "url": "s3://bucket/x"}
    run("push", "origin")
    capsys.readouterr()
    assert run("remote", "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "cloud        s3://bucket/x"
    assert lines[1] == f"origin       {tmp_path}/remote"
    assert lines[2].strip().startswith("origin/main, as it was seen at 20")
    assert run("remote", "list", "--json") == 0
    assert [item["name"] for item in answer(capsys)] == ["cloud", "origin"]
    assert run("remote", "remove", "cloud") == 0
    assert capsys.readouterr().out == "Forgot cloud (s3://bucket/x); the store there is as it was.\n"
    assert run("remote", "remove", "origin", "--json") == 0
    with pytest.raises(NotStoredError, match="There is no remote 'origin'"):
        run("remote", "remove", "origin")
    with pytest.raises(StoreError, match="holds more than a place"):
        run("remote", "add", "cloud", "s3://a:b@bucket")
    del store


def test_push_says_what_it_would_send_and_sent(
    run: Run, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("remote", "add", "backup", str(tmp_path / "remote"))
    capsys.readouterr()
    assert run("push", "--dry-run") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("Would send 30 files, ")
    assert said[0].endswith(f"to backup ({tmp_path}/remote); 0 were there already.")
    assert any(line.startswith("        6 values, ") for line in said)
    assert "6 heads would move:" in said
    assert not (tmp_path / "remote").exists()
    assert run("push") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("Sent 30 files, ")
    assert "6 heads moved:" in said
    assert sum(line.startswith("  main: shop/") for line in said) == 6
    assert run("push", "--json") == 0
    report = answer(capsys)
    assert (report["verb"], report["objects"], report["heads"], report["branches"]) == ("push", 0, [], ["main"])
    assert run("push", "backup", "main", "--asset", CLEANED, "--partition", DAYS[0]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        f"Sent 0 files, 0 B, to backup ({tmp_path}/remote); 2 were there already.",
        "No head had to move.",
    ]
    assert run("push", "--all") == 0
    del store


def test_one_of_a_kind_is_said_as_one(
    run: Run, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots.tag(store, "v1", "shop", "main")
    run("remote", "add", "backup", str(tmp_path / "remote"))
    capsys.readouterr()
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert run("push", "--tag", "v1") == 0
    said, progress = capsys.readouterr()
    assert any(line.startswith("        1 tag, ") for line in said.splitlines())
    assert progress.startswith("\r\x1b[K1 file, ")
    assert run("push") == 0
    commit(store, CLEANED, DAYS[0], "changed")
    capsys.readouterr()
    assert run("push") == 0
    said = capsys.readouterr().out
    for words in ("1 value", "1 manifest", "1 move record", "1 head"):
        assert f"\n        {words}, " in said


def test_heads_that_are_ahead_over_there(
    run: Run, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("remote", "add", "origin", str(tmp_path / "remote"))
    run("push")
    commit(Store.open(tmp_path / "remote"), CLEANED, DAYS[0], "elsewhere")
    capsys.readouterr()
    run("push")
    assert (
        f"origin is ahead in 1 batch: main: {CLEANED}[{DAYS[0]}]. Take it over with: mlops-assets pull origin"
        in capsys.readouterr().out
    )
    run("fetch")
    said = capsys.readouterr().out
    assert "Look at: origin/main. Take over with: mlops-assets merge origin/main" in said
    assert " moved:" not in said
    commit(store, CLEANED, DAYS[1], "here")
    run("pull")
    assert f"This store is ahead in 1 batch: main: {CLEANED}[{DAYS[1]}]." in capsys.readouterr().out
    commit(store, CLEANED, DAYS[0], "here")
    commit(Store.open(tmp_path / "remote"), CLEANED, DAYS[0], "elsewhere again")
    with pytest.raises(ConflictError, match="mlops-assets merge origin/main"):
        run("pull")


def test_a_pull_leaves_word_for_dagster(run: Run, store: Store, home: Home, tmp_path: Path) -> None:
    run("remote", "add", "origin", str(tmp_path / "remote"))
    run("push")
    home.dagster.mkdir(parents=True)
    (home.dagster / ".initialised").touch()
    commit(Store.open(tmp_path / "remote"), CLEANED, DAYS[0], "elsewhere")
    run("pull", "--dry-run")
    assert marked(home, "main", CLEANED, DAYS[0]) is None
    run("pull")
    assert marked(home, "main", CLEANED, DAYS[0]) == "news"
    assert marked(home, "main", CLEANED, DAYS[1]) is None
    assert store.head("main", CLEANED, DAYS[0]) == Store.open(tmp_path / "remote").head("main", CLEANED, DAYS[0])


def test_clone_makes_this_homes_store_or_one_elsewhere(
    run: Run, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("remote", "add", "origin", str(tmp_path / "remote"))
    run("push")
    capsys.readouterr()
    other = Home(tmp_path / "other", tmp_path / "data")
    assert run("clone", str(tmp_path / "remote"), home=other) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("Cloned 30 files, ")
    assert said[0].endswith(f"from origin ({tmp_path}/remote) into {other.store}; 0 were there already.")
    assert sound(Store.open(other.store)) == sound(store)
    assert run("clone", str(tmp_path / "remote"), str(tmp_path / "place"), "--branch", "main", "--json") == 0
    assert answer(capsys)["branches"] == ["main"]
    assert sound(Store.open(tmp_path / "place")) == sound(store)
    with pytest.raises(NotStoredError, match="There is no store at"):
        run("clone", str(tmp_path / "nothing"), str(tmp_path / "nowhere"))


def test_parts_and_records_are_fetched(
    run: Run, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("remote", "add", "origin", str(tmp_path / "remote"))
    run("push")
    other = Home(tmp_path / "other", tmp_path / "data")
    run("remote", "add", "origin", str(tmp_path / "remote"), home=other)
    capsys.readouterr()
    assert (
        run("fetch", "origin", "main", "--asset", RAW, "--partition", DAYS[0], "--no-data", "--json", home=other) == 0
    )
    assert set(answer(capsys)["copied"]) == {"records", "moves"}
    assert run("fetch", "--asset", RAW, "--dry-run", "--json", home=other) == 0
    assert answer(capsys)["copied"]["values"]["objects"] == 3
    with pytest.raises(NotStoredError, match=r"There is no tag 'v1' in store at"):
        run("fetch", "--tag", "v1", home=other)
    del store


def test_which_remote_is_meant(run: Run, store: Store, tmp_path: Path) -> None:
    with pytest.raises(
        NotStoredError, match=r"There is no remote 'origin' in store at .*; there is: none. Add it with"
    ):
        run("push")
    for name in ("a", "b"):
        add_remote(store, name, str(tmp_path / name))
    with pytest.raises(UserError, match="There are several remotes and none is called origin; name one of: a, b"):
        run("push")
    assert run("push", "a") == 0
    assert not (tmp_path / "b").exists()
