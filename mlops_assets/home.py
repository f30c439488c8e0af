"""Where a project keeps what it made, and the environment its processes share.

What belongs here: the settings read from environment variables, the folders of one home, the variables our processes
set for the libraries they use, and the first initialisation of every database, once, whoever starts first. What does
not: anything that reads or writes data, models or events. Asking for a home must cost nothing, so that little is
imported at the top; Dagster and MLflow are started only when there is something to create.
"""

import fcntl
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlops_assets.errors import UserError
from mlops_assets.store.names import segment

# Raised when a home written by this release cannot be used by an older one; a newer home is refused with a sentence.
FORMAT = 1

# Opens the dagster.yaml that we write; whoever brings another one keeps it and its storages.
OURS = "# Written by mlops_assets"

DAGSTER_YAML = f"""{OURS} when this home was made; yours to change.
telemetry: {{enabled: false}}
nux: {{enabled: false}}

# SQLite storages that keep their database engine: several times cheaper than the stock ones. DAGSTER_HOME names the
# folder, so that a home can be moved.
run_storage:
  module: mlops_assets.assets.dagster_private
  class: RunLog
  config: {{base_dir: {{env: DAGSTER_HOME}}}}
event_log_storage:
  module: mlops_assets.assets.dagster_private
  class: EventLog
  config: {{base_dir: {{env: DAGSTER_HOME}}}}
schedule_storage:
  module: mlops_assets.assets.dagster_private
  class: ScheduleLog
  config: {{base_dir: {{env: DAGSTER_HOME}}}}

# The sensor `janitor` reports runs whose process is gone. Dagster's own monitoring is for what it cannot know of: runs
# of other machines, and a process that neither ends nor gets on. A run whose process was killed is tried once more,
# unless a sensor of ours asked for it, which asks again itself; one that a check or a bug ended would only fail again.
run_monitoring:
  enabled: true
  poll_interval_seconds: 30
  cancel_timeout_seconds: 60
  max_runtime_seconds: 86400
  free_slots_after_run_end_seconds: 60
run_retries: {{enabled: true, max_retries: 1, retry_on_asset_or_op_failure: false}}
concurrency: {{runs: {{max_concurrent_runs: 4}}}}
retention:
  sensor: {{purge_after_days: {{skipped: 1, success: 30, failure: 90, started: 7}}}}
  schedule: {{purge_after_days: {{skipped: 7, success: 30, failure: 90, started: 7}}}}
"""

# lockf excludes processes, not threads. Re-entrant, because a home's lock is held while the template's is taken.
_process = threading.RLock()


