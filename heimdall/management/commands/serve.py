"""`manage.py serve`: the web process, including a worker in the embedded mode."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from heimdall import web_process
from heimdall.reload import run_with_reload


class Command(BaseCommand):
    help = "Serve pages, API and WebSockets; without RABBITMQ_URL also train."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
        parser.add_argument(
            "--port", type=web_process.parse_port, default=8001, help="0: any free port"
        )
        parser.add_argument(
            "--reload", action="store_true", help="for development: restart when a file changes"
        )

    def handle(self, *args: Any, host: str, port: int, reload: bool, **options: Any) -> None:
        if reload:
            _serve_with_reload(host, port)
        try:
            is_migrated = web_process.is_migrated()
        except web_process.NewerDatabaseError as error:
            raise CommandError(str(error)) from error
        if not is_migrated:
            raise CommandError(
                "Migrations are missing in the database: run `python manage.py migrate`."
            )
        from heimdall.embedded import AlreadyRunningError

        def ready(bound: int) -> None:
            self.stdout.write(f"Serving on {web_process.web_address(host, bound)}")
            self.stdout.write(web_process.startup_banner())
            self.stdout.flush()

        try:
            web_process.run_server(host, port, ready)
        except (AlreadyRunningError, web_process.ListenError) as error:
            raise CommandError(str(error)) from error
        from heimdall.daphne.server import exit_after_timeout

        exit_after_timeout()


def _serve_with_reload(host: str, port: int) -> NoReturn:
    command = [sys.executable, "manage.py", "serve", "--host", host, "--port", str(port)]
    root = Path(settings.BASE_DIR)
    folders = [root / name for name in ("heimdall", "realtime", "templates", "training")]
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    sys.exit(run_with_reload(command, folders, stop))
