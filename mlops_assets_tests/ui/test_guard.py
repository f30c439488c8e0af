"""What the guard lets through and what it refuses, over real sockets, as a forged page would ask."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import uvicorn
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from mlops_assets.ui.guard import LONGEST_QUESTION, Guard, Message, Receive, Scope, Send, changes_something
from mlops_assets.ui.services import listening

JSON = {"Content-Type": "application/json"}
QUERY = json.dumps({"query": "query Shown { version }"})
MUTATION = json.dumps({"query": "mutation Launch { launchRun { runId } }"})
ADDRESS = "/graphql?query=mutation%7BlaunchRun%7BrunId%7D%7D"


@dataclass
class Behind:
    """An application that does what it is told, and remembers it."""

    port: int = 0
    asked: list[str] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await self._websocket(receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, message = b"", await receive()
        while message["type"] == "http.request":
            body += message["body"]
            if not message.get("more_body"):
                break
            message = await receive()
        self.asked.append(f"{scope['method']} {scope['path']} {body.decode()[:200]}".strip())
        headers = [(b"x-frame-options", b"ALLOWALL"), (b"content-security-policy", b"base-uri 'none'")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"done"})

    async def _websocket(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "graphql-ws"})
        message: Message = await receive()
        while message["type"] == "websocket.receive":
            self.asked.append(message["text"])
            await send({"type": "websocket.send", "text": "done"})
            message = await receive()


@dataclass(frozen=True)
class Answer:
    status: int
    text: str
    headers: dict[str, list[str]]


@contextmanager
def guarded(*, read_only: bool = False) -> Iterator[Behind]:
    behind = Behind()
    with listening(0) as listener:
        behind.port = listener.getsockname()[1]
        config = uvicorn.Config(Guard(behind, behind.port, read_only=read_only), log_level="error", access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            limit = time.monotonic() + 20
            while not server.started:
                assert time.monotonic() < limit
                time.sleep(0.01)
            yield behind
        finally:
            server.should_exit = True
            thread.join(20)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def running() -> Iterator[Behind]:
    with guarded() as behind:
        yield behind


@pytest.fixture(scope="module")
def running_read_only() -> Iterator[Behind]:
    with guarded(read_only=True) as behind:
        yield behind


@pytest.fixture
def open_to_all(running: Behind) -> Behind:
    running.asked.clear()
    return running


@pytest.fixture
def for_viewers(running_read_only: Behind) -> Behind:
    running_read_only.asked.clear()
    return running_read_only


def ask(
    behind: Behind, method: str, path: str, body: str | None = None, *, host: str | None = "", **headers: str
) -> Answer:
    """One request; ``host`` is ours unless given, and left out when None. ``_`` in a name stands for ``-``."""
    connection = http.client.HTTPConnection("127.0.0.1", behind.port, timeout=20)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        if host is not None:
            connection.putheader("Host", host or f"127.0.0.1:{behind.port}")
        for name, value in headers.items():
            for each in value.split("|"):  # the same header twice
                connection.putheader(name.replace("_", "-"), each)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body.encode() if body is not None else None)
        response = connection.getresponse()
        found: dict[str, list[str]] = {}
        for name, value in response.getheaders():
            found.setdefault(name.lower(), []).append(value)
        return Answer(response.status, response.read().decode(), found)
    finally:
        connection.close()


@contextmanager
def socket_to(
    behind: Behind,
    *,
    origin: str | None = "",
    path: str = "/graphql",
    protocol: str | None = "graphql-ws",
    host: str = "",
) -> Iterator[ClientConnection]:
    """A WebSocket as our own page opens it, unless said otherwise."""
    ours = f"127.0.0.1:{behind.port}"
    with connect(
        f"ws://{host or ours}{path}",
        sock=socket.create_connection(("127.0.0.1", behind.port)),
        origin=None if origin is None else Origin(origin or f"http://{ours}"),
        subprotocols=None if protocol is None else [Subprotocol(protocol)],
        proxy=None,
    ) as opened:
        yield opened


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/", {}),
        ("GET", "/assets/visits/cleaned?view=partitions", {"Sec-Fetch-Site": "none"}),
        ("HEAD", "/", {}),
        ("GET", "/graphql", {"Accept": "text/html"}),  # the page on which questions are typed
        ("POST", "/graphql", JSON),
        ("POST", "/graphql", {"Content-Type": "application/json; charset=utf-8"}),
        ("POST", "/graphql?op=AssetRecordsQuery", JSON),  # as the UI does
        ("POST", "/graphql", {**JSON, "Origin": "OURS", "Sec-Fetch-Site": "same-origin"}),
        ("POST", "/report_asset_materialization/visits", JSON),
    ],
)
def test_what_our_pages_and_programs_ask_is_answered(
    open_to_all: Behind, method: str, path: str, headers: dict[str, str]
) -> None:
    ours = f"http://127.0.0.1:{open_to_all.port}"
    sent = {name: value.replace("OURS", ours) for name, value in headers.items()}
    answer = ask(open_to_all, method, path, MUTATION if method == "POST" else None, **sent)
    assert answer.status == 200
    assert open_to_all.asked == [f"{method} {path.partition('?')[0]} {MUTATION if method == 'POST' else ''}".strip()]


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LocalHost", "[::1]"])
def test_our_names_are_answered_to_and_only_to_their_own_pages(open_to_all: Behind, name: str) -> None:
    host, headers = f"{name}:{open_to_all.port}", dict(JSON)
    assert (
        ask(open_to_all, "POST", "/graphql", MUTATION, host=host, Origin=f"http://{host}".lower(), **headers).status
        == 200
    )
    other = f"http://{'localhost' if name != 'localhost' else '127.0.0.1'}:{open_to_all.port}"
    if name != "LocalHost":
        # The same number on another name of this machine may be another program.
        assert ask(open_to_all, "POST", "/graphql", MUTATION, host=host, Origin=other, **headers).status == 403
    assert len(open_to_all.asked) == 1


@pytest.mark.parametrize(
    "host",
    [
        "evil.example.com",
        "evil.example.com:PORT",  # a name that somebody lets point to 127.0.0.1
        "127.0.0.1",
        "127.0.0.1:1",
        "127.0.0.1:PORT.evil.example.com",
        "localhost.:PORT",
        "0.0.0.0:PORT",
        "127.1:PORT",
        "127.0.0.1:PORT|evil.example.com",
        None,
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_foreign_host_is_refused(open_to_all: Behind, host: str | None, method: str) -> None:
    # Two Host headers, or none, are refused by the server itself before the guard sees them.
    named = host.replace("PORT", str(open_to_all.port)) if host else None
    body = MUTATION if method == "POST" else None
    if named and "|" in named:
        answer = ask(open_to_all, method, "/graphql", body, host=None, Host=named, Content_Type="application/json")
    else:
        answer = ask(open_to_all, method, "/graphql", body, host=named, Content_Type="application/json")
    assert answer.status in ({403} if named and "|" not in named else {400, 403})
    if answer.status == 403:
        port = open_to_all.port
        assert answer.text == (
            f"This server answers to 127.0.0.1:{port}, localhost:{port}, [::1]:{port} and to no other host.\n"
        )
    assert open_to_all.asked == []


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.com",
        "null",
        "http://127.0.0.1:1",
        "http://127.0.0.1",
        "https://127.0.0.1:PORT",
        "http://localhost:PORT",
        "http://127.0.0.1:PORT.evil.example.com",
        "http://127.0.0.1:PORT|https://evil.example.com",
        "",
    ],
)
def test_a_foreign_origin_is_refused(open_to_all: Behind, origin: str) -> None:
    sent = origin.replace("PORT", str(open_to_all.port))
    answer = ask(open_to_all, "POST", "/graphql", MUTATION, Origin=sent, **JSON)
    assert (answer.status, answer.text) == (403, "Only the pages of this server may send requests to it.\n")
    assert ask(open_to_all, "GET", "/", Origin=sent).status == 403
    assert open_to_all.asked == []


@pytest.mark.parametrize("site", ["cross-site", "same-site", "CROSS-SITE", "something-new"])
@pytest.mark.parametrize(
    ("request_line", "mode", "kind"),
    [
        ("POST /graphql", "no-cors", "empty"),
        ("POST /graphql", "navigate", "document"),
        ("GET /logs/x.out", "no-cors", "script"),
        ("GET /", "navigate", "iframe"),
        ("GET /graphql", "navigate", "document"),
    ],
)
def test_what_another_site_loads_is_refused(
    open_to_all: Behind, site: str, request_line: str, mode: str, kind: str
) -> None:
    method, path = request_line.split()
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": kind, **JSON}
    answer = ask(open_to_all, method, path, MUTATION if method == "POST" else None, **headers)
    assert (answer.status, answer.text) == (403, "Only the pages of this server may load anything from it.\n")
    assert open_to_all.asked == []


def test_a_link_in_a_chat_opens_its_page(open_to_all: Behind) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert ask(open_to_all, "GET", "/runs/1", **headers).status == 200


@pytest.mark.parametrize("accept", ["*/*", "text/html"])
@pytest.mark.parametrize(
    "path",
    [
        ADDRESS,
        ADDRESS.replace("g", "%67", 1),
        "/graphql/?x",
        "//graphql?q=1",
        f"{ADDRESS}&op=A",
        f"/graphql?op=A&{ADDRESS[9:]}",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_graphql_is_never_asked_in_the_address(open_to_all: Behind, method: str, path: str, accept: str) -> None:
    answer = ask(open_to_all, method, path, "{}" if method == "POST" else None, Accept=accept, **JSON)
    assert answer.status == 405
    assert answer.headers["allow"] == ["POST"]
    if method != "HEAD":
        assert answer.text == "GraphQL is asked by POST to /graphql, in the body, not in the address.\n"
    assert open_to_all.asked == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(open_to_all: Behind, method: str) -> None:
    headers = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    answer = ask(open_to_all, method, "/graphql", **headers)
    assert (answer.status, answer.text) == (405, f"{method} is not answered; GET, HEAD and POST are.\n")
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert open_to_all.asked == []


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=application/json",
        "text/plain; x=application/json",
        "application/graphql",
        "application/jsonp",
        "application/json|text/plain",
        "",
        None,
    ],
)
@pytest.mark.parametrize("path", ["/graphql", "/report_asset_materialization/visits"])
def test_only_json_can_be_posted(open_to_all: Behind, kind: str | None, path: str) -> None:
    answer = ask(open_to_all, "POST", path, MUTATION, **({} if kind is None else {"Content-Type": kind}))
    assert (answer.status, answer.text) == (415, "What is posted here must be application/json.\n")
    assert open_to_all.asked == []


def test_no_other_page_may_frame_or_read_what_is_answered(open_to_all: Behind) -> None:
    for answer in (ask(open_to_all, "GET", "/"), ask(open_to_all, "GET", "/", host="evil.example.com")):
        assert answer.headers["x-frame-options"] == ["DENY"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["referrer-policy"] == ["same-origin"]
        assert answer.headers["cross-origin-resource-policy"] == ["same-origin"]
    # The application's own policy holds as well.
    assert "base-uri 'none'" in ask(open_to_all, "GET", "/").headers["content-security-policy"]


def test_our_page_opens_its_websocket(open_to_all: Behind) -> None:
    with socket_to(open_to_all) as opened:
        assert opened.subprotocol == "graphql-ws"
        opened.send(MUTATION)
        assert opened.recv(10) == "done"
    assert open_to_all.asked == [MUTATION]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"origin": "https://evil.example.com"}, "Only the pages of this server may send requests to it."),
        ({"origin": "null"}, "Only the pages of this server may send requests to it."),
        ({"origin": "http://127.0.0.1:1"}, "Only the pages of this server may send requests to it."),
        ({"origin": None}, "A WebSocket is opened by the pages of this server only."),
        ({"host": "evil.example.com"}, " and to no other host."),
        ({"host": "evil.example.com", "origin": "http://evil.example.com"}, " and to no other host."),
        ({"path": "/other"}, "The only WebSocket here is /graphql with the protocol graphql-ws."),
        ({"protocol": "graphql-transport-ws"}, "The only WebSocket here is /graphql with the protocol graphql-ws."),
        ({"protocol": None}, "The only WebSocket here is /graphql with the protocol graphql-ws."),
    ],
)
def test_any_other_websocket_is_refused(
    open_to_all: Behind, caplog: pytest.LogCaptureFixture, changes: dict[str, str | None], sentence: str
) -> None:
    with pytest.raises(InvalidStatus) as refused, socket_to(open_to_all, **changes):  # type: ignore[arg-type]
        pass
    assert refused.value.response.status_code == 403
    assert open_to_all.asked == []
    # A script learns nothing but that; the person at the terminal learns why.
    (said,) = [record.getMessage() for record in caplog.records if record.name == "mlops_assets.ui.guard"]
    assert said.startswith("Refused WebSocket ")
    assert said.endswith(sentence)


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("{ version }", False),
        ("query A { version }", False),
        ("subscription { events }", False),
        ('query A { runs(name: "mutation { launch }") { id } } # mutation', False),
        ("fragment mutation on Run { id } query A { run { ...mutation } }", False),
        ("this is no GraphQL {", True),
        ("mutation { launch }", True),
        ("query A { version } mutation B { launch }", True),
        ("# a comment\n\ufeffmutation\tB @x(y: 1) {launch}", True),
        (None, True),
        (["mutation { launch }"], True),
        ("mutation " + "{a" * 100_000, True),
    ],
)  # fmt: skip
def test_what_changes_something_is_told_by_the_grammar(text: object, *, changes: bool) -> None:
    assert changes_something(text) is changes


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/graphql", QUERY, 200),
        ("/graphql", MUTATION, 403),
        ("/graphql", '{"query": "query A {a}", "query": "mutation {b}"}', 403),
        ("/graphql", json.dumps({"query": "query A {a} mutation B {b}", "operationName": "A"}), 403),
        ("/graphql", f"[{MUTATION}]", 403),
        ("/graphql", "{}", 403),
        ("/graphql", "mutation { launch }", 403),
        ("/graphql", "", 403),
        ("/graphql", "[" * 100_000, 403),
        ("/graphql", json.dumps({"query": "{" + "a " * (LONGEST_QUESTION // 2) + "}"}), 413),
        ("/report_asset_materialization/visits", "{}", 403),
    ],
)
def test_a_viewer_changes_nothing(for_viewers: Behind, path: str, body: str, status: int) -> None:
    answer = ask(for_viewers, "POST", path, body, **JSON)
    assert answer.status == status
    assert for_viewers.asked == ([f"POST {path} {body}"] if status == 200 else [])
    if status == 403:
        assert (
            answer.text == "This server only shows: it answers GraphQL questions that change nothing, and no others.\n"
        )


@pytest.mark.parametrize("body", [MUTATION, "no JSON", "[1]", '{"query": 1}'])
def test_a_viewers_websocket_ends_when_it_asks_for_a_change(for_viewers: Behind, body: str) -> None:
    said = [
        json.dumps({"type": "connection_init", "payload": {}}),
        json.dumps({"type": "start", "id": "1", "payload": {"query": "subscription {events}"}}),
        json.dumps({"type": "stop", "id": "1"}),
    ]
    with socket_to(for_viewers) as opened:
        for each in said:
            opened.send(each)
            assert opened.recv(10) == "done"
        start = json.dumps({"type": "start", "id": "2", "payload": json.loads(body)}) if body[0] == "{" else body
        opened.send(start)
        with pytest.raises(ConnectionClosed):
            opened.recv(10)
    assert for_viewers.asked == said
