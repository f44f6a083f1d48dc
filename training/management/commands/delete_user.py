"""`manage.py delete_user`: delete a user; what they own is handed over or deleted."""

from __future__ import annotations

import time
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from training.user_deletion import (
    StillStoppingError,
    UserDeletionError,
    delete_user,
    describe_owned,
)

POLL_SECONDS = 1.0


class Command(BaseCommand):
    help = "Delete a user, with tokens, sessions and webhooks."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        choice = parser.add_mutually_exclusive_group(required=True)
        choice.add_argument(
            "--hand-to",
            metavar="USERNAME",
            help="give jobs, sweeps, datasets, projects and registered models to",
        )
        choice.add_argument(
            "--delete", action="store_true", help="delete them too, with their files"
        )
        parser.add_argument("--dry-run", action="store_true", help="print what would be done")
        parser.add_argument(
            "--wait", type=int, default=60, metavar="SECONDS", help="for running jobs to stop"
        )

    def handle(
        self,
        *args: Any,
        username: str,
        hand_to: str | None,
        dry_run: bool,
        wait: int,
        **options: Any,
    ) -> None:
        user = _find(username)
        receiver = _find(hand_to) if hand_to else None
        owned = describe_owned(user)
        outcome = f"handed to {receiver.username}" if receiver else "deleted"
        if dry_run:
            self.stdout.write(f"{username} would be deleted; {owned} {outcome}.")
            return
        deadline = time.monotonic() + wait
        while True:
            try:
                delete_user(user, receiver, "manage.py")
            except StillStoppingError as error:
                if time.monotonic() > deadline:
                    raise CommandError(str(error)) from error
                time.sleep(POLL_SECONDS)
            except UserDeletionError as error:
                raise CommandError(str(error)) from error
            else:
                break
        self.stdout.write(f"{username} was deleted; {owned} {outcome}.")


def _find(username: str) -> User:
    user = User.objects.filter(username=username).first()
    if user is None:
        raise CommandError(f"User {username!r} does not exist.")
    return user
