"""Shared by the benchmarks: a running Heimdall without workers, a browser, and output."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
from pydantic import BaseModel

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "heimdall.settings")

from tests import broker
from tests.stack import PASSWORD, Stack, new_database

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking",
         "--enable-precise-memory-info", "--js-flags=--expose-gc"]  # fmt: skip


@contextmanager
def heimdall(
    lease_seconds: int = 600, *, sqlite: bool = False, start: bool = True, **environment: str
) -> Iterator[Stack]:
    """Run Heimdall with RabbitMQ, and PostgreSQL if it is available, without workers.

    The lease is long, so that a job without new epochs is not considered lost.
    """
    amqp = broker.HERE if broker.listens(broker.HERE) else ""
    if not amqp:
        sys.exit("The benchmarks need RabbitMQ on 127.0.0.1:5672.")
    vhost = broker.own_vhost(amqp, f"heimdall_test_bench_{os.getpid()}")
    with tempfile.TemporaryDirectory() as folder, new_database() as database:
        running = Stack(Path(folder), vhost, "" if sqlite else database, None, **environment)
        running.environment["HEIMDALL_LEASE_SECONDS"] = str(lease_seconds)
        try:
            if start:
                running.start_web()
            yield running
        finally:
            running.close()
            broker.drop_vhost(vhost)


class Seeded(BaseModel):
    """IDs of rows that `seed` has stored."""

    longest: UUID
    middle: UUID  # half of the jobs are newer
    middle_created_at: datetime
    compared: list[UUID]
    sweep: UUID | None


def seed(stack: Stack, jobs: int, epochs: int, datasets: int = 0, trials: int = 0) -> Seeded:
    started = time.monotonic()
    sizes = [str(size) for size in (jobs, epochs, datasets, trials)]
    found = Seeded.model_validate_json(stack.python("-m", "benchmarks.seed_database", *sizes))
    print(f"{jobs:,} jobs, {epochs:,} epochs stored in {time.monotonic() - started:.0f} s")
    return found


def process_status(stack: Stack, field: str) -> int:
    assert stack.web is not None
    text = Path(f"/proc/{stack.web.pid}/status").read_text(encoding="ascii")
    return int(re.findall(rf"{field}:\s+(\d+)", text)[0])


def cpu_seconds(pid: int) -> float:
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def memory_mb(stack: Stack) -> float:
    """Resident memory of the web process."""
    return process_status(stack, "VmRSS") / 1024


@contextmanager
def page_client(stack: Stack, who: str) -> Iterator[httpx.Client]:
    """A client that is signed in to the pages."""
    with httpx.Client(base_url=stack.url, timeout=60) as client:
        client.get("/login")
        form = {"username": who, "password": PASSWORD,
                "csrfmiddlewaretoken": client.cookies["csrftoken"]}  # fmt: skip
        assert client.post("/login", data=form).status_code == 302
        yield client


@contextmanager
def browser() -> Iterator[Browser]:
    # Only some benchmarks need Playwright.
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield chromium
        chromium.close()


def signed_in(chromium: Browser, stack: Stack) -> Page:
    page = chromium.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.goto(f"{stack.url}/login?next=/jobs")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{stack.url}/jobs")
    return page


def record_epochs(
    stack: Stack, job_id: str, count: int, rate: float, *, output: bool = True
) -> subprocess.Popen[str]:
    """Start a fake worker, which prints epoch and commit time; read the output or disable it."""
    command = [sys.executable, "-m", "benchmarks.fake_worker", job_id, str(count), str(rate)]
    stdout = subprocess.PIPE if output else subprocess.DEVNULL
    return subprocess.Popen(command, env=stack.environment, stdout=stdout, text=True)


def wait_without_polling(stack: Stack, job_id: str, expected: float) -> None:
    """Wait until the training is completed, without requests in the first `expected` seconds.

    Requests would load the web process and the database during the measurement.
    """
    time.sleep(expected)
    while stack.job(job_id)["status"] != "completed":
        time.sleep(2)


def until(page: Page, expression: str, seconds: float = 60) -> None:
    """Poll from outside, because the Content Security Policy forbids eval in the page."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        if time.monotonic() > end:
            raise TimeoutError(expression)
        page.wait_for_timeout(20)


def p50_p95(values: list[float]) -> tuple[float, float]:
    cuts = quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[94]


def row(*cells: Any) -> None:
    print("  ".join(f"{cell!s:>18}" if index else f"{cell!s:<26}"
                    for index, cell in enumerate(cells)))  # fmt: skip
