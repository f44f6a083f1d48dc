"""A full disk gets the right error in API and pages, not that of an unavailable database."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError
from django.test import Client
from rest_framework.test import APIClient

from training.datasets import service
from training.jobs import lifecycle
from training.models import Dataset

API = "/api/v1/training"
SENTENCE = "The server's disk is full, so nothing was stored."


def full(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_full_disk_during_an_import_is_507(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "read_upload", full)
    upload = SimpleUploadedFile("x.zip", b"PK")
    answer = api.post(f"{API}/datasets/import", {"file": upload, "name": "x"})
    assert answer.status_code == 507
    assert answer.json()["detail"].startswith(SENTENCE)


def test_full_disk_while_creating_a_job_is_507(
    api: APIClient, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise OperationalError("x") from OSError(errno.ENOSPC, "x")

    monkeypatch.setattr(lifecycle, "submit", fail)
    answer = api.post(f"{API}/jobs", {"dataset_id": str(dataset.pk)}, format="json")
    assert answer.status_code == 507
    assert answer.json()["detail"].startswith(SENTENCE)


def test_full_disk_during_sign_in_is_a_507_page(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.contrib.auth.views.auth_login", full)
    client = Client(raise_request_exception=False)
    answer = client.post("/login", {"username": "ada", "password": "ada-secret-1"})
    assert answer.status_code == 507
    assert "disk is full" in answer.content.decode()


def test_unrelated_errors_are_still_500(page: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise FileNotFoundError(errno.ENOENT, "x", str(Path("/nowhere")))

    page.raise_request_exception = False
    monkeypatch.setattr("training.web.views.models.render", fail)
    assert page.get("/models").status_code == 500
