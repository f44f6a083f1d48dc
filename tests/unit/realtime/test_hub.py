"""The log of a watched job, on the in-memory layer and a store in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime
from uuid import UUID, uuid4

import pytest
from channels.layers import InMemoryChannelLayer

from realtime import hub as hub_module
from realtime.hub import Hub
from realtime.interfaces import Frame
from realtime.subscription import Subscription
from realtime.transport import ALL_JOBS, job_group


class MemoryEventStore:
    def __init__(self) -> None:
        self.jobs: dict[UUID, list[Frame]] = {}
        self.hidden: set[UUID] = set()
        self.reads = 0

    def write(self, job_id: UUID, count: int = 1) -> bytes:
        rows = self.jobs.setdefault(job_id, [])
        for _ in range(count):
            seq = len(rows) + 1
            frame = {"event": "x", "seq": seq, "data": {"job_id": str(job_id)}}
            rows.append(Frame(job_id, seq, "", json.dumps(frame).encode()))
        return rows[-1].body

    def latest_seqs(self, job_ids: Collection[UUID]) -> dict[UUID, int]:
        return {one: len(self.jobs[one]) for one in job_ids if one in self.jobs}

    def latest_seqs_since(self, moment: datetime) -> dict[UUID, int]:
        return self.latest_seqs(list(self.jobs))

    def frames(self, job_id: UUID, after: int, limit: int) -> Sequence[Frame]:
        self.reads += 1
        return self.jobs[job_id][after : after + limit]

    def can_view(self, user_id: int, job_id: UUID) -> bool:
        return job_id in self.jobs and job_id not in self.hidden


class FakeBroker:
    """The layer as the publisher's messages reach it."""

    def __init__(self, layer: InMemoryChannelLayer) -> None:
        self._layer = layer

    async def publish(self, body: bytes) -> None:
        job_id = json.loads(body)["data"]["job_id"]
        for group in (job_group(job_id), ALL_JOBS):
            await self._layer.group_send(group, {"type": "frame", "body": body})


@pytest.fixture
def store() -> MemoryEventStore:
    return MemoryEventStore()


@pytest.fixture
def layer() -> InMemoryChannelLayer:
    return InMemoryChannelLayer(capacity=10_000)


@pytest.fixture
def broker(layer: InMemoryChannelLayer) -> FakeBroker:
    return FakeBroker(layer)


@pytest.fixture
async def hub(store: MemoryEventStore, layer: InMemoryChannelLayer) -> AsyncIterator[Hub]:
    hub = Hub(store, layer)
    yield hub
    await hub.close()


async def next_seqs(subscription: Subscription, count: int) -> list[int | None]:
    found: list[int | None] = []
    async with asyncio.timeout(5):
        async for body in subscription.frames():
            found.append(json.loads(body).get("seq"))
            if len(found) == count:
                break
    return found


async def test_stored_events_come_before_live_ones(
    hub: Hub, store: MemoryEventStore, broker: FakeBroker
) -> None:
    job = uuid4()
    store.write(job, 5)
    subscription = Subscription(hub, 1)
    assert await subscription.subscribe(job, after=2) == 5
    reading = asyncio.ensure_future(next_seqs(subscription, 5))
    await asyncio.sleep(0.05)
    for _ in range(2):
        await broker.publish(store.write(job))
    assert await reading == [3, 4, 5, 6, 7]


async def test_lost_duplicate_and_late_messages_leave_no_gap(
    hub: Hub, store: MemoryEventStore, broker: FakeBroker
) -> None:
    job = uuid4()
    store.write(job)
    subscription = Subscription(hub, 1)
    await subscription.subscribe(job, after=0)
    store.write(job, 3)  # lost
    body = store.write(job)
    await broker.publish(body)
    await broker.publish(body)
    await broker.publish(store.jobs[job][1].body)  # late
    assert await next_seqs(subscription, 5) == [1, 2, 3, 4, 5]


async def test_lost_last_message_is_found_by_the_resync(
    hub: Hub, store: MemoryEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "RESYNC_SECONDS", 0.05)
    job = uuid4()
    store.write(job)
    subscription = Subscription(hub, 1)
    await subscription.subscribe(job, after=1)
    store.write(job)
    assert await next_seqs(subscription, 1) == [2]


async def test_live_frames_are_delivered_without_a_query(
    hub: Hub, store: MemoryEventStore, broker: FakeBroker
) -> None:
    job = uuid4()
    store.write(job)
    subscriptions = [Subscription(hub, 1) for _ in range(20)]
    for subscription in subscriptions:
        await subscription.subscribe(job, after=1)
    before = store.reads
    readings = [
        asyncio.ensure_future(next_seqs(subscription, 10)) for subscription in subscriptions
    ]
    for _ in range(10):
        await broker.publish(store.write(job))
    assert await asyncio.gather(*readings) == [list(range(2, 12))] * 20
    assert store.reads == before


async def test_last_unsubscribe_leaves_the_group(
    hub: Hub, store: MemoryEventStore, layer: InMemoryChannelLayer
) -> None:
    job = uuid4()
    store.write(job)
    subscription = Subscription(hub, 1)
    await subscription.subscribe(job, after=0)
    await subscription.close()
    assert job_group(job) not in layer.groups


async def test_subscription_to_all_jobs_delivers_new_events_of_visible_jobs(
    hub: Hub, store: MemoryEventStore, broker: FakeBroker
) -> None:
    old, hidden, new = uuid4(), uuid4(), uuid4()
    store.write(old, 3)
    store.write(hidden)
    store.hidden.add(hidden)
    subscription = Subscription(hub, 1)
    await subscription.subscribe_all()
    await broker.publish(store.write(hidden))
    await broker.publish(store.write(old))
    await broker.publish(store.write(new, 2))
    assert sorted(await next_seqs(subscription, 3)) == [1, 2, 4]  # type: ignore[type-var]


async def test_ephemeral_frame_follows_the_stored_ones(
    hub: Hub, store: MemoryEventStore, broker: FakeBroker
) -> None:
    job = uuid4()
    store.write(job)
    subscription = Subscription(hub, 1)
    await subscription.subscribe(job, after=0)
    await broker.publish(json.dumps({"event": "b", "data": {"job_id": str(job)}}).encode())
    assert await next_seqs(subscription, 2) == [1, None]
