"""Heimdall's web and worker processes for tests, with their own database and virtual host."""

from __future__ import annotations

import atexit
import copy
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
from django.conf import settings

from tests.polling import eventually

POSTGRES = "postgres://postgres@127.0.0.1:5432"
PASSWORD = "secret-enough-1"
PREPARE = """
import json, django
django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
from training.datasets.service import store_dataset
from training.localization.config import GenerateConfig
from training.localization.program import to_read_dataset
from training.localization.synthetic.generate import generate_dataset
from training.accounts.tokens import create_token
from training.models.scopes import SCOPES
call_command("migrate", verbosity=0)
people = {name: User.objects.create_user(name, password=%r, is_staff=name == "grace",
          is_superuser=name == "grace") for name in ("ada", "bob", "grace")}
made = generate_dataset(GenerateConfig(samples=240, seed=3))
dataset = store_dataset(people["ada"], "Small", to_read_dataset(made))
tokens = {name: create_token(person, scopes=SCOPES)[1] for name, person in people.items()}
print(json.dumps({"tokens": tokens, "dataset": str(dataset.pk)}))
"""
# Without the portfolio, whose import alone takes a second of each trainer.
SMALL: dict[str, Any] = {
    "hidden": 16, "heads": 2, "layers": 1, "batch_size": 16, "portfolio": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Content:
    """What every new installation has: tokens by user, and the ID of a dataset."""

    tokens: dict[str, str]
    dataset: str


class Stack:
    """An installation; the embedded mode if `amqp` is empty.

    Without `content` the database is empty, and is migrated and filled.
    """

    def __init__(
        self,
        folder: Path,
        amqp: str = "",
        database: str = "",
        content: Content | None = None,
        **environment: str,
    ) -> None:
        self.folder, self.amqp = folder, amqp
        self.environment = {
            **os.environ,
            "HEIMDALL_DATA_DIR": str(folder),
            "DATABASE_URL": database or f"sqlite:///{folder}/heimdall.sqlite3",
            "RABBITMQ_URL": amqp,
            "DJANGO_SETTINGS_MODULE": "heimdall.settings",
            "HEIMDALL_LEASE_SECONDS": "4",
            "HEIMDALL_MAINTENANCE_SECONDS": "1",
            "HEIMDALL_SIGN_INS_PER_MINUTE": "6000",  # all tests share one address
            "HEIMDALL_REQUESTS_PER_MINUTE": "60000",  # and one user
            "PYTHONUNBUFFERED": "1",
            **environment,
        }
        self.processes: list[subprocess.Popen[bytes]] = []
        self.web: subprocess.Popen[bytes] | None = None
        self._workers: list[subprocess.Popen[bytes]] = []
        self.port, self._own = 0, uuid4().hex[:6]
        self.content = content or self._prepare()
        self.tokens, self.dataset = self.content.tokens, self.content.dataset

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def workers(self) -> list[subprocess.Popen[bytes]]:
        """The running workers."""
        return [worker for worker in self._workers if worker.poll() is None]

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    def start_web(self) -> subprocess.Popen[bytes]:
        """Start on a free port, and on the same port after a restart."""
        log = self.folder / f"web-{len(self.processes)}.log"
        self.web = web = self._start(["manage.py", "serve", "--port", str(self.port)], log)

        def port() -> int:
            assert web.poll() is None, log.read_text()
            found = re.search(r"http://[\d.]+:(\d+)", log.read_text())
            return int(found.group(1)) if found else 0

        with _killed_on_error(web):
            self.port = eventually(port, message="the web process did not print its address")
        return web

    def with_another_web(self) -> Stack:
        """The same installation, seen through a second web process, which is not started yet."""
        other = copy.copy(self)
        other.web, other.port = None, 0
        return other

    def start_worker(
        self,
        *options: str,
        prefix: Sequence[str] = (),
        **environment: str,
    ) -> subprocess.Popen[bytes]:
        """Return once the worker is ready, or waits for an unavailable broker.

        `prefix` is put before the command, for example to run it on another host.
        """
        log = self.folder / f"worker-{len(self.processes)}.log"
        # Names must be unique, because another stack may share the virtual host.
        name = f"{log.stem}-{self._own}@%h"
        command = ["-m", "celery", "-A", "heimdall", "worker", "--loglevel", "INFO", *options]
        if "--hostname" not in options:
            command += ["-n", name]
        worker = self._start(command, log, prefix, environment)

        def ready() -> bool:
            assert worker.poll() is None, log.read_text()
            return " ready." in log.read_text() or "Cannot connect" in log.read_text()

        with _killed_on_error(worker):
            eventually(ready, message="the worker did not become ready")
        self._workers.append(worker)
        return worker

    def stop_workers(self) -> None:
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            worker.wait(timeout=20)

    def only_worker(self) -> subprocess.Popen[bytes]:
        """Stop all workers but one and return it."""
        first, *others = self.workers or [self.start_worker()]
        for other in others:
            other.terminate()
            other.wait(timeout=20)
        return first

    def api(self, who: str = "ada") -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.tokens[who]}"}
        return httpx.Client(base_url=f"{self.url}/api/v1/training", headers=headers, timeout=20)

    def submit(self, *, who: str = "ada", **config: Any) -> str:
        with self.api(who) as api:
            body = {"dataset_id": self.dataset, **SMALL, **config}
            answer = api.post("/jobs", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        with self.api("grace") as api:
            answer = api.get(f"/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def until(self, job_id: str, status: str, seconds: float = 90) -> dict[str, Any]:
        """Wait until the job has this status; fail if it ends with another one."""
        final = {"completed", "failed", "cancelled"}

        def job_with_status() -> dict[str, Any] | None:
            job = self.job(job_id)
            assert job["status"] == status or job["status"] not in final, job
            return job if job["status"] == status else None

        return dict(eventually(job_with_status, seconds, f"job {job_id} did not become {status}"))

    def events(self, job_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        with self.api("grace") as api:
            url: str | None = f"/jobs/{job_id}/events"
            while url:
                page = api.get(url).json()
                found += page["results"]
                url = page["next"]
        return found

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(
        self,
        command: list[str],
        log: Path,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*prefix, sys.executable, *command],
                cwd=settings.BASE_DIR,
                env={**self.environment, **(environment or {})},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def _prepare(self) -> Content:
        printed = self.python("-c", PREPARE % PASSWORD)
        return Content(**json.loads(printed.splitlines()[-1]))

    def python(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=settings.BASE_DIR,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def postgres_is_available() -> bool:
    try:
        psycopg.connect(f"{POSTGRES}/postgres", connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def new_database(template: str = "template1") -> Iterator[str]:
    """The URL of a new PostgreSQL database; empty, for SQLite, without PostgreSQL."""
    if not postgres_is_available():
        yield ""
        return
    name = f"heimdall_test_{uuid4().hex[:12]}"
    with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield f"{POSTGRES}/{name}"
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@dataclass(frozen=True, slots=True)
class Template:
    """A prepared installation that new ones copy, because preparing one takes seconds."""

    folder: Path
    database: str  # its name on PostgreSQL; empty: a file in the folder
    content: Content


@contextmanager
def _killed_on_error(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kill a process that did not start; otherwise it would run in parallel with the next one."""
    try:
        yield
    except BaseException:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        raise


@cache
def _template(*, on_postgres: bool) -> Template:
    resources = ExitStack()
    atexit.register(resources.close)
    folder = resources.enter_context(tempfile.TemporaryDirectory(prefix="heimdall-template-"))
    url = resources.enter_context(new_database()) if on_postgres else ""
    stack = Stack(Path(folder), database=url)
    collect = "from heimdall.static_files import collect; collect()"
    stack.python("-c", f"import django; django.setup(); {collect}")
    return Template(Path(folder), url.rpartition("/")[2], stack.content)


@contextmanager
def running_stack(
    folder: Path, amqp: str = "", workers: int = 0, **environment: str
) -> Iterator[Stack]:
    """Start the web process and workers; on PostgreSQL, or on SQLite in the embedded mode."""
    on_postgres = bool(amqp) and postgres_is_available()
    with ExitStack() as resources:
        template = _template(on_postgres=on_postgres)
        if environment:  # which may install further apps, with tables of their own
            shutil.copytree(template.folder / "static", folder / "static")
            database = resources.enter_context(new_database()) if on_postgres else ""
            stack = Stack(folder, amqp, database, None, **environment)
        else:
            shutil.copytree(template.folder, folder, dirs_exist_ok=True)
            database = (
                resources.enter_context(new_database(template.database)) if on_postgres else ""
            )
            stack = Stack(folder, amqp, database, template.content)
        try:
            stack.start_web()
            for _ in range(workers):
                stack.start_worker()
            yield stack
        finally:
            stack.close()
