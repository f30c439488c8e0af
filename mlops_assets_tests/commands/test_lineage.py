"""why, impact and history as people type them."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mlops_assets.cli import main
from mlops_assets.store import Store
from mlops_assets.store.snapshots import tag
from mlops_assets_tests.store.family import CLEANED, MODEL, MONTHS, REPORT, SALES, clean, deliver, grown, release

FIRST, LAST = MONTHS

Ask = Callable[..., str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = grown(tmp_path_factory.mktemp("family") / "store")
    tag(store, "v1", "trade", "main", message="the first")
    return store.root


@pytest.fixture
def store(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A home with two months and a release, tagged as ``v1``."""
    for name, folder in {"HOME": "home", "DATA": "data"}.items():
        monkeypatch.setenv(f"MLOPS_ASSETS_{name}", str(tmp_path / folder))
    for name in ("MLOPS_ASSETS_BRANCH", "MLOPS_ASSETS_STORE", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    shutil.copytree(made, tmp_path / "home" / "store")
    return Store.open(tmp_path / "home" / "store")


@pytest.fixture
def ask(store: Store, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Type a command; what it prints, or its errors when another exit code is expected."""
    del store

    def called(*words: str, code: int = 0) -> str:
        before = dict(os.environ)
        capsys.readouterr()
        try:
            assert main(words) == code, capsys.readouterr().err
        finally:
            os.environ.clear()
            os.environ.update(before)
        said = capsys.readouterr()
        return said.err if code else said.out

    return called


def test_why_tells_the_most_important_first(store: Store, ask: Ask) -> None:
    said = ask("why", f"{MODEL}[{LAST}]").splitlines()
    head = store.head("main", MODEL, LAST)
    assert head
    assert said[0] == f"{MODEL}[{LAST}] in branch main  {head.version[:13]}"
    assert said[1] == (
        f"  stands on    3 delivered files of 2 sources, 37 B; 2 batches, {FIRST} to {LAST}; 5 versions before it"
    )
    assert said[2].startswith("  git          commit c0ffee")
    assert said[2].endswith("(1 with changes that were not committed)")
    assert "  environment  env-1, env-2" in said
    assert "  seed         7" in said
    assert f"  manifest     {head.manifest}" in said
    stages = [line.split()[0] for line in said[said.index("stages") + 2 : said.index("files (3)")]]
    assert stages == [SALES, "trade/raw/shops", CLEANED, MODEL]
    assert any(line.startswith(f"  landing/sales_{FIRST}.csv  13 B  sha256 ") for line in said)
    assert "delivery 2, 20" in next(line for line in said if f"sales_{FIRST}" in line)


def test_why_of_a_tag_counts_what_it_shows(ask: Ask) -> None:
    assert ask("why", "v1").splitlines()[0] == "tag v1: 7 versions"
    assert f"\n  {CLEANED}[{FIRST}]  b3:" in ask("why", "v1", "--all")


def test_why_for_programs(ask: Ask) -> None:
    plain = json.loads(ask("why", "report", "--json"))
    assert list(plain)[:3] == ["target", "kind", "summary"]
    assert plain["summary"]["versions"] == len(plain["versions"]) == 7


@pytest.mark.parametrize(
    ("name", "start"), [("a.svg", "<svg "), ("a.mmd", "flowchart TB"), ("a.md", "```mermaid\nflow")]
)
def test_why_draws(ask: Ask, tmp_path: Path, name: str, start: str) -> None:
    assert f"Drawn to {tmp_path / name}." in ask("why", "report", "--picture", str(tmp_path / name))
    assert (tmp_path / name).read_text().startswith(start)


def test_pictures_that_cannot_be_are_refused(ask: Ask, tmp_path: Path) -> None:
    said = ask("why", "report", "--picture", str(tmp_path / "a.png"), code=1)
    assert said == f"{tmp_path}/a.png ends in none of .md, .mmd, .svg; name the picture by what it is to be.\n"
    said = ask("why", "report", "--picture", str(tmp_path / "no" / "a.svg"), code=1)
    assert said == f"{tmp_path}/no/a.svg cannot be written: No such file or directory.\n"


def test_why_warns_of_what_needs_a_look(store: Store, ask: Ask) -> None:
    note = "Stands on the last good version b3:1 of trade/raw/sales [2024-01]; a newer one was refused."
    store.commit("main", MODEL, "other", "bytes", b"m", sentences=(note,))
    said = ask("why", f"{MODEL}[other]").splitlines()
    assert said[said.index("last good versions (1)") + 1] == f"  {note}"
    notes = tuple(note.replace("2024-01", f"2024-01-{day:02}") for day in range(1, 22))
    store.commit("main", MODEL, "other", "bytes", b"n", sentences=notes)
    said = ask("why", f"{MODEL}[other]").splitlines()
    assert said[said.index("last good versions (21)") + 21] == "  and 1 more (all of them: --all)"
    assert notes[-1] in ask("why", f"{MODEL}[other]", "--all")


def test_impact_names_models_reports_and_tags(store: Store, ask: Ask) -> None:
    said = ask("impact", f"sales_{FIRST}.csv").splitlines()
    assert said[0] == f"landing/sales_{FIRST}.csv"
    head = store.head("main", SALES, FIRST)
    report = store.head("main", REPORT, LAST)
    assert head
    assert report
    assert said[2] == f"  read into {SALES}[{FIRST}] {head.version[:13]}"
    assert said[3] == "3 versions stand on it, 3 of them shown now"
    assert said[4] == "  shown by    branch main (4), tag v1 (4)"
    assert said[5] == f"  reports     {REPORT}[{LAST}]  {report.version[:13]}  branch main, tag v1"
    clean(store, FIRST, code="clean-2")
    assert "4 versions stand on it, 4 of them shown now" in ask("impact", f"sales_{FIRST}.csv")
    assert json.loads(ask("impact", "v1", "--json"))["summary"]["standing"] == 1


def test_impact_of_what_nothing_stands_on(store: Store, ask: Ask) -> None:
    assert ask("impact", REPORT).splitlines() == [f"{REPORT}[{LAST}] in branch main", "Nothing stands on it."]
    deliver(store, "trade/raw/extra", "all", "landing/extra.csv", b"a\n")
    assert ask("impact", "extra.csv").endswith("Nothing stands on it.\n")


def test_history_of_an_asset_and_of_a_batch(store: Store, ask: Ask) -> None:
    release(store, LAST, metric=0.8, run="run-release-2")
    said = ask("history", "report").splitlines()
    assert said[0] == f"{REPORT}: 2 versions"
    assert f"[{LAST}]" in said[1]
    assert "shown now" in said[1]
    assert "shown before" in said[3]
    assert said[2].startswith("    by ben, run run-release-2, commit c0ffee")
    assert said[2].endswith(", dirty, publish")
    assert ask("history", f"{CLEANED}[{FIRST}]").splitlines()[2].endswith("publish: computed")
    assert "The newest 1; more with --limit, or --limit 0 for all." in ask("history", CLEANED, "--limit", "1")
    assert json.loads(ask("history", CLEANED, "--json"))["total"] == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("why", CLEANED),
            f"{CLEANED} has 2 batches in branch main; name one of them, such as {CLEANED}[{LAST}], or a",
        ),
        (("impact", "nonsense"), "There is no branch, tag or version 'nonsense' in store at"),
        (("history", f"{CLEANED}[{FIRST}]@v1"), "History is that of all branches; leave @v1 away."),
        (("history", f"{CLEANED}[2024-09]"), "store at"),
    ],
)
def test_errors_are_sentences(ask: Ask, words: tuple[str, ...], sentence: str) -> None:
    assert ask(*words, code=1).startswith(sentence)


def test_diff_of_two_runs_and_of_two_releases_tells_metrics(store: Store, ask: Ask) -> None:
    release(store, FIRST, metric=0.6, run="run-release-0")
    for before, after in (
        ("run:run-release-0", "run:run-release-1"),
        (f"{REPORT}[{FIRST}]", f"{REPORT}[{LAST}]@v1"),
    ):
        said = ask("diff", before, after)
        assert f"  ~ {FIRST} -> {LAST}  b3:" in said
        assert "      metrics: auc 0.6 -> 0.7 (+0.1)\n" in said
        assert "      metrics of models[name=trees]: auc 0.6 -> 0.7 (+0.1)\n" in said
    assert "dirty" not in ask("diff", "v1", "main", "--asset", REPORT)
