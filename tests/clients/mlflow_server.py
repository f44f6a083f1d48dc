"""MLflow's own server, run by an interpreter that has the package `mlflow`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.polling import eventually

PYTHON = os.environ.get("MLFLOW_PYTHON", sys.executable)


@contextmanager
def mlflow_server(folder: Path, database: str = "") -> Iterator[str]:
    """Its address, with one worker process; `database` is a URL, by default of a file of SQLite."""
    with running_mlflow(folder, database) as server:
        yield server.url


@dataclass(frozen=True, slots=True)
class MlflowServer:
    url: str
    database: str
    pid: int


@contextmanager
def running_mlflow(folder: Path, database: str = "") -> Iterator[MlflowServer]:
    database = database or f"sqlite:///{folder}/mlflow.sqlite3"
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    log = (folder / "mlflow.log").open("wb")
    process = subprocess.Popen(
        [
            PYTHON, "-m", "mlflow", "server", "--port", str(port), "--workers", "1",
            "--backend-store-uri", database,
            "--artifacts-destination", str(folder / "artifacts"),
        ],
        cwd=folder, stdout=log, stderr=log,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"

    def is_up() -> bool:
        assert process.poll() is None, (folder / "mlflow.log").read_text()
        try:
            return httpx.get(f"{url}/health").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    try:
        eventually(is_up, 120, message="MLflow's server did not start")
        yield MlflowServer(url, database, process.pid)
    finally:
        process.terminate()
        process.wait(timeout=30)
        log.close()
