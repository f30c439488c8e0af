"""The processes of a running UI: code server, web server and daemon, started, watched and ended together.

What belongs here: the port, which processes there are, what happens when one of them ends by itself, and the clean end
of all. What does not: what they do. This process stays as light as the command itself: it imports no Dagster.

Of one home only one UI may run the daemon, so a lock on the home is held, by the keeper too, until the last process is
gone. A read-only UI has no daemon, so that any number of them can be opened beside it.
"""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from mlops_assets.errors import UserError
from mlops_assets.home import Home
from mlops_assets.ui import keeper

MODULE = "mlops_assets.definitions"
LOCATION = "mlops_assets"
"""As ``workspace.yaml`` has it: Dagster keeps what sensors and schedules are at under this name."""
CODE_SERVER = "code.sock"
_PORTS = range(1 << 16)

# The kernel takes 107 bytes for a socket's path; Dagster adds a name of its own.
_LONGEST = 80

# Seconds between two looks, and the life below which an end counts as failing to start.
_LOOK_EVERY = 0.5
_SHORT = 30.0
_TRIES = 3


@contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """A socket that listens on 127.0.0.1 only; 0 stands for any free port.

    Raises:
        UserError: the port is taken, or cannot be had.
    """
    if port not in _PORTS:
        raise UserError(f"{port} is not a port: name one from 1 to {_PORTS[-1]} with --port.")
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            # From now on nobody else gets the port, and whoever comes early waits instead of being refused.
            listener.listen()
        except OSError as error:
            raise UserError(
                f"Port {port} of 127.0.0.1 cannot be had ({error.strerror}): end what listens there, or name another "
                f"one with --port."
            ) from error
        yield listener


def serve(home: Home, listener: socket.socket, *, read_only: bool = False) -> int:
    """Runs the UI of an initialised home until SIGINT, SIGTERM or SIGHUP; returns an exit code.

    Raises:
        UserError: another process runs the daemon of this home.
    """
    asked = _Asked()
    with _alone(home.dagster, needed=not read_only) as lock, _folder() as folder:
        services = _Services(home, folder, [] if lock is None else [lock.fileno()])
        try:
            return services.run(_code_server(folder), _others(folder, listener, read_only=read_only), asked)
        finally:
            services.end(asked)


@dataclass
class _Service:
    """One of the processes: what it is called, what it runs, and how its starts went."""

    name: str
    words: Sequence[str]
    inherits: Sequence[int] = ()
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    short_lives: int = 0


class _Asked:
    """How often somebody asked for the end; more than once means that it takes too long.

    Handlers are set even where SIGINT was ignored, as it is for what a script starts with ``&``: children would inherit
    that, and Dagster handles SIGTERM as it handles SIGINT. Only ``nohup`` is respected.
    """

    def __init__(self) -> None:
        self.times = 0
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        for number in numbers:
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.times += 1


