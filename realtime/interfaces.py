"""The storage that realtime needs: a job's events, and which of them are unsent.

The database rows are authoritative; a broker message is only a hint that there are new rows.
`training.events.store` implements both interfaces over its models, so this package does
not depend on what a job is. Every method may block on the database: call it in a thread from a
coroutine.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from realtime.connections import Credential, Viewer


@dataclass(frozen=True, slots=True)
class Frame:
    """One stored event, encoded once for the wire."""

    job_id: UUID
    seq: int
    routing_key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class JobSeqs:
    """The seq of a job at an earlier position of the store (0: it did not exist), and now."""

    at_position: int
    latest: int


class Position(NamedTuple):
    """A moment of the store: its newest event, and which transactions were open.

    Their events are stored later, although their keys are lower than that of the newest event.
    """

    newest: int = 0
    open_since: datetime | None = None  # None: events are stored in the order of their keys
    oldest_transaction: int = 0


class EventStore(Protocol):
    """The events of every job, in order and without gaps."""

    def latest_seqs(self, job_ids: Collection[UUID]) -> dict[UUID, int]:
        """The latest seq of each of these jobs; jobs that do not exist are left out."""
        ...

    def latest_seqs_since(self, seconds: float) -> dict[UUID, int]:
        """The latest seq of each job that changed in the last `seconds`, on the store's clock."""
        ...

    def position(self) -> Position:
        """The present moment."""
        ...

    def event_counter(self) -> int:
        """A number that each stored event increases and that only a restore decreases."""
        ...

    def has_event(self, job_id: UUID, seq: int, timestamp: str) -> bool:
        """Whether the job's event of this seq has this timestamp, as on the wire."""
        ...

    def visible_seqs(
        self, viewer: Viewer, job_ids: Collection[UUID], position: Position
    ) -> dict[UUID, JobSeqs]:
        """The seqs of the jobs that the viewer can view; the number of queries is constant."""
        ...

    def frames(self, job_id: UUID, after: int, limit: int) -> Sequence[Frame]:
        """At most `limit` events with seq > `after`, in order."""
        ...

    def can_view(self, viewer: Viewer, job_id: UUID) -> bool: ...

    def valid_credentials(self, credentials: Collection[Credential]) -> set[Credential]:
        """The subset of `credentials` that are still valid."""
        ...

    def revoked_access(
        self, subscriptions: Iterable[tuple[Viewer, Collection[UUID]]]
    ) -> set[tuple[Viewer, UUID]]:
        """The pairs of viewer and subscribed job where the viewer may no longer see the job."""
        ...


class Outbox(Protocol):
    """The events that the broker has not confirmed yet.

    One process at a time sends a job's events: it claims the job, sends in order, and releases the
    claim with the last confirmed seq. Claims expire, so a killed sender blocks nothing for long.
    """

    def pending_jobs(self, limit: int) -> Sequence[UUID]:
        """Jobs that have unsent events and that no process has claimed."""
        ...

    def claim(self, job_id: UUID, seconds: float) -> bool:
        """Whether this caller alone may send the job's events for so many seconds."""
        ...

    def renew(self, job_id: UUID, seconds: float) -> None:
        """Extend the claim to so many seconds from now."""
        ...

    def unsent(self, job_id: UUID, after: int | None, limit: int) -> Sequence[Frame]:
        """The next events to send: after seq `after`, or (None) after the last confirmed one."""
        ...

    def release(self, job_id: UUID, sent_seq: int | None) -> None:
        """Release the claim; everything up to `sent_seq` (None: nothing) has been confirmed."""
        ...
