"""The same creation asked for twice happens once, and is answered the same.

draft-ietf-httpapi-idempotency-key-header. A key is claimed before the work and settled in the
transaction of the work, so what was made and the memory of it are there together or not at all.
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
# The longest import takes less. A claim this old was left behind by a process that died; should its
# owner live after all, `settle` finds the claim gone and what it made is rolled back.
ORPHANED_AFTER = timedelta(minutes=5)


class InProgressError(Exception):
    """The first request with this key has not been answered yet."""


class KeyReusedError(Exception):
    """The key was used for something else."""


def acquire(user: User, key: str, digest: str) -> IdempotencyKey:
    """The key, to be worked for where `status` is None, else with the answer it had."""
    now = timezone.now()
    IdempotencyKey.objects.filter(created_at__lt=now - RETENTION).delete()
    try:
        with transaction.atomic():
            return IdempotencyKey.objects.create(
                user=user, key=key, digest=digest, created_at=now, claimed_at=now
            )
    except IntegrityError:
        found = IdempotencyKey.objects.filter(user=user, key=key).first()
    if found is not None and found.digest != digest:
        raise KeyReusedError(
            f"The Idempotency-Key {key!r} was used for another request; take a new one for each."
        )
    if found is not None and (found.status is not None or _take_over_orphan(found)):
        return found
    raise InProgressError(
        f"The first request with the Idempotency-Key {key!r} is still being answered."
    )


def complete(claimed: IdempotencyKey, status: int, body: str) -> None:
    """Remember the answer, in the transaction of what it tells of; InProgress where it was lost."""
    mine = IdempotencyKey.objects.filter(pk=claimed.pk, claim=claimed.claim, status=None)
    if not mine.update(status=status, body=body):
        raise InProgressError("Another request with the same Idempotency-Key has taken over.")


def release(claimed: IdempotencyKey) -> None:
    """Nothing was made: the key is as if it had never been used."""
    # Where the database is away the claim is an orphan, and is taken over later.
    with contextlib.suppress(DatabaseError):
        IdempotencyKey.objects.filter(pk=claimed.pk, claim=claimed.claim, status=None).delete()


def _take_over_orphan(found: IdempotencyKey) -> bool:
    now = timezone.now()
    orphan = IdempotencyKey.objects.filter(
        pk=found.pk, claim=found.claim, status=None, claimed_at__lt=now - ORPHANED_AFTER
    )
    found.claim = uuid.uuid4()
    return bool(orphan.update(claim=found.claim, claimed_at=now))
