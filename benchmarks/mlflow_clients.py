"""Heimdall compared with MLflow's server: the same client requests, alternating in one run.

MLFLOW_PYTHON=…/bin/python python -m benchmarks.mlflow_clients [--short]

The environment of that interpreter has `mlflow` and, for PostgreSQL, `psycopg2-binary`.

Both run with PostgreSQL and with SQLite, MLflow's default; Heimdall as in production with RabbitMQ,
MLflow's server with one worker process. `ratio` is how many times better Heimdall is with the same
database. The memory is that of the processes of each server at the end, without the database's.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID, uuid4

import httpx

from benchmarks.harness import browser, heimdall, p50_p95, row
from tests.clients.mlflow_server import PYTHON, running_mlflow
from tests.stack import PASSWORD, Stack, new_database

MOMENT = 1_700_000_000_000
HISTORY_POINTS, BATCH, PAGE_LOADS = 10_000, 1000, 5
FILL = Path(__file__).with_name("mlflow_runs.py")
GOAL = 5


class Server:
    """A run of an experiment on one of the servers."""

    def __init__(self, url: str, pid: int, token: str = "") -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.url, self.pid = url, pid
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
        assert len(self._page("", 100)["runs"]) == 100

    def search_all(self, _: int) -> None:
        """As `mlflow.search_runs` does it."""
        page = self._page("", 1000)
        while token := page.get("next_page_token"):
            page = self._page(token, 1000)

    def _page(self, token: str, size: int) -> Any:
        return self.post(
            "runs/search", experiment_ids=[self.filled], max_results=size, page_token=token,
            filter="metrics.loss < 0.5 AND params.lr = '0.1'", order_by=["metrics.loss ASC"],
        )  # fmt: skip

    def new_experiment(self) -> str:
        """One that is filled with runs."""
        self.filled = str(self.post("experiments/create", name=uuid4().hex)["experiment_id"])
        return self.filled

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


@contextmanager
def servers_of(*, sqlite: bool) -> Iterator[tuple[dict[str, Server], Stack, str]]:
    """Both servers, Heimdall's installation, and the database of MLflow's server."""
    with ExitStack() as opened:
        stack = opened.enter_context(
            heimdall(sqlite=sqlite, HEIMDALL_REPORTED_JOBS_PER_USER="100000")
        )
        folder = opened.enter_context(tempfile.TemporaryDirectory())
        database = "" if sqlite else opened.enter_context(new_database())
        url = database.replace("postgres://", "postgresql+psycopg2://")
        theirs = opened.enter_context(running_mlflow(Path(folder), url))
        assert stack.web is not None
        servers = {
            "mlflow": Server(theirs.url, theirs.pid),
            "heimdall": Server(stack.url, stack.web.pid, stack.tokens["ada"]),
        }
        yield servers, stack, theirs.database


def fill(servers: Mapping[str, Server], stack: Stack, database: str, runs: int) -> None:
    ours, theirs = (servers[name].new_experiment() for name in ("heimdall", "mlflow"))
    stack.python("-m", "benchmarks.mlflow_runs", "heimdall", ours, str(runs))
    subprocess.run([PYTHON, str(FILL), database, theirs, str(runs)], check=True)


def page_loads(servers: Mapping[str, Server], stack: Stack, runs: int) -> dict[str, list[float]]:
    """Milliseconds until the list of runs shows the newest, with an empty cache."""
    found: dict[str, list[float]] = {name: [] for name in servers}
    newest = f"text=/^run {runs - 1}$/"
    pages = {
        "mlflow": f"{servers['mlflow'].url}/#/experiments/{servers['mlflow'].filled}/runs",
        "heimdall": f"{stack.url}/jobs?project={UUID(servers['heimdall'].filled)}",
    }
    with browser() as chromium:
        for _ in range(PAGE_LOADS):
            for name, url in pages.items():
                context = chromium.new_context(viewport={"width": 1280, "height": 800})
                page = context.new_page()
                if name == "heimdall":
                    page.goto(f"{stack.url}/login")
                    page.get_by_label("Username").fill("ada")
                    page.get_by_label("Password").fill(PASSWORD)
                    page.get_by_role("button", name="Sign in").click()
                    page.wait_for_load_state()
                    wire = context.new_cdp_session(page)
                    wire.send("Network.clearBrowserCache")
                started = time.perf_counter()
                page.goto(url, wait_until="commit")
                page.wait_for_selector(newest, timeout=120_000)
                found[name].append(1000 * (time.perf_counter() - started))
                context.close()
    return found


def memory_mb(pid: int) -> float:
    """Of the process and its children, pages that several of them share counted once."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    own = next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return own + sum(memory_mb(int(child)) for child in children)


def compare(*, sqlite: bool, calls: int, runs: int) -> None:
    with servers_of(sqlite=sqlite) as (servers, stack, database):
        row("SQLite" if sqlite else "PostgreSQL", "heimdall", "mlflow", "ratio")
        for name, action, count in (
            ("log_metric", Server.log_metric, calls),
            ("log_batch of 10", Server.log_batch, calls),
        ):
            show(name, measure(servers, action, count))
        many = measure(servers, Server.log_many, HISTORY_POINTS // BATCH)
        rates = {name: 1000 * BATCH / median(took) for name, took in many.items()}
        texts = [f"{rates[name]:,.0f} points/s" for name in ("heimdall", "mlflow")]
        row(f"log_batch of {BATCH:,}", *texts, rated(rates["heimdall"] / rates["mlflow"]))
        show(f"history of {HISTORY_POINTS:,}", measure(servers, Server.read_history, 10))
        fill(servers, stack, database, runs)
        show(f"search {runs:,} runs, 100", measure(servers, Server.search, 10))
        show(f"search {runs:,} runs, all", measure(servers, Server.search_all, 3))
        show("page of the runs", page_loads(servers, stack, runs))
        used = {name: memory_mb(server.pid) for name, server in servers.items()}
        texts = [f"{used[name]:.0f} MB" for name in ("heimdall", "mlflow")]
        row("memory", *texts, rated(used["mlflow"] / used["heimdall"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="smaller sizes")
    parser.add_argument("--only", choices=["postgres", "sqlite"])
    options = parser.parse_args()
    calls, runs = (30, 1000) if options.short else (300, 10_000)
    for database in ("postgres", "sqlite"):
        if options.only in (None, database):
            compare(sqlite=database == "sqlite", calls=calls, runs=runs)


def show(name: str, took: Mapping[str, list[float]]) -> None:
    cells = {server: p50_p95(values) for server, values in took.items()}
    texts = {server: f"{p50:.1f} ({p95:.1f}) ms" for server, (p50, p95) in cells.items()}
    ratio = cells["mlflow"][0] / cells["heimdall"][0]
    row(name, texts["heimdall"], texts["mlflow"], rated(ratio))


def rated(ratio: float) -> str:
    return f"{ratio:.1f}" + ("" if ratio >= GOAL else f" (goal {GOAL})")


if __name__ == "__main__":
    main()
