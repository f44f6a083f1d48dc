"""A web server that receives webhooks and responds as configured by the test."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """`got`: path, headers and body of each POST; `answers`: status codes, the last one repeats.

    It does not respond while `opens` is not set.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[int] = [204]
        self.more: dict[str, str] = {}
        self.body = b""
        self.opens = threading.Event()
        self.opens.set()


@contextmanager
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers["Content-Length"])
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.got.append((self.path, headers, self.rfile.read(size)))
            found.opens.wait(60)
            code = found.answers.pop(0) if len(found.answers) > 1 else found.answers[0]
            self.send_response(code)
            for name, value in found.more.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(found.body)

        def handle(self) -> None:
            with contextlib.suppress(OSError):  # the sender was killed meanwhile
                super().handle()

        def log_message(self, *_: Any) -> None:
            """Silence."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Receiver(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.opens.set()
        server.shutdown()
        server.server_close()
        thread.join()
