"""The compiled form of a project: when it is made, where it is kept, and that making it reaches no network."""

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from mlops_assets.contract.load import load_contract
from mlops_assets.contract.model import Contract
from mlops_assets.dbtproject.cache import environment, sql_project
from mlops_assets.errors import ContractError
from mlops_assets_tests.datasets import write_contract, write_sql


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = write_contract(tmp_path / "data")
    write_sql(folder)
    return folder


@pytest.fixture
def compiled(dataset: Path, calls: list[str]) -> Contract:
    contract = load_contract(dataset)
    assert len(calls) == 1
    calls.clear()
    return contract


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands that this process starts."""
    found: list[str] = []
    run = subprocess.run

    def noted(command: list[str], **more: object) -> object:
        found.append(command[3])
        return run(command, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "run", noted)
    return found


def entries(dataset: Path) -> list[Path]:
    return sorted((dataset / "dbt" / "target" / "mlops_assets").glob("*"))


def test_a_project_is_compiled_once(compiled: Contract, dataset: Path, calls: list[str]) -> None:
    started = time.process_time()
    assert sql_project(compiled) == compiled.sql
    assert time.process_time() - started < 0.1
    assert calls == []
    assert len(entries(dataset)) == 1
    assert {path.name for path in (dataset / "dbt").iterdir()} == {
        "dbt_project.yml", "profiles.yml", "models", "macros", "tests", "target",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", ["dbt/macros/measured.sql", "dbt/models/cleaned.yml", "dbt/profiles.yml", "dataset.yaml"]
)
def test_what_is_compiled_follows_from_the_files_and_the_contract(
    compiled: Contract, dataset: Path, calls: list[str], change: str
) -> None:
    file = dataset / change
    text = file.read_text()
    file.write_text(text.replace("minimum: 0, maximum: 600", "minimum: 0") + "\n")
    assert load_contract(dataset).sql != compiled.sql or change == "dataset.yaml"
    # of the contract, names and types count; its rules are no part of any SQL
    assert len(calls) == (change != "dataset.yaml")
    file.write_text(text)
    calls.clear()
    assert load_contract(dataset).sql == compiled.sql
    assert calls == []


@pytest.mark.slow
def test_a_type_of_the_contract_counts(compiled: Contract, dataset: Path, calls: list[str]) -> None:
    contract = dataset / "dataset.yaml"
    contract.write_text(contract.read_text().replace("size: {type: float64, minimum: 0}", "size: {type: int64}"))
    with pytest.raises(ContractError, match=r"cleaned is not what the contract says: size is .* instead of BIGINT"):
        load_contract(dataset)
    assert len(calls) == 1
    assert len(entries(dataset)) == 1  # what was refused is tried again
    assert compiled.sql is not None


@pytest.mark.slow
def test_the_home_keeps_what_the_folder_cannot(
    dataset: Path, calls: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOPS_ASSETS_HOME", str(tmp_path / "home"))
    (dataset / "dbt" / "target").write_text("not a folder")
    first = load_contract(dataset)
    assert load_contract(dataset) == first
    assert len(calls) == 1
    assert len(list((tmp_path / "home" / "cache" / "dbt" / "visits").iterdir())) == 1


def test_a_dataset_without_dbt_starts_nothing(tmp_path: Path, calls: list[str]) -> None:
    assert load_contract(write_contract(tmp_path)).sql is None
    assert calls == []


def test_a_project_needs_a_profile(dataset: Path, calls: list[str]) -> None:
    (dataset / "dbt" / "profiles.yml").unlink()
    with pytest.raises(ContractError, match=r"dbt_project.yml:1: There is no profiles.yml"):
        load_contract(dataset)
    assert calls == []


@pytest.mark.slow
def test_several_processes_may_compile_at_once_and_none_imports_dbt_or_reaches_a_network(
    dataset: Path, tmp_path: Path
) -> None:
    guard = tmp_path / "guard"
    guard.mkdir()
    (guard / "sitecustomize.py").write_text(
        textwrap.dedent(f"""
            import sys

            def refuse(event, arguments):
                if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
                    with open({str(tmp_path / "reached")!r}, "a") as file:
                        print(event, arguments, file=file)
                    raise OSError("no network")

            sys.addaudithook(refuse)
            open({str(tmp_path / "guarded")!r}, "a").write("x")
        """)
    )
    code = (
        "import sys; from pathlib import Path; from mlops_assets.contract.load import load_contract;"
        f"print(load_contract(Path({str(dataset)!r})).sql.key, "
        "[name for name in ('dbt', 'dagster_dbt', 'duckdb', 'sqlglot', 'dagster', 'pyarrow') if name in sys.modules])"
    )
    package = str(Path(__file__).parents[2])
    shown = {**environment(), "PYTHONPATH": f"{guard}:{package}"}
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=shown, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    told = {process.communicate(timeout=300)[0] for process in started}
    assert [process.returncode for process in started] == [0, 0]
    (text,) = told
    assert text.endswith(" []\n")
    assert [path.name for path in entries(dataset)] == [f"{text.split()[0]}.json"]
    assert len((tmp_path / "guarded").read_text()) >= 4  # both, and the dbt of each
    assert not (tmp_path / "reached").exists()
