"""The whole way of a number, on real parts: RabbitMQ, PostgreSQL, web, workers, trainers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import psycopg
import pytest

from tests.listener import Listener
from tests.polling import eventually
from tests.sockets import frame, is_end, open_socket, watch
from tests.stack import Stack

pytestmark = [
    pytest.mark.rabbit,
    pytest.mark.xdist_group("stack"),
    pytest.mark.timeout(240),
]


@pytest.fixture
def listener(stack: Stack) -> Iterator[Listener]:
    listener = Listener(stack.amqp)
    yield listener
    listener.close()


def kept(frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in frames if "seq" in one]


async def join_at(stack: Stack, job_id: str, epoch: int) -> list[dict[str, Any]]:
    """A client that comes when the job is at this epoch."""
    reached = partial(eventually, lambda: stack.job(job_id)["current_epoch"] >= epoch)
    await asyncio.to_thread(reached)
    return await watch(stack, job_id)


async def test_anyone_on_the_exchange_sees_every_event_and_a_late_socket_the_same(
    stack: Stack, listener: Listener
) -> None:
    job_id = stack.submit(epochs=20, patience=20)
    seen = await join_at(stack, job_id, epoch=5)
    eventually(lambda: any(is_end(one) for one in listener.of(job_id)))
    published = kept(listener.of(job_id))

    count = stack.job(job_id)["seq"]
    assert [one["seq"] for one in published] == list(range(1, count + 1))
    assert seen == published == stack.events(job_id)

    progress = [one["data"] for one in published if one["event"] == "training:progress"]
    assert [one["epoch"] for one in progress if not one["is_best"]] == list(range(1, 21))
    best = [one["epoch"] for one in progress if one["is_best"]]
    assert best[0] == 1
    assert best[-1] == stack.job(job_id)["best_epoch"]
    assert {"train_loss", "val_loss", "train_rmse", "val_rmse", "val_rmse_good_geom",
            "learning_rate"} <= progress[0]["metrics"].keys()  # fmt: skip
    assert published[-1]["data"]["status"] == "completed"


def test_messages_are_transient_json_under_the_keys_that_were_agreed(
    stack: Stack, listener: Listener
) -> None:
    job_id = stack.submit(epochs=2)
    stack.until(job_id, "completed")
    eventually(lambda: any(is_end(one) for one in listener.of(job_id)))
    keys = {key.removesuffix(f".{job_id}") for key, _, _ in listener.messages if job_id in key}
    assert keys >= {"training.status", "training.started", "training.progress",
                    "training.completed"}  # fmt: skip
    for _, body, properties in listener.messages:
        assert properties["content_type"] == "application/json"
        assert properties["content_encoding"] == "utf-8"
        assert properties["delivery_mode"] == 1
        assert set(body) - {"seq"} == {"event", "timestamp", "data"}


async def test_each_of_thirty_sockets_hears_its_own_job_only(stack: Stack) -> None:
    jobs = [stack.submit(epochs=6, patience=6, seed=seed) for seed in range(3)]
    found = await asyncio.gather(*(watch(stack, job_id) for job_id in jobs for _ in range(10)))
    for index, frames in enumerate(found):
        job_id = jobs[index // 10]
        assert {one["data"]["job_id"] for one in frames} == {job_id}
        assert frames == found[index // 10 * 10]
        assert [one["seq"] for one in frames] == list(range(1, len(frames) + 1))


def test_pause_and_resume_over_the_api_leave_the_numbers_as_they_were(stack: Stack) -> None:
    config = {"epochs": 40, "patience": 40, "seed": 5}
    through, paused = stack.submit(**config), stack.submit(**config)
    eventually(lambda: stack.job(paused)["current_epoch"] >= 2)
    with stack.api() as api:
        asked = api.post(f"/jobs/{paused}/pause")
        assert (asked.status_code, asked.json()["stop_requested"]) == (202, "pause")
        stopped = stack.until(paused, "paused")
        assert 2 <= stopped["current_epoch"] < 40
        assert api.post(f"/jobs/{paused}/resume").status_code == 202
        stack.until(paused, "completed")
        stack.until(through, "completed")
        one, other = (
            [(epoch["metrics"], epoch["is_best"]) for epoch in
             api.get(f"/jobs/{job_id}/epochs").json()["results"]]
            for job_id in (through, paused)
        )  # fmt: skip
    assert one == other
    assert len(one) == 40


def test_a_cancel_is_heard_soon(stack: Stack) -> None:
    job_id = stack.submit(epochs=100_000, patience=100_000)
    eventually(lambda: stack.job(job_id)["current_epoch"] >= 1)
    with stack.api() as api:
        api.post(f"/jobs/{job_id}/cancel")
    began = time.monotonic()
    eventually(lambda: stack.job(job_id)["status"] == "cancelled")
    assert time.monotonic() - began < 10


def test_a_dataset_is_made_and_trained_on(stack: Stack) -> None:
    with stack.api() as api:
        job = api.post("/datasets/generate", json={"name": "Made", "samples": 120}).json()
        stack.until(job["id"], "completed")
        made = api.get(f"/datasets/{job['dataset_id']}").json()
    assert (made["status"], made["samples"]) == ("ready", 120)
    job_id = stack.submit(dataset_id=job["dataset_id"], epochs=1)
    stack.until(job_id, "completed")


async def test_the_firehose_has_every_job_that_one_may_see(stack: Stack) -> None:
    async with open_socket(stack, who="grace") as all_jobs, open_socket(stack, who="bob") as none:
        assert (await frame(all_jobs))["event"] == "connected"
        assert (await frame(none))["event"] == "connected"
        jobs = {stack.submit(epochs=2), stack.submit(epochs=2)}
        heard: dict[str, list[int]] = {job_id: [] for job_id in jobs}
        ended = 0
        while ended < 2:
            one = await frame(all_jobs, 60)
            if one["data"]["job_id"] in heard and "seq" in one:
                heard[one["data"]["job_id"]].append(one["seq"])
                ended += is_end(one)
        for job_id, seqs in heard.items():
            assert seqs == list(range(1, stack.job(job_id)["seq"] + 1))
        with pytest.raises(TimeoutError):
            await frame(none, 1)


def test_the_evaluation_is_there_when_the_job_is_done(stack: Stack) -> None:
    job_id = stack.submit(epochs=2)
    stack.until(job_id, "completed")
    with stack.api() as api:
        found = api.get(f"/jobs/{job_id}/evaluation").json()
    assert set(found["test"]) == {"samples", "mean_m", "rmse_m", "median_m", "p68_m", "p95_m",
                                  "coverage_68", "coverage_95", "nll"}  # fmt: skip
    for errors in found["baselines"].values():
        assert {"mean_m", "rmse_m", "median_m", "p95_m"} <= set(errors)
    assert found["bound_rmse_m"] > 0
    assert set(found["good_geometry"]) >= {"samples", "rmse_m", "definition"}


def test_many_requests_leave_no_connections_behind(stack: Stack) -> None:
    database = stack.environment["DATABASE_URL"]
    if not database.startswith("postgres"):
        pytest.skip("needs PostgreSQL")
    with stack.api() as api, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.get("/jobs").status_code, range(200)))
    assert set(answers) == {200}
    with psycopg.connect(database) as line:
        row = line.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        ).fetchone()
    assert row is not None
    assert row[0] < 25, row
