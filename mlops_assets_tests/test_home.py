"""A home from the environment, and its first start by several processes at once."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from mlops_assets import home as module
from mlops_assets.errors import UserError
from mlops_assets.home import Home

VARIABLES = list(Home(Path("/h"), Path("/d")).environment())


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is set at first, and whatever a test sets is gone after it."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(root=tmp_path / "home", data=tmp_path / "data")


def started(code: str, home: Home, count: int) -> list[subprocess.CompletedProcess[str]]:
    """Runs the code in several processes of the home, which begin within the same instant."""
    begin = home.root.parent / "begin"
    wait = f"import pathlib, time\nwhile not pathlib.Path({str(begin)!r}).exists(): time.sleep(0.001)\n"
    environment = {
        **os.environ,
        "MLOPS_ASSETS_HOME": str(home.root),
        "PYTHONWARNINGS": "ignore",
        "OMP_NUM_THREADS": "1",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", wait + code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for _ in range(count)
    ]
    begin.touch()
    results = []
    for process in processes:
        output, errors = process.communicate(timeout=120)
        results.append(subprocess.CompletedProcess([], process.returncode, output, errors))
    return results


def test_the_defaults_are_folders_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    home = Home.from_environment()

    assert home == Home(root=tmp_path / ".mlops", data=tmp_path / "data", branch="main")
    assert home.store == str(tmp_path / ".mlops" / "store")
    assert home.dagster == tmp_path / ".mlops" / "dagster"
    assert home.mlflow_uri == f"sqlite:///{tmp_path}/.mlops/mlflow/mlflow.db"


def test_variables_name_other_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLOPS_ASSETS_HOME", "made")
    monkeypatch.setenv("MLOPS_ASSETS_DATA", "/srv/data")
    monkeypatch.setenv("MLOPS_ASSETS_BRANCH", "nightly")
    monkeypatch.setenv("DAGSTER_HOME", "/srv/dagster")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example")
    monkeypatch.setenv("MLOPS_ASSETS_STORE", "s3://versions/team")

    home = Home.from_environment()

    assert (home.root, home.data, home.branch) == (tmp_path / "made", Path("/srv/data"), "nightly")
    assert (home.dagster, home.mlflow_uri) == (Path("/srv/dagster"), "https://mlflow.example")
    assert home.store == home.environment()["MLOPS_ASSETS_STORE"] == "s3://versions/team"
    monkeypatch.setenv("MLOPS_ASSETS_STORE", "shared")
    assert Home.from_environment().store == str(tmp_path / "shared")


def test_applying_keeps_what_is_set_and_makes_folders_absolute(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("DAGSTER_HOME", "relative")

    home.apply()

    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert os.environ["OMP_WAIT_POLICY"] == "passive"
    assert os.environ["DAGSTER_HOME"] == str(home.dagster)
    assert Home.from_environment().root == home.root


def test_telemetry_is_off_in_every_library_that_has_it(home: Home) -> None:
    code = """
import json, mlflow.telemetry.utils as m, mlflow.environment_variables as e
import dagster._core.telemetry_upload as d
print(json.dumps([bool(m.is_telemetry_disabled()), e.MLFLOW_MODEL_CATALOG_URI.get(), d.is_running_in_test()]))
"""
    quiet = {name: value for name, value in os.environ.items() if not name.startswith(("CI", "GITHUB", "PYTEST"))}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**quiet, **home.environment()},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)[:2] == [True, ""]


def test_folders_are_made_once_and_asking_again_is_quick(home: Home) -> None:
    home.initialise()
    assert home.reports.is_dir()
    assert home.unreported.is_dir()

    begin = time.perf_counter()
    for _ in range(100):
        home.initialise()
    assert time.perf_counter() - begin < 0.1  # 1 ms each


def test_a_newer_home_is_refused(home: Home) -> None:
    home.root.mkdir()
    (home.root / ".initialised").write_text("2")
    with pytest.raises(UserError, match=r"made by a newer mlops_assets \(format 2; this one knows 1\): install"):
        home.initialise()


def test_a_home_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/home cannot be prepared \(Not a directory\): make it writable, or set"):
        Home(root=tmp_path / "file" / "home", data=tmp_path).initialise()


def test_four_processes_start_on_a_fresh_home_at_once(home: Home) -> None:
    code = """
