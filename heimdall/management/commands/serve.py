"""`manage.py serve`: the web process, and in the embedded mode the worker with it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from heimdall import web_process


class Command(BaseCommand):
    help = "Serve pages, API and sockets; without RABBITMQ_URL it trains too."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
        parser.add_argument("--port", type=int, default=8001, help="0: any free port")

    def handle(self, *args: Any, host: str, port: int, **options: Any) -> None:
        if not web_process.is_migrated():
            raise CommandError("The database has no or old tables: run `python manage.py migrate`.")
        from heimdall.embedded import AlreadyRunningError

        def ready(bound: int) -> None:
            self.stdout.write(f"Serving on http://{host}:{bound}")
            self.stdout.write(web_process.startup_banner())
            self.stdout.flush()

        try:
            web_process.run_server(host, port, ready)
        except AlreadyRunningError as error:
            raise CommandError(str(error)) from error
        from heimdall.daphne.server import exit_after_timeout

        exit_after_timeout()
