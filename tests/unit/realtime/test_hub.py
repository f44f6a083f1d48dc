"""The log of a watched job, on the in-memory layer and a journal in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime
from uuid import UUID, uuid4

import pytest
from channels.layers import InMemoryChannelLayer

from realtime import hub as hubs
from realtime.hub import Hub
from realtime.interfaces import Frame
from realtime.subscription import Subscription
from realtime.transport import ALL_JOBS, group_of


class MemoryJournal:
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

    def heads(self, job_ids: Collection[UUID]) -> dict[UUID, int]:
        return {one: len(self.jobs[one]) for one in job_ids if one in self.jobs}

    def heads_since(self, moment: datetime) -> dict[UUID, int]:
        return self.heads(list(self.jobs))

    def frames(self, job_id: UUID, after: int, limit: int) -> Sequence[Frame]:
        self.reads += 1
        return self.jobs[job_id][after : after + limit]

    def may_watch(self, user_id: int, job_id: UUID) -> bool:
        return job_id in self.jobs and job_id not in self.hidden


class Line:
    """The layer as the publisher's messages reach it."""

    def __init__(self, layer: InMemoryChannelLayer) -> None:
        self._layer = layer

    async def publish(self, body: bytes) -> None:
        job_id = json.loads(body)["data"]["job_id"]
        for group in (group_of(job_id), ALL_JOBS):
            await self._layer.group_send(group, {"type": "frame", "body": body})


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal()


@pytest.fixture
def layer() -> InMemoryChannelLayer:
    return InMemoryChannelLayer(capacity=10_000)


@pytest.fixture
def line(layer: InMemoryChannelLayer) -> Line:
    return Line(layer)


@pytest.fixture(autouse=True)
def no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal in memory needs none."""

    async def directly(call, *args):  # type: ignore[no-untyped-def]
        await asyncio.sleep(0)
        return call(*args)

    monkeypatch.setattr(hubs, "_in_thread", directly)


@pytest.fixture
async def hub(journal: MemoryJournal, layer: InMemoryChannelLayer) -> AsyncIterator[Hub]:
    hub = Hub(journal, layer)
    yield hub
    for task in hub._tasks:
        task.cancel()


async def take(watch: Subscription, count: int) -> list[int | None]:
    found: list[int | None] = []
    async with asyncio.timeout(5):
        async for body in watch.frames():
            found.append(json.loads(body).get("seq"))
            if len(found) == count:
                break
    return found


async def test_what_was_comes_first_and_then_what_comes(
    hub: Hub, journal: MemoryJournal, line: Line
) -> None:
    job = uuid4()
    journal.write(job, 5)
    watch = Subscription(hub, 1)
    assert await watch.follow(job, after=2) == 5
    reading = asyncio.ensure_future(take(watch, 5))
    await asyncio.sleep(0.05)
    for _ in range(2):
        await line.publish(journal.write(job))
    assert await reading == [3, 4, 5, 6, 7]


async def test_lost_and_doubled_messages_change_nothing(
    hub: Hub, journal: MemoryJournal, line: Line
) -> None:
    job = uuid4()
    journal.write(job)
    watch = Subscription(hub, 1)
    await watch.follow(job, after=0)
    journal.write(job, 3)  # lost
    body = journal.write(job)
    await line.publish(body)
    await line.publish(body)
    await line.publish(journal.jobs[job][1].body)  # late
    assert await take(watch, 5) == [1, 2, 3, 4, 5]


async def test_a_lost_last_message_is_healed_from_the_rows(
    hub: Hub, journal: MemoryJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "HEAL_SECONDS", 0.05)
    job = uuid4()
    journal.write(job)
    watch = Subscription(hub, 1)
    await watch.follow(job, after=1)
    journal.write(job)
    assert await take(watch, 1) == [2]


async def test_live_frames_need_no_query(hub: Hub, journal: MemoryJournal, line: Line) -> None:
    job = uuid4()
    journal.write(job)
    watches = [Subscription(hub, 1) for _ in range(20)]
    for watch in watches:
        await watch.follow(job, after=1)
    before = journal.reads
    readings = [asyncio.ensure_future(take(watch, 10)) for watch in watches]
    for _ in range(10):
        await line.publish(journal.write(job))
    assert await asyncio.gather(*readings) == [list(range(2, 12))] * 20
    assert journal.reads == before


async def test_a_job_nobody_watches_any_more_is_forgotten(
    hub: Hub, journal: MemoryJournal, layer: InMemoryChannelLayer
) -> None:
    job = uuid4()
    journal.write(job)
    watch = Subscription(hub, 1)
    await watch.follow(job, after=0)
    await watch.close()
    assert hub._logs == {}
    assert group_of(job) not in layer.groups


async def test_everything_means_every_visible_job_from_now_on(
    hub: Hub, journal: MemoryJournal, line: Line
) -> None:
    old, hidden, new = uuid4(), uuid4(), uuid4()
    journal.write(old, 3)
    journal.write(hidden)
    journal.hidden.add(hidden)
    watch = Subscription(hub, 1)
    await watch.follow_everything()
    await line.publish(journal.write(hidden))
    await line.publish(journal.write(old))
    await line.publish(journal.write(new, 2))
    assert sorted(await take(watch, 3)) == [1, 2, 4]  # type: ignore[type-var]


async def test_a_fleeting_frame_is_for_those_who_are_up_to_date(
    hub: Hub, journal: MemoryJournal, line: Line
) -> None:
    job = uuid4()
    journal.write(job)
    watch = Subscription(hub, 1)
    await watch.follow(job, after=0)
    await line.publish(json.dumps({"event": "b", "data": {"job_id": str(job)}}).encode())
    assert await take(watch, 2) == [1, None]
