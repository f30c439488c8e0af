"""What MLflow is told of a training: one tracking run with its settings, metrics, data versions, files and model.

What belongs here: the one resource through which MLflow is written, by way of dagster-mlflow. What does not: any
decision; MLflow is a view of what the store records, and losing it loses nothing. MLflow and dagster-mlflow cost
seconds to import, so both are imported by the first run that is tracked, never when the graph is loaded. Models are
kept as the bytes the store has, and are never loaded through MLflow, which believes what a model says of itself.
"""

import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import dagster as dg

from mlops_assets.errors import UserError
from mlops_assets.home import Home

# MLflow keeps no more of a dataset's digest than this (36 characters is its limit); 32 hexadecimal digits are 128 bits.
DIGEST = 32

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DatasetVersion:
    """One version that a run stands on: ``name`` is asset and batch, ``role`` for instance train, validation, test."""

    name: str
    version: str
    path: Path
    role: str

    @property
    def digest(self) -> str:
        """The first 128 bits of the data version, without the name of its algorithm."""
        return self.version.rpartition(":")[2][:DIGEST]


@dataclass(frozen=True)
class LoggedModel:
    """A model as MLflow knows it; ``version`` is the registry's own number, absent when it was not registered."""

    id: str
    uri: str
    version: str | None


class TrackedRun:
    """A run that is being written; only ``Tracking.run`` makes one."""

    def __init__(self, mlflow: Any, run_id: str, link: str) -> None:
        self._mlflow = mlflow
        self.id = run_id
        self.link = link

    def params(self, values: Mapping[str, object]) -> None:
        """Settings, each logged as text; a setting cannot be logged twice with different values."""
        self._mlflow.log_params({name: str(value) for name, value in values.items()})

    def metrics(self, values: Mapping[str, float | None], step: int = 0) -> None:
        """Numbers; those that are missing (None) are left out."""
        self._mlflow.log_metrics({k: float(v) for k, v in values.items() if v is not None}, step=step)

    def tags(self, values: Mapping[str, str]) -> None:
        """Words to search for."""
        self._mlflow.set_tags(dict(values))

    def datasets(self, versions: Iterable[DatasetVersion]) -> None:
        """The exact data versions; of the data itself nothing is read, and MLflow's sampled digest is never used."""
        chosen = list(versions)
        if chosen:
            self._mlflow.log_inputs(
                datasets=[_metadata(one) for one in chosen],
                contexts=[one.role for one in chosen],
                tags_list=[{"version": one.version} for one in chosen],
            )

    def file(self, name: str, content: bytes | str) -> None:
        """One file among the run's artifacts; ``name`` may name folders, as in ``report/index.html``."""
        with _written({name: content}) as folder:
            self._mlflow.log_artifacts(str(folder))

    def model(
        self,
        name: str,
        files: Mapping[str, bytes],
        *,
        params: Mapping[str, object] | None = None,
        metrics: Mapping[str, float] | None = None,
        on: DatasetVersion | None = None,
        tags: Mapping[str, str] | None = None,
        register_as: str | None = None,
    ) -> LoggedModel:
        """The model's own files as a logged model of this run, registered if a name is given.

        Nothing is inferred from it: neither signature nor requirements. ``metrics`` are linked to the model, and with
        ``on`` to the data version they were measured on.
        """
        words = dict(tags or {})
        client = self._mlflow.tracking_client
        logged = client.create_logged_model(
            self._mlflow.experiment.experiment_id,
            name=name,
            source_run_id=self.id,
            tags=words,
            params={key: str(value) for key, value in (params or {}).items()},
        )
        with _written(files) as folder:
            client.log_model_artifacts(logged.model_id, str(folder))
        client.finalize_logged_model(logged.model_id, "READY")
        if metrics:
            linked = {"dataset": _metadata(on)} if on else {}
            self._mlflow.log_metrics(dict(metrics), run_id=self.id, model_id=logged.model_id, **linked)
        uri, version = f"models:/{logged.model_id}", None
        if register_as:
            version = str(self._register(register_as, uri, logged.model_id, words).version)
        return LoggedModel(id=logged.model_id, uri=uri, version=version)

    def _register(self, name: str, uri: str, model_id: str, tags: dict[str, str]) -> Any:
        from mlflow.exceptions import MlflowException

        client = self._mlflow.tracking_client
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return client.create_model_version(name, source=uri, run_id=self.id, tags=tags, model_id=model_id)


