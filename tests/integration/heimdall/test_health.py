from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from heimdall import health
from training.jobs import attempts, lifecycle
from training.localization.config import TrainConfig
from training.models import Dataset, Worker
from training.workers import registry as workers


@pytest.mark.django_db
def test_healthz_needs_no_authentication(client: Client) -> None:
    assert client.get("/healthz").content == b"ok"


def test_readyz_reports_jobs_workers_and_outbox(
    client: Client, ada: User, dataset: Dataset
) -> None:
    jobs = [lifecycle.submit(ada, dataset, TrainConfig()) for _ in range(3)]
    attempts.claim(jobs[0].pk, "worker")
    workers.register("here", 2)
    workers.register("gone", 2)
    Worker.objects.filter(name="gone").update(seen_at=timezone.now() - timedelta(minutes=5))
    answer = client.get("/readyz")
    assert answer.status_code == 200
    found = answer.json()
    assert found["oldest_heartbeat_seconds"] < 60
    del found["oldest_heartbeat_seconds"]
    assert found == {
        "ready": True,
        "database": "ok",
        "broker": "embedded",
        "queued": 2,
        "running": 1,
        "workers": 1,
        "workers_lost": 1,
        "workers_at_work": 1,
        "outbox_events": 4,
        "outbox_jobs": 3,
    }


@pytest.mark.django_db
def test_readyz_is_503_without_a_broker(client: Client, settings) -> None:  # type: ignore[no-untyped-def]
    settings.EMBEDDED, settings.RABBITMQ_URL = False, "amqp://guest:guest@127.0.0.1:1"
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "refused" in answer.json()["broker"]
    assert "guest" not in answer.json()["broker"]


@pytest.mark.django_db
def test_readyz_is_not_ready_while_the_disk_is_full(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "free_bytes", lambda: 0)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["disk"] == "full: 0 bytes are free"


@pytest.mark.django_db
def test_readyz_is_not_ready_if_the_data_folder_is_missing(
    client: Client, settings: Any, tmp_path: Path
) -> None:
    settings.DATA_DIR = tmp_path / "gone"
    assert client.get("/readyz").json()["disk"] == "No such file or directory"