from mlops_assets.home import Home
home = Home.from_environment()
home.initialise_dagster()
home.initialise_mlflow()
import dagster as dg
with dg.DagsterInstance.get() as instance:
    for number in range(10):
        instance.report_runless_asset_event(dg.AssetMaterialization("a", partition=str(number)))
    print(type(instance.event_log_storage).__name__, type(instance.run_storage).__name__)
"""
    results = started(code, home, 4)

    assert [(r.returncode, r.stdout.strip(), r.stderr) for r in results] == [(0, "EventLog RunLog", "")] * 4
    with closing(sqlite3.connect(home.dagster / "event_log.db")) as database:
        assert database.execute("SELECT count(*) FROM event_logs").fetchone() == (40,)
        assert database.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
    assert module._revision(home.mlflow_database) == module._mlflow_head()
    assert not [path for path in home.mlflow.iterdir() if path.name.startswith("tmp")]


def test_nothing_is_imported_when_there_is_nothing_to_do(home: Home) -> None:
    home.initialise_dagster()
    home.initialise_mlflow()
    code = """
import sys
from mlops_assets.home import Home
home = Home.from_environment()
home.initialise_dagster()
home.initialise_mlflow()
print(sorted({name.partition(".")[0] for name in sys.modules} & {"dagster", "mlflow", "sqlalchemy", "pandas", "yaml"}))
"""
    assert [result.stdout for result in started(code, home, 1)] == ["[]\n"]


def test_somebody_elses_dagster_yaml_is_left_alone(home: Home) -> None:
    import dagster as dg

    home.dagster.mkdir(parents=True)
    text = "telemetry: {enabled: false}\n"
    (home.dagster / "dagster.yaml").write_text(text)

    home.initialise_dagster()

    assert (home.dagster / "dagster.yaml").read_text() == text
    with dg.DagsterInstance.get() as instance:
        assert type(instance.run_storage).__name__ == "SqliteRunStorage"
    assert list(home.dagster.rglob("runs.db"))


def test_a_tracking_server_is_left_alone(tmp_path: Path) -> None:
    home = Home(root=tmp_path, data=tmp_path, tracking_uri="https://mlflow.example")
    home.initialise_mlflow()
    assert not home.mlflow.exists()


def test_a_lost_mlflow_database_is_made_again(home: Home) -> None:
    home.initialise_mlflow()
    home.mlflow_database.unlink()
    home.initialise_mlflow()
    assert module._revision(home.mlflow_database) == module._mlflow_head()


def test_the_head_read_from_the_migrations_is_mlflows_own() -> None:
    from mlflow.store.db.utils import _get_latest_schema_revision

    assert module._mlflow_head() == _get_latest_schema_revision()  # type: ignore[no-untyped-call]


def test_versions_are_those_that_are_installed() -> None:
    from importlib.metadata import version

    assert module._version("dagster") == version("dagster")
    assert module._version("mlflow") == version("mlflow")


@pytest.mark.slow
def test_an_mlflow_database_that_cannot_be_migrated_is_kept_and_said(home: Home) -> None:
    home.initialise_mlflow()
    (home.mlflow / ".initialised").write_text("1 mlflow 0.0.0")
    with closing(sqlite3.connect(home.mlflow_database)) as database:
        head = database.execute("SELECT version_num FROM alembic_version").fetchone()[0]
        database.execute("UPDATE alembic_version SET version_num = 'unheard_of'")
        database.commit()
    with pytest.raises(UserError, match=r"MLflow could not migrate .*unheard_of"):
        home.initialise_mlflow()

    assert (home.mlflow / "mlflow.db.unheard_of").exists()
    assert module._mlflow_head() == head
