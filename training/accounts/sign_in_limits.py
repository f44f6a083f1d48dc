"""Growing pauses between failed sign-ins at one account, which never lock its user out.

After FREE_FAILURES failures each further one makes the account wait, 1 s at first and twice as
long each time, up to MAX_PAUSE. An attempt within the pause is refused without checking the
password, and does not extend it. A network from which the account was signed in to before has a
count of its own: however often strangers fail, its user gets in there.

An attempt is counted before its password is checked, so that simultaneous ones do not pass
together. Names are stored as digests, and names without an account are counted in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from math import ceil

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac

from training import request_context
from training.models import SignInAttempts

FREE_FAILURES = 5
MAX_PAUSE = timedelta(minutes=2)
# Failures are deleted after an hour without any, known networks after 90 days without a sign-in.
RETENTION, KNOWN_RETENTION = timedelta(hours=1), timedelta(days=90)


class TooManyFailuresError(Exception):
    """The account waits; `seconds` until the next attempt is checked."""

    def __init__(self, seconds: int) -> None:
        super().__init__(
            f"Too many failed sign-ins for this account; try again in {seconds} seconds."
        )
        self.seconds = seconds


@dataclass(slots=True)
class Attempt:
    """One checked attempt; it counts as failed unless `succeeded` is called."""

    _key: str
    _known_key: str

    def succeeded(self) -> None:
        SignInAttempts.objects.filter(key=self._key).delete()
        SignInAttempts.objects.update_or_create(
            key=self._known_key,
            defaults={
                "failures": 0, "blocked_until": None, "is_known": True,
                "updated_at": timezone.now(),
            },
        )  # fmt: skip


@contextmanager
def attempt(username: str, request: HttpRequest | None) -> Iterator[Attempt]:
    """Count an attempt to sign in; raises TooManyFailuresError if it must not be checked."""
    _delete_old()
    network = request_context.client_network(request) if request else ""
    own_key = _digest(username, network)
    is_known = SignInAttempts.objects.filter(key=own_key, is_known=True).exists()
    key = own_key if is_known else _digest(username)
    _count(key)
    yield Attempt(key, own_key)


def confirm_password(user: User, password: str) -> str:
    """The reason why the password of the signed-in user is not accepted, else empty."""
    try:
        with attempt(user.username, request_context.request.get()) as counted:
            if not user.check_password(password):
                return "This is not your current password."
            counted.succeeded()
    except TooManyFailuresError as error:
        return str(error)
    return ""


def _count(key: str) -> None:
    while True:
        now = timezone.now()
        row = SignInAttempts.objects.filter(key=key).first()
        if row is None:
            try:
                with transaction.atomic():
                    SignInAttempts.objects.create(key=key, failures=1, updated_at=now)
            except IntegrityError:
                continue
            return
        if row.blocked_until is not None and row.blocked_until > now:
            raise TooManyFailuresError(max(1, ceil((row.blocked_until - now).total_seconds())))
        # Compare and set: one of several simultaneous attempts is checked, the others retry.
        unchanged = SignInAttempts.objects.filter(pk=row.pk, failures=row.failures)
        until = now + _pause(row.failures + 1)
        if unchanged.update(failures=F("failures") + 1, blocked_until=until, updated_at=now):
            return


def _pause(failures: int) -> timedelta:
    if failures <= FREE_FAILURES:
        return timedelta(0)
    return min(MAX_PAUSE, timedelta(seconds=2.0 ** min(failures - FREE_FAILURES - 1, 20)))


def _delete_old() -> None:
    now = timezone.now()
    old = Q(is_known=False, updated_at__lt=now - RETENTION)
    SignInAttempts.objects.filter(old | Q(updated_at__lt=now - KNOWN_RETENTION)).delete()


def _digest(*parts: str) -> str:
    return salted_hmac("sign-in attempts", "\0".join(parts), algorithm="sha256").hexdigest()
