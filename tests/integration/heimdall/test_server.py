"""The web server's own manners."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from urllib.error import URLError
from urllib.request import urlopen

# A request that will not hear that it is over: it swallows every cancel.
STUBBORN = """
import asyncio

async def application(scope, receive, send):
    print("asked", flush=True)
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

from heimdall.server import Server
Server(application, "127.0.0.1", 0, lambda port: print(port, flush=True)).run()
"""


def test_a_request_that_never_ends_does_not_keep_the_server_from_ending() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True
    ) as web:
        assert web.stdout is not None
        port = int(web.stdout.readline())
        with suppress(URLError, TimeoutError):
            urlopen(f"http://127.0.0.1:{port}/", timeout=0.5)
        assert web.stdout.readline() == "asked\n"
        web.terminate()
        assert web.wait(timeout=60) == 0
