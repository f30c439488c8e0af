"""Telling somebody of a failed run: a command, a webhook, a mail, each as the contract's ``automation.alerts`` has it.

What belongs here: one call of one hook, and what went wrong with it as a sentence. What does not: when a hook is called
and how often (``failures``), and what is told (``records``).

An address with its password stands in an environment variable that the contract names. No sentence from here says more
of it than that name: what a library says of an error may hold the address, so only what is known to be harmless is
repeated.
"""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

from mlops_assets.contract.model import Alerts

if TYPE_CHECKING:
    import smtplib

COMMAND_SECONDS = 30.0
NETWORK_SECONDS = 10.0

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_REDACTED = "***"


class HookError(Exception):
    """A hook could not be called, or did not take what it was told; the text is a sentence without any secret."""


def configured(alerts: Alerts) -> list[str]:
    """The names of the hooks that are to be called."""
    wanted = {"command": alerts.command, "webhook": alerts.webhook, "email": alerts.email}
    return [name for name, value in wanted.items() if value]


def call(hook: str, alerts: Alerts, folder: Path, record: Mapping[str, Any]) -> None:
    """Call one hook once.

    Args:
        hook: ``command``, ``webhook`` or ``email``.
        alerts: how it is called.
        folder: the dataset's, in which a command is run.
        record: what is told, of JSON values; its ``title`` and ``text`` are what a mail says.

    Raises:
        HookError: it was not told, with a sentence.
    """
    hooks: dict[str, Callable[[Alerts, Path, Mapping[str, Any]], None]] = {
        "command": _command,
        "webhook": _webhook,
        "email": _email,
    }
    hooks[hook](alerts, folder, record)


def redacted(text: str, alerts: Alerts) -> str:
    """The text without any secret that the hooks know."""
    for secret in sorted(_secrets(alerts), key=len, reverse=True):
        text = text.replace(secret, _REDACTED)
    return text


def _secrets(alerts: Alerts) -> Iterator[str]:
    """What is in the environment variables, and the password, path and query in it: a webhook's path is its secret."""
    for name in (alerts.webhook, alerts.email):
        value = os.environ.get(name or "", "")
        if not value:
            continue
        yield value
        with suppress(ValueError):
            parts = urlsplit(value)
            found = [parts.password or "", unquote(parts.password or ""), parts.path, parts.query]
            # shorter ones would cut up harmless text, as `/` would
            yield from (text for text in found if len(text) > len(_REDACTED))


def _command(alerts: Alerts, folder: Path, record: Mapping[str, Any]) -> None:
    program = alerts.command[0]
    by_hand = "call it by hand with a failure's record on its standard input to see what it says"
    try:
        # Its output goes nowhere: it may hold secrets, and a pipe that a grandchild keeps open would hold us up.
        process = subprocess.Popen(
            alerts.command,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise HookError(f"The command {program!r} cannot be started: {error.strerror}.") from None
    try:
        process.communicate(json.dumps(record).encode(), COMMAND_SECONDS)
    except subprocess.TimeoutExpired:
        raise HookError(
            f"The command {program!r} took longer than {COMMAND_SECONDS:.0f} s and was ended; {by_hand}."
        ) from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode:
        raise HookError(f"The command {program!r} ended with exit code {process.returncode}; {by_hand}.")


def _webhook(alerts: Alerts, folder: Path, record: Mapping[str, Any]) -> None:
    import http.client
    import urllib.error
    import urllib.request

    del folder
    assert alerts.webhook is not None
    address = _address(alerts.webhook, {"http", "https"}).geturl()

    class Stay(urllib.request.HTTPRedirectHandler):
        """Follows nobody: what is told goes where the address says, and nowhere else."""

        def redirect_request(self, *arguments: Any, **more: Any) -> None:
            del arguments, more

    try:
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            address,
            json.dumps(record).encode(),
            {"Content-Type": "application/json", "User-Agent": "mlops-assets"},
            method="POST",
        )
        with urllib.request.build_opener(Stay).open(request, timeout=NETWORK_SECONDS) as answer:
            answer.read(1)
    except urllib.error.HTTPError as error:
        error.close()
        raise HookError(f"The webhook that {alerts.webhook} names answered with status {error.code}.") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise HookError(f"The webhook that {alerts.webhook} names cannot be reached: {_harmless(error)}.") from None


