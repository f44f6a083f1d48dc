"""The web server's own manners."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from urllib.error import URLError
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
def test_server_stops_despite_a_request_that_never_ends(what: str) -> None:
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
