"""Idempotency keys: a repeated create request returns the first response.

draft-ietf-httpapi-idempotency-key-header. A key is acquired before the work and completed in the
transaction of the work, so the created rows and the stored response are committed together.
"""

from __future__ import annotations

import contextlib
import uuid
from datetime import timedelta

from django.contrib.auth.models import User
from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone

from training.models import IdempotencyKey

RETENTION = timedelta(hours=24)
# An older claim belongs to a process that was killed or could not reach the database. If
# its work continues after all, `complete` raises and it is rolled back.
ORPHANED_AFTER = timedelta(seconds=30)
# Longer than the longest import.
IMPORT_ORPHANED_AFTER = timedelta(minutes=5)


class InProgressError(Exception):
    """The first request with this key is still running."""


class KeyReusedError(Exception):
    """The key was used for a different request."""


def acquire(
    user: User, key: str, digest: str, orphaned_after: timedelta = ORPHANED_AFTER
) -> IdempotencyKey:
    """Claim the key. With `status` None the caller does the work, else it has the response."""
    now = timezone.now()
    IdempotencyKey.objects.filter(created_at__lt=now - RETENTION).delete()
    try:
        with transaction.atomic():
            return IdempotencyKey.objects.create(
                user=user, key=key, digest=digest, created_at=now, claimed_at=now
            )
    except IntegrityError:
        existing = IdempotencyKey.objects.filter(user=user, key=key).first()
    if existing is not None and existing.digest != digest:
        raise KeyReusedError(
            f"The Idempotency-Key {key!r} was used for another request; use a new key for each."
        )
    if existing is not None and (
        existing.status is not None or _take_over_orphan(existing, orphaned_after)
    ):
        return existing
    raise InProgressError(f"The first request with the Idempotency-Key {key!r} is still running.")


def complete(acquired: IdempotencyKey, status: int, body: str) -> None:
    """Store the response, in the work's transaction. InProgressError if the claim is lost."""
    own_claim = IdempotencyKey.objects.filter(pk=acquired.pk, claim=acquired.claim, status=None)
    if not own_claim.update(status=status, body=body):
        raise InProgressError("Another request with the same Idempotency-Key has taken over.")


def release(acquired: IdempotencyKey) -> None:
    # If the database is unavailable the claim stays behind, and is taken over later.
    with contextlib.suppress(DatabaseError):
        IdempotencyKey.objects.filter(pk=acquired.pk, claim=acquired.claim, status=None).delete()


def _take_over_orphan(row: IdempotencyKey, orphaned_after: timedelta) -> bool:
    now = timezone.now()
    orphan = IdempotencyKey.objects.filter(
        pk=row.pk, claim=row.claim, status=None, claimed_at__lt=now - orphaned_after
    )
    row.claim = uuid.uuid4()
    return bool(orphan.update(claim=row.claim, claimed_at=now))
