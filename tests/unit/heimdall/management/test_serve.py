"""`manage.py serve` and `demo`: errors that prevent the start."""

from __future__ import annotations

import socket
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from heimdall import web_process
from heimdall.embedded import AlreadyRunningError


def serve_with(
    monkeypatch: pytest.MonkeyPatch, run_server: Callable[[str, int, Callable[[int], None]], None]
) -> str:
    out = StringIO()
    monkeypatch.setattr(web_process, "run_server", run_server)
    call_command("serve", "--port", "0", stdout=out)
    return out.getvalue()


@pytest.mark.parametrize("command", ["serve", "demo"])
@pytest.mark.parametrize("port", ["70000", "-1", "http"])
def test_invalid_port_is_a_usage_error(command: str, port: str) -> None:
    with pytest.raises(CommandError, match=f"--port: '{port}' is not a port"):
        call_command(command, f"--port={port}")


def test_missing_migrations_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_process, "is_migrated", lambda: False)
    with pytest.raises(CommandError, match=r"run `python manage\.py migrate`"):
        call_command("serve")


@pytest.mark.parametrize(
    "error",
    [
        web_process.ListenError("Cannot listen on 127.0.0.1:80: Permission denied."),
        AlreadyRunningError("Another Heimdall process already uses /data."),
    ],
)
def test_server_that_cannot_start_fails_with_the_reason(
    db: None, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    with pytest.raises(CommandError, match=str(error).replace(".", r"\.")):
        serve_with(monkeypatch, fail)


def test_demo_refuses_a_port_in_use_before_it_creates_anything(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=f"Port {port} is not available"):
            call_command("demo", "--port", str(port))


def test_demo_refuses_an_impossible_number_of_epochs() -> None:
    with pytest.raises(CommandError, match="--epochs: 0 is too small; it must be at least 1"):
        call_command("demo", "--epochs", "0")


def test_demo_names_a_dataset_that_cannot_be_imported(db: None, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=rf"--dataset {tmp_path}: receivers\.csv is missing"):
        call_command("demo", "--port", "0", "--dataset", str(tmp_path))
