"""PostgreSQL behind PgBouncer in transaction mode."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.broker import free_port
from tests.polling import eventually
from tests.stack import POSTGRES, Stack, new_database

pytestmark = [
    pytest.mark.rabbit,
    pytest.mark.xdist_group("pgbouncer"),
    pytest.mark.timeout(240),
    pytest.mark.skipif(not shutil.which("pgbouncer"), reason="needs pgbouncer"),
]
POOL = 4


@contextmanager
def pgbouncer(folder: Path) -> Iterator[str]:
    """A URL without the name of a database."""
    server, port = urlsplit(POSTGRES), free_port()
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n* = host={server.hostname} port={server.port} user={server.username}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = any\npool_mode = transaction\ndefault_pool_size = {POOL}\n"
    )
    command = ["pgbouncer", *(["-u", "nobody"] if os.getuid() == 0 else []), str(settings)]
    log = folder / "log"
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                psycopg.connect(f"postgres://postgres@127.0.0.1:{port}/postgres").close()
            except psycopg.OperationalError:
                return False
            return True

        try:
            eventually(answers)
            yield f"postgres://postgres@127.0.0.1:{port}"
        finally:
            process.terminate()


def test_jobs_pages_and_streams_work_through_pgbouncer(amqp: str, tmp_path: Path) -> None:
    folder = tmp_path / "pgbouncer"
    folder.mkdir()
    with new_database() as direct, pgbouncer(folder) as pooled:
        if not direct:
            pytest.skip("needs PostgreSQL")
        stack = Stack(tmp_path, amqp, direct)  # migrates
        name = urlsplit(direct).path
        stack.environment.update(DATABASE_URL=f"{pooled}{name}", HEIMDALL_PGBOUNCER="1")
        try:
            stack.start_web()
            stack.start_worker()
            jobs = [stack.submit(epochs=30) for _ in range(3)]
            for job in jobs:
                stack.until(job, "completed")
                events = stack.events(job)
                assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
            with stack.api() as api:
                for path in ("epochs", "metrics", "export?format=csv", "events?after=2"):
                    answer = api.get(f"/jobs/{jobs[0]}/{path}")
                    assert answer.status_code == 200, answer.text
                table = api.get(f"/jobs/{jobs[0]}/export?format=csv").text
                assert len(table.splitlines()) == 31
            with psycopg.connect(f"{POSTGRES}/postgres") as server:
                query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
                (connections,) = server.execute(query, [name.lstrip("/")]).fetchone() or (0,)
            assert 0 < connections <= POOL
        finally:
            stack.close()
