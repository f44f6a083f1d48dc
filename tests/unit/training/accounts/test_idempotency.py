from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from training.accounts import idempotency
from training.accounts.idempotency import InProgressError, KeyReusedError
from training.models import IdempotencyKey


def test_completed_key_returns_the_stored_response(ada: User) -> None:
    first = idempotency.acquire(ada, "k", "digest")
    assert first.status is None
    idempotency.complete(first, 201, '{"id": 1}')
    again = idempotency.acquire(ada, "k", "digest")
    assert (again.status, again.body) == (201, '{"id": 1}')


def test_key_in_progress_is_a_conflict(ada: User) -> None:
    idempotency.acquire(ada, "k", "digest")
    with pytest.raises(InProgressError, match="'k' is still running"):
        idempotency.acquire(ada, "k", "digest")


def test_key_of_another_request_is_refused_before_and_after_it_ends(ada: User) -> None:
    first = idempotency.acquire(ada, "k", "digest")
    with pytest.raises(KeyReusedError, match="use a new key for each"):
        idempotency.acquire(ada, "k", "other")
    idempotency.complete(first, 201, "{}")
    with pytest.raises(KeyReusedError, match="use a new key for each"):
        idempotency.acquire(ada, "k", "other")


def test_idempotency_keys_are_separate_for_each_user(ada: User, bob: User) -> None:
    idempotency.acquire(ada, "k", "digest")
    assert idempotency.acquire(bob, "k", "digest").status is None


def test_released_key_can_be_used_again(ada: User) -> None:
    idempotency.release(idempotency.acquire(ada, "k", "digest"))
    assert idempotency.acquire(ada, "k", "other").status is None


def test_release_keeps_a_completed_key(ada: User) -> None:
    first = idempotency.acquire(ada, "k", "digest")
    idempotency.complete(first, 201, "{}")
    idempotency.release(first)
    assert idempotency.acquire(ada, "k", "digest").status == 201


def test_orphaned_claim_is_taken_over_and_its_first_owner_cannot_complete(ada: User) -> None:
    orphan = idempotency.acquire(ada, "k", "digest")
    long_ago = timezone.now() - idempotency.ORPHANED_AFTER - timedelta(seconds=1)
    IdempotencyKey.objects.update(claimed_at=long_ago)
    successor = idempotency.acquire(ada, "k", "digest")
    with pytest.raises(InProgressError, match="has taken over"):
        idempotency.complete(orphan, 201, "{}")
    idempotency.release(orphan)
    idempotency.complete(successor, 202, "{}")
    assert idempotency.acquire(ada, "k", "digest").status == 202


def test_key_is_deleted_after_a_day(ada: User) -> None:
    first = idempotency.acquire(ada, "k", "digest")
    idempotency.complete(first, 201, "{}")
    IdempotencyKey.objects.update(
        created_at=timezone.now() - idempotency.RETENTION - timedelta(seconds=1)
    )
    assert idempotency.acquire(ada, "k", "other").status is None
