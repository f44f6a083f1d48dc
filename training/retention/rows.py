"""Rows that no job needs: sessions, tokens, audit entries, deliveries, keys of requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.db.models import Q, QuerySet, Sum, TextField
from django.db.models.functions import Cast, Length, Now

from training.accounts import idempotency
from training.models import ApiToken, AuditEntry, Delivery, IdempotencyKey, UserSession
from training.retention.policy import Policy
from training.retention.removed import Removed

CHUNK = 1000
# Of a row apart from its longest columns, with its entries in indexes.
ROW_BYTES = 160

Rows = QuerySet[Any]


def expired(policy: Policy) -> Iterator[tuple[str, Rows, str]]:
    """Kind, rows to delete, and the column that most of their bytes are in."""
    # The second table is that of earlier versions.
    for session in (UserSession, Session):
        yield "expired sessions", session.objects.filter(expire_date__lt=Now()), "session_data"
    if age := policy.age("tokens"):
        yield "expired tokens", ApiToken.objects.filter(expires_at__lt=Now() - age), "digest"
    if age := policy.age("audit"):
        yield "audit entries", AuditEntry.objects.filter(at__lt=Now() - age), "detail"
        log = LogEntry.objects.filter(action_time__lt=Now() - age)
        yield "entries of the admin log", log, "change_message"
    if age := policy.age("deliveries"):
        # The other pending ones are still to be delivered.
        never = Q(webhook__enabled=False) | Q(webhook__owner__is_active=False)
        ended = ~Q(status=Delivery.State.PENDING) | never
        old = Delivery.objects.filter(ended, created_at__lt=Now() - age)
        yield "webhook deliveries", old, "body"
    old_keys = IdempotencyKey.objects.filter(created_at__lt=Now() - idempotency.RETENTION)
    yield "idempotency keys", old_keys, "body"


def steps(policy: Policy, *, dry_run: bool) -> Iterator[Removed]:
    for kind, rows, column in expired(policy):
        if dry_run:
            yield Removed(kind, rows.count(), estimate_bytes(rows, column))
        else:
            yield from delete_in_chunks(kind, rows, column)


def delete_in_chunks(kind: str, rows: Rows, column: str) -> Iterator[Removed]:
    """Delete in transactions of at most CHUNK rows."""
    while keys := list(rows.order_by("pk").values_list("pk", flat=True)[:CHUNK]):
        # The condition once more: a row may have changed since it was found.
        chunk = rows.filter(pk__in=keys).order_by()
        size = estimate_bytes(chunk, column)
        count = chunk.delete()[0]
        yield Removed(kind, count, size)
        if len(keys) < CHUNK or not count:
            return


def estimate_bytes(rows: Rows, column: str) -> int:
    totals = rows.order_by().aggregate(bytes=Sum(Length(Cast(column, TextField()))))
    return (totals["bytes"] or 0) + ROW_BYTES * rows.count()
