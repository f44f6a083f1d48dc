"""A killed, frozen or blocked broker: training continues and no event is lost."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import kombu
import pytest

from tests.broker import PrivateBroker
from tests.exchange_consumer import ExchangeConsumer, SeqFollower
from tests.faults.job_observation import CONFIG, epoch_results, seqs, unix_time, wait_for_epoch
from tests.faults.results_table import FULL, Tally, scaled
from tests.polling import eventually
from tests.sockets import watch
from tests.stack import Stack, running_stack

pytestmark = [pytest.mark.rabbit, pytest.mark.xdist_group("faults"), pytest.mark.timeout(900)]
SOCKETS = 40
AWAY_SECONDS = scaled(5, 60)
# Epochs of about a second in the full run, so that a delay of one percent is measurable.
SLOW: dict[str, Any] = {"batch_size": 1, "hidden": 128, "layers": 2} if scaled(0, 1) else {}
FAULTS: dict[str, tuple[Callable[[PrivateBroker], object], Callable[[PrivateBroker], object]]] = {
    "killed": (PrivateBroker.kill, PrivateBroker.start),
    "frozen": (PrivateBroker.freeze, PrivateBroker.thaw),
    "out of memory": (PrivateBroker.raise_memory_alarm, PrivateBroker.clear_memory_alarm),
}


@pytest.fixture
def listener(disturbed: Stack) -> Iterator[ExchangeConsumer]:
    listener = ExchangeConsumer(disturbed.amqp)
    yield listener
    listener.close()


@pytest.mark.parametrize("fault", FAULTS)
async def test_broker_outage_loses_no_event_and_does_not_stop_training(
    disturbed: Stack, broker: PrivateBroker, listener: ExchangeConsumer, fault: str, tally: Tally
) -> None:
    away, back = FAULTS[fault]
    job_id = disturbed.submit(epochs=100_000, patience=100_000, **SLOW)
    watching = [asyncio.ensure_future(watch(disturbed, job_id)) for _ in range(SOCKETS)]
    follower = SeqFollower(disturbed, listener, job_id)
    await asyncio.to_thread(wait_for_epoch, disturbed, job_id, 2)
    await asyncio.sleep(AWAY_SECONDS / 2)

    await asyncio.to_thread(away, broker)
    gone = time.time()
    answered = await asyncio.to_thread(duration_of, partial(disturbed.submit, epochs=1))
    await asyncio.sleep(AWAY_SECONDS)
    ready = await asyncio.to_thread(readiness, disturbed)
    assert ready["workers"] == 1, "the worker's maintenance thread stopped"
    await asyncio.to_thread(back, broker)
    returned, latest_seq = time.time(), disturbed.job(job_id)["seq"]

    await asyncio.to_thread(eventually, lambda: follower.update() >= latest_seq, 30)
    caught_up = time.time() - returned
    await asyncio.sleep(AWAY_SECONDS / 2)
    with disturbed.api() as api:
        api.post(f"/jobs/{job_id}/cancel")
    found = await asyncio.wait_for(asyncio.gather(*watching), 30)
    count = disturbed.job(job_id)["seq"]
    assert [seqs(frames) for frames in found] == [list(range(1, count + 1))] * SOCKETS
    assert follower.seqs == list(range(1, len(follower.seqs) + 1))
    assert caught_up < 10
    assert answered < 1
    slower = slowdown(disturbed, job_id, gone, returned)
    tally(
        f"broker {fault} for {AWAY_SECONDS} s, {SOCKETS} sockets and an AMQP consumer "
        f"(training {slower:+.1%}, POST in {answered:.2f} s)",
        1,
        seconds=[caught_up],
    )


def duration_of(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def readiness(stack: Stack) -> dict[str, Any]:
    import httpx

    return dict(httpx.get(f"{stack.url}/readyz", timeout=20).json())


def slowdown(stack: Stack, job_id: str, gone: float, back: float) -> float:
    """Relative increase of the epoch time during the outage, against before and after."""
    events = [event for event in stack.events(job_id) if event["event"] == "training:progress"]
    ends = [unix_time(event) for event in events if not event["data"]["is_best"]]
    spans = [
        [end for end in ends if since < end <= until]
        for since, until in pairwise([0, gone, back, math.inf])
    ]
    before, during, after = ((span[-1] - span[0]) / (len(span) - 1) for span in spans)
    return during / statistics.mean([before, after]) - 1


def test_unsent_events_of_a_killed_process_are_sent_by_another(
    disturbed: Stack, broker: PrivateBroker, listener: ExchangeConsumer, tally: Tally
) -> None:
    """The process is killed while the broker is frozen."""
    program = (
        "import os, signal, django; django.setup()\n"
        "from django.contrib.auth.models import User\n"
        "from training.jobs import lifecycle\n"
        "from training.localization.config import TrainConfig\n"
        "from training.models import Dataset\n"
        "ada = User.objects.get(username='ada')\n"
        "job = lifecycle.submit(ada, Dataset.objects.first(), TrainConfig())\n"
        "lifecycle.request_cancel(job, 'ada')\n"
        "print(job.pk, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    broker.freeze()
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=disturbed.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
    finally:
        broker.thaw()
    assert done.returncode == -signal.SIGKILL, done.stderr
    job_id = done.stdout.strip()
    thawed = time.time()
    eventually(lambda: seqs(listener.of(job_id))[:3] == [1, 2, 3], 40)
    tally("events left by a killed process, sent by another", 1, seconds=[time.time() - thawed])


def test_lost_or_duplicate_queue_message_leads_to_one_claim(disturbed: Stack, tally: Tally) -> None:
    disturbed.stop_workers()
    lost, often_sent = disturbed.submit(**CONFIG), disturbed.submit(**CONFIG)
    time.sleep(1)
    with kombu.Connection(disturbed.amqp) as connection:
        connection.channel().queue_purge("heimdall.jobs")
    program = (
        "import django; django.setup()\n"
        "from training.jobs.queue import Message, _send\n"
        f"for _ in range(5): _send(Message({often_sent!r}, 'heimdall.jobs', ''))\n"
    )
    disturbed.python("-c", program)
    disturbed.start_worker()
    ready = time.time()
    took = [
        unix_time(event) - ready
        for job_id in (lost, often_sent)
        for event in eventually(partial(running, disturbed, job_id), 30)
    ]
    assert not FULL or max(took) < 1 + 5
    for job_id in (lost, often_sent):
        disturbed.until(job_id, "completed")
        assert disturbed.job(job_id)["attempt"] == 1
    tally("queue purged, and a message sent five times: one claim", 2, seconds=took)


def test_job_is_enqueued_after_an_idle_connection_was_cut(
    disturbed: Stack, broker: PrivateBroker, tally: Tally
) -> None:
    disturbed.until(disturbed.submit(epochs=1), "completed")
    broker.cut_connections()
    with kombu.Connection(disturbed.amqp) as connection:
        queue = partial(connection.channel().queue_declare, "heimdall.jobs", passive=True)
        eventually(lambda: queue().consumer_count, 20, "the worker did not reconnect")
    job_id = disturbed.submit(epochs=1)
    disturbed.until(job_id, "completed")
    queued, claimed = disturbed.events(job_id)[:2]
    assert claimed["data"]["cause"] == "claimed"
    assert unix_time(claimed) - unix_time(queued) < 2
    tally("connections cut while idle: queued until claimed", 1,
          seconds=[unix_time(claimed) - unix_time(queued)])  # fmt: skip


def running(stack: Stack, job_id: str) -> list[dict[str, Any]]:
    return [event for event in stack.events(job_id) if event["data"].get("status") == "running"]


def test_job_longer_than_the_consumer_timeout_runs_once(
    tmp_path_factory: pytest.TempPathFactory, tally: Tally
) -> None:
    """consumer_timeout is 8 s: RabbitMQ closes the channel of a consumer that is slower to ack."""
    impatient = PrivateBroker("consumer_timeout = 8000").start()
    folder = tmp_path_factory.mktemp("impatient")
    try:
        with running_stack(folder, impatient.url, workers=1, HEIMDALL_JOBS_AT_ONCE="1") as stack:
            workers = stack.workers
            jobs = [stack.submit(epochs=100_000, patience=100_000) for _ in range(2)]
            wait_for_epoch(stack, jobs[0], 1)
            workers.append(stack.start_worker())
            ready = time.time()
            (second,) = eventually(partial(running, stack, jobs[1]), 30)
            assert not FULL or unix_time(second) - ready < 1 + 5
            time.sleep(scaled(10, 30))
            for job_id in jobs:
                job = stack.job(job_id)
                assert (job["status"], job["attempt"]) == ("running", 1)
                with stack.api() as api:
                    api.post(f"/jobs/{job_id}/cancel")
                stack.until(job_id, "cancelled")
            assert [worker.poll() for worker in workers] == [None, None]
            again = stack.submit(epochs=1)
            stack.until(again, "completed")
    finally:
        impatient.close()
    tally("consumer_timeout of 8 s, two jobs, two workers", 1, seconds=[unix_time(second) - ready])


async def test_clients_lose_no_event_when_a_web_process_is_killed(
    disturbed: Stack, tally: Tally
) -> None:
    job_id = disturbed.submit(**{**CONFIG, "epochs": scaled(60, 300), "patience": 300})
    sockets, took = scaled(20, 100), []
    watching = [asyncio.ensure_future(watch(disturbed, job_id)) for _ in range(sockets)]
    for epoch in range(5, scaled(6, 30), 5):
        await asyncio.to_thread(wait_for_epoch, disturbed, job_id, epoch)
        web = disturbed.web
        assert web is not None
        os.killpg(web.pid, signal.SIGKILL)
        killed = time.time()
        web.wait()
        await asyncio.to_thread(disturbed.start_web)
        took.append(time.time() - killed)
    found = await asyncio.wait_for(asyncio.gather(*watching), 120)
    count = disturbed.job(job_id)["seq"]
    assert [seqs(frames) for frames in found] == [list(range(1, count + 1))] * sockets
    assert await asyncio.to_thread(epoch_results, disturbed, job_id)
    tally(f"web process, kill -9, {sockets} sockets", len(took), seconds=took)