class _Services:
    """The processes of one UI, in a process group that its keeper leads."""

    def __init__(self, home: Home, folder: Path, keeps: Sequence[int]) -> None:
        self._folder = folder
        self._home = home
        self._running: list[_Service] = []
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", "mlops_assets.ui.keeper", str(folder)],
            cwd=home.root,
            stdin=subprocess.PIPE,
            process_group=0,
            pass_fds=keeps,
        )

    def run(self, code_server: _Service, others: Sequence[_Service], asked: _Asked) -> int:
        """Starts everything and looks after it until somebody asks for the end, or something cannot be kept alive."""
        self._start(code_server)
        waiting = list(others)
        while not asked.times:
            if waiting and _answers(self._folder / CODE_SERVER):
                for service in waiting:
                    self._start(service)
                waiting.clear()
            for service in self._running:
                if not self._alive(service):
                    return 1
            if self._keeper.poll() is not None:
                print("The process that watches over the others was ended, so all of them are.", file=sys.stderr)
                return 1
            time.sleep(_LOOK_EVERY)
        return 0

    def end(self, asked: _Asked) -> None:
        """Lets the keeper end all of them, and waits for that; asked once more, kills them."""
        if self._running:
            print("Stopping; runs that are going on are interrupted, and recorded as failed.", flush=True)
        before = asked.times
        if self._keeper.poll() is not None:  # somebody has ended it
            keeper.end(self._keeper.pid, self._reap)
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        limit = time.monotonic() + keeper.PATIENCE + 10
        while not keeper.gone(self._keeper.pid, 0.2, self._reap):
            if asked.times > before or time.monotonic() > limit:
                keeper.end(self._keeper.pid, self._reap, [signal.SIGKILL])
                break

    def _start(self, service: _Service) -> None:
        service.started = time.monotonic()
        service.process = subprocess.Popen(
            [sys.executable, *service.words],
            stdin=subprocess.DEVNULL,
            # Not where the user stands: Python would import what lies there, gql.py or yaml.py, instead of the library.
            cwd=self._home.root,
            # Whatever is left lying about goes with the folder.
            env={**os.environ, "TMPDIR": str(self._folder)},
            process_group=self._keeper.pid,
            pass_fds=service.inherits,
        )
        if service not in self._running:
            self._running.append(service)

    def _alive(self, service: _Service) -> bool:
        """Starts a service again that ended by itself; false when that has proved useless."""
        assert service.process is not None
        code = service.process.poll()
        if code is None:
            return True
        short = time.monotonic() - service.started < _SHORT
        service.short_lives = service.short_lives + 1 if short else 0
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        if service.short_lives == _TRIES:
            print(
                f"The {service.name} {how}, {_TRIES} times soon after it was started: mend what it said above.",
                file=sys.stderr,
            )
            return False
        print(f"The {service.name} {how}; it is started again.", file=sys.stderr, flush=True)
        time.sleep(service.short_lives)
        self._start(service)
        return True

    def _reap(self) -> None:
        self._keeper.poll()
        for service in self._running:
            if service.process is not None:
                service.process.poll()


def _code_server(folder: Path) -> _Service:
    """What loads the datasets and runs what is launched; shared by web server and daemon."""
    words = ["-m", "dagster", "code-server", "start", "--module-name", MODULE, "--location-name", LOCATION]
    return _Service("code server", [*words, "--socket", str(folder / CODE_SERVER), "--log-level", "warning"])


def _others(folder: Path, listener: socket.socket, *, read_only: bool) -> list[_Service]:
    workspace = folder / "workspace.yaml"
    server = {"socket": str(folder / CODE_SERVER), "location_name": LOCATION}
    workspace.write_text(json.dumps({"load_from": [{"grpc_server": server}]}))  # JSON is YAML
    port = str(listener.fileno())
    words = ["-m", "mlops_assets.ui.server", "--listener", port, "--workspace", str(workspace)]
    if read_only:
        return [_Service("web server", [*words, "--read-only"], [listener.fileno()])]
    # What is installed beside this Python; the module behind it is not public.
    daemon = str(Path(sysconfig.get_path("scripts")) / "dagster-daemon")
    return [
        _Service("web server", words, [listener.fileno()]),
        _Service("daemon", [daemon, "run", "--workspace", str(workspace)]),
    ]


def _answers(code_server: Path) -> bool:
    """Whether the code server has loaded: Dagster would show an error for the first seconds otherwise."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(code_server)) == 0


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder for sockets that nobody else can open."""
    folder = Path(tempfile.mkdtemp(prefix="mlops-assets-"))
    try:
        if len(str(folder)) > _LONGEST:
            raise UserError(f"{folder.parent} is too long a path for sockets: set TMPDIR to a shorter one.")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _alone(dagster_home: Path, *, needed: bool) -> Iterator[BinaryIO | None]:
    """Holds the lock of who runs the daemon; whoever inherits the file holds it too."""
    if not needed:
        yield None
        return
    with (dagster_home / ".daemon.lock").open("ab") as file:
        limit = time.monotonic() + 2  # the keeper of one that has just ended
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > limit:
                    raise UserError(
                        f"Another `mlops-assets dev` runs the daemon of {dagster_home}, or is still ending: use that "
                        f"one, or open a second UI with --read-only."
                    ) from None
                time.sleep(_LOOK_EVERY)
        yield file
