"""A real S3 server for the tests, and a bad line to it.

What belongs here: starting moto's server in a process of its own, making buckets, and a proxy that loses, cuts or
spoils answers. What does not: what a store makes of that.
"""

import http.client
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parents[2]

Fault = Literal["", "drop", "503", "cut", "spoil", "conflict", "large", "301", "400", "403", "501", "507"]
"""What becomes of one request. It is passed on, and the answer is dropped, is 503, or has half the bytes or others; or
it is refused, because another one is under way, because of a file's size, or with a bare status."""

_REFUSALS = {
    "conflict": (409, "<Error><Code>ConditionalRequestConflict</Code></Error>"),
    "large": (400, "<Error><Message>The copy source is larger than the maximum allowable size</Message></Error>"),
    "301": (301, "<Error><Code>PermanentRedirect</Code></Error>"),
    "400": (400, ""),
    "403": (403, ""),
    "501": (501, ""),
    "507": (507, ""),
}


class S3:
    """A server on this machine; ``environment`` is what its clients need to know."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.endpoint = f"http://127.0.0.1:{port}"
        self._buckets = 0

    @property
    def environment(self) -> dict[str, str]:
        """Endpoint, region and credentials, by the names that every client of S3 reads."""
        return environment(self.endpoint)

    def bucket(self) -> str:
        """The name of a new, empty bucket."""
        self._buckets += 1
        name = f"bucket-{os.getpid()}-{self._buckets}"
        assert self.ask("PUT", f"/{name}") == 200
        return name

    def ask(self, method: str, path: str, body: bytes = b"") -> int:
        """Send a request of one's own; the status of its answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, body)
        status = connection.getresponse().status
        connection.close()
        return status

    @contextmanager
    def strict(self) -> Iterator[None]:
        """For the block, the server looks at credentials, and knows none."""
        assert self.ask("POST", "/moto-api/reset-auth", b"0") == 200
        try:
            yield
        finally:
            assert self.ask("POST", "/moto-api/reset-auth", b"inf") == 200


def environment(endpoint: str) -> dict[str, str]:
    """What a client needs to know to reach a server."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "something",
    }


@contextmanager
def serve() -> Iterator[S3]:
    """Run a server for the block; it ends with the process that started it, however that ends."""
    command = [sys.executable, "-m", "mlops_assets_tests.store.s3"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield S3(int(process.stdout.readline()))
        finally:
            process.stdin.close()


def _be_the_server() -> None:
    """Serve until the pipe to the parent breaks, which its death does too."""
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    print(server.get_host_and_port()[1], flush=True)
    sys.stdin.read()
    # no thread of the server is waited for
    os._exit(0)


class Line:
    """A proxy before a server; ``faults`` says what becomes of the next requests of a method, in their order."""

    def __init__(self, port: int) -> None:
        self.faults: dict[str, list[Fault]] = {}
        self.seen: list[str] = []
        self.overtake: Callable[[], object] | None = None
        """What somebody else does just before the next PUT arrives."""
        self._lock = threading.Lock()
        line = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # an answer is headers and then a body: do not wait for more between them
            wbufsize = 1 << 16
            disable_nagle_algorithm = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is inherited
                pass

            def _pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.command == "PUT" and line.overtake:
                    overtake, line.overtake = line.overtake, None
                    overtake()
                fault = line.next_fault(self.command)
                if fault in _REFUSALS:
                    status, text = _REFUSALS[fault]
                    self._answer(status, {}, text.encode())
                    return
                upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                upstream.request(self.command, self.path, body, dict(self.headers))
                answer = upstream.getresponse()
                data = answer.read()
                upstream.close()
                if fault == "drop":
                    self.close_connection = True
                elif fault == "503":
                    self._answer(503, {}, b"<Error><Code>SlowDown</Code></Error>")
                else:
                    self._answer(
                        answer.status, {name.lower(): value for name, value in answer.getheaders()}, data, fault
                    )

            def _answer(self, status: int, headers: Mapping[str, str], data: bytes, fault: Fault = "") -> None:
                self.send_response_only(status)
                for name, value in headers.items():
                    if name not in {"content-length", "transfer-encoding", "connection"}:
                        self.send_header(name, value)
                length = headers.get("content-length", "0") if self.command == "HEAD" else len(data)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                if fault == "cut":
                    data = data[: len(data) // 2]
                    self.close_connection = True
                elif fault == "spoil":
                    data = bytes([data[0] ^ 1]) + data[1:]
                self.wfile.write(data)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on  # noqa: N815 - the names are inherited

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def next_fault(self, method: str) -> Fault:
        """What is to become of a request that has just arrived."""
        with self._lock:
            self.seen.append(method)
            waiting = self.faults.get(method)
            return waiting.pop(0) if waiting else ""

    @contextmanager
    def open(self) -> Iterator["Line"]:
        """Serve for the block."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


if __name__ == "__main__":
    _be_the_server()
