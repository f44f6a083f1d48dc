"""`manage.py test [pytest args]`: run the tests with pytest."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

REQUIRE_RABBIT = "--require-rabbit"


class Command(BaseCommand):
    help = (
        "Run the tests; all arguments are passed to pytest. "
        f"{REQUIRE_RABBIT}: fail instead of skipping tests where RabbitMQ is not available."
    )
    requires_system_checks: list[str] = []

    def run_from_argv(self, argv: list[str]) -> None:
        """Bypass Django's parser, which does not know pytest's options."""
        sys.exit(run_tests(argv[2:]))

    def handle(self, *args: Any, **options: Any) -> None:
        sys.exit(run_tests(list(args)))


def run_tests(arguments: list[str]) -> int:
    environment = dict(os.environ)
    if REQUIRE_RABBIT in arguments:
        arguments = [argument for argument in arguments if argument != REQUIRE_RABBIT]
        environment["HEIMDALL_REQUIRE_RABBIT"] = "1"
    command = [sys.executable, "-m", "pytest", *arguments]
    if not any(argument.startswith(("-n", "--numprocesses")) for argument in arguments):
        command += ["-n", str(min(os.cpu_count() or 2, 4)), "--dist", "loadgroup"]
    completed = subprocess.run(command, cwd=settings.BASE_DIR, env=environment, check=False)
    return completed.returncode
