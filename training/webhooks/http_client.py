"""HTTP client of webhooks: one POST to a checked address, no redirects, bounded time and size."""

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

from training.webhooks.url_policy import (
    RESOLVE_SECONDS,
    ForbiddenUrlError,
    Target,
    parse_target,
    resolve_addresses,
)

STEP_SECONDS = 10  # to connect, and for each read
TOTAL_SECONDS = 20  # to resolve the name, connect, send and read
MAX_ADDRESSES = 4
MAX_RESPONSE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class WebhookResponse:
    """The result of an attempt: a status code, or an error if there was no response."""

    code: int | None
    error: str
    milliseconds: int
    retry_after: float = 0.0

    @property
    def succeeded(self) -> bool:
        return self.code is not None and 200 <= self.code < 300


def post(url: str, headers: Mapping[str, str], body: bytes) -> WebhookResponse:
    """Send one request. Every failure is a WebhookResponse, never an exception."""
    started = time.monotonic()
    code, error, retry_after = None, "", 0.0
    try:
        target = parse_target(url)
        code, retry_after, text = _exchange(target, headers, body)
        if not 200 <= code < 300:
            error = f"The receiver answered {code}. {text}".strip()
    except ForbiddenUrlError as refusal:
        error = str(refusal)
    except (OSError, UnicodeError, http.client.HTTPException) as failure:
        error = f"{type(failure).__name__}: {failure}"
    elapsed = time.monotonic() - started
    if code is None and elapsed >= TOTAL_SECONDS:
        error = f"No complete response within {TOTAL_SECONDS} s."
    return WebhookResponse(code, error[:500], round(1000 * elapsed), retry_after)


def _exchange(target: Target, headers: Mapping[str, str], body: bytes) -> tuple[int, float, str]:
    """Return the status code, the seconds of Retry-After, and the beginning of the body."""
    deadline = time.monotonic() + TOTAL_SECONDS
    addresses = resolve_addresses(target, min(RESOLVE_SECONDS, TOTAL_SECONDS))
    sock = _connect(addresses, target.port, deadline)
    if target.tls:
        sock = _ssl_context().wrap_socket(
            sock, server_hostname=target.host, do_handshake_on_connect=False
        )
    # The timeout of a read never expires if the receiver sends a byte now and then.
    watchdog = threading.Timer(max(deadline - time.monotonic(), 0), _shut_down, [sock])
    watchdog.daemon = True
    watchdog.start()
    try:
        if isinstance(sock, ssl.SSLSocket):
            sock.do_handshake()
        connection = http.client.HTTPConnection(target.host, target.port, timeout=STEP_SECONDS)
        connection.sock = sock  # connected to the address that was checked
        request_headers = {
            "Host": target.authority,
            "Content-Type": "application/json",
            "User-Agent": "Heimdall-Webhook/1",
            "Connection": "close",
            **headers,
        }
        connection.request("POST", target.path, body, request_headers)
        response = connection.getresponse()
        text = response.read(MAX_RESPONSE_BYTES).decode("utf-8", "replace")
        return response.status, _retry_after(response), text.replace("\x00", "")[:200]
    finally:
        watchdog.cancel()
        sock.close()


def _retry_after(response: http.client.HTTPResponse) -> float:
    value = response.getheader("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else 0.0


def _connect(addresses: list[str], port: int, deadline: float) -> socket.socket:
    failure: OSError = OSError("The name has no address.")
    for address in addresses[:MAX_ADDRESSES]:
        timeout = min(STEP_SECONDS, deadline - time.monotonic())
        if timeout <= 0:
            break
        try:
            sock = socket.create_connection((address, port), timeout=timeout)
        except OSError as error:
            failure = error
        else:
            sock.settimeout(STEP_SECONDS)
            return sock
    raise failure


def _shut_down(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


@cache
def _ssl_context() -> ssl.SSLContext:
    return ssl.create_default_context()
