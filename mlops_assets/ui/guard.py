"""Who may speak to the web server, and how: an ASGI middleware that stands in front of all of it.

Dagster's web server asks nobody who they are and believes every request: it runs mutations that come by GET, answers to
any Host, and accepts its WebSocket from any page. So any page that is open in a browser on this machine could start
runs, or read everything, through a link, a script, a WebSocket, or a name that it lets point to 127.0.0.1.

What belongs here: decisions that need only the head of a request, and for viewers the GraphQL operation. What does not:
who a person is (whoever has an account on this machine can reach a port of it), and anything of Dagster.

A browser always says for which page it asks (``Origin`` with everything but plain reading, ``Sec-Fetch-Site``), and no
page can change what it says. Programs such as curl say nothing, and are not what is guarded against: they may post JSON
without an ``Origin``, as the project's own commands and tests do.
"""

import json
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import graphql

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

GRAPHQL = "/graphql"
HTTP_PORT = 80
PROTOCOL = "graphql-ws"  # the only WebSocket protocol that Dagster's UI and server speak

# The UI adds the name of each question to the address, for whoever looks at the traffic.
_NAME = re.compile(rb"op=\w*")

# What a viewer asks is read to the end before it is let through; no question of the UI comes near.
LONGEST_QUESTION = 4 * 1024 * 1024

