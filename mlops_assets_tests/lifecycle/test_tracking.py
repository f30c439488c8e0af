"""Tracking runs in a real MLflow database of a temporary home."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mlops_assets.errors import UserError
from mlops_assets.home import Home
from mlops_assets.lifecycle.tracking import DatasetVersion, LoggedModel, TrackedRun, Tracking

DECEMBER = DatasetVersion("shop/features[2013-12]", "b3:" + "0123456789abcdef" * 4, Path("/store/x.parquet"), "test")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    made = Home(root=tmp_path / "home", data=tmp_path / "data")
    for name in made.environment():
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "")  # set by MLflow itself and restored here
    monkeypatch.setenv("MLOPS_ASSETS_HOME", str(made.root))
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def tracking() -> Tracking:
    return Tracking(experiment="shop")


def client(home: Home) -> Any:
    import mlflow

    return mlflow.MlflowClient(home.mlflow_uri)


def logged(tracking: Tracking, **model: Any) -> tuple[TrackedRun, LoggedModel]:
    with tracking.run("release 2013-12", {"semver": "1.2.0"}, "dagster-1") as run:
        run.params({"max_iter": 200, "kind": "boosted_trees"})
        run.metrics({"roc_auc": 0.7, "absent": None})
        run.tags({"champion": "1.1.0"})
        run.datasets([DECEMBER])
        run.datasets([])
        run.file("report/index.html", "<html>")
        return run, run.model("shop", {"model.skops": b"bytes"}, metrics={"roc_auc": 0.7}, on=DECEMBER, **model)


def test_a_run_holds_what_was_logged(tracking: Tracking, home: Home) -> None:
    run, _ = logged(tracking)

    found = client(home).get_run(run.id)
    assert (found.info.run_name, found.info.status) == ("release 2013-12", "FINISHED")
    assert found.data.params == {"max_iter": "200", "kind": "boosted_trees"}
    assert found.data.metrics == {"roc_auc": 0.7}
    assert {k: v for k, v in found.data.tags.items() if not k.startswith("mlflow.")} == {
        "semver": "1.2.0",
        "champion": "1.1.0",
        "dagster_run_id": "dagster-1",
    }
    assert [path.path for path in client(home).list_artifacts(run.id)] == ["report"]
    (dataset,) = found.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == (DECEMBER.name, "0123456789abcdef" * 2)
    assert {tag.key: tag.value for tag in dataset.tags} == {"version": DECEMBER.version, "mlflow.data.context": "test"}


def test_a_model_is_kept_as_its_own_bytes_with_its_metric_and_data(tracking: Tracking, home: Home) -> None:
    run, model = logged(tracking, params={"depth": 3}, tags={"digest": "b3:1"})

    found = client(home).get_logged_model(model.id)
    assert (found.name, str(found.status), found.source_run_id) == ("shop", "READY", run.id)
    assert (found.params, found.tags["digest"]) == ({"depth": "3"}, "b3:1")
    assert [(m.key, m.value, m.dataset_name, m.dataset_digest) for m in found.metrics] == [
        ("roc_auc", 0.7, DECEMBER.name, DECEMBER.digest)
    ]
    assert [path.read_bytes() for path in home.mlflow_artifacts.rglob("model.skops")] == [b"bytes"]
    assert model.version is None
    assert not (Path.cwd() / "mlruns").exists()


def test_registering_counts_versions_and_keeps_the_tags(tracking: Tracking, home: Home) -> None:
    models = [logged(tracking, register_as="shop", tags={"semver": f"1.{i}.0"})[1] for i in range(2)]

    assert [model.version for model in models] == ["1", "2"]
    found = client(home).get_model_version("shop", "2")
    assert (found.tags, found.source) == ({"semver": "1.1.0"}, models[1].uri)


@pytest.mark.parametrize(
    ("error", "status"),
    [(ZeroDivisionError(), "FAILED"), (dg.Failure("refused"), "FAILED"), (KeyboardInterrupt(), "KILLED")],
)
def test_a_run_ends_as_its_body_does_and_leaks_nothing(
    tracking: Tracking, home: Home, error: BaseException, status: str
) -> None:
    import mlflow

    def track() -> None:
        with tracking.run("broken") as run:
            ids.append(run.id)
            raise error

    ids: list[str] = []
    with pytest.raises(type(error)):
        track()

    assert mlflow.active_run() is None
    with tracking.run("next") as run:
        ids.append(run.id)
    assert [client(home).get_run(one).info.status for one in ids] == [status, "FINISHED"]
    assert len(set(ids)) == 2


def test_two_runs_of_one_dagster_run_stay_two(tracking: Tracking, home: Home) -> None:
    for number in range(2):
        with tracking.run(f"release {number}", dagster_run_id="the same") as run:
            run.params({"number": number})  # the same setting with another value would be refused within one run
    names = {run.info.run_name for run in client(home).search_runs([client(home).get_run(run.id).info.experiment_id])}
    assert names == {"release 0", "release 1"}


def test_another_active_run_is_not_written_into(tracking: Tracking, home: Home) -> None:
    import mlflow

    home.initialise_mlflow()
    mlflow.set_tracking_uri(home.mlflow_uri)
    with mlflow.start_run(experiment_id=client(home).create_experiment("theirs")) as other:
        sentence = f"already writing the MLflow run {other.info.run_id}: call mlflow.end_run"
        with pytest.raises(UserError, match=sentence), tracking.run("mine"):
            pass


def test_a_person_is_told_where_to_look(tracking: Tracking, home: Home) -> None:
    with tracking.run("x") as run:
        pass
    assert run.link == (
        f"run `mlflow ui --backend-store-uri {home.mlflow_uri}` and open "
        f"http://127.0.0.1:5000/#/experiments/1/runs/{run.id}"
    )


def test_an_mlflow_that_does_not_answer_is_a_sentence(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    sentence = r"^MLflow at http://127.0.0.1:9 cannot be written \(.*\): start it, or unset"
    with pytest.raises(UserError, match=sentence), tracking.run("x"):
        pass


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd"])
def test_files_stay_inside_the_run(tracking: Tracking, name: str) -> None:
    with pytest.raises(ValueError, match="names a place outside of the run's files"), tracking.run("x") as run:
        run.file(name, b"")


def test_the_resource_works_in_an_asset(tracking: Tracking, home: Home) -> None:
    @dg.asset
    def model(context: dg.AssetExecutionContext, tracking: Tracking) -> dg.MaterializeResult[Any]:
        with tracking.run("model", dagster_run_id=context.run.run_id) as run:
            run.params({"depth": 3})
        return dg.MaterializeResult(metadata={"mlflow_run": run.id})

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([model], resources={"tracking": tracking}, instance=instance)

    (materialization,) = result.asset_materializations_for_node("model")
    run_id = materialization.metadata["mlflow_run"].value
    assert client(home).get_run(run_id).data.tags["dagster_run_id"] == result.run_id


def test_importing_it_imports_no_mlflow() -> None:
    code = "import sys, mlops_assets.lifecycle.tracking; sys.exit('mlflow' in sys.modules or 'pandas' in sys.modules)"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
