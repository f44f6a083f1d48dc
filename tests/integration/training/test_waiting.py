"""A request that waits for something else returns its database connection."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from training.datasets import import_process
from training.datasets.service import import_options
from training.inference.client import InferenceClient, Results
from training.programs.datasets import Upload
from training.programs.messages import InferenceResponse, PredictRequest
from training.webhooks import url_policy

pytestmark = pytest.mark.django_db(transaction=True)


class Waited(Exception):
    """The wait has begun."""


@pytest.fixture(autouse=True)
def _open_connection() -> None:
    assert not User.objects.exists()
    assert connection.connection is not None


def wait(*_: Any, **__: Any) -> Any:
    assert connection.connection is None
    raise Waited


def test_inference_request_returns_its_database_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Results([], InferenceResponse())

    def exchange(*_: Any) -> Results:
        assert connection.connection is None
        return found

    monkeypatch.setattr(InferenceClient, "_exchange", exchange)
    assert InferenceClient().request(PredictRequest(model="/m", measurements=[])) is found


def test_webhook_name_resolution_returns_its_database_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(url_policy, "_look_up", wait)
    with pytest.raises(Waited):
        url_policy.check_target("https://example.org/")


def test_import_process_returns_its_database_connection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Any
) -> None:
    settings.DATA_DIR = tmp_path
    monkeypatch.setattr(subprocess, "Popen", wait)
    with pytest.raises(Waited):
        import_process.preview_in_process(Upload(tmp_path / "a.zip", "a.zip"), import_options({}))