SECURITY: Headers = [
    (b"x-frame-options", b"DENY"),
    # The page's own policy stays: a browser keeps to all that it is given.
    (b"content-security-policy", b"frame-ancestors 'none'"),
    (b"referrer-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_REPLACED = frozenset(name for name, _ in SECURITY) - {b"content-security-policy"}

_ONLY_SHOWS = "This server only shows: it answers GraphQL questions that change nothing, and no others."

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refusal:
    """Why a request is not answered: an HTTP status and one sentence for whoever reads the answer."""

    status: HTTPStatus
    sentence: str


class Guard:
    """Lets through what our own pages and programs on this machine ask, and refuses everything else.

    Args:
        application: what is guarded.
        port: the port that people type; a tunnel must keep it.
        read_only: refuse whatever would change something, too.
    """

    def __init__(self, application: Application, port: int, *, read_only: bool = False) -> None:
        self._application = application
        self._read_only = read_only
        names = ("127.0.0.1", "localhost", "[::1]")  # the last one reaches us only through a tunnel
        # Of the port that http has by itself browsers say nothing.
        self._hosts = names if port == HTTP_PORT else tuple(f"{name}:{port}" for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or hands it on."""
        if scope["type"] not in {"http", "websocket"}:  # start and end of the server
            await self._application(scope, receive, send)
            return
        websocket = scope["type"] == "websocket"
        refusal = self._of_websocket(scope) if websocket else self._of_http(scope)
        if refusal is None and self._read_only:
            if websocket:
                receive = _only_shown(receive)
            elif scope["method"] == "POST":
                body = await _body(receive)
                refusal = _of_question(body)
                receive = _again(body, receive)
        if refusal is None:
            await self._application(scope, receive, send if websocket else _secured(send))
            return
        _log.warning("Refused %s %r: %s", scope.get("method", "WebSocket"), scope["path"], refusal.sentence)
        if websocket:
            await receive()  # the request to connect
        await _answer(scope, send, refusal)

    def _of_anybody(self, scope: Scope) -> Refusal | None:
        """What holds for every request: that it was meant for us, and comes from a page of ours or from no page."""
        hosts = _values(scope, b"host")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return _forbidden(f"This server answers to {', '.join(self._hosts)} and to no other host.")
        origins = _values(scope, b"origin")
        if origins and origins != [f"http://{hosts[0].lower()}"]:
            return _forbidden("Only the pages of this server may send requests to it.")
        sites = _values(scope, b"sec-fetch-site")
        if not set(sites) <= {"same-origin", "none"} and not _follows_a_link(scope):
            return _forbidden("Only the pages of this server may load anything from it.")
        return None

    def _of_http(self, scope: Scope) -> Refusal | None:
        refusal = self._of_anybody(scope)
        if refusal is not None:
            return refusal
        method = scope["method"]
        if method not in {"GET", "HEAD", "POST"}:
            return Refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"{method[:20]} is not answered; GET, HEAD and POST are.")
        if (
            _is_graphql(scope)
            and scope["query_string"]
            and not (method == "POST" and _NAME.fullmatch(scope["query_string"]))
        ):
            # By POST, too: Dagster looks there when it does not take the body for JSON.
            return Refusal(
                HTTPStatus.METHOD_NOT_ALLOWED,
                f"GraphQL is asked by POST to {GRAPHQL}, in the body, not in the address.",
            )
        return self._of_post(scope) if method == "POST" else None

    def _of_post(self, scope: Scope) -> Refusal | None:
        kinds = [value.partition(";")[0].strip().lower() for value in _values(scope, b"content-type")]
        if kinds != ["application/json"]:
            # The one kind that a browser sends for no foreign page without asking us first, and we never agree.
            return Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "What is posted here must be application/json.")
        if self._read_only and not _is_graphql(scope):
            return _forbidden(_ONLY_SHOWS)
        return None

    def _of_websocket(self, scope: Scope) -> Refusal | None:
        refusal = self._of_anybody(scope)
        if refusal is not None:
            return refusal
        if not _values(scope, b"origin"):
            return _forbidden("A WebSocket is opened by the pages of this server only.")
        if not _is_graphql(scope) or PROTOCOL not in scope["subprotocols"]:
            return _forbidden(f"The only WebSocket here is {GRAPHQL} with the protocol {PROTOCOL}.")
        return None


def changes_something(query: object) -> bool:
    """Whether a GraphQL text holds a mutation, or cannot be read.

    How deeply nested a text can be read depends on the stack of the reader, so what is too deep for us need not be too
    deep for the server.
    """
    if not isinstance(query, str):
        return True
    try:
        document = graphql.parse(query)
    except graphql.GraphQLSyntaxError:
        return True
    return any(
        isinstance(part, graphql.OperationDefinitionNode) and part.operation == graphql.OperationType.MUTATION
        for part in document.definitions
    )


def _of_question(body: bytes | None) -> Refusal | None:
    """Why a viewer may not ask this; the server reads the same JSON in the same way."""
    if body is None:
        return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"No question is longer than {LONGEST_QUESTION:,} bytes.")
    asked = _json(body)
    if not isinstance(asked, dict) or changes_something(asked.get("query")):
        return _forbidden(_ONLY_SHOWS)
    return None


def _only_shown(receive: Receive) -> Receive:
    """Ends a viewer's WebSocket when it asks for a change."""

    async def next_message() -> Message:
        message = await receive()
        if message["type"] == "websocket.receive":
            said = _json(message.get("text") or message.get("bytes") or "")
            payload = said.get("payload") if isinstance(said, dict) else None
            started = not isinstance(said, dict) or said.get("type") == "start"
            if started and (not isinstance(payload, dict) or changes_something(payload.get("query"))):
                _log.warning("Refused a message of a WebSocket: %s", _ONLY_SHOWS)
                return {"type": "websocket.disconnect", "code": 1008, "reason": _ONLY_SHOWS}
        return message

    return next_message


def _json(text: bytes | str) -> object:
    """What a JSON text says; nothing when it is none."""
    try:
        said: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return said


async def _body(receive: Receive) -> bytes | None:
    """All that is posted; nothing when it is too long, or its sender went away."""
    parts: list[bytes] = []
    length, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        length += len(parts[-1])
        if length > LONGEST_QUESTION:
            return None
        more = message.get("more_body", False)
    return b"".join(parts)


def _again(body: bytes | None, receive: Receive) -> Receive:
    """What was read already, for whoever reads it now, and then what comes."""
    waiting: list[Message] = [{"type": "http.request", "body": body or b"", "more_body": False}]

    async def next_message() -> Message:
        return waiting.pop() if waiting else await receive()

    return next_message


def _secured(send: Send) -> Send:
    """Adds what tells a browser to let no other page show, open or read ours."""

    async def send_secured(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [(name, value) for name, value in message.get("headers", ()) if name.lower() not in _REPLACED]
            message = {**message, "headers": [*kept, *SECURITY]}
        await send(message)

    return send_secured


async def _answer(scope: Scope, send: Send, refusal: Refusal) -> None:
    """The refusal as plain text; of a WebSocket, which nobody reads an answer from, the status 403 alone."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": refusal.sentence})
        return
    text = f"{refusal.sentence}\n".encode()
    headers: Headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(text)).encode()),
        (b"cache-control", b"no-store"),
        *SECURITY,
    ]
    if refusal.status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append((b"allow", b"POST" if _is_graphql(scope) else b"GET, HEAD, POST"))
    await send({"type": "http.response.start", "status": refusal.status.value, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def _forbidden(sentence: str) -> Refusal:
    return Refusal(HTTPStatus.FORBIDDEN, sentence)


def _values(scope: Scope, name: bytes) -> list[str]:
    """Every value that a header was given; one that is given twice is nothing to be relied on."""
    return [value.decode("latin-1").strip() for key, value in scope["headers"] if key.lower() == name]


def _is_graphql(scope: Scope) -> bool:
    """Whether the server could take the path, already decoded, for that of GraphQL."""
    return bool(scope["path"].strip("/") == GRAPHQL.strip("/"))


def _follows_a_link(scope: Scope) -> bool:
    """Whether somebody followed a link in a mail or chat: the page opens by itself, and nobody else can read it."""
    return (
        scope.get("method") == "GET"
        and not _is_graphql(scope)
        and _values(scope, b"sec-fetch-mode") == ["navigate"]
        and _values(scope, b"sec-fetch-dest") == ["document"]
    )
