"""Pause, resume and cancel at any moment: heard soon, and never twice."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.faults.jobs import CONFIG, claims, epoch_results, starts
from tests.faults.results_table import FULL, Tally, often
from tests.polling import eventually
from tests.stack import Stack

pytestmark = [pytest.mark.rabbit, pytest.mark.xdist_group("faults"), pytest.mark.timeout(900)]
SOON_SECONDS = 1.0
ENDLESS = {"epochs": 100_000, "patience": 100_000}


def ask(stack: Stack, job_id: str, what: str) -> int:
    with stack.api() as api:
        return api.post(f"/jobs/{job_id}/{what}").status_code


def until(stack: Stack, job_id: str, status: str) -> float:
    """How long it took to become so."""
    began = time.monotonic()
    eventually(lambda: stack.job(job_id)["status"] == status, 30, f"it did not become {status}")
    return time.monotonic() - began


def test_pause_resume_and_cancel_at_any_moment(disturbed: Stack, tally: Tally) -> None:
    """Also while the trainer still loads; a resume sent twice gives one attempt."""
    chance, heard = random.Random(5), []
    job_id = disturbed.submit(**ENDLESS)
    with ThreadPoolExecutor(2) as both:
        for attempt in range(1, often(3, 51)):
            until(disturbed, job_id, "running")
            time.sleep(chance.choice([0, chance.uniform(0, 4)]))
            assert ask(disturbed, job_id, "pause") == 202
            heard.append(until(disturbed, job_id, "paused"))
            assert disturbed.job(job_id)["attempt"] == attempt
            codes = list(both.map(partial(ask, disturbed), [job_id] * 2, ["resume"] * 2))
            assert sorted(codes) in ([202, 202], [202, 409])
    for index in range(often(2, 50)):
        victim = job_id if index == 0 else disturbed.submit(**ENDLESS)
        time.sleep(chance.choice([0, chance.uniform(0, 4)]))
        assert ask(disturbed, victim, "cancel") == 202
        heard.append(until(disturbed, victim, "cancelled"))
    seqs = [one["seq"] for one in disturbed.events(job_id)]
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(claims(disturbed, job_id)) == disturbed.job(job_id)["attempt"]
    assert sorted(heard)[len(heard) // 2] < SOON_SECONDS
    assert not FULL or max(heard) < SOON_SECONDS
    tally("pause, resume twice, cancel: until it is so", len(heard), seconds=heard)


def test_a_pause_near_the_end_ends_in_one_state(disturbed: Stack, tally: Tally) -> None:
    chance, config = random.Random(6), {**CONFIG, "epochs": 5}
    for _ in range(times := often(2, 20)):
        job_id = disturbed.submit(**config)
        eventually(partial(starts, disturbed, job_id))
        time.sleep(chance.uniform(0, 0.6))
        asked = ask(disturbed, job_id, "pause")
        eventually(lambda job_id=job_id: disturbed.job(job_id)["status"] in {"paused", "completed"})
        ends = [one["data"]["status"] for one in disturbed.events(job_id)
                if one["event"] == "training:completed"]  # fmt: skip
        assert ends == [disturbed.job(job_id)["status"]]
        assert asked in {202, 409}
        if ends == ["paused"]:
            assert ask(disturbed, job_id, "resume") == 202
        epoch_results(disturbed, job_id)
    tally("pause as the job completes: one of both", times)
