"""Predictions of a really trained model through a real inference process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from training.inference.client import inference_client
from training.jobs import lifecycle
from training.localization.config import TrainConfig
from training.models import AuditEntry, Dataset, Job, TrainedModel
from training.workers.supervisor import supervise

pytestmark = pytest.mark.django_db(transaction=True)
API = "/api/v1/training"
SMALL = {"hidden": 16, "heads": 2, "layers": 1, "batch_size": 64, "epochs": 1,
         "portfolio": False}  # fmt: skip
ROWS = [
    {"receiver_id": "Torino", "rssi_dbm": -80, "toa_ns": 0},
    {"receiver_id": "Genova", "rssi_dbm": -100, "toa_ns": 300000},
    {"receiver_id": "Coazze", "rssi_dbm": -90, "toa_ns": 100000},
]


@pytest.fixture
def model(ada: User, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> Iterator[TrainedModel]:
    monkeypatch.setattr("training.jobs.queue.enqueue", lambda job_id, needs: None)
    job = lifecycle.submit(ada, dataset, TrainConfig.model_validate(SMALL), "First")
    supervise(job.pk, "worker")
    yield TrainedModel.objects.get(job=job)
    inference_client().close()


def test_model_is_listed_with_card_and_receivers(
    api: APIClient, model: TrainedModel, dataset: Dataset, bob: User
) -> None:
    (listed,) = api.get(f"{API}/models").json()["results"]
    assert (listed["id"], listed["name"]) == (str(model.pk), "First")
    card = api.get(f"{API}/models/{model.pk}").json()["card"]
    assert card["dataset_sha256"] == listed["dataset_hash"] == dataset.content_hash
    assert card["config"]["hidden"] == 16

    predict = f"{API}/models/{model.pk}/predict"
    answer = api.post(predict, {"measurements": ROWS}, format="json")
    assert answer.status_code == 200, answer.content
    (found,) = answer.json()["predictions"]
    assert 40 < found["lat"] < 50 and 0 < found["lon"] < 15
    assert found["ellipse_68"]["semi_major_m"] > 0
    again = api.post(predict, {"measurements": ROWS[::-1]}, format="json").json()
    assert again == answer.json()

    inference_client()._process.kill()  # type: ignore[union-attr]
    assert api.post(predict, {"measurements": ROWS}, format="json").json() == again

    for body, field in WRONG:
        refused = api.post(predict, body, format="json")
        assert refused.status_code == 400, refused.content
        assert field in refused.json()["errors"]

    api.force_authenticate(bob)
    assert api.get(f"{API}/models/{model.pk}").status_code == 404


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"measurements": []}, "measurements"),
    ({"measurements": [{"receiver_id": "Roma", "rssi_dbm": -80}]}, "measurements.0.receiver_id"),
    ({"measurements": [{"receiver_id": "Torino"}]}, "measurements.0"),
    ({"measurements": ROWS, "out_of_service": ["Roma"]}, "out_of_service"),
]


def test_artifacts_are_listed_and_downloaded(api: APIClient, model: TrainedModel) -> None:
    there = api.get(f"{API}/jobs/{model.job_id}/artifacts").json()["results"]
    sizes = {artifact["name"]: artifact["bytes"] for artifact in there}
    assert set(sizes) == {
        "best.safetensors",
        "model.safetensors",
        "card.json",
        "model.pt2",
        "model.onnx",
    }
    assert sizes["model.pt2"] is None
    for name in ("best.safetensors", "model.pt2"):
        answer = api.get(f"{API}/jobs/{model.job_id}/artifacts/{name}")
        assert answer.status_code == 200
        assert len(answer.getvalue()) > 1000
    assert api.get(f"{API}/jobs/{model.job_id}/artifacts/passwords").status_code == 404


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-"}, {"Range": "bytes=1-"}])
def test_downloads_of_artifacts_are_audited(
    api: APIClient, model: TrainedModel, headers: dict[str, str]
) -> None:
    url = f"{API}/jobs/{model.job_id}/artifacts/best.safetensors"
    answer = api.get(url, headers=headers)
    assert answer.status_code == (206 if headers else 200)
    rows = AuditEntry.objects.filter(action="download")
    assert list(rows.values_list("actor", "detail")) == [("ada", {"artifact": "best.safetensors"})]
    unchanged = api.get(url, headers={"If-None-Match": answer["ETag"]})
    assert unchanged.status_code == 304
    assert rows.count() == 1


def test_job_without_checkpoint_has_no_artifacts(
    api: APIClient, ada: User, dataset: Dataset
) -> None:
    job: Job = lifecycle.submit(ada, dataset, TrainConfig())
    assert api.get(f"{API}/jobs/{job.pk}/artifacts").json()["results"] == []
