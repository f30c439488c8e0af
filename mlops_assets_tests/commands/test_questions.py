"""log, show, diff and cat as people type them."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from mlops_assets.cli import main
from mlops_assets.store import Input, Store
from mlops_assets.store.branching import create_branch
from mlops_assets.store.merging import merge
from mlops_assets.store.snapshots import tag
from mlops_assets_tests.datasets import write_contract

CLEANED, RAW, REPORT = "visits/cleaned", "visits/raw/visits", "visits/evaluation_report"
ROWS = pa.table({"visit": ["v1", "v2", "v3"], "minutes": [1.5, 2.0, None], "paid": [0.0, 1.0, 2.0]})
LATER = pa.table({"visit": ["v1", "v2", "v4"], "minutes": [1.5, 2.5, 9.0], "paid": [0.0, 3.0, 2.0]})

Ask = Callable[..., str]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Two days of a dataset with its contract, tagged as ``v1``; ``paid`` is sensitive."""
    for name, folder in {"HOME": "home", "DATA": "data"}.items():
        monkeypatch.setenv(f"MLOPS_ASSETS_{name}", str(tmp_path / folder))
    monkeypatch.setenv("MLOPS_ASSETS_WHO", "ann")
    monkeypatch.delenv("MLOPS_ASSETS_BRANCH", raising=False)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    write_contract(tmp_path / "data", **{"minimum: 0, role: excluded": "minimum: 0, role: [excluded, sensitive]"})
    made = Store.open(tmp_path / "home" / "store")
    for day in ("2024-01-01", "2024-01-02"):
        head = made.commit("main", RAW, day, "table", ROWS, files=({"name": f"{day}.csv", "size": 9, "sha256": "aa"},))
        inputs = (Input(RAW, day, head.version, head.manifest),)
        made.commit("main", CLEANED, day, "table", ROWS, inputs=inputs, run_id="run-1", message="computed", seed=1)
    made.commit("main", REPORT, "2024-01-02", "json", {"metrics": {"auc": 0.7}, "curve": [1, 2]})
    tag(made, "v1", "visits", "main", message="the first")
    return made


