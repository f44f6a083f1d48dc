"""Jobs in real processes: web, workers and trainers, with RabbitMQ and PostgreSQL."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.polling import eventually
from tests.stack import Stack

pytestmark = [
    pytest.mark.rabbit,
    pytest.mark.xdist_group("stack"),
    pytest.mark.timeout(240),
]


def test_paused_and_resumed_job_has_the_metrics_of_an_uninterrupted_one(stack: Stack) -> None:
    config: dict[str, Any] = {"epochs": 40, "patience": 40, "seed": 5}
    through, paused = stack.submit(**config), stack.submit(**config)
    eventually(lambda: stack.job(paused)["current_epoch"] >= 2)
    with stack.api() as api:
        response = api.post(f"/jobs/{paused}/pause")
        assert (response.status_code, response.json()["stop_requested"]) == (202, "pause")
        stopped = stack.until(paused, "paused")
        assert 2 <= stopped["current_epoch"] < 40
        assert api.post(f"/jobs/{paused}/resume").status_code == 202
        stack.until(paused, "completed")
        stack.until(through, "completed")
        uninterrupted, resumed = (
            [(epoch["metrics"], epoch["is_best"]) for epoch in
             api.get(f"/jobs/{job_id}/epochs").json()["results"]]
            for job_id in (through, paused)
        )  # fmt: skip
    assert uninterrupted == resumed
    assert len(uninterrupted) == 40


def test_cancel_takes_effect_within_seconds(stack: Stack) -> None:
    job_id = stack.submit(epochs=100_000, patience=100_000)
    eventually(lambda: stack.job(job_id)["current_epoch"] >= 1)
    with stack.api() as api:
        api.post(f"/jobs/{job_id}/cancel")
    began = time.monotonic()
    eventually(lambda: stack.job(job_id)["status"] == "cancelled")
    assert time.monotonic() - began < 10


def test_generated_dataset_can_be_trained_on(stack: Stack) -> None:
    with stack.api() as api:
        job = api.post("/datasets/generate", json={"name": "Made", "samples": 120}).json()
        stack.until(job["id"], "completed")
        made = api.get(f"/datasets/{job['dataset_id']}").json()
    assert (made["status"], made["samples"]) == ("ready", 120)
    job_id = stack.submit(dataset_id=job["dataset_id"], epochs=1)
    stack.until(job_id, "completed")


def test_completed_job_has_an_evaluation(stack: Stack) -> None:
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
