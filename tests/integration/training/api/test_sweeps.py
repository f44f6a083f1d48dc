from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from training.models import Dataset, Job, Sweep

SWEEPS = "/api/v1/training/sweeps"
SPACE = {"learning_rate": {"values": [0.01, 0.001, 0.0001]}}


@pytest.fixture
def sweep(api: APIClient, dataset: Dataset) -> dict[str, Any]:
    body = {"name": "Rates", "dataset_id": str(dataset.pk), "space": SPACE, "method": "grid"}
    answer = api.post(SWEEPS, body, format="json")
    assert answer.status_code == 201, answer.json()
    return dict(answer.json())


def test_created_sweep_starts_its_first_trials(api: APIClient, sweep: dict[str, Any]) -> None:
    assert (sweep["status"], sweep["total_trials"], sweep["started_trials"]) == ("running", 3, 2)
    assert [trial["parameters"]["learning_rate"] for trial in sweep["trials"]] == [0.01, 0.001]
    assert sweep["counts"] == {"queued": 2}
    assert sweep["best"] is None
    found = api.get(f"/api/v1/training/jobs?sweep_id={sweep['id']}").json()["results"]
    assert {(job["sweep_id"], job["trial"]) for job in found} == {
        (sweep["id"], 1),
        (sweep["id"], 2),
    }
    assert [listed["id"] for listed in api.get(SWEEPS).json()["results"]] == [sweep["id"]]
    assert api.get(f"{SWEEPS}/{sweep['id']}").json() == sweep


def test_sweep_with_the_same_key_is_created_once(api: APIClient, dataset: Dataset) -> None:
    body = {"name": "Rates", "dataset_id": str(dataset.pk), "space": SPACE, "method": "grid"}
    key = {"Idempotency-Key": "once"}
    first, again = (api.post(SWEEPS, body, format="json", headers=key) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert again["Idempotency-Replayed"] == "true"
    assert again.json() == first.json()
    assert Sweep.objects.count() == 1
    assert Job.objects.count() == 2


def test_invalid_field_is_reported_and_nothing_is_created(api: APIClient, dataset: Dataset) -> None:
    body = {"name": "S", "dataset_id": str(dataset.pk), "space": {"width": {"values": [1]}}}
    answer = api.post(SWEEPS, body, format="json")
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == ["space.width"]
    assert not Sweep.objects.exists()


def test_sweep_is_paused_resumed_cancelled_renamed_and_deleted(
    api: APIClient, sweep: dict[str, Any]
) -> None:
    path = f"{SWEEPS}/{sweep['id']}"
    assert api.delete(path).status_code == 409
    for action, status in [("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")]:
        answer = api.post(f"{path}/{action}")
        assert (answer.status_code, answer.json()["status"]) == (202, status)
    refused = api.post(f"{path}/pause")
    assert refused.status_code == 409
    assert refused.json()["detail"] == "Cannot pause this sweep: it is cancelled."
    named = api.patch(path, {"name": "Other", "max_parallel": 4}, format="json").json()
    assert (named["name"], named["max_parallel"]) == ("Other", 4)
    assert api.patch(path, {"max_parallel": 5}, format="json").json()["name"] == "Other"
    assert api.patch(path, {"seed": 1}, format="json").json()["errors"] == {
        "seed": ["Unknown field."]
    }
    assert api.delete(f"{path}?jobs=some").status_code == 400
    assert api.delete(path).status_code == 204
    assert [job.sweep_id for job in Job.objects.all()] == [None, None]


def test_sweep_can_be_deleted_with_its_jobs(api: APIClient, sweep: dict[str, Any]) -> None:
    api.post(f"{SWEEPS}/{sweep['id']}/cancel")
    assert api.delete(f"{SWEEPS}/{sweep['id']}?jobs=delete").status_code == 204
    assert not Job.objects.exists()


def test_sweep_of_another_user_is_404(api: APIClient, sweep: dict[str, Any], bob: User) -> None:
    api.force_authenticate(bob)
    assert api.get(SWEEPS).json()["results"] == []
    for action in ("pause", "resume", "cancel"):
        assert api.post(f"{SWEEPS}/{sweep['id']}/{action}").status_code == 404
    assert api.get(f"{SWEEPS}/{sweep['id']}").status_code == 404


def test_dataset_of_a_sweep_cannot_be_deleted(api: APIClient, sweep: dict[str, Any]) -> None:
    Job.objects.all().delete()
    answer = api.delete(f"/api/v1/training/datasets/{sweep['dataset_id']}")
    assert answer.status_code == 409
    assert "sweep" in answer.json()["detail"]
