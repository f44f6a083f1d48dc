"""The web server: back-pressure, deadlines, failing responses and shutdown."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import IncompleteRead
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

# Requests that will not hear that they are over.
STUBBORN = {
    "a task that swallows every cancel": """
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
""",
    "a thread that waits for ever": """
    await sync_to_async(threading.Event().wait)()
""",
}
PROGRAM = """
import asyncio, threading
from asgiref.sync import sync_to_async

async def application(scope, receive, send):
    print("asked", flush=True)
{}
from heimdall.daphne.server import DaphneServer, exit_after_timeout
DaphneServer(application, "127.0.0.1", 0, lambda port: print(port, flush=True)).run()
exit_after_timeout()
"""


@pytest.mark.parametrize("what", STUBBORN)
def test_server_stops_although_a_request_never_ends(what: str) -> None:
    program = PROGRAM.format(STUBBORN[what])
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as web:
        assert web.stdout is not None
        port = int(web.stdout.readline())
        with suppress(URLError, TimeoutError):
            urlopen(f"http://127.0.0.1:{port}/", timeout=0.5)
        assert web.stdout.readline() == "asked\n"
        web.terminate()
        assert web.wait(timeout=60) == 0


STREAM = """
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for number in range(1000):
        await send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})
        print(number, flush=True)
    await send({"type": "http.response.body", "body": b""})
    print("sent", flush=True)
"""


def test_response_waits_for_a_client_that_does_not_read() -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(STREAM)], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    try:
        port = int(server.stdout.readline())
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            written = _lines_until_silence(server.stdout, seconds=1.0)
            assert "sent" not in written
            assert len(written) < 200  # what the sockets' buffers hold, of 100 MB
            received = 0
            while block := client.recv(1 << 20):
                received += len(block)
        assert received > 100_000_000
    finally:
        server.terminate()
        server.communicate(timeout=20)


FAILING = """
    await receive()
    if scope["path"] != "/at-once":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"row\\n" * 1000, "more_body": True})
    raise OSError("the database went away")
"""


def test_failing_streamed_responses_are_cut_off_each_time() -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(FAILING)], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    try:
        port = int(server.stdout.readline())
        for _ in range(2):
            with (
                urlopen(f"http://127.0.0.1:{port}/rows", timeout=60) as response,
                pytest.raises((IncompleteRead, ConnectionError)),
            ):
                response.read()
        with pytest.raises(HTTPError, match="500"):
            urlopen(f"http://127.0.0.1:{port}/at-once", timeout=60)
    finally:
        server.terminate()
        server.communicate(timeout=20)


ECHO = """
    size, messages = 0, 0
    while True:
        message = await receive()
        size, messages = size + len(message["body"]), messages + 1
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d" % size})
"""
SHORT_DEADLINES = """
import heimdall.daphne.server
from heimdall.daphne import deadlines
deadlines.HEAD_SECONDS = deadlines.BODY_GRACE_SECONDS = 0.6
deadlines.BODY_CHECK_SECONDS = 0.2
"""
REQUEST = b"POST / HTTP/1.1\r\nHost: localhost\r\n"


@contextmanager
def serving(application: str, before: str = "") -> Iterator[int]:
    """A server of this application; its port."""
    program = before + PROGRAM.format(application)
    server = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield int(server.stdout.readline())
    finally:
        server.terminate()
        server.communicate(timeout=20)


@pytest.mark.parametrize(
    ("sent", "drip"),
    [
        (b"", b""),
        (b"GET / HTTP/1.1\r\nX: ", b"x"),
        (REQUEST + b"Content-Length: 1000\r\n\r\n", b"x"),
        (REQUEST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
)
def test_connection_with_a_slow_head_or_body_is_closed(sent: bytes, drip: bytes) -> None:
    with (
        serving(ECHO, SHORT_DEADLINES) as port,
        socket.create_connection(("127.0.0.1", port), timeout=20) as client,
    ):
        client.sendall(sent)
        client.settimeout(0.1)
        received = b""
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with suppress(BrokenPipeError, ConnectionResetError):
                client.sendall(drip)
            try:
                received += (block := client.recv(4096))
            except TimeoutError:
                continue
            except ConnectionResetError:
                break
            if not block:
                break
        assert time.monotonic() < until
        assert received.startswith(b"HTTP/1.1 408 ")


def test_bodies_arrive_complete_and_the_header_deadline_ends_no_open_connection() -> None:
    with (
        serving(ECHO, SHORT_DEADLINES) as port,
        socket.create_connection(("127.0.0.1", port), timeout=20) as client,
    ):
        for size in (0, 1, 65_536, 131_072, 300_001):
            client.sendall(REQUEST + b"Content-Length: %d\r\n\r\n" % size + bytes(size))
            answer = b""
            while not answer.endswith(b"\r\n0\r\n\r\n"):
                answer += (block := client.recv(4096))
                assert block, answer
            assert answer.split(b"\r\n")[-4] == b"%d" % size
            time.sleep(0.8)


def _lines_until_silence(stream: IO[str], seconds: float) -> list[str]:
    found: list[str] = []
    os.set_blocking(stream.fileno(), False)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if line := stream.readline():
            found.append(line.strip())
            deadline = time.monotonic() + seconds
        else:
            time.sleep(0.05)
    return found


def test_address_in_use_is_reported_as_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        program = f"""
from heimdall.daphne.server import DaphneServer
from heimdall.web_process import ListenError
try:
    DaphneServer(None, "127.0.0.1", {port}, print).run()
except ListenError as error:
    print(error)
"""
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.stdout.startswith(f"Cannot listen on 127.0.0.1:{port}: ")
    assert "Address already in use" in done.stdout
    assert done.stdout.endswith("Choose another address with --host or --port.\n")


BLOCKED = """
    input()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
"""


def test_connections_wait_to_be_accepted_while_the_server_is_busy() -> None:
    """Thousands of clients reconnect at once after a restart."""
    server = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(BLOCKED)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdin is not None and server.stdout is not None
    try:
        port = int(server.stdout.readline())
        with ExitStack() as opened:
            first = opened.enter_context(socket.create_connection(("127.0.0.1", port)))
            first.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert server.stdout.readline() == "asked\n"
            for _ in range(300):
                opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            server.stdin.write("\n")
            server.stdin.flush()
            assert first.recv(100).startswith(b"HTTP/1.1 200")
    finally:
        server.terminate()
        server.communicate(timeout=20)
