"""The event hub, with an in-memory channel layer and event store."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from uuid import UUID, uuid4

import pytest
from channels.layers import InMemoryChannelLayer

from realtime import connections
from realtime import hub as hub_module
from realtime import subscription as subscription_module
from realtime.connections import Credential, Viewer
from realtime.hub import Hub
from realtime.interfaces import Frame, JobSeqs, Position
from realtime.protocol import Close, Cursor
from realtime.subscription import Subscribed, Subscription
from realtime.transport import ALL_JOBS, job_group


class MemoryEventStore:
    def __init__(self) -> None:
        self.jobs: dict[UUID, list[Frame]] = {}
        self.hidden: set[UUID] = set()
        self.reads = self.look_ups = 0
        self.order: list[tuple[UUID, int]] = []
        self.history = "first"

    def write(self, job_id: UUID, count: int = 1) -> bytes:
        rows = self.jobs.setdefault(job_id, [])
        for _ in range(count):
            seq = len(rows) + 1
            frame = {"event": "x", "seq": seq, "data": {"job_id": str(job_id)}}
            rows.append(Frame(job_id, seq, "", json.dumps(frame).encode()))
            self.order.append((job_id, seq))
        return rows[-1].body

    def latest_seqs(self, job_ids: Collection[UUID]) -> dict[UUID, int]:
        return {job_id: len(self.jobs[job_id]) for job_id in job_ids if job_id in self.jobs}

    def latest_seqs_since(self, seconds: float) -> dict[UUID, int]:
        return self.latest_seqs(list(self.jobs))

    def position(self) -> Position:
        return Position(len(self.order))

    def event_counter(self) -> int:
        return len(self.order)

    def has_event(self, job_id: UUID, seq: int, timestamp: str) -> bool:
        return timestamp == f"{self.history} {seq}"

    def restore(self, history: str, seqs: dict[UUID, int]) -> None:
        """Go back to so many events of each job; later ones are others than before."""
        self.history = history
        self.jobs = {job_id: self.jobs[job_id][:seq] for job_id, seq in seqs.items()}
        self.order = [(job_id, seq) for job_id, seq in self.order if seq <= seqs.get(job_id, 0)]

    def visible_seqs(
        self, viewer: Viewer, job_ids: Collection[UUID], position: Position
    ) -> dict[UUID, JobSeqs]:
        self.look_ups += 1
        before = dict(self.order[: position.newest])
        return {
            job_id: JobSeqs(before.get(job_id, 0), len(self.jobs[job_id]))
            for job_id in job_ids
            if self.can_view(viewer, job_id)
        }

    def frames(self, job_id: UUID, after: int, limit: int) -> Sequence[Frame]:
        self.reads += 1
        return self.jobs[job_id][after : after + limit]

    def can_view(self, viewer: Viewer, job_id: UUID) -> bool:
        return job_id in self.jobs and job_id not in self.hidden

    def valid_credentials(self, credentials: Collection[Credential]) -> set[Credential]:
        return set(credentials)

    def revoked_access(
        self, subscriptions: Iterable[tuple[Viewer, Collection[UUID]]]
    ) -> set[tuple[Viewer, UUID]]:
        return set()


class DeactivatingEventStore(MemoryEventStore):
    """The user is deactivated after the first check of credentials."""

    deactivated = False

    def valid_credentials(self, credentials: Collection[Credential]) -> set[Credential]:
        return set() if self.deactivated else set(credentials)

    def revoked_access(
        self, subscriptions: Iterable[tuple[Viewer, Collection[UUID]]]
    ) -> set[tuple[Viewer, UUID]]:
        self.deactivated = True
        return {(viewer, job_id) for viewer, jobs in subscriptions for job_id in jobs}


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


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_stored_events_come_before_live_ones(
    hub: Hub, store: MemoryEventStore, broker: FakeBroker
) -> None:
    job = uuid4()
    store.write(job, 5)
    subscription = Subscription(hub, Viewer(1))
    assert (await subscription.subscribe(job, Cursor(2))).latest_seq == 5
    reading = asyncio.ensure_future(next_seqs(subscription, 5))
    await asyncio.sleep(0.05)
    for _ in range(2):
        await broker.publish(store.write(job))
    assert await reading == [3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    "cursor",
    [Cursor(5), Cursor(5, "first 5"), Cursor(3, "first 3")],
    ids=["ahead", "ahead with a timestamp", "of another history"],
)
async def test_cursor_of_an_earlier_history_gets_all_events(
    hub: Hub, store: MemoryEventStore, cursor: Cursor
) -> None:
    job = uuid4()
    store.write(job, 5)
    store.restore("second", {job: 2})
    store.write(job, 2)
    subscription = Subscription(hub, Viewer(1))
    assert await subscription.subscribe(job, cursor) == Subscribed(latest_seq=4, reset=True)
    assert await next_seqs(subscription, 4) == [1, 2, 3, 4]


@pytest.mark.parametrize("cursor", [Cursor(3), Cursor(3, "first 3")])
async def test_cursor_ahead_of_this_process_but_not_of_the_database_is_kept(
    hub: Hub, store: MemoryEventStore, cursor: Cursor
) -> None:
    job = uuid4()
    store.write(job)
    await Subscription(hub, Viewer(1)).subscribe(job, Cursor())
    store.write(job, 3)  # its messages have not arrived
    subscription = Subscription(hub, Viewer(1))
    assert await subscription.subscribe(job, cursor) == Subscribed(latest_seq=4, reset=False)
    assert await next_seqs(subscription, 1) == [4]


async def test_clients_that_reconnect_with_one_cursor_read_the_rows_once(
    hub: Hub, store: MemoryEventStore, broker: FakeBroker
) -> None:
    job = uuid4()
    store.write(job, 50)
    subscriptions = [Subscription(hub, Viewer(1)) for _ in range(20)]
    for subscription in subscriptions:
        await subscription.subscribe(job, Cursor(40))
    seqs = await asyncio.gather(*(next_seqs(each, 10) for each in subscriptions))
    assert seqs == [list(range(41, 51))] * 20
    assert store.reads == 1
    late = Subscription(hub, Viewer(1))
    await late.subscribe(job, Cursor(10))
    reading = asyncio.ensure_future(next_seqs(late, 41))
    await until(lambda: store.reads == 2)
    await broker.publish(store.write(job))
    assert await reading == list(range(11, 52))


@pytest.mark.parametrize("to", [2, 0])
async def test_restore_closes_the_connections(
    hub: Hub, store: MemoryEventStore, monkeypatch: pytest.MonkeyPatch, to: int
) -> None:
    monkeypatch.setattr(hub_module, "RESYNC_SECONDS", 0.05)
    job = uuid4()
    store.write(job, 5)
    subscription = Subscription(hub, Viewer(1))
    with connections.register(
        Credential(1, token="t"), subscription.jobs, connections.Place(1)
    ) as connection:
        await subscription.subscribe(job, Cursor())
        assert await next_seqs(subscription, 5) == [1, 2, 3, 4, 5]
        await until(lambda: hub._event_counter == 5)
        store.restore("second", {job: to})
        async with asyncio.timeout(5):
            assert await connection.closed == Close.SERVICE_RESTART
    await subscription.close()
    store.write(job, 2)
    assert await subscription.subscribe(job, Cursor(5, "first 5")) == Subscribed(to + 2, True)


async def test_lost_duplicate_and_late_messages_leave_no_gap(
    hub: Hub, store: MemoryEventStore, broker: FakeBroker
) -> None:
    job = uuid4()
    store.write(job)
    subscription = Subscription(hub, Viewer(1))
    await subscription.subscribe(job, Cursor(0))
    store.write(job, 3)  # lost
    body = store.write(job)
    await broker.publish(body)
    await broker.publish(body)
    await broker.publish(store.jobs[job][1].body)  # late
    assert await next_seqs(subscription, 5) == [1, 2, 3, 4, 5]


async def test_lost_last_message_is_recovered_by_the_resync(
    hub: Hub, store: MemoryEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "RESYNC_SECONDS", 0.05)
    job = uuid4()
    store.write(job)
    subscription = Subscription(hub, Viewer(1))
    await subscription.subscribe(job, Cursor(1))
    store.write(job)
    assert await next_seqs(subscription, 1) == [2]


async def test_live_frames_are_delivered_without_a_query(
    hub: Hub, store: MemoryEventStore, broker: FakeBroker
) -> None:
    job = uuid4()
    store.write(job)
    subscriptions = [Subscription(hub, Viewer(1)) for _ in range(20)]
    for subscription in subscriptions:
        await subscription.subscribe(job, Cursor(1))
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
    subscription = Subscription(hub, Viewer(1))
    await subscription.subscribe(job, Cursor(0))
    await subscription.close()
    assert job_group(job) not in layer.groups


async def test_failed_subscription_leaves_the_group_and_can_be_repeated(
    hub: Hub, store: MemoryEventStore, layer: InMemoryChannelLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, subscription = uuid4(), Subscription(hub, Viewer(1))
    store.write(job, 3)

    def fail(job_ids: Collection[UUID]) -> dict[UUID, int]:
        raise OSError("connection refused")

    with monkeypatch.context() as database:
        database.setattr(store, "latest_seqs", fail)
        with pytest.raises(OSError, match="connection refused"):
            await subscription.subscribe(job, Cursor(0))
    await subscription.close()
    assert job_group(job) not in layer.groups
    assert (await subscription.subscribe(job, Cursor(0))).latest_seq == 3
    assert await next_seqs(subscription, 3) == [1, 2, 3]


async def test_subscription_to_all_jobs_delivers_new_events_of_visible_jobs(
    hub: Hub, store: MemoryEventStore, broker: FakeBroker
) -> None:
    old, hidden, new = uuid4(), uuid4(), uuid4()
    store.write(old, 3)
    store.write(hidden)
    store.hidden.add(hidden)
    subscription = Subscription(hub, Viewer(1))
    await subscription.subscribe_all()
    await broker.publish(store.write(hidden))
    await broker.publish(store.write(old))
    await broker.publish(store.write(new, 2))
    assert sorted(await next_seqs(subscription, 3)) == [1, 2, 4]  # type: ignore[type-var]


async def test_jobs_that_change_together_cost_one_store_query(
    hub: Hub, store: MemoryEventStore, broker: FakeBroker
) -> None:
    jobs = [uuid4() for _ in range(50)]
    for job in jobs:
        store.write(job)
    subscription = Subscription(hub, Viewer(1))
    await subscription.subscribe_all()
    assert store.look_ups == store.reads == 0
    for job in jobs:
        await broker.publish(store.write(job))
    await asyncio.sleep(0.05)
    assert await next_seqs(subscription, 50) == [2] * 50
    assert store.look_ups == 1


async def test_quiet_job_is_unsubscribed_and_later_continues_at_its_cursor(
    hub: Hub, store: MemoryEventStore, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "RESYNC_SECONDS", 0.02)
    monkeypatch.setattr(subscription_module, "QUIET_SECONDS", 0.05)
    job = uuid4()
    subscription = Subscription(hub, Viewer(1))
    await subscription.subscribe_all()
    reading = asyncio.ensure_future(next_seqs(subscription, 3))
    await broker.publish(store.write(job))
    await until(lambda: bool(subscription.jobs()))
    await until(lambda: not subscription.jobs())
    await asyncio.sleep(0.2)  # a resync reports the job again, which is no reason to return
    assert not subscription.jobs()
    await broker.publish(store.write(job))
    store.write(job)  # its message is lost
    assert await reading == [1, 2, 3]


async def test_events_of_a_job_that_becomes_visible_later_are_delivered(
    hub: Hub, store: MemoryEventStore, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription_module, "HIDDEN_SECONDS", 0.05)
    monkeypatch.setattr(hub_module, "RESYNC_SECONDS", 0.02)
    job = uuid4()
    store.hidden.add(job)
    subscription = Subscription(hub, Viewer(1))
    await subscription.subscribe_all()
    reading = asyncio.ensure_future(next_seqs(subscription, 2))
    await broker.publish(store.write(job))
    await asyncio.sleep(0.05)
    store.hidden.clear()
    await broker.publish(store.write(job))
    assert await reading == [1, 2]


async def test_subscription_to_all_jobs_survives_a_database_outage(
    hub: Hub, store: MemoryEventStore, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "RESYNC_SECONDS", 0.02)
    job, subscription = uuid4(), Subscription(hub, Viewer(1))
    await subscription.subscribe_all()
    reading = asyncio.ensure_future(next_seqs(subscription, 1))

    def fail(*_: object) -> dict[UUID, JobSeqs]:
        raise OSError("connection refused")

    with monkeypatch.context() as database:
        database.setattr(store, "visible_seqs", fail)
        await broker.publish(store.write(job))
        await asyncio.sleep(0.05)
        assert not reading.done()
    assert await reading == [1]


@pytest.mark.parametrize(
    "message",
    [
        {"event": "x", "seq": 1, "data": {"job_id": "x"}},
        {"event": "x", "seq": 1, "data": {"job_id": 7}},
        {"event": "x", "seq": 1, "data": {}},
        {"event": "x", "seq": 1, "data": []},
        {"event": "x", "seq": "2", "data": {"job_id": "JOB"}},
        {"event": "x", "seq": True, "data": {"job_id": "JOB"}},
        {"event": "x", "seq": -1, "data": {"job_id": "JOB"}},
        {"event": "x", "seq": 10**9, "data": {"job_id": "JOB"}},
        {"event": ["x"], "data": {"job_id": "JOB"}},
        {"event": "x", "seq": 1, "timestamp": "now", "data": {"job_id": "JOB"}},
        {"event": "x", "seq": 1, "timestamp": "2026-01-01T00:00:00", "data": {"job_id": "JOB"}},
        ["x"],
        7,
    ],
)
async def test_malformed_message_stops_no_event_of_any_job(
    hub: Hub, store: MemoryEventStore, layer: InMemoryChannelLayer, broker: FakeBroker,
    message: object,
) -> None:  # fmt: skip
    job, other = uuid4(), uuid4()
    store.write(job)
    store.write(other)
    subscription = Subscription(hub, Viewer(1))
    await subscription.subscribe(job, Cursor(1))
    everything = Subscription(hub, Viewer(1))
    await everything.subscribe_all()
    reads = store.reads
    body = json.dumps(message).replace("JOB", str(job)).encode()
    for group in (job_group(job), ALL_JOBS):
        await layer.group_send(group, {"type": "frame", "body": body})
    await broker.publish(store.write(job))
    await broker.publish(store.write(other))
    async with asyncio.timeout(1):  # less than a task of the hub takes to be restarted
        assert await next_seqs(subscription, 1) == [2]
        assert await next_seqs(everything, 2) == [2, 2]
    assert store.reads <= reads + 1  # of `other`, whose frame came before its subscription


async def test_event_in_both_groups_is_delivered_once(
    hub: Hub, store: MemoryEventStore, broker: FakeBroker
) -> None:
    job = uuid4()
    store.write(job)
    subscription, everything = Subscription(hub, Viewer(1)), Subscription(hub, Viewer(1))
    await subscription.subscribe(job, Cursor(1))
    await everything.subscribe_all()
    await broker.publish(json.dumps({"event": "b", "data": {"job_id": str(job)}}).encode())
    assert await next_seqs(subscription, 1) == [None]
    await broker.publish(store.write(job))
    assert await next_seqs(subscription, 1) == [2]


async def test_subscriber_waiting_for_a_failed_one_gets_the_latest_seq(
    hub: Hub, store: MemoryEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, first, second = uuid4(), Subscription(hub, Viewer(1)), Subscription(hub, Viewer(1))
    store.write(job, 5)
    real, failures = store.latest_seqs, [OSError("connection refused")]

    def fail_once(job_ids: Collection[UUID]) -> dict[UUID, int]:
        if failures:
            raise failures.pop()
        return real(job_ids)

    monkeypatch.setattr(store, "latest_seqs", fail_once)
    results = await asyncio.gather(
        first.subscribe(job, Cursor(3)), second.subscribe(job, Cursor(3)), return_exceptions=True
    )
    assert isinstance(results[0], OSError)
    assert results[1] == Subscribed(latest_seq=5, reset=False)
    assert await next_seqs(second, 2) == [4, 5]


async def test_ephemeral_frame_follows_the_stored_ones(
    hub: Hub, store: MemoryEventStore, broker: FakeBroker
) -> None:
    job = uuid4()
    store.write(job)
    subscription = Subscription(hub, Viewer(1))
    await subscription.subscribe(job, Cursor(0))
    await broker.publish(json.dumps({"event": "b", "data": {"job_id": str(job)}}).encode())
    assert await next_seqs(subscription, 2) == [1, None]


async def test_newest_ephemeral_event_of_each_kind_is_delivered(
    hub: Hub, broker: FakeBroker
) -> None:
    job = uuid4()
    subscription = Subscription(hub, Viewer(1))
    await subscription.subscribe(job, Cursor(0))
    for event, number in (("log", 1), ("progress", 2), ("log", 3)):
        frame = {"event": event, "number": number, "data": {"job_id": str(job)}}
        await broker.publish(json.dumps(frame).encode())
    await asyncio.sleep(0.05)
    async with asyncio.timeout(5):
        frames = subscription.frames()
        found = [json.loads(await anext(frames)) for _ in range(2)]
    assert [(one["event"], one["number"]) for one in found] == [("progress", 2), ("log", 3)]


async def test_user_deactivated_between_two_checks_must_sign_in(
    layer: InMemoryChannelLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "RESYNC_SECONDS", 0.01)
    store, job = DeactivatingEventStore(), uuid4()
    store.write(job)
    hub = Hub(store, layer)
    subscription = Subscription(hub, Viewer(1))
    await subscription.subscribe(job, Cursor(0))
    with connections.register(
        Credential(1, token="t"), lambda: [job], connections.Place(1)
    ) as connection:
        async with asyncio.timeout(5):
            assert await connection.closed == Close.NOT_AUTHENTICATED
    await subscription.close()
    await hub.close()


class Client:
    """Takes what is written directly and what is yielded, and refuses a write now and then."""

    def __init__(self, hub: Hub, refusals: Iterable[bool] = ()) -> None:
        self.subscription = Subscription(hub, Viewer(1), self._write)
        self.received: list[int] = []
        self.written = 0
        self._refusals = iter(refusals)

    def _write(self, bodies: tuple[bytes, ...]) -> bool:
        if next(self._refusals, False):
            return False
        self.received += [json.loads(body)["seq"] for body in bodies]
        self.written += len(bodies)
        return True

    async def read(self) -> None:
        async for body in self.subscription.frames():
            await asyncio.sleep(0)  # as a send that waits for the client
            self.received.append(json.loads(body)["seq"])


async def test_frames_are_written_directly_once_the_client_reads(
    hub: Hub, store: MemoryEventStore, broker: FakeBroker
) -> None:
    job, client = uuid4(), Client(hub)
    store.write(job)
    await client.subscription.subscribe(job, Cursor())
    await broker.publish(store.write(job))
    await asyncio.sleep(0.05)
    assert not client.received  # `connected` has not been sent yet
    reading = asyncio.ensure_future(client.read())
    await until(lambda: client.received == [1, 2])
    for _ in range(3):
        await broker.publish(store.write(job))
    await until(lambda: client.received == [1, 2, 3, 4, 5])
    assert client.written == 5
    reading.cancel()


@pytest.mark.parametrize("seed", range(5))
async def test_each_frame_arrives_once_and_in_order_however_it_is_sent(
    hub: Hub, store: MemoryEventStore, broker: FakeBroker, seed: int
) -> None:
    job, chance = uuid4(), random.Random(seed)
    store.write(job, 120)
    refusals = (chance.random() < 0.5 for _ in itertools.count())
    clients = [Client(hub, refusals) for _ in range(250)]
    for client in clients:
        await client.subscription.subscribe(job, Cursor())
    readings = [asyncio.ensure_future(client.read()) for client in clients]
    for _ in range(80):
        body = store.write(job)
        if chance.random() < 0.9:  # else the message is lost
            await broker.publish(body)
        if chance.random() < 0.3:
            await asyncio.sleep(0)
    await broker.publish(store.write(job))
    await until(lambda: all(len(client.received) >= 201 for client in clients))
    assert all(client.received == list(range(1, 202)) for client in clients)
    assert 0 < sum(client.written for client in clients) < 201 * len(clients)
    for reading in readings:
        reading.cancel()


async def test_failed_write_does_not_affect_other_clients(
    hub: Hub, store: MemoryEventStore, broker: FakeBroker
) -> None:
    def fail(_: int) -> bool:
        raise OSError("the socket broke")

    refusals = itertools.chain([False], map(fail, itertools.count()))
    job, clients = uuid4(), [Client(hub, refusals), Client(hub)]
    store.write(job)
    readings = []
    for client in clients:
        await client.subscription.subscribe(job, Cursor())
        readings.append(asyncio.ensure_future(client.read()))
    await until(lambda: all(client.received == [1] for client in clients))
    for _ in range(3):
        await broker.publish(store.write(job))
    await until(lambda: clients[1].received == [1, 2, 3, 4])
    with pytest.raises(OSError, match="the socket broke"):
        await readings[0]
    readings[1].cancel()
