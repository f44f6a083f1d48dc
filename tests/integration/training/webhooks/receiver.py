"""A web server that takes webhooks, and answers as the test says."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """`got`: path, headers and body of each POST; `answers`: codes, the last one for ever.

    While `opens` is not set, nothing is answered.
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
            receiver.got.append((self.path, headers, self.rfile.read(size)))
            receiver.opens.wait(60)
            code = receiver.answers.pop(0) if len(receiver.answers) > 1 else receiver.answers[0]
            self.send_response(code)
            for name, value in receiver.more.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(receiver.body)

        def handle(self) -> None:
            with contextlib.suppress(OSError):  # whoever asked has been killed meanwhile
                super().handle()

        def log_message(self, *_: Any) -> None:
            """Silence."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.opens.set()
        server.shutdown()
        server.server_close()
        thread.join()