def typed(*words: str) -> int:
    """Run a command, which sets variables for its own process; its exit code."""
    before = dict(os.environ)
    try:
        return main(words)
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture
def ask(store: Store, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Type a command; what it prints, or its errors when another exit code is expected."""
    del store

    def called(*words: str, code: int = 0) -> str:
        capsys.readouterr()
        assert typed(*words) == code, capsys.readouterr().err
        said = capsys.readouterr()
        return said.err if code else said.out

    return called


def change(store: Store) -> None:
    store.commit("main", CLEANED, "2024-01-01", "table", LATER, code_version="c2", run_id="run-2", message="computed")
    store.commit("main", REPORT, "2024-01-02", "json", {"metrics": {"auc": 0.75}, "curve": [1, 3]})


# --- log -------------------------------------------------------------------------------------------------------------


def test_log_of_a_branch_goes_by_runs_and_changes(store: Store, ask: Ask) -> None:
    create_branch(store, "try", "main", message="an idea")
    store.commit("try", CLEANED, "2024-01-01", "table", LATER)
    merge(store, "try", "main", message="better")
    said = ask("log").splitlines()
    assert re.match(r"merge \d+-\w+ by ann, 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d, 1 move: better$", said[0])
    assert re.match(r"  20\S+ \S+  visits/cleaned\[2024-01-01\]  b3:\w{10} -> b3:\w{10}$", said[1])
    assert said[2].endswith("visits/evaluation_report[2024-01-02]  nothing -> " + short(store, REPORT, "2024-01-02"))
    assert re.match(r"run run-1 by ann, .*, 1 move$", said[3])
    assert said[4].endswith("computed")
    assert ask("--branch", "try", "log").splitlines()[-1].startswith("Branch try was started from branch main by")
    assert ask("log", "--limit", "2").endswith("The newest 2; more with --limit, or --limit 0 for all.\n")
    assert len(json.loads(ask("log", "--limit", "0", "--json"))) == 6


def short(store: Store, asset: str, batch: str) -> str:
    head = store.head("main", asset, batch)
    assert head
    return head.version[:13]


def test_log_knows_not_how_many_moves_a_run_made_that_it_cut_off(store: Store, ask: Ask) -> None:
    for day in ("2024-01-03", "2024-01-04", "2024-01-05"):
        store.commit("main", RAW, day, "table", ROWS, run_id="run-3")
    said = [ask("log", "--limit", limit).splitlines()[0].rpartition(", ")[2] for limit in ("1", "2", "4")]
    assert said == ["its newest move", "its newest 2 moves", "3 moves"]


def test_log_of_an_asset_or_batch(store: Store, ask: Ask) -> None:
    change(store)
    said = ask("log", f"{CLEANED}[2024-01-01]").splitlines()
    assert len(said) == 2
    assert re.match(r"20\S+ \S+  ann  visits/cleaned\[2024-01-01\]  b3:\w+ -> b3:\w+  computed$", said[0])
    assert ask("log", CLEANED, "--partition", "2024-01-01").splitlines() == said
    assert len(ask("log", "visits/raw", "--since", "2024-01-01").splitlines()) == 2
    assert ask("log", CLEANED, "--since", "2020-01-01", "--limit", "1").startswith("run run-2 by ann")
    found = json.loads(ask("log", CLEANED, "--partition", "2024-01-01", "--json"))
    assert [(item["seq"], item["verb"]) for item in found] == [(2, "publish"), (1, "publish")]


def test_log_of_nothing(store: Store, ask: Ask) -> None:
    create_branch(store, "try", "v1")
    store.forget_branches()
    assert "was started from" in ask("--branch", "try", "log", CLEANED)
    moment = json.loads(ask("log", "--json"))[0]["when"].replace("+00:00", "")
    assert ask("log", "--since", moment, CLEANED) == "Nothing moved on branch main since then.\n"


def test_log_answers_in_sentences(ask: Ask) -> None:
    assert ask("log", "visits/claened", code=1).startswith(
        "branch main shows no asset 'visits/claened'; there is: visi"
    )
    assert "Name the asset too: log ASSET --partition 2024" in ask("log", "--partition", "2024", code=1)
    assert "name two batches; give one of them" in ask("log", f"{CLEANED}[a]", "--partition", "b", code=1)
    assert "'soon' is not a moment" in ask("log", "--since", "soon", code=1)
    assert "There is no branch 'none'" in ask("--branch", "none", "log", code=1)
    with pytest.raises(SystemExit):
        main(["log", "--limit", "many"])


# --- show ------------------------------------------------------------------------------------------------------------


def test_show_a_version(store: Store, ask: Ask) -> None:
    said = ask("show", f"{CLEANED}[2024-01-01]")
    head = store.head("main", CLEANED, "2024-01-01")
    assert head
    assert said.splitlines()[0] == f"{CLEANED}[2024-01-01]"
    for line in (
        rf"  version +{head.version}",
        rf"  manifest +{head.manifest}",
        r"  state +published, shown by branch main",
        r"  made +20\S+ \S+ by ann, run run-1",
        r"  kind +table, 3 rows, \d.*B",
        r"  seed +1",
        r"  minutes  double +b3:\w{10}",
        rf"  visits/raw/visits\[2024-01-01\]  {short(store, RAW, '2024-01-01')}",
    ):
        assert re.search(f"^{line}$", said, re.MULTILINE), line
    found = json.loads(ask("show", f"{CLEANED}[2024-01-01]", "--json"))
    assert (found["is"], found["manifest"], found["inputs"][0]["asset"]) == ("version", head.manifest, RAW)
    change(store)
    assert "state        published, not what main shows now" in ask("show", head.manifest[:16])
    assert f"  version      {head.version}" in ask("show", f"{CLEANED}[2024-01-01]", "--at", "v1")
    assert re.search(r"files\n  2024-01-01.csv  9 B  sha256 aa\n", ask("show", f"{RAW}[2024-01-01]"))


def test_show_with_all_that_can_be_recorded(store: Store, ask: Ask) -> None:
    inputs = [Input(RAW, f"{number:02}", "b3:aa", "b3:bb") for number in range(20)] + [Input(RAW, "20", None, None)]
    verdicts: tuple[dict[str, Any], ...] = (
        {"check": "one", "passed": True, "severity": "block", "sentence": "Well."},
        {"check": "two", "passed": False, "severity": "warn", "sentence": "Hm."},
    )
    store.commit(
        "main", "visits/features", "a", "table", ROWS,
        inputs=inputs, verdicts=verdicts, settings={"deep": {"x": "y" * 200}}, git={"commit": "c0ffee", "dirty": True},
        attachments={"report.html": store.put_bytes("visits/features", "a", b"<p>")}, sentences=("A note.",),
    )  # fmt: skip
    said = ask("show", "visits/features")
    assert "  visits/raw/visits  21 batches, 00 to 20; absent: 20\n" in said
    assert "  passed  one: Well.\n  warned  two: Hm.\n" in said
    assert "  git          c0ffee, with changes that were not committed\n" in said
    assert re.search(r'^  deep: \{"x": "y+\.\.\.$', said, re.MULTILINE)
    assert re.search(r"^  report.html  3 B  data/visits/features/", said, re.MULTILINE)
    assert "sentences\n  A note.\n" in said


def test_show_tags_branches_assets_changes_moves(store: Store, ask: Ask) -> None:
    assert ask("show", "v1").startswith("tag v1 of visits, from branch main\n  message      the first\n")
    assert ask("show", "v1").endswith("Every recorded input is the tagged one.\n")
    assert json.loads(ask("show", "v1", "--json"))["is"] == "tag"
    create_branch(store, "try", "main", message="an idea")
    store.commit("try", RAW, "2024-01-01", "table", LATER)
    tag(store, "v2", "visits", "try")
    lines = ask("show", "v2").splitlines()
    assert lines[-2] == "1 recorded input not as tagged"
    assert re.match(
        r"  visits/raw/visits\[2024-01-01\] is tagged as b3:\w{10}; made from b3:\w{10}: visits/cleaned\[2024-01-01\]$",
        lines[-1],
    )
    said = ask("show", "try")
    assert said.startswith("branch try\n  started from branch main\n")
    assert re.search(r"^  visits/cleaned +2 batches, 6 rows, .*B  \(2024-01-01 to 2024-01-02\)$", said, re.MULTILINE)
    assert ask("show").startswith("branch main\n")
    assert re.match(rf"{CLEANED} in branch main: 2 batches, 6 rows, .*B\n  2024-01-01  b3:", ask("show", CLEANED))
    assert ask("show", "visits/raw").startswith("visits/raw in branch main\n")
    done = merge(store, "try", "main", message="better").change
    assert done
    said = ask("show", done.id)
    assert said.startswith(f"merge {done.id} on branch main: finished\n")
    assert "  moved        1 of 1 head\n  visits/raw/visits[2024-01-01] -> b3:" in said
    move = json.loads(ask("log", "--limit", "1", "--json"))[0]["move"]
    assert ask("show", move[:20]).startswith(f"move 2 of {RAW}[2024-01-01] on branch main\n  move         {move}\n")
    tree = json.loads(ask("show", "v1", "--json"))["assets"][CLEANED]["tree"]
    assert ask("show", tree[:20]).startswith(f"{CLEANED} in tree {tree}: 2 batches")
    assert "'nothing'" in ask("show", "nothing", code=1)


# --- diff ------------------------------------------------------------------------------------------------------------


def test_diff_in_lines(store: Store, ask: Ask) -> None:
    assert ask("diff", "v1").splitlines() == [
        "tag v1 -> branch main",
        "3 assets without a difference: visits/cleaned, visits/evaluation_report, visits/raw/visits",
    ]
    change(store)
    store.commit("main", RAW, "2024-01-03", "table", ROWS)
    said = ask("diff", "v1", "main").splitlines()
    assert said[1] == "visits/cleaned: 1 changed, 1 unchanged"
    assert re.match(r"  ~ 2024-01-01  b3:\w+ -> b3:\w+  3 -> 3 rows: other code, seed, inputs$", said[2])
    assert said[3:5] == [
        "      content differs: visit, minutes, paid",
        "      inputs: visits/raw/visits[2024-01-01] removed",
    ]
    assert said[5] == "visits/evaluation_report: 1 changed"
    assert said[7:9] == [
        "      metrics: auc 0.7 -> 0.75 (+0.05)",
        "      curve: 1 of 2 -> 2 values are the same",
    ]
    assert re.match(r"  \+ 2024-01-03  b3:\w+  3 rows$", said[10])
    found = json.loads(ask("diff", "v1", "--json"))
    assert [asset["asset"] for asset in found["assets"]] == [CLEANED, REPORT, RAW]
    assert [asset["asset"] for asset in json.loads(ask("diff", "v1", "--asset", RAW, "--json"))["assets"]] == [RAW]


def test_diff_of_rows_by_the_contract_s_key(store: Store, ask: Ask, tmp_path: Path) -> None:
    change(store)
    said = ask("diff", "v1", "--rows", "--asset", CLEANED)
    assert "      rows by visit: 1 added, 1 removed, 1 changed\n      cells: minutes 1, paid 1\n" in said
    assert "      ~ visit=v2: minutes 2.0 -> 2.5, paid (hidden) -> (hidden)\n" in said
    assert "      - visit=v3, minutes=null, paid=(hidden)\n      + visit=v4, minutes=9.0, paid=(hidden)\n" in said
    found = json.loads(ask("diff", "v1", "--rows", "--asset", CLEANED, "--json", "--sample", "0"))
    rows = found["assets"][0]["changed"][0]["rows"]
    assert (rows["key"], rows["sample"]["changed"]) == (["visit"], [])
    assert "      rows compared whole (2 rows before share" not in said
    target = tmp_path / "lines.parquet"
    assert ask("diff", "v1", "--rows", "--out", str(target)).endswith(f"4 differences written to {target}.\n")
    table = pq.read_table(target, partitioning=None)
    assert table.column_names == ["asset", "batch", "change", "visit", "column", "before", "after"]
    assert table.slice(2, 1).to_pylist() == [
        {
            "asset": CLEANED, "batch": "2024-01-01", "change": "changed", "visit": "v2", "column": "minutes",
            "before": "2", "after": "2.5",
        }
    ]  # fmt: skip
    ask("diff", "v1", "--rows", "--out", str(tmp_path / "lines.csv"))
    assert pa_csv.read_csv(tmp_path / "lines.csv").num_rows == 4
    ask("diff", "v1", "v1", "--rows", "--out", str(tmp_path / "none.csv"))
    assert (tmp_path / "none.csv").read_text() == '"asset","batch","change","column","before","after"\n'
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "lines.csv",
        "lines.parquet",
        "none.csv",
    ]


def test_diff_of_rows_without_the_dataset_s_folder(store: Store, ask: Ask, tmp_path: Path) -> None:
    change(store)
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    said = ask("diff", "v1", "--rows", "--asset", CLEANED)
    assert "rows compared whole (no key of visits/cleaned is known): 2 added, 2 removed" in said
    assert "has no dataset visits: the key of its rows is not known (give one with --key), nor which of its col" in said
    assert "Note:" not in ask("diff", "v1", "--asset", CLEANED)
    said = ask("diff", "v1", "--rows", "--key", "visit", "--asset", "visits")
    assert "rows by visit: 1 added, 1 removed, 1 changed" in said
    assert "paid 1.0 -> 3.0" in said


def test_diff_answers_in_sentences(store: Store, ask: Ask, tmp_path: Path) -> None:
    assert "'v9'" in ask("diff", "v9", code=1)
    assert "Neither tag v1 nor branch main shows anything of 'vizits'" in ask("diff", "v1", "--asset", "vizits", code=1)
    assert "shows a batch '2025'" in ask("diff", "v1", "--partition", "2025", code=1)
    assert ask("diff", "v1", "--out", "x.csv", code=1) == "--out writes rows: ask for them with --rows.\n"
    assert "x.xls ends in neither .parquet nor .csv" in ask("diff", "v1", "--rows", "--out", "x.xls", code=1)
    change(store)
    nowhere = tmp_path / "no" / "x.csv"
    assert f"{nowhere} cannot be written" in ask("diff", "v1", "--rows", "--out", str(nowhere), code=1)
    store.commit("main", "visits/splits", "2024-01-01", "table", pa.table({"bucket": [1]}))
    tag(store, "v2", "visits", "main")
    store.commit("main", "visits/splits", "2024-01-01", "table", pa.table({"bucket": [2]}))
    store.commit("main", CLEANED, "2024-01-01", "table", ROWS)
    target = tmp_path / "x.parquet"
    said = ask("diff", "v2", "--rows", "--out", str(target), code=1)
    assert said.startswith(
        "The rows of visits/splits[2024-01-01] have another key than those of visits/cleaned[2024-01-01]"
    )
    assert [path for path in tmp_path.iterdir() if path.is_file()] == []
    with pytest.raises(SystemExit):
        main(["diff", "v1", "--key", ","])


def test_many_batches_and_values_are_cut_short(store: Store, ask: Ask) -> None:
    for number in range(25):
        store.commit("main", "visits/features", f"{number:02}", "json", {str(key): key for key in range(25)})
    tag(store, "v2", "visits", "main")
    for number in range(25):
        store.commit("main", "visits/features", f"{number:02}", "json", {str(key): key + 1 for key in range(25)})
    said = ask("diff", "v2")
    assert "  ~ and 5 more (all of them: --json)\n" in said
    assert "      and 5 more values (all of them: --json)\n" in said
    assert "  + and 5 more (all of them: --json)\n" in ask("diff", "v1", "v2")
    assert "  and 5 before these (all of them: --json)\n" in ask("show", "visits/features")


# --- cat -------------------------------------------------------------------------------------------------------------


def test_cat_rows(store: Store, ask: Ask) -> None:
    assert ask("cat", f"{CLEANED}[2024-01-01]", "--head", "2").splitlines() == [
        "visit  minutes  paid",
        "v1     1.5      0",
        "v2     2        1",
        "2 of 3 rows (more with --head N, all with --format csv)",
    ]
    assert ask("cat", CLEANED, "--columns", "minutes,visit", "--format", "csv").splitlines() == [
        '"minutes","visit"', '1.5,"v1"', '2,"v2"', ',"v3"', '1.5,"v1"', '2,"v2"', ',"v3"'
    ]  # fmt: skip
    found = json.loads(ask("cat", CLEANED, "--format", "json", "--head", "4"))
    assert [row["visit"] for row in found] == ["v1", "v2", "v3", "v1"]
    change(store)
    assert '"v4"' in ask("cat", CLEANED, "--partition", "2024-01-01", "--format", "csv")
    assert '"v4"' not in ask("cat", CLEANED, "--partition", "2024-01-01", "--format", "csv", "--at", "v1")
    nested = pa.table({"a": [[1, None], None], "b": [b"\xff", b""], "c": ["x\ny", None]})
    store.commit("main", "visits/odd", "all", "table", nested)
    assert ask("cat", "visits/odd", "--format", "csv") == '"a","b","c"\n"[1, null]","ff","x\ny"\n,"",\n'
    assert ask("cat", "visits/odd").splitlines()[1] == "[1, null]  ff  x\\ny"
    store.commit("main", "visits/odd", "all", "table", nested.slice(0, 0))
    assert ask("cat", "visits/odd", "--format", "json") == "[]\n"
    assert ask("cat", "visits/odd", "--format", "csv") == '"a","b","c"\n'
    assert ask("cat", "visits/odd") == "a  b  c\n"


def test_cat_other_values(store: Store, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    store.commit("main", "visits/file", "all", "bytes", b"\x00\xff")
    store.commit("main", "visits/model", "all", "estimator", {"a": [1]})
    assert typed("cat", REPORT) == 0
    assert json.loads(capfdbinary.readouterr().out) == {"metrics": {"auc": 0.7}, "curve": [1, 2]}
    assert typed("cat", "visits/file") == 0
    assert capfdbinary.readouterr().out == b"\x00\xff"
    assert typed("cat", "visits/model") == 1
    assert b"visits/model holds fitted estimators, which have no text" in capfdbinary.readouterr().err


def test_cat_answers_in_sentences(ask: Ask) -> None:
    assert "has no column 'x' in branch main; it has visit, minutes, paid" in ask(
        "cat", CLEANED, "--columns", "x", code=1
    )
    assert "shows nothing of 'visits/cleaned2'" in ask("cat", "visits/cleaned2", code=1)
    assert "shows no batch '9' of visits/cleaned" in ask("cat", f"{CLEANED}[9]", code=1)


def test_no_value_commands_the_terminal(store: Store, ask: Ask) -> None:
    odd = pa.table({"visit": ["v1", "v2"], "minutes": [1.5, 2.0], "note": ["\x1b[31mred", "x\u202ey\tz"]})
    store.commit("main", "visits/raw/notes", "2024-01-01", "table", odd)
    assert ask("cat", "visits/raw/notes").splitlines()[1:3] == [
        r"v1     1.5      \x1b[31mred",
        r"v2     2        x\u202ey\tz",
    ]
    changed = odd.set_column(2, "note", pa.array(["\x1b]0;title\x07", "x\u202ey\tz"]))
    tag(store, "v2", "visits", "main", message="with notes")
    store.commit("main", "visits/raw/notes", "2024-01-01", "table", changed)
    told = ask("diff", "v2", "main", "--rows", "--key", "visit", "--asset", "visits/raw/notes")
    assert r"\x1b[31mred" in told
    assert r"\x1b]0;title\x07" in told
    assert not {"\x1b", "\x07", "\u202e"} & set(told)
