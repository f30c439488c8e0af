"""Hooks against real ones: a program, an HTTP server and an SMTP server on loopback."""

import http.server
import json
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.automation import hooks
from mlops_assets.automation.hooks import HookError, call, configured, redacted
from mlops_assets.contract.model import Alerts

RECORD = {"run": "abc", "title": "visits: cleaned\nwas refused", "text": "Because of ünits.", "sentences": ["No."]}
SECRET = "s3cret/pass word"  # noqa: S105 - it opens nothing


def script(folder: Path, body: str) -> tuple[str, ...]:
    path = folder / "told.py"
    path.write_text(body)
    return (sys.executable, path.name)


def refused(hook: str, alerts: Alerts, folder: Path) -> str:
    with pytest.raises(HookError) as found:
        call(hook, alerts, folder, RECORD)
    assert found.value.__cause__ is None
    assert found.value.__suppress_context__ or found.value.__context__ is None
    return str(found.value)


def test_only_what_is_named_is_configured() -> None:
    assert configured(Alerts()) == []
    assert configured(Alerts(command=("true",), webhook="A", email="B", recipients=("a@example.org",))) == [
        "command",
        "webhook",
        "email",
    ]


# A command.


def test_a_command_gets_the_record_on_its_input_in_the_folder_of_the_dataset(tmp_path: Path) -> None:
    words = script(tmp_path, "import sys, pathlib; pathlib.Path('got.json').write_text(sys.stdin.read())")
    call("command", Alerts(command=words), tmp_path, RECORD)
    assert json.loads((tmp_path / "got.json").read_text()) == RECORD


def test_a_command_is_not_a_shell_line(tmp_path: Path) -> None:
    words = script(tmp_path, "import sys, pathlib; pathlib.Path('words').write_text(repr(sys.argv[1:]))")
    call("command", Alerts(command=(*words, "$(touch bad)", "; touch bad", "*")), tmp_path, RECORD)
    assert (tmp_path / "words").read_text() == "['$(touch bad)', '; touch bad', '*']"
    assert not (tmp_path / "bad").exists()


def test_a_command_that_reads_nothing_is_fine(tmp_path: Path) -> None:
    record = RECORD | {"text": "x" * 1_000_000}
    call("command", Alerts(command=script(tmp_path, "")), tmp_path, record)


def test_a_command_that_fails_is_told_without_what_it_printed(tmp_path: Path) -> None:
    words = script(tmp_path, f"import sys; print({SECRET!r}); sys.exit({SECRET!r} and 3)")
    said = refused("command", Alerts(command=words), tmp_path)
    assert "ended with exit code 3" in said
    assert SECRET not in said


def test_a_command_that_is_not_there_is_told(tmp_path: Path) -> None:
    said = refused("command", Alerts(command=("no-such-program",)), tmp_path)
    assert said == "The command 'no-such-program' cannot be started: No such file or directory."


def test_a_command_that_does_not_end_is_ended_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "COMMAND_SECONDS", 1.0)
    body = """
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path("child").write_text(str(child.pid))
time.sleep(600)
"""
    began = time.monotonic()
    said = refused("command", Alerts(command=script(tmp_path, body)), tmp_path)
    assert "took longer than 1 s and was ended" in said
    assert time.monotonic() - began < 20
    child = Path("/proc") / (tmp_path / "child").read_text()
    limit = time.monotonic() + 10
    while child.exists() and " Z " not in (child / "stat").read_text() and time.monotonic() < limit:
        time.sleep(0.05)
    assert not child.exists() or " Z " in (child / "stat").read_text()


# A webhook.


