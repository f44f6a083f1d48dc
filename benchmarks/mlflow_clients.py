"""Heimdall beside MLflow's own server: requests of MLflow's client, by turns in one run.

MLFLOW_PYTHON=…/bin/python python -m benchmarks.mlflow_clients [--short]

Heimdall runs as in production, with PostgreSQL and RabbitMQ if they are there; MLflow's server runs
with its default, SQLite, and one worker process. `ratio` is MLflow's time by ours.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from benchmarks.harness import heimdall, p50_p95, row
from tests.clients.mlflow_server import mlflow_server

MOMENT = 1_700_000_000_000
HISTORY_POINTS, BATCH = 10_000, 1000


class Server:
    """A run of an experiment on one of the servers."""

    def __init__(self, url: str, token: str = "") -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=f"{url}/api/2.0/mlflow/", headers=headers, timeout=120)
        self.experiment = self.post("experiments/create", name=uuid4().hex)["experiment_id"]
        self.run = self.new_run()

    def post(self, path: str, **body: Any) -> Any:
        return self._read(self._http.post(path, json=body))

    def get(self, path: str, **query: Any) -> Any:
        return self._read(self._http.get(path, params=query))

    def new_run(self) -> str:
        run = self.post("runs/create", experiment_id=self.experiment, start_time=MOMENT)["run"]
        return str(run["info"]["run_id"])

    def log_metric(self, step: int) -> None:
        self.post("runs/log-metric", run_id=self.run, **metric("loss", step))

    def log_batch(self, step: int) -> None:
        rows = [metric(f"metric-{number}", step) for number in range(10)]
        self.post("runs/log-batch", run_id=self.run, metrics=rows)

    def log_many(self, batch: int) -> None:
        rows = [metric("many", batch * BATCH + step) for step in range(BATCH)]
        self.post("runs/log-batch", run_id=self.run, metrics=rows)

    def read_history(self, _: int) -> None:
        found = self.get("metrics/get-history", run_id=self.run, metric_key="many")["metrics"]
        assert len(found) >= HISTORY_POINTS, len(found)

    def search(self, _: int) -> None:
        found = self.post(
            "runs/search", experiment_ids=[self.experiment], max_results=100,
            filter="metrics.loss < 0.5 AND params.lr = '0.1'", order_by=["metrics.loss ASC"],
        )  # fmt: skip
        assert len(found["runs"]) > 0

    def fill(self, runs: int) -> None:
        for number in range(runs):
            values = [{**metric("loss", 0), "value": number / runs}]
            self.post(
                "runs/log-batch", run_id=self.new_run(), metrics=values,
                params=[{"key": "lr", "value": ("0.1", "0.2")[number % 2]}],
            )  # fmt: skip

    @staticmethod
    def _read(answer: httpx.Response) -> Any:
        assert answer.status_code == httpx.codes.OK, answer.text
        return answer.json()


def metric(key: str, step: int) -> dict[str, Any]:
    return {"key": key, "value": 1.0 / (step + 1), "timestamp": MOMENT + step, "step": step}


def measure(
    servers: Mapping[str, Server], action: Callable[[Server, int], None], count: int
) -> dict[str, list[float]]:
    """Milliseconds of each call, the servers by turns."""
    took: dict[str, list[float]] = {name: [] for name in servers}
    for number in range(count):
        for name, server in servers.items():
            started = time.perf_counter()
            action(server, number)
            took[name].append(1000 * (time.perf_counter() - started))
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="smaller sizes")
    short = parser.parse_args().short
    calls, runs = (30, 200) if short else (300, 10_000)
    with (
        tempfile.TemporaryDirectory() as folder,
        heimdall(HEIMDALL_REPORTED_JOBS_PER_USER="100000") as stack,
        mlflow_server(Path(folder)) as url,
    ):
        servers = {"mlflow": Server(url), "heimdall": Server(stack.url, stack.tokens["ada"])}
        row("p50 (p95) in ms", "heimdall", "mlflow", "ratio")
        for name, action, count in (
            ("log_metric", Server.log_metric, calls),
            ("log_batch of 10", Server.log_batch, calls),
            (f"log_batch of {BATCH:,}", Server.log_many, HISTORY_POINTS // BATCH),
            (f"history of {HISTORY_POINTS:,}", Server.read_history, 10),
        ):
            show(name, measure(servers, action, count))
        for server in servers.values():
            server.fill(runs)
        show(f"search {runs:,} runs", measure(servers, Server.search, 10))


def show(name: str, took: Mapping[str, list[float]]) -> None:
    cells = {server: p50_p95(values) for server, values in took.items()}
    texts = {server: f"{p50:.1f} ({p95:.1f})" for server, (p50, p95) in cells.items()}
    ratio = cells["mlflow"][0] / cells["heimdall"][0]
    row(name, texts["heimdall"], texts["mlflow"], f"{ratio:.1f}")


if __name__ == "__main__":
    main()