@dataclass(frozen=True)
class Home:
    """One project's folders and names.

    ``root`` holds everything that was made (store, reports, databases), ``data`` the dataset folders, ``branch`` the
    name under which heads are moved. ``dagster_home``, ``tracking_uri`` and ``store_place`` are set when somebody
    else's Dagster home, MLflow server or store (a folder, or a URL such as ``s3://bucket/prefix``) is used instead of
    those under ``root``. All paths are absolute.
    """

    root: Path
    data: Path
    branch: str = "main"
    dagster_home: Path | None = None
    tracking_uri: str | None = None
    store_place: str | None = None

    @classmethod
    def from_environment(cls) -> "Home":
        """The home that ``MLOPS_ASSETS_HOME``, ``_DATA`` and ``_BRANCH`` name, by default of the working directory.

        ``MLOPS_ASSETS_STORE``, ``DAGSTER_HOME`` and ``MLFLOW_TRACKING_URI`` are respected when set.
        """
        dagster_home = os.environ.get("DAGSTER_HOME")
        store = os.environ.get("MLOPS_ASSETS_STORE")
        return cls(
            root=Path(os.environ.get("MLOPS_ASSETS_HOME") or ".mlops").absolute(),
            data=Path(os.environ.get("MLOPS_ASSETS_DATA") or "data").absolute(),
            branch=os.environ.get("MLOPS_ASSETS_BRANCH") or "main",
            dagster_home=Path(dagster_home).absolute() if dagster_home else None,
            tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or None,
            store_place=str(Path(store).absolute()) if store and "://" not in store else store or None,
        )

    @property
    def store(self) -> str:
        """The place of the content-addressed store, the only one here that cannot be made again from the others."""
        return self.store_place or str(self.root / "store")

    @property
    def dagster(self) -> Path:
        """The Dagster home: ``dagster.yaml`` and its databases.

        Every branch has its own: what a run plans is recorded by Dagster itself, and would show on the status of main.
        """
        return self.dagster_home or self.root / f"dagster{self._of_branch}"

    @property
    def dagster_is_made(self) -> bool:
        """Whether the Dagster home was prepared; a new one knows nothing of what is in the store."""
        return (self.dagster / ".initialised").exists()

    @property
    def mlflow(self) -> Path:
        """The folder of MLflow's database and artifacts."""
        return self.root / "mlflow"

    @property
    def mlflow_database(self) -> Path:
        """MLflow's SQLite file, used unless a tracking URI was given."""
        return self.mlflow / "mlflow.db"

    @property
    def mlflow_uri(self) -> str:
        """Where MLflow keeps runs and registered models."""
        return self.tracking_uri or f"sqlite:///{self.mlflow_database}"

    @property
    def mlflow_artifacts(self) -> Path:
        """Where MLflow keeps files; a tracking server of its own decides for itself."""
        return self.mlflow / "artifacts"

    @property
    def reports(self) -> Path:
        """Reports for people, made again at will from the store; those of one branch never hide another's."""
        return self.root / f"reports{self._of_branch}"

    @property
    def online(self) -> Path:
        """The past of each entity as serving looks it up, a file for each dataset and branch; made from the store."""
        return self.root / "online"

    @property
    def _of_branch(self) -> str:
        """What the folders of a branch other than main end in, without the ``%`` that a database's URL would decode."""
        return "" if self.branch == "main" else f"-{segment(self.branch).replace('%', '~')}"

    @property
    def cache(self) -> Path:
        """What costs time to find out again, and nothing else to lose."""
        return self.root / "cache"

    @property
    def unreported(self) -> Path:
        """Marks of what was published in the store and not yet told to Dagster."""
        return self.root / "unreported"

    @property
    def failures(self) -> Path:
        """A readable record of each of the newest failed runs."""
        return self.root / "failures"

    def environment(self) -> dict[str, str]:
        """The variables our processes run with, beside those that are set already (see ``apply``).

        OpenMP threads that spin while they wait cost ten times the work on a busy machine, hence ``OMP_WAIT_POLICY``.
        Nothing is reported to anybody: telemetry is off in every library that has it.
        """
        return {
            **self._places(),
            "MLFLOW_TRACKING_URI": self.mlflow_uri,
            "OMP_WAIT_POLICY": "passive",
            "OMP_NUM_THREADS": str(len(os.sched_getaffinity(0))),
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            "DAGSTER_EVENT_BATCH_SIZE": "500",  # what a run plans is written in one transaction
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_MODEL_CATALOG_URI": "",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # by default a server that is down is asked for four minutes
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "GX_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "true",
        }

    def apply(self) -> None:
        """Sets this process's environment, before any of the libraries is imported.

        What somebody has set stays, except that the names of our folders become absolute: a child may run elsewhere.
        """
        os.environ.update(self._places())
        for name, value in self.environment().items():
            os.environ.setdefault(name, value)

    def _places(self) -> dict[str, str]:
        store = {"MLOPS_ASSETS_STORE": self.store_place} if self.store_place else {}
        return store | {
            "MLOPS_ASSETS_HOME": str(self.root),
            "MLOPS_ASSETS_DATA": str(self.data),
            "MLOPS_ASSETS_BRANCH": self.branch,
            "DAGSTER_HOME": str(self.dagster),
        }

    def initialise(self) -> None:
        """Makes the folders of this home, once.

        Raises:
            UserError: the home cannot be written, or was made by a newer release.
        """
        found = _text(self.root / ".initialised").partition(" ")[0]
        if found.isdigit() and int(found) > FORMAT:
            raise UserError(
                f"{self.root} was made by a newer mlops_assets (format {found}; this one knows {FORMAT}): "
                f"install that release, or set MLOPS_ASSETS_HOME to another folder."
            )
        _once(self.root, str(FORMAT), [self.reports, self.unreported], self._make_folders)

    def initialise_dagster(self) -> None:
        """Makes the Dagster home and its databases, once, also when many processes start at the same time.

        A ``dagster.yaml`` that is there already is left alone; its databases are opened once before anybody else does.
        Calls ``apply``: the file names its folder by ``DAGSTER_HOME``. Dagster is imported only if something is made.
        """
        self.initialise()
        self.apply()
        needed = [self.dagster / "dagster.yaml"]
        _once(self.dagster, f"{FORMAT} dagster {_version('dagster')}", needed, self._make_dagster)

    def initialise_mlflow(self) -> None:
        """Makes MLflow's database, once, by copying one that MLflow has migrated; a server's is not touched.

        An older database is copied beside itself and then migrated. MLflow itself is never imported in this process.

        Raises:
            UserError: the database belongs to another release of MLflow and cannot be brought to this one.
        """
        self.initialise()
        if self.tracking_uri not in {None, f"sqlite:///{self.mlflow_database}"}:
            return
        version = _version("mlflow")
        _once(self.mlflow, f"{FORMAT} mlflow {version}", [self.mlflow_database], lambda: self._make_mlflow(version))

    def _make_folders(self) -> None:
        for folder in (self.reports, self.unreported):
            folder.mkdir(exist_ok=True)

    def _make_dagster(self) -> None:
        configuration = self.dagster / "dagster.yaml"
        if not configuration.exists():
            _write(configuration, DAGSTER_YAML)
        import dagster as dg

        with dg.DagsterInstance.from_config(str(self.dagster)) as instance:
            if _text(configuration).startswith(OURS):
                instance.upgrade()

    def _make_mlflow(self, version: str) -> None:
        self.mlflow_artifacts.mkdir(exist_ok=True)
        database, head = self.mlflow_database, _mlflow_head()
        found = _revision(database) if database.exists() else None
        if not database.exists():
            _copy(_mlflow_template(version, head, fallback=self.mlflow), database)
        elif found != head:
            import shutil

            kept = database.with_name(f"{database.name}.{found or 'unknown'}")
            shutil.copy2(database, kept)
            _migrate(database)
            if _revision(database) != head:
                raise UserError(
                    f"{database} could not be migrated to MLflow {version} (it stands at {_revision(database)}, not "
                    f"{head}); a copy of what it was is {kept}."
                )


