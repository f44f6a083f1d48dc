"""Streams and downloads that wait hold neither a thread nor a connection to the database."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.stack import Stack

pytestmark = [pytest.mark.xdist_group("embedded"), pytest.mark.timeout(180)]
STREAMS = 40


def threads(stack: Stack) -> int:
    assert stack.web is not None
    status = Path(f"/proc/{stack.web.pid}/status").read_text()
    return int(re.findall(r"Threads:\s+(\d+)", status)[0])


def database_files(stack: Stack) -> int:
    """Open descriptors of the database: each connection has some."""
    assert stack.web is not None
    found = 0
    for file in Path(f"/proc/{stack.web.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found += "heimdall.sqlite3" in str(file.readlink())
    return found


@contextmanager
def stalled_reader(stack: Stack, request: str) -> Iterator[None]:
    """Send the request, and read only the beginning of the response."""
    with socket.create_connection(("127.0.0.1", stack.port)) as client:
        client.sendall(request.encode())
        assert client.recv(12) == b"HTTP/1.1 200"
        yield


@pytest.mark.parametrize("path", ["events/stream", "logs/stream"])
def test_idle_streams_hold_neither_threads_nor_database_connections(
    embedded: Stack, path: str
) -> None:
    job_id = embedded.submit(epochs=100_000, patience=100_000)
    embedded.until(job_id, "running")
    with embedded.api() as api:
        api.post(f"/jobs/{job_id}/pause")
        embedded.until(job_id, "paused")
        # A later attempt would follow, so the log of this job may still grow.
        before, files_before = threads(embedded), database_files(embedded)
        with ExitStack() as opened:
            for _ in range(STREAMS):
                stream = opened.enter_context(api.stream("GET", f"/jobs/{job_id}/{path}"))
                assert stream.status_code == 200
                next(stream.iter_bytes())
            time.sleep(1)
            assert threads(embedded) - before < STREAMS / 4
            assert database_files(embedded) - files_before < STREAMS / 4
            started = time.monotonic()
            assert api.get("/jobs").status_code == 200
            assert time.monotonic() - started < 15
        api.post(f"/jobs/{job_id}/cancel")


def test_stalled_readers_of_a_large_response_hold_neither_threads_nor_database_connections(
    embedded: Stack,
) -> None:
    """The response is in memory, unlike a download, and too large for the socket's buffers."""
    tags = [{"key": f"k{number}", "value": "x" * 8000} for number in range(100)]
    headers = {"Authorization": f"Bearer {embedded.tokens['ada']}"}
    for number in range(12):
        run = {"run_name": f"stalled-{number}", "tags": tags}
        created = httpx.post(
            f"{embedded.url}/api/2.0/mlflow/runs/create", json=run, headers=headers, timeout=30
        )
        assert created.status_code == 200, created.text
    search = json.dumps({"experiment_ids": ["0"], "filter": "tags.k0 LIKE 'x%'"})
    request = (
        f"POST /api/2.0/mlflow/runs/search HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: {headers['Authorization']}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(search)}\r\n\r\n{search}"
    )
    before, files_before = threads(embedded), database_files(embedded)
    with ExitStack() as opened:
        for _ in range(10):
            opened.enter_context(stalled_reader(embedded, request))
        time.sleep(1)
        assert threads(embedded) - before < 5
        assert database_files(embedded) - files_before < 5


def test_stalled_downloads_hold_neither_threads_nor_database_connections(embedded: Stack) -> None:
    job_id = embedded.submit(epochs=100_000, patience=100_000)
    embedded.until(job_id, "running")
    with embedded.api() as api:
        api.post(f"/jobs/{job_id}/cancel")
    embedded.until(job_id, "cancelled")
    (log,) = (embedded.folder / "jobs" / job_id).glob("attempt-*/trainer.log")
    log.write_bytes(b"x" * (30 << 20))
    before, files_before = threads(embedded), database_files(embedded)
    request = (
        f"GET /api/v1/training/jobs/{job_id}/logs HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {embedded.tokens['ada']}\r\n\r\n"
    )
    with ExitStack() as opened:
        for _ in range(8):  # the limit of downloads per user
            opened.enter_context(stalled_reader(embedded, request))
        time.sleep(1)
        assert threads(embedded) - before < 5
        assert database_files(embedded) - files_before < 5
