"""What people type: words, exit codes, and what is printed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mlops_assets.cli import main
from mlops_assets_tests.assets.shop import BATCH, DAYS, NEWEST, RELEASE, Shop
from mlops_assets_tests.datasets import deliver_days, write_contract

# Whoever only asks must not wait for libraries.
HEAVY = ("dagster", "pyarrow", "numpy", "pandas", "sqlalchemy", "sklearn", "mlflow")

SUPPLIER = """\
def deliver(landing, through):
    landing.mkdir(exist_ok=True)
    paths = [landing / f"visits_2024-01-0{n}.csv" for n in (1, 2, 3) if through is None or f"2024-01-0{n}" <= through]
    for path in paths:
        path.write_text("visit,day,shop,minutes,pages,paid\\\\n")
    return paths
"""


def test_progress_is_a_line_for_each_outcome(built: Shop) -> None:
    lines = (built.home.root.parent / "said.txt").read_text().splitlines()
    assert lines[0] == "computed visits/raw/shops, 3 rows"
    assert lines[1:6] == [
        f"computed visits/{stage} [{DAYS[0]}], {0 if stage == 'quarantine' else 100} rows" for stage in BATCH
    ]
    assert [f"computed visits/{stage} [{NEWEST}]" for stage in RELEASE] == lines[21:25]
    summary = next(line for line in lines if line.startswith("visits: "))
    assert summary.startswith("visits: 25 computed, 0 reused or current, 0 audited again, 0 refused, ")
    assert f"Report: {built.home.reports / 'visits' / NEWEST / 'report.html'}" in lines
    assert lines[-1].startswith("Next: mlops-assets status visits | ")


def test_nothing_to_do_is_said_in_a_line(built: Shop) -> None:
    done = built.called("run", "visits")
    assert done.code == 0
    assert done.text.startswith("visits: nothing to do, 25 versions are current (")


@pytest.mark.parametrize("words", [("run", "visits"), ("run",), ("status", "visits"), ("why-stale", "visits")])
def test_asking_imports_nothing_heavy(built: Shop, words: tuple[str, ...]) -> None:
    code = f"""
