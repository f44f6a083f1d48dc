"""Events of ended jobs in compressed blocks (ADR 42).

Nearly all events of a job are its epochs, which an ended job hardly ever sends again. Packing
replaces their rows by one block for a thousand of them; reading a page of events puts both
together, so a client sees no difference and no gap.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

import orjson
from django.db import transaction
from django.db.models import Q, QuerySet

from training.models import EventBlock, Job, JobEvent
from training.models.expressions import UNSENT

FREQUENT_EVENTS = ("training:progress", "dataset:generation_progress")
MAX_BLOCK_EVENTS = 1000


def pack(job_id: UUID, when: Q, limit: int = MAX_BLOCK_EVENTS) -> tuple[int, int]:
    """Pack the job's next frequent events; return their number and the bytes that it frees."""
    with transaction.atomic():
        # The lock keeps the job from being resumed before the rows are packed.
        jobs = Job.objects.select_for_update().filter(when, ~UNSENT, pk=job_id)
        if not jobs.values_list("pk", flat=True).first():
            return 0, 0
        rows = list(_frequent(job_id)[:limit])
        if not rows:
            return 0, 0
        first, last = rows[0].seq, rows[-1].seq
        data = _encode(rows)
        EventBlock.objects.create(job_id=job_id, first_seq=first, last_seq=last, data=data)
        packed = JobEvent.objects.filter(job_id=job_id, event__in=FREQUENT_EVENTS)
        packed.filter(seq__range=(first, last)).delete()
    return len(rows), max(sum(map(_row_bytes, rows)) - len(data), 0)


def packable(job_id: UUID, limit: int = MAX_BLOCK_EVENTS) -> tuple[int, int]:
    """What `pack` would return for all of the job's events."""
    rows = list(_frequent(job_id)[:limit])
    data = _encode(rows) if rows else b""
    count = _frequent(job_id).count()
    freed = max(sum(map(_row_bytes, rows)) - len(data), 0)
    return count, round(freed * count / len(rows)) if rows else 0


def delete_frequent(job_id: UUID, when: Q) -> tuple[int, int]:
    """Delete the job's frequent events permanently; one empty block represents them."""
    with transaction.atomic():
        jobs = Job.objects.select_for_update().filter(when, ~UNSENT, pk=job_id)
        if not jobs.values_list("pk", flat=True).first():
            return 0, 0
        blocks = EventBlock.objects.filter(job_id=job_id)
        rows = list(_frequent(job_id))
        full = list(blocks.exclude(data=b""))
        if not rows and not full:
            return 0, 0
        last = max([row.seq for row in rows] + [block.last_seq for block in full])
        freed = sum(map(_row_bytes, rows)) + sum(len(block.data) for block in full)
        count = len(rows) + sum(len(_decode(block)) for block in full)
        blocks.delete()
        EventBlock.objects.create(job_id=job_id, first_seq=1, last_seq=last, data=b"")
        JobEvent.objects.filter(job_id=job_id, event__in=FREQUENT_EVENTS).delete()
    return count, freed


def deletable(job_id: UUID) -> tuple[int, int]:
    """What `delete_frequent` would return."""
    full = list(EventBlock.objects.filter(job_id=job_id).exclude(data=b""))
    rows = list(_frequent(job_id))
    count = len(rows) + sum(len(_decode(block)) for block in full)
    return count, sum(map(_row_bytes, rows)) + sum(len(block.data) for block in full)


def deleted_up_to(job_id: UUID) -> int:
    """The seq of the newest event that is no longer kept; 0 if all are."""
    blocks = EventBlock.objects.filter(job_id=job_id, data=b"")
    return blocks.values_list("last_seq", flat=True).first() or 0


def read(job_id: UUID, after: int, limit: int) -> list[JobEvent]:
    """At most `limit` events with seq > `after`, in order, packed or not.

    They begin after what was deleted.
    """
    after = max(after, deleted_up_to(job_id))
    # Rows before blocks: events packed in between are then read twice instead of missed.
    rows = list(JobEvent.objects.filter(job_id=job_id, seq__gt=after).order_by("seq")[:limit])
    found = {row.seq: row for row in rows}
    packed = 0
    blocks = EventBlock.objects.filter(job_id=job_id, last_seq__gt=after).exclude(data=b"")
    for block in blocks.order_by("first_seq").iterator(chunk_size=1):
        events = [event for event in _decode(block) if event.seq > after]
        found.update((event.seq, event) for event in events)
        packed += len(events)
        if packed >= limit:
            break
    return [found[seq] for seq in sorted(found)[:limit]]


def may_be_packed(rows: Sequence[JobEvent], job_id: UUID, after: int, limit: int) -> bool:
    """Whether packed events belong between or after these rows."""
    if rows and len(rows) == limit and rows[-1].seq == after + limit:
        return False
    return EventBlock.objects.filter(job_id=job_id, last_seq__gt=after).exists()


def _frequent(job_id: UUID) -> QuerySet[JobEvent]:
    return JobEvent.objects.filter(job_id=job_id, event__in=FREQUENT_EVENTS).order_by("seq")


def _encode(rows: Iterable[JobEvent]) -> bytes:
    content = [[row.seq, row.event, row.at.isoformat(), row.data] for row in rows]
    return zlib.compress(orjson.dumps(content), 6)


def _decode(block: EventBlock) -> list[JobEvent]:
    return [
        JobEvent(
            job_id=block.job_id, seq=seq, event=event, at=datetime.fromisoformat(at), data=data
        )
        for seq, event, at, data in orjson.loads(zlib.decompress(block.data))
    ]


def _row_bytes(row: JobEvent) -> int:
    # Columns, row header and two entries of indexes; measured on PostgreSQL.
    return len(orjson.dumps(row.data)) + 160
