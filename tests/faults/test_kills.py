"""Processes really killed: the job goes on to the very same numbers, and no event is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.broker import PrivateBroker
from tests.sockets import watch
from tests.stack import Stack, eventually, own_database

CONFIG: dict[str, Any] = {"epochs": 40, "patience": 40, "seed": 11}
pytestmark = [pytest.mark.rabbit, pytest.mark.xdist_group("faults"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, PrivateBroker]]:
    """A broker, a database and processes that may be killed."""
    broker = PrivateBroker().start()
    with own_database() as database:
        stack = Stack(tmp_path_factory.mktemp("killed"), broker.url, database)
        try:
            stack.start_web()
            stack.start_worker()
            yield stack, broker
        finally:
            stack.close()
            broker.close()


@pytest.fixture(scope="module")
def undisturbed(own_stack: tuple[Stack, PrivateBroker]) -> list[Any]:
    stack, _ = own_stack
    job_id = stack.submit(**CONFIG)
    stack.until(job_id, "completed")
    return numbers(stack, job_id)


def numbers(stack: Stack, job_id: str) -> list[Any]:
    """Each epoch's metrics, and the evaluation of the final weights."""
    with stack.api() as api:
        epochs = api.get(f"/jobs/{job_id}/epochs").json()["results"]
        evaluation = api.get(f"/jobs/{job_id}/evaluation").json()
    assert [one["epoch"] for one in epochs] == list(range(1, len(epochs) + 1))
    return [[one["metrics"] for one in epochs], evaluation]


def seqs(frames: list[dict[str, Any]]) -> list[int]:
    return [one["seq"] for one in frames]


def at_epoch(stack: Stack, job_id: str, epoch: int) -> dict[str, Any]:
    def reached() -> dict[str, Any] | None:
        job = stack.job(job_id)
        return job if job["current_epoch"] >= epoch else None

    return dict(eventually(reached))