def _email(alerts: Alerts, folder: Path, record: Mapping[str, Any]) -> None:
    import smtplib
    import socket
    from email.message import EmailMessage

    del folder
    assert alerts.email is not None
    address = _address(alerts.email, {"smtp", "smtps"})
    user = unquote(address.username or "")
    message = EmailMessage()
    message["Subject"] = " ".join(str(record["title"]).split())
    message["From"] = user if "@" in user else f"mlops-assets@{socket.gethostname()}"
    message["To"] = ", ".join(alerts.recipients)
    message.set_content(str(record["text"]))
    try:
        with _connected(address) as server:
            if user:
                _log_in(server, address, alerts.email)
            refused = server.send_message(message)
    except smtplib.SMTPAuthenticationError:
        raise HookError(f"The mail server that {alerts.email} names refused the user and password in it.") from None
    except smtplib.SMTPResponseException as error:
        raise HookError(f"The mail server that {alerts.email} names answered with {error.smtp_code}.") from None
    except smtplib.SMTPRecipientsRefused as error:
        raise HookError(f"The mail server refused every recipient: {', '.join(sorted(error.recipients))}.") from None
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise HookError(f"The mail server that {alerts.email} names cannot be used: {_harmless(error)}.") from None
    if refused:
        raise HookError(f"The mail server refused these recipients, and took the others: {', '.join(sorted(refused))}.")


def _connected(address: SplitResult) -> "smtplib.SMTP":
    """A connection: encrypted from the start for ``smtps``, else as soon as the server offers it."""
    import smtplib
    import ssl

    host = address.hostname or ""
    if address.scheme == "smtps":
        return smtplib.SMTP_SSL(
            host, address.port or smtplib.SMTP_SSL_PORT, timeout=NETWORK_SECONDS, context=ssl.create_default_context()
        )
    server = smtplib.SMTP(host, address.port or smtplib.SMTP_PORT, timeout=NETWORK_SECONDS)
    server.ehlo_or_helo_if_needed()
    if server.has_extn("starttls"):
        server.starttls(context=ssl.create_default_context())
        server.ehlo()
    return server


def _log_in(server: "smtplib.SMTP", address: SplitResult, variable: str) -> None:
    import ssl

    if not isinstance(server.sock, ssl.SSLSocket) and address.hostname not in _LOOPBACK:
        raise HookError(
            f"The mail server that {variable} names offers no encryption, so the password was not sent: use smtps://."
        )
    server.login(unquote(address.username or ""), unquote(address.password or ""))


def _address(variable: str, schemes: set[str]) -> SplitResult:
    """The address in an environment variable.

    Raises:
        HookError: there is none, or it is of another kind.
    """
    value = os.environ.get(variable, "").strip()
    wanted = " or ".join(f"{scheme}://" for scheme in sorted(schemes))
    if not value:
        raise HookError(
            f"The environment variable {variable} is not set where the daemon runs: set it to a {wanted} URL."
        )
    with suppress(ValueError):
        found = urlsplit(value)
        # asking for the port is what checks it
        if found.scheme in schemes and found.hostname and found.port != 0:
            return found
    raise HookError(f"The environment variable {variable} holds no {wanted} URL.")


def _harmless(error: Exception) -> str:
    """What is known of an error without the text that a library made of it."""
    inner = getattr(error, "reason", None)
    reason = inner if isinstance(inner, Exception) else error
    if isinstance(reason, TimeoutError):
        return f"no answer within {NETWORK_SECONDS:.0f} s"
    told = getattr(reason, "verify_message", None) or getattr(reason, "strerror", None)
    return str(told) if told else type(reason).__name__
