"""The web server of Dagster's UI as a process of its own, with the guard in front.

What belongs here: taking over the socket, putting guard and application together, and saying where the UI is. What does
not: which requests are answered (``guard``), and when this process is started and ended (``services``).
"""

import argparse
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from dagster_webserver.app import create_app_from_workspace_process_context

from mlops_assets.assets.dagster_private import workspace_of
from mlops_assets.ui.guard import Guard

# How often an open page asks whether assets have changed, in milliseconds; Dagster's own default.
_LIVE = 2000


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until this process is told to end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--listener", type=int, required=True, help="a socket that is listening already")
    parser.add_argument("--workspace", type=Path, required=True, help="a workspace.yaml that names the code server")
    parser.add_argument("--read-only", action="store_true")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    with socket.socket(fileno=options.listener) as listener, suppress(KeyboardInterrupt):
        serve(listener, options.workspace, read_only=options.read_only)


def serve(listener: socket.socket, workspace: Path, *, read_only: bool) -> None:
    """Serves the code locations of a workspace file on a socket that is bound to loopback."""
    port = int(listener.getsockname()[1])

    @asynccontextmanager
    async def announced(application: Any) -> AsyncIterator[None]:
        del application
        print(f"Dagster UI: http://127.0.0.1:{port}{' (read-only)' if read_only else ''}", flush=True)
        yield

    with workspace_of(workspace, read_only=read_only) as context:
        application = create_app_from_workspace_process_context(context, "", _LIVE, lifespan=announced)
        config = uvicorn.Config(
            Guard(application, port, read_only=read_only),
            log_level="warning",
            access_log=False,
            proxy_headers=False,  # nobody may say in a header who he is
            server_header=False,
            timeout_graceful_shutdown=2,  # open pages hold their WebSocket for ever
        )
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
