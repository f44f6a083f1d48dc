"""`manage.py demo`: set everything up, train one job and show it live."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from heimdall import web_process
from heimdall.demo import Demo, seed
from training.programs.datasets import DatasetImportError
from training.programs.registry import get_program
from training.validation import InvalidInputError, validate


class Command(BaseCommand):
    help = "Set everything up, train one job, and show it live until Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--port",
            type=web_process.parse_port,
            default=8001,
            help="port of the web server (default 8001)",
        )
        parser.add_argument(
            "--epochs", type=int, default=30, help="number of epochs to train (default 30)"
        )
        parser.add_argument(
            "--dataset", type=Path, help="folder with measured data in the import format"
        )
        parser.add_argument("--exit", action="store_true", help="exit when the job ends")

    def handle(
        self, *args: Any, port: int, epochs: int, dataset: Path | None, **options: Any
    ) -> None:
        try:
            validate(get_program().parameters, {"epochs": epochs})
        except InvalidInputError as error:
            raise CommandError(f"--{error}") from error
        _check_port(port)
        try:
            if not web_process.is_migrated():
                self.stdout.write("Creating the database tables ...")
                call_command("migrate", verbosity=0)
        except web_process.NewerDatabaseError as error:
            raise CommandError(str(error)) from error
        from heimdall.embedded import AlreadyRunningError

        try:
            seeded_dataset, password = seed(dataset)
        except (DatasetImportError, OSError) as error:
            raise CommandError(f"--dataset {dataset}: {error}") from error
        demo = Demo(seeded_dataset, password, epochs=epochs, stop_at_end=options["exit"])
        try:
            with _worker_process():
                web_process.run_server("127.0.0.1", port, demo.start)
        except (AlreadyRunningError, web_process.ListenError) as error:
            raise CommandError(str(error)) from error
        finally:
            demo.close()
        from heimdall.daphne.server import exit_after_timeout

        exit_after_timeout(demo.exit_status)
        sys.exit(demo.exit_status)


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise CommandError(
                f"Port {port} is not available ({error.strerror}). Choose another with --port."
            ) from error


@contextmanager
def _worker_process() -> Iterator[None]:
    """With a broker, the worker is a separate process as in production."""
    if settings.EMBEDDED:
        yield
        return
    # In a new session, so that Ctrl-C reaches this process only, which then stops the worker.
    python = [sys.executable, "-W", "ignore:You're running the worker with superuser"]
    command = [*python, "-m", "celery", "-A", "heimdall", "--quiet", "worker"]
    worker = subprocess.Popen(
        [*command, "--loglevel", "WARNING"], cwd=settings.BASE_DIR, start_new_session=True
    )
    try:
        yield
    finally:
        worker.terminate()
        try:
            worker.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
