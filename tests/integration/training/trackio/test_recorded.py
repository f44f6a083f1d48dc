"""Requests recorded from Trackio's client in tests/clients/trackio_training.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User

from tests.integration.training.trackio.conftest import TrackioClient
from training.accounts.tokens import create_token
from training.jobs.chart_series import metrics_json
from training.models import Job, JobEvent
from training.models.states import Status

# Sent by trackio 0.43.0 with 8 rounds of 0.2 s to a server that answered a last step of 8. The
# token is replaced.
RECORDED: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("recorded_requests.json").read_text()
)


def replay(trackio: TrackioClient, ada: User) -> list[Any]:
    token = create_token(ada, scopes=("read", "report"))[1]
    answers = []
    for request in RECORDED:
        headers = {**request["headers"], "x-trackio-write-token": token}
        if request["method"] == "GET":
            answer = trackio.client.get(request["path"], headers=headers)
        else:
            answer = trackio.client.post(
                request["path"], request["body"], "application/json", headers=headers
            )
        assert answer.status_code == 200, answer.content
        answers.append(answer.json())
    return answers


def test_recorded_run_is_a_reported_job(trackio: TrackioClient, ada: User) -> None:
    replay(trackio, ada)
    job = Job.objects.get()
    assert (job.owner, job.name, job.project_name, job.status, job.reported) == (
        ada, "first", "radio", Status.RUNNING, True,
    )  # fmt: skip
    assert (job.config, job.tags) == ({"lr": 0.1, "layers": [1, 2]}, ["group: night"])
    found = metrics_json(job, ["loss", "acc", "late"], 100)
    assert found["step"] == [*range(8), 9, 13]
    # Charts have six digits.
    assert found["series"]["loss"] == [*(round(1 / step, 6) for step in range(1, 9)), 0.5, None]
    assert found["not_finite"] == {"loss": {"9": "NaN"}, "late": {"9": "Infinity"}}
    notes = [row.data["reason"] for row in JobEvent.objects.filter(data__cause="note")]
    assert notes == [
        "Not stored: 'note' is not a number.",
        "Alert (error) at step 13: Too high: The loss is too high.",
    ]


def test_recorded_client_finds_its_run_again(trackio: TrackioClient, ada: User) -> None:
    answers = replay(trackio, ada)
    found = {request["path"]: answer for request, answer in zip(RECORDED, answers, strict=True)}
    assert found["/version"]["api_version"] == 1
    [run] = found["/api/get_runs_for_project"]["data"]
    assert run["name"] == "first"
    summary = found["/api/get_run_summary"]["data"]
    assert (summary["run_id"], summary["last_step"]) == (run["id"], 13)


def test_requests_that_are_repeated_change_nothing(trackio: TrackioClient, ada: User) -> None:
    """The client sends a request again if its answer was lost."""
    replay(trackio, ada)
    before = Job.objects.get()
    replay(trackio, ada)
    job = Job.objects.get()
    assert (job.seq, job.summary) == (before.seq, before.summary)
    assert job.point_index.revision == before.point_index.revision
