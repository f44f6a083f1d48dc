"""Errors that prevent the start are one sentence with an exit status."""

from __future__ import annotations

import fcntl
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

SERVE = ["manage.py", "serve", "--port"]
CELERY = ["-m", "celery", "-A", "heimdall", "worker"]
NO_POSTGRESQL = "postgres://u:geheim@127.0.0.1:1/n"


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=settings.BASE_DIR,
        env={
            **os.environ, "HEIMDALL_DATA_DIR": str(folder), "DATABASE_URL": "", "RABBITMQ_URL": "",
            "DJANGO_SETTINGS_MODULE": "heimdall.settings", **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )  # fmt: skip


def assert_sentence(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    output = done.stdout + done.stderr
    assert done.returncode == 1, output
    assert "Traceback" not in output
    assert "geheim" not in output
    for part in parts:
        assert part in output


@pytest.fixture
def taken_port() -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield str(listener.getsockname()[1])


def test_data_folder_of_the_database_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "R&D #1? 100%20"
    done = run(folder, "manage.py", "migrate", "-v0")
    assert done.returncode == 0, done.stderr
    assert (folder / "heimdall.sqlite3").exists()
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


@pytest.mark.parametrize("command", ["serve", "daphne"])
def test_start_with_a_port_in_use_fails_with_a_sentence(
    tmp_path: Path, taken_port: str, command: str
) -> None:
    assert run(tmp_path, "manage.py", "migrate", "-v0").returncode == 0
    arguments = {
        "serve": [*SERVE, taken_port],
        "daphne": ["-m", "daphne", "-p", taken_port, "heimdall.asgi:application"],
    }
    done = run(tmp_path, *arguments[command])
    assert_sentence(done, "Cannot listen", "in use")


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_start_with_the_tables_of_a_newer_version_fails_with_a_sentence(
    tmp_path: Path, command: str
) -> None:
    assert run(tmp_path, "manage.py", "migrate", "-v0").returncode == 0
    with sqlite3.connect(tmp_path / "heimdall.sqlite3") as database:
        database.execute(
            "INSERT INTO django_migrations (app, name, applied)"
            " VALUES ('training', '9999_next', '2030-01-01')"
        )
    done = run(tmp_path, "manage.py", command, "--port", "0", HEIMDALL_NO_VENV="1")
    assert_sentence(done, "has no migration 9999_next. Start the newer version")


def test_start_with_a_data_folder_in_use_fails_with_a_sentence(tmp_path: Path) -> None:
    assert run(tmp_path, "manage.py", "migrate", "-v0").returncode == 0
    with (tmp_path / "embedded.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run(tmp_path, *SERVE, "0")
    assert_sentence(done, f"Another Heimdall process already uses {tmp_path}")


def test_start_with_a_damaged_database_fails_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "heimdall.sqlite3").write_bytes(b"not a database" * 1000)
    sentence = f"The database {tmp_path}/heimdall.sqlite3 is damaged"
    assert_sentence(run(tmp_path, *SERVE, "0"), sentence)
    assert_sentence(run(tmp_path, "manage.py", "migrate"), sentence)
    daphne = run(tmp_path, "-m", "daphne", "-p", "0", "heimdall.asgi:application")
    assert_sentence(daphne, sentence)


@pytest.mark.parametrize("command", [[*SERVE, "0"], ["manage.py", "migrate"], CELERY])
def test_start_without_a_reachable_database_fails_with_a_sentence(
    tmp_path: Path, command: list[str]
) -> None:
    done = run(
        tmp_path, *command, DATABASE_URL=NO_POSTGRESQL, RABBITMQ_URL="amqp://guest@127.0.0.1/"
    )
    assert_sentence(done, "The database 'n' at 127.0.0.1:1 cannot be reached", "DATABASE_URL")


@pytest.mark.parametrize(
    ("name", "value", "check"),
    [
        ("RABBITMQ_URL", "amqp://u:geheim@h/?foo=1", "heimdall.E002"),
        ("DATABASE_URL", "sqlite://heimdall.db", "heimdall.E004"),
        ("DATABASE_URL", "postgres://u:gehe/im@h/n", "heimdall.E004"),
        ("HEIMDALL_BASE_PATH", "heimdall", "heimdall.E012"),
    ],
)
def test_start_with_an_invalid_variable_fails_with_a_sentence(
    tmp_path: Path, name: str, value: str, check: str
) -> None:
    assert_sentence(run(tmp_path, *SERVE, "0", **{name: value}), check, name)
