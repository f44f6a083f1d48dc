"""One POST to a checked address: no redirects, bounded in time and in what is read."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from training.webhooks.url_policy import ForbiddenUrlError, Target, parse_target, resolve_addresses

STEP_SECONDS = 10  # to connect, and for each read
TOTAL_SECONDS = 20
MAX_RESPONSE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class WebhookResponse:
    """What came of an attempt: a status code, or else what went wrong."""

    code: int | None
    error: str
    milliseconds: int
    retry_after: float = 0.0

    @property
    def taken(self) -> bool:
        return self.code is not None and 200 <= self.code < 300


def post(url: str, headers: Mapping[str, str], body: bytes) -> WebhookResponse:
    """Whatever happens is an Answer."""
    began = time.monotonic()
    code, error, retry_after = None, "", 0.0
    try:
        found = parse_target(url)
        code, retry_after, said = _exchange(found, headers, body)
        if not 200 <= code < 300:
            error = f"The receiver answered {code}. {said}".strip()
    except ForbiddenUrlError as refusal:
        error = str(refusal)
    except (OSError, UnicodeError, http.client.HTTPException) as fault:
        error = f"{type(fault).__name__}: {fault}"
    if code is None and time.monotonic() - began >= TOTAL_SECONDS:
        error = f"No whole answer within {TOTAL_SECONDS} s."
    return WebhookResponse(code, error[:500], round(1000 * (time.monotonic() - began)), retry_after)


def _exchange(found: Target, headers: Mapping[str, str], body: bytes) -> tuple[int, float, str]:
    """Status code, seconds of Retry-After, and the beginning of what was said."""
    addresses = resolve_addresses(found)
    line = _connect(addresses, found.port)
    if found.tls:
        line = _context().wrap_socket(
            line, server_hostname=found.host, do_handshake_on_connect=False
        )
    # A receiver that sends a byte now and then would keep each single read happy for ever.
    watchdog = threading.Timer(TOTAL_SECONDS, _abort, [line])
    watchdog.daemon = True
    watchdog.start()
    try:
        if isinstance(line, ssl.SSLSocket):
            line.do_handshake()
        connection = http.client.HTTPConnection(found.host, found.port, timeout=STEP_SECONDS)
        connection.sock = line  # already open, to the address that was checked
        told = {"Host": found.authority, "Content-Type": "application/json",
                "User-Agent": "Heimdall-Webhook/1", "Connection": "close", **headers}  # fmt: skip
        connection.request("POST", found.path, body, told)
        answer = connection.getresponse()
        wait = answer.getheader("Retry-After", "")
        said = answer.read(MAX_RESPONSE_BYTES).decode("utf-8", "replace")
        seconds = float(wait) if wait.isascii() and wait.isdigit() else 0.0
        return answer.status, seconds, said.replace("\x00", "")[:200]
    finally:
        watchdog.cancel()
        line.close()


def _connect(addresses: list[str], port: int) -> socket.socket:
    """To the first that answers."""
    fault: OSError = OSError("The name has no address.")
    for address in addresses[:4]:
        try:
            return socket.create_connection((address, port), timeout=STEP_SECONDS)
        except OSError as error:
            fault = error
    raise fault


def _abort(line: socket.socket) -> None:
    with contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)


@cache
def _context() -> ssl.SSLContext:
    return ssl.create_default_context()
