"""`realtime.interfaces` on the database: events of jobs, and which of them are unsent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection
from django.db.models import F, Q
from django.db.models.functions import Greatest, Now

from realtime.connections import Credential
from realtime.events import encode, routing_key
from realtime.interfaces import Frame
from training.accounts import tokens
from training.accounts.permissions import visible_to
from training.models import Job, JobEvent
from training.models.expressions import UNSENT

UNCLAIMED = Q(sending_until=None) | Q(sending_until__lt=Now())


def to_frame(event: JobEvent) -> Frame:
    return Frame(
        job_id=event.job_id,
        seq=event.seq,
        routing_key=routing_key(event.event, event.job_id),
        body=encode(event.event, event.seq, event.at, event.data),
    )


def frames(job_id: UUID, after: int | F, limit: int) -> Sequence[Frame]:
    """At most `limit` events of the job with seq > `after`, in order."""
    rows = JobEvent.objects.filter(job_id=job_id, seq__gt=after).order_by("seq")[:limit]
    return [to_frame(event) for event in rows]


class DatabaseEventStore:
    """`realtime.interfaces.EventStore` on the database."""

    def latest_seqs(self, job_ids: Collection[UUID]) -> dict[UUID, int]:
        return dict(Job.objects.filter(pk__in=job_ids).values_list("pk", "seq"))

    def latest_seqs_since(self, moment: datetime) -> dict[UUID, int]:
        return dict(Job.objects.filter(updated_at__gte=moment).values_list("pk", "seq"))

    def frames(self, job_id: UUID, after: int, limit: int) -> Sequence[Frame]:
        return frames(job_id, after, limit)

    def can_view(self, user_id: int, job_id: UUID) -> bool:
        user = User.objects.filter(pk=user_id).first()
        return user is not None and visible_to(Job.objects.filter(pk=job_id), user).exists()

    def valid_credentials(self, credentials: Collection[Credential]) -> set[Credential]:
        known = tokens.valid_token_ids([one.token for one in credentials if one.token])
        keys = [one.session for one in credentials if one.session]
        rows = Session.objects.filter(session_key__in=keys, expire_date__gt=Now())
        signed_in = set(rows.values_list("session_key", flat=True))
        users = User.objects.filter(pk__in={one.user_id for one in credentials}, is_active=True)
        active = set(users.values_list("pk", flat=True))
        return {
            one
            for one in credentials
            if one.user_id in active
            and one.token in {"", *known}
            and one.session in {"", *signed_in}
        }

    def revoked_access(
        self, subscriptions: Iterable[tuple[int, Collection[UUID]]]
    ) -> set[tuple[int, UUID]]:
        subscribed: defaultdict[int, set[UUID]] = defaultdict(set)
        for user_id, job_ids in subscriptions:
            subscribed[user_id].update(job_ids)
        revoked: set[tuple[int, UUID]] = set()
        for user in User.objects.filter(pk__in=subscribed.keys()):
            existing = Job.objects.filter(pk__in=subscribed[user.pk])
            hidden = existing.exclude(pk__in=visible_to(existing, user).values("pk"))
            revoked |= {(user.pk, pk) for pk in hidden.values_list("pk", flat=True)}
        return revoked


class DatabaseOutbox:
    """`realtime.interfaces.Outbox` on the database."""

    def pending_jobs(self, limit: int) -> Sequence[UUID]:
        _with_usable_connection()
        rows = Job.objects.filter(UNSENT, UNCLAIMED).order_by("pk")
        return list(rows.values_list("pk", flat=True)[:limit])

    def claim(self, job_id: UUID, seconds: float) -> bool:
        _with_usable_connection()
        unclaimed = Job.objects.filter(UNSENT, UNCLAIMED, pk=job_id)
        return unclaimed.update(sending_until=Now() + timedelta(seconds=seconds)) == 1

    def renew(self, job_id: UUID, seconds: float) -> None:
        Job.objects.filter(pk=job_id).update(sending_until=Now() + timedelta(seconds=seconds))

    def unsent(self, job_id: UUID, after: int | None, limit: int) -> Sequence[Frame]:
        return frames(job_id, F("job__sent_seq") if after is None else after, limit)

    def release(self, job_id: UUID, sent_seq: int | None) -> None:
        # A slow sender whose claim ran out must not move the mark back.
        mark = F("sent_seq") if sent_seq is None else Greatest("sent_seq", sent_seq)
        Job.objects.filter(pk=job_id).update(sent_seq=mark, sending_until=None)


def _with_usable_connection() -> None:
    """Close a broken connection: nothing else does in the publisher's long-lived thread."""
    if connection.errors_occurred and not connection.in_atomic_block:
        connection.close()
