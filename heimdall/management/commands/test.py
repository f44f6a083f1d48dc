"""`manage.py test [pytest args]`: every test, on the real things where they are to be had."""

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
        "Run the tests; all arguments go to pytest. "
        f"{REQUIRE_RABBIT}: fail where no RabbitMQ is to be had, instead of skipping."
    )
    requires_system_checks: list[str] = []

    def run_from_argv(self, argv: list[str]) -> None:
        """Past Django's parser, which knows none of pytest's options."""
        sys.exit(run_tests(argv[2:]))

    def handle(self, *args: Any, **options: Any) -> None:
        sys.exit(run_tests(list(args)))


def run_tests(arguments: list[str]) -> int:
    """pytest's exit status."""
    environment = dict(os.environ)
    if REQUIRE_RABBIT in arguments:
        arguments = [one for one in arguments if one != REQUIRE_RABBIT]
        environment["HEIMDALL_REQUIRE_RABBIT"] = "1"
    command = [sys.executable, "-m", "pytest", *arguments]
    if not any(one.startswith(("-n", "--numprocesses")) for one in arguments):
        command += ["-n", str(min(os.cpu_count() or 2, 4)), "--dist", "loadgroup"]
    done = subprocess.run(command, cwd=settings.BASE_DIR, env=environment, check=False)
    return done.returncode
