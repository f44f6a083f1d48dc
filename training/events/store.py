"""`realtime.interfaces` on the database: events of jobs, and which of them are unsent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from copy import copy
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db import connection
from django.db.models import F, Max, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Greatest, Now

from realtime.connections import Credential, Viewer
from realtime.events import encode_stored, routing_key
from realtime.events import timestamp as format_timestamp
from realtime.interfaces import Frame, JobSeqs, Position
from training.accounts import sessions, tokens
from training.accounts.permissions import visible_to
from training.events import packing
from training.models import Job, JobEvent
from training.models.expressions import UNSENT
from training.models.path_field import to_absolute

# Longer than a transaction that stores events: an idle one is ended after the length of a lease.
LONGEST_TRANSACTION_SECONDS = 60
UNCLAIMED = Q(sending_until=None) | Q(sending_until__lt=Now())


def to_frame(event: JobEvent) -> Frame:
    return Frame(
        job_id=event.job_id,
        seq=event.seq,
        routing_key=routing_key(event.event, event.job_id),
        body=encode_stored(event.event, event.seq, event.at, event.job_id, _moved(event.data)),
    )


def _moved(data: dict[str, Any]) -> dict[str, Any]:
    """Events hold absolute paths; the data folder may have been moved since."""
    path = data.get("checkpoint_path")
    return {**data, "checkpoint_path": to_absolute(path)} if isinstance(path, str) else data


def frames(job_id: UUID, after: int | F, limit: int) -> Sequence[Frame]:
    """At most `limit` events of the job with seq > `after`, in order."""
    rows = list(JobEvent.objects.filter(job_id=job_id, seq__gt=after).order_by("seq")[:limit])
    # Unsent events, after an expression, are never packed.
    if isinstance(after, int) and packing.may_be_packed(rows, job_id, after, limit):
        rows = packing.read(job_id, after, limit)
    return [to_frame(event) for event in rows]


def _stored_before(position: Position) -> QuerySet[JobEvent]:
    """Events that were stored at the position; of recent ones perhaps fewer, never more.

    While a transaction was open, those of all that began after it are left out: a client then gets
    events that it may know, but misses none.
    """
    events = JobEvent.objects.filter(pk__lte=position.newest)
    if position.open_since is None:
        return events
    # `xmin` is the row's transaction; ages compare across the wraparound of its 32 bits. A
    # transaction of another database may be open for hours, one of ours is not.
    where = "age(xmin) > age(%s::text::xid) OR at < %s"
    oldest = position.oldest_transaction % 2**32
    return events.extra(where=[where], params=[oldest, position.open_since])  # noqa: S610


class DatabaseEventStore:
    """`realtime.interfaces.EventStore` on the database."""

    def latest_seqs(self, job_ids: Collection[UUID]) -> dict[UUID, int]:
        return dict(Job.objects.filter(pk__in=job_ids).values_list("pk", "seq"))

    def latest_seqs_since(self, seconds: float) -> dict[UUID, int]:
        since = Now() - timedelta(seconds=seconds)
        return dict(Job.objects.filter(updated_at__gte=since).values_list("pk", "seq"))

    def position(self) -> Position:
        if connection.vendor != "postgresql":  # SQLite has one writer at a time
            return Position(JobEvent.objects.aggregate(newest=Max("pk"))["newest"] or 0)
        # In one statement, which sees one snapshot.
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT coalesce(max(id), 0), now() - %s * interval '1 second', "
                "txid_snapshot_xmin(txid_current_snapshot()) FROM training_jobevent",
                [LONGEST_TRANSACTION_SECONDS],
            )
            return Position(*cursor.fetchone())

    def event_counter(self) -> int:
        # Deleting the newest events does not decrease a sequence, as it does the highest key.
        query = (
            "SELECT last_value FROM pg_sequences WHERE schemaname = current_schema() "
            "AND sequencename = 'training_jobevent_id_seq'"
            if connection.vendor == "postgresql"
            else "SELECT seq FROM sqlite_sequence WHERE name = 'training_jobevent'"
        )
        with connection.cursor() as cursor:
            cursor.execute(query)
            row = cursor.fetchone()
        return int(row[0] or 0) if row else 0

    def has_event(self, job_id: UUID, seq: int, timestamp: str) -> bool:
        at = JobEvent.objects.filter(job_id=job_id, seq=seq).values_list("at", flat=True).first()
        return at is not None and format_timestamp(at) == timestamp

    def visible_seqs(
        self, viewer: Viewer, job_ids: Collection[UUID], position: Position
    ) -> dict[UUID, JobSeqs]:
        user = _find_user(viewer)
        if user is None:
            return {}
        # Backward from the newest event, since few are newer than the position.
        events = _stored_before(position).filter(job=OuterRef("pk")).order_by("-seq")
        at_position = Coalesce(Subquery(events.values("seq")[:1]), 0)
        rows = visible_to(Job.objects.filter(pk__in=job_ids), user).annotate(before=at_position)
        return {
            pk: JobSeqs(before, latest)
            for pk, before, latest in rows.values_list("pk", "before", "seq")
        }

    def frames(self, job_id: UUID, after: int, limit: int) -> Sequence[Frame]:
        return frames(job_id, after, limit)

    def can_view(self, viewer: Viewer, job_id: UUID) -> bool:
        user = _find_user(viewer)
        return user is not None and visible_to(Job.objects.filter(pk=job_id), user).exists()

    def valid_credentials(self, credentials: Collection[Credential]) -> set[Credential]:
        known = tokens.valid_token_ids(
            [credential.token for credential in credentials if credential.token]
        )
        signed_in = sessions.valid_session_keys(
            [credential.session for credential in credentials if credential.session]
        )
        users = User.objects.filter(
            pk__in={credential.user_id for credential in credentials}, is_active=True
        )
        active = set(users.values_list("pk", flat=True))
        return {
            credential
            for credential in credentials
            if credential.user_id in active
            and credential.token in {"", *known}
            and credential.session in {"", *signed_in}
        }

    def revoked_access(
        self, subscriptions: Iterable[tuple[Viewer, Collection[UUID]]]
    ) -> set[tuple[Viewer, UUID]]:
        subscribed: defaultdict[Viewer, set[UUID]] = defaultdict(set)
        for viewer, job_ids in subscriptions:
            subscribed[viewer].update(job_ids)
        users = User.objects.in_bulk({viewer.user_id for viewer in subscribed})
        revoked: set[tuple[Viewer, UUID]] = set()
        for viewer, job_ids in subscribed.items():
            user = users.get(viewer.user_id)
            if user is None:
                continue
            existing = Job.objects.filter(pk__in=job_ids)
            visible = visible_to(existing, _with_rights(user, viewer))
            hidden = existing.exclude(pk__in=visible.values("pk"))
            revoked |= {(viewer, pk) for pk in hidden.values_list("pk", flat=True)}
        return revoked


def _find_user(viewer: Viewer) -> User | None:
    user = User.objects.filter(pk=viewer.user_id).first()
    return user and _with_rights(user, viewer)


def _with_rights(user: User, viewer: Viewer) -> User:
    """A copy without the rights of staff, if the viewer's token withholds them; never saved."""
    if viewer.as_staff:
        return user
    limited = copy(user)
    limited.is_staff = limited.is_superuser = False
    return limited


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
        # A slow sender whose claim expired must not decrease `sent_seq`.
        mark = F("sent_seq") if sent_seq is None else Greatest("sent_seq", sent_seq)
        Job.objects.filter(pk=job_id).update(sent_seq=mark, sending_until=None)


def _with_usable_connection() -> None:
    """Close a broken connection: nothing else does in the publisher's long-lived thread."""
    if connection.errors_occurred and not connection.in_atomic_block:
        connection.close()
