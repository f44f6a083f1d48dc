"""`manage.py prune`: applies the retention policy now."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from training.retention import run
from training.retention.policy import Policy


class Command(BaseCommand):
    help = "Apply the retention policy (see docs/configuration.md) now; print what is deleted."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="print what would be deleted, and delete nothing"
        )

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        counts: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for step in run.steps(Policy.from_settings(), dry_run=dry_run):
            if step.count:
                counts[step.kind] += step.count
                sizes[step.kind] += step.bytes
        if not dry_run:
            run.complete()
        for kind, count in counts.items():
            self.stdout.write(f"{kind}: {count:,}, {sizes[kind]:,} bytes")
        verb = "Would free" if dry_run else "Freed"
        self.stdout.write(f"{verb} {sizes.total():,} bytes.")
