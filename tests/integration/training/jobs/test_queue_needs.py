"""A job is sent to the queue of its needs, and to a worker that meets them."""

from __future__ import annotations

import pytest
from kombu import Connection
from kombu.exceptions import ChannelError

from tests.polling import eventually
from tests.stack import Stack

pytestmark = [
    pytest.mark.rabbit,
    pytest.mark.xdist_group("stack"),
    pytest.mark.timeout(120),
]


def waiting(stack: Stack, queue: str) -> int:
    """The number of messages in the queue on RabbitMQ; 0 if the queue does not exist."""
    with Connection(stack.amqp, connect_timeout=5) as line:
        try:
            found = line.default_channel.queue_declare(queue, passive=True)
        except ChannelError:
            return 0
        return int(found.message_count)


def who_ran(stack: Stack, job_id: str) -> str:
    """The worker that claimed it, once it is done."""
    stack.until(job_id, "completed")
    statuses = [
        event["data"] for event in stack.events(job_id) if event["event"] == "training:status"
    ]
    return str(next(status["actor"] for status in statuses if status["status"] == "running"))


def test_job_that_needs_a_gpu_waits_for_a_worker_with_one(stack: Stack) -> None:
    wants_gpu = stack.submit(epochs=1, needs="gpu")
    on_cpu = who_ran(stack, stack.submit(epochs=1, needs="cpu"))
    assert stack.job(wants_gpu)["waits_for"] == "No worker with a GPU is online."
    eventually(lambda: waiting(stack, "heimdall.gpu"), message="no message in the queue of GPUs")
    assert waiting(stack, "heimdall.cpu") == 0
    plain, stack.environment["HEIMDALL_WORKER_HAS"] = dict(stack.environment), "gpu"
    try:
        worker = stack.start_worker()
    finally:
        stack.environment = plain
    try:
        on_gpu = who_ran(stack, wants_gpu)
        assert on_gpu != on_cpu
        assert who_ran(stack, stack.submit(epochs=1, needs="cpu")) != on_gpu
    finally:
        worker.terminate()
        worker.wait(timeout=20)
