"""Pause, resume and cancel take effect soon, and once, at any moment."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from tests.faults.job_observation import CONFIG, claim_times, epoch_results, started_events
from tests.faults.results_table import FULL, Tally, scaled
from tests.polling import eventually
from tests.stack import Stack

pytestmark = [pytest.mark.rabbit, pytest.mark.xdist_group("faults"), pytest.mark.timeout(900)]
SOON_SECONDS = 1.0
ENDLESS: dict[str, Any] = {"epochs": 100_000, "patience": 100_000}


def ask(stack: Stack, job_id: str, what: str) -> int:
    with stack.api() as api:
        return api.post(f"/jobs/{job_id}/{what}").status_code


def until(stack: Stack, job_id: str, status: str) -> float:
    """Return the seconds until the job has this status."""
    began = time.monotonic()
    eventually(lambda: stack.job(job_id)["status"] == status, 30, f"it did not become {status}")
    return time.monotonic() - began


def test_pause_resume_and_cancel_work_at_any_moment(disturbed: Stack, tally: Tally) -> None:
    """Also while the trainer still loads; a resume sent twice gives one attempt."""
    rng, response_times = random.Random(5), []
    job_id = disturbed.submit(**ENDLESS)
    with ThreadPoolExecutor(2) as both:
        for attempt in range(1, scaled(3, 51)):
            until(disturbed, job_id, "running")
            time.sleep(rng.choice([0, rng.uniform(0, 4)]))
            assert ask(disturbed, job_id, "pause") == 202
            response_times.append(until(disturbed, job_id, "paused"))
            assert disturbed.job(job_id)["attempt"] == attempt
            codes = list(both.map(partial(ask, disturbed), [job_id] * 2, ["resume"] * 2))
            assert sorted(codes) in ([202, 202], [202, 409])
    for index in range(scaled(2, 50)):
        victim = job_id if index == 0 else disturbed.submit(**ENDLESS)
        time.sleep(rng.choice([0, rng.uniform(0, 4)]))
        assert ask(disturbed, victim, "cancel") == 202
        response_times.append(until(disturbed, victim, "cancelled"))
    seqs = [event["seq"] for event in disturbed.events(job_id)]
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(claim_times(disturbed, job_id)) == disturbed.job(job_id)["attempt"]
    assert sorted(response_times)[len(response_times) // 2] < SOON_SECONDS
    assert not FULL or max(response_times) < SOON_SECONDS
    tally(
        "pause, resume twice, cancel: until it is so", len(response_times), seconds=response_times
    )


def is_at_rest(stack: Stack, job_id: str) -> bool:
    return stack.job(job_id)["status"] in {"paused", "completed"}


def test_pause_near_the_end_leaves_the_job_paused_or_completed(
    disturbed: Stack, tally: Tally
) -> None:
    rng = random.Random(6)
    for _ in range(times := scaled(2, 20)):
        job_id = disturbed.submit(**{**CONFIG, "epochs": 5})
        eventually(partial(started_events, disturbed, job_id))
        time.sleep(rng.uniform(0, 0.6))
        status = ask(disturbed, job_id, "pause")
        eventually(partial(is_at_rest, disturbed, job_id))
        ends = [event["data"]["status"] for event in disturbed.events(job_id)
                if event["event"] == "training:completed"]  # fmt: skip
        assert ends == [disturbed.job(job_id)["status"]]
        assert status in {202, 409}
        if ends == ["paused"]:
            assert ask(disturbed, job_id, "resume") == 202
        epoch_results(disturbed, job_id)
    tally("pause as the job completes: one of both", times)
