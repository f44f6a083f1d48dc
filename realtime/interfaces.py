"""What realtime asks of whoever keeps the rows: the events of a job, and which are not sent.

The rows are the truth and a message is a hint. `training` implements both over its models, and
`heimdall` hands them in, so that nothing here knows what a job is. Every call may block on the
database: from a coroutine, make it in a thread.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from realtime.connections import Credential


@dataclass(frozen=True, slots=True)
class Frame:
    """One stored event as it goes over the wire, encoded once."""

    job_id: UUID
    seq: int
    routing_key: str
    body: bytes


class EventStore(Protocol):
    """The events of every job, in order, without a hole."""

    def heads(self, job_ids: Collection[UUID]) -> dict[UUID, int]:
        """The newest seq of each of these jobs; one that does not exist is left out."""
        ...

    def heads_since(self, moment: datetime) -> dict[UUID, int]:
        """The newest seq of each job to which anything happened since."""
        ...

    def frames(self, job_id: UUID, after: int, limit: int) -> Sequence[Frame]:
        """At most `limit` events with seq > `after`, in order."""
        ...

    def may_watch(self, user_id: int, job_id: UUID) -> bool:
        """Whether the job exists and this user may see it."""
        ...

    def valid(self, credentials: Collection[Credential]) -> set[Credential]:
        """Those of them that would still open a socket."""
        ...

    def hidden(self, follows: Iterable[tuple[int, Collection[UUID]]]) -> set[tuple[int, UUID]]:
        """User and job, where a user who follows these jobs may not see one any more."""
        ...


class Outbox(Protocol):
    """The events that the broker has not confirmed yet.

    One process at a time sends a job's events: it claims the job, sends in order, and says how far
    it got. A claim runs out by itself, so that a killed sender holds up nothing.
    """

    def waiting(self, limit: int) -> Sequence[UUID]:
        """Jobs that have something to send and that nobody is sending."""
        ...

    def claim(self, job_id: UUID, seconds: float) -> bool:
        """Whether this caller alone may now send the job's events, for that long."""
        ...

    def renew(self, job_id: UUID, seconds: float) -> None:
        """Keep the claim for that long from now."""
        ...

    def unsent(self, job_id: UUID, after: int | None, limit: int) -> Sequence[Frame]:
        """The next events to send: after `after`, or (None) after what was sent before."""
        ...

    def settle(self, job_id: UUID, sent_seq: int | None) -> None:
        """Give the claim back; everything up to `sent_seq` (None: nothing) has been confirmed."""
        ...