class Tracking(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Writes tracking runs to the MLflow of this home, or to the server that ``MLFLOW_TRACKING_URI`` names."""

    experiment: str

    @contextmanager
    def run(self, name: str, tags: Mapping[str, str] | None = None, dagster_run_id: str = "") -> Iterator[TrackedRun]:
        """One tracking run, which ends as its body does: finished, failed by any exception, or killed by an interrupt.

        It is always a run of its own: dagster-mlflow alone would write into whatever run the process has active, or
        into the one of the same Dagster run, and would call a failed run finished when the process ends.

        Raises:
            UserError: MLflow does not answer, or the process has another run active.
        """
        mlflow = self._begin(name, dict(tags or {}), dagster_run_id)
        status = "FAILED"
        try:
            yield TrackedRun(mlflow, mlflow.mlflow_run_id, self._link(mlflow))
            status = "FINISHED"
        except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
            status = "KILLED"
            raise
        finally:
            mlflow.end_run(status)

    def _begin(self, name: str, tags: dict[str, str], dagster_run_id: str) -> Any:
        home = Home.from_environment()
        home.apply()
        home.initialise_mlflow()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)  # all of dagster-mlflow is beta; its release is pinned
            import mlflow
            from dagster_mlflow.resources import MlFlow
            from mlflow.exceptions import MlflowException

            if active := mlflow.active_run():
                raise UserError(
                    f"this process is already writing the MLflow run {active.info.run_id}: call mlflow.end_run() "
                    f"before {name!r} is tracked."
                )
            mlflow.set_tracking_uri(home.mlflow_uri)
            try:
                experiment_id = self._experiment(mlflow, home)
                client = mlflow.MlflowClient(home.mlflow_uri)
                run = client.create_run(experiment_id, run_name=name, tags=tags)
                return MlFlow(  # type: ignore[no-untyped-call]
                    SimpleNamespace(
                        log=_log,
                        dagster_run=SimpleNamespace(job_name=name),
                        run_id=dagster_run_id,
                        resource_config={
                            "experiment_name": self.experiment,
                            "mlflow_tracking_uri": home.mlflow_uri,
                            "mlflow_run_id": run.info.run_id,
                        },
                    )
                )
            except MlflowException as error:
                raise UserError(
                    f"MLflow at {home.mlflow_uri} cannot be written ({str(error).splitlines()[0]}): start it, or unset "
                    f"MLFLOW_TRACKING_URI to use this home's own database."
                ) from error

    def _experiment(self, mlflow: Any, home: Home) -> str:
        """The experiment's id; a new one keeps its files in the home, where MLflow would take the working directory."""
        client = mlflow.MlflowClient(home.mlflow_uri)
        found = client.get_experiment_by_name(self.experiment)
        if found is None:
            own = home.mlflow_uri.startswith("sqlite:")
            place = home.mlflow_artifacts.as_uri() + f"/{self.experiment}" if own else None
            try:
                return str(client.create_experiment(self.experiment, artifact_location=place))
            except mlflow.exceptions.MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":  # somebody else made it just now
                    raise
                found = client.get_experiment_by_name(self.experiment)
        return str(found.experiment_id)

    def _link(self, mlflow: Any) -> str:
        """Where a person finds the run: an address, or the command that opens it."""
        place = f"#/experiments/{mlflow.experiment.experiment_id}/runs/{mlflow.mlflow_run_id}"
        uri = str(mlflow.tracking_uri)
        if uri.startswith("http"):
            return f"{uri.rstrip('/')}/{place}"
        return f"run `mlflow ui --backend-store-uri {uri}` and open http://127.0.0.1:5000/{place}"


def _metadata(version: DatasetVersion) -> Any:
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.data.sources import LocalArtifactDatasetSource  # type: ignore[attr-defined]

    source = LocalArtifactDatasetSource(version.path.as_uri())
    return MetaDataset(source, name=version.name, digest=version.digest)  # type: ignore[abstract]


@contextmanager
def _written(files: Mapping[str, bytes | str]) -> Iterator[Path]:
    """A folder with the files, gone afterwards: MLflow takes files, never bytes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in files.items():
            if PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts:
                raise ValueError(f"{file!r} names a place outside of the run's files")
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        yield folder
