"""Events from the worker through RabbitMQ to the exchange and to WebSockets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.exchange_consumer import ExchangeConsumer
from tests.polling import eventually
from tests.sockets import frame, is_end, open_socket, watch
from tests.stack import Stack

pytestmark = [
    pytest.mark.rabbit,
    pytest.mark.xdist_group("stack"),
    pytest.mark.timeout(240),
]


@pytest.fixture
def consumer(stack: Stack) -> Iterator[ExchangeConsumer]:
    consumer = ExchangeConsumer(stack.amqp)
    yield consumer
    consumer.close()


def stored_events(frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [frame for frame in frames if "seq" in frame]


async def follow_from(stack: Stack, job_id: str, epoch: int) -> list[dict[str, Any]]:
    """Follow the job with a socket that connects at this epoch."""
    reached = partial(eventually, lambda: stack.job(job_id)["current_epoch"] >= epoch)
    await asyncio.to_thread(reached)
    return await watch(stack, job_id)


async def test_exchange_and_late_socket_receive_every_event(
    stack: Stack, consumer: ExchangeConsumer
) -> None:
    job_id = stack.submit(epochs=20, patience=20)
    seen = await follow_from(stack, job_id, epoch=5)
    eventually(lambda: any(is_end(event) for event in consumer.of(job_id)))
    published = stored_events(consumer.of(job_id))

    count = stack.job(job_id)["seq"]
    assert [event["seq"] for event in published] == list(range(1, count + 1))
    assert seen == published == stack.events(job_id)

    progress = [event["data"] for event in published if event["event"] == "training:progress"]
    assert [data["epoch"] for data in progress if not data["is_best"]] == list(range(1, 21))
    best = [data["epoch"] for data in progress if data["is_best"]]
    assert best[0] == 1
    assert best[-1] == stack.job(job_id)["best_epoch"]
    assert {"train_loss", "val_loss", "train_rmse", "val_rmse", "val_rmse_good_geom",
            "learning_rate"} <= progress[0]["metrics"].keys()  # fmt: skip
    assert published[-1]["data"]["status"] == "completed"


def test_messages_are_transient_json_under_documented_routing_keys(
    stack: Stack, consumer: ExchangeConsumer
) -> None:
    job_id = stack.submit(epochs=2)
    stack.until(job_id, "completed")
    eventually(lambda: any(is_end(event) for event in consumer.of(job_id)))
    keys = {key.removesuffix(f".{job_id}") for key, _, _ in consumer.messages if job_id in key}
    assert keys >= {"training.status", "training.started", "training.progress",
                    "training.completed"}  # fmt: skip
    for _, body, properties in consumer.messages:
        assert properties["content_type"] == "application/json"
        assert properties["content_encoding"] == "utf-8"
        assert properties["delivery_mode"] == 1
        assert set(body) - {"seq"} == {"event", "timestamp", "data"}


async def test_thirty_sockets_receive_events_of_their_own_job_only(stack: Stack) -> None:
    jobs = [stack.submit(epochs=6, patience=6, seed=seed) for seed in range(3)]
    found = await asyncio.gather(*(watch(stack, job_id) for job_id in jobs for _ in range(10)))
    for index, frames in enumerate(found):
        job_id = jobs[index // 10]
        assert {frame["data"]["job_id"] for frame in frames} == {job_id}
        assert frames == found[index // 10 * 10]
        assert [frame["seq"] for frame in frames] == list(range(1, len(frames) + 1))


async def test_subscription_to_all_jobs_contains_every_visible_job(stack: Stack) -> None:
    async with open_socket(stack, who="grace") as all_jobs, open_socket(stack, who="bob") as none:
        assert (await frame(all_jobs))["event"] == "connected"
        assert (await frame(none))["event"] == "connected"
        jobs = {stack.submit(epochs=2), stack.submit(epochs=2)}
        received: dict[str, list[int]] = {job_id: [] for job_id in jobs}
        ended = 0
        while ended < 2:
            event = await frame(all_jobs, 60)
            if event["data"]["job_id"] in received and "seq" in event:
                received[event["data"]["job_id"]].append(event["seq"])
                ended += is_end(event)
        for job_id, seqs in received.items():
            assert seqs == list(range(1, stack.job(job_id)["seq"] + 1))
        with pytest.raises(TimeoutError):
            await frame(none, 1)
