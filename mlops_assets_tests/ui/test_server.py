"""``mlops-assets dev`` as people start it: what a forged request does there, and how everything ends."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from mlops_assets.ui import keeper
from mlops_assets.ui.services import LOCATION, MODULE, listening
from mlops_assets_tests.assets.shop import Shop
from mlops_assets_tests.automation.dying import slow_shop
from mlops_assets_tests.doors import Project, Web, wait
from mlops_assets_tests.ui.test_keeper import members

EVIL = "https://evil.example.com"
LAUNCH = """
    mutation ($params: ExecutionParams!) {
      launchPipelineExecution(executionParams: $params) {
        __typename ... on LaunchRunSuccess {run {runId}} ... on UnauthorizedError {message}
      }
    }"""


@dataclass(frozen=True)
class Ui:
    """A running ``mlops-assets dev``."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def web(self) -> Web:
        return Web(f"http://127.0.0.1:{self.port}/graphql", LOCATION)

    @property
    def said(self) -> str:
        return self.log.read_text()

    @property
    def group(self) -> int:
        """The group of everything it started, which its keeper leads."""
        return next(pid for pid in self.children() if "mlops_assets.ui.keeper" in words_of(pid))

    def children(self) -> list[int]:
        return [
            int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def folder(self) -> Path:
        """Where the sockets of these processes are."""
        return Path(words_of(self.group).split()[-1])


@contextmanager
def ui(project: Project, *words: str, through: Sequence[str] = ()) -> Iterator[Ui]:
    log = project.home.root.parent / "ui.log"
    command = [*through, sys.executable, "-m", "mlops_assets.cli", "dev", "--port", "0", *words]
    folder = project.home.root.parent
    with (
        log.open("wb") as file,
        subprocess.Popen(
            command, env=project.environment, cwd=folder, stdout=file, stderr=file, start_new_session=True
        ) as process,
    ):
        try:
            found = wait(lambda: re.search(r"UI: http://127\.0\.0\.1:(\d+)", log.read_text()), 120, "the web server")
            started = Ui(process, int(found[1]), log)
            wait(started.web.answers, 60, "the code location")
            yield started
        finally:
            group = started.group if process.poll() is None else 0
            process.kill()
            process.wait()
            assert not group or keeper.gone(group, 30)


def words_of(pid: int) -> str:
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    return ""


def asked(port: int, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def params(mark: str, location: str = LOCATION) -> dict[str, object]:
    return {
        "params": {
            "selector": {
                "repositoryLocationName": location,
                "repositoryName": "__repository__",
                "pipelineName": "__ASSET_JOB",
                "assetSelection": [{"path": ["visits", "raw", "shops"]}],
            },
            "mode": "default",
            "runConfigData": {},
            "executionMetadata": {"tags": [{"key": "mark", "value": mark}]},
        }
    }


def forged(port: int, location: str = LOCATION) -> dict[str, tuple[int, str]]:
    """What pages of somebody else are answered that try to start a run, by what they try."""
    found = {}
    body = json.dumps({"query": LAUNCH, "variables": params("posted", location)})
    post = {"Content_Type": "application/json"}
    for mark, headers in {
        "image": {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"},
        "link": {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"},
        "old browser": {},
        "rebinding": {"Host": f"evil.example.com:{port}"},
    }.items():
        address = urllib.parse.urlencode({"query": LAUNCH, "variables": json.dumps(params(mark, location))})
        found[mark] = asked(port, "GET", f"/graphql?{address}", **headers)
    form = {"Content_Type": "application/x-www-form-urlencoded", "Origin": EVIL}
    found["form"] = asked(port, "POST", f"/graphql?{address}", "x=y", **form)
    found["fetch"] = asked(port, "POST", "/graphql", body, Origin=EVIL, **post)
    found["rebound fetch"] = asked(port, "POST", "/graphql", body, Host="evil.example.com", **post)
    return found


def socket_opens(port: int, origin: str) -> bool:
    """Whether a page can speak over the WebSocket, as every open page of the UI does."""
    try:
        with connect(
            f"ws://127.0.0.1:{port}/graphql",
            origin=Origin(origin),
            subprotocols=[Subprotocol("graphql-ws")],
            proxy=None,
            open_timeout=60,
        ) as opened:
            opened.send(json.dumps({"type": "connection_init", "payload": {}}))
            return bool(json.loads(opened.recv(60)) == {"type": "connection_ack"})
    except InvalidStatus:
        return False


def runs(project: Project) -> list[dg.DagsterRun]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(project.home.dagster))
        with dg.DagsterInstance.from_config(str(project.home.dagster)) as instance:
            return list(instance.get_runs())


def marked(project: Project) -> list[dg.DagsterRun]:
    """Those that this module asked for; others are started by what happens by itself."""
    return [run for run in runs(project) if "mark" in run.tags]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A shop whose features take as long as a file ``slow`` is there, and where nothing is made yet."""
    made = slow_shop(tmp_path)
    (tmp_path / "slow").unlink()
    return made


@pytest.mark.slow
def test_a_forged_request_starts_nothing_here_and_a_run_in_plain_dagster_dev(shop: Shop) -> None:
    with ui(shop) as here:
        for how, (status, text) in forged(here.port).items():
            assert status in {403, 405}, (how, text)
        assert not socket_opens(here.port, EVIL)
        assert marked(shop) == []

        assert socket_opens(here.port, f"http://127.0.0.1:{here.port}")
        status, page = asked(here.port, "GET", "/", Sec_Fetch_Site="none")
        assert status == 200
        assert "<title" in page
        # Through the queue, which the daemon empties.
        assert here.web.launch("visits", ["raw/shops"], {}).status == "SUCCESS"

        group, folder = here.group, here.folder()
        here.process.terminate()
        assert here.process.wait(60) == 0
        assert members(group) == []
        assert not folder.exists()
        assert "Traceback" not in here.said

    with shop.served() as plain:
        port = int(plain._url.split(":")[2].split("/")[0])
        answers = forged(port, MODULE)
        for how, (status, text) in answers.items():
            assert (status, "LaunchRunSuccess" in text) == (200, True), (how, text)
        assert socket_opens(port, EVIL)
        assert len(marked(shop)) == len(answers)


@pytest.mark.slow
def test_viewers_see_everything_and_change_nothing(shop: Shop) -> None:
    with ui(shop, "--read-only") as here:
        assert "(read-only)" in here.said
        assert not [pid for pid in here.children() if "dagster-daemon" in words_of(pid)]
        status, page = asked(here.port, "GET", "/")
        assert (status, "<title" in page) == (200, True)
        assert here.web.ask("{assetNodes {assetKey {path}}}")["assetNodes"]
        permission = here.web.ask("{permissions {permission value}}")["permissions"]
        assert permission
        # What people see on the buttons is Dagster's own mode, behind the guard.
        assert not any(each["value"] for each in permission)
        post = {"Content_Type": "application/json"}
        status, _ = asked(here.port, "POST", "/graphql", json.dumps({"query": LAUNCH, "variables": params("")}), **post)
        assert status == 403
        status, _ = asked(here.port, "POST", "/report_asset_materialization/visits/raw/shops", "{}", **post)
        assert status == 403
    assert runs(shop) == []


@pytest.mark.slow
def test_a_run_that_is_going_on_is_over_too_also_where_interrupts_were_ignored(shop: Shop, tmp_path: Path) -> None:
    # As a script starts what it writes `&` behind.
    with ui(shop, through=["sh", "-c", 'trap "" INT; exec "$@"', "sh"]) as here:
        assert here.web.launch("visits", ["raw/shops"], {}).status == "SUCCESS"
        (tmp_path / "slow").touch()
        stages = [
            {"path": ["visits", *stage.split("/")]} for stage in ("raw/visits", "quarantine", "cleaned", "features")
        ]
        asking = params("slow")
        selected = asking["params"]
        assert isinstance(selected, dict)
        selected["selector"]["assetSelection"] = stages
        selected["executionMetadata"]["tags"].append({"key": "dagster/partition", "value": "2024-01-01"})
        assert here.web.ask(LAUNCH, **asking)["launchPipelineExecution"]["__typename"] == "LaunchRunSuccess"
        wait((tmp_path / "reached").exists, 120, "the slow function")

        group = here.group
        os.kill(here.process.pid, signal.SIGINT)
        assert here.process.wait(60) == 0
        assert members(group) == []
    (slow,) = [run for run in marked(shop) if run.tags["mark"] == "slow"]
    # Dagster calls only that cancelled which was cancelled in the UI.
    assert slow.status == dg.DagsterRunStatus.FAILURE


@pytest.mark.slow
def test_a_daemon_that_dies_comes_back_and_nothing_outlives_a_killed_command(shop: Shop) -> None:
    with ui(shop) as here:
        (daemon,) = [pid for pid in here.children() if "dagster-daemon" in words_of(pid)]
        os.kill(daemon, signal.SIGKILL)
        wait(lambda: "The daemon was ended by SIGKILL; it is started again." in here.said, 20, "the sentence")
        wait(lambda: any("dagster-daemon" in words_of(pid) for pid in here.children()), 20, "another daemon")
        assert shop.command("dev", "--port", "0").code == 1

        group, folder = here.group, here.folder()
        here.process.kill()
        here.process.wait()
        assert keeper.gone(group, 30)
        wait(lambda: not folder.exists(), 10, "the end of the keeper")
    # Nobody holds the lock, or the port.
    with ui(shop, "--port", str(here.port)) as again:
        assert again.port == here.port


def test_a_port_that_is_taken_is_said(shop: Shop) -> None:
    with listening(0) as listener:
        port = listener.getsockname()[1]
        done = shop.command("dev", "--port", str(port))
    assert done.code == 1
    assert done.text == (
        f"Port {port} of 127.0.0.1 cannot be had (Address already in use): end what listens there, or name another one "
        f"with --port.\n"
    )
    assert not shop.home.root.exists()


def test_a_port_that_is_none_is_said(shop: Shop) -> None:
    done = shop.command("dev", "--port", "65536")
    assert (done.code, done.text) == (1, "65536 is not a port: name one from 1 to 65535 with --port.\n")


def test_a_folder_too_deep_for_sockets_is_said(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("x" * 80)
    deep.mkdir()
    monkeypatch.setenv("TMPDIR", str(deep))
    done = shop.command("dev", "--port", "0", "--read-only")
    assert done.code == 1
    assert done.text.endswith(f"{deep} is too long a path for sockets: set TMPDIR to a shorter one.\n")
    assert list(deep.iterdir()) == []


def test_a_code_location_loads_without_any_of_this(shop: Shop) -> None:
    code = """
import sys
from mlops_assets.definitions import defs
defs.load_fn()
print([name for name in sys.modules if name.startswith(("uvicorn", "dagster_webserver", "mlops_assets.ui"))])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=shop.environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_the_listener_is_on_loopback_only() -> None:
    with listening(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
