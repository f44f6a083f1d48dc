"""One rule for texts at every endpoint and form, on both databases."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from rest_framework.test import APIClient

from tests.integration.training.sweeps.test_scheduler import begin
from training.jobs.policy import QueuePolicy
from training.localization.config import TrainConfig
from training.models import ApiToken, Dataset, Job, Project, Sweep

API = "/api/v1/training"
NOT_ALLOWED = ["a\0b", "a\x1bb", "a\u202eb", "\u200b", "\u3164\ufe0f", "a\u2066b", "a\uffffb"]
NFD, NFC = " Mu\u0308nchen ", "M\u00fcnchen"
Send = Callable[[str], Any]


def senders(
    api: APIClient, page: Client, admin: Client, dataset: Dataset, job: Job
) -> dict[str, Send]:
    """Each endpoint and form that accepts a name, by the kind of object."""
    dataset_id = str(dataset.pk)

    def post(path: str, **body: Any) -> Any:
        return api.post(f"{API}{path}", json.dumps(body), content_type="application/json")

    sweep = {
        "dataset_id": dataset_id, "space": {"epochs": {"values": [1, 2]}}, "method": "grid",
    }  # fmt: skip
    made = begin(job.owner, dataset)
    defaults = {**TrainConfig().model_dump(), **QueuePolicy().model_dump()}
    form = {"dataset": dataset_id, **defaults}
    return {
        "job": lambda name: post("/jobs", dataset_id=dataset_id, name=name),
        "tag": lambda name: post("/jobs", dataset_id=dataset_id, tags=[name]),
        "project of a job": lambda name: post("/jobs", dataset_id=dataset_id, project=name),
        "project": lambda name: post("/projects", name=name),
        "sweep": lambda name: post("/sweeps", name=name, **sweep),
        "report": lambda name: post("/reports", name=name),
        "project of a report": lambda name: post("/reports", project=name),
        "dataset": lambda name: post("/datasets/generate", name=name, samples=20),
        "edited job": lambda name: api.patch(
            f"{API}/jobs/{job.pk}", json.dumps({"name": name}), content_type="application/json"
        ),
        "token": lambda name: api.post(
            "/api/v1/auth/token",
            {"username": "ada", "password": "ada-secret-1", "name": name},
            format="json",
        ),
        "renamed sweep": lambda name: api.patch(
            f"{API}/sweeps/{made.pk}", {"name": name}, format="json"
        ),
        "form of a token": lambda name: page.post(
            "/account/tokens", {"name": name, "days": 1, "scopes": ["read"]}
        ),
        "form of a project": lambda name: page.post("/projects/new", {"name": name}),
        "form of metadata": lambda name: page.post(
            f"/jobs/{job.pk}/edit", {"name": name, "notes": "", "tags": ""}
        ),
        "form of a dataset": lambda name: page.post(
            "/datasets", {"name": name, **GENERATE}
        ),
        "form of a job": lambda name: page.post("/jobs/new", {"name": name, **form}),
        "admin": lambda name: admin.post("/admin/auth/group/add/", {"name": name}),
    }  # fmt: skip


GENERATE = {
    "samples": 20, "seed": 0, "frequency_mhz": 145, "transmit_dbm": 37, "path_loss_exponent": 3,
    "shadowing_db": 6, "noise_floor_dbm": -120, "detection_snr_db": 6, "timing_sigma_ns": 1000,
    "margin_km": 20, "generate": "",
}  # fmt: skip
WAYS = [
    "job", "tag", "project of a job", "project", "sweep", "report", "project of a report",
    "dataset", "edited job", "form of a project", "form of metadata", "form of a dataset",
    "form of a job", "admin", "token", "renamed sweep", "form of a token",
]  # fmt: skip


@pytest.fixture
def send(api: APIClient, page: Client, staff: User, dataset: Dataset, job: Job) -> dict[str, Send]:
    admin = Client()
    admin.force_login(staff)
    return senders(api, page, admin, dataset, job)


def names() -> set[str]:
    rows = (Job, Dataset, Project, Sweep, Group, ApiToken)
    found = {name for row in rows for name in row.objects.values_list("name", flat=True)}
    return found | {tag for job in Job.objects.all() for tag in job.tags}


@pytest.mark.parametrize("way", WAYS)
def test_unstorable_or_invisible_name_is_rejected_by_every_endpoint_and_form(
    send: dict[str, Send], way: str
) -> None:
    before = names()
    for name in NOT_ALLOWED:
        answer = send[way](name)
        refused = 200 if way == "admin" else 400  # the admin shows its form again
        assert answer.status_code == refused, (ascii(name), answer.content[:500])
    assert names() == before


@pytest.mark.parametrize("way", WAYS)
def test_name_is_normalized_by_every_endpoint_and_form(send: dict[str, Send], way: str) -> None:
    answer = send[way](NFD)
    assert answer.status_code in (200, 201, 202, 302, 303), answer.content[:3000]
    assert NFC in names()


def test_error_names_the_character(api: APIClient, dataset: Dataset) -> None:
    answer = api.post(f"{API}/projects", {"name": "a\u202eb"}, format="json")
    assert answer.json()["errors"] == {
        "name": [
            (
                "Contains U+202E (right-to-left override), which changes the order of the text "
                "around it; remove it."
            )
        ]
    }


@pytest.mark.parametrize("value", ["a\0b", {"a\0": 1}, ["\x1b"]], ids=ascii)
def test_parameters_of_a_report_contain_only_text_that_both_databases_store(
    api: APIClient, value: Any
) -> None:
    answer = api.post(f"{API}/reports", {"config": {"x": value}}, format="json")
    assert answer.status_code == 400
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    "value",
    [2**64, -(2**63), 1e999, json.loads("[" * 60 + "]" * 60)],
    ids=lambda value: str(value)[:9],
)
def test_value_that_could_not_be_returned_as_json_is_rejected(api: APIClient, value: Any) -> None:
    body = json.dumps({"config": {"x": value}}).replace("Infinity", "1e999")
    answer = api.post(f"{API}/reports", body, content_type="application/json")
    # orjson reads large integers as floats, which can be sent back.
    stored = isinstance(value, int) and value > 0
    assert answer.status_code == (201 if stored else 400), answer.content
    assert api.get(f"{API}/jobs").status_code == 200


def test_control_characters_in_the_error_message_do_not_prevent_finishing_a_run(
    api: APIClient,
) -> None:
    job = api.post(f"{API}/reports", {"name": "x"}, format="json").json()["id"]
    sent = {"status": "failed", "error_message": "\x1b[31mboom\0"}
    answer = api.post(f"{API}/reports/{job}/finish", sent, format="json")
    assert answer.status_code == 200
    assert answer.json()["error_message"] == "\ufffd[31mboom\ufffd"


def test_notes_keep_their_lines(api: APIClient, job: Job) -> None:
    sent = {"notes": "a\r\nb\tc"}
    answer = api.patch(f"{API}/jobs/{job.pk}", sent, format="json")
    assert answer.json()["notes"] == "a\nb\tc"
