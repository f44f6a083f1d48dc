"""Columns for a chart, and the stream of events, through the API."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from tests.jobs import claim_job
from tests.stack import Stack
from training.jobs import attempts, lifecycle
from training.localization.config import TrainConfig
from training.models import Dataset, Job


@pytest.fixture
def job(ada: User, dataset: Dataset) -> Job:
    """With 60 epochs, the 31st of which is a spike."""
    made = lifecycle.submit(ada, dataset, TrainConfig(epochs=60), "Long")
    attempt = claim_job(made)
    for epoch in range(1, 61):
        loss = 99.0 if epoch == 31 else 1 / epoch
        metrics = {"val_loss": loss, "val_rmse": 5.0, "val_rmse_good_geom": None}
        attempts.record_epochs(attempt, attempts.EpochReport(epoch, metrics, 0.5, False, "/c"))
    return made


def columns(api: APIClient, job: Job, query: str = "") -> Any:
    return api.get(f"/api/v1/training/jobs/{job.pk}/metrics{query}")


def test_metrics_are_columns_of_equal_length(api: APIClient, job: Job) -> None:
    received = columns(api, job).json()
    assert received["epoch"] == list(range(1, 61))
    assert sorted(received["series"]) == ["val_loss", "val_rmse", "val_rmse_good_geom"]
    assert received["series"]["val_rmse_good_geom"] == [None] * 60
    assert received["seconds"][-1] == 30.0


def test_downsampling_keeps_a_spike(api: APIClient, job: Job) -> None:
    received = columns(api, job, "?series=val_loss&max_points=12").json()
    assert len(received["epoch"]) <= 12
    assert received["total"] == 60
    assert list(received["series"]) == ["val_loss"]
    assert 31 in received["epoch"]
    assert max(received["series"]["val_loss"]) == 99.0


def test_summary_has_last_value_best_value_and_value_at_the_best_epoch(
    api: APIClient, job: Job
) -> None:
    Job.objects.filter(pk=job.pk).update(best_epoch=7)
    found = columns(api, job, "/summary?series=val_loss,val_rmse_good_geom").json()
    assert found == {
        "best_epoch": 7,
        "results": [
            {
                "name": "val_loss",
                "direction": "minimize",
                "last": 1 / 60,
                "last_not_finite": None,
                "best": {"value": 1 / 60, "step": 60, "epoch": 60},
                "at_best_epoch": 1 / 7,
            },
            {
                "name": "val_rmse_good_geom",
                "direction": "minimize",
                "last": None,
                "last_not_finite": None,
                "best": None,
                "at_best_epoch": None,
            },
        ],
    }


@pytest.mark.parametrize(
    ("query", "sentence"),
    [("?series=loss", "Unknown series 'loss'"),
     ("?max_points=3", "'3' is not a whole number from 10 to 10000"),
     ("?max_points=many", "'many' is not a whole number")],
)  # fmt: skip
def test_invalid_query_is_an_error(api: APIClient, job: Job, query: str, sentence: str) -> None:
    answer = columns(api, job, query)
    assert answer.status_code == 400
    assert sentence in json.dumps(answer.json()["errors"])


def test_metrics_of_another_user_are_404(job: Job, bob: User) -> None:
    client = APIClient()
    client.force_authenticate(bob)
    assert columns(client, job).status_code == 404


def read(stack: Stack, job_id: str, query: str = "", **headers: str) -> list[dict[str, Any]]:
    """Every frame of the stream until the job's last."""
    frames: list[dict[str, Any]] = []
    url = f"/jobs/{job_id}/events/stream{query}"
    with stack.api() as api, api.stream("GET", url, headers=headers, timeout=60) as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        for line in stream.iter_lines():
            if line.startswith("data: "):
                frames.append(json.loads(line[6:]))
                if frames[-1]["data"].get("status") == "completed":
                    break
    return frames


@pytest.mark.xdist_group("embedded")
def test_stream_sends_each_event_once_and_resumes_after_last_event_id(embedded: Stack) -> None:
    job_id = embedded.submit(epochs=3, name="Streamed")
    live = read(embedded, job_id)
    assert live[0]["event"] == "connected"
    kept = [frame["seq"] for frame in live if "seq" in frame]
    assert kept == list(range(1, kept[-1] + 1))
    again = read(embedded, job_id, "?after=1", **{"Last-Event-ID": "4"})
    assert [frame["seq"] for frame in again if "seq" in frame] == kept[4:]


@pytest.mark.xdist_group("embedded")
def test_stream_of_another_users_job_is_not_found(embedded: Stack) -> None:
    job_id = embedded.submit(epochs=1)
    accept = {"Accept": "text/event-stream"}
    with embedded.api("bob") as api:
        answer = api.get(f"/jobs/{job_id}/events/stream", headers=accept)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    bare = httpx.get(f"{embedded.url}/api/v1/training/jobs/{job_id}/events/stream", headers=accept)
    assert bare.status_code == 401


def test_jobs_of_the_default_program_are_filtered_by_their_newest_metrics(
    api: APIClient, job: Job
) -> None:
    found = {
        query: len(api.get(f"/api/v1/training/jobs?{query}").json()["results"])
        for query in ("metric.val_loss__lt=0.02&metric.val_rmse=5", "metric.val_loss__gt=0.5")
    }
    assert list(found.values()) == [1, 0]