@dataclass
class Web:
    """What an HTTP server got, and how it answers."""

    port: int = 0
    status: int = 200
    location: str | None = None
    pause: float = 0.0
    got: list[tuple[str, str, str, bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/{SECRET.replace(' ', '%20')}?token=t0ken-t0ken"


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    state = Web()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            state.got.append((self.command, self.path, self.headers.get("Content-Type", ""), body))
            time.sleep(state.pause)
            self.send_response(state.status)
            if state.location:
                self.send_header("Location", state.location)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            del arguments

    monkeypatch.setenv("no_proxy", "*")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.port = server.server_port
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        monkeypatch.setenv("ALERTS_URL", state.url)
        yield state
        server.shutdown()


WEBHOOK = Alerts(webhook="ALERTS_URL")


def test_a_webhook_gets_the_record(web: Web, tmp_path: Path) -> None:
    call("webhook", WEBHOOK, tmp_path, RECORD)
    ((method, path, kind, body),) = web.got
    assert (method, kind) == ("POST", "application/json")
    assert web.url.endswith(path)
    assert json.loads(body) == RECORD


def test_an_answer_that_is_no_success_is_told(web: Web, tmp_path: Path) -> None:
    web.status = 503
    assert refused("webhook", WEBHOOK, tmp_path) == "The webhook that ALERTS_URL names answered with status 503."


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirection_is_not_followed(web: Web, tmp_path: Path, status: int) -> None:
    web.status, web.location = status, f"http://127.0.0.1:{web.port}/elsewhere"
    assert f"answered with status {status}" in refused("webhook", WEBHOOK, tmp_path)
    assert len(web.got) == 1


def test_a_server_that_does_not_answer_is_not_waited_for(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "NETWORK_SECONDS", 0.5)
    web.pause = 3
    assert "cannot be reached: no answer within " in refused("webhook", WEBHOOK, tmp_path)


def test_nobody_listens(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERTS_URL", "http://127.0.0.1:9/x")
    said = refused("webhook", WEBHOOK, tmp_path)
    assert said == "The webhook that ALERTS_URL names cannot be reached: Connection refused."
    assert web.got == []


BAD = [
    f"file:///etc/{SECRET}",
    f"ftp://user:{SECRET}@127.0.0.1/",
    f"//127.0.0.1/{SECRET}",
    f"http://[bad/{SECRET}",
    f"http://127.0.0.1:99999/{SECRET}",
    f"http:///{SECRET}",
]


@pytest.mark.parametrize("value", BAD)
def test_an_address_of_another_kind_is_refused_without_saying_it(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERTS_URL", value)
    said = refused("webhook", WEBHOOK, tmp_path)
    assert said == "The environment variable ALERTS_URL holds no http:// or https:// URL."


@pytest.mark.parametrize("path", ["two words", "line\nbreak", "caf\u00e9"])
def test_an_address_that_the_library_refuses_is_told_without_saying_it(
    web: Web, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERTS_URL", f"http://127.0.0.1:{web.port}/{SECRET}{path}")
    said = refused("webhook", WEBHOOK, tmp_path)
    assert said.startswith("The webhook that ALERTS_URL names cannot be reached: ")
    assert "s3cret" not in said


@pytest.mark.parametrize(("hook", "wanted"), [("webhook", "http:// or https://"), ("email", "smtp:// or smtps://")])
def test_a_variable_that_is_not_set_is_named(
    hook: str, wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALERTS_URL", raising=False)
    alerts = Alerts(webhook="ALERTS_URL", email="ALERTS_URL", recipients=("ann@example.org",))
    said = refused(hook, alerts, tmp_path)
    assert said == f"The environment variable ALERTS_URL is not set where the daemon runs: set it to a {wanted} URL."


# Mail.


@dataclass
class Post:
    """What an SMTP server got, and what it can do."""

    host: str = "127.0.0.1"
    port: int = 0
    context: ssl.SSLContext | None = None
    encrypted: bool = False
    offers: tuple[bytes, ...] = (b"AUTH PLAIN",)
    refuses: bytes = b""
    commands: list[bytes] = field(default_factory=list)
    mails: list[bytes] = field(default_factory=list)


class Postman(socketserver.BaseRequestHandler):
    """The least of a mail server: it answers what a client asks, one command a line."""

    post: Post

    def setup(self) -> None:
        if self.post.encrypted:
            self._encrypt()
        self.lines = self.request.makefile("rb")

    def finish(self) -> None:
        self.lines.close()
        self.request.close()

    def handle(self) -> None:
        self._say(b"220 here")
        while line := self.lines.readline().strip():
            self.post.commands.append(line)
            if self.post.refuses and line.startswith(self.post.refuses):
                self._say(b"550 no")
                continue
            name = line.split()[0].decode().lower()
            getattr(self, f"_{name}", lambda: self._say(b"250 fine"))()

    def _ehlo(self) -> None:
        *first, last = (b"here", *self.post.offers)
        self._say(*(b"250-" + each for each in first), b"250 " + last)

    def _starttls(self) -> None:
        self._say(b"220 go on")
        self.lines.close()
        self._encrypt()
        self.lines = self.request.makefile("rb")

    def _auth(self) -> None:
        self._say(b"235 welcome")

    def _data(self) -> None:
        self._say(b"354 go on")
        self.post.mails.append(b"".join(iter(self.lines.readline, b".\r\n")))
        self._say(b"250 taken")

    def _quit(self) -> None:
        self._say(b"221 bye")

    def _encrypt(self) -> None:
        assert self.post.context is not None
        try:
            self.request = self.post.context.wrap_socket(self.request, server_side=True)
        except ssl.SSLError:  # a client that does not trust the certificate
            self.request.close()
            raise

    def _say(self, *lines: bytes) -> None:
        self.request.sendall(b"".join(line + b"\r\n" for line in lines))


class PostOffice(socketserver.ThreadingTCPServer):
    def handle_error(self, *arguments: Any) -> None:
        """A client that goes in the middle is no news."""
        del arguments


@contextmanager
def posted(post: Post) -> Iterator[Post]:
    handler = type("Handler", (Postman,), {"post": post})
    with PostOffice((post.host, 0), handler) as server:
        post.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        try:
            yield post
        finally:
            server.shutdown()


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's certificate for 127.0.0.1, and the file that lets clients trust it."""
    folder = tmp_path_factory.mktemp("certificate")
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout key.pem -out cert.pem -subj /CN=127.0.0.1"
    words += " -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(words.split(), cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context, folder / "cert.pem"


MAIL = Alerts(email="SMTP_URL", recipients=("ann@example.org", "bob@example.org"))


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the address of the mail server."""

    def to(post: Post, scheme: str = "smtp", user: str = "") -> None:
        monkeypatch.setenv("SMTP_URL", f"{scheme}://{user}{post.host}:{post.port}")

    return to


USER = "me%40example.org:s3cret%2Fpass%20word@"


def test_a_mail_says_the_text_and_goes_to_everybody(tmp_path: Path, at: Callable[..., None]) -> None:
    with posted(Post()) as post:
        at(post)
        call("email", MAIL, tmp_path, RECORD)
    (mail,) = post.mails
    found = message_from_bytes(mail, policy=policy.default)
    assert found["Subject"] == "visits: cleaned was refused"
    assert found["To"] == "ann@example.org, bob@example.org"
    assert found["From"].startswith("mlops-assets@")
    assert found.get_content().strip() == "Because of ünits."
    assert [line for line in post.commands if line.startswith(b"rcpt TO")] == [
        b"rcpt TO:<ann@example.org>",
        b"rcpt TO:<bob@example.org>",
    ]


@pytest.mark.parametrize("how", ["smtps", "starttls"])
def test_a_password_goes_through_an_encrypted_line(
    how: str,
    trusted: tuple[ssl.SSLContext, Path],
    tmp_path: Path,
    at: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context, certificate = trusted
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    offers = (b"AUTH PLAIN", b"STARTTLS") if how == "starttls" else (b"AUTH PLAIN",)
    with posted(Post(context=context, offers=offers, encrypted=how == "smtps")) as post:
        at(post, "smtps" if how == "smtps" else "smtp", USER)
        call("email", MAIL, tmp_path, RECORD)
    verbs = [line.split()[0] for line in post.commands]
    assert b"AUTH" in verbs
    assert how == "smtps" or verbs.index(b"STARTTLS") < verbs.index(b"AUTH")
    assert message_from_bytes(post.mails[0])["From"] == "me@example.org"


@pytest.mark.parametrize("how", ["smtps", "starttls"])
def test_a_certificate_that_nobody_signed_is_refused(
    how: str, trusted: tuple[ssl.SSLContext, Path], tmp_path: Path, at: Callable[..., None]
) -> None:
    with posted(Post(context=trusted[0], offers=(b"STARTTLS",), encrypted=how == "smtps")) as post:
        at(post, "smtps" if how == "smtps" else "smtp", USER)
        said = refused("email", MAIL, tmp_path)
    assert said == "The mail server that SMTP_URL names cannot be used: self-signed certificate."
    assert not any(line.startswith(b"AUTH") for line in post.commands)


def test_a_password_is_not_sent_in_the_clear_to_another_machine(tmp_path: Path, at: Callable[..., None]) -> None:
    # Of all addresses that lead back here, this one is not known to do so.
    with posted(Post(host="127.0.0.2")) as post:
        at(post, "smtp", USER)
        said = refused("email", MAIL, tmp_path)
    assert said == (
        "The mail server that SMTP_URL names offers no encryption, so the password was not sent: use smtps://."
    )
    assert not any(line.startswith(b"AUTH") for line in post.commands)


@pytest.mark.parametrize(
    ("refuses", "said"),
    [
        (b"AUTH", "The mail server that SMTP_URL names refused the user and password in it."),
        (b"mail", "The mail server that SMTP_URL names answered with 550."),
        (b"rcpt", "The mail server refused every recipient: ann@example.org, bob@example.org."),
        (
            b"rcpt TO:<bob",
            "The mail server refused these recipients, and took the others: bob@example.org.",
        ),
    ],
)
def test_what_a_mail_server_refuses_is_told(refuses: bytes, said: str, tmp_path: Path, at: Callable[..., None]) -> None:
    with posted(Post(refuses=refuses)) as post:
        at(post, "smtp", USER)
        assert refused("email", MAIL, tmp_path) == said


def test_no_mail_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_URL", f"smtp://{USER}127.0.0.1:9")
    said = refused("email", MAIL, tmp_path)
    assert said == "The mail server that SMTP_URL names cannot be used: Connection refused."


# Secrets.


def test_no_secret_is_left_in_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERTS_URL", "https://hooks.example.org/T0/B0/s3cret?token=abcdef")
    monkeypatch.setenv("SMTP_URL", f"smtps://{USER}mail.example.org/")
    alerts = Alerts(webhook="ALERTS_URL", email="SMTP_URL", recipients=("ann@example.org",))
    text = "see https://hooks.example.org/T0/B0/s3cret?token=abcdef or /T0/B0/s3cret and token=abcdef; s3cret/pass word"
    assert redacted(text, alerts) == "see *** or *** and ***; ***"
    assert redacted("a/b harmless", alerts) == "a/b harmless"
    assert redacted(text, Alerts()) == text