def trainers(job_id: str) -> list[int]:
    """The process ids of the job's trainers."""
    found = subprocess.run(
        ["pgrep", "-f", f"training.engine train .*{job_id}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return [int(pid) for pid in found.stdout.split()]


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def test_a_killed_trainer_is_taken_up_again_at_once(
    own_stack: tuple[Stack, PrivateBroker], undisturbed: list[Any]
) -> None:
    stack, _ = own_stack
    job_id = stack.submit(**CONFIG)
    for epoch in (3, 12, 25):
        at_epoch(stack, job_id, epoch)
        (pid,) = trainers(job_id)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda pid=pid: (new := trainers(job_id)) and new != [pid], 10)
    stack.until(job_id, "completed")
    assert numbers(stack, job_id) == undisturbed
    assert seqs(stack.events(job_id)) == list(range(1, stack.job(job_id)["seq"] + 1))


def test_a_killed_pool_process_takes_its_trainer_along_and_the_job_goes_on(
    own_stack: tuple[Stack, PrivateBroker], undisturbed: list[Any]
) -> None:
    stack, _ = own_stack
    job_id = stack.submit(**CONFIG)
    at_epoch(stack, job_id, 5)
    (pid,) = trainers(job_id)
    os.kill(parent(pid), signal.SIGKILL)
    eventually(lambda: pid not in trainers(job_id), 2)
    stack.until(job_id, "completed")
    assert stack.job(job_id)["attempt"] == 2
    assert numbers(stack, job_id) == undisturbed


def test_a_killed_worker_leaves_its_job_to_the_next(
    own_stack: tuple[Stack, PrivateBroker], undisturbed: list[Any]
) -> None:
    stack, _ = own_stack
    job_id = stack.submit(**CONFIG)
    at_epoch(stack, job_id, 5)
    worker = stack.processes[-1]
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    eventually(lambda: not trainers(job_id), 5)
    stack.start_worker()
    stack.until(job_id, "completed")
    assert numbers(stack, job_id) == undisturbed


def test_a_worker_that_is_told_to_end_hands_its_job_on_without_blame(
    own_stack: tuple[Stack, PrivateBroker], undisturbed: list[Any]
) -> None:
    stack, _ = own_stack
    job_id = stack.submit(**CONFIG)
    at_epoch(stack, job_id, 5)
    worker = stack.processes[-1]
    began = time.monotonic()
    worker.terminate()
    assert worker.wait(timeout=20) == 0
    assert time.monotonic() - began < 15
    job = stack.job(job_id)
    assert (job["status"], job["crashes"]) == ("queued", 0)
    stack.start_worker()
    stack.until(job_id, "completed")
    assert numbers(stack, job_id) == undisturbed


def test_a_frozen_worker_that_thaws_writes_nothing(
    own_stack: tuple[Stack, PrivateBroker], undisturbed: list[Any]
) -> None:
    stack, _ = own_stack
    job_id = stack.submit(**CONFIG)
    at_epoch(stack, job_id, 5)
    frozen, (pid,) = stack.processes[-1], trainers(job_id)
    for group in (frozen.pid, pid):
        os.killpg(group, signal.SIGSTOP)
    stack.start_worker()
    eventually(lambda: stack.job(job_id)["attempt"] == 2, 40)
    for group in (frozen.pid, pid):
        os.killpg(group, signal.SIGCONT)
    eventually(lambda: pid not in trainers(job_id), 10)
    stack.until(job_id, "completed")
    assert stack.job(job_id)["attempt"] == 2
    assert numbers(stack, job_id) == undisturbed
    frozen.terminate()
    frozen.wait(timeout=20)


async def test_a_killed_broker_costs_no_event_and_stops_no_training(
    own_stack: tuple[Stack, PrivateBroker], undisturbed: list[Any]
) -> None:
    stack, broker = own_stack
    job_id = stack.submit(**CONFIG)
    watching = [asyncio.ensure_future(watch(stack, job_id)) for _ in range(10)]
    await asyncio.to_thread(at_epoch, stack, job_id, 5)
    await asyncio.to_thread(broker.kill)
    there = await asyncio.to_thread(at_epoch, stack, job_id, 12)
    assert there["status"] == "running"
    await asyncio.to_thread(broker.start)
    found = await asyncio.wait_for(asyncio.gather(*watching), 120)
    count = stack.job(job_id)["seq"]
    assert [seqs(frames) for frames in found] == [list(range(1, count + 1))] * 10
    assert await asyncio.to_thread(numbers, stack, job_id) == undisturbed


async def test_a_killed_web_server_costs_no_page_an_event(
    own_stack: tuple[Stack, PrivateBroker],
) -> None:
    stack, _ = own_stack
    job_id = stack.submit(**CONFIG)
    watching = [asyncio.ensure_future(watch(stack, job_id)) for _ in range(20)]
    await asyncio.to_thread(at_epoch, stack, job_id, 5)
    web = stack.processes[0]
    os.killpg(web.pid, signal.SIGKILL)
    web.wait()
    stack.processes[0] = await asyncio.to_thread(stack.start_web)
    found = await asyncio.wait_for(asyncio.gather(*watching), 120)
    count = stack.job(job_id)["seq"]
    assert [seqs(frames) for frames in found] == [list(range(1, count + 1))] * 20


def test_the_embedded_command_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    try:
        web = stack.start_web()
        job_id, twin = stack.submit(**CONFIG), stack.submit(**CONFIG)
        at_epoch(stack, job_id, 5)
        os.killpg(web.pid, signal.SIGKILL)
        web.wait()
        eventually(lambda: not trainers(job_id) and not trainers(twin), 5)
        stack.start_web()
        eventually(lambda: stack.job(job_id)["attempt"] == 2, 10)
        stack.until(job_id, "completed")
        stack.until(twin, "completed")
        assert numbers(stack, job_id) == numbers(stack, twin)
        assert stack.job(job_id)["crashes"] == 0
    finally:
        stack.close()
