from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from uuid import UUID, uuid4

import pytest

from realtime.interfaces import Frame
from realtime.publisher import Publisher
from realtime.transport import MessageRefusedError
from tests.polling import eventually

JOB = uuid4()


class MemoryOutbox:
    """One job's rows."""

    def __init__(self) -> None:
        self.rows: list[Frame] = []
        self.sent = 0
        self.claimed = False

    def write(self, count: int) -> None:
        for _ in range(count):
            seq = len(self.rows) + 1
            self.rows.append(Frame(JOB, seq, f"training.progress.{JOB}", b"%d" % seq))

    def pending_jobs(self, limit: int) -> Sequence[UUID]:
        return [JOB] if len(self.rows) > self.sent and not self.claimed else []

    def claim(self, job_id: UUID, seconds: float) -> bool:
        if self.claimed or len(self.rows) <= self.sent:
            return False
        self.claimed = True
        return True

    def renew(self, job_id: UUID, seconds: float) -> None:
        assert self.claimed

    def unsent(self, job_id: UUID, after: int | None, limit: int) -> Sequence[Frame]:
        start = self.sent if after is None else after
        return self.rows[start : start + limit]

    def release(self, job_id: UUID, sent_seq: int | None) -> None:
        self.sent = max(self.sent, sent_seq or 0)
        self.claimed = False


class FakeTransport:
    """A transport that can be cut."""

    def __init__(self) -> None:
        self.sent_bodies: list[bytes] = []
        self.up, self.failures = True, 0
        self.pids: set[int] = set()

    def send(self, routing_key: str, body: bytes) -> None:
        self.failures -= 1
        if not self.up or self.failures >= 0:
            raise ConnectionError("cut")
        self.sent_bodies.append(body)
        self.pids.add(threading.get_ident())

    def close(self) -> None:
        pass


@pytest.fixture
def outbox() -> MemoryOutbox:
    return MemoryOutbox()


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
def publisher(outbox: MemoryOutbox, transport: FakeTransport) -> Iterator[Publisher]:
    publisher = Publisher(outbox, transport)
    yield publisher
    publisher.stop(timeout=5)


def test_events_are_sent_in_order(
    publisher: Publisher, outbox: MemoryOutbox, transport: FakeTransport
) -> None:
    outbox.write(450)
    publisher.notify(JOB)
    eventually(lambda: outbox.sent == 450)
    assert transport.sent_bodies == [b"%d" % seq for seq in range(1, 451)]


def test_notify_never_blocks(
    publisher: Publisher, outbox: MemoryOutbox, transport: FakeTransport
) -> None:
    outbox.write(1)
    publisher.notify(JOB)
    eventually(lambda: bool(transport.sent_bodies))
    assert threading.get_ident() not in transport.pids


def test_events_wait_during_a_broker_outage_and_are_sent_afterwards(
    publisher: Publisher,
    outbox: MemoryOutbox,
    transport: FakeTransport,
    caplog: pytest.LogCaptureFixture,
) -> None:
    transport.up = False
    for _ in range(5):
        outbox.write(1)
        publisher.notify(JOB)
    eventually(lambda: "Publishing failed; events stay in the outbox" in caplog.text)
    transport.up = True
    publisher.scan()
    eventually(lambda: outbox.sent == 5)
    assert transport.sent_bodies == [b"1", b"2", b"3", b"4", b"5"]
    assert caplog.text.count("Publishing failed; events stay in the outbox") == 1


def test_message_is_tried_four_times_before_it_waits(
    publisher: Publisher,
    outbox: MemoryOutbox,
    transport: FakeTransport,
    caplog: pytest.LogCaptureFixture,
) -> None:
    outbox.write(2)
    transport.failures = 3
    publisher.notify(JOB)
    eventually(lambda: outbox.sent == 2)
    assert transport.sent_bodies == [b"1", b"2"]
    assert caplog.text == ""
    outbox.write(1)
    transport.failures = 4
    publisher.notify(JOB)
    eventually(lambda: "Publishing failed; events stay in the outbox" in caplog.text)
    assert outbox.sent == 2


def test_job_claimed_by_another_sender_is_retried_soon(
    publisher: Publisher, outbox: MemoryOutbox
) -> None:
    outbox.write(1)
    outbox.claimed = True
    publisher.notify(JOB)
    time.sleep(0.02)
    outbox.claimed = False
    eventually(lambda: outbox.sent == 1)


def test_stopping_sends_pending_events(
    publisher: Publisher, outbox: MemoryOutbox, transport: FakeTransport
) -> None:
    outbox.write(100)
    publisher.notify(JOB)
    publisher.stop(timeout=5)
    assert len(transport.sent_bodies) == 100


def test_publisher_can_be_restarted_after_a_stop(
    publisher: Publisher, outbox: MemoryOutbox
) -> None:
    publisher.notify(JOB)
    publisher.stop(timeout=5)
    outbox.write(1)
    publisher.notify(JOB)
    eventually(lambda: outbox.sent == 1)


class ManyJobsOutbox:
    """One unsent event for each job; those of `unreadable` cannot be read."""

    def __init__(self, jobs: int, unreadable: int = 0) -> None:
        self.jobs = [uuid4() for _ in range(jobs)]
        self.unreadable = set(self.jobs[:unreadable])
        self.sent: list[UUID] = []

    def pending_jobs(self, limit: int) -> Sequence[UUID]:
        return [job_id for job_id in self.jobs if job_id not in self.sent][:limit]

    def claim(self, job_id: UUID, seconds: float) -> bool:
        return True

    def renew(self, job_id: UUID, seconds: float) -> None: ...

    def unsent(self, job_id: UUID, after: int | None, limit: int) -> Sequence[Frame]:
        if job_id in self.unreadable:
            raise KeyError("training:something")
        return [] if after else [Frame(job_id, 1, "training.progress.x", b"{}")]

    def release(self, job_id: UUID, sent_seq: int | None) -> None:
        if sent_seq:
            self.sent.append(job_id)


def test_jobs_that_cannot_be_published_do_not_block_the_others(transport: FakeTransport) -> None:
    outbox = ManyJobsOutbox(jobs=10, unreadable=5)
    publisher = Publisher(outbox, transport)
    try:
        for _ in range(4):
            publisher.scan()
            time.sleep(0.05)
        eventually(lambda: len(outbox.sent) == 5)
    finally:
        publisher.stop(timeout=5)
    assert not outbox.unreadable & set(outbox.sent)


def test_event_rejected_by_the_broker_is_skipped(
    outbox: MemoryOutbox, caplog: pytest.LogCaptureFixture
) -> None:
    class RefusingTransport(FakeTransport):
        def send(self, routing_key: str, body: bytes) -> None:
            if body == b"2":
                raise MessageRefusedError("message size is larger than configured max size")
            super().send(routing_key, body)

    transport = RefusingTransport()
    publisher = Publisher(outbox, transport)
    outbox.write(3)
    publisher.notify(JOB)
    eventually(lambda: outbox.sent == 3)
    publisher.stop(timeout=5)
    assert transport.sent_bodies == [b"1", b"3"]
    assert f"Skipped event 2 of job {JOB}: message size" in caplog.text
