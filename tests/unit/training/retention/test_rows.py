"""Rows without a job that retention deletes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from tests.unit.training.retention.test_ended_jobs import OFF
from training.accounts import audit
from training.models import ApiToken, AuditEntry, Delivery, IdempotencyKey, UserSession, Webhook
from training.retention import rows

DAYS = replace(OFF, tokens=30, audit=30, deliveries=30)


def apply() -> dict[str, int]:
    return {step.kind: step.count for step in rows.steps(DAYS, dry_run=False) if step.count}


def test_expired_sessions_and_tokens_are_deleted_and_valid_ones_kept(ada: User) -> None:
    now = timezone.now()
    for key, days in (("old", -1), ("new", 1)):
        UserSession.objects.create(
            session_key=key, expire_date=now + timedelta(days=days), created_at=now,
            last_used_at=now,
        )  # fmt: skip
    for name, days in (("old", -31), ("expired", -29), ("valid", 1)):
        expires_at = now + timedelta(days=days)
        ApiToken.objects.create(user=ada, digest=name, name=name, expires_at=expires_at)
    ApiToken.objects.create(user=ada, digest="lasting", name="lasting")
    assert apply() == {"expired sessions": 1, "expired tokens": 1}
    assert set(UserSession.objects.values_list("session_key", flat=True)) == {"new"}
    assert set(ApiToken.objects.values_list("name", flat=True)) == {"expired", "valid", "lasting"}


def test_pending_deliveries_are_deleted_only_for_disabled_webhooks(ada: User) -> None:
    old = timezone.now() - timedelta(days=31)
    for enabled in (True, False):
        hook = Webhook.objects.create(owner=ada, url="https://x", events=[], enabled=enabled)
        for status in Delivery.State.values:
            Delivery.objects.create(webhook=hook, event="e", body="{}", status=status)
    Delivery.objects.update(created_at=old)
    Delivery.objects.create(webhook=hook, event="e", body="{}", status="delivered")
    assert apply() == {"webhook deliveries": 5}
    assert sorted(Delivery.objects.values_list("status", "webhook__enabled")) == [
        ("delivered", False), ("pending", True),
    ]  # fmt: skip


@pytest.mark.django_db
def test_rows_are_deleted_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "CHUNK", 2)
    for _ in range(5):
        audit.record("test", "x")
    AuditEntry.objects.update(at=timezone.now() - timedelta(days=31))
    audit.record("test", "new")
    would = [step for step in rows.steps(DAYS, dry_run=True) if step.count]
    assert [(step.count, step.bytes > 0) for step in would] == [(5, True)]
    steps = [step.count for step in rows.steps(DAYS, dry_run=False) if step.count]
    assert steps == [2, 2, 1]
    assert AuditEntry.objects.get().target == "new"


def test_idempotency_keys_are_deleted_after_a_day(ada: User) -> None:
    now = timezone.now()
    for hours in (23, 25):
        IdempotencyKey.objects.create(
            user=ada, key=str(hours), digest="", claimed_at=now,
            created_at=now - timedelta(hours=hours),
        )  # fmt: skip
    assert apply() == {"idempotency keys": 1}
    assert IdempotencyKey.objects.get().key == "23"
