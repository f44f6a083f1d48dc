"""The status endpoint for Hugging Face's `Trainer`, with recorded requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.jobs import reload
from training.accounts import tokens
from training.jobs.attempts import Attempt
from training.jobs.chart_series import metrics_json
from training.models import Job

# Sent by transformers 5.24.0 in tests/clients/hugging_face_training.py, with 64 steps of 0.25 s.
RECORDED = json.loads(Path(__file__).with_name("hugging_face_statuses.json").read_text())
JSON = "application/json"


def url(job: Job, attempt: int = 1) -> str:
    return f"/api/v1/training/jobs/{job.pk}/attempts/{attempt}/status"


@pytest.fixture
def program(job: Job, running_attempt: Attempt) -> Client:
    """What runs inside the job."""
    token = tokens.create_job_token(job)
    return Client(headers={"Authorization": f"Bearer {token}"})


def test_recorded_statuses_become_progress_and_points(program: Client, job: Job) -> None:
    percents = []
    for body in RECORDED:
        answer = program.post(url(job), body, JSON)
        assert (answer.status_code, answer.json()) == (200, {"rejected": []})
        percents.append(reload(job).progress_percent)
    assert percents == [one["trainerStatus"]["progressPercentage"] for one in RECORDED]
    found = metrics_json(reload(job), ["loss", "eval_loss", "learning_rate", "train_loss"], 1000)
    assert found["step"][-1] == 64
    assert found["series"]["train_loss"][-1] is not None
    for values in found["series"].values():
        kept = [value for value in values if value is not None]
        assert kept and len(kept) == len(set(kept))


def test_job_has_the_progress_and_the_estimated_end(program: Client, job: Job, api: Any) -> None:
    body = {"trainerStatus": {"progressPercentage": 40, "estimatedRemainingSeconds": 60}}
    assert program.post(url(job), body, JSON).status_code == 200
    found = api.get(f"/api/v1/training/jobs/{job.pk}").json()
    assert (found["progress_percent"], found["reported_percent"]) == (40, 40)
    assert found["estimated_end_at"] > found["heartbeat_at"]


def test_status_of_another_attempt_is_a_conflict(program: Client, job: Job) -> None:
    answer = program.post(url(job, 2), RECORDED[1], JSON)
    assert answer.status_code == 409
    assert answer.json()["detail"] == (
        "Attempt 2 of this job is not running: the job is running, and its newest attempt is 1."
    )


@pytest.mark.parametrize(
    ("body", "field", "sentence"),
    [
        ({}, "trainerStatus", "This field is required."),
        ({"trainerStatus": 5}, "trainerStatus", "This must be an object."),
        ({"trainerStatus": {"progressPercentage": 101}}, "trainerStatus.progressPercentage",
         "101 is too large; it must be at most 100."),
        ({"trainerStatus": {"metrics": [{"name": "loss"}]}}, "trainerStatus.metrics.0.value",
         "This field is required."),
        ({"trainerStatus": {"lastUpdatedTime": "yesterday"}}, "trainerStatus.lastUpdatedTime", ""),
    ],
)  # fmt: skip
def test_malformed_status_is_refused_with_a_sentence(
    program: Client, job: Job, body: Any, field: str, sentence: str
) -> None:
    answer = program.post(url(job), body, JSON)
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert sentence in answer.json()["errors"][field][0]


def test_body_that_is_not_json_is_refused_with_a_sentence(program: Client, job: Job) -> None:
    answer = program.post(url(job), "{", JSON)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("The body is not JSON")


def test_status_needs_a_token_of_a_user_who_may_control_the_job(
    client: Client, job: Job, running_attempt: Attempt, bob: User, ada: User
) -> None:
    assert client.post(url(job), RECORDED[0], JSON).status_code == 401
    for user, scopes, expected in ((bob, ("report",), 404), (ada, ("read",), 403)):
        token = tokens.create_token(user, scopes=scopes)[1]
        headers = {"Authorization": f"Bearer {token}"}
        answer = client.post(url(job), RECORDED[0], JSON, headers=headers)
        assert answer.status_code == expected