import sys
from mlops_assets.cli import main
code = main({list(words)!r})
print(code, *[name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=built.environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1] == "0", done.stdout + done.stderr


def test_a_run_before_anything_was_delivered(tmp_path: Path) -> None:
    write_contract(tmp_path / "data")
    done = Shop.in_folder(tmp_path).called("run")
    assert done.code == 1
    assert "- visits/raw/shops: nothing was delivered; " in done.text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run", "visit"], "There is no dataset 'visit' in "),
        (["status", "visit"], "; there is: visits."),
        (["run", "visits", "--select", "model"], "visits has no stage 'model'; it has: raw/visits, raw/shops,"),
        (["run", "visits", "--partition", "2024"], "'2024' is not a day; write it like 2013-03-09."),
        (["run", "visits", "--from", "2024-02-30"], "'2024-02-30' does not exist in the calendar"),
        (["run", "visits", "--to", "yesterday"], "'yesterday' is not a day"),
        (["run", "visits", "--release", "2023-12-31"], "'2023-12-31' is before the first batch, '2024-01-01'"),
        (["run", "visits", "--partition", "2024-01-09"], "visits/raw/visits [2024-01-09]: nothing was delivered; "),
        (["run", "visits", "--release", "2024-01-09"], "has no accepted rows of its own batch; bring batch 2024-"),
        (["deliver", "visits"], "no `supplier` is named, so there is nothing to play; put files into "),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_a_sentence(built: Shop, words: list[str], sentence: str) -> None:
    done = built.called(*words)
    assert done.code == 1
    assert sentence in done.text
    assert "Traceback" not in done.text


def test_a_word_that_is_no_command_is_asked_wrongly(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["rum"])
    assert raised.value.code == 2
    assert "invalid choice: 'rum'" in capsys.readouterr().err


def test_a_data_folder_without_datasets(tmp_path: Path) -> None:
    done = Shop.in_folder(tmp_path).called("run")
    assert done.code == 1
    assert done.text == f"{tmp_path / 'data'} holds no dataset: no folder in it has a dataset.yaml.\n"


def test_a_mistake_in_the_contract(shop: Shop) -> None:
    shop.change("cadence: daily", "cadence: dayly")
    done = shop.called("run")
    assert done.code == 1
    assert done.text.startswith(f"{shop.contract}:3: ")


def test_from_and_to(shop: Shop) -> None:
    shop.change("bootstrap: 20", "bootstrap: 21")
    shop.change("maximum: 600", "maximum: 601")
    done = shop.called("run", "visits", "--from", DAYS[1], "--to", DAYS[2], "--select", "raw/visits")
    assert done.code == 0
    assert [line for line in done.text.splitlines() if line.startswith("computed")] == [
        f"computed visits/raw/visits [{day}], 100 rows" for day in DAYS[1:3]
    ]


def test_an_earlier_release_when_asked_for(shop: Shop) -> None:
    done = shop.called("run", "visits", "--release", DAYS[2], "--select", "candidate_model")
    assert done.code == 0, done.text
    assert f"computed visits/candidate_model [{DAYS[2]}]" in done.text
    assert set(shop.heads()["visits/candidate_model"]) == {DAYS[2], NEWEST}
    assert "Report: " not in done.text  # there is one of the newest, which is not what was asked for
    done = shop.called("run", "visits", "--release", DAYS[2])
    assert f"Report: {shop.home.reports / 'visits' / DAYS[2] / 'report.html'}" in done.text.splitlines()


def test_the_report_of_what_another_branch_made(shop: Shop) -> None:
    """Nothing is made again on the branch, and what it shows has a report there all the same."""
    assert shop.called("branch", "dev").code == 0
    branch = Shop.in_folder(shop.home.root.parent, "dev")
    report = branch.home.reports / "visits" / NEWEST / "report.html"
    assert report != shop.home.reports / "visits" / NEWEST / "report.html"
    done = branch.called("run", "visits")
    assert "nothing to do" in done.text
    assert f"Report: {report}" in done.text.splitlines()
    assert report.read_bytes() == (shop.home.reports / "visits" / NEWEST / "report.html").read_bytes()


def test_the_exports_work_in_a_shell(tmp_path: Path) -> None:
    shop = Shop.in_folder(tmp_path / "a folder's")
    shop.home.data.mkdir(parents=True)
    printed = shop.called("env")
    assert printed.code == 0
    show = "import json, os; print(json.dumps(dict(os.environ)))"
    done = subprocess.run(
        ["/bin/sh", "-c", f"eval \"$EXPORTS\"; exec {sys.executable} -c '{show}'"],
        env={"EXPORTS": printed.text, "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    expected = shop.home.environment() | {"OMP_NUM_THREADS": "1"}  # it was set before
    assert {name: found[name] for name in expected} == expected
    assert (Path(found["DAGSTER_HOME"]) / "dagster.yaml").is_file()


def test_the_supplier_is_played(tmp_path: Path) -> None:
    folder = write_contract(tmp_path / "data", **{"owners: [team:shop]": "supplier: supplier.py"})
    (folder / "supplier.py").write_text(SUPPLIER)
    shop = Shop.in_folder(tmp_path)
    done = shop.called("deliver", "visits", "--through", DAYS[1])
    assert (done.code, done.text) == (0, f"visits: 2 files delivered into {folder / 'landing'}.\n")
    assert sorted(path.name for path in (folder / "landing").iterdir()) == [f"visits_{day}.csv" for day in DAYS[:2]]
    assert shop.called("deliver", "visits", "--if-empty").text == ""
    assert shop.called("deliver", "visits").text.startswith("visits: 3 files")


def written_to(built: Shop, command: str, to: str) -> tuple[int, str]:
    """Exit code of a command whose output goes to something, and what it says of that."""
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} {command} {to}"],
        env={name: value for name, value in built.environment.items() if name != "PYTHONUNBUFFERED"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", ["status", "branches", "log --json"])
def test_a_closed_pipe_is_nothing_to_speak_of(built: Shop, command: str) -> None:
    assert written_to(built, f"-m mlops_assets.cli {command}", "| (exec 0<&-; sleep 4)") == (1, "")


@pytest.mark.parametrize("command", ["status", "branches", "log --json"])
def test_what_a_full_disk_does_not_take_is_told(built: Shop, command: str) -> None:
    said = "{}: No space left on device. Mend that, and run it again.\n"
    held_back, at_once = said.format("The output"), said.format("The output, or a file that was to be written")
    assert written_to(built, f"-u -m mlops_assets.cli {command}", "> /dev/full") == (1, at_once)
    # what is long goes out before the end
    assert written_to(built, f"-m mlops_assets.cli {command}", "> /dev/full") in {(1, held_back), (1, at_once)}


def test_another_branch_has_heads_of_its_own(tmp_path: Path) -> None:
    deliver_days(write_contract(tmp_path / "data"), range(1), rows=20)
    branch = Shop.in_folder(tmp_path, "experiment")
    done = branch.called("run", "visits", "--partition", DAYS[0])
    assert done.code == 0, done.text
    assert set(branch.heads()) == {"visits/raw/shops", *(f"visits/{stage}" for stage in BATCH)}
    assert Shop.in_folder(tmp_path).heads() == {}
    assert branch.called("status").text.startswith("visits on branch experiment\n")
