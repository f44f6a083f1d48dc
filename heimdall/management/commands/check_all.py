"""`manage.py check_all`: all checks that a change must pass."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

_PYTHON = [sys.executable, "-m"]
_BIOME = "node_modules/.bin/biome"  # installed by `npm ci`
_MANAGE = [sys.executable, "manage.py"]
CHECKS = {
    "format": [*_PYTHON, "ruff", "format", "--check", "--quiet", "."],
    "lint": [*_PYTHON, "ruff", "check", "."],
    "names": [*_PYTHON, "heimdall.dialect"],
    "templates": [*_PYTHON, "djlint", "--lint", "--quiet", "templates"],
    "JavaScript": [_BIOME, "check", "training/static/training"],
    "types": [*_PYTHON, "mypy"],
    "import contracts": [
        sys.executable,
        "-c",
        "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()",
    ],
    "Django": [*_MANAGE, "check", "--fail-level", "WARNING"],
    "migrations": [*_MANAGE, "makemigrations", "--check", "--dry-run"],
    "API schema": [
        *_MANAGE, "spectacular", "--validate", "--fail-on-warn", "--file", "/dev/null",
    ],
}  # fmt: skip


class Command(BaseCommand):
    help = "Lint, types, import contracts, Django checks, missing migrations, tests."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--no-tests", action="store_true", help="skip the tests")

    def handle(self, *args: Any, no_tests: bool, **options: Any) -> None:
        failed = [name for name, command in CHECKS.items() if not self._run(name, command)]
        if not no_tests and not self._run("tests", [*_MANAGE, "test"], quiet=False):
            failed.append("tests")
        if failed:
            raise CommandError(f"Failed: {', '.join(failed)}.")

    def _run(self, name: str, command: list[str], *, quiet: bool = True) -> bool:
        if command[0] == _BIOME and not (Path(settings.BASE_DIR) / _BIOME).exists():
            self.stdout.write(f"{name}: skipped (install its tools with `npm ci`)")
            return True
        started_at = time.monotonic()
        completed = subprocess.run(
            command, cwd=settings.BASE_DIR, capture_output=quiet, text=True, check=False
        )
        result = "ok" if completed.returncode == 0 else "FAILED"
        self.stdout.write(f"{name}: {result} ({time.monotonic() - started_at:.0f} s)")
        if quiet and completed.returncode:
            self.stdout.write(f"{completed.stdout}{completed.stderr}")
        return completed.returncode == 0
