"""The commands that look after a store, as they are typed."""

import io
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlops_assets.assets.unreported import marked
from mlops_assets.commands import care
from mlops_assets.commands.care import REPRODUCIBILITY
from mlops_assets.errors import NotStoredError, StoreError, UserError
from mlops_assets.home import Home
from mlops_assets.store import Store
from mlops_assets.store.purge import purges
from mlops_assets.store.remotes import add_remote, remotes
from mlops_assets.store.transfer import push
from mlops_assets_tests.assets.shop import DAYS, Shop
from mlops_assets_tests.doors import typed
from mlops_assets_tests.store.s3 import serve
from mlops_assets_tests.store.tended import CLEANED, MODEL, age, commit, contents, files, freeze, line, manifest, value

BATCH = "2024-01"
Run = Callable[..., int]


@pytest.fixture
def store(home: Home) -> Store:
    made = Store.open(home.store)
    _, cleaned = line(made, BATCH, [1, 2])
    commit(made, MODEL, BATCH, {"of": 2}, cleaned)
    freeze(made, "v1")
    return made


@pytest.fixture
def run(home: Home) -> Run:
    return partial(typed, care, home)


def answer(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def damage(store: Store) -> Path:
    head = store.head("main", CLEANED, BATCH)
    assert head
    blob = manifest(store, head).blob
    assert blob
    path = store.root / blob.path
    path.write_bytes(path.read_bytes()[:-1])
    return path


def test_there_is_no_store_yet(run: Run) -> None:
    for words in (["verify"], ["repair"], ["gc"], ["purge", "shop", "--where", "a=1"]):
        with pytest.raises(NotStoredError, match="There is no store at"):
            run(*words)


def test_verify(run: Run, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{store.backend.url}: 3 heads, 3 trees, 1 tag, 1 branch, ")
    assert "3 manifests, 3 values, 2 files, " in out
    assert out.endswith("Everything is sound.\n")
    assert run("verify", "--content", "--json", "--asset", "shop") == 0
    assert answer(capsys)["content"] is True
    path = damage(store)
    assert run("verify", "--quick") == 1
    out = capsys.readouterr().out
    assert f"is damaged: {path} has" in out
    assert f"stands on it: {CLEANED}[{BATCH}] b3:" in out
    assert "made from it (branch main, tag v1)" in out
    assert "1 problem. See what can be mended with: mlops-assets repair" in out
    assert run("verify", "--json") == 1
    assert answer(capsys)["problems"][0]["what"] == "value"
    assert run("verify", "--asset", MODEL) == 0


def test_verify_says_all_that_is_no_damage(run: Run, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    (store.root / "mine.txt").touch()
    store.put(CLEANED, BATCH, "json", 1)
    assert run("verify") == 0
    out = capsys.readouterr().out
    assert "Unknown to the store: mine.txt" in out
    assert "1 file named by no record" in out


def test_repair_from_a_remote(run: Run, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("repair") == 0
    assert "everything is sound" in capsys.readouterr().out
    add_remote(store, "origin", str(tmp_path / "origin"))
    add_remote(store, "away", str(tmp_path / "nowhere"))
    push(store, "origin", tags=["v1"])
    before = contents(store, "data")
    damage(store)
    assert run("repair") == 1
    said = capsys.readouterr()
    assert "copied: The store at" in said.out
    assert "Nothing was changed. To do it: mlops-assets repair --yes" in said.out
    assert "The remote away" in said.err
    assert run("repair", "--yes", "--from", "origin") == 0
    assert contents(store, "data") == before
    damage(store)
    capsys.readouterr()
    assert run("repair", "--yes", "--from", str(tmp_path / "origin"), "--json") == 0
    assert answer(capsys)["actions"][0]["way"] == "copied"
    assert run("verify", "--at", "origin") == 0
    with pytest.raises(NotStoredError, match="There is no remote 'elsewhere'"):
        run("repair", "--from", "elsewhere")


def test_repair_asks_the_next_run_to_make_a_value_again(
    run: Run, home: Home, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    path = damage(store)
    assert run("repair") == 1
    assert marked(home, "main", CLEANED, BATCH) is None
    assert run("repair", "--yes") == 1
    out = capsys.readouterr().out
    assert "mlops-assets run shop --partition 2024-01" in out
    assert "No other copy was asked. Give one with: --from PLACE" in out
    assert not path.exists()
    assert marked(home, "main", CLEANED, BATCH) == "news"


def test_gc(run: Run, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    commit(store, MODEL, BATCH, {"of": 3})
    commit(store, MODEL, BATCH, {"of": 4})
    age(store)
    assert run("gc") == 0
    assert "There is nothing to take." in capsys.readouterr().out
    words = ["gc", "--keep-last", "0", "--keep-moves", "0", "--keep-refused", "0"]
    before = contents(store)
    assert run(*words) == 0
    out = capsys.readouterr().out
    assert "1 files, 8 B" in out
    assert "Nothing was deleted. To free 8 B: the same with --yes" in out
    assert contents(store) == before
    assert run(*words, "--json") == 0
    assert answer(capsys)["taken"]["values"] == {"files": 1, "bytes": 8}
    with pytest.raises(StoreError, match="give at least 1 h"):
        run(*words, "--grace", "0")
    assert run(*words, "--grace", "0", "--force", "--yes") == 0
    assert "1 file taken, 8 B free." in capsys.readouterr().out
    assert value(store, "main", MODEL, BATCH) == {"of": 4}


def test_gc_of_a_remote(run: Run, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_remote(store, "origin", str(tmp_path / "origin"))
    push(store, "origin", tags=["v1"])
    other = Store.open(tmp_path / "origin")
    commit(other, MODEL, BATCH, {"of": 3})
    commit(other, MODEL, BATCH, {"of": 4})
    age(other)
    before = contents(store)
    assert run("gc", "--at", "origin", "--keep-last", "0", "--keep-moves", "0", "--yes", "--json") == 0
    assert answer(capsys)["store"] == str(tmp_path / "origin")
    assert contents(store) == before
    assert run("verify", "--at", str(tmp_path / "origin")) == 0


def test_purge(run: Run, home: Home, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    cleaned = store.head("main", CLEANED, BATCH)
    assert cleaned
    commit(store, "shop/features", BATCH, pa.table({"x": [0.5, 1.5]}), cleaned)
    words = ["purge", "shop", "--where", "person=2", "--basis", "request 17"]
    before = contents(store)
    assert run("purge", "--list") == 0
    assert capsys.readouterr().out == f"No purge was made in {store}.\n"
    assert run(*words) == 0
    out = capsys.readouterr().out
    assert contents(store) == before
    assert out.startswith("3 rows in 3 versions of shop would be erased")
    assert f"  {CLEANED}" in out
    assert "5 files would be deleted" in out
    assert f"{MODEL}[{BATCH}] b3:" in out
    assert "(json, branch main, tag v1)" in out
    assert f"landing/visits_{BATCH}.csv" in out
    assert REPRODUCIBILITY in out
    assert out.endswith("To do it: the same with --yes\n")
    assert run(*words, "--yes") == 0
    out = capsys.readouterr().out
    (done,) = purges(store)
    assert out.startswith(f"Purge {done.id}: 3 rows in 3 versions of shop erased; each")
    assert f"  - {CLEANED}[{BATCH}] on branch main" in out
    assert value(store, "main", "shop/features", BATCH)["x"].to_pylist() == [0.5]
    assert run("verify") == 0
    assert f"Erased by purge {done.id}: 5 files." in capsys.readouterr().out
    assert run("purge", "--list") == 0
    assert capsys.readouterr().out == f"{done.id}  {done.when[:10]}  shop  3 versions  request 17 (done)\n"
    assert run("purge", "--list", "--json") == 0
    assert answer(capsys)[0]["done"] is True
    assert run("purge", "--resume", done.id, "--json") == 0
    assert answer(capsys)["id"] == done.id
    assert run(*words) == 0
    assert capsys.readouterr().out.startswith("Nobody with that key was found in ")
    del home


def test_purge_of_many_people_whose_keys_are_in_no_history(
    run: Run, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("person\n1\n2\n"))
    assert run("purge", "shop", "--people", "-", "--basis", "request 17", "--json") == 0
    assert sum(item["rows"] for item in answer(capsys)["replaced"]) == 4
    (tmp_path / "people.csv").write_text("person,paid\n1,10\n")
    assert run("purge", "shop", "--people", str(tmp_path / "people.csv"), "--basis", "r", "--json") == 0
    assert answer(capsys)["columns"] == ["person", "paid"]
    assert files(store, "purges", "tombstones") == set()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["purge"], "Say which dataset: mlops-assets purge DATASET"),
        (["purge", "shop"], "Say whose rows"),
        (["purge", "shop", "--where", "person"], "--where takes COLUMN=VALUE"),
        (["purge", "shop", "--where", "a=1", "--where", "a=2"], "--where names the column a twice"),
        (["purge", "shop", "--people", "nowhere.csv"], "nowhere.csv cannot be read: No such file"),
        (["purge", "shop", "--where", "person=2"], "Say on what ground"),
        (["purge", "--resume", "x"], "There is no purge 'x'"),
        (["verify", "--at", "nobody"], "There is no remote 'nobody'"),
        (["verify", "--at", "./nowhere"], "There is no store at"),
        (["gc", "--keep-last", "-1"], "cannot be negative"),
    ],
)
def test_what_cannot_be(run: Run, store: Store, words: list[str], sentence: str) -> None:
    before = contents(store)
    with pytest.raises(UserError, match=sentence):
        run(*words)
    assert contents(store) == before


def test_people_that_are_no_table(run: Run, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    for data, sentence in (
        (b"person\n", "needs a header"),
        (b"a,b\n1\n", "needs a header"),
        (b"\xff\xfe\n", "not UTF-8"),
    ):
        path.write_bytes(data)
        with pytest.raises(UserError, match=sentence):
            run("purge", "shop", "--people", str(path), "--basis", "r")
    del store


@pytest.mark.slow
def test_runs_after_a_purge(shop: Shop) -> None:
    day = DAYS[0]
    store = Store.open(shop.home.store)
    key = value(store, "main", "visits/cleaned", day)["visit"][3].as_py()
    words = ["purge", "visits", "--where", f"visit={key}", "--basis", "request 17", "--yes"]
    assert typed(care, shop.home, *words) == 0
    assert value(store, "main", "visits/features", day).num_rows == 99
    # what was delivered is still in the landing folder
    done = shop.called("run", "visits")
    assert done.code == 1
    assert f"visits/raw/visits [{day}] would bring erased rows back: " in done.text
    assert "Take them out of what is delivered." in done.text
    assert "Traceback" not in done.text
    path = shop.landing(day)
    path.write_text("".join(row for row in path.read_text().splitlines(True) if not row.startswith(f"{key},")))
    done = shop.called("run", "visits")
    assert done.code == 0, done.text
    assert "computed visits/trained_model" in done.text
    assert value(store, "main", "visits/cleaned", day).num_rows == 99
    assert typed(care, shop.home, "verify", "--content") == 0


@pytest.mark.slow
def test_a_run_makes_a_damaged_value_again(shop: Shop) -> None:
    store = Store.open(shop.home.store)
    head = store.head("main", "visits/cleaned", DAYS[1])
    assert head
    blob = manifest(store, head).blob
    assert blob
    (store.root / blob.path).write_bytes(b"PAR1")
    assert typed(care, shop.home, "repair", "--yes") == 1
    done = shop.called("run", "visits")
    assert done.code == 0
    assert f"computed visits/cleaned [{DAYS[1]}]" in done.text
    assert typed(care, shop.home, "verify", "--content") == 0


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a place on a real S3 server, where gc need not wait for others."""
    from mlops_assets.store import objects

    with serve() as server:
        for name, word in server.environment.items():
            monkeypatch.setenv(name, word)
        monkeypatch.setenv("MLOPS_ASSETS_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(objects, "SETTLE", 0.1)
        yield f"s3://{server.bucket()}/store"


@pytest.mark.slow
def test_a_store_on_a_server(run: Run, store: Store, bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    add_remote(store, "origin", bucket)
    push(store, "origin", branches=["main"], tags=["v1"])
    at = ["--at", "origin"]
    assert run("verify", *at, "--content") == 0
    there = Store.open(remotes(store)[0].url)
    place = next(path for path in sorted(files(there, "data")) if path.endswith(".parquet"))
    there.backend.write(place, b"other")
    assert run("verify", *at) == 1
    assert run("repair", *at, "--from", str(store.root), "--yes") == 0
    commit(there, MODEL, BATCH, {"of": 3})
    commit(there, MODEL, BATCH, {"of": 4})
    time.sleep(1.1)
    nothing = ["--keep-last", "0", "--keep-moves", "0", "--keep-refused", "0", "--grace", "0", "--force"]
    capsys.readouterr()
    assert run("gc", *at, *nothing, "--yes", "--json") == 0
    assert answer(capsys)["taken"]["values"]["files"] == 1
    assert files(there, "trash") == set()
    assert run("purge", "shop", "--where", "person=2", "--basis", "request 17", *at, "--yes") == 0
    assert value(there, "main", CLEANED, BATCH)["person"].to_pylist() == [1]
    assert run("verify", *at, "--content") == 0
