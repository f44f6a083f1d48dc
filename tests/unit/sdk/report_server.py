"""A server of reported runs that simulates network failures."""

from __future__ import annotations

import gzip
import json
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qs, urlsplit

Fault = Literal[
    "", "error", "hang", "in progress", "lost request", "lost answer", "unauthorized", "not json"
]
TOKEN = "secret"


@dataclass
class Reported:
    """What the server has of one run."""

    registration: dict[str, Any]
    batches: set[str] = field(default_factory=set)
    points: list[dict[str, Any]] = field(default_factory=list)
    output: bytes = b""
    artifacts: dict[str, bytes] = field(default_factory=dict)
    ending: dict[str, Any] | None = None
    heartbeats: int = 0

    @property
    def steps(self) -> list[int]:
        return [point["step"] for point in self.points]


class ReportServer:
    """Applies each request as the contract says; `faults` are taken by the next requests."""

    def __init__(self) -> None:
        self.runs: dict[str, Reported] = {}
        self.by_key: dict[str, str] = {}
        self.faults: list[Fault] = []
        self.stop_requested = ""
        self.repeated = 0
        self.requests: Counter[str] = Counter()
        self.lock = threading.Lock()
        self._server: _Server | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        self._server = _Server(("127.0.0.1", self.port), _Handler)
        self._server.reports = self
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def environment(self) -> dict[str, str]:
        return {"HEIMDALL_URL": f"http://127.0.0.1:{self.port}", "HEIMDALL_TOKEN": TOKEN}

    @property
    def run(self) -> Reported:
        (run,) = self.runs.values()
        return run

    def take_fault(self) -> Fault:
        with self.lock:
            return self.faults.pop(0) if self.faults else ""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    reports: ReportServer

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed is no error here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        self._handle()

    def do_PUT(self) -> None:
        self._handle()

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        fault = self.server.reports.take_fault()
        if self.server.reports._server is None or fault == "lost request":
            self.close_connection = True
            return
        if fault == "hang":
            time.sleep(1.5)
        elif fault == "error":
            self._answer(503, {"detail": "not now"})
            return
        elif fault == "in progress":
            self._answer(409, {"detail": "The first request is still running."}, retry_after="1")
            return
        elif fault == "unauthorized" or self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._answer(401, {"detail": "no"})
            return
        with self.server.reports.lock:
            status, answer = self._apply(body)
        if fault == "lost answer":
            self.close_connection = True
        elif fault == "not json":
            self._answer(200, None)
        else:
            self._answer(status, answer)

    def _apply(self, body: bytes) -> tuple[int, dict[str, Any]]:
        reports, url = self.server.reports, urlsplit(self.path)
        kind, *parts = url.path.removeprefix("/api/v1/training/").split("/")
        reports.requests["/".join([kind, *parts[1:2]])] += 1
        if not parts:
            key = self.headers["Idempotency-Key"]
            if key not in reports.by_key:
                registration = json.loads(body)
                if "deep" in registration.get("config", {}):
                    return 400, {"errors": {"config": ["It is nested too deeply."]}}
                job_id = reports.by_key[key] = str(uuid.uuid4())
                points, ending = registration.pop("points", []), registration.pop("end", None)
                reports.runs[job_id] = Reported(registration, points=points, ending=ending)
            return 201, {"id": reports.by_key[key]}
        run = reports.runs.get(parts[0])
        if run is None:
            return 404, {"detail": "no such job"}
        if parts[1] == "artifacts":
            run.artifacts["/".join(parts[2:])] = body
        elif parts[1] == "points":
            return self._apply_points(run, json.loads(body))
        elif parts[1] == "logs":
            after = int(parse_qs(url.query)["after"][0])
            assert after <= len(run.output)
            run.output += body[len(run.output) - after :]
        elif parts[1] == "finish":
            run.ending = json.loads(body)
        elif parts[1] == "heartbeat":
            run.heartbeats += 1
            return 200, {"stop_requested": reports.stop_requested}
        return 200, {}

    def _apply_points(self, run: Reported, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if request["batch"] in run.batches:
            self.server.reports.repeated += 1
        else:
            run.batches.add(request["batch"])
            run.points += request["points"]
        return 200, {"accepted": len(request["points"]), "rejected": []}

    def _answer(
        self, status: int, answer: dict[str, Any] | None, retry_after: str | None = None
    ) -> None:
        content = b"<html>" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if retry_after is not None:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Be silent."""