def _once(folder: Path, stamp: str, needed: list[Path], make: Callable[[], None]) -> None:
    """Calls ``make`` unless ``folder`` bears ``stamp`` and holds what is needed; others wait for who came first."""
    marker = folder / ".initialised"
    if _text(marker) == stamp and all(path.exists() for path in needed):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder / ".initialise.lock"):
            if _text(marker) != stamp or not all(path.exists() for path in needed):
                make()
                _write(marker, stamp)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be prepared ({error.strerror or error}): make it writable, or set MLOPS_ASSETS_HOME to "
            f"another folder."
        ) from error


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One thread of one process at a time; the kernel lets go when the process dies. The file stays for ever."""
    with _process, lock.open("ab") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield


def _text(path: Path) -> str:
    """The file's text, empty when there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _write(path: Path, text: str) -> None:
    """Writes the whole file or none of it."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _copy(source: Path, target: Path) -> None:
    """Copies the whole file or none of it."""
    import shutil

    temporary = target.with_name(f"{target.name}.{os.getpid()}")
    shutil.copyfile(source, temporary)
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(target)


def _version(package: str) -> str:
    """The installed version, read without importing the package (``importlib.metadata`` alone costs 60 ms)."""
    found = re.search(r'^(?:__version__|VERSION) = "([^"]+)"', _text(_folder(package) / "version.py"), re.MULTILINE)
    return found[1] if found else "unknown"


def _folder(package: str) -> Path:
    import importlib.util

    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise UserError(f"{package} is not installed: run `make dev` or install what requirements.lock names.")
    return Path(spec.origin).parent


def _mlflow_head() -> str:
    """The newest revision of MLflow's database that the installed MLflow knows, read from its migrations."""
    revisions: dict[str, str | None] = {}
    pattern = re.compile(r"""^(revision|down_revision)\b[^=]*= *(?:["'](\w+)["']|None)""", re.MULTILINE)
    for path in (_folder("mlflow") / "store" / "db_migrations" / "versions").glob("*.py"):
        said = {match[1]: match[2] for match in pattern.finditer(_text(path))}
        if "revision" in said:
            revisions[said["revision"]] = said.get("down_revision")
    heads = set(revisions) - set(revisions.values())
    if len(heads) != 1:
        raise UserError(f"MLflow's migrations end in {len(heads)} revisions instead of one: install MLflow again.")
    return heads.pop()


def _revision(database: Path) -> str | None:
    """The revision an MLflow database stands at; nothing when it is not one or a migration broke off in it."""
    import sqlite3

    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    except sqlite3.DatabaseError:
        return None
    return str(rows[0][0]) if len(rows) == 1 else None


def _migrate(database: Path) -> None:
    """Lets MLflow create or upgrade the database, in a process of its own: four CPU seconds and many imports."""
    import subprocess

    done = subprocess.run(
        [sys.executable, "-m", "mlflow", "db", "upgrade", f"sqlite:///{database}"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
    )
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise UserError(f"MLflow could not migrate {database}: {last}")


def _mlflow_template(version: str, head: str, fallback: Path) -> Path:
    """An empty migrated database of this MLflow, kept with the Python environment and made if it is not there."""
    import tempfile

    shared = Path(sys.prefix) / "share" / "mlops_assets"
    try:
        shared.mkdir(parents=True, exist_ok=True)
        writable = os.access(shared, os.W_OK)
    except OSError:
        writable = False
    folder = shared if writable else fallback
    template = folder / f"mlflow-{version}-{head}.db"
    with _alone(folder / f".{template.name}.lock"):
        if not (template.exists() and _revision(template) == head):
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                fresh = Path(scratch) / "mlflow.db"
                _migrate(fresh)
                if _revision(fresh) != head:
                    raise UserError(f"MLflow {version} made a database at {_revision(fresh)}, not at {head}.")
                fresh.replace(template)
    return template
